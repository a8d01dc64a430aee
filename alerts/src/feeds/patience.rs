//! When something is sent again, and when no more.

use std::time::Duration;

use onemap_model::{Timestamp, TransitionId};

use super::answer::{Failure, Verdict};

/// The first pause; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause that nobody asked for.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The longest that a consumer may ask to be left alone.
const LONGEST_ASKED: Duration = Duration::from_secs(86_400);

/// How long a consumer is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// After the first attempt with an item, how long it is tried before it is set aside.
    pub tries_within: Duration,
    /// Least time between two requests.
    pub min_pause: Duration,
}

/// What was tried before with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trying {
    /// When it was tried first.
    pub since: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
}

/// What follows an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It was received: the line goes on.
    Received,
    /// It is sent again after a pause.
    Again(Duration, Failure),
    /// It is set aside: the line goes on.
    Aside(Failure),
}

impl Patience {
    /// What follows the answer to one more attempt with an item, which `before` tells of those before.
    ///
    /// The pause is half a second, then twice as long each time up to five minutes, a quarter more or less as the item and
    /// the attempt say, so that consumers that went away together are not all asked again together. A consumer's own wish
    /// counts when it is longer.
    pub fn next(
        &self,
        verdict: Verdict,
        item: &TransitionId,
        before: Option<Trying>,
        now: Timestamp,
    ) -> (Next, Trying) {
        let before = before.unwrap_or(Trying {
            since: now,
            attempts: 0,
        });
        let trying = Trying {
            since: before.since,
            attempts: before.attempts.saturating_add(1),
        };
        let next = match verdict {
            Verdict::Received => Next::Received,
            Verdict::Never(failure) => Next::Aside(failure),
            Verdict::Later(failure, asked) => {
                let asked = asked.unwrap_or_default().min(LONGEST_ASKED);
                let pause = pause(trying.attempts, item).max(asked);
                let is_over = now.since(trying.since) >= self.tries_within;
                if is_over {
                    Next::Aside(failure)
                } else {
                    // The last attempt is due when its time ends.
                    let left = self.tries_within.saturating_sub(now.since(trying.since));
                    Next::Again(pause.min(left.max(asked)), failure)
                }
            }
        };
        (next, trying)
    }
}

fn pause(attempts: u32, item: &TransitionId) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
    let word = TransitionId::of(&[item.to_string().as_bytes(), &attempts.to_le_bytes()]).to_string();
    // Of hexadecimal digits: from 0 to 255.
    let jitter = u32::from_str_radix(&word[..2], 16).unwrap_or(128);
    pause * 3 / 4 + pause / 2 * jitter / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        tries_within: Duration::from_secs(3600),
        min_pause: Duration::ZERO,
    };

    fn item() -> TransitionId {
        TransitionId::of(&[b"x"])
    }

    fn later(asked: Option<u64>) -> Verdict {
        Verdict::Later(Failure::Status5xx, asked.map(Duration::from_secs))
    }

    #[test]
    fn pauses_double_to_five_minutes_and_end_with_the_time() {
        let mut now = Timestamp::from_ms(0);
        let (mut before, mut pauses) = (None, Vec::new());
        let last = loop {
            let (next, trying) = PATIENCE.next(later(None), &item(), before, now);
            before = Some(trying);
            match next {
                Next::Again(pause, _) => {
                    now = now + pause;
                    pauses.push(pause.as_millis());
                }
                last => break last,
            }
        };
        assert_eq!(last, Next::Aside(Failure::Status5xx));
        assert_eq!(now.ms(), 3_600_000, "the last attempt is due when the time ends");
        for (n, pause) in pauses.iter().take(9).enumerate() {
            let middle = 500 * (1 << n);
            assert!((middle * 3 / 4..=middle * 5 / 4).contains(pause), "{n}: {pause}");
        }
        assert!(pauses.iter().all(|pause| *pause <= 375_000), "{pauses:?}");
    }

    #[test]
    fn a_consumer_is_left_alone_as_long_as_it_asks_and_no_longer_than_a_day() {
        let at = Timestamp::from_ms(0);
        let pause = |asked| match PATIENCE.next(later(Some(asked)), &item(), None, at).0 {
            Next::Again(pause, _) => pause.as_secs(),
            other => panic!("{other:?}"),
        };
        assert_eq!((pause(0), pause(90), pause(u64::MAX)), (0, 90, 86_400));
        let refused = Verdict::Never(Failure::Status4xx);
        let (next, _) = PATIENCE.next(refused, &item(), None, at);
        assert_eq!(next, Next::Aside(Failure::Status4xx));
    }
}
