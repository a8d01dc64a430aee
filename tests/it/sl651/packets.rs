//! Messages in packets: by the mode of the profile, over several connections, and by datagrams.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use onemap_wire::sl651::reply::Line;
use onemap_wire::sl651::{Encoding, End, Frame, Packet, split};
use serde_json::json;

use super::station::{
    LIMIT, PASSWORD, STATION, connect, is, line, order, register, report, says, send, server, value,
};
use crate::framed::{address, now, reasons};
use crate::server::{Server, wait_for};

/// A report of two levels in packets.
fn packets(serial: u16, thousandths: i64) -> Vec<Frame> {
    let long = report(
        serial,
        vec![value(0x39, thousandths), value(0x3B, 12_500), value(0x3A, 9_500)],
    );
    let packets = split(&long, 14).unwrap();
    assert!(packets.len() >= 3, "{packets:?}");
    packets
}

fn with_mode(mode: &str, more: &str) -> (tempfile::TempDir, Server) {
    let (folder, server) = crate::framed::server("sl651", more);
    let profile =
        format!("version: 1\nname: {{zh: 站, en: River}}\nprotocol: sl651\nsl651: {{mode: {mode}}}\n");
    let (status, problem) = server.request("PUT", "/api/v1/profiles/river", Some(&profile));
    assert!((200..300).contains(&status), "{problem}");
    register(&server, "river");
    (folder, server)
}

fn level(server: &Server) -> f64 {
    server.caught_up();
    let latest = server.latest(STATION, "water_level").unwrap();
    latest["value"].as_f64().unwrap()
}

#[test]
fn in_m3_one_answer_names_the_first_packet_that_is_missing_until_all_are_there() {
    let (_folder, server) = with_mode("m3", "");
    let mut station = connect(&server);
    let all = packets(7, 2000);
    let total = all.len() as u16;
    let whole = Packet { total, number: total };
    // All but the first two.
    for packet in &all[2..] {
        send(&mut station, packet);
    }
    for (number, next) in [(1, 0), (2, 1)] {
        let answer = station.next();
        assert_eq!(
            (answer.end, answer.packet),
            (End::Nak, Some(Packet { total, number }))
        );
        let mut again = all[next].clone();
        again.end = End::Etx;
        send(&mut station, &again);
    }
    let answer = station.next();
    assert_eq!(
        (answer.end, answer.packet, answer.read().unwrap().serial),
        (End::Eot, Some(whole), Some(7))
    );
    assert_eq!(level(&server), 2.0);
    // The answer was lost: the message comes again, and is kept once.
    let n_frames = |server: &Server| {
        let day = server.get(&format!("/api/v1/ledger?device={STATION}"));
        day["items"].to_string()
    };
    let before = n_frames(&server);
    for packet in &all {
        send(&mut station, packet);
    }
    let answer = station.next();
    assert_eq!((answer.end, answer.packet), (End::Eot, Some(whole)));
    server.caught_up();
    assert_eq!(n_frames(&server), before);
    // A command waits: ESC in place of EOT, with the number, and then the question.
    let present = order(&server, "read_present", &json!({}), &json!({}));
    let question = station.next();
    send(&mut station, &says(&question, 8, vec![value(0x39, 2500)]));
    assert_eq!(
        station.next().end,
        End::Eot,
        "a single frame has no packet number"
    );
    is(&server, present, "executed");
    assert_eq!(reasons(&server), [""; 0]);
}

#[test]
fn packets_may_come_over_two_connections_and_what_stays_incomplete_is_refused_in_time() {
    let (_folder, server) = with_mode("m2", "packet_seconds = 4\n");
    let all = packets(7, 3000);
    let mut first = connect(&server);
    for packet in &all[..2] {
        send(&mut first, packet);
        assert_eq!(first.next().end, End::Ack);
    }
    drop(first);
    let mut second = connect(&server);
    // The last one was not answered for all that the station knows.
    send(&mut second, &all[1]);
    assert_eq!(second.next().end, End::Ack);
    for packet in &all[2..] {
        send(&mut second, packet);
        let answer = second.next();
        assert_eq!(answer.read().unwrap().serial, Some(7), "the message's own number");
        assert_eq!(
            answer.end,
            if packet.end == End::Etx {
                End::Eot
            } else {
                End::Ack
            }
        );
    }
    assert_eq!(level(&server), 3.0);
    assert_eq!(reasons(&server), [""; 0]);
    // Another that never becomes whole, on a connection that is gone.
    send(&mut second, &packets(8, 4000)[0]);
    assert_eq!(second.next().end, End::Ack);
    drop(second);
    wait_for("the incomplete message", LIMIT, || {
        (reasons(&server) == ["incomplete_packets"]).then_some(())
    });
    let entries = server.get("/api/v1/quarantine?limit=1");
    assert_eq!(entries["items"][0]["device"], STATION, "{entries}");
    assert_eq!(level(&server), 3.0);
}

#[test]
fn in_m4_the_centre_asks_and_the_answer_s_packets_are_acknowledged_one_by_one() {
    let (_folder, server) = with_mode("m4", "answer_seconds = 1\n");
    let mut station = connect(&server);
    // It says nothing by itself but that it is there.
    let alive = line(PASSWORD).report(0x2F, 0, now(), Vec::new()).unwrap();
    send(&mut station, &alive);
    let present = order(&server, "read_present", &json!({}), &json!({}));
    for _ in 0..3 {
        assert_eq!(station.next().function, 0x37);
    }
    assert!(station.within(Duration::from_secs(2)).is_none());
    send(&mut station, &alive);
    let question = station.next();
    assert_eq!((question.function, question.end), (0x37, End::Enq));
    let answer = says(&question, 8, vec![value(0x39, 2500), value(0x3B, 12_500)]);
    for packet in split(&answer, 14).unwrap() {
        send(&mut station, &packet);
        let end = if packet.end == End::Etx {
            End::Eot
        } else {
            End::Ack
        };
        assert_eq!((station.next().end, packet.end), (end, packet.end));
    }
    is(&server, present, "executed");
    assert_eq!(level(&server), 2.5);
}

#[test]
fn packets_that_were_acknowledged_before_a_kill_are_joined_after_it() {
    let (_folder, server) = server("");
    let dir = server.dir.clone();
    let all = packets(7, 2000);
    let mut server = server;
    // A kill after each packet.
    for packet in &all {
        let mut station = connect(&server);
        send(&mut station, packet);
        let end = if packet.end == End::Etx {
            End::Eot
        } else {
            End::Ack
        };
        let answer = station.next();
        assert_eq!((answer.end, answer.read().unwrap().serial), (end, Some(7)));
        server.process.kill();
        server = Server::start_in(&dir);
    }
    assert_eq!(level(&server), 2.0);
    // The last answer was lost: the packet comes again, and is neither another message nor a half one.
    let mut station = connect(&server);
    send(&mut station, all.last().unwrap());
    assert_eq!(station.next().end, End::Eot);
    let stored = server.get(&format!("/api/v1/ledger?device={STATION}"));
    assert_eq!(reasons(&server), [""; 0], "{stored}");
}

#[test]
fn what_a_restart_left_without_its_other_packets_is_told_once() {
    let (_folder, server) = server("packet_seconds = 1\n");
    let dir = server.dir.clone();
    let all = packets(8, 3000);
    let mut station = connect(&server);
    send(&mut station, &all[1]);
    assert_eq!(station.next().end, End::Ack);
    let mut server = server;
    server.process.kill();
    for _ in 0..2 {
        server = Server::start_in(&dir);
        wait_for("the half message", LIMIT, || {
            (!reasons(&server).is_empty()).then_some(())
        });
        // Two rounds of the sweep.
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(reasons(&server), ["incomplete_packets"]);
        server.process.kill();
    }
    let server = Server::start_in(&dir);
    let entry = &server.get("/api/v1/quarantine")["items"][0];
    let bytes = all[1].encode().unwrap();
    assert_eq!(entry["size"], bytes.len());
    assert!(
        entry["detail"].as_str().unwrap().contains("did not come: 1, 3"),
        "{entry}"
    );
}

/// A station that has no connection.
struct Datagrams {
    socket: UdpSocket,
}

impl Datagrams {
    fn new(server: &Server) -> Self {
        Self::from(server, [127, 0, 0, 1])
    }

    fn from(server: &Server, own: [u8; 4]) -> Self {
        let socket = UdpSocket::bind(std::net::SocketAddr::from((own, 0))).unwrap();
        socket.connect(address(server, "sl651")).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        Self { socket }
    }

    fn send(&self, bytes: &[u8]) {
        self.socket.send(bytes).unwrap();
    }

    fn within(&self, limit: Duration) -> Option<Frame> {
        let start = Instant::now();
        let mut bytes = [0; 4096];
        while start.elapsed() < limit {
            if let Ok(n) = self.socket.recv(&mut bytes) {
                // Each answer is a datagram of its own.
                return Some(Frame::decode(&bytes[..n]).unwrap());
            }
        }
        None
    }

    fn next(&self) -> Frame {
        self.within(LIMIT).expect("the centre says something")
    }
}

#[test]
fn datagrams_are_answered_asked_and_refused_like_a_connection() {
    let (_folder, server) = server("udp = true\nanswer_seconds = 1\n");
    let station = Datagrams::new(&server);
    station.send(&report(1, vec![value(0x39, 1000)]).encode().unwrap());
    let answer = station.next();
    assert_eq!((answer.end, answer.read().unwrap().serial), (End::Eot, Some(1)));
    assert_eq!(level(&server), 1.0);
    // What is ordered goes to where it was heard last; each frame is whole in its datagram.
    let present = order(&server, "read_present", &json!({}), &json!({}));
    assert_eq!(station.next().function, 0x37);
    let moved = Datagrams::new(&server);
    moved.send(&report(2, vec![value(0x39, 1001)]).encode().unwrap());
    assert_eq!(moved.next().end, End::Esc);
    let question = moved.next();
    assert_eq!(question.function, 0x37);
    moved.send(&says(&question, 3, vec![value(0x39, 2500)]).encode().unwrap());
    assert_eq!(moved.next().end, End::Eot);
    is(&server, present, "executed");
    assert_eq!(level(&server), 2.5);
    // Two frames in one datagram have an answer each; half a frame, a stranger and a wrong checksum have none.
    let two = [
        report(4, vec![value(0x39, 1004)]),
        report(5, vec![value(0x39, 1005)]),
    ];
    moved.send(&[two[0].encode().unwrap(), two[1].encode().unwrap()].concat());
    let serials = [moved.next(), moved.next()].map(|answer| answer.read().unwrap().serial);
    assert_eq!(serials, [Some(4), Some(5)]);
    let good = report(6, vec![value(0x39, 1006)]).encode().unwrap();
    moved.send(&good[..20]);
    let mut wrong = good.clone();
    *wrong.last_mut().unwrap() ^= 1;
    moved.send(&wrong);
    let stranger = Datagrams::new(&server);
    let mut unknown = report(7, vec![value(0x39, 1007)]);
    unknown.password = 0x1111;
    stranger.send(&unknown.encode().unwrap());
    wait_for("the refusals", LIMIT, || {
        (reasons(&server) == ["broken_frame", "crc_mismatch", "wrong_password"]).then_some(())
    });
    assert!(stranger.within(Duration::from_millis(300)).is_none());
    moved.send(&good);
    assert_eq!(moved.next().read().unwrap().serial, Some(6));
    // The same port takes connections.
    let mut connected = connect(&server);
    send(&mut connected, &report(8, vec![value(0x39, 1008)]));
    assert_eq!(connected.next().end, End::Eot);
}

#[test]
fn text_is_read_and_answered_as_text() {
    let (_folder, server) = server("");
    let mut station = connect(&server);
    let text = Line {
        encoding: Encoding::Ascii,
        ..line(PASSWORD)
    };
    let said = report(9, vec![value(0x39, 1234)]).read().unwrap();
    let frame = text.frame(0x32, End::Etx, &said).unwrap();
    let bytes = frame.encode().unwrap();
    assert!(bytes.starts_with(b"\x0105"), "{bytes:?}");
    send(&mut station, &frame);
    let answer = station.next();
    assert_eq!((answer.encoding, answer.end), (Encoding::Ascii, End::Eot));
    assert_eq!(answer.read().unwrap().serial, Some(9));
    assert_eq!(level(&server), 1.234);
    // Questions are text, too; so is one for a period.
    let hour = now().ms() - now().ms() % 3_600_000;
    let hour = onemap_model::Timestamp::from_ms(hour);
    let params = json!({"element": "Z", "from": hour, "to": hour});
    order(&server, "history", &params, &json!({}));
    let question = station.next();
    assert_eq!((question.encoding, question.function), (Encoding::Ascii, 0x38));
    let asked = String::from_utf8(question.body[16..].to_vec()).unwrap();
    assert!(asked.ends_with(" DRH01 Z "), "{asked}");
    assert_eq!(reasons(&server), [""; 0]);
}

#[test]
fn passwords_are_not_guessed_by_datagrams_either() {
    let (_folder, server) = server("udp = true\n");
    let counted = |reason: &str| {
        let line = format!("onemap_refused_total{{reason=\"{reason}\"}}");
        server.metric(&line).unwrap_or(0)
    };
    let start = Instant::now();
    let mut n_said = 0;
    let mut guess = || {
        // Each from another port.
        let stranger = Datagrams::from(&server, [127, 0, 0, 3]);
        n_said += 1;
        let mut frame = report(1, vec![value(0x39, 1000)]);
        frame.password = 0x1000 + n_said;
        stranger.send(&frame.encode().unwrap());
    };
    wait_for("guesses that are not looked at", LIMIT, || {
        guess();
        (counted("too_many_guesses") >= 8).then_some(())
    });
    let most = 16 + start.elapsed().as_secs() / 60;
    assert!((16..=most).contains(&counted("wrong_password")));
    let station = Datagrams::from(&server, [127, 0, 0, 2]);
    station.send(&report(1, vec![value(0x39, 1000)]).encode().unwrap());
    assert_eq!(station.next().end, End::Eot);
}
