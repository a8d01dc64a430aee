//! Commands that look at a data folder: `check`, `digest`, `journal stat`, `journal replay`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use onemap_ingest::mqtt::Certificates;
use onemap_log::Reader;
use onemap_model::{DeviceId, Record, record};
use onemap_store::register::Names;
use serde_json::json;

use crate::config::Config;
use crate::fault::{self, Fault};
use crate::{door, house, keys, shipped};

/// The configuration, rules and profiles with their own tests, push sources and what they name.
pub(crate) fn check(config: Result<Config>, json: bool) -> Result<ExitCode> {
    let faults = match &config {
        Ok(config) => all_faults(config),
        // Nothing else can be looked at without it.
        Err(error) => vec![format!("{error:#}").into()],
    };
    if json {
        let mut answer = json!({"ok": faults.is_empty()});
        fault::into_json(&faults, &mut answer);
        crate::say!("{answer}");
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

fn all_faults(config: &Config) -> Vec<Fault> {
    let mut faults = shipped::faults(config);
    faults.extend(shipped::remarks(config));
    let path = config.data_dir.join("register.gpkg");
    // A folder that no server has opened yet knows no device, and its configuration is written first.
    let known = match path.exists().then(|| Names::read(&path)) {
        None => None,
        Some(Ok(names)) => Some(names),
        Some(Err(error)) => {
            faults.push(format!("{:#}", anyhow::Error::from(error)).into());
            None
        }
    };
    let nothing = BTreeSet::new();
    let profiles = known.as_ref().map_or(&nothing, |known| &known.profiles);
    faults.extend(shipped::doubts(config, profiles).into_iter().map(Fault::from));
    if let Some(known) = &known {
        let named = config
            .acl_devices
            .iter()
            .filter_map(|name| DeviceId::new(name).ok());
        faults.extend(
            named
                .filter(|id| !known.devices.contains(id) && !is_known_now(config, id))
                .map(|id| {
                    let who = format!("[[mqtt.acl]] who = \"device:{id}\"");
                    config
                        .placed(&format!("{who}: no device is called `{id}`"))
                        .into()
                }),
        );
    }
    if let Some(tls) = config.mqtt.tls.clone()
        && let Err(fault) = Certificates::load(tls)
    {
        let cause = std::error::Error::source(&fault).map(|cause| format!(": {cause}"));
        faults.push(
            config
                .placed(&format!("[mqtt.tls]: {fault}{}", cause.unwrap_or_default()))
                .into(),
        );
    }
    if let Err(fault) = keys::open(config) {
        faults.push(format!("{fault:#}").into());
    }
    faults
}

/// Whether the running server knows a device; the register's file is a little behind it.
fn is_known_now(config: &Config, id: &DeviceId) -> bool {
    let door = door::running(config).ok().flatten();
    door.is_some_and(|door| door.get(&format!("/api/v1/devices/{id}")).is_ok())
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
        ("refused", record::KIND_REFUSED),
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
