//! Letting go, at any moment and with a stop at any moment.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use onemap_model::{Quality, Quantity, Reading, SeriesKey, Timestamp, Value};
use proptest::prelude::*;

use super::series::parse_key;
use super::{Agg, Class, History, HistoryConfig, Kind, LetGo, Outcome, Retention, SeriesId, Span};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const START: i64 = 2915 * 7 * DAY + 3 * HOUR;

fn open(dir: &Path) -> History {
    let config = HistoryConfig {
        chunk_points: 16,
        chunk_span: Duration::from_secs(3600),
        late_points: 12,
        cache_bytes: 1 << 20,
    };
    let history = History::open(dir, config).unwrap();
    history.set_retention(retention());
    history
}

fn days(n: u64) -> Option<Duration> {
    Some(Duration::from_secs(n * 86_400))
}

/// Two weeks of one quantity, four of the others; hours of one for eight weeks.
fn retention() -> Retention {
    let short = Class {
        name: "short".to_owned(),
        quantities: vec![Quantity::named("pm2_5").unwrap()],
        span: Span {
            raw: days(14),
            rollups: days(56),
        },
    };
    Retention {
        default: Span {
            raw: days(28),
            rollups: None,
        },
        classes: vec![short],
    }
}

fn key_of(i: usize) -> SeriesKey {
    parse_key(["air-1/pm2_5/0", "air-1/pm10/0", "gauge-7/water_level/0"][i % 3]).unwrap()
}

fn reading(i: usize, at: i64, n: u8, position: u64) -> Reading {
    Reading {
        series: key_of(i),
        measured_at: Timestamp::from_ms(at),
        period: Duration::ZERO,
        received_at: Timestamp::from_ms(START + position as i64 * 1000),
        value: Value::Number(f64::from(n) / 10.0),
        quality: Quality::GOOD,
        position,
    }
}

#[derive(Clone, Debug)]
enum Happening {
    /// Series, hours back, value.
    Frame(Vec<(usize, i64, u8)>),
    /// Days in which nothing comes.
    Silence(i64),
    Checkpoint,
    Crash,
    /// A write fails, and the database is opened again.
    Mend,
    Care(i64),
    /// Until so many looks at the clock.
    LetGo(i64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let back = prop_oneof![6 => Just(0i64), 2 => 1i64..40, 1 => 300i64..500];
    let one = (0usize..3, back, 0u8..9);
    prop_oneof![
        12 => prop::collection::vec(one, 1..12).prop_map(Happening::Frame),
        4 => (1i64..9).prop_map(Happening::Silence),
        3 => Just(Happening::Checkpoint),
        2 => Just(Happening::Crash),
        1 => Just(Happening::Mend),
        3 => (1i64..9).prop_map(Happening::Care),
        5 => (1i64..12).prop_map(Happening::LetGo),
    ]
}

fn until(n: i64) -> impl Fn() -> bool {
    let left = Cell::new(n);
    move || left.replace(left.get() - 1) <= 0
}

fn scanned(history: &History, id: SeriesId) -> Vec<(i64, f64)> {
    let mut all = Vec::new();
    let (from, to) = (Timestamp::from_ms(i64::MIN), Timestamp::from_ms(i64::MAX));
    history
        .scan(id, from, to, &mut |point| {
            all.push((point.measured_at.ms(), point.value.number().unwrap()));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    all
}

type Oracle = BTreeMap<usize, BTreeMap<i64, f64>>;

/// What is shown is what the map has from the floor on, and the hours are those of all that was not older
/// than the hours are kept.
fn check(history: &History, oracle: &Oracle) {
    for (i, points) in oracle {
        let id = history.series_id(&key_of(*i)).unwrap();
        let last = *points.keys().next_back().unwrap();
        let kept = history.kept_from(id);
        let (raw, hours) = kept.map_or((i64::MIN, i64::MIN), |kept| {
            let hours = kept.rollups.map_or(i64::MIN, |hours| hours.ms());
            (kept.values.ms(), hours)
        });
        let want: Vec<(i64, f64)> = points.range(raw.min(last)..).map(|(at, n)| (*at, *n)).collect();
        assert_eq!(scanned(history, id), want, "series {i}, kept from {raw}");
        let first = (last - 80 * DAY).div_euclid(HOUR) * HOUR;
        let (from, to) = (Timestamp::from_ms(first), Timestamp::from_ms(last + 1));
        let max = history
            .downsample(id, from, to, Duration::from_secs(3600), Agg::Max)
            .unwrap();
        for step in max {
            let start = step.start.ms();
            let end = start + HOUR;
            if start < hours || (start < raw && end > last + 1) {
                continue;
            }
            let want = points
                .range(start..end.min(last + 1))
                .map(|(_, n)| *n)
                .reduce(f64::max);
            assert_eq!(step.value, want, "series {i}, hour {start}, kept from {raw}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn what_is_let_go_is_gone_as_a_whole_whatever_the_moment_of_a_stop(
        happenings in prop::collection::vec(happening(), 1..90),
    ) {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut history = open(dir.path());
        let unbroken = open(other.path());
        let mut oracle = Oracle::new();
        let mut journal: Vec<(i64, Vec<Reading>)> = Vec::new();
        let mut outcomes: Vec<Vec<Outcome>> = Vec::new();
        let mut clock = START;
        for happening in &happenings {
            match happening {
                Happening::Frame(frame) => {
                    clock += 600_000;
                    let position = journal.len() as u64 + 1;
                    let readings: Vec<Reading> =
                        frame.iter().map(|(i, back, n)| reading(*i, clock - back * HOUR, *n, position)).collect();
                    for history in [&history, &unbroken] {
                        history.note_time(Timestamp::from_ms(clock));
                    }
                    let closing = history.closing();
                    let mut said = Vec::new();
                    for reading in &readings {
                        let quantity = reading.series.quantity;
                        let at = reading.measured_at.ms();
                        let i = (0..3).find(|i| key_of(*i) == reading.series).unwrap();
                        let outcome = history.append(std::slice::from_ref(reading)).unwrap()[0];
                        if closing.get(&quantity).is_some_and(|closing| at < *closing) {
                            prop_assert_eq!(outcome.kind, Kind::Duplicate);
                        } else if outcome.kind != Kind::Duplicate {
                            // A value that was said before is not said again by a repetition of it.
                            oracle.entry(i).or_default().insert(at, reading.value.number().unwrap());
                        }
                        said.push(outcome);
                    }
                    // Who never let go of anything decides alike.
                    prop_assert_eq!(&unbroken.append(&readings).unwrap(), &said);
                    outcomes.push(said);
                    journal.push((clock, readings));
                }
                Happening::Silence(days) => clock += days * DAY,
                Happening::Checkpoint => {
                    // The journal's clock stands beside the cursor, as the pipeline puts it there.
                    let now = journal.last().map_or(START, |(clock, _)| *clock).to_le_bytes();
                    history.checkpoint(journal.len() as u64, &[("now", &now)]).unwrap();
                }
                Happening::Crash => {
                    drop(history);
                    history = open(dir.path());
                    let from = history.cursor() as usize;
                    let now = history.extra("now").map_or(START, |now| i64::from_le_bytes(now.try_into().unwrap()));
                    history.note_time(Timestamp::from_ms(now));
                    for ((clock, readings), said) in journal[from..].iter().zip(&outcomes[from..]) {
                        history.note_time(Timestamp::from_ms(*clock));
                        prop_assert_eq!(&history.append(readings).unwrap(), said, "what a replay decides");
                    }
                }
                Happening::Mend => {
                    history.wrote::<()>(Err(fjall::Error::Poisoned)).unwrap_err();
                    prop_assert!(history.mend().unwrap());
                }
                Happening::Care(n) => {
                    history.care(Timestamp::from_ms(clock), &until(*n)).unwrap();
                }
                Happening::LetGo(n) => {
                    history.let_go(&until(*n)).unwrap();
                }
            }
            if matches!(happening, Happening::LetGo(_) | Happening::Crash | Happening::Mend) {
                check(&history, &oracle);
            }
        }
        prop_assert_eq!(history.digest().unwrap(), unbroken.digest().unwrap());
        // To the end: a week later all of it is let go.
        clock += 8 * DAY;
        history.note_time(Timestamp::from_ms(clock));
        for _ in 0..5 {
            history.care(Timestamp::from_ms(clock), &|| false).unwrap();
            history.let_go(&|| false).unwrap();
            history.checkpoint(journal.len() as u64 + 1, &[]).unwrap();
        }
        check(&history, &oracle);
        let found = history.verify(&|| false).unwrap();
        prop_assert_eq!(&found.faults, &vec![]);
        let stats = history.stats();
        let stat = history.stat().unwrap();
        prop_assert_eq!(stat.weeks.iter().map(|week| week.chunks).sum::<u64>(), stats.chunks);
        for week in &stat.weeks {
            let span = if week.class == "short" { 14 } else { 28 };
            prop_assert!(week.to.ms() > clock - (span + 9) * DAY, "{:?}", week);
        }
        drop(history);
        let history = open(dir.path());
        check(&history, &oracle);
        prop_assert_eq!(history.stats().damaged, 0);
    }
}

/// Bytes that the files of a folder take on the disk.
fn taken(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(dir).unwrap();
    let of = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => taken(&entry.path()),
            false => entry.metadata().map_or(0, |found| found.blocks() * 512),
        }
    };
    entries.map(of).sum()
}

#[test]
fn the_room_of_what_is_gone_comes_back_from_weeks_that_go_and_from_those_that_stay() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path(), HistoryConfig::default()).unwrap();
    history.set_retention(retention());
    let (n_days, n_a_day) = (56, 1440);
    let mut random = 7u64;
    let mut position = 0;
    for day in 0..n_days {
        let mut readings = Vec::new();
        for i in 0..n_a_day {
            position += 1;
            for series in 0..3 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let mut one = reading(series, START + day * DAY + i * 60_000, 0, position);
                one.value = Value::Number(f64::from((random >> 40) as u32) / 100.0);
                readings.push(one);
            }
        }
        history.append(&readings).unwrap();
        history.checkpoint(position, &[]).unwrap();
    }
    let end = Timestamp::from_ms(START + n_days * DAY);
    history.note_time(end);
    history.care(end, &|| false).unwrap();
    let settle = || {
        for (_, keyspace) in history.disk().unwrap().partitions((i64::MIN, i64::MAX)) {
            keyspace.rotate_memtable_and_wait().unwrap();
            keyspace.major_compact().unwrap();
        }
    };
    settle();
    let folders = dir.path().join("keyspaces");
    let before = (taken(&folders), history.stat().unwrap());
    let mut done = LetGo::default();
    for _ in 0..6 {
        let gone = history.let_go(&|| false).unwrap();
        done.weeks += gone.weeks;
        done.rows += gone.rows;
        position += 1;
        history.checkpoint(position, &[]).unwrap();
    }
    let after = (taken(&folders), history.stat().unwrap());
    assert!(done.weeks >= 3 && done.rows >= 2, "{done:?}");
    let bytes = |stat: &super::Stat| stat.weeks.iter().map(|week| week.bytes).sum::<u64>();
    let (logical, real) = (
        bytes(&before.1) - bytes(&after.1),
        before.0.saturating_sub(after.0),
    );
    // Of one series five weeks of eight went, of the two others three.
    assert!(
        logical * 100 > bytes(&before.1) * 40,
        "{logical} of {}",
        bytes(&before.1)
    );
    assert!(
        real * 10 >= logical * 8,
        "{real} of {logical} bytes came back: {} to {}",
        before.0,
        after.0
    );
    assert!(after.1.disk_bytes < before.1.disk_bytes);
    assert_eq!(history.verify(&|| false).unwrap().faults, vec![]);
}

#[test]
fn a_round_that_waits_for_a_checkpoint_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path());
    for (i, at) in [START, START + 40 * DAY].into_iter().enumerate() {
        for k in [0, 1, 2] {
            history.append(&[reading(k, at, 1, i as u64 + 1)]).unwrap();
        }
    }
    history.checkpoint(2, &[]).unwrap();
    let end = Timestamp::from_ms(START + 41 * DAY);
    history.note_time(end);
    history.care(end, &|| false).unwrap();
    let round = || history.let_go(&|| false).unwrap();
    assert!(round().raised > 0);
    assert!(round().raised > 0, "no checkpoint came");
    history.checkpoint(3, &[]).unwrap();
    assert!(round().trimmed > 0);
    for _ in 0..2 {
        let waits = LetGo {
            waits: true,
            ..LetGo::default()
        };
        assert_eq!(round(), waits, "no checkpoint came");
    }
    history.checkpoint(4, &[]).unwrap();
    let cut_short = history.let_go(&|| true).unwrap();
    assert!(cut_short.waits, "{cut_short:?}");
    let gone = round();
    assert!(gone.weeks + gone.rows > 0 && !gone.waits, "{gone:?}");
    assert_eq!(round(), LetGo::default());
}

#[test]
fn a_replay_takes_what_was_taken_before_the_floor_rose() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(dir.path());
    // The journal: the clock and what came. The second value is within its fourteen days when it comes, and past
    // them at the third; it stays the newest of its series.
    let journal = [
        (START, reading(1, START, 1, 1)),
        (START, reading(0, START - 7 * DAY, 2, 2)),
        (START + 20 * DAY, reading(1, START + 20 * DAY, 3, 3)),
        (START + 20 * DAY, reading(0, START - 7 * DAY, 4, 4)),
    ];
    let fold = |history: &History, (clock, reading): &(i64, Reading)| {
        history.note_time(Timestamp::from_ms(*clock));
        history.append(std::slice::from_ref(reading)).unwrap()[0]
    };
    let mut said = vec![fold(&history, &journal[0])];
    history.checkpoint(1, &[]).unwrap();
    said.extend(journal[1..].iter().map(|record| fold(&history, record)));
    let kinds: Vec<Kind> = said.iter().map(|outcome| outcome.kind).collect();
    assert_eq!(kinds, [Kind::New, Kind::New, Kind::New, Kind::Duplicate]);
    let let_go = |history: &History| {
        let now = Timestamp::from_ms(START + 20 * DAY);
        history.care(now, &|| false).unwrap();
        history.let_go(&|| false).unwrap()
    };
    let_go(&history);
    let digest = history.digest().unwrap();
    let id = history.series_id(&key_of(0)).unwrap();
    for from in [1, 4] {
        drop(history);
        history = open(dir.path());
        assert_eq!(history.cursor(), from);
        for (record, said) in journal.iter().zip(&said).skip(from as usize) {
            assert_eq!(&fold(&history, record), said);
        }
        history.note_time(Timestamp::from_ms(START + 20 * DAY));
        assert_eq!(history.digest().unwrap(), digest);
        // Days that something came for are rolled up when a checkpoint has it; the next raises the floor.
        history.checkpoint(4, &[]).unwrap();
        let_go(&history);
        history.checkpoint(4, &[("a", b"b")]).unwrap();
        assert!(history.kept_from(id).unwrap().values > Timestamp::from_ms(START - 7 * DAY));
        assert_eq!(
            scanned(&history, id),
            [(START - 7 * DAY, 0.2)],
            "the newest stays"
        );
    }
}
