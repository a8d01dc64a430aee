//! Laws of the engine: equal to a naive model that looks at everything every second, the same after any
//! restart, deterministic.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use onemap_model::{
    Device, DeviceId, DeviceState, Edge, Observation, Quality, Quantity, Reading, SeriesKey, Timestamp,
    Transition, Value,
};
use onemap_rules::{Condition, Engine, RuleSet};
use proptest::prelude::*;

const START: Timestamp = Timestamp::from_ms(1_795_363_200_000);
const CADENCE_S: u32 = 4;
/// Three cadences and the next millisecond.
const PATIENCE_MS: i64 = 12_001;

/// One thing that happens, one second after the other.
#[derive(Clone, Debug)]
enum Happening {
    /// Seconds pass without a reading.
    Wait(u8),
    /// Time passes without any record: the process was down.
    Jump(u8),
    Reading {
        device: u8,
        value: i16,
        delay_s: u8,
        quality: u16,
    },
    /// The rule file changes to this limit.
    Limit(i16),
    State(u8, DeviceState),
    /// A person closes the n-th open alert.
    Close(u8),
}

fn happening() -> impl Strategy<Value = Happening> {
    let quality = prop_oneof![
        6 => Just(0_u16),
        1 => Just(Quality::SUSPECT.0),
        1 => Just(Quality::MAINTENANCE.0),
        1 => Just(Quality::RESENT.0),
    ];
    prop_oneof![
        3 => (1_u8..8).prop_map(Happening::Wait),
        1 => (8_u8..40).prop_map(Happening::Wait),
        1 => (2_u8..60).prop_map(Happening::Jump),
        12 => (0_u8..2, 90_i16..111, prop_oneof![4 => Just(0_u8), 1 => 0_u8..30], quality)
            .prop_map(|(device, value, delay_s, quality)| Happening::Reading { device, value, delay_s, quality }),
        1 => (98_i16..104).prop_map(Happening::Limit),
        1 => (0_u8..2, prop_oneof![
            3 => Just(DeviceState::Active), 1 => Just(DeviceState::Maintenance), 1 => Just(DeviceState::Retired)
        ]).prop_map(|(d, s)| Happening::State(d, s)),
        1 => (0_u8..3).prop_map(Happening::Close),
    ]
}

/// Rules that weigh more than the last value; the second device is the first one's neighbour.
const WEIGHED: &str = "
  - id: moves
    name: {zh: 变, en: moves}
    severity: minor
    when: {change: {quantity: pm10, over: 20 s, changes: 8 ug/m3, clear: 4 ug/m3}}
    clear_for: 3 s
    advice: {zh: 看, en: look}
  - id: stuck
    name: {zh: 停, en: stuck}
    severity: minor
    when: {stuck: {quantity: pm10, for: 9 s, within: 2 ug/m3, except: 95 ug/m3}}
    advice: {zh: 看, en: look}
  - id: apart
    name: {zh: 异, en: apart}
    severity: minor
    when: {neighbours: {within: 1 km, at_least: 1, differs: {quantity: pm10, by: 5 ug/m3, clear: 3 ug/m3}}}
    for: 2 s
    advice: {zh: 看, en: look}
  - id: joint
    name: {zh: 合, en: joint}
    severity: major
    when:
      any:
        - all: [{above: {quantity: pm10, raise: 104 ug/m3, clear: 100 ug/m3}}, {not: {above: {quantity: pm10, raise: 108 ug/m3}}}]
        - no_data: {quantity: pm10, for: 25 s}
    for: 2 s
    advice: {zh: 看, en: look}
";

fn rules(raise: i16, hold_s: u8, clear_s: u8, more: &str) -> RuleSet {
    let clear = raise - 5;
    let text = format!(
        "version: 1
rules:
  - id: high
    name: {{zh: 高, en: high}}
    severity: major
    when: {{above: {{quantity: pm10, raise: {raise} ug/m3, clear: {clear} ug/m3}}}}
    for: {hold_s} s
    clear_for: {clear_s} s
    advice: {{zh: 看, en: look}}
  - id: silent
    name: {{zh: 静, en: silent}}
    severity: minor
    when: {{no_data: {{quantity: pm10, for: 5 x cadence}}}}
    clear_for: {clear_s} s
    advice: {{zh: 看, en: look}}
{more}"
    );
    RuleSet::parse("rules", &text).unwrap_or_else(|e| panic!("{e:#?}"))
}

fn series(device: u8) -> SeriesKey {
    SeriesKey {
        device: DeviceId::new(&format!("d{device}")).unwrap(),
        quantity: Quantity::named("pm10").unwrap(),
        channel: 0,
    }
}

fn device(device: u8, state: DeviceState) -> Device {
    serde_json::from_value(serde_json::json!({
        "id": format!("d{device}"), "name": "d", "kind": "air_station", "cadence_s": CADENCE_S, "state": state,
        "position": {"lon": 101.77, "lat": 36.62 + f64::from(device) / 1e4},
    }))
    .unwrap()
}

fn observation(
    n: u8,
    value: i16,
    measured_at: Timestamp,
    now: Timestamp,
    quality: u16,
    position: u64,
) -> Observation {
    Observation {
        every_s: 0,
        reading: Reading {
            series: series(n),
            measured_at,
            period: Duration::ZERO,
            received_at: now,
            value: Value::Number(f64::from(value)),
            quality: Quality(quality),
            position,
        },
        kind: Arc::from("air_station"),
        division: None,
    }
}

/// The world that drives an engine; `restart_every` exchanges it for its own snapshot.
struct World {
    engine: Engine,
    now: Timestamp,
    position: u64,
    out: Vec<Transition>,
    conditions: Vec<[Condition; 2]>,
    holds: (u8, u8),
    restart_every: Option<u64>,
    more: &'static str,
}

impl World {
    fn new(hold_s: u8, clear_s: u8, restart_every: Option<u64>) -> Self {
        Self::with(hold_s, clear_s, restart_every, "")
    }
    fn with(hold_s: u8, clear_s: u8, restart_every: Option<u64>, more: &'static str) -> Self {
        let mut world = Self {
            more,
            engine: Engine::new(),
            now: START,
            position: 0,
            out: Vec::new(),
            conditions: Vec::new(),
            holds: (hold_s, clear_s),
            restart_every,
        };
        world.happen(&Happening::Limit(100));
        for n in 0..2 {
            world.happen(&Happening::State(n, DeviceState::Active));
        }
        world
    }
    fn step(&mut self, work: impl FnOnce(&mut Engine, Timestamp, u64) -> Vec<Transition>) {
        self.position += 1;
        if self
            .restart_every
            .is_some_and(|every| self.position.is_multiple_of(every))
        {
            self.engine = Engine::restore(&self.engine.snapshot()).unwrap();
        }
        self.out.extend(work(&mut self.engine, self.now, self.position));
        let state = |n| self.engine.series_state(&series(n));
        self.conditions.push([state(0), state(1)]);
    }
    fn second(&mut self) {
        self.now = self.now + Duration::from_secs(1);
        self.step(|engine, now, position| engine.tick(now, position));
    }
    fn happen(&mut self, happening: &Happening) {
        let ((hold_s, clear_s), more) = (self.holds, self.more);
        match *happening {
            Happening::Wait(seconds) => (0..seconds).for_each(|_| self.second()),
            Happening::Jump(seconds) => {
                self.now = self.now + Duration::from_secs(u64::from(seconds));
                self.second();
            }
            Happening::Reading {
                device,
                value,
                delay_s,
                quality,
            } => {
                self.second();
                let measured = self.now.saturating_sub(Duration::from_secs(u64::from(delay_s)));
                self.step(|engine, now, position| {
                    engine.observe(now, &observation(device, value, measured, now, quality, position))
                });
            }
            Happening::Limit(raise) => self.step(|engine, now, position| {
                engine.set_file(now, position, "rules", Some(rules(raise, hold_s, clear_s, more)))
            }),
            Happening::State(n, state) => {
                self.step(|engine, now, position| engine.set_device(now, position, &device(n, state), None));
            }
            Happening::Close(n) => self.step(|engine, _, _| {
                let open = engine.open_alerts();
                if let Some(alert) = open.get(usize::from(n)) {
                    assert!(engine.closed(&alert.alert));
                }
                Vec::new()
            }),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_restored_engine_goes_on_as_if_it_had_never_stopped(
        happenings in prop::collection::vec(happening(), 1..60),
        hold_s in 0_u8..12, clear_s in 0_u8..12, every in 1_u64..40,
    ) {
        let mut plain = World::with(hold_s, clear_s, None, WEIGHED);
        let mut restarted = World::with(hold_s, clear_s, Some(every), WEIGHED);
        for happening in &happenings {
            plain.happen(happening);
            restarted.happen(happening);
        }
        prop_assert_eq!(&plain.out, &restarted.out);
        prop_assert_eq!(&plain.conditions, &restarted.conditions);
        prop_assert_eq!(plain.engine.snapshot(), restarted.engine.snapshot());
    }

    #[test]
    fn the_life_of_an_alert_is_in_order_and_ids_are_unique(
        happenings in prop::collection::vec(happening(), 1..80), hold_s in 0_u8..12, clear_s in 0_u8..12,
    ) {
        let mut world = World::with(hold_s, clear_s, None, WEIGHED);
        happenings.iter().for_each(|happening| world.happen(happening));
        let mut ids = std::collections::BTreeSet::new();
        let mut lives: BTreeMap<_, Vec<Edge>> = BTreeMap::new();
        for transition in &world.out {
            prop_assert!(ids.insert(transition.id), "id twice: {:?}", transition);
            lives.entry(transition.alert).or_default().push(transition.edge);
        }
        let open: Vec<_> = world.engine.open_alerts().iter().filter(|a| !a.closed).map(|a| a.alert).collect();
        for (alert, life) in &lives {
            prop_assert_eq!(life[0], Edge::Raised);
            let mut lost = false;
            for (i, edge) in life.iter().enumerate().skip(1) {
                match edge {
                    Edge::Lost => prop_assert!(!std::mem::replace(&mut lost, true), "lost twice: {:?}", life),
                    Edge::Found => prop_assert!(std::mem::take(&mut lost), "found, not lost: {:?}", life),
                    Edge::Cleared | Edge::Withdrawn => prop_assert_eq!(i, life.len() - 1),
                    other => prop_assert!(false, "{:?} does not come from the engine", other),
                }
            }
            if open.contains(alert) {
                prop_assert!(!matches!(life.last(), Some(Edge::Cleared | Edge::Withdrawn)));
            }
        }
    }

    #[test]
    fn the_engine_is_equal_to_the_naive_model(
        happenings in prop::collection::vec(happening(), 1..80), hold_s in 0_u8..12, clear_s in 0_u8..12,
    ) {
        // The model knows thresholds and silence on steady rules and devices.
        let happenings: Vec<Happening> = happenings
            .into_iter()
            .filter(|h| matches!(h, Happening::Wait(_) | Happening::Reading { .. }))
            .collect();
        let mut world = World::new(hold_s, clear_s, None);
        let mut models = [Naive::new(hold_s, clear_s, world.now), Naive::new(hold_s, clear_s, world.now)];
        world.conditions.clear();
        world.out.clear();
        let mut expected: Vec<(i64, String, &str, Edge)> = Vec::new();
        let mut conditions = Vec::new();
        let mut now = world.now;
        for happening in &happenings {
            world.happen(happening);
            let seconds = if let Happening::Wait(seconds) = happening { *seconds } else { 1 };
            for _ in 0..seconds {
                now = now + Duration::from_secs(1);
                for (n, model) in models.iter_mut().enumerate() {
                    let told = model.second(now).into_iter();
                    expected.extend(told.map(|(rule, edge)| (now.ms(), format!("d{n}"), rule, edge)));
                }
                conditions.push([models[0].condition(), models[1].condition()]);
            }
            if let Happening::Reading { device, value, delay_s, quality } = happening {
                let measured = now.saturating_sub(Duration::from_secs(u64::from(*delay_s)));
                let model = &mut models[usize::from(*device)];
                let told = model.reading(now, measured, f64::from(*value), Quality(*quality)).into_iter();
                expected.extend(told.map(|(rule, edge)| (now.ms(), format!("d{device}"), rule, edge)));
                conditions.push([models[0].condition(), models[1].condition()]);
            }
        }
        let mut got: Vec<_> = world
            .out
            .iter()
            .map(|t| (t.at.ms(), t.series.device.to_string(), t.rule.as_str(), t.edge))
            .collect();
        // Within one second the engine tells in the order of deadlines, the model by device and rule.
        got.sort();
        expected.sort();
        prop_assert_eq!(got, expected);
        prop_assert_eq!(&world.conditions, &conditions);
    }
}

/// One series with the two rules, judged by looking at everything it ever got, every second.
struct Naive {
    hold_ms: i64,
    clear_ms: i64,
    registered: Timestamp,
    /// Readings in order: record time, measured, value, quality.
    taken: Vec<(Timestamp, Timestamp, f64, Quality)>,
    silent: bool,
    /// Beyond since (measured, record), while not raised.
    pending: Option<(Timestamp, Timestamp)>,
    raised: bool,
    lost: bool,
    /// Back since (measured, record), while raised.
    back: Option<(Timestamp, Timestamp)>,
    no_data: bool,
    data_since: Option<Timestamp>,
}

impl Naive {
    fn new(hold_s: u8, clear_s: u8, registered: Timestamp) -> Self {
        Self {
            hold_ms: i64::from(hold_s) * 1000,
            clear_ms: i64::from(clear_s) * 1000,
            registered,
            taken: Vec::new(),
            silent: false,
            pending: None,
            raised: false,
            lost: false,
            back: None,
            no_data: false,
            data_since: None,
        }
    }
    fn condition(&self) -> Condition {
        match self.taken.last() {
            _ if self.silent => Condition::Unknown,
            None => Condition::Unknown,
            Some((.., quality)) if !quality.judgeable() => Condition::Unknown,
            Some((_, _, value, quality))
                if quality.has(Quality::MAINTENANCE) && (*value > 100.0 || *value <= 95.0) =>
            {
                if *value > 100.0 {
                    Condition::Abnormal
                } else {
                    Condition::Normal
                }
            }
            Some(_) if self.raised => Condition::Abnormal,
            Some(_) => Condition::Normal,
        }
    }
    fn unknown(&mut self) -> Option<(&'static str, Edge)> {
        self.pending = None;
        self.back = None;
        (self.raised && !std::mem::replace(&mut self.lost, true)).then_some(("high", Edge::Lost))
    }
    fn second(&mut self, now: Timestamp) -> Vec<(&'static str, Edge)> {
        let mut told = Vec::new();
        let heard = self.taken.last().map(|(record, ..)| *record);
        // A second is the grain of time here, and holds of whole seconds end before silences, which end
        // one millisecond after a whole second.
        if let Some((_, record)) = self.pending.filter(|(_, record)| now - *record >= self.hold_ms) {
            assert!(record <= now);
            self.pending = None;
            self.raised = true;
            told.push(("high", Edge::Raised));
        }
        if self.back.is_some_and(|(_, record)| now - record >= self.clear_ms) {
            (self.back, self.raised, self.lost) = (None, false, false);
            told.push(("high", Edge::Cleared));
        }
        if self.data_since.is_some_and(|since| now - since >= self.clear_ms) {
            (self.data_since, self.no_data) = (None, false);
            told.push(("silent", Edge::Cleared));
        }
        if heard.is_some_and(|heard| now - heard >= PATIENCE_MS) && !self.silent {
            self.silent = true;
            told.extend(self.unknown());
        }
        let limit_ms = i64::from(CADENCE_S) * 5000 + 1;
        if now - heard.unwrap_or(self.registered) >= limit_ms {
            self.data_since = None;
            if !std::mem::replace(&mut self.no_data, true) {
                told.push(("silent", Edge::Raised));
            }
        }
        told
    }
    fn reading(
        &mut self,
        now: Timestamp,
        measured: Timestamp,
        value: f64,
        quality: Quality,
    ) -> Vec<(&'static str, Edge)> {
        let history = quality.has(Quality::RESENT) && now - measured > i64::from(CADENCE_S) * 3000;
        // What was taken is in the order of its moments.
        let late = self.taken.last().is_some_and(|(_, newest, last, _)| {
            let anew = measured == *newest && value != *last && !quality.has(Quality::RESENT);
            measured <= *newest && !anew
        });
        if late || history {
            return Vec::new();
        }
        self.taken.push((now, measured, value, quality));
        self.silent = false;
        let mut told = Vec::new();
        if quality.has(Quality::MAINTENANCE) {
            self.pending = None;
            self.back = None;
            return told;
        }
        if self.no_data {
            let since = *self.data_since.get_or_insert(now);
            if now - since >= self.clear_ms {
                (self.data_since, self.no_data) = (None, false);
                told.push(("silent", Edge::Cleared));
            }
        }
        if !quality.judgeable() {
            told.extend(self.unknown());
            return told;
        }
        let long = |since: (Timestamp, Timestamp), ms: i64| (measured - since.0).max(now - since.1) >= ms;
        if !self.raised {
            self.pending = (value > 100.0).then(|| self.pending.unwrap_or((measured, now)));
            if self.pending.is_some_and(|since| long(since, self.hold_ms)) {
                self.pending = None;
                self.raised = true;
                told.push(("high", Edge::Raised));
            }
        } else if value <= 95.0 {
            let since = *self.back.get_or_insert((measured, now));
            if long(since, self.clear_ms) {
                (self.back, self.raised, self.lost) = (None, false, false);
                told.push(("high", Edge::Cleared));
            }
        } else {
            self.back = None;
            if std::mem::take(&mut self.lost) {
                told.push(("high", Edge::Found));
            }
        }
        told
    }
}
