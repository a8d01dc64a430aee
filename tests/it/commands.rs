//! Commands go down: once, in order, never after their expiry, and what the ledger says of them is so.

use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use onemap_store::ledger::{CommandFilter, LedgerReader};
use rumqttc::{Client, Event, MqttOptions, Packet, Publish, QoS};
use serde_json::{Value, json};

use crate::server::{CONFIG, Server, binary, request, wait_for};

const LIMIT: Duration = Duration::from_secs(20);
const REQUESTS: &str = "v1/devices/me/rpc/request/+";

/// A device on MQTT that acknowledges only when told to.
struct Device {
    client: Client,
    messages: mpsc::Receiver<Publish>,
}

impl Device {
    /// Connects with a clean session and subscribes.
    fn connect(server: &Server, token: &str, filters: &[&str]) -> Self {
        let mut options = MqttOptions::new(format!("dev-{token}"), "127.0.0.1", server.mqtt_port);
        options.set_credentials(token, "").set_manual_acks(true);
        options.set_keep_alive(Duration::from_secs(30));
        let (client, mut connection) = Client::new(options, 64);
        let (sender, messages) = mpsc::channel();
        let (ready, is_ready) = mpsc::channel();
        let wanted = filters.len();
        for filter in filters {
            client.subscribe(*filter, QoS::AtLeastOnce).unwrap();
        }
        std::thread::spawn(move || {
            let mut n_subscribed = 0;
            for event in connection.iter() {
                match event {
                    Ok(Event::Incoming(Packet::Publish(publish))) => {
                        if sender.send(publish).is_err() {
                            return;
                        }
                    }
                    Ok(Event::Incoming(Packet::SubAck(_))) => {
                        n_subscribed += 1;
                        if n_subscribed == wanted && ready.send(()).is_err() {
                            return;
                        }
                    }
                    Ok(_) => {}
                    // The server was killed, or this device left.
                    Err(_) => return,
                }
            }
        });
        if wanted > 0 {
            is_ready
                .recv_timeout(LIMIT)
                .expect("the subscriptions are granted");
        }
        Self { client, messages }
    }

    /// The next message, not acknowledged yet.
    fn next(&self) -> Publish {
        self.messages.recv_timeout(LIMIT).expect("a message comes")
    }

    /// The next request: its number and what it says; acknowledged.
    fn request(&self) -> (u64, Value) {
        let publish = self.next();
        self.client.ack(&publish).unwrap();
        read(&publish)
    }

    fn say(&self, topic: &str, payload: &Value) {
        self.client
            .publish(topic, QoS::AtLeastOnce, false, payload.to_string())
            .unwrap();
    }

    fn answer(&self, id: u64, payload: &Value) {
        self.say(&format!("v1/devices/me/rpc/response/{id}"), payload);
    }

    fn leave(self) {
        self.client.disconnect().unwrap();
    }
}

fn read(publish: &Publish) -> (u64, Value) {
    let id = publish.topic.rsplit('/').next().unwrap().parse().unwrap();
    (id, serde_json::from_slice(&publish.payload).unwrap())
}

fn order(server: &Server, device: &str, method: &str, more: &Value) -> u64 {
    let mut body = json!({"device": device, "method": method});
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    server.post("/api/v1/commands", &body)["id"].as_u64().unwrap()
}

/// Waits for a state; gives the facts as one line.
fn facts(server: &Server, id: u64, state: &str) -> String {
    wait_for(&format!("command {id} to be {state}"), LIMIT, || {
        let command = server.get(&format!("/api/v1/commands/{id}"));
        (command["state"] == state).then(|| names(&command))
    })
}

fn names(command: &Value) -> String {
    let facts = command["facts"].as_array().unwrap();
    let names: Vec<_> = facts.iter().map(|f| f["fact"].as_str().unwrap()).collect();
    names.join(" ")
}

/// Waits until a fact is there.
fn has_fact(server: &Server, id: u64, fact: &str) -> Value {
    wait_for(&format!("command {id} to have {fact}"), LIMIT, || {
        let command = server.get(&format!("/api/v1/commands/{id}"));
        names(&command)
            .split(' ')
            .any(|name| name == fact)
            .then_some(command)
    })
}

#[test]
fn a_device_that_was_away_gets_its_commands_in_order_and_no_other_s() {
    let server = Server::new();
    let (a, b) = (
        server.add_device("a", &json!({})),
        server.add_device("b", &json!({})),
    );
    let other = Device::connect(&server, &b, &[REQUESTS, "onemap/v1/b/command"]);
    let first = order(&server, "a", "open", &json!({"params": {"percent": 40}}));
    let second = order(&server, "a", "shut", &json!({"two_way": false}));
    let listed = server.get("/api/v1/commands?device=a&state=created");
    assert_eq!(listed["items"][0]["id"], second, "newest first");
    assert_eq!(listed["items"][1]["by"]["actor"], "local owner");

    let device = Device::connect(&server, &a, &[REQUESTS]);
    let (id, message) = device.request();
    assert_eq!(
        (id, message),
        (first, json!({"method": "open", "params": {"percent": 40}}))
    );
    assert_eq!(device.request().0, second);
    device.answer(first, &json!({"at": 40}));
    assert_eq!(facts(&server, second, "received"), "created sent received");
    facts(&server, first, "executed");
    let command = server.get(&format!("/api/v1/commands/{first}?wait_s=5"));
    assert_eq!(command["result"], json!({"at": 40}));
    assert_eq!(command["state_zh"], "已执行");
    let mut sorted: Vec<_> = names(&command).split(' ').map(str::to_owned).collect();
    sorted.sort();
    assert_eq!(sorted, ["created", "executed", "received", "sent"]);

    // What one device hears, the other does not: its own command is the first that it ever sees.
    let its_own = order(&server, "b", "blink", &json!({}));
    assert_eq!(other.request().0, its_own);
    // The other's answer is no answer.
    let third = order(&server, "a", "open", &json!({}));
    assert_eq!(device.request().0, third);
    other.answer(third, &json!({"ok": true}));
    let stray = wait_for("the stray answer in the quarantine", LIMIT, || {
        let all = server.get("/api/v1/quarantine?reason=stray_answer");
        all["items"].as_array()?.first().cloned()
    });
    assert_eq!(stray["device"], "b");
    assert_eq!(
        server.metric("onemap_refused_total{reason=\"stray_answer\"}"),
        Some(1)
    );
    other.answer(its_own, &json!({"error": "no lamp"}));
    facts(&server, its_own, "failed");
    let failed = server.get(&format!("/api/v1/commands/{its_own}"));
    assert_eq!(failed["error"], "no lamp");
    assert!(
        ["sent", "received"].contains(
            &server.get(&format!("/api/v1/commands/{third}"))["state"]
                .as_str()
                .unwrap()
        )
    );
}

#[test]
fn a_kill_at_any_step_sends_again_until_it_is_received_and_never_after() {
    let mut server = Server::new();
    let token = server.add_device("valve", &json!({}));
    let mut executed = std::collections::BTreeSet::new();
    let id = order(&server, "valve", "open", &json!({}));
    server = server.kill_and_restart();

    // Created, then killed: it is sent. No acknowledgement, then killed: it is sent again.
    let device = Device::connect(&server, &token, &[REQUESTS]);
    assert_eq!(read(&device.next()).0, id);
    assert!(executed.insert(id));
    has_fact(&server, id, "sent");
    server = server.kill_and_restart();
    drop(device);
    let device = Device::connect(&server, &token, &[REQUESTS]);
    assert_eq!(device.request().0, id);
    assert!(!executed.insert(id), "an idempotent client knows it");
    has_fact(&server, id, "received");

    // Received, then killed: the next thing that the device hears is the next command.
    server = server.kill_and_restart();
    drop(device);
    let device = Device::connect(&server, &token, &[REQUESTS]);
    let next = order(&server, "valve", "shut", &json!({}));
    assert_eq!(device.request().0, next);
    device.answer(id, &json!({"open": true}));
    let told = facts(&server, id, "executed");
    assert_eq!(told, "created sent sent received executed");
    device.answer(next, &Value::Null);
    facts(&server, next, "executed");
    device.leave();

    // The journal alone makes the same ledger.
    server.caught_up();
    server.stop();
    let into = server.dir.join("replayed");
    let replayed = Command::new(binary("onemap"))
        .arg("--data-dir")
        .arg(&server.dir)
        .args(["journal", "replay", "--into"])
        .arg(&into)
        .output()
        .unwrap();
    assert!(
        replayed.status.success(),
        "{}",
        String::from_utf8_lossy(&replayed.stderr)
    );
    let read = |dir: &std::path::Path| {
        let ledger = LedgerReader::open(&dir.join("ledger.sqlite")).unwrap();
        let all = ledger.commands(&CommandFilter::default(), None, 100).unwrap();
        let stories: Vec<_> = all
            .iter()
            .map(|c| ledger.command(c.id).unwrap().unwrap())
            .collect();
        stories
    };
    assert_eq!(read(&into).len(), 2);
    assert_eq!(read(&into), read(&server.dir));
}

#[test]
fn subscribing_again_on_a_living_connection_repeats_nothing() {
    let server = Server::new();
    let token = server.add_device("valve", &json!({}));
    let ids: Vec<u64> = (0..3)
        .map(|i| order(&server, "valve", &format!("open{i}"), &json!({"two_way": false})))
        .collect();
    // The filter thrice, a wider one beside it, and nothing acknowledged in between.
    let device = Device::connect(
        &server,
        &token,
        &[REQUESTS, "v1/devices/me/rpc/#", REQUESTS, REQUESTS],
    );
    let held: Vec<Publish> = ids.iter().map(|_| device.next()).collect();
    assert_eq!(held.iter().map(|p| read(p).0).collect::<Vec<_>>(), ids);
    device
        .client
        .subscribe("v1/devices/me/rpc/+/+", QoS::AtLeastOnce)
        .unwrap();
    held.iter()
        .for_each(|publish| device.client.ack(publish).unwrap());
    for id in &ids {
        let sent = facts(&server, *id, "received").matches("sent").count();
        assert_eq!(sent, 1, "command {id} went once");
    }
    // What was sent behind them is the next that comes.
    let last = order(&server, "valve", "last", &json!({}));
    assert_eq!(device.request().0, last);
}

#[test]
fn what_expired_or_was_taken_back_is_never_delivered() {
    let server = Server::new();
    let token = server.add_device("lamp", &json!({}));
    let brief = order(&server, "lamp", "on", &json!({"ttl_s": 1}));
    let regretted = order(&server, "lamp", "off", &json!({}));
    let taken_back = server.post(
        &format!("/api/v1/commands/{regretted}/cancel"),
        &json!({"note": "误发"}),
    );
    assert_eq!(taken_back["state"], "cancelled");
    let ended = server.get(&format!("/api/v1/commands/{brief}?wait_s=10"));
    assert_eq!(
        (ended["state"].as_str(), names(&ended).as_str()),
        (Some("expired"), "created expired")
    );

    let device = Device::connect(&server, &token, &[REQUESTS]);
    let next = order(&server, "lamp", "blink", &json!({}));
    assert_eq!(
        device.request().0,
        next,
        "neither the expired nor the cancelled one came"
    );
    let cancel = format!("/api/v1/commands/{next}/cancel");
    assert_eq!(server.request("POST", &cancel, None).0, 409, "it was sent");
    // An answer after the end is kept, and changes nothing.
    device.answer(brief, &json!({"on": true}));
    let late = has_fact(&server, brief, "late_answer");
    assert_eq!(late["state"], "expired");
    assert_eq!(late["facts"][2]["answer"], json!({"on": true}));
}

#[test]
fn the_same_key_is_the_same_command_and_orders_are_checked() {
    let server = Server::new();
    server.add_device("valve", &json!({"division": "630102"}));
    let post = |body: &Value| server.request("POST", "/api/v1/commands", Some(&body.to_string()));
    let good = json!({"device": "valve", "method": "open", "params": 1, "idempotency_key": "k-1"});
    let (status, first) = post(&good);
    assert_eq!(status, 201);
    let (status, again) = post(&good);
    assert_eq!((status, &again["id"]), (200, &first["id"]));
    let mut other = good.clone();
    other["params"] = json!(2);
    let (status, problem) = post(&other);
    assert_eq!(
        (status, problem["code"].as_str()),
        (409, Some("idempotency_key_taken"))
    );
    assert_eq!(
        server.get("/api/v1/commands")["items"].as_array().unwrap().len(),
        1
    );

    for (body, want) in [
        (json!({"device": "nobody", "method": "open"}), 404),
        (json!({"device": "valve", "method": ""}), 400),
        (json!({"device": "valve", "method": "x".repeat(129)}), 400),
        (json!({"device": "valve", "method": "open", "ttl_s": 0}), 400),
        (
            json!({"device": "valve", "method": "open", "ttl_s": 2_592_001}),
            400,
        ),
        (
            json!({"device": "valve", "method": "open", "expires_at": "2001-01-01T00:00:00Z"}),
            400,
        ),
        (
            json!({"device": "valve", "method": "open", "ttl_s": 5, "expires_at": "2101-01-01T00:00:00Z"}),
            400,
        ),
        (
            json!({"device": "valve", "method": "open", "params": "x".repeat(65_536)}),
            400,
        ),
        (json!({"device": "valve", "method": "open", "prams": 1}), 400),
    ] {
        let (status, answer) = post(&body);
        assert_eq!(status, want, "{answer}");
    }
    let token = |role: &str, division: &str| {
        let body = json!({"role": role, "division": division, "name": role});
        server.post("/api/v1/tokens", &body)["token"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let plain = json!({"device": "valve", "method": "open"}).to_string();
    for (role, division, want) in [
        ("viewer", "630102", 403),
        ("officer", "630102", 403),
        ("commander", "630103", 404),
        ("commander", "630102", 201),
        ("operator", "630102", 201),
    ] {
        let (status, _) = request(
            &server.http,
            &token(role, division),
            "POST",
            "/api/v1/commands",
            Some(&plain),
        );
        assert_eq!(status, want, "{role} of {division}");
    }
    let stranger = token("viewer", "630103");
    let path = format!("/api/v1/commands/{}", first["id"]);
    assert_eq!(request(&server.http, &stranger, "GET", &path, None).0, 404);
    let (_, none) = request(&server.http, &stranger, "GET", "/api/v1/commands", None);
    assert_eq!(none["items"], json!([]));
    // 3 wait by now; the hundred and first is refused.
    for _ in 3..100 {
        order(&server, "valve", "open", &json!({}));
    }
    assert_eq!(post(&json!({"device": "valve", "method": "open"})).0, 429);
    let page = server.get("/api/v1/commands?limit=40");
    let next = page["next"].as_str().unwrap();
    let rest = server.get(&format!("/api/v1/commands?limit=100&after={next}"));
    assert_eq!(rest["items"].as_array().unwrap().len(), 60);
}

#[test]
fn a_device_asks_the_server_and_does_not_hear_itself() {
    let server = Server::new();
    let token = server.add_device("a", &json!({"name": "站"}));
    let device = Device::connect(&server, &token, &["v1/devices/me/rpc/response/+", REQUESTS]);
    for (n, method) in [
        (1, "getServerTime"),
        (2, "getDevice"),
        (3, "getSessionLimits"),
        (4, "dance"),
    ] {
        device.say(
            &format!("v1/devices/me/rpc/request/{n}"),
            &json!({"method": method, "params": {}}),
        );
        let publish = device.next();
        device.client.ack(&publish).unwrap();
        assert_eq!(publish.topic, format!("v1/devices/me/rpc/response/{n}"));
        let answer: Value = serde_json::from_slice(&publish.payload).unwrap();
        match n {
            1 => assert!(answer["time"].as_i64().unwrap() > 1_700_000_000_000),
            2 => assert_eq!(
                (answer["id"].as_str(), answer["name"].as_str()),
                (Some("a"), Some("站"))
            ),
            3 => assert_eq!(answer["maxInflightMessages"], 100),
            _ => assert_eq!(answer["error"], "unknown method dance"),
        }
        assert!(
            !publish
                .payload
                .windows(token.len())
                .any(|w| w == token.as_bytes())
        );
    }
}

#[test]
fn a_native_device_and_one_on_http_take_commands() {
    let server = Server::new();
    let (a, b) = (
        server.add_device("a", &json!({})),
        server.add_device("b", &json!({})),
    );
    let device = Device::connect(&server, &a, &["onemap/v1/a/command"]);
    let id = order(&server, "a", "ping", &json!({"params": [1]}));
    let publish = device.next();
    device.client.ack(&publish).unwrap();
    let message: Value = serde_json::from_slice(&publish.payload).unwrap();
    assert_eq!(
        (message["id"].as_u64(), &message["method"]),
        (Some(id), &json!("ping"))
    );
    let expires = server.get(&format!("/api/v1/commands/{id}"))["expires_at"]
        .as_str()
        .unwrap()
        .to_owned();
    let expires = onemap_model::Timestamp::parse(&expires).unwrap();
    assert_eq!(message["expires"], expires.ms());
    device.say(
        "onemap/v1/a/command/response",
        &json!({"id": id, "ok": false, "error": "not supported"}),
    );
    facts(&server, id, "failed");

    // Over HTTP: fetched once, answered.
    let path = format!("/api/v1/{b}/rpc");
    assert_eq!(
        request(&server.http, "", "GET", &format!("{path}?timeout=1"), None).0,
        408
    );
    assert_eq!(
        request(&server.http, "", "GET", "/api/v1/wrong/rpc?timeout=1", None).0,
        401
    );
    let id = order(&server, "b", "open", &json!({"params": {"x": 1}}));
    let (status, fetched) = request(&server.http, "", "GET", &format!("{path}?timeout=5000"), None);
    assert_eq!(
        (status, fetched),
        (200, json!({"id": id, "method": "open", "params": {"x": 1}}))
    );
    assert_eq!(
        request(&server.http, "", "GET", &format!("{path}?timeout=1"), None).0,
        408
    );
    let (status, _) = request(
        &server.http,
        "",
        "POST",
        &format!("{path}/{id}"),
        Some("{\"done\":1}"),
    );
    assert_eq!(status, 200);
    assert_eq!(facts(&server, id, "executed"), "created sent received executed");
    let (_, time) = request(
        &server.http,
        "",
        "POST",
        &path,
        Some("{\"method\":\"getServerTime\",\"params\":{}}"),
    );
    assert!(time["time"].as_i64().unwrap() > 1_700_000_000_000);

    // ThingsBoard's call waits for the device.
    let device = Device::connect(&server, &a, &[REQUESTS]);
    let (http, owner) = (server.http.clone(), server.token.clone());
    let call = std::thread::scope(|scope| {
        let call = scope.spawn(|| {
            let body = json!({"method": "getState", "params": {}, "timeout": 10_000}).to_string();
            request(&http, &owner, "POST", "/api/rpc/twoway/a", Some(&body))
        });
        let (id, _) = device.request();
        device.answer(id, &json!({"on": true}));
        call.join().unwrap()
    });
    assert_eq!(call, (200, json!({"on": true})));
    let body = json!({"method": "reset", "timeout": 5_000}).to_string();
    assert_eq!(server.request("POST", "/api/rpc/oneway/a", Some(&body)).0, 200);
    let body = json!({"method": "reset", "timeout": 300}).to_string();
    assert_eq!(server.request("POST", "/api/rpc/twoway/b", Some(&body)).0, 408);
}

#[test]
fn a_gateway_s_child_is_commanded_through_the_gateway() {
    let server = Server::new();
    let token = server.add_device("gw", &json!({"is_gateway": true}));
    server.add_device("meter", &json!({"gateway": "gw"}));
    server.add_device("alone", &json!({}));
    let id = order(&server, "meter", "read", &json!({"params": [1, 2]}));
    let gateway = Device::connect(&server, &token, &["v1/gateway/rpc"]);
    let publish = gateway.next();
    gateway.client.ack(&publish).unwrap();
    let message: Value = serde_json::from_slice(&publish.payload).unwrap();
    let data = json!({"id": id, "method": "read", "params": [1, 2]});
    assert_eq!(message, json!({"device": "meter", "data": data}));
    // For a device that is not its child, and of one that does not have this command.
    for (device, n) in [("alone", 1), ("gw", 2)] {
        gateway.say("v1/gateway/rpc", &json!({"device": device, "id": id, "data": 1}));
        wait_for("the stray answer", LIMIT, || {
            let n_stray = server.metric("onemap_refused_total{reason=\"stray_answer\"}")?;
            (n_stray == n).then_some(())
        });
    }
    gateway.say(
        "v1/gateway/rpc",
        &json!({"device": "meter", "id": id, "data": {"v": 7}}),
    );
    assert_eq!(facts(&server, id, "executed"), "created sent received executed");
    let shown = server.get(&format!("/api/v1/commands/{id}"));
    assert_eq!(
        (&shown["result"], &shown["facts"][1]["over"]),
        (&json!({"v": 7}), &json!("gateway"))
    );
}

#[test]
fn the_command_line_orders_lists_and_takes_back() {
    let server = Server::new();
    let token = server.add_device("lamp", &json!({}));
    let dir = server.dir.clone();
    let onemap = |args: &[&str]| {
        let out = Command::new(binary("onemap"))
            .arg("--data-dir")
            .arg(&dir)
            .arg("command")
            .args(args)
            .output()
            .unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        (out.status.code().unwrap(), text)
    };
    let (code, id) = onemap(&["send", "lamp", "on", "{\"level\":3}", "--ttl", "60s"]);
    assert_eq!(code, 0, "{id}");
    let id = id.trim().to_owned();
    let (_, list) = onemap(&["list", "--device", "lamp"]);
    assert!(list.contains("lamp") && list.contains("created"), "{list}");
    let (code, shown) = onemap(&["cancel", &id, "--note", "误发"]);
    assert!(code == 0 && shown.contains("cancelled"), "{shown}");
    let device = Device::connect(&server, &token, &[REQUESTS]);
    let (code, shown) = std::thread::scope(|scope| {
        let call = scope.spawn(|| onemap(&["send", "lamp", "off", "--wait"]));
        let (id, _) = device.request();
        device.answer(id, &json!({"off": true}));
        call.join().unwrap()
    });
    assert!(
        code == 0 && shown.contains("executed") && shown.contains("off"),
        "{shown}"
    );
    let (code, shown) = onemap(&["send", "lamp", "off", "{", "--wait"]);
    assert!(code == 1 && shown.contains("not JSON"), "{shown}");
}

#[test]
fn a_key_is_its_caller_s_own() {
    let server = Server::new();
    server.add_device("valve", &json!({"division": "630102"}));
    let token = |name: &str, role: &str, division: Option<&str>| {
        let body = json!({"name": name, "role": role, "division": division});
        server.post("/api/v1/tokens", &body)["token"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let post = |token: &str, params: u64| {
        let body = json!({"device": "valve", "method": "open", "params": params, "idempotency_key": "k-1"});
        let (status, answer) = request(
            &server.http,
            token,
            "POST",
            "/api/v1/commands",
            Some(&body.to_string()),
        );
        (status, answer["id"].as_u64())
    };
    let desk = token("desk", "commander", Some("630102"));
    let (status, first) = post(&desk, 1);
    assert_eq!(status, 201);
    let mut ids = vec![first];
    // Another order under the same key, of callers that differ in one thing.
    for (n, (name, role, division)) in (2..).zip([
        ("wall", "commander", Some("630102")),
        ("desk", "operator", Some("630102")),
        ("desk", "commander", None),
    ]) {
        let (status, id) = post(&token(name, role, division), n);
        assert_eq!(status, 201, "{name} {role} {division:?}");
        assert!(!ids.contains(&id), "{ids:?} {id:?}");
        ids.push(id);
    }
    // A token is not the caller: who he is stays when he gets a new one.
    let renewed = token("desk", "commander", Some("630102"));
    assert_eq!(post(&renewed, 1), (200, first));
    assert_eq!(post(&renewed, 9).0, 409);
    let server = server.kill_and_restart();
    let body =
        json!({"device": "valve", "method": "open", "params": 1, "idempotency_key": "k-1"}).to_string();
    let (status, answer) = request(&server.http, &desk, "POST", "/api/v1/commands", Some(&body));
    assert_eq!((status, answer["id"].as_u64()), (200, first));
}

#[test]
fn a_gateway_hears_of_a_child_by_the_name_it_uses_itself() {
    let server = Server::new();
    let token = server.add_device("gw", &json!({"is_gateway": true, "adopts": true}));
    server.add_device("c1", &json!({"gateway": "gw", "name": "水泵"}));
    server.add_device("c2", &json!({"gateway": "gw", "name": "二号"}));
    let gateway = Device::connect(&server, &token, &["v1/gateway/rpc"]);
    gateway.say("v1/gateway/connect", &json!({"device": "水泵"}));
    gateway.say("v1/gateway/telemetry", &json!({"Pump 3": [{"temperature": 3}]}));
    let children = || server.get("/api/v1/devices/gw")["children"].clone();
    let adopted = wait_for("the adopted child", LIMIT, || {
        let all = children();
        let mut ids = all.as_array()?.iter().filter_map(Value::as_str);
        ids.find(|id| !["c1", "c2"].contains(id)).map(str::to_owned)
    });
    assert_ne!(adopted, "Pump 3", "a blank cannot be in an id");
    server.caught_up();
    // By the name it connected, by the name it was adopted under, and by the id where it has said neither.
    for (child, name) in [("c1", "水泵"), (adopted.as_str(), "Pump 3"), ("c2", "c2")] {
        let id = order(&server, child, "read", &json!({}));
        let publish = gateway.next();
        gateway.client.ack(&publish).unwrap();
        let message: Value = serde_json::from_slice(&publish.payload).unwrap();
        assert_eq!(
            (&message["device"], &message["data"]["id"]),
            (&json!(name), &json!(id))
        );
        gateway.say(
            "v1/gateway/rpc",
            &json!({"device": name, "id": id, "data": {"v": 1}}),
        );
        facts(&server, id, "executed");
    }
}

#[test]
fn orders_at_the_same_moment_do_not_pass_the_limit_together() {
    const MOST: usize = 5;
    let folder = tempfile::tempdir().unwrap();
    let config = format!("[commands]\nwaiting_per_device = {MOST}\n");
    std::fs::write(folder.path().join("onemap.toml"), format!("{CONFIG}{config}")).unwrap();
    let server = Server::start_in(folder.path());
    server.add_device("v", &json!({"kind": "valve"}));
    let start = std::sync::Barrier::new(24);
    let answers: Vec<(u16, Value)> = std::thread::scope(|scope| {
        let post = |_| {
            scope.spawn(|| {
                let body = json!({"device": "v", "method": "open"}).to_string();
                start.wait();
                request(
                    &server.http,
                    &server.token,
                    "POST",
                    "/api/v1/commands",
                    Some(&body),
                )
            })
        };
        let threads: Vec<_> = (0..24).map(post).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut n_taken = answers.iter().filter(|(status, _)| *status == 201).count();
    assert!((1..=MOST).contains(&n_taken), "{answers:?}");
    for (status, problem) in answers.iter().filter(|(status, _)| *status != 201) {
        assert_eq!((*status, &problem["code"]), (429, &json!("too_many_waiting")));
    }
    // For the moment in which an order is folded it takes two places, so that some may have been turned away.
    let body = json!({"device": "v", "method": "open"}).to_string();
    while server.request("POST", "/api/v1/commands", Some(&body)).0 == 201 {
        n_taken += 1;
    }
    assert_eq!(n_taken, MOST);
    // A place that is free again is given again.
    let first = answers.iter().find(|(status, _)| *status == 201).unwrap();
    let path = format!("/api/v1/commands/{}/cancel", first.1["id"]);
    assert_eq!(server.request("POST", &path, Some("{}")).0, 200);
    order(&server, "v", "open", &json!({}));
}
