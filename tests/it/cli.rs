//! The command line, with the server running and without.

use std::process::{Command, Output};

use serde_json::json;

use crate::server::{CONFIG, Server, binary};

fn run(dir: &std::path::Path, arguments: &[&str]) -> Output {
    Command::new(binary("onemap"))
        .arg("--data-dir")
        .arg(dir)
        .args(arguments)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn token_create_prints_the_token_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let cold = stdout(&run(folder.path(), &["token", "create", "--role", "viewer"]));
    assert_eq!(cold.trim().len(), 43);
    assert_eq!(cold.lines().count(), 1);
    std::fs::write(folder.path().join("onemap.toml"), CONFIG).unwrap();
    let server = Server::start_in(folder.path());
    let (status, session) = crate::server::request(&server.http, cold.trim(), "GET", "/api/v1/session", None);
    assert_eq!(
        (status, &session["role"]),
        (200, &json!("viewer")),
        "a token made without a server holds with one"
    );
    let warm = stdout(&run(
        folder.path(),
        &["token", "create", "--role", "integrator", "--division", "630102"],
    ));
    let (status, session) = crate::server::request(&server.http, warm.trim(), "GET", "/api/v1/session", None);
    assert_eq!((status, &session["division"]), (200, &json!("630102")));
    let wrong = run(folder.path(), &["token", "create", "--role", "king"]);
    assert!(!wrong.status.success());
    assert!(
        String::from_utf8_lossy(&wrong.stderr).contains("viewer"),
        "it says which roles there are"
    );
}

#[test]
fn devices_and_files_come_in_and_faults_are_told_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let token = stdout(&run(
        dir,
        &[
            "device",
            "add",
            "gauge-1",
            "--kind",
            "river_gauge",
            "--lon",
            "101.8",
            "--lat",
            "36.6",
        ],
    ));
    assert_eq!(token.trim().len(), 43);
    let geojson = dir.join("areas.geojson");
    std::fs::write(
        &geojson,
        r#"{"type":"FeatureCollection","features":[
        {"type":"Feature","properties":{"code":"630102","kind":"division","name":"城东区"},"geometry":{"type":"Polygon","coordinates":[[[101.7,36.5],[101.9,36.5],[101.9,36.7],[101.7,36.7],[101.7,36.5]]]}},
        {"type":"Feature","properties":{"code":"bad","kind":"division","name":"坏"},"geometry":{"type":"Polygon","coordinates":[[[0,0],[1,1]]]}}]}"#,
    )
    .unwrap();
    let imported = run(dir, &["import", "entities", geojson.to_str().unwrap(), "--json"]);
    assert!(!imported.status.success(), "a fault is not silent");
    assert_eq!(
        String::from_utf8_lossy(&imported.stdout).trim(),
        r#"{"imported":1,"refused":1}"#
    );
    let said = String::from_utf8_lossy(&imported.stderr);
    assert!(said.contains("areas.geojson: feature 2:"), "{said}");

    let csv = dir.join("levels.csv");
    std::fs::write(
        &csv,
        "device,quantity,time,value\ngauge-1,water_level,2026-11-01T08:00:00+08:00,1.25\ngauge-1,water_level,2026-11-01T08:05:00+08:00,1.27\ngauge-1,flux,2026-11-01T08:05:00+08:00,1\ngauge-1,water_level,yesterday,1\n",
    )
    .unwrap();
    let imported = run(dir, &["import", "readings", csv.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&imported.stderr);
    assert!(
        said.contains("levels.csv: line 4:") && said.contains("levels.csv: line 5:"),
        "{said}"
    );
    std::fs::write(dir.join("onemap.toml"), CONFIG).unwrap();
    let server = Server::start_in(dir);
    server.caught_up();
    let latest = server.latest("gauge-1", "water_level").unwrap();
    assert_eq!(
        (&latest["value"], &latest["division"]),
        (&json!(1.27), &json!("630102"))
    );
    let again = run(dir, &["--json", "import", "readings", csv.to_str().unwrap()]);
    let again: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(
        again,
        json!({"imported": 2, "new": 0, "duplicate": 2, "revised": 0, "refused": 2}),
        "an import that is run twice stores nothing twice"
    );
    assert_eq!(latest["quality"], json!(["resent", "backfill"]));
    assert_eq!(latest["state"], json!("unknown"), "old data says nothing of now");
    let listed = stdout(&run(dir, &["device", "list"]));
    assert!(
        listed.contains("gauge-1") && listed.contains("630102"),
        "{listed}"
    );
    let rotated = stdout(&run(dir, &["device", "token", "gauge-1"]));
    assert_ne!(rotated, token);
}

#[test]
fn check_names_file_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    assert!(
        stdout(&run(dir, &["check"])).contains("in order"),
        "an empty folder is in order"
    );
    assert!(!dir.join("profiles").exists(), "a check makes nothing");
    std::fs::create_dir(dir.join("profiles")).unwrap();
    let profile = dir.join("profiles/mine.yaml");
    std::fs::write(
        &profile,
        "version: 1\nname: {zh: 甲, en: a}\nprotocol: thingsboard\ncolour: red\n",
    )
    .unwrap();
    let checked = run(dir, &["check"]);
    assert!(!checked.status.success());
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(said.contains("mine.yaml:4:") && said.contains("colour"), "{said}");
    std::fs::write(dir.join("onemap.toml"), CONFIG).unwrap();
    let config = dir.join("onemap.toml");
    let refused = run(dir, &["serve", "--config", config.to_str().unwrap()]);
    assert!(
        !refused.status.success(),
        "a server does not start on a faulty profile"
    );
    assert!(String::from_utf8_lossy(&refused.stderr).contains("mine.yaml:4:"));
}
