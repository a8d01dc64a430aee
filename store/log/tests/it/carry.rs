//! Lasting kinds outlive their segments.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use onemap_log::{Config, Log, LogError, Reader};
use tempfile::TempDir;

use crate::{Seen, body, commit, copy_dir, files, read_all, small};

fn lasting(dir: &std::path::Path) -> Config {
    Config {
        lasting_kinds: &[2, 3],
        ..small(dir)
    }
}

/// Every tenth record is of a lasting kind.
fn kind(n: u64) -> u8 {
    if n.is_multiple_of(10) {
        2 + (n / 10 % 2) as u8
    } else {
        1
    }
}

fn fill(log: &Log, range: std::ops::RangeInclusive<u64>) {
    for n in range {
        assert_eq!(commit(log, kind(n), &body(n)), n);
    }
}

/// What a reader behind `after` must see when segments begin with `first`.
fn expected(after: u64, first: u64, last: u64) -> Vec<Seen> {
    (after + 1..=last)
        .filter(|n| *n >= first || kind(*n) != 1)
        .map(|n| (n, kind(n), body(n)))
        .collect()
}

fn assert_reads(log: &Log, dir: &std::path::Path, last: u64) {
    let first = log.status().first;
    for after in (0..last).step_by(17) {
        assert_eq!(
            read_all(&mut log.reader(after).unwrap()),
            expected(after, first, last)
        );
        assert_eq!(
            read_all(&mut Reader::open_dir(dir, after).unwrap()),
            expected(after, first, last)
        );
    }
}

#[test]
fn lasting_records_of_released_segments_come_first_with_their_own_positions() {
    let dir = TempDir::new().unwrap();
    let mut n_carried = 0;
    for round in 0..3 {
        let (log, _) = Log::open(lasting(dir.path())).unwrap();
        let last = (round + 1) * 200;
        fill(&log, round * 200 + 1..=last);
        let released = log.release_to_size(last - 30, 0).unwrap();
        assert!(
            released.segments > 0 && released.first > last - 200,
            "{released:?}"
        );
        n_carried += released.carried;
        assert_eq!(log.status().carried, n_carried);
        assert_eq!(
            n_carried,
            (1..released.first).filter(|n| kind(*n) != 1).count() as u64
        );
        assert_reads(&log, dir.path(), last);
    }
}

#[test]
fn a_crash_between_carrying_over_and_removing_repeats_nothing() {
    let dir = TempDir::new().unwrap();
    let (log, _) = Log::open(lasting(dir.path())).unwrap();
    fill(&log, 1..=300);
    log.close().unwrap();
    let (before, after) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    copy_dir(dir.path(), before.path());

    let (log, _) = Log::open(lasting(dir.path())).unwrap();
    let released = log.release_to_size(250, 0).unwrap();
    assert!(released.carried > 10);
    log.close().unwrap();
    // The carry file is durable, the segments are still there.
    copy_dir(before.path(), after.path());
    fs::copy(dir.path().join("carry.log"), after.path().join("carry.log")).unwrap();
    let (log, recovery) = Log::open(lasting(after.path())).unwrap();
    assert_eq!(recovery.first, 1);
    assert_reads(&log, after.path(), 300);
    let again = log.release_to_size(250, 0).unwrap();
    assert_eq!((again.first, again.carried), (released.first, 0));
    assert_reads(&log, after.path(), 300);
    assert_eq!(log.status().carried, released.carried);
}

#[test]
fn a_torn_carry_file_is_cut_and_carried_anew_and_a_damaged_one_is_an_error() {
    let dir = TempDir::new().unwrap();
    let (log, _) = Log::open(lasting(dir.path())).unwrap();
    fill(&log, 1..=300);
    log.close().unwrap();
    let before = TempDir::new().unwrap();
    copy_dir(dir.path(), before.path());
    let (log, _) = Log::open(lasting(dir.path())).unwrap();
    let first = log.release_to_size(250, 0).unwrap().first;
    log.close().unwrap();
    let carry = fs::read(dir.path().join("carry.log")).unwrap();

    for cut in [41, 100, carry.len() - 1] {
        let torn = TempDir::new().unwrap();
        copy_dir(before.path(), torn.path());
        fs::write(torn.path().join("carry.log"), &carry[..cut]).unwrap();
        let (log, recovery) = Log::open(lasting(torn.path())).unwrap();
        assert_eq!(recovery.torn.unwrap().segment, torn.path().join("carry.log"));
        assert_eq!(log.release_to_size(250, 0).unwrap().first, first);
        assert_reads(&log, torn.path(), 300);
        assert_eq!(files(torn.path(), ".torn").len(), 1);
    }

    // Each segment's records stand behind a mark of their own: damage before one is no torn tail.
    let mut damaged = carry.clone();
    damaged[80] ^= 1;
    fs::write(dir.path().join("carry.log"), &damaged).unwrap();
    assert!(matches!(
        Log::open(lasting(dir.path())),
        Err(LogError::Corrupt { .. })
    ));
}

#[test]
fn release_by_age_spares_young_segments_unread_ones_and_the_active_one() {
    let dir = TempDir::new().unwrap();
    let (log, _) = Log::open(lasting(dir.path())).unwrap();
    fill(&log, 1..=200);
    let hour = Duration::from_secs(3600);
    assert_eq!(log.release(200, SystemTime::now() - hour).unwrap().segments, 0);
    assert_eq!(log.release(0, SystemTime::now() + hour).unwrap().segments, 0);
    let half = log.release(100, SystemTime::now() + hour).unwrap();
    assert!(half.segments > 0 && half.first <= 101, "{half:?}");
    assert_eq!(half.records, half.first - 1);
    log.release(u64::MAX, SystemTime::now() + hour).unwrap();
    assert_eq!(log.status().segments, 1);
    // Everything can be released when the active segment is closed first, and positions go on.
    log.rotate();
    crate::wait_until("the last records are in a closed segment", || {
        log.status().segments == 2
    });
    let all = log.release(u64::MAX, SystemTime::now() + hour).unwrap();
    assert_eq!(all.first, 201);
    log.close().unwrap();
    let (log, recovery) = Log::open(lasting(dir.path())).unwrap();
    assert_eq!((recovery.first, recovery.last), (201, 200));
    assert_reads(&log, dir.path(), 200);
    fill(&log, 201..=220);
    assert_reads(&log, dir.path(), 220);
}
