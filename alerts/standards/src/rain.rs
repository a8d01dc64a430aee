//! Grades of rain by its total of 12 or 24 hours (GB/T 28592), and the hydrological day from 8 to 8 h.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use onemap_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::decimal::round_half_even;
use crate::edition::{self, DataError, Edition, on_day};

const FILE: &str = "rain.json";
const DATA: &str = include_str!("../data/rain.json");
const DAY_MS: i64 = 86_400_000;

/// The grades as the data file has them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RainStandards {
    editions: Vec<RainStandard>,
}

/// One edition.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RainStandard {
    /// When it holds.
    pub edition: Edition,
    grades: Vec<Grade>,
}

/// A grade of rain.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Grade {
    /// 0 (traces) to 6.
    pub grade: u8,
    /// Chinese name.
    pub zh: String,
    /// English name.
    pub en: String,
    /// The least total of 24 hours, mm.
    pub from_24h: f64,
    /// The least total of 12 hours, mm.
    pub from_12h: f64,
}

/// Over how long a total was gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Total {
    /// 12 hours.
    Hours12,
    /// 24 hours.
    Hours24,
}

/// The standards of this program.
///
/// # Panics
/// Never: the data file is checked by a test, since it is part of the program.
pub fn standards() -> &'static RainStandards {
    static STANDARDS: OnceLock<RainStandards> = OnceLock::new();
    STANDARDS.get_or_init(|| RainStandards::parse(DATA).expect("a test reads this file"))
}

impl RainStandards {
    /// Reads a data file.
    ///
    /// # Errors
    /// [`DataError`] with what is wrong in it.
    pub fn parse(text: &str) -> Result<Self, DataError> {
        let fault = |why: &str| DataError {
            file: FILE,
            why: why.to_owned(),
        };
        let all: Self = serde_json::from_str(text).map_err(|e| fault(&e.to_string()))?;
        edition::check(FILE, all.editions.iter().map(|one| &one.edition))?;
        for one in &all.editions {
            let rises = one
                .grades
                .is_sorted_by(|a, b| a.from_24h < b.from_24h && a.from_12h < b.from_12h);
            if !rises || one.grades.is_empty() {
                return Err(fault("the grades do not rise"));
            }
        }
        Ok(all)
    }
    /// The edition that holds for a total that ends then.
    pub fn at(&self, end: Timestamp) -> Option<&RainStandard> {
        on_day(&self.editions, |one| &one.edition, end)
    }
}

impl RainStandard {
    /// The grade of a total in mm, to a tenth; `None` when nothing fell, or it is negative or no number.
    pub fn grade(&self, mm: f64, total: Total) -> Option<&Grade> {
        let tenths = round_half_even(mm, 1)?;
        if mm <= 0.0 {
            return None;
        }
        let least = |grade: &Grade| match total {
            Total::Hours12 => grade.from_12h,
            Total::Hours24 => grade.from_24h,
        };
        let reached = |grade: &&Grade| round_half_even(least(grade), 1).is_some_and(|from| tenths >= from);
        self.grades.iter().rfind(reached)
    }
}

/// A hydrological day's rain.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RainDay {
    /// Its end, 8 h.
    pub end: Timestamp,
    /// What fell, mm, to a tenth.
    pub mm: f64,
    /// Hours that it is made of.
    pub n_hours: usize,
    /// Whether all 24 are there; without them more may have fallen.
    pub is_whole: bool,
    /// The grade of the total; `None` when nothing fell.
    pub grade: Option<Grade>,
}

impl RainStandard {
    /// The day that ends then, from the totals of hours with the time of their ends; others are left out, and of an hour
    /// that stands twice the first counts. `None` when no hour of the day is there: that is unknown, not dry.
    pub fn day(&self, end: Timestamp, hours: impl IntoIterator<Item = (Timestamp, f64)>) -> Option<RainDay> {
        let mut of_day = BTreeMap::new();
        for (hour, mm) in hours {
            if rain_day(hour) == end && mm.is_finite() && mm >= 0.0 {
                of_day.entry(hour).or_insert(mm);
            }
        }
        let total: f64 = of_day.values().sum();
        let mm = round_half_even(total, 1)? as f64 / 10.0;
        (!of_day.is_empty()).then(|| RainDay {
            end,
            mm,
            n_hours: of_day.len(),
            is_whole: of_day.len() >= 24,
            grade: self.grade(total, Total::Hours24).cloned(),
        })
    }
}

/// The hydrological day that a value belongs to whose period ends then: from 8 h (itself outside) of one day to 8 h
/// of the next, Beijing time. Given by its end.
pub fn rain_day(end: Timestamp) -> Timestamp {
    // 8 h in Beijing is midnight in UTC.
    Timestamp::from_ms((end.ms() - 1).div_euclid(DAY_MS) * DAY_MS + DAY_MS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn totals_have_the_grade_that_they_reach() {
        let standard = standards().at(at("2026-07-01T08:00:00+08:00")).unwrap();
        for (mm, of_24h, of_12h) in [
            (0.0, None, None),
            (-1.0, None, None),
            (f64::NAN, None, None),
            (0.04, Some("微量"), Some("微量")),
            (0.1, Some("小雨"), Some("小雨")),
            (4.9, Some("小雨"), Some("小雨")),
            (5.0, Some("小雨"), Some("中雨")),
            (9.9, Some("小雨"), Some("中雨")),
            (9.96, Some("中雨"), Some("中雨")),
            (25.0, Some("大雨"), Some("大雨")),
            (30.0, Some("大雨"), Some("暴雨")),
            (99.9, Some("暴雨"), Some("大暴雨")),
            (250.0, Some("特大暴雨"), Some("特大暴雨")),
        ] {
            let grade = |total| standard.grade(mm, total).map(|grade| grade.zh.as_str());
            assert_eq!(
                (grade(Total::Hours24), grade(Total::Hours12)),
                (of_24h, of_12h),
                "{mm}"
            );
        }
    }

    #[test]
    fn a_day_is_made_of_its_own_hours_and_says_when_some_are_missing() {
        let end = at("2026-07-02T08:00:00+08:00");
        let standard = standards().at(end).unwrap();
        let hour = |h: i64, mm: f64| (Timestamp::from_ms(end.ms() - (24 - h) * 3_600_000), mm);
        // Hour 0 ends at 8 h of the day before and is not of this day.
        let all: Vec<_> = (0..=24)
            .map(|h| hour(h, if h == 0 { 90.0 } else { 1.1 }))
            .collect();
        let day = standard.day(end, all).unwrap();
        assert_eq!((day.mm, day.n_hours, day.is_whole), (26.4, 24, true));
        assert_eq!(day.grade.unwrap().zh, "大雨");
        let few = standard
            .day(
                end,
                [hour(1, 0.0), hour(1, 7.0), hour(2, f64::NAN), hour(3, -1.0)],
            )
            .unwrap();
        assert_eq!(
            (few.mm, few.n_hours, few.is_whole, few.grade),
            (0.0, 1, false, None)
        );
        assert_eq!(standard.day(end, [hour(0, 5.0)]), None);
    }

    #[test]
    fn a_rain_day_ends_at_8_h() {
        for (end, day) in [
            ("2026-07-01T08:00:00+08:00", "2026-07-01T08:00:00+08:00"),
            ("2026-07-01T08:00:00.001+08:00", "2026-07-02T08:00:00+08:00"),
            ("2026-07-01T23:00:00+08:00", "2026-07-02T08:00:00+08:00"),
            ("2026-07-02T07:00:00+08:00", "2026-07-02T08:00:00+08:00"),
        ] {
            assert_eq!(rain_day(at(end)), at(day), "{end}");
        }
    }
}
