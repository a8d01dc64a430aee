//! Times as HJ 212 writes them: `YYYYMMDDhhmmss`, Beijing time.

use jiff::Zoned;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use onemap_model::Timestamp;

const BEIJING: Offset = Offset::constant(8);

/// Reads 14 digits, or 17 with milliseconds; `None` for every other text and for times that are none.
pub fn read(text: &str) -> Option<Timestamp> {
    if !matches!(text.len(), 14 | 17) || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| text[from..to].parse::<i16>().ok();
    let small = |from: usize| part(from, from + 2).map(|n| n as i8);
    let ms = if text.len() == 17 { part(14, 17)? } else { 0 };
    let civil = DateTime::new(
        part(0, 4)?,
        small(4)?,
        small(6)?,
        small(8)?,
        small(10)?,
        small(12)?,
        i32::from(ms) * 1_000_000,
    )
    .ok()?;
    let instant = BEIJING.to_timestamp(civil).ok()?;
    Some(Timestamp::from_ms(instant.as_millisecond()))
}

/// Writes 14 digits. Times outside the years 0 to 9999 are written as 1970.
pub fn written(at: Timestamp) -> String {
    let zoned = local(at);
    zoned.strftime("%Y%m%d%H%M%S").to_string()
}

/// A request number: 17 digits, local time with milliseconds.
pub fn qn(at: Timestamp) -> String {
    let zoned = local(at);
    format!("{}{:03}", zoned.strftime("%Y%m%d%H%M%S"), zoned.millisecond())
}

fn local(at: Timestamp) -> Zoned {
    let instant = jiff::Timestamp::from_millisecond(at.ms()).unwrap_or_default();
    let instant = if at.ms() < -62_000_000_000_000 {
        jiff::Timestamp::UNIX_EPOCH
    } else {
        instant
    };
    instant.to_zoned(TimeZone::fixed(BEIJING))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_are_beijing_times_with_or_without_milliseconds() {
        let eight = Timestamp::parse("2025-11-23T08:00:00+08:00").unwrap();
        assert_eq!(read("20251123080000"), Some(eight));
        assert_eq!(
            read("20251123080000250").map(Timestamp::ms),
            Some(eight.ms() + 250)
        );
        assert_eq!(
            (written(eight), qn(eight)),
            ("20251123080000".into(), "20251123080000000".into())
        );
        for bad in [
            "",
            "2025112308000",
            "20251123080060",
            "20250229080000",
            "20251301000000",
            "2025-11-23 08:",
            "1617936069734",
            "+0251123080000",
            "２０２５",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        for ms in [i64::MIN, i64::MAX, 0] {
            assert_eq!(written(Timestamp::from_ms(ms)).len(), 14);
        }
    }
}
