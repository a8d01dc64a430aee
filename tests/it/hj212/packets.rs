//! Data sets in several packets, and a station that asks for the time.

use onemap_model::Timestamp;
use onemap_wire::hj212::stamp;
use serde_json::Value;

use super::intake::hour;
use super::station::{LIMIT, PW, Station, frame, register, server};
use crate::server::{Server, wait_for};

const MN: &str = "P2017";

fn packet(at: Timestamp, number: u32, of: u32, cp: &str) -> Vec<u8> {
    let time = stamp::written(at);
    frame(&format!(
        "QN=2026112608000000{number};ST=22;CN=2061;PW={PW};MN={MN};Flag=7;PNUM={of};PNO={number};CP=&&DataTime={time};{cp}&&"
    ))
}

fn incomplete(server: &Server) -> Vec<Value> {
    let entries = server.get("/api/v1/quarantine?reason=incomplete_packets&limit=100");
    entries["items"].as_array().unwrap().clone()
}

#[test]
fn packets_that_never_came_are_told_and_those_that_did_are_read() {
    let (_folder, server) = server("");
    register(&server, MN);
    let mut station = Station::connect(&server);
    let mut send = |bytes: Vec<u8>| {
        station.send(&bytes);
        assert_eq!(station.next().cn(), "9014");
    };
    // The second of three never comes; beside it a set whose packets come over two connections is whole.
    send(packet(hour(3), 1, 3, "a34004-Avg=11"));
    send(packet(hour(3), 3, 3, "a34002-Avg=33"));
    send(packet(hour(2), 2, 2, "a34004-Avg=22"));
    drop(station);
    let mut station = Station::connect(&server);
    station.send(&packet(hour(2), 1, 2, "a34002-Avg=44"));
    assert_eq!(station.next().cn(), "9014");
    // A number that is none is told at once, and its values are taken.
    station.send(&packet(hour(1), 5, 2, "a34002-Avg=55"));
    assert_eq!(station.next().cn(), "9014");
    wait_for("the packet without a number", LIMIT, || {
        (incomplete(&server).len() == 1).then_some(())
    });
    let limit = LIMIT + std::time::Duration::from_secs(40);
    let told = wait_for("the set that is not whole", limit, || {
        let told = incomplete(&server);
        (told.len() == 2).then_some(told)
    });
    let details: Vec<_> = told
        .iter()
        .map(|entry| entry["detail"].as_str().unwrap())
        .collect();
    let set = details
        .iter()
        .find(|detail| detail.contains("packets_too_old"))
        .unwrap();
    assert!(set.contains("of 3 packets of CN 2061"), "{set}");
    assert!(set.contains("came 1, 3; missing 2"), "{set}");
    assert!(
        details.iter().any(|detail| detail.contains("PNO 5 of PNUM 2")),
        "{details:?}"
    );
    assert!(told.iter().all(|entry| entry["device"] == MN), "{told:?}");
    assert_eq!(
        server.metric("onemap_refused_total{reason=\"incomplete_packets\"}"),
        Some(2)
    );
    // The bytes are there, spelt out; to read them again adds nothing and refuses nothing.
    let entry = told
        .iter()
        .find(|entry| entry["detail"].as_str().unwrap().contains("too_old"))
        .unwrap();
    assert_eq!(entry["frames"].as_array().unwrap().len(), 2, "{entry}");
    assert_eq!(entry["frames"][1]["missing"], serde_json::json!([2]), "{entry}");
    let order = serde_json::json!({"reason": "incomplete_packets"});
    let done = server.post("/api/v1/quarantine/readmit", &order);
    assert_eq!(done["counts"]["refused"], 0, "{done}");
    // The station goes on.
    station.send(&packet(hour(1), 1, 1, "a34004-Avg=66"));
    assert_eq!(station.next().cn(), "9014");
    server.caught_up();
    assert_eq!(server.latest(MN, "pm2_5").unwrap()["value"], 66.0);
    assert_eq!(server.latest(MN, "pm10").unwrap()["value"], 55.0);
}

#[test]
fn sets_that_a_kill_left_half_go_on_and_those_that_do_not_are_told_with_what_came_before_it() {
    let (_folder, mut server) = server("");
    let dir = server.dir.clone();
    register(&server, MN);
    let mut station = Station::connect(&server);
    let sent = |station: &mut Station, at: Timestamp, number: u32, of: u32, cp: &str| {
        station.send(&packet(at, number, of, cp));
        assert_eq!(station.next().cn(), "9014");
    };
    // Half of one set that goes on, half of one that does not, and a whole one whose packet comes again.
    sent(&mut station, hour(3), 3, 3, "a34004-Avg=31");
    sent(&mut station, hour(3), 1, 3, "a34002-Avg=32");
    sent(&mut station, hour(2), 2, 4, "a34004-Avg=21");
    sent(&mut station, hour(4), 1, 2, "a34004-Avg=41");
    sent(&mut station, hour(4), 2, 2, "a34002-Avg=42");
    server.process.kill();
    server = Server::start_in(&dir);
    let mut station = Station::connect(&server);
    sent(&mut station, hour(3), 2, 3, "a21026-Avg=33");
    sent(&mut station, hour(4), 2, 2, "a34002-Avg=42");
    sent(&mut station, hour(2), 4, 4, "a34002-Avg=22");
    let limit = LIMIT + std::time::Duration::from_secs(40);
    let told = wait_for("the set that is not whole", limit, || {
        Some(incomplete(&server)).filter(|told| !told.is_empty())
    });
    let details: Vec<_> = told
        .iter()
        .map(|entry| entry["detail"].as_str().unwrap())
        .collect();
    assert_eq!(details.len(), 1, "{details:?}");
    assert!(
        details[0].contains("of 4 packets of CN 2061") && details[0].ends_with("came 2, 4; missing 1, 3"),
        "{details:?}"
    );
    // The bytes of both runs are there.
    assert_eq!(told[0]["frames"].as_array().unwrap().len(), 2, "{told:?}");
    // It was told: the next start does not tell it again, nor one of what was whole.
    server.process.kill();
    server = Server::start_in(&dir);
    let mut station = Station::connect(&server);
    sent(&mut station, hour(1), 1, 1, "a34004-Avg=11");
    server.caught_up();
    assert_eq!(incomplete(&server).len(), 1);
}

#[test]
fn a_station_that_asks_for_the_time_has_its_clock_set_once() {
    let (_folder, server) = server("");
    register(&server, MN);
    let mut station = Station::connect(&server);
    let asks = |qn: &str, cp: &str| {
        frame(&format!(
            "QN={qn};ST=22;CN=1013;PW={PW};MN={MN};Flag=5;CP=&&{cp}&&"
        ))
    };
    station.send(&asks("20261126080000001", "PolId=a34004"));
    assert_eq!(station.next().cn(), "9013");
    let set = station.next();
    assert_eq!((set.cn(), set.cp_value("PolId")), ("1012", Some("a34004")));
    let time = stamp::read(set.cp_value("SystemTime").unwrap()).unwrap();
    let now = Timestamp::from_system(std::time::SystemTime::now());
    assert!(now.ms().abs_diff(time.ms()) < 30_000, "{time}");
    let answer = |cn: &str, cp: &str| {
        let qn = set.qn();
        frame(&format!(
            "QN={qn};ST=91;CN={cn};PW={PW};MN={MN};Flag=4;CP=&&{cp}&&"
        ))
    };
    // The same question again, before and after the answer, is the same question.
    station.send(&asks("20261126080000001", "PolId=a34004"));
    assert_eq!(station.next().cn(), "9013");
    station.send(&answer("9011", "QnRtn=1"));
    station.send(&answer("9012", "ExeRtn=1"));
    let commands = |state: &str| {
        let all = server.get(&format!("/api/v1/commands?device={MN}"));
        let items = all["items"].as_array().unwrap().clone();
        items.iter().all(|c| c["state"] == state).then_some(items)
    };
    let done = wait_for("the clock to be set", LIMIT, || {
        commands("executed").filter(|all| !all.is_empty())
    });
    assert_eq!((done.len(), &done[0]["by"]["actor"]), (1, &"clock".into()));
    station.send(&asks("20261126080000001", "PolId=a34004"));
    assert_eq!(station.next().cn(), "9013");
    assert!(station.within(std::time::Duration::from_secs(2)).is_none());
    // Another one is another.
    station.send(&asks("20261126080000002", ""));
    assert_eq!(station.next().cn(), "9013");
    let set = station.next();
    assert_eq!((set.cn(), set.cp_value("PolId")), ("1012", None));
}
