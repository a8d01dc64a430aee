//! Questions in InfluxQL: InfluxDB 1, and InfluxDB 2 where a bucket has a mapping for its name.
//!
//! `GROUP BY time(step, offset)` begins its buckets at multiples of the step plus the offset; with the span's start as
//! the offset they are the steps that are asked for.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use bytes::Bytes;
use hyper::Method;
use onemap_model::{Quality, SeriesKey, Value};
use serde::Deserialize;
use tokio::runtime::Handle;

use super::promql::encoded;
use super::store::{Ask, Cells, MAX_ANSWER_BYTES, Parts, Sample, grouped};
use super::{Endpoint, RemoteConfig};
use crate::engine::{Span, StoreError};
use crate::history::{Grid, Held, Numbers};

/// Most devices in one question.
const N_DEVICES: usize = 50;
/// Most steps of one question.
const N_STEPS: u64 = 10_000;

pub(super) struct InfluxQl {
    reads: Endpoint,
    path: String,
    database: String,
    handle: Handle,
}

impl InfluxQl {
    pub(super) fn new(config: &RemoteConfig, handle: Handle) -> Self {
        Self {
            reads: config.reads.clone(),
            path: config.paths.query.clone(),
            database: config.bucket.clone(),
            handle,
        }
    }

    fn query(&self, text: &str) -> Result<Vec<Series>, StoreError> {
        let path = format!("{}?db={}&epoch=ms", self.path, encoded(&self.database));
        let body = format!("q={}", encoded(text));
        let kind = "application/x-www-form-urlencoded";
        let asked = self
            .reads
            .ask(Method::POST, &path, kind, Bytes::from(body), MAX_ANSWER_BYTES);
        series(&self.handle.block_on(asked)?.body)
    }

    /// One field's first and last time are both included.
    fn from(key: &SeriesKey, fields: &str, first: i64, last: i64) -> String {
        format!(
            "SELECT {fields} FROM {} WHERE {} AND \"ch\"='{}' AND time >= {first}ms AND time <= {last}ms",
            quoted(&key.quantity.definition().name),
            device(key.device.as_str()),
            key.channel
        )
    }
}

/// An answer.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    results: Vec<Outcome>,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    #[serde(default)]
    series: Vec<Series>,
    error: Option<String>,
    #[serde(default)]
    partial: bool,
}

/// Rows of one series.
#[derive(Debug, Deserialize)]
struct Series {
    #[serde(default)]
    tags: HashMap<String, String>,
    columns: Vec<String>,
    #[serde(default)]
    values: Vec<Vec<serde_json::Value>>,
    #[serde(default)]
    partial: bool,
}

impl Series {
    /// Where a column stands.
    fn column(&self, name: &str) -> Result<usize, StoreError> {
        let found = self.columns.iter().position(|column| column == name);
        found.ok_or_else(|| StoreError::corrupt(format!("no column `{name}`")))
    }
}

fn series(body: &[u8]) -> Result<Vec<Series>, StoreError> {
    let answer: Answer = serde_json::from_slice(body).map_err(StoreError::corrupt)?;
    if let Some(why) = answer.error {
        return Err(StoreError::Rejected { why });
    }
    let Some(outcome) = answer.results.into_iter().next() else {
        return Err(StoreError::corrupt("an answer without a result"));
    };
    if let Some(why) = outcome.error {
        return Err(StoreError::Rejected { why });
    }
    if outcome.partial || outcome.series.iter().any(|series| series.partial) {
        return Err(StoreError::away(
            "its answer is partial: it is over a limit of the engine",
        ));
    }
    Ok(outcome.series)
}

/// A measurement.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A device. Names are letters, digits and `-_.:`.
fn device(name: &str) -> String {
    format!("\"device\"='{name}'")
}

/// The time of a row, ms.
fn time(row: &[serde_json::Value]) -> Result<i64, StoreError> {
    let time = row.first().and_then(serde_json::Value::as_i64);
    time.ok_or_else(|| StoreError::corrupt("a row without a time"))
}

impl Ask for InfluxQl {
    fn raw(&self, key: &SeriesKey, first: i64, last: i64) -> Result<Vec<Sample>, StoreError> {
        let mut samples = BTreeMap::new();
        for series in self.query(&Self::from(key, "*", first, last))? {
            let column = |name| series.column(name).ok();
            let (value, text, marks) = (column("value"), column("text"), column("q"));
            for row in &series.values {
                let at = time(row)?;
                let cell = |column: Option<usize>| column.and_then(|i| row.get(i)).filter(|v| !v.is_null());
                let value = match (cell(value), cell(text)) {
                    (_, Some(serde_json::Value::String(text))) => Value::Text(text.as_str().into()),
                    (Some(number), _) => Value::Number(
                        number
                            .as_f64()
                            .ok_or_else(|| StoreError::corrupt(format!("{number} is not a number")))?,
                    ),
                    _ => continue,
                };
                let quality = Quality(cell(marks).and_then(serde_json::Value::as_u64).unwrap_or(0) as u16);
                samples.insert(at, Sample { at, value, quality });
            }
        }
        Ok(samples.into_values().collect())
    }

    fn marks(&self, key: &SeriesKey, first: i64, last: i64) -> Result<Vec<(i64, Quality)>, StoreError> {
        let mut marks = Vec::new();
        for series in self.query(&Self::from(key, "\"q\"", first, last))? {
            let column = series.column("q")?;
            for row in &series.values {
                if let Some(bits) = row.get(column).and_then(serde_json::Value::as_u64) {
                    marks.push((time(row)?, Quality(bits as u16)));
                }
            }
        }
        Ok(marks)
    }

    fn cells(&self, keys: &[SeriesKey], grid: &Grid, parts: Parts) -> Result<Vec<Option<Cells>>, StoreError> {
        let mut all: Vec<Option<Cells>> = keys.iter().map(|_| Some(Cells::new())).collect();
        let step_ms = grid.step_ms;
        // Texts are counted with the numbers.
        let mut wanted = "COUNT(\"value\") AS \"count\", COUNT(\"text\") AS \"texts\"".to_owned();
        for part in parts.names().filter(|part| *part != "count") {
            // Writing to a String cannot fail.
            let _ = write!(wanted, ", {part}(\"value\") AS \"{part}\"");
        }
        for ((quantity, channel), members) in grouped(keys) {
            for members in members.chunks(N_DEVICES) {
                let index: HashMap<&str, usize> = members.iter().copied().collect();
                let devices: Vec<String> = members.iter().map(|(name, _)| device(name)).collect();
                let mut start = grid.first;
                while start <= grid.last {
                    let last = grid
                        .last
                        .min(start.saturating_add((N_STEPS * step_ms) as i64 - 1));
                    let question = format!(
                        "SELECT {wanted} FROM {} WHERE ({}) AND \"ch\"='{channel}' AND time >= {start}ms AND time <= {last}ms \
                         GROUP BY \"device\", time({step_ms}ms, {}ms) fill(none)",
                        quoted(&quantity.definition().name),
                        devices.join(" OR "),
                        start.rem_euclid(step_ms as i64),
                    );
                    for series in self.query(&question)? {
                        let name = series.tags.get("device").map_or("", String::as_str);
                        let cells = index.get(name).and_then(|i| all[*i].as_mut());
                        let Some(cells) = cells else {
                            return Err(StoreError::corrupt(format!("a series of device `{name}`")));
                        };
                        steps(&series, grid, cells)?;
                    }
                    start = last + 1;
                }
            }
        }
        Ok(all)
    }

    fn delete(&self, keys: &[SeriesKey], span: Option<Span>) -> Result<(), StoreError> {
        for key in keys {
            let mut text = format!(
                "DELETE FROM {} WHERE {} AND \"ch\"='{}'",
                quoted(&key.quantity.definition().name),
                device(key.device.as_str()),
                key.channel
            );
            if let Some(span) = span {
                // Writing to a String cannot fail.
                let _ = write!(
                    text,
                    " AND time >= {}ms AND time < {}ms",
                    span.from.ms(),
                    span.to.ms()
                );
            }
            self.query(&text)?;
        }
        Ok(())
    }

    fn probe(&self) -> Result<(), StoreError> {
        self.query("SHOW MEASUREMENTS LIMIT 1").map(|_| ())
    }
}

/// Takes up the rows of steps.
fn steps(series: &Series, grid: &Grid, cells: &mut Cells) -> Result<(), StoreError> {
    for row in &series.values {
        let at = time(row)?;
        if at < grid.first || at > grid.last {
            return Err(StoreError::corrupt("a step that was not asked for"));
        }
        let number = |name: &str| {
            let cell = row.get(series.column(name).ok()?)?;
            cell.as_f64()
        };
        let n = number("count").unwrap_or(0.0) as u64;
        let n_texts = number("texts").unwrap_or(0.0) as u64;
        if n + n_texts == 0 {
            continue;
        }
        let numbers = Numbers {
            n,
            min: number("min").unwrap_or(f64::NAN),
            max: number("max").unwrap_or(f64::NAN),
            sum: number("sum").unwrap_or(f64::NAN),
            first: f64::NAN,
            last: number("last").unwrap_or(f64::NAN),
        };
        let held = Held {
            n: n + n_texts,
            n_flagged: 0,
            numbers: (n > 0).then_some(numbers),
        };
        cells.insert(grid.index(at), held);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_no_whole_answer_is_an_error() {
        let good = br#"{"results":[{"statement_id":0,"series":[{"name":"ph","columns":["time","value"],"values":[[1,7.5]]}]}]}"#;
        assert_eq!(series(good).unwrap()[0].values.len(), 1);
        assert!(series(br#"{"results":[{"statement_id":0}]}"#).unwrap().is_empty());
        for bad in [
            &b""[..],
            &good[..good.len() - 4],
            b"{}",
            br#"{"error":"no"}"#,
            br#"{"results":[{"error":"database not found: x"}]}"#,
            br#"{"results":[{"series":[{"name":"a","columns":[],"values":[],"partial":true}]}]}"#,
            br#"{"results":[{"partial":true,"series":[]}]}"#,
        ] {
            assert!(series(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
