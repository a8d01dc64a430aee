//! The spool: a log of polls, its epoch, and how far the server has stored it.
//!
//! Folder: `log/` (segments), `epoch` (which spool this is) and `confirmed` (epoch and floor). Only `log/`
//! and `epoch` must be right; a stale or damaged `confirmed` costs repeats and loses nothing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;
use onemap_log::{Config as LogConfig, Log, Torn};
use tracing::{info, warn};

use crate::confirmed::Confirmed;

/// Epochs stay under 2^53 so that every JSON reader keeps them whole.
const EPOCH_BITS: u32 = 53;

/// An open spool.
#[derive(Clone, Debug)]
pub struct Spool {
    dir: PathBuf,
    /// Its records.
    pub log: Log,
    /// Random number made with the spool: receipts of another spool do not count.
    pub epoch: u64,
    /// Most bytes on disk.
    pub max_bytes: u64,
}

/// What was found when the spool was opened.
#[derive(Debug)]
pub struct Found {
    /// What the server has stored.
    pub confirmed: Confirmed,
    /// Position of the last record; it and all before may have been published already.
    pub last: u64,
    /// The torn end of an interrupted write, if there was one.
    pub torn: Option<Torn>,
}

/// Writes a small file whole or not at all.
fn write_file(path: &Path, text: &str, durable: bool) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(text.as_bytes())?;
    if durable {
        file.sync_all()?;
    }
    fs::rename(&fresh, path)?;
    if let (true, Some(folder)) = (durable, path.parent()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn new_epoch() -> anyhow::Result<u64> {
    let bits = getrandom::u64().map_err(|e| anyhow::anyhow!("the system has no random numbers: {e}"))?;
    Ok((bits >> (64 - EPOCH_BITS)).max(1))
}

/// A number in a file; `None` when there is no such file.
fn read_numbers(path: &Path) -> anyhow::Result<Option<Vec<u64>>> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let numbers: Result<_, _> = text.split_whitespace().map(str::parse).collect();
            Ok(Some(numbers.with_context(|| {
                format!("`{}` holds no number", path.display())
            })?))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("cannot read `{}`", path.display())),
    }
}

impl Spool {
    /// Opens or makes the spool.
    ///
    /// # Errors
    /// When another process has it, the disk refuses, or what was once durable is damaged.
    pub fn open(dir: &Path, max_bytes: u64) -> anyhow::Result<(Self, Found)> {
        fs::create_dir_all(dir)
            .with_context(|| format!("cannot make the spool folder `{}`", dir.display()))?;
        let mut config = LogConfig::new(dir.join("log"));
        config.segment_bytes = (max_bytes / 16).clamp(64 << 10, 8 << 20);
        config.max_bytes = Some(max_bytes);
        config.max_pending_bytes = 1 << 20;
        config.compress = false;
        let (log, recovery) = Log::open(config).context("cannot open the spool")?;

        let epoch_file = dir.join("epoch");
        let known = read_numbers(&epoch_file)
            .ok()
            .flatten()
            .and_then(|n| n.first().copied());
        let mut epoch = known.unwrap_or(0);
        let mut floor = match read_numbers(&dir.join("confirmed")) {
            Ok(Some(numbers)) if numbers.len() == 2 && numbers[0] == epoch => numbers[1],
            Ok(None) => 0,
            Ok(Some(_)) | Err(_) => {
                warn!("the spool's note of what is stored cannot be used; everything in it is sent again");
                0
            }
        };
        let went_back = floor > recovery.last;
        if went_back {
            warn!(
                floor,
                last = recovery.last,
                "the spool lost records that the server has; a new epoch begins"
            );
            floor = recovery.last;
        }
        if known.is_none() || went_back {
            epoch = new_epoch()?;
            write_file(&epoch_file, &format!("{epoch}\n"), true).context("cannot write the spool's epoch")?;
            info!(epoch, "a spool begins");
        }
        // What is no longer in a segment was released, and only confirmed records are.
        let floor = floor.max(recovery.first.saturating_sub(1).min(recovery.last));
        if let Some(torn) = &recovery.torn {
            warn!(
                lost_bytes = torn.lost_bytes,
                "the end of an interrupted write was cut from the spool and kept as {}",
                torn.saved_as.display()
            );
        }
        let spool = Self {
            dir: dir.to_owned(),
            log,
            epoch,
            max_bytes,
        };
        let found = Found {
            confirmed: Confirmed::new(floor),
            last: recovery.last,
            torn: recovery.torn,
        };
        Ok((spool, found))
    }

    /// Notes how far the server has stored the spool. Not synced: an older note only costs repeats.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn note_floor(&self, floor: u64) -> io::Result<()> {
        write_file(
            &self.dir.join("confirmed"),
            &format!("{} {floor}\n", self.epoch),
            false,
        )
    }

    /// Deletes segments that hold only stored records. Blocks.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn release(&self, floor: u64) -> anyhow::Result<()> {
        // A moment ahead, since a segment counts as closed before the given time.
        let now = SystemTime::now() + std::time::Duration::from_secs(1);
        self.log
            .release(floor, now)
            .context("cannot release stored records of the spool")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_log::Batch;

    use super::*;

    fn put(spool: &Spool, n: u64, size: usize) {
        for _ in 0..n {
            let mut batch = Batch::new();
            batch.push(1, |out| out.resize(out.len() + size, 7));
            let position = spool.log.append_blocking(&batch).unwrap();
            spool.log.wait_durable_blocking(position).unwrap();
        }
    }

    #[test]
    fn epoch_and_floor_survive_and_a_damaged_note_costs_only_repeats() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Spool::open(dir.path(), 4 << 20).unwrap();
        let (spool, found) = open();
        assert_eq!((found.confirmed.floor(), found.last), (0, 0));
        let epoch = spool.epoch;
        put(&spool, 10, 100);
        spool.note_floor(7).unwrap();
        spool.log.close().unwrap();
        drop(spool);

        let (spool, found) = open();
        assert_eq!((spool.epoch, found.confirmed.floor(), found.last), (epoch, 7, 10));
        spool.log.close().unwrap();
        drop(spool);

        fs::write(dir.path().join("confirmed"), "\0\0").unwrap();
        let (spool, found) = open();
        assert_eq!((spool.epoch, found.confirmed.floor()), (epoch, 0));
    }

    #[test]
    fn a_spool_that_went_back_in_time_begins_a_new_epoch() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::open(dir.path(), 4 << 20).unwrap();
        put(&spool, 3, 100);
        spool.note_floor(9).unwrap();
        let epoch = spool.epoch;
        spool.log.close().unwrap();
        drop(spool);
        let (spool, found) = Spool::open(dir.path(), 4 << 20).unwrap();
        assert_ne!(spool.epoch, epoch);
        assert_eq!((found.confirmed.floor(), found.last), (3, 3));
    }

    #[test]
    fn only_stored_segments_are_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let (spool, _) = Spool::open(dir.path(), 2 << 20).unwrap();
        put(&spool, 60, 10_000);
        assert!(spool.log.status().segments > 3);
        spool.release(0).unwrap();
        assert_eq!(spool.log.status().first, 1);
        spool.release(40).unwrap();
        let first = spool.log.status().first;
        assert!(first > 1 && first <= 41, "{first}");
        let mut reader = spool.log.reader(40).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().position, 41);
    }
}
