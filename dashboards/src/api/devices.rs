//! Devices, profiles, quantities.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use onemap_model::record::Register;
use onemap_model::scope::Permission;
use onemap_model::{AttributeScope, Device, DeviceId, DivisionCode, ProfileId, Quantity, Scope};
use onemap_store::gaps::Expectation;
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
        items.push(device_json(&views, device, division, seen.get(id).copied()));
    }
    Ok(list(items, next))
}

pub(crate) fn device_json(
    views: &Views,
    device: &Device,
    division: Option<&DivisionCode>,
    seen: Option<Seen>,
) -> Value {
    let series = views.series_of(&device.id);
    let ids: Vec<_> = series.iter().map(|(id, _)| *id).collect();
    let rows: Vec<Value> = series
        .iter()
        .map(|(id, key)| json!({"id": id.0, "quantity": key.quantity, "ch": key.channel}))
        .collect();
    let stale = Views::stale(device, seen, views.now());
    let fact = |key: &str| {
        let fact = views
            .attributes
            .get(device.id.as_str(), AttributeScope::Fact, key);
        fact.map(|fact| fact.value)
    };
    json!({
        "id": device.id, "name": device.name, "name_en": device.name_en, "kind": device.kind,
        "profile": device.profile, "position": device.position, "division": division,
        "setting": device.setting, "gateway": device.gateway, "state": device.state,
        "cadence_s": device.cadence_s, "department": device.department, "demo": device.demo,
        "status": condition_name(Views::shown(views.device_condition(&ids), stale)),
        "stale": stale,
        "last_received": seen.map(|s| s.received_at), "last_measured": seen.map(|s| s.measured_at),
        "series": rows, "is_gateway": device.is_gateway,
        "connected_through": fact("connected_through"), "claim": fact("claim"),
    })
}

fn find(views: &Views, scope: &Scope, id: &str) -> Result<Arc<Device>, Problem> {
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
    let division = views
        .register
        .read()
        .expect(POISON)
        .divisions
        .get(&device.id)
        .cloned();
    let seen = views.seen.read().expect(POISON).get(&device.id).copied();
    Ok(Json(device_json(&views, &device, division.as_ref(), seen)))
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GapQuery {
    device: String,
    day: Option<String>,
}

/// The gap ledger of one device and Beijing day.
pub(crate) async fn gaps(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<GapQuery>,
) -> Result<Json<Value>, Problem> {
    let device = find(&views, caller.require(Permission::View)?, &query.device)?;
    let now = views.now();
    let day = match &query.day {
        None => now.beijing_day(),
        Some(text) => onemap_model::Timestamp::parse(&format!("{text}T00:00:00+08:00"))
            .map_err(|_| {
                Problem::bad_request("bad_day", format!("day={text}: a date like 2026-11-23 is needed"))
            })?
            .beijing_day(),
    };
    // Nothing is expected of a device before its first reading.
    let since = views
        .history
        .series_of(&device.id)
        .iter()
        .map(|s| s.first)
        .min()
        .unwrap_or(now);
    let expectation = Expectation {
        cadence_s: device.cadence_s,
        since: Some(since),
        until: None,
    };
    let hours: Vec<Value> = views
        .gaps
        .day(&device.id, day, &expectation, now)
        .iter()
        .map(|row| {
            let c = row.counts;
            json!({"hour": row.hour, "expected": row.expected, "received": c.received, "late": c.late,
                   "duplicate": c.duplicate, "revised": c.revised, "refused": c.refused, "lost": row.lost})
        })
        .collect();
    let date = onemap_model::Timestamp::from_ms(day * 86_400_000 - 8 * 3_600_000).to_string();
    Ok(list(
        vec![
            json!({"device": device.id, "day": &date[..10], "cadence_s": device.cadence_s, "hours": hours,
                    "silence_limit_s": views::silence_limit(&device).as_secs()}),
        ],
        None,
    ))
}
