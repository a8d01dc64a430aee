//! The database under history: its keyspaces, and what is done about damage in them.
//!
//! | keyspace | key | row |
//! |---|---|---|
//! | `series` | `device/quantity/channel` | number u32 |
//! | `heads` | number | extent, packed head and late run |
//! | `growth` | number of the row | what heads grew by since |
//! | `c<partition>` | number, first time, sequence | chunk |
//! | `revisions` | number, time, ordinal | replaced value |
//! | `rollups` | number, Beijing day | its hours |
//! | `due` | number, Beijing day | empty: care is due again |
//! | `meta` | name | format, cursor, extras |
//!
//! Every row ends with a CRC-32 over key and row. Keyspaces are never cleared, only dropped whole,
//! and large values are not kept apart from their keys: both have lost data in this engine before.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use fjall::config::{BlockSizePolicy, CompressionPolicy};
use fjall::{
    AbstractTree, Database, Guard, Keyspace, KeyspaceCreateOptions, LsmError, PersistMode, Readable, Slice,
    Snapshot,
};

use super::block::{self, Columns};
use super::chunk::{self, Header, key, partition_of, partition_range};
use super::memory::unpoisoned;
use super::{HistoryConfig, HistoryError, SeriesId, missing};

/// Layout that this program writes: 2 has closed days in the least room, rollups, and columns that 1 does
/// not know, 3 delays in seconds and what came since the heads were written, 4 growth beside the heads.
pub(super) const FORMAT: u64 = 4;
/// Oldest layout that this program reads; it becomes [`FORMAT`] when it is opened.
pub(super) const OLDEST_FORMAT: u64 = 1;
/// The engine cuts its write-ahead log back when closed files of it, of 64 MB each, take more than this; it bounds
/// the time to reopen.
const LOG_BYTES: u64 = 64 << 20;
/// Memory of one keyspace before it is written out.
const MEMTABLE_BYTES: u64 = 8 << 20;

/// Memtables of a keyspace that wait to be written out, and tables that wait to be merged, from which on is
/// waited: below what the engine itself waits at (4 and 20), with room for what one commit adds.
const N_SEALED: usize = 2;
const N_RUNS: usize = 16;
const QUEUE_PATIENCE: Duration = Duration::from_secs(60);
const QUEUE_LOOK: Duration = Duration::from_millis(10);

pub(super) struct Disk {
    pub(super) db: Database,
    pub(super) series: Keyspace,
    pub(super) heads: Keyspace,
    pub(super) growth: Keyspace,
    pub(super) revisions: Keyspace,
    pub(super) rollups: Keyspace,
    pub(super) due: Keyspace,
    pub(super) meta: Keyspace,
    partitions: RwLock<BTreeMap<i64, Keyspace>>,
    damaged: Arc<AtomicU64>,
    /// It is to be closed and opened again: who reads makes an end.
    closing: AtomicBool,
}

/// Bytes of the database's parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Tables.
    pub(super) tables: u64,
    /// What is written of the write-ahead log.
    pub(super) log: u64,
    /// Older logs, which stay until all that they hold is in tables.
    pub(super) log_set_aside: u64,
    /// Room that logs have behind their end: set aside by name, taken by nothing.
    pub(super) log_reserved: u64,
}

/// A chunk as read, its header understood.
pub(super) struct Chunk {
    pub(super) key: Slice,
    pub(super) header: Header,
    row: Slice,
    block_len: usize,
}

impl Chunk {
    /// `None` is damage.
    fn read(key: Slice, row: Slice) -> Option<Self> {
        let (header, block) = chunk::open(&key, &row)?;
        let block_len = block.len();
        Some(Self {
            key,
            header,
            row,
            block_len,
        })
    }
    /// Its points; `None` is damage.
    pub(super) fn points(&self) -> Option<Vec<super::point::Kept>> {
        let body = self.row.len() - size_of::<u32>();
        chunk::points(&self.row[body - self.block_len..body])
    }
    /// Its columns, if all values are numbers and nothing is damaged.
    pub(super) fn columns(&self) -> Option<Columns> {
        let body = self.row.len() - size_of::<u32>();
        block::columns(&self.row[body - self.block_len..body])
    }
    pub(super) fn n_bytes(&self) -> u64 {
        self.row.len() as u64
    }
}

impl Disk {
    pub(super) fn open(dir: &Path, config: &HistoryConfig) -> Result<Self, HistoryError> {
        let opening = |source| HistoryError::Open {
            dir: dir.to_owned(),
            source,
        };
        let db = Database::builder(dir)
            .cache_size(config.cache_bytes)
            .max_journaling_size(LOG_BYTES)
            .worker_threads(2)
            .open()
            .map_err(opening)?;
        let keyspace = |name: &str| db.keyspace(name, small_rows).map_err(opening);
        let mut partitions = BTreeMap::new();
        for name in db.list_keyspace_names() {
            if let Some(partition) = of_week(&name) {
                partitions.insert(partition, db.keyspace(&name, packed_rows).map_err(opening)?);
            }
        }
        Ok(Self {
            series: keyspace("series")?,
            heads: keyspace("heads")?,
            growth: keyspace("growth")?,
            revisions: keyspace("revisions")?,
            rollups: keyspace("rollups")?,
            due: keyspace("due")?,
            meta: keyspace("meta")?,
            partitions: RwLock::new(partitions),
            damaged: Arc::default(),
            closing: AtomicBool::new(false),
            db,
        })
    }

    /// The keyspace of a partition, made when it is the first time.
    pub(super) fn make_partition(&self, partition: i64) -> Result<Keyspace, HistoryError> {
        if let Some(keyspace) = self.partition(partition) {
            return Ok(keyspace);
        }
        let keyspace = self
            .db
            .keyspace(&format!("c{partition}"), packed_rows)
            .map_err(HistoryError::writing)?;
        unpoisoned(self.partitions.write()).insert(partition, keyspace.clone());
        Ok(keyspace)
    }
    pub(super) fn partition(&self, partition: i64) -> Option<Keyspace> {
        unpoisoned(self.partitions.read()).get(&partition).cloned()
    }
    /// The partitions that may hold points of `from..=to`, ascending.
    pub(super) fn partitions(&self, (from, to): (i64, i64)) -> Vec<(i64, Keyspace)> {
        if from > to {
            return Vec::new();
        }
        unpoisoned(self.partitions.read())
            .range(partition_of(from)..=partition_of(to))
            .map(|(p, keyspace)| (*p, keyspace.clone()))
            .collect()
    }
    /// Drops the keyspace of a partition; those who read it keep what they see.
    pub(super) fn drop_partition(&self, partition: i64) -> Result<(), HistoryError> {
        let dropped = unpoisoned(self.partitions.write()).remove(&partition);
        match dropped {
            Some(keyspace) => self.db.delete_keyspace(keyspace).map_err(HistoryError::writing),
            None => Ok(()),
        }
    }
    /// Drops partitions before one: a stop came between the word that they go and their going.
    pub(super) fn drop_gone(&self, gone: i64) -> Result<(), HistoryError> {
        let left: Vec<i64> = unpoisoned(self.partitions.read())
            .range(..gone)
            .map(|(p, _)| *p)
            .collect();
        left.into_iter()
            .try_for_each(|partition| self.drop_partition(partition))
    }
    /// The highest number that a series has, 0 without any.
    pub(super) fn last_number(&self) -> Result<u32, HistoryError> {
        let Some(row) = self.heads.last_key_value() else {
            return Ok(0);
        };
        let key = row.key().map_err(HistoryError::reading)?;
        Ok(<[u8; 4]>::try_from(key.as_ref()).map_or(u32::MAX, u32::from_be_bytes))
    }
    /// Every keyspace with its name. None is made for that: a week that is dropped in this moment is not there.
    pub(super) fn keyspaces(&self) -> Result<Vec<(String, Keyspace)>, HistoryError> {
        let mut keyspaces = Vec::new();
        for name in self.db.list_keyspace_names() {
            let keyspace = match of_week(&name) {
                Some(partition) => self.partition(partition),
                None => Some(self.named(&name)?),
            };
            keyspaces.extend(keyspace.map(|keyspace| (name.to_string(), keyspace)));
        }
        Ok(keyspaces)
    }
    /// The keyspace of a name, made when it is not there.
    pub(super) fn named(&self, name: &str) -> Result<Keyspace, HistoryError> {
        match of_week(name) {
            Some(partition) => self.make_partition(partition),
            None => self.db.keyspace(name, small_rows).map_err(HistoryError::writing),
        }
    }
    pub(super) fn n_partitions(&self) -> u64 {
        unpoisoned(self.partitions.read()).len() as u64
    }

    /// What the database takes on the disk.
    pub(super) fn sizes(&self, dir: &Path) -> Sizes {
        let all = self.db.disk_space().unwrap_or(0);
        let log = self.db.journal_disk_space().unwrap_or(0);
        let mut sizes = Sizes {
            tables: all.saturating_sub(log),
            ..Sizes::default()
        };
        let logs = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let mut logs: Vec<(u64, std::fs::Metadata)> = logs
            .filter_map(|entry| {
                let path = entry.path();
                let is_log = path.extension().is_some_and(|end| end == "jnl");
                let number = path.file_stem()?.to_str()?.parse().ok().filter(|_| is_log)?;
                Some((number, entry.metadata().ok()?))
            })
            .collect();
        logs.sort_by_key(|(number, _)| *number);
        let newest = logs.len().saturating_sub(1);
        for (i, (_, meta)) in logs.iter().enumerate() {
            let taken = (meta.blocks() * 512).min(meta.len());
            sizes.log_reserved += meta.len() - taken;
            match i == newest {
                true => sizes.log += taken,
                false => sizes.log_set_aside += taken,
            }
        }
        sizes
    }

    /// Waits until what is written now meets no queue in the engine: a commit that does waits inside for the
    /// engine's own threads, and for ever when these have ended by a failed write. After [`QUEUE_PATIENCE`] it
    /// takes its chance.
    ///
    /// # Errors
    /// [`HistoryError::Write`] when a write of these threads has failed.
    pub(super) fn wait_for_queue(&self) -> Result<(), HistoryError> {
        let is_short = |keyspace: &Keyspace| {
            keyspace.tree.sealed_memtable_count() < N_SEALED && keyspace.tree.l0_run_count() < N_RUNS
        };
        let started = Instant::now();
        loop {
            self.db
                .persist(PersistMode::Buffer)
                .map_err(HistoryError::writing)?;
            let own = [
                &self.series,
                &self.heads,
                &self.revisions,
                &self.rollups,
                &self.due,
                &self.meta,
            ];
            let partitions = unpoisoned(self.partitions.read());
            let is_free = own.into_iter().chain(partitions.values()).all(is_short);
            drop(partitions);
            if is_free || started.elapsed() > QUEUE_PATIENCE {
                return Ok(());
            }
            std::thread::sleep(QUEUE_LOOK);
        }
    }

    /// # Errors
    /// [`HistoryError::Closed`] when it waits to be closed and opened again.
    pub(super) fn is_to_stay(&self) -> Result<(), HistoryError> {
        match self.closing.load(Ordering::Relaxed) {
            true => Err(HistoryError::Closed),
            false => Ok(()),
        }
    }
    pub(super) fn set_closing(&self, closing: bool) {
        self.closing.store(closing, Ordering::Relaxed);
    }
    /// From now on counts damage on from where another handle of the same folder was.
    pub(super) fn count_in(&mut self, damaged: Arc<AtomicU64>) {
        self.damaged = damaged;
    }
    pub(super) fn counts_in(&self) -> Arc<AtomicU64> {
        self.damaged.clone()
    }

    /// Notes a damaged row, which the caller then skips.
    pub(super) fn report_damage(&self, what: &'static str, key: &[u8]) {
        self.damaged.fetch_add(1, Ordering::Relaxed);
        match chunk::read_key(key) {
            Some((series, at, seq)) => {
                tracing::error!(
                    what,
                    series,
                    at,
                    seq,
                    "a damaged {what} of series {series} is skipped"
                );
            }
            None => tracing::error!(what, ?key, "a damaged {what} is skipped"),
        }
    }

    /// The chunks of a series that may hold points of `from..=to`, ascending; damaged ones are
    /// reported and left out.
    pub(super) fn chunks<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        series: SeriesId,
        (from, to): (i64, i64),
    ) -> impl Iterator<Item = Result<Chunk, HistoryError>> + 'a {
        self.partitions((from, to))
            .into_iter()
            .flat_map(move |(partition, keyspace)| {
                let (start, end) = partition_range(partition);
                // The chunk that begins before `from` may reach into the range.
                let reaching = (from > start)
                    .then(|| key(series.0, start, 0)..key(series.0, from, 0))
                    .and_then(|before| snapshot.range(&keyspace, before).next_back());
                let within = key(series.0, from.max(start), 0)..=key(series.0, to.min(end), u32::MAX);
                let place = key(series.0, from.max(start), 0);
                let last = to.min(end);
                let chunk = move |row| self.chunk_or_end(row, place, last).transpose();
                let reaching = reaching.into_iter().map_while(chunk);
                reaching.chain(snapshot.range(&keyspace, within).map_while(chunk))
            })
            .filter_map(Result::transpose)
            .filter(move |chunk| chunk.as_ref().map_or(true, |c| c.header.last >= from))
    }

    /// A chunk; `None` is damage.
    fn chunk(&self, row: Guard, place: [u8; 16]) -> Result<Option<Chunk>, HistoryError> {
        Ok(self.chunk_or_end(row, place, i64::MAX)?.flatten())
    }

    /// A chunk, `Some(None)` where it is damaged; `None` where a whole block of rows is: then nothing more can be
    /// read from the same look, since the engine leaves out what stood beside it. What is damaged is noted as
    /// missing up to `last`, or up to the chunk behind it.
    fn chunk_or_end(
        &self,
        row: Guard,
        place: [u8; 16],
        last: i64,
    ) -> Result<Option<Option<Chunk>>, HistoryError> {
        self.is_to_stay()?;
        let first = |key: &[u8]| chunk::read_key(key).map_or(i64::MIN, |(_, first, _)| first);
        let Some((key, row)) = self.sound("block of chunks", &place, row.into_inner())? else {
            missing::note(&place, (first(&place).min(last), last));
            return Ok(None);
        };
        missing::ends_before(first(&key));
        let chunk = Chunk::read(key.clone(), row);
        if chunk.is_none() {
            self.report_damage("chunk", &key);
            missing::note(&key, (first(&key).max(first(&place)), last));
        }
        Ok(Some(chunk))
    }

    /// What was read; `None`, and noted, when the engine found its block damaged.
    ///
    /// # Errors
    /// [`HistoryError::Read`] when the disk failed: that may be otherwise next time.
    pub(super) fn sound<T>(
        &self,
        what: &'static str,
        key: &[u8],
        read: Result<T, fjall::Error>,
    ) -> Result<Option<T>, HistoryError> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(fjall::Error::Storage(
                LsmError::ChecksumMismatch { .. }
                | LsmError::Decompress(_)
                | LsmError::InvalidTag(_)
                | LsmError::InvalidTrailer
                | LsmError::InvalidHeader(_),
            )) => {
                self.report_damage(what, key);
                Ok(None)
            }
            Err(error) => Err(HistoryError::reading(error)),
        }
    }

    /// Points around a time as the chunks have them: the range that is thereby known, and its points.
    pub(super) fn window(
        &self,
        snapshot: &Snapshot,
        series: SeriesId,
        at: i64,
    ) -> Result<(i64, i64, Vec<super::point::Kept>), HistoryError> {
        let (start, end) = partition_range(partition_of(at));
        let Some(keyspace) = self.partition(partition_of(at)) else {
            return Ok((start, end, Vec::new()));
        };
        let upto = key(series.0, start, 0)..=key(series.0, at, u32::MAX);
        let mut from = start;
        if let Some(row) = snapshot.range(&keyspace, upto).next_back() {
            let Some(chunk) = self.chunk(row, key(series.0, at, 0))? else {
                return Ok((at, at, Vec::new()));
            };
            if chunk.header.last >= at {
                let points = chunk.points().unwrap_or_else(|| {
                    self.report_damage("chunk", &chunk.key);
                    Vec::new()
                });
                return Ok((chunk.header.first, chunk.header.last, points));
            }
            from = chunk.header.last + 1;
        }
        let after = key(series.0, at, u32::MAX)..=key(series.0, end, u32::MAX);
        let next = match snapshot.range(&keyspace, after).next() {
            Some(row) => match self.sound("block of chunks", &key(series.0, at, 0), row.key())? {
                Some(key) => chunk::read_key(&key),
                // What follows is not known: nothing but this time is.
                None => return Ok((at, at, Vec::new())),
            },
            None => None,
        };
        let to = next.map_or(end, |(_, first, _)| first.saturating_sub(1));
        Ok((from, to.max(at), Vec::new()))
    }
}

/// The week of a keyspace's name; `None` when it is not one of a week.
fn of_week(name: &str) -> Option<i64> {
    name.strip_prefix('c')?.parse().ok()
}

fn small_rows() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES)
}

/// Chunks are packed already: compressing them again costs time and gains nothing.
fn packed_rows() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(MEMTABLE_BYTES)
        .data_block_compression_policy(CompressionPolicy::disabled())
        .data_block_size_policy(BlockSizePolicy::all(16 << 10))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_week_that_goes_while_all_are_listed_does_not_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), &HistoryConfig::default()).unwrap();
        let weeks = 0..24;
        for week in weeks.clone() {
            disk.make_partition(week).unwrap();
        }
        // The moment between the word that it goes and its going.
        let last = unpoisoned(disk.partitions.write()).remove(&23).unwrap();
        let listed = disk.keyspaces().unwrap();
        assert!(listed.iter().any(|(name, _)| name == "c22") && listed.iter().all(|(name, _)| name != "c23"));
        assert!(disk.partition(23).is_none());
        disk.db.delete_keyspace(last).unwrap();
        // Any other moment.
        let is_over = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    disk.keyspaces().unwrap();
                }
            });
            let dropped = weeks.clone().try_for_each(|week| disk.drop_partition(week));
            is_over.store(true, Ordering::Relaxed);
            dropped.unwrap();
        });
        let left = disk.db.list_keyspace_names();
        assert!(left.iter().all(|name| of_week(name).is_none()), "{left:?}");
    }
}
