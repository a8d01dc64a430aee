//! The rules: what is appended, late, twice, revised and deleted is found as the oracle says, in every question, and
//! also after the engine was killed in the middle.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use onemap_model::{Quality, SeriesKey, Timestamp, Value};
use onemap_store::engine::{Batch, Deletes, Health, ReadingStore, Span, StoreError, Weighed};
use onemap_store::history::{Across, Agg, Over, Point};

use crate::oracle::{Oracle, across, key};

/// An engine under test.
pub trait Subject {
    fn store(&self) -> &dyn ReadingStore;
    /// What was appended can be read, as far as the engine needs a push for that.
    fn settle(&mut self);
    /// kill -9, and up again.
    fn crash(&mut self);
}

/// 2025-11-23 00:00:07.003 +08:00; past for every engine, and no multiple of any step.
const START: i64 = 1_763_827_207_003;
const MINUTE: i64 = 60_000;
/// What an engine that was killed has to be complete again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
    fn value(&mut self) -> Value {
        Value::Number((self.roll(20_000) as f64 - 5_000.0) / 100.0)
    }
    fn marks(&mut self) -> Quality {
        match self.roll(9) {
            0 => Quality::SUSPECT,
            1 => Quality::CLOCK_OFF,
            2 => Quality::CALIBRATION.with(Quality::STAMPED_HERE),
            _ => Quality::GOOD,
        }
    }
}

fn series() -> Vec<SeriesKey> {
    vec![
        key("gauge-1", "water_level", 0),
        key("gauge-1", "water_level", 3),
        key("gauge.2", "water_level", 0),
        key("gaugex2", "water_level", 0),
        key("井:水位_9", "water_level", 0),
        key("gauge-1", "pm2_5", 0),
    ]
}

/// Runs all rules.
pub fn conforms(subject: &mut dyn Subject) {
    let mut oracle = Oracle::default();
    let mut dice = Dice(7);
    let all = series();
    let give = |subject: &dyn Subject, batch: &Batch| {
        subject.store().append(batch).unwrap();
    };

    // Regular ones: two days of one series every five minutes, the others shorter.
    for hour in 0..48 {
        let mut batch = Batch::default();
        for (i, key) in all.iter().enumerate().filter(|(i, _)| *i == 0 || hour < 6) {
            for minute in (0..60).step_by(5) {
                let at = START + (hour * 60 + minute) * MINUTE + (i as i64 * 17) + dice.roll(1500) as i64;
                let (value, marks) = (dice.value(), dice.marks());
                oracle.take(&mut batch, key, at, value, marks);
            }
        }
        give(subject, &batch);
        if hour == 5 {
            // Twice is once.
            give(subject, &batch);
        }
    }
    subject.settle();
    agrees(subject, &oracle);

    // Late ones, between and before all others.
    let mut batch = Batch::default();
    for _ in 0..150 {
        let key = &all[dice.roll(3) as usize];
        let at = START - 3_600_000 + dice.roll(10 * 3_600_000) as i64;
        let value = dice.value();
        oracle.take(&mut batch, key, at, value, Quality::GOOD);
    }
    give(subject, &batch);
    subject.settle();
    agrees(subject, &oracle);

    // Revised ones; some twice, some back to what was said first.
    for round in 0..3 {
        let mut batch = Batch::default();
        for key in &all[..3] {
            let times: Vec<i64> = oracle.series[key].keys().copied().step_by(9).take(20).collect();
            for at in times.into_iter().step_by(1 + round) {
                let value = dice.value();
                oracle.take(&mut batch, key, at, value, Quality::GOOD);
            }
        }
        give(subject, &batch);
    }
    subject.settle();
    agrees(subject, &oracle);

    if subject.store().caps().texts {
        let mut batch = Batch::default();
        for i in 0..6 {
            let text = ["", "on", "say \"no\"", "a\\b, c=d", "two\nlines", "停用"][i as usize];
            let at = START + 70 * 3_600_000 + i * MINUTE;
            oracle.take(
                &mut batch,
                &all[5],
                at,
                Value::Text(text.into()),
                Quality::SUSPECT,
            );
            let number = dice.value();
            oracle.take(&mut batch, &all[5], at + 1, number, Quality::GOOD);
        }
        give(subject, &batch);
        subject.settle();
        agrees(subject, &oracle);
    }

    // Killed in the middle of a stream, twice, and right behind an acknowledgement.
    for round in 0..24 {
        let mut batch = Batch::default();
        for key in &all {
            let at = START + (100 * 60 + round) * MINUTE + dice.roll(900) as i64;
            let value = dice.value();
            oracle.take(&mut batch, key, at, value, Quality::GOOD);
        }
        give(subject, &batch);
        if matches!(round, 9 | 16 | 23) {
            subject.crash();
        }
    }
    subject.settle();
    agrees(subject, &oracle);
    assert_eq!(subject.store().health(), Health::Up);

    deletes(subject, &mut oracle);
}

fn deletes(subject: &mut dyn Subject, oracle: &mut Oracle) {
    let key = oracle.keys().pop().unwrap();
    let span = Span::of_ms(START + 30 * MINUTE, START + 90 * MINUTE);
    let whole = Span::of_ms(0, i64::MAX);
    let store = subject.store();
    let one = [key.clone()];
    let cannot =
        |ended: Result<(), StoreError>| assert!(matches!(ended, Err(StoreError::Unsupported { .. })));
    match store.caps().deletes {
        Deletes::Spans => {
            store.delete_series(&one, span).unwrap();
            let values = oracle.series.get_mut(&key).unwrap();
            values.retain(|at, _| *at < span.from.ms() || *at >= span.to.ms());
        }
        Deletes::Series => {
            cannot(store.delete_series(&one, span));
            store.delete_series(&one, whole).unwrap();
            oracle.series.get_mut(&key).unwrap().clear();
        }
        Deletes::Nothing => {
            cannot(store.delete_series(&one, span));
            cannot(store.delete_series(&one, whole));
        }
    }
    cannot(store.expire(Timestamp::from_ms(START)));
    subject.settle();
    agrees(subject, oracle);
}

/// Waits until the engine says of everything what the oracle says: one that was killed is given again what it lost.
fn agrees(subject: &mut dyn Subject, oracle: &Oracle) {
    let begun = Instant::now();
    loop {
        let Err(difference) = compare(subject.store(), oracle) else {
            return;
        };
        assert!(begun.elapsed() < PATIENCE, "{difference}");
        std::thread::sleep(Duration::from_millis(100));
        subject.settle();
    }
}

fn compare(store: &dyn ReadingStore, oracle: &Oracle) -> Result<(), String> {
    let end = START + 200 * 3_600_000;
    let mut keys = oracle.keys();
    keys.push(key("nobody", "water_level", 0));
    let whole = Span::of_ms(START - 7_200_000, end);
    scans(store, oracle, &keys, whole)?;
    // Borders that fall on a value, before it and behind it.
    let at = *oracle.series[&keys[0]].keys().nth(20).unwrap();
    for span in [
        (at, at + 1),
        (at - 1, at),
        (at + 1, at + MINUTE),
        (at, at),
        (at - 3_000_000, at),
    ] {
        scans(store, oracle, &keys[..2], Span::of_ms(span.0, span.1))?;
    }
    let mut n_blocks = 0;
    let take = &mut |_, _: &[Point]| {
        n_blocks += 1;
        ControlFlow::Break(())
    };
    store.scan(&keys, whole, take).map_err(|e| e.to_string())?;
    check(n_blocks == 1, || format!("{n_blocks} blocks after a break"))?;

    let good = |quality: Quality| quality.judgeable();
    let all = [
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
    ];
    let spans = [
        (whole.from.ms(), whole.to.ms(), 3_600_000),
        (START, START + 3 * 3_600_000 + 77, 600_000),
        (START + 1, START + 90_001, 7_001),
    ];
    for (i, (from, to, step_ms)) in spans.into_iter().enumerate() {
        for agg in all {
            // Those that are made of single values take long over a long span.
            let keys = if i == 0 { &keys[..2] } else { &keys[..] };
            steps(store, oracle, keys, (from, to, step_ms), agg, None)?;
        }
    }
    for agg in [Agg::Mean, Agg::Count, Agg::Rate] {
        steps(store, oracle, &keys[..3], spans[1], agg, Some(&good))?;
    }
    let weighed = |keys: &[SeriesKey]| -> Vec<Weighed> {
        let weight = |i: usize| [1.0, 2.5, 0.0][i % 3];
        keys.iter()
            .enumerate()
            .map(|(i, key)| (key.clone(), weight(i)))
            .collect()
    };
    let groups = [weighed(&keys[..4]), Vec::new(), weighed(&keys[4..])];
    let span = (START, START + 7_200_500, 900_000);
    for over in [
        Over::Mean,
        Over::MeanOfPoints,
        Over::Min,
        Over::Max,
        Over::Sum,
        Over::Percentile(0.95),
    ] {
        for each in [Agg::Mean, Agg::Max, Agg::Count] {
            groups_agree(store, oracle, &groups, span, Across { each, over }, None)?;
        }
    }
    for each in [Agg::Increase, Agg::Percentile(0.5)] {
        let way = Across {
            each,
            over: Over::Mean,
        };
        groups_agree(
            store,
            oracle,
            &groups,
            (START, START + 3_600_000, 600_000),
            way,
            Some(&good),
        )?;
    }

    let last = store
        .last_known(&keys, Span::of_ms(START, i64::MAX), None)
        .map_err(|e| e.to_string())?;
    for (key, last) in keys.iter().zip(last) {
        let want = oracle.scan(key, Span::of_ms(START, i64::MAX)).pop();
        check(last == want, || {
            format!("last known of {key}: {last:?}, not {want:?}")
        })?;
    }
    Ok(())
}

fn check(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

fn scans(store: &dyn ReadingStore, oracle: &Oracle, keys: &[SeriesKey], span: Span) -> Result<(), String> {
    let mut found: Vec<Vec<Point>> = vec![Vec::new(); keys.len()];
    store
        .scan(keys, span, &mut |i, points| {
            found[i].extend_from_slice(points);
            ControlFlow::Continue(())
        })
        .map_err(|e| e.to_string())?;
    for (key, found) in keys.iter().zip(found) {
        let want = oracle.scan(key, span);
        check(found == want, || {
            let differs = found.iter().zip(&want).find(|(a, b)| a != b);
            format!(
                "{key}: {} values, {} wanted; first difference {differs:?}",
                found.len(),
                want.len()
            )
        })?;
    }
    Ok(())
}

fn near(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0),
        (a, b) => a == b,
    }
}

type Takes<'a> = Option<&'a (dyn Fn(Quality) -> bool + Sync)>;

fn steps(
    store: &dyn ReadingStore,
    oracle: &Oracle,
    keys: &[SeriesKey],
    (from, to, step_ms): (i64, i64, i64),
    agg: Agg,
    takes: Takes<'_>,
) -> Result<(), String> {
    let (span, step) = (Span::of_ms(from, to), Duration::from_millis(step_ms as u64));
    let found = store
        .downsample(keys, span, step, agg, takes)
        .map_err(|e| e.to_string())?;
    check(found.len() == keys.len(), || "a series is missing".to_owned())?;
    for (key, found) in keys.iter().zip(found) {
        let want = oracle.steps(key, span, step_ms, takes.unwrap_or(&|_| true));
        check(found.len() == want.len(), || {
            format!("{key}: {} steps", found.len())
        })?;
        for (found, want) in found.iter().zip(want) {
            let right = found.start.ms() == want.start
                && (found.n, found.n_flagged) == (want.n, want.n_flagged)
                && near(found.value, want.value(agg));
            check(right, || {
                let (n, value) = (want.n, want.value(agg));
                format!(
                    "{key} {agg:?} by {step_ms}: {found:?}, wanted {value:?} of {n}, {}",
                    want.n_flagged
                )
            })?;
        }
    }
    Ok(())
}

fn groups_agree(
    store: &dyn ReadingStore,
    oracle: &Oracle,
    groups: &[Vec<Weighed>],
    (from, to, step_ms): (i64, i64, i64),
    way: Across,
    takes: Takes<'_>,
) -> Result<(), String> {
    let (span, step) = (Span::of_ms(from, to), Duration::from_millis(step_ms as u64));
    let found = store
        .aggregate(groups, span, step, way, takes)
        .map_err(|e| e.to_string())?;
    check(found.len() == groups.len(), || "a group is missing".to_owned())?;
    for (group, found) in groups.iter().zip(found) {
        let each: Vec<_> = group
            .iter()
            .map(|(key, weight)| {
                (
                    oracle.steps(key, span, step_ms, takes.unwrap_or(&|_| true)),
                    *weight,
                )
            })
            .collect();
        for (i, found) in found.iter().enumerate() {
            let cells: Vec<_> = each.iter().map(|(cells, weight)| (&cells[i], *weight)).collect();
            let want = across(&cells, way);
            let n: u64 = cells.iter().map(|(cell, _)| cell.n).sum();
            let n_series = cells.iter().filter(|(cell, _)| cell.n > 0).count() as u64;
            let right = (found.n, found.n_series) == (n, n_series) && near(found.value, want);
            check(right, || {
                format!(
                    "{way:?} of {} series: {found:?}, wanted {want:?} of {n}",
                    group.len()
                )
            })?;
        }
    }
    Ok(())
}
