//! The file with the keys of stations that encrypt: read at start, when it has changed, and on SIGHUP.
//!
//! No message holds anything of a key. Former keys stay in the file as long as frames of their time may be read again (a
//! replay, the quarantine): several of one station are tried in their order.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use onemap_dashboards::views::Views;
use onemap_ingest::station::StationKeys;
use onemap_wire::hj212::Key;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::Config;

/// Most keys of one station.
const N_KEYS: usize = 16;
/// How often the file's time is looked at.
const ROUND: Duration = Duration::from_secs(2);

/// Before a fault: where the file is named.
const KEY: &str = "[hj212] keys_file";

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    One(String),
    Several(Vec<String>),
}

/// Reads the keys that the configuration names.
///
/// # Errors
/// A file that is not there, that others may read, or that holds something else; placed by its key.
pub(crate) fn open(config: &Config) -> Result<StationKeys> {
    let keys = StationKeys::default();
    if let Some(file) = file_of(config) {
        let read = read(file).map_err(|error| anyhow::anyhow!(config.placed(&format!("{error:#}"))));
        keys.replace(read?);
    }
    Ok(keys)
}

fn file_of(config: &Config) -> Option<&Path> {
    config.hj212.as_ref()?.keys_file.as_deref()
}

fn read(file: &Path) -> Result<HashMap<String, Vec<Key>>> {
    let shown = file.display();
    let about = std::fs::metadata(file).with_context(|| format!("{KEY}: {shown} cannot be read"))?;
    let mode = about.permissions().mode() & 0o7777;
    ensure!(
        mode & 0o077 == 0,
        "{KEY}: others may read {shown} (mode {mode:04o}): chmod 600 {shown}"
    );
    let text = std::fs::read_to_string(file).with_context(|| format!("{KEY}: {shown} cannot be read"))?;
    parse(&text).with_context(|| format!("{KEY}: {shown}"))
}

fn parse(text: &str) -> Result<HashMap<String, Vec<Key>>> {
    let written: BTreeMap<String, Written> = toml::from_str(text).map_err(|error| {
        // Its own message shows the line, and the line the key.
        let line = error
            .span()
            .map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        anyhow::anyhow!("line {line} is not `MN = \"key\"` or `MN = [\"new\", \"former\"]`")
    })?;
    let read = |(number, written): (String, Written)| {
        let keys = match written {
            Written::One(key) => vec![key],
            Written::Several(keys) => keys,
        };
        ensure!(
            (1..=N_KEYS).contains(&keys.len()),
            "`{number}` has 1 to {N_KEYS} keys"
        );
        let keys: Result<Vec<_>, _> = keys.iter().map(|key| Key::parse(key)).collect();
        let keys = keys.with_context(|| format!("`{number}`"))?;
        Ok((number, keys))
    };
    written.into_iter().map(read).collect()
}

/// Takes up the file as it is now; one that cannot be used leaves the keys as they are.
pub(crate) fn reload(config: &Config, views: &Views) {
    let Some(file) = file_of(config) else { return };
    match read(file) {
        Ok(keys) => {
            views.station_keys.replace(keys);
            let n = views.station_keys.n_stations();
            info!(stations = n, "the keys of {n} stations are read");
        }
        Err(error) => warn!("the keys of stations stay as they are: {error:#}"),
    }
}

/// Reloads when the file has changed, until `stop`.
pub(crate) async fn watch(config: Config, views: Arc<Views>, stop: CancellationToken) -> Result<()> {
    let Some(file) = file_of(&config).map(Path::to_owned) else {
        return Ok(());
    };
    let mut known = stamp(&file);
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = rounds.tick() => {}
        }
        let now = stamp(&file);
        if now != known {
            known = now;
            reload(&config, &views);
        }
    }
}

/// What changes with the file: its time, its length, its mode.
fn stamp(file: &Path) -> Option<(SystemTime, u64, u32)> {
    let about = std::fs::metadata(file).ok()?;
    Some((about.modified().ok()?, about.len(), about.permissions().mode()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_are_read_and_no_fault_shows_one() {
        let keys =
            parse("A1 = \"0123456789abcdef\"\n\"62 1\" = [\"FEDCBA9876543210\", \"0123456789abcdef\"]\n")
                .unwrap();
        assert_eq!((keys["A1"].len(), keys["62 1"].len(), keys.len()), (1, 2, 2));
        for (bad, part) in [
            ("A1 = \"SECRET-KEY\"", "`A1`"),
            ("B = \"0123456789abcdef\"\nA1 = SECRET-KEY", "line 2"),
            ("A1 = []", "1 to 16 keys"),
            ("A1 = { SECRET-KEY = 1 }", "line 1"),
        ] {
            let error = format!("{:#}", parse(bad).unwrap_err());
            assert!(
                error.contains(part) && !error.contains("SECRET"),
                "{bad}: {error}"
            );
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.toml");
        let error = format!("{:#}", read(&file).unwrap_err());
        assert!(error.contains("cannot be read"), "{error}");
        std::fs::write(&file, "A1 = \"0123456789abcdef\"\n").unwrap();
        for (mode, is_good) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            let read = read(&file).map(|_| ()).map_err(|error| format!("{error:#}"));
            assert_eq!(read.is_ok(), is_good, "{mode:o}");
            if let Err(error) = read {
                assert!(error.starts_with("[hj212] keys_file: others may read"), "{error}");
            }
        }
    }
}
