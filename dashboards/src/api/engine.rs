//! How the history's engine beside the embedded one stands: in metrics and in the system's answer.

use onemap_model::Timestamp;
use onemap_store::remote::{RemoteStore, Unsent};
use serde_json::{Map, Value, json};

/// Takes a metric: name, kind, help, and values with their labels.
pub(super) type Metric<'a> = dyn FnMut(&str, &str, &str, &[(String, u64)]) + 'a;

/// Metrics of the spool and the sender.
pub(super) fn metrics(remote: &RemoteStore, now: Timestamp, metric: &mut Metric<'_>) {
    let one = |value: u64| [(String::new(), value)];
    let spool = remote.spool().state();
    let sent = remote.state().progress(now);
    metric(
        "onemap_remote_up",
        "gauge",
        "1 while the history's engine answers.",
        &one(u64::from(sent.up)),
    );
    metric(
        "onemap_remote_sent_total",
        "counter",
        "Points that the history's engine acknowledged, those sent again included.",
        &one(sent.sent),
    );
    metric(
        "onemap_remote_resent_total",
        "counter",
        "Points sent again because the engine may have lost what it acknowledged.",
        &one(sent.resent),
    );
    metric(
        "onemap_remote_bodies_total",
        "counter",
        "Bodies that the history's engine acknowledged.",
        &one(sent.bodies),
    );
    metric(
        "onemap_remote_retries_total",
        "counter",
        "Attempts to reach the history's engine that failed.",
        &one(sent.retries),
    );
    let unsent = Unsent::ALL.map(|why| {
        let n = sent.unsent.get(&why).copied().unwrap_or(0);
        (format!("{{reason=\"{}\"}}", why.label()), n)
    });
    metric(
        "onemap_remote_refused_total",
        "counter",
        "Points that the history's engine does not get, by reason; the embedded history has them.",
        &unsent,
    );
    metric(
        "onemap_spool_bytes",
        "gauge",
        "Bytes of the spool on disk.",
        &one(spool.bytes),
    );
    metric(
        "onemap_spool_max_bytes",
        "gauge",
        "Bytes at which the spool is full and readings wait.",
        &one(spool.max_bytes),
    );
    metric(
        "onemap_spool_full",
        "gauge",
        "1 while readings wait for room in the spool.",
        &one(u64::from(spool.full)),
    );
    metric(
        "onemap_spool_lag_points",
        "gauge",
        "Points that the history's engine has not acknowledged.",
        &one(spool.n_points),
    );
    metric(
        "onemap_spool_lag_seconds",
        "gauge",
        "Seconds that the oldest of them has waited.",
        &one(sent.lag_s),
    );
}

/// The member `history` of the system's answer.
pub(super) fn shown(remote: Option<&RemoteStore>, now: Timestamp) -> Value {
    let Some(remote) = remote else {
        return json!({"engine": "embedded"});
    };
    let spool = remote.spool().state();
    let sent = remote.state().progress(now);
    let unsent: Map<String, Value> = sent
        .unsent
        .iter()
        .map(|(why, n)| (why.label().to_owned(), (*n).into()))
        .collect();
    json!({
        "engine": remote.name(), "up": sent.up, "fault": sent.fault,
        "waiting": {"points": spool.n_points, "seconds": sent.lag_s, "bytes": spool.bytes, "full": spool.full},
        "sent": sent.sent, "refused": unsent,
    })
}
