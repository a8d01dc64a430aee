//! Rows as text: CSV, line protocol, a JSON object a line.

use std::io::Write as _;

use onemap_model::{Quality, Timestamp, Value};
use onemap_store::history::Damage;
use serde::Serialize;

use super::{COLUMNS, Row};
use crate::views::quality_names;

const MEMORY: &str = "memory takes every byte";

/// The first line.
pub(super) fn csv_head(out: &mut Vec<u8>) {
    out.extend_from_slice(COLUMNS.join(",").as_bytes());
    out.push(b'\n');
}

/// One line, as `onemap import readings` takes it; it passes over `received_at` and `quality`.
pub(super) fn csv(out: &mut Vec<u8>, Row { key, version }: &Row<'_>) {
    let quantity = key.quantity.definition();
    write!(out, "{},{},{},", key.device, quantity.name, key.channel).expect(MEMORY);
    csv_text(out, &quantity.unit);
    write!(out, ",{},{},", version.measured_at, version.received_at).expect(MEMORY);
    match &version.value {
        Value::Number(number) => write!(out, "{number}").expect(MEMORY),
        Value::Text(text) => csv_text(out, text),
    }
    out.push(b',');
    out.extend_from_slice(marks(version.quality).as_bytes());
    out.push(b'\n');
}

/// In quotes where it needs them (RFC 4180).
fn csv_text(out: &mut Vec<u8>, text: &str) {
    if text.contains([',', '"', '\n', '\r']) {
        write!(out, "\"{}\"", text.replace('"', "\"\"")).expect(MEMORY);
    } else {
        out.extend_from_slice(text.as_bytes());
    }
}

/// The names of marks, with `|` between them.
pub(super) fn marks(quality: Quality) -> String {
    quality_names(quality).join("|")
}

/// One line, as `/api/v2/write` takes it: the quantity as measurement, the device and a channel above 0 as tags,
/// the field `value`, the time in nanoseconds.
pub(super) fn line_protocol(out: &mut Vec<u8>, Row { key, version }: &Row<'_>) {
    line_name(out, &key.quantity.definition().name);
    out.extend_from_slice(b",device=");
    line_name(out, key.device.as_str());
    if key.channel > 0 {
        write!(out, ",ch={}", key.channel).expect(MEMORY);
    }
    out.extend_from_slice(b" value=");
    match &version.value {
        Value::Number(number) => write!(out, "{number}").expect(MEMORY),
        Value::Text(text) => {
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
            write!(out, "\"{escaped}\"").expect(MEMORY);
        }
    }
    // Beyond the years 1677 to 2262 this is more than a reader takes, and still the right number.
    let ns = i128::from(version.measured_at.ms()) * 1_000_000;
    writeln!(out, " {ns}").expect(MEMORY);
}

fn line_name(out: &mut Vec<u8>, name: &str) {
    for c in name.chars() {
        if matches!(c, ',' | '=' | ' ') {
            out.push(b'\\');
        }
        write!(out, "{c}").expect(MEMORY);
    }
}

/// The last line of an export that is without damaged rows: a comment in line protocol, and no row of CSV.
pub(super) fn damaged(out: &mut Vec<u8>, damage: &Damage) {
    let Damage { rows, from, to } = damage;
    writeln!(out, "# damaged: {rows} rows from {from} to {to} are left out").expect(MEMORY);
}

/// The same as an object.
pub(super) fn damaged_object(out: &mut Vec<u8>, damage: &Damage) {
    serde_json::to_writer(&mut *out, &serde_json::json!({ "damaged": damage })).expect(MEMORY);
    out.push(b'\n');
}

#[derive(Serialize)]
struct Object<'a> {
    device: &'a str,
    quantity: &'a str,
    channel: u16,
    unit: &'a str,
    measured_at: Timestamp,
    received_at: Timestamp,
    value: &'a Value,
    quality: Vec<&'static str>,
}

/// One JSON object and a line's end.
pub(super) fn ndjson(out: &mut Vec<u8>, Row { key, version }: &Row<'_>) {
    let quantity = key.quantity.definition();
    let object = Object {
        device: key.device.as_str(),
        quantity: &quantity.name,
        channel: key.channel,
        unit: &quantity.unit,
        measured_at: version.measured_at,
        received_at: version.received_at,
        value: &version.value,
        quality: quality_names(version.quality),
    };
    serde_json::to_writer(&mut *out, &object).expect(MEMORY);
    out.push(b'\n');
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_model::{DeviceId, Quantity, SeriesKey};
    use onemap_store::history::Version;

    use super::*;

    pub(in super::super) fn row(
        device: &str,
        channel: u16,
        at: i64,
        value: Value,
        quality: u16,
    ) -> (SeriesKey, Version) {
        let key = SeriesKey {
            device: DeviceId::new(device).unwrap(),
            quantity: Quantity::named("pm2_5").unwrap(),
            channel,
        };
        let version = Version {
            measured_at: Timestamp::from_ms(at),
            value,
            quality: Quality(quality),
            received_at: Timestamp::from_ms(at + 1500),
            position: None,
            shown: true,
        };
        (key, version)
    }

    #[test]
    fn a_row_is_written_as_each_format_has_it() {
        let at = 1_800_000_000_001;
        let both = Quality::RESENT.0 | Quality::SUSPECT.0;
        let text = |text: &str| Value::Text(text.into());
        for (channel, value, quality, csv_want, line_want) in [
            (
                0,
                Value::Number(35.0),
                0,
                "a-1,pm2_5,0,ug/m3,2027-01-15T16:00:00.001+08:00,2027-01-15T16:00:01.501+08:00,35,",
                "pm2_5,device=a-1 value=35 1800000000001000000",
            ),
            (
                7,
                Value::Number(-0.1),
                both,
                "a-1,pm2_5,7,ug/m3,2027-01-15T16:00:00.001+08:00,2027-01-15T16:00:01.501+08:00,-0.1,resent|suspect",
                "pm2_5,device=a-1,ch=7 value=-0.1 1800000000001000000",
            ),
            (
                0,
                text("开, \"x\\\""),
                0,
                "a-1,pm2_5,0,ug/m3,2027-01-15T16:00:00.001+08:00,2027-01-15T16:00:01.501+08:00,\"开, \"\"x\\\"\"\",",
                "pm2_5,device=a-1 value=\"开, \\\"x\\\\\\\"\" 1800000000001000000",
            ),
        ] {
            let (key, version) = row("a-1", channel, at, value, quality);
            let row = Row { key: &key, version };
            let written = |write: fn(&mut Vec<u8>, &Row<'_>)| {
                let mut out = Vec::new();
                write(&mut out, &row);
                String::from_utf8(out).unwrap()
            };
            assert_eq!(written(csv), format!("{csv_want}\n"));
            assert_eq!(written(line_protocol), format!("{line_want}\n"));
            let object: serde_json::Value = serde_json::from_str(&written(ndjson)).unwrap();
            assert_eq!(object["value"], serde_json::to_value(&row.version.value).unwrap());
            assert_eq!(object["channel"], channel);
        }
    }

    #[test]
    fn numbers_come_back_to_the_bit() {
        for number in [
            0.1 + 0.2,
            1e300,
            5e-324,
            -0.0,
            1.0 / 3.0,
            f64::MAX,
            9_007_199_254_740_993.0,
        ] {
            let (key, version) = row("d", 0, 0, Value::Number(number), 0);
            let row = Row { key: &key, version };
            let mut out = Vec::new();
            csv(&mut out, &row);
            let line = String::from_utf8(out).unwrap();
            let back: f64 = line.split(',').nth(6).unwrap().parse().unwrap();
            assert_eq!(back.to_bits(), number.to_bits());
            let mut out = Vec::new();
            line_protocol(&mut out, &row);
            let mut reader = onemap_wire::line::Reader::new(&out);
            let (_, read) = reader.next_line().unwrap();
            match read.unwrap().fields[0].1 {
                onemap_wire::line::Field::Float(back) => assert_eq!(back.to_bits(), number.to_bits()),
                ref other => panic!("{other:?}"),
            }
        }
    }
}
