//! Encoded records on their way to a log.

use crate::{
    LogError,
    frame::{self, HEAD_BYTES, KIND_MARK, MAX_RECORD_BYTES},
};

/// Records encoded outside the log's lock and appended together, in order.
///
/// A batch is not a transaction: after a crash its first records may be there without its last. It is
/// kept by its owner and reused: [`Batch::clear`] keeps the memory.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    n_records: u64,
    refused: Option<Refused>,
}

#[derive(Clone, Copy, Debug)]
enum Refused {
    TooLarge(usize),
    ReservedKind,
}

impl Refused {
    fn error(self) -> LogError {
        match self {
            Self::TooLarge(bytes) => LogError::RecordTooLarge { bytes },
            Self::ReservedKind => LogError::ReservedKind,
        }
    }
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record; `encode` appends its body to the bytes it is given.
    ///
    /// A record that cannot be kept (body over [`MAX_RECORD_BYTES`], kind 255) leaves the bytes as
    /// they were and makes the append of this batch fail with its reason, so that it is not lost in
    /// silence. Use [`Batch::try_push`] to learn of it at once.
    ///
    /// # Panics
    /// When `encode` removes bytes that were there before.
    pub fn push(&mut self, kind: u8, encode: impl FnOnce(&mut Vec<u8>)) {
        if let Err(refused) = self.encode(kind, encode) {
            self.refused.get_or_insert(refused);
        }
    }

    /// Adds a record like [`Batch::push`], or leaves the batch as it was and says why.
    ///
    /// # Errors
    /// [`LogError::RecordTooLarge`], [`LogError::ReservedKind`].
    ///
    /// # Panics
    /// As [`Batch::push`].
    pub fn try_push(&mut self, kind: u8, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), LogError> {
        self.encode(kind, encode).map_err(Refused::error)
    }

    fn encode(&mut self, kind: u8, encode: impl FnOnce(&mut Vec<u8>)) -> Result<(), Refused> {
        if kind == KIND_MARK {
            return Err(Refused::ReservedKind);
        }
        let start = self.bytes.len();
        self.bytes.resize(start + HEAD_BYTES, 0);
        encode(&mut self.bytes);
        let end = self.bytes.len();
        assert!(
            end >= start + HEAD_BYTES,
            "a record's encoder removed bytes before its own"
        );
        let body = end - start - HEAD_BYTES;
        if body > MAX_RECORD_BYTES {
            self.bytes.truncate(start);
            return Err(Refused::TooLarge(body));
        }
        frame::seal(&mut self.bytes, start, kind);
        self.n_records += 1;
        Ok(())
    }

    /// Number of records.
    #[allow(clippy::len_without_is_empty, reason = "is_empty is below")]
    pub fn len(&self) -> usize {
        self.n_records as usize
    }

    /// Size as written, heads included, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// True when there is nothing to append and nothing was refused.
    pub fn is_empty(&self) -> bool {
        self.n_records == 0 && self.refused.is_none()
    }

    /// Forgets the records, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.n_records = 0;
        self.refused = None;
    }

    /// The encoded records and their number, or why the batch cannot be appended.
    pub(crate) fn encoded(&self) -> Result<(&[u8], u64), LogError> {
        match self.refused {
            Some(refused) => Err(refused.error()),
            None => Ok((&self.bytes, self.n_records)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_refused_record_fails_the_batch_with_its_reason_and_clear_heals_it() {
        let mut batch = Batch::new();
        batch.push(1, |out| out.extend_from_slice(b"a"));
        batch.push(1, |out| out.resize(out.len() + MAX_RECORD_BYTES + 1, 0));
        batch.push(2, |out| out.extend_from_slice(b"b"));
        assert_eq!(batch.len(), 2);
        assert!(matches!(
            batch.encoded(),
            Err(LogError::RecordTooLarge { bytes }) if bytes == MAX_RECORD_BYTES + 1
        ));
        batch.clear();
        assert!(batch.is_empty());
        batch
            .try_push(1, |out| out.resize(out.len() + MAX_RECORD_BYTES, 0))
            .unwrap();
        assert!(matches!(batch.try_push(255, |_| {}), Err(LogError::ReservedKind)));
        assert_eq!(batch.encoded().unwrap().1, 1);
    }
}
