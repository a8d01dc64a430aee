//! Starts and stops the gateway's tasks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::commands::Commands;
use crate::config::{Config, Slave};
use crate::line::Line;
use crate::spool::Spool;
use crate::status::{Counters, Rate};
use crate::uplink::Uplink;

/// How often the status is logged.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// What the ready line says.
#[derive(Debug, Serialize)]
pub struct Ready {
    /// Always true.
    pub ready: bool,
    /// The gateway's id.
    pub device: String,
    /// Its slaves.
    pub slaves: Vec<String>,
    /// Its spool.
    pub spool: ReadySpool,
}

/// The spool in the ready line.
#[derive(Debug, Serialize)]
pub struct ReadySpool {
    /// Which spool it is.
    pub epoch: u64,
    /// Position of its last record.
    pub last: u64,
    /// Records that the server has not confirmed.
    pub waiting: u64,
    /// Bytes of a torn write that were cut away when it was opened.
    pub torn_bytes: u64,
}

/// Runs the gateway until `stop`; `ready` is called once everything has started.
///
/// # Errors
/// When the spool cannot be opened or fails: the process should end and be started anew.
pub async fn run(config: Config, ready: impl FnOnce(&Ready), stop: CancellationToken) -> anyhow::Result<()> {
    let (spool, found) = Spool::open(&config.spool_dir, config.spool_bytes)?;
    let counters = Arc::new(Counters::default());
    let polling = stop.child_token();
    let publishing = CancellationToken::new();

    let commands = Commands::open(&config.spool_dir)?;
    let uplink = Uplink::new(&config, spool.clone(), &found, Arc::clone(&counters), commands);
    let mut uplinks = JoinSet::new();
    uplinks.spawn(uplink.run(publishing.clone()));
    let mut lines = JoinSet::new();
    let mut by_address: BTreeMap<String, Vec<Slave>> = BTreeMap::new();
    for slave in config.slaves.iter().cloned() {
        by_address.entry(slave.address.clone()).or_default().push(slave);
    }
    for slaves in by_address.into_values() {
        lines.spawn(Line::new(slaves, spool.clone(), Arc::clone(&counters)).run(polling.clone()));
    }
    ready(&Ready {
        ready: true,
        device: config.device.to_string(),
        slaves: config.slaves.iter().map(|s| s.name.clone()).collect(),
        spool: ReadySpool {
            epoch: spool.epoch,
            last: found.last,
            waiting: found.last - found.confirmed.floor().min(found.last),
            torn_bytes: found.torn.map_or(0, |torn| torn.lost_bytes),
        },
    });

    let outcome = tokio::select! {
        () = stop.cancelled() => Ok(()),
        ended = uplinks.join_next() => ended.context("there is one uplink")?.context("the uplink ended badly")?,
        ended = failed(&mut lines) => ended,
        () = report(&counters, &spool) => Ok(()),
    };
    polling.cancel();
    while lines.join_next().await.is_some() {}
    publishing.cancel();
    while uplinks.join_next().await.is_some() {}
    let closing = spool.log.clone();
    let closed = tokio::task::spawn_blocking(move || closing.close())
        .await
        .context("closing the spool ended badly")?;
    outcome?;
    closed.context("the spool could not be closed")
}

/// Waits for a line that fails; lines do not end by themselves while polling goes on.
async fn failed(lines: &mut JoinSet<Result<(), onemap_log::LogError>>) -> anyhow::Result<()> {
    while let Some(ended) = lines.join_next().await {
        ended
            .context("a line's task ended badly")?
            .context("polls cannot be spooled")?;
    }
    // No slave is configured: what is in the spool is still published.
    std::future::pending().await
}

async fn report(counters: &Counters, spool: &Spool) {
    let bytes = || counters.spooled_bytes.load(Ordering::Relaxed);
    let mut rate = Rate::new(bytes());
    let mut ticks = tokio::time::interval(STATUS_EVERY);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let per_s = rate.note(bytes(), STATUS_EVERY.as_secs_f64());
        counters.bytes_per_s.store(per_s as u64, Ordering::Relaxed);
        let status = spool.log.status();
        info!("status {}", counters.line(&status, spool.max_bytes, per_s));
        if status.full {
            warn!("spool_full: the spool takes no more, polling stands still");
        }
    }
}
