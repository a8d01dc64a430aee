//! `onemap restore DIR --data-dir NEW`: a data folder from a backup.
//!
//! Every file of the backup is checked before the first is written. Files are copied, never linked: the new
//! folder's journal goes on, and must not go on in the backup.

use std::fs::File;
use std::io::{BufReader, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use onemap_store::history::Restore;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::backup::{Kept, MANIFEST, Manifest, NOT_WHOLE, OBJECTS, digest_of};

/// Stands in a folder while it is being restored; nothing is opened that has it.
pub(crate) const UNFINISHED: &str = "restore.part";

/// Of which backup a folder was made, for who wonders what is missing in it.
const RESTORED: &str = "restored.json";

/// The backup that a data folder was restored from.
#[derive(Serialize, Deserialize)]
pub(crate) struct Restored {
    /// When the backup was made.
    pub(crate) made_at: String,
    /// The last record of the journal that it has.
    pub(crate) journal_last: u64,
}

impl Restored {
    fn write(&self, data_dir: &Path) -> Result<()> {
        let note = data_dir.join(RESTORED);
        let text = serde_json::to_vec(self).context("what was restored cannot be told")?;
        let written = File::create(&note).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()
        });
        written.with_context(|| format!("cannot write {}", note.display()))
    }
    /// That of a folder; `None` where it was not restored, or does not say so any more.
    pub(crate) fn of(data_dir: &Path) -> Option<Self> {
        let text = std::fs::read(data_dir.join(RESTORED)).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

/// Makes the folder. What the journal holds behind the projections' positions is folded at the first start.
pub(crate) fn restore(dir: &Path, data_dir: &Path, json: bool) -> Result<ExitCode> {
    let manifest = Manifest::read(dir)?;
    check(dir, &manifest)?;
    check_target(data_dir)?;
    let unfinished = data_dir.join(UNFINISHED);
    File::create(&unfinished)
        .and_then(|file| file.sync_all())
        .with_context(|| format!("cannot write {}", unfinished.display()))?;
    let history = data_dir.join("history");
    let rows = Restore::begin(&history).context("the history's folder cannot be made")?;
    for kept in &manifest.files {
        let object = dir.join(OBJECTS).join(&kept.sha256);
        match history_rows(kept) {
            Some(keyspace) => {
                let file =
                    File::open(&object).with_context(|| format!("cannot read {}", object.display()))?;
                rows.take(keyspace, &mut BufReader::with_capacity(1 << 18, file))
                    .with_context(|| format!("`{keyspace}` of the history cannot be restored"))?;
            }
            None => copy(&object, &data_dir.join(&kept.path))?,
        }
    }
    rows.lacks(&manifest.damaged)
        .and_then(|()| rows.finish())
        .context("the history cannot be made durable")?;
    Restored {
        made_at: manifest.made_at.clone(),
        journal_last: manifest.journal_last,
    }
    .write(data_dir)?;
    for folder in ["journal", "rules", "profiles", "push", "history", "."] {
        let folder = data_dir.join(folder);
        if folder.exists() {
            File::open(&folder)
                .and_then(|folder| folder.sync_all())
                .with_context(|| format!("cannot write {}", folder.display()))?;
        }
    }
    std::fs::remove_file(&unfinished).with_context(|| format!("cannot remove {}", unfinished.display()))?;
    let bytes: u64 = manifest.files.iter().map(|kept| kept.bytes).sum();
    let missing = manifest.missing();
    let code = match missing.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(NOT_WHOLE),
    };
    if json {
        crate::say!(
            "{}",
            json!({"data_dir": data_dir, "files": manifest.files.len(), "bytes": bytes, "made_at": manifest.made_at,
                   "journal": {"first": manifest.journal_first, "last": manifest.journal_last},
                   "left_out": manifest.left_out, "damaged": missing})
        );
        return Ok(code);
    }
    crate::say!(
        "{} is as {} was at {} (record {}); start it with `onemap serve --data-dir {}`",
        data_dir.display(),
        manifest.source,
        manifest.made_at,
        manifest.journal_last,
        data_dir.display()
    );
    for left_out in &manifest.left_out {
        crate::say!("not in the backup: {left_out}");
    }
    for missing in &missing {
        crate::say!("damaged when the backup was made, and missing here: {missing}");
    }
    Ok(code)
}

/// The keyspace whose rows a file holds.
fn history_rows(kept: &Kept) -> Option<&str> {
    kept.path.strip_prefix("history/")?.strip_suffix(".rows")
}

/// Whether everything that the manifest names is there and as it was.
fn check(dir: &Path, manifest: &Manifest) -> Result<()> {
    let mut faults = Vec::new();
    for kept in &manifest.files {
        let is_plain = Path::new(&kept.path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        let is_hex = kept.sha256.len() == 64 && kept.sha256.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_plain || !is_hex {
            bail!(
                "{} names an impossible file: {}",
                dir.join(MANIFEST).display(),
                kept.path
            );
        }
        let object = dir.join(OBJECTS).join(&kept.sha256);
        match digest_of(&object, &|| false) {
            Ok((sha256, bytes)) if sha256 == kept.sha256 && bytes == kept.bytes => {}
            Ok(_) => faults.push(format!(
                "{}: it is not what was written ({})",
                kept.path,
                object.display()
            )),
            Err(error) => faults.push(format!("{}: {error:#}", kept.path)),
        }
    }
    ensure!(
        faults.is_empty(),
        "the backup in {} is damaged, nothing is restored:\n  {}",
        dir.display(),
        faults.join("\n  ")
    );
    Ok(())
}

/// The target is made, or is empty.
fn check_target(data_dir: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .with_context(|| format!("cannot make {}", data_dir.display()))?;
    let is_empty = std::fs::read_dir(data_dir)
        .with_context(|| format!("cannot read {}", data_dir.display()))?
        .next()
        .is_none();
    ensure!(
        is_empty,
        "{} is not empty; a restore goes into a new folder (--data-dir NEW)",
        data_dir.display()
    );
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().context("a file stands in a folder")?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let mut source = File::open(from).with_context(|| format!("cannot read {}", from.display()))?;
    let copied = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .and_then(|mut file| {
            std::io::copy(&mut source, &mut file)?;
            file.sync_all()
        });
    copied.with_context(|| format!("cannot write {}", to.display()))
}
