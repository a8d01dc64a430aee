//! Requests of GB/T 26875.3 as people order them.

use serde_json::Value;

use super::reply::Question;
use super::{Component, System};
use crate::hex;
use crate::order::{Given, Method, OrderError, find};

/// Methods and the type of application data that each is.
pub const METHODS: &[Method] = &[
    Method::new("read_system_state", "61", "system_type system_address"),
    Method::new("read_component_state", "62", COMPONENT),
    Method::new("read_analogue", "63", COMPONENT),
    Method::new(
        "read_system_operations",
        "64",
        "system_type system_address number from",
    ),
    Method::new("read_system_version", "65", "system_type system_address"),
    Method::new("read_system_configuration", "66", "system_type system_address"),
    Method::new("read_component_configuration", "67", COMPONENT),
    Method::new("read_system_time", "68", "system_type system_address"),
    Method::new("read_state", "81", ""),
    Method::new("read_operations", "84", "number from"),
    Method::new("read_version", "85", ""),
    Method::new("read_configuration", "86", ""),
    Method::new("read_clock", "88", ""),
    Method::new("initialise", "89", ""),
    Method::new("set_clock", "90", ""),
    Method::new("roll_call", "91", "minutes"),
];

const COMPONENT: &str = "system_type system_address component_type component_address";

/// The method that a name or a type's number is.
pub fn method_of(name: &str) -> Option<&'static Method> {
    find(METHODS, name)
}

/// The type of the data in the response (5) to a request; `None` of a control, which is acknowledged.
pub fn response_of(method: &Method) -> Option<u8> {
    let kind: u8 = method.code.parse().ok()?;
    (kind <= 88).then(|| kind - 60)
}

/// The question that an order is.
///
/// # Errors
/// [`OrderError`] for what is no request, and for parameters that it does not have or that are out of their range.
///
/// ```
/// # use onemap_wire::gbt26875::{System, question_of, reply::Question};
/// let params = serde_json::json!({"system_type": 1, "system_address": 2});
/// let question = question_of("read_system_state", &params).unwrap();
/// assert_eq!(question, Question::SystemState(System { kind: 1, address: 2 }));
/// assert!(question_of("roll_call", &serde_json::json!({"minutes": 256})).is_err());
/// ```
pub fn question_of(method: &str, params: &Value) -> Result<Question, OrderError> {
    let given = &Given::of(METHODS, method, params)?;
    Ok(match given.method.code {
        "61" => Question::SystemState(system(given)?),
        "62" => Question::ComponentState(component(given)?),
        "63" => Question::AnalogueValue(component(given)?),
        "64" => Question::SystemLog(system(given)?, given.byte("number")?, given.time("from")?),
        "65" => Question::SystemVersion(system(given)?),
        "66" => Question::SystemConfiguration(system(given)?),
        "67" => Question::ComponentConfiguration(component(given)?),
        "68" => Question::SystemTime(system(given)?),
        "81" => Question::DeviceState,
        "84" => Question::DeviceLog(given.byte("number")?, given.time("from")?),
        "85" => Question::DeviceVersion,
        "86" => Question::DeviceConfiguration,
        "88" => Question::DeviceTime,
        "89" => Question::Initialise,
        "90" => Question::SetClock,
        "91" => match given.byte("minutes")? {
            0 => return given.wrong("minutes", "1 to 255"),
            minutes => Question::RollCall { minutes },
        },
        // Every type of the list stands above.
        other => return given.wrong("method", format!("none is made of {other}")),
    })
}

fn system(given: &Given<'_>) -> Result<System, OrderError> {
    Ok(System {
        kind: given.byte("system_type")?,
        address: given.byte("system_address")?,
    })
}

fn component(given: &Given<'_>) -> Result<Component, OrderError> {
    let digits = given.value("component_address").and_then(Value::as_str);
    let digits = digits.map(str::as_bytes).filter(|digits| digits.len() == 8);
    let mut address = [0; 4];
    for (i, byte) in address.iter_mut().enumerate() {
        let pair = digits.and_then(|digits| hex::byte(&digits[2 * i..2 * i + 2]));
        match pair {
            Some(pair) => *byte = pair,
            None => {
                let what = "8 hexadecimal digits in the order of the frame";
                return given.wrong("component_address", what);
            }
        }
    }
    Ok(Component {
        system: system(given)?,
        kind: given.byte("component_type")?,
        address,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_model::Timestamp;
    use serde_json::{Map, json};

    use super::*;
    use crate::gbt26875::reply::Line;
    use crate::gbt26875::{Address, Clock};

    #[test]
    fn every_method_is_the_type_of_its_frame() {
        let all = json!({
            "system_type": 1, "system_address": 2, "component_type": 40, "component_address": "0A000200", "number": 5,
            "from": "2026-11-26T08:00:00+08:00", "minutes": 3,
        });
        let line = Line {
            source: Address([1; 6]),
            destination: Address([2; 6]),
            version: [1, 0],
            clock: Clock::Binary,
        };
        for row in METHODS {
            let (method, kind) = (row.name, row.code);
            let params: Map<_, _> = row
                .parameters
                .split_whitespace()
                .map(|name| (name.to_owned(), all[name].clone()))
                .collect();
            let question = question_of(method, &params.clone().into()).unwrap();
            assert_eq!(question_of(kind, &params.into()).unwrap(), question);
            let frame = line.ask(7, Timestamp::from_ms(0), &question).unwrap();
            let read = frame.read().unwrap().unwrap();
            assert_eq!(read.kind.to_string(), kind, "{method}");
            assert_eq!(method_of(kind), Some(row));
            let response = response_of(row);
            assert_eq!(response.is_some(), frame.command == 4, "{method}");
            assert!(response.is_none_or(|response| response == read.kind - 60));
        }
        let component = question_of(
            "read_analogue",
            &json!({"system_type": 1, "system_address": 2, "component_type": 40, "component_address": "0a000200"}),
        );
        let Ok(Question::AnalogueValue(component)) = component else {
            panic!("{component:?}")
        };
        assert_eq!(component.address, [0x0A, 0, 2, 0]);
    }

    #[test]
    fn what_is_no_request_is_refused_by_name() {
        let component = |address: Value| json!({"system_type": 1, "system_address": 2, "component_type": 40, "component_address": address});
        for (method, params, part) in [
            ("open", json!({}), "no command is called `open`"),
            ("92", json!({}), "no command is called `92`"),
            (
                "read_system_state",
                json!({"system_type": 1}),
                "needs `system_address`",
            ),
            (
                "read_system_state",
                json!({"system_type": 256, "system_address": 1}),
                "up to 255",
            ),
            (
                "read_analogue",
                component(json!("0A0002")),
                "8 hexadecimal digits",
            ),
            (
                "read_analogue",
                component(json!("0A0002äx")),
                "8 hexadecimal digits",
            ),
            ("read_analogue", component(json!(10)), "8 hexadecimal digits"),
            (
                "read_operations",
                json!({"number": 3, "from": "yesterday"}),
                "needs `from`",
            ),
            ("roll_call", json!({"minutes": 0}), "1 to 255"),
            ("read_clock", json!({"colour": 1}), "no parameter `colour`"),
            ("read_clock", json!([1]), "an object"),
        ] {
            let error = question_of(method, &params).unwrap_err().to_string();
            assert!(error.contains(part), "{method} {params}: {error}");
        }
    }
}
