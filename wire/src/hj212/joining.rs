//! Packets of one data set, joined.
//!
//! Pure: time is an argument. A set is what has the same MN, ST, CN, DataTime and PNUM; its packets may come in
//! any order and more than once, each with a QN of its own. A set that does not become whole ends by its age
//! or by the limits, with what there is: every packet is readable alone.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use onemap_model::Timestamp;

use super::segment::{Group, Segment};

/// What one station may have open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinLimits {
    /// Sets that are not whole.
    pub sets: usize,
    /// Bytes of text in all of them.
    pub bytes: usize,
    /// Age of a set, from its first packet.
    pub age: Duration,
    /// Largest PNUM.
    pub packets: u32,
}

impl Default for JoinLimits {
    /// 16 sets, 1 MiB, 40 s (the standard's 10 s and three repeats), 1000 packets.
    fn default() -> Self {
        Self {
            sets: 16,
            bytes: 1 << 20,
            age: Duration::from_secs(40),
            packets: 1000,
        }
    }
}

/// Why a set ends before it is whole, or a packet is not part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JoinFault {
    /// Older than the limit.
    TooOld,
    /// The station has too many sets open; the oldest ends.
    TooManySets,
    /// The station's sets hold too many bytes; the oldest ends.
    TooManyBytes,
    /// PNO is 0 or over PNUM, PNUM is 0 or over the limit, or one of them is no number.
    PacketNumber,
}

impl JoinFault {
    /// Stable text.
    pub fn code(self) -> &'static str {
        match self {
            Self::TooOld => "packets_too_old",
            Self::TooManySets => "too_many_packet_sets",
            Self::TooManyBytes => "too_many_packet_bytes",
            Self::PacketNumber => "packet_number",
        }
    }
}

/// What a packet leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined {
    /// A whole data set; a segment without packet numbers is one by itself.
    Whole(Segment),
    /// The packet was there before: answer it, store nothing.
    Duplicate,
    /// A set that ends as it is.
    Incomplete {
        /// Why.
        fault: JoinFault,
        /// What there is, in the order of the packets.
        segment: Segment,
        /// Numbers of the packets that did not come; empty for [`JoinFault::PacketNumber`].
        missing: Vec<u32>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SetKey {
    st: String,
    cn: String,
    data_time: String,
    n_packets: u32,
}

#[derive(Debug)]
struct Set {
    key: SetKey,
    since: Timestamp,
    /// By packet number; the packets are sorted.
    packets: Vec<(u32, Segment)>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Station {
    /// Oldest first.
    open: VecDeque<Set>,
    /// Sets that became whole, oldest first: a packet that is sent again opens none.
    whole: VecDeque<(SetKey, Timestamp)>,
}

/// Joins packets, station by station.
#[derive(Debug, Default)]
pub struct Joiner {
    limits: JoinLimits,
    stations: HashMap<String, Station>,
}

impl Joiner {
    /// A joiner with limits for each station.
    pub fn new(limits: JoinLimits) -> Self {
        Self {
            limits,
            stations: HashMap::new(),
        }
    }

    /// Takes a segment. What comes out is in the order in which it ended: sets that end by a limit, then
    /// what the segment itself leads to; nothing while its set is not whole.
    pub fn add(&mut self, now: Timestamp, segment: Segment) -> Vec<Joined> {
        // A Flag that speaks of numbers that are not there is wrong, and the segment whole.
        if !segment.has_packet_fields() {
            return vec![Joined::Whole(segment)];
        }
        let limits = self.limits;
        let (number, n_packets) = match segment.packet() {
            Some((number, n)) if (1..=n).contains(&number) && n <= limits.packets => (number, n),
            _ => {
                return vec![Joined::Incomplete {
                    fault: JoinFault::PacketNumber,
                    segment,
                    missing: Vec::new(),
                }];
            }
        };
        let mut out = Vec::new();
        let station = self.stations.entry(segment.mn().to_owned()).or_default();
        station.expire(now, limits.age, &mut out);
        let key = SetKey {
            st: segment.st().to_owned(),
            cn: segment.cn().to_owned(),
            data_time: segment.data_time().unwrap_or_default().to_owned(),
            n_packets,
        };
        if station.whole.iter().any(|(whole, _)| *whole == key) {
            out.push(Joined::Duplicate);
            return out;
        }
        let at = match station.open.iter().position(|set| set.key == key) {
            Some(at) => at,
            None => {
                if station.open.len() >= limits.sets.max(1) {
                    station.end_oldest(JoinFault::TooManySets, &mut out);
                }
                station.open.push_back(Set {
                    key: key.clone(),
                    since: now,
                    packets: Vec::new(),
                    bytes: 0,
                });
                station.open.len() - 1
            }
        };
        let set = &mut station.open[at];
        match set.packets.binary_search_by_key(&number, |(number, _)| *number) {
            Ok(_) => {
                out.push(Joined::Duplicate);
                return out;
            }
            Err(place) => {
                set.bytes += segment.text().len();
                set.packets.insert(place, (number, segment));
            }
        }
        if set.packets.len() == n_packets as usize {
            if let Some(set) = station.open.remove(at) {
                station.whole.push_back((key, now));
                if station.whole.len() > limits.sets {
                    station.whole.pop_front();
                }
                out.push(Joined::Whole(set.merged()));
            }
            return out;
        }
        while station.open.iter().map(|set| set.bytes).sum::<usize>() > limits.bytes {
            station.end_oldest(JoinFault::TooManyBytes, &mut out);
        }
        out
    }

    /// Ends what is too old; call it about once a second.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Joined> {
        let mut out = Vec::new();
        for station in self.stations.values_mut() {
            station.expire(now, self.limits.age, &mut out);
        }
        self.stations
            .retain(|_, station| !station.open.is_empty() || !station.whole.is_empty());
        out
    }
}

impl Station {
    fn expire(&mut self, now: Timestamp, age: Duration, out: &mut Vec<Joined>) {
        while self.open.front().is_some_and(|set| now.since(set.since) > age) {
            self.end_oldest(JoinFault::TooOld, out);
        }
        self.whole.retain(|(_, since)| now.since(*since) <= age);
    }

    fn end_oldest(&mut self, fault: JoinFault, out: &mut Vec<Joined>) {
        if let Some(set) = self.open.pop_front() {
            let has = |number| set.packets.iter().any(|(there, _)| *there == number);
            let missing = (1..=set.key.n_packets).filter(|number| !has(*number)).collect();
            out.push(Joined::Incomplete {
                fault,
                segment: set.merged(),
                missing,
            });
        }
    }
}

impl Set {
    /// One segment: the header of the first packet, the groups of all, DataTime once.
    fn merged(self) -> Segment {
        let mut packets = self.packets.into_iter().map(|(_, packet)| packet);
        let mut whole = packets.next().unwrap_or_default();
        let is_stamp = |group: &Group| matches!(&group.0[..], [item] if item.key == "DataTime");
        for packet in packets {
            let groups = packet.cp.into_iter().filter(|group| !is_stamp(group));
            whole.cp.extend(groups);
            whole.quirks.extend(packet.quirks);
        }
        whole.quirks.sort_unstable();
        whole.quirks.dedup();
        whole
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::hj212::split;

    fn packet(mn: &str, time: u32, number: u32, of: u32, cp: &str) -> Segment {
        let text = format!(
            "QN=2016080108585753{number};ST=32;CN=2061;PW=1;MN={mn};Flag=7;PNUM={of};PNO={number};CP=&&DataTime=201608010{time}0000;{cp}&&"
        );
        Segment::parse(text.as_bytes()).unwrap()
    }

    fn at(s: i64) -> Timestamp {
        Timestamp::from_ms(1_763_856_000_000 + s * 1000)
    }

    #[test]
    fn packets_in_any_order_are_one_set_and_come_once() {
        let mut joiner = Joiner::default();
        assert!(joiner.add(at(0), packet("A", 8, 2, 2, "b-Avg=2")).is_empty());
        assert_eq!(
            joiner.add(at(1), packet("A", 8, 2, 2, "b-Avg=2")),
            [Joined::Duplicate]
        );
        // Another station's and another hour's are other sets.
        assert!(joiner.add(at(1), packet("B", 8, 1, 2, "x-Avg=1")).is_empty());
        assert!(joiner.add(at(1), packet("A", 9, 1, 2, "x-Avg=1")).is_empty());
        let out = joiner.add(at(2), packet("A", 8, 1, 2, "a-Avg=1"));
        let [Joined::Whole(whole)] = &out[..] else {
            panic!("{out:?}")
        };
        assert_eq!(whole.cp.len(), 3);
        assert_eq!(
            (whole.cp_value("a-Avg"), whole.cp_value("b-Avg")),
            (Some("1"), Some("2"))
        );
        assert_eq!(
            joiner.add(at(3), packet("A", 8, 1, 2, "a-Avg=1")),
            [Joined::Duplicate]
        );
    }

    #[test]
    fn what_is_not_numbered_is_whole_and_wrong_numbers_are_named() {
        let mut joiner = Joiner::default();
        for flag in ["4", "6"] {
            let single = format!("ST=22;CN=2011;MN=A;Flag={flag};CP=&&&&");
            let single = Segment::parse(single.as_bytes()).unwrap();
            assert_eq!(joiner.add(at(0), single.clone()), [Joined::Whole(single)]);
        }
        for (number, of) in [(0, 2), (3, 2), (0, 0), (1, 1001)] {
            let out = joiner.add(at(0), packet("A", 8, number, of, "a-Avg=1"));
            assert!(
                matches!(
                    &out[..],
                    [Joined::Incomplete {
                        fault: JoinFault::PacketNumber,
                        ..
                    }]
                ),
                "{number} of {of}: {out:?}"
            );
        }
    }

    #[test]
    fn sets_end_by_age_number_and_bytes_with_what_there_is() {
        let limits = JoinLimits {
            sets: 2,
            bytes: 700,
            ..JoinLimits::default()
        };
        let mut joiner = Joiner::new(limits);
        let faults = |out: &[Joined]| -> Vec<(JoinFault, Vec<u32>)> {
            out.iter()
                .map(|joined| match joined {
                    Joined::Incomplete { fault, missing, .. } => (*fault, missing.clone()),
                    other => panic!("{other:?}"),
                })
                .collect()
        };
        for hour in 1..=2 {
            assert!(
                joiner
                    .add(at(i64::from(hour)), packet("A", hour, 2, 3, "a-Avg=1"))
                    .is_empty()
            );
        }
        let out = joiner.add(at(3), packet("A", 3, 2, 3, "a-Avg=1"));
        assert_eq!(faults(&out), [(JoinFault::TooManySets, vec![1, 3])]);
        let long = format!("a-Info={}", "x".repeat(500));
        let out = joiner.add(at(4), packet("A", 3, 3, 3, &long));
        assert_eq!(
            faults(&out),
            [
                (JoinFault::TooManyBytes, vec![1, 3]),
                (JoinFault::TooManyBytes, vec![1])
            ]
        );
        assert!(joiner.add(at(5), packet("A", 4, 1, 3, "a-Avg=1")).is_empty());
        assert!(joiner.tick(at(45)).is_empty());
        assert_eq!(faults(&joiner.tick(at(46))), [(JoinFault::TooOld, vec![2, 3])]);
        assert!(joiner.stations.is_empty());
    }

    #[test]
    fn what_is_split_joins_again() {
        let mut text = String::from("DataTime=20160801080000");
        for i in 0..120 {
            text.push_str(&format!(";w{i:05}-Avg={i}.5,w{i:05}-Flag=N"));
        }
        let text = format!("QN=20160801085857223;ST=32;CN=2061;PW=1;MN=A;Flag=5;CP=&&{text}&&");
        let segment = Segment::parse(text.as_bytes()).unwrap();
        let packets = split(&segment, |n| format!("201608010858575{n:02}")).unwrap();
        assert_eq!(packets.len(), 4);
        assert!(
            packets
                .iter()
                .all(|p| p.text().len() <= 1024 && p.flag().unwrap().0 == 7)
        );
        let mut joiner = Joiner::default();
        let mut out = Vec::new();
        for packet in packets.into_iter().rev() {
            out.extend(joiner.add(at(0), packet));
        }
        let [Joined::Whole(whole)] = &out[..] else {
            panic!("{out:?}")
        };
        assert_eq!(whole.cp, segment.cp);
    }
}
