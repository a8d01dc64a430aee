//! Embedded history: every value of every series, packed, with what was known when.
//!
//! One writer (the pipeline) appends and checkpoints; any number of readers look at the same time.
//! Between checkpoints new points are in memory only: the journal is the durable truth, and after a
//! crash [`History::cursor`] says from where it is to be read again.
//!
//! The same (series, time, value) again is a duplicate. Another value for a time that had one is a
//! revision: the newer is shown, both are kept, and [`History::scan_known_at`] shows either.
//!
//! Not kept here: the period a value stands for (the device's profile says it) and raw bytes (the
//! journal has them).

mod block;
mod care;
mod change;
mod checkpoint;
mod chunk;
mod column;
mod copy;
mod digest;
mod disk;
mod group;
mod growth;
mod let_go;
mod load;
mod memory;
mod missing;
mod point;
mod query;
mod read;
mod reopen;
mod reports;
mod retention;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod retention_tests;
mod revisions;
mod rollup;
mod run;
mod scrub;
mod series;
mod stat;
mod steps;
mod sum;
mod tail;
#[cfg(test)]
mod tests;
mod verify;
mod versions;
mod write;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::Duration;

use onemap_model::{DeviceId, SeriesKey, Timestamp};

pub use care::Cared;
pub(crate) use change::{Change, Seen};
pub(crate) use chunk::Numbers;
pub(crate) use column::{Input, put_signed, put_unsigned};
pub use copy::{Copied, Copy, CopyError, LeftOut, Restore};
pub use group::Member;
pub(crate) use group::{Gathered, percentile};
pub use let_go::LetGo;
use memory::{Memory, SealAt, unpoisoned};
pub use missing::{Damage, Loss, Lost, Missing, noting};
pub use point::{Across, Agg, GroupStep, HistoryStats, Kind, Outcome, Over, Point, Step, Version};
pub use query::Which;
use reopen::Slot;
use retention::Floors;
pub use retention::{Class, KeptSince, Retention, Span};
pub(crate) use rollup::Held;
pub use scrub::{Known, Scrubbed};
use series::Dictionary;
pub(crate) use series::parse_key;
pub use series::{NumbersOf, SeriesId, SeriesInfo};
pub use stat::{OfClass, OfWeek, Stat};
pub(crate) use steps::{Grid, value};
pub use verify::{Fault, Verified};
use write::{Sizes, Writer};

/// How history packs and caches.
#[derive(Clone, Debug)]
pub struct HistoryConfig {
    /// Points after which a head becomes a chunk. Default 360.
    pub chunk_points: usize,
    /// Span of measured time after which a head of at least a sixth of `chunk_points` becomes a
    /// chunk. Default 6 hours. Slower series wait for points or for the end of their seven days:
    /// chunks of a few points would cost ten times the bytes.
    pub chunk_span: Duration,
    /// Late points of a series that are gathered before they are folded into its chunks, unless its
    /// head is sealed before. Default 4096.
    pub late_points: usize,
    /// Bytes of blocks kept from disk. Default 32 MiB.
    pub cache_bytes: u64,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self {
            chunk_points: 360,
            chunk_span: Duration::from_secs(6 * 3600),
            late_points: 4096,
            cache_bytes: 32 << 20,
        }
    }
}

/// Why history cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The database cannot be opened; another process may have it.
    #[error("history in {} cannot be opened", dir.display())]
    Open {
        /// Where.
        dir: PathBuf,
        /// Why.
        #[source]
        source: fjall::Error,
    },
    /// The database was written by another version.
    #[error(
        "history has layout {found}, this program reads {} to {}: a newer program wrote it; use that one or a backup (the journal brings back only what it still holds: `onemap journal stat`)",
        disk::OLDEST_FORMAT,
        disk::FORMAT
    )]
    Format {
        /// The layout found.
        found: u64,
    },
    /// The row that says up to where history goes is damaged. Its folder can be removed and made
    /// again from the journal.
    #[error("history's cursor is damaged")]
    Cursor,
    /// Reading failed.
    #[error("history cannot be read")]
    Read(#[source] fjall::Error),
    /// Writing failed; the database takes no more writes until [`History::mend`] has opened it again.
    #[error("history cannot be written")]
    Write(#[source] fjall::Error),
    /// It is being opened again after a write that failed: soon there is an answer.
    #[error("history is being opened again after a write that failed; ask again in a moment")]
    Closed,
    /// The disk has lost a checkpoint that it had. A start reads what it stood for again from the journal.
    #[error("history on the disk is older than it was: the server has to be started again")]
    WentBack,
    /// A checkpoint failed, and [`History::mend`] has not said yet what became of it.
    #[error("history takes nothing before its checkpoint that failed is mended")]
    Unmended,
    /// The step of an aggregate is too small for its range.
    #[error("a step of {step_ms} ms would give more than {max} steps")]
    Steps {
        /// The step.
        step_ms: u64,
        /// Most steps.
        max: u64,
    },
}

impl HistoryError {
    fn reading(source: fjall::Error) -> Self {
        Self::Read(source)
    }
    fn writing(source: fjall::Error) -> Self {
        Self::Write(source)
    }
}

/// The history of all series; share it in an `Arc`.
pub struct History {
    slot: Slot,
    memory: Memory,
    dictionary: RwLock<Dictionary>,
    writer: Mutex<Writer>,
    cursor: AtomicU64,
    sizes: Sizes,
    seal_at: SealAt,
    fold_at: usize,
    /// Times before this belong to days that may have rollups.
    cared_to: AtomicI64,
    /// Held while care is given.
    caring: Mutex<()>,
    scrubbed: Mutex<Scrubbed>,
    /// Held while a slice of the scrub is read.
    scrubbing: Mutex<()>,
    floors: RwLock<Floors>,
    /// What damaged rows of heads took with them.
    lost: RwLock<Vec<Lost>>,
    /// Times from here on are taken whatever their quantity.
    closing: AtomicI64,
    /// When what is taken is to be looked at again.
    next_closing: AtomicI64,
    /// Checkpoints since opening, and how many there had been when series forgot something last.
    n_checkpoints: AtomicU64,
    trimmed_at: AtomicU64,
}

impl History {
    /// Opens the history in `dir`, which is made when it is not there.
    ///
    /// # Errors
    /// [`HistoryError::Open`], [`HistoryError::Format`], [`HistoryError::Cursor`] or
    /// [`HistoryError::Read`]. A damaged head is not an error: it is logged, counted, and what its
    /// chunks hold stays readable.
    pub fn open(dir: &Path, config: HistoryConfig) -> Result<History, HistoryError> {
        let disk = Slot::open(dir, &config)?;
        let (cursor, n_chunks, chunk_bytes, n_batches) = checkpoint::read_cursor(&disk)?;
        let mut dictionary = Dictionary::default();
        let memory = Memory::default();
        let mut next_growth = 0;
        let mut gone = load::Gone::default();
        let mut heads = disk.heads_in_order()?;
        for (id, key) in disk.load_series()? {
            dictionary.enter(id, key);
            let series = heads.of(id, &mut gone)?;
            next_growth = next_growth.max(series.grown_from);
            memory.write(id, |place| *place = series);
        }
        let mut writer = Writer::default();
        writer.n_batches = n_batches;
        let (growth, largest) = disk.load_growth(&memory, next_growth, &mut gone)?;
        writer.growth = growth;
        // One that has begun in growth and lost its name stays given.
        if dictionary.next() <= largest {
            dictionary.enter(largest, None);
        }
        let lost = disk.load_lost(&memory, gone)?;
        let floors = Floors::load(&disk)?;
        disk.drop_gone(floors.gone())?;
        let cared_to = care::read_extent(&disk)?.map_or(i64::MIN, |extent| extent.end());
        let scrubbed = scrub::read(&disk)?;
        for (id, key) in dictionary.iter() {
            let last = memory.write(id, |series| {
                series.kept.0 = floors.of(key.quantity).raw;
                series.last()
            });
            if let (Some(device), Some(last)) = (dictionary.device(&key.device), last) {
                writer.reports(device).forget_up_to(last);
            }
        }
        Ok(Self {
            slot: Slot::new(dir, &config, disk),
            memory,
            dictionary: RwLock::new(dictionary),
            writer: Mutex::new(writer),
            cursor: AtomicU64::new(cursor),
            sizes: Sizes {
                n_chunks: n_chunks.into(),
                chunk_bytes: chunk_bytes.into(),
                unsaved: 0.into(),
            },
            seal_at: SealAt {
                n_points: config.chunk_points.clamp(1, 65_536),
                span_ms: i64::try_from(config.chunk_span.as_millis()).unwrap_or(i64::MAX),
                n_points_by_span: config.chunk_points.div_ceil(6).max(1),
            },
            fold_at: config.late_points.max(1),
            cared_to: cared_to.into(),
            caring: Mutex::default(),
            scrubbed: Mutex::new(scrubbed),
            scrubbing: Mutex::default(),
            closing: floors.highest().into(),
            floors: RwLock::new(floors),
            lost: RwLock::new(lost),
            next_closing: i64::MAX.into(),
            n_checkpoints: 1.into(),
            trimmed_at: 0.into(),
        })
    }

    /// Journal position of the last durable checkpoint, 0 before the first: reading goes on after it.
    pub fn cursor(&self) -> u64 {
        self.cursor.load(Ordering::Acquire)
    }

    /// The number of a series.
    pub fn series_id(&self, key: &SeriesKey) -> Option<SeriesId> {
        unpoisoned(self.dictionary.read()).find(key).map(|(id, _)| id)
    }

    /// The name of a series.
    pub fn series_key(&self, id: SeriesId) -> Option<SeriesKey> {
        unpoisoned(self.dictionary.read()).key(id).cloned()
    }

    /// One series and its extent.
    pub fn series(&self, id: SeriesId) -> Option<SeriesInfo> {
        let key = self.series_key(id)?;
        self.info(id, key)
    }

    /// Every series that has a value, in the order of their numbers.
    pub fn all_series(&self) -> Vec<SeriesInfo> {
        self.series_where(&|_| true)
    }

    /// The series that have a value and whose name is wanted, in the order of their numbers.
    pub fn series_where(&self, wanted: &dyn Fn(&SeriesKey) -> bool) -> Vec<SeriesInfo> {
        let names: Vec<(SeriesId, SeriesKey)> = unpoisoned(self.dictionary.read())
            .iter()
            .filter(|(_, key)| wanted(key))
            .map(|(id, key)| (id, key.clone()))
            .collect();
        names
            .into_iter()
            .filter_map(|(id, key)| self.info(id, key))
            .collect()
    }

    /// The series of one device that have a value, in the order of their numbers.
    pub fn series_of(&self, device: &DeviceId) -> Vec<SeriesInfo> {
        let ids = {
            let dictionary = unpoisoned(self.dictionary.read());
            dictionary
                .device(device)
                .map(|device| dictionary.of_device(device).to_vec())
                .unwrap_or_default()
        };
        ids.into_iter().filter_map(|id| self.series(id)).collect()
    }

    /// The numbers of all devices' series, for one look at many: no new series is entered while it is held.
    pub fn numbers(&self) -> NumbersOf<'_> {
        NumbersOf(unpoisoned(self.dictionary.read()))
    }

    fn info(&self, id: SeriesId, key: SeriesKey) -> Option<SeriesInfo> {
        let (n, first, last) = self.memory.read(id, |s| (s.n, s.first, s.last))?;
        (n > 0).then(|| SeriesInfo {
            id,
            key,
            first: Timestamp::from_ms(first),
            last: Timestamp::from_ms(last),
            n,
        })
    }

    /// How large it is. Looks at every series, and waits for nothing.
    pub fn stats(&self) -> HistoryStats {
        let disk = self.disk().ok();
        let (points, in_memory) = self.memory.counts();
        let sizes = disk.as_ref().map(|disk| disk.sizes(self.slot.dir()));
        let sizes = sizes.unwrap_or_default();
        HistoryStats {
            series: unpoisoned(self.dictionary.read()).iter().count() as u64,
            points,
            chunk_points: points.saturating_sub(in_memory),
            unsaved: self.n_unsaved(),
            chunks: self.sizes.n_chunks.load(Ordering::Relaxed),
            chunk_bytes: self.sizes.chunk_bytes.load(Ordering::Relaxed),
            partitions: disk.as_ref().map_or(0, |disk| disk.n_partitions()),
            disk_bytes: sizes.tables + sizes.log + sizes.log_set_aside,
            table_bytes: sizes.tables,
            log_bytes: sizes.log,
            log_set_aside_bytes: sizes.log_set_aside,
            log_reserved_bytes: sizes.log_reserved,
            damaged: self.slot.n_damaged(),
            reopened: self.slot.n_reopened(),
        }
    }

    /// Points appended since the last checkpoint, to decide when the next one is due.
    pub fn n_unsaved(&self) -> u64 {
        self.sizes.unsaved.load(Ordering::Relaxed)
    }
}
