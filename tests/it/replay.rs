//! The same journal always becomes the same latest values, history and transitions.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::alarms::DUST;
use crate::server::{Server, binary, wait_for};

const SILENCE: &str = "
version: 1
rules:
  - id: air-silent
    name: {zh: 空气站静默, en: Air station silent}
    severity: minor
    applies_to: {kind: air_station}
    when: {no_data: {for: 3 x cadence}}
    advice: {zh: 检查供电与网络, en: Check power and network}
";

fn onemap(dir: &std::path::Path, arguments: &[&str]) -> Value {
    let output = Command::new(binary("onemap"))
        .arg("--data-dir")
        .arg(dir)
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_replay_into_an_empty_folder_gives_equal_digests() {
    let server = Server::with_rules(&[("dust", DUST), ("silence", SILENCE)]);
    let district = json!({"code": "630102", "kind": "division", "name": "城东区",
        "geometry": {"type": "Polygon", "coordinates": [[[101.7,36.5],[101.9,36.5],[101.9,36.7],[101.7,36.7],[101.7,36.5]]]}});
    server.post("/api/v1/entities", &district);
    server.add_device(
        "air-1",
        &json!({"cadence_s": 2, "position": {"lon": 101.8, "lat": 36.6}}),
    );
    server.add_device(
        "air-2",
        &json!({"cadence_s": 1, "position": {"lon": 101.6, "lat": 36.6}}),
    );
    let now = || onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms();
    let post = |server: &Server, device: &str, t: i64, q: &str, v: Value| {
        server.post(
            "/api/v1/readings",
            &json!({"device": device, "readings": [{"q": q, "t": t, "v": v}]}),
        );
    };
    // Readings in order, late, doubled, revised, refused.
    let start = now();
    for i in 0..60i64 {
        post(&server, "air-1", start - (60 - i) * 1000, "pm10", json!(100 + i));
    }
    post(&server, "air-1", start - 600_000, "pm10", json!(50));
    post(&server, "air-1", start - 5_000, "pm10", json!(55));
    post(&server, "air-1", start - 5_000, "pm10", json!(55));
    post(&server, "air-1", start + 86_400_000, "pm10", json!(1));
    post(&server, "air-1", start, "flux", json!(1));
    post(&server, "air-1", start, "pm10", json!("NaN"));
    // An alert, acknowledged; then kill -9 in the middle.
    post(&server, "air-2", now(), "pm10", json!(400));
    let alert = wait_for("the dust alert", Duration::from_secs(15), || {
        post(&server, "air-2", now(), "pm10", json!(401));
        let open = server.get("/api/v1/alerts?state=open");
        open["items"]
            .as_array()?
            .iter()
            .find(|a| a["rule"] == "pm10-dust")
            .cloned()
    });
    let id = alert["id"].as_str().unwrap().to_owned();
    server.post(
        &format!("/api/v1/alerts/{id}/ack"),
        &json!({"name": "王", "note": "n", "minutes": 1}),
    );
    let mut server = server.kill_and_restart();
    // A silence.
    wait_for("a silence alert", Duration::from_secs(20), || {
        let open = server.get("/api/v1/alerts?state=open");
        open["items"]
            .as_array()?
            .iter()
            .any(|a| a["rule"] == "air-silent")
            .then_some(())
    });
    // A rule change in the middle, which withdraws or clears what the old rule had opened.
    let changed = DUST
        .replace("250 ug/m3", "120 ug/m3")
        .replace("200 ug/m3", "90 ug/m3");
    let (status, _) = server.request("PUT", "/api/v1/rules/dust", Some(&changed));
    assert_eq!(status, 200);
    wait_for("an alert of the changed rule", Duration::from_secs(15), || {
        post(&server, "air-1", now(), "pm10", json!(150));
        let open = server.get("/api/v1/alerts?state=open");
        open["items"]
            .as_array()?
            .iter()
            .any(|a| a["rule"] == "pm10-dust" && a["value"] == 150.0)
            .then_some(())
    });
    server.caught_up();
    server.stop();

    let live = onemap(&server.dir, &["digest", "--json"]);
    let copy = tempfile::tempdir().unwrap();
    let into = copy.path().join("again");
    let replayed = onemap(
        &server.dir,
        &["journal", "replay", "--into", into.to_str().unwrap()],
    );
    assert_eq!(replayed["digest"], live, "a replay differs from the live run");
    assert_eq!(onemap(&into, &["digest", "--json"])["history"], live["history"]);
    for part in ["latest", "history", "transitions"] {
        assert_eq!(live[part].as_str().unwrap().len(), 64);
    }
    let stat = onemap(&server.dir, &["journal", "stat"]);
    assert!(stat["records"]["act"].as_u64().unwrap() >= 1 && stat["records"]["rule"].as_u64().unwrap() >= 3);
    // The digest says something: one more reading changes it.
    let server = Server::start_in(&server.dir);
    post(&server, "air-1", now(), "pm10", json!(77));
    server.caught_up();
    let (status, after) = server.request("GET", "/api/v1/digest", None);
    assert_eq!(status, 200);
    assert_ne!(after["history"], live["history"]);
    assert_ne!(after["latest"], live["latest"]);
}
