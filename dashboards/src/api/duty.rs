//! Desks: who is on duty, and whom alerts reach that nobody takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use onemap_alerts::handover::Hand;
use onemap_alerts::{Board, Handover};
use onemap_model::duty_log::ShiftName;
use onemap_model::{Desk, DeskId, Scope, Shift, Timestamp, Verb};
use serde_json::{Value, json};

use crate::api::duty_log::shift;
use crate::api::named::{self, Names};
use crate::api::{carried_out, list};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Body;
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";

/// Whether a desk is a scope's to see and to man: the scope sees all that the desk looks at. Desks are of no department.
pub(super) fn is_of(scope: &Scope, desk: &Desk) -> bool {
    scope.encloses(desk.division.as_ref(), &[])
}

pub(crate) async fn list_desks(
    State(views): State<Arc<Views>>,
    caller: Caller,
) -> Result<Json<Value>, Problem> {
    let (scope, now) = (caller.scope(), views.now());
    let board = views.board.read().expect(POISON);
    let desks = board.duty().desks().filter(|(_, desk)| is_of(scope, desk));
    let items = desks.map(|(id, desk)| shown(&board, id, desk, now));
    Ok(list(items.collect(), None))
}

fn shown(board: &Board, id: &DeskId, desk: &Desk, now: Timestamp) -> Value {
    let waiting = board.duty().waiting(id, board.open_alerts());
    let mut row = serde_json::to_value(desk).expect("a desk has text keys only");
    let on_duty: BTreeMap<&str, Vec<&str>> = desk
        .steps
        .iter()
        .map(|step| (&*step.post, desk.on_duty(&step.post, now).into_iter().collect()))
        .collect();
    row["id"] = json!(id);
    row["on_duty"] = json!(on_duty);
    row["waiting"] = json!(waiting.map_or(0, |(n, _)| n));
    row["paged_at"] = json!(waiting.and_then(|(_, at)| at));
    let handovers = board.duty().desk(id).map(|(_, handovers)| handovers);
    row["handover"] = json!(handovers.and_then(|all| all.change(desk, now)));
    row["last_handover"] = json!(handovers.and_then(|all| all.last()).map(last_handover));
    row["shift"] = json!(desk.shift_at(now).map(named));
    row["next_shift"] = json!(desk.shift_after(now).map(named));
    row
}

/// A shift without its people, who stand in the roster.
fn named(of: &Shift) -> Value {
    shift(&ShiftName {
        from: of.from,
        to: of.to,
        name: of.name.clone(),
    })
}

fn last_handover(handover: &Handover) -> Value {
    let hand = |by: &Hand| json!({"id": by.id, "at": by.at, "by": by.actor, "name": by.name});
    let mut row = hand(&handover.by);
    row["shift"] = json!(handover.shift.as_ref().map(shift));
    row["taken"] = json!(handover.taken.as_ref().map(hand));
    row
}

/// Says what a desk is.
pub(crate) async fn put(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(desk): Body<Desk>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let id = DeskId::new(&id).map_err(|e| Problem::bad_request("bad_name", e.to_string()))?;
    let before = held(&views, &id);
    if !is_of(scope, &desk) {
        return Err(Problem::forbidden("the desk looks at more than you may see"));
    }
    let _one = views.planning.lock().await;
    let held_now = held(&views, &id);
    if held_now != before && held_now.as_ref() != Some(&desk) {
        let text = format!("somebody put or removed the desk `{id}` at the same moment: look at it again");
        let problem = Problem::conflict("desk_changed", text);
        return Err(problem.in_chinese(format!("席位 {id} 同时被他人改动，请重新查看")));
    }
    // What another division's desk is called is nobody's to take.
    if held_now.is_some_and(|held| !is_of(scope, &held)) {
        return Err(Problem::conflict("known_desk", "another desk has this name"));
    }
    let names = Names {
        division: desk.division.as_ref(),
        devices: &[],
        rules: &desk.rules,
    };
    named::are_there(&views, scope, &names)?;
    let verb = Verb::PutDesk {
        id: id.clone(),
        desk: Box::new(desk),
    };
    carried_out(&views, scope, verb).await?;
    let gone = || Problem::conflict("desk_gone", "somebody took the desk away meanwhile");
    let desk = held(&views, &id).ok_or_else(gone)?;
    let now = views.now();
    let board = views.board.read().expect(POISON);
    Ok(Json(shown(&board, &id, &desk, now)))
}

/// Takes a desk away.
pub(crate) async fn remove(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let unknown = || Problem::not_found("unknown_desk", format!("no desk has the id `{id}`"));
    let id = DeskId::new(&id).map_err(|_| unknown())?;
    let _one = views.planning.lock().await;
    held(&views, &id)
        .filter(|desk| is_of(scope, desk))
        .ok_or_else(unknown)?;
    carried_out(&views, scope, Verb::RemoveDesk { id: id.clone() }).await?;
    Ok(Json(json!({"id": id})))
}

pub(super) fn held(views: &Views, id: &DeskId) -> Option<Desk> {
    let board = views.board.read().expect(POISON);
    let mut desks = board.duty().desks();
    desks
        .find(|(other, _)| *other == id)
        .map(|(_, desk)| desk.clone())
}
