//! Devices that register themselves, and the keys and secrets by which they may.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use onemap_model::record::{ProvisioningStrategy, Register};
use onemap_model::{ProfileId, Source};
use onemap_store::ledger::TokenHash;
use serde::Deserialize;
use serde_json::{Value, json};

use super::POISON;
use crate::api::{act_problem, behind};
use crate::auth::{Caller, new_token};
use crate::error::Problem;
use crate::request::OptionalBody;
use crate::views::Views;

/// Largest request of a device that registers itself.
const MAX_REQUEST_BYTES: usize = 8 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    strategy: ProvisioningStrategy,
}

fn profile(views: &Views, id: &str) -> Result<ProfileId, Problem> {
    let register = views.register.read().expect(POISON);
    let known = register.view.profiles.get_key_value(id).map(|(id, _)| id.clone());
    known.ok_or_else(|| Problem::not_found("unknown_profile", format!("no profile is called `{id}`")))
}

async fn record(views: &Views, caller: &Caller, change: Register) -> Result<(), Problem> {
    let scope = caller.scope();
    let recorded = views.acts.record_register(scope, views.now(), vec![change]).await;
    let position = recorded.map_err(act_problem)?;
    views.applied(position).await.map_err(behind)
}

/// What opens a profile, without the secret.
pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    _: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let profile = profile(&views, &id)?;
    Ok(Json(match views.keys.provisioning(&profile) {
        None => json!({"profile": profile, "open": false}),
        Some(p) => json!({"profile": profile, "open": true, "key": p.key, "strategy": p.strategy,
                          "created": p.created}),
    }))
}

/// Makes a key and a secret, which stands in this answer only; the former ones end.
pub(crate) async fn open(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    OptionalBody(wanted): OptionalBody<Wanted>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let profile = profile(&views, &id)?;
    let strategy = wanted.map_or(ProvisioningStrategy::Known, |w| w.strategy);
    let fresh = || new_token().map_err(|e| Problem::internal(&e));
    let (key, secret) = (fresh()?[..20].to_owned(), fresh()?);
    let change = Register::Provisioning {
        profile: profile.clone(),
        key: key.clone(),
        sha256: TokenHash::of(&secret).to_string(),
        strategy,
    };
    record(&views, &caller, change).await?;
    let answer = json!({"profile": profile, "strategy": strategy, "provisionDeviceKey": key,
                        "provisionDeviceSecret": secret});
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Ends a profile's key and secret.
pub(crate) async fn close(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let profile = profile(&views, &id)?;
    record(&views, &caller, Register::ProvisioningEnded { profile }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A device registers itself. As in the ThingsBoard API the status stands in the body.
pub(crate) async fn provision(
    State(views): State<Arc<Views>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    body: Bytes,
) -> Result<Response, Problem> {
    if body.len() > MAX_REQUEST_BYTES {
        return Err(Problem::bad_request(
            "bad_body",
            format!("at most {MAX_REQUEST_BYTES} bytes"),
        ));
    }
    let Some(provision) = views.provision.get() else {
        return Err(Problem::unavailable("the listeners are not up"));
    };
    let answer = provision.provision(&body, Source::Http, &peer.to_string()).await;
    Ok(([(header::CONTENT_TYPE, "application/json")], answer).into_response())
}
