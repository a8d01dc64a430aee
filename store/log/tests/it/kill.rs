//! `kill -9` under load: what was acknowledged is there.

use std::{
    collections::HashMap,
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use onemap_log::{Batch, Config, Log};
use tempfile::TempDir;

use crate::config;

const DIR_VARIABLE: &str = "ONEMAP_LOG_KILL_DIR";
const N_ROUNDS: u64 = 6;
const N_THREADS: u64 = 4;

fn killed(dir: &Path) -> Config {
    Config {
        segment_bytes: 1 << 20,
        ..config(dir)
    }
}

/// Not a test of its own: the process that is killed. It appends from several threads and prints
/// `acked POSITION TEXT` for the last record of a batch when it is durable.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn child_appends_until_killed() {
    let dir = env::var(DIR_VARIABLE).unwrap();
    let (log, _) = Log::open(killed(Path::new(&dir))).unwrap();
    thread::scope(|scope| {
        for id in 0..N_THREADS {
            let log = &log;
            scope.spawn(move || {
                let mut batch = Batch::new();
                let mut n = 0_u64;
                loop {
                    batch.clear();
                    let mut text = String::new();
                    for _ in 0..=(n % 23) {
                        n += 1;
                        text = format!(
                            "{id}-{}-{n}{}",
                            std::process::id(),
                            "x".repeat((n % 300) as usize)
                        );
                        batch.push(1, |out| out.extend_from_slice(text.as_bytes()));
                    }
                    let position = log.append_blocking(&batch).unwrap();
                    log.wait_durable_blocking(position).unwrap();
                    // Past the test harness, which would keep it.
                    writeln!(std::io::stdout().lock(), "\nacked {position} {text}").unwrap();
                }
            });
        }
    });
}

#[test]
fn everything_acknowledged_survives_kill_9() {
    let dir = TempDir::new().unwrap();
    let mut acked: HashMap<u64, String> = HashMap::new();
    let mut n_records = 0;
    for round in 0..N_ROUNDS {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "kill::child_appends_until_killed",
                "--ignored",
                "--nocapture",
            ])
            .env(DIR_VARIABLE, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut n_acks = 0;
        let enough = 300 + round * 450;
        // What was printed before the kill counts too, so the pipe is read to its end.
        while let Some(Ok(line)) = lines.next() {
            if let Some(ack) = line.strip_prefix("acked ") {
                let Some((position, text)) = ack.split_once(' ') else {
                    break;
                };
                acked.insert(position.parse().unwrap(), text.to_owned());
                n_acks += 1;
                if n_acks == enough {
                    child.kill().unwrap();
                }
            }
        }
        assert!(n_acks >= enough, "the child ended by itself: {:?}", child.wait());
        child.wait().unwrap();

        let (log, recovery) = Log::open(killed(dir.path())).unwrap();
        let mut reader = log.reader(0).unwrap();
        let (mut n_found, mut n) = (0, 0);
        while let Some(entry) = reader.next().unwrap() {
            n += 1;
            assert_eq!(entry.position, n);
            if let Some(text) = acked.get(&n) {
                assert_eq!(entry.body, text.as_bytes(), "record {n} after {recovery:?}");
                n_found += 1;
            }
        }
        assert_eq!(
            n_found,
            acked.len(),
            "acknowledged records are missing: {recovery:?}"
        );
        assert_eq!(n, recovery.last);
        assert!(n > n_records);
        n_records = n;
    }
}
