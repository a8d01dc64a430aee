//! The stamp that a payload carries itself.

use jiff::fmt::strtime;
use jiff::tz::Offset;
use onemap_model::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::path::Path;
use super::written::Wrong;

/// Where a payload says when it was measured, and how it writes it.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnStamp {
    /// Where it stands.
    pub path: Path,
    format: Format,
}

#[derive(Clone, Debug, PartialEq)]
enum Format {
    /// Since 1970: a number, or a text of digits.
    Milliseconds,
    Seconds,
    Rfc3339,
    /// A strftime pattern, and the offset of what it reads when that says none.
    Pattern(String, Option<Offset>),
}

impl OwnStamp {
    /// Reads the stamp; `None` when the value is not written as the profile says.
    ///
    /// ```
    /// # use onemap_wire::Profile;
    /// # use onemap_model::ProfileId;
    /// let text = "version: 1\nname: {zh: 甲, en: A}\nprotocol: http\ntimestamp: {path: $.at, format: '%Y%m%d%H%M%S', zone: '+08:00'}\n";
    /// let profile = Profile::parse(&ProfileId::new("p").unwrap(), text).unwrap();
    /// let stamp = profile.timestamp.unwrap().read(&"20251123080000".into()).unwrap();
    /// assert_eq!(stamp.ms(), 1_763_856_000_000);
    /// ```
    pub fn read(&self, value: &Value) -> Option<Timestamp> {
        match &self.format {
            Format::Milliseconds => milliseconds(value, 1.0),
            Format::Seconds => milliseconds(value, 1000.0),
            Format::Rfc3339 => Timestamp::parse(value.as_str()?.trim()).ok(),
            Format::Pattern(pattern, zone) => {
                // A compact stamp is often sent as a number.
                let text = match value {
                    Value::String(text) => text.clone(),
                    Value::Number(number) => number.to_string(),
                    _ => return None,
                };
                pattern_read(pattern, *zone, text.trim())
            }
        }
    }
}

fn milliseconds(value: &Value, scale: f64) -> Option<Timestamp> {
    let ms = match value {
        Value::Number(n) => match n.as_i64() {
            Some(whole) => whole.checked_mul(scale as i64)?,
            None => float_ms(n.as_f64()?, scale)?,
        },
        Value::String(text) => match text.trim().parse::<i64>() {
            Ok(whole) => whole.checked_mul(scale as i64)?,
            Err(_) => float_ms(text.trim().parse().ok()?, scale)?,
        },
        _ => return None,
    };
    Some(Timestamp::from_ms(ms))
}

/// A fraction of a millisecond is rounded; beyond 2^53 a float names no millisecond any more.
fn float_ms(number: f64, scale: f64) -> Option<i64> {
    let ms = (number * scale).round();
    (ms.is_finite() && ms.abs() <= 9_007_199_254_740_992.0).then_some(ms as i64)
}

fn pattern_read(pattern: &str, zone: Option<Offset>, text: &str) -> Option<Timestamp> {
    let read = strtime::parse(pattern, text).ok()?;
    let instant = match (read.offset(), zone) {
        (Some(_), _) => read.to_timestamp().ok()?,
        (None, Some(zone)) => zone.to_timestamp(read.to_datetime().ok()?).ok()?,
        (None, None) => return None,
    };
    Some(Timestamp::from_ms(instant.as_millisecond()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StampFile {
    path: Spanned<String>,
    format: Spanned<String>,
    #[serde(default)]
    zone: Option<Spanned<String>>,
}

impl StampFile {
    pub(super) fn check(self) -> Result<OwnStamp, Wrong> {
        let path = Path::parse(&self.path.value).map_err(|e| (self.path.referenced, e.to_string()))?;
        if path.is_each() {
            let message = "a payload has one stamp, so its path has no `[*]`".to_owned();
            return Err((self.path.referenced, message));
        }
        let zone = match &self.zone {
            None => None,
            Some(zone) => Some(offset(&zone.value).ok_or_else(|| {
                let message = format!("`{}` is not an offset like +08:00 or Z", zone.value);
                (zone.referenced, message)
            })?),
        };
        let format = match self.format.value.as_str() {
            "ms" => Format::Milliseconds,
            "s" => Format::Seconds,
            "rfc3339" => Format::Rfc3339,
            pattern if pattern.contains('%') => {
                let wrong = |message: String| (self.format.referenced, message);
                check_pattern(pattern, zone).map_err(wrong)?;
                Format::Pattern(pattern.to_owned(), zone)
            }
            other => {
                let message = format!("`{other}` is not ms, s, rfc3339 or a pattern like %Y-%m-%d %H:%M:%S");
                return Err((self.format.referenced, message));
            }
        };
        if let (Some(zone), false) = (&self.zone, matches!(format, Format::Pattern(..))) {
            let message = format!("`{}` stamps say their zone themselves", self.format.value);
            return Err((zone.referenced, message));
        }
        Ok(OwnStamp { path, format })
    }
}

/// A pattern must write a second so that it reads back as the same second: else it lacks a part.
fn check_pattern(pattern: &str, zone: Option<Offset>) -> Result<(), String> {
    let sample = jiff::Timestamp::from_second(1_763_891_647).map_err(|e| e.to_string())?;
    let local = sample.to_zoned(jiff::tz::TimeZone::fixed(zone.unwrap_or(Offset::UTC)));
    let text = strtime::format(pattern, &local).map_err(|e| format!("`{pattern}`: {e}"))?;
    let read = strtime::parse(pattern, &text).map_err(|e| format!("`{pattern}`: {e}"))?;
    if read.offset().is_none() && zone.is_none() {
        return Err(format!(
            "`{pattern}` holds no offset, so a `zone` like +08:00 is needed"
        ));
    }
    match pattern_read(pattern, zone, &text) {
        Some(back) if back.ms() == sample.as_millisecond() => Ok(()),
        _ => Err(format!(
            "`{pattern}` does not hold a whole date and time to the second"
        )),
    }
}

fn offset(text: &str) -> Option<Offset> {
    if text == "Z" {
        return Some(Offset::UTC);
    }
    let sign = match text.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text[1..].split_once(':')?;
    let two = |digits: &str| (digits.len() == 2).then(|| digits.parse::<u8>().ok()).flatten();
    let (hours, minutes) = (i32::from(two(hours)?), i32::from(two(minutes)?));
    if hours > 18 || minutes > 59 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Profile;
    use onemap_model::ProfileId;
    use serde_json::json;

    fn stamp(body: &str) -> Result<OwnStamp, String> {
        let text = format!("version: 1\nname: {{zh: a, en: b}}\nprotocol: http\ntimestamp: {body}\n");
        Profile::parse(&ProfileId::new("p").unwrap(), &text)
            .map(|p| p.timestamp.unwrap())
            .map_err(|e| format!("{}:{} {}", e.line, e.column, e.message))
    }

    #[test]
    fn stamps_are_read_as_the_profile_says() {
        let eight = 1_763_856_000_000;
        for (file, value, want) in [
            ("{path: t, format: ms}", json!(eight), Some(eight)),
            ("{path: t, format: ms}", json!("1763856000000"), Some(eight)),
            ("{path: t, format: ms}", json!(1.763856e12), Some(eight)),
            ("{path: t, format: s}", json!(1_763_856_000), Some(eight)),
            ("{path: t, format: s}", json!(1_763_856_000.25), Some(eight + 250)),
            ("{path: t, format: s}", json!(i64::MAX), None),
            ("{path: t, format: s}", json!("soon"), None),
            ("{path: t, format: s}", json!(null), None),
            (
                "{path: t, format: rfc3339}",
                json!("2025-11-23T08:00:00+08:00"),
                Some(eight),
            ),
            ("{path: t, format: rfc3339}", json!("2025-11-23 08:00"), None),
            (
                "{path: t, format: '%Y-%m-%d %H:%M:%S', zone: '+08:00'}",
                json!("2025-11-23 08:00:00"),
                Some(eight),
            ),
            (
                "{path: t, format: '%Y-%m-%d %H:%M:%S', zone: Z}",
                json!("2025-11-23 00:00:00"),
                Some(eight),
            ),
            (
                "{path: t, format: '%Y%m%d%H%M%S', zone: '+08:00'}",
                json!(20_251_123_080_000_i64),
                Some(eight),
            ),
            (
                "{path: t, format: '%Y-%m-%dT%H:%M:%S%z'}",
                json!("2025-11-23T08:00:00+0800"),
                Some(eight),
            ),
            (
                "{path: t, format: '%Y-%m-%d %H:%M:%S', zone: '+08:00'}",
                json!("2025-13-23 08:00:00"),
                None,
            ),
        ] {
            let read = stamp(file).unwrap().read(&value);
            assert_eq!(read.map(Timestamp::ms), want, "{file} {value}");
        }
    }

    #[test]
    fn what_cannot_give_an_instant_is_refused_with_its_place() {
        for (file, place) in [
            ("{path: $..t, format: ms}", "4:19"),
            ("{path: 't[*]', format: ms}", "4:19"),
            ("{path: t, format: minutes}", "4:30"),
            ("{path: t, format: '%Y-%m-%d %H:%M:%S'}", "4:30"),
            ("{path: t, format: '%Y-%m-%d', zone: '+08:00'}", "4:30"),
            ("{path: t, format: '%Q', zone: '+08:00'}", "4:30"),
            ("{path: t, format: '%Y%m%d%H%M%S', zone: Beijing}", "4:52"),
            ("{path: t, format: ms, zone: '+08:00'}", "4:40"),
        ] {
            let error = stamp(file).unwrap_err();
            assert!(error.starts_with(place), "{file}: {error}");
        }
    }
}
