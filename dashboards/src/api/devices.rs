//! Devices, profiles, quantities.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use onemap_model::record::Register;
use onemap_model::scope::Permission;
use onemap_model::{AttributeScope, Device, DeviceId, DivisionCode, ProfileId, Quantity, Scope};
use onemap_store::ledger::TokenHash;
use onemap_wire::profile::Profile;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{act_problem, behind, limit, list};
use crate::auth::{Caller, new_token};
use crate::error::Problem;
use crate::request::{Bbox, Body, Params};
use crate::views::{self, Folders, Seen, Views, condition_name};

const POISON: &str = "no holder of this lock panics";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    division: Option<DivisionCode>,
    kind: Option<String>,
    bbox: Option<String>,
    limit: Option<usize>,
    after: Option<String>,
}

pub(crate) async fn list_devices(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<Query>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.require(Permission::View)?;
    let bbox = query.bbox.as_deref().map(Bbox::parse).transpose()?;
    let limit = limit(query.limit, super::MAX_LIMIT)?;
    let register = views.register.read().expect(POISON);
    let seen = views.seen.read().expect(POISON);
    let mut items = Vec::new();
    let mut next = None;
    for (id, device) in &register.view.devices {
        let division = register.divisions.get(id);
        let wanted = query.after.as_deref().is_none_or(|after| id.as_str() > after)
            && scope.covers(division)
            && query
                .division
                .as_ref()
                .is_none_or(|d| division.is_some_and(|own| d.covers(own)))
            && query.kind.as_deref().is_none_or(|kind| *device.kind == *kind)
            && bbox.is_none_or(|b| device.position.is_some_and(|p| b.holds(p.lon(), p.lat())));
        if !wanted {
            continue;
        }
        if items.len() == limit {
            next = items
                .last()
                .and_then(|last: &Value| last["id"].as_str())
                .map(str::to_owned);
            break;
        }
        let cadence_s = register.cadence_s(device);
        items.push(device_json(
            &views,
            device,
            division,
            seen.get(id).copied(),
            cadence_s,
        ));
    }
    Ok(list(items, next))
}

pub(crate) fn device_json(
    views: &Views,
    device: &Device,
    division: Option<&DivisionCode>,
    seen: Option<Seen>,
    cadence_s: u32,
) -> Value {
    let now = views.now();
    let limit = views::silence_limit(cadence_s);
    let stale = Views::stale(limit, seen, now);
    let watch = views.watch.read().expect(POISON);
    let watched = watch.of(device.id.as_str());
    let mut conditions = Vec::new();
    let rows: Vec<Value> = views
        .series_of(&device.id)
        .iter()
        .map(|(id, key)| {
            let stale = Views::series_stale(&watch, key, cadence_s, seen, now);
            let state = Views::shown(views.condition(*id), stale);
            conditions.push(state);
            let heard = watched.and_then(|w| w.series_heard_at(key.quantity, key.channel));
            json!({"id": id.0, "quantity": key.quantity, "ch": key.channel,
                   "state": condition_name(state), "stale": stale, "last_received": heard})
        })
        .collect();
    let fact = |key: &str| {
        let fact = views
            .attributes
            .get(device.id.as_str(), AttributeScope::Fact, key);
        fact.map(|fact| fact.value)
    };
    let status = Views::shown(views::worst(conditions.into_iter()), stale);
    let clock = watched.and_then(|w| Some((w.clock().offset()?, w.is_off())));
    let clock = clock
        .map(|(offset, off)| json!({"ahead_ms": offset.ahead_ms, "bound_ms": offset.bound_ms, "off": off}));
    json!({
        "id": device.id, "name": device.name, "name_en": device.name_en, "kind": device.kind,
        "profile": device.profile, "position": device.position, "division": division,
        "setting": device.setting, "gateway": device.gateway, "state": device.state,
        "cadence_s": device.cadence_s, "department": device.department, "demo": device.demo,
        "status": condition_name(status),
        "stale": stale, "silence_limit_s": limit.as_secs(), "clock": clock,
        "last_received": seen.map(|s| s.received_at), "last_measured": seen.map(|s| s.measured_at),
        "series": rows, "is_gateway": device.is_gateway,
        "connected_through": fact("connected_through"), "claim": fact("claim"),
    })
}

pub(crate) fn find(views: &Views, scope: &Scope, id: &str) -> Result<Arc<Device>, Problem> {
    views
        .device(scope, id)
        .ok_or_else(|| Problem::not_found("unknown_device", format!("no device is called `{id}`")))
}

pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let device = find(&views, caller.require(Permission::View)?, &id)?;
    let (division, cadence_s) = {
        let register = views.register.read().expect(POISON);
        (
            register.divisions.get(&device.id).cloned(),
            register.cadence_s(&device),
        )
    };
    let seen = views.seen.read().expect(POISON).get(&device.id).copied();
    Ok(Json(device_json(
        &views,
        &device,
        division.as_ref(),
        seen,
        cadence_s,
    )))
}

/// Registers a device (or changes it) and gives it a token, which stands in this answer only. A
/// changed device keeps its token.
pub(crate) async fn add(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Body(device): Body<Device>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let scope = caller.require(Permission::Register)?;
    let known = {
        let register = views.register.read().expect(POISON);
        if let Some(profile) = &device.profile
            && !register.view.profiles.contains_key(profile.as_str())
        {
            return Err(Problem::bad_request(
                "unknown_profile",
                format!("no profile is called `{profile}`"),
            ));
        }
        let located = device
            .division
            .clone()
            .or_else(|| device.position.and_then(|p| register.city.locate(&p)));
        let former = register.view.devices.contains_key(device.id.as_str());
        if !scope.covers(located.as_ref())
            || (former && !scope.covers(register.divisions.get(device.id.as_str())))
        {
            return Err(Problem::forbidden("the device does not stand in your division"));
        }
        former
    };
    if device.name.trim().is_empty() || device.kind.trim().is_empty() {
        return Err(Problem::bad_request(
            "bad_device",
            "a device needs a name and a kind",
        ));
    }
    let mut changes = vec![Register::Device {
        device: device.clone(),
    }];
    let mut token = None;
    if !known {
        let text = new_token().map_err(|e| Problem::internal(&e))?;
        changes.push(Register::DeviceToken {
            device: device.id.clone(),
            sha256: TokenHash::of(&text).to_string(),
        });
        token = Some(text);
    }
    let position = views
        .acts
        .record_register(scope, views.now(), changes)
        .await
        .map_err(act_problem)?;
    views.applied(position).await.map_err(behind)?;
    let status = if known {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let mut answer = json!({"device": device});
    if let Some(token) = token {
        answer["token"] = token.into();
    }
    Ok((status, Json(answer)))
}

/// A new token for a device; the old one ends at once.
pub(crate) async fn rotate(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let scope = caller.require(Permission::Register)?;
    let device: DeviceId = find(&views, scope, &id)?.id.clone();
    let token = new_token().map_err(|e| Problem::internal(&e))?;
    let change = Register::DeviceToken {
        device,
        sha256: TokenHash::of(&token).to_string(),
    };
    let position = views
        .acts
        .record_register(scope, views.now(), vec![change])
        .await
        .map_err(act_problem)?;
    views.applied(position).await.map_err(behind)?;
    Ok((StatusCode::CREATED, Json(json!({"token": token}))))
}

pub(crate) async fn quantities(caller: Caller) -> Result<Json<Value>, Problem> {
    caller.require(Permission::View)?;
    let items = Quantity::all()
        .map(|q| {
            let d = q.definition();
            json!({"name": d.name, "zh": d.zh, "en": d.en, "unit": d.unit, "family": d.family,
                   "calendar": d.calendar, "range": d.range, "decimals": d.decimals, "states": d.states})
        })
        .collect();
    Ok(list(items, None))
}

pub(crate) async fn profiles(
    State(views): State<Arc<Views>>,
    caller: Caller,
) -> Result<Json<Value>, Problem> {
    caller.require(Permission::View)?;
    let register = views.register.read().expect(POISON);
    let items = register
        .view
        .profiles
        .iter()
        .map(|(id, text)| json!({"id": id, "text": &**text}))
        .collect();
    Ok(list(items, None))
}

/// Puts a profile; a faulty one is refused with line and column and changes nothing.
pub(crate) async fn put_profile(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    text: String,
) -> Result<Json<Value>, Problem> {
    let scope = caller.require(Permission::Register)?;
    let id = ProfileId::new(&id).map_err(|e| Problem::bad_request("bad_name", e.to_string()))?;
    if id.as_str().starts_with('.') {
        return Err(Problem::bad_request(
            "bad_name",
            "a file's name may not begin with a dot",
        ));
    }
    Profile::parse(&id, &text).map_err(|e| {
        let error = json!({"line": e.line, "column": e.column, "message": e.message});
        Problem::unprocessable("bad_profile", format!("profile `{id}`: {e}"), json!([error]))
    })?;
    // The folder first: were the record first, a stop between the two would undo it at the next start.
    Folders::write(&views.folders.profiles, id.as_str(), &text).map_err(|e| Problem::internal(&e))?;
    let change = Register::Profile { id: id.clone(), text };
    let position = views
        .acts
        .record_register(scope, views.now(), vec![change])
        .await
        .map_err(act_problem)?;
    views.applied(position).await.map_err(behind)?;
    Ok(Json(json!({"id": id})))
}
