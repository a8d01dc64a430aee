//! A trained model and what it issues.

use serde::{Deserialize, Serialize};

use crate::band::Bands;
use crate::baseline::{Climatology, DampedTrend};
use crate::blend::Blend;
use crate::conformal::{Borders, Residuals, State, Steps};
use crate::crossing::{Calibration, chance_above};
use crate::features::{Activity, Channels, Layout, View};
use crate::ridge::Ridge;
use crate::series::{Aligned, Kind};
use crate::trees::Trees;

/// What a kept model is written as. A model of another version is trained anew.
pub const VERSION: u32 = 4;

/// Names of the candidates of a blend, in the order of its weights.
pub const CANDIDATES: [&str; 10] = [
    "damped_trend",
    "climatology",
    "season",
    "ridge",
    "ridge_floods",
    "routing",
    "routing_floods",
    "routing_near",
    "ridge_trees",
    "median_trees",
];
pub(crate) const N_CANDIDATES: usize = CANDIDATES.len();
/// Lines among the candidates, from [`FIRST_LINE`] on: all columns, all with floods weighted, plain changes and sums alone, these
/// with floods weighted, those of the nearest series alone.
pub(crate) const N_LINES: usize = 5;
pub(crate) const FIRST_LINE: usize = 3;
/// The line that the first trees stand on.
pub(crate) const UNDER_TREES: usize = 1;

/// A trained model of one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// [`VERSION`] when it was trained.
    pub version: u32,
    /// The series it looks at, the target first.
    pub channels: Channels,
    /// Between steps, milliseconds.
    pub step_ms: i64,
    /// Of exceedances, units of the target.
    pub threshold: Option<f64>,
    /// Ascending.
    pub horizons: Vec<Horizon>,
}

/// What is foreseen for one number of steps ahead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Horizon {
    /// Steps.
    pub steps: usize,
    /// Models of ever fewer inputs, the richest first; the last needs the target alone.
    pub tiers: Vec<Tier>,
}

/// A model that needs certain inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tier {
    /// Its columns.
    pub layout: Layout,
    /// Why nothing but persistence is issued, when so.
    pub silent: Option<Silence>,
    pub(crate) scaling: Vec<Scaling>,
    pub(crate) trend: DampedTrend,
    pub(crate) usual: Option<(Climatology, f64)>,
    pub(crate) season: Option<usize>,
    pub(crate) lines: [Option<Ridge>; N_LINES],
    pub(crate) trees: Option<Trees>,
    pub(crate) median_trees: Option<MedianTrees>,
    /// Blends for squared error, in steady water and in any other.
    pub mean: [Blend; 2],
    /// Blends for absolute error, likewise.
    pub median: [Blend; 2],
    /// The largest change that is issued.
    #[serde(with = "crate::bound")]
    pub(crate) most_change: f64,
    pub(crate) prior: f64,
    pub(crate) borders: Borders,
    pub(crate) residuals: Residuals,
    /// The 80 % interval.
    pub bands: Bands,
    pub(crate) calibration: Calibration,
    /// Skill of each of [`CANDIDATES`] alone on rows that it had not seen in training.
    pub alone: Vec<Option<f64>>,
    /// Skill that blocked cross-validation showed in training.
    pub validated: Validated,
}

/// Skill over persistence on rows that were not seen in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Validated {
    /// Rows.
    pub n: usize,
    /// 1 − MSE/MSE(persistence).
    pub skill: Option<f64>,
    /// 1 − MAE/MAE(persistence).
    pub mae_skill: Option<f64>,
}

/// Why a horizon issues persistence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Silence {
    /// Fewer training rows than are needed.
    TooFewRows {
        /// How many there are.
        rows: usize,
    },
    /// The target does not change in training.
    Constant,
    /// Training is short and saw no flood: what it learned does not hold in one.
    QuietWeeks {
        /// From its first row to its last.
        days: i64,
    },
    /// Blocked cross-validation shows no skill over persistence.
    NoSkill {
        /// What it shows.
        skill: f64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scaling {
    pub(crate) mean: f64,
    pub(crate) spread: f64,
    /// Of the scaled column; beyond it nothing is believed.
    pub(crate) most: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MedianTrees {
    pub(crate) trees: Trees,
    /// Whether they foresee the change of the logarithm.
    pub(crate) is_log: bool,
}

/// One forecast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Issued {
    /// Steps ahead.
    pub steps: usize,
    /// When it was issued, milliseconds.
    pub origin_ms: i64,
    /// What it is for, milliseconds.
    pub target_ms: i64,
    /// The newest value at the origin.
    pub persistence: f64,
    /// Expected value.
    pub mean: f64,
    /// As likely above as below.
    pub median: f64,
    /// Values at [`crate::score::LEVELS`], ascending.
    pub quantiles: Vec<f64>,
    /// Ends of the 80 % interval.
    pub band80: (f64, f64),
    /// Chance that the threshold is exceeded, when there is one.
    pub crossing: Option<f64>,
    /// Whether the chance is worth a warning.
    pub warns: bool,
    /// State at the origin.
    pub state: State,
    /// Which of the horizon's tiers spoke: 0 is the richest.
    pub tier: usize,
    /// Whether persistence was issued for want of skill.
    pub is_silent: bool,
    /// The change that was foreseen before [`Steps::trust`], and the size of its error: what [`Steps`] learn from.
    pub foreseen: f64,
    /// Size of the error that is foreseen.
    pub size: f64,
}

/// A part of a foreseen change and what it is owed to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// Name of the series, `calendar`, or `baselines`.
    pub input: String,
    /// Part of the mean's change, units of the target.
    pub change: f64,
}

/// Cleaned series with what the baselines foresee at every step.
pub struct Sight {
    /// The series.
    pub view: View,
    trends: Vec<Vec<Vec<f64>>>,
}

impl Sight {
    pub(crate) fn trend(&self, horizon: usize, tier: usize, step: usize) -> f64 {
        self.trends[horizon][tier][step]
    }
}

impl Model {
    /// Prepares series of the model's channels for issuing at any of their steps. A window of [`Model::reach`] steps before an origin
    /// is enough.
    ///
    /// # Panics
    /// When the series are not as many as the channels.
    pub fn sight(&self, aligned: &Aligned) -> Sight {
        let view = self.channels.view(aligned);
        let values = &view.tracks[0].clean.values;
        let trends = self
            .horizons
            .iter()
            .map(|horizon| {
                horizon
                    .tiers
                    .iter()
                    .map(|tier| tier.trend.changes(values, horizon.steps))
                    .collect()
            })
            .collect();
        Sight { view, trends }
    }

    /// Steps before an origin that a forecast looks at.
    pub fn reach(&self) -> usize {
        let tiers = self.horizons.iter().flat_map(|horizon| &horizon.tiers);
        tiers.map(|tier| tier.layout.reach()).max().unwrap_or(1) + 64
    }

    /// The richest tier of a horizon whose inputs all speak at a step, with its place.
    fn serving(&self, sight: &Sight, horizon: usize, origin: usize) -> Option<(usize, &Tier)> {
        let mut tiers = self.horizons.get(horizon)?.tiers.iter().enumerate();
        tiers.find(|(_, tier)| tier.is_served(&self.channels, &sight.view, origin))
    }

    /// Issues the forecast of a horizon (its place in [`Model::horizons`]) at a step. `None` when there is no value of the target
    /// not older than a short gap.
    pub fn issue(&self, sight: &Sight, horizon: usize, origin: usize, steps: &Steps) -> Option<Issued> {
        let view = &sight.view;
        let persistence = view.newest(origin)?;
        let about = self.horizons.get(horizon)?;
        let (at_tier, tier) = self.serving(sight, horizon, origin)?;
        let activity = tier.layout.activity(&self.channels, view, origin);
        let seen = tier.seen(
            &self.channels,
            view,
            origin,
            sight.trends[horizon][at_tier][origin],
        );
        let (foreseen, median) = match tier.silent {
            Some(_) => (0.0, 0.0),
            None => {
                let regime = tier.regime(&activity);
                let bounded = |change: f64| change.clamp(-tier.most_change, tier.most_change);
                (
                    bounded(tier.mean[regime].at(&seen.candidates)),
                    bounded(tier.median[regime].at(&seen.candidates)),
                )
            }
        };
        let trust = steps.trust(tier.prior);
        let change = trust * foreseen;
        let state = tier.borders.state(&activity, foreseen);
        let size = tier.residuals.size(&activity, foreseen);
        let quantiles = steps.spread(&tier.residuals, state, persistence + change, size);
        let median = persistence + median;
        let raw = self
            .threshold
            .map(|threshold| chance_above(&quantiles, threshold));
        let crossing = raw.map(|chance| tier.calibration.at(chance));
        let target_ms = view.time_ms(origin) + about.steps as i64 * self.step_ms;
        Some(Issued {
            steps: about.steps,
            origin_ms: view.time_ms(origin),
            target_ms,
            persistence,
            mean: persistence + change,
            median,
            band80: tier.bands.of(state, size, &quantiles),
            quantiles,
            crossing,
            warns: raw.is_some_and(|chance| tier.calibration.warns(chance)),
            state,
            tier: at_tier,
            is_silent: tier.silent.is_some(),
            foreseen,
            size,
        })
    }

    /// The change that the ridge over all columns foresees by itself at a step, unbounded, as the tier that speaks there has it: what
    /// a blend is measured by.
    pub fn plain_ridge(&self, sight: &Sight, horizon: usize, origin: usize) -> Option<f64> {
        sight.view.newest(origin)?;
        let (_, tier) = self.serving(sight, horizon, origin)?;
        let line = tier.lines[0].as_ref()?;
        let mut raw = Vec::with_capacity(tier.layout.n_columns());
        tier.layout.row(&self.channels, &sight.view, origin, &mut raw);
        Some(line.at(&scaled(&raw, &tier.scaling)))
    }

    /// Teaches a horizon's [`Steps`] what came of a forecast.
    pub fn meet(&self, horizon: usize, issued: &Issued, came: f64, steps: &mut Steps) {
        let Some(tier) = self
            .horizons
            .get(horizon)
            .and_then(|about| about.tiers.get(issued.tier))
        else {
            return;
        };
        steps.meet(
            &tier.residuals,
            issued.state,
            came - issued.mean,
            issued.size,
            issued.steps,
        );
        steps.meet_change(issued.foreseen, came - issued.persistence);
    }

    /// What a forecast's change is owed to, the largest part first; the parts add up to the change that is foreseen (before
    /// its bound and [`Steps::trust`]).
    pub fn explain(&self, sight: &Sight, horizon: usize, origin: usize) -> Vec<Moved> {
        let Some((at_tier, tier)) = self.serving(sight, horizon, origin) else {
            return Vec::new();
        };
        if tier.silent.is_some() || sight.view.newest(origin).is_none() {
            return Vec::new();
        }
        let activity = tier.layout.activity(&self.channels, &sight.view, origin);
        let seen = tier.seen(
            &self.channels,
            &sight.view,
            origin,
            sight.trends[horizon][at_tier][origin],
        );
        let weights = &tier.mean[tier.regime(&activity)].weights;
        let total: f64 = weights.iter().zip(&seen.candidates).map(|(w, c)| w * c).sum();
        let mut columns = vec![0.0; tier.layout.n_columns()];
        let of_trees = weights[FIRST_LINE + N_LINES];
        for (at, line) in tier.lines.iter().enumerate() {
            let Some(line) = line else { continue };
            let weight = weights[FIRST_LINE + at] + if at == UNDER_TREES { of_trees } else { 0.0 };
            for (column, (slope, x)) in columns.iter_mut().zip(line.slopes.iter().zip(&seen.scaled)) {
                *column += weight * slope * x;
            }
        }
        if let Some(trees) = &tier.trees {
            trees.attribute(&seen.raw, of_trees, &mut columns);
        }
        if let Some(MedianTrees { trees, is_log: false }) = &tier.median_trees {
            trees.attribute(&seen.raw, weights[N_CANDIDATES - 1], &mut columns);
        }
        let mut parts: Vec<Moved> = tier
            .layout
            .channels
            .iter()
            .map(|channel| (Some(*channel), self.channels.all[*channel].name.clone()))
            .chain([(None, "calendar".to_owned())])
            .map(|(owner, input)| {
                let of_owner = tier
                    .layout
                    .owners()
                    .iter()
                    .zip(&columns)
                    .filter(|(o, _)| **o == owner);
                Moved {
                    input,
                    change: of_owner.map(|(_, change)| change).sum(),
                }
            })
            .collect();
        let rest = total - parts.iter().map(|part| part.change).sum::<f64>();
        parts.push(Moved {
            input: "baselines".to_owned(),
            change: rest,
        });
        parts.retain(|part| part.change != 0.0);
        parts.sort_by(|a, b| b.change.abs().total_cmp(&a.change.abs()));
        parts
    }
}

/// One origin through a tier's eyes.
pub(crate) struct Seen {
    pub(crate) raw: Vec<f64>,
    pub(crate) scaled: Vec<f64>,
    pub(crate) candidates: [f64; N_CANDIDATES],
}

impl Tier {
    /// Whether all inputs of the tier say something at a step.
    pub(crate) fn is_served(&self, channels: &Channels, view: &View, origin: usize) -> bool {
        self.layout
            .channels
            .iter()
            .all(|channel| view.is_alive(*channel, origin, channels.all[*channel].kind, self.layout.horizon))
            || self.layout.channels.len() == 1
    }

    /// 0 in steady water, 1 else.
    pub(crate) fn regime(&self, activity: &Activity) -> usize {
        usize::from(self.borders.state(activity, 0.0) != State::Steady)
    }

    pub(crate) fn seen(&self, channels: &Channels, view: &View, origin: usize, trend: f64) -> Seen {
        let mut raw = Vec::with_capacity(self.layout.n_columns());
        self.layout.row(channels, view, origin, &mut raw);
        let scaled = scaled(&raw, &self.scaling);
        let now = view.tracks[0].clean.values[origin];
        let mut candidates = [0.0; N_CANDIDATES];
        candidates[0] = if trend.is_nan() { 0.0 } else { trend };
        candidates[1] = self.usual_change(view, origin, now);
        candidates[2] = self.season_change(view, origin, now);
        for (slot, line) in candidates[FIRST_LINE..].iter_mut().zip(&self.lines) {
            *slot = line.as_ref().map_or(0.0, |line| line.at(&scaled));
        }
        if self.lines.iter().all(Option::is_some) {
            in_sight(&mut candidates[FIRST_LINE..FIRST_LINE + N_LINES]);
        }
        candidates[FIRST_LINE + N_LINES] =
            candidates[FIRST_LINE + UNDER_TREES] + self.trees.as_ref().map_or(0.0, |trees| trees.at(&raw));
        candidates[N_CANDIDATES - 1] = self
            .median_trees
            .as_ref()
            .map_or(0.0, |trees| trees.change(&raw, now));
        Seen {
            raw,
            scaled,
            candidates,
        }
    }

    pub(crate) fn usual_change(&self, view: &View, origin: usize, now: f64) -> f64 {
        self.usual.as_ref().map_or(0.0, |(usual, memory)| {
            let from = view.time_ms(origin);
            let to = view.time_ms(origin + self.layout.horizon);
            usual.change(from, now, to, *memory)
        })
    }

    pub(crate) fn season_change(&self, view: &View, origin: usize, now: f64) -> f64 {
        season_change(
            &view.tracks[0].clean.values,
            self.season,
            self.layout.horizon,
            origin,
            now,
        )
    }
}

/// Keeps each line in sight of the others: no further beyond the second lowest and the second highest than these are apart. A line
/// that runs away where it extrapolates does so alone.
pub(crate) fn in_sight(lines: &mut [f64]) {
    let mut sorted = [0.0; N_LINES];
    if lines.len() != N_LINES {
        return;
    }
    sorted.copy_from_slice(lines);
    sorted.sort_unstable_by(f64::total_cmp);
    let (low, high) = (sorted[1], sorted[N_LINES - 2]);
    let apart = high - low;
    for line in lines {
        *line = line.clamp(low - apart, high + apart);
    }
}

/// Change to the value of the same phase a whole number of seasons before the target; 0 where that is not known.
pub(crate) fn season_change(
    values: &[f64],
    season: Option<usize>,
    horizon: usize,
    origin: usize,
    now: f64,
) -> f64 {
    let change = season.and_then(|season| {
        let back = season * horizon.div_ceil(season);
        Some(values[(origin + horizon).checked_sub(back)?] - now)
    });
    change.filter(|change| change.is_finite()).unwrap_or(0.0)
}

impl MedianTrees {
    pub(crate) fn change(&self, raw: &[f64], now: f64) -> f64 {
        let foreseen = self.trees.at(raw);
        if self.is_log {
            now * (foreseen.clamp(-5.0, 5.0).exp() - 1.0)
        } else {
            foreseen
        }
    }
}

/// Columns in their spreads from their means; what is missing is as usual.
pub(crate) fn scaled(raw: &[f64], scaling: &[Scaling]) -> Vec<f64> {
    raw.iter()
        .zip(scaling)
        .map(|(value, scale)| {
            let scaled = (value - scale.mean) / scale.spread;
            if scaled.is_nan() {
                0.0
            } else {
                scaled.clamp(-scale.most, scale.most)
            }
        })
        .collect()
}

impl Channels {
    /// Places of the channels that are known at a step (of forecasts of others: for the next), the target always.
    pub fn alive(&self, view: &View, origin: usize) -> Vec<usize> {
        (0..self.all.len())
            .filter(|channel| *channel == 0 || view.is_alive(*channel, origin, self.all[*channel].kind, 1))
            .collect()
    }

    /// Whether a channel says anything in the steps before `n_train`: at least a fifth of them.
    pub fn is_taught(&self, view: &View, channel: usize, n_train: usize) -> bool {
        let track = &view.tracks[channel];
        let n = n_train.min(view.len());
        let n_seen = match self.all[channel].kind {
            Kind::Foretold => track.foretold.n_known(n),
            _ => track.clean.is_seen[..n].iter().filter(|seen| **seen).count(),
        };
        channel == 0 || n_seen * 5 >= n.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_runs_away_is_kept_in_sight_of_the_others_and_no_other_is_moved() {
        let mut lines = [0.5, 0.4, 0.6, -30.0, 0.45];
        in_sight(&mut lines);
        assert_eq!(lines[..3], [0.5, 0.4, 0.6]);
        assert!((lines[3] - 0.3).abs() < 1e-12 && lines[4] == 0.45, "{lines:?}");
        let mut alike = [1.0; N_LINES];
        in_sight(&mut alike);
        assert_eq!(alike, [1.0; N_LINES]);
    }
}
