//! The law of order (notes on ingest, A5): however readings arrive, shuffled, doubled, late, they become the
//! same history and the same hours of the gap ledger as in order, apart from the marks that say how they
//! arrived ([`Quality::OF_ARRIVAL`]). One time has one value here: where it is given two, the later record
//! shows, and order is the point.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use onemap_ingest::admit::{AgeLimits, Arrival, Lane, Watch, admit};
use onemap_model::{Device, Quality, Timestamp};
use onemap_store::gaps::{Expectation, GapLedger};
use onemap_store::history::{History, HistoryConfig};
use proptest::prelude::*;

/// 2026-11-23T07:00:00+08:00
const START: i64 = 1_795_388_400_000;
const STEP_MS: i64 = 60_000;

/// What a day became: values by series and time, and received reports by hour.
type Day = (BTreeMap<(String, i64), (u64, u16)>, Vec<u32>);

fn device() -> Device {
    serde_json::from_value(serde_json::json!({
        "id": "air-1", "name": "甲", "kind": "air_station", "cadence_s": 60
    }))
    .unwrap()
}

/// Lets frames arrive one after another; each is the number of its minute.
fn arrive(minutes: &[i64]) -> Day {
    let dir = tempfile::tempdir().unwrap();
    let config = HistoryConfig {
        chunk_points: 16,
        ..HistoryConfig::default()
    };
    let history = History::open(dir.path(), config).unwrap();
    let (gaps, mut watch, device) = (GapLedger::new(), Watch::default(), device());
    for (position, minute) in (1u64..).zip(minutes) {
        // Some values are out of range: those marks are of the value and do not depend on order.
        let pm10 = if minute % 7 == 0 { 90000 } else { 20 + minute % 5 };
        let at = START + minute * STEP_MS;
        let payload = format!(
            r#"[{{"q":"pm10","t":{at},"v":{pm10}}},{{"q":"temperature","t":{at},"v":{}}}]"#,
            minute % 11
        );
        let arrival = Arrival {
            device: &device,
            profile: None,
            received_at: Timestamp::from_ms(START + 400 * STEP_MS + position as i64 * 1000),
            position,
            lane: Lane::Live,
            ages: AgeLimits::default(),
        };
        let admitted = admit(
            onemap_wire::native::decode(payload.as_bytes()),
            &arrival,
            &mut watch,
        );
        assert!(admitted.refused.is_empty());
        let outcomes = history.append(&admitted.readings).unwrap();
        gaps.note(&admitted.readings, &outcomes, false);
        if position % 50 == 0 {
            history.checkpoint(position, &[]).unwrap();
            // What is remembered comes back from a checkpoint as it was.
            watch = Watch::decode(&watch.encode()).unwrap();
        }
    }
    let mut values = BTreeMap::new();
    for series in history.all_series() {
        let end = Timestamp::from_ms(series.last.ms() + 1);
        history
            .scan(series.id, series.first, end, &mut |point| {
                let marks = point.quality.without(Quality::OF_ARRIVAL);
                let bits = point.value.number().unwrap().to_bits();
                let key = (series.key.to_string(), point.measured_at.ms());
                values.insert(key, (bits, marks.0));
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    let expectation = Expectation {
        cadence_s: 60,
        since: None,
        until: None,
    };
    let now = Timestamp::from_ms(START + 2 * 86_400_000);
    let day = Timestamp::from_ms(START).beijing_day();
    let hours = gaps.day(&device.id, day, &expectation, now);
    (values, hours.iter().map(|hour| hour.counts.received).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn shuffled_doubled_and_late_readings_become_what_ordered_ones_do(
        minutes in prop::collection::btree_set(0i64..180, 1..120),
        seed in prop::collection::vec((0usize..30, prop::bool::weighted(0.2), prop::bool::weighted(0.2)), 240),
    ) {
        let ordered: Vec<i64> = minutes.into_iter().collect();
        // Each frame is put off by up to 30 places, every fifth to the end, every fifth comes twice.
        let mut shuffled: Vec<(usize, i64)> = Vec::new();
        for (i, minute) in ordered.iter().enumerate() {
            let (by, late, twice) = seed[i];
            shuffled.push((if late { 1000 + by } else { i + by }, *minute));
            if twice {
                shuffled.push((i + 2 * by, *minute));
            }
        }
        shuffled.sort_by_key(|(place, _)| *place);
        let shuffled: Vec<i64> = shuffled.into_iter().map(|(_, minute)| minute).collect();
        prop_assert_eq!(arrive(&ordered), arrive(&shuffled));
    }
}
