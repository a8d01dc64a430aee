//! Cares for the closed days of a history that no server has open, as the server does in the background.
//!
//! `history_care FOLDER NOW_MS` prints points, bytes of chunks before and after, and the CPU it took.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::Instant;

use onemap_model::Timestamp;
use onemap_store::history::{History, HistoryConfig};

fn main() {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(args.next().expect("history_care FOLDER NOW_MS"));
    let now = Timestamp::from_ms(args.next().expect("NOW_MS").parse().unwrap());
    let history = History::open(&folder, HistoryConfig::default()).unwrap();
    let before = history.stats();
    let started = Instant::now();
    let cared = history.care(now, &|| false).unwrap();
    let took = started.elapsed().as_secs_f64();
    let after = history.stats();
    println!(
        "{{\"points\":{},\"bytes_before\":{},\"bytes_after\":{},\"days\":{},\"seconds\":{took:.3}}}",
        after.points, before.chunk_bytes, after.chunk_bytes, cared.days
    );
}
