//! Devices as a city manages them: profiles from files, life, tokens, children, self-registration, import.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::{Server, binary, request, wait_for};

const SOON: Duration = Duration::from_secs(20);

/// An MQTT 3.1.1 client of a few packets.
struct Client(TcpStream);

impl Client {
    /// Connects; gives the client and CONNACK's code.
    fn connect(server: &Server, user: &str) -> (Self, u8) {
        let mut stream = TcpStream::connect(("127.0.0.1", server.mqtt_port)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut body = b"\x00\x04MQTT\x04\x82\x00\x3c".to_vec();
        for text in ["it", user] {
            body.extend_from_slice(&(text.len() as u16).to_be_bytes());
            body.extend_from_slice(text.as_bytes());
        }
        send(&mut stream, 0x10, &body);
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).unwrap();
        (Self(stream), connack[3])
    }

    fn publish(&mut self, topic: &str, payload: &str) {
        let mut body = (topic.len() as u16).to_be_bytes().to_vec();
        body.extend_from_slice(topic.as_bytes());
        body.extend_from_slice(&[0, 1]);
        body.extend_from_slice(payload.as_bytes());
        send(&mut self.0, 0x32, &body);
    }

    /// Subscribes; gives SUBACK's code.
    fn subscribe(&mut self, filter: &str) -> u8 {
        let mut body = vec![0, 9];
        body.extend_from_slice(&(filter.len() as u16).to_be_bytes());
        body.extend_from_slice(filter.as_bytes());
        body.push(0);
        send(&mut self.0, 0x82, &body);
        self.packet(0x90).pop().unwrap()
    }

    /// The body of the next packet of a type; others are read over.
    fn packet(&mut self, first: u8) -> Vec<u8> {
        loop {
            let mut head = [0; 1];
            self.0.read_exact(&mut head).unwrap();
            let (mut length, mut shift) = (0_usize, 0);
            loop {
                let mut byte = [0; 1];
                self.0.read_exact(&mut byte).unwrap();
                length |= usize::from(byte[0] & 0x7F) << shift;
                shift += 7;
                if byte[0] & 0x80 == 0 {
                    break;
                }
            }
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).unwrap();
            if head[0] & 0xF0 == first & 0xF0 {
                return body;
            }
        }
    }

    /// Whether the server still answers.
    fn is_open(&mut self) -> bool {
        if self.0.write_all(&[0xC0, 0]).is_err() {
            return false;
        }
        let mut answer = [0; 2];
        self.0.read_exact(&mut answer).is_ok()
    }

    /// Waits until the server has closed the connection.
    fn expect_cut(mut self) {
        let started = Instant::now();
        let mut scrap = [0; 64];
        loop {
            match self.0.read(&mut scrap) {
                Ok(0) => return,
                Ok(_) => {}
                Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return,
                Err(e) => panic!("not cut within {:?}: {e}", started.elapsed()),
            }
        }
    }
}

fn send(stream: &mut TcpStream, first: u8, body: &[u8]) {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let byte = (length & 0x7F) as u8;
        length >>= 7;
        packet.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    stream.write_all(&packet).unwrap();
}

fn device(server: &Server, id: &str) -> Value {
    server.get(&format!("/api/v1/devices/{id}"))
}

fn refused(server: &Server, reason: &str) -> u64 {
    server
        .metric(&format!("onemap_refused_total{{reason=\"{reason}\"}} "))
        .unwrap_or(0)
}

fn telemetry(client: &mut Client, payload: &str) {
    client.publish("v1/devices/me/telemetry", payload);
    client.packet(0x40);
}

#[test]
fn a_changed_profile_is_taken_up_and_a_faulty_one_is_not() {
    let server = Server::new();
    let path = server.dir.join("profiles/deep.yaml");
    let head = "version: 1\nname: {zh: 深, en: Deep}\nprotocol: thingsboard\ntimestamp: {path: $.at, format: s}\nkeys:\n";
    std::fs::write(
        &path,
        format!("{head}  $.data.pm[*].v: {{quantity: pm2_5, scale: 0.1}}\n"),
    )
    .unwrap();
    let profile = || {
        let profiles = server.get("/api/v1/profiles");
        let items = profiles["items"].as_array().unwrap().clone();
        items
            .into_iter()
            .find(|p| p["id"] == "deep")
            .map(|p| p["text"].as_str().unwrap().to_owned())
    };
    wait_for("the new profile", SOON, profile);
    let token = server.add_device("deep-1", &json!({"profile": "deep"}));
    let (mut client, code) = Client::connect(&server, &token);
    assert_eq!(code, 0);
    let at = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
        - 30;
    telemetry(
        &mut client,
        &format!(r#"{{"at":{at},"data":{{"pm":[{{"v":120}},{{}},{{"v":340}}]}}}}"#),
    );
    wait_for("two nested values", SOON, || {
        let all = server.get("/api/v1/latest?device=deep-1&quantity=pm2_5");
        (all["items"].as_array().unwrap().len() == 2).then_some(())
    });
    let latest = server.get("/api/v1/latest?device=deep-1&quantity=pm2_5");
    let mut values: Vec<f64> = latest["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["value"].as_f64().unwrap())
        .collect();
    values.sort_by(f64::total_cmp);
    assert_eq!(values, [12.0, 34.0]);

    let faults = || server.metric("onemap_config_faults_total ").unwrap();
    let before = faults();
    std::fs::write(&path, format!("{head}  $..pm: {{quantity: pm2_5}}\n")).unwrap();
    wait_for("the fault's counter", SOON, || (faults() > before).then_some(()));
    assert!(profile().unwrap().contains("[*]"), "the former profile stays");
    std::fs::write(&path, format!("{head}  $.pm: {{quantity: pm2_5}}\n")).unwrap();
    wait_for("the repaired profile", SOON, || {
        profile().unwrap().contains("$.pm:").then_some(())
    });
}

#[test]
fn a_device_lives_from_provisioned_to_retired() {
    let server = Server::new();
    let token = server.add_device("d", &json!({"cadence_s": 1, "kind": "river_gauge"}));
    server.add_device("other", &json!({"name": "别的"}));
    assert_eq!(device(&server, "d")["lifecycle"], "provisioned");
    let (mut client, _) = Client::connect(&server, &token);
    telemetry(&mut client, r#"{"temperature":1}"#);
    let shown = wait_for("the first reading", SOON, || {
        let shown = device(&server, "d");
        (shown["lifecycle"] == "active").then_some(shown)
    });
    assert_eq!(
        (&shown["connected"], &shown["has_token"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(shown["connections"][0]["client_id"], "it");
    assert!(shown["last_peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    wait_for("its silence", SOON, || {
        (device(&server, "d")["lifecycle"] == "silent").then_some(())
    });
    for (query, n) in [
        ("state=silent", 1),
        ("state=provisioned", 1),
        ("state=retired", 0),
        ("kind=river_gauge", 1),
        ("q=%E5%88%AB", 1),
        ("q=OTHER", 1),
        ("q=nobody", 0),
        ("status=unknown", 2),
        ("gateway=g", 0),
        ("profile=p", 0),
    ] {
        let items = server.get(&format!("/api/v1/devices?{query}"));
        assert_eq!(items["items"].as_array().unwrap().len(), n, "{query}");
        let summary = server.get(&format!("/api/v1/devices/summary?{query}"));
        assert_eq!(summary["total"], n, "{query}");
    }
    let (status, _) = server.request("GET", "/api/v1/devices?state=asleep", None);
    assert_eq!(status, 400);

    let (status, patched) = server.request(
        "PATCH",
        "/api/v1/devices/d",
        Some(r#"{"name":"甲","cadence_s":60,"name_en":null}"#),
    );
    assert_eq!(
        (status, &patched["name"], &patched["cadence_s"]),
        (200, &json!("甲"), &json!(60))
    );
    assert_eq!(patched["kind"], "river_gauge", "what is not stated stays");
    for bad in [
        r#"{"id":"e"}"#,
        r#"{"colour":1}"#,
        r#"{"profile":"none"}"#,
        r#"{"gateway":"other"}"#,
        "[]",
    ] {
        let (status, problem) = server.request("PATCH", "/api/v1/devices/d", Some(bad));
        assert_eq!(status, 400, "{bad}: {problem}");
    }

    let until = onemap_model::Timestamp::from_ms(
        onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms() + 3_000,
    );
    let body = json!({"until": until.to_string(), "note": "换电池"});
    let shown = server.post("/api/v1/devices/d/maintenance", &body);
    assert_eq!(
        (&shown["lifecycle"], &shown["maintenance"]["note"]),
        (&json!("maintenance"), &json!("换电池"))
    );
    wait_for("the end of the maintenance", SOON, || {
        (device(&server, "d")["state"] == "active").then_some(())
    });
    telemetry(&mut client, r#"{"temperature":2}"#);
    let latest = wait_for("a reading after it", SOON, || {
        server.latest("d", "temperature").filter(|l| l["value"] == 2.0)
    });
    assert!(!latest.to_string().contains("maintenance"), "{latest}");
    let (status, _) = server.request(
        "POST",
        "/api/v1/devices/d/maintenance",
        Some(r#"{"until":"2020-01-01T00:00:00Z"}"#),
    );
    assert_eq!(status, 400);

    assert_eq!(
        server.post("/api/v1/devices/d/retire", &json!({}))["lifecycle"],
        "retired"
    );
    client.expect_cut();
    assert_eq!(Client::connect(&server, &token).1, 4, "its token has ended");
    let (status, _) = server.request("POST", "/api/v1/devices/d/token", None);
    assert_eq!(status, 409);
    assert_eq!(
        server.post("/api/v1/devices/d/activate", &json!({}))["has_token"],
        false
    );
    let token = server.post("/api/v1/devices/d/token", &json!({}))["token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(Client::connect(&server, &token).1, 0);
}

#[test]
fn a_token_s_end_cuts_its_connections() {
    let server = Server::new();
    let one = server.add_device("d", &json!({}));
    let (first, _) = Client::connect(&server, &one);
    let rotate = |body: Value| {
        server.post("/api/v1/devices/d/token", &body)["token"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let two = rotate(json!({}));
    first.expect_cut();
    assert_eq!(Client::connect(&server, &one).1, 4);

    let (mut second, _) = Client::connect(&server, &two);
    let three = rotate(json!({"grace_s": 4}));
    assert!(second.is_open(), "the former token has its grace");
    let server = server.kill_and_restart();
    assert_eq!(Client::connect(&server, &three).1, 0);
    let (status, _) = server.request("POST", "/api/v1/devices/d/token", Some(r#"{"grace":1}"#));
    assert_eq!(status, 400);
    wait_for("the end of the grace", SOON, || {
        (Client::connect(&server, &two).1 == 4).then_some(())
    });
    let (mut third, code) = Client::connect(&server, &three);
    assert_eq!(code, 0);
    assert!(third.is_open(), "the new one is untouched by the old one's end");
    let (status, _) = server.request("DELETE", "/api/v1/devices/d/token", None);
    assert_eq!(status, 204);
    third.expect_cut();
    assert_eq!(Client::connect(&server, &three).1, 4);
}

#[test]
fn a_gateway_adopts_its_children_and_nobody_else_s() {
    let server = Server::new();
    let token = server.add_device(
        "gw",
        &json!({"is_gateway": true, "adopts": true, "division": "630102"}),
    );
    server.add_device("strict", &json!({"is_gateway": true}));
    server.add_device("alone", &json!({}));
    server.add_device("theirs", &json!({"gateway": "strict"}));
    let (mut client, _) = Client::connect(&server, &token);
    client.publish(
        "v1/gateway/connect",
        r#"{"device":"Device A","type":"soil_probe"}"#,
    );
    client.packet(0x40);
    client.publish(
        "v1/gateway/telemetry",
        r#"{"Device A":[{"temperature":3}],"b1":[{"temperature":4}],"alone":[{"temperature":5}],"theirs":[{"temperature":6}]}"#,
    );
    client.packet(0x40);
    let children = wait_for("two children", SOON, || {
        let children = device(&server, "gw")["children"].as_array()?.clone();
        (children.len() == 2).then_some(children)
    });
    assert_eq!(children[1], "b1");
    let a = children[0].as_str().unwrap();
    let shown = device(&server, a);
    assert_eq!(
        (&shown["name"], &shown["kind"]),
        (&json!("Device A"), &json!("soil_probe"))
    );
    assert_eq!(
        (&shown["division"], &shown["gateway"]),
        (&json!("630102"), &json!("gw"))
    );
    assert_eq!(shown["gateway_connected"], true);
    wait_for("its reading", SOON, || {
        server.latest(a, "temperature").filter(|l| l["value"] == 3.0)
    });
    wait_for("the refusals", SOON, || {
        (refused(&server, "unknown_child") >= 2).then_some(())
    });
    assert_eq!(server.latest("alone", "temperature"), None);
    assert_eq!(server.latest("theirs", "temperature"), None);

    server.caught_up();
    let server = server.kill_and_restart();
    assert_eq!(device(&server, "gw")["children"].as_array().unwrap().len(), 2);
    let (status, _) = server.request("PATCH", "/api/v1/devices/b1", Some(r#"{"name":"乙"}"#));
    assert_eq!(status, 200);
    server.post("/api/v1/devices/b1/retire", &json!({}));
    let (mut client, _) = Client::connect(&server, &token);
    let before = refused(&server, "retired");
    client.publish("v1/gateway/telemetry", r#"{"b1":[{"temperature":7}]}"#);
    client.packet(0x40);
    wait_for("the retired child's refusal", SOON, || {
        (refused(&server, "retired") > before).then_some(())
    });
}

#[test]
fn a_gateway_adopts_a_thousand_children_and_no_more() {
    let server = Server::new();
    let token = server.add_device("gw", &json!({"is_gateway": true, "adopts": true}));
    server.add_device("registered", &json!({"gateway": "gw"}));
    let (mut client, _) = Client::connect(&server, &token);
    // Some names are ids and some are not: those children answer to two names.
    let parts: Vec<_> = (0..1_500)
        .map(|i| {
            format!(
                r#""{}{i}":[{{"temperature":1,"humidity":2}}]"#,
                if i % 2 == 0 { "a " } else { "b" }
            )
        })
        .collect();
    client.publish("v1/gateway/telemetry", &format!("{{{}}}", parts.join(",")));
    client.packet(0x40);
    wait_for("what is over is refused", SOON, || {
        (refused(&server, "too_many_children") == 501).then_some(())
    });
    assert_eq!(device(&server, "gw")["children"].as_array().unwrap().len(), 1_000);
    // It is counted before it is kept.
    server.caught_up();
    let kept = server.get("/api/v1/quarantine?reason=too_many_children");
    assert!(!kept["items"].as_array().unwrap().is_empty(), "{kept}");
    // One that a person registers is heard all the same.
    server.add_device("late", &json!({"gateway": "gw"}));
    client.publish("v1/gateway/telemetry", r#"{"late":[{"temperature":2}]}"#);
    client.packet(0x40);
    wait_for("its reading", SOON, || server.latest("late", "temperature"));
    // Long lists are made in pieces: their pages are the whole all the same.
    for (list, key) in [("latest", "series"), ("series", "id"), ("devices", "id")] {
        let whole = server.get(&format!("/api/v1/{list}?limit=100000"));
        assert_eq!(whole["next"], Value::Null);
        let items = whole["items"].as_array().unwrap();
        assert_eq!(items.len(), if list == "devices" { 1_002 } else { 2 * 999 + 1 });
        let (mut pages, mut after) = (Vec::new(), String::new());
        loop {
            let page = server.get(&format!("/api/v1/{list}?limit=333{after}"));
            pages.extend(page["items"].as_array().unwrap().clone());
            let Some(next) = page["next"].as_str() else { break };
            assert_eq!(pages.len() % 333, 0);
            after = format!("&after={next}");
        }
        let of = |items: &[Value]| items.iter().map(|i| i[key].clone()).collect::<Vec<_>>();
        assert_eq!(of(&pages), of(items), "{list}");
    }
}

#[test]
fn devices_register_themselves_with_a_profile_s_secret() {
    let server = Server::new();
    let put = "version: 1\nname: {zh: 甲, en: A}\nprotocol: thingsboard\n";
    for profile in ["fresh", "known"] {
        let (status, _) = server.request("PUT", &format!("/api/v1/profiles/{profile}"), Some(put));
        assert_eq!(status, 200);
    }
    let opened = server.post("/api/v1/profiles/fresh/provisioning", &json!({"strategy": "new"}));
    let text = |value: &Value, key: &str| value[key].as_str().unwrap().to_owned();
    let ask = |opened: &Value, name: &str, secret: Option<&str>| {
        json!({"deviceName": name, "provisionDeviceKey": opened["provisionDeviceKey"],
               "provisionDeviceSecret": secret.unwrap_or(opened["provisionDeviceSecret"].as_str().unwrap())})
        .to_string()
    };
    let (mut client, code) = Client::connect(&server, "provision");
    assert_eq!(code, 0);
    assert_eq!(client.subscribe("v1/devices/me/#"), 0x80);
    assert_eq!(client.subscribe("/provision/response"), 0);
    let mut answer = |request: &str| -> Value {
        client.publish("/provision/request", request);
        let body = client.packet(0x30);
        serde_json::from_slice(&body[2 + "/provision/response".len()..]).unwrap()
    };
    let given = answer(&ask(&opened, "new-1", None));
    assert_eq!(
        (&given["status"], &given["credentialsType"]),
        (&json!("SUCCESS"), &json!("ACCESS_TOKEN"))
    );
    let (mut registered, code) = Client::connect(&server, &text(&given, "credentialsValue"));
    assert_eq!(code, 0);
    telemetry(&mut registered, r#"{"temperature":1}"#);
    assert_eq!(device(&server, "new-1")["profile"], "fresh");
    for wrong in [
        ask(&opened, "new-1", None),
        ask(&opened, "new-2", Some("wrong-secret")),
        "{".to_owned(),
        r#"{"deviceName":""}"#.to_owned(),
    ] {
        assert_eq!(answer(&wrong)["status"], "FAILURE", "{wrong}");
    }
    assert_eq!(refused(&server, "bad_provisioning"), 4);
    let kept = wait_for("the kept requests", SOON, || {
        let kept = server.get("/api/v1/quarantine?reason=bad_provisioning");
        (kept["items"].as_array()?.len() == 4).then_some(kept)
    });
    let kept = kept["items"].to_string();
    assert!(kept.contains("new-2") && !kept.contains("wrong-secret"), "{kept}");
    assert!(!kept.contains(&text(&opened, "provisionDeviceSecret")));

    // Known devices over HTTP, each once.
    let fresh = opened;
    let opened = server.post(
        "/api/v1/profiles/known/provisioning",
        &json!({"strategy": "known"}),
    );
    let post = |body: &str| request(&server.http, "", "POST", "/api/v1/provision", Some(body)).1;
    server.add_device("known-1", &json!({"profile": "known"}));
    assert_eq!(
        post(&ask(&opened, "known-1", None))["status"],
        "FAILURE",
        "it has a token"
    );
    server.request("DELETE", "/api/v1/devices/known-1/token", None);
    assert_eq!(device(&server, "known-1")["revoked"], true);
    let revoked = post(&ask(&opened, "known-1", None));
    assert_eq!(revoked["status"], "FAILURE");
    assert!(text(&revoked, "errorMsg").contains("were revoked"), "{revoked}");
    assert_eq!(refused(&server, "revoked"), 1);
    let retired = server.post("/api/v1/devices/known-1/retire", &json!({}));
    assert_eq!(retired["lifecycle"], "retired");
    let retired = post(&ask(&opened, "known-1", None));
    assert!(text(&retired, "errorMsg").contains("is retired"), "{retired}");
    assert_eq!(refused(&server, "retired"), 1);
    let active = server.post("/api/v1/devices/known-1/activate", &json!({}));
    assert_eq!(
        (&active["lifecycle"], &active["revoked"]),
        (&json!("provisioned"), &json!(false))
    );
    assert_eq!(post(&ask(&opened, "known-1", None))["status"], "SUCCESS");
    assert_eq!(post(&ask(&opened, "known-1", None))["status"], "FAILURE", "once");
    assert_eq!(
        post(&ask(&opened, "known-2", None))["status"],
        "FAILURE",
        "nobody knows it"
    );
    let shown = server.get("/api/v1/profiles/known/provisioning");
    assert!(shown["open"] == true && shown.get("provisionDeviceSecret").is_none());
    let server = server.kill_and_restart();
    let (status, _) = server.request("DELETE", "/api/v1/profiles/fresh/provisioning", None);
    assert_eq!(status, 204);
    let late = request(
        &server.http,
        "",
        "POST",
        "/api/v1/provision",
        Some(&ask(&fresh, "x", None)),
    )
    .1;
    assert_eq!(late["status"], "FAILURE");

    // A client that guesses is soon not heard any more.
    let mut limited = false;
    for _ in 0..30 {
        let (_, answer) = request(
            &server.http,
            "",
            "POST",
            "/api/v1/provision",
            Some(&ask(&opened, "g", Some("guess"))),
        );
        limited |= answer["errorMsg"].as_str().unwrap().contains("too many");
    }
    assert!(limited && refused(&server, "rate_limited") > 0);
}

#[test]
fn ten_thousand_devices_come_in_from_one_file() {
    let server = Server::new();
    let mut csv = String::from("id,name,kind,lon,lat,crs,cadence_s,gateway,is_gateway\n");
    csv.push_str("gw,网关,gateway,,,,,,true\n");
    for i in 0..10_000 {
        csv.push_str(&format!(
            "n{i:05},\"测点, {i}\",air_station,101.7{:04},36.6{:04},GCJ02,60,gw,\n",
            i % 9999,
            i % 777
        ));
    }
    csv.push_str("bad id,x,k,,,,,,\nn00001,again,k,,,,,,\nx1,x,k,east,36,,,,\nx2,x,k,,,,,nobody,\n");
    let file = server.dir.join("devices.csv");
    std::fs::write(&file, csv).unwrap();
    let tokens = server.dir.join("tokens.csv");
    let run = |more: &[&str]| {
        let mut command = Command::new(binary("onemap"));
        command
            .arg("--data-dir")
            .arg(&server.dir)
            .arg("--config")
            .arg(server.dir.join("onemap.toml"));
        command.args(["device", "import"]).arg(&file).args(more);
        command.output().unwrap()
    };
    let dry = run(&["--dry-run"]);
    assert!(!dry.status.success(), "four lines are faulty");
    assert!(
        server.get("/api/v1/devices?limit=1")["items"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let started = Instant::now();
    let done = run(&["--tokens", tokens.to_str().unwrap()]);
    let took = started.elapsed();
    let (out, err) = (
        String::from_utf8(done.stdout).unwrap(),
        String::from_utf8(done.stderr).unwrap(),
    );
    assert_eq!(out.trim(), "10001 imported, 0 changed, 4 refused", "{err}");
    for place in [
        ":10003: id: ",
        ":10004: id: ",
        ":10005: lon: ",
        ":10006: gateway: ",
    ] {
        assert!(err.contains(place), "{place} is not in {err}");
    }
    assert!(took < Duration::from_secs(60), "took {took:?}");
    eprintln!("10,001 devices in {took:?}");
    assert_eq!(
        std::fs::metadata(&tokens).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let text = std::fs::read_to_string(&tokens).unwrap();
    assert_eq!(text.lines().count(), 10_002);
    let token = text.lines().find_map(|l| l.strip_prefix("n04711,")).unwrap();
    assert_eq!(Client::connect(&server, token).1, 0);
    assert_eq!(server.get("/api/v1/devices/summary?gateway=gw")["total"], 10_000);

    let again = run(&[
        "--replace",
        "--tokens",
        server.dir.join("none.csv").to_str().unwrap(),
    ]);
    let out = String::from_utf8(again.stdout).unwrap();
    assert_eq!(out.trim(), "0 imported, 10001 changed, 4 refused");
    assert_eq!(
        Client::connect(&server, token).1,
        0,
        "a changed device keeps its token"
    );
    let again = run(&["--tokens", server.dir.join("none2.csv").to_str().unwrap()]);
    assert!(
        String::from_utf8(again.stderr)
            .unwrap()
            .contains("registered already")
    );
}

#[test]
fn an_officer_of_one_division_neither_sees_nor_changes_another() {
    let server = Server::new();
    let (status, _) = server.request(
        "PUT",
        "/api/v1/profiles/p",
        Some("version: 1\nname: {zh: 甲, en: A}\nprotocol: thingsboard\n"),
    );
    assert_eq!(status, 200);
    server.add_device("own", &json!({"division": "630102"}));
    server.add_device("far", &json!({"division": "630103"}));
    server.add_device("gw-own", &json!({"division": "630102", "is_gateway": true}));
    server.add_device("gw-far", &json!({"division": "630103", "is_gateway": true}));
    let token = |role: &str| {
        let body = json!({"role": role, "division": "630102", "name": role});
        server.post("/api/v1/tokens", &body)["token"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (integrator, officer) = (token("integrator"), token("officer"));
    let csv = "id,division\nmine,630102\ntheirs,630103\n";
    // Method, path, body, then what an integrator and an officer of 630102 get.
    for (method, path, body, by_integrator, by_officer) in [
        ("GET", "/api/v1/devices/own", "", 200, 200),
        ("GET", "/api/v1/devices/far", "", 404, 404),
        ("PATCH", "/api/v1/devices/own", r#"{"name":"x"}"#, 200, 403),
        (
            "PATCH",
            "/api/v1/devices/own",
            r#"{"division":"630103"}"#,
            403,
            403,
        ),
        (
            "PATCH",
            "/api/v1/devices/own",
            r#"{"gateway":"gw-far"}"#,
            403,
            403,
        ),
        (
            "PATCH",
            "/api/v1/devices/own",
            r#"{"gateway":"gw-own"}"#,
            200,
            403,
        ),
        ("PATCH", "/api/v1/devices/own", r#"{"gateway":null}"#, 200, 403),
        ("PATCH", "/api/v1/devices/far", r#"{"name":"x"}"#, 404, 403),
        ("POST", "/api/v1/devices/own/maintenance", "{}", 200, 403),
        ("POST", "/api/v1/devices/far/maintenance", "{}", 404, 403),
        ("POST", "/api/v1/devices/own/activate", "", 200, 403),
        ("POST", "/api/v1/devices/far/activate", "", 404, 403),
        ("POST", "/api/v1/devices/far/retire", "", 404, 403),
        ("POST", "/api/v1/devices/own/token", "", 201, 403),
        ("POST", "/api/v1/devices/far/token", "", 404, 403),
        ("DELETE", "/api/v1/devices/far/token", "", 404, 403),
        ("DELETE", "/api/v1/devices/own/token", "", 204, 403),
        ("POST", "/api/v1/devices/own/retire", "", 200, 403),
        ("GET", "/api/v1/profiles/p/provisioning", "", 200, 403),
        ("POST", "/api/v1/profiles/p/provisioning", "", 403, 403),
        ("DELETE", "/api/v1/profiles/p/provisioning", "", 403, 403),
        ("POST", "/api/v1/devices/import", csv, 200, 403),
        ("GET", "/api/v1/devices/summary", "", 200, 200),
    ] {
        for (bearer, want) in [(&integrator, by_integrator), (&officer, by_officer)] {
            let (status, answer) = request(&server.http, bearer, method, path, Some(body));
            assert_eq!(status, want, "{method} {path} {body}: {answer}");
        }
        let (status, _) = request(&server.http, "nobody", method, path, Some(body));
        assert_eq!(status, 401, "{method} {path}");
    }
    let (_, seen) = request(&server.http, &officer, "GET", "/api/v1/devices", None);
    let ids: Vec<&str> = seen["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["gw-own", "mine", "own"]);
    let (_, summary) = request(&server.http, &officer, "GET", "/api/v1/devices/summary", None);
    assert_eq!(summary["total"], 3);
    let child = json!({"id": "child", "name": "子", "kind": "k", "division": "630102", "gateway": "gw-far"});
    let (status, problem) = request(
        &server.http,
        &integrator,
        "POST",
        "/api/v1/devices",
        Some(&child.to_string()),
    );
    assert_eq!((status, &problem["code"]), (403, &json!("foreign_gateway")));
    // Neither is a child taken whose gateway's own line is refused, be it before or behind the child's.
    let csv = "id,division,gateway,is_gateway\nc1,630102,g-far,\ng-far,630103,,yes\nc2,630102,g-far,\n\
        c3,630102,g-near,\ng-near,630102,,yes\nc4,630102,gw-far,\ng-bad,63,,yes\nc5,630102,g-bad,\n";
    let path = "/api/v1/devices/import";
    let (status, answer) = request(&server.http, &integrator, "POST", path, Some(csv));
    assert_eq!(status, 200, "{answer}");
    let faults: Vec<_> = answer["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["line"].as_u64().unwrap(), e["column"].as_str().unwrap()))
        .collect();
    let want = [
        (2, "gateway"),
        (3, "division"),
        (4, "gateway"),
        (7, "gateway"),
        (8, "division"),
        (9, "gateway"),
    ];
    assert_eq!(faults, want, "{answer}");
    let taken: Vec<_> = answer["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| &t["id"])
        .collect();
    assert_eq!(taken, ["c3", "g-near"], "in the order of the file");
    assert_eq!(
        device(&server, "far")["lifecycle"],
        "provisioned",
        "nobody touched it"
    );
}

#[test]
fn a_known_device_is_replaced_only_when_that_is_asked_for() {
    let server = Server::new();
    server.add_device("gw", &json!({"is_gateway": true}));
    let full = json!({"gateway": "gw", "cadence_s": 60, "division": "630102",
                      "position": {"lon": 101.78, "lat": 36.62}});
    server.add_device("d", &full);
    let bare = json!({"id": "d", "name": "d", "kind": "air_station"});
    let add = |path: &str, body: &Value| server.request("POST", path, Some(&body.to_string()));
    for path in ["/api/v1/devices", "/api/v1/devices?replace=false"] {
        let (status, problem) = add(path, &bare);
        assert_eq!((status, &problem["code"]), (409, &json!("known_device")));
    }
    let kept = device(&server, "d");
    assert_eq!(
        (&kept["gateway"], &kept["cadence_s"], &kept["division"]),
        (&json!("gw"), &json!(60), &json!("630102"))
    );
    let (status, problem) = add("/api/v1/devices?replac=true", &bare);
    assert_eq!((status, &problem["code"]), (400, &json!("bad_parameter")));

    let (status, answer) = add("/api/v1/devices?replace=true", &bare);
    assert_eq!((status, answer.get("token")), (200, None), "{answer}");
    let shown = device(&server, "d");
    assert_eq!(
        (&shown["gateway"], &shown["position"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(shown["has_token"], true, "its token stays");

    let (status, _) = server.request("DELETE", "/api/v1/devices/d/token", None);
    assert_eq!(status, 204);
    server.post("/api/v1/devices/d/retire", &json!({}));
    let mut active = bare;
    active["state"] = "active".into();
    let (status, answer) = add("/api/v1/devices?replace=true", &active);
    assert_eq!((status, &answer["device"]["state"]), (200, &json!("retired")));
    let shown = device(&server, "d");
    assert_eq!(
        (&shown["lifecycle"], &shown["revoked"], &shown["has_token"]),
        (&json!("retired"), &json!(true), &json!(false))
    );
}

#[test]
fn changes_at_the_same_time_undo_nothing() {
    let server = Server::new();
    server.add_device("d", &json!({}));
    let (base, token) = (server.http.clone(), server.token.clone());
    for round in 0..10 {
        let patch = |body: Value| {
            let body = body.to_string();
            let (status, answer) = request(&base, &token, "PATCH", "/api/v1/devices/d", Some(&body));
            assert_eq!(status, 200, "{answer}");
        };
        std::thread::scope(|scope| {
            scope.spawn(|| patch(json!({"name": format!("甲 {round}")})));
            scope.spawn(|| patch(json!({"cadence_s": 60 + round})));
            scope.spawn(|| patch(json!({"department": format!("部门 {round}")})));
        });
        let device = server.get("/api/v1/devices/d");
        assert_eq!(
            (&device["name"], &device["cadence_s"], &device["department"]),
            (
                &json!(format!("甲 {round}")),
                &json!(60 + round),
                &json!(format!("部门 {round}"))
            )
        );
    }
}
