//! The simulated stations of onemap-sim against a real server: by TCP and datagrams, in the modes, with what they miss.

use std::process::Command;

use onemap_model::Timestamp;
use serde_json::{Value, json};

use super::station::{LIMIT, STATION, is, order, register, server};
use crate::framed::{address, now, reasons};
use crate::server::{Process, Server, binary, wait_for};

fn simulate(server: &Server, more: &[&str]) -> Process {
    let mut command = Command::new(binary("onemap-sim"));
    let to = address(server, "sl651");
    command
        .args([
            "stations",
            "sl651",
            "--to",
            &to,
            "--id",
            STATION,
            "--password",
            "03E8",
        ])
        .args(["--interval", "1"])
        .args(more);
    Process::start(command)
}

/// Stops it; what it says it did.
fn stop(mut process: Process) -> Value {
    let status = process.signal_and_wait("INT", LIMIT);
    assert!(status.success());
    let line = process.line(LIMIT).expect("one line of what it did");
    serde_json::from_str(&line).unwrap()
}

fn heard(server: &Server) {
    wait_for("readings of the simulated station", LIMIT, || {
        server.latest(STATION, "water_level")
    });
}

/// Waits for frames that came later and were kept. They are stamped by the minute and levels may be the same for minutes, so
/// readings do not tell.
fn goes_on(server: &Server, n_frames: u64, limit: std::time::Duration) {
    let kept = || server.metric("onemap_mqtt_publishes_total").unwrap();
    let before = kept();
    wait_for("later reports", limit, || {
        (kept() >= before + n_frames).then_some(())
    });
}

#[test]
fn datagrams_in_packets_of_mode_m3_and_every_command() {
    let (_folder, server) = crate::framed::server("sl651", "udp = true\n");
    let profile = "version: 1\nname: {zh: 站, en: River}\nprotocol: sl651\nsl651: {mode: m3}\n";
    let (status, problem) = server.request("PUT", "/api/v1/profiles/river", Some(profile));
    assert!((200..300).contains(&status), "{problem}");
    register(&server, "river");
    takes_every_command(&server, &["--udp", "--mode", "m3", "--packet-bytes", "16"]);
}

#[test]
fn a_station_that_writes_text_takes_every_command() {
    let (_folder, server) = server("");
    takes_every_command(&server, &["--encoding", "ascii", "--packet-bytes", "64"]);
}

/// A simulated station with these arguments executes each command there is, and goes on with its new password.
fn takes_every_command(server: &Server, more: &[&str]) {
    let simulated = simulate(server, more);
    heard(server);
    let hour = now().ms() - now().ms() % 3_600_000;
    let hour = Timestamp::from_ms(hour - 3_600_000);
    let period = |element: &str| json!({"element": element, "from": hour, "to": hour});
    let set = json!({"items": {"report_interval_h": 6, "level_base_1_m": 10.5}});
    for (method, params) in [
        ("take_picture", json!({})),
        ("read_present", json!({})),
        ("history", period("39")),
        ("history", period("F4")),
        ("history", period("F5")),
        ("read_manual", json!({})),
        ("read_elements", json!({"elements": ["39", "38"]})),
        ("set_basic", json!({"items": {"centre_addresses": [1, 0, 0, 0]}})),
        ("read_basic", json!({"items": ["centre_addresses"]})),
        ("set_run", set),
        (
            "read_run",
            json!({"items": ["report_interval_h", "level_base_1_m"]}),
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
        let id = order(server, method, &params, &json!({}));
        let done = is(server, id, "executed");
        if method == "read_run" {
            assert_eq!(done["result"]["items"][2]["meaning"], "10.500", "{done}");
        }
    }
    // It goes on with its new password, and has said nothing that was not understood.
    goes_on(server, 20, LIMIT);
    let did = stop(simulated);
    assert_eq!(
        (&did["requests_refused"], &did["bad_frames_of_the_centre"]),
        (&json!(0), &json!(0)),
        "{did}"
    );
    assert!(
        did["requests"].as_u64().unwrap() >= 25 && did["answered"].as_u64().unwrap() >= 2,
        "{did}"
    );
    let refused = server.get("/api/v1/quarantine?limit=100")["items"].clone();
    assert_eq!(reasons(server), [""; 0], "{refused:#}");
}

#[test]
fn a_partial_history_is_said_hour_by_hour() {
    let (_folder, server) = server("resend_hours = 0\n");
    let simulated = simulate(&server, &["--faults", "holes=0.5", "--seed", "3"]);
    heard(&server);
    let hour = now().ms() - now().ms() % 3_600_000;
    let ids: Vec<u64> = (1..=16)
        .map(|back| {
            let at = Timestamp::from_ms(hour - back * 3_600_000);
            order(
                &server,
                "history",
                &json!({"element": "39", "from": at, "to": at}),
                &json!({}),
            )
        })
        .collect();
    let states: Vec<String> = ids
        .iter()
        .map(|id| {
            let ended = wait_for("an answer", LIMIT, || {
                let command = super::station::command(&server, *id);
                (command["final"] == true).then_some(command)
            });
            let (n_values, n_missing) = match ended["state"] == "executed" {
                true => (&ended["result"]["n_values"], &ended["result"]["n_missing"]),
                false => (&ended["error"]["n_missing"], &ended["error"]["n_values"]),
            };
            assert_eq!((n_values, n_missing), (&json!(1), &json!(0)), "{ended}");
            ended["state"].as_str().unwrap().to_owned()
        })
        .collect();
    for state in ["executed", "failed"] {
        assert!(states.iter().any(|s| s == state), "{states:?}");
    }
    stop(simulated);
    // A line that loses and repeats frames: reports come all the same.
    let faults = "crc=0.1,cut=0.1,repeat=0.1,deaf=0.1";
    let simulated = simulate(&server, &["--faults", faults]);
    goes_on(&server, 3, LIMIT * 3);
    stop(simulated);
}
