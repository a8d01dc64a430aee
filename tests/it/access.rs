//! Whom a token or session lets in, and that its end is the end of what it opened.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::{Server, binary, request, wait_for};

const SOON: Duration = Duration::from_secs(20);

fn run(server: &Server, arguments: &[&str]) -> Output {
    Command::new(binary("onemap"))
        .arg("--data-dir")
        .arg(&server.dir)
        .args(arguments)
        .output()
        .unwrap()
}

/// One request on a connection of its own, with lines of its own in its head.
fn send(server: &Server, first: &str, head: &[&str]) -> TcpStream {
    let host = server.http.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let head: String = head.iter().map(|line| format!("{line}\r\n")).collect();
    write!(stream, "{first} HTTP/1.1\r\nhost: {host}\r\n{head}\r\n").unwrap();
    stream
}

/// Opens a stream and waits for its first words.
fn open(server: &Server, path: &str, credential: &str, words: &str) -> TcpStream {
    let mut stream = send(server, &format!("GET {path}"), &[credential]);
    let (mut said, mut bytes) = (String::new(), [0; 4096]);
    while !said.contains(words) {
        let n = stream.read(&mut bytes).expect("the stream speaks");
        assert!(n > 0, "the stream ended after {said}");
        said.push_str(&String::from_utf8_lossy(&bytes[..n]));
    }
    stream
}

/// Waits until the server has ended a stream; one that goes on for ever is a failure.
fn ends(mut stream: TcpStream, what: &str) {
    let start = Instant::now();
    let mut bytes = [0; 4096];
    while start.elapsed() < SOON {
        match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return,
            Err(e) => panic!("{what} stays open: {e}"),
        }
    }
    panic!("{what} goes on");
}

/// The status of the answer that comes within the time, and how long it took.
fn answered(mut stream: TcpStream) -> (u16, Duration) {
    let start = Instant::now();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer comes");
    (
        answer.split(' ').nth(1).unwrap().parse().unwrap(),
        start.elapsed(),
    )
}

/// Whether a stream still speaks: its beat comes every two seconds.
fn speaks(stream: &mut TcpStream) -> bool {
    stream.read(&mut [0; 4096]).is_ok_and(|n| n > 0)
}

fn cookie(server: &Server, token: &str) -> String {
    let body = json!({"token": token}).to_string();
    let length = format!("content-length: {}", body.len());
    let lines = ["content-type: application/json", "connection: close", &*length];
    let mut stream = send(server, "POST /api/v1/session", &lines);
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let start = answer
        .find("onemap_session=")
        .unwrap_or_else(|| panic!("{answer}"));
    let value = answer[start..].split(';').next().unwrap();
    format!("cookie: {value}")
}

fn status(server: &Server, first: &str, head: &[&str]) -> u16 {
    let mut answer = String::new();
    let mut stream = send(server, first, &[head, &["connection: close"]].concat());
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

fn access_token(server: &Server, role: &str, name: &str, division: Option<&str>) -> (String, String) {
    let made = server.post(
        "/api/v1/tokens",
        &json!({"role": role, "name": name, "division": division}),
    );
    let text = |key: &str| made[key].as_str().unwrap().to_owned();
    (text("token"), text("id"))
}

#[test]
fn streams_end_with_their_session() {
    let server = Server::new();
    let (token, _) = access_token(&server, "viewer", "wall", None);
    let (leaving, staying) = (cookie(&server, &token), cookie(&server, &token));
    let live = open(&server, "/api/v1/live", &leaving, "event: hello");
    let feed = open(&server, "/feeds/alerts", &leaving, "onemap alerts");
    let mut other = open(&server, "/api/v1/live", &staying, "event: hello");
    let origin = format!("origin: {}", server.http);
    assert_eq!(
        status(&server, "DELETE /api/v1/session", &[&leaving, &origin]),
        204
    );
    ends(live, "the live stream of a session that has ended");
    ends(feed, "the alert feed of a session that has ended");
    assert_eq!(status(&server, "GET /api/v1/session", &[&leaving]), 401);
    assert!(speaks(&mut other), "another session's stream goes on");
}

#[test]
fn who_waits_for_a_command_is_told_nothing_after_the_token_ended() {
    let server = Server::new();
    server.add_device("valve", &json!({}));
    let (token, id) = access_token(&server, "operator", "desk", None);
    let bearer = format!("authorization: Bearer {token}");
    let order = json!({"device": "valve", "method": "open", "ttl_s": 300});
    let command = server.post("/api/v1/commands", &order)["id"].as_u64().unwrap();
    let path = format!("GET /api/v1/commands/{command}?wait_s=60");
    let session = cookie(&server, &token);
    let waiting =
        [&bearer, &session].map(|credential| send(&server, &path, &[credential, "connection: close"]));
    let body = json!({"method": "open", "timeout": 60_000}).to_string();
    let length = format!("content-length: {}", body.len());
    let head = [
        &*bearer,
        "content-type: application/json",
        "connection: close",
        &*length,
    ];
    let calling = ["oneway", "twoway"].map(|way| {
        let mut stream = send(&server, &format!("POST /api/rpc/{way}/valve"), &head);
        stream.write_all(body.as_bytes()).unwrap();
        stream
    });
    wait_for("the two calls", SOON, || {
        let n = server.get("/api/v1/commands?device=valve")["items"]
            .as_array()?
            .len();
        (n == 3).then_some(())
    });
    let revoked = run(&server, &["token", "revoke", &id]);
    assert!(revoked.status.success(), "{revoked:?}");
    for stream in waiting.into_iter().chain(calling) {
        let (status, took) = answered(stream);
        assert_eq!(status, 401);
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

#[test]
fn a_revoked_token_opens_nothing_and_ends_what_it_opened() {
    let server = Server::new();
    let (token, id) = access_token(&server, "viewer", "wall", None);
    let (kept, _) = access_token(&server, "viewer", "desk", None);
    let bearer = format!("authorization: Bearer {token}");
    let session = cookie(&server, &token);
    let streams = [
        open(&server, "/api/v1/live", &bearer, "event: hello"),
        open(&server, "/api/v1/live", &session, "event: hello"),
        open(&server, "/feeds/alerts", &bearer, "onemap alerts"),
    ];
    let mut other = open(
        &server,
        "/api/v1/live",
        &format!("authorization: Bearer {kept}"),
        "event: hello",
    );
    let listed = run(&server, &["token", "list"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    let line = listed.lines().find(|line| line.starts_with(&id)).unwrap();
    assert!(line.contains("viewer") && line.ends_with("wall"), "{listed}");
    assert!(!listed.contains(&token), "a token is shown once");

    let revoked = run(&server, &["token", "revoke", &id]);
    assert!(revoked.status.success(), "{revoked:?}");
    for stream in streams {
        ends(stream, "a stream of a revoked token");
    }
    let may = |server: &Server, token: &str| request(&server.http, token, "GET", "/api/v1/session", None).0;
    assert_eq!((may(&server, &token), may(&server, &kept)), (401, 200));
    assert_eq!(status(&server, "GET /api/v1/session", &[&session]), 401);
    assert!(speaks(&mut other), "another token's stream goes on");
    let again = run(&server, &["token", "revoke", &id]);
    assert!(!again.status.success());
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.contains("onemap token list"), "{said}");

    drop(other);
    let mut server = server.kill_and_restart();
    assert_eq!((may(&server, &token), may(&server, &kept)), (401, 200));
    server.caught_up();
    server.stop();
    // A replay comes to the same.
    let into = tempfile::tempdir().unwrap();
    let copy = into.path().join("copy");
    let replayed = run(&server, &["journal", "replay", "--into", copy.to_str().unwrap()]);
    assert!(replayed.status.success(), "{replayed:?}");
    let ledger = onemap_store::ledger::LedgerReader::open(&copy.join("ledger.sqlite")).unwrap();
    let ended: Vec<_> = ledger.access_tokens().unwrap();
    let ended: Vec<_> = ended
        .iter()
        .filter(|t| t.revoked.is_some())
        .map(|t| &t.name)
        .collect();
    assert_eq!(ended, ["wall"]);
}

#[test]
fn who_may_end_a_token() {
    let server = Server::new();
    let (keeper, _) = access_token(&server, "system_admin", "keeper", Some("630102"));
    let (_, inside) = access_token(&server, "viewer", "inside", Some("630102"));
    let (_, outside) = access_token(&server, "viewer", "outside", Some("630103"));
    let (viewer, _) = access_token(&server, "viewer", "viewer", None);
    let (city, _) = access_token(&server, "system_admin", "city", None);
    let by = |token: &str, method: &str, path: &str| request(&server.http, token, method, path, None);
    let path = |id: &str| format!("/api/v1/tokens/{id}");
    assert_eq!(by(&viewer, "GET", "/api/v1/tokens").0, 403);
    assert_eq!(by(&viewer, "DELETE", &path(&inside)).0, 403);
    let (status, seen) = by(&keeper, "GET", "/api/v1/tokens");
    let names: Vec<_> = seen["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| &t["name"])
        .collect();
    assert_eq!((status, names), (200, vec![&json!("keeper"), &json!("inside")]));
    assert_eq!(by(&keeper, "DELETE", &path(&outside)).0, 404);
    assert_eq!(by(&keeper, "DELETE", &path(&inside)).0, 204);
    let (_, all) = by(&city, "GET", "/api/v1/tokens");
    let owner = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|t| t["role"] == "admin");
    let owner = owner.unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(by(&city, "DELETE", &path(&owner)).0, 403, "an admin's");
    assert_eq!(server.request("DELETE", &path(&owner), None).0, 204);
    assert_eq!(server.request("GET", "/api/v1/session", None).0, 401);
}

#[test]
fn a_long_poll_ends_when_its_token_ends() {
    let server = Server::new();
    let token = server.add_device("d", &json!({}));
    let before = server.metric("onemap_http_connections").unwrap();
    let path = format!("GET /api/v1/{token}/rpc?timeout=60000");
    let mut poll = send(&server, &path, &["connection: close"]);
    // The poll is one more connection; that of the metric is there both times.
    wait_for("the poll to be there", SOON, || {
        (server.metric("onemap_http_connections")? > before).then_some(())
    });
    poll.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let early = poll.read(&mut [0; 1]).unwrap_err();
    assert!(
        matches!(early.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{early}"
    );
    let start = Instant::now();
    assert_eq!(server.request("DELETE", "/api/v1/devices/d/token", None).0, 204);
    poll.set_read_timeout(Some(SOON)).unwrap();
    let mut answer = String::new();
    poll.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(start.elapsed() < SOON, "not only when its time is over");
}

#[test]
fn one_token_for_two_devices_is_refused() {
    let server = Server::new();
    let held = server.add_device("first", &json!({}));
    let import = |csv: String| {
        let (status, answer) = server.request("POST", "/api/v1/devices/import", Some(&csv));
        let faults: Vec<Value> = answer["errors"].as_array().cloned().unwrap_or_default();
        let places: Vec<_> = faults
            .iter()
            .map(|e| (e["line"].clone(), e["column"].clone()))
            .collect();
        (status, json!(places), answer)
    };
    let same = "x".repeat(43);
    let csv = format!("id,name,kind,token\na,a,k,{same}\nb,b,k,{same}\nc,c,k,{held}\n");
    let (status, places, answer) = import(csv);
    assert_eq!(
        (status, places),
        (200, json!([[3, "token"], [4, "token"]])),
        "{answer}"
    );
    assert_eq!(server.request("GET", "/api/v1/devices/a", None).0, 200);
    for refused in ["b", "c"] {
        let path = format!("/api/v1/devices/{refused}");
        assert_eq!(server.request("GET", &path, None).0, 404, "{refused}");
    }
    // Both tokens open what they opened.
    for token in [&same, &held] {
        let path = format!("/api/v1/{token}/telemetry");
        assert_eq!(request(&server.http, "", "POST", &path, Some("{}")).0, 200);
    }
}

/// Names and contents of the files in a folder of the server's.
fn files(server: &Server, folder: &str) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = std::fs::read_dir(server.dir.join(folder))
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn what_is_refused_for_its_division_leaves_rules_and_profiles_as_they_are() {
    let rules = include_str!("../../config/rules/air.yaml");
    let server = Server::with_rules(&[("air", rules)]);
    let profile = include_str!("../../config/profiles/modbus-meter.yaml");
    let (status, answer) = server.request("PUT", "/api/v1/profiles/own", Some(profile));
    assert_eq!(status, 200, "{answer}");
    let before = (files(&server, "rules"), files(&server, "profiles"));
    let other = rules.replace("id: ", "id: other-");
    for role in ["integrator", "system_admin"] {
        let made = run(
            &server,
            &["token", "create", "--role", role, "--division", "630102"],
        );
        let token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        for (method, path, body) in [
            ("PUT", "/api/v1/rules/zz", Some(other.as_str())),
            ("PUT", "/api/v1/rules/air", Some("rules: []")),
            ("DELETE", "/api/v1/rules/air", None),
            ("PUT", "/api/v1/profiles/zz", Some(profile)),
        ] {
            let (status, answer) = request(&server.http, &token, method, path, body);
            assert_eq!(status, 403, "{role} {method} {path}: {answer}");
            let after = (files(&server, "rules"), files(&server, "profiles"));
            assert!(after == before, "{role} {method} {path} changed the folder");
        }
    }
}
