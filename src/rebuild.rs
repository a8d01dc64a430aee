//! `onemap history rebuild`: the history of a folder made again from its journal, as far back as that goes.
//!
//! The journal is folded from its first record into a folder beside, up to where the ledger stands: the ledger
//! keeps what the journal no longer has, and must not lie behind the history. Only when all is durable the new
//! history takes the place of the old one, which stays under another name. A stop before that changes nothing.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use onemap_log::Log;
use onemap_store::history::{History, HistoryConfig, HistoryError};
use onemap_store::ledger::Ledger;
use serde_json::json;

use crate::config::Config;
use crate::{door, history, house};

/// The folder in the data folder that it is made in.
const MAKING: &str = "history.rebuild";
/// What it may take from the folder that it was made in.
const LEDGER: &str = "ledger.sqlite";

/// Opens a folder's history, or says how it comes back.
pub(crate) fn open(config: &Config, dir: &Path) -> Result<History> {
    History::open(&dir.join("history"), HistoryConfig::default())
        .map_err(|error| told(config, dir, error))
        .with_context(|| format!("the history in {} cannot be opened", dir.display()))
}

fn told(config: &Config, dir: &Path, error: HistoryError) -> anyhow::Error {
    let is_damage = matches!(
        error,
        HistoryError::Open { .. } | HistoryError::Read(_) | HistoryError::Cursor
    );
    let error = anyhow::Error::from(error);
    if !is_damage || dir != config.data_dir {
        return error;
    }
    let way = history::repair(config, None);
    let cause = format!("{error:#}");
    error.context(format!("{cause}. {way}"))
}

/// Makes the history again. Says from which record on, and where the old one is.
pub(crate) fn rebuild(config: &Config, json: bool) -> Result<ExitCode> {
    let dir = &config.data_dir;
    ensure!(
        door::running(config)?.is_none(),
        "a server runs on {}: stop it first",
        dir.display()
    );
    ensure!(
        dir.join("journal").exists(),
        "{} holds no journal: there is nothing to make a history of; `onemap restore` makes a folder from a backup",
        dir.display()
    );
    // Held to the end, so that nobody serves the folder meanwhile.
    let (log, _) = Log::open(house::log_config(config))
        .with_context(|| format!("the journal in {} cannot be opened", dir.display()))?;
    let making = dir.join(MAKING);
    if making.exists() {
        // Of a rebuild that was cut short.
        std::fs::remove_dir_all(&making).with_context(|| format!("cannot empty {}", making.display()))?;
    }
    let stands = ledger_cursor(dir);
    let mut house = house::open_replay(config, dir, &making)?;
    if let Some(cursor) = stands {
        house.pipeline.fold_no_further_than(cursor);
    }
    let records = house.pipeline.run_to_end()?;
    let stats = house.views.history.stats();
    let cursor = house.views.history.cursor();
    house
        .views
        .log
        .close()
        .context("the new folder's journal cannot be closed")?;
    // Its files are open as long as it is.
    drop(house);
    let old = set_aside(&dir.join("history"))?;
    let old_ledger = match stands {
        Some(_) => None,
        None => set_aside(&dir.join(LEDGER))?,
    };
    let moved = |name: &str| {
        std::fs::rename(making.join(name), dir.join(name))
            .with_context(|| format!("{name} cannot take its place"))
    };
    if stands.is_none() {
        moved(LEDGER)?;
    }
    moved("history")?;
    std::fs::File::open(dir)
        .and_then(|dir| dir.sync_all())
        .with_context(|| format!("cannot write {}", dir.display()))?;
    std::fs::remove_dir_all(&making).with_context(|| format!("cannot remove {}", making.display()))?;
    let first = log.status().first;
    log.close().context("the journal cannot be closed")?;
    let since = history::begins(config, first);
    if json {
        crate::say!(
            "{}",
            json!({"records": records, "from": first, "from_time": since, "to": cursor, "series": stats.series,
                   "points": stats.points, "old": old, "old_ledger": old_ledger})
        );
        return Ok(ExitCode::SUCCESS);
    }
    crate::say!(
        "the history holds {} points of {} series again, from record {first}{} to {cursor}; what was before is not in \
         it and comes back from a backup only",
        stats.points,
        stats.series,
        since.map_or_else(String::new, |since| format!(" ({since})")),
    );
    for (what, old) in [("history", old), ("ledger", old_ledger)] {
        if let Some(old) = old {
            crate::say!(
                "the old {what} is {}: remove it when it is of no use",
                old.display()
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the ledger stands; `None` when there is none, or one that cannot be read.
fn ledger_cursor(dir: &Path) -> Option<u64> {
    let path = dir.join(LEDGER);
    path.exists()
        .then(|| Ledger::open(&path).ok())?
        .map(|ledger| ledger.cursor())
}

/// Gives a file or folder another name; which, if it was there.
fn set_aside(path: &Path) -> Result<Option<PathBuf>> {
    if !path.exists() {
        return Ok(None);
    }
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let other = (1u32..)
        .map(|i| path.with_file_name(format!("{name}.damaged-{i}")))
        .find(|other| !other.exists())
        .context("there is a name that nothing has")?;
    std::fs::rename(path, &other).with_context(|| format!("cannot rename {}", path.display()))?;
    Ok(Some(other))
}
