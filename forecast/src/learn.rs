//! Training: candidates, how far each is believed, and when to be silent, all by cross-validation in blocks of time.

mod candidates;
mod weigh;

use crate::band::Bands;
use crate::baseline::DampedTrend;
use crate::blend::Blend;
use crate::clean::Clean;
use crate::conformal::{Borders, Residuals};
use crate::crossing::Calibration;
use crate::features::{Activity, Channels, Layout, View};
use crate::model::{
    FIRST_LINE, Horizon, Model, N_CANDIDATES, N_LINES, Scaling, Silence, Tier, UNDER_TREES, VERSION,
    Validated, in_sight, scaled, season_change,
};
use crate::refit::{Evidence, Flood, Grounds, Solved};
use crate::score::quantile_of;
use crate::series::Aligned;

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
        Self::train_kept(aligned, n_train, horizons, sets, options).0
    }

    /// The same with what [`Model::refit`] goes on from: to be kept beside the model, not in it (it is larger, and is needed at
    /// refits alone).
    pub fn train_kept(
        aligned: &Aligned,
        n_train: usize,
        horizons: &[usize],
        sets: &[Vec<usize>],
        options: &Options,
    ) -> (Self, Evidence) {
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
        let (tiers, grounds): (Vec<Tier>, Vec<Grounds>) = tiers.into_iter().unzip();
        let last = n_train.min(aligned.len()).saturating_sub(1);
        let evidence = Evidence::new((aligned.start_ms, aligned.time_ms(last)), grounds);
        let mut tiers = tiers.into_iter();
        let horizons = horizons
            .iter()
            .map(|steps| Horizon {
                steps: *steps,
                tiers: tiers.by_ref().take(wanted.len()).collect(),
            })
            .collect();
        let model = Self {
            version: VERSION,
            step_ms: aligned.step_ms,
            threshold: options.threshold,
            channels,
            horizons,
        };
        (model, evidence)
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
    /// Known origins for each that is learned from.
    stride: usize,
    flood: Flood,
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
            .map(|(t, change)| Flood::is_above(threshold, clean.values[*t] + clean.offset[*t], *change))
            .collect();
        let n_flood = is_flood.iter().filter(|is| **is).count();
        let flood = Flood {
            threshold: if threshold.is_nan() {
                f64::INFINITY
            } else {
                threshold
            },
            weight: ((n - n_flood) as f64 / n_flood.max(1) as f64).clamp(1.0, 20.0),
        };
        let weights = is_flood
            .iter()
            .map(|is| if *is { flood.weight } else { 1.0 })
            .collect();
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
            stride,
            flood,
            seen,
        }
    }

    fn n(&self) -> usize {
        self.origins.len()
    }

    /// Days from the first origin to the last.
    fn span_days(&self) -> i64 {
        match (self.origins.first(), self.origins.last()) {
            (Some(first), Some(last)) => {
                (self.view.time_ms(*last) - self.view.time_ms(*first)) / (24 * HOUR_MS)
            }
            _ => 0,
        }
    }

    fn scaled_row(&self, at: usize) -> &[f64] {
        let p = self.layout.n_columns();
        &self.scaled[at * p..(at + 1) * p]
    }

    fn raw_row(&self, at: usize) -> &[f64] {
        let p = self.layout.n_columns();
        &self.raw[at * p..(at + 1) * p]
    }

    fn tier(self) -> (Tier, Grounds) {
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
            bands: Bands::plain(),
            residuals: Residuals::learn(&self.seen, &vec![0.0; self.n()], &self.changes, &borders),
            calibration: Calibration::learn(&[]),
            validated: Validated::default(),
        };
        if silent.is_some() {
            let grounds = Grounds::none(self.layout.n_columns(), self.flood);
            (blank, grounds)
        } else {
            self.learned(blank)
        }
    }

    fn learned(&self, mut tier: Tier) -> (Tier, Grounds) {
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
        let (lines, sums) = self.lines();
        let mut solved: [Option<Solved>; N_LINES] = Default::default();
        for (at, found) in lines.into_iter().enumerate() {
            let Some(line) = found else { continue };
            tier.lines[at] = Some(line.ridge);
            put(FIRST_LINE + at, &line.unseen);
            solved[at] = Some(Solved {
                columns: line.columns,
                penalty: line.penalty,
            });
            if at == UNDER_TREES {
                under = line.unseen;
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
        if tier.lines.iter().all(Option::is_some) {
            for row in candidates.chunks_exact_mut(N_CANDIDATES) {
                let under = row[FIRST_LINE + UNDER_TREES];
                in_sight(&mut row[FIRST_LINE..FIRST_LINE + N_LINES]);
                if tier.trees.is_some() {
                    row[FIRST_LINE + N_LINES] += row[FIRST_LINE + UNDER_TREES] - under;
                }
            }
        }
        let (tier, pools) = self.blend(tier, &candidates);
        (tier, Grounds::new(sums, solved, self.flood, self.stride, pools))
    }
}

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
