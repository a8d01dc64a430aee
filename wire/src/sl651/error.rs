//! Every way a frame or its body can be refused, with the byte where.

/// Why bytes are not a frame of SL 651, or its body cannot be read.
///
/// `at` counts bytes from the start of the frame, from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Neither 7E7E nor 01 stands where a frame begins.
    #[error("no frame starts at byte {at}")]
    NoStart {
        /// Where.
        at: usize,
    },
    /// The bytes end before the frame does.
    #[error("the frame ends at byte {at}, it needs {want} bytes")]
    Truncated {
        /// Where the bytes end.
        at: usize,
        /// How many it needs, as far as is known yet.
        want: usize,
    },
    /// Bytes follow the frame.
    #[error("the frame ends at byte {at}, {extra} bytes follow it")]
    Trailing {
        /// Where the frame ends.
        at: usize,
        /// How many follow.
        extra: usize,
    },
    /// A character of an ASCII frame's envelope is no hexadecimal digit.
    #[error("byte {at} is no hexadecimal digit")]
    NotHex {
        /// Where.
        at: usize,
    },
    /// The high four bits of the length are neither 0 (up) nor 8 (down).
    #[error("the direction at byte {at} is {got:X}, it is 0 or 8")]
    Direction {
        /// Where.
        at: usize,
        /// What stands there.
        got: u8,
    },
    /// The length is 0, or too short for a packet's number, or a text is longer than a frame carries.
    #[error("the length at byte {at} is {got}, a body has 1 to 4095 bytes and a packet at least 4")]
    Length {
        /// Where.
        at: usize,
        /// What it says.
        got: usize,
    },
    /// The character before the body is neither STX nor SYN.
    #[error("the start character at byte {at} is {got:02X}, it is 02 or 16")]
    StartCharacter {
        /// Where.
        at: usize,
        /// What stands there.
        got: u8,
    },
    /// A packet number of 0, or above the number of packets.
    #[error("packet {number} of {total} at byte {at} is not possible")]
    PacketNumber {
        /// Where.
        at: usize,
        /// How many packets.
        total: u16,
        /// Which one.
        number: u16,
    },
    /// The character after the body is none that this direction uses.
    #[error("the end character at byte {at} is {got:02X}, which does not end this direction's frames")]
    EndCharacter {
        /// Where.
        at: usize,
        /// What stands there.
        got: u8,
    },
    /// The checksum is another.
    #[error("the frame says CRC {sent:04X}, its bytes have {calculated:04X}")]
    Crc {
        /// Where the checksum stands.
        at: usize,
        /// What the frame says.
        sent: u16,
        /// What its bytes give.
        calculated: u16,
    },
    /// The body ends inside something.
    #[error("the body ends inside {what} that starts at byte {at} and needs {need} bytes")]
    BodyEnds {
        /// Where that starts.
        at: usize,
        /// What.
        what: &'static str,
        /// How many bytes it needs.
        need: usize,
    },
    /// Something else stands where the function has a certain thing.
    #[error("byte {at} is not {want}")]
    Unexpected {
        /// Where.
        at: usize,
        /// What belongs there.
        want: &'static str,
    },
    /// A body that its function does not have.
    #[error("{extra} bytes at byte {at} do not belong to this function")]
    Surplus {
        /// Where.
        at: usize,
        /// How many.
        extra: usize,
    },
}

impl Error {
    /// The byte of the frame, from 0.
    pub fn at(&self) -> usize {
        match self {
            Error::NoStart { at }
            | Error::Truncated { at, .. }
            | Error::Trailing { at, .. }
            | Error::NotHex { at }
            | Error::Direction { at, .. }
            | Error::Length { at, .. }
            | Error::StartCharacter { at, .. }
            | Error::PacketNumber { at, .. }
            | Error::EndCharacter { at, .. }
            | Error::Crc { at, .. }
            | Error::BodyEnds { at, .. }
            | Error::Unexpected { at, .. }
            | Error::Surplus { at, .. } => *at,
        }
    }

    /// The stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Error::NoStart { .. } => "no_start",
            Error::Truncated { .. } => "truncated",
            Error::Trailing { .. } => "trailing_bytes",
            Error::NotHex { .. } => "not_hex",
            Error::Direction { .. } => "direction",
            Error::Length { .. } => "length",
            Error::StartCharacter { .. } => "start_character",
            Error::PacketNumber { .. } => "packet_number",
            Error::EndCharacter { .. } => "end_character",
            Error::Crc { .. } => "crc",
            Error::BodyEnds { .. } => "body_ends",
            Error::Unexpected { .. } => "unexpected",
            Error::Surplus { .. } => "surplus",
        }
    }
}
