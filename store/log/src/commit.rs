//! The commit thread: pending records become durable ones.
//!
//! It takes all that is pending, writes it behind one mark with one call, syncs, and publishes the
//! position. While it syncs, the next records gather. It syncs at once when none did; only when records
//! keep arriving and the last commit was small does it wait a moment for company: until as many have come
//! as were just acknowledged, since a client with a full window answers each acknowledgement with its next
//! message, and never longer than a third of a sync, so that waiting costs less than it can save.

use std::{
    fs::File,
    mem,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::{
    LogError,
    catalog::Segment,
    frame::{self, MARK_BYTES},
    segment::{self, Form, HEADER_BYTES, Header},
    shared::{Ended, SMALL_COMMIT_BYTES, Shared, lock, wait},
};

/// Bytes reserved ahead of the end of the active segment.
const PREALLOCATE_BYTES: u64 = 8 << 20;
/// Zeros written ahead of small commits. A sync of bytes that replace others need not change what the
/// file system knows of the file: on ext4 it takes two thirds of the time, and less of the processor.
const ZEROED_BYTES: u64 = 256 << 10;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
/// How often a full disk is tried again. A release tries at once.
const FULL_DISK_RETRY: Duration = Duration::from_millis(500);

/// How long the commit thread looks out for the next record before it sleeps, where a sync is short: a client
/// with a full window answers its acknowledgements within this time, and to wake a thread on a processor
/// at rest takes a good part of a short sync.
const LOOK_OUT: Duration = Duration::from_micros(150);
/// A sync longer than this makes a wake-up not worth the looking out.
const SHORT_SYNC: Duration = Duration::from_micros(500);

/// The segment being written.
#[derive(Debug)]
pub(crate) struct Active {
    file: File,
    path: PathBuf,
    header: Header,
    pub(crate) base: u64,
    pub(crate) n_records: u64,
    len: u64,
    /// Bytes the file system has set aside; none when it cannot.
    allocated: Option<u64>,
    /// Where the file ends: zeros stand behind `len`.
    zeroed: u64,
    /// Its last commit has no mark behind it yet.
    unsealed: bool,
}

impl Active {
    /// A new segment, durable.
    pub(crate) fn create(dir: &Path, base: u64) -> Result<Self, LogError> {
        let path = segment::path(dir, base, Form::Plain);
        let header = Header::now(Form::Plain, base).map_err(LogError::io("make", &path))?;
        let file = segment::create(dir, &header)?;
        Ok(Self::reopened(file, path, header, HEADER_BYTES as u64, 0))
    }

    /// A segment that was there before.
    pub(crate) fn reopened(file: File, path: PathBuf, header: Header, len: u64, n_records: u64) -> Self {
        Self {
            file,
            path,
            header,
            base: header.base,
            n_records,
            len,
            allocated: Some(len),
            zeroed: len,
            unsealed: n_records > 0,
        }
    }

    pub(crate) fn segment(&self) -> Segment {
        Segment {
            base: self.base,
            form: Form::Plain,
            bytes: self.len,
            created_ms: self.header.created_ms,
        }
    }

    /// Sets room aside, so that a sync need not allocate. Only a wish: the write decides.
    fn reserve(&mut self, n_bytes: u64, limit: u64) {
        let end = self.len + n_bytes;
        self.allocate(end, limit);
        if n_bytes < SMALL_COMMIT_BYTES as u64 && self.zeroed < end {
            self.zero(end, limit);
        }
    }

    fn allocate(&mut self, end: u64, limit: u64) {
        let Some(allocated) = self.allocated.filter(|allocated| *allocated < end) else {
            return;
        };
        let goal = end.max((allocated + PREALLOCATE_BYTES).min(limit));
        let from = allocated.max(self.len);
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, from, goal - from) {
            Ok(()) => self.allocated = Some(goal),
            Err(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => {}
            Err(_) => self.allocated = None,
        }
    }

    /// Writes zeros ahead, durable with the next sync. What cannot be written is left.
    fn zero(&mut self, end: u64, limit: u64) {
        self.zeroed = self.zeroed.max(self.len);
        let goal = end.max((self.len + ZEROED_BYTES).min(limit));
        while self.zeroed < goal {
            let n_bytes = (goal - self.zeroed).min(ZEROS.len() as u64);
            match self.file.write_at(&ZEROS[..n_bytes as usize], self.zeroed) {
                Ok(n_bytes) if n_bytes > 0 => self.zeroed += n_bytes as u64,
                _ => return,
            }
        }
    }

    /// Writes behind the end; on failure the file is as it was.
    fn write(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        if let Err(source) = self.file.write_all_at(bytes, self.len) {
            self.file
                .set_len(self.len)
                .map_err(LogError::io("cut", &self.path))?;
            self.forget_room();
            return Err(LogError::io("write", &self.path)(source));
        }
        Ok(())
    }

    /// The file was cut to its records.
    fn forget_room(&mut self) {
        self.allocated = self.allocated.map(|_| self.len);
        self.zeroed = self.len;
    }

    /// Gives back what was set aside and not used, durably: a closed segment ends with its last record.
    fn finish(&mut self) -> Result<(), LogError> {
        self.forget_room();
        let cut = self.file.set_len(self.len);
        cut.and_then(|()| self.file.sync_all())
            .map_err(LogError::io("cut", &self.path))
    }
}

/// What the commit thread owns.
pub(crate) struct Committer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) active: Active,
    pub(crate) durable: watch::Sender<u64>,
    /// `File::sync_data`; tests put a failing one here.
    pub(crate) sync: fn(&File) -> std::io::Result<()>,
}

/// A commit that is done.
struct Done {
    n_records: u64,
    /// Others arrived meanwhile.
    busy: bool,
    /// How long the disk took.
    sync: Duration,
}

/// What is worth waiting for before the next commit.
#[derive(Clone, Copy)]
struct Company {
    n_records: u64,
    longest: Duration,
}

/// The next thing to do.
enum Work {
    Commit { first: u64, n_records: u64 },
    Rotate,
    End,
}

/// However the commit thread ends, nobody waits for it any longer.
struct Farewell(Arc<Shared>);

impl Drop for Farewell {
    fn drop(&mut self) {
        let mut pending = lock(&self.0.pending);
        let why = || Ended::Failed("the commit thread ended unexpectedly".into());
        pending.ended.get_or_insert_with(why);
        drop(pending);
        self.0.first.end();
        self.0.progress.notify_all();
        self.0.room_for_tasks.notify_waiters();
    }
}

impl Committer {
    /// Commits until the log is closed or fails.
    pub(crate) fn run(mut self) {
        // Dropped after the farewell: receivers of `durable` wake up and find the reason.
        let shared = Arc::clone(&self.shared);
        let farewell = Farewell(Arc::clone(&shared));
        let end = self.commit_all();
        let ended = match end {
            Ok(()) => Ended::Closed,
            Err(error) => {
                let why = error.chain();
                error!(log.dir = %shared.config.dir.display(), "the log has failed and takes no more records: {why}");
                Ended::Failed(why.into())
            }
        };
        lock(&shared.pending).ended = Some(ended);
        drop(farewell);
    }

    fn commit_all(&mut self) -> Result<(), LogError> {
        let mut buffer = vec![0; MARK_BYTES];
        let mut company = None;
        // When the last commit was told, while its sync was short and the one before was answered soon.
        let (mut told, mut is_soon) = (None, false);
        loop {
            if let Some(told) = told.filter(|_| is_soon) {
                self.look_out(told + LOOK_OUT);
            }
            match self.next_work(&mut buffer, company) {
                Work::Commit { first, n_records } => {
                    is_soon = told.is_some_and(|told: Instant| told.elapsed() < 2 * LOOK_OUT);
                    let done = self.commit(&mut buffer, first, n_records)?;
                    told = (done.sync < SHORT_SYNC).then(Instant::now);
                    let worth_it = done.busy && buffer.len() < SMALL_COMMIT_BYTES;
                    company = worth_it.then(|| Company {
                        n_records: done.n_records,
                        longest: self.shared.config.commit_wait.min(done.sync / 3),
                    });
                    buffer.truncate(MARK_BYTES);
                    if buffer.capacity() > 4 * self.shared.config.pending_limit().max(SMALL_COMMIT_BYTES) {
                        buffer.shrink_to(self.shared.config.pending_limit());
                    }
                }
                Work::Rotate => self.with_space(|this| this.rotate())?,
                Work::End => return self.seal(),
            }
        }
    }

    /// Stays awake until a record comes, or until then; whoever else wants this processor gets it.
    fn look_out(&self, until: Instant) {
        while !self.shared.arrived.load(Ordering::Acquire) && Instant::now() < until {
            std::thread::yield_now();
        }
    }

    /// Waits for records, perhaps a moment more for company, and swaps them into `buffer`.
    fn next_work(&self, buffer: &mut Vec<u8>, company: Option<Company>) -> Work {
        let shared = &*self.shared;
        let mut pending = lock(&shared.pending);
        let was_idle = pending.n_records == 0;
        while pending.n_records == 0 {
            if pending.closing {
                return Work::End;
            }
            if mem::take(&mut pending.rotate) {
                return Work::Rotate;
            }
            pending.idle = true;
            pending = wait(&shared.work, pending);
            pending.idle = false;
        }
        // Records that came to a log at rest go at once.
        if let Some(company) = company.filter(|_| !was_idle) {
            let until = Instant::now() + company.longest;
            let enough = pending.n_records + company.n_records;
            pending.gathering = Some(enough);
            while !pending.closing && pending.n_records < enough && pending.bytes.len() < SMALL_COMMIT_BYTES {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                let waited = shared.work.wait_timeout(pending, left);
                pending = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            pending.gathering = None;
        }
        mem::swap(&mut pending.bytes, buffer);
        let n_records = mem::take(&mut pending.n_records);
        shared.arrived.store(false, Ordering::Relaxed);
        let first = pending.next - n_records;
        pending.in_flight = buffer.len() as u64;
        drop(pending);
        if buffer.len() >= shared.config.pending_limit() {
            shared.progress.notify_all();
            shared.room_for_tasks.notify_waiters();
        }
        Work::Commit { first, n_records }
    }

    /// Makes records durable.
    fn commit(&mut self, buffer: &mut [u8], first: u64, n_records: u64) -> Result<Done, LogError> {
        self.with_space(|this| {
            this.leave_reserve()?;
            this.write(buffer, first)
        })?;
        let active = &mut self.active;
        let since = Instant::now();
        (self.sync)(&active.file).map_err(LogError::io("sync", &active.path))?;
        let sync = since.elapsed();
        active.len += buffer.len() as u64;
        active.n_records += n_records;
        active.unsealed = true;

        let last = first + n_records - 1;
        let mut catalog = lock(&self.shared.catalog);
        catalog.grow(active.len, last);
        let total_bytes = catalog.total_bytes();
        drop(catalog);
        let mut pending = lock(&self.shared.pending);
        self.shared.disk_bytes.store(total_bytes, Ordering::Relaxed);
        pending.in_flight = 0;
        pending.durable = last;
        pending.n_commits += 1;
        pending.n_committed += n_records;
        let busy = pending.n_records > 0;
        drop(pending);
        self.shared.first.tell(last);
        // Those who wait for an acknowledgement first, then those who read the records.
        self.durable.send_replace(last);
        self.shared.room_for_tasks.notify_waiters();
        self.shared.progress.notify_all();
        Ok(Done {
            n_records,
            busy,
            sync,
        })
    }

    /// Others on this disk need room too, those that make room for this log among them.
    fn leave_reserve(&self) -> Result<(), LogError> {
        let reserve = self.shared.config.reserve_bytes;
        if reserve == 0 {
            return Ok(());
        }
        let (file, path) = (&self.active.file, &self.active.path);
        let disk = fstatvfs(file).map_err(|errno| LogError::io("see the room for", path)(errno.into()))?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < reserve {
            let left = format!("fewer than the {reserve} bytes that stay free for others are left");
            let full = std::io::Error::new(std::io::ErrorKind::StorageFull, left);
            return Err(LogError::io("write", path)(full));
        }
        Ok(())
    }

    /// Writes one commit, into a new segment when this one is full.
    fn write(&mut self, buffer: &mut [u8], first: u64) -> Result<(), LogError> {
        let (n_bytes, limit) = (buffer.len() as u64, self.shared.config.segment_limit());
        if self.active.len + n_bytes > limit {
            self.rotate()?;
        }
        buffer[..MARK_BYTES].copy_from_slice(&frame::mark(self.active.header.salt, first));
        self.active.reserve(n_bytes, limit);
        self.active.write(buffer)
    }

    /// Closes the active segment and begins the next, if it holds any record.
    fn rotate(&mut self) -> Result<(), LogError> {
        if self.active.n_records == 0 {
            return Ok(());
        }
        self.active.finish()?;
        let base = self.active.base + self.active.n_records;
        self.active = Active::create(&self.shared.config.dir, base)?;
        let mut catalog = lock(&self.shared.catalog);
        catalog.begin(self.active.segment());
        let total_bytes = catalog.total_bytes();
        drop(catalog);
        self.shared.disk_bytes.store(total_bytes, Ordering::Relaxed);
        self.shared.closed_a_segment.notify_all();
        Ok(())
    }

    /// Does something that the disk may refuse, again and again while it is full or read-only. Nothing of it
    /// is durable or acknowledged before it is done, and each attempt writes the same bytes to the same
    /// place. Appends go on until the pending buffer is full, then they wait.
    fn with_space(&mut self, mut act: impl FnMut(&mut Self) -> Result<(), LogError>) -> Result<(), LogError> {
        let mut was_full = false;
        loop {
            match act(self) {
                Err(error) if error.may_pass() => {
                    let mut pending = lock(&self.shared.pending);
                    if pending.closing {
                        return Err(error);
                    }
                    let why = error.chain();
                    if !mem::replace(&mut was_full, true) {
                        let dir = self.shared.config.dir.display();
                        warn!(log.dir = %dir, "the disk of {dir} takes nothing; records wait: {why}");
                    }
                    pending.disk_full = Some(why.into());
                    drop(self.shared.work.wait_timeout(pending, FULL_DISK_RETRY));
                }
                result => {
                    if was_full {
                        let dir = self.shared.config.dir.display();
                        info!(log.dir = %dir, "the disk of {dir} takes records again");
                        lock(&self.shared.pending).disk_full = None;
                    }
                    return result;
                }
            }
        }
    }

    /// Ends the active segment with a mark, so that the next open knows its last commit was durable.
    fn seal(&mut self) -> Result<(), LogError> {
        if self.active.unsealed {
            let next = self.active.base + self.active.n_records;
            match self.active.write(&frame::mark(self.active.header.salt, next)) {
                Ok(()) => {
                    self.active.len += MARK_BYTES as u64;
                    (self.sync)(&self.active.file).map_err(LogError::io("sync", &self.active.path))?;
                }
                Err(error) if error.may_pass() => {} // the mark is a hint; all records are durable
                Err(error) => return Err(error),
            }
        }
        match self.active.finish() {
            Err(error) if error.may_pass() => Ok(()), // what was set aside stays so
            result => result,
        }
    }
}
