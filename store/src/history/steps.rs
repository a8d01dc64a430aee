//! A series in steps: what each step of a question holds, from points, chunks' headers and rollups.

use std::ops::ControlFlow;
use std::time::Duration;

use fjall::Readable;
use onemap_model::Timestamp;

use super::change::{Change, Seen};
use super::chunk::{Numbers, is_flagged, key, read_key, unseal};
use super::group::percentile;
use super::missing::Loss;
use super::point::{Agg, Kept, Step};
use super::query::{Which, range};
use super::read::View;
use super::rollup::{Day, HOUR_MS, Held, can_answer, day_of, day_range};
use super::sum::sum_up;
use super::{History, HistoryError, SeriesId, missing};

/// Most steps one answer may have.
const MAX_STEPS: u64 = 1_000_000;

impl History {
    /// Aggregates the shown values from `from` to before `to` in steps that begin at `from`; the last
    /// one may be shorter. Every step is listed, empty ones without a value.
    ///
    /// A point belongs to the step that its `measured_at` lies in; a period that ends exactly where a
    /// step begins is therefore counted there, so legal hourly and daily means are not made with this.
    /// Where a whole chunk lies in one step its header is enough, and of closed days the rollup where the
    /// steps are whole hours; a mean can differ from the sum of its points in the last bits of a float.
    /// Changes and percentiles are made of the points themselves.
    ///
    /// # Errors
    /// [`HistoryError::Steps`] for a step below one millisecond or more than a million steps; else as
    /// [`History::scan`].
    pub fn downsample(
        &self,
        id: SeriesId,
        from: Timestamp,
        to: Timestamp,
        step: Duration,
        agg: Agg,
    ) -> Result<Vec<Step>, HistoryError> {
        self.downsample_of(id, (from, to), step, agg, Which::default())
    }

    /// Like [`History::downsample`], of the values that `which` takes.
    ///
    /// # Errors
    /// As [`History::downsample`].
    pub fn downsample_of(
        &self,
        id: SeriesId,
        (from, to): (Timestamp, Timestamp),
        step: Duration,
        agg: Agg,
        which: Which<'_>,
    ) -> Result<Vec<Step>, HistoryError> {
        let steps = self.steps(id, &Grid::of(from, to, step)?, agg, which)?;
        Ok(steps.into_iter().map(|(step, _)| step).collect())
    }

    /// Like [`History::downsample_of`], with how many numbers each step has.
    pub(crate) fn counted_steps(
        &self,
        id: SeriesId,
        (from, to): (Timestamp, Timestamp),
        step: Duration,
        agg: Agg,
        which: Which<'_>,
    ) -> Result<Vec<(Step, u64)>, HistoryError> {
        self.steps(id, &Grid::of(from, to, step)?, agg, which)
    }

    /// The steps of a series, and how many numbers each has.
    pub(super) fn steps(
        &self,
        id: SeriesId,
        grid: &Grid,
        agg: Agg,
        which: Which<'_>,
    ) -> Result<Vec<(Step, u64)>, HistoryError> {
        let disk = self.disk()?;
        let view = (grid.n > 0).then(|| View::of(&disk, &self.memory, id)).flatten();
        self.note_lost(id, grid.range(), &[Loss::Values]);
        let mut held = vec![Held::default(); grid.len()];
        let values: Vec<Option<f64>> = match (view, agg) {
            (None, _) => vec![None; grid.len()],
            (Some(view), Agg::Delta | Agg::Increase | Agg::Rate) => {
                let changes = self.changes(&view, grid, which, &mut held)?;
                let value = |change: Option<Change>| change.and_then(|change| change.value(agg));
                changes.into_iter().map(value).collect()
            }
            (Some(view), Agg::Percentile(p)) => self.percentiles(&view, grid, which, p, &mut held)?,
            (Some(view), _) => {
                self.fill(&view, grid, agg, which, &mut held)?;
                held.iter().map(|held| value(held, agg)).collect()
            }
        };
        let steps = grid.starts().zip(held).zip(values);
        Ok(steps
            .map(|((start, held), value)| {
                let step = Step {
                    start,
                    value,
                    n: held.n,
                    n_flagged: held.n_flagged,
                };
                (step, held.numbers.map_or(0, |numbers| numbers.n))
            })
            .collect())
    }

    /// What each step holds; from headers and rollups where all shown values are wanted.
    fn fill(
        &self,
        view: &View,
        grid: &Grid,
        agg: Agg,
        which: Which<'_>,
        held: &mut [Held],
    ) -> Result<(), HistoryError> {
        if !which.is_all_shown() {
            return self.kept(view, grid.range(), which, &mut |point| {
                add(&mut held[grid.index(point.at)], point);
                ControlFlow::Continue(())
            });
        }
        let rollups = match can_answer(agg, grid.first, grid.step_ms) {
            true => self.rollups(view, grid.range())?,
            false => Vec::new(),
        };
        let mut from = grid.first;
        for (day, rollup) in rollups {
            let (day_first, day_last) = day_range(day);
            self.fill_from_chunks(view, (from, day_first - 1), grid, held)?;
            for (hour, at) in rollup.hours.iter().zip((day_first..).step_by(HOUR_MS as usize)) {
                if at < grid.first || at + HOUR_MS - 1 > grid.last {
                    continue; // of a day of which nothing but hours is kept
                }
                held[grid.index(at)].add(hour.n, hour.n_flagged, hour.numbers.as_ref());
            }
            from = day_last + 1;
        }
        self.fill_from_chunks(view, (from, grid.last), grid, held)
    }

    fn fill_from_chunks(
        &self,
        view: &View,
        range: (i64, i64),
        grid: &Grid,
        held: &mut [Held],
    ) -> Result<(), HistoryError> {
        let in_one_step = |from, to| grid.index(from) == grid.index(to);
        view.walk_by_headers(&*self.disk()?, range, &in_one_step, &mut |part| {
            sum_up(
                &part,
                |at| grid.end(at),
                |at, n, n_flagged, numbers| held[grid.index(at)].add(n, n_flagged, numbers),
            );
            ControlFlow::Continue(())
        })
    }

    /// How the numbers change from step to step.
    fn changes(
        &self,
        view: &View,
        grid: &Grid,
        which: Which<'_>,
        held: &mut [Held],
    ) -> Result<Vec<Option<Change>>, HistoryError> {
        let mut changes = vec![None; grid.len()];
        let mut before = None;
        let mut looked = false;
        let mut failed = None;
        self.kept(view, grid.range(), which, &mut |point| {
            let i = grid.index(point.at);
            add(&mut held[i], point);
            let Some(number) = point.value.number() else {
                return ControlFlow::Continue(());
            };
            if !looked {
                looked = true;
                match self.number_before(view, grid, which) {
                    Ok(found) => before = found,
                    Err(error) => {
                        failed = Some(error);
                        return ControlFlow::Break(());
                    }
                }
            }
            let seen = (point.at, number);
            Change::see(&mut changes[i], before, seen);
            before = Some(seen);
            ControlFlow::Continue(())
        })?;
        failed.map_or(Ok(changes), Err)
    }

    /// The newest number before the first step, looked for backwards in ever longer spans.
    fn number_before(
        &self,
        view: &View,
        grid: &Grid,
        which: Which<'_>,
    ) -> Result<Option<Seen>, HistoryError> {
        let oldest = self
            .memory
            .read(view.id, |series| (series.n > 0).then_some(series.first));
        let (Some(oldest), Some(mut last)) = (oldest.flatten(), grid.first.checked_sub(1)) else {
            return Ok(None);
        };
        let mut span = grid.step_ms.max(HOUR_MS as u64);
        while last >= oldest {
            let first = last.saturating_sub_unsigned(span).max(oldest);
            let mut found = None;
            self.kept(view, (first, last), which, &mut |point| {
                found = point.value.number().map(|number| (point.at, number)).or(found);
                ControlFlow::Continue(())
            })?;
            let (Some(before), None) = (first.checked_sub(1), found) else {
                return Ok(found);
            };
            last = before;
            span = span.saturating_mul(2);
        }
        Ok(None)
    }

    fn percentiles(
        &self,
        view: &View,
        grid: &Grid,
        which: Which<'_>,
        p: f64,
        held: &mut [Held],
    ) -> Result<Vec<Option<f64>>, HistoryError> {
        let mut values = vec![None; grid.len()];
        // Points come ascending, so one step at a time is enough.
        let mut step = (0, Vec::new());
        self.kept(view, grid.range(), which, &mut |point| {
            let i = grid.index(point.at);
            add(&mut held[i], point);
            if i != step.0 {
                values[step.0] = percentile(&mut step.1, p);
                step.0 = i;
                step.1.clear();
            }
            step.1.extend(point.value.number());
            ControlFlow::Continue(())
        })?;
        values[step.0] = percentile(&mut step.1, p);
        Ok(values)
    }

    /// The rollups of days that lie wholly in a range and that nothing was put into since.
    fn rollups(&self, view: &View, (first, last): (i64, i64)) -> Result<Vec<(i64, Day)>, HistoryError> {
        let mut days = Vec::new();
        let (mut from, mut to) = (day_of(first), day_of(last));
        // Of days whose values are gone the hours are taken, also when they are not asked for as a whole.
        let (hours, days_from) = self.hours_only(view);
        let before = day_range(hours).0.saturating_sub(1);
        self.note_lost(view.id, (first, last.min(before)), &[Loss::Hours]);
        from += i64::from(day_range(from).0 < first && from >= hours);
        to -= i64::from(day_range(to).1 > last && to >= hours);
        from = from.max(days_from);
        if from > to {
            return Ok(days);
        }
        let rows = key(view.id.0, from, 0)..=key(view.id.0, to, 0);
        let disk = self.disk()?;
        for row in view.snapshot.range(&disk.rollups, rows) {
            let place = key(view.id.0, from, 0);
            let Some((key, row)) = disk.sound("block of rollups", &place, row.into_inner())? else {
                // Of days whose points are there they are counted instead.
                if from < hours {
                    missing::note(
                        &place,
                        (first.max(day_range(from).0), last.min(day_range(hours).0 - 1)),
                    );
                }
                break;
            };
            let day = read_key(&key).map(|(_, day, _)| day);
            match (day, unseal(&key, &row).and_then(Day::decode)) {
                (Some(day), Some(rollup)) if !view.stale.contains(&day) => days.push((day, rollup)),
                (Some(_), Some(_)) => {}
                _ => {
                    disk.report_damage("rollup", &key);
                    if let Some(day) = day.filter(|day| *day < hours) {
                        missing::note(&key, day_range(day));
                    }
                }
            }
        }
        Ok(days)
    }
}

/// Steps of one length, from one time to another.
pub(crate) struct Grid {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) step_ms: u64,
    pub(crate) n: u64,
}

impl Grid {
    pub(crate) fn of(from: Timestamp, to: Timestamp, step: Duration) -> Result<Self, HistoryError> {
        let (first, last) = range(from, to);
        let step_ms = u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
        let n = match last.abs_diff(first).checked_div(step_ms) {
            _ if first > last => 0,
            Some(n) if n < MAX_STEPS => n + 1,
            _ => {
                return Err(HistoryError::Steps {
                    step_ms,
                    max: MAX_STEPS,
                });
            }
        };
        Ok(Self {
            first,
            last,
            step_ms,
            n,
        })
    }
    pub(crate) fn len(&self) -> usize {
        self.n as usize
    }
    pub(crate) fn starts(&self) -> impl Iterator<Item = Timestamp> + '_ {
        let start = |i: u64| self.first.saturating_add_unsigned(i.saturating_mul(self.step_ms));
        (0..self.n).map(move |i| Timestamp::from_ms(start(i)))
    }
    /// The last millisecond of the step that holds a time.
    fn end(&self, at: i64) -> i64 {
        let steps = (self.index(at) as u64 + 1).saturating_mul(self.step_ms);
        self.first.saturating_add_unsigned(steps).saturating_sub(1)
    }
    pub(crate) fn index(&self, at: i64) -> usize {
        (at.abs_diff(self.first) / self.step_ms) as usize
    }
    fn range(&self) -> (i64, i64) {
        (self.first, self.last)
    }
}

fn add(held: &mut Held, point: &Kept) {
    let numbers = point.value.number().map(Numbers::one);
    held.add(1, u64::from(is_flagged(point)), numbers.as_ref());
}

/// What a step is by an aggregate of what it holds; `None` when it is empty.
pub(crate) fn value(held: &Held, agg: Agg) -> Option<f64> {
    let numbers = held.numbers.as_ref();
    match agg {
        Agg::Count => (held.n > 0).then_some(held.n as f64),
        Agg::Mean => numbers.map(|n| n.sum / n.n as f64),
        Agg::Min => numbers.map(|n| n.min),
        Agg::Max => numbers.map(|n| n.max),
        Agg::Sum => numbers.map(|n| n.sum),
        Agg::First => numbers.map(|n| n.first),
        Agg::Last => numbers.map(|n| n.last),
        Agg::Delta | Agg::Increase | Agg::Rate | Agg::Percentile(_) => {
            unreachable!("made of the points themselves")
        }
    }
}
