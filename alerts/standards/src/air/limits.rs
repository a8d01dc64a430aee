//! Limits of ambient air by date and class (GB 3095), and when there are enough values for one to be judged.
//!
//! A value exceeds a limit (超标) only where the law has one for its pollutant and its averaging: an hour of PM2.5 has
//! none.

use std::sync::OnceLock;

use onemap_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Averaging, Pollutant, standards as index_standards};
use crate::decimal::{round_half_even, tidy};
use crate::edition::{self, DataError, Edition, on_day};

const FILE: &str = "air_limits.json";
const DATA: &str = include_str!("../../data/air_limits.json");

/// The limits as the data file has them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AirLimits {
    classes: Vec<ClassName>,
    editions: Vec<AirLimit>,
}

/// How strict: what kind of place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Class {
    /// Class 1: nature reserves and the like.
    First,
    /// Class 2: where people live.
    Second,
}

impl TryFrom<u8> for Class {
    type Error = String;
    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            1 => Ok(Self::First),
            2 => Ok(Self::Second),
            other => Err(format!("class {other} is neither 1 nor 2")),
        }
    }
}

impl From<Class> for u8 {
    fn from(class: Class) -> Self {
        match class {
            Class::First => 1,
            Class::Second => 2,
        }
    }
}

/// What a class is called.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClassName {
    /// Which.
    pub class: Class,
    /// Chinese name.
    pub zh: String,
    /// Where it holds.
    pub place: String,
}

/// How many values a mean needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Validity {
    /// Minutes of an hour's mean.
    pub hour_minutes: usize,
    /// Hours of a mean of eight.
    pub eight_hours: usize,
    /// Hours of a day's mean.
    pub day_hours: usize,
    /// Means of eight hours, of the 17 that end at 8 to 24 h, of a day's largest.
    pub ozone_means: usize,
    /// Days of each month of a year.
    pub month_days: usize,
    /// Days of February.
    pub february_days: usize,
    /// Days of a year.
    pub year_days: usize,
}

/// One edition.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AirLimit {
    /// When it holds.
    pub edition: Edition,
    /// How many values a mean needs.
    pub validity: Validity,
    limits: Vec<Limit>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    pollutant: Pollutant,
    averaging: Averaging,
    class_1: f64,
    class_2: f64,
}

/// What the law says of a value.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "judged", rename_all = "snake_case")]
pub enum Judged {
    /// It has no limit for this pollutant and averaging: neither met nor exceeded.
    NoLimit,
    /// The limit is met; a value that is equal to it meets it.
    Met {
        /// The limit.
        limit: f64,
    },
    /// 超标.
    Exceeded {
        /// The limit.
        limit: f64,
        /// By how many times: value / limit - 1.
        factor: f64,
    },
}

/// The limits of this program.
///
/// # Panics
/// Never: the data file is checked by a test, since it is part of the program.
pub fn limits() -> &'static AirLimits {
    static LIMITS: OnceLock<AirLimits> = OnceLock::new();
    LIMITS.get_or_init(|| AirLimits::parse(DATA).expect("a test reads this file"))
}

impl AirLimits {
    /// Reads a data file.
    ///
    /// # Errors
    /// [`DataError`] with what is wrong in it.
    pub fn parse(text: &str) -> Result<Self, DataError> {
        let fault = |why: String| DataError { file: FILE, why };
        let all: Self = serde_json::from_str(text).map_err(|e| fault(e.to_string()))?;
        edition::check(FILE, all.editions.iter().map(|one| &one.edition))?;
        for class in [Class::First, Class::Second] {
            if !all.classes.iter().any(|name| name.class == class) {
                return Err(fault(format!("class {} has no name", u8::from(class))));
            }
        }
        for one in &all.editions {
            for (i, limit) in one.limits.iter().enumerate() {
                let what = format!(
                    "{}: {:?} of {:?}",
                    one.edition.id, limit.averaging, limit.pollutant
                );
                if !(0.0 < limit.class_1 && limit.class_1 <= limit.class_2) {
                    return Err(fault(format!("{what}: class 1 is not the stricter one")));
                }
                let same =
                    |other: &Limit| other.pollutant == limit.pollutant && other.averaging == limit.averaging;
                if one.limits[..i].iter().any(same) {
                    return Err(fault(format!("{what} stands twice")));
                }
            }
        }
        Ok(all)
    }

    /// The edition that holds for a value whose period ends then.
    pub fn at(&self, end: Timestamp) -> Option<&AirLimit> {
        on_day(&self.editions, |one| &one.edition, end)
    }
    /// What a class is called.
    pub fn name(&self, class: Class) -> Option<&ClassName> {
        self.classes.iter().find(|name| name.class == class)
    }
}

impl AirLimit {
    /// The limit, in ug/m3, of CO in mg/m3; `None` where the law has none.
    pub fn limit(&self, pollutant: Pollutant, averaging: Averaging, class: Class) -> Option<f64> {
        let found = self
            .limits
            .iter()
            .find(|limit| limit.pollutant == pollutant && limit.averaging == averaging)?;
        Some(match class {
            Class::First => found.class_1,
            Class::Second => found.class_2,
        })
    }

    /// Judges a value, rounded as concentrations are published; `None` when it is negative or no number.
    pub fn judge(
        &self,
        pollutant: Pollutant,
        averaging: Averaging,
        class: Class,
        value: f64,
    ) -> Option<Judged> {
        let decimals = index_standards().name(pollutant).decimals;
        let rounded = round_half_even(value, decimals).filter(|rounded| *rounded >= 0)?;
        let rounded = rounded as f64 / 10f64.powi(i32::try_from(decimals).ok()?);
        Some(match self.limit(pollutant, averaging, class) {
            None => Judged::NoLimit,
            Some(limit) if rounded <= limit => Judged::Met { limit },
            Some(limit) => Judged::Exceeded {
                limit,
                factor: tidy(rounded / limit - 1.0),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn on(day: &str) -> &'static AirLimit {
        let noon = Timestamp::parse(&format!("{day}T12:00:00+08:00")).unwrap();
        limits().at(noon).unwrap()
    }

    #[test]
    fn a_day_is_judged_by_the_edition_of_its_day() {
        for (day, id, limit, judged) in [
            ("2014-05-01", "GB 3095-2012", 75.0, Judged::Met { limit: 75.0 }),
            ("2026-02-28", "GB 3095-2012", 75.0, Judged::Met { limit: 75.0 }),
            (
                "2026-03-01",
                "GB 3095-2026 transition",
                60.0,
                Judged::Exceeded {
                    limit: 60.0,
                    factor: 0.25,
                },
            ),
            (
                "2031-01-01",
                "GB 3095-2026",
                50.0,
                Judged::Exceeded {
                    limit: 50.0,
                    factor: 0.5,
                },
            ),
        ] {
            let standard = on(day);
            assert_eq!(standard.edition.id, id);
            let of = (Pollutant::Pm25, Averaging::Day, Class::Second);
            assert_eq!(standard.limit(of.0, of.1, of.2), Some(limit));
            // 74.5 is published as 74, 75.4 as 75.
            assert_eq!(standard.judge(of.0, of.1, of.2, 75.4), Some(judged), "{day}");
        }
    }

    #[test]
    fn nothing_exceeds_where_the_law_has_no_limit() {
        let standard = on("2025-07-01");
        for (pollutant, averaging) in [
            (Pollutant::Pm25, Averaging::Hour),
            (Pollutant::Pm10, Averaging::Hour),
            (Pollutant::O3, Averaging::Day),
            (Pollutant::Co, Averaging::Year),
        ] {
            for class in [Class::First, Class::Second] {
                let judged = standard.judge(pollutant, averaging, class, 9999.0);
                assert_eq!(judged, Some(Judged::NoLimit), "{pollutant:?} {averaging:?}");
            }
        }
        let second = |pollutant, averaging, value| standard.judge(pollutant, averaging, Class::Second, value);
        assert_eq!(
            second(Pollutant::Co, Averaging::Hour, 10.04),
            Some(Judged::Met { limit: 10.0 }),
            "CO counts by a tenth"
        );
        assert!(matches!(
            second(Pollutant::O3, Averaging::EightHours, 161.0),
            Some(Judged::Exceeded { .. })
        ));
        assert_eq!(second(Pollutant::O3, Averaging::Hour, f64::NAN), None);
        assert_eq!(second(Pollutant::O3, Averaging::Hour, -1.0), None);
    }

    #[test]
    fn faults_in_the_data_are_told() {
        for (from, to) in [
            (
                "\"class_1\": 35, \"class_2\": 75",
                "\"class_1\": 85, \"class_2\": 75",
            ),
            ("\"2031-01-01\"", "\"2030-12-31\""),
            (
                "\"averaging\": \"year\", \"class_1\": 20, \"class_2\": 60",
                "\"averaging\": \"day\", \"class_1\": 20, \"class_2\": 60",
            ),
            ("\"class\": 1", "\"class\": 2"),
            ("\"class\": 1", "\"class\": 3"),
        ] {
            assert!(DATA.contains(from), "{from}");
            assert!(AirLimits::parse(&DATA.replacen(from, to, 1)).is_err(), "{to}");
        }
    }
}
