//! Questions in PromQL.
//!
//! `f_over_time(m[w])` at a time t holds the values after t - w, t included. A step that begins at s and takes
//! w milliseconds is therefore asked for at s + w - 1 ms. Single values are asked for with a range selector,
//! which gives them with their own times.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use hyper::Method;
use onemap_model::{Quality, SeriesKey, Value};
use tokio::runtime::Handle;

use super::json::{PromSeries, matrix};
use super::store::{Ask, Cells, MAX_ANSWER_BYTES, Parts, Sample, grouped};
use super::{Endpoint, Naming, Paths, RemoteConfig};
use crate::engine::{Span, StoreError};
use crate::history::{Grid, Held, Numbers};

/// Most steps of one query: below the limit of Prometheus (11 000) and VictoriaMetrics (30 000).
const N_STEPS: u64 = 5000;
/// Most devices in one query.
const N_DEVICES: usize = 100;

pub(super) struct PromQl {
    reads: Endpoint,
    paths: Paths,
    naming: Naming,
    handle: Handle,
}

impl PromQl {
    pub(super) fn new(config: &RemoteConfig, handle: Handle) -> Self {
        Self {
            reads: config.reads.clone(),
            paths: config.paths.clone(),
            naming: config.naming.clone(),
            handle,
        }
    }

    fn post(&self, path: &str, form: &[(&str, &str)]) -> Result<Bytes, StoreError> {
        let body: Vec<String> = form
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        let kind = "application/x-www-form-urlencoded";
        let asked = self
            .reads
            .ask(Method::POST, path, kind, body.join("&").into(), MAX_ANSWER_BYTES);
        Ok(self.handle.block_on(asked)?.body)
    }

    /// The series of a field of a quantity's devices.
    fn selector(&self, quantity: &str, field: &str, devices: &[&str], channel: u16) -> String {
        let name = self
            .naming
            .metric
            .replace("{measurement}", quantity)
            .replace("{field}", field);
        let field = match &self.naming.field_label {
            Some(label) => format!("{label}=\"{field}\","),
            None => String::new(),
        };
        // Names of devices are letters, digits and `-_.:`.
        let device = match devices {
            [device] => format!("device=\"{device}\""),
            devices => format!("device=~\"{}\"", devices.join("|").replace('.', "\\\\.")),
        };
        format!("{name}{{{field}{device},ch=\"{channel}\"}}")
    }

    /// Values with their own times, first and last included.
    fn values(&self, selector: &str, first: i64, last: i64) -> Result<Vec<PromSeries>, StoreError> {
        // With room on both sides: the window's start is left out, and engines that count in floating point cut a
        // millisecond off some windows and times. Who asks leaves out what lies outside.
        let query = format!("{selector}[{}ms]", last - first + 4);
        let path = format!("{}/api/v1/query", self.paths.query);
        let form = [("query", &*query), ("time", &seconds(last + 1)), ("nocache", "1")];
        matrix(&self.post(&path, &form)?)
    }

    /// A field of one series: the newest revision of each time.
    fn field(&self, key: &SeriesKey, field: &str, first: i64, last: i64) -> Result<Newest, StoreError> {
        let quantity = &key.quantity.definition().name;
        let selector = self.selector(quantity, field, &[key.device.as_str()], key.channel);
        let mut newest = BTreeMap::new();
        for series in self.values(&selector, first, last)? {
            let revision = revision(&series)?;
            for value in series.values() {
                let (at, number) = value?;
                if at < first || at > last {
                    continue;
                }
                let entry = newest.entry(at).or_insert((revision, number));
                if entry.0 <= revision {
                    *entry = (revision, number);
                }
            }
        }
        Ok(newest)
    }

    /// One aggregate of some devices' series over a run of steps of `window` ms.
    fn over_time(
        &self,
        function: &str,
        selector: &str,
        (start, n, window, step_ms): (i64, u64, u64, u64),
    ) -> Result<Vec<PromSeries>, StoreError> {
        let query = format!("{function}_over_time({selector}[{window}ms])");
        let first = start + window as i64 - 1;
        let last = first + ((n - 1) * step_ms) as i64;
        let form = [
            ("query", &*query),
            ("start", &seconds(first)),
            ("end", &seconds(last)),
            ("step", &format!("{step_ms}ms")),
            ("nocache", "1"),
        ];
        let path = format!("{}/api/v1/query_range", self.paths.query);
        matrix(&self.post(&path, &form)?)
    }
}

/// By time: revision and number.
type Newest = BTreeMap<i64, (u16, f64)>;

fn revision(series: &PromSeries) -> Result<u16, StoreError> {
    let text = series.metric.get("rev").map_or("0", String::as_str);
    text.parse()
        .map_err(|_| StoreError::corrupt(format!("a series with rev=\"{text}\"")))
}

/// Milliseconds as the seconds of the API.
fn seconds(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    format!("{sign}{}.{:03}", ms / 1000, ms % 1000)
}

/// A value of a form or of a path's query.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            _ => {
                // Writing to a String cannot fail.
                let _ = std::fmt::Write::write_fmt(&mut out, format_args!("%{byte:02X}"));
            }
        }
    }
    out
}

impl Ask for PromQl {
    fn raw(&self, key: &SeriesKey, first: i64, last: i64) -> Result<Vec<Sample>, StoreError> {
        let values = self.field(key, "value", first, last)?;
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let marks = self.field(key, "q", first, last)?;
        let quality = |at: &i64, revision: u16| {
            let own = marks.get(at).filter(|(of, _)| *of == revision);
            Quality(own.map_or(0, |(_, marks)| *marks as u16))
        };
        let samples = values.iter().map(|(at, (revision, number))| Sample {
            at: *at,
            value: Value::Number(*number),
            quality: quality(at, *revision),
        });
        Ok(samples.collect())
    }

    fn marks(&self, key: &SeriesKey, first: i64, last: i64) -> Result<Vec<(i64, Quality)>, StoreError> {
        let marks = self.field(key, "q", first, last)?;
        Ok(marks
            .iter()
            .map(|(at, (_, marks))| (*at, Quality(*marks as u16)))
            .collect())
    }

    fn cells(&self, keys: &[SeriesKey], grid: &Grid, parts: Parts) -> Result<Vec<Option<Cells>>, StoreError> {
        let mut all: Vec<Option<Cells>> = keys.iter().map(|_| Some(Cells::new())).collect();
        let step_ms = grid.step_ms;
        let whole = (grid.last.abs_diff(grid.first) + 1) / step_ms;
        // Runs of whole steps, then the shorter one at the end.
        let mut runs: Vec<(i64, u64, u64)> = (0..whole.div_ceil(N_STEPS))
            .map(|i| {
                let start = grid.first + (i * N_STEPS * step_ms) as i64;
                (start, N_STEPS.min(whole - i * N_STEPS), step_ms)
            })
            .collect();
        if whole < grid.n {
            let start = grid.first + (whole * step_ms) as i64;
            runs.push((start, 1, grid.last.abs_diff(start) + 1));
        }
        for ((quantity, channel), members) in grouped(keys) {
            let quantity = &quantity.definition().name;
            for members in members.chunks(N_DEVICES) {
                let devices: Vec<&str> = members.iter().map(|(device, _)| *device).collect();
                let index: HashMap<&str, usize> = members.iter().copied().collect();
                let selector = self.selector(quantity, "value", &devices, channel);
                for (start, n, window) in &runs {
                    for part in parts.names() {
                        let run = (*start, *n, *window, step_ms);
                        for series in self.over_time(part, &selector, run)? {
                            let device = series.metric.get("device").map_or("", String::as_str);
                            let Some(i) = index.get(device) else {
                                return Err(StoreError::corrupt(format!("a series of device `{device}`")));
                            };
                            if revision(&series)? > 0 {
                                all[*i] = None;
                            }
                            let Some(cells) = &mut all[*i] else { continue };
                            for value in series.values() {
                                let (at, number) = value?;
                                let begun = at - (*window as i64 - 1);
                                if begun < grid.first || begun > grid.last {
                                    return Err(StoreError::corrupt("a step that was not asked for"));
                                }
                                let cell = cells.entry(grid.index(begun)).or_insert_with(empty);
                                put(cell, part, number);
                            }
                        }
                    }
                }
            }
        }
        Ok(all)
    }

    fn delete(&self, keys: &[SeriesKey], span: Option<Span>) -> Result<(), StoreError> {
        let Some(path) = self.paths.delete.as_deref().filter(|_| span.is_none()) else {
            return Err(StoreError::Unsupported {
                engine: "the PromQL engine",
                what: "take a span out of a series".to_owned(),
            });
        };
        for key in keys {
            for field in ["value", "q"] {
                let quantity = &key.quantity.definition().name;
                let selector = self.selector(quantity, field, &[key.device.as_str()], key.channel);
                self.post(path, &[("match[]", &selector)])?;
            }
        }
        Ok(())
    }

    fn probe(&self) -> Result<(), StoreError> {
        let path = format!("{}/api/v1/query", self.paths.query);
        self.post(&path, &[("query", "1"), ("time", "0")]).map(|_| ())
    }
}

fn empty() -> Held {
    Held {
        n: 0,
        n_flagged: 0,
        numbers: Some(Numbers {
            n: 0,
            min: f64::NAN,
            max: f64::NAN,
            sum: f64::NAN,
            first: f64::NAN,
            last: f64::NAN,
        }),
    }
}

fn put(cell: &mut Held, part: &str, number: f64) {
    let Some(numbers) = &mut cell.numbers else { return };
    match part {
        "count" => {
            cell.n = number as u64;
            numbers.n = cell.n;
        }
        "sum" => numbers.sum = number,
        "min" => numbers.min = number,
        "max" => numbers.max = number,
        _ => numbers.last = number,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_and_texts_are_written_for_the_api() {
        assert_eq!(seconds(1_763_856_000_005), "1763856000.005");
        assert_eq!(seconds(-1), "-0.001");
        assert_eq!(encoded("a{b=\"井\"}"), "a%7Bb%3D%22%E4%BA%95%22%7D");
    }
}
