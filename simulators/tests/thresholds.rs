//! The quiet city keeps clear of every shipped rule, and every incident crosses one.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{HashMap, HashSet};
use std::path::Path;

use onemap_model::Quantity;
use onemap_sim::city::{City, Timeline};
use onemap_sim::replay::recording::Recording;
use serde_json::Value;

/// One condition of a shipped rule, in canonical units.
struct Threshold {
    rule: String,
    kinds: Vec<String>,
    quantity: Quantity,
    condition: Condition,
}

impl Threshold {
    /// A rule that names no kind is for all.
    fn is_of(&self, kind: &str) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|own| own == kind)
    }
}

enum Condition {
    Above {
        raise: f64,
        clear: f64,
    },
    Below {
        clear: f64,
    },
    State(f64),
    /// A rise within a time.
    Rises {
        raise: f64,
    },
    /// Above the median of those around.
    Apart {
        raise: f64,
    },
    /// The same value for a long time.
    Stuck,
}

/// A limit of a rule: `2.5 m`, or `$name` with or without `± 0.5 m` beside it, whose
/// default in the rule's `parameters` is that of a device that has none of its own.
fn limit(quantity: Quantity, text: &Value, parameters: &Value) -> f64 {
    let Some((name, beside)) = text
        .as_str()
        .and_then(|t| t.strip_prefix('$'))
        .map(|t| t.split_once(' ').unwrap_or((t, "")))
    else {
        return number(quantity, text);
    };
    let default = number(quantity, &parameters[name]["default"]);
    match beside.split_at_checked(2) {
        None => default,
        Some(("- ", by)) => default - number(quantity, &by.into()),
        Some(("+ ", by)) => default + number(quantity, &by.into()),
        Some(_) => panic!("`{text}` is no limit"),
    }
}

fn number(quantity: Quantity, text: &Value) -> f64 {
    let Some(text) = text.as_str() else {
        return text.as_f64().unwrap();
    };
    let (number, unit) = text
        .split_once(' ')
        .unwrap_or((text, quantity.definition().unit.as_str()));
    quantity
        .convert(number.parse().unwrap(), unit.trim())
        .unwrap_or_else(|| panic!("{quantity} in {unit}"))
}

fn thresholds() -> Vec<Threshold> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/rules");
    let mut found = Vec::new();
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|e| e != "yaml") {
            continue;
        }
        let rules: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        for rule in rules["rules"].as_array().unwrap() {
            let kinds = match &rule["applies_to"]["kind"] {
                Value::String(one) => vec![one.clone()],
                Value::Array(some) => some.iter().map(|k| k.as_str().unwrap().to_owned()).collect(),
                _ => Vec::new(),
            };
            for (name, body) in rule["when"].as_object().unwrap() {
                let body = match name.as_str() {
                    "neighbours" if body["differs"].is_object() => &body["differs"],
                    "neighbours" => &body["agree"]["above"],
                    _ => body,
                };
                let Some(quantity) = body["quantity"].as_str().map(|q| Quantity::named(q).unwrap()) else {
                    continue;
                };
                let condition = match name.as_str() {
                    "above" => Condition::Above {
                        raise: limit(quantity, &body["raise"], &rule["parameters"]),
                        clear: limit(quantity, &body["clear"], &rule["parameters"]),
                    },
                    // Two detectors agree when each of them is above.
                    "neighbours" if body["raise"].is_string() => Condition::Above {
                        raise: limit(quantity, &body["raise"], &rule["parameters"]),
                        clear: limit(quantity, &body["clear"], &rule["parameters"]),
                    },
                    "neighbours" => Condition::Apart {
                        raise: limit(quantity, &body["above"], &rule["parameters"]),
                    },
                    "change" => Condition::Rises {
                        raise: limit(quantity, &body["rises"], &rule["parameters"]),
                    },
                    "stuck" => Condition::Stuck,
                    "below" => Condition::Below {
                        clear: limit(quantity, &body["clear"], &rule["parameters"]),
                    },
                    "state" => {
                        let state = quantity
                            .definition()
                            .states
                            .iter()
                            .find(|s| body["is"] == s.en.as_str());
                        Condition::State(f64::from(state.unwrap().code))
                    }
                    other => {
                        panic!("the condition `{other}` is new: say here what the city must keep clear of")
                    }
                };
                let rule = rule["id"].as_str().unwrap().to_owned();
                found.push(Threshold {
                    rule,
                    kinds: kinds.clone(),
                    quantity,
                    condition,
                });
            }
        }
    }
    found
}

#[test]
fn no_undisturbed_value_of_any_station_comes_near_a_threshold() {
    let thresholds = thresholds();
    assert!(thresholds.len() >= 8, "{} thresholds found", thresholds.len());
    let mut n_checked = 0;
    for seed in 0..20 {
        let stations = City::plan(seed).unwrap().stations;
        let mut lowest = HashMap::new();
        for sensor in stations.iter().flat_map(|station| &station.sensors) {
            let lowest = lowest.entry(sensor.quantity).or_insert(f64::MAX);
            *lowest = lowest.min(sensor.shape.bounds().0);
        }
        for station in &stations {
            for sensor in &station.sensors {
                let (low, high) = sensor.shape.bounds();
                let [least, most] = sensor.quantity.definition().range.unwrap_or([f64::MIN, f64::MAX]);
                assert!(
                    low >= least && high <= most,
                    "{}: {low}..{high} is not plausible",
                    sensor.quantity
                );
                let kind = station.device.kind.as_ref();
                let own = |t: &&Threshold| t.quantity == sensor.quantity && t.is_of(kind);
                for t in thresholds.iter().filter(own) {
                    n_checked += 1;
                    match t.condition {
                        // Even the level at which an alarm would end is not reached.
                        Condition::Above { clear, .. } => {
                            assert!(high < clear * 0.9, "{}: {high} of {clear}", t.rule)
                        }
                        Condition::Below { clear } => {
                            assert!(low > clear * 1.1, "{}: {low} of {clear}", t.rule)
                        }
                        Condition::Rises { raise } => {
                            assert!(high - low < raise * 0.9, "{}: {low} to {high} of {raise}", t.rule)
                        }
                        // The median of the others is not below the lowest of all. Stations share
                        // the hour of the day, so what they can be apart at once is less than this.
                        Condition::Apart { raise } => {
                            let apart = high - lowest[&sensor.quantity];
                            assert!(apart < raise * 0.9, "{}: {apart} of {raise}", t.rule)
                        }
                        Condition::Stuck => assert!(low < high, "{}: always {low}", t.rule),
                        Condition::State(bad) => {
                            assert!(low == 0.0 && high == 0.0 && bad != 0.0, "{}", t.rule)
                        }
                    }
                }
            }
        }
    }
    assert!(n_checked > 1_000, "{n_checked} comparisons");
}

#[test]
fn every_incident_but_silence_crosses_a_threshold_of_its_station() {
    let thresholds = thresholds();
    let mut crossed_by = HashSet::new();
    for seed in 0..10 {
        let city = City::plan(seed).unwrap();
        for incident in &Timeline::of(&city).incidents()[..40] {
            let kind = city.stations[incident.station].device.kind.as_ref();
            let crossed = incident.peaks.iter().any(|(quantity, peak)| {
                thresholds
                    .iter()
                    .filter(|t| t.quantity.name() == *quantity && t.is_of(kind))
                    .any(|t| match t.condition {
                        Condition::Above { raise, .. } => *peak > raise * 1.03,
                        Condition::Below { .. } | Condition::Stuck => false,
                        // What else an incident crosses is the business of the limits above.
                        Condition::Rises { .. } | Condition::Apart { .. } => false,
                        Condition::State(bad) => *peak == bad,
                    })
            });
            assert_eq!(crossed, incident.kind.name() != "silence", "{incident:?}");
            if crossed {
                crossed_by.insert(incident.kind);
            }
        }
    }
    assert_eq!(crossed_by.len(), 5);
}

#[test]
fn the_shipped_recordings_can_be_read_and_their_devices_are_marked() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings");
    for (name, n_least) in [("beijing-air", 180), ("calder-river", 1_000)] {
        let text = std::fs::read_to_string(dir.join(format!("{name}.csv"))).unwrap();
        let recording = Recording::parse(&text).unwrap();
        assert!(
            recording.moments.len() >= n_least,
            "{name}: {}",
            recording.moments.len()
        );
        let text = std::fs::read_to_string(dir.join(format!("{name}.devices.json"))).unwrap();
        let devices: Vec<onemap_model::Device> = serde_json::from_str(&text).unwrap();
        for moment in &recording.moments {
            assert!(
                devices.iter().any(|d| d.id == moment.device),
                "{name}: {}",
                moment.device
            );
            for (quantity, _, value) in &moment.values {
                assert!(quantity.plausible(*value), "{name}: {quantity} {value}");
            }
        }
        for device in devices {
            assert!(device.demo && device.name.contains("演示"), "{}", device.id);
        }
    }
}
