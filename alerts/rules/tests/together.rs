//! Readings that are folded together change what they change one by one.
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use onemap_model::{
    Device, DeviceId, DeviceState, Edge, Observation, Quality, Quantity, Reading, SeriesKey, Timestamp,
    Transition, Value,
};
use onemap_rules::{Engine, RuleSet};
use proptest::prelude::*;

const START: Timestamp = Timestamp::from_ms(1_795_363_200_000);
const QUANTITIES: [&str; 2] = ["pm10", "pm2_5"];
const KINDS: [&str; 2] = ["air_station", "weather_station"];
/// The register names the first two.
const N_DEVICES: u8 = 5;

/// A reading, as far as it matters here.
#[derive(Clone, Debug)]
struct Said {
    device: u8,
    quantity: u8,
    channel: u16,
    /// No number at all when absent.
    value: Option<i16>,
    delay_s: u8,
    every_s: u32,
    quality: u16,
    /// A device that the register does not name is what its observations say.
    kind: u8,
    /// It begins another record.
    is_next: bool,
}

#[derive(Clone, Debug)]
enum Happening {
    /// Seconds pass, with a tick each.
    Wait(u8),
    /// Time passes without any record.
    Jump(u8),
    Readings(Vec<Said>),
    Limit(i16),
    State(u8, DeviceState),
}

fn said() -> impl Strategy<Value = Said> {
    let quality = prop_oneof![
        8 => Just(0_u16),
        1 => Just(Quality::SUSPECT.0),
        1 => Just(Quality::MAINTENANCE.0),
        1 => Just(Quality::RESENT.0),
        1 => Just(Quality::DERIVED.with(Quality::REVISED).0),
    ];
    (
        (0..N_DEVICES, 0_u8..2, prop_oneof![5 => Just(0_u16), 1 => Just(1)]),
        prop_oneof![12 => (85_i16..116).prop_map(Some), 1 => Just(None)],
        prop_oneof![4 => Just(0_u8), 1 => 0_u8..30],
        prop_oneof![6 => Just(0_u32), 1 => Just(10)],
        quality,
        prop_oneof![12 => Just(0_u8), 1 => Just(1)],
        prop::bool::weighted(0.3),
    )
        .prop_map(
            |((device, quantity, channel), value, delay_s, every_s, quality, kind, is_next)| Said {
                device,
                quantity,
                channel,
                value,
                delay_s,
                every_s,
                quality,
                kind,
                is_next,
            },
        )
}

fn happening() -> impl Strategy<Value = Happening> {
    let state = prop_oneof![
        3 => Just(DeviceState::Active), 1 => Just(DeviceState::Maintenance), 1 => Just(DeviceState::Retired)
    ];
    prop_oneof![
        3 => (1_u8..8).prop_map(Happening::Wait),
        1 => (8_u8..40).prop_map(Happening::Wait),
        1 => (2_u8..60).prop_map(Happening::Jump),
        8 => prop::collection::vec(said(), 0..8).prop_map(Happening::Readings),
        2 => prop::collection::vec(said(), 20..90).prop_map(Happening::Readings),
        1 => (98_i16..104).prop_map(Happening::Limit),
        1 => (0_u8..2, state).prop_map(|(d, s)| Happening::State(d, s)),
    ]
}

fn rules(raise: i16, hold_s: u8) -> RuleSet {
    let clear = raise - 5;
    let text = format!(
        "version: 1
rules:
  - {{id: high, name: {{zh: 高, en: high}}, severity: major, for: {hold_s} s, clear_for: 3 s, advice: {{zh: 看, en: look}},
     when: {{above: {{quantity: pm10, raise: {raise} ug/m3, clear: {clear} ug/m3}}}}}}
  - {{id: fine, name: {{zh: 细, en: fine}}, severity: minor, applies_to: {{kind: air_station}}, advice: {{zh: 看, en: look}},
     when: {{above: {{quantity: pm2_5, raise: {raise} ug/m3, clear: {clear} ug/m3}}}}}}
  - {{id: silent, name: {{zh: 静, en: silent}}, severity: minor, when: {{no_data: {{quantity: pm10, for: 5 x cadence}}}},
     advice: {{zh: 看, en: look}}}}
  - {{id: dark, name: {{zh: 黑, en: dark}}, severity: minor, when: {{no_data: {{for: 40 s}}}}, advice: {{zh: 看, en: look}}}}
  - {{id: moves, name: {{zh: 变, en: moves}}, severity: minor, advice: {{zh: 看, en: look}}, clear_for: 3 s,
     when: {{change: {{quantity: pm10, over: 20 s, changes: 8 ug/m3, clear: 4 ug/m3}}}}}}
  - {{id: joint, name: {{zh: 合, en: joint}}, severity: major, advice: {{zh: 看, en: look}}, for: 2 s,
     when: {{all: [{{above: {{quantity: pm10, raise: 104 ug/m3}}}}, {{above: {{quantity: pm2_5, raise: 100 ug/m3}}}}]}}}}
  - {{id: apart, name: {{zh: 异, en: apart}}, severity: minor, advice: {{zh: 看, en: look}},
     when: {{neighbours: {{within: 1 km, at_least: 1, differs: {{quantity: pm10, by: 5 ug/m3, clear: 3 ug/m3}}}}}}}}
"
    );
    RuleSet::parse("rules", &text).unwrap_or_else(|e| panic!("{e:#?}"))
}

fn device(n: u8, state: DeviceState) -> Device {
    serde_json::from_value(serde_json::json!({
        "id": format!("d{n}"), "name": "d", "kind": KINDS[0], "cadence_s": 4, "state": state,
        "position": {"lon": 101.77, "lat": 36.62 + f64::from(n) / 1e4},
    }))
    .unwrap()
}

fn observation(said: &Said, now: Timestamp, position: u64) -> Observation {
    Observation {
        every_s: said.every_s,
        reading: Reading {
            series: SeriesKey {
                device: DeviceId::new(&format!("d{}", said.device)).unwrap(),
                quantity: Quantity::named(QUANTITIES[usize::from(said.quantity)]).unwrap(),
                channel: said.channel,
            },
            measured_at: now.saturating_sub(Duration::from_secs(said.delay_s.into())),
            period: Duration::ZERO,
            received_at: now,
            value: match said.value {
                Some(number) => Value::Number(number.into()),
                None => Value::Text("none".into()),
            },
            quality: Quality(said.quality),
            position,
        },
        kind: Arc::from(KINDS[usize::from(said.kind)]),
        division: None,
    }
}

/// How an engine takes what came at once.
type Take = fn(&mut Engine, Timestamp, &[Observation]) -> Vec<Transition>;

fn one_by_one(engine: &mut Engine, now: Timestamp, seen: &[Observation]) -> Vec<Transition> {
    seen.iter().flat_map(|seen| engine.observe(now, seen)).collect()
}

fn together(engine: &mut Engine, now: Timestamp, seen: &[Observation]) -> Vec<Transition> {
    engine.observe_all(now, seen)
}

/// What an engine told at each happening, and what it holds at the end.
fn play(happenings: &[Happening], hold_s: u8, take: Take) -> (Vec<Vec<Transition>>, Vec<String>, Vec<u8>) {
    let (mut engine, mut now, mut position) = (Engine::new(), START, 0);
    engine.set_file(now, 1, "rules", Some(rules(100, hold_s)));
    for n in 0..2 {
        engine.set_device(now, 2, &device(n, DeviceState::Active), None);
    }
    let (mut told, mut changed) = (Vec::new(), Vec::new());
    for happening in happenings {
        now = now + Duration::from_secs(1);
        position += 10;
        told.push(match happening {
            Happening::Wait(seconds) => (0..*seconds)
                .flat_map(|_| {
                    now = now + Duration::from_secs(1);
                    position += 1;
                    engine.tick(now, position)
                })
                .collect(),
            Happening::Jump(seconds) => {
                now = now + Duration::from_secs((*seconds).into());
                engine.tick(now, position)
            }
            Happening::Readings(said) => {
                let seen = said.iter().map(|said| {
                    position += u64::from(said.is_next);
                    observation(said, now, position)
                });
                let seen: Vec<_> = seen.collect();
                take(&mut engine, now, &seen)
            }
            Happening::Limit(raise) => engine.set_file(now, position, "rules", Some(rules(*raise, hold_s))),
            Happening::State(n, state) => engine.set_device(now, position, &device(*n, *state), None),
        });
        let states = engine.drain_state_changes();
        changed.push(format!("{states:?}"));
    }
    (told, changed, engine.snapshot())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_batch_is_what_its_readings_are_one_by_one(
        happenings in prop::collection::vec(happening(), 1..30), hold_s in 0_u8..6,
    ) {
        let single = play(&happenings, hold_s, one_by_one);
        let batch = play(&happenings, hold_s, together);
        prop_assert_eq!(&single.0, &batch.0);
        prop_assert_eq!(&single.1, &batch.1);
        prop_assert!(single.2 == batch.2, "the snapshots differ");
    }
}

fn fine(device: u8, value: i16) -> Said {
    Said {
        device,
        quantity: 1,
        channel: 0,
        value: Some(value),
        delay_s: 0,
        every_s: 0,
        quality: 0,
        kind: 0,
        is_next: true,
    }
}

#[test]
fn a_series_that_a_batch_makes_known_is_known_to_the_rest_of_it() {
    let all = Happening::Readings(vec![fine(4, 90), fine(4, 120), fine(4, 91)]);
    let (told, ..) = play(&[all], 0, together);
    let edges: Vec<_> = told[0].iter().map(|t| (t.edge, t.series.to_string())).collect();
    let series = || "d4/pm2_5/0".to_owned();
    assert_eq!(edges, [(Edge::Raised, series()), (Edge::Cleared, series())]);
}

#[test]
fn a_batch_of_more_readings_than_are_looked_up_at_once_is_folded_to_its_end() {
    let mut all = vec![fine(4, 90); 200];
    all.push(fine(3, 120));
    let (told, ..) = play(&[Happening::Readings(all)], 0, together);
    assert_eq!(told[0].len(), 1);
    assert_eq!((told[0][0].edge, told[0][0].position), (Edge::Raised, 211));
}

#[test]
fn a_batch_of_nothing_changes_nothing() {
    let quiet = play(&[Happening::Readings(vec![])], 0, together);
    assert_eq!(quiet, play(&[Happening::Readings(vec![])], 0, one_by_one));
    assert!(quiet.0[0].is_empty());
}
