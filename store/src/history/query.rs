//! What can be asked of a series: its values, as shown now or as known then, every version of them,
//! and aggregates by step.

use std::ops::ControlFlow;
use std::time::Duration;

use onemap_model::Timestamp;

use fjall::Readable;

use super::chunk::{Numbers, is_flagged, key, read_key, unseal};
use super::point::{Agg, Kept, Point, Step, Version};
use super::read::{Part, View};
use super::rollup::{Day, HOUR_MS, can_answer, day_of, day_range};
use super::{History, HistoryError, SeriesId, revisions};

/// Most steps one answer may have.
const MAX_STEPS: u64 = 1_000_000;

impl History {
    /// Passes the shown values of a series from `from` to before `to` to `take`, ascending, until it
    /// breaks off. An unknown series has none.
    ///
    /// # Errors
    /// [`HistoryError::Read`] when the disk fails. Damaged chunks are skipped, logged and counted.
    pub fn scan(
        &self,
        id: SeriesId,
        from: Timestamp,
        to: Timestamp,
        take: &mut dyn FnMut(Point) -> ControlFlow<()>,
    ) -> Result<(), HistoryError> {
        let Some(view) = View::of(&self.disk, &self.memory, id) else {
            return Ok(());
        };
        view.walk(&self.disk, range(from, to), &|_, _| false, &mut |part| {
            each(part, &mut |kept| take(kept.point()))
        })
    }

    /// Like [`History::scan`], as it was known at `known_at`: of each time the last version that had
    /// been received by then, and nothing of times of which nothing had.
    ///
    /// # Errors
    /// As [`History::scan`].
    pub fn scan_known_at(
        &self,
        id: SeriesId,
        from: Timestamp,
        to: Timestamp,
        known_at: Timestamp,
        take: &mut dyn FnMut(Point) -> ControlFlow<()>,
    ) -> Result<(), HistoryError> {
        let Some(view) = View::of(&self.disk, &self.memory, id) else {
            return Ok(());
        };
        let range = range(from, to);
        let replaced = revisions::load(&self.disk, &view.snapshot, id, range, &view.replaced)?;
        let known = |kept: &Kept| kept.received <= known_at.ms();
        view.walk(&self.disk, range, &|_, _| false, &mut |part| {
            each(part, &mut |shown| {
                let earlier = replaced.get(&shown.at).map_or(&[][..], Vec::as_slice);
                let version = if known(shown) {
                    Some(shown)
                } else {
                    earlier.iter().rev().map(|r| &r.point).find(|point| known(point))
                };
                match version {
                    Some(version) => take(version.point()),
                    None => ControlFlow::Continue(()),
                }
            })
        })
    }

    /// Every value ever given for the times from `from` to before `to`, by time, then in the order
    /// they came; the shown one is the last of its time.
    ///
    /// # Errors
    /// As [`History::scan`].
    pub fn versions(
        &self,
        id: SeriesId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Version>, HistoryError> {
        let mut all = Vec::new();
        if let Some(view) = View::of(&self.disk, &self.memory, id) {
            self.each_time(&view, range(from, to), &mut |version| all.push(version))?;
        }
        Ok(all)
    }

    /// Passes every version in a range to `take`, by time, then in the order they came.
    pub(super) fn each_time(
        &self,
        view: &View,
        range: (i64, i64),
        take: &mut dyn FnMut(Version),
    ) -> Result<(), HistoryError> {
        let replaced = revisions::load(&self.disk, &view.snapshot, view.id, range, &view.replaced)?;
        view.walk(&self.disk, range, &|_, _| false, &mut |part| {
            each(part, &mut |shown| {
                let earlier = replaced.get(&shown.at).map_or(&[][..], Vec::as_slice);
                revisions::versions(shown, earlier).for_each(&mut *take);
                ControlFlow::Continue(())
            })
        })
    }

    /// Aggregates the shown values from `from` to before `to` in steps that begin at `from`; the last
    /// one may be shorter. Every step is listed, empty ones without a value.
    ///
    /// A point belongs to the step that its `measured_at` lies in; a period that ends exactly where a
    /// step begins is therefore counted there, so legal hourly and daily means are not made with this.
    /// Where a whole chunk lies in one step its header is enough, and of closed days the rollup where the
    /// steps are whole hours; a mean can differ from the sum of its points in the last bits of a float.
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
        let (first, last) = range(from, to);
        let step_ms = u64::try_from(step.as_millis()).unwrap_or(u64::MAX);
        if first > last {
            return Ok(Vec::new());
        }
        let n_steps = match (last.abs_diff(first)).checked_div(step_ms) {
            Some(n) if n < MAX_STEPS => n + 1,
            _ => {
                return Err(HistoryError::Steps {
                    step_ms,
                    max: MAX_STEPS,
                });
            }
        };
        let index = |at: i64| (at.abs_diff(first) / step_ms) as usize;
        let mut filled = vec![Filled::default(); n_steps as usize];
        if let Some(view) = View::of(&self.disk, &self.memory, id) {
            let rollups = match can_answer(agg, first, step_ms) {
                true => self.rollups(&view, (first, last))?,
                false => Vec::new(),
            };
            let mut from = first;
            for (day, rollup) in rollups {
                let (day_first, day_last) = day_range(day);
                self.fill(&view, (from, day_first - 1), &index, &mut filled)?;
                for (hour, at) in rollup.hours.iter().zip((day_first..).step_by(HOUR_MS as usize)) {
                    filled[index(at)].add(hour.n, hour.n_flagged, hour.numbers.as_ref());
                }
                from = day_last + 1;
            }
            self.fill(&view, (from, last), &index, &mut filled)?;
        }
        let starts = (0..n_steps).map(|i| first.saturating_add_unsigned(i.saturating_mul(step_ms)));
        Ok(starts
            .zip(filled)
            .map(|(start, filled)| Step {
                start: Timestamp::from_ms(start),
                value: filled.value(agg),
                n: filled.n,
                n_flagged: filled.n_flagged,
            })
            .collect())
    }
}

impl History {
    /// Fills steps from what chunks and memory hold of a range.
    fn fill(
        &self,
        view: &View,
        range: (i64, i64),
        index: &dyn Fn(i64) -> usize,
        filled: &mut [Filled],
    ) -> Result<(), HistoryError> {
        view.walk(
            &self.disk,
            range,
            &|from, to| index(from) == index(to),
            &mut |part| {
                match part {
                    Part::Whole(header) => {
                        filled[index(header.first)].add(header.n, header.n_flagged, header.numbers.as_ref());
                    }
                    Part::Points(points) => {
                        for point in points {
                            let numbers = point.value.number().map(Numbers::one);
                            filled[index(point.at)].add(1, u64::from(is_flagged(point)), numbers.as_ref());
                        }
                    }
                }
                ControlFlow::Continue(())
            },
        )
    }

    /// The rollups of days that lie wholly in a range and that nothing was put into since.
    fn rollups(&self, view: &View, (first, last): (i64, i64)) -> Result<Vec<(i64, Day)>, HistoryError> {
        let mut days = Vec::new();
        let (mut from, mut to) = (day_of(first), day_of(last));
        from += i64::from(day_range(from).0 < first);
        to -= i64::from(day_range(to).1 > last);
        if from > to {
            return Ok(days);
        }
        let rows = key(view.id.0, from, 0)..=key(view.id.0, to, 0);
        for row in view.snapshot.range(&self.disk.rollups, rows) {
            let (key, row) = row.into_inner().map_err(HistoryError::reading)?;
            let day = read_key(&key).map(|(_, day, _)| day);
            match (day, unseal(&key, &row).and_then(Day::decode)) {
                (Some(day), Some(rollup)) if !view.stale.contains(&day) => days.push((day, rollup)),
                (Some(_), Some(_)) => {}
                _ => self.disk.report_damage("rollup", &key),
            }
        }
        Ok(days)
    }
}

/// What a step holds.
#[derive(Clone, Default)]
struct Filled {
    n: u64,
    n_flagged: u64,
    numbers: Option<Numbers>,
}

impl Filled {
    fn add(&mut self, n: u64, n_flagged: u64, numbers: Option<&Numbers>) {
        self.n += n;
        self.n_flagged += n_flagged;
        self.append(numbers);
    }
    fn append(&mut self, newer: Option<&Numbers>) {
        match (&mut self.numbers, newer) {
            (Some(numbers), Some(newer)) => numbers.append(newer),
            (None, newer) => self.numbers = newer.cloned(),
            (Some(_), None) => {}
        }
    }
    fn value(&self, agg: Agg) -> Option<f64> {
        let numbers = self.numbers.as_ref();
        match agg {
            Agg::Count => (self.n > 0).then_some(self.n as f64),
            Agg::Mean => numbers.map(|n| n.sum / n.n as f64),
            Agg::Min => numbers.map(|n| n.min),
            Agg::Max => numbers.map(|n| n.max),
            Agg::Sum => numbers.map(|n| n.sum),
            Agg::First => numbers.map(|n| n.first),
            Agg::Last => numbers.map(|n| n.last),
        }
    }
}

/// First and last millisecond of `from..to`; the last is before the first when it is empty.
fn range(from: Timestamp, to: Timestamp) -> (i64, i64) {
    match to.ms().checked_sub(1) {
        Some(last) => (from.ms(), last),
        None => (0, -1),
    }
}

fn each(part: Part<'_>, take: &mut dyn FnMut(&Kept) -> ControlFlow<()>) -> ControlFlow<()> {
    match part {
        Part::Points(points) => points.iter().try_for_each(take),
        Part::Whole(_) => unreachable!("no chunk is passed whole to those who ask for its points"),
    }
}
