//! The limit of open files: one connection is one.

use onemap_dashboards::limits::Limits;
use onemap_ingest::MqttConfig;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Files that are not connections of devices: journal, history, databases, requests.
const N_OWN: u64 = 512;

/// Raises the limit of open files to what is allowed, and gives the configuration with no more connections
/// than that leaves room for: beyond it `accept` fails, and nobody is told why.
/// HTTP has a quarter of the limit at most.
pub(crate) fn fitted(config: &MqttConfig, mut http: Limits) -> (MqttConfig, Limits) {
    let mut config = config.clone();
    let limit = raise();
    let quarter = limit.and_then(|limit| usize::try_from(limit / 4).ok());
    if let Some(quarter) = quarter
        && quarter < http.connections
    {
        warn!(
            "the limit of open files leaves room for {quarter} HTTP connections and not for [http] \
             max_connections = {}",
            http.connections
        );
        http.connections = quarter;
    }
    let n_own = N_OWN + http.connections as u64;
    let fits = limit.map(|limit| limit.saturating_sub(n_own).max(limit / 2));
    let wanted = config.limits.connections;
    if let Some(fits) = fits.and_then(|fits| usize::try_from(fits).ok())
        && fits < wanted
    {
        warn!(
            "the limit of open files leaves room for {fits} connections and not for [mqtt] max_connections = \
             {wanted}; raise it (LimitNOFILE= of systemd, `ulimit -Hn`) to {}",
            wanted as u64 + n_own
        );
        config.limits.connections = fits;
    }
    (config, http)
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
