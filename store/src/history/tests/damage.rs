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

/// The largest table is that of the chunks: one byte in its middle.
fn flip_in_largest_table(dir: &Path) {
    let mut tables = Vec::new();
    let mut folders = vec![dir.to_owned()];
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
    flip_in_largest_table(dir.path());

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
    let (key, row) = disk.growth.iter().nth(2).unwrap().into_inner().unwrap();
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
    // Which series it spoke of is not known.
    assert_eq!(told(|| drop(times(&history))), Some((1, 0, 3000)));
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

fn told(read: impl FnOnce()) -> Option<(u64, i64, i64)> {
    let ((), missing) = noting(read);
    missing
        .damage()
        .map(|damage| (damage.rows, damage.from.ms(), damage.to.ms()))
}

#[test]
fn whatever_is_asked_says_which_times_a_damaged_chunk_takes_from_the_answer() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path());
    for i in 0..3 {
        let readings: Vec<Reading> = (0..64).map(|k| number(i, k * 1000, k as f64, 1)).collect();
        history.append(&readings).unwrap();
    }
    history.checkpoint(1, &[]).unwrap();
    let ids: Vec<SeriesId> = (0..3).map(|i| history.series_id(&series(i)).unwrap()).collect();
    for id in [ids[0], ids[2]] {
        damage(&history, 0, key(id.0, 16_000, 1));
    }
    let id = ids[0];
    // Up to the chunk behind it.
    let want = Some((1, 16_000, 31_999));
    assert_eq!(told(|| drop(scanned(&history, id, 0, 64_000))), want);
    assert_eq!(told(|| drop(history.versions(id, t(0), t(64_000)))), want);
    let step = Duration::from_secs(5);
    for agg in [Agg::Mean, Agg::Delta, Agg::Percentile(0.5)] {
        let steps = || drop(history.downsample(id, t(0), t(64_000), step, agg).unwrap());
        assert_eq!(told(steps), want, "{agg:?}");
    }
    // Not where it does not matter: another series, other times.
    assert_eq!(told(|| drop(scanned(&history, ids[1], 0, 64_000))), None);
    assert_eq!(told(|| drop(scanned(&history, id, 0, 16_000))), None);
    assert_eq!(told(|| drop(scanned(&history, id, 32_000, 64_000))), None);
    // Nor where memory has what lies behind it.
    let third = ids[1];
    damage(&history, 0, key(third.0, 48_000, 3));
    history.append(&[number(1, 90_000, 1.0, 1)]).unwrap();
    assert_eq!(
        told(|| drop(scanned(&history, third, 0, 200_000))),
        Some((1, 48_000, 89_999))
    );
    assert_eq!(told(|| drop(scanned(&history, third, 90_000, 200_000))), None);
    // Of all threads: so many that each reads some.
    let members = ids.iter().cycle().take(120);
    let groups = [members.map(|id| Member::from(*id)).collect()];
    let across = Across {
        each: Agg::Mean,
        over: Over::Mean,
    };
    let grouped = || {
        let span = (t(0), t(64_000));
        drop(
            history
                .aggregate(&groups, span, step, across, Which::default())
                .unwrap(),
        );
    };
    assert_eq!(told(grouped), Some((3, 16_000, 64_000 - 1)));
}

#[test]
fn what_a_damaged_head_took_is_told_for_good_and_only_for_its_times() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path());
    let readings: Vec<Reading> = (0..70).map(|i| number(0, i * 1000, i as f64, 1)).collect();
    history.append(&readings).unwrap();
    history.append(&[number(1, 80_000, 1.0, 1)]).unwrap();
    history.checkpoint(1, &[]).unwrap();
    // What came behind the head is in a row of its own, and tells nothing of what the head had.
    history.append(&[number(0, 75_000, 1.0, 1)]).unwrap();
    history.checkpoint(1, &[]).unwrap();
    let id = history.series_id(&series(0)).unwrap();
    let row = id.0.to_be_bytes();
    let mut head = history.disk().unwrap().heads.get(row).unwrap().unwrap().to_vec();
    head[3] ^= 1;
    history.disk().unwrap().heads.insert(row, head).unwrap();
    drop(history);
    let lost = |history: &History, from, to| told(|| drop(scanned(history, id, from, to)));
    for n in 0..3 {
        let history = open(dir.path());
        // From the last chunk's end to the newest time that was known then.
        assert_eq!(lost(&history, 0, 100_000), Some((1, 63_001, 80_000)), "{n}");
        assert_eq!(lost(&history, 0, 63_000), None);
        assert_eq!(lost(&history, 80_001, 200_000), None);
        let other = history.series_id(&series(1)).unwrap();
        assert_eq!(told(|| drop(scanned(&history, other, 0, 100_000))), None);
        // The row is written anew, and sound from then on.
        history.append(&[number(0, 90_000 + n * 1000, 1.0, 2)]).unwrap();
        history.checkpoint(2 + n as u64, &[]).unwrap();
    }
}

#[test]
fn a_copy_goes_on_behind_a_damaged_block_and_a_history_made_of_it_says_what_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path());
    let n_series = 3;
    let noise = |i: usize, k: i64| ((k * 7_919 + i as i64) % 10_007) as f64 / 100.0;
    for i in 0..n_series {
        let readings: Vec<Reading> = (0..5_000).map(|k| number(i, k * 1000, noise(i, k), 1)).collect();
        history.append(&readings).unwrap();
    }
    history.checkpoint(1, &[]).unwrap();
    history
        .disk()
        .unwrap()
        .partition(0)
        .unwrap()
        .rotate_memtable_and_wait()
        .unwrap();
    drop(history);
    flip_in_largest_table(dir.path());
    let history = open(dir.path());
    // A row whose checksum does not fit, too, far from it.
    let last = history.series_id(&series(n_series - 1)).unwrap();
    let keyspace = history.disk().unwrap().partition(0).unwrap();
    let rows = key(last.0, i64::MIN, 0)..=key(last.0, i64::MAX, u32::MAX);
    let (torn, row) = keyspace.range(rows).nth(9).unwrap().into_inner().unwrap();
    let mut row = row.to_vec();
    row[20] ^= 4;
    keyspace.insert(torn.clone(), row).unwrap();
    drop(keyspace);
    history.checkpoint(2, &[]).unwrap();

    let into = tempfile::tempdir().unwrap();
    let copy = history.copy().unwrap();
    let made = Restore::begin(into.path()).unwrap();
    let mut left_out = Vec::new();
    for name in copy.keyspaces() {
        let mut rows = Vec::new();
        let copied = copy
            .write(&name, &mut rows, &mut |_| ControlFlow::Continue(()))
            .unwrap();
        assert_eq!(made.take(&name, &mut rows.as_slice()).unwrap(), copied.rows);
        left_out.extend(copied.left_out);
    }
    assert_eq!(left_out.len(), 2, "{left_out:?}");
    assert_eq!(left_out[1].lost.as_ref().unwrap().series, (last.0, last.0));
    made.lacks(&left_out).unwrap();
    made.finish().unwrap();

    let made = open(into.path());
    let mut n_missing = 0;
    for i in 0..n_series {
        let id = history.series_id(&series(i)).unwrap();
        let n = scanned(&made, id, 0, 5_000_000).len();
        // Whatever can be read of the damaged one is in the copy.
        let of_damaged = scanned(&history, id, 0, 5_000_000).len();
        assert!(n <= 5_000 && n + 100 > of_damaged, "{i}: {n} of {of_damaged}");
        let said = told(|| drop(scanned(&made, id, 0, 5_000_000)));
        n_missing += 5_000 - n;
        assert!(
            n == 5_000 || said.is_some(),
            "series {i} has {n} points and nothing is said"
        );
    }
    assert!(n_missing > 16, "{n_missing}");
    assert!(n_missing < 5_000, "{n_missing}");
}

#[test]
fn a_history_without_its_cursor_is_copied_and_takes_the_journal_again() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path());
    let readings: Vec<Reading> = (0..70).map(|i| number(0, i * 1000, i as f64, 1)).collect();
    history.append(&readings).unwrap();
    history.append(&[number(0, 5000, 99.0, 2)]).unwrap();
    history.checkpoint(2, &[("rules", b"one")]).unwrap();
    let meta = history.disk().unwrap().meta.clone();
    let mut row = meta.get(checkpoint::CURSOR).unwrap().unwrap().to_vec();
    row[0] ^= 1;
    meta.insert(checkpoint::CURSOR, row).unwrap();
    let copy = history.copy().unwrap();
    assert_eq!(copy.cursor(), 2);
    let into = tempfile::tempdir().unwrap();
    let made = Restore::begin(into.path()).unwrap();
    for name in copy.keyspaces() {
        let mut rows = Vec::new();
        let copied = copy
            .write(&name, &mut rows, &mut |_| ControlFlow::Continue(()))
            .unwrap();
        assert_eq!(copied.is_usable, name != "meta");
        assert_eq!(copied.left_out.len(), usize::from(name == "meta"));
        if copied.is_usable {
            made.take(&name, &mut rows.as_slice()).unwrap();
        }
    }
    made.finish().unwrap();
    let made = open(into.path());
    assert_eq!((made.cursor(), made.extra("rules")), (0, None));
    let id = made.series_id(&series(0)).unwrap();
    let before = scanned(&made, id, 0, 100_000);
    assert_eq!(before, scanned(&history, id, 0, 100_000));
    made.append(&readings).unwrap();
    made.append(&[number(0, 5000, 99.0, 2)]).unwrap();
    made.checkpoint(2, &[("rules", b"one")]).unwrap();
    assert_eq!(scanned(&made, id, 0, 100_000), before);
}
