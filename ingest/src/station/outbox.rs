//! Requests that wait to be written to one station. Most stations are never asked anything, and thousands are connected: an
//! empty queue holds no room, where a channel of tokio holds 1.4 KiB from its making on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Puts in; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Outbox(Arc<Queue>);

/// Takes out; there is one of each queue. When it goes, nothing is taken any more.
#[derive(Debug)]
pub(super) struct Inbox(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    waiting: Mutex<Waiting>,
    came: Notify,
}

#[derive(Debug)]
struct Waiting {
    requests: VecDeque<Vec<u8>>,
    /// How many more may wait; none once the inbox is gone.
    left: usize,
}

/// A queue for at most so many requests.
pub(super) fn queue(room: usize) -> (Outbox, Inbox) {
    let queue = Arc::new(Queue {
        waiting: Mutex::new(Waiting {
            requests: VecDeque::new(),
            left: room,
        }),
        came: Notify::new(),
    });
    (Outbox(Arc::clone(&queue)), Inbox(queue))
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Every change leaves it whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outbox {
    /// Whether it was taken: there was room, and the connection is there.
    pub(super) fn send(&self, request: Vec<u8>) -> bool {
        let mut waiting = self.0.waiting();
        let Some(left) = waiting.left.checked_sub(1) else {
            return false;
        };
        waiting.left = left;
        waiting.requests.push_back(request);
        drop(waiting);
        self.0.came.notify_one();
        true
    }
}

impl Inbox {
    /// The oldest, if one waits.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        let mut waiting = self.0.waiting();
        let request = waiting.requests.pop_front()?;
        waiting.left += 1;
        if waiting.requests.is_empty() {
            waiting.requests = VecDeque::new();
        }
        Some(request)
    }
    /// The oldest, once there is one. Cancel safe.
    pub(super) async fn next(&mut self) -> Vec<u8> {
        loop {
            if let Some(request) = self.take() {
                return request;
            }
            self.0.came.notified().await;
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        waiting.left = 0;
        waiting.requests = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn requests_leave_in_order_and_no_more_wait_than_there_is_room_for() {
        let (outbox, mut inbox) = queue(2);
        assert!(outbox.send(vec![1]) && outbox.send(vec![2]) && !outbox.send(vec![3]));
        assert_eq!(inbox.take(), Some(vec![1]));
        assert!(outbox.send(vec![4]));
        assert_eq!(
            [inbox.take(), inbox.take(), inbox.take()],
            [Some(vec![2]), Some(vec![4]), None]
        );
        drop(inbox);
        assert!(!outbox.send(vec![5]), "a connection that went takes nothing");
    }

    #[tokio::test]
    async fn who_waits_is_woken_and_one_who_gave_up_waiting_loses_nothing() {
        let (outbox, mut inbox) = queue(2);
        let now = std::time::Duration::ZERO;
        assert!(tokio::time::timeout(now, inbox.next()).await.is_err());
        let sender = outbox.clone();
        let sent = tokio::spawn(async move { sender.send(vec![7]) });
        assert_eq!(inbox.next().await, vec![7]);
        assert!(sent.await.unwrap());
        assert!(outbox.send(vec![8]));
        assert_eq!(inbox.next().await, vec![8]);
    }
}
