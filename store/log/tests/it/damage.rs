//! Torn tails are cut and reported; damage elsewhere stops the log and changes nothing.

use std::{fs, path::PathBuf};

use onemap_log::{Log, LogError, Reader};
use tempfile::TempDir;

use crate::{batch, commit, config, files, fill, numbered, read_all, small};

const SEGMENT: &str = "00000000000000000001.seg";

/// The only segment of a log of three commits as `kill -9` would leave it, and its length after two.
fn three_commits() -> (Vec<u8>, usize) {
    let dir = TempDir::new().unwrap();
    let (log, _) = Log::open(config(dir.path())).unwrap();
    fill(&log, 1..=2);
    let two = written(&dir).len();
    fill(&log, 3..=3);
    (written(&dir), two)
}

/// The segment without the room that is set aside behind it.
fn written(dir: &TempDir) -> Vec<u8> {
    let mut bytes = fs::read(dir.path().join(SEGMENT)).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes.truncate(end);
    bytes
}

fn folder_with(segment: &[u8]) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join(SEGMENT);
    fs::write(&path, segment).unwrap();
    (dir, path)
}

/// Opens a log with a bad third commit, as it is and with room set aside behind it.
fn assert_torn(bytes: &[u8], two: usize, mark: usize, what: &str) {
    assert_torn_as_it_is(bytes, two, mark, what);
    // A mark ends with seven zeros: cut inside them and with room behind it is whole.
    if !(two + mark - 7..two + mark).contains(&bytes.len()) {
        let with_room = [bytes, &[0; 300_000]].concat();
        assert_torn_as_it_is(&with_room, two, mark, &format!("{what}, room behind"));
    }
}

/// Two records stay, the rest of the bytes up to the last that is not zero is saved, the log goes on.
fn assert_torn_as_it_is(bytes: &[u8], two: usize, mark: usize, what: &str) {
    let (dir, _) = folder_with(bytes);
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let written = &bytes[..end];
    // A reader from outside takes the tail for the end.
    assert_eq!(
        read_all(&mut Reader::open_dir(dir.path(), 0).unwrap()),
        numbered(1..=2),
        "{what}"
    );

    let (log, recovery) = Log::open(config(dir.path())).unwrap();
    assert_eq!((recovery.first, recovery.last), (1, 2), "{what}");
    let torn = recovery.torn.expect(what);
    assert!(
        [two, two + mark].contains(&(torn.at_byte as usize)),
        "{what}: {torn:?}"
    );
    assert_eq!((torn.records_kept, torn.last_kept), (2, 2), "{what}");
    assert_eq!(
        fs::read(&torn.saved_as).unwrap(),
        &written[torn.at_byte as usize..],
        "{what}"
    );
    assert_eq!(torn.lost_bytes as usize, written.len() - torn.at_byte as usize);

    fill(&log, 3..=4);
    log.close().unwrap();
    let (log, recovery) = Log::open(config(dir.path())).unwrap();
    assert_eq!((recovery.last, recovery.torn), (4, None), "{what}");
    assert_eq!(read_all(&mut log.reader(0).unwrap()), numbered(1..=4), "{what}");
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_saved_and_reported() {
    let (whole, two) = three_commits();
    let mark = 25;
    for cut in two + 1..whole.len() {
        if cut != two + mark {
            assert_torn(&whole[..cut], two, mark, &format!("cut at {cut}"));
        }
    }
    // Nothing is torn where a commit ends, or where only its mark was written.
    for cut in [two, two + mark] {
        let (dir, _) = folder_with(&whole[..cut]);
        let (_, recovery) = Log::open(config(dir.path())).unwrap();
        assert_eq!((recovery.last, recovery.torn), (2, None));
    }
}

#[test]
fn a_power_cut_that_left_zeros_or_holes_in_the_last_commit_is_a_torn_tail() {
    let (whole, two) = three_commits();
    for at in two..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        assert_torn(&flipped, two, 25, &format!("byte {at} flipped"));
    }
    for hole in [two..two + 25, two + 25..two + 40, two + 10..whole.len() - 1] {
        let mut holed = whole.clone();
        holed[hole.clone()].fill(0);
        assert_torn(&holed, two, 25, &format!("hole {hole:?}"));
    }
}

#[test]
fn zeros_behind_the_last_commit_are_room_and_no_tear() {
    let (whole, two) = three_commits();
    for (bytes, last) in [(&whole[..two], 2), (&whole[..two + 25], 2), (&whole[..], 3)] {
        for n_zeros in [1, 8, 9, 5000, 700_000] {
            let (dir, path) = folder_with(&[bytes, &vec![0; n_zeros]].concat());
            let mut outside = Reader::open_dir(dir.path(), 0).unwrap();
            assert_eq!(read_all(&mut outside), numbered(1..=last));
            let (log, recovery) = Log::open(config(dir.path())).unwrap();
            assert_eq!((recovery.last, recovery.torn), (last, None), "{n_zeros} zeros");
            assert_eq!(fs::metadata(&path).unwrap().len(), bytes.len() as u64);
            // The reader that saw the room goes on when it fills.
            fill(&log, last + 1..=last + 2);
            assert_eq!(read_all(&mut outside), numbered(last + 1..=last + 2));
            log.rotate();
            fill(&log, last + 3..=last + 3);
            assert_eq!(read_all(&mut outside), numbered(last + 3..=last + 3));
        }
    }
}

#[test]
fn the_same_tear_twice_saves_both_tails() {
    let (whole, two) = three_commits();
    let (dir, path) = folder_with(&whole[..two + 3]);
    drop(Log::open(config(dir.path())).unwrap());
    fs::write(&path, &whole[..two + 7]).unwrap();
    drop(Log::open(config(dir.path())).unwrap());
    assert_eq!(files(dir.path(), ".torn").len(), 2);
}

#[test]
fn records_of_the_torn_commit_before_the_tear_are_kept() {
    let dir = TempDir::new().unwrap();
    let (log, _) = Log::open(config(dir.path())).unwrap();
    let three = batch(&[(1, b"one"), (1, b"two"), (1, b"three")]);
    log.append_blocking(&three).unwrap();
    log.wait_durable_blocking(3).unwrap();
    let bytes = written(&dir);
    let (dir, _) = folder_with(&bytes[..bytes.len() - 1]);
    let (log, recovery) = Log::open(config(dir.path())).unwrap();
    assert_eq!(recovery.last, 2);
    assert_eq!(
        read_all(&mut log.reader(0).unwrap()),
        [(1, 1, b"one".to_vec()), (2, 1, b"two".to_vec())]
    );
}

#[test]
fn damage_before_the_last_commit_is_an_error_that_names_the_place_and_changes_nothing() {
    let (whole, two) = three_commits();
    for at in 0..two {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        let (dir, path) = folder_with(&damaged);
        match Log::open(config(dir.path())) {
            Err(LogError::Corrupt { segment, at_byte, .. }) => {
                assert_eq!(segment, path);
                assert!(at_byte as usize <= at, "byte {at} flipped, reported at {at_byte}");
            }
            Err(LogError::Version { .. }) if (8..10).contains(&at) => {}
            other => panic!("byte {at} flipped: {other:?}"),
        }
        assert_eq!(fs::read(&path).unwrap(), damaged);
        assert_eq!(files(dir.path(), "").len(), 1);
    }
}

#[test]
fn the_last_commit_of_a_log_that_was_closed_is_not_taken_for_a_torn_tail() {
    let dir = TempDir::new().unwrap();
    let (log, _) = Log::open(config(dir.path())).unwrap();
    fill(&log, 1..=3);
    log.close().unwrap();
    let path = dir.path().join(SEGMENT);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() - 30;
    bytes[at] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = Log::open(config(dir.path())).unwrap_err();
    assert!(matches!(error, LogError::Corrupt { position: 3, .. }), "{error}");
    let mut reader = Reader::open_dir(dir.path(), 1).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().position, 2);
    assert!(matches!(
        reader.next(),
        Err(LogError::Corrupt { position: 3, .. })
    ));
}

#[test]
fn damage_in_a_closed_segment_is_met_by_its_reader_and_keeps_it_from_being_released_unseen() {
    let dir = TempDir::new().unwrap();
    let mut small = small(dir.path());
    small.compress = false;
    small.lasting_kinds = &[2];
    let (log, _) = Log::open(small.clone()).unwrap();
    fill(&log, 1..=100);
    log.close().unwrap();
    let path = dir.path().join(SEGMENT);
    let mut bytes = fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - 1);
    fs::write(&path, &bytes).unwrap();

    let (log, _) = Log::open(small).unwrap();
    let mut reader = log.reader(0).unwrap();
    let error = loop {
        match reader.next() {
            Ok(entry) => assert!(entry.is_some()),
            Err(error) => break error,
        }
    };
    let lost = reader.position() + 1;
    assert!(
        lost > 5 && matches!(&error, LogError::Corrupt { position, .. } if *position == lost),
        "{error}"
    );
    let error = log.release_to_size(100, 0).unwrap_err();
    assert!(matches!(error, LogError::Corrupt { .. }), "{error}");
    assert_eq!(log.status().first, 1);
}

#[cfg(feature = "compress")]
#[test]
fn any_flipped_byte_of_a_packed_segment_is_seen() {
    let dir = TempDir::new().unwrap();
    let (log, _) = Log::open(small(dir.path())).unwrap();
    fill(&log, 1..=60);
    log.rotate();
    crate::wait_until("all closed segments are packed", || {
        files(dir.path(), ".seg").len() == 1
    });
    log.close().unwrap();
    let path = dir.path().join(format!("{SEGMENT}z"));
    let whole = fs::read(&path).unwrap();
    for at in 40..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x04;
        fs::write(&path, &damaged).unwrap();
        let mut reader = Reader::open_dir(dir.path(), 0).unwrap();
        let result = loop {
            match reader.next() {
                Ok(Some(_)) => {}
                end => break end.map(|_| ()),
            }
        };
        assert!(
            matches!(result, Err(LogError::Corrupt { .. })),
            "byte {at}: {result:?}"
        );
    }
}

#[test]
fn a_folder_has_one_writer_at_a_time() {
    let dir = TempDir::new().unwrap();
    let (log, _) = Log::open(config(dir.path())).unwrap();
    commit(&log, 1, b"a");
    let reader = log.reader(0).unwrap();
    assert!(matches!(
        Log::open(config(dir.path())),
        Err(LogError::Locked { .. })
    ));
    log.close().unwrap();
    assert!(matches!(
        log.append_blocking(&batch(&[(1, b"b")])),
        Err(LogError::Closed)
    ));
    let (log, recovery) = Log::open(config(dir.path())).unwrap();
    assert_eq!(recovery.last, 1);
    drop((log, reader));
}
