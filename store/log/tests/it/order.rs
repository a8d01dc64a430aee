//! Positions, rotation, readers.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use onemap_log::{Batch, Log, LogError, MAX_RECORD_BYTES, Reader};
use tempfile::TempDir;

use crate::{batch, body, commit, config, fill, numbered, read_all, small, wait_until};

#[test]
fn positions_are_dense_from_one_and_go_on_after_reopening() {
    let dir = TempDir::new().unwrap();
    for round in 0..4 {
        let (log, recovery) = Log::open(small(dir.path())).unwrap();
        assert_eq!((recovery.last, recovery.torn), (round * 50, None));
        assert_eq!(recovery.first, 1);
        assert_eq!(log.append_blocking(&Batch::new()).unwrap(), round * 50);
        fill(&log, round * 50 + 1..=(round + 1) * 50);
        assert_eq!(
            read_all(&mut log.reader(0).unwrap()),
            numbered(1..=(round + 1) * 50)
        );
        let status = log.status();
        assert_eq!((status.next, status.n_records), ((round + 1) * 50 + 1, 50));
    }
    let (log, _) = Log::open(small(dir.path())).unwrap();
    for after in 0..=200 {
        assert_eq!(
            read_all(&mut log.reader(after).unwrap()),
            numbered(after + 1..=200)
        );
        let mut outside = Reader::open_dir(dir.path(), after).unwrap();
        assert_eq!(read_all(&mut outside), numbered(after + 1..=200));
    }
    assert!(log.status().segments > 4);
}

#[test]
fn a_cursor_of_another_log_is_refused() {
    let dir = TempDir::new().unwrap();
    let (log, _) = Log::open(config(dir.path())).unwrap();
    fill(&log, 1..=3);
    assert!(matches!(
        log.reader(4),
        Err(LogError::Ahead { after: 4, last: 3 })
    ));
    let mut outside = Reader::open_dir(dir.path(), 4).unwrap();
    assert!(matches!(
        outside.next(),
        Err(LogError::Ahead { after: 4, last: 3 })
    ));
}

#[test]
fn a_reader_that_caught_up_sees_what_comes_later() {
    let dir = TempDir::new().unwrap();
    let (log, _) = Log::open(small(dir.path())).unwrap();
    let (mut inside, mut outside) = (log.reader(0).unwrap(), Reader::open_dir(dir.path(), 0).unwrap());
    assert!(inside.next().unwrap().is_none());
    assert!(outside.next().unwrap().is_none());
    for n in 1..=100 {
        fill(&log, n..=n);
        assert_eq!(read_all(&mut inside), numbered(n..=n));
        assert_eq!(read_all(&mut outside), numbered(n..=n));
    }
    assert_eq!(inside.position(), 100);
}

#[test]
fn records_of_all_sizes_read_back_and_too_large_ones_are_refused() {
    let dir = TempDir::new().unwrap();
    let (log, _) = Log::open(config(dir.path())).unwrap();
    let sizes = [0, 1, 250_000, 262_144, 300_000, MAX_RECORD_BYTES, 7];
    for size in sizes {
        commit(&log, 9, &vec![size as u8; size]);
    }
    let too_large = batch(&[(1, b"a"), (9, &vec![0; MAX_RECORD_BYTES + 1])]);
    assert!(matches!(
        log.append_blocking(&too_large),
        Err(LogError::RecordTooLarge { .. })
    ));
    let check = |reader: &mut Reader| {
        for (i, size) in sizes.into_iter().enumerate() {
            let entry = reader.next().unwrap().unwrap();
            assert_eq!(
                (entry.position, entry.kind, entry.body.len()),
                (i as u64 + 1, 9, size)
            );
            assert!(entry.body.iter().all(|byte| *byte == size as u8));
        }
        assert!(reader.next().unwrap().is_none());
    };
    check(&mut log.reader(0).unwrap());
    log.rotate();
    wait_until("the segment is closed", || log.status().segments == 2);
    if cfg!(feature = "compress") {
        wait_until("it is packed", || log.status().bytes < 100_000);
    }
    check(&mut log.reader(0).unwrap());
    check(&mut Reader::open_dir(dir.path(), 0).unwrap());
}

/// Writers, readers inside and outside, the packer and releases, all at once.
#[test]
fn readers_see_every_record_once_while_segments_are_closed_packed_and_released() {
    const N_RECORDS: u64 = 60_000;
    let dir = TempDir::new().unwrap();
    let mut config = small(dir.path());
    config.segment_bytes = 64 << 10;
    config.max_pending_bytes = 16 << 10;
    let (log, _) = Log::open(config).unwrap();
    let floors = [AtomicU64::new(0), AtomicU64::new(0)];
    let check = |mut reader: Reader, floor: &AtomicU64| {
        let mut n = 0;
        while n < N_RECORDS {
            match reader.next().unwrap() {
                Some(entry) => {
                    n += 1;
                    assert_eq!((entry.position, entry.kind), (n, 1));
                    assert_eq!(entry.body, body(n));
                    floor.store(n, Ordering::Relaxed);
                }
                None => thread::yield_now(),
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| check(log.reader(0).unwrap(), &floors[0]));
        scope.spawn(|| check(Reader::open_dir(dir.path(), 0).unwrap(), &floors[1]));
        scope.spawn(|| {
            let mut batch = Batch::new();
            for n in 1..=N_RECORDS {
                batch.push(1, |out| out.extend_from_slice(&body(n)));
                if n % 64 == n / 1000 % 64 || n == N_RECORDS {
                    assert_eq!(log.append_blocking(&batch).unwrap(), n);
                    batch.clear();
                }
            }
        });
        let mut n_released = 0;
        loop {
            let floor = floors.iter().map(|f| f.load(Ordering::Relaxed)).min().unwrap();
            n_released += log.release_to_size(floor, 512 << 10).unwrap().records;
            if floor == N_RECORDS {
                break;
            }
            thread::yield_now();
        }
        assert!(n_released > 0, "nothing was released: the test is too small");
    });
    let status = log.status();
    assert_eq!(
        (status.durable, &status.failed, &status.pack_error),
        (N_RECORDS, &None, &None)
    );
    assert!(status.bytes <= (512 << 10) + (64 << 10), "{status:?}");
    // A late reader begins with the first record kept.
    let mut late = log.reader(0).unwrap();
    assert_eq!(late.next().unwrap().unwrap().position, status.first);
    // And a reopened log agrees.
    log.close().unwrap();
    let (log, recovery) = Log::open(small(dir.path())).unwrap();
    assert_eq!(
        (recovery.first, recovery.last, recovery.torn),
        (status.first, N_RECORDS, None)
    );
    assert_eq!(
        read_all(&mut log.reader(0).unwrap()).len() as u64,
        N_RECORDS + 1 - status.first
    );
}

#[test]
fn many_appends_share_a_commit_and_a_lone_one_does_not_wait_for_company() {
    let dir = TempDir::new().unwrap();
    let mut config = config(dir.path());
    config.commit_wait = std::time::Duration::from_secs(20);
    let (log, _) = Log::open(config).unwrap();
    let since = std::time::Instant::now();
    fill(&log, 1..=20);
    assert_eq!(log.status().n_commits, 20);
    assert!(
        since.elapsed() < std::time::Duration::from_secs(15),
        "an idle log waited for company"
    );

    drop(log);
    let (log, _) = Log::open(crate::config(dir.path())).unwrap();
    for n in 21..=20_020 {
        assert_eq!(log.append_blocking(&batch(&[(1, &body(n))])).unwrap(), n);
    }
    log.wait_durable_blocking(20_020).unwrap();
    let status = log.status();
    assert_eq!(status.n_records, 20_000);
    assert!(status.n_commits < 2_000, "{} commits", status.n_commits);
}

#[tokio::test]
async fn tasks_append_wait_and_watch() {
    let dir = TempDir::new().unwrap();
    let (log, _) = Log::open(config(dir.path())).unwrap();
    let mut durable = log.durable();
    let tasks: Vec<_> = (0..50_u8)
        .map(|n| {
            let log = log.clone();
            tokio::spawn(async move {
                let position = log.append(&batch(&[(n, b"x")])).await.unwrap();
                log.wait_durable(position).await.unwrap();
                assert!(log.status().durable >= position);
                position
            })
        })
        .collect();
    let mut positions = Vec::new();
    for task in tasks {
        positions.push(task.await.unwrap());
    }
    positions.sort();
    assert_eq!(positions, (1..=50).collect::<Vec<_>>());
    durable.wait_for(|last| *last == 50).await.unwrap();
    log.close().unwrap();
    assert!(
        durable.changed().await.is_err(),
        "the channel closes with the log"
    );
    assert!(matches!(log.wait_durable(51).await, Err(LogError::Closed)));
    assert!(matches!(
        log.append(&batch(&[(1, b"x")])).await,
        Err(LogError::Closed)
    ));
}

#[test]
fn closed_segments_and_a_closed_log_give_back_what_was_set_aside_for_them() {
    use std::os::unix::fs::MetadataExt;
    let dir = TempDir::new().unwrap();
    let (log, _) = Log::open(config(dir.path())).unwrap();
    let allocated = || -> u64 {
        let entries = std::fs::read_dir(dir.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().metadata().unwrap().blocks() * 512)
            .sum()
    };
    fill(&log, 1..=10);
    log.rotate();
    wait_until("the segment is closed", || log.status().segments == 2);
    assert!(allocated() < 256 << 10, "{} bytes for ten records", allocated());
    fill(&log, 11..=20);
    log.close().unwrap();
    assert!(
        allocated() < 256 << 10,
        "{} bytes for twenty records",
        allocated()
    );
}

#[test]
fn closing_from_two_threads_gives_the_folder_free_only_when_all_is_durable() {
    let dir = TempDir::new().unwrap();
    for round in 0..20 {
        let (log, recovery) = Log::open(config(dir.path())).unwrap();
        assert_eq!((recovery.last, recovery.torn), (round * 500, None));
        for n in 1..=500 {
            log.append_blocking(&batch(&[(1, &body(n))])).unwrap();
        }
        thread::scope(|scope| {
            scope.spawn(|| log.close().unwrap());
            scope.spawn(|| log.close().unwrap());
        });
        assert_eq!(log.status().durable, (round + 1) * 500);
    }
}
