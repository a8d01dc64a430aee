//! HJ 212: every packet is readable alone, so of a set that does not become whole what there is is told.

use std::time::Duration;

use onemap_model::Timestamp;

use super::held::Held;
use super::{Given, Line, is_blank, raw};
use crate::hj212::{
    Framer, JoinFault, JoinLimits, Joined, Joiner, Piece, Segment, Sender, decode_with, readings, view,
};

/// Bytes in front of a segment.
const HEAD: usize = 6;

/// What packets of one set have in common; as in [`Joiner`].
#[derive(Debug, PartialEq)]
struct SetKey {
    mn: String,
    st: String,
    cn: String,
    data_time: String,
    n_packets: u32,
}

impl SetKey {
    fn of(segment: &Segment) -> Option<Self> {
        let (_, n_packets) = segment.packet()?;
        Some(Self {
            mn: segment.mn().to_owned(),
            st: segment.st().to_owned(),
            cn: segment.cn().to_owned(),
            data_time: segment.data_time().unwrap_or_default().to_owned(),
            n_packets,
        })
    }
}

#[derive(Debug, Default)]
pub(super) struct Stream {
    framer: Framer,
    joiner: Joiner,
    held: Held<SetKey>,
}

/// A file has no time: sets end by their number and bytes, and with the stream.
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
        let after_all = NOW + JoinLimits::default().age + Duration::from_secs(1);
        for joined in self.joiner.tick(after_all) {
            self.joined(joined, given);
        }
        self.held.all()
    }

    fn piece(&mut self, piece: Piece, given: &Given) {
        let (frame, at, bytes) = match piece {
            Piece::Frame { frame, at, bytes } => (frame, at, bytes),
            Piece::Fault(fault) if is_blank(&fault.skipped) => return,
            Piece::Fault(fault) => {
                let error = &fault.error;
                let n_bytes = fault.skipped.len();
                let line = Line::fault(fault.at, error.at, n_bytes, error.code(), error.to_string());
                self.held.add(None, line);
                return;
            }
        };
        let segment = match decode_with(&frame, &given.keys) {
            Ok((segment, _)) => segment,
            Err(error) => {
                let shows = HEAD + error.at();
                let line = Line::fault(at, shows, bytes.len(), error.code(), error.to_string());
                self.held.add(None, line);
                return;
            }
        };
        let mut line = Line::frame(at, bytes.len(), &view(&segment));
        line.readings = Some(Vec::new());
        let key = SetKey::of(&segment);
        let mut own = None;
        let mut ended = Vec::new();
        for joined in self.joiner.add(NOW, segment) {
            match joined {
                Joined::Duplicate => line.duplicate = true,
                Joined::Whole(_) => own = Some(joined),
                Joined::Incomplete {
                    fault: JoinFault::PacketNumber,
                    ..
                } => own = Some(joined),
                Joined::Incomplete { .. } => ended.push(joined),
            }
        }
        match own {
            // No packet, or one whose numbers are none: it stands by itself.
            Some(Joined::Whole(whole)) if key.is_none() => {
                say(&mut line, &whole, given);
                self.held.add(None, line);
            }
            Some(Joined::Incomplete { fault, segment, .. }) => {
                line.ok = false;
                line.error = Some(fault.code());
                line.detail = Some("PNUM and PNO are not the numbers of a packet".to_owned());
                say(&mut line, &segment, given);
                self.held.add(None, line);
            }
            Some(whole) => {
                self.held.add(key, line);
                self.joined(whole, given);
            }
            None if line.duplicate => self.held.add(None, line),
            None => self.held.add(key, line),
        }
        for joined in ended {
            self.joined(joined, given);
        }
    }

    /// Tells the last packet of a set what came of it.
    fn joined(&mut self, joined: Joined, given: &Given) {
        let (segment, missing) = match joined {
            Joined::Whole(segment) => (segment, None),
            Joined::Incomplete { segment, missing, .. } => (segment, Some(missing)),
            Joined::Duplicate => return,
        };
        let Some(key) = SetKey::of(&segment) else {
            return;
        };
        self.held.settle(&key, |line| {
            line.message = raw(&view(&segment));
            line.missing = missing;
            say(line, &segment, given);
        });
    }
}

fn say(line: &mut Line, segment: &Segment, given: &Given) {
    let message = readings(segment, &Sender::new(given.profile.as_ref()));
    line.say(segment.mn(), message, given.profile.as_ref());
}
