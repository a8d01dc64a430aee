//! How far each candidate is believed, when to be silent, and how sure what is left is: from forecasts of rows that the
//! candidates had not seen.

use super::{Learner, N_FOLDS, NO_FOLD};
use crate::band::{Bands, Left};
use crate::blend::Blend;
use crate::conformal::{Residuals, Steps};
use crate::crossing::{Calibration, Case, chance_above};
use crate::features::Activity;
use crate::model::{FIRST_LINE, N_CANDIDATES, N_LINES, Silence, Tier, Validated};
use crate::pool::Pool;

/// Losses over all rows (shares of persistence's) within this of the best may do more for floods.
const AS_GOOD: f64 = 0.1;
/// Losses (shares of persistence's) further from the best than this are not alike, nearer than that they always are, and between
/// them when they are within one standard error over blocks.
const MOST_ALIKE: f64 = 0.1;
const SURELY_ALIKE: f64 = 0.005;
/// Share that the plain ridge has of a blend, unless it is this much worse in training and by so many standard errors: what a
/// blend gains on it in five blocks of training is found again in part only, what it loses is at most this much less.
const SHARE_OF_RIDGE: f64 = 0.5;
const MOST_WORSE: f64 = 0.08;
const SURELY_WORSE: f64 = 3.0;
/// The plain ridge among the candidates, and lines that are tried in equal parts with it.
const PLAIN_RIDGE: usize = FIRST_LINE;
const IN_EQUAL_PARTS: [&[usize]; 3] = [
    &[PLAIN_RIDGE, FIRST_LINE + 1],
    &[PLAIN_RIDGE, FIRST_LINE + 2],
    &[PLAIN_RIDGE, FIRST_LINE + 1, FIRST_LINE + 2],
];
/// Rows of training that a foreseen change's trust stands on before operation has taught anything.
const PRIOR_ROWS: f64 = 4000.0;

/// Training shorter than this has seen no season; when it saw no flood either, what it learned is of quiet water.
const THIN_DAYS: i64 = 60;
/// Share of all squared change that lively water has where a flood was seen.
const FLOODED: f64 = 0.75;
/// Share that it has where water was seen to move at all.
const MOVED: f64 = 1.0 / 3.0;
/// Lengths of a lead that quiet water has to have lasted.
const LEAST_SPANS: usize = 150;
/// Lengths of a lead in quiet weeks at which the 80 % interval is twice as wide as their errors, and the most it is drawn apart:
/// so few errors that hang on one another are those of one kind of weather.
const DOUBLE_SPANS: f64 = 30.0;
const MOST_STRETCH: f64 = 2.5;
/// Skill in every block of what comes as regularly as a tide.
const REGULAR: f64 = 0.6;
/// The trees of the median among the candidates, and how much worse than a blend in absolute error they may be to stand alone.
const MEDIAN_TREES: usize = N_CANDIDATES - 1;
const AS_GOOD_ALONE: f64 = 1.002;
/// Candidates that know neither a level nor a season: damped trend, and changes and sums of the series.
const MOMENTUM: [usize; 4] = [0, 5, 6, 7];

/// What a blend's weights make small: squares, squares with floods weighted, or absolute errors.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Squares,
    Floods,
    Absolute,
}

/// Blends by regime, and what those of the other blocks foresee for the rows of each.
struct Mixed {
    mean: [Blend; 2],
    median: [Blend; 2],
    of_mean: Vec<f64>,
    of_median: Vec<f64>,
}

/// A way to weight the candidates that is tried.
struct Tried {
    /// Over all rows, a share of persistence's.
    loss: f64,
    /// What each block has of the mean of the losses over all rows and in floods.
    of_blocks: [f64; N_FOLDS],
    blend: Blend,
    foreseen: Vec<f64>,
}

impl Tried {
    fn worth(&self) -> f64 {
        self.of_blocks.iter().sum()
    }

    /// Whether it is no further behind the best than `surely` standard errors of the difference over blocks, `most` at most.
    fn is_near(&self, best: &[f64; N_FOLDS], surely: f64, most: f64) -> bool {
        let behind: [f64; N_FOLDS] = std::array::from_fn(|fold| self.of_blocks[fold] - best[fold]);
        let n = N_FOLDS as f64;
        let all: f64 = behind.iter().sum();
        let squares: f64 = behind.iter().map(|d| (d - all / n).powi(2)).sum();
        let error = (n * squares / (n - 1.0)).sqrt();
        all <= (surely * error).min(most).max(SURELY_ALIKE)
    }
}

/// Equal parts of some candidates.
fn even(of: &[usize]) -> Blend {
    let share = 1.0 / of.len().max(1) as f64;
    let mut blend = Blend::none(N_CANDIDATES);
    of.iter().for_each(|candidate| blend.weights[*candidate] = share);
    blend
}

/// The candidates' forecasts of unseen rows and what came.
struct Weigher<'a> {
    learner: &'a Learner<'a>,
    candidates: &'a [f64],
    /// Of each row: 0 in steady water, 1 else.
    regimes: Vec<usize>,
    /// Rows that are in a block.
    rows: Vec<usize>,
    most_change: f64,
}

impl Weigher<'_> {
    fn row(&self, at: usize) -> &[f64] {
        &self.candidates[at * N_CANDIDATES..(at + 1) * N_CANDIDATES]
    }

    fn bounded(&self, change: f64) -> f64 {
        change.clamp(-self.most_change, self.most_change)
    }

    fn of_regime(&self, regime: usize) -> Vec<usize> {
        let rows = self.rows.iter().copied();
        rows.filter(|at| self.regimes[*at] == regime).collect()
    }

    /// Squares against persistence's.
    fn loss(&self, rows: &[usize], foreseen: &[f64]) -> f64 {
        let (mut all, mut none) = (0.0, 0.0);
        for at in rows {
            let change = self.learner.changes[*at];
            all += (change - foreseen[*at]).powi(2);
            none += change.powi(2);
        }
        if none > 0.0 { all / none } else { 1.0 }
    }

    /// What each block has of the mean of two losses: over all rows, and in floods; of the first alone where there were none.
    fn of_blocks(&self, rows: &[usize], foreseen: &[f64]) -> [f64; N_FOLDS] {
        let (mut of_all, mut of_floods) = ([0.0; N_FOLDS], [0.0; N_FOLDS]);
        let (mut none, mut none_in_floods) = (0.0, 0.0);
        for at in rows {
            let change = self.learner.changes[*at];
            let left = (change - foreseen[*at]).powi(2);
            let fold = self.learner.folds[*at];
            of_all[fold] += left;
            none += change.powi(2);
            if self.learner.weights[*at] > 1.0 {
                of_floods[fold] += left;
                none_in_floods += change.powi(2);
            }
        }
        std::array::from_fn(|fold| {
            if none <= 0.0 {
                return 1.0 / N_FOLDS as f64;
            }
            let all = of_all[fold] / none;
            if none_in_floods > 0.0 {
                (all + of_floods[fold] / none_in_floods) / 2.0
            } else {
                all
            }
        })
    }

    /// Weights of the `allowed` candidates fitted to the rows of a regime, without those of a block.
    fn fit(&self, regime: usize, without: Option<usize>, way: Way, allowed: &[usize]) -> Blend {
        let learner = self.learner;
        let rows: Vec<usize> = self
            .of_regime(regime)
            .into_iter()
            .filter(|at| Some(learner.folds[*at]) != without)
            .collect();
        let changes: Vec<f64> = rows.iter().map(|at| learner.changes[*at]).collect();
        let squares = |f: &dyn Fn(usize) -> f64| -> f64 {
            rows.iter()
                .map(|at| (learner.changes[*at] - f(*at)).powi(2))
                .sum()
        };
        let none = squares(&|_| 0.0);
        // What is far worse than persistence on rows it has not seen is not mixed in at all.
        let fair: Vec<usize> = allowed
            .iter()
            .copied()
            .filter(|c| way == Way::Absolute || squares(&|at| self.bounded(self.row(at)[*c])) < 1.5 * none)
            .collect();
        let table: Vec<f64> = rows
            .iter()
            .flat_map(|at| fair.iter().map(|c| self.row(*at)[*c]))
            .collect();
        let blend = match way {
            Way::Absolute => Blend::absolute(&table, fair.len(), &changes),
            Way::Squares => Blend::squares(&table, fair.len(), &changes, |_| 1.0),
            Way::Floods => Blend::squares(&table, fair.len(), &changes, |at| {
                learner.weights[rows[at]].sqrt()
            }),
        };
        let mut weights = vec![0.0; N_CANDIDATES];
        fair.iter()
            .zip(blend.weights)
            .for_each(|(c, weight)| weights[*c] = weight);
        Blend { weights }
    }

    /// What blends of the other blocks foresee for the rows of each; zero of the other regime.
    fn unseen(&self, regime: usize, way: Way, allowed: &[usize]) -> Vec<f64> {
        let mut foreseen = vec![0.0; self.learner.n()];
        let rows = self.of_regime(regime);
        for fold in 0..N_FOLDS {
            let blend = self.fit(regime, Some(fold), way, allowed);
            for at in rows.iter().filter(|at| self.learner.folds[**at] == fold) {
                foreseen[*at] = self.bounded(blend.at(self.row(*at)));
            }
        }
        foreseen
    }

    /// Ways to weight the candidates. Where floods are too few to find weights that hold in the next block, a single line or
    /// the mean of some does better.
    fn tried(&self, regime: usize, rows: &[usize], allowed: &[usize]) -> Vec<Tried> {
        let lines: Vec<usize> = allowed
            .iter()
            .copied()
            .filter(|c| (FIRST_LINE..FIRST_LINE + N_LINES).contains(c))
            .collect();
        let in_parts = IN_EQUAL_PARTS
            .iter()
            .filter(|of| of.iter().all(|line| lines.contains(line)));
        let simple = [even(&lines)]
            .into_iter()
            .chain(lines.iter().map(|line| even(&[*line])))
            .chain(in_parts.map(|of| even(of)))
            .map(|blend| {
                let foreseen = self.foreseen(&blend);
                (blend, foreseen)
            });
        [Way::Squares, Way::Floods]
            .map(|way| {
                (
                    self.fit(regime, None, way, allowed),
                    self.unseen(regime, way, allowed),
                )
            })
            .into_iter()
            .chain(simple)
            .map(|(blend, foreseen)| self.tried_as(rows, blend, foreseen))
            .collect()
    }

    fn tried_as(&self, rows: &[usize], blend: Blend, foreseen: Vec<f64>) -> Tried {
        Tried {
            loss: self.loss(rows, &foreseen),
            of_blocks: self.of_blocks(rows, &foreseen),
            blend,
            foreseen,
        }
    }

    /// What a blend of fixed weights foresees.
    fn foreseen(&self, blend: &Blend) -> Vec<f64> {
        (0..self.learner.n())
            .map(|at| self.bounded(blend.at(self.row(at))))
            .collect()
    }

    /// The ways to be blended with their shares: those about as good as the best in equal parts, less hangs on the few floods of a
    /// block then, beside the plain ridge. None where nothing beats persistence.
    fn chosen(&self, regime: usize, rows: &[usize], allowed: &[usize]) -> Vec<(f64, Tried)> {
        let mut found = self.tried(regime, rows, allowed);
        found.retain(|tried| tried.loss < 0.995);
        let least = found.iter().map(|tried| tried.loss).fold(f64::INFINITY, f64::min);
        // Of those that are about as good as the best over all rows, those that do well in floods.
        found.retain(|tried| tried.loss <= least + AS_GOOD);
        let best = found.iter().min_by(|a, b| a.worth().total_cmp(&b.worth()));
        let Some(best) = best.map(|best| best.of_blocks) else {
            return Vec::new();
        };
        found.retain(|tried| tried.is_near(&best, 1.0, MOST_ALIKE));
        let ridge = allowed.contains(&PLAIN_RIDGE).then(|| {
            let blend = even(&[PLAIN_RIDGE]);
            let foreseen = self.foreseen(&blend);
            self.tried_as(rows, blend, foreseen)
        });
        let ridge = ridge.filter(|ridge| ridge.loss < 1.0 && ridge.is_near(&best, SURELY_WORSE, MOST_WORSE));
        let left = if ridge.is_some() {
            1.0 - SHARE_OF_RIDGE
        } else {
            1.0
        };
        let share = left / found.len() as f64;
        let found = found.into_iter().map(|tried| (share, tried));
        found.chain(ridge.map(|ridge| (1.0 - left, ridge))).collect()
    }

    /// Whether a blend is worse than persistence in most blocks. In steady water a few rows of one block, from which a flood began,
    /// may hold all of a blend's gain.
    fn is_mostly_behind(&self, rows: &[usize], chosen: &[(f64, Tried)]) -> bool {
        let mut behind = [0.0; N_FOLDS];
        for at in rows {
            let change = self.learner.changes[*at];
            let foreseen: f64 = chosen
                .iter()
                .map(|(share, tried)| share * tried.foreseen[*at])
                .sum();
            behind[self.learner.folds[*at]] += (change - foreseen).powi(2) - change.powi(2);
        }
        2 * behind.iter().filter(|more| **more > 0.0).count() > N_FOLDS
    }

    /// Blends of the `allowed` candidates. A regime in which nothing beats persistence is left to it, and steady water in which
    /// most blocks do not.
    fn mix(&self, allowed: &[usize]) -> Mixed {
        let n = self.learner.n();
        let mut mixed = Mixed {
            mean: [Blend::none(N_CANDIDATES), Blend::none(N_CANDIDATES)],
            median: [Blend::none(N_CANDIDATES), Blend::none(N_CANDIDATES)],
            of_mean: vec![0.0; n],
            of_median: vec![0.0; n],
        };
        for regime in 0..2 {
            let rows = self.of_regime(regime);
            let mut chosen = self.chosen(regime, &rows, allowed);
            if regime == 0 && self.is_mostly_behind(&rows, &chosen) {
                chosen.clear();
            }
            for (share, tried) in chosen {
                let weights = mixed.mean[regime].weights.iter_mut();
                weights
                    .zip(&tried.blend.weights)
                    .for_each(|(w, more)| *w += share * more);
                rows.iter()
                    .for_each(|at| mixed.of_mean[*at] += share * tried.foreseen[*at]);
            }
            let sizes = |f: &dyn Fn(usize) -> f64| -> f64 {
                rows.iter()
                    .map(|at| (self.learner.changes[*at] - f(*at)).abs())
                    .sum()
            };
            let mut median = self.unseen(regime, Way::Absolute, allowed);
            let mut blend = None;
            // Trees of the median alone, where a blend does no better than they.
            let trees = |at: usize| self.bounded(self.row(at)[MEDIAN_TREES]);
            if allowed.contains(&MEDIAN_TREES) && sizes(&trees) <= AS_GOOD_ALONE * sizes(&|at| median[at]) {
                rows.iter().for_each(|at| median[*at] = trees(*at));
                let mut alone = Blend::none(N_CANDIDATES);
                alone.weights[MEDIAN_TREES] = 1.0;
                blend = Some(alone);
            }
            if sizes(&|at| median[at]) < 0.998 * sizes(&|_| 0.0) {
                mixed.median[regime] =
                    blend.unwrap_or_else(|| self.fit(regime, None, Way::Absolute, allowed));
                rows.iter().for_each(|at| mixed.of_median[*at] = median[*at]);
            }
        }
        mixed
    }

    /// Share of all squared change that lively water has, `[0, 1]`.
    fn lively_share(&self) -> f64 {
        let squares =
            |rows: &[usize]| -> f64 { rows.iter().map(|at| self.learner.changes[*at].powi(2)).sum() };
        let all = squares(&self.rows);
        if all > 0.0 {
            squares(&self.of_regime(1)) / all
        } else {
            0.0
        }
    }

    /// Skill in the block in which it is least, over some rows. A block without a hundredth of all squared change says nothing.
    fn worst_block(&self, rows: &[usize], foreseen: &[f64]) -> f64 {
        let changes = &self.learner.changes;
        let all: f64 = rows.iter().map(|at| changes[*at].powi(2)).sum();
        (0..N_FOLDS)
            .filter_map(|fold| {
                let of_fold: Vec<usize> = rows
                    .iter()
                    .copied()
                    .filter(|at| self.learner.folds[*at] == fold)
                    .collect();
                let none: f64 = of_fold.iter().map(|at| changes[*at].powi(2)).sum();
                (none > 0.01 * all).then(|| 1.0 - self.loss(&of_fold, foreseen))
            })
            .fold(f64::INFINITY, f64::min)
    }

    /// What a short training may say that saw no flood. Levels and calendars of quiet weeks say nothing of the flood that
    /// comes after, in which all that they foresee is a fall: unless it is as regular as a tide, what is left is momentum and
    /// what runs down from upstream, where lively water has shown it in every block and the lead is short beside the
    /// training.
    fn of_quiet_weeks(&self, mixed: Mixed, lively: f64) -> (Mixed, Option<Silence>) {
        if self.worst_block(&self.rows, &mixed.of_mean) >= REGULAR {
            return (mixed, None);
        }
        let learner = self.learner;
        let mixed = self.mix(&MOMENTUM);
        let is_short = LEAST_SPANS * learner.layout.horizon > learner.n_train;
        let worst = self.worst_block(&self.of_regime(1), &mixed.of_mean);
        let silent = (is_short || lively < MOVED || worst < 0.0).then(|| Silence::QuietWeeks {
            days: learner.span_days(),
        });
        (mixed, silent)
    }
}

impl Learner<'_> {
    /// Blends, the gate, errors and chances.
    pub(super) fn blend(&self, mut tier: Tier, candidates: &[f64]) -> (Tier, [Pool; 3]) {
        let largest = self.changes.iter().map(|c| c.abs()).fold(0.0, f64::max);
        let weigher = Weigher {
            learner: self,
            candidates,
            regimes: self.seen.iter().map(|seen| tier.regime(seen)).collect(),
            rows: (0..self.n()).filter(|at| self.folds[*at] != NO_FOLD).collect(),
            most_change: 1.5 * largest,
        };
        let all: Vec<usize> = (0..N_CANDIDATES).collect();
        let mut mixed = weigher.mix(&all);
        let lively = weigher.lively_share();
        let is_quiet = self.span_days() < THIN_DAYS && lively < FLOODED;
        if is_quiet {
            (mixed, tier.silent) = weigher.of_quiet_weeks(mixed, lively);
        }
        let Mixed {
            mean: blends,
            median: median_blends,
            of_mean: mut mean,
            of_median: median,
        } = mixed;
        (tier.mean, tier.median) = (blends, median_blends);
        tier.most_change = weigher.most_change;
        let rows = &weigher.rows;
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
                (sse_none > 0.0)
                    .then(|| 1.0 - sum(&|at| (self.changes[at] - weigher.row(at)[c]).powi(2)) / sse_none)
            })
            .collect();
        tier.validated = Validated {
            n: rows.len(),
            skill: (sse_none > 0.0).then_some(skill),
            mae_skill: (sae_none > 0.0).then(|| 1.0 - sae / sae_none),
        };
        if skill <= 0.0 {
            tier.silent = Some(Silence::NoSkill { skill });
        }
        if tier.silent.is_some() {
            mean.fill(0.0);
        }
        tier.prior = sum(&|at| mean[at].powi(2)) * (PRIOR_ROWS / rows.len().max(1) as f64).min(1.0);
        let pools = self.sureness(&mut tier, rows, &mean);
        if is_quiet {
            let spans = self.n_train as f64 / self.layout.horizon.max(1) as f64;
            tier.bands = tier
                .bands
                .stretched((1.0 + DOUBLE_SPANS / spans).min(MOST_STRETCH));
        }
        (tier, pools)
    }

    /// Errors, the 80 % interval and chances, from forecasts of the rows `rows`.
    fn sureness(&self, tier: &mut Tier, rows: &[usize], mean: &[f64]) -> [Pool; 3] {
        let seen: Vec<Activity> = rows.iter().map(|at| self.seen[*at]).collect();
        let foreseen: Vec<f64> = rows.iter().map(|at| mean[*at]).collect();
        let errors: Vec<f64> = rows.iter().map(|at| self.changes[*at] - mean[*at]).collect();
        let (residuals, pools) = Residuals::learn_kept(&seen, &foreseen, &errors, &tier.borders);
        tier.residuals = residuals;
        tier.bands = self.bands(tier, rows, mean);
        let Some(threshold) = self.options.threshold else {
            return pools;
        };
        let clean = &self.view.tracks[0].clean;
        let cases: Vec<Case> = rows
            .iter()
            .map(|at| {
                let t = self.origins[*at];
                let now = clean.values[t] + clean.offset[t];
                let state = tier.borders.state(&self.seen[*at], mean[*at]);
                let size = tier.residuals.size(&self.seen[*at], mean[*at]);
                let spread = Steps::default().spread(&tier.residuals, state, now + mean[*at], size);
                Case {
                    chance: chance_above(&spread, threshold),
                    came: now + self.changes[*at] > threshold,
                }
            })
            .collect();
        tier.calibration = Calibration::learn(&cases);
        pools
    }

    /// The 80 % interval, from errors of each block in the sizes and quantiles of the others.
    fn bands(&self, tier: &Tier, rows: &[usize], mean: &[f64]) -> Bands {
        let of_others: Vec<Residuals> = (0..N_FOLDS)
            .map(|fold| {
                let others = || rows.iter().copied().filter(|at| self.folds[*at] != fold);
                let seen: Vec<Activity> = others().map(|at| self.seen[at]).collect();
                let foreseen: Vec<f64> = others().map(|at| mean[at]).collect();
                let errors: Vec<f64> = others().map(|at| self.changes[at] - mean[at]).collect();
                Residuals::learn(&seen, &foreseen, &errors, &tier.borders)
            })
            .collect();
        let left: Vec<Left<'_>> = rows
            .iter()
            .map(|at| {
                let residuals = &of_others[self.folds[*at]];
                let state = tier.borders.state(&self.seen[*at], mean[*at]);
                let size = residuals.size(&self.seen[*at], mean[*at]);
                Left {
                    state,
                    size,
                    divided: (self.changes[*at] - mean[*at]) / size,
                    quantiles: residuals.quantiles(state),
                    is_flood: self.weights[*at] > 1.0,
                    block: self.folds[*at],
                }
            })
            .collect();
        Bands::learn(&left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_near_the_best_while_blocks_do_not_agree_that_it_is_worse() {
        let best = [0.1; N_FOLDS];
        let tried = |of_blocks: [f64; N_FOLDS]| Tried {
            loss: 0.5,
            of_blocks,
            blend: Blend::none(N_CANDIDATES),
            foreseen: Vec::new(),
        };
        let in_every_block = tried([0.105, 0.105, 0.106, 0.105, 0.105]);
        assert!(!in_every_block.is_near(&best, 1.0, MOST_ALIKE));
        let in_one_block = tried([0.13, 0.098, 0.1, 0.1, 0.098]);
        assert!((in_one_block.worth() - in_every_block.worth()).abs() < 1e-9);
        assert!(in_one_block.is_near(&best, 1.0, MOST_ALIKE));
        let far_in_one_block = tried([0.6, 0.1, 0.1, 0.1, 0.1]);
        assert!(!far_in_one_block.is_near(&best, SURELY_WORSE, MOST_WORSE));
        let hardly_at_all = tried([0.1005; N_FOLDS]);
        assert!(hardly_at_all.is_near(&best, 1.0, MOST_ALIKE));
        assert!(tried(best).is_near(&best, 1.0, MOST_ALIKE));
    }
}
