//! A year of days: means, percentiles, and whether there are days enough (HJ 663).
//!
//! Days of sand and dust that the authority has named are left out of particles, as the standard's supplement has it;
//! they are counted and stay in the history.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use onemap_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Pollutant, Validity};
use crate::decimal::tidy;
use crate::edition::{self, DataError, Edition, on_day};

const FILE: &str = "air_year.json";
const DATA: &str = include_str!("../../data/air_year.json");

/// The rules as the data file has them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct YearStandards {
    editions: Vec<YearStandard>,
}

/// One edition.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct YearStandard {
    /// When it holds.
    pub edition: Edition,
    percentiles: BTreeMap<Pollutant, u8>,
    year_means: BTreeSet<Pollutant>,
    sand_dust_leaves_out: BTreeSet<Pollutant>,
}

/// A pollutant's year.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Year {
    /// Mean of its days; only of pollutants that have a limit of the year.
    pub mean: Option<f64>,
    /// The percentile of its days.
    pub percentile: Option<f64>,
    /// Which percentile that is.
    pub percent: Option<u8>,
    /// Days that it is made of.
    pub n_days: usize,
    /// Days of sand and dust that were left out.
    pub n_sand_dust: usize,
    /// Whether these are as many, in the year and in each month, as the standard wants.
    pub is_valid: bool,
    /// The edition.
    pub standard: String,
}

/// The rules of this program.
///
/// # Panics
/// Never: the data file is checked by a test, since it is part of the program.
pub fn year_standards() -> &'static YearStandards {
    static STANDARDS: OnceLock<YearStandards> = OnceLock::new();
    STANDARDS.get_or_init(|| YearStandards::parse(DATA).expect("a test reads this file"))
}

impl YearStandards {
    /// Reads a data file.
    ///
    /// # Errors
    /// [`DataError`] with what is wrong in it.
    pub fn parse(text: &str) -> Result<Self, DataError> {
        let fault = |why: String| DataError { file: FILE, why };
        let all: Self = serde_json::from_str(text).map_err(|e| fault(e.to_string()))?;
        edition::check(FILE, all.editions.iter().map(|one| &one.edition))?;
        for one in &all.editions {
            if one
                .percentiles
                .values()
                .any(|percent| !(1..=100).contains(percent))
            {
                return Err(fault(format!("{}: a percentile is not 1 to 100", one.edition.id)));
            }
        }
        Ok(all)
    }

    /// The edition that holds for a year that ends then.
    pub fn at(&self, end: Timestamp) -> Option<&YearStandard> {
        on_day(&self.editions, |one| &one.edition, end)
    }
}

impl YearStandard {
    /// A pollutant's year from its valid days, each with the end of its period (midnight is the end of the day before) and
    /// its value, of ozone the largest mean of eight hours. `sand_dust` are days as [`Timestamp::beijing_day`] counts
    /// them; they count as measured. Of a day that stands twice the first counts.
    pub fn year_of(
        &self,
        pollutant: Pollutant,
        days: impl IntoIterator<Item = (Timestamp, f64)>,
        sand_dust: &BTreeSet<i64>,
        validity: &Validity,
    ) -> Year {
        let leaves_out = self.sand_dust_leaves_out.contains(&pollutant);
        let (mut values, mut n_sand_dust) = (Vec::new(), 0);
        let (mut by_month, mut seen) = ([0usize; 12], BTreeSet::new());
        for (end, value) in days.into_iter().filter(|(_, value)| value.is_finite()) {
            let inside = Timestamp::from_ms(end.ms().saturating_sub(1));
            let day = inside.beijing_day();
            let Some(month) = month_of(inside).filter(|_| seen.insert(day)) else {
                continue;
            };
            by_month[month] += 1;
            match leaves_out && sand_dust.contains(&day) {
                true => n_sand_dust += 1,
                false => values.push(value),
            }
        }
        values.sort_by(f64::total_cmp);
        let wanted = |month: usize| match month {
            FEBRUARY => validity.february_days,
            _ => validity.month_days,
        };
        let months = by_month.iter().enumerate();
        let has_months = months.fold(true, |all, (month, n)| all && *n >= wanted(month));
        let percent = self.percentiles.get(&pollutant).copied();
        let mean = tidy(values.iter().sum::<f64>() / values.len() as f64);
        Year {
            mean: Some(mean).filter(|mean| self.year_means.contains(&pollutant) && mean.is_finite()),
            percentile: percent.and_then(|percent| percentile(&values, percent)),
            percent,
            n_days: values.len(),
            n_sand_dust,
            is_valid: seen.len() >= validity.year_days && has_months,
            standard: self.edition.id.clone(),
        }
    }
}

/// The second of twelve, counted from 0.
const FEBRUARY: usize = 1;

/// The month of the Beijing calendar, counted from 0.
fn month_of(moment: Timestamp) -> Option<usize> {
    // Times are written in Beijing time: `2026-02-28T…`.
    let text = moment.to_string();
    let month: usize = text.get(5..7)?.parse().ok()?;
    month.checked_sub(1).filter(|month| *month < 12)
}

/// A percentile of values that rise: between the two whose places are around `1 + (n - 1) * p / 100`, in proportion.
/// `None` without values.
pub fn percentile(rising: &[f64], percent: u8) -> Option<f64> {
    // In hundredths of a place, from 0.
    let place = rising.len().checked_sub(1)? * usize::from(percent.min(100));
    let (below, part) = (place / 100, place % 100);
    let low = *rising.get(below)?;
    let high = rising.get(below + 1).copied().unwrap_or(low);
    Some(low + (high - low) * part as f64 / 100.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::air::limits;

    const DAY_MS: i64 = 86_400_000;

    /// The end of a day of 2025, counted from 0.
    fn end(day: i64) -> Timestamp {
        let first = Timestamp::parse("2025-01-01T00:00:00+08:00").unwrap();
        Timestamp::from_ms(first.ms() + (day + 1) * DAY_MS)
    }

    fn year(pollutant: Pollutant, days: &[(i64, f64)], sand_dust: &[i64]) -> Year {
        let standard = year_standards().at(end(364)).unwrap();
        let first = end(0).beijing_day() - 1;
        let sand_dust = sand_dust.iter().map(|day| first + day).collect();
        let days = days.iter().map(|(day, value)| (end(*day), *value));
        standard.year_of(
            pollutant,
            days,
            &sand_dust,
            &limits().at(end(364)).unwrap().validity,
        )
    }

    #[test]
    fn a_percentile_lies_between_two_days_in_proportion() {
        // 1 + (11 - 1) * 0.95 = 10.5: halfway between the tenth and the eleventh.
        let rising: Vec<f64> = (1..=11).map(f64::from).collect();
        assert_eq!(percentile(&rising, 95), Some(10.5));
        assert_eq!(percentile(&rising, 100), Some(11.0));
        assert_eq!(percentile(&[7.0], 95), Some(7.0));
        assert_eq!(percentile(&[], 95), None);
    }

    #[test]
    fn a_year_needs_324_days_and_27_of_each_month_25_of_february() {
        let all: Vec<(i64, f64)> = (0..365).map(|day| (day, 30.0)).collect();
        assert!(year(Pollutant::Pm25, &all, &[]).is_valid);
        // January has 27 days left, then 26.
        let without = |gone: &[i64]| -> Vec<(i64, f64)> {
            all.iter()
                .copied()
                .filter(|(day, _)| !gone.contains(day))
                .collect()
        };
        assert!(year(Pollutant::Pm25, &without(&[0, 1, 2, 3]), &[]).is_valid);
        assert!(!year(Pollutant::Pm25, &without(&[0, 1, 2, 3, 4]), &[]).is_valid);
        // Day 31 is the first of February.
        assert!(year(Pollutant::Pm25, &without(&[31, 32, 33]), &[]).is_valid);
        assert!(!year(Pollutant::Pm25, &without(&[31, 32, 33, 34]), &[]).is_valid);
        // Each month has enough, the year has 323.
        let gone: Vec<i64> = (0..365).filter(|day| day % 30 < 4).take(42).collect();
        let few = year(Pollutant::Pm25, &without(&gone), &[]);
        assert_eq!((few.n_days, few.is_valid), (323, false));
    }

    #[test]
    fn days_of_sand_and_dust_are_left_out_of_particles_and_counted() {
        let mut days: Vec<(i64, f64)> = (0..365).map(|day| (day, 50.0)).collect();
        days[100].1 = 1500.0;
        days[101].1 = 900.0;
        days.push((100, 1.0));
        let dusty = year(Pollutant::Pm10, &days, &[100, 101]);
        assert_eq!(
            (dusty.mean, dusty.percentile, dusty.percent),
            (Some(50.0), Some(50.0), Some(95))
        );
        assert_eq!((dusty.n_days, dusty.n_sand_dust, dusty.is_valid), (363, 2, true));
        let gas = year(Pollutant::No2, &days, &[100, 101]);
        assert_eq!((gas.n_days, gas.n_sand_dust), (365, 0));
        let ozone = year(Pollutant::O3, &days, &[]);
        assert_eq!(
            (ozone.mean, ozone.percent),
            (None, Some(90)),
            "ozone has no limit of the year"
        );
        let none = year(Pollutant::Pm10, &[], &[]);
        assert_eq!((none.mean, none.percentile, none.is_valid), (None, None, false));
    }

    #[test]
    fn faults_in_the_data_are_told() {
        assert!(DATA.contains("\"o3\": 90"));
        assert!(YearStandards::parse(&DATA.replace("\"o3\": 90", "\"o3\": 0")).is_err());
    }
}
