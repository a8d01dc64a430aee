//! The binary against a small stand-in for the server: registers once, speaks, tells the truth, stops.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rumqttc::{ConnAck, ConnectReturnCode, Packet, PubAck};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Default)]
struct World {
    devices: BTreeMap<String, Value>,
    tokens: HashMap<String, String>,
    entities: Vec<String>,
    fences: BTreeMap<String, Value>,
    n_posts: usize,
    /// Topic and payload, by device.
    said: Vec<(String, String, Value)>,
}

type Shared = Arc<Mutex<World>>;

async fn listen<F, G>(world: Shared, serve: F) -> SocketAddr
where
    F: Fn(TcpStream, Shared) -> G + Send + 'static,
    G: Future<Output = Option<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, Arc::clone(&world)));
        }
    });
    address
}

async fn http(mut stream: TcpStream, world: Shared) -> Option<()> {
    let mut inbox = Vec::new();
    loop {
        let head_end = loop {
            if let Some(at) = inbox.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut inbox).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8(inbox[..head_end].to_vec()).unwrap();
        let field = |name: &str| {
            let mut lines = head.lines().filter_map(|l| l.split_once(": "));
            lines
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.to_owned())
        };
        let length: usize = field("content-length").map_or(0, |n| n.parse().unwrap());
        while inbox.len() < head_end + length {
            stream.read_buf(&mut inbox).await.ok()?;
        }
        let body: Value = serde_json::from_slice(&inbox[head_end..head_end + length]).unwrap_or(Value::Null);
        inbox.drain(..head_end + length);
        assert_eq!(field("authorization").as_deref(), Some("Bearer admin-token"));
        let mut line = head.lines().next().unwrap().split(' ');
        let (method, path) = (line.next().unwrap(), line.next().unwrap());
        let (status, answer) = answer(&mut world.lock().unwrap(), method, path, body);
        let answer = answer.to_string();
        let text = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        );
        stream.write_all(text.as_bytes()).await.ok()?;
    }
}

fn answer(world: &mut World, method: &str, path: &str, body: Value) -> (u16, Value) {
    world.n_posts += usize::from(method == "POST");
    let parts: Vec<&str> = path.trim_start_matches("/api/v1/").split('/').collect();
    match (method, &parts[..]) {
        ("POST", ["entities"]) => {
            let features = body["features"].as_array().unwrap();
            world.entities.extend(
                features
                    .iter()
                    .map(|f| f["properties"]["code"].as_str().unwrap().to_owned()),
            );
            (200, json!({}))
        }
        ("GET", ["entities", code]) if world.entities.iter().any(|c| c == code) => (200, json!({})),
        ("PUT", ["fences", code]) => {
            world.n_posts += 1;
            assert_eq!(body["geometry"]["type"], "Polygon");
            world.fences.insert((*code).to_owned(), body.clone());
            (200, body)
        }
        ("GET", ["fences", code]) if world.fences.contains_key(*code) => (200, world.fences[*code].clone()),
        ("GET", [list]) if list.starts_with("devices") => {
            // Two pages.
            let all: Vec<_> = world.devices.values().cloned().collect();
            let half = all.len() / 2;
            match *list == "devices" {
                true => (200, json!({"items": all[..half], "next": "second page"})),
                false => {
                    assert_eq!(*list, "devices?after=second%20page");
                    (200, json!({"items": all[half..], "next": null}))
                }
            }
        }
        ("POST", ["devices?replace=true"]) => {
            let id = body["id"].as_str().unwrap().to_owned();
            world.devices.insert(id.clone(), body.clone());
            let token = format!("token-of-{id}-{}", world.tokens.len());
            world.tokens.insert(token.clone(), id);
            (201, json!({"device": body, "token": token}))
        }
        ("POST", ["devices", id, "token"]) => {
            let token = format!("new-token-of-{id}");
            world.tokens.insert(token.clone(), (*id).to_owned());
            (200, json!({"token": token}))
        }
        _ => (404, json!({"title": "not here"})),
    }
}

async fn mqtt(mut stream: TcpStream, world: Shared) -> Option<()> {
    let mut inbox = BytesMut::new();
    let mut device = None;
    loop {
        let mut answers = BytesMut::new();
        while let Ok(packet) = Packet::read(&mut inbox, 1 << 20) {
            match packet {
                Packet::Connect(connect) => {
                    let user = connect.login.map(|l| l.username).unwrap_or_default();
                    device = world.lock().unwrap().tokens.get(&user).cloned();
                    let code = if device.is_some() {
                        ConnectReturnCode::Success
                    } else {
                        ConnectReturnCode::NotAuthorized
                    };
                    ConnAck::new(code, false).write(&mut answers).ok()?;
                }
                Packet::Publish(publish) => {
                    PubAck::new(publish.pkid).write(&mut answers).ok()?;
                    let payload = serde_json::from_slice(&publish.payload).unwrap();
                    let device = device.clone().unwrap();
                    world.lock().unwrap().said.push((device, publish.topic, payload));
                }
                Packet::Disconnect => return None,
                _ => {}
            }
        }
        stream.write_all(&answers).await.ok()?;
        if stream.read_buf(&mut inbox).await.ok()? == 0 {
            return None;
        }
    }
}

struct City {
    child: Child,
    lines: std::sync::mpsc::Receiver<Value>,
}

impl City {
    fn start(http: SocketAddr, mqtt: SocketAddr, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_onemap-sim"))
            .args([
                "city",
                "--server",
                &format!("http://{http}"),
                "--mqtt",
                &mqtt.to_string(),
            ])
            .args(more)
            .env("ONEMAP_TOKEN", "admin-token")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if tell.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }
    async fn line(&self, event: &str, within: Duration) -> Value {
        let end = Instant::now() + within;
        loop {
            match self.lines.try_recv() {
                Ok(line) if line["event"] == event => return line,
                Ok(_) => {}
                Err(_) => {
                    assert!(Instant::now() < end, "no `{event}` line within {within:?}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }
    /// SIGTERM; it must end by itself within three seconds.
    async fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        let end = Instant::now() + Duration::from_secs(3);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success());
                return;
            }
            assert!(Instant::now() < end, "it does not stop");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for City {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_city_registers_once_speaks_and_tells_the_truth() {
    let world = Shared::default();
    let (api, broker) = (
        listen(Arc::clone(&world), http).await,
        listen(Arc::clone(&world), mqtt).await,
    );
    let dir = tempfile::tempdir().unwrap();
    let (state, truth) = (dir.path().join("state.json"), dir.path().join("truth.jsonl"));
    let more = [
        "--seed",
        "7",
        "--state",
        state.to_str().unwrap(),
        "--truth",
        truth.to_str().unwrap(),
    ];

    let city = City::start(api, broker, &more);
    let ready = city.line("ready", Duration::from_secs(60)).await;
    assert_eq!((&ready["seed"], &ready["devices"]), (&json!(7), &json!(122)));
    let incident = city.line("incident_start", Duration::from_secs(60)).await;
    let victim = incident["device"].as_str().unwrap().to_owned();
    let start = Instant::now();
    let shows = |world: &World| {
        // The value of the truth's first quantity, in either dialect, near the promised peak.
        let (quantity, peak) = incident["peaks"].as_object().unwrap().iter().next().unwrap();
        world
            .said
            .iter()
            .filter(|s| s.0 == victim)
            .any(|(_, _, payload)| {
                let value = match payload.as_array() {
                    Some(list) => list.iter().find(|r| r["q"] == quantity.as_str()).map(|r| &r["v"]),
                    None => payload["values"].get(quantity),
                };
                value
                    .and_then(Value::as_f64)
                    .is_some_and(|v| v >= peak.as_f64().unwrap() * 0.99)
            })
    };
    while !shows(&world.lock().unwrap()) {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "the incident does not show"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    city.stop().await;
    let text = std::fs::read_to_string(&truth).unwrap();
    assert!(
        text.lines()
            .any(|l| serde_json::from_str::<Value>(l).unwrap() == incident)
    );

    let n_posts = {
        let world = world.lock().unwrap();
        let speaking: std::collections::HashSet<_> = world.said.iter().map(|s| &s.0).collect();
        assert_eq!((world.devices.len(), speaking.len()), (122, 122));
        assert_eq!(world.fences.len(), 2);
        assert!(world.entities.iter().any(|c| c == "630102"));
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_millis() as i64;
        for (device, topic, payload) in &world.said {
            let stamp = if payload.is_array() {
                &payload[0]["t"]
            } else {
                &payload["ts"]
            }
            .as_i64()
            .unwrap();
            assert!((now - 120_000..=now).contains(&stamp), "{device} {stamp}");
            assert!(topic == "v1/devices/me/telemetry" || *topic == format!("onemap/v1/{device}/readings"));
        }
        world.n_posts
    };

    // Started again it registers nothing and uses the tokens it has.
    let city = City::start(api, broker, &more);
    city.line("ready", Duration::from_secs(60)).await;
    city.stop().await;
    assert_eq!(world.lock().unwrap().n_posts, n_posts);

    // The server forgets the tokens: the devices get new ones and go on.
    world.lock().unwrap().tokens.clear();
    world.lock().unwrap().said.clear();
    let city = City::start(api, broker, &more);
    city.line("ready", Duration::from_secs(60)).await;
    let start = Instant::now();
    while world.lock().unwrap().said.len() < 60 {
        assert!(start.elapsed() < Duration::from_secs(30), "no device speaks");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    city.stop().await;
}
