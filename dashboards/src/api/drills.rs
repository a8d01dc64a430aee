//! Drills: what is raised on purpose, so that nobody is called for it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use onemap_model::drill::MAX_LENGTH_MS;
use onemap_model::{Drill, DrillId, Scope, Timestamp, Verb};
use serde_json::{Value, json};

use crate::api::named::{self, Names};
use crate::api::{carried_out, list};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Body;
use crate::views::Views;

/// Most drills that are on or to come.
const MOST_AHEAD: usize = 100;
const POISON: &str = "no holder of this lock panics";

/// The journal's time, by which alerts are marked.
fn now(views: &Views) -> Timestamp {
    views.progress.borrow().now
}

/// Whether a drill is a scope's to see and to hold: the scope sees all that the drill may silence.
fn is_of(scope: &Scope, drill: &Drill) -> bool {
    scope.encloses(drill.division.as_ref(), &[])
}

fn shown(id: &DrillId, drill: &Drill, now: Timestamp, n_open: usize) -> Value {
    let mut row = serde_json::to_value(drill).expect("a drill has text keys only");
    row["id"] = json!(id);
    row["state"] = json!(match drill.is_on(now) {
        true => "on",
        false if now < drill.from => "planned",
        false => "over",
    });
    row["open"] = json!(n_open);
    row
}

/// Drills to come, those that are on, and those that were over within thirty days.
pub(crate) async fn list_drills(
    State(views): State<Arc<Views>>,
    caller: Caller,
) -> Result<Json<Value>, Problem> {
    let (scope, now) = (caller.scope(), now(&views));
    let board = views.board.read().expect(POISON);
    let drills = board.drills().all().filter(|(_, drill)| is_of(scope, drill));
    let items = drills.map(|(id, drill)| {
        let is_its = |alert: &&onemap_alerts::Alert| alert.drill.as_ref() == Some(id);
        shown(id, drill, now, board.open_alerts().filter(is_its).count())
    });
    Ok(list(items.collect(), None))
}

/// Says what a drill is.
pub(crate) async fn put(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
    Body(drill): Body<Drill>,
) -> Result<Json<Value>, Problem> {
    let (scope, now) = (caller.scope(), now(&views));
    let id = DrillId::new(&id).map_err(|e| Problem::bad_request("bad_name", e.to_string()))?;
    let before = held(&views, &id);
    if !is_of(scope, &drill) {
        return Err(Problem::forbidden("the drill silences more than you may see"));
    }
    // The journal's time follows the clock.
    if drill.to <= now.max(views.now()) {
        return Err(Problem::bad_request(
            "bad_drill",
            "the drill would be over already",
        ));
    }
    let _one = views.planning.lock().await;
    let held_now = held(&views, &id);
    if held_now != before && held_now.as_ref() != Some(&drill) {
        return Err(changed(&id));
    }
    // What another division's drill is called is nobody's to take, and what was raised in one that began stays its.
    if let Some(held) = held_now {
        if !is_of(scope, &held) {
            return Err(Problem::conflict("known_drill", "another drill has this name"));
        }
        if held.to <= now {
            return Err(Problem::conflict(
                "known_drill",
                "a drill that is over has this id",
            ));
        }
        if held.from <= now && drill.to - held.from > MAX_LENGTH_MS {
            let message = "with the time that it has been on, the drill would last more than three days";
            return Err(Problem::bad_request("bad_drill", message));
        }
    } else if views.board.read().expect(POISON).drills().n_ahead(now) >= MOST_AHEAD {
        let message = format!("{MOST_AHEAD} drills are on or to come; end one");
        return Err(Problem::conflict("too_many_drills", message));
    }
    let names = Names {
        division: drill.division.as_ref(),
        devices: &drill.devices,
        rules: &drill.rules,
    };
    named::are_there(&views, scope, &names)?;
    let verb = Verb::PutDrill {
        id: id.clone(),
        drill: Box::new(drill),
    };
    carried_out(&views, scope, verb).await?;
    let gone = || Problem::conflict("drill_gone", "somebody ended the drill meanwhile");
    let drill = held(&views, &id).ok_or_else(gone)?;
    Ok(Json(shown(&id, &drill, self::now(&views), 0)))
}

/// Somebody was first.
fn changed(id: &DrillId) -> Problem {
    let text = format!("somebody put or ended the drill `{id}` at the same moment: look at it again");
    Problem::conflict("drill_changed", text).in_chinese(format!("演练 {id} 同时被他人改动，请重新查看"))
}

/// Ends a drill before its time; one that has not begun is taken away.
pub(crate) async fn end(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let scope = caller.scope();
    let unknown = || {
        Problem::not_found(
            "unknown_drill",
            format!("no drill that goes on or is to come has the id `{id}`"),
        )
    };
    let id = DrillId::new(&id).map_err(|_| unknown())?;
    let _one = views.planning.lock().await;
    held(&views, &id)
        .filter(|drill| is_of(scope, drill) && drill.to > views.now())
        .ok_or_else(unknown)?;
    carried_out(&views, scope, Verb::EndDrill { id: id.clone() }).await?;
    Ok(Json(json!({"id": id})))
}

fn held(views: &Views, id: &DrillId) -> Option<Drill> {
    views.board.read().expect(POISON).drills().get(id).cloned()
}
