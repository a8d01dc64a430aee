//! Every dialect through its own door: what is said comes out as readings and attributes of the right device.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{CONFIG, Process, Server, binary, peer, wait_for};

const SOON: Duration = Duration::from_secs(15);

fn send(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
    let mut request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("{}{path}", server.http));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .into();
    let mut response = agent.run(request.body(body.to_vec()).unwrap()).unwrap();
    let status = response.status().as_u16();
    let mut text = String::new();
    response.body_mut().as_reader().read_to_string(&mut text).unwrap();
    (status, text)
}

/// mosquitto_sub on some topics; each message is a line `topic payload`.
fn subscribe(server: &Server, token: &str, topics: &[&str], format: &str) -> Process {
    let mut command = Command::new("mosquitto_sub");
    command.args([
        "-h",
        "127.0.0.1",
        "-p",
        &server.mqtt_port.to_string(),
        "-u",
        token,
    ]);
    command.args(["-q", "1", "-F", format]);
    for topic in topics {
        command.args(["-t", topic]);
    }
    Process::start(command)
}

/// Says something again and again until the listener hears of it: when a subscription holds, nobody tells.
fn until_heard(listener: &Process, want: &str, say: impl Fn()) {
    wait_for(want, SOON, || {
        say();
        let mut line = listener.line(Duration::from_millis(300));
        while let Some(heard) = line {
            if heard == want {
                return Some(());
            }
            line = listener.line(Duration::from_millis(50));
        }
        None
    });
}

fn value_of(server: &Server, device: &str, quantity: &str) -> Value {
    wait_for(&format!("{quantity} of {device}"), SOON, || {
        Some(server.latest(device, quantity)?["value"].clone())
    })
}

fn quarantined(server: &Server, reason: &str) -> Value {
    wait_for(reason, SOON, || {
        let kept = server.get(&format!("/api/v1/quarantine?reason={reason}"));
        kept["items"].get(0).cloned()
    })
}

/// The ledger's attributes, whole: one line each.
fn rows(dir: &std::path::Path) -> Vec<String> {
    const READ: &str = "import sqlite3, sys
for row in sqlite3.connect(sys.argv[1]).execute('SELECT * FROM attributes ORDER BY device, scope, key'): print(row)";
    let read = Command::new("python3")
        .args(["-c", READ])
        .arg(dir.join("ledger.sqlite"))
        .output()
        .unwrap();
    assert!(read.status.success(), "{read:?}");
    String::from_utf8(read.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn attributes_are_said_asked_for_and_set_and_survive_a_kill() {
    if peer("mosquitto_sub").is_none() || peer("python3").is_none() {
        return;
    }
    let server = Server::new();
    let token = server.add_device("d", &json!({}));
    let said = server.publish(
        &token,
        "v1/devices/me/attributes",
        r#"{"fw":"1.2","deep":{"a":[1]}}"#,
    );
    assert!(said.status.success());
    let (status, set) = server.request(
        "PATCH",
        "/api/v1/devices/d/attributes",
        Some(r#"{"limit":5,"mode":"auto"}"#),
    );
    assert_eq!((status, &set["shared"]["limit"]["value"]), (200, &json!(5)));
    server.request(
        "PUT",
        "/api/v1/devices/d/attributes?scope=server",
        Some(r#"{"owner":"x"}"#),
    );

    // The device asks, under its long and its short name, and never sees the server's.
    let long = subscribe(&server, &token, &["v1/devices/me/attributes/response/+"], "%t %p");
    until_heard(
        &long,
        r#"v1/devices/me/attributes/response/7 {"client":{"fw":"1.2"},"shared":{"limit":5}}"#,
        || {
            let ask = r#"{"clientKeys":"fw,none","sharedKeys":"limit"}"#;
            server.publish(&token, "v1/devices/me/attributes/request/7", ask);
        },
    );
    let short = subscribe(&server, &token, &["v2/a/res/j/+"], "%t %p");
    until_heard(
        &short,
        r#"v2/a/res/j/8 {"client":{"deep":{"a":[1]},"fw":"1.2"},"shared":{"limit":5,"mode":"auto"}}"#,
        || {
            server.publish(&token, "v2/a/req/j/8", "{}");
        },
    );

    let server = server.kill_and_restart();
    let held = server.get("/api/v1/devices/d/attributes");
    assert_eq!(held["client"]["fw"]["value"], "1.2");
    assert_eq!(held["shared"]["mode"]["value"], "auto");
    assert_eq!(held["server"]["owner"]["value"], "x");
    let (status, text) = send(
        &server,
        "GET",
        &format!("/api/v1/{token}/attributes?sharedKeys=mode"),
        &[],
        b"",
    );
    assert_eq!((status, text.as_str()), (200, r#"{"shared":{"mode":"auto"}}"#));

    // A change and a removal are told, and the device does not take its own words for the server's.
    let listener = subscribe(&server, &token, &["v1/devices/me/attributes"], "%t %p");
    let mut n = 0;
    let told = wait_for("a changed attribute", SOON, || {
        n += 1;
        server.publish(&token, "v1/devices/me/attributes", r#"{"own":1}"#);
        server.request(
            "PATCH",
            "/api/v1/devices/d/attributes",
            Some(&json!({"n": n}).to_string()),
        );
        listener.line(Duration::from_millis(300))
    });
    server.request("DELETE", "/api/v1/devices/d/attributes?keys=n,none", None);
    let mut line = told;
    while line != r#"v1/devices/me/attributes {"deleted":["n"]}"# {
        assert!(line.starts_with(r#"v1/devices/me/attributes {"n":"#), "{line}");
        line = listener.line(SOON).unwrap();
    }

    // What is no object is refused by name; the protobuf form too.
    server.publish(&token, "v1/devices/me/attributes", "[1]");
    assert_eq!(quarantined(&server, "wrong_shape")["payload"], "[1]");
    server.publish(&token, "v2/t/p", "x");
    let kept = quarantined(&server, "unknown_topic");
    assert!(kept["detail"].as_str().unwrap().contains("protobuf"), "{kept}");
    let (status, _) = server.request("PATCH", "/api/v1/devices/d/attributes?scope=client", Some("{}"));
    assert_eq!(status, 400);
    let large = json!({"k": "x".repeat(70_000)}).to_string();
    let (status, problem) = server.request("PATCH", "/api/v1/devices/d/attributes", Some(&large));
    assert_eq!((status, &problem["code"]), (400, &json!("attribute_limit")));
    server.publish(&token, "v1/devices/me/attributes", &large);
    quarantined(&server, "attribute_limit");

    // A claim is seen in the device, without its secret.
    server.publish(
        &token,
        "v1/devices/me/claim",
        r#"{"secretKey":"hush","durationMs":60000}"#,
    );
    let device = wait_for("the claim", SOON, || {
        let device = server.get("/api/v1/devices/d");
        (!device["claim"].is_null()).then_some(device)
    });
    assert!(device["claim"]["until"].is_string() && !device.to_string().contains("hush"));

    // The journal alone gives the same again.
    let mut server = server;
    server.stop();
    let again = server.dir.join("again");
    let replayed = Command::new(binary("onemap"))
        .args([
            "--data-dir",
            server.dir.to_str().unwrap(),
            "journal",
            "replay",
            "--into",
        ])
        .arg(&again)
        .output()
        .unwrap();
    assert!(replayed.status.success(), "{replayed:?}");
    let rows = rows(&server.dir);
    assert!(rows.len() >= 6, "{rows:?}");
    assert_eq!(self::rows(&again), rows);
}

#[test]
fn a_gateway_speaks_for_its_children_and_for_nobody_else() {
    if peer("mosquitto_sub").is_none() {
        return;
    }
    let server = Server::new();
    let gateway = server.add_device("gw", &json!({"is_gateway": true}));
    for child in ["pump-1", "pump-2"] {
        server.add_device(child, &json!({"gateway": "gw"}));
    }
    let other = server.add_device("other", &json!({}));
    let telemetry = r#"{"pump-1":[{"ts":1795392000000,"values":{"temperature":4}},{"humidity":40}],"nobody":[{"ph":1}],"other":{"ph":2}}"#;
    server.publish(&gateway, "v1/gateway/telemetry", telemetry);
    assert_eq!(value_of(&server, "pump-1", "humidity"), 40.0);
    let kept = quarantined(&server, "unknown_child");
    let payload: Value = serde_json::from_str(kept["payload"].as_str().unwrap()).unwrap();
    assert_eq!(payload, json!({"nobody":[{"ph":1}],"other":{"ph":2}}));
    assert!(server.latest("other", "ph").is_none());
    // The gateway was heard, and so was the child that has a reading; the silent one was not.
    let heard = |id: &str| !server.get(&format!("/api/v1/devices/{id}"))["last_received"].is_null();
    assert_eq!(
        (heard("gw"), heard("pump-1"), heard("pump-2")),
        (true, true, false)
    );

    server.publish(
        &gateway,
        "v1/gateway/connect",
        r#"{"device":"pump-2","type":"default"}"#,
    );
    server.publish(&gateway, "v1/gateway/attributes", r#"{"pump-2":{"fw":"9"}}"#);
    wait_for("the connection", SOON, || {
        let device = server.get("/api/v1/devices/pump-2");
        (device["connected_through"]["gateway"] == "gw").then_some(())
    });
    assert!(!heard("pump-2"), "to be connected is not to be heard");
    let listener = subscribe(
        &server,
        &gateway,
        &["v1/gateway/attributes", "v1/gateway/attributes/response"],
        "%t %p",
    );
    until_heard(
        &listener,
        r#"v1/gateway/attributes/response {"device":"pump-2","id":3,"value":"9"}"#,
        || {
            let ask = r#"{"id":3,"device":"pump-2","client":true,"key":"fw"}"#;
            server.publish(&gateway, "v1/gateway/attributes/request", ask);
        },
    );
    server.request(
        "PATCH",
        "/api/v1/devices/pump-2/attributes",
        Some(r#"{"limit":1}"#),
    );
    let told = r#"v1/gateway/attributes {"data":{"limit":1},"device":"pump-2"}"#;
    wait_for("the gateway to be told", SOON, || {
        (listener.line(SOON)? == told).then_some(())
    });
    server.publish(&gateway, "v1/gateway/disconnect", r#"{"device":"pump-2"}"#);
    wait_for("the disconnection", SOON, || {
        let device = server.get("/api/v1/devices/pump-2");
        device["connected_through"].is_null().then_some(())
    });

    // A device that is no gateway has its connection closed.
    server.publish(&other, "v1/gateway/telemetry", r#"{"pump-1":{"ph":9}}"#);
    let kept = quarantined(&server, "not_a_gateway");
    assert_eq!(kept["device"], "other");
    assert!(server.latest("pump-1", "ph").is_none());
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn line_protocol_is_taken_line_by_line() {
    let server = Server::new();
    let own = server.add_device("river-1", &json!({}));
    server.add_device("air-1", &json!({"division": "630102"}));
    let admin = format!("Token {}", server.token);
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms();
    let lines = format!(
        "# by hand\nwater,device=river-1 level=1.25 {now}\nweather,host=air-1,ch=2 temperature=-3i,humidity=40 {now}\r\n"
    );
    let headers = [("authorization", admin.as_str()), ("content-encoding", "gzip")];
    let path = "/api/v2/write?org=o&bucket=b&precision=ms";
    assert_eq!(
        send(&server, "POST", path, &headers, &gzip(&lines)),
        (204, String::new())
    );
    assert_eq!(value_of(&server, "river-1", "water_level"), 1.25);
    assert_eq!(value_of(&server, "air-1", "humidity"), 40.0);
    assert_eq!(server.latest("air-1", "temperature").unwrap()["ch"], 2);

    // Good lines of a bad body are kept, as InfluxDB does, and the bad ones are named and kept too.
    let lines = "water,device=river-1 level=2.5\nbroken\nwater,device=nobody level=3\nwater level=4\n";
    let headers = [("authorization", admin.as_str())];
    let (status, text) = send(&server, "POST", path, &headers, lines.as_bytes());
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (status, &answer["code"], &answer["line"]),
        (400, &json!("invalid"), &json!(2))
    );
    let message = answer["message"].as_str().unwrap();
    assert!(
        message.contains("3 of 4 lines") && message.contains("line 3: no device is called `nobody`"),
        "{message}"
    );
    wait_for("the good line", SOON, || {
        (server.latest("river-1", "water_level")?["value"] == 2.5).then_some(())
    });
    assert_eq!(
        quarantined(&server, "broken_line")["detail"],
        "line 2, column 7: a blank and fields follow the measurement and its tags"
    );
    let kept = quarantined(&server, "unknown_device");
    assert!(kept["detail"].as_str().unwrap().starts_with("line 3:"), "{kept}");

    // A text for a known quantity is a line that was not taken whole; a field that nobody knows is none.
    let lines = "air,device=air-1 pm10=\"abc\",o3=2\nair,device=air-1 state=\"on\",so2=3\n";
    let (status, text) = send(&server, "POST", path, &headers, lines.as_bytes());
    assert!(
        status == 400
            && text.contains("1 of 2 lines not taken: line 1: `pm10` is the text `abc`, not a number"),
        "{status} {text}"
    );
    assert_eq!(value_of(&server, "air-1", "o3"), 2.0);
    assert!(
        quarantined(&server, "not_a_number")["detail"]
            .as_str()
            .unwrap()
            .starts_with("line 1:")
    );

    // Stamps of another precision: not one line can be placed in time.
    let seconds = now / 1000;
    let lines = format!("w,device=river-1 level=8 {seconds}\nw,device=river-1 level=9 {seconds}\n");
    for (precision, name) in [("ms", "`ms`"), ("", "`ns`"), ("h", "`h`")] {
        let path = format!("/api/v2/write?precision={precision}");
        let (status, text) = send(&server, "POST", &path, &headers, lines.as_bytes());
        assert!(
            status == 400 && text.contains("2 of 2 lines not taken") && text.contains(name),
            "{status} {text}"
        );
    }
    let mixed = format!("{lines}w,device=river-1 level=2.5 {now}\n");
    assert_eq!(send(&server, "POST", path, &headers, mixed.as_bytes()).0, 204);
    server.caught_up();
    assert_eq!(server.latest("river-1", "water_level").unwrap()["value"], 2.5);

    // A device's own token writes for that device, whatever the tags say; 1.x speaks too.
    let basic = [("authorization", format!("Token telegraf:{own}"))];
    let basic: Vec<(&str, &str)> = basic.iter().map(|(k, v)| (*k, v.as_str())).collect();
    let (status, text) = send(
        &server,
        "POST",
        "/write?db=x&precision=s",
        &basic,
        b"disk,device=sda1,host=h ph=7",
    );
    assert_eq!((status, text.as_str()), (204, ""));
    assert_eq!(value_of(&server, "river-1", "ph"), 7.0);

    // Who may not write is told in InfluxDB's words; a district's writer sees only its district.
    let (status, text) = send(
        &server,
        "POST",
        path,
        &[("authorization", "Token nobody's")],
        b"m v=1",
    );
    assert_eq!((status, text.contains("unauthorized")), (401, true));
    let (_, made) = server.request(
        "POST",
        "/api/v1/tokens",
        Some(r#"{"name":"district","role":"integrator","division":"630102"}"#),
    );
    let district = format!("Token {}", made["token"].as_str().unwrap());
    let lines = b"x,device=air-1 co=1\nx,device=river-1 ph=9";
    let (status, text) = send(&server, "POST", path, &[("authorization", &district)], lines);
    assert_eq!(
        (status, text.contains("line 2: no device is called")),
        (400, true),
        "{text}"
    );
    assert_eq!(value_of(&server, "air-1", "co"), 1.0);
    server.caught_up();
    assert_eq!(server.latest("river-1", "ph").unwrap()["value"], 7.0);

    // A bomb and a body that is not gzip.
    let bomb = gzip(&" ".repeat(20 << 20));
    let headers = [("authorization", admin.as_str()), ("content-encoding", "gzip")];
    assert_eq!(send(&server, "POST", path, &headers, &bomb).0, 413);
    assert_eq!(send(&server, "POST", path, &headers, b"m v=1").0, 400);
    assert_eq!(send(&server, "GET", "/ping", &[], b"").0, 204);
    assert_eq!(send(&server, "GET", "/health", &[], b"").0, 200);
}

#[test]
fn a_device_may_speak_http_with_its_token_in_the_path() {
    let server = Server::new();
    let token = server.add_device("d", &json!({}));
    let telemetry = format!("/api/v1/{token}/telemetry");
    let sent = send(
        &server,
        "POST",
        &telemetry,
        &[],
        br#"{"temperature":21.5,"humidity":"40"}"#,
    );
    assert_eq!(sent, (200, String::new()));
    assert_eq!(value_of(&server, "d", "temperature"), 21.5);
    assert_eq!(
        value_of(&server, "d", "humidity"),
        40.0,
        "a text that is a number is one"
    );
    let attributes = format!("/api/v1/{token}/attributes");
    assert_eq!(send(&server, "POST", &attributes, &[], br#"{"fw":"2"}"#).0, 200);
    let (status, text) = send(&server, "GET", &attributes, &[], b"");
    assert_eq!(
        (status, text.as_str()),
        (200, r#"{"client":{"fw":"2"},"shared":{}}"#)
    );
    let (status, text) = send(&server, "POST", &telemetry, &[], br#"{"temperature":"#);
    assert_eq!(
        (status, text.contains("broken_json"), text.contains(&token)),
        (400, true, false)
    );
    assert_eq!(quarantined(&server, "broken_json")["topic"], "d/d/telemetry");
    for wrong in ["/api/v1/nobody/telemetry", "/api/v1/x/attributes"] {
        let (status, text) = send(&server, "POST", wrong, &[], b"{}");
        assert_eq!(status, 401, "{wrong}");
        assert!(
            text.contains("设备令牌") && text.contains("in the path") && !text.contains("bearer"),
            "{text}"
        );
    }
    // Names beside it still answer as themselves.
    assert_eq!(server.request("GET", "/api/v1/devices/telemetry", None).0, 404);
}

const CTWING: &str = "version: 1
name: {zh: 电信 AEP, en: CTWing AEP}
check: {kind: hmac_sha256, header: X-Signature}
secret_file: ctwing.secret
only: {path: $.messageType, values: [dataReport]}
device: $.deviceId
device_prefix: nb-
payload: {path: $.payload.APPdata, encoding: base64}
answer: {body: '{\"code\":0}'}
";

#[test]
fn an_operator_s_platform_pushes_with_its_signature() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    for sub in ["rules", "push"] {
        std::fs::create_dir(dir.join(sub)).unwrap();
    }
    std::fs::write(dir.join("onemap.toml"), CONFIG).unwrap();
    std::fs::write(dir.join("push/ctwing.yaml"), CTWING).unwrap();
    std::fs::write(dir.join("push/ctwing.secret"), "not so secret\n").unwrap();
    let server = Server::start_in(dir);
    server.add_device("nb-77", &json!({}));
    // {"temperature":21.5} in base64.
    let body = br#"{"messageType":"dataReport","deviceId":"77","payload":{"APPdata":"eyJ0ZW1wZXJhdHVyZSI6MjEuNX0="}}"#;
    let signature = "3fa8a8f8d37c7d6f0a80479c7dec39ff4f9e819c43b6161122cd6da602649bf5";
    let sent = send(
        &server,
        "POST",
        "/push/ctwing",
        &[("x-signature", signature)],
        body,
    );
    assert_eq!(sent, (200, r#"{"code":0}"#.to_owned()));
    assert_eq!(value_of(&server, "nb-77", "temperature"), 21.5);
    let unknown = || {
        server
            .metric("onemap_refused_total{reason=\"unknown_source\"} ")
            .unwrap()
    };
    let before = unknown();
    let (status, text) = send(&server, "POST", "/push/ctwing", &[("x-signature", "00")], body);
    assert_eq!(status, 401);
    assert!(
        text.contains("请求头 x-signature") && text.contains("HMAC-SHA256") && !text.contains("bearer"),
        "{text}"
    );
    assert_eq!(send(&server, "POST", "/push/nobody", &[], body).0, 404);
    assert_eq!(unknown(), before + 2);

    // The mapping is journaled, its secret is not, and a faulty file changes nothing and is named.
    let faulty = CTWING.replace("$.deviceId", "deviceId");
    std::fs::write(dir.join("push/ctwing.yaml"), faulty).unwrap();
    let check = Command::new(binary("onemap"))
        .args(["--data-dir", dir.to_str().unwrap(), "check"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(
        !check.status.success() && said.contains("ctwing.yaml:6:"),
        "{said}"
    );
    std::fs::write(dir.join("push/ctwing.yaml"), CTWING).unwrap();
    let server = server.kill_and_restart();
    let sent = send(
        &server,
        "POST",
        "/push/ctwing",
        &[("x-signature", signature)],
        body,
    );
    assert_eq!(sent.0, 200);
    let journal: Vec<u8> = std::fs::read_dir(dir.join("journal"))
        .unwrap()
        .flat_map(|entry| std::fs::read(entry.unwrap().path()).unwrap_or_default())
        .collect();
    let holds = |text: &str| journal.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(holds("ctwing.secret") && !holds("not so secret"));
}

#[test]
fn cbor_is_answered_in_cbor() {
    if peer("mosquitto_sub").is_none() {
        return;
    }
    let server = Server::new();
    let token = server.add_device("d", &json!({}));
    // {"epoch": 9, "readings": [{"q": "ph", "v": 7, "s": 1}, {"q": "ph", "v": null, "s": 2}]}
    let payload = b"\xa2\x65epoch\x09\x68readings\x82\xa3\x61q\x62ph\x61v\x07\x61s\x01\xa3\x61q\x62ph\x61v\xf6\x61s\x02";
    let say = |payload: &[u8]| {
        let mut sender = Command::new("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &server.mqtt_port.to_string(), "-q", "1"])
            .args(["-u", &token, "-t", "onemap/v1/d/readings", "-s"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        sender.stdin.take().unwrap().write_all(payload).unwrap();
        assert!(sender.wait().unwrap().success());
    };
    let listener = subscribe(&server, &token, &["onemap/v1/d/receipt"], "%x");
    // {"epoch": 9, "ranges": [[1, 2]]}
    until_heard(&listener, "a26565706f6368096672616e67657381820102", || {
        say(payload)
    });
    assert_eq!(value_of(&server, "d", "ph"), 7.0);
    say(b"\x81\xa1\x61q");
    let kept = quarantined(&server, "broken_cbor");
    assert!(kept["detail"].as_str().unwrap().ends_with("at byte 4"), "{kept}");
    let bearer = format!("Bearer {}", server.token);
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/cbor"),
    ];
    // {"device": "d", "readings": [{"q": "co", "v": 2}]}
    let posted = b"\xa2\x66device\x61d\x68readings\x81\xa2\x61q\x62co\x61v\x02";
    let (status, text) = send(&server, "POST", "/api/v1/readings", &headers, posted);
    assert_eq!((status, text.contains("\"readings\":1")), (202, true), "{text}");
    assert_eq!(value_of(&server, "d", "co"), 2.0);
}
