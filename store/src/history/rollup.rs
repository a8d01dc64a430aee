//! Rollups: what each hour of a closed day held, so that years are answered without their points.
//!
//! Keyspace `rollups`, key series | day | 0: one row for a series and a day of the Beijing calendar.
//! Days that begin at eight (rain and hydrology) are made of hours of two rows. A row is there only
//! while it is true: what changes a day removes its row in the same batch.

use super::chunk::Numbers;
use super::column::{Input, put_column, read_column};
use super::point::Agg;

pub(super) const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Beijing's clock is ahead of UTC by this.
const BEIJING_MS: i64 = 8 * HOUR_MS;
const N_HOURS: usize = 24;
/// Most decimals that are tried before the numbers are kept as floating point.
const MAX_DECIMALS: u8 = 6;
const AS_FLOATS: u8 = 255;

/// The Beijing day that holds a time.
pub(super) fn day_of(at: i64) -> i64 {
    at.saturating_add(BEIJING_MS).div_euclid(DAY_MS)
}

/// First and last millisecond of a Beijing day.
pub(super) fn day_range(day: i64) -> (i64, i64) {
    let first = day.saturating_mul(DAY_MS).saturating_sub(BEIJING_MS);
    (first, first.saturating_add(DAY_MS - 1))
}

/// What a span of time held: a step of a question, an hour of a day.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Held {
    pub(crate) n: u64,
    pub(crate) n_flagged: u64,
    /// Without first and last when it comes out of a row, which keeps neither.
    pub(crate) numbers: Option<Numbers>,
}

impl Held {
    /// With what came after it.
    pub(crate) fn add(&mut self, n: u64, n_flagged: u64, newer: Option<&Numbers>) {
        self.n += n;
        self.n_flagged += n_flagged;
        match (&mut self.numbers, newer) {
            (Some(numbers), Some(newer)) => numbers.append(newer),
            (None, newer) => self.numbers = newer.cloned(),
            (Some(_), None) => {}
        }
    }
}

/// What a day held, hour by hour.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Day {
    pub(super) hours: [Held; N_HOURS],
}

impl Day {
    /// The hour of this day that holds a time of it.
    pub(super) fn hour_mut(&mut self, at: i64) -> &mut Held {
        let hour = at.saturating_add(BEIJING_MS).rem_euclid(DAY_MS) / HOUR_MS;
        &mut self.hours[hour as usize]
    }

    /// The row to be kept.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(160);
        let column = |of: fn(&Held) -> u64| self.hours.iter().map(|h| of(h) as i64).collect::<Vec<i64>>();
        put_column(&mut row, &column(|h| h.n));
        put_column(&mut row, &column(|h| h.n_flagged));
        put_column(&mut row, &column(|h| h.numbers.as_ref().map_or(0, |n| n.n)));
        let numbers: Vec<&Numbers> = self.hours.iter().filter_map(|h| h.numbers.as_ref()).collect();
        if numbers.is_empty() {
            return row;
        }
        let columns = [
            numbers.iter().map(|n| n.min).collect::<Vec<f64>>(),
            numbers.iter().map(|n| n.max).collect(),
            numbers.iter().map(|n| n.sum).collect(),
        ];
        match decimals(&columns) {
            Some((k, columns)) => {
                row.push(k);
                columns.iter().for_each(|whole| put_column(&mut row, whole));
            }
            None => {
                row.push(AS_FLOATS);
                for number in columns.iter().flatten() {
                    row.extend(number.to_bits().to_le_bytes());
                }
            }
        }
        row
    }

    /// Reads a row; `None` is damage.
    pub(super) fn decode(row: &[u8]) -> Option<Self> {
        let mut input = Input(row);
        let n = read_column(&mut input, N_HOURS)?;
        let n_flagged = read_column(&mut input, N_HOURS)?;
        let n_numbers = read_column(&mut input, N_HOURS)?;
        let present = n_numbers.iter().filter(|n| **n != 0).count();
        let mut columns = [Vec::new(), Vec::new(), Vec::new()];
        if present > 0 {
            let k = input.byte()?;
            for column in &mut columns {
                *column = match k {
                    AS_FLOATS => (0..present)
                        .map(|_| input.float())
                        .collect::<Option<Vec<f64>>>()?,
                    k if k <= MAX_DECIMALS => {
                        let scale = 10f64.powi(i32::from(k));
                        let whole = read_column(&mut input, present)?;
                        whole.into_iter().map(|w| w as f64 / scale).collect()
                    }
                    _ => return None,
                };
            }
        }
        let [min, max, sum] = columns;
        let mut numbers = min.into_iter().zip(max).zip(sum);
        let mut day = Self::default();
        for (i, hour) in day.hours.iter_mut().enumerate() {
            hour.n = u64::try_from(n[i]).ok()?;
            hour.n_flagged = u64::try_from(n_flagged[i]).ok()?;
            if n_numbers[i] != 0 {
                let ((min, max), sum) = numbers.next()?;
                hour.numbers = Some(Numbers {
                    n: u64::try_from(n_numbers[i]).ok()?,
                    min,
                    max,
                    sum,
                    first: f64::NAN,
                    last: f64::NAN,
                });
            }
        }
        input.0.is_empty().then_some(day)
    }
}

/// The columns as whole multiples of `10^-k`: smallest and largest to the bit, sums to within the error of
/// their own adding up.
fn decimals(columns: &[Vec<f64>; 3]) -> Option<(u8, [Vec<i64>; 3])> {
    const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
    'scale: for k in 0..=MAX_DECIMALS {
        let scale = 10f64.powi(i32::from(k));
        let mut whole = [Vec::new(), Vec::new(), Vec::new()];
        for (i, column) in columns.iter().enumerate() {
            for number in column {
                let scaled = (number * scale).round();
                if !scaled.is_finite() || scaled.abs() >= MAX_EXACT {
                    return None;
                }
                let back = scaled / scale;
                let is_exact = back.to_bits() == number.to_bits();
                let is_sum = i == 2 && (back - number).abs() <= 1e-12 * number.abs().max(1.0);
                if !is_exact && !is_sum {
                    continue 'scale;
                }
                whole[i].push(scaled as i64);
            }
        }
        return Some((k, whole));
    }
    None
}

/// Whether rows hold all that an aggregate needs for steps of `step_ms` that begin at `first`.
pub(super) fn can_answer(agg: Agg, first: i64, step_ms: u64) -> bool {
    let by_hours = first.rem_euclid(HOUR_MS) == 0 && step_ms > 0 && step_ms.is_multiple_of(HOUR_MS as u64);
    by_hours && matches!(agg, Agg::Mean | Agg::Min | Agg::Max | Agg::Sum | Agg::Count)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn numbers(n: u64, min: f64, max: f64, sum: f64) -> Option<Numbers> {
        Some(Numbers {
            n,
            min,
            max,
            sum,
            first: f64::NAN,
            last: f64::NAN,
        })
    }

    fn same(a: &Day, b: &Day) -> bool {
        a.hours.iter().zip(&b.hours).all(|(a, b)| {
            let close = |a: &Numbers, b: &Numbers| {
                (a.n, a.min.to_bits(), a.max.to_bits()) == (b.n, b.min.to_bits(), b.max.to_bits())
                    && (a.sum.to_bits() == b.sum.to_bits()
                        || (a.sum - b.sum).abs() <= 1e-12 * a.sum.abs().max(1.0))
            };
            (a.n, a.n_flagged) == (b.n, b.n_flagged)
                && match (&a.numbers, &b.numbers) {
                    (Some(a), Some(b)) => close(a, b),
                    (None, None) => true,
                    _ => false,
                }
        })
    }

    #[test]
    fn days_meet_without_a_gap_at_midnight_in_beijing() {
        let midnight = 1_763_827_200_000; // 2025-11-23 00:00 +08:00
        assert_eq!(day_range(day_of(midnight)).0, midnight);
        assert_eq!(day_of(midnight - 1) + 1, day_of(midnight));
        for at in [i64::MIN + DAY_MS, -1, 0, midnight] {
            let (first, last) = day_range(day_of(at));
            assert!(first <= at && at <= last, "{at}");
            assert_eq!(day_range(day_of(at) + 1).0, last + 1);
        }
        let mut day = Day::default();
        day.hour_mut(midnight + 90 * 60_000).n = 1;
        assert_eq!(day.hours[1].n, 1);
    }

    #[test]
    fn a_day_of_a_minute_series_takes_a_twelfth_of_a_byte_a_point() {
        let mut day = Day::default();
        for (i, hour) in day.hours.iter_mut().enumerate() {
            let low = 200.0 + (i * 37 % 16) as f64;
            hour.n = 60;
            hour.numbers = numbers(60, low / 10.0, (low + 13.0) / 10.0, low * 6.0 + 30.7);
        }
        let row = day.encode();
        assert!(row.len() <= 120, "{} bytes", row.len());
        assert!(same(&Day::decode(&row).unwrap(), &day));
    }

    #[test]
    fn a_sum_with_more_decimals_than_its_ends_keeps_them() {
        let mut day = Day::default();
        day.hours[3].n = 2;
        day.hours[3].numbers = numbers(3, 1.0, 2.0, 4.55);
        let back = Day::decode(&day.encode()).unwrap();
        assert_eq!(back.hours[3].numbers.as_ref().unwrap().sum, 4.55);
    }

    proptest! {
        #[test]
        fn any_day_comes_back(rows in prop::collection::vec(
            (0u64..5000, 0u64..10, prop::option::of((1u64..5000, any::<f64>(), -50i32..50, any::<f64>()))), N_HOURS
        )) {
            let mut day = Day::default();
            for (hour, (n, n_flagged, held)) in day.hours.iter_mut().zip(rows) {
                hour.n = n;
                hour.n_flagged = n_flagged;
                hour.numbers = held.and_then(|(n, min, max, sum)| numbers(n, min, f64::from(max) / 10.0, sum));
            }
            prop_assert!(same(&Day::decode(&day.encode()).unwrap(), &day));
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Day::decode(&bytes);
        }
    }
}
