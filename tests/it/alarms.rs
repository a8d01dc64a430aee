//! From a number over a line to an acknowledged alert, and the feed that tells of it.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Process, Server, request, wait_for};

pub const DUST: &str = "
version: 1
rules:
  - id: pm10-dust
    name: {zh: 扬尘, en: Dust}
    severity: major
    applies_to: {kind: air_station}
    when: {above: {quantity: pm10, raise: 250 ug/m3, clear: 200 ug/m3}}
    for: 2s
    advice: {zh: 派人查看, en: Send someone}
    panels: {forecast: pm10}
";

fn post(server: &Server, device: &str, quantity: &str, value: f64) {
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms();
    let body = json!({"device": device, "readings": [{"q": quantity, "t": now, "v": value}]});
    server.post("/api/v1/readings", &body);
}

fn feed(server: &Server, after: Option<u64>) -> Process {
    let after = after.map_or(String::new(), |n| format!("?after={n}"));
    let mut curl = Command::new("curl");
    curl.args(["-sN", "-H", &format!("Authorization: Bearer {}", server.token)]);
    curl.arg(format!("{}/feeds/alerts{after}", server.http));
    Process::start(curl)
}

fn next_transition(feed: &Process) -> Value {
    loop {
        let line = feed.line(Duration::from_secs(15)).expect("the feed speaks");
        if let Some(data) = line.strip_prefix("data: ") {
            return serde_json::from_str(data).unwrap();
        }
    }
}

#[test]
fn an_alert_is_raised_told_acknowledged_and_cleared() {
    let server = Server::with_rules(&[("dust", DUST)]);
    server.add_device("air-1", &json!({"cadence_s": 5}));
    let stream = feed(&server, None);
    post(&server, "air-1", "pm10", 300.0);
    let raised = next_transition(&stream);
    assert_eq!(
        (&raised["edge"], &raised["rule"]),
        (&json!("raised"), &json!("pm10-dust"))
    );
    let id = raised["alert"].as_str().unwrap().to_owned();
    let alert = server.get("/api/v1/alerts?state=open")["items"][0].clone();
    assert_eq!(alert["id"], json!(id));
    assert_eq!(
        (&alert["state"], &alert["condition"], &alert["value"]),
        (&json!("open"), &json!("abnormal"), &json!(300.0))
    );
    assert_eq!(server.latest("air-1", "pm10").unwrap()["state"], "abnormal");

    for (body, code) in [
        (json!({"name": "", "minutes": 5}), "no_name"),
        (json!({"name": "王", "minutes": 0}), "bad_expiry"),
        (json!({"name": "王", "minutes": 100_000}), "bad_expiry"),
        (json!({"name": "王"}), "bad_expiry"),
        (json!({"name": "王", "minutes": 5, "colour": 1}), "bad_body"),
    ] {
        let (status, problem) = server.request(
            "POST",
            &format!("/api/v1/alerts/{id}/ack"),
            Some(&body.to_string()),
        );
        assert_eq!((status, problem["code"].as_str()), (400, Some(code)), "{body}");
    }
    let acked = server.post(
        &format!("/api/v1/alerts/{id}/ack"),
        &json!({"name": "王队", "note": "已派人", "minutes": 30}),
    );
    assert_eq!(acked["acknowledged"]["name"], "王队");
    let told = next_transition(&stream);
    assert_eq!(
        (&told["edge"], &told["act"]["name"]),
        (&json!("acknowledged"), &json!("王队"))
    );

    post(&server, "air-1", "pm10", 150.0);
    let cleared = next_transition(&stream);
    assert_eq!(cleared["edge"], "cleared");
    drop(stream);

    // A reader that has the first transition gets exactly the others.
    let resumed = feed(&server, raised["seq"].as_u64());
    assert_eq!(next_transition(&resumed)["edge"], "acknowledged");
    assert_eq!(next_transition(&resumed)["edge"], "cleared");
    let (status, problem) = server.request(
        "POST",
        &format!("/api/v1/alerts/{id}/ack"),
        Some(r#"{"name":"王","minutes":5}"#),
    );
    assert_eq!((status, problem["code"].as_str()), (409, Some("alert_ended")));
    let story = server.get(&format!("/api/v1/alerts/{id}"));
    assert_eq!(story["history"].as_array().unwrap().len(), 3);
}

#[test]
fn a_silent_device_is_unknown_and_then_an_alert() {
    let silence = "
version: 1
rules:
  - id: air-silent
    name: {zh: 空气站静默, en: Air station silent}
    severity: minor
    applies_to: {kind: air_station}
    when: {no_data: {for: 3 x cadence}}
    advice: {zh: 检查供电与网络, en: Check power and network}
";
    let server = Server::with_rules(&[("silence", silence)]);
    server.add_device("air-1", &json!({"cadence_s": 1}));
    post(&server, "air-1", "pm10", 50.0);
    let open = wait_for("the silence alert", Duration::from_secs(15), || {
        server.get("/api/v1/alerts?state=open")["items"]
            .as_array()?
            .first()
            .cloned()
    });
    assert_eq!(open["rule"], "air-silent");
    let device = server.get("/api/v1/devices/air-1");
    assert_ne!(
        device["status"], "normal",
        "unknown is never shown as normal: {device}"
    );
    assert_eq!(device["stale"], true);
    wait_for("the clearing once it speaks", Duration::from_secs(15), || {
        post(&server, "air-1", "pm10", 51.0);
        server.get("/api/v1/alerts?state=open")["items"]
            .as_array()?
            .is_empty()
            .then_some(())
    });
}

#[test]
fn a_faulty_rule_file_is_refused_with_its_line_and_changes_nothing() {
    let server = Server::with_rules(&[("dust", DUST)]);
    let faulty = DUST.replace("severity: major", "severity: huge");
    let (status, problem) = server.request("PUT", "/api/v1/rules/dust", Some(&faulty));
    assert_eq!(status, 422, "{problem}");
    assert_eq!(problem["errors"][0]["line"], 6, "{problem}");
    assert_eq!(server.get("/api/v1/rules")["items"][0]["text"], DUST);
    // A device that is not there would be a rule that never looks, unless that is meant.
    let of_nobody = DUST.replace("kind: air_station", "device: air-0");
    assert_ne!(of_nobody, DUST);
    let (status, problem) = server.request("PUT", "/api/v1/rules/dust", Some(&of_nobody));
    assert_eq!(
        (status, &problem["code"]),
        (422, &json!("bad_rules")),
        "{problem}"
    );
    let row = &problem["errors"][0];
    assert!(
        row["message"]
            .as_str()
            .unwrap()
            .starts_with("no device is called `air-0`"),
        "{problem}"
    );
    assert!(
        row["message_zh"].as_str().unwrap().contains("`air-0`"),
        "{problem}"
    );
    assert!(
        problem["detail_zh"].as_str().unwrap().contains("规则"),
        "{problem}"
    );
    let (status, said) = server.request("PUT", "/api/v1/rules/dust?unknown=wait", Some(&of_nobody));
    assert_eq!(status, 200, "{said}");
    let changed = DUST
        .replace("250 ug/m3", "100 ug/m3")
        .replace("200 ug/m3", "80 ug/m3");
    let (status, _) = server.request("PUT", "/api/v1/rules/dust", Some(&changed));
    assert_eq!(status, 200);
    let server = server.kill_and_restart();
    assert_eq!(
        server.get("/api/v1/rules")["items"][0]["text"],
        changed.as_str(),
        "a changed rule survives a restart"
    );
}

#[test]
fn a_viewer_of_one_district_sees_and_does_only_his_own() {
    let server = Server::with_rules(&[("dust", DUST)]);
    server.add_device("east", &json!({"division": "630102"}));
    server.add_device("west", &json!({"division": "630104"}));
    post(&server, "east", "pm10", 300.0);
    post(&server, "west", "pm10", 300.0);
    wait_for("both alerts", Duration::from_secs(15), || {
        (server.get("/api/v1/alerts?state=open")["items"].as_array()?.len() == 2).then_some(())
    });
    let viewer = server.post("/api/v1/tokens", &json!({"role": "viewer", "division": "630102"}));
    let viewer = viewer["token"].as_str().unwrap();
    let get = |path: &str| crate::server::request(&server.http, viewer, "GET", path, None);
    assert_eq!(get("/api/v1/devices").1["items"].as_array().unwrap().len(), 1);
    assert_eq!(get("/api/v1/latest").1["items"][0]["device"], "east");
    assert_eq!(get("/api/v1/series").1["items"].as_array().unwrap().len(), 1);
    assert_eq!(get("/api/v1/devices/west").0, 404);
    let alerts = get("/api/v1/alerts").1;
    assert_eq!(alerts["items"].as_array().unwrap().len(), 1);
    let own = alerts["items"][0]["id"].as_str().unwrap().to_owned();
    for (method, path, body) in [
        (
            "POST",
            format!("/api/v1/alerts/{own}/ack"),
            r#"{"name":"x","minutes":5}"#,
        ),
        (
            "POST",
            "/api/v1/devices".to_owned(),
            r#"{"id":"n","name":"n","kind":"k"}"#,
        ),
        ("POST", "/api/v1/tokens".to_owned(), r#"{"role":"viewer"}"#),
        (
            "POST",
            "/api/v1/readings".to_owned(),
            r#"{"device":"east","readings":[]}"#,
        ),
        ("PUT", "/api/v1/rules/x".to_owned(), ""),
        ("GET", "/api/v1/quarantine".to_owned(), ""),
        ("GET", "/api/v1/digest".to_owned(), ""),
    ] {
        let (status, problem) = crate::server::request(&server.http, viewer, method, &path, Some(body));
        assert_eq!(
            (status, problem["code"].as_str()),
            (403, Some("forbidden")),
            "{method} {path}"
        );
    }
}

#[test]
fn a_day_old_backlog_is_kept_and_told_to_nobody_as_news() {
    let at_once = DUST.replace("    for: 2s\n", "");
    let server = Server::with_rules(&[("dust", &at_once)]);
    let token = server.add_device("air-1", &json!({"cadence_s": 60}));
    server.add_device("air-2", &json!({"cadence_s": 60}));
    let stream = feed(&server, None);
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms();
    // The device does not say that it is late.
    let old = now - 25 * 3_600_000;
    let path = format!("/api/v1/{token}/telemetry");
    let telemetry = json!({"ts": old, "values": {"pm10": 400.0}}).to_string();
    assert_eq!(request(&server.http, "", "POST", &path, Some(&telemetry)).0, 200);
    post(&server, "air-2", "pm10", 300.0);
    let raised = next_transition(&stream);
    assert_eq!(
        (&raised["edge"], &raised["series"]["device"]),
        (&json!("raised"), &json!("air-2")),
        "the older value came first and is no news"
    );
    let latest = server.latest("air-1", "pm10").unwrap();
    assert_eq!(
        (&latest["value"], &latest["quality"], &latest["state"]),
        (&json!(400.0), &json!(["resent", "backfill"]), &json!("unknown"))
    );
    let alerts = server.get("/api/v1/alerts?state=open");
    assert_eq!(alerts["items"].as_array().unwrap().len(), 1, "{alerts}");
    // The same value now is news.
    post(&server, "air-1", "pm10", 400.0);
    assert_eq!(next_transition(&stream)["series"]["device"], "air-1");
}
