//! Forecasts: as they were issued, own ones and those that others hand in.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use onemap_model::forecast::{Lead, OWN, reads_as_own};
use onemap_model::{DeviceId, Forecast, Quantity, Scope, SeriesKey, Timestamp};
use onemap_store::history::SeriesId;
use onemap_store::ledger::{ForecastFilter, LedgerForecast};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::quarantine::read;
use crate::api::{act_problem, behind, limit, list, time};
use crate::auth::Caller;
use crate::error::Problem;
use crate::foresight::Gauge;
use crate::request::{Body, Params};
use crate::views::Views;

/// Most bytes of forecasts that are handed in at once.
pub(crate) const MAX_BODY: usize = 8 << 20;
/// Most forecasts that are handed in at once.
const N_FORECASTS: usize = 1_000;
/// Rows that are read at once for who is shown some of them.
const READ_ROWS: usize = 500;
/// Clocks of others may be ahead by this.
const AHEAD: Duration = Duration::from_secs(600);
/// A value at the origin is looked for within this, where the forecast states no step.
const NEAR: Duration = Duration::from_secs(3600);
/// And within a step, which is at most this.
const LONGEST_BEFORE: Duration = Duration::from_secs(86_400);

/// A forecast as a scope is shown it: of other series that it was made from only those that the scope sees.
pub(crate) fn veiled(views: &Views, scope: &Scope, mut forecast: Forecast) -> Forecast {
    if scope.is_whole() || forecast.source != OWN {
        return forecast;
    }
    let own = forecast.series.to_string();
    let names = views.foresight.of(&forecast.series).map(|gauge| gauge.inputs);
    let names = names.unwrap_or_default().into_iter();
    let told = forecast.influences.iter().map(|told| told.input.clone());
    let foreign: BTreeSet<String> = names
        .chain(told)
        .filter(|name| *name != own && !sees_series(views, scope, name))
        .collect();
    forecast.influences.retain(|told| !foreign.contains(&told.input));
    forecast
        .notes
        .retain(|note| !foreign.iter().any(|name| note.contains(name.as_str())));
    forecast
}

/// Whether a scope sees the device of a series, named as `device/quantity/channel`; what names no series is nobody's secret.
fn sees_series(views: &Views, scope: &Scope, name: &str) -> bool {
    let mut parts = name.rsplitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(_), Some(device)) => views.device(scope, device).is_some(),
        _ => true,
    }
}

/// What is known of a series that is foreseen, as a scope is shown it.
fn forecaster(views: &Views, scope: &Scope, key: &SeriesKey) -> Option<Gauge> {
    let mut gauge = views.foresight.of(key)?;
    gauge.inputs.retain(|name| sees_series(views, scope, name));
    Some(gauge)
}

/// A forecast as answers show it.
fn shown(views: &Views, scope: &Scope, row: &LedgerForecast) -> Value {
    let LedgerForecast { seq, at, .. } = row;
    let forecast = &veiled(views, scope, row.forecast.clone());
    let series = &forecast.series;
    let leads: Vec<Value> = forecast
        .leads
        .iter()
        .map(|lead| lead_json(forecast, lead))
        .collect();
    json!({
        "seq": seq, "taken_at": at, "source": forecast.source, "model": forecast.model,
        "series": series_json(views, series), "issued_at": forecast.issued_at, "origin": forecast.origin, "at_origin": forecast.at_origin,
        "step_s": forecast.step_s, "regime": forecast.regime, "leads": leads, "silent": forecast.silent,
        "influences": forecast.influences, "notes": forecast.notes,
    })
}

fn lead_json(forecast: &Forecast, lead: &Lead) -> Value {
    json!({
        "at": lead.at, "lead_s": forecast.lead_s(lead), "value": lead.value, "median": lead.middle(),
        "quantiles": lead.quantiles, "exceed": lead.exceed,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewestQuery {
    limit: Option<usize>,
    after: Option<String>,
}

/// The newest forecast of each series and source that the caller sees, by series.
pub(crate) async fn newest(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<NewestQuery>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope().clone();
    let limit = limit(query.limit, 100)?;
    let mut after = match query.after.as_deref() {
        None => Default::default(),
        Some(text) => read_cursor(text)
            .ok_or_else(|| Problem::bad_request("bad_after", "after= is the `next` of a page before"))?,
    };
    let mut found: Vec<LedgerForecast> = Vec::new();
    loop {
        let from = after.clone();
        let rows = read(&views, move |views| {
            views.ledger.newest_forecasts((&from.0, &from.1), READ_ROWS)
        })
        .await?;
        let is_end = rows.len() < READ_ROWS;
        for row in rows {
            let series = &row.forecast.series;
            after = (series.to_string(), row.forecast.source.clone());
            if views.device(&scope, series.device.as_str()).is_some() {
                found.push(row);
            }
        }
        if is_end || found.len() > limit {
            break;
        }
    }
    let is_more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| is_more);
    let next = last.map(|row| cursor_of(&row.forecast));
    let items = found.iter().map(|row| shown(&views, &scope, row));
    Ok(list(items.collect(), next))
}

/// Where a page ends: series and source, hexadecimal since a source may have any letter.
fn cursor_of(forecast: &Forecast) -> String {
    let text = format!("{}\n{}", forecast.series, forecast.source);
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn read_cursor(text: &str) -> Option<(String, String)> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
    let text = String::from_utf8(bytes?).ok()?;
    let (series, source) = text.split_once('\n')?;
    Some((series.to_owned(), source.to_owned()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ForecastersQuery {
    limit: Option<usize>,
    after: Option<String>,
}

/// What the server foresees, with its models or why there is none, by series.
pub(crate) async fn forecasters(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<ForecastersQuery>,
) -> Result<Json<Value>, Problem> {
    let limit = limit(query.limit, 100)?;
    let mut seen = views
        .foresight
        .behind(query.after.as_deref().unwrap_or_default())
        .into_iter()
        .filter(|(_, key, _)| views.device(caller.scope(), key.device.as_str()).is_some());
    let page: Vec<_> = seen.by_ref().take(limit).collect();
    let next = page.last().filter(|_| seen.next().is_some());
    let next = next.map(|(name, ..)| name.clone());
    let items = page
        .iter()
        .map(|(_, key, _)| json!({"series": series_json(&views, key), "forecaster": forecaster(&views, caller.scope(), key)}));
    Ok(list(items.collect(), next))
}

fn series_json(views: &Views, series: &SeriesKey) -> Value {
    json!({
        "id": views.history.series_id(series).map(|id| id.0), "device": series.device,
        "quantity": series.quantity, "ch": series.channel, "unit": series.quantity.definition().unit,
    })
}

/// A series that the caller sees.
///
/// # Errors
/// 404 `unknown_series`.
pub(crate) fn known_series(views: &Views, scope: &Scope, id: u32) -> Result<(SeriesId, SeriesKey), Problem> {
    let id = SeriesId(id);
    let key = views
        .history
        .series_key(id)
        .filter(|key| views.device(scope, key.device.as_str()).is_some());
    key.map(|key| (id, key))
        .ok_or_else(|| Problem::not_found("unknown_series", format!("no series has the id {}", id.0)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    source: Option<String>,
    from: Option<String>,
    to: Option<String>,
    known_at: Option<String>,
    limit: Option<usize>,
    after: Option<u64>,
}

/// Forecasts of a series as they were issued, newest first.
pub(crate) async fn of_series(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<u32>,
    Params(query): Params<Query>,
) -> Result<Json<Value>, Problem> {
    let (_, key) = known_series(&views, caller.scope(), id)?;
    let limit = limit(query.limit, 1)?;
    let moment = |name: &str, text: &Option<String>| text.as_deref().map(|text| time(name, text)).transpose();
    let filter = ForecastFilter {
        series: Some(key.to_string()),
        source: query.source.clone(),
        from: moment("from", &query.from)?,
        to: moment("to", &query.to)?,
        known_at: moment("known_at", &query.known_at)?,
    };
    if filter.from.zip(filter.to).is_some_and(|(from, to)| from >= to) {
        return Err(Problem::bad_request("bad_range", "from= lies before to="));
    }
    let after = query.after;
    let mut page = read(&views, move |views| {
        views.ledger.forecasts(&filter, after, limit + 1)
    })
    .await?;
    let is_more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| is_more).map(|last| last.seq.to_string());
    let items: Vec<Value> = page
        .iter()
        .map(|row| shown(&views, caller.scope(), row))
        .collect();
    Ok(Json(
        json!({"items": items, "next": next, "forecaster": forecaster(&views, caller.scope(), &key)}),
    ))
}

/// Asks for a new model of a series that the server foresees.
pub(crate) async fn train(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<u32>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (_, key) = known_series(&views, caller.scope(), id)?;
    match views.foresight.order(&key) {
        true => {
            let body = json!({"forecaster": forecaster(&views, caller.scope(), &key)});
            Ok((StatusCode::ACCEPTED, Json(body)))
        }
        false => Err(Problem::conflict(
            "not_foreseen",
            format!("{key} is not foreseen: [[forecast.series]] of the configuration names those that are"),
        )),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HandedIn {
    source: String,
    #[serde(default)]
    model: String,
    issued_at: Timestamp,
    forecasts: Vec<OfOne>,
}

/// The forecast of one series.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfOne {
    device: DeviceId,
    quantity: Quantity,
    #[serde(default)]
    ch: u16,
    /// When absent, that of issuing.
    origin: Option<Timestamp>,
    at_origin: Option<f64>,
    #[serde(default)]
    step_s: u32,
    leads: Vec<Lead>,
    #[serde(default)]
    notes: Vec<String>,
}

/// The newest value that may be judged within a while before a time.
fn value_at(views: &Views, series: &SeriesKey, at: Timestamp, within: Duration) -> Option<f64> {
    let id = views.history.series_id(series)?;
    let mut newest = None;
    let mut take = |point: onemap_store::history::Point| {
        if point.quality.judgeable() {
            newest = point.value.number().or(newest);
        }
        ControlFlow::Continue(())
    };
    let to = at + Duration::from_millis(1);
    views
        .history
        .scan(id, at.saturating_sub(within), to, &mut take)
        .ok()?;
    newest
}

/// Fills in the values at origins that nobody stated, each looked up once.
async fn with_origins(views: &Arc<Views>, mut forecasts: Vec<Forecast>) -> Result<Vec<Forecast>, Problem> {
    let views = views.clone();
    let filled = tokio::task::spawn_blocking(move || {
        let mut known: BTreeMap<(SeriesKey, Timestamp, Duration), Option<f64>> = BTreeMap::new();
        for forecast in forecasts
            .iter_mut()
            .filter(|forecast| forecast.at_origin.is_none())
        {
            let within = match forecast.step_s {
                0 => NEAR,
                step_s => Duration::from_secs(u64::from(step_s)).min(LONGEST_BEFORE),
            };
            let key = (forecast.series.clone(), forecast.origin, within);
            let value = known
                .entry(key)
                .or_insert_with(|| value_at(&views, &forecast.series, forecast.origin, within));
            forecast.at_origin = *value;
        }
        forecasts
    });
    filled.await.map_err(|e| Problem::internal(&e))
}

/// Takes forecasts of others, with the time at which they were issued.
pub(crate) async fn post(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Body(handed): Body<HandedIn>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let scope = caller.scope();
    let bad = |detail: String| Problem::bad_request("bad_forecast", detail);
    if reads_as_own(&handed.source) {
        return Err(bad(format!(
            "source: `{OWN}` is what the server's own forecasts are called"
        )));
    }
    let n = handed.forecasts.len();
    if n == 0 || n > N_FORECASTS {
        return Err(bad(format!("forecasts: 1 to {N_FORECASTS} at once, not {n}")));
    }
    let now = views.now();
    if handed.issued_at > now + AHEAD {
        return Err(bad(format!("issued_at: {} is yet to come", handed.issued_at)));
    }
    let mut forecasts = Vec::with_capacity(n);
    for (index, one) in handed.forecasts.into_iter().enumerate() {
        if views.device(scope, one.device.as_str()).is_none() {
            return Err(Problem::not_found(
                "unknown_device",
                format!("forecasts[{index}]: no device is called `{}`", one.device),
            ));
        }
        let series = SeriesKey {
            device: one.device,
            quantity: one.quantity,
            channel: one.ch,
        };
        let origin = one.origin.unwrap_or(handed.issued_at);
        let forecast = Forecast {
            at_origin: one.at_origin,
            series,
            source: handed.source.clone(),
            model: handed.model.clone(),
            issued_at: handed.issued_at,
            origin,
            step_s: one.step_s,
            regime: None,
            leads: one.leads,
            silent: Vec::new(),
            influences: Vec::new(),
            notes: one.notes,
        };
        forecast
            .check()
            .map_err(|error| bad(format!("forecasts[{index}]: {error}")))?;
        forecasts.push(forecast);
    }
    let forecasts = with_origins(&views, forecasts).await?;
    let position = views
        .acts
        .record_forecasts(scope, now, forecasts)
        .await
        .map_err(act_problem)?;
    views.applied(position).await.map_err(behind)?;
    Ok((
        StatusCode::CREATED,
        Json(json!({"position": position, "forecasts": n})),
    ))
}
