//! What is damaged is told in answers, exports and backups, and a history that does not open comes back.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::scrub::flip_a_bit;
use crate::server::{CONFIG, Server, binary, text};

/// Points of the test's series: one chunk, and a head behind it.
const N: i64 = 500;
const N_CHUNK: i64 = 360;

fn run(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(binary("onemap"));
    command.arg("--data-dir").arg(dir);
    // One that should not start, and does, must not meet another on the usual ports.
    let config = dir.join("onemap.toml");
    if config.exists() {
        command.arg("--config").arg(config);
    }
    command.args(args).output().unwrap()
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A folder whose server has kept so many points from `start` on and has stopped.
fn kept(dir: &Path, start: i64) {
    std::fs::create_dir(dir.join("rules")).unwrap();
    std::fs::write(dir.join("onemap.toml"), format!("{CONFIG}scrub_days = 0\n")).unwrap();
    let mut server = Server::start_in(dir);
    server.add_device("air-1", &json!({}));
    let readings: Vec<Value> = (0..N)
        .map(|i| json!({"q": "pm10", "t": start + i * 1000, "v": (i * 37 % 101) as f64 / 10.0}))
        .collect();
    let body = json!({"device": "air-1", "readings": readings});
    server.post("/api/v1/readings", &body);
    server.caught_up();
    server.stop();
}

fn some_time_ago() -> i64 {
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now());
    (now.ms() / 3_600_000 - 2) * 3_600_000
}

#[test]
fn a_damaged_row_is_told_in_every_answer_that_lacks_it_and_stops_no_backup() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let start = some_time_ago();
    kept(dir, start);
    flip_a_bit(dir);

    let mut server = Server::start_in(dir);
    let id = server.get("/api/v1/series?device=air-1")["items"][0]["id"].clone();
    let span = |from: i64, to: i64| format!("from={}&to={}", start + from * 1000, start + to * 1000);
    let values = format!("/api/v1/series/{id}/values?");
    let at = |ms: i64| json!(onemap_model::Timestamp::from_ms(ms));
    let damage = json!({"rows": 1, "from": at(start), "to": at(start + 600_000 - 1)});
    let all = span(0, 600);
    for path in [
        format!("{values}{all}&limit=1000"),
        format!("{values}{all}&shape=columns"),
        format!("{values}{all}&revisions=true"),
        format!("{values}{all}&step=1m&agg=p50"),
        format!("{values}{all}&step=1m"),
        format!("/api/v1/aggregate?quantity=pm10&group_by=none&{all}&step=1m"),
    ] {
        let answer = server.get(&path);
        let told = &answer["damaged"];
        assert_eq!(
            (&told["rows"], &told["from"]),
            (&damage["rows"], &damage["from"]),
            "{path}: {told}"
        );
        assert!(told["to"].as_str() <= damage["to"].as_str(), "{path}: {told}");
    }
    let n = server.get(&format!("{values}{all}&limit=1000"))["items"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(n as i64, N - N_CHUNK);
    // Not where it does not matter.
    for path in [
        format!("{values}{}", span(N_CHUNK, 600)),
        format!("{values}{}&step=1m", span(N_CHUNK, 600)),
        format!(
            "/api/v1/aggregate?quantity=pm10&group_by=none&{}&step=1m",
            span(N_CHUNK, 600)
        ),
    ] {
        assert!(server.get(&path).get("damaged").is_none(), "{path}");
    }
    let (from, to) = (start / 1000, start / 1000 + 600);
    let query = format!("/prometheus/api/v1/query_range?query=pm10&start={from}&end={to}&step=60");
    let warned = server.get(&query)["warnings"].to_string();
    assert!(warned.contains("1 damaged rows are left out"), "{warned}");

    // Exports end with it, and the command says so by its code.
    let export = |format: &str| {
        text(
            &server.http,
            &server.token,
            &format!("/api/v1/export?format={format}"),
        )
    };
    for format in ["csv", "lineprotocol"] {
        let body = export(format);
        let last = body.lines().next_back().unwrap();
        assert!(last.starts_with("# damaged: 1 rows from "), "{format}: {last}");
    }
    let last: Value = serde_json::from_str(export("ndjson").lines().next_back().unwrap()).unwrap();
    assert_eq!(last["damaged"]["rows"], 1);
    for format in ["csv", "ndjson", "lineprotocol", "parquet"] {
        let file = dir.join("out");
        let done = run(
            dir,
            &["export", "--format", format, "--out", file.to_str().unwrap()],
        );
        assert_eq!(done.status.code(), Some(3), "{format}: {}", said(&done));
        assert!(said(&done).contains("the export is not whole"), "{}", said(&done));
        assert!(file.metadata().unwrap().len() > 100);
    }
    let csv = dir.join("out.csv");
    run(dir, &["export", "--out", csv.to_str().unwrap()]);
    let taken = run(dir, &["import", "readings", csv.to_str().unwrap()]);
    assert!(
        said(&taken).contains("exported from a damaged history"),
        "{}",
        said(&taken)
    );

    // A backup goes on; it and what is made of it say what they lack.
    let backup = tempfile::tempdir().unwrap();
    let done = run(dir, &["backup", backup.path().to_str().unwrap()]);
    assert_eq!(done.status.code(), Some(3), "{}", said(&done));
    assert!(
        said(&done).contains("damaged, not in the backup: history, c"),
        "{}",
        said(&done)
    );
    let manifest = std::fs::read(backup.path().join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["damaged"].as_array().unwrap().len(), 1, "{manifest}");
    server.stop();
    let restored = folder.path().join("restored");
    let done = run(&restored, &["restore", backup.path().to_str().unwrap()]);
    assert_eq!(done.status.code(), Some(3), "{}", said(&done));
    assert!(
        said(&done).contains("missing here: history, c"),
        "{}",
        said(&done)
    );
    let mut server = Server::start_in(&restored);
    let answer = server.get(&format!("{values}{all}&limit=1000"));
    assert_eq!(answer["items"].as_array().unwrap().len() as i64, N - N_CHUNK);
    assert_eq!(answer["damaged"]["rows"], 1, "{}", answer["damaged"]);
    server.stop();

    // The journal still holds all of it.
    let done = run(dir, &["history", "rebuild"]);
    assert!(done.status.success(), "{}", said(&done));
    let mut server = Server::start_in(dir);
    let answer = server.get(&format!("{values}{all}&limit=1000"));
    assert_eq!(answer["items"].as_array().unwrap().len() as i64, N);
    assert!(answer.get("damaged").is_none());
    server.stop();
}

#[test]
fn a_history_that_does_not_open_names_a_way_out_and_is_made_again_from_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    kept(dir, some_time_ago());
    let digest = || -> Value {
        let done = run(dir, &["digest"]);
        serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{}", said(&done)))
    };
    let before = digest();
    let history = dir.join("history");
    for entry in std::fs::read_dir(&history).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() && entry.file_name() != "lock" {
            std::fs::write(entry.path(), b"not what was written here").unwrap();
        }
    }
    for args in [&["serve"][..], &["history", "stat"], &["digest"]] {
        let done = run(dir, args);
        assert!(!done.status.success(), "{args:?}");
        let told = said(&done);
        assert!(
            told.contains("`onemap history rebuild`") && told.contains("onemap restore"),
            "{args:?}: {told}"
        );
    }
    let done = run(dir, &["history", "rebuild", "--json"]);
    assert!(done.status.success(), "{}", said(&done));
    let told: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&told["from"], &told["points"]), (&json!(1), &json!(N)), "{told}");
    assert!(Path::new(told["old"].as_str().unwrap()).is_dir());
    assert_eq!(digest(), before);
    // It can be served, and does not refuse a second time.
    let mut server = Server::start_in(dir);
    assert!(server.latest("air-1", "pm10").is_some());
    let refused = run(dir, &["history", "rebuild"]);
    assert!(said(&refused).contains("stop it first"), "{}", said(&refused));
    server.stop();
    assert_eq!(run(dir, &["history", "verify"]).status.code(), Some(0));
}

#[test]
fn commands_that_only_look_make_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("mistyped");
    let file = folder.path().join("out");
    let file = file.to_str().unwrap();
    for args in [
        &["export", "--out", file][..],
        &["history", "verify"],
        &["history", "stat"],
        &["history", "rebuild"],
        &["journal", "stat"],
        &["journal", "replay", "--into", file],
        &["backup", file],
        &["digest"],
        &["token", "list"],
        &["device", "list"],
        &["device", "show", "x"],
        &["command", "list"],
        &["command", "show", "1"],
        &["quarantine", "list"],
        &["quarantine", "show", "1"],
    ] {
        let done = run(&dir, args);
        assert_eq!(done.status.code(), Some(1), "{args:?}");
        assert!(
            said(&done).contains("is no data folder"),
            "{args:?}: {}",
            said(&done)
        );
        assert!(!dir.exists() && !Path::new(file).exists(), "{args:?}");
    }
}
