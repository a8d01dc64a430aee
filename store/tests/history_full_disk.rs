//! History on a disk that is full to the last byte: nothing is lost, and it goes on when there is room.
#![allow(clippy::unwrap_used, missing_docs)]

use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use onemap_model::{DeviceId, Quality, Quantity, Reading, SeriesKey, Timestamp, Value};
use onemap_store::history::{History, HistoryConfig, HistoryError};

/// A small disk; taken away with its holder.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`, loudly, where mounting is not allowed.
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", size, "onemap-test"])
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
    let Some(disk) = SmallDisk::mount("size=24m") else {
        return;
    };
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
    history.append(&readings(20_000, 170_000)).unwrap();
    let all = points(&history);
    // While the disk is full it cannot be opened again, and that is no end either.
    assert!(history.mend().is_err());
    assert!(history.mend().is_err());
    std::fs::remove_file(&ballast).unwrap();
    assert!(history.mend().unwrap());
    assert_eq!(
        (history.cursor(), history.extra("rules")),
        (1, Some(b"one".to_vec()))
    );
    assert_eq!(points(&history), all);

    // Once more in the middle of a checkpoint: nothing comes in before it is known what became of it.
    fill(dir);
    let failed = history.checkpoint(2, &[("rules", b"two")]).unwrap_err();
    assert!(matches!(failed, HistoryError::Write(_)), "{failed}");
    assert!(matches!(
        history.append(&readings(1, 200_000)),
        Err(HistoryError::Unmended)
    ));
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

/// Nine MiB that no codec makes smaller: more than the engine keeps in memory of a keyspace.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    (0..9 << 17)
        .flat_map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state ^ (state >> 29)).to_le_bytes()
        })
        .collect()
}

#[test]
fn a_table_that_cannot_be_written_out_behind_a_checkpoint_is_no_end() {
    let Some(disk) = SmallDisk::mount("size=110m") else {
        return;
    };
    let dir = disk.0.path();
    let history = History::open(&dir.join("history"), HistoryConfig::default()).unwrap();
    history.append(&readings(1000, 0)).unwrap();
    history.checkpoint(1, &[]).unwrap();
    // The engine's log has its room for good; what it writes out from there has none.
    let reserved = Command::new("fallocate")
        .args(["-l", "67108864"])
        .arg(dir.join("history/0.jnl"))
        .status()
        .unwrap();
    assert!(reserved.success());
    let ballast = fill(dir);
    let mut made = 1;
    let failed = loop {
        assert!(made < 7, "tables are written out onto a full disk");
        match history.checkpoint(made + 1, &[("blob", &noise(made + 1))]) {
            Ok(()) => made += 1,
            Err(error) => break error,
        }
        // The engine writes out beside us.
        std::thread::sleep(Duration::from_millis(200));
    };
    assert!(matches!(failed, HistoryError::Write(_)), "{failed}");
    assert!(made > 1);
    assert_eq!(history.extra("blob"), Some(noise(made)));
    std::fs::remove_file(ballast).unwrap();
    assert!(history.mend().unwrap());
    assert_eq!(
        (history.cursor(), history.extra("blob")),
        (made, Some(noise(made)))
    );
    assert_eq!(points(&history).len(), 1000);
    history.append(&readings(1000, 1000)).unwrap();
    history.checkpoint(made + 1, &[("blob", b"")]).unwrap();
    assert_eq!(history.verify(&|| false).unwrap().faults, []);
    drop(history);
    let history = History::open(&dir.join("history"), HistoryConfig::default()).unwrap();
    assert_eq!((history.cursor(), points(&history).len()), (made + 1, 2000));
}
