//! Who is connected now, and the way to cut a connection.
//!
//! A link is entered when its client is authenticated and leaves when the connection ends. What is cut is
//! decided elsewhere: here a device's connections are only found and told to go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use onemap_model::{DeviceId, Timestamp};
use tokio_util::sync::CancellationToken;

/// Every authenticated connection; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Links(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    open: HashMap<DeviceId, Vec<Entry>>,
    /// Where a device was heard last; one entry a device that ever came in.
    last_peer: HashMap<DeviceId, Arc<str>>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    credential: u64,
    shown: Connection,
    is_cut: bool,
    /// Cancelled by a cut, once the connection has one.
    end: Option<CancellationToken>,
}

/// One open connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The client's id; empty when the client left it to the server.
    pub client_id: Arc<str>,
    /// Address of the peer.
    pub peer: Arc<str>,
    /// Since when.
    pub since: Timestamp,
}

impl Links {
    fn table(&self) -> MutexGuard<'_, Table> {
        // The table's changes cannot panic midway, so a poisoned lock still guards a whole one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a connection. `credential` tells the device's tokens apart; 0 is none of them.
    pub fn enter(&self, device: &DeviceId, credential: u64, shown: Connection) -> Link {
        let mut table = self.table();
        let number = table.next;
        table.next += 1;
        table.last_peer.insert(device.clone(), Arc::clone(&shown.peer));
        let entry = Entry {
            number,
            credential,
            shown,
            is_cut: false,
            end: None,
        };
        table.open.entry(device.clone()).or_default().push(entry);
        Link {
            links: self.clone(),
            device: device.clone(),
            number,
        }
    }

    /// A device's open connections, oldest first.
    pub fn of(&self, device: &str) -> Vec<Connection> {
        let table = self.table();
        let open = table.open.get(device).into_iter().flatten();
        open.map(|entry| entry.shown.clone()).collect()
    }

    /// Notes from where a device was heard without a connection of its own (HTTP).
    pub fn heard(&self, device: &DeviceId, peer: &str) {
        let mut table = self.table();
        match table.last_peer.get(device) {
            Some(known) if **known == *peer => {}
            _ => {
                table.last_peer.insert(device.clone(), peer.into());
            }
        }
    }

    /// The address from which a device was heard last, since the start.
    pub fn last_peer(&self, device: &str) -> Option<Arc<str>> {
        self.table().last_peer.get(device).cloned()
    }

    /// Ends all connections of a device; gives how many.
    pub fn cut(&self, device: &str) -> usize {
        self.cut_where(device, |_| true)
    }

    /// Ends those connections of a device whose credential is one of the device's tokens and opens no
    /// longer; gives how many.
    pub fn keep(&self, device: &str, opens: impl Fn(u64) -> bool) -> usize {
        self.cut_where(device, |credential| credential != 0 && !opens(credential))
    }

    fn cut_where(&self, device: &str, goes: impl Fn(u64) -> bool) -> usize {
        let mut table = self.table();
        let mut n = 0;
        for entry in table.open.get_mut(device).into_iter().flatten() {
            if !entry.is_cut && goes(entry.credential) {
                entry.is_cut = true;
                n += 1;
                if let Some(end) = &entry.end {
                    end.cancel();
                }
            }
        }
        n
    }
}

/// One connection's entry; it leaves when dropped.
#[derive(Debug)]
pub struct Link {
    links: Links,
    device: DeviceId,
    number: u64,
}

impl Link {
    fn entry<T>(&self, look: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let mut table = self.links.table();
        let open = table.open.get_mut(&self.device)?;
        open.iter_mut()
            .find(|entry| entry.number == self.number)
            .map(look)
    }

    /// Gives the token that a cut cancels; at once when the cut has come already.
    pub fn ends_by(&self, end: &CancellationToken) {
        self.entry(|entry| {
            if entry.is_cut {
                end.cancel();
            }
            entry.end = Some(end.clone());
        });
    }

    /// Whether it was cut.
    pub fn is_cut(&self) -> bool {
        self.entry(|entry| entry.is_cut).unwrap_or(false)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let mut table = self.links.table();
        if let Some(open) = table.open.get_mut(&self.device) {
            open.retain(|entry| entry.number != self.number);
            if open.is_empty() {
                table.open.remove(&self.device);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shown(peer: &str) -> Connection {
        Connection {
            client_id: "c".into(),
            peer: peer.into(),
            since: Timestamp::from_ms(1),
        }
    }

    #[test]
    fn a_device_s_connections_are_seen_and_cut() {
        let (links, a) = (Links::default(), DeviceId::new("a").unwrap());
        let old = links.enter(&a, 7, shown("p1"));
        let new = links.enter(&a, 8, shown("p2"));
        let certified = links.enter(&a, 0, shown("p3"));
        let end = CancellationToken::new();
        old.ends_by(&end);
        assert_eq!(links.of("a").len(), 3);
        assert_eq!(links.keep("a", |credential| credential == 8), 1);
        assert!(old.is_cut() && end.is_cancelled());
        assert!(!new.is_cut() && !certified.is_cut());
        drop(old);
        assert_eq!(links.of("a"), [shown("p2"), shown("p3")]);
        assert_eq!(links.cut("a"), 2);
        let late = CancellationToken::new();
        new.ends_by(&late);
        assert!(
            late.is_cancelled(),
            "a cut before the connection was up is not lost"
        );
        drop((new, certified));
        assert_eq!(links.of("a"), []);
        assert_eq!(links.last_peer("a").as_deref(), Some("p3"));
        links.heard(&a, "p4");
        assert_eq!(links.last_peer("a").as_deref(), Some("p4"));
    }
}
