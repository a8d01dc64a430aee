//! Those whom the commit thread tells itself, before all others.
//!
//! A task that waits for a position wakes up some thirty microseconds after its commit, a fifth of a short
//! sync. Where a log has one or two users with records under way, that is a good part of each round; where it
//! has many, the rounds are long, and telling each from the one commit thread would make them longer. So only
//! a few are told first, and the others are told that they are not.

use std::{
    fmt, mem,
    sync::{Arc, Mutex},
};

use crate::shared::lock;

/// How many may be told first by one commit.
const MOST: usize = 2;

/// Somebody the commit thread tells. What it does takes microseconds and never waits.
pub trait ToldFirst: fmt::Debug + Send + Sync {
    /// All records up to `position` are durable.
    fn durable(&self, position: u64);

    /// It will not be told of what it waits for: too many wait, or the log has ended.
    fn not_first(&self);
}

/// Who waits to be told.
#[derive(Debug, Default)]
pub(crate) struct First {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    durable: u64,
    /// Each once, with the last position it waits for.
    who: Vec<(u64, Arc<dyn ToldFirst>)>,
    /// More than a few waited since the last commit: none of them is told first.
    is_crowded: bool,
    has_ended: bool,
}

impl First {
    pub(crate) fn new(durable: u64) -> Self {
        let waiting = Waiting {
            durable,
            ..Waiting::default()
        };
        Self {
            waiting: Mutex::new(waiting),
        }
    }

    /// Notes down who is to be told; says whether it will hear one way or the other.
    pub(crate) fn wait(&self, position: u64, who: Arc<dyn ToldFirst>) -> bool {
        let mut waiting = lock(&self.waiting);
        if waiting.is_crowded || waiting.has_ended || position <= waiting.durable {
            return false;
        }
        if let Some((last, _)) = waiting.who.iter_mut().find(|(_, other)| Arc::ptr_eq(other, &who)) {
            *last = position;
            return true;
        }
        if waiting.who.len() < MOST {
            waiting.who.push((position, who));
            return true;
        }
        waiting.is_crowded = true;
        let others = mem::take(&mut waiting.who);
        drop(waiting);
        for (_, other) in others {
            other.not_first();
        }
        false
    }

    /// Tells all who wait; those that wait for more are told again.
    pub(crate) fn tell(&self, durable: u64) {
        let mut waiting = lock(&self.waiting);
        waiting.durable = durable;
        waiting.is_crowded = false;
        if waiting.who.is_empty() {
            return;
        }
        let told = waiting.who.clone();
        waiting.who.retain(|(last, _)| *last > durable);
        drop(waiting);
        for (_, who) in told {
            who.durable(durable);
        }
    }

    /// Nothing more becomes durable.
    pub(crate) fn end(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.has_ended = true;
        let who = mem::take(&mut waiting.who);
        drop(waiting);
        for (_, who) in who {
            who.not_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct Heard {
        durable: AtomicU64,
        n_not_first: AtomicU64,
    }

    impl ToldFirst for Heard {
        fn durable(&self, position: u64) {
            self.durable.store(position, Ordering::SeqCst);
        }

        fn not_first(&self) {
            self.n_not_first.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Heard {
        fn all(&self) -> (u64, u64) {
            (
                self.durable.load(Ordering::SeqCst),
                self.n_not_first.load(Ordering::SeqCst),
            )
        }
    }

    fn pair() -> (Arc<Heard>, Arc<dyn ToldFirst>) {
        let heard = Arc::new(Heard::default());
        let who: Arc<dyn ToldFirst> = Arc::<Heard>::clone(&heard);
        (heard, who)
    }

    #[test]
    fn whoever_waits_is_told_until_its_last_position_is_reached() {
        let first = First::new(10);
        let ((heard, who), (heard_other, other)) = (pair(), pair());
        assert!(!first.wait(10, Arc::clone(&who)), "it is durable already");
        assert!(
            first.wait(11, Arc::clone(&who))
                && first.wait(12, Arc::clone(&other))
                && first.wait(14, Arc::clone(&who))
        );
        first.tell(13);
        assert_eq!((heard.all(), heard_other.all()), ((13, 0), (13, 0)));
        first.tell(14);
        assert_eq!((heard.all(), heard_other.all()), ((14, 0), (13, 0)));
        first.tell(15);
        assert_eq!((heard.all(), heard_other.all()), ((14, 0), (13, 0)));
    }

    #[test]
    fn of_many_none_is_told_first_until_the_next_commit_and_each_hears_of_it() {
        let first = First::new(0);
        let all: Vec<_> = (0..=MOST).map(|_| pair()).collect();
        let taken = (1..)
            .zip(&all)
            .map(|(position, (_, who))| first.wait(position, Arc::clone(who)));
        assert_eq!(taken.collect::<Vec<_>>(), [true, true, false]);
        first.tell(3);
        let heard: Vec<_> = all.iter().map(|(heard, _)| heard.all()).collect();
        assert_eq!(heard, [(0, 1), (0, 1), (0, 0)]);
        assert!(first.wait(4, Arc::clone(&all[0].1)));
        first.tell(4);
        assert_eq!(all[0].0.all(), (4, 1));
    }

    #[test]
    fn the_end_is_heard_and_nothing_is_waited_for_behind_it() {
        let first = First::new(0);
        let (heard, who) = pair();
        assert!(first.wait(1, Arc::clone(&who)));
        first.end();
        assert_eq!(heard.all(), (0, 1));
        assert!(!first.wait(2, Arc::clone(&who)));
    }
}
