//! Files that are refused, and where their errors are said to be.
#![allow(clippy::unwrap_used, missing_docs)]

mod told;

use onemap_rules::{RuleSet, Silence, When};

/// A file of one rule; `with` replaces or adds lines by their key.
fn file(with: &[&str]) -> String {
    let mut lines = vec![
        "name: {zh: 一, en: one}",
        "severity: major",
        "when: {above: {quantity: pm10, raise: 250 ug/m3, clear: 200 ug/m3}}",
        "advice: {zh: 看, en: look}",
    ];
    for line in with {
        let key = line.split(':').next().unwrap();
        lines.retain(|other| other.split(':').next() != Some(key));
        lines.push(line);
    }
    format!("version: 1\nrules:\n  - id: r1\n    {}\n", lines.join("\n    "))
}

fn errors(text: &str) -> Vec<String> {
    match RuleSet::parse("file", text) {
        Ok(_) => Vec::new(),
        Err(_) => {
            let errors = told::refused("file", text);
            errors.iter().map(ToString::to_string).collect()
        }
    }
}

#[test]
fn a_sound_file_is_read() {
    let text = file(&["applies_to: {kind: [a, b], division: 630100}", "for: 10 s"]);
    let set = RuleSet::parse("file", &text).unwrap_or_else(|e| panic!("{e:#?}"));
    let rule = &set.rules()[0];
    assert_eq!(rule.applies_to.kinds, ["a", "b"]);
    assert_eq!(rule.applies_to.division.as_ref().unwrap().as_str(), "630100");
    assert_eq!(rule.version.len(), 8);
    assert_eq!(set.version().len(), 8);
    let text = file(&["when: {no_data: {for: 3 x cadence}}"]);
    let set = RuleSet::parse("file", &text).unwrap();
    assert!(matches!(
        set.rules()[0].when,
        When::NoData {
            silence: Silence::Cadences(3),
            ..
        }
    ));
}

#[test]
fn errors_name_their_place() {
    for (with, want) in [
        (&["severty: major"][..], "unknown field `severty`"),
        (&["severity: urgent"], "urgent"),
        (
            &["when: {above: {quantity: pm11, raise: 1 m}}"],
            "7:30: no quantity is called `pm11`",
        ),
        (
            &["when: {above: {quantity: pm10, raise: 250}}"],
            "7:43: `250` has no unit; write `250 ug/m3`",
        ),
        (
            &["when: {above: {quantity: pm10, raise: 250 ppm}}"],
            "7:43: `ppm` is not a unit of pm10",
        ),
        (
            &["when: {above: {quantity: pm10, raise: 250 ug/m3, clear: 300 ug/m3}}"],
            "7:61: `clear` of `above` may not be greater",
        ),
        (
            &["when: {below: {quantity: pm10, raise: 250 ug/m3, clear: 200 ug/m3}}"],
            "7:61: `clear` of `below` may not be less",
        ),
        (&["when: {sticks: {quantity: pm10}}"], "sticks"),
        (
            &["when: {state: {quantity: pm10, is: open}}"],
            "7:30: pm10 has no states",
        ),
        (
            &["when: {state: {quantity: manhole_open, is: ajar}}"],
            "7:48: manhole_open has no state `ajar`",
        ),
        (&["when: {no_data: {for: soon}}"], "7:27: `soon` is neither"),
        (
            &["when: {no_data: {ch: 1, for: 10 s}}"],
            "7:26: `ch` needs a `quantity`",
        ),
        (
            &["when: {no_data: {for: 10 s}}", "for: 5 s"],
            "8:10: `no_data` has its own `for`",
        ),
        (&["for: 5"], "8:10: `5` is not a duration"),
        (
            &["applies_to: {division: 63}"],
            "8:28: `63` is not a division code",
        ),
        (&["applies_to: {colour: red}"], "unknown field `colour`"),
        (
            &["name: {zh: 一, en: ''}"],
            "7:11: `name` needs a text in both languages",
        ),
        (&["name: {zh: 一}"], "missing field `en`"),
        (
            &[
                "clause: {text: t, valid_from: 2026-03-01T00:00:00+08:00, valid_to: 2026-03-01T00:00:00+08:00}",
            ],
            "8:13: the clause ends before it begins",
        ),
        (
            &["tests: [{name: t, series: '00:10 1', expect: '00:10 exploded'}]"],
            "line 1 of `expect`: `exploded` is not",
        ),
        (
            &["tests: [{name: t, series: \"00:10 1\\n00:05 1\", expect: ''}]"],
            "line 2 of `series`: times go backwards",
        ),
    ] {
        let got = errors(&file(with));
        assert!(got.len() == 1 && got[0].contains(want), "{with:?}: {got:#?}");
        assert!(!got[0].starts_with("0:"), "{with:?} has no place: {got:?}");
    }
}

#[test]
fn errors_of_meaning_are_all_told() {
    let text = "\
version: 2
rules:
  - id: a
    name: {zh: 一, en: one}
    severity: major
    when: {above: {quantity: pm10, raise: 1 m}}
    for: soon
    advice: {zh: 看, en: look}
  - id: a
    name: {zh: 一, en: one}
    severity: major
    when: {above: {quantity: pm10, raise: 1 ug/m3}}
    advice: {zh: '', en: look}
";
    let lines: Vec<String> = errors(text)
        .iter()
        .map(|e| e.split(':').next().unwrap().to_owned())
        .collect();
    assert_eq!(lines, ["1", "7", "6", "9", "13"]);
}

#[test]
fn broken_yaml_and_bombs_are_errors_and_never_panics() {
    let deep = "[".repeat(10_000);
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nrules: *e\nversion: 1\n";
    let large = " ".repeat(300_000);
    for text in [
        "",
        "\0",
        "version: 1",
        "rules: [",
        "- - -",
        "version: 1\nrules: 5",
        &deep,
        bomb,
        &large,
    ] {
        assert!(!errors(text).is_empty(), "{}", &text[..text.len().min(40)]);
    }
    assert!(errors("version: 1\nrules: []").is_empty());
}

#[test]
fn the_version_follows_the_meaning_and_not_the_spelling() {
    let version = |with: &[&str]| {
        RuleSet::parse("file", &file(with)).unwrap().rules()[0]
            .version
            .clone()
    };
    let base = version(&[]);
    assert_eq!(
        base,
        version(&["when: {above: {quantity: pm10, raise: 0.25 mg/m3, clear: 200 ug/m3}}"])
    );
    assert_eq!(
        base,
        version(&["tests: [{name: t, series: '00:10 1', expect: ''}]"])
    );
    assert_ne!(
        base,
        version(&["when: {above: {quantity: pm10, raise: 251 ug/m3, clear: 200 ug/m3}}"])
    );
    assert_ne!(base, version(&["for: 1 s"]));
    assert_ne!(base, version(&["advice: {zh: 听, en: listen}"]));
}

#[test]
fn a_failing_test_beside_a_rule_is_told_with_what_came() {
    let text = file(&["tests: [{name: t, series: '00:10 300', expect: '00:11 raised'}]"]);
    let outcomes = RuleSet::parse("file", &text).unwrap().run_tests();
    assert_eq!(outcomes.len(), 1);
    assert!(!outcomes[0].passed());
    assert_eq!(outcomes[0].got, ["00:10 raised"]);
    assert_eq!(outcomes[0].line, 8);
}
