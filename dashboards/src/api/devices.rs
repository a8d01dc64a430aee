//! Devices, profiles, quantities.

pub(crate) mod change;
pub(crate) mod frames;
pub(crate) mod import;
pub(crate) mod provisioning;

use std::ops::Bound;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use axum::{Extension, Json};
use onemap_model::record::Register;
use onemap_model::{
    AttributeScope, Device, DeviceId, DeviceState, DivisionCode, ProfileId, Quantity, Scope, Timestamp,
};
use onemap_store::acts::check_register;
use onemap_wire::profile::Profile;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::fences::{newest_json, of_device};
use crate::api::rows::{self, More, Rows, Turns};
use crate::api::{act_problem, behind, limit, list};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{Bbox, NoParams, Params};
use crate::views::{self, Folders, Pace, Seen, Views, condition_name};

const POISON: &str = "no holder of this lock panics";

/// Which devices a list or a count is of.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    division: Option<DivisionCode>,
    kind: Option<String>,
    bbox: Option<String>,
    /// Lifecycle as shown.
    state: Option<Lifecycle>,
    status: Option<Status>,
    gateway: Option<String>,
    profile: Option<String>,
    /// A part of the id or a name, whatever its case.
    q: Option<String>,
    limit: Option<usize>,
    after: Option<String>,
}

impl Query {
    fn wants(
        &self,
        device: &Device,
        division: Option<&DivisionCode>,
        (bbox, place): (Option<Bbox>, Option<(f64, f64)>),
    ) -> bool {
        let is = |wanted: &Option<String>, own: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| own == Some(wanted))
        };
        self.division
            .as_ref()
            .is_none_or(|d| division.is_some_and(|own| d.covers(own)))
            && is(&self.kind, Some(&device.kind))
            && is(&self.gateway, device.gateway.as_ref().map(DeviceId::as_str))
            && is(&self.profile, device.profile.as_ref().map(ProfileId::as_str))
            && bbox.is_none_or(|b| place.is_some_and(|(lon, lat)| b.holds(lon, lat)))
            && self.q.as_deref().is_none_or(|q| {
                let q = q.to_lowercase();
                let texts = [device.id.as_str(), &device.name, &device.name_en];
                texts.iter().any(|text| text.to_lowercase().contains(&q))
            })
    }
}

/// A device's state as judged and as shown, by which lists choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Normal,
    Abnormal,
    Unknown,
}

impl Status {
    const ALL: [Self; 3] = [Self::Normal, Self::Abnormal, Self::Unknown];

    fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Abnormal => "abnormal",
            Self::Unknown => "unknown",
        }
    }
}

/// Where in its life a device is, as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Lifecycle {
    /// Registered and never heard.
    Provisioned,
    Active,
    /// Heard once, and silent for longer than its limit.
    Silent,
    Maintenance,
    Retired,
}

impl Lifecycle {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Provisioned, "provisioned"),
        (Self::Active, "active"),
        (Self::Silent, "silent"),
        (Self::Maintenance, "maintenance"),
        (Self::Retired, "retired"),
    ];

    fn of(device: &Device, pace: Pace, seen: Option<Seen>, now: Timestamp) -> Self {
        match device.state_at(now) {
            DeviceState::Retired => Self::Retired,
            DeviceState::Maintenance => Self::Maintenance,
            DeviceState::Active | DeviceState::Provisioned => match seen {
                None => Self::Provisioned,
                Some(_) if Views::stale(pace.limit(), seen, now) => Self::Silent,
                Some(_) => Self::Active,
            },
        }
    }
}

/// A device's state as judged and as shown.
pub(crate) fn status(views: &Views, device: &Device, pace: Pace, seen: Option<Seen>) -> &'static str {
    let now = views.now();
    let watch = views.watch.read().expect(POISON);
    let watched = watch.of(device.id.as_str());
    let series = views.series_of(&device.id);
    let shown = series.iter().map(|(id, key)| {
        let stale = Views::series_stale(watched, key, pace, seen, now);
        Views::shown(views.condition(*id), stale)
    });
    let stale = Views::stale(pace.limit(), seen, now);
    condition_name(Views::shown(views::worst(shown), stale))
}

pub(crate) async fn list_devices(
    State(views): State<Arc<Views>>,
    Extension(turns): Extension<Turns>,
    caller: Caller,
    Params(mut query): Params<Query>,
) -> Result<Response, Problem> {
    let scope = caller.scope().clone();
    let bbox = query.bbox.as_deref().map(Bbox::parse).transpose()?;
    let limit = limit(query.limit, super::MAX_LIMIT)?;
    let now = views.now();
    // The device looked at last, and the one shown last.
    let (mut at, mut last) = (query.after.take(), None);
    let piece = move |views: &Views, n: usize, rows: &mut Rows| {
        let register = views.register.read().expect(POISON);
        let seen = views.seen.read().expect(POISON);
        let from = at.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut devices = register.view.devices.range::<str, _>((from, Bound::Unbounded));
        let mut looked_at = None;
        for _ in 0..n {
            let Some((id, device)) = devices.next() else {
                return Ok(More::No(None));
            };
            looked_at = Some(id);
            let division = register.divisions.get(id);
            let heard = seen.get(id).copied();
            let pace = register.pace(device);
            let wanted = scope.covers(device.belongs(division))
                && query.wants(device, division, (bbox, bbox.and_then(|_| views.place(device))))
                && query
                    .state
                    .is_none_or(|state| Lifecycle::of(device, pace, heard, now) == state)
                && query
                    .status
                    .is_none_or(|wanted| status(views, device, pace, heard) == wanted.name());
            if !wanted {
                continue;
            }
            if rows.is_full() {
                return Ok(More::No(last.take()));
            }
            rows.push(&device_json(views, device, division, heard, pace));
            last = Some(id.to_string());
        }
        at = looked_at.map(DeviceId::to_string);
        Ok(More::Yes)
    };
    rows::answer(views, turns.of_lists(), limit, Default::default(), piece).await
}

/// How many devices are in each lifecycle and status, of those a list with the same parameters holds.
pub(crate) async fn summary(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<Query>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let bbox = query.bbox.as_deref().map(Bbox::parse).transpose()?;
    let now = views.now();
    let register = views.register.read().expect(POISON);
    let seen = views.seen.read().expect(POISON);
    let (mut total, mut connected) = (0_usize, 0_usize);
    let mut lifecycles = Lifecycle::ALL.map(|(state, name)| (state, name, 0_usize));
    let mut statuses = Status::ALL.map(|status| (status.name(), 0_usize));
    for (id, device) in &register.view.devices {
        let division = register.divisions.get(id);
        let heard = seen.get(id).copied();
        let pace = register.pace(device);
        let state = Lifecycle::of(device, pace, heard, now);
        let status = status(&views, device, pace, heard);
        let wanted = scope.covers(device.belongs(division))
            && query.wants(device, division, (bbox, bbox.and_then(|_| views.place(device))))
            && query.state.is_none_or(|wanted| wanted == state)
            && query.status.is_none_or(|wanted| wanted.name() == status);
        if !wanted {
            continue;
        }
        total += 1;
        connected += usize::from(!views.links.of(id.as_str()).is_empty());
        for (own, _, n) in &mut lifecycles {
            *n += usize::from(*own == state);
        }
        for (own, n) in &mut statuses {
            *n += usize::from(*own == status);
        }
    }
    let states: serde_json::Map<_, _> = lifecycles
        .into_iter()
        .map(|(_, name, n)| (name.to_owned(), n.into()))
        .collect();
    let statuses: serde_json::Map<_, _> = statuses
        .into_iter()
        .map(|(name, n)| (name.to_owned(), n.into()))
        .collect();
    Ok(Json(
        json!({"total": total, "connected": connected, "state": states, "status": statuses}),
    ))
}

pub(crate) fn device_json(
    views: &Views,
    device: &Device,
    division: Option<&DivisionCode>,
    seen: Option<Seen>,
    pace: Pace,
) -> Value {
    let now = views.now();
    let limit = pace.limit();
    let stale = Views::stale(limit, seen, now);
    let watch = views.watch.read().expect(POISON);
    let watched = watch.of(device.id.as_str());
    let mut conditions = Vec::new();
    let rows: Vec<Value> = views
        .series_of(&device.id)
        .iter()
        .map(|(id, key)| {
            let stale = Views::series_stale(watched, key, pace, seen, now);
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
    let now = views.now();
    let state = device.state_at(now);
    let mut shown = json!({
        "id": device.id, "name": device.name, "name_en": device.name_en, "kind": device.kind,
        "profile": device.profile, "position": device.position, "division": division,
        "setting": device.setting, "gateway": device.gateway, "entity": device.entity, "state": state,
        "lifecycle": Lifecycle::of(device, pace, seen, now),
        "cadence_s": device.cadence_s, "department": device.department, "demo": device.demo,
        "status": condition_name(status),
        "stale": stale, "silence_limit_s": limit.as_secs(), "clock": clock,
        "last_received": seen.map(|s| s.received_at), "last_measured": seen.map(|s| s.measured_at),
        "series": rows, "is_gateway": device.is_gateway,
        "connected_through": fact("connected_through"), "claim": fact("claim"),
    });
    if let Some(newest) = views.moving.read().expect(POISON).newest(device.id.as_str()) {
        shown["moved_to"] = newest_json(&newest);
    }
    if device.is_gateway {
        shown["adopts"] = device.adopts.into();
    }
    if state == DeviceState::Maintenance {
        shown["maintenance"] = json!(device.maintenance);
    }
    shown
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
    _: NoParams,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    Ok(Json(show_device(&views, scope, &id)?))
}

/// Everything about one device: also who connects, its children and whether it has a token.
fn show_device(views: &Views, scope: &Scope, id: &str) -> Result<Value, Problem> {
    let device = find(views, scope, id)?;
    let (division, children, pace) = {
        let register = views.register.read().expect(POISON);
        let children: Vec<_> = register
            .view
            .children(id)
            .into_iter()
            .filter(|child| register.sees(scope, child.as_str()))
            .collect();
        (
            register.divisions.get(&device.id).cloned(),
            children,
            register.pace(&device),
        )
    };
    let seen = views.seen.read().expect(POISON).get(&device.id).copied();
    let mut shown = device_json(views, &device, division.as_ref(), seen, pace);
    let connections: Vec<Value> = views
        .links
        .of(id)
        .iter()
        .map(|c| json!({"client_id": &*c.client_id, "peer": &*c.peer, "since": c.since}))
        .collect();
    let gateway = device.gateway.as_ref();
    shown["connected"] = (!connections.is_empty()).into();
    shown["gateway_connected"] = json!(gateway.map(|g| !views.links.of(g.as_str()).is_empty()));
    shown["connections"] = connections.into();
    shown["last_peer"] = json!(views.links.last_peer(id).as_deref());
    shown["firmware"] = json!(firmware(views, &device.id));
    shown["has_token"] = views.keys.has_token(&device.id).into();
    shown["revoked"] = views.keys.is_revoked(&device.id).into();
    shown["children"] = json!(children);
    shown["fences"] = of_device(views, scope, id).into();
    let hydrology = crate::api::hydrology::known(views, &device);
    shown["hydrology"] = json!(hydrology.map(|known| crate::api::hydrology::shown(&known, views.now())));
    Ok(shown)
}

/// Client attributes by which devices say their firmware, the surest first.
const FIRMWARE: [&str; 4] = ["current_fw_version", "fw_version", "firmware", "fw"];

fn firmware(views: &Views, device: &DeviceId) -> Option<Value> {
    let say = |key| views.attributes.get(device.as_str(), AttributeScope::Client, key);
    FIRMWARE
        .into_iter()
        .find_map(say)
        .map(|attribute| attribute.value)
}

pub(crate) async fn quantities(_: Caller, _: NoParams) -> Result<Json<Value>, Problem> {
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
    _: Caller,
    _: NoParams,
) -> Result<Json<Value>, Problem> {
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
    let scope = caller.scope();
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
    let change = vec![Register::Profile {
        id: id.clone(),
        text: text.clone(),
    }];
    // What stands in the folder is taken up, whoever put it there.
    check_register(scope, &change).map_err(act_problem)?;
    // The folder first: were the record first, a stop between the two would undo it at the next start.
    Folders::write(&views.folders.profiles, id.as_str(), &text).map_err(|e| Problem::internal(&e))?;
    let position = views
        .acts
        .record_register(scope, views.now(), change)
        .await
        .map_err(act_problem)?;
    views.applied(position).await.map_err(behind)?;
    Ok(Json(json!({"id": id})))
}
