//! What a model sees at an origin: changes of states between lags, sums of amounts, distance from the usual level, the
//! calendar. Never a raw level: a datum that moves changes nothing.

use std::f64::consts::TAU;

use serde::{Deserialize, Serialize};

use crate::clean::{Clean, Cleaner};
use crate::score::quantile_of;
use crate::series::{Aligned, Foretold, Kind};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Day and tidal day.
const PERIODS_MS: [i64; 2] = [DAY_MS, DAY_MS + 50 * 60_000];
/// Steps over which a missing value is bridged.
const CARRY: usize = 3;

/// Steps over which a series is looked at for whether there is much going on.
const LIVELY_STEPS: usize = 4;

/// One series as features are made of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    cleaner: Cleaner,
    /// Median of the training values (of amounts: mean).
    usual: f64,
    /// Half the distance of the 16th and 84th percentile, at least a bit.
    spread: f64,
    /// A change (of amounts: a sum) over [`LIVELY_STEPS`] beyond this is what one step of a hundred sees in training.
    #[serde(with = "crate::bound")]
    lively: f64,
}

/// What is known of a series over the whole grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// Cleaned values.
    pub clean: Clean,
    /// Sums of amounts up to a step, exclusive, and of missing ones; empty of states.
    sums: Vec<f64>,
    missing: Vec<u32>,
    pub(crate) foretold: Foretold,
}

/// The channels of a model, learned from training steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Channels {
    /// The first is the target.
    pub all: Vec<Channel>,
    step_ms: i64,
    has_season: bool,
    has_day: bool,
}

/// Cleaned series beside one another: what features are taken from.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// As the channels.
    pub tracks: Vec<Track>,
    start_ms: i64,
    step_ms: i64,
}

/// The columns of one horizon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layout {
    /// Steps ahead.
    pub horizon: usize,
    /// Channels that are looked at; the target first.
    pub channels: Vec<usize>,
    lags: Vec<usize>,
    windows: Vec<usize>,
    /// Steps back to the same phase, for each period that fits.
    phases: Vec<usize>,
    /// Channel of each column, `None` of the calendar.
    owner: Vec<Option<usize>>,
    /// Whether a column is a plain change or sum: what a line may carry beyond what it has seen.
    plain: Vec<bool>,
}

/// How lively the water (or air) is at an origin, in units of the target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Activity {
    /// Change over as many steps as are forecast, at most 12.
    pub recent: f64,
    /// Largest change of one step among the last six.
    pub jerk: f64,
    /// Above the usual level.
    pub above: f64,
    /// Below it.
    pub below: f64,
    /// Sum of amounts over the horizon's length, summed over channels.
    pub amount: f64,
    /// Largest recent change of the other states, in their spreads, times the target's spread.
    pub inputs: f64,
}

impl Channels {
    /// Learns what is usual from the steps before `n_train`.
    pub fn learn(aligned: &Aligned, n_train: usize) -> Self {
        let all = aligned
            .series
            .iter()
            .map(|series| {
                let values = &series.values[..n_train.min(series.values.len())];
                let cleaner = Cleaner::learn(values, CARRY, series.kind != Kind::State);
                let clean = cleaner.clean(values);
                let mut known: Vec<f64> = clean.values.iter().copied().filter(|v| !v.is_nan()).collect();
                known.sort_unstable_by(f64::total_cmp);
                let usual = match series.kind {
                    Kind::State => quantile_of(&known, 0.5),
                    _ => known.iter().sum::<f64>() / known.len().max(1) as f64,
                };
                let spread = (quantile_of(&known, 0.84) - quantile_of(&known, 0.16)) / 2.0;
                Channel {
                    name: series.name.clone(),
                    kind: series.kind,
                    cleaner,
                    lively: lively(&clean, series.kind),
                    usual: if usual.is_finite() { usual } else { 0.0 },
                    spread: if spread > 1e-9 { spread } else { 1.0 },
                }
            })
            .collect();
        let span_ms = aligned.step_ms * n_train as i64;
        Self {
            all,
            step_ms: aligned.step_ms,
            has_season: span_ms >= 300 * DAY_MS,
            has_day: aligned.step_ms <= 6 * HOUR_MS && span_ms >= 14 * DAY_MS,
        }
    }

    /// Cleans series of the same channels, the training steps or others.
    ///
    /// # Panics
    /// When the series are not as many as the channels.
    pub fn view(&self, aligned: &Aligned) -> View {
        assert_eq!(aligned.series.len(), self.all.len(), "a series a channel");
        let alone: Vec<Clean> = self
            .all
            .iter()
            .zip(&aligned.series)
            .map(|(channel, series)| channel.cleaner.clean(&series.values))
            .collect();
        let mut n_lively = vec![0u16; aligned.len()];
        let lively: Vec<Vec<bool>> = self
            .all
            .iter()
            .zip(&alone)
            .map(|(channel, clean)| channel.is_lively(clean))
            .collect();
        for of_channel in &lively {
            n_lively
                .iter_mut()
                .zip(of_channel)
                .for_each(|(n, is)| *n += u16::from(*is));
        }
        let tracks = self
            .all
            .iter()
            .zip(&aligned.series)
            .zip(&lively)
            .map(|((channel, series), own)| {
                let beside: Vec<bool> = n_lively
                    .iter()
                    .zip(own)
                    .map(|(n, own)| *n > u16::from(*own))
                    .collect();
                let clean = channel.cleaner.clean_beside(&series.values, &beside);
                let (mut sums, mut missing) = (Vec::new(), Vec::new());
                if channel.kind != Kind::State {
                    let (mut sum, mut n_missing) = (0.0, 0);
                    sums.push(0.0);
                    missing.push(0);
                    for (value, is_seen) in clean.values.iter().zip(&clean.is_seen) {
                        // A carried amount would rain twice.
                        if *is_seen {
                            sum += value.max(0.0);
                        } else {
                            n_missing += 1;
                        }
                        sums.push(sum);
                        missing.push(n_missing);
                    }
                }
                Track {
                    clean,
                    sums,
                    missing,
                    foretold: series.foretold.clone(),
                }
            })
            .collect();
        View {
            tracks,
            start_ms: aligned.start_ms,
            step_ms: aligned.step_ms,
        }
    }
}

/// Changes (of amounts: sums) over the last [`LIVELY_STEPS`] up to each step; NaN where one is not known.
fn lately(clean: &Clean, kind: Kind) -> Vec<f64> {
    let mut sum = 0.0;
    let values = &clean.values;
    (0..values.len())
        .map(|at| {
            let before = at.checked_sub(LIVELY_STEPS);
            if kind == Kind::State {
                return before.map_or(f64::NAN, |before| (values[at] - values[before]).abs());
            }
            let amount = |at: usize| {
                if clean.is_seen[at] {
                    values[at].max(0.0)
                } else {
                    0.0
                }
            };
            sum += amount(at) - before.map_or(0.0, amount);
            sum
        })
        .collect()
}

/// What one step of a hundred exceeds; infinite where too little is known.
fn lively(clean: &Clean, kind: Kind) -> f64 {
    let mut known: Vec<f64> = lately(clean, kind).into_iter().filter(|v| !v.is_nan()).collect();
    known.sort_unstable_by(f64::total_cmp);
    let border = quantile_of(&known, 0.99);
    if known.len() >= 100 && border > 0.0 {
        border
    } else {
        f64::INFINITY
    }
}

impl Channel {
    fn is_lively(&self, clean: &Clean) -> Vec<bool> {
        lately(clean, self.kind)
            .into_iter()
            .map(|lately| lately > self.lively)
            .collect()
    }
}

impl Track {
    /// Sum of an amount over the steps `(from, to]`, missing ones as none; `None` when more than a third is missing.
    fn sum(&self, from: i64, to: i64) -> Option<f64> {
        let last = self.sums.len() as i64 - 1;
        if from < -1 || to >= last {
            return None;
        }
        let (a, b) = ((from + 1) as usize, (to + 1) as usize);
        let n_missing = self.missing[b] - self.missing[a];
        (3 * n_missing as usize <= b - a).then(|| self.sums[b] - self.sums[a])
    }

    fn at(&self, step: i64) -> f64 {
        usize::try_from(step)
            .ok()
            .and_then(|at| self.clean.values.get(at))
            .copied()
            .unwrap_or(f64::NAN)
    }
}

impl View {
    /// Steps of the grid.
    pub fn len(&self) -> usize {
        self.tracks.first().map_or(0, |track| track.clean.values.len())
    }

    /// Whether there is no step.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Time of a step, milliseconds.
    pub fn time_ms(&self, step: usize) -> i64 {
        self.start_ms + step as i64 * self.step_ms
    }

    /// The target at a step with its datum, when it was seen then.
    pub fn target(&self, step: usize) -> Option<f64> {
        let clean = &self.tracks.first()?.clean;
        (*clean.is_seen.get(step)?).then(|| clean.values[step] + clean.offset[step])
    }

    /// The newest target not older than a short gap.
    pub fn newest(&self, step: usize) -> Option<f64> {
        let clean = &self.tracks.first()?.clean;
        let value = *clean.values.get(step)?;
        (!value.is_nan()).then(|| value + clean.offset[step])
    }

    /// Change of the target from the newest value at one step to what came at another; `None` when one is missing or the datum
    /// moved between.
    pub fn change(&self, from: usize, to: usize) -> Option<f64> {
        let clean = &self.tracks.first()?.clean;
        let change = clean.came.get(to)? - clean.values.get(from)?;
        (!change.is_nan() && clean.offset[from] == clean.offset[to]).then_some(change)
    }

    /// Whether a channel says something at a step; a forecast of others, whether it reaches to the horizon.
    pub fn is_alive(&self, channel: usize, step: usize, kind: Kind, horizon: usize) -> bool {
        let track = &self.tracks[channel];
        let at = step as i64;
        match kind {
            Kind::State => !track.at(at).is_nan(),
            Kind::Foretold => track.foretold.sum(step, at, at + horizon as i64).is_some(),
            Kind::Amount | Kind::AheadAmount => track.sum((at - 4).max(-1), at).is_some(),
        }
    }
}

/// 0, 1, 2, 3, 4, 6, 8, 12, 16, 24, … up to a bound.
fn geometric(most: usize) -> Vec<usize> {
    let mut lags = vec![0, 1, 2, 3];
    let mut power = 4;
    while power <= most {
        lags.push(power);
        lags.push(power + power / 2);
        power *= 2;
    }
    lags.retain(|lag| *lag <= most.max(1));
    lags
}

impl Layout {
    /// Columns of a horizon of `horizon` steps over some channels, the target (0) first.
    pub fn new(channels: &Channels, horizon: usize, chosen: &[usize]) -> Self {
        let lags = geometric((2 * horizon).clamp(12, 200));
        let windows = geometric((2 * horizon).clamp(48, 300));
        let phases: Vec<usize> = PERIODS_MS
            .iter()
            .filter(|_| channels.has_day && channels.step_ms <= HOUR_MS)
            .map(|period| {
                let n = (period + channels.step_ms / 2) / channels.step_ms;
                let n = n.max(1) as usize;
                n * horizon.div_ceil(n)
            })
            .collect();
        let mut layout = Self {
            horizon,
            channels: chosen.to_vec(),
            lags,
            windows,
            phases,
            owner: Vec::new(),
            plain: Vec::new(),
        };
        for channel in chosen {
            let (n_plain, n_other, n_ahead) = match channels.all[*channel].kind {
                Kind::State => (layout.lags.len() - 1, 2 + layout.phases.len(), 0),
                Kind::Amount => (layout.windows.len() - 1, 3, 0),
                Kind::AheadAmount => (layout.windows.len() - 1, 3, layout.ahead().len() - 1),
                Kind::Foretold => (0, 2, layout.ahead().len() - 1),
            };
            layout
                .owner
                .extend(vec![Some(*channel); n_plain + n_other + n_ahead]);
            for (n, is_plain) in [(n_plain, true), (n_other, false), (n_ahead, true)] {
                layout.plain.extend(vec![is_plain; n]);
            }
        }
        let n_calendar = 4 * (usize::from(channels.has_day) + usize::from(channels.has_season));
        layout.owner.extend(vec![None; n_calendar]);
        layout.plain.extend(vec![false; n_calendar]);
        layout
    }

    /// Columns.
    pub fn n_columns(&self) -> usize {
        self.owner.len()
    }

    /// Channel that each column is made of; `None` of the calendar.
    pub fn owners(&self) -> &[Option<usize>] {
        &self.owner
    }

    /// Whether each column is a plain change or sum, not a level, a product or the calendar.
    pub fn plain(&self) -> &[bool] {
        &self.plain
    }

    /// Steps that are looked back.
    pub fn reach(&self) -> usize {
        self.lags
            .iter()
            .chain(&self.windows)
            .chain(&self.phases)
            .copied()
            .max()
            .unwrap_or(1)
    }

    fn ahead(&self) -> Vec<usize> {
        let mut marks = geometric(self.horizon);
        if marks.last() != Some(&self.horizon) {
            marks.push(self.horizon);
        }
        marks
    }

    /// The columns at an origin, NaN where not known; `into` is emptied first.
    pub fn row(&self, channels: &Channels, view: &View, origin: usize, into: &mut Vec<f64>) {
        into.clear();
        let t = origin as i64;
        let own = view.tracks[0].at(t) - channels.all[0].usual;
        for channel in &self.channels {
            let (about, track) = (&channels.all[*channel], &view.tracks[*channel]);
            if about.kind == Kind::State {
                let now = track.at(t);
                for two in self.lags.windows(2) {
                    into.push(track.at(t - two[0] as i64) - track.at(t - two[1] as i64));
                }
                let distance = (now - about.usual) / about.spread;
                into.push(now - about.usual);
                // Changes run faster in high water: the newest change times the level.
                let newest = now - track.at(t - self.lags[self.lags.len().min(4) - 1] as i64);
                into.push(newest * distance.clamp(-8.0, 8.0));
                for phase in &self.phases {
                    let then = t - *phase as i64;
                    into.push(track.at(then + self.horizon as i64) - track.at(then));
                }
                continue;
            }
            if about.kind == Kind::Foretold {
                let sum = |from: usize, to: usize| {
                    let sum = track.foretold.sum(origin, t + from as i64, t + to as i64);
                    sum.unwrap_or(f64::NAN)
                };
                let all = sum(0, self.horizon);
                into.extend([all * own, all * all]);
                into.extend(self.ahead().windows(2).map(|two| sum(two[0], two[1])));
                continue;
            }
            for two in self.windows.windows(2) {
                into.push(
                    track
                        .sum(t - two[1] as i64, t - two[0] as i64)
                        .unwrap_or(f64::NAN),
                );
            }
            let short = track
                .sum(t - (self.horizon.clamp(2, 12)) as i64, t)
                .unwrap_or(f64::NAN);
            let long = track
                .sum(t - *self.windows.last().unwrap_or(&48) as i64, t)
                .unwrap_or(f64::NAN);
            into.push(short * long);
            into.push(short * own);
            into.push(short * short);
            if about.kind == Kind::AheadAmount {
                for two in self.ahead().windows(2) {
                    into.push(
                        track
                            .sum(t + two[0] as i64, t + two[1] as i64)
                            .unwrap_or(f64::NAN),
                    );
                }
            }
        }
        let target_ms = view.time_ms(origin) + self.horizon as i64 * view.step_ms;
        let mut calendar = |period_ms: f64| {
            let phase = TAU * (target_ms as f64 / period_ms).fract();
            into.extend([phase.sin(), phase.cos(), (2.0 * phase).sin(), (2.0 * phase).cos()]);
        };
        if channels.has_day {
            calendar(DAY_MS as f64);
        }
        if channels.has_season {
            calendar(365.2425 * DAY_MS as f64);
        }
    }

    /// How lively it is at an origin.
    pub fn activity(&self, channels: &Channels, view: &View, origin: usize) -> Activity {
        let t = origin as i64;
        let back = self.horizon.clamp(1, 12) as i64;
        let or_zero = |value: f64| if value.is_nan() { 0.0 } else { value };
        let target = &view.tracks[0];
        let now = target.at(t);
        let (mut amount, mut inputs) = (0.0, 0.0f64);
        for channel in self.channels.iter().filter(|channel| **channel != 0) {
            let (about, track) = (&channels.all[*channel], &view.tracks[*channel]);
            if about.kind == Kind::State {
                let change = or_zero(track.at(t) - track.at(t - back));
                inputs = inputs.max(change.abs() / about.spread);
                continue;
            }
            if about.kind == Kind::Foretold {
                let ahead = track.foretold.sum(origin, t, t + self.horizon as i64);
                amount += ahead.unwrap_or(0.0);
                continue;
            }
            amount += track.sum(t - back.max(3), t).unwrap_or(0.0);
            if about.kind == Kind::AheadAmount {
                amount += track.sum(t, t + self.horizon as i64).unwrap_or(0.0);
            }
        }
        Activity {
            recent: or_zero(now - target.at(t - back)),
            jerk: (0..6)
                .map(|lag| or_zero(target.at(t - lag) - target.at(t - lag - 1)).abs())
                .fold(0.0, f64::max),
            above: or_zero(now - channels.all[0].usual).max(0.0),
            below: or_zero(channels.all[0].usual - now).max(0.0),
            amount,
            inputs: inputs.min(20.0) * channels.all[0].spread,
        }
    }
}
