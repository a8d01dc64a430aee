//! Where a log lives and how much it may hold.

use std::{path::PathBuf, time::Duration};

/// Settings of one log.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder. It is created when missing and belongs to one writing process at a time.
    pub dir: PathBuf,
    /// A segment is closed before a commit would let it grow over this many bytes; one commit is never
    /// split, so a larger one gets a segment of its own. Default 64 MiB. With a
    /// `max_bytes` it is at most a quarter of that, so that releasing can make room.
    pub segment_bytes: u64,
    /// Most bytes all segments may hold on disk together; appends wait while the next batch does not
    /// fit, and go on after a release. `carry.log` is not counted, since nothing could free it.
    /// Default none.
    pub max_bytes: Option<u64>,
    /// Bytes that stay free on the disk for what else is written there; commits wait while there are
    /// fewer. Default 0.
    pub reserve_bytes: u64,
    /// Appends wait while this many bytes are waiting for the commit thread. As much again may be on
    /// its way to the disk. Default 8 MiB.
    pub max_pending_bytes: usize,
    /// How long a commit may wait for company while records keep arriving; never longer than a third of
    /// the last sync. Default 2 ms.
    pub commit_wait: Duration,
    /// Whether closed segments are compressed. Default: whether the feature `compress` is built in.
    pub compress: bool,
    /// Kinds that outlive their segment: before a segment is removed, its records of these kinds are
    /// copied to `carry.log`. Default none.
    pub lasting_kinds: &'static [u8],
}

impl Config {
    /// The defaults for a log in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: 64 << 20,
            max_bytes: None,
            reserve_bytes: 0,
            max_pending_bytes: 8 << 20,
            commit_wait: Duration::from_millis(2),
            compress: cfg!(feature = "compress"),
            lasting_kinds: &[],
        }
    }

    /// Bytes at which a segment is closed.
    pub(crate) fn segment_limit(&self) -> u64 {
        let quarter = self.max_bytes.map_or(u64::MAX, |max| max / 4);
        self.segment_bytes.min(quarter).max(4096)
    }

    /// Bytes that may wait for the commit thread.
    pub(crate) fn pending_limit(&self) -> usize {
        let eighth = self.max_bytes.map_or(u64::MAX, |max| max / 8);
        self.max_pending_bytes
            .min(usize::try_from(eighth).unwrap_or(usize::MAX))
            .max(1)
    }
}
