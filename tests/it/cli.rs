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
fn a_known_device_is_replaced_by_a_word_and_its_token_is_told_of_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let add = ["device", "add", "spare-1", "--kind", "river_gauge"];
    stdout(&run(dir, &add));
    assert!(!run(dir, &add).status.success(), "nothing is replaced unasked");
    let replace = || {
        let replaced = run(dir, &[&add[..], &["--replace"]].concat());
        assert!(replaced.status.success());
        String::from_utf8_lossy(&replaced.stderr).into_owned()
    };
    assert!(replace().contains("its token stays"));
    stdout(&run(dir, &["device", "retire", "spare-1"]));
    assert!(replace().contains("it stays retired"));
    stdout(&run(dir, &["device", "activate", "spare-1"]));
    assert!(replace().contains("it has no token"));
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
    let done: serde_json::Value = serde_json::from_slice(&imported.stdout).unwrap();
    assert_eq!((&done["imported"], &done["refused"]), (&1.into(), &1.into()));
    assert_eq!(done["errors"][0]["at"], "feature 2");
    let said = String::from_utf8_lossy(&imported.stderr);
    assert!(said.contains("areas.geojson: feature 2:"), "{said}");

    let csv = dir.join("levels.csv");
    std::fs::write(
        &csv,
        "device,quantity,time,value\ngauge-1,water_level,2026-11-01T08:00:00+08:00,1.25\ngauge-1,water_level,2026-11-01T08:05:00+08:00,1.27\ngauge-1,flux,2026-11-01T08:05:00+08:00,1\ngauge-1,water_level,yesterday,1\ngauge-1,water_level,2026-11-01T08:10:00+08:00,-999\nnobody,water_level,2026-11-01T08:10:00+08:00,1\n",
    )
    .unwrap();
    let imported = run(dir, &["import", "readings", csv.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&imported.stderr);
    for line in [
        "levels.csv: line 4: broken_line:",
        "levels.csv: line 5: broken_line:",
        "levels.csv: line 6: sentinel: water_level is -999",
        "levels.csv: line 7: not_taken: `nobody`",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(!said.contains("line 2") && !said.contains("line 3"), "{said}");
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
    let counts = [
        "imported",
        "new",
        "duplicate",
        "revised",
        "refused",
        "errors_left_off",
    ];
    assert_eq!(
        counts.map(|name| again[name].as_u64().unwrap()),
        [2, 0, 2, 0, 4, 0],
        "an import that is run twice stores nothing twice"
    );
    let errors = again["errors"].as_array().unwrap();
    let lines: Vec<_> = errors
        .iter()
        .map(|e| (e["line"].as_u64().unwrap(), e["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(
        lines,
        [
            (4, "broken_line"),
            (5, "broken_line"),
            (6, "sentinel"),
            (7, "not_taken")
        ]
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

const SOURCE: &str = "version: 1
name: {zh: 电信 AEP, en: CTWing AEP}
check: {kind: header, header: X-Token}
secret_file: aep.secret
device: $.deviceId
payload: {path: $.payload}
profile: nb-level
";

const PROFILE: &str = "version: 1\nname: {zh: 液位, en: level}\nprotocol: http\n";

/// What `check` says, line by line, with the folder left out; it ends with 1.
fn faults(dir: &std::path::Path) -> Vec<String> {
    let config = dir.join("onemap.toml");
    let checked = run(dir, &["check", "--config", config.to_str().unwrap()]);
    assert!(!checked.status.success(), "{checked:?}");
    let said = String::from_utf8(checked.stdout).unwrap();
    let folder = format!("{}/", dir.display());
    said.lines().map(|line| line.replace(&folder, "")).collect()
}

#[test]
fn check_finds_what_a_file_names_and_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    for sub in ["push", "profiles", "rules"] {
        std::fs::create_dir(dir.join(sub)).unwrap();
    }
    std::fs::write(dir.join("onemap.toml"), CONFIG).unwrap();
    std::fs::write(dir.join("push/aep.yaml"), SOURCE).unwrap();
    let said = faults(dir);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].starts_with("push/aep.yaml:4:") && said[0].contains("aep.secret"),
        "{said:?}"
    );
    assert!(
        said[1].starts_with("push/aep.yaml:7:") && said[1].contains("nb-level"),
        "{said:?}"
    );
    std::fs::write(dir.join("push/aep.secret"), " \n").unwrap();
    std::fs::write(dir.join("profiles/nb-level.yaml"), PROFILE).unwrap();
    let said = faults(dir);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].ends_with("`aep.secret` is empty"), "{said:?}");
    std::fs::write(dir.join("push/aep.secret"), "s").unwrap();

    // Devices are known once a server has run here.
    let config = dir.join("onemap.toml");
    let with_acl =
        format!("{CONFIG}[[mqtt.acl]]\nwho = \"devices\"\n[[mqtt.acl]]\nwho = \"device:pump-9\"\n");
    std::fs::write(&config, &with_acl).unwrap();
    let check = || run(dir, &["check", "--config", config.to_str().unwrap()]);
    assert!(
        check().status.success(),
        "nobody has said yet which devices there are"
    );
    let server = Server::start_in(dir);
    server.add_device("pump-1", &json!({}));
    let said = faults(dir);
    let line = 1 + with_acl.lines().position(|l| l.contains("pump-9")).unwrap();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].starts_with(&format!("onemap.toml:{line}: ")) && said[0].contains("`pump-9`"),
        "{said:?}"
    );
    server.add_device("pump-9", &json!({}));
    assert!(check().status.success(), "the running server knows it");
}

#[test]
fn check_finds_what_stands_twice_and_what_stops_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    for sub in ["push", "profiles", "rules"] {
        std::fs::create_dir(dir.join(sub)).unwrap();
    }
    let config = dir.join("onemap.toml");
    std::fs::write(&config, CONFIG).unwrap();
    let dust = crate::alarms::DUST;
    let write = |name: &str, text: &[u8]| std::fs::write(dir.join(name), text).unwrap();
    write("rules/dust.yaml", dust.as_bytes());
    write("rules/more.yaml", dust.as_bytes());
    write(
        "rules/key.yaml",
        dust.replace("pm10-dust", "b")
            .replace("    for: 2s\n", "    for: 2s\n    for: 3s\n")
            .as_bytes(),
    );
    write("rules/bad name.yaml", dust.replace("pm10-dust", "c").as_bytes());
    write(
        "rules/bare.yaml",
        dust.replace("pm10-dust", "d")
            .replace("    panels: {forecast: pm10}\n", "")
            .as_bytes(),
    );
    write("profiles/level.yaml", PROFILE.as_bytes());
    write("profiles/level.yml", PROFILE.as_bytes());
    write(
        "profiles/key.yaml",
        format!("{PROFILE}protocol: http\n").as_bytes(),
    );
    write(
        "push/key.yaml",
        SOURCE.replace("device:", "device: $.a\ndevice:").as_bytes(),
    );
    write("push/latin.yaml", b"version: 1\nname: {zh: \xe9}\n");
    std::fs::create_dir(dir.join("push/folder.yaml")).unwrap();
    let told = faults(dir);
    let (under, said): (Vec<_>, Vec<_>) = told.into_iter().partition(|line| line.starts_with("    "));
    for (what, n) in [
        ("`pm10-dust`", 1),
        ("字段 `for` 写了两次", 1),
        ("文件名", 1),
        ("未说明“可预”", 1),
    ] {
        let in_chinese = under.iter().filter(|line| line.contains(what));
        assert_eq!(in_chinese.count(), n, "{what}: {under:#?}");
    }
    assert_eq!(
        under.len(),
        4,
        "what is of rules is told in both languages: {under:#?}"
    );
    for (place, what) in [
        ("rules/more.yaml:4:", "pm10-dust"),
        ("rules/key.yaml:10:", "for"),
        ("rules/bad name.yaml:1:", "name"),
        ("rules/bare.yaml:4:", "shows no forecast"),
        ("profiles/level.yml:1:", "level.yaml"),
        ("profiles/key.yaml:4:", "protocol"),
        ("push/key.yaml:6:", "device"),
        ("push/latin.yaml:2:", "UTF-8"),
        ("push/folder.yaml: ", "cannot be read"),
    ] {
        assert!(
            said.iter()
                .any(|line| line.starts_with(place) && line.contains(what)),
            "{place} {what}: {said:#?}"
        );
    }
    assert_eq!(said.len(), 9, "{said:#?}");
    // A start says the same, and does not happen.
    let started = run(dir, &["serve", "--config", config.to_str().unwrap()]);
    assert!(!started.status.success());
    let said = String::from_utf8(started.stderr).unwrap();
    assert!(
        said.contains("level.yml:1:") && said.contains("latin.yaml:2:"),
        "{said}"
    );

    // A configuration that cannot be used is said where programs read, too.
    std::fs::write(&config, format!("{CONFIG}[http]\nlisten = \"[::1]:0\"\n")).unwrap();
    let checked = run(dir, &["--json", "check", "--config", config.to_str().unwrap()]);
    assert!(!checked.status.success());
    let said: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    let line = 1 + CONFIG.lines().count();
    let fault = said["faults"][0].as_str().unwrap();
    assert!(
        said["ok"] == false && fault.contains(&format!("onemap.toml:{line}: ")),
        "{said}"
    );
}

#[test]
fn a_reader_that_has_gone_away_ends_a_command_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = Command::new(binary("onemap"))
        .arg("--data-dir")
        .arg(folder.path())
        .arg("check")
        .stdout(writer)
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}
