//! Accepted points that the engine may not have yet: a segment log of batches, the same as the journal's.
//!
//! The pipeline appends and waits for the durable position before it makes a checkpoint, so every point that
//! history counts as past is here. Nothing leaves before the sender releases it. At its size limit the spool
//! takes nothing more and the pipeline waits; nothing is dropped.
//!
//! A record is: points in all records before | oldest measured time | when it was spooled (ms since 1970) |
//! a batch ([`Batch::encode`]). The file `cursor` holds the last position released; without it everything in
//! the log is sent again, which is harmless.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use onemap_log::{Config, Log, LogError, Reader};
use onemap_model::Timestamp;

use crate::engine::{Batch, StoreError};
use crate::history::{Input, put_signed, put_unsigned};

/// Kind of a batch in the log.
const KIND_BATCH: u8 = 1;
const SEGMENT_BYTES: u64 = 16 << 20;

/// Why the spool cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// The log failed.
    #[error("the spool of the history's engine cannot be used")]
    Log(#[from] LogError),
    /// A record that this version cannot read.
    #[error("record {position} of the spool was written by another version")]
    Record {
        /// Its position.
        position: u64,
    },
    /// There is no room.
    #[error(
        "the spool of the history's engine is at its limit of {max_bytes} bytes; the engine is away or slow"
    )]
    Full {
        /// The limit.
        max_bytes: u64,
    },
    /// What was appended is not durable yet.
    #[error("the disk has not taken the spool's last points yet")]
    NotDurable,
}

/// How the spool stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpoolState {
    /// Bytes on disk.
    pub bytes: u64,
    /// Most bytes.
    pub max_bytes: u64,
    /// Points that the engine has not acknowledged.
    pub n_points: u64,
    /// Appends wait for room.
    pub full: bool,
    /// Why the disk takes nothing.
    pub refused: Option<String>,
    /// Why the log takes nothing any more.
    pub failed: Option<String>,
}

/// What is known of the points in the log.
#[derive(Debug)]
struct Marks {
    /// Points ever spooled.
    n_points: u64,
    /// Of these, how many were acknowledged.
    n_acked: u64,
    /// Position up to which the engine acknowledged.
    acked: u64,
    released: u64,
    /// Oldest measured time of what lies between `acked` and `mark`, at least; and behind `mark`.
    mark: u64,
    oldest_before: i64,
    oldest_behind: i64,
}

/// The spool of one engine.
#[derive(Debug)]
pub struct Spool {
    log: Log,
    cursor: PathBuf,
    max_bytes: u64,
    marks: Mutex<Marks>,
    /// Held by who appends what was read elsewhere, so that nothing older comes after what is newer.
    order: Mutex<()>,
}

/// One record of the spool.
#[derive(Debug)]
pub(crate) struct Spooled {
    pub(crate) position: u64,
    /// Points up to its end.
    pub(crate) n_points: u64,
    /// When it was spooled, ms since 1970.
    pub(crate) at: i64,
    pub(crate) batch: Batch,
}

impl Spool {
    /// Opens the spool in `dir`, which is made when it is not there.
    ///
    /// # Errors
    /// When the log cannot be opened or its last record not be read.
    pub fn open(dir: &Path, max_bytes: u64, reserve_bytes: u64) -> Result<Self, SpoolError> {
        let mut config = Config::new(dir);
        config.segment_bytes = SEGMENT_BYTES;
        config.max_bytes = Some(max_bytes);
        config.reserve_bytes = reserve_bytes;
        let (log, recovery) = Log::open(config)?;
        let cursor = dir.join("cursor");
        let last = recovery.last;
        let released = std::fs::read_to_string(&cursor)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0)
            .min(last);
        let first = log.status().first;
        let released = released.max(first.saturating_sub(1).min(last));
        let mut marks = Marks {
            n_points: 0,
            n_acked: 0,
            acked: released,
            released,
            mark: last,
            // What the last run left may be of any age.
            oldest_before: if released < last { i64::MIN } else { i64::MAX },
            oldest_behind: i64::MAX,
        };
        if last > 0 && last >= first {
            let mut reader = log.reader(last - 1)?;
            marks.n_points = next(&mut reader)?.map_or(0, |record| record.n_points);
        }
        marks.n_acked = marks.n_points;
        if released < last {
            let mut reader = log.reader(released)?;
            if let Some(record) = next(&mut reader)? {
                marks.n_acked = record.n_points - record.batch.len() as u64 - record.batch.n_unknown();
            }
        }
        Ok(Self {
            log,
            cursor,
            max_bytes,
            marks: Mutex::new(marks),
            order: Mutex::default(),
        })
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        // Changed in steps that cannot panic midway.
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a batch, waiting for room at most for `limit`. It is not durable yet.
    ///
    /// # Errors
    /// [`SpoolError::Full`] when there was no room: nothing was appended.
    pub fn append_for(&self, batch: &Batch, now: Timestamp, limit: Duration) -> Result<u64, SpoolError> {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        self.put(batch, now, limit)
    }

    /// Appends what `read` gives, while nobody else appends.
    ///
    /// # Errors
    /// Those of `read`; else as [`Spool::append_for`].
    pub fn append_read<E: From<SpoolError>>(
        &self,
        now: Timestamp,
        limit: Duration,
        read: impl FnOnce() -> Result<Batch, E>,
    ) -> Result<u64, E> {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(self.put(&read()?, now, limit)?)
    }

    fn put(&self, batch: &Batch, now: Timestamp, limit: Duration) -> Result<u64, SpoolError> {
        let Some(oldest) = batch.oldest() else {
            return Ok(self.log.status().next.saturating_sub(1));
        };
        let before = self.marks().n_points;
        let mut record = onemap_log::Batch::new();
        record.push(KIND_BATCH, |out| {
            put_unsigned(out, before);
            put_signed(out, oldest);
            put_signed(out, now.ms());
            batch.encode(out);
        });
        let Some(position) = self.log.append_for(&record, limit)? else {
            return Err(SpoolError::Full {
                max_bytes: self.max_bytes,
            });
        };
        let mut marks = self.marks();
        marks.n_points += batch.len() as u64;
        marks.oldest_behind = marks.oldest_behind.min(oldest);
        Ok(position)
    }

    /// Waits until a position is durable, at most for `limit`.
    ///
    /// # Errors
    /// [`SpoolError::NotDurable`] when it is not by then.
    pub fn wait_durable(&self, position: u64, limit: Duration) -> Result<(), SpoolError> {
        match self.log.wait_durable_for(position, limit)? {
            true => Ok(()),
            false => Err(SpoolError::NotDurable),
        }
    }

    /// Whether nothing was ever appended.
    pub fn is_unused(&self) -> bool {
        self.log.status().next <= 1
    }

    /// How it stands.
    pub fn state(&self) -> SpoolState {
        let log = self.log.status();
        let marks = self.marks();
        SpoolState {
            bytes: log.bytes,
            max_bytes: self.max_bytes,
            n_points: marks.n_points.saturating_sub(marks.n_acked),
            full: log.full,
            refused: log.refused,
            failed: log.failed,
        }
    }

    /// Whether the engine acknowledged all points measured before a time.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when some are still here.
    pub fn has_sent_all_before(&self, at: Timestamp) -> Result<(), StoreError> {
        let marks = self.marks();
        let waiting = marks.n_points.saturating_sub(marks.n_acked);
        if waiting > 0 && marks.oldest_before.min(marks.oldest_behind) < at.ms() {
            return Err(StoreError::away(format!(
                "{waiting} points wait to be sent to it, some of them of the time that is asked for"
            )));
        }
        Ok(())
    }

    /// Makes what is appended durable and closes the log; appends fail from now on.
    ///
    /// # Errors
    /// When not everything became durable.
    pub fn close(&self) -> Result<(), SpoolError> {
        Ok(self.log.close()?)
    }

    /// Last position released.
    pub(crate) fn released(&self) -> u64 {
        self.marks().released
    }

    /// Position up to which the engine acknowledged.
    pub(crate) fn acked(&self) -> u64 {
        self.marks().acked
    }

    /// Records behind a position.
    pub(crate) fn reader(&self, after: u64) -> Result<Reader, SpoolError> {
        Ok(self.log.reader(after)?)
    }

    /// Waits for the record behind a position, at most for `limit`; false when it did not come.
    pub(crate) fn wait(&self, after: u64, limit: Duration) -> Result<bool, SpoolError> {
        Ok(self.log.wait_durable_for(after + 1, limit)?)
    }

    /// The engine acknowledged everything up to a record.
    pub(crate) fn note_acked(&self, position: u64, n_points: u64) {
        let next = self.log.status().next;
        let mut marks = self.marks();
        if position <= marks.acked {
            return; // sent again
        }
        marks.acked = position;
        marks.n_acked = marks.n_acked.max(n_points);
        if position >= marks.mark {
            marks.oldest_before = marks.oldest_behind;
            marks.oldest_behind = i64::MAX;
            marks.mark = next.saturating_sub(1);
        }
    }

    /// Lets go of everything up to a position.
    pub(crate) fn release(&self, position: u64) -> Result<(), SpoolError> {
        self.marks().released = position;
        let part = self.cursor.with_extension("part");
        // A cursor that is not written only means that more is sent again.
        let _ = std::fs::write(&part, format!("{position}\n"))
            .and_then(|()| std::fs::rename(&part, &self.cursor));
        self.log.release(position, SystemTime::now())?;
        Ok(())
    }
}

/// The next record, if there is one.
pub(crate) fn next(reader: &mut Reader) -> Result<Option<Spooled>, SpoolError> {
    let Some(entry) = reader.next()? else {
        return Ok(None);
    };
    let position = entry.position;
    let read = || {
        let mut input = Input(entry.body);
        let before = input.unsigned()?;
        input.signed()?;
        let at = input.signed()?;
        let batch = Batch::decode(input.0)?;
        Some(Spooled {
            position,
            n_points: before + batch.len() as u64 + batch.n_unknown(),
            at,
            batch,
        })
    };
    match read() {
        Some(record) if entry.kind == KIND_BATCH => Ok(Some(record)),
        _ => Err(SpoolError::Record { position }),
    }
}
