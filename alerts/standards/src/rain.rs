//! Grades of rain by its total of 12 or 24 hours (GB/T 28592), and the hydrological day from 8 to 8 h.

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
