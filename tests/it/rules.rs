//! Rules that weigh more than the last value, in service; and rules tried before they are in force.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use crate::alarms::DUST;
use crate::server::{Server, binary, wait_for};

const FLOOD: &str = "
version: 1
rules:
  - id: flood
    name: {zh: 涨水, en: Flood}
    severity: major
    applies_to: {kind: river_gauge}
    parameters:
      stage: {default: 2.5 m, devices: {low: 1.2 m}}
    when:
      all:
        - above: {quantity: water_level, raise: $stage, clear: $stage - 0.1 m}
        - any:
            - change: {quantity: water_level, over: 30 min, rises: 0.15 m}
            - above: {quantity: rain, raise: 10 mm}
    advice: {zh: 看, en: look}
  - id: stage
    name: {zh: 水位, en: Stage}
    severity: minor
    applies_to: {kind: river_gauge}
    parameters:
      stage: {default: 2.5 m, devices: {low: 1.2 m}}
    when: {above: {quantity: water_level, raise: $stage, clear: $stage - 0.1 m}}
    levels:
      - {severity: critical, raise: $stage + 1 m, clear: $stage + 0.9 m}
    advice: {zh: 看, en: look}
";

fn post(server: &Server, device: &str, readings: &[(&str, f64)]) {
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms();
    let readings: Vec<Value> = readings
        .iter()
        .map(|(quantity, value)| json!({"q": quantity, "t": now, "v": value}))
        .collect();
    server.post(
        "/api/v1/readings",
        &json!({"device": device, "readings": readings}),
    );
}

fn alert(server: &Server, rule: &str, device: &str) -> Option<Value> {
    let all = server.get("/api/v1/alerts?state=all");
    let items = all["items"].as_array().unwrap();
    let is_it = |alert: &&Value| alert["rule"] == rule && alert["series"]["device"] == device;
    items.iter().find(is_it).cloned()
}

fn onemap(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("onemap"));
    command.arg("--json").arg("--data-dir").arg(dir).args(arguments);
    command.output().unwrap()
}

fn answer(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn facts_of_several_series_make_one_alert_that_says_what_was_found() {
    let server = Server::with_rules(&[("flood", FLOOD)]);
    let gauge = json!({"kind": "river_gauge", "cadence_s": 600});
    for device in ["low", "high"] {
        server.add_device(device, &gauge);
    }
    post(&server, "low", &[("water_level", 1.0)]);
    post(&server, "high", &[("water_level", 1.0)]);
    post(&server, "low", &[("water_level", 1.3), ("rain", 2.0)]);
    post(&server, "high", &[("water_level", 1.3), ("rain", 12.0)]);
    let flood = wait_for("the flood", Duration::from_secs(10), || {
        alert(&server, "flood", "low")
    });
    // The limit of the device itself, the rise, and rain that is not known to matter.
    let said = flood["message"]["zh"].as_str().unwrap();
    assert!(
        said.contains("高于 1.2 m") && said.contains("30 分钟内上升 0.3"),
        "{said}"
    );
    assert_eq!(flood["severity"], "major");
    // The value is that of the alert's own series, whatever else it rests on.
    assert_eq!(flood["value"], json!(1.3));
    let of_others: Vec<&Value> = flood["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|input| input.get("of"))
        .collect();
    assert!(of_others.iter().all(|of| of["quantity"] == "rain"), "{flood}");
    server.caught_up();
    assert_eq!(alert(&server, "flood", "high"), None, "its own stage is 2.5 m");

    // One alert that worsens and eases, and is nobody's again when it worsens.
    let stage = alert(&server, "stage", "low").unwrap();
    let id = stage["id"].as_str().unwrap();
    server.post(
        &format!("/api/v1/alerts/{id}/ack"),
        &json!({"name": "王队", "note": "", "minutes": 30}),
    );
    post(&server, "low", &[("water_level", 2.4)]);
    let worse = wait_for("worse", Duration::from_secs(10), || {
        alert(&server, "stage", "low").filter(|alert| alert["severity"] == "critical")
    });
    assert_eq!((&worse["id"], &worse["acknowledged"]), (&json!(id), &Value::Null));
    assert_eq!(worse["threshold"], json!(1.2));
    post(&server, "low", &[("water_level", 1.9)]);
    wait_for("less", Duration::from_secs(10), || {
        alert(&server, "stage", "low").filter(|alert| alert["severity"] == "minor")
    });
    server.caught_up();
    let story = server.get(&format!("/api/v1/alerts/{id}"));
    let edges: Vec<&str> = story["history"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|t| t["edge"].as_str())
        .collect();
    assert_eq!(edges, ["raised", "acknowledged", "worsened", "eased"]);

    // What is weighed is in the checkpoint: after a kill nothing is raised twice, and it clears.
    let server = server.kill_and_restart();
    post(&server, "low", &[("water_level", 1.0)]);
    wait_for("the flood's end", Duration::from_secs(10), || {
        alert(&server, "flood", "low").filter(|alert| alert["state"] == "cleared")
    });
    let all = server.get("/api/v1/alerts?state=all");
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
}

#[test]
fn a_change_of_rules_is_tried_on_what_happened() {
    let mut server = Server::with_rules(&[("dust", DUST)]);
    server.add_device("air-1", &json!({"cadence_s": 5}));
    let from = server.get("/api/v1/alerts?state=all");
    assert_eq!(from["items"], json!([]));
    let begun = onemap_model::Timestamp::from_system(std::time::SystemTime::now());
    for value in [180.0, 300.0, 300.0] {
        post(&server, "air-1", &[("pm10", value)]);
    }
    wait_for("the dust", Duration::from_secs(15), || {
        alert(&server, "pm10-dust", "air-1")
    });
    post(&server, "air-1", &[("pm10", 150.0)]);
    wait_for("its end", Duration::from_secs(10), || {
        alert(&server, "pm10-dust", "air-1").filter(|alert| alert["state"] == "cleared")
    });
    server.caught_up();
    server.stop();
    let dir = server.dir.clone();
    let from = begun.to_string();

    let same = answer(&onemap(&dir, &["rules", "replay", "--from", &from]));
    assert_eq!(
        (
            &same["equal"],
            &same["before"]["raised"],
            &same["after"]["raised"]
        ),
        (&json!(true), &json!(1), &json!(1))
    );
    assert_eq!(
        same["transitions"],
        json!({"same": 2, "only_before": 0, "only_after": 0})
    );

    let other = tempfile::tempdir().unwrap();
    let stricter = DUST
        .replace("raise: 250", "raise: 160")
        .replace("clear: 200", "clear: 155");
    std::fs::write(other.path().join("dust.yaml"), stricter).unwrap();
    let rules = other.path().to_str().unwrap();
    let changed = answer(&onemap(
        &dir,
        &["rules", "replay", "--from", &from, "--rules", rules],
    ));
    assert_eq!(changed["equal"], json!(false), "{changed}");
    assert_eq!(
        (&changed["before"]["raised"], &changed["after"]["raised"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(changed["before"]["by_desk"]["-"]["raised"], json!(1));
    let looser = DUST.replace("raise: 250", "raise: 950");
    std::fs::write(other.path().join("dust.yaml"), looser).unwrap();
    let quiet = answer(&onemap(
        &dir,
        &["rules", "replay", "--from", &from, "--rules", rules],
    ));
    assert_eq!(quiet["after"]["raised"], json!(0));
    // Nothing is left beside the data.
    let left: Vec<String> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("rules-replay"))
        .collect();
    assert_eq!(left, Vec::<String>::new());

    std::fs::write(other.path().join("dust.yaml"), "version: 1\nrules: [{id: x}]\n").unwrap();
    let refused = onemap(&dir, &["rules", "replay", "--from", &from, "--rules", rules]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && told.contains("dust.yaml:2:"),
        "{told}"
    );
}

#[test]
fn tests_beside_rules_run_without_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/rules");
    let ran = onemap(&data, &["rules", "test", shipped.to_str().unwrap()]);
    let told = answer(&ran);
    assert!(ran.status.success() && told["ok"] == json!(true), "{told}");
    assert!(told["tests"].as_array().unwrap().len() >= 20);

    let wrong = dir.path().join("wrong.yaml");
    let text = DUST.trim_end().to_owned()
        + "\n    tests: [{name: never, series: \"00:00 300\\n00:05 300\", expect: ''}]\n";
    std::fs::write(&wrong, text).unwrap();
    let ran = onemap(&data, &["rules", "test", wrong.to_str().unwrap()]);
    let told = answer(&ran);
    assert_eq!((ran.status.code(), &told["ok"]), (Some(1), &json!(false)));
    assert_eq!(told["tests"][0]["got"], json!(["00:02 raised"]));
    std::fs::write(&wrong, "version: 1\nrules: [{id: x}]\n").unwrap();
    let told = answer(&onemap(&data, &["rules", "test", wrong.to_str().unwrap()]));
    assert!(
        told["faults"][0]
            .as_str()
            .unwrap()
            .contains("missing field `name`")
    );
    assert_eq!(told["faults_zh"], json!(["缺少字段 `name`"]));
    assert!(!data.exists(), "it only looks");
}
