//! Cuts frames that say their own length out of a stream of bytes that come merged, split and dirty.
//!
//! What looks like a beginning and turns out to be none is gone over again from its second byte, so a mark that stands
//! inside data never hides a frame. Every byte is told exactly once, in a frame or in a fault.

use std::marker::PhantomData;

/// Bytes that belong to no good frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault<E> {
    /// Why the first of them is no frame; its own offset counts from `at`.
    pub error: E,
    /// Where they start in the stream, from 0.
    pub at: u64,
    /// The bytes, for the quarantine.
    pub skipped: Vec<u8>,
}

/// What was found, in the order of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<F, E> {
    /// A frame, where it starts in the stream, and its bytes.
    Frame {
        /// The frame.
        frame: F,
        /// Its first byte, from 0.
        at: u64,
        /// As they came, for the journal.
        bytes: Vec<u8>,
    },
    /// Something else.
    Fault(Fault<E>),
}

/// How a protocol's frames are told from the bytes around them.
pub trait Framing {
    /// A frame.
    type Frame;
    /// Why bytes are none.
    type Error;
    /// Bytes of the longest frame.
    const LONGEST: usize;
    /// The frame that starts with the first byte and its size. `None` when more bytes are needed, and then they are
    /// fewer than the longest frame has.
    fn at_start(bytes: &[u8]) -> Result<Option<(Self::Frame, usize)>, Self::Error>;
    /// The error of a frame that has begun and of which no more comes.
    fn truncated(bytes: &[u8]) -> Self::Error;
    /// Whether an error only says that no frame starts here.
    fn is_noise(error: &Self::Error) -> bool;
}

/// Cuts one connection's stream into frames. Between calls it keeps at most [`Framer::LIMIT`] bytes.
#[derive(Debug)]
pub struct Framer<P> {
    /// The bytes that wait for the rest of their frame.
    kept: Vec<u8>,
    /// Offset of `kept` in the stream.
    at: u64,
    protocol: PhantomData<P>,
}

impl<P> Default for Framer<P> {
    fn default() -> Self {
        Self {
            kept: Vec::new(),
            at: 0,
            protocol: PhantomData,
        }
    }
}

impl<P: Framing> Framer<P> {
    /// Most bytes that wait for the rest of their frame: one less than the longest frame.
    pub const LIMIT: usize = P::LONGEST - 1;

    /// A stream from its first byte.
    pub fn new() -> Self {
        Self::default()
    }
    /// Takes the next bytes and gives what is whole by now.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Piece<P::Frame, P::Error>> {
        self.cut(bytes, false)
    }
    /// Gives up waiting for the rest of the frame that has begun: when the line has been quiet for too long,
    /// or has ended. Good frames inside what was waited for are found; nothing is kept after it.
    pub fn give_up(&mut self) -> Vec<Piece<P::Frame, P::Error>> {
        self.cut(&[], true)
    }
    /// How many bytes wait for the rest of their frame.
    pub fn n_waiting(&self) -> usize {
        self.kept.len()
    }

    /// Takes the next bytes; with `is_last` nothing more is waited for and nothing is kept.
    fn cut(&mut self, bytes: &[u8], is_last: bool) -> Vec<Piece<P::Frame, P::Error>> {
        self.kept.extend_from_slice(bytes);
        let mut pieces = Vec::new();
        let kept = std::mem::take(&mut self.kept);
        // Start of the bytes that belong to no frame, and why.
        let mut bad: Option<(usize, P::Error)> = None;
        let mut here = 0;
        let fault = |bad: &mut Option<(usize, P::Error)>, end: usize, pieces: &mut Vec<_>| {
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
            match P::at_start(rest) {
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
                    bad.get_or_insert_with(|| (here, P::truncated(rest)));
                    here += 1;
                }
                Err(error) => {
                    // A begun frame that turns out bad tells more than the noise before it.
                    if bad.as_ref().is_some_and(|(_, first)| P::is_noise(first)) && !P::is_noise(&error) {
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

/// Every byte of a stream, given in pieces of `size`, is told once and in its place, in a frame that reads back or in a
/// fault; what waits stays below the limit.
#[cfg(test)]
pub(crate) fn is_told_byte_by_byte<P>(
    stream: &[u8],
    size: usize,
    decode: impl Fn(&[u8]) -> Result<P::Frame, P::Error>,
) where
    P: Framing<Frame: PartialEq + std::fmt::Debug, Error: PartialEq + std::fmt::Debug>,
{
    let mut framer = Framer::<P>::new();
    let mut pieces = Vec::new();
    for chunk in stream.chunks(size) {
        pieces.extend(framer.push(chunk));
        assert!(framer.n_waiting() <= Framer::<P>::LIMIT);
    }
    pieces.extend(framer.give_up());
    let mut told = Vec::new();
    for piece in pieces {
        let (at, bytes) = match piece {
            Piece::Frame { at, bytes, frame } => {
                assert_eq!(decode(&bytes), Ok(frame));
                (at, bytes)
            }
            Piece::Fault(fault) => (fault.at, fault.skipped),
        };
        assert_eq!(at, told.len() as u64);
        told.extend(bytes);
    }
    assert_eq!(told, stream);
}
