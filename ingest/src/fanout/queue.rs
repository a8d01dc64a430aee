//! What waits for one subscriber, and what it has been sent and not acknowledged.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use onemap_model::Refusal;
use tokio::sync::Notify;
use tracing::warn;

use super::{Delivery, Group};
use crate::Counters;
use crate::trie::matches;

/// Most messages that wait for one connected subscriber; one more and it is overrun.
pub const QUEUE_MESSAGES: usize = 1000;
/// Most payload bytes that wait for one subscriber, connected or away.
pub const QUEUE_BYTES: usize = 4 << 20;
/// Messages to a client that wait for its PUBACK or PUBCOMP.
pub(super) const WINDOW: usize = 100;

/// The subscriber's queue was full; it is cut off and must come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the subscriber does not keep up")]
pub struct Overrun;

/// How much sessions that are away may keep.
#[derive(Debug)]
pub(crate) struct Limits {
    /// Messages a session.
    pub(crate) max_messages: usize,
    /// Payload bytes of all sessions.
    pub(crate) max_bytes: usize,
    pub(crate) n_bytes: AtomicUsize,
    pub(crate) counters: Counters,
    /// Set by every change that a snapshot must show.
    pub(crate) is_changed: AtomicBool,
}

/// Device (empty: anonymous) and client id, for the log.
type Owner = (Arc<str>, Arc<str>);

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) member: u64,
    waiting: Mutex<Waiting>,
    changed: Notify,
    /// Somebody takes what is pushed.
    is_here: AtomicBool,
    denied: Arc<[Box<str>]>,
    limits: Option<Arc<Limits>>,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Delivery>,
    /// Retained messages for new subscriptions: before all others, and without a limit but theirs.
    retained: VecDeque<Delivery>,
    inflight: VecDeque<Inflight>,
    n_bytes: usize,
    last_id: u16,
    is_overrun: bool,
    /// The connection that takes; 0 for a subscriber inside the server.
    holder: u64,
    /// It was said that this session's queue is full.
    is_full_said: bool,
    /// Positions up to here may stand in the queue already (a replay).
    known_until: u64,
    owner: Option<Owner>,
}

/// A message under a packet id.
#[derive(Clone, Debug)]
pub(crate) struct Inflight {
    pub(crate) packet_id: u16,
    pub(crate) delivery: Delivery,
    /// PUBREC came.
    pub(crate) is_received: bool,
}

/// What a session is sent again when it comes back.
#[derive(Clone, Debug)]
pub(crate) enum Resend {
    Publish(u16, Delivery),
    Release(u16),
}

/// A session's messages, as a snapshot keeps them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    pub(crate) last_id: u16,
    pub(crate) inflight: Vec<Inflight>,
    pub(crate) messages: Vec<Delivery>,
}

impl Queue {
    pub(super) fn new(member: u64, limits: Option<Arc<Limits>>, denied: Arc<[Box<str>]>) -> Self {
        Self {
            member,
            waiting: Mutex::default(),
            changed: Notify::new(),
            is_here: AtomicBool::new(limits.is_none()),
            denied,
            limits,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_here(&self) -> bool {
        self.is_here.load(Ordering::Acquire)
    }

    pub(super) fn may_get(&self, topic: &str) -> bool {
        self.denied.iter().all(|filter| !matches(filter, topic))
    }

    fn note_change(&self) {
        if let Some(limits) = &self.limits {
            limits.is_changed.store(true, Ordering::Release);
        }
    }
    fn count_bytes(&self, more: usize, less: usize) {
        if let Some(limits) = &self.limits {
            limits.n_bytes.fetch_add(more, Ordering::Relaxed);
            limits.n_bytes.fetch_sub(less, Ordering::Relaxed);
        }
    }

    /// Whether a message of a replay stands here already.
    pub(super) fn has(&self, delivery: &Delivery, position: u64) -> bool {
        self.waiting().has(delivery, position)
    }

    /// Queues a message. Gives whether it was taken.
    pub(super) fn push(&self, delivery: Delivery, is_replay: bool) -> bool {
        let mut waiting = self.waiting();
        if is_replay && waiting.has(&delivery, delivery.position) {
            return false;
        }
        if !self.is_here() {
            return self.push_away(&mut waiting, delivery);
        }
        if waiting.is_overrun {
            // On its way out: a session keeps what it may, anybody else has lost one already.
            return self.is_persistent() && self.push_away(&mut waiting, delivery);
        }
        let n_bytes = waiting.n_bytes + delivery.payload.len();
        // One message of any size fits an empty queue.
        let is_full = waiting.messages.len() >= QUEUE_MESSAGES
            || (n_bytes > QUEUE_BYTES && !waiting.messages.is_empty());
        if is_full {
            waiting.is_overrun = true;
            let is_taken = match &self.limits {
                // A session is cut off and keeps what a session that is away keeps.
                Some(_) => self.push_away(&mut waiting, delivery),
                None => {
                    waiting.messages = VecDeque::new();
                    waiting.n_bytes = 0;
                    false
                }
            };
            drop(waiting);
            self.changed.notify_one();
            return is_taken;
        }
        waiting.n_bytes = n_bytes;
        self.count_bytes(delivery.payload.len(), 0);
        if delivery.qos > 0 {
            self.note_change();
        }
        waiting.messages.push_back(delivery);
        drop(waiting);
        self.changed.notify_one();
        true
    }

    fn push_away(&self, waiting: &mut Waiting, delivery: Delivery) -> bool {
        if delivery.qos == 0 || delivery.ticket.is_some() {
            return false;
        }
        self.note_change();
        waiting.n_bytes += delivery.payload.len();
        self.count_bytes(delivery.payload.len(), 0);
        waiting.messages.push_back(delivery);
        self.trim(waiting);
        true
    }

    /// The oldest go until a session that is away keeps no more than it may.
    fn trim(&self, waiting: &mut Waiting) {
        let Some(limits) = &self.limits else { return };
        let mut n_dropped = 0u64;
        while waiting.messages.len() > 1
            && (waiting.messages.len() > limits.max_messages
                || waiting.n_bytes > QUEUE_BYTES
                || limits.n_bytes.load(Ordering::Relaxed) > limits.max_bytes)
        {
            let Some(oldest) = waiting.messages.pop_front() else {
                break;
            };
            waiting.n_bytes -= oldest.payload.len();
            self.count_bytes(0, oldest.payload.len());
            n_dropped += 1;
            limits.counters.refuse(Refusal::QueueFull);
        }
        if n_dropped > 0 && !waiting.is_full_said {
            waiting.is_full_said = true;
            let (device, client) = waiting.owner.clone().unwrap_or_default();
            warn!(
                device.id = %device, client = %client, reason = Refusal::QueueFull.label(),
                "the session `{client}` of `{device}` is away and its queue is full: its oldest messages are dropped and counted"
            );
        }
    }

    /// Waits until [`Queue::take`] has something, or the queue was overrun. Cancel safe.
    pub(super) async fn ready(&self) -> Result<(), Overrun> {
        loop {
            let changed = self.changed.notified();
            {
                let waiting = self.waiting();
                if waiting.is_overrun {
                    return Err(Overrun);
                }
                if !waiting.messages.is_empty() || !waiting.retained.is_empty() {
                    return Ok(());
                }
            }
            changed.await;
        }
    }

    pub(super) async fn overrun(&self) -> Overrun {
        loop {
            let changed = self.changed.notified();
            if self.waiting().is_overrun {
                return Overrun;
            }
            changed.await;
        }
    }

    fn pop(&self, waiting: &mut Waiting) -> Option<Delivery> {
        if let Some(retained) = waiting.retained.pop_front() {
            return Some(retained);
        }
        let delivery = waiting.messages.pop_front()?;
        waiting.n_bytes -= delivery.payload.len();
        self.count_bytes(0, delivery.payload.len());
        Some(delivery)
    }

    /// The next message, for a subscriber inside the server.
    pub(super) fn take(&self) -> Option<Delivery> {
        self.pop(&mut self.waiting())
    }

    /// The next message for a connection, with its packet id (0 for QoS 0), while its window has room. None
    /// for a connection whose place was taken.
    pub(super) fn next(&self, holder: u64) -> Option<(u16, Delivery)> {
        let mut waiting = self.waiting();
        if waiting.holder != holder || waiting.inflight.len() >= WINDOW {
            return None;
        }
        let delivery = self.pop(&mut waiting)?;
        if delivery.qos == 0 {
            return Some((0, delivery));
        }
        let packet_id = waiting.free_id();
        let mut kept = delivery.clone();
        if self.limits.is_none() && kept.group.is_none() {
            kept.payload = bytes::Bytes::new(); // it is never sent again
        }
        waiting.inflight.push_back(Inflight {
            packet_id,
            delivery: kept,
            is_received: false,
        });
        self.note_change();
        Some((packet_id, delivery))
    }

    pub(super) fn has_room(&self) -> bool {
        self.waiting().inflight.len() < WINDOW
    }

    /// PUBACK or PUBCOMP: the message is the client's. Gives it when its id was waiting for this answer.
    pub(super) fn done(&self, packet_id: u16, is_completed: bool) -> Option<Delivery> {
        let mut waiting = self.waiting();
        let at = waiting.find(packet_id)?;
        if (waiting.inflight[at].delivery.qos == 2) != is_completed {
            return None;
        }
        self.note_change();
        let done = waiting.inflight.remove(at)?;
        if waiting.inflight.is_empty() && waiting.inflight.capacity() > WINDOW / 4 {
            waiting.inflight = VecDeque::new(); // an idle client is small
        }
        Some(done.delivery)
    }

    /// PUBREC. Gives whether the id is that of a QoS 2 message.
    pub(super) fn received(&self, packet_id: u16) -> bool {
        let mut waiting = self.waiting();
        let Some(at) = waiting.find(packet_id) else {
            return false;
        };
        let found = &mut waiting.inflight[at];
        if found.delivery.qos != 2 {
            return false;
        }
        found.is_received = true;
        found.delivery.payload = bytes::Bytes::new();
        self.note_change();
        true
    }

    /// A connection takes over; gives what it has to send again, in its order.
    pub(super) fn resume(&self, holder: u64) -> Vec<Resend> {
        let mut waiting = self.waiting();
        waiting.holder = holder;
        waiting.is_overrun = false;
        waiting.is_full_said = false;
        self.is_here.store(true, Ordering::Release);
        waiting
            .inflight
            .iter()
            .map(|sent| match sent.is_received {
                true => Resend::Release(sent.packet_id),
                false => Resend::Publish(sent.packet_id, sent.delivery.clone()),
            })
            .collect()
    }

    /// The connection goes; a session keeps what is to be kept. Gives what another member of its shared
    /// subscriptions may take over.
    pub(super) fn leave(&self, holder: u64) -> Vec<Delivery> {
        let mut waiting = self.waiting();
        if waiting.holder != holder || self.limits.is_none() {
            return Vec::new();
        }
        self.is_here.store(false, Ordering::Release);
        waiting.holder = u64::MAX;
        waiting.is_overrun = false;
        let mut shared = Vec::new();
        let before = waiting.n_bytes;
        let mut messages: VecDeque<Delivery> = std::mem::take(&mut waiting.retained);
        messages.append(&mut waiting.messages);
        messages.retain(|delivery| delivery.qos > 0 && delivery.ticket.is_none());
        let (handed, kept) = messages.into_iter().partition::<Vec<_>, _>(|d| d.group.is_some());
        waiting.messages = kept.into();
        waiting.n_bytes = waiting.messages.iter().map(|d| d.payload.len()).sum();
        self.count_bytes(waiting.n_bytes, before);
        // A QoS 1 message that was sent may come to another member too; one of QoS 2 may not.
        waiting.inflight.retain(|sent| {
            let goes = sent.delivery.group.is_some() && sent.delivery.qos == 1;
            if goes {
                shared.push(sent.delivery.clone());
            }
            !goes && sent.delivery.ticket.is_none()
        });
        shared.extend(handed);
        self.trim(&mut waiting);
        self.note_change();
        shared
    }

    /// The subscriber is gone; gives what another member of its shared subscriptions may take over.
    pub(super) fn leave_for_good(&self) -> Vec<Delivery> {
        let mut waiting = self.waiting();
        self.is_here.store(false, Ordering::Release);
        waiting.holder = u64::MAX;
        let inflight = std::mem::take(&mut waiting.inflight);
        let messages = std::mem::take(&mut waiting.messages);
        waiting.retained = VecDeque::new();
        self.count_bytes(0, waiting.n_bytes);
        waiting.n_bytes = 0;
        let unfinished = inflight.into_iter().filter(|sent| !sent.is_received);
        let mut shared: Vec<Delivery> = unfinished.map(|sent| sent.delivery).collect();
        shared.extend(messages);
        shared.retain(|delivery| delivery.group.is_some() && delivery.ticket.is_none());
        shared
    }

    /// What nobody else took comes back.
    pub(super) fn put_back(&self, delivery: Delivery) {
        let mut waiting = self.waiting();
        self.push_away(&mut waiting, delivery);
    }

    pub(super) fn take_unsent_of(&self, group: &Arc<Group>) -> Vec<Delivery> {
        let mut waiting = self.waiting();
        let is_its = |d: &Delivery| d.group.as_ref().is_some_and(|g| Arc::ptr_eq(g, group));
        let (taken, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut waiting.messages)
            .into_iter()
            .partition(is_its);
        waiting.messages = kept.into();
        let n_bytes: usize = taken.iter().map(|d| d.payload.len()).sum();
        waiting.n_bytes -= n_bytes;
        self.count_bytes(0, n_bytes);
        taken
    }

    /// Retained messages for a new subscription.
    pub(super) fn push_retained(&self, deliveries: Vec<Delivery>, is_replay: bool) {
        if deliveries.is_empty() {
            return;
        }
        let mut waiting = self.waiting();
        for delivery in deliveries {
            if is_replay && waiting.has(&delivery, delivery.position) {
                continue;
            }
            if self.is_here() {
                waiting.retained.push_back(delivery);
            } else {
                self.push_away(&mut waiting, delivery);
            }
        }
        self.note_change();
        drop(waiting);
        self.changed.notify_one();
    }

    pub(super) fn set_owner(&self, device: &str, client: &str) {
        self.waiting().owner = Some((device.into(), client.into()));
    }

    /// What a snapshot keeps of it.
    pub(super) fn stored(&self) -> Stored {
        let waiting = self.waiting();
        let is_kept = |d: &&Delivery| d.qos > 0 && d.ticket.is_none();
        Stored {
            last_id: waiting.last_id,
            inflight: waiting
                .inflight
                .iter()
                .filter(|sent| sent.delivery.ticket.is_none())
                .cloned()
                .collect(),
            messages: waiting
                .retained
                .iter()
                .chain(&waiting.messages)
                .filter(is_kept)
                .cloned()
                .collect(),
        }
    }

    /// Puts back what a snapshot kept.
    pub(super) fn restore(&self, stored: Stored) {
        let mut waiting = self.waiting();
        let positions = stored
            .inflight
            .iter()
            .map(|sent| sent.delivery.position)
            .chain(stored.messages.iter().map(|d| d.position));
        waiting.known_until = positions.max().unwrap_or(0);
        waiting.last_id = stored.last_id;
        waiting.inflight = stored.inflight.into();
        waiting.messages = stored.messages.into();
        waiting.n_bytes = waiting.messages.iter().map(|d| d.payload.len()).sum();
        self.count_bytes(waiting.n_bytes, 0);
        self.trim(&mut waiting);
    }

    /// A replay says that the message at `position` was sent under this id.
    pub(super) fn replay_sent(&self, packet_id: u16, position: u64) {
        let mut waiting = self.waiting();
        if waiting
            .find(packet_id)
            .is_some_and(|at| waiting.inflight[at].delivery.position == position)
        {
            return;
        }
        let Some(at) = waiting.messages.iter().position(|d| d.position == position) else {
            return;
        };
        let Some(delivery) = waiting.messages.remove(at) else {
            return;
        };
        waiting.n_bytes -= delivery.payload.len();
        self.count_bytes(0, delivery.payload.len());
        waiting.last_id = packet_id;
        if let Some(old) = waiting.find(packet_id) {
            waiting.inflight.remove(old); // its end was not journaled, and its id is used again
        }
        waiting.inflight.push_back(Inflight {
            packet_id,
            delivery,
            is_received: false,
        });
    }

    /// A replay says that the client has this message.
    pub(super) fn replay_delivered(&self, packet_id: u16, position: u64) {
        let mut waiting = self.waiting();
        let is_it = |sent: &Inflight| sent.packet_id == packet_id && sent.delivery.position == position;
        if let Some(at) = waiting.inflight.iter().position(is_it) {
            waiting.inflight.remove(at);
            return;
        }
        if let Some(at) = waiting.messages.iter().position(|d| d.position == position)
            && let Some(delivery) = waiting.messages.remove(at)
        {
            waiting.n_bytes -= delivery.payload.len();
            self.count_bytes(0, delivery.payload.len());
        }
    }

    pub(super) fn is_persistent(&self) -> bool {
        self.limits.is_some()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let n_bytes = self.waiting().n_bytes;
        self.count_bytes(0, n_bytes);
    }
}

impl Waiting {
    fn find(&self, packet_id: u16) -> Option<usize> {
        self.inflight.iter().position(|sent| sent.packet_id == packet_id)
    }

    fn has(&self, delivery: &Delivery, position: u64) -> bool {
        let is_it =
            |d: &Delivery| d.position == position && d.retain == delivery.retain && d.topic == delivery.topic;
        position <= self.known_until
            && (self.messages.iter().any(is_it) || self.inflight.iter().any(|sent| is_it(&sent.delivery)))
    }

    /// The next id that no message waits under. The window is far smaller than the ids.
    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if self.find(self.last_id).is_none() {
                return self.last_id;
            }
        }
    }
}
