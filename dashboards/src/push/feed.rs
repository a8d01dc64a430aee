//! `/feeds/alerts`: every transition once, in order, from the ledger. A reader resumes by the number
//! of the last one it has; nothing is conflated and nothing is skipped.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use onemap_model::{Edge, Scope, Transition};
use onemap_store::ledger::{LedgerError, LedgerTransition};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::auth::{self, Caller, Pass};
use crate::error::Problem;
use crate::push::{N_WAITING_EVENTS, event, stream};
use crate::request::Params;
use crate::views::Views;

/// Transitions read from the ledger at a time.
const N_PAGE: usize = 256;
const POISON: &str = "no holder of this lock panics";
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A reader that takes nothing for this long is cut off; it resumes where it was.
const STALLED: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// Number of the last transition the reader has.
    after: Option<u64>,
}

pub(crate) async fn alerts(
    State(views): State<Arc<Views>>,
    axum::Extension(stop): axum::Extension<CancellationToken>,
    axum::Extension(pass): axum::Extension<Pass>,
    caller: Caller,
    Params(query): Params<Query>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let scope = caller.scope().clone();
    let resumed = match headers.get("last-event-id").and_then(|v| v.to_str().ok()) {
        Some(text) => Some(text.trim().parse().map_err(|_| {
            Problem::bad_request("bad_event_id", "Last-Event-ID is the number of a transition")
        })?),
        None => query.after,
    };
    let (sender, receiver) = mpsc::channel(N_WAITING_EVENTS);
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = auth::ended(&views, pass, &scope) => {}
            () = feed(&views, &scope, resumed, &sender) => {}
        }
    });
    Ok(stream(receiver))
}

type Sender = mpsc::Sender<Result<Bytes, Infallible>>;

async fn send(sender: &Sender, bytes: Bytes) -> bool {
    matches!(
        tokio::time::timeout(STALLED, sender.send(Ok(bytes))).await,
        Ok(Ok(()))
    )
}

async fn feed(views: &Arc<Views>, scope: &Scope, resumed: Option<u64>, sender: &Sender) {
    let mut newest = views.last_transition.subscribe();
    // Proxies and curl show at once that the stream stands.
    if !send(sender, Bytes::from_static(b": onemap alerts\nretry: 2000\n\n")).await {
        return;
    }
    let mut after = match resumed {
        Some(after) => after,
        None => {
            // Without a position: the story of the alerts that are open now, then what comes.
            let upto = *newest.borrow();
            let open: Vec<_> = {
                let register = views.register.read().expect(POISON);
                let board = views.board.read().expect(POISON);
                board
                    .open_alerts()
                    .filter(|a| {
                        scope.covers(register.recorded(a.series.device.as_str(), a.division.as_ref()))
                    })
                    .map(|a| a.id)
                    .collect()
            };
            let reader = views.clone();
            let story = tokio::task::spawn_blocking(move || {
                let mut all = Vec::new();
                for alert in open {
                    all.extend(reader.ledger.transitions_of(&alert)?);
                }
                all.sort_by_key(|row| row.seq);
                Ok::<_, LedgerError>(all)
            });
            match story.await {
                Ok(Ok(story)) => {
                    for LedgerTransition { seq, transition } in
                        story.into_iter().filter(|row| row.seq <= upto)
                    {
                        if !send(sender, render(seq, &transition)).await {
                            return;
                        }
                    }
                }
                other => {
                    tracing::error!(?other, "the alert feed cannot read the ledger");
                    return;
                }
            }
            upto
        }
    };
    loop {
        let reader = views.clone();
        let page = tokio::task::spawn_blocking(move || reader.ledger.transitions_after(after, N_PAGE)).await;
        let page = match page {
            Ok(Ok(page)) => page,
            other => {
                tracing::error!(?other, "the alert feed cannot read the ledger");
                return;
            }
        };
        let caught_up = page.len() < N_PAGE;
        for LedgerTransition { seq, transition } in page {
            after = seq;
            let is_seen = {
                let register = views.register.read().expect(POISON);
                let device = transition.series.device.as_str();
                scope.covers(register.recorded(device, transition.division.as_ref()))
            };
            if is_seen && !send(sender, render(seq, &transition)).await {
                return;
            }
        }
        while caught_up && *newest.borrow_and_update() <= after {
            tokio::select! {
                changed = newest.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(KEEP_ALIVE) => {
                    if !send(sender, Bytes::from_static(b": keep-alive\n\n")).await {
                        return;
                    }
                }
                () = sender.closed() => return,
            }
        }
    }
}

fn render(seq: u64, transition: &Transition) -> Bytes {
    let mut data = serde_json::to_value(transition).expect("transitions have text keys only");
    data["seq"] = seq.into();
    data["alert_state"] = match transition.edge {
        Edge::Cleared | Edge::Past => "cleared",
        Edge::Closed => "closed",
        Edge::Withdrawn => "withdrawn",
        _ => "open",
    }
    .into();
    event("transition", Some(seq), &data.to_string())
}
