//! Statutory warnings (预警): drafted, approved and issued here; the feed of what holds; and what others warn of.

mod area;
pub(crate) mod feed;
pub(crate) mod received;
pub(crate) mod score;
mod shown;
pub(crate) mod steps;

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use onemap_alerts::warnings::{Warning, WarningRefused, WarningState};
use onemap_model::{Scope, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::rows::Turns;
use crate::api::{limit_up_to, list};
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::{NoParams, Params};
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";
/// Largest body of a request about a warning.
pub(crate) const MAX_BODY: usize = 512 << 10;
const MOST_LISTED: usize = 1000;

/// The pipeline's clock.
fn now(views: &Views) -> Timestamp {
    views.progress.borrow().now
}

fn unknown(id: u64) -> Problem {
    Problem::not_found("unknown_warning", format!("no warning has the id {id}"))
}

/// A warning that a scope sees.
fn seen(views: &Views, scope: &Scope, id: u64) -> Result<Warning, Problem> {
    let book = views.warnings.book.read().expect(POISON);
    let warning = book.get(id).filter(|warning| scope.covers(warning.belongs()));
    warning.cloned().ok_or_else(|| unknown(id))
}

/// What the client is told of a step that is refused.
fn problem(refused: &WarningRefused) -> Problem {
    use WarningRefused as R;
    let (code, text) = (refused.code(), refused.to_string());
    match refused {
        R::Unknown(id) | R::OutOfScope(id) => unknown(*id),
        R::AreaOutOfScope { .. } | R::OwnApproval => Problem::forbidden_by(code, text),
        R::Incomplete { faults } => Problem::unprocessable(
            code,
            text,
            faults.iter().map(shown::fault).collect::<Vec<_>>().into(),
        ),
        R::NoName
        | R::TooLong { .. }
        | R::NoReason
        | R::NoApproval
        | R::ApprovalTime { .. }
        | R::TooLarge { .. }
        | R::NoRevision
        | R::ExpiresPast { .. }
        | R::ExpiresTooFar { .. } => Problem::bad_request(code, text),
        _ => Problem::conflict(code, text),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    state: Option<String>,
    limit: Option<usize>,
    after: Option<u64>,
}

/// Whether a state is one that is asked for.
fn wanted(asked: &str, state: WarningState) -> Result<bool, Problem> {
    use WarningState as S;
    let is_open = matches!(state, S::Draft | S::Rejected | S::Issued);
    Ok(match asked {
        "all" => true,
        "open" => is_open,
        "over" => !is_open,
        "draft" => state == S::Draft,
        "rejected" => state == S::Rejected,
        "issued" => state == S::Issued,
        "cancelled" => state == S::Cancelled,
        "expired" => state == S::Expired,
        "dropped" => state == S::Dropped,
        other => {
            let text = format!(
                "state=`{other}`: all, open, over, draft, rejected, issued, cancelled, expired or dropped"
            );
            return Err(Problem::bad_request("bad_state", text));
        }
    })
}

/// Warnings that the caller may see, newest first.
pub(crate) async fn list_warnings(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Params(query): Params<Query>,
) -> Result<Json<Value>, Problem> {
    let limit = limit_up_to(MOST_LISTED, query.limit, 100)?;
    let asked = query.state.as_deref().unwrap_or("all");
    wanted(asked, WarningState::Draft)?;
    let (scope, now) = (caller.scope(), now(&views));
    let book = views.warnings.book.read().expect(POISON);
    let after = |warning: &&Warning| query.after.is_none_or(|after| warning.id < after);
    let is_wanted = |warning: &&Warning| {
        scope.covers(warning.belongs()) && wanted(asked, warning.state(now)).unwrap_or(false)
    };
    let all = book.newest_first().filter(after).filter(is_wanted);
    let page: Vec<&Warning> = all.take(limit + 1).collect();
    let next = (page.len() > limit).then(|| page[limit - 1].id.to_string());
    let items = page
        .iter()
        .take(limit)
        .map(|warning| shown::warning(warning, now));
    Ok(list(items.collect(), next))
}

/// One warning with its draft, its messages, and what became of it.
pub(crate) async fn show(
    State(views): State<Arc<Views>>,
    Extension(turns): Extension<Turns>,
    caller: Caller,
    Path(id): Path<u64>,
    _: NoParams,
) -> Result<Json<Value>, Problem> {
    let warning = seen(&views, caller.scope(), id)?;
    let mut answer = shown::warning(&warning, now(&views));
    answer["score"] = score::of(&views, &turns, caller.scope(), &warning).await?;
    Ok(Json(answer))
}

/// A warning as it is after a step.
fn after_step(views: &Views, id: u64) -> Result<Json<Value>, Problem> {
    let book = views.warnings.book.read().expect(POISON);
    match book.get(id) {
        Some(warning) => Ok(Json(shown::warning(warning, now(views)))),
        // It was let go at once: the bound of those that are over is small.
        None => Ok(Json(json!({"id": id}))),
    }
}
