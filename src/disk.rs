//! Looks at the disk once a minute: what the data folder's parts take, what is free, and how long it lasts.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use onemap_dashboards::keeping::Disk;
use onemap_dashboards::views::Views;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::Config;

const EVERY: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
/// Fewer hours say nothing of a day: checkpoints, packing and retention come and go.
const LEAST: Duration = Duration::from_secs(3600);
/// Between two of the samples that are kept.
const SAMPLE_EVERY: Duration = Duration::from_secs(600);
/// Days left, under which the disk is low.
const LOW_DAYS: f64 = 3.0;
/// The disk is low, too, when this many times the journal's reserve is no longer free.
const LOW_RESERVES: u64 = 4;

/// Looks at the disk until it is stopped.
pub(crate) async fn run(views: Arc<Views>, config: Config, stop: CancellationToken) -> Result<()> {
    let mut clock = tokio::time::interval(EVERY);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut trend = Trend::default();
    let mut was_low = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = clock.tick() => {}
        }
        let folders = (config.data_dir.clone(), spool_dir(&config));
        let looked = tokio::task::spawn_blocking(move || look(&folders.0, &folders.1))
            .await
            .context("the look at the disk was cut short")?;
        let (used, size, free) = match looked {
            Ok(looked) => looked,
            Err(error) => {
                warn!(error = format!("{error:#}"), "the disk cannot be looked at");
                // What was known is no longer.
                *views.keeping.disk.write().unwrap_or_else(PoisonError::into_inner) = None;
                continue;
            }
        };
        let reserve = config.journal_reserve_bytes;
        trend.note(Instant::now(), free);
        let days_left = trend.days_left(free.saturating_sub(reserve));
        let low = low(&config.data_dir, free, reserve, days_left);
        match &low {
            Some(low) if !was_low => warn!(free, "{low}"),
            None if was_low => info!(free, "the disk has room again"),
            _ => {}
        }
        was_low = low.is_some();
        let disk = Disk {
            used,
            size,
            free,
            reserve,
            days_left,
            low,
        };
        *views.keeping.disk.write().unwrap_or_else(PoisonError::into_inner) = Some(disk);
    }
}

/// Where the spool of the history's engine is, or was.
fn spool_dir(config: &Config) -> PathBuf {
    let remote = config.history.remote.as_ref();
    remote.map_or_else(
        || config.data_dir.join("spool"),
        |remote| remote.engine.spool_dir.clone(),
    )
}

/// Why somebody should make room.
fn low(dir: &Path, free: u64, reserve: u64, days_left: Option<f64>) -> Option<String> {
    let dir = dir.display();
    if free < reserve.saturating_mul(LOW_RESERVES) {
        return Some(format!(
            "the disk of {dir} is low: {free} bytes are free, and nothing is acknowledged with fewer than {reserve}"
        ));
    }
    let days = days_left.filter(|days| *days < LOW_DAYS)?;
    Some(format!(
        "the disk of {dir} is low: at the pace of the last hours it is full in {days:.1} days"
    ))
}

/// Bytes by part of the data folder.
type Used = Vec<(&'static str, u64)>;

/// Bytes by part of the data folder, of the file system, and free there.
fn look(data_dir: &Path, spool_dir: &Path) -> Result<(Used, u64, u64)> {
    let disk = rustix::fs::statvfs(data_dir)
        .with_context(|| format!("cannot see the room in {}", data_dir.display()))?;
    let names = [
        "journal", "history", "spool", "ledger", "register", "sessions", "other",
    ];
    let mut used = names.map(|name| (name, 0));
    let mut add = |part: &str, bytes: u64| {
        for (name, n) in &mut used {
            if *name == part {
                *n += bytes;
            }
        }
    };
    for entry in entries(data_dir).with_context(|| format!("cannot list {}", data_dir.display()))? {
        let name = entry
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let part = match name {
            "journal" | "history" | "spool" => name,
            // Alerts, quarantine, evidence and everything else of people.
            name if name.starts_with("ledger.sqlite") => "ledger",
            name if name.starts_with("register.gpkg") => "register",
            name if name.starts_with("mqtt-sessions") => "sessions",
            _ => "other",
        };
        if part != "spool" {
            add(part, taken(&entry));
        }
    }
    add("spool", taken(spool_dir));
    let bytes = |n: u64| n.saturating_mul(disk.f_frsize);
    Ok((used.to_vec(), bytes(disk.f_blocks), bytes(disk.f_bavail)))
}

fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
}

/// Bytes on disk of a file, or of all files below a folder. What goes while it is looked at takes nothing.
fn taken(path: &Path) -> u64 {
    let Ok(meta) = std::fs::symlink_metadata(path) else {
        return 0;
    };
    let below = match meta.is_dir() {
        true => entries(path)
            .unwrap_or_default()
            .iter()
            .map(|path| taken(path))
            .sum(),
        false => 0,
    };
    meta.blocks() * 512 + below
}

/// How much was free, over the last day.
#[derive(Default)]
struct Trend {
    samples: VecDeque<(Instant, u64)>,
    last: Option<(Instant, u64)>,
}

impl Trend {
    fn note(&mut self, now: Instant, free: u64) {
        self.last = Some((now, free));
        let is_due = |(at, _): &(Instant, u64)| now.duration_since(*at) >= SAMPLE_EVERY;
        if self.samples.back().is_none_or(is_due) {
            self.samples.push_back((now, free));
        }
        // One that is a day old or older stays, to compare with.
        while self
            .samples
            .get(1)
            .is_some_and(|(at, _)| now.duration_since(*at) >= DAY)
        {
            self.samples.pop_front();
        }
    }

    /// Days until `left` bytes are taken at the pace of the samples; `None` when too short a time is known, or
    /// the disk does not fill up.
    fn days_left(&self, left: u64) -> Option<f64> {
        let (first, last) = (self.samples.front()?, self.last?);
        let time = last.0.duration_since(first.0);
        if time < LEAST || last.1 >= first.1 {
            return None;
        }
        let a_day = (first.1 - last.1) as f64 * (DAY.as_secs_f64() / time.as_secs_f64());
        Some(left as f64 / a_day)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn days_are_left_by_the_pace_of_the_last_day_and_unknown_before_an_hour() {
        let start = Instant::now();
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        let mut trend = Trend::default();
        // A day at 1 GiB an hour, then a day at a quarter of it.
        let free = |minute: u64| {
            let quarter_hours = minute.min(1440) * 4 + minute.saturating_sub(1440);
            1000 * GIB - quarter_hours * GIB / 240
        };
        assert_eq!(trend.days_left(240 * GIB), None);
        for minute in 0..60 {
            trend.note(at(minute), free(minute));
            assert_eq!(trend.days_left(240 * GIB), None, "after {minute} minutes");
        }
        for minute in 60..=1440 {
            trend.note(at(minute), free(minute));
        }
        let days = trend.days_left(240 * GIB).unwrap();
        assert!((9.9..10.1).contains(&days), "{days}");
        for minute in 1440..=2 * 1440 {
            trend.note(at(minute), free(minute));
        }
        let days = trend.days_left(240 * GIB).unwrap();
        assert!((39.0..41.0).contains(&days), "{days}");
        assert!(trend.samples.len() < 150, "{}", trend.samples.len());
        // Room was made: it does not fill up.
        trend.note(at(2 * 1440 + 1), 1000 * GIB);
        assert_eq!(trend.days_left(240 * GIB), None);
    }

    #[test]
    fn a_low_disk_is_said_by_its_bytes_and_by_its_days() {
        let said = |free, days| low(Path::new("/data"), free, 64, days);
        assert_eq!(said(256, None), None);
        assert_eq!(said(256, Some(3.0)), None);
        assert!(said(255, None).unwrap().contains("255 bytes are free"));
        assert!(said(1 << 40, Some(2.94)).unwrap().contains("2.9 days"));
    }

    #[test]
    fn each_part_of_the_folder_takes_what_its_files_take() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, n: usize| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, vec![7; n]).unwrap();
        };
        put("journal/1.seg", 100_000);
        put("history/keyspaces/1/tables/2", 300_000);
        put("ledger.sqlite", 20_000);
        put("ledger.sqlite-wal", 20_000);
        put("admin.token", 10);
        let (used, size, free) = look(folder.path(), &folder.path().join("spool")).unwrap();
        let of = |part: &str| used.iter().find(|(name, _)| *name == part).unwrap().1;
        assert!((100_000..200_000).contains(&of("journal")), "{used:?}");
        assert!((300_000..400_000).contains(&of("history")), "{used:?}");
        assert!((40_000..80_000).contains(&of("ledger")), "{used:?}");
        assert_eq!((of("spool"), of("register")), (0, 0));
        assert!(of("other") > 0 && size > 0 && free <= size);
        assert!(look(&folder.path().join("gone"), folder.path()).is_err());
    }
}
