//! One series that is foreseen: its model, and what that says at a mark.

use anyhow::{Context, Result};
use onemap_dashboards::foresight::{LeadSkill, Trained};
use onemap_dashboards::views::Views;
use onemap_forecast::conformal::{State, Steps};
use onemap_forecast::faults::Detector;
use onemap_forecast::features::{Channels, View};
use onemap_forecast::learn::Options;
use onemap_forecast::model::{Model, Silence, VERSION};
use onemap_forecast::refit::Evidence;
use onemap_forecast::score::LEVELS;
use onemap_forecast::series::Aligned;
use onemap_model::Timestamp;
use onemap_model::forecast::{Exceedance, Forecast, Influence, Lead, OWN, Regime, Silent};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tracing::info;

use super::grid::{Marks, aligned, sent};
use crate::config::GaugePart;

/// Values of the target without which nothing is trained.
const LEAST_VALUES: usize = 60;
/// Steps of the past on which intervals are brought up to date when a model is taken up.
const N_TAUGHT: usize = 400;
/// Inputs of one lead that are told.
const N_INFLUENCES: usize = 5;

/// What a model is solved again from, in a file of its own: it is larger than the model and needed at night alone.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptEvidence {
    /// When the model was trained that it is of.
    pub(super) of: Timestamp,
    evidence: Evidence,
}

/// A model as it stands in the data folder.
#[derive(Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) trained: Trained,
    model: Model,
    /// Knows what is usual of the series; models of before had none.
    #[serde(default)]
    pub(super) detector: Option<Detector>,
}

impl Kept {
    /// Whether it is of this version, and of these series, steps and leads.
    pub(super) fn is_of(&self, part: &GaugePart) -> bool {
        let names = self.model.channels.all.iter().map(|channel| channel.name.clone());
        let leads = self.model.horizons.iter().map(|horizon| horizon.steps);
        self.model.version == VERSION
            && self.model.step_ms == i64::from(part.step_s) * 1000
            && self.model.threshold == part.threshold
            && names.eq(part.names())
            && leads.eq(part.leads.iter().copied())
    }
}

/// What operation has taught the intervals of a model.
pub(super) struct Taught {
    steps: Vec<Steps>,
    /// The last mark whose outcome was met, by lead.
    met_ms: Vec<i64>,
}

fn silence(why: Silence) -> String {
    match why {
        Silence::TooFewRows { rows } => format!("{rows} rows are too few to learn from"),
        Silence::Constant => "the series did not change in training".to_owned(),
        Silence::QuietWeeks { days } => {
            format!("{days} days without a flood are too short to learn from for this lead")
        }
        Silence::NoSkill { skill } => {
            format!("no better than the present value in training (skill {skill:.2})")
        }
    }
}

/// Trains a model on the history up to a mark.
///
/// # Errors
/// Why not: where data are too thin, or the history cannot be read.
pub(super) fn train(
    views: &Views,
    part: &GaugePart,
    history_days: u32,
    now: Timestamp,
) -> Result<(Kept, KeptEvidence)> {
    let step_ms = i64::from(part.step_s) * 1000;
    let last_ms = Marks::of(part.target.quantity, part.step_s).before(now);
    let wanted_ms = last_ms - i64::from(history_days) * 86_400_000;
    let series = views
        .history
        .series_id(&part.target)
        .and_then(|id| views.history.series(id));
    let begins = series
        .with_context(|| format!("{} has no values yet", part.target))?
        .first
        .ms();
    let span_ms = last_ms - wanted_ms.max(begins);
    let first_ms = last_ms - span_ms.max(0) / step_ms * step_ms;
    let data = aligned(views, part, (first_ms, last_ms))?;
    let n_values = data.series[0]
        .values
        .iter()
        .filter(|value| !value.is_nan())
        .count();
    anyhow::ensure!(
        n_values >= LEAST_VALUES,
        "{n_values} values since {} are too few: {LEAST_VALUES} are needed",
        Timestamp::from_ms(first_ms)
    );
    let options = Options {
        threshold: part.threshold,
        ..Options::default()
    };
    let (model, evidence) = Model::train_kept(&data, data.len(), &part.leads, &sets(part, &data), &options);
    let leads = model.horizons.iter().map(|horizon| {
        let richest = horizon.tiers.first();
        LeadSkill {
            lead_s: horizon.steps as u32 * part.step_s,
            rows: richest.map_or(0, |tier| tier.validated.n),
            skill: richest.and_then(|tier| tier.validated.skill),
            mae_skill: richest.and_then(|tier| tier.validated.mae_skill),
            silent: richest.and_then(|tier| tier.silent).map(silence),
        }
    });
    let trained = Trained {
        model: id_of(&model)?,
        at: now,
        refit_at: None,
        first: Timestamp::from_ms(first_ms),
        last: Timestamp::from_ms(last_ms),
        values: n_values,
        leads: leads.collect(),
    };
    let range = part.target.quantity.definition().range;
    let values = sent(views, &part.target, step_ms, (first_ms, last_ms))?;
    let detector = Some(Detector::learn(&values, range.map(|[least, most]| (least, most))));
    let kept = Kept {
        trained,
        model,
        detector,
    };
    Ok((kept, KeptEvidence { of: now, evidence }))
}

/// Sets of inputs that have a model of their own beside all and none: what is measured here, for the hours in which others have
/// not said what they foresee, and what speaks at the end.
fn sets(part: &GaugePart, data: &Aligned) -> Vec<Vec<usize>> {
    let channels = Channels::learn(data, data.len());
    let view = channels.view(data);
    let speak = channels.alive(&view, data.len().saturating_sub(1));
    let measured = (0..=part.inputs.len()).collect();
    match part.ahead.is_empty() {
        true => vec![speak],
        false => vec![measured, speak],
    }
}

/// Whether inputs speak at a step that no tier puts to use together, though training knew them.
fn is_wanting(model: &Model, view: &View, origin: usize) -> bool {
    let speak = model.channels.alive(view, origin);
    model.horizons.iter().any(|horizon| {
        let sets = || horizon.tiers.iter().map(|tier| &tier.layout.channels);
        let taught = |channel: &usize| sets().any(|set| set.contains(channel));
        let useful: Vec<usize> = speak.iter().copied().filter(taught).collect();
        sets().all(|set| *set != useful)
    })
}

/// What is said at a mark.
pub(super) struct Said {
    pub(super) forecast: Forecast,
    /// Whether a model of the inputs that speak now would know more.
    pub(super) is_wanting: bool,
}

/// The first digits of a model's digest.
fn id_of(model: &Model) -> Result<String> {
    let text = serde_json::to_vec(model).context("the model cannot be written")?;
    let digest = Sha256::digest(&text);
    Ok(digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect())
}

/// The model solved again with what has come since; `None` when it is to be trained anew, with the reason in the log.
///
/// # Errors
/// When the history cannot be read, or the evidence is not the model's.
pub(super) fn refit(
    views: &Views,
    part: &GaugePart,
    kept: &Kept,
    kept_evidence: &mut KeptEvidence,
    now: Timestamp,
) -> Result<Option<Kept>> {
    anyhow::ensure!(
        kept_evidence.of == kept.trained.at,
        "the evidence is of another training"
    );
    let evidence = &mut kept_evidence.evidence;
    let mut model = kept.model.clone();
    let last_ms = Marks::of(part.target.quantity, part.step_s).before(now);
    let span = (evidence.needed_from_ms(&model), last_ms);
    let data = aligned(views, part, span)?;
    let refitted = model.refit(evidence, &data)?;
    if !refitted.drifted.is_empty() {
        let leads = &refitted.drifted;
        info!(series = %part.target, ?leads, "forecasts have become worse than the present value");
        return Ok(None);
    }
    let trained = Trained {
        model: id_of(&model)?,
        refit_at: Some(now),
        last: Timestamp::from_ms(last_ms),
        ..kept.trained.clone()
    };
    let detector = kept.detector.clone();
    Ok(Some(Kept {
        trained,
        model,
        detector,
    }))
}

/// Levels and values, the 10th and the 90th percentile being the ends of the interval, which is kept to its coverage by
/// itself.
fn with_band(values: &[f64], (low, high): (f64, f64)) -> Vec<(f64, f64)> {
    let bounded = |(level, value): (f64, f64)| {
        let value = match level {
            level if level < 0.1 => value.min(low),
            0.1 => low,
            0.9 => high,
            level if level > 0.9 => value.max(high),
            _ => value.clamp(low, high.max(low)),
        };
        (level, value)
    };
    let all = LEVELS.iter().copied().zip(values.iter().copied()).map(bounded);
    all.filter(|(_, value)| value.is_finite()).collect()
}

/// What a model says at a mark; `None` when there is no value of the target around it.
///
/// # Errors
/// When the history cannot be read.
pub(super) fn issue(
    views: &Views,
    part: &GaugePart,
    kept: &Kept,
    taught: &mut Option<Taught>,
    (mark_ms, now): (i64, Timestamp),
) -> Result<Option<Said>> {
    let (model, step_ms) = (&kept.model, i64::from(part.step_s) * 1000);
    let n_leads = model.horizons.len();
    let taught = taught.get_or_insert_with(|| Taught {
        steps: vec![Steps::default(); n_leads],
        met_ms: vec![mark_ms - (N_TAUGHT as i64 + 1) * step_ms; n_leads],
    });
    let oldest = taught.met_ms.iter().copied().min().unwrap_or(mark_ms);
    let before = (model.reach() + part.leads.last().copied().unwrap_or(0)) as i64 * step_ms;
    let first_ms = oldest.min(mark_ms) - before;
    let data = aligned(views, part, (first_ms, mark_ms))?;
    let sight = model.sight(&data);
    let origin = data.len() - 1;
    // No value at the mark itself: what an older one would say was said then.
    let Some(at_origin) = sight.view.target(origin) else {
        return Ok(None);
    };
    let mut forecast = Forecast {
        series: part.target.clone(),
        source: OWN.to_owned(),
        model: kept.trained.model.clone(),
        issued_at: now,
        origin: Timestamp::from_ms(mark_ms),
        at_origin: Some(at_origin),
        step_s: part.step_s,
        regime: None,
        leads: Vec::with_capacity(n_leads),
        silent: Vec::new(),
        influences: Vec::new(),
        notes: Vec::new(),
    };
    let mut gone: Vec<String> = Vec::new();
    for (at, horizon) in model.horizons.iter().enumerate() {
        // What has come since is learned first.
        let newest = origin.saturating_sub(horizon.steps);
        let met = ((taught.met_ms[at] - first_ms) / step_ms).max(0) as usize;
        for past in met + 1..=newest {
            let Some(issued) = model.issue(&sight, at, past, &taught.steps[at]) else {
                continue;
            };
            if let Some(change) = sight.view.change(past, past + horizon.steps) {
                let came = issued.persistence + change;
                model.meet(at, &issued, came, &mut taught.steps[at]);
            }
        }
        taught.met_ms[at] = first_ms + newest as i64 * step_ms;
        let Some(issued) = model.issue(&sight, at, origin, &taught.steps[at]) else {
            continue;
        };
        let lead_s = horizon.steps as u32 * part.step_s;
        forecast.regime.get_or_insert(match issued.state {
            State::Rising => Regime::Rising,
            State::Wet => Regime::Wet,
            State::Steady => Regime::Steady,
        });
        if let Some(tier) = horizon.tiers.get(issued.tier) {
            for channel in 0..model.channels.all.len() {
                let name = &model.channels.all[channel].name;
                let is_used = horizon.tiers[0].layout.channels.contains(&channel);
                if is_used && !tier.layout.channels.contains(&channel) && !gone.contains(name) {
                    gone.push(name.clone());
                }
            }
            if let Some(why) = tier.silent {
                forecast.silent.push(Silent {
                    lead_s,
                    why: silence(why),
                });
                continue;
            }
        }
        let quantiles = with_band(&issued.quantiles, issued.band80);
        let exceed = part
            .threshold
            .zip(issued.crossing)
            .map(|(threshold, probability)| Exceedance {
                threshold,
                probability: probability.clamp(0.0, 1.0),
                warns: issued.warns,
            });
        forecast.leads.push(Lead {
            at: Timestamp::from_ms(issued.target_ms),
            value: issued.mean,
            median: Some(issued.median),
            quantiles,
            exceed: exceed.into_iter().collect(),
        });
        let parts = model.explain(&sight, at, origin);
        let told = parts.into_iter().take(N_INFLUENCES).map(|part| Influence {
            lead_s,
            input: part.input,
            by: part.change,
        });
        forecast
            .influences
            .extend(told.filter(|part| part.by.is_finite()));
    }
    forecast.notes.extend(
        gone.into_iter()
            .map(|name| format!("without {name}, which says nothing now")),
    );
    forecast.check().context("the model says what is no forecast")?;
    Ok(Some(Said {
        is_wanting: is_wanting(model, &sight.view, origin),
        forecast,
    }))
}
