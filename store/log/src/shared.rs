//! What appenders, the commit thread, readers and upkeep share.

use std::{
    fs::File,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use tokio::sync::{Notify, watch};

use crate::{
    Batch, Config, LogError, carry::Carry, catalog::Catalog, first::First, frame::MARK_BYTES,
    segment::HEADER_BYTES,
};

/// Bytes from which a commit is worth its sync without waiting for company.
pub(crate) const SMALL_COMMIT_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) pending: Mutex<Pending>,
    /// Wakes the commit thread.
    pub(crate) work: Condvar,
    /// Set with every append; the commit thread looks at it before it sleeps.
    pub(crate) arrived: AtomicBool,
    /// Wakes threads that wait for room or for a durable position; tasks wait on `room_for_tasks`.
    pub(crate) progress: Condvar,
    pub(crate) room_for_tasks: Notify,
    pub(crate) catalog: Mutex<Catalog>,
    /// Bytes of all segments, a copy of the catalog's for appenders.
    pub(crate) disk_bytes: AtomicU64,
    /// The commit thread holds the sender: when it ends, for whatever reason, receivers learn of it.
    pub(crate) durable: watch::Receiver<u64>,
    /// Whom the commit thread tells before it says so there.
    pub(crate) first: First,
    /// Held while segments are removed or replaced.
    pub(crate) upkeep: Mutex<Carry>,
    /// Tells the compressor to end, and wakes it (with the catalog's lock).
    pub(crate) stopping: AtomicBool,
    pub(crate) closed_a_segment: Condvar,
    pub(crate) pack_error: Mutex<Option<String>>,
    /// The lock on the folder, until the log is closed.
    pub(crate) dir_lock: Mutex<Option<File>>,
}

/// Records on their way to the commit thread.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Room for a mark, then encoded records.
    pub(crate) bytes: Vec<u8>,
    pub(crate) n_records: u64,
    /// Position the next record gets.
    pub(crate) next: u64,
    /// Bytes the commit thread is writing.
    pub(crate) in_flight: u64,
    pub(crate) durable: u64,
    /// The commit thread sleeps until it is notified.
    pub(crate) idle: bool,
    /// The commit thread waits a moment for company: until so many records are pending.
    pub(crate) gathering: Option<u64>,
    pub(crate) rotate: bool,
    pub(crate) closing: bool,
    pub(crate) ended: Option<Ended>,
    /// Why the disk refused bytes, which are tried again.
    pub(crate) disk_full: Option<Arc<str>>,
    /// A batch did not fit under the size cap: all wait until something is removed or compressed.
    pub(crate) cap_full: bool,
    pub(crate) n_commits: u64,
    pub(crate) n_committed: u64,
}

/// Why nothing more is committed.
#[derive(Clone, Debug)]
pub(crate) enum Ended {
    Failed(Arc<str>),
    Closed,
}

impl Ended {
    pub(crate) fn error(&self) -> LogError {
        match self {
            Self::Failed(why) => LogError::Failed(Arc::clone(why)),
            Self::Closed => LogError::Closed,
        }
    }
}

impl Pending {
    pub(crate) fn new(last: u64) -> Self {
        Self {
            bytes: vec![0; MARK_BYTES],
            n_records: 0,
            next: last + 1,
            in_flight: 0,
            durable: last,
            idle: false,
            gathering: None,
            rotate: false,
            closing: false,
            ended: None,
            disk_full: None,
            cap_full: false,
            n_commits: 0,
            n_committed: 0,
        }
    }
}

/// Takes a lock. What these locks guard is changed in steps that cannot panic midway, so a holder's
/// panic elsewhere leaves it whole; a commit thread that panicked shows as [`Ended::Failed`].
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits on a condition variable, see [`lock`].
pub(crate) fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Takes the batch if there is room for it and returns the position of its last record.
    pub(crate) fn try_append(&self, pending: &mut Pending, batch: &Batch) -> Result<Option<u64>, LogError> {
        let (bytes, n_records) = batch.encoded()?;
        if let Some(ended) = &pending.ended {
            return Err(ended.error());
        }
        if pending.closing {
            return Err(LogError::Closed);
        }
        if n_records == 0 {
            return Ok(Some(pending.next - 1));
        }
        if pending.n_records > 0 && pending.bytes.len() >= self.config.pending_limit() {
            return Ok(None);
        }
        if let Some(max_bytes) = self.config.max_bytes {
            let size = bytes.len() as u64;
            let limit = max_bytes.saturating_sub((HEADER_BYTES + MARK_BYTES) as u64);
            if size > limit {
                return Err(LogError::BatchTooLarge { bytes: size, limit });
            }
            let disk = self.disk_bytes.load(Ordering::Relaxed);
            if pending.cap_full {
                return Ok(None); // small batches do not overtake the one that waits for a release
            }
            if disk + pending.in_flight + pending.bytes.len() as u64 + size > max_bytes {
                pending.cap_full = true;
                pending.rotate = true; // so that all there is can be released
                self.work.notify_one();
                return Ok(None);
            }
        }
        pending.bytes.extend_from_slice(bytes);
        pending.n_records += n_records;
        pending.next += n_records;
        self.arrived.store(true, Ordering::Release);
        let enough = pending
            .gathering
            .is_some_and(|enough| pending.n_records >= enough || pending.bytes.len() >= SMALL_COMMIT_BYTES);
        if pending.idle || enough {
            pending.idle = false;
            pending.gathering = None;
            self.work.notify_one();
        }
        Ok(Some(pending.next - 1))
    }

    /// Copies the catalog's size for the appenders and lets those that wait look again.
    pub(crate) fn made_room(&self, total_bytes: u64) {
        self.disk_bytes.store(total_bytes, Ordering::Relaxed);
        lock(&self.pending).cap_full = false;
        self.work.notify_one();
        self.progress.notify_all();
        self.room_for_tasks.notify_waiters();
    }

    /// The reason why a position will not become durable.
    pub(crate) fn why_ended(&self) -> LogError {
        let pending = lock(&self.pending);
        pending.ended.as_ref().map_or(LogError::Closed, Ended::error)
    }
}
