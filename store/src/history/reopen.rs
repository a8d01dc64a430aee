//! The database after a write that failed: it is closed and opened again while the server runs.
//!
//! The engine takes nothing more once a write of it has failed. What no checkpoint has written is in memory,
//! and stays there: only the database is closed, whole, and opened again, and what the disk then says decides
//! whether the checkpoint that failed is made again or was made after all. So nothing is replayed, and rules,
//! alerts and latest values stay as they are.
//!
//! Readers keep the old database until the disk takes writes again; then they are asked to make an end, and
//! who asks in that moment gets [`HistoryError::Closed`].

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use super::checkpoint::read_cursor;
use super::disk::Disk;
use super::memory::unpoisoned;
use super::retention::Floors;
use super::{History, HistoryConfig, HistoryError, care};

/// How long readers are waited for before they may go on with the old database and it is tried again later.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks whether the last reader has gone.
const LOOK: Duration = Duration::from_millis(2);

/// Where the database is, or will be again.
pub(super) struct Slot {
    dir: PathBuf,
    config: HistoryConfig,
    disk: RwLock<Option<Arc<Disk>>>,
    /// A write has failed.
    has_failed: AtomicBool,
    n_reopened: AtomicU64,
    n_damaged: Arc<AtomicU64>,
}

impl Slot {
    pub(super) fn open(dir: &Path, config: &HistoryConfig) -> Result<Disk, HistoryError> {
        let disk = Disk::open(dir, config)?;
        disk.check_format()?;
        Ok(disk)
    }
    pub(super) fn new(dir: &Path, config: &HistoryConfig, disk: Disk) -> Self {
        Self {
            dir: dir.to_owned(),
            config: config.clone(),
            n_damaged: disk.counts_in(),
            disk: RwLock::new(Some(Arc::new(disk))),
            has_failed: AtomicBool::new(false),
            n_reopened: AtomicU64::new(0),
        }
    }
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
    pub(super) fn n_reopened(&self) -> u64 {
        self.n_reopened.load(Ordering::Relaxed)
    }
    pub(super) fn n_damaged(&self) -> u64 {
        self.n_damaged.load(Ordering::Relaxed)
    }

    /// Closes the database when its last reader has gone; whether it did.
    fn close(&self) -> bool {
        let mut disk = {
            let mut slot = unpoisoned(self.disk.write());
            let Some(disk) = slot.take() else { return true };
            // Who sees that it is gone finds it closing.
            disk.set_closing(true);
            disk
        };
        let started = Instant::now();
        loop {
            disk = match Arc::try_unwrap(disk) {
                Ok(_closed) => return true,
                Err(disk) => disk,
            };
            if started.elapsed() > PATIENCE {
                disk.set_closing(false);
                *unpoisoned(self.disk.write()) = Some(disk);
                return false;
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl History {
    /// The database. Who looks at it more than once holds it, so that no other takes its place meanwhile.
    ///
    /// # Errors
    /// [`HistoryError::Closed`].
    pub(super) fn disk(&self) -> Result<Arc<Disk>, HistoryError> {
        unpoisoned(self.slot.disk.read())
            .clone()
            .ok_or(HistoryError::Closed)
    }

    /// Notes a write that failed.
    pub(super) fn wrote<T>(&self, written: Result<T, fjall::Error>) -> Result<T, HistoryError> {
        self.made(written.map_err(HistoryError::writing))
    }
    /// As [`History::wrote`].
    pub(super) fn made<T>(&self, made: Result<T, HistoryError>) -> Result<T, HistoryError> {
        if matches!(made, Err(HistoryError::Write(_))) {
            self.slot.has_failed.store(true, Ordering::Release);
        }
        made
    }

    /// Whether a write has failed since the database was opened, so that [`History::mend`] is due.
    pub fn has_failed(&self) -> bool {
        self.slot.has_failed.load(Ordering::Acquire)
    }

    /// Opens the database again when a write has failed; whether that was due. What is in memory stays, and
    /// the next checkpoint writes it. To be called by the one writer, when the disk takes writes again.
    ///
    /// # Errors
    /// [`HistoryError::Open`] and whatever else [`History::open`] may say: then the next call tries again.
    /// [`HistoryError::WentBack`] when that cannot help.
    /// [`HistoryError::Closed`] when a reader does not come to an end: it goes on, and the next call tries again.
    pub fn mend(&self) -> Result<bool, HistoryError> {
        if !self.has_failed() {
            return Ok(false);
        }
        if !self.slot.close() {
            return Err(HistoryError::Closed);
        }
        let opening = |source: io::Error| HistoryError::Open {
            dir: self.slot.dir.clone(),
            source: source.into(),
        };
        renew_logs(&self.slot.dir).map_err(opening)?;
        let mut disk = Slot::open(&self.slot.dir, &self.slot.config)?;
        disk.count_in(self.slot.n_damaged.clone());
        let (cursor, n_chunks, chunk_bytes, n_batches) = read_cursor(&disk)?;
        let cared_to = care::read_extent(&disk)?.map_or(i64::MIN, |extent| extent.end());
        let floors = Floors::load(&disk)?;
        disk.drop_gone(floors.gone)?;
        let mut writer = unpoisoned(self.writer.lock());
        let writer = &mut *writer;
        if n_batches < writer.n_batches {
            return Err(HistoryError::WentBack);
        }
        let failed = writer.failed.take();
        if let Some(made) = failed
            && n_batches > writer.n_batches
        {
            // Of a checkpoint all is on the disk or nothing.
            self.settle(writer, made);
        }
        self.take_floors(floors);
        writer.windows.forget_all();
        writer.versions.forget_all();
        self.cursor.store(cursor, Ordering::Release);
        self.sizes.n_chunks.store(n_chunks, Ordering::Relaxed);
        self.sizes.chunk_bytes.store(chunk_bytes, Ordering::Relaxed);
        raise(&self.cared_to, cared_to);
        *unpoisoned(self.slot.disk.write()) = Some(Arc::new(disk));
        self.slot.n_reopened.fetch_add(1, Ordering::Relaxed);
        self.slot.has_failed.store(false, Ordering::Release);
        Ok(true)
    }
}

/// What care has begun it has begun, whether the disk says so or not: a day too many is looked at again.
fn raise(cared_to: &AtomicI64, to: i64) {
    cared_to.fetch_max(to, Ordering::AcqRel);
}

/// Writes the engine's write-ahead logs anew. When a flush has failed the operating system may have given up
/// pages that it still shows to who reads, and no later flush would tell.
fn renew_logs(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_none_or(|ext| ext != "jnl") {
            continue;
        }
        let part = path.with_extension("jnl.part");
        if let Err(error) = copy(&path, &part).and_then(|()| fs::rename(&part, &path)) {
            // What is left of it would only take room.
            let _ = fs::remove_file(&part);
            return Err(error);
        }
    }
    File::open(dir)?.sync_all()
}

/// Copies a file by its bytes, durably. Logs have room set aside behind their end: it takes none here either.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut from = File::open(from)?;
    let mut to = File::create(to)?;
    let mut block = vec![0; 64 << 10];
    let mut len = 0;
    loop {
        let n = from.read(&mut block)?;
        if n == 0 {
            break;
        }
        len += n as u64;
        match block[..n].iter().all(|byte| *byte == 0) {
            true => to.seek_relative(n as i64)?,
            false => to.write_all(&block[..n])?,
        }
    }
    to.set_len(len)?;
    to.sync_all()
}
