//! Readings as files: what one server exports another takes, and readers we did not write read.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Server, binary, peer, request, text, wait_for};

const HOUR: i64 = 3_600_000;
const DEVICES: [(&str, &str, &str); 3] = [
    ("air-1", "air_station", "630102001"),
    ("well-1", "manhole", "630102002"),
    ("river-1", "river_gauge", "630103001"),
];

fn now_ms() -> i64 {
    onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms()
}

fn with_devices() -> Server {
    let server = Server::new();
    for (id, kind, division) in DEVICES {
        server.add_device(id, &json!({"kind": kind, "division": division}));
    }
    server
}

fn post(server: &Server, device: &str, quantity: &str, channel: u16, points: &[(i64, f64)]) {
    let readings: Vec<Value> = points
        .iter()
        .map(|(t, v)| json!({"q": quantity, "ch": channel, "t": t, "v": v}))
        .collect();
    server.post(
        "/api/v1/readings",
        &json!({"device": device, "readings": readings}),
    );
}

/// A server that was told what a city tells: numbers of all kinds, states, channels, late and doubled readings,
/// corrections.
fn told() -> (Server, i64) {
    let server = with_devices();
    let from = now_ms() / HOUR * HOUR - 30 * HOUR;
    let minute = |i: i64| from + i * 60_000;
    let walk: Vec<(i64, f64)> = (0..600)
        .map(|i| (minute(i), 35.0 + (i * 37 % 100) as f64 / 10.0))
        .collect();
    let thirds: Vec<(i64, f64)> = (0..300).map(|i| (minute(i) + 123, i as f64 / 3.0)).collect();
    post(&server, "air-1", "pm2_5", 0, &walk);
    post(&server, "air-1", "temperature", 0, &thirds);
    post(&server, "river-1", "water_level", 0, &thirds);
    post(
        &server,
        "river-1",
        "water_level",
        2,
        &[(minute(0), -0.25), (minute(1), 1e-7)],
    );
    let states: Vec<(i64, f64)> = (0..40).map(|i| (minute(i * 7), (i % 2) as f64)).collect();
    post(&server, "well-1", "manhole_open", 0, &states);
    // Late ones, the same again, corrections and a correction of one.
    post(
        &server,
        "air-1",
        "pm2_5",
        0,
        &[(minute(10) + 30_000, 40.0), (minute(11), 99.5)],
    );
    post(&server, "air-1", "pm2_5", 0, &walk[..50]);
    post(
        &server,
        "air-1",
        "pm2_5",
        0,
        &[(minute(11), 88.5), (minute(599), 41.0)],
    );
    server.caught_up();
    (server, from)
}

fn onemap(server: &Server, args: &[&str]) -> std::process::Output {
    Command::new(binary("onemap"))
        .arg("--data-dir")
        .arg(&server.dir)
        .args(args)
        .output()
        .unwrap()
}

fn digest(server: &Server) -> Value {
    let output = onemap(server, &["digest", "--json"]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn export(server: &Server, query: &str) -> String {
    text(&server.http, &server.token, &format!("/api/v1/export?{query}"))
}

/// Time and value of every version, by series.
fn versions(server: &Server) -> BTreeMap<String, Vec<(String, Value)>> {
    let series = server.get("/api/v1/series");
    let mut all = BTreeMap::new();
    for one in series["items"].as_array().unwrap() {
        let path = format!("/api/v1/series/{}/values?from=0&revisions=true", one["id"]);
        let answer = server.get(&path);
        let items = answer["items"].as_array().unwrap();
        let rows = items
            .iter()
            .map(|item| (item["t"].as_str().unwrap().to_owned(), item["v"].clone()))
            .collect();
        let name = format!("{}/{}/{}", one["device"], one["quantity"], one["ch"]);
        all.insert(name, rows);
    }
    all
}

#[test]
fn what_is_exported_and_imported_again_is_the_same() {
    let (server, from) = told();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let out = |path: &Path| path.to_str().unwrap().to_owned();
    let whole = digest(&server);
    assert_eq!(versions(&server).len(), 5);

    // CSV, with all that was ever said, by the command line.
    let csv = file("all.csv");
    let made = onemap(&server, &["export", "--revisions", "--out", &out(&csv)]);
    assert!(made.status.success(), "{made:?}");
    assert!(!file("all.csv.part").exists());
    let other = with_devices();
    let taken = onemap(&other, &["import", "readings", &out(&csv), "--json"]);
    assert!(taken.status.success(), "{taken:?}");
    let taken: Value = serde_json::from_slice(&taken.stdout).unwrap();
    // The value that was corrected twice, and the last one once.
    assert_eq!((&taken["revised"], &taken["refused"]), (&json!(3), &json!(0)));
    let again = digest(&other);
    assert_eq!(again["values"], whole["values"]);
    // When each came is another matter, and the whole digest says so.
    assert_ne!(again["history"], whole["history"]);
    assert_eq!(versions(&other), versions(&server));
    // And what the second server exports is what the first did, apart from that.
    let without_arrival = |server: &Server| -> Vec<String> {
        let text = export(server, "format=csv&revisions=true");
        let field = |line: &str, i: usize| line.split(',').nth(i).unwrap().to_owned();
        text.lines()
            .map(|line| [0, 1, 2, 3, 4, 6].map(|i| field(line, i)).join(","))
            .collect()
    };
    assert_eq!(without_arrival(&other), without_arrival(&server));
    assert_eq!(without_arrival(&server).len(), 1 + 600 + 1 + 3 + 300 * 2 + 2 + 40);

    // Line protocol, of what is shown, written as any client writes it.
    let lines = export(&server, "format=lineprotocol");
    let third = with_devices();
    let written = ureq::post(format!("{}/api/v2/write", third.http))
        .header("authorization", format!("Token {}", third.token))
        .send(&lines)
        .unwrap();
    assert_eq!(written.status().as_u16(), 204);
    third.caught_up();
    assert_eq!(digest(&third)["values"], whole["values"]);
    assert_eq!(lines.lines().count(), 600 + 1 + 300 * 2 + 2 + 40);

    // The digest says something: one more value, another value, another time of it.
    let mut seen = vec![whole["values"].clone()];
    for point in [(from + 5 * HOUR + 1, 1.0), (from + 5 * HOUR + 1, 2.0)] {
        post(&third, "river-1", "water_level", 2, &[point]);
        third.caught_up();
        let now = digest(&third)["values"].clone();
        assert!(!seen.contains(&now));
        seen.push(now);
    }

    // What cannot be had leaves no file.
    let none = onemap(
        &server,
        &["export", "--device", "nobody", "--out", &out(&file("none.csv"))],
    );
    assert!(!none.status.success());
    let said = String::from_utf8_lossy(&none.stderr);
    assert!(
        said.contains("no device that is asked for is called `nobody`"),
        "{said}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// The rows of a CSV without quotes, as JSON; the value is a number.
fn csv_rows(text: &str) -> Vec<Vec<Value>> {
    let time = |text: &str| json!(onemap_model::Timestamp::parse(text).unwrap().ms());
    let row = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let [
            device,
            quantity,
            channel,
            unit,
            measured,
            received,
            value,
            quality,
        ] = fields[..]
        else {
            panic!("{line}");
        };
        vec![
            json!(device),
            json!(quantity),
            json!(channel.parse::<u16>().unwrap()),
            json!(unit),
            time(measured),
            time(received),
            json!(value.parse::<f64>().unwrap()),
            json!(quality),
        ]
    };
    text.lines().skip(1).map(row).collect()
}

#[test]
fn another_reader_finds_every_row_in_the_parquet_file() {
    let python = format!("{}/target/peers/columns/bin/python", env!("CARGO_MANIFEST_DIR"));
    let Some(python) = peer(&python) else { return };
    let (server, _) = told();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.parquet");
    let made = onemap(
        &server,
        &[
            "export",
            "--format",
            "parquet",
            "--revisions",
            "--out",
            file.to_str().unwrap(),
        ],
    );
    assert!(made.status.success(), "{made:?}");
    let read = Command::new(python)
        .arg(format!(
            "{}/tests/peers/parquet_reader.py",
            env!("CARGO_MANIFEST_DIR")
        ))
        .arg(json!({"file": file}).to_string())
        .output()
        .unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let read = String::from_utf8(read.stdout).unwrap();
    let mut lines = read.lines();
    let columns: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(
        columns["names"],
        json!([
            "device",
            "quantity",
            "channel",
            "unit",
            "measured_at",
            "received_at",
            "value",
            "text",
            "quality"
        ])
    );
    assert_eq!(
        columns["types"],
        json!([
            "string",
            "string",
            "uint16",
            "string",
            "timestamp[ms, tz=UTC]",
            "timestamp[ms, tz=UTC]",
            "double",
            "string",
            "string"
        ])
    );
    let rows: Vec<Vec<Value>> = lines
        .map(|line| {
            let mut row: Vec<Value> = serde_json::from_str(line).unwrap();
            assert_eq!(row.remove(7), Value::Null, "no value here is a text");
            row
        })
        .collect();
    let csv = csv_rows(&export(&server, "format=csv&revisions=true"));
    assert_eq!(rows.len(), csv.len());
    for (row, want) in rows.iter().zip(&csv) {
        // To the bit: what is written in JSON is the shortest text of a number.
        assert_eq!(
            row[6].as_f64().unwrap().to_bits(),
            want[6].as_f64().unwrap().to_bits()
        );
        assert_eq!((&row[..6], &row[7]), (&want[..6], &want[7]));
    }
    let marked = |mark: &str| {
        csv.iter()
            .filter(|row| row[7].as_str().unwrap().contains(mark))
            .count()
    };
    assert_eq!(marked("revised"), 3);
    // JSON lines say the same.
    let lines = export(&server, "format=ndjson&revisions=true");
    assert_eq!(lines.lines().count(), csv.len());
    for (line, want) in lines.lines().zip(&csv) {
        let row: Value = serde_json::from_str(line).unwrap();
        let marks: Vec<&str> = row["quality"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m.as_str().unwrap())
            .collect();
        assert_eq!(
            (
                &row["device"],
                &row["channel"],
                row["value"].as_f64(),
                json!(marks.join("|"))
            ),
            (&want[0], &want[2], want[6].as_f64(), want[7].clone())
        );
    }
}

#[test]
fn an_export_is_what_was_chosen_and_may_be_seen() {
    let (server, from) = told();
    let csv = |more: &str| csv_rows(&export(&server, &format!("format=csv&{more}")));
    let count = |more: &str| csv(more).len();
    assert_eq!(count("device=well-1"), 40);
    assert_eq!(count("device=well-1,river-1"), 40 + 302);
    assert_eq!(count("quantity=water_level,manhole_open"), 342);
    assert_eq!(count("quantity=water_level&ch=2"), 2);
    assert_eq!(count("division=630103"), 302);
    assert_eq!(count("kind=manhole"), 40);
    assert_eq!(
        count(&format!(
            "device=air-1&quantity=pm2_5&from={from}&to={}",
            from + HOUR
        )),
        61
    );
    assert_eq!(count("device=air-1&quantity=pm2_5&quality=revised"), 2);
    assert_eq!(count(&format!("known_at={from}")), 0);
    let names: Vec<String> = csv("")
        .iter()
        .map(|row| format!("{}/{}", row[0], row[1]))
        .collect();
    assert!(names.is_sorted());
    for (query, status, code) in [
        ("", 400, "bad_parameter"),
        ("format=xls", 400, "bad_parameter"),
        ("format=csv&quantity=pm2_5,pm3", 400, "bad_quantity"),
        ("format=csv&device=nobody", 404, "unknown_device"),
        ("format=csv&device=air-1&kind=manhole", 404, "unknown_device"),
        ("format=csv&from=5&to=4", 400, "bad_range"),
        ("format=csv&limit=5", 400, "bad_parameter"),
    ] {
        let (got, answer) = server.request("GET", &format!("/api/v1/export?{query}"), None);
        assert_eq!(
            (got, &answer["code"]),
            (status, &json!(code)),
            "{query}: {answer}"
        );
    }
    // Another division's readings are not there, not even by name.
    let viewer = server.post("/api/v1/tokens", &json!({"role": "viewer", "division": "630103"}));
    let token = viewer["token"].as_str().unwrap();
    assert_eq!(
        csv_rows(&text(&server.http, token, "/api/v1/export?format=csv")).len(),
        302
    );
    let path = "/api/v1/export?format=csv&device=air-1";
    assert_eq!(request(&server.http, token, "GET", path, None).0, 404);
    let audit = server.post("/api/v1/tokens", &json!({"role": "audit_admin"}));
    let path = "/api/v1/export?format=csv";
    assert_eq!(
        request(&server.http, audit["token"].as_str().unwrap(), "GET", path, None).0,
        403
    );
    // Nothing chosen is a file without rows.
    assert_eq!(export(&server, "format=csv&quantity=so2").lines().count(), 1);
    assert_eq!(export(&server, "format=lineprotocol&quantity=so2"), "");
}

fn resident(server: &Server) -> u64 {
    let path = format!("/proc/{}/status", server.process.child.id());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

fn ask(server: &Server, token: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.http.trim_start_matches("http://")).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    stream
}

#[test]
fn a_long_export_takes_little_room_and_ends_with_its_token() {
    let server = Server::new();
    let device = server.add_device("long", &json!({}));
    let from = now_ms() / HOUR * HOUR - 120 * HOUR;
    let n = 360_000;
    for part in 0..3 {
        let lines: String = (part * n / 3..(part + 1) * n / 3)
            .map(|i| format!("pm2_5 value={}.25 {}\n", i % 90, from + i * 1000))
            .collect();
        let written = ureq::post(format!("{}/api/v2/write?precision=ms", server.http))
            .header("authorization", format!("Token {device}"))
            .send(lines)
            .unwrap();
        assert_eq!(written.status().as_u16(), 204);
    }
    server.caught_up();
    let formats = ["csv", "lineprotocol", "ndjson", "parquet"];
    let path = |format: &str| format!("/api/v1/export?format={format}");
    let before = resident(&server);
    // Whole, forty answers of thirty megabytes would be more than a gigabyte.
    let tokens: Vec<String> = (0..4)
        .map(|_| server.post("/api/v1/tokens", &json!({"role": "viewer"})))
        .map(|made| made["token"].as_str().unwrap().to_owned())
        .collect();
    let still: Vec<TcpStream> = (0..40)
        .map(|i| ask(&server, &tokens[i / 10], &path(formats[i % 4])))
        .collect();
    // One token has its share of them and no more.
    let two_more: Vec<TcpStream> = (0..2).map(|_| ask(&server, &tokens[0], &path("csv"))).collect();
    let (status, refused) = request(&server.http, &tokens[0], "GET", &path("csv"), None);
    assert_eq!(
        (status, &refused["code"]),
        (429, &json!("too_many_exports")),
        "{refused}"
    );
    drop(two_more);
    // By the command line, which has no limit of its own.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.csv");
    let made = onemap(&server, &["export", "--out", file.to_str().unwrap()]);
    assert!(made.status.success(), "{made:?}");
    let lines = std::fs::read_to_string(file).unwrap().lines().count();
    assert_eq!(lines, 1 + n as usize);
    let more = resident(&server).saturating_sub(before);
    assert!(
        more < 400 << 20,
        "{} MiB for readers that stand still",
        more >> 20
    );
    drop(still);
    wait_for("their connections to be closed", Duration::from_secs(20), || {
        (server.metric("onemap_http_connections")? <= 2).then_some(())
    });

    // An export that goes on when its token ends is cut: it does not look whole.
    let viewer = server.post("/api/v1/tokens", &json!({"role": "viewer"}));
    let (token, id) = (viewer["token"].as_str().unwrap(), viewer["id"].as_str().unwrap());
    let mut going_on = ask(&server, token, &path("csv"));
    let mut whole = ask(&server, &server.token, &path("csv"));
    assert_eq!(
        server.request("DELETE", &format!("/api/v1/tokens/{id}"), None).0,
        204
    );
    let to_the_end = |stream: &mut TcpStream, end: &[u8]| {
        let mut bytes = Vec::new();
        let mut piece = vec![0; 1 << 16];
        loop {
            match stream.read(&mut piece) {
                Ok(0) | Err(_) => break,
                Ok(n) => bytes.extend_from_slice(&piece[..n]),
            }
            if bytes.ends_with(end) {
                break;
            }
        }
        bytes
    };
    let end = b"\r\n0\r\n\r\n";
    let cut = to_the_end(&mut going_on, end);
    let whole = to_the_end(&mut whole, end);
    assert!(whole.ends_with(end));
    assert!(
        !cut.ends_with(end) && cut.len() < whole.len(),
        "{} of {}",
        cut.len(),
        whole.len()
    );
}
