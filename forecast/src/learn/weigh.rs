//! How far each candidate is believed, when to be silent, and how sure what is left is: from forecasts of rows that the
//! candidates had not seen.

use super::{Learner, N_FOLDS, NO_FOLD};
use crate::blend::Blend;
use crate::conformal::{Band, Residuals, State, Steps};
use crate::crossing::{Calibration, chance_above};
use crate::features::Activity;
use crate::model::{FIRST_LINE, N_CANDIDATES, N_LINES, Silence, Tier, Validated};

/// Losses over all rows (shares of persistence's) within this of the best may do more for floods.
const AS_GOOD: f64 = 0.06;
/// Losses (shares of persistence's) within this of the best are alike.
const ALIKE: f64 = 0.03;

/// What a blend's weights make small: squares, squares with floods weighted, or absolute errors.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Squares,
    Floods,
    Absolute,
}

/// Rows of training that a foreseen change's trust stands on before operation has taught anything.
const PRIOR_ROWS: f64 = 4000.0;

impl Learner<'_> {
    /// Blends, the gate, errors and chances.
    pub(super) fn blend(&self, mut tier: Tier, candidates: &[f64]) -> Tier {
        let regimes: Vec<usize> = self.seen.iter().map(|seen| tier.regime(seen)).collect();
        let mut largest = self.changes.iter().map(|c| c.abs()).fold(0.0, f64::max);
        largest *= 1.5;
        tier.most_change = largest;
        let in_fold = |at: &usize| self.folds[*at] != NO_FOLD;
        let row = |at: usize| &candidates[at * N_CANDIDATES..(at + 1) * N_CANDIDATES];
        let of = |regime: usize, without: Option<usize>| -> Vec<usize> {
            (0..self.n())
                .filter(in_fold)
                .filter(|at| regimes[*at] == regime && Some(self.folds[*at]) != without)
                .collect()
        };
        // Squares against persistence's, over all rows and over floods.
        let is_flood = |at: usize| self.weights[at] > 1.0;
        let loss = |rows: &[usize], f: &dyn Fn(usize) -> f64| -> (f64, f64) {
            let (mut all, mut none, mut flood, mut flood_none) = (0.0, 0.0, 0.0, 0.0);
            for at in rows {
                let (left, change) = ((self.changes[*at] - f(*at)).powi(2), self.changes[*at].powi(2));
                all += left;
                none += change;
                if is_flood(*at) {
                    flood += left;
                    flood_none += change;
                }
            }
            let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { 1.0 };
            (ratio(all, none), ratio(flood, flood_none))
        };
        let fit = |regime: usize, without: Option<usize>, way: Way| -> Blend {
            let rows = of(regime, without);
            let changes: Vec<f64> = rows.iter().map(|at| self.changes[*at]).collect();
            let squares = |f: &dyn Fn(usize) -> f64| -> f64 {
                rows.iter().map(|at| (self.changes[*at] - f(*at)).powi(2)).sum()
            };
            let none = squares(&|_| 0.0);
            // What is far worse than persistence on rows it has not seen is not mixed in at all.
            let fair: Vec<usize> = (0..N_CANDIDATES)
                .filter(|c| {
                    way == Way::Absolute || squares(&|at| row(at)[*c].clamp(-largest, largest)) < 1.5 * none
                })
                .collect();
            let table: Vec<f64> = rows
                .iter()
                .flat_map(|at| fair.iter().map(|c| row(*at)[*c]))
                .collect();
            let blend = match way {
                Way::Absolute => Blend::absolute(&table, fair.len(), &changes),
                Way::Squares => Blend::squares(&table, fair.len(), &changes, |_| 1.0),
                Way::Floods => {
                    Blend::squares(&table, fair.len(), &changes, |at| self.weights[rows[at]].sqrt())
                }
            };
            let mut weights = vec![0.0; N_CANDIDATES];
            fair.iter()
                .zip(blend.weights)
                .for_each(|(c, weight)| weights[*c] = weight);
            Blend { weights }
        };
        let single = |c: usize| Blend {
            weights: (0..N_CANDIDATES).map(|at| f64::from(u8::from(at == c))).collect(),
        };
        let is_line = |c: usize| (FIRST_LINE..FIRST_LINE + N_LINES).contains(&c);
        let mean_line = Blend {
            weights: (0..N_CANDIDATES)
                .map(|c| if is_line(c) { 1.0 / N_LINES as f64 } else { 0.0 })
                .collect(),
        };
        let rows: Vec<usize> = (0..self.n()).filter(in_fold).collect();
        let (mut mean, mut median) = (vec![0.0; self.n()], vec![0.0; self.n()]);
        for regime in 0..2 {
            let of_regime: Vec<usize> = rows.iter().copied().filter(|at| regimes[*at] == regime).collect();
            let unseen = |way: Way| -> Vec<f64> {
                let mut foreseen = vec![0.0; self.n()];
                for fold in 0..N_FOLDS {
                    let blend = fit(regime, Some(fold), way);
                    for at in of_regime.iter().filter(|at| self.folds[**at] == fold) {
                        foreseen[*at] = blend.at(row(*at)).clamp(-largest, largest);
                    }
                }
                foreseen
            };
            unseen(Way::Absolute)
                .into_iter()
                .enumerate()
                .filter(|(at, _)| regimes[*at] == regime)
                .for_each(|(at, f)| median[at] = f);
            tier.median[regime] = fit(regime, None, Way::Absolute);
            // Where floods are too few to find weights that hold in the next block, a single line or the mean of all does better;
            // a regime in which nothing beats persistence is left to it.
            let simple = [mean_line.clone()]
                .into_iter()
                .chain((0..N_CANDIDATES).filter(|c| is_line(*c)).map(single));
            let simple = simple.map(|blend| {
                let foreseen: Vec<f64> = (0..self.n())
                    .map(|at| blend.at(row(at)).clamp(-largest, largest))
                    .collect();
                (blend, foreseen)
            });
            let fitted = [Way::Squares, Way::Floods].map(|way| (fit(regime, None, way), unseen(way)));
            let found: Vec<((f64, f64), Blend, Vec<f64>)> = fitted
                .into_iter()
                .chain(simple)
                .map(|(blend, foreseen)| (loss(&of_regime, &|at| foreseen[at]), blend, foreseen))
                .filter(|((whole, _), ..)| *whole < 0.995)
                .collect();
            // Of those that are about as good as the best over all rows, those that do well in floods.
            let least = found
                .iter()
                .map(|((whole, _), ..)| *whole)
                .fold(f64::INFINITY, f64::min);
            let found: Vec<(f64, Blend, Vec<f64>)> = found
                .into_iter()
                .filter(|((whole, _), ..)| *whole <= least + AS_GOOD)
                .map(|((whole, flood), blend, foreseen)| ((whole + 2.0 * flood) / 3.0, blend, foreseen))
                .collect();
            // Those that are about as good as the best, together: less hangs on the few floods of a block.
            let best = found.iter().map(|(loss, ..)| *loss).fold(f64::INFINITY, f64::min);
            let alike: Vec<&(f64, Blend, Vec<f64>)> =
                found.iter().filter(|(loss, ..)| *loss <= best + ALIKE).collect();
            let share = 1.0 / alike.len().max(1) as f64;
            tier.mean[regime] = Blend::none(N_CANDIDATES);
            for (_, blend, foreseen) in alike {
                tier.mean[regime]
                    .weights
                    .iter_mut()
                    .zip(&blend.weights)
                    .for_each(|(w, more)| *w += share * more);
                of_regime.iter().for_each(|at| mean[*at] += share * foreseen[*at]);
            }
            let sizes = |f: &[f64]| {
                of_regime
                    .iter()
                    .map(|at| (self.changes[*at] - f[*at]).abs())
                    .sum::<f64>()
            };
            let none = vec![0.0; self.n()];
            if sizes(&median) >= 0.998 * sizes(&none) {
                tier.median[regime] = Blend::none(N_CANDIDATES);
                of_regime.iter().for_each(|at| median[*at] = 0.0);
            }
        }
        let sum = |f: &dyn Fn(usize) -> f64| rows.iter().map(|at| f(*at)).sum::<f64>();
        let (sse, sse_none) = (
            sum(&|at| (self.changes[at] - mean[at]).powi(2)),
            sum(&|at| self.changes[at].powi(2)),
        );
        let (sae, sae_none) = (
            sum(&|at| (self.changes[at] - median[at]).abs()),
            sum(&|at| self.changes[at].abs()),
        );
        let skill = if sse_none > 0.0 { 1.0 - sse / sse_none } else { 0.0 };
        tier.alone = (0..N_CANDIDATES)
            .map(|c| {
                (sse_none > 0.0).then(|| 1.0 - sum(&|at| (self.changes[at] - row(at)[c]).powi(2)) / sse_none)
            })
            .collect();
        tier.validated = Validated {
            n: rows.len(),
            skill: (sse_none > 0.0).then_some(skill),
            mae_skill: (sae_none > 0.0).then(|| 1.0 - sae / sae_none),
        };
        if skill <= 0.0 {
            tier.silent = Some(Silence::NoSkill { skill });
            mean.fill(0.0);
        }
        tier.prior = rows.iter().map(|at| mean[*at].powi(2)).sum::<f64>()
            * (PRIOR_ROWS / rows.len().max(1) as f64).min(1.0);
        let seen: Vec<Activity> = rows.iter().map(|at| self.seen[*at]).collect();
        let foreseen: Vec<f64> = rows.iter().map(|at| mean[*at]).collect();
        let errors: Vec<f64> = rows.iter().map(|at| self.changes[*at] - mean[*at]).collect();
        tier.residuals = Residuals::learn(&seen, &foreseen, &errors, &tier.borders);
        let clean = &self.view.tracks[0].clean;
        tier.bands = self.bands(&tier, &rows, &mean);
        if let Some(threshold) = self.options.threshold {
            let cases: Vec<(f64, bool)> = rows
                .iter()
                .map(|at| {
                    let t = self.origins[*at];
                    let now = clean.values[t] + clean.offset[t];
                    let state = tier.borders.state(&self.seen[*at], mean[*at]);
                    let size = tier.residuals.size(&self.seen[*at], mean[*at]);
                    let spread = Steps::default().spread(&tier.residuals, state, now + mean[*at], size);
                    (
                        chance_above(&spread, threshold),
                        now + self.changes[*at] > threshold,
                    )
                })
                .collect();
            tier.calibration = Calibration::learn(&cases);
        }
        tier
    }

    /// Levels of the 80 % interval's ends by state. In lively water they are drawn further apart until at least 78 % of
    /// what came in flood lies inside: floods are chosen by what came, which no interval by origin is made for.
    fn bands(&self, tier: &Tier, rows: &[usize], mean: &[f64]) -> [Band; 3] {
        let mut bands = [Band::PLAIN; 3];
        for band in Band::CHOICES {
            for state in [State::Rising, State::Wet] {
                bands[state as usize] = band;
            }
            let (mut n, mut n_inside) = (0usize, 0usize);
            for at in rows.iter().filter(|at| self.weights[**at] > 1.0) {
                let state = tier.borders.state(&self.seen[*at], mean[*at]);
                let size = tier.residuals.size(&self.seen[*at], mean[*at]);
                let spread = Steps::default().spread(&tier.residuals, state, mean[*at], size);
                let (low, high) = bands[state as usize].of(&spread);
                n += 1;
                n_inside += usize::from((low..=high).contains(&self.changes[*at]));
            }
            if n_inside * 100 >= n * 78 {
                break;
            }
        }
        bands
    }
}
