//! Messages of SL 651 that come in packets, of all connections of a server: a message may begin on one and go on on
//! another, or in datagrams from another port.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use onemap_model::Timestamp;
use onemap_wire::sl651::{Body, Encoding, Frame, Incomplete, Limits, Packets, Station, Taken};

/// Bytes of bodies that wait, of all stations; more end the message that has waited longest.
const ALL_BYTES: usize = 64 << 20;
/// Stations whose serial number is remembered for packets that carry none.
const N_SERIALS: usize = 16_384;

/// Which message a packet is of.
type Key = (Station, u8, u8, bool, u16);

/// What came of a packet.
pub(super) enum Joined {
    /// Others are missing; the first of them.
    Waits(u16),
    /// The message is whole: its frame, and the bytes of all packets in their order.
    Whole(Frame, Vec<u8>),
    /// It was whole before; the packet came again.
    Before,
}

/// A message that ended without all its packets: the refusal's text, and the bytes that are there.
pub(super) struct Ended {
    pub(super) station: Station,
    pub(super) function: u8,
    pub(super) detail: String,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct Joining {
    packets: Packets,
    /// Bytes of the packets that wait, by message and number.
    raw: BTreeMap<Key, BTreeMap<u16, Vec<u8>>>,
    /// By station, of its last message in packets.
    serials: HashMap<Station, u16>,
}

impl Joining {
    /// Nothing waits; a message waits so long after its last packet.
    pub(super) fn new(age: Duration) -> Self {
        let limits = Limits {
            age,
            all_bytes: ALL_BYTES,
            ..Limits::default()
        };
        Self {
            packets: Packets::new(limits),
            raw: BTreeMap::new(),
            serials: HashMap::new(),
        }
    }

    /// Takes a packet with the bytes it came in.
    pub(super) fn take(&mut self, now: Timestamp, frame: Frame, bytes: &[u8]) -> (Joined, Vec<Ended>) {
        let Some(packet) = frame.packet else {
            return (Joined::Before, Vec::new());
        };
        if let Ok(Body {
            serial: Some(serial), ..
        }) = frame.read()
        {
            if self.serials.len() >= N_SERIALS {
                self.serials.clear();
            }
            self.serials.insert(frame.station, serial);
        }
        let key = key_of(&frame, packet.total);
        let repeated = frame.clone();
        let (taken, ended) = self.packets.take(now, frame);
        // Before the packet's own bytes are kept: another message of the same form may just have ended.
        let ended = self.ended(ended);
        let joined = match taken {
            Taken::Waits { first_missing, .. } => {
                let parts = self.raw.entry(key).or_default();
                parts.insert(packet.number, bytes.to_vec());
                Joined::Waits(first_missing)
            }
            Taken::Duplicate => Joined::Waits(self.packets.first_missing(&repeated).unwrap_or(1)),
            Taken::Repeated => Joined::Before,
            Taken::Whole(whole) => {
                let mut parts = self.raw.remove(&key).unwrap_or_default();
                parts.insert(packet.number, bytes.to_vec());
                Joined::Whole(whole, parts.into_values().flatten().collect())
            }
        };
        (joined, ended)
    }

    /// The number of a station's last message in packets.
    pub(super) fn serial(&self, station: Station) -> Option<u16> {
        self.serials.get(&station).copied()
    }

    /// Messages that have waited too long.
    pub(super) fn tick(&mut self, now: Timestamp) -> Vec<Ended> {
        let ended = self.packets.tick(now);
        self.ended(ended)
    }

    fn ended(&mut self, ended: Vec<Incomplete>) -> Vec<Ended> {
        let told = ended.into_iter().filter_map(|ended| {
            let first = ended.packets.first()?;
            let parts = self.raw.remove(&key_of(first, ended.total)).unwrap_or_default();
            let missing: Vec<_> = ended.missing.iter().take(16).map(u16::to_string).collect();
            Some(Ended {
                station: first.station,
                function: first.function,
                detail: format!(
                    "{}: of {} packets these did not come: {}",
                    ended.reason.code(),
                    ended.total,
                    missing.join(", ")
                ),
                bytes: parts.into_values().flatten().collect(),
            })
        });
        told.collect()
    }
}

fn key_of(frame: &Frame, total: u16) -> Key {
    let is_ascii = frame.encoding == Encoding::Ascii;
    (frame.station, frame.centre, frame.function, is_ascii, total)
}
