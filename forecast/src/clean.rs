//! What of a series may be learned from and forecast on: sentinels and spikes are left out, jumps of the datum bridged.
//!
//! Causal: what is said of a step hangs on values up to it. A value that is much further from the last trusted one than steps
//! of this series go is doubted until the next stands by it: then it was water, else a spike. Where other series are lively, it is
//! water at once: a flood comes to several gauges, a fault to one. One that is further than a flood of
//! this series could bring it is held until two more stand with it: when they are as quiet as a datum that moved, what follows is
//! carried on from before, else it was water such as this series had not seen.

use serde::{Deserialize, Serialize};

use crate::score::quantile_of;

/// Numbers that loggers write for "no value".
const SENTINELS: [f64; 12] = [
    -9999.0, -9990.0, -999.9, -999.0, -990.0, -99.9, -99.0, -6999.0, -7999.0, 9999.0, 99999.0, -32768.0,
];

/// Steps on which a value is held before it is believed.
const N_HELD: usize = 2;
/// What values held spread at most when the datum has moved, in shares of the distance: a datum that moved is as quiet as
/// before, water that rose so fast goes on moving.
const MOVED_SPREAD: f64 = 0.05;

/// What is told apart from water, learned from the training part of a series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cleaner {
    /// Values that stand for "no value" here.
    sentinels: Vec<f64>,
    /// A change of one step beyond this is no water, infinite where nothing could be learned.
    #[serde(with = "crate::bound")]
    most_change: f64,
    /// A change of one step beyond this waits for the next value to stand by it.
    #[serde(with = "crate::bound")]
    doubted_change: f64,
    /// Steps over which the last value is carried.
    carry: usize,
}

/// A series that may be learned from.
#[derive(Clone, Debug, PartialEq)]
pub struct Clean {
    /// Trusted values, carried over short gaps, with jumps of the datum taken out; NaN elsewhere.
    pub values: Vec<f64>,
    /// What was taken out: the raw value is the sum.
    pub offset: Vec<f64>,
    /// What the step turned out to be, jumps taken out: with values that were doubted in their own step and stood; NaN
    /// elsewhere. To learn from and be scored by, not to forecast on.
    pub came: Vec<f64>,
    /// Whether there is a trusted value of the step itself.
    pub is_seen: Vec<bool>,
    /// Sentinels met.
    pub n_sentinels: usize,
    /// Values held that did not stay.
    pub n_spikes: usize,
    /// Steps at which the datum moved, and by how much.
    pub jumps: Vec<(usize, f64)>,
}

impl Cleaner {
    /// Learns from the training values, NaN where missing. `carry` is the number of steps over which a value stands for
    /// those after it; amounts (`is_amount`) come and go within a step and are doubted by their size alone.
    pub fn learn(values: &[f64], carry: usize, is_amount: bool) -> Self {
        let known: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        let mut sentinels: Vec<f64> = SENTINELS.to_vec();
        let mut sorted: Vec<f64> = known.iter().copied().filter(|v| !sentinels.contains(v)).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        // Where the water itself comes near, they are values.
        sentinels.retain(|s| {
            let near = sorted.partition_point(|v| *v < s - 0.1 * s.abs());
            sorted.get(near).is_none_or(|v| *v > s + 0.1 * s.abs())
        });
        // Zero is a sentinel of a level that never comes near it.
        let without_zero: Vec<f64> = sorted.iter().copied().filter(|v| *v != 0.0).collect();
        let n_zero = sorted.len() - without_zero.len();
        if n_zero > 0 && n_zero * 20 < sorted.len() {
            let (low, high) = (
                quantile_of(&without_zero, 0.005),
                quantile_of(&without_zero, 0.995),
            );
            if low - 1.5 * (high - low) > 0.0 || high + 1.5 * (high - low) < 0.0 {
                sentinels.push(0.0);
            }
        }
        let trusted: Vec<f64> = values
            .iter()
            .map(|v| if sentinels.contains(v) { f64::NAN } else { *v })
            .collect();
        let mut changes: Vec<f64> = trusted
            .windows(2)
            .map(|two| (two[1] - two[0]).abs())
            .filter(|change| *change > 0.0)
            .collect();
        changes.sort_unstable_by(f64::total_cmp);
        let (mut most_change, mut doubted_change) = (f64::INFINITY, f64::INFINITY);
        if changes.len() >= 50 {
            let width = usual_width(&trusted);
            most_change = (12.0 * quantile_of(&changes, 0.995)).max(1.5 * width);
            if !is_amount {
                // The third largest change that lasted: one or two may be moved datums.
                let mut lasting: Vec<f64> = trusted
                    .windows(3)
                    .map(|v| {
                        (v[1] - v[0])
                            .abs()
                            .min(((v[2] - v[0]) * (v[1] - v[0]).signum()).max(0.0) * 2.0)
                    })
                    .filter(|change| *change > 0.0)
                    .collect();
                lasting.sort_unstable_by(f64::total_cmp);
                let largest = lasting
                    .len()
                    .checked_sub(3)
                    .map_or(f64::INFINITY, |at| lasting[at]);
                doubted_change = (1.5 * largest).max(0.3 * width).min(most_change);
            }
        }
        Self {
            sentinels,
            most_change,
            doubted_change,
            carry,
        }
    }

    /// Cleans values of the whole grid.
    pub fn clean(&self, raw: &[f64]) -> Clean {
        self.clean_beside(raw, &[])
    }

    /// Cleans values of the whole grid where other series say at which steps there is much going on: what would be doubted is
    /// believed then in its own step. `is_lively` is as long as the values, or empty where nothing is known.
    pub fn clean_beside(&self, raw: &[f64], is_lively: &[bool]) -> Clean {
        let n = raw.len();
        let mut clean = Clean {
            values: vec![f64::NAN; n],
            offset: vec![0.0; n],
            came: vec![f64::NAN; n],
            is_seen: vec![false; n],
            n_sentinels: 0,
            n_spikes: 0,
            jumps: Vec::new(),
        };
        let mut offset = 0.0;
        // The last trusted value, its step, and the values held since.
        let mut last: Option<(f64, usize)> = None;
        let mut held: Vec<(usize, f64)> = Vec::new();
        for (at, value) in raw.iter().enumerate() {
            clean.offset[at] = offset;
            let is_sentinel = self.sentinels.contains(value);
            clean.n_sentinels += usize::from(is_sentinel);
            if value.is_finite() && !is_sentinel {
                let shifted = value - offset;
                // A value may be further away the longer nothing was seen.
                let distance = last.map_or(0.0, |(last, _)| (shifted - last).abs());
                let stands_by = held.last().map(|(_, before)| (before - value).abs());
                let is_water = distance <= self.doubted_change
                    || distance <= self.most_change
                        && (is_lively.get(at).is_some_and(|is| *is)
                            || stands_by.is_some_and(|apart| apart <= 0.6 * distance));
                if is_water {
                    for (step, before) in held.drain(..) {
                        let is_stood =
                            (before - value).abs() <= 0.6 * distance && distance > self.doubted_change;
                        if is_stood {
                            clean.came[step] = before - offset;
                        } else {
                            clean.n_spikes += 1;
                        }
                    }
                    last = Some((shifted, at));
                    clean.is_seen[at] = true;
                    clean.came[at] = shifted;
                } else {
                    let n_before = held.len();
                    // Water that rises fast spreads with what it has risen.
                    let apart = (self.most_change / 4.0).max(0.6 * distance);
                    held.retain(|(_, before)| (before - value).abs() <= apart);
                    clean.n_spikes += n_before - held.len();
                    held.push((at, *value));
                    if let (true, Some((before, _))) = (held.len() > N_HELD, last) {
                        if distance > self.most_change && spread(&held) <= MOVED_SPREAD * distance {
                            offset = value - before;
                            clean.offset[at] = offset;
                            clean.jumps.push((at, offset));
                        } else {
                            for (step, water) in &held {
                                clean.came[*step] = water - offset;
                            }
                        }
                        held.clear();
                        last = Some((value - offset, at));
                        clean.is_seen[at] = true;
                        clean.came[at] = value - offset;
                    }
                }
            }
            if let Some((value, step)) = last
                && at - step <= self.carry
            {
                clean.values[at] = value;
            }
        }
        clean
    }
}

fn spread(held: &[(usize, f64)]) -> f64 {
    let (low, high) = held
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (_, value)| {
            (low.min(*value), high.max(*value))
        });
    high - low
}

/// What 95 % of the windows of a hundred steps span at most: a datum that moves once is in one of them.
fn usual_width(values: &[f64]) -> f64 {
    const STEPS: usize = 100;
    let n = if values.len() < 5 * STEPS {
        values.len().max(1)
    } else {
        STEPS
    };
    let mut widths: Vec<f64> = values
        .chunks(n)
        .filter_map(|window| {
            let mut known: Vec<f64> = window.iter().copied().filter(|v| v.is_finite()).collect();
            known.sort_unstable_by(f64::total_cmp);
            (known.len() > n / 4).then(|| quantile_of(&known, 0.98) - quantile_of(&known, 0.02))
        })
        .collect();
    widths.sort_unstable_by(f64::total_cmp);
    let width = quantile_of(&widths, 0.95);
    if width.is_nan() { f64::INFINITY } else { width }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Vec<f64> {
        (0..600)
            .map(|i| 171.0 + 0.4 * (f64::from(i) * 0.05).sin() + 0.02 * f64::from(i % 5))
            .collect()
    }

    #[test]
    fn a_rise_that_is_doubted_alone_is_believed_at_once_beside_others() {
        let mut raw = stream();
        raw[450] += 0.9;
        raw[451] += 1.0;
        raw[500] += 0.9;
        let cleaner = Cleaner::learn(&raw[..300], 3, false);
        let alone = cleaner.clean(&raw);
        assert!(!alone.is_seen[450] && alone.is_seen[451] && !alone.is_seen[500]);
        let is_lively: Vec<bool> = (0..raw.len()).map(|at| (440..460).contains(&at)).collect();
        let beside = cleaner.clean_beside(&raw, &is_lively);
        assert!(beside.is_seen[450] && !beside.is_seen[500]);
        assert_eq!(beside.n_spikes, 1);
    }

    #[test]
    fn a_datum_that_moves_by_metres_is_bridged() {
        let mut raw = stream();
        for value in &mut raw[400..] {
            *value += 2429.0;
        }
        let clean = Cleaner::learn(&raw[..300], 3, false).clean(&raw);
        assert_eq!(clean.jumps.len(), 1);
        assert!((clean.values[500] - stream()[500]).abs() < 0.2);
        assert!((clean.values[500] + clean.offset[500] - raw[500]).abs() < 1e-9);
    }

    #[test]
    fn a_datum_that_moves_in_training_is_bridged_and_sentinels_are_told_from_both() {
        let mut raw = stream();
        for value in &mut raw[200..] {
            *value += 2429.0;
        }
        raw[100] = -999.0;
        raw[500] = -999.0;
        let clean = Cleaner::learn(&raw[..560], 3, false).clean(&raw);
        assert_eq!(
            (clean.jumps.len(), clean.n_sentinels),
            (1, 2),
            "{:?}",
            clean.jumps
        );
    }

    #[test]
    fn a_flood_after_dry_weeks_is_no_moved_datum() {
        let mut raw: Vec<f64> = (0..2000).map(|i| 1.3 + 0.002 * f64::from(i % 3)).collect();
        for (i, value) in raw[1500..1568].iter_mut().enumerate() {
            *value += if i < 8 {
                0.15 * (i + 1) as f64
            } else {
                1.2 - 0.02 * (i - 8) as f64
            };
        }
        let clean = Cleaner::learn(&raw[..1400], 3, false).clean(&raw);
        assert!(clean.jumps.is_empty(), "{:?}", clean.jumps);
        assert!((clean.values[1510] - raw[1510]).abs() < 0.1);
    }

    #[test]
    fn sentinels_and_spikes_are_no_values_and_a_flood_is_one() {
        let mut raw = stream();
        raw[100] = -999.0;
        raw[200] = 0.0;
        raw[350] = 900.0;
        // Half a metre an hour up to twice the range, and back.
        for (i, value) in raw[450..470].iter_mut().enumerate() {
            *value += if i < 6 {
                0.4 * i as f64
            } else {
                2.4 - 0.15 * (i - 6) as f64
            };
        }
        let clean = Cleaner::learn(&raw[..300], 3, false).clean(&raw);
        assert_eq!((clean.n_sentinels, clean.n_spikes, clean.jumps.len()), (2, 1, 0));
        assert!((450..470).all(|at| !clean.came[at].is_nan()));
        assert!(!clean.is_seen[350] && clean.values[350] < 172.0);
    }

    #[test]
    fn constant_short_and_empty_series_are_kept_as_they_are() {
        for raw in [vec![5.0; 100], vec![1.0, 2.0, 3.0], vec![], vec![f64::NAN; 9]] {
            let clean = Cleaner::learn(&raw, 2, false).clean(&raw);
            assert_eq!(clean.values.len(), raw.len());
            assert!(clean.jumps.is_empty() && clean.n_spikes == 0);
        }
    }
}
