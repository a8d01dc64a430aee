//! Requests to stations: sent once a connection, repeated without an answer, never after their expiry; and hours that are
//! missing are asked for until the station has said what it has.

use std::time::Duration;

use onemap_model::Timestamp;
use onemap_wire::hj212::{Segment, stamp};
use serde_json::{Value, json};

use super::intake::hour;
use super::station::{LIMIT, PW, Station, frame, register, says, server};
use crate::server::{Server, wait_for};

const MN: &str = "A110000_0001";

fn order(server: &Server, method: &str, params: &Value, more: &Value) -> u64 {
    let mut body = json!({"device": MN, "method": method, "params": params});
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    server.post("/api/v1/commands", &body)["id"].as_u64().unwrap()
}

fn command(server: &Server, id: u64) -> Value {
    server.get(&format!("/api/v1/commands/{id}"))
}

fn is(server: &Server, id: u64, state: &str) -> Value {
    wait_for(&format!("command {id} to be {state}"), LIMIT, || {
        let command = command(server, id);
        (command["state"] == state).then_some(command)
    })
}

fn facts(command: &Value) -> Vec<&str> {
    let facts = command["facts"].as_array().unwrap();
    facts.iter().map(|f| f["fact"].as_str().unwrap()).collect()
}

/// A station that has shown itself.
fn connected(server: &Server) -> Station {
    let mut station = Station::connect(server);
    station.send(&says(MN, "1", "2011", "5", ""));
    assert_eq!(station.next().cn(), "9014");
    station
}

/// What a station says to a request.
fn answers(request: &Segment, cn: &str, cp: &str) -> Vec<u8> {
    let qn = request.qn();
    frame(&format!(
        "QN={qn};ST=91;CN={cn};PW={PW};MN={MN};Flag=4;CP=&&{cp}&&"
    ))
}

#[test]
fn a_request_goes_down_and_its_facts_are_what_the_station_says() {
    let (_folder, server) = server("");
    register(&server, MN);
    // Ordered before it is there: it waits.
    let clock = order(&server, "read_clock", &json!({}), &json!({}));
    let mut station = connected(&server);
    let request = station.next();
    assert_eq!(
        request.text(),
        format!("QN={};ST=22;CN=1011;PW={PW};MN={MN};Flag=5;CP=&&&&", request.qn())
    );
    station.send(&answers(&request, "9011", "QnRtn=1"));
    is(&server, clock, "received");
    let time = frame(&format!(
        "QN={};ST=22;CN=1011;PW={PW};MN={MN};Flag=4;CP=&&SystemTime=20261126080000&&",
        request.qn()
    ));
    station.send(&time);
    station.send(&answers(&request, "9012", "ExeRtn=1"));
    let done = is(&server, clock, "executed");
    assert_eq!(facts(&done), ["created", "sent", "received", "executed"]);
    assert_eq!(
        done["result"]["data"][0]["cp"][0]["SystemTime"], "20261126080000",
        "{done}"
    );

    // Refused, failed, and a notice, by the number of its command.
    let refused = order(&server, "set_rtd_interval", &json!({"seconds": 30}), &json!({}));
    let request = station.next();
    assert_eq!(request.cp_value("RtdInterval"), Some("30"));
    station.send(&answers(&request, "9011", "QnRtn=2"));
    assert_eq!(
        is(&server, refused, "failed")["error"],
        json!({"qn_rtn": "2", "text": "refused"})
    );
    let failed = order(&server, "serial_number", &json!({"pol_id": "a34004"}), &json!({}));
    let request = station.next();
    station.send(&answers(&request, "9011", "QnRtn=1"));
    station.send(&answers(&request, "9012", "ExeRtn=5"));
    assert_eq!(is(&server, failed, "failed")["error"]["text"], "busy");
    let notice = order(&server, "2012", &json!({}), &json!({}));
    let request = station.next();
    assert_eq!(request.cn(), "2012");
    station.send(&answers(&request, "9013", ""));
    is(&server, notice, "executed");

    // An answer to nothing is refused by name; an order that is none is not taken.
    station.send(&frame(&format!(
        "QN=20200101000000001;ST=91;CN=9012;PW={PW};MN={MN};Flag=4;CP=&&ExeRtn=1&&"
    )));
    wait_for("the stray answer", LIMIT, || {
        let entries = server.get("/api/v1/quarantine?limit=100");
        entries.to_string().contains("stray_answer").then_some(())
    });
    for (method, params) in [("open", json!({})), ("set_rtd_interval", json!({"seconds": 1}))] {
        let body = json!({"device": MN, "method": method, "params": params}).to_string();
        let (status, problem) = server.request("POST", "/api/v1/commands", Some(&body));
        assert_eq!(
            (status, &problem["code"]),
            (400, &json!("bad_command")),
            "{problem}"
        );
    }
}

#[test]
fn without_an_answer_it_is_repeated_and_a_new_connection_or_server_sends_it_again() {
    let (_folder, server) = server("answer_seconds = 1\nrepeats = 1\n");
    register(&server, MN);
    let mut station = connected(&server);
    let clock = order(&server, "set_clock", &json!({}), &json!({}));
    let first = station.next();
    let again = station.next();
    assert_eq!(first.qn(), again.qn());
    // Given up after its repeats; another connection gets it.
    assert!(station.is_closed(LIMIT));
    let mut station = connected(&server);
    assert_eq!(station.next().qn(), first.qn());
    // So does another process.
    let dir = server.dir.clone();
    let mut server = server;
    server.process.kill();
    let server = Server::start_in(&dir);
    let mut station = connected(&server);
    let request = station.next();
    assert_eq!(request.qn(), first.qn());
    station.send(&answers(&request, "9011", "QnRtn=1"));
    is(&server, clock, "received");
    // What it has said it will do is not asked again.
    drop(station);
    let mut station = connected(&server);
    let late = order(&server, "read_rtd_interval", &json!({}), &json!({}));
    let next = station.next();
    assert_eq!(next.cn(), "1061");
    station.send(&answers(&next, "9011", "QnRtn=1"));
    station.send(&answers(&next, "9012", "ExeRtn=1"));
    is(&server, late, "executed");
    station.send(&answers(&request, "9012", "ExeRtn=1"));
    is(&server, clock, "executed");
    // What has run out while the station was away never goes.
    drop(station);
    let expired = order(&server, "read_clock", &json!({}), &json!({"ttl_s": 1}));
    is(&server, expired, "expired");
    let mut station = connected(&server);
    assert!(station.within(Duration::from_secs(2)).is_none());
    assert_eq!(command(&server, expired)["attempts"], 0);
}

#[test]
fn a_new_password_holds_from_the_station_s_own_word_on() {
    let (_folder, server) = server("");
    register(&server, MN);
    let mut station = connected(&server);
    let set = order(
        &server,
        "set_password",
        &json!({"password": "654321"}),
        &json!({}),
    );
    let request = station.next();
    assert_eq!(request.cp_value("NewPW"), Some("654321"));
    // It answers with the new one already.
    let new = |cn: &str, cp: &str| {
        let qn = request.qn();
        frame(&format!(
            "QN={qn};ST=91;CN={cn};PW=654321;MN={MN};Flag=4;CP=&&{cp}&&"
        ))
    };
    station.send(&new("9011", "QnRtn=1"));
    station.send(&new("9012", "ExeRtn=1"));
    let done = is(&server, set, "executed");
    assert_ne!(done["params"]["password"], "654321", "{done}");
    // Its answers have a system code of their own; a request has that of its data.
    order(&server, "read_clock", &json!({}), &json!({}));
    let request = station.next();
    assert_eq!(
        (request.st(), request.pw()),
        ("22", "654321"),
        "{}",
        request.text()
    );
    let mut station = Station::connect(&server);
    station.send(&frame(&format!(
        "QN=9;ST=22;CN=2011;PW=654321;MN={MN};Flag=5;CP=&&&&"
    )));
    assert_eq!(station.next().cn(), "9014");
}

#[test]
fn the_request_after_a_new_password_has_it() {
    let (_folder, server) = server("");
    register(&server, MN);
    let mut station = connected(&server);
    let set = order(
        &server,
        "set_password",
        &json!({"password": "654321"}),
        &json!({}),
    );
    let request = station.next();
    assert_eq!((request.st(), request.pw()), ("22", PW));
    // It answers with the former one: it has taken the new one with that.
    station.send(&answers(&request, "9011", "QnRtn=1"));
    station.send(&answers(&request, "9012", "ExeRtn=1"));
    is(&server, set, "executed");
    order(&server, "read_clock", &json!({}), &json!({}));
    let request = station.next();
    assert_eq!(
        (request.st(), request.pw()),
        ("22", "654321"),
        "{}",
        request.text()
    );
}

#[test]
fn a_password_given_by_command_stands_nowhere_in_the_data_folder() {
    // Long enough that it stands nowhere by chance.
    const NEW: &str = "Zq7x_P";
    let (_folder, server) = server("");
    register(&server, MN);
    let body =
        json!({"device": MN, "method": "set_password", "params": {"password": NEW}, "idempotency_key": "k1"});
    let first = server.post("/api/v1/commands", &body);
    // The same order is the same command; another password under its key is not.
    assert_eq!(server.post("/api/v1/commands", &body)["id"], first["id"]);
    let mut other = body.clone();
    other["params"]["password"] = "Zq7x_Q".into();
    let (status, problem) = server.request("POST", "/api/v1/commands", Some(&other.to_string()));
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("idempotency_key_taken")),
        "{problem}"
    );
    assert!(!first.to_string().contains(NEW), "{first}");
    // It waits over a kill, and goes as it was given.
    let dir = server.dir.clone();
    let mut server = server;
    server.process.kill();
    let server = Server::start_in(&dir);
    let mut station = connected(&server);
    let request = station.next();
    assert_eq!(request.cp_value("NewPW"), Some(NEW));
    station.send(&answers(&request, "9011", "QnRtn=1"));
    station.send(&answers(&request, "9012", "ExeRtn=1"));
    is(&server, first["id"].as_u64().unwrap(), "executed");
    server.caught_up();
    std::thread::sleep(Duration::from_secs(2)); // a checkpoint
    let mut server = server;
    server.stop();
    let mut n_files = 0;
    for path in super::sealed::files(&dir) {
        let bytes = std::fs::read(&path).unwrap();
        n_files += 1;
        let is_there = bytes.windows(NEW.len()).any(|window| window == NEW.as_bytes());
        assert!(!is_there, "{} holds the password", path.display());
    }
    assert!(n_files > 5, "{n_files}");
    // The register has it all the same.
    let server = Server::start_in(&dir);
    let mut station = Station::connect(&server);
    station.send(&frame(&format!(
        "QN=9;ST=22;CN=2011;PW={NEW};MN={MN};Flag=5;CP=&&&&"
    )));
    assert_eq!(station.next().cn(), "9014");
}

#[test]
fn minute_data_stand_for_as_long_as_the_station_was_set_to_or_its_records_show() {
    let (_folder, server) = server("");
    register(&server, MN);
    register(&server, "A110000_0002");
    let minute = 60_000;
    let now = || Timestamp::from_system(std::time::SystemTime::now()).ms();
    // The start of the so many minutes that run.
    let running = |minutes: i64| now() - now().rem_euclid(minutes * minute);
    let record = |station: &mut Station, mn: &str, start: i64| {
        let text = stamp::written(Timestamp::from_ms(start));
        let cp = format!("DataTime={text};a34004-Avg=7");
        station.send(&says(mn, &format!("{text}000"), "2051", "5", &cp));
        while station.next().cn() != "9014" {}
    };
    let newest = |mn: &str| {
        server.caught_up();
        let latest = server.get(&format!("/api/v1/latest?device={mn}&quantity=pm2_5"));
        let at = latest["items"][0]["measured_at"].as_str().map(Timestamp::parse);
        at.and_then(Result::ok).map(Timestamp::ms)
    };
    // By command, from the station's own word on.
    let mut station = connected(&server);
    let set = order(&server, "set_minute_interval", &json!({"minutes": 2}), &json!({}));
    let request = station.next();
    assert_eq!(request.cp_value("MinInterval"), Some("2"));
    station.send(&answers(&request, "9011", "QnRtn=1"));
    station.send(&answers(&request, "9012", "ExeRtn=1"));
    is(&server, set, "executed");
    let start = running(2);
    record(&mut station, MN, start);
    assert_eq!(newest(MN), Some(start + 2 * minute));
    // What it sends of the time before is of ten minutes, as nothing else was said of it.
    let before = running(10) - 30 * minute;
    record(&mut station, MN, before);
    server.caught_up();
    let latest = server.get(&format!("/api/v1/latest?device={MN}&quantity=pm2_5"));
    let all = server.get(&format!("/api/v1/series/{}/values", latest["items"][0]["series"]));
    assert!(
        all.to_string()
            .contains(&Timestamp::from_ms(before + 10 * minute).to_string()),
        "{all}"
    );
    // The other was set by hand: what has just begun cannot be of ten minutes.
    let mut station = Station::connect(&server);
    let start = running(1) - 3 * minute;
    record(&mut station, "A110000_0002", start);
    let longest = [3, 2, 1]
        .into_iter()
        .find(|minutes| start % (minutes * minute) == 0);
    assert_eq!(
        newest("A110000_0002"),
        longest.map(|minutes| start + minutes * minute)
    );
    let refused = server.get("/api/v1/quarantine?limit=100");
    assert_eq!(refused["items"], json!([]), "{refused}");
    // What it says itself holds, over a kill too.
    let read = server.post(
        "/api/v1/commands",
        &json!({"device": "A110000_0002", "method": "read_minute_interval", "params": {}}),
    );
    let request = station.next();
    let qn = request.qn();
    let said = |cn: &str, cp: &str| {
        frame(&format!(
            "QN={qn};ST=91;CN={cn};PW={PW};MN=A110000_0002;Flag=4;CP=&&{cp}&&"
        ))
    };
    station.send(&said("9011", "QnRtn=1"));
    station.send(&said("1063", "MinInterval=2"));
    station.send(&said("9012", "ExeRtn=1"));
    is(&server, read["id"].as_u64().unwrap(), "executed");
    let dir = server.dir.clone();
    let mut server = server;
    server.process.kill();
    let server = Server::start_in(&dir);
    let mut station = Station::connect(&server);
    let start = running(2);
    let text = stamp::written(Timestamp::from_ms(start));
    station.send(&says(
        "A110000_0002",
        "1",
        "2051",
        "5",
        &format!("DataTime={text};a34002-Avg=7"),
    ));
    while station.next().cn() != "9014" {}
    server.caught_up();
    let latest = server.get("/api/v1/latest?device=A110000_0002&quantity=pm10");
    let at = latest["items"][0]["measured_at"].as_str().unwrap();
    assert_eq!(Timestamp::parse(at).unwrap().ms(), start + 2 * minute, "{latest}");
}

#[test]
fn minute_data_for_a_missing_hour_fill_what_did_not_come_of_the_cadence() {
    let (_folder, server) = server("resend_after_seconds = 1\n");
    // From its first day on: what is patched later holds from then.
    server.add_device(MN, &json!({"profile": "hj212-air", "cadence_s": 300}));
    server.post(&format!("/api/v1/devices/{MN}/token"), &json!({"password": PW}));
    let mut station = Station::connect(&server);
    let minute = |of: Timestamp, n: i64| Timestamp::from_ms(of.ms() + n * 60_000);
    let mut n_sent = 0;
    let mut live = |station: &mut Station, at: Timestamp| {
        n_sent += 1;
        let cp = format!("DataTime={};a34004-Rtd=7", stamp::written(at));
        station.send(&says(MN, &format!("202611260800{n_sent:05}"), "2011", "5", &cp));
        while station.next().cn() != "9014" {}
    };
    // Every five minutes, but for the second half of one hour.
    for back in [3, 2] {
        for n in 0..12 {
            if back == 3 || n < 6 {
                live(&mut station, minute(hour(back), n * 5));
            }
        }
    }
    let row = |at: Timestamp| {
        server.caught_up();
        let text = stamp::written(at);
        let day = format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..8]);
        let ledger = server.get(&format!("/api/v1/ledger?device={MN}&day={day}"));
        let row = &ledger["items"][0]["hours"][text[8..10].parse::<usize>().unwrap()];
        (row["received"].as_u64().unwrap(), row["lost"].as_u64().unwrap())
    };
    assert_eq!((row(hour(3)), row(hour(2))), ((12, 0), (6, 6)));
    // It is asked for minute data and has all six records but the last.
    let request = wait_for("the request", LIMIT, || {
        let request = station.within(Duration::from_secs(1))?;
        let begin = stamp::read(request.cp_value("BeginTime")?)?;
        (request.cn() == "2051" && begin == hour(2)).then_some(request)
    });
    station.send(&answers(&request, "9011", "QnRtn=1"));
    for _ in 0..2 {
        for n in 0..5 {
            let at = stamp::written(minute(hour(2), n * 10));
            let cp = format!("DataTime={at};a34004-Avg=8;a34002-Avg=9");
            station.send(&says(MN, request.qn(), "2051", "5", &cp));
            while station.next().cn() != "9014" {}
        }
    }
    station.send(&answers(&request, "9012", "ExeRtn=1"));
    // Four of the six that were missing are filled; the first half is counted once, and what came twice too.
    wait_for("the ledger", LIMIT, || (row(hour(2)) == (10, 2)).then_some(()));
    assert_eq!(row(hour(3)), (12, 0));
}

#[test]
fn missing_hours_are_asked_for_and_the_ledger_says_what_came_and_what_is_lost() {
    let (_folder, server) = server("resend_after_seconds = 1\n");
    register(&server, MN);
    let mut station = Station::connect(&server);
    let data = |qn: &str, at: Timestamp, value: u32| {
        says(
            MN,
            qn,
            "2061",
            "5",
            &format!("DataTime={};a34004-Avg={value}", stamp::written(at)),
        )
    };
    // Live hours, and between them three that are missing.
    let hours: Vec<Timestamp> = (1..=6).rev().map(hour).collect();
    for (i, at) in hours.iter().enumerate().filter(|(i, _)| ![2, 3, 4].contains(i)) {
        station.send(&data(&format!("2026112608000000{i}"), *at, 10));
        assert_eq!(station.next().cn(), "9014");
    }
    let mut asked = Vec::new();
    for _ in 0..3 {
        let request = station.next();
        assert_eq!(request.cn(), "2061");
        station.send(&answers(&request, "9011", "QnRtn=1"));
        let begin = stamp::read(request.cp_value("BeginTime").unwrap()).unwrap();
        asked.push(begin);
        // The middle one is not there.
        if begin == hours[3] {
            station.send(&answers(&request, "9012", "ExeRtn=100"));
            continue;
        }
        station.send(&data(request.qn(), begin, 20));
        assert_eq!(station.next().cn(), "9014");
        station.send(&answers(&request, "9012", "ExeRtn=1"));
    }
    assert_eq!(asked, hours[2..5]);
    let all = wait_for("the requests to end", LIMIT, || {
        let all = server.get(&format!("/api/v1/commands?device={MN}"));
        let items = all["items"].as_array().unwrap().clone();
        items.iter().all(|c| c["final"] == true).then_some(items)
    });
    let states: Vec<_> = all.iter().map(|c| c["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["executed", "failed", "executed"]);
    server.caught_up();
    // Two filled, one lost.
    let row = |at: Timestamp| {
        let day = stamp::written(at);
        let day = format!("{}-{}-{}", &day[..4], &day[4..6], &day[6..8]);
        let ledger = server.get(&format!("/api/v1/ledger?device={MN}&day={day}"));
        let hour: usize = stamp::written(at)[8..10].parse().unwrap();
        let row = &ledger["items"][0]["hours"][hour];
        (row["received"].as_u64().unwrap(), row["lost"].as_u64().unwrap())
    };
    let rows: Vec<_> = hours[2..5].iter().map(|at| row(*at)).collect();
    assert_eq!(rows, [(1, 0), (0, 1), (1, 0)]);
    // The requests stop: neither this connection nor the next is asked again.
    assert!(station.within(Duration::from_secs(3)).is_none());
    drop(station);
    let mut station = connected(&server);
    assert!(station.within(Duration::from_secs(4)).is_none());
    let n = server.get(&format!("/api/v1/commands?device={MN}"))["items"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(n, 3);
}
