//! Times of six bytes: second, minute, hour, day, month, year of this century; binary or BCD.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use onemap_model::Timestamp;
use serde::{Serialize, Serializer};

const BEIJING: Offset = Offset::constant(8);

/// How a device writes its times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// As the standard says: 17 is 0x11.
    Binary,
    /// As some makers do: 17 is 0x17.
    Bcd,
    /// Told from the time itself: what is no time one way is the other. Where both are one, the nearer to when the
    /// frame came.
    #[default]
    Either,
}

/// Six bytes of time, Beijing time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Time(pub [u8; 6]);

impl Time {
    /// For a moment. A year outside this century keeps its last two digits.
    pub fn of(at: Timestamp, clock: Clock) -> Self {
        let civil =
            jiff::Timestamp::from_millisecond(at.ms()).map_or(DateTime::MIN, |t| BEIJING.to_datetime(t));
        let year = civil.year().rem_euclid(100) as u8;
        let signed = [
            civil.second(),
            civil.minute(),
            civil.hour(),
            civil.day(),
            civil.month(),
        ];
        let [second, minute, hour, day, month] = signed.map(i8::unsigned_abs);
        let numbers = [second, minute, hour, day, month, year];
        Self(match clock {
            Clock::Bcd => numbers.map(|n| ((n / 10) << 4) | (n % 10)),
            Clock::Binary | Clock::Either => numbers,
        })
    }

    /// The moment; `None` when the bytes are no time in this writing.
    pub fn moment(self, clock: Clock, near: Option<Timestamp>) -> Option<Timestamp> {
        let binary = || moment(self.0);
        let bcd = || {
            let digits = self
                .0
                .map(|b| (b >> 4 <= 9 && b & 0x0F <= 9).then_some((b >> 4) * 10 + (b & 0x0F)));
            match digits {
                [Some(s), Some(min), Some(h), Some(d), Some(mon), Some(y)] => moment([s, min, h, d, mon, y]),
                _ => None,
            }
        };
        match (clock, near) {
            (Clock::Binary, _) => binary(),
            (Clock::Bcd, _) => bcd(),
            (Clock::Either, None) => binary().or_else(bcd),
            (Clock::Either, Some(near)) => {
                let distance = |at: &Timestamp| at.ms().abs_diff(near.ms());
                // The standard's way first: it stays when both are equally near.
                binary().into_iter().chain(bcd()).min_by_key(distance)
            }
        }
    }
}

fn moment([second, minute, hour, day, month, year]: [u8; 6]) -> Option<Timestamp> {
    let small = |n: u8| i8::try_from(n).ok();
    if year > 99 {
        return None;
    }
    let civil = DateTime::new(
        2000 + i16::from(year),
        small(month)?,
        small(day)?,
        small(hour)?,
        small(minute)?,
        small(second)?,
        0,
    )
    .ok()?;
    let at = BEIJING.to_timestamp(civil).ok()?;
    Some(Timestamp::from_ms(at.as_millisecond()))
}

impl Serialize for Time {
    /// The bytes in hexadecimal, lowercase.
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let [a, b, c, d, e, f] = self.0;
        s.collect_str(&format_args!("{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn binary_and_bcd_are_told_apart() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let binary = Time([0x20, 0x3A, 0x09, 0x1A, 0x09, 0x0C]);
        assert_eq!(
            binary.moment(Clock::Either, None),
            Some(at("2012-09-26T09:58:32+08:00"))
        );
        assert_eq!(binary.moment(Clock::Bcd, None), None);
        let bcd = Time([0x15, 0x30, 0x14, 0x24, 0x08, 0x26]);
        assert_eq!(
            bcd.moment(Clock::Either, None),
            Some(at("2026-08-24T14:30:15+08:00"))
        );
        assert_eq!(bcd.moment(Clock::Binary, None), None);
        // Both are times: 2026-08-11 in BCD, 2038-08-17 in binary.
        let both = Time([0x15, 0x30, 0x14, 0x11, 0x08, 0x26]);
        let near = at("2026-08-11T14:30:20+08:00");
        assert_eq!(
            both.moment(Clock::Either, Some(near)),
            Some(at("2026-08-11T14:30:15+08:00"))
        );
        assert_eq!(
            both.moment(Clock::Binary, Some(near)),
            Some(at("2038-08-17T20:48:21+08:00"))
        );
        for clock in [Clock::Binary, Clock::Bcd] {
            assert_eq!(Time::of(near, clock).moment(clock, None), Some(near));
        }
        assert_eq!(Time([0; 6]).moment(Clock::Either, None), None, "month 0");
    }
}
