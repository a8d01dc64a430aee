//! Groups of series as one line: each series by itself first, then all of a step as one number.

use std::panic::resume_unwind;
use std::time::Duration;

use onemap_model::Timestamp;

use super::missing::{noting, take_up};
use super::point::{Across, Agg, GroupStep, Over, Step};
use super::query::Which;
use super::steps::Grid;
use super::{History, HistoryError, SeriesId};

/// Steps of series that are held at the same time, about 12 MB.
const N_STEPS: usize = 1 << 18;
/// Fewer series are not worth the threads.
const N_ALONE: usize = 64;
/// Threads of one question; the others of the machine stay with those who bring readings.
const MAX_THREADS: usize = 4;

/// A series of a group, and how much it counts in a mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Member {
    /// The series.
    pub id: SeriesId,
    /// Its weight, 0 or more and finite; only [`Over::Mean`] and [`Over::MeanOfPoints`] look at it.
    pub weight: f64,
}

impl From<SeriesId> for Member {
    fn from(id: SeriesId) -> Self {
        Self { id, weight: 1.0 }
    }
}

impl History {
    /// Aggregates groups of series in the same steps as [`History::downsample`]: first each series by
    /// itself, then the series of a group, both as `across` says. A step of a group in which no series has a
    /// number has no value. Steps that are left as gaps have no part in a mean, nor have their weights.
    ///
    /// # Errors
    /// As [`History::downsample`].
    pub fn aggregate(
        &self,
        groups: &[Vec<Member>],
        (from, to): (Timestamp, Timestamp),
        step: Duration,
        across: Across,
        which: Which<'_>,
    ) -> Result<Vec<Vec<GroupStep>>, HistoryError> {
        let grid = Grid::of(from, to, step)?;
        let mut gathered = vec![vec![Gathered::default(); grid.len()]; groups.len()];
        let members: Vec<(usize, Member)> = (0..)
            .zip(groups)
            .flat_map(|(i, group)| group.iter().map(move |member| (i, *member)))
            .collect();
        for some in members.chunks((N_STEPS / grid.len().max(1)).max(1)) {
            // Added up in the order of the members, whoever was ready first: sums are the same every time.
            for ((i, member), steps) in some.iter().zip(self.steps_of(some, &grid, across.each, which)?) {
                for (gathered, (step, n_numbers)) in gathered[*i].iter_mut().zip(steps) {
                    gathered.add(&step, n_numbers, member.weight, across.over);
                }
            }
        }
        let close = |gathered: Vec<Gathered>| {
            let steps = grid.starts().zip(gathered);
            steps
                .map(|(start, gathered)| gathered.close(start, across.over))
                .collect()
        };
        Ok(gathered.into_iter().map(close).collect())
    }

    /// The steps of each series and how many numbers each has; of many, on several threads.
    fn steps_of(
        &self,
        members: &[(usize, Member)],
        grid: &Grid,
        each: Agg,
        which: Which<'_>,
    ) -> Result<Vec<Vec<(Step, u64)>>, HistoryError> {
        let read = |members: &[(usize, Member)]| -> Result<Vec<_>, HistoryError> {
            members
                .iter()
                .map(|(_, member)| self.steps(member.id, grid, each, which))
                .collect()
        };
        let n_threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(MAX_THREADS));
        if n_threads == 1 || members.len() < N_ALONE {
            return read(members);
        }
        let (own, others) = members.split_at(members.len().div_ceil(n_threads));
        std::thread::scope(|scope| {
            let others: Vec<_> = others
                .chunks(own.len())
                .map(|some| scope.spawn(|| noting(|| read(some))))
                .collect();
            let mut all = read(own)?;
            for other in others {
                let (steps, missing) = other.join().unwrap_or_else(|panic| resume_unwind(panic));
                take_up(missing);
                all.extend(steps?);
            }
            Ok(all)
        })
    }
}

/// What the series of a group say in one step.
#[derive(Clone, Default)]
pub(crate) struct Gathered {
    n: u64,
    n_series: u64,
    /// Series that have a value.
    n_values: u64,
    sum: f64,
    weighted: f64,
    weight: f64,
    least: Option<f64>,
    most: Option<f64>,
    /// All of them, for a percentile only.
    values: Vec<f64>,
}

impl Gathered {
    pub(crate) fn add(&mut self, step: &Step, n_numbers: u64, weight: f64, over: Over) {
        self.n += step.n;
        self.n_series += u64::from(step.n > 0);
        let Some(value) = step.value else { return };
        let weight = match over {
            Over::MeanOfPoints => weight * n_numbers as f64,
            _ => weight,
        };
        self.n_values += 1;
        self.sum += value;
        self.weighted += weight * value;
        self.weight += weight;
        self.least = Some(self.least.map_or(value, |least| least.min(value)));
        self.most = Some(self.most.map_or(value, |most| most.max(value)));
        if matches!(over, Over::Percentile(_)) {
            self.values.push(value);
        }
    }

    pub(crate) fn close(mut self, start: Timestamp, over: Over) -> GroupStep {
        let value = match over {
            Over::Min => self.least,
            Over::Max => self.most,
            Over::Sum => (self.n_values > 0).then_some(self.sum),
            Over::Mean | Over::MeanOfPoints => (self.weight > 0.0).then(|| self.weighted / self.weight),
            Over::Percentile(p) => percentile(&mut self.values, p),
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
/// of Hyndman and Fan, what spreadsheets call PERCENTILE.INC); of none there is none.
pub(crate) fn percentile(values: &mut [f64], p: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let place = p.clamp(0.0, 1.0) * values.len().checked_sub(1)? as f64;
    let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
    Some(below + (above - below) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_a_spreadsheet() {
        for (values, p, want) in [
            (&[][..], 0.5, None),
            (&[3.0], 0.98, Some(3.0)),
            (&[4.0, 1.0, 3.0, 2.0], 0.0, Some(1.0)),
            (&[4.0, 1.0, 3.0, 2.0], 1.0, Some(4.0)),
            (&[4.0, 1.0, 3.0, 2.0], 0.5, Some(2.5)),
            (&[15.0, 20.0, 35.0, 40.0, 50.0], 0.4, Some(29.0)),
        ] {
            assert_eq!(percentile(&mut values.to_vec(), p), want, "{values:?} {p}");
        }
    }

    #[test]
    fn a_weight_counts_in_means_and_nothing_weighs_nothing() {
        let step = |value, n| Step {
            start: Timestamp::from_ms(0),
            value,
            n,
            n_flagged: 0,
        };
        // Value, points, weight.
        let said = [
            (Some(10.0), 1, 3.0),
            (Some(2.0), 4, 1.0),
            (None, 1, 50.0),
            (Some(6.0), 1, 0.0),
        ];
        let over = |over, said: &[(Option<f64>, u64, f64)]| {
            let mut gathered = Gathered::default();
            for (value, n, weight) in said {
                gathered.add(&step(*value, *n), *n, *weight, over);
            }
            gathered.close(Timestamp::from_ms(0), over).value
        };
        for (how, want) in [
            (Over::Mean, 8.0),
            (Over::MeanOfPoints, 38.0 / 7.0),
            (Over::Sum, 18.0),
            (Over::Min, 2.0),
            (Over::Max, 10.0),
            (Over::Percentile(0.5), 6.0),
        ] {
            assert_eq!(over(how, &said), Some(want), "{how:?}");
            assert_eq!(over(how, &said[2..3]), None, "{how:?}");
        }
        assert_eq!(over(Over::Mean, &said[3..]), None);
    }
}
