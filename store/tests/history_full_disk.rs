//! History on a disk that is full to the last byte: nothing is lost, and it goes on when there is room.
#![allow(clippy::unwrap_used, missing_docs)]

use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use onemap_model::{DeviceId, Quality, Quantity, Reading, SeriesKey, Timestamp, Value};
use onemap_store::history::{History, HistoryConfig, HistoryError};

/// A disk of 24 MiB; taken away with its holder.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`, loudly, where mounting is not allowed.
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "onemap-test"])
            .arg(dir.path())
            .output()
            .is_ok_and(|done| done.status.success());
        if !mounted {
            eprintln!("SKIPPED: a tmpfs cannot be mounted here (that needs root)");
            return None;
        }
        Some(Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Two days of a series, as random as numbers of two decimals are.
fn readings(n: i64, from: i64) -> Vec<Reading> {
    let number = |k: i64| (k.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64) >> 40) as f64 / 100.0;
    (from..from + n)
        .map(|k| Reading {
            series: SeriesKey {
                device: DeviceId::new("air-1").unwrap(),
                quantity: Quantity::named("pm10").unwrap(),
                channel: 0,
            },
            measured_at: Timestamp::from_ms(1_790_000_000_000 + k * 1000),
            period: Duration::ZERO,
            received_at: Timestamp::from_ms(1_790_000_000_000 + k * 1000),
            value: Value::Number(number(k)),
            quality: Quality::GOOD,
            position: k as u64 + 1,
        })
        .collect()
}

fn points(history: &History) -> Vec<(i64, Value)> {
    let mut all = Vec::new();
    let id = history.all_series()[0].id;
    let (from, to) = (Timestamp::from_ms(0), Timestamp::from_ms(i64::MAX));
    history
        .scan(id, from, to, &mut |point| {
            all.push((point.measured_at.ms(), point.value));
            ControlFlow::Continue(())
        })
        .unwrap();
    all
}

/// Takes every byte of the disk that is left.
fn fill(dir: &Path) -> std::path::PathBuf {
    let ballast = dir.join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    for size in [1 << 20, 4096, 1] {
        while std::io::Write::write_all(&mut file, &vec![7; size]).is_ok() {}
    }
    ballast
}

#[test]
fn care_and_checkpoints_on_a_full_disk_fail_clearly_and_go_on_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else { return };
    let dir = disk.0.path();
    let history = History::open(&dir.join("history"), HistoryConfig::default()).unwrap();
    history.append(&readings(150_000, 0)).unwrap();
    history.checkpoint(1, &[("rules", b"one")]).unwrap();
    history.append(&readings(20_000, 150_000)).unwrap();
    let all = points(&history);
    assert_eq!(all.len(), 170_000);

    let ballast = fill(dir);
    let now = Timestamp::from_ms(1_790_000_000_000 + 5 * 86_400_000);
    let failed = history.care(now, &|| false).unwrap_err();
    assert!(matches!(failed, HistoryError::Write(_)), "{failed}");
    assert!(history.has_failed());
    // What is there is read as before, what comes waits in memory.
    assert_eq!(points(&history), all);
    let refused = history.checkpoint(2, &[]).unwrap_err();
    assert!(matches!(refused, HistoryError::Write(_)), "{refused}");
    assert!(matches!(
        history.append(&readings(1, 180_000)),
        Err(HistoryError::Unmended)
    ));
    // While the disk is full it cannot be opened again, and that is no end either.
    assert!(history.mend().is_err());
    assert!(history.mend().is_err());

    std::fs::remove_file(ballast).unwrap();
    assert!(history.mend().unwrap());
    assert_eq!(
        (history.cursor(), history.extra("rules")),
        (1, Some(b"one".to_vec()))
    );
    assert_eq!(points(&history), all);
    history.checkpoint(2, &[]).unwrap();
    let cared = history.care(now, &|| false).unwrap();
    assert!(cared.days > 0, "{cared:?}");
    let verified = history.verify(&|| false).unwrap();
    assert_eq!(verified.faults, []);
    drop(history);
    let history = History::open(&dir.join("history"), HistoryConfig::default()).unwrap();
    assert_eq!((history.cursor(), points(&history)), (2, all));
}
