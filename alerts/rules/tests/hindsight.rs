//! What rules find in values that came late.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use onemap_model::{
    Device, DeviceId, DivisionCode, Edge, Observation, Past, Quality, Quantity, Reading, SeriesKey, Severity,
    Timestamp, Value,
};
use onemap_rules::{Episode, Hindsight, RuleSet};
use proptest::prelude::*;

const MINUTE: i64 = 60_000;

fn start() -> Timestamp {
    Timestamp::parse("2026-11-25T08:00:00+08:00").unwrap()
}
fn at(minute: i64) -> Timestamp {
    Timestamp::from_ms(start().ms() + minute * MINUTE)
}
fn series(quantity: &str) -> SeriesKey {
    SeriesKey {
        device: DeviceId::new("a").unwrap(),
        quantity: Quantity::named(quantity).unwrap(),
        channel: 0,
    }
}

fn seen(quantity: &str, minute: i64, value: f64, quality: Quality) -> Observation {
    Observation {
        reading: Reading {
            series: series(quantity),
            measured_at: at(minute),
            period: Duration::ZERO,
            // Days later, and of no account.
            received_at: at(100_000),
            value: Value::Number(value),
            quality,
            position: 77,
        },
        kind: "air_station".into(),
        division: DivisionCode::new("630104").ok(),
        every_s: 0,
    }
}

fn rules(text: &str) -> RuleSet {
    RuleSet::parse("t", &format!("version: 1\nrules:\n{text}")).unwrap_or_else(|e| panic!("{e:#?}"))
}

fn rule(when: &str, more: &str) -> RuleSet {
    rules(&format!(
        "  - id: r\n    name: {{zh: 规则, en: rule}}\n    severity: minor\n    when: {when}\n{more}    advice: {{zh: 看, en: look}}\n"
    ))
}

fn asked(set: &RuleSet, values: &[Observation], until: i64) -> (bool, Vec<Episode>) {
    let mut hindsight = Hindsight::new(at(0), set.rules().iter().map(Arc::clone));
    let device: Device = serde_json::from_value(serde_json::json!({
        "id": "a", "name": "a", "name_en": "", "kind": "air_station", "cadence_s": 600, "state": "active",
    }))
    .unwrap();
    hindsight.set_device(at(0), &device, None, 0);
    for value in values {
        hindsight.observe(value);
    }
    hindsight.tick(at(until));
    (hindsight.is_calm(), hindsight.finish())
}

fn dust(values: &[f64]) -> Vec<Observation> {
    let values = values.iter().enumerate();
    values
        .map(|(i, value)| seen("pm10", 10 * i as i64, *value, Quality::GOOD))
        .collect()
}

const DUST: &str = "{above: {quantity: pm10, raise: 250 ug/m3, clear: 200 ug/m3}}";

#[test]
fn what_began_and_ended_is_found_with_its_worst() {
    let set = rule(DUST, "    for: 10 min\n");
    let (is_calm, found) = asked(&set, &dust(&[40.0, 260.0, 300.0, 220.0, 280.0, 190.0, 40.0]), 65);
    assert!(is_calm);
    let [one] = &found[..] else { panic!("{found:#?}") };
    let past = Past {
        from: at(10),
        until: at(50),
        peak: Some(300.0),
    };
    assert_eq!((one.past, one.goes_on, one.is_lost), (past, false, false));
    assert_eq!(one.severity, Severity::Minor);
    let of: Vec<(Timestamp, f64)> = one
        .inputs
        .iter()
        .map(|input| (input.measured_at, input.value))
        .collect();
    assert_eq!(of, [(at(10), 260.0), (at(20), 300.0)]);
    assert!(one.inputs.iter().all(|input| input.position == 0));

    let mut one = one.clone();
    one.set_positions(|of, when| {
        if *of == series("pm10") && when == at(20) {
            9
        } else {
            0
        }
    });
    let told = one.clone().told(at(5000), 12, None);
    assert_eq!(
        (told.edge, told.past, told.at, told.position),
        (Edge::Past, Some(past), at(5000), 12)
    );
    assert_eq!(
        told.inputs.iter().map(|input| input.position).collect::<Vec<_>>(),
        [0, 9]
    );
    assert_eq!(
        told.message_zh,
        "历史事件（补传数据中发现，未通知任何人）：可吸入颗粒物 PM10 260 µg/m³ 高于 250 µg/m³ 已持续 10 分钟，超过运行阈值；\
         2026-11-25 08:10 至 2026-11-25 08:50，极值 300 µg/m³"
    );
    assert!(
        told.message_en
            .starts_with("Historical event, found in data that came late; nobody was called: PM10")
    );
    // The same finding has the same ids, whenever it is made.
    let again = one.told(at(6000), 99, None);
    assert_eq!((again.id, again.alert), (told.id, told.alert));
}

#[test]
fn the_end_is_the_first_value_that_was_back_and_what_is_not_known_is_no_part_of_it() {
    // Back at 30, and its hold on clearing broken by a silence.
    let set = rule(DUST, "    clear_for: 40 min\n");
    let mut values = dust(&[40.0, 300.0, 310.0, 80.0, 80.0]);
    values.extend([300, 310, 320, 330, 340].map(|minute| seen("pm10", minute, 80.0, Quality::GOOD)));
    let found = asked(&set, &values, 400).1;
    assert_eq!(
        (found.len(), found[0].past.until, found[0].goes_on),
        (1, at(30), false)
    );
    // It comes back within the hold: one and the same.
    let found = asked(
        &set,
        &dust(&[300.0, 80.0, 300.0, 80.0, 80.0, 80.0, 80.0, 80.0]),
        80,
    )
    .1;
    assert_eq!((found.len(), found[0].past.until), (1, at(30)));
    // Nothing is known for five hours after the last value beyond.
    let set = rule(DUST, "");
    let values = [
        seen("pm10", 0, 300.0, Quality::GOOD),
        seen("pm10", 300, 80.0, Quality::GOOD),
    ];
    let found = asked(&set, &values, 320).1;
    assert_eq!((found.len(), found[0].past.until), (1, at(0)));
}

#[test]
fn what_is_over_within_its_hold_was_nothing() {
    let set = rule(DUST, "    for: 11 min\n");
    assert_eq!(asked(&set, &dust(&[40.0, 300.0, 40.0]), 30), (true, vec![]));
    // The last one stands until something else is known: eleven minutes are over.
    let (is_calm, found) = asked(&set, &dust(&[40.0, 300.0]), 22);
    assert!(!is_calm);
    let [one] = &found[..] else { panic!("{found:#?}") };
    assert_eq!(
        (one.past.from, one.past.until, one.goes_on, one.is_lost),
        (at(10), at(10), true, false)
    );
    // Three cadences later nothing is known any more.
    let (is_calm, found) = asked(&set, &dust(&[40.0, 300.0]), 45);
    assert_eq!((is_calm, found[0].goes_on, found[0].is_lost), (false, true, true));
    // A hold that runs is no calm.
    assert_eq!(asked(&set, &dust(&[40.0, 300.0]), 15), (false, vec![]));
}

#[test]
fn the_worst_of_a_lower_limit_is_the_lowest_and_of_a_band_that_of_its_side() {
    let low = rule(
        "{below: {quantity: dissolved_oxygen, raise: 3 mg/L, clear: 4 mg/L}}",
        "",
    );
    let values = [6.0, 2.0, 1.5, 2.5, 6.0].into_iter().enumerate();
    let values: Vec<_> = values
        .map(|(i, value)| seen("dissolved_oxygen", 10 * i as i64, value, Quality::GOOD))
        .collect();
    assert_eq!(asked(&low, &values, 40).1[0].past.peak, Some(1.5));

    let band = rule(
        "{outside: {quantity: pm10, raise: 50 to 250 ug/m3, clear: 60 to 200 ug/m3}}",
        "",
    );
    let (_, found) = asked(
        &band,
        &dust(&[100.0, 40.0, 30.0, 45.0, 100.0, 300.0, 310.0, 100.0]),
        80,
    );
    let peaks: Vec<_> = found.iter().map(|one| one.past.peak).collect();
    assert_eq!(peaks, [Some(30.0), Some(310.0)]);
}

#[test]
fn values_that_may_not_be_judged_and_those_of_a_maintenance_find_nothing() {
    let set = rule(DUST, "");
    for quality in [
        Quality::SUSPECT,
        Quality::CALIBRATION,
        Quality::STUCK,
        Quality::MAINTENANCE,
    ] {
        let mut values = dust(&[40.0, 300.0, 320.0, 40.0]);
        values.iter_mut().for_each(|seen| seen.reading.quality = quality);
        assert_eq!(asked(&set, &values, 30).1, [], "{quality:?}");
    }
}

#[test]
fn rules_that_values_do_not_tell_are_left_out() {
    for when in [
        "{no_data: {for: 5 x cadence}}",
        "{inside: {fence: f}}",
        "{all: [{above: {quantity: pm10, raise: 250 ug/m3, clear: 200 ug/m3}}, {no_data: {quantity: pm2_5, for: 1 h}}]}",
    ] {
        let set = rule(when, "");
        assert!(!set.rules()[0].looks_at_values(), "{when}");
        assert_eq!(asked(&set, &dust(&[300.0, 300.0]), 600).1, [], "{when}");
    }
    let both = "{all: [{above: {quantity: pm10, raise: 250 ug/m3, clear: 200 ug/m3}}, \
                {above: {quantity: pm2_5, raise: 100 ug/m3, clear: 80 ug/m3}}]}";
    let set = rule(both, "");
    let mut values = Vec::new();
    for (minute, pm10, pm2_5) in [
        (0, 40.0, 20.0),
        (10, 300.0, 20.0),
        (20, 300.0, 120.0),
        (30, 40.0, 120.0),
    ] {
        values.push(seen("pm10", minute, pm10, Quality::GOOD));
        values.push(seen("pm2_5", minute, pm2_5, Quality::GOOD));
    }
    let (_, found) = asked(&set, &values, 40);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((found[0].past.peak, found[0].goes_on), (None, false));
}

#[test]
fn what_comes_later_widens_what_was_told() {
    let set = rule(DUST, "");
    let told = |values: &[f64]| asked(&set, &dust(values), 100).1.remove(0);
    let known = told(&[40.0, 40.0, 300.0, 40.0]).past;
    let mut same = told(&[40.0, 40.0, 300.0, 40.0]);
    assert!(!same.join(&known), "nothing is new");
    let mut wider = told(&[40.0, 280.0, 300.0, 260.0, 40.0]);
    assert!(wider.join(&known));
    assert_eq!(
        wider.past,
        Past {
            from: at(10),
            until: at(40),
            peak: Some(300.0)
        }
    );
    let mut worse = told(&[40.0, 40.0, 350.0, 40.0]);
    assert!(worse.join(&known));
    assert_eq!(worse.past.peak, Some(350.0));
    assert!(worse.meets(at(0), at(20)) && worse.meets(at(30), at(31)) && !worse.meets(at(0), at(19)));
}

proptest! {
    /// What is found lies within its time, and no two findings of a rule and series meet.
    #[test]
    fn findings_are_apart_and_within_their_time(values in prop::collection::vec(0f64..500.0, 0..60), hold in 0u32..4) {
        let set = rule(DUST, &format!("    for: {} min\n", hold * 10));
        let (_, found) = asked(&set, &dust(&values), 10 * values.len() as i64);
        for pair in found.windows(2) {
            prop_assert!(pair[0].past.until <= pair[1].past.from);
        }
        for one in &found {
            let within = |minute: usize| one.past.from <= at(10 * minute as i64) && at(10 * minute as i64) <= one.past.until;
            let inside = values.iter().enumerate().filter(|(i, _)| within(*i)).map(|(_, value)| *value);
            let worst = inside.fold(f64::NEG_INFINITY, f64::max);
            prop_assert_eq!(one.past.peak, Some(worst));
            prop_assert!(one.past.from <= one.past.until);
        }
    }
}
