//! Items of the basic and run-parameter tables as people name them: `report_interval_h`, and their values from JSON.

use std::sync::OnceLock;

use serde_json::Value;

use super::{Decimal, Definition, Element, Number, Parameter, Table};
use crate::hex;

/// An item that a table has.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) table: Table,
    pub(super) element: Element,
    pub(super) name: String,
    pub(super) definition: Definition,
    form: Form,
}

/// What its value is.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// Addresses of four centres, 0 for none.
    Centres,
    Station,
    Password,
    Channel,
    Mode,
    Hex,
    Text,
    /// From, to, in units of the last decimal.
    Number(i128, i128),
}

const CHANNELS: [&str; 8] = [
    "centre_1_main",
    "centre_1_spare",
    "centre_2_main",
    "centre_2_spare",
    "centre_3_main",
    "centre_3_spare",
    "centre_4_main",
    "centre_4_spare",
];
const MODES: [&str; 4] = ["report", "report and confirm", "query and answer", "service"];
/// Kinds of a channel, by their number.
const KINDS: [&str; 7] = ["off", "SMS", "IPv4", "BeiDou", "satellite", "PSTN", "VHF"];

fn all() -> &'static [Item] {
    static ALL: OnceLock<Vec<Item>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all = Vec::new();
        let mut add = |table, code, name: String, definition, form| {
            all.push(Item {
                table,
                element: Element(code),
                name,
                definition: Definition(definition),
                form,
            });
        };
        let basic = Table::Basic;
        add(basic, 0x01, "centre_addresses".into(), 0x20, Form::Centres);
        add(basic, 0x02, "station_address".into(), 0x28, Form::Station);
        add(basic, 0x03, "password".into(), 0x10, Form::Password);
        for (code, name) in (0x04..).zip(CHANNELS) {
            add(basic, code, name.into(), 0x50, Form::Channel);
        }
        add(basic, 0x0C, "work_mode".into(), 0x08, Form::Mode);
        add(basic, 0x0D, "elements".into(), 0x40, Form::Hex);
        add(basic, 0x0E, "relay_range".into(), 0x50, Form::Hex);
        add(basic, 0x0F, "card_number".into(), 0x58, Form::Text);
        for (code, name, definition, from, to) in [
            (0x20, "report_interval_h", 0x08, 1, 24),
            (0x21, "extra_interval_min", 0x08, 0, 59),
            (0x22, "rain_day_start_h", 0x08, 0, 23),
            (0x23, "sampling_interval_s", 0x10, 0, 9999),
            (0x24, "level_storage_min", 0x08, 1, 59),
            (0x25, "rain_resolution_mm", 0x09, 1, 99),
            (0x26, "level_resolution_cm", 0x09, 1, 99),
            (0x27, "rain_threshold_mm", 0x08, 1, 99),
            (0x40, "above_alarm_threshold_m", 0x12, 1, 9999),
            (0x41, "below_alarm_threshold_m", 0x12, 1, 9999),
        ] {
            add(Table::Run, code, name.into(), definition, Form::Number(from, to));
        }
        for (code, name, definition, from, to) in [
            (0x28, "level_base", 0x23, -999_999, 9_999_999),
            (0x30, "level_correction", 0x1B, -9999, 99_999),
            (0x38, "alarm_level", 0x12, -99, 9999),
        ] {
            for n in 1..=8 {
                let name = format!("{name}_{n}_m");
                add(Table::Run, code + n - 1, name, definition, Form::Number(from, to));
            }
        }
        all
    })
}

/// The item of a table that a name or a number (`20`) is.
pub(super) fn item(table: Table, name: &str) -> Option<&'static Item> {
    let mut of_table = all().iter().filter(|item| item.table == table);
    of_table.find(|item| item.name == name || item.element.to_string() == name)
}

/// The definition byte that is usual for an item.
pub(super) fn usual(table: Table, element: Element) -> Option<Definition> {
    let mut of_table = all().iter().filter(|item| item.table == table);
    let item = of_table.find(|item| item.element == element)?;
    Some(item.definition)
}

/// The names of a table's items.
pub(super) fn names(table: Table) -> String {
    let of_table = all().iter().filter(|item| item.table == table);
    of_table
        .map(|item| item.name.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

impl Item {
    /// The item with a value; otherwise what the value is to be.
    pub(super) fn with(&self, value: &Value) -> Result<Parameter, String> {
        let text = value.as_str();
        let (definition, raw) = match self.form {
            Form::Centres => {
                let all: Option<Vec<u8>> = value.as_array().and_then(|all| all.iter().map(byte).collect());
                match all {
                    Some(all) if all.len() == 4 => (self.definition, all),
                    _ => return Err("four numbers from 0 to 255".to_owned()),
                }
            }
            Form::Station => {
                let raw = text.and_then(|text| hex::read(text.as_bytes()).ok());
                let raw = raw.filter(|raw| raw.len() == 5);
                (self.definition, raw.ok_or("ten hexadecimal digits")?)
            }
            Form::Password => return Err("set by set_password".to_owned()),
            Form::Channel => sized(text.and_then(channel).ok_or(
                "`off`, `IPv4 192.0.2.7:9651`, or `SMS`, `BeiDou`, `satellite`, `PSTN` or `VHF` and hexadecimal digits",
            )?)?,
            Form::Mode => {
                let by_name = MODES.iter().position(|mode| Some(*mode) == text);
                let number = by_name
                    .map(|i| i as u64 + 1)
                    .or_else(|| value.as_u64().filter(|n| (1..=4).contains(n)));
                let number = number.ok_or_else(|| format!("1 to 4 ({})", MODES.join(", ")))?;
                (self.definition, vec![number as u8])
            }
            Form::Hex => {
                let raw = text.and_then(|text| hex::read(text.as_bytes()).ok());
                let is_right = |raw: &Vec<u8>| match self.definition.0 {
                    0x40 => raw.len() == 8,
                    _ => !raw.is_empty(),
                };
                let what = "hexadecimal digits, 16 of `elements`";
                sized(raw.filter(is_right).ok_or(what)?)?
            }
            Form::Text => {
                let is_right = |text: &&str| text.bytes().all(|b| b.is_ascii_graphic()) && !text.is_empty();
                let what = "letters and digits";
                sized(text.filter(is_right).ok_or(what)?.as_bytes().to_vec())?
            }
            Form::Number(from, to) => (self.definition, self.number(value, from, to)?),
        };
        Ok(Parameter {
            table: self.table,
            element: self.element,
            definition,
            raw,
        })
    }

    fn number(&self, value: &Value, from: i128, to: i128) -> Result<Vec<u8>, String> {
        let (n_bytes, decimals) = (self.definition.n_bytes(), self.definition.decimals());
        let shown = |digits| Decimal { digits, decimals };
        let what = || {
            format!(
                "a number from {} to {} with at most {decimals} decimals",
                shown(from),
                shown(to)
            )
        };
        let given = match value {
            Value::Number(number) => Decimal::of_text(&number.to_string()),
            Value::String(text) => Decimal::of_text(text),
            _ => None,
        };
        let given = given
            .and_then(|given| given.with_decimals(decimals))
            .ok_or_else(what)?;
        if !(from..=to).contains(&given.digits) {
            return Err(what());
        }
        Number::Value(given).to_bcd(n_bytes, decimals).ok_or_else(what)
    }
}

fn byte(value: &Value) -> Option<u8> {
    value.as_u64().and_then(|n| u8::try_from(n).ok())
}

/// Bytes with the definition of their length.
fn sized(raw: Vec<u8>) -> Result<(Definition, Vec<u8>), String> {
    let definition = Definition::new(raw.len(), 0).ok_or("at most 31 bytes")?;
    Ok((definition, raw))
}

/// A channel from its text, the reverse of [`Parameter::meaning`].
fn channel(text: &str) -> Option<Vec<u8>> {
    let (kind, address) = text.split_once(' ').unwrap_or((text, ""));
    let kind = KINDS.iter().position(|name| *name == kind)?;
    let mut raw = vec![kind as u8];
    if kind != 2 {
        raw.extend(hex::read(address.as_bytes()).ok()?);
        return ((kind == 0) == address.is_empty()).then_some(raw);
    }
    let address: std::net::SocketAddrV4 = address.parse().ok()?;
    let [a, b, c, d] = address.ip().octets();
    let digits = format!("{a:03}{b:03}{c:03}{d:03}{:06}", address.port());
    raw.extend(hex::read(digits.as_bytes()).ok()?);
    Some(raw)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn every_value_has_its_bytes_and_its_meaning() {
        for (table, name, value, bytes, meaning) in [
            (
                Table::Basic,
                "centre_addresses",
                json!([5, 0, 0, 0]),
                "0120 05000000",
                Some("5,0,0,0"),
            ),
            (
                Table::Basic,
                "station_address",
                json!("0011223344"),
                "0228 0011223344",
                Some("0011223344"),
            ),
            (
                Table::Basic,
                "centre_1_main",
                json!("IPv4 218.94.153.172:9708"),
                "0450 02218094153172009708",
                Some("IPv4 218.94.153.172:9708"),
            ),
            (
                Table::Basic,
                "05",
                json!("SMS A13012345678"),
                "0538 01A13012345678",
                Some("SMS A13012345678"),
            ),
            (
                Table::Basic,
                "centre_4_spare",
                json!("off"),
                "0B08 00",
                Some("off"),
            ),
            (
                Table::Basic,
                "work_mode",
                json!(2),
                "0C08 02",
                Some("report and confirm"),
            ),
            (
                Table::Basic,
                "work_mode",
                json!("query and answer"),
                "0C08 03",
                Some("query and answer"),
            ),
            (
                Table::Basic,
                "elements",
                json!("8001000000000000"),
                "0D40 8001000000000000",
                None,
            ),
            (
                Table::Basic,
                "card_number",
                json!("1013"),
                "0F20 31303133",
                Some("1013"),
            ),
            (Table::Run, "report_interval_h", json!(1), "2008 01", Some("1")),
            (
                Table::Run,
                "rain_resolution_mm",
                json!(0.5),
                "2509 05",
                Some("0.5"),
            ),
            (
                Table::Run,
                "level_base_1_m",
                json!("10"),
                "2823 00010000",
                Some("10.000"),
            ),
            (
                Table::Run,
                "level_correction_1_m",
                json!(-0.2),
                "301B FF0200",
                Some("-0.200"),
            ),
            (Table::Run, "41", json!(0.2), "4112 0020", Some("0.20")),
        ] {
            let set = item(table, name).unwrap().with(&value).unwrap();
            let mut out = Vec::new();
            set.write(&mut out);
            assert_eq!(hex::upper(&out), bytes.replace(' ', ""), "{name}");
            assert_eq!(set.meaning().as_deref(), meaning, "{name}");
        }
    }

    #[test]
    fn what_does_not_fit_says_what_would() {
        for (table, name, value, part) in [
            (Table::Basic, "centre_addresses", json!([5, 0, 0]), "four numbers"),
            (Table::Basic, "password", json!("1234"), "set_password"),
            (
                Table::Basic,
                "centre_1_main",
                json!("IPv4 host:9708"),
                "192.0.2.7",
            ),
            (Table::Basic, "work_mode", json!(5), "1 to 4"),
            (Table::Basic, "elements", json!("80"), "16 of"),
            (Table::Basic, "card_number", json!("x".repeat(32)), "31 bytes"),
            (Table::Run, "report_interval_h", json!(25), "from 1 to 24"),
            (Table::Run, "report_interval_h", json!(1.5), "0 decimals"),
            (Table::Run, "level_base_1_m", json!(-1000), "from -999.999"),
            (Table::Run, "alarm_level_8_m", json!("x"), "2 decimals"),
        ] {
            let error = item(table, name).unwrap().with(&value).unwrap_err();
            assert!(error.contains(part), "{name}: {error}");
        }
        assert!(item(Table::Run, "work_mode").is_none());
    }
}
