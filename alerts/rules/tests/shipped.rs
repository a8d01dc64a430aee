//! The rule files that ship with the product: they are sound, and the tests beside them pass.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use onemap_rules::{Engine, RuleSet};

fn shipped() -> BTreeMap<String, RuleSet> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/rules");
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let set = RuleSet::parse(&name, &text).unwrap_or_else(|e| panic!("{name}: {e:#?}"));
        files.insert(name, set);
    }
    files
}

#[test]
fn the_tests_beside_the_rules_pass() {
    let mut n_tests = 0;
    for (name, set) in shipped() {
        for outcome in set.run_tests() {
            n_tests += 1;
            assert!(outcome.passed(), "{name}.yaml:{}: {outcome:#?}", outcome.line);
        }
    }
    assert!(
        n_tests >= 15,
        "only {n_tests} tests stand beside the shipped rules"
    );
}

#[test]
fn rule_ids_are_unique_over_the_files() {
    let files = shipped();
    let mut engine = Engine::new();
    let now = onemap_model::Timestamp::from_ms(0);
    for (name, set) in &files {
        assert_eq!(engine.conflicts(name, set), []);
        engine.set_file(now, 1, name, Some(set.clone()));
    }
    let in_force = engine.rules().count();
    assert_eq!(
        in_force,
        files.values().map(|set| set.rules().len()).sum::<usize>()
    );
}

#[test]
fn every_kind_of_the_demo_city_has_its_silence_rule_and_no_sentence_claims_a_legal_limit() {
    let device = onemap_model::DeviceId::new("d").unwrap();
    let files = shipped();
    let rules: Vec<_> = files.values().flat_map(|set| set.rules()).collect();
    for kind in [
        "air_station",
        "noise_meter",
        "river_gauge",
        "rain_gauge",
        "manhole",
        "smoke_detector",
        "soil_station",
        "modbus_meter",
    ] {
        let silent: BTreeSet<_> = rules
            .iter()
            .filter(|rule| matches!(rule.when, onemap_rules::When::NoData { .. }))
            .filter(|rule| rule.applies_to.selects(&device, kind, None, &[]))
            .map(|rule| rule.id.as_str())
            .collect();
        assert_eq!(silent.len(), 1, "{kind}: {silent:?}");
    }
    for rule in rules {
        let said = format!("{:?}{:?}{:?}", rule.sentence(), rule.name, rule.advice);
        assert!(!said.contains("超标"), "{}", rule.id);
        println!("{}: {} / {}", rule.id, rule.sentence().zh, rule.sentence().en);
    }
}
