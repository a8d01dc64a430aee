//! Frames out of a stream of bytes that come merged, split and dirty.
//!
//! A frame begins with 7E7E or 01 and its length says where it ends. What looks like a beginning and turns out
//! to be none is gone over again from its second byte: 7E7E may stand inside data, so nothing is ever split at it.

use super::frame::{Head, MAX_FRAME};
use super::{Error, Frame};

/// Bytes that belong to no good frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Why the first of them is no frame; its own offset counts from `at`.
    pub error: Error,
    /// Where they start in the stream, from 0.
    pub at: u64,
    /// The bytes, for the quarantine.
    pub skipped: Vec<u8>,
}

/// What the framer found, in the order of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A frame, where it starts in the stream, and its bytes.
    Frame {
        /// The frame.
        frame: Frame,
        /// Its first byte, from 0.
        at: u64,
        /// As they came, for the journal.
        bytes: Vec<u8>,
    },
    /// Something else.
    Fault(Fault),
}

/// Cuts one connection's stream into frames. Between calls it keeps at most [`Framer::LIMIT`] bytes.
#[derive(Debug, Default)]
pub struct Framer {
    kept: Vec<u8>,
    /// Offset of `kept` in the stream.
    at: u64,
}

impl Framer {
    /// Most bytes that wait for the rest of their frame: one less than the longest frame.
    pub const LIMIT: usize = MAX_FRAME - 1;

    /// A stream from its first byte.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and gives what is whole by now.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Piece> {
        self.kept.extend_from_slice(bytes);
        self.scan(false)
    }

    /// Gives up waiting for the rest of the frame that has begun: when the line has been quiet for too long,
    /// or has ended. Good frames inside what was waited for are found; nothing is kept after it.
    pub fn give_up(&mut self) -> Vec<Piece> {
        self.scan(true)
    }

    /// How many bytes wait for the rest of their frame.
    pub fn n_waiting(&self) -> usize {
        self.kept.len()
    }

    fn scan(&mut self, is_last: bool) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let kept = std::mem::take(&mut self.kept);
        // Start of the bytes that belong to no frame, and why.
        let mut bad: Option<(usize, Error)> = None;
        let mut here = 0;
        let fault = |bad: &mut Option<(usize, Error)>, end: usize, pieces: &mut Vec<Piece>| {
            if let Some((from, error)) = bad.take() {
                pieces.push(Piece::Fault(Fault {
                    error,
                    at: self.at + from as u64,
                    skipped: kept[from..end].to_vec(),
                }));
            }
        };
        while here < kept.len() {
            let rest = &kept[here..];
            match at_start(rest) {
                Ok(Some((frame, size))) => {
                    fault(&mut bad, here, &mut pieces);
                    pieces.push(Piece::Frame {
                        frame,
                        at: self.at + here as u64,
                        bytes: rest[..size].to_vec(),
                    });
                    here += size;
                }
                Ok(None) if !is_last => break,
                Ok(None) => {
                    let want = match Head::read(rest) {
                        Ok(Some(head)) => head.frame_size(),
                        _ => rest.len() + 1,
                    };
                    bad.get_or_insert((here, Error::Truncated { at: rest.len(), want }));
                    here += 1;
                }
                Err(error) => {
                    // A begun frame that turns out bad tells more than the noise before it.
                    if let Some((_, Error::NoStart { .. })) = &bad
                        && !matches!(error, Error::NoStart { .. })
                    {
                        fault(&mut bad, here, &mut pieces);
                    }
                    bad.get_or_insert((here, error));
                    here += 1;
                }
            }
        }
        fault(&mut bad, here, &mut pieces);
        self.at += here as u64;
        self.kept = kept[here..].to_vec();
        pieces
    }
}

/// The frame that starts with the first byte and its size; `None` when more bytes are needed.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sl651::hex;

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
        assert_eq!(told(&framer.push(b"noise")), [("no_start", 100, 5)]);
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
