//! Files as a backup writes them: with their SHA-256, durable, and never the last bytes of a disk.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use onemap_store::hex;
use sha2::{Digest as _, Sha256};

/// Bytes after which what was written is synced and the disk is looked at: so a backup never has so much
/// waiting for the disk that the journal's own syncs come late.
const N_SYNC: u64 = 8 << 20;

/// The disk that a backup is written to.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    dir: PathBuf,
    /// Bytes that stay free: the journal's reserve on the data folder's own disk.
    least: u64,
}

impl Room {
    pub(crate) fn of(dir: &Path, data_dir: &Path, reserve: u64) -> Self {
        let disk = |path: &Path| std::fs::metadata(path).ok().map(|meta| meta.dev());
        let is_same = disk(dir).is_none_or(|own| disk(data_dir) == Some(own));
        Self {
            dir: dir.to_owned(),
            least: if is_same { reserve } else { 0 },
        }
    }

    /// # Errors
    /// When `more` bytes would leave too few.
    pub(crate) fn check(&self, more: u64) -> Result<()> {
        let disk = rustix::fs::statvfs(&self.dir)
            .with_context(|| format!("cannot see the room in {}", self.dir.display()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        ensure!(
            free >= self.least.saturating_add(more),
            "the disk of {} is full: {free} bytes are free, {more} are to be written and {} are left to the server \
             ([journal] reserve_bytes)",
            self.dir.display(),
            self.least
        );
        Ok(())
    }
}

/// A file that is being written.
pub(crate) struct Sink {
    file: File,
    path: PathBuf,
    hash: Sha256,
    room: Room,
    bytes: u64,
    unsynced: u64,
}

impl Sink {
    pub(crate) fn create(path: &Path, room: &Room) -> Result<Self> {
        room.check(0)?;
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            hash: Sha256::new(),
            room: room.clone(),
            bytes: 0,
            unsynced: 0,
        })
    }

    /// Makes it durable; gives its SHA-256 and its length.
    pub(crate) fn finish(self) -> Result<(String, u64)> {
        self.file
            .sync_all()
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok((hex(&self.hash.finalize()), self.bytes))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.bytes += n as u64;
        self.unsynced += n as u64;
        if self.unsynced >= N_SYNC {
            self.unsynced = 0;
            self.file.sync_data()?;
            let room = self.room.check(0);
            room.map_err(|error| io::Error::new(io::ErrorKind::StorageFull, format!("{error:#}")))?;
        }
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// SHA-256 and length of a file.
pub(crate) fn digest_of(path: &Path, is_over: &dyn Fn() -> bool) -> Result<(String, u64)> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        let n = file
            .read(&mut buffer)
            .with_context(|| format!("cannot read {}", path.display()))?;
        if n == 0 {
            return Ok((hex(&hash.finalize()), bytes));
        }
        hash.update(&buffer[..n]);
        bytes += n as u64;
        ensure!(!is_over(), "the server stops; the backup was broken off");
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .with_context(|| format!("cannot make the names in {} durable", dir.display()))
}
