//! Care for the history's closed days, beside everything else.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use onemap_dashboards::views::Views;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How often it is looked whether a day has closed, or something came late for one.
const EVERY: Duration = Duration::from_secs(600);

/// Packs closed days and rolls their hours up until it is stopped; see `History::care`.
pub(crate) async fn run(views: Arc<Views>, stop: CancellationToken) -> Result<()> {
    let mut clock = tokio::time::interval(EVERY);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = clock.tick() => {}
        }
        let (views, stop) = (views.clone(), stop.clone());
        let cared = tokio::task::spawn_blocking(move || {
            let now = (views.clock)();
            views.history.care(now, &|| stop.is_cancelled())
        })
        .await
        .context("the care for closed days was cut short")?;
        match cared {
            Ok(cared) if cared.days == 0 => {}
            Ok(cared) => info!(
                days = cared.days,
                chunks_before = cared.chunks_before,
                chunks_after = cared.chunks_after,
                bytes_before = cared.bytes_before,
                bytes_after = cared.bytes_after,
                "closed days are packed and rolled up"
            ),
            // It is tried again, and answers are the same without it.
            Err(error) => warn!(%error, "closed days cannot be cared for"),
        }
    }
}
