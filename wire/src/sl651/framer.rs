//! Frames out of a stream of bytes that come merged, split and dirty.
//!
//! A frame begins with 7E7E or 01 and its length says where it ends. 7E7E may stand inside data, so nothing is ever
//! split at it.

use super::frame::{Head, MAX_FRAME};
use super::{Error, Frame};
use crate::stream::{self, Framing};

/// Bytes of a stream that belong to no good frame.
pub type Fault = stream::Fault<Error>;
/// A frame or a fault, in the order of the stream.
pub type Piece = stream::Piece<Frame, Error>;

/// Cuts one connection's stream into frames.
pub type Framer = stream::Framer<Frame>;

impl Framing for Frame {
    type Frame = Frame;
    type Error = Error;
    const LONGEST: usize = MAX_FRAME;

    fn at_start(bytes: &[u8]) -> Result<Option<(Frame, usize)>, Error> {
        let Some(head) = Head::read(bytes)? else {
            return Ok(None);
        };
        let size = head.frame_size();
        match bytes.get(..size) {
            None => Ok(None),
            Some(whole) => head.finish(whole).map(|frame| Some((frame, size))),
        }
    }

    fn truncated(bytes: &[u8]) -> Error {
        let want = match Head::read(bytes) {
            Ok(Some(head)) => head.frame_size(),
            _ => bytes.len() + 1,
        };
        Error::Truncated {
            at: bytes.len(),
            want,
        }
    }

    fn is_noise(error: &Error) -> bool {
        matches!(error, Error::NoStart { .. })
    }

    fn announced(bytes: &[u8]) -> Option<usize> {
        Some(Head::read(bytes).ok()??.frame_size())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::hex;

    const GOOD: &str = "7E7E01001234567812342F0008020003591011155111036BCA";

    fn good() -> Vec<u8> {
        hex::read(GOOD.as_bytes()).unwrap()
    }

    fn told(pieces: &[Piece]) -> Vec<(&'static str, u64, usize)> {
        pieces
            .iter()
            .map(|piece| match piece {
                Piece::Frame { at, bytes, .. } => ("frame", *at, bytes.len()),
                Piece::Fault(fault) => (fault.error.code(), fault.at, fault.skipped.len()),
            })
            .collect()
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let stream = [
            &b"\r\nhello"[..],
            &good(),
            &good(),
            &[0x7E],
            &good(),
            &[0x01, 0x30],
            &good(),
        ]
        .concat();
        for size in 1..stream.len() {
            let mut framer = Framer::new();
            let mut pieces: Vec<Piece> = stream.chunks(size).flat_map(|c| framer.push(c)).collect();
            pieces.extend(framer.give_up());
            let found: Vec<u64> = pieces
                .iter()
                .filter_map(|p| match p {
                    Piece::Frame { at, .. } => Some(*at),
                    Piece::Fault(_) => None,
                })
                .collect();
            assert_eq!(found, [7, 32, 58, 85], "{size}");
            let bytes: Vec<u8> = pieces
                .into_iter()
                .flat_map(|p| match p {
                    Piece::Frame { bytes, .. } => bytes,
                    Piece::Fault(fault) => fault.skipped,
                })
                .collect();
            assert_eq!(bytes, stream, "every byte is told once");
            assert_eq!(framer.n_waiting(), 0);
        }
    }

    #[test]
    fn a_bad_frame_is_one_fault_by_name() {
        let mut bad = good();
        bad[16] ^= 1;
        let mut framer = Framer::new();
        assert_eq!(
            told(&framer.push(&[bad.clone(), good()].concat())),
            [("crc", 0, 25), ("frame", 25, 25)]
        );
        assert_eq!(told(&framer.push(&bad)), [("crc", 50, 25)]);
        let mut wrong_end = good();
        wrong_end[22] = 0x04;
        assert_eq!(told(&framer.push(&wrong_end)), [("end_character", 75, 25)]);
        assert_eq!(
            told(&framer.push(&[&bad[..], b"noise"].concat())),
            [("crc", 100, 25)]
        );
        assert_eq!(told(&framer.give_up()), [("no_start", 125, 5)]);
        // What is wrong before it says how long it is takes what follows with it, up to a frame's beginning.
        let mut wrong_way = good();
        wrong_way[11] = 0x70;
        let told = told(&framer.push(&[wrong_way, bad, good()].concat()));
        assert_eq!(
            told,
            [("direction", 130, 25), ("crc", 155, 25), ("frame", 180, 25)]
        );
    }

    #[test]
    fn a_wrong_length_does_not_swallow_the_frames_behind_it() {
        let mut long = good();
        (long[11], long[12]) = (0x0F, 0xFF);
        let mut framer = Framer::new();
        assert!(framer.push(&[long, good(), good()].concat()).is_empty());
        assert_eq!(
            told(&framer.give_up()),
            [("truncated", 0, 25), ("frame", 25, 25), ("frame", 50, 25)]
        );
    }

    #[test]
    fn what_is_kept_stays_below_the_limit() {
        let mut framer = Framer::new();
        for _ in 0..2000 {
            let mut long = good();
            (long[11], long[12]) = (0x0F, 0xFF);
            framer.push(&long);
            assert!(framer.n_waiting() <= Framer::LIMIT);
        }
    }
}
