//! Questions and commands: sent when the station is awake, repeated without an answer, never after their expiry; what the
//! station says becomes facts of the command, and readings.

use std::time::Duration;

use onemap_wire::sl651::{Content, Control, End, Group};
use serde_json::json;

use super::station::{
    LIMIT, PASSWORD, STATION, answers, command, connect, content, facts, is, order, register, report, says,
    send, server, value,
};
use crate::framed::reasons;
use crate::server::{Server, wait_for};

#[test]
fn a_station_that_reports_is_kept_awake_and_what_it_answers_is_a_fact_and_a_reading() {
    let (_folder, server) = server("");
    // Ordered while it sleeps.
    let present = order(&server, "read_present", &json!({}), &json!({}));
    let events = order(&server, "50", &json!({}), &json!({}));
    let mut station = connect(&server);
    send(&mut station, &report(1, vec![value(0x39, 1000)]));
    let answer = station.next();
    assert_eq!((answer.function, answer.end), (0x32, End::Esc), "it stays awake");
    let question = station.next();
    assert_eq!((question.function, question.password), (0x37, PASSWORD));
    assert_eq!(
        content(&question),
        Content::Groups {
            groups: vec![],
            n_cut: 0
        }
    );
    send(&mut station, &says(&question, 2, vec![value(0x39, 2500)]));
    assert_eq!(station.next().end, End::Esc, "another waits");
    let question = station.next();
    assert_eq!(question.function, 0x50);
    let counters = Content::Control {
        station: Some(STATION.parse().unwrap()),
        control: Some(Control::Counters((0..32).collect())),
    };
    let last = answers(&question, 3, counters);
    send(&mut station, &last);
    assert_eq!(station.next().end, End::Eot, "nothing waits, it may sleep");
    let done = is(&server, present, "executed");
    assert_eq!(facts(&done), ["created", "sent", "executed"]);
    assert_eq!(done["facts"][1]["over"], "sl651", "{done}");
    assert_eq!(done["result"]["items"][1]["value"], "2.500", "{done}");
    let done = is(&server, events, "executed");
    assert_eq!(done["result"]["named"]["mains_lost"], 6, "{done}");
    assert_eq!(server.latest(STATION, "water_level").unwrap()["value"], 2.5);
    let counted = server.get(&format!("/api/v1/latest?device={STATION}&quantity=counter"));
    assert_eq!(counted["items"].as_array().unwrap().len(), 18);
    // Its repeat is answered again, and is no answer to the next question.
    let again = order(&server, "read_events", &json!({}), &json!({}));
    let question = station.next();
    send(&mut station, &last);
    assert_eq!(station.next().end, End::Eot);
    server.caught_up();
    assert_eq!(command(&server, again)["state"], "sent");
    let mut fresh = last.clone();
    fresh.body[1] = 9;
    send(&mut station, &fresh);
    assert_eq!(question.function, station.next().function);
    is(&server, again, "executed");
    // An answer to nothing is refused by name.
    fresh.body[1] = 10;
    send(&mut station, &fresh);
    station.next();
    assert_eq!(reasons(&server), ["stray_answer"]);
}

#[test]
fn what_is_set_is_executed_when_the_station_says_so_and_failed_when_it_says_otherwise() {
    let (_folder, server) = server("");
    let mut station = connect(&server);
    send(&mut station, &report(1, vec![value(0x39, 1000)]));
    assert_eq!(station.next().end, End::Eot);
    // The connection stays open: it is awake.
    let items = json!({"items": {"report_interval_h": 6, "alarm_level_1_m": 8.5}});
    for (state, hours) in [("executed", 6u8), ("failed", 1)] {
        let set = order(&server, "set_run", &items, &json!({}));
        let question = station.next();
        let Content::Parameters { mut items, .. } = content(&question) else {
            panic!("{question:?}")
        };
        for item in items.iter_mut().filter(|item| item.element.0 == 0x20) {
            item.raw = vec![hours];
        }
        let said = Content::Parameters {
            station: Some(STATION.parse().unwrap()),
            items,
        };
        send(&mut station, &answers(&question, 10 + u16::from(hours), said));
        station.next();
        is(&server, set, state);
    }
    // A state becomes a reading; a mode that it says of itself is how it is answered.
    let state = order(&server, "read_state", &json!({}), &json!({}));
    let question = station.next();
    send(&mut station, &says(&question, 20, vec![Group::State(0b11)]));
    station.next();
    is(&server, state, "executed");
    server.caught_up();
    assert_eq!(server.latest(STATION, "station_alarm").unwrap()["value"], 1.0);
    let mode = order(
        &server,
        "set_basic",
        &json!({"items": {"work_mode": "report"}}),
        &json!({}),
    );
    let question = station.next();
    let said = content(&question);
    send(&mut station, &answers(&question, 21, said));
    station.next();
    is(&server, mode, "executed");
    send(&mut station, &report(22, vec![value(0x39, 1500)]));
    wait_for("the report", LIMIT, || {
        let latest = server.latest(STATION, "water_level").unwrap();
        (latest["value"] == 1.5).then_some(())
    });
    assert!(
        station.within(Duration::from_millis(500)).is_none(),
        "M1: no answer"
    );
    for (method, params, part) in [
        ("open", json!({}), "no command is called"),
        (
            "set_run",
            json!({"items": {"rain_day_start_h": 24}}),
            "from 0 to 23",
        ),
        (
            "set_basic",
            json!({"items": {"password": "1234"}}),
            "set_password",
        ),
    ] {
        let body = json!({"device": STATION, "method": method, "params": params}).to_string();
        let (status, problem) = server.request("POST", "/api/v1/commands", Some(&body));
        assert_eq!(
            (status, &problem["code"]),
            (400, &json!("bad_command")),
            "{problem}"
        );
        assert!(problem.to_string().contains(part), "{problem}");
    }
    assert_eq!(reasons(&server), [""; 0]);
}

#[test]
fn without_an_answer_it_is_repeated_twice_and_waits_for_the_next_session() {
    let (_folder, server) = server("answer_seconds = 1\n");
    let mut station = connect(&server);
    send(&mut station, &report(1, vec![value(0x39, 1000)]));
    station.next();
    let clock = order(&server, "set_clock", &json!({}), &json!({}));
    let first = station.next();
    assert_eq!(first.function, 0x4A);
    let serial = first.read().unwrap().serial;
    for _ in 0..2 {
        let again = station.next();
        assert_eq!((again.function, again.read().unwrap().serial), (0x4A, serial));
    }
    // Not a fourth time; another goes meanwhile.
    assert!(station.within(Duration::from_secs(3)).is_none());
    let version = order(&server, "read_version", &json!({}), &json!({}));
    let question = station.next();
    let said = |control| Content::Control {
        station: Some(STATION.parse().unwrap()),
        control,
    };
    let text = Control::Version(b"V1.2".to_vec());
    send(&mut station, &answers(&question, 2, said(Some(text))));
    station.next();
    assert_eq!(is(&server, version, "executed")["result"]["text"], "V1.2");
    // The next report begins another session; so do another connection and another process.
    send(&mut station, &report(3, vec![value(0x39, 1001)]));
    assert_eq!(station.next().end, End::Esc);
    assert_eq!(station.next().function, 0x4A);
    drop(station);
    let dir = server.dir.clone();
    let mut server = server;
    server.process.kill();
    let server = Server::start_in(&dir);
    let mut station = connect(&server);
    send(&mut station, &report(4, vec![value(0x39, 1002)]));
    assert_eq!(station.next().end, End::Esc);
    let question = station.next();
    assert_eq!(question.read().unwrap().serial, serial);
    send(&mut station, &answers(&question, 5, said(None)));
    assert_eq!(station.next().end, End::Eot);
    is(&server, clock, "executed");
    // What has run out while the station was away never goes, and the same key is the same command.
    drop(station);
    let key = json!({"ttl_s": 1, "idempotency_key": "once"});
    let expired = order(&server, "read_clock", &json!({}), &key);
    assert_eq!(order(&server, "read_clock", &json!({}), &key), expired);
    is(&server, expired, "expired");
    let mut station = connect(&server);
    send(&mut station, &report(6, vec![value(0x39, 1003)]));
    assert_eq!(station.next().end, End::Eot);
    assert!(station.within(Duration::from_secs(1)).is_none());
    assert_eq!(command(&server, expired)["attempts"], 0);
}

#[test]
fn a_new_password_holds_from_the_station_s_own_word_on_and_is_shown_nowhere() {
    let (_folder, server) = server("");
    let mut station = connect(&server);
    send(&mut station, &report(1, vec![value(0x39, 1000)]));
    station.next();
    let set = order(&server, "set_password", &json!({"password": "abcd"}), &json!({}));
    let question = station.next();
    let Content::Parameters { items, .. } = content(&question) else {
        panic!("{question:?}")
    };
    assert_eq!(
        (&items[0].raw[..], &items[1].raw[..]),
        (&[0x03, 0xE8][..], &[0xAB, 0xCD][..])
    );
    let said = Content::Parameters {
        station: Some(STATION.parse().unwrap()),
        items: vec![items[1].clone()],
    };
    // It answers with the new one already.
    let mut answer = answers(&question, 2, said);
    answer.password = 0xABCD;
    send(&mut station, &answer);
    assert_eq!(station.next().password, 0xABCD);
    let done = is(&server, set, "executed");
    assert!(!done.to_string().to_uppercase().contains("ABCD"), "{done}");
    let mut station = connect(&server);
    let mut later = report(3, vec![value(0x39, 1000)]);
    later.password = 0xABCD;
    send(&mut station, &later);
    assert_eq!(station.next().password, 0xABCD);
}

#[test]
fn a_password_given_by_command_is_sealed_where_it_waits_and_over_a_kill() {
    let (_folder, server) = server("");
    let params = json!({"password": "be5a"});
    let key = json!({"idempotency_key": "k1"});
    let set = order(&server, "set_password", &params, &key);
    // In the other case it is the same one, and by its number the same order.
    assert_eq!(
        order(&server, "set_password", &json!({"password": "BE5A"}), &key),
        set
    );
    let by_number = order(&server, "49", &json!({"password": "be5b"}), &json!({}));
    let dir = server.dir.clone();
    let mut server = server;
    server.process.kill();
    let server = Server::start_in(&dir);
    let mut station = connect(&server);
    send(&mut station, &report(1, vec![value(0x39, 1000)]));
    assert_eq!(station.next().end, End::Esc);
    let mut taken = Vec::new();
    for (id, new, said) in [(set, 0xBE5A_u16, 0xBE5A_u16), (by_number, 0xBE5B, 0x1111)] {
        let question = station.next();
        let Content::Parameters { items, .. } = content(&question) else {
            panic!("{question:?}")
        };
        assert_eq!(items[1].raw, new.to_be_bytes());
        // What the station says that it has now counts.
        let mut item = items[1].clone();
        item.raw = said.to_be_bytes().to_vec();
        let told = Content::Parameters {
            station: Some(STATION.parse().unwrap()),
            items: vec![item],
        };
        let mut answer = answers(&question, id as u16 + 10, told);
        answer.password = 0xBE5A;
        send(&mut station, &answer);
        station.next();
        let state = if new == said { "executed" } else { "failed" };
        taken.push(is(&server, id, state).to_string());
    }
    assert!(
        taken.iter().all(|told| !told.to_uppercase().contains("BE5")),
        "{taken:?}"
    );
    let mut later = report(9, vec![value(0x39, 1001)]);
    later.password = 0xBE5A;
    send(&mut station, &later);
    assert_eq!(station.next().password, 0xBE5A);
    server.caught_up();
    let mut server = server;
    server.stop();
    for path in crate::hj212::files(&dir) {
        let bytes = std::fs::read(&path).unwrap();
        for password in ["be5a", "BE5A", "be5b", "BE5B"] {
            let written = format!("\"password\":\"{password}\"");
            let is_there = bytes
                .windows(written.len())
                .any(|part| part == written.as_bytes());
            assert!(!is_there, "{} holds the password", path.display());
        }
    }
}

#[test]
fn a_station_of_mode_m1_is_not_answered_and_takes_no_commands() {
    let (_folder, server) = crate::framed::server("sl651", "");
    let profile = "version: 1\nname: {zh: 站, en: M1}\nprotocol: sl651\nsl651: {mode: m1}\n";
    let (status, problem) = server.request("PUT", "/api/v1/profiles/river-m1", Some(profile));
    assert!((200..300).contains(&status), "{problem}");
    register(&server, "river-m1");
    let mut station = connect(&server);
    send(&mut station, &report(1, vec![value(0x39, 1000)]));
    wait_for("the report", LIMIT, || server.latest(STATION, "water_level"));
    assert!(station.within(Duration::from_millis(300)).is_none());
    let body = json!({"device": STATION, "method": "read_clock"}).to_string();
    let (status, problem) = server.request("POST", "/api/v1/commands", Some(&body));
    assert_eq!(status, 400, "{problem}");
}
