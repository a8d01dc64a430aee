//! Frames out of a byte stream, however it is cut: `##`, length, data segment, CRC, CR LF.
//!
//! What is no frame comes out as a [`Fault`] with its place and its bytes, and the search goes on at the
//! next `##`. The same bytes give the same frames and faults however they are split into pieces; only
//! bytes between frames may come in more than one fault.

use super::crc::{crc, hex4, modbus_crc};
use crate::stream;

/// Longest data segment on the wire that is taken unless the caller says otherwise. The standard's limit is
/// 1024; devices of 2005 send 1600, and an encrypted segment has five bytes for each of its own.
pub const MAX_SEGMENT: usize = 8192;
/// The standard's longest data segment.
pub const STANDARD_SEGMENT: usize = 1024;
const HEAD: usize = 6;
const TAIL: usize = 6;

/// A whole frame whose CRC fits, or that is encrypted so that its CRC is to be checked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The data segment as it came.
    pub segment: Vec<u8>,
    /// What the length field says: of an encrypted segment often the length of its plain text.
    pub declared: usize,
    /// The CRC that was sent.
    pub crc: u16,
    /// The CRC has a lower-case digit.
    pub lower_case: bool,
    /// CP is encrypted (2025); [`super::decode`] needs the key.
    pub sealed: bool,
}

impl Frame {
    /// Longer than the standard allows.
    pub fn is_long(&self) -> bool {
        self.declared > STANDARD_SEGMENT
    }
}

/// What is wrong with bytes that are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// Bytes outside every frame.
    #[error("bytes outside every frame")]
    Garbage,
    /// The four characters after `##` are not a decimal number.
    #[error("the length is not four decimal digits")]
    LengthNotANumber,
    /// The length is over the limit.
    #[error("the segment is longer than is taken")]
    OverLimit,
    /// No CR LF where the length says that the frame ends, or an end before it.
    #[error("the frame does not end where its length says")]
    LengthMismatch,
    /// Another frame begins, or the stream ends, before this one does.
    #[error("the frame is cut off")]
    CutOff,
    /// The CRC is not four hexadecimal digits.
    #[error("the CRC is not four hexadecimal digits")]
    CrcNotHex,
    /// The CRC is of other bytes.
    #[error("the CRC does not fit the segment")]
    CrcMismatch,
    /// The CRC is the one of Modbus.
    #[error("the CRC is CRC-16/MODBUS and not that of HJ 212")]
    CrcModbus,
}

impl FaultKind {
    /// Stable text.
    pub fn code(self) -> &'static str {
        match self {
            Self::Garbage => "garbage",
            Self::LengthNotANumber => "length_not_a_number",
            Self::OverLimit => "over_limit",
            Self::LengthMismatch => "length_mismatch",
            Self::CutOff => "cut_off",
            Self::CrcNotHex => "crc_not_hex",
            Self::CrcMismatch => "crc_mismatch",
            Self::CrcModbus => "crc_modbus",
        }
    }
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} (byte {at})")]
pub struct FrameError {
    /// What is wrong.
    pub kind: FaultKind,
    /// Offset of the byte at which it shows, from the first of the fault's bytes.
    pub at: usize,
}

impl FrameError {
    /// Stable text.
    pub fn code(&self) -> &'static str {
        self.kind.code()
    }
}

/// Bytes of a stream that belong to no good frame.
pub type Fault = stream::Fault<FrameError>;
/// A frame or a fault, in the order of the stream.
pub type Piece = stream::Piece<Frame, FrameError>;

impl Fault {
    /// The data segment, when the frame was whole but for its CRC: the sender is to be told (`QnRtn=9`).
    pub fn segment(&self) -> Option<&[u8]> {
        match self.error.kind {
            FaultKind::CrcMismatch | FaultKind::CrcModbus | FaultKind::CrcNotHex => {
                self.skipped.get(HEAD..self.skipped.len().checked_sub(TAIL)?)
            }
            _ => None,
        }
    }
}

/// Finds frames in a byte stream. Between calls it holds less than one frame of the longest length that it
/// takes.
#[derive(Debug)]
pub struct Framer {
    limit: usize,
    buffer: Vec<u8>,
    /// Offset in the stream of the first byte of `buffer`.
    start: u64,
    /// How much of `buffer` was looked at in vain for the end of its frame.
    searched: usize,
}

impl Default for Framer {
    fn default() -> Self {
        Self::new(MAX_SEGMENT)
    }
}

enum Look {
    /// More bytes are needed.
    More,
    /// So many bytes are one frame.
    Frame(usize, Frame),
    /// What begins here is none; skip at least so many bytes.
    Fault(FaultKind, usize, usize),
}

impl Framer {
    /// A framer that takes segments of at most `limit` bytes on the wire.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            buffer: Vec::new(),
            start: 0,
            searched: 0,
        }
    }

    /// Takes the next bytes and gives what is whole by now.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Piece> {
        self.buffer.extend_from_slice(bytes);
        std::iter::from_fn(|| self.next_piece()).collect()
    }

    /// Gives up waiting for the rest of what has begun: when the line has been quiet for too long, or has ended.
    /// Frames inside what was waited for are found; nothing is kept after it.
    pub fn give_up(&mut self) -> Vec<Piece> {
        std::iter::from_fn(|| self.last_piece()).collect()
    }

    /// How many bytes wait for the rest of their frame.
    pub fn n_waiting(&self) -> usize {
        self.buffer.len()
    }

    fn next_piece(&mut self) -> Option<Piece> {
        if !self.buffer.starts_with(b"##") {
            let n = self.garbage()?;
            return Some(self.fault(FaultKind::Garbage, 0, n));
        }
        match self.look() {
            Look::More => None,
            Look::Frame(n, frame) => Some(Piece::Frame {
                frame,
                at: self.start,
                bytes: self.take(n),
            }),
            Look::Fault(kind, at, least) => {
                let n = match kind {
                    // These frames are whole: what follows is not theirs.
                    FaultKind::CrcMismatch | FaultKind::CrcModbus | FaultKind::CrcNotHex => least,
                    _ => self.to_next_head(least),
                };
                Some(self.fault(kind, at, n))
            }
        }
    }

    fn last_piece(&mut self) -> Option<Piece> {
        if let Some(piece) = self.next_piece() {
            return Some(piece);
        }
        if self.buffer.is_empty() {
            return None;
        }
        let (kind, least) = match self.buffer.starts_with(b"##") {
            true => (FaultKind::CutOff, 2),
            false => (FaultKind::Garbage, 1),
        };
        let n = self.to_next_head(least);
        let at = if kind == FaultKind::CutOff { n } else { 0 };
        Some(self.fault(kind, at, n))
    }

    /// How many bytes in front of the next `##` are no frame, when they can be said: a head follows, a line
    /// ends or they are many.
    fn garbage(&self) -> Option<usize> {
        if let Some(head) = find(&self.buffer, b"##") {
            return Some(head);
        }
        // The last byte may be the first half of a head.
        let sure = self.buffer.len() - usize::from(self.buffer.ends_with(b"#"));
        let many = self.buffer.len() > self.limit.max(STANDARD_SEGMENT);
        (sure > 0 && (many || self.buffer.ends_with(b"\n"))).then_some(sure)
    }

    fn look(&mut self) -> Look {
        let buffer = &self.buffer;
        let Some(length) = buffer.get(2..HEAD) else {
            // What is not a digit shows before all four are there.
            return match buffer[2..].iter().position(|b| !b.is_ascii_digit()) {
                Some(i) => Look::Fault(FaultKind::LengthNotANumber, 2 + i, 1),
                None => Look::More,
            };
        };
        if let Some(i) = length.iter().position(|b| !b.is_ascii_digit()) {
            return Look::Fault(FaultKind::LengthNotANumber, 2 + i, 1);
        }
        let declared = length
            .iter()
            .fold(0, |n, digit| n * 10 + usize::from(digit - b'0'));
        if declared > self.limit {
            return Look::Fault(FaultKind::OverLimit, 2, 2);
        }
        let end = HEAD + declared + TAIL;
        // Neither the end of a frame nor the beginning of one is part of a segment.
        let from = self.searched.max(HEAD);
        let within = &buffer[..buffer.len().min(end)];
        if let Some((kind, at, least)) = border(within, from, end) {
            return Look::Fault(kind, at, least);
        }
        if buffer.len() < end {
            self.searched = within.len().saturating_sub(BORDER - 1);
            return Look::More;
        }
        let body = &buffer[HEAD..HEAD + declared];
        if &buffer[end - 2..end] == b"\r\n" {
            let sent = &buffer[end - TAIL..end - 2];
            return match hex4(sent) {
                None => Look::Fault(FaultKind::CrcNotHex, end - TAIL, end),
                Some(value) => self.checked(value, sent, body, declared, end),
            };
        }
        self.sealed(declared, end)
    }

    /// The frame of a segment whose end is known.
    fn checked(&self, value: u16, sent: &[u8], body: &[u8], declared: usize, end: usize) -> Look {
        // The CRC of an encrypted segment is that of its plain text. It may fit what was sent by chance, one time in
        // 256, because the CRC carries eight bits from byte to byte.
        let sealed = is_sealed(body);
        if !sealed && crc(body) != value {
            let kind = match modbus_crc(body) == value {
                true => FaultKind::CrcModbus,
                false => FaultKind::CrcMismatch,
            };
            return Look::Fault(kind, end - TAIL, end);
        }
        let frame = Frame {
            segment: body.to_vec(),
            declared,
            crc: value,
            lower_case: sent.iter().any(u8::is_ascii_lowercase),
            sealed,
        };
        Look::Frame(end, frame)
    }

    /// An encrypted segment is longer than the plain one that its length field may speak of: its end is
    /// found by `&&`, CRC, CR LF.
    fn sealed(&mut self, declared: usize, end: usize) -> Look {
        let most = HEAD + self.limit + TAIL;
        let within = &self.buffer[..self.buffer.len().min(most)];
        if !is_sealed(&within[HEAD..HEAD + declared]) {
            return Look::Fault(FaultKind::LengthMismatch, end - 2, 2);
        }
        // A border that ends inside the plain length was looked for before.
        let from = self.searched.max(end.saturating_sub(BORDER)).max(HEAD);
        match border(within, from, usize::MAX) {
            Some((FaultKind::LengthMismatch, _, stop)) => {
                let sent = &within[stop - TAIL..stop - 2];
                let body = &within[HEAD..stop - TAIL];
                match hex4(sent) {
                    Some(value) => self.checked(value, sent, body, declared, stop),
                    None => Look::Fault(FaultKind::CrcNotHex, stop - TAIL, stop),
                }
            }
            Some((kind, at, least)) => Look::Fault(kind, at, least),
            None if self.buffer.len() >= most => Look::Fault(FaultKind::LengthMismatch, end - 2, 2),
            None => {
                self.searched = within.len().saturating_sub(BORDER - 1);
                Look::More
            }
        }
    }

    /// How many bytes to skip so that the buffer begins with a head again; at least `least`.
    fn to_next_head(&self, least: usize) -> usize {
        let least = least.min(self.buffer.len());
        let rest = &self.buffer[least..];
        match find(rest, b"##") {
            Some(head) => least + head,
            None => self.buffer.len() - usize::from(rest.ends_with(b"#")),
        }
    }

    fn fault(&mut self, kind: FaultKind, at: usize, n: usize) -> Piece {
        Piece::Fault(Fault {
            error: FrameError { kind, at },
            at: self.start,
            skipped: self.take(n),
        })
    }

    fn take(&mut self, n: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(n);
        self.start += n as u64;
        self.searched = 0;
        std::mem::replace(&mut self.buffer, rest)
    }
}

/// Longest mark of a border: `##` and four digits and `QN=`.
const BORDER: usize = 9;

/// The first place from `from` on that cannot be inside a segment: the end of a frame (`&&`, four hexadecimal
/// digits, CR LF) other than at `end`, or the beginning of one (`##`, four digits, `QN=` or `ST=`). What it is,
/// where, and how many bytes to skip.
fn border(bytes: &[u8], from: usize, end: usize) -> Option<(FaultKind, usize, usize)> {
    (from..bytes.len()).find_map(|i| {
        let rest = &bytes[i..];
        match rest.first() {
            Some(b'&') if rest.len() >= 8 => {
                let is_end = rest.starts_with(b"&&") && hex4(&rest[2..6]).is_some() && &rest[6..8] == b"\r\n";
                (is_end && i + 8 != end).then_some((FaultKind::LengthMismatch, i + 6, i + 8))
            }
            Some(b'#') if rest.len() >= BORDER => {
                let is_head = rest.starts_with(b"##")
                    && rest[2..6].iter().all(u8::is_ascii_digit)
                    && (&rest[6..9] == b"QN=" || &rest[6..9] == b"ST=");
                is_head.then_some((FaultKind::CutOff, i, i))
            }
            _ => None,
        }
    })
}

/// Whether CP begins as encrypted text does.
pub(super) fn is_sealed(segment: &[u8]) -> bool {
    find(segment, b"CP=&&{0x").is_some() || find(segment, b"CP=&&{0X").is_some()
}

pub(super) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests;
