//! Times of stations: BCD digits of Beijing time in this century.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use onemap_model::Timestamp;
use serde::{Serialize, Serializer};

use crate::hex;

const BEIJING: Offset = Offset::constant(8);

/// A time as a station writes it: the digits, and the moment when they are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// `YYMMDDhhmmss`, `YYMMDDhhmm` or `YYMMDDhh`; other characters when the station sent others.
    pub digits: String,
}

impl Stamp {
    /// The digits of BCD bytes; hexadecimal where they are none.
    pub(super) fn of_bcd(bytes: &[u8]) -> Self {
        Self {
            digits: hex::upper(bytes),
        }
    }

    /// Digits for a moment, down to seconds (12), minutes (10) or hours (8). Years outside this century keep
    /// their last two digits.
    pub fn of(at: Timestamp, n_digits: usize) -> Self {
        let civil =
            jiff::Timestamp::from_millisecond(at.ms()).map_or(DateTime::MIN, |t| BEIJING.to_datetime(t));
        let mut digits = format!(
            "{:02}{:02}{:02}{:02}{:02}{:02}",
            civil.year().rem_euclid(100),
            civil.month(),
            civil.day(),
            civil.hour(),
            civil.minute(),
            civil.second()
        );
        digits.truncate(n_digits);
        Self { digits }
    }

    /// The moment; `None` when the digits are no time.
    pub fn moment(&self) -> Option<Timestamp> {
        if !self.digits.bytes().all(|b| b.is_ascii_digit()) || !matches!(self.digits.len(), 8 | 10 | 12) {
            return None;
        }
        let pair = |i: usize| self.digits.get(i..i + 2).and_then(|d| d.parse::<i8>().ok());
        let civil = DateTime::new(
            2000 + i16::from(pair(0)?),
            pair(2)?,
            pair(4)?,
            pair(6)?,
            pair(8).unwrap_or(0),
            pair(10).unwrap_or(0),
            0,
        )
        .ok()?;
        let at = BEIJING.to_timestamp(civil).ok()?;
        Some(Timestamp::from_ms(at.as_millisecond()))
    }

    /// As BCD; the digits must be hexadecimal, which those of a decoded frame are.
    pub(super) fn to_bcd(&self) -> Vec<u8> {
        hex::read(self.digits.as_bytes()).unwrap_or_default()
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.digits)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn digits_are_beijing_time() {
        let stamp = Stamp {
            digits: "170718110016".into(),
        };
        assert_eq!(
            stamp.moment(),
            Some(Timestamp::parse("2017-07-18T11:00:16+08:00").unwrap())
        );
        assert_eq!(Stamp::of(stamp.moment().unwrap(), 12), stamp);
        assert_eq!(Stamp::of(stamp.moment().unwrap(), 8).digits, "17071811");
        for wrong in [
            "170732110016",
            "1707181160",
            "17071A1100",
            "170718",
            "",
            "000000000000",
        ] {
            let stamp = Stamp { digits: wrong.into() };
            assert_eq!(stamp.moment(), None, "{wrong}");
        }
    }
}
