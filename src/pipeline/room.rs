//! Whether the disk takes what a checkpoint writes, looked at before it is written.
//!
//! The history's engine takes nothing more after a write that failed, until it is closed and opened again
//! (`History::mend`), and meanwhile nobody can read it. A checkpoint that waits does no harm, since the journal
//! has everything. So the disk is asked first, and while the journal leaves its reserve there is room.

use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// See [`Room::check_little`].
const LITTLE: u64 = 4;

/// The data folder's disk.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub(crate) dir: PathBuf,
    /// Bytes that must be free.
    pub(crate) least_bytes: u64,
}

impl Room {
    /// # Errors
    /// When there are too few bytes, or nothing can be written (a read-only disk).
    pub(crate) fn check(&self) -> Result<()> {
        self.check_for(self.least_bytes)
    }

    /// As [`Room::check`], for what takes little and makes room: a [`LITTLE`]th of it is enough.
    ///
    /// # Errors
    /// As [`Room::check`].
    pub(crate) fn check_little(&self) -> Result<()> {
        self.check_for(self.least_bytes / LITTLE)
    }

    fn check_for(&self, least_bytes: u64) -> Result<()> {
        let dir = self.dir.display();
        let disk = rustix::fs::statvfs(&self.dir).with_context(|| format!("cannot see the room in {dir}"))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        ensure!(
            free >= least_bytes,
            "the disk of {dir} is full: {free} bytes are free, {least_bytes} are needed"
        );
        let probe = self.dir.join("probe.part");
        File::create(&probe)
            .and_then(|_| std::fs::remove_file(&probe))
            .with_context(|| format!("nothing can be written in {dir}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_disk_without_room_is_said_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let room = |least_bytes| Room {
            dir: folder.path().to_owned(),
            least_bytes,
        };
        room(1).check().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let error = room(u64::MAX).check().unwrap_err().to_string();
        assert!(error.contains("is full"), "{error}");
        let free = rustix::fs::statvfs(folder.path()).unwrap();
        let least_bytes = (free.f_bavail * free.f_frsize).saturating_mul(2);
        assert!(room(least_bytes).check().is_err() && room(least_bytes).check_little().is_ok());
        let gone = Room {
            dir: folder.path().join("gone"),
            least_bytes: 0,
        };
        assert!(gone.check().is_err());
    }
}
