//! The history as a store: what it holds, whether it is whole, and copies of everything.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use onemap_model::{Scope, Verb};
use onemap_store::history::{HistoryError, SeriesId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::act_problem;
use crate::auth::Caller;
use crate::error::Problem;
use crate::request::Body;
use crate::views::Views;

/// Ends a look at every row when its asker has gone away.
struct Asked(Arc<AtomicBool>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Looks beside the async threads; one at a time.
async fn look<T: Send + 'static>(
    views: &Arc<Views>,
    what: impl FnOnce(&Views, &dyn Fn() -> bool) -> Result<T, HistoryError> + Send + 'static,
) -> Result<T, Problem> {
    let _one = views.keeping.verifying.lock().await;
    let gone = Asked(Arc::default());
    let (views, is_over) = (views.clone(), gone.0.clone());
    let looked = tokio::task::spawn_blocking(move || what(&views, &|| is_over.load(Ordering::Relaxed)));
    match looked.await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(Problem::history(&error)),
        Err(error) => Err(Problem::internal(&error)),
    }
}

/// With the extent of the journal, from which the history can be made again.
fn with_journal(views: &Views, found: impl serde::Serialize) -> Result<Json<Value>, Problem> {
    let mut answer = serde_json::to_value(found).map_err(|error| Problem::internal(&error))?;
    let log = views.log.status();
    answer["journal"] = json!({"first": log.first, "last": log.durable});
    Ok(Json(answer))
}

/// Leaves of faults those of series that a scope covers; how many there are.
fn only_own(views: &Views, scope: &Scope, faults: &mut Value) -> usize {
    let Some(faults) = faults.as_array_mut() else {
        return 0;
    };
    faults.retain(|fault| {
        let id = fault["id"].as_u64().and_then(|id| u32::try_from(id).ok());
        let key = id.and_then(|id| views.history.series_key(SeriesId(id)));
        key.is_some_and(|key| views.device(scope, key.device.as_str()).is_some())
    });
    faults.len()
}

/// What the history holds. Who audits a division or departments is told of its series alone, and nothing of the store.
pub(crate) async fn stat(State(views): State<Arc<Views>>, caller: Caller) -> Result<Json<Value>, Problem> {
    let scope = caller.scope().clone();
    if scope.is_whole() {
        let found = look(&views, |views, _| views.history.stat());
        return with_journal(&views, found.await?);
    }
    let seen = views
        .history
        .series_where(&|key| views.device(&scope, key.device.as_str()).is_some());
    let mut scrub =
        serde_json::to_value(views.history.scrubbed()).map_err(|error| Problem::internal(&error))?;
    let n_faults = only_own(&views, &scope, &mut scrub["faults"]);
    Ok(Json(json!({
        "division": scope.division,
        "departments": scope.departments,
        "series": seen.len(),
        "points": seen.iter().map(|info| info.n).sum::<u64>(),
        "oldest": seen.iter().map(|info| info.first).min(),
        "newest": seen.iter().map(|info| info.last).max(),
        "scrub": {"began": scrub["began"], "ended": scrub["ended"], "n_faults": n_faults, "faults": scrub["faults"]},
    })))
}

/// Whether every row is as it was written. Who audits a division or departments is told of its series alone.
pub(crate) async fn verify(State(views): State<Arc<Views>>, caller: Caller) -> Result<Json<Value>, Problem> {
    let scope = caller.scope().clone();
    let found = look(&views, |views, is_over| views.history.verify(is_over)).await?;
    let Json(mut found) = with_journal(&views, found)?;
    if !scope.is_whole() {
        let n_faults = only_own(&views, &scope, &mut found["faults"]);
        found = json!({
            "division": scope.division,
            "departments": scope.departments,
            "complete": found["complete"],
            "n_faults": n_faults,
            "faults": found["faults"],
        });
    }
    Ok(Json(found))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackupOrder {
    dir: PathBuf,
}

/// Begins a backup; [`backup_state`] tells how it goes.
pub(crate) async fn backup(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Body(order): Body<BackupOrder>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    if !order.dir.is_absolute() {
        let detail = format!("dir = {}: the whole path from / on", order.dir.display());
        return Err(Problem::bad_request("bad_dir", detail));
    }
    let backups = views
        .keeping
        .backups
        .get()
        .ok_or_else(|| Problem::unavailable("the server is still starting"))?
        .clone();
    let verb = Verb::Backup {
        dir: order.dir.display().to_string(),
    };
    let recorded = views.acts.record_act(caller.scope(), views.now(), verb).await;
    recorded.map_err(act_problem)?;
    backups
        .begin(&order.dir)
        .map_err(|why| Problem::conflict("backup_refused", why))?;
    Ok((StatusCode::ACCEPTED, Json(backups.state())))
}

pub(crate) async fn backup_state(State(views): State<Arc<Views>>, _: Caller) -> Result<Json<Value>, Problem> {
    let backups = views.keeping.backups.get();
    Ok(Json(
        backups.map_or(json!({"state": "none"}), |backups| backups.state()),
    ))
}
