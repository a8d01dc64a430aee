//! Many devices at once, from CSV.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use onemap_model::record::Register;
use onemap_model::{Device, DeviceId, DeviceState};
use onemap_store::ledger::TokenHash;
use onemap_store::register::import::{DeviceFault, DeviceRow, import_devices_csv};
use serde::Deserialize;
use serde_json::{Value, json};

use super::POISON;
use super::change::sound;
use crate::api::act_problem;
use crate::auth::{Caller, new_token};
use crate::error::Problem;
use crate::request::Params;
use crate::views::{self, Views};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// Everything is checked and nothing is recorded.
    #[serde(default)]
    dry_run: bool,
    /// Devices that are known get what their line says; without it such a line is a fault.
    #[serde(default)]
    replace: bool,
}

/// Takes the good lines and names the bad ones by line and column. New devices get a token, which stands in
/// this answer only; a known one keeps its own unless its line states one.
pub(crate) async fn import(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<Query>,
    text: String,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let mut rows = import_devices_csv(&text);
    // A child is taken only when its gateway's own line was: gateways first, else in the file's order.
    rows.sort_by_key(|row| !row.as_ref().is_ok_and(states_gateway));
    let _turn = views.changing.lock().await;
    let (mut changes, mut tokens, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    let (mut n_new, mut n_changed) = (0_usize, 0_usize);
    {
        let register = views.register.read().expect(POISON);
        // Those of this file whose lines were taken.
        let mut gateways: HashSet<DeviceId> = HashSet::new();
        let mut given = HashSet::new();
        // Gateway and name to the child of this file that answers to it.
        let mut named: HashMap<(DeviceId, String), DeviceId> = HashMap::new();
        for row in rows {
            let checked = row.and_then(|row| {
                let (line, id, token) = (row.line, row.id.clone(), row.token.clone());
                let (mut device, is_known) = device(&register, row, query.replace)?;
                sound(&register, scope, &mut device, &|id| gateways.contains(id))
                    .map_err(|e| DeviceFault::new(line, e.field, e.message))?;
                let names = [device.id.as_str(), &device.name];
                let gateway = device
                    .gateway
                    .as_ref()
                    .filter(|_| device.state != DeviceState::Retired);
                for name in gateway.iter().flat_map(|_| names) {
                    let key = gateway.map(|gateway| (gateway.clone(), name.to_owned()));
                    let other = key.and_then(|key| named.get(&key)).filter(|other| **other != id);
                    if let Some(other) = other {
                        let message =
                            format!("`{other}` of this file answers to `{name}` at the same gateway");
                        return Err(DeviceFault::new(line, "name", message));
                    }
                }
                if let Some(token) = &token {
                    let holder = views.keys.device(token);
                    if holder.is_some_and(|holder| holder != id) || !given.insert(token.clone()) {
                        return Err(DeviceFault::new(line, "token", "another device holds this token"));
                    }
                }
                if let Some(gateway) = gateway {
                    for name in names {
                        named.insert((gateway.clone(), name.to_owned()), id.clone());
                    }
                }
                Ok((line, device, is_known, token))
            });
            let (line, device, is_known, token) = match checked {
                Ok(checked) => checked,
                Err(fault) => {
                    faults.push(fault);
                    continue;
                }
            };
            let id = device.id.clone();
            if device.is_gateway {
                gateways.insert(id.clone());
            }
            changes.push(Register::Device { device });
            n_changed += usize::from(is_known);
            n_new += usize::from(!is_known);
            let token = match (token, is_known) {
                (None, true) => continue,
                (Some(token), _) => token,
                (None, false) => {
                    let token = new_token().map_err(|e| Problem::internal(&e))?;
                    tokens.push((line, json!({"id": id, "token": token})));
                    token
                }
            };
            changes.push(Register::DeviceToken {
                device: id,
                sha256: TokenHash::of(&token).to_string(),
                grace_s: 0,
                expires: None,
            });
        }
    }
    let mut is_applied = true;
    if !query.dry_run && !changes.is_empty() {
        let recorded = views.acts.record_register(scope, views.now(), changes).await;
        let position = recorded.map_err(act_problem)?;
        // The tokens stand in this answer only, so it comes even when the pipeline is behind.
        is_applied = views.applied(position).await.is_ok();
    }
    if query.dry_run {
        tokens.clear();
    }
    faults.sort_by_key(|fault| fault.line);
    tokens.sort_by_key(|(line, _)| *line);
    let faults: Vec<Value> = faults
        .into_iter()
        .map(|fault| json!({"line": fault.line, "column": fault.column, "message": fault.message}))
        .collect();
    let tokens: Vec<Value> = tokens.into_iter().map(|(_, token)| token).collect();
    Ok(Json(json!({
        "imported": n_new, "changed": n_changed, "refused": faults.len(), "errors": faults,
        "tokens": tokens, "dry_run": query.dry_run, "applied": is_applied && !query.dry_run,
    })))
}

fn states_gateway(row: &DeviceRow) -> bool {
    row.fields.get("is_gateway") == Some(&Value::Bool(true))
}

/// The device that a line makes, and whether it is known already.
fn device(
    register: &views::Register,
    row: DeviceRow,
    may_replace: bool,
) -> Result<(Device, bool), DeviceFault> {
    let known = register.view.devices.get(&row.id);
    if known.is_some() && !may_replace {
        let message = format!("`{}` is registered already; replace changes it", row.id);
        return Err(DeviceFault::new(row.line, "id", message));
    }
    let fault = |e: serde_json::Error| DeviceFault::new(row.line, "", e.to_string());
    let mut whole = match known {
        Some(known) => serde_json::to_value(&**known).map_err(fault)?,
        None => json!({"id": row.id, "name": row.id, "kind": "device"}),
    };
    for (key, value) in &row.fields {
        whole[key] = value.clone();
    }
    let device = serde_json::from_value(whole).map_err(fault)?;
    Ok((device, known.is_some()))
}
