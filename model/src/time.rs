//! Points in time, as UTC milliseconds.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
///
/// Text form is RFC 3339 with an offset; shown in Beijing time (UTC+8), read with any offset. In
/// JSON it is that text; a bare integer is read as milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// Why a text is not a time.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not an RFC 3339 time with offset (like 2026-11-23T08:00:00+08:00)")]
pub struct TimeError {
    text: String,
    #[source]
    source: jiff::Error,
}

/// 2000-01-01T00:00:00Z: no device that onemap serves is older.
pub const YEAR_2000: Timestamp = Timestamp(946_684_800_000);

const BEIJING: jiff::tz::Offset = jiff::tz::Offset::constant(8);
/// jiff's range ends in the year 9999; a stamp beyond it is shown as its border.
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
    /// Parses RFC 3339 with an offset.
    ///
    /// # Errors
    /// [`TimeError`] with the text.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        match text.parse::<jiff::Timestamp>() {
            Ok(t) => Ok(Self(t.as_millisecond())),
            Err(source) => Err(TimeError {
                text: text.chars().take(64).collect(),
                source,
            }),
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
        let ms = self.0.clamp(-MAX_MS / 8, MAX_MS);
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
            fn visit_i64<E>(self, ms: i64) -> Result<Timestamp, E> {
                Ok(Timestamp(ms))
            }
            fn visit_u64<E: serde::de::Error>(self, ms: u64) -> Result<Timestamp, E> {
                i64::try_from(ms).map(Timestamp).map_err(E::custom)
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
    fn the_beijing_day_turns_at_16_utc() {
        let t = Timestamp::parse("2026-11-22T16:00:00Z").unwrap();
        assert_eq!(t.beijing_day(), Timestamp::from_ms(t.ms() - 1).beijing_day() + 1);
    }
}
