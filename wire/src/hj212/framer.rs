//! Frames out of a byte stream, however it is cut: `##`, length, data segment, CRC, CR LF.
//!
//! A frame is taken when head, length and CRC fit, whatever its texts look like.
//! What is no frame comes out as a [`Fault`] with its place and its bytes, and the search goes on at the
//! next `##`. The same bytes give the same frames and faults however they are split into pieces: what is
//! skipped belongs to its fault up to the next `##`, the end of the wait ([`Framer::give_up`]) or 4,096 bytes.

use super::crc::{crc, hex4, modbus_crc};
use crate::stream;

/// Longest data segment on the wire that is taken unless the caller says otherwise. The standard's limit is
/// 1024; devices of 2005 send 1600, and an encrypted segment has five bytes for each of its own.
pub const MAX_SEGMENT: usize = 8192;
/// The standard's longest data segment.
pub const STANDARD_SEGMENT: usize = 1024;
const HEAD: usize = 6;
const TAIL: usize = 6;
/// Longest fault, unless its frame is longer: what is kept of one in the quarantine.
const MAX_FAULT: usize = 4096;

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
    /// How much of `buffer` was looked at in vain for the end of its frame, or for the next head.
    searched: usize,
    /// What is wrong with the first bytes of `buffer`, where, and how many of them are its own at least.
    bad: Option<(FaultKind, usize, usize)>,
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
    /// So many bytes are one frame, and it is wrong: what follows is not its.
    Wrong(FaultKind, usize, usize),
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
            bad: None,
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
        if self.bad.is_none() {
            match self.look() {
                Look::More => return None,
                Look::Frame(n, frame) => {
                    return Some(Piece::Frame {
                        frame,
                        at: self.start,
                        bytes: self.take(n),
                    });
                }
                Look::Wrong(kind, at, n) => return Some(self.fault(kind, at, n)),
                Look::Fault(kind, at, least) => {
                    self.bad = Some((kind, at, least));
                    self.searched = 0;
                }
            }
        }
        let (kind, at, least) = self.bad?;
        let n = self.find_next_head(least)?;
        Some(self.fault(kind, at, n))
    }

    fn last_piece(&mut self) -> Option<Piece> {
        if let Some(piece) = self.next_piece() {
            return Some(piece);
        }
        if self.buffer.is_empty() {
            return None;
        }
        // No head stands behind what is already known to be wrong.
        if let Some((kind, at, _)) = self.bad {
            return Some(self.fault(kind, at, self.buffer.len()));
        }
        if !self.buffer.starts_with(b"##") {
            return Some(self.fault(FaultKind::Garbage, 0, self.buffer.len()));
        }
        let head = find(&self.buffer[2..], b"##").map(|head| 2 + head);
        let n = head.unwrap_or(self.buffer.len());
        Some(self.fault(FaultKind::CutOff, n, n))
    }

    fn look(&mut self) -> Look {
        let buffer = &self.buffer;
        match buffer.as_slice() {
            [] | [b'#'] => return Look::More,
            [b'#', b'#', ..] => {}
            _ => return Look::Fault(FaultKind::Garbage, 0, 1),
        }
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
        // The end of a frame is no part of a segment. What looks like the beginning of one may stand in a text: it is one
        // where an end follows, and where the frame does not fit.
        let from = self.searched.max(HEAD);
        let within = &buffer[..buffer.len().min(end)];
        if let Some(stop) = (from..within.len()).find(|i| i + 8 != end && is_end(&within[*i..])) {
            return match head_in(&within[..stop]) {
                Some(head) => Look::Wrong(FaultKind::CutOff, head, head),
                None => Look::Wrong(FaultKind::LengthMismatch, stop + 6, stop + 8),
            };
        }
        if buffer.len() < end {
            self.searched = within.len().saturating_sub(END - 1);
            return Look::More;
        }
        let body = &buffer[HEAD..HEAD + declared];
        let ends = &buffer[end - 2..end] == b"\r\n";
        let fit = ends.then(|| {
            let sent = &buffer[end - TAIL..end - 2];
            match hex4(sent) {
                None => Look::Wrong(FaultKind::CrcNotHex, end - TAIL, end),
                Some(value) => self.checked(value, sent, body, declared, end),
            }
        });
        match (fit, head_in(within)) {
            (Some(frame @ Look::Frame(..)), _) => frame,
            (_, Some(head)) => Look::Wrong(FaultKind::CutOff, head, head),
            (Some(wrong), None) => wrong,
            (None, None) => self.sealed(declared, end),
        }
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
            return Look::Wrong(kind, end - TAIL, end);
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
        match border(within, from) {
            Some((FaultKind::LengthMismatch, _, stop)) => {
                let sent = &within[stop - TAIL..stop - 2];
                let body = &within[HEAD..stop - TAIL];
                match hex4(sent) {
                    Some(value) => self.checked(value, sent, body, declared, stop),
                    None => Look::Wrong(FaultKind::CrcNotHex, stop - TAIL, stop),
                }
            }
            Some((kind, at, n)) => Look::Wrong(kind, at, n),
            None if self.buffer.len() >= most => Look::Fault(FaultKind::LengthMismatch, end - 2, 2),
            None => {
                self.searched = within.len().saturating_sub(BORDER - 1);
                Look::More
            }
        }
    }

    /// How many bytes to skip so that the buffer begins with a head again, at least `least`; as many as one fault holds when
    /// no head is among them. `None` when more bytes are needed to say it.
    fn find_next_head(&mut self, least: usize) -> Option<usize> {
        let most = MAX_FAULT.min(HEAD + self.limit + TAIL).max(least);
        let from = self.searched.max(least);
        // One byte more: the last one of the fault may be the first half of a head.
        let within = &self.buffer[..self.buffer.len().min(most + 1)];
        let head = within.get(from..).and_then(|rest| find(rest, b"##"));
        match head {
            Some(head) => Some(from + head),
            None if within.len() > most => Some(most),
            None => {
                self.searched = within.len().saturating_sub(1);
                None
            }
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
        self.bad = None;
        std::mem::replace(&mut self.buffer, rest)
    }
}

/// The end of a frame: `&&`, four hexadecimal digits, CR LF.
const END: usize = 8;

fn is_end(rest: &[u8]) -> bool {
    rest.len() >= END && rest.starts_with(b"&&") && hex4(&rest[2..6]).is_some() && &rest[6..8] == b"\r\n"
}

/// The beginning of a frame: `##`, four digits, `QN=` or `ST=`.
fn is_head(rest: &[u8]) -> bool {
    rest.len() >= BORDER
        && rest.starts_with(b"##")
        && rest[2..6].iter().all(u8::is_ascii_digit)
        && (&rest[6..9] == b"QN=" || &rest[6..9] == b"ST=")
}

/// The first beginning of another frame behind a frame's head.
fn head_in(frame: &[u8]) -> Option<usize> {
    (HEAD..frame.len()).find(|i| is_head(&frame[*i..]))
}

/// Longest mark of a border: `##` and four digits and `QN=`.
const BORDER: usize = 9;

/// The first place from `from` on that is the end of a frame or the beginning of one, in an encrypted segment of which the
/// end is looked for: what it is, where, and where what came before it ends.
fn border(bytes: &[u8], from: usize) -> Option<(FaultKind, usize, usize)> {
    (from..bytes.len()).find_map(|i| {
        let rest = &bytes[i..];
        if is_end(rest) {
            Some((FaultKind::LengthMismatch, i + 6, i + 8))
        } else {
            is_head(rest).then_some((FaultKind::CutOff, i, i))
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
