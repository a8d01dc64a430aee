//! Which stations are connected now, how they speak, and the way to write to one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use onemap_model::{DeviceId, Timestamp};
use onemap_wire::hj212;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How a connected station is spoken to.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Speaks {
    /// HJ 212: system code, password, number and edition, as its last frame had them.
    Hj212(hj212::Peer),
    /// SL 651: nothing is sent but answers.
    Sl651,
    /// GB/T 26875.3: nothing is sent but answers.
    Gbt26875,
}

impl std::fmt::Debug for Speaks {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hj212(peer) => write!(f, "Hj212({}, ST {}, {:?})", peer.mn, peer.st, peer.version),
            Self::Sl651 => f.write_str("Sl651"),
            Self::Gbt26875 => f.write_str("Gbt26875"),
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
    outbox: mpsc::Sender<Vec<u8>>,
    end: CancellationToken,
}

impl Peer {
    /// Hands bytes to the connection; gives whether it took them. What it took may still be lost with it.
    pub fn send(&self, bytes: Vec<u8>) -> bool {
        self.outbox.try_send(bytes).is_ok()
    }
    /// Gives up the connection: the station does not answer on it.
    pub fn close(&self) {
        self.end.cancel();
    }
}

/// The connected stations; clones share them. Of a station with several connections the last to come counts.
#[derive(Clone, Debug, Default)]
pub struct Peers(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    next: u64,
    by_device: HashMap<DeviceId, Vec<Peer>>,
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

    /// Every connected station with the number of its newest connection and since when it is there.
    pub fn all(&self) -> Vec<(DeviceId, u64, Timestamp)> {
        let table = self.table();
        let newest = table.by_device.iter().filter_map(|(device, peers)| {
            let peer = peers.last()?;
            Some((device.clone(), peer.connection, peer.since))
        });
        newest.collect()
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
        outbox: mpsc::Sender<Vec<u8>>,
        end: CancellationToken,
    ) -> Presence {
        let mut table = self.table();
        table.next += 1;
        let connection = table.next;
        let peer = Peer {
            connection,
            since,
            speaks,
            outbox,
            end,
        };
        table.by_device.entry(device.clone()).or_default().push(peer);
        Presence {
            peers: self.clone(),
            device: device.clone(),
            connection,
        }
    }
}

/// One station's entry of one connection; it leaves when dropped.
#[derive(Debug)]
pub(super) struct Presence {
    peers: Peers,
    device: DeviceId,
    connection: u64,
}

impl Presence {
    /// The station speaks otherwise from here on.
    pub(super) fn speaks(&self, speaks: Speaks) {
        let mut table = self.peers.table();
        let peers = table.by_device.get_mut(&self.device).into_iter().flatten();
        for peer in peers.filter(|peer| peer.connection == self.connection) {
            peer.speaks = speaks.clone();
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut table = self.peers.table();
        if let Some(peers) = table.by_device.get_mut(&self.device) {
            peers.retain(|peer| peer.connection != self.connection);
            if peers.is_empty() {
                table.by_device.remove(&self.device);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_last_connection_of_a_station_counts_until_it_goes() {
        let (peers, mn) = (Peers::default(), DeviceId::new("A1").unwrap());
        let enter = || {
            let (outbox, inbox) = mpsc::channel(1);
            let peer = hj212::Peer {
                st: "22".to_owned(),
                pw: "secret".to_owned(),
                mn: "A1".to_owned(),
                version: hj212::Version::V2017,
            };
            let at = Timestamp::from_ms(1);
            let end = CancellationToken::new();
            (peers.enter(&mn, at, Speaks::Hj212(peer), outbox, end), inbox)
        };
        let (first, mut first_inbox) = enter();
        let (second, mut second_inbox) = enter();
        assert!(peers.of("A1").unwrap().send(b"x".to_vec()));
        assert!(second_inbox.try_recv().is_ok() && first_inbox.try_recv().is_err());
        drop(second);
        assert!(peers.of("A1").unwrap().send(b"y".to_vec()));
        assert!(first_inbox.try_recv().is_ok());
        assert!(!format!("{:?}", peers.of("A1")).contains("secret"));
        drop(first);
        assert!(peers.of("A1").is_none() && peers.all().is_empty());
    }
}
