//! What of the hours of a day is its value: means, and of ozone the largest mean of eight hours.

use super::Validity;
use crate::decimal::tidy;

/// Hours of a sliding mean of ozone.
pub const EIGHT_HOURS: usize = 8;
/// A day's value, and of how much it is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Day {
    /// The value; there is one as soon as there is an hour.
    pub value: f64,
    /// Hours, or means of eight hours, that it is made of.
    pub n: usize,
    /// Whether these are as many as the standard wants.
    pub is_valid: bool,
}

/// The value of a day from its 24 hours, the one that ends at 1 h first; `None` without any. With
/// `by_eight_hours` the largest sliding mean of eight hours within the day, else the mean. A largest mean above
/// `limit` is valid however few there are. How many are enough, `validity` of the day's edition says.
pub fn day_of(
    hours: &[Option<f64>; 24],
    by_eight_hours: bool,
    limit: Option<f64>,
    validity: &Validity,
) -> Option<Day> {
    if !by_eight_hours {
        let (value, n) = mean(hours)?;
        let is_valid = n >= validity.day_hours;
        return Some(Day { value, n, is_valid });
    }
    let means: Vec<f64> = hours
        .windows(EIGHT_HOURS)
        .filter_map(|eight| mean(eight).filter(|(_, n)| *n >= validity.eight_hours))
        .map(|(mean, _)| mean)
        .collect();
    let value = means.iter().copied().reduce(f64::max)?;
    Some(Day {
        value,
        n: means.len(),
        is_valid: means.len() >= validity.ozone_means || limit.is_some_and(|limit| value > limit),
    })
}

fn mean(hours: &[Option<f64>]) -> Option<(f64, usize)> {
    let said: Vec<f64> = hours
        .iter()
        .flatten()
        .copied()
        .filter(|v| v.is_finite())
        .collect();
    (!said.is_empty()).then(|| (tidy(said.iter().sum::<f64>() / said.len() as f64), said.len()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::air::limits;

    fn validity() -> &'static Validity {
        let day = onemap_model::Timestamp::parse("2025-07-01T12:00:00+08:00").unwrap();
        &limits().at(day).unwrap().validity
    }

    /// Hours `from..to` of a day, counted from 1, with what they say.
    fn hours(say: &[(usize, usize, f64)]) -> [Option<f64>; 24] {
        let mut hours = [None; 24];
        for (from, to, value) in say {
            hours[from - 1..to - 1].fill(Some(*value));
        }
        hours
    }

    #[test]
    fn a_mean_of_a_day_needs_twenty_hours() {
        let day = |say: &[(usize, usize, f64)]| day_of(&hours(say), false, None, validity());
        assert_eq!(day(&[]), None);
        let of = |value, n, is_valid| Some(Day { value, n, is_valid });
        assert_eq!(day(&[(1, 20, 10.0)]), of(10.0, 19, false));
        assert_eq!(day(&[(1, 21, 10.0)]), of(10.0, 20, true));
        assert_eq!(day(&[(1, 13, 10.0), (13, 25, 30.0)]), of(20.0, 24, true));
    }

    #[test]
    fn ozone_is_the_largest_mean_of_eight_hours_that_has_six() {
        let day = |say: &[(usize, usize, f64)], limit| day_of(&hours(say), true, limit, validity());
        let of = |value, n, is_valid| Some(Day { value, n, is_valid });
        // 17 means end at 8 to 24 h.
        assert_eq!(day(&[(1, 25, 100.0)], None), of(100.0, 17, true));
        // Afternoon: 13 to 20 h at 180, the others at 60.
        assert_eq!(
            day(&[(1, 13, 60.0), (13, 21, 180.0), (21, 25, 60.0)], None),
            of(180.0, 17, true)
        );
        // Five hours make no mean, six do.
        assert_eq!(day(&[(1, 6, 100.0)], None), None);
        assert_eq!(day(&[(1, 7, 100.0)], None), of(100.0, 1, false));
        // Fewer than 14 means are valid only where they are above the limit all the same.
        assert_eq!(day(&[(9, 21, 170.0)], Some(160.0)), of(170.0, 9, true));
        assert_eq!(day(&[(9, 21, 150.0)], Some(160.0)), of(150.0, 9, false));
    }
}
