//! How far a device's clock is off: measured from its own stamps, never corrected.
//!
//! Each live message that carries a device's own stamp gives one sample, its newest stamp less the
//! receive time: the clock's error less the time on the way. The median of the last sixteen is the
//! estimate, so that a few held-back messages or one mad stamp do not move it; half the distance between
//! the quartiles is how far it may be wrong. Stamps that are refused for being ahead count too: a clock
//! an hour fast is seen although none of its readings is taken.

use std::time::Duration;

use onemap_model::Timestamp;

/// Samples that an estimate rests on.
const N_SAMPLES: usize = 16;
/// Below this many nothing is said.
const N_ENOUGH: u32 = 5;

/// A device's clock against the server's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Stamp less receive time in milliseconds, newest at `(n - 1) % N_SAMPLES`.
    samples: [i32; N_SAMPLES],
    /// Samples ever taken.
    n: u32,
    /// First quartile, median, third quartile of the samples.
    quartiles: [i32; 3],
}

/// What is known of a device's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// Milliseconds that its clock is ahead of the server's; below zero it is behind, or its messages
    /// take that long.
    pub ahead_ms: i64,
    /// The estimate may be wrong by this much.
    pub bound_ms: i64,
}

impl Clock {
    /// Takes the newest stamp of a live message.
    pub(super) fn note(&mut self, stamp: Timestamp, received_at: Timestamp) {
        let ahead = stamp.ms().saturating_sub(received_at.ms());
        let ahead = ahead.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
        self.samples[self.n as usize % N_SAMPLES] = ahead;
        // Once the ring is full the count only has to stay past it and keep its place.
        self.n = match self.n {
            u32::MAX => u32::MAX - (N_SAMPLES as u32 - 1),
            n => n + 1,
        };
        // A full ring is looked at with every fourth sample: its median hardly moves in between.
        if self.n <= N_SAMPLES as u32 || self.n.is_multiple_of(4) {
            self.measure();
        }
    }

    fn measure(&mut self) {
        let n = (self.n as usize).min(N_SAMPLES);
        let mut sorted = self.samples;
        let sorted = &mut sorted[..n];
        sorted.sort_unstable();
        self.quartiles = [sorted[n / 4], sorted[n / 2], sorted[n * 3 / 4]];
    }

    /// The estimate, once it rests on enough messages.
    pub fn offset(&self) -> Option<Offset> {
        let [first, median, third] = self.quartiles.map(i64::from);
        (self.n >= N_ENOUGH).then_some(Offset {
            ahead_ms: median,
            bound_ms: (third - first + 1) / 2,
        })
    }

    /// Whether it is off by more than `tolerance`, whichever of the middle half of its messages one
    /// takes: a device whose messages are now and then held back is not one with a wrong clock.
    pub fn is_off(&self, tolerance: Duration) -> bool {
        let tolerance = i64::try_from(tolerance.as_millis()).unwrap_or(i64::MAX);
        let [first, _, third] = self.quartiles.map(i64::from);
        self.n >= N_ENOUGH && (first > tolerance || third < -tolerance)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.n.to_le_bytes());
        for sample in self.samples.iter().chain(&self.quartiles) {
            out.extend_from_slice(&sample.to_le_bytes());
        }
    }

    pub(super) fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let mut next = || -> Option<[u8; 4]> {
            let (head, rest) = bytes.split_first_chunk::<4>()?;
            *bytes = rest;
            Some(*head)
        };
        let mut clock = Self {
            n: u32::from_le_bytes(next()?),
            ..Self::default()
        };
        for i in 0..N_SAMPLES {
            clock.samples[i] = i32::from_le_bytes(next()?);
        }
        for i in 0..3 {
            clock.quartiles[i] = i32::from_le_bytes(next()?);
        }
        Some(clock)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW: i64 = 1_795_392_000_000;
    const FIVE_MINUTES: Duration = Duration::from_secs(300);

    fn clock(ahead_s: impl IntoIterator<Item = i64>) -> Clock {
        let mut clock = Clock::default();
        for (i, ahead) in (0i64..).zip(ahead_s) {
            let at = NOW + i * 60_000;
            clock.note(Timestamp::from_ms(at + ahead * 1000), Timestamp::from_ms(at));
        }
        clock
    }

    #[test]
    fn an_offset_is_said_of_clocks_heard_often_enough() {
        assert_eq!(clock([400; 4]).offset(), None);
        let slow = clock([-3600, -3601, -3602, -3600, -3601]);
        assert_eq!(slow.offset().unwrap().ahead_ms, -3_601_000);
        assert!(slow.is_off(FIVE_MINUTES) && !slow.is_off(Duration::from_secs(7200)));
        assert!(clock([400; 5]).is_off(FIVE_MINUTES));
        assert!(!clock([299; 40]).is_off(FIVE_MINUTES));
    }

    #[test]
    fn a_few_held_back_messages_and_one_mad_stamp_say_nothing_of_the_clock() {
        let mut ahead = vec![-1; 16];
        ahead[3] = -4000;
        ahead[9] = -9000;
        ahead[12] = i64::MAX / 4_000;
        let clock = clock(ahead);
        assert!(!clock.is_off(FIVE_MINUTES));
        assert_eq!(clock.offset().unwrap().ahead_ms, -1000);
    }

    #[test]
    fn a_clock_that_is_set_right_is_right_after_its_next_messages() {
        assert!(!clock([[900; 30], [0; 30]].concat()).is_off(FIVE_MINUTES));
    }

    #[test]
    fn it_reads_back_as_written() {
        let clock = clock(-20..9);
        let mut bytes = Vec::new();
        clock.encode(&mut bytes);
        assert_eq!(Clock::decode(&mut &bytes[..]), Some(clock));
        assert_eq!(Clock::decode(&mut &bytes[1..]), None);
    }
}
