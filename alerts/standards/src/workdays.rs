//! Working days 工作日: weekends, public holidays and the days that are worked in their place, as the State Council's yearly
//! notice has them. Days are those of the Beijing calendar, counted since 1970-01-01.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use onemap_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::edition::DataError;

const FILE: &str = "workdays.json";
const DATA: &str = include_str!("../data/workdays.json");

/// A public holiday, as it is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holiday {
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}

/// What a day is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DayKind<'a> {
    /// Monday to Friday, and nothing else is said of it.
    Weekday,
    /// Saturday or Sunday, and nothing else is said of it.
    Weekend,
    /// A day of a public holiday, whatever its weekday.
    Holiday(&'a Holiday),
    /// A Saturday or Sunday that is worked in place of another day (调休).
    MakeUp,
}

impl DayKind<'_> {
    /// Whether it is worked.
    pub fn is_worked(self) -> bool {
        matches!(self, Self::Weekday | Self::MakeUp)
    }
}

/// One year of a data file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenYear {
    year: u16,
    source: String,
    verified: bool,
    holidays: Vec<WrittenHoliday>,
    workdays: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenHoliday {
    zh: String,
    en: String,
    from: String,
    to: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    years: Vec<WrittenYear>,
}

/// Where the days of a year are from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// The year.
    pub year: u16,
    /// As it is cited.
    pub source: String,
    /// Whether the days were compared with its text.
    pub verified: bool,
}

/// The working days of some years. Of a year that is not among them only weekends are known.
#[derive(Debug, Default)]
pub struct WorkCalendar {
    notices: Vec<Notice>,
    holidays: BTreeMap<i64, Holiday>,
    make_up: Vec<i64>,
}

/// The calendar of this program.
///
/// # Panics
/// Never: the data file is checked by a test, since it is part of the program.
pub fn calendar() -> &'static WorkCalendar {
    static CALENDAR: OnceLock<WorkCalendar> = OnceLock::new();
    CALENDAR.get_or_init(|| WorkCalendar::parse(DATA).expect("a test reads this file"))
}

impl WorkCalendar {
    /// Reads a data file.
    ///
    /// # Errors
    /// [`DataError`] with what is wrong in it: a day that is none or of another year, a holiday that ends before it begins, a
    /// day that is a holiday twice or both holiday and worked, a day worked in place of another that is no weekend, a year
    /// twice.
    pub fn parse(text: &str) -> Result<Self, DataError> {
        let written: Written = serde_json::from_str(text).map_err(|e| fault(e.to_string()))?;
        let mut calendar = Self::default();
        for year in written.years {
            calendar.put(year)?;
        }
        calendar.make_up.sort_unstable();
        Ok(calendar)
    }

    fn put(&mut self, year: WrittenYear) -> Result<(), DataError> {
        if self.notices.iter().any(|notice| notice.year == year.year) {
            return Err(fault(format!("{} stands there twice", year.year)));
        }
        let day = |text: &str| {
            let is_of_it = text.starts_with(&format!("{}-", year.year));
            let midnight = Timestamp::parse(&format!("{text}T00:00:00+08:00")).ok();
            let day = midnight.filter(|_| is_of_it).map(Timestamp::beijing_day);
            day.ok_or_else(|| fault(format!("`{text}` is no day of {}", year.year)))
        };
        for holiday in &year.holidays {
            let (from, to) = (day(&holiday.from)?, day(&holiday.to)?);
            if to < from {
                return Err(fault(format!("{} ends before it begins", holiday.zh)));
            }
            let name = Holiday {
                zh: holiday.zh.clone(),
                en: holiday.en.clone(),
            };
            for one in from..=to {
                if self.holidays.insert(one, name.clone()).is_some() {
                    return Err(fault(format!("a day of {} is a holiday twice", holiday.zh)));
                }
            }
        }
        for text in &year.workdays {
            let one = day(text)?;
            if !is_weekend(one) || self.holidays.contains_key(&one) || self.make_up.contains(&one) {
                return Err(fault(format!("{text} cannot be worked in place of another day")));
            }
            self.make_up.push(one);
        }
        self.notices.push(Notice {
            year: year.year,
            source: year.source,
            verified: year.verified,
        });
        Ok(())
    }

    /// Where the days are from, a notice a year.
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// What a day is, as far as it is known.
    pub fn kind(&self, day: i64) -> DayKind<'_> {
        if let Some(holiday) = self.holidays.get(&day) {
            return DayKind::Holiday(holiday);
        }
        match (is_weekend(day), self.make_up.binary_search(&day).is_ok()) {
            (true, true) => DayKind::MakeUp,
            (true, false) => DayKind::Weekend,
            (false, _) => DayKind::Weekday,
        }
    }

    /// Whether the notice of a day's year is known. Of others a holiday is taken for a weekday.
    pub fn is_known(&self, day: i64) -> bool {
        let year = midnight(day).to_string();
        let year = year.get(..4).and_then(|year| year.parse::<u16>().ok());
        self.notices.iter().any(|notice| Some(notice.year) == year)
    }

    /// The day that is worked on or after a day.
    pub fn worked_from(&self, day: i64) -> i64 {
        (day..).find(|day| self.kind(*day).is_worked()).unwrap_or(day)
    }

    /// The `n`th day that is worked after a day, which itself counts for nothing; the day itself for 0.
    pub fn after(&self, day: i64, n: u32) -> i64 {
        (0..n).fold(day, |day, _| self.worked_from(day + 1))
    }

    /// How many days are worked after one day, up to and with another.
    pub fn between(&self, day: i64, to: i64) -> u32 {
        let worked = (day + 1..=to).filter(|day| self.kind(*day).is_worked());
        u32::try_from(worked.count()).unwrap_or(u32::MAX)
    }
}

/// The beginning of a day.
pub fn midnight(day: i64) -> Timestamp {
    Timestamp::from_ms(day * 86_400_000 - 8 * 3_600_000)
}

/// 1970-01-01 was a Thursday.
fn is_weekend(day: i64) -> bool {
    matches!((day + 3).rem_euclid(7), 5 | 6)
}

fn fault(why: String) -> DataError {
    DataError { file: FILE, why }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn day(text: &str) -> i64 {
        Timestamp::parse(&format!("{text}T12:00:00+08:00"))
            .unwrap()
            .beijing_day()
    }
    fn text(day: i64) -> String {
        midnight(day).to_string()[..10].to_owned()
    }

    #[test]
    fn days_are_what_the_notices_say() {
        let calendar = calendar();
        for (on, is_worked) in [
            ("2026-02-13", true),
            ("2026-02-14", true),
            ("2026-02-15", false),
            ("2026-02-23", false),
            ("2026-02-24", true),
            ("2026-02-28", true),
            ("2026-03-01", false),
            ("2026-09-20", true),
            ("2026-09-25", false),
            ("2026-10-08", true),
            ("2026-10-10", true),
            ("2026-10-11", false),
            ("2025-10-08", false),
            ("2025-10-11", true),
            ("2024-02-18", true),
            ("2024-12-31", true),
            ("2025-01-01", false),
            ("2026-11-28", false),
        ] {
            assert_eq!(calendar.kind(day(on)).is_worked(), is_worked, "{on}");
        }
        assert!(matches!(calendar.kind(day("2026-02-17")), DayKind::Holiday(named) if named.zh == "春节"));
        assert!(calendar.is_known(day("2026-12-31")) && !calendar.is_known(day("2027-01-01")));
        assert!(
            calendar
                .notices()
                .iter()
                .all(|notice| notice.source.contains(&notice.year.to_string()))
        );
    }

    #[test]
    fn terms_go_over_holidays_and_worked_weekends() {
        let calendar = calendar();
        for (from, n, until) in [
            ("2026-02-13", 0, "2026-02-13"),
            ("2026-02-13", 1, "2026-02-14"),
            ("2026-02-13", 3, "2026-02-25"),
            ("2026-02-15", 1, "2026-02-24"),
            ("2026-04-30", 3, "2026-05-08"),
            ("2026-04-30", 4, "2026-05-09"),
            ("2026-09-18", 7, "2026-09-29"),
            ("2026-09-24", 11, "2026-10-16"),
            ("2025-12-31", 1, "2026-01-04"),
        ] {
            let end = calendar.after(day(from), n);
            assert_eq!(text(end), until, "{from} + {n}");
            assert_eq!(calendar.between(day(from), end), n, "{from} + {n}");
        }
        assert_eq!(text(calendar.worked_from(day("2026-10-01"))), "2026-10-08");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let file = |holidays: &str, workdays: &str| {
            format!(
                r#"{{"years": [{{"year": 2026, "source": "", "verified": false, "holidays": [{holidays}], "workdays": [{workdays}]}}]}}"#
            )
        };
        let holiday =
            |from: &str, to: &str| format!(r#"{{"zh": "节", "en": "day", "from": "{from}", "to": "{to}"}}"#);
        assert!(WorkCalendar::parse(&file("", "")).is_ok());
        for (holidays, workdays) in [
            (holiday("2026-02-30", "2026-03-01"), ""),
            (holiday("2025-02-01", "2025-02-02"), ""),
            (holiday("2026-02-03", "2026-02-02"), ""),
            (format!("{0},{0}", holiday("2026-02-03", "2026-02-03")), ""),
            (holiday("2026-02-07", "2026-02-07"), r#""2026-02-07""#),
            (String::new(), r#""2026-02-04""#),
            (String::new(), r#""2026-02-07","2026-02-07""#),
            (String::new(), r#""soon""#),
        ] {
            assert!(
                WorkCalendar::parse(&file(&holidays, workdays)).is_err(),
                "{holidays} {workdays}"
            );
        }
        let twice = file("", "").replace(
            "}]}",
            "},{\"year\": 2026, \"source\": \"\", \"verified\": false, \"holidays\": [], \"workdays\": []}]}",
        );
        assert!(WorkCalendar::parse(&twice).is_err());
    }

    proptest! {
        #[test]
        fn the_last_day_of_a_term_is_worked_and_terms_add_up(day in 19_700i64..20_900, n in 1u32..40, more in 0u32..20) {
            let calendar = calendar();
            let end = calendar.after(day, n);
            prop_assert!(calendar.kind(end).is_worked());
            prop_assert_eq!(calendar.between(day, end), n);
            prop_assert_eq!(calendar.after(end, more), calendar.after(day, n + more));
        }
    }
}
