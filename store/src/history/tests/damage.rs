//! What is not as it was written: found, told with its place, left out, and nothing else with it.

use super::*;

fn first_week(history: &History) -> fjall::Keyspace {
    let disk = history.disk().unwrap();
    disk.partitions((i64::MIN, i64::MAX)).remove(0).1
}

#[test]
fn every_kind_of_fault_is_found_and_told_with_its_place() {
    type Harm = fn(&History);
    let harms: [(&str, Harm, &str); 7] = [
        (
            "a turned bit",
            |history| {
                let week = first_week(history);
                let (key, row) = week.first_key_value().unwrap().into_inner().unwrap();
                let mut row = row.to_vec();
                row[9] ^= 4;
                week.insert(key, row).unwrap();
            },
            ": its checksum does not fit",
        ),
        (
            "a chunk twice",
            |history| {
                let week = first_week(history);
                let (key, row) = week.first_key_value().unwrap().into_inner().unwrap();
                let points = chunk::points(chunk::open(&key, &row).unwrap().1).unwrap();
                let again = chunk::key(1, points[1].at, 999);
                week.insert(again, chunk::pack(&again, &points[1..])).unwrap();
            },
            ": it overlaps the chunk before it",
        ),
        (
            "a chunk in another week",
            |history| {
                let week = first_week(history);
                let (key, row) = week.last_key_value().unwrap().into_inner().unwrap();
                let mut points = chunk::points(chunk::open(&key, &row).unwrap().1).unwrap();
                points.iter_mut().for_each(|point| point.at += 30 * 86_400_000);
                let key = chunk::key(2, points[0].at, 999);
                week.insert(key, chunk::pack(&key, &points)).unwrap();
            },
            ": it reaches out of its week",
        ),
        (
            "a lost revision",
            |history| {
                let (key, _) = history
                    .disk()
                    .unwrap()
                    .revisions
                    .first_key_value()
                    .unwrap()
                    .into_inner()
                    .unwrap();
                history.disk().unwrap().revisions.remove(key).unwrap();
            },
            "revisions: the value that a revision replaced is missing",
        ),
        (
            "a lost chunk",
            |history| {
                let week = first_week(history);
                let (key, _) = week.first_key_value().unwrap().into_inner().unwrap();
                week.remove(key).unwrap();
            },
            "heads: the series should have 2000 points and has ",
        ),
        (
            "another rollup",
            |history| {
                let (key, row) = history
                    .disk()
                    .unwrap()
                    .rollups
                    .first_key_value()
                    .unwrap()
                    .into_inner()
                    .unwrap();
                let mut day = rollup::Day::decode(chunk::unseal(&key, &row).unwrap()).unwrap();
                day.hours[7].n += 1;
                history
                    .disk()
                    .unwrap()
                    .rollups
                    .insert(key.clone(), chunk::seal(&key, day.encode()))
                    .unwrap();
            },
            "rollups: the hours of the day are not those of its points",
        ),
        (
            "a head of something else",
            |history| {
                let key = 1u32.to_be_bytes();
                history
                    .disk()
                    .unwrap()
                    .heads
                    .insert(key, chunk::seal(&key, vec![7; 3]))
                    .unwrap();
            },
            "heads: it is no head of a series",
        ),
    ];
    for (name, harm, want) in harms {
        let dir = tempfile::tempdir().unwrap();
        let history = cared_for(dir.path());
        harm(&history);
        let told = faults(&history);
        assert!(told.iter().any(|told| told.contains(want)), "{name}: {told:?}");
    }
}

#[test]
fn a_damaged_chunk_is_skipped_and_counted_and_the_rest_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path());
    let readings: Vec<Reading> = (0..64).map(|i| number(0, i * 1000, i as f64, 1)).collect();
    history.append(&readings).unwrap();
    history.checkpoint(1, &[]).unwrap();
    let id = history.series_id(&series(0)).unwrap();
    let damaged = key(id.0, 16_000, 1);
    let keyspace = history.disk().unwrap().partition(0).unwrap();
    let mut row = keyspace.get(damaged).unwrap().unwrap().to_vec();
    row[20] ^= 4;
    keyspace.insert(damaged, row).unwrap();

    let points = scanned(&history, id, 0, 64_000);
    let times: Vec<i64> = points.iter().map(|p| p.measured_at.ms() / 1000).collect();
    let want: Vec<i64> = (0..16).chain(32..64).collect();
    assert_eq!(times, want);
    assert_eq!(history.stats().damaged, 1);
    // A value sent again for a time of the damaged chunk is kept, not taken for a repetition.
    let outcome = history.append(&[number(0, 20_000, 20.0, 2)]).unwrap()[0];
    assert_eq!(outcome.kind, Kind::Late);
    assert_eq!(scanned(&history, id, 20_000, 20_001).len(), 1);
}

fn scrub(history: &History, now: i64, days: u32) -> Scrubbed {
    history
        .scrub(t(now), Duration::from_secs(10), days, &mut |_| {
            ControlFlow::Continue(())
        })
        .unwrap();
    history.scrubbed()
}

#[test]
fn a_scrub_finds_a_damaged_row_knows_it_over_a_restart_and_until_it_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path());
    let week = 7 * 86_400_000;
    let readings: Vec<Reading> = (0..64).map(|i| number(0, i * 1000, i as f64, 1)).collect();
    history.append(&readings).unwrap();
    history
        .append(&[number(1, week + 1000, 1.0, 1), number(1, 3 * week, 2.0, 1)])
        .unwrap();
    history.checkpoint(1, &[]).unwrap();
    let day = 86_400_000;
    let sound = scrub(&history, day, 7);
    assert_eq!((sound.passes, sound.n_faults, sound.keyspace), (1, 0, None));
    let verified = history.verify(&|| false).unwrap();
    assert_eq!(
        sound.rows + 1,
        verified.rows,
        "all but the row that it wrote itself"
    );

    let id = history.series_id(&series(0)).unwrap();
    let (whole, damaged) = damage(&history, 0, key(id.0, 16_000, 1));
    // Not before it is due: with two weeks of chunks it takes two days.
    assert_eq!(history.stats().partitions, 2);
    assert_eq!(scrub(&history, 2 * day, 7).passes, 1);
    let found = scrub(&history, 3 * day, 7);
    assert_eq!((found.passes, found.n_faults), (2, 1));
    assert_eq!(found.faults[0].fault.keyspace, "c0");
    assert_eq!(found.faults[0].fault.series.as_deref(), Some("air-1/pm2_5/0"));
    assert_eq!(found.faults[0].fault.at, Some(t(16_000)));
    assert_eq!(history.stat().unwrap().scrub, found);
    drop(history);
    let history = open(dir.path());
    assert_eq!(history.scrubbed(), found);
    // Another pass finds the same row and counts it once; when the row is whole again it is no longer known.
    assert_eq!(scrub(&history, 5 * day, 7).n_faults, 1);
    history
        .disk()
        .unwrap()
        .partition(0)
        .unwrap()
        .insert(damaged, whole)
        .unwrap();
    let healed = scrub(&history, 7 * day, 7);
    assert_eq!(
        (healed.passes, healed.n_faults, &healed.faults[..]),
        (4, 0, &[][..])
    );
}

/// Flips a bit of a chunk; gives what the row was.
fn damage(history: &History, partition: i64, damaged: [u8; 16]) -> (Vec<u8>, [u8; 16]) {
    let keyspace = history.disk().unwrap().partition(partition).unwrap();
    let whole = keyspace.get(damaged).unwrap().unwrap().to_vec();
    let mut row = whole.clone();
    row[20] ^= 4;
    keyspace.insert(damaged, row).unwrap();
    (whole, damaged)
}

#[test]
fn a_scrub_goes_on_where_it_was_and_reads_each_row_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(dir.path());
    let readings: Vec<Reading> = (0..640)
        .map(|i| number(i % 3, i as i64 * 1000, i as f64, 1))
        .collect();
    history.append(&readings).unwrap();
    history.checkpoint(1, &[("rules", b"one")]).unwrap();
    let rows = history.verify(&|| false).unwrap().rows;
    let mut n_seen = 0;
    let mut n_slices = 0;
    while history.scrubbed().passes == 0 {
        // Broken off after five rows, as by a stop.
        let mut left = 5;
        history
            .scrub(t(1), Duration::ZERO, 7, &mut |_| {
                n_seen += 1;
                left -= 1;
                match left {
                    0 => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                }
            })
            .unwrap();
        n_slices += 1;
        assert!(n_slices < 100);
        drop(history);
        history = open(dir.path());
    }
    assert!(n_slices > 5, "{n_slices}");
    // Its own row may be one more.
    assert!((rows..=rows + 1).contains(&n_seen), "{n_seen} of {rows}");
    assert_eq!(history.scrubbed().rows, n_seen);
}

#[test]
fn a_byte_that_the_disk_has_flipped_is_found_and_what_lies_behind_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path());
    for i in 0..3 {
        let noise = |k: i64| ((k * 7_919 + i) % 10_007) as f64 / 100.0;
        let readings: Vec<Reading> = (0..20_000)
            .map(|k| number(i as usize, k * 1000, noise(k), 1))
            .collect();
        history.append(&readings).unwrap();
    }
    history.checkpoint(1, &[]).unwrap();
    let keyspace = history.disk().unwrap().partition(0).unwrap();
    keyspace.rotate_memtable_and_wait().unwrap();
    drop(keyspace);
    drop(history);
    // The largest table is that of the chunks: one byte in its middle.
    let mut tables = Vec::new();
    let mut folders = vec![dir.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false if entry.path().to_string_lossy().contains("tables") => {
                    tables.push((entry.metadata().unwrap().len(), entry.path()));
                }
                false => {}
            }
        }
    }
    let (len, table) = tables.into_iter().max().unwrap();
    assert!(len > 50_000, "{len}");
    let mut bytes = std::fs::read(&table).unwrap();
    bytes[len as usize / 2] ^= 1;
    std::fs::write(&table, bytes).unwrap();

    let history = open(dir.path());
    let found = scrub(&history, 1, 7);
    assert_eq!(found.passes, 1);
    assert!(found.n_faults >= 1, "{found:?}");
    assert_eq!(found.faults[0].fault.keyspace, "c0");
    let last = history.series_id(&series(2)).unwrap();
    assert_eq!(scanned(&history, last, 0, 20_000_000).len(), 20_000);

    // Nothing stops at it: what comes late for its times is taken, folded, read and cared for.
    let damaged = history.stats().damaged;
    for i in 0..3 {
        let id = history.series_id(&series(i as usize)).unwrap();
        let shown = scanned(&history, id, 0, 20_000_000).len();
        let late: Vec<Reading> = (0..200)
            .map(|k| number(i as usize, k * 100_000 + 500, k as f64, 2))
            .collect();
        let outcomes = history.append(&late).unwrap();
        assert!(outcomes.iter().all(|outcome| outcome.kind == Kind::Late));
        // Told again: what lies where nothing can be read may be new once more, the rest repeats.
        history.append(&late).unwrap();
        history.checkpoint(2 + i as u64, &[]).unwrap();
        let now = scanned(&history, id, 0, 20_000_000).len();
        assert!(now > shown / 2, "{now} of {shown}");
    }
    assert!(history.stats().damaged > damaged);
    history.care(t(3 * 86_400_000), &|| false).unwrap();
    assert!(history.stat().unwrap().damaged >= 1);
    drop(history);
    open(dir.path());
}

#[test]
fn a_damaged_head_does_not_hide_the_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path());
    let readings: Vec<Reading> = (0..70).map(|i| number(0, i * 1000, i as f64, 1)).collect();
    history.append(&readings).unwrap();
    history.checkpoint(1, &[]).unwrap();
    let id = history.series_id(&series(0)).unwrap();
    let row = id.0.to_be_bytes();
    let mut head = history.disk().unwrap().heads.get(row).unwrap().unwrap().to_vec();
    head[3] ^= 1;
    history.disk().unwrap().heads.insert(row, head).unwrap();
    drop(history);

    let history = open(dir.path());
    assert_eq!(history.stats().damaged, 1);
    assert_eq!(history.series(id).unwrap().n, 64);
    assert_eq!(scanned(&history, id, 0, 100_000).len(), 64);
    history.append(&readings[64..]).unwrap();
    assert_eq!(scanned(&history, id, 0, 100_000).len(), 70);
}

#[test]
fn a_damaged_row_of_growth_costs_its_points_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path());
    for i in 0..4 {
        history
            .append(&[number(0, i * 1000, i as f64, 1), number(1, i * 1000, 1.0, 1)])
            .unwrap();
        history.checkpoint(i as u64 + 1, &[]).unwrap();
    }
    let disk = history.disk().unwrap();
    let (key, row) = disk.growth.iter().nth(1).unwrap().into_inner().unwrap();
    let mut row = row.to_vec();
    row[2] ^= 1;
    disk.growth.insert(key, row).unwrap();
    drop((disk, history));

    let history = open(dir.path());
    assert_eq!(history.stats().damaged, 1);
    let id = history.series_id(&series(0)).unwrap();
    let times = |history: &History| -> Vec<i64> {
        let points = scanned(history, id, 0, 100_000);
        points.iter().map(|point| point.measured_at.ms()).collect()
    };
    assert_eq!(times(&history), [0, 1000, 3000]);
    // It has to go: whatever needed it is written whole.
    for i in 4..9 {
        history.append(&[number(0, i * 1000, i as f64, 1)]).unwrap();
        history.checkpoint(i as u64 + 1, &[]).unwrap();
    }
    drop(history);
    let history = open(dir.path());
    assert_eq!(history.stats().damaged, 0);
    assert_eq!(times(&history), [0, 1000, 3000, 4000, 5000, 6000, 7000, 8000]);
    assert_eq!(
        scanned(&history, history.series_id(&series(1)).unwrap(), 0, 100_000).len(),
        3
    );
}
