//! What readings mean by law, through the whole server: the national network's own week, late readings, replaced ones.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use onemap_model::Timestamp;
use serde_json::{Value, json};

use crate::server::{CONFIG, Server, binary, wait_for};

const LEVELS: [&str; 6] = ["优", "良", "轻度污染", "中度污染", "重度污染", "严重污染"];

const POLLUTANTS: [(&str, &str); 6] = [
    ("pm25", "pm2_5"),
    ("pm10", "pm10"),
    ("so2", "so2"),
    ("no2", "no2"),
    ("co", "co"),
    ("o3_1h", "o3"),
];

/// What was published of a station's hour.
struct Published {
    aqi: u64,
    level: String,
    primary: Vec<String>,
}

/// A station's published hours, by their end.
type Hours = BTreeMap<String, Published>;

/// The week of the national network as readings, and what was published of it by device; `None`, said aloud, when it is
/// not there.
fn week() -> Option<(String, BTreeMap<String, Hours>)> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/air-quality/cnemc_hourly_202004.csv.gz");
    let packed = match std::fs::read(&path) {
        Ok(packed) => packed,
        Err(error) => {
            eprintln!("SKIPPED: {}: {error}", path.display());
            return None;
        }
    };
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.as_slice())
        .read_to_string(&mut text)
        .unwrap();
    let mut lines = text.lines();
    let columns: Vec<&str> = lines.next().unwrap().split(',').collect();
    let at = |name: &str| columns.iter().position(|column| *column == name).unwrap();
    let mut readings = String::from("device,quantity,time,value\n");
    let mut names: BTreeMap<(String, u32), String> = BTreeMap::new();
    let mut seen: BTreeMap<(String, String), u32> = BTreeMap::new();
    let mut published: BTreeMap<String, Hours> = BTreeMap::new();
    for line in lines {
        let row: Vec<&str> = line.split(',').collect();
        let Ok(aqi) = row[at("aqi")].parse::<f64>() else {
            continue;
        };
        let end = format!("{}:00+08:00", row[at("time")]);
        // Four names stand for two stations each: the second hour of one time is the other's.
        let name = format!("{}/{}", row[at("city")], row[at("station")]);
        let n_before = seen.entry((name.clone(), end.clone())).or_insert(0);
        let n_known = names.len();
        let device = names
            .entry((name, *n_before))
            .or_insert_with(|| format!("cn-{n_known:04}"));
        *n_before += 1;
        let mut n = 0;
        for (column, quantity) in POLLUTANTS {
            if let Ok(value) = row[at(column)].parse::<f64>() {
                writeln!(readings, "{device},{quantity},{end},{value}").unwrap();
                n += 1;
            }
        }
        if n == 0 {
            continue;
        }
        let mut primary: Vec<String> = row[at("primary")]
            .split(';')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        primary.sort_unstable();
        let hour = Published {
            aqi: aqi as u64,
            level: row[at("level")].to_owned(),
            primary,
        };
        published.entry(device.clone()).or_default().insert(end, hour);
    }
    Some((readings, published))
}

fn onemap(dir: &Path, arguments: &[&str]) {
    let output = Command::new(binary("onemap"))
        .arg("--data-dir")
        .arg(dir)
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
}

/// The national network calls pollutants so.
fn name_of(pollutant: &str) -> &'static str {
    match pollutant {
        "pm2_5" => "细颗粒物(PM2.5)",
        "pm10" => "颗粒物(PM10)",
        "so2" => "二氧化硫",
        "no2" => "二氧化氮",
        "co" => "一氧化碳",
        "o3" => "臭氧1小时",
        other => panic!("{other}"),
    }
}

/// 94,999 station-hours of April 2020; one index and two primary pollutants were published otherwise than the standard
/// has it.
#[test]
fn a_week_of_the_national_network_that_is_imported_comes_out_as_published() {
    let Some((readings, published)) = week() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let mut devices = String::from("id,name,kind,cadence_s\n");
    for device in published.keys() {
        writeln!(devices, "{device},{device},air_station,3600").unwrap();
    }
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let tokens = dir.join("tokens.csv");
    let tokens = tokens.to_str().unwrap();
    onemap(
        dir,
        &[
            "device",
            "import",
            &file("devices.csv", &devices),
            "--tokens",
            tokens,
        ],
    );
    onemap(dir, &["import", "readings", &file("readings.csv", &readings)]);
    std::fs::write(dir.join("onemap.toml"), CONFIG).unwrap();
    let server = Server::start_in(dir);
    server.caught_up();
    let (mut n, mut other_aqi, mut other_level, mut other_primary) = (0, 0, 0, 0);
    for (device, hours) in &published {
        // One station has stood still since 2017.
        let (first, last) = (hours.keys().next().unwrap(), hours.keys().next_back().unwrap());
        let from = Timestamp::parse(first).unwrap().ms() - 3_600_000;
        let from = Timestamp::from_ms(from).to_string().replace('+', "%2B");
        let to = last.replace('+', "%2B");
        let answer = server.get(&format!(
            "/api/v1/standards/air?device={device}&from={from}&to={to}"
        ));
        let items: BTreeMap<&str, &Value> = answer["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| (item["end"].as_str().unwrap(), item))
            .collect();
        for (end, published) in hours {
            let item = items[end.as_str()];
            n += 1;
            assert_eq!(item["standard"], "HJ 633-2012");
            other_aqi += u32::from(item["aqi"] != published.aqi);
            other_level += u32::from(item["level_zh"] != published.level.as_str());
            let primary = item["primary"].as_array().unwrap();
            let mut primary: Vec<&str> = primary
                .iter()
                .map(|name| name_of(name.as_str().unwrap()))
                .collect();
            primary.sort_unstable();
            other_primary += u32::from(primary != published.primary);
        }
    }
    assert_eq!(n, 94_999);
    as_series(&server, &published);
    assert!(
        other_aqi <= 1 && other_level == 0 && other_primary <= 2,
        "of {n}: {other_aqi} indices, {other_level} levels, {other_primary} primary pollutants"
    );
}

/// The same index stands in the stations' series, which the pipeline made of what was imported.
fn as_series(server: &Server, published: &BTreeMap<String, Hours>) {
    wait_for("every hour worked out", Duration::from_secs(120), || {
        (server.metric("onemap_open_hours ")? == 0).then_some(())
    });
    let (mut n, mut n_days, mut n_days_of_few, mut other) = (0, 0, 0, [0; 3]);
    for (device, hours) in published {
        let latest = server.get(&format!("/api/v1/latest?device={device}&limit=100"));
        let values = |quantity: &str, channel: u64| -> BTreeMap<String, Value> {
            let latest = latest["items"].as_array().unwrap();
            let is_it = |item: &&Value| item["quantity"] == quantity && item["ch"] == channel;
            let Some(series) = latest.iter().find(is_it).map(|item| item["series"].clone()) else {
                return BTreeMap::new();
            };
            let path = format!("/api/v1/series/{series}/values?from=2015-01-01T00:00:00Z&limit=10000");
            let items = server.get(&path)["items"].clone();
            let item = |item: &Value| (item["t"].as_str().unwrap().to_owned(), item.clone());
            items.as_array().unwrap().iter().map(item).collect()
        };
        let [aqi, level, primary] = ["aqi", "aqi_level", "aqi_primary"].map(|quantity| values(quantity, 20));
        assert_eq!(aqi.len(), hours.len(), "{device}");
        n += aqi.len();
        let days = values("aqi", 30).len();
        n_days += days;
        if published.keys().take(40).any(|few| few == device) {
            n_days_of_few += days;
        }
        for (end, published) in hours {
            let at = &aqi[end];
            assert!(at["quality"].to_string().contains("derived"), "{at}");
            other[0] += u32::from(at["v"].as_f64() != Some(published.aqi as f64));
            let level = level[end]["v"].as_f64().unwrap();
            other[1] += u32::from(LEVELS[level as usize - 1] != published.level);
            let mut primary: Vec<&str> = primary[end]["v"]
                .as_str()
                .unwrap()
                .split(',')
                .filter(|name| *name != "none")
                .map(name_of)
                .collect();
            primary.sort_unstable();
            other[2] += u32::from(primary != published.primary);
        }
    }
    assert_eq!(n, 94_999);
    // As many days as are given when they are asked for.
    let few: Vec<&String> = published.keys().take(40).collect();
    let asked = few.iter().map(|device| {
        let path = format!(
            "/api/v1/standards/air?device={device}&by=day&from=2020-03-30T00:00:00Z&to=2020-05-01T00:00:00Z"
        );
        let items = server.get(&path)["items"].clone();
        let has_index = |item: &&Value| !item["aqi"].is_null();
        items.as_array().unwrap().iter().filter(has_index).count()
    });
    assert_eq!(asked.sum::<usize>(), n_days_of_few);
    assert!(n_days > 900 && n_days_of_few > 10, "{n_days} {n_days_of_few}");
    assert!(other[0] <= 1 && other[1] == 0 && other[2] <= 2, "{other:?}");
}

fn post(server: &Server, said: &[(&str, &str, f64)]) {
    let readings: Vec<Value> = said
        .iter()
        .map(|(quantity, time, value)| {
            let at = Timestamp::parse(time).unwrap().ms();
            json!({"q": quantity, "t": at, "v": value})
        })
        .collect();
    let body = json!({"device": "air-1", "readings": readings}).to_string();
    let (status, answer) = server.request("POST", "/api/v1/readings", Some(&body));
    assert!((200..300).contains(&status), "{status} {answer}");
    server.caught_up();
}

#[test]
fn a_late_or_replaced_reading_changes_its_own_hour_and_day_by_the_edition_of_then() {
    let folder = tempfile::tempdir().unwrap();
    // The days of the sheet lie back.
    let config = format!("{CONFIG}[ingest]\nlive_max_age_days = 3650\n");
    std::fs::write(folder.path().join("onemap.toml"), config).unwrap();
    let server = Server::start_in(folder.path());
    server.add_device("air-1", &json!({"cadence_s": 3600}));
    // Twenty-three hours of the last day of February, and the first of March.
    let feb: Vec<String> = (1..=22)
        .map(|h| format!("2026-02-28T{h:02}:00:00+08:00"))
        .collect();
    let mut said: Vec<(&str, &str, f64)> = feb.iter().map(|end| ("pm2_5", end.as_str(), 61.0)).collect();
    said.push(("pm2_5", "2026-03-01T01:00:00+08:00", 61.0));
    post(&server, &said);
    let day = "from=2026-02-28T00:00:00%2B08:00&to=2026-03-01T00:00:00%2B08:00";
    let path = |by: &str| format!("/api/v1/standards/air?device=air-1&{day}&by={by}");
    let items = |path: &str| server.get(path)["items"].as_array().unwrap().clone();
    let before = items(&path("hour"));
    assert_eq!(before.len(), 24);
    assert_eq!(
        (
            &before[22]["aqi"],
            &before[22]["missing"].as_array().unwrap().len()
        ),
        (&Value::Null, &6)
    );
    let whole = items(&path("day"));
    assert_eq!(whole.len(), 1);
    // All of it is told months late; nothing was replaced.
    assert_eq!(
        [&whole[0]["late"], &whole[0]["revised"]],
        [&json!(true), &json!(false)]
    );
    assert_eq!(
        [
            &whole[0]["aqi"],
            &whole[0]["revised"],
            &whole[0]["standard"],
            &whole[0]["limits"]
        ],
        [
            &json!(83),
            &json!(false),
            &json!("HJ 633-2012"),
            &json!("GB 3095-2012")
        ]
    );
    assert_eq!(
        whole[0]["values"]["pm2_5"],
        json!({"value": 61.0, "n": 22, "valid": true, "judged": "met", "limit": 75.0})
    );

    // The hour before midnight comes in March.
    post(&server, &[("pm2_5", "2026-02-28T23:00:00+08:00", 130.0)]);
    let after = items(&path("hour"));
    assert_eq!(
        [&after[22]["aqi"], &after[22]["late"], &after[22]["revised"]],
        [&json!(172), &json!(true), &json!(false)]
    );
    assert_eq!(
        after[22]["values"]["pm2_5"]["judged"], "no_limit",
        "an hour of PM2.5 has no limit"
    );
    let whole = items(&path("day"));
    // (22 x 61 + 130) / 23 = 64: (100 - 50) / (75 - 35) x (64 - 35) + 50 = 86.25, up to 87.
    assert_eq!(whole[0]["aqi"], 87);
    // What comes in time is not late.
    let hour = (Timestamp::from_system(std::time::SystemTime::now()).ms() / 3_600_000) * 3_600_000;
    let (before, end) = (Timestamp::from_ms(hour - 3_600_000), Timestamp::from_ms(hour));
    post(&server, &[("pm2_5", &end.to_string(), 61.0)]);
    let span = format!("from={before}&to={end}").replace('+', "%2B");
    let now = items(&format!("/api/v1/standards/air?device=air-1&{span}"));
    assert_eq!(
        [&now[0]["aqi"], &now[0]["late"], &now[0]["revised"]],
        [&json!(101), &json!(false), &json!(false)]
    );

    // Replaced: what was known before can still be asked for.
    post(&server, &[("pm2_5", "2026-02-28T01:00:00+08:00", 200.0)]);
    let hour = &items(&path("hour"))[0];
    assert_eq!([&hour["aqi"], &hour["revised"]], [&json!(250), &json!(true)]);
    // By the edition of March the same value is another index and over the limit of a day.
    let march = "from=2026-03-01T00:00:00%2B08:00&to=2026-03-01T02:00:00%2B08:00";
    let items = items(&format!("/api/v1/standards/air?device=air-1&{march}"));
    assert_eq!(items.len(), 2);
    assert_eq!(
        [&items[0]["aqi"], &items[0]["standard"]],
        [&json!(101), &json!("HJ 633-2026")]
    );

    // Whose division is another's knows of no such device.
    let other = server.post("/api/v1/tokens", &json!({"role": "viewer", "division": "630102"}));
    let other = other["token"].as_str().unwrap();
    for what in ["air", "noise", "rain", "water"] {
        let path = format!("/api/v1/standards/{what}?device=air-1");
        let (status, problem) = crate::server::request(&server.http, other, "GET", &path, None);
        assert_eq!(
            (status, &problem["code"]),
            (404, &json!("unknown_device")),
            "{what}"
        );
        let (status, _) = crate::server::request(&server.http, "", "GET", &path, None);
        assert_eq!(status, 401, "{what}");
    }

    for (query, status, code) in [
        ("device=nobody", 404, "unknown_device"),
        ("device=air-1&class=3", 400, "bad_class"),
        (
            "device=air-1&from=9223372036854775797&to=9223372036854775807",
            400,
            "bad_time",
        ),
        (
            "device=air-1&from=-9223372036854775808&to=-9223372036854775798",
            400,
            "bad_time",
        ),
        ("device=air-1&by=week", 400, "bad_parameter"),
        (
            "device=air-1&from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z",
            400,
            "bad_range",
        ),
        (
            "device=air-1&from=1990-01-01T00:00:00Z&to=2026-03-01T00:00:00Z",
            400,
            "too_many_steps",
        ),
    ] {
        let (found, problem) = server.request("GET", &format!("/api/v1/standards/air?{query}"), None);
        assert_eq!(
            (found, problem["code"].as_str()),
            (status, Some(code)),
            "{query}: {problem}"
        );
    }
}

/// A table of a sheet that has these columns, row by row.
fn sheet(name: &str, columns: &[&str]) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs/sheets")
        .join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|')
            .split('|')
            .map(|c| c.trim().to_owned())
            .collect()
    };
    let wanted: Vec<String> = columns.iter().map(|text| (*text).to_owned()).collect();
    let mut lines = text.lines().skip_while(|line| !cells(line).starts_with(&wanted));
    let n = columns.len();
    assert!(lines.next().is_some(), "{name} has no table {columns:?}");
    lines
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|line| cells(line)[..n].to_vec())
        .collect()
}

/// The sheets' own figures through the server: what is sent hour by hour comes out as it was worked by hand.
#[test]
fn the_hand_worked_sheets_come_out_of_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("{CONFIG}[ingest]\nlive_max_age_days = 3650\n");
    std::fs::write(folder.path().join("onemap.toml"), config).unwrap();
    let server = Server::start_in(folder.path());
    server.add_device("air-1", &json!({"cadence_s": 3600}));
    let time = |text: &str| format!("{text}:00+08:00");
    let items = |path: &str| server.get(path)["items"].as_array().unwrap().clone();

    let names = ["end", "pm2_5", "pm10", "so2", "no2", "co", "o3"];
    let rows = sheet("daily-aqi.md", &names);
    assert_eq!(rows.len(), 24);
    let ends: Vec<String> = rows.iter().map(|row| time(&row[0])).collect();
    let mut said = Vec::new();
    for (row, end) in rows.iter().zip(&ends) {
        for (name, cell) in names.iter().zip(row).skip(1).filter(|(_, cell)| *cell != "-") {
            said.push((*name, end.as_str(), cell.parse::<f64>().unwrap()));
        }
    }
    post(&server, &said);
    let day = items(
        "/api/v1/standards/air?device=air-1&by=day&from=2025-07-15T00:00:00%2B08:00&to=2025-07-16T00:00:00%2B08:00",
    );
    let columns = [
        "standard", "pm2_5", "pm10", "so2", "no2", "co", "o3", "aqi", "level", "primary",
    ];
    let want = &sheet("daily-aqi.md", &columns)[0];
    for (name, cell) in columns.iter().zip(want).skip(1).take(6) {
        assert_eq!(day[0]["iaqi"][name].to_string(), *cell, "{name}");
    }
    assert_eq!(
        [&day[0]["standard"], &day[0]["level_zh"], &day[0]["primary"]],
        [&json!(want[0]), &json!(want[8]), &json!([want[9]])]
    );
    assert_eq!(day[0]["aqi"].to_string(), want[7]);
    assert_eq!(
        (&day[0]["values"]["o3"]["n"], &day[0]["values"]["o3"]["judged"]),
        (&json!(17), &json!("exceeded"))
    );

    let rows = sheet("day-night-noise.md", &["end", "level"]);
    let ends: Vec<String> = rows.iter().map(|row| time(&row[0])).collect();
    let said: Vec<_> = rows
        .iter()
        .zip(&ends)
        .map(|(row, end)| ("noise_laeq", end.as_str(), row[1].parse().unwrap()))
        .collect();
    post(&server, &said);
    let day = items(
        "/api/v1/standards/noise?device=air-1&zone=2&from=2026-06-01T00:00:00%2B08:00&to=2026-06-02T00:00:00%2B08:00",
    );
    for row in sheet("day-night-noise.md", &["level", "value", "limit", "over"]) {
        let found = day[0][&row[0]].as_f64().unwrap();
        assert!(
            (found - row[1].parse::<f64>().unwrap()).abs() < 0.005,
            "{row:?}: {found}"
        );
    }
    assert_eq!(
        (&day[0]["day"]["limit"], &day[0]["night"]["over_db"]),
        (&json!(60.0), &Value::Null)
    );
    let (status, problem) = server.request("GET", "/api/v1/standards/noise?device=air-1&zone=9", None);
    assert_eq!((status, &problem["code"]), (400, &json!("bad_zone")));

    let rows = sheet("rain-day.md", &["end", "rain"]);
    let ends: Vec<String> = rows.iter().map(|row| time(&row[0])).collect();
    let said: Vec<_> = rows
        .iter()
        .zip(&ends)
        .map(|(row, end)| ("rain_1h", end.as_str(), row[1].parse().unwrap()))
        .collect();
    post(&server, &said);
    let days = items(
        "/api/v1/standards/rain?device=air-1&from=2026-07-10T08:00:00%2B08:00&to=2026-07-12T08:00:00%2B08:00",
    );
    let result = sheet("rain-day.md", &["day that ends", "total", "hours", "grade"]);
    for (day, row) in days.iter().rev().zip(&result) {
        assert_eq!(day["end"], time(&row[0]));
        assert_eq!(day["mm"].as_f64().unwrap(), row[1].parse::<f64>().unwrap());
        assert_eq!(
            (day["n_hours"].to_string(), &day["grade"]["zh"]),
            (row[2].clone(), &json!(row[3]))
        );
        assert_eq!(day["is_whole"], row[2] == "24");
    }
    assert_eq!(days.len(), result.len());

    let rows = sheet(
        "water-class.md",
        &["item", "value", "limits I to V", "worked", "class"],
    );
    let said: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row[0].as_str(),
                "2026-05-12T10:00:00+08:00",
                row[1].parse().unwrap(),
            )
        })
        .collect();
    post(&server, &said);
    let days = items(
        "/api/v1/standards/water?device=air-1&aim=2&from=2026-05-12T00:00:00%2B08:00&to=2026-05-13T00:00:00%2B08:00",
    );
    assert_eq!(
        [&days[0]["class"], &days[0]["class_zh"], &days[0]["quality_zh"]],
        [&json!(3), &json!("Ⅲ类"), &json!("良好")]
    );
    for row in rows.iter().filter(|row| row[4] != "-") {
        assert_eq!(days[0]["found"]["items"][&row[0]].to_string(), row[4], "{row:?}");
    }
    let dry = items(
        "/api/v1/standards/rain?device=air-1&from=2026-01-01T08:00:00%2B08:00&to=2026-01-02T08:00:00%2B08:00",
    );
    assert_eq!(
        [&dry[0]["mm"], &dry[0]["grade"]],
        [&Value::Null, &Value::Null],
        "unknown is not dry"
    );
}

const UNHEALTHY: &str = "
version: 1
rules:
  - id: aqi-heavy
    name: {zh: 重度污染, en: Heavily polluted}
    severity: major
    applies_to: {kind: air_station}
    when: {above: {quantity: aqi, ch: 20, raise: 201, clear: 200}}
    advice: {zh: 核实数据, en: Check the values}
";

#[test]
fn an_index_follows_what_comes_late_and_a_replay_makes_the_same() {
    let server = Server::with_rules(&[("aqi", UNHEALTHY)]);
    server.add_device("air-1", &json!({"cadence_s": 3600}));
    let now = Timestamp::from_system(std::time::SystemTime::now()).ms();
    let end = Timestamp::from_ms(now - now % 3_600_000).to_string();
    let index = |server: &Server| {
        let latest = server.get("/api/v1/latest?device=air-1&quantity=aqi");
        let items = latest["items"].as_array()?.clone();
        items.into_iter().find(|item| item["ch"] == 20)
    };
    // One that is no air station any more by the time its hour is worked out.
    server.add_device("air-2", &json!({"cadence_s": 3600}));
    let hour = json!({"device": "air-2", "readings": [{"q": "pm2_5", "t": Timestamp::parse(&end).unwrap().ms(), "v": 61}]});
    server.post("/api/v1/readings", &hour);
    server.caught_up();
    server.post(
        "/api/v1/devices?replace=true",
        &json!({"id": "air-2", "name": "2", "kind": "dust_monitor", "cadence_s": 3600}),
    );
    post(&server, &[("pm2_5", &end, 61.0)]);
    let first = wait_for("the index of the hour", Duration::from_secs(60), || {
        index(&server)
    });
    assert_eq!(
        (first["value"].as_f64(), first["state"].as_str()),
        (Some(101.0), Some("normal"))
    );
    assert_eq!(first["quality"], json!(["derived"]));
    assert_eq!(first["measured_at"], end.as_str());
    let other = wait_for(
        "the index of what was an air station",
        Duration::from_secs(60),
        || server.latest("air-2", "aqi"),
    );
    assert_eq!(
        (other["value"].as_f64(), other["measured_at"].as_str()),
        (Some(101.0), Some(end.as_str()))
    );
    // Nobody says in its place what is worked out.
    let at = Timestamp::parse(&end).unwrap().ms();
    let forged = json!({"device": "air-1", "readings": [{"q": "aqi", "ch": 20, "t": at, "v": 12}]});
    server.request("POST", "/api/v1/readings", Some(&forged.to_string()));
    server.caught_up();
    assert_eq!(index(&server).unwrap()["value"].as_f64(), Some(101.0));
    let refused = server.get("/api/v1/quarantine?reason=unknown_quantity")["items"].clone();
    assert!(
        refused[0]["detail"].as_str().unwrap().contains("worked out here"),
        "{refused}"
    );
    // The station says another hour before that, and of this one another pollutant; between them it is killed.
    let earlier = Timestamp::from_ms(now - now % 3_600_000 - 3_600_000).to_string();
    post(&server, &[("pm2_5", &earlier, 20.0)]);
    let mut server = server.kill_and_restart();
    post(&server, &[("pm10", &end, 480.0)]);
    let revised = wait_for("the index worked out again", Duration::from_secs(60), || {
        index(&server).filter(|latest| latest["value"].as_f64() > Some(300.0))
    });
    assert_eq!(revised["quality"], json!(["revised", "derived"]));
    wait_for("the alert", Duration::from_secs(10), || {
        let open = server.get("/api/v1/alerts?state=open");
        let mut rules = open["items"]
            .as_array()?
            .iter()
            .map(|alert| alert["rule"].clone());
        rules.find(|rule| rule == "aqi-heavy")
    });
    // Both are kept, and the hour before stands too.
    let series = &revised["series"];
    let versions = server.get(&format!("/api/v1/series/{series}/values?revisions=true"));
    let versions: Vec<f64> = versions["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["v"].as_f64().unwrap())
        .collect();
    assert_eq!((versions.len(), versions[1]), (3, 101.0), "{versions:?}");
    let primary = server.get("/api/v1/latest?device=air-1&quantity=aqi_primary");
    assert_eq!(primary["items"][0]["value"], "pm10");
    // A person finds the dust wrong, then all of it.
    let review = |quantity: &str| {
        let from = Timestamp::from_ms(now - now % 3_600_000);
        let to = Timestamp::from_ms(from.ms() + 1);
        server.post(
            "/api/v1/reviews",
            &json!({"device": "air-1", "quantity": quantity, "from": from, "to": to, "verdict": "invalid",
                    "name": "王工", "reason": "校准"}),
        );
    };
    review("pm10");
    wait_for("the index without the dust", Duration::from_secs(60), || {
        index(&server).filter(|latest| latest["value"].as_f64() == Some(101.0))
    });
    review("pm2_5");
    let void = wait_for("no index", Duration::from_secs(60), || {
        index(&server).filter(|latest| latest["value"] == "void")
    });
    assert_eq!(void["state"], "unknown");
    server.stop();
    let folder = tempfile::tempdir().unwrap();
    let again = folder.path().join("again");
    onemap(
        &server.dir,
        &["journal", "replay", "--into", again.to_str().unwrap()],
    );
    let digest = |dir: &Path| {
        let mut command = Command::new(binary("onemap"));
        let output = command
            .arg("--data-dir")
            .arg(dir)
            .args(["digest", "--json"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(digest(&again).contains("history"), "{}", digest(&again));
    assert_eq!(digest(&again), digest(&server.dir));
}
