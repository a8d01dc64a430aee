//! Slaves that are late, refuse or are dead.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::server::{Server, World};
use common::slave::{Prank, Slave, dead_slave};
use common::{Folder, Gateway, SlaveEntry, counters, until};

const PATIENCE: Duration = Duration::from_secs(20);

async fn world() -> (Arc<World>, Server) {
    let world = Arc::new(World::default());
    let server = Server::free(Arc::clone(&world)).await;
    (world, server)
}

fn entry(name: &'static str, address: impl ToString, offset: u16) -> SlaveEntry {
    SlaveEntry {
        name,
        address: address.to_string(),
        profile: "meter",
        offset,
    }
}

#[tokio::test]
async fn every_answer_of_a_slave_arrives_once_with_all_its_registers() {
    let (world, server) = world().await;
    let slave = Slave::start().await;
    let profiles = [("meter", counters("20ms"))];
    let folder = Folder::new(
        &server.address.to_string(),
        8,
        &profiles,
        &[entry("a", slave.address, 0)],
    );
    let gateway = Gateway::start(&folder.config());
    until("50 polls are stored", PATIENCE, || world.values(19).len() >= 50).await;
    gateway.stop().await;
    for channel in [0, 7, 19] {
        let values = world.values(channel);
        let counted: Vec<f64> = (1..=values.len()).map(|n| n as f64).collect();
        assert_eq!(values, counted, "channel {channel}");
    }
    assert_eq!(world.n_unmarked_repeats(), 0);
    assert_eq!(slave.state.n_connections.load(Ordering::SeqCst), 1);
}

/// Two blocks of registers are polled in turn. An answer that comes after the time-out must not be taken
/// for the answer to the next request, which asks for the other block.
#[tokio::test]
async fn a_late_answer_is_never_taken_for_the_next_ones() {
    let (world, server) = world().await;
    let slave = Slave::start().await;
    let profile = "version: 1\nname: {zh: 表, en: Meter}\nprotocol: modbus\n\
        modbus: {unit: 1, poll: 30ms, registers: [\
        {address: 100, type: u16, count: 1, quantity: counter, channel: 100}, \
        {address: 200, type: u16, count: 1, quantity: counter, channel: 200}]}\n";
    let folder = Folder::new(
        &server.address.to_string(),
        8,
        &[("meter", profile.to_owned())],
        &[entry("a", slave.address, 0)],
    );
    let gateway = Gateway::start(&folder.config());
    until("the slave is polled", PATIENCE, || world.n_values() >= 10).await;
    for _ in 0..3 {
        let before = world.n_values();
        slave.prank(Prank::Late(Duration::from_millis(450)));
        until("polling goes on after a late answer", PATIENCE, || {
            slave.state.pranks.lock().unwrap().is_empty() && world.n_values() >= before + 10
        })
        .await;
    }
    gateway.stop().await;
    for channel in [100u16, 200] {
        for value in world.values(channel) {
            assert_eq!(
                (value as u16) / 100,
                channel,
                "the value of register {channel} is its own"
            );
        }
    }
    assert!(
        slave.state.n_connections.load(Ordering::SeqCst) >= 4,
        "each time-out drops the connection"
    );
}

#[tokio::test]
async fn an_exception_keeps_the_connection() {
    let (world, server) = world().await;
    let slave = Slave::start().await;
    let profiles = [("meter", counters("20ms"))];
    let folder = Folder::new(
        &server.address.to_string(),
        8,
        &profiles,
        &[entry("a", slave.address, 0)],
    );
    for _ in 0..5 {
        slave.prank(Prank::Refuse);
    }
    let gateway = Gateway::start(&folder.config());
    until("values come after exceptions", PATIENCE, || {
        world.values(0).len() >= 10
    })
    .await;
    gateway.stop().await;
    assert_eq!(slave.state.n_exceptions.load(Ordering::SeqCst), 5);
    assert_eq!(slave.state.n_connections.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_slave_does_not_delay_the_others() {
    let (world, server) = world().await;
    let slave = Slave::start().await;
    let (dead, holding) = dead_slave().await;
    let nobody = "127.0.0.1:1";
    let profiles = [("meter", counters("50ms"))];
    let slaves = [
        entry("dead", dead, 0),
        entry("nobody", nobody, 20),
        entry("alive", slave.address, 40),
    ];
    let folder = Folder::new(&server.address.to_string(), 8, &profiles, &slaves);
    let gateway = Gateway::start(&folder.config());
    until("the live slave is polled", PATIENCE, || slave.n_answers() >= 5).await;
    let (before, start) = (slave.n_answers(), std::time::Instant::now());
    until("forty more polls", PATIENCE, || slave.n_answers() >= before + 40).await;
    let per_poll = start.elapsed() / 40;
    gateway.stop().await;
    holding.abort();
    // A time-out is 300 ms: one a poll, or even one in four, would show. A busy machine may not.
    assert!(
        per_poll < Duration::from_millis(75),
        "{per_poll:?} from poll to poll"
    );
    assert!(
        per_poll > Duration::from_millis(45),
        "{per_poll:?} from poll to poll"
    );
    assert!(world.values(40).len() >= 40);
    assert!(world.values(0).is_empty() && world.values(20).is_empty());
}

#[tokio::test]
async fn a_slave_that_comes_back_is_polled_again() {
    let (world, server) = world().await;
    let slave = Slave::start().await;
    let address = slave.address;
    let profiles = [("meter", counters("20ms"))];
    let folder = Folder::new(
        &server.address.to_string(),
        8,
        &profiles,
        &[entry("a", address, 0)],
    );
    let gateway = Gateway::start(&folder.config());
    until("polled", PATIENCE, || world.n_values() >= 40).await;
    // Every connection made before stays silent from here on: its requests are late.
    for _ in 0..2 {
        slave.prank(Prank::Late(Duration::from_secs(5)));
    }
    let before = slave.n_answers();
    until("polled again on a new connection", PATIENCE, || {
        slave.n_answers() >= before + 20
    })
    .await;
    gateway.stop().await;
}

/// A slave that nobody on this project wrote: pymodbus.
#[tokio::test]
async fn a_pymodbus_slave_is_read() {
    const SCRIPT: &str = r#"
import sys
from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.server import StartTcpServer
block = ModbusSequentialDataBlock(1, [40 + i for i in range(200)])
StartTcpServer(context=ModbusServerContext(slaves=ModbusSlaveContext(hr=block), single=True), address=("127.0.0.1", int(sys.argv[1])))
"#;
    let python = "/usr/bin/python3";
    let there = std::process::Command::new(python)
        .args(["-c", "import pymodbus.server"])
        .output();
    if !there.is_ok_and(|o| o.status.success()) {
        eprintln!("SKIPPED: {python} has no pymodbus (Debian package python3-pymodbus)");
        return;
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut slave = std::process::Command::new(python)
        .args(["-c", SCRIPT, &port.to_string()])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let (world, server) = world().await;
    let profile = "version: 1\nname: {zh: 表, en: Meter}\nprotocol: modbus\n\
        modbus: {unit: 1, poll: 50ms, registers: [{address: 0, type: u16, count: 125, quantity: counter}]}\n";
    let slaves = [entry("py", format!("127.0.0.1:{port}"), 0)];
    let folder = Folder::new(
        &server.address.to_string(),
        8,
        &[("meter", profile.to_owned())],
        &slaves,
    );
    let gateway = Gateway::start(&folder.config());
    until("pymodbus is polled", PATIENCE, || world.values(124).len() >= 5).await;
    gateway.stop().await;
    slave.kill().unwrap();
    slave.wait().unwrap();
    assert_eq!(world.values(0)[0], 40.0);
    assert_eq!(world.values(124)[0], 164.0);
}
