//! Old readings in: the backfill lane.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use onemap_log::Batch;
use onemap_model::record::KIND_FRAME;
use onemap_model::{Frame, Source};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Unread;
use crate::views::{ImportOutcome, Views};

/// Records that the pipeline may be behind before an import waits for it.
const N_LAG: u64 = 2_000;
/// Most readings of one request: what is measured now waits for a piece of this size at most.
const MAX_READINGS: usize = 2_000;

/// How long a request waits to be stored.
const PATIENCE: Duration = Duration::from_secs(45);

#[derive(Deserialize)]
struct Posted<'a> {
    device: String,
    #[serde(borrow)]
    readings: Vec<&'a serde_json::value::RawValue>,
}

/// Takes old readings, in the shape of `POST /api/v1/readings`, and answers when they are stored with
/// what became of them, row by row where they were refused. They page nobody and do not make their device look alive.
///
/// Live data comes first: one import at a time is on its way, and it waits while the pipeline is behind.
/// The same request again stores nothing twice.
pub(crate) async fn post(
    State(views): State<Arc<Views>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    caller: Caller,
    body: Unread,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let body = body.read().await?;
    let posted: Posted<'_> =
        serde_json::from_slice(&body).map_err(|fault| Problem::bad_request("bad_body", fault.to_string()))?;
    let n = posted.readings.len();
    if n > MAX_READINGS {
        return Err(Problem::bad_request(
            "too_many_readings",
            format!("{n} readings: at most {MAX_READINGS} in one request"),
        ));
    }
    let device = views.device(scope, &posted.device).ok_or_else(|| {
        Problem::not_found(
            "unknown_device",
            format!("no device is called `{}`", posted.device),
        )
    })?;
    let _turn = views.imports.turn().await;
    caught_up(&views).await;
    let frame = Frame {
        received_at: views.now(),
        source: Source::Import,
        refused: None,
        qos: 0,
        retain: false,
        device: device.id.as_str(),
        peer: &peer.to_string(),
        topic: "/api/v1/readings",
        payload: &body,
    };
    let mut batch = Batch::new();
    batch.push(KIND_FRAME, |out| frame.encode(out));
    let unavailable = |e: onemap_log::LogError| Problem::unavailable(e.to_string());
    let position = views.log.append(&batch).await.map_err(unavailable)?;
    views.log.wait_durable(position).await.map_err(unavailable)?;
    if tokio::time::timeout(PATIENCE, views.applied_whenever(position))
        .await
        .is_err()
    {
        return Err(Problem::unavailable(format!(
            "record {position} is kept and not stored yet; the same request again stores nothing twice"
        )));
    }
    // It is there: only a stop between the two takes it away, and the same request tells it again.
    let ImportOutcome {
        stored,
        errors,
        errors_left_off,
    } = views.imports.take(position).unwrap_or_default();
    Ok(Json(json!({
        "position": position, "readings": n, "stored": stored,
        "errors": errors, "errors_left_off": errors_left_off,
    })))
}

/// Waits while the pipeline is further behind than live readings should be.
async fn caught_up(views: &Views) {
    loop {
        let durable = views.log.status().durable;
        if durable.saturating_sub(views.progress.borrow().applied) <= N_LAG {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
