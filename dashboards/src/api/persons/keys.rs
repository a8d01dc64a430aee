//! The keys of persons: which one there is, another one, and what of before is carried over to it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use onemap_model::record::Register;
use onemap_model::{Pseudonym, Scope, Verb};
use serde_json::{Value, json};
use tracing::{info, warn};

use super::key_problem;
use crate::api::{act_problem, behind};
use crate::auth::Caller;
use crate::error::Problem;
use crate::views::Views;

/// Persons that are carried over in one record batch.
const N_AT_ONCE: usize = 500;

/// The number of the newest key (0: none was made yet), how many persons are known, and how many of them wait to be
/// carried over to it.
fn state(views: &Views) -> Result<Value, Problem> {
    views.persons.check().map_err(|e| key_problem(&e))?;
    let key = views.persons.newest().map_err(|e| key_problem(&e))?;
    let (persons, waiting) = views
        .ledger
        .person_counts(key)
        .map_err(|e| Problem::internal(&e))?;
    Ok(json!({"key": key, "persons": persons, "waiting": waiting}))
}

async fn state_of(views: &Arc<Views>) -> Result<Value, Problem> {
    let views = views.clone();
    tokio::task::spawn_blocking(move || state(&views))
        .await
        .map_err(|e| Problem::internal(&e))?
}

/// Which key there is.
pub(crate) async fn show(State(views): State<Arc<Views>>, caller: Caller) -> Result<Json<Value>, Problem> {
    whole(caller.scope())?;
    state_of(&views).await.map(Json)
}

/// Makes another key, and begins to carry over to it what was kept under those before. That goes on after the answer.
pub(crate) async fn rotate(
    State(views): State<Arc<Views>>,
    caller: Caller,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let scope = caller.scope();
    whole(scope)?;
    // One wish makes one key, and the next comes when all are under this one.
    let under_way = || {
        let message = "persons are still carried over to the newest key: ask again when `waiting` is 0";
        Problem::conflict("rotation_under_way", message)
    };
    let _turn = views.rotating_persons.try_lock().map_err(|_| under_way())?;
    if state_of(&views).await?["waiting"] != 0 {
        return Err(under_way());
    }
    let held = views.clone();
    let made = tokio::task::spawn_blocking(move || held.persons.rotate())
        .await
        .map_err(|e| Problem::internal(&e))?;
    let key = made.map_err(|e| key_problem(&e))?;
    let recorded = views
        .acts
        .record_act(scope, views.now(), Verb::RotatePersonKey { key })
        .await;
    recorded.map_err(act_problem)?;
    info!(key, "persons have key {key}");
    let answer = state_of(&views).await?;
    let carried = views.clone();
    tokio::spawn(async move { carry_over(&carried).await });
    Ok((StatusCode::CREATED, Json(answer)))
}

fn whole(scope: &Scope) -> Result<(), Problem> {
    match scope.is_whole() {
        true => Ok(()),
        false => Err(Problem::forbidden("the keys of persons are the whole city's")),
    }
}

/// Carries over to the newest key what earlier keys or none have. What is not done when the server ends is done after
/// its next start.
pub async fn carry_over(views: &Arc<Views>) {
    // One at a time.
    let _turn = views.carrying_persons.lock().await;
    let mut after = None;
    let mut n = 0;
    loop {
        match step(views, after).await {
            Ok((last, n_carried)) => {
                n += n_carried;
                after = last;
            }
            Err(problem) => {
                let reason = problem.detail();
                warn!("what is kept of persons is not carried over to their newest key: {reason}");
                return;
            }
        }
        if after.is_none() {
            break;
        }
    }
    if n > 0 {
        info!(persons = n, "{n} persons were carried over to their newest key");
    }
}

/// One batch behind a pseudonym: the last pseudonym that was looked at, if more may follow, and how many were carried.
async fn step(views: &Arc<Views>, after: Option<Pseudonym>) -> Result<(Option<Pseudonym>, usize), Problem> {
    let held = views.clone();
    let read = tokio::task::spawn_blocking(move || {
        let newest = held.persons.newest().map_err(|e| key_problem(&e))?;
        let page = held
            .ledger
            .persons(after.as_ref(), N_AT_ONCE)
            .map_err(|e| Problem::internal(&e))?;
        let last = (page.len() == N_AT_ONCE).then(|| page.last().map(|kept| kept.pseudonym()));
        let mut changes = Vec::new();
        for kept in page.into_iter().filter(|kept| kept.key() < newest) {
            let person = held.persons.carry_over(kept).map_err(|e| key_problem(&e))?;
            changes.push(Register::PersonSealed {
                person: Box::new(person),
            });
        }
        Ok::<_, Problem>((last.flatten(), changes))
    });
    let (last, changes) = read.await.map_err(|e| Problem::internal(&e))??;
    let n = changes.len();
    if n > 0 {
        let recorded = views
            .acts
            .record_register(&Scope::local("server"), views.now(), changes)
            .await;
        let position = recorded.map_err(act_problem)?;
        views.applied(position).await.map_err(behind)?;
    }
    Ok((last, n))
}
