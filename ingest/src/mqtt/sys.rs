//! What the broker says of itself under `$SYS/broker/…`, every ten seconds, retained.
//!
//! For those whose ACL allows it; none of it is journaled.

use std::time::{Duration, Instant};

use bytes::Bytes;
use onemap_log::Log;
use tokio_util::sync::CancellationToken;

use super::session::Sessions;
use crate::{Counted, Counters, Fanout};

const EVERY: Duration = Duration::from_secs(10);

/// Publishes until `stop`.
pub(super) async fn say(
    fanout: Fanout,
    counters: Counters,
    sessions: Sessions,
    log: Log,
    stop: CancellationToken,
) {
    let start = Instant::now();
    let mut clock = tokio::time::interval(EVERY);
    let mut load = Load::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = clock.tick() => {}
        }
        let counted = counters.counted();
        load.fold(&counted);
        for (name, value) in values(&fanout, &counted, &load, &sessions, &log, start) {
            let topic = format!("$SYS/broker/{name}");
            let payload = Bytes::from(value);
            // Position 0 takes no room of anybody's.
            let _ = fanout.retain(&topic, &payload, 0, 0);
            fanout.publish(&topic, payload, 0);
        }
    }
}

/// Rates a minute, averaged over about a minute.
#[derive(Debug, Default)]
struct Load {
    before: Option<(Instant, Counted)>,
    received: f64,
    sent: f64,
    bytes: f64,
    connections: f64,
}

impl Load {
    fn fold(&mut self, now: &Counted) {
        let at = Instant::now();
        if let Some((then, before)) = self.before.replace((at, *now)) {
            let minutes = at.duration_since(then).as_secs_f64().max(0.001) / 60.0;
            let old = (-minutes).exp();
            let fold = |average: &mut f64, now: u64, before: u64| {
                let rate = now.saturating_sub(before) as f64 / minutes;
                *average = *average * old + rate * (1.0 - old);
            };
            fold(&mut self.received, now.publishes, before.publishes);
            fold(&mut self.sent, now.deliveries, before.deliveries);
            fold(&mut self.bytes, now.bytes, before.bytes);
            fold(&mut self.connections, now.accepted, before.accepted);
        }
    }
}

fn values(
    fanout: &Fanout,
    counted: &Counted,
    load: &Load,
    sessions: &Sessions,
    log: &Log,
    start: Instant,
) -> Vec<(&'static str, String)> {
    let (_, n_away) = sessions.n();
    vec![
        ("version", format!("onemap {}", env!("CARGO_PKG_VERSION"))),
        ("uptime", format!("{} seconds", start.elapsed().as_secs())),
        ("clients/connected", counted.connections.to_string()),
        ("clients/disconnected", n_away.to_string()),
        ("clients/total", (counted.connections + n_away as u64).to_string()),
        ("messages/received", counted.publishes.to_string()),
        ("messages/sent", counted.deliveries.to_string()),
        ("messages/stored", log.status().n_records.to_string()),
        ("bytes/received", counted.bytes.to_string()),
        ("retained messages/count", fanout.n_retained().to_string()),
        ("subscriptions/count", fanout.n_subscriptions().to_string()),
        ("load/messages/received/1min", format!("{:.2}", load.received)),
        ("load/messages/sent/1min", format!("{:.2}", load.sent)),
        ("load/bytes/received/1min", format!("{:.2}", load.bytes)),
        ("load/connections/1min", format!("{:.2}", load.connections)),
    ]
}
