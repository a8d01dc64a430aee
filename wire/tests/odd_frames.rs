//! Frames as devices at the edge of the standards send them, told as `onemap decode` tells them: `odd/*.json`, each with the
//! reason why it is read, or refused, so.

#![allow(clippy::unwrap_used, missing_docs)]

use onemap_model::Timestamp;
use onemap_wire::hj212::Key;
use onemap_wire::spelt::{Given, Line, Protocol, spell};
use serde::Deserialize;
use serde_json::{Value, json};

/// One stream.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    /// What is odd, and what the standard has.
    why: String,
    /// Its bytes, hexadecimal.
    hex: String,
    /// What is told of it.
    lines: Vec<Value>,
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}

/// What is fixed of a line: what it is, what it was read as, and what came of it.
fn told(line: &Line) -> Value {
    let all = serde_json::to_value(line).unwrap();
    let mut told = json!({"at": all["at"]});
    let mut keep = |key: &str, value: Value| {
        let is_empty = value.is_null() || value == json!([]) || value == json!({}) || value == json!(false);
        if !is_empty {
            told[key] = value;
        }
    };
    for key in ["error", "missing", "duplicate"] {
        keep(key, all[key].clone());
    }
    let frame = &all["frame"];
    let mut says = json!({});
    for key in [
        "version",
        "cn",
        "mn",
        "packet",
        "quirks",
        "function",
        "end",
        "packets",
        "cut_bytes",
        "command",
        "type",
        "asked",
        "from",
        "to",
        "text",
        "on",
        "gates",
        "raw",
        "mark",
        "fixed_quantity",
    ] {
        let value = &frame[key];
        if !value.is_null() && *value != json!([]) {
            says[key] = value.clone();
        }
    }
    keep("says", says);
    let readings = all["readings"].as_array().cloned().unwrap_or_default();
    let reading = |one: &Value| {
        let marks = one["quality"].as_array().cloned().unwrap_or_default();
        let marks: Vec<_> = marks.iter().filter_map(Value::as_str).collect();
        let at = one["measured_at"].as_str().unwrap_or("no time");
        let quantity = one["quantity"].as_str().unwrap_or_default();
        format!(
            "{} {quantity}/{} {} {at} {}",
            one["device"].as_str().unwrap_or_default(),
            one["ch"],
            one["value"],
            marks.join(",")
        )
        .trim_end()
        .to_owned()
    };
    keep("readings", readings.iter().map(reading).collect());
    let refused = all["refused"].as_array().cloned().unwrap_or_default();
    keep("unread", all["unread"].clone());
    keep(
        "refused",
        refused.iter().map(|one| one["reason"].clone()).collect(),
    );
    told
}

fn check(protocol: Protocol, text: &str, at_least: usize) {
    let cases: Vec<Case> = serde_json::from_str(text).unwrap();
    assert!(cases.len() >= at_least, "{}", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        assert!(!case.why.is_empty(), "{}", case.id);
        let given = Given {
            keys: vec![Key::new(*b"0123456789abcdef")],
            ..Given::at(Timestamp::parse("2026-08-01T09:00:40+08:00").unwrap())
        };
        let lines: Vec<Value> = spell(protocol, &bytes(&case.hex), given)
            .iter()
            .map(told)
            .collect();
        if lines != case.lines {
            wrong.push(json!({"id": case.id, "told": lines, "want": case.lines}));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}",
        serde_json::to_string_pretty(&wrong).unwrap()
    );
}

#[test]
fn of_hj212() {
    check(Protocol::Hj212, include_str!("odd/hj212.json"), 40);
}

#[test]
fn of_sl651() {
    check(Protocol::Sl651, include_str!("odd/sl651.json"), 40);
}

#[test]
fn of_gbt26875() {
    check(Protocol::Gbt26875, include_str!("odd/gbt26875.json"), 40);
}
