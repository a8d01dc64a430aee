//! Nothing is dropped when there is no room: appends wait, and go on.

use std::{fs, process::Command, thread, time::Duration};

use onemap_log::{Batch, Config, Log, LogError};
use tempfile::TempDir;

use crate::{batch, body, config, read_all, wait_until};

const CAP: u64 = 256 << 10;

fn capped(dir: &std::path::Path) -> Config {
    Config {
        max_bytes: Some(CAP),
        compress: false,
        ..config(dir)
    }
}

#[test]
fn at_the_size_cap_appends_wait_for_a_release_and_lose_nothing() {
    const N_RECORDS: u64 = 8_000;
    let dir = TempDir::new().unwrap();
    let (log, _) = Log::open(capped(dir.path())).unwrap();
    let writer = thread::spawn({
        let log = log.clone();
        move || {
            for n in 1..=N_RECORDS {
                assert_eq!(log.append_blocking(&batch(&[(1, &body(n))])).unwrap(), n);
            }
            log.wait_durable_blocking(N_RECORDS).unwrap();
        }
    });
    wait_until("the log is full", || log.status().full);
    let mut reader = log.reader(0).unwrap();
    let (mut n, mut n_full) = (0, 0);
    while n < N_RECORDS {
        let status = log.status();
        n_full += u64::from(status.full);
        assert!(status.bytes <= CAP + 1024, "{status:?}");
        while let Some(entry) = reader.next().unwrap() {
            n += 1;
            assert_eq!((entry.position, entry.body), (n, &body(n)[..]));
        }
        log.release_to_size(n, 0).unwrap();
    }
    writer.join().unwrap();
    assert!(n_full > 0);
    assert!(!log.status().full);
}

#[tokio::test]
async fn a_task_that_waits_for_room_can_give_up_and_has_appended_nothing() {
    let dir = TempDir::new().unwrap();
    let (log, _) = Log::open(capped(dir.path())).unwrap();
    let big = batch(&[(1, &[7; 30_000])]);
    let mut last = 0;
    while let Ok(position) = tokio::time::timeout(Duration::from_millis(200), log.append(&big)).await {
        last = position.unwrap();
    }
    assert!(last >= 4 && log.status().full);
    let waiting = tokio::spawn({
        let log = log.clone();
        async move { log.append(&batch(&[(2, b"small")])).await.unwrap() }
    });
    log.wait_durable(last).await.unwrap();
    // The full log has closed its active segment, so that all of it can be released.
    let releasing = log.clone();
    tokio::task::spawn_blocking(move || {
        wait_until("everything is released", || {
            releasing.release_to_size(last, 0).unwrap().first == last + 1
        });
    })
    .await
    .unwrap();
    assert_eq!(waiting.await.unwrap(), last + 1);

    let never = batch(&[(1, &vec![0; CAP as usize])]);
    assert!(matches!(
        log.append(&never).await,
        Err(LogError::BatchTooLarge { .. })
    ));
}

/// A small tmpfs, if we may mount one.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(kib: u32) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"])
            .arg(dir.path())
            .output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(dir)),
            other => {
                eprintln!("SKIPPED: the full-disk test needs the right to mount a tmpfs: {other:?}");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

#[test]
fn on_a_full_disk_records_wait_and_are_written_when_there_is_room_again() {
    let Some(disk) = SmallDisk::mount(1024) else {
        return;
    };
    let dir = disk.0.path().join("log");
    let ballast = disk.0.path().join("ballast");
    fs::write(&ballast, vec![1; 512 << 10]).unwrap();
    let config = Config {
        segment_bytes: 100_000,
        max_pending_bytes: 20_000,
        compress: false,
        ..config(&dir)
    };
    let (log, _) = Log::open(config.clone()).unwrap();
    const N_RECORDS: u64 = 10_000;
    let writer = thread::spawn({
        let log = log.clone();
        move || {
            let mut batch = Batch::new();
            for n in 1..=N_RECORDS {
                batch.clear();
                batch.push(1, |out| out.extend_from_slice(&body(n)));
                log.append_blocking(&batch).unwrap();
            }
            log.wait_durable_blocking(N_RECORDS).unwrap();
        }
    });
    wait_until("the disk is full and the writer waits", || {
        let status = log.status();
        status.full && status.pending_bytes >= 20_000
    });
    let status = log.status();
    assert!(
        status.durable > 1000 && status.durable < N_RECORDS && status.failed.is_none(),
        "{status:?}"
    );
    let mut reader = log.reader(0).unwrap();
    assert_eq!(read_all(&mut reader), crate::numbered(1..=status.durable));
    // A second look: full is a state that stays, not a moment.
    assert_eq!(log.status().durable, status.durable);

    fs::remove_file(&ballast).unwrap();
    wait_until("the disk takes records again", || {
        log.status().durable > status.durable
    });
    // A mebibyte is too small for all of them: what was read may go.
    wait_until("all are durable", || {
        read_all(&mut reader);
        log.release_to_size(reader.position(), 0).unwrap();
        log.status().durable == N_RECORDS
    });
    writer.join().unwrap();
    assert!(!log.status().full);
    log.close().unwrap();
    let (log, recovery) = Log::open(config).unwrap();
    assert_eq!((recovery.last, recovery.torn), (N_RECORDS, None));
    drop((log, reader));
}
