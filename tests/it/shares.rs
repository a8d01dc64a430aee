//! What one caller may take of the server, and who may read the counters.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Server, request, wait_for};

const SOON: Duration = Duration::from_secs(20);

fn server(more: &str) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("[http]\nlisten = \"127.0.0.1:0\"\n{more}\n[mqtt]\nlisten = \"127.0.0.1:0\"\n");
    std::fs::write(folder.path().join("onemap.toml"), config).unwrap();
    std::fs::create_dir(folder.path().join("rules")).unwrap();
    (Server::start_in(folder.path()), folder)
}

/// Head and body of an answer on a connection of its own.
fn ask(server: &Server, method: &str, path: &str, token: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(server.http.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

fn retry_after(head: &str) -> u64 {
    let line = head.lines().find_map(|line| line.strip_prefix("retry-after: "));
    line.unwrap_or_else(|| panic!("no retry-after: {head}"))
        .parse()
        .unwrap()
}

fn viewer(server: &Server, name: &str) -> String {
    let new = json!({"role": "viewer", "name": name});
    server.post("/api/v1/tokens", &new)["token"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn limited(server: &Server, limit: &str) -> Option<u64> {
    server.metric(&format!("onemap_http_limited_total{{limit=\"{limit}\"}}"))
}

#[test]
fn a_token_that_asks_too_often_is_told_when_to_come_again_and_no_other_is() {
    let (server, _folder) = server("[http.limits]\ntoken_per_second = 2\ntoken_burst = 20");
    let (busy, other) = (viewer(&server, "busy"), viewer(&server, "other"));
    let ask = |token: &str| ask(&server, "GET", "/api/v1/quantities", token, "");
    let (mut n_fine, mut refused) = (0, None);
    while refused.is_none() {
        let (status, head, body) = ask(&busy);
        match status {
            200 => n_fine += 1,
            _ => refused = Some((status, head, body)),
        }
        assert!(n_fine < 200, "nothing is refused");
    }
    assert!(n_fine >= 20, "the burst is there: {n_fine}");
    let (status, head, body) = refused.unwrap();
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, &problem["code"]),
        (429, &json!("too_many_requests")),
        "{problem}"
    );
    assert!(head.contains("application/problem+json"), "{head}");
    let wait = retry_after(&head);
    assert_eq!(problem["retry_after_s"], wait);
    assert!((1..=2).contains(&wait), "{wait}");
    assert_eq!(ask(&other).0, 200, "another token has its own");
    // A wrong token is nobody's.
    assert_eq!(ask("nobody's").0, 401);
    std::thread::sleep(Duration::from_secs(wait));
    assert_eq!(ask(&busy).0, 200, "it comes again when it was told to");
    assert!(limited(&server, "token").is_some_and(|n| n >= 1));
    assert_eq!(limited(&server, "address"), Some(0));
}

#[test]
fn an_address_that_posts_too_often_is_told_so_before_anything_is_kept() {
    let (server, _folder) = server("[http.limits]\naddress_per_second = 1\naddress_burst = 10");
    let device = server.add_device("d-1", &json!({}));
    let path = format!("/api/v1/{device}/telemetry");
    let mut n_kept = 0;
    let (status, head, body) = loop {
        let (status, head, body) = ask(&server, "POST", &path, "", r#"{"pm2_5": 12}"#);
        if status != 200 {
            break (status, head, body);
        }
        n_kept += 1;
        assert!(n_kept < 100, "nothing is refused");
    };
    assert_eq!(status, 429, "{body}");
    assert!(n_kept >= 10, "{n_kept}");
    for (method, path) in [("POST", "/api/v2/write"), ("GET", "/api/v1/system")] {
        // One may have come back meanwhile.
        let is_refused = || ask(&server, method, path, "wrong", "").0 == 429;
        assert!(
            (0..3).any(|_| is_refused()),
            "guesses at {path} have no share of their own"
        );
    }
    // Who holds a token is not the address's.
    assert_eq!(ask(&server, "GET", "/api/v1/system", &server.token, "").0, 200);
    assert!(retry_after(&head) >= 1);
    wait_for("a place", SOON, || {
        (ask(&server, "POST", &path, "", r#"{"pm2_5": 12}"#).0 == 200).then_some(())
    });
    server.caught_up();
    let n_frames = server.get("/api/v1/ledger?device=d-1")["items"][0]["received"].as_u64();
    assert!(n_frames <= Some(n_kept + 1), "{n_frames:?} of {n_kept} and one");
    assert!(limited(&server, "address").is_some_and(|n| n >= 3));
}

#[test]
fn imports_of_one_token_stand_in_line_and_another_s_do_not() {
    let (server, _folder) = server("[http.limits]\ntransfers_per_token = 1");
    let integrator = json!({"role": "integrator", "name": "i"});
    let integrator = server.post("/api/v1/tokens", &integrator)["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = "/api/v1/devices/import";
    // One whose body has not come yet.
    let mut first = TcpStream::connect(server.http.trim_start_matches("http://")).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {integrator}\r\ncontent-length: 1000\r\n\r\nid,name"
    );
    first.write_all(head.as_bytes()).unwrap();
    wait_for("the first import to be under way", SOON, || {
        (server.metric("onemap_http_body_bytes")? > 0).then_some(())
    });
    let lines = "id,name,kind\nd-1,d,air_station\n";
    let (head, body) = wait_for("the second import to be refused", SOON, || {
        let (status, head, body) = ask(&server, "POST", path, &integrator, lines);
        (status == 429).then_some((head, body))
    });
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(problem["code"], "too_many_at_once");
    assert_eq!(retry_after(&head), 1);
    assert_eq!(
        ask(&server, "POST", path, &server.token, lines).0,
        200,
        "another token's"
    );
    assert_eq!(
        ask(&server, "GET", "/api/v1/devices", &integrator, "").0,
        200,
        "what is light"
    );
    drop(first);
    wait_for("the place to be free", SOON, || {
        (ask(&server, "POST", path, &integrator, lines).0 == 200).then_some(())
    });
    assert!(limited(&server, "transfers").is_some_and(|n| n >= 1));
}

#[test]
fn the_counters_are_for_who_sees_the_whole_city_or_has_their_token() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[http]\nlisten = \"127.0.0.1:0\"\n[mqtt]\nlisten = \"127.0.0.1:0\"\n[metrics]\ntoken_file = \"scrape.token\"\n";
    std::fs::write(folder.path().join("onemap.toml"), config).unwrap();
    std::fs::write(folder.path().join("scrape.token"), "a-token-for-prometheus\n").unwrap();
    let server = Server::start_in(folder.path());
    let token = |role: &str, division: Value| {
        let new = json!({"role": role, "name": role, "division": division});
        server.post("/api/v1/tokens", &new)["token"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (city, district) = (token("viewer", Value::Null), token("viewer", "630102".into()));
    let auditor = token("audit_admin", Value::Null);
    for (who, token, status) in [
        ("nobody", "", 401),
        ("a guess", "a-token-for-prometheuS", 401),
        ("a viewer of the city", &city, 200),
        ("a viewer of a district", &district, 403),
        ("who may not view", &auditor, 403),
        ("Prometheus", "a-token-for-prometheus", 200),
    ] {
        let (found, said) = request(&server.http, token, "GET", "/metrics", None);
        assert_eq!(found, status, "{who}: {said}");
        let tells = said.to_string().contains("onemap_devices{");
        assert_eq!(tells, status == 200, "{who}");
    }
    let (status, _) = request(
        &server.http,
        "a-token-for-prometheus",
        "GET",
        "/api/v1/system",
        None,
    );
    assert_eq!(status, 401, "it opens nothing else");
}
