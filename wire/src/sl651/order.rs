//! Questions and commands of SL 651 as people order them.

use onemap_model::Timestamp;
use serde_json::Value;

use super::item::{item, names};
use super::reply::Question;
use super::{Decimal, Definition, Element, Number, Parameter, Table};
use crate::order::{Given, Method, OrderError, find};

/// Methods and the function that each is.
pub const METHODS: &[Method] = &[
    Method::new("take_picture", "36", ""),
    Method::new("read_present", "37", ""),
    Method::new("history", "38", "element from to step?"),
    Method::new("read_manual", "39", ""),
    Method::new("read_elements", "3A", "elements"),
    Method::new("set_basic", "40", "items"),
    Method::new("read_basic", "41", "items"),
    Method::new("set_run", "42", "items"),
    Method::new("read_run", "43", "items"),
    Method::new("read_pump_motor", "44", ""),
    Method::new("read_version", "45", ""),
    Method::new("read_state", "46", ""),
    Method::new("clear_memory", "47", ""),
    Method::new("factory_reset", "48", ""),
    Method::new("set_password", "49", "password"),
    Method::new("set_clock", "4A", ""),
    Method::new("set_card", "4B", "valid"),
    Method::new("set_pumps", "4C", "on"),
    Method::new("set_valves", "4D", "on"),
    Method::new("set_gates", "4E", "gates"),
    Method::new("set_fixed_quantity", "4F", "on"),
    Method::new("read_events", "50", ""),
    Method::new("read_clock", "51", ""),
];

/// Bit 9 of element 45: the card is valid.
const CARD_VALID: u32 = 1 << 9;
/// Most values that are asked for at a time.
const N_VALUES: i64 = 4_000;
/// Most elements and items of one question.
const N_ASKED: usize = 128;

/// The method that a name or a function code (`4A`) is.
pub fn method_of(name: &str) -> Option<&'static Method> {
    find(METHODS, name)
}

/// The function code of a method.
pub fn function_of(method: &Method) -> Option<u8> {
    u8::from_str_radix(method.code, 16).ok()
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
    let given = &Given::of(METHODS, method, params)?;
    Ok(match given.method.code {
        "36" => Question::Picture,
        "37" => Question::Present,
        "38" => period(given)?,
        "39" => Question::Manual,
        "3A" => Question::Elements(elements(given)?),
        "40" => Question::Set(Table::Basic, values(given, Table::Basic)?),
        "41" => Question::Read(Table::Basic, items(given, Table::Basic)?),
        "42" => Question::Set(Table::Run, values(given, Table::Run)?),
        "43" => Question::Read(Table::Run, items(given, Table::Run)?),
        "44" => Question::PumpMotor,
        "45" => Question::Version,
        "46" => Question::State,
        "47" => Question::ClearMemory,
        "48" => Question::FactoryReset,
        "49" => Question::Password {
            old: password,
            new: new_password(given)?,
        },
        "4A" => Question::SetClock,
        "4B" => Question::Card(if given.flag("valid")? { CARD_VALID } else { 0 }),
        "4C" => Question::Pumps(switches(given)?),
        "4D" => Question::Valves(switches(given)?),
        "4E" => Question::Gates(gates(given)?),
        "4F" => Question::FixedQuantity(given.flag("on")?),
        "50" => Question::Events,
        "51" => Question::Clock,
        // Every function of the list stands above.
        other => return given.wrong("method", format!("none is made of {other}")),
    })
}

fn new_password(given: &Given<'_>) -> Result<u16, OrderError> {
    let text = given.value("password").and_then(Value::as_str);
    let text = text.filter(|text| text.len() == 4 && text.bytes().all(|b| b.is_ascii_hexdigit()));
    match text.and_then(|text| u16::from_str_radix(text, 16).ok()) {
        Some(password) => Ok(password),
        None => given.wrong("password", "four hexadecimal digits"),
    }
}

fn period(given: &Given<'_>) -> Result<Question, OrderError> {
    let element = match given.value("element") {
        Some(Value::String(text)) => element(given, "element", text)?,
        _ => return given.wrong("element", ELEMENT),
    };
    let (from, to) = (hour(given, "from")?, hour(given, "to")?);
    if to < from {
        return given.wrong("to", "an hour not before `from`");
    }
    let (step, step_min) = match given.value("step") {
        // The arrays of an hour have a value every five minutes.
        None if element.0.is_array() => ([0, 0, 5], 5),
        None => ([0, 1, 0], 60),
        Some(step) => match step.as_str().and_then(step_of) {
            Some(step) => step,
            None => {
                return given.wrong(
                    "step",
                    "`5m`, `1h` or `1d`: up to 59 minutes, 23 hours or 31 days",
                );
            }
        },
    };
    if (to.ms() - from.ms()) / 60_000 / step_min >= N_VALUES {
        return given.wrong(
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

fn hour(given: &Given<'_>, name: &'static str) -> Result<Timestamp, OrderError> {
    match given.time(name).ok().filter(|at| at.ms() % 3_600_000 == 0) {
        Some(hour) => Ok(hour),
        None => given.wrong(
            name,
            "a whole hour, as RFC 3339 or as YYYYMMDDhhmmss in Beijing time",
        ),
    }
}

fn element(given: &Given<'_>, name: &str, text: &str) -> Result<(Element, Definition), OrderError> {
    match element_of(text) {
        Some(element) => Ok(element),
        None => given.wrong(name, ELEMENT),
    }
}

fn elements(given: &Given<'_>) -> Result<Vec<(Element, Definition)>, OrderError> {
    let texts = texts(given, "elements", "a list of identifiers, as in [\"39\", \"26\"]")?;
    texts
        .iter()
        .map(|text| element(given, "elements", text))
        .collect()
}

fn texts<'a>(given: &Given<'a>, name: &str, what: &str) -> Result<Vec<&'a str>, OrderError> {
    let all = given.value(name).and_then(Value::as_array);
    let texts: Option<Vec<&str>> = all.and_then(|all| all.iter().map(Value::as_str).collect());
    match texts {
        Some(texts) if (1..=N_ASKED).contains(&texts.len()) => Ok(texts),
        _ => given.wrong(name, what),
    }
}

fn items(given: &Given<'_>, table: Table) -> Result<Vec<(Element, Definition)>, OrderError> {
    let known = || format!("a list of {}", names(table));
    let texts = texts(given, "items", &known())?;
    let one = |text: &&str| match item(table, text) {
        Some(item) => Ok((item.element, item.definition)),
        None => given.wrong("items", known()),
    };
    texts.iter().map(one).collect()
}

fn values(given: &Given<'_>, table: Table) -> Result<Vec<Parameter>, OrderError> {
    let known = || format!("an object of {}", names(table));
    let all = given.value("items").and_then(Value::as_object);
    let Some(all) = all.filter(|all| !all.is_empty()) else {
        return given.wrong("items", known());
    };
    let one = |(name, value): (&String, &Value)| {
        let Some(item) = item(table, name) else {
            return given.wrong("items", known());
        };
        match item.with(value) {
            Ok(set) => Ok(set),
            Err(what) => given.wrong(&format!("items.{name}"), what),
        }
    };
    all.iter().map(one).collect()
}

fn switches(given: &Given<'_>) -> Result<Vec<bool>, OrderError> {
    let all = given.value("on").and_then(Value::as_array);
    let on: Option<Vec<bool>> = all.and_then(|all| all.iter().map(Value::as_bool).collect());
    match on {
        Some(on) if (1..=255).contains(&on.len()) => Ok(on),
        _ => given.wrong(
            "on",
            "a list of true and false, the first of number 1, at most 255",
        ),
    }
}

/// Openings in cm; `null` leaves a gate as it is.
fn gates(given: &Given<'_>) -> Result<Vec<(bool, Number)>, OrderError> {
    let gate = |value: &Value| match value {
        Value::Null => Some((false, 0)),
        value => value
            .as_i64()
            .filter(|cm| (0..=9999).contains(cm))
            .map(|cm| (true, cm)),
    };
    let all = given.value("gates").and_then(Value::as_array);
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
        _ => given.wrong(
            "gates",
            "a list of openings from 0 to 9999 cm, `null` for a gate that stays, at most 255",
        ),
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
    use serde_json::{Map, json};

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
        for Method {
            name: method,
            code: function,
            parameters,
        } in METHODS
        {
            let mut params: Map<_, _> = parameters
                .split_whitespace()
                .map(|name| name.trim_end_matches('?'))
                .filter(|name| !matches!(*name, "items" | "on"))
                .map(|name| (name.to_owned(), all[name].clone()))
                .collect();
            let more = match *function {
                "40" => Some(("items", json!({"work_mode": 2}))),
                "41" => Some(("items", json!(["work_mode"]))),
                "42" => Some(("items", json!({"report_interval_h": 1}))),
                "43" => Some(("items", json!(["report_interval_h", "28"]))),
                "4C" | "4D" => Some(("on", json!([true, false, true]))),
                "4F" => Some(("on", json!(true))),
                _ => None,
            };
            params.extend(more.map(|(name, value)| (name.to_owned(), value)));
            let text = sent(method, &params.clone().into()).unwrap();
            assert!(text.starts_with(function), "{method}: {text}");
            assert_eq!(sent(&function.to_lowercase(), &params.into()).unwrap(), text);
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
