//! Durations as people write them in files: `100ms`, `60s`, `2min`, `1h`, `1d`.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration; write a whole number and ms, s, min, h or d, like 60s")]
pub struct DurationError(String);

/// Reads a whole number with its unit: ms, s, min, h or d.
///
/// # Errors
/// [`DurationError`] with the text.
///
/// ```
/// # use std::time::Duration;
/// assert_eq!(onemap_wire::duration::parse("2min"), Ok(Duration::from_secs(120)));
/// assert!(onemap_wire::duration::parse("2").is_err());
/// ```
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let bad = || DurationError(text.chars().take(40).collect());
    let text_trimmed = text.trim();
    let unit_at = text_trimmed.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let (number, unit) = text_trimmed.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let unit_ms: u64 = match unit.trim() {
        "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(bad()),
    };
    Ok(Duration::from_millis(
        number.checked_mul(unit_ms).ok_or_else(bad)?,
    ))
}

/// A duration in a file, read with [`parse`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written(pub(crate) Duration);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        parse(&text).map(Written).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn units_are_said_and_numbers_are_whole() {
        for (text, ms) in [
            ("100ms", 100),
            ("60s", 60_000),
            (" 1 h ", 3_600_000),
            ("0s", 0),
            ("1d", 86_400_000),
        ] {
            assert_eq!(parse(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        for bad in [
            "",
            "60",
            "s",
            "-1s",
            "1.5s",
            "1m",
            "1 week",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
