//! History against a sorted map that keeps everything, through restarts and crashes.
#![allow(clippy::unwrap_used)]

mod damage;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use onemap_model::{Quality, Reading, SeriesKey, Timestamp, Value};
use proptest::prelude::*;

use super::chunk::key;
use super::series::parse_key;
use super::*;

/// Small enough that a few hundred readings seal, fold and split.
fn small() -> HistoryConfig {
    HistoryConfig {
        chunk_points: 16,
        chunk_span: Duration::from_secs(3600),
        late_points: 12,
        cache_bytes: 1 << 20,
    }
}

fn open(dir: &Path) -> History {
    History::open(dir, small()).unwrap()
}

fn series(i: usize) -> SeriesKey {
    let names = ["air-1/pm2_5/0", "air-1/pm10/0", "gauge-7/water_level/0"];
    parse_key(names[i % names.len()]).unwrap()
}

fn reading(i: usize, at: i64, value: Value, position: u64) -> Reading {
    Reading {
        series: series(i),
        measured_at: Timestamp::from_ms(at),
        period: Duration::ZERO,
        received_at: Timestamp::from_ms(1_800_000_000_000 + position as i64 * 100),
        value,
        quality: Quality::GOOD,
        position,
    }
}

fn number(i: usize, at: i64, n: f64, position: u64) -> Reading {
    reading(i, at, Value::Number(n), position)
}

fn t(ms: i64) -> Timestamp {
    Timestamp::from_ms(ms)
}

fn scanned(history: &History, id: SeriesId, from: i64, to: i64) -> Vec<Point> {
    let mut points = Vec::new();
    history
        .scan(id, t(from), t(to), &mut |point| {
            points.push(point);
            ControlFlow::Continue(())
        })
        .unwrap();
    points
}

fn known(history: &History, id: SeriesId, from: i64, to: i64, at: Timestamp) -> Vec<Point> {
    let mut points = Vec::new();
    history
        .scan_known_at(id, t(from), t(to), at, &mut |point| {
            points.push(point);
            ControlFlow::Continue(())
        })
        .unwrap();
    points
}

/// The plainest history there could be.
#[derive(Default)]
struct Oracle(BTreeMap<SeriesKey, BTreeMap<i64, Vec<Version>>>);

impl Oracle {
    fn append(&mut self, r: &Reading) -> (Kind, bool, bool) {
        let at = r.measured_at.ms();
        let first_of_report = !self
            .0
            .iter()
            .any(|(key, times)| key.device == r.series.device && times.contains_key(&at));
        let times = self.0.entry(r.series.clone()).or_default();
        let late = times.last_key_value().is_some_and(|(last, _)| at < *last);
        let versions = times.entry(at).or_default();
        let is_first = versions.is_empty();
        let shown = versions.last();
        let is_said = versions.iter().any(|v| v.value == r.value);
        let is_newer = shown
            .and_then(|v| v.position)
            .is_some_and(|shown_by| r.position >= shown_by);
        let is_shown = shown.is_some_and(|v| v.value == r.value);
        if is_shown || (is_said && (!is_newer || r.quality.has(Quality::RESENT))) {
            return (Kind::Duplicate, late, false);
        }
        let mut quality = r.quality;
        if late {
            quality = quality.with(Quality::RESENT);
        }
        if !is_first {
            quality = quality.with(Quality::REVISED);
        }
        versions.iter_mut().for_each(|v| v.shown = false);
        versions.push(Version {
            measured_at: r.measured_at,
            value: r.value.clone(),
            quality,
            received_at: match is_first {
                true => t(r.received_at.ms() / 1000 * 1000),
                false => r.received_at,
            },
            position: (!is_first).then_some(r.position),
            shown: true,
        });
        let kind = match (is_first, late) {
            (false, _) => Kind::Revision,
            (true, true) => Kind::Late,
            (true, false) => Kind::New,
        };
        (kind, late, first_of_report)
    }

    fn check(&self, history: &History, from: i64, to: i64, known_at: Timestamp) {
        for (key, times) in &self.0 {
            let id = history.series_id(key).unwrap();
            let info = history.series(id).unwrap();
            assert_eq!(info.n, times.len() as u64, "{key}");
            assert_eq!(info.first.ms(), *times.keys().next().unwrap());
            assert_eq!(info.last.ms(), *times.keys().next_back().unwrap());
            let within: Vec<&Vec<Version>> = times.range(from..to).map(|(_, v)| v).collect();

            let point = |v: &Version| Point {
                measured_at: v.measured_at,
                value: v.value.clone(),
                quality: v.quality,
            };
            let shown: Vec<Point> = within.iter().map(|v| point(v.last().unwrap())).collect();
            assert_eq!(scanned(history, id, from, to), shown, "{key} {from}..{to}");

            let then: Vec<Point> = within
                .iter()
                .filter_map(|v| v.iter().rev().find(|v| v.received_at <= known_at).map(point))
                .collect();
            assert_eq!(
                known(history, id, from, to, known_at),
                then,
                "{key} at {known_at}"
            );

            let all: Vec<Version> = within.iter().flat_map(|v| v.iter().cloned()).collect();
            assert_eq!(history.versions(id, t(from), t(to)).unwrap(), all, "{key}");
            check_whole(history, id, (from, to), &within, known_at);

            for step_ms in [700, 60_000, 3_600_000, 86_400_000] {
                if (to - from) / step_ms < 5000 {
                    let fresh = |quality: Quality| !quality.has(Quality::RESENT);
                    for known_at in [None, Some(known_at)] {
                        for takes in [None, Some(&fresh as &(dyn Fn(Quality) -> bool + Sync))] {
                            let is_known = |v: &&Version| known_at.is_none_or(|then| v.received_at <= then);
                            let taken = |v: &&Version| takes.is_none_or(|takes| takes(v.quality));
                            let whole: Vec<&Version> = times
                                .values()
                                .filter_map(|v| v.iter().rfind(is_known).filter(taken))
                                .collect();
                            let which = Which { known_at, takes };
                            check_steps(history, id, (from, to), step_ms, &whole, which);
                        }
                    }
                }
            }
        }
    }
}

/// Holds what is kept of each value of a series, shown now and known then, all versions and the last.
fn check_whole(
    history: &History,
    id: SeriesId,
    (from, to): (i64, i64),
    within: &[&Vec<Version>],
    known_at: Timestamp,
) {
    let fresh = |quality: Quality| !quality.has(Quality::RESENT);
    for (known_at, takes) in [
        (None, None),
        (Some(known_at), Some(&fresh as &(dyn Fn(Quality) -> bool + Sync))),
    ] {
        let which = Which { known_at, takes };
        let is_known = |v: &&Version| known_at.is_none_or(|then| v.received_at <= then);
        let taken = |v: &&Version| takes.is_none_or(|takes| takes(v.quality));
        let mut found = Vec::new();
        let mut take = |version| {
            found.push(version);
            ControlFlow::Continue(())
        };
        history
            .scan_versions(id, t(from), t(to), which, &mut take)
            .unwrap();
        let all = within.iter().flat_map(|v| v.iter());
        let all: Vec<Version> = all.filter(is_known).filter(taken).cloned().collect();
        assert_eq!(found, all);
        let mut found = Vec::new();
        let mut take = |version| {
            found.push(version);
            ControlFlow::Continue(())
        };
        history.scan_whole(id, t(from), t(to), which, &mut take).unwrap();
        let last = within
            .iter()
            .filter_map(|v| v.iter().rfind(is_known).filter(taken));
        assert_eq!(found, last.cloned().collect::<Vec<Version>>());
    }
}

/// Holds every aggregate of a series against `whole`, all that counts of it, also outside of the range.
fn check_steps(
    history: &History,
    id: SeriesId,
    (from, to): (i64, i64),
    step_ms: i64,
    whole: &[&Version],
    which: Which<'_>,
) {
    let step = Duration::from_millis(step_ms as u64);
    let numbers: Vec<(i64, f64)> = whole
        .iter()
        .filter_map(|v| Some((v.measured_at.ms(), v.value.number()?)))
        .collect();
    for agg in [
        Agg::Mean,
        Agg::Min,
        Agg::Max,
        Agg::Sum,
        Agg::Count,
        Agg::First,
        Agg::Last,
        Agg::Delta,
        Agg::Increase,
        Agg::Rate,
        Agg::Percentile(0.9),
    ] {
        let steps = history
            .downsample_of(id, (t(from), t(to)), step, agg, which)
            .unwrap();
        assert_eq!(
            steps.len() as i64,
            ((to - from) as u64).div_ceil(step_ms as u64) as i64
        );
        for step in steps {
            let (start, end) = (step.start.ms(), (step.start.ms() + step_ms).min(to));
            let inside = whole
                .iter()
                .filter(|v| (start..end).contains(&v.measured_at.ms()))
                .count();
            let n_before = numbers.partition_point(|(at, _)| *at < start);
            let n_to_end = numbers.partition_point(|(at, _)| *at < end);
            let values: Vec<f64> = numbers[n_before..n_to_end].iter().map(|(_, v)| *v).collect();
            // With the number before, wherever that is.
            let changing = &numbers[n_before.saturating_sub(1)..n_to_end];
            let rise = |two: &[(i64, f64)]| match two {
                [(_, before), (_, now)] if now >= before => now - before,
                [_, (_, now)] => *now,
                _ => unreachable!("windows of two"),
            };
            let increase: f64 = changing.windows(2).map(rise).sum();
            let sum: f64 = values.iter().sum();
            let want = match agg {
                Agg::Count => (inside > 0).then_some(inside as f64),
                _ if values.is_empty() => None,
                Agg::Mean => Some(sum / values.len() as f64),
                Agg::Sum => Some(sum),
                Agg::Min => values.iter().copied().reduce(f64::min),
                Agg::Max => values.iter().copied().reduce(f64::max),
                Agg::First => values.first().copied(),
                Agg::Last => values.last().copied(),
                Agg::Percentile(p) => {
                    let mut sorted = values.clone();
                    sorted.sort_by(f64::total_cmp);
                    let place = p * (sorted.len() - 1) as f64;
                    let (i, rest) = (place as usize, place.fract());
                    let above = sorted.get(i + 1).unwrap_or(&sorted[i]);
                    Some(sorted[i] * (1.0 - rest) + above * rest)
                }
                _ if changing.len() < 2 => None,
                Agg::Delta => Some(changing[changing.len() - 1].1 - changing[0].1),
                Agg::Increase => Some(increase),
                Agg::Rate => {
                    let took_ms = changing[changing.len() - 1].0 - changing[0].0;
                    Some(increase * 1000.0 / took_ms as f64)
                }
            };
            assert_eq!(step.n, inside as u64);
            match (step.value, want) {
                (Some(got), Some(want)) => {
                    assert!(
                        (got - want).abs() <= 1e-9 * want.abs().max(1.0),
                        "{agg:?} {got} {want}"
                    );
                }
                (got, want) => assert_eq!(got, want, "{agg:?}"),
            }
        }
    }
}

/// What happens to a history in a test.
#[derive(Clone, Debug)]
enum Happening {
    /// Readings of one frame: series, time as steps from the running clock, value.
    Frame(Vec<(usize, i64, u8)>),
    Checkpoint,
    /// The process dies: everything after the last checkpoint is read from the journal again.
    Crash,
    /// Nothing comes for some hours.
    Silence(i64),
    /// Closed days are cared for, at this many hours from now.
    Care(i64),
}

/// Times near the clock, far back, and across the border of a partition.
const START: i64 = 2915 * 7 * 86_400_000 - 400 * 1000;

fn happening() -> impl Strategy<Value = Happening> {
    let back = prop_oneof![
        6 => Just(0i64),
        2 => 1i64..20,
        1 => 20i64..400,
        1 => Just(700_000i64),
    ];
    let one = (0usize..3, back, 0u8..12);
    prop_oneof![
        20 => prop::collection::vec(one, 1..12).prop_map(Happening::Frame),
        3 => Just(Happening::Checkpoint),
        1 => Just(Happening::Crash),
        2 => (1i64..60).prop_map(Happening::Silence),
        3 => (0i64..40).prop_map(Happening::Care),
    ]
}

fn value_of(n: u8) -> Value {
    match n {
        11 => Value::Text("开".into()),
        10 => Value::Number(0.1 + 0.2),
        n => Value::Number(f64::from(n) / 10.0),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_history_that_crashes_at_will_equals_one_that_never_does_and_a_plain_map(
        happenings in prop::collection::vec(happening(), 1..120),
        from in -50i64..300,
        len in 0i64..500,
        known in 0u64..300,
    ) {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut history = open(dir.path());
        let unbroken = open(other.path());
        let mut oracle = Oracle::default();
        let mut journal: Vec<Vec<Reading>> = Vec::new();
        let mut clock = START;
        let mut noted = None;
        for happening in &happenings {
            match happening {
                Happening::Frame(frame) => {
                    let position = journal.len() as u64 + 1;
                    clock += 1000;
                    let readings: Vec<Reading> = frame
                        .iter()
                        .map(|(i, back, v)| reading(*i, clock - back * 1000, value_of(*v), position))
                        .collect();
                    let outcomes = history.append(&readings).unwrap();
                    for (reading, outcome) in readings.iter().zip(&outcomes) {
                        let want = oracle.append(reading);
                        prop_assert_eq!((outcome.kind, outcome.late, outcome.first_of_report), want);
                    }
                    prop_assert_eq!(unbroken.append(&readings).unwrap(), outcomes);
                    journal.push(readings);
                }
                Happening::Checkpoint => {
                    let mark = [journal.len() as u8];
                    history.checkpoint(journal.len() as u64, &[("n", &mark)]).unwrap();
                    noted = Some((journal.len(), mark.to_vec()));
                }
                Happening::Silence(hours) => clock += hours * 3_600_000,
                Happening::Care(hours) => {
                    let until = std::cell::Cell::new(1 + hours % 5);
                    let is_over = || until.replace(until.get() - 1) <= 0;
                    history.care(t(clock + hours * 3_600_000), &is_over).unwrap();
                }
                Happening::Crash => {
                    drop(history);
                    history = open(dir.path());
                    let cursor = history.cursor() as usize;
                    let at_checkpoint = history.extra("n").map(|mark| (cursor, mark));
                    prop_assert_eq!(&at_checkpoint, &noted);
                    for readings in &journal[cursor..] {
                        history.append(readings).unwrap();
                    }
                }
            }
        }
        let known_at = t(1_800_000_000_000 + known as i64 * 100);
        let from = START + from * 1000;
        for history in [&history, &unbroken] {
            oracle.check(history, from, from + len * 1000, known_at);
            oracle.check(history, START - 1_000_000_000, clock + 1_000_000, known_at);
            // Whole hours and days of Beijing, where rollups answer.
            let hour = (from / 3_600_000 - 30) * 3_600_000;
            let day = rollup::day_range(rollup::day_of(START) - 9).0;
            oracle.check(history, hour, hour + 2_000 * 3_600_000, known_at);
            oracle.check(history, day, clock + 1, known_at);
        }
        prop_assert_eq!(history.digest().unwrap(), unbroken.digest().unwrap());
        let before = history.digest().unwrap();
        history.checkpoint(journal.len() as u64, &[]).unwrap();
        drop(history);
        let history = open(dir.path());
        prop_assert_eq!(history.digest().unwrap(), before);
        oracle.check(&history, from, from + len * 1000, known_at);
        assert_no_overlap(&history);
        assert_whole(&history);
        prop_assert_eq!(history.stats().damaged, 0);
    }
}

#[test]
fn a_closed_day_takes_less_room_and_answers_by_its_hours() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path(), HistoryConfig::default()).unwrap();
    let (midnight, _) = rollup::day_range(rollup::day_of(START));
    let mut shown = 0.0;
    for minute in 0..3 * 1440i64 {
        let at = midnight + minute * 60_000 + (minute * 7919 % 2000);
        shown = 20.0 + (minute * 37 % 101) as f64 / 10.0;
        history
            .append(&[number(0, at, shown, minute as u64 + 1)])
            .unwrap();
    }
    history.checkpoint(3 * 1440, &[]).unwrap();
    let id = history.series_id(&series(0)).unwrap();
    let range = (t(midnight), t(midnight + 3 * 86_400_000));
    let ask = |agg, hours: u64| {
        history
            .downsample(id, range.0, range.1, Duration::from_secs(hours * 3600), agg)
            .unwrap()
    };
    let (before, digest) = (history.stats(), history.digest().unwrap());
    let by_hour = [Agg::Mean, Agg::Max, Agg::Count].map(|agg| ask(agg, 1));

    // The third day closes two hours after its end.
    let end = midnight + 3 * 86_400_000;
    let cared = history.care(t(end + 3_600_000), &|| false).unwrap();
    assert_eq!(cared.days, 2);
    let cared = history.care(t(end + 2 * 3_600_000), &|| false).unwrap();
    assert_eq!(cared.days, 1);
    assert_eq!(history.care(t(end + 3 * 3_600_000), &|| false).unwrap().days, 0);

    let after = history.stats();
    assert!(
        after.chunks < before.chunks && after.chunk_bytes < before.chunk_bytes,
        "{before:?} {after:?}"
    );
    assert_eq!(history.digest().unwrap(), digest);
    let close = |a: &[Step], b: &[Step]| {
        a.iter().zip(b).all(|(a, b)| {
            (a.start, a.n, a.n_flagged) == (b.start, b.n, b.n_flagged)
                && (a.value.unwrap_or(-1.0) - b.value.unwrap_or(-1.0)).abs() < 1e-9
        })
    };
    for (agg, before) in [Agg::Mean, Agg::Max, Agg::Count].into_iter().zip(&by_hour) {
        assert!(close(&ask(agg, 1), before), "{agg:?}");
    }
    assert_eq!(
        ask(Agg::Count, 24).iter().map(|s| s.n).collect::<Vec<u64>>(),
        [1440; 3]
    );
    assert_eq!(ask(Agg::Last, 72)[0].value, Some(shown));

    // What comes late for it is seen at once, before and after a checkpoint and the next care.
    let late = midnight + 86_400_000 + 30;
    history.append(&[number(0, late, 900.0, 5000)]).unwrap();
    for round in 0..3 {
        assert_eq!(ask(Agg::Max, 24)[1].value, Some(900.0), "round {round}");
        assert_eq!(ask(Agg::Count, 24)[1].n, 1441, "round {round}");
        match round {
            0 => history.checkpoint(5000, &[]).unwrap(),
            _ => assert_eq!(
                history.care(t(end + 4 * 3_600_000), &|| false).unwrap().days,
                1 - (round as u64 - 1)
            ),
        }
    }
}

#[test]
fn groups_are_made_of_their_series_as_asked() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path());
    let (hour, _) = rollup::day_range(rollup::day_of(START));
    // Series 0 says 1, 2, 3 in the first hour, series 1 says 10; series 2 says a text; then only series 1 speaks.
    for (i, (series, at, value)) in [
        (0, 0, Value::Number(1.0)),
        (0, 60_000, Value::Number(2.0)),
        (0, 120_000, Value::Number(3.0)),
        (1, 0, Value::Number(10.0)),
        (2, 0, Value::Text("开".into())),
        (1, 3_600_000, Value::Number(7.5)),
    ]
    .into_iter()
    .enumerate()
    {
        let mut one = reading(series, hour + at, value, i as u64 + 1);
        if i == 2 {
            one.quality = Quality::SUSPECT;
        }
        history.append(&[one]).unwrap();
    }
    let ids: Vec<SeriesId> = (0..3).map(|i| history.series_id(&series(i)).unwrap()).collect();
    let group = |ids: &[SeriesId]| ids.iter().map(|id| Member::from(*id)).collect::<Vec<Member>>();
    let groups = [group(&ids), group(&ids[2..]), vec![]];
    let ask = |(each, over), takes: Option<&(dyn Fn(Quality) -> bool + Sync)>| {
        let range = (t(hour), t(hour + 3 * 3_600_000));
        let which = Which {
            known_at: None,
            takes,
        };
        let steps = history
            .aggregate(
                &groups,
                range,
                Duration::from_secs(3600),
                Across { each, over },
                which,
            )
            .unwrap();
        let values = |group: &Vec<GroupStep>| group.iter().map(|s| s.value).collect::<Vec<Option<f64>>>();
        assert_eq!(
            steps[0].iter().map(|s| (s.n, s.n_series)).next_back(),
            Some((0, 0))
        );
        assert!(steps[2].iter().all(|s| s.value.is_none()));
        (values(&steps[0]), values(&steps[1]))
    };
    let none = [None; 3];
    for (across, want) in [
        ((Agg::Mean, Over::Mean), [Some(6.0), Some(7.5), None]),
        ((Agg::Mean, Over::MeanOfPoints), [Some(4.0), Some(7.5), None]),
        ((Agg::Min, Over::Min), [Some(1.0), Some(7.5), None]),
        ((Agg::Max, Over::Max), [Some(10.0), Some(7.5), None]),
        ((Agg::Max, Over::Mean), [Some(6.5), Some(7.5), None]),
        ((Agg::Sum, Over::Sum), [Some(16.0), Some(7.5), None]),
        ((Agg::Mean, Over::Percentile(0.5)), [Some(6.0), Some(7.5), None]),
        ((Agg::Mean, Over::Percentile(0.25)), [Some(4.0), Some(7.5), None]),
        // Series 1 says one number in the first hour: nothing is known of its change there.
        ((Agg::Delta, Over::Sum), [Some(2.0), Some(-2.5), None]),
        ((Agg::Increase, Over::Sum), [Some(2.0), Some(7.5), None]),
    ] {
        let (all, texts) = ask(across, None);
        assert_eq!((&all[..], &texts[..]), (&want[..], &none[..]), "{across:?}");
        history.checkpoint(6, &[]).unwrap();
        history.care(t(hour + 48 * 3_600_000), &|| false).unwrap();
        assert_eq!(ask(across, None).0, want, "{across:?}, of rollups");
    }
    assert_eq!(ask((Agg::Count, Over::Sum), None).1[0], Some(1.0));
    let good = |quality: Quality| quality.judgeable();
    let mean = (Agg::Mean, Over::MeanOfPoints);
    assert_eq!(ask(mean, Some(&good)).0[0], Some(13.0 / 3.0));
}

#[test]
fn a_history_of_the_layout_before_is_taken_over_and_older_programs_refuse_it() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path());
    history.append(&[number(0, START, 1.5, 1)]).unwrap();
    history.checkpoint(1, &[]).unwrap();
    history
        .disk()
        .unwrap()
        .meta
        .insert("format", 1u64.to_le_bytes())
        .unwrap();
    drop(history);
    let history = open(dir.path());
    assert_eq!(history.all_series()[0].n, 1);
    assert_eq!(
        history
            .disk()
            .unwrap()
            .meta
            .get("format")
            .unwrap()
            .unwrap()
            .as_ref(),
        disk::FORMAT.to_le_bytes()
    );
}

fn assert_whole(history: &History) {
    let found = history.verify(&|| false).unwrap();
    assert_eq!(found.faults, [], "{found:?}");
    assert!(found.complete && found.n_faults == 0);
}

/// Faults as `keyspace: what`.
fn faults(history: &History) -> Vec<String> {
    let found = history.verify(&|| false).unwrap();
    assert_eq!(found.n_faults as usize, found.faults.len());
    let told = found
        .faults
        .iter()
        .map(|fault| format!("{}: {}", fault.keyspace, fault.what));
    told.collect()
}

/// Two series of some days, with a revision, all cared for.
fn cared_for(dir: &Path) -> History {
    let history = open(dir);
    let day = rollup::day_range(rollup::day_of(START) - 3).0;
    for i in 0..2_000i64 {
        let readings = [0, 1].map(|s| number(s, day + i * 60_000, (i % 7) as f64 / 10.0, 1 + i as u64));
        history.append(&readings).unwrap();
    }
    history.append(&[number(0, day + 60_000, 9.5, 2001)]).unwrap();
    history.checkpoint(2001, &[("n", b"x")]).unwrap();
    history.care(t(day + 3 * 86_400_000), &|| false).unwrap();
    assert_whole(&history);
    let found = history.verify(&|| false).unwrap();
    assert_eq!((found.cursor, found.series, found.revisions), (2001, 2, 1));
    // What the head still holds is in no chunk.
    assert!(found.rollups == 4 && found.points > 3_900, "{found:?}");
    history
}

#[test]
fn a_history_tells_what_it_holds_week_by_week() {
    let dir = tempfile::tempdir().unwrap();
    let history = cared_for(dir.path());
    let quantity = history.all_series()[0].key.quantity;
    let of_one = Class {
        name: "one".to_owned(),
        quantities: vec![quantity],
        span: Span::default(),
    };
    history.set_retention(Retention {
        default: Span::default(),
        classes: vec![of_one],
    });
    let stat = history.stat().unwrap();
    // Each by itself: the log's room behind its end takes nothing, and is in no sum.
    let parts = stat.table_bytes + stat.log_bytes + stat.log_set_aside_bytes;
    assert_eq!(stat.disk_bytes, parts);
    assert!(
        stat.disk_bytes < 8 << 20 && stat.log_reserved_bytes > 32 << 20,
        "{stat:?}"
    );
    let of_class = |class: &OfClass| (class.class.clone(), class.series, class.kept_from);
    let told: Vec<_> = stat.classes.iter().map(of_class).collect();
    assert_eq!(
        told,
        [("default".to_owned(), 1, None), ("one".to_owned(), 1, None)]
    );
    assert_eq!(
        (stat.series, stat.points, stat.damaged, stat.rollups),
        (2, 4_000, 0, 4)
    );
    let mut classes: Vec<&str> = stat.weeks.iter().map(|week| week.class.as_str()).collect();
    classes.sort_unstable();
    classes.dedup();
    assert_eq!(classes.len(), 2, "{:?}", stat.weeks);
    let points: u64 = stat.weeks.iter().map(|week| week.points).sum();
    let chunks: u64 = stat.weeks.iter().map(|week| week.chunks).sum();
    assert!(points > 3_900 && points <= 4_000 && chunks == history.stats().chunks);
    assert!(
        stat.weeks
            .iter()
            .all(|week| week.series == 1 && week.from < week.to)
    );
}

fn assert_no_overlap(history: &History) {
    let snapshot = history.disk().unwrap().db.snapshot();
    let (mut n, mut bytes) = (0, 0);
    for info in history.all_series() {
        let mut last = None;
        for chunk in history
            .disk()
            .unwrap()
            .chunks(&snapshot, info.id, (i64::MIN, i64::MAX))
        {
            let chunk = chunk.unwrap();
            assert!(last < Some(chunk.header.first), "{} overlaps", info.key);
            assert_eq!(
                chunk::partition_of(chunk.header.first),
                chunk::partition_of(chunk.header.last)
            );
            last = Some(chunk.header.last);
            n += 1;
            bytes += chunk.n_bytes();
        }
    }
    let stats = history.stats();
    assert_eq!((stats.chunks, stats.chunk_bytes), (n, bytes));
}

#[test]
fn the_digest_tells_every_difference() {
    let digest_of = |readings: &[Reading]| {
        let dir = tempfile::tempdir().unwrap();
        let history = open(dir.path());
        history.append(readings).unwrap();
        history.digest().unwrap()
    };
    let base = [
        number(0, 1000, 1.0, 1),
        number(0, 2000, 2.0, 2),
        number(0, 1000, 3.0, 3),
    ];
    let mut digests = vec![digest_of(&base), digest_of(&base[..2]), digest_of(&[])];
    for (i, change) in [
        (0, number(1, 1000, 1.0, 1)),
        (1, number(0, 2001, 2.0, 2)),
        (1, number(0, 2000, 2.5, 2)),
        (1, number(0, 2000, 2.0, 19)),
        (2, number(0, 1000, 3.0, 4)),
        (0, reading(0, 1000, Value::Text("1".into()), 1)),
    ] {
        let mut readings = base.clone();
        readings[i] = change;
        digests.push(digest_of(&readings));
    }
    let n = digests.len();
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), n);
}

#[test]
fn a_correction_is_not_undone_by_an_old_value_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path());
    let kinds = |readings: &[Reading]| -> Vec<Kind> {
        history.append(readings).unwrap().iter().map(|o| o.kind).collect()
    };
    let first = number(0, 5000, 1.0, 1);
    let corrected = number(0, 5000, 2.0, 2);
    assert_eq!(kinds(&[first.clone(), corrected]), [Kind::New, Kind::Revision]);
    history.checkpoint(2, &[]).unwrap();
    let repeated = Reading {
        position: 3,
        quality: Quality::RESENT,
        ..first
    };
    assert_eq!(kinds(std::slice::from_ref(&repeated)), [Kind::Duplicate]);
    let id = history.series_id(&series(0)).unwrap();
    let shown = scanned(&history, id, 0, 10_000);
    assert_eq!(shown[0].value, Value::Number(2.0));
    assert!(shown[0].quality.has(Quality::REVISED));
    // By hand it is.
    let mut outcomes = Vec::new();
    history.append_rest(&[repeated], &mut outcomes, true).unwrap();
    assert_eq!(outcomes[0].kind, Kind::Revision);
    assert_eq!(scanned(&history, id, 0, 10_000)[0].value, Value::Number(1.0));
}

#[test]
fn heads_that_only_grow_are_not_written_whole_and_lose_nothing() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut history, unbroken) = (open(dir.path()), open(other.path()));
    let head_of = |history: &History, id: SeriesId| {
        let disk = history.disk().unwrap();
        // A series begins in growth, without a row of its own.
        let row = disk.heads.get(id.0.to_be_bytes()).unwrap();
        row.map(|row| row.to_vec())
    };
    let mut n_rewritten = 0;
    let mut n_rounds = 0;
    for round in 1..=150u64 {
        let at = round as i64 * 1000;
        // One every time, one every other time, one that is silent for long and says texts, too.
        let mut readings = vec![number(0, at, round as f64 / 8.0, round)];
        if round % 2 == 0 {
            readings.push(number(1, at, 1.0, round));
            readings.push(number(1, at + 300, 0.1 + 0.2, round));
        }
        if round % 40 == 1 {
            readings.push(number(2, at, -3.0, round));
            readings.push(reading(2, at + 400, Value::Text("open".into()), round));
        }
        if round == 77 {
            readings.push(number(2, 500, 9.0, round));
        }
        history.append(&readings).unwrap();
        unbroken.append(&readings).unwrap();
        let head = history
            .series_id(&series(0))
            .filter(|_| round > 1)
            .map(|id| (id, head_of(&history, id)));
        history.checkpoint(round, &[]).unwrap();
        if let Some((id, before)) = head {
            n_rounds += 1;
            n_rewritten += usize::from(head_of(&history, id) != before);
        }
        let n_rows = history.disk().unwrap().growth.iter().count();
        assert!(n_rows <= 4, "round {round}: {n_rows} rows");
        if round % 7 == 0 {
            drop(history);
            history = open(dir.path());
            assert_eq!(history.cursor(), round);
        }
        if round % 10 == 0 {
            assert_eq!(
                history.digest().unwrap(),
                unbroken.digest().unwrap(),
                "round {round}"
            );
        }
    }
    assert!(
        n_rewritten * 2 < n_rounds,
        "{n_rewritten} of {n_rounds} wrote the head whole"
    );
    assert!(n_rewritten > 20, "rows that have to go are still needed");
    assert_eq!(history.verify(&|| false).unwrap().faults, []);
}

#[test]
fn a_database_that_takes_no_more_writes_is_opened_again_and_memory_stays() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path());
    let readings: Vec<Reading> = (0..40).map(|i| number(0, i * 1000, i as f64, 1)).collect();
    history.append(&readings).unwrap();
    history.checkpoint(1, &[("rules", b"one")]).unwrap();
    // Sealed, in the head, late, and revised: none of it is on the disk yet.
    let more: Vec<Reading> = (40..60).map(|i| number(0, i * 1000, i as f64, 2)).collect();
    history.append(&more).unwrap();
    history
        .append(&[number(0, 1500, 7.0, 3), number(0, 5000, 8.0, 3)])
        .unwrap();
    let id = history.series_id(&series(0)).unwrap();
    let before = scanned(&history, id, 0, 100_000);
    assert!(!history.mend().unwrap(), "nothing has failed");
    history.wrote::<()>(Err(fjall::Error::Poisoned)).unwrap_err();

    // A reader that holds on to the old database is waited for; who comes meanwhile is told so.
    let held = history.disk().unwrap();
    std::thread::scope(|scope| {
        let mending = scope.spawn(|| history.mend());
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while !matches!(history.disk(), Err(HistoryError::Closed)) {
            assert!(std::time::Instant::now() < deadline);
            std::thread::yield_now();
        }
        assert!(matches!(held.is_to_stay(), Err(HistoryError::Closed)));
        drop(held);
        assert!(mending.join().unwrap().unwrap());
    });
    assert_eq!(history.stats().reopened, 1);
    assert!(!history.has_failed());
    assert_eq!(scanned(&history, id, 0, 100_000), before);
    assert_eq!(
        (history.cursor(), history.extra("rules")),
        (1, Some(b"one".to_vec()))
    );
    history.checkpoint(3, &[]).unwrap();
    assert_whole(&history);
    drop(history);
    let history = open(dir.path());
    assert_eq!(history.cursor(), 3);
    assert_eq!(scanned(&history, id, 0, 100_000), before);
    assert_whole(&history);
}

#[test]
fn a_history_of_another_layout_or_of_another_process_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path());
    assert!(matches!(
        History::open(dir.path(), small()),
        Err(HistoryError::Open { .. })
    ));
    history
        .disk()
        .unwrap()
        .meta
        .insert("format", 9u64.to_le_bytes())
        .unwrap();
    drop(history);
    let Err(refused) = History::open(dir.path(), small()) else {
        panic!("a newer layout was opened");
    };
    assert!(matches!(refused, HistoryError::Format { found: 9 }));
    let said = refused.to_string();
    assert!(
        said.contains("layout 9") && said.contains("a newer program wrote it"),
        "{said}"
    );
}

#[test]
fn steps_out_of_measure_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path());
    history.append(&[number(0, 0, 1.0, 1)]).unwrap();
    let id = SeriesId(1);
    for (to, step) in [
        (10, Duration::ZERO),
        (1_000_001, Duration::from_millis(1)),
        (i64::MAX, Duration::from_secs(1)),
    ] {
        let refused = history.downsample(id, t(0), t(to), step, Agg::Mean);
        assert!(
            matches!(refused, Err(HistoryError::Steps { .. })),
            "{to} {step:?}"
        );
    }
    assert_eq!(
        history
            .downsample(id, t(5), t(5), Duration::ZERO, Agg::Mean)
            .unwrap(),
        []
    );
    let whole = history
        .downsample(id, t(i64::MIN), t(i64::MAX), Duration::MAX, Agg::Sum)
        .unwrap();
    assert_eq!(whole.len(), 1);
    assert_eq!(whole[0].value, Some(1.0));
}

#[test]
fn extreme_times_are_kept_and_found() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path());
    let times = [0, i64::MAX - 1, i64::MIN, -1, i64::MIN + 1, 5];
    for (i, at) in times.into_iter().enumerate() {
        history.append(&[number(0, at, i as f64, i as u64 + 1)]).unwrap();
        history.checkpoint(i as u64 + 1, &[]).unwrap();
    }
    drop(history);
    let history = open(dir.path());
    let mut sorted = times.to_vec();
    sorted.sort();
    let found: Vec<i64> = scanned(&history, SeriesId(1), i64::MIN, i64::MAX)
        .iter()
        .map(|p| p.measured_at.ms())
        .collect();
    assert_eq!(found, sorted);
}

#[test]
fn blobs_are_listed_by_prefix_and_an_empty_one_removes_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path());
    history
        .checkpoint(1, &[("gaps/1", b"a"), ("gaps/2", b"b"), ("other", b"c")])
        .unwrap();
    history.checkpoint(2, &[("gaps/1", b"")]).unwrap();
    drop(history);
    let history = open(dir.path());
    assert_eq!(history.extras("gaps/"), [("gaps/2".to_owned(), b"b".to_vec())]);
    assert_eq!(history.extra("other"), Some(b"c".to_vec()));
    assert_eq!(history.extra("gaps/1"), None);
    assert_eq!(history.cursor(), 2);
}

#[test]
fn readers_see_every_appended_point_while_checkpoints_run() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path());
    history.append(&[number(0, 0, 0.0, 1)]).unwrap();
    let id = SeriesId(1);
    let written = AtomicU64::new(1);
    const N: u64 = 3000;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 1..N {
                // Every seventh comes late, into what is sealed already.
                let at = if i % 7 == 0 {
                    i as i64 * 1000 - 40_500
                } else {
                    i as i64 * 1000
                };
                history.append(&[number(0, at, i as f64, i + 1)]).unwrap();
                written.store(i + 1, Ordering::SeqCst);
                if i % 50 == 0 {
                    history.checkpoint(i + 1, &[]).unwrap();
                }
            }
        });
        while written.load(Ordering::SeqCst) < N {
            let before = written.load(Ordering::SeqCst) as usize;
            let points = scanned(&history, id, i64::MIN, i64::MAX);
            let after = written.load(Ordering::SeqCst) as usize + 1;
            assert!(
                (before..=after).contains(&points.len()),
                "{before} {} {after}",
                points.len()
            );
            assert!(points.is_sorted_by(|a, b| a.measured_at < b.measured_at));
        }
    });
}

#[test]
fn a_backlog_in_the_worst_order_stays_cheap() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path(), HistoryConfig::default()).unwrap();
    let n: i64 = 20_000;
    let even: Vec<Reading> = (0..n).map(|i| number(0, i * 10_000, 1.0, 1)).collect();
    history.append(&even).unwrap();
    history.checkpoint(1, &[]).unwrap();
    // The odd times between, in an order that never stays near.
    let odd: Vec<Reading> = (0..n)
        .map(|i| number(0, (i * 7919 % n) * 10_000 + 5_000, 2.0, 2))
        .collect();
    let started = std::time::Instant::now();
    for part in odd.chunks(5000) {
        history.append(part).unwrap();
        history.checkpoint(2, &[]).unwrap();
    }
    let each = started.elapsed() / n as u32;
    assert!(each < Duration::from_millis(1), "{each:?} a point");
    assert_eq!(scanned(&history, SeriesId(1), 0, i64::MAX).len(), 2 * n as usize);
    assert_no_overlap(&history);
}

#[test]
fn a_value_corrected_back_is_a_revision_and_a_replay_of_it_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path());
    let said = [(5.0, 1), (7.0, 2), (5.0, 3), (7.0, 4), (9.0, 5)];
    let kinds = |history: &History, said: &[(f64, u64)]| -> Vec<Kind> {
        let readings: Vec<Reading> = said
            .iter()
            .map(|(n, position)| number(0, 1000, *n, *position))
            .collect();
        history
            .append(&readings)
            .unwrap()
            .iter()
            .map(|outcome| outcome.kind)
            .collect()
    };
    let revised = [
        Kind::New,
        Kind::Revision,
        Kind::Revision,
        Kind::Revision,
        Kind::Revision,
    ];
    assert_eq!(kinds(&history, &said[..3]), revised[..3]);
    // In memory, on disk, and with some of each.
    for at in 1..4 {
        assert_eq!(kinds(&history, &said[..3]), [Kind::Duplicate; 3], "{at}");
        history.checkpoint(at, &[]).unwrap();
    }
    assert_eq!(kinds(&history, &said[3..]), revised[3..]);
    assert_eq!(kinds(&history, &said), [Kind::Duplicate; 5]);
    let id = history.series_id(&series(0)).unwrap();
    let versions = history.versions(id, t(0), t(2000)).unwrap();
    let values: Vec<f64> = versions
        .iter()
        .map(|version| version.value.number().unwrap())
        .collect();
    assert_eq!(values, [5.0, 7.0, 5.0, 7.0, 9.0]);
}

#[test]
fn a_time_that_is_revised_over_and_over_keeps_each_value_and_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let history = open(dir.path());
    let kind = |history: &History, n: f64, position: u64| -> Kind {
        let reading = number(0, 1000, n, position);
        history.append(std::slice::from_ref(&reading)).unwrap()[0].kind
    };
    let n_values = 2_000u64;
    for position in 1..=n_values {
        let expected = if position == 1 { Kind::New } else { Kind::Revision };
        assert_eq!(kind(&history, position as f64, position), expected, "{position}");
        if position % 700 == 0 {
            history.checkpoint(position, &[]).unwrap();
        }
    }
    // A replay changes nothing, a correction back is one more.
    for position in [1, 17, 1_999, n_values] {
        assert_eq!(
            kind(&history, position as f64, position),
            Kind::Duplicate,
            "{position}"
        );
    }
    assert_eq!(kind(&history, 3.0, n_values + 1), Kind::Revision);
    history.checkpoint(n_values + 1, &[]).unwrap();
    drop(history);
    let history = open(dir.path());
    assert_eq!(kind(&history, 3.0, n_values + 1), Kind::Duplicate);
    assert_eq!(kind(&history, -1.0, n_values + 2), Kind::Revision);
    let id = history.series_id(&series(0)).unwrap();
    let versions = history.versions(id, t(0), t(2000)).unwrap();
    let values: Vec<f64> = versions
        .iter()
        .map(|version| version.value.number().unwrap())
        .collect();
    let expected: Vec<f64> = (1..=n_values).map(|n| n as f64).chain([3.0, -1.0]).collect();
    assert_eq!(values, expected);
}
