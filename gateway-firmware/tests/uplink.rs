//! Outages, lost receipts, a full spool and kill -9: what was spooled arrives, and nothing twice unmarked.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::server::{Server, World};
use common::slave::Slave;
use common::{Folder, Gateway, SlaveEntry, counters, n_counters, until};
use onemap_gateway::record::Poll;
use onemap_log::Reader;

const PATIENCE: Duration = Duration::from_secs(40);

async fn set_up(max_mib: u64, poll: &str) -> (Arc<World>, Server, Slave, Folder) {
    set_up_with(max_mib, counters(poll)).await
}

async fn set_up_with(max_mib: u64, profile: String) -> (Arc<World>, Server, Slave, Folder) {
    let world = Arc::new(World::default());
    let server = Server::free(Arc::clone(&world)).await;
    let slave = Slave::start().await;
    let entry = SlaveEntry {
        name: "a",
        address: slave.address.to_string(),
        profile: "meter",
        offset: 0,
    };
    let folder = Folder::new(
        &server.address.to_string(),
        max_mib,
        &[("meter", profile)],
        &[entry],
    );
    (world, server, slave, folder)
}

fn assert_counts_without_a_gap(world: &World) {
    let values = world.values(3);
    let counted: Vec<f64> = (1..=values.len()).map(|n| n as f64).collect();
    assert_eq!(values, counted);
    assert_eq!(world.n_unmarked_repeats(), 0);
}

#[tokio::test]
async fn an_outage_of_the_server_costs_no_value() {
    let (world, server, slave, folder) = set_up(8, "10ms").await;
    let gateway = Gateway::start(&folder.config());
    until("values are stored", PATIENCE, || world.values(3).len() >= 30).await;
    let address = server.kill().await;
    let before = slave.n_answers();
    until("polling goes on without the server", PATIENCE, || {
        slave.n_answers() >= before + 150
    })
    .await;
    let server = Server::start(address, Arc::clone(&world)).await;
    let wanted = slave.n_answers();
    until("the backlog is stored", PATIENCE, || {
        world.values(3).len() as u64 >= wanted
    })
    .await;
    gateway.stop().await;
    assert_counts_without_a_gap(&world);
    server.kill().await;
}

/// PUBACK is not a receipt: a server that acknowledged and then lost everything gets everything again.
#[tokio::test]
async fn what_was_acknowledged_but_not_stored_is_sent_again() {
    let (world, server, _slave, folder) = set_up(8, "10ms").await;
    world.forgets.store(true, Ordering::SeqCst);
    let gateway = Gateway::start(&folder.config());
    until("the server forgets what it acknowledged", PATIENCE, || {
        world.n_forgotten.load(Ordering::SeqCst) >= 20
    })
    .await;
    let address = server.kill().await;
    world.forgets.store(false, Ordering::SeqCst);
    let server = Server::start(address, Arc::clone(&world)).await;
    until("all is stored in the end", PATIENCE, || {
        world.values(3).len() >= 60
    })
    .await;
    gateway.stop().await;
    assert_counts_without_a_gap(&world);
    assert!(world.n_repeats() >= 20 * 20, "what came again carries the mark");
    server.kill().await;
}

/// On one connection without any receipt, everything is sent again after ten seconds.
#[tokio::test]
async fn a_missing_receipt_brings_the_records_again_on_the_same_connection() {
    let (world, server, _slave, folder) = set_up(8, "100ms").await;
    world.mute.store(true, Ordering::SeqCst);
    let gateway = Gateway::start(&folder.config());
    until("stored without receipts", PATIENCE, || world.values(3).len() >= 5).await;
    world.mute.store(false, Ordering::SeqCst);
    world.forgets.store(false, Ordering::SeqCst);
    until("sent again", PATIENCE, || world.n_repeats() > 0).await;
    gateway.stop().await;
    assert_eq!(world.n_connects.load(Ordering::SeqCst), 1);
    assert_counts_without_a_gap(&world);
    server.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_spool_stops_polling_and_goes_on_without_a_gap() {
    let (world, server, slave, folder) = set_up_with(1, n_counters(125, "10ms")).await;
    let address = server.kill().await;
    let gateway = Gateway::start(&folder.config());
    // 1 MiB holds about 800 polls of 1,300 bytes; standing still is two seconds without a poll.
    let mut last = (slave.n_answers(), Instant::now());
    until("polling stands still", PATIENCE * 2, || {
        let n = slave.n_answers();
        if n != last.0 {
            last = (n, Instant::now());
        }
        n > 300 && last.1.elapsed() > Duration::from_secs(2)
    })
    .await;
    let stood_at = slave.n_answers();
    let on_disk: u64 = std::fs::read_dir(folder.log_dir())
        .unwrap()
        .map(|f| f.unwrap().metadata().unwrap().len())
        .sum();
    assert!(on_disk <= 1 << 20, "{on_disk} bytes");
    let server = Server::start(address, Arc::clone(&world)).await;
    until("polling goes on", PATIENCE, || slave.n_answers() > stood_at + 100).await;
    let wanted = slave.n_answers();
    until("everything is stored", PATIENCE, || {
        world.values(3).len() as u64 >= wanted
    })
    .await;
    gateway.stop().await;
    assert_counts_without_a_gap(&world);
    server.kill().await;
}

struct Process(Child);

impl Process {
    /// Starts the binary and waits for its ready line.
    fn start(folder: &Folder) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_onemap-gateway"))
            .arg("--config")
            .arg(folder.config())
            .env("RUST_LOG", "warn")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&ready["ready"], &ready["device"]),
            (&true.into(), &"gw-1".into())
        );
        assert!(ready["spool"]["epoch"].as_u64().is_some_and(|e| e > 0));
        Self(child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Every record that is durable in the spool now: position and the poll's first value.
fn spooled(folder: &Folder) -> Vec<(u64, f64)> {
    let mut reader = Reader::open_dir(&folder.log_dir(), 0).unwrap();
    let mut found = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        let poll = Poll::decode(entry.kind, entry.body).unwrap();
        found.push((entry.position, poll.values[0].2));
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_gateway_and_server_loses_nothing_that_was_spooled() {
    let (world, mut server, slave, folder) = set_up(8, "10ms").await;
    let mut durable = BTreeSet::new();
    for round in 0..8u64 {
        let gateway = Process::start(&folder);
        let before = slave.n_answers();
        until("the slave is polled", PATIENCE, || {
            slave.n_answers() >= before + 40 + 13 * round
        })
        .await;
        if round % 3 == 1 {
            let address = server.kill().await;
            let n = slave.n_answers();
            until("polled without the server", PATIENCE, || {
                slave.n_answers() >= n + 40
            })
            .await;
            drop(gateway);
            server = Server::start(address, Arc::clone(&world)).await;
        } else {
            drop(gateway);
        }
        durable.extend(
            spooled(&folder)
                .into_iter()
                .map(|(position, value)| (position, value as u64)),
        );
    }
    let gateway = Process::start(&folder);
    let stored = || -> BTreeSet<(u64, u64)> {
        let stored = world.stored.lock().unwrap();
        stored
            .iter()
            .filter(|((_, _, ch), _)| *ch == 0)
            .map(|((seq, _, _), s)| (*seq, s.value as u64))
            .collect()
    };
    until("all that was ever durable is stored", PATIENCE, || {
        durable.is_subset(&stored())
    })
    .await;
    drop(gateway);
    assert!(durable.len() > 300, "{} records", durable.len());
    // Positions are dense and a number never changes its value (the server checks that): nothing is lost
    // between what was spooled, and no value came under two numbers.
    let stored = stored();
    let values: BTreeSet<u64> = stored.iter().map(|(_, value)| *value).collect();
    assert_eq!(values.len(), stored.len());
    let last = stored.last().unwrap().0;
    assert_eq!(stored.len() as u64, last, "every number up to the last is there");
    assert_eq!(world.n_unmarked_repeats(), 0);
}

#[tokio::test]
async fn a_torn_spool_keeps_what_was_whole_and_goes_on() {
    let (world, server, slave, folder) = set_up(8, "10ms").await;
    let address = server.kill().await;
    let gateway = Gateway::start(&folder.config());
    until("polled", PATIENCE, || slave.n_answers() >= 50).await;
    gateway.stop().await;
    let before = spooled(&folder);
    let newest = std::fs::read_dir(folder.log_dir())
        .unwrap()
        .map(|f| f.unwrap().path())
        .filter(|p| p.metadata().unwrap().len() > 0 && spool_segment(p))
        .max()
        .unwrap();
    // The last record loses its end, as when the power fails in the middle of a write.
    let length = newest.metadata().unwrap().len();
    let file = std::fs::OpenOptions::new().write(true).open(&newest).unwrap();
    file.set_len(length - 100).unwrap();
    (&file).flush().unwrap();
    drop(file);

    let server = Server::start(address, Arc::clone(&world)).await;
    let gateway = Gateway::start(&folder.config());
    let n = slave.n_answers();
    until("polling and storing go on", PATIENCE, || {
        slave.n_answers() >= n + 50 && world.values(0).len() >= before.len() + 30
    })
    .await;
    gateway.stop().await;
    let values = world.values(0);
    let whole: Vec<f64> = before[..before.len() - 1].iter().map(|(_, v)| *v).collect();
    assert!(values.starts_with(&whole), "what was whole is there, in order");
    assert!(values.windows(2).all(|w| w[0] < w[1]));
    server.kill().await;
}

fn spool_segment(path: &std::path::Path) -> bool {
    path.file_name()
        .and_then(|n| n.to_str())
        .is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()))
}

#[tokio::test]
async fn sigterm_ends_the_process_cleanly_within_three_seconds() {
    let (world, server, _slave, folder) = set_up(8, "20ms").await;
    let mut gateway = Process::start(&folder);
    until("values are stored", PATIENCE, || world.values(3).len() >= 10).await;
    let start = Instant::now();
    let pid = gateway.0.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    let ended = loop {
        if let Some(status) = gateway.0.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < Duration::from_secs(3), "it does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(ended.success(), "{ended}");
    assert_counts_without_a_gap(&world);
    server.kill().await;
}
