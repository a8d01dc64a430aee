//! Lines that the engine refused, kept as they were beside the spool: `refused.lp`, and one file before it.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;

/// Bytes at which a file is put aside for the next.
const MAX_BYTES: u64 = 16 << 20;

/// The file.
#[derive(Debug)]
pub(super) struct Refused {
    path: PathBuf,
}

impl Refused {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Appends lines with the engine's words as a comment before them.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn keep(&self, why: &str, lines: &str) -> std::io::Result<()> {
        let mut file = self.open()?;
        if file.metadata()?.len() > MAX_BYTES {
            std::fs::rename(&self.path, self.path.with_extension("1.lp"))?;
            file = self.open()?;
        }
        let why = why.replace(['\n', '\r'], " ");
        file.write_all(format!("# {why}\n{lines}").as_bytes())
    }

    fn open(&self) -> std::io::Result<File> {
        OpenOptions::new().create(true).append(true).open(&self.path)
    }
}
