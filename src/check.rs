//! Commands that look at a data folder: `check`, `digest`, `journal stat`, `journal replay`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use onemap_ingest::mqtt::Certificates;
use onemap_log::Reader;
use onemap_model::{Record, record};
use serde_json::json;

use crate::config::Config;
use crate::{door, house, shipped};

/// Rules and profiles with their own tests. The configuration itself was read already.
pub(crate) fn check(config: &Config, json: bool) -> Result<ExitCode> {
    let mut faults = shipped::faults(config)?;
    if let Some(tls) = config.mqtt.tls.clone()
        && let Err(fault) = Certificates::load(tls)
    {
        let cause = std::error::Error::source(&fault).map(|cause| format!(": {cause}"));
        faults.push(format!("[mqtt.tls]: {fault}{}", cause.unwrap_or_default()));
    }
    if json {
        crate::say!("{}", json!({"ok": faults.is_empty(), "faults": faults}));
    } else {
        for fault in &faults {
            crate::say!("{fault}");
        }
        if faults.is_empty() {
            crate::say!("configuration, rules and profiles are in order");
        }
    }
    Ok(if faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Digests of a stopped folder (after folding the rest of its journal), or of a running server.
pub(crate) fn digest(config: &Config) -> Result<ExitCode> {
    if let Some(remote) = door::running(config)? {
        crate::say!("{}", remote.get("/api/v1/digest")?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut house = house::open(config, None, house::Purpose::Look)?;
    house.pipeline.run_to_end()?;
    crate::say!(
        "{}",
        serde_json::to_string(&house.pipeline.digest()?).context("digests are text")?
    );
    house.views.log.close().context("the journal cannot be closed")?;
    Ok(ExitCode::SUCCESS)
}

/// Counts by kind, first and last position and time.
pub(crate) fn stat(config: &Config) -> Result<ExitCode> {
    let dir = config.data_dir.join("journal");
    let mut reader = Reader::open_dir(&dir, 0)
        .with_context(|| format!("the journal in {} cannot be read", dir.display()))?;
    let mut kinds = [0u64; 256];
    let (mut first, mut last, mut bytes) = (None, 0, 0u64);
    let (mut from, mut to) = (None, None);
    while let Some(entry) = reader.next().context("the journal cannot be read")? {
        kinds[usize::from(entry.kind)] += 1;
        first.get_or_insert(entry.position);
        last = entry.position;
        bytes += entry.body.len() as u64;
        if let Ok(time) = Record::decode(entry.kind, entry.body).map(|r| r.time())
            && let Some(time) = time
        {
            from.get_or_insert(time);
            to = Some(time);
        }
    }
    let names = [
        ("frame", record::KIND_FRAME),
        ("register", record::KIND_REGISTER),
        ("rule", record::KIND_RULE),
        ("act", record::KIND_ACT),
        ("forecast", record::KIND_FORECAST),
        ("tick", record::KIND_TICK),
        ("session", record::KIND_SESSION),
    ];
    let counts: serde_json::Map<String, serde_json::Value> = names
        .iter()
        .map(|(name, kind)| ((*name).to_owned(), kinds[usize::from(*kind)].into()))
        .collect();
    crate::say!(
        "{}",
        json!({"first": first, "last": last, "body_bytes": bytes, "from": from, "to": to, "records": counts})
    );
    Ok(ExitCode::SUCCESS)
}

/// Makes every projection again from the journal.
pub(crate) fn replay(config: &Config, into: &Path) -> Result<ExitCode> {
    let mut house = house::open_replay(config, &config.data_dir, into)?;
    let started = std::time::Instant::now();
    let folded = house.pipeline.run_to_end()?;
    let seconds = started.elapsed().as_secs_f64();
    let digest = house.pipeline.digest()?;
    crate::say!(
        "{}",
        json!({"records": folded, "seconds": seconds, "digest": digest})
    );
    house
        .views
        .log
        .close()
        .context("the new folder's journal cannot be closed")?;
    Ok(ExitCode::SUCCESS)
}
