//! When a slave is due: a fixed rate without drift, and back-off after failures. Pure.

use std::time::{Duration, Instant};

/// Slots at `start`, `start + every`, … A slot that is missed is counted, never made up for.
#[derive(Clone, Debug)]
pub struct Schedule {
    due: Instant,
    every: Duration,
}

impl Schedule {
    /// The first slot is at `start`. `every` is at least a millisecond.
    pub fn new(start: Instant, every: Duration) -> Self {
        Self {
            due: start,
            every: every.max(Duration::from_millis(1)),
        }
    }

    /// The next slot.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// The current slot was used at `now`: goes to the first slot after `now` and returns how many slots
    /// between were missed.
    pub fn used(&mut self, now: Instant) -> u64 {
        self.due += self.every;
        self.skip_to(now)
    }

    /// Goes to the first slot at or after `earliest` and returns how many were passed over unused.
    pub fn skip_to(&mut self, earliest: Instant) -> u64 {
        let Some(behind) = earliest.checked_duration_since(self.due) else {
            return 0;
        };
        let n = behind.as_nanos().div_ceil(self.every.as_nanos());
        let n = u32::try_from(n).unwrap_or(u32::MAX);
        self.due += self.every.saturating_mul(n);
        u64::from(n)
    }
}

/// Growing pauses between attempts, each shortened by chance so that many gateways do not come at once.
#[derive(Clone, Debug)]
pub struct BackOff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl BackOff {
    /// Pauses from `first` up to `most`, doubling.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            next: first,
        }
    }
    /// The next pause; `chance` in `[0, 1]` takes up to half of it away.
    pub fn pause(&mut self, chance: f64) -> Duration {
        let pause = self.next.mul_f64(1.0 - 0.5 * chance.clamp(0.0, 1.0));
        self.next = (self.next * 2).min(self.most);
        pause
    }
    /// It worked: the next pause is the first again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A number in `[0, 1)` from the system's randomness; 0.5 when that fails.
pub fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |n| f64::from(n) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn slots_do_not_drift_with_the_time_a_poll_takes() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 100 * MS);
        for i in 0..50u32 {
            assert_eq!(schedule.due(), start + 100 * MS * i);
            let late = schedule.due() + MS * (i % 90);
            assert_eq!(schedule.used(late), 0);
        }
    }

    #[test]
    fn missed_slots_are_counted_and_the_rhythm_kept() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 100 * MS);
        assert_eq!(schedule.used(start + 950 * MS), 9);
        assert_eq!(schedule.due(), start + 1000 * MS);
        assert_eq!(schedule.skip_to(start + 1000 * MS), 0);
        assert_eq!(schedule.skip_to(start + 1001 * MS), 1);
        assert_eq!(schedule.due(), start + 1100 * MS);
    }

    #[test]
    fn pauses_double_up_to_the_most_and_start_again() {
        let mut back_off = BackOff::new(100 * MS, 400 * MS);
        let pauses: Vec<_> = (0..4).map(|_| back_off.pause(0.0)).collect();
        assert_eq!(pauses, [100 * MS, 200 * MS, 400 * MS, 400 * MS]);
        back_off.reset();
        assert_eq!(back_off.pause(1.0), 50 * MS);
    }
}
