//! Limits that are the stages of each gauge: what is told, what follows when the register changes, and who has none.
#![allow(clippy::unwrap_used, missing_docs)]

mod told;

use std::time::Duration;

use onemap_model::{
    Device, DeviceId, Edge, Hydrology, Observation, Quality, Quantity, Reading, RuleId, SeriesKey, Timestamp,
    Transition, Value,
};
use onemap_rules::{Aside, Condition, Engine, RuleSet, Stage};
use serde_json::json;

const RULE: &str = "
version: 1
rules:
  - id: stage
    name: {zh: 超警, en: Above warning}
    severity: major
    when: {above: {quantity: water_level, raise: stage warning, clear: stage 警戒水位 - 0.10 m}}
    levels: [{severity: critical, raise: stage 保证}]
    panels: {forecast: water_level}
    advice: {zh: 巡堤, en: Patrol}
";
const START: Timestamp = Timestamp::from_ms(1_767_196_800_000);

fn at(s: u64) -> Timestamp {
    START + Duration::from_secs(s)
}

fn device(id: &str) -> Device {
    serde_json::from_value(json!({"id": id, "name": id, "kind": "river_gauge", "cadence_s": 60})).unwrap()
}

/// A gauge whose zero is at 2250 m.
fn known(warning: f64, guaranteed: Option<f64>) -> Hydrology {
    let from = Timestamp::from_ms(0);
    serde_json::from_value(json!({
        "datums": [{"from": from, "datum": "黄海", "zero_m": 2250.12, "source": "x"}],
        "stages": [{"from": from, "warning": warning, "guaranteed": guaranteed, "source": "x"}],
    }))
    .unwrap()
}

struct Gauges {
    engine: Engine,
    position: u64,
}

impl Gauges {
    fn new(rule: &str) -> Self {
        let mut engine = Engine::new();
        engine.set_file(START, 1, "a", Some(RuleSet::parse("a", rule).unwrap()));
        Self { engine, position: 1 }
    }

    fn add(&mut self, id: &str) {
        self.engine.set_device(START, 1, &device(id), None);
    }

    fn set(&mut self, s: u64, id: &str, known: Option<&Hydrology>) -> Vec<String> {
        self.position += 1;
        let id = DeviceId::new(id).unwrap();
        told(self.engine.set_stages(at(s), self.position, &id, known))
    }

    fn say(&mut self, s: u64, id: &str, channel: u16, level: f64) -> Vec<String> {
        self.position += 1;
        let reading = Reading {
            series: series(id, channel),
            measured_at: at(s),
            period: Duration::ZERO,
            received_at: at(s),
            value: Value::Number(level),
            quality: Quality::default(),
            position: self.position,
        };
        let seen = Observation {
            every_s: 0,
            reading,
            kind: "river_gauge".into(),
            division: None,
        };
        told(self.engine.observe(at(s), &seen))
    }

    fn why(&self, id: &str, channel: u16) -> Result<f64, Aside> {
        let rule = RuleId::new("stage").unwrap();
        let told = self.engine.why(&rule, &series(id, channel))?;
        assert!(!told.sentence.zh.is_empty());
        Ok(self
            .engine
            .info(&rule, &DeviceId::new(id).unwrap())
            .threshold
            .unwrap())
    }
}

fn series(id: &str, channel: u16) -> SeriesKey {
    SeriesKey {
        device: DeviceId::new(id).unwrap(),
        quantity: Quantity::named("water_level").unwrap(),
        channel,
    }
}

fn told(transitions: Vec<Transition>) -> Vec<String> {
    let one = |t: Transition| format!("{} {} {}", t.series.device, t.edge.name(), t.severity.zh());
    transitions.into_iter().map(one).collect()
}

#[test]
fn one_rule_watches_each_gauge_by_its_own_stages() {
    let mut gauges = Gauges::new(RULE);
    for id in ["a", "b", "none", "no-datum"] {
        gauges.add(id);
    }
    // 2.38 and 3.38 over the zero of a, 1.38 over that of b.
    gauges.set(0, "a", Some(&known(2252.5, Some(2253.5))));
    gauges.set(0, "b", Some(&known(2251.5, None)));
    let without = Hydrology {
        datums: Vec::new(),
        ..known(2251.5, None)
    };
    gauges.set(0, "no-datum", Some(&without));
    for (s, id, level, want) in [
        (10, "a", 2.38, ""),
        (20, "a", 2.39, "a raised 重要"),
        (20, "b", 1.38, ""),
        (20, "none", 99.0, ""),
        (20, "no-datum", 99.0, ""),
        (30, "a", 3.39, "a worsened 紧急"),
        (30, "b", 1.40, "b raised 重要"),
        (40, "a", 2.29, "a eased 重要"),
        (50, "a", 2.28, "a cleared 重要"),
        (50, "b", 9.0, ""),
    ] {
        assert_eq!(
            gauges.say(s, id, 0, level).join(", "),
            want,
            "{id} {level} at {s}"
        );
    }
    assert_eq!(gauges.why("a", 0), Ok(2.38));
    assert_eq!(gauges.why("b", 0), Ok(1.38));
    for id in ["none", "no-datum"] {
        let aside = gauges.why(id, 0).unwrap_err();
        assert_eq!(
            aside,
            Aside::NoStage {
                stage: Stage::Warning
            },
            "{id}"
        );
        assert!(
            aside.sentence().zh.contains("警戒水位"),
            "{}",
            aside.sentence().zh
        );
    }
    // A stage is of the channel that the register says.
    assert!(gauges.say(60, "b", 1, 99.0).is_empty());
    assert_eq!(gauges.why("b", 1), Err(Aside::Channel { channel: 0 }));
}

#[test]
fn an_alert_follows_the_register_and_names_the_stage() {
    let mut gauges = Gauges::new(RULE);
    gauges.add("a");
    gauges.set(0, "a", Some(&known(2252.5, None)));
    gauges.position += 1;
    let open = gauges.say(10, "a", 0, 2.5);
    assert_eq!(open, ["a raised 重要"]);
    let told = gauges.engine.explain(&series("a", 0)).remove(0);
    assert!(
        told.sentence.zh.contains("高于警戒水位（2.38 m）"),
        "{}",
        told.sentence.zh
    );
    assert!(
        told.sentence.en.contains("the warning stage (2.38 m)"),
        "{}",
        told.sentence.en
    );
    let rule = gauges.engine.rules().next().unwrap().sentence();
    assert!(
        rule.zh.contains("高于警戒水位") && rule.zh.contains("警戒水位 - 0.1 m"),
        "{}",
        rule.zh
    );
    // The same again changes nothing, what is not a stage neither.
    assert!(gauges.set(20, "a", Some(&known(2252.5, None))).is_empty());
    // Lower, and still beyond: as when the rule is changed, the alert goes and another comes.
    assert_eq!(
        gauges.set(30, "a", Some(&known(2252.4, None))),
        ["a withdrawn 重要", "a raised 重要"]
    );
    assert_eq!(gauges.why("a", 0), Ok(2.28));
    // Higher than the level.
    assert_eq!(
        gauges.set(40, "a", Some(&known(2254.0, None))),
        ["a withdrawn 重要"]
    );
    assert_eq!(gauges.engine.series_state(&series("a", 0)), Condition::Normal);
    // None any more: nothing is watched.
    assert!(gauges.set(50, "a", None).is_empty());
    assert_eq!(
        gauges.why("a", 0),
        Err(Aside::NoStage {
            stage: Stage::Warning
        })
    );
}

#[test]
fn a_stage_begins_and_ends_at_its_time_and_a_restored_engine_has_it() {
    let mut gauges = Gauges::new(RULE);
    gauges.add("a");
    let mut dated = known(2252.5, None);
    let mut later = dated.stages[0].clone();
    dated.stages[0].to = Some(at(100));
    (later.from, later.to, later.warning) = (at(100), Some(at(200)), Some(2252.0));
    dated.stages.push(later);
    dated.check().unwrap();
    gauges.set(0, "a", Some(&dated));
    assert!(gauges.say(90, "a", 0, 2.0).is_empty());
    let bytes = gauges.engine.snapshot();
    let mut restored = Engine::restore(&bytes).unwrap();
    assert_eq!(restored.snapshot(), bytes);
    let edges = |engine: &mut Engine, s: u64| -> Vec<(Edge, Timestamp)> {
        let told = engine.tick(at(s), 50 + s).into_iter();
        told.map(|transition| (transition.edge, transition.at)).collect()
    };
    for s in [99, 100, 101, 199, 200, 201] {
        let (own, others) = (edges(&mut gauges.engine, s), edges(&mut restored, s));
        assert_eq!(own, others, "at {s}");
        let names: Vec<&str> = own.iter().map(|(edge, _)| edge.name()).collect();
        let want: &[&str] = match s {
            100 => &["raised"],
            200 => &["withdrawn"],
            _ => &[],
        };
        assert_eq!(names, want, "at {s}");
    }
    assert_eq!(restored.snapshot(), gauges.engine.snapshot());
}

#[test]
fn what_is_no_stage_is_refused_with_its_place() {
    for (raise, clear, want) in [
        ("stage flood", "stage flood", "`flood` is no stage"),
        ("stage", "stage", "`` is no stage"),
        ("stage warning", "2.4 m", "of the same stage"),
        ("2.5 m", "stage warning", "of the same stage"),
        ("stage warning", "stage guaranteed - 1 m", "of the same stage"),
        ("stage warning", "stage warning + 0.1 m", "may not be greater"),
        (
            "stage warning - 0.1 s",
            "stage warning - 0.2 m",
            "`s` is not a unit",
        ),
    ] {
        let rule = RULE
            .replace("stage warning,", &format!("{raise},"))
            .replace("stage 警戒水位 - 0.10 m", clear);
        let errors = told::refused("a", &rule);
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert!(
            told[0].contains(want) && told[0].contains("7:"),
            "{raise}: {told:?}"
        );
    }
    let of_rain = RULE.replace("quantity: water_level, raise", "quantity: rain, raise");
    let errors = told::refused("a", &of_rain);
    assert!(
        errors[0].to_string().contains("stages are of water_level"),
        "{}",
        errors[0]
    );
    let agree = RULE.replace(
        "{above: {quantity: water_level, raise: stage warning, clear: stage 警戒水位 - 0.10 m}}",
        "{neighbours: {within: 1 km, at_least: 1, agree: {above: {quantity: water_level, raise: stage warning}}}}",
    );
    let agree = agree
        .lines()
        .filter(|line| !line.contains("levels"))
        .collect::<Vec<_>>()
        .join("\n");
    let errors = told::refused("a", &agree);
    assert!(
        errors[0].to_string().contains("another for each gauge"),
        "{}",
        errors[0]
    );
    let levels = RULE.replace("stage 保证", "stage warning");
    let errors = told::refused("a", &levels);
    assert!(errors[0].to_string().contains("further out"), "{}", errors[0]);
}

#[test]
fn a_test_beside_a_rule_says_the_stages() {
    let tested = format!(
        "{RULE}    tests:
      - name: by its stage
        stages: {{warning: 2.5 m, 保证水位: 3.5 m}}
        series: |
          00:00 2.6
          00:10 3.6
          00:20 2.3
        expect: |
          00:00 raised
          00:10 worsened
          00:20 cleared
      - name: without one it says nothing
        series: |
          00:00 99
        expect: \"\"
"
    );
    let set = RuleSet::parse("a", &tested).unwrap();
    for outcome in set.run_tests() {
        assert!(outcome.passed(), "{}", outcome.told().en);
    }
    let wrong = tested.replace("warning: 2.5 m", "flood: 2.5 m");
    assert!(!told::refused("a", &wrong).is_empty());
}
