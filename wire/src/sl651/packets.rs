//! Joins the packets of one message, whatever order they come in, and cuts messages into packets.
//!
//! Time is an argument. Only the first packet carries serial number and time, so packets belong together by
//! station, centre, function, encoding and number of packets. What differs from a packet already here belongs to
//! another message: the old one ends incomplete and nothing is ever mixed.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use onemap_model::Timestamp;

use super::frame::{MAX_LENGTH, Packet};
use super::{Direction, Encoding, End, Error, Frame, Station};

/// How much one station may keep waiting.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Messages of one station that are not whole yet; one more ends the oldest.
    pub messages: usize,
    /// Bytes of bodies of one station; more end its oldest messages, a message of more ends itself.
    pub bytes: usize,
    /// How long after its last packet a message waits for the others.
    pub age: Duration,
    /// Stations that have messages waiting; one more ends the message that has waited longest.
    pub stations: usize,
    /// Bytes of bodies of all stations; more end the message that has waited longest.
    pub all_bytes: usize,
}

impl Default for Limits {
    /// Two messages and 4 MiB a station, ten minutes, 1,024 stations without another bound of bytes.
    fn default() -> Self {
        Self {
            messages: 2,
            bytes: 4 << 20,
            age: Duration::from_secs(600),
            stations: 1024,
            all_bytes: usize::MAX,
        }
    }
}

/// What came of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// A message: a frame that has no packets, or the joined body of all of them in the first one's envelope,
    /// without packet number. A joined body may be longer than one frame carries.
    Whole(Frame),
    /// Others are missing.
    Waits {
        /// How many have come.
        have: u16,
        /// The first that has not.
        first_missing: u16,
    },
    /// This packet was here already, with the same bytes.
    Duplicate,
    /// This packet is of a message that was whole before, with the same bytes: its answer was lost.
    Repeated,
}

/// Why a message ended without all its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing came for longer than its age.
    TooOld,
    /// Its station has begun too many others, or too many stations wait.
    TooMany,
    /// Too many bytes.
    TooLarge,
    /// Another message with the same number of packets took its place.
    Replaced,
}

impl Reason {
    /// The stable name.
    pub fn code(self) -> &'static str {
        match self {
            Reason::TooOld => "incomplete_too_old",
            Reason::TooMany => "incomplete_too_many",
            Reason::TooLarge => "incomplete_too_large",
            Reason::Replaced => "incomplete_replaced",
        }
    }
}

/// A message that ended without all its packets, and those that are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incomplete {
    /// Why.
    pub reason: Reason,
    /// How many packets it has.
    pub total: u16,
    /// The numbers that are missing.
    pub missing: Vec<u16>,
    /// The packets that came, by number.
    pub packets: Vec<Frame>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    station: Station,
    centre: u8,
    function: u8,
    is_ascii: bool,
    total: u16,
}

impl Key {
    fn of(frame: &Frame, total: u16) -> Self {
        Self {
            station: frame.station,
            centre: frame.centre,
            function: frame.function,
            is_ascii: frame.encoding == Encoding::Ascii,
            total,
        }
    }
}

#[derive(Debug)]
struct Begun {
    packets: BTreeMap<u16, Frame>,
    n_bytes: usize,
    last_at: Timestamp,
    /// Rises with each packet of any message.
    turn: u64,
}

/// What is remembered of a message that was whole.
#[derive(Debug)]
struct Done {
    /// Of each packet's body.
    hashes: Vec<u64>,
    at: Timestamp,
}

fn hash_of(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

/// Messages that wait for packets.
#[derive(Debug, Default)]
pub struct Packets {
    limits: Limits,
    begun: BTreeMap<Key, Begun>,
    done: BTreeMap<Key, Done>,
    turn: u64,
}

impl Packets {
    /// None waiting.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Takes a frame that came at `now`. What ended incomplete because of it comes with the answer.
    ///
    /// Down frames and frames without packets are whole.
    pub fn take(&mut self, now: Timestamp, frame: Frame) -> (Taken, Vec<Incomplete>) {
        let mut ended = self.tick(now);
        let packet = match frame.packet {
            Some(packet) if frame.direction == Direction::Up && packet.total > 1 => packet,
            _ => return (Taken::Whole(frame), ended),
        };
        let key = Key::of(&frame, packet.total);
        if let Some(begun) = self.begun.get_mut(&key)
            && let Some(here) = begun.packets.get(&packet.number)
        {
            // A repeat may differ in its end character: a packet that is sent again ends with ETX.
            if here.body == frame.body {
                begun.last_at = now;
                return (Taken::Duplicate, ended);
            }
            ended.extend(self.end(key, Reason::Replaced));
        }
        // Only where no other message has begun: packets of two may be alike but for the first.
        if !self.begun.contains_key(&key)
            && let Some(done) = self.done.get_mut(&key)
            && done.hashes.get(usize::from(packet.number) - 1) == Some(&hash_of(&frame.body))
        {
            done.at = now;
            return (Taken::Repeated, ended);
        }
        self.turn += 1;
        let begun = self.begun.entry(key).or_insert_with(|| Begun {
            packets: BTreeMap::new(),
            n_bytes: 0,
            last_at: now,
            turn: 0,
        });
        begun.n_bytes += frame.body.len();
        begun.last_at = now;
        begun.turn = self.turn;
        begun.packets.insert(packet.number, frame);
        let have = begun.packets.len() as u16;
        if have == packet.total {
            let whole = self.begun.remove(&key);
            if let Some(begun) = &whole {
                let hashes = begun.packets.values().map(|frame| hash_of(&frame.body)).collect();
                self.done.insert(key, Done { hashes, at: now });
            }
            while self.done.len() > self.limits.stations.max(1) {
                let oldest = self.done.iter().min_by_key(|(_, done)| done.at);
                let Some(oldest) = oldest.map(|(key, _)| *key) else {
                    break;
                };
                self.done.remove(&oldest);
            }
            return match whole.and_then(join) {
                Some(whole) => (Taken::Whole(whole), ended),
                None => (Taken::Duplicate, ended),
            };
        }
        let first_missing = (1..=packet.total)
            .find(|number| !begun.packets.contains_key(number))
            .unwrap_or(packet.total);
        self.hold_limits(key, &mut ended);
        (Taken::Waits { have, first_missing }, ended)
    }

    /// The first packet that is missing of the message that a packet is of; `None` when none of it waits.
    pub fn first_missing(&self, frame: &Frame) -> Option<u16> {
        let packet = frame.packet?;
        let begun = self.begun.get(&Key::of(frame, packet.total))?;
        (1..=packet.total).find(|number| !begun.packets.contains_key(number))
    }

    /// Ends what has waited too long.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Incomplete> {
        let age = self.limits.age;
        self.done.retain(|_, done| now.since(done.at) <= age);
        let old: Vec<Key> = self
            .begun
            .iter()
            .filter(|(_, begun)| now.since(begun.last_at) > self.limits.age)
            .map(|(key, _)| *key)
            .collect();
        old.into_iter()
            .filter_map(|key| self.end(key, Reason::TooOld))
            .collect()
    }

    /// How many messages wait.
    pub fn n_waiting(&self) -> usize {
        self.begun.len()
    }

    fn hold_limits(&mut self, key: Key, ended: &mut Vec<Incomplete>) {
        let own = |begun: &BTreeMap<Key, Begun>| -> Vec<(u64, Key, usize)> {
            let mut own: Vec<_> = begun
                .iter()
                .filter(|(other, _)| other.station == key.station)
                .map(|(other, begun)| (begun.turn, *other, begun.n_bytes))
                .collect();
            own.sort_unstable();
            own
        };
        let mut messages = own(&self.begun).into_iter();
        let (mut n, mut bytes) = messages
            .clone()
            .fold((0, 0), |(n, all), (_, _, b)| (n + 1, all + b));
        while n > self.limits.messages.max(1) || bytes > self.limits.bytes {
            let Some((_, oldest, size)) = messages.next() else {
                break;
            };
            let reason = if n > self.limits.messages.max(1) {
                Reason::TooMany
            } else {
                Reason::TooLarge
            };
            (n, bytes) = (n - 1, bytes - size);
            ended.extend(self.end(oldest, reason));
        }
        let room = self.limits.stations.max(1) * self.limits.messages.max(1);
        let mut all_bytes: usize = self.begun.values().map(|begun| begun.n_bytes).sum();
        while self.begun.len() > room || all_bytes > self.limits.all_bytes {
            let oldest = self
                .begun
                .iter()
                .min_by_key(|(_, begun)| begun.turn)
                .map(|(key, _)| *key);
            let Some(oldest) = oldest else { break };
            all_bytes -= self.begun.get(&oldest).map_or(0, |begun| begun.n_bytes);
            ended.extend(self.end(oldest, Reason::TooMany));
        }
    }

    fn end(&mut self, key: Key, reason: Reason) -> Option<Incomplete> {
        let begun = self.begun.remove(&key)?;
        Some(Incomplete {
            reason,
            total: key.total,
            missing: (1..=key.total)
                .filter(|n| !begun.packets.contains_key(n))
                .collect(),
            packets: begun.packets.into_values().collect(),
        })
    }
}

/// The joined message. Some stations repeat serial number and time in every packet; a packet that begins with
/// exactly the first one's is taken without them.
fn join(begun: Begun) -> Option<Frame> {
    let mut packets = begun.packets.into_values();
    let mut whole = packets.next()?;
    let head_size = match whole.encoding {
        Encoding::Hex => 8,
        Encoding::Ascii => 16,
    };
    let head = whole.body.get(..head_size).map(<[u8]>::to_vec);
    for packet in packets {
        let body = match &head {
            Some(head) => packet.body.strip_prefix(head.as_slice()).unwrap_or(&packet.body),
            None => &packet.body,
        };
        whole.body.extend_from_slice(body);
    }
    whole.packet = None;
    whole.end = End::Etx;
    Some(whole)
}

/// Cuts a message of a station into frames of at most `size` body bytes each; one frame when it fits.
///
/// # Errors
/// [`Error::PacketNumber`] when that takes more than 4095, [`Error::Length`] when `size` is 0 or more than a
/// packet carries.
pub fn split(message: &Frame, size: usize) -> Result<Vec<Frame>, Error> {
    let number_size = if message.encoding == Encoding::Ascii { 6 } else { 3 };
    if size == 0 || size + number_size > MAX_LENGTH {
        return Err(Error::Length {
            at: message.body_at(),
            got: size,
        });
    }
    if message.body.len() <= size {
        return Ok(vec![message.clone()]);
    }
    let n = message.body.len().div_ceil(size);
    let total = u16::try_from(n).ok().filter(|total| *total <= 4095);
    let total = total.ok_or(Error::PacketNumber {
        at: message.body_at(),
        total: u16::MAX,
        number: 0,
    })?;
    let frames = (1..=total)
        .zip(message.body.chunks(size))
        .map(|(number, body)| Frame {
            packet: Some(Packet { total, number }),
            body: body.to_vec(),
            end: if number == total { End::Etx } else { End::Etb },
            ..message.clone()
        });
    Ok(frames.collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_ms(1_700_000_000_000 + seconds * 1000)
    }

    fn message(n: usize, fill: u8) -> Frame {
        let mut body = vec![0, 5, 0x24, 0x01, 0x01, 0x08, 0, 0];
        body.resize(n, fill);
        Frame {
            encoding: Encoding::Hex,
            direction: Direction::Up,
            centre: 1,
            station: "0012345678".parse().unwrap(),
            password: 0x1234,
            function: 0x36,
            packet: None,
            body,
            end: End::Etx,
            addresses_swapped: false,
        }
    }

    #[test]
    fn packets_join_in_any_order_with_repeats() {
        let whole = message(1000, 7);
        let packets = split(&whole, 100).unwrap();
        assert_eq!(
            (packets.len(), packets[0].end, packets[9].end),
            (10, End::Etb, End::Etx)
        );
        let mut waiting = Packets::new(Limits::default());
        for i in [9, 2, 2, 0, 5, 1, 3, 4, 8, 6, 9] {
            let (taken, ended) = waiting.take(at(0), packets[i].clone());
            assert!(ended.is_empty());
            assert!(!matches!(taken, Taken::Whole(_)));
        }
        let (taken, _) = waiting.take(at(1), packets[7].clone());
        assert_eq!(taken, Taken::Whole(whole));
        assert_eq!(waiting.n_waiting(), 0);
    }

    #[test]
    fn what_waits_says_which_packet_to_ask_for() {
        let packets = split(&message(300, 7), 100).unwrap();
        let mut waiting = Packets::new(Limits::default());
        let waits = |have, first_missing| Taken::Waits { have, first_missing };
        assert_eq!(waiting.take(at(0), packets[0].clone()).0, waits(1, 2));
        assert_eq!(waiting.take(at(0), packets[2].clone()).0, waits(2, 2));
        assert_eq!(waiting.take(at(0), packets[2].clone()).0, Taken::Duplicate);
    }

    #[test]
    fn packets_of_two_messages_are_never_mixed() {
        let (old, new) = (
            split(&message(300, 1), 100).unwrap(),
            split(&message(300, 2), 100).unwrap(),
        );
        let mut waiting = Packets::new(Limits::default());
        waiting.take(at(0), old[1].clone());
        let (_, ended) = waiting.take(at(0), new[1].clone());
        assert_eq!(
            (ended[0].reason, &ended[0].missing, ended[0].packets.len()),
            (Reason::Replaced, &vec![1, 3], 1)
        );
        waiting.take(at(0), new[0].clone());
        assert_eq!(
            waiting.take(at(0), new[2].clone()).0,
            Taken::Whole(message(300, 2))
        );
    }

    #[test]
    fn what_never_becomes_whole_ends_by_age_number_or_size() {
        let first = |function, n| {
            let mut frame = split(&message(n, 1), n / 2).unwrap().remove(0);
            frame.function = function;
            frame
        };
        let mut waiting = Packets::new(Limits {
            bytes: 1000,
            ..Limits::default()
        });
        waiting.take(at(0), first(0x36, 100));
        assert!(waiting.tick(at(600)).is_empty());
        let ended = waiting.tick(at(601));
        assert_eq!(
            (ended[0].reason, ended[0].missing.as_slice()),
            (Reason::TooOld, &[2][..])
        );
        for (function, n, want) in [(1, 100, None), (2, 100, None), (3, 100, Some(Reason::TooMany))] {
            let (_, ended) = waiting.take(at(700), first(function, n));
            assert_eq!(ended.first().map(|e| e.reason), want);
        }
        let (_, ended) = waiting.take(at(700), first(4, 4000));
        let reasons: Vec<Reason> = ended.iter().map(|e| e.reason).collect();
        assert_eq!(reasons, [Reason::TooMany, Reason::TooLarge, Reason::TooLarge]);
        assert_eq!(waiting.n_waiting(), 0);
    }

    #[test]
    fn a_message_that_was_whole_is_not_begun_again_by_its_own_packets() {
        let (old, new) = (
            split(&message(300, 1), 100).unwrap(),
            split(&message(300, 2), 100).unwrap(),
        );
        let mut waiting = Packets::new(Limits::default());
        for packet in &old {
            waiting.take(at(0), packet.clone());
        }
        for packet in &old {
            assert_eq!(waiting.take(at(600), packet.clone()).0, Taken::Repeated);
        }
        assert_eq!(waiting.first_missing(&old[1]), None);
        // Another message of the same form is its own, also where its packets are alike.
        let mut first = old[0].clone();
        first.body[1] = 6;
        let waits = |have, first_missing| Taken::Waits { have, first_missing };
        assert_eq!(waiting.take(at(601), first.clone()).0, waits(1, 2));
        assert_eq!(waiting.take(at(601), old[2].clone()).0, waits(2, 2));
        assert_eq!(waiting.take(at(601), old[2].clone()).0, Taken::Duplicate);
        assert_eq!(waiting.first_missing(&old[2]), Some(2));
        assert!(matches!(waiting.take(at(601), old[1].clone()).0, Taken::Whole(_)));
        // What was whole is forgotten in time.
        assert!(waiting.tick(at(2000)).is_empty());
        assert_eq!(waiting.take(at(2000), new[0].clone()).0, waits(1, 2));
    }

    #[test]
    fn the_bytes_of_all_stations_together_are_bounded() {
        let mut waiting = Packets::new(Limits {
            all_bytes: 250,
            ..Limits::default()
        });
        let first = |station: u8| {
            let mut frame = split(&message(300, 7), 100).unwrap().remove(0);
            frame.station.0[4] = station;
            frame
        };
        assert!(waiting.take(at(0), first(1)).1.is_empty());
        assert!(waiting.take(at(1), first(2)).1.is_empty());
        let (_, ended) = waiting.take(at(2), first(3));
        assert_eq!((ended.len(), ended[0].packets[0].station.0[4]), (1, 1));
    }

    #[test]
    fn a_head_that_every_packet_repeats_is_taken_once() {
        let mut packets = split(&message(300, 7), 100).unwrap();
        let head = packets[0].body[..8].to_vec();
        for packet in &mut packets[1..] {
            packet.body.splice(0..0, head.clone());
        }
        let mut waiting = Packets::new(Limits::default());
        waiting.take(at(0), packets[0].clone());
        waiting.take(at(0), packets[1].clone());
        assert_eq!(
            waiting.take(at(0), packets[2].clone()).0,
            Taken::Whole(message(300, 7))
        );
    }
}
