//! Accepted points on their way to an engine, in columns, and how the spool keeps them.
//!
//! ```text
//! version u8 = 1
//! series: count, then each as length and `device/quantity/channel`
//! points: count, then the columns: index of the series | measured, ms after the point before |
//!         received, ms after measured | marks | revision | values (0 and eight bytes, or 1, length and text)
//! ```
//! Counts, indexes and lengths are LEB128; differences are zigzag.

use std::sync::Arc;

use foldhash::HashMap;
use onemap_model::{Quality, Reading, SeriesKey, Timestamp, Value};

use crate::history::{Input, Point, parse_key, put_signed, put_unsigned};

const VERSION: u8 = 1;

/// Points of any series, in the order they were accepted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    names: HashMap<SeriesKey, u32>,
    series: Vec<SeriesKey>,
    /// Series by index.
    of: Vec<u32>,
    at: Vec<i64>,
    received: Vec<i64>,
    marks: Vec<u16>,
    /// How many values its time had before.
    revision: Vec<u16>,
    values: Vec<Value>,
    /// Bytes of texts.
    n_text_bytes: usize,
    /// Series of kept batches that this version does not know.
    n_unknown: u64,
}

/// One point of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row<'a> {
    /// Whose.
    pub series: &'a SeriesKey,
    /// When it was measured, ms since 1970.
    pub at: i64,
    /// When it was received, ms since 1970.
    pub received: i64,
    /// What.
    pub value: &'a Value,
    /// Marks as history keeps them.
    pub quality: Quality,
    /// How many values its time had before: 0 unless it is a revision.
    pub revision: u16,
}

impl Batch {
    /// Takes a reading that was accepted, with its marks as history keeps them and how many values its time
    /// had before.
    pub fn push(&mut self, reading: &Reading, quality: Quality, revision: u16) {
        let of = match self.names.get(&reading.series) {
            Some(of) => *of,
            None => self.name(reading.series.clone()),
        };
        self.put(
            of,
            reading.measured_at.ms(),
            reading.received_at.ms(),
            quality,
            revision,
            reading.value.clone(),
        );
    }

    /// Takes a point that history holds.
    pub fn push_point(&mut self, series: &SeriesKey, point: &Point, received: Timestamp, revision: u16) {
        let of = match self.names.get(series) {
            Some(of) => *of,
            None => self.name(series.clone()),
        };
        self.put(
            of,
            point.measured_at.ms(),
            received.ms(),
            point.quality,
            revision,
            point.value.clone(),
        );
    }

    fn name(&mut self, series: SeriesKey) -> u32 {
        let of = self.series.len() as u32;
        self.names.insert(series.clone(), of);
        self.series.push(series);
        of
    }

    fn put(&mut self, of: u32, at: i64, received: i64, quality: Quality, revision: u16, value: Value) {
        if let Value::Text(text) = &value {
            self.n_text_bytes += text.len();
        }
        self.of.push(of);
        self.at.push(at);
        self.received.push(received);
        self.marks.push(quality.0);
        self.revision.push(revision);
        self.values.push(value);
    }

    /// Points in it.
    pub fn len(&self) -> usize {
        self.at.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }
    /// About how many bytes it takes when it is kept.
    pub fn n_bytes(&self) -> usize {
        self.series.len() * 48 + self.len() * 24 + self.n_text_bytes
    }
    /// Oldest measured time.
    pub fn oldest(&self) -> Option<i64> {
        self.at.iter().min().copied()
    }
    /// Points that were kept for series that this version does not know.
    pub fn n_unknown(&self) -> u64 {
        self.n_unknown
    }

    /// Its points in order.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.len()).map(|i| Row {
            series: &self.series[self.of[i] as usize],
            at: self.at[i],
            received: self.received[i],
            value: &self.values[i],
            quality: Quality(self.marks[i]),
            revision: self.revision[i],
        })
    }

    /// Appends it to `out` as it is kept.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        put_unsigned(out, self.series.len() as u64);
        for series in &self.series {
            let name = series.to_string();
            put_unsigned(out, name.len() as u64);
            out.extend_from_slice(name.as_bytes());
        }
        put_unsigned(out, self.len() as u64);
        for of in &self.of {
            put_unsigned(out, u64::from(*of));
        }
        let mut before = 0;
        for at in &self.at {
            put_signed(out, at.wrapping_sub(before));
            before = *at;
        }
        for (at, received) in self.at.iter().zip(&self.received) {
            put_signed(out, received.wrapping_sub(*at));
        }
        for column in [&self.marks, &self.revision] {
            for small in column {
                put_unsigned(out, u64::from(*small));
            }
        }
        for value in &self.values {
            match value {
                Value::Number(number) => {
                    out.push(0);
                    out.extend_from_slice(&number.to_bits().to_le_bytes());
                }
                Value::Text(text) => {
                    out.push(1);
                    put_unsigned(out, text.len() as u64);
                    out.extend_from_slice(text.as_bytes());
                }
            }
        }
    }

    /// Reads what [`Batch::encode`] wrote; `None` is damage or another version. Points of series whose quantity
    /// this version does not know are left out and counted.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Input(bytes);
        if input.byte()? != VERSION {
            return None;
        }
        let n_series = input.unsigned()?;
        let n_series = count(&input, n_series)?;
        let mut series = Vec::with_capacity(n_series);
        for _ in 0..n_series {
            let length = usize::try_from(input.unsigned()?).ok()?;
            let name = std::str::from_utf8(input.bytes(length)?).ok()?;
            series.push(parse_key(name));
        }
        let n = input.unsigned()?;
        let n = count(&input, n)?;
        let mut read = |read: &mut dyn FnMut(&mut Input<'_>) -> Option<i64>| {
            (0..n).map(|_| read(&mut input)).collect::<Option<Vec<i64>>>()
        };
        let small = |input: &mut Input<'_>| Some(i64::from(u16::try_from(input.unsigned()?).ok()?));
        let of = read(&mut |input| i64::try_from(input.unsigned()?).ok())?;
        let mut at = read(&mut |input| input.signed())?;
        let mut received = read(&mut |input| input.signed())?;
        let marks = read(&mut { small })?;
        let revision = read(&mut { small })?;
        let mut before = 0i64;
        for (at, received) in at.iter_mut().zip(&mut received) {
            *at = before.wrapping_add(*at);
            before = *at;
            *received = received.wrapping_add(*at);
        }
        let mut batch = Self::default();
        for i in 0..n {
            let value = match input.byte()? {
                0 => Value::Number(input.float()?),
                1 => {
                    let length = usize::try_from(input.unsigned()?).ok()?;
                    Value::Text(Arc::from(std::str::from_utf8(input.bytes(length)?).ok()?))
                }
                _ => return None,
            };
            let Some(series) = series.get(of[i] as usize)? else {
                batch.n_unknown += 1;
                continue;
            };
            let of = match batch.names.get(series) {
                Some(of) => *of,
                None => batch.name(series.clone()),
            };
            let quality = Quality(marks[i] as u16);
            batch.put(of, at[i], received[i], quality, revision[i] as u16, value);
        }
        input.0.is_empty().then_some(batch)
    }
}

/// A count that the bytes left can hold.
fn count(input: &Input<'_>, n: u64) -> Option<usize> {
    usize::try_from(n).ok().filter(|n| *n <= input.0.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<f64>().prop_map(Value::Number),
            "[a-z \n\",=甲]{0,9}".prop_map(|text| Value::Text(text.into())),
        ]
    }

    proptest! {
        #[test]
        fn what_is_kept_comes_back(rows in prop::collection::vec(
            (0u16..4, any::<i64>(), any::<i64>(), value(), any::<u16>(), any::<u16>()), 0..40
        )) {
            let mut batch = Batch::default();
            for (channel, at, received, value, marks, revision) in rows {
                let series = parse_key(&format!("井-1/water_level/{channel}")).unwrap();
                let point = Point { measured_at: Timestamp::from_ms(at), value, quality: Quality(marks) };
                batch.push_point(&series, &point, Timestamp::from_ms(received), revision);
            }
            let mut bytes = Vec::new();
            batch.encode(&mut bytes);
            let back = Batch::decode(&bytes).unwrap();
            prop_assert_eq!(format!("{:?}", back.rows().collect::<Vec<_>>()), format!("{:?}", batch.rows().collect::<Vec<_>>()));
            prop_assert!(bytes.is_empty() || Batch::decode(&bytes[..bytes.len() - 1]).is_none());
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut versioned = vec![VERSION];
            versioned.extend(bytes);
            let _ = Batch::decode(&versioned);
        }
    }

    #[test]
    fn points_of_a_quantity_that_is_not_known_here_are_counted() {
        let mut batch = Batch::default();
        let point = Point {
            measured_at: Timestamp::from_ms(5),
            value: Value::Number(1.5),
            quality: Quality::GOOD,
        };
        for name in ["a/ph/0", "a/rain/0"] {
            batch.push_point(&parse_key(name).unwrap(), &point, point.measured_at, 0);
        }
        let mut bytes = Vec::new();
        batch.encode(&mut bytes);
        let at = bytes.windows(2).position(|two| two == b"ph").unwrap();
        bytes[at] = b'z';
        let back = Batch::decode(&bytes).unwrap();
        assert_eq!((back.len(), back.n_unknown()), (1, 1));
        assert_eq!(back.rows().next().unwrap().series.to_string(), "a/rain/0");
    }
}
