//! Security events: who could not come in, what was denied, what was changed; in the feed, in the files and at a
//! collector of syslog.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::accounts::{PASSWORD, Person, add, code, next_code, user};
use crate::server::{CONFIG, Server, peer, request, text, wait_for};

const EVENTS: &str = "/api/v1/security/events";
const SOON: Duration = Duration::from_secs(20);
const WRONG: &str = "not-a-token-that-anybody-holds";

fn server(more: &str) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("rules")).unwrap();
    std::fs::write(folder.path().join("onemap.toml"), format!("{CONFIG}{more}")).unwrap();
    (Server::start_in(folder.path()), folder)
}

fn events(server: &Server, query: &str) -> Vec<Value> {
    let items = &server.get(&format!("{EVENTS}?limit=10000&{query}"))["items"];
    items.as_array().unwrap().clone()
}

/// The newest event of a kind about a subject.
fn event(server: &Server, kind: &str, subject: &str) -> Value {
    wait_for(&format!("{kind} of {subject}"), SOON, || {
        let all = events(server, &format!("kind={kind}"));
        all.into_iter().find(|event| event["subject"] == subject)
    })
}

/// How often a kind was told of a subject, counts included.
fn n_told(server: &Server, kind: &str, subject: &str) -> u64 {
    let all = events(server, &format!("kind={kind}"));
    let of = all.iter().filter(|event| event["subject"] == subject);
    of.map(|event| event["n"].as_u64().unwrap()).sum()
}

#[test]
fn a_wrong_token_fifty_times_is_two_events_and_a_revoked_one_is_told_by_its_name() {
    let server = Server::new();
    let started = event(&server, "started", "server");
    assert!(
        started["detail"]
            .as_str()
            .unwrap()
            .contains("the first start here")
    );
    for _ in 0..50 {
        let path = "/api/v1/system?key=hidden";
        assert_eq!(request(&server.http, WRONG, "GET", path, None).0, 401);
    }
    let subject = "GET /api/v1/system";
    let first = event(&server, "wrong_token", subject);
    assert_eq!(
        (&first["n"], &first["peer"], &first["actor"]),
        (&json!(1), &json!("127.0.0.1"), &Value::Null)
    );
    wait_for("the others of the fifty", SOON, || {
        (n_told(&server, "wrong_token", subject) == 50).then_some(())
    });
    let n_events = events(&server, "kind=wrong_token").len();
    assert!(n_events <= 3, "{n_events} events for fifty requests");
    let total = server.metric("onemap_security_events_total{kind=\"wrong_token\"}");
    assert_eq!(total, Some(50));
    // Who shows nothing guesses nothing.
    let nothing = ureq::get(format!("{}/api/v1/system", server.http)).call();
    assert!(matches!(nothing, Err(ureq::Error::StatusCode(401))));
    assert_eq!(n_told(&server, "wrong_token", subject), 50);

    let made = server.post("/api/v1/tokens", &json!({"role": "viewer", "name": "desk"}));
    assert_eq!(
        event(&server, "changed", "POST /api/v1/tokens")["actor"],
        "local owner"
    );
    let token = made["token"].as_str().unwrap();
    let path = format!("/api/v1/tokens/{}", made["id"].as_str().unwrap());
    assert_eq!(server.request("DELETE", &path, None).0, 204);
    event(&server, "changed", &format!("DELETE {path}"));
    let by = |server: &Server| {
        let all = events(server, "kind=wrong_token&actor=desk");
        all.first().map(|event| event["detail"].clone())
    };
    assert_eq!(
        request(&server.http, token, "GET", "/api/v1/devices", None).0,
        401
    );
    assert_eq!(by(&server), Some(json!("this token was revoked")));
    let login = json!({"token": token}).to_string();
    assert_eq!(
        request(&server.http, "", "POST", "/api/v1/session", Some(&login)).0,
        401
    );
    event(&server, "wrong_token", "a session by a token");
    // The ledger knows it after a kill.
    let server = server.kill_and_restart();
    let started = event(&server, "started", "server");
    assert!(
        started["detail"]
            .as_str()
            .unwrap()
            .contains("the run before was cut off")
    );
    let n_before = events(&server, "actor=desk").len();
    assert_eq!(request(&server.http, token, "GET", "/api/v1/latest", None).0, 401);
    assert_eq!(events(&server, "actor=desk").len(), n_before + 1);
}

#[test]
fn people_who_come_in_and_who_do_not_are_told_and_nothing_that_they_showed() {
    let server = Server::new();
    let mut hidden: Vec<String> = vec![WRONG.to_owned(), PASSWORD.to_owned(), server.token.clone()];
    let mut li = add(&server, "li", "viewer", &[]);
    event(&server, "changed", "POST /api/v1/setup");
    let by_link = events(&server, "kind=login&actor=li");
    assert_eq!(by_link[0]["subject"], "POST /api/v1/setup", "{by_link:?}");
    let session = |person: &Person| {
        person
            .cookie
            .clone()
            .unwrap()
            .split_once('=')
            .unwrap()
            .1
            .to_owned()
    };
    hidden.push(session(&li));
    assert_eq!(li.ask(&server.http, "DELETE", "/api/v1/session", None).0, 204);
    assert_eq!(events(&server, "kind=logout&actor=li").len(), 1);
    let mut li = Person::default();
    assert_eq!(li.log_in(&server.http, "li", PASSWORD, None).0, 204);
    let login = event(&server, "login", "POST /api/v1/session");
    assert_eq!(
        (&login["actor"], &login["peer"]),
        (&json!("li"), &json!("127.0.0.1"))
    );
    hidden.push(session(&li));

    // A second factor: the secret by a link, then a right and a wrong code.
    let made = user(&server, &["add", "ops", "--role", "operator"]);
    let link = String::from_utf8(made.stdout).unwrap();
    let key = link.trim().rsplit_once("#setup=").unwrap().1.to_owned();
    let look = json!({"key": key});
    let mut ops = Person::default();
    let (status, look) = ops.ask(&server.http, "POST", "/api/v1/setup/look", Some(&look));
    assert_eq!(status, 200, "{look}");
    let secret = look["secret"].as_str().unwrap().to_owned();
    let mut used = 0;
    let good = next_code(&secret, &mut used);
    let setup = json!({"key": key, "password": PASSWORD, "code": good});
    assert_eq!(
        ops.ask(&server.http, "POST", "/api/v1/setup", Some(&setup)).0,
        204
    );
    let old = code(&secret, 1);
    let (status, said) = Person::default().log_in(&server.http, "ops", PASSWORD, Some(&old));
    assert_eq!((status, &said["code"]), (401, &json!("wrong_login")));
    event(&server, "second_factor_failed", "account ops");
    assert_eq!(n_told(&server, "login_failed", "account ops"), 0);
    hidden.extend([key, secret, good, old]);
    // A link that was used, and one that never was.
    for key in [&setup["key"], &json!(WRONG)] {
        let look = json!({"key": key});
        let (status, _) = Person::default().ask(&server.http, "POST", "/api/v1/setup/look", Some(&look));
        assert_eq!(status, 404);
    }
    event(&server, "wrong_token", "POST /api/v1/setup/look");

    // A known account by its name, what is no account's by none: it may be a password in the wrong field.
    let misplaced = "my-password-by-mistake";
    for (account, subject) in [("li", "account li"), (misplaced, "no account")] {
        let (status, _) = Person::default().log_in(&server.http, account, "wrong-wrong-wrong", None);
        assert_eq!(status, 401);
        event(&server, "login_failed", subject);
    }
    hidden.extend([misplaced.to_owned(), "wrong-wrong".to_owned()]);
    wait_for("a lock-out", SOON, || {
        let (status, _) = Person::default().log_in(&server.http, "li", "wrong-wrong-wrong", None);
        (status == 429).then_some(())
    });
    event(&server, "login_locked", "account li");

    // What a role may not, and what lies elsewhere; a cookie from a foreign page.
    let desk = json!({"role": "viewer", "name": "desk", "division": "630102"});
    let desk = server.post("/api/v1/tokens", &desk)["token"]
        .as_str()
        .unwrap()
        .to_owned();
    for (method, path) in [("POST", "/api/v1/entities"), ("GET", "/metrics")] {
        assert_eq!(request(&server.http, &desk, method, path, Some("{}")).0, 403);
        assert_eq!(
            event(&server, "denied", &format!("{method} {path}"))["actor"],
            "token#desk"
        );
    }
    let foreign = ureq::http::Request::builder()
        .method("DELETE")
        .uri(format!("{}/api/v1/session", server.http))
        .header("origin", "http://evil.example")
        .header("cookie", li.cookie.clone().unwrap())
        .body(())
        .unwrap();
    assert!(matches!(ureq::run(foreign), Err(ureq::Error::StatusCode(403))));
    assert_eq!(
        event(&server, "denied", "DELETE /api/v1/session")["actor"],
        Value::Null
    );
    // A device's own door: what stands in the path is a token.
    let path = format!("/api/v1/{WRONG}/telemetry");
    assert_eq!(request(&server.http, "", "POST", &path, Some("{}")).0, 401);
    event(&server, "wrong_token", "POST /api/v1/{token}/telemetry");
    hidden.push(desk.clone());

    // Who keeps the security of a division, or the audit of a department, reads none of it.
    let whole = server.get(&format!("{EVENTS}?limit=10000")).to_string();
    for (role, more, status) in [
        ("security_admin", json!({}), 200),
        ("audit_admin", json!({}), 200),
        ("security_admin", json!({"division": "630102"}), 403),
        ("audit_admin", json!({"departments": ["水务局"]}), 403),
        ("system_admin", json!({}), 403),
    ] {
        let mut new = json!({"role": role});
        new.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let token = server.post("/api/v1/tokens", &new)["token"]
            .as_str()
            .unwrap()
            .to_owned();
        let (said, _) = request(&server.http, &token, "GET", EVENTS, None);
        assert_eq!(said, status, "{role} {more}");
        hidden.push(token);
    }
    let files = || std::fs::read_to_string(server.dir.join("security/events.ndjson")).unwrap();
    wait_for("the last in the file", SOON, || {
        files().contains("\"actor\":\"token#audit_admin\"").then_some(())
    });
    for secret in hidden {
        assert!(secret.len() >= 6, "it means something: `{secret}`");
        for told in [&whole, &files()] {
            assert!(!told.contains(&secret), "`{secret}` stands in an event");
        }
    }
}

#[test]
fn pages_and_lines_are_the_same_events_and_the_files_outlive_a_kill() {
    let mut server = Server::new();
    for i in 0..20 {
        server.post(
            "/api/v1/accounts",
            &json!({"id": format!("a{i}"), "name": "李", "role": "viewer"}),
        );
        let path = format!("/api/v1/accounts/a{i}");
        assert_eq!(server.request("DELETE", &path, None).0, 204);
    }
    let whole = events(&server, "");
    assert!(whole.len() > 20);
    let numbers: Vec<u64> = whole.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted_by(|a, b| a == &(b + 1)), "{numbers:?}");
    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("{EVENTS}?limit=3{after}"));
        paged.extend(page["items"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(paged, whole);
    // As a collector follows them.
    let mut followed: Vec<Value> = Vec::new();
    loop {
        let last = followed.last().map_or(0, |event| event["seq"].as_u64().unwrap());
        let path = format!("{EVENTS}?limit=7&format=ndjson&after={last}");
        let lines = text(&server.http, &server.token, &path);
        if lines.is_empty() {
            break;
        }
        followed.extend(
            lines
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap()),
        );
    }
    followed.reverse();
    assert_eq!(followed, whole);
    let (from, to) = (&whole[5]["at"], &whole[2]["at"]);
    let path = |time: &Value| time.as_str().unwrap().replace('+', "%2B");
    for event in events(&server, &format!("from={}&to={}", path(from), path(to))) {
        assert!(event["at"].as_str() >= from.as_str() && event["at"].as_str() < to.as_str());
    }
    let (status, said) = server.request("GET", &format!("{EVENTS}?kind=gossip"), None);
    assert_eq!(status, 400, "{said}");

    wait_for("the file", SOON, || {
        let file = std::fs::read_to_string(server.dir.join("security/events.ndjson")).ok()?;
        file.contains(&format!("\"seq\":{},", numbers[0])).then_some(())
    });
    server = server.kill_and_restart();
    let kept = events(&server, "");
    assert!(kept.ends_with(&whole), "what was told is there");
    server.stop();
    let server = Server::start_in(&server.dir.clone());
    let kinds: Vec<String> = events(&server, "")
        .iter()
        .take(2)
        .map(|event| format!("{} {}", event["kind"], event["detail"]))
        .collect();
    assert!(
        kinds[0].contains("started") && kinds[0].contains("stopped in order before"),
        "{kinds:?}"
    );
    assert!(kinds[1].contains("stopped"), "{kinds:?}");
}

#[test]
fn a_flood_of_wrong_tokens_fills_neither_disk_nor_feed_and_hides_nobody() {
    const N_EACH: usize = 2500;
    const N_CALLERS: usize = 4;
    let server = Server::new();
    add(&server, "li", "viewer", &[]);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for caller in 0..N_CALLERS {
            let host = server.http.trim_start_matches("http://");
            scope.spawn(move || {
                let stream = TcpStream::connect(host).unwrap();
                let mut out = stream.try_clone().unwrap();
                scope.spawn(move || {
                    for i in 0..N_EACH {
                        // Each another path and token.
                        let head = format!(
                            "GET /api/v1/devices/d{caller}-{i} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer t{caller}-{i}\r\n\r\n"
                        );
                        out.write_all(head.as_bytes()).unwrap();
                    }
                });
                let answers = BufReader::new(stream).lines().map_while(Result::ok);
                let n = answers.filter(|line| line.contains("HTTP/1.1 401")).take(N_EACH).count();
                assert_eq!(n, N_EACH);
            });
        }
        assert_eq!(
            Person::default().log_in(&server.http, "li", PASSWORD, None).0,
            204
        );
    });
    let took = begun.elapsed();
    let n_all = (N_EACH * N_CALLERS) as u64;
    wait_for("each is counted", SOON, || {
        let all = events(&server, "kind=wrong_token");
        let n: u64 = all.iter().map(|event| event["n"].as_u64().unwrap()).sum();
        (n == n_all).then_some(())
    });
    let all = events(&server, "");
    let most = 200 + 60 + took.as_secs();
    assert!(
        (all.len() as u64) < most,
        "{} events for {n_all} requests",
        all.len()
    );
    assert!(all.iter().any(|event| event["subject"] == "others"));
    assert_eq!(
        events(&server, "kind=login&actor=li").len(),
        2,
        "his link and his log-in"
    );
    let file = std::fs::metadata(server.dir.join("security/events.ndjson")).unwrap();
    assert!(file.len() < 200 << 10, "{} bytes", file.len());
    let flood = server.metric("onemap_security_events_untold_total{why=\"flood\"}");
    assert!(flood > Some(n_all / 2), "{flood:?}");
}

#[test]
fn devices_that_are_not_let_in_are_told() {
    if peer("mosquitto_pub").is_none() {
        return;
    }
    let server = Server::new();
    let token = server.add_device("air-1", &json!({}));
    event(&server, "changed", "POST /api/v1/devices");
    server.publish(WRONG, "v1/devices/me/telemetry", "{}");
    let denied = event(&server, "device_denied", "mqtt");
    assert_eq!(denied["detail"], "wrong_token: nobody holds this token");
    assert_eq!(denied["peer"], "127.0.0.1");
    server.publish(&token, &format!("v1/devices/{WRONG}/telemetry"), "{}");
    let foreign = event(&server, "device_denied", "mqtt air-1");
    assert!(
        foreign["detail"].as_str().unwrap().starts_with("foreign_topic"),
        "{foreign}"
    );
    // A device that would register itself.
    let wish = json!({"deviceName": "air-2", "provisionDeviceKey": "k", "provisionDeviceSecret": WRONG});
    server.request("POST", "/api/v1/provision", Some(&wish.to_string()));
    let denied = event(&server, "device_denied", "http");
    assert!(
        denied["detail"].as_str().unwrap().starts_with("bad_provisioning"),
        "{denied}"
    );
    assert!(
        !server
            .get(&format!("{EVENTS}?limit=10000"))
            .to_string()
            .contains(WRONG)
    );
}

/// Header and JSON of a message.
fn read(message: &str) -> (String, Value) {
    let (head, json) = message.split_once('\u{feff}').unwrap();
    (head.to_owned(), serde_json::from_str(json).unwrap())
}

#[test]
fn a_collector_of_syslog_gets_them_as_datagrams() {
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    collector.set_read_timeout(Some(SOON)).unwrap();
    let address = collector.local_addr().unwrap();
    let more = format!("[security.syslog]\naddress = \"{address}\"\nhostname = \"city\"\n");
    let (mut server, _folder) = server(&more);
    assert_eq!(request(&server.http, WRONG, "GET", "/api/v1/system", None).0, 401);
    let next = |kind: &str| loop {
        let mut bytes = [0; 4096];
        let n = collector.recv(&mut bytes).unwrap();
        let (head, said) = read(std::str::from_utf8(&bytes[..n]).unwrap());
        if said["kind"] == kind {
            break (head, said);
        }
    };
    let (head, said) = next("wrong_token");
    // RFC 5424 section 6: PRI and version, time, host, application, process, message id, no structured data.
    let fields: Vec<&str> = head.split(' ').collect();
    let ready = std::fs::read_to_string(server.dir.join("ready.json")).unwrap();
    let ready: Value = serde_json::from_str(&ready).unwrap();
    let pid = ready["pid"].to_string();
    assert_eq!(
        (fields[0], &fields[2..]),
        (
            "<84>1",
            &["city", "onemap", pid.as_str(), "wrong_token", "-", ""][..]
        )
    );
    assert_eq!(fields[1], said["at"].as_str().unwrap());
    assert_eq!(said["subject"], "GET /api/v1/system");
    server.stop();
    assert_eq!(next("stopped").1["subject"], "server");
}

#[test]
fn a_collector_that_was_away_gets_them_over_a_new_connection_and_holds_up_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let more = format!("[security.syslog]\naddress = \"{address}\"\ntransport = \"tcp\"\n");
    drop(listener);
    let (mut server, _folder) = server(&more);
    let begun = Instant::now();
    assert_eq!(request(&server.http, WRONG, "GET", "/api/v1/system", None).0, 401);
    event(&server, "wrong_token", "GET /api/v1/system");
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "nobody waits for the collector"
    );
    // It comes up when the event has happened already, and goes away and comes again.
    let listener = TcpListener::bind(address).unwrap();
    let next = |kind: &str| {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut stream = BufReader::new(stream);
        loop {
            let mut length = Vec::new();
            stream.read_until(b' ', &mut length).unwrap();
            let length: usize = std::str::from_utf8(&length).unwrap().trim().parse().unwrap();
            let mut message = vec![0; length];
            stream.read_exact(&mut message).unwrap();
            let (_, said) = read(std::str::from_utf8(&message).unwrap());
            if said["kind"] == kind {
                break said;
            }
        }
    };
    assert_eq!(next("wrong_token")["subject"], "GET /api/v1/system");
    let made = json!({"role": "viewer", "name": "desk"});
    server.post("/api/v1/tokens", &made);
    assert_eq!(next("changed")["subject"], "POST /api/v1/tokens");
    drop(listener);
    server.stop();
}
