//! What heads grew by between two checkpoints: the new points of many series in one row.
//!
//! Of nearly every series that changed, all that happened is that a point or two came behind the others. Its
//! head has hundreds by then; writing them all again every time is a hundred times the bytes. So a head is
//! written whole only when something else happened to it, or when the oldest of these rows is to go.
//!
//! A row: number of series, their numbers, how many points each has, then of all points the times, receive
//! times, marks, forms and decimals as columns of [`super::column`], at last floating point numbers and texts as
//! they are.

use fjall::{Readable, Snapshot};
use onemap_model::Value;

use super::block::{as_decimals, from_decimal};
use super::chunk::unseal;
use super::column::{Input, put_column, put_unsigned, read_column};
use super::disk::Disk;
use super::load::Gone;
use super::memory::Memory;
use super::point::Kept;
use super::{HistoryError, SeriesId};

/// Points of one row. Tests fill rows, and outgrow them, in a few checkpoints.
const N_POINTS: usize = if cfg!(test) { 4 } else { 32_768 };
/// Rows that are kept; with [`MAX_POINTS`] this bounds what opening reads.
const MAX_ROWS: usize = if cfg!(test) { 3 } else { 256 };
/// Points of all rows that are kept.
const MAX_POINTS: usize = 8_000_000;

/// Forms of a value beside 0 to 6, which are decimals.
const FLOAT: i64 = 16;
const TEXT: i64 = 17;

/// New points of series, in the order of their numbers.
#[derive(Default)]
pub(super) struct Growth {
    ids: Vec<i64>,
    counts: Vec<i64>,
    points: Vec<Kept>,
}

impl Growth {
    pub(super) fn push(&mut self, id: SeriesId, points: Vec<Kept>) {
        self.ids.push(i64::from(id.0));
        self.counts.push(points.len() as i64);
        self.points.extend(points);
    }
    pub(super) fn n_points(&self) -> usize {
        self.points.len()
    }
    pub(super) fn is_full(&self) -> bool {
        self.points.len() >= N_POINTS
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + 8 * self.points.len());
        put_unsigned(&mut out, self.ids.len() as u64);
        put_column(&mut out, &self.ids);
        put_column(&mut out, &self.counts);
        put_unsigned(&mut out, self.points.len() as u64);
        let mut put = |of: fn(&Kept) -> i64| {
            let column: Vec<i64> = self.points.iter().map(of).collect();
            put_column(&mut out, &column);
        };
        put(|p| p.at);
        put(|p| p.received);
        put(|p| i64::from(p.quality));
        let (mut forms, mut whole, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for point in &self.points {
            let decimals = as_decimals(std::iter::once(&point.value));
            forms.push(match (&point.value, decimals) {
                (Value::Number(_), Some((k, numbers))) => {
                    whole.extend(numbers);
                    i64::from(k)
                }
                (Value::Number(number), None) => {
                    rest.extend(number.to_bits().to_le_bytes());
                    FLOAT
                }
                (Value::Text(text), _) => {
                    put_unsigned(&mut rest, text.len() as u64);
                    rest.extend(text.as_bytes());
                    TEXT
                }
            });
        }
        put_column(&mut out, &forms);
        put_column(&mut out, &whole);
        out.extend(rest);
        out
    }

    /// Reads a row; `None` when the bytes are not one.
    pub(super) fn decode(row: &[u8]) -> Option<Vec<(SeriesId, Vec<Kept>)>> {
        let mut input = Input(row);
        let n = input.count()?;
        let ids = read_column(&mut input, n)?;
        let counts = read_column(&mut input, n)?;
        let n = input.count()?;
        let times = read_column(&mut input, n)?;
        let received = read_column(&mut input, n)?;
        let marks = read_column(&mut input, n)?;
        let forms = read_column(&mut input, n)?;
        let n_whole = forms.iter().filter(|form| **form < FLOAT).count();
        let mut whole = read_column(&mut input, n_whole)?.into_iter();
        let mut points = Vec::with_capacity(n);
        for (((at, received), mark), form) in times.into_iter().zip(received).zip(marks).zip(forms) {
            let value = match form {
                FLOAT => Value::Number(input.float()?),
                TEXT => {
                    let n_bytes = usize::try_from(input.unsigned()?).ok()?;
                    Value::Text(std::str::from_utf8(input.bytes(n_bytes)?).ok()?.into())
                }
                k => Value::Number(from_decimal(u8::try_from(k).ok()?, whole.next()?)?),
            };
            points.push(Kept {
                at,
                received,
                value,
                quality: u16::try_from(mark).ok()?,
            });
        }
        let mut points = points.into_iter();
        let mut all = Vec::with_capacity(ids.len());
        for (id, count) in ids.into_iter().zip(counts) {
            let count = usize::try_from(count).ok().filter(|n| *n <= points.len())?;
            let of_series: Vec<Kept> = points.by_ref().take(count).collect();
            if !of_series.is_sorted_by(|a, b| a.at < b.at) {
                return None;
            }
            all.push((SeriesId(u32::try_from(id).ok()?), of_series));
        }
        (points.len() == 0 && input.0.is_empty()).then_some(all)
    }
}

/// The rows that there are, oldest first.
#[derive(Default)]
pub(super) struct Rows {
    /// Number and points of each.
    kept: std::collections::VecDeque<(u64, usize)>,
    n_points: usize,
    /// The number of the next.
    next: u64,
}

impl Rows {
    pub(super) fn next(&self) -> u64 {
        self.next
    }
    /// The oldest, as many as have to go.
    pub(super) fn too_old(&self) -> Vec<u64> {
        let mut n_rows = self.kept.len();
        let mut n_points = self.n_points;
        self.kept
            .iter()
            .take_while(|(_, n)| {
                let has_to_go = n_rows > MAX_ROWS || n_points > MAX_POINTS;
                n_rows -= 1;
                n_points -= n;
                has_to_go
            })
            .map(|(number, _)| *number)
            .collect()
    }
    pub(super) fn forget(&mut self, n: usize) {
        self.n_points -= self.kept.drain(..n).map(|(_, n)| n).sum::<usize>();
    }
    pub(super) fn note(&mut self, number: u64, n_points: usize) {
        self.kept.push_back((number, n_points));
        self.n_points += n_points;
        self.next = number + 1;
    }
}

impl Disk {
    /// Lays the rows over the heads as they were read, the oldest first, each over those heads that do not have
    /// it yet. A damaged row is reported and left out. With the rows goes the largest number of a series in them.
    pub(super) fn load_growth(
        &self,
        memory: &Memory,
        next: u64,
        gone: &mut Gone,
    ) -> Result<(Rows, SeriesId), HistoryError> {
        let mut largest = SeriesId(0);
        let mut rows = Rows {
            next,
            ..Rows::default()
        };
        for row in self.growth.iter() {
            let (key, row) = row.into_inner().map_err(HistoryError::reading)?;
            let Some(number) = number_of(&key) else {
                self.report_damage("growth", &key);
                gone.n_growth += 1;
                continue;
            };
            let mut n_points = 0;
            match unseal(&key, &row).and_then(Growth::decode) {
                Some(all) => {
                    for (id, points) in all {
                        n_points += points.len();
                        largest = largest.max(id);
                        memory.write(id, |series| series.grow(number, points));
                    }
                }
                None => {
                    self.report_damage("growth", &key);
                    gone.n_growth += 1;
                }
            }
            rows.note(number, n_points);
        }
        rows.next = rows.next.max(next);
        Ok((rows, largest))
    }

    /// The series that a row speaks of; `None` when it cannot be read.
    pub(super) fn in_growth(
        &self,
        snapshot: &Snapshot,
        number: u64,
    ) -> Result<Option<Vec<SeriesId>>, HistoryError> {
        let key = number.to_be_bytes();
        let row = snapshot.get(&self.growth, key).map_err(HistoryError::reading)?;
        let all = row.and_then(|row| Growth::decode(unseal(&key, &row)?));
        Ok(all.map(|all| all.into_iter().map(|(id, _)| id).collect()))
    }
}

/// The number of a row, from its key.
pub(super) fn number_of(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            (-9999i64..9999, 0u8..4).prop_map(|(w, k)| Value::Number(w as f64 / 10f64.powi(k.into()))),
            any::<f64>()
                .prop_filter("finite", |n| n.is_finite())
                .prop_map(Value::Number),
            "[a-z门]{0,4}".prop_map(|text| Value::Text(text.into())),
        ]
    }

    fn points() -> impl Strategy<Value = Vec<Kept>> {
        let point = (1i64..100_000, -5000i64..9_000_000, value(), any::<u16>());
        prop::collection::vec(point, 0..5).prop_map(|steps| {
            let mut at = 1_790_000_000_000;
            let mut points = Vec::new();
            for (step, delay, value, quality) in steps {
                at += step;
                points.push(Kept {
                    at,
                    received: at + delay,
                    value,
                    quality,
                });
            }
            points
        })
    }

    proptest! {
        #[test]
        fn a_row_gives_back_what_was_put_in(all in prop::collection::vec(points(), 0..40)) {
            let mut growth = Growth::default();
            for (id, points) in (7u32..).step_by(3).zip(&all) {
                growth.push(SeriesId(id), points.clone());
            }
            let row = growth.encode();
            let read = Growth::decode(&row).unwrap();
            prop_assert_eq!(read.len(), all.len());
            for ((id, points), (want_id, want)) in read.iter().zip((7u32..).step_by(3).zip(&all)) {
                prop_assert_eq!(id.0, want_id);
                prop_assert_eq!(points, want);
            }
            for n in 0..row.len() {
                prop_assert!(Growth::decode(&row[..n]).is_none() || row.len() == n);
            }
        }
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Growth::decode(&bytes);
        }
    }

    #[test]
    fn the_oldest_rows_go_when_there_are_many() {
        let mut rows = Rows::default();
        let n = MAX_ROWS as u64;
        for number in 0..n {
            rows.note(number, 10);
        }
        assert!(rows.too_old().is_empty());
        rows.note(n, 10);
        rows.note(n + 1, 10);
        assert_eq!(rows.too_old(), [0, 1]);
        rows.forget(2);
        assert!(rows.too_old().is_empty());
        rows.note(n + 2, MAX_POINTS);
        assert_eq!(rows.too_old().len(), MAX_ROWS, "all but the large one");
        assert_eq!(rows.next(), n + 3);
    }
}
