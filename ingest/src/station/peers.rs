//! Which stations are connected now, how they speak, and the way to write to one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use onemap_model::{DeviceId, Source, Timestamp};
use onemap_wire::{gbt26875, hj212, sl651};
use tokio_util::sync::CancellationToken;

use super::outbox::Outbox;

/// How a connected station is spoken to.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Speaks {
    /// HJ 212: system code, password, number and edition, as its last frame had them.
    Hj212(hj212::Peer),
    /// SL 651: addresses, password and writing, as its last frame had them.
    Sl651(sl651::reply::Line),
    /// GB/T 26875.3: the centre's line to the device, as the device's last frame had it.
    Gbt26875(gbt26875::reply::Line),
}

impl Speaks {
    /// What it speaks.
    pub fn protocol(&self) -> Source {
        match self {
            Self::Hj212(_) => Source::Hj212,
            Self::Sl651(_) => Source::Sl651,
            Self::Gbt26875(_) => Source::Gbt26875,
        }
    }
}

impl std::fmt::Debug for Speaks {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hj212(peer) => write!(f, "Hj212({}, ST {}, {:?})", peer.mn, peer.st, peer.version),
            Self::Sl651(line) => write!(f, "Sl651({}, centre {})", line.station, line.centre),
            Self::Gbt26875(line) => write!(f, "Gbt26875({})", line.destination),
        }
    }
}

/// A station's connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Which connection, in the order in which stations came.
    pub connection: u64,
    /// Since when the station is heard on it.
    pub since: Timestamp,
    /// How it is spoken to.
    pub speaks: Speaks,
    /// It has no connection: whether it is there is known by what it says only.
    pub is_datagram: bool,
    /// What it said last.
    pub heard: Arc<Heard>,
    /// The keys of then, and which of them its last encrypted frame was of.
    sealed_with: Option<(Arc<[hj212::Key]>, usize)>,
    outbox: Outbox,
    end: CancellationToken,
}

/// When a station was heard on a connection, and how often it began to speak.
#[derive(Debug, Default)]
pub struct Heard {
    at_ms: AtomicI64,
    turn: AtomicU64,
}

impl Heard {
    /// When its last frame came.
    pub fn at(&self) -> Timestamp {
        Timestamp::from_ms(self.at_ms.load(Ordering::Relaxed))
    }
    /// Which of its sessions on this connection, from 0.
    pub fn turn(&self) -> u64 {
        self.turn.load(Ordering::Relaxed)
    }
    pub(super) fn hear(&self, at: Timestamp) {
        self.at_ms.store(at.ms(), Ordering::Relaxed);
    }
    pub(super) fn begin(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }
}

impl Peer {
    /// Hands bytes to the connection; gives whether it took them. What it took may still be lost with it.
    pub fn send(&self, bytes: Vec<u8>) -> bool {
        self.outbox.send(bytes)
    }
    /// The key of several with which the station encrypts; the first until it has shown one.
    pub fn key<'a>(&self, keys: &'a Arc<[hj212::Key]>) -> Option<&'a hj212::Key> {
        let shown = self.sealed_with.as_ref().filter(|(of, _)| Arc::ptr_eq(of, keys));
        keys.get(shown.map_or(0, |(_, used)| *used))
    }
    /// Gives up the connection: the station does not answer on it.
    pub fn close(&self) {
        self.end.cancel();
    }
}

/// The connected stations; clones share them. Of a station with several connections the last to come counts.
#[derive(Clone, Debug, Default)]
pub struct Peers(Arc<Mutex<Table>>);

/// A station that is, or was lately, connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The station.
    pub device: DeviceId,
    /// What it speaks.
    pub protocol: Source,
    /// The number of its newest connection.
    pub connection: u64,
    /// Since when it was heard on that.
    pub since: Timestamp,
    /// When its last frame came.
    pub heard_at: Timestamp,
}

impl Seen {
    fn of(device: &DeviceId, peer: &Peer) -> Self {
        Self {
            device: device.clone(),
            protocol: peer.speaks.protocol(),
            connection: peer.connection,
            since: peer.since,
            heard_at: peer.heard.at(),
        }
    }
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    by_device: HashMap<DeviceId, Vec<Peer>>,
    /// Hydrological stations that have left.
    left: HashMap<DeviceId, Seen>,
}

impl Peers {
    fn table(&self) -> MutexGuard<'_, Table> {
        // Every change leaves the table whole, so a poisoned lock still guards one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A station's newest connection.
    pub fn of(&self, device: &str) -> Option<Peer> {
        self.table().by_device.get(device)?.last().cloned()
    }

    /// Every connected station, and those of SL 651 that were heard since `since` and have left: they come again by
    /// themselves.
    pub fn all(&self, since: Timestamp) -> Vec<Seen> {
        let mut table = self.table();
        table.left.retain(|_, seen| seen.heard_at >= since);
        let newest = table.by_device.iter().filter_map(|(device, peers)| {
            let peer = peers.last()?;
            Some(Seen::of(device, peer))
        });
        newest.chain(table.left.values().cloned()).collect()
    }

    /// How many stations are connected.
    pub fn n_connected(&self) -> usize {
        self.table().by_device.len()
    }

    pub(super) fn enter(
        &self,
        device: &DeviceId,
        since: Timestamp,
        speaks: Speaks,
        (outbox, is_datagram): (Outbox, bool),
        end: CancellationToken,
    ) -> Presence {
        let mut table = self.table();
        table.left.remove(device);
        table.next += 1;
        let connection = table.next;
        let heard = Arc::new(Heard::default());
        heard.hear(since);
        let peer = Peer {
            connection,
            since,
            speaks,
            is_datagram,
            heard: Arc::clone(&heard),
            sealed_with: None,
            outbox,
            end,
        };
        table.by_device.entry(device.clone()).or_default().push(peer);
        Presence {
            peers: self.clone(),
            device: device.clone(),
            connection,
            heard,
        }
    }
}

/// One station's entry of one connection; it leaves when dropped.
#[derive(Debug)]
pub(super) struct Presence {
    peers: Peers,
    device: DeviceId,
    connection: u64,
    heard: Arc<Heard>,
}

impl Presence {
    pub(super) fn heard(&self) -> &Heard {
        &self.heard
    }

    /// The station speaks otherwise from here on.
    pub(super) fn speaks(&self, speaks: Speaks) {
        self.change(|peer| peer.speaks = speaks);
    }

    /// The station encrypts with this one of its keys.
    pub(super) fn sealed_with(&self, keys: &Arc<[hj212::Key]>, used: usize) {
        self.change(|peer| peer.sealed_with = Some((Arc::clone(keys), used)));
    }

    fn change(&self, change: impl FnOnce(&mut Peer)) {
        let mut table = self.peers.table();
        let mut peers = table.by_device.get_mut(&self.device).into_iter().flatten();
        if let Some(peer) = peers.find(|peer| peer.connection == self.connection) {
            change(peer);
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut table = self.peers.table();
        let table = &mut *table;
        let Some(peers) = table.by_device.get_mut(&self.device) else {
            return;
        };
        let gone = peers.iter().position(|peer| peer.connection == self.connection);
        let gone = gone.map(|i| peers.remove(i));
        if peers.is_empty() {
            table.by_device.remove(&self.device);
            // It sleeps, and is asked when it comes again.
            if let Some(peer) = gone.filter(|peer| matches!(peer.speaks, Speaks::Sl651(_))) {
                table
                    .left
                    .insert(self.device.clone(), Seen::of(&self.device, &peer));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::outbox;
    use super::*;

    #[test]
    fn the_last_connection_of_a_station_counts_until_it_goes() {
        let (peers, mn) = (Peers::default(), DeviceId::new("A1").unwrap());
        let enter = || {
            let (outbox, inbox) = outbox::queue(1);
            let peer = hj212::Peer {
                st: "22".to_owned(),
                pw: "secret".to_owned(),
                mn: "A1".to_owned(),
                version: hj212::Version::V2017,
            };
            let at = Timestamp::from_ms(1);
            let end = CancellationToken::new();
            (
                peers.enter(&mn, at, Speaks::Hj212(peer), (outbox, false), end),
                inbox,
            )
        };
        let (first, mut first_inbox) = enter();
        let keys: Arc<[hj212::Key]> = [hj212::Key::new([1; 16]), hj212::Key::new([2; 16])].into();
        let which = |peer: Peer, keys: &Arc<[hj212::Key]>| {
            let key = peer.key(keys).map(std::ptr::from_ref);
            keys.iter()
                .position(|known| Some(std::ptr::from_ref(known)) == key)
        };
        assert_eq!(which(peers.of("A1").unwrap(), &keys), Some(0));
        first.sealed_with(&keys, 1);
        assert_eq!(which(peers.of("A1").unwrap(), &keys), Some(1));
        let others: Arc<[hj212::Key]> = [hj212::Key::new([3; 16])].into();
        assert_eq!(which(peers.of("A1").unwrap(), &others), Some(0), "after a reload");
        assert_eq!(which(peers.of("A1").unwrap(), &Vec::new().into()), None);
        let (second, mut second_inbox) = enter();
        assert!(peers.of("A1").unwrap().send(b"x".to_vec()));
        assert!(second_inbox.take().is_some() && first_inbox.take().is_none());
        drop(second);
        assert!(peers.of("A1").unwrap().send(b"y".to_vec()));
        assert!(first_inbox.take().is_some());
        assert!(!format!("{:?}", peers.of("A1")).contains("secret"));
        drop(first);
        assert!(peers.of("A1").is_none() && peers.all(Timestamp::from_ms(0)).is_empty());
    }

    #[test]
    fn a_hydrological_station_that_sleeps_is_remembered_for_a_while() {
        let (peers, station) = (Peers::default(), DeviceId::new("0011223344").unwrap());
        let line = sl651::reply::Line {
            station: "0011223344".parse().unwrap(),
            centre: 1,
            password: 0x03E8,
            encoding: sl651::Encoding::Hex,
        };
        let enter = |ms| {
            let (outbox, _) = outbox::queue(1);
            let at = Timestamp::from_ms(ms);
            peers.enter(
                &station,
                at,
                Speaks::Sl651(line),
                (outbox, false),
                CancellationToken::new(),
            )
        };
        let all = |since| peers.all(Timestamp::from_ms(since));
        drop(enter(1000));
        assert_eq!((all(1000).len(), all(1000)[0].protocol), (1, Source::Sl651));
        let here = enter(2000);
        assert_eq!((all(0).len(), all(0)[0].connection), (1, 2));
        assert!(
            !format!("{:?}", peers.of("0011223344"))
                .to_uppercase()
                .contains("3E8")
        );
        here.heard().hear(Timestamp::from_ms(3000));
        drop(here);
        assert_eq!((all(3000).len(), all(3001).len(), all(0).len()), (1, 0, 0));
    }
}
