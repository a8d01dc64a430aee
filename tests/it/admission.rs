//! What becomes a reading, what is doubtful, what is missing: the ledger against an outside count, the
//! quarantine's way back, and a dead sensor behind a live gateway.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use onemap_model::Timestamp;
use serde_json::{Value, json};

use crate::alarms::DUST;
use crate::server::{Process, Server, binary, request, wait_for};

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;

/// A publisher that knows nothing of the server's own code: CONNECT, PUBLISH with QoS 1, PUBACK.
struct Publisher {
    socket: TcpStream,
    packet_id: u16,
}

impl Publisher {
    fn connect(port: u16, token: &str) -> Self {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut body = b"\0\x04MQTT\x04\x82\0\0".to_vec();
        for text in ["outside-script", token] {
            body.extend((text.len() as u16).to_be_bytes());
            body.extend(text.as_bytes());
        }
        let mut packet = vec![0x10, body.len() as u8];
        packet.extend(&body);
        socket.write_all(&packet).unwrap();
        let mut answer = [0; 4];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [0x20, 2, 0, 0], "CONNACK");
        Self { socket, packet_id: 0 }
    }
    /// Publishes and waits for the PUBACK.
    fn publish(&mut self, topic: &str, payload: &[u8]) {
        self.packet_id = self.packet_id % 60_000 + 1;
        let mut body = (topic.len() as u16).to_be_bytes().to_vec();
        body.extend(topic.as_bytes());
        body.extend(self.packet_id.to_be_bytes());
        body.extend(payload);
        assert!(body.len() < 128 * 128);
        let mut packet = vec![0x32, body.len() as u8 | 0x80, (body.len() >> 7) as u8];
        packet.extend(&body);
        self.socket.write_all(&packet).unwrap();
        let mut answer = [0; 4];
        self.socket.read_exact(&mut answer).unwrap();
        assert_eq!(answer[0], 0x40, "PUBACK");
        assert_eq!(answer[2..], self.packet_id.to_be_bytes());
    }
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % n
    }
}

/// The outside script's own count of an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    received: u64,
    late: u64,
    duplicate: u64,
    revised: u64,
    lost: u64,
}

/// What the script has told so far, and its count of what that is.
#[derive(Default)]
struct Book {
    /// What is shown of each time.
    known: HashMap<i64, u64>,
    newest: i64,
    hours: BTreeMap<i64, Count>,
}

impl Book {
    fn told(&mut self, at: i64, value: u64) {
        let hour = self.hours.entry(at / HOUR_MS).or_default();
        match self.known.insert(at, value) {
            None => {
                hour.received += 1;
                hour.late += u64::from(at < self.newest);
            }
            Some(shown) if shown == value => hour.duplicate += 1,
            Some(_) => hour.revised += 1,
        }
        self.newest = self.newest.max(at);
    }
}

fn telemetry(at: i64, value: u64) -> Vec<u8> {
    json!({"ts": at, "values": {"pm10": value}})
        .to_string()
        .into_bytes()
}

fn hours_of(server: &Server, device: &str, at: i64) -> Vec<Value> {
    let date = Timestamp::from_ms(at).to_string();
    let ledger = server.get(&format!("/api/v1/ledger?device={device}&day={}", &date[..10]));
    ledger["items"][0]["hours"].as_array().unwrap().clone()
}

#[test]
fn the_ledger_equals_the_count_of_one_who_drops_delays_repeats_and_corrupts() {
    const CADENCE_MS: i64 = 10_000;
    const TOPIC: &str = "v1/devices/me/telemetry";
    let mut server = Server::new();
    let token = server.add_device("chaos", &json!({"cadence_s": 10}));
    let now = Timestamp::from_system(std::time::SystemTime::now()).ms();
    // The last two and a half whole hours of one Beijing day: across two borders of an hour.
    let today = (now + 8 * HOUR_MS) / DAY_MS * DAY_MS - 8 * HOUR_MS;
    let end = match (now - today) / HOUR_MS {
        0..4 => today,
        hour => today + hour * HOUR_MS,
    };
    let start = end - 5 * HOUR_MS / 2;
    let mut dice = Dice(0x9e37_79b9);
    let mut book = Book::default();
    let mut publisher = Publisher::connect(server.mqtt_port, &token);
    let mut held: Vec<(usize, i64, u64)> = Vec::new();
    let mut n_refused = 0;
    for (i, at) in (start..end).step_by(CADENCE_MS as usize).enumerate() {
        if i == 450 {
            // What was acknowledged is counted, whatever happens then.
            server = server.kill_and_restart();
            publisher = Publisher::connect(server.mqtt_port, &token);
        }
        let value = 20 + dice.below(60);
        // The first comes as it is: what is expected counts from it.
        let roll = if i == 0 { 99 } else { dice.below(100) };
        match roll {
            0..5 => {}
            5..10 => {
                let mut broken = telemetry(at, value);
                broken.truncate(broken.len() - 1 - dice.below(8) as usize);
                publisher.publish(TOPIC, &broken);
                n_refused += 1;
            }
            10..25 => held.push((i + 1 + dice.below(40) as usize, at, value)),
            _ => {
                publisher.publish(TOPIC, &telemetry(at, value));
                book.told(at, value);
                match dice.below(100) {
                    0..10 => {
                        publisher.publish(TOPIC, &telemetry(at, value));
                        book.told(at, value);
                    }
                    10..15 => held.push((i + dice.below(40) as usize, at, value)),
                    15..20 => held.push((i + dice.below(40) as usize, at, value + 100)),
                    _ => {}
                }
            }
        }
        let is_last = at + CADENCE_MS >= end;
        for (_, at, value) in held.extract_if(.., |(until, ..)| is_last || *until <= i) {
            publisher.publish(TOPIC, &telemetry(at, value));
            book.told(at, value);
        }
    }
    server.caught_up();
    let shown = hours_of(&server, "chaos", start);
    for (hour, expected) in [(3, 180), (2, 360), (1, 360)].map(|(ago, n)| (end / HOUR_MS - ago, n)) {
        let mut count = book.hours[&hour];
        assert!(
            count.late > 5 && count.duplicate > 5 && count.revised > 2,
            "{count:?}"
        );
        count.lost = expected - count.received;
        let row = &shown[((hour + 8) % 24) as usize];
        let n = |name: &str| row[name].as_u64().unwrap();
        let ledger = Count {
            received: n("received"),
            late: n("late"),
            duplicate: n("duplicate"),
            revised: n("revised"),
            lost: n("lost"),
        };
        assert_eq!((n("expected"), ledger), (expected, count), "hour {hour}");
    }
    // Refusals have no time of their own: they stand in the hour in which they came.
    let refused: u64 = [now, now + HOUR_MS]
        .map(|at| Timestamp::from_ms(at).to_string()[..10].to_owned())
        .into_iter()
        .collect::<HashSet<_>>()
        .into_iter()
        .flat_map(|date| {
            let ledger = server.get(&format!("/api/v1/ledger?device=chaos&day={date}"));
            ledger["items"][0]["hours"].as_array().unwrap().clone()
        })
        .map(|hour| hour["refused"].as_u64().unwrap())
        .sum();
    assert_eq!(refused, n_refused);
    assert!(refused > 20);
    // The day's row of the whole network is the same sum.
    let date = &Timestamp::from_ms(start).to_string()[..10];
    let by_kind = server.get(&format!("/api/v1/ledger?group_by=kind&from={date}&to={date}"));
    let row = &by_kind["items"][0];
    let received: u64 = book.hours.values().map(|c| c.received).sum();
    assert_eq!(
        (&row["kind"], &row["received"]),
        (&json!("air_station"), &json!(received))
    );
    let csv = crate::server::text(
        &server.http,
        &server.token,
        &format!("/api/v1/ledger?device=chaos&from={date}&to={date}&format=csv"),
    );
    assert!(
        csv.lines().nth(1).unwrap().contains(&format!(",{received},")),
        "{csv}"
    );
    // A stamp of weeks ago is counted where it stands, and opens no weeks in which something was lost.
    let weeks_ago = start - 21 * DAY_MS;
    publisher.publish(TOPIC, &telemetry(weeks_ago, 20));
    server.caught_up();
    for (ago, received) in [(21, 1), (20, 0), (1, 0)] {
        let hours = hours_of(&server, "chaos", start - ago * DAY_MS);
        let sum = |name: &str| hours.iter().map(|hour| hour[name].as_u64().unwrap()).sum::<u64>();
        assert_eq!(
            (sum("received"), sum("expected"), sum("lost")),
            (received, 0, 0),
            "{ago} days ago"
        );
    }
    let before = hours_of(&server, "chaos", start);
    let server = server.kill_and_restart();
    server.caught_up();
    assert_eq!(hours_of(&server, "chaos", start), before);
}

#[test]
fn refused_bytes_are_read_again_after_the_profile_is_right_and_page_nobody() {
    let mut server = Server::with_rules(&[("dust", DUST)]);
    let token = server.add_device("air-9", &json!({"cadence_s": 60}));
    let now = Timestamp::from_system(std::time::SystemTime::now()).ms();
    let mut publisher = Publisher::connect(server.mqtt_port, &token);
    for i in 0..5 {
        let payload = json!({"ts": now - 60_000 * i, "values": {"dust": 900 + i, "colour": 1}});
        publisher.publish("v1/devices/me/telemetry", payload.to_string().as_bytes());
    }
    publisher.publish("v1/devices/me/telemetry", b"{\"ts\":1, \"values\": nonsense}");
    server.caught_up();
    let open = server.get("/api/v1/quarantine?state=open&device=air-9");
    assert_eq!(open["items"].as_array().unwrap().len(), 6);
    let broken = &server.get("/api/v1/quarantine?reason=broken_json&text=nonsense")["items"][0];
    let shown = server.get(&format!("/api/v1/quarantine/{}", broken["id"]));
    assert_eq!(shown["payload"], "{\"ts\":1, \"values\": nonsense}");
    assert!(shown["payload_base64"].as_str().unwrap().starts_with("eyJ0cyI6"));
    let counts = server.get("/api/v1/quarantine/counts");
    assert_eq!(
        counts["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["n"].as_u64().unwrap())
            .sum::<u64>(),
        6
    );

    let order = json!({"reason": "unknown_quantity", "note": "模型补上了粉尘"});
    let tried = server.post(
        "/api/v1/quarantine/readmit",
        &json!({"reason": "unknown_quantity", "dry_run": true}),
    );
    assert!(
        tried["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|item| item["readings"] == 0)
    );
    let (status, answer) = server.request(
        "POST",
        "/api/v1/quarantine/readmit",
        Some(&json!({"reason": "unknown_quantity"}).to_string()),
    );
    assert_eq!(
        (status, &answer["code"]),
        (400, &json!("bad_act")),
        "an act says why"
    );

    let profile =
        "version: 1\nname: {zh: 尘, en: Dust}\nprotocol: thingsboard\nkeys:\n  dust: {quantity: pm10}\n";
    let (status, answer) = server.request("PUT", "/api/v1/profiles/dusty", Some(profile));
    assert_eq!(status, 200, "{answer}");
    server.post(
        "/api/v1/devices?replace=true",
        &json!({"id": "air-9", "name": "air-9", "kind": "air_station", "cadence_s": 60, "profile": "dusty"}),
    );
    let tried = server.post(
        "/api/v1/quarantine/readmit",
        &json!({"reason": "unknown_quantity", "dry_run": true}),
    );
    assert!(
        tried["items"]
            .as_array()
            .unwrap()
            .iter()
            .all(|item| item["readings"] == 1),
        "{tried}"
    );
    assert!(
        server.latest("air-9", "pm10").is_none(),
        "a dry run keeps nothing"
    );

    let done = server.post("/api/v1/quarantine/readmit", &order);
    // `colour` is still unknown, so each entry says both: what came of it, and what is still refused.
    assert_eq!(done["counts"]["refused"], 5, "{done}");
    assert_eq!(done["items"][0]["settled"]["readings"], 1);
    assert_eq!(done["items"][0]["settled"]["note"], "模型补上了粉尘");
    let latest = server.latest("air-9", "pm10").unwrap();
    assert_eq!(latest["value"], 900.0);
    assert_eq!(latest["quality"], json!(["resent", "backfill"]));
    assert_eq!(latest["measured_at"], json!(Timestamp::from_ms(now).to_string()));
    assert_eq!(latest["state"], "unknown");
    assert_eq!(server.get("/api/v1/alerts")["items"].as_array().unwrap().len(), 0);
    assert!(
        server.get("/api/v1/devices/air-9")["last_received"].is_null(),
        "nothing was heard of it"
    );
    let id = latest["series"].as_u64().unwrap();
    let stored = |server: &Server| {
        let all = server.get(&format!("/api/v1/series/{id}/values?revisions=true"));
        all["items"].as_array().unwrap().len()
    };
    assert_eq!(stored(&server), 5);
    // With the last key named nothing is refused any more, and nothing is stored twice.
    let profile = format!("{profile}  colour: {{quantity: turbidity}}\n");
    assert_eq!(
        server.request("PUT", "/api/v1/profiles/dusty", Some(&profile)).0,
        200
    );
    let done = server.post("/api/v1/quarantine/readmit", &order);
    assert_eq!(done["counts"]["readmitted"], 5, "{done}");
    let first = &done["items"][0];
    let again = server.post(
        &format!("/api/v1/quarantine/{}/readmit", first["id"]),
        &json!({"note": "再次"}),
    );
    assert_eq!((&again["counts"]["readmitted"], stored(&server)), (&json!(1), 5));
    assert_eq!(
        again["items"][0]["settled"]["readings"], 1,
        "what came of it first stays"
    );
    let done = server.post(
        &format!("/api/v1/quarantine/{}/discard", broken["id"]),
        &json!({"note": "测试数据"}),
    );
    assert_eq!(done["counts"]["discarded"], 1);
    assert_eq!(
        server.get("/api/v1/quarantine?state=open")["items"]
            .as_array()
            .unwrap()
            .len(),
        0
    );

    // Bytes of strangers are kept in part only.
    let stranger = server.publish(&token, "v1/devices/other/telemetry", "{}");
    drop(stranger);
    let entry = wait_for("the stranger's entry", Duration::from_secs(10), || {
        server.get("/api/v1/quarantine?reason=foreign_topic")["items"]
            .as_array()?
            .first()
            .cloned()
    });
    assert_eq!(
        entry["detail"],
        "refused by the listener: publish to `v1/devices/other/telemetry`, which is not the device's own"
    );
    let (status, answer) = server.request(
        "POST",
        &format!("/api/v1/quarantine/{}/readmit", entry["id"]),
        Some("{\"note\":\"x\"}"),
    );
    assert_eq!((status, &answer["code"]), (409, &json!("not_readmissible")));
    assert!(answer["detail"].as_str().unwrap().contains("4 KiB"), "{answer}");

    // The journal alone gives the same again.
    server = server.kill_and_restart();
    server.caught_up();
    let states = |server: &Server| {
        let all = server.get("/api/v1/quarantine?device=air-9");
        let items = all["items"].as_array().unwrap().clone();
        items
            .into_iter()
            .map(|i| (i["position"].clone(), i["state"].clone(), i["settled"].clone()))
            .collect::<Vec<_>>()
    };
    let before = states(&server);
    server.stop();
    let digest = |dir: &std::path::Path| {
        let output = Command::new(binary("onemap"))
            .arg("--data-dir")
            .arg(dir)
            .args(["digest", "--json"])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let into = tempfile::tempdir().unwrap();
    let replayed = Command::new(binary("onemap"))
        .arg("--data-dir")
        .arg(&server.dir)
        .args(["journal", "replay", "--into"])
        .arg(into.path().join("again"))
        .output()
        .unwrap();
    assert!(
        replayed.status.success(),
        "{}",
        String::from_utf8_lossy(&replayed.stderr)
    );
    assert_eq!(digest(&into.path().join("again")), digest(&server.dir));
    let open = before.iter().filter(|(_, state, _)| state == "open").count();
    let settled = before
        .iter()
        .filter(|(_, state, _)| state == "readmitted" || state == "discarded")
        .count();
    assert_eq!(
        (open, settled),
        (1, 6),
        "the bytes kept in part stay open: {before:?}"
    );
}

/// A Modbus slave of our own: register n holds a slowly moving number; while `dead` is set, registers from
/// 1000 on answer with exception 4 (slave device failure).
fn slave(dead: Arc<AtomicBool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let dead = dead.clone();
            std::thread::spawn(move || {
                let mut n = 0u16;
                // The connection ends with the test.
                let _ = serve(socket, &dead, &mut n);
            });
        }
    });
    port
}

fn serve(mut socket: TcpStream, dead: &AtomicBool, n: &mut u16) -> std::io::Result<()> {
    loop {
        let mut request = [0; 12];
        socket.read_exact(&mut request)?;
        let (start, count) = (
            u16::from_be_bytes([request[8], request[9]]),
            u16::from_be_bytes([request[10], request[11]]),
        );
        let mut body = vec![request[6]];
        if start >= 1000 && dead.load(Ordering::Relaxed) {
            body.extend([request[7] | 0x80, 4]);
        } else {
            *n = n.wrapping_add(1);
            body.extend([request[7], (count * 2) as u8]);
            for register in start..start + count {
                body.extend((20 + (register + *n) % 30).to_be_bytes());
            }
        }
        let mut answer = request[..4].to_vec();
        answer.extend((body.len() as u16).to_be_bytes());
        answer.extend(&body);
        socket.write_all(&answer)?;
    }
}

#[test]
fn one_dead_sensor_of_fifty_is_unknown_while_its_gateway_lives() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    std::fs::create_dir(dir.join("rules")).unwrap();
    std::fs::create_dir(dir.join("profiles")).unwrap();
    std::fs::write(dir.join("rules/dust.yaml"), DUST).unwrap();
    // The cadence stands in the profile only.
    let profile = "version: 1\nname: {zh: 五十路, en: Fifty}\nprotocol: modbus\ncadence: 1s\nmodbus:\n  unit: 1\n  poll: 500ms\n  registers:\n    - {address: 0, count: 49, quantity: pm10}\n    - {address: 1000, quantity: pm10, channel: 49}\n";
    std::fs::write(dir.join("profiles/fifty.yaml"), profile).unwrap();
    std::fs::write(dir.join("onemap.toml"), crate::server::CONFIG).unwrap();
    let dead = Arc::new(AtomicBool::new(false));
    let modbus = slave(dead.clone());
    let server = Server::start_in(dir);
    let token = server.add_device("gw", &json!({"profile": "fifty"}));
    std::fs::write(dir.join("gw.token"), token).unwrap();
    let config = dir.join("gateway.toml");
    std::fs::write(
        &config,
        format!(
            "server = \"127.0.0.1:{}\"\ndevice = \"gw\"\ntoken_file = \"{1}/gw.token\"\n[spool]\ndir = \"{1}/spool\"\n[[slave]]\nname = \"fifty\"\naddress = \"127.0.0.1:{modbus}\"\nunit = 1\nprofile = \"{1}/profiles/fifty.yaml\"\n",
            server.mqtt_port,
            dir.display()
        ),
    )
    .unwrap();
    let mut command = Command::new(binary("onemap-gateway"));
    command.arg("--config").arg(&config);
    let _gateway = Process::start(command);
    // By channel: state and stale.
    let states = || -> BTreeMap<u64, (String, bool)> {
        let latest = server.get("/api/v1/latest?device=gw");
        let items = latest["items"].as_array().unwrap().clone();
        let state = |i: &Value| (i["state"].as_str().unwrap().to_owned(), i["stale"] == true);
        items
            .iter()
            .map(|i| (i["ch"].as_u64().unwrap(), state(i)))
            .collect()
    };
    let normal = ("normal".to_owned(), false);
    let all_well = || {
        let states = states();
        (states.len() == 50 && states.values().all(|s| *s == normal)).then_some(())
    };
    wait_for("fifty normal sensors", Duration::from_secs(40), all_well);
    dead.store(true, Ordering::Relaxed);
    wait_for(
        "the dead one unknown, the others normal",
        Duration::from_secs(40),
        || {
            let mut states = states();
            let died = states.remove(&49)?;
            (died == ("unknown".to_owned(), true) && states.values().all(|s| *s == normal)).then_some(())
        },
    );
    let device = server.get("/api/v1/devices/gw");
    assert_eq!(device["stale"], false, "the gateway lives");
    assert_eq!(device["status"], "unknown", "and does not hide the dead sensor");
    let row = |device: &Value, ch: u64| {
        let series = device["series"].as_array().unwrap();
        series.iter().find(|s| s["ch"] == ch).unwrap().clone()
    };
    assert_eq!(row(&device, 49)["state"], "unknown");
    assert_eq!(row(&device, 48)["state"], "normal");
    dead.store(false, Ordering::Relaxed);
    wait_for("fifty normal sensors again", Duration::from_secs(40), all_well);
}

#[test]
fn an_import_lets_live_readings_through_and_stores_nothing_twice() {
    const N_ROWS: i64 = 20_000;
    let server = Server::with_rules(&[("dust", DUST)]);
    server.add_device("old", &json!({"cadence_s": 60}));
    server.add_device("live", &json!({"cadence_s": 60}));
    let now = Timestamp::from_system(std::time::SystemTime::now()).ms();
    let mut csv = String::from("device,quantity,time,value\n");
    for i in 0..N_ROWS {
        // Two months ago, above the rule's limit, and one line too old for any lane.
        let at = if i == 7 {
            now - 20 * 365 * DAY_MS
        } else {
            now - 60 * DAY_MS + i * 60_000
        };
        csv.push_str(&format!("old,pm10,{at},{}\n", 900 + i % 7));
    }
    let file = server.dir.join("old.csv");
    std::fs::write(&file, csv).unwrap();
    let dir = server.dir.clone();
    let import = || {
        let output = Command::new(binary("onemap"))
            .arg("--data-dir")
            .arg(&dir)
            .args(["--json", "import", "readings"])
            .arg(&file)
            .output()
            .unwrap();
        serde_json::from_slice::<Value>(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    };
    let counted = |said: &Value| {
        ["imported", "new", "duplicate", "revised", "refused"].map(|name| said[name].as_i64().unwrap())
    };
    let done = AtomicBool::new(false);
    let (http, token) = (server.http.as_str(), server.token.as_str());
    let waits = std::thread::scope(|scope| {
        let live = scope.spawn(|| {
            let mut waits = Vec::new();
            for i in 0.. {
                if done.load(Ordering::Relaxed) && i >= 5 {
                    break;
                }
                let start = std::time::Instant::now();
                let at = Timestamp::from_system(std::time::SystemTime::now()).ms();
                let value = f64::from(i % 100);
                let body = json!({"device": "live", "readings": [{"q": "pm10", "t": at, "v": value}]});
                let (status, _) = request(http, token, "POST", "/api/v1/readings", Some(&body.to_string()));
                assert_eq!(status, 202);
                wait_for("a live reading", Duration::from_secs(20), || {
                    let (_, latest) = request(http, token, "GET", "/api/v1/latest?device=live", None);
                    (latest["items"][0]["value"] == json!(value)).then_some(())
                });
                waits.push(start.elapsed());
            }
            waits
        });
        let first = import();
        assert_eq!(counted(&first), [N_ROWS - 1, N_ROWS - 1, 0, 0, 1]);
        let error = &first["errors"][0];
        assert_eq!((&error["line"], &error["reason"]), (&json!(9), &json!("too_old")));
        done.store(true, Ordering::Relaxed);
        live.join().unwrap()
    });
    let mut sorted = waits.clone();
    sorted.sort();
    // The machine may be busy; an import that went first would make them wait for all its rows.
    let p90 = sorted[sorted.len() * 9 / 10];
    assert!(p90 < Duration::from_secs(2), "live readings waited {sorted:?}");
    let second = import();
    assert_eq!(counted(&second), [N_ROWS - 1, 0, N_ROWS - 1, 0, 1]);
    assert_eq!(
        server.get("/api/v1/quarantine?reason=too_old")["items"]
            .as_array()
            .unwrap()
            .len(),
        2,
        "each run says what it refused"
    );
    assert_eq!(server.get("/api/v1/alerts")["items"].as_array().unwrap().len(), 0);
    assert!(server.get("/api/v1/devices/old")["last_received"].is_null());
}
