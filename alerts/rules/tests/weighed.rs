//! Rules that weigh more than one value: courses, values that stand still, several series, neighbours.
#![allow(clippy::unwrap_used, missing_docs)]

mod told;

use onemap_model::forecast::Lead;
use onemap_model::{
    DeviceId, Edge, Forecast, Observation, Quality, Quantity, Reading, SeriesKey, Timestamp, Value,
};
use onemap_rules::{Engine, RuleSet, TrialOutcome};

/// One rule with one test beside it; the outcome of that.
fn tried(when: &str, more: &str, series: &str, expect: &str) -> TrialOutcome {
    let series: String = series
        .trim()
        .lines()
        .map(|line| format!("          {}\n", line.trim()))
        .collect();
    let expect: String = expect
        .trim()
        .lines()
        .map(|line| format!("          {}\n", line.trim()))
        .collect();
    let text = format!(
        "version: 1
rules:
  - id: r
    name: {{zh: 规则, en: rule}}
    severity: major
    when: {when}
{more}
    advice: {{zh: 看, en: look}}
    tests:
      - name: t
        cadence: 10 min
        series: |
{series}        expect: |
{}",
        if expect.is_empty() {
            "          #\n".to_owned()
        } else {
            expect
        }
    );
    let set = RuleSet::parse("t", &text).unwrap_or_else(|e| panic!("{e:#?}\n{text}"));
    set.run_tests().remove(0)
}

fn holds(when: &str, more: &str, series: &str, expect: &str) {
    let outcome = tried(when, more, series, expect);
    assert!(outcome.passed(), "{when}: {outcome:#?}");
}

fn refused(when: &str, says: &str) {
    let text = format!(
        "version: 1\nrules:\n  - id: r\n    name: {{zh: 规则, en: rule}}\n    severity: major\n    when: {when}\n    \
         advice: {{zh: 看, en: look}}\n"
    );
    let errors = told::refused("t", &text);
    assert!(
        errors
            .iter()
            .any(|error| error.message.contains(says) && error.line > 0),
        "{when}: {errors:#?}"
    );
}

#[test]
fn a_rapid_rise_is_measured_from_the_lowest_value_of_its_time() {
    let rise = "{change: {quantity: water_level, over: 30 min, rises: 0.15 m, clear: 0.05 m}}";
    holds(
        rise,
        "",
        "
        00:00 2.10
        10:00 2.08
        20:00 2.15
        30:00 2.22
        40:00 2.25   # 0.17 above the lowest of 30 min, which is 2.08 at 00:10
        49:00 2.26
        ",
        "
        40:00 raised
        ",
    );
    // Falling is no rising; a rise that takes longer than the time is none.
    holds(
        rise,
        "",
        "
        00:00 2.50
        10:00 2.20
        20:00 2.24
        30:00 2.28
        40:00 2.32
        50:00 2.34
        ",
        "",
    );
}

#[test]
fn a_rise_is_over_when_little_of_it_is_left_in_its_time() {
    holds(
        "{change: {quantity: water_level, over: 20 min, rises: 0.15 m, clear: 0.05 m}}",
        "",
        "
        00:00 2.00
        10:00 2.20
        20:00 2.25
        30:00 2.27
        40:00 2.28
        ",
        "
        10:00 raised
        40:00 cleared
        ",
    );
}

#[test]
fn one_value_tells_nothing_of_a_change_and_a_silence_makes_it_unknown() {
    holds(
        "{change: {quantity: water_level, over: 30 min, falls: 0.30 m}}",
        "",
        "
        00:00:00 2.00
        00:10:00 1.60
        00:55:00 1.55
        01:05:00 1.55
        ",
        "
        00:10:00 raised
        00:40:01 lost
        01:05:00 cleared
        ",
    );
}

#[test]
fn a_sensor_that_stands_still_is_stuck_but_not_at_a_value_that_is_normal() {
    let stuck = "{stuck: {quantity: rain, for: 1 h, within: 0 mm, except: 0 mm}}";
    let still = |value: &str| {
        (0..8)
            .map(|n| format!("{:02}:{:02}:00 {value}\n", n * 10 / 60, n * 10 % 60))
            .collect::<String>()
    };
    holds(stuck, "", &still("2.5"), "01:00:00 raised");
    holds(stuck, "", &still("0"), "");
    holds(
        stuck,
        "",
        &format!("{}01:20:00 2.6\n", still("2.5")),
        "01:00:00 raised\n01:20:00 cleared",
    );
    // A value that may not be judged is passed over, a silence begins anew.
    holds(
        stuck,
        "",
        &still("2.5").replace("00:30:00 2.5", "00:30:00 9 suspect"),
        "01:00:00 raised",
    );
    holds(
        stuck,
        "",
        &still("2.5").replace("00:20:00 2.5\n00:30:00 2.5\n00:40:00 2.5\n", ""),
        "",
    );
}

#[test]
fn all_any_and_not_have_three_values() {
    let both =
        "{all: [{above: {quantity: water_level, raise: 2.5 m}}, {above: {quantity: rain, raise: 10 mm}}]}";
    holds(
        both,
        "",
        "
        00:00 2.6
        01:00 rain 12
        02:00 2.4
        03:00 2.7
        04:00 rain 3
        ",
        "
        01:00 raised
        02:00 cleared
        03:00 raised
        04:00 cleared
        ",
    );
    // What is not known makes `all` unknown, unless another fact is false; and is never normal.
    holds(
        both,
        "",
        "
        00:00 2.6
        01:00 rain 12
        02:00 rain 12 suspect
        03:00 rain 13
        04:00 rain 13 suspect
        05:00 2.4
        ",
        "
        01:00 raised
        02:00 lost
        03:00 found
        04:00 lost
        05:00 cleared
        ",
    );
    holds(
        "{any: [{above: {quantity: water_level, raise: 2.5 m}}, {above: {quantity: rain, raise: 10 mm}}]}",
        "",
        "
        00:00 2.6
        01:00 rain 12
        02:00 2.4
        03:00 rain 3
        ",
        "
        00:00 raised
        03:00 cleared
        ",
    );
    holds(
        "{all: [{above: {quantity: water_level, raise: 2.5 m}}, {not: {above: {quantity: rain, raise: 0.5 mm}}}]}",
        "    for: 1 min",
        "
        00:00 rain 0
        01:00 2.6
        03:00 rain 1
        05:00 rain 0
        07:00 -
        ",
        "
        02:00 raised
        03:00 cleared
        06:00 raised
        ",
    );
}

#[test]
fn the_silence_of_one_series_is_a_fact_beside_others() {
    holds(
        "{all: [{above: {quantity: rain, raise: 10 mm}}, {no_data: {quantity: water_level, for: 25 min}}]}",
        "",
        "
        00:00 rain 2
        05:00 water_level 2.0
        10:00 rain 12
        20:00 rain 12
        35:00 water_level 2.1
        40:00 -
        ",
        "
        30:01 raised
        35:00 cleared
        ",
    );
}

#[test]
fn a_band_has_two_sides() {
    holds(
        "{outside: {quantity: ph, raise: 6 to 9, clear: 6.5 to 8.5}}",
        "",
        "
        00:00 7
        01:00 9
        02:00 9.1
        03:00 8.7
        04:00 8.5
        05:00 5.9
        06:00 6.4
        07:00 7
        ",
        "
        02:00 raised
        04:00 cleared
        05:00 raised
        07:00 cleared
        ",
    );
}

#[test]
fn one_station_far_from_the_median_of_its_neighbours() {
    let differs = "{neighbours: {within: 3 km, at_least: 3, differs: {quantity: pm10, above: 100 ug/m3, clear: 60 ug/m3}}}";
    holds(
        differs,
        "",
        "
        00:00 b 80
        00:01 c 90
        00:02 300        # two are known of three
        00:03 d 100
        01:00 300
        02:00 170
        03:00 140
        ",
        "
        01:00 raised
        03:00 cleared
        ",
    );
    // When all of them rise, none is wrong by itself.
    holds(
        differs,
        "",
        "
        00:00 b 280
        00:01 c 290
        00:02 d 310
        01:00 330
        ",
        "",
    );
}

#[test]
fn a_second_detector_confirms_the_first() {
    let two = "{neighbours: {within: 50 m, at_least: 1, agree: {above: {quantity: smoke, raise: 10 %/m}}}}";
    holds(
        two,
        "",
        "
        00:00 b 0
        00:01 12
        00:02 b 14
        00:03 13
        00:05 2
        ",
        "
        00:03 raised
        00:05 cleared
        ",
    );
}

#[test]
fn a_neighbour_that_is_gone_is_not_one_that_disagrees() {
    let two = "{neighbours: {within: 50 m, at_least: 1, agree: {above: {quantity: smoke, raise: 10 %/m}}}}";
    holds(
        two,
        "",
        "
        00:00:00 b 14
        00:01:00 12
        00:20:00 12
        00:40:00 12
        00:45:00 b 3
        00:46:00 12
        ",
        "
        00:01:00 raised
        00:40:00 lost
        00:46:00 cleared
        ",
    );
    holds(two, "", "00:00 12\n01:00 13", "");
}

#[test]
fn a_limit_that_is_each_device_s_own_is_said_so() {
    let text = STAGES.replace("default: 2.5 m", "");
    let text = text.replace("default: 3.5 m, ", "");
    let text = &text[..text.find("    tests:").unwrap()];
    let sentence = RuleSet::parse("t", text).unwrap().rules()[0].sentence();
    assert!(
        sentence.zh.contains("高于各设备的限值") && !sentence.en.contains("NaN"),
        "{sentence:?}"
    );
    let sentence = RuleSet::parse("t", STAGES).unwrap().rules()[0].sentence();
    assert!(sentence.zh.contains("高于 2.5 m（部分设备另定）"), "{sentence:?}");
}

#[test]
fn what_has_no_meaning_is_refused_with_its_place() {
    for (when, says) in [
        ("{all: []}", "at least one condition"),
        (
            "{change: {quantity: water_level, over: 30 min}}",
            "says by how much",
        ),
        (
            "{change: {quantity: water_level, over: 30 min, rises: 0.1 m, falls: 0.1 m}}",
            "says by how much",
        ),
        (
            "{change: {quantity: water_level, over: 0 s, rises: 0.1 m}}",
            "more than no time",
        ),
        (
            "{change: {quantity: water_level, over: 30 min, rises: 0.1 ug/m3}}",
            "not a unit",
        ),
        (
            "{change: {quantity: water_level, over: 30 min, rises: 0.1}}",
            "no unit",
        ),
        (
            "{change: {quantity: water_level, over: 30 min, rises: 0.1 m, clear: 0.2 m}}",
            "`clear` may not be more",
        ),
        (
            "{change: {quantity: water_level, over: 30 min, rises: -0.1 m}}",
            "less than nothing",
        ),
        (
            "{change: {quantity: manhole_open, over: 30 min, rises: \"1\"}}",
            "has states",
        ),
        ("{stuck: {quantity: rain, for: 0 s}}", "more than no time"),
        (
            "{outside: {quantity: ph, raise: 9 to 6}}",
            "ends before it begins",
        ),
        ("{outside: {quantity: ph, raise: \"6\"}}", "not a band"),
        (
            "{outside: {quantity: ph, raise: 6 to 9, clear: 5 to 8}}",
            "lies within",
        ),
        ("{outside: {quantity: ph}}", "`outside` is of a `fence`"),
        (
            "{neighbours: {at_least: 1, differs: {quantity: pm10, by: 1 ug/m3}}}",
            "`within` a distance",
        ),
        (
            "{neighbours: {within: 3, at_least: 1, differs: {quantity: pm10, by: 1 ug/m3}}}",
            "not a distance",
        ),
        (
            "{neighbours: {within: 900 km, at_least: 1, differs: {quantity: pm10, by: 1 ug/m3}}}",
            "at most 100 km",
        ),
        (
            "{neighbours: {within: 3 km, nearest: 2, at_least: 3, differs: {quantity: pm10, by: 1 ug/m3}}}",
            "no more than are looked at",
        ),
        (
            "{neighbours: {within: 3 km, at_least: 1}}",
            "whether they `agree`",
        ),
        (
            "{neighbours: {within: 3 km, at_least: 1, agree: {no_data: {for: 1 h}}}}",
            "`agree` is",
        ),
        ("{all: [{no_data: {for: 1 h}}]}", "needs a `quantity`"),
        (
            "{not: {not: {not: {not: {not: {not: {not: {above: {quantity: ph, raise: \"9\"}}}}}}}}}",
            "at most 6 deep",
        ),
    ] {
        refused(when, says);
    }
}

#[test]
fn a_condition_nested_without_end_is_refused_and_ends_nothing() {
    let deep = format!("{}{}", "{not: ".repeat(20_000), "}".repeat(20_000));
    let text = format!(
        "version: 1\nrules:\n  - id: r\n    name: {{zh: 规, en: r}}\n    severity: major\n    when: {deep}\n    advice: \
         {{zh: 看, en: look}}\n"
    );
    assert!(!told::refused("t", &text).is_empty());
}

const LOUD: &str = "{above: {quantity: noise_laeq, raise: 55 dB(A), clear: 52 dB(A)}}";

#[test]
fn a_rule_of_the_night_looks_at_night_and_ends_with_it() {
    let tried_at = |start: &str, more: &str, series: &str, expect: &str| {
        let more = format!("    during: [{{from: \"22:00\", to: \"06:00\"}}]{more}");
        let series: String = series
            .trim()
            .lines()
            .map(|line| format!("          {}\n", line.trim()))
            .collect();
        let expect: String = expect
            .trim()
            .lines()
            .map(|line| format!("          {}\n", line.trim()))
            .collect();
        let text = format!(
            "version: 1\nrules:\n  - id: r\n    name: {{zh: 规, en: r}}\n    severity: minor\n    when: {LOUD}\n{more}\n    \
             advice: {{zh: 看, en: look}}\n    tests:\n      - name: t\n        cadence: 10 min\n        start: {start}\n        \
             series: |\n{series}        expect: |\n{expect}"
        );
        let set = RuleSet::parse("t", &text).unwrap_or_else(|e| panic!("{e:#?}\n{text}"));
        let outcome = set.run_tests().remove(0);
        assert!(outcome.passed(), "{outcome:#?}");
    };
    tried_at(
        "2026-07-01 21:50",
        "",
        "00:00 60
         09:00 61
         12:00 62",
        "10:00 raised",
    );
    tried_at(
        "2026-07-01 05:50",
        "",
        "00:00 60
         09:00 61
         12:00 62",
        "00:00 raised
         10:00 withdrawn",
    );
    // What the night found wrong stays until the next night looks again.
    tried_at(
        "2026-07-01 05:50",
        "\n    otherwise: keep",
        "00:00:00 60
         00:12:00 40
         12:00:00 40
         15:59:00 40
         16:09:00 60
         16:20:00 40",
        "00:00:00 raised
         00:42:01 lost
         16:10:00 found
         16:20:00 cleared",
    );
}

#[test]
fn limits_switch_on_their_day() {
    let rules = "version: 1
rules:
  - id: until
    name: {zh: 旧, en: old}
    severity: minor
    valid: {to: 2026-03-01}
    when: {above: {quantity: pm10, raise: 150 ug/m3}}
    advice: {zh: 看, en: look}
    tests:
      - name: it ends with its last day
        cadence: 10 min
        start: 2026-02-28 23:50
        series: |
          00:00 160
          11:00 160
        expect: |
          00:00 raised
          10:00 withdrawn
  - id: from
    name: {zh: 新, en: new}
    severity: minor
    valid: {from: 2026-03-01, to: 2031-01-01}
    when: {above: {quantity: pm10, raise: 120 ug/m3}}
    advice: {zh: 看, en: look}
    tests:
      - name: it begins with its first day
        cadence: 10 min
        start: 2026-02-28 23:50
        series: |
          00:00 130
          11:00 130
        expect: |
          10:00 raised
      - name: and ends when the next phase begins
        cadence: 10 min
        start: 2030-12-31 23:55
        series: |
          00:00 130
          05:00 -
          06:00 130
        expect: |
          00:00 raised
          05:00 withdrawn
";
    let set = RuleSet::parse("t", rules).unwrap();
    for outcome in set.run_tests() {
        assert!(outcome.passed(), "{outcome:#?}");
    }
}

#[test]
fn hours_without_meaning_are_refused() {
    for (more, says) in [
        ("during: []", "names no hours"),
        ("during: [{from: \"25:00\"}]", "not a time of day"),
        ("during: [{days: someday}]", "not a day of the week"),
        ("during: [{months: 5-9}]", "not a season"),
        (
            "during: [{from: \"22:00\"}]\n    otherwise: maybe",
            "`end` or `keep`",
        ),
        ("otherwise: keep", "needs `during`"),
        (
            "valid: {from: 2026-03-01, to: 2026-03-01}",
            "ends before it begins",
        ),
        ("valid: {from: soon}", "not a day"),
    ] {
        let text = format!(
            "version: 1\nrules:\n  - id: r\n    name: {{zh: 规, en: r}}\n    severity: minor\n    when: {LOUD}\n    {more}\n    \
             advice: {{zh: 看, en: look}}\n"
        );
        let errors = told::refused("t", &text);
        assert!(
            errors.iter().any(|e| e.message.contains(says) && e.line > 0),
            "{more}: {errors:#?}"
        );
    }
}

const STAGES: &str = "version: 1
rules:
  - id: stage
    name: {zh: 水位, en: stage}
    severity: major
    parameters:
      warning:
        default: 2.5 m
        devices: {low: 1.2 m}
        divisions: {\"630102\": 3 m, \"630102001\": 310 cm}
      guarantee: {default: 3.5 m, devices: {low: 2.0 m}, divisions: {\"630102\": 4 m}}
    when: {above: {quantity: water_level, raise: $warning, clear: $warning - 0.10 m}}
    levels:
      - {severity: critical, raise: $guarantee, clear: $guarantee - 10 cm}
    advice: {zh: 看, en: look}
    tests:
      - name: higher matters more, lower less
        cadence: 10 min
        series: |
          00:00 2.6
          10:00 3.6
          20:00 3.45
          30:00 3.4
          40:00 2.45
          50:00 2.4
        expect: |
          00:00 raised
          10:00 worsened
          30:00 eased
          50:00 cleared
      - name: it may begin as the worst
        cadence: 10 min
        series: |
          00:00 3.6
          10:00 2.3
        expect: |
          00:00 raised
          10:00 cleared
";

#[test]
fn limits_are_those_of_the_device_then_of_its_division() {
    let set = RuleSet::parse("t", STAGES).unwrap();
    for outcome in set.run_tests() {
        assert!(outcome.passed(), "{outcome:#?}");
    }
    let rule = &set.rules()[0];
    let limit = |device: &str, division: Option<&str>| {
        let device = onemap_model::DeviceId::new(device).unwrap();
        let division = division.map(|code| onemap_model::DivisionCode::new(code).unwrap());
        rule.of_device(&device, division.as_ref())
            .unwrap()
            .threshold()
            .unwrap()
    };
    assert_eq!(limit("low", Some("630102001")), 1.2);
    assert_eq!(limit("other", Some("630102001002")), 3.1);
    assert_eq!(limit("other", Some("630102")), 3.0);
    assert_eq!(limit("other", Some("630103")), 2.5);
    assert_eq!(limit("other", None), 2.5);
}

#[test]
fn without_a_default_a_rule_looks_at_named_devices_alone() {
    let text = STAGES
        .replace("default: 2.5 m", "")
        .replace(
            "  - {severity: critical, raise: $guarantee, clear: $guarantee - 10 cm}",
            "",
        )
        .replace("    levels:\n", "");
    let text = &text[..text.find("    tests:").unwrap()];
    let set = RuleSet::parse("t", text).unwrap();
    let device = |id: &str| onemap_model::DeviceId::new(id).unwrap();
    assert!(set.rules()[0].of_device(&device("other"), None).is_none());
    assert!(set.rules()[0].of_device(&device("low"), None).is_some());
}

#[test]
fn limits_that_contradict_one_another_are_refused() {
    for (from, to, says) in [
        ("$warning - 0.10 m", "$warning + 0.10 m", "may not be greater"),
        (
            "$warning - 0.10 m",
            "$alert",
            "no parameter is called `alert`; there are guarantee, warning",
        ),
        (
            "$warning - 0.10 m",
            "$warning * 2",
            "is not like `$warning - 0.10 m`",
        ),
        ("$warning - 0.10 m", "$warning - 3", "has no unit"),
        ("devices: {low: 1.2 m}", "devices: {low: 1.2 kg}", "not a unit"),
        (
            "devices: {low: 1.2 m}",
            "devices: {\"\": 1.2 m}",
            "may not be empty",
        ),
        ("\"630102\": 3 m", "\"63\": 3 m", "not a division code"),
        ("severity: critical", "severity: minor", "more severe"),
        (
            "raise: $guarantee,",
            "raise: 1.0 m,",
            "`clear` of `above` may not be greater",
        ),
        (
            "raise: $guarantee, clear: $guarantee - 10 cm",
            "raise: 1.0 m",
            "further out",
        ),
        ("clear: $warning - 0.10 m", "clear: 1.3 m", "(for low)"),
    ] {
        let text = STAGES.replace(from, to);
        let errors = told::refused("t", &text);
        assert!(
            errors.iter().any(|e| e.message.contains(says) && e.line > 0),
            "{to}: {errors:#?}"
        );
    }
}

const RISE_FORESEEN: &str = "{all: [{above: {quantity: water_level, raise: 2.0 m, clear: 1.9 m}}, {any: [{change: {quantity: \
     water_level, over: 30 min, rises: 0.15 m}}, {forecast: {quantity: water_level, within: 3 h, above: 2.5 m}}]}]}";

#[test]
fn what_is_foreseen_counts_beside_what_is_measured() {
    // High and foreseen to go on is wrong, though it does not rise fast; over when it is no longer foreseen.
    holds(
        RISE_FORESEEN,
        "",
        "00:00 2.05
         10:00 2.06
         15:00 foresees 2.7 in 2h
         20:00 2.06
         25:00 foresees 2.3 in 2h
         30:00 2.07",
        "15:00 raised
         25:00 cleared",
    );
    // Foreseen alone is not enough, and what is foreseen for later than is asked is nothing yet.
    holds(
        RISE_FORESEEN,
        "",
        "00:00 1.50
         10:00 1.50
         15:00 foresees 2.7 in 2h
         20:00 1.50",
        "",
    );
    holds(
        RISE_FORESEEN,
        "",
        "00:00 2.05
         10:00 2.05
         15:00 foresees 2.7 in 5h
         20:00 2.05",
        "",
    );
}

#[test]
fn a_forecast_that_is_too_old_tells_nothing_any_more() {
    // Two of its steps of ten minutes go by without another.
    holds(
        "{all: [{above: {quantity: water_level, raise: 2.0 m, clear: 1.9 m}}, {forecast: {quantity: water_level, within: 3 h, \
         above: 2.5 m}}]}",
        "",
        "00:00 2.05
         10:00 foresees 2.7 in 2h
         20:00 2.06
         30:00 2.06
         35:00 2.06",
        "10:00 raised
         30:01 lost",
    );
}

#[test]
fn a_rule_that_weighs_a_forecast_says_it_and_keeps_it_through_a_snapshot() {
    let text = "version: 1\nrules:\n  - {id: r, name: {zh: 一, en: r}, severity: major, advice: {zh: 看, en: look}, when: {all: \
                [{above: {quantity: rain, raise: 5 mm, clear: 1 mm}}, {forecast: {quantity: water_level, within: 3 h, above: \
                2.5 m}}]}}\n";
    let set = RuleSet::parse("t", text).unwrap();
    let said = set.rules()[0].sentence();
    assert!(
        said.zh.contains("水位预报3小时内高于 2.5 m") || said.zh.contains("预报 3 小时内高于 2.5 m"),
        "{}",
        said.zh
    );
    assert!(
        said.en.contains("is foreseen above 2.5 m within 3 h"),
        "{}",
        said.en
    );

    let at = |s: i64| Timestamp::from_ms(1_795_363_200_000 + s * 1000);
    let device = DeviceId::new("gauge").unwrap();
    let series = |name: &str| SeriesKey {
        device: device.clone(),
        quantity: Quantity::named(name).unwrap(),
        channel: 0,
    };
    let foreseen = |s: i64, value: f64| Forecast {
        series: series("water_level"),
        source: "onemap".to_owned(),
        model: String::new(),
        issued_at: at(s),
        origin: at(s),
        at_origin: Some(1.0),
        step_s: 3600,
        regime: None,
        leads: vec![Lead {
            at: at(s + 7200),
            value,
            median: None,
            quantiles: Vec::new(),
            exceed: Vec::new(),
        }],
        silent: Vec::new(),
        influences: Vec::new(),
        notes: Vec::new(),
    };
    let rain = |s: i64, value: f64, position: u64| Observation {
        every_s: 0,
        reading: Reading {
            series: series("rain"),
            measured_at: at(s),
            period: std::time::Duration::ZERO,
            received_at: at(s),
            value: Value::Number(value),
            quality: Quality::GOOD,
            position,
        },
        kind: "gauge".into(),
        division: None,
    };
    let mut engine = Engine::new();
    engine.set_file(at(0), 1, "t", Some(set));
    assert_eq!(engine.observe(at(1), &rain(1, 0.5, 2)), []);
    assert_eq!(engine.foresee(at(2), 3, &foreseen(2, 2.8)), []);
    let bytes = engine.snapshot();
    let mut again = Engine::restore(&bytes).unwrap();
    assert_eq!(again.snapshot(), bytes);
    let raised = engine.observe(at(3), &rain(3, 8.0, 4));
    assert_eq!(again.observe(at(3), &rain(3, 8.0, 4)), raised);
    assert_eq!(raised.len(), 1);
    let message = (&raised[0].message_zh, &raised[0].message_en);
    assert!(
        message.0.contains("水位预计") && message.0.contains("高于 2.5 m"),
        "{message:?}"
    );
    assert!(
        message
            .1
            .contains("is expected up to 2.800 m within 3 h, above 2.5 m"),
        "{message:?}"
    );
    let evidence: Vec<_> = raised[0]
        .inputs
        .iter()
        .map(|input| (input.position, input.value))
        .collect();
    assert_eq!(evidence, [(3, 2.8), (4, 8.0)]);
    // It says of more rain only; less of it clears by itself.
    let cleared = again.foresee(at(300), 5, &foreseen(300, 2.0));
    assert_eq!(
        cleared.iter().map(|t| t.edge).collect::<Vec<_>>(),
        [Edge::Cleared]
    );
}
