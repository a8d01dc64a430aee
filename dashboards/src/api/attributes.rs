//! Attributes of a device: the ones it says, and the ones people set for it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use onemap_model::record::Register;
use onemap_model::{AttributeScope, Device};
use onemap_store::attributes::{MAX_BYTES, MAX_KEY_BYTES, MAX_KEYS};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::{act_problem, behind};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{Body, Params};
use crate::views::Views;

/// Scopes in the order they are shown in.
const SHOWN: [AttributeScope; 3] = [
    AttributeScope::Client,
    AttributeScope::Shared,
    AttributeScope::Server,
];

fn find(views: &Views, caller: &Caller, id: &str) -> Result<Arc<Device>, Problem> {
    views
        .device(caller.scope(), id)
        .ok_or_else(|| Problem::not_found("unknown_device", format!("no device is called `{id}`")))
}

fn shown(views: &Views, device: &Device) -> Value {
    let mut answer = json!({"device": device.id});
    for scope in SHOWN {
        let of = views.attributes.of(device.id.as_str(), scope, None).into_iter();
        answer[scope.name()] = of
            .map(|(key, a)| (key, json!({"value": a.value, "at": a.at})))
            .collect::<Map<_, _>>()
            .into();
    }
    answer
}

/// All scopes with values and times.
pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let device = find(&views, &caller, &id)?;
    Ok(Json(shown(&views, &device)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetQuery {
    scope: Option<AttributeScope>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeleteQuery {
    scope: Option<AttributeScope>,
    keys: String,
}

/// Shared unless asked otherwise; what a device says of itself is not for others to set.
fn settable(scope: Option<AttributeScope>) -> Result<AttributeScope, Problem> {
    match scope.unwrap_or(AttributeScope::Shared) {
        scope @ (AttributeScope::Shared | AttributeScope::Server) => Ok(scope),
        other => Err(Problem::bad_request(
            "bad_scope",
            format!("scope={}: shared or server attributes can be set", other.name()),
        )),
    }
}

/// Replaces a scope: what is not in the body goes.
pub(crate) async fn put(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    Params(query): Params<SetQuery>,
    Body(set): Body<Map<String, Value>>,
) -> Result<Json<Value>, Problem> {
    let device = find(&views, &caller, &id)?;
    let scope = settable(query.scope)?;
    let held = views.attributes.of(device.id.as_str(), scope, None);
    let deleted = held
        .into_iter()
        .map(|(key, _)| key)
        .filter(|key| !set.contains_key(key))
        .collect();
    change(&views, &caller, &device, scope, set, deleted).await
}

/// Sets what the body holds; null takes a key away.
pub(crate) async fn patch(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    Params(query): Params<SetQuery>,
    Body(mut set): Body<Map<String, Value>>,
) -> Result<Json<Value>, Problem> {
    let device = find(&views, &caller, &id)?;
    let scope = settable(query.scope)?;
    let deleted: Vec<String> = set
        .iter()
        .filter(|(_, value)| value.is_null())
        .map(|(key, _)| key.clone())
        .collect();
    set.retain(|_, value| !value.is_null());
    change(&views, &caller, &device, scope, set, deleted).await
}

/// Takes the keys in `keys=a,b` away.
pub(crate) async fn delete(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    Params(query): Params<DeleteQuery>,
) -> Result<Json<Value>, Problem> {
    let device = find(&views, &caller, &id)?;
    let scope = settable(query.scope)?;
    let keys = query.keys.split(',').filter(|key| !key.is_empty());
    let deleted = keys.map(str::to_owned).collect();
    change(&views, &caller, &device, scope, Map::new(), deleted).await
}

/// Journals a change that fits the bounds, and shows what follows from it.
async fn change(
    views: &Arc<Views>,
    caller: &Caller,
    device: &Device,
    scope: AttributeScope,
    set: Map<String, Value>,
    deleted: Vec<String>,
) -> Result<Json<Value>, Problem> {
    check(views, device, scope, &set, &deleted)?;
    let change = Register::Attributes {
        device: device.id.clone(),
        scope,
        set,
        deleted,
    };
    let position = views
        .acts
        .record_register(&caller.0, views.now(), vec![change])
        .await
        .map_err(act_problem)?;
    views.applied(position).await.map_err(behind)?;
    Ok(Json(shown(views, device)))
}

fn check(
    views: &Views,
    device: &Device,
    scope: AttributeScope,
    set: &Map<String, Value>,
    deleted: &[String],
) -> Result<(), Problem> {
    let limit = |detail: String| Err(Problem::bad_request("attribute_limit", detail));
    if let Some(key) = set.keys().find(|key| key.is_empty() || key.len() > MAX_KEY_BYTES) {
        return limit(format!("a key has {} bytes, not 1 to {MAX_KEY_BYTES}", key.len()));
    }
    let all = [SHOWN.as_slice(), &[AttributeScope::Fact]].concat();
    let held = all.into_iter().flat_map(|of| {
        let held = views.attributes.of(device.id.as_str(), of, None);
        held.into_iter().map(move |(key, a)| (of, key, a.value))
    });
    let stays = held.filter(|(of, key, _)| *of != scope || !(set.contains_key(key) || deleted.contains(key)));
    let size = |key: &str, value: &Value| key.len() + value.to_string().len();
    let (mut n, mut bytes) = (set.len(), set.iter().map(|(k, v)| size(k, v)).sum::<usize>());
    for (_, key, value) in stays {
        n += 1;
        bytes += size(&key, &value);
    }
    if n > MAX_KEYS || bytes > MAX_BYTES {
        return limit(format!(
            "{n} attributes of {bytes} bytes; a device has at most {MAX_KEYS} of {MAX_BYTES} bytes together"
        ));
    }
    Ok(())
}
