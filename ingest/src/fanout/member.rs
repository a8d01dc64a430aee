//! One subscriber: its filters, its queue.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::queue::{Overrun, Resend, Stored};
use super::{Delivery, Fanout, Group, MAX_FILTERS, Naming, News, Queue, Subscription, Target};
use crate::trie::is_filter;

/// What stands before the filter of a shared subscription.
const SHARE: &str = "$share/";

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

/// Group and filter of `$share/{group}/{filter}`; no group for any other filter. `None` when it begins so
/// and is neither.
pub(crate) fn shared_parts(filter: &str) -> Option<(Option<&str>, &str)> {
    let Some(rest) = filter.strip_prefix(SHARE) else {
        return Some((None, filter));
    };
    let (group, filter) = rest.split_once('/')?;
    let is_group = !group.is_empty() && !group.contains(['+', '#']);
    is_group.then_some((Some(group), filter))
}

/// One subscriber and its queue.
#[derive(Debug)]
pub struct Member {
    hub: Fanout,
    queue: Arc<Queue>,
    filters: Mutex<Vec<Filter>>,
}

/// A filter of a member.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    /// With `$share/{group}/` in front when it is shared.
    pub(crate) name: Box<str>,
    pub(crate) naming: Naming,
    pub(crate) qos: u8,
    /// Journal position of its subscription; `u64::MAX` until it is known.
    pub(crate) since: u64,
}

impl Member {
    pub(super) fn new(hub: Fanout, queue: Arc<Queue>) -> Self {
        Self {
            hub,
            queue,
            filters: Mutex::default(),
        }
    }

    /// Subscribes; the same filter again replaces its QoS. A filter `$share/{group}/{filter}` shares the
    /// messages with the others of the group. Gives the granted QoS.
    ///
    /// # Errors
    /// See [`SubscribeError`].
    pub fn subscribe(&self, filter: &str, qos: u8, naming: Naming) -> Result<u8, SubscribeError> {
        let (group, inner) = shared_parts(filter).ok_or(SubscribeError::Malformed)?;
        if !is_filter(inner) {
            return Err(SubscribeError::Malformed);
        }
        let granted = qos.min(2);
        let mut filters = self.filters();
        let known = filters
            .iter()
            .position(|f| *f.name == *filter && f.naming == naming);
        match known {
            Some(at) => filters[at].qos = granted,
            None if filters.len() >= MAX_FILTERS => return Err(SubscribeError::TooMany),
            None => {
                filters.reserve_exact(1);
                filters.push(Filter {
                    name: filter.into(),
                    naming,
                    qos: granted,
                    since: u64::MAX,
                });
            }
        }
        match group {
            None => self.hub.insert(inner, self.subscription(naming, granted)),
            Some(name) => {
                let groups = &self.hub.0.groups;
                let (group, is_new) = groups.enter(name, inner, naming, granted, &self.queue);
                if self.queue.is_here() {
                    group.gather(&self.queue);
                }
                if is_new {
                    let subscription = Subscription {
                        target: Target::Group(group),
                        naming,
                        qos: 2, // each member has its own
                    };
                    self.hub.insert(inner, subscription);
                }
            }
        }
        self.hub.tell(News::Listening(inner.to_owned()));
        Ok(granted)
    }

    /// Queues the retained messages that meet a filter; none for a shared one. Gives how many.
    pub(crate) fn push_retained(&self, filter: &str, naming: Naming, qos: u8, is_replay: bool) -> usize {
        if filter.starts_with(SHARE) {
            return 0;
        }
        let mut deliveries = Vec::new();
        self.hub
            .retained()
            .find(filter, |topic, payload, kept_qos, position| {
                if !self.queue.may_get(topic) {
                    return;
                }
                deliveries.push(Delivery {
                    topic: naming.name(topic).unwrap_or_else(|| Arc::clone(topic)),
                    payload: payload.clone(),
                    qos: kept_qos.min(qos),
                    retain: true,
                    ticket: None,
                    position,
                    group: None,
                });
            });
        let n = deliveries.len();
        self.queue.push_retained(deliveries, is_replay);
        n
    }

    /// Ends a subscription. Gives whether there was one.
    pub fn unsubscribe(&self, filter: &str, naming: Naming) -> bool {
        let mut filters = self.filters();
        let Some(at) = filters
            .iter()
            .position(|f| *f.name == *filter && f.naming == naming)
        else {
            return false;
        };
        filters.swap_remove(at);
        self.end(filter, naming);
        true
    }

    /// Waits until [`Member::take`] has something, or the queue was overrun. Cancel safe.
    ///
    /// # Errors
    /// [`Overrun`], until the subscriber comes back.
    pub async fn ready(&self) -> Result<(), Overrun> {
        self.queue.ready().await
    }

    /// Waits until the queue was overrun; for a subscriber that may take nothing at the moment.
    /// Cancel safe. Not to be waited for together with [`Member::ready`].
    pub async fn overrun(&self) -> Overrun {
        self.queue.overrun().await
    }

    /// The next message, if one waits.
    pub fn take(&self) -> Option<Delivery> {
        self.queue.take()
    }

    /// The next message and its packet id for the connection that holds this subscriber.
    pub(crate) fn next(&self, holder: u64) -> Option<(u16, Delivery)> {
        self.queue.next(holder)
    }
    pub(crate) fn has_room(&self) -> bool {
        self.queue.has_room()
    }
    /// PUBACK (`is_completed` false) or PUBCOMP.
    pub(crate) fn done(&self, packet_id: u16, is_completed: bool) -> Option<Delivery> {
        self.queue.done(packet_id, is_completed)
    }
    /// PUBREC.
    pub(crate) fn received(&self, packet_id: u16) -> bool {
        self.queue.received(packet_id)
    }

    /// A connection takes this subscriber over. Gives what is to be sent again.
    pub(crate) fn resume(&self, holder: u64) -> Vec<Resend> {
        let resends = self.queue.resume(holder);
        for filter in self.filters().iter() {
            if let Some((Some(name), inner)) = shared_parts(&filter.name) {
                let groups = &self.hub.0.groups;
                let (group, _) = groups.enter(name, inner, filter.naming, filter.qos, &self.queue);
                group.gather(&self.queue);
            }
        }
        for filter in self.filters().iter() {
            let inner = shared_parts(&filter.name).map_or(&*filter.name, |(_, inner)| inner);
            self.hub.tell(News::Listening(inner.to_owned()));
        }
        resends
    }

    /// The connection goes, the session stays.
    pub(crate) fn leave(&self, holder: u64) {
        let shared = self.queue.leave(holder);
        self.hand_on(shared);
    }

    fn hand_on(&self, shared: Vec<Delivery>) {
        for delivery in shared {
            let Some(group) = delivery.group.clone() else {
                continue;
            };
            if let Some(nobody_s) = group.hand_on(delivery, self.queue.member) {
                self.queue.put_back(nobody_s);
            }
        }
    }

    pub(crate) fn stored(&self) -> (Vec<Filter>, Stored) {
        (self.filters().clone(), self.queue.stored())
    }
    pub(crate) fn restore(&self, stored: Stored) {
        self.queue.restore(stored);
    }
    /// The group of a shared filter of this member.
    pub(crate) fn group(&self, filter: &str, naming: Naming) -> Option<Arc<Group>> {
        let (Some(name), inner) = shared_parts(filter)? else {
            return None;
        };
        self.hub.0.groups.find(name, inner, naming)
    }
    pub(crate) fn set_owner(&self, device: &str, client: &str) {
        self.queue.set_owner(device, client);
    }
    /// The subscription is journaled at this position.
    pub(crate) fn set_since(&self, filter: &str, naming: Naming, position: u64) {
        let mut filters = self.filters();
        if let Some(known) = filters
            .iter_mut()
            .find(|f| *f.name == *filter && f.naming == naming)
        {
            known.since = known.since.min(position);
        }
    }
    pub(crate) fn replay_sent(&self, packet_id: u16, position: u64) {
        self.queue.replay_sent(packet_id, position);
    }
    pub(crate) fn replay_delivered(&self, packet_id: u16, position: u64) {
        self.queue.replay_delivered(packet_id, position);
    }

    fn filters(&self) -> MutexGuard<'_, Vec<Filter>> {
        self.filters.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn subscription(&self, naming: Naming, qos: u8) -> Subscription {
        Subscription {
            target: Target::One(Arc::clone(&self.queue)),
            naming,
            qos,
        }
    }

    fn end(&self, filter: &str, naming: Naming) {
        match shared_parts(filter) {
            Some((Some(name), inner)) => {
                let left = self.hub.0.groups.leave(name, inner, naming, &self.queue);
                if let Some((group, true)) = left {
                    let subscription = Subscription {
                        target: Target::Group(group),
                        naming,
                        qos: 0,
                    };
                    self.hub.remove(inner, &subscription);
                }
            }
            _ => self.hub.remove(filter, &self.subscription(naming, 0)),
        }
    }

    /// Ends every subscription.
    pub(crate) fn end_all(&self) {
        let filters = std::mem::take(&mut *self.filters());
        for filter in filters {
            self.end(&filter.name, filter.naming);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.end_all();
        let shared = self.queue.leave_for_good();
        for delivery in shared {
            if let Some(group) = delivery.group.clone() {
                // With nobody connected it is gone like its subscriber.
                group.hand_on(delivery, self.queue.member);
            }
        }
    }
}
