//! Carries messages from publishers to subscribers inside the server: device downlinks, receipts,
//! commands, and devices that listen to themselves.
//!
//! Topics in here are the normalised ones (`d/{device}/…`). Every subscriber has a bounded queue. A
//! subscriber that does not keep up is *overrun*: its queue is closed, it is told so once and has to
//! come back; messages are never left out silently. Nothing here is durable: what must not be lost
//! stays in its sender's ledger until it is confirmed.

mod naming;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use crate::trie::{Trie, is_filter, is_topic};

pub use naming::Naming;
pub(crate) use naming::long_name;

/// Most messages that wait for one subscriber; one more and it is overrun.
pub const QUEUE_MESSAGES: usize = 1000;
/// Most payload bytes that wait for one subscriber.
pub const QUEUE_BYTES: usize = 4 << 20;
/// Most filters of one subscriber.
pub const MAX_FILTERS: usize = 100;

/// The hub; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Fanout(Arc<Hub>);

#[derive(Debug)]
struct Hub {
    trie: RwLock<Trie<Subscription>>,
    n_subscriptions: AtomicUsize,
    next_member: AtomicU64,
    news: Mutex<Option<mpsc::Sender<News>>>,
    n_news_lost: AtomicU64,
}

/// News that wait for their taker; beyond it they are counted and not kept: the taker looks through its own
/// ledger again, which it has to after a restart anyway.
const NEWS: usize = 65_536;

/// What senders of tracked messages are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The subscriber acknowledged the message with this ticket.
    Confirmed(u64),
    /// Somebody began to listen on this normalised filter (`d/{device}/rpc/request/+`).
    Listening(String),
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            trie: RwLock::new(Trie::new()),
            n_subscriptions: AtomicUsize::new(0),
            next_member: AtomicU64::new(0),
            news: Mutex::default(),
            n_news_lost: AtomicU64::new(0),
        }
    }
}

#[derive(Debug)]
struct Subscription {
    queue: Arc<Queue>,
    naming: Naming,
    qos: u8,
}

impl PartialEq for Subscription {
    /// The same subscriber under the same naming; the granted QoS may change.
    fn eq(&self, other: &Self) -> bool {
        self.queue.member == other.queue.member && self.naming == other.naming
    }
}

/// One message on its way to one subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The topic as the subscriber knows it.
    pub topic: Arc<str>,
    /// The payload.
    pub payload: Bytes,
    /// The smaller of the publisher's and the granted QoS: 0 or 1.
    pub qos: u8,
    /// What the sender calls it, when it wants to hear of the acknowledgement.
    pub ticket: Option<u64>,
}

/// Why a subscription was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// Not a topic filter of MQTT, or deeper than 32 levels.
    #[error("the filter is malformed")]
    Malformed,
    /// [`MAX_FILTERS`] reached.
    #[error("a subscriber has at most {MAX_FILTERS} filters")]
    TooMany,
}

/// The subscriber's queue was full; it is out of the hub and must come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the subscriber does not keep up")]
pub struct Overrun;

impl Fanout {
    /// A hub without subscribers.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new subscriber without subscriptions. It leaves when it is dropped.
    pub fn join(&self) -> Member {
        let queue = Queue {
            member: self.0.next_member.fetch_add(1, Ordering::Relaxed),
            waiting: Mutex::default(),
            changed: Notify::new(),
        };
        Member {
            hub: self.clone(),
            queue: Arc::new(queue),
            filters: Mutex::default(),
        }
    }

    /// Whether anybody would get this. Cheap when nobody subscribes at all.
    pub fn wanted(&self, topic: &str) -> bool {
        if self.0.n_subscriptions.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let mut wanted = false;
        self.read().find(topic, &mut |_| wanted = true);
        wanted
    }

    /// Queues a message for everyone who subscribed to it, and gives to how many. A subscriber with
    /// overlapping filters gets it once, with the highest QoS it was granted. QoS above 1 counts as 1.
    pub fn publish(&self, topic: &str, payload: impl Into<Bytes>, qos: u8) -> usize {
        self.send(topic, payload.into(), qos, None)
    }

    /// As [`Fanout::publish`] with QoS 1; the subscriber's acknowledgement comes as [`News::Confirmed`]. A
    /// subscription of QoS 0 takes the message and confirms nothing.
    pub fn publish_tracked(&self, topic: &str, payload: impl Into<Bytes>, ticket: u64) -> usize {
        self.send(topic, payload.into(), 1, Some(ticket))
    }

    /// Where news come from now on; an earlier taker gets no more.
    pub fn news(&self) -> mpsc::Receiver<News> {
        let (sender, receiver) = mpsc::channel(NEWS);
        *self.0.news.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    /// News that found no room.
    pub fn n_news_lost(&self) -> u64 {
        self.0.n_news_lost.load(Ordering::Relaxed)
    }

    pub(crate) fn confirm(&self, ticket: u64) {
        self.tell(News::Confirmed(ticket));
    }

    fn tell(&self, news: News) {
        if let Some(sender) = &*self.0.news.lock().unwrap_or_else(PoisonError::into_inner)
            && let Err(mpsc::error::TrySendError::Full(_)) = sender.try_send(news)
        {
            self.0.n_news_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn send(&self, topic: &str, payload: Bytes, qos: u8, ticket: Option<u64>) -> usize {
        if self.0.n_subscriptions.load(Ordering::Relaxed) == 0 || !is_topic(topic) {
            return 0;
        }
        let trie = self.read();
        let mut receivers: Vec<(&Subscription, u8)> = Vec::new();
        trie.find(topic, &mut |found: &Subscription| match receivers
            .iter_mut()
            .find(|(known, _)| *known == found)
        {
            Some((_, granted)) => *granted = (*granted).max(found.qos),
            None => receivers.push((found, found.qos)),
        });
        if receivers.is_empty() {
            return 0;
        }
        let plain: Arc<str> = topic.into();
        let mut last: (Naming, Arc<str>) = (Naming::Plain, Arc::clone(&plain));
        for (subscription, granted) in &receivers {
            if subscription.naming != last.0 {
                let name = subscription.naming.name(topic);
                last = (subscription.naming, name.unwrap_or_else(|| Arc::clone(&plain)));
            }
            subscription.queue.push(Delivery {
                topic: Arc::clone(&last.1),
                payload: payload.clone(),
                qos: qos.min(*granted).min(1),
                ticket,
            });
        }
        receivers.len()
    }

    fn read(&self) -> RwLockReadGuard<'_, Trie<Subscription>> {
        // The trie's changes cannot panic midway, so a poisoned lock still guards a whole trie.
        self.0.trie.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn write(&self) -> RwLockWriteGuard<'_, Trie<Subscription>> {
        self.0.trie.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One subscriber and its queue.
#[derive(Debug)]
pub struct Member {
    hub: Fanout,
    queue: Arc<Queue>,
    filters: Mutex<Vec<(String, Naming)>>,
}

impl Member {
    /// Subscribes; the same filter again replaces its QoS. QoS above 1 is granted as 1. Gives the
    /// granted QoS.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub fn subscribe(&self, filter: &str, qos: u8, naming: Naming) -> Result<u8, SubscribeError> {
        if !is_filter(filter) {
            return Err(SubscribeError::Malformed);
        }
        let granted = qos.min(1);
        let mut filters = self.filters();
        let is_known = filters.iter().any(|(f, n)| f == filter && *n == naming);
        if !is_known {
            if filters.len() >= MAX_FILTERS {
                return Err(SubscribeError::TooMany);
            }
            filters.push((filter.to_owned(), naming));
        }
        let subscription = self.subscription(naming, granted);
        if self.hub.write().insert(filter, subscription) {
            self.hub.0.n_subscriptions.fetch_add(1, Ordering::Relaxed);
        }
        self.hub.tell(News::Listening(filter.to_owned()));
        Ok(granted)
    }

    /// Ends a subscription. Gives whether there was one.
    pub fn unsubscribe(&self, filter: &str, naming: Naming) -> bool {
        let mut filters = self.filters();
        let Some(at) = filters.iter().position(|(f, n)| f == filter && *n == naming) else {
            return false;
        };
        filters.swap_remove(at);
        self.leave(filter, naming);
        true
    }

    /// Waits until [`Member::take`] has something, or the queue was overrun. Cancel safe.
    ///
    /// # Errors
    /// [`Overrun`], from then on always.
    pub async fn ready(&self) -> Result<(), Overrun> {
        loop {
            let changed = self.queue.changed.notified();
            {
                let waiting = self.queue.waiting();
                if waiting.is_overrun {
                    return Err(Overrun);
                }
                if !waiting.messages.is_empty() {
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    /// Waits until the queue was overrun; for a subscriber that may take nothing at the moment.
    /// Cancel safe. Not to be waited for together with [`Member::ready`].
    pub async fn overrun(&self) -> Overrun {
        loop {
            let changed = self.queue.changed.notified();
            if self.queue.waiting().is_overrun {
                return Overrun;
            }
            changed.await;
        }
    }

    /// The next message, if one waits.
    pub fn take(&self) -> Option<Delivery> {
        let mut waiting = self.queue.waiting();
        let delivery = waiting.messages.pop_front()?;
        waiting.n_bytes -= delivery.payload.len();
        Some(delivery)
    }

    fn filters(&self) -> MutexGuard<'_, Vec<(String, Naming)>> {
        self.filters.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn subscription(&self, naming: Naming, qos: u8) -> Subscription {
        Subscription {
            queue: Arc::clone(&self.queue),
            naming,
            qos,
        }
    }
    fn leave(&self, filter: &str, naming: Naming) {
        if self.hub.write().remove(filter, &self.subscription(naming, 0)) {
            self.hub.0.n_subscriptions.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let filters = std::mem::take(&mut *self.filters());
        for (filter, naming) in filters {
            self.leave(&filter, naming);
        }
    }
}

#[derive(Debug)]
struct Queue {
    member: u64,
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Delivery>,
    n_bytes: usize,
    is_overrun: bool,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, delivery: Delivery) {
        let mut waiting = self.waiting();
        if waiting.is_overrun {
            return; // it has lost one already and is on its way out
        }
        let n_bytes = waiting.n_bytes + delivery.payload.len();
        // One message of any size fits an empty queue.
        let is_full = waiting.messages.len() >= QUEUE_MESSAGES
            || (n_bytes > QUEUE_BYTES && !waiting.messages.is_empty());
        if is_full {
            waiting.is_overrun = true;
            waiting.messages = VecDeque::new();
            waiting.n_bytes = 0;
        } else {
            waiting.n_bytes = n_bytes;
            waiting.messages.push_back(delivery);
        }
        drop(waiting);
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn topics(member: &Member) -> Vec<String> {
        std::iter::from_fn(|| member.take())
            .map(|d| format!("{}@{}", d.topic, d.qos))
            .collect()
    }

    #[test]
    fn a_message_comes_once_under_the_subscriber_s_name() {
        let hub = Fanout::new();
        let device = hub.join();
        device.subscribe("d/A/#", 1, Naming::Me).unwrap();
        device.subscribe("d/A/rpc/+", 0, Naming::Me).unwrap();
        let desk = hub.join();
        desk.subscribe("d/+/rpc/#", 1, Naming::Plain).unwrap();
        assert_eq!(hub.publish("d/A/rpc/1", "x", 1), 2);
        assert_eq!(hub.publish("d/B/rpc/1", "x", 0), 1);
        assert_eq!(topics(&device), ["v1/devices/me/rpc/1@1"]);
        assert_eq!(topics(&desk), ["d/A/rpc/1@1", "d/B/rpc/1@0"]);
    }

    #[test]
    fn the_qos_is_the_smaller_one_and_never_two() {
        let hub = Fanout::new();
        let member = hub.join();
        assert_eq!(member.subscribe("a", 2, Naming::Plain), Ok(1));
        assert_eq!(hub.publish("a", "x", 2), 1);
        assert_eq!(hub.publish("a", "x", 0), 1);
        assert_eq!(member.subscribe("a", 0, Naming::Plain), Ok(0));
        assert_eq!(hub.publish("a", "x", 1), 1);
        assert_eq!(topics(&member), ["a@1", "a@0", "a@0"]);
    }

    #[test]
    fn tracked_messages_bring_news() {
        let hub = Fanout::new();
        let mut news = hub.news();
        let device = hub.join();
        device.subscribe("d/A/rpc/request/+", 1, Naming::Me).unwrap();
        assert_eq!(hub.publish_tracked("d/A/rpc/request/1", "x", 7), 1);
        assert_eq!(device.take().unwrap().ticket, Some(7));
        hub.confirm(7);
        let listening = News::Listening("d/A/rpc/request/+".into());
        assert_eq!(news.try_recv(), Ok(listening));
        assert_eq!(news.try_recv(), Ok(News::Confirmed(7)));
    }

    #[test]
    fn who_left_gets_nothing_and_leaves_nothing() {
        let hub = Fanout::new();
        let member = hub.join();
        member.subscribe("a/#", 1, Naming::Plain).unwrap();
        assert!(hub.wanted("a/b") && !hub.wanted("b"));
        assert!(member.unsubscribe("a/#", Naming::Plain));
        assert!(!member.unsubscribe("a/#", Naming::Plain));
        assert_eq!(hub.publish("a/b", "x", 1), 0);
        member.subscribe("a/+", 1, Naming::Plain).unwrap();
        drop(member);
        assert!(!hub.wanted("a/b"));
        assert_eq!(hub.0.n_subscriptions.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_told_and_others_are_not_touched() {
        let hub = Fanout::new();
        let slow = hub.join();
        slow.subscribe("a", 1, Naming::Plain).unwrap();
        for _ in 0..QUEUE_MESSAGES {
            hub.publish("a", "x", 1);
        }
        assert_eq!(slow.ready().await, Ok(()));
        let quick = hub.join();
        quick.subscribe("a", 1, Naming::Plain).unwrap();
        hub.publish("a", "x", 1);
        assert_eq!(slow.ready().await, Err(Overrun));
        assert_eq!(quick.ready().await, Ok(()));
        assert_eq!(topics(&quick).len(), 1);
        // Bytes count too.
        hub.publish("a", vec![0; QUEUE_BYTES + 1], 1);
        assert_eq!(quick.ready().await, Ok(()));
        hub.publish("a", "x", 1);
        assert_eq!(quick.ready().await, Err(Overrun));
    }

    #[test]
    fn filters_are_checked_and_counted() {
        let hub = Fanout::new();
        let member = hub.join();
        assert_eq!(
            member.subscribe("a#", 0, Naming::Plain),
            Err(SubscribeError::Malformed)
        );
        for i in 0..MAX_FILTERS {
            member.subscribe(&format!("a/{i}"), 0, Naming::Plain).unwrap();
        }
        assert_eq!(
            member.subscribe("b", 0, Naming::Plain),
            Err(SubscribeError::TooMany)
        );
        assert_eq!(member.subscribe("a/1", 1, Naming::Plain), Ok(1));
    }
}
