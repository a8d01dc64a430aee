//! Hours that are missing are asked for until the station has said what it has.

use std::time::Duration;

use onemap_model::Timestamp;
use onemap_wire::hj212::stamp;
use onemap_wire::sl651::{Content, Definition, Element, End, Frame, Group, Number, Stamp};

use super::station::{LIMIT, STATION, Station, connect, content, report_at, says, send, server, value};
use crate::framed::now;
use crate::server::{Server, wait_for};

/// The start of an hour so many hours ago.
fn hour(back: i64) -> Timestamp {
    let ms = now().ms();
    Timestamp::from_ms(ms - ms.rem_euclid(3_600_000) - back * 3_600_000)
}

/// A series of one level, or of none.
fn level(question: &Frame, at: Timestamp, thousandths: Option<i64>) -> Frame {
    let Group::Element { values, .. } = value(0x39, thousandths.unwrap_or(0)) else {
        panic!("a level is an element")
    };
    let missing = Number::Missing { raw: "FF".repeat(4) };
    let series = Group::Element {
        element: Element(0x39),
        definition: Definition::new(4, 3),
        values: thousandths.map_or(vec![missing], |_| values),
        is_series: true,
    };
    let observed = Group::Observed(Stamp::of(at, 10));
    says(question, 100, vec![observed, Group::Step([0, 1, 0]), series])
}

/// The hour that a question is for.
fn asked(question: &Frame) -> Timestamp {
    let Content::Period {
        from, to, element, ..
    } = content(question)
    else {
        panic!("{question:?}")
    };
    assert_eq!((&from, element.0), (&to, Element(0x39)));
    from.moment().unwrap()
}

/// Reports of six hours but for the three in the middle.
fn report_all_but_three(station: &mut Station, hours: &[Timestamp]) {
    for (i, at) in hours.iter().enumerate().filter(|(i, _)| ![2, 3, 4].contains(i)) {
        // A voltage, too, which is not asked for.
        let values = vec![value(0x39, 1000), value(0x38, 12_000)];
        send(station, &report_at(*at, i as u16 + 1, values));
        let answer = station.next();
        assert_eq!(answer.function, 0x32, "{answer:?}");
    }
}

fn rows(server: &Server, hours: &[Timestamp]) -> Vec<(u64, u64)> {
    server.caught_up();
    let row = |at: &Timestamp| {
        let day = stamp::written(*at);
        let hour: usize = day[8..10].parse().unwrap();
        let day = format!("{}-{}-{}", &day[..4], &day[4..6], &day[6..8]);
        let ledger = server.get(&format!("/api/v1/ledger?device={STATION}&day={day}"));
        let row = &ledger["items"][0]["hours"][hour];
        (row["received"].as_u64().unwrap(), row["lost"].as_u64().unwrap())
    };
    hours.iter().map(row).collect()
}

fn commands(server: &Server) -> Vec<serde_json::Value> {
    server.get(&format!("/api/v1/commands?device={STATION}"))["items"]
        .as_array()
        .unwrap()
        .clone()
}

#[test]
fn two_of_three_missing_hours_come_and_one_is_lost_and_the_requests_stop() {
    let (_folder, server) = server("resend_after_seconds = 1\n");
    let mut station = connect(&server);
    let hours: Vec<Timestamp> = (1..=6).rev().map(hour).collect();
    report_all_but_three(&mut station, &hours);
    let mut told = Vec::new();
    for serial in 0..3u8 {
        let question = station.next();
        let at = asked(&question);
        told.push(at);
        // Of the middle one it has nothing: all F.
        let mut answer = level(&question, at, (at != hours[3]).then_some(2000));
        answer.body[1] = serial + 50;
        send(&mut station, &answer);
        let answer = station.next();
        assert!(matches!(answer.end, End::Eot | End::Esc), "{answer:?}");
    }
    assert_eq!(told, hours[2..5]);
    let all = wait_for("the requests to end", LIMIT, || {
        let all = commands(&server);
        all.iter().all(|c| c["final"] == true).then_some(all)
    });
    let states: Vec<_> = all.iter().map(|c| c["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["executed", "failed", "executed"]);
    assert_eq!(all[1]["error"]["text"], "no data");
    assert_eq!(rows(&server, &hours[2..5]), [(1, 0), (0, 1), (1, 0)]);
    // The requests stop: neither this connection nor the next is asked again.
    assert!(station.within(Duration::from_secs(3)).is_none());
    drop(station);
    let mut station = connect(&server);
    send(&mut station, &report_at(now(), 90, vec![value(0x39, 1000)]));
    assert_eq!(station.next().end, End::Eot);
    assert!(station.within(Duration::from_secs(3)).is_none());
    assert_eq!(commands(&server).len(), 3);
}

#[test]
fn an_hour_of_which_a_sleeping_station_says_nothing_stays_lost_and_holds_up_no_other() {
    let (_folder, server) = server("resend_after_seconds = 1\nanswer_seconds = 1\n");
    let hours: Vec<Timestamp> = (1..=6).rev().map(hour).collect();
    let mut station = connect(&server);
    report_all_but_three(&mut station, &hours);
    // It sleeps before it is asked; what it owes waits for its next report.
    drop(station);
    wait_for("the requests", LIMIT, || {
        (commands(&server).len() == 3).then_some(())
    });
    let mut station = connect(&server);
    send(&mut station, &report_at(now(), 60, vec![value(0x39, 1000)]));
    assert_eq!(station.next().end, End::Esc, "it is kept awake");
    let (mut n_silent, mut n_told) = (0, 0);
    while n_told < 2 || n_silent < 3 {
        let question = station.next();
        if question.end != End::Enq {
            continue;
        }
        let at = asked(&question);
        if at == hours[3] {
            n_silent += 1; // says nothing
            continue;
        }
        n_told += 1;
        let mut answer = level(&question, at, Some(2000));
        answer.body[1] = n_told + 70;
        send(&mut station, &answer);
    }
    while let Some(frame) = station.within(Duration::from_secs(3)) {
        assert_ne!(
            frame.end,
            End::Enq,
            "two repeats, then the next session: {:?}",
            asked(&frame)
        );
    }
    server.caught_up();
    let states: Vec<_> = commands(&server).iter().map(|c| c["state"].clone()).collect();
    assert_eq!(states, ["executed", "sent", "executed"]);
    assert_eq!(rows(&server, &hours[2..5]), [(1, 0), (0, 1), (1, 0)]);
}
