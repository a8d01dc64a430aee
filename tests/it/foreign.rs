//! Clients we did not write: their telemetry comes in, a command reaches them, their answer comes back.
//!
//! Each is a short program under `tests/peers/` on a client library as its registry has it
//! (`tests/peers/install.sh` puts them into `target/peers`). It says one JSON line a step.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Process, Server, peer, wait_for};

/// A step of a foreign client takes at most this long.
const STEP: Duration = Duration::from_secs(60);
/// One minute.
const MINUTE_MS: i64 = 60_000;

fn here(path: &str) -> String {
    format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))
}

fn now_ms() -> i64 {
    onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms()
}

/// A foreign client at work; `None` with a loud word when it is not installed.
struct Client(Process);

impl Client {
    fn python(environment: &str, script: &str, task: &Value) -> Option<Self> {
        let python = peer(&here(&format!("target/peers/{environment}/bin/python")))?;
        let mut command = Command::new(python);
        command
            .arg(here(&format!("tests/peers/{script}")))
            .arg(task.to_string());
        Some(Self(Process::start(command)))
    }

    fn node(script: &str, task: &Value) -> Option<Self> {
        let modules = here("target/peers/node");
        peer(&format!("{modules}/node_modules/mqtt"))?;
        let mut command = Command::new(peer("node")?);
        command
            .arg(here(&format!("tests/peers/{script}")))
            .arg(task.to_string())
            .env("PEERS_NODE", modules);
        Some(Self(Process::start(command)))
    }

    /// Its next line, which must be this step.
    fn hear(&self, step: &str) -> Value {
        let line = self.0.line(STEP).unwrap_or_else(|| {
            panic!("the client ended or fell silent before `{step}`; its error stands above")
        });
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the client said {line}"));
        assert_eq!(said["said"], step, "the client said {said}");
        said
    }
}

/// Waits until the newest value of a series is this one, with this time.
fn shows(server: &Server, device: &str, quantity: &str, at_ms: Option<i64>, value: &Value) {
    let seen = wait_for(
        "the reading in the latest values",
        Duration::from_secs(20),
        || server.latest(device, quantity).filter(|l| l["value"] == *value),
    );
    if let Some(at_ms) = at_ms {
        let at = onemap_model::Timestamp::parse(seen["measured_at"].as_str().unwrap()).unwrap();
        assert_eq!(at.ms(), at_ms, "{seen}");
    }
}

/// Three readings, one at each quality of service, oldest first; the last is the newest.
fn one_at_each_qos(newest_ms: i64) -> Value {
    let reading = |qos: i64, value: f64| json!([qos, {"ts": newest_ms - (2 - qos) * MINUTE_MS, "values": {"temperature": value}}]);
    json!([reading(0, 19.5), reading(1, 20.25), reading(2, 21.75)])
}

/// All three of [`one_at_each_qos`] are in the history, each once.
fn all_are_kept(server: &Server, device: &str, newest_ms: i64) {
    shows(server, device, "temperature", Some(newest_ms), &json!(21.75));
    let kept = wait_for("three values in the history", Duration::from_secs(20), || {
        let series = server.latest(device, "temperature")?["series"].as_u64()?;
        let values = server.get(&format!("/api/v1/series/{series}/values?revisions=true"));
        let kept: Vec<f64> = values["items"]
            .as_array()?
            .iter()
            .filter_map(|i| i["v"].as_f64())
            .collect();
        (kept.len() >= 3).then_some(kept)
    });
    assert_eq!(kept, [19.5, 20.25, 21.75]);
}

#[test]
fn mosquitto_clients() {
    if peer("mosquitto_pub").is_none() || peer("mosquitto_sub").is_none() {
        return;
    }
    let server = Server::new();
    let token = server.add_device("d", &json!({}));
    let newest = now_ms();
    for item in one_at_each_qos(newest).as_array().unwrap() {
        let sent = Command::new("mosquitto_pub")
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &server.mqtt_port.to_string(),
                "-u",
                &token,
            ])
            .args([
                "-q",
                &item[0].to_string(),
                "-t",
                "v1/devices/me/telemetry",
                "-m",
                &item[1].to_string(),
            ])
            .output()
            .unwrap();
        assert!(sent.status.success(), "{sent:?}");
    }
    all_are_kept(&server, "d", newest);
}

#[test]
fn paho_mqtt() {
    let server = Server::new();
    let token = server.add_device("d", &json!({}));
    let newest = now_ms();
    let task = json!({
        "port": server.mqtt_port, "token": token, "readings": one_at_each_qos(newest), "answer": {"done": true},
    });
    let Some(client) = Client::python("clients", "paho_device.py", &task) else {
        return;
    };
    client.hear("ready");
    all_are_kept(&server, "d", newest);
}

#[test]
fn mqtt_js_over_tcp() {
    let server = Server::new();
    let token = server.add_device("d", &json!({}));
    let newest = now_ms();
    let task = json!({
        "url": format!("mqtt://127.0.0.1:{}", server.mqtt_port), "token": token,
        "readings": one_at_each_qos(newest), "answer": {"done": true},
    });
    let Some(client) = Client::node("mqttjs_device.js", &task) else {
        return;
    };
    client.hear("ready");
    all_are_kept(&server, "d", newest);
}
