//! The quarantine's way back: entries are read again with the profiles of now, or someone is done with
//! them. Both are acts in the journal; the entries stay for the audit.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use onemap_ingest::admit::{Arrival, Lane, Watch, admit};
use onemap_model::{Frame, Scope, Verb};
use onemap_store::ledger::{QuarantineEntry, QuarantineFilter, QuarantineState, Quarantined};
use onemap_wire::Profile;
use onemap_wire::line::{self, Params};
use onemap_wire::push::{self, PUSH};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::quarantine::{self, entry_json, find, read, visible};
use crate::api::{act_problem, behind};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Body;
use crate::views::{BY_THE_LISTENER, Views};

const POISON: &str = "no holder of this lock panics";
/// Most entries of one request.
const MAX_ENTRIES: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct One {
    #[serde(default)]
    note: String,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Many {
    reason: Option<String>,
    device: Option<String>,
    from: Option<String>,
    to: Option<String>,
    ids: Option<Vec<u64>>,
    #[serde(default)]
    note: String,
    #[serde(default)]
    dry_run: bool,
}

/// Whether an entry can be read again.
///
/// # Errors
/// Why it cannot.
pub(crate) fn readmissible(entry: &QuarantineEntry) -> Result<(), &'static str> {
    if entry.detail.starts_with(BY_THE_LISTENER) {
        return Err("the listener refused it; only its first 4 KiB are kept, so it cannot be read again");
    }
    if entry.payload.is_empty() {
        return Err("none of its bytes are kept, so there is nothing to read again");
    }
    if entry.device.is_empty() && !names_its_devices(&entry.topic) {
        return Err("nobody was authenticated, so it is no device's");
    }
    Ok(())
}

/// Whether what comes on a topic names its devices itself, so that its sender need not be one.
fn names_its_devices(topic: &str) -> bool {
    topic.starts_with(PUSH) || Params::of_topic(topic).is_some()
}

/// Reads the frame of one entry again.
pub(crate) async fn readmit_one(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<u64>,
    Body(order): Body<One>,
) -> Result<Json<Value>, Problem> {
    Deed::Readmit.to_one(views, &caller, id, order).await
}

/// Reads again what a filter or a list of numbers chooses; without either nothing is chosen. Entries that
/// are readmitted or discarded already, or cannot be read again, are left out of a filter's choice.
pub(crate) async fn readmit_many(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Body(order): Body<Many>,
) -> Result<Json<Value>, Problem> {
    Deed::Readmit.to_many(views, &caller, order).await
}

/// Is done with one entry.
pub(crate) async fn discard_one(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<u64>,
    Body(order): Body<One>,
) -> Result<Json<Value>, Problem> {
    Deed::Discard.to_one(views, &caller, id, order).await
}

/// Is done with what a filter or a list of numbers chooses.
pub(crate) async fn discard_many(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Body(order): Body<Many>,
) -> Result<Json<Value>, Problem> {
    Deed::Discard.to_many(views, &caller, order).await
}

/// What is done with entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Readmit,
    Discard,
}

impl Deed {
    async fn to_one(
        self,
        views: Arc<Views>,
        caller: &Caller,
        id: u64,
        order: One,
    ) -> Result<Json<Value>, Problem> {
        let scope = caller.scope().clone();
        let row = find(&views, &scope, id).await?;
        if let (Self::Readmit, Err(why)) = (self, readmissible(&row.entry)) {
            return Err(Problem::conflict(
                "not_readmissible",
                format!("entry {id}: {why}"),
            ));
        }
        self.to(views, scope, vec![row], order.note, order.dry_run).await
    }

    async fn to_many(self, views: Arc<Views>, caller: &Caller, order: Many) -> Result<Json<Value>, Problem> {
        let scope = caller.scope().clone();
        let rows = chosen(&views, &scope, &order).await?;
        self.to(views, scope, rows, order.note, order.dry_run).await
    }

    async fn to(
        self,
        views: Arc<Views>,
        scope: Scope,
        rows: Vec<Quarantined>,
        note: String,
        dry_run: bool,
    ) -> Result<Json<Value>, Problem> {
        match self {
            Self::Readmit => readmit(views, scope, rows, note, dry_run).await,
            Self::Discard => discard(views, scope, rows, note, dry_run).await,
        }
    }
}

async fn chosen(views: &Arc<Views>, scope: &Scope, order: &Many) -> Result<Vec<Quarantined>, Problem> {
    let too_many = || {
        Problem::bad_request(
            "too_many_entries",
            format!("at most {MAX_ENTRIES} entries in one request; narrow the choice"),
        )
    };
    if let Some(ids) = &order.ids {
        if ids.len() > MAX_ENTRIES {
            return Err(too_many());
        }
        let mut rows = Vec::with_capacity(ids.len());
        for id in ids.iter().collect::<BTreeSet<_>>() {
            rows.push(find(views, scope, *id).await?);
        }
        return Ok(rows);
    }
    let all = [&order.reason, &order.device, &order.from, &order.to];
    if all.iter().all(|part| part.is_none()) {
        return Err(Problem::bad_request(
            "nothing_chosen",
            "say which entries: reason, device, from, to or ids",
        ));
    }
    let filter: QuarantineFilter = quarantine::filter(
        order.reason.clone(),
        order.device.clone(),
        order.from.as_deref(),
        order.to.as_deref(),
    )?;
    let rows = read(views, move |views| {
        views.ledger.quarantine(&filter, None, MAX_ENTRIES + 1)
    })
    .await?;
    if rows.len() > MAX_ENTRIES {
        return Err(too_many());
    }
    let done = |row: &Quarantined| {
        row.settlement
            .as_ref()
            .is_some_and(|s| s.state != QuarantineState::Refused)
    };
    let mut rows: Vec<_> = rows
        .into_iter()
        .filter(|row| visible(views, scope, row) && !done(row))
        .collect();
    // Oldest first: revisions of one time come in the order in which they were said.
    rows.reverse();
    Ok(rows)
}

async fn readmit(
    views: Arc<Views>,
    scope: Scope,
    rows: Vec<Quarantined>,
    note: String,
    dry_run: bool,
) -> Result<Json<Value>, Problem> {
    let (rows, left_out): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| readmissible(&row.entry).is_ok());
    let left_out: Vec<Value> = left_out
        .iter()
        .map(|row| json!({"id": row.id, "why": readmissible(&row.entry).err()}))
        .collect();
    if dry_run {
        let mut profiles = Profiles::default();
        let items: Vec<Value> = rows.iter().map(|row| profiles.trial(&views, row)).collect();
        return Ok(Json(
            json!({"dry_run": true, "items": items, "not_readmissible": left_out}),
        ));
    }
    // Entries of one frame that hold the same bytes are one frame again.
    let mut known = HashSet::new();
    let frames: Vec<(u64, Vec<u8>)> = rows
        .iter()
        .map(|row| &row.entry)
        .filter(|entry| known.insert((entry.position, &entry.device, &entry.topic, &entry.payload)))
        .map(|entry| {
            let mut body = Vec::new();
            frame(entry).encode(&mut body);
            (entry.position, body)
        })
        .collect();
    drop(known);
    if !frames.is_empty() {
        let position = views
            .acts
            .record_readmission(&scope, views.now(), note, frames)
            .await
            .map_err(act_problem)?;
        views.applied(position).await.map_err(behind)?;
    }
    outcome(&views, rows, &left_out).await
}

async fn discard(
    views: Arc<Views>,
    scope: Scope,
    rows: Vec<Quarantined>,
    note: String,
    dry_run: bool,
) -> Result<Json<Value>, Problem> {
    if dry_run {
        let items: Vec<Value> = rows.iter().map(|row| json!({"id": row.id})).collect();
        return Ok(Json(json!({"dry_run": true, "items": items})));
    }
    let entries: Vec<(u64, u32)> = rows
        .iter()
        .map(|row| (row.entry.position, row.entry.ordinal))
        .collect();
    if !entries.is_empty() {
        let verb = Verb::Discard { entries, note };
        let position = views
            .acts
            .record_act(&scope, views.now(), verb)
            .await
            .map_err(act_problem)?;
        views.applied(position).await.map_err(behind)?;
    }
    outcome(&views, rows, &[]).await
}

/// The entries as they stand now, without their bytes.
async fn outcome(
    views: &Arc<Views>,
    rows: Vec<Quarantined>,
    left_out: &[Value],
) -> Result<Json<Value>, Problem> {
    let items = read(views, move |views| {
        let mut items = Vec::with_capacity(rows.len());
        for row in rows {
            if let Some(now) = views.ledger.quarantined(row.id)? {
                let mut shown = entry_json(&now, 0);
                for bytes in ["payload", "payload_hex"] {
                    shown.as_object_mut().map(|entry| entry.remove(bytes));
                }
                items.push(shown);
            }
        }
        Ok(items)
    })
    .await?;
    let n = |state: &str| items.iter().filter(|item| item["state"] == state).count();
    let counts = json!({"readmitted": n("readmitted"), "refused": n("refused"), "discarded": n("discarded")});
    Ok(Json(
        json!({"counts": counts, "items": items, "not_readmissible": left_out}),
    ))
}

/// The frame of an entry as it came.
fn frame(entry: &QuarantineEntry) -> Frame<'_> {
    Frame {
        received_at: entry.at,
        source: entry.source,
        refused: None,
        qos: 0,
        retain: false,
        device: &entry.device,
        peer: &entry.peer,
        topic: &entry.topic,
        payload: &entry.payload,
    }
}

/// Profiles read once for many entries.
#[derive(Default)]
struct Profiles {
    read: BTreeMap<String, Option<Profile>>,
}

impl Profiles {
    /// What would become of an entry with the register and profiles of now. Nothing is kept.
    fn trial(&mut self, views: &Views, row: &Quarantined) -> Value {
        let register = views.register.read().expect(POISON);
        let frame = frame(&row.entry);
        let refused = |reason: &str| json!({"id": row.id, "tried": true, "readings": 0, "refused": [{"reason": reason}]});
        let part = push::of_part_topic(frame.topic);
        let lines = Params::of_topic(frame.topic);
        let device = register.view.devices.get(frame.device);
        let names_devices = frame.topic.starts_with("g/")
            || (frame.topic.starts_with(PUSH) && part.is_none())
            || (lines.is_some() && (frame.device.is_empty() || device.is_some_and(|d| d.is_gateway)));
        if names_devices {
            let why =
                "it may speak for several devices; what would become of it shows only when it is readmitted";
            return json!({"id": row.id, "tried": false, "why": why, "readings": null, "refused": null});
        }
        let Some(device) = device else {
            return refused("unknown_device");
        };
        let source = match part {
            None => None,
            Some((id, _)) => match views.sources.read().expect(POISON).get(id) {
                Some(source) => Some(source.clone()),
                None => return refused("unknown_source"),
            },
        };
        let of_source = source.as_ref().and_then(|source| source.profile.as_ref());
        let profile = match of_source.or(device.profile.as_ref()) {
            None => None,
            Some(id) => {
                let parsed = self.read.entry(id.to_string()).or_insert_with(|| {
                    let text = register.view.profiles.get(id.as_str())?;
                    Profile::parse(id, text).ok()
                });
                match parsed {
                    Some(profile) => Some(&*profile),
                    None => return refused("unknown_profile"),
                }
            }
        };
        let message = match (part, lines) {
            (Some((_, at)), _) => {
                let pushed = push::Pushed {
                    device: frame.device.to_owned(),
                    at,
                    payload: frame.payload.to_vec(),
                };
                pushed.decode(profile)
            }
            (None, Some(params)) => line::decode(frame.payload, params.precision, profile),
            (None, None) => onemap_wire::decode(&frame, profile),
        };
        let arrival = Arrival {
            device,
            profile,
            received_at: frame.received_at,
            position: row.entry.position,
            lane: Lane::Backfill,
            ages: views.ages,
        };
        let admitted = admit(message, &arrival, &mut Watch::default());
        let faults: Vec<Value> = admitted
            .refused
            .iter()
            .take(8)
            .map(|r| json!({"reason": r.refusal, "detail": r.detail}))
            .collect();
        json!({"id": row.id, "tried": true, "readings": admitted.readings.len(), "refused": faults})
    }
}
