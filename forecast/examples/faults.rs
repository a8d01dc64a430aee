//! Detectors beside a Hampel filter on labelled water sensors.
use std::io::Read as _;

use onemap_forecast::faults::{Detector, hampel};

fn main() {
    let data = std::env::args().nth(1).expect("the data folder");
    let bytes = std::fs::read(format!("{data}/water-sensors/sandy.csv.gz")).expect("sandy.csv.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes.as_slice())
        .read_to_string(&mut text)
        .expect("gzip");
    let rows: Vec<Vec<&str>> = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').collect())
        .collect();
    for (name, at, range) in [
        ("level_m", 1, (0.0, 30.0)),
        ("conductivity_us_cm", 2, (5.0, 5000.0)),
        ("turbidity_ntu", 3, (0.0, 4000.0)),
    ] {
        let values: Vec<f64> = rows
            .iter()
            .map(|row| row[at].parse().unwrap_or(f64::NAN))
            .collect();
        let labels: Vec<bool> = rows.iter().map(|row| row[at + 3] == "1").collect();
        let detector = Detector::learn(&values, Some(range));
        let faults = detector.faults(&values);
        let mut flagged = vec![false; values.len()];
        faults
            .iter()
            .for_each(|f| flagged[f.from..f.to.min(values.len())].fill(true));
        let mut by_hampel = vec![false; values.len()];
        hampel(&values, 7, 3.0)
            .into_iter()
            .for_each(|at| by_hampel[at] = true);
        for (who, flags) in [("detectors", &flagged), ("hampel", &by_hampel)] {
            let hits = flags.iter().zip(&labels).filter(|(f, l)| **f && **l).count();
            let n_flagged = flags.iter().filter(|f| **f).count();
            let n_labelled = labels.iter().filter(|l| **l).count();
            println!(
                "{name} {who}: flagged {n_flagged}, labelled {n_labelled}, precision {:.3} recall {:.3}",
                hits as f64 / n_flagged.max(1) as f64,
                hits as f64 / n_labelled.max(1) as f64
            );
        }
        let shown: Vec<String> = faults
            .iter()
            .take(40)
            .map(|f| format!("{:?} {}..{} x{:.1}", f.kind, f.from, f.to, f.excess))
            .collect();
        println!("   {detector:?}\n   {}", shown.join("; "));
    }
}
