//! The newest frames of a field station, spelt out as quarantined ones are.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use onemap_model::DeviceId;
use onemap_model::record::{Frame, Record};
use onemap_model::scope::Permission;
use onemap_wire::spelt::Protocol;
use onemap_wire::veil;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::spelt::{Spelling, text_and_hex};
use crate::api::{limit_up_to, list};
use crate::auth::Caller;
use crate::error::Problem;
use crate::frames::N_KEPT;
use crate::request::Params;
use crate::views::Views;

/// Bytes of a frame that are shown and spelt out.
const SHOWN_BYTES: usize = 64 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    limit: Option<usize>,
}

/// Newest first. Frames whose part of the journal was let go are not there.
pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    Params(query): Params<Query>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let limit = limit_up_to(N_KEPT, query.limit, N_KEPT)?;
    let unknown = || Problem::not_found("unknown_device", format!("no device `{id}`"));
    let device = DeviceId::new(&id).map_err(|_| unknown())?;
    {
        let register = views.register.read().expect("no holder of this lock panics");
        let known = register.view.devices.contains_key(&device) && register.sees(scope, device.as_str());
        known.then_some(()).ok_or_else(unknown)?;
    }
    let sees_passwords = scope.may(Permission::Register);
    let reader = views.clone();
    let read = tokio::task::spawn_blocking(move || frames(&reader, &device, limit, sees_passwords));
    let items = read
        .await
        .map_err(|e| Problem::internal(&e))?
        .map_err(|e| Problem::internal(&e))?;
    Ok(list(items, None))
}

fn frames(
    views: &Views,
    device: &DeviceId,
    limit: usize,
    sees_passwords: bool,
) -> Result<Vec<Value>, onemap_log::LogError> {
    let mut spelling = Spelling::default();
    let mut items = Vec::with_capacity(limit);
    for position in views.frames.of(device).into_iter().rev().take(limit) {
        let shown = views.record_at(position, |entry| match Record::decode(entry.kind, entry.body) {
            Ok(Record::Frame(frame)) => item(views, &mut spelling, position, &frame, sees_passwords),
            _ => None,
        })?;
        items.extend(shown.flatten());
    }
    Ok(items)
}

fn item(
    views: &Views,
    spelling: &mut Spelling,
    position: u64,
    frame: &Frame<'_>,
    sees_passwords: bool,
) -> Option<Value> {
    let protocol = Protocol::of(frame.source)?;
    let bytes = match sees_passwords {
        true => Cow::Borrowed(frame.payload),
        false => veil::veiled(protocol, frame.payload),
    };
    let (text, hex) = text_and_hex(&bytes, SHOWN_BYTES);
    let mut shown = json!({
        "position": position, "at": frame.received_at, "source": frame.source, "peer": frame.peer,
        "size": frame.payload.len(), "payload": text, "payload_hex": hex, "frames": null,
    });
    if frame.payload.len() <= SHOWN_BYTES {
        shown["frames"] = spelling.frames(views, protocol, frame.device, frame.received_at, frame.payload);
    }
    if !sees_passwords {
        shown["masked"] = matches!(bytes, Cow::Owned(_)).into();
        veil::veil_spelt(&mut shown["frames"]);
    }
    Some(shown)
}
