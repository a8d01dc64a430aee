//! Each bad input gets its answer, its counter and its place in the quarantine; nothing stops.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::server::{Server, peer, wait_for};

fn refused(server: &Server, reason: &str) -> u64 {
    server
        .metric(&format!("onemap_refused_total{{reason=\"{reason}\"}} "))
        .unwrap()
}

#[test]
fn payloads_that_cannot_be_read_are_kept_acknowledged_and_named() {
    if peer("mosquitto_pub").is_none() {
        return;
    }
    let server = Server::new();
    let token = server.add_device("d", &json!({}));
    let far = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms() + 86_400_000;
    let future = format!(r#"{{"ts":{far},"values":{{"temperature":1}}}}"#);
    let cases = [
        ("broken_json", r#"{"temperature":"#),
        ("broken_json", r#"{"temperature":NaN}"#),
        ("not_a_number", r#"{"temperature":"NaN"}"#),
        ("unknown_quantity", r#"{"flux_capacitance":88}"#),
        ("wrong_shape", r#"42"#),
        ("sentinel", r#"{"temperature":-999}"#),
        ("ancient_stamp", r#"{"ts":1763856000,"values":{"temperature":1}}"#),
        ("future_stamp", &future),
    ];
    for (reason, payload) in cases {
        let before = refused(&server, reason);
        let sent = server.publish(&token, "v1/devices/me/telemetry", payload);
        assert!(
            sent.status.success(),
            "a broken payload is acknowledged, 3.1.1 has no other answer: {sent:?}"
        );
        wait_for(reason, Duration::from_secs(5), || {
            (refused(&server, reason) > before).then_some(())
        });
        let kept = wait_for("its bytes in the quarantine", Duration::from_secs(5), || {
            let kept = server.get(&format!("/api/v1/quarantine?reason={reason}"));
            (kept["items"][0]["payload"] == payload).then_some(kept)
        });
        assert_eq!(kept["items"][0]["device"], "d");
    }
    // Thousands of faults in one message cost one entry, not one copy of the bytes each.
    let many: Vec<String> = (0..5000).map(|i| format!("\"x{i}\":1")).collect();
    let many = format!("{{{}}}", many.join(","));
    let before = server.get("/api/v1/quarantine?limit=1000")["items"]
        .as_array()
        .unwrap()
        .len();
    assert!(
        server
            .publish(&token, "v1/devices/me/telemetry", &many)
            .status
            .success()
    );
    wait_for("the counter of all keys", Duration::from_secs(5), || {
        (refused(&server, "unknown_quantity") >= 5001).then_some(())
    });
    wait_for("one entry", Duration::from_secs(5), || {
        let n = server.get("/api/v1/quarantine?limit=1000")["items"]
            .as_array()?
            .len();
        (n == before + 1).then_some(())
    });
    let sent = server.publish(
        &token,
        "v1/devices/me/telemetry",
        r#"{"temperature":20,"flux":1}"#,
    );
    assert!(sent.status.success());
    let good = wait_for("the good part of a mixed message", Duration::from_secs(5), || {
        server.latest("d", "temperature")
    });
    assert_eq!(good["value"], 20.0);
}

#[test]
fn wrong_tokens_foreign_topics_and_large_packets_close_their_connection_only() {
    if peer("mosquitto_pub").is_none() {
        return;
    }
    let server = Server::new();
    let token = server.add_device("d", &json!({}));
    let denied = server.publish("not-a-token", "v1/devices/me/telemetry", r#"{"temperature":1}"#);
    assert!(!denied.status.success());
    wait_for("the counter", Duration::from_secs(5), || {
        (refused(&server, "wrong_token") >= 1).then_some(())
    });

    // mosquitto_pub may print success before it sees the close; the counter and the quarantine are the facts.
    server.publish(&token, "d/other/telemetry", r#"{"temperature":1}"#);
    let kept = wait_for("the foreign topic's bytes", Duration::from_secs(5), || {
        server.get("/api/v1/quarantine?reason=foreign_topic")["items"]
            .as_array()?
            .first()
            .cloned()
    });
    assert_eq!(kept["device"], "d");
    assert!(refused(&server, "foreign_topic") >= 1);

    let mut large = tempfile::NamedTempFile::new().unwrap();
    large.write_all(&vec![b'x'; 1 << 20]).unwrap();
    std::process::Command::new("mosquitto_pub")
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &server.mqtt_port.to_string(),
            "-q",
            "1",
            "-u",
            &token,
        ])
        .args(["-t", "v1/devices/me/telemetry", "-f"])
        .arg(large.path())
        .output()
        .unwrap();
    let kept = wait_for("the large packet's first bytes", Duration::from_secs(5), || {
        server.get("/api/v1/quarantine?reason=over_size")["items"]
            .as_array()?
            .first()
            .cloned()
    });
    assert!(kept["size"].as_u64().unwrap() <= 4096);

    let mut torn = TcpStream::connect(("127.0.0.1", server.mqtt_port)).unwrap();
    torn.write_all(&connect_packet("x", &token)).unwrap();
    let mut connack = [0; 4];
    torn.read_exact(&mut connack).unwrap();
    assert_eq!(connack, [0x20, 2, 0, 0]);
    torn.write_all(&[0x30, 0xff, 0xff, 0xff, 0xff, 0xff]).unwrap();
    let mut rest = Vec::new();
    torn.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // Closed or reset, either way it ends.
    let _ = torn.read_to_end(&mut rest);
    wait_for("the torn packet's counter", Duration::from_secs(5), || {
        (refused(&server, "malformed_packet") >= 1).then_some(())
    });

    let sent = server.publish(&token, "v1/devices/me/telemetry", r#"{"temperature":5}"#);
    assert!(sent.status.success(), "the listener goes on: {sent:?}");
    wait_for("a good reading after all that", Duration::from_secs(5), || {
        server.latest("d", "temperature")
    });
}

fn connect_packet(id: &str, token: &str) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0x82, 0, 60];
    for text in [id, token] {
        body.extend_from_slice(&(text.len() as u16).to_be_bytes());
        body.extend_from_slice(text.as_bytes());
    }
    let mut packet = vec![0x10, body.len() as u8];
    packet.append(&mut body);
    packet
}

#[test]
fn two_refused_connects_and_a_v5_property_stop_no_listener() {
    let server = Server::new();
    let token = server.add_device("d", &json!({}));
    for id in ["a/b", "a/b", "a+#", "a/b"] {
        let mut stream = TcpStream::connect(("127.0.0.1", server.mqtt_port)).unwrap();
        stream.write_all(&connect_packet(id, "nobody")).unwrap();
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).unwrap();
        assert_eq!(connack[..2], [0x20, 2], "an answer, even to {id}");
        assert_ne!(connack[3], 0);
    }
    // Protocol level 5 with a property, then packets only a server may send.
    let mut v5 = connect_packet("v5", &token);
    v5[8] = 5;
    for bytes in [
        v5,
        vec![0x20, 2, 0, 0],
        vec![0xb0, 3, 0, 1, 0],
        vec![0xf0, 0],
        vec![0; 64],
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", server.mqtt_port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(&bytes).unwrap();
        let mut answer = Vec::new();
        // Closed or reset, either way it ends.
        let _ = stream.read_to_end(&mut answer);
        assert!(
            answer.len() <= 5,
            "{bytes:?} gets at most a refusing CONNACK, not {answer:?}"
        );
    }
    let mut twice = TcpStream::connect(("127.0.0.1", server.mqtt_port)).unwrap();
    twice.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let connect = connect_packet("same", &token);
    twice.write_all(&connect).unwrap();
    let mut connack = [0; 4];
    twice.read_exact(&mut connack).unwrap();
    twice.write_all(&connect).unwrap();
    let mut rest = Vec::new();
    let _ = twice.read_to_end(&mut rest);
    assert!(rest.is_empty(), "a second CONNECT closes the connection");
    let mut good = TcpStream::connect(("127.0.0.1", server.mqtt_port)).unwrap();
    good.write_all(&connect_packet("good", &token)).unwrap();
    good.read_exact(&mut connack).unwrap();
    assert_eq!(connack, [0x20, 2, 0, 0], "the listener goes on");
}

#[test]
fn http_errors_are_problems_with_a_code() {
    let server = Server::new();
    server.add_device("d", &json!({}));
    for (method, path, body, status, code) in [
        ("GET", "/api/v1/nothing", "", 404, "unknown_path"),
        ("GET", "/api/v1/devices?colour=red", "", 400, "bad_parameter"),
        ("GET", "/api/v1/latest?bbox=1,2,3", "", 400, "bad_bbox"),
        ("GET", "/api/v1/latest?quantity=flux", "", 400, "bad_parameter"),
        ("GET", "/api/v1/series/999999/values", "", 404, "unknown_series"),
        ("GET", "/api/v1/alerts/zz", "", 404, "unknown_alert"),
        ("POST", "/api/v1/devices", "{", 400, "bad_body"),
        (
            "POST",
            "/api/v1/devices",
            r#"{"id":"a/b","name":"x","kind":"y"}"#,
            400,
            "bad_body",
        ),
        (
            "POST",
            "/api/v1/devices",
            r#"{"id":"a","name":"","kind":"y"}"#,
            400,
            "bad_device",
        ),
        (
            "POST",
            "/api/v1/devices",
            r#"{"id":"a","name":"x","kind":"y","profile":"none"}"#,
            400,
            "unknown_profile",
        ),
        (
            "POST",
            "/api/v1/readings",
            r#"{"device":"nobody","readings":[]}"#,
            404,
            "unknown_device",
        ),
        (
            "POST",
            "/api/v1/entities",
            r#"{"type":"FeatureCollection","features":[{"type":"Feature"}]}"#,
            422,
            "bad_entities",
        ),
        (
            "PUT",
            "/api/v1/profiles/p",
            "version: 1\nname: {zh: 甲, en: a}\nprotocol: thingsboard\ncolour: red\n",
            422,
            "bad_profile",
        ),
    ] {
        let (got, problem) = server.request(method, path, Some(body));
        assert_eq!(
            (got, problem["code"].as_str()),
            (status, Some(code)),
            "{method} {path} {body}: {problem}"
        );
    }
}
