//! A station's own clock: ahead or behind, too fast or too slow, and set by the centre.

use onemap_model::Timestamp;

use super::faults::Faults;

/// What a station takes for the time.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnClock {
    started: Timestamp,
    ahead_ms: i64,
    drift_ppm: f64,
}

impl OwnClock {
    /// A clock that was switched on now, as wrong as the faults say.
    pub(super) fn new(now: Timestamp, faults: &Faults) -> Self {
        Self {
            started: now,
            ahead_ms: faults.skew_ms,
            drift_ppm: faults.drift_ppm,
        }
    }

    /// What it shows.
    pub(super) fn shows(&self, now: Timestamp) -> Timestamp {
        let age_ms = (now.ms() - self.started.ms()) as f64;
        Timestamp::from_ms(now.ms() + self.ahead_ms + (age_ms * self.drift_ppm / 1e6) as i64)
    }

    /// How far it is ahead.
    pub(super) fn ahead_ms(&self, now: Timestamp) -> i64 {
        self.shows(now).ms() - now.ms()
    }

    /// It shows this time from now on.
    pub(super) fn set(&mut self, now: Timestamp, time: Timestamp) {
        self.ahead_ms += time.ms() - self.shows(now).ms();
    }
}
