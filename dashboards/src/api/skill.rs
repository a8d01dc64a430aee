//! How good forecasts were, found from what was issued and what came.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use onemap_forecast::conformal::{STATES, State as Water};
use onemap_forecast::crossing::chance_above;
use onemap_forecast::score::{LEVELS, Scored, median_lead_ms, score};
use onemap_model::forecast::Lead;
use onemap_model::{Regime, Timestamp};
use onemap_store::engine::StoreError;
use onemap_store::history::{Point, SeriesId};
use onemap_store::ledger::{ForecastFilter, LedgerForecast};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::forecasts::known_series;
use crate::api::quarantine::read;
use crate::api::rows::Turns;
use crate::api::time;
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Params;
use crate::views::Views;

/// Forecasts that are scored at most, the newest.
const N_SCORED: usize = 20_000;
/// What came is looked for within half of this, where a forecast states no step.
const STEP_S: u32 = 3_600;
/// Half of the longest step, milliseconds.
const AROUND_MS: i64 = 43_200_000;

/// Where the ends of the 80 % interval stand in [`LEVELS`].
const LOW: usize = 2;
const HIGH: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    series: u32,
    source: Option<String>,
    from: Option<String>,
    to: Option<String>,
    threshold: Option<f64>,
}

/// What came of the forecasts of one source and lead.
#[derive(Default)]
struct Came {
    rows: Vec<Scored>,
    /// Taken in after the time that they speak of.
    late: usize,
    /// Of a time that is yet to come.
    pending: usize,
    /// Of a time without a value.
    missing: usize,
    /// Without a value at the origin, so that persistence is not known.
    no_origin: usize,
}

/// Values by time, ascending.
struct Observed(Vec<(i64, f64)>);

impl Observed {
    /// The value nearest to a time within a reach, the earlier of two as near.
    fn near(&self, at_ms: i64, reach_ms: i64) -> Option<f64> {
        let behind = self.0.partition_point(|(t, _)| *t < at_ms);
        let around = self.0[behind.saturating_sub(1)..].iter().take(2);
        let nearest = around.min_by_key(|(t, _)| (t - at_ms).abs())?;
        ((nearest.0 - at_ms).abs() <= reach_ms).then_some(nearest.1)
    }
}

/// Values at [`LEVELS`] of the quantiles that a forecast has; of one without any, its one value.
fn at_levels(lead: &Lead) -> Vec<f64> {
    let known = &lead.quantiles;
    if known.is_empty() {
        return vec![lead.value; LEVELS.len()];
    }
    let at = |level: f64| {
        let behind = known.partition_point(|(p, _)| *p < level);
        match (behind.checked_sub(1).map(|i| known[i]), known.get(behind)) {
            // Nothing is said beyond the outermost: they hold.
            (None, Some((_, v))) => *v,
            (Some((_, v)), None) => v,
            (Some((p, v)), Some((q, w))) => v + (w - v) * (level - p) / (q - p),
            (None, None) => lead.value,
        }
    };
    LEVELS.iter().map(|level| at(*level)).collect()
}

fn water(regime: Option<Regime>) -> Water {
    match regime {
        Some(Regime::Rising) => Water::Rising,
        Some(Regime::Wet) => Water::Wet,
        Some(Regime::Steady) | None => Water::Steady,
    }
}

/// Puts a forecast beside what came.
fn scored(
    row: &LedgerForecast,
    lead: &Lead,
    persistence: f64,
    observed: f64,
    threshold: Option<f64>,
) -> Scored {
    let quantiles = at_levels(lead);
    let said = threshold.and_then(|threshold| lead.exceed.iter().find(|e| e.threshold == threshold));
    let crossing = threshold.map(|threshold| match said {
        Some(said) => said.probability,
        None if lead.quantiles.is_empty() => f64::from(u8::from(lead.value > threshold)),
        None => chance_above(&quantiles, threshold).clamp(0.0, 1.0),
    });
    let warns = match said {
        Some(said) => said.warns,
        None => threshold.is_some_and(|threshold| lead.value > threshold),
    };
    Scored {
        origin_ms: row.forecast.origin.ms(),
        target_ms: lead.at.ms(),
        persistence,
        mean: lead.value,
        median: lead.middle(),
        band80: (quantiles[LOW], quantiles[HIGH]),
        quantiles,
        crossing,
        warns,
        state: water(row.forecast.regime),
        observed,
    }
}

type Found = BTreeMap<String, BTreeMap<u32, Came>>;

/// By source and lead. Of what one says of a time from one origin the first that was taken counts: what is said again (a hand-in that is
/// repeated, a revision) knows no more of what was measured, and is no other case.
fn compare(rows: &[LedgerForecast], observed: &Observed, threshold: Option<f64>, now: Timestamp) -> Found {
    let (mut found, mut said) = (Found::new(), HashSet::new());
    // Oldest first, as they were issued.
    for row in rows.iter().rev() {
        let forecast = &row.forecast;
        let step_s = if forecast.step_s == 0 {
            STEP_S
        } else {
            forecast.step_s
        };
        let reach_ms = i64::from(step_s) * 500;
        for lead in &forecast.leads {
            if !said.insert((&forecast.source, forecast.origin, lead.at)) {
                continue;
            }
            let of_source = found.entry(forecast.source.clone()).or_default();
            let came = of_source.entry(forecast.lead_s(lead)).or_default();
            if lead.at <= row.at {
                came.late += 1;
            } else if lead.at > now {
                came.pending += 1;
            } else if let Some(value) = observed.near(lead.at.ms(), reach_ms) {
                match forecast.at_origin {
                    Some(persistence) => came.rows.push(scored(row, lead, persistence, value, threshold)),
                    None => came.no_origin += 1,
                }
            } else {
                came.missing += 1;
            }
        }
    }
    found
}

/// The longest lead up to which all are better than persistence, seconds.
fn ends(leads: &[(u32, Option<f64>)]) -> Option<u32> {
    let good = leads
        .iter()
        .take_while(|(_, skill)| skill.is_some_and(|skill| skill > 0.0));
    good.last().map(|(lead_s, _)| *lead_s)
}

fn source_json(source: &str, of_source: &BTreeMap<u32, Came>, threshold: Option<f64>) -> Value {
    let mut leads = Vec::with_capacity(of_source.len());
    let mut skills = Vec::with_capacity(of_source.len());
    for (lead_s, came) in of_source {
        let scores = score(&came.rows, threshold);
        skills.push((*lead_s, scores.skill));
        let by_state: Vec<Value> = STATES
            .iter()
            .map(|state| {
                let of_state: Vec<Scored> = came
                    .rows
                    .iter()
                    .filter(|row| row.state == *state)
                    .cloned()
                    .collect();
                let scores = score(&of_state, threshold);
                json!({"state": state, "n": scores.n, "rmse": scores.rmse, "skill": scores.skill,
                       "mae": scores.mae, "mae_skill": scores.mae_skill, "coverage80": scores.coverage80})
            })
            .collect();
        let mut shown = serde_json::to_value(&scores).expect("scores have text keys only");
        shown["lead_s"] = (*lead_s).into();
        shown["late"] = came.late.into();
        shown["pending"] = came.pending.into();
        shown["missing"] = came.missing.into();
        shown["no_origin"] = came.no_origin.into();
        shown["by_state"] = by_state.into();
        leads.push(shown);
    }
    let by_lead: Vec<Vec<Scored>> = of_source.values().map(|came| came.rows.clone()).collect();
    let median_lead_s = threshold
        .and_then(|threshold| median_lead_ms(&by_lead, threshold))
        .map(|ms| ms / 1000);
    json!({"source": source, "skill_ends_s": ends(&skills), "median_lead_s": median_lead_s, "leads": leads})
}

/// Values of a series around the times that forecasts speak of.
///
/// # Errors
/// When the history cannot be read.
fn observed(views: &Views, id: SeriesId, rows: &[LedgerForecast]) -> Result<Observed, StoreError> {
    let times = || {
        rows.iter()
            .flat_map(|row| row.forecast.leads.iter().map(|lead| lead.at.ms()))
    };
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        return Ok(Observed(Vec::new()));
    };
    let mut values = Vec::new();
    let mut take = |point: Point| {
        if point.quality.judgeable()
            && let Some(value) = point.value.number()
        {
            values.push((point.measured_at.ms(), value));
        }
        ControlFlow::Continue(())
    };
    let (from, to) = (
        Timestamp::from_ms(first - AROUND_MS),
        Timestamp::from_ms(last + AROUND_MS),
    );
    views.archive.scan(id, from, to, &mut take)?;
    Ok(Observed(values))
}

/// Scores of what was issued of a series, by source, lead and what the series did at the origin.
pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    Extension(turns): Extension<Turns>,
    caller: Caller,
    Params(query): Params<Query>,
) -> Result<Json<Value>, Problem> {
    let (id, key) = known_series(&views, caller.scope(), query.series)?;
    if query.threshold.is_some_and(|threshold| !threshold.is_finite()) {
        return Err(Problem::bad_request(
            "bad_parameter",
            "threshold= is a finite number",
        ));
    }
    let moment = |name: &str, text: &Option<String>| text.as_deref().map(|text| time(name, text)).transpose();
    let filter = ForecastFilter {
        series: Some(key.to_string()),
        source: query.source,
        from: moment("from", &query.from)?,
        to: moment("to", &query.to)?,
        known_at: None,
    };
    if filter.from.zip(filter.to).is_some_and(|(from, to)| from >= to) {
        return Err(Problem::bad_request("bad_range", "from= lies before to="));
    }
    let mut rows = read(&views, move |views| {
        views.ledger.forecasts(&filter, None, N_SCORED + 1)
    })
    .await?;
    let is_cut = rows.len() > N_SCORED;
    rows.truncate(N_SCORED);
    let n = rows.len();
    // Without one in the question, that of the newest forecast.
    let issued = rows.iter().flat_map(|row| &row.forecast.leads);
    let issued = issued.into_iter().find_map(|lead| lead.exceed.first());
    let threshold = query.threshold.or(issued.map(|exceed| exceed.threshold));
    let scored = turns.once(views.clone(), move |views| {
        let observed = observed(views, id, &rows)?;
        let found = compare(&rows, &observed, threshold, views.now());
        let shown = found
            .iter()
            .map(|(source, of_source)| source_json(source, of_source, threshold));
        Ok(shown.collect::<Vec<Value>>())
    });
    let sources = scored.await?;
    Ok(Json(json!({
        "series": {"id": id.0, "device": key.device, "quantity": key.quantity, "ch": key.channel,
                   "unit": key.quantity.definition().unit},
        "threshold": threshold, "forecasts": n, "cut": is_cut, "sources": sources,
    })))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_model::forecast::Exceedance;
    use onemap_model::{DeviceId, Forecast, Quantity, SeriesKey};

    use super::*;

    const HOUR: i64 = 3_600_000;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_ms(1_763_856_000_000 + hours * HOUR)
    }

    fn row(origin: i64, taken: i64, value: f64, warns: Option<bool>) -> LedgerForecast {
        LedgerForecast {
            seq: origin as u64,
            position: origin as u64,
            at: at(taken),
            forecast: Forecast {
                series: SeriesKey {
                    device: DeviceId::new("gauge").unwrap(),
                    quantity: Quantity::named("water_level").unwrap(),
                    channel: 0,
                },
                source: "onemap".to_owned(),
                model: String::new(),
                issued_at: at(origin),
                origin: at(origin),
                at_origin: Some(2.0),
                step_s: 3_600,
                regime: None,
                leads: vec![Lead {
                    at: at(origin + 1),
                    value,
                    median: None,
                    quantiles: vec![(0.1, value - 0.1), (0.9, value + 0.1)],
                    exceed: warns
                        .map(|warns| Exceedance {
                            threshold: 2.5,
                            probability: if warns { 0.8 } else { 0.1 },
                            warns,
                        })
                        .into_iter()
                        .collect(),
                }],
                silent: vec![],
                influences: vec![],
                notes: vec![],
            },
        }
    }

    /// A two-by-two table by hand: origin, what was said, what came an hour later.
    #[test]
    fn scores_equal_a_table_by_hand() {
        let told = [
            (0, 2.6, Some(true), 2.7),  // hit
            (1, 2.6, Some(true), 2.4),  // false alarm
            (2, 2.4, Some(false), 2.6), // miss
            (3, 2.0, Some(false), 2.1), // neither
            (4, 2.7, Some(true), 2.6),  // hit
        ];
        let rows: Vec<LedgerForecast> = told
            .iter()
            .rev()
            .map(|(origin, value, warns, _)| row(*origin, *origin, *value, *warns))
            .collect();
        let came = told
            .iter()
            .map(|(origin, .., value)| (at(origin + 1).ms(), *value))
            .collect();
        let found = compare(&rows, &Observed(came), Some(2.5), at(100));
        let shown = source_json("onemap", &found["onemap"], Some(2.5));
        let lead = &shown["leads"][0];
        assert_eq!(
            lead["table"],
            json!({"hits": 2, "misses": 1, "false_alarms": 1, "correct_silences": 1})
        );
        let near = |name: &str, expected: f64| {
            let value = lead[name].as_f64().unwrap();
            assert!((value - expected).abs() < 1e-9, "{name}: {value}, not {expected}");
        };
        near("pod", 2.0 / 3.0);
        near("far", 1.0 / 3.0);
        near("csi", 0.5);
        // Errors 0.1, 0.2, 0.2, 0.1, 0.1; of persistence 0.7, 0.4, 0.6, 0.1, 0.6.
        near("mae", 0.7 / 5.0);
        near("rmse", (0.11f64 / 5.0).sqrt());
        near("skill", 1.0 - 0.11 / 1.38);
        near("coverage80", 3.0 / 5.0);
        near("brier", (0.04 + 0.64 + 0.81 + 0.01 + 0.04) / 5.0);
        assert_eq!(shown["skill_ends_s"], 3_600);
    }

    #[test]
    fn what_was_said_after_it_came_is_no_forecast() {
        let rows = [
            row(5, 5, 2.0, None),
            row(4, 4, 2.0, None),
            row(1, 2, 2.0, None),
            row(0, 0, 2.0, None),
        ];
        let observed = Observed(vec![(at(1).ms() + 20 * 60_000, 2.2), (at(2).ms(), 2.2)]);
        let found = compare(&rows, &observed, None, at(5));
        let came = &found["onemap"][&3_600];
        assert_eq!(
            (came.rows.len(), came.late, came.missing, came.pending),
            (1, 1, 1, 1)
        );
        assert_eq!(came.rows[0].observed, 2.2);
    }

    #[test]
    fn what_is_said_again_is_no_other_case() {
        // Newest first: handed in again later, with another value, and once more after it came.
        let rows = [row(0, 2, 9.0, None), row(0, 0, 2.5, None), row(0, 0, 2.0, None)];
        let observed = Observed(vec![(at(1).ms(), 2.2)]);
        let found = compare(&rows, &observed, None, at(5));
        let came = &found["onemap"][&3_600];
        assert_eq!((came.rows.len(), came.late), (1, 0));
        assert_eq!(came.rows[0].mean, 2.0);
    }

    #[test]
    fn skill_ends_at_the_first_lead_without() {
        assert_eq!(
            ends(&[(1, Some(0.5)), (2, Some(0.1)), (3, Some(-0.1)), (6, Some(0.2))]),
            Some(2)
        );
        assert_eq!(ends(&[(1, None), (2, Some(0.1))]), None);
    }

    #[test]
    fn what_is_said_without_a_distribution_is_certain() {
        let mut lead = row(0, 0, 2.0, None).forecast.leads.remove(0);
        let levels = at_levels(&lead);
        // Of the 10th and the 90th percentile: straight between, and no further.
        assert!((levels[5] - 2.0).abs() < 1e-12);
        assert_eq!((levels[0], levels[10]), (1.9, 2.1));
        lead.quantiles.clear();
        assert_eq!(at_levels(&lead), vec![2.0; LEVELS.len()]);
    }
}
