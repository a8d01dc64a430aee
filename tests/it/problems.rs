//! Whatever is refused over HTTP is refused in one kind of document, which says back little of what was sent.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Server, request};

/// Status, content type and document of an answer to a request of which each line is given.
fn ask(server: &Server, method: &str, path: &str, more: &str, body: &[u8]) -> (u16, String, Value) {
    let mut stream = TcpStream::connect(server.http.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\n{more}content-length: {}\r\n\r\n",
        server.token,
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let kind = head
        .lines()
        .find_map(|line| line.strip_prefix("content-type: "))
        .unwrap_or_default();
    (
        status,
        kind.to_owned(),
        serde_json::from_str(body).unwrap_or_default(),
    )
}

#[test]
fn what_the_router_refuses_is_a_problem_document_too() {
    let server = Server::new();
    for (method, path, status, code) in [
        ("GET", "/api/v1/nothing", 404, "unknown_path"),
        ("GET", "/health/nothing", 404, "unknown_path"),
        ("DELETE", "/api/v1/devices", 405, "method_not_allowed"),
        ("POST", "/api/openapi.json", 405, "method_not_allowed"),
        ("PUT", "/health/live", 405, "method_not_allowed"),
        ("PUT", "/api/v2/write", 405, "method_not_allowed"),
        ("DELETE", "/prometheus/api/v1/query", 405, "method_not_allowed"),
        ("GET", "/api/v1/quarantine/abc", 400, "bad_request"),
        ("GET", "/api/v1/series/-1/values", 400, "bad_request"),
        ("GET", "/api/v1/series/99999999999/values", 400, "bad_request"),
        ("GET", "/api/v1/devices/%FF", 400, "bad_request"),
        ("POST", "/api/v1/corrections/abc/withdraw", 400, "bad_request"),
        ("PUT", "/api/v1/profiles/p", 400, "bad_request"),
        ("GET", "/tiles/areas/99999/1/1", 400, "bad_request"),
    ] {
        let (found, kind, problem) = ask(&server, method, path, "", b"\xff");
        assert_eq!(
            (found, kind.as_str(), problem["code"].as_str()),
            (status, "application/problem+json", Some(code)),
            "{method} {path}: {problem}"
        );
        assert_eq!(problem["status"], status, "{method} {path}");
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
    let (status, kind, problem) = ask(&server, "POST", "/api/v1/session", "", &vec![b'x'; 100 << 10]);
    assert_eq!(
        (status, kind.as_str(), problem["code"].as_str()),
        (413, "application/problem+json", Some("too_large"))
    );
}

#[test]
fn an_error_says_back_little_of_what_was_sent() {
    let server = Server::new();
    server.add_device("gauge-1", &json!({"kind": "river_gauge"}));
    let long = "x".repeat(2 << 20);
    let field = format!("{{\"{long}\": 1}}");
    let name = format!("{{\"device\": \"{long}\"}}");
    let datum = format!("{{\"datums\": [{{\"from\": \"{long}\"}}]}}");
    for (method, path, body) in [
        ("PUT", "/api/v1/devices/gauge-1/hydrology", &field),
        ("PUT", "/api/v1/devices/gauge-1/hydrology", &datum),
        ("POST", "/api/v1/reviews", &field),
        ("POST", "/api/v1/reviews", &name),
        ("POST", "/api/v1/devices", &field),
        ("POST", "/api/v1/dust", &name),
        ("POST", "/api/v1/commands", &field),
        ("POST", "/api/v1/entities", &field),
    ] {
        let (status, kind, problem) = ask(&server, method, path, "", body.as_bytes());
        let detail = problem["detail"].as_str().unwrap();
        assert_eq!(
            (status, kind.as_str()),
            (400, "application/problem+json"),
            "{path}"
        );
        assert!(
            !detail.contains(&"x".repeat(65)) && detail.len() < 1000,
            "{path}: {} bytes: {}",
            detail.len(),
            &detail[..300]
        );
    }
    let long = "y".repeat(20_000);
    for path in [
        format!("/api/v1/devices/{long}"),
        format!("/api/v1/devices?{long}=1"),
        format!("/api/v1/devices?bbox={long}"),
        format!("/api/v1/series?quantity={long}"),
        format!("/api/v1/series/{long}/values"),
        format!("/api/v1/aggregate?quantity=pm2_5&step={long}"),
        format!("/api/v1/standards/air?device={long}"),
        format!("/api/v1/reviews?from={long}"),
        format!("/api/v1/{long}"),
        format!("/prometheus/api/v1/query?query={long}%20%20{long}"),
    ] {
        let (status, answer) = request(&server.http, &server.token, "GET", &path, None);
        let text = answer.to_string();
        assert!((400..500).contains(&status), "{} {status}", &path[..40]);
        assert!(
            !text.contains(&"y".repeat(65)) && text.len() < 2000,
            "{}: {}",
            &path[..40],
            &text[..text.len().min(400)]
        );
    }
}

#[test]
fn parameters_that_nobody_knows_and_times_that_nobody_can_say_are_refused() {
    let server = Server::new();
    server.add_device("gauge-1", &json!({"kind": "river_gauge"}));
    let hydrology = json!({"stages": [{"from": "2020-01-01T00:00:00Z", "warning": 1.0, "source": "x"}]});
    let path = "/api/v1/devices/gauge-1/hydrology";
    assert_eq!(server.request("PUT", path, Some(&hydrology.to_string())).0, 200);
    for (method, path) in [
        ("GET", "/api/v1/devices/gauge-1/hydrology?x=1"),
        ("PUT", "/api/v1/devices/gauge-1/hydrology?x=1"),
        ("DELETE", "/api/v1/devices/gauge-1/hydrology?x=1"),
        ("GET", "/api/v1/devices/gauge-1?x=1"),
        ("GET", "/api/v1/quantities?x=1"),
        ("GET", "/api/v1/profiles?x=1"),
        ("POST", "/api/v1/reviews?x=1"),
        ("POST", "/api/v1/corrections?x=1"),
        ("POST", "/api/v1/corrections/1/withdraw?x=1"),
        ("POST", "/api/v1/dust?x=1"),
        ("POST", "/api/v1/dust/1/withdraw?x=1"),
    ] {
        let body = (method != "GET").then(|| hydrology.to_string());
        let (status, problem) = server.request(method, path, body.as_deref());
        assert_eq!(
            (status, &problem["code"]),
            (400, &json!("bad_parameter")),
            "{method} {path}: {problem}"
        );
    }
    assert_eq!(
        server.get(path)["stages"][0]["warning"],
        1.0,
        "nothing was taken away"
    );
    let review = |from: Value| {
        json!({"device": "gauge-1", "quantity": "water_level", "from": from, "to": "2026-01-01T00:00:00Z",
               "verdict": "valid", "name": "王", "reason": "x"})
    };
    for from in [
        json!(-62_135_596_800_001_i64),
        json!(i64::MIN),
        json!(253_402_300_800_000_i64),
        json!(u64::MAX),
        json!("0000-12-31T00:00:00Z"),
        json!("-000500-12-31T00:00:00Z"),
    ] {
        let body = review(from.clone()).to_string();
        let (status, problem) = server.request("POST", "/api/v1/reviews", Some(&body));
        assert_eq!(
            (status, &problem["code"]),
            (400, &json!("bad_body")),
            "{from}: {problem}"
        );
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("outside of the years 1 to 9999"), "{detail}");
        let stages = json!({"stages": [{"from": from, "warning": 1.0, "source": "x"}]});
        let (status, problem) = server.request("PUT", path, Some(&stages.to_string()));
        assert_eq!(
            (status, &problem["code"]),
            (400, &json!("bad_body")),
            "{from}: {problem}"
        );
    }
    // What can be said is kept as it was said.
    let old = json!({"stages": [{"from": "0500-01-01T00:00:00Z", "warning": 1.0, "source": "x"}]});
    assert_eq!(server.request("PUT", path, Some(&old.to_string())).0, 200);
    assert_eq!(server.get(path)["stages"][0]["from"], "0500-01-01T08:00:00+08:00");
    let server = server.kill_and_restart();
    assert_eq!(server.get(path)["stages"][0]["from"], "0500-01-01T08:00:00+08:00");
}
