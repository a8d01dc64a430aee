//! The log from outside: what is acknowledged stays, in order, whatever happens.
#![allow(clippy::unwrap_used, missing_docs)]

mod carry;
mod damage;
mod full;
mod kill;
mod order;
mod property;

use std::{fs, path::Path, time::Duration};

use onemap_log::{Batch, Config, Log, Reader};

/// One record as a test sees it.
type Seen = (u64, u8, Vec<u8>);

fn config(dir: &Path) -> Config {
    Config {
        commit_wait: Duration::from_micros(500),
        ..Config::new(dir)
    }
}

/// Many small segments.
fn small(dir: &Path) -> Config {
    Config {
        segment_bytes: 4096,
        ..config(dir)
    }
}

fn batch(records: &[(u8, &[u8])]) -> Batch {
    let mut batch = Batch::new();
    for (kind, body) in records {
        batch.push(*kind, |out| out.extend_from_slice(body));
    }
    batch
}

/// Appends one record as a commit of its own.
fn commit(log: &Log, kind: u8, body: &[u8]) -> u64 {
    let position = log.append_blocking(&batch(&[(kind, body)])).unwrap();
    log.wait_durable_blocking(position).unwrap();
    position
}

/// A body that says which record it belongs to.
fn body(n: u64) -> Vec<u8> {
    format!("record {n} {}", "~".repeat((n * 37 % 190) as usize)).into_bytes()
}

/// Appends and commits the records `range` with [`body`].
fn fill(log: &Log, range: std::ops::RangeInclusive<u64>) {
    for n in range {
        assert_eq!(commit(log, 1, &body(n)), n);
    }
}

fn read_all(reader: &mut Reader) -> Vec<Seen> {
    let mut seen = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        seen.push((entry.position, entry.kind, entry.body.to_vec()));
    }
    seen
}

fn numbered(range: std::ops::RangeInclusive<u64>) -> Vec<Seen> {
    range.map(|n| (n, 1, body(n))).collect()
}

/// Names in the folder with this ending, sorted.
fn files(dir: &Path, ending: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(ending))
        .collect();
    names.sort();
    names
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Waits until something holds; a state that does not come within half a minute is a failure.
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(
            std::time::Instant::now() < deadline,
            "waited in vain until {what}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}
