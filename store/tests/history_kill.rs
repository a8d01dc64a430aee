//! History under `kill -9`: whatever the moment, what is found is exactly the last checkpoint.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use onemap_model::{DeviceId, Quality, Quantity, Reading, SeriesKey, Timestamp, Value};
use onemap_store::history::{Agg, History, HistoryConfig};

const FOLDER: &str = "HISTORY_KILL_FOLDER";
const N_ROUNDS: u64 = 6;
const N_DEVICES: u64 = 20;

fn open(dir: &Path) -> History {
    let config = HistoryConfig {
        chunk_points: 32,
        late_points: 40,
        ..HistoryConfig::default()
    };
    History::open(dir, config).unwrap()
}

/// The readings of the journal's record at `position`: regular, late, repeated and revised ones.
fn record(position: u64) -> Vec<Reading> {
    let start = 1_790_000_000_000;
    let quantities = ["pm2_5", "pm10", "temperature"];
    (0..6u64)
        .map(|i| {
            let mix = (position * 31 + i).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
            let back = match mix % 10 {
                0 => 1 + mix % 300,
                1 => 1,
                _ => 0,
            };
            let tick = (position / N_DEVICES).saturating_sub(back);
            Reading {
                series: SeriesKey {
                    device: DeviceId::new(&format!("air-{}", position % N_DEVICES)).unwrap(),
                    quantity: Quantity::named(quantities[(i % 3) as usize]).unwrap(),
                    channel: 0,
                },
                measured_at: Timestamp::from_ms(start + tick as i64 * 60_000),
                period: Duration::ZERO,
                received_at: Timestamp::from_ms(start + position as i64 * 50),
                value: Value::Number((mix % 50) as f64 / 10.0),
                quality: Quality::GOOD,
                position,
            }
        })
        .collect()
}

fn day_after(position: u64) -> Timestamp {
    let start = 1_790_000_000_000;
    Timestamp::from_ms(start + (position / N_DEVICES) as i64 * 60_000 + 27 * 3_600_000)
}

/// Points of every series by the hour, as its rollups or its points say.
fn by_hour(history: &History) -> Vec<(u64, Option<f64>, Option<f64>)> {
    let (from, to) = (
        Timestamp::from_ms(1_789_200_000_000),
        Timestamp::from_ms(1_789_200_000_000 + 60 * 86_400_000),
    );
    let hour = Duration::from_secs(3600);
    let steps = history.all_series().into_iter().flat_map(|series| {
        let ask = |agg| history.downsample(series.id, from, to, hour, agg).unwrap();
        let (max, min) = (ask(Agg::Max), ask(Agg::Min));
        max.into_iter()
            .zip(min)
            .map(|(max, min)| (max.n, max.value, min.value))
            .collect::<Vec<_>>()
    });
    steps.collect()
}

fn play(history: &History, positions: std::ops::RangeInclusive<u64>) {
    for position in positions {
        history.append(&record(position)).unwrap();
    }
}

/// Writes on from the cursor and tells each checkpoint, until it is killed. Not a test by itself.
#[test]
#[ignore = "the child process of the test below"]
fn child() {
    let Some(dir) = std::env::var_os(FOLDER) else {
        return;
    };
    let history = Arc::new(open(Path::new(&dir)));
    println!("cursor {}", history.cursor());
    let at = Arc::new(AtomicU64::new(history.cursor()));
    let (cared, its_at) = (history.clone(), at.clone());
    std::thread::spawn(move || {
        loop {
            // As if the day were over already: most of what comes is late for a cared-for day.
            cared
                .care(day_after(its_at.load(Ordering::Relaxed)), &|| false)
                .unwrap();
        }
    });
    for position in history.cursor() + 1.. {
        history.append(&record(position)).unwrap();
        at.store(position, Ordering::Relaxed);
        if position % 97 == 0 {
            history
                .checkpoint(position, &[("position", &position.to_le_bytes())])
                .unwrap();
            println!("cursor {position}");
        }
    }
}

#[test]
fn after_a_kill_history_is_its_last_checkpoint_and_replay_makes_it_whole() {
    let dir = tempfile::tempdir().unwrap();
    let unbroken_dir = tempfile::tempdir().unwrap();
    let unbroken = open(unbroken_dir.path());
    let mut position = 0;
    for round in 1..=N_ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"])
            .env(FOLDER, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = 0u64;
        let mut n_told = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            if let Some(cursor) = line.unwrap().trim().strip_prefix("cursor ") {
                told = cursor.parse().unwrap();
                n_told += 1;
            }
            if n_told > round * 3 {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(n_told > round * 3, "the child ended by itself");

        let history = open(dir.path());
        let cursor = history.cursor();
        assert!(
            cursor >= told,
            "a checkpoint that was told is lost: {cursor} < {told}"
        );
        assert_eq!(history.extra("position"), Some(cursor.to_le_bytes().to_vec()));
        play(&unbroken, position + 1..=cursor);
        assert_eq!(
            history.digest().unwrap(),
            unbroken.digest().unwrap(),
            "round {round}"
        );
        // On from there without a checkpoint: the next child begins at the same cursor again.
        play(&history, cursor + 1..=cursor + 150);
        play(&unbroken, cursor + 1..=cursor + 150);
        assert_eq!(
            history.digest().unwrap(),
            unbroken.digest().unwrap(),
            "round {round}, replayed"
        );
        assert_eq!(
            by_hour(&history),
            by_hour(&unbroken),
            "round {round}, by the hour"
        );
        history.care(day_after(cursor + 150), &|| false).unwrap();
        assert_eq!(by_hour(&history), by_hour(&unbroken), "round {round}, cared for");
        assert_eq!(history.stats().damaged, 0);
        position = cursor + 150;
    }
}
