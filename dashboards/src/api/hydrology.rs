//! What is known of a device as a hydrological station: datum, rating curves, ice seasons, stages.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use onemap_model::record::Register;
use onemap_model::scope::Permission;
use onemap_model::{Device, Hydrology, Scope, Timestamp};
use serde_json::{Value, json};

use crate::api::devices::find;
use crate::api::{act_problem, behind};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Body;
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";

/// What is known of a device, if anything is.
pub(crate) fn known(views: &Views, device: &Device) -> Option<Arc<Hydrology>> {
    let register = views.register.read().expect(POISON);
    register.view.hydrology.get(&device.id).cloned()
}

/// As it is shown: with what of it holds now.
pub(crate) fn shown(known: &Hydrology, now: Timestamp) -> Value {
    let mut shown = json!(known);
    shown["now"] = json!({
        "datum": known.datum(now), "stages": known.stages(now), "curve": known.curve(now), "ice": known.is_ice(now),
    });
    shown
}

fn known_or_not_found(views: &Views, device: &Device) -> Result<Arc<Hydrology>, Problem> {
    known(views, device).ok_or_else(|| {
        let id = &device.id;
        Problem::not_found("no_hydrology", format!("no hydrology is registered of `{id}`"))
    })
}

pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let device = find(&views, caller.require(Permission::View)?, &id)?;
    let known = known_or_not_found(&views, &device)?;
    Ok(Json(shown(&known, views.now())))
}

/// Replaces what is known of a device.
pub(crate) async fn put(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<Hydrology>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.require(Permission::Register)?;
    let device = find(&views, scope, &id)?;
    body.check()
        .map_err(|e| Problem::bad_request("bad_hydrology", e.to_string()))?;
    record(&views, scope, &device, Some(Box::new(body))).await?;
    let known = known_or_not_found(&views, &device)?;
    Ok(Json(shown(&known, views.now())))
}

/// Nothing is known of it any more.
pub(crate) async fn delete(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.require(Permission::Register)?;
    let device = find(&views, scope, &id)?;
    known_or_not_found(&views, &device)?;
    record(&views, scope, &device, None).await?;
    Ok(Json(json!({"device": device.id, "hydrology": null})))
}

async fn record(
    views: &Views,
    scope: &Scope,
    device: &Device,
    hydrology: Option<Box<Hydrology>>,
) -> Result<(), Problem> {
    let change = Register::Hydrology {
        device: device.id.clone(),
        hydrology,
    };
    let recorded = views.acts.record_register(scope, views.now(), vec![change]).await;
    let position = recorded.map_err(act_problem)?;
    views.applied(position).await.map_err(behind)
}
