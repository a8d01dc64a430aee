//! Orders as people give them: a method of a protocol's table, and its parameters as JSON.
//!
//! Each protocol has its table (`METHODS` of [`crate::hj212`], [`crate::sl651`], [`crate::gbt26875`]) and says what a method's
//! parameters make; how a method is found, which parameters it has, and what is said of wrong ones is one for all.

use onemap_model::Timestamp;
use serde_json::{Map, Value};

use crate::hj212::{RequestError, stamp};

/// Longest text of a parameter, in bytes.
const MOST_TEXT: usize = 128;
/// So much of a wrong name is shown.
const MOST_SHOWN: usize = 64;

/// One row of a protocol's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// What people call it.
    pub name: &'static str,
    /// Its number in the standard, as that writes it: `2011`, `4A`, `61`. A method is known by it, too.
    pub code: &'static str,
    /// Its parameters between blanks; those with `?` may be left out.
    pub parameters: &'static str,
}

impl Method {
    pub(crate) const fn new(name: &'static str, code: &'static str, parameters: &'static str) -> Self {
        Self {
            name,
            code,
            parameters,
        }
    }

    fn has(&self, parameter: &str) -> bool {
        let mut known = self.parameters.split_whitespace();
        known.any(|known| known.trim_end_matches('?') == parameter)
    }
}

/// The row of a table that a name or a number is; letters of a number may be small.
pub(crate) fn find(methods: &'static [Method], name: &str) -> Option<&'static Method> {
    methods
        .iter()
        .find(|method| method.name == name || method.code.eq_ignore_ascii_case(name))
}

/// Why an order is no request of its protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// No command is called so.
    #[error("no command is called `{name}`; commands are {list}", list = names(known))]
    Method {
        /// What was given.
        name: String,
        /// Those there are.
        known: &'static [Method],
    },
    /// A parameter is missing or is something else.
    #[error("{method} needs `{name}`: {what}")]
    Parameter {
        /// The method.
        method: &'static str,
        /// The parameter; of a part of it `items.` and the part's name.
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
    /// HJ 212 does not allow it.
    #[error(transparent)]
    Request(#[from] RequestError),
}

fn names(methods: &[Method]) -> String {
    let names: Vec<_> = methods.iter().map(|method| method.name).collect();
    names.join(", ")
}

fn shown(text: &str) -> String {
    text.chars().take(MOST_SHOWN).collect()
}

/// A method and the parameters that are given to it, each of which it has.
pub(crate) struct Given<'a> {
    pub(crate) method: &'static Method,
    params: Option<&'a Map<String, Value>>,
}

impl<'a> Given<'a> {
    /// # Errors
    /// [`OrderError::Method`]; [`OrderError::Parameter`] for what is no object; [`OrderError::Unknown`].
    pub(crate) fn of(methods: &'static [Method], name: &str, params: &'a Value) -> Result<Self, OrderError> {
        let Some(method) = find(methods, name) else {
            return Err(OrderError::Method {
                name: shown(name),
                known: methods,
            });
        };
        let none = Given { method, params: None };
        let params = match params {
            Value::Null => return Ok(none),
            Value::Object(params) => params,
            _ => return none.wrong("params", "an object"),
        };
        match params.keys().find(|name| !method.has(name)) {
            Some(name) => Err(OrderError::Unknown {
                method: method.name,
                name: shown(name),
            }),
            None => Ok(Given {
                method,
                params: Some(params),
            }),
        }
    }

    pub(crate) fn wrong<T>(&self, name: &str, what: impl Into<String>) -> Result<T, OrderError> {
        Err(OrderError::Parameter {
            method: self.method.name,
            name: shown(name),
            what: what.into(),
        })
    }

    /// A parameter that is there and not null.
    pub(crate) fn value(&self, name: &str) -> Option<&'a Value> {
        self.params?.get(name).filter(|value| !value.is_null())
    }

    pub(crate) fn maybe<T>(
        &self,
        name: &'static str,
        read: impl Fn(&Self, &'static str) -> Result<T, OrderError>,
    ) -> Result<Option<T>, OrderError> {
        self.value(name).map(|_| read(self, name)).transpose()
    }

    /// A text, or a number as it is written.
    pub(crate) fn text(&self, name: &'static str) -> Result<String, OrderError> {
        match self.value(name) {
            Some(Value::String(text)) if (1..=MOST_TEXT).contains(&text.len()) => Ok(text.clone()),
            Some(Value::Number(number)) => Ok(number.to_string()),
            _ => self.wrong(name, format!("a text of at most {MOST_TEXT} bytes")),
        }
    }

    pub(crate) fn number(&self, name: &'static str) -> Result<f64, OrderError> {
        match self.value(name).and_then(Value::as_f64) {
            Some(number) => Ok(number),
            None => self.wrong(name, "a number"),
        }
    }

    pub(crate) fn flag(&self, name: &'static str) -> Result<bool, OrderError> {
        match self.value(name) {
            Some(Value::Bool(flag)) => Ok(*flag),
            _ => self.wrong(name, "true or false"),
        }
    }

    /// A whole number from 0 to `most`.
    pub(crate) fn count(&self, name: &'static str, most: u32) -> Result<u32, OrderError> {
        let count = self.value(name).and_then(Value::as_u64);
        match count.and_then(|count| u32::try_from(count).ok()) {
            Some(count) if count <= most => Ok(count),
            _ => self.wrong(name, format!("a whole number up to {most}")),
        }
    }

    pub(crate) fn byte(&self, name: &'static str) -> Result<u8, OrderError> {
        self.count(name, u8::MAX.into()).map(|count| count as u8)
    }

    pub(crate) fn time(&self, name: &'static str) -> Result<Timestamp, OrderError> {
        let text = self.value(name).and_then(Value::as_str);
        let read = |text| stamp::read(text).or_else(|| Timestamp::parse(text).ok());
        match text.and_then(read) {
            Some(time) => Ok(time),
            None => self.wrong(name, "a time, as RFC 3339 or as YYYYMMDDhhmmss in Beijing time"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    const TABLES: [&[Method]; 3] = [
        crate::hj212::METHODS,
        crate::sl651::METHODS,
        crate::gbt26875::METHODS,
    ];

    #[test]
    fn each_name_and_each_number_is_one_method() {
        for table in TABLES {
            let mut seen = BTreeSet::new();
            for method in table {
                assert!(seen.insert(method.name) && seen.insert(method.code), "{method:?}");
                assert_eq!(find(table, method.name), Some(method));
                assert_eq!(find(table, method.code), Some(method));
                assert_eq!(find(table, &method.code.to_lowercase()), Some(method));
            }
        }
    }

    #[test]
    fn what_is_wrong_with_an_order_is_said_in_the_same_words_for_each_protocol() {
        for table in TABLES {
            let error = |name: &str, params: &Value| match Given::of(table, name, params) {
                Ok(_) => "none".to_owned(),
                Err(error) => error.to_string(),
            };
            let open = error("open", &json!({}));
            assert!(
                open.starts_with("no command is called `open`; commands are "),
                "{open}"
            );
            for name in ["read_clock", "set_clock"] {
                assert_eq!(error(name, &Value::Null), "none");
                assert_eq!(
                    error(name, &json!([1])),
                    format!("{name} needs `params`: an object")
                );
                assert_eq!(
                    error(name, &json!({"colour": 1})),
                    format!("{name} has no parameter `colour`")
                );
            }
            let long = "x".repeat(1000);
            assert!(error(&long, &Value::Null).len() < 1500);
        }
    }

    #[test]
    fn parameters_are_what_they_are_said_to_be() {
        const TABLE: &[Method] = &[Method::new("do", "1", "one two?")];
        let with = |value: Value| json!({ "one": value });
        for (value, text, count, byte) in [
            (json!("a"), true, false, false),
            (json!(""), false, false, false),
            (json!("x".repeat(129)), false, false, false),
            (json!(255), true, true, true),
            (json!(256), true, true, false),
            (json!(1000), true, false, false),
            (json!(-1), true, false, false),
            (json!(1.5), true, false, false),
            (json!(null), false, false, false),
            (json!([1]), false, false, false),
        ] {
            let params = with(value);
            let given = Given::of(TABLE, "1", &params).unwrap();
            assert_eq!(given.text("one").is_ok(), text, "{params}");
            assert_eq!(given.count("one", 999).is_ok(), count, "{params}");
            assert_eq!(given.byte("one").is_ok(), byte, "{params}");
            assert_eq!(given.maybe("two", Given::text), Ok(None));
        }
        for (text, is_time) in [
            ("20261126080000", true),
            ("2026-11-26T08:00:00+08:00", true),
            ("20261326080000", false),
            ("yesterday", false),
        ] {
            let params = with(json!(text));
            let given = Given::of(TABLE, "do", &params).unwrap();
            assert_eq!(given.time("one").is_ok(), is_time, "{text}");
        }
    }
}
