//! Intervals from the errors of forecasts that a model made of rows it had not seen, by the state of the water, moved
//! on step by step as what was forecast comes true or does not.
//!
//! Split conformal prediction (Vovk, Gammerman and Shafer 2005; Lei and others 2018) with residuals divided by a foreseen
//! size and pooled by state, and an adaptive step (Gibbs and Candès 2021; conformal quantile tracking, Angelopoulos and
//! others 2023). What is guaranteed: over a long run each quantile is exceeded as often as its level says, whatever the
//! series does, state by state. Not guaranteed: the same on rows chosen by what came, such as those above a threshold.

use serde::{Deserialize, Serialize};

use crate::blend::Blend;
use crate::features::Activity;
use crate::pool::Pool;
use crate::score::{LEVELS, quantile_of};

/// What the water does at an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It rises, or is foreseen to.
    Rising,
    /// It rained, or the level is high.
    Wet,
    /// Neither.
    Steady,
}

/// All states, in the order of their pools.
pub const STATES: [State; 3] = [State::Rising, State::Wet, State::Steady];

/// Where the borders between the states lie: what only a tenth of the training origins exceed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Borders {
    #[serde(with = "crate::bound")]
    change: f64,
    #[serde(with = "crate::bound")]
    above: f64,
    #[serde(with = "crate::bound")]
    amount: f64,
    #[serde(with = "crate::bound")]
    inputs: f64,
}

impl Borders {
    /// Learns them from training origins.
    pub fn learn(seen: &[Activity]) -> Self {
        let border = |of: &dyn Fn(&Activity) -> f64, q: f64| {
            let mut values: Vec<f64> = seen.iter().map(of).collect();
            values.sort_unstable_by(f64::total_cmp);
            let found = quantile_of(&values, q);
            if found.is_nan() {
                f64::INFINITY
            } else {
                found.max(0.0)
            }
        };
        Self {
            change: border(&|a| a.recent.abs(), 0.9),
            above: border(&|a| a.above, 0.9),
            amount: border(&|a| a.amount, 0.9),
            inputs: border(&|a| a.inputs, 0.95),
        }
    }

    /// The state at an origin with the change that is foreseen.
    pub fn state(&self, activity: &Activity, foreseen: f64) -> State {
        if activity.recent > self.change || foreseen > self.change || activity.inputs > self.inputs {
            State::Rising
        } else if activity.amount > self.amount || activity.above > self.above {
            State::Wet
        } else {
            State::Steady
        }
    }
}

/// Errors by state, divided by the size that was foreseen for them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Residuals {
    size: Blend,
    least: f64,
    /// Quantiles of the divided errors at [`LEVELS`], for each of [`STATES`].
    quantiles: [Vec<f64>; 3],
}

const N_SIZES: usize = 8;
/// Errors that a state needs for a pool of its own.
const LEAST_POOL: f64 = 40.0;

fn sizes(activity: &Activity, foreseen: f64) -> [f64; N_SIZES] {
    [
        1.0,
        foreseen.abs(),
        activity.recent.abs(),
        activity.jerk,
        activity.above,
        activity.below,
        activity.amount,
        activity.inputs,
    ]
}

impl Residuals {
    /// Learns from origins, foreseen changes and errors (what came minus what was foreseen), all of one length.
    pub fn learn(seen: &[Activity], foreseen: &[f64], errors: &[f64], borders: &Borders) -> Self {
        Self::learn_kept(seen, foreseen, errors, borders).0
    }

    /// The same with the divided errors by state.
    pub(crate) fn learn_kept(
        seen: &[Activity],
        foreseen: &[f64],
        errors: &[f64],
        borders: &Borders,
    ) -> (Self, [Pool; 3]) {
        let table: Vec<f64> = seen
            .iter()
            .zip(foreseen)
            .flat_map(|(a, f)| sizes(a, *f))
            .collect();
        let magnitudes: Vec<f64> = errors.iter().map(|e| e.abs()).collect();
        // Columns of one scale, or the small addition to the diagonal would drown the small ones.
        let scale: Vec<f64> = (0..N_SIZES)
            .map(|at| {
                let sum: f64 = table.iter().skip(at).step_by(N_SIZES).map(|v| v * v).sum();
                (sum / seen.len().max(1) as f64).sqrt().max(1e-12)
            })
            .collect();
        let scaled: Vec<f64> = table
            .iter()
            .enumerate()
            .map(|(at, v)| v / scale[at % N_SIZES])
            .collect();
        let mut size = Blend::squares(&scaled, N_SIZES, &magnitudes, |_| 1.0);
        for (weight, scale) in size.weights.iter_mut().zip(&scale) {
            *weight /= scale;
        }
        let mean = magnitudes.iter().sum::<f64>() / magnitudes.len().max(1) as f64;
        let mut found = Self {
            size,
            least: (mean * 0.05).max(1e-9),
            quantiles: Default::default(),
        };
        let mut pools: [Pool; 3] = Default::default();
        for ((activity, foreseen), error) in seen.iter().zip(foreseen).zip(errors) {
            let divided = error / found.size(activity, *foreseen);
            pools[borders.state(activity, *foreseen) as usize].put(divided);
        }
        found.pooled(&mut pools);
        (found, pools)
    }

    /// Takes the quantiles of pools of divided errors; a state with few of its own takes those of all.
    pub(crate) fn pooled(&mut self, pools: &mut [Pool; 3]) {
        let mut all = Pool::default();
        for pool in pools.iter() {
            all.merge(pool);
        }
        for (pool, quantiles) in pools.iter_mut().zip(&mut self.quantiles) {
            let from = if pool.n() >= LEAST_POOL { pool } else { &mut all };
            *quantiles = from.quantiles(&LEVELS);
            quantiles.iter_mut().filter(|q| q.is_nan()).for_each(|q| *q = 0.0);
        }
    }

    /// Size of an error that is foreseen, > 0, units of the target.
    pub fn size(&self, activity: &Activity, foreseen: f64) -> f64 {
        self.size.at(&sizes(activity, foreseen)).max(self.least)
    }

    /// Errors at [`LEVELS`] before anything was learned in operation.
    pub fn quantiles(&self, state: State) -> &[f64] {
        &self.quantiles[state as usize]
    }
}

/// What operation has taught of one horizon since the model was trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Steps {
    /// By how much each quantile of divided errors has moved, for each of [`STATES`].
    moved: [Vec<f64>; 3],
    /// Sums of foreseen × come and of foreseen², fading.
    met: (f64, f64),
}

/// Share of the distance between the 10th and the 90th percentile that one exceedance moves a quantile one step ahead; of
/// longer horizons, whose errors come in runs, it is divided by the steps to the power of 0.4.
const STEP: f64 = 0.04;
/// What is left of a sum of foreseen changes after each forecast.
const FADING: f64 = 0.9995;
/// Share of the foreseen changes whose coming leaves nothing to scale down.
const WELL_FOLLOWED: f64 = 0.9;

impl Steps {
    /// Values at [`LEVELS`] around a forecast, ascending.
    pub fn spread(&self, residuals: &Residuals, state: State, forecast: f64, size: f64) -> Vec<f64> {
        let moved = &self.moved[state as usize];
        let mut values: Vec<f64> = residuals
            .quantiles(state)
            .iter()
            .enumerate()
            .map(|(at, q)| forecast + size * (q + moved.get(at).copied().unwrap_or(0.0)))
            .collect();
        values.sort_unstable_by(f64::total_cmp);
        values
    }

    /// Learns that a forecast issued in `state` missed by `error` (came − forecast) where `size` was foreseen.
    pub fn meet(&mut self, residuals: &Residuals, state: State, error: f64, size: f64, horizon: usize) {
        if !(error.is_finite() && size > 0.0) {
            return;
        }
        let divided = error / size;
        let base = residuals.quantiles(state);
        let width = (base[8] - base[2]).max(1e-9);
        let step = STEP / (horizon.max(1) as f64).powf(0.4);
        let moved = &mut self.moved[state as usize];
        moved.resize(LEVELS.len(), 0.0);
        for (at, level) in LEVELS.iter().enumerate() {
            let is_below = divided <= base[at] + moved[at];
            moved[at] += step * width * (level - f64::from(u8::from(is_below)));
        }
    }

    /// Share of a foreseen change that is issued, `[0, 1]`: what the changes that came were to those foreseen, all of it while these
    /// were nine tenths, as chance alone takes one. `prior` is the sum of foreseen² that training stands for.
    pub fn trust(&self, prior: f64) -> f64 {
        let (product, square) = self.met;
        let all = prior + square;
        if all > 0.0 {
            ((prior + product) / all / WELL_FOLLOWED).clamp(0.0, 1.0)
        } else {
            1.0
        }
    }

    /// Learns what came of a foreseen change.
    pub fn meet_change(&mut self, foreseen: f64, came: f64) {
        if foreseen.is_finite() && came.is_finite() {
            self.met.0 = FADING * self.met.0 + foreseen * came;
            self.met.1 = FADING * self.met.1 + foreseen * foreseen;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calm() -> Activity {
        Activity {
            recent: 0.0,
            jerk: 0.0,
            above: 0.0,
            below: 0.0,
            amount: 0.0,
            inputs: 0.0,
        }
    }

    fn noise(i: usize) -> f64 {
        let mixed = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
        ((mixed.wrapping_mul(mixed | 1) >> 33) as f64 / (1u64 << 31) as f64) - 0.5
    }

    #[test]
    fn the_adaptive_step_finds_the_level_again_when_errors_become_four_times_as_large() {
        let errors: Vec<f64> = (0..500).map(noise).collect();
        let seen = vec![calm(); 500];
        let borders = Borders::learn(&seen);
        let residuals = Residuals::learn(&seen, &vec![0.0; 500], &errors, &borders);
        let mut steps = Steps::default();
        let (mut n_inside, n) = (0, 4000);
        for i in 0..n {
            let error = 4.0 * noise(i + 10_000);
            let size = residuals.size(&calm(), 0.0);
            let band = steps.spread(&residuals, State::Steady, 0.0, size);
            n_inside += usize::from(i >= 1000 && band[2] <= error && error <= band[8]);
            steps.meet(&residuals, State::Steady, error, size, 1);
        }
        let share = n_inside as f64 / (n - 1000) as f64;
        assert!((0.77..=0.83).contains(&share), "{share}");
    }

    #[test]
    fn rising_water_has_wider_bands() {
        let lively = Activity {
            recent: 5.0,
            jerk: 2.0,
            ..calm()
        };
        let seen: Vec<Activity> = (0..1000)
            .map(|i| if i % 20 == 0 { lively } else { calm() })
            .collect();
        let errors: Vec<f64> = (0..1000)
            .map(|i| noise(i) * if i % 20 == 0 { 3.0 } else { 0.1 })
            .collect();
        let borders = Borders::learn(&seen);
        let residuals = Residuals::learn(&seen, &vec![0.0; 1000], &errors, &borders);
        assert_eq!(borders.state(&lively, 0.0), State::Rising);
        assert_eq!(borders.state(&calm(), 0.0), State::Steady);
        let width = |activity: &Activity, state| {
            let band = Steps::default().spread(&residuals, state, 0.0, residuals.size(activity, 0.0));
            band[8] - band[2]
        };
        assert!(width(&lively, State::Rising) > 10.0 * width(&calm(), State::Steady));
    }

    #[test]
    fn trust_goes_when_what_was_foreseen_does_not_come() {
        let mut steps = Steps::default();
        assert_eq!(steps.trust(5.0), 1.0);
        for _ in 0..1000 {
            steps.meet_change(1.0, -0.2);
        }
        assert_eq!(steps.trust(5.0), 0.0);
    }
}
