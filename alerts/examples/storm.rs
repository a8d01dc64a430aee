//! How long 10,000 open alerts take to become cards: `cargo run --release -p onemap-alerts --example storm`.
#![allow(missing_docs, clippy::print_stdout)]

#[path = "../tests/planted/mod.rs"]
#[allow(dead_code)]
mod planted;

use std::time::Instant;

use onemap_alerts::cards::fold;

const N_ROUNDS: usize = 50;

fn main() {
    let storm = planted::Storm::planted();
    let mut ms = Vec::new();
    let mut cards = Vec::new();
    for _ in 0..N_ROUNDS {
        let start = Instant::now();
        cards = fold(&storm.alerts, &storm.known);
        ms.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    ms.sort_by(f64::total_cmp);
    println!(
        "{} open of {} alerts, {} cards: median {:.1} ms, p95 {:.1} ms, worst {:.1} ms of {N_ROUNDS}",
        storm.n_open(),
        storm.alerts.len(),
        cards.len(),
        ms[N_ROUNDS / 2],
        ms[N_ROUNDS * 95 / 100],
        ms[N_ROUNDS - 1]
    );
    for card in &cards {
        println!(
            "{:?} {:?} {} | {}",
            card.severity, card.kind, card.counts.alerts, card.headline.zh
        );
    }
}
