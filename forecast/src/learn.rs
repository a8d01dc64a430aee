//! Training: candidates, how far each is believed, and when to be silent, all by cross-validation in blocks of time.

use crate::baseline::{Climatology, DampedTrend};
use crate::blend::Blend;
use crate::clean::Clean;
use crate::conformal::{Band, Borders, Residuals, State, Steps};
use crate::crossing::{Calibration, chance_above};
use crate::features::{Activity, Channels, Layout, View};
use crate::model::{
    FIRST_LINE, Horizon, MedianTrees, Model, N_CANDIDATES, N_LINES, Scaling, Silence, Tier, UNDER_TREES,
    VERSION, Validated, scaled, season_change,
};
use crate::ridge::{Moments, Ridge};
use crate::score::quantile_of;
use crate::series::Aligned;
use crate::trees::{Binned, Loss, Options as TreeOptions, Trees};

/// How a model is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Of exceedances, units of the target. Rows above it (without it: above the 98th percentile) count more in one of the
    /// ridges and in the trees.
    pub threshold: Option<f64>,
    /// Whether trees are grown: seconds instead of milliseconds a gauge.
    pub with_trees: bool,
    /// Rows that are learned from at most, spread evenly.
    pub most_rows: usize,
    /// Threads.
    pub n_workers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threshold: None,
            with_trees: true,
            most_rows: 50_000,
            n_workers: 1,
        }
    }
}

/// Blocks of cross-validation.
const N_FOLDS: usize = 5;
/// Rows without which nothing is learned.
const LEAST_ROWS: usize = 60;
/// Penalties of a ridge, in shares of the rows' weight.
const PENALTIES: [f64; 6] = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0];
/// Rows that trees are grown on at most.
const MOST_TREE_ROWS: usize = 15_000;
const HOUR_MS: i64 = 3_600_000;
/// Of rows that are in no block: what they foresee reaches into the next.
const NO_FOLD: usize = usize::MAX;

impl Model {
    /// Trains on the steps before `n_train` of series whose first is the target. `horizons` are steps ahead; `sets` are
    /// further sets of channels to have a model for, beside all that speak in training and the target alone.
    pub fn train(
        aligned: &Aligned,
        n_train: usize,
        horizons: &[usize],
        sets: &[Vec<usize>],
        options: &Options,
    ) -> Self {
        let channels = Channels::learn(aligned, n_train);
        let view = channels.view(aligned);
        let taught = |set: &[usize]| -> Vec<usize> {
            set.iter()
                .copied()
                .filter(|channel| channels.is_taught(&view, *channel, n_train))
                .collect()
        };
        let all: Vec<usize> = (0..channels.all.len()).collect();
        let mut wanted: Vec<Vec<usize>> = vec![taught(&all)];
        wanted.extend(sets.iter().map(|set| taught(set)));
        wanted.push(vec![0]);
        wanted.retain(|set| set.first() == Some(&0));
        wanted.sort_by_key(|set| (std::cmp::Reverse(set.len()), set.clone()));
        wanted.dedup();
        let jobs: Vec<(usize, &Vec<usize>)> = horizons
            .iter()
            .flat_map(|horizon| wanted.iter().map(move |set| (*horizon, set)))
            .collect();
        let tiers = in_parallel(options.n_workers, &jobs, |(horizon, set)| {
            let layout = Layout::new(&channels, *horizon, set);
            Learner::new(&channels, &view, layout, n_train, options).tier()
        });
        let mut tiers = tiers.into_iter();
        let horizons = horizons
            .iter()
            .map(|steps| Horizon {
                steps: *steps,
                tiers: tiers.by_ref().take(wanted.len()).collect(),
            })
            .collect();
        Self {
            version: VERSION,
            step_ms: aligned.step_ms,
            threshold: options.threshold,
            channels,
            horizons,
        }
    }
}

/// Runs jobs on a few threads; results in the order of the jobs.
fn in_parallel<J: Sync, R: Send>(n_workers: usize, jobs: &[J], work: impl Fn(&J) -> R + Sync) -> Vec<R> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let done: std::sync::Mutex<Vec<(usize, R)>> = std::sync::Mutex::new(Vec::with_capacity(jobs.len()));
    std::thread::scope(|scope| {
        for _ in 0..n_workers.clamp(1, jobs.len().max(1)) {
            scope.spawn(|| {
                loop {
                    // The longest jobs are the last: they are begun first.
                    let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(at) = jobs.len().checked_sub(at + 1) else {
                        break;
                    };
                    let result = work(&jobs[at]);
                    done.lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .push((at, result));
                }
            });
        }
    });
    let mut done = done
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

struct Learner<'a> {
    view: &'a View,
    layout: Layout,
    options: &'a Options,
    n_train: usize,
    origins: Vec<usize>,
    changes: Vec<f64>,
    folds: Vec<usize>,
    /// Rows of the table as they are and in their spreads.
    raw: Vec<f64>,
    scaled: Vec<f64>,
    scaling: Vec<Scaling>,
    /// Weights that floods have.
    weights: Vec<f64>,
    seen: Vec<Activity>,
}

impl<'a> Learner<'a> {
    fn new(
        channels: &'a Channels,
        view: &'a View,
        layout: Layout,
        n_train: usize,
        options: &'a Options,
    ) -> Self {
        let horizon = layout.horizon;
        let last = n_train.min(view.len()).saturating_sub(horizon);
        let clean: &Clean = &view.tracks[0].clean;
        let known: Vec<usize> = (0..last)
            .filter(|t| clean.is_seen[*t] && view.change(*t, t + horizon).is_some())
            .collect();
        let stride = known.len().div_ceil(options.most_rows.max(1)).max(1);
        let origins: Vec<usize> = known.into_iter().step_by(stride).collect();
        let changes: Vec<f64> = origins
            .iter()
            .filter_map(|t| view.change(*t, t + horizon))
            .collect();
        let n = origins.len();
        let folds = match (origins.first(), origins.last()) {
            (Some(first), Some(end)) => {
                let span = end - first + 1;
                let block = |t: usize| (t - first) * N_FOLDS / span;
                origins
                    .iter()
                    .map(|t| {
                        if block(*t) == block((t + horizon).min(*end)) {
                            block(*t)
                        } else {
                            NO_FOLD
                        }
                    })
                    .collect()
            }
            _ => Vec::new(),
        };
        let (mut raw, mut row) = (Vec::with_capacity(n * layout.n_columns()), Vec::new());
        for t in &origins {
            layout.row(channels, view, *t, &mut row);
            raw.extend_from_slice(&row);
        }
        let p = layout.n_columns();
        let scaling: Vec<Scaling> = (0..p)
            .map(|column| scaling_of(raw.iter().skip(column).step_by(p)))
            .collect();
        let scaled_rows: Vec<f64> = raw
            .chunks_exact(p.max(1))
            .flat_map(|row| scaled(row, &scaling))
            .collect();
        let threshold = options.threshold.unwrap_or_else(|| {
            let mut sorted: Vec<f64> = origins
                .iter()
                .map(|t| clean.values[*t] + clean.offset[*t])
                .collect();
            sorted.sort_unstable_by(f64::total_cmp);
            quantile_of(&sorted, 0.98)
        });
        let is_flood: Vec<bool> = origins
            .iter()
            .zip(&changes)
            .map(|(t, change)| {
                let now = clean.values[*t] + clean.offset[*t];
                now > threshold || now + change > threshold
            })
            .collect();
        let n_flood = is_flood.iter().filter(|is| **is).count();
        let weight = ((n - n_flood) as f64 / n_flood.max(1) as f64).clamp(1.0, 20.0);
        let weights = is_flood.iter().map(|is| if *is { weight } else { 1.0 }).collect();
        let seen = origins
            .iter()
            .map(|t| layout.activity(channels, view, *t))
            .collect();
        Self {
            view,
            layout,
            options,
            n_train,
            origins,
            changes,
            folds,
            raw,
            scaled: scaled_rows,
            scaling,
            weights,
            seen,
        }
    }

    fn n(&self) -> usize {
        self.origins.len()
    }

    fn scaled_row(&self, at: usize) -> &[f64] {
        let p = self.layout.n_columns();
        &self.scaled[at * p..(at + 1) * p]
    }

    fn raw_row(&self, at: usize) -> &[f64] {
        let p = self.layout.n_columns();
        &self.raw[at * p..(at + 1) * p]
    }

    fn tier(self) -> Tier {
        let borders = Borders::learn(&self.seen);
        let silent = if self.n() < LEAST_ROWS {
            Some(Silence::TooFewRows { rows: self.n() })
        } else if self.changes.iter().all(|change| *change == 0.0) {
            Some(Silence::Constant)
        } else {
            None
        };
        let blank = Tier {
            layout: self.layout.clone(),
            silent,
            scaling: self.scaling.clone(),
            trend: DampedTrend::CHOICES[0],
            usual: None,
            season: None,
            lines: Default::default(),
            alone: Vec::new(),
            trees: None,
            median_trees: None,
            mean: [Blend::none(N_CANDIDATES), Blend::none(N_CANDIDATES)],
            median: [Blend::none(N_CANDIDATES), Blend::none(N_CANDIDATES)],
            most_change: f64::INFINITY,
            prior: 0.0,
            borders,
            bands: [Band::PLAIN; 3],
            residuals: Residuals::learn(&self.seen, &vec![0.0; self.n()], &self.changes, &borders),
            calibration: Calibration::learn(&[]),
            validated: Validated::default(),
        };
        if silent.is_some() {
            blank
        } else {
            self.learned(blank)
        }
    }

    fn learned(&self, mut tier: Tier) -> Tier {
        let n = self.n();
        let mut candidates = vec![0.0; n * N_CANDIDATES];
        let mut put = |column: usize, values: &[f64]| {
            for (at, value) in values.iter().enumerate() {
                candidates[at * N_CANDIDATES + column] = if value.is_finite() { *value } else { 0.0 };
            }
        };
        let (trend, of_trend) = self.trend();
        tier.trend = trend;
        put(0, &of_trend);
        if let Some((usual, of_usual)) = self.usual() {
            tier.usual = Some(usual);
            put(1, &of_usual);
        }
        tier.season = self.season();
        let values = &self.view.tracks[0].clean.values;
        let of_season: Vec<f64> = self
            .origins
            .iter()
            .map(|t| season_change(values, tier.season, self.layout.horizon, *t, values[*t]))
            .collect();
        put(2, &of_season);
        let mut under = vec![0.0; n];
        for (at, found) in self.lines().into_iter().enumerate() {
            let Some((line, unseen)) = found else { continue };
            tier.lines[at] = Some(line);
            put(FIRST_LINE + at, &unseen);
            if at == UNDER_TREES {
                under = unseen;
            }
        }
        if self.options.with_trees && n >= 500 {
            let (trees, unseen) = self.trees_on(&under);
            tier.trees = Some(trees);
            let both: Vec<f64> = unseen.iter().zip(&under).map(|(a, b)| a + b).collect();
            put(FIRST_LINE + N_LINES, &both);
            let (trees, unseen) = self.median_trees();
            tier.median_trees = Some(trees);
            put(N_CANDIDATES - 1, &unseen);
        }
        self.blend(tier, &candidates)
    }

    /// Blends, the gate, errors and chances.
    fn blend(&self, mut tier: Tier, candidates: &[f64]) -> Tier {
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

    fn trend(&self) -> (DampedTrend, Vec<f64>) {
        let values = &self.view.tracks[0].clean.values[..self.n_train.min(self.view.len())];
        DampedTrend::CHOICES
            .iter()
            .map(|choice| {
                let all = choice.changes(values, self.layout.horizon);
                let at_origins: Vec<f64> = self.origins.iter().map(|t| all[*t]).collect();
                let loss: f64 = at_origins
                    .iter()
                    .zip(&self.changes)
                    .map(|(f, c)| if f.is_nan() { c * c } else { (c - f).powi(2) })
                    .sum();
                (loss, *choice, at_origins)
            })
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, choice, changes)| (choice, changes))
            .expect("there are choices")
    }

    /// The usual and how much of the distance to it is left after the horizon, with changes for rows of a block from the others.
    fn usual(&self) -> Option<((Climatology, f64), Vec<f64>)> {
        let step_ms = self.view.time_ms(1) - self.view.time_ms(0);
        let mut periods = Vec::new();
        if step_ms <= 6 * HOUR_MS {
            periods.push(24.0 * HOUR_MS as f64);
        }
        if step_ms * self.n_train as i64 > 300 * 24 * HOUR_MS {
            periods.push(365.2425 * 24.0 * HOUR_MS as f64);
        }
        let values = &self.view.tracks[0].clean.values;
        let horizon = self.layout.horizon;
        let fitted = |without: Option<usize>| -> Option<(Climatology, f64)> {
            let rows: Vec<usize> = (0..self.n())
                .filter(|at| Some(self.folds[*at]) != without)
                .collect();
            let stride = rows.len().div_ceil(8_000).max(1);
            let rows: Vec<usize> = rows.into_iter().step_by(stride).collect();
            let times: Vec<i64> = rows
                .iter()
                .map(|at| self.view.time_ms(self.origins[*at]))
                .collect();
            let now: Vec<f64> = rows.iter().map(|at| values[self.origins[*at]]).collect();
            let usual = Climatology::fit(&times, &now, &periods)?;
            let (mut product, mut square) = (0.0, 0.0);
            for (at, (time, now)) in rows.iter().zip(times.iter().zip(&now)) {
                let later = self.view.time_ms(self.origins[*at] + horizon);
                let (before, after) = (now - usual.at(*time), now + self.changes[*at] - usual.at(later));
                product += before * after;
                square += before * before;
            }
            let memory = if square > 0.0 {
                (product / square).clamp(0.0, 1.0)
            } else {
                1.0
            };
            Some((usual, memory))
        };
        let mut changes = vec![0.0; self.n()];
        for fold in 0..N_FOLDS {
            let (usual, memory) = fitted(Some(fold))?;
            for at in (0..self.n()).filter(|at| self.folds[*at] == fold) {
                let t = self.origins[at];
                changes[at] = usual.change(
                    self.view.time_ms(t),
                    values[t],
                    self.view.time_ms(t + horizon),
                    memory,
                );
            }
        }
        Some((fitted(None)?, changes))
    }

    /// Steps of a day where the series has days.
    fn season(&self) -> Option<usize> {
        let step_ms = self.view.time_ms(1) - self.view.time_ms(0);
        let n = (24 * HOUR_MS + step_ms / 2) / step_ms;
        (step_ms <= 6 * HOUR_MS).then_some(n as usize)
    }

    /// The lines of a tier, each with what lines of the other blocks foresee for the rows of each block.
    fn lines(&self) -> [Option<(Ridge, Vec<f64>)>; N_LINES] {
        let even = vec![1.0; self.n()];
        let (by_row, by_flood) = (self.sums(&even), self.sums(&self.weights));
        let all: Vec<usize> = (0..self.layout.n_columns()).collect();
        let plain: Vec<usize> = all
            .iter()
            .copied()
            .filter(|column| self.layout.plain()[*column])
            .collect();
        let near = self.near(&plain, &by_flood);
        [
            self.line(&by_row, &even, &all),
            self.line(&by_flood, &self.weights, &all),
            self.line(&by_row, &even, &plain),
            self.line(&by_flood, &self.weights, &plain),
            self.line(&by_row, &even, &near),
        ]
    }

    /// Columns of the target and of the three series whose changes pull most at it.
    fn near(&self, plain: &[usize], sums: &[Moments]) -> Vec<usize> {
        let mut all = Moments::new(self.layout.n_columns());
        sums.iter().for_each(|some| all.merge(some));
        let mut pulls: Vec<(f64, usize)> = self
            .layout
            .channels
            .iter()
            .filter(|channel| **channel != 0)
            .map(|channel| {
                let own = plain
                    .iter()
                    .filter(|column| self.layout.owners()[**column] == Some(*channel));
                (
                    own.map(|column| all.pull(*column).abs()).fold(0.0, f64::max),
                    *channel,
                )
            })
            .collect();
        pulls.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let near: Vec<usize> = [0]
            .into_iter()
            .chain(pulls.into_iter().take(3).map(|(_, channel)| channel))
            .collect();
        plain
            .iter()
            .copied()
            .filter(|column| self.layout.owners()[*column].is_some_and(|owner| near.contains(&owner)))
            .collect()
    }

    /// Sums over the rows of each block, and of those in none.
    fn sums(&self, weights: &[f64]) -> Vec<Moments> {
        (0..=N_FOLDS)
            .map(|fold| {
                let fold = if fold == N_FOLDS { NO_FOLD } else { fold };
                let mut sums = Moments::new(self.layout.n_columns());
                sums.add(
                    (0..self.n())
                        .filter(|at| self.folds[*at] == fold)
                        .map(|at| (self.scaled_row(at), self.changes[at], weights[at])),
                );
                sums
            })
            .collect()
    }

    /// The ridge of all rows over some columns and what ridges of the other blocks foresee for the rows of each.
    fn line(&self, sums: &[Moments], weights: &[f64], columns: &[usize]) -> Option<(Ridge, Vec<f64>)> {
        let sums: Vec<Moments> = sums.iter().map(|some| some.select(columns)).collect();
        let without = |fold: Option<usize>| {
            let mut rest = Moments::new(columns.len());
            let used = sums
                .iter()
                .enumerate()
                .filter(|(at, _)| fold.is_none_or(|fold| *at != fold && *at != N_FOLDS));
            used.for_each(|(_, some)| rest.merge(some));
            rest
        };
        let whole = |ridge: Ridge| {
            let mut slopes = vec![0.0; self.layout.n_columns()];
            columns
                .iter()
                .zip(ridge.slopes)
                .for_each(|(column, slope)| slopes[*column] = slope);
            Ridge {
                intercept: ridge.intercept,
                slopes,
            }
        };
        let rests: Vec<Moments> = (0..N_FOLDS).map(|fold| without(Some(fold))).collect();
        let in_blocks = |penalty: f64| -> Option<Vec<f64>> {
            let mut foreseen = vec![0.0; self.n()];
            for (fold, rest) in rests.iter().enumerate() {
                if sums[fold].weight() <= 0.0 || rest.weight() <= 0.0 {
                    continue;
                }
                let ridge = whole(rest.solve(penalty * rest.weight())?);
                for at in (0..self.n()).filter(|at| self.folds[*at] == fold) {
                    foreseen[at] = ridge.at(self.scaled_row(at));
                }
            }
            Some(foreseen)
        };
        let (_, penalty, unseen) = PENALTIES
            .iter()
            .filter_map(|penalty| {
                let foreseen = in_blocks(*penalty)?;
                let loss: f64 = (0..self.n())
                    .filter(|at| self.folds[*at] != NO_FOLD)
                    .map(|at| weights[at] * (self.changes[at] - foreseen[at]).powi(2))
                    .sum();
                loss.is_finite().then_some((loss, *penalty, foreseen))
            })
            .min_by(|a, b| a.0.total_cmp(&b.0))?;
        let all = without(None);
        Some((whole(all.solve(penalty * all.weight())?), unseen))
    }

    /// Rows that trees are grown on, without a block.
    fn tree_rows(&self, without: Option<usize>) -> Vec<u32> {
        let stride = self.n().div_ceil(MOST_TREE_ROWS).max(1);
        (0..self.n())
            .step_by(stride)
            .filter(|at| {
                without.is_none() || (Some(self.folds[*at]) != without && self.folds[*at] != NO_FOLD)
            })
            .map(|at| at as u32)
            .collect()
    }

    fn grown(
        &self,
        table: &Binned,
        targets: &[f64],
        weights: &[f64],
        options: &TreeOptions,
    ) -> (Trees, Vec<f64>) {
        let mut unseen = vec![0.0; self.n()];
        for fold in 0..N_FOLDS {
            let trees = Trees::fit(table, targets, weights, &self.tree_rows(Some(fold)), options);
            for at in (0..self.n()).filter(|at| self.folds[*at] == fold) {
                unseen[at] = trees.at(self.raw_row(at));
            }
        }
        (
            Trees::fit(table, targets, weights, &self.tree_rows(None), options),
            unseen,
        )
    }

    /// Trees on what a line leaves over.
    fn trees_on(&self, line: &[f64]) -> (Trees, Vec<f64>) {
        let table = Binned::new(&self.raw, self.layout.n_columns());
        let left: Vec<f64> = self.changes.iter().zip(line).map(|(c, l)| c - l).collect();
        let weights: Vec<f64> = self.weights.iter().map(|w| w.sqrt()).collect();
        let options = TreeOptions {
            n_trees: 60,
            rate: 0.08,
            max_leaves: 12,
            min_rows: 30,
            columns: 0.3,
            ..TreeOptions::default()
        };
        self.grown(&table, &left, &weights, &options)
    }

    fn median_trees(&self) -> (MedianTrees, Vec<f64>) {
        let values = &self.view.tracks[0].clean.values;
        let now: Vec<f64> = self.origins.iter().map(|t| values[*t]).collect();
        let mut sorted = now.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let least = now
            .iter()
            .zip(&self.changes)
            .map(|(n, c)| n.min(n + c))
            .fold(f64::INFINITY, f64::min);
        let is_log = least > 0.0 && quantile_of(&sorted, 0.98) > 2.5 * quantile_of(&sorted, 0.5);
        let targets: Vec<f64> = match is_log {
            true => now
                .iter()
                .zip(&self.changes)
                .map(|(n, c)| ((n + c) / n).ln())
                .collect(),
            false => self.changes.clone(),
        };
        let table = Binned::new(&self.raw, self.layout.n_columns());
        let options = TreeOptions {
            loss: Loss::Quantile(0.5),
            n_trees: 100,
            rate: 0.08,
            max_leaves: 20,
            min_rows: 30,
            columns: 0.3,
            ..TreeOptions::default()
        };
        let (trees, unseen) = self.grown(&table, &targets, &vec![1.0; self.n()], &options);
        let trees = MedianTrees { trees, is_log };
        let changes = match is_log {
            true => unseen
                .iter()
                .zip(&now)
                .map(|(f, n)| n * (f.clamp(-5.0, 5.0).exp() - 1.0))
                .collect(),
            false => unseen,
        };
        (trees, changes)
    }
}

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

fn scaling_of<'a>(values: impl Iterator<Item = &'a f64> + Clone) -> Scaling {
    let (mut n, mut sum, mut squares) = (0.0, 0.0, 0.0);
    let first = values.clone().find(|v| !v.is_nan()).copied().unwrap_or(0.0);
    for value in values.clone().filter(|v| !v.is_nan()) {
        n += 1.0;
        sum += value - first;
        squares += (value - first).powi(2);
    }
    if n == 0.0 {
        return Scaling {
            mean: 0.0,
            spread: 1.0,
            most: 0.0,
        };
    }
    let mean = first + sum / n;
    let variance: f64 = squares / n - (sum / n).powi(2);
    // A column that stands still in training says nothing later.
    if variance <= 1e-18 * (1.0 + mean * mean) {
        return Scaling {
            mean,
            spread: 1.0,
            most: 0.0,
        };
    }
    let spread = variance.sqrt();
    let most = values
        .filter(|v| !v.is_nan())
        .map(|v| ((v - mean) / spread).abs())
        .fold(0.0, f64::max);
    Scaling {
        mean,
        spread,
        most: 1.5 * most,
    }
}
