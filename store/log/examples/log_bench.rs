//! Measures a log on the disk it is given.
//!
//! `cargo run --release -p onemap-log --features compress --example log_bench [DIR]`
//!
//! One line a case: records/s and MB/s made durable, commits/s, CPU of the whole process for a record,
//! and the time from append to durable of a lone writer.
#![allow(clippy::unwrap_used, reason = "a bench may stop at the first surprise")]

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use onemap_log::{Batch, Config, Log, Reader};

const N_RECORDS: u64 = 3_000_000;
const N_LONE: usize = 300;
const BODY: usize = 200;

fn main() {
    let parent = std::env::args()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(parent).unwrap();
    for (threads, records_in_batch) in [(1, 1), (1, 64), (4, 1), (4, 64)] {
        let dir = dir.path().join(format!("append-{threads}-{records_in_batch}"));
        append(&dir, threads, records_in_batch);
        read(&dir);
        std::fs::remove_dir_all(&dir).unwrap();
    }
    window(&dir.path().join("window"), 50, 50);
    lone(&dir.path().join("lone"));
}

/// A body like telemetry: compressible, and never twice the same.
fn body(out: &mut Vec<u8>, n: u64) {
    let start = out.len();
    out.extend_from_slice(
        format!("{{\"device\":\"station-{}\",\"seq\":{n},\"values\":[", n % 977).as_bytes(),
    );
    let mut state = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    while out.len() < start + BODY - 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(format!("{}.{},", 20 + state % 7, state % 10).as_bytes());
    }
    out.resize(start + BODY, b' ');
}

fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Threads append as fast as they are let.
fn append(dir: &Path, threads: u64, records_in_batch: u64) {
    let (log, _) = Log::open(Config::new(dir)).unwrap();
    let mut made: Vec<Batch> = (0..64).map(|_| Batch::new()).collect();
    for (i, batch) in made.iter_mut().enumerate() {
        for n in 0..records_in_batch {
            batch.push(1, |out| body(out, i as u64 * 64 + n));
        }
    }
    let (since, cpu) = (Instant::now(), cpu_seconds());
    thread::scope(|scope| {
        for _ in 0..threads {
            let (log, made) = (&log, &made);
            scope.spawn(move || {
                for i in 0..N_RECORDS / threads / records_in_batch {
                    log.append_blocking(&made[i as usize % 64]).unwrap();
                }
            });
        }
    });
    let last = log.status().next - 1;
    log.wait_durable_blocking(last).unwrap();
    let (took, cpu) = (since.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let status = log.status();
    println!(
        "append {threads} threads x {records_in_batch:>2} records: {:>9.0} records/s  {:>5.0} MB/s  {:>5.0} commits/s  {:>5.0} ns CPU a record",
        last as f64 / took,
        last as f64 * (BODY + 9) as f64 / took / 1e6,
        status.n_commits as f64 / took,
        cpu / last as f64 * 1e9,
    );
    let since = Instant::now();
    while log.status().segments > 1 && has_plain(dir) && log.status().pack_error.is_none() {
        thread::sleep(Duration::from_millis(20));
    }
    let status = log.status();
    println!(
        "  packed {:.2} s later: {:.0} MB in {} segments",
        since.elapsed().as_secs_f64(),
        status.bytes as f64 / 1e6,
        status.segments
    );
    log.close().unwrap();
}

/// More than the active segment is still plain.
fn has_plain(dir: &Path) -> bool {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    cfg!(feature = "compress")
        && names
            .filter(|path| path.extension().is_some_and(|e| e == "seg"))
            .count()
            > 1
}

fn read(dir: &Path) {
    let since = Instant::now();
    let mut reader = Reader::open_dir(dir, 0).unwrap();
    let mut bytes = 0;
    while let Some(entry) = reader.next().unwrap() {
        bytes += entry.body.len();
    }
    let took = since.elapsed().as_secs_f64();
    println!(
        "  read: {:>9.0} records/s  {:>5.0} MB/s",
        reader.position() as f64 / took,
        bytes as f64 / took / 1e6
    );
}

/// Writers with a window each: a record more only when one is durable, as devices with QoS 1.
fn window(dir: &Path, writers: u64, in_flight: u64) {
    const N_EACH: u64 = 5_000;
    let (log, _) = Log::open(Config::new(dir)).unwrap();
    let (since, cpu) = (Instant::now(), cpu_seconds());
    thread::scope(|scope| {
        for _ in 0..writers {
            let log = &log;
            scope.spawn(move || {
                let mut batch = Batch::new();
                let mut waiting = std::collections::VecDeque::new();
                for n in 0..N_EACH {
                    batch.clear();
                    batch.push(1, |out| body(out, n));
                    waiting.push_back(log.append_blocking(&batch).unwrap());
                    if waiting.len() as u64 == in_flight {
                        log.wait_durable_blocking(waiting.pop_front().unwrap()).unwrap();
                    }
                }
            });
        }
    });
    let (took, cpu) = (since.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let status = log.status();
    println!(
        "window {writers} writers x {in_flight}: {:>9.0} records/s  {:>5.0} commits/s  {:>5.0} ns CPU a record",
        status.durable as f64 / took,
        status.n_commits as f64 / took,
        cpu / status.durable as f64 * 1e9
    );
}

fn lone(dir: &Path) {
    let (log, _) = Log::open(Config::new(dir)).unwrap();
    let mut batch = Batch::new();
    batch.push(1, |out| body(out, 1));
    let mut took: Vec<Duration> = (0..N_LONE)
        .map(|_| {
            let since = Instant::now();
            let position = log.append_blocking(&batch).unwrap();
            log.wait_durable_blocking(position).unwrap();
            since.elapsed()
        })
        .collect();
    took.sort();
    println!(
        "lone writer: append to durable p50 {:?}  p99 {:?}",
        took[N_LONE / 2],
        took[N_LONE * 99 / 100]
    );
}
