//! GB/T 26875.3: a frame is a message.

use super::{Given, Line, is_blank};
use crate::gbt26875::{Clock, Framer, Piece, View, readings};

#[derive(Debug, Default)]
pub(super) struct Stream {
    framer: Framer,
}

impl Stream {
    pub(super) fn push(&mut self, bytes: &[u8], given: &Given) -> Vec<Line> {
        let pieces = self.framer.push(bytes);
        pieces
            .into_iter()
            .filter_map(|piece| line(piece, given))
            .collect()
    }

    pub(super) fn end(&mut self, given: &Given) -> Vec<Line> {
        let pieces = self.framer.give_up();
        pieces
            .into_iter()
            .filter_map(|piece| line(piece, given))
            .collect()
    }
}

fn line(piece: Piece, given: &Given) -> Option<Line> {
    let (frame, at, bytes) = match piece {
        Piece::Frame { frame, at, bytes } => (frame, at, bytes),
        Piece::Fault(fault) if is_blank(&fault.skipped) => return None,
        Piece::Fault(fault) => {
            let error = &fault.error;
            return Some(Line::fault(
                fault.at,
                error.at(),
                fault.skipped.len(),
                error.code(),
                error.to_string(),
            ));
        }
    };
    let application = match frame.read() {
        Ok(application) => application,
        Err(error) => {
            return Some(Line::fault(
                at,
                error.at(),
                bytes.len(),
                error.code(),
                error.to_string(),
            ));
        }
    };
    let said = application
        .as_ref()
        .map(|application| readings(&frame, application, Clock::Either, given.received_at));
    let mut line = Line::frame(at, bytes.len(), &View { frame, application });
    line.readings = Some(Vec::new());
    for one in said.into_iter().flatten() {
        let device = one.device();
        line.say(&device, one.message, given.profile.as_ref());
    }
    Some(line)
}
