//! SL 651 on a connection: who sends a frame, and what the standard answers.
//!
//! How a station is answered is its mode. M2 and M4: every frame when it is durable, a packet that others follow with ACK,
//! the last or only one with EOT. M3: when the last packet has come, with EOT and its number, or with NAK and the number of
//! the first one that is missing. M1: nothing. ESC stands for EOT when commands wait for the station. Keep-alives and frames
//! that are wrong get nothing. The answer carries the message's serial number and the time here.
//!
//! Packets of one message are kept one by one, and once more as one record when all are there: the pipeline reads that one.
//! So whatever is acknowledged is in the journal, and a replay joins as it was joined here. Packets may come on several
//! connections ([`super::joining`]); what a restart finds begun is read back out of the journal ([`super::begun`]).

use std::sync::PoisonError;

use onemap_model::{DeviceId, Refusal, Source};
use onemap_wire::sl651::reply::{self, Line, Mode};
use onemap_wire::sl651::{Direction, End, Error, Fault, Frame, Framer, Packet, Piece, Station, is_answer};

use super::joining::{Ended, Joined};
use super::server::Shared;
use super::{Denied, Dialect, Intake, Manner, Speaks};

/// What stands as topic of one packet of several.
pub(super) const PART: &str = "sl651/part";

pub(super) struct Sl651 {
    framer: Framer,
    /// A station sends packets, and more are to come.
    is_sending: bool,
}

impl Dialect for Sl651 {
    const SOURCE: Source = Source::Sl651;
    const ANSWERS_FIRST: bool = true;
    const SWEEPS: bool = true;

    fn new(_: &Shared) -> Self {
        Self {
            framer: Framer::new(),
            is_sending: false,
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
    }

    fn n_waiting(&self) -> usize {
        self.framer.n_waiting()
    }

    fn is_busy(&self) -> bool {
        self.is_sending
    }

    fn sweep(intake: &mut Intake) {
        let ended = {
            let joining = intake.shared.joining.lock();
            joining
                .unwrap_or_else(PoisonError::into_inner)
                .tick(intake.received_at)
        };
        incomplete(ended, intake);
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
        self.is_sending = frame.end == End::Etb;
        if begins(&frame, &device, intake) {
            intake.begin(&number);
        }
        if frame.packet.is_some_and(|packet| packet.total > 1) {
            intake.keep(&device, PART, bytes);
            join(frame, bytes, &device, &topic, intake);
            return;
        }
        // A frame by itself has to say what it is; a packet is read with the others.
        match frame.read() {
            Ok(body) => {
                intake.keep(&device, &topic, bytes);
                answer(&frame, body.serial, None, &device, intake);
            }
            Err(error) => refuse(&error, &device, &topic, bytes, intake),
        }
    }
}

/// Whether a frame begins a session of a station that stays connected: a report does, a keep-alive where the station says
/// nothing else by itself (M4).
fn begins(frame: &Frame, device: &DeviceId, intake: &Intake) -> bool {
    match frame.function {
        reply::KEEP_ALIVE => intake.shared.stations.manner(device).mode == Mode::M4,
        function => !is_answer(function) && frame.packet.is_none_or(|packet| packet.number == 1),
    }
}

/// Keeps a message whose last missing packet this is as one record, and answers the packet.
fn join(frame: Frame, bytes: &[u8], device: &DeviceId, topic: &str, intake: &mut Intake) {
    let answered = frame.clone();
    let (joined, ended, serial) = {
        let mut joining = intake
            .shared
            .joining
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (joined, ended) = joining.take(intake.received_at, frame, bytes);
        (joined, ended, joining.serial(answered.station))
    };
    incomplete(ended, intake);
    let first_missing = match joined {
        Joined::Waits(first_missing) => Some(first_missing),
        Joined::Before => None,
        Joined::Whole(whole, all) => {
            match whole.read() {
                Ok(_) => intake.keep(device, topic, &all),
                Err(error) => refuse(&error, device, topic, &all, intake),
            }
            None
        }
    };
    answer(&answered, serial, first_missing, device, intake);
}

/// What the station's mode has for a frame. `first_missing` of its message's packets, none when it is whole.
fn answer(
    frame: &Frame,
    serial: Option<u16>,
    first_missing: Option<u16>,
    device: &DeviceId,
    intake: &mut Intake,
) {
    let Manner { mode, n_waiting } = intake.shared.stations.manner(device);
    // The command that this answers is among those that wait.
    let stay = n_waiting > usize::from(is_answer(frame.function));
    let Some(mut end) = reply::due(frame, mode, stay) else {
        return;
    };
    let of_many = frame.packet.filter(|packet| packet.total > 1 && mode == Mode::M3);
    let packet = of_many.map(|Packet { total, .. }| {
        if first_missing.is_some() {
            end = End::Nak;
        }
        let number = first_missing.unwrap_or(total);
        Packet { total, number }
    });
    let answer = reply::answer(frame, serial.unwrap_or(0), intake.received_at, end, packet);
    // An answer has a body of eight bytes.
    if let Ok(bytes) = answer.encode() {
        intake.answer(&bytes);
    }
}

fn incomplete(ended: Vec<Ended>, intake: &mut Intake) {
    for ended in ended {
        let topic = format!("sl651/{:02X}", ended.function);
        let number = ended.station.to_string();
        let refusal = Refusal::IncompletePackets;
        intake.refuse(refusal, Some(&number), &topic, &ended.bytes, &ended.detail);
    }
}

fn admit(frame: &Frame, number: &str, intake: &mut Intake) -> Result<DeviceId, Denied> {
    let password = format!("{:04X}", frame.password);
    let line = Line::of(frame);
    let is_same = |known: &Speaks| matches!(known, Speaks::Sl651(known) if *known == line);
    intake.admit(number, &password, |_| Speaks::Sl651(line), is_same)
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
    let named = station_of(&fault.skipped);
    intake.refuse_unread(refusal, named.as_deref(), "sl651", &fault.skipped, &detail);
}

/// The station that a damaged frame up seems to name, behind its centre (6.6.3.2, binary and ASCII).
fn station_of(bytes: &[u8]) -> Option<String> {
    match bytes {
        [0x7E, 0x7E, _, a, b, c, d, e, ..] => Some(Station([*a, *b, *c, *d, *e]).to_string()),
        [0x01, _, _, digits @ ..] => {
            let digits = std::str::from_utf8(digits.get(..10)?).ok()?;
            digits.parse::<Station>().ok().map(|station| station.to_string())
        }
        _ => None,
    }
}
