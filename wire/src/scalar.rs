//! One JSON value of which only the plain ones matter: numbers, texts, booleans. What is nested is
//! read over, so that one wrong value does not cost the rest of the message.

use std::borrow::Cow;
use std::fmt;

use onemap_model::{Quantity, Refusal};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::message::{Refused, quoted};

/// A JSON value, nested ones without their content.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar<'a> {
    Null,
    Bool(bool),
    Int(i64),
    /// A whole number above `i64::MAX`.
    Large(u64),
    Float(f64),
    Text(Cow<'a, str>),
    Nested,
}

impl Scalar<'_> {
    /// The number in it; else the refusal that says what it is. A boolean is a state's 0 or 1 and no number
    /// of anything else.
    pub(crate) fn number(&self, key: &str, quantity: Quantity) -> Result<f64, Refused> {
        let not_a_number = |what: fmt::Arguments<'_>| {
            Err(Refused::new(
                Refusal::NotANumber,
                format!("`{}` is {what}, not a number", quoted(key)),
            ))
        };
        match self {
            Scalar::Int(n) => Ok(*n as f64),
            Scalar::Large(n) => Ok(*n as f64),
            Scalar::Float(n) if n.is_finite() => Ok(*n),
            Scalar::Float(n) => not_a_number(format_args!("{n}")),
            Scalar::Bool(b) => boolean(key, quantity, *b),
            Scalar::Null => not_a_number(format_args!("null")),
            Scalar::Text(text) => not_a_number(format_args!("the text `{}`", quoted(text))),
            Scalar::Nested => Err(Refused::new(
                Refusal::WrongShape,
                format!("`{}` is an object or array, not one value", quoted(key)),
            )),
        }
    }

    /// A whole number that is not negative.
    pub(crate) fn whole(&self) -> Option<u64> {
        match self {
            Scalar::Int(n) => u64::try_from(*n).ok(),
            Scalar::Large(n) => Some(*n),
            _ => None,
        }
    }

    /// Milliseconds since 1970: a whole number, also one written like `1.7e12`.
    pub(crate) fn milliseconds(&self) -> Option<i64> {
        match self {
            Scalar::Int(n) => Some(*n),
            // 2^53: beyond it a float does not name one millisecond any more.
            Scalar::Float(n) if n.fract() == 0.0 && n.abs() <= 9_007_199_254_740_992.0 => Some(*n as i64),
            _ => None,
        }
    }
}

/// 0 or 1 of a quantity whose values are states, [`Quantity::is_state`].
pub(crate) fn boolean(key: &str, quantity: Quantity, value: bool) -> Result<f64, Refused> {
    if quantity.is_state() {
        return Ok(f64::from(u8::from(value)));
    }
    let detail = format!("`{}` is {value}, and {quantity} is no state", quoted(key));
    Err(Refused::new(Refusal::NotANumber, detail))
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Null)
    }
    fn visit_bool<E: Error>(self, b: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool(b))
    }
    fn visit_i64<E: Error>(self, n: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Int(n))
    }
    fn visit_u64<E: Error>(self, n: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(n).map_or(Scalar::Large(n), Scalar::Int))
    }
    fn visit_f64<E: Error>(self, n: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Float(n))
    }
    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nested)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nested)
    }
}

/// A text that borrows from the input when it has no escapes: an object's key.
pub(crate) struct Key<'a>(pub(crate) Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        d.deserialize_str(KeyVisitor)
    }
}
