//! How often a station's password may be guessed: by one address, and by all of them.
//!
//! Only passwords that turned out wrong are counted, so a right one costs nothing, and one that an address has said before is
//! no other guess: a station with a wrong password in it does not use up what others behind its address have. Whoever has shown
//! the password on its connection is not asked here at all, and an address from which a station came in before has guesses
//! of its own for that station: strangers elsewhere cannot use them up.
//!
//! The address of a datagram is what its sender says. So datagrams have guesses apart from those of connections, and a station
//! that has shown its password from a port goes on from there with the same password whatever was said in its address's name:
//! a forger would have to guess the port as well.
//!
//! An address is an IPv4 address or an IPv6 /64. Pure: the caller says what time it is.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Denied;
use crate::mqtt::gate::network;

/// Wrong passwords of one address at once, and how long each takes to come back.
const OF_ADDRESS: Rate = Rate {
    burst: 16,
    every: Duration::from_secs(60),
};
/// Wrong passwords for one station from all addresses that it did not come from. More than one address has, so that one
/// alone does not use them up.
const OF_STATION: Rate = Rate {
    burst: 32,
    every: Duration::from_secs(30),
};
/// Addresses with wrong passwords that are known at once; what others say beyond counts as one address.
const N_ADDRESSES: usize = 16_384;
/// How often those are looked for that may be forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Wrong passwords of one address that are remembered as said.
const N_SAID: usize = 16;
/// Addresses that are remembered of one station; a new one takes the place of that which was not used longest.
const N_USUAL: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: u32,
    every: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    rate: Rate,
    left: f64,
    at: Instant,
}

impl Bucket {
    fn new(rate: Rate, now: Instant) -> Self {
        Self {
            rate,
            left: f64::from(rate.burst),
            at: now,
        }
    }

    fn fill(&mut self, now: Instant) {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() / self.rate.every.as_secs_f64();
        self.left = (self.left + gained).min(f64::from(self.rate.burst));
        self.at = self.at.max(now);
    }

    fn has_one(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.left >= 1.0
    }

    fn take(&mut self, now: Instant) {
        self.fill(now);
        // Connections that try at the same moment may have one more each.
        self.left = (self.left - 1.0).max(0.0);
    }
}

#[derive(Debug)]
struct Address {
    bucket: Bucket,
    /// Hashes of number and password, oldest first.
    said: Vec<u64>,
}

impl Address {
    fn new(now: Instant) -> Self {
        Self {
            bucket: Bucket::new(OF_ADDRESS, now),
            said: Vec::new(),
        }
    }
}

#[derive(Debug)]
struct Station {
    bucket: Bucket,
    /// Where it came in from, the last one first.
    usual: Vec<Usual>,
}

/// An address that a station came in from.
#[derive(Debug)]
struct Usual {
    ip: IpAddr,
    bucket: Bucket,
    /// The port of its last datagram, and the hash of the password that it had.
    port: Option<(u16, u64)>,
}

/// Who says a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sayer {
    pub(super) peer: SocketAddr,
    /// Its address is what it says, not where answers were seen to reach it.
    pub(super) is_datagram: bool,
}

/// The wrong passwords of a server's stations. One entry a station of the register at most.
#[derive(Debug)]
pub(super) struct Guesses {
    hasher: RandomState,
    connections: Mutex<Table>,
    datagrams: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    addresses: HashMap<IpAddr, Address>,
    others: Address,
    stations: HashMap<Box<str>, Station>,
    swept_at: Instant,
}

impl Table {
    fn address(&mut self, ip: IpAddr) -> &mut Address {
        self.addresses.get_mut(&ip).unwrap_or(&mut self.others)
    }

    fn usual(&mut self, number: &str, ip: IpAddr) -> Option<&mut Usual> {
        let station = self.stations.get_mut(number)?;
        station.usual.iter_mut().find(|usual| usual.ip == ip)
    }

    /// Makes room for an address, when there is any.
    fn know(&mut self, ip: IpAddr, now: Instant) {
        if self.addresses.len() >= N_ADDRESSES && now.saturating_duration_since(self.swept_at) >= SWEEP_EVERY
        {
            self.swept_at = now;
            self.addresses.retain(|_, address| {
                address.bucket.fill(now);
                address.bucket.left < f64::from(OF_ADDRESS.burst)
            });
        }
        if self.addresses.len() < N_ADDRESSES {
            self.addresses.entry(ip).or_insert_with(|| Address::new(now));
        }
    }

    fn station(&mut self, number: &str, now: Instant) -> &mut Station {
        self.stations.entry(number.into()).or_insert_with(|| Station {
            bucket: Bucket::new(OF_STATION, now),
            usual: Vec::new(),
        })
    }
}

impl Guesses {
    pub(super) fn new(now: Instant) -> Self {
        let table = || {
            Mutex::new(Table {
                addresses: HashMap::new(),
                others: Address::new(now),
                stations: HashMap::new(),
                swept_at: now,
            })
        };
        Self {
            hasher: RandomState::new(),
            connections: table(),
            datagrams: table(),
        }
    }

    fn table(&self, of: Sayer) -> MutexGuard<'_, Table> {
        let table = match of.is_datagram {
            true => &self.datagrams,
            false => &self.connections,
        };
        // Every change leaves the table whole, so a poisoned lock still guards one.
        table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a password is looked at.
    ///
    /// # Errors
    /// [`Denied::AddressGuesses`] and [`Denied::StationGuesses`] when it is not.
    pub(super) fn may_try(
        &self,
        now: Instant,
        from: Sayer,
        number: &str,
        password: &str,
    ) -> Result<(), Denied> {
        let (ip, said) = (network(from.peer.ip()), self.hasher.hash_one((number, password)));
        let mut table = self.table(from);
        if let Some(usual) = table.usual(number, ip) {
            let is_proven = usual.port == Some((from.peer.port(), said));
            return match is_proven || usual.bucket.has_one(now) {
                true => Ok(()),
                false => Err(Denied::AddressGuesses),
            };
        }
        let is_full = table.addresses.len() >= N_ADDRESSES;
        if let Some(address) = table.addresses.get_mut(&ip) {
            if address.said.contains(&said) {
                return Ok(());
            }
            if !address.bucket.has_one(now) {
                return Err(Denied::AddressGuesses);
            }
        } else if is_full && !table.others.bucket.has_one(now) {
            return Err(Denied::AddressGuesses);
        }
        let station = table.stations.get_mut(number);
        match station.is_none_or(|station| station.bucket.has_one(now)) {
            true => Ok(()),
            false => Err(Denied::StationGuesses),
        }
    }

    /// Notes that a password was wrong.
    pub(super) fn failed(&self, now: Instant, from: Sayer, number: &str, password: &str) {
        let (ip, said) = (network(from.peer.ip()), self.hasher.hash_one((number, password)));
        let mut table = self.table(from);
        table.know(ip, now);
        let address = table.address(ip);
        if address.said.contains(&said) {
            return;
        }
        if address.said.len() >= N_SAID {
            address.said.remove(0);
        }
        address.said.push(said);
        address.bucket.take(now);
        match table.usual(number, ip) {
            Some(usual) => usual.bucket.take(now),
            None => table.station(number, now).bucket.take(now),
        }
    }

    /// Notes from where a station came in, and with which password.
    pub(super) fn came_in(&self, now: Instant, from: Sayer, number: &str, password: &str) {
        let (ip, said) = (network(from.peer.ip()), self.hasher.hash_one((number, password)));
        let mut table = self.table(from);
        let usual = &mut table.station(number, now).usual;
        match usual.iter().position(|usual| usual.ip == ip) {
            Some(at) => usual[..=at].rotate_right(1),
            None => {
                usual.truncate(N_USUAL - 1);
                let bucket = Bucket::new(OF_ADDRESS, now);
                let port = None;
                usual.insert(0, Usual { ip, bucket, port });
            }
        }
        // A connection's port says nothing, and needs not to: its address is proven.
        usual[0].port = from.is_datagram.then_some((from.peer.port(), said));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct Play {
        guesses: Guesses,
        start: Instant,
        n: u32,
    }

    impl Play {
        fn new() -> Self {
            let start = Instant::now();
            Self {
                guesses: Guesses::new(start),
                start,
                n: 0,
            }
        }

        /// Tries other passwords at a second until none is looked at; how many were.
        fn guess(&mut self, s: u64, ip: &str, number: &str) -> u32 {
            self.guess_from(s, connection(ip), number)
        }

        fn guess_from(&mut self, s: u64, from: Sayer, number: &str) -> u32 {
            let now = self.start + Duration::from_secs(s);
            for n_tried in 0..1000 {
                self.n += 1;
                let password = self.n.to_string();
                if self.guesses.may_try(now, from, number, &password).is_err() {
                    return n_tried;
                }
                self.guesses.failed(now, from, number, &password);
            }
            1000
        }

        fn comes_in(&self, s: u64, ip: &str, number: &str) -> bool {
            self.comes_in_from(s, connection(ip), number, "right")
        }

        fn comes_in_from(&self, s: u64, from: Sayer, number: &str, password: &str) -> bool {
            let now = self.start + Duration::from_secs(s);
            let may = self.guesses.may_try(now, from, number, password).is_ok();
            if may {
                self.guesses.came_in(now, from, number, password);
            }
            may
        }
    }

    fn connection(ip: &str) -> Sayer {
        let peer = SocketAddr::new(ip.parse().unwrap(), 40_000);
        let is_datagram = false;
        Sayer { peer, is_datagram }
    }

    fn datagram(ip: &str, port: u16) -> Sayer {
        let peer = SocketAddr::new(ip.parse().unwrap(), port);
        let is_datagram = true;
        Sayer { peer, is_datagram }
    }

    #[test]
    fn a_forger_in_a_station_s_name_harms_neither_it_nor_its_connections() {
        let mut play = Play::new();
        let station = datagram("10.9.0.1", 5000);
        assert!(play.comes_in_from(0, station, "A", "right"));
        assert!(play.comes_in(0, "10.9.0.1", "A"));
        // It says the station's address, from other ports, and that of the port, too.
        assert_eq!(play.guess_from(1, datagram("10.9.0.1", 6000), "A"), 16);
        assert_eq!(play.guess_from(1, station, "A"), 0);
        assert!(play.comes_in_from(1, station, "A", "right"));
        assert!(!play.comes_in_from(1, station, "A", "wrong"));
        assert!(!play.comes_in_from(1, datagram("10.9.0.1", 5001), "A", "right"));
        assert!(play.comes_in(1, "10.9.0.1", "A"), "its connections");
        assert_eq!(play.guess(1, "10.9.0.1", "A"), 16, "of which nothing was used up");
        // In a minute there is one more, and from its new port it goes on.
        let moved = datagram("10.9.0.1", 5001);
        assert!(play.comes_in_from(62, moved, "A", "right"));
        assert_eq!(play.guess_from(62, station, "A"), 1);
        assert!(play.comes_in_from(62, moved, "A", "right"));
        assert!(!play.comes_in_from(62, station, "A", "right"));
    }

    #[test]
    fn one_address_has_sixteen_guesses_and_then_one_a_minute_and_harms_no_other() {
        let mut play = Play::new();
        assert_eq!(play.guess(0, "10.0.0.1", "A"), 16);
        assert_eq!(play.guess(0, "10.0.0.1", "B"), 0, "of whatever station");
        assert_eq!(play.guess(59, "10.0.0.1", "A"), 0);
        assert_eq!(play.guess(60, "10.0.0.1", "A"), 1);
        let a_day: u32 = (1..=24 * 60)
            .map(|minute| play.guess(60 + 60 * minute, "10.0.0.1", "A"))
            .sum();
        assert_eq!(a_day, 24 * 60);
        assert!(play.comes_in(0, "10.0.0.2", "A"));
        // All of a /64 are one.
        assert_eq!(play.guess(0, "2001:db8::1", "C"), 16);
        assert_eq!(play.guess(0, "2001:db8::2", "C"), 0);
        assert!(play.comes_in(0, "2001:db8:0:1::2", "C"));
    }

    #[test]
    fn many_addresses_share_what_one_station_has_and_the_station_comes_in_from_where_it_came() {
        let mut play = Play::new();
        assert!(play.comes_in(0, "10.9.0.1", "A"));
        let n: u32 = (1..100).map(|i| play.guess(1, &format!("10.0.0.{i}"), "A")).sum();
        assert_eq!(n, 32);
        assert!(!play.comes_in(1, "10.9.0.2", "A"), "from where it was never");
        assert!(play.comes_in(1, "10.9.0.1", "A"));
        assert!(play.comes_in(1, "10.0.0.50", "B"), "another station");
        assert!(play.comes_in(31, "10.9.0.2", "A"));
        // Whoever guesses behind the same address has the guesses of that address.
        assert_eq!(play.guess(40, "10.9.0.1", "A"), 16);
        assert!(!play.comes_in(40, "10.9.0.1", "A") && play.comes_in(101, "10.9.0.1", "A"));
        // Of the addresses that a station came from, the last four are known.
        for i in 1..=5 {
            assert!(play.comes_in(2000, &format!("10.7.0.{i}"), "A"));
        }
        let n: u32 = (1..100)
            .map(|i| play.guess(2000, &format!("10.0.1.{i}"), "A"))
            .sum();
        assert_eq!(n, 32);
        assert!(play.comes_in(2000, "10.7.0.2", "A") && !play.comes_in(2000, "10.7.0.1", "A"));
    }

    #[test]
    fn one_wrong_password_that_is_said_again_and_again_is_one_guess() {
        let play = Play::new();
        let from = connection("10.0.0.1");
        for s in 0..1000 {
            let now = play.start + Duration::from_millis(s);
            assert_eq!(play.guesses.may_try(now, from, "A", "old"), Ok(()));
            play.guesses.failed(now, from, "A", "old");
        }
        assert!(play.comes_in(1, "10.0.0.1", "B"));
        let mut table = play.guesses.table(from);
        let left = table.address(from.peer.ip()).bucket.left;
        assert!((14.9..=15.1).contains(&left), "{left}");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut play = Play::new();
        for i in 0..N_ADDRESSES as u32 + 1000 {
            let ip = IpAddr::from((0x0A00_0000 + i).to_be_bytes());
            let from = connection(&ip.to_string());
            play.guesses.failed(play.start, from, "A", &i.to_string());
        }
        let of_connections = connection("11.0.0.1");
        assert_eq!(play.guesses.table(of_connections).addresses.len(), N_ADDRESSES);
        assert_eq!(
            play.guess(0, "11.0.0.1", "B"),
            0,
            "the others have used theirs up"
        );
        // A minute later all but the one with two are forgotten.
        assert_eq!(play.guess(20_000, "11.0.0.1", "B"), 16);
        assert_eq!(play.guesses.table(of_connections).addresses.len(), 1);
    }
}
