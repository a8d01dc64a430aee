//! Folders that earlier layouts of the history left are opened with every point as it was.
//!
//! `fixtures/history-layout-N.tar.gz` was written by the last program of layout N from the readings of [`city`]
//! (layout 1: the commit before 8d329d0, layout 2: the one before cd85108, layout 3: d07255a), with checkpoints as in [`write`]; zeros
//! behind the end of the engine's log are cut off. They are never made again: a folder of then is what they are for.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use onemap_model::{DeviceId, Quality, Quantity, Reading, SeriesKey, Timestamp, Value};
use onemap_store::history::{Agg, History, HistoryConfig};

/// Six hours before the border of two weeks.
const START: i64 = 2915 * 604_800_000 - 6 * 3_600_000;
const DAY: i64 = 86_400_000;

fn reading(name: &str, at: i64, value: Value, quality: Quality, position: u64) -> Reading {
    let (device, quantity) = name.split_once('/').unwrap();
    Reading {
        series: SeriesKey {
            device: DeviceId::new(device).unwrap(),
            quantity: Quantity::named(quantity).unwrap(),
            channel: 0,
        },
        measured_at: Timestamp::from_ms(at),
        period: Duration::ZERO,
        received_at: Timestamp::from_ms(at + 1500 + (position % 3) as i64 * 250),
        value,
        quality,
        position,
    }
}

/// Numbers, marks, texts, late points and two revisions, in the order in which they came.
fn city() -> Vec<Reading> {
    let number = |name: &str, at: i64, v: f64, position: u64| {
        reading(name, START + at, Value::Number(v), Quality::GOOD, position)
    };
    let dust = (0..900i64).map(|i| {
        number(
            "air-1/pm10",
            i * 60_000,
            (i * 37 % 1001) as f64 / 10.0,
            1 + i as u64,
        )
    });
    let levels = (0..200i64).map(|i| {
        let level = 3.0 + (i % 50) as f64 / 100.0;
        Reading {
            quality: match i % 20 {
                0 => Quality::SUSPECT,
                _ => Quality::GOOD,
            },
            ..number("gauge-7/water_level", i * 300_000, level, 1001 + i as u64)
        }
    });
    let texts = (0..40i64).map(|i| Reading {
        value: Value::Text(if i % 3 == 0 { "open" } else { "shut" }.into()),
        ..number("air-1/pm2_5", i * 600_000, 0.0, 1301 + i as u64)
    });
    let late = (0..12i64).map(|i| number("air-1/pm10", 30_000 + i * 60_000, i as f64, 1401 + i as u64));
    let revised = [
        number("air-1/pm10", 300_000, 777.5, 2000),
        number("gauge-7/water_level", 300_000, 2.5, 2001),
    ];
    dust.chain(levels)
        .chain(texts)
        .chain(late)
        .chain(revised)
        .collect()
}

/// What the programs of before did; from layout 2 on care was given before the last checkpoint.
fn write(history: &History, cares: bool) {
    let all = city();
    history.append(&all[..500]).unwrap();
    history.checkpoint(500, &[("rules", b"before")]).unwrap();
    history.append(&all[500..all.len() - 1]).unwrap();
    history.checkpoint(2000, &[("rules", b"kept")]).unwrap();
    if cares {
        history
            .care(Timestamp::from_ms(START + 3 * DAY), &|| false)
            .unwrap();
    }
    history.append(&all[all.len() - 1..]).unwrap();
    history.checkpoint(2001, &[]).unwrap();
}

/// Every version of every series. Earlier layouts kept of a first value the millisecond in which it was received.
fn versions(history: &History) -> Vec<String> {
    let (from, to) = (Timestamp::from_ms(0), Timestamp::from_ms(START + 30 * DAY));
    let mut all = Vec::new();
    for series in history.all_series() {
        for version in history.versions(series.id, from, to).unwrap() {
            let received_s = version.received_at.ms() / 1000;
            all.push(format!(
                "{} {} {:?} {:?} {received_s} {:?} {}",
                series.key,
                version.measured_at.ms(),
                version.value,
                version.quality,
                version.position,
                version.shown
            ));
        }
    }
    all
}

fn opened(dir: &Path) -> History {
    History::open(dir, HistoryConfig::default()).unwrap()
}

fn is_read_as_written(layout: u32) {
    let folder = tempfile::tempdir().unwrap();
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/history-layout-{layout}.tar.gz"));
    let unpacked = Command::new("tar")
        .arg("-xzf")
        .arg(&fixture)
        .arg("-C")
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(unpacked.success());
    let history = opened(folder.path());
    let own = tempfile::tempdir().unwrap();
    let of_now = opened(own.path());
    write(&of_now, layout > 1);

    let want = versions(&of_now);
    assert_eq!(want.len(), 1154, "1152 times, two of them revised");
    assert_eq!(versions(&history), want);
    assert_eq!(
        (history.cursor(), history.extra("rules")),
        (2001, Some(b"kept".to_vec()))
    );
    assert_eq!(history.values_digest().unwrap(), of_now.values_digest().unwrap());
    let verified = history.verify(&|| false).unwrap();
    assert_eq!(verified.faults, []);
    assert_eq!(verified.rollups > 0, layout > 1, "{verified:?}");
    // It goes on: care, what comes late, a checkpoint, and all of it after the next start.
    let sums = |history: &History| -> Vec<_> {
        let (from, to) = (Timestamp::from_ms(START), Timestamp::from_ms(START + DAY));
        let hour = Duration::from_secs(3600);
        let of = |id| history.downsample(id, from, to, hour, Agg::Mean).unwrap();
        let all = history.all_series();
        let steps = all.iter().flat_map(|series| of(series.id));
        // Chunks of before are shorter, and numbers are added in another order: the last bits may differ.
        let about = |mean: f64| format!("{mean:.9}");
        steps
            .map(|step| (step.start, step.value.map(about), step.n, step.n_flagged))
            .collect()
    };
    for history in [&history, &of_now] {
        history
            .care(Timestamp::from_ms(START + 3 * DAY), &|| false)
            .unwrap();
        let late = reading(
            "air-1/pm10",
            START + 45_000,
            Value::Number(5.5),
            Quality::GOOD,
            2002,
        );
        history.append(&[late]).unwrap();
        history.checkpoint(2002, &[]).unwrap();
    }
    assert_eq!(sums(&history), sums(&of_now));
    drop(history);
    let history = opened(folder.path());
    assert_eq!(versions(&history), versions(&of_now));
    assert_eq!(history.verify(&|| false).unwrap().faults, []);
}

#[test]
fn a_folder_of_layout_1_is_read_as_it_was_written() {
    is_read_as_written(1);
}

#[test]
fn a_folder_of_layout_2_is_read_as_it_was_written() {
    is_read_as_written(2);
}

#[test]
fn a_folder_of_layout_3_is_read_as_it_was_written() {
    is_read_as_written(3);
}
