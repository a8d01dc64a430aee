//! The waiting room of a listener: connections that have not said who they are.
//!
//! It has a limit. When it is full, new connections wait in the system's accept queue; but who has been in
//! it for [`GRACE`] then has to go for them. So peers that say nothing, or one byte a second, hold nobody up
//! for longer than that, and a rush of honest ones is taken in turn instead of all at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Duration, Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// How long a connection may always take, even when the room is full.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// A waiting room; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    n_chairs: usize,
    waiting: Mutex<Waiting>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    /// Oldest first.
    since: BTreeMap<u64, (Instant, CancellationToken)>,
}

/// A place in the room; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Chair {
    room: Room,
    number: u64,
    /// Cancelled when somebody else needs the place.
    pub(crate) must_go: CancellationToken,
}

impl Room {
    pub(crate) fn new(n_chairs: usize) -> Self {
        Self(Arc::new(Inner {
            n_chairs: n_chairs.max(1),
            waiting: Mutex::default(),
            freed: Notify::new(),
        }))
    }

    /// Waits for a place, at most [`GRACE`]. Cancel safe.
    pub(crate) async fn enter(&self) -> Chair {
        loop {
            let freed = self.0.freed.notified();
            let until = {
                let now = Instant::now();
                let mut waiting = self.waiting();
                let oldest = waiting
                    .since
                    .iter()
                    .next()
                    .map(|(number, (at, _))| (*number, *at));
                match oldest {
                    Some((_, at)) if waiting.since.len() >= self.0.n_chairs && now < at + GRACE => at + GRACE,
                    Some((number, _)) if waiting.since.len() >= self.0.n_chairs => {
                        if let Some((_, must_go)) = waiting.since.remove(&number) {
                            must_go.cancel();
                        }
                        return self.sit(waiting, now);
                    }
                    _ => return self.sit(waiting, now),
                }
            };
            // Freed or late enough: look again.
            let _ = timeout_at(until, freed).await;
        }
    }

    fn sit(&self, mut waiting: MutexGuard<'_, Waiting>, now: Instant) -> Chair {
        let number = waiting.next;
        waiting.next += 1;
        let must_go = CancellationToken::new();
        waiting.since.insert(number, (now, must_go.clone()));
        Chair {
            room: self.clone(),
            number,
            must_go,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Chair {
    fn drop(&mut self) {
        self.room.waiting().since.remove(&self.number);
        self.room.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_room_lets_the_oldest_go_after_the_grace() {
        let room = Room::new(2);
        let start = Instant::now();
        let first = room.enter().await;
        let second = room.enter().await;
        assert_eq!(Instant::now(), start);
        let third = room.enter().await;
        assert_eq!(Instant::now(), start + GRACE);
        assert!(first.must_go.is_cancelled() && !second.must_go.is_cancelled());
        drop(first);
        assert_eq!(room.waiting().since.len(), 2, "it had gone already");
        drop((second, third));
        assert!(room.waiting().since.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_is_freed_is_taken_at_once() {
        let room = Room::new(1);
        let first = room.enter().await;
        let start = Instant::now();
        let (_second, ()) = tokio::join!(room.enter(), async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            drop(first);
        });
        assert_eq!(Instant::now(), start + Duration::from_millis(5));
    }
}
