//! HJ 212 frames to superior platforms: opened before stations come in, run beside them.

use std::sync::Arc;

use anyhow::{Context, Result};
use onemap_dashboards::views::Views;
use onemap_ingest::forward::{Forward, ForwardConfig};
use tokio_util::sync::CancellationToken;

use crate::house::clock;

/// Opens the buffers, and shows how they stand in the views.
pub(crate) async fn open(configs: &[ForwardConfig], views: &Arc<Views>) -> Result<Vec<Forward>> {
    let (configs, journal) = (configs.to_vec(), views.log.clone());
    let open = move || {
        let open = |config: ForwardConfig| {
            let name = config.name.clone();
            Forward::open(config, &journal)
                .with_context(|| format!("[[superior]] {name} cannot be given frames"))
        };
        configs.into_iter().map(open).collect::<Result<Vec<_>>>()
    };
    let forwards = tokio::task::spawn_blocking(open)
        .await
        .context("buffers are opened")??;
    let states = forwards
        .iter()
        .map(|forward| (forward.name().to_owned(), forward.state()));
    // Set once: a server has one list.
    let _ = views.superiors.set(states.collect());
    Ok(forwards)
}

/// Runs one until the stop.
pub(crate) async fn run(forward: Forward, views: Arc<Views>, stop: CancellationToken) -> Result<()> {
    let name = forward.name().to_owned();
    let run = forward.run(views.log.clone(), clock, stop);
    run.await
        .with_context(|| format!("frames are not given on to `{name}`"))
}

/// Position up to which the journal is no longer needed for it.
pub(crate) fn floor(views: &Views) -> u64 {
    let superiors = views.superiors.get().into_iter().flatten();
    let copied = superiors.map(|(_, state)| state.copied.load(std::sync::atomic::Ordering::Acquire));
    copied.min().unwrap_or(u64::MAX)
}
