//! Rolling origin: a model trained on the steps before a split issues at every step after it, learns what came as soon as it
//! could have, and is scored on what it issued.

use std::collections::{BTreeMap, VecDeque};

use crate::conformal::{STATES, State, Steps};
use crate::learn::Options;
use crate::model::{CANDIDATES, Issued, Model, Sight, Silence, Validated};
use crate::score::{Scored, Scores, median_lead_ms, score};
use crate::series::Aligned;

/// What a backtest found.
#[derive(Clone, Debug, PartialEq)]
pub struct Backtest {
    /// The model that was tested.
    pub model: Model,
    /// One a horizon.
    pub horizons: Vec<Outcome>,
    /// Half of the up-crossings were warned of at least this long before, milliseconds.
    pub median_lead_ms: Option<i64>,
}

/// One horizon.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Steps ahead.
    pub steps: usize,
    /// Scores of what was issued.
    pub scores: Scores,
    /// By state at the origin: forecasts, share inside the 80 % interval.
    pub by_state: Vec<(State, usize, Option<f64>)>,
    /// Why the richest tier is silent, when it is.
    pub silent: Option<Silence>,
    /// What cross-validation showed in training.
    pub validated: Validated,
    /// Weights of the candidates in the mean of the richest tier: in steady water, else.
    pub weights: Vec<(&'static str, f64, f64)>,
    /// Forecasts by tier: names of the inputs it needs, how many it issued.
    pub tiers: Vec<(Vec<String>, usize)>,
    /// Origins without a forecast, for want of a value.
    pub without: usize,
    /// Everything that was issued and came true or not.
    pub rows: Vec<Scored>,
}

/// Sets of inputs that go together at a share of the test's origins get a model of their own.
const LEAST_SHARE: f64 = 0.02;
const MOST_SETS: usize = 3;

/// Trains on the steps before `n_train` and tests on those from there on.
pub fn backtest(aligned: &Aligned, n_train: usize, horizons: &[usize], options: &Options) -> Backtest {
    let sets = operational_sets(aligned, n_train);
    let model = Model::train(aligned, n_train, horizons, &sets, options);
    test(model, aligned, n_train)
}

/// Tests a trained model on the steps from `n_train` on.
pub fn test(model: Model, aligned: &Aligned, n_train: usize) -> Backtest {
    let sight = model.sight(aligned);
    let horizons: Vec<Outcome> = (0..model.horizons.len())
        .map(|at| rolled(&model, &sight, at, n_train))
        .collect();
    let rows: Vec<Vec<Scored>> = horizons.iter().map(|outcome| outcome.rows.clone()).collect();
    let median_lead_ms = model
        .threshold
        .and_then(|threshold| median_lead_ms(&rows, threshold));
    Backtest {
        model,
        horizons,
        median_lead_ms,
    }
}

/// The sets of series that speak at the origins of the test, the commonest first: what an operator would see of outages and
/// retrain for.
fn operational_sets(aligned: &Aligned, n_train: usize) -> Vec<Vec<usize>> {
    let channels = crate::features::Channels::learn(aligned, n_train);
    let view = channels.view(aligned);
    let mut counts: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
    let mut n = 0;
    for origin in n_train..view.len() {
        if view.newest(origin).is_some() {
            *counts.entry(channels.alive(&view, origin)).or_default() += 1;
            n += 1;
        }
    }
    let mut sets: Vec<(usize, Vec<usize>)> = counts
        .into_iter()
        .filter(|(_, count)| *count as f64 >= LEAST_SHARE * n as f64)
        .map(|(set, count)| (count, set))
        .collect();
    sets.sort_by(|a, b| b.cmp(a));
    sets.into_iter().take(MOST_SETS).map(|(_, set)| set).collect()
}

fn rolled(model: &Model, sight: &Sight, at: usize, n_train: usize) -> Outcome {
    let about = &model.horizons[at];
    let view = &sight.view;
    let mut steps = Steps::default();
    let mut waiting: VecDeque<(usize, Issued)> = VecDeque::new();
    let mut rows = Vec::new();
    let mut without = 0;
    let mut by_tier = vec![0usize; about.tiers.len()];
    for origin in n_train..view.len() {
        while let Some((issued_at, _)) = waiting.front()
            && issued_at + about.steps <= origin
        {
            let Some((issued_at, issued)) = waiting.pop_front() else {
                break;
            };
            // What persistence is measured by has to have been seen at the origin itself.
            let Some(change) = view
                .target(issued_at)
                .and_then(|_| view.change(issued_at, issued_at + about.steps))
            else {
                continue;
            };
            let came = issued.persistence + change;
            model.meet(at, &issued, came, &mut steps);
            rows.push(scored(issued, came));
        }
        match model.issue(sight, at, origin, &steps) {
            Some(issued) => {
                by_tier[issued.tier] += 1;
                waiting.push_back((origin, issued));
            }
            None => without += 1,
        }
    }
    let inside = |state: State| {
        let of_state: Vec<&Scored> = rows.iter().filter(|row| row.state == state).collect();
        let n_in = of_state.iter().filter(|row| row.is_inside()).count();
        (
            state,
            of_state.len(),
            (!of_state.is_empty()).then(|| n_in as f64 / of_state.len() as f64),
        )
    };
    let richest = &about.tiers[by_tier.iter().position(|n| *n > 0).unwrap_or(0)];
    let name = |channel: &usize| model.channels.all[*channel].name.clone();
    Outcome {
        steps: about.steps,
        scores: score(&rows, model.threshold),
        by_state: STATES.iter().map(|state| inside(*state)).collect(),
        silent: richest.silent,
        validated: richest.validated,
        weights: CANDIDATES
            .iter()
            .enumerate()
            .map(|(i, name)| (*name, richest.mean[0].weights[i], richest.mean[1].weights[i]))
            .collect(),
        tiers: about
            .tiers
            .iter()
            .zip(by_tier)
            .map(|(t, n)| (t.layout.channels.iter().map(name).collect(), n))
            .collect(),
        without,
        rows,
    }
}

fn scored(issued: Issued, came: f64) -> Scored {
    Scored {
        origin_ms: issued.origin_ms,
        target_ms: issued.target_ms,
        persistence: issued.persistence,
        mean: issued.mean,
        median: issued.median,
        quantiles: issued.quantiles,
        band80: issued.band80,
        crossing: issued.crossing,
        warns: issued.warns,
        state: issued.state,
        observed: came,
    }
}
