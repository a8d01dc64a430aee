//! Commands for devices that speak HTTP: fetched by long poll, answered by POST, and the device's own
//! questions. The token in the path says who it is.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use onemap_ingest::downlink::message;
use onemap_log::Batch;
use onemap_model::record::KIND_COMMAND;
use onemap_model::{CommandRecord, CommandStep, Device, DeviceState, Over, Record};
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::api::device_http;
use crate::api::keep::Arrived;
use crate::error::Problem;
use crate::request::{Params, Unread};
use crate::rpc;
use crate::views::{Notice, Views};

/// Longest time that a fetch waits for a command.
const LONGEST_POLL: Duration = Duration::from_secs(60);

/// The device that holds a token.
fn holder(views: &Views, token: &str) -> Result<Arc<Device>, Problem> {
    let id = device_http::holder(views, token)?;
    let register = views.register.read().expect("no holder of this lock panics");
    let device = register.view.devices.get(id.as_str()).cloned();
    device
        .filter(|device| device.state != DeviceState::Retired)
        .ok_or_else(device_http::nobody)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Poll {
    /// Milliseconds.
    timeout: Option<u64>,
}

/// The next command, `{"id":…,"method":…,"params":…}`; 408 when none came in time.
pub(crate) async fn fetch(
    State(views): State<Arc<Views>>,
    axum::Extension(stop): axum::Extension<CancellationToken>,
    Path(token): Path<String>,
    Params(poll): Params<Poll>,
) -> Result<Response, Problem> {
    let device = holder(&views, &token)?;
    let limit = Duration::from_millis(poll.timeout.unwrap_or(0)).min(LONGEST_POLL);
    let (mut notices, mut ends) = (views.notices.subscribe(), views.keys.ends());
    let waiting = async {
        loop {
            // The token may have ended while it waited.
            if !holder(&views, &token).is_ok_and(|now| now.id == device.id) {
                return None;
            }
            let next = views.commands.work().fetch(device.id.as_str(), views.now());
            if next.is_some() {
                return next;
            }
            loop {
                let notice = tokio::select! {
                    notice = notices.recv() => notice,
                    _ = ends.changed() => break,
                };
                match notice {
                    Ok(Notice::Command(_)) => break,
                    Ok(_) => {}
                    Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => break,
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => return None,
                }
            }
        }
    };
    let command = tokio::select! {
        biased;
        found = waiting => found,
        () = tokio::time::sleep(limit) => None,
        () = stop.cancelled() => None,
    };
    let Some(command) = command else {
        holder(&views, &token)?;
        return Err(Problem::timed_out("no command waits"));
    };
    let (at, id, over) = (views.now(), command.id, Over::Http);
    let mut batch = Batch::new();
    for what in [
        CommandStep::Sent { id, over, qos: 1 },
        CommandStep::Received { id },
    ] {
        let (_, body) = Record::Command(CommandRecord { at, what }).encode();
        batch.push(KIND_COMMAND, |out| out.extend_from_slice(&body));
    }
    if let Err(error) = keep(&views, &batch).await {
        views.commands.work().outbox.unsend(id);
        return Err(error);
    }
    let payload = message::payload(over, &command, None);
    Ok(([(axum::http::header::CONTENT_TYPE, "application/json")], payload).into_response())
}

async fn keep(views: &Views, batch: &Batch) -> Result<(), Problem> {
    let position = views
        .log
        .append(batch)
        .await
        .map_err(|e| Problem::unavailable(e.to_string()))?;
    views
        .log
        .wait_durable(position)
        .await
        .map_err(|e| Problem::unavailable(e.to_string()))
        .map(|_| ())
}

/// The device answers a command; 200 when the answer is durable.
pub(crate) async fn answer(
    State(views): State<Arc<Views>>,
    ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>,
    Path((token, id)): Path<(String, u64)>,
    body: Unread,
) -> Result<StatusCode, Problem> {
    let device = holder(&views, &token)?;
    let body = body.read().await?;
    let (peer, topic) = (peer.to_string(), format!("d/{}/rpc/response/{id}", device.id));
    let arrived = Arrived {
        device: device.id.as_str(),
        peer: &peer,
        topic: &topic,
        payload: &body,
    };
    arrived.keep(&views).await?;
    Ok(StatusCode::OK)
}

#[derive(Deserialize)]
pub(crate) struct Question {
    method: String,
}

/// The device asks the server.
pub(crate) async fn ask(
    State(views): State<Arc<Views>>,
    Path(token): Path<String>,
    body: Unread,
) -> Result<Json<Value>, Problem> {
    let device = holder(&views, &token)?;
    let question: Question = body.json().await?;
    Ok(Json(rpc::answer(&views, &device, &question.method)))
}
