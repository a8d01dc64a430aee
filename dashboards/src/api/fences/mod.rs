//! Fences: who is in them, how they are set, and what moving devices did at them.

pub(crate) mod change;
pub(crate) mod events;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use onemap_model::{DivisionCode, EntityCode, EntityKind, Scope, Timestamp};
use onemap_spatial::ThingKind;
use onemap_spatial::moving::{FenceView, Inside, Moving, Newest};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::devices::find;
use crate::api::limit_up_to;
use crate::api::query::tag::Tagging;
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{Bbox, NoParams, Params};
use crate::views::{Register, Views};

const POISON: &str = "no holder of this lock panics";
/// Most fences of one page.
const N_MOST: usize = 1000;
/// Devices that a list spells out for each of its fences.
const N_LISTED: usize = 50;
/// Devices that a fence alone spells out.
const N_SHOWN: usize = 10_000;

/// Which fences a list holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    division: Option<DivisionCode>,
    bbox: Option<String>,
    /// Fences that this device is in.
    device: Option<String>,
    limit: Option<usize>,
    after: Option<String>,
}

/// Whether a scope sees a fence.
fn sees(register: &Register, scope: &Scope, code: &str) -> bool {
    register.sees_entity(scope, &EntityKind::Fence, &EntityCode::from(code))
}

/// The division of a fence: as stated, else as found from its geometry.
pub(super) fn division_of(register: &Register, code: &str) -> Option<DivisionCode> {
    let kind = ThingKind::Entity(EntityKind::Fence);
    register.city.division_of(&kind, code)
}

/// The last sighting of a device, and one that is not believed yet.
pub(crate) fn newest_json(newest: &Newest) -> Value {
    let mut shown = json!({
        "lon": newest.at.lon_degrees(), "lat": newest.at.lat_degrees(),
        "measured_at": newest.measured_at, "received_at": newest.received_at,
    });
    if let Some((at, measured_at)) = newest.doubted {
        shown["doubted"] =
            json!({"lon": at.lon_degrees(), "lat": at.lat_degrees(), "measured_at": measured_at});
    }
    shown
}

/// Inside for sure, or not known: it has not said where it is for longer than it may be silent.
fn presence(register: &Register, inside: &Inside, now: Timestamp) -> &'static str {
    let device = register.view.devices.get(&inside.device);
    let is_known =
        device.is_some_and(|device| now.since(inside.newest.received_at) <= register.silence_limit(device));
    if is_known { "inside" } else { "unknown" }
}

/// The fences that a device is in, of those that a scope sees.
pub(crate) fn of_device(views: &Views, scope: &Scope, device: &str) -> Vec<Value> {
    let register = views.register.read().expect(POISON);
    let moving = views.moving.read().expect(POISON);
    let Some(newest) = moving.newest(device) else {
        return Vec::new();
    };
    let known = register.view.devices.get(device);
    let mut fences = Vec::new();
    for (code, since) in moving.fences_of(device) {
        let Some(known) = known.filter(|_| sees(&register, scope, code)) else {
            continue;
        };
        let inside = Inside {
            device: known.id.clone(),
            since,
            newest,
        };
        let state = presence(&register, &inside, views.now());
        let mut fence =
            json!({"code": code, "since": since, "last_seen": newest.measured_at, "state": state});
        name(&register, code, &mut fence);
        fences.push(fence);
    }
    fences
}

fn name(register: &Register, code: &EntityCode, shown: &mut Value) {
    let written = register.view.entities.written(&EntityKind::Fence, code);
    shown["name"] = written.map_or("", |written| written.name).into();
    shown["name_en"] = written.map_or("", |written| written.name_en).into();
}

/// A fence as it is shown, with at most `n` of the devices in it that the scope sees.
fn fence_json(
    (register, moving): (&Register, &Moving),
    scope: &Scope,
    fence: &FenceView<'_>,
    now: Timestamp,
    n: usize,
) -> Value {
    let (mut inside, mut n_inside) = (Vec::new(), 0);
    let sees = |device: &str| register.sees(scope, device);
    if scope.is_whole() && n == 0 {
        n_inside = fence.n_inside;
    } else {
        for one in moving.inside(fence.code).filter(|one| sees(one.device.as_str())) {
            n_inside += 1;
            if inside.len() < n {
                let device = register.view.devices.get(&one.device);
                inside.push(json!({
                    "device": one.device, "name": device.map(|d| &*d.name), "name_en": device.map(|d| &*d.name_en),
                    "kind": device.map(|d| &*d.kind), "since": one.since, "last_seen": one.newest.measured_at,
                    "lon": one.newest.at.lon_degrees(), "lat": one.newest.at.lat_degrees(),
                    "state": presence(register, &one, now),
                }));
            }
        }
    }
    let mut shown = json!({
        "code": fence.code, "division": division_of(register, fence.code), "in_force": fence.in_force,
        "device_kinds": fence.rules.device_kinds, "dwell_s": fence.rules.dwell_s,
        "hysteresis_m": fence.rules.hysteresis_m, "bbox": fence.extent,
        "n_inside": n_inside, "inside": inside,
    });
    name(register, fence.code, &mut shown);
    shown
}

/// The answer, or that the asker has it already.
fn tagged(views: &Views, headers: &HeaderMap, question: &str, shown: &Value) -> Response {
    let mut tagging = Tagging::new(views, question);
    tagging.text(&shown.to_string());
    let tag = tagging.tag();
    if tag.is_known(headers) {
        return tag.unchanged();
    }
    let mut response = Json(shown).into_response();
    tag.put(&mut response);
    response
}

pub(crate) async fn list_fences(
    State(views): State<Arc<Views>>,
    caller: Caller,
    headers: HeaderMap,
    Params(query): Params<Query>,
) -> Result<Response, Problem> {
    let scope = caller.scope().clone();
    let bbox = query.bbox.as_deref().map(Bbox::parse).transpose()?;
    let limit = limit_up_to(N_MOST, query.limit, 100)?;
    if let Some(device) = &query.device {
        find(&views, &scope, device)?;
    }
    let reader = views.clone();
    let made = tokio::task::spawn_blocking(move || page(&reader, &scope, &query, bbox, limit));
    let shown = made.await.map_err(|error| Problem::internal(&error))?;
    Ok(tagged(&views, &headers, "fences", &shown))
}

fn page(views: &Views, scope: &Scope, query: &Query, bbox: Option<Bbox>, limit: usize) -> Value {
    let now = views.now();
    let register = views.register.read().expect(POISON);
    let moving = views.moving.read().expect(POISON);
    let of_device = query.device.as_deref().map(|device| moving.fences_of(device));
    let wanted = |fence: &FenceView<'_>| {
        let own = division_of(&register, fence.code);
        let meets = |Bbox([west, south, east, north]): Bbox| {
            fence
                .extent
                .is_some_and(|[w, s, e, n]| w <= east && e >= west && s <= north && n >= south)
        };
        sees(&register, scope, fence.code)
            && query
                .division
                .as_ref()
                .is_none_or(|wanted| own.as_ref().is_some_and(|own| wanted.covers(own)))
            && bbox.is_none_or(meets)
            && of_device
                .as_ref()
                .is_none_or(|all| all.iter().any(|(code, _)| *code == fence.code))
    };
    let mut fences = moving.fences_after(query.after.as_deref()).filter(wanted);
    let mut items = Vec::new();
    let mut last: Option<EntityCode> = None;
    for fence in fences.by_ref().take(limit) {
        items.push(fence_json((&register, &moving), scope, &fence, now, N_LISTED));
        last = Some(fence.code.clone());
    }
    let next = last.filter(|_| fences.next().is_some());
    json!({"items": items, "next": next})
}

/// A fence that a scope sees, with its geometry and all who are in it.
fn shown(views: &Views, scope: &Scope, code: &str) -> Result<Value, Problem> {
    let register = views.register.read().expect(POISON);
    let moving = views.moving.read().expect(POISON);
    let fence = moving.fence(code).filter(|_| sees(&register, scope, code));
    let unknown = || Problem::not_found("unknown_fence", format!("no fence has the code `{code}`"));
    let fence = fence.ok_or_else(unknown)?;
    let entity = register
        .view
        .entities
        .get(&EntityKind::Fence, code)
        .ok_or_else(unknown)?;
    let mut shown = fence_json((&register, &moving), scope, &fence, views.now(), N_SHOWN);
    shown["geometry"] = entity.geometry;
    shown["valid_from"] = json!(entity.valid_from);
    shown["valid_to"] = json!(entity.valid_to);
    shown["source"] = entity.source.into();
    Ok(shown)
}

pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(code): Path<String>,
    headers: HeaderMap,
    _: NoParams,
) -> Result<Response, Problem> {
    let scope = caller.scope();
    let shown = shown(&views, scope, &code)?;
    Ok(tagged(&views, &headers, &code, &shown))
}
