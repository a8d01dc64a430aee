//! Times as CAP writes them: whole seconds with a numeric offset.

use std::fmt;

use jiff::civil::{Date, Time};
use jiff::tz::Offset;
use onemap_model::Timestamp;

use crate::error::{Fault, start};

/// A time with the offset it was said in.
///
/// Invariant: whole seconds, local year 1 to 9999, offset at most 14 h. Two times are equal when both are; UTC is
/// written `-00:00` and read from `+00:00` as well.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DateTime {
    at: Timestamp,
    offset_min: i16,
}

const MAX_OFFSET_MIN: i16 = 14 * 60;

impl DateTime {
    /// The second that holds `at`, said in Beijing time.
    ///
    /// `None` outside of the years 1 to 9999.
    pub fn beijing(at: Timestamp) -> Option<Self> {
        Self::new(at, 8 * 60)
    }
    /// The second that holds `at`, said in UTC.
    ///
    /// `None` outside of the years 1 to 9999.
    pub fn utc(at: Timestamp) -> Option<Self> {
        Self::new(at, 0)
    }
    /// The second that holds `at`, said with an offset in minutes.
    ///
    /// `None` when the offset is more than 14 h or the local time is outside of the years 1 to 9999.
    pub fn new(at: Timestamp, offset_min: i16) -> Option<Self> {
        let at = whole_second(at)?;
        let time = Self { at, offset_min };
        let is_offset = (-MAX_OFFSET_MIN..=MAX_OFFSET_MIN).contains(&offset_min);
        (is_offset && time.local()?.year() >= 1).then_some(time)
    }
    /// The moment.
    pub fn at(self) -> Timestamp {
        self.at
    }
    /// The offset from UTC, in minutes, east positive.
    pub fn offset_min(self) -> i16 {
        self.offset_min
    }
    fn local(self) -> Option<jiff::civil::DateTime> {
        let offset = Offset::from_seconds(i32::from(self.offset_min) * 60).ok()?;
        let at = jiff::Timestamp::from_millisecond(self.at.ms()).ok()?;
        Some(offset.to_datetime(at))
    }
    /// Reads `2026-11-23T08:15:00+08:00`.
    ///
    /// `zulu` takes a Z for UTC, which CAP 1.1's schema allowed and 1.2's does not.
    pub(crate) fn parse(text: &str, zulu: bool) -> Result<Self, Fault> {
        let found = || start(text);
        let other = || Fault::Time { found: found() };
        let (local, zone) = text.split_at_checked(19).ok_or_else(other)?;
        let local = civil(local).ok_or_else(other)?;
        let offset_min = match zone.as_bytes() {
            [] => return Err(Fault::TimeOffset { found: found() }),
            [b'.', ..] => return Err(Fault::TimeFraction { found: found() }),
            b"Z" if zulu => 0,
            b"Z" | b"z" => return Err(Fault::TimeZulu { found: found() }),
            [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
                let (hours, minutes) = (two(*h1, *h2).ok_or_else(other)?, two(*m1, *m2).ok_or_else(other)?);
                let offset_min = i16::from(hours) * 60 + i16::from(minutes);
                if minutes > 59 || offset_min > MAX_OFFSET_MIN {
                    return Err(other());
                }
                if *sign == b'-' { -offset_min } else { offset_min }
            }
            _ => return Err(other()),
        };
        let offset = Offset::from_seconds(i32::from(offset_min) * 60).map_err(|_| other())?;
        let at = offset.to_timestamp(local).map_err(|_| other())?;
        Self::new(Timestamp::from_ms(at.as_millisecond()), offset_min).ok_or_else(other)
    }
}

/// The second that holds `at`; `None` outside of the years 1 to 9999.
pub(crate) fn whole_second(at: Timestamp) -> Option<Timestamp> {
    let ms = Timestamp::given(at.ms()).ok()?.ms();
    Timestamp::given(ms.div_euclid(1000) * 1000).ok()
}

/// `2026-11-23T08:15:00`; `None` when it is another text or no time of a calendar.
fn civil(text: &str) -> Option<jiff::civil::DateTime> {
    let [
        y1,
        y2,
        y3,
        y4,
        b'-',
        m1,
        m2,
        b'-',
        d1,
        d2,
        b'T',
        h1,
        h2,
        b':',
        n1,
        n2,
        b':',
        s1,
        s2,
    ] = text.as_bytes()
    else {
        return None;
    };
    let year = i16::from(two(*y1, *y2)?) * 100 + i16::from(two(*y3, *y4)?);
    let date = Date::new(year, two(*m1, *m2)?, two(*d1, *d2)?).ok()?;
    let time = Time::new(two(*h1, *h2)?, two(*n1, *n2)?, two(*s1, *s2)?, 0).ok()?;
    Some(date.to_datetime(time))
}

fn two(tens: u8, ones: u8) -> Option<i8> {
    let digit = |b: u8| b.is_ascii_digit().then(|| (b - b'0') as i8);
    Some(digit(tens)? * 10 + digit(ones)?)
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(local) = self.local() else {
            return Err(fmt::Error);
        };
        let sign = if self.offset_min > 0 { '+' } else { '-' };
        let (hours, minutes) = (self.offset_min.abs() / 60, self.offset_min.abs() % 60);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{sign}{hours:02}:{minutes:02}",
            local.year(),
            local.month(),
            local.day(),
            local.hour(),
            local.minute(),
            local.second()
        )
    }
}

impl fmt::Debug for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_have_an_offset_and_whole_seconds() {
        let code = |text| {
            DateTime::parse(text, false).map_or_else(|fault| fault.code().to_owned(), |t| t.to_string())
        };
        for (text, said) in [
            ("2026-11-23T08:15:00+08:00", "2026-11-23T08:15:00+08:00"),
            ("2010-08-31T00:09:25-05:00", "2010-08-31T00:09:25-05:00"),
            ("2026-11-23T00:15:00-00:00", "2026-11-23T00:15:00-00:00"),
            ("2026-11-23T00:15:00+00:00", "2026-11-23T00:15:00-00:00"),
            ("2026-02-29T00:00:00+08:00", "time"),
            ("2026-11-23T24:00:00+08:00", "time"),
            ("2026-11-23T08:15:60+08:00", "time"),
            ("0000-11-23T08:15:00+08:00", "time"),
            ("2026-11-23T08:15:00+14:01", "time"),
            ("2026-11-23T08:15:00+08:60", "time"),
            ("2026-11-23T08:15:00,08:00", "time"),
            ("2026-11-23T08:15:00+0800", "time"),
            ("2026-11-23T08:15+08:00", "time"),
            ("2026-11-23 08:15:00+08:00", "time"),
            ("2026-11-23T08:15:00+08:00 ", "time"),
            ("二零二六年十一月二十三日", "time"),
            ("", "time"),
            ("2026-11-23T08:15:00Z", "time_z"),
            ("2026-11-23T08:15:00", "time_offset"),
            ("2026-11-23T08:15:00.5+08:00", "time_fraction"),
        ] {
            assert_eq!(code(text), said, "{text}");
        }
        assert_eq!(
            DateTime::parse("2026-11-23T08:15:00Z", true).unwrap().to_string(),
            "2026-11-23T08:15:00-00:00"
        );
    }

    #[test]
    fn a_time_at_the_rim_of_the_calendar_is_none() {
        assert!(DateTime::beijing(Timestamp::from_ms(i64::MAX)).is_none());
        assert!(DateTime::beijing(Timestamp::from_ms(i64::MIN)).is_none());
        assert!(DateTime::new(Timestamp::from_ms(0), 15 * 60).is_none());
        assert!(DateTime::parse("9999-12-31T23:59:59-14:00", false).is_err());
        assert!(DateTime::parse("0001-01-01T00:00:00+14:00", false).is_err());
    }
}
