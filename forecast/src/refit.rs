//! A trained model on the newest days: solved again where that is cheap, with what training chose.
//!
//! Training searches: penalties, blends, columns, sizes of intervals, trees. A refit keeps all that. The sums that the ridges
//! were solved from take the rows that have come since, and each ridge is solved again with its penalty; forecasts of those
//! rows, made before, join the errors from which intervals are drawn. Trees, the usual course of day and year and what is
//! usual of each series stay as trained. Milliseconds a gauge; a training anew once a week, or when [`Refitted::drifted`]
//! names a lead, is the caller's to order.

use serde::{Deserialize, Serialize};

use crate::features::View;
use crate::model::{FIRST_LINE, Model, N_LINES, Scaling, Tier, scaled};
use crate::pool::Pool;
use crate::ridge::Moments;
use crate::series::Aligned;

/// What a kept [`Evidence`] is written as.
const VERSION: u32 = 1;
/// Outcomes since training without which no drift is told.
const LEAST_OUTCOMES: usize = 200;

/// What a model was solved from: sums over training rows and errors on unseen ones, by lead and tier.
///
/// Plain data, a few hundred KiB a gauge; of one model alone, and of no use without it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    version: u32,
    /// Time of the first step trained on, milliseconds.
    first_ms: i64,
    /// Time of the last outcome in it, milliseconds.
    until_ms: i64,
    /// Lead by lead, tier by tier.
    grounds: Vec<Grounds>,
}

/// What one tier was solved from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Grounds {
    /// Of all rows alike, and with floods weighted.
    sums: [Moments; 2],
    solved: [Option<Solved>; N_LINES],
    flood: Flood,
    /// Weight of a row: training may have taken one of several.
    share: f64,
    /// Divided errors by state.
    pools: [Pool; 3],
    /// Outcomes since training, their squared errors and those of persistence.
    since: (usize, f64, f64),
}

/// How a line was solved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Solved {
    pub(crate) columns: Vec<usize>,
    /// In shares of the rows' weight.
    pub(crate) penalty: f64,
}

/// Rows that count more.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Flood {
    #[serde(with = "crate::bound")]
    pub(crate) threshold: f64,
    pub(crate) weight: f64,
}

impl Flood {
    pub(crate) fn is_above(threshold: f64, now: f64, change: f64) -> bool {
        now > threshold || now + change > threshold
    }
}

/// What a refit did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refitted {
    /// Outcomes that were added, over all leads, of the richest tier.
    pub outcomes: usize,
    /// Leads (steps) whose forecasts have been worse than persistence since training, over at least 200 outcomes: to be
    /// trained anew.
    pub drifted: Vec<usize>,
}

/// Why a model cannot be refit; it is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefitError {
    /// The evidence is of another model or version.
    #[error("the evidence is not that of the model")]
    OtherModel,
    /// The series are not those of the model.
    #[error(
        "the model has {want} series with {want_step_ms} ms between steps, these are {got} with {got_step_ms} ms"
    )]
    OtherSeries {
        /// Series of the model.
        want: usize,
        /// Series given.
        got: usize,
        /// Step of the model.
        want_step_ms: i64,
        /// Step given.
        got_step_ms: i64,
    },
    /// The grid is not the one trained on, moved by whole steps.
    #[error("steps are {off_ms} ms beside those trained on")]
    OffGrid {
        /// By how much.
        off_ms: i64,
    },
    /// The series begin too late for what the first new row looks back on.
    #[error("the series begin at {first_ms} ms, a refit needs them from {needed_ms} ms on")]
    TooShort {
        /// Where they begin.
        first_ms: i64,
        /// Where they should at the latest.
        needed_ms: i64,
    },
}

impl Evidence {
    pub(crate) fn new((first_ms, until_ms): (i64, i64), grounds: Vec<Grounds>) -> Self {
        Self {
            version: VERSION,
            first_ms,
            until_ms,
            grounds,
        }
    }

    /// Time of the last outcome that is in it, milliseconds since 1970 in the clock of the data.
    pub fn until_ms(&self) -> i64 {
        self.until_ms
    }

    /// From when on [`Model::refit`] needs the series, milliseconds.
    pub fn needed_from_ms(&self, model: &Model) -> i64 {
        let longest = model.horizons.iter().map(|horizon| horizon.steps).max();
        let back = (longest.unwrap_or(0) + model.reach()) as i64 * model.step_ms;
        (self.until_ms - back).max(self.first_ms)
    }

    fn is_of(&self, model: &Model) -> bool {
        let tiers: Vec<&Tier> = model.horizons.iter().flat_map(|horizon| &horizon.tiers).collect();
        self.version == VERSION
            && tiers.len() == self.grounds.len()
            && tiers.iter().zip(&self.grounds).all(|(tier, grounds)| {
                let n = tier.layout.n_columns();
                let columns = grounds.solved.iter().flatten().flat_map(|line| &line.columns);
                grounds.sums.iter().all(|sums| sums.is_of(n)) && columns.into_iter().all(|column| *column < n)
            })
    }
}

impl Grounds {
    pub(crate) fn new(
        sums: [Moments; 2],
        solved: [Option<Solved>; N_LINES],
        flood: Flood,
        stride: usize,
        mut pools: [Pool; 3],
    ) -> Self {
        pools.iter_mut().for_each(Pool::draw);
        Self {
            sums,
            solved,
            flood,
            share: 1.0 / stride.max(1) as f64,
            pools,
            since: (0, 0.0, 0.0),
        }
    }

    /// Of a tier that learned nothing.
    pub(crate) fn none(n_columns: usize, flood: Flood) -> Self {
        let sums = [Moments::new(n_columns), Moments::new(n_columns)];
        Self::new(sums, Default::default(), flood, 1, Default::default())
    }
}

impl Model {
    /// Brings the model up to the last step of series of its channels, on the grid that it was trained on: every outcome after
    /// [`Evidence::until_ms`] is added, once. The series have to begin no later than [`Evidence::needed_from_ms`]. Leads that are silent
    /// stay so.
    ///
    /// # Errors
    /// [`RefitError`]; model and evidence are then as they were.
    pub fn refit(&mut self, evidence: &mut Evidence, aligned: &Aligned) -> Result<Refitted, RefitError> {
        if !evidence.is_of(self) {
            return Err(RefitError::OtherModel);
        }
        if aligned.series.len() != self.channels.all.len() || aligned.step_ms != self.step_ms {
            return Err(RefitError::OtherSeries {
                want: self.channels.all.len(),
                got: aligned.series.len(),
                want_step_ms: self.step_ms,
                got_step_ms: aligned.step_ms,
            });
        }
        let off_ms = (aligned.start_ms - evidence.until_ms).rem_euclid(self.step_ms);
        if off_ms != 0 {
            return Err(RefitError::OffGrid { off_ms });
        }
        let needed_ms = evidence.needed_from_ms(self);
        let until = (evidence.until_ms - aligned.start_ms) / self.step_ms;
        let mut refitted = Refitted {
            outcomes: 0,
            drifted: Vec::new(),
        };
        let Some(last) = aligned.len().checked_sub(1).filter(|last| *last as i64 > until) else {
            return Ok(refitted);
        };
        if aligned.start_ms > needed_ms {
            return Err(RefitError::TooShort {
                first_ms: aligned.start_ms,
                needed_ms,
            });
        }
        let sight = self.sight(aligned);
        let mut grounds = evidence.grounds.iter_mut();
        for at in 0..self.horizons.len() {
            let steps = self.horizons[at].steps;
            let first = (until + 1 - steps as i64).max(0) as usize;
            let new: Vec<(usize, f64)> = (first..(last + 1).saturating_sub(steps))
                .filter(|t| sight.view.tracks[0].clean.is_seen[*t])
                .filter_map(|t| Some((t, sight.view.change(t, t + steps)?)))
                .collect();
            for at_tier in 0..self.horizons[at].tiers.len() {
                let Some(grounds) = grounds.next() else { break };
                let foreseen: Vec<Row> = new
                    .iter()
                    .map(|(t, change)| {
                        let tier = &self.horizons[at].tiers[at_tier];
                        let activity = tier.layout.activity(&self.channels, &sight.view, *t);
                        let trend = sight.trend(at, at_tier, *t);
                        let seen = tier.seen(&self.channels, &sight.view, *t, trend);
                        let mean = match tier.silent {
                            Some(_) => 0.0,
                            None => tier.mean[tier.regime(&activity)]
                                .at(&seen.candidates)
                                .clamp(-tier.most_change, tier.most_change),
                        };
                        Row {
                            change: *change,
                            now: now(&sight.view, *t),
                            foreseen: mean,
                            state: tier.borders.state(&activity, mean) as usize,
                            size: tier.residuals.size(&activity, mean),
                            raw: seen.raw,
                        }
                    })
                    .collect();
                let tier = &mut self.horizons[at].tiers[at_tier];
                grounds.take(tier, &foreseen);
                if at_tier == 0 {
                    refitted.outcomes += foreseen.len();
                    let (n, squares, of_persistence) = grounds.since;
                    if tier.silent.is_none() && n >= LEAST_OUTCOMES && squares > of_persistence {
                        refitted.drifted.push(steps);
                    }
                }
            }
        }
        evidence.until_ms = aligned.time_ms(last);
        Ok(refitted)
    }
}

fn now(view: &View, step: usize) -> f64 {
    let clean = &view.tracks[0].clean;
    clean.values[step] + clean.offset[step]
}

/// An outcome and what the model said before it.
struct Row {
    raw: Vec<f64>,
    now: f64,
    change: f64,
    foreseen: f64,
    state: usize,
    size: f64,
}

impl Grounds {
    /// Adds rows and solves again.
    fn take(&mut self, tier: &mut Tier, rows: &[Row]) {
        if rows.is_empty() || tier.lines.iter().all(Option::is_none) {
            return;
        }
        for row in rows {
            let error = row.change - row.foreseen;
            self.pools[row.state].put(error / row.size);
            self.since.0 += 1;
            self.since.1 += error * error;
            self.since.2 += row.change * row.change;
            tier.most_change = tier.most_change.max(1.5 * row.change.abs());
            widen(&mut tier.scaling, &row.raw);
        }
        let columns: Vec<Vec<f64>> = rows.iter().map(|row| scaled(&row.raw, &tier.scaling)).collect();
        let weight = |row: &Row| {
            if Flood::is_above(self.flood.threshold, row.now, row.change) {
                self.flood.weight
            } else {
                1.0
            }
        };
        let table = || rows.iter().zip(&columns);
        let [even, floods] = &mut self.sums;
        even.add(table().map(|(row, x)| (x.as_slice(), row.change, self.share)));
        floods.add(table().map(|(row, x)| (x.as_slice(), row.change, self.share * weight(row))));
        for (at, line) in tier.lines.iter_mut().enumerate() {
            let Some(solved) = &self.solved[at] else { continue };
            let sums = self.sums[usize::from(is_of_floods(at))].select(&solved.columns);
            // What cannot be solved any more stays as it was.
            if let Some(ridge) = sums.solve(solved.penalty * sums.weight()) {
                *line = Some(ridge.spread(&solved.columns, tier.layout.n_columns()));
            }
        }
        tier.residuals.pooled(&mut self.pools);
        self.pools.iter_mut().for_each(Pool::draw);
    }
}

/// Whether floods count more in a line, by its place among the lines.
fn is_of_floods(line: usize) -> bool {
    matches!(
        crate::model::CANDIDATES[FIRST_LINE + line],
        "ridge_floods" | "routing_floods"
    )
}

/// Bounds of the columns, which a new row may lie beyond. A column that stood still in training stays without a say.
fn widen(scaling: &mut [Scaling], raw: &[f64]) {
    for (scale, value) in scaling.iter_mut().zip(raw) {
        let scaled = ((value - scale.mean) / scale.spread).abs();
        if scale.most > 0.0 && scaled.is_finite() {
            scale.most = scale.most.max(1.5 * scaled);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::learn::Options;
    use crate::series::{Foretold, Kind, Series};

    const N_TRAIN: usize = 1500;

    /// Bursts of rain, a gauge, and one that follows it by three hours, with a second flood after `N_TRAIN`.
    fn river(n: usize) -> Aligned {
        let rain: Vec<f64> = (0..n)
            .map(|i| {
                if (i / 5) % 37 == 0 {
                    1.0 + (i % 11) as f64
                } else {
                    0.0
                }
            })
            .collect();
        let mut store = 0.0;
        let upper: Vec<f64> = rain
            .iter()
            .enumerate()
            .map(|(i, rain)| {
                store = 0.93 * store + rain;
                1.0 + 0.05 * store + 0.004 * ((i * i) % 7) as f64
            })
            .collect();
        let level: Vec<f64> = (0..n)
            .map(|i| {
                let from = |back: usize| upper[i.saturating_sub(back)];
                0.5 * from(3) + 0.3 * from(4) + 0.2 * from(6) + 0.003 * ((i * 31) % 5) as f64
            })
            .collect();
        let one = |name: &str, kind, values| Series {
            name: name.to_owned(),
            kind,
            values,
            foretold: Foretold::default(),
        };
        Aligned {
            start_ms: 0,
            step_ms: 3_600_000,
            series: vec![
                one("level", Kind::State, level),
                one("upper", Kind::State, upper),
                one("rain", Kind::Amount, rain),
            ],
        }
    }

    fn window(aligned: &Aligned, from: usize, to: usize) -> Aligned {
        let series = aligned.series.iter().map(|series| Series {
            values: series.values[from..to].to_vec(),
            ..series.clone()
        });
        Aligned {
            start_ms: aligned.time_ms(from),
            step_ms: aligned.step_ms,
            series: series.collect(),
        }
    }

    fn trained(aligned: &Aligned) -> (Model, Evidence) {
        let options = Options {
            with_trees: false,
            threshold: Some(2.2),
            ..Options::default()
        };
        Model::train_kept(aligned, N_TRAIN, &[1, 6], &[], &options)
    }

    #[test]
    fn a_refit_day_by_day_is_the_solution_over_all_rows_with_the_penalties_of_training() {
        let all = river(N_TRAIN + 240);
        let (mut model, mut evidence) = trained(&all);
        let before = model.clone();
        for day in 1..=10 {
            let from = (evidence.needed_from_ms(&model) / all.step_ms) as usize;
            let newest = window(&all, from, N_TRAIN + 24 * day);
            let done = model.refit(&mut evidence, &newest).unwrap();
            assert_eq!(done.outcomes, 48, "two leads a step");
        }
        let view = model.channels.view(&all);
        let tiers = || model.horizons.iter().flat_map(|horizon| &horizon.tiers);
        let mut moved = 0.0f64;
        for (grounds, tier) in evidence.grounds.iter().zip(tiers()) {
            let horizon = tier.layout.horizon;
            let mut raw = Vec::new();
            let rows: Vec<(Vec<f64>, f64, f64)> = (0..all.len() - horizon)
                .filter_map(|t| Some((t, view.change(t, t + horizon)?)))
                .map(|(t, change)| {
                    tier.layout.row(&model.channels, &view, t, &mut raw);
                    let is_flood = Flood::is_above(2.2, now(&view, t), change);
                    let weight = if is_flood { grounds.flood.weight } else { 1.0 };
                    (scaled(&raw, &tier.scaling), change, weight)
                })
                .collect();
            for (at, line) in tier.lines.iter().enumerate() {
                let (line, solved) = (line.as_ref().unwrap(), grounds.solved[at].as_ref().unwrap());
                let mut sums = Moments::new(tier.layout.n_columns());
                sums.add(rows.iter().map(|(x, y, w)| {
                    let weight = if is_of_floods(at) { *w } else { 1.0 };
                    (x.as_slice(), *y, weight)
                }));
                let sums = sums.select(&solved.columns);
                let direct = sums
                    .solve(solved.penalty * sums.weight())
                    .unwrap()
                    .spread(&solved.columns, tier.layout.n_columns());
                assert!((line.intercept - direct.intercept).abs() < 1e-6);
                for (own, other) in line.slopes.iter().zip(&direct.slopes) {
                    assert!((own - other).abs() < 1e-6, "{horizon} {at}: {own} {other}");
                }
            }
        }
        let old = before.horizons.iter().flat_map(|horizon| &horizon.tiers);
        for (new, old) in tiers().zip(old) {
            let slopes = |tier: &Tier| tier.lines[0].as_ref().unwrap().slopes.clone();
            for (a, b) in slopes(new).iter().zip(slopes(old)) {
                moved = moved.max((a - b).abs());
            }
        }
        assert!(moved > 1e-6, "ten days move the coefficients");
    }

    #[test]
    fn an_outcome_is_added_once() {
        let all = river(N_TRAIN + 48);
        let (mut model, mut evidence) = trained(&all);
        assert_eq!(model.refit(&mut evidence, &all).unwrap().outcomes, 96);
        let kept = (model.clone(), evidence.clone());
        assert_eq!(model.refit(&mut evidence, &all).unwrap().outcomes, 0);
        assert_eq!((model, evidence), kept);
    }

    #[test]
    fn a_river_that_runs_the_other_way_has_drifted() {
        let mut all = river(N_TRAIN + 600);
        let (mut model, mut evidence) = trained(&all);
        let done = model.clone().refit(&mut evidence.clone(), &all).unwrap();
        assert_eq!(done.drifted, [] as [usize; 0]);
        // What comes is the mirror of what was foreseen.
        let values = &mut all.series[0].values;
        let first = values[N_TRAIN];
        for value in &mut values[N_TRAIN..] {
            *value = (2.0 * first - *value).max(0.1);
        }
        let done = model.refit(&mut evidence, &all).unwrap();
        assert!(done.drifted.contains(&6), "{done:?}");
    }

    #[test]
    fn what_does_not_fit_is_refused_and_nothing_is_changed() {
        let all = river(N_TRAIN + 48);
        let (mut model, mut evidence) = trained(&all);
        let kept = (model.clone(), evidence.clone());
        let short = window(&all, N_TRAIN - 20, N_TRAIN + 48);
        let error = model.refit(&mut evidence, &short).unwrap_err();
        assert!(matches!(error, RefitError::TooShort { .. }), "{error}");
        let fewer = Aligned {
            series: all.series[..2].to_vec(),
            ..all.clone()
        };
        let error = model.refit(&mut evidence, &fewer).unwrap_err();
        assert!(
            matches!(error, RefitError::OtherSeries { want: 3, got: 2, .. }),
            "{error}"
        );
        let beside = Aligned {
            start_ms: 60_000,
            ..all.clone()
        };
        let error = model.refit(&mut evidence, &beside).unwrap_err();
        assert_eq!(error, RefitError::OffGrid { off_ms: 60_000 });
        assert_eq!((&model, &evidence), (&kept.0, &kept.1));
        let (mut other, _) = Model::train_kept(&all, N_TRAIN, &[1], &[], &Options::default());
        let error = other.refit(&mut evidence, &all).unwrap_err();
        assert_eq!(error, RefitError::OtherModel);
    }

    #[test]
    fn models_and_evidence_are_read_back_as_they_were_written() {
        let mut all = river(N_TRAIN);
        // A gauge that stands still and one that says nothing leave bounds that are infinite.
        all.series[1].values.fill(1.0);
        all.series[2].values.fill(f64::NAN);
        for (n_train, aligned) in [(N_TRAIN, &river(N_TRAIN)), (N_TRAIN, &all), (30, &all), (0, &all)] {
            let (model, evidence) = Model::train_kept(aligned, n_train, &[1, 6], &[], &Options::default());
            let text = serde_json::to_string(&(&model, &evidence)).unwrap();
            let (read, kept): (Model, Evidence) = serde_json::from_str(&text).unwrap();
            assert_eq!((read, kept), (model, evidence), "{n_train}");
        }
    }
}
