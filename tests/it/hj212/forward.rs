//! A superior platform gets every frame, in order per station, however often either side is killed.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use onemap_wire::hj212::{
    self, Answered, Framer, Piece, QnRtn, Segment, data_answer, encode, request_answer, stamp,
};

use super::intake::hour;
use super::station::{LIMIT, Station, frame, register, says, server};
use crate::server::{Server, text, wait_for};

/// The station of which a platform answers nothing, and the one of which it refuses frames with the value 0.
const DEAF: &str = "F8";
const PARTICULAR: &str = "F9";

/// A platform that writes down what it gets and then answers it.
struct Superior {
    address: SocketAddr,
    got: Arc<Mutex<Vec<Segment>>>,
    /// What stations answered of its requests.
    heard: Arc<Mutex<Vec<Segment>>>,
    stop: Arc<AtomicBool>,
    running: Option<JoinHandle<()>>,
}

impl Superior {
    fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), Arc::default())
    }

    fn at(address: SocketAddr, got: Arc<Mutex<Vec<Segment>>>) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, heard) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (its_stop, its_got, its_heard) = (Arc::clone(&stop), Arc::clone(&got), Arc::clone(&heard));
        let running = std::thread::spawn(move || {
            while !its_stop.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((stream, _)) => talk(stream, &its_got, &its_heard, &its_stop),
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Self {
            address,
            got,
            heard,
            stop,
            running: Some(running),
        }
    }

    /// Killed: its connection breaks wherever it is. Gives what it had, and where it was.
    fn kill(mut self) -> (SocketAddr, Arc<Mutex<Vec<Segment>>>) {
        self.end();
        (self.address, Arc::clone(&self.got))
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(running) = self.running.take() {
            running.join().unwrap();
        }
    }

    fn n_got(&self) -> usize {
        self.got.lock().unwrap().len()
    }
}

impl Drop for Superior {
    fn drop(&mut self) {
        self.end();
    }
}

fn talk(mut stream: TcpStream, got: &Mutex<Vec<Segment>>, heard: &Mutex<Vec<Segment>>, stop: &AtomicBool) {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let mut framer = Framer::default();
    let mut bytes = [0; 4096];
    let asks = "QN=20261126080000999;ST=22;CN=1011;PW=123456;MN=F1;Flag=5;CP=&&&&";
    stream.write_all(&frame(asks)).unwrap();
    while !stop.load(Ordering::SeqCst) {
        let n = match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(n) => n,
            Err(_) => continue,
        };
        for piece in framer.push(&bytes[..n]) {
            let Piece::Frame { frame, .. } = piece else {
                panic!("what is forwarded is no frame: {piece:?}")
            };
            let segment = hj212::decode(&frame, None).unwrap();
            if Answered::of(&segment).is_some() {
                heard.lock().unwrap().push(segment);
                continue;
            }
            assert!(segment.wants_answer(), "{}", segment.text());
            let answer = match segment.mn() {
                DEAF => Vec::new(),
                PARTICULAR if segment.text().contains("a34004-Rtd=0&&") => {
                    encode(&request_answer(&segment, segment.pw(), QnRtn::WrongCrc)).unwrap()
                }
                _ => encode(&data_answer(&segment, segment.pw())).unwrap(),
            };
            got.lock().unwrap().push(segment);
            if stop.load(Ordering::SeqCst) {
                return; // killed between keeping and answering
            }
            let _ = stream.write_all(&answer);
        }
    }
}

fn with_superior(superior: &Superior) -> (tempfile::TempDir, Server) {
    let address = superior.address;
    server(&format!(
        "[[superior]]\nname = \"province\"\nto = \"{address}\"\nstations = [\"F*\"]\nanswer_seconds = 2\n"
    ))
}

/// Sends frames of stations in turn, each answered or followed by one that is.
fn send(server: &Server, stations: &[&str], from: usize, until: usize) {
    let mut station = Station::connect(server);
    let start = hour(3);
    for n in from..until {
        for (i, mn) in stations.iter().enumerate() {
            let at = stamp::written(onemap_model::Timestamp::from_ms(start.ms() + n as i64 * 1000));
            let qn = format!("20261126{n:06}{i:03}");
            let flag = if n % 3 == 0 { "4" } else { "5" };
            station.send(&says(
                mn,
                &qn,
                "2011",
                flag,
                &format!("DataTime={at};a34004-Rtd={n}"),
            ));
            if flag == "5" {
                assert_eq!(
                    Answered::of(&station.next()).map(|(_, answer)| answer),
                    Some(Answered::Data)
                );
            }
        }
    }
    // The last is answered, so that all before it are kept.
    let last = format!("20261126{until:06}999");
    station.send(&says(stations[0], &last, "9015", "5", ""));
    station.next();
}

/// The numbers of a station's frames, each where it came first.
fn firsts(superior: &Superior) -> HashMap<String, Vec<String>> {
    let mut firsts: HashMap<String, Vec<String>> = HashMap::new();
    for segment in superior.got.lock().unwrap().iter() {
        let numbers = firsts.entry(segment.mn().to_owned()).or_default();
        if !numbers.iter().any(|qn| qn == segment.qn()) {
            numbers.push(segment.qn().to_owned());
        }
    }
    firsts
}

#[test]
fn a_superior_that_is_killed_and_started_again_gets_every_frame_in_order() {
    let superior = Superior::start();
    let (_folder, mut server) = with_superior(&superior);
    let stations = ["F1", "F2", "F3", "F4"];
    for mn in stations.iter().chain(&["G1"]) {
        register(&server, mn);
    }
    send(&server, &stations, 0, 30);
    send(&server, &["G1"], 0, 3);
    wait_for("the first frames forwarded", LIMIT, || {
        (superior.n_got() > 20).then_some(())
    });
    let (address, got) = superior.kill();
    send(&server, &stations, 30, 60);
    // Killed as well, with frames that wait.
    let dir = server.dir.clone();
    server.process.kill();
    let superior = Superior::at(address, got);
    let server = Server::start_in(&dir);
    send(&server, &stations, 60, 90);
    wait_for("frames after both were killed", LIMIT, || {
        (superior.n_got() > 200).then_some(())
    });
    let (address, got) = superior.kill();
    send(&server, &stations, 90, 120);
    let superior = Superior::at(address, got);
    let waits = || {
        let system = server.get("/api/v1/system");
        let state = &system["superiors"][0];
        assert_eq!((&state["name"], &state["lost"]), (&"province".into(), &0.into()));
        state["waiting"].as_u64().unwrap()
    };
    wait_for("everything answered", 2 * LIMIT, || {
        (waits() == 0 && firsts(&superior).values().map(Vec::len).sum::<usize>() == 480).then_some(())
    });
    let firsts = firsts(&superior);
    assert_eq!(
        firsts.len(),
        4,
        "and nothing of the station that was not asked for"
    );
    for (i, mn) in stations.iter().enumerate() {
        let want: Vec<String> = (0..120).map(|n| format!("20261126{n:06}{i:03}")).collect();
        assert_eq!(firsts[*mn], want, "{mn}");
    }
    // Its own requests are refused: commands are given here.
    let heard = superior.heard.lock().unwrap();
    let (qn, answer) = Answered::of(&heard[0]).unwrap();
    assert_eq!(
        (qn, answer),
        ("20261126080000999", Answered::Request(Some(QnRtn::Refused)))
    );
    drop(heard);
    let metrics = text(&server.http, &server.token, "/metrics");
    assert!(
        metrics.contains("onemap_forward_waiting_records{superior=\"province\"} 0"),
        "{metrics}"
    );
}

/// How often each frame of a station came, in the order of its numbers.
fn times(superior: &Superior, mn: &str) -> Vec<usize> {
    let mut times: std::collections::BTreeMap<String, usize> = Default::default();
    for segment in superior.got.lock().unwrap().iter().filter(|s| s.mn() == mn) {
        *times.entry(segment.qn().to_owned()).or_default() += 1;
    }
    times.into_values().collect()
}

fn state(server: &Server, what: &str) -> u64 {
    server.get("/api/v1/system")["superiors"][0][what]
        .as_u64()
        .unwrap()
}

#[test]
fn a_frame_that_is_refused_does_not_hold_up_its_station() {
    let superior = Superior::start();
    let (_folder, server) = with_superior(&superior);
    register(&server, PARTICULAR);
    register(&server, "F1");
    send(&server, &[PARTICULAR, "F1"], 0, 4);
    wait_for("all but the refused frame taken", 2 * LIMIT, || {
        (state(&server, "refused_frames") == 1 && state(&server, "waiting") == 0).then_some(())
    });
    // As often as one without an answer, and its bytes are kept.
    assert_eq!(times(&superior, PARTICULAR), [4, 1, 1, 1]);
    assert_eq!(times(&superior, "F1"), [1; 4]);
    let kept = server.dir.join("forward/province/refused");
    let kept = wait_for("the refused frame kept", LIMIT, || {
        std::fs::read_to_string(&kept).ok()
    });
    assert!(
        kept.contains("MN=F9;") && kept.matches("##").count() == 1,
        "{kept}"
    );
    let metric = server.metric("onemap_forward_refused_frames_total{superior=\"province\"}");
    assert_eq!(metric, Some(1));
}

#[test]
fn a_restart_sends_again_only_what_was_not_answered() {
    let superior = Superior::start();
    let (_folder, mut server) = with_superior(&superior);
    for mn in [DEAF, "F1", "F2"] {
        register(&server, mn);
    }
    send(&server, &[DEAF, "F1", "F2"], 0, 40);
    // What one station waits for is all that waits, and it is noted how far the others are.
    wait_for("the others taken", LIMIT, || {
        (superior.n_got() >= 80 && state(&server, "waiting") == 40).then_some(())
    });
    let noted = server.dir.join("forward/province/stations");
    wait_for("their receipts noted", LIMIT, || {
        let noted: serde_json::Value = serde_json::from_slice(&std::fs::read(&noted).ok()?).ok()?;
        let of = |mn: &str| noted[mn].as_u64();
        (of("F1")? >= 119 && of("F2")? >= 120 && of(DEAF).is_none()).then_some(())
    });
    let dir = server.dir.clone();
    server.process.kill();
    let server = Server::start_in(&dir);
    send(&server, &["F1", "F2"], 40, 43);
    wait_for("what came after the restart", LIMIT, || {
        (times(&superior, "F1").len() == 43 && times(&superior, "F2").len() == 43).then_some(())
    });
    assert_eq!(times(&superior, "F1"), [1; 43]);
    assert_eq!(times(&superior, "F2"), [1; 43]);
}
