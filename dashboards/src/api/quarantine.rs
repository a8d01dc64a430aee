//! The quarantine: what was refused, with its bytes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use onemap_model::Refusal;
use onemap_model::scope::Permission;
use onemap_store::ledger::QuarantineFilter;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{limit, list};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Params;
use crate::views::Views;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    reason: Option<String>,
    device: Option<String>,
    limit: Option<usize>,
    after: Option<u64>,
}

/// Newest first.
pub(crate) async fn list_quarantine(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<Query>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.require(Permission::Quarantine)?.clone();
    let reason = query
        .reason
        .map(Refusal::try_from)
        .transpose()
        .map_err(|e| Problem::bad_request("bad_reason", e))?;
    let limit = limit(query.limit, 100)?;
    let reader = views.clone();
    let rows = tokio::task::spawn_blocking(move || {
        let filter = QuarantineFilter {
            reason,
            device: query.device,
            ..QuarantineFilter::default()
        };
        reader.ledger.quarantine(&filter, query.after, limit + 1)
    })
    .await
    .map_err(|e| Problem::internal(&e))?
    .map_err(|e| Problem::internal(&e))?;
    let next = (rows.len() > limit).then(|| rows[limit - 1].id.to_string());
    let register = views.register.read().expect("no holder of this lock panics");
    let items = rows
        .iter()
        .take(limit)
        .filter(|row| scope.division.is_none() || scope.covers(register.divisions.get(row.entry.device.as_str())))
        .map(|row| {
            let entry = &row.entry;
            let hex: String = entry.payload.iter().take(4096).map(|b| format!("{b:02x}")).collect();
            json!({
                "id": row.id, "position": entry.position, "at": entry.at, "reason": entry.reason, "reason_zh": entry.reason.label_zh(),
                "source": entry.source, "device": entry.device, "peer": entry.peer, "topic": entry.topic,
                "size": entry.payload.len(), "payload": std::str::from_utf8(&entry.payload).ok(),
                "payload_hex": hex, "detail": entry.detail,
            })
        })
        .collect();
    Ok(list(items, next))
}
