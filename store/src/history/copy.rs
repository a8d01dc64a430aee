//! A history as plain files and back: what a backup keeps.
//!
//! A copy is one snapshot of every keyspace, so it is exactly what one checkpoint left; the writer waits
//! only while the snapshot is taken. Each keyspace is one file: magic and version, then rows in the order of
//! their keys (`key length u32 | row length u32 | key | row`, little-endian), then `u32::MAX | number of
//! rows u64`. The same rows give the same bytes, so a week in which nothing changed gives the same file.

use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use fjall::{Keyspace, PersistMode, Readable, Snapshot};

use super::checkpoint::read_cursor;
use super::disk::Disk;
use super::memory::unpoisoned;
use super::{History, HistoryConfig, HistoryError};

const MAGIC: &[u8; 8] = b"onemapHR";
const VERSION: u32 = 1;
/// In place of a key's length: no row follows.
const END: u32 = u32::MAX;
/// No row is longer; a length beyond it is damage.
const MAX_ROW: u32 = 1 << 30;

/// Why a copy cannot be written or taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The history's own part.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The file's part.
    #[error("the copy of `{keyspace}` cannot be read or written")]
    Io {
        /// The keyspace.
        keyspace: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not such a copy, or ends too early.
    #[error("the copy of `{keyspace}` is damaged: {what}")]
    Damaged {
        /// The keyspace.
        keyspace: String,
        /// What is wrong.
        what: &'static str,
    },
    /// It was broken off.
    #[error("the copy was broken off")]
    BrokenOff,
}

/// One moment of a history, to be written as files.
pub struct Copy {
    snapshot: Snapshot,
    keyspaces: Vec<(String, Keyspace)>,
    cursor: u64,
    /// Last, so that the database goes after what is of it.
    disk: Arc<Disk>,
}

impl History {
    /// The last checkpoint, as it can be copied from now on while the history goes on.
    ///
    /// # Errors
    /// [`HistoryError::Read`] or [`HistoryError::Cursor`].
    pub fn copy(&self) -> Result<Copy, HistoryError> {
        let disk = self.disk()?;
        let _writer = unpoisoned(self.writer.lock());
        let (cursor, ..) = read_cursor(&disk)?;
        let keyspaces = disk.keyspaces()?;
        Ok(Copy {
            snapshot: disk.db.snapshot(),
            keyspaces,
            cursor,
            disk,
        })
    }
}

impl Copy {
    /// Journal position that it stands for.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Names of its keyspaces.
    pub fn keyspaces(&self) -> Vec<String> {
        self.keyspaces.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Writes one keyspace; gives the number of its rows. `pace` is told the bytes of each row and breaks
    /// the copy off.
    ///
    /// # Errors
    /// [`CopyError`]; what was written so far is of no use then.
    pub fn write(
        &self,
        name: &str,
        out: &mut dyn Write,
        pace: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<u64, CopyError> {
        let failed = |source| CopyError::Io {
            keyspace: name.to_owned(),
            source,
        };
        let Some((_, keyspace)) = self.keyspaces.iter().find(|(known, _)| known == name) else {
            return Err(CopyError::Damaged {
                keyspace: name.to_owned(),
                what: "there is no such keyspace",
            });
        };
        out.write_all(MAGIC).map_err(failed)?;
        out.write_all(&VERSION.to_le_bytes()).map_err(failed)?;
        let mut n_rows = 0u64;
        for row in self.snapshot.iter(keyspace) {
            let (key, row) = row.into_inner().map_err(HistoryError::reading)?;
            for len in [key.len(), row.len()] {
                out.write_all(&(len as u32).to_le_bytes()).map_err(failed)?;
            }
            out.write_all(&key).map_err(failed)?;
            out.write_all(&row).map_err(failed)?;
            n_rows += 1;
            self.disk.is_to_stay()?;
            if pace((8 + key.len() + row.len()) as u64).is_break() {
                return Err(CopyError::BrokenOff);
            }
        }
        out.write_all(&END.to_le_bytes()).map_err(failed)?;
        out.write_all(&n_rows.to_le_bytes()).map_err(failed)?;
        Ok(n_rows)
    }
}

/// A history that is made from copies, in a folder that has none.
pub struct Restore {
    disk: Disk,
}

impl Restore {
    /// Makes the database in `dir`.
    ///
    /// # Errors
    /// [`HistoryError::Open`].
    pub fn begin(dir: &Path) -> Result<Self, HistoryError> {
        Ok(Self {
            disk: Disk::open(dir, &HistoryConfig::default())?,
        })
    }

    /// Takes one keyspace, which must be empty; gives the number of its rows.
    ///
    /// # Errors
    /// [`CopyError`]; the folder is of no use then.
    pub fn take(&self, name: &str, from: &mut dyn Read) -> Result<u64, CopyError> {
        let failed = |source| CopyError::Io {
            keyspace: name.to_owned(),
            source,
        };
        let damaged = |what| CopyError::Damaged {
            keyspace: name.to_owned(),
            what,
        };
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !is_name {
            return Err(damaged("no keyspace has this name"));
        }
        let keyspace = self.disk.named(name)?;
        let mut head = [0; 12];
        from.read_exact(&mut head).map_err(failed)?;
        if head[..8] != *MAGIC || head[8..] != VERSION.to_le_bytes() {
            return Err(damaged("it does not begin like a copy of this version"));
        }
        let mut rows = keyspace.start_ingestion().map_err(HistoryError::writing)?;
        let mut before: Option<Vec<u8>> = None;
        let mut n_rows = 0u64;
        let mut word = [0; 4];
        loop {
            from.read_exact(&mut word).map_err(failed)?;
            let key_len = u32::from_le_bytes(word);
            if key_len == END {
                break;
            }
            from.read_exact(&mut word).map_err(failed)?;
            let row_len = u32::from_le_bytes(word);
            if key_len > 1 << 16 || row_len > MAX_ROW {
                return Err(damaged("a row is longer than rows are"));
            }
            let (mut key, mut row) = (vec![0; key_len as usize], vec![0; row_len as usize]);
            from.read_exact(&mut key).map_err(failed)?;
            from.read_exact(&mut row).map_err(failed)?;
            if before.as_ref().is_some_and(|before| *before >= key) {
                return Err(damaged("its rows are not in order"));
            }
            rows.write(key.as_slice(), row.as_slice())
                .map_err(HistoryError::writing)?;
            before = Some(key);
            n_rows += 1;
        }
        let mut said = [0; 8];
        from.read_exact(&mut said).map_err(failed)?;
        if u64::from_le_bytes(said) != n_rows {
            return Err(damaged("it does not hold as many rows as it says"));
        }
        rows.finish().map_err(HistoryError::writing)?;
        Ok(n_rows)
    }

    /// Makes it durable and gives the folder free.
    ///
    /// # Errors
    /// [`HistoryError::Write`].
    pub fn finish(self) -> Result<(), HistoryError> {
        self.disk
            .db
            .persist(PersistMode::SyncAll)
            .map_err(HistoryError::writing)
    }
}
