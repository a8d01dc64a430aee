//! A frame to its segment: the CRC of an encrypted one is checked here, because it is that of the plain text.

use super::crc::hex4;
use super::framer::{Frame, is_sealed};
use super::seal::{Key, SealError, unseal};
use super::segment::{Quirk, Segment, SegmentError};

/// Why a frame is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Its segment names no device or no command.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// It is encrypted, and there is no key.
    #[error("CP is encrypted and there is no key (byte {at})")]
    NoKey {
        /// Offset of the encrypted text in the segment.
        at: usize,
    },
    /// Its encrypted text cannot be read.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The CRC does not fit what was decrypted, or that is no text: another key, or damage.
    #[error("the decrypted segment is no text or its CRC does not fit (byte {at})")]
    CrcAfterUnseal {
        /// Offset of the encrypted text in the segment.
        at: usize,
    },
    /// The length field is that of neither the encrypted nor the plain segment.
    #[error("the length {declared} is neither {plain} of the plain nor {sealed} of the encrypted segment")]
    Length {
        /// What the length field says.
        declared: usize,
        /// Bytes of the plain segment.
        plain: usize,
        /// Bytes of the segment on the wire.
        sealed: usize,
    },
}

impl DecodeError {
    /// Stable text.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Segment(error) => error.code(),
            Self::NoKey { .. } => "no_key",
            Self::Seal(_) => "sealed_text",
            Self::CrcAfterUnseal { .. } => "crc_mismatch",
            Self::Length { .. } => "length_mismatch",
        }
    }
    /// Offset in the segment of the byte at which it shows.
    pub fn at(&self) -> usize {
        match self {
            Self::Segment(error) => error.at,
            Self::NoKey { at } | Self::CrcAfterUnseal { at } => *at,
            Self::Seal(error) => error.at,
            Self::Length { .. } => 0,
        }
    }
}

/// Reads one frame; `key` opens an encrypted one.
///
/// # Errors
/// [`DecodeError`], with the offset in the segment.
pub fn decode(frame: &Frame, key: Option<&Key>) -> Result<Segment, DecodeError> {
    let mut segment = if frame.sealed {
        let at = seal_start(&frame.segment);
        let key = key.ok_or(DecodeError::NoKey { at })?;
        let plain = unseal(&frame.segment, key)?;
        // A damaged block decrypts to noise, which the CRC alone lets pass one time in 256.
        let is_text = std::str::from_utf8(&plain).is_ok_and(|text| !text.contains(char::is_control));
        if super::crc(&plain) != frame.crc || !is_text {
            return Err(DecodeError::CrcAfterUnseal { at });
        }
        let (declared, sealed) = (frame.declared, frame.segment.len());
        if declared != plain.len() && declared != sealed {
            return Err(DecodeError::Length {
                declared,
                plain: plain.len(),
                sealed,
            });
        }
        Segment::parse(&plain)?
    } else {
        Segment::parse(&frame.segment)?
    };
    if frame.lower_case {
        segment.quirks.push(Quirk::LowerCaseCrc);
    }
    if frame.is_long() {
        segment.quirks.push(Quirk::LongSegment);
    }
    Ok(segment)
}

/// Reads one frame with the key of several that opens it, and says which that was; `None` of a plain frame. The CRC
/// tells the right key, and of another one in 256 that opens by chance the check for text.
///
/// # Errors
/// [`DecodeError::NoKey`] of an encrypted frame without keys; when no key opens it, what the first one met.
pub fn decode_with(frame: &Frame, keys: &[Key]) -> Result<(Segment, Option<usize>), DecodeError> {
    if !frame.sealed || keys.is_empty() {
        return decode(frame, None).map(|segment| (segment, None));
    }
    let mut first = None;
    for (i, key) in keys.iter().enumerate() {
        match decode(frame, Some(key)) {
            Ok(segment) => return Ok((segment, Some(i))),
            Err(error) => first = first.or(Some(error)),
        }
    }
    let at = seal_start(&frame.segment);
    Err(first.unwrap_or(DecodeError::NoKey { at }))
}

/// The segment of one whole frame as a journal holds it. Its CRC is looked at again only where it is that of
/// decrypted text: the bytes were cut out of their stream by a [`Framer`](super::Framer).
///
/// # Errors
/// [`DecodeError`]; `None` when the bytes are no frame.
pub fn segment_of(bytes: &[u8], keys: &[Key]) -> Option<Result<Segment, DecodeError>> {
    let body = bytes.strip_prefix(b"##")?.strip_suffix(b"\r\n")?;
    let (length, rest) = body.split_at_checked(4)?;
    let (segment, sent) = rest.split_at_checked(rest.len().checked_sub(4)?)?;
    let declared = std::str::from_utf8(length).ok()?.parse().ok()?;
    let frame = Frame {
        sealed: is_sealed(segment),
        segment: segment.to_vec(),
        declared,
        crc: hex4(sent)?,
        lower_case: sent.iter().any(u8::is_ascii_lowercase),
    };
    let is_whole = frame.sealed || declared == frame.segment.len();
    is_whole.then(|| decode_with(&frame, keys).map(|(segment, _)| segment))
}

fn seal_start(segment: &[u8]) -> usize {
    super::framer::find(segment, b"CP=&&{").map_or(0, |at| at + "CP=&&".len())
}
