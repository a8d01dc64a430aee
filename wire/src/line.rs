//! InfluxDB line protocol, as Telegraf and its kin write it.
//!
//! ```text
//! measurement[,tag=value…] field=value[,field=value…] [timestamp]
//! ```
//! Escapes (`\,` `\=` `\ ` in names, `\"` `\\` in quoted texts), quoted texts over several lines, `i` and `u`
//! integers, booleans, exponents, comments, CRLF and a missing timestamp are read. A line that cannot be read
//! costs only itself: [`Reader`] goes on with the next one.
//!
//! **What a field means**: the first of these that is known, profile keys before dictionary names:
//! `measurement_field`, `measurement.field`, `field`, and for a field called `value` the `measurement` itself.
//! The tag `ch` is the channel. Source: the line protocol reference of InfluxDB 2, and its reader
//! `models/points.go`.

mod params;
mod token;

use std::borrow::Cow;
use std::ops::Range;

use onemap_model::{Quantity, Refusal, Timestamp};

use crate::message::quoted;
use crate::scalar::boolean;
use crate::{Message, Profile, Refused, Sample, Scaling};

pub use params::{Params, Precision};
use token::Scan;

/// Most fields of one line.
pub const MAX_FIELDS: usize = 1024;
/// Most tags of one line.
pub const MAX_TAGS: usize = 256;

/// One line as it stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line<'a> {
    /// Its measurement, unescaped.
    pub measurement: Cow<'a, str>,
    /// Tags in the order of the line.
    pub tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Fields in the order of the line; at least one.
    pub fields: Vec<(Cow<'a, str>, Field<'a>)>,
    /// Its timestamp in the request's precision.
    pub stamp: Option<i64>,
}

/// A field's value.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Field<'a> {
    Float(f64),
    Int(i64),
    Unsigned(u64),
    Bool(bool),
    Text(Cow<'a, str>),
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {what}")]
pub struct BadLine {
    /// Its number in the payload, from 1.
    pub line: usize,
    /// Byte in the line, from 1.
    pub column: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// Where a line stands in its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the line, from 1; a quoted text may go over several.
    pub number: usize,
    /// Its bytes, with the line's end.
    pub range: Range<usize>,
}

/// Reads line after line; one [`Line`] is reused for all.
#[derive(Debug)]
pub struct Reader<'a> {
    scan: Scan<'a>,
    line: Line<'a>,
}

impl<'a> Reader<'a> {
    /// At the start of a payload.
    pub fn new(payload: &'a [u8]) -> Self {
        Self {
            scan: Scan::new(payload),
            line: Line::default(),
        }
    }

    /// The next line that is neither empty nor a comment; `None` at the end.
    pub fn next_line(&mut self) -> Option<(Place, Result<&Line<'a>, BadLine>)> {
        loop {
            let (start, number) = (self.scan.at, self.scan.line);
            self.scan.spaces();
            match self.scan.peek() {
                None => return None,
                Some(b'#') => self.scan.rest_of_line(),
                Some(b'\n') => self.scan.end_line(),
                Some(b'\r') if self.scan.at_end_of_line() => self.scan.end_line(),
                Some(_) => {
                    let read = self.read();
                    if read.is_err() {
                        self.scan.rest_of_line();
                    }
                    let place = Place {
                        number,
                        range: start..self.scan.at,
                    };
                    let read = match read {
                        Ok(()) => Ok(&self.line),
                        Err((at, what)) => Err(BadLine {
                            line: number,
                            column: at.saturating_sub(start) + 1,
                            what,
                        }),
                    };
                    return Some((place, read));
                }
            }
        }
    }

    fn read(&mut self) -> Result<(), (usize, &'static str)> {
        let Self { scan, line, .. } = self;
        line.tags.clear();
        line.fields.clear();
        line.stamp = None;
        line.measurement = scan.name(token::ends_measurement, "a measurement")?;
        while scan.took(b',') {
            let key = scan.name(token::ends_key, "a tag's name")?;
            scan.expect(b'=', "a tag needs `=` and a value")?;
            let value = scan.name(token::ends_tag_value, "a tag's value")?;
            if line.tags.len() == MAX_TAGS {
                return Err((scan.at, "more than 256 tags"));
            }
            line.tags.push((key, value));
        }
        scan.expect(b' ', "a blank and fields follow the measurement and its tags")?;
        scan.spaces();
        loop {
            let key = scan.name(token::ends_key, "a field's name")?;
            scan.expect(b'=', "a field needs `=` and a value")?;
            let value = scan.value()?;
            if line.fields.len() == MAX_FIELDS {
                return Err((scan.at, "more than 1024 fields"));
            }
            line.fields.push((key, value));
            if !scan.took(b',') {
                break;
            }
        }
        if !scan.at_end_of_line() {
            scan.expect(b' ', "a blank, a comma or the line's end follows a field")?;
            scan.spaces();
            if !scan.at_end_of_line() {
                line.stamp = Some(scan.stamp()?);
                scan.spaces();
                if !scan.at_end_of_line() {
                    return Err((scan.at, "something follows the timestamp"));
                }
            }
        }
        scan.end_line();
        Ok(())
    }
}

impl Line<'_> {
    /// A tag's value.
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| &**value)
    }

    /// Why [`Line::add_to`] refuses the line or a field of a known quantity: the first such reason. A field of
    /// which nothing is known is none. The profile is asked for only where a line may have a fault.
    pub fn fault<'p>(
        &self,
        number: usize,
        precision: Precision,
        profile: impl FnOnce() -> Option<&'p Profile>,
    ) -> Option<Refused> {
        let is_number = |field: &Field<'_>| !matches!(field, Field::Bool(_) | Field::Text(_));
        let is_plain = self.tag("ch").is_none_or(|ch| ch.parse::<u16>().is_ok())
            && self.stamp.is_none_or(|at| precision.milliseconds(at).is_some())
            && self.fields.iter().all(|(_, field)| is_number(field));
        if is_plain {
            return None;
        }
        let mut message = Message::default();
        self.add_to(&mut message, number, precision, profile());
        let mut refused = message.refused.into_iter();
        refused.find(|refused| refused.refusal != Refusal::UnknownQuantity)
    }

    /// Adds what the line says to a message; `number` is the line's, for what is refused.
    pub fn add_to(
        &self,
        message: &mut Message,
        number: usize,
        precision: Precision,
        profile: Option<&Profile>,
    ) {
        let mut refuse = |refusal, detail: String| {
            message
                .refused
                .push(Refused::new(refusal, format!("line {number}: {detail}")));
        };
        let channel = match self.tag("ch").map(str::parse::<u16>) {
            None => None,
            Some(Ok(channel)) => Some(channel),
            Some(Err(_)) => {
                return refuse(
                    Refusal::WrongShape,
                    "the tag `ch` is not a channel from 0 to 65535".to_owned(),
                );
            }
        };
        let measured_at = match self.stamp.map(|stamp| precision.milliseconds(stamp)) {
            None => None,
            Some(Some(ms)) => Some(Timestamp::from_ms(ms)),
            Some(None) => {
                return refuse(
                    Refusal::WrongShape,
                    "the timestamp is outside what milliseconds can say; is `precision` right?".to_owned(),
                );
            }
        };
        for (key, field) in &self.fields {
            let Some((quantity, own_channel, scaling)) = meaning(&self.measurement, key, profile) else {
                refuse(
                    Refusal::UnknownQuantity,
                    format!(
                        "neither `{0}_{1}`, `{0}.{1}` nor `{1}` is in the profile or the dictionary",
                        quoted(&self.measurement),
                        quoted(key)
                    ),
                );
                continue;
            };
            let number = match field {
                Field::Float(n) => *n,
                Field::Int(n) => *n as f64,
                Field::Unsigned(n) => *n as f64,
                Field::Bool(b) => match boolean(key, quantity, *b) {
                    Ok(number) => number,
                    Err(Refused { refusal, detail, .. }) => {
                        refuse(refusal, detail);
                        continue;
                    }
                },
                Field::Text(text) => {
                    let detail = format!("`{}` is the text `{}`, not a number", quoted(key), quoted(text));
                    refuse(Refusal::NotANumber, detail);
                    continue;
                }
            };
            message.samples.push(Sample {
                measured_at,
                scaling,
                ..Sample::new(quantity, channel.unwrap_or(own_channel), number)
            });
        }
    }
}

/// What a field of a measurement means.
fn meaning(measurement: &str, field: &str, profile: Option<&Profile>) -> Option<(Quantity, u16, Scaling)> {
    let is_value = field == "value";
    if let Some(keys) = profile.map(|p| &p.keys).filter(|keys| !keys.is_empty()) {
        let found = keys
            .get(&format!("{measurement}_{field}"))
            .or_else(|| keys.get(&format!("{measurement}.{field}")))
            .or_else(|| keys.get(field))
            .or_else(|| keys.get(measurement).filter(|_| is_value));
        if let Some(mapping) = found {
            return Some((mapping.quantity, mapping.channel, mapping.scaling));
        }
    }
    let quantity = if is_value {
        Quantity::named(measurement)
    } else {
        // The names are disjoint in practice; the longer one is the more exact.
        joined(measurement, field).or_else(|| Quantity::named(field))
    };
    Some((quantity?, 0, Scaling::NONE))
}

/// The dictionary name `measurement_field`, looked up without an allocation.
fn joined(measurement: &str, field: &str) -> Option<Quantity> {
    let mut name = [0u8; 64];
    let length = measurement.len() + 1 + field.len();
    let name = name.get_mut(..length)?;
    name[..measurement.len()].copy_from_slice(measurement.as_bytes());
    name[measurement.len()] = b'_';
    name[measurement.len() + 1..].copy_from_slice(field.as_bytes());
    Quantity::named(std::str::from_utf8(name).ok()?)
}

/// Reads a payload whose lines are all of one device.
pub fn decode(payload: &[u8], precision: Precision, profile: Option<&Profile>) -> Message {
    let mut message = Message::default();
    let mut reader = Reader::new(payload);
    while let Some((place, line)) = reader.next_line() {
        match line {
            Ok(line) => line.add_to(&mut message, place.number, precision, profile),
            Err(bad) => message
                .refused
                .push(Refused::new(Refusal::BrokenLine, bad.to_string())),
        }
    }
    message
}

#[cfg(test)]
mod tests;
