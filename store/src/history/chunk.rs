//! A chunk: a sealed block with a header that answers aggregates without unpacking it.
//!
//! Key: series u32, first time (sign bit turned, so that bytes sort like numbers), sequence number
//! u32, all big-endian. Row: codec, header, block, CRC-32 over key and row. A chunk lies in one
//! partition of seven days, so dropping the partition drops exactly its points.

use onemap_model::{Quality, Value};

use super::block::{as_decimals, decode, encode, encode_dense, from_decimal};
use super::column::{Input, put_signed, put_unsigned};
use super::point::Kept;

/// Columns of [`super::column`].
const COLUMNS: u8 = 1;
/// The same columns in the least room: a chunk of a closed day.
const DENSE: u8 = 2;
/// Header numbers are written as floating point, not as decimals.
const AS_FLOATS: u8 = 255;
/// Length of a partition.
const PARTITION_MS: i64 = 7 * 86_400_000;

/// The partition that holds a time.
pub(super) fn partition_of(at: i64) -> i64 {
    at.div_euclid(PARTITION_MS)
}

/// First and last time of a partition.
pub(super) fn partition_range(partition: i64) -> (i64, i64) {
    let first = partition.saturating_mul(PARTITION_MS);
    (first, first.saturating_add(PARTITION_MS - 1))
}

/// Bytes of a series and a time that sort like they do.
pub(super) fn key(series: u32, at: i64, seq: u32) -> [u8; 16] {
    let mut key = [0; 16];
    key[..4].copy_from_slice(&series.to_be_bytes());
    key[4..12].copy_from_slice(&(at as u64 ^ 1 << 63).to_be_bytes());
    key[12..].copy_from_slice(&seq.to_be_bytes());
    key
}

/// Series, time and number of a key.
pub(super) fn read_key(key: &[u8]) -> Option<(u32, i64, u32)> {
    let key: &[u8; 16] = key.try_into().ok()?;
    let at = u64::from_be_bytes(key[4..12].try_into().ok()?) ^ 1 << 63;
    Some((
        u32::from_be_bytes(key[..4].try_into().ok()?),
        at as i64,
        u32::from_be_bytes(key[12..].try_into().ok()?),
    ))
}

/// Ends a row with the CRC-32 of key and row.
pub(super) fn seal(key: &[u8], mut row: Vec<u8>) -> Vec<u8> {
    row.extend(crc(key, &row).to_le_bytes());
    row
}

/// The row without its checksum; `None` when key and row are not what was written.
pub(super) fn unseal<'a>(key: &[u8], row: &'a [u8]) -> Option<&'a [u8]> {
    let (body, checksum) = row.split_last_chunk::<4>()?;
    (crc(key, body) == u32::from_le_bytes(*checksum)).then_some(body)
}

fn crc(key: &[u8], row: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(row);
    hasher.finalize()
}

/// What a chunk says about its points.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Header {
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) n: u64,
    pub(super) n_flagged: u64,
    pub(super) numbers: Option<Numbers>,
    /// Packed in the least room.
    pub(super) is_dense: bool,
}

/// What a chunk says about those of its points that are numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Numbers {
    pub(crate) n: u64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) sum: f64,
    pub(crate) first: f64,
    pub(crate) last: f64,
}

impl Numbers {
    /// Aggregates of the numbers among `values`, oldest first; `None` when there are none.
    fn of<'a>(values: impl Iterator<Item = &'a Value>) -> Option<Self> {
        let mut numbers: Option<Self> = None;
        for number in values.filter_map(Value::number) {
            match &mut numbers {
                Some(numbers) => numbers.add(number),
                None => numbers = Some(Self::one(number)),
            }
        }
        numbers
    }
    /// Aggregates of numbers, oldest first; `None` when there are none.
    pub(super) fn of_all(numbers: &[f64]) -> Option<Self> {
        let (first, last) = (*numbers.first()?, *numbers.last()?);
        let mut all = Self::one(first);
        for number in &numbers[1..] {
            all.min = all.min.min(*number);
            all.max = all.max.max(*number);
            all.sum += number;
        }
        Some(Self {
            n: numbers.len() as u64,
            last,
            ..all
        })
    }
    /// Of one number.
    pub(crate) fn one(number: f64) -> Self {
        Self {
            n: 1,
            min: number,
            max: number,
            sum: number,
            first: number,
            last: number,
        }
    }
    /// With a newer number.
    pub(super) fn add(&mut self, number: f64) {
        self.append(&Self::one(number));
    }
    /// With newer numbers.
    pub(super) fn append(&mut self, newer: &Self) {
        self.n += newer.n;
        self.min = self.min.min(newer.min);
        self.max = self.max.max(newer.max);
        self.sum += newer.sum;
        self.last = newer.last;
    }
}

/// Packs points of one partition as a row to be stored under `key`.
pub(super) fn pack(key: &[u8], points: &[Kept]) -> Vec<u8> {
    pack_with(key, points, COLUMNS, encode)
}

/// Packs points of one partition in the least room.
pub(super) fn pack_dense(key: &[u8], points: &[Kept]) -> Vec<u8> {
    pack_with(key, points, DENSE, encode_dense)
}

fn pack_with(key: &[u8], points: &[Kept], codec: u8, encode: fn(&[Kept]) -> Vec<u8>) -> Vec<u8> {
    let (first, last) = match points {
        [first, .., last] => (first.at, last.at),
        [only] => (only.at, only.at),
        [] => (0, 0),
    };
    let mut row = vec![codec];
    put_unsigned(&mut row, last.wrapping_sub(first) as u64);
    put_unsigned(&mut row, points.len() as u64);
    put_unsigned(&mut row, points.iter().filter(|p| is_flagged(p)).count() as u64);
    let numbers = Numbers::of(points.iter().map(|p| &p.value));
    put_unsigned(&mut row, numbers.as_ref().map_or(0, |n| n.n));
    if let Some(numbers) = numbers {
        put_numbers(&mut row, &numbers, points);
    }
    row.extend(encode(points));
    seal(key, row)
}

/// Whether a point may not be judged by.
pub(super) fn is_flagged(point: &Kept) -> bool {
    !Quality(point.quality).judgeable()
}

fn put_numbers(row: &mut Vec<u8>, numbers: &Numbers, points: &[Kept]) {
    let decimals = as_decimals(points.iter().map(|p| &p.value)).and_then(|(k, whole)| {
        let sum = whole.iter().try_fold(0i64, |sum, w| sum.checked_add(*w))?;
        let min = whole.iter().min()?;
        let max = whole.iter().max()?;
        Some((k, [*min, *max, sum, *whole.first()?, *whole.last()?]))
    });
    match decimals {
        Some((k, whole)) => {
            row.push(k);
            whole.iter().for_each(|w| put_signed(row, *w));
        }
        None => {
            row.push(AS_FLOATS);
            for number in [numbers.min, numbers.max, numbers.sum, numbers.first, numbers.last] {
                row.extend(number.to_bits().to_le_bytes());
            }
        }
    }
}

/// Reads key and row of a chunk: its header, and where its block starts. `None` is damage.
pub(super) fn open<'a>(key: &[u8], row: &'a [u8]) -> Option<(Header, &'a [u8])> {
    let (_, first, _) = read_key(key)?;
    let mut input = Input(unseal(key, row)?);
    let is_dense = match input.byte()? {
        COLUMNS => false,
        DENSE => true,
        _ => return None,
    };
    let last = first.wrapping_add(input.unsigned()? as i64);
    let n = input.unsigned()?;
    let n_flagged = input.unsigned()?;
    let numbers = match input.unsigned()? {
        0 => None,
        n => Some(read_numbers(&mut input, n)?),
    };
    let header = Header {
        first,
        last,
        n,
        n_flagged,
        numbers,
        is_dense,
    };
    (last >= first).then_some((header, input.0))
}

fn read_numbers(input: &mut Input<'_>, n: u64) -> Option<Numbers> {
    let mut five = [0.0; 5];
    match input.byte()? {
        AS_FLOATS => {
            for number in &mut five {
                *number = input.float()?;
            }
        }
        k => {
            for number in &mut five {
                *number = from_decimal(k, input.signed()?)?;
            }
        }
    }
    let [min, max, sum, first, last] = five;
    Some(Numbers {
        n,
        min,
        max,
        sum,
        first,
        last,
    })
}

/// Unpacks the block of a chunk. `None` is damage.
pub(super) fn points(block: &[u8]) -> Option<Vec<Kept>> {
    let mut input = Input(block);
    decode(&mut input).filter(|_| input.0.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn points_of(values: &[f64]) -> Vec<Kept> {
        (0i64..)
            .zip(values)
            .map(|(i, v)| Kept {
                at: i * 1000,
                received: i * 1000 + 70,
                value: Value::Number(*v),
                quality: if i == 1 { Quality::SUSPECT.0 } else { 0 },
            })
            .collect()
    }

    #[test]
    fn the_header_tells_what_the_points_tell() {
        for values in [&[2.5, -1.5, 7.0][..], &[0.1 + 0.2, 1e300, -1e300][..]] {
            let points = points_of(values);
            let key = key(7, 0, 3);
            let row = pack_dense(&key, &points);
            assert!(open(&key, &row).unwrap().0.is_dense);
            let row = pack(&key, &points);
            let (header, block) = open(&key, &row).unwrap();
            assert_eq!((header.first, header.last, header.n), (0, 2000, 3));
            assert_eq!(header.n_flagged, 1);
            let numbers = header.numbers.unwrap();
            assert_eq!((numbers.first, numbers.last), (values[0], values[2]));
            assert_eq!(numbers.sum, values.iter().sum::<f64>());
            assert_eq!(numbers.min, values.iter().copied().fold(f64::MAX, f64::min));
            assert_eq!(numbers.max, values.iter().copied().fold(f64::MIN, f64::max));
            assert_eq!(super::points(block).unwrap(), points);
        }
    }

    #[test]
    fn any_turned_bit_and_any_other_key_is_noticed() {
        let key_ = key(7, 0, 3);
        let row = pack(&key_, &points_of(&[1.0, 2.0]));
        for i in 0..row.len() * 8 {
            let mut damaged = row.clone();
            damaged[i / 8] ^= 1 << (i % 8);
            assert!(open(&key_, &damaged).is_none(), "bit {i}");
        }
        assert!(open(&key(8, 0, 3), &row).is_none());
        assert!(open(&key_, &[]).is_none());
    }

    #[test]
    fn keys_sort_like_times_and_partitions_meet_without_a_gap() {
        let times = [i64::MIN, -1, 0, 1, 1_763_856_000_000, i64::MAX];
        assert!(times.map(|t| key(1, t, 0)).is_sorted());
        assert_eq!(
            times.map(|t| read_key(&key(1, t, 9))),
            times.map(|t| Some((1, t, 9)))
        );
        for at in times {
            let (first, last) = partition_range(partition_of(at));
            assert!(first <= at && at <= last, "{at}");
        }
        let (_, last) = partition_range(2900);
        assert_eq!(partition_range(2901).0, last + 1);
    }
}
