//! Cuts frames that say their own length out of a stream of bytes that come merged, split and dirty.
//!
//! What looks like a beginning and turns out to be none is gone over again from its second byte, so a mark that stands
//! inside data never hides a frame. Every byte is told exactly once, in a frame or in a fault, and the same bytes give the
//! same frames and faults however they are split: a fault ends with its frame when that is whole but for its end or checksum,
//! and otherwise where the next frame begins, where nothing more is waited for, or when it is as long as the longest frame.

#[cfg(test)]
mod laws;

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
    /// How many bytes the frame has that starts with the first byte, by what it says itself; `None` when that is no frame's
    /// beginning or not known yet.
    fn announced(bytes: &[u8]) -> Option<usize>;
}

/// Cuts one connection's stream into frames. Between calls it keeps at most [`Framer::LIMIT`] bytes.
#[derive(Debug)]
pub struct Framer<P: Framing> {
    /// A fault that has not ended, and the bytes that wait for the rest of their frame.
    kept: Vec<u8>,
    /// Offset of `kept` in the stream.
    at: u64,
    /// The fault that `kept` begins with.
    bad: Option<Bad<P::Error>>,
}

/// Bytes that belong to no frame, so far.
#[derive(Debug)]
struct Bad<E> {
    n: usize,
    error: E,
    what: What,
}

/// What looks like a frame tells more than what does not, and a whole one most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Noise,
    Begun,
    /// With its bytes.
    Whole(usize),
}

impl<P: Framing> Default for Framer<P> {
    fn default() -> Self {
        Self {
            kept: Vec::new(),
            at: 0,
            bad: None,
        }
    }
}

impl<P: Framing> Framer<P> {
    /// Most bytes that wait: a fault as long as the longest frame, less its last byte, and a frame without its last byte.
    pub const LIMIT: usize = 2 * (P::LONGEST - 1);

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
    /// How many bytes wait for the rest of their frame, or for the end of their fault.
    pub fn n_waiting(&self) -> usize {
        self.kept.len()
    }

    /// Takes the next bytes; with `is_last` nothing more is waited for and nothing is kept.
    fn cut(&mut self, bytes: &[u8], is_last: bool) -> Vec<Piece<P::Frame, P::Error>> {
        let mut kept = std::mem::take(&mut self.kept);
        kept.extend_from_slice(bytes);
        let mut cut = Cut {
            kept: &kept,
            told: 0,
            at: self.at,
            bad: self.bad.take(),
            pieces: Vec::new(),
        };
        loop {
            let rest = &kept[cut.told + cut.n_bad()..];
            if rest.is_empty() {
                break;
            }
            match P::at_start(rest) {
                Ok(Some((frame, size))) => cut.frame(frame, size),
                Ok(None) if !is_last => break,
                Ok(None) => cut.add(P::truncated(rest), What::Begun, P::LONGEST),
                Err(error) => {
                    let what = match P::announced(rest) {
                        Some(size) if size <= rest.len() => What::Whole(size),
                        _ if P::is_noise(&error) => What::Noise,
                        _ => What::Begun,
                    };
                    cut.add(error, what, P::LONGEST);
                }
            }
        }
        if is_last {
            cut.fault();
        }
        let Cut {
            told, bad, pieces, ..
        } = cut;
        self.at += told as u64;
        self.bad = bad;
        kept.drain(..told);
        if !kept.is_empty() {
            self.kept = kept;
        }
        pieces
    }
}

/// One call's work.
struct Cut<'a, F, E> {
    kept: &'a [u8],
    /// Bytes of `kept` that are told; those of `bad` are behind them.
    told: usize,
    /// Offset of `kept` in the stream.
    at: u64,
    bad: Option<Bad<E>>,
    pieces: Vec<Piece<F, E>>,
}

impl<F, E> Cut<'_, F, E> {
    fn n_bad(&self) -> usize {
        self.bad.as_ref().map_or(0, |bad| bad.n)
    }

    fn take(&mut self, n: usize) -> (u64, Vec<u8>) {
        let (at, bytes) = (
            self.at + self.told as u64,
            self.kept[self.told..self.told + n].to_vec(),
        );
        self.told += n;
        (at, bytes)
    }

    fn frame(&mut self, frame: F, size: usize) {
        self.fault();
        let (at, bytes) = self.take(size);
        self.pieces.push(Piece::Frame { frame, at, bytes });
    }

    /// Tells the bad bytes as they are.
    fn fault(&mut self) {
        if let Some(Bad { n, error, .. }) = self.bad.take() {
            let (at, skipped) = self.take(n);
            self.pieces.push(Piece::Fault(Fault { error, at, skipped }));
        }
    }

    /// One byte more is bad.
    fn add(&mut self, error: E, what: What, longest: usize) {
        let is_more = |bad: &Bad<E>| match (bad.what, what) {
            (What::Whole(_), _) => false,
            (before, what) => before < what,
        };
        if self.bad.as_ref().is_some_and(is_more) {
            self.fault();
        }
        let bad = self.bad.get_or_insert(Bad { n: 0, error, what });
        bad.n += 1;
        let most = match bad.what {
            What::Whole(size) => size,
            _ => longest,
        };
        if bad.n >= most {
            self.fault();
        }
    }
}
