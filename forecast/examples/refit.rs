//! How long training and nightly refits of 2,000 gauges and 10,000 forecasts take: `make bench-forecast`.
//!
//! Gauges are made from a seed: a year of hours, two gauges upstream and rain; lines without trees, 1 to 24 h ahead. As many as
//! `N_TRAINED` are trained (each a second and more), and each of their models is refit as that of many gauges: read from JSON with its
//! evidence, brought up to a day later, and written again, as a server does at night.

use std::time::Instant;

use onemap_forecast::conformal::Steps;
use onemap_forecast::learn::Options;
use onemap_forecast::model::Model;
use onemap_forecast::refit::Evidence;
use onemap_forecast::series::{Aligned, Foretold, Kind, Series};

const N_GAUGES: usize = 2000;
const N_TRAINED: usize = 20;
const N_HOURS: usize = 8760;
const HORIZONS: [usize; 5] = [1, 3, 6, 12, 24];
const N_WORKERS: usize = 2;

/// A river of one seed: rain comes in bursts, three gauges answer one after the other.
fn river(seed: u64, n: usize) -> Aligned {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut unit = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let (mut store, mut left) = ([0.0f64; 3], 0usize);
    let mut columns: [Vec<f64>; 4] = std::array::from_fn(|_| Vec::with_capacity(n));
    for _ in 0..n {
        if left == 0 && unit() < 0.01 {
            left = 2 + (unit() * 12.0) as usize;
        }
        let rain = if left > 0 {
            left -= 1;
            (unit() * 50.0).floor() / 10.0
        } else {
            0.0
        };
        let mut flow = rain;
        for (i, store) in store.iter_mut().enumerate() {
            *store += flow;
            flow = *store * (0.20 - 0.04 * i as f64);
            *store -= flow;
            columns[2 - i].push(1.0 + 0.2 * flow + 0.005 * unit());
        }
        columns[3].push(rain);
    }
    let names = ["level", "middle", "upper", "rain"];
    let series = columns
        .into_iter()
        .zip(names)
        .map(|(values, name)| Series {
            name: name.to_owned(),
            kind: if name == "rain" { Kind::Amount } else { Kind::State },
            values,
            foretold: Foretold::default(),
        })
        .collect();
    Aligned {
        start_ms: 0,
        step_ms: 3_600_000,
        series,
    }
}

/// A gauge as it is kept, and what has come since with what that looks back on.
struct Kept {
    model: Vec<u8>,
    evidence: Vec<u8>,
    newest: Aligned,
}

/// Runs `work` for each of `0..n` on [`N_WORKERS`] threads.
fn in_parallel<R: Send>(n: usize, work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let work = &work;
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..N_WORKERS)
            .map(|worker| scope.spawn(move || (worker..n).step_by(N_WORKERS).map(work).collect::<Vec<R>>()))
            .collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().expect("a worker ends"))
            .collect()
    })
}

fn trained(seed: u64) -> Kept {
    let year = river(seed, N_HOURS + 24);
    let options = Options {
        with_trees: false,
        threshold: Some(2.0),
        ..Options::default()
    };
    let (model, evidence) = Model::train_kept(&year, N_HOURS, &HORIZONS, &[], &options);
    let from = (evidence.needed_from_ms(&model) / year.step_ms) as usize;
    let start_ms = year.time_ms(from);
    let series = year.series.into_iter().map(|series| Series {
        values: series.values[from..].to_vec(),
        ..series
    });
    Kept {
        model: serde_json::to_vec(&model).expect("a model is JSON"),
        evidence: serde_json::to_vec(&evidence).expect("evidence is JSON"),
        newest: Aligned {
            start_ms,
            step_ms: year.step_ms,
            series: series.collect(),
        },
    }
}

/// Outcomes added and bytes written.
fn refit(kept: &Kept) -> (usize, usize) {
    let mut model: Model = serde_json::from_slice(&kept.model).expect("it was written");
    let mut evidence: Evidence = serde_json::from_slice(&kept.evidence).expect("it was written");
    let done = model
        .refit(&mut evidence, &kept.newest)
        .expect("it is the model's evidence");
    let written = serde_json::to_vec(&model).expect("a model is JSON").len()
        + serde_json::to_vec(&evidence).expect("evidence is JSON").len();
    (done.outcomes, written)
}

fn main() {
    let n_gauges: usize = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(N_GAUGES);
    let n_trained = n_gauges.min(N_TRAINED);
    let began = Instant::now();
    let all = in_parallel(n_trained, |seed| trained(seed as u64 + 1));
    println!(
        "| {n_trained} gauges trained: a year of hours, 4 series, {} leads | {:.1} s on {N_WORKERS} threads |",
        HORIZONS.len(),
        began.elapsed().as_secs_f64()
    );
    let began = Instant::now();
    let done = in_parallel(n_gauges, |gauge| refit(&all[gauge % n_trained]));
    let outcomes: usize = done.iter().map(|(outcomes, _)| outcomes).sum();
    assert_eq!(
        outcomes,
        n_gauges * 24 * HORIZONS.len(),
        "a day of outcomes a lead"
    );
    println!(
        "| {n_gauges} gauges refit by a day: read, brought up to date, written | {:.1} s on {N_WORKERS} threads |",
        began.elapsed().as_secs_f64()
    );
    let models: Vec<Model> = all
        .iter()
        .map(|kept| serde_json::from_slice(&kept.model).expect("it was written"))
        .collect();
    let began = Instant::now();
    let (mut n_issued, mut sum) = (0, 0.0);
    for gauge in 0..n_gauges {
        let (model, newest) = (&models[gauge % n_trained], &all[gauge % n_trained].newest);
        let sight = model.sight(newest);
        for horizon in 0..HORIZONS.len() {
            if let Some(issued) = model.issue(&sight, horizon, newest.len() - 1, &Steps::default()) {
                n_issued += 1;
                sum += issued.mean;
            }
        }
    }
    assert!(sum.is_finite());
    println!(
        "| {n_issued} forecasts issued | {:.3} s on one thread |",
        began.elapsed().as_secs_f64()
    );
    println!(
        "| a model and its evidence kept as JSON | {} KiB and {} KiB |",
        all[0].model.len() / 1024,
        all[0].evidence.len() / 1024
    );
}
