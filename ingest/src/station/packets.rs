//! Data sets that HJ 212 stations send in several packets: which packets came, whatever connection they came on.
//!
//! Packets are kept and read one by one; here is only counted, so that a set of which some never came is told by name.
//! What is open when the process ends goes on with the next one, which reads its packets back out of the journal
//! ([`super::begun`]).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use onemap_log::Batch;
use onemap_model::record::{KIND_REFUSED, RefusedFrame};
use onemap_model::{DeviceId, Frame, Refusal, Source, Timestamp};
use onemap_wire::hj212::Segment;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use super::server::Shared;

/// What stands as topic of a set's packets.
pub const PACKETS: &str = "hj212/packets";
/// Why a set ends that does not become whole in time.
pub(super) const TOO_OLD: &str = "packets_too_old";
/// How often sets are looked at.
const ROUND: Duration = Duration::from_secs(1);

/// How long a set may take, from its first packet: the standard's 10 s and three repeats.
pub(super) const AGE: Duration = Duration::from_secs(40);
/// Open sets of one station; the oldest ends.
const N_SETS: usize = 16;
/// Sets of one station that became whole and are remembered: a packet that comes again opens none.
const N_WHOLE: usize = 16;
/// Largest PNUM.
const N_PACKETS: u32 = 1000;
/// Bytes of one set that are kept to be shown …
const SHOWN_BYTES: usize = 8 << 10;
/// … and of all sets; beyond, packets are counted and not kept.
const ALL_BYTES: usize = 16 << 20;
/// Numbers that a detail lists.
const N_LISTED: usize = 16;

/// Which set a packet is of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    st: Box<str>,
    cn: Box<str>,
    data_time: Box<str>,
    n_packets: u32,
}

#[derive(Debug)]
struct Set {
    key: Key,
    since: Timestamp,
    peer: Box<str>,
    /// By number; of those beyond the bytes that are shown only the number.
    packets: BTreeMap<u32, Vec<u8>>,
    n_bytes: usize,
}

#[derive(Debug, Default)]
struct Station {
    /// Oldest first.
    open: VecDeque<Set>,
    whole: VecDeque<(Key, Timestamp)>,
}

/// A set that has ended without some of its packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Incomplete {
    pub(super) device: DeviceId,
    pub(super) peer: Box<str>,
    /// Which packets of how many came.
    pub(super) detail: String,
    /// The packets that came, one behind the other in their order.
    pub(super) bytes: Vec<u8>,
}

/// The packets of every station of a server.
#[derive(Debug)]
pub(super) struct PacketSets {
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    /// From when on packets are known.
    since: Timestamp,
    stations: HashMap<DeviceId, Station>,
    /// Of all open sets.
    n_bytes: usize,
}

impl PacketSets {
    /// None yet, from a time on: of a set that began before, the first packets are not known.
    pub(super) fn new(since: Timestamp) -> Self {
        Self {
            table: Mutex::new(Table {
                since,
                stations: HashMap::new(),
                n_bytes: 0,
            }),
        }
    }

    /// Packets are known from this time on: those that came since then are noted next.
    pub(super) fn known_since(&self, since: Timestamp) {
        self.table().since = since;
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Every change leaves the table whole, so a poisoned lock still guards one.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a packet of a station that was let in. What comes back has ended because the station has too many sets
    /// open, or is a packet whose numbers are none.
    pub(super) fn note(
        &self,
        device: &DeviceId,
        peer: &str,
        segment: &Segment,
        bytes: &[u8],
        now: Timestamp,
    ) -> Option<Incomplete> {
        let (number, n_packets) = match segment.packet() {
            // What is no packet set is none, whatever its Flag says.
            None if !segment.has_packet_fields() => return None,
            Some((number, n)) if (1..=n).contains(&number) && n <= N_PACKETS => (number, n),
            numbers => return Some(no_packet(device, peer, segment, numbers, bytes)),
        };
        if n_packets == 1 {
            return None;
        }
        let key = Key {
            st: segment.st().into(),
            cn: segment.cn().into(),
            data_time: segment.data_time().unwrap_or_default().into(),
            n_packets,
        };
        let mut table = self.table();
        let Table {
            since,
            stations,
            n_bytes,
        } = &mut *table;
        let began = *since;
        let station = stations.entry(device.clone()).or_default();
        station.whole.retain(|(_, at)| now.since(*at) <= AGE);
        if station.whole.iter().any(|(whole, _)| *whole == key) {
            return None;
        }
        let mut ended = None;
        let at = match station.open.iter().position(|set| set.key == key) {
            Some(at) => at,
            None => {
                if station.open.len() >= N_SETS {
                    let oldest = station.open.pop_front();
                    *n_bytes -= oldest.as_ref().map_or(0, |set| set.n_bytes);
                    ended = oldest.map(|set| set.ended(device, "too_many_packet_sets", began));
                }
                station.open.push_back(Set {
                    key: key.clone(),
                    since: now,
                    peer: peer.into(),
                    packets: BTreeMap::new(),
                    n_bytes: 0,
                });
                station.open.len() - 1
            }
        };
        let set = &mut station.open[at];
        if !set.packets.contains_key(&number) {
            let has_room = set.n_bytes + bytes.len() <= SHOWN_BYTES && *n_bytes + bytes.len() <= ALL_BYTES;
            let kept = if has_room { bytes.to_vec() } else { Vec::new() };
            set.n_bytes += kept.len();
            *n_bytes += kept.len();
            set.packets.insert(number, kept);
        }
        if set.packets.len() == n_packets as usize {
            *n_bytes -= station.open.remove(at).map_or(0, |set| set.n_bytes);
            station.whole.push_back((key, now));
            if station.whole.len() > N_WHOLE {
                station.whole.pop_front();
            }
        }
        ended
    }

    /// Ends what is too old; call it about once a second.
    pub(super) fn tick(&self, now: Timestamp) -> Vec<Incomplete> {
        let mut ended = Vec::new();
        let mut table = self.table();
        let Table {
            since,
            stations,
            n_bytes,
        } = &mut *table;
        let began = *since;
        stations.retain(|device, station| {
            // A clock that was set back must not keep a set for ever.
            let is_over = |since: Timestamp| now.ms().abs_diff(since.ms()) > AGE.as_millis() as u64;
            while station.open.front().is_some_and(|set| is_over(set.since)) {
                let oldest = station.open.pop_front();
                *n_bytes -= oldest.as_ref().map_or(0, |set| set.n_bytes);
                ended.extend(oldest.map(|set| set.ended(device, TOO_OLD, began)));
            }
            station.whole.retain(|(_, at)| !is_over(*at));
            !station.open.is_empty() || !station.whole.is_empty()
        });
        ended
    }
}

/// Tells what has ended, until the server stops.
pub(super) async fn run(source: Source, shared: Arc<Shared>) {
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            _ = rounds.tick() => {}
        }
        let now = (shared.clock)();
        let mut batch = Batch::new();
        for ended in shared.packets.tick(now) {
            let device = &ended.device;
            warn!(device.id = %device, "packets of `{device}` did not come: {}", ended.detail);
            shared.counters.refuse(Refusal::IncompletePackets);
            let frame = Frame {
                received_at: now,
                source,
                refused: Some(Refusal::IncompletePackets),
                qos: 0,
                retain: false,
                device: device.as_str(),
                peer: &ended.peer,
                topic: PACKETS,
                payload: &ended.bytes,
            };
            let detail = &ended.detail;
            batch.push(KIND_REFUSED, |out| RefusedFrame { detail, frame }.encode(out));
        }
        if batch.is_empty() {
            continue;
        }
        tokio::select! {
            () = shared.stop.cancelled() => return,
            appended = shared.log.append(&batch) => if let Err(error) = appended {
                warn!("the journal takes no word of packets that did not come: {error}");
            }
        }
    }
}

impl Set {
    fn ended(self, device: &DeviceId, why: &str, began: Timestamp) -> Incomplete {
        let n = self.key.n_packets;
        let came = listed(self.packets.keys().copied());
        let missing = listed((1..=n).filter(|number| !self.packets.contains_key(number)));
        let of = match &*self.key.data_time {
            "" => String::new(),
            time => format!(" with DataTime {}", short(time, 32)),
        };
        let cn = short(&self.key.cn, 4);
        let mut detail = format!("{why}: of {n} packets of CN {cn}{of} came {came}; missing {missing}");
        if self.since.since(began) < AGE {
            detail.push_str(" (others may have come before)");
        }
        Incomplete {
            device: device.clone(),
            peer: self.peer,
            detail,
            bytes: self.packets.into_values().flatten().collect(),
        }
    }
}

fn no_packet(
    device: &DeviceId,
    peer: &str,
    segment: &Segment,
    numbers: Option<(u32, u32)>,
    bytes: &[u8],
) -> Incomplete {
    let said = match numbers {
        Some((number, n)) => format!("PNO {number} of PNUM {n}"),
        None => "PNUM or PNO is missing or no number".to_owned(),
    };
    let cn = short(segment.cn(), 4);
    Incomplete {
        device: device.clone(),
        peer: peer.into(),
        detail: format!("packet_number: of CN {cn} {said}; at most {N_PACKETS} packets are joined"),
        bytes: bytes.to_vec(),
    }
}

/// Foreign text of a station for a detail.
fn short(text: &str, most: usize) -> String {
    text.chars().take(most).flat_map(char::escape_debug).collect()
}

fn listed(numbers: impl Iterator<Item = u32>) -> String {
    let mut numbers = numbers.peekable();
    let first: Vec<_> = numbers.by_ref().take(N_LISTED).map(|n| n.to_string()).collect();
    let more = if numbers.peek().is_some() { " …" } else { "" };
    format!("{}{more}", first.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_ms(1_795_392_000_000 + s * 1000)
    }

    fn note(sets: &PacketSets, s: i64, hour: u32, number: u32, of: u32) -> Option<Incomplete> {
        let text = format!(
            "QN=1;ST=32;CN=2061;PW=1;MN=A;Flag=7;PNUM={of};PNO={number};CP=&&DataTime=20160801{hour:02}0000;w01001-Avg=7&&"
        );
        let segment = Segment::parse(text.as_bytes()).unwrap();
        let device = DeviceId::new("A").unwrap();
        sets.note(&device, "peer", &segment, text.as_bytes(), at(s))
    }

    #[test]
    fn a_set_that_does_not_become_whole_in_time_says_which_packets_came() {
        let sets = PacketSets::new(at(-100));
        for number in [4, 2] {
            assert_eq!(note(&sets, 0, 8, number, 4), None);
        }
        // A whole one beside it, in any order and with a repeat, says nothing.
        for number in [3, 1, 1, 2, 2] {
            assert_eq!(note(&sets, 1, 9, number, 3), None);
        }
        assert!(sets.tick(at(40)).is_empty());
        let ended = sets.tick(at(41));
        assert_eq!(ended.len(), 1);
        assert_eq!(
            ended[0].detail,
            "packets_too_old: of 4 packets of CN 2061 with DataTime 20160801080000 came 2, 4; missing 1, 3"
        );
        let text = String::from_utf8(ended[0].bytes.clone()).unwrap();
        assert!(text.find("PNO=2").unwrap() < text.find("PNO=4").unwrap());
        assert!(sets.tick(at(100)).is_empty());
        let table = sets.table();
        assert!(
            table.stations.is_empty() && table.n_bytes == 0,
            "nothing is kept of a quiet station"
        );
    }

    #[test]
    fn numbers_that_are_none_and_too_many_sets_are_told_at_once() {
        let sets = PacketSets::new(at(0));
        for (number, of) in [(0, 3), (4, 3), (1, 0), (1, 1001)] {
            let told = note(&sets, 0, 8, number, of).unwrap();
            assert!(told.detail.starts_with("packet_number: "), "{}", told.detail);
        }
        assert_eq!(note(&sets, 0, 8, 1, 1), None, "one of one is whole");
        for hour in 0..16 {
            assert_eq!(note(&sets, 0, hour, 1, 2), None);
        }
        let told = note(&sets, 0, 16, 1, 2).unwrap();
        assert!(told.detail.starts_with("too_many_packet_sets: of 2 packets of CN 2061 with DataTime 20160801000000 came 1; missing 2 (others"));
        // A clock that goes back ends what waits, and does not hold it.
        assert_eq!(sets.tick(at(-3600)).len(), 16);
    }

    #[test]
    fn a_large_set_is_bounded() {
        let sets = PacketSets::new(at(-100));
        for number in 1..1000 {
            assert_eq!(note(&sets, 0, 8, number, 1000), None);
        }
        let ended = sets.tick(at(60));
        assert!(ended[0].bytes.len() <= SHOWN_BYTES && ended[0].detail.ends_with("missing 1000"));
        assert!(ended[0].detail.contains("16 …"), "{}", ended[0].detail);
    }
}
