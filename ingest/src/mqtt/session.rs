//! Which client is connected, and which QoS 2 publishes of it wait for their release.
//!
//! A session is named by device *and* client id: the device's token decides who somebody is, so two
//! devices with one client id are two sessions, and a device may hold several connections.
//! CONNACK always says "session not present": subscriptions are not kept between connections. The ids
//! of unreleased QoS 2 publishes are, so that a resend after a broken connection is not taken twice.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use onemap_model::DeviceId;
use tokio_util::sync::CancellationToken;

/// Most packet ids over all sessions that are not connected; beyond it the memory of a session that
/// goes is dropped, and a resend of it is journaled again (the store knows it as a duplicate).
const MAX_REMEMBERED: usize = 1_000_000;

/// All sessions; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    live: HashMap<(DeviceId, String), Live>,
    /// Unreleased publishes of sessions that are away.
    away: HashMap<(DeviceId, String), Unreleased>,
    n_away: usize,
    next_connection: u64,
}

#[derive(Debug)]
struct Live {
    connection: u64,
    replaced: CancellationToken,
    unreleased: Arc<Mutex<Unreleased>>,
}

/// A session's QoS 2 publishes that wait for PUBREL.
#[derive(Debug, Default)]
pub(super) struct Unreleased(HashMap<u16, Waiting>);

#[derive(Debug, Clone, Copy)]
struct Waiting {
    content: u64,
    /// Journal position of the publish.
    position: u64,
    /// From an earlier connection: only a resend that says so is the same publish.
    is_old: bool,
}

/// Fingerprint of a publish, to tell a resend from a reused id.
pub(super) fn content_of(topic: &[u8], payload: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (topic, payload).hash(&mut hasher);
    hasher.finish()
}

impl Unreleased {
    /// The position of the publish that this one repeats. An id that comes again with other content is
    /// a client's mistake; it is taken as new, because a reading twice is repaired and one lost is not.
    pub(super) fn repeats(&self, packet_id: u16, content: u64, dup: bool) -> Option<u64> {
        let waiting = self.0.get(&packet_id)?;
        let is_same = waiting.content == content && (dup || !waiting.is_old);
        is_same.then_some(waiting.position)
    }
    pub(super) fn remember(&mut self, packet_id: u16, content: u64, position: u64) {
        let waiting = Waiting {
            content,
            position,
            is_old: false,
        };
        self.0.insert(packet_id, waiting);
    }
    /// Forgets an id. Gives whether it was waiting.
    pub(super) fn release(&mut self, packet_id: u16) -> bool {
        self.0.remove(&packet_id).is_some()
    }
}

/// One connection's place in the table; it leaves when dropped.
#[derive(Debug)]
pub(super) struct Place {
    sessions: Sessions,
    key: (DeviceId, String),
    connection: u64,
    is_clean: bool,
    unreleased: Arc<Mutex<Unreleased>>,
    /// Cancelled when the same client connects again.
    pub(super) replaced: CancellationToken,
}

impl Sessions {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the client's place; whoever holds it is told to go.
    pub(super) fn enter(&self, device: &DeviceId, client_id: &str, is_clean: bool) -> Place {
        let key = (device.clone(), client_id.to_owned());
        let mut table = self.table();
        let table = &mut *table;
        let connection = table.next_connection;
        table.next_connection += 1;
        let before = table.live.remove(&key);
        if let Some(before) = &before {
            before.replaced.cancel();
        }
        let away = table.away.remove(&key);
        table.n_away -= away.as_ref().map_or(0, |u| u.0.len());
        let unreleased = match (is_clean, before, away) {
            (true, _, _) => Arc::default(),
            (false, Some(before), _) => before.unreleased,
            (false, None, away) => Arc::new(Mutex::new(away.unwrap_or_default())),
        };
        for waiting in lock(&unreleased).0.values_mut() {
            waiting.is_old = true;
        }
        let replaced = CancellationToken::new();
        let live = Live {
            connection,
            replaced: replaced.clone(),
            unreleased: Arc::clone(&unreleased),
        };
        table.live.insert(key.clone(), live);
        Place {
            sessions: self.clone(),
            key,
            connection,
            is_clean,
            unreleased,
            replaced,
        }
    }
}

fn lock(unreleased: &Mutex<Unreleased>) -> MutexGuard<'_, Unreleased> {
    unreleased.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Place {
    pub(super) fn unreleased(&self) -> MutexGuard<'_, Unreleased> {
        lock(&self.unreleased)
    }
    #[cfg(test)]
    fn is_replaced(&self) -> bool {
        self.replaced.is_cancelled()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.sessions.table();
        let table = &mut *table;
        let is_own = table
            .live
            .get(&self.key)
            .is_some_and(|live| live.connection == self.connection);
        if !is_own {
            return;
        }
        table.live.remove(&self.key);
        let unreleased = std::mem::take(&mut *lock(&self.unreleased));
        let n = unreleased.0.len();
        if !self.is_clean && n > 0 && table.n_away + n <= MAX_REMEMBERED {
            table.n_away += n;
            table.away.insert(self.key.clone(), unreleased);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn device(name: &str) -> DeviceId {
        DeviceId::new(name).unwrap()
    }

    #[test]
    fn the_same_client_of_the_same_device_takes_over() {
        let sessions = Sessions::default();
        let first = sessions.enter(&device("A"), "c", true);
        let other_device = sessions.enter(&device("B"), "c", true);
        let other_client = sessions.enter(&device("A"), "d", true);
        assert!(!first.is_replaced());
        let second = sessions.enter(&device("A"), "c", true);
        assert!(first.is_replaced() && !second.is_replaced());
        drop(first);
        assert!(!other_device.is_replaced() && !other_client.is_replaced());
        let third = sessions.enter(&device("A"), "c", true);
        assert!(second.is_replaced() && !third.is_replaced());
    }

    #[test]
    fn an_unreleased_id_is_known_until_its_release() {
        let sessions = Sessions::default();
        let place = sessions.enter(&device("A"), "c", false);
        let (content, other) = (content_of(b"t", b"p"), content_of(b"t", b"q"));
        place.unreleased().remember(7, content, 100);
        assert_eq!(place.unreleased().repeats(7, content, false), Some(100));
        assert_eq!(
            place.unreleased().repeats(7, other, true),
            None,
            "a reused id is not lost"
        );
        assert_eq!(place.unreleased().repeats(8, content, true), None);
        drop(place);

        let place = sessions.enter(&device("A"), "c", false);
        assert_eq!(place.unreleased().repeats(7, content, true), Some(100));
        assert_eq!(
            place.unreleased().repeats(7, content, false),
            None,
            "a new publish says no DUP"
        );
        assert!(place.unreleased().release(7));
        assert!(!place.unreleased().release(7));
        place.unreleased().remember(9, content, 101);
        let took_over = sessions.enter(&device("A"), "c", false);
        drop(place);
        assert_eq!(took_over.unreleased().repeats(9, content, true), Some(101));
        drop(took_over);

        drop(sessions.enter(&device("A"), "c", true));
        let place = sessions.enter(&device("A"), "c", false);
        assert_eq!(
            place.unreleased().repeats(9, content, true),
            None,
            "a clean session forgets"
        );
        assert_eq!(sessions.table().n_away, 0);
    }
}
