//! How many events may be told one by one.

use onemap_model::Timestamp;

/// So many at once, and then one each `every_ms`.
#[derive(Debug)]
pub(super) struct Bucket {
    burst: i64,
    every_ms: i64,
    /// When it is as it was at first, in milliseconds.
    whole_at: i64,
}

impl Bucket {
    pub(super) const fn new(burst: i64, every_ms: i64) -> Self {
        Self {
            burst,
            every_ms,
            whole_at: i64::MIN,
        }
    }

    /// Takes one, if there is one.
    pub(super) fn takes(&mut self, now: Timestamp) -> bool {
        let now = now.ms();
        let most = self.burst * self.every_ms;
        // A clock that was set back does not empty it for longer than that.
        let owed = self.whole_at.saturating_sub(now).clamp(0, most);
        let is_left = owed + self.every_ms <= most;
        self.whole_at = now + owed + if is_left { self.every_ms } else { 0 };
        is_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_and_then_as_many_as_come_back() {
        let mut bucket = Bucket::new(3, 1000);
        let mut takes = |ms: i64| bucket.takes(Timestamp::from_ms(1_763_856_000_000 + ms));
        assert_eq!(
            [takes(0), takes(0), takes(1), takes(2)],
            [true, true, true, false]
        );
        assert_eq!([takes(999), takes(1000), takes(1001)], [false, true, false]);
        // Set back by a day: after three seconds it is whole again.
        let day = -86_400_000;
        assert!(!takes(day));
        assert_eq!(
            [
                takes(day + 3000),
                takes(day + 3000),
                takes(day + 3000),
                takes(day + 3000)
            ],
            [true, true, true, false]
        );
    }
}
