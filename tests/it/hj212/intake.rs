//! From a station's bytes to the journal, its answer and history.

use std::time::Duration;

use onemap_model::Timestamp;
use onemap_wire::hj212::{Answered, QnRtn, stamp};
use serde_json::{Value, json};

use super::station::{LIMIT, PW, Station, address, frame, register, says, server};
use crate::server::{Server, wait_for};

/// The text of an answer.
fn answered(station: &mut Station) -> (String, Answered) {
    let segment = station.next();
    let (qn, answer) = Answered::of(&segment).unwrap_or_else(|| panic!("{segment:?} is no answer"));
    (qn.to_owned(), answer)
}

fn refusals(server: &Server) -> Vec<(String, String, String)> {
    server.caught_up();
    let entries = server.get("/api/v1/quarantine?limit=100");
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let items = entries["items"].as_array().unwrap().iter();
    items
        .map(|e| (text(e, "reason"), text(e, "device"), text(e, "detail")))
        .collect()
}

fn values(server: &Server, mn: &str, quantity: &str) -> Vec<Value> {
    let all = server.get(&format!("/api/v1/latest?device={mn}&quantity={quantity}"));
    all["items"].as_array().unwrap().clone()
}

/// A whole Beijing hour, so many hours before now.
pub fn hour(back: i64) -> Timestamp {
    let now = std::time::SystemTime::now();
    let ms = Timestamp::from_system(now).ms();
    Timestamp::from_ms(ms - ms.rem_euclid(3_600_000) - back * 3_600_000)
}

#[test]
fn data_are_durable_before_they_are_answered_and_become_readings() {
    let (_folder, server) = server("");
    register(&server, "A110000_0001");
    let mut station = Station::connect(&server);
    let at = hour(2);
    let cp = format!(
        "DataTime={};a34004-Avg=35.1,a34004-Min=30,a34004-Max=41,a34004-Flag=N;a21005-Avg=0.8,a21005-Flag=D",
        stamp::written(at)
    );
    // Dirt, one frame in two pieces, and its repeat.
    let data = says("A110000_0001", "20261126080000001", "2061", "5", &cp);
    station.send(b"\r\nnoise");
    station.send(&data[..40]);
    station.send(&data[40..]);
    assert_eq!(
        answered(&mut station),
        ("20261126080000001".to_owned(), Answered::Data)
    );
    station.send(&data);
    let answer = station.next();
    assert_eq!(
        answer.text(),
        format!("QN=20261126080000001;ST=91;CN=9014;PW={PW};MN=A110000_0001;Flag=4;CP=&&&&")
    );
    server.caught_up();
    let pm = values(&server, "A110000_0001", "pm2_5");
    let mean = pm.iter().find(|v| v["channel"] == 20 || v["ch"] == 20).unwrap();
    assert_eq!(mean["value"], 35.1);
    // The period's end stands for its start.
    let end = Timestamp::from_ms(at.ms() + 3_600_000);
    assert_eq!(
        Timestamp::parse(mean["measured_at"].as_str().unwrap()).unwrap(),
        end
    );
    assert_eq!(pm.len(), 3);
    let co = &values(&server, "A110000_0001", "co")[0];
    assert!(co["quality"].to_string().contains("suspect"), "{co}");
    // What was answered survives a kill.
    let dir = server.dir.clone();
    let mut server = server;
    server.process.kill();
    let server = Server::start_in(&dir);
    server.caught_up();
    assert_eq!(values(&server, "A110000_0001", "pm2_5").len(), 3);
    // Only the dirt was refused, and it is kept.
    let refused = refusals(&server);
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0].0, "broken_frame");
    assert!(refused[0].2.contains("garbage"), "{refused:?}");
}

#[test]
fn each_kind_gets_the_answer_of_its_flag_and_edition() {
    let (_folder, server) = server("");
    register(&server, "M1");
    let mut station = Station::connect(&server);
    for (cn, flag, want) in [
        ("2011", "5", "ST=91;CN=9014;PW=123456;MN=M1;Flag=4;CP=&&&&"),
        ("2011", "9", "ST=91;CN=9014;PW=123456;MN=M1;Flag=8;CP=&&&&"),
        ("1013", "5", "ST=91;CN=9013;PW=123456;MN=M1;Flag=4;CP=&&&&"),
        ("9015", "5", "ST=91;CN=9013;PW=123456;MN=M1;Flag=4;CP=&&&&"),
        ("7777", "5", "ST=91;CN=9014;PW=123456;MN=M1;Flag=4;CP=&&&&"),
    ] {
        // Before it one that wants no answer, and an answer, which gets none.
        station.send(&says("M1", "1", "2011", "4", ""));
        station.send(&says("M1", "2", "9014", "5", ""));
        station.send(&says("M1", "3", cn, flag, ""));
        assert_eq!(station.next().text(), format!("QN=3;{want}"), "{cn}");
    }
    // 2005 has the QN in CP.
    station.send(&says("M1", "4", "2011", "1", ""));
    assert_eq!(
        station.next().text(),
        "ST=91;CN=9014;PW=123456;MN=M1;Flag=0;CP=&&QN=4&&"
    );
}

#[test]
fn what_is_wrong_is_refused_by_name_and_others_are_unharmed() {
    let (_folder, server) = server("");
    register(&server, "M1");
    server.add_device("mqtt-1", &json!({}));
    let mut station = Station::connect(&server);
    station.send(&says("M1", "1", "2011", "5", ""));
    assert_eq!(answered(&mut station).1, Answered::Data);

    let wrong_pw = frame("QN=2;ST=22;CN=2011;PW=654321;MN=M1;Flag=5;CP=&&&&");
    station.send(&wrong_pw);
    let request = |code| Answered::Request(Some(code));
    assert_eq!(answered(&mut station), ("2".to_owned(), request(QnRtn::WrongPw)));
    let mut wrong_crc = says("M1", "3", "2011", "5", "");
    let n = wrong_crc.len();
    wrong_crc[n - 3] = if wrong_crc[n - 3] == b'0' { b'1' } else { b'0' };
    station.send(&wrong_crc);
    assert_eq!(answered(&mut station), ("3".to_owned(), request(QnRtn::WrongCrc)));
    // Nobody, one of another protocol, no MN, no command: nothing is answered.
    station.send(&says("M2", "4", "2011", "5", ""));
    station.send(&says("mqtt-1", "5", "2011", "5", ""));
    station.send(&frame("QN=6;ST=22;CN=2011;PW=123456;Flag=5;CP=&&&&"));
    station.send(&frame("QN=7;ST=22;PW=123456;MN=M1;Flag=5;CP=&&&&"));
    station.send(b"##9999QN=8;ST=22;CN=2011;");
    station.send(&says(
        "M1",
        "9",
        "2011",
        "5",
        "DataTime=20260230000000;a34004-Rtd=1",
    ));
    assert_eq!(answered(&mut station).0, "9");
    let refused = refusals(&server);
    let has = |reason: &str, device: &str, part: &str| {
        let found = refused
            .iter()
            .any(|(r, d, detail)| r == reason && d == device && detail.contains(part));
        assert!(found, "{reason} of `{device}` with `{part}` in {refused:#?}");
    };
    has("wrong_password", "M1", "password");
    has("crc_mismatch", "M1", "crc_mismatch");
    has("unknown_device", "", "`M2`");
    has("unknown_device", "mqtt-1", "protocol");
    has("wrong_shape", "M1", "no_mn");
    has("wrong_shape", "M1", "no_cn");
    has("over_size", "M1", "over_limit");
    has("wrong_shape", "M1", "is stamped");
    assert_eq!(refused.len(), 8, "{refused:#?}");
    // No password of anybody stands in what is said of it.
    assert!(
        refused
            .iter()
            .all(|(_, _, detail)| !detail.contains("654321") && !detail.contains(PW))
    );
    assert_eq!(
        server.metric("onemap_refused_total{reason=\"crc_mismatch\"}"),
        Some(1)
    );
}

#[test]
fn a_station_without_its_password_in_the_register_does_not_come_in() {
    let (_folder, server) = server("");
    server.add_device("M1", &json!({"profile": "hj212-air"}));
    let token = server.post("/api/v1/devices/M1/token", &json!({}))["token"].clone();
    let mut station = Station::connect(&server);
    // Neither any PW nor its token.
    for pw in [PW, token.as_str().unwrap(), ""] {
        station.send(&frame(&format!(
            "QN=1;ST=22;CN=2011;PW={pw};MN=M1;Flag=4;CP=&&&&"
        )));
    }
    wait_for("three refusals", LIMIT, || {
        (refusals(&server).len() == 3).then_some(())
    });
    assert!(
        refusals(&server)
            .iter()
            .all(|(reason, ..)| reason == "wrong_password")
    );
    // A password that cannot be one is refused, and a device of another protocol has none.
    let (status, problem) = server.request("POST", "/api/v1/devices/M1/token", Some(r#"{"password":"1;2"}"#));
    assert_eq!(
        (status, &problem["code"]),
        (400, &json!("bad_password")),
        "{problem}"
    );
    server.add_device("m", &json!({}));
    let (status, _) = server.request(
        "POST",
        "/api/v1/devices/m/token",
        Some(r#"{"password":"123456"}"#),
    );
    assert_eq!(status, 400);

    server.post("/api/v1/devices/M1/token", &json!({"password": PW}));
    station.send(&says("M1", "2", "2011", "5", ""));
    assert_eq!(answered(&mut station).1, Answered::Data);
    // It is no token elsewhere.
    let publish = server.publish(PW, "v1/devices/me/telemetry", "{\"temperature\":1}");
    assert!(!publish.status.success());
    // A new password ends the connection of the former.
    server.post("/api/v1/devices/M1/token", &json!({"password": "abcdef"}));
    assert!(station.is_closed(LIMIT));
    let mut station = Station::connect(&server);
    station.send(&says("M1", "3", "2011", "5", ""));
    let refused = Answered::Request(Some(QnRtn::WrongPw));
    assert_eq!(answered(&mut station).1, refused);
    // The retired one is refused by that name.
    server.post("/api/v1/devices/M1/retire", &json!({}));
    station.send(&says("M1", "4", "2011", "4", ""));
    wait_for("the refusal", LIMIT, || {
        refusals(&server)
            .iter()
            .any(|(reason, ..)| reason == "retired")
            .then_some(())
    });
}

#[test]
fn a_collector_speaks_for_several_stations_and_packets_come_in_any_order() {
    let (_folder, server) = server("");
    for mn in ["S1", "S2"] {
        register(&server, mn);
    }
    let mut collector = Station::connect(&server);
    let at = stamp::written(hour(3));
    let packet = |mn: &str, number: u32, cp: &str| {
        frame(&format!(
            "QN=2026112608000000{number};ST=22;CN=2061;PW={PW};MN={mn};Flag=7;PNUM=2;PNO={number};CP=&&DataTime={at};{cp}&&"
        ))
    };
    collector.send(&packet("S1", 2, "a34002-Avg=60"));
    collector.send(&packet("S2", 1, "a34004-Avg=20"));
    collector.send(&packet("S1", 1, "a34004-Avg=40"));
    for qn in ["20261126080000002", "20261126080000001", "20261126080000001"] {
        assert_eq!(answered(&mut collector), (qn.to_owned(), Answered::Data));
    }
    server.caught_up();
    for (mn, quantity, value) in [("S1", "pm10", 60.0), ("S1", "pm2_5", 40.0), ("S2", "pm2_5", 20.0)] {
        assert_eq!(
            values(&server, mn, quantity)[0]["value"],
            value,
            "{mn} {quantity}"
        );
    }
    let shown = server.get("/api/v1/devices/S2");
    assert!(shown.to_string().contains("connections"), "{shown}");
}

#[test]
fn limits_hold_and_a_fast_station_is_slowed_and_loses_nothing() {
    let (_folder, server) = server(
        "max_connections_per_address = 2\nframes_per_second = 50\nframe_seconds = 1\nidle_seconds = 4\n",
    );
    register(&server, "M1");
    let mut first = Station::connect(&server);
    let mut second = Station::connect(&server);
    second.send(&says("M1", "1", "2011", "5", ""));
    second.next();
    let mut third = Station::connect(&server);
    assert!(third.is_closed(LIMIT));
    // A frame that has begun and does not end is cut off; its connection stays.
    second.send(b"##0100QN=2;ST=22;");
    wait_for("the cut frame", LIMIT, || {
        refusals(&server)
            .iter()
            .any(|(_, _, detail)| detail.contains("cut_off"))
            .then_some(())
    });
    // 150 frames at 50 a second: the first second's at once, then as they are due.
    let start = std::time::Instant::now();
    let all: Vec<u8> = (0..150)
        .flat_map(|i| says("M1", &i.to_string(), "2011", "5", ""))
        .collect();
    second.send(&all);
    for i in 0..150 {
        assert_eq!(answered(&mut second).0, i.to_string());
    }
    assert!(
        start.elapsed() > Duration::from_millis(900),
        "{:?}",
        start.elapsed()
    );
    assert!(first.is_closed(LIMIT), "it says nothing for longer than it may");
    let counted = server.metric("onemap_refused_total{reason=\"too_many_connections\"}");
    assert_eq!(counted, Some(1));
}

#[test]
fn nothing_listens_for_stations_unless_it_is_configured() {
    let server = Server::new();
    let ready = std::fs::read_to_string(server.dir.join("ready.json")).unwrap();
    assert!(!ready.contains("hj212"), "{ready}");
    let (folder, server) = super::station::server("");
    assert!(address(folder.path()).starts_with("127.0.0.1:"));
    drop(server);
}
