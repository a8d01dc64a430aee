//! The duty log (值班日志) of a desk: entries of people, hand-over and take-over (交接班).
//!
//! Each is by who is logged in, and durable before it is answered.

pub(crate) mod handed;
pub(crate) mod lines;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use onemap_alerts::DutyRefused;
use onemap_model::duty_log::{About, ShiftName};
use onemap_model::{AccountId, Act, Desk, DeskId, DutyEntry, DutyKind, Scope, Timestamp, Verb};
use onemap_store::ledger::LoggedEntry;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::access::sees_feeds;
use crate::api::duty::{held, is_of};
use crate::api::{act_problem, alerts, behind};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{Body, NoParams};
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";
/// Largest body: 4,000 characters of four bytes, escaped, and what it is about.
pub(crate) const MAX_BODY: usize = 128 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Written {
    Note,
    Instruction,
    Call,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntryBody {
    kind: Written,
    text: String,
    #[serde(default)]
    about: About,
    corrects: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HandoverBody {
    text: String,
    #[serde(default)]
    about: About,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TakeoverBody {
    handover: u64,
    #[serde(default)]
    text: String,
}

type Answer = Result<(StatusCode, Json<Value>), Problem>;

/// Writes a note, an instruction or a call into the log of a desk.
pub(crate) async fn post(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    _: NoParams,
    Body(body): Body<EntryBody>,
) -> Answer {
    let scope = caller.scope();
    let (id, desk) = manned(&views, scope, &id)?;
    let kind = match body.kind {
        Written::Note => DutyKind::Note,
        Written::Instruction => DutyKind::Instruction,
        Written::Call => DutyKind::Call,
    };
    let mut entry = blank(&views, scope, (id, &desk), kind, body.text);
    entry.about = body.about;
    entry.corrects = body.corrects;
    known(&views, scope, &entry)?;
    corrected(&views, &entry).await?;
    record(&views, scope, entry).await
}

/// Hands the desk over: what is handed over is listed here and now.
pub(crate) async fn hand_over(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    _: NoParams,
    Body(body): Body<HandoverBody>,
) -> Answer {
    let scope = caller.scope();
    let (id, desk) = manned(&views, scope, &id)?;
    let mut entry = blank(&views, scope, (id, &desk), DutyKind::Handover, body.text);
    entry.about = body.about;
    entry.handed = Some(Box::new(handed::list(&views, scope, &entry.desk, &desk)));
    known(&views, scope, &entry)?;
    record(&views, scope, entry).await
}

/// Takes over what another person handed over.
pub(crate) async fn take_over(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    _: NoParams,
    Body(body): Body<TakeoverBody>,
) -> Answer {
    let scope = caller.scope();
    let (id, desk) = manned(&views, scope, &id)?;
    let mut entry = blank(&views, scope, (id, &desk), DutyKind::Takeover, body.text);
    entry.handover = Some(body.handover);
    record(&views, scope, entry).await
}

/// A desk that a scope sees.
pub(crate) fn manned(views: &Views, scope: &Scope, id: &str) -> Result<(DeskId, Desk), Problem> {
    let unknown = || Problem::not_found("unknown_desk", format!("no desk has the id `{id}`"));
    let id = DeskId::new(id).map_err(|_| unknown())?;
    let desk = held(views, &id)
        .filter(|desk| is_of(scope, desk))
        .ok_or_else(unknown)?;
    Ok((id, desk))
}

/// The name of who is logged in, as people read it.
fn name_of(views: &Views, actor: &str) -> String {
    let account = AccountId::new(actor).ok().and_then(|id| views.keys.account(&id));
    let name = account
        .map(|held| held.account.name)
        .filter(|name| !name.trim().is_empty());
    // A token is called so by who made it.
    name.unwrap_or_else(|| actor.strip_prefix("token#").unwrap_or(actor).to_owned())
}

fn blank(
    views: &Views,
    scope: &Scope,
    (id, desk): (DeskId, &Desk),
    kind: DutyKind,
    text: String,
) -> DutyEntry {
    let shift = desk.shift_at(views.now()).map(|shift| ShiftName {
        from: shift.from,
        to: shift.to,
        name: shift.name.clone(),
    });
    DutyEntry {
        desk: id,
        division: desk.division.clone(),
        shift,
        name: name_of(views, &scope.actor),
        kind,
        text,
        about: About::default(),
        corrects: None,
        handed: None,
        handover: None,
    }
}

/// That what an entry names is there and the writer's to see.
fn known(views: &Views, scope: &Scope, entry: &DutyEntry) -> Result<(), Problem> {
    entry.check().map_err(bad_entry)?;
    for alert in &entry.about.alerts {
        alerts::found(views, scope, &alert.to_string())?;
    }
    for device in &entry.about.devices {
        let unknown = || Problem::not_found("unknown_device", format!("no device is called `{device}`"));
        views.device(scope, device.as_str()).ok_or_else(unknown)?;
    }
    let book = views.warnings.book.read().expect(POISON);
    for id in &entry.about.warnings {
        let unknown = || Problem::not_found("unknown_warning", format!("no warning has the id {id}"));
        let warning = book.get(*id).filter(|warning| scope.covers(warning.belongs()));
        warning.ok_or_else(unknown)?;
    }
    Ok(())
}

/// That the entry which is corrected stands in the same log.
async fn corrected(views: &Arc<Views>, entry: &DutyEntry) -> Result<(), Problem> {
    let Some(position) = entry.corrects else {
        return Ok(());
    };
    let reading = views.clone();
    let found = tokio::task::spawn_blocking(move || reading.ledger.duty_entry(position));
    let found = found.await.map_err(|e| Problem::internal(&e))?;
    let found = found.map_err(|e| Problem::internal(&e))?;
    let is_of_desk = |row: &LoggedEntry| row.entry.desk == entry.desk && row.entry.division == entry.division;
    match found.filter(is_of_desk) {
        Some(_) => Ok(()),
        None => Err(Problem::not_found(
            "unknown_entry",
            format!("no entry of this log has the id {position}"),
        )),
    }
}

fn bad_entry(fault: onemap_model::DutyEntryError) -> Problem {
    Problem::bad_request("bad_entry", fault.to_string())
}

fn refused(refused: &DutyRefused) -> Problem {
    let (code, text) = (refused.code(), refused.to_string());
    match refused {
        DutyRefused::Entry(fault) => bad_entry(*fault),
        DutyRefused::UnknownDesk(_) => Problem::not_found(code, text),
        DutyRefused::OutOfScope => Problem::forbidden_by(code, text),
        _ => Problem::conflict(code, text).in_chinese(refused.zh()),
    }
}

async fn record(views: &Arc<Views>, scope: &Scope, entry: DutyEntry) -> Answer {
    let at = views.now();
    let verb = Verb::Duty(Box::new(entry));
    let act = Act {
        at,
        by: scope.clone(),
        verb,
    };
    check(views, &act)?;
    let position = views.acts.record_act(scope, at, act.verb.clone()).await;
    let position = position.map_err(act_problem)?;
    views.applied(position).await.map_err(behind)?;
    let reading = views.clone();
    let row = tokio::task::spawn_blocking(move || reading.ledger.duty_entry(position));
    let row = row.await.map_err(|e| Problem::internal(&e))?;
    match row.map_err(|e| Problem::internal(&e))? {
        Some(row) => Ok((StatusCode::CREATED, Json(shown(&row, sees_feeds(scope))))),
        // Somebody was quicker: what keeps it from standing there is said now.
        None => {
            check(views, &act)?;
            Err(Problem::conflict(
                "not_written",
                "the desk is another by now; look again",
            ))
        }
    }
}

fn check(views: &Views, act: &Act) -> Result<(), Problem> {
    let board = views.board.read().expect(POISON);
    board.duty().check(act).map_err(|fault| refused(&fault))
}

/// An entry as it is shown; what consumers did not take only to who may see them.
pub(crate) fn shown(row: &LoggedEntry, sees_feeds: bool) -> Value {
    let entry = &row.entry;
    let mut out = json!({
        "source": "entry", "id": row.position, "at": row.at, "kind": entry.kind, "kind_zh": entry.kind.zh(),
        "shift": entry.shift.as_ref().map(shift), "by": row.actor, "name": entry.name, "text": entry.text,
        "about": about(&entry.about), "corrects": entry.corrects, "handover": entry.handover,
        "handed": entry.handed,
    });
    if let (Some(handed), false) = (out["handed"].as_object_mut(), sees_feeds) {
        handed.remove("set_aside");
    }
    out
}

fn about(about: &About) -> Value {
    json!({"alerts": about.alerts, "warnings": about.warnings, "devices": about.devices})
}

/// A shift with the Beijing date on which it begins.
pub(crate) fn shift(shift: &ShiftName) -> Value {
    json!({"from": shift.from, "to": shift.to, "date": date_of(shift.from), "name": shift.name})
}

/// The Beijing date of a time.
pub(crate) fn date_of(at: Timestamp) -> String {
    crate::api::quarantine::date(at.beijing_day())
}
