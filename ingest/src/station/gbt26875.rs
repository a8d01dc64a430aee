//! GB/T 26875.3 on a connection: who sends a frame, and what the standard answers.
//!
//! Controls and data are acknowledged with command 3, the sequence repeated and the addresses swapped, when the frame is
//! durable. A frame whose data cannot be read is refused with command 6, and so is one with a wrong checksum whose source is a
//! device that is known; its bytes are nobody's for all that. The standard has no password: a device is its source address. Requests go down with the addresses,
//! the version and the writing of times that its last frame had.

use onemap_model::{DeviceId, Refusal, Source, Timestamp};
use onemap_wire::gbt26875::reply::{self, Line};
use onemap_wire::gbt26875::{Clock, Error, Fault, Frame, Framer, Piece, Time};

use super::server::Shared;
use super::{Denied, Dialect, Intake, Speaks};

pub(super) struct Gbt26875 {
    framer: Framer,
}

impl Dialect for Gbt26875 {
    const SOURCE: Source = Source::Gbt26875;

    fn new(_: &Shared) -> Self {
        Self {
            framer: Framer::new(),
        }
    }

    fn push(&mut self, bytes: &[u8], intake: &mut Intake) {
        for piece in self.framer.push(bytes) {
            take(piece, intake);
        }
    }

    fn give_up(&mut self, intake: &mut Intake) {
        for piece in self.framer.give_up() {
            take(piece, intake);
        }
    }

    fn n_waiting(&self) -> usize {
        self.framer.n_waiting()
    }
}

fn take(piece: Piece, intake: &mut Intake) {
    match piece {
        Piece::Frame { frame, bytes, .. } => take_frame(&frame, &bytes, intake),
        Piece::Fault(fault) => take_fault(&fault, intake),
    }
}

fn take_frame(frame: &Frame, bytes: &[u8], intake: &mut Intake) {
    let topic = topic(frame.command);
    let source = frame.source.to_string();
    let now = intake.received_at;
    let clock = clock_of(frame.time, now);
    let line = Line {
        source: frame.destination,
        destination: frame.source,
        version: frame.version,
        clock,
    };
    let device = match admit(&source, line, intake) {
        Ok(device) => device,
        Err(denied) => {
            intake.deny(denied, &source, topic, bytes);
            return;
        }
    };
    let is_due = reply::due(frame) == reply::Due::Acknowledgement;
    match frame.read() {
        Ok(_) => {
            intake.keep(&device, topic, bytes);
            if is_due {
                say(&reply::acknowledge(frame, now, clock), intake);
            }
        }
        Err(error) => {
            let detail = format!("{}: {error}", error.code());
            intake.refuse(Refusal::WrongShape, Some(device.as_str()), topic, bytes, &detail);
            if is_due {
                say(&reply::refuse(frame, now, clock), intake);
            }
        }
    }
}

fn say(answer: &Frame, intake: &mut Intake) {
    // An answer has no data that could be too long.
    if let Ok(bytes) = answer.encode() {
        intake.answer(&bytes);
    }
}

fn admit(source: &str, line: Line, intake: &mut Intake) -> Result<DeviceId, Denied> {
    let speaks = Speaks::Gbt26875(line);
    intake.admit(source, "", |_| speaks.clone(), |known| *known == speaks)
}

/// How a device writes its times, by the one in its frame: the writing that is nearer to now.
fn clock_of(time: Time, now: Timestamp) -> Clock {
    let off = |clock| {
        let moment = time.moment(clock, None);
        moment.map_or(u64::MAX, |at| at.ms().abs_diff(now.ms()))
    };
    match off(Clock::Bcd) < off(Clock::Binary) {
        true => Clock::Bcd,
        false => Clock::Binary,
    }
}

fn take_fault(fault: &Fault, intake: &mut Intake) {
    let refusal = match &fault.error {
        Error::Checksum { .. } => Refusal::CrcMismatch,
        Error::Length { .. } => Refusal::OverSize,
        _ => Refusal::BrokenFrame,
    };
    let detail = format!(
        "{}: {} at byte {} of the stream",
        fault.error.code(),
        fault.error,
        fault.at
    );
    let damaged = damaged(fault);
    let source = damaged.as_ref().map(|frame| frame.source.to_string());
    intake.refuse_unread(refusal, source.as_deref(), "gbt26875", &fault.skipped, &detail);
    let Some(frame) = damaged else { return };
    // Only asked: a damaged address does not make this the connection of the device that it names.
    if reply::due(&frame) == reply::Due::Acknowledgement && intake.is_station(&frame.source.to_string()) {
        let now = intake.received_at;
        say(&reply::refuse(&frame, now, clock_of(frame.time, now)), intake);
    }
}

/// The frame of a fault that is whole but for its checksum.
fn damaged(fault: &Fault) -> Option<Frame> {
    let Error::Checksum { at, calculated, .. } = fault.error else {
        return None;
    };
    let mut bytes = fault.skipped.get(..at + 3)?.to_vec();
    bytes[at] = calculated;
    Frame::decode(&bytes).ok()
}

/// What stands as topic in the journal.
fn topic(command: u8) -> &'static str {
    match command {
        1 => "gbt26875/1",
        2 => "gbt26875/2",
        3 => "gbt26875/3",
        4 => "gbt26875/4",
        5 => "gbt26875/5",
        6 => "gbt26875/6",
        _ => "gbt26875",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writing_of_a_time_is_told_by_the_nearer_moment() {
        let now = Timestamp::from_ms(1_795_392_000_000);
        for clock in [Clock::Binary, Clock::Bcd] {
            assert_eq!(clock_of(Time::of(now, clock), now), clock);
        }
        assert_eq!(clock_of(Time([0xFF; 6]), now), Clock::Binary);
    }
}
