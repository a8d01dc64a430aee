//! Measures history: 8000 series at a minute cadence over 24 hours.
//!
//! `cargo run --release -p onemap-store --example history_bench [FOLDER]`
#![allow(missing_docs, clippy::unwrap_used)]

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use onemap_model::{DeviceId, Quality, Quantity, Reading, SeriesKey, Timestamp, Value};
use onemap_store::history::{Agg, History, HistoryConfig, SeriesId};
use onemap_store::latest::Latest;

const N_DEVICES: usize = 1000;
const N_MINUTES: i64 = 24 * 60;
const START: i64 = 1_790_000_000_000;
/// Checkpoints after this many minutes of data.
const CHECKPOINT_MINUTES: i64 = 5;
/// Quantity, first value, decimals as a power of ten, size of a step.
const SHAPES: [(&str, i64, f64, i64); 8] = [
    ("temperature", 200, 10.0, 2),
    ("humidity", 550, 10.0, 5),
    ("pressure", 7_750, 10.0, 2),
    ("pm2_5", 35, 1.0, 3),
    ("pm10", 80, 1.0, 5),
    ("so2", 120, 10.0, 4),
    ("no2", 300, 10.0, 9),
    ("water_level", 1_200, 100.0, 1),
];

/// Time of one kind of work.
#[derive(Default)]
struct Spent {
    wall: Duration,
    cpu: Duration,
}

impl Spent {
    fn add(&mut self, started: Instant, busy: Duration) {
        self.wall += started.elapsed();
        self.cpu += cpu_of_this_thread().saturating_sub(busy);
    }
    fn each(&self, n: u64) -> String {
        let each = |d: Duration| d.as_nanos() as u64 / n;
        format!("{} ns CPU a point ({} ns wall)", each(self.cpu), each(self.wall))
    }
}

/// What the kernel has charged to this thread; zero where it does not say.
fn cpu_of_this_thread() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = text.split(' ').next().and_then(|ns| ns.parse().ok());
    Duration::from_nanos(ns.unwrap_or(0))
}

fn main() {
    let dir = std::env::args().nth(1).map_or_else(
        || std::env::temp_dir().join(format!("history-bench-{}", std::process::id())),
        PathBuf::from,
    );
    let history = History::open(&dir, HistoryConfig::default()).unwrap();
    let latest = Latest::new();
    let keys: Vec<SeriesKey> = (0..N_DEVICES)
        .flat_map(|device| {
            SHAPES.map(|(quantity, ..)| SeriesKey {
                device: DeviceId::new(&format!("station-{device:04}")).unwrap(),
                quantity: Quantity::named(quantity).unwrap_or_else(|| panic!("no quantity {quantity}")),
                channel: 0,
            })
        })
        .collect();
    let mut walks: Vec<i64> = (0..keys.len()).map(|i| SHAPES[i % 8].1).collect();
    let mut seed = 7u64;
    let mut random = |n: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };

    let (mut appending, mut checkpointing) = (Spent::default(), Spent::default());
    let mut longest = Duration::ZERO;
    let mut n_points = 0u64;
    for minute in 0..N_MINUTES {
        let mut readings = Vec::with_capacity(keys.len());
        for (i, key) in keys.iter().enumerate() {
            let (_, _, scale, step) = SHAPES[i % 8];
            walks[i] += random(2 * step as u64 + 1) as i64 - step;
            let jitter = if i % 2 == 0 { 0 } else { random(2000) as i64 };
            let at = START + minute * 60_000 + (i / 8 % 60) as i64 * 1000 + jitter;
            readings.push(Reading {
                series: key.clone(),
                measured_at: Timestamp::from_ms(at),
                period: Duration::ZERO,
                received_at: Timestamp::from_ms(at + 40 + random(200) as i64),
                value: Value::Number(walks[i] as f64 / scale),
                quality: if random(512) == 0 {
                    Quality::SUSPECT
                } else {
                    Quality::GOOD
                },
                position: minute as u64 + 1,
            });
        }
        let (started, busy) = (Instant::now(), cpu_of_this_thread());
        let outcomes = history.append(&readings).unwrap();
        latest.apply(&readings, &outcomes);
        appending.add(started, busy);
        n_points += readings.len() as u64;
        if (minute + 1) % CHECKPOINT_MINUTES == 0 {
            let (started, busy) = (Instant::now(), cpu_of_this_thread());
            history.checkpoint(minute as u64 + 1, &[]).unwrap();
            checkpointing.add(started, busy);
            longest = longest.max(started.elapsed());
        }
    }
    println!("points             {n_points}");
    println!("append + latest    {}", appending.each(n_points));
    println!(
        "checkpoints        {}, longest {longest:?}",
        checkpointing.each(n_points)
    );
    let stats = history.stats();
    println!(
        "in chunks          {:.2} bytes a point",
        stats.chunk_bytes as f64 / stats.points as f64
    );
    println!(
        "on disk            {:.2} bytes a point, {} chunks",
        stats.disk_bytes as f64 / stats.points as f64,
        stats.chunks
    );

    let (started, busy) = (Instant::now(), cpu_of_this_thread());
    let cared = history
        .care(Timestamp::from_ms(START + 3 * 86_400_000), &|| false)
        .unwrap();
    let mut caring = Spent::default();
    caring.add(started, busy);
    let stats = history.stats();
    println!("care of the day    {}", caring.each(n_points));
    println!(
        "in chunks then     {:.2} bytes a point, {} chunks for {}",
        stats.chunk_bytes as f64 / stats.points as f64,
        cared.chunks_after,
        cared.chunks_before
    );

    let (from, to) = (
        Timestamp::from_ms(START),
        Timestamp::from_ms(START + 2 * 86_400_000),
    );
    let mut scans: Vec<Duration> = (1..200u32)
        .map(|i| {
            let started = Instant::now();
            let mut n = 0;
            history
                .scan(SeriesId(i * 37), from, to, &mut |_| {
                    n += 1;
                    ControlFlow::Continue(())
                })
                .unwrap();
            assert_eq!(n, N_MINUTES);
            started.elapsed()
        })
        .collect();
    scans.sort();
    println!(
        "scan of 24 h       {:?} median of {}",
        scans[scans.len() / 2],
        scans.len()
    );
    let started = Instant::now();
    let mut n = 0;
    for i in 1..=1000 {
        let hour = Duration::from_secs(3600);
        n += history
            .downsample(SeriesId(i), from, to, hour, Agg::Mean)
            .unwrap()
            .len();
    }
    println!("1000 x 24 h by hour {:?}, {n} steps", started.elapsed());
    let started = Instant::now();
    let n = latest.snapshot_all().len();
    println!("latest of all {n}  {:?}", started.elapsed());

    let before = history.digest().unwrap();
    drop(history);
    let started = Instant::now();
    let history = History::open(&dir, HistoryConfig::default()).unwrap();
    println!("reopened in        {:?}", started.elapsed());
    let started = Instant::now();
    assert_eq!(
        Latest::rebuild(&history).unwrap().digest(&history),
        latest.digest(&history)
    );
    println!("latest rebuilt in  {:?}", started.elapsed());
    let started = Instant::now();
    assert_eq!(history.digest().unwrap(), before);
    println!("digest in          {:?}", started.elapsed());
    drop(history);
    std::fs::remove_dir_all(&dir).unwrap();
}
