//! Real series of the shared data folder, on their grids, with the thresholds, horizons and inputs that they are tested with.
#![allow(dead_code, reason = "each user takes a part")]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use onemap_forecast::backtest::{Backtest, Outcome};
use onemap_forecast::score::{Scored, Scores, score};
use onemap_forecast::series::{Aligned, Foretold, Kind, Series, kind_of};

pub(crate) mod gauges;

type Row = BTreeMap<String, String>;

/// The folder beside the clone; `None`, said aloud, when it is not there.
pub(crate) fn folder() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let path = if path.exists() {
        path
    } else {
        PathBuf::from(std::env::var_os("ONEMAP_SHARED_DATA")?)
    };
    path.exists().then_some(path)
}

/// Rows of a CSV file, gzip or plain, by column.
pub(crate) fn table(path: &Path) -> Vec<Row> {
    let bytes = std::fs::read(path).expect("the file can be read");
    let mut text = String::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::GzDecoder::new(bytes.as_slice())
            .read_to_string(&mut text)
            .expect("gzip");
    } else {
        text = String::from_utf8(bytes).expect("UTF-8");
    }
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().expect("a header").split(',').collect();
    lines
        .map(|l| {
            header
                .iter()
                .map(|h| h.to_string())
                .zip(l.split(',').map(str::to_owned))
                .collect()
        })
        .collect()
}

/// Milliseconds of `YYYY-MM-DD[THH:MM[:SS]]`.
fn ms(text: &str) -> i64 {
    let part = |from: usize, to: usize| {
        text.get(from..to)
            .and_then(|t| t.parse::<i64>().ok())
            .unwrap_or(0)
    };
    let (y, m, d) = (part(0, 4), part(5, 7), part(8, 10));
    let (y2, m2) = if m <= 2 { (y - 1, m + 9) } else { (y, m - 3) };
    let era = y2.div_euclid(400);
    let yoe = y2 - era * 400;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + (153 * m2 + 2) / 5 + d - 1;
    let days = era * 146_097 + doe - 719_468;
    ((days * 24 + part(11, 13)) * 60 + part(14, 16)) * 60_000 + part(17, 19) * 1000
}

/// Columns of a wide table.
pub(crate) fn wide(rows: &[Row], time: &str, columns: &[&str]) -> (Vec<i64>, Vec<Series>) {
    let times = rows.iter().map(|r| ms(&r[time])).collect();
    let series = columns
        .iter()
        .map(|c| {
            let values: Vec<f64> = rows.iter().map(|r| r[*c].parse().unwrap_or(f64::NAN)).collect();
            Series {
                name: c.to_string(),
                kind: kind_of(&values),
                values,
                foretold: Foretold::default(),
            }
        })
        .collect();
    (times, series)
}

/// A long table as a wide one: a column for each name.
pub(crate) fn pivot(
    rows: &[Row],
    time: &str,
    name: &str,
    value: &str,
    target: &str,
    most: usize,
) -> (Vec<i64>, Vec<Series>) {
    let mut at: BTreeMap<i64, BTreeMap<String, f64>> = BTreeMap::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for r in rows {
        let Ok(v) = r[value].parse::<f64>() else { continue };
        at.entry(ms(&r[time])).or_default().insert(r[name].clone(), v);
        *counts.entry(r[name].clone()).or_default() += 1;
    }
    let mut names: Vec<(usize, String)> = counts
        .into_iter()
        .filter(|(n, _)| n != target)
        .map(|(n, c)| (c, n))
        .collect();
    names.sort_by(|a, b| b.cmp(a));
    let mut names: Vec<String> = names.into_iter().map(|(_, n)| n).take(most).collect();
    names.insert(0, target.to_owned());
    let times: Vec<i64> = at.keys().copied().collect();
    let series = names
        .iter()
        .map(|n| {
            let values: Vec<f64> = at
                .values()
                .map(|r| r.get(n).copied().unwrap_or(f64::NAN))
                .collect();
            Series {
                name: n.clone(),
                kind: Kind::State,
                values,
                foretold: Foretold::default(),
            }
        })
        .collect();
    (times, series)
}

/// Gauges of the Calder: a month of quarters of an hour, whose one flood comes after two dry weeks.
pub(crate) const CALDER: [(&str, &str); 5] = [
    ("calder-callis", "wl_todmorden_callis_m"),
    ("calder-nutclough", "wl_nutclough_m"),
    ("calder-hebden", "wl_hebden_bridge_m"),
    ("calder-mytholmroyd", "wl_mytholmroyd_m"),
    ("calder-dauber", "wl_mytholmroyd_dauber_m"),
];

/// One line of the table of floors.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) times: Vec<i64>,
    pub(crate) series: Vec<Series>,
    /// Exceedances; `None` is the share of the whole series given beside it.
    pub(crate) threshold: Option<f64>,
    pub(crate) top: f64,
    pub(crate) horizons_h: Vec<i64>,
    pub(crate) floors: Vec<f64>,
    pub(crate) is_mae: bool,
}

/// The cases whose names begin with one of `wanted`, or all.
pub(crate) fn cases(data: &Path, wanted: &[String]) -> Vec<Case> {
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| name.starts_with(w.as_str()));
    let mut all = Vec::new();
    let h = data.join("hydrology");
    let mut push =
        |name: &str, (times, series), threshold, top, horizons_h: &[i64], floors: &[f64], is_mae| {
            all.push(Case {
                name: name.to_owned(),
                times,
                series,
                threshold,
                top,
                horizons_h: horizons_h.to_vec(),
                floors: floors.to_vec(),
                is_mae,
            });
        };
    if is_wanted("wangsuk") {
        let t = table(&h.join("wangsuk/hourly.csv.gz"));
        push(
            "wangsuk",
            wide(
                &t,
                "time",
                &[
                    "wl_jingwan",
                    "wl_naegok",
                    "wl_bupyeong",
                    "rain_jingwan",
                    "rain_jinjeop",
                ],
            ),
            Some(0.4),
            0.0,
            &[1, 2, 3, 6],
            &[0.67, 0.53, 0.39, 0.16],
            false,
        );
    }
    if is_wanted("han") {
        let t = table(&h.join("han-river/ten_minute.csv.gz"));
        push(
            "han",
            wide(&t, "time", &gauges::HAN),
            Some(600.0),
            0.0,
            &[1, 3, 6, 12],
            &[0.48, 0.61, 0.41, 0.11],
            false,
        );
    }
    if is_wanted("aller") {
        let t = table(&h.join("aller/levels.csv.gz"));
        push(
            "aller",
            pivot(&t, "time", "station", "level_cm", "Rethem", 7),
            Some(250.0),
            0.0,
            &[6, 12, 24, 48],
            &[0.90, 0.89, 0.83, 0.54],
            false,
        );
    }
    if is_wanted("yellow") {
        let t = table(&h.join("yellow-river/daily.csv.gz"));
        let t: Vec<_> = t
            .into_iter()
            .filter(|r| r["river"] == "黄河" || r["station"] == "利津")
            .collect();
        push(
            "yellow",
            pivot(&t, "date", "station", "q_m3s", "利津", 14),
            Some(2000.0),
            0.0,
            &[24, 48, 72, 120],
            &[0.92, 0.93, 0.90, 0.58],
            false,
        );
    }
    if is_wanted("basin") {
        let t = table(&h.join("basin-l0123003/hourly.csv.gz"));
        push(
            "basin",
            wide(&t, "time", &["q_mm", "rain_mm", "pet_mm"]),
            None,
            0.98,
            &[1, 3, 6, 12],
            &[0.81, 0.64, 0.46, 0.28],
            false,
        );
    }
    if is_wanted("danube") {
        let t = table(&h.join("danube/daily.csv.gz"));
        let mut names: Vec<String> = (1..=31).map(|i| format!("g{i:02}")).collect();
        names.swap(0, 1);
        let names: Vec<&str> = names.iter().map(String::as_str).filter(|n| *n != "g01").collect();
        push(
            "danube",
            wide(&t, "date", &names),
            None,
            0.98,
            &[24, 48, 72],
            &[0.94, 0.66, 0.36],
            false,
        );
    }
    for target in CALDER {
        if is_wanted(target.0) {
            let t = table(&h.join("calder/fifteen_minute.csv.gz"));
            let mut columns: Vec<&str> = vec![target.1];
            columns.extend(
                CALDER
                    .iter()
                    .map(|gauge| gauge.1)
                    .filter(|gauge| *gauge != target.1),
            );
            columns.extend([
                "rain_gorpley_mm",
                "rain_bacup_mm",
                "rain_gorple_mm",
                "rain_walshaw_dean_mm",
            ]);
            push(
                target.0,
                wide(&t, "time_utc", &columns),
                None,
                0.98,
                &[1, 3, 6, 12, 24],
                &[0.0; 5],
                false,
            );
        }
    }
    if is_wanted("air") {
        let t = table(&data.join("air-quality/beijing_hourly.csv.gz"));
        let mut t: Vec<_> = t.into_iter().filter(|r| r["station"] == "Aotizhongxin").collect();
        for r in &mut t {
            const NAMES: [&str; 16] = [
                "N", "NNE", "NE", "ENE", "E", "ESE", "SE", "SSE", "S", "SSW", "SW", "WSW", "W", "WNW", "NW",
                "NNW",
            ];
            let angle = NAMES
                .iter()
                .position(|n| *n == r["wd"])
                .map(|i| i as f64 * std::f64::consts::TAU / 16.0);
            r.insert(
                "east".into(),
                angle.map_or(String::new(), |a| a.sin().to_string()),
            );
            r.insert(
                "north".into(),
                angle.map_or(String::new(), |a| a.cos().to_string()),
            );
        }
        push(
            "air",
            wide(
                &t,
                "time",
                &[
                    "pm25", "pm10", "so2", "no2", "co", "o3", "temp", "pres", "dewp", "rain", "wspm", "east",
                    "north",
                ],
            ),
            Some(150.0),
            0.0,
            &[1, 3, 6, 12, 24],
            &[0.05, 0.12, 0.15, 0.13, 0.10],
            true,
        );
    }
    all
}

impl Case {
    /// The grid, and the threshold in the target's unit.
    pub(crate) fn aligned(&self) -> (Aligned, f64) {
        let (aligned, _) = Aligned::regrid(&self.times, self.series.clone()).expect("the series have a step");
        let threshold = self.threshold.unwrap_or_else(|| threshold_of(&aligned, self.top));
        (aligned, threshold)
    }

    /// The horizons in steps of a grid.
    pub(crate) fn steps(&self, aligned: &Aligned) -> Vec<usize> {
        self.horizons_h
            .iter()
            .map(|h| (h * 3_600_000 / aligned.step_ms) as usize)
            .collect()
    }
}

/// Scores of the ridge over all columns by itself, as mean and as median, on the rows that a backtest scored; one a horizon.
pub(crate) fn plain_ridge(found: &Backtest, aligned: &Aligned) -> Vec<Scores> {
    let sight = found.model.sight(aligned);
    let of = |(at, outcome): (usize, &Outcome)| {
        let rows: Vec<Scored> = outcome
            .rows
            .iter()
            .map(|row| {
                let step = ((row.origin_ms - aligned.start_ms) / aligned.step_ms) as usize;
                let change = found.model.plain_ridge(&sight, at, step).unwrap_or(0.0);
                Scored {
                    mean: row.persistence + change,
                    median: row.persistence + change,
                    ..row.clone()
                }
            })
            .collect();
        score(&rows, found.model.threshold)
    };
    found.horizons.iter().enumerate().map(of).collect()
}

/// What a share of the target's values lies below.
pub(crate) fn threshold_of(aligned: &Aligned, top: f64) -> f64 {
    let mut sorted: Vec<f64> = aligned.series[0]
        .values
        .iter()
        .copied()
        .filter(|v| !v.is_nan())
        .collect();
    sorted.sort_unstable_by(f64::total_cmp);
    onemap_forecast::score::quantile_of(&sorted, top)
}
