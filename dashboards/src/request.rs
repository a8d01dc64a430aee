//! How requests are read: query parameters and JSON bodies, with named errors.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

use crate::error::Problem;

/// Query parameters; an unknown or unreadable one is 400 (the types deny unknown fields).
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::<T>::try_from_uri(&parts.uri)
            .map(|Query(value)| Self(value))
            .map_err(|error| Problem::bad_request("bad_parameter", root_text(&error)))
    }
}

/// No query parameters: one that is there was meant to choose something, and is refused.
pub(crate) struct NoParams;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl<S: Sync> FromRequestParts<S> for NoParams {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Params::<Nothing>::from_request_parts(parts, state)
            .await
            .map(|_| Self)
    }
}

/// A body that is not read yet: first the caller is looked at.
pub(crate) struct Unread(Request);

impl<S: Sync> FromRequest<S> for Unread {
    type Rejection = std::convert::Infallible;
    async fn from_request(request: Request, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(request))
    }
}

impl Unread {
    /// Whether the body is said to be JSON.
    pub(crate) fn is_json(&self) -> bool {
        let kind = self.0.headers().get(header::CONTENT_TYPE);
        kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
    }
    /// Reads it, within the route's limit.
    pub(crate) async fn read(self) -> Result<Bytes, Problem> {
        Bytes::from_request(self.0, &()).await.map_err(|error| {
            if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
                return Problem::too_large(error.body_text());
            }
            Problem::bad_request("bad_body", error.body_text())
        })
    }
    /// Reads it as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(self) -> Result<T, Problem> {
        let bytes = self.read().await?;
        serde_json::from_slice(&bytes).map_err(|error| Problem::bad_request("bad_body", error.to_string()))
    }
}

/// A JSON object; what is wrong with it is said with line and column. A list in its place is none: its items would
/// be taken for the object's members by their order.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bytes = Unread(request).read().await?;
        if bytes.trim_ascii_start().starts_with(b"[") {
            let message = "the body is a list; an object is wanted";
            return Err(Problem::bad_request("bad_body", message));
        }
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| Problem::bad_request("bad_body", error.to_string()))
    }
}

/// A JSON list.
pub(crate) struct List<T>(pub(crate) Vec<T>);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for List<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        Unread(request).json().await.map(Self)
    }
}

/// A JSON body that may be left out.
pub(crate) struct OptionalBody<T>(pub(crate) Option<T>);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for OptionalBody<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bytes = Unread(request).read().await?;
        if bytes.trim_ascii().is_empty() {
            return Ok(Self(None));
        }
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Self(Some(value))),
            Err(error) => Err(Problem::bad_request("bad_body", error.to_string())),
        }
    }
}

fn root_text(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// A bounding box `west,south,east,north` in WGS 84 degrees; west > east crosses the date line and is
/// refused here (Xining does not).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bbox(pub(crate) [f64; 4]);

impl Bbox {
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let wrong = |why: &str| {
            Problem::bad_request(
                "bad_bbox",
                format!("bbox={text}: {why}; four numbers west,south,east,north are needed"),
            )
        };
        let numbers: Vec<f64> = text
            .split(',')
            .map(|n| n.trim().parse())
            .collect::<Result<_, _>>()
            .map_err(|_| wrong("not numbers"))?;
        let [w, s, e, n] = numbers[..] else {
            return Err(wrong("not four numbers"));
        };
        if !(numbers.iter().all(|n| n.is_finite()) && w <= e && s <= n) {
            return Err(wrong("not west <= east and south <= north"));
        }
        Ok(Self([w, s, e, n]))
    }
    pub(crate) fn holds(&self, lon: f64, lat: f64) -> bool {
        let [w, s, e, n] = self.0;
        (w..=e).contains(&lon) && (s..=n).contains(&lat)
    }
}

/// A step such as `60s`, `5m`, `1h`, `1d`.
pub(crate) fn parse_step(text: &str) -> Result<std::time::Duration, Problem> {
    let wrong = || {
        Problem::bad_request(
            "bad_step",
            format!("step={text}: use a whole number with s, m, h or d, like 5m"),
        )
    };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let n: u64 = digits.parse().map_err(|_| wrong())?;
    let seconds = match &text[digits.len()..] {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    match n.checked_mul(seconds) {
        Some(s) if (1..=366 * 86_400).contains(&s) => Ok(std::time::Duration::from_secs(s)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn boxes_and_steps_are_read_or_refused() {
        assert_eq!(
            Bbox::parse("101,36,102,37").unwrap().0,
            [101.0, 36.0, 102.0, 37.0]
        );
        for bad in ["", "1,2,3", "a,b,c,d", "5,0,4,1", "0,NaN,1,1", "1,2,3,4,5"] {
            assert!(Bbox::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_step("5m").unwrap().as_secs(), 300);
        for bad in ["", "m", "0s", "5", "5y", "-1s", "999999999999d"] {
            assert!(parse_step(bad).is_err(), "{bad}");
        }
    }
}
