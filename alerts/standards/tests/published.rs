//! The index against worked cases and against what the national network published.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

use onemap_model::Timestamp;
use onemap_standards::air::{Averaging, Pollutant, standards};
use serde_json::Value;

/// A file of the test input, which is not part of the repository.
fn shared(path: &str) -> Option<Vec<u8>> {
    let root = std::env::var_os("ONEMAP_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let file = root.join(path);
    match std::fs::read(&file) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            eprintln!("SKIPPED: {}: {error}", file.display());
            None
        }
    }
}

fn table(name: &str) -> (Pollutant, Averaging) {
    let (pollutant, averaging) = name.rsplit_once('_').unwrap();
    let pollutant = match pollutant {
        "PM2_5" => Pollutant::Pm25,
        "PM10" => Pollutant::Pm10,
        "SO2" => Pollutant::So2,
        "NO2" => Pollutant::No2,
        "CO" => Pollutant::Co,
        "O3" => Pollutant::O3,
        other => panic!("{other}"),
    };
    let averaging = match averaging {
        "1h" => Averaging::Hour,
        "8h" => Averaging::EightHours,
        "24h" => Averaging::Day,
        other => panic!("{other}"),
    };
    (pollutant, averaging)
}

#[test]
fn worked_cases_come_out_as_worked() {
    let Some(bytes) = shared("standards/vectors/aqi.json") else {
        return;
    };
    let all: Value = serde_json::from_slice(&bytes).unwrap();
    let standard = |case: &Value| {
        let id = format!("HJ 633-{}", case["standard"].as_str().unwrap());
        standards().named(&id).unwrap()
    };
    let cases = all["iaqi_cases"].as_array().unwrap();
    assert!(cases.len() >= 80);
    for case in cases {
        let (pollutant, averaging) = table(case["pollutant"].as_str().unwrap());
        let concentration = case["concentration"].as_f64().unwrap();
        let found = standards().iaqi(standard(case), pollutant, averaging, concentration);
        match case["iaqi"].as_u64() {
            Some(want) => assert_eq!(found.map(u64::from), Some(want), "{case}"),
            // Above the table: the edition's own rule.
            None => assert!(matches!(found, Some(200 | 300 | 500)), "{case}: {found:?}"),
        }
    }
    for case in all["aqi_cases"].as_array().unwrap() {
        let said: BTreeMap<Pollutant, f64> = case["concentrations"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (table(name).0, value.as_f64().unwrap()))
            .collect();
        let found = standards().daily(standard(case), &said).unwrap();
        let want = (case["aqi"].as_u64().unwrap(), case["level"].as_u64().unwrap());
        assert_eq!((u64::from(found.aqi), u64::from(found.level)), want, "{case}");
        let primary = case["primary"].as_array().unwrap();
        let primary: Vec<Pollutant> = primary
            .iter()
            .map(|name| table(name.as_str().unwrap()).0)
            .collect();
        assert_eq!(found.primary, primary, "{case}");
        for (name, want) in case["iaqi"].as_object().unwrap() {
            assert_eq!(
                u64::from(found.iaqi[&table(name).0]),
                want.as_u64().unwrap(),
                "{case}"
            );
        }
    }
}

/// 94,999 station-hours of April 2020. One index and two primary pollutants were published otherwise than the
/// standard has it.
#[test]
fn a_week_of_the_national_network_comes_out_as_published() {
    let Some(bytes) = shared("data/air-quality/cnemc_hourly_202004.csv.gz") else {
        return;
    };
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes.as_slice())
        .read_to_string(&mut text)
        .unwrap();
    let mut lines = text.lines();
    let columns: Vec<&str> = lines.next().unwrap().split(',').collect();
    let at = |name: &str| columns.iter().position(|column| *column == name).unwrap();
    let of = [
        (Pollutant::Pm25, at("pm25")),
        (Pollutant::Pm10, at("pm10")),
        (Pollutant::So2, at("so2")),
        (Pollutant::No2, at("no2")),
        (Pollutant::Co, at("co")),
        (Pollutant::O3, at("o3_1h")),
    ];
    let (mut n, mut other_index, mut other_level, mut other_primary) =
        (0, Vec::new(), Vec::new(), Vec::new());
    for line in lines {
        let row: Vec<&str> = line.split(',').collect();
        let Ok(aqi) = row[at("aqi")].parse::<f64>() else {
            continue;
        };
        let said: BTreeMap<Pollutant, f64> = of
            .iter()
            .filter_map(|(pollutant, at)| Some((*pollutant, row[*at].parse().ok()?)))
            .collect();
        if said.is_empty() {
            continue;
        }
        n += 1;
        let end = Timestamp::parse(&format!("{}:00+08:00", row[at("time")])).unwrap();
        let standard = standards().at(end).unwrap();
        assert_eq!(standard.edition.id, "HJ 633-2012");
        let found = standards().hourly(standard, &said).unwrap();
        if f64::from(found.aqi) != aqi {
            other_index.push(format!("{line}: {}", found.aqi));
        }
        if standards().level(found.aqi).zh != row[at("level")] {
            other_level.push(line);
        }
        let mut primary: Vec<&str> = found
            .primary
            .iter()
            .map(|pollutant| match pollutant {
                Pollutant::O3 => "臭氧1小时",
                other => standards().name(*other).zh.as_str(),
            })
            .collect();
        let mut published: Vec<&str> = row[at("primary")].split(';').filter(|p| !p.is_empty()).collect();
        primary.sort_unstable();
        published.sort_unstable();
        if primary != published {
            other_primary.push(format!("{line}: {primary:?}"));
        }
    }
    assert_eq!(n, 94_999);
    assert!(
        other_index.len() <= 1,
        "{} of {n}: {:#?}",
        other_index.len(),
        other_index.first()
    );
    assert!(
        other_level.is_empty(),
        "{} of {n}: {:?}",
        other_level.len(),
        other_level.first()
    );
    assert!(
        other_primary.len() <= 2,
        "{} of {n}: {:#?}",
        other_primary.len(),
        other_primary.first()
    );
}
