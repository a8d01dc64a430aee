//! Digests of the journal's closed segments: what the audit holds the journal to.

use std::ops::RangeInclusive;

use onemap_log::{LogError, Reader};
use onemap_model::Timestamp;
use onemap_model::record::SegmentDigest;
use sha2::{Digest, Sha256};

use crate::canonical::hex;

/// Why a stretch of the journal has no digest.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// A record is not there.
    #[error("record {position} is gone")]
    Gone {
        /// Its position.
        position: u64,
    },
    /// The journal cannot be read there.
    #[error("the journal cannot be read")]
    Log(#[from] LogError),
}

/// The digest of the records of `span` as [`SegmentDigest`] says it is made. `reader` stands just before the first.
///
/// # Errors
/// See [`SegmentError`].
pub fn digest(
    reader: &mut Reader,
    span: RangeInclusive<u64>,
    at: Timestamp,
) -> Result<SegmentDigest, SegmentError> {
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut head = [0; 13];
    for position in span.clone() {
        let gone = SegmentError::Gone { position };
        let Some(entry) = reader.next()?.filter(|entry| entry.position == position) else {
            return Err(gone);
        };
        head[..8].copy_from_slice(&position.to_le_bytes());
        head[8] = entry.kind;
        head[9..].copy_from_slice(&(entry.body.len() as u32).to_le_bytes());
        hash.update(head);
        hash.update(entry.body);
        bytes += entry.body.len() as u64;
    }
    Ok(SegmentDigest {
        at,
        first: *span.start(),
        last: *span.end(),
        bytes,
        sha256: hex(&hash.finalize()),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_log::{Batch, Config, Log};

    use super::*;

    fn journal(dir: &std::path::Path, bodies: &[&str]) -> Log {
        let (log, _) = Log::open(Config::new(dir)).unwrap();
        for body in bodies {
            let mut batch = Batch::new();
            batch.push(1, |out| out.extend_from_slice(body.as_bytes()));
            let position = log.append_blocking(&batch).unwrap();
            log.wait_durable_blocking(position).unwrap();
        }
        log
    }

    #[test]
    fn a_digest_is_of_positions_kinds_and_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let log = journal(dir.path(), &["甲", "", "c"]);
        let at = Timestamp::from_ms(7);
        let of = |span: RangeInclusive<u64>| {
            let mut reader = log.reader(span.start() - 1).unwrap();
            digest(&mut reader, span, at).unwrap()
        };
        let mut text = Vec::new();
        for (position, body) in [(2_u64, ""), (3, "c")] {
            text.extend(position.to_le_bytes());
            text.push(1);
            text.extend((body.len() as u32).to_le_bytes());
            text.extend(body.as_bytes());
        }
        let expected = SegmentDigest {
            at,
            first: 2,
            last: 3,
            bytes: 1,
            sha256: hex(&Sha256::digest(&text)),
        };
        assert_eq!(of(2..=3), expected);
        assert_ne!(of(1..=3).sha256, expected.sha256);
        let mut reader = log.reader(1).unwrap();
        let beyond = digest(&mut reader, 2..=4, at).unwrap_err();
        assert!(matches!(beyond, SegmentError::Gone { position: 4 }), "{beyond:?}");
    }
}
