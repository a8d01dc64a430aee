//! Every way a frame or its application data can be refused, with the byte where.

/// Why bytes are not a frame of GB/T 26875.3, or its application data cannot be read.
///
/// `at` counts bytes from the start of the frame, from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// 40 40 does not stand where a frame begins.
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
    /// More application data than a frame carries.
    #[error("the length at byte {at} is {got}, application data has at most 1024 bytes")]
    Length {
        /// Where.
        at: usize,
        /// What it says.
        got: usize,
    },
    /// 23 23 does not stand where the frame ends.
    #[error("the frame does not end with 2323 at byte {at}")]
    End {
        /// Where.
        at: usize,
    },
    /// The checksum is another.
    #[error("the frame says checksum {sent:02X}, its bytes have {calculated:02X}")]
    Checksum {
        /// Where it stands.
        at: usize,
        /// What the frame says.
        sent: u8,
        /// What its bytes give.
        calculated: u8,
    },
    /// More objects than the type allows.
    #[error("{got} objects are announced at byte {at}, type {kind} has at most {most}")]
    Count {
        /// Where.
        at: usize,
        /// Type of the application data.
        kind: u8,
        /// What it says.
        got: u8,
        /// How many it may be.
        most: u8,
    },
    /// The data end inside an object.
    #[error("the data end inside {what} that starts at byte {at} and needs {need} bytes")]
    DataEnd {
        /// Where that starts.
        at: usize,
        /// What.
        what: &'static str,
        /// How many bytes it needs.
        need: usize,
    },
    /// Bytes after the last object.
    #[error("{extra} bytes at byte {at} follow the last object")]
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
            | Error::Length { at, .. }
            | Error::End { at }
            | Error::Checksum { at, .. }
            | Error::Count { at, .. }
            | Error::DataEnd { at, .. }
            | Error::Surplus { at, .. } => *at,
        }
    }

    /// The stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Error::NoStart { .. } => "no_start",
            Error::Truncated { .. } => "truncated",
            Error::Trailing { .. } => "trailing_bytes",
            Error::Length { .. } => "length",
            Error::End { .. } => "end_mark",
            Error::Checksum { .. } => "checksum",
            Error::Count { .. } => "object_count",
            Error::DataEnd { .. } => "data_end",
            Error::Surplus { .. } => "surplus",
        }
    }
}
