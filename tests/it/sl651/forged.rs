//! Datagrams that say another's address: a forger guesses a station's password in the station's name.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use onemap_wire::sl651::{End, Frame};

use super::station::{LIMIT, PASSWORD, connect, line, register, report, send, value};
use crate::framed::{address, now};
use crate::server::{Server, wait_for};

const REFUSED: &str = "onemap_refused_total{reason=\"too_many_guesses\"}";

fn socket(from: [u8; 4], server: &Server) -> UdpSocket {
    let to: SocketAddr = address(server, "sl651").parse().unwrap();
    let socket = UdpSocket::bind(SocketAddr::from((from, 0))).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    socket
}

/// The answer to a report, which is sent until it comes.
fn says(socket: &UdpSocket, serial: u16, thousandths: i64) -> Frame {
    let bytes = report(serial, vec![value(0x39, thousandths)]).encode().unwrap();
    let mut answer = [0; 256];
    wait_for("an answer to a datagram", LIMIT, || {
        socket.send(&bytes).unwrap();
        let n = socket.recv(&mut answer).ok()?;
        Frame::decode(&answer[..n]).ok()
    })
}

/// Other passwords of the station until none is looked at.
fn forge(server: &Server, socket: &UdpSocket, first: u16) {
    let before = server.metric(REFUSED).unwrap_or(0);
    let mut password = first;
    wait_for("guesses that are not looked at", LIMIT * 2, || {
        for _ in 0..8 {
            password += 1;
            assert_ne!(password, PASSWORD);
            let guess = line(password)
                .report(0x32, 1, now(), vec![value(0x39, 1)])
                .unwrap();
            socket.send(&guess.encode().unwrap()).unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
        (server.metric(REFUSED).unwrap_or(0) > before + 8).then_some(())
    });
}

#[test]
fn a_forger_in_a_station_s_name_shuts_out_neither_its_datagrams_nor_its_connections() {
    let (_folder, server) =
        crate::framed::server("sl651", "udp = true\nframes_per_second = 0\nidle_seconds = 2\n");
    register(&server, "sl651-station");
    let station = socket([127, 0, 0, 2], &server);
    assert_eq!(says(&station, 7, 2000).end, End::Eot);
    // From the same address and other ports: what the forger's datagrams say.
    for first in [0x1000, 0x2000] {
        forge(&server, &socket([127, 0, 0, 2], &server), first);
    }
    assert_eq!(says(&station, 8, 2100).end, End::Eot);
    // What was known of its datagrams is forgotten, and it still comes in.
    std::thread::sleep(Duration::from_secs(4));
    forge(&server, &socket([127, 0, 0, 2], &server), 0x3000);
    assert_eq!(says(&station, 9, 2200).end, End::Eot);
    // Nor do those of strangers, who have used up what all addresses have together.
    for last in 3..=5 {
        forge(
            &server,
            &socket([127, 0, 0, last], &server),
            0x4000 + 0x1000 * u16::from(last),
        );
    }
    assert_eq!(says(&station, 9, 2200).end, End::Eot);
    // A connection of the station is another matter than datagrams in its name.
    let mut connected = connect(&server);
    send(&mut connected, &report(10, vec![value(0x39, 2300)]));
    assert_eq!(connected.next().end, End::Eot);
    server.caught_up();
    let level = server.latest(super::station::STATION, "water_level").unwrap();
    assert_eq!(level["value"], 2.3, "{level}");
}
