//! One poll as the spool keeps it. Pure.
//!
//! Body of a record of kind [`KIND_POLL`], little-endian: time i64 (ms), slave name u8 length + text,
//! then groups: quantity name u8 length + text, u16 count, and count times channel u16 + value f64.
//! Quantities stand by name, because a spool outlives an update of the dictionary.

use onemap_model::{Quantity, Timestamp};
use onemap_wire::Sample;

/// Kind byte of a poll.
pub const KIND_POLL: u8 = 1;

/// What one poll of a slave gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Poll {
    /// When the answer came.
    pub at: Timestamp,
    /// The slave's name in the configuration.
    pub slave: String,
    /// Quantity, channel and canonical value; NaN is a value that is not a number.
    pub values: Vec<(Quantity, u16, f64)>,
}

/// A spooled poll cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// It ends early.
    #[error("spooled poll of {0} bytes ends early")]
    Short(usize),
    /// A text is not UTF-8.
    #[error("spooled poll holds a text that is not UTF-8")]
    Text,
    /// The quantity is not in this version's dictionary.
    #[error("spooled poll holds the unknown quantity `{0}`")]
    Quantity(String),
    /// The kind byte is not known.
    #[error("spool record has kind {0}, which this version does not know")]
    Kind(u8),
}

fn text(out: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(255);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.push(end as u8);
    out.extend_from_slice(&text.as_bytes()[..end]);
}

impl Poll {
    /// Appends the body to `out`. Names over 255 bytes are cut.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.at.ms().to_le_bytes());
        text(out, &self.slave);
        for group in self.values.chunk_by(|a, b| a.0 == b.0) {
            for part in group.chunks(usize::from(u16::MAX)) {
                text(out, part[0].0.name());
                out.extend_from_slice(&(part.len() as u16).to_le_bytes());
                for (_, channel, value) in part {
                    out.extend_from_slice(&channel.to_le_bytes());
                    out.extend_from_slice(&value.to_le_bytes());
                }
            }
        }
    }

    /// Reads a record of the spool.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn decode(kind: u8, body: &[u8]) -> Result<Self, RecordError> {
        if kind != KIND_POLL {
            return Err(RecordError::Kind(kind));
        }
        let mut rest = Rest {
            bytes: body,
            length: body.len(),
        };
        let at = i64::from_le_bytes(rest.take()?);
        let slave = rest.text()?.to_owned();
        let mut values = Vec::new();
        while !rest.bytes.is_empty() {
            let name = rest.text()?;
            let quantity = Quantity::named(name).ok_or_else(|| RecordError::Quantity(name.to_owned()))?;
            let n = u16::from_le_bytes(rest.take()?);
            for _ in 0..n {
                let channel = u16::from_le_bytes(rest.take()?);
                values.push((quantity, channel, f64::from_le_bytes(rest.take()?)));
            }
        }
        Ok(Self {
            at: Timestamp::from_ms(at),
            slave,
            values,
        })
    }

    /// The readings of this poll for the wire, all with the poll's spool number.
    pub fn samples(&self, seq: u64, resent: bool) -> impl Iterator<Item = Sample> {
        self.values.iter().map(move |(quantity, channel, value)| Sample {
            measured_at: Some(self.at),
            resent,
            seq: Some(seq),
            ..Sample::new(*quantity, *channel, *value)
        })
    }
}

struct Rest<'a> {
    bytes: &'a [u8],
    length: usize,
}

impl<'a> Rest<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (head, rest) = self
            .bytes
            .split_first_chunk::<N>()
            .ok_or(RecordError::Short(self.length))?;
        self.bytes = rest;
        Ok(*head)
    }
    fn text(&mut self) -> Result<&'a str, RecordError> {
        let [n] = self.take::<1>()?;
        let (head, rest) = self
            .bytes
            .split_at_checked(usize::from(n))
            .ok_or(RecordError::Short(self.length))?;
        self.bytes = rest;
        std::str::from_utf8(head).map_err(|_| RecordError::Text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn poll() -> Poll {
        let q = |name| Quantity::named(name).unwrap();
        let mut values: Vec<_> = (0..20).map(|i| (q("counter"), i, f64::from(i) + 7.0)).collect();
        values.push((q("voltage"), 0, -231.5));
        Poll {
            at: Timestamp::from_ms(1_795_435_200_123),
            slave: "电表-1".into(),
            values,
        }
    }

    #[test]
    fn a_poll_reads_back_as_written_and_is_small() {
        let mut body = Vec::new();
        poll().encode(&mut body);
        assert_eq!(Poll::decode(KIND_POLL, &body), Ok(poll()));
        assert!(body.len() < 260, "{}", body.len());
    }

    #[test]
    fn a_cut_poll_is_an_error_or_a_shorter_poll_and_never_a_panic() {
        let mut body = Vec::new();
        poll().encode(&mut body);
        for cut in 0..body.len() {
            if let Ok(read) = Poll::decode(KIND_POLL, &body[..cut]) {
                // A cut between groups cannot be seen here; the log's checksum sees it.
                assert!(poll().values.starts_with(&read.values));
            }
        }
        assert_eq!(Poll::decode(9, &body), Err(RecordError::Kind(9)));
    }

    #[test]
    fn readings_of_a_poll_share_its_number() {
        let samples: Vec<_> = poll().samples(42, true).collect();
        assert_eq!(samples.len(), 21);
        assert!(
            samples
                .iter()
                .all(|s| s.seq == Some(42) && s.resent && s.measured_at == Some(poll().at))
        );
    }
}
