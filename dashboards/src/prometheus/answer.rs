//! Answers as Prometheus writes them: numbers as texts, times as seconds.

use std::fmt::Write as _;
use std::io::Write as _;

use super::eval::{Measured, Row};
use super::grid::Grid;
use super::labels::Labels;

/// Values of one answer.
pub(super) const MAX_VALUES: usize = 3_000_000;

/// What a query found.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    Scalar(i64, f64),
    Text(i64, String),
    /// Series with one value each.
    Vector(i64, Vec<Row>),
    /// Series on a grid.
    Matrix(Grid, Vec<Row>),
    /// Series as they were measured.
    Raw(Vec<Measured>),
}

impl Found {
    /// Series in it.
    pub(super) fn n_series(&self) -> usize {
        match self {
            Self::Scalar(..) | Self::Text(..) => 1,
            Self::Vector(_, rows) | Self::Matrix(_, rows) => rows.len(),
            Self::Raw(series) => series.len(),
        }
    }
    /// Leaves the first series only.
    pub(super) fn truncate(&mut self, limit: usize) {
        match self {
            Self::Scalar(..) | Self::Text(..) => {}
            Self::Vector(_, rows) | Self::Matrix(_, rows) => rows.truncate(limit),
            Self::Raw(series) => series.truncate(limit),
        }
    }
    /// Values in it.
    pub(super) fn n_values(&self) -> usize {
        match self {
            Self::Scalar(..) | Self::Text(..) => 1,
            Self::Vector(_, rows) => rows.len(),
            Self::Matrix(grid, rows) => rows.len().saturating_mul(grid.n),
            Self::Raw(series) => series.iter().map(|(_, points)| points.len()).sum(),
        }
    }
    /// `{"status":"success","data":{"resultType":…,"result":…},"warnings":[…]}`.
    pub(super) fn written(&self, warnings: &[String]) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(br#"{"status":"success","data":{"resultType":""#);
        let kind: &[u8] = match self {
            Self::Scalar(..) => b"scalar",
            Self::Text(..) => b"string",
            Self::Vector(..) => b"vector",
            Self::Matrix(..) | Self::Raw(_) => b"matrix",
        };
        out.extend_from_slice(kind);
        out.extend_from_slice(br#"","result":"#);
        match self {
            Self::Scalar(at, value) => pair(&mut out, *at, *value),
            Self::Text(at, text) => {
                out.push(b'[');
                time(&mut out, *at);
                out.push(b',');
                json(&mut out, text);
                out.push(b']');
            }
            Self::Vector(at, rows) => list(&mut out, rows, |out, row| {
                out.extend_from_slice(br#"{"metric":"#);
                labels(out, &row.labels);
                out.extend_from_slice(br#","value":"#);
                pair(out, *at, row.values.first().copied().unwrap_or(f64::NAN));
                out.push(b'}');
            }),
            Self::Matrix(grid, rows) => list(&mut out, rows, |out, row| {
                let points = grid.times().zip(row.values.iter().copied());
                points_of(out, &row.labels, points.filter(|(_, value)| !value.is_nan()));
            }),
            Self::Raw(series) => list(&mut out, series, |out, (labels, points)| {
                points_of(out, labels, points.iter().copied());
            }),
        }
        out.push(b'}');
        if !warnings.is_empty() {
            out.extend_from_slice(br#","warnings":"#);
            list(&mut out, warnings, |out, text| json(out, text));
        }
        out.push(b'}');
        out
    }
}

fn list<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

fn points_of(out: &mut Vec<u8>, of: &Labels, points: impl Iterator<Item = (i64, f64)>) {
    out.extend_from_slice(br#"{"metric":"#);
    labels(out, of);
    out.extend_from_slice(br#","values":["#);
    for (i, (at, value)) in points.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        pair(out, at, value);
    }
    out.extend_from_slice(b"]}");
}

/// Labels as an object.
pub(super) fn labels(out: &mut Vec<u8>, labels: &Labels) {
    out.push(b'{');
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        json(out, name);
        out.push(b':');
        json(out, value);
    }
    out.push(b'}');
}

fn json(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a text is JSON, and memory takes every byte");
}

fn pair(out: &mut Vec<u8>, at: i64, value: f64) {
    out.push(b'[');
    time(out, at);
    // Memory takes every byte.
    let _ = write!(out, ",\"{}\"]", Number(value));
}

/// Seconds with as many decimals as milliseconds need.
fn time(out: &mut Vec<u8>, ms: i64) {
    let (seconds, rest) = (ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000);
    let sign = if ms < 0 { "-" } else { "" };
    // Memory takes every byte.
    let _ = match rest {
        0 => write!(out, "{sign}{seconds}"),
        rest => write!(out, "{sign}{seconds}.{rest:03}"),
    };
}

/// A number as Prometheus writes it: the shortest decimal that reads back, without an exponent.
struct Number(f64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            v if v.is_nan() => f.write_str("NaN"),
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            v => write!(f, "{v}"),
        }
    }
}

/// A number as a label has it.
pub(super) fn number(value: f64) -> String {
    Number(value).to_string()
}

/// Labels as a query has them.
pub(super) fn braced(labels: &Labels) -> String {
    let mut text = String::from("{");
    for (i, (name, value)) in labels.iter().enumerate() {
        // A text takes every letter.
        let _ = write!(text, "{}{name}={value:?}", if i > 0 { ", " } else { "" });
    }
    text + "}"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;

    #[test]
    fn numbers_and_times_are_written_as_prometheus_does() {
        for (value, want) in [
            (1.0, "1"),
            (0.1, "0.1"),
            (1e21, "1000000000000000000000"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(number(value), want);
        }
        for (ms, want) in [
            (0, "0"),
            (1500, "1.500"),
            (-1, "-0.001"),
            (1_763_856_000_000, "1763856000"),
        ] {
            let mut out = Vec::new();
            time(&mut out, ms);
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }

    #[test]
    fn an_answer_is_json_and_gaps_are_left_out() {
        let labels = Labels::new([(Arc::from("device"), Arc::from("a\"b"))]);
        let row = |values: &[f64]| Row {
            labels: labels.clone(),
            values: values.to_vec(),
        };
        let found = Found::Matrix(Grid::new(0, 2000, 1000), vec![row(&[1.0, f64::NAN, 2.5])]);
        let text = String::from_utf8(found.written(&["careful".into()])).unwrap();
        assert_eq!(
            text,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"device":"a\"b"},"values":[[0,"1"],[2,"2.5"]]}]},"warnings":["careful"]}"#
        );
        let found = Found::Vector(1500, vec![row(&[3.0])]);
        let value: serde_json::Value = serde_json::from_slice(&found.written(&[])).unwrap();
        assert_eq!(value["data"]["result"][0]["value"], serde_json::json!([1.5, "3"]));
        assert!(value.get("warnings").is_none());
    }
}
