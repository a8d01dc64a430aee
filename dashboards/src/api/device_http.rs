//! The ThingsBoard device API over HTTP: the token stands in the path.
//!
//! The token never goes further: not into the journal's topic, nor a log, nor a problem's text.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use onemap_model::{AttributeScope, DeviceId, Refusal};
use onemap_wire::thingsboard::attributes::Wanted;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::api::keep::Arrived;
use crate::error::Problem;
use crate::request::{Params, Unread};
use crate::views::Views;

/// How long an answer waits for what was said just before it.
const CATCH_UP: Duration = Duration::from_secs(2);
/// Largest body of a device.
pub(crate) const MAX_BODY: usize = 1 << 20;

/// The device that holds a token.
pub(crate) fn holder(views: &Views, token: &str) -> Result<DeviceId, Problem> {
    // Tokens are made by onemap and have one length; an imported one may be shorter.
    let device = (token.len() <= 256).then(|| views.keys.device(token)).flatten();
    device.ok_or_else(|| {
        views.counters.refuse(Refusal::WrongToken);
        nobody()
    })
}

/// The answer to a token that no device holds.
pub(crate) fn nobody() -> Problem {
    Problem::wrong_credential(
        "DeviceToken",
        "路径中应为设备令牌 /api/v1/{设备令牌}/…，此令牌无效；不使用 Authorization 请求头。A device's token is expected in \
         the path, /api/v1/{device token}/…, and no device holds this one; the Authorization header is not looked at \
         (onemap device token ID makes a new one)",
    )
}

async fn keep(
    views: &Views,
    peer: std::net::SocketAddr,
    token: &str,
    word: &str,
    body: Unread,
) -> Result<StatusCode, Problem> {
    // Before the body is read: who holds no token fills no memory.
    let device = holder(views, token)?;
    let body = body.read().await?;
    let body = match &body[..] {
        b"" if word == "claim" => b"{}",
        body => body,
    };
    let (peer, topic) = (peer.to_string(), format!("d/{device}/{word}"));
    let arrived = Arrived {
        device: device.as_str(),
        peer: &peer,
        topic: &topic,
        payload: body,
    };
    if let Err(fault) = serde_json::from_slice::<IgnoredAny>(body) {
        let detail = fault.to_string();
        arrived.refuse(views, Refusal::BrokenJson, &detail).await?;
        return Err(Problem::bad_request("broken_json", detail));
    }
    arrived.keep(views).await?;
    views.links.heard(&device, &peer);
    Ok(StatusCode::OK)
}

/// Telemetry; 200 once it is durable.
pub(crate) async fn telemetry(
    State(views): State<Arc<Views>>,
    ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>,
    Path(token): Path<String>,
    body: Unread,
) -> Result<StatusCode, Problem> {
    keep(&views, peer, &token, "telemetry", body).await
}

/// Client attributes; 200 once they are durable.
pub(crate) async fn post_attributes(
    State(views): State<Arc<Views>>,
    ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>,
    Path(token): Path<String>,
    body: Unread,
) -> Result<StatusCode, Problem> {
    keep(&views, peer, &token, "attributes", body).await
}

/// A request to be claimed; 200 once it is durable.
pub(crate) async fn claim(
    State(views): State<Arc<Views>>,
    ConnectInfo(peer): ConnectInfo<std::net::SocketAddr>,
    Path(token): Path<String>,
    body: Unread,
) -> Result<StatusCode, Problem> {
    keep(&views, peer, &token, "claim", body).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Asked {
    client_keys: Option<String>,
    shared_keys: Option<String>,
}

/// Attributes by their keys, or all.
pub(crate) async fn attributes(
    State(views): State<Arc<Views>>,
    Path(token): Path<String>,
    Params(asked): Params<Asked>,
) -> Result<Json<Value>, Problem> {
    let device = holder(&views, &token)?;
    // What this device said a moment ago is in the answer, unless the pipeline is far behind.
    let durable = *views.log.durable().borrow();
    let _ = tokio::time::timeout(CATCH_UP, views.applied_whenever(durable)).await;
    let wanted = Wanted::of(asked.client_keys.as_deref(), asked.shared_keys.as_deref());
    let mut answer = Map::new();
    let scopes = [
        (AttributeScope::Client, wanted.client),
        (AttributeScope::Shared, wanted.shared),
    ];
    for (scope, keys) in scopes {
        if keys.as_ref().is_none_or(|keys| !keys.is_empty()) {
            let values = views.attributes.values(device.as_str(), scope, keys.as_deref());
            answer.insert(scope.name().to_owned(), values.into());
        }
    }
    Ok(Json(answer.into()))
}
