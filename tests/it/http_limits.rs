//! What HTTP bears: silent and slow peers are closed, connections and bodies are bounded, and who may not
//! write is told so before a body is read.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::server::{CONFIG, Server, peer, wait_for};

/// A server with lines of its own under `[http]`.
fn server(http: &str) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("rules")).unwrap();
    let config = CONFIG.replacen("[http]\n", &format!("[http]\n{http}\n"), 1);
    std::fs::write(folder.path().join("onemap.toml"), config).unwrap();
    (Server::start_in(folder.path()), folder)
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.http.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn send(server: &Server, text: &str) -> TcpStream {
    let mut stream = connect(server);
    stream.write_all(text.as_bytes()).unwrap();
    stream
}

/// All that comes until the server closes; panics when it does not.
fn to_the_end(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the server closes");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn status(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}

/// A request with a body that is announced and not sent.
fn head(path: &str, token: &str, n_bytes: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: {n_bytes}\r\n\r\n"
    )
}

#[test]
fn connections_over_the_limit_are_refused_and_health_and_mqtt_go_on() {
    let (server, _folder) =
        server("max_connections = 8\nmax_connections_per_address = 8\nheader_timeout = 60");
    let device = server.add_device("d-1", &json!({}));
    let ask = |path: &str| {
        let text = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n",
            server.token
        );
        to_the_end(send(&server, &text))
    };
    // More than the limit, so that it is reached whichever connection of before still closes.
    let idle: Vec<_> = (0..14).map(|_| connect(&server)).collect();
    let refused = wait_for("a refusal", Duration::from_secs(10), || {
        let answer = ask("/api/v1/system");
        (status(&answer) == 503).then_some(answer)
    });
    let refused = refused.to_lowercase();
    assert!(
        refused.contains("retry-after:") && refused.contains("connection: close"),
        "{refused}"
    );
    // Some of those that are over hold the spare places of this address, for a second.
    for path in ["/health", "/health/live"] {
        wait_for("an answer about health", Duration::from_secs(10), || {
            (status(&ask(path)) == 200).then_some(())
        });
    }
    let counted = server.metric("onemap_http_connections_refused_total");
    assert!(counted.is_some_and(|n| n >= 3), "{counted:?}");
    if peer("mosquitto_pub").is_some() {
        let sent = server.publish(&device, "v1/devices/me/telemetry", r#"{"pm2_5": 12}"#);
        assert!(sent.status.success(), "{sent:?}");
    }
    drop(idle);
    wait_for("a place", Duration::from_secs(10), || {
        (status(&ask("/api/v1/system")) == 200).then_some(())
    });
}

#[test]
fn silent_and_slow_peers_are_closed_and_streams_live_on() {
    let (mut server, _folder) = server("header_timeout = 1\nbody_timeout = 1");
    let live = format!(
        "GET /api/v1/live HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        server.token
    );
    let mut live = send(&server, &live);
    let start = Instant::now();
    let silent = connect(&server);
    let half_head = send(&server, "POST /api/v1/readings HTTP/1.1\r\nhost: x\r\nx-slow: ");
    let half_body = send(
        &server,
        &(head("/api/v1/readings", &server.token, 1000) + "{\"device\":"),
    );
    let kept_alive = send(&server, "GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(status(&to_the_end(half_body)), 408);
    to_the_end(silent);
    to_the_end(half_head);
    assert_eq!(status(&to_the_end(kept_alive)), 200);
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    assert_eq!(server.metric("onemap_http_bodies_late_total"), Some(1));
    // A body that comes bit by bit, yet in its time, is taken.
    let readings = r#"{"device":"nobody","readings":[]}"#;
    let (first, rest) = readings.split_at(10);
    let mut slow = send(
        &server,
        &(head("/api/v1/readings", &server.token, readings.len()) + first),
    );
    std::thread::sleep(Duration::from_millis(300));
    slow.write_all(rest.as_bytes()).unwrap();
    let answer = to_the_end(slow);
    assert!(![0, 408].contains(&status(&answer)), "{answer}");
    // The stream is as old as all this.
    live.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut bytes = [0; 4096];
    let mut n_all = 0;
    let is_open = loop {
        match live.read(&mut bytes) {
            Ok(0) => break false,
            Ok(n) => n_all += n,
            Err(error) => break matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    };
    assert!(is_open && n_all > 0, "the stream ended after {n_all} bytes");
    server.stop();
}

#[test]
fn who_may_not_write_is_told_before_the_body() {
    let (server, _folder) = server("");
    let viewer = server.post("/api/v1/tokens", &json!({"role": "viewer"}));
    let viewer = viewer["token"].as_str().unwrap();
    let start = Instant::now();
    for (path, token, expected) in [
        ("/api/v2/write", "wrong", 401),
        ("/write", "wrong", 401),
        ("/api/v2/write", viewer, 403),
        ("/push/nowhere", "wrong", 404),
        ("/api/v1/wrong/telemetry", "wrong", 401),
        ("/api/v1/wrong/attributes", "wrong", 401),
        ("/api/v1/wrong/claim", "wrong", 401),
        ("/api/v1/wrong/rpc", "wrong", 401),
        ("/api/v1/wrong/rpc/7", "wrong", 401),
        ("/api/v1/readings", "wrong", 401),
        ("/api/v1/readings", viewer, 403),
        ("/api/v1/readings/import", viewer, 403),
    ] {
        // Nothing of the body is sent, and the answer is the last of the connection.
        let answer = to_the_end(send(&server, &head(path, token, 1_000_000)));
        assert_eq!(status(&answer), expected, "{path}: {answer}");
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn bodies_in_flight_have_a_budget() {
    let (server, _folder) = server("max_body_bytes = 1000000\nmax_bodies_bytes = 1000000");
    let begin = || {
        let mut stream = send(&server, &head("/api/v2/write", &server.token, 900_000));
        stream.write_all(&vec![b'#'; 700_000]).unwrap();
        stream
    };
    let mut first = begin();
    wait_for("the first body", Duration::from_secs(10), || {
        (server.metric("onemap_http_body_bytes")? >= 700_000).then_some(())
    });
    let answer = to_the_end(begin()).to_lowercase();
    assert!(
        status(&answer) == 503 && answer.contains("retry-after:"),
        "{answer}"
    );
    // The first one is not harmed by the second.
    first.write_all(&vec![b'#'; 200_000]).unwrap();
    let mut answer = [0; 12];
    first.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 204");
    assert_eq!(server.metric("onemap_http_bodies_refused_total"), Some(1));
}
