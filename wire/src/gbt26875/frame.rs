//! One frame, and frames out of a stream.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::{Error, Time};
use crate::stream::{self, Framing};

/// Bytes before the application data.
pub(super) const HEAD: usize = 27;
/// Most application data.
pub(super) const MAX_DATA: usize = 1024;
/// Bytes of a frame beside its application data.
const AROUND: usize = 30;

/// An address: six bytes, low byte first, shown as twelve hexadecimal characters in the order of the frame (889 is
/// `790300000000`). Some makers send digits of a longer name in BCD.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(pub [u8; 6]);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl Serialize for Address {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl FromStr for Address {
    type Err = Error;
    /// Twelve hexadecimal characters.
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut bytes = [0; 6];
        let wrong = Error::Truncated {
            at: text.len(),
            want: 12,
        };
        if text.len() != 12 || !text.is_ascii() {
            return Err(wrong);
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |b: u8| char::from(b).to_digit(16);
            match (digit(pair[0]), digit(pair[1])) {
                (Some(high), Some(low)) => *byte = (high << 4 | low) as u8,
                _ => return Err(wrong),
            }
        }
        Ok(Self(bytes))
    }
}

/// One frame whose envelope is right: start, length, checksum and end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Each initiator counts its own; answers repeat it.
    pub sequence: u16,
    /// Main version (1) and user's version.
    pub version: [u8; 2],
    /// When it was sent.
    pub time: Time,
    /// Who sends.
    pub source: Address,
    /// For whom.
    pub destination: Address,
    /// 1 control, 2 send data, 3 acknowledge, 4 request, 5 response, 6 refuse; others are users'.
    pub command: u8,
    /// Application data, at most 1,024 bytes.
    pub data: Vec<u8>,
}

impl Frame {
    /// Reads exactly one frame.
    ///
    /// # Errors
    /// [`Error`] of the envelope.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        match Self::at_start(bytes)? {
            Some((frame, size)) if size == bytes.len() => Ok(frame),
            Some((_, size)) => Err(Error::Trailing {
                at: size,
                extra: bytes.len() - size,
            }),
            None => Err(<Self as Framing>::truncated(bytes)),
        }
    }

    /// Writes the frame.
    ///
    /// # Errors
    /// [`Error::Length`] for more than 1,024 bytes of application data.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let length = match u16::try_from(self.data.len()) {
            Ok(length) if self.data.len() <= MAX_DATA => length,
            _ => {
                return Err(Error::Length {
                    at: 24,
                    got: self.data.len(),
                });
            }
        };
        let mut out = vec![0x40, 0x40];
        out.extend(self.sequence.to_le_bytes());
        out.extend(self.version);
        out.extend(self.time.0);
        out.extend(self.source.0);
        out.extend(self.destination.0);
        out.extend(length.to_le_bytes());
        out.push(self.command);
        out.extend(&self.data);
        out.push(sum(&out[2..]));
        out.extend([0x23, 0x23]);
        Ok(out)
    }
}

/// Bytes of the whole frame; `None` when that is not known yet.
fn size(bytes: &[u8]) -> Result<Option<usize>, Error> {
    match bytes {
        [] | [0x40] => return Ok(None),
        [0x40, 0x40, ..] => {}
        _ => return Err(Error::NoStart { at: 0 }),
    }
    let Some([low, high]) = bytes.get(24..26) else {
        return Ok(None);
    };
    match usize::from(u16::from_le_bytes([*low, *high])) {
        got if got > MAX_DATA => Err(Error::Length { at: 24, got }),
        got => Ok(Some(AROUND + got)),
    }
}

/// Sum of the bytes, low eight bits.
fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

impl Framing for Frame {
    type Frame = Frame;
    type Error = Error;
    const LONGEST: usize = AROUND + MAX_DATA;

    fn at_start(bytes: &[u8]) -> Result<Option<(Frame, usize)>, Error> {
        let Some(size) = size(bytes)? else {
            return Ok(None);
        };
        let Some(whole) = bytes.get(..size) else {
            return Ok(None);
        };
        let (inside, tail) = whole.split_at(size - 3);
        if tail[1..] != [0x23, 0x23] {
            return Err(Error::End { at: size - 2 });
        }
        let calculated = sum(&inside[2..]);
        if tail[0] != calculated {
            return Err(Error::Checksum {
                at: size - 3,
                sent: tail[0],
                calculated,
            });
        }
        let six = |at: usize| {
            let mut six = [0; 6];
            six.copy_from_slice(&inside[at..at + 6]);
            six
        };
        let frame = Frame {
            sequence: u16::from_le_bytes([inside[2], inside[3]]),
            version: [inside[4], inside[5]],
            time: Time(six(6)),
            source: Address(six(12)),
            destination: Address(six(18)),
            command: inside[26],
            data: inside[HEAD..].to_vec(),
        };
        Ok(Some((frame, size)))
    }

    fn truncated(bytes: &[u8]) -> Error {
        Error::Truncated {
            at: bytes.len(),
            want: size(bytes).ok().flatten().unwrap_or(AROUND),
        }
    }

    fn is_noise(error: &Error) -> bool {
        matches!(error, Error::NoStart { .. })
    }

    fn announced(bytes: &[u8]) -> Option<usize> {
        size(bytes).ok().flatten()
    }
}

/// Bytes of a stream that belong to no good frame.
pub type Fault = stream::Fault<Error>;
/// A frame or a fault, in the order of the stream.
pub type Piece = stream::Piece<Frame, Error>;

/// Cuts one connection's stream into frames.
pub type Framer = stream::Framer<Frame>;
