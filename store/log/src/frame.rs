//! How one record stands in a file, and the mark that begins every commit.
//!
//! ```text
//! record  = body length u32 LE | crc32 u32 LE (over kind and body) | kind u8 | body
//! mark    = record of kind 255 with body: salt u64 LE | position of the next record u64 LE
//! ```
//! The commit thread starts to write only when all before is synced. A mark therefore proves that
//! every byte before it was once durable, and its absence bounds what a power cut may have torn. The
//! salt is random for each segment, so that no payload can pretend to be a mark.

use std::ops::Range;

/// Largest body of one record.
pub const MAX_RECORD_BYTES: usize = 16 << 20;
/// The most a head may announce: a carried record also holds its position.
const MAX_LENGTH: usize = MAX_RECORD_BYTES + 8;
/// Bytes before a body.
pub(crate) const HEAD_BYTES: usize = 9;
/// Kind of a mark. Marks have no position and no reader sees them.
pub(crate) const KIND_MARK: u8 = 255;
/// Bytes of a mark.
pub(crate) const MARK_BYTES: usize = HEAD_BYTES + 16;

/// What stands at the start of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// A whole record; `body` is its range in the bytes given, which ends where the record ends.
    Record { kind: u8, body: Range<usize> },
    /// Not a whole record yet: this many bytes are needed from its start.
    Need(usize),
    /// No record.
    Bad(&'static str),
}

/// Reads the record at the start of `bytes`.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let Some((head, _)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return Parsed::Need(HEAD_BYTES);
    };
    let [l0, l1, l2, l3, c0, c1, c2, c3, kind] = *head;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length > MAX_LENGTH {
        return Parsed::Bad("its length is impossible");
    }
    let end = HEAD_BYTES + length;
    let Some(summed) = bytes.get(HEAD_BYTES - 1..end) else {
        return Parsed::Need(end);
    };
    if crc32fast::hash(summed) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Parsed::Bad("its checksum does not fit");
    }
    Parsed::Record {
        kind,
        body: HEAD_BYTES..end,
    }
}

/// Fills in the head of the record that starts at `start` and reaches to the end of `bytes`.
///
/// The caller has left [`HEAD_BYTES`] of room and kept the body within [`MAX_RECORD_BYTES`].
pub(crate) fn seal(bytes: &mut [u8], start: usize, kind: u8) {
    let record = &mut bytes[start..];
    let length = (record.len() - HEAD_BYTES) as u32;
    record[HEAD_BYTES - 1] = kind;
    let crc = crc32fast::hash(&record[HEAD_BYTES - 1..]);
    record[..4].copy_from_slice(&length.to_le_bytes());
    record[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// The mark that stands before record `position`.
pub(crate) fn mark(salt: u64, position: u64) -> [u8; MARK_BYTES] {
    let mut bytes = [0; MARK_BYTES];
    bytes[HEAD_BYTES..HEAD_BYTES + 8].copy_from_slice(&salt.to_le_bytes());
    bytes[HEAD_BYTES + 8..].copy_from_slice(&position.to_le_bytes());
    seal(&mut bytes, 0, KIND_MARK);
    bytes
}

/// The position a mark's body announces, if it is a mark of the segment with this salt.
pub(crate) fn mark_position(salt: u64, body: &[u8]) -> Option<u64> {
    let (theirs, position) = body.split_first_chunk::<8>()?;
    (*theirs == salt.to_le_bytes()).then_some(u64::from_le_bytes(position.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEAD_BYTES];
        bytes.extend_from_slice(body);
        seal(&mut bytes, 0, kind);
        bytes
    }

    #[test]
    fn a_record_reads_back_and_every_cut_asks_for_more() {
        let bytes = record(7, b"water level 1.23");
        let whole = Parsed::Record {
            kind: 7,
            body: HEAD_BYTES..bytes.len(),
        };
        assert_eq!(parse(&bytes), whole);
        for cut in 0..bytes.len() {
            let need = if cut < HEAD_BYTES { HEAD_BYTES } else { bytes.len() };
            assert_eq!(parse(&bytes[..cut]), Parsed::Need(need), "cut at {cut}");
        }
    }

    #[test]
    fn any_flipped_bit_is_seen() {
        let bytes = record(7, b"water level 1.23");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(parse(&flipped), Parsed::Record { .. }), "bit {bit}");
        }
    }

    #[test]
    fn zeros_are_not_a_record_and_a_foreign_salt_is_not_a_mark() {
        assert!(matches!(parse(&[0; 64]), Parsed::Bad(_)));
        let bytes = mark(0xABCD, 42);
        let Parsed::Record { kind, body } = parse(&bytes) else {
            panic!("a mark is a record")
        };
        assert_eq!(kind, KIND_MARK);
        assert_eq!(mark_position(0xABCD, &bytes[body.clone()]), Some(42));
        assert_eq!(mark_position(0xABCE, &bytes[body]), None);
        assert_eq!(mark_position(0xABCD, b"short"), None);
    }
}
