//! Corrections of series: an offset and a factor that hold from one measuring time to another.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use onemap_model::scope::Permission;
use onemap_model::{Correction, Quantity, Timestamp, Verb};
use onemap_store::ledger::SeriesActKind;
use serde::Deserialize;
use serde_json::Value;

use crate::api::reviews::{ActsQuery, list_acts, one, record, series};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{Body, Params};
use crate::views::Views;

/// Corrections, newest first, withdrawn ones too.
pub(crate) async fn list_corrections(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<ActsQuery>,
) -> Result<Json<Value>, Problem> {
    list_acts(&views, &caller, query, SeriesActKind::Correction).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CorrectionBody {
    device: String,
    quantity: Quantity,
    #[serde(default)]
    ch: u16,
    from: Timestamp,
    to: Option<Timestamp>,
    #[serde(default = "one_to_one")]
    factor: f64,
    #[serde(default)]
    offset: f64,
    name: String,
    reason: String,
}

fn one_to_one() -> f64 {
    1.0
}

/// Corrects a series from a measuring time on.
pub(crate) async fn post(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Body(body): Body<CorrectionBody>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let scope = caller.require(Permission::Register)?;
    if body.quantity.is_state() {
        return Err(Problem::bad_request(
            "bad_quantity",
            format!("{} is a state; states are reviewed, not corrected", body.quantity),
        ));
    }
    let series = series(&views, scope, &body.device, body.quantity, body.ch)?;
    let correction = Correction {
        series,
        from: body.from,
        to: body.to,
        factor: body.factor,
        offset: body.offset,
        name: body.name,
        reason: body.reason,
    };
    let shown = record(&views, scope, Verb::Correct(Box::new(correction)), None).await?;
    Ok((StatusCode::CREATED, shown))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WithdrawBody {
    name: String,
    reason: String,
}

/// Withdraws a correction.
pub(crate) async fn withdraw(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<u64>,
    Body(body): Body<WithdrawBody>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.require(Permission::Register)?;
    let unknown = || Problem::not_found("unknown_correction", format!("no correction has the id {id}"));
    let found = one(&views, id, Some(SeriesActKind::Correction)).await?;
    let found = found.ok_or_else(unknown)?;
    let Verb::Correct(correction) = &found.act.verb else {
        return Err(unknown());
    };
    views
        .device(scope, correction.series.device.as_str())
        .ok_or_else(unknown)?;
    if found.withdrawn.is_some() {
        return Err(Problem::conflict(
            "withdrawn",
            format!("the correction {id} is withdrawn already"),
        ));
    }
    let verb = Verb::WithdrawCorrection {
        correction: id,
        series: correction.series.clone(),
        from: correction.from,
        to: correction.to,
        name: body.name,
        reason: body.reason,
    };
    record(&views, scope, verb, Some(id)).await
}
