//! Which client is connected, and what belongs to it beyond its connection.
//!
//! A session is named by device *and* client id: the device's token decides who somebody is, so two
//! devices with one client id are two sessions, and a device may hold several connections. A session with
//! `clean_session=false` outlives its connection: filters, queued messages, packet ids both ways; what makes
//! it outlive the process is in `keep`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use onemap_model::Timestamp;
use tokio_util::sync::CancellationToken;

use super::MqttConfig;
use crate::fanout::{Fanout, Limits, Member};
use crate::{Counters, fanout};

/// Most packet ids of one session that wait for PUBREL; MQTT has no more.
const MAX_UNRELEASED: usize = u16::MAX as usize;

/// Device (empty for an anonymous client) and client id.
pub(super) type Key = (Arc<str>, Arc<str>);

/// All sessions; clones share them. [`Sessions::open`] brings back those of before.
#[derive(Clone, Debug)]
pub struct Sessions(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    table: Mutex<Table>,
    pub(super) limits: Arc<Limits>,
    pub(super) expiry: std::time::Duration,
    pub(super) path: Option<std::path::PathBuf>,
    /// Everything up to here is in the snapshot.
    pub(super) cursor: AtomicU64,
    pub(super) saving: Mutex<super::keep::Saving>,
}

#[derive(Debug, Default)]
struct Table {
    live: HashMap<Key, Live>,
    away: HashMap<Key, Away>,
    next_connection: u64,
}

#[derive(Debug)]
struct Live {
    connection: u64,
    replaced: CancellationToken,
    session: Arc<Session>,
    /// Journal position behind which this connection's records may not have taken effect yet.
    pending: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Away {
    session: Arc<Session>,
    since: Timestamp,
}

/// What one client has.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) member: Member,
    pub(super) is_clean: bool,
    /// It is journaled that it exists.
    pub(super) is_opened: AtomicBool,
    unreleased: Mutex<Unreleased>,
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

/// Fingerprint of a publish, to tell a resend from a reused id: FNV-1a, the same in every version.
pub(super) fn content_of(topic: &[u8], payload: &[u8]) -> u64 {
    let length = topic.len().to_le_bytes();
    let bytes = length.iter().chain(topic).chain(payload);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
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
        debug_assert!(self.0.len() <= MAX_UNRELEASED);
        let waiting = Waiting {
            content,
            position,
            is_old: false,
        };
        self.0.insert(packet_id, waiting);
    }
    /// Forgets an id. Gives whether it was waiting.
    pub(super) fn release(&mut self, packet_id: u16) -> bool {
        let was_waiting = self.0.remove(&packet_id).is_some();
        if self.0.is_empty() {
            self.0 = HashMap::new(); // an idle client is small
        }
        was_waiting
    }
    pub(super) fn all(&self) -> Vec<(u16, u64, u64)> {
        let each = |(id, waiting): (&u16, &Waiting)| (*id, waiting.content, waiting.position);
        self.0.iter().map(each).collect()
    }
}

impl Session {
    pub(super) fn new(member: Member, is_clean: bool) -> Self {
        Self {
            member,
            is_clean,
            is_opened: AtomicBool::new(false),
            unreleased: Mutex::default(),
        }
    }
    pub(super) fn unreleased(&self) -> MutexGuard<'_, Unreleased> {
        self.unreleased.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place in the table; it leaves when dropped.
#[derive(Debug)]
pub(super) struct Place {
    sessions: Sessions,
    key: Key,
    pub(super) connection: u64,
    pub(super) session: Arc<Session>,
    pub(super) pending: Arc<AtomicU64>,
    clock: fn() -> Timestamp,
    /// Cancelled when the same client connects again.
    pub(super) replaced: CancellationToken,
}

/// How a client came in.
pub(super) struct Entered {
    pub(super) place: Place,
    /// CONNACK's session present.
    pub(super) is_present: bool,
    /// A clean session took the place of one that outlived its connections.
    pub(super) has_ended: bool,
    /// What it is sent again, in its order.
    pub(super) resends: Vec<fanout::Resend>,
}

impl Sessions {
    /// Sessions that end with the process.
    pub(super) fn volatile(config: &MqttConfig, counters: &Counters) -> Self {
        Self::empty(config, counters, None)
    }

    pub(super) fn empty(config: &MqttConfig, counters: &Counters, path: Option<std::path::PathBuf>) -> Self {
        let limits = Limits {
            max_messages: config.max_queued_messages.max(1),
            max_bytes: config.max_queued_bytes,
            n_bytes: AtomicUsize::new(0),
            counters: counters.clone(),
            is_changed: AtomicBool::new(false),
        };
        Self(Arc::new(Inner {
            table: Mutex::default(),
            limits: Arc::new(limits),
            expiry: config.session_expiry,
            path,
            cursor: AtomicU64::new(0),
            saving: Mutex::default(),
        }))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note_change(&self) {
        self.0.limits.is_changed.store(true, Ordering::Release);
    }

    /// Takes the client's place; whoever holds it is told to go.
    pub(super) fn enter(
        &self,
        key: Key,
        is_clean: bool,
        join: impl FnOnce(Option<Arc<Limits>>) -> Member,
        clock: fn() -> Timestamp,
    ) -> Entered {
        let mut table = self.table();
        let table = &mut *table;
        table.next_connection += 1;
        let connection = table.next_connection;
        let before = table.live.remove(&key);
        if let Some(before) = &before {
            before.replaced.cancel();
        }
        let before = before.map(|live| live.session);
        let before = before.or_else(|| table.away.remove(&key).map(|away| away.session));
        let (kept, has_ended) = match before {
            Some(session) if !session.is_clean && !is_clean => (Some(session), false),
            Some(session) => {
                // Its connection may still say its last words; nothing more is queued for it.
                session.member.end_all();
                (None, !session.is_clean)
            }
            None => (None, false),
        };
        let is_present = kept.is_some();
        let session = kept.unwrap_or_else(|| {
            let limits = (!is_clean).then(|| Arc::clone(&self.0.limits));
            let member = join(limits);
            if !is_clean {
                member.set_owner(&key.0, &key.1);
            }
            Arc::new(Session::new(member, is_clean))
        });
        for waiting in session.unreleased().0.values_mut() {
            waiting.is_old = true;
        }
        let resends = session.member.resume(connection);
        let replaced = CancellationToken::new();
        let pending = Arc::new(AtomicU64::new(u64::MAX));
        let live = Live {
            connection,
            replaced: replaced.clone(),
            session: Arc::clone(&session),
            pending: Arc::clone(&pending),
        };
        table.live.insert(key.clone(), live);
        if !is_clean || has_ended {
            self.note_change();
        }
        let place = Place {
            sessions: self.clone(),
            key,
            connection,
            session,
            pending,
            clock,
            replaced,
        };
        Entered {
            place,
            is_present,
            has_ended,
            resends,
        }
    }

    /// A session of a snapshot or a replay, away since then; the one there is, when there is one.
    pub(super) fn put(&self, key: Key, since: Timestamp, join: impl FnOnce() -> Member) -> Arc<Session> {
        let mut table = self.table();
        let away = table.away.entry(key).or_insert_with_key(|key| {
            let member = join();
            member.set_owner(&key.0, &key.1);
            let session = Session::new(member, false);
            session.is_opened.store(true, Ordering::Relaxed);
            Away {
                session: Arc::new(session),
                since,
            }
        });
        Arc::clone(&away.session)
    }

    /// The session of a replay, while nobody is connected.
    pub(super) fn away(&self, device: &str, client: &str) -> Option<Arc<Session>> {
        let key = (device.into(), client.into());
        self.table().away.get(&key).map(|away| Arc::clone(&away.session))
    }

    pub(super) fn end(&self, device: &str, client: &str) {
        self.table().away.remove(&(device.into(), client.into()));
    }

    /// Sessions that are away since before `then`; they end.
    pub(super) fn expire(&self, then: Timestamp) -> Vec<Key> {
        let mut table = self.table();
        let gone: Vec<Key> = table
            .away
            .iter()
            .filter(|(_, away)| away.since < then)
            .map(|(key, _)| key.clone())
            .collect();
        for key in &gone {
            table.away.remove(key);
        }
        gone
    }

    /// Every session that outlives its connection, and since when it is away.
    pub(super) fn kept(&self) -> Vec<(Key, Arc<Session>, Option<Timestamp>)> {
        let table = self.table();
        let live = table.live.iter().filter(|(_, live)| !live.session.is_clean);
        let live = live.map(|(key, live)| (key.clone(), Arc::clone(&live.session), None));
        let away = table.away.iter();
        let away = away.map(|(key, away)| (key.clone(), Arc::clone(&away.session), Some(away.since)));
        live.chain(away).collect()
    }

    /// The last position of which every record before it has taken effect, given what is durable.
    pub(super) fn settled(&self, durable: u64) -> u64 {
        let table = self.table();
        let pending = table
            .live
            .values()
            .map(|live| live.pending.load(Ordering::SeqCst));
        pending.min().unwrap_or(u64::MAX).min(durable)
    }

    /// Sessions: connected ones, and those that are away.
    pub(super) fn n(&self) -> (usize, usize) {
        let table = self.table();
        (table.live.len(), table.away.len())
    }

    /// Payload bytes that wait in sessions.
    pub fn n_queued_bytes(&self) -> usize {
        self.0.limits.n_bytes.load(Ordering::Relaxed)
    }
}

impl Place {
    pub(super) fn key(&self) -> &Key {
        &self.key
    }
    pub(super) fn note_change(&self) {
        if !self.session.is_clean {
            self.sessions.note_change();
        }
    }
    #[cfg(test)]
    fn is_replaced(&self) -> bool {
        self.replaced.is_cancelled()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.sessions.table();
        let is_own = table
            .live
            .get(&self.key)
            .is_some_and(|live| live.connection == self.connection);
        if !is_own {
            return;
        }
        table.live.remove(&self.key);
        if self.session.is_clean {
            return; // the member leaves with the last holder of the session
        }
        let away = Away {
            session: Arc::clone(&self.session),
            since: (self.clock)(),
        };
        table.away.insert(self.key.clone(), away);
        self.session.member.leave(self.connection);
        self.sessions.note_change();
    }
}

/// A member of the hub for a client.
pub(super) fn join(fanout: &Fanout, limits: Option<Arc<Limits>>, denied: Arc<[Box<str>]>) -> Member {
    fanout.join_as(limits, denied)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::fanout::Naming;

    struct Desk(Sessions, Fanout);

    impl Desk {
        fn new() -> Self {
            let config = MqttConfig::new(([127, 0, 0, 1], 0).into());
            Self(Sessions::volatile(&config, &Counters::new()), Fanout::new())
        }
        fn enter(&self, device: &str, client: &str, is_clean: bool) -> Entered {
            let key = (device.into(), client.into());
            let clock = || Timestamp::from_ms(0);
            self.0.enter(
                key,
                is_clean,
                |limits| join(&self.1, limits, Arc::default()),
                clock,
            )
        }
    }

    #[test]
    fn the_same_client_of_the_same_device_takes_over() {
        let desk = Desk::new();
        let first = desk.enter("A", "c", true).place;
        let other_device = desk.enter("B", "c", true).place;
        let other_client = desk.enter("A", "d", true).place;
        assert!(!first.is_replaced());
        let second = desk.enter("A", "c", true).place;
        assert!(first.is_replaced() && !second.is_replaced());
        drop(first);
        assert!(!other_device.is_replaced() && !other_client.is_replaced());
        let third = desk.enter("A", "c", true).place;
        assert!(second.is_replaced() && !third.is_replaced());
        assert_eq!(desk.0.n(), (3, 0));
    }

    #[test]
    fn a_session_is_present_until_a_clean_one_takes_its_place() {
        let desk = Desk::new();
        let entered = desk.enter("A", "c", false);
        assert!(!entered.is_present && !entered.has_ended);
        let member = &entered.place.session.member;
        assert_eq!(member.subscribe("d/A/x", 1, Naming::Plain), Ok(1));
        drop(entered);
        assert_eq!(desk.1.publish("d/A/x", "queued", 1), 1);
        assert_eq!(desk.1.publish("d/A/x", "not queued", 0), 0);
        let again = desk.enter("A", "c", false);
        assert!(again.is_present);
        let (id, delivery) = again.place.session.member.next(again.place.connection).unwrap();
        assert_eq!((id, &delivery.payload[..]), (1, &b"queued"[..]));
        // Unacknowledged: it comes again under its id.
        drop(again);
        let third = desk.enter("A", "c", false);
        assert!(matches!(&third.resends[..], [fanout::Resend::Publish(1, d)] if d.payload == "queued"));
        // The place is taken: the former connection gets nothing any more.
        let fourth = desk.enter("A", "c", false);
        assert_eq!(desk.1.publish("d/A/x", "new", 1), 1);
        assert!(third.place.session.member.next(third.place.connection).is_none());
        assert!(
            fourth
                .place
                .session
                .member
                .next(fourth.place.connection)
                .is_some()
        );
        drop(third);
        let clean = desk.enter("A", "c", true);
        assert!(!clean.is_present && clean.has_ended);
        assert_eq!(desk.1.publish("d/A/x", "gone", 1), 0);
        drop((fourth, clean));
        assert!(!desk.enter("A", "c", false).is_present);
    }

    #[test]
    fn an_unreleased_id_is_known_until_its_release() {
        let desk = Desk::new();
        let place = desk.enter("A", "c", false).place;
        let (content, other) = (content_of(b"t", b"p"), content_of(b"t", b"q"));
        assert_ne!(content, other);
        let unreleased = |place: &Place| place.session.unreleased().repeats(7, content, true);
        place.session.unreleased().remember(7, content, 100);
        assert_eq!(place.session.unreleased().repeats(7, content, false), Some(100));
        let reused = place.session.unreleased().repeats(7, other, true);
        assert_eq!(reused, None, "a reused id is not lost");
        assert_eq!(place.session.unreleased().repeats(8, content, true), None);
        drop(place);

        let place = desk.enter("A", "c", false).place;
        assert_eq!(unreleased(&place), Some(100));
        let new = place.session.unreleased().repeats(7, content, false);
        assert_eq!(new, None, "a new publish says no DUP");
        assert!(place.session.unreleased().release(7));
        assert!(!place.session.unreleased().release(7));
        place.session.unreleased().remember(7, content, 101);
        let took_over = desk.enter("A", "c", false).place;
        drop(place);
        assert_eq!(unreleased(&took_over), Some(101));
        drop(took_over);
        drop(desk.enter("A", "c", true));
        let place = desk.enter("A", "c", false).place;
        assert_eq!(unreleased(&place), None, "a clean session forgets");
    }

    #[test]
    fn what_was_away_for_too_long_ends() {
        let desk = Desk::new();
        drop(desk.enter("A", "c", false));
        let here = desk.enter("B", "c", false);
        assert_eq!(desk.0.expire(Timestamp::from_ms(0)), []);
        let gone = desk.0.expire(Timestamp::from_ms(1));
        assert_eq!(gone, [("A".into(), "c".into())] as [Key; 1]);
        assert_eq!(desk.0.n(), (1, 0));
        drop(here);
    }
}
