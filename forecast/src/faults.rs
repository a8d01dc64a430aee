//! What a sensor does that water and air do not: spikes, stuck values, shifts, noise, drift against neighbours.
//!
//! Findings are for quality flags and people; nothing is taken away here. A flood is no fault: it rises over several steps or
//! recedes slowly, where a spike is gone as fast as it came; its changes go one way, where noise turns at every step.

use serde::{Deserialize, Serialize};

use crate::clean::sorted_changes;
use crate::score::quantile_of;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// At most two values far from those before and after, which agree with one another.
    Spike,
    /// The same value for longer than this series ever stands still.
    Stuck,
    /// Another level from one step to the next, which stays, farther than this series goes.
    Shift,
    /// Turning at every step, much more than is usual.
    Noise,
    /// Slowly away from what the neighbours say.
    Drift,
    /// Outside what can be.
    Range,
}

/// A finding: steps `from..to`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// What is wrong.
    pub kind: FaultKind,
    /// Its first step.
    pub from: usize,
    /// The step after its last.
    pub to: usize,
    /// How far it is beyond its limit, > 1.
    pub excess: f64,
}

/// What is usual for a series, learned from itself: robust, so that some faults inside do no harm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detector {
    /// Values that can be, ends included.
    range: (f64, f64),
    /// A spike is farther than this from both sides.
    spike: f64,
    /// Usual size of bends over a window.
    jitter: f64,
    /// Above it (the 90th percentile) water is high and may be rough: what turns there is not called noise.
    high: f64,
    /// Steps that a value stands still at most.
    still: usize,
    /// A shift goes further than this in one step.
    shift: f64,
}

/// Steps over which jitter is looked at.
const WINDOW: usize = 24;
/// Jitter beyond so many times the usual is noise.
const NOISY: f64 = 4.0;
/// Share of steps that turn, of white noise two thirds.
const TURNING: f64 = 0.58;
/// Bends of noise are at least this share of all that a window spans; white noise has about two fifths.
const ROUGH: f64 = 0.15;
/// Steps on either side of a shift.
const SIDE: usize = 24;

impl Detector {
    /// Learns from a series, NaN where missing. `range` is what can be, when that is known.
    pub fn learn(values: &[f64], range: Option<(f64, f64)>) -> Self {
        let changes = sorted_changes(values);
        let mut levels: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        levels.sort_unstable_by(f64::total_cmp);
        let width = quantile_of(&levels, 0.98) - quantile_of(&levels, 0.02);
        let spike = (8.0 * quantile_of(&changes, 0.9)).max(0.05 * width);
        let mut runs: Vec<f64> = still_runs(values).map(|(from, to)| (to - from) as f64).collect();
        runs.sort_unstable_by(f64::total_cmp);
        let longest = quantile_of(&runs, 0.999).max(1.0);
        let mut jitters: Vec<f64> = (0..values.len() / WINDOW)
            .map(|at| jitter(&values[at * WINDOW..(at + 1) * WINDOW]).0)
            .filter(|jitter| jitter.is_finite())
            .collect();
        jitters.sort_unstable_by(f64::total_cmp);
        let usual = quantile_of(&jitters, 0.5);
        let or_never = |limit: f64| {
            if limit.is_finite() && limit > 0.0 {
                limit
            } else {
                f64::INFINITY
            }
        };
        Self {
            range: range.unwrap_or((f64::NEG_INFINITY, f64::INFINITY)),
            spike: or_never(spike),
            jitter: or_never(usual.max(quantile_of(&changes, 0.05))),
            high: quantile_of(&levels, 0.9),
            still: if runs.is_empty() {
                usize::MAX
            } else {
                ((3.0 * longest) as usize).max(2 * WINDOW)
            },
            shift: or_never((10.0 * quantile_of(&changes, 0.995)).max(width)),
        }
    }

    /// Findings in a series, in the order of their steps.
    pub fn faults(&self, values: &[f64]) -> Vec<Fault> {
        let mut found = self.out_of_range(values);
        let shifts = self.shifts(values);
        found.extend(self.spikes(values));
        found.extend(self.stuck(values));
        found.extend(self.noise(values));
        found.extend(shifts);
        found.sort_by_key(|fault| (fault.from, fault.kind));
        found
    }

    fn out_of_range(&self, values: &[f64]) -> Vec<Fault> {
        let width = (self.range.1 - self.range.0).max(1e-12);
        let beyond = |v: f64| ((self.range.0 - v).max(v - self.range.1) / width).max(0.0);
        let is_out = |(at, value): (usize, &f64)| {
            (*value < self.range.0 || *value > self.range.1).then(|| Fault {
                kind: FaultKind::Range,
                from: at,
                to: at + 1,
                excess: 1.0 + beyond(*value),
            })
        };
        values.iter().enumerate().filter_map(is_out).collect()
    }

    fn spikes(&self, values: &[f64]) -> Vec<Fault> {
        let seen: Vec<usize> = (0..values.len()).filter(|at| values[*at].is_finite()).collect();
        let mut found: Vec<Fault> = Vec::new();
        for width in [1, 2] {
            for i in 3..seen.len().saturating_sub(width + 2) {
                let before = [values[seen[i - 3]], values[seen[i - 2]], values[seen[i - 1]]];
                let behind = [
                    values[seen[i + width]],
                    values[seen[i + width + 1]],
                    values[seen[i + width + 2]],
                ];
                let inside = &seen[i..i + width];
                let (low, high) = ends(before.iter().chain(&behind));
                let out = |v: f64| (v - high).max(low - v);
                let height = inside
                    .iter()
                    .map(|at| out(values[*at]))
                    .fold(f64::INFINITY, f64::min);
                // The sides agree: over them all less than a fifth of the height is gone.
                let is_lonely = height > self.spike && high - low <= 0.2 * height;
                let is_new = found
                    .iter()
                    .all(|fault| fault.to <= seen[i] || fault.from > seen[i + width - 1]);
                if is_lonely && is_new {
                    found.push(Fault {
                        kind: FaultKind::Spike,
                        from: seen[i],
                        to: seen[i + width - 1] + 1,
                        excess: height / self.spike,
                    });
                }
            }
        }
        found
    }

    fn stuck(&self, values: &[f64]) -> Vec<Fault> {
        still_runs(values)
            .filter(|(from, to)| to - from > self.still)
            .map(|(from, to)| Fault {
                kind: FaultKind::Stuck,
                from: from + self.still,
                to,
                excess: (to - from) as f64 / self.still as f64,
            })
            .collect()
    }

    fn noise(&self, values: &[f64]) -> Vec<Fault> {
        let mut found: Vec<Fault> = Vec::new();
        let limit = NOISY * self.jitter;
        for to in WINDOW..=values.len() {
            let (size, turning) = jitter(&values[to - WINDOW..to]);
            let mut levels: Vec<f64> = values[to - WINDOW..to]
                .iter()
                .copied()
                .filter(|v| !v.is_nan())
                .collect();
            if !(size > limit && turning >= TURNING) {
                continue;
            }
            levels.sort_unstable_by(f64::total_cmp);
            let width = levels[levels.len() - 1] - levels[0];
            if levels[levels.len() - 1] > self.high || size < ROUGH * width {
                continue;
            }
            let (from, excess) = (to - WINDOW, size / limit);
            match found.last_mut() {
                Some(last) if from <= last.to => {
                    last.to = to;
                    last.excess = last.excess.max(excess);
                }
                _ => found.push(Fault {
                    kind: FaultKind::Noise,
                    from,
                    to,
                    excess,
                }),
            }
        }
        // One window may be chance, or a front that passes.
        found.retain(|fault| fault.to - fault.from >= 2 * WINDOW);
        found
    }

    fn shifts(&self, values: &[f64]) -> Vec<Fault> {
        let mut found: Vec<Fault> = Vec::new();
        for at in SIDE..values.len().saturating_sub(SIDE) {
            let step = (values[at] - values[at - 1]).abs();
            if step.is_nan() || step <= self.shift {
                continue;
            }
            let (before, behind) = (&values[at - SIDE..at], &values[at..at + SIDE]);
            let ((low, high), (low2, high2)) = (ends(before), ends(behind));
            // What was on one side never comes on the other, by far.
            let apart = (low2 - high).max(low - high2);
            if apart > 0.7 * step {
                found.push(Fault {
                    kind: FaultKind::Shift,
                    from: at,
                    to: at + SIDE,
                    excess: step / self.shift,
                });
            }
        }
        found
    }
}

/// Drift of a series against what its neighbours say, by the Page–Hinkley test (Page 1954; Hinkley 1971) on the difference in
/// units of its own usual spread: from the first step at which the sum of what exceeds `allowance` is over `limit`.
/// `expected` is the neighbours' robust mean ([`neighbours`]). `None` when it does not drift or nothing can be compared.
pub fn drift(values: &[f64], expected: &[f64], allowance: f64, limit: f64) -> Option<Fault> {
    let differences: Vec<f64> = values.iter().zip(expected).map(|(v, e)| v - e).collect();
    let n_first = (differences.len() / 4).clamp(50, 2000).min(differences.len());
    let mut first: Vec<f64> = differences[..n_first]
        .iter()
        .copied()
        .filter(|d| !d.is_nan())
        .collect();
    if first.len() < 30 {
        return None;
    }
    first.sort_unstable_by(f64::total_cmp);
    let middle = quantile_of(&first, 0.5);
    let spread = ((quantile_of(&first, 0.84) - quantile_of(&first, 0.16)) / 2.0).max(1e-9);
    let (mut up, mut down, mut began_up, mut began_down) = (0.0f64, 0.0f64, 0, 0);
    for (at, difference) in differences.iter().enumerate().filter(|(_, d)| !d.is_nan()) {
        // A single wild value is a spike, not a drift.
        let z = ((difference - middle) / spread).clamp(-4.0, 4.0);
        up = (up + z - allowance).max(0.0);
        down = (down - z - allowance).max(0.0);
        began_up = if up == 0.0 { at + 1 } else { began_up };
        began_down = if down == 0.0 { at + 1 } else { began_down };
        if up.max(down) > limit {
            let from = if up >= down { began_up } else { began_down };
            return Some(Fault {
                kind: FaultKind::Drift,
                from,
                to: values.len(),
                excess: up.max(down) / limit,
            });
        }
    }
    None
}

/// Median at each step of what other series say, each from its own median and in its own spread, put into the level and
/// spread of `values`; NaN where fewer than two speak.
pub fn neighbours(values: &[f64], others: &[&[f64]]) -> Vec<f64> {
    let scale = |series: &[f64]| {
        let mut known: Vec<f64> = series.iter().copied().filter(|v| v.is_finite()).collect();
        known.sort_unstable_by(f64::total_cmp);
        let spread = (quantile_of(&known, 0.84) - quantile_of(&known, 0.16)) / 2.0;
        (
            quantile_of(&known, 0.5),
            if spread > 1e-12 { spread } else { 1.0 },
        )
    };
    let own = scale(values);
    let theirs: Vec<(f64, f64)> = others.iter().map(|other| scale(other)).collect();
    (0..values.len())
        .map(|at| {
            let said = others
                .iter()
                .zip(&theirs)
                .filter_map(|(other, (middle, spread))| {
                    other
                        .get(at)
                        .map(|v| (v - middle) / spread)
                        .filter(|z| z.is_finite())
                });
            let mut said: Vec<f64> = said.collect();
            said.sort_unstable_by(f64::total_cmp);
            if said.len() < 2 {
                f64::NAN
            } else {
                own.0 + own.1 * quantile_of(&said, 0.5)
            }
        })
        .collect()
}

/// The Hampel filter (Hampel 1974): values further than `n_spreads` scaled median deviations from the median of the `half` steps on
/// either side. What [`Detector`] is measured beside.
pub fn hampel(values: &[f64], half: usize, n_spreads: f64) -> Vec<usize> {
    (0..values.len())
        .filter(|at| {
            let mut around: Vec<f64> = values[at.saturating_sub(half)..(at + half + 1).min(values.len())]
                .iter()
                .copied()
                .filter(|v| v.is_finite())
                .collect();
            around.sort_unstable_by(f64::total_cmp);
            let middle = quantile_of(&around, 0.5);
            let mut deviations: Vec<f64> = around.iter().map(|v| (v - middle).abs()).collect();
            deviations.sort_unstable_by(f64::total_cmp);
            (values[*at] - middle).abs() > n_spreads * 1.4826 * quantile_of(&deviations, 0.5)
        })
        .collect()
}

fn ends<'a>(values: impl IntoIterator<Item = &'a f64>) -> (f64, f64) {
    values
        .into_iter()
        .filter(|v| !v.is_nan())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
            (low.min(*v), high.max(*v))
        })
}

/// Runs of one value, missing steps passed over, as `from..to`.
fn still_runs(values: &[f64]) -> impl Iterator<Item = (usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    let mut now: Option<(f64, usize)> = None;
    for (at, value) in values.iter().enumerate().filter(|(_, v)| !v.is_nan()) {
        match (now, runs.last_mut()) {
            (Some((held, _)), Some(last)) if held == *value => last.1 = at + 1,
            _ => {
                runs.push((at, at + 1));
                now = Some((*value, at));
            }
        }
    }
    runs.into_iter()
}

/// Median size of the second differences of a window, and the share of steps that turn; not finite when half is missing.
fn jitter(window: &[f64]) -> (f64, f64) {
    let known: Vec<f64> = window.iter().copied().filter(|v| !v.is_nan()).collect();
    if known.len() * 2 < window.len() || known.len() < 6 {
        return (f64::NAN, 0.0);
    }
    let changes: Vec<f64> = known.windows(2).map(|two| two[1] - two[0]).collect();
    let n_turns = changes.windows(2).filter(|two| two[0] * two[1] < 0.0).count();
    let mut bends: Vec<f64> = changes.windows(2).map(|two| (two[1] - two[0]).abs()).collect();
    bends.sort_unstable_by(f64::total_cmp);
    (quantile_of(&bends, 0.5), n_turns as f64 / bends.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(n: usize) -> Vec<f64> {
        let step = |i: usize| {
            let t = i as f64;
            2.0 + (t * 0.013).sin() + 0.3 * (t * 0.11).sin() + 0.01 * ((i * 7919) % 5) as f64
        };
        (0..n).map(step).collect()
    }

    fn kinds(values: &[f64]) -> Vec<FaultKind> {
        let mut kinds: Vec<FaultKind> = Detector::learn(values, None)
            .faults(values)
            .iter()
            .map(|fault| fault.kind)
            .collect();
        kinds.dedup();
        kinds
    }

    #[test]
    fn water_without_a_fault_has_none_and_a_flash_flood_is_no_fault() {
        let mut values = stream(3000);
        assert_eq!(kinds(&values), []);
        // Up by four metres in two steps, back in thirty.
        for (i, value) in values[1500..1540].iter_mut().enumerate() {
            *value += match i {
                0 => 2.5,
                1 => 4.0,
                _ => 4.0 * (-(i as f64 - 1.0) / 6.0).exp(),
            };
        }
        assert_eq!(kinds(&values), []);
    }

    #[test]
    fn a_spike_a_stuck_sensor_a_shift_and_noise_have_their_names() {
        let mut values = stream(3000);
        values[700] += 9.0;
        let spiked = Detector::learn(&values, None).faults(&values);
        assert_eq!(
            spiked.iter().map(|f| (f.kind, f.from, f.to)).collect::<Vec<_>>(),
            [(FaultKind::Spike, 700, 701)]
        );
        let mut values = stream(3000);
        let held = values[1000];
        values[1000..1300].fill(held);
        assert_eq!(
            Detector::learn(&stream(3000), None).faults(&values)[0].kind,
            FaultKind::Stuck
        );
        let mut values = stream(3000);
        values[2000..].iter_mut().for_each(|v| *v += 50.0);
        let found = Detector::learn(&stream(3000), None).faults(&values);
        assert!(
            found.iter().any(|f| f.kind == FaultKind::Shift && f.from == 2000),
            "{found:?}"
        );
        let mut values = stream(3000);
        for (i, value) in values[1200..1400].iter_mut().enumerate() {
            *value += if i % 2 == 0 { 0.6 } else { -0.6 };
        }
        assert_eq!(kinds(&values), [FaultKind::Noise]);
    }

    #[test]
    fn a_drift_is_found_by_the_neighbours_and_a_common_flood_is_none() {
        let own = stream(3000);
        let others: Vec<Vec<f64>> = [1.0, 2.0, 0.7]
            .iter()
            .map(|k| own.iter().map(|v| v * k + k).collect())
            .collect();
        let others: Vec<&[f64]> = others.iter().map(Vec::as_slice).collect();
        assert_eq!(drift(&own, &neighbours(&own, &others), 0.5, 50.0), None);
        let noisy: Vec<f64> = own
            .iter()
            .enumerate()
            .map(|(i, v)| v + 0.05 * ((i * 31) % 7) as f64)
            .collect();
        let mut drifting = noisy.clone();
        for (i, value) in drifting[1000..].iter_mut().enumerate() {
            *value += 0.001 * i as f64;
        }
        let found = drift(&drifting, &neighbours(&drifting, &others), 0.5, 50.0);
        assert!(found.is_some_and(|f| f.kind == FaultKind::Drift), "{found:?}");
    }

    #[test]
    fn nothing_is_found_in_nothing() {
        for values in [vec![], vec![f64::NAN; 50], vec![1.0; 400], vec![1.0, 2.0, 3.0]] {
            assert!(
                Detector::learn(&values, None).faults(&values).is_empty(),
                "{values:?}"
            );
        }
    }
}
