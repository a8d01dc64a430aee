//! Carries messages from publishers to subscribers inside the server: device downlinks, receipts,
//! commands, and devices that listen to themselves.
//!
//! Topics in here are the normalised ones (`d/{device}/…`). Every subscriber has a bounded queue. A
//! connected subscriber that does not keep up is *overrun*: it is told so once, cut off and has to come
//! back; messages are never left out silently. A session that is away keeps what it can of QoS 1 and 2, the
//! newest, and what had no room is counted by name ([`Refusal::QueueFull`](onemap_model::Refusal)).
//! What survives a restart is the business of `mqtt::sessions`; nothing in here touches a disk.

mod group;
mod member;
mod naming;
mod queue;
mod retained;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::trie::{Trie, is_topic};
pub(crate) use group::Group;
use group::Groups;
pub(crate) use member::shared_parts;
pub use member::{Member, SubscribeError};
pub use naming::Naming;
pub(crate) use naming::long_name;
use queue::Queue;
pub(crate) use queue::{Inflight, Limits, Resend, Stored};
pub use queue::{Overrun, QUEUE_BYTES, QUEUE_MESSAGES};
pub(crate) use retained::Full;
use retained::Retained;
pub use retained::{MAX_RETAINED, MAX_RETAINED_BYTES};

/// Most filters of one subscriber.
pub const MAX_FILTERS: usize = 100;

/// The hub; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Fanout(Arc<Hub>);

#[derive(Debug)]
struct Hub {
    trie: RwLock<Trie<Subscription>>,
    n_subscriptions: AtomicUsize,
    /// Counts changes of the trie, so that who asked once need not ask again.
    generation: AtomicU64,
    next_member: AtomicU64,
    groups: Groups,
    retained: RwLock<Retained>,
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
    /// Nobody holds the message with this ticket any more: its connections have ended, or it was of QoS 0 and
    /// is written. Follows a `Confirmed`, too.
    Dropped(u64),
    /// Somebody began to listen on this normalised filter (`d/{device}/rpc/request/+`).
    Listening(String),
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            trie: RwLock::new(Trie::new()),
            n_subscriptions: AtomicUsize::new(0),
            generation: AtomicU64::new(0),
            next_member: AtomicU64::new(1),
            groups: Groups::default(),
            retained: RwLock::default(),
            news: Mutex::default(),
            n_news_lost: AtomicU64::new(0),
        }
    }
}

#[derive(Clone, Debug)]
struct Subscription {
    target: Target,
    naming: Naming,
    qos: u8,
}

#[derive(Clone, Debug)]
enum Target {
    One(Arc<Queue>),
    Group(Arc<Group>),
}

impl PartialEq for Subscription {
    /// The same subscriber under the same naming; the granted QoS may change.
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.target, &other.target) {
            (Target::One(a), Target::One(b)) => a.member == b.member,
            (Target::Group(a), Target::Group(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        same && self.naming == other.naming
    }
}

/// A tracked message, held by every queue and window that it stands in. When the last lets go of it, its sender
/// hears.
#[derive(Debug)]
pub struct Ticket {
    /// What the sender calls the message.
    pub number: u64,
    hub: Fanout,
    is_silent: AtomicBool,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.is_silent.load(Ordering::Acquire) {
            self.hub.tell(News::Dropped(self.number));
        }
    }
}

/// One message on its way to one subscriber.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The topic as the subscriber knows it.
    pub topic: Arc<str>,
    /// The payload.
    pub payload: Bytes,
    /// The smaller of the publisher's and the granted QoS: 0, 1 or 2.
    pub qos: u8,
    /// It was on its topic before the subscription.
    pub retain: bool,
    /// What the sender calls it, when it wants to hear of the acknowledgement.
    pub ticket: Option<Arc<Ticket>>,
    /// Journal position of its frame; 0 when the server itself sent it.
    pub(crate) position: u64,
    /// The shared subscription it came by.
    pub(crate) group: Option<Arc<Group>>,
}

/// A message as it comes in.
#[derive(Clone, Debug)]
pub(crate) struct Incoming<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a Bytes,
    pub(crate) qos: u8,
    pub(crate) ticket: Option<Arc<Ticket>>,
    pub(crate) position: u64,
    /// It is read from the journal again: what a queue has already is not put there twice.
    pub(crate) is_replay: bool,
}

impl Fanout {
    /// A hub without subscribers.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new subscriber without subscriptions. It leaves when it is dropped.
    pub fn join(&self) -> Member {
        self.join_as(None, Arc::default())
    }

    /// A subscriber that never gets topics which meet `denied`; with `limits` it is a session that can be
    /// away.
    pub(crate) fn join_as(&self, limits: Option<Arc<Limits>>, denied: Arc<[Box<str>]>) -> Member {
        let member = self.0.next_member.fetch_add(1, Ordering::Relaxed);
        Member::new(self.clone(), Arc::new(Queue::new(member, limits, denied)))
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

    /// The highest QoS that a subscriber of this topic was granted; `None` when nobody subscribed to it.
    pub fn granted(&self, topic: &str) -> Option<u8> {
        let mut granted = None;
        if self.wanted(topic) {
            self.read().find(topic, &mut |found: &Subscription| {
                granted = granted.max(Some(found.qos))
            });
        }
        granted
    }

    /// Changes whenever an answer of [`Fanout::wanted`] may have changed.
    pub(crate) fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// Subscriptions now; a shared one counts once however many share it.
    pub fn n_subscriptions(&self) -> usize {
        self.0.n_subscriptions.load(Ordering::Relaxed)
    }

    /// Queues a message for everyone who subscribed to it, and gives how many took it. A subscriber with
    /// overlapping filters gets it once, with the highest QoS it was granted. QoS above 2 counts as 2.
    pub fn publish(&self, topic: &str, payload: impl Into<Bytes>, qos: u8) -> usize {
        self.send(&Incoming {
            topic,
            payload: &payload.into(),
            qos,
            ticket: None,
            position: 0,
            is_replay: false,
        })
    }

    /// As [`Fanout::publish`] with QoS 1; the subscriber's acknowledgement comes as [`News::Confirmed`]. A
    /// subscription of QoS 0 takes the message and confirms nothing. A session that is away does not get it,
    /// and it is not sent again to one that left before it confirmed: its sender keeps it.
    pub fn publish_tracked(&self, topic: &str, payload: impl Into<Bytes>, ticket: u64) -> usize {
        let ticket = Arc::new(Ticket {
            number: ticket,
            hub: self.clone(),
            is_silent: AtomicBool::new(false),
        });
        let n_taken = self.send(&Incoming {
            topic,
            payload: &payload.into(),
            qos: 1,
            ticket: Some(Arc::clone(&ticket)),
            position: 0,
            is_replay: false,
        });
        // Who hears that nobody took it needs no news of it.
        ticket.is_silent.store(n_taken == 0, Ordering::Release);
        n_taken
    }

    /// Puts a message on its topic for later subscribers, or with an empty payload takes away what is there;
    /// `position` orders it among others and is 0 for what the server says of itself, which no restart keeps.
    /// Present subscribers are not told: that is [`Fanout::publish`].
    pub(crate) fn retain(&self, topic: &str, payload: &Bytes, qos: u8, position: u64) -> Result<(), Full> {
        self.retained_mut().set(topic, payload, qos, position)
    }

    /// Retained messages now, those of `$SYS` left out.
    pub fn n_retained(&self) -> usize {
        self.retained().len()
    }

    /// Every retained message that came by the journal: topic, payload, QoS, position.
    pub(crate) fn each_retained(&self, mut each: impl FnMut(&str, &Bytes, u8, u64)) {
        self.retained().each(&mut each);
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

    pub(crate) fn confirm(&self, ticket: &Ticket) {
        self.tell(News::Confirmed(ticket.number));
    }

    fn tell(&self, news: News) {
        if let Some(sender) = &*self.0.news.lock().unwrap_or_else(PoisonError::into_inner)
            && let Err(mpsc::error::TrySendError::Full(_)) = sender.try_send(news)
        {
            self.0.n_news_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn send(&self, message: &Incoming<'_>) -> usize {
        if self.0.n_subscriptions.load(Ordering::Relaxed) == 0 || !is_topic(message.topic) {
            return 0;
        }
        let trie = self.read();
        let mut receivers: Vec<(&Subscription, u8)> = Vec::new();
        trie.find(message.topic, &mut |found: &Subscription| match receivers
            .iter_mut()
            .find(|(known, _)| *known == found)
        {
            Some((_, granted)) => *granted = (*granted).max(found.qos),
            None => receivers.push((found, found.qos)),
        });
        let plain: Arc<str> = message.topic.into();
        let mut last: (Naming, Arc<str>) = (Naming::Plain, Arc::clone(&plain));
        let mut n_taken = 0;
        for (subscription, granted) in receivers {
            if subscription.naming != last.0 {
                let name = subscription.naming.name(message.topic);
                last = (subscription.naming, name.unwrap_or_else(|| Arc::clone(&plain)));
            }
            let delivery = Delivery {
                topic: Arc::clone(&last.1),
                payload: message.payload.clone(),
                qos: message.qos.min(granted).min(2),
                retain: false,
                ticket: message.ticket.clone(),
                position: message.position,
                group: None,
            };
            let is_taken = match &subscription.target {
                Target::One(queue) => queue.may_get(message.topic) && queue.push(delivery, message.is_replay),
                Target::Group(group) => group.push(message, delivery),
            };
            n_taken += usize::from(is_taken);
        }
        n_taken
    }

    fn read(&self) -> RwLockReadGuard<'_, Trie<Subscription>> {
        // The trie's changes cannot panic midway, so a poisoned lock still guards a whole trie.
        self.0.trie.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn write(&self) -> RwLockWriteGuard<'_, Trie<Subscription>> {
        self.0.trie.write().unwrap_or_else(PoisonError::into_inner)
    }
    fn retained(&self) -> RwLockReadGuard<'_, Retained> {
        self.0.retained.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn retained_mut(&self) -> RwLockWriteGuard<'_, Retained> {
        self.0.retained.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, filter: &str, subscription: Subscription) {
        if self.write().insert(filter, subscription) {
            self.0.n_subscriptions.fetch_add(1, Ordering::Relaxed);
        }
        self.0.generation.fetch_add(1, Ordering::Release);
    }
    fn remove(&self, filter: &str, subscription: &Subscription) {
        if self.write().remove(filter, subscription) {
            self.0.n_subscriptions.fetch_sub(1, Ordering::Relaxed);
        }
        self.0.generation.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
