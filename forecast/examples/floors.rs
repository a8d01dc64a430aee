//! Backtests the real series of a data folder on several splits and prints each line beside its floor.
//!
//! `cargo run --release -p onemap-forecast --example floors -- DATA [NAME …]`, splits in `SPLITS` (0.6,0.7).

#[path = "../tests/series/mod.rs"]
mod series;

use std::path::Path;
use std::time::Instant;

use onemap_forecast::backtest::backtest;
use onemap_forecast::learn::Options;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(data) = args.first() else {
        eprintln!("usage: floors DATA [NAME …]");
        std::process::exit(2);
    };
    let splits = std::env::var("SPLITS").unwrap_or_else(|_| "0.6,0.7".to_owned());
    let splits: Vec<f64> = splits.split(',').filter_map(|split| split.parse().ok()).collect();
    println!(
        "| series | split | lead | floor | skill | overall | MAE skill | CRPS skill | cover 80 | above | CSI (persistence) | n |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for case in series::cases(Path::new(data), &args[1..]) {
        let (aligned, threshold) = case.aligned();
        for split in &splits {
            let n_train = (aligned.len() as f64 * split) as usize;
            let began = Instant::now();
            let options = Options {
                threshold: Some(threshold),
                n_workers: 2,
                ..Options::default()
            };
            let found = backtest(&aligned, n_train, &case.steps(&aligned), &options);
            let took_s = began.elapsed().as_secs_f64();
            for (outcome, (hours, floor)) in found
                .horizons
                .iter()
                .zip(case.horizons_h.iter().zip(&case.floors))
            {
                let s = &outcome.scores;
                let shown = |v: Option<f64>| v.map_or("–".to_owned(), |v| format!("{v:.2}"));
                let skill = if case.is_mae { s.mae_skill } else { s.flood_skill };
                println!(
                    "| {} | {split} | {hours} h | {floor:.2} | {}{} | {} | {} | {} | {} | {} | {} ({}) | {}/{} |",
                    case.name,
                    shown(skill),
                    if skill.is_some_and(|skill| skill >= floor - 0.005) {
                        ""
                    } else {
                        " (below)"
                    },
                    shown(s.skill),
                    shown(s.mae_skill),
                    shown(s.crps_skill),
                    shown(s.coverage80),
                    shown(s.coverage80_above),
                    shown(s.csi),
                    shown(s.csi_persistence),
                    s.n_flood,
                    s.n
                );
            }
            eprintln!(
                "{} {split}: {took_s:.1} s, median lead {:?} h",
                case.name,
                found.median_lead_ms.map(|l| l as f64 / 3.6e6)
            );
        }
    }
}
