//! Stopping, failing, and running out of files.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::{Client, Connect, TELEMETRY, publish};
use crate::server::{PATIENCE, Server, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_acknowledges_what_was_read_and_is_quick() {
    let server = Server::start().await;
    let mut idle = Client::connect(server.address, &Connect::of("idle")).await;
    let mut busy = Client::connect(server.address, &Connect::of("busy")).await;
    let mut mute = Client::raw(server.address).await;
    let mut bytes = Vec::new();
    for id in 1..=2000u16 {
        bytes.extend(publish(TELEMETRY, 1, id, &[b'x'; 100]));
    }
    busy.send(&bytes).await;
    until("the first publishes", || server.counters.counted().publishes > 0).await;
    let start = Instant::now();
    server.stop.cancel();
    tokio::time::timeout(PATIENCE, server.running)
        .await
        .unwrap()
        .unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let mut n_acks = 0u64;
    while let Some((first, _)) = busy.packet().await {
        assert_eq!(first, 0x40);
        n_acks += 1;
    }
    let counted = server.counters.counted();
    assert_eq!(n_acks, counted.publishes, "all that was read is acknowledged");
    assert_eq!(server.log.status().durable, n_acks);
    idle.expect_end().await;
    mute.expect_end().await;
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_takes_nothing_acknowledges_nothing() {
    let server = Server::start().await;
    let mut client = Client::connect(server.address, &Connect::of("A")).await;
    server.log.close().unwrap();
    client.send(&publish(TELEMETRY, 1, 1, b"x")).await;
    client.expect_end().await;
    assert_eq!(server.counters.counted().acks, 0);
}

/// Runs this test binary's `child` under a limit of open files; it prints its address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_out_of_files_is_waited_out() {
    use std::io::{BufRead, BufReader};
    let own = std::env::current_exe().unwrap();
    let mut child = Command::new("sh")
        .args([
            "-c",
            "ulimit -n 40 && exec \"$0\" --exact stop::child --nocapture --ignored",
        ])
        .arg(own)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once("listening on ")?.1.trim().to_owned()))
        .expect("the child says where it listens")
        .parse()
        .unwrap();
    let mut known = Client::connect(address, &Connect::of("A")).await;
    let mut crowd = Vec::new();
    for _ in 0..80 {
        crowd.push(Client::raw(address).await);
    }
    known.send(&publish(TELEMETRY, 1, 1, b"x")).await;
    known.expect_id(0x40, 1).await;
    drop(crowd);
    let mut late = Client::connect(address, &Connect::of("B")).await;
    late.ping().await;
    drop(child.stdin.take());
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let errors: u64 = rest
        .iter()
        .find_map(|line| line.split_once("accept errors ")?.1.trim().parse().ok())
        .expect("the child says how many accepts failed");
    assert!(errors > 0, "the limit was never reached, the test shows nothing");
    assert!(child.wait().unwrap().success());
}

/// Not a test of its own: the server that [`running_out_of_files_is_waited_out`] starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by running_out_of_files_is_waited_out"]
async fn child() {
    let server = Server::start().await;
    println!("\nlistening on {}", server.address);
    let until_told = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    until_told.await.unwrap().unwrap();
    println!("\naccept errors {}", server.counters.counted().accept_errors);
}
