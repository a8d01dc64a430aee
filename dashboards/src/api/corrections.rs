//! Corrections of series: an offset and a factor that hold from one measuring time to another.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use onemap_model::{Correction, Quantity, Timestamp, Verb};
use onemap_store::ledger::SeriesActKind;
use serde::Deserialize;
use serde_json::Value;

use crate::api::review_problem;
use crate::api::series_acts::{self, ActsQuery, WithdrawBody, has_values, key, list_acts, record};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{Body, NoParams, Params};
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
    _: NoParams,
    Body(body): Body<CorrectionBody>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let scope = caller.scope();
    let series = key(&views, scope, &body.device, body.quantity, body.ch)?;
    let correction = Correction {
        series,
        from: body.from,
        to: body.to,
        factor: body.factor,
        offset: body.offset,
        name: body.name,
        reason: body.reason,
    };
    correction.check().map_err(|fault| review_problem(&fault))?;
    has_values(&views, &correction.series)?;
    let shown = record(&views, scope, Verb::Correct(Box::new(correction))).await?;
    Ok((StatusCode::CREATED, shown))
}

/// Withdraws a correction.
pub(crate) async fn withdraw(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<u64>,
    _: NoParams,
    Body(body): Body<WithdrawBody>,
) -> Result<Json<Value>, Problem> {
    series_acts::withdraw(&views, &caller, SeriesActKind::Correction, id, body).await
}
