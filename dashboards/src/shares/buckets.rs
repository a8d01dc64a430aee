//! How fast each of many callers may come: a bucket of tokens for each, without a lock.
//!
//! A bucket is two words: whose it is, and when it is full again (the generic cell rate algorithm of ITU-T I.371). The
//! table has room for a fixed number of them, eight where a key may stand; when these are taken, the one that is full
//! again first makes room, so who has taken most is forgotten last. Two callers that come to one place at once may
//! count one request for the other: a share is a limit of many requests and not a book of each.
//!
//! Pure: the caller says what time it is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Places where a key may stand: as many as two cache lines hold.
const N_WAYS: usize = 8;
/// Groups of them: 64 Ki callers in 1 MiB.
const N_GROUPS: usize = 1 << 13;

/// Requests a second, and at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// 0 is no limit.
    pub per_second: u32,
    /// At once; not less than one.
    pub burst: u32,
}

impl Rate {
    /// Nanoseconds that one request takes to come back.
    fn interval(self) -> u64 {
        1_000_000_000 / u64::from(self.per_second.max(1))
    }
}

#[derive(Debug, Default)]
struct Bucket {
    /// 0 is nobody's.
    key: AtomicU64,
    /// Nanoseconds since the table was made at which the bucket is full.
    full_at: AtomicU64,
}

/// Buckets of one rate.
#[derive(Debug)]
pub(super) struct Buckets {
    rate: Rate,
    groups: Box<[[Bucket; N_WAYS]]>,
}

impl Buckets {
    pub(super) fn new(rate: Rate) -> Self {
        // Nothing is looked up where there is no limit.
        let n_groups = if rate.per_second == 0 { 0 } else { N_GROUPS };
        Self {
            rate,
            groups: (0..n_groups).map(|_| Default::default()).collect(),
        }
    }

    /// Takes one request of a caller, whose key has its bits spread evenly; `now` is the time since the table was made.
    ///
    /// # Errors
    /// How long until there is one; nothing is taken then.
    pub(super) fn take(&self, key: u64, now: Duration) -> Result<(), Duration> {
        let Some(group) = self.groups.get(key as usize % N_GROUPS) else {
            return Ok(());
        };
        let key = key.max(1);
        let now = now.as_nanos() as u64;
        let bucket = bucket_of(group, key, now);
        let interval = self.rate.interval();
        let most = now + interval * u64::from(self.rate.burst.max(1));
        let mut full_at = bucket.full_at.load(Ordering::Relaxed);
        loop {
            let next = full_at.max(now) + interval;
            if next > most {
                return Err(Duration::from_nanos(next - most));
            }
            let taken =
                bucket
                    .full_at
                    .compare_exchange_weak(full_at, next, Ordering::Relaxed, Ordering::Relaxed);
            match taken {
                Ok(_) => return Ok(()),
                Err(other) => full_at = other,
            }
        }
    }
}

/// The bucket of a key; where it has none, one that is full or will be first becomes its own.
fn bucket_of(group: &[Bucket; N_WAYS], key: u64, now: u64) -> &Bucket {
    if let Some(bucket) = group
        .iter()
        .find(|bucket| bucket.key.load(Ordering::Relaxed) == key)
    {
        return bucket;
    }
    let first_full = group
        .iter()
        .min_by_key(|bucket| bucket.full_at.load(Ordering::Relaxed))
        .expect("a group has ways");
    first_full.full_at.store(now, Ordering::Relaxed);
    first_full.key.store(key, Ordering::Relaxed);
    first_full
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const RATE: Rate = Rate {
        per_second: 10,
        burst: 5,
    };

    /// Evenly spread keys, as hashes are.
    fn key(n: u64) -> u64 {
        n.wrapping_add(1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(23)
    }

    #[test]
    fn a_burst_runs_out_and_comes_back_one_by_one() {
        let buckets = Buckets::new(RATE);
        let start = Duration::from_secs(1);
        for _ in 0..RATE.burst {
            buckets.take(7, start).unwrap();
        }
        let wait = buckets.take(7, start).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        assert_eq!(buckets.take(8, start), Ok(()), "another caller");
        assert!(buckets.take(7, start + wait / 2).is_err());
        assert_eq!(buckets.take(7, start + wait), Ok(()));
        assert!(buckets.take(7, start + wait).is_err());
        // What was not used comes back up to the burst and no further.
        let later = start + Duration::from_secs(3600);
        let n = (0..100).filter(|_| buckets.take(7, later).is_ok()).count();
        assert_eq!(n, RATE.burst as usize);
    }

    #[test]
    fn without_a_limit_nothing_is_kept() {
        let rate = Rate {
            per_second: 0,
            burst: 1,
        };
        let buckets = Buckets::new(rate);
        assert!(buckets.groups.is_empty());
        for _ in 0..1000 {
            buckets.take(7, Duration::ZERO).unwrap();
        }
    }

    #[test]
    fn a_flood_of_callers_forgets_last_who_took_most() {
        let buckets = Buckets::new(RATE);
        let now = Duration::from_secs(1);
        let greedy = key(0);
        while buckets.take(greedy, now).is_ok() {}
        for n in 1..4 * (N_GROUPS * N_WAYS) as u64 {
            buckets.take(key(n), now).unwrap();
        }
        assert!(buckets.take(greedy, now).is_err());
    }

    #[test]
    fn threads_that_take_at_once_take_no_more_than_there_is() {
        let buckets = Buckets::new(Rate {
            per_second: 1,
            burst: 1000,
        });
        let now = Duration::from_secs(1);
        let taken: usize = std::thread::scope(|scope| {
            let take = || (0..1000).filter(|_| buckets.take(3, now).is_ok()).count();
            let all: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            all.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(taken, 1000);
    }
}
