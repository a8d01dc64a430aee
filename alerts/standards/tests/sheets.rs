//! The hand-worked sheets of docs/sheets, worked again: figures go in from their tables and must come out as in their
//! tables.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::path::Path;

use onemap_model::Timestamp;
use onemap_standards::air::{self, Averaging, Class, Judged, Pollutant, day_of, limits};
use onemap_standards::water::Body;
use onemap_standards::{noise, rain, water};

/// The tables of a sheet: rows by the names of their columns.
type Table = Vec<BTreeMap<String, String>>;

fn sheet(name: &str) -> Vec<Table> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/sheets")
        .join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let mut tables: Vec<Table> = Vec::new();
    let mut header: Option<Vec<String>> = None;
    for line in text.lines() {
        let Some(inner) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) else {
            if !line.starts_with("|--") {
                header = None;
            }
            continue;
        };
        let cells: Vec<String> = inner.split(" | ").map(|cell| cell.trim().to_owned()).collect();
        match &header {
            None => {
                tables.push(Table::new());
                header = Some(cells);
            }
            Some(names) => {
                assert_eq!(names.len(), cells.len(), "{name}: {line}");
                tables
                    .last_mut()
                    .unwrap()
                    .push(names.iter().cloned().zip(cells).collect());
            }
        }
    }
    tables
}

fn number(text: &str) -> Option<f64> {
    (text != "-").then(|| text.parse().unwrap())
}

fn time(text: &str) -> Timestamp {
    Timestamp::parse(&format!("{text}:00+08:00")).unwrap()
}

fn near(found: f64, written: &str) {
    let written: f64 = written.parse().unwrap();
    assert!((found - written).abs() < 1e-4, "{found}, not {written}");
}

const POLLUTANTS: [(&str, Pollutant); 6] = [
    ("pm2_5", Pollutant::Pm25),
    ("pm10", Pollutant::Pm10),
    ("so2", Pollutant::So2),
    ("no2", Pollutant::No2),
    ("co", Pollutant::Co),
    ("o3", Pollutant::O3),
];

fn pollutant(name: &str) -> Pollutant {
    POLLUTANTS.iter().find(|(known, _)| *known == name).unwrap().1
}

/// An index against a row that has sub-indices, index, level and primary pollutants.
fn is_as_written(index: &air::AirIndex, row: &BTreeMap<String, String>) {
    for (name, pollutant) in POLLUTANTS.iter().filter(|(name, _)| row.contains_key(*name)) {
        assert_eq!(index.iaqi[pollutant].to_string(), row[*name], "{name} of {row:?}");
    }
    assert_eq!(index.aqi.to_string(), row["aqi"]);
    assert_eq!(index.standard, row["standard"]);
    assert_eq!(air::standards().level(index.aqi).zh, row["level"]);
    let primary: Vec<Pollutant> = row["primary"].split(' ').map(pollutant).collect();
    assert_eq!(index.primary, primary);
}

/// A value against a row that has standard, limit and factor.
fn is_judged_as_written(judged: &Judged, row: &BTreeMap<String, String>) {
    match (judged, row["factor"].as_str()) {
        (Judged::NoLimit, "-") => assert_eq!(row["limit"], "-"),
        (Judged::Met { limit }, "met") => near(*limit, &row["limit"]),
        (Judged::Exceeded { limit, factor }, written) => {
            near(*limit, &row["limit"]);
            near(*factor, written);
        }
        other => panic!("{other:?} of {row:?}"),
    }
}

#[test]
fn a_day_of_air_with_the_eight_hours_of_ozone() {
    let [hours, means, result, judged] = &sheet("daily-aqi.md")[..] else {
        panic!()
    };
    assert_eq!(hours.len(), 24);
    let end = time(&hours[23]["end"]);
    let law = limits().at(end).unwrap();
    let mut said = BTreeMap::new();
    for (name, pollutant) in POLLUTANTS {
        let mut column = [None; 24];
        for (hour, row) in column.iter_mut().zip(hours) {
            *hour = number(&row[name]);
        }
        let by_eight_hours = pollutant == Pollutant::O3;
        let day = day_of(&column, by_eight_hours, None, &law.validity).unwrap();
        assert!(day.is_valid, "{name}");
        if by_eight_hours {
            let largest = means
                .iter()
                .map(|row| row["mean"].parse::<f64>().unwrap())
                .fold(0.0, f64::max);
            near(day.value, &largest.to_string());
            assert_eq!(day.n, means.len());
        }
        said.insert(pollutant, day.value);
    }
    for row in result {
        let standard = air::standards().named(&row["standard"]).unwrap();
        is_as_written(&air::standards().daily(standard, &said).unwrap(), row);
    }
    assert_eq!(
        air::standards().at(end).unwrap().edition.id,
        result[0]["standard"]
    );
    let other_year = time("2026-07-16T00:00");
    for row in judged {
        let law = [law, limits().at(other_year).unwrap()]
            .into_iter()
            .find(|law| law.edition.id == row["standard"])
            .unwrap();
        let (pollutant, averaging) = (pollutant(&row["pollutant"]), averaging(&row["averaging"]));
        let value = match averaging {
            Averaging::Hour => number(&row["value"]).unwrap(),
            _ => said[&pollutant],
        };
        is_judged_as_written(
            &law.judge(pollutant, averaging, Class::Second, value).unwrap(),
            row,
        );
    }
}

fn averaging(name: &str) -> Averaging {
    serde_json::from_value(name.into()).unwrap()
}

#[test]
fn a_reading_of_february_that_arrives_in_march() {
    let [hours, result, judged] = &sheet("late-february.md")[..] else {
        panic!()
    };
    assert_eq!((hours.len(), result.len()), (3, 3));
    for (hour, row) in hours.iter().zip(result) {
        assert_eq!(hour["end"], row["end"]);
        assert!(time(&hour["arrives"]) > time(&hour["end"]));
        let said = [Pollutant::Pm25, Pollutant::Pm10]
            .map(|pollutant| (pollutant, number(&hour[pollutant.quantity()]).unwrap()))
            .into();
        let standard = air::standards().at(time(&hour["end"])).unwrap();
        is_as_written(&air::standards().hourly(standard, &said).unwrap(), row);
    }
    for row in judged {
        let law = limits().at(time(&format!("{}T12:00", row["day"]))).unwrap();
        assert_eq!(law.edition.id, row["standard"]);
        let value = number(&row["value"]).unwrap();
        let found = law.judge(Pollutant::Pm25, Averaging::Day, Class::Second, value);
        is_judged_as_written(&found.unwrap(), row);
    }
}

#[test]
fn a_section_of_a_river() {
    let [items, result, above] = &sheet("water-class.md")[..] else {
        panic!()
    };
    let said: BTreeMap<String, f64> = items
        .iter()
        .map(|row| (row["item"].clone(), number(&row["value"]).unwrap()))
        .collect();
    let standard = water::standards().at(time("2026-05-12T10:00")).unwrap();
    let found = standard.class(Body::River, Some(2), &said).unwrap();
    for row in items {
        match row["class"].as_str() {
            "-" => assert!(found.without_limit.contains(&row["item"])),
            class => assert_eq!(found.items[&row["item"]].to_string(), class, "{row:?}"),
        }
    }
    let words = water::standards().words(found.class).unwrap();
    let row = &result[0];
    assert_eq!(
        [
            &found.class.to_string(),
            &words.zh,
            &words.quality_zh,
            &found.worst.join(" ")
        ],
        [&row["class"], &row["name"], &row["quality"], &row["worst"]]
    );
    assert_eq!(found.exceeding.len(), above.len());
    for row in above {
        near(found.exceeding[&row["item"]], &row["factor"]);
    }
}

#[test]
fn a_day_and_a_night_of_noise() {
    let [hours, result] = &sheet("day-night-noise.md")[..] else {
        panic!()
    };
    let standard = noise::standards().at(time(&hours[0]["end"])).unwrap();
    for row in hours {
        assert_eq!(
            standard.is_night(time(&row["end"])),
            row["of"] == "night",
            "{row:?}"
        );
    }
    let levels = hours
        .iter()
        .map(|row| (time(&row["end"]), number(&row["level"]).unwrap()));
    let found = standard.day_night(levels);
    assert_eq!((found.n_day, found.n_night), (16, 8));
    let zone = standard.zone("2").unwrap();
    for row in result {
        let (level, is_night) = match row["level"].as_str() {
            "ld" => (found.ld, Some(false)),
            "ln" => (found.ln, Some(true)),
            _ => (found.ldn, None),
        };
        let level = level.unwrap();
        assert!(
            (level - number(&row["value"]).unwrap()).abs() < 0.005,
            "{row:?}: {level}"
        );
        match is_night.and_then(|is_night| zone.judge(is_night, level)) {
            None => assert_eq!(row["limit"], "-"),
            Some(judged) => {
                near(judged.limit, &row["limit"]);
                match judged.over_db {
                    None => assert_eq!(row["over"], "met"),
                    Some(over) => near(over, &row["over"]),
                }
            }
        }
    }
}

#[test]
fn a_day_of_rain() {
    let [hours, result] = &sheet("rain-day.md")[..] else {
        panic!()
    };
    for row in hours {
        assert_eq!(
            rain::rain_day(time(&row["end"])),
            time(&row["day that ends"]),
            "{row:?}"
        );
    }
    for row in result {
        let end = time(&row["day that ends"]);
        let all = hours
            .iter()
            .map(|row| (time(&row["end"]), number(&row["rain"]).unwrap()));
        let day = rain::standards().at(end).unwrap().day(end, all).unwrap();
        near(day.mm, &row["total"]);
        assert_eq!(day.n_hours.to_string(), row["hours"]);
        assert_eq!(day.is_whole, day.n_hours == 24);
        assert_eq!(day.grade.unwrap().zh, row["grade"]);
    }
}
