//! kill -9 under load: nothing acknowledged is missing, nothing stands twice.

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::server::{Process, Server, binary, wait_for};

/// Connections of the load.
const N_CONNS: usize = 8;
/// Kills.
const N_ROUNDS: usize = 2;

#[test]
fn a_kill_under_load_loses_no_acknowledged_reading() {
    let mut server = Server::new();
    let mut acked: Vec<(String, u64)> = Vec::new();
    for round in 0..N_ROUNDS {
        let names: Vec<String> = (0..N_CONNS).map(|i| format!("load-{round}-{i}")).collect();
        let tokens: Vec<String> = names
            .iter()
            .map(|name| server.add_device(name, &json!({})))
            .collect();
        let users = server.dir.join("users.txt");
        std::fs::write(&users, tokens.join("\n")).unwrap();
        let acklog = server.dir.join("acked.txt");
        let mut load = Command::new(binary("onemap-sim"));
        load.args([
            "load",
            "--mqtt",
            &format!("127.0.0.1:{}", server.mqtt_port),
            "--conns",
            &N_CONNS.to_string(),
        ]);
        load.args(["--qos", "1", "--count", "50000000", "--inflight", "50", "--users"]);
        load.arg(&users).arg("--acklog").arg(&acklog);
        load.args([
            "--template",
            r#"{"ts":{t},"values":{"temperature":{v},"seq":{seq}}}"#,
        ]);
        let mut load = Process::start(load);
        wait_for(
            "some thousand acknowledged messages",
            Duration::from_secs(30),
            || (server.metric("onemap_mqtt_acks_total ")? > 5_000).then_some(()),
        );
        server.process.kill();
        wait_for("the generator to see it", Duration::from_secs(30), || {
            load.child.try_wait().unwrap()
        });
        for line in std::fs::read_to_string(&acklog).unwrap().lines() {
            let Some((conn, seq)) = line.split_once(':') else {
                continue;
            };
            acked.push((
                names[conn.parse::<usize>().unwrap()].clone(),
                seq.parse().unwrap(),
            ));
        }
        server = server.kill_and_restart();
    }
    server.caught_up();
    assert!(
        acked.len() > 5_000,
        "the generator acknowledged {} messages",
        acked.len()
    );
    let mut stored: HashMap<String, HashMap<u64, u32>> = HashMap::new();
    for (device, _) in &acked {
        if stored.contains_key(device) {
            continue;
        }
        let id = server.latest(device, "seq").unwrap()["series"].as_u64().unwrap();
        let all = server.get(&format!("/api/v1/series/{id}/values?revisions=true"));
        let seqs = stored.entry(device.clone()).or_default();
        for item in all["items"].as_array().unwrap() {
            *seqs.entry(item["v"].as_f64().unwrap() as u64).or_default() += 1;
        }
    }
    let missing: Vec<_> = acked
        .iter()
        .filter(|(device, seq)| !stored[device].contains_key(seq))
        .collect();
    assert!(
        missing.is_empty(),
        "{} of {} acknowledged readings are missing, such as {:?}",
        missing.len(),
        acked.len(),
        missing[0]
    );
    let twice = stored
        .values()
        .flat_map(HashMap::values)
        .filter(|n| **n > 1)
        .count();
    assert_eq!(twice, 0, "a reading stands more than once");
}

#[test]
fn two_processes_cannot_hold_one_folder() {
    let server = Server::new();
    let second = Command::new(binary("onemap"))
        .arg("--data-dir")
        .arg(&server.dir)
        .arg("--config")
        .arg(server.dir.join("onemap.toml"))
        .arg("serve")
        .output()
        .unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("journal") && said.contains("another"), "{said}");
}
