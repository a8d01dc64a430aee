//! Reads a recorded series from CSV. Pure.
//!
//! Long form: `time,device,quantity,value` with an optional `ch` column. Wide form: `time` and columns
//! named `device/quantity` or `device/quantity/ch`. Times are RFC 3339 with an offset; an empty value
//! was not measured; fields hold no commas or quotes. Values are in the quantity's canonical unit.

use std::collections::BTreeMap;

use onemap_model::{DeviceId, Quantity, Timestamp};

/// Quantity, channel and value.
pub type Measured = (Quantity, u16, f64);

/// One message of one device.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// When it was measured.
    pub at: Timestamp,
    /// Who measured.
    pub device: DeviceId,
    /// What.
    pub values: Vec<Measured>,
}

/// A recorded series.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// By time, then device.
    pub moments: Vec<Moment>,
}

/// Why a recording cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// No header, or one that is neither form.
    #[error("line 1: the header is neither `time,device,quantity,value[,ch]` nor `time,device/quantity,…`")]
    Header,
    /// A column of the wide form names nothing.
    #[error("line 1: column `{0}` is not device/quantity[/ch] with a known quantity")]
    Column(String),
    /// A row has more or fewer fields than the header.
    #[error("line {line}: {got} fields where the header has {want}")]
    Fields {
        /// The line, from 1.
        line: usize,
        /// Fields found.
        got: usize,
        /// Fields expected.
        want: usize,
    },
    /// A field cannot be read.
    #[error("line {line}: `{text}` is not a {what}")]
    Field {
        /// The line, from 1.
        line: usize,
        /// The text.
        text: String,
        /// What it should be.
        what: &'static str,
    },
}

type Series = (DeviceId, Quantity, u16);

fn column(name: &str) -> Option<Series> {
    let mut parts = name.split('/');
    let device = DeviceId::new(parts.next()?).ok()?;
    let quantity = Quantity::named(parts.next()?)?;
    let channel = parts.next().map_or(Some(0), |ch| ch.parse().ok())?;
    parts.next().is_none().then_some((device, quantity, channel))
}

impl Recording {
    /// Reads a whole file.
    ///
    /// # Errors
    /// See [`RecordingError`]; each names its line.
    pub fn parse(text: &str) -> Result<Self, RecordingError> {
        let mut lines = text.trim_start_matches('\u{feff}').lines();
        let header: Vec<&str> = lines
            .next()
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .collect();
        let long = matches!(
            header[..],
            ["time", "device", "quantity", "value"] | ["time", "device", "quantity", "value", "ch"]
        );
        if header.len() < 2 || header[0] != "time" {
            return Err(RecordingError::Header);
        }
        let columns: Vec<Series> = match long {
            true => Vec::new(),
            false => header[1..]
                .iter()
                .map(|name| column(name).ok_or_else(|| RecordingError::Column((*name).to_owned())))
                .collect::<Result<_, _>>()?,
        };
        let mut moments: BTreeMap<(Timestamp, DeviceId), Vec<Measured>> = BTreeMap::new();
        for (i, row) in lines.enumerate().filter(|(_, row)| !row.trim().is_empty()) {
            let line = i + 2;
            let fields: Vec<&str> = row.split(',').map(str::trim).collect();
            if fields.len() != header.len() {
                return Err(RecordingError::Fields {
                    line,
                    got: fields.len(),
                    want: header.len(),
                });
            }
            let bad = |text: &str, what| RecordingError::Field {
                line,
                text: text.to_owned(),
                what,
            };
            let at = Timestamp::parse(fields[0]).map_err(|_| bad(fields[0], "time with offset"))?;
            let number = |text: &str| match text.parse::<f64>() {
                Ok(n) if n.is_finite() => Ok(n),
                _ => Err(bad(text, "number")),
            };
            let mut keep = |(device, quantity, channel): Series, text: &str| -> Result<(), RecordingError> {
                if !text.is_empty() {
                    moments
                        .entry((at, device))
                        .or_default()
                        .push((quantity, channel, number(text)?));
                }
                Ok(())
            };
            if long {
                let device = DeviceId::new(fields[1]).map_err(|_| bad(fields[1], "device id"))?;
                let quantity = Quantity::named(fields[2]).ok_or_else(|| bad(fields[2], "known quantity"))?;
                let channel = match fields.get(4) {
                    None | Some(&"") => 0,
                    Some(text) => text.parse().map_err(|_| bad(text, "channel"))?,
                };
                keep((device, quantity, channel), fields[3])?;
            } else {
                for (series, text) in columns.iter().zip(&fields[1..]) {
                    keep(series.clone(), text)?;
                }
            }
        }
        let moments = moments
            .into_iter()
            .map(|((at, device), values)| Moment { at, device, values })
            .collect();
        Ok(Self { moments })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn long_and_wide_say_the_same() {
        let long = "time,device,quantity,value,ch
2026-01-01T00:15:00Z,a,water_level,1.5,0
2026-01-01T00:00:00Z,a,water_level,1.4,
2026-01-01T00:00:00Z,a,water_level,9.5,1
2026-01-01T00:00:00Z,b,rain,,0
2026-01-01T00:15:00Z,b,rain,0.2,0
";
        let wide = "time,a/water_level,a/water_level/1,b/rain
2026-01-01T08:00:00+08:00,1.4,9.5,
2026-01-01T08:15:00+08:00,1.5,,0.2
";
        let long = Recording::parse(long).unwrap();
        assert_eq!(long, Recording::parse(wide).unwrap());
        assert_eq!(long.moments.len(), 3);
        assert_eq!(long.moments[0].values.len(), 2);
    }

    #[test]
    fn bad_recordings_name_their_line() {
        let cases = [
            ("", RecordingError::Header),
            ("zeit,a/rain\n", RecordingError::Header),
            ("time,a/regen\n", RecordingError::Column("a/regen".into())),
            (
                "time,a/rain\n2026-01-01T00:00:00Z,1,2\n",
                RecordingError::Fields {
                    line: 2,
                    got: 3,
                    want: 2,
                },
            ),
            (
                "time,a/rain\n\n2026-01-01 00:00,1\n",
                RecordingError::Field {
                    line: 3,
                    text: "2026-01-01 00:00".into(),
                    what: "time with offset",
                },
            ),
            (
                "time,a/rain\n2026-01-01T00:00:00Z,NaN\n",
                RecordingError::Field {
                    line: 2,
                    text: "NaN".into(),
                    what: "number",
                },
            ),
        ];
        for (text, error) in cases {
            assert_eq!(Recording::parse(text), Err(error), "{text:?}");
        }
    }
}
