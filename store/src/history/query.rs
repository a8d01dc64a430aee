//! What can be asked of a series: its values, as shown now or as known then, every version of them,
//! and aggregates by step.

use std::ops::ControlFlow;
use std::time::Duration;

use onemap_model::{Quality, Timestamp};

use fjall::Readable;

use super::chunk::{Numbers, is_flagged, key, read_key, unseal};
use super::point::{Across, Agg, GroupStep, Kept, Point, Step, Version};
use super::read::{Part, View};
use super::rollup::{Day, HOUR_MS, Held, can_answer, day_of, day_range};
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
        let grid = Grid::of(from, to, step)?;
        let filled = self.filled(id, &grid, can_answer(agg, grid.first, grid.step_ms), None)?;
        Ok(grid
            .starts()
            .zip(filled)
            .map(|(start, filled)| Step {
                start,
                value: value(&filled, agg),
                n: filled.n,
                n_flagged: filled.n_flagged,
            })
            .collect())
    }

    /// Aggregates groups of series in the same steps as [`History::downsample`]: first each series by
    /// itself, then the series of a group as `across` says. A step of a group in which no series has a
    /// number has no value.
    ///
    /// `takes` chooses points by their marks; with it every point is looked at.
    ///
    /// # Errors
    /// As [`History::downsample`].
    pub fn aggregate(
        &self,
        groups: &[Vec<SeriesId>],
        (from, to): (Timestamp, Timestamp),
        step: Duration,
        across: Across,
        takes: Option<&dyn Fn(Quality) -> bool>,
    ) -> Result<Vec<Vec<GroupStep>>, HistoryError> {
        let grid = Grid::of(from, to, step)?;
        let by_rollups = takes.is_none() && can_answer(Agg::Mean, grid.first, grid.step_ms);
        let mut all = Vec::with_capacity(groups.len());
        for group in groups {
            let mut steps = vec![Gathered::default(); grid.n as usize];
            for id in group {
                let filled = self.filled(*id, &grid, by_rollups, takes)?;
                for (step, filled) in steps.iter_mut().zip(&filled) {
                    step.add(filled, across);
                }
            }
            let steps = grid.starts().zip(steps);
            all.push(steps.map(|(start, step)| step.close(start, across)).collect());
        }
        Ok(all)
    }
}

/// Steps of one length, from one time to another.
struct Grid {
    first: i64,
    last: i64,
    step_ms: u64,
    n: u64,
}

impl Grid {
    fn of(from: Timestamp, to: Timestamp, step: Duration) -> Result<Self, HistoryError> {
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
    fn index(&self, at: i64) -> usize {
        (at.abs_diff(self.first) / self.step_ms) as usize
    }
    fn starts(&self) -> impl Iterator<Item = Timestamp> + '_ {
        let start = |i: u64| self.first.saturating_add_unsigned(i.saturating_mul(self.step_ms));
        (0..self.n).map(move |i| Timestamp::from_ms(start(i)))
    }
}

/// What the series of a group hold in one step.
#[derive(Clone, Default)]
struct Gathered {
    n: u64,
    n_series: u64,
    /// Of means, for a percentile; else at most one number.
    values: Vec<f64>,
    sum: f64,
    n_numbers: u64,
    n_series_with_numbers: u64,
}

impl Gathered {
    fn add(&mut self, filled: &Held, across: Across) {
        self.n += filled.n;
        self.n_series += u64::from(filled.n > 0);
        let Some(numbers) = &filled.numbers else { return };
        let mean = numbers.sum / numbers.n as f64;
        self.n_numbers += numbers.n;
        self.n_series_with_numbers += 1;
        let value = match across {
            Across::Min => numbers.min,
            Across::Max => numbers.max,
            Across::Percentile(_) => {
                self.values.push(mean);
                return;
            }
            Across::MeanOfSeries => mean,
            Across::Sum | Across::MeanOfPoints | Across::Count => numbers.sum,
        };
        match across {
            Across::Min if !self.values.is_empty() => self.values[0] = self.values[0].min(value),
            Across::Max if !self.values.is_empty() => self.values[0] = self.values[0].max(value),
            Across::Min | Across::Max => self.values.push(value),
            _ => {
                self.sum += value;
                self.values.resize(1, 0.0);
            }
        }
    }

    fn close(mut self, start: Timestamp, across: Across) -> GroupStep {
        let value = match across {
            Across::Count => (self.n > 0).then_some(self.n as f64),
            _ if self.values.is_empty() => None,
            Across::Min | Across::Max => Some(self.values[0]),
            Across::Sum => Some(self.sum),
            Across::MeanOfPoints => Some(self.sum / self.n_numbers as f64),
            Across::MeanOfSeries => Some(self.sum / self.n_series_with_numbers as f64),
            Across::Percentile(p) => Some(percentile(&mut self.values, p)),
        };
        GroupStep {
            start,
            value,
            n: self.n,
            n_series: self.n_series,
        }
    }
}

/// The value that a share `p` (0 to 1) of the values is at or below, between two by their distance (type 7
/// of Hyndman and Fan, what spreadsheets call PERCENTILE.INC).
fn percentile(values: &mut [f64], p: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = p.clamp(0.0, 1.0) * (values.len() - 1) as f64;
    let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

impl History {
    /// What each step of a series holds; from rollups where `by_rollups` allows it.
    fn filled(
        &self,
        id: SeriesId,
        grid: &Grid,
        by_rollups: bool,
        takes: Option<&dyn Fn(Quality) -> bool>,
    ) -> Result<Vec<Held>, HistoryError> {
        let mut filled = vec![Held::default(); grid.n as usize];
        let Some(view) = (grid.n > 0)
            .then(|| View::of(&self.disk, &self.memory, id))
            .flatten()
        else {
            return Ok(filled);
        };
        let rollups = match by_rollups {
            true => self.rollups(&view, (grid.first, grid.last))?,
            false => Vec::new(),
        };
        let mut from = grid.first;
        for (day, rollup) in rollups {
            let (day_first, day_last) = day_range(day);
            self.fill(&view, (from, day_first - 1), grid, takes, &mut filled)?;
            for (hour, at) in rollup.hours.iter().zip((day_first..).step_by(HOUR_MS as usize)) {
                filled[grid.index(at)].add(hour.n, hour.n_flagged, hour.numbers.as_ref());
            }
            from = day_last + 1;
        }
        self.fill(&view, (from, grid.last), grid, takes, &mut filled)?;
        Ok(filled)
    }

    /// Fills steps from what chunks and memory hold of a range.
    fn fill(
        &self,
        view: &View,
        range: (i64, i64),
        grid: &Grid,
        takes: Option<&dyn Fn(Quality) -> bool>,
        filled: &mut [Held],
    ) -> Result<(), HistoryError> {
        view.walk(
            &self.disk,
            range,
            &|from, to| takes.is_none() && grid.index(from) == grid.index(to),
            &mut |part| {
                match part {
                    Part::Whole(header) => {
                        filled[grid.index(header.first)].add(
                            header.n,
                            header.n_flagged,
                            header.numbers.as_ref(),
                        );
                    }
                    Part::Points(points) => {
                        let taken = |p: &&Kept| takes.is_none_or(|takes| takes(Quality(p.quality)));
                        for point in points.iter().filter(taken) {
                            let numbers = point.value.number().map(Numbers::one);
                            filled[grid.index(point.at)].add(
                                1,
                                u64::from(is_flagged(point)),
                                numbers.as_ref(),
                            );
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

/// What a step is by an aggregate; `None` when it is empty.
fn value(held: &Held, agg: Agg) -> Option<f64> {
    let numbers = held.numbers.as_ref();
    match agg {
        Agg::Count => (held.n > 0).then_some(held.n as f64),
        Agg::Mean => numbers.map(|n| n.sum / n.n as f64),
        Agg::Min => numbers.map(|n| n.min),
        Agg::Max => numbers.map(|n| n.max),
        Agg::Sum => numbers.map(|n| n.sum),
        Agg::First => numbers.map(|n| n.first),
        Agg::Last => numbers.map(|n| n.last),
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
