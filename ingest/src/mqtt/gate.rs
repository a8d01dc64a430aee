//! How many may come in: connections of one address, new ones a second, connections of one device, all.
//!
//! An address is an IPv4 address or an IPv6 /64, of which one host has all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use onemap_model::DeviceId;

use super::Limits;

/// How often addresses that are quiet are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// The counts; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: Limits,
    addresses: Mutex<Addresses>,
    seats: Mutex<Seats>,
}

#[derive(Debug)]
struct Addresses {
    by_ip: HashMap<IpAddr, Address>,
    swept_at: Instant,
}

#[derive(Debug)]
struct Address {
    n_open: usize,
    /// Connections that may come now.
    left: f64,
    filled_at: Instant,
}

#[derive(Debug, Default)]
struct Seats {
    n_taken: usize,
    by_device: HashMap<DeviceId, usize>,
}

/// An address that connects faster than it may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooFast;

/// One connection of an address.
#[derive(Debug)]
pub(crate) struct Entrance {
    gate: Gate,
    ip: IpAddr,
    /// The address has more connections than it may.
    pub(crate) is_over: bool,
}

/// Why there is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSeat {
    /// The server is full.
    Full,
    /// The device has as many connections as it may.
    OfDevice,
}

/// One authenticated connection.
#[derive(Debug)]
pub(crate) struct Seat {
    gate: Gate,
    device: Option<DeviceId>,
}

impl Gate {
    pub(crate) fn new(limits: Limits, now: Instant) -> Self {
        Self(Arc::new(Inner {
            limits,
            addresses: Mutex::new(Addresses {
                by_ip: HashMap::new(),
                swept_at: now,
            }),
            seats: Mutex::default(),
        }))
    }

    /// Counts a new connection.
    pub(crate) fn enter(&self, ip: IpAddr, now: Instant) -> Result<Entrance, TooFast> {
        let Limits {
            per_address,
            connects_per_second: rate,
            connects_burst: burst,
            ..
        } = self.0.limits;
        let (rate, burst) = (f64::from(rate), f64::from(burst));
        let ip = network(ip);
        let mut addresses = self.addresses();
        if now.saturating_duration_since(addresses.swept_at) >= SWEEP_EVERY {
            addresses.swept_at = now;
            addresses
                .by_ip
                .retain(|_, a| a.n_open > 0 || a.now(now, rate, burst) < burst);
        }
        let address = addresses.by_ip.entry(ip).or_insert(Address {
            n_open: 0,
            left: burst,
            filled_at: now,
        });
        if rate > 0.0 {
            address.left = address.now(now, rate, burst);
            address.filled_at = now;
            if address.left < 1.0 {
                return Err(TooFast);
            }
            address.left -= 1.0;
        }
        address.n_open += 1;
        Ok(Entrance {
            gate: self.clone(),
            ip,
            is_over: per_address > 0 && address.n_open > per_address,
        })
    }

    /// A seat for an authenticated client, or for an anonymous one, whose number has no limit of its own.
    pub(crate) fn sit(&self, device: Option<&DeviceId>) -> Result<Seat, NoSeat> {
        let Limits {
            connections,
            per_device,
            ..
        } = self.0.limits;
        let mut seats = self.seats();
        if seats.n_taken >= connections {
            return Err(NoSeat::Full);
        }
        let counted = if let (true, Some(device)) = (per_device > 0, device) {
            match seats.by_device.entry(device.clone()) {
                Entry::Occupied(n) if *n.get() >= per_device => return Err(NoSeat::OfDevice),
                Entry::Occupied(mut n) => *n.get_mut() += 1,
                Entry::Vacant(free) => {
                    free.insert(1);
                }
            }
            Some(device.clone())
        } else {
            None
        };
        seats.n_taken += 1;
        Ok(Seat {
            gate: self.clone(),
            device: counted,
        })
    }

    fn addresses(&self) -> MutexGuard<'_, Addresses> {
        self.0.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.0.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Address {
    fn now(&self, now: Instant, rate: f64, burst: f64) -> f64 {
        let gained = now.saturating_duration_since(self.filled_at).as_secs_f64() * rate;
        (self.left + gained).min(burst)
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        if let Some(address) = self.gate.addresses().by_ip.get_mut(&self.ip) {
            address.n_open -= 1;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.gate.seats();
        seats.n_taken -= 1;
        let Some(device) = self.device.take() else {
            return;
        };
        if let Entry::Occupied(mut n) = seats.by_device.entry(device) {
            *n.get_mut() -= 1;
            if *n.get() == 0 {
                n.remove();
            }
        }
    }
}

pub(crate) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn gate(limits: Limits) -> (Gate, Instant) {
        let now = Instant::now();
        (Gate::new(limits, now), now)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_burst_may_come_and_then_the_rate() {
        let limits = Limits {
            connects_per_second: 10,
            connects_burst: 50,
            ..Limits::default()
        };
        let (gate, start) = gate(limits);
        let at = |n_ms: u64| start + Duration::from_millis(n_ms);
        let come = |now: Instant| {
            (0..100)
                .filter(|_| gate.enter(ip("10.0.0.1"), now).is_ok())
                .count()
        };
        assert_eq!(come(at(0)), 50);
        assert_eq!(come(at(50)), 0);
        assert_eq!(come(at(1050)), 10);
        assert!(gate.enter(ip("10.0.0.2"), at(1050)).is_ok(), "another address");
        assert_eq!(come(at(3_600_000)), 50);
    }

    #[test]
    fn an_address_is_forgotten_when_it_is_quiet() {
        let (gate, start) = gate(Limits::default());
        let later = start + Duration::from_secs(3600);
        let stays = gate.enter(ip("::ffff:10.0.0.1"), start).unwrap();
        drop(gate.enter(ip("10.0.0.2"), start).unwrap());
        let same_network = gate.enter(ip("2001:db8::1"), start).unwrap();
        assert!(gate.enter(ip("2001:db8::ffff:2"), later).is_ok());
        let known: Vec<_> = gate.addresses().by_ip.keys().copied().collect();
        assert_eq!(known.len(), 2, "{known:?}");
        assert!(known.contains(&ip("10.0.0.1")) && known.contains(&ip("2001:db8::")));
        drop((stays, same_network));
        assert!(gate.addresses().by_ip.values().all(|a| a.n_open == 0));
    }

    #[test]
    fn an_address_over_its_connections_is_marked_until_one_goes() {
        let limits = Limits {
            per_address: 2,
            ..Limits::default()
        };
        let (gate, now) = gate(limits);
        let one = gate.enter(ip("10.0.0.1"), now).unwrap();
        let two = gate.enter(ip("10.0.0.1"), now).unwrap();
        assert!(!one.is_over && !two.is_over);
        assert!(gate.enter(ip("10.0.0.1"), now).unwrap().is_over);
        drop(one);
        assert!(!gate.enter(ip("10.0.0.1"), now).unwrap().is_over);
    }

    #[test]
    fn seats_are_counted_over_all_and_by_device() {
        let limits = Limits {
            connections: 3,
            per_device: 2,
            ..Limits::default()
        };
        let (gate, _) = gate(limits);
        let device = |id: &str| DeviceId::new(id).unwrap();
        let first = gate.sit(Some(&device("A"))).unwrap();
        let _second = gate.sit(Some(&device("A"))).unwrap();
        assert_eq!(gate.sit(Some(&device("A"))).unwrap_err(), NoSeat::OfDevice);
        let third = gate.sit(Some(&device("B"))).unwrap();
        assert_eq!(gate.sit(Some(&device("C"))).unwrap_err(), NoSeat::Full);
        drop((first, third));
        assert!(gate.sit(Some(&device("A"))).is_ok());
        assert_eq!(gate.seats().n_taken, 1);
        assert_eq!(gate.seats().by_device.len(), 1);
    }
}
