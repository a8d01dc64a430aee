//! Numbers of which only the quantiles count, kept small.

use serde::{Deserialize, Serialize};

use crate::score::quantile_of;

/// Numbers that a pool is drawn together to.
const N_DRAWN: usize = 401;

/// A growing set of numbers. Its quantiles are exact until it is drawn together, and within `1/401` of their level after.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pool {
    /// Ascending after [`Pool::draw`]; each stands for `weight` numbers.
    drawn: Vec<f64>,
    weight: f64,
    /// Each one number.
    fresh: Vec<f64>,
}

impl Pool {
    /// Adds a number; what is not finite is passed over.
    pub(crate) fn put(&mut self, value: f64) {
        if value.is_finite() {
            self.fresh.push(value);
        }
    }

    /// How many numbers it stands for.
    pub(crate) fn n(&self) -> f64 {
        self.drawn.len() as f64 * self.weight + self.fresh.len() as f64
    }

    /// Adds the numbers of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        if self.drawn.is_empty() {
            self.drawn.clone_from(&other.drawn);
            self.weight = other.weight;
        } else if !other.drawn.is_empty() {
            let mut both = self.weighted();
            both.extend(other.drawn.iter().map(|value| (*value, other.weight)));
            both.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
            self.set(&both);
        }
        self.fresh.extend_from_slice(&other.fresh);
    }

    /// The values that shares `levels` (ascending) of the numbers do not exceed; NaN of none.
    pub(crate) fn quantiles(&mut self, levels: &[f64]) -> Vec<f64> {
        if self.drawn.is_empty() {
            self.fresh.sort_unstable_by(f64::total_cmp);
            return levels
                .iter()
                .map(|level| quantile_of(&self.fresh, *level))
                .collect();
        }
        let mut all = self.weighted();
        all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        weighted_quantiles(&all, levels.iter().copied())
    }

    /// Draws the numbers together, so that the set stays as small as it is.
    pub(crate) fn draw(&mut self) {
        if self.drawn.is_empty() && self.fresh.len() <= N_DRAWN {
            return;
        }
        let mut all = self.weighted();
        all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        self.set(&all);
    }

    /// All numbers with what each stands for, in no order.
    fn weighted(&self) -> Vec<(f64, f64)> {
        let drawn = self.drawn.iter().map(|value| (*value, self.weight));
        drawn
            .chain(self.fresh.iter().map(|value| (*value, 1.0)))
            .collect()
    }

    /// Stands for sorted numbers by as many of them as a drawn pool has, and has no fresh ones.
    fn set(&mut self, sorted: &[(f64, f64)]) {
        let whole: f64 = sorted.iter().map(|(_, weight)| weight).sum();
        let levels = (0..N_DRAWN).map(|at| (at as f64 + 0.5) / N_DRAWN as f64);
        self.drawn = weighted_quantiles(sorted, levels);
        self.weight = whole / N_DRAWN as f64;
        self.fresh.clear();
    }
}

/// Values at ascending levels of sorted numbers with their weights, between the middles of the weights that neighbours have; NaN
/// of none.
fn weighted_quantiles(sorted: &[(f64, f64)], levels: impl Iterator<Item = f64>) -> Vec<f64> {
    let whole: f64 = sorted.iter().map(|(_, weight)| weight).sum();
    let mut rest = sorted.iter();
    let mut before: Option<(f64, f64)> = None;
    let mut below = 0.0;
    let mut next = rest.next();
    levels
        .map(|level| {
            let wanted = level * whole;
            while let Some((value, weight)) = next {
                let middle = below + weight / 2.0;
                if middle >= wanted {
                    return match before {
                        Some((at, last)) => last + (value - last) * (wanted - at) / (middle - at),
                        None => *value,
                    };
                }
                before = Some((middle, *value));
                below += weight;
                next = rest.next();
            }
            before.map_or(f64::NAN, |(_, value)| value)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(i: usize) -> f64 {
        let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ (mixed >> 29)) >> 11) as f64 / (1u64 << 53) as f64
    }

    #[test]
    fn a_pool_that_is_drawn_together_daily_keeps_its_quantiles() {
        let (mut pool, mut all) = (Pool::default(), Vec::new());
        for day in 0..300 {
            for hour in 0..24 {
                // What comes becomes twice as large in the second half.
                let value = number(day * 24 + hour) * if day < 150 { 1.0 } else { 2.0 };
                pool.put(value);
                all.push(value);
            }
            pool.draw();
        }
        all.sort_unstable_by(f64::total_cmp);
        assert!((pool.n() - 7200.0).abs() < 1e-6);
        for level in [0.02, 0.1, 0.5, 0.9, 0.98] {
            let found = pool.quantiles(&[level])[0];
            let (low, high) = (quantile_of(&all, level - 0.005), quantile_of(&all, level + 0.005));
            assert!(
                low <= found && found <= high,
                "{level}: {found} not in {low}..{high}"
            );
        }
    }

    #[test]
    fn few_numbers_have_their_own_quantiles_and_none_has_none() {
        let mut pool = Pool::default();
        assert!(pool.quantiles(&[0.5])[0].is_nan());
        for value in [3.0, f64::NAN, 1.0, 2.0] {
            pool.put(value);
        }
        pool.draw();
        assert_eq!((pool.n(), pool.quantiles(&[0.5])), (3.0, vec![2.0]));
        let mut other = Pool::default();
        other.merge(&pool);
        other.merge(&pool);
        assert_eq!((other.n(), other.quantiles(&[1.0])), (6.0, vec![3.0]));
    }
}
