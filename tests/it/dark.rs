//! A gateway that is dark for three days and comes back with all that was measured meanwhile.
//!
//! One card while it is dark; nobody is told anew of what is over by then; what goes on is told once, as of now; every
//! reading is in history and ledger once; and a kill amid the back-fill changes nothing of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use onemap_model::Timestamp;
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::server::{CONFIG, Server, binary, peer, stream, wait_for};
use crate::sl651::station::{PASSWORD, STATION, connect, line, send, value};

const RULES: &str = "
version: 1
rules:
  - id: pm10-dust
    name: {zh: 扬尘, en: Dust}
    severity: major
    applies_to: {kind: air_station}
    when: {above: {quantity: pm10, raise: 250 ug/m3, clear: 200 ug/m3}}
    for: 10 s
    advice: {zh: 派人查看, en: Send someone}
  - id: urgent
    name: {zh: 浓烟, en: Dense smoke}
    severity: critical
    applies_to: {device: lone}
    when: {above: {quantity: pm10, raise: 350 ug/m3, clear: 200 ug/m3}}
    advice: {zh: 立即出动, en: Go at once}
  - id: stage
    name: {zh: 超警戒, en: Above stage}
    severity: major
    applies_to: {kind: river_gauge}
    when: {above: {quantity: water_level, raise: 12.5 m, clear: 12.4 m}}
    advice: {zh: 巡堤, en: Patrol}
  - id: device-silent
    name: {zh: 设备失联, en: Device silent}
    severity: minor
    when: {no_data: {for: 5 x cadence}}
    clear_for: 20 s
    advice: {zh: 检查供电与网络, en: Check power and network}
";
const SOON: Duration = Duration::from_secs(60);
const N_CHILDREN: usize = 44;
const MINUTE: i64 = 60_000;
const STEP: i64 = 10 * MINUTE;
/// After ten seconds without a record the engine thinks that nobody listened, and blames no device for its silence.
const HOP: i64 = 9_000;
const DAY: i64 = 86_400_000;
/// Readings of each child that were measured in the dark.
const N_DARK: i64 = 3 * 144;
/// Above its limit, and over: a day and a half, and ten hours, before the gateway is back.
const OLD: usize = 3;
const RECENT: usize = 4;
/// As the one before; it speaks for itself and hands on its spool as our gateway does: the oldest first, numbered, and said to
/// be late.
const SPOOLED: usize = 43;
/// Above its limit since seven hours, and still.
const STILL: usize = 5;
/// Above its limit before it became dark, and over a day later.
const BEFORE: usize = 6;

/// What a child measures at a step of the dark; 0 is the last one that came through.
fn pm10(child: usize, step: i64) -> f64 {
    let is_over = match child {
        OLD => (180..200).contains(&step),
        RECENT | SPOOLED => (372..384).contains(&step),
        STILL => step >= 390,
        BEFORE => step < 144,
        _ => false,
    };
    let base = if is_over { 400.0 } else { 40.0 };
    base + (step * 7 + child as i64) as f64 % 23.0
}

/// Water at a step: above its stage in the second night only.
fn level(step: i64) -> i64 {
    if (200..230).contains(&step) {
        13_000 + step
    } else {
        11_000 + step
    }
}

fn items(answer: &Value) -> Vec<Value> {
    answer["items"].as_array().unwrap().clone()
}

fn telemetry(server: &Server, token: &str, topic: &str, payload: &str) {
    let out = server.publish(token, topic, payload);
    assert!(out.status.success(), "{out:?}");
}

/// Readings of some children at some steps, as a gateway hands them on.
fn hands_on(server: &Server, token: &str, dark_from: i64, children: &[usize], steps: &[i64]) {
    let mut all = serde_json::Map::new();
    for child in children {
        let of = steps
            .iter()
            .map(|step| json!({"ts": dark_from + step * STEP, "values": {"pm10": pm10(*child, *step)}}));
        all.insert(format!("child-{child}"), of.collect::<Vec<Value>>().into());
    }
    telemetry(
        server,
        token,
        "v1/gateway/telemetry",
        &Value::Object(all).to_string(),
    );
}

/// Records of a spool, the last one as it is measured.
fn spools(server: &Server, token: &str, dark_from: i64, steps: &[i64]) {
    let of = steps.iter().map(|step| {
        let late = *step < N_DARK;
        json!({"q": "pm10", "t": dark_from + step * STEP, "v": pm10(SPOOLED, *step), "s": step, "r": late})
    });
    let said = json!({"epoch": 7, "readings": of.collect::<Vec<Value>>()});
    let topic = format!("onemap/v1/child-{SPOOLED}/readings");
    telemetry(server, token, &topic, &said.to_string());
}

/// A report of the station, observed at a step and sent now.
fn reports(server: &Server, clock: &Clock, dark_from: i64, steps: &[i64]) {
    let mut station = connect(server);
    for step in steps {
        use onemap_wire::sl651::{Group, Stamp};
        let observed = Timestamp::from_ms(dark_from + step * STEP);
        let groups = vec![
            Group::Observed(Stamp::of(observed, 10)),
            value(0x39, level(*step)),
        ];
        let serial = u16::try_from(*step + 1).unwrap();
        let sent = Timestamp::from_ms(clock.now());
        let frame = line(PASSWORD).report(0x32, serial, sent, groups).unwrap();
        send(&mut station, &frame);
        station.next();
    }
}

/// All transitions after a number of the ledger, as a consumer of the stream is told.
fn told_after(server: &Server, after: u64) -> Vec<Value> {
    server.caught_up();
    let last = server.get("/api/v1/alerts?state=all&limit=1000");
    let n: usize = items(&last)
        .iter()
        .map(|alert| {
            let story = server.get(&format!("/api/v1/alerts/{}", alert["id"].as_str().unwrap()));
            let after_it = |told: &&Value| told["seq"].as_u64().unwrap() > after;
            story["history"]
                .as_array()
                .unwrap()
                .iter()
                .filter(after_it)
                .count()
        })
        .sum();
    let said = stream(
        &server.http,
        &server.token,
        &format!("/feeds/alerts?after={after}"),
    );
    let read = || -> Vec<Value> {
        let said = said.lock().unwrap();
        let data = said.lines().filter_map(|line| line.strip_prefix("data: "));
        data.filter_map(|text| serde_json::from_str(text).ok()).collect()
    };
    wait_for("what is told", SOON, || {
        let all = read();
        (all.len() >= n).then_some(all)
    })
}

fn edges<'a>(told: &'a [Value], rule: &str) -> Vec<(&'a str, &'a str)> {
    let of = told.iter().filter(|t| t["rule"] == rule);
    of.map(|t| {
        (
            t["series"]["device"].as_str().unwrap(),
            t["edge"].as_str().unwrap(),
        )
    })
    .collect()
}

fn is_paged(server: &Server, alert: &Value) -> bool {
    let story = server.get(&format!("/api/v1/alerts/{}", alert["id"].as_str().unwrap()));
    let mut told = story["history"].as_array().unwrap().iter();
    told.any(|told| told["edge"] == "paged")
}

fn count(told: &[Value], edge: &str) -> usize {
    told.iter().filter(|t| t["edge"] == edge).count()
}

fn last_seq(told: &[Value]) -> u64 {
    told.iter().map(|t| t["seq"].as_u64().unwrap()).max().unwrap()
}

fn onemap(dir: &Path, arguments: &[&str]) -> Value {
    let mut command = Command::new(binary("onemap"));
    command.arg("--json").arg("--data-dir").arg(dir).args(arguments);
    let output = command.output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Each device with what its history has: time and value.
fn history(server: &Server, device: &str, quantity: &str, since: i64) -> BTreeMap<i64, f64> {
    let series = server.get(&format!("/api/v1/series?device={device}&quantity={quantity}"));
    let id = series["items"][0]["id"].as_u64().unwrap();
    let (mut all, mut n, mut after) = (BTreeMap::new(), 0, String::new());
    loop {
        let page = server.get(&format!(
            "/api/v1/series/{id}/values?revisions=true&limit=1000&from={since}{after}"
        ));
        for row in items(&page) {
            let at = Timestamp::parse(row["t"].as_str().unwrap()).unwrap();
            all.insert(at.ms(), row["v"].as_f64().unwrap());
            n += 1;
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(n, all.len(), "{device}: a time stands twice");
    all
}

struct City {
    gateway: String,
    /// Of the child that has a spool.
    spooled: String,
    lone: String,
}

fn people(server: &Server) -> City {
    let gateway = server.add_device(
        "gw",
        &json!({"is_gateway": true, "cadence_s": 600, "kind": "gateway", "division": "630104", "name": "北川网关"}),
    );
    let mut spooled = String::new();
    for child in 0..N_CHILDREN {
        let position = json!({"lon": 101.7 + child as f64 / 100.0, "lat": 36.6});
        spooled = server.add_device(
            &format!("child-{child}"),
            &json!({"gateway": "gw", "cadence_s": 600, "division": "630104", "position": position}),
        );
    }
    server.add_device(
        STATION,
        &json!({"profile": "sl651-station", "kind": "river_gauge", "gateway": "gw", "cadence_s": 600, "division": "630104"}),
    );
    server.post(
        &format!("/api/v1/devices/{STATION}/token"),
        &json!({"password": "03E8"}),
    );
    let position = json!({"lon": 101.2, "lat": 36.9});
    let lone = json!({"kind": "site_monitor", "cadence_s": 3600, "division": "630102", "position": position});
    let lone = server.add_device("lone", &lone);
    let desk = json!({"name": "城北区", "division": "630104", "severity": "major",
        "steps": [{"after_min": 0, "post": "值班员"}], "standby": {"值班员": ["王队"]}});
    let (status, said) = server.request("PUT", "/api/v1/duty/north", Some(&desk.to_string()));
    assert_eq!(status, 200, "{said}");
    City {
        gateway,
        spooled,
        lone,
    }
}

fn own(server: &Server, token: &str, at: i64, quantity: &str, value: f64) {
    let said = json!({"ts": at, "values": {quantity: value}}).to_string();
    telemetry(server, token, "v1/devices/me/telemetry", &said);
}

#[test]
fn three_days_in_the_dark_are_one_card_and_what_is_over_by_then_wakes_nobody() {
    if peer("mosquitto_pub").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let Some(mut clock) = Clock::new(dir) else { return };
    std::fs::create_dir(dir.join("rules")).unwrap();
    std::fs::write(dir.join("rules/all.yaml"), RULES).unwrap();
    let config = format!("{CONFIG}[sl651]\nlisten = \"127.0.0.1:0\"\nframe_seconds = 1\n");
    std::fs::write(dir.join("onemap.toml"), config).unwrap();
    let server = clock.start(dir);
    let City {
        gateway,
        spooled: own_token,
        lone,
    } = people(&server);
    let everybody: Vec<usize> = (0..N_CHILDREN).collect();

    // An hour in which all speak; then the gateway is dark.
    let dark_from = (clock.now() / STEP + 8) * STEP;
    for step in -6..=0 {
        clock.set(dark_from + step * STEP + 2_000);
        own(&server, &lone, dark_from + step * STEP, "pm10", 40.0);
        own(&server, &gateway, dark_from + step * STEP, "battery", 90.0);
        hands_on(&server, &gateway, dark_from, &everybody, &[step]);
        if step >= 0 {
            reports(&server, &clock, dark_from, &[step]);
        }
        server.caught_up();
    }
    let open = |server: &Server| items(&server.get("/api/v1/alerts?state=open&limit=500"));
    let before = wait_for("what exceeded before, and its page", SOON, || {
        let [before] = &open(&server)[..] else {
            return None;
        };
        is_paged(&server, before).then(|| before.clone())
    });
    assert_eq!(before["series"]["device"], format!("child-{BEFORE}"));

    // Fifty minutes, in hops that a server is not deaf for.
    let mut at = clock.now();
    while at < dark_from + 51 * MINUTE {
        at += HOP;
        clock.set(at);
        let heard = json!([{"q": "pm10", "t": at, "v": 40}]);
        server.post("/api/v1/readings", &json!({"device": "lone", "readings": heard}));
    }
    // It is told once that it is dark, and the one urgent alarm of another matter stands above it.
    for hours in 1..=72 {
        let at = dark_from + hours * 6 * STEP;
        clock.set(at + 2_000);
        let dusty = hours == 3;
        own(&server, &lone, at, "pm10", if dusty { 400.0 } else { 40.0 });
        if dusty {
            clock.set(at + STEP);
            own(&server, &lone, at + STEP, "pm10", 410.0);
            server.caught_up();
            let cards = server.get("/api/v1/alerts/cards");
            assert_eq!(
                (&cards["total"], &cards["alerts"]),
                (&json!(2), &json!(N_CHILDREN + 4)),
                "{cards:#}"
            );
            let [urgent, dark] = &items(&cards)[..] else {
                panic!("{cards:#}")
            };
            assert_eq!(urgent["members"][0]["device"], "lone", "{urgent:#}");
            assert_eq!(
                (&dark["kind"], &dark["gateway"]),
                (&json!("gateway"), &json!("gw")),
                "{dark:#}"
            );
        }
        server.caught_up();
        if hours % 12 == 0 {
            // What the lone one had is over; of the gateway's nothing is.
            let cards = server.get("/api/v1/alerts/cards");
            assert_eq!(
                (&cards["total"], &cards["alerts"]),
                (&json!(1), &json!(N_CHILDREN + 3)),
                "after {hours} h: {cards:#}"
            );
        }
    }
    let told = told_after(&server, 0);
    let dark_edges = edges(&told, "device-silent");
    assert_eq!(dark_edges.len(), N_CHILDREN + 2);
    assert!(dark_edges.iter().all(|(_, edge)| *edge == "raised"));
    let of_rule = |told: &[Value], rule: &str, device: &str| -> Vec<String> {
        let all = edges(told, rule).into_iter();
        all.filter(|(of, _)| *of == device)
            .map(|(_, edge)| edge.to_owned())
            .collect()
    };
    let dust = |told: &[Value], device: &str| of_rule(told, "pm10-dust", device);
    assert_eq!(
        dust(&told, &format!("child-{BEFORE}")),
        ["raised", "paged", "lost"],
        "not known is not over"
    );
    assert_eq!(of_rule(&told, "urgent", "lone"), ["raised", "cleared"]);
    for device in ["child-0", "child-3", STATION] {
        let shown = server.get(&format!("/api/v1/devices/{device}"));
        assert_eq!(
            (&shown["status"], &shown["stale"]),
            (&json!("unknown"), &json!(true)),
            "{shown}"
        );
    }
    let quiet_at = last_seq(&told);

    // It is back with what is measured now, and hands on the three days: bursts of a few hours, the newest and the oldest
    // mixed, every fifth twice.
    let back_at = dark_from + N_DARK * STEP;
    clock.set(back_at + 5_000);
    own(&server, &gateway, back_at, "battery", 88.0);
    let others = &everybody[..SPOOLED];
    hands_on(&server, &gateway, dark_from, others, &[N_DARK]);
    reports(&server, &clock, dark_from, &[N_DARK]);
    for first in (1..=N_DARK).step_by(36) {
        let steps: Vec<i64> = (first..first + 36).collect();
        spools(&server, &own_token, dark_from, &steps);
    }
    let mut bursts: Vec<(Vec<usize>, Vec<i64>)> = Vec::new();
    for part in others.chunks(11) {
        for first in (1..N_DARK).step_by(36) {
            let steps = (first..(first + 36).min(N_DARK)).rev().collect();
            bursts.push((part.to_vec(), steps));
        }
    }
    let n = bursts.len();
    let mut server = server;
    for i in 0..n {
        // 17 has no part in the number of bursts: each comes once.
        let (children, steps) = &bursts[(i * 17 + 5) % n];
        hands_on(&server, &gateway, dark_from, children, steps);
        if i % 5 == 0 {
            hands_on(&server, &gateway, dark_from, children, steps);
        }
        if i == n / 3 || i == n * 2 / 3 {
            server.process.kill();
            server = clock.start(dir);
        }
    }
    let mut steps: Vec<i64> = (1..N_DARK).collect();
    steps.sort_by_key(|step| (step * 37) % 101);
    reports(&server, &clock, dark_from, &steps[..N_DARK as usize / 2]);
    reports(&server, &clock, dark_from, &steps[N_DARK as usize / 3..]);
    server.caught_up();

    // Live goes on for half an hour.
    for step in N_DARK + 1..=N_DARK + 3 {
        clock.set(dark_from + step * STEP + 2_000);
        own(&server, &lone, dark_from + step * STEP, "pm10", 40.0);
        own(&server, &gateway, dark_from + step * STEP, "battery", 88.0);
        hands_on(&server, &gateway, dark_from, &everybody, &[step]);
        reports(&server, &clock, dark_from, &[step]);
        server.caught_up();
    }
    wait_for("the end of the silences, and the page", SOON, || {
        let [still] = &open(&server)[..] else {
            return None;
        };
        is_paged(&server, still).then_some(())
    });
    let told = told_after(&server, quiet_at);
    let of = |child: usize| dust(&told, &format!("child-{child}"));
    assert_eq!(of(OLD), ["past"], "long over");
    assert_eq!(of(RECENT), ["past"], "over since this morning");
    assert_eq!(of(SPOOLED), ["past"], "over since this morning, oldest first");
    assert_eq!(of(STILL), ["raised", "paged"], "as of now, once");
    assert_eq!(of(BEFORE), ["cleared"], "by what is measured now");
    assert_eq!(
        edges(&told, "stage"),
        [(STATION, "past")],
        "the water is back for a day"
    );
    assert_eq!(
        edges(&told, "device-silent").len(),
        N_CHILDREN + 2,
        "each silence ends once"
    );
    assert_eq!(count(&told, "cleared"), N_CHILDREN + 3);
    assert_eq!(told.len(), N_CHILDREN + 5 + 4, "{told:#?}");
    // What was over is told as history: from when to when, how bad, with the frames that show it; and nobody is called.
    let listed = items(&server.get("/api/v1/alerts?state=past"));
    assert_eq!(listed.len(), 4, "{listed:#?}");
    let time = |text: &Value| Timestamp::parse(text.as_str().unwrap()).unwrap().ms();
    let peak =
        |child: usize, steps: std::ops::Range<i64>| steps.map(|step| pm10(child, step)).fold(0.0, f64::max);
    for (device, from, back, worst) in [
        (format!("child-{OLD}"), 180, 200, peak(OLD, 180..200)),
        (format!("child-{RECENT}"), 372, 384, peak(RECENT, 372..384)),
        (format!("child-{SPOOLED}"), 372, 384, peak(SPOOLED, 372..384)),
        (STATION.to_owned(), 200, 230, level(229) as f64 / 1000.0),
    ] {
        let alert = listed
            .iter()
            .find(|alert| alert["series"]["device"] == *device)
            .unwrap();
        let (began, over) = (dark_from + from * STEP, dark_from + back * STEP);
        assert_eq!(time(&alert["past"]["from"]), began, "{alert:#}");
        assert_eq!(time(&alert["past"]["until"]), over, "{alert:#}");
        assert_eq!(alert["past"]["peak"], json!(worst), "{alert:#}");
        assert_eq!(alert["state"], "cleared");
        assert_eq!(
            (time(&alert["raised_at"]), time(&alert["ended_at"])),
            (began, over)
        );
        assert!(!is_paged(&server, alert));
        for input in alert["inputs"].as_array().unwrap() {
            assert_ne!(input["position"], 0, "the frame behind it: {alert:#}");
        }
        let explained = server.get(&format!(
            "/api/v1/alerts/{}/explain",
            alert["id"].as_str().unwrap()
        ));
        assert_eq!(explained["alert"], alert["id"], "{explained:#}");
    }
    let load = server.get("/api/v1/alerts/load");
    assert!(
        load["n_raised"].as_u64().unwrap() <= N_CHILDREN as u64 + 6,
        "{load:#}"
    );
    let raised = told.iter().find(|t| t["edge"] == "raised").unwrap();
    let raised_at = Timestamp::parse(raised["at"].as_str().unwrap()).unwrap().ms();
    assert!(raised_at >= back_at, "{raised}");
    let cards = server.get("/api/v1/alerts/cards");
    assert_eq!(
        (&cards["total"], &cards["alerts"]),
        (&json!(1), &json!(1)),
        "{cards:#}"
    );

    // Every reading stands in the history once, and the ledger misses none.
    for child in everybody.iter().copied() {
        let all = history(&server, &format!("child-{child}"), "pm10", dark_from - DAY);
        let expected: BTreeMap<i64, f64> = (-6..=N_DARK + 3)
            .map(|step| (dark_from + step * STEP, pm10(child, step)))
            .collect();
        assert_eq!(all.len(), expected.len(), "child-{child}");
        assert_eq!(all, expected, "child-{child}");
    }
    let water = history(&server, STATION, "water_level", dark_from - DAY);
    let expected: BTreeMap<i64, f64> = (0..=N_DARK + 3)
        .map(|step| (dark_from + step * STEP, level(step) as f64 / 1000.0))
        .collect();
    assert_eq!(water, expected);
    let day_of = |at: i64| (at + 8 * 3_600_000).div_euclid(DAY);
    for day in day_of(dark_from) + 1..day_of(back_at) {
        let date = Timestamp::from_ms(day * DAY).to_string()[..10].to_owned();
        for device in ["child-0", "child-17", STATION] {
            let ledger = server.get(&format!("/api/v1/ledger?device={device}&day={date}"));
            let row = &ledger["items"][0];
            assert_eq!(
                (&row["expected"], &row["received"], &row["lost"]),
                (&json!(144), &json!(144), &json!(0)),
                "{device} {date}: {row}"
            );
        }
    }
    // The same journal again, by the same engine, with lateness as it happened: the same transitions by id.
    server.caught_up();
    server.stop();
    let from = Timestamp::from_ms(dark_from - DAY).to_string();
    let again = onemap(dir, &["rules", "replay", "--from", &from]);
    assert_eq!(again["equal"], json!(true), "{again}");
    assert_eq!(
        (
            &again["transitions"]["only_before"],
            &again["transitions"]["only_after"]
        ),
        (&json!(0), &json!(0))
    );
}

const APART: &str = "
version: 1
rules:
  - id: dust
    name: {zh: 扬尘, en: Dust}
    severity: major
    when: {above: {quantity: pm10, raise: 250 ug/m3, clear: 200 ug/m3}}
    advice: {zh: 派人查看, en: Send someone}
  - id: apart
    name: {zh: 偏离邻站, en: Apart}
    severity: minor
    when: {neighbours: {within: 10 km, at_least: 1, differs: {quantity: pm10, by: 200 ug/m3, clear: 100 ug/m3}}}
    advice: {zh: 检查仪器, en: Check the instrument}
";

#[test]
fn what_comes_late_is_history_of_its_own_device_and_an_import_is_of_none() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let Some(mut clock) = Clock::new(dir) else { return };
    std::fs::create_dir(dir.join("rules")).unwrap();
    std::fs::write(dir.join("rules/all.yaml"), APART).unwrap();
    std::fs::write(dir.join("onemap.toml"), CONFIG).unwrap();
    let server = clock.start(dir);
    for (device, lon) in [("own", 101.70), ("other", 101.71)] {
        let position = json!({"lon": lon, "lat": 36.6});
        server.add_device(
            device,
            &json!({"cadence_s": 60, "division": "630104", "position": position}),
        );
    }
    let start = clock.now();
    let said = |device: &str, from: i64, late: bool, values: &[f64]| {
        let of = values.iter().enumerate();
        let of = of.map(|(i, v)| json!({"q": "pm10", "t": from + i as i64 * MINUTE, "v": v, "r": late}));
        json!({"device": device, "readings": of.collect::<Vec<Value>>()})
    };
    for device in ["own", "other"] {
        server.post("/api/v1/readings", &said(device, start, false, &[80.0]));
    }
    let five_hours_ago = start - 300 * MINUTE;
    let bad = [80.0, 400.0, 500.0, 400.0, 80.0, 80.0];
    server.post(
        "/api/v1/readings/import",
        &said("other", five_hours_ago, false, &bad),
    );
    server.post("/api/v1/readings", &said("own", five_hours_ago, true, &[80.0; 6]));
    let mut settle = |server: &Server, minutes: i64| {
        clock.set(start + minutes * MINUTE);
        server.post("/api/v1/readings", &said("own", clock.now(), false, &[81.0]));
        server.caught_up();
    };
    settle(&server, 3);
    let past = |server: &Server| items(&server.get("/api/v1/alerts?state=past"));
    // What late values show is of their own device: it stands apart from the one that was imported, which is of none.
    let found = wait_for("that its own time is looked at", SOON, || {
        let found = past(&server);
        (!found.is_empty()).then_some(found)
    });
    assert!(
        found.iter().all(|alert| alert["series"]["device"] == "own"),
        "{found:#?}"
    );
    assert!(found.iter().all(|alert| alert["rule"] == "apart"), "{found:#?}");

    // Its own exceedance, whose first half comes later.
    server.post(
        "/api/v1/readings",
        &said("own", start - 200 * MINUTE, true, &[300.0, 310.0, 80.0]),
    );
    settle(&server, 6);
    let dust = |server: &Server| past(server).into_iter().find(|alert| alert["rule"] == "dust");
    let first = wait_for("what was wrong", SOON, || dust(&server));
    let told = first["inputs"][0]["position"].clone();
    assert_ne!(told, 0, "{first:#}");
    server.post(
        "/api/v1/readings",
        &said("own", start - 203 * MINUTE, true, &[80.0, 290.0, 295.0]),
    );
    settle(&server, 9);
    let wider = wait_for("that it was longer", SOON, || {
        dust(&server).filter(|alert| alert["past"]["from"] != first["past"]["from"])
    });
    assert_eq!(
        (&wider["id"], &wider["past"]["peak"]),
        (&first["id"], &json!(310.0))
    );
    assert_eq!(wider["past"]["until"], first["past"]["until"]);
    let inputs = wider["inputs"].as_array().unwrap();
    assert!(inputs.iter().all(|input| input["position"] != 0), "{wider:#}");
    let path = format!("/api/v1/alerts/{}/warning", wider["id"].as_str().unwrap());
    let (status, answer) = server.request("POST", &path, Some(&json!({"name": "李"}).to_string()));
    assert_eq!((status, &answer["code"]), (409, &json!("alert_past")), "{answer}");
    let story = server.get(&format!("/api/v1/alerts/{}", wider["id"].as_str().unwrap()));
    assert_eq!(story["history"].as_array().unwrap().len(), 2, "{story:#}");
}
