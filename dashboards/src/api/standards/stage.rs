//! Where the levels of a station stand to its own stages, over its own datum, and the flow that belongs to them.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use onemap_model::hydrology::{DatumName, NoFlow};
use onemap_model::{Hydrology, Quantity, SeriesKey, Timestamp};
use onemap_standards::stage::{Stage, Stages, Trend, standards};
use onemap_store::history::Version;
use onemap_store::reviewed::{Best, Reviewed};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::hydrology;
use crate::api::query::basis::{Basis, reviewed};
use crate::api::query::kept::KeptRow;
use crate::api::query::marks::Marks;
use crate::api::query::page::Given;
use crate::api::query::span::Span;
use crate::api::query::walk::Chosen;
use crate::api::rows::{self, Rows, Turns};
use crate::api::{devices, limit, time};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Params;
use crate::views::{Views, quality_names};

const QUANTITY: &str = "water_level";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StageQuery {
    device: String,
    /// One level as the gauge sends it, in place of those in the history.
    level: Option<f64>,
    /// When that level is.
    at: Option<String>,
    from: Option<String>,
    to: Option<String>,
    known_at: Option<String>,
    basis: Option<Basis>,
    limit: Option<usize>,
    after: Option<String>,
}

/// A level.
#[derive(Serialize)]
struct Item {
    #[serde(skip_serializing_if = "Option::is_none")]
    basis: Option<&'static str>,
    datum: Option<DatumName>,
    flow: Option<f64>,
    /// m over the datum.
    height: Option<f64>,
    /// m over the gauge's zero; null when a review says that there is none, or a correction made it one that cannot be.
    level: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_flow: Option<NoFlow>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    quality: Vec<&'static str>,
    /// Null is unknown, not normal.
    stage: Option<Stage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage_en: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage_zh: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    standard: Option<&'static str>,
    t: Timestamp,
    /// Against the level before it in the answer.
    trend: Option<Trend>,
}

impl Item {
    /// Of a level that may be judged by; `before` is the height before it.
    fn of(known: &Hydrology, t: Timestamp, level: Option<f64>, before: Option<f64>) -> Self {
        let law = standards().at(t);
        let height = level.and_then(|level| known.height_m(t, level));
        let stages = known.stages(t).map(|stages| Stages {
            warning: stages.warning,
            guaranteed: stages.guaranteed,
            highest: stages.highest,
        });
        let stage = height.and_then(|height| stages?.stage(height));
        let name = stage.and_then(|stage| law?.name(stage));
        let flow = level.map(|level| known.flow(t, level));
        Self {
            basis: None,
            datum: known.datum(t).map(|datum| datum.datum),
            flow: flow.and_then(Result::ok),
            height,
            level,
            no_flow: flow.and_then(Result::err),
            quality: Vec::new(),
            stage,
            stage_en: name.map(|name| name.en.as_str()),
            stage_zh: name.map(|name| name.zh.as_str()),
            standard: law.map(|law| law.edition.id.as_str()),
            t,
            trend: before.and_then(|before| law?.trend(before, height?)),
        }
    }

    /// Of a value of the history. One that no rule would judge by is shown and has neither stage nor flow.
    fn of_value(known: &Hydrology, version: &Version, found: &Reviewed, before: Option<f64>) -> Self {
        let t = version.measured_at;
        let (basis, level, counts) = match found.best(t, &version.value) {
            Best::Raw => ("raw", version.value.number(), version.quality.judgeable()),
            Best::Corrected(level) => ("corrected", Some(level), version.quality.judgeable()),
            Best::Reviewed(value, _) => ("reviewed", value.number(), true),
            Best::Doubted(value, _) => ("reviewed", value.number(), false),
            Best::Invalid(_) | Best::Implausible(Some(_)) => ("reviewed", None, true),
            Best::Implausible(None) => ("corrected", None, true),
        };
        let item = Self::of(known, t, level.filter(|_| counts), before);
        Self {
            basis: Some(basis),
            level,
            quality: quality_names(version.quality),
            ..item
        }
    }
}

pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    Extension(turns): Extension<Turns>,
    caller: Caller,
    Params(query): Params<StageQuery>,
) -> Result<Response, Problem> {
    let scope = caller.scope();
    let device = devices::find(&views, scope, &query.device)?;
    let known = hydrology::known(&views, &device).ok_or_else(|| {
        Problem::not_found(
            "no_hydrology",
            format!(
                "`{}` has no stages: PUT /api/v1/devices/{{id}}/hydrology",
                device.id
            ),
        )
    })?;
    if let Some(level) = query.level {
        if !level.is_finite() {
            return Err(Problem::bad_request("bad_level", "level is a number in m"));
        }
        let at = query.at.as_deref().map(|t| time("at", t)).transpose()?;
        let item = Item::of(&known, at.unwrap_or(views.now()), Some(level), None);
        let answer = json!({"device": device.id, "items": [item], "next": null});
        return Ok(rows::json(answer.to_string()));
    }
    if query.at.is_some() {
        return Err(Problem::bad_request(
            "bad_parameter",
            "at= is for one level: say level= too",
        ));
    }
    let span = Span::parse(query.from.as_deref(), query.to.as_deref(), views.now())?;
    let known_at = query
        .known_at
        .as_deref()
        .map(|t| time("known_at", t))
        .transpose()?;
    let limit = limit(query.limit, 10_000)?;
    let mut given: Option<Given> = query.after.as_deref().map(str::parse).transpose()?;
    let key = Quantity::named(QUANTITY).map(|quantity| SeriesKey {
        device: device.id.clone(),
        quantity,
        channel: known.channel,
    });
    let series = key.and_then(|key| Some((views.history.series_id(&key)?, key)));
    let (id, key) = series.ok_or_else(|| {
        let what = format!(
            "nothing was measured of {}/{QUANTITY}/{}",
            device.id, known.channel
        );
        Problem::not_found("unknown_series", what)
    })?;
    let basis = Basis::of_one(Some(query.basis.unwrap_or(Basis::Best)), "a stage is")?;
    let all = reviewed(&views, basis, vec![key], (span.from, span.to), known_at).await?;
    let found = all.into_iter().next().unwrap_or_default();
    let chosen = Chosen {
        from: span.from,
        to: span.to,
        marks: Marks::Any,
        known_at,
        revisions: false,
        received: false,
    };
    let kept = KeptRow::of(&views, [id], span.from);
    let around = (
        format!(
            "\"device\":{},\"from\":{},{}",
            json!(device.id),
            json!(span.from),
            KeptRow::fields(kept)
        ),
        format!(",\"to\":{}", json!(span.to)),
    );
    let mut before = None;
    let piece = move |views: &Views, n: usize, rows: &mut Rows| {
        chosen.page(views, id, &mut given, n, rows, &mut |rows, version| {
            let datum = known.datum(version.measured_at).map(|datum| datum.from);
            // Heights over two datums have no trend.
            let last = before
                .filter(|(_, over)| *over == datum)
                .map(|(height, _)| height);
            let item = Item::of_value(&known, &version, &found, last);
            before = item.height.map(|height| (height, datum)).or(before);
            rows.push(&item);
        })
    };
    rows::answer(views, turns, limit, around, piece).await
}
