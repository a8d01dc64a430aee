//! Records the children that gateways adopted, so that a journal whose frames have gone still knows them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use onemap_dashboards::views::Views;
use onemap_model::Scope;
use onemap_model::record::Register;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::house::clock;
use crate::pipeline::Adoptions;

/// How long a journal that takes nothing is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// Records until `stop`. What a stop leaves unrecorded stands in register.gpkg, and in the gateway's frame.
pub(crate) async fn run(adoptions: Adoptions, views: Arc<Views>, stop: CancellationToken) -> Result<()> {
    let scope = Scope::local("adoption");
    loop {
        let children = tokio::select! {
            children = adoptions.take() => children,
            () = stop.cancelled() => return Ok(()),
        };
        let changes: Vec<Register> = children
            .into_iter()
            .map(|device| Register::Adopted { device })
            .collect();
        loop {
            let recorded = tokio::select! {
                recorded = views.acts.record_register(&scope, clock(), changes.clone()) => recorded,
                () = stop.cancelled() => return Ok(()),
            };
            let Err(error) = recorded else { break };
            warn!(%error, "adopted children are not recorded yet");
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }
}
