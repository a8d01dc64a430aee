//! Alerts to their consumers: one outbox each, run beside the server.
//!
//! What is sent and what an answer means is `onemap_alerts::feeds`; what is received stands in `feeds.sqlite`
//! (`onemap_store::feeds`). Here is the rim: the ledger is read by pages, requests are sent, cursors move after their receipts.
//! Each consumer has a task of its own and holds one request at a time; nothing of the pipeline waits for it.

mod gathered;
mod outbox;
mod road;
mod settled;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use onemap_dashboards::feeding::{Outbox as Shown, Outboxes};
use onemap_dashboards::views::Views;
use onemap_store::feeds::{FILE, Feeds};
use onemap_store::ledger::MIN_RETENTION;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::config::ConsumerPart;
use outbox::Outbox;
pub(crate) use road::{Mailer, Publisher, Road};

/// How often receipts that are too old go.
const RETENTION_ROUND: Duration = Duration::from_secs(3600);

/// Opens the file and the outboxes, and shows how they stand in the views. Without consumers, now or before, nothing is made.
pub(crate) async fn open(consumers: &[ConsumerPart], views: &Arc<Views>) -> Result<Vec<Outbox>> {
    let path = views.dir.join(FILE);
    if consumers.is_empty() && !path.exists() {
        return Ok(Vec::new());
    }
    let (consumers, opening) = (consumers.to_vec(), views.clone());
    let open = move || {
        let store = Arc::new(Feeds::open(&path)?);
        let open = |part: ConsumerPart| {
            let name = part.name.clone();
            Outbox::open(part, opening.clone(), store.clone())
                .with_context(|| format!("[[alerts.consumers]] {name} cannot be served"))
        };
        let outboxes = consumers.into_iter().map(open).collect::<Result<Vec<_>>>()?;
        anyhow::Ok((store, outboxes))
    };
    let (store, outboxes) = tokio::task::spawn_blocking(open)
        .await
        .context("outboxes are opened")??;
    let all: Vec<Arc<Shown>> = outboxes.iter().map(Outbox::shown).collect();
    // Set once: a server has one list.
    let _ = views.outboxes.set(Outboxes { store, all });
    Ok(outboxes)
}

/// Lets receipts go that are older than the ledger keeps evidence, until the stop.
pub(crate) async fn retention(views: Arc<Views>, stop: CancellationToken) -> Result<()> {
    let mut rounds = tokio::time::interval(RETENTION_ROUND);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = rounds.tick() => {}
        }
        let views = views.clone();
        let retain = move || {
            let Some(outboxes) = views.outboxes.get() else {
                return Ok(());
            };
            let before = (views.clock)().saturating_sub(MIN_RETENTION);
            outboxes.store.retain(before)?;
            for outbox in &outboxes.all {
                let n_aside = outboxes.store.n_aside(&outbox.name)?;
                outbox.n_aside.store(n_aside, Ordering::Relaxed);
            }
            anyhow::Ok(())
        };
        let retained = tokio::task::spawn_blocking(retain)
            .await
            .context("receipts are let go")?;
        if let Err(error) = retained {
            warn!("old receipts of consumers stay: {error:#}");
        }
    }
}
