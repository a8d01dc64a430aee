//! Frames from segments, and a segment that is too long from several packets.

use super::crc::crc;
use super::flag::Flag;
use super::segment::{Group, Segment};

/// Longest CP of the standard, in bytes.
pub const MAX_CP: usize = 950;
/// What four digits of length can say.
const MAX_DECLARED: usize = 9999;

/// Why a segment cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The length field has four digits.
    #[error("the segment has {0} bytes, four digits of length say at most 9999")]
    TooLong(usize),
    /// One group alone is longer than a packet's CP.
    #[error("group {index} of CP has {bytes} bytes, a packet holds {most}")]
    GroupTooLong {
        /// Number of the group, from 0.
        index: usize,
        /// Its length.
        bytes: usize,
        /// What a packet holds beside DataTime.
        most: usize,
    },
}

impl EncodeError {
    /// Stable text.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "segment_too_long",
            Self::GroupTooLong { .. } => "group_too_long",
        }
    }
}

/// The frame of a segment.
///
/// # Errors
/// [`EncodeError::TooLong`] beyond 9999 bytes; the standard's own limit of 1024 is for [`split`] to keep.
pub fn encode(segment: &Segment) -> Result<Vec<u8>, EncodeError> {
    let text = segment.text();
    frame(text.len(), crc(text.as_bytes()), text.as_bytes())
}

/// `##`, the length that is told, the bytes, the CRC that is told, CR LF.
pub(super) fn frame(declared: usize, crc: u16, bytes: &[u8]) -> Result<Vec<u8>, EncodeError> {
    if declared > MAX_DECLARED {
        return Err(EncodeError::TooLong(declared));
    }
    let mut frame = format!("##{declared:04}").into_bytes();
    frame.extend_from_slice(bytes);
    frame.extend_from_slice(format!("{crc:04X}\r\n").as_bytes());
    Ok(frame)
}

/// Splits a segment whose CP is longer than 950 bytes into packets at the borders of its groups. Each has
/// PNUM and PNO, the bit of Flag that says so, DataTime again, and the QN that `qn` gives for its number,
/// from 1. A segment that fits comes back alone, as it is.
///
/// # Errors
/// [`EncodeError::GroupTooLong`] when one group does not fit into a packet.
pub fn split(segment: &Segment, mut qn: impl FnMut(usize) -> String) -> Result<Vec<Segment>, EncodeError> {
    if segment.cp_text().len() <= MAX_CP {
        return Ok(vec![segment.clone()]);
    }
    let length = |group: &Group| {
        let items = group.0.iter();
        items
            .map(|i| i.key.len() + i.value.as_ref().map_or(0, |v| v.len() + 1) + 1)
            .sum::<usize>()
    };
    let is_stamp = |group: &&Group| group.value("DataTime").is_some() && group.0.len() == 1;
    let stamp = segment.cp.iter().find(is_stamp);
    let most = MAX_CP - stamp.map_or(0, length);
    let mut packets: Vec<Vec<Group>> = Vec::new();
    let mut room = 0;
    for (index, group) in segment
        .cp
        .iter()
        .enumerate()
        .filter(|(_, group)| !is_stamp(group))
    {
        let bytes = length(group);
        if bytes > most {
            return Err(EncodeError::GroupTooLong { index, bytes, most });
        }
        if bytes > room || packets.is_empty() {
            packets.push(stamp.cloned().into_iter().collect());
            room = most;
        }
        room -= bytes;
        if let Some(packet) = packets.last_mut() {
            packet.push(group.clone());
        }
    }
    let flag = segment.flag().unwrap_or_default();
    let flag = Flag::new(flag.version(), true, flag.wants_answer()).0.to_string();
    let n_packets = packets.len().to_string();
    let numbered = packets.into_iter().enumerate().map(|(i, cp)| {
        let whole = Segment {
            cp,
            ..segment.clone()
        };
        whole
            .with("QN", qn(i + 1))
            .with("Flag", &flag)
            .with("PNUM", &n_packets)
            .with("PNO", (i + 1).to_string())
    });
    Ok(numbered.collect())
}
