//! Counters that every task shares, and the line they make.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use onemap_log::Status as LogStatus;
use serde_json::json;

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Polls that gave values.
    pub polls: AtomicU64,
    /// Slots that passed unused: slave or spool too slow, or backed off.
    pub missed: AtomicU64,
    /// Requests without an answer in time.
    pub timeouts: AtomicU64,
    /// Connections lost or not made, without time-outs.
    pub transport_errors: AtomicU64,
    /// Requests answered by a Modbus exception.
    pub exceptions: AtomicU64,
    /// Slots that passed unused because the spool was full.
    pub spool_full: AtomicU64,
    /// Bytes given to the spool.
    pub spooled_bytes: AtomicU64,
    /// Records published, without repeats.
    pub published: AtomicU64,
    /// Records published again.
    pub resent: AtomicU64,
    /// Receipts that were understood.
    pub receipts: AtomicU64,
    /// Receipts of another spool, or unreadable.
    pub foreign_receipts: AtomicU64,
    /// Spooled records that could not be read; they are passed over.
    pub unreadable: AtomicU64,
    /// Connections made to the server.
    pub connects: AtomicU64,
    /// Whether there is one now.
    pub connected: AtomicBool,
    /// Everything up to this position is stored by the server.
    pub floor: AtomicU64,
    /// Bytes a second that the spool takes, as last reported.
    pub bytes_per_s: AtomicU64,
    /// Commands that were answered.
    pub commands: AtomicU64,
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

/// Adds some.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// Turns byte counts into how long the spool's free room lasts.
#[derive(Debug)]
pub struct Rate {
    bytes: u64,
    /// Smoothed; `None` before the first interval.
    per_s: Option<f64>,
}

impl Rate {
    /// Starts at a byte count.
    pub fn new(bytes: u64) -> Self {
        Self { bytes, per_s: None }
    }
    /// `seconds` later the count is `bytes`; returns bytes a second.
    pub fn note(&mut self, bytes: u64, seconds: f64) -> f64 {
        let now = bytes.saturating_sub(self.bytes) as f64 / seconds.max(1e-3);
        self.bytes = bytes;
        let smooth = self.per_s.map_or(now, |old| 0.7 * old + 0.3 * now);
        self.per_s = Some(smooth);
        smooth
    }
}

impl Counters {
    /// The status as one JSON object. `hours` is how long the free room of the spool lasts at the present
    /// rate, `null` while nothing is spooled.
    pub fn line(&self, log: &LogStatus, max_bytes: u64, bytes_per_s: f64) -> serde_json::Value {
        let n = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let free = max_bytes.saturating_sub(log.bytes) as f64;
        let hours = (bytes_per_s > 0.0).then(|| (free / bytes_per_s / 3600.0 * 10.0).round() / 10.0);
        json!({
            "connected": self.connected.load(Ordering::Relaxed),
            "waiting": log.durable.saturating_sub(n(&self.floor)),
            "spool_bytes": log.bytes, "spool_hours": hours, "spool_stands": log.full,
            "polls": n(&self.polls), "missed": n(&self.missed), "spool_full": n(&self.spool_full),
            "timeouts": n(&self.timeouts), "transport_errors": n(&self.transport_errors), "exceptions": n(&self.exceptions),
            "published": n(&self.published), "resent": n(&self.resent),
            "receipts": n(&self.receipts), "foreign_receipts": n(&self.foreign_receipts),
            "unreadable": n(&self.unreadable), "connects": n(&self.connects), "commands": n(&self.commands),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_follows_the_byte_count() {
        let mut rate = Rate::new(0);
        assert_eq!(rate.note(1000, 10.0), 100.0);
        let mut last = 0.0;
        for i in 1..40 {
            last = rate.note(1000 + i * 3000, 10.0);
        }
        assert!((last - 300.0).abs() < 1.0);
    }
}
