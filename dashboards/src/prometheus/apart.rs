//! Where queries are worked on: on threads of their own, few at a time, with a deadline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};

use super::fault::{Fault, FaultKind};

/// Queries that are worked on at the same time; the others wait.
const N_TURNS: usize = 4;
/// Stack of such a thread: an expression of [`MAX_LETTERS`](super::query::MAX_LETTERS) is as deep as it has
/// letters until its depth is looked at. Only what is used takes memory.
const STACK_BYTES: usize = 64 << 20;
/// How long a query may take unless it says so.
const TIMEOUT: Duration = Duration::from_secs(30);
/// … and the longest it may say.
const MAX_TIMEOUT: Duration = Duration::from_secs(120);

/// The turns of those who ask.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(N_TURNS)))
    }
}

/// The time a query has, from the timeout that it asks for in ms.
pub(super) fn timeout(asked: Option<i64>) -> Duration {
    let asked = asked.and_then(|ms| u64::try_from(ms).ok());
    asked.map_or(TIMEOUT, Duration::from_millis).min(MAX_TIMEOUT)
}

/// Does `work` in a turn. It is told when its time is over or nobody waits any more.
pub(super) async fn apart<T: Send + 'static>(
    turns: &Turns,
    limit: Duration,
    work: impl FnOnce(&dyn Fn() -> Option<Fault>) -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let over = move || {
        Fault::timeout(format!(
            "the query took longer than {} s; take a shorter range or fewer series",
            limit.as_secs_f64()
        ))
    };
    let deadline = Instant::now() + limit;
    let turn = turns.0.clone().acquire_owned();
    let turn = match tokio::time::timeout(limit, turn).await {
        Ok(turn) => turn.expect("the turns are never closed"),
        Err(_) => return Err(over()),
    };
    let (answer, waiting) = oneshot::channel();
    let run = move || {
        let made = {
            let expired = || (answer.is_closed() || Instant::now() >= deadline).then(over);
            work(&expired)
        };
        drop(turn);
        // Who has gone away needs no answer.
        let _ = answer.send(made);
    };
    let internal = || Fault::new(FaultKind::Internal, "the query could not be worked on");
    let spawned = std::thread::Builder::new()
        .name("query".into())
        .stack_size(STACK_BYTES)
        .spawn(run);
    if let Err(error) = spawned {
        tracing::error!(%error, "no thread for a query");
        return Err(internal());
    }
    match waiting.await {
        Ok(made) => made,
        Err(_) => {
            tracing::error!("a query's thread ended without an answer");
            Err(internal())
        }
    }
}
