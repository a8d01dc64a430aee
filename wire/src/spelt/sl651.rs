//! SL 651: the body of a packet cannot be read alone, so readings come with the message.

use std::time::Duration;

use onemap_model::Timestamp;

use super::held::Held;
use super::{Given, Line, is_blank, raw};
use crate::sl651::{
    Bases, Direction, Encoding, Error, Frame, Framer, Incomplete, Limits, Packets, Piece, Reason, Station,
    Taken, View, readings,
};

/// What packets of one message have in common; as in [`Packets`].
#[derive(Debug, PartialEq)]
struct MessageKey {
    station: Station,
    centre: u8,
    function: u8,
    is_ascii: bool,
    total: u16,
}

impl MessageKey {
    fn of(frame: &Frame) -> Option<Self> {
        let packet = frame.packet.filter(|packet| packet.total > 1)?;
        (frame.direction == Direction::Up).then_some(Self {
            station: frame.station,
            centre: frame.centre,
            function: frame.function,
            is_ascii: frame.encoding == Encoding::Ascii,
            total: packet.total,
        })
    }
}

#[derive(Debug, Default)]
pub(super) struct Stream {
    framer: Framer,
    packets: Packets,
    held: Held<MessageKey>,
}

/// A file has no time: messages end by their number and bytes, and with the stream.
const NOW: Timestamp = Timestamp::from_ms(0);

impl Stream {
    pub(super) fn push(&mut self, bytes: &[u8], given: &Given) -> Vec<Line> {
        for piece in self.framer.push(bytes) {
            self.piece(piece, given);
        }
        self.held.ready()
    }

    pub(super) fn end(&mut self, given: &Given) -> Vec<Line> {
        for piece in self.framer.give_up() {
            self.piece(piece, given);
        }
        let after_all = NOW + Limits::default().age + Duration::from_secs(1);
        for ended in self.packets.tick(after_all) {
            self.incomplete(&ended);
        }
        self.held.all()
    }

    fn piece(&mut self, piece: Piece, given: &Given) {
        let (frame, at, n_bytes) = match piece {
            Piece::Frame { frame, at, bytes } => (frame, at, bytes.len()),
            Piece::Fault(fault) if is_blank(&fault.skipped) => return,
            Piece::Fault(fault) => {
                let line = fault_line(fault.at, fault.skipped.len(), &fault.error);
                self.held.add(None, line);
                return;
            }
        };
        let body = match frame.read() {
            Ok(body) => body,
            Err(error) => {
                self.held.add(None, fault_line(at, n_bytes, &error));
                return;
            }
        };
        let key = MessageKey::of(&frame);
        let view = View { frame, body };
        let mut line = Line::frame(at, n_bytes, &view);
        line.readings = Some(Vec::new());
        let Some(key) = key else {
            say(&mut line, &view, given);
            self.held.add(None, line);
            return;
        };
        let (taken, ended) = self.packets.take(NOW, view.frame);
        // What this packet replaces ended before it; what is over a limit ends with it.
        let (before, after): (Vec<_>, Vec<_>) =
            ended.iter().partition(|ended| ended.reason == Reason::Replaced);
        for ended in before {
            self.incomplete(ended);
        }
        match taken {
            Taken::Duplicate | Taken::Repeated => {
                line.duplicate = true;
                self.held.add(None, line);
            }
            Taken::Waits { .. } => self.held.add(Some(key), line),
            Taken::Whole(whole) => {
                match whole.read() {
                    Ok(body) => {
                        let view = View { frame: whole, body };
                        line.message = raw(&view);
                        say(&mut line, &view, given);
                    }
                    Err(error) => {
                        line.ok = false;
                        line.error = Some(error.code());
                        line.detail = Some(format!("in the message that its packets make: {error}"));
                    }
                }
                self.held.settle(&key, |_| {});
                self.held.add(None, line);
            }
        }
        for ended in after {
            self.incomplete(ended);
        }
    }

    /// Tells the last packet of a message which ones did not come.
    fn incomplete(&mut self, ended: &Incomplete) {
        if let Some(key) = ended.packets.first().and_then(MessageKey::of) {
            let missing = ended.missing.iter().map(|number| u32::from(*number)).collect();
            self.held.settle(&key, |line| line.missing = Some(missing));
        }
    }
}

fn fault_line(from: u64, n_bytes: usize, error: &Error) -> Line {
    Line::fault(from, error.at(), n_bytes, error.code(), error.to_string())
}

fn say(line: &mut Line, view: &View, given: &Given) {
    for station in readings(&view.frame, &view.body, given.profile.as_ref(), &Bases::default()) {
        line.say(
            &station.station.to_string(),
            station.message,
            given.profile.as_ref(),
        );
    }
}
