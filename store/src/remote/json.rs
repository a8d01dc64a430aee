//! Answers of the Prometheus API as they are written.

use std::collections::HashMap;

use serde::Deserialize;

use crate::engine::StoreError;

/// An answer to a query.
#[derive(Debug, Deserialize)]
pub(super) struct PromAnswer {
    status: String,
    #[serde(default, rename = "isPartial")]
    is_partial: bool,
    #[serde(default)]
    error: String,
    data: Option<PromData>,
}

#[derive(Debug, Deserialize)]
struct PromData {
    #[serde(rename = "resultType")]
    kind: String,
    result: Vec<PromSeries>,
}

/// One series of a matrix.
#[derive(Debug, Deserialize)]
pub(super) struct PromSeries {
    pub(super) metric: HashMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

impl PromSeries {
    /// Time (ms since 1970) and number of each value; markers of staleness are left out.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a text that is no number.
    pub(super) fn values(&self) -> impl Iterator<Item = Result<(i64, f64), StoreError>> {
        let read = |(at, text): &(f64, String)| match text.parse::<f64>() {
            Ok(number) => Ok(((at * 1000.0).round() as i64, number)),
            Err(_) => Err(StoreError::corrupt(format!("`{text}` is not a number"))),
        };
        self.values
            .iter()
            .map(read)
            .filter(|value| value.as_ref().map_or(true, |(_, number)| !number.is_nan()))
    }
}

/// The series of a matrix.
///
/// # Errors
/// [`StoreError::Corrupt`] when it is none, [`StoreError::Unavailable`] when the engine says that it is not the
/// whole answer.
pub(super) fn matrix(body: &[u8]) -> Result<Vec<PromSeries>, StoreError> {
    let answer: PromAnswer = serde_json::from_slice(body).map_err(StoreError::corrupt)?;
    if answer.is_partial {
        return Err(StoreError::away(
            "its answer is partial: some of its nodes are away",
        ));
    }
    match (answer.status.as_str(), answer.data) {
        ("success", Some(data)) if data.kind == "matrix" => Ok(data.result),
        ("success", Some(data)) => Err(StoreError::corrupt(format!(
            "a {} instead of a matrix",
            data.kind
        ))),
        (_, _) => Err(StoreError::Rejected { why: answer.error }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_matrix_is_read_and_everything_else_is_an_error() {
        let good = br#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"device":"a"},"values":[[1763856000.123,"1.5"],[1763856001,"NaN"],[1763856002,"-0.1"]]}]}}"#;
        let series = matrix(good).unwrap();
        let values: Vec<_> = series[0].values().collect::<Result<_, _>>().unwrap();
        assert_eq!(values, [(1_763_856_000_123, 1.5), (1_763_856_002_000, -0.1)]);
        for bad in [
            &b"{}"[..],
            b"",
            b"<html>",
            &good[..good.len() - 3],
            br#"{"status":"error","errorType":"x","error":"no"}"#,
            br#"{"status":"success","data":{"resultType":"vector","result":[]}}"#,
            br#"{"status":"success","isPartial":true,"data":{"resultType":"matrix","result":[]}}"#,
        ] {
            assert!(matrix(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        let odd = br#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"x"]]}]}}"#;
        assert!(matrix(odd).unwrap()[0].values().next().unwrap().is_err());
    }
}
