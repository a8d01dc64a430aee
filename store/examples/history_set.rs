//! Writes readings as line protocol, in the order in which they would come.
//!
//! `history_set FOLDER END_MS [N_STATIONS] [N_MINUTES] [N_LONG] [LONGEST_DAYS]`: of `N_STATIONS` (1000)
//! stations eight quantities at a minute cadence over the `N_MINUTES` (1440) before `END_MS`, half of the
//! series with up to two seconds of jitter; of `N_LONG` (40) gauges the water level over 30 days, of the first
//! one over `LONGEST_DAYS` (365). Files of 10,000 lines, `00000.lp` and on; prints how many lines there are.
//! The same arguments give the same bytes.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::PathBuf;

const MINUTE_MS: i64 = 60_000;
const DAY_MINUTES: i64 = 1440;
const LINES_OF_A_FILE: usize = 10_000;
const N_DISTRICTS: usize = 50;

/// How a quantity behaves.
#[derive(Clone, Copy)]
enum Kind {
    /// A random walk: steps of at most so much.
    Walk(i64),
    /// Noise about a value.
    Noise(i64),
    /// It only rises, in one of so many minutes.
    Counter(u64),
}

/// Quantity, first value, decimals, behaviour.
const QUANTITIES: [(&str, i64, usize, Kind); 8] = [
    ("temperature", 205, 1, Kind::Walk(2)),
    ("humidity", 551, 1, Kind::Walk(5)),
    ("pressure", 7752, 1, Kind::Walk(2)),
    ("pm2_5", 35, 0, Kind::Walk(3)),
    ("pm10", 80, 0, Kind::Walk(5)),
    ("noise_laeq", 550, 1, Kind::Noise(40)),
    ("rain_total", 0, 1, Kind::Counter(30)),
    ("water_level", 1203, 2, Kind::Walk(1)),
];

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        let a = 6_364_136_223_846_793_005u64;
        self.0 = self.0.wrapping_mul(a).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
    fn within(&mut self, step: i64) -> i64 {
        self.below(2 * step as u64 + 1) as i64 - step
    }
}

struct Out {
    folder: PathBuf,
    text: String,
    n_lines: usize,
    n_files: usize,
}

impl Out {
    fn line(&mut self, quantity: &str, station: &str, district: usize, decimals: usize, value: i64, at: i64) {
        let scale = 10i64.pow(decimals as u32);
        let sign = if value < 0 { "-" } else { "" };
        let (whole, part) = (value.abs() / scale, value.abs() % scale);
        write!(
            self.text,
            "{quantity},device={station},district=d{district:02} value={sign}{whole}"
        )
        .unwrap();
        if decimals > 0 {
            write!(self.text, ".{part:0decimals$}").unwrap();
        }
        writeln!(self.text, " {at}").unwrap();
        self.n_lines += 1;
        if self.n_lines.is_multiple_of(LINES_OF_A_FILE) {
            self.end_file();
        }
    }
    fn end_file(&mut self) {
        if !self.text.is_empty() {
            let file = self.folder.join(format!("{:05}.lp", self.n_files));
            std::fs::write(file, &self.text).unwrap();
            self.text.clear();
            self.n_files += 1;
        }
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(
        args.next()
            .expect("history_set FOLDER END_MS [N_STATIONS] [N_LONG]"),
    );
    let end: i64 = args.next().expect("END_MS").parse().unwrap();
    let mut number = |default: usize| args.next().map_or(default, |n| n.parse().unwrap());
    let (n_stations, n_minutes) = (number(1000), number(1440) as i64);
    let (n_long, longest_days) = (number(40), number(365) as i64);
    let mut out = Out {
        folder,
        text: String::new(),
        n_lines: 0,
        n_files: 0,
    };
    let mut random = Random(7);
    let minute = end / MINUTE_MS;
    let mut levels = vec![1203i64; n_long];
    for i in -longest_days.max(30) * DAY_MINUTES..0 {
        let has_begun = |gauge: usize| i >= -DAY_MINUTES * if gauge == 0 { longest_days } else { 30 };
        for (gauge, level) in levels
            .iter_mut()
            .enumerate()
            .filter(|(gauge, _)| has_begun(*gauge))
        {
            *level += random.within(1);
            let at = (minute + i) * MINUTE_MS + gauge as i64 * 1000;
            out.line(
                "water_level",
                &format!("gauge-{gauge:03}"),
                gauge % N_DISTRICTS,
                2,
                *level,
                at,
            );
        }
    }
    let stations: Vec<String> = (0..n_stations).map(|i| format!("station-{i:06}")).collect();
    let mut values: Vec<i64> = (0..n_stations * 8).map(|i| QUANTITIES[i % 8].1).collect();
    for i in -n_minutes..0 {
        for (s, station) in stations.iter().enumerate() {
            for (q, (quantity, base, decimals, kind)) in QUANTITIES.into_iter().enumerate() {
                let value = &mut values[s * 8 + q];
                match kind {
                    Kind::Walk(step) => *value += random.within(step),
                    Kind::Noise(span) => *value = base + random.within(span),
                    Kind::Counter(one_in) => *value += i64::from(random.below(one_in) == 0),
                }
                if *value < 0 {
                    *value = 0;
                }
                let jitter = if q % 2 == 0 { 0 } else { random.below(2000) as i64 };
                let at = (minute + i) * MINUTE_MS + s as i64 % 57 * 1000 + jitter;
                out.line(quantity, station, s % N_DISTRICTS, decimals, *value, at);
            }
        }
    }
    out.end_file();
    println!("{}", out.n_lines);
}
