//! kill -9 of the whole server: MQTT subscriptions, queued and retained messages are there afterwards.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::server::Server;

/// An MQTT client of plain bytes.
struct Client(TcpStream);

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

/// A packet of less than 128 bytes behind its fixed header.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len() < 128);
    [&[first, body.len() as u8][..], body].concat()
}

impl Client {
    /// Connects with a session that outlives the connection; gives whether there was one.
    fn resume(server: &Server, token: &str, client_id: &str) -> (Self, bool) {
        let stream = TcpStream::connect(("127.0.0.1", server.mqtt_port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut client = Self(stream);
        let body = [
            &b"\x00\x04MQTT\x04\x80\x00\x3c"[..],
            &text(client_id),
            &text(token),
        ]
        .concat();
        client.send(&packet(0x10, &body));
        let (first, body) = client.packet();
        assert_eq!((first, body[1]), (0x20, 0));
        (client, body[0] == 1)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    fn packet(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).unwrap();
        assert!(head[1] < 128, "packets of these tests are short");
        let mut body = vec![0; usize::from(head[1])];
        self.0.read_exact(&mut body).unwrap();
        (head[0], body)
    }

    fn subscribe(&mut self, filter: &str, qos: u8) {
        let body = [&[0, 1][..], &text(filter), &[qos]].concat();
        self.send(&packet(0x82, &body));
        assert_eq!(self.packet(), (0x90, vec![0, 1, qos]));
    }

    fn publish(&mut self, topic: &str, qos: u8, retain: bool, id: u16, payload: &str) {
        let body = [&text(topic)[..], &id.to_be_bytes(), payload.as_bytes()].concat();
        self.send(&packet(0x30 | qos << 1 | u8::from(retain), &body));
        let first = if qos == 1 { 0x40 } else { 0x50 };
        assert_eq!(self.packet(), (first, id.to_be_bytes().to_vec()));
    }

    /// The next message: first byte, packet id, payload.
    fn message(&mut self) -> (u8, u16, String) {
        let (first, body) = self.packet();
        assert_eq!(first & 0xF0, 0x30);
        let at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
        let id = u16::from_be_bytes([body[at], body[at + 1]]);
        (first, id, String::from_utf8(body[at + 2..].to_vec()).unwrap())
    }
}

#[test]
fn sessions_and_retained_messages_outlive_a_kill() {
    let mut server = Server::new();
    let token = server.add_device("pump-1", &json!({}));
    let topic = |word: &str| format!("v1/devices/me/{word}");
    let (mut desk, is_present) = Client::resume(&server, &token, "desk");
    assert!(!is_present);
    desk.subscribe(&topic("note/+"), 2);
    drop(desk);
    let (mut pump, _) = Client::resume(&server, &token, "pump");
    let n_rounds = 3u16;
    for round in 0..n_rounds {
        let id = round * 10 + 1;
        pump.publish(&topic("note/1"), 1, false, id, &format!("one of {round}"));
        pump.publish(&topic("note/2"), 2, false, id + 1, &format!("two of {round}"));
        pump.publish(&topic("state"), 1, true, id + 2, &format!("state {round}"));
        // Acknowledged, so it has to be there, whenever the snapshot was written.
        server = server.kill_and_restart();
        let (next, is_present) = Client::resume(&server, &token, "pump");
        assert!(is_present, "round {round}");
        pump = next;
        // The QoS 2 publish is known to the server: the resend and its release are answered.
        let body = [
            &text(&topic("note/2"))[..],
            &(id + 1).to_be_bytes(),
            format!("two of {round}").as_bytes(),
        ]
        .concat();
        pump.send(&packet(0x3c, &body));
        assert_eq!(pump.packet(), (0x50, (id + 1).to_be_bytes().to_vec()));
        pump.send(&packet(0x62, &(id + 1).to_be_bytes()));
        assert_eq!(pump.packet(), (0x70, (id + 1).to_be_bytes().to_vec()));
    }
    let (mut desk, is_present) = Client::resume(&server, &token, "desk");
    assert!(is_present);
    let mut ids = Vec::new();
    for round in 0..n_rounds {
        for (word, first) in [("one", 0x32), ("two", 0x34)] {
            let (got, id, payload) = desk.message();
            assert_eq!((got, payload), (first, format!("{word} of {round}")));
            ids.push((first, id));
        }
    }
    // In the middle of the delivery: the same ids after another kill, and nothing twice that was completed.
    let (first_qos_2, unanswered) = (ids[1].1, ids[3].1);
    desk.send(&packet(0x50, &first_qos_2.to_be_bytes()));
    assert_eq!(desk.packet(), (0x62, first_qos_2.to_be_bytes().to_vec()));
    server = server.kill_and_restart();
    let (mut desk, is_present) = Client::resume(&server, &token, "desk");
    assert!(is_present);
    let mut n_released = 0;
    let mut again = Vec::new();
    while again.len() < 5 || n_released < 1 {
        let (first, body) = desk.packet();
        if first == 0x62 {
            assert_eq!(body, first_qos_2.to_be_bytes());
            n_released += 1;
            continue;
        }
        let at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
        let id = u16::from_be_bytes([body[at], body[at + 1]]);
        again.push((first, id, String::from_utf8(body[at + 2..].to_vec()).unwrap()));
    }
    assert!(
        again.iter().all(|(_, _, payload)| payload != "two of 0"),
        "{again:?}"
    );
    let resent = again
        .iter()
        .find(|(_, _, payload)| payload == "two of 1")
        .unwrap();
    assert_eq!((resent.0, resent.1), (0x3c, unanswered));
    // The last state is retained.
    let (mut late, _) = Client::resume(&server, &token, "late");
    late.subscribe(&topic("state"), 1);
    let (first, _, payload) = late.message();
    assert_eq!((first, payload), (0x33, format!("state {}", n_rounds - 1)));
}
