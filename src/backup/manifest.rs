//! What a backup says of itself; without it there is none.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use onemap_store::history::LeftOut;
use serde::{Deserialize, Serialize};

use super::sink::sync_dir;

/// Name of the file.
pub(crate) const MANIFEST: &str = "manifest.json";
/// Folder of what the files hold, each under its SHA-256.
pub(crate) const OBJECTS: &str = "objects";
/// Layout of backups that this program makes and reads.
pub(crate) const FORMAT: u32 = 1;

/// One file of the data folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Where it belongs in the data folder; `history/NAME.rows` are the rows of a keyspace.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    /// SHA-256 of what it holds, and the object's name.
    pub(crate) sha256: String,
    /// When a file that never changes was written, to know it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) modified_ms: Option<i64>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    /// Of the program that made it.
    pub(crate) version: String,
    pub(crate) made_at: String,
    /// The data folder that it is of.
    pub(crate) source: String,
    /// First and last record of the journal in it.
    pub(crate) journal_first: u64,
    pub(crate) journal_last: u64,
    /// Where the projections stand; a start folds the rest of the journal.
    pub(crate) history_cursor: u64,
    pub(crate) register_cursor: u64,
    pub(crate) ledger_cursor: u64,
    /// What is not in it, and why.
    pub(crate) left_out: Vec<String>,
    /// What should be in it and could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) damaged: Vec<LeftOut>,
    pub(crate) files: Vec<Kept>,
}

impl Manifest {
    /// What should be in it and is not, a line each.
    pub(crate) fn missing(&self) -> Vec<String> {
        self.damaged.iter().map(ToString::to_string).collect()
    }

    /// Reads the manifest of a backup.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(MANIFEST);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => anyhow::bail!(
                "{} holds no finished backup: there is no {MANIFEST} (it was cut short, or is still being made)",
                dir.display()
            ),
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let manifest: Self =
            serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))?;
        ensure!(
            manifest.format == FORMAT,
            "the backup has layout {}, this program reads {FORMAT}: a newer program made it; use that",
            manifest.format
        );
        Ok(manifest)
    }

    /// Puts it in its place: from then on the backup is whole.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        let part = dir.join("manifest.part");
        let text = serde_json::to_vec_pretty(self).context("a manifest is text")?;
        // What it names is durable before it is.
        sync_dir(&dir.join(super::OBJECTS))?;
        let written = File::create(&part)
            .and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&part, dir.join(MANIFEST)));
        written.with_context(|| format!("cannot write {}", dir.join(MANIFEST).display()))?;
        sync_dir(dir)
    }
}
