//! SL 651 on a connection: who sends a frame, and what the standard answers.
//!
//! Stations speak in mode M2: every frame is answered when it is durable, a packet that others follow with ACK, the last
//! or only one with EOT; keep-alives and frames that are wrong get nothing. The answer carries the message's serial number
//! and the time here.
//!
//! Packets of one message are kept one by one, and once more as one record when all are there: the pipeline reads that one.
//! So whatever is acknowledged is in the journal, and a replay joins as it was joined here. A message whose packets come on
//! two connections, or before and after a restart, is not joined; its station begins it anew.

use std::collections::{BTreeMap, HashMap};

use onemap_model::{DeviceId, Refusal, Source};
use onemap_wire::sl651::reply::{self, Mode};
use onemap_wire::sl651::{
    Body, Direction, Error, Fault, Frame, Framer, Incomplete, Limits, Packets, Piece, Station, Taken,
};

use super::server::Shared;
use super::{Denied, Dialect, Intake, Speaks};

/// Stations of one connection that have a message waiting for packets.
const N_WAITING: usize = 16;
/// Stations of one connection whose serial number is remembered for packets that carry none.
const N_SERIALS: usize = 1024;

pub(super) struct Sl651 {
    framer: Framer,
    packets: Packets,
    /// Bytes of the packets that wait, by message and number.
    raw: BTreeMap<Key, BTreeMap<u16, Vec<u8>>>,
    /// By station, of its last message.
    serials: HashMap<Station, u16>,
}

/// Which message a packet is of: station, function, how many packets.
type Key = (Station, u8, u16);

impl Dialect for Sl651 {
    const SOURCE: Source = Source::Sl651;

    fn new(_: &Shared) -> Self {
        let limits = Limits {
            stations: N_WAITING,
            ..Limits::default()
        };
        Self {
            framer: Framer::new(),
            packets: Packets::new(limits),
            raw: BTreeMap::new(),
            serials: HashMap::new(),
        }
    }

    fn push(&mut self, bytes: &[u8], intake: &mut Intake) {
        for piece in self.framer.push(bytes) {
            self.take(piece, intake);
        }
    }

    fn give_up(&mut self, intake: &mut Intake) {
        for piece in self.framer.give_up() {
            self.take(piece, intake);
        }
        for ended in self.packets.tick(intake.received_at) {
            self.incomplete(&ended, intake);
        }
    }

    fn n_waiting(&self) -> usize {
        self.framer.n_waiting()
    }
}

impl Sl651 {
    fn take(&mut self, piece: Piece, intake: &mut Intake) {
        match piece {
            Piece::Frame { frame, bytes, .. } => self.take_frame(frame, &bytes, intake),
            Piece::Fault(fault) => take_fault(&fault, intake),
        }
    }

    fn take_frame(&mut self, frame: Frame, bytes: &[u8], intake: &mut Intake) {
        let number = frame.station.to_string();
        let device = match admit(&frame, &number, intake) {
            Ok(device) => device,
            Err(denied) => {
                intake.deny(denied, &number, "sl651", bytes);
                return;
            }
        };
        let topic = format!("sl651/{:02X}", frame.function);
        if frame.direction == Direction::Down {
            let detail = "a frame of a centre, from a station";
            intake.refuse(Refusal::WrongShape, Some(device.as_str()), &topic, bytes, detail);
            return;
        }
        let is_packet = frame.packet.is_some_and(|packet| packet.total > 1);
        // A frame by itself has to say what it is; a packet is read with the others.
        if !is_packet && let Err(error) = frame.read() {
            refuse(&error, &device, &topic, bytes, intake);
            return;
        }
        if let Ok(Body {
            serial: Some(serial), ..
        }) = frame.read()
        {
            if self.serials.len() >= N_SERIALS {
                self.serials.clear();
            }
            self.serials.insert(frame.station, serial);
        }
        let answered = frame.clone();
        if is_packet {
            intake.keep(&device, "sl651/part", bytes);
            self.join(frame, bytes, &device, &topic, intake);
        } else {
            intake.keep(&device, &topic, bytes);
        }
        self.answer(&answered, intake);
    }

    /// Keeps a message whose last packet this is as one record.
    fn join(&mut self, frame: Frame, bytes: &[u8], device: &DeviceId, topic: &str, intake: &mut Intake) {
        let Some(packet) = frame.packet else { return };
        let key = (frame.station, frame.function, packet.total);
        let (taken, ended) = self.packets.take(intake.received_at, frame);
        for ended in ended {
            self.incomplete(&ended, intake);
        }
        match taken {
            Taken::Waits { .. } => {
                let parts = self.raw.entry(key).or_default();
                parts.insert(packet.number, bytes.to_vec());
            }
            Taken::Duplicate => {}
            Taken::Whole(whole) => {
                let mut parts = self.raw.remove(&key).unwrap_or_default();
                parts.insert(packet.number, bytes.to_vec());
                let all: Vec<u8> = parts.into_values().flatten().collect();
                match whole.read() {
                    Ok(_) => intake.keep(device, topic, &all),
                    Err(error) => refuse(&error, device, topic, &all, intake),
                }
            }
        }
    }

    fn incomplete(&mut self, ended: &Incomplete, intake: &mut Intake) {
        let Some(first) = ended.packets.first() else {
            return;
        };
        let parts = self.raw.remove(&(first.station, first.function, ended.total));
        let bytes: Vec<u8> = parts
            .into_iter()
            .flat_map(BTreeMap::into_values)
            .flatten()
            .collect();
        let missing: Vec<_> = ended.missing.iter().take(16).map(u16::to_string).collect();
        let detail = format!(
            "{}: of {} packets these did not come: {}",
            ended.reason.code(),
            ended.total,
            missing.join(", ")
        );
        let number = first.station.to_string();
        let topic = format!("sl651/{:02X}", first.function);
        intake.refuse(Refusal::IncompletePackets, Some(&number), &topic, &bytes, &detail);
    }

    fn answer(&self, frame: &Frame, intake: &mut Intake) {
        let Some(end) = reply::due(frame, Mode::M2, false) else {
            return;
        };
        let serial = self.serials.get(&frame.station).copied().unwrap_or(0);
        let answer = reply::answer(frame, serial, intake.received_at, end, None);
        // An answer has a body of eight bytes.
        if let Ok(bytes) = answer.encode() {
            intake.answer(&bytes);
        }
    }
}

fn admit(frame: &Frame, number: &str, intake: &mut Intake) -> Result<DeviceId, Denied> {
    let password = format!("{:04X}", frame.password);
    intake.admit(number, &password, || Speaks::Sl651, |_| true)
}

fn refuse(error: &Error, device: &DeviceId, topic: &str, bytes: &[u8], intake: &mut Intake) {
    let detail = format!("{}: {error}", error.code());
    intake.refuse(Refusal::WrongShape, Some(device.as_str()), topic, bytes, &detail);
}

fn take_fault(fault: &Fault, intake: &mut Intake) {
    let refusal = match &fault.error {
        Error::Crc { .. } => Refusal::CrcMismatch,
        _ => Refusal::BrokenFrame,
    };
    let detail = format!(
        "{}: {} at byte {} of the stream",
        fault.error.code(),
        fault.error,
        fault.at
    );
    intake.refuse(refusal, None, "sl651", &fault.skipped, &detail);
}
