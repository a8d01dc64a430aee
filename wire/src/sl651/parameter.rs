//! Items of the basic and run-parameter tables (functions 40 to 43) and of the password (49).

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::group::Cursor;
use super::{Definition, Element, Error, Number};
use crate::hex;

/// Which table a function reads or sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Addresses, password, channels: 40 and 41.
    Basic,
    /// Intervals, resolutions, levels: 42 and 43.
    Run,
}

/// One item: what it is in its table and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Whose item.
    pub table: Table,
    /// Number in the table.
    pub element: Element,
    /// Length and decimals.
    pub definition: Definition,
    /// Its bytes, as long as `definition` says.
    pub raw: Vec<u8>,
}

impl Parameter {
    /// English name; `None` for a number the tables do not have.
    pub fn name(&self) -> Option<&'static str> {
        let code = self.element.0;
        Some(match (self.table, code) {
            (Table::Basic, 0x01) => "centre addresses",
            (Table::Basic, 0x02) => "station address",
            (Table::Basic, 0x03) => "password",
            (Table::Basic, 0x04..=0x0B) => {
                let names = [
                    "centre 1 main channel",
                    "centre 1 spare channel",
                    "centre 2 main channel",
                    "centre 2 spare channel",
                    "centre 3 main channel",
                    "centre 3 spare channel",
                    "centre 4 main channel",
                    "centre 4 spare channel",
                ];
                names[usize::from(code - 4)]
            }
            (Table::Basic, 0x0C) => "work mode",
            (Table::Basic, 0x0D) => "elements collected",
            (Table::Basic, 0x0E) => "relay range",
            (Table::Basic, 0x0F) => "card number",
            (Table::Run, 0x20) => "report interval, h",
            (Table::Run, 0x21) => "extra report interval, min",
            (Table::Run, 0x22) => "rain day start, h",
            (Table::Run, 0x23) => "sampling interval, s",
            (Table::Run, 0x24) => "level storage interval, min",
            (Table::Run, 0x25) => "rain resolution, mm",
            (Table::Run, 0x26) => "level resolution, cm",
            (Table::Run, 0x27) => "extra report rain threshold, mm",
            (Table::Run, 0x28..=0x2F) => "level base, m",
            (Table::Run, 0x30..=0x37) => "level correction, m",
            (Table::Run, 0x38..=0x3F) => "alarm level, m",
            (Table::Run, 0x40) => "extra report threshold above the alarm level, m",
            (Table::Run, 0x41) => "extra report threshold below the alarm level, m",
            _ => return None,
        })
    }

    /// The bytes read as what the item is, where that is known.
    pub fn meaning(&self) -> Option<String> {
        let number = || match Number::of_bcd(&self.raw, self.definition.decimals()) {
            Number::Value(decimal) => Some(decimal.to_string()),
            _ => None,
        };
        match (self.table, self.element.0) {
            (Table::Run, _) => number(),
            (Table::Basic, 0x01) => Some(join(self.raw.iter().map(|b| b.to_string()), ",")),
            (Table::Basic, 0x02) => Some(hex::upper(&self.raw)),
            (Table::Basic, 0x04..=0x0B) => channel(&self.raw),
            (Table::Basic, 0x0C) => Some(
                match self.raw.as_slice() {
                    [1] => "report",
                    [2] => "report and confirm",
                    [3] => "query and answer",
                    [4] => "service",
                    _ => return None,
                }
                .to_owned(),
            ),
            (Table::Basic, 0x0F) => {
                let is_text = self.raw.iter().all(|b| b.is_ascii_graphic());
                is_text.then(|| self.raw.iter().map(|b| char::from(*b)).collect())
            }
            _ => None,
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.element.bytes());
        out.push(self.definition.0);
        out.extend(&self.raw);
    }
}

fn join(parts: impl Iterator<Item = String>, by: &str) -> String {
    parts.collect::<Vec<_>>().join(by)
}

/// A channel's type byte and address; an internet address is three digits each of four numbers and six of the port.
fn channel(raw: &[u8]) -> Option<String> {
    let (kind, address) = raw.split_first()?;
    let name = match kind {
        0 => "off",
        1 => "SMS",
        2 => "IPv4",
        3 => "BeiDou",
        4 => "satellite",
        5 => "PSTN",
        6 => "VHF",
        _ => return None,
    };
    let digits = hex::upper(address);
    if *kind == 2 && digits.len() == 18 && digits.bytes().all(|b| b.is_ascii_digit()) {
        let number = |range: std::ops::Range<usize>| digits[range].parse::<u32>().ok().map(|n| n.to_string());
        let host = (0..4)
            .map(|i| number(3 * i..3 * i + 3))
            .collect::<Option<Vec<_>>>()?;
        return Some(format!("{name} {}:{}", host.join("."), number(12..18)?));
    }
    Some(format!("{name} {digits}").trim_end().to_owned())
}

/// Reads items to the end of the body.
pub(super) fn read(cursor: &mut Cursor<'_>, table: Table) -> Result<Vec<Parameter>, Error> {
    let mut items = Vec::new();
    while !cursor.is_empty() {
        let (element, definition) = cursor.element()?;
        items.push(Parameter {
            table,
            element,
            definition,
            raw: cursor.take(definition.n_bytes(), "a parameter")?.to_vec(),
        });
    }
    Ok(items)
}

impl Serialize for Parameter {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        map.serialize_entry("id", &self.element)?;
        map.serialize_entry("definition", &self.definition)?;
        map.serialize_entry("raw", &hex::lower(&self.raw))?;
        map.serialize_entry("name", &self.name())?;
        map.serialize_entry("meaning", &self.meaning())?;
        map.end()
    }
}
