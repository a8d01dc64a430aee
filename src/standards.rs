//! `onemap standards`: what values mean by law, without a server.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use onemap_model::Timestamp;
use onemap_standards::air::{AirIndex, Pollutant, standards};
use onemap_store::register::import::csv::{self, Line};
use serde_json::json;

#[derive(Subcommand)]
pub(crate) enum StandardsCommand {
    /// Air quality index (HJ 633) of each row of a CSV file (.gz too): its columns come back, and behind them
    /// the index, level, primary pollutants and edition. A row is judged by the edition of its own time.
    Aqi {
        /// A file with `time` or `date` and some of pm2_5 (pm25), pm10, so2, no2, co (mg/m3, the others ug/m3),
        /// o3 or o3_1h, and for days o3_8h. Times without an offset are Beijing time.
        file: PathBuf,
        /// Rows are days: means of a day, and of ozone the largest mean of eight hours.
        #[arg(long)]
        daily: bool,
    },
}

pub(crate) fn run(command: &StandardsCommand, json: bool) -> Result<ExitCode> {
    match command {
        StandardsCommand::Aqi { file, daily } => aqi(file, *daily, json),
    }
}

/// Where in a row what stands.
struct Columns {
    time: usize,
    of: Vec<(Pollutant, usize)>,
    /// What was published, to be compared.
    published: Option<usize>,
    /// Fields of every row.
    n: usize,
}

impl Columns {
    fn of(header: &[String], daily: bool) -> Result<Self> {
        let names: Vec<String> = header.iter().map(|name| name.trim().to_lowercase()).collect();
        let at = |wanted: &[&str]| {
            wanted
                .iter()
                .find_map(|wanted| names.iter().position(|name| name == wanted))
        };
        let ozone: &[&str] = if daily { &["o3_8h", "o3"] } else { &["o3_1h", "o3"] };
        let of: Vec<(Pollutant, usize)> = [
            (Pollutant::Pm25, &["pm2_5", "pm25", "pm2.5"][..]),
            (Pollutant::Pm10, &["pm10"]),
            (Pollutant::So2, &["so2"]),
            (Pollutant::No2, &["no2"]),
            (Pollutant::Co, &["co"]),
            (Pollutant::O3, ozone),
        ]
        .into_iter()
        .filter_map(|(pollutant, names)| Some((pollutant, at(names)?)))
        .collect();
        let Some(time) = at(&["time", "measured_at", "date"]) else {
            bail!("the header has no column `time` or `date`");
        };
        if of.is_empty() {
            bail!("the header has no pollutant: pm2_5, pm10, so2, no2, co, o3_1h or o3_8h");
        }
        Ok(Self {
            time,
            of,
            published: at(&["aqi"]),
            n: header.len(),
        })
    }
}

fn aqi(file: &Path, daily: bool, json: bool) -> Result<ExitCode> {
    let text = read(file)?;
    let mut lines = csv::lines(&text);
    let header = match lines.next() {
        Some(Ok(line)) => line.fields,
        Some(Err((number, why))) => bail!("{}:{number}: {why}", file.display()),
        None => bail!("{}: it is empty", file.display()),
    };
    let columns = Columns::of(&header, daily).with_context(|| file.display().to_string())?;
    if !json {
        let own = [
            "calculated_aqi",
            "calculated_level",
            "calculated_primary",
            "standard",
        ];
        let names = header.iter().map(String::as_str).chain(own);
        crate::say!("{}", names.map(quoted).collect::<Vec<_>>().join(","));
    }
    let (mut n_found, mut n_without, mut n_bad, mut n_equal, mut n_other) = (0u64, 0u64, 0u64, 0u64, 0u64);
    for line in lines {
        let row = match line {
            Ok(line) => row(&line, &columns, daily).map(|(end, index)| (line, end, index)),
            Err((number, why)) => Err(format!("{number}: {why}")),
        };
        let (line, end, index) = match row {
            Ok(row) => row,
            Err(why) => {
                n_bad += 1;
                eprintln!("{}:{why}", file.display());
                continue;
            }
        };
        match &index {
            Some(index) => {
                n_found += 1;
                let published = columns
                    .published
                    .and_then(|at| line.fields.get(at)?.parse::<f64>().ok());
                if let Some(published) = published {
                    let is_equal = (published - f64::from(index.aqi)).abs() < 0.5;
                    n_equal += u64::from(is_equal);
                    n_other += u64::from(!is_equal);
                }
            }
            None => n_without += 1,
        }
        if json {
            crate::say!("{}", json!({"line": line.number, "end": end, "index": index}));
        } else {
            crate::say!("{}", shown(&line, index.as_ref()));
        }
    }
    eprintln!(
        "{n_found} rows with an index, {n_without} without a concentration, {n_bad} that cannot be read; of those \
         with a published index {n_equal} equal, {n_other} not"
    );
    Ok(if n_bad > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The end of a row's period and its index, or the line and what is wrong with it.
fn row(line: &Line, columns: &Columns, daily: bool) -> Result<(Timestamp, Option<AirIndex>), String> {
    if line.fields.len() != columns.n {
        let (found, want) = (line.fields.len(), columns.n);
        return Err(format!("{}: {found} fields, the header has {want}", line.number));
    }
    let field = |at: usize| line.fields.get(at).map_or("", |field| field.trim());
    let text = field(columns.time);
    let Some(end) = end_of(text, daily) else {
        return Err(format!(
            "{}: `{text}` is no time, like 2026-11-26T08:00",
            line.number
        ));
    };
    let mut said = BTreeMap::new();
    for (pollutant, at) in &columns.of {
        let text = field(*at);
        if text.is_empty() {
            continue;
        }
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        let Some(number) = number else {
            let name = pollutant.quantity();
            return Err(format!("{}: {name} `{text}` is no number", line.number));
        };
        // Networks write a negative number for what they have not.
        if number >= 0.0 {
            said.insert(*pollutant, number);
        }
    }
    let Some(standard) = standards().at(end) else {
        return Err(format!("{}: no edition of HJ 633 holds on {end}", line.number));
    };
    let index = match daily {
        true => standards().daily(standard, &said),
        false => standards().hourly(standard, &said),
    };
    Ok((end, index))
}

/// The end of the hour or day that a text names; without an offset in Beijing time.
fn end_of(text: &str, daily: bool) -> Option<Timestamp> {
    const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);
    let text = text.replace(' ', "T");
    let whole = match text.len() {
        10 => format!("{text}T00:00:00+08:00"),
        16 => format!("{text}:00+08:00"),
        19 => format!("{text}+08:00"),
        _ => text.clone(),
    };
    let time = Timestamp::parse(&whole).ok()?;
    // A day is named by its date.
    Some(if daily && text.len() == 10 {
        time + DAY
    } else {
        time
    })
}

fn shown(line: &Line, index: Option<&AirIndex>) -> String {
    let own = index.map_or_else(Default::default, |index| {
        let names: Vec<&str> = index
            .primary
            .iter()
            .map(|pollutant| standards().name(*pollutant).zh.as_str())
            .collect();
        let level = standards().level(index.aqi).zh.clone();
        [
            index.aqi.to_string(),
            level,
            names.join(";"),
            index.standard.clone(),
        ]
    });
    let fields = line.fields.iter().chain(&own);
    fields.map(|field| quoted(field)).collect::<Vec<_>>().join(",")
}

fn quoted(field: &str) -> String {
    match field.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field.to_owned(),
    }
}

fn read(file: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    match file.as_os_str() == "-" {
        true => std::io::stdin().read_to_end(&mut bytes).map(drop),
        false => std::fs::File::open(file).and_then(|mut file| file.read_to_end(&mut bytes).map(drop)),
    }
    .with_context(|| format!("{} cannot be read", file.display()))?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return String::from_utf8(bytes).with_context(|| format!("{}: it is not UTF-8", file.display()));
    }
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes.as_slice())
        .read_to_string(&mut text)
        .with_context(|| format!("{} cannot be unpacked", file.display()))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn first(header: &str, line: &str, daily: bool) -> Result<String, String> {
        let text = format!("{header}\n{line}\n");
        let mut lines = csv::lines(&text);
        let header = lines.next().unwrap().unwrap().fields;
        let columns = Columns::of(&header, daily).map_err(|e| e.to_string())?;
        let line = lines.next().unwrap().unwrap();
        let (_, index) = row(&line, &columns, daily)?;
        Ok(shown(&line, index.as_ref()))
    }

    #[test]
    fn a_row_comes_back_with_what_it_means_by_the_edition_of_its_time() {
        for (header, line, daily, want) in [
            (
                "time,pm25,pm10",
                "2026-02-28T23:00,61,40",
                false,
                Ok(",83,良,细颗粒物(PM2.5),HJ 633-2012"),
            ),
            (
                "time,pm25,pm10",
                "2026-03-01T00:00,61,40",
                false,
                Ok(",83,良,细颗粒物(PM2.5),HJ 633-2012"),
            ),
            (
                "time,pm25,pm10",
                "2026-03-01T01:00,61,40",
                false,
                Ok(",101,轻度污染,细颗粒物(PM2.5),HJ 633-2026"),
            ),
            (
                "time,pm25",
                "2026-02-28T17:00:00Z,61",
                false,
                Ok(",101,轻度污染,细颗粒物(PM2.5),HJ 633-2026"),
            ),
            (
                "date,pm2_5",
                "2026-02-28,61",
                true,
                Ok(",83,良,细颗粒物(PM2.5),HJ 633-2012"),
            ),
            (
                "date,pm2_5",
                "2026-03-01,61",
                true,
                Ok(",101,轻度污染,细颗粒物(PM2.5),HJ 633-2026"),
            ),
            ("time,pm25", "2026-03-01T01:00,", false, Ok(",,,,")),
            ("time,pm25", "2026-03-01T01:00,-99", false, Ok(",,,,")),
            ("time,pm25", "soon,1", false, Err("2: `soon` is no time")),
            (
                "time,pm25",
                "2026-03-01T01:00,x",
                false,
                Err("2: pm2_5 `x` is no number"),
            ),
            (
                "time,pm25,pm10",
                "2026-03-01T01:00,61",
                false,
                Err("2: 2 fields, the header has 3"),
            ),
            (
                "time,wind",
                "2026-03-01T01:00,1",
                false,
                Err("the header has no pollutant"),
            ),
            (
                "when,pm25",
                "2026-03-01T01:00,1",
                false,
                Err("the header has no column"),
            ),
        ] {
            match (first(header, line, daily), want) {
                (Ok(found), Ok(want)) => assert_eq!(found, format!("{line}{want}")),
                (Err(found), Err(want)) => assert!(found.starts_with(want), "{found}"),
                (found, want) => panic!("{line}: {found:?}, not {want:?}"),
            }
        }
    }
}
