//! Requests as people order them: a method and parameters as JSON.

use onemap_model::Timestamp;
use serde_json::{Map, Value};

use super::reply::Question;
use super::{Component, System};
use crate::hex;

/// Methods, the type of application data that each is, and its parameters. A method is also known by the number of its
/// type.
pub const METHODS: &[(&str, &str, &str)] = &[
    ("read_system_state", "61", "system_type system_address"),
    ("read_component_state", "62", COMPONENT),
    ("read_analogue", "63", COMPONENT),
    (
        "read_system_operations",
        "64",
        "system_type system_address number from",
    ),
    ("read_system_version", "65", "system_type system_address"),
    ("read_system_configuration", "66", "system_type system_address"),
    ("read_component_configuration", "67", COMPONENT),
    ("read_system_time", "68", "system_type system_address"),
    ("read_state", "81", ""),
    ("read_operations", "84", "number from"),
    ("read_version", "85", ""),
    ("read_configuration", "86", ""),
    ("read_clock", "88", ""),
    ("initialise", "89", ""),
    ("set_clock", "90", ""),
    ("roll_call", "91", "minutes"),
];

const COMPONENT: &str = "system_type system_address component_type component_address";

/// Why an order is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// No request is called so.
    #[error("no request is called `{0}`; requests are {list}", list = names())]
    Method(String),
    /// A parameter is missing or is something else.
    #[error("{method} needs `{name}`: {what}")]
    Parameter {
        /// The method.
        method: &'static str,
        /// The parameter.
        name: &'static str,
        /// What it is to be.
        what: &'static str,
    },
    /// A parameter that the request does not have.
    #[error("{method} has no parameter `{name}`")]
    Unknown {
        /// The method.
        method: &'static str,
        /// The name that was given.
        name: String,
    },
}

fn names() -> String {
    let names: Vec<_> = METHODS.iter().map(|(name, ..)| *name).collect();
    names.join(", ")
}

/// The method that a name or a type's number is.
pub fn method_of(name: &str) -> Option<&'static str> {
    let known = METHODS
        .iter()
        .find(|(method, kind, _)| *method == name || *kind == name);
    known.map(|(method, ..)| *method)
}

/// The type of the data in the response (5) to a request; `None` of a control, which is acknowledged.
pub fn response_of(method: &str) -> Option<u8> {
    let (_, kind, _) = METHODS.iter().find(|(name, ..)| *name == method)?;
    let kind: u8 = kind.parse().ok()?;
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
    let found = METHODS
        .iter()
        .find(|(name, kind, _)| *name == method || *kind == method);
    let Some((method, kind, known)) = found else {
        return Err(OrderError::Method(method.chars().take(64).collect()));
    };
    let empty = Map::new();
    let params = match params {
        Value::Null => &empty,
        Value::Object(params) => params,
        _ => {
            let (name, what) = ("params", "an object");
            return Err(OrderError::Parameter { method, name, what });
        }
    };
    if let Some(name) = params.keys().find(|name| !known.split(' ').any(|k| k == *name)) {
        let name = name.chars().take(64).collect();
        return Err(OrderError::Unknown { method, name });
    }
    Given { method, params }.question(kind)
}

struct Given<'a> {
    method: &'static str,
    params: &'a Map<String, Value>,
}

impl Given<'_> {
    fn question(&self, kind: &str) -> Result<Question, OrderError> {
        Ok(match kind {
            "61" => Question::SystemState(self.system()?),
            "62" => Question::ComponentState(self.component()?),
            "63" => Question::AnalogueValue(self.component()?),
            "64" => Question::SystemLog(self.system()?, self.byte("number")?, self.time("from")?),
            "65" => Question::SystemVersion(self.system()?),
            "66" => Question::SystemConfiguration(self.system()?),
            "67" => Question::ComponentConfiguration(self.component()?),
            "68" => Question::SystemTime(self.system()?),
            "81" => Question::DeviceState,
            "84" => Question::DeviceLog(self.byte("number")?, self.time("from")?),
            "85" => Question::DeviceVersion,
            "86" => Question::DeviceConfiguration,
            "88" => Question::DeviceTime,
            "89" => Question::Initialise,
            "90" => Question::SetClock,
            "91" => match self.byte("minutes")? {
                0 => return self.wrong("minutes", "1 to 255"),
                minutes => Question::RollCall { minutes },
            },
            // Every type of the list stands above.
            other => return Err(OrderError::Method(other.to_owned())),
        })
    }

    fn wrong<T>(&self, name: &'static str, what: &'static str) -> Result<T, OrderError> {
        let method = self.method;
        Err(OrderError::Parameter { method, name, what })
    }

    fn byte(&self, name: &'static str) -> Result<u8, OrderError> {
        let byte = self.params.get(name).and_then(Value::as_u64);
        match byte.and_then(|byte| u8::try_from(byte).ok()) {
            Some(byte) => Ok(byte),
            None => self.wrong(name, "a whole number up to 255"),
        }
    }

    fn system(&self) -> Result<System, OrderError> {
        Ok(System {
            kind: self.byte("system_type")?,
            address: self.byte("system_address")?,
        })
    }

    fn component(&self) -> Result<Component, OrderError> {
        let digits = self.params.get("component_address").and_then(Value::as_str);
        let digits = digits.map(str::as_bytes).filter(|digits| digits.len() == 8);
        let mut address = [0; 4];
        for (i, byte) in address.iter_mut().enumerate() {
            let pair = digits.and_then(|digits| hex::byte(&digits[2 * i..2 * i + 2]));
            match pair {
                Some(pair) => *byte = pair,
                None => {
                    let what = "8 hexadecimal digits in the order of the frame";
                    return self.wrong("component_address", what);
                }
            }
        }
        Ok(Component {
            system: self.system()?,
            kind: self.byte("component_type")?,
            address,
        })
    }

    fn time(&self, name: &'static str) -> Result<Timestamp, OrderError> {
        let text = self.params.get(name).and_then(Value::as_str);
        match text.and_then(|text| Timestamp::parse(text).ok()) {
            Some(time) => Ok(time),
            None => self.wrong(name, "a time, as RFC 3339"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

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
        for (method, kind, known) in METHODS {
            let params: Map<_, _> = known
                .split_whitespace()
                .map(|name| (name.to_owned(), all[name].clone()))
                .collect();
            let question = question_of(method, &params.clone().into()).unwrap();
            assert_eq!(question_of(kind, &params.into()).unwrap(), question);
            let frame = line.ask(7, Timestamp::from_ms(0), &question).unwrap();
            let read = frame.read().unwrap().unwrap();
            assert_eq!(read.kind.to_string(), *kind, "{method}");
            assert_eq!(method_of(kind), Some(*method));
            let response = response_of(method);
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
            ("open", json!({}), "no request is called `open`"),
            ("92", json!({}), "no request is called `92`"),
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
