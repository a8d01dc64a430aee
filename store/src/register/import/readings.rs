//! Readings in long form, one value a line.

use onemap_model::{DeviceId, Quantity, Timestamp};

use super::csv;
use super::entities_csv::bad_line;
use super::{ImportError, ImportPlace};

/// One value of a file, in the quantity's canonical unit.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadingRow {
    /// Its line, from 1.
    pub line: usize,
    /// Whose. Whether the register knows the device is not looked at here.
    pub device: DeviceId,
    /// What.
    pub quantity: Quantity,
    /// Which of several alike sensors, from 0.
    pub channel: u16,
    /// When it was measured.
    pub at: Timestamp,
    /// The number.
    pub value: f64,
}

/// A column, and the names it goes by.
const COLUMNS: [(&str, &[&str]); 6] = [
    ("device", &["device", "device_id", "设备", "设备编号"]),
    ("quantity", &["quantity", "q", "指标", "监测项"]),
    (
        "time",
        &["time", "timestamp", "measured_at", "t", "时间", "监测时间"],
    ),
    ("value", &["value", "v", "数值", "值"]),
    ("ch", &["ch", "channel", "通道"]),
    ("unit", &["unit", "单位"]),
];
const DEVICE: usize = 0;
const QUANTITY: usize = 1;
const TIME: usize = 2;
const VALUE: usize = 3;
const CH: usize = 4;
const UNIT: usize = 5;

/// Reads readings from comma-separated text, its first line naming the columns `device`, `quantity`, `time`,
/// `value` and, if wanted, `ch` (else 0) and `unit` (else the canonical one); Chinese names too. Times are RFC 3339
/// with an offset, or milliseconds since 1970. Other columns are passed over.
///
/// Yields a row or an error for each line, in order. A first line that is not usable gives one error.
pub fn import_readings_csv(text: &str) -> impl Iterator<Item = Result<ReadingRow, ImportError>> {
    let mut lines = csv::lines(text);
    let (header, mut broken) = match header(&mut lines) {
        Ok(header) => (header, None),
        Err(error) => (Header::default(), Some(error)),
    };
    std::iter::from_fn(move || {
        if let Some(error) = broken.take() {
            lines = csv::lines("");
            return Some(Err(error));
        }
        let line = lines.next()?;
        Some(line.map_err(bad_line).and_then(|line| match damaged(&line) {
            Some(said) => Err(ImportError::new(ImportPlace::Line(line.number), said)),
            None => row(&line, &header),
        }))
    })
}

/// What an export says at its end when it is not whole; `None` for any other line.
fn damaged(line: &csv::Line) -> Option<String> {
    let first = line.fields.first()?;
    let said = first.trim().strip_prefix("# damaged: ")?;
    Some(format!("the file was exported from a damaged history: {said}"))
}

/// Which field of a line each of [`COLUMNS`] is, and how many fields a line has.
#[derive(Default)]
struct Header {
    columns: [Option<usize>; 6],
    n_fields: usize,
}

fn header(lines: &mut csv::Lines<'_>) -> Result<Header, ImportError> {
    let line = match lines.next() {
        None => return Err(ImportError::new(ImportPlace::Line(1), "the file is empty")),
        Some(line) => line.map_err(bad_line)?,
    };
    let names: Vec<String> = line
        .fields
        .iter()
        .map(|name| name.trim().to_lowercase())
        .collect();
    let columns = COLUMNS.map(|(_, usual)| {
        usual
            .iter()
            .find_map(|usual| names.iter().position(|n| n == usual))
    });
    for needed in [DEVICE, QUANTITY, TIME, VALUE] {
        if columns[needed].is_none() {
            let message = format!("no column gives the {}", COLUMNS[needed].0);
            return Err(ImportError::new(ImportPlace::Line(line.number), message));
        }
    }
    Ok(Header {
        columns,
        n_fields: names.len(),
    })
}

fn row(line: &csv::Line, header: &Header) -> Result<ReadingRow, ImportError> {
    let place = ImportPlace::Line(line.number);
    let bad = |message: String| ImportError::new(place, message);
    if line.fields.len() != header.n_fields {
        let (got, want) = (line.fields.len(), header.n_fields);
        return Err(bad(format!("{got} fields where the first line has {want}")));
    }
    let text = |column: usize| header.columns[column].map_or("", |i| line.fields[i].trim());
    let device = DeviceId::new(text(DEVICE)).map_err(|error| ImportError::of(place, &error))?;
    let quantity = Quantity::named(text(QUANTITY))
        .ok_or_else(|| bad(format!("no quantity is called `{}`", text(QUANTITY))))?;
    let channel = match text(CH) {
        "" => 0,
        ch => ch
            .parse()
            .map_err(|_| bad(format!("ch `{ch}` is not 0 to 65535")))?,
    };
    let at = match text(TIME).parse::<i64>() {
        Ok(ms) => Timestamp::from_ms(ms),
        Err(_) => Timestamp::parse(text(TIME)).map_err(|error| bad(error.to_string()))?,
    };
    let value = match text(VALUE).parse::<f64>() {
        Ok(value) if value.is_finite() => value,
        _ => return Err(bad(format!("value `{}` is not a number", text(VALUE)))),
    };
    let value = match text(UNIT) {
        "" => value,
        unit => quantity
            .convert(value, unit)
            .ok_or_else(|| bad(format!("{quantity} is not given in `{unit}`")))?,
    };
    Ok(ReadingRow {
        line: line.number,
        device,
        quantity,
        channel,
        at,
        value,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rows_are_read_and_bad_ones_named() {
        let text = "设备,指标,通道,时间,数值,单位,备注\n\
            d1,pm2_5,,2026-11-23T08:00:00+08:00,35,,\n\
            d1,pm2_5,1,1795392000000,0.035,mg/m3,\n\
            d 1,pm2_5,,2026-11-23T08:00:00+08:00,35,,\n\
            d1,pm3,,2026-11-23T08:00:00+08:00,35,,\n\
            d1,pm2_5,-1,2026-11-23T08:00:00+08:00,35,,\n\
            d1,pm2_5,,2026-11-23 08:00,35,,\n\
            d1,pm2_5,,2026-11-23T08:00:00+08:00,NaN,,\n\
            d1,pm2_5,,2026-11-23T08:00:00+08:00,,,\n\
            d1,pm2_5,,2026-11-23T08:00:00+08:00,1,m,\n\
            d1,pm2_5\n\
            d1,pm2_5,,2026-11-23T00:00:00Z,-1,,\n";
        let rows: Vec<_> = import_readings_csv(text).collect();
        let at = Timestamp::from_ms(1_795_392_000_000);
        let good = |i: usize| rows[i].as_ref().unwrap();
        assert_eq!(
            (good(0).line, good(0).at, good(0).value, good(0).channel),
            (2, at, 35.0, 0)
        );
        assert_eq!((good(1).at, good(1).value, good(1).channel), (at, 35.0, 1));
        assert_eq!((good(10).at, good(10).value), (at, -1.0));
        for (i, expected) in [
            (2, "line 4: a name is made of letters"),
            (3, "line 5: no quantity is called `pm3`"),
            (4, "line 6: ch `-1` is not"),
            (5, "line 7: `2026-11-23 08:00` is not an RFC 3339"),
            (6, "line 8: value `NaN` is not a number"),
            (7, "line 9: value `` is not a number"),
            (8, "line 10: pm2_5 is not given in `m`"),
            (9, "line 11: 2 fields where the first line has 7"),
        ] {
            let message = rows[i].as_ref().unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        }
        assert_eq!(rows.len(), 11);
    }

    #[test]
    fn an_unusable_first_line_is_one_error() {
        for (text, expected) in [
            ("", "line 1: the file is empty"),
            (
                "device,quantity,value\nd,pm2_5,1\n",
                "line 1: no column gives the time",
            ),
        ] {
            let rows: Vec<_> = import_readings_csv(text).collect();
            assert_eq!(rows.len(), 1);
            assert_eq!(rows[0].as_ref().unwrap_err().to_string(), expected);
        }
    }
}
