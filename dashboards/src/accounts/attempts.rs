//! How often an account's password and codes may be guessed: from one network, and from all of them.
//!
//! A try counts until it turned out right. From one network each name has tries of its own, so who guesses one name
//! holds up nobody else behind the same address. A network from which an account's holder came in before is not held
//! up by guesses from elsewhere. Names that are nobody's are counted like others: what is refused does not tell which
//! accounts there are.
//!
//! A network is an IPv4 address or an IPv6 /64. Pure: the caller says what time it is.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Wrong tries of one name from one network at once, and how long each takes to come back.
const OF_PAIR: Rate = Rate {
    burst: 8,
    every: Duration::from_secs(60),
};
/// Wrong tries of one name from all networks that its holder did not come from.
const OF_NAME: Rate = Rate {
    burst: 32,
    every: Duration::from_secs(30),
};
/// Entries of each table; when it is full, what is nearest to being forgotten goes.
const N_ENTRIES: usize = 16_384;
/// Networks that are remembered of one account.
const N_USUAL: usize = 8;
/// Tries of one name from networks that its holder did not come from that are looked at at once: guesses of one name
/// from everywhere stand before others with so many comparisons and no more.
const N_STRANGERS: usize = 2;
/// Accounts whose networks are remembered.
const N_HOLDERS: usize = 16_384;

#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: u32,
    every: Duration,
}

impl Rate {
    /// When all tries are back, after a moment at which `full_at` was that moment.
    fn spend(self, full_at: Instant, now: Instant) -> Result<Instant, Duration> {
        let full_at = full_at.max(now) + self.every;
        let most = now + self.every * self.burst;
        match full_at <= most {
            true => Ok(full_at),
            false => Err(full_at - most),
        }
    }
}

/// Who tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sayer<'a> {
    pub(crate) ip: IpAddr,
    pub(crate) name: &'a str,
}

/// Tries that turned out wrong, or are not decided yet.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    hasher: RandomState,
    /// By hash: when all tries are back.
    pairs: HashMap<u64, Instant>,
    names: HashMap<u64, Instant>,
    /// Tries whose password is looked at now: one of each name from each network, so that who tries often, with a right
    /// password even, takes one turn of all.
    under_way: HashSet<u64>,
    /// Of each name, the networks that its holder did not come from and whose tries are among those.
    strangers: HashMap<u64, Vec<u64>>,
    /// Networks that the holder of a name came in from, the last one first.
    usual: HashMap<u64, Vec<IpAddr>>,
}

impl Attempts {
    /// Takes a try of this name from this network.
    ///
    /// # Errors
    /// How long to wait for one; nothing is taken then.
    pub(crate) fn take(&mut self, who: Sayer<'_>, now: Instant) -> Result<(), Duration> {
        let (pair, name) = self.keys(who);
        let of_pair = OF_PAIR.spend(*self.pairs.get(&pair).unwrap_or(&now), now)?;
        if !self.is_usual(name, who.ip) {
            let of_name = OF_NAME.spend(*self.names.get(&name).unwrap_or(&now), now)?;
            put(&mut self.names, name, of_name, now);
        }
        put(&mut self.pairs, pair, of_pair, now);
        Ok(())
    }

    /// Begins to look at a password; `false` while another of the same name from the same network is looked at, or some
    /// from networks that its holder did not come from and this is one more of them.
    pub(crate) fn enter(&mut self, who: Sayer<'_>) -> bool {
        let (pair, name) = self.keys(who);
        if self.under_way.contains(&pair) {
            return false;
        }
        if !self.is_usual(name, who.ip) {
            let strangers = self.strangers.entry(name).or_default();
            if strangers.len() >= N_STRANGERS {
                return false;
            }
            strangers.push(pair);
        }
        self.under_way.insert(pair)
    }

    /// It was looked at, or nobody waits for it any more.
    pub(crate) fn leave(&mut self, who: Sayer<'_>) {
        let (pair, name) = self.keys(who);
        self.under_way.remove(&pair);
        if let Some(strangers) = self.strangers.get_mut(&name) {
            strangers.retain(|of| *of != pair);
            if strangers.is_empty() {
                self.strangers.remove(&name);
            }
        }
    }

    /// The try that was taken turned out right.
    pub(crate) fn right(&mut self, who: Sayer<'_>, now: Instant) {
        let (pair, name) = self.keys(who);
        self.pairs.remove(&pair);
        if !self.is_usual(name, who.ip) {
            give_back(&mut self.names, name, OF_NAME, now);
        }
        if self.usual.len() >= N_HOLDERS && !self.usual.contains_key(&name) {
            self.usual.clear();
        }
        let usual = self.usual.entry(name).or_default();
        let network = network(who.ip);
        usual.retain(|known| *known != network);
        usual.insert(0, network);
        usual.truncate(N_USUAL);
    }

    /// The try that was taken was not made: there was no turn for it.
    pub(crate) fn not_made(&mut self, who: Sayer<'_>, now: Instant) {
        let (pair, name) = self.keys(who);
        give_back(&mut self.pairs, pair, OF_PAIR, now);
        if !self.is_usual(name, who.ip) {
            give_back(&mut self.names, name, OF_NAME, now);
        }
    }

    fn keys(&self, who: Sayer<'_>) -> (u64, u64) {
        let pair = self.hasher.hash_one((network(who.ip), who.name));
        (pair, self.hasher.hash_one(who.name))
    }

    fn is_usual(&self, name: u64, ip: IpAddr) -> bool {
        let usual = self.usual.get(&name);
        usual.is_some_and(|usual| usual.contains(&network(ip)))
    }
}

fn give_back(table: &mut HashMap<u64, Instant>, key: u64, rate: Rate, now: Instant) {
    if let Some(full_at) = table.get_mut(&key) {
        *full_at = full_at.checked_sub(rate.every).unwrap_or(now);
        if *full_at <= now {
            table.remove(&key);
        }
    }
}

fn put(table: &mut HashMap<u64, Instant>, key: u64, full_at: Instant, now: Instant) {
    if table.len() >= N_ENTRIES && !table.contains_key(&key) {
        table.retain(|_, full_at| *full_at > now);
        while table.len() >= N_ENTRIES {
            // An eighth at once, so that a flood does not look through the table each time.
            let mut ends: Vec<Instant> = table.values().copied().collect();
            let (_, border, _) = ends.select_nth_unstable(N_ENTRIES / 8);
            let border = *border;
            table.retain(|_, full_at| *full_at > border);
        }
    }
    table.insert(key, full_at);
}

fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn who<'a>(ip: &str, name: &'a str) -> Sayer<'a> {
        Sayer {
            ip: ip.parse().unwrap(),
            name,
        }
    }

    #[test]
    fn tries_of_a_name_from_a_network_run_out_and_come_back() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        let a = who("192.0.2.1", "li");
        for _ in 0..OF_PAIR.burst {
            attempts.take(a, now).unwrap();
        }
        assert_eq!(attempts.take(a, now), Err(OF_PAIR.every));
        assert_eq!(
            attempts.take(who("192.0.2.1", "wang"), now),
            Ok(()),
            "another name"
        );
        assert_eq!(
            attempts.take(who("192.0.2.2", "li"), now),
            Ok(()),
            "another network"
        );
        assert!(attempts.take(a, now + OF_PAIR.every / 2).is_err());
        assert_eq!(attempts.take(a, now + OF_PAIR.every), Ok(()));
        assert!(attempts.take(a, now + OF_PAIR.every).is_err());
    }

    #[test]
    fn strangers_of_one_name_are_looked_at_two_at_a_time() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        let home = who("192.0.2.7", "li");
        attempts.take(home, now).unwrap();
        attempts.right(home, now);
        let strangers: Vec<String> = (0..N_STRANGERS).map(|i| format!("198.51.100.{i}")).collect();
        for ip in &strangers {
            assert!(attempts.enter(who(ip, "li")));
        }
        let late = who("198.51.100.200", "li");
        assert!(!attempts.enter(late));
        assert!(attempts.enter(who("198.51.100.200", "wang")), "another name");
        assert!(attempts.enter(home), "where its holder came from");
        assert!(!attempts.enter(home), "one at a time");
        // Who becomes known meanwhile leaves as he came.
        let first = who(&strangers[0], "li");
        attempts.right(first, now);
        attempts.leave(first);
        assert!(attempts.enter(late));
        for ip in strangers
            .iter()
            .map(String::as_str)
            .chain(["198.51.100.200", "192.0.2.7"])
        {
            attempts.leave(who(ip, "li"));
        }
        attempts.leave(who("198.51.100.200", "wang"));
        assert!(attempts.under_way.is_empty() && attempts.strangers.is_empty());
    }

    #[test]
    fn a_right_one_costs_nothing() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        for i in 0..1000 {
            let ip = format!("192.0.2.{}", i % 200);
            let li = who(&ip, "li");
            attempts.take(li, now).unwrap();
            attempts.right(li, now);
        }
        let wang = who("192.0.2.1", "wang");
        for _ in 0..1000 {
            attempts.take(wang, now).unwrap();
            attempts.not_made(wang, now);
        }
    }

    #[test]
    fn guesses_from_everywhere_hold_up_strangers_and_not_the_holder() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        let home = who("2001:db8:1:2::1", "li");
        attempts.take(home, now).unwrap();
        attempts.right(home, now);
        let mut n = 0;
        for i in 0..200 {
            let ip = format!("198.51.100.{i}");
            n += u32::from(attempts.take(who(&ip, "li"), now).is_ok());
        }
        assert_eq!(n, OF_NAME.burst);
        assert_eq!(
            attempts.take(who("2001:db8:1:2:ffff::9", "li"), now),
            Ok(()),
            "the same /64"
        );
        assert!(attempts.take(who("2001:db8:1:3::1", "li"), now).is_err());
        assert_eq!(attempts.take(who("198.51.100.9", "wang"), now), Ok(()));
    }

    #[test]
    fn a_flood_of_names_stays_within_its_room() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        let a = who("192.0.2.1", "li");
        for _ in 0..OF_PAIR.burst {
            attempts.take(a, now).unwrap();
        }
        for i in 0..4 * N_ENTRIES {
            let name = i.to_string();
            attempts.take(who("192.0.2.9", &name), now).unwrap();
        }
        assert!(attempts.pairs.len() <= N_ENTRIES && attempts.names.len() <= N_ENTRIES);
        assert!(
            attempts.take(a, now).is_err(),
            "who guessed most is forgotten last"
        );
    }
}
