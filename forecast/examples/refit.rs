//! How long training of 2,000 gauges and 10,000 forecasts take: `make bench-forecast`.
//!
//! Gauges are made from a seed: a year of hours, two gauges upstream and rain; lines without trees, 1 to 24 h ahead.

use std::time::Instant;

use onemap_forecast::conformal::Steps;
use onemap_forecast::learn::Options;
use onemap_forecast::model::Model;
use onemap_forecast::series::{Aligned, Kind, Series};

const N_GAUGES: usize = 2000;
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
        })
        .collect();
    Aligned {
        start_ms: 0,
        step_ms: 3_600_000,
        series,
    }
}

fn main() {
    let n_gauges = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(N_GAUGES);
    let began = Instant::now();
    let seeds: Vec<u64> = (1..=n_gauges as u64).collect();
    let made: Vec<(Model, Aligned)> = std::thread::scope(|scope| {
        let parts: Vec<_> = seeds
            .chunks(n_gauges.div_ceil(N_WORKERS))
            .map(|part| {
                scope.spawn(move || {
                    part.iter()
                        .map(|seed| {
                            let year = river(*seed, N_HOURS);
                            let options = Options {
                                with_trees: false,
                                threshold: Some(2.0),
                                ..Options::default()
                            };
                            let model = Model::train(&year, N_HOURS, &HORIZONS, &[], &options);
                            // What a running server would have at hand.
                            let from = N_HOURS - 400;
                            let newest = Aligned {
                                start_ms: year.time_ms(from),
                                step_ms: year.step_ms,
                                series: year
                                    .series
                                    .into_iter()
                                    .map(|s| Series {
                                        values: s.values[from..].to_vec(),
                                        ..s
                                    })
                                    .collect(),
                            };
                            (model, newest)
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().expect("a worker ends"))
            .collect()
    });
    let refit_s = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let mut n_issued = 0;
    let mut sum = 0.0;
    for (model, newest) in &made {
        let sight = model.sight(newest);
        for horizon in 0..HORIZONS.len() {
            if let Some(issued) = model.issue(&sight, horizon, newest.len() - 1, &Steps::default()) {
                n_issued += 1;
                sum += issued.mean;
            }
        }
    }
    let issue_s = began.elapsed().as_secs_f64();
    let kept = serde_json::to_vec(&made[0].0).map_or(0, |bytes| bytes.len());
    println!(
        "| {n_gauges} gauges, a year of hours, 4 series, {} horizons | {refit_s:.1} s on {N_WORKERS} threads |",
        HORIZONS.len()
    );
    println!("| {n_issued} forecasts issued on one thread | {issue_s:.3} s |");
    println!("| a model kept as JSON | {} KiB |", kept / 1024);
    assert!(sum.is_finite());
}
