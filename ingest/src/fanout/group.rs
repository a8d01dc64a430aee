//! Shared subscriptions, `$share/{group}/{filter}`: each message goes to one member of the group.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Delivery, Incoming, Naming, Queue};

/// The groups by name, filter and naming.
#[derive(Debug, Default)]
pub(super) struct Groups(Mutex<ByName>);

/// By group, filter and naming.
type ByName = HashMap<(Box<str>, Box<str>, Naming), Arc<Group>>;

impl Groups {
    fn lock(&self) -> MutexGuard<'_, ByName> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a member into a group, or changes its QoS. Gives the group, and whether it is new.
    pub(super) fn enter(
        &self,
        name: &str,
        filter: &str,
        naming: Naming,
        qos: u8,
        queue: &Arc<Queue>,
    ) -> (Arc<Group>, bool) {
        let mut groups = self.lock();
        let mut is_new = false;
        let group = groups
            .entry((name.into(), filter.into(), naming))
            .or_insert_with(|| {
                is_new = true;
                Arc::new(Group {
                    filter: format!("$share/{name}/{filter}").into(),
                    naming,
                    members: Mutex::default(),
                    next: AtomicUsize::new(0),
                })
            });
        let mut members = group.members();
        match members.iter_mut().find(|(known, _)| known.member == queue.member) {
            Some(known) => known.1 = qos,
            None => members.push((Arc::clone(queue), qos)),
        }
        drop(members);
        (Arc::clone(group), is_new)
    }

    pub(super) fn find(&self, name: &str, filter: &str, naming: Naming) -> Option<Arc<Group>> {
        self.lock().get(&(name.into(), filter.into(), naming)).cloned()
    }

    /// Takes a member out of a group; gives the group, and whether it is empty now and gone.
    pub(super) fn leave(
        &self,
        name: &str,
        filter: &str,
        naming: Naming,
        queue: &Queue,
    ) -> Option<(Arc<Group>, bool)> {
        let mut groups = self.lock();
        let key = (name.into(), filter.into(), naming);
        let group = Arc::clone(groups.get(&key)?);
        let mut members = group.members();
        members.retain(|(known, _)| known.member != queue.member);
        let is_empty = members.is_empty();
        drop(members);
        if is_empty {
            groups.remove(&key);
        }
        Some((group, is_empty))
    }
}

/// The members of one shared subscription, each with its granted QoS.
#[derive(Debug)]
pub(crate) struct Group {
    /// `$share/{group}/{filter}`.
    pub(crate) filter: Box<str>,
    pub(crate) naming: Naming,
    members: Mutex<Vec<(Arc<Queue>, u8)>>,
    next: AtomicUsize,
}

impl Group {
    fn members(&self) -> MutexGuard<'_, Vec<(Arc<Queue>, u8)>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a message to one member.
    pub(super) fn push(self: &Arc<Self>, message: &Incoming<'_>, mut delivery: Delivery) -> bool {
        let members = self.members();
        if message.is_replay
            && members
                .iter()
                .any(|(queue, _)| queue.has(&delivery, message.position))
        {
            return false;
        }
        delivery.group = Some(Arc::clone(self));
        delivery.qos = message.qos;
        self.give(&members, delivery, 0, message.is_replay)
    }

    /// Gives a message that a member did not acknowledge to another one. Gives it back when nobody else is
    /// connected.
    pub(super) fn hand_on(self: &Arc<Self>, delivery: Delivery, from: u64) -> Option<Delivery> {
        let members = self.members();
        let is_anybody = |(queue, _): &(Arc<Queue>, u8)| queue.member != from && queue.is_here();
        if !members.iter().any(is_anybody) {
            return Some(delivery);
        }
        self.give(&members, delivery, from, false);
        None
    }

    /// Round robin over the connected members, then over sessions that are away. A message keeps its
    /// publisher's QoS until it is given.
    fn give(&self, members: &[(Arc<Queue>, u8)], delivery: Delivery, but: u64, is_replay: bool) -> bool {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        for wants_here in [true, false] {
            for i in 0..members.len() {
                let (queue, qos) = &members[(start + i) % members.len()];
                if queue.member == but || queue.is_here() != wants_here {
                    continue;
                }
                let mut delivery = delivery.clone();
                delivery.qos = delivery.qos.min(*qos);
                if queue.push(delivery, is_replay) {
                    return true;
                }
            }
        }
        false
    }

    /// What waits unsent in sessions that are away goes to a member that has come.
    pub(super) fn gather(self: &Arc<Self>, to: &Arc<Queue>) {
        let others: Vec<Arc<Queue>> = self
            .members()
            .iter()
            .filter(|(queue, _)| queue.member != to.member && !queue.is_here())
            .map(|(queue, _)| Arc::clone(queue))
            .collect();
        for other in others {
            for delivery in other.take_unsent_of(self) {
                to.push(delivery, false);
            }
        }
    }
}
