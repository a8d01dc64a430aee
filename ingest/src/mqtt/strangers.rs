//! How much unauthenticated peers may make us write.
//!
//! What an authenticated device sends wrong is always kept. Bytes of strangers are kept too, but a
//! port scan or a flood must not fill the journal or the log: beyond a burst they are only counted.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const BURST: u32 = 50;
const EVERY: Duration = Duration::from_millis(500);

/// A token bucket: [`BURST`] at once, then one every [`EVERY`].
#[derive(Debug)]
pub(crate) struct Strangers(Mutex<Bucket>);

#[derive(Debug)]
struct Bucket {
    left: u32,
    filled_at: Instant,
}

impl Strangers {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new(Bucket {
            left: BURST,
            filled_at: now,
        }))
    }

    /// Whether the next one may be kept.
    pub(crate) fn may_keep(&self, now: Instant) -> bool {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let n_new = now.saturating_duration_since(bucket.filled_at).as_millis() / EVERY.as_millis();
        if n_new > 0 {
            bucket.left = bucket
                .left
                .saturating_add(n_new.min(u128::from(BURST)) as u32)
                .min(BURST);
            bucket.filled_at = now;
        }
        let may = bucket.left > 0;
        bucket.left -= u32::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_kept_and_then_a_trickle() {
        let start = Instant::now();
        let strangers = Strangers::new(start);
        let kept = (0..1000).filter(|_| strangers.may_keep(start)).count();
        assert_eq!(kept, BURST as usize);
        assert!(!strangers.may_keep(start + EVERY / 2));
        let later = start + EVERY * 3;
        assert_eq!((0..9).filter(|_| strangers.may_keep(later)).count(), 3);
        let next_day = start + Duration::from_secs(86_400);
        assert_eq!(
            (0..1000).filter(|_| strangers.may_keep(next_day)).count(),
            BURST as usize
        );
    }
}
