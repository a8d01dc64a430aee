//! Fire transmission devices (GB/T 26875.3) against a real server: acknowledged when durable, each component by itself.

use onemap_wire::gbt26875::reply::{Line, acknowledge, refuse, respond};
use onemap_wire::gbt26875::{
    Address, Application, Clock, Component, Frame, METHODS, Object, System, Text, Time,
};
use serde_json::{Value, json};

use crate::framed::{Client, LIMIT, address, now, reasons, server};
use crate::server::{CONFIG, Process, Server, binary, wait_for};

/// 889.
const DEVICE: &str = "790300000000";
const SMOKE: Component = Component {
    system: System { kind: 1, address: 1 },
    kind: 40,
    address: [0x0A, 0, 2, 0],
};

fn line(clock: Clock) -> Line {
    Line {
        source: DEVICE.parse().unwrap(),
        destination: Address([0x38, 0x5B, 1, 0, 0, 0]),
        version: [1, 1],
        clock,
    }
}

fn state(sequence: u16, state: u16, clock: Clock) -> Frame {
    let object = Object::ComponentState {
        component: SMOKE,
        state,
        text: Text::padded("一层大厅").unwrap(),
        time: Time::of(now(), clock),
    };
    line(clock).send(sequence, now(), 2, vec![object]).unwrap()
}

fn connect(server: &Server) -> Client<Frame> {
    Client::connect(server, "gbt26875")
}

#[test]
fn a_fire_is_durable_before_it_is_acknowledged_and_is_its_component_s() {
    let (_folder, server) = server("gbt26875", "");
    let more = json!({"profile": "gbt26875-device", "is_gateway": true, "adopts": true});
    server.add_device(DEVICE, &more);
    let mut device = connect(&server);
    // Binary and BCD times, both answered in their own writing.
    for (sequence, bits, clock, alarm) in [(7, 2, Clock::Binary, 1.0), (8, 0, Clock::Bcd, 0.0)] {
        let frame = state(sequence, bits, clock);
        device.send(&frame.encode().unwrap());
        let answer = device.next();
        assert_eq!(
            (answer.sequence, answer.command, answer.data.len()),
            (sequence, 3, 0)
        );
        assert_eq!(
            (answer.source, answer.destination),
            (frame.destination, frame.source)
        );
        let off = answer.time.moment(clock, None).unwrap().ms() - now().ms();
        assert!(off.abs() < 60_000, "{off}");
        server.caught_up();
        let id = format!("{DEVICE}:1.1:0a000200");
        let latest = server.latest(&id, "fire_alarm").unwrap();
        assert_eq!(latest["value"], alarm, "{latest}");
    }
    // What was acknowledged survives a kill, the adopted component too.
    let dir = server.dir.clone();
    let mut server = server;
    server.process.kill();
    let server = Server::start_in(&dir);
    server.caught_up();
    assert!(
        server
            .latest(&format!("{DEVICE}:1.1:0a000200"), "fire_alarm")
            .is_some()
    );
    assert_eq!(reasons(&server), [""; 0]);
}

#[test]
fn a_fire_of_any_part_is_a_critical_alert_by_the_rules_that_are_shipped() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("rules")).unwrap();
    let rules = include_str!("../../config/rules/fire.yaml");
    std::fs::write(folder.path().join("rules/fire.yaml"), rules).unwrap();
    let config = format!("{CONFIG}[gbt26875]\nlisten = \"127.0.0.1:0\"\nframe_seconds = 1\n");
    std::fs::write(folder.path().join("onemap.toml"), config).unwrap();
    let server = Server::start_in(folder.path());
    let more = json!({"profile": "gbt26875-device", "is_gateway": true, "adopts": true});
    server.add_device(DEVICE, &more);
    let mut device = connect(&server);
    let time = Time::of(now(), Clock::Binary);
    let system = System { kind: 1, address: 2 };
    let component = |kind, address| Component {
        system: SMOKE.system,
        kind,
        address,
    };
    let says = |kind, address, state, time| Object::ComponentState {
        component: component(kind, address),
        state,
        text: Text::padded("").unwrap(),
        time,
    };
    let burns = |kind, address| says(kind, address, 2, time);
    let ahead = Time::of(now() + std::time::Duration::from_secs(600), Clock::Binary);
    let lost = Time([0, 0, 0, 1, 1, 0]);
    let none = Time([61, 61, 25, 32, 13, 26]);
    let said = [
        (2, burns(0x28, [0x99, 0, 2, 0])),
        (2, burns(23, [0x98, 0, 2, 0])),
        (2, burns(0, [0x97, 0, 2, 0])),
        // Normal and on fire within one second; and clocks that are ahead, lost their time, or say what is none.
        (2, says(0, [0x96, 0, 2, 0], 1, time)),
        (2, burns(0, [0x96, 0, 2, 0])),
        (2, says(0, [0x95, 0, 2, 0], 2, ahead)),
        (2, says(0, [0x94, 0, 2, 0], 2, lost)),
        (2, says(0, [0x93, 0, 2, 0], 2, none)),
        (
            1,
            Object::SystemState {
                system,
                state: 2,
                time,
            },
        ),
        (
            24,
            Object::DeviceOperation {
                flag: 1 << 2,
                operator: 1,
                time,
            },
        ),
        (25, Object::DeviceVersion { main: 1, user: 0 }),
    ];
    for (sequence, (kind, object)) in (1..).zip(said) {
        let frame = line(Clock::Binary).send(sequence, now(), kind, vec![object]);
        device.send(&frame.unwrap().encode().unwrap());
        assert_eq!(device.next().command, 3);
    }
    server.caught_up();
    let alerts = server.get("/api/v1/alerts?limit=100");
    let mut told: Vec<_> = alerts["items"].as_array().unwrap().iter().collect();
    told.sort_by_key(|alert| alert["series"]["device"].as_str().unwrap().to_owned());
    let told: Vec<_> = told
        .iter()
        .map(|alert| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let device = text(&alert["series"]["device"]);
            let kind = text(&server.get(&format!("/api/v1/devices/{device}"))["kind"]);
            (device, kind, text(&alert["rule"]), text(&alert["severity"]))
        })
        .collect();
    let expected = [
        ("", "air_station", "manual-alarm"),
        (":1.1:93000200", "device", "fire-alarm"),
        (":1.1:94000200", "device", "fire-alarm"),
        (":1.1:95000200", "device", "fire-alarm"),
        (":1.1:96000200", "device", "fire-alarm"),
        (":1.1:97000200", "device", "fire-alarm"),
        (":1.1:98000200", "call_point", "fire-alarm"),
        (":1.1:99000200", "smoke_detector", "fire-alarm"),
        (":1.2", "fire_system", "fire-alarm"),
    ];
    let expected = expected.map(|(part, kind, rule)| {
        (
            format!("{DEVICE}{part}"),
            kind.to_owned(),
            rule.to_owned(),
            "critical".to_owned(),
        )
    });
    assert_eq!(told, expected, "{alerts}");
    // What gives no reading is counted by name.
    let unread = server.metric("onemap_unread_total{protocol=\"gbt26875\",what=\"device_version\"}");
    assert_eq!(unread, Some(1));
}

#[test]
fn what_reports_changes_only_is_silent_by_the_limit_of_its_profile() {
    let (_folder, server) = server("gbt26875", "");
    let limit = |id: &str| server.get(&format!("/api/v1/devices/{id}"))["silence_limit_s"].clone();
    let child = format!("{DEVICE}:1.1:0a000200");
    let more = json!({"profile": "gbt26875-device", "is_gateway": true, "adopts": true});
    server.add_device(DEVICE, &more);
    let mut device = connect(&server);
    device.send(&state(1, 1, Clock::Binary).encode().unwrap());
    assert_eq!(device.next().command, 3);
    server.caught_up();
    assert_eq!((limit(DEVICE), limit(&child)), (json!(86_400), json!(86_400)));
    // Another limit holds for both from then on: they are silent, and nothing of them is normal.
    let profile = "version: 1\nname: {zh: 传输装置, en: Device}\nprotocol: gbt26875\nsilent_after: 2s\n";
    let (status, answer) = server.request("PUT", "/api/v1/profiles/gbt26875-device", Some(profile));
    assert_eq!(status, 200, "{answer}");
    wait_for("silence", LIMIT, || {
        let child = server.get(&format!("/api/v1/devices/{child}"));
        let own = server.get(&format!("/api/v1/devices/{DEVICE}"));
        let is_lost = child["status"] == "unknown" && child["lifecycle"] == "silent";
        (is_lost && child["silence_limit_s"] == 2 && own["silence_limit_s"] == 2).then_some(())
    });
    // And over a restart.
    let dir = server.dir.clone();
    let mut server = server;
    server.process.kill();
    let server = Server::start_in(&dir);
    let child = server.get(&format!("/api/v1/devices/{child}"));
    assert_eq!(
        (&child["silence_limit_s"], &child["status"]),
        (&json!(2), &json!("unknown"))
    );
}

#[test]
fn addresses_are_found_in_either_case() {
    let (_folder, server) = server("gbt26875", "");
    let more = json!({"profile": "gbt26875-device", "is_gateway": true});
    server.add_device("8A0300000000", &more);
    let child = "8A0300000000:1.1:0A000200";
    server.add_device(child, &json!({"gateway": "8A0300000000"}));
    let mut device = connect(&server);
    let mut frame = state(1, 2, Clock::Binary);
    frame.source = "8a0300000000".parse().unwrap();
    device.send(&frame.encode().unwrap());
    assert_eq!(device.next().command, 3);
    server.caught_up();
    assert_eq!(server.latest(child, "fire_alarm").unwrap()["value"], 1.0);
    assert_eq!(reasons(&server), [""; 0]);
}

#[test]
fn what_is_wrong_is_refused_by_name() {
    let (_folder, server) = server("gbt26875", "");
    // Of another protocol first: it does not come in.
    server.add_device(DEVICE, &json!({}));
    let mut device = connect(&server);
    device.send(&state(1, 2, Clock::Binary).encode().unwrap());
    wait_for("the refusal", LIMIT, || {
        (reasons(&server) == ["unknown_device"]).then_some(())
    });
    let path = format!("/api/v1/devices/{DEVICE}");
    let patch = json!({"profile": "gbt26875-device"}).to_string();
    assert_eq!(server.request("PATCH", &path, Some(&patch)).0, 200);
    // No gateway: its components are not taken in its name.
    device.send(&state(2, 2, Clock::Binary).encode().unwrap());
    assert_eq!(device.next().command, 3);
    // A wrong checksum and data that do not agree with their count are refused by command 6.
    let mut wrong = state(3, 2, Clock::Binary).encode().unwrap();
    let n = wrong.len();
    wrong[n - 3] ^= 1;
    device.send(&wrong);
    let answer = device.next();
    assert_eq!((answer.sequence, answer.command), (3, 6));
    // In the name of nobody that is known it gets nothing, also on this connection.
    wrong[12] ^= 0x40;
    device.send(&wrong);
    let mut frame = state(4, 2, Clock::Binary);
    frame.data[1] = 9;
    device.send(&frame.encode().unwrap());
    let answer = device.next();
    assert_eq!((answer.sequence, answer.command), (4, 6));
    // A frame that has begun and does not end.
    device.send(&state(5, 2, Clock::Binary).encode().unwrap()[..20]);
    wait_for("the cut frame", LIMIT, || {
        reasons(&server)
            .contains(&"broken_frame".to_owned())
            .then_some(())
    });
    let expected = [
        "broken_frame",
        "crc_mismatch",
        "crc_mismatch",
        "not_a_gateway",
        "unknown_device",
        "wrong_shape",
    ];
    assert_eq!(reasons(&server), expected);
    device.send(&state(6, 2, Clock::Binary).encode().unwrap());
    assert_eq!(device.next().sequence, 6);
}

fn order(server: &Server, method: &str, params: &Value, more: &Value) -> u64 {
    let mut body = json!({"device": DEVICE, "method": method, "params": params});
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    server.post("/api/v1/commands", &body)["id"].as_u64().unwrap()
}

fn is(server: &Server, id: u64, state: &str) -> Value {
    wait_for(&format!("command {id} to be {state}"), LIMIT, || {
        let command = server.get(&format!("/api/v1/commands/{id}"));
        (command["state"] == state).then_some(command)
    })
}

fn facts(command: &Value) -> Vec<&str> {
    let facts = command["facts"].as_array().unwrap();
    facts.iter().map(|f| f["fact"].as_str().unwrap()).collect()
}

/// A server that asks again after a second, once.
fn asking() -> (tempfile::TempDir, Server) {
    let (folder, server) = server("gbt26875", "answer_seconds = 1\nrepeats = 1\n");
    let more = json!({"profile": "gbt26875-device", "is_gateway": true, "adopts": true});
    server.add_device(DEVICE, &more);
    (folder, server)
}

fn shown(server: &Server, sequence: u16) -> Client<Frame> {
    let mut device = connect(server);
    device.send(&state(sequence, 1, Clock::Binary).encode().unwrap());
    assert_eq!(device.next().command, 3);
    device
}

#[test]
fn requests_go_down_and_what_the_device_says_are_their_facts() {
    let (_folder, server) = asking();
    // Ordered before it is there: it waits.
    let params = json!({"system_type": 1, "system_address": 1});
    let read = order(&server, "read_system_state", &params, &json!({}));
    let mut device = shown(&server, 1);
    let asked = device.next();
    let question = asked.read().unwrap().unwrap();
    assert_eq!((asked.command, question.kind), (4, 61));
    assert_eq!(
        (asked.source, asked.destination, asked.version),
        (line(Clock::Binary).destination, DEVICE.parse().unwrap(), [1, 1])
    );
    // Without an answer it comes again with its sequence, and then the connection is given up; the next one gets it.
    assert_eq!(device.next().sequence, asked.sequence);
    assert!(device.within(LIMIT).is_none());
    let mut device = shown(&server, 2);
    let asked = device.next();
    let object = Object::SystemState {
        system: SMOKE.system,
        state: 0b11,
        time: Time::of(now(), Clock::Binary),
    };
    let data = Application::of(1, vec![object]);
    let answer = respond(&asked, now(), Clock::Binary, &data).unwrap();
    device.send(&answer.encode().unwrap());
    let done = is(&server, read, "executed");
    assert_eq!(
        done["result"]["data"]["objects"][0]["system_address"], 1,
        "{done}"
    );
    // What it measures is a reading besides.
    server.caught_up();
    assert_eq!(
        server.latest(&format!("{DEVICE}:1.1"), "fire_alarm").unwrap()["value"],
        1.0
    );

    // A control is done when it is acknowledged, and failed when it is refused.
    let clock = order(&server, "set_clock", &json!({}), &json!({}));
    let asked = device.next();
    assert_eq!((asked.command, asked.read().unwrap().unwrap().kind), (1, 90));
    device.send(&acknowledge(&asked, now(), Clock::Binary).encode().unwrap());
    assert_eq!(
        facts(&is(&server, clock, "executed")),
        ["created", "sent", "executed"]
    );
    let start = order(&server, "89", &json!({}), &json!({}));
    let asked = device.next();
    device.send(&refuse(&asked, now(), Clock::Binary).encode().unwrap());
    assert_eq!(is(&server, start, "failed")["error"]["text"], "refused");

    // A roll-call is received when it is acknowledged, and done when somebody has pressed the key.
    let call = order(&server, "roll_call", &json!({"minutes": 3}), &json!({}));
    let asked = device.next();
    device.send(&acknowledge(&asked, now(), Clock::Binary).encode().unwrap());
    is(&server, call, "received");
    let present = Object::DeviceOperation {
        flag: 1 << 5,
        operator: 7,
        time: Time::of(now(), Clock::Binary),
    };
    let present = line(Clock::Binary).send(9, now(), 24, vec![present]).unwrap();
    device.send(&present.encode().unwrap());
    assert_eq!(device.next().command, 3);
    let done = is(&server, call, "executed");
    assert_eq!(facts(&done), ["created", "sent", "received", "executed"]);
    assert_eq!(done["result"]["data"]["objects"][0]["operator"], 7, "{done}");

    // An answer to nothing is refused by name, and so is what is no request.
    let mut stray = answer;
    stray.sequence = 999;
    device.send(&stray.encode().unwrap());
    wait_for("the stray answer", LIMIT, || {
        (reasons(&server) == ["stray_answer"]).then_some(())
    });
    for (method, params) in [("open", json!({})), ("roll_call", json!({"minutes": 0}))] {
        let body = json!({"device": DEVICE, "method": method, "params": params}).to_string();
        let (status, problem) = server.request("POST", "/api/v1/commands", Some(&body));
        assert_eq!(
            (status, &problem["code"]),
            (400, &json!("bad_command")),
            "{problem}"
        );
    }
    // What has run out while the device was away never goes.
    drop(device);
    let late = order(&server, "read_clock", &json!({}), &json!({"ttl_s": 1}));
    is(&server, late, "expired");
    let mut device = shown(&server, 10);
    device.send(&state(11, 1, Clock::Binary).encode().unwrap());
    assert_eq!(device.next().command, 3);
    assert_eq!(server.get(&format!("/api/v1/commands/{late}"))["attempts"], 0);
}

#[test]
fn a_simulated_device_answers_every_request() {
    let (_folder, server) = asking();
    let mut simulated = std::process::Command::new(binary("onemap-sim"));
    simulated
        .args(["stations", "gbt26875", "--to", &address(&server, "gbt26875")])
        .args(["--id", DEVICE, "--interval", "1", "--seconds", "60"]);
    let _simulated = Process::start(simulated);
    let of = |names: &str| -> Value {
        let all = json!({
            "system_type": 1, "system_address": 1, "component_type": 40, "component_address": "01000200",
            "number": 1, "from": now().to_string(), "minutes": 1,
        });
        let names = names.split_whitespace();
        let params: serde_json::Map<_, _> = names.map(|name| (name.to_owned(), all[name].clone())).collect();
        params.into()
    };
    let ids: Vec<_> = METHODS
        .iter()
        .map(|method| {
            (
                order(&server, method.name, &of(method.parameters), &json!({})),
                method.code,
            )
        })
        .collect();
    for (id, kind) in ids {
        let done = is(&server, id, "executed");
        let result = &done["result"];
        let number: u64 = kind.parse().unwrap();
        match number {
            89 | 90 => assert_eq!(result["command"], 3, "{done}"),
            91 => assert_eq!(result["data"]["type"], 24, "{done}"),
            _ => assert_eq!(result["data"]["type"], number - 60, "{done}"),
        }
    }
}
