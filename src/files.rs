//! The limit of open files: one connection is one.

use onemap_ingest::MqttConfig;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Files that are not connections of devices: journal, history, databases, requests.
const N_OWN: u64 = 512;

/// Raises the limit of open files to what is allowed, and gives the configuration with no more connections
/// than that leaves room for: beyond it `accept` fails, and nobody is told why.
pub(crate) fn fitted(config: &MqttConfig) -> MqttConfig {
    let mut config = config.clone();
    let fits = raise().map(|limit| limit.saturating_sub(N_OWN).max(limit / 2));
    let wanted = config.limits.connections;
    if let Some(fits) = fits.and_then(|fits| usize::try_from(fits).ok())
        && fits < wanted
    {
        warn!(
            "the limit of open files leaves room for {fits} connections and not for [mqtt] max_connections = \
             {wanted}; raise it (LimitNOFILE= of systemd, `ulimit -Hn`) to {}",
            wanted as u64 + N_OWN
        );
        config.limits.connections = fits;
    }
    config
}

/// Raises the soft limit to the hard one. Gives it; `None` when there is none.
fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(error) => {
            warn!("the limit of open files cannot be raised: {error}");
            current
        }
    }
}
