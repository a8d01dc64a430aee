//! A history as plain files and back: what a backup keeps.
//!
//! A copy is one snapshot of every keyspace, so it is exactly what one checkpoint left; the writer waits
//! only while the snapshot is taken. Each keyspace is one file: magic and version, then rows in the order of
//! their keys (`key length u32 | row length u32 | key | row`, little-endian), then `u32::MAX | number of
//! rows u64`. The same rows give the same bytes, so a week in which nothing changed gives the same file.
//! Damaged rows are left out and named; a history that is made of the copy remembers them, and says so in its
//! answers.

use std::fmt;
use std::io::{self, Read, Write};
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::Arc;

use fjall::{Keyspace, PersistMode, Readable, Snapshot};
use onemap_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::checkpoint::{CURSOR, EXTRA};
use super::disk::Disk;
use super::load::FORMAT_ROW;
use super::memory::unpoisoned;
use super::missing::{ALL_SERIES, Loss, Lost};
use super::rollup::day_range;
use super::verify::partition_named;
use super::{History, HistoryConfig, HistoryError, chunk};

const MAGIC: &[u8; 8] = b"onemapHR";
const VERSION: u32 = 1;
/// In place of a key's length: no row follows.
const END: u32 = u32::MAX;
/// No row is longer; a length beyond it is damage.
const MAX_ROW: u32 = 1 << 30;

const ALL_TIMES: (i64, i64) = (i64::MIN, i64::MAX);

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
    /// Names of series as their rows have them, and their numbers.
    names: Vec<(Vec<u8>, u32)>,
    /// From the oldest to the newest time that heads may have.
    heads: (i64, i64),
    cursor: u64,
    /// Last, so that the database goes after what is of it.
    disk: Arc<Disk>,
}

impl History {
    /// The last checkpoint, as it can be copied from now on while the history goes on.
    ///
    /// # Errors
    /// [`HistoryError::Closed`], or [`HistoryError::Write`] when a keyspace cannot be opened.
    pub fn copy(&self) -> Result<Copy, HistoryError> {
        let disk = self.disk()?;
        let _writer = unpoisoned(self.writer.lock());
        let keyspaces = disk.keyspaces()?;
        let names = unpoisoned(self.dictionary.read());
        let names = names.iter().map(|(id, key)| (key.to_string().into_bytes(), id.0));
        let mut names: Vec<(Vec<u8>, u32)> = names.collect();
        names.sort();
        Ok(Copy {
            snapshot: disk.db.snapshot(),
            keyspaces,
            names,
            heads: (
                self.memory.oldest_of_heads().unwrap_or(i64::MIN),
                self.memory.newest().unwrap_or(i64::MAX),
            ),
            // As the row has it, which may be damaged.
            cursor: self.cursor(),
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

    /// Writes one keyspace. What cannot be read is left out, and said. `pace` is told the bytes of each row and
    /// breaks the copy off.
    ///
    /// # Errors
    /// [`CopyError`]; what was written so far is of no use then.
    pub fn write(
        &self,
        name: &str,
        out: &mut dyn Write,
        pace: &mut dyn FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Copied, CopyError> {
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
        let mut copied = Copied {
            rows: 0,
            left_out: Vec::new(),
            is_usable: true,
        };
        let mut from = Bound::Unbounded;
        let mut put = |copied: &mut Copied, key: &[u8], row: &[u8]| {
            for len in [key.len(), row.len()] {
                out.write_all(&(len as u32).to_le_bytes()).map_err(failed)?;
            }
            out.write_all(key).map_err(failed)?;
            out.write_all(row).map_err(failed)?;
            copied.rows += 1;
            self.disk.is_to_stay()?;
            match pace((8 + key.len() + row.len()) as u64) {
                ControlFlow::Break(()) => Err(CopyError::BrokenOff),
                ControlFlow::Continue(()) => Ok(()),
            }
        };
        let mut last = Vec::new();
        loop {
            let mut is_unread = false;
            for row in self.snapshot.range(keyspace, (from.clone(), Bound::Unbounded)) {
                let (key, row) = match self.disk.sound("block", &last, row.into_inner())? {
                    Some(read) => read,
                    None => {
                        is_unread = true;
                        break;
                    }
                };
                if is_damaged(name, &key, &row) {
                    copied.is_usable &= name != "meta" || !is_needed(&key);
                    copied.left_out.push(self.row(name, &key));
                    last = key.to_vec();
                    continue;
                }
                put(&mut copied, &key, &row)?;
                last = key.to_vec();
            }
            if !is_unread {
                break;
            }
            if name == "series" {
                // Memory has all names.
                for (key, id) in self.names.iter().filter(|(key, _)| *key > last) {
                    let row = chunk::seal(key, id.to_be_bytes().to_vec());
                    put(&mut copied, key, &row)?;
                }
                break;
            }
            // What lies behind is looked for from the next number on.
            let Some(next) = self.next_readable(name, keyspace, &last, &from)? else {
                copied.is_usable &= name != "meta";
                copied.left_out.push(self.block(name, &last, None));
                break;
            };
            copied.left_out.push(self.block(name, &last, Some(&next)));
            from = Bound::Included(next);
        }
        let n_rows = copied.rows;
        out.write_all(&END.to_le_bytes()).map_err(failed)?;
        out.write_all(&n_rows.to_le_bytes()).map_err(failed)?;
        Ok(copied)
    }

    /// The first key behind what was read, or asked for, from which on rows can be read again: found by ever longer
    /// steps, and by halves back from there. `None` when none can.
    fn next_readable(
        &self,
        name: &str,
        keyspace: &Keyspace,
        read: &[u8],
        asked: &Bound<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, CopyError> {
        if matches!(name, "meta" | "growth") {
            return Ok(None);
        }
        let asked = match asked {
            Bound::Included(key) | Bound::Excluded(key) => place(key),
            Bound::Unbounded => 0,
        };
        let last_id = self.names.iter().map(|(_, id)| *id).max().unwrap_or(0);
        let behind_all = (u128::from(last_id) + 1) << 64;
        let is_readable = |place: u128| -> Result<bool, CopyError> {
            let from = Bound::Included(key_at(place));
            let first = self.snapshot.range(keyspace, (from, Bound::Unbounded)).next();
            let row = first.map(|row| self.disk.sound("block", &key_at(place), row.into_inner()));
            Ok(row.transpose()?.is_none_or(|row| row.is_some()))
        };
        let mut unread = asked.max(place(read));
        let mut step = 1u128;
        let mut found = loop {
            if unread >= behind_all {
                return Ok(None);
            }
            let place = unread.saturating_add(step).min(behind_all);
            if is_readable(place)? {
                break place;
            }
            unread = place;
            step <<= 1;
        };
        while unread + 1 < found {
            let half = unread + (found - unread) / 2;
            match is_readable(half)? {
                true => found = half,
                false => unread = half,
            }
        }
        Ok(Some(key_at(found)))
    }
}

/// A key that begins with a series and may go on with a time, as a number that sorts like it.
fn place(key: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    let n = key.len().min(12);
    bytes[4..4 + n].copy_from_slice(&key[..n]);
    u128::from_be_bytes(bytes)
}

/// The first key at a place.
fn key_at(place: u128) -> Vec<u8> {
    place.to_be_bytes()[4..].to_vec()
}

/// What was written of a keyspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Rows.
    pub rows: u64,
    /// What is not among them.
    pub left_out: Vec<LeftOut>,
    /// Whether a history may be made with them. Without the row of its cursor, or without what was saved at it, a
    /// history must be made without the whole keyspace: then it stands at the beginning, and the journal is folded
    /// into it again.
    pub is_usable: bool,
}

/// Rows that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Their keyspace: `c2915` is the week of that number since 1970.
    pub keyspace: String,
    /// What is wrong.
    pub what: String,
    /// What a history without them lacks; `None` when nothing that is asked for.
    pub lost: Option<Lost>,
}

impl Copy {
    /// What a row is whose checksum does not fit.
    fn row(&self, keyspace: &str, key: &[u8]) -> LeftOut {
        let series = match keyspace {
            "series" | "meta" | "growth" => ALL_SERIES,
            _ => (number(key), number(key)),
        };
        let times = match (partition_named(keyspace), chunk::read_key(key)) {
            (Some(week), Some((_, first, _))) => (first, chunk::partition_range(week).1.max(first)),
            (None, Some((_, day, _))) if keyspace == "rollups" => day_range(day),
            (None, Some((_, at, _))) => (at, at),
            _ => self.times(keyspace),
        };
        LeftOut::new(keyspace, "a row's checksum does not fit", series, times)
    }

    /// What a block of rows is behind a key that was read, up to before another.
    fn block(&self, keyspace: &str, read: &[u8], next: Option<&[u8]>) -> LeftOut {
        let what = "a block of rows cannot be read";
        let series = match keyspace {
            "series" | "meta" | "growth" => ALL_SERIES,
            // The rest of the last series that was read may be among them.
            _ => (number(read), next.map_or(u32::MAX, number)),
        };
        let times = match (chunk::read_key(read), next) {
            (Some((_, first, _)), Some(next)) if series.0 == series.1 && keyspace != "rollups" => {
                let next = [next, &[0; 4]].concat();
                (
                    first,
                    chunk::read_key(&next).map_or(i64::MAX, |(_, next, _)| next),
                )
            }
            _ => self.times(keyspace),
        };
        LeftOut::new(keyspace, what, series, times)
    }

    /// Times that the rows of a keyspace may have values of.
    fn times(&self, keyspace: &str) -> (i64, i64) {
        match (keyspace, partition_named(keyspace)) {
            ("heads" | "growth", _) => self.heads,
            (_, Some(week)) => chunk::partition_range(week),
            _ => ALL_TIMES,
        }
    }
}

/// Whether a row of `meta` is one that all others stand by.
fn is_needed(key: &[u8]) -> bool {
    key == CURSOR || key.starts_with(EXTRA.as_bytes())
}

/// Whether a row is not what was written: all but two kinds end with a checksum.
fn is_damaged(keyspace: &str, key: &[u8], row: &[u8]) -> bool {
    keyspace != "due" && key != FORMAT_ROW && chunk::unseal(key, row).is_none()
}

impl LeftOut {
    fn new(keyspace: &str, what: &str, series: (u32, u32), times: (i64, i64)) -> Self {
        let loss = match keyspace {
            "series" | "meta" | "due" => None,
            "revisions" => Some(Loss::Replaced),
            "rollups" => Some(Loss::Hours),
            _ => Some(Loss::Values),
        };
        Self {
            keyspace: keyspace.to_owned(),
            what: what.to_owned(),
            lost: loss.map(|loss| Lost { loss, series, times }),
        }
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "history, {}: {}", self.keyspace, self.what)?;
        let Some(lost) = &self.lost else { return Ok(()) };
        match lost.series {
            ALL_SERIES => write!(f, ", of any series")?,
            (one, other) if one == other => write!(f, ", of series {one}")?,
            (from, u32::MAX) => write!(f, ", of series {from} and higher")?,
            (from, to) => write!(f, ", of series {from} to {to}")?,
        }
        if lost.times != ALL_TIMES {
            let (first, last) = lost.times;
            write!(
                f,
                ", {} to {}",
                Timestamp::from_ms(first),
                Timestamp::from_ms(last)
            )?;
        }
        Ok(())
    }
}

/// The series of a key that begins with one.
fn number(key: &[u8]) -> u32 {
    key.first_chunk::<4>().map_or(0, |id| u32::from_be_bytes(*id))
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

    /// Remembers what the copies are without, so that answers say so.
    ///
    /// # Errors
    /// [`HistoryError::Read`] or [`HistoryError::Write`].
    pub fn lacks(&self, left_out: &[LeftOut]) -> Result<(), HistoryError> {
        let mut lost = self.disk.known_lost()?;
        lost.extend(left_out.iter().filter_map(|left_out| left_out.lost.clone()));
        match lost.is_empty() {
            true => Ok(()),
            false => self.disk.keep_lost(&lost),
        }
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
