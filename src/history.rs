//! `onemap history verify|stat`: the history of a running server, or of a folder that nobody serves.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use onemap_log::Log;
use onemap_model::Record;
use onemap_store::history::History;
use serde_json::{Value, json};

use crate::config::Config;
use crate::{door, house, rebuild};

/// Reads every row. Ends with 1 when anything is wrong, and says how it is repaired.
pub(crate) fn verify(config: &Config, json: bool) -> Result<ExitCode> {
    let mut found = ask(config, "/api/v1/history/verify", |history| {
        let found = history.verify(&|| false).context("the history cannot be read")?;
        serde_json::to_value(found).context("faults are text")
    })?;
    let (cursor, last) = (&found["cursor"], &found["journal"]["last"]);
    let is_ahead = cursor.as_u64() > last.as_u64();
    if is_ahead {
        let what = format!("it stands at record {cursor}, and the journal ends at {last}");
        let fault = json!({"keyspace": "meta", "id": null, "series": null, "at": null, "what": what});
        if let Some(faults) = found["faults"].as_array_mut() {
            faults.insert(0, fault);
        }
        found["n_faults"] = (found["n_faults"].as_u64().unwrap_or(0) + 1).into();
    }
    let n_faults = found["n_faults"].as_u64().unwrap_or(0);
    let is_whole = n_faults == 0 && found["complete"] == true;
    found["ok"] = is_whole.into();
    if !is_whole {
        found["repair"] = repair(config, found["journal"]["first"].as_u64()).into();
    }
    if json {
        crate::say!("{found}");
    } else {
        for fault in found["faults"].as_array().into_iter().flatten() {
            let text = |key: &str| fault[key].as_str().unwrap_or("-");
            crate::say!(
                "{:<10} {:<40} {:<30} {}",
                text("keyspace"),
                text("series"),
                text("at"),
                text("what")
            );
        }
        crate::say!(
            "{} rows ({} bytes) of {} series read, {} points, {} rollups and {} revisions compared, at record {}: {}",
            found["rows"],
            found["bytes"],
            found["series"],
            found["points"],
            found["rollups"],
            found["revisions"],
            found["cursor"],
            match n_faults {
                0 => "nothing is wrong".to_owned(),
                n => format!("{n} faults"),
            }
        );
        if let Some(repair) = found["repair"].as_str() {
            crate::say!("{repair}");
        }
    }
    Ok(if is_whole {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What the history holds.
pub(crate) fn stat(config: &Config, json: bool) -> Result<ExitCode> {
    let stat = ask(config, "/api/v1/history/stat", |history| {
        let stat = history.stat().context("the history cannot be read")?;
        serde_json::to_value(stat).context("numbers are text")
    })?;
    if json {
        crate::say!("{stat}");
        return Ok(ExitCode::SUCCESS);
    }
    let text = |key: &str| match &stat[key] {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Number(n) if n.is_f64() => format!("{:.2}", n.as_f64().unwrap_or(0.0)),
        other => other.to_string(),
    };
    for key in [
        "format",
        "cursor",
        "series",
        "points",
        "unsaved",
        "oldest",
        "newest",
        "disk_bytes",
        "table_bytes",
        "log_bytes",
        "log_set_aside_bytes",
        "log_reserved_bytes",
        "bytes_per_point",
        "rollups",
        "rollup_bytes",
        "due",
        "revisions",
        "head_bytes",
        "damaged",
    ] {
        crate::say!("{key:<20} {}", text(key));
    }
    say_scrub(&stat["scrub"]);
    crate::say!(
        "{:<12} {:>8} {:>9} {:>12} {:<30} {:<30}",
        "class",
        "series",
        "raw_days",
        "rollup_days",
        "kept_from",
        "rollups_from"
    );
    for class in stat["classes"].as_array().into_iter().flatten() {
        let text = |key: &str, none: &str| match &class[key] {
            Value::Null => none.to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        crate::say!(
            "{:<12} {:>8} {:>9} {:>12} {:<30} {:<30}",
            text("class", "-"),
            class["series"],
            text("raw_days", "for ever"),
            text("rollup_days", "for ever"),
            text("kept_from", "all"),
            text("rollups_from", "all")
        );
    }
    crate::say!(
        "{:<8} {:<30} {:<12} {:>8} {:>12} {:>8} {:>12}",
        "week",
        "from",
        "class",
        "series",
        "points",
        "chunks",
        "bytes"
    );
    for week in stat["weeks"].as_array().into_iter().flatten() {
        let text = |key: &str| week[key].as_str().unwrap_or("-");
        crate::say!(
            "{:<8} {:<30} {:<12} {:>8} {:>12} {:>8} {:>12}",
            text("keyspace"),
            text("from"),
            text("class"),
            week["series"],
            week["points"],
            week["chunks"],
            week["bytes"]
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// How far the reading of all rows is, and the damaged rows that it found.
fn say_scrub(scrub: &Value) {
    let text = |key: &str| scrub[key].as_str().unwrap_or("-");
    crate::say!(
        "{:<20} began {}, at {}, {} rows; last whole pass {}; {} damaged rows",
        "scrub",
        text("began"),
        scrub["keyspace"].as_str().unwrap_or("its end"),
        scrub["rows"],
        text("ended"),
        scrub["n_faults"]
    );
    for fault in scrub["faults"].as_array().into_iter().flatten() {
        let text = |key: &str| fault[key].as_str().unwrap_or("-");
        crate::say!(
            "{:<10} {:<40} {:<30} {} (found {})",
            text("keyspace"),
            text("series"),
            text("at"),
            text("what"),
            text("found")
        );
    }
}

/// Asks the running server, or opens the folder's history by itself: it can be looked at also when other
/// parts of the folder cannot be opened.
fn ask(config: &Config, path: &str, look: impl FnOnce(&History) -> Result<Value>) -> Result<Value> {
    if let Some(remote) = door::running(config)? {
        return remote.get_patiently(path);
    }
    let dir = config.data_dir.join("history");
    ensure!(dir.exists(), "{} holds no history", config.data_dir.display());
    let (log, _) = Log::open(house::log_config(config))
        .with_context(|| format!("the journal in {} cannot be opened", config.data_dir.display()))?;
    let history = rebuild::open(config, &config.data_dir)?;
    history.set_retention(config.history.retention.clone());
    let mut found = look(&history)?;
    let status = log.status();
    found["journal"] = json!({"first": status.first, "last": status.durable});
    log.close().context("the journal cannot be closed")?;
    Ok(found)
}

/// How what is damaged comes back. Without the journal's first record it is looked for.
pub(crate) fn repair(config: &Config, first: Option<u64>) -> String {
    let first = first.or_else(|| first_record(config)).unwrap_or(1);
    let since = begins(config, first).map_or(String::new(), |time| format!(" ({time})"));
    format!(
        "repair: `onemap history rebuild`, with the server stopped, makes the history again from what the journal \
         holds, from record {first}{since} on, and keeps the damaged one beside it; what is older comes back from a \
         backup with `onemap restore DIR --data-dir NEW`. `onemap journal replay --into NEW` makes all projections anew, to be \
         compared"
    )
}

/// The first record that the journal holds.
fn first_record(config: &Config) -> Option<u64> {
    let mut reader = onemap_log::Reader::open_dir(&config.data_dir.join("journal"), 0).ok()?;
    Some(reader.next().ok()??.position)
}

/// Time of the first record of the journal's segments that has one.
pub(crate) fn begins(config: &Config, first: u64) -> Option<String> {
    let journal = config.data_dir.join("journal");
    let mut reader = onemap_log::Reader::open_dir(&journal, first.saturating_sub(1)).ok()?;
    for _ in 0..1000 {
        let entry = reader.next().ok()??;
        if let Ok(record) = Record::decode(entry.kind, entry.body)
            && let Some(time) = record.time()
        {
            return Some(time.to_string());
        }
    }
    None
}
