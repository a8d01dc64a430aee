//! What moving devices did at fences, newest first.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use onemap_model::{Belongs, EntityKind, FenceEdge, FenceEvent, Scope};
use onemap_store::ledger::{FenceEventFilter, LedgerError, LedgerFenceEvent};
use serde::Deserialize;
use serde_json::{Value, json};

use super::POISON;
use crate::api::quarantine::read;
use crate::api::{limit_up_to, list, time};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Params;
use crate::views::{Register, Views};

/// Most events of one page.
const N_MOST: usize = 10_000;
/// Events that are read at once for who is told of some of them.
const READ_ROWS: usize = 1000;

/// Which events a list holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    fence: Option<String>,
    device: Option<String>,
    kind: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<usize>,
    after: Option<u64>,
}

/// An event with the names of fence and device; `seq` is its number in the ledger, when it is told from there.
pub(crate) fn event_json(views: &Views, event: &FenceEvent, seq: Option<u64>) -> Value {
    let register = views.register.read().expect(POISON);
    let fence = register.view.entities.written(&EntityKind::Fence, &event.fence);
    let device = register.view.devices.get(&event.device);
    let mut shown = json!({
        "id": event.id, "kind": event.kind, "fence": event.fence,
        "fence_name": fence.as_ref().map(|fence| fence.name),
        "fence_name_en": fence.as_ref().map(|fence| fence.name_en),
        "device": event.device, "device_name": device.map(|d| &*d.name), "device_name_en": device.map(|d| &*d.name_en),
        "sequence": event.sequence, "at": event.at, "lon": event.place.lon(), "lat": event.place.lat(),
        "received_at": event.received_at, "position": event.position,
        "division": event.division, "device_division": event.device_division,
    });
    if let Some(seq) = seq {
        shown["seq"] = seq.into();
    }
    shown
}

/// Whether a scope is told of an event: of what it sees, both fence and device. Divisions are those of then, departments
/// those of now; the event of a fence that is gone is that of no department.
pub(crate) fn sees(register: &Register, scope: &Scope, event: &FenceEvent) -> bool {
    let fence = register.view.entities.stated(&EntityKind::Fence, &event.fence);
    let department = fence.map_or("", |fence| fence.department);
    let department_of_device = register.department_of(event.device.as_str());
    let device = Belongs::of(event.device_division.as_ref(), department_of_device);
    scope.covers(Belongs::of(event.division.as_ref(), department)) && scope.covers(device)
}

/// At most so many events that a scope is told of. The ledger knows divisions; who is of departments is told of those
/// among them that are theirs.
fn seen(
    views: &Views,
    scope: &Scope,
    filter: &FenceEventFilter,
    mut after: Option<u64>,
    n: usize,
) -> Result<Vec<LedgerFenceEvent>, LedgerError> {
    if scope.departments.is_empty() {
        return views.ledger.fence_events(filter, after, n);
    }
    let mut found = Vec::new();
    loop {
        let rows = views.ledger.fence_events(filter, after, READ_ROWS)?;
        let is_end = rows.len() < READ_ROWS;
        after = rows.last().map(|row| row.seq);
        let register = views.register.read().expect(POISON);
        found.extend(rows.into_iter().filter(|row| sees(&register, scope, &row.event)));
        drop(register);
        if is_end || found.len() >= n {
            found.truncate(n);
            return Ok(found);
        }
    }
}

pub(crate) async fn list_events(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<Query>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope().clone();
    let limit = limit_up_to(N_MOST, query.limit, 100)?;
    let kind = query.kind.as_deref().map(str::parse::<FenceEdge>).transpose();
    let filter = FenceEventFilter {
        fence: query.fence,
        device: query.device,
        kind: kind.map_err(|error| Problem::bad_request("bad_kind", error))?,
        from: query.from.as_deref().map(|t| time("from", t)).transpose()?,
        to: query.to.as_deref().map(|t| time("to", t)).transpose()?,
        scope: scope.division.clone(),
    };
    if filter.from.zip(filter.to).is_some_and(|(from, to)| from >= to) {
        return Err(Problem::bad_request("bad_range", "from= lies before to="));
    }
    let after = query.after;
    let mut page = read(&views, move |views| {
        seen(views, &scope, &filter, after, limit + 1)
    })
    .await?;
    let is_more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| is_more).map(|last| last.seq.to_string());
    let items = page
        .iter()
        .map(|told| event_json(&views, &told.event, Some(told.seq)));
    Ok(list(items.collect(), next))
}
