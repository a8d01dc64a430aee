//! How requests are read: parameters of the URL and of a form, both.

use axum::extract::{FromRequest, Request};
use axum::http::{Method, header};
use onemap_model::Timestamp;
use promql_parser::util::parse_duration;

use super::fault::Fault;
use super::grid::near;
use crate::error::Problem;
use crate::request::Unread;

/// Parameters in the order they came. Those that nobody knows are nobody's.
pub(super) struct Asked(Vec<(String, String)>);

impl<S: Sync> FromRequest<S> for Asked {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let mut asked = pairs(request.uri().query().unwrap_or_default().as_bytes());
        let is_form = request.headers().get(header::CONTENT_TYPE).is_some_and(|kind| {
            let kind = kind.to_str().unwrap_or_default();
            kind.to_ascii_lowercase()
                .starts_with("application/x-www-form-urlencoded")
        });
        if request.method() == Method::POST && is_form {
            let Ok(body) = Unread::from_request(request, state).await;
            asked.extend(pairs(&body.read().await?));
        }
        Ok(Self(asked))
    }
}

fn pairs(text: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(text).into_owned().collect()
}

impl Asked {
    #[cfg(test)]
    pub(super) fn of(text: &str) -> Self {
        Self(pairs(text.as_bytes()))
    }
    /// The first value of a name; an empty one is none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }
    /// Every value of a name.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = move |(own, value): &&(String, String)| own == name && !value.is_empty();
        self.0.iter().filter(named).map(|(_, value)| value.as_str())
    }
    pub(super) fn needed(&self, name: &str) -> Result<&str, Fault> {
        self.get(name).ok_or_else(|| invalid(name, "", "it is needed"))
    }
    /// A time in ms: seconds since 1970, or RFC 3339.
    pub(super) fn time(&self, name: &str) -> Result<Option<i64>, Fault> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        if let Ok(seconds) = text.parse::<f64>()
            && seconds.is_finite()
        {
            return Ok(Some(ms(seconds)));
        }
        match Timestamp::parse(text) {
            Ok(time) => Ok(Some(near(time.ms()))),
            Err(_) => Err(invalid(name, text, "not seconds since 1970 and no RFC 3339 time")),
        }
    }
    /// A length of time above zero in ms: seconds, or like `5m`.
    pub(super) fn duration(&self, name: &str) -> Result<Option<i64>, Fault> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let length = match text.parse::<f64>() {
            Ok(seconds) if seconds.is_finite() => ms(seconds),
            Ok(_) => 0,
            Err(_) => match parse_duration(text) {
                Ok(length) => near(i64::try_from(length.as_millis()).unwrap_or(i64::MAX)),
                Err(_) => {
                    return Err(invalid(
                        name,
                        text,
                        "no number of seconds and no duration like 5m",
                    ));
                }
            },
        };
        match length {
            ..1 => Err(invalid(name, text, "it must be above zero")),
            length => Ok(Some(length)),
        }
    }
    /// The number of entries asked for; 0 is all.
    pub(super) fn limit(&self) -> Result<usize, Fault> {
        let Some(text) = self.get("limit") else {
            return Ok(usize::MAX);
        };
        match text.parse() {
            Ok(0) => Ok(usize::MAX),
            Ok(n) => Ok(n),
            Err(_) => Err(invalid("limit", text, "no whole number")),
        }
    }
}

/// Whole milliseconds; half ones go up.
fn ms(seconds: f64) -> i64 {
    near((seconds * 1e3).round() as i64)
}

pub(super) fn invalid(name: &str, text: &str, why: &str) -> Fault {
    Fault::bad_data(format!("invalid parameter \"{name}\": `{text}`: {why}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_and_durations_are_read_as_prometheus_reads_them() {
        let asked =
            Asked::of("a=1763856000.123&b=2025-11-23T08:00:00%2B08:00&c=&d=x&e=5m&f=15&g=0&h=1d12h&i=NaN");
        assert_eq!(asked.time("a").unwrap(), Some(1_763_856_000_123));
        assert_eq!(asked.time("b").unwrap(), Some(1_763_856_000_000));
        assert_eq!(asked.time("c").unwrap(), None);
        for bad in ["d", "i"] {
            assert!(asked.time(bad).is_err(), "{bad}");
        }
        assert_eq!(asked.duration("e").unwrap(), Some(300_000));
        assert_eq!(asked.duration("f").unwrap(), Some(15_000));
        assert_eq!(asked.duration("h").unwrap(), Some(129_600_000));
        for bad in ["d", "g", "i"] {
            assert!(asked.duration(bad).is_err(), "{bad}");
        }
        let asked = Asked::of("match[]=a&match[]=b&limit=0");
        assert_eq!(asked.all("match[]").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(asked.limit().unwrap(), usize::MAX);
        assert!(Asked::of("limit=-1").limit().is_err());
    }
}
