//! The log as its users hold it.

use std::{
    fs::File,
    io,
    ops::RangeInclusive,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::{Notify, watch};
use tracing::warn;

use crate::{
    Batch, Config, LogError, Reader, Recovery, ToldFirst,
    commit::Committer,
    first::First,
    recover,
    shared::{Ended, Pending, Shared, lock, wait},
};

/// An open log. Clones share it; when the last one goes, it is closed as by [`Log::close`], which
/// blocks for as long as the disk takes.
#[derive(Clone, Debug)]
pub struct Log {
    owner: Arc<Owner>,
}

/// Ends the threads with the last clone; readers do not keep a log open.
#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// How a log stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Position of the first record kept in a segment.
    pub first: u64,
    /// Position the next record gets.
    pub next: u64,
    /// Position of the last durable record; 0 when there is none.
    pub durable: u64,
    /// Bytes of all segments on disk, without `carry.log`.
    pub bytes: u64,
    /// Number of segments, the active one included.
    pub segments: usize,
    /// Records in `carry.log`.
    pub carried: u64,
    /// Bytes waiting for the commit thread.
    pub pending_bytes: usize,
    /// Why the log takes no more records.
    pub failed: Option<String>,
    /// Why a closed segment could not be compressed; it stays as it is.
    pub pack_error: Option<String>,
    /// The disk, or the size cap, has no room for what is waiting.
    pub full: bool,
    /// Why the disk takes nothing at the moment; what waits is tried again.
    pub refused: Option<String>,
    /// Commits since the log was opened; each is one write and one sync.
    pub n_commits: u64,
    /// Records made durable since the log was opened.
    pub n_records: u64,
}

impl Log {
    /// Opens the log in `config.dir`, makes it when there is none, and starts its threads.
    ///
    /// Reads the last segment whole. A torn tail is cut away and reported, see
    /// [`Torn`](crate::Torn).
    ///
    /// # Errors
    /// [`LogError::Locked`] when another process has it open, [`LogError::Corrupt`] when bytes that
    /// were once durable are damaged, [`LogError::Io`].
    pub fn open(config: Config) -> Result<(Self, Recovery), LogError> {
        Self::open_with(config, File::sync_data)
    }

    fn open_with(config: Config, sync: fn(&File) -> io::Result<()>) -> Result<(Self, Recovery), LogError> {
        let opened = recover::open(&config)?;
        let recovery = opened.recovery;
        if let Some(torn) = &recovery.torn {
            let (segment, saved) = (torn.segment.display(), torn.saved_as.display());
            warn!(
                "{segment} had a torn end of {} bytes at byte {}, now in {saved}; the log goes on after record {}",
                torn.lost_bytes, torn.at_byte, recovery.last
            );
        }
        let (sender, receiver) = watch::channel(recovery.last);
        let shared = Arc::new(Shared {
            pending: Mutex::new(Pending::new(recovery.last)),
            work: Condvar::new(),
            arrived: AtomicBool::new(false),
            progress: Condvar::new(),
            room_for_tasks: Notify::new(),
            disk_bytes: AtomicU64::new(opened.catalog.total_bytes()),
            catalog: Mutex::new(opened.catalog),
            durable: receiver,
            first: First::new(recovery.last),
            upkeep: Mutex::new(opened.carry),
            stopping: AtomicBool::new(false),
            closed_a_segment: Condvar::new(),
            pack_error: Mutex::new(None),
            dir_lock: Mutex::new(Some(opened.dir_lock)),
            config,
        });
        let committer = Committer {
            shared: Arc::clone(&shared),
            active: opened.active,
            durable: sender,
            sync,
        };
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let spawned = thread::Builder::new().name(name.into()).spawn(run);
            spawned.map_err(LogError::io("start a thread for", &shared.config.dir))
        };
        let owner = Owner {
            shared: Arc::clone(&shared),
            threads: Mutex::new(vec![spawn("log-commit", Box::new(move || committer.run()))?]),
        };
        #[cfg(feature = "compress")]
        if shared.config.compress {
            let of_packer = Arc::clone(&shared);
            let packer = spawn("log-pack", Box::new(move || crate::compress::run(&of_packer)))?;
            lock(&owner.threads).push(packer);
        }
        Ok((
            Self {
                owner: Arc::new(owner),
            },
            recovery,
        ))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }

    /// Appends the batch and returns the position of its last record, which is not yet durable: wait
    /// for it with [`Log::wait_durable`] before acknowledging anything. An empty batch appends nothing
    /// and returns the last position given so far.
    ///
    /// Waits while there is no room (pending buffer, size cap, disk). When the future is dropped, the
    /// batch was not appended.
    ///
    /// # Errors
    /// [`LogError::Failed`], [`LogError::Closed`], or the reason why the batch can never be appended.
    pub async fn append(&self, batch: &Batch) -> Result<u64, LogError> {
        let shared = self.shared();
        if let Some(last) = shared.try_append(&mut lock(&shared.pending), batch)? {
            return Ok(last);
        }
        loop {
            let mut room = std::pin::pin!(shared.room_for_tasks.notified());
            room.as_mut().enable(); // before looking, so that no wake-up is missed
            if let Some(last) = shared.try_append(&mut lock(&shared.pending), batch)? {
                return Ok(last);
            }
            room.await;
        }
    }

    /// Appends like [`Log::append`], for threads.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn append_blocking(&self, batch: &Batch) -> Result<u64, LogError> {
        let shared = self.shared();
        let mut pending = lock(&shared.pending);
        loop {
            if let Some(last) = shared.try_append(&mut pending, batch)? {
                return Ok(last);
            }
            pending = wait(&shared.progress, pending);
        }
    }

    /// Appends like [`Log::append_blocking`], waiting for room at most for `limit`; none when there was none, and
    /// nothing was appended.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn append_for(&self, batch: &Batch, limit: Duration) -> Result<Option<u64>, LogError> {
        let shared = self.shared();
        let until = Instant::now() + limit;
        let mut pending = lock(&shared.pending);
        loop {
            if let Some(last) = shared.try_append(&mut pending, batch)? {
                return Ok(Some(last));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let waited = shared.progress.wait_timeout(pending, left);
            pending = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }

    /// The position of the last durable record, as it moves. The channel closes when the log is
    /// closed or has failed; [`Log::status`] says which.
    pub fn durable(&self) -> watch::Receiver<u64> {
        self.shared().durable.clone()
    }

    /// Has the commit thread itself tell `who` once `position` is durable, before [`Log::durable`] says so. False
    /// when it will not: many want that, it is durable already, or the log has ended. Also after a true one it may
    /// be told that it is [not first](ToldFirst::not_first), and waits in the usual way.
    pub fn tell_first(&self, position: u64, who: Arc<dyn ToldFirst>) -> bool {
        self.shared().first.wait(position, who)
    }

    /// Waits until the record at `position` is durable.
    ///
    /// # Errors
    /// [`LogError::Failed`] or [`LogError::Closed`] when it never will be.
    pub async fn wait_durable(&self, position: u64) -> Result<(), LogError> {
        let mut durable = self.durable();
        match durable.wait_for(|durable| *durable >= position).await {
            Ok(_) => Ok(()),
            Err(_) => Err(self.shared().why_ended()),
        }
    }

    /// Waits like [`Log::wait_durable`], for threads.
    ///
    /// # Errors
    /// As [`Log::wait_durable`].
    pub fn wait_durable_blocking(&self, position: u64) -> Result<(), LogError> {
        let shared = self.shared();
        let mut pending = lock(&shared.pending);
        while pending.durable < position {
            if let Some(ended) = &pending.ended {
                return Err(ended.error());
            }
            pending = wait(&shared.progress, pending);
        }
        Ok(())
    }

    /// Waits until the record at `position` is durable, at most for `limit`; says whether it is.
    ///
    /// # Errors
    /// As [`Log::wait_durable`].
    pub fn wait_durable_for(&self, position: u64, limit: Duration) -> Result<bool, LogError> {
        let shared = self.shared();
        let mut pending = lock(&shared.pending);
        let until = Instant::now() + limit;
        while pending.durable < position {
            if let Some(ended) = &pending.ended {
                return Err(ended.error());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let waited = shared.progress.wait_timeout(pending, left);
            pending = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        Ok(true)
    }

    /// A reader of all durable records behind `after`. When the first of them are no longer in a
    /// segment, it begins with those that were carried over.
    ///
    /// # Errors
    /// [`LogError::Ahead`] when `after` was never given to a record.
    pub fn reader(&self, after: u64) -> Result<Reader, LogError> {
        let last = lock(&self.shared().pending).next - 1;
        match after > last {
            true => Err(LogError::Ahead { after, last }),
            false => Ok(Reader::live(Arc::clone(self.shared()), after)),
        }
    }

    /// Bytes of the log's disk that are free beyond [`Config::reserve_bytes`].
    ///
    /// # Errors
    /// [`LogError::Io`] when the disk does not tell.
    pub fn room_bytes(&self) -> Result<u64, LogError> {
        let config = &self.shared().config;
        let disk = rustix::fs::statvfs(&config.dir)
            .map_err(|errno| LogError::io("see the room for", &config.dir)(errno.into()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        Ok(free.saturating_sub(config.reserve_bytes))
    }

    /// First and last positions of the closed segments that begin behind `after`, oldest first. Nothing in them changes any more.
    pub fn closed_after(&self, after: u64) -> Vec<RangeInclusive<u64>> {
        lock(&self.shared().catalog).closed_after(after)
    }

    /// How the log stands now.
    pub fn status(&self) -> Status {
        let shared = self.shared();
        let catalog = lock(&shared.catalog);
        let (first, bytes, segments, carried) = (
            catalog.first(),
            catalog.total_bytes(),
            catalog.n_segments(),
            catalog.carry_records,
        );
        drop(catalog);
        let pack_error = lock(&shared.pack_error).clone();
        let pending = lock(&shared.pending);
        Status {
            first,
            next: pending.next,
            durable: pending.durable,
            bytes,
            segments,
            carried,
            pending_bytes: if pending.n_records == 0 {
                0
            } else {
                pending.bytes.len()
            },
            failed: match &pending.ended {
                Some(Ended::Failed(why)) => Some(why.to_string()),
                _ => None,
            },
            pack_error,
            full: pending.disk_full.is_some() || pending.cap_full,
            refused: pending.disk_full.as_deref().map(str::to_owned),
            n_commits: pending.n_commits,
            n_records: pending.n_committed,
        }
    }

    /// Closes the active segment soon, if it holds any record, so that it can be compressed and
    /// released. For retention by age where little is written.
    pub fn rotate(&self) {
        lock(&self.shared().pending).rotate = true;
        self.shared().work.notify_one();
    }

    /// Makes everything appended durable, stops the threads and gives the folder free. Later appends
    /// fail; readers still read. Blocks for as long as the disk takes. Closing again does nothing.
    ///
    /// # Errors
    /// [`LogError::Failed`] when not every record became durable.
    pub fn close(&self) -> Result<(), LogError> {
        self.owner.close()
    }
}

impl Owner {
    fn close(&self) -> Result<(), LogError> {
        let shared = &*self.shared;
        lock(&shared.pending).closing = true;
        shared.work.notify_all();
        shared.progress.notify_all();
        shared.room_for_tasks.notify_waiters();
        shared.stopping.store(true, Ordering::Relaxed);
        drop(lock(&shared.catalog)); // the packer is asleep or will see the flag
        shared.closed_a_segment.notify_all();
        // Held while joining: a second caller returns when the log is closed, not before.
        let mut threads = lock(&self.threads);
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                warn!("a thread of the log in {} panicked", shared.config.dir.display());
            }
        }
        drop(lock(&shared.dir_lock).take());
        match &lock(&shared.pending).ended {
            Some(ended @ Ended::Failed(_)) => Err(ended.error()),
            _ => Ok(()),
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // A failure was logged when it happened, and nobody is left to be told.
        let _ = self.close();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::time::Duration;

    fn one(body: &[u8]) -> Batch {
        let mut batch = Batch::new();
        batch.push(1, |out| out.extend_from_slice(body));
        batch
    }

    #[test]
    fn after_a_failed_sync_everybody_is_told_and_the_file_is_never_synced_again() {
        static N_SYNCS: AtomicU64 = AtomicU64::new(0);
        fn third_fails(file: &File) -> io::Result<()> {
            match N_SYNCS.fetch_add(1, Ordering::SeqCst) {
                2 => Err(io::Error::from_raw_os_error(5)),
                _ => file.sync_data(),
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = Log::open_with(Config::new(dir.path()), third_fails).unwrap();
        for n in 1..=2 {
            assert_eq!(log.append_blocking(&one(b"kept")).unwrap(), n);
            log.wait_durable_blocking(n).unwrap();
        }
        let durable = log.durable();
        let position = log.append_blocking(&one(b"lost")).unwrap();
        let error = log.wait_durable_blocking(position).unwrap_err();
        assert!(
            matches!(&error, LogError::Failed(why) if why.contains("sync")),
            "{error}"
        );
        assert!(matches!(
            log.append_blocking(&one(b"more")),
            Err(LogError::Failed(_))
        ));
        assert!(log.status().failed.is_some());
        assert!(matches!(log.close(), Err(LogError::Failed(_))));
        assert!(durable.has_changed().is_err(), "the channel is closed");
        assert_eq!(N_SYNCS.load(Ordering::SeqCst), 3);
        // What was durable is still read, what was not is not.
        let mut reader = log.reader(0).unwrap();
        while reader.next().unwrap().is_some() {}
        assert_eq!(reader.position(), 2);
    }

    #[test]
    fn a_panic_in_the_commit_thread_leaves_nobody_waiting() {
        fn panics(_: &File) -> io::Result<()> {
            panic!("as a test")
        }
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = Log::open_with(Config::new(dir.path()), panics).unwrap();
        let position = log.append_blocking(&one(b"x")).unwrap();
        assert!(matches!(
            log.wait_durable_blocking(position),
            Err(LogError::Failed(_))
        ));
        assert!(matches!(log.close(), Err(LogError::Failed(_))));
    }

    #[test]
    fn each_commit_is_synced_once() {
        static N_SYNCS: AtomicU64 = AtomicU64::new(0);
        fn counted(file: &File) -> io::Result<()> {
            N_SYNCS.fetch_add(1, Ordering::SeqCst);
            file.sync_data()
        }
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            segment_bytes: 4096,
            commit_wait: Duration::ZERO,
            ..Config::new(dir.path())
        };
        let (log, _) = Log::open_with(config, counted).unwrap();
        for n in 1..=1000 {
            assert_eq!(log.append_blocking(&one(&[7; 100])).unwrap(), n);
            if n % 10 == 0 {
                log.wait_durable_blocking(n).unwrap();
            }
        }
        let status = log.status();
        assert!(status.segments > 10);
        assert_eq!(N_SYNCS.load(Ordering::SeqCst), status.n_commits);
    }
}
