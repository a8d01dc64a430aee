//! When a rule is in force: from a day to a day, in seasons, on days of the week, at hours. All of it is Beijing time.

use onemap_model::Timestamp;
use serde::Serialize;
use serde_saphyr::Spanned;

use crate::fault::{RuleError, said};
use crate::file::{Errors, keep};
use crate::rule::Texts;
use crate::written::{HoursText, Names, ValidText};

const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: i64 = 60_000;
/// Beijing is eight hours ahead of UTC.
const AHEAD_MS: i64 = 8 * 3_600_000;
/// 1970-01-01 was a Thursday; Monday is the first.
const FIRST_WEEKDAY: i64 = 3;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// When a rule is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Times {
    /// From this time on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Until this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// In one of these hours; at any when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hours: Vec<Hours>,
    /// Outside of the hours an open alert stays as it is; else it is withdrawn.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keeps: bool,
}

/// Some hours of some days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Hours {
    /// From the first to the last of these months, 1 to 12; the first may be the later one (11 to 3).
    pub months: (u8, u8),
    /// Monday is the lowest bit. Hours that go past midnight are those of the day on which they begin.
    pub days: u8,
    /// From this minute of the day on.
    pub from_min: u16,
    /// Until this minute; not after `from_min` it is one of the next day.
    pub to_min: u16,
}

impl Times {
    pub(crate) fn is_always(&self) -> bool {
        *self == Self::default()
    }
    /// Whether the rule looks at anything at that time.
    pub fn holds(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| at >= from)
            && self.to.is_none_or(|to| at < to)
            && (self.hours.is_empty() || self.hours.iter().any(|hours| hours.holds(at)))
    }
    /// Whether what the rule has raised is left as it is at that time, though the rule does not look.
    pub(crate) fn rests(&self, at: Timestamp) -> bool {
        self.keeps
            && self.from.is_none_or(|from| at >= from)
            && self.to.is_none_or(|to| at < to)
            && !self.holds(at)
    }
    /// The next time after `at` at which it may begin or end; `None` when it never does.
    pub(crate) fn next_turn(&self, at: Timestamp) -> Option<Timestamp> {
        let ends = [self.from, self.to].into_iter().flatten();
        let day = at.beijing_day() * DAY_MS - AHEAD_MS;
        let of_day = |hours: &Hours| {
            let (from, to) = (hours.from_min, hours.to_min);
            // Today and tomorrow; days and months turn at midnight.
            [0, DAY_MS].into_iter().flat_map(move |more| {
                [0, from, to]
                    .into_iter()
                    .map(move |minute| Timestamp::from_ms(day + more + i64::from(minute) * MINUTE_MS))
            })
        };
        let turns = ends.chain(self.hours.iter().flat_map(of_day));
        turns.filter(|turn| *turn > at).min()
    }
}

impl Hours {
    fn holds(&self, at: Timestamp) -> bool {
        let minute = ((at.ms() + AHEAD_MS).rem_euclid(DAY_MS) / MINUTE_MS) as u16;
        let today = self.is_of_day(at);
        if self.from_min < self.to_min {
            return today && (self.from_min..self.to_min).contains(&minute);
        }
        let yesterday = self.is_of_day(Timestamp::from_ms(at.ms() - DAY_MS));
        today && minute >= self.from_min || yesterday && minute < self.to_min
    }
    fn is_of_day(&self, at: Timestamp) -> bool {
        let weekday = (at.beijing_day() + FIRST_WEEKDAY).rem_euclid(7);
        let (first, last) = self.months;
        let month = at.beijing_month();
        let in_season = match first <= last {
            true => (first..=last).contains(&month),
            false => month >= first || month <= last,
        };
        in_season && self.days & (1 << weekday) != 0
    }
}

/// Reads when a rule is in force.
pub(crate) fn check(
    errors: &mut Errors,
    valid: Option<Spanned<ValidText>>,
    during: Option<Spanned<Vec<HoursText>>>,
    otherwise: Option<Spanned<String>>,
) -> Option<Times> {
    let before = errors.len();
    let mut times = Times::default();
    if let Some(valid) = valid {
        let day = |errors: &mut Errors, text: &Option<Spanned<String>>| {
            text.as_ref().and_then(|text| keep(errors, text, read_day))
        };
        (times.from, times.to) = (day(errors, &valid.value.from), day(errors, &valid.value.to));
        if let (Some(from), Some(to)) = (times.from, times.to)
            && to <= from
        {
            errors.push(RuleError::at(
                valid.referenced,
                said!("有效期 `valid` 的结束须晚于开始", "`valid` ends before it begins"),
            ));
        }
    }
    if let Some(during) = &during {
        if during.value.is_empty() {
            errors.push(RuleError::at(
                during.referenced,
                said!("`during` 没有写明时段", "`during` names no hours"),
            ));
        }
        times.hours = during
            .value
            .iter()
            .filter_map(|hours| hours.check(errors))
            .collect();
    }
    if let Some(text) = &otherwise {
        match (text.value.as_str(), during.is_some()) {
            ("end", true) => {}
            ("keep", true) => times.keeps = true,
            (_, true) => errors.push(RuleError::at(
                text.referenced,
                said!(
                    "`otherwise` 只能是 `end` 或 `keep`",
                    "`otherwise` is `end` or `keep`"
                ),
            )),
            (_, false) => errors.push(RuleError::at(
                text.referenced,
                said!(
                    "写了 `otherwise` 就须写时段 `during`",
                    "`otherwise` needs `during` beside it"
                ),
            )),
        }
    }
    (errors.len() == before).then_some(times)
}

impl HoursText {
    fn check(&self, errors: &mut Errors) -> Option<Hours> {
        let before = errors.len();
        let minute = |errors: &mut Errors, text: &Option<Spanned<String>>, else_: u16| match text {
            Some(text) => keep(errors, text, read_minute),
            None => Some(else_),
        };
        let (from_min, to_min) = (minute(errors, &self.from, 0), minute(errors, &self.to, 24 * 60));
        let months = match &self.months {
            Some(text) => keep(errors, text, read_months),
            None => Some((1, 12)),
        };
        let days = match &self.days {
            Some(names) => match read_days(&names.value) {
                Ok(days) => Some(days),
                Err(message) => {
                    errors.push(RuleError::at(names.referenced, message));
                    None
                }
            },
            None => Some(0x7f),
        };
        (errors.len() == before).then_some(Hours {
            months: months?,
            days: days?,
            from_min: from_min?,
            to_min: to_min?,
        })
    }
}

/// `2026-03-01` (its first moment in Beijing) or a time with offset.
fn read_day(text: &str) -> Result<Timestamp, Texts> {
    let full = match text.len() {
        10 => format!("{text}T00:00:00+08:00"),
        _ => text.to_owned(),
    };
    Timestamp::parse(&full).map_err(|_| {
        said!(
            "`{text}` 不是日期（例如 `2026-03-01`）",
            "`{text}` is not a day (like `2026-03-01`)"
        )
    })
}

/// `22:00`, `24:00`.
fn read_minute(text: &str) -> Result<u16, Texts> {
    let bad = || {
        said!(
            "`{text}` 不是时刻（例如 `22:00`）",
            "`{text}` is not a time of day (like `22:00`)"
        )
    };
    let (hour, minute) = text.split_once(':').ok_or_else(bad)?;
    let number = |text: &str| match text.len() {
        1 | 2 if text.bytes().all(|b| b.is_ascii_digit()) => text.parse::<u16>().map_err(|_| bad()),
        _ => Err(bad()),
    };
    match (number(hour)?, number(minute)?) {
        (24, 0) => Ok(24 * 60),
        (hour @ 0..24, minute @ 0..60) => Ok(hour * 60 + minute),
        _ => Err(bad()),
    }
}

/// `5 to 9`, `6`.
fn read_months(text: &str) -> Result<(u8, u8), Texts> {
    let month = |text: &str| {
        text.trim()
            .parse::<u8>()
            .ok()
            .filter(|month| (1..=12).contains(month))
    };
    let (first, last) = text.split_once(" to ").unwrap_or((text, text));
    match (month(first), month(last)) {
        (Some(first), Some(last)) => Ok((first, last)),
        _ => Err(said!(
            "`{text}` 不是季节（月份，例如 `5 to 9`）",
            "`{text}` is not a season (months like `5 to 9`)"
        )),
    }
}

/// `mon to fri`, `[sat, sun]`.
fn read_days(names: &Names) -> Result<u8, Texts> {
    let day = |text: &str| {
        let day = DAYS.iter().position(|day| *day == text.trim());
        day.ok_or_else(|| {
            said!(
                "`{text}` 不是星期（mon、tue……或 `mon to fri`）",
                "`{text}` is not a day of the week (mon, tue, … or `mon to fri`)"
            )
        })
    };
    let mut days = 0_u8;
    for name in &names.0 {
        let (first, last) = name.split_once(" to ").unwrap_or((name, name));
        let (first, last) = (day(first)?, day(last)?);
        let n = (last + 7 - first) % 7;
        (0..=n).for_each(|more| days |= 1 << ((first + more) % 7));
    }
    match days {
        0 => Err(said!("`days` 没有写明星期", "`days` names no day")),
        days => Ok(days),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(&format!("{text}:00+08:00")).unwrap()
    }
    fn hours(months: &str, days: &str, from: &str, to: &str) -> Hours {
        Hours {
            months: read_months(months).unwrap(),
            days: read_days(&Names(vec![days.to_owned()])).unwrap(),
            from_min: read_minute(from).unwrap(),
            to_min: read_minute(to).unwrap(),
        }
    }

    #[test]
    fn hours_past_midnight_are_those_of_the_day_on_which_they_begin() {
        // 2026-11-27 is a Friday.
        let nights = hours("1 to 12", "mon to fri", "22:00", "06:00");
        for (time, holds) in [
            ("2026-11-27T21:59", false),
            ("2026-11-27T22:00", true),
            ("2026-11-28T05:59", true),
            ("2026-11-28T06:00", false),
            ("2026-11-28T23:00", false),
            ("2026-11-29T23:00", false),
            ("2026-11-30T05:00", false),
            ("2026-11-30T22:30", true),
        ] {
            assert_eq!(nights.holds(at(time)), holds, "{time}");
        }
    }

    #[test]
    fn seasons_may_go_over_the_year() {
        let heating = hours("11 to 3", "mon to sun", "00:00", "24:00");
        for (time, holds) in [
            ("2026-10-31T23:59", false),
            ("2026-11-01T00:00", true),
            ("2027-03-31T23:59", true),
            ("2027-04-01T00:00", false),
        ] {
            assert_eq!(heating.holds(at(time)), holds, "{time}");
        }
    }

    #[test]
    fn a_turn_is_never_missed() {
        let times = Times {
            from: Some(at("2026-03-01T00:00")),
            to: Some(at("2026-12-01T00:00")),
            hours: vec![
                hours("5 to 11", "fri to sun", "22:30", "06:15"),
                hours("1 to 12", "wed", "12:00", "12:30"),
            ],
            keeps: false,
        };
        let mut now = at("2026-02-20T00:00");
        let mut turns = Vec::new();
        while let Some(turn) = times.next_turn(now).filter(|turn| *turn < at("2026-12-20T00:00")) {
            turns.push(turn);
            now = turn;
        }
        let mut before = times.holds(at("2026-02-20T00:00"));
        for minute in 0..303 * 24 * 60 {
            let now = Timestamp::from_ms(at("2026-02-20T00:00").ms() + minute * MINUTE_MS);
            let holds = times.holds(now);
            if holds != before {
                assert!(turns.binary_search(&now).is_ok(), "{now} is no turn");
            }
            before = holds;
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["24:01", "7", "07:60", "-1:00", "1:2:3", ""] {
            assert!(read_minute(text).is_err(), "{text}");
        }
        for text in ["0", "13", "5-9", "5 to 13", ""] {
            assert!(read_months(text).is_err(), "{text}");
        }
        assert!(read_days(&Names(vec!["monday".to_owned()])).is_err());
        assert!(read_days(&Names(Vec::new())).is_err());
        assert_eq!(read_days(&Names(vec!["sat to mon".to_owned()])), Ok(0b110_0001));
        assert!(read_day("2026-13-01").is_err());
    }
}
