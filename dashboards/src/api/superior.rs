//! How forwarding to superior platforms stands: in metrics and in the system's answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use onemap_ingest::forward::ForwardState;
use onemap_model::Timestamp;
use serde_json::{Value, json};

use super::engine::Metric;
use crate::views::Superiors;

/// Metrics of all of them.
pub(super) fn metrics(superiors: &Superiors, metric: &mut Metric<'_>) {
    let mut each = |name: &str, kind: &str, help: &str, value: &dyn Fn(&ForwardState) -> u64| {
        let values: Vec<_> = superiors
            .iter()
            .map(|(superior, state)| (format!("{{superior=\"{superior}\"}}"), value(state)))
            .collect();
        metric(name, kind, help, &values);
    };
    let count = |value: &AtomicU64| value.load(Ordering::Relaxed);
    each(
        "onemap_forward_up",
        "gauge",
        "1 while the connection to the superior platform stands.",
        &|state| u64::from(state.is_connected.load(Ordering::Relaxed)),
    );
    each(
        "onemap_forward_waiting_records",
        "gauge",
        "Frames that the superior has not answered.",
        &ForwardState::n_waiting,
    );
    each(
        "onemap_forward_bytes",
        "gauge",
        "Bytes of the buffer on disk.",
        &|state| count(&state.bytes),
    );
    each(
        "onemap_forward_answered_total",
        "counter",
        "Frames that the superior answered.",
        &|state| count(&state.n_answered),
    );
    each(
        "onemap_forward_resent_total",
        "counter",
        "Frames sent again for want of an answer.",
        &|state| count(&state.n_again),
    );
    each(
        "onemap_forward_unanswered_total",
        "counter",
        "Encrypted frames that ask for no answer, sent without a receipt.",
        &|state| count(&state.n_unanswered),
    );
    each(
        "onemap_forward_lost_total",
        "counter",
        "Records that went unsent because the buffer was full.",
        &|state| count(&state.n_lost),
    );
    each(
        "onemap_forward_refused_requests_total",
        "counter",
        "Requests of the superior that were refused.",
        &|state| count(&state.n_refused),
    );
    each(
        "onemap_forward_refused_frames_total",
        "counter",
        "Frames that the superior refused each time they were sent, given up.",
        &|state| count(&state.n_refused_frames),
    );
    each(
        "onemap_forward_parked_stations",
        "gauge",
        "Stations whose frames the superior does not answer; they are tried again later.",
        &|state| count(&state.n_parked),
    );
}

/// The member `superiors` of the system's answer.
pub(super) fn shown(superiors: Option<&Superiors>) -> Value {
    let show = |(name, state): &(String, Arc<ForwardState>)| {
        let count = |value: &AtomicU64| value.load(Ordering::Relaxed);
        let answered_at = state.answered_at.load(Ordering::Relaxed);
        json!({
            "name": name,
            "up": state.is_connected.load(Ordering::Relaxed),
            "waiting": state.n_waiting(),
            "bytes": count(&state.bytes),
            "answered": count(&state.n_answered),
            "answered_at": (answered_at > 0).then(|| Timestamp::from_ms(answered_at)),
            "resent": count(&state.n_again),
            "lost": count(&state.n_lost),
            "refused_frames": count(&state.n_refused_frames),
            "parked_stations": count(&state.n_parked),
        })
    };
    superiors.into_iter().flatten().map(show).collect()
}
