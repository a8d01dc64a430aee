//! Doing again what failed until it is done.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use onemap_dashboards::views::Views;
use tracing::{error, info};

use super::POISON;

/// How long what failed waits before it is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Does something again and again while it fails (no room on the disk, a file locked by a backup, a sector that
/// cannot be read): nothing further is folded meanwhile, so memory stays bounded, and `/health/ready` says why.
/// `stop` ends it with the error; without one (a replay, a digest: nobody waits for these) the first error does.
pub(super) fn patiently<T>(
    views: &Views,
    stop: Option<&AtomicBool>,
    what: &str,
    mut attempt: impl FnMut() -> Result<T>,
) -> Result<T> {
    let mut failed = false;
    loop {
        let error = match attempt() {
            Ok(done) => {
                if failed {
                    info!("{what} goes on");
                    *views.fault.write().expect(POISON) = None;
                }
                return Ok(done);
            }
            Err(error) => error.context(what.to_owned()),
        };
        if stop.is_none_or(|stop| stop.load(Ordering::Acquire)) {
            return Err(error);
        }
        if !failed {
            error!("the pipeline waits: {error:#}");
            *views.fault.write().expect(POISON) = Some(format!("the pipeline waits: {error:#}"));
        }
        failed = true;
        std::thread::sleep(RETRY);
    }
}
