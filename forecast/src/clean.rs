//! What of a series may be learned from and forecast on: sentinels and spikes are left out, jumps of the datum bridged.
//!
//! Causal: what is said of a step hangs on values up to it. A value that is much further from the last trusted one than steps
//! of this series go is doubted until the next stands by it: then it was water, else a spike. Where other series are lively, it is
//! water at once: a flood comes to several gauges, a fault to one. One that is further than a flood of
//! this series could bring it is held until two more stand with it: when they are as quiet as a datum that moved, what follows is
//! carried on from before, else it was water such as this series had not seen. So it is with a step that is doubted, leaves the range
//! of training and stands still. A datum that is back within a day of steps had not moved.
//!
//! Limits are learned from training without what came and went within three steps further than 98 % of it lie apart, where that is
//! one value in fifty at most: else a fault that training has would be believed ever after. Short training has wide limits.

use serde::{Deserialize, Serialize};

use crate::score::quantile_of;

/// Numbers that loggers write for "no value".
const SENTINELS: [f64; 12] = [
    -9999.0, -9990.0, -999.9, -999.0, -990.0, -99.9, -99.0, -6999.0, -7999.0, 9999.0, 99999.0, -32768.0,
];

/// Beyond this in magnitude nothing is measured: squares of it would fill what is learned.
const MOST: f64 = 1e12;
/// Training of fewer values has not seen what the series does: nothing is doubted.
const LEAST_KNOWN: usize = 200;
/// With fewer values limits are wider by the share that is missing.
const ENOUGH_KNOWN: usize = 800;
/// Values that come and go within a step, and return, one after the other at most.
const LONGEST_SPIKE: usize = 3;
/// Of a series that does so more often than in this share of its values it is a habit, no fault.
const HABIT: f64 = 0.02;

/// Steps on which a value is held before it is believed.
const N_HELD: usize = 2;
/// Steps for which a spike is remembered: what stands at its level has to stand for longer.
const REMEMBERED: usize = 24;
/// By how many steps for each.
const HELD_PER_SPIKE: usize = 3;
/// A value is clearly outside of training's range beyond this share of the range.
const OUT_OF_RANGE: f64 = 0.1;
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
    /// Lowest and highest trusted value of training, where enough was seen.
    #[serde(default)]
    range: Option<(f64, f64)>,
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
    /// Sentinels met, and values of a magnitude that nothing is measured in.
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
        let known: Vec<f64> = values.iter().copied().filter(|v| is_measure(*v)).collect();
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
        let mut trusted: Vec<f64> = values
            .iter()
            .map(|v| {
                if is_measure(*v) && !sentinels.contains(v) {
                    *v
                } else {
                    f64::NAN
                }
            })
            .collect();
        if !is_amount {
            without_spikes(&mut trusted);
        }
        let limits = Limits::of(&trusted, is_amount);
        let mut cleaner = Self {
            sentinels,
            most_change: limits.most_change,
            doubted_change: limits.doubted_change,
            range: None,
            carry,
        };
        if limits.doubted_change.is_finite() {
            // Of what is left once moved datums are bridged.
            cleaner.range = range_of(&cleaner.clean(values).came);
        }
        cleaner
    }

    /// Cleans values of the whole grid.
    pub fn clean(&self, raw: &[f64]) -> Clean {
        self.clean_beside(raw, &[])
    }

    /// Cleans values of the whole grid where other series say at which steps there is much going on: what would be doubted is
    /// believed then in its own step. `is_lively` is as long as the values, or empty where nothing is known.
    pub fn clean_beside(&self, raw: &[f64], is_lively: &[bool]) -> Clean {
        let n = raw.len();
        let clean = Clean {
            values: vec![f64::NAN; n],
            offset: vec![0.0; n],
            came: vec![f64::NAN; n],
            is_seen: vec![false; n],
            n_sentinels: 0,
            n_spikes: 0,
            jumps: Vec::new(),
        };
        let mut at_work = At {
            cleaner: self,
            clean,
            offset: 0.0,
            last: None,
            held: Vec::new(),
            spikes: Vec::new(),
            moved: None,
        };
        for (at, value) in raw.iter().enumerate() {
            at_work.clean.offset[at] = at_work.offset;
            let is_sentinel = self.sentinels.contains(value) || (!value.is_nan() && !is_measure(*value));
            at_work.clean.n_sentinels += usize::from(is_sentinel);
            if !value.is_nan() && !is_sentinel {
                at_work.meet(at, *value, is_lively.get(at).is_some_and(|is| *is));
            }
            if let Some((value, step)) = at_work.last
                && at - step <= self.carry
            {
                at_work.clean.values[at] = value;
            }
        }
        at_work.clean
    }

    /// Whether a value is clearly outside all that training had.
    fn is_out_of_range(&self, value: f64) -> bool {
        self.range.is_some_and(|(low, high)| {
            let margin = OUT_OF_RANGE * (high - low);
            value < low - margin || value > high + margin
        })
    }
}

/// Cleaning, step by step.
struct At<'a> {
    cleaner: &'a Cleaner,
    clean: Clean,
    offset: f64,
    /// The last trusted value and its step.
    last: Option<(f64, usize)>,
    /// Raw values held since.
    held: Vec<(usize, f64)>,
    /// Raw values that were held and did not stay, lately.
    spikes: Vec<(usize, f64)>,
    /// Where the datum moved last: the first step held there, and what was taken out before.
    moved: Option<(usize, f64)>,
}

impl At<'_> {
    fn meet(&mut self, at: usize, value: f64, is_lively: bool) {
        let limits = self.cleaner;
        let shifted = value - self.offset;
        // A value may be further away the longer nothing was seen.
        let distance = self.last.map_or(0.0, |(last, _)| (shifted - last).abs());
        let apart = self.held.last().map(|(_, before)| (before - value).abs());
        let first = self.held.first().map_or(at, |(step, _)| *step);
        // After a gap water may be anywhere.
        let is_step = self.last.is_some_and(|(_, step)| first - step <= limits.carry);
        let is_out = is_step && limits.is_out_of_range(shifted);
        let mut needed = N_HELD;
        if distance > limits.most_change {
            needed += HELD_PER_SPIKE * self.spikes_like(at, value, distance);
        }
        let stands = apart.is_some_and(|apart| apart <= 0.6 * distance)
            && !(is_out && apart.is_some_and(|apart| apart <= MOVED_SPREAD * distance));
        if distance <= limits.doubted_change || distance <= limits.most_change && (is_lively || stands) {
            for (step, before) in std::mem::take(&mut self.held) {
                let is_stood = (before - value).abs() <= 0.6 * distance && distance > limits.doubted_change;
                if is_stood {
                    self.clean.came[step] = before - self.offset;
                } else {
                    self.spike(step, before);
                }
            }
            return self.trust(at, value);
        }
        // Water that rises fast spreads with what it has risen.
        let near = (limits.most_change / 4.0).max(0.6 * distance);
        let (stay, gone) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|(_, before)| (before - value).abs() <= near);
        self.held = stay;
        let gone: Vec<(usize, f64)> = gone;
        for (step, before) in gone {
            self.spike(step, before);
        }
        self.held.push((at, value));
        if let (true, Some((before, _))) = (self.held.len() > needed, self.last) {
            let held = std::mem::take(&mut self.held);
            if (distance > limits.most_change || is_out) && spread(&held) <= MOVED_SPREAD * distance {
                self.move_datum(at, &held, value - before);
            } else {
                for (step, water) in &held {
                    self.clean.came[*step] = water - self.offset;
                }
            }
            self.trust(at, value);
        }
    }

    fn trust(&mut self, at: usize, value: f64) {
        self.last = Some((value - self.offset, at));
        self.clean.is_seen[at] = true;
        self.clean.came[at] = value - self.offset;
    }

    fn spike(&mut self, at: usize, value: f64) {
        self.clean.n_spikes += 1;
        self.spikes.push((at, value));
    }

    /// Spikes of late at the level of a value.
    fn spikes_like(&mut self, at: usize, value: f64, distance: f64) -> usize {
        self.spikes.retain(|(step, _)| at - step <= REMEMBERED);
        self.spikes
            .iter()
            .filter(|(_, spike)| (spike - value).abs() <= 0.25 * distance)
            .count()
    }

    /// A datum that is soon back where it was had not moved: what lies between is a fault.
    fn move_datum(&mut self, at: usize, held: &[(usize, f64)], offset: f64) {
        let first = held.first().map_or(at, |(step, _)| *step);
        let back = self.moved.filter(|(from, before)| {
            at - from <= REMEMBERED
                && (offset - before).abs() <= 2.0 * MOVED_SPREAD * (self.offset - before).abs()
        });
        if let Some((from, before)) = back {
            self.clean.n_spikes += first - from;
            self.clean.came[from..first].fill(f64::NAN);
            self.clean.jumps.pop();
            self.offset = before;
            for (step, water) in held {
                self.clean.came[*step] = water - before;
            }
            self.moved = None;
        } else {
            self.moved = Some((first, self.offset));
            self.offset = offset;
            self.clean.jumps.push((at, offset));
        }
        self.clean.offset[at] = self.offset;
    }
}

/// Limits of changes, learned from values without spikes.
struct Limits {
    most_change: f64,
    doubted_change: f64,
}

impl Limits {
    fn of(trusted: &[f64], is_amount: bool) -> Self {
        let mut limits = Self {
            most_change: f64::INFINITY,
            doubted_change: f64::INFINITY,
        };
        let changes = sorted_changes(trusted);
        let n_known = trusted.iter().filter(|v| !v.is_nan()).count();
        if changes.len() < 50 || n_known < LEAST_KNOWN {
            return limits;
        }
        let wider = (ENOUGH_KNOWN as f64 / n_known as f64).max(1.0);
        let width = usual_width(trusted);
        limits.most_change = wider * (12.0 * quantile_of(&changes, 0.995)).max(1.5 * width);
        if is_amount {
            return limits;
        }
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
        limits.doubted_change = (wider * (1.5 * largest).max(0.3 * width)).min(limits.most_change);
        limits
    }
}

/// Lowest and highest of the values that are known.
fn range_of(values: &[f64]) -> Option<(f64, f64)> {
    values.iter().filter(|v| !v.is_nan()).fold(None, |range, v| {
        let (low, high) = range.unwrap_or((*v, *v));
        Some((v.min(low), v.max(high)))
    })
}

/// Whether a value is one that something can have measured.
fn is_measure(value: f64) -> bool {
    value.abs() < MOST
}

/// Sizes of the changes from step to step that are any, sorted.
pub(crate) fn sorted_changes(values: &[f64]) -> Vec<f64> {
    let mut changes: Vec<f64> = values
        .windows(2)
        .map(|two| (two[1] - two[0]).abs())
        .filter(|change| *change > 0.0)
        .collect();
    changes.sort_unstable_by(f64::total_cmp);
    changes
}

/// Takes out of training values what came in one step, was gone in one step and went further than 98 % of the values lie
/// apart: limits that are learned with spikes inside would believe the next. Floods recede more slowly than they rise.
fn without_spikes(values: &mut [f64]) {
    let mut known: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    known.sort_unstable_by(f64::total_cmp);
    let changes = sorted_changes(values);
    let far = (12.0 * quantile_of(&changes, 0.98)).max(quantile_of(&known, 0.99) - quantile_of(&known, 0.01));
    if far.is_nan() || far <= 0.0 {
        return;
    }
    let steps: Vec<usize> = (0..values.len()).filter(|at| !values[*at].is_nan()).collect();
    let mut spikes: Vec<usize> = Vec::new();
    let mut at = 1;
    while at < steps.len() {
        let before = values[steps[at - 1]];
        let returns = (1..=LONGEST_SPIKE).find(|n| {
            steps
                .get(at + n)
                .is_some_and(|after| (values[*after] - before).abs() <= far / 4.0)
        });
        let n = returns.unwrap_or(0);
        let is_spike = n > 0
            && steps[at..at + n]
                .iter()
                .all(|step| (values[*step] - before).abs() > far);
        if is_spike {
            spikes.extend(&steps[at..at + n]);
            at += n;
        }
        at += 1;
    }
    if spikes.len() as f64 <= HABIT * known.len() as f64 {
        for step in spikes {
            values[step] = f64::NAN;
        }
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

    /// A river of 1.5 to 4 m with noise of a centimetre: hours of rain at which it rises in a step or three and recedes.
    fn river() -> Vec<f64> {
        let mut level = 0.0;
        (0..2000)
            .map(|i: u32| {
                let noise = f64::from(i.wrapping_mul(2_654_435_761) >> 20) / 4096.0;
                if i % 83 > 79 {
                    level += 0.2 + 0.1 * f64::from(i / 83 % 6);
                }
                level *= 0.9;
                1.5 + level + 0.02 * noise
            })
            .collect()
    }

    const N_TRAIN: usize = 1400;

    #[test]
    fn scattered_spikes_are_no_values_however_many_and_however_high() {
        for (high, n_spikes, n_sentinels) in [
            (50.0, 5, 0),
            (5000.0, 5, 0),
            (1e6, 5, 0),
            (1e12, 0, 5),
            (-1e160, 0, 5),
            (1e308, 0, 5),
            (f64::INFINITY, 0, 5),
        ] {
            let mut raw = river();
            raw.iter_mut()
                .skip(7)
                .step_by(400)
                .for_each(|value| *value = high);
            let clean = Cleaner::learn(&raw[..N_TRAIN], 3, false).clean(&raw);
            assert_eq!(
                (clean.n_spikes, clean.n_sentinels),
                (n_spikes, n_sentinels),
                "{high}"
            );
            assert!(
                clean.jumps.is_empty() && clean.values.iter().all(|v| *v < 5.0),
                "{high}"
            );
            assert_eq!(clean.came.iter().filter(|v| v.is_nan()).count(), 5, "{high}");
        }
    }

    #[test]
    fn a_flickering_fault_is_no_water_and_no_datum() {
        let runs: [&[usize]; 4] = [
            &[700, 701],
            &[700, 701, 702],
            &[700, 701, 703, 705, 706, 707, 709, 712, 713],
            &[700, 702, 704, 706, 708, 710, 712, 714, 716, 718],
        ];
        for run in runs {
            for shift in [0, 1000] {
                let mut raw = river();
                run.iter().for_each(|at| raw[at + shift] = 9.9);
                let clean = Cleaner::learn(&raw[..N_TRAIN], 3, false).clean(&raw);
                assert_eq!((clean.n_spikes, clean.jumps.len()), (run.len(), 0), "{run:?}");
                assert!(run.iter().all(|at| clean.came[at + shift].is_nan()), "{run:?}");
                let n_lost = clean.came.iter().filter(|v| v.is_nan()).count();
                assert_eq!(n_lost, run.len(), "{run:?}");
            }
        }
    }

    #[test]
    fn a_datum_that_moves_out_of_the_range_in_one_step_is_bridged_and_a_rise_or_a_gap_is_none() {
        for (by, n_jumps) in [(3.0, 1), (-3.0, 1), (30.0, 1), (-30.0, 1), (0.5, 0)] {
            let mut raw = river();
            raw[1700..].iter_mut().for_each(|value| *value += by);
            let cleaner = Cleaner::learn(&raw[..N_TRAIN], 3, false);
            let clean = cleaner.clean(&raw);
            assert_eq!(clean.jumps.len(), n_jumps, "{by}");
            if n_jumps > 0 {
                assert!((clean.offset[1999] - by).abs() < 0.1, "{by}: {:?}", clean.jumps);
            }
            if by == 3.0 {
                // After a gap, or beside others that rise too, water may be there.
                let mut gap = raw.clone();
                gap[1680..1700].fill(f64::NAN);
                assert!(cleaner.clean(&gap).jumps.is_empty());
                assert!(
                    cleaner
                        .clean_beside(&raw, &vec![true; raw.len()])
                        .jumps
                        .is_empty()
                );
            }
        }
    }

    #[test]
    fn what_a_short_training_did_not_see_is_no_fault() {
        for n_train in [60, 98, 150, 200, 300] {
            let clean = Cleaner::learn(&river()[..n_train], 3, false).clean(&river());
            assert_eq!(clean.values, river(), "{n_train}");
            assert_eq!((clean.n_spikes, clean.jumps.len()), (0, 0), "{n_train}");
        }
    }
}
