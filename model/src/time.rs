//! Points in time, as UTC milliseconds.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
///
/// Text form is RFC 3339 with an offset; shown in Beijing time (UTC+8), read with any offset. In
/// JSON it is that text; a bare integer is read as milliseconds. What lies outside of the years 1 to 9999 is not read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// Why something is not a time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TimeError {
    /// Another text.
    #[error("`{text}` is not an RFC 3339 time with offset (like 2026-11-23T08:00:00+08:00)")]
    Text {
        /// Its first characters.
        text: String,
        /// Where it ends being one.
        #[source]
        source: jiff::Error,
    },
    /// Nothing that RFC 3339 can say.
    #[error("{given} lies outside of the years 1 to 9999")]
    Years {
        /// What was given, a text or a number of ms.
        given: String,
    },
}

/// 2000-01-01T00:00:00Z: no device that onemap serves is older.
pub const YEAR_2000: Timestamp = Timestamp(946_684_800_000);

const BEIJING: jiff::tz::Offset = jiff::tz::Offset::constant(8);
/// 0001-01-01T00:00:00Z to where jiff's range ends in the year 9999: what RFC 3339 says with any offset. A stamp beyond
/// it is shown as its border and not read.
const MIN_MS: i64 = -62_135_596_800_000;
const MAX_MS: i64 = 253_402_200_000_000;

impl Timestamp {
    /// From milliseconds since the epoch.
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }
    /// Milliseconds since the epoch.
    pub const fn ms(self) -> i64 {
        self.0
    }
    /// Reads the system's clock. Only drivers at the rim call this (design: the clock is an argument).
    pub fn from_system(clock: std::time::SystemTime) -> Self {
        match clock.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => Self(since.as_millis() as i64),
            Err(before) => Self(-(before.duration().as_millis() as i64)),
        }
    }
    /// From milliseconds that somebody gave.
    ///
    /// # Errors
    /// [`TimeError::Years`] outside of the years 1 to 9999.
    pub fn given(ms: i64) -> Result<Self, TimeError> {
        Self::spoken(ms, || format!("{ms} ms"))
    }
    /// Parses RFC 3339 with an offset.
    ///
    /// # Errors
    /// [`TimeError`] with the text's first characters.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let start = || text.chars().take(64).collect::<String>();
        match text.parse::<jiff::Timestamp>() {
            Ok(t) => Self::spoken(t.as_millisecond(), || format!("`{}`", start())),
            Err(source) => Err(TimeError::Text {
                text: start(),
                source,
            }),
        }
    }
    fn spoken(ms: i64, given: impl Fn() -> String) -> Result<Self, TimeError> {
        match (MIN_MS..=MAX_MS).contains(&ms) {
            true => Ok(Self(ms)),
            false => Err(TimeError::Years { given: given() }),
        }
    }
    /// The time `by` earlier, at most back to the smallest value.
    pub fn saturating_sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(duration_ms(by)))
    }
    /// How long after `earlier` this is; zero when it is not after.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0) as u64)
    }
    /// The start of the Beijing calendar hour that holds this time.
    pub fn hour_start(self) -> Self {
        Self(self.0.div_euclid(3_600_000) * 3_600_000)
    }
    /// The month in the Beijing calendar, 1 to 12; before 1970 that of 1970-01.
    pub fn beijing_month(self) -> u8 {
        let day = u64::try_from(self.beijing_day()).unwrap_or(0);
        civil(day).1 as u8
    }
    /// Month, day and clock of Beijing, `11-28 18:59:31`: for sentences about times near by. Of years that are no four digits
    /// whatever stands there.
    pub fn beijing_clock(self) -> String {
        let text = self.to_string();
        let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default().to_owned();
        format!("{} {}", part(5..10), part(11..19))
    }
    /// The same without seconds, `11-28 18:59`.
    pub fn beijing_minute(self) -> String {
        let mut text = self.beijing_clock();
        text.truncate(text.rfind(':').unwrap_or_default());
        text
    }
    /// Days since 1970-01-01 in the Beijing calendar.
    pub fn beijing_day(self) -> i64 {
        (self.0 + 8 * 3_600_000).div_euclid(86_400_000)
    }
}

fn duration_ms(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(duration_ms(by)))
    }
}

impl Sub for Timestamp {
    type Output = i64;
    /// Signed difference in milliseconds.
    fn sub(self, other: Self) -> i64 {
        self.0.saturating_sub(other.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(written) = Written::of(self.0) {
            return f.write_str(written.text());
        }
        let ms = self.0.clamp(MIN_MS, MAX_MS);
        match jiff::Timestamp::from_millisecond(ms) {
            Ok(t) => write!(f, "{}", t.display_with_offset(BEIJING)),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// A time of the years 1970 to 9998 as text, `2026-11-23T08:00:00.5+08:00`. Answers hold thousands, and this
/// takes a tenth of what a general formatter does.
struct Written {
    bytes: [u8; 29],
    len: usize,
}

impl Written {
    fn of(ms: i64) -> Option<Self> {
        let local = u64::try_from(ms).ok()?.checked_add(8 * 3_600_000)?;
        if local >= MAX_MS as u64 {
            return None;
        }
        let (day, of_day) = (local / 86_400_000, local % 86_400_000);
        let (year, month, date) = civil(day);
        let mut bytes = *b"0000-00-00T00:00:00.000+08:00";
        let mut put = |at: usize, n: usize, mut number: u64| {
            for place in bytes[at..at + n].iter_mut().rev() {
                *place = b'0' + (number % 10) as u8;
                number /= 10;
            }
        };
        put(0, 4, year);
        put(5, 2, month);
        put(8, 2, date);
        put(11, 2, of_day / 3_600_000);
        put(14, 2, of_day / 60_000 % 60);
        put(17, 2, of_day / 1000 % 60);
        put(20, 3, of_day % 1000);
        let n_decimals = match of_day % 1000 {
            0 => 0,
            ms if ms % 100 == 0 => 2,
            ms if ms % 10 == 0 => 3,
            _ => 4,
        };
        bytes.copy_within(23.., 19 + n_decimals);
        Some(Self {
            bytes,
            len: 25 + n_decimals,
        })
    }
    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).expect("only digits and marks were put there")
    }
}

/// Year, month and day of month of a number of days since 1970-01-01, by years that begin in March: so the
/// leap day is the last of its year, and months begin at days that grow by 153 every five.
fn civil(day: u64) -> (u64, u64, u64) {
    let since = day + 719_468; // from 0000-03-01
    let (era, of_era) = (since / 146_097, since % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (400 * era + year + u64::from(month <= 2), month, date)
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match Written::of(self.0) {
            Some(written) => s.serialize_str(written.text()),
            None => s.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time with offset, or milliseconds since 1970")
            }
            fn visit_i64<E: serde::de::Error>(self, ms: i64) -> Result<Timestamp, E> {
                Timestamp::given(ms).map_err(E::custom)
            }
            fn visit_u64<E: serde::de::Error>(self, ms: u64) -> Result<Timestamp, E> {
                Timestamp::given(i64::try_from(ms).unwrap_or(i64::MAX)).map_err(E::custom)
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
                Timestamp::parse(text).map_err(E::custom)
            }
        }
        d.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn text_carries_the_beijing_offset_and_any_offset_is_read() {
        let t = Timestamp::from_ms(1_763_856_000_000);
        assert_eq!(t.to_string(), "2025-11-23T08:00:00+08:00");
        assert_eq!(Timestamp::parse("2025-11-23T00:00:00Z").unwrap(), t);
        assert_eq!(Timestamp::parse("2025-11-23T08:00:00+08:00").unwrap(), t);
        assert!(Timestamp::parse("2025-11-23 08:00").is_err());
        assert_eq!(serde_json::from_str::<Timestamp>("1763856000000").unwrap(), t);
        let text = serde_json::to_string(&Timestamp::from_ms(1)).unwrap();
        assert_eq!(serde_json::from_str::<Timestamp>(&text).unwrap().ms(), 1);
    }

    #[test]
    fn the_short_way_writes_what_the_long_way_does() {
        let long = |ms| {
            let t = jiff::Timestamp::from_millisecond(ms).unwrap();
            t.display_with_offset(BEIJING).to_string()
        };
        let days = (0..MAX_MS - 8 * 3_600_000).step_by(86_400_000 * 11 + 12_345_677);
        let fractions = (0..1100).map(|ms| 951_753_599_500 + ms); // into 2000-02-29 in Beijing
        let ends = [MAX_MS - 8 * 3_600_000 - 1, 1_709_135_999_999, 4_107_513_600_000];
        for ms in days.chain(fractions).chain(ends) {
            assert_eq!(Written::of(ms).unwrap().text(), long(ms));
        }
        assert!(Written::of(-1).is_none() && Written::of(MAX_MS).is_none());
    }

    #[test]
    fn extreme_stamps_are_shown_without_panic() {
        for ms in [i64::MIN, i64::MAX, 0, -1, MAX_MS] {
            assert!(!Timestamp::from_ms(ms).to_string().is_empty());
        }
    }

    #[test]
    fn times_are_read_within_the_years_that_can_be_said_and_come_back_as_they_were() {
        for (text, want) in [
            ("-62135596800000", Some("0001-01-01T08:00:00+08:00")),
            ("-62135596800001", None),
            ("-31675275000001", Some("0966-04-02T08:29:59.999+08:00")),
            ("253402200000000", Some("9999-12-31T04:00:00+08:00")),
            ("253402200000001", None),
            ("9223372036854775807", None),
            ("18446744073709551615", None),
            ("-9223372036854775808", None),
            (r#""0001-01-01T00:00:00Z""#, Some("0001-01-01T08:00:00+08:00")),
            (r#""0000-12-31T23:59:59Z""#, None),
            (r#""-000100-01-01T00:00:00Z""#, None),
            (r#""9999-12-31T23:00:00Z""#, None),
        ] {
            let read = serde_json::from_str::<Timestamp>(text);
            assert_eq!(
                read.as_ref().ok().map(|t| t.to_string()).as_deref(),
                want,
                "{text}"
            );
            if let Ok(read) = read {
                let again = serde_json::to_string(&read).unwrap();
                assert_eq!(serde_json::from_str::<Timestamp>(&again).unwrap(), read, "{text}");
            }
        }
        let said = serde_json::from_str::<Timestamp>("253402200000001")
            .unwrap_err()
            .to_string();
        assert!(
            said.starts_with("253402200000001 ms lies outside of the years 1 to 9999"),
            "{said}"
        );
        // What lies beyond is written as the border and is read again: a record of it stays readable.
        for ms in [i64::MIN, i64::MAX] {
            let text = serde_json::to_string(&Timestamp(ms)).unwrap();
            assert!(serde_json::from_str::<Timestamp>(&text).is_ok(), "{text}");
        }
    }

    #[test]
    fn the_beijing_day_turns_at_16_utc() {
        let t = Timestamp::parse("2026-11-22T16:00:00Z").unwrap();
        assert_eq!(t.beijing_day(), Timestamp::from_ms(t.ms() - 1).beijing_day() + 1);
    }
}
