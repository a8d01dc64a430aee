//! Rules that look ahead: forecasts go in, sentences and a record of what came of them must come out.
#![allow(clippy::unwrap_used, missing_docs)]

mod told;

use std::time::Duration;

use onemap_model::forecast::{Lead, OWN};
use onemap_model::{
    Device, DeviceId, DeviceState, Edge, Forecast, Observation, Quality, Quantity, Reading, SeriesKey,
    Setting, Timestamp, Transition, Value,
};
use onemap_rules::{Condition, Engine, Progress, RuleSet};

const START: Timestamp = Timestamp::from_ms(1_795_363_200_000);
const RULE: &str = "forecast: {quantity: water_level, within: 3 h, above: 2.2 m, clear: 2.1 m}";

fn key() -> SeriesKey {
    SeriesKey {
        device: DeviceId::new("gauge").unwrap(),
        quantity: Quantity::named("water_level").unwrap(),
        channel: 0,
    }
}

fn rules(when: &str, more: &str) -> RuleSet {
    let text = format!(
        "version: 1\nrules:\n  - {{id: flood, name: {{zh: 洪水, en: Flood}}, severity: major, advice: {{zh: 看, en: look}}, \
         when: {{{when}}}{more}}}\n"
    );
    RuleSet::parse("rules", &text).unwrap_or_else(|e| panic!("{e:#?}"))
}

struct City {
    engine: Engine,
    position: u64,
    now: Timestamp,
    told: Vec<Transition>,
    last: Option<f64>,
}

impl City {
    fn new(when: &str, more: &str) -> Self {
        let mut city = Self {
            engine: Engine::new(),
            position: 1,
            now: START,
            told: Vec::new(),
            last: None,
        };
        city.engine.set_file(START, 1, "rules", Some(rules(when, more)));
        city.state(DeviceState::Active);
        city
    }
    fn state(&mut self, state: DeviceState) {
        let device = Device {
            id: key().device,
            name: String::new(),
            name_en: String::new(),
            kind: "river_gauge".into(),
            profile: None,
            position: None,
            division: None,
            setting: Setting::Urban,
            gateway: None,
            entity: None,
            state,
            maintenance: None,
            cadence_s: 3600,
            department: String::new(),
            is_gateway: false,
            adopts: false,
            demo: false,
        };
        self.position += 1;
        self.told
            .extend(self.engine.set_device(self.now, self.position, &device, None));
    }
    /// The clock goes on, second by second.
    fn until(&mut self, minutes: u64) {
        let end = START + Duration::from_secs(60 * minutes);
        while self.now < end {
            self.now = self.now + Duration::from_secs(1);
            self.position += 1;
            self.told.extend(self.engine.tick(self.now, self.position));
        }
    }
    fn reads(&mut self, minutes: u64, level: f64) {
        self.until(minutes);
        self.position += 1;
        self.last = Some(level);
        let reading = Reading {
            series: key(),
            measured_at: self.now,
            period: Duration::ZERO,
            received_at: self.now,
            value: Value::Number(level),
            quality: Quality::GOOD,
            position: self.position,
        };
        let seen = Observation {
            every_s: 0,
            reading,
            kind: "river_gauge".into(),
            division: None,
        };
        self.told.extend(self.engine.observe(self.now, &seen));
    }
    /// What the last value is followed by: hours, the middle, and one in ten below and above.
    fn forecast(&self, leads: &[(u64, f64, f64, f64)]) -> Forecast {
        let lead = |(hours, low, middle, high): &(u64, f64, f64, f64)| Lead {
            at: self.now + Duration::from_secs(3600 * hours),
            value: *middle,
            median: None,
            quantiles: vec![(0.1, *low), (0.5, *middle), (0.9, *high)],
            exceed: vec![],
        };
        Forecast {
            series: key(),
            source: OWN.to_owned(),
            model: String::new(),
            issued_at: self.now,
            origin: self.now,
            at_origin: self.last,
            step_s: 3600,
            regime: None,
            leads: leads.iter().map(lead).collect(),
            silent: vec![],
            influences: vec![],
            notes: vec![],
        }
    }
    fn foresees(&mut self, minutes: u64, leads: &[(u64, f64, f64, f64)]) {
        self.until(minutes);
        let forecast = self.forecast(leads);
        self.take(&forecast);
    }
    fn take(&mut self, forecast: &Forecast) {
        self.position += 1;
        self.told
            .extend(self.engine.foresee(self.now, self.position, forecast));
    }
    /// What was told since the last call: minutes, edge, sentence.
    fn said(&mut self) -> Vec<(u64, Edge, String, String)> {
        let told = std::mem::take(&mut self.told);
        told.into_iter()
            .map(|t| {
                assert_eq!(t.series, key());
                (
                    t.at.since(START).as_secs() / 60,
                    t.edge,
                    t.message_zh,
                    t.message_en,
                )
            })
            .collect()
    }
    fn edges(&mut self) -> Vec<(u64, Edge)> {
        self.said().into_iter().map(|(at, edge, ..)| (at, edge)).collect()
    }
}

fn told(at: u64, edge: Edge, zh: &str, en: &str) -> (u64, Edge, String, String) {
    (at, edge, zh.to_owned(), en.to_owned())
}

#[test]
fn a_crossing_that_is_foreseen_is_told_with_its_time_and_its_record() {
    let mut city = City::new(RULE, "");
    city.reads(0, 1.8);
    city.foresees(1, &[(1, 1.85, 1.9, 1.95), (3, 1.95, 2.1, 2.18)]);
    assert_eq!(city.edges(), [], "2.1 m is not above 2.2 m");
    city.reads(60, 1.8);
    // 1.8 m now, 2.0 m in an hour, 2.6 m in three: 2.2 m in 100 minutes.
    city.foresees(61, &[(1, 1.9, 2.0, 2.2), (3, 2.3, 2.6, 3.2)]);
    assert_eq!(
        city.said(),
        [told(
            61,
            Edge::Raised,
            "水位预计 100 分钟后（60–150）即 11-23 02:41 高于 2.2 m，3 小时内最高 2.600 m；此处此类预报尚无检验记录",
            "Water level is expected above 2.2 m in 100 min (60–150), at 11-23 02:41, up to 2.600 m within 3 h; no such forecast has been judged here yet",
        )]
    );
    assert_eq!(
        city.engine.series_state(&key()),
        Condition::Normal,
        "what is foreseen is not yet"
    );
    let open = city.engine.open_alerts();
    assert_eq!((open.len(), &open[0].series), (1, &key()));
    // It comes, and is over; the next one says so.
    city.reads(120, 2.3);
    city.foresees(121, &[(1, 2.3, 2.5, 2.6), (3, 2.2, 2.4, 2.6)]);
    assert_eq!(city.edges(), []);
    city.reads(180, 2.0);
    city.foresees(181, &[(1, 1.8, 1.9, 2.0), (3, 1.5, 1.6, 1.8)]);
    assert_eq!(
        city.said(),
        [told(
            181,
            Edge::Cleared,
            "水位预计 3 小时内最高 1.900 m，回落至 2.1 m 及以下，告警解除",
            "Water level is expected up to 1.900 m within 3 h, at or below 2.1 m: over",
        )]
    );
    city.reads(240, 1.9);
    city.foresees(241, &[(3, 1.7, 2.5, 2.9)]);
    let said = city.said();
    assert_eq!(said.len(), 1);
    assert!(
        said[0].2.ends_with("（54，也可能不发生）") || said[0].2.contains("最早 54，也可能不发生"),
        "{}",
        said[0].2
    );
    assert!(
        said[0].2.ends_with("此处此类预报 1 次中 1 次成真、0 次落空"),
        "{}",
        said[0].2
    );
    // It does not come.
    for hour in 5..9 {
        city.reads(60 * hour, 1.9);
        city.foresees(60 * hour + 1, &[(3, 1.5, 1.6, 1.8)]);
    }
    city.foresees(541, &[(3, 2.0, 2.5, 2.9)]);
    let said = city.said();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[1]
            .3
            .ends_with("here 1 of 2 such came true, 1 of 2 were false"),
        "{}",
        said[1].3
    );
}

#[test]
fn where_it_stands_beyond_already_the_sentence_says_so() {
    let mut city = City::new(RULE, "");
    city.reads(0, 2.4);
    city.foresees(1, &[(1, 2.4, 2.5, 2.6), (3, 2.5, 2.8, 3.0)]);
    assert_eq!(
        city.said(),
        [told(
            1,
            Edge::Raised,
            "水位现已高于 2.2 m，预计 3 小时内最高 2.800 m；此处此类预报尚无检验记录",
            "Water level is above 2.2 m already and expected up to 2.800 m within 3 h; no such forecast has been judged here yet",
        )]
    );
}

#[test]
fn an_upper_quantile_warns_earlier_and_one_that_was_not_given_says_nothing() {
    let leads = [(1, 1.9, 2.0, 2.15), (3, 1.9, 2.1, 2.3)];
    for (quantile, is_raised) in [
        ("0.5", false),
        ("0.9", true),
        ("0.85", true),
        ("0.7", false),
        ("0.95", false),
    ] {
        let when = RULE.replace("within", &format!("quantile: {quantile}, within"));
        let mut city = City::new(&when, "");
        city.reads(0, 1.9);
        city.foresees(1, &leads);
        assert_eq!(!city.edges().is_empty(), is_raised, "{quantile}");
    }
}

#[test]
fn below_is_watched_too_and_a_hold_counts_forecasts() {
    let when = "forecast: {quantity: water_level, within: 3 h, below: 0.5 m}";
    let mut city = City::new(when, ", for: 1 h");
    city.reads(0, 0.9);
    city.foresees(1, &[(2, 0.2, 0.4, 0.6)]);
    city.foresees(31, &[(2, 0.2, 0.4, 0.6)]);
    assert_eq!(city.edges(), []);
    city.until(62);
    assert_eq!(
        city.edges(),
        [(61, Edge::Raised)],
        "the forecast stands for two of its steps"
    );
    let explained = city.engine.explain(&key());
    assert_eq!(explained[0].progress, Progress::Raised);
    assert_eq!(
        explained[0].sentence.zh,
        "水位预报 3 小时内低于 0.5 m 持续 1 小时时告警，预报回升至 0.5 m 及以上后解除"
    );
}

#[test]
fn when_forecasts_stop_nothing_is_known_and_that_is_told_once() {
    let mut city = City::new(RULE, "");
    city.reads(0, 1.9);
    city.foresees(1, &[(1, 2.4, 2.5, 2.6)]);
    city.until(1000);
    assert_eq!(city.edges(), [(1, Edge::Raised), (121, Edge::Lost)]);
    city.foresees(1001, &[(1, 2.4, 2.5, 2.6)]);
    let said = city.said();
    assert_eq!((said[0].1, said.len()), (Edge::Found, 1));
    assert_eq!(
        said[0].2,
        "水位预报恢复，预计 3 小时内最高 2.500 m，仍未回落至 2.1 m 及以下"
    );
    // One that says nothing of the time that is asked for.
    let mut silent = city.forecast(&[(9, 1.0, 1.0, 1.0)]);
    silent.origin = silent.origin + Duration::from_secs(60);
    city.take(&silent);
    assert_eq!(
        city.said().pop().unwrap().2,
        "水位的预报未涵盖今后 3 小时，今后情况未知"
    );
}

#[test]
fn what_is_late_of_others_or_muted_changes_nothing() {
    let mut city = City::new(RULE, "");
    city.reads(0, 1.9);
    city.foresees(60, &[(1, 1.0, 1.1, 1.2)]);
    let mut late = city.forecast(&[(2, 2.4, 2.5, 2.6)]);
    city.take(&late);
    late.origin = START;
    city.take(&late);
    late.origin = city.now + Duration::from_secs(1);
    late.source = "bureau".to_owned();
    city.take(&late);
    assert_eq!(city.edges(), []);
    city.state(DeviceState::Maintenance);
    city.foresees(121, &[(1, 2.4, 2.5, 2.6)]);
    assert_eq!(city.edges(), []);
    city.state(DeviceState::Active);
    assert_eq!(city.edges(), [(121, Edge::Raised)]);
    city.foresees(181, &[(1, 2.4, 2.5, 2.6)]);
    assert_eq!(city.edges(), []);
    city.state(DeviceState::Retired);
    assert_eq!(city.edges(), [(181, Edge::Withdrawn)]);
    city.foresees(241, &[(1, 2.4, 2.5, 2.6)]);
    assert_eq!(city.edges(), []);
    // Those of the bureau, for a rule that asks for them.
    let mut city = City::new(&RULE.replace("within", "source: bureau, within"), "");
    city.foresees(1, &[(1, 2.4, 2.5, 2.6)]);
    assert_eq!(city.edges(), []);
    let mut theirs = city.forecast(&[(1, 2.4, 2.5, 2.6)]);
    theirs.source = "bureau".to_owned();
    theirs.step_s = 0;
    city.take(&theirs);
    let said = city.said();
    assert_eq!(said.len(), 1, "{said:?}");
    let (.., zh, en) = &said[0];
    assert!(
        zh.starts_with("水位（bureau）预计") && en.starts_with("Water level (by bureau) is expected"),
        "{said:?}"
    );
}

#[test]
fn what_is_foreseen_for_later_comes_near_without_another_forecast() {
    let mut city = City::new(&RULE.replace("within", "source: bureau, within"), "");
    city.reads(0, 1.9);
    city.until(1);
    let mut theirs = city.forecast(&[(1, 1.8, 1.9, 2.0), (9, 2.3, 2.5, 2.9), (12, 1.8, 1.9, 2.0)]);
    theirs.source = "bureau".to_owned();
    city.take(&theirs);
    city.until(1200);
    // Nine hours ahead is three hours ahead after six, and over after nine; what is said ends after twelve.
    assert_eq!(
        city.edges(),
        [(361, Edge::Raised), (541, Edge::Cleared)],
        "nothing is open when it has no more to say"
    );
}

#[test]
fn a_crossing_that_was_measured_before_it_was_foreseen_is_no_merit() {
    let mut city = City::new(RULE, "");
    city.reads(0, 1.9);
    city.foresees(10, &[(1, 2.4, 2.5, 2.6)]);
    // It was measured before and comes afterwards.
    city.position += 1;
    let reading = Reading {
        series: key(),
        measured_at: START + Duration::from_secs(300),
        period: Duration::ZERO,
        received_at: city.now,
        value: Value::Number(2.5),
        quality: Quality::GOOD,
        position: city.position,
    };
    let seen = Observation {
        every_s: 0,
        reading,
        kind: "river_gauge".into(),
        division: None,
    };
    city.told.extend(city.engine.observe(city.now, &seen));
    city.reads(60, 1.9);
    city.foresees(61, &[(1, 1.5, 1.6, 1.7)]);
    city.foresees(121, &[(1, 2.4, 2.5, 2.6)]);
    let said = city.said().pop().unwrap();
    assert!(said.2.ends_with("此处此类预报尚无检验记录"), "{}", said.2);
}

#[test]
fn a_closed_one_is_told_no_more_until_it_was_over() {
    let mut city = City::new(RULE, "");
    city.reads(0, 1.9);
    city.foresees(1, &[(1, 2.4, 2.5, 2.6)]);
    let alert = city.engine.open_alerts()[0].alert;
    assert!(city.engine.closed(&alert));
    city.foresees(61, &[(1, 2.4, 2.5, 2.6)]);
    city.foresees(121, &[(1, 1.0, 1.5, 1.6)]);
    assert_eq!(city.edges(), [(1, Edge::Raised)]);
    city.foresees(181, &[(1, 2.4, 2.5, 2.6)]);
    assert_eq!(city.edges(), [(181, Edge::Raised)]);
}

#[test]
fn a_snapshot_keeps_what_is_foreseen_and_its_record() {
    let story = |restarts: bool| {
        let mut city = City::new(RULE, ", for: 90 min");
        for hour in 0..40_u64 {
            let level = 2.0 + 0.3 * f64::from((hour % 7) as u32) - 0.6;
            city.reads(60 * hour, level);
            if hour % 5 != 4 {
                city.foresees(
                    60 * hour + 1,
                    &[
                        (1, level, level + 0.2, level + 0.4),
                        (3, level, level + 0.5, level + 1.0),
                    ],
                );
            }
            if restarts {
                let bytes = city.engine.snapshot();
                city.engine = Engine::restore(&bytes).unwrap();
                assert_eq!(city.engine.snapshot(), bytes);
            }
        }
        city.told
    };
    let (once, again) = (story(false), story(true));
    assert!(once.len() > 4, "{}", once.len());
    assert_eq!(once, again);
}

#[test]
fn what_is_no_forecast_to_ask_for_is_refused_by_name() {
    let refused = |when: &str| {
        let text = format!(
            "version: 1\nrules:\n- id: r\n  name: {{zh: 规则, en: rule}}\n  severity: major\n  when: {{forecast: {{{when}}}}}\n  \
             advice: {{zh: 看, en: look}}\n"
        );
        told::refused("t", &text)[0].message.clone()
    };
    let cases = [
        ("quantity: water_level, within: 3 h", "`above` or for `below`"),
        (
            "quantity: water_level, within: 3 h, above: 2 m, below: 1 m",
            "`above` or for `below`",
        ),
        (
            "quantity: water_level, within: 0 s, above: 2 m",
            "more than nothing",
        ),
        (
            "quantity: water_level, within: 3 h, quantile: 1, above: 2 m",
            "between 0 and 1",
        ),
        (
            "quantity: water_level, within: 3 h, above: 2 m, clear: 3 m",
            "may not be greater",
        ),
        ("quantity: water_level, within: 3 h, above: 2", "has no unit"),
        ("quantity: manhole_open, within: 3 h, above: '0'", "has states"),
        (
            "quantity: water_level, within: 3 h, above: 2 m, source: ''",
            "whose forecasts",
        ),
    ];
    for (when, expected) in cases {
        let said = refused(when);
        assert!(said.contains(expected), "{when}: {said}");
    }
}

#[test]
fn tests_beside_a_rule_foresee() {
    let text = "version: 1
rules:
  - id: flood-ahead
    name: {zh: 预报超警戒, en: Warning stage foreseen}
    severity: major
    when: {forecast: {quantity: water_level, within: 3 h, quantile: 0.9, above: 2.2 m, clear: 2.1 m}}
    advice: {zh: 看, en: look}
    tests:
      - name: a wide interval is enough
        cadence: 1 h
        series: |
          00:00:00 1.9
          00:01:00 foresees 2.0 in 2h 1.8 to 2.4
          01:01:00 foresees 1.8 in 2h 1.6 to 2.0
        expect: |
          00:01:00 raised
          01:01:00 cleared
";
    let text = text.replace("          00:01:00 raised", "          01:00 raised");
    let set = RuleSet::parse("t", &text).unwrap_or_else(|e| panic!("{e:#?}"));
    let outcome = &set.run_tests()[0];
    assert!(outcome.passed(), "{outcome:?}");
    let wrong = text.replace("foresees 2.0 in 2h 1.8 to 2.4", "foresees 2.0 at 2h");
    assert!(
        told::refused("t", &wrong)[0]
            .message
            .contains("`foresees 2.4 in 2h`")
    );
}
