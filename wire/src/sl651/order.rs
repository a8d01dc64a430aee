//! Questions and commands as people order them: a method and parameters as JSON.

use onemap_model::Timestamp;
use serde_json::{Map, Value};

use super::item::{item, names};
use super::reply::Question;
use super::{Decimal, Definition, Element, Number, Parameter, Table};
use crate::hj212::stamp;

/// Methods, the function that each is, and its parameters; those with `?` may be left out. A method is also known by its
/// function code.
pub const METHODS: &[(&str, u8, &str)] = &[
    ("take_picture", 0x36, ""),
    ("read_present", 0x37, ""),
    ("history", 0x38, "element from to step?"),
    ("read_manual", 0x39, ""),
    ("read_elements", 0x3A, "elements"),
    ("set_basic", 0x40, "items"),
    ("read_basic", 0x41, "items"),
    ("set_run", 0x42, "items"),
    ("read_run", 0x43, "items"),
    ("read_pump_motor", 0x44, ""),
    ("read_version", 0x45, ""),
    ("read_state", 0x46, ""),
    ("clear_memory", 0x47, ""),
    ("factory_reset", 0x48, ""),
    ("set_password", 0x49, "password"),
    ("set_clock", 0x4A, ""),
    ("set_card", 0x4B, "valid"),
    ("set_pumps", 0x4C, "on"),
    ("set_valves", 0x4D, "on"),
    ("set_gates", 0x4E, "gates"),
    ("set_fixed_quantity", 0x4F, "on"),
    ("read_events", 0x50, ""),
    ("read_clock", 0x51, ""),
];

/// Bit 9 of element 45: the card is valid.
const CARD_VALID: u32 = 1 << 9;
/// Most values that are asked for at a time.
const N_VALUES: i64 = 4_000;
/// Most elements and items of one question.
const N_ASKED: usize = 128;

/// Why an order is no question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// Nothing is called so.
    #[error("no command is called `{0}`; commands are {list}", list = methods())]
    Method(String),
    /// A parameter is missing or is something else.
    #[error("{method} needs `{name}`: {what}")]
    Parameter {
        /// The method.
        method: &'static str,
        /// The parameter; of an item `items.` and its name.
        name: String,
        /// What it is to be.
        what: String,
    },
    /// A parameter that the command does not have.
    #[error("{method} has no parameter `{name}`")]
    Unknown {
        /// The method.
        method: &'static str,
        /// The name that was given.
        name: String,
    },
}

fn methods() -> String {
    let names: Vec<_> = METHODS.iter().map(|(name, ..)| *name).collect();
    names.join(", ")
}

/// The method that a name or a function code (`4A`) is, and the code.
pub fn method_of(name: &str) -> Option<(&'static str, u8)> {
    let is_it = |(method, function, _): &&(&str, u8, &str)| {
        *method == name || (name.len() == 2 && u8::from_str_radix(name, 16) == Ok(*function))
    };
    METHODS
        .iter()
        .find(is_it)
        .map(|(method, function, _)| (*method, *function))
}

/// The question that an order is. `password` is the one that the station has, which only `set_password` needs.
///
/// # Errors
/// [`OrderError`] for what is no command, and for parameters that it does not have or that do not fit.
///
/// ```
/// # use onemap_wire::sl651::question_of;
/// # use onemap_wire::sl651::reply::Question;
/// # use serde_json::json;
/// assert_eq!(question_of("read_clock", &json!({}), 0x1234), Ok(Question::Clock));
/// assert!(question_of("set_run", &json!({"items": {"report_interval_h": 25}}), 0x1234).is_err());
/// ```
pub fn question_of(method: &str, params: &Value, password: u16) -> Result<Question, OrderError> {
    let Some((method, function)) = method_of(method) else {
        return Err(OrderError::Method(method.chars().take(64).collect()));
    };
    let known = METHODS.iter().find(|(name, ..)| *name == method);
    let known = known.map_or("", |(.., known)| known);
    let empty = Map::new();
    let params = match params {
        Value::Null => &empty,
        Value::Object(params) => params,
        _ => {
            return Err(OrderError::Parameter {
                method,
                name: "params".to_owned(),
                what: "an object".to_owned(),
            });
        }
    };
    let is_known = |name: &str| known.split(' ').any(|k| k.trim_end_matches('?') == name);
    if let Some(name) = params.keys().find(|name| !is_known(name)) {
        return Err(OrderError::Unknown {
            method,
            name: name.chars().take(64).collect(),
        });
    }
    Given { method, params }.question(function, password)
}

struct Given<'a> {
    method: &'static str,
    params: &'a Map<String, Value>,
}

impl Given<'_> {
    fn question(&self, function: u8, password: u16) -> Result<Question, OrderError> {
        Ok(match function {
            0x36 => Question::Picture,
            0x37 => Question::Present,
            0x38 => self.period()?,
            0x39 => Question::Manual,
            0x3A => Question::Elements(self.elements()?),
            0x40 => Question::Set(Table::Basic, self.values(Table::Basic)?),
            0x41 => Question::Read(Table::Basic, self.items(Table::Basic)?),
            0x42 => Question::Set(Table::Run, self.values(Table::Run)?),
            0x43 => Question::Read(Table::Run, self.items(Table::Run)?),
            0x44 => Question::PumpMotor,
            0x45 => Question::Version,
            0x46 => Question::State,
            0x47 => Question::ClearMemory,
            0x48 => Question::FactoryReset,
            0x49 => Question::Password {
                old: password,
                new: self.password()?,
            },
            0x4A => Question::SetClock,
            0x4B => Question::Card(if self.flag("valid")? { CARD_VALID } else { 0 }),
            0x4C => Question::Pumps(self.switches()?),
            0x4D => Question::Valves(self.switches()?),
            0x4E => Question::Gates(self.gates()?),
            0x4F => Question::FixedQuantity(self.flag("on")?),
            0x50 => Question::Events,
            0x51 => Question::Clock,
            // Every function of the list stands above.
            other => return Err(OrderError::Method(format!("{other:02X}"))),
        })
    }

    fn wrong<T>(&self, name: &str, what: impl Into<String>) -> Result<T, OrderError> {
        Err(OrderError::Parameter {
            method: self.method,
            name: name.chars().take(64).collect(),
            what: what.into(),
        })
    }

    fn flag(&self, name: &str) -> Result<bool, OrderError> {
        match self.params.get(name) {
            Some(Value::Bool(flag)) => Ok(*flag),
            _ => self.wrong(name, "true or false"),
        }
    }

    fn password(&self) -> Result<u16, OrderError> {
        let text = self.params.get("password").and_then(Value::as_str);
        let text = text.filter(|text| text.len() == 4 && text.bytes().all(|b| b.is_ascii_hexdigit()));
        match text.and_then(|text| u16::from_str_radix(text, 16).ok()) {
            Some(password) => Ok(password),
            None => self.wrong("password", "four hexadecimal digits"),
        }
    }

    fn period(&self) -> Result<Question, OrderError> {
        let element = match self.params.get("element") {
            Some(Value::String(text)) => self.element("element", text)?,
            _ => return self.wrong("element", ELEMENT),
        };
        let (from, to) = (self.hour("from")?, self.hour("to")?);
        if to < from {
            return self.wrong("to", "an hour not before `from`");
        }
        let (step, step_min) = match self.params.get("step") {
            // The arrays of an hour have a value every five minutes.
            None | Some(Value::Null) if element.0.is_array() => ([0, 0, 5], 5),
            None | Some(Value::Null) => ([0, 1, 0], 60),
            Some(step) => match step.as_str().and_then(step_of) {
                Some(step) => step,
                None => {
                    return self.wrong(
                        "step",
                        "`5m`, `1h` or `1d`: up to 59 minutes, 23 hours or 31 days",
                    );
                }
            },
        };
        if (to.ms() - from.ms()) / 60_000 / step_min >= N_VALUES {
            return self.wrong(
                "to",
                format!("so near to `from` that {N_VALUES} values are enough"),
            );
        }
        Ok(Question::Period {
            from,
            to,
            step,
            element,
        })
    }

    fn hour(&self, name: &str) -> Result<Timestamp, OrderError> {
        let text = self.params.get(name).and_then(Value::as_str);
        let read = |text| stamp::read(text).or_else(|| Timestamp::parse(text).ok());
        match text.and_then(read).filter(|at| at.ms() % 3_600_000 == 0) {
            Some(hour) => Ok(hour),
            None => self.wrong(
                name,
                "a whole hour, as RFC 3339 or as YYYYMMDDhhmmss in Beijing time",
            ),
        }
    }

    fn element(&self, name: &str, text: &str) -> Result<(Element, Definition), OrderError> {
        match element_of(text) {
            Some(element) => Ok(element),
            None => self.wrong(name, ELEMENT),
        }
    }

    fn elements(&self) -> Result<Vec<(Element, Definition)>, OrderError> {
        let texts = self.texts("elements", "a list of identifiers, as in [\"39\", \"26\"]")?;
        texts.iter().map(|text| self.element("elements", text)).collect()
    }

    fn texts(&self, name: &str, what: &str) -> Result<Vec<&str>, OrderError> {
        let all = self.params.get(name).and_then(Value::as_array);
        let texts: Option<Vec<&str>> = all.and_then(|all| all.iter().map(Value::as_str).collect());
        match texts {
            Some(texts) if (1..=N_ASKED).contains(&texts.len()) => Ok(texts),
            _ => self.wrong(name, what),
        }
    }

    fn items(&self, table: Table) -> Result<Vec<(Element, Definition)>, OrderError> {
        let known = || format!("a list of {}", names(table));
        let texts = self.texts("items", &known())?;
        let one = |text: &&str| match item(table, text) {
            Some(item) => Ok((item.element, item.definition)),
            None => self.wrong("items", known()),
        };
        texts.iter().map(one).collect()
    }

    fn values(&self, table: Table) -> Result<Vec<Parameter>, OrderError> {
        let known = || format!("an object of {}", names(table));
        let given = self.params.get("items").and_then(Value::as_object);
        let Some(given) = given.filter(|given| !given.is_empty()) else {
            return self.wrong("items", known());
        };
        let one = |(name, value): (&String, &Value)| {
            let Some(item) = item(table, name) else {
                return self.wrong("items", known());
            };
            match item.with(value) {
                Ok(set) => Ok(set),
                Err(what) => self.wrong(&format!("items.{name}"), what),
            }
        };
        given.iter().map(one).collect()
    }

    fn switches(&self) -> Result<Vec<bool>, OrderError> {
        let all = self.params.get("on").and_then(Value::as_array);
        let on: Option<Vec<bool>> = all.and_then(|all| all.iter().map(Value::as_bool).collect());
        match on {
            Some(on) if (1..=255).contains(&on.len()) => Ok(on),
            _ => self.wrong(
                "on",
                "a list of true and false, the first of number 1, at most 255",
            ),
        }
    }

    /// Openings in cm; `null` leaves a gate as it is.
    fn gates(&self) -> Result<Vec<(bool, Number)>, OrderError> {
        let gate = |value: &Value| match value {
            Value::Null => Some((false, 0)),
            value => value
                .as_i64()
                .filter(|cm| (0..=9999).contains(cm))
                .map(|cm| (true, cm)),
        };
        let all = self.params.get("gates").and_then(Value::as_array);
        let gates: Option<Vec<_>> = all.and_then(|all| all.iter().map(gate).collect());
        let opening = |cm: i64| {
            Number::Value(Decimal {
                digits: cm.into(),
                decimals: 0,
            })
        };
        match gates {
            Some(gates) if (1..=255).contains(&gates.len()) => Ok(gates
                .into_iter()
                .map(|(moves, cm)| (moves, opening(cm)))
                .collect()),
            _ => self.wrong(
                "gates",
                "a list of openings from 0 to 9999 cm, `null` for a gate that stays, at most 255",
            ),
        }
    }
}

const ELEMENT: &str = "an element's identifier (`39`) or symbol (`Z`), with its definition byte where the standard has none (`FF11:23`)";

/// An element with its definition byte from `39`, `FF11:23` or a symbol of the standard (`Z`). The definition behind the colon
/// may be left out where the dictionary has one.
pub fn element_of(text: &str) -> Option<(Element, Definition)> {
    let (id, definition) = match text.split_once(':') {
        Some((id, definition)) => (id, Some(definition)),
        None => (text, None),
    };
    let code = Some(id).filter(|id| matches!(id.len(), 2 | 4));
    let code = code.and_then(|id| u16::from_str_radix(id, 16).ok()).map(Element);
    let code = code.filter(|Element(code)| (1..=0xFE).contains(code) || *code >= 0xFF00);
    let known = code.filter(|element| element.kind().is_some());
    let element = known.or_else(|| Element::with_symbol(id)).or(code)?;
    let definition = match definition {
        Some(text) => u8::from_str_radix(text, 16)
            .ok()
            .filter(|d| text.len() == 2 && *d >= 8)?,
        None => element.kind()?.usual_definition()?.0,
    };
    Some((element, Definition(definition)))
}

/// A step in BCD, and its minutes.
fn step_of(text: &str) -> Option<([u8; 3], i64)> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let n: u8 = number.parse().ok().filter(|n| *n > 0)?;
    let bcd = ((n / 10) << 4) | (n % 10);
    let minutes = i64::from(n);
    match unit {
        "m" if n <= 59 => Some(([0, 0, bcd], minutes)),
        "h" if n <= 23 => Some(([0, bcd, 0], minutes * 60)),
        "d" if n <= 31 => Some(([bcd, 0, 0], minutes * 1440)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::hex;
    use crate::sl651::reply::Line;
    use crate::sl651::{Encoding, decode};

    /// What stands behind serial number and time.
    fn sent(method: &str, params: &Value) -> Result<String, OrderError> {
        let line = Line {
            station: "0011223344".parse().unwrap(),
            centre: 5,
            password: 0x03E8,
            encoding: Encoding::Hex,
        };
        let question = question_of(method, params, line.password)?;
        let frame = line.ask(7, Timestamp::from_ms(0), &question).unwrap();
        let view = decode(&frame.encode().unwrap()).unwrap();
        assert_eq!(view.frame, frame);
        Ok(format!("{:02X} {}", frame.function, hex::upper(&frame.body[8..])))
    }

    #[test]
    fn every_method_is_its_function() {
        let all = json!({
            "element": "39", "from": "20261126070000", "to": "2026-11-26T00:00:00Z", "step": "1h", "elements": ["39", "FF11:23"],
            "password": "ABCD", "valid": true, "gates": [120, null],
        });
        for (method, function, known) in METHODS {
            let mut params: Map<_, _> = known
                .split_whitespace()
                .map(|name| name.trim_end_matches('?'))
                .filter(|name| !matches!(*name, "items" | "on"))
                .map(|name| (name.to_owned(), all[name].clone()))
                .collect();
            let more = match function {
                0x40 => Some(("items", json!({"work_mode": 2}))),
                0x41 => Some(("items", json!(["work_mode"]))),
                0x42 => Some(("items", json!({"report_interval_h": 1}))),
                0x43 => Some(("items", json!(["report_interval_h", "28"]))),
                0x4C | 0x4D => Some(("on", json!([true, false, true]))),
                0x4F => Some(("on", json!(true))),
                _ => None,
            };
            params.extend(more.map(|(name, value)| (name.to_owned(), value)));
            let text = sent(method, &params.clone().into()).unwrap();
            let code = format!("{function:02X}");
            assert!(text.starts_with(&code), "{method}: {text}");
            assert_eq!(sent(&code, &params.into()).unwrap(), text);
        }
        for (method, params, want) in [
            (
                "history",
                json!({"element": "Z", "from": "20261126070000", "to": "20261126080000"}),
                "38 26112607 26112608 0418 000100 3923",
            ),
            (
                "history",
                json!({"element": "F4", "from": "20261126070000", "to": "20261126070000"}),
                "38 26112607 26112607 0418 000005 F460",
            ),
            ("read_elements", json!({"elements": ["AC", "F4"]}), "3A 0122 F460"),
            (
                "set_password",
                json!({"password": "abcd"}),
                "49 0310 03E8 0310 ABCD",
            ),
            ("set_gates", json!({"gates": [120, null]}), "4E 02 01 0120 0000"),
            ("set_card", json!({"valid": false}), "4B 4520 00000000"),
            (
                "set_run",
                json!({"items": {"alarm_level_2_m": 8.5, "report_interval_h": 6}}),
                "42 3912 0850 2008 06",
            ),
            ("read_run", json!({"items": ["level_base_1_m"]}), "43 2823"),
        ] {
            let want = want.replace(' ', "");
            assert_eq!(sent(method, &params).unwrap().replace(' ', ""), want, "{method}");
        }
    }

    #[test]
    fn what_is_no_command_is_refused_by_name() {
        let hour = "20261126070000";
        for (method, params, part) in [
            ("open", json!({}), "no command is called `open`"),
            ("32", json!({}), "no command is called `32`"),
            ("read_clock", json!({"colour": 1}), "no parameter `colour`"),
            ("read_clock", json!([1]), "an object"),
            ("set_password", json!({"password": "123"}), "four hexadecimal"),
            ("set_password", json!({}), "needs `password`"),
            (
                "history",
                json!({"element": "39", "from": "20261126070100", "to": hour}),
                "needs `from`: a whole hour",
            ),
            (
                "history",
                json!({"element": "39", "from": hour, "to": "20261126060000"}),
                "not before `from`",
            ),
            (
                "history",
                json!({"element": "ZZZ", "from": hour, "to": hour}),
                "needs `element`",
            ),
            (
                "history",
                json!({"element": "FF11", "from": hour, "to": hour}),
                "`FF11:23`",
            ),
            (
                "history",
                json!({"element": "39", "from": hour, "to": hour, "step": "61m"}),
                "needs `step`",
            ),
            (
                "history",
                json!({"element": "39", "from": hour, "to": "20271126070000", "step": "5m"}),
                "4000 values",
            ),
            ("read_elements", json!({"elements": []}), "a list of identifiers"),
            (
                "set_basic",
                json!({"items": {"password": "1234"}}),
                "`items.password`: set by set_password",
            ),
            (
                "set_basic",
                json!({"items": {"colour": 1}}),
                "an object of centre_addresses",
            ),
            (
                "set_run",
                json!({"items": {"rain_day_start_h": 24}}),
                "`items.rain_day_start_h`: a number from 0 to 23",
            ),
            (
                "read_run",
                json!({"items": ["work_mode"]}),
                "a list of report_interval_h",
            ),
            ("set_pumps", json!({"on": [1]}), "true and false"),
            ("set_gates", json!({"gates": [10_000]}), "0 to 9999 cm"),
            ("set_fixed_quantity", json!({}), "needs `on`: true or false"),
        ] {
            let error = sent(method, &params).unwrap_err().to_string();
            assert!(error.contains(part), "{method} {params}: {error}");
        }
    }
}
