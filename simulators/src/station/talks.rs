//! Stations and a centre that says what the standards say, without a line between them.

#![allow(clippy::unwrap_used)]

use onemap_model::Timestamp;
use onemap_wire::gbt26875::reply as fire;
use onemap_wire::hj212::{
    self, Answered, ExeRtn, History, Peer, QnRtn, Request, Segment, Version, data_answer, encode,
};
use onemap_wire::sl651::reply as water;
use onemap_wire::{gbt26875, sl651};
use serde_json::json;

use super::{Out, Protocol, Speaker, args, values};

fn moment(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn later(at: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_ms(at.ms() + seconds * 1000)
}

/// What a station says at a time.
fn ticks(station: &mut dyn Speaker, now: Timestamp) -> Out {
    let mut out = Out::default();
    station.tick(now, true, &mut out);
    out
}

fn hears(station: &mut dyn Speaker, now: Timestamp, bytes: &[u8]) -> Out {
    let mut out = Out::default();
    station.heard(now, bytes, &mut out);
    out
}

fn segments(out: &Out) -> Vec<Segment> {
    let mut framer = hj212::Framer::new(hj212::MAX_SEGMENT);
    let pieces = out.frames.iter().flat_map(|bytes| framer.push(bytes));
    let segment = |piece| match piece {
        hj212::Piece::Frame { frame, .. } => hj212::decode(&frame, None).unwrap(),
        hj212::Piece::Fault(fault) => panic!("{fault:?}"),
    };
    pieces.collect::<Vec<_>>().into_iter().map(segment).collect()
}

fn station_of_air(now: Timestamp, faults: &str) -> super::Hj212 {
    let args = args(Protocol::Hj212, "630100000000000000000001", faults);
    super::Hj212::new(super::hj212::config(&args, args.id.clone(), 7).unwrap(), now)
}

fn peer(pw: &str) -> Peer {
    Peer {
        st: "22".into(),
        pw: pw.into(),
        mn: "630100000000000000000001".into(),
        version: Version::V2017,
    }
}

/// Everything a station says after a request, each frame answered as it asks.
fn asked(station: &mut super::Hj212, mut now: Timestamp, request: &Segment) -> Vec<Segment> {
    let mut said = segments(&hears(station, now, &encode(request).unwrap()));
    for _ in 0..50 {
        now = later(now, 1);
        let more = segments(&ticks(station, now));
        for segment in &more {
            if segment.wants_answer() {
                let answer = encode(&data_answer(segment, "123456")).unwrap();
                hears(station, now, &answer);
            }
        }
        said.extend(more);
    }
    said
}

#[test]
fn an_hour_of_air_comes_as_the_standard_says_and_each_frame_waits_for_its_answer() {
    let mut now = moment("2026-11-26T09:59:30+08:00");
    let mut station = station_of_air(now, "");
    let mut by_command = std::collections::BTreeMap::<String, Vec<String>>::new();
    for _ in 0..120 {
        now = later(now, 1);
        let said = segments(&ticks(&mut station, now));
        assert!(said.len() <= 1, "one frame without an answer");
        for segment in said {
            assert_eq!(
                (segment.st(), segment.pw(), segment.flag().unwrap().0),
                ("22", "123456", 5)
            );
            let stamps = by_command.entry(segment.cn().to_owned()).or_default();
            stamps.push(segment.data_time().unwrap().to_owned());
            hears(
                &mut station,
                now,
                &encode(&data_answer(&segment, "123456")).unwrap(),
            );
        }
    }
    // Statistics have the start of their period.
    assert_eq!(by_command["2061"], ["20261126090000"]);
    assert_eq!(by_command["2051"], ["20261126095000"]);
    assert_eq!(by_command["2011"].len(), 4);
    assert_eq!(station.tally().n_answered, 6);
}

#[test]
fn what_is_not_answered_comes_three_times_more_and_then_the_line_is_given_up() {
    let mut now = moment("2026-11-26T09:30:30+08:00");
    let mut station = station_of_air(later(now, -1), "");
    let first = ticks(&mut station, now).frames;
    assert_eq!(first.len(), 1);
    for n in 1..=4 {
        assert!(ticks(&mut station, later(now, 9)).frames.is_empty());
        now = later(now, 10);
        let out = ticks(&mut station, now);
        assert_eq!((out.hang_up, out.frames.is_empty()), (n == 4, n == 4));
        assert!(out.frames.iter().all(|frame| *frame == first[0]));
    }
    // It is still there on the next line.
    let mut out = Out::default();
    station.connected(now, &mut out);
    assert_eq!(out.frames[0], first[0]);
}

#[test]
fn a_refusal_is_no_receipt_and_a_damaged_frame_goes_again() {
    let mut now = moment("2026-11-26T09:30:30+08:00");
    let mut station = station_of_air(later(now, -1), "");
    let first = segments(&ticks(&mut station, now)).remove(0);
    let refused = hj212::request_answer(&first, "123456", QnRtn::WrongCrc);
    hears(&mut station, now, &encode(&refused).unwrap());
    let counts = |station: &super::Hj212| (station.tally().n_answered, station.tally().n_not_taken);
    assert_eq!(counts(&station), (0, 1));
    assert!(segments(&ticks(&mut station, later(now, 9))).is_empty());
    now = later(now, 10);
    assert_eq!(segments(&ticks(&mut station, now)), std::slice::from_ref(&first));
    hears(
        &mut station,
        now,
        &encode(&data_answer(&first, "123456")).unwrap(),
    );
    assert_eq!(counts(&station), (1, 1));
    // Any other refusal would come again: the next frame goes.
    for (qn_rtn, n) in [("3", 2), ("77", 3)] {
        now = later(now, 30);
        let next = segments(&ticks(&mut station, now)).remove(0);
        let mut refused = data_answer(&next, "123456");
        refused
            .cp
            .push(hj212::Group(vec![hj212::Item::new("QnRtn", qn_rtn)]));
        hears(&mut station, now, &encode(&refused).unwrap());
        assert_eq!(counts(&station), (1, n));
        let again = segments(&ticks(&mut station, later(now, 10)));
        assert!(again.iter().all(|segment| segment.qn() != next.qn()));
    }
}

#[test]
fn a_station_executes_what_it_is_asked_once_and_refuses_what_is_wrong() {
    let now = moment("2026-11-26T09:30:05+08:00");
    let mut station = station_of_air(now, "");
    let ask = |request: &Request, pw: &str, qn: &str| request.segment(&peer(pw), qn).unwrap();
    let verdicts = |said: &[Segment]| {
        let answers = said
            .iter()
            .filter_map(|s| Answered::of(s).map(|(qn, a)| (qn.to_owned(), a)));
        answers.collect::<Vec<_>>()
    };
    let wrong = ask(
        &Request::ReadClock { pol_id: None },
        "000000",
        "20261126093005001",
    );
    assert_eq!(
        verdicts(&asked(&mut station, now, &wrong)),
        [(
            "20261126093005001".to_owned(),
            Answered::Request(Some(QnRtn::WrongPw))
        )]
    );
    let clock = Request::SetClock {
        pol_id: None,
        time: later(now, -3600),
    };
    let qn = "20261126093005002";
    let set = ask(&clock, "123456", qn);
    let done = [
        (qn.to_owned(), Answered::Request(Some(QnRtn::Accepted))),
        (qn.to_owned(), Answered::Execution(Some(ExeRtn::Done))),
    ];
    assert_eq!(verdicts(&asked(&mut station, now, &set)), done);
    assert_eq!(
        verdicts(&asked(&mut station, now, &set)),
        done[..1],
        "a repeat is not executed again"
    );
    let read = ask(
        &Request::ReadClock { pol_id: None },
        "123456",
        "20261126093005003",
    );
    let said = asked(&mut station, now, &read);
    let clock = said.iter().find_map(|s| s.cp_value("SystemTime")).unwrap();
    assert!(clock.starts_with("2026112608300"), "{clock}");
}

#[test]
fn of_three_hours_it_sends_those_it_has_and_says_no_data_for_the_third() {
    let now = moment("2026-11-26T12:30:05+08:00");
    let hour = |h: i64| moment("2026-11-26T00:00:00+08:00").ms() + h * 3_600_000;
    // A seed whose station has two of the three hours from 9 to 12.
    let has = |seed| {
        (9..12)
            .map(|h| values::has(seed, 0.4, Timestamp::from_ms(hour(h))))
            .collect::<Vec<_>>()
    };
    let seed = (0..).find(|seed| has(*seed) == [true, true, false]).unwrap();
    let args = args(Protocol::Hj212, "630100000000000000000001", "holes=0.4");
    let mut station = super::Hj212::new(super::hj212::config(&args, args.id.clone(), seed).unwrap(), now);
    let request = |from: i64, to: i64, qn: &str| {
        let history = Request::History {
            what: History::Hours,
            begin: Timestamp::from_ms(hour(from)),
            end: Timestamp::from_ms(hour(to)),
        };
        history.segment(&peer("123456"), qn).unwrap()
    };
    let said = asked(&mut station, now, &request(9, 11, "20261126123005001"));
    let stamps: Vec<_> = said
        .iter()
        .filter(|s| s.cn() == "2061")
        .filter_map(Segment::data_time)
        .collect();
    assert_eq!(stamps, ["20261126090000", "20261126100000"]);
    let said = asked(&mut station, now, &request(11, 11, "20261126123005002"));
    let last = said.iter().rev().find_map(|s| Answered::of(s).map(|(_, a)| a));
    assert_eq!(last, Some(Answered::Execution(Some(ExeRtn::NoData))));
}

fn frames(out: &Out) -> Vec<sl651::Frame> {
    out.frames
        .iter()
        .map(|bytes| sl651::Frame::decode(bytes).unwrap())
        .collect()
}

#[test]
fn a_river_station_reports_hours_repeats_on_nak_and_answers_questions() {
    let mut now = moment("2026-11-26T09:59:59+08:00");
    let args = args(Protocol::Sl651, "0012345678", "");
    let mut station = super::sl651::Sl651::new(&args, "0012345678", 3, now).unwrap();
    now = later(now, 2);
    let first = frames(&ticks(&mut station, now));
    assert_eq!(first[0].function, 0x32);
    let answer = |frame: &sl651::Frame, end| water::answer(frame, 1, now, end, None).encode().unwrap();
    let again = hears(&mut station, now, &answer(&first[0], sl651::End::Nak));
    assert_eq!(frames(&again)[0], first[0]);
    hears(&mut station, now, &answer(&first[0], sl651::End::Eot));
    let second = frames(&ticks(&mut station, now));
    assert_eq!((second.len(), second[0].function), (1, 0x34));
    let read = sl651::readings(
        &second[0],
        &second[0].read().unwrap(),
        None,
        &sl651::Bases::default(),
    );
    let n: usize = read.iter().map(|station| station.message.samples.len()).sum();
    assert!(
        n >= 26,
        "{n} samples: twelve of rain, twelve levels, rain of the day, voltage"
    );
    hears(&mut station, now, &answer(&second[0], sl651::End::Eot));
    assert_eq!(station.tally().n_answered, 2);

    let line = water::Line::of(&second[0]);
    for (question, function) in [
        (water::Question::Present, 0x37),
        (water::Question::Version, 0x45),
        (water::Question::State, 0x46),
        (water::Question::Clock, 0x51),
        (water::Question::SetClock, 0x4A),
        (
            water::Question::Period {
                from: moment("2026-11-26T06:00:00+08:00"),
                to: moment("2026-11-26T09:00:00+08:00"),
                step: [0, 1, 0],
                element: (sl651::Element(0x39), sl651::Definition(0x23)),
            },
            0x38,
        ),
    ] {
        let asked = line.ask(0, now, &question).unwrap().encode().unwrap();
        let said = frames(&hears(&mut station, now, &asked));
        assert_eq!((said.len(), said[0].function), (1, function));
        said[0].read().unwrap();
    }
    let stranger = water::Line { password: 1, ..line };
    let asked = stranger
        .ask(0, now, &water::Question::Present)
        .unwrap()
        .encode()
        .unwrap();
    assert!(hears(&mut station, now, &asked).frames.is_empty());
}

#[test]
fn a_station_that_writes_text_answers_every_question() {
    let now = moment("2026-11-26T09:59:59+08:00");
    let mut args = args(Protocol::Sl651, "0012345678", "");
    args.encoding = super::Encoding::Ascii;
    let mut station = super::sl651::Sl651::new(&args, "0012345678", 3, now).unwrap();
    let line = water::Line {
        station: "0012345678".parse().unwrap(),
        centre: 1,
        password: 0x1234,
        encoding: sl651::Encoding::Ascii,
    };
    let hour = "2026-11-26T08:00:00+08:00";
    let mut n_asked = 0;
    for (method, params) in [
        ("take_picture", json!({})),
        ("read_present", json!({})),
        ("history", json!({"element": "39", "from": hour, "to": hour})),
        ("history", json!({"element": "F4", "from": hour, "to": hour})),
        ("read_manual", json!({})),
        ("read_elements", json!({"elements": ["Z", "VT", "FF11:23"]})),
        (
            "set_basic",
            json!({"items": {"card_number": "1013", "work_mode": 2}}),
        ),
        (
            "read_basic",
            json!({"items": ["card_number", "work_mode", "relay_range"]}),
        ),
        ("set_run", json!({"items": {"level_correction_1_m": -0.25}})),
        (
            "read_run",
            json!({"items": ["level_correction_1_m", "rain_resolution_mm"]}),
        ),
        ("read_pump_motor", json!({})),
        ("read_version", json!({})),
        ("read_state", json!({})),
        ("clear_memory", json!({})),
        ("factory_reset", json!({})),
        ("set_clock", json!({})),
        ("set_card", json!({"valid": true})),
        ("set_pumps", json!({"on": [true, false]})),
        ("set_valves", json!({"on": [true]})),
        ("set_gates", json!({"gates": [120, null]})),
        ("set_fixed_quantity", json!({"on": true})),
        ("read_events", json!({})),
        ("read_clock", json!({})),
        ("set_password", json!({"password": "ABCD"})),
    ] {
        let question = sl651::question_of(method, &params, 0x1234).unwrap();
        let asked = line.ask(0, now, &question).unwrap().encode().unwrap();
        let said = frames(&hears(&mut station, now, &asked));
        assert_eq!(said.len(), 1, "{method}");
        let body = said[0].read().unwrap();
        assert_eq!(said[0].encoding, sl651::Encoding::Ascii);
        assert!(question.fits(said[0].function, &body), "{method}: {body:?}");
        let outcome = question.outcome(&said[0], &body);
        assert!(outcome.is_ok(), "{method}: {outcome:?}");
        if method == "read_basic" {
            let shown = outcome.unwrap()["items"].clone();
            assert_eq!(
                (&shown[1]["meaning"], &shown[2]["meaning"]),
                (&json!("1013"), &json!("report and confirm"))
            );
        }
        n_asked += 1;
    }
    assert_eq!(
        (station.tally().n_requests, station.tally().n_refused),
        (n_asked, 0)
    );
}

#[test]
fn a_station_of_mode_m3_sends_all_packets_and_again_the_one_that_is_named() {
    let mut now = moment("2026-11-26T09:59:59+08:00");
    let mut args = args(Protocol::Sl651, "0012345678", "");
    (args.mode, args.packet_bytes) = (super::Mode::M3, 16);
    let mut station = super::sl651::Sl651::new(&args, "0012345678", 3, now).unwrap();
    now = later(now, 2);
    let all = frames(&ticks(&mut station, now));
    let total = all.len() as u16;
    assert!(total > 2);
    let numbers: Vec<_> = all.iter().map(|frame| frame.packet.unwrap().number).collect();
    assert_eq!(numbers, (1..=total).collect::<Vec<_>>());
    assert!(
        ticks(&mut station, now).frames.is_empty(),
        "it waits for its answer"
    );
    let at = now;
    let answer = |end, number| {
        let packet = Some(sl651::Packet { total, number });
        water::answer(&all[0], 1, at, end, packet).encode().unwrap()
    };
    let again = frames(&hears(&mut station, now, &answer(sl651::End::Nak, 2)));
    assert_eq!(
        (again.len(), again[0].packet, again[0].end),
        (1, all[1].packet, sl651::End::Etx)
    );
    assert_eq!(again[0].body, all[1].body);
    // Without an answer everything goes again.
    now = later(now, 10);
    assert_eq!(frames(&ticks(&mut station, now)), all);
    hears(&mut station, now, &answer(sl651::End::Eot, total));
    assert_eq!(station.tally().n_answered, 1);
    // In M2 each packet waits for its ACK, and a new line goes on where the old one was.
    args.mode = super::Mode::M2;
    let mut station = super::sl651::Sl651::new(&args, "0012345678", 3, later(now, -2)).unwrap();
    now = moment("2026-11-26T10:00:31+08:00");
    let first = frames(&ticks(&mut station, now));
    assert_eq!((first.len(), first[0].packet.unwrap().number), (1, 1));
    let ack = water::answer(&first[0], 1, now, sl651::End::Ack, None)
        .encode()
        .unwrap();
    let second = frames(&hears(&mut station, now, &ack));
    assert_eq!(second[0].packet.unwrap().number, 2);
    let mut out = Out::default();
    station.connected(now, &mut out);
    assert_eq!(frames(&out), second);
}

#[test]
fn a_fire_alarm_device_waits_for_each_acknowledgement_and_answers_a_roll_call() {
    let mut now = moment("2026-11-26T09:30:00+08:00");
    let args = args(Protocol::Gbt26875, "790300000000", "");
    let mut station = super::gbt26875::Gbt26875::new(&args, "790300000000", 3, now).unwrap();
    let frame = |out: &Out| gbt26875::Frame::decode(out.frames.first().unwrap()).unwrap();
    let first = frame(&ticks(&mut station, now));
    assert_eq!((first.command, first.read().unwrap().unwrap().kind), (2, 3));
    assert!(ticks(&mut station, now).frames.is_empty());
    now = later(now, 10);
    assert_eq!(frame(&ticks(&mut station, now)), first, "sent again");
    let acknowledged = fire::acknowledge(&first, now, gbt26875::Clock::Binary)
        .encode()
        .unwrap();
    hears(&mut station, now, &acknowledged);
    let second = frame(&ticks(&mut station, now));
    assert_eq!(second.read().unwrap().unwrap().kind, 21);
    let line = fire::Line {
        source: first.destination,
        destination: first.source,
        version: [1, 0],
        clock: gbt26875::Clock::Binary,
    };
    let call = line
        .ask(9, now, &fire::Question::RollCall { minutes: 10 })
        .unwrap()
        .encode()
        .unwrap();
    assert_eq!(frame(&hears(&mut station, now, &call)).command, 3);
    let acknowledged = fire::acknowledge(&second, now, gbt26875::Clock::Binary)
        .encode()
        .unwrap();
    hears(&mut station, now, &acknowledged);
    assert_eq!(frame(&ticks(&mut station, now)).read().unwrap().unwrap().kind, 24);
    for question in [
        fire::Question::DeviceState,
        fire::Question::DeviceVersion,
        fire::Question::DeviceTime,
    ] {
        let asked = line.ask(10, now, &question).unwrap().encode().unwrap();
        let answer = frame(&hears(&mut station, now, &asked));
        assert_eq!((answer.command, answer.sequence), (5, 10));
        answer.read().unwrap();
    }
}
