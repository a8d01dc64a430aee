//! What a device has said and the server has not yet acknowledged. Pure.

use std::collections::VecDeque;

/// One message that waits for its PUBACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Packet id, never 0.
    pub id: u16,
    /// Topic.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// Was on the wire of some connection.
    pub sent: bool,
}

/// Messages in order, at most `limit`; when full the oldest one goes, as in a device with little
/// memory, and is counted.
#[derive(Debug)]
pub struct Outbox {
    waiting: VecDeque<Waiting>,
    limit: usize,
    next_id: u16,
    n_dropped: u64,
}

impl Outbox {
    /// An empty one for `limit` messages.
    pub fn new(limit: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            limit: limit.max(1),
            next_id: 1,
            n_dropped: 0,
        }
    }
    /// Puts a message at the end.
    pub fn push(&mut self, topic: String, payload: Vec<u8>) {
        if self.waiting.len() == self.limit {
            self.waiting.pop_front();
            self.n_dropped += 1;
        }
        let id = self.next_id;
        self.next_id = if id == u16::MAX { 1 } else { id + 1 };
        self.waiting.push_back(Waiting {
            id,
            topic,
            payload,
            sent: false,
        });
    }
    /// Takes the message with this packet id away; `false` when there is none.
    pub fn acknowledge(&mut self, id: u16) -> bool {
        match self.waiting.iter().position(|w| w.id == id) {
            Some(i) => self.waiting.remove(i).is_some(),
            None => false,
        }
    }
    /// The messages that are due on the wire of this connection, oldest first.
    pub fn unsent(&mut self) -> impl Iterator<Item = &mut Waiting> {
        self.waiting.iter_mut().filter(|w| !w.sent)
    }
    /// Every message, oldest first: after a reconnect all are due again.
    pub fn all(&mut self) -> impl Iterator<Item = &mut Waiting> {
        self.waiting.iter_mut()
    }
    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }
    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
    /// How many were dropped because the outbox was full.
    pub fn n_dropped(&self) -> u64 {
        self.n_dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledged_messages_leave_and_the_oldest_goes_when_full() {
        let mut outbox = Outbox::new(2);
        for name in ["a", "b", "c"] {
            outbox.push(name.to_owned(), vec![]);
        }
        assert_eq!((outbox.len(), outbox.n_dropped()), (2, 1));
        outbox.unsent().take(1).for_each(|w| w.sent = true);
        assert_eq!(
            outbox.unsent().map(|w| w.topic.clone()).collect::<Vec<_>>(),
            ["c"]
        );
        assert!(outbox.acknowledge(2) && !outbox.acknowledge(2));
        assert_eq!(outbox.all().map(|w| w.id).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn packet_ids_are_never_zero() {
        let mut outbox = Outbox::new(1);
        for _ in 0..70_000 {
            outbox.push(String::new(), vec![]);
            assert!(outbox.all().all(|w| w.id != 0));
        }
    }
}
