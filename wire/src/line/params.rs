//! What a write request says beside its lines, kept in the frame's topic.

use std::ops::Range;

/// From the first millisecond of 1990 to the last of 2100, UTC.
const LIKELY_MS: Range<i64> = 631_152_000_000..4_133_980_800_000;

/// What one count of a timestamp is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Precision {
    #[default]
    Nanoseconds,
    Microseconds,
    Milliseconds,
    Seconds,
    Minutes,
    Hours,
}

impl Precision {
    /// By its name in `precision=` of InfluxDB 2 (`ns`, `us`, `ms`, `s`) or 1.x (`n`, `u`, `m`, `h` too).
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "" | "ns" | "n" => Self::Nanoseconds,
            "us" | "u" | "µ" | "µs" => Self::Microseconds,
            "ms" => Self::Milliseconds,
            "s" => Self::Seconds,
            "m" => Self::Minutes,
            "h" => Self::Hours,
            _ => return None,
        })
    }
    /// Its name in a topic.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Microseconds => "us",
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::Minutes => "m",
            Self::Hours => "h",
        }
    }
    /// Whether a stamp, so counted, lies in the years 1990 to 2100. Where none of a request's does, its precision
    /// is another one.
    ///
    /// ```
    /// # use onemap_wire::line::Precision;
    /// assert!(Precision::Seconds.is_likely(1_763_856_000));
    /// assert!(!Precision::Nanoseconds.is_likely(1_763_856_000));
    /// ```
    pub fn is_likely(self, stamp: i64) -> bool {
        self.milliseconds(stamp).is_some_and(|ms| LIKELY_MS.contains(&ms))
    }
    /// The millisecond in which a stamp lies; `None` when 64 bits cannot say it.
    pub fn milliseconds(self, stamp: i64) -> Option<i64> {
        match self {
            Self::Nanoseconds => Some(stamp.div_euclid(1_000_000)),
            Self::Microseconds => Some(stamp.div_euclid(1000)),
            Self::Milliseconds => Some(stamp),
            Self::Seconds => stamp.checked_mul(1000),
            Self::Minutes => stamp.checked_mul(60_000),
            Self::Hours => stamp.checked_mul(3_600_000),
        }
    }
}

/// What the pipeline must know of a write request, as the frame's topic says it:
/// `/api/v2/write?precision=ns&division=630102&tags=device,host`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params<'a> {
    /// What one count of a timestamp is.
    pub precision: Precision,
    /// The writer may write for devices of this division only.
    pub division: Option<&'a str>,
    /// The writer may write for devices of these departments only; empty is all.
    pub departments: Vec<String>,
    /// The tags that may name a line's device, the first one present counts.
    pub tags: Vec<&'a str>,
}

impl<'a> Params<'a> {
    /// Path of the topic, without its parameters.
    pub const PATH: &'static str = "/api/v2/write";

    /// Reads a topic; `None` when it is not of a write request.
    pub fn of_topic(topic: &'a str) -> Option<Self> {
        let mut params = Self::default();
        let query = match topic.strip_prefix(Self::PATH)? {
            "" => return Some(params),
            rest => rest.strip_prefix('?')?,
        };
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("precision", name)) => params.precision = Precision::named(name)?,
                Some(("division", code)) => params.division = Some(code),
                Some(("departments", names)) => params.departments = names.split(',').map(plain).collect(),
                Some(("tags", names)) => params.tags = names.split(',').collect(),
                _ => {}
            }
        }
        Some(params)
    }

    /// The topic that [`Params::of_topic`] reads.
    pub fn topic(&self) -> String {
        let mut topic = format!("{}?precision={}", Self::PATH, self.precision.name());
        if let Some(division) = self.division {
            topic.push_str("&division=");
            topic.push_str(division);
        }
        if !self.departments.is_empty() {
            let names: Vec<String> = self.departments.iter().map(|name| escaped(name)).collect();
            topic.push_str("&departments=");
            topic.push_str(&names.join(","));
        }
        if !self.tags.is_empty() {
            topic.push_str("&tags=");
            topic.push_str(&self.tags.join(","));
        }
        topic
    }
}

/// What stands for letters that part a topic, the first one for itself.
const APART: [(&str, &str); 4] = [("%", "%25"), ("&", "%26"), (",", "%2C"), ("=", "%3D")];

/// A text without the letters that part a topic.
fn escaped(text: &str) -> String {
    APART
        .iter()
        .fold(text.to_owned(), |text, (letter, code)| text.replace(letter, code))
}

/// The text that was [`escaped`].
fn plain(text: &str) -> String {
    APART
        .iter()
        .rev()
        .fold(text.to_owned(), |text, (letter, code)| text.replace(code, letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_go_there_and_back() {
        for params in [
            Params::default(),
            Params {
                precision: Precision::Seconds,
                division: Some("630102"),
                departments: vec!["水务局".to_owned(), "a,b&c=d%2C %25%".to_owned()],
                tags: vec!["device", "host"],
            },
        ] {
            assert_eq!(Params::of_topic(&params.topic()), Some(params));
        }
        assert_eq!(Params::of_topic("/api/v2/write"), Some(Params::default()));
        for other in [
            "/api/v2/writer",
            "/api/v2/write?precision=year",
            "/api/v1/readings",
            "",
        ] {
            assert_eq!(Params::of_topic(other), None, "{other}");
        }
    }

    #[test]
    fn a_stamp_of_another_precision_is_not_likely() {
        use Precision::*;
        for (precision, first, last) in [
            (Milliseconds, 631_152_000_000, 4_133_980_799_999),
            (Seconds, 631_152_000, 4_133_980_799),
        ] {
            assert!(precision.is_likely(first) && precision.is_likely(last));
            assert!(!precision.is_likely(first - 1) && !precision.is_likely(last + 1));
        }
        let counts = [
            (Nanoseconds, 1_763_856_000_000_000_000),
            (Microseconds, 1_763_856_000_000_000),
            (Milliseconds, 1_763_856_000_000),
            (Seconds, 1_763_856_000),
            (Minutes, 29_397_600),
            (Hours, 489_960),
        ];
        for (own, stamp) in counts {
            for (precision, _) in counts {
                assert_eq!(
                    precision.is_likely(stamp),
                    precision == own,
                    "{own:?} as {precision:?}"
                );
            }
        }
    }

    #[test]
    fn stamps_before_1970_lie_in_their_millisecond() {
        assert_eq!(Precision::Nanoseconds.milliseconds(-1), Some(-1));
        assert_eq!(
            Precision::Nanoseconds.milliseconds(1_763_856_000_000_999_999),
            Some(1_763_856_000_000)
        );
        assert_eq!(Precision::Seconds.milliseconds(i64::MAX), None);
        assert_eq!(
            Precision::named("m").and_then(|p| p.milliseconds(2)),
            Some(120_000)
        );
    }
}
