//! Readings in over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use onemap_model::Refusal;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::keep::Arrived;
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Unread;
use crate::views::Views;

/// Only what the door must know; the pipeline decodes the rest.
#[derive(Deserialize)]
struct Posted<'a> {
    device: String,
    #[serde(borrow)]
    readings: Vec<&'a serde_json::value::RawValue>,
}

/// Device and number of readings, of JSON or (by its first byte) CBOR.
fn posted(body: &[u8]) -> Result<(String, usize), (Refusal, String)> {
    if onemap_wire::cbor::is_cbor(body) {
        let (device, n) = onemap_wire::native::cbor::posted(body)
            .map_err(|broken| (Refusal::BrokenCbor, broken.to_string()))?;
        let device = device.ok_or((Refusal::WrongShape, "missing field `device`".to_owned()))?;
        return Ok((device, n));
    }
    match serde_json::from_slice::<Posted<'_>>(body) {
        Ok(posted) => Ok((posted.device, posted.readings.len())),
        Err(fault) => Err((Refusal::BrokenJson, fault.to_string())),
    }
}

/// Keeps posted readings; the answer comes when they are durable. What single readings are worth is
/// decided by the pipeline: refused ones are in the quarantine.
pub(crate) async fn post(
    State(views): State<Arc<Views>>,
    ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>,
    caller: Caller,
    body: Unread,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let scope = caller.scope();
    let body = body.read().await?;
    let peer = peer.to_string();
    let mut arrived = Arrived {
        device: "",
        peer: &peer,
        topic: onemap_wire::decode::HTTP_READINGS,
        payload: &body,
    };
    // A body that cannot be read is refused by its status, counted, and its first bytes are kept.
    let (device, n_readings) = match posted(&body) {
        Ok(posted) => posted,
        Err((refusal, detail)) => {
            arrived.refuse(&views, refusal, &detail).await?;
            return Err(Problem::bad_request("bad_body", detail));
        }
    };
    let device = views
        .device(scope, &device)
        .ok_or_else(|| Problem::not_found("unknown_device", format!("no device is called `{device}`")))?;
    arrived.device = device.id.as_str();
    let position = arrived.keep(&views).await?;
    Ok((
        StatusCode::ACCEPTED,
        Json(json!({"position": position, "readings": n_readings})),
    ))
}
