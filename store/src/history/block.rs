//! A block: points of one series, ascending in time, as columns of bytes.
//!
//! Times, delays (received minus measured, in seconds where all came at whole ones; receive times where many came at once), marks and values
//! each take the column of [`super::column`]. Numbers are kept as exact decimals where that gives back every bit, else as
//! they are; texts, and texts mixed with numbers, by a list of the distinct ones.

use std::collections::HashMap;

use onemap_model::Value;
use pco::ChunkConfig;
use pco::standalone::{simple_compress, simple_decompress};

use super::column::{
    Input, put_column, put_column_dense, put_signed, put_unsigned, read_column, skip_column,
};
use super::point::Kept;

/// Forms of the value column.
const DECIMALS: u8 = 0;
const FLOATS: u8 = 1;
const LISTED: u8 = 2;
const FLOATS_BY_PCO: u8 = 3;
/// Marks the first byte of the second column: receive times, not delays.
const RECEIVED: u8 = 16;
/// Marks it: delays between the second of measuring and that of receiving. First values are received at
/// whole seconds, so the milliseconds of the measured times are not said once more.
const SECONDS: u8 = 32;

/// Most decimals that are tried before a column is kept as floating point numbers.
const MAX_DECIMALS: u8 = 6;
const POWERS: [f64; MAX_DECIMALS as usize + 1] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];
/// Whole numbers up to here are exact in an `f64`.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Packs points that ascend strictly in time.
pub(super) fn encode(points: &[Kept]) -> Vec<u8> {
    encode_with(points, put_column, FLOATS)
}

/// Packs points like [`encode`] in the least room, at ten times the work: for what stays for years.
pub(super) fn encode_dense(points: &[Kept]) -> Vec<u8> {
    encode_with(points, put_column_dense, FLOATS_BY_PCO)
}

fn encode_with(points: &[Kept], put_column: fn(&mut Vec<u8>, &[i64]), floats: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + points.len() * 3);
    put_unsigned(&mut out, points.len() as u64);
    let mut column: Vec<i64> = points.iter().map(|p| p.at).collect();
    put_column(&mut out, &column);
    column.clear();
    let together = points.windows(2).filter(|two| two[0].received == two[1].received);
    let marked_at = out.len();
    if 2 * together.count() > points.len() {
        // They came many at a time: the delay would say the times once more.
        column.extend(points.iter().map(|p| p.received));
        put_column(&mut out, &column);
        out[marked_at] |= RECEIVED;
    } else if !points.is_empty() && points.iter().all(|p| p.received % 1000 == 0) {
        column.extend(points.iter().map(|p| p.received / 1000 - p.at.div_euclid(1000)));
        put_column(&mut out, &column);
        out[marked_at] |= SECONDS;
    } else {
        column.extend(points.iter().map(|p| p.received.wrapping_sub(p.at)));
        put_column(&mut out, &column);
    }
    column.clear();
    column.extend(points.iter().map(|p| i64::from(p.quality)));
    put_column(&mut out, &column);
    put_values(&mut out, points, put_column, floats);
    out
}

/// Unpacks a block; `None` when the bytes are not one.
pub(super) fn decode(input: &mut Input<'_>) -> Option<Vec<Kept>> {
    let n = input.count()?;
    let times = read_column(input, n)?;
    let form = input.0.first().map_or(0, |first| first & (RECEIVED | SECONDS));
    let delays = read_column(input, n)?;
    let marks = read_column(input, n)?;
    let values = read_values(input, n)?;
    let points = times
        .into_iter()
        .zip(delays)
        .zip(marks)
        .zip(values)
        .map(|(((at, delay), mark), value)| {
            Some(Kept {
                at,
                received: match form {
                    RECEIVED => delay,
                    SECONDS => at.div_euclid(1000).wrapping_add(delay).wrapping_mul(1000),
                    _ => at.wrapping_add(delay),
                },
                value,
                quality: u16::try_from(mark).ok()?,
            })
        })
        .collect::<Option<Vec<Kept>>>()?;
    points.is_sorted_by(|a, b| a.at < b.at).then_some(points)
}

/// Times, numbers and marks of a block, side by side: what an aggregate needs.
pub(super) struct Columns {
    pub(super) times: Vec<i64>,
    pub(super) numbers: Vec<f64>,
    pub(super) marks: Vec<i64>,
}

/// Unpacks the columns that aggregates need of a block of numbers. `None` when not all are numbers, or the
/// bytes are not a block: then [`decode`] tells.
pub(super) fn columns(block: &[u8]) -> Option<Columns> {
    let mut input = Input(block);
    let n = input.count()?;
    let times = read_column(&mut input, n)?;
    skip_column(&mut input, n)?;
    let marks = read_column(&mut input, n)?;
    let numbers = match input.byte()? {
        DECIMALS => {
            let scale = *POWERS.get(usize::from(input.byte()?))?;
            let whole = read_column(&mut input, n)?;
            whole.into_iter().map(|w| w as f64 / scale).collect()
        }
        FLOATS => (0..n).map(|_| input.float()).collect::<Option<Vec<f64>>>()?,
        FLOATS_BY_PCO => {
            let n_bytes = usize::try_from(input.unsigned()?).ok()?;
            simple_decompress(input.bytes(n_bytes)?).ok()?
        }
        _ => return None,
    };
    let is_whole = numbers.len() == n
        && input.0.is_empty()
        && times.is_sorted_by(|a, b| a < b)
        && marks.iter().all(|mark| u16::try_from(*mark).is_ok());
    is_whole.then_some(Columns {
        times,
        numbers,
        marks,
    })
}

/// The numbers of `values` as whole multiples of `10^-k`, with the smallest `k` that gives back every
/// bit of each; `None` when there is none, or when something is not a number.
pub(super) fn as_decimals<'a>(values: impl Iterator<Item = &'a Value> + Clone) -> Option<(u8, Vec<i64>)> {
    let mut k = 0u8;
    'scale: loop {
        let scale = *POWERS.get(usize::from(k))?;
        let mut whole = Vec::with_capacity(values.size_hint().0);
        for value in values.clone() {
            let number = value.number()?;
            let scaled = (number * scale).round();
            if scaled.abs() >= MAX_EXACT || !scaled.is_finite() {
                return None;
            }
            if (scaled as i64 as f64 / scale).to_bits() != number.to_bits() {
                k += 1;
                continue 'scale;
            }
            whole.push(scaled as i64);
        }
        return Some((k, whole));
    }
}

/// The number that a whole multiple of `10^-k` stands for.
pub(super) fn from_decimal(k: u8, whole: i64) -> Option<f64> {
    Some(whole as f64 / POWERS.get(usize::from(k))?)
}

fn put_values(out: &mut Vec<u8>, points: &[Kept], put_column: fn(&mut Vec<u8>, &[i64]), floats: u8) {
    if let Some((k, whole)) = as_decimals(points.iter().map(|p| &p.value)) {
        out.push(DECIMALS);
        out.push(k);
        put_column(out, &whole);
    } else if points.iter().all(|p| p.value.number().is_some()) {
        let numbers: Vec<f64> = points.iter().filter_map(|p| p.value.number()).collect();
        if floats == FLOATS_BY_PCO
            && let Ok(packed) = simple_compress(&numbers, &ChunkConfig::default())
            && packed.len() < numbers.len() * size_of::<f64>()
        {
            out.push(FLOATS_BY_PCO);
            put_unsigned(out, packed.len() as u64);
            out.extend(packed);
            return;
        }
        out.push(FLOATS);
        for number in numbers {
            out.extend(number.to_bits().to_le_bytes());
        }
    } else {
        out.push(LISTED);
        let mut bytes: HashMap<Vec<u8>, i64> = HashMap::new();
        let mut listed = Vec::new();
        let mut n_listed = 0i64;
        let mut column = Vec::with_capacity(points.len());
        for point in points {
            let mut entry = Vec::new();
            put_value(&mut entry, &point.value);
            let index = *bytes.entry(entry).or_insert_with_key(|entry| {
                listed.extend_from_slice(entry);
                n_listed += 1;
                n_listed - 1
            });
            column.push(index);
        }
        put_unsigned(out, n_listed as u64);
        out.extend(listed);
        put_column(out, &column);
    }
}

fn read_values(input: &mut Input<'_>, n: usize) -> Option<Vec<Value>> {
    match input.byte()? {
        DECIMALS => {
            let k = input.byte()?;
            let whole = read_column(input, n)?;
            whole
                .into_iter()
                .map(|w| from_decimal(k, w).map(Value::Number))
                .collect()
        }
        FLOATS => (0..n).map(|_| input.float().map(Value::Number)).collect(),
        FLOATS_BY_PCO => {
            let n_bytes = usize::try_from(input.unsigned()?).ok()?;
            let numbers: Vec<f64> = simple_decompress(input.bytes(n_bytes)?).ok()?;
            (numbers.len() == n).then(|| numbers.into_iter().map(Value::Number).collect())
        }
        LISTED => {
            let n_listed = input.count()?;
            let listed = (0..n_listed)
                .map(|_| read_value(input))
                .collect::<Option<Vec<Value>>>()?;
            let column = read_column(input, n)?;
            column
                .into_iter()
                .map(|i| listed.get(usize::try_from(i).ok()?).cloned())
                .collect()
        }
        _ => None,
    }
}

/// Appends one value by itself.
pub(super) fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Number(number) => {
            out.push(0);
            out.extend(number.to_bits().to_le_bytes());
        }
        Value::Text(text) => {
            out.push(1);
            put_unsigned(out, text.len() as u64);
            out.extend(text.as_bytes());
        }
    }
}

/// Reads one value by itself.
pub(super) fn read_value(input: &mut Input<'_>) -> Option<Value> {
    match input.byte()? {
        0 => input.float().map(Value::Number),
        1 => {
            let n = usize::try_from(input.unsigned()?).ok()?;
            Some(Value::Text(std::str::from_utf8(input.bytes(n)?).ok()?.into()))
        }
        _ => None,
    }
}

/// Appends a point by itself, its time apart.
pub(super) fn put_untimed(out: &mut Vec<u8>, point: &Kept) {
    put_signed(out, point.received.wrapping_sub(point.at));
    put_unsigned(out, u64::from(point.quality));
    put_value(out, &point.value);
}

/// Reads a point that stands by itself, its time given.
pub(super) fn read_untimed(input: &mut Input<'_>, at: i64) -> Option<Kept> {
    let received = at.wrapping_add(input.signed()?);
    let quality = u16::try_from(input.unsigned()?).ok()?;
    let value = read_value(input)?;
    Some(Kept {
        at,
        received,
        value,
        quality,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            4 => (-5000i64..5000).prop_map(|v| Value::Number(v as f64 / 10.0)),
            1 => any::<f64>().prop_map(Value::Number),
            1 => "[a-z开关]{0,6}".prop_map(|t| Value::Text(t.into())),
        ]
    }

    fn bits(points: &[Kept]) -> Vec<(i64, i64, u16, Result<u64, String>)> {
        points
            .iter()
            .map(|p| {
                let value = match &p.value {
                    Value::Number(n) => Ok(n.to_bits()),
                    Value::Text(t) => Err(t.to_string()),
                };
                (p.at, p.received, p.quality, value)
            })
            .collect()
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back_bit_for_bit(
            rows in prop::collection::btree_map(any::<i64>(), (prop_oneof![1 => any::<i64>(), 1 => Just(7), 4 => (-5i64..5000).prop_map(|s| s * 1000)], value(), any::<u16>()), 0..90)
        ) {
            let points: Vec<Kept> = rows
                .into_iter()
                .map(|(at, (received, value, quality))| Kept { at, received, value, quality })
                .collect();
            for bytes in [encode(&points), encode_dense(&points)] {
                let mut input = Input(&bytes);
                let back = decode(&mut input).unwrap();
                prop_assert!(input.0.is_empty());
                prop_assert_eq!(bits(&back), bits(&points));
                let numbers: Option<Vec<u64>> = points.iter().map(|p| p.value.number().map(f64::to_bits)).collect();
                let columns = columns(&bytes);
                prop_assert_eq!(columns.is_some(), numbers.is_some());
                if let (Some(columns), Some(numbers)) = (columns, numbers) {
                    prop_assert_eq!(columns.numbers.iter().map(|n| n.to_bits()).collect::<Vec<_>>(), numbers);
                    prop_assert!(columns.times.iter().eq(points.iter().map(|p| &p.at)));
                    prop_assert!(columns.marks.iter().copied().eq(points.iter().map(|p| i64::from(p.quality))));
                }
            }
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            columns(&bytes);
            if let Some(points) = decode(&mut Input(&bytes)) {
                prop_assert!(points.is_sorted_by(|a, b| a.at < b.at));
            }
        }
    }

    #[test]
    fn points_that_came_together_pay_once_for_the_time_they_came() {
        let points: Vec<Kept> = (0..240i64)
            .map(|i| Kept {
                at: i * 60_000 + i * 7919 % 2000,
                received: 1_763_856_000_000 + i / 100 * 350,
                value: Value::Number(1.0),
                quality: 0,
            })
            .collect();
        let bytes = encode(&points);
        assert_eq!(bits(&decode(&mut Input(&bytes)).unwrap()), bits(&points));
        // A delay of each would take as much again as its time: 330 bytes.
        assert!(bytes.len() < 550, "{} bytes", bytes.len());
    }

    #[test]
    fn whole_seconds_of_receiving_do_not_say_the_milliseconds_of_measuring_again() {
        let points: Vec<Kept> = (0..240i64)
            .map(|i| {
                let at = 1_763_856_000_000 + i * 60_000 + i * 7919 % 2000;
                Kept {
                    at,
                    received: (at + 70) / 1000 * 1000,
                    value: Value::Number(1.0),
                    quality: 0,
                }
            })
            .collect();
        let bytes = encode(&points);
        assert_eq!(bits(&decode(&mut Input(&bytes)).unwrap()), bits(&points));
        // The times take 11 bits each.
        assert!(bytes.len() < 430, "{} bytes", bytes.len());
    }

    #[test]
    fn floats_of_a_day_come_back_and_take_less_room() {
        for n in [1i64, 300, 1440] {
            let points: Vec<Kept> = (0..n)
                .map(|i| Kept {
                    at: i * 60_000,
                    received: i * 60_000 + i % 7,
                    value: Value::Number((i as f64 / 100.0).sin() as f32 as f64 * 1.1),
                    quality: if i == 9 { 2 } else { 0 },
                })
                .collect();
            let (fresh, dense) = (encode(&points), encode_dense(&points));
            assert_eq!(bits(&decode(&mut Input(&dense)).unwrap()), bits(&points));
            assert!(dense.len() <= fresh.len(), "{} and {}", dense.len(), fresh.len());
        }
    }

    #[test]
    fn a_minute_series_of_tenths_takes_less_than_two_bytes_a_point() {
        let points: Vec<Kept> = (0..240i64)
            .map(|i| Kept {
                at: 1_763_856_000_000 + i * 60_000,
                received: 1_763_856_000_000 + i * 60_000 + 1000,
                value: Value::Number((200 + i * 37 % 16) as f64 / 10.0),
                quality: 0,
            })
            .collect();
        let bytes = encode(&points).len();
        assert!(bytes < 200, "{bytes} bytes for 240 points");
    }
}
