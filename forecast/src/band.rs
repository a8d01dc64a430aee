//! The ends of the 80 % interval: wider than a tenth on either side where floods are made.
//!
//! An interval that holds 80 % of what comes from each origin holds less of what came in flood, as floods are chosen by what
//! came. Where the water is lively, and the more where a large error is foreseen, the ends are drawn apart until what came in the
//! floods of blocks that were left out lies inside; in steady water the interval is moved upwards instead. Over all rows it holds
//! a few of a hundred more than 80 %.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::conformal::State;
use crate::score::{LEVELS, quantile_of};

/// Levels of the ends of an interval, and by how much it is drawn beyond them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Band {
    /// Of the lower end.
    pub low: f64,
    /// Of the upper end.
    pub high: f64,
    /// Times the distance of each end from the median, ≥ 1.
    pub stretch: f64,
}

/// The 80 % interval of a lead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bands {
    /// By state, in the order of [`crate::conformal::STATES`].
    of_state: [Band; 3],
    /// A foreseen size of error beyond which `of_large` holds in any state.
    #[serde(with = "crate::bound")]
    large: f64,
    of_large: Band,
}

const fn band(low: f64, high: f64, stretch: f64) -> Band {
    Band { low, high, stretch }
}

impl Band {
    /// A tenth on either side.
    pub const PLAIN: Self = band(0.1, 0.9, 1.0);

    /// The ends among values at [`LEVELS`].
    pub fn of(&self, quantiles: &[f64]) -> (f64, f64) {
        let at = |level: f64| {
            let above = LEVELS.partition_point(|l| *l < level).clamp(1, LEVELS.len() - 1);
            let share = (level - LEVELS[above - 1]) / (LEVELS[above] - LEVELS[above - 1]);
            quantiles[above - 1] + share.clamp(0.0, 1.0) * (quantiles[above] - quantiles[above - 1])
        };
        let middle = at(0.5);
        let from_middle = |end: f64| middle + self.stretch * (end - middle);
        (from_middle(at(self.low)), from_middle(at(self.high)))
    }
}

/// Ever wider, more so upwards: what rises is what is feared.
const WIDER: [Band; 12] = [
    Band::PLAIN,
    band(0.09, 0.92, 1.0),
    band(0.08, 0.935, 1.0),
    band(0.07, 0.95, 1.0),
    band(0.06, 0.96, 1.0),
    band(0.05, 0.97, 1.0),
    band(0.04, 0.98, 1.0),
    band(0.03, 0.98, 1.1),
    band(0.02, 0.98, 1.2),
    band(0.02, 0.98, 1.4),
    band(0.02, 0.98, 1.7),
    band(0.02, 0.98, 2.0),
];
/// Those that are not drawn beyond the outer quantiles: for states, which hold more rows than the large sizes do.
const N_WITHIN: usize = 7;
/// Ever further up, as wide as before.
const HIGHER: [Band; 5] = [
    Band::PLAIN,
    band(0.12, 0.92, 1.0),
    band(0.14, 0.94, 1.0),
    band(0.16, 0.96, 1.0),
    band(0.18, 0.98, 1.0),
];
/// Share of what came in flood that is to lie inside, of large foreseen sizes, in lively water, and else.
const HELD_OF_LARGE: f64 = 0.95;
const HELD_LIVELY: f64 = 0.82;
const HELD: f64 = 0.8;
/// Share of all that comes in steady water that may lie inside an interval that is moved up.
const MOST_HELD: f64 = 0.85;
/// Blocks with floods without which these say too little of the next one, and the least bands (among [`WIDER`]) that hold then.
const LEAST_BLOCKS: usize = 3;
const LEAST_OF_LARGE: usize = 5;
const LEAST_LIVELY: usize = 1;
/// Share of all rows that have a large foreseen size at most.
const MOST_LARGE: f64 = 0.15;
/// Share of the flood rows whose foreseen size is not large.
const NOT_LARGE: f64 = 0.3;
/// Flood rows from which a band is chosen.
const LEAST_FLOODS: usize = 20;

/// An error of a row of a block that was left out.
pub(crate) struct Left<'a> {
    pub(crate) state: State,
    pub(crate) size: f64,
    /// The error in that size.
    pub(crate) divided: f64,
    /// Quantiles of such errors in the other blocks, at [`LEVELS`].
    pub(crate) quantiles: &'a [f64],
    pub(crate) is_flood: bool,
    /// The block that was left out.
    pub(crate) block: usize,
}

impl Left<'_> {
    fn is_inside(&self, band: &Band) -> bool {
        let (low, high) = band.of(self.quantiles);
        (low..=high).contains(&self.divided)
    }
}

impl Bands {
    /// A tenth on either side, always.
    pub fn plain() -> Self {
        Self {
            of_state: [Band::PLAIN; 3],
            large: f64::INFINITY,
            of_large: Band::PLAIN,
        }
    }

    /// Chooses bands from errors of blocks that were left out.
    pub(crate) fn learn(left: &[Left<'_>]) -> Self {
        let sizes = |of: &dyn Fn(&&Left<'_>) -> bool| -> Vec<f64> {
            let mut sizes: Vec<f64> = left.iter().filter(of).map(|row| row.size).collect();
            sizes.sort_unstable_by(f64::total_cmp);
            sizes
        };
        let (all, of_floods) = (sizes(&|_| true), sizes(&|row| row.is_flood));
        let mut found = Self::plain();
        if of_floods.len() < LEAST_FLOODS {
            return found;
        }
        found.large = quantile_of(&of_floods, NOT_LARGE).max(quantile_of(&all, 1.0 - MOST_LARGE));
        let is_large = |row: &Left<'_>| row.size > found.large;
        let chosen = |choices: &[Band], held: f64, of: &dyn Fn(&Left<'_>) -> bool| -> Band {
            let floods: Vec<&Left<'_>> = left.iter().filter(|row| row.is_flood && of(row)).collect();
            let holds = |band: &&Band| {
                let n_inside = floods.iter().filter(|row| row.is_inside(band)).count();
                n_inside as f64 >= held * floods.len() as f64
            };
            let widest = choices.last().copied().unwrap_or(Band::PLAIN);
            if floods.len() < LEAST_FLOODS {
                choices.first().copied().unwrap_or(Band::PLAIN)
            } else {
                choices.iter().find(holds).copied().unwrap_or(widest)
            }
        };
        let blocks: BTreeSet<usize> = left
            .iter()
            .filter(|row| row.is_flood)
            .map(|row| row.block)
            .collect();
        let (from_large, from_lively) = if blocks.len() < LEAST_BLOCKS {
            (LEAST_OF_LARGE, LEAST_LIVELY)
        } else {
            (0, 0)
        };
        let of_large = chosen(&WIDER[from_large..], HELD_OF_LARGE, &is_large);
        let lively = chosen(&WIDER[from_lively..N_WITHIN], HELD_LIVELY, &|row| {
            !is_large(row) && row.state != State::Steady
        });
        let is_steady = |row: &Left<'_>| !is_large(row) && row.state == State::Steady;
        // Where most of what comes is no change at all, an interval that is moved up keeps that at its lower end and holds too much.
        let within: Vec<Band> = HIGHER
            .into_iter()
            .filter(|band| {
                let (mut n, mut n_inside) = (0.0, 0.0);
                for row in left.iter().filter(|row| is_steady(row)) {
                    n += 1.0;
                    n_inside += f64::from(u8::from(row.is_inside(band)));
                }
                *band == Band::PLAIN || n_inside <= MOST_HELD * n
            })
            .collect();
        let steady = chosen(&within, HELD, &is_steady);
        found.of_large = of_large;
        found.of_state = [lively, lively, steady];
        found
    }

    /// The same, drawn apart by a factor everywhere.
    pub(crate) fn stretched(mut self, by: f64) -> Self {
        for band in self.of_state.iter_mut().chain([&mut self.of_large]) {
            band.stretch *= by;
        }
        self
    }

    /// The ends among values at [`LEVELS`], for a state and a foreseen size of the error.
    pub fn of(&self, state: State, size: f64, quantiles: &[f64]) -> (f64, f64) {
        if size > self.large {
            self.of_large.of(quantiles)
        } else {
            self.of_state[state as usize].of(quantiles)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(i: usize) -> f64 {
        let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    }

    #[test]
    fn floods_with_larger_errors_than_foreseen_widen_the_band_of_large_sizes_alone() {
        let quantiles: Vec<f64> = LEVELS.iter().map(|level| level - 0.5).collect();
        // One row of twenty is a flood, of a large foreseen size, and misses by twice as much.
        let left: Vec<Left<'_>> = (0..4000)
            .map(|i| {
                let is_flood = i % 20 == 0;
                Left {
                    state: if i % 10 == 0 { State::Rising } else { State::Steady },
                    size: if is_flood { 5.0 + noise(i) } else { 1.0 + noise(i) },
                    divided: noise(i) * if is_flood { 2.0 } else { 1.0 },
                    quantiles: &quantiles,
                    is_flood,
                    block: i / 20 % 5,
                }
            })
            .collect();
        let bands = Bands::learn(&left);
        let width = |state, size| {
            let (low, high) = bands.of(state, size, &quantiles);
            high - low
        };
        assert!((width(State::Steady, 1.0) - 0.8).abs() < 1e-9);
        assert!(width(State::Rising, 1.0) < 0.95);
        assert!(width(State::Rising, 5.4) > 1.7, "{}", width(State::Rising, 5.4));
    }

    #[test]
    fn the_floods_of_one_block_are_no_measure_of_the_next() {
        let quantiles: Vec<f64> = LEVELS.iter().map(|level| level - 0.5).collect();
        let of_blocks = |n: usize| {
            let left: Vec<Left<'_>> = (0..1000)
                .map(|i| Left {
                    state: State::Rising,
                    size: 1.0 + noise(i),
                    divided: 0.8 * noise(7 * i),
                    quantiles: &quantiles,
                    is_flood: i % 10 == 0,
                    block: i / 10 % n,
                })
                .collect();
            let (low, high) = Bands::learn(&left).of(State::Rising, 1.1, &quantiles);
            high - low
        };
        assert!(
            of_blocks(1) > of_blocks(5) + 0.01,
            "{} {}",
            of_blocks(1),
            of_blocks(5)
        );
    }

    #[test]
    fn an_interval_is_not_moved_up_where_nothing_mostly_comes() {
        let quantiles = [-1.0, -0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.4, 0.8, 1.0];
        let left: Vec<Left<'_>> = (0..1000)
            .map(|i| Left {
                state: State::Steady,
                size: if i % 50 == 1 { 0.5 } else { 1.0 },
                divided: if i % 50 < 2 { 0.9 } else { 0.0 },
                quantiles: &quantiles,
                is_flood: i % 50 < 2,
                block: i / 50 % 5,
            })
            .collect();
        let (low, high) = Bands::learn(&left).of(State::Steady, 0.5, &quantiles);
        assert!((low, high) == (0.0, 0.4), "{low} {high}");
    }

    #[test]
    fn a_few_floods_say_nothing() {
        let quantiles = [0.0; LEVELS.len()];
        let left: Vec<Left<'_>> = (0..100)
            .map(|i| Left {
                state: State::Rising,
                size: 1.0,
                divided: 3.0,
                quantiles: &quantiles,
                is_flood: i < 5,
                block: 0,
            })
            .collect();
        assert_eq!(Bands::learn(&left), Bands::plain());
    }
}
