//! Hydrological stations (SL 651) against a real server: answered when durable, packets joined, wrong frames without an
//! answer.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use onemap_model::Timestamp;
use onemap_wire::sl651::reply::Line;
use onemap_wire::sl651::{
    Decimal, Definition, Element, Encoding, End, Frame, Framer, Group, Number, Piece, Stamp, split,
};
use serde_json::{Value, json};

use crate::server::{CONFIG, Server, wait_for};

const LIMIT: Duration = Duration::from_secs(20);
const STATION: &str = "0011223344";

fn now() -> Timestamp {
    Timestamp::from_system(std::time::SystemTime::now())
}

fn line(password: u16) -> Line {
    Line {
        station: STATION.parse().unwrap(),
        centre: 5,
        password,
        encoding: Encoding::Hex,
    }
}

/// A value of an identifier with three decimals.
fn value(id: u8, thousandths: i64) -> Group {
    Group::Element {
        element: Element(id.into()),
        definition: Definition::new(4, 3),
        values: vec![Number::Value(Decimal {
            digits: thousandths.into(),
            decimals: 3,
        })],
        is_series: false,
    }
}

fn report(password: u16, serial: u16, groups: Vec<Group>) -> Frame {
    let mut all = vec![Group::Observed(Stamp::of(now(), 10))];
    all.extend(groups);
    line(password).report(0x32, serial, now(), all).unwrap()
}

struct Station {
    socket: TcpStream,
    framer: Framer,
}

impl Station {
    fn connect(server: &Server) -> Self {
        let text = std::fs::read_to_string(server.dir.join("ready.json")).unwrap();
        let ready: Value = serde_json::from_str(&text).unwrap();
        let socket = TcpStream::connect(ready["sl651"].as_str().unwrap()).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let framer = Framer::new();
        Self { socket, framer }
    }

    fn send(&mut self, frame: &Frame) {
        self.socket.write_all(&frame.encode().unwrap()).unwrap();
    }

    fn next(&mut self) -> Frame {
        let start = Instant::now();
        let mut bytes = [0; 256];
        while start.elapsed() < LIMIT {
            match self.socket.read(&mut bytes) {
                Ok(0) => panic!("the centre has closed"),
                Ok(n) => {
                    if let Some(Piece::Frame { frame, .. }) = self.framer.push(&bytes[..n]).pop() {
                        return frame;
                    }
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => panic!("{e}"),
            }
        }
        panic!("the centre says nothing")
    }
}

fn server() -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("rules")).unwrap();
    let config = format!("{CONFIG}[sl651]\nlisten = \"127.0.0.1:0\"\nframe_seconds = 1\n");
    std::fs::write(folder.path().join("onemap.toml"), config).unwrap();
    let server = Server::start_in(folder.path());
    server.add_device(STATION, &json!({"profile": "sl651-station"}));
    let path = format!("/api/v1/devices/{STATION}/token");
    server.post(&path, &json!({"password": "03E8"}));
    (folder, server)
}

fn reasons(server: &Server) -> Vec<String> {
    server.caught_up();
    let entries = server.get("/api/v1/quarantine?limit=100");
    let items = entries["items"].as_array().unwrap().iter();
    let mut reasons: Vec<_> = items.map(|e| e["reason"].as_str().unwrap().to_owned()).collect();
    reasons.sort();
    reasons
}

#[test]
fn a_report_is_durable_before_it_is_answered_and_packets_are_joined() {
    let (_folder, server) = server();
    let mut station = Station::connect(&server);
    let frame = report(0x03E8, 52, vec![value(0x39, 10_490)]);
    for _ in 0..2 {
        station.send(&frame);
        let answer = station.next();
        assert_eq!(
            (answer.end, answer.function, answer.password),
            (End::Eot, 0x32, 0x03E8)
        );
        assert_eq!(answer.read().unwrap().serial, Some(52));
    }
    server.caught_up();
    assert_eq!(server.latest(STATION, "water_level").unwrap()["value"], 10.49);
    // A keep-alive gets nothing; each packet is answered, in any order of the others.
    let alive = line(0x03E8).report(0x2F, 52, now(), Vec::new()).unwrap();
    station.send(&alive);
    let long = report(0x03E8, 53, vec![value(0x39, 11_000), value(0x38, 12_500)]);
    let packets = split(&long, 14).unwrap();
    assert!(packets.len() >= 2, "{packets:?}");
    for packet in &packets {
        station.send(packet);
        let answer = station.next();
        let last = packet.end == End::Etx;
        assert_eq!(answer.end, if last { End::Eot } else { End::Ack });
    }
    server.caught_up();
    assert_eq!(server.latest(STATION, "water_level").unwrap()["value"], 11.0);
    // What was answered survives a kill.
    let dir = server.dir.clone();
    let mut server = server;
    server.process.kill();
    let server = Server::start_in(&dir);
    server.caught_up();
    assert_eq!(server.latest(STATION, "water_level").unwrap()["value"], 11.0);
    assert_eq!(reasons(&server), [""; 0]);
}

#[test]
fn a_wrong_frame_gets_no_answer_and_is_refused_by_name() {
    let (_folder, server) = server();
    let mut station = Station::connect(&server);
    station.send(&report(0x1234, 1, vec![value(0x39, 1000)]));
    let mut wrong = report(0x03E8, 2, vec![value(0x39, 1000)]).encode().unwrap();
    let n = wrong.len();
    wrong[n - 1] ^= 1;
    station.socket.write_all(&wrong).unwrap();
    let good = report(0x03E8, 3, vec![value(0x39, 1000)]);
    station.socket.write_all(&good.encode().unwrap()[..20]).unwrap();
    wait_for("the refusals", LIMIT, || {
        let reasons = reasons(&server);
        ["broken_frame", "crc_mismatch", "wrong_password"]
            .iter()
            .all(|reason| reasons.iter().any(|r| r == reason))
            .then_some(())
    });
    station.send(&good);
    let answer = station.next();
    assert_eq!(answer.read().unwrap().serial, Some(3));
}
