//! Backups and restores, and looks at every row, with the server running and without.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use crate::alarms::DUST;
use crate::server::{CONFIG, Server, binary, wait_for};

fn run(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("onemap"));
    command.arg("--data-dir").arg(dir);
    let config = dir.join("onemap.toml");
    if config.exists() {
        command.arg("--config").arg(config);
    }
    command.args(arguments).output().unwrap()
}

fn said(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn now() -> i64 {
    onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms()
}

/// A city of two stations with an hour of readings, a revision, an alert, a refusal.
fn city(server: &Server) {
    for id in ["air-1", "air-2"] {
        server.add_device(id, &json!({"division": "630102001"}));
    }
    let start = now() - 3_600_000;
    for i in 0..60i64 {
        say(server, "air-1", start + i * 60_000, 100.0 + i as f64);
    }
    say(server, "air-1", start, 7.5);
    let far = json!({"device": "air-1", "readings": [{"q": "flux", "t": start, "v": 1}]});
    server.post("/api/v1/readings", &far);
    say(server, "air-2", now(), 400.0);
    wait_for("the dust alert", Duration::from_secs(15), || {
        say(server, "air-2", now(), 401.0);
        let open = server.get("/api/v1/alerts?state=open");
        (!open["items"].as_array()?.is_empty()).then_some(())
    });
    server.caught_up();
}

fn say(server: &Server, device: &str, t: i64, v: f64) {
    server.post(
        "/api/v1/readings",
        &json!({"device": device, "readings": [{"q": "pm10", "t": t, "v": v}]}),
    );
}

fn digests(dir: &Path) -> Value {
    let mut digest = said(&run(dir, &["digest", "--json"]));
    digest.as_object_mut().unwrap().remove("position");
    digest
}

fn server() -> Server {
    Server::with_rules(&[("dust", DUST)])
}

#[test]
fn a_backup_of_the_running_server_becomes_the_same_city() {
    let mut server = server();
    city(&server);
    let folder = tempfile::tempdir().unwrap();
    let (backup, new) = (folder.path().join("backup"), folder.path().join("new"));
    let (backup, new) = (backup.as_path(), new.as_path());
    let into = ["backup", backup.to_str().unwrap(), "--json"];
    let made = said(&run(&server.dir, &into));
    assert_eq!(made["state"], "done");
    assert!(made["cursors"]["history"].as_u64() <= made["journal"]["last"].as_u64());
    assert!(!backup.join("admin.token").exists());
    let objects = || std::fs::read_dir(backup.join("objects")).unwrap().count();
    let token = server.token.as_bytes();
    for object in std::fs::read_dir(backup.join("objects")).unwrap() {
        let bytes = std::fs::read(object.unwrap().path()).unwrap();
        assert!(
            !bytes.windows(token.len()).any(|part| part == token),
            "the owner's token is in the backup"
        );
    }
    // The next one writes what has changed; nothing of before is left over.
    let again = said(&run(&server.dir, &into));
    assert!(
        again["bytes_written"].as_u64() < again["bytes"].as_u64(),
        "{again}"
    );
    assert!(objects() <= again["files"].as_u64().unwrap() as usize);
    // A city that goes on is not the one of the backup.
    server.stop();
    let then = digests(&server.dir);
    let restore = ["restore", backup.to_str().unwrap(), "--json"];
    let restored = said(&run(new, &restore));
    assert_eq!(restored["journal"]["last"], again["journal"]["last"]);
    assert!(refused(&run(new, &restore)).contains("is not empty"));
    assert_eq!(digests(new), then);
    assert_eq!(said(&run(new, &["history", "verify", "--json"]))["ok"], true);

    let restored = Server::start_in(new);
    assert_ne!(restored.token, server.token);
    assert_eq!(restored.latest("air-2", "pm10").unwrap()["value"], 401.0);
    let open = restored.get("/api/v1/alerts?state=open");
    assert_eq!(open["items"].as_array().unwrap().len(), 1);
    assert!(
        !restored.get("/api/v1/quarantine")["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    // It goes on, and not in the backup.
    say(&restored, "air-1", now(), 55.0);
    restored.caught_up();
    assert_eq!(restored.latest("air-1", "pm10").unwrap()["value"], 55.0);
    drop(restored);
    let other = folder.path().join("other");
    said(&run(&other, &restore));
    assert_eq!(digests(&other), then);
    // A stopped folder is backed up by the command itself.
    let cold = folder.path().join("cold");
    said(&run(&other, &["backup", cold.to_str().unwrap(), "--json"]));
    let third = folder.path().join("third");
    said(&run(&third, &["restore", cold.to_str().unwrap(), "--json"]));
    assert_eq!(digests(&third), then);
}

#[test]
fn what_is_no_whole_backup_is_not_restored() {
    let mut server = Server::new();
    server.add_device("air-1", &json!({}));
    say(&server, "air-1", now(), 5.0);
    server.caught_up();
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    let into = ["backup", backup.to_str().unwrap()];
    // Only the local owner's role makes them, and into a folder of their own.
    let viewer = server.post("/api/v1/tokens", &json!({"role": "system_admin"}));
    let order = json!({"dir": backup}).to_string();
    let (status, _) = crate::server::request(
        &server.http,
        viewer["token"].as_str().unwrap(),
        "POST",
        "/api/v1/backup",
        Some(&order),
    );
    assert_eq!(status, 403);
    let inside = server.dir.join("backup");
    let (status, answer) = server.request(
        "POST",
        "/api/v1/backup",
        Some(&json!({"dir": inside}).to_string()),
    );
    assert_eq!((status, &answer["code"]), (409, &json!("backup_refused")));
    std::fs::create_dir(folder.path().join("else")).unwrap();
    std::fs::write(folder.path().join("else/letter"), "x").unwrap();
    let elsewhere = folder.path().join("else");
    assert!(refused(&run(&server.dir, &["backup", elsewhere.to_str().unwrap()])).contains("no backup"));

    assert!(run(&server.dir, &into).status.success());
    server.stop();
    let new = folder.path().join("new");
    let restore = || run(&new, &["restore", backup.to_str().unwrap()]);
    let manifest = backup.join("manifest.json");
    let whole = std::fs::read(&manifest).unwrap();
    // Cut short: everything is there but the last word.
    std::fs::remove_file(&manifest).unwrap();
    assert!(refused(&restore()).contains("no finished backup"));
    std::fs::write(
        &manifest,
        String::from_utf8_lossy(&whole).replace("\"format\": 1", "\"format\": 99"),
    )
    .unwrap();
    let newer = refused(&restore());
    assert!(
        newer.contains("layout 99") && newer.contains("newer program"),
        "{newer}"
    );
    std::fs::write(&manifest, &whole).unwrap();
    // A turned bit in any object, and a lost one.
    for object in std::fs::read_dir(backup.join("objects")).unwrap() {
        let path = object.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let mut turned = bytes.clone();
        let Some(byte) = turned.last_mut() else { continue };
        *byte ^= 1;
        std::fs::remove_file(&path).unwrap();
        assert!(refused(&restore()).contains("damaged, nothing is restored"));
        std::fs::write(&path, &turned).unwrap();
        assert!(refused(&restore()).contains("it is not what was written"));
        std::fs::write(&path, &bytes).unwrap();
    }
    assert!(!new.exists());
    assert!(restore().status.success());
    // A restore that was cut short is not served.
    std::fs::write(new.join("restore.part"), "").unwrap();
    assert!(refused(&run(&new, &["serve"])).contains("did not come to its end"));
}

#[test]
fn every_row_is_looked_at_with_a_server_and_without() {
    let mut server = server();
    city(&server);
    wait_for("a checkpoint of it", Duration::from_secs(20), || {
        let system = server.get("/api/v1/system");
        (system["cursors"]["history"].as_u64()? > 60).then_some(())
    });
    let running = said(&run(&server.dir, &["history", "verify", "--json"]));
    assert_eq!(
        (&running["ok"], &running["n_faults"]),
        (&json!(true), &json!(0)),
        "{running}"
    );
    assert!(running["rows"].as_u64().unwrap() > 4);
    let stat = said(&run(&server.dir, &["history", "stat", "--json"]));
    assert_eq!((&stat["series"], &stat["damaged"]), (&json!(2), &json!(0)));
    assert!(stat["format"].as_u64().unwrap() >= 2);
    assert!(
        stat["points"].as_u64().unwrap() >= 62 && stat["revisions"] == 1,
        "{stat}"
    );
    let viewer = server.post("/api/v1/tokens", &json!({"role": "viewer"}));
    for path in ["/api/v1/history/stat", "/api/v1/history/verify", "/api/v1/backup"] {
        let token = viewer["token"].as_str().unwrap();
        assert_eq!(
            crate::server::request(&server.http, token, "GET", path, None).0,
            403,
            "{path}"
        );
    }
    server.stop();
    let stopped = run(&server.dir, &["history", "verify"]);
    assert!(stopped.status.success());
    assert!(String::from_utf8_lossy(&stopped.stdout).contains("nothing is wrong"));
    // A journal that does not reach as far as the history: it was taken away, and a start would say so.
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("again");
    said(&run(
        &server.dir,
        &["journal", "replay", "--into", into.to_str().unwrap()],
    ));
    std::fs::write(into.join("onemap.toml"), CONFIG).unwrap();
    let ahead = run(&into, &["history", "verify", "--json"]);
    assert_eq!(ahead.status.code(), Some(1));
    let ahead: Value = serde_json::from_slice(&ahead.stdout).unwrap();
    assert!(
        ahead["faults"][0]["what"]
            .as_str()
            .unwrap()
            .contains("the journal ends at 0"),
        "{ahead}"
    );
    assert!(
        ahead["repair"]
            .as_str()
            .unwrap()
            .contains("journal replay --into"),
        "{ahead}"
    );
}
