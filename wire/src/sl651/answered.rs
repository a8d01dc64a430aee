//! What a station's frame says of the question that was put to it.
//!
//! The standard has no number by which an answer names its question, and none for "I could not": an answer has the function
//! of its question, and what it holds shows whether it is the one and what became of it.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::body::{Body, Content};
use super::reply::Question;
use super::{Element, Frame, Group, Number, Parameter, Table, View};

const HOUR: Duration = Duration::from_secs(3600);
/// Longest result as JSON; of a longer one only the count of its items is told.
const MOST_BYTES: usize = 16 << 10;
/// The password in the basic table.
const PASSWORD: Element = Element(0x03);

/// Whether frames of this function answer questions, though some stations send them by themselves, too.
pub fn is_answer(function: u8) -> bool {
    matches!(function, 0x36..=0x3A | 0x40..=0x51)
}

impl Question {
    /// Whether a station's message may be the answer: of its function, and about the same element and hours, or items.
    pub fn fits(&self, function: u8, body: &Body) -> bool {
        if function != self.function() {
            return false;
        }
        match (self, &body.content) {
            (
                Question::Period {
                    from, to, element, ..
                },
                Content::Groups { groups, .. },
            ) => {
                let observed = groups.iter().find_map(|group| match group {
                    Group::Observed(stamp) => stamp.moment(),
                    _ => None,
                });
                let mut measured = groups.iter().filter_map(element_of).peekable();
                // The first value of an array stands within the hour that was asked for, others on it. The last hour is
                // the next question's first.
                let is_then = observed.is_none_or(|at| match element.0.is_array() {
                    true => (*from..*to + HOUR).contains(&at),
                    false => at == *from || (*from..*to).contains(&at),
                });
                // Without any value it says that it has none.
                is_then && (measured.peek().is_none() || measured.any(|other| other == element.0))
            }
            (Question::Set(_, asked), Content::Parameters { items, .. }) => asked
                .iter()
                .all(|one| items.iter().any(|item| item.element == one.element)),
            _ => true,
        }
    }

    /// What became of it, as a result or an error. An error is a series without any value (`no data`), and an answer
    /// that shows other values than were to be set. Passwords are masked.
    pub fn outcome(&self, frame: &Frame, body: &Body) -> Result<Value, Value> {
        let mut told = told(frame, body);
        let differs = |told: &mut Map<String, Value>| {
            told.insert("text".to_owned(), "the station has other values".into());
        };
        let is_done = match (self, &body.content) {
            (Question::Period { .. }, Content::Groups { groups, .. }) => {
                let (n_values, n_missing) = count(groups);
                told.remove("items");
                told.insert("n_values".to_owned(), n_values.into());
                told.insert("n_missing".to_owned(), n_missing.into());
                if n_values == 0 {
                    told.insert("text".to_owned(), "no data".into());
                }
                n_values > 0
            }
            (Question::Set(_, asked), Content::Parameters { items, .. }) => {
                let is_set = |one: &Parameter| items.contains(one);
                let is_done = asked.iter().all(is_set);
                if !is_done {
                    differs(&mut told);
                }
                is_done
            }
            (Question::Password { new, .. }, Content::Parameters { items, .. }) => {
                // Some repeat the former one, too.
                let is_done = items.last().is_some_and(|item| item.raw == new.to_be_bytes());
                if !is_done {
                    differs(&mut told);
                }
                is_done
            }
            (
                Question::Pumps(_) | Question::Valves(_) | Question::FixedQuantity(_),
                Content::Control { control, .. },
            ) => {
                let asked = match self.content() {
                    Content::Control { control, .. } => control,
                    _ => None,
                };
                if *control != asked {
                    differs(&mut told);
                }
                *control == asked
            }
            _ => true,
        };
        match is_done {
            true => Ok(told.into()),
            false => Err(told.into()),
        }
    }
}

fn element_of(group: &Group) -> Option<Element> {
    match group {
        Group::Rain(_) => Some(Element::RAIN_ARRAY),
        Group::Levels { element, .. } | Group::Element { element, .. } => Some(*element),
        _ => None,
    }
}

/// How many values there are, and how many are missing.
fn count(groups: &[Group]) -> (usize, usize) {
    let (mut n_all, mut n_values) = (0, 0);
    for group in groups {
        let (n, n_there) = match group {
            Group::Rain(values) => (values.len(), values.iter().flatten().count()),
            Group::Levels { values, .. } => (values.len(), values.iter().flatten().count()),
            Group::Element { values, .. } => {
                let there = values.iter().filter(|value| matches!(value, Number::Value(_)));
                (values.len(), there.count())
            }
            _ => (0, 0),
        };
        (n_all, n_values) = (n_all + n, n_values + n_there);
    }
    (n_values, n_all - n_values)
}

/// What the body says, without the envelope.
fn told(frame: &Frame, body: &Body) -> Map<String, Value> {
    let mut body = body.clone();
    if let Content::Parameters { items, .. } = &mut body.content {
        for item in items.iter_mut().filter(|item| is_password(item)) {
            item.raw.clear();
        }
    }
    let view = View {
        frame: frame.clone(),
        body,
    };
    let view = serde_json::to_value(&view).unwrap_or_default();
    let mut told = Map::new();
    for (key, value) in view.as_object().into_iter().flatten() {
        let is_content = matches!(
            key.as_str(),
            "function" | "serial" | "sent_at" | "items" | "text" | "raw"
        ) || matches!(
            key.as_str(),
            "on" | "gates" | "opening_cm" | "fixed_quantity" | "named"
        );
        if is_content {
            told.insert(key.clone(), value.clone());
        }
    }
    if let Some(Value::Array(items)) = told.get_mut("items") {
        for item in items.iter_mut() {
            if item["id"] == "03" && item["raw"] == "" && item["name"] == "password" {
                item["raw"] = "****".into();
            }
        }
    }
    let length: usize = told.values().map(|value| value.to_string().len()).sum();
    if length > MOST_BYTES {
        let n_items = told
            .remove("items")
            .as_ref()
            .and_then(Value::as_array)
            .map(Vec::len);
        told.retain(|key, _| matches!(key.as_str(), "function" | "serial" | "sent_at"));
        told.insert("n_items".to_owned(), json!(n_items));
    }
    told
}

fn is_password(item: &Parameter) -> bool {
    item.table == Table::Basic && item.element == PASSWORD
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_model::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::hex;
    use crate::sl651::{Direction, Encoding, End, question_of};

    fn said(function: u8, body: &str) -> (Frame, Body) {
        let frame = Frame {
            encoding: Encoding::Hex,
            direction: Direction::Up,
            centre: 1,
            station: "0012345678".parse().unwrap(),
            password: 0x1234,
            function,
            packet: None,
            body: hex::read(format!("0007240111163034{}", body.replace(' ', "")).as_bytes()).unwrap(),
            end: End::Etx,
            addresses_swapped: false,
        };
        let body = frame.read().unwrap();
        (frame, body)
    }

    fn asked(method: &str, params: &Value) -> Question {
        question_of(method, params, 0x1234).unwrap()
    }

    /// Whether it fits, and what came of it.
    fn outcome(question: &Question, function: u8, body: &str) -> Option<Result<Value, Value>> {
        let (frame, body) = said(function, body);
        question
            .fits(function, &body)
            .then(|| question.outcome(&frame, &body))
    }

    #[test]
    fn a_series_answers_the_question_for_its_hours_and_one_without_values_says_so() {
        let hours = json!({"element": "39", "from": "20240110080000", "to": "20240110080000"});
        let question = asked("history", &hours);
        let level = |at: &str, value: &str| format!("F1F10012345678 48 F0F0{at} 0418 000100 3923 {value}");
        let done = outcome(&question, 0x38, &level("2401100800", "00010490"))
            .unwrap()
            .unwrap();
        assert_eq!((&done["n_values"], &done["n_missing"]), (&json!(1), &json!(0)));
        assert_eq!((&done["function"], &done["serial"]), (&json!("38"), &json!(7)));
        let none = outcome(&question, 0x38, &level("2401100800", "FFFFFFFF"))
            .unwrap()
            .unwrap_err();
        assert_eq!(
            (&none["text"], &none["n_missing"]),
            (&json!("no data"), &json!(1))
        );
        let empty = outcome(&question, 0x38, "F1F10012345678 48").unwrap();
        assert_eq!(empty.unwrap_err()["text"], "no data");
        assert!(
            outcome(&question, 0x38, &level("2401100900", "00010490")).is_none(),
            "another hour"
        );
        assert!(
            outcome(
                &question,
                0x38,
                "F1F10012345678 48 F0F02401100800 0418 000100 2619 000040"
            )
            .is_none()
        );
        assert!(outcome(&question, 0x37, "F1F10012345678 48 F0F02401100800 3923 00010490").is_none());
        let rain = asked(
            "history",
            &json!({"element": "F4", "from": "20240110100000", "to": "20240110100000"}),
        );
        let array = "F1F11122334455 48 F0F02401101005 0418 000005 F460 0000000000000005000000FF";
        let done = outcome(&rain, 0x38, array).unwrap().unwrap();
        assert_eq!((&done["n_values"], &done["n_missing"]), (&json!(11), &json!(1)));
        let at = Timestamp::parse("2024-01-11T16:30:34+08:00").unwrap();
        assert_eq!(done["sent_at"], json!(at));
    }

    #[test]
    fn what_is_set_is_done_when_the_station_says_so_and_passwords_are_masked() {
        let set = asked("set_run", &json!({"items": {"report_interval_h": 6}}));
        assert!(outcome(&set, 0x42, "F1F10012345678 2008 06").unwrap().is_ok());
        let other = outcome(&set, 0x42, "F1F10012345678 2008 01")
            .unwrap()
            .unwrap_err();
        assert_eq!(other["text"], "the station has other values");
        assert!(outcome(&set, 0x42, "F1F10012345678 2108 06").is_none());
        let password = asked("set_password", &json!({"password": "ABCD"}));
        let done = outcome(&password, 0x49, "F1F10012345678 0310 ABCD")
            .unwrap()
            .unwrap();
        assert!(!done.to_string().to_uppercase().contains("ABCD"), "{done}");
        assert!(
            outcome(&password, 0x49, "F1F10012345678 0310 1234")
                .unwrap()
                .is_err()
        );
        let read = asked("read_basic", &json!({"items": ["password", "work_mode"]}));
        let table = outcome(&read, 0x41, "F1F10012345678 0310 ABCD 0C08 02")
            .unwrap()
            .unwrap();
        assert!(!table.to_string().to_uppercase().contains("ABCD"), "{table}");
        assert_eq!(table["items"][2]["meaning"], "report and confirm");
        let pumps = asked("set_pumps", &json!({"on": [true, false]}));
        assert!(outcome(&pumps, 0x4C, "F1F10012345678 02 01").unwrap().is_ok());
        let off = outcome(&pumps, 0x4C, "F1F10012345678 02 00")
            .unwrap()
            .unwrap_err();
        assert_eq!(off["on"], json!([false, false]));
        assert!(
            outcome(&asked("read_clock", &json!({})), 0x51, "F1F10012345678")
                .unwrap()
                .is_ok()
        );
    }
}
