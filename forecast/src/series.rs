//! Series on one grid of times, and the way there from rows as they came.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What kind of quantity a series holds, which decides the features that are made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A level, flow, concentration or other state: its changes count.
    State,
    /// An amount of a step, mostly zero, never negative (rain): its sums count.
    Amount,
    /// An amount that is known ahead, as rain forecasts are: its sums up to the horizon count, too.
    AheadAmount,
    /// An amount as others foresaw it ([`Series::foretold`]): its sums from the origin on count, of the forecast that was known there.
    Foretold,
}

/// Values on a grid; NaN is what is missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name in what is told of it.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// One value a step; of [`Kind::Foretold`] none is looked at.
    pub values: Vec<f64>,
    /// What others foresaw of it; empty but of [`Kind::Foretold`].
    pub foretold: Foretold,
}

/// Amounts after each step of a grid, as they were foreseen by somebody else. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Foretold(Arc<Told>);

#[derive(Debug, Default, PartialEq)]
struct Told {
    forecasts: Vec<Sums>,
    /// By step: one more than the place of the forecast that was known there; 0 of none.
    known: Vec<u32>,
}

/// Sums of amounts from a step of the grid on.
#[derive(Debug, PartialEq)]
struct Sums {
    /// The step that the first amount is of; may lie before the grid.
    first: i64,
    /// Up to each step, exclusive.
    sums: Vec<f64>,
}

/// One forecast of amounts.
#[derive(Clone, Debug, PartialEq)]
pub struct Amounts {
    /// The first step of the grid at which it was known; may lie before the grid.
    pub known_from: i64,
    /// The last step at which it is still asked.
    pub known_until: i64,
    /// The step that the first amount is of.
    pub first: i64,
    /// One a step, without a gap; what is negative or no number is none.
    pub amounts: Vec<f64>,
}

impl Foretold {
    /// Forecasts on a grid of `n` steps, in the order in which they became known: a later one takes the place of those before.
    pub fn new(n: usize, forecasts: impl IntoIterator<Item = Amounts>) -> Self {
        let mut told = Told {
            forecasts: Vec::new(),
            known: vec![0; n],
        };
        for Amounts {
            known_from,
            known_until,
            first,
            amounts,
        } in forecasts
        {
            let mut sum = 0.0;
            let sums = amounts.iter().map(|amount| {
                sum += amount.max(0.0);
                sum
            });
            let sums = std::iter::once(0.0).chain(sums).collect();
            told.forecasts.push(Sums { first, sums });
            let place = u32::try_from(told.forecasts.len()).unwrap_or(0);
            let within = |step: i64| usize::try_from(step).unwrap_or(0).min(n);
            let (from, to) = (within(known_from), within(known_until.saturating_add(1)));
            if let Some(steps) = told.known.get_mut(from..to) {
                steps.fill(place);
            }
        }
        Self(Arc::new(told))
    }

    /// Sum over the steps `(from, to]` as it was foreseen at a step; `None` where that does not reach so far, or nothing was known.
    pub fn sum(&self, at: usize, from: i64, to: i64) -> Option<f64> {
        let place = *self.0.known.get(at)?;
        let Sums { first, sums } = self.0.forecasts.get((place as usize).checked_sub(1)?)?;
        let up_to = |step: i64| sums.get(usize::try_from(step + 1 - first).ok()?).copied();
        Some(up_to(to)? - up_to(from)?)
    }

    /// How many of the first `n` steps had a forecast.
    pub fn n_known(&self, n: usize) -> usize {
        let known = &self.0.known;
        known[..n.min(known.len())]
            .iter()
            .filter(|place| **place > 0)
            .count()
    }
}

/// Series of one grid; the first is the target.
#[derive(Clone, Debug, PartialEq)]
pub struct Aligned {
    /// Time of the first step, milliseconds since 1970 in the clock of the data.
    pub start_ms: i64,
    /// Between steps, milliseconds, > 0.
    pub step_ms: i64,
    /// As many values each.
    pub series: Vec<Series>,
}

/// Why rows are no series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GridError {
    /// Fewer than two different times.
    #[error("{n} different times are too few for a step")]
    TooFew {
        /// How many there are.
        n: usize,
    },
    /// A grid of more steps than are held.
    #[error("a step of {step_ms} ms over {span_ms} ms gives {steps} steps, more than {most}")]
    TooLong {
        /// The step found.
        step_ms: i64,
        /// From the first time to the last.
        span_ms: i64,
        /// How many steps.
        steps: i64,
        /// How many are held.
        most: i64,
    },
}

/// Steps of a grid at most: 16 years of five-minute values.
const MOST_STEPS: i64 = 2_000_000;

/// What was done to rows on their way to a grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Regridded {
    /// Rows that came.
    pub rows: usize,
    /// Rows whose time came again later; the later row holds, field by field.
    pub repeated: usize,
    /// Rows that came before an earlier time.
    pub unordered: usize,
    /// Steps of the grid without a row.
    pub empty_steps: usize,
}

impl Aligned {
    /// Puts rows on a grid of their median step. A step has, column by column, the newest value of the step that ends with it
    /// (and none that is later, so no value is known before its time); amounts of the step are added.
    ///
    /// `times` in milliseconds, any order; `columns` as long as `times`, NaN where missing; the first is the target.
    ///
    /// # Errors
    /// [`GridError`] when there is no step or the grid would be too long.
    ///
    /// # Panics
    /// When a column is not as long as the times.
    pub fn regrid(times: &[i64], columns: Vec<Series>) -> Result<(Self, Regridded), GridError> {
        assert!(
            columns.iter().all(|column| column.values.len() == times.len()),
            "a value a time"
        );
        let mut order: Vec<usize> = (0..times.len()).collect();
        order.sort_by_key(|at| times[*at]);
        let mut gaps: Vec<i64> = order
            .windows(2)
            .map(|two| times[two[1]] - times[two[0]])
            .filter(|gap| *gap > 0)
            .collect();
        if gaps.is_empty() {
            return Err(GridError::TooFew {
                n: times.len().min(1),
            });
        }
        let middle = gaps.len() / 2;
        let step_ms = whole_step(*gaps.select_nth_unstable(middle).1);
        let (first, last) = (times[order[0]], times[order[order.len() - 1]]);
        // On the step's own marks when most rows are: full hours stay full hours.
        let on_first = times.iter().filter(|t| (**t - first) % step_ms == 0).count();
        let on_marks = times.iter().filter(|t| t.rem_euclid(step_ms) == 0).count();
        let start_ms = if on_first >= on_marks {
            first
        } else {
            first - first.rem_euclid(step_ms)
        };
        let span_ms = last - start_ms;
        let steps = (span_ms + step_ms - 1) / step_ms + 1;
        if steps > MOST_STEPS {
            return Err(GridError::TooLong {
                step_ms,
                span_ms,
                steps,
                most: MOST_STEPS,
            });
        }
        let n = steps as usize;
        let step_of = |time: i64| ((time - start_ms + step_ms - 1) / step_ms) as usize;
        let mut has_row = vec![false; n];
        for time in times {
            has_row[step_of(*time)] = true;
        }
        let done = Regridded {
            rows: times.len(),
            repeated: order
                .windows(2)
                .filter(|two| times[two[0]] == times[two[1]])
                .count(),
            unordered: times.windows(2).filter(|two| two[1] < two[0]).count(),
            empty_steps: has_row.iter().filter(|has| !**has).count(),
        };
        let series = columns
            .into_iter()
            .map(|column| {
                let mut values = vec![f64::NAN; n];
                let mut last: (i64, f64) = (i64::MIN, 0.0);
                for at in &order {
                    let (value, to) = (column.values[*at], &mut values[step_of(times[*at])]);
                    if value.is_nan() {
                        continue;
                    }
                    let again = if last.0 == times[*at] { last.1 } else { 0.0 };
                    *to = match column.kind {
                        Kind::State => value,
                        _ if to.is_nan() => value,
                        _ => *to - again + value,
                    };
                    last = (times[*at], value);
                }
                Series { values, ..column }
            })
            .collect();
        Ok((
            Self {
                start_ms,
                step_ms,
                series,
            },
            done,
        ))
    }

    /// Steps of the grid.
    pub fn len(&self) -> usize {
        self.series.first().map_or(0, |series| series.values.len())
    }

    /// Whether there is no step.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Time of a step, milliseconds.
    pub fn time_ms(&self, step: usize) -> i64 {
        self.start_ms + step as i64 * self.step_ms
    }
}

/// A step that people use when the measured one is within 2 % of it: clocks of scrapers drift by seconds.
fn whole_step(step_ms: i64) -> i64 {
    const WHOLE_MIN: [i64; 11] = [1, 5, 6, 10, 15, 20, 30, 60, 180, 360, 1440];
    WHOLE_MIN
        .iter()
        .map(|minutes| minutes * 60_000)
        .find(|whole| (step_ms - whole).abs() * 50 <= *whole)
        .unwrap_or(step_ms)
}

/// The kind that values look like: mostly zeros and never negative is an amount.
pub fn kind_of(values: &[f64]) -> Kind {
    let (mut n, mut n_zero, mut n_negative) = (0usize, 0usize, 0usize);
    for value in values.iter().filter(|value| !value.is_nan()) {
        n += 1;
        n_zero += usize::from(*value == 0.0);
        n_negative += usize::from(*value < 0.0);
    }
    // A sentinel or two below zero do not make rain a level.
    if n > 0 && n_zero * 2 > n && n_negative * 50 < n && n_zero < n {
        Kind::Amount
    } else {
        Kind::State
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const HOUR: i64 = 3_600_000;

    fn state(values: &[f64]) -> Series {
        Series {
            name: "y".to_owned(),
            kind: Kind::State,
            values: values.to_vec(),
            foretold: Foretold::default(),
        }
    }

    #[test]
    fn what_others_foresaw_is_asked_of_the_newest_that_was_known() {
        let forecast = |known: (i64, i64), first: i64, amounts: &[f64]| Amounts {
            known_from: known.0,
            known_until: known.1,
            first,
            amounts: amounts.to_vec(),
        };
        let told = Foretold::new(
            8,
            [
                forecast((-2, 3), -1, &[9.0, 9.0, 1.0, 2.0, -5.0, f64::NAN, 4.0]),
                forecast((2, 4), 3, &[7.0, 0.5]),
                forecast((20, 30), 0, &[1.0]),
            ],
        );
        // Steps 1 to 5 of the first are 1, 2, none, none, 4.
        assert_eq!(told.sum(0, 0, 2), Some(3.0));
        assert_eq!(told.sum(1, 1, 5), Some(6.0));
        assert_eq!(told.sum(1, 1, 6), None, "beyond what it says");
        assert_eq!(told.sum(2, 2, 4), Some(7.5));
        assert_eq!(told.sum(3, 3, 5), None, "the newest is asked alone");
        assert_eq!(told.sum(5, 5, 6), None, "too old");
        assert_eq!(told.sum(99, 5, 6), None);
        assert_eq!((told.n_known(8), told.n_known(3), told.n_known(99)), (5, 3, 5));
        assert_eq!(Foretold::default().sum(0, 0, 1), None);
    }

    #[test]
    fn scraped_rows_stand_at_the_next_full_step_and_none_is_known_early() {
        let times = [
            46 * 60_000,
            HOUR + 46 * 60_000,
            2 * HOUR + 47 * 60_000,
            5 * HOUR + 46 * 60_000,
        ];
        let (grid, done) = Aligned::regrid(&times, vec![state(&[1.0, 2.0, 3.0, 4.0])]).unwrap();
        assert_eq!(grid.step_ms, HOUR);
        assert_eq!(done.empty_steps, 2);
        for (time, value) in times.iter().zip([1.0, 2.0, 3.0, 4.0]) {
            let at = grid.series[0].values.iter().position(|v| *v == value).unwrap();
            let late = grid.time_ms(at) - time;
            assert!((0..HOUR).contains(&late), "{late}");
        }
    }

    #[test]
    fn the_later_row_of_a_time_holds_and_rows_may_come_in_any_order() {
        let times = [2 * HOUR, 0, HOUR, HOUR, 3 * HOUR];
        let (grid, done) = Aligned::regrid(&times, vec![state(&[2.0, 0.0, 1.0, 1.5, 3.0])]).unwrap();
        assert_eq!(grid.series[0].values, [0.0, 1.5, 2.0, 3.0]);
        assert_eq!((done.repeated, done.unordered), (1, 1));
    }

    #[test]
    fn amounts_of_a_step_add_up_but_not_with_themselves() {
        let times: Vec<i64> = [0, 60, 120, 150, 180, 180, 240]
            .iter()
            .map(|m| m * 60_000)
            .collect();
        let rain = Series {
            name: "rain".into(),
            kind: Kind::Amount,
            values: vec![0.0, 1.0, 0.0, 2.0, 3.0, 3.0, 0.0],
            foretold: Foretold::default(),
        };
        let (grid, _) = Aligned::regrid(&times, vec![rain]).unwrap();
        assert_eq!(grid.series[0].values, [0.0, 1.0, 0.0, 5.0, 0.0]);
    }

    #[test]
    fn one_time_is_no_series_and_a_century_of_seconds_is_too_long() {
        assert!(matches!(
            Aligned::regrid(&[5, 5], vec![state(&[1.0, 2.0])]),
            Err(GridError::TooFew { .. })
        ));
        let far = [0, 1_000, 2_000, 3_000_000_000_000];
        assert!(matches!(
            Aligned::regrid(&far, vec![state(&[1.0; 4])]),
            Err(GridError::TooLong { .. })
        ));
    }

    #[test]
    fn rain_is_an_amount_and_a_dry_gauge_without_rain_is_not() {
        assert_eq!(kind_of(&[0.0, 0.0, 1.0, 0.0, -999.0]), Kind::State);
        assert_eq!(kind_of(&[0.0, 0.0, 0.0, 0.4]), Kind::Amount);
        assert_eq!(kind_of(&[0.0; 9]), Kind::State);
    }
}
