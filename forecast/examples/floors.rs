//! Backtests the real series of a data folder on several splits and prints each line beside its floor and beside what a plain
//! ridge reaches on the same rows.
//!
//! `cargo run --release -p onemap-forecast --example floors -- DATA [NAME …]`, splits in `SPLITS` (0.6,0.7). With `WIDE=1` every
//! gauge of the folder is a target, with floods above its 95th and its 99th percentile, and what all lines come to is said at the
//! end; the table's own series are then named with `WIDE=named`. `TREES=0` leaves trees out, in a tenth of the time.

#[path = "../tests/series/mod.rs"]
mod series;

use std::path::Path;
use std::time::Instant;

use onemap_forecast::backtest::{Backtest, backtest};
use onemap_forecast::conformal::State;
use onemap_forecast::learn::Options;
use onemap_forecast::score::Scores;
use onemap_forecast::series::Aligned;
use series::{Case, cases, gauges, plain_ridge, threshold_of};

/// Flood rows without which a line says nothing of floods.
const LEAST_FLOODS: usize = 30;
/// What is called below.
const NOISE: f64 = 0.005;
/// What is called far below of a critical success index.
const FAR_BELOW: f64 = 0.02;
/// Forecasts of a state without which its coverage says nothing.
const LEAST_OF_STATE: usize = 100;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(data) = args.first() else {
        eprintln!("usage: floors DATA [NAME …]");
        std::process::exit(2);
    };
    let (data, names) = (Path::new(data), &args[1..]);
    match std::env::var("WIDE").as_deref() {
        Ok("named") => each_gauge(cases(data, names)),
        Ok(_) => each_gauge(gauges::gauges(data, names)),
        Err(_) => floors(&cases(data, names)),
    }
}

fn splits(or: &str) -> Vec<f64> {
    let splits = std::env::var("SPLITS").unwrap_or_else(|_| or.to_owned());
    splits.split(',').filter_map(|split| split.parse().ok()).collect()
}

fn tested(case: &Case, aligned: &Aligned, split: f64, threshold: f64) -> Backtest {
    let options = Options {
        threshold: Some(threshold),
        n_workers: 2,
        with_trees: std::env::var("TREES").as_deref() != Ok("0"),
        ..Options::default()
    };
    let n_train = (aligned.len() as f64 * split) as usize;
    backtest(aligned, n_train, &case.steps(aligned), &options)
}

fn shown(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.2}"))
}

/// The table of `docs/forecast.md`.
fn floors(cases: &[Case]) {
    println!(
        "| series | split | lead | floor | plain ridge | skill | overall | MAE skill | CRPS skill | cover 80 | above | CSI (persistence) | n |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for case in cases {
        let (aligned, threshold) = case.aligned();
        for split in splits("0.6,0.7") {
            let began = Instant::now();
            let found = tested(case, &aligned, split, threshold);
            let took_s = began.elapsed().as_secs_f64();
            let ridges = plain_ridge(&found, &aligned);
            for (at, outcome) in found.horizons.iter().enumerate() {
                let (s, ridge, floor) = (&outcome.scores, &ridges[at], case.floors[at]);
                let (skill, of_ridge) = if case.is_mae {
                    (s.mae_skill, ridge.mae_skill)
                } else {
                    (s.flood_skill, ridge.flood_skill)
                };
                let word = if skill.is_some_and(|skill| skill >= floor - NOISE) {
                    ""
                } else {
                    " (below)"
                };
                println!(
                    "| {} | {split} | {} h | {floor:.2} | {} | {}{word} | {} | {} | {} | {} | {} | {} ({}) | {}/{} |",
                    case.name,
                    case.horizons_h[at],
                    shown(of_ridge),
                    shown(skill),
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

/// What all lines come to.
#[derive(Default)]
struct Total {
    /// Skill less the plain ridge's, in floods and over all rows, each with the line's name.
    in_floods: Vec<(f64, String)>,
    over_all: Vec<(f64, String)>,
    skills: Vec<(f64, String)>,
    /// Critical success index of warnings less persistence's, with flood rows enough.
    warnings: Vec<(f64, String)>,
    /// Shares inside the 80 % interval, over all rows, in wet and in rising states.
    inside: Vec<(f64, String)>,
    inside_moving: Vec<(f64, String)>,
}

fn each_gauge(cases: Vec<Case>) {
    let mut total = Total::default();
    println!(
        "line: flood skill / plain ridge, skill / plain ridge, inside 80 % (rising, wet), CSI (persistence), flood rows / rows"
    );
    for case in cases {
        let (aligned, named) = case.aligned();
        let mut thresholds: Vec<(String, f64)> = gauges::TOPS
            .iter()
            .map(|top| (format!("p{:.0}", top * 100.0), threshold_of(&aligned, *top)))
            .collect();
        if case.threshold.is_some() || !gauges::TOPS.contains(&case.top) {
            thresholds.insert(0, ("named".to_owned(), named));
        }
        let tops = std::env::var("TOPS").unwrap_or_default();
        thresholds.retain(|(word, _)| tops.is_empty() || tops.split(',').any(|top| top == word));
        for (word, threshold) in &thresholds {
            for split in splits("0.5,0.7,0.9") {
                let label = format!("{} {word} {split}", case.name);
                let found = tested(&case, &aligned, split, *threshold);
                total.add(&case, &label, &found, &plain_ridge(&found, &aligned));
            }
        }
    }
    total.print();
}

impl Total {
    fn add(&mut self, case: &Case, label: &str, found: &Backtest, ridges: &[Scores]) {
        for (at, (outcome, ridge)) in found.horizons.iter().zip(ridges).enumerate() {
            let s = &outcome.scores;
            let label = format!("{label} {} h", case.horizons_h[at]);
            let mut of_state = |state: State| {
                let (_, n, inside) = outcome.by_state.iter().find(|(of, _, _)| *of == state)?;
                let inside = inside.filter(|_| *n >= LEAST_OF_STATE)?;
                self.inside_moving.push((inside, format!("{label} {state:?}")));
                Some(inside)
            };
            let (rising, wet) = (of_state(State::Rising), of_state(State::Wet));
            println!(
                "{label}: {} / {}, {} / {}, {} ({}, {}), {} ({}), {} / {}{}",
                shown(s.flood_skill),
                shown(ridge.flood_skill),
                shown(s.skill),
                shown(ridge.skill),
                shown(s.coverage80),
                shown(rising),
                shown(wet),
                shown(s.csi),
                shown(s.csi_persistence),
                s.n_flood,
                s.n,
                outcome.silent.map_or(String::new(), |_| ", silent".to_owned()),
            );
            if let (Some(own), Some(other), true) =
                (s.flood_skill, ridge.flood_skill, s.n_flood >= LEAST_FLOODS)
            {
                self.in_floods.push((own - other, label.clone()));
            }
            if let (Some(own), Some(other), true) = (s.csi, s.csi_persistence, s.n_flood >= LEAST_FLOODS) {
                self.warnings.push((own - other, label.clone()));
            }
            if let (Some(own), Some(other)) = (s.skill, ridge.skill) {
                self.over_all.push((own - other, label.clone()));
                self.skills.push((own, label.clone()));
            }
            if let Some(inside) = s.coverage80 {
                self.inside.push((inside, label));
            }
        }
    }

    fn print(&mut self) {
        for (what, values) in [
            ("flood skill less the plain ridge's", &mut self.in_floods),
            ("skill less the plain ridge's", &mut self.over_all),
        ] {
            // What a ridge that ran away lost is no gain of the blend.
            let mean = values.iter().map(|(v, _)| v.min(0.2)).sum::<f64>() / values.len().max(1) as f64;
            let n_below = values.iter().filter(|(v, _)| *v < -NOISE).count();
            println!(
                "{what}: mean (each at most 0.2) {mean:.4}, {n_below} of {} below by more than {NOISE}",
                values.len()
            );
            worst(values);
        }
        let of = |values: &[(f64, String)], is: &dyn Fn(f64) -> bool| {
            values.iter().filter(|(v, _)| is(*v)).count()
        };
        println!(
            "skill below persistence by more than {NOISE}: {} of {}",
            of(&self.skills, &|v| v < -NOISE),
            self.skills.len()
        );
        worst(&mut self.skills);
        println!(
            "critical success index of warnings less persistence's: mean {:.4}, {} of {} below by more than {FAR_BELOW}",
            self.warnings.iter().map(|(v, _)| v).sum::<f64>() / self.warnings.len().max(1) as f64,
            of(&self.warnings, &|v| v < -FAR_BELOW),
            self.warnings.len()
        );
        worst(&mut self.warnings);
        println!(
            "inside the 80 % interval: {} below 0.75, {} above 0.85 of {}; in wet or rising states {} below 0.70 of {}",
            of(&self.inside, &|v| v < 0.75),
            of(&self.inside, &|v| v > 0.85),
            self.inside.len(),
            of(&self.inside_moving, &|v| v < 0.70),
            self.inside_moving.len()
        );
        worst(&mut self.inside);
        worst(&mut self.inside_moving);
    }
}

/// The ten least.
fn worst(values: &mut [(f64, String)]) {
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (value, label) in values.iter().take(10) {
        println!("  {value:.3} {label}");
    }
}
