//! Clients we did not write: their telemetry comes in, a command reaches them, their answer comes back.
//!
//! Each is a short program under `tests/peers/` on a client library as its registry has it
//! (`tests/peers/install.sh` puts them into `target/peers`). It says one JSON line a step.

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{CONFIG, Process, Server, peer, wait_for};

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

    /// Waits for its end, which must be a good one.
    fn ends_well(mut self) {
        let status = wait_for("the client's end", STEP, || self.0.child.try_wait().unwrap());
        assert!(status.success(), "the client ended with {status}");
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

/// Orders something of a device.
fn order(server: &Server, device: &str) -> u64 {
    let order = json!({"device": device, "method": "open", "params": {"percent": 40}, "ttl_s": 120});
    server.post("/api/v1/commands", &order)["id"].as_u64().unwrap()
}

/// The command ends as executed with this result, and its facts are those of one that went straight through.
fn is_executed(server: &Server, id: u64, result: &Value) {
    let ended = wait_for("the command's end", Duration::from_secs(30), || {
        let command = server.get(&format!("/api/v1/commands/{id}"));
        (command["final"] == true).then_some(command)
    });
    assert_eq!(ended["state"], "executed", "{ended}");
    assert_eq!(ended["result"], *result, "{ended}");
    let facts: Vec<&str> = ended["facts"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|f| f["fact"].as_str())
        .collect();
    assert_eq!(facts.first(), Some(&"created"), "{ended}");
    assert!(facts.contains(&"sent") && facts.contains(&"executed"), "{ended}");
}

/// A device's client that is ready gets a command and answers it.
fn obeys(server: &Server, device: &str, client: Client, result: &Value) {
    let id = order(server, device);
    let heard = client.hear("command");
    assert_eq!(heard["method"], "open", "{heard}");
    assert_eq!(heard["params"]["percent"], 40, "{heard}");
    assert_eq!(
        heard["topic"],
        format!("v1/devices/me/rpc/request/{id}"),
        "{heard}"
    );
    assert_eq!(heard["qos"], 1, "{heard}");
    assert_eq!(heard["retain"], false, "{heard}");
    client.hear("answered");
    is_executed(server, id, result);
    client.ends_well();
}

#[test]
fn mosquitto_clients() {
    if peer("mosquitto_pub").is_none() || peer("mosquitto_sub").is_none() {
        return;
    }
    let server = Server::new();
    let token = server.add_device("d", &json!({}));
    let port = server.mqtt_port.to_string();
    let newest = now_ms();
    for item in one_at_each_qos(newest).as_array().unwrap() {
        let sent = Command::new("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &port, "-u", &token])
            .args(["-q", &item[0].to_string(), "-t", "v1/devices/me/telemetry"])
            .args(["-m", &item[1].to_string()])
            .output()
            .unwrap();
        assert!(sent.status.success(), "{sent:?}");
    }
    all_are_kept(&server, "d", newest);

    let mut listening = Command::new("mosquitto_sub");
    listening
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-u",
            &token,
            "-q",
            "1",
            "-C",
            "1",
            "-W",
            "60",
        ])
        .args([
            "-t",
            "v1/devices/me/rpc/request/+",
            "-F",
            "{\"topic\":\"%t\",\"qos\":%q,\"payload\":%p}",
        ]);
    // It says nothing when it is subscribed: the command waits for it.
    let listening = Process::start(listening);
    let id = order(&server, "d");
    let line = listening.line(STEP).expect("mosquitto_sub prints the command");
    let heard: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(heard["topic"], format!("v1/devices/me/rpc/request/{id}"));
    assert_eq!(
        heard["payload"],
        json!({"method": "open", "params": {"percent": 40}})
    );
    let answered = server.publish(
        &token,
        &format!("v1/devices/me/rpc/response/{id}"),
        r#"{"done":true}"#,
    );
    assert!(answered.status.success(), "{answered:?}");
    is_executed(&server, id, &json!({"done": true}));
}

#[test]
fn paho_mqtt() {
    let server = Server::new();
    let token = server.add_device("d", &json!({}));
    let (newest, answer) = (now_ms(), json!({"done": true, "percent": 40}));
    let task = json!({
        "port": server.mqtt_port, "token": token, "readings": one_at_each_qos(newest), "answer": answer,
    });
    let Some(client) = Client::python("clients", "paho_device.py", &task) else {
        return;
    };
    client.hear("ready");
    all_are_kept(&server, "d", newest);
    obeys(&server, "d", client, &answer);
}

fn mqtt_js(server: &Server, url: &str) {
    let token = server.add_device("d", &json!({}));
    let (newest, answer) = (now_ms(), json!({"done": true, "percent": 40}));
    let task = json!({"url": url, "token": token, "readings": one_at_each_qos(newest), "answer": answer});
    let Some(client) = Client::node("mqttjs_device.js", &task) else {
        return;
    };
    client.hear("ready");
    all_are_kept(server, "d", newest);
    obeys(server, "d", client, &answer);
}

#[test]
fn mqtt_js_over_tcp() {
    let server = Server::new();
    mqtt_js(&server, &format!("mqtt://127.0.0.1:{}", server.mqtt_port));
}

#[test]
fn mqtt_js_over_websocket() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("rules")).unwrap();
    let config = format!("{CONFIG}[mqtt.websocket]\nlisten = \"127.0.0.1:0\"\n");
    std::fs::write(folder.path().join("onemap.toml"), config).unwrap();
    let server = Server::start_in(folder.path());
    let ready = std::fs::read_to_string(folder.path().join("ready.json")).unwrap();
    let ready: Value = serde_json::from_str(&ready).unwrap();
    mqtt_js(
        &server,
        &format!("ws://{}/mqtt", ready["mqtt_ws"].as_str().unwrap()),
    );
}

/// A device on a ThingsBoard library: telemetry, attributes both ways, a command.
fn thingsboard_device(environment: &str) {
    let server = Server::new();
    let token = server.add_device("d", &json!({}));
    let answer = json!({"done": true});
    server.request("PATCH", "/api/v1/devices/d/attributes", Some(r#"{"mode":"eco"}"#));
    let newest = now_ms();
    let task = json!({
        "port": server.mqtt_port, "token": token,
        "telemetry": {"ts": newest, "values": {"temperature": 17.25}},
        "attributes": {"serial": "XN-7", "channels": 4}, "shared": "mode", "answer": answer,
    });
    let Some(client) = Client::python(environment, "thingsboard_device.py", &task) else {
        return;
    };
    client.hear("ready");
    // What it asked for: its own attributes and one that people set.
    let asked = client.hear("asked");
    assert_eq!(
        asked["content"],
        json!({"client": {"serial": "XN-7", "channels": 4}, "shared": {"mode": "eco"}})
    );
    shows(&server, "d", "temperature", Some(newest), &json!(17.25));
    let held = server.get("/api/v1/devices/d/attributes");
    assert_eq!(held["client"]["serial"]["value"], "XN-7", "{held}");
    // A change reaches it at once.
    let (status, changed) = server.request(
        "PATCH",
        "/api/v1/devices/d/attributes",
        Some(r#"{"mode":"night"}"#),
    );
    assert_eq!(status, 200, "{changed}");
    assert_eq!(client.hear("shared")["content"], json!({"mode": "night"}));
    let id = order(&server, "d");
    let heard = client.hear("command");
    assert_eq!(
        (&heard["method"], &heard["params"]),
        (&json!("open"), &json!({"percent": 40}))
    );
    client.hear("answered");
    is_executed(&server, id, &answer);
    client.ends_well();
}

#[test]
fn thingsboard_s_newest_library_as_a_device() {
    thingsboard_device("thingsboard");
}

#[test]
fn thingsboard_s_mqtt_3_1_1_library_as_a_device() {
    thingsboard_device("thingsboard-mqtt311");
}

/// A gateway on a ThingsBoard library: a child it connects is registered, heard and commanded.
fn thingsboard_gateway(environment: &str) {
    let server = Server::new();
    let token = server.add_device("gw", &json!({"is_gateway": true, "adopts": true}));
    let (newest, answer) = (now_ms(), json!({"done": true}));
    let task = json!({
        "port": server.mqtt_port, "token": token, "child": "Pump-7", "type": "pump",
        "telemetry": {"ts": newest, "values": {"temperature": 12.5}},
        "attributes": {"serial": "P7"}, "answer": answer,
    });
    let Some(client) = Client::python(environment, "thingsboard_gateway.py", &task) else {
        return;
    };
    client.hear("ready");
    shows(&server, "Pump-7", "temperature", Some(newest), &json!(12.5));
    let child = server.get("/api/v1/devices/Pump-7");
    assert_eq!(child["gateway"], "gw", "{child}");
    let held = server.get("/api/v1/devices/Pump-7/attributes");
    assert_eq!(held["client"]["serial"]["value"], "P7", "{held}");
    let id = order(&server, "Pump-7");
    let heard = client.hear("command");
    assert_eq!(heard["device"], "Pump-7", "{heard}");
    assert_eq!(heard["data"]["method"], "open", "{heard}");
    assert_eq!(heard["data"]["params"], json!({"percent": 40}), "{heard}");
    client.hear("answered");
    is_executed(&server, id, &answer);
    client.ends_well();
}

#[test]
fn thingsboard_s_newest_library_as_a_gateway() {
    thingsboard_gateway("thingsboard");
}

#[test]
fn thingsboard_s_mqtt_3_1_1_library_as_a_gateway() {
    thingsboard_gateway("thingsboard-mqtt311");
}

#[test]
fn influxdb_client() {
    let server = Server::new();
    let token = server.add_device("d", &json!({}));
    // Whole seconds: the coarsest precision of the four must hold them.
    let newest_s = now_ms() / 1000;
    let points: Vec<Value> = (0..4)
        .map(|i| json!([newest_s - 60 * (3 - i), {"temperature": 20.5 + i as f64, "humidity": 40 + i}]))
        .collect();
    let task = json!({
        "url": server.http, "token": token, "device": "d", "points": points, "bad": "weather temperature= 1",
    });
    let Some(client) = Client::python("clients", "influx_writer.py", &task) else {
        return;
    };
    client.hear("written");
    shows(&server, "d", "temperature", Some(newest_s * 1000), &json!(23.5));
    shows(&server, "d", "humidity", Some(newest_s * 1000), &json!(43.0));
    let series = server.latest("d", "temperature").unwrap()["series"]
        .as_u64()
        .unwrap();
    let values = server.get(&format!("/api/v1/series/{series}/values?revisions=true"));
    let kept: Vec<f64> = values["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|i| i["v"].as_f64())
        .collect();
    assert_eq!(kept, [20.5, 21.5, 22.5, 23.5], "one point in each precision");
    let refused = client.hear("refused");
    assert_eq!(refused["status"], 400, "{refused}");
    client.ends_well();
    wait_for("the broken line's counter", Duration::from_secs(20), || {
        (server.metric("onemap_refused_total{reason=\"broken_line\"} ")? > 0).then_some(())
    });
}
