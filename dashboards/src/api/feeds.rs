//! How consumers of alerts stand, what they received, what was set aside and is to be sent again.
//!
//! All of it is of the whole city. Of a consumer's address only the host is shown: the rest may hold its key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use onemap_alerts::feeds::Failure;
use onemap_model::Scope;
use onemap_store::feeds::{Again, Answered, Aside, Mark, Receipt};
use serde::Deserialize;
use serde_json::{Value, json};

use super::engine::Metric;
use crate::api::{limit, list};
use crate::auth::Caller;
use crate::error::Problem;
use crate::feeding::{Outbox, Outboxes};
use crate::request::Params;
use crate::views::Views;

const POISON: &str = "no holder of this lock panics";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    after: Option<u64>,
    limit: Option<usize>,
}

fn whole(scope: &Scope) -> Result<(), Problem> {
    match scope.is_whole() {
        true => Ok(()),
        false => Err(Problem::forbidden("consumers of alerts are of the whole city")),
    }
}

pub(crate) async fn list_feeds(
    State(views): State<Arc<Views>>,
    caller: Caller,
) -> Result<Json<Value>, Problem> {
    whole(caller.scope())?;
    let shown = tokio::task::spawn_blocking(move || {
        let Some(outboxes) = views.outboxes.get() else {
            return Ok(Vec::new());
        };
        let shown = outboxes.all.iter().map(|outbox| show(&views, outboxes, outbox));
        shown.collect::<Result<Vec<_>, Problem>>()
    });
    Ok(list(shown.await.map_err(|e| Problem::internal(&e))??, None))
}

fn show(views: &Views, outboxes: &Outboxes, outbox: &Outbox) -> Result<Value, Problem> {
    let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
    let cursor = count(&outbox.cursor);
    let oldest = views
        .ledger
        .transitions_after(cursor, 1)
        .map_err(|e| Problem::internal(&e))?;
    let last = outboxes.store.last_receipt(&outbox.name);
    let last = last.map_err(|e| Problem::internal(&e))?;
    let waiting = *outbox.waiting.lock().expect(POISON);
    let error = outbox.last_error.lock().expect(POISON).clone();
    let n_aside = count(&outbox.n_aside);
    let state = match (waiting, n_aside) {
        (Some(_), _) => "retrying",
        (None, 0) => "ok",
        (None, _) => "set_aside",
    };
    Ok(json!({
        "name": outbox.name, "kind": outbox.kind, "host": outbox.host, "state": state,
        "cursor": cursor, "lag": lag(views, outbox),
        "oldest_waiting_at": oldest.first().map(|row| row.transition.at),
        "attempts": waiting.map_or(0, |waiting| waiting.attempts),
        "next_attempt_at": waiting.map(|waiting| waiting.next_at),
        "sent": count(&outbox.n_sent), "set_aside": n_aside, "missing": count(&outbox.n_missing),
        "last_receipt": last.as_ref().map(receipt),
        "last_error": error.map(|error| json!({
            "at": error.at, "reason": error.failure.name(), "status": error.status, "answer": error.answer,
        })),
    }))
}

fn lag(views: &Views, outbox: &Outbox) -> u64 {
    let newest = *views.last_transition.borrow();
    newest.saturating_sub(outbox.cursor.load(Ordering::Relaxed))
}

fn item(mark: &Mark, answered: &Answered, n: u64) -> Value {
    json!({
        "n": n, "seq": mark.seq, "id": mark.id, "alert": mark.alert, "edge": mark.edge,
        "at": answered.at, "status": answered.status, "attempt": answered.attempt, "answer": answered.answer,
    })
}

fn receipt(receipt: &Receipt) -> Value {
    item(&receipt.mark, &receipt.answered, receipt.n)
}

fn aside(aside: &Aside) -> Value {
    let mut shown = item(&aside.mark, &aside.answered, aside.n);
    shown["reason"] = aside.reason.as_str().into();
    shown["retry_asked_at"] = json!(aside.again.as_ref().map(|(at, _)| at));
    shown["retry_asked_by"] = json!(aside.again.as_ref().map(|(_, by)| by));
    shown
}

fn unknown(name: &str) -> Problem {
    Problem::not_found(
        "unknown_feed",
        format!("no consumer of alerts is called `{name}`"),
    )
}

/// The file, when there is or was a consumer of this name.
fn known<'a>(views: &'a Views, name: &str) -> Result<&'a Outboxes, Problem> {
    let outboxes = views.outboxes.get().ok_or_else(|| unknown(name))?;
    let is_known = outboxes.store.is_known(name).map_err(|e| Problem::internal(&e))?;
    is_known.then_some(outboxes).ok_or_else(|| unknown(name))
}

pub(crate) async fn receipts(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(name): Path<String>,
    Params(query): Params<Query>,
) -> Result<Json<Value>, Problem> {
    page(views, caller, name, query, |outboxes, name, after, limit| {
        let rows = outboxes.store.receipts(name, after, limit)?;
        Ok(rows.iter().map(|row| (row.n, receipt(row))).collect())
    })
    .await
}

pub(crate) async fn set_aside(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path(name): Path<String>,
    Params(query): Params<Query>,
) -> Result<Json<Value>, Problem> {
    page(views, caller, name, query, |outboxes, name, after, limit| {
        let rows = outboxes.store.asides(name, after, limit)?;
        Ok(rows.iter().map(|row| (row.n, aside(row))).collect())
    })
    .await
}

type Rows = Result<Vec<(u64, Value)>, onemap_store::FileError>;

async fn page(
    views: Arc<Views>,
    caller: Caller,
    name: String,
    query: Query,
    read: impl FnOnce(&Outboxes, &str, u64, usize) -> Rows + Send + 'static,
) -> Result<Json<Value>, Problem> {
    whole(caller.scope())?;
    let limit = limit(query.limit, 500)?;
    let read = move || {
        let outboxes = known(&views, &name)?;
        read(outboxes, &name, query.after.unwrap_or(0), limit + 1).map_err(|e| Problem::internal(&e))
    };
    let mut rows = tokio::task::spawn_blocking(read)
        .await
        .map_err(|e| Problem::internal(&e))??;
    let is_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| is_more).map(|(n, _)| n.to_string());
    Ok(list(rows.into_iter().map(|(_, row)| row).collect(), next))
}

pub(crate) async fn retry(
    State(views): State<Arc<Views>>,
    caller: Caller,
    Path((name, id)): Path<(String, String)>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    whole(caller.scope())?;
    let none = || {
        Problem::not_found(
            "unknown_item",
            format!("nothing with the number `{id}` is set aside"),
        )
    };
    let n: u64 = id.parse().map_err(|_| none())?;
    let by = caller.scope().actor.clone();
    let (asking, asked_for) = (views.clone(), name.clone());
    let asked = tokio::task::spawn_blocking(move || {
        let outboxes = known(&asking, &asked_for)?;
        let now = (asking.clock)();
        let again = outboxes.store.ask_again(&asked_for, n, now, &by);
        again.map_err(|e| Problem::internal(&e))
    });
    match asked.await.map_err(|e| Problem::internal(&e))?? {
        Again::Unknown => return Err(none()),
        Again::Already | Again::Asked => {}
    }
    let outboxes = views.outboxes.get().into_iter();
    let outbox = outboxes
        .flat_map(|outboxes| &outboxes.all)
        .find(|own| own.name == name);
    let Some(outbox) = outbox else {
        return Err(Problem::conflict(
            "not_served",
            "the consumer is no longer in the configuration; it is sent when it is there again",
        ));
    };
    outbox.asked.notify_one();
    Ok((StatusCode::ACCEPTED, Json(json!({"n": n, "asked": true}))))
}

/// Metrics of all of them.
pub(super) fn metrics(views: &Views, outboxes: &Outboxes, metric: &mut Metric<'_>) {
    let label = |outbox: &Outbox| format!("{{consumer=\"{}\"}}", outbox.name);
    let mut each = |name: &str, kind: &str, help: &str, value: &dyn Fn(&Outbox) -> u64| {
        let values: Vec<_> = outboxes
            .all
            .iter()
            .map(|outbox| (label(outbox), value(outbox)))
            .collect();
        metric(name, kind, help, &values);
    };
    let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
    each(
        "onemap_feed_lag_items",
        "gauge",
        "Transitions behind the cursor of a consumer of alerts, its own and others.",
        &|outbox| lag(views, outbox),
    );
    each(
        "onemap_feed_sent_total",
        "counter",
        "Items that a consumer of alerts received.",
        &|outbox| count(&outbox.n_sent),
    );
    each(
        "onemap_feed_set_aside",
        "gauge",
        "Items that a consumer of alerts did not take and that are set aside.",
        &|outbox| count(&outbox.n_aside),
    );
    each(
        "onemap_feed_missing_total",
        "counter",
        "Transitions that were gone from the ledger before a consumer of alerts had them.",
        &|outbox| count(&outbox.n_missing),
    );
    let mut failed = Vec::new();
    for outbox in &outboxes.all {
        for (failure, n) in Failure::ALL.iter().zip(&outbox.n_failed) {
            let (name, reason) = (&outbox.name, failure.name());
            failed.push((format!("{{consumer=\"{name}\",reason=\"{reason}\"}}"), count(n)));
        }
    }
    metric(
        "onemap_feed_failed_total",
        "counter",
        "Attempts with a consumer of alerts that failed.",
        &failed,
    );
}
