//! Writes readings as line protocol, in the order in which they would come.
//!
//! `history_set FOLDER END_MS [N_STATIONS] [N_MINUTES] [N_LONG] [LONGEST_DAYS]`: of `N_STATIONS` (1000)
//! stations eight quantities at a minute cadence over the `N_MINUTES` (1440) before `END_MS`, each at its own
//! second of the minute, half of the stations with two seconds of jitter in milliseconds; of `N_LONG` (40) gauges the water level over 30 days, of the first
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
    /// A walk that moves in so many of 256 minutes, by at most so many steps.
    Walk(u64, i64),
    /// Noise about the first value.
    Noise(i64),
    /// It rises by less than so many steps.
    Counter(i64),
    /// On or off; it turns once in 2048 minutes.
    Switch,
}

/// Quantity, first value, decimals, behaviour: what each says in a minute is 0 to 8 bits.
const QUANTITIES: [(&str, i64, usize, Kind); 8] = [
    ("temperature", 200, 1, Kind::Walk(164, 1)),
    ("humidity", 450, 1, Kind::Walk(256, 3)),
    ("pm2_5", 350, 1, Kind::Walk(256, 15)),
    ("noise_laeq", 550, 1, Kind::Noise(60)),
    ("water_level", 1200, 2, Kind::Walk(40, 2)),
    ("energy", 1_000_000, 2, Kind::Counter(200)),
    ("co2", 440, 0, Kind::Noise(12)),
    ("switch", 0, 0, Kind::Switch),
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
                    Kind::Walk(moves, step) => {
                        if random.below(256) < moves {
                            *value = (*value + random.within(step)).clamp(20, base.max(500) * 2);
                        }
                    }
                    Kind::Noise(span) => *value = base + (s % 50) as i64 + random.within(span),
                    Kind::Counter(step) => *value += random.below(step as u64) as i64,
                    Kind::Switch => *value ^= i64::from(random.below(2048) == 0),
                }
                // Each series has its own second of the minute; every other station's clock also wanders.
                let phase = (s * 8 + q) as i64 * 7919 % MINUTE_MS;
                let at = (minute + i) * MINUTE_MS
                    + match s % 2 {
                        0 => phase / 1000 * 1000,
                        _ => phase + random.below(2000) as i64 - 500,
                    };
                out.line(quantity, station, s % N_DISTRICTS, decimals, *value, at);
            }
        }
    }
    out.end_file();
    println!("{}", out.n_lines);
}
