//! Whose a data folder is, what an answer says of what is refused later, and who may see and hold what.

use std::fs::Permissions;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{CONFIG, Server, request, wait_for};

const SOON: Duration = Duration::from_secs(30);

fn open_to_others(dir: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let Ok(meta) = entry.metadata() else { continue };
        if meta.permissions().mode() & 0o077 != 0 {
            found.push(format!(
                "{} {:o}",
                entry.path().display(),
                meta.permissions().mode()
            ));
        }
        if meta.is_dir() {
            open_to_others(&entry.path(), found);
        }
    }
}

#[test]
fn a_data_folder_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("onemap.toml");
    std::fs::write(&config, CONFIG).unwrap();
    let dir = folder.path().join("data");
    let start = || {
        let mut command = std::process::Command::new(crate::server::binary("onemap"));
        command.arg("--data-dir").arg(&dir).arg("--config").arg(&config);
        command
    };
    let made = start().args(["device", "add", "air-1"]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let mode = std::fs::metadata(&dir).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    std::fs::copy(&config, dir.join("onemap.toml")).unwrap();
    std::fs::set_permissions(dir.join("onemap.toml"), Permissions::from_mode(0o600)).unwrap();
    let mut server = Server::start_in(&dir);
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms();
    let readings: Vec<Value> = (0..400)
        .map(|i| json!({"q": "pm10", "t": now - i * 1000, "v": i % 50}))
        .collect();
    server.post(
        "/api/v1/readings",
        &json!({"device": "air-1", "readings": readings}),
    );
    server.caught_up();
    let mut found = Vec::new();
    open_to_others(&dir, &mut found);
    server.stop();
    open_to_others(&dir, &mut found);
    assert!(found.is_empty(), "{found:#?}");
    // A file for the caller is as his other files are.
    let out = folder.path().join("out.csv");
    let exported = start().arg("export").arg("--out").arg(&out).output().unwrap();
    assert!(exported.status.success(), "{exported:?}");
    let probe = folder.path().join("probe");
    std::fs::write(&probe, "x").unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&out), mode(&probe));
    // Wider is told.
    std::fs::set_permissions(dir.join("ledger.sqlite"), Permissions::from_mode(0o644)).unwrap();
    let log = folder.path().join("log");
    let mut server = Server::start_with(&dir, |command| {
        command.stderr(std::fs::File::create(&log).unwrap());
    });
    server.stop();
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(
        log.contains("may read 1 files") && log.contains("ledger.sqlite"),
        "{log}"
    );
}

/// Writes lines; status and the header that says where they stand.
fn write(server: &Server, token: &str, lines: &str) -> (u16, Option<u64>) {
    let request = ureq::http::Request::builder()
        .method("POST")
        .uri(format!("{}/api/v2/write?precision=ms", server.http))
        .header("authorization", format!("Token {token}"))
        .body(lines.to_owned())
        .unwrap();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let mut response = agent.run(request).unwrap();
    let mut body = String::new();
    response.body_mut().as_reader().read_to_string(&mut body).unwrap();
    let position = response.headers().get("onemap-position");
    let position = position.map(|text| text.to_str().unwrap().parse().unwrap());
    (response.status().as_u16(), position)
}

#[test]
fn what_is_refused_of_lines_after_their_204_is_found_by_the_position_that_it_named() {
    let server = Server::new();
    let token = server.add_device("air-1", &json!({}));
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms();
    let (status, first) = write(&server, &token, &format!("pm10 value=20 {now}"));
    assert_eq!(status, 204);
    let ahead = now + 86_400_000;
    let lines = format!(
        "pm10 value=-999 {now}\npm10 value=21 {}\npm10 value=22 {ahead}",
        now + 1
    );
    let (status, position) = write(&server, &token, &lines);
    assert_eq!(status, 204);
    assert!(position > first && first.is_some(), "{first:?} {position:?}");
    let of = |position: Option<u64>| {
        let path = format!("/api/v1/quarantine?position={}", position.unwrap());
        server.get(&path)["items"].as_array().unwrap().clone()
    };
    let reasons = wait_for("what was refused", SOON, || {
        let items = of(position);
        let mut reasons: Vec<String> = items
            .iter()
            .map(|item| item["reason"].as_str().unwrap().to_owned())
            .collect();
        reasons.sort();
        (reasons.len() == 2).then_some(reasons)
    });
    assert_eq!(reasons, ["future_stamp", "sentinel"]);
    assert!(of(first).is_empty());
    // A body of which some was refused at the door is kept, too.
    let (status, position) = write(&server, &token, &format!("pm10 value= {now}\npm10 value=1 {now}"));
    assert_eq!(status, 400);
    assert!(position.is_some());
}

#[test]
fn a_revoked_child_is_not_heard_through_its_gateway() {
    let server = Server::new();
    let gateway = server.add_device("gw", &json!({"is_gateway": true}));
    server.add_device("pump-1", &json!({"gateway": "gw"}));
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms();
    let line = |value: i64| format!("pm10,device=pump-1 value={value} {}", now + value);
    assert_eq!(write(&server, &gateway, &line(1)).0, 204);
    server.caught_up();
    server.request("DELETE", "/api/v1/devices/pump-1/token", None);
    server.caught_up();
    assert_eq!(write(&server, &gateway, &line(2)).0, 400);
    server.publish(&gateway, "v1/gateway/telemetry", r#"{"pump-1":[{"pm2_5":3}]}"#);
    wait_for("the refusals", SOON, || {
        let kept = server.get("/api/v1/quarantine?reason=revoked");
        (kept["items"].as_array()?.len() == 2).then_some(())
    });
    assert_eq!(server.latest("pump-1", "pm10").unwrap()["value"], 1.0);
    assert!(server.latest("pump-1", "pm2_5").is_none());
    // With a token of its own it is in again.
    server.post("/api/v1/devices/pump-1/token", &json!({}));
    server.caught_up();
    assert_eq!(write(&server, &gateway, &line(4)).0, 204);
    wait_for("its value", SOON, || {
        (server.latest("pump-1", "pm10")?["value"] == 4.0).then_some(())
    });
}

#[test]
fn who_audits_a_division_sees_what_is_in_it() {
    let server = Server::new();
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms();
    for (device, division) in [("east", "630102"), ("west", "630103")] {
        server.add_device(device, &json!({"division": division}));
        let readings = json!([{"q": "pm10", "t": now, "v": 1}]);
        server.post(
            "/api/v1/readings",
            &json!({"device": device, "readings": readings}),
        );
    }
    server.caught_up();
    let token = |body: Value| {
        server.post("/api/v1/tokens", &body)["token"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let city = token(json!({"role": "audit_admin"}));
    let east = token(json!({"role": "audit_admin", "division": "630102"}));
    let get = |token: &str, path: &str| request(&server.http, token, "GET", path, None);
    assert_eq!(get(&city, "/api/v1/history/stat").1["series"], 2);
    let (status, own) = get(&east, "/api/v1/history/stat");
    assert_eq!(
        (status, &own["series"], &own["points"]),
        (200, &json!(1), &json!(1)),
        "{own}"
    );
    assert!(own.get("weeks").is_none() && own.get("journal").is_none());
    let (status, own) = get(&east, "/api/v1/history/verify");
    assert_eq!((status, &own["n_faults"]), (200, &json!(0)), "{own}");
    assert!(own.get("journal").is_none());
    assert_eq!(get(&east, "/api/v1/digest").0, 403);
    assert_eq!(get(&city, "/api/v1/digest").0, 200);
}
