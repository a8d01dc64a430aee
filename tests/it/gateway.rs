//! The edge gateway between a foreign Modbus slave and the server; both killed at random.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::server::{Process, Server, binary, peer, wait_for};

/// A pymodbus slave whose registers 0..19 all count 0, 1, 2 … at 10 Hz.
const SLAVE: &str = r#"
import socket, sys, threading, time
from pymodbus.datastore import ModbusSequentialDataBlock, ModbusSlaveContext, ModbusServerContext
from pymodbus.server import StartTcpServer
port = int(sys.argv[1])
block = ModbusSequentialDataBlock(0, [0] * 40)
context = ModbusServerContext(slaves=ModbusSlaveContext(hr=block, zero_mode=True), single=True)
def count():
    n = 0
    next_at = time.monotonic()
    while True:
        block.setValues(0, [n % 65536] * 20)
        n += 1
        next_at += 0.1
        time.sleep(max(0, next_at - time.monotonic()))
def announce():
    while socket.socket().connect_ex(("127.0.0.1", port)):
        time.sleep(0.05)
    print("ready", flush=True)
threading.Thread(target=count, daemon=True).start()
threading.Thread(target=announce, daemon=True).start()
StartTcpServer(context=context, address=("127.0.0.1", port))
"#;

const PROFILE: &str = "
version: 1
name: {zh: 计数从站, en: Counting slave}
protocol: modbus
cadence: 100ms
modbus:
  unit: 1
  poll: 100ms
  registers:
    - {address: 0, table: holding, type: u16, count: 20, quantity: counter}
";

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn start_gateway(config: &std::path::Path) -> Process {
    let mut command = Command::new(binary("onemap-gateway"));
    command.arg("--config").arg(config);
    let gateway = Process::start(command);
    let line = gateway
        .line(Duration::from_secs(10))
        .expect("the gateway comes up and says so");
    assert!(line.contains("\"ready\":true"), "{line}");
    gateway
}

/// Rounds of one kill of the server and one of the gateway, in turn at uneven times.
fn rounds() -> u32 {
    std::env::var("ONEMAP_KILL_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(2)
}

#[test]
fn every_value_of_a_foreign_slave_is_stored_once_through_kills_of_both_ends() {
    if peer("/usr/bin/python3").is_none() {
        return;
    }
    let there = Command::new("/usr/bin/python3")
        .args(["-c", "import pymodbus.server"])
        .output()
        .unwrap();
    if !there.status.success() {
        assert!(
            std::env::var_os("CI").is_none(),
            "python3-pymodbus must be there in CI"
        );
        eprintln!("SKIPPED: python3-pymodbus is not on this machine");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    // Fixed ports, because the gateway must find the server again.
    let (http, mqtt, modbus) = (free_port(), free_port(), free_port());
    std::fs::create_dir(dir.join("rules")).unwrap();
    std::fs::create_dir(dir.join("profiles")).unwrap();
    std::fs::write(dir.join("profiles/counting.yaml"), PROFILE).unwrap();
    let config = format!("[http]\nlisten = \"127.0.0.1:{http}\"\n[mqtt]\nlisten = \"127.0.0.1:{mqtt}\"\n");
    std::fs::write(dir.join("onemap.toml"), config).unwrap();
    let mut slave = Command::new("/usr/bin/python3");
    slave.args(["-c", SLAVE, &modbus.to_string()]);
    let slave = Process::start(slave);
    assert_eq!(slave.line(Duration::from_secs(20)).as_deref(), Some("ready"));

    let mut server = Server::start_in(dir);
    let token = server.add_device("gw", &json!({"kind": "modbus_meter", "profile": "counting"}));
    std::fs::write(dir.join("gw.token"), token).unwrap();
    let gateway_config = dir.join("gateway.toml");
    std::fs::write(
        &gateway_config,
        format!(
            "server = \"127.0.0.1:{mqtt}\"\ndevice = \"gw\"\ntoken_file = \"{0}/gw.token\"\n[spool]\ndir = \"{0}/spool\"\n[[slave]]\nname = \"counting\"\naddress = \"127.0.0.1:{modbus}\"\nunit = 1\nprofile = \"{0}/profiles/counting.yaml\"\n",
            dir.display()
        ),
    )
    .unwrap();
    let mut gateway = start_gateway(&gateway_config);
    let mut uneven = 0x9e37_79b9_u64;
    let mut pause = || {
        uneven = uneven.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_millis(700 + (uneven >> 33) % 1800));
    };
    for round in 0..rounds() {
        pause();
        server.process.kill();
        if round % 2 == 1 {
            pause();
        }
        server = Server::start_in(dir);
        pause();
        gateway.kill();
        gateway = start_gateway(&gateway_config);
    }
    pause();
    let status = gateway.signal_and_wait("TERM", Duration::from_secs(10));
    assert!(status.success());
    // What the spool still holds is delivered by one more run.
    let mut gateway = start_gateway(&gateway_config);
    let stored = |server: &Server, ch: u32| -> Vec<(String, u64)> {
        let series = server.get("/api/v1/series?device=gw&quantity=counter&limit=100");
        let Some(id) = series["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|s| s["ch"] == ch)
            .and_then(|s| s["id"].as_u64())
        else {
            return Vec::new();
        };
        let all = server.get(&format!("/api/v1/series/{id}/values?revisions=true"));
        let items = all["items"].as_array().unwrap();
        items
            .iter()
            .map(|i| {
                (
                    i["t"].as_str().unwrap().to_owned(),
                    i["v"].as_f64().unwrap() as u64,
                )
            })
            .collect()
    };
    let (mut n, mut since) = (0, Instant::now());
    let values = wait_for("the spool to be delivered", Duration::from_secs(60), || {
        // New polls go on; what was spooled before is delivered when the oldest hole is as wide as the stop.
        let values = stored(&server, 0);
        if values.len() > n + 20 {
            (n, since) = (values.len(), Instant::now());
        }
        (values.len() > 20 && since.elapsed() > Duration::from_secs(2)).then_some(values)
    });
    let status = gateway.signal_and_wait("TERM", Duration::from_secs(10));
    assert!(status.success());
    // Nothing twice: each stamp once.
    let mut stamps: Vec<_> = values.iter().map(|(t, _)| t).collect();
    stamps.sort();
    stamps.dedup();
    assert_eq!(stamps.len(), values.len(), "a value stands twice");
    // Nothing missing: while the gateway ran it polled at the slave's own rate, so counts step by 0 to 2;
    // larger steps are only where the gateway was dead (once a round, once at the clean stop).
    let holes: Vec<_> = values
        .windows(2)
        .filter(|w| w[1].1 > w[0].1 + 2)
        .map(|w| (w[0].1, w[1].1))
        .collect();
    assert!(
        holes.len() as u32 <= rounds() + 1,
        "{} holes for {} stops of the gateway: {holes:?}",
        holes.len(),
        rounds() + 1
    );
    // All twenty registers of a poll travel together.
    let (first, last) = (stored(&server, 0), stored(&server, 19));
    assert_eq!(first, last);
}
