//! Reports: answered when durable, packets joined, wrong frames without an answer.

use onemap_wire::sl651::reply::Line;
use onemap_wire::sl651::{End, Group, Stamp, split};
use serde_json::json;

use super::station::{LIMIT, PASSWORD, STATION, connect, line, report, send, server, value};
use crate::framed::{now, reasons};
use crate::server::{Server, wait_for};

#[test]
fn a_report_is_durable_before_it_is_answered_and_packets_are_joined() {
    let (_folder, server) = server("");
    let mut station = connect(&server);
    let frame = report(52, vec![value(0x39, 10_490)]);
    for _ in 0..2 {
        send(&mut station, &frame);
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
    let alive = line(PASSWORD).report(0x2F, 52, now(), Vec::new()).unwrap();
    send(&mut station, &alive);
    let long = report(53, vec![value(0x39, 11_000), value(0x38, 12_500)]);
    let packets = split(&long, 14).unwrap();
    assert!(packets.len() >= 2, "{packets:?}");
    for packet in &packets {
        send(&mut station, packet);
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
    let (_folder, server) = server("");
    let mut station = connect(&server);
    let mut stranger = report(1, vec![value(0x39, 1000)]);
    stranger.password = 0x1234;
    send(&mut station, &stranger);
    let mut wrong = report(2, vec![value(0x39, 1000)]).encode().unwrap();
    let n = wrong.len();
    wrong[n - 1] ^= 1;
    station.send(&wrong);
    let good = report(3, vec![value(0x39, 1000)]);
    station.send(&good.encode().unwrap()[..20]);
    wait_for("the refusals", LIMIT, || {
        let reasons = reasons(&server);
        ["broken_frame", "crc_mismatch", "wrong_password"]
            .iter()
            .all(|reason| reasons.iter().any(|r| r == reason))
            .then_some(())
    });
    send(&mut station, &good);
    let answer = station.next();
    assert_eq!(answer.read().unwrap().serial, Some(3));
    // Once it is known: damaged in its own name it is its own, in another's nobody's, and what names nobody its own.
    for (serial, name) in [(4, STATION), (5, "0011223399")] {
        let mut damaged = report(serial, vec![value(0x39, 1000)]);
        damaged.station = name.parse().unwrap();
        let mut bytes = damaged.encode().unwrap();
        let n = bytes.len();
        bytes[n - 1] ^= 1;
        station.send(&bytes);
    }
    station.send(b"noise");
    send(&mut station, &report(6, vec![value(0x39, 1000)]));
    assert_eq!(station.next().read().unwrap().serial, Some(6));
    let told = wait_for("the damaged ones", LIMIT, || {
        let all = server.get("/api/v1/quarantine?limit=100");
        let items = all["items"].as_array().unwrap();
        let device = |reason: &str| -> Vec<String> {
            let of = items.iter().filter(|item| item["reason"] == reason);
            let mut all: Vec<String> = of
                .map(|item| item["device"].as_str().unwrap().to_owned())
                .collect();
            all.sort();
            all
        };
        let crc = device("crc_mismatch");
        (crc.len() == 3).then(|| (crc, device("broken_frame")))
    });
    // The first one of all came before the station was known.
    assert_eq!(told.0, ["", "", STATION]);
    assert!(told.1.iter().any(|device| device == STATION), "{told:?}");
}

#[test]
fn an_address_registered_in_small_letters_is_found() {
    let (_folder, server) = server("");
    let id = "00630100be";
    server.add_device(id, &json!({"profile": "sl651-station"}));
    server.post(
        &format!("/api/v1/devices/{id}/token"),
        &json!({"password": "03E8"}),
    );
    let mut station = connect(&server);
    let line = Line {
        station: "00630100BE".parse().unwrap(),
        ..line(PASSWORD)
    };
    // A manual entry, too: its text is GBK.
    let observed = Group::Observed(Stamp::of(now(), 10));
    let groups = vec![observed, Group::Manual(vec![0xCB, 0xAE, 0xCE, 0xBB])];
    let frames = [
        line.report(
            0x32,
            1,
            now(),
            vec![Group::Observed(Stamp::of(now(), 10)), value(0x39, 1000)],
        ),
        line.report(0x35, 2, now(), groups),
    ];
    for frame in frames {
        send(&mut station, &frame.unwrap());
        assert_eq!(station.next().end, End::Eot);
    }
    server.caught_up();
    assert_eq!(server.latest(id, "water_level").unwrap()["value"], 1.0);
    assert_eq!(server.latest(id, "manual_text").unwrap()["value"], "水位");
    assert_eq!(reasons(&server), [""; 0]);
}
