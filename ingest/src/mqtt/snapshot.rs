//! The file in which sessions and retained messages outlive the process.
//!
//! `onemap mqtt sessions 1\n`, then what [`Snapshot`] holds with lengths before texts and numbers in
//! little endian, then the CRC-32 of all before it. It is written whole beside the old one, synced and
//! renamed, so a kill leaves the old one or the new one.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::fanout::Naming;

const MAGIC: &[u8] = b"onemap mqtt sessions 1\n";

/// Sessions and retained messages as of a journal position.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Snapshot {
    /// Every record up to here is in it.
    pub(super) cursor: u64,
    /// The journal's clock then, in milliseconds.
    pub(super) now_ms: i64,
    pub(super) sessions: Vec<Saved>,
    pub(super) retained: Vec<SavedMessage>,
}

/// One session.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Saved {
    pub(super) device: String,
    pub(super) client: String,
    /// Since when it is away, in milliseconds; 0 when it was connected.
    pub(super) away_since_ms: i64,
    pub(super) filters: Vec<SavedFilter>,
    /// Inbound QoS 2: packet id, content, journal position.
    pub(super) unreleased: Vec<(u16, u64, u64)>,
    pub(super) last_id: u16,
    /// Sent and not acknowledged: packet id, whether PUBREC came, the message.
    pub(super) inflight: Vec<(u16, bool, SavedMessage)>,
    pub(super) messages: Vec<SavedMessage>,
}

/// One filter of a session.
#[derive(Debug, PartialEq)]
pub(super) struct SavedFilter {
    pub(super) name: String,
    pub(super) naming: Naming,
    pub(super) qos: u8,
    /// Journal position of its subscription.
    pub(super) since: u64,
}

/// One message.
#[derive(Debug, Default, PartialEq)]
pub(super) struct SavedMessage {
    pub(super) topic: Arc<str>,
    pub(super) payload: Bytes,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) position: u64,
    /// The shared filter it came by, and its naming; empty for any other.
    pub(super) group: String,
    pub(super) naming: Option<Naming>,
}

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    #[error("it is damaged or of another version: {0}")]
    Damaged(&'static str),
}

/// Writes a snapshot in the place of the former one. Gives its size in bytes.
///
/// # Errors
/// When the folder or the disk does not take it; the former one stays then.
pub(super) fn write(path: &Path, snapshot: &Snapshot) -> io::Result<u64> {
    let part = path.with_extension("part");
    let file = File::create(&part)?;
    let mut out = Out {
        file: BufWriter::new(file),
        crc: crc32fast::Hasher::new(),
        n_bytes: 0,
    };
    out.bytes(MAGIC)?;
    out.snapshot(snapshot)?;
    let crc = out.crc.clone().finalize();
    out.bytes(&crc.to_le_bytes())?;
    let n_bytes = out.n_bytes;
    let file = out.file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    std::fs::rename(&part, path)?;
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok(n_bytes)
}

struct Out {
    file: BufWriter<File>,
    crc: crc32fast::Hasher,
    n_bytes: u64,
}

impl Out {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.n_bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }
    fn number(&mut self, number: u64) -> io::Result<()> {
        self.bytes(&number.to_le_bytes())
    }
    fn text(&mut self, text: &[u8]) -> io::Result<()> {
        self.bytes(&(text.len() as u32).to_le_bytes())?;
        self.bytes(text)
    }
    fn message(&mut self, message: &SavedMessage) -> io::Result<()> {
        self.text(message.topic.as_bytes())?;
        self.text(&message.payload)?;
        self.bytes(&[message.qos | u8::from(message.retain) << 7])?;
        self.number(message.position)?;
        self.text(message.group.as_bytes())?;
        self.text(message.naming.map_or("", Naming::label).as_bytes())
    }
    fn snapshot(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        self.number(snapshot.cursor)?;
        self.number(snapshot.now_ms as u64)?;
        self.number(snapshot.sessions.len() as u64)?;
        for session in &snapshot.sessions {
            self.text(session.device.as_bytes())?;
            self.text(session.client.as_bytes())?;
            self.number(session.away_since_ms as u64)?;
            self.number(session.filters.len() as u64)?;
            for filter in &session.filters {
                self.text(filter.name.as_bytes())?;
                self.text(filter.naming.label().as_bytes())?;
                self.bytes(&[filter.qos])?;
                self.number(filter.since)?;
            }
            self.number(session.unreleased.len() as u64)?;
            for (packet_id, content, position) in &session.unreleased {
                self.bytes(&packet_id.to_le_bytes())?;
                self.number(*content)?;
                self.number(*position)?;
            }
            self.bytes(&session.last_id.to_le_bytes())?;
            self.number(session.inflight.len() as u64)?;
            for (packet_id, is_received, message) in &session.inflight {
                self.bytes(&packet_id.to_le_bytes())?;
                self.bytes(&[u8::from(*is_received)])?;
                self.message(message)?;
            }
            self.number(session.messages.len() as u64)?;
            for message in &session.messages {
                self.message(message)?;
            }
        }
        self.number(snapshot.retained.len() as u64)?;
        for message in &snapshot.retained {
            self.message(message)?;
        }
        Ok(())
    }
}

/// Reads a snapshot; none when there is no file.
///
/// # Errors
/// When it cannot be read, or is not whole.
pub(super) fn read(path: &Path) -> Result<Option<Snapshot>, SnapshotError> {
    match std::fs::read(path) {
        Ok(bytes) => decode(&bytes).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reads what [`write`] wrote. Never panics, whatever the bytes.
pub(super) fn decode(bytes: &[u8]) -> Result<Snapshot, SnapshotError> {
    let (body, crc) = bytes
        .split_last_chunk::<4>()
        .ok_or(SnapshotError::Damaged("it is too short"))?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return Err(SnapshotError::Damaged("its checksum is wrong"));
    }
    let rest = body
        .strip_prefix(MAGIC)
        .ok_or(SnapshotError::Damaged("it begins with other bytes"))?;
    In(rest)
        .snapshot()
        .ok_or(SnapshotError::Damaged("a field ends early or is impossible"))
}

struct In<'b>(&'b [u8]);

impl<'b> In<'b> {
    fn take(&mut self, n: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }
    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }
    fn short(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }
    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }
    fn bytes(&mut self) -> Option<&'b [u8]> {
        let n = u32::from_le_bytes(self.take(4)?.try_into().ok()?);
        self.take(usize::try_from(n).ok()?)
    }
    fn text(&mut self) -> Option<&'b str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
    /// As many as the number in front says; each takes at least one byte, so memory stays bounded.
    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let n = self.number()?;
        let mut items = Vec::new();
        for _ in 0..n {
            items.push(item(self)?);
        }
        Some(items)
    }
    fn message(&mut self) -> Option<SavedMessage> {
        let topic = self.text()?.into();
        let payload = Bytes::copy_from_slice(self.bytes()?);
        let flags = self.byte()?;
        Some(SavedMessage {
            topic,
            payload,
            qos: (flags & 3).min(2),
            retain: flags & 0x80 != 0,
            position: self.number()?,
            group: self.text()?.to_owned(),
            naming: Naming::of_label(self.text()?),
        })
    }
    fn session(&mut self) -> Option<Saved> {
        Some(Saved {
            device: self.text()?.to_owned(),
            client: self.text()?.to_owned(),
            away_since_ms: self.number()? as i64,
            filters: self.list(|own| {
                Some(SavedFilter {
                    name: own.text()?.to_owned(),
                    naming: Naming::of_label(own.text()?)?,
                    qos: own.byte()?.min(2),
                    since: own.number()?,
                })
            })?,
            unreleased: self.list(|own| Some((own.short()?, own.number()?, own.number()?)))?,
            last_id: self.short()?,
            inflight: self.list(|own| Some((own.short()?, own.byte()? != 0, own.message()?)))?,
            messages: self.list(Self::message)?,
        })
    }
    fn snapshot(&mut self) -> Option<Snapshot> {
        let snapshot = Snapshot {
            cursor: self.number()?,
            now_ms: self.number()? as i64,
            sessions: self.list(Self::session)?,
            retained: self.list(Self::message)?,
        };
        self.0.is_empty().then_some(snapshot)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sample() -> Snapshot {
        let message = |topic: &str, qos, retain| SavedMessage {
            topic: topic.into(),
            payload: Bytes::copy_from_slice(topic.as_bytes()),
            qos,
            retain,
            position: 9,
            group: "$share/g/a".into(),
            naming: Some(Naming::Plain),
        };
        Snapshot {
            cursor: 77,
            now_ms: -5,
            sessions: vec![
                Saved {
                    device: "A".into(),
                    client: "客户".into(),
                    away_since_ms: 1,
                    filters: vec![SavedFilter {
                        name: "d/A/#".into(),
                        naming: Naming::Me,
                        qos: 2,
                        since: 3,
                    }],
                    unreleased: vec![(7, u64::MAX, 4)],
                    last_id: 65_535,
                    inflight: vec![(1, true, message("x", 2, false))],
                    messages: vec![message("y", 1, true), message("z", 2, false)],
                },
                Saved::default(),
            ],
            retained: vec![message("r", 0, true)],
        }
    }

    #[test]
    fn a_snapshot_reads_back_as_written_and_any_damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mqtt-sessions");
        assert!(read(&path).unwrap().is_none());
        let size = write(&path, &sample()).unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), sample());
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len() as u64, size);
        for at in 0..bytes.len() {
            assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(decode(&damaged).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn lengths_that_lie_behind_a_right_checksum_are_errors_and_never_panics() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mqtt-sessions");
        write(&path, &sample()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for at in MAGIC.len()..bytes.len() - 4 {
            let mut damaged = bytes[..bytes.len() - 4].to_vec();
            damaged[at] = 0xff;
            let crc = crc32fast::hash(&damaged);
            damaged.extend(crc.to_le_bytes());
            let _ = decode(&damaged); // an error or another snapshot, no panic and no endless memory
        }
    }
}
