//! What is known of a device as a hydrological station: datum, rating curves, ice seasons, stages. Of one device, or of
//! many from CSV.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use onemap_model::record::Register;
use onemap_model::{Device, Hydrology, Scope, Timestamp};
use onemap_store::register::import::{DeviceFault, import_hydrology_csv};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::devices::find;
use crate::api::{act_problem, behind};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{Body, NoParams, Params};
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";
/// Faults of an import that are told one by one, the first of them.
const MAX_ERRORS: usize = 1000;

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
    _: NoParams,
) -> Result<Json<Value>, Problem> {
    let device = find(&views, caller.scope(), &id)?;
    let known = known_or_not_found(&views, &device)?;
    Ok(Json(shown(&known, views.now())))
}

/// Replaces what is known of a device.
pub(crate) async fn put(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    _: NoParams,
    Body(body): Body<Hydrology>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let device = find(&views, scope, &id)?;
    let _turn = views.changing.lock().await;
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
    _: NoParams,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let device = find(&views, scope, &id)?;
    let _turn = views.changing.lock().await;
    known_or_not_found(&views, &device)?;
    record(&views, scope, &device, None).await?;
    Ok(Json(json!({"device": device.id, "hydrology": null})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportQuery {
    /// Everything is checked and nothing is recorded.
    #[serde(default)]
    dry_run: bool,
}

/// Takes what a CSV file says of many devices: of each the kinds of entries that the file has, in place of those that
/// were known. Bad lines are named by line and column, and their devices stay as they were.
pub(crate) async fn import(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<ImportQuery>,
    text: String,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let file = import_hydrology_csv(&text);
    let (mut left, mut faults) = (file.left, file.faults);
    let _turn = views.changing.lock().await;
    let (mut changes, mut n_lines) = (Vec::new(), 0);
    for (id, station) in &file.stations {
        let first = station.lines.first().copied().unwrap_or(1);
        let made = match views.device(scope, id.as_str()) {
            None => Err(DeviceFault::new(
                first,
                "device",
                format!("no device is called `{id}`"),
            )),
            Some(device) => station.laid_over(known(&views, &device).as_deref()),
        };
        match made {
            Ok(made) => {
                n_lines += station.lines.len();
                changes.push(Register::Hydrology {
                    device: id.clone(),
                    hydrology: Some(Box::new(made)),
                });
            }
            Err(fault) => {
                left.insert(id.clone());
                faults.push(fault);
            }
        }
    }
    let n_devices = changes.len();
    if !query.dry_run && !changes.is_empty() {
        let recorded = views.acts.record_register(scope, views.now(), changes).await;
        let position = recorded.map_err(act_problem)?;
        views.applied(position).await.map_err(behind)?;
    }
    faults.sort_by_key(|fault| fault.line);
    let n_refused = faults.len();
    let faults: Vec<Value> = faults
        .into_iter()
        .take(MAX_ERRORS)
        .map(|fault| json!({"line": fault.line, "column": fault.column, "message": fault.message}))
        .collect();
    Ok(Json(json!({
        "devices": n_devices, "imported": n_lines, "refused": n_refused, "errors": faults, "left": left,
        "dry_run": query.dry_run,
    })))
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
