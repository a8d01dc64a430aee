//! Questions in Flux: InfluxDB 2.
//!
//! Windows are offset by the span's start, so that they are the steps that are asked for; empty ones are not made.
//! Nothing is pivoted: each field comes as tables of its own.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use hyper::Method;
use onemap_model::{Quality, SeriesKey, Value};
use tokio::runtime::Handle;

use super::annotated_csv::{Row, read};
use super::promql::encoded;
use super::store::{Ask, Cells, MAX_ANSWER_BYTES, Parts, Sample, grouped};
use super::{Endpoint, RemoteConfig};
use crate::engine::{Span, StoreError};
use crate::history::{Grid, Numbers};

/// Most devices in one question.
const N_DEVICES: usize = 50;
/// Most steps of one question.
const N_STEPS: u64 = 10_000;

pub(super) struct Flux {
    reads: Endpoint,
    path: String,
    bucket: String,
    org: String,
    handle: Handle,
}

impl Flux {
    pub(super) fn new(config: &RemoteConfig, handle: Handle) -> Self {
        Self {
            reads: config.reads.clone(),
            path: config.paths.query.clone(),
            bucket: config.bucket.clone(),
            org: config.org.clone(),
            handle,
        }
    }

    fn query(
        &self,
        text: &str,
        take: &mut dyn FnMut(&Row<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let path = format!("{}?org={}", self.path, encoded(&self.org));
        let body = serde_json::json!({
            "query": text, "type": "flux",
            "dialect": {"header": true, "annotations": ["datatype", "group", "default"]},
        });
        let body = Bytes::from(body.to_string());
        let asked = self
            .reads
            .ask(Method::POST, &path, "application/json", body, MAX_ANSWER_BYTES);
        read(&self.handle.block_on(asked)?.body, take)
    }
}

/// A text of Flux.
fn quoted(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace("${", "\\${");
    format!("\"{escaped}\"")
}

/// A time of Flux.
fn time(ms: i64) -> String {
    // Beyond year 9999 nothing was measured.
    const MAX_MS: i64 = 253_402_200_000_000;
    jiff::Timestamp::from_millisecond(ms.clamp(0, MAX_MS)).map_or_else(|_| "0".to_owned(), |t| t.to_string())
}

/// Points of some devices' fields; first and last are both included.
pub(super) fn from(
    bucket: &str,
    (quantity, channel): (&str, u16),
    devices: &[&str],
    fields: &[&str],
    (first, last): (i64, i64),
) -> String {
    let any = |column: &str, values: &[&str]| {
        let each: Vec<String> = values
            .iter()
            .map(|v| format!("r.{column} == {}", quoted(v)))
            .collect();
        each.join(" or ")
    };
    format!(
        "from(bucket: {}) |> range(start: {}, stop: {}) |> filter(fn: (r) => r._measurement == {} and r.ch == \"{channel}\" and ({}) and ({}))",
        quoted(bucket),
        time(first),
        time(last.saturating_add(1)),
        quoted(quantity),
        any("device", devices),
        any("_field", fields),
    )
}

/// What steps hold, each aggregate as a result of its name. Texts are counted with the numbers.
pub(super) fn steps(
    bucket: &str,
    of: (&str, u16),
    devices: &[&str],
    range: (i64, i64),
    step_ms: u64,
    parts: Parts,
) -> String {
    let offset = range.0.rem_euclid(step_ms as i64);
    let window = |source: &str, function: &str, name: &str| {
        format!(
            "{source} |> aggregateWindow(every: {step_ms}ms, offset: {offset}ms, fn: {function}, createEmpty: false, timeSrc: \"_start\") \
             |> keep(columns: [\"_time\", \"_value\", \"device\"]) |> yield(name: \"{name}\")\n"
        )
    };
    let mut text = format!("numbers = {}\n", from(bucket, of, devices, &["value"], range));
    text.push_str(&format!(
        "texts = {}\n",
        from(bucket, of, devices, &["text"], range)
    ));
    for part in parts.names() {
        text.push_str(&window("numbers", part, part));
    }
    text.push_str(&window("texts", "count", "texts"));
    text
}

/// Single values with their marks.
pub(super) fn values(
    bucket: &str,
    of: (&str, u16),
    device: &str,
    fields: &[&str],
    range: (i64, i64),
) -> String {
    let from = from(bucket, of, &[device], fields, range);
    format!("{from} |> keep(columns: [\"_time\", \"_value\", \"_field\"])\n")
}

fn name(key: &SeriesKey) -> (&str, u16) {
    (&key.quantity.definition().name, key.channel)
}

impl Ask for Flux {
    fn raw(&self, key: &SeriesKey, first: i64, last: i64) -> Result<Vec<Sample>, StoreError> {
        let mut found = BTreeMap::new();
        let mut marks = BTreeMap::new();
        let fields = ["value", "text", "q"];
        let question = values(
            &self.bucket,
            name(key),
            key.device.as_str(),
            &fields,
            (first, last),
        );
        self.query(&question, &mut |row| {
            let at = row.time("_time")?;
            match row.required("_field")? {
                "text" => {
                    found.insert(at, Value::Text(row.required("_value")?.into()));
                }
                "q" => {
                    let bits = row.number("_value")?.unwrap_or(0.0);
                    marks.insert(at, Quality(bits as u16));
                }
                _ => {
                    if let Some(number) = row.number("_value")? {
                        found.entry(at).or_insert(Value::Number(number));
                    }
                }
            }
            Ok(())
        })?;
        let sample = |(at, value)| Sample {
            at,
            value,
            quality: marks.get(&at).copied().unwrap_or_default(),
        };
        Ok(found.into_iter().map(sample).collect())
    }

    fn marks(&self, key: &SeriesKey, first: i64, last: i64) -> Result<Vec<(i64, Quality)>, StoreError> {
        let mut marks = Vec::new();
        let question = values(
            &self.bucket,
            name(key),
            key.device.as_str(),
            &["q"],
            (first, last),
        );
        self.query(&question, &mut |row| {
            if let Some(bits) = row.number("_value")? {
                marks.push((row.time("_time")?, Quality(bits as u16)));
            }
            Ok(())
        })?;
        Ok(marks)
    }

    fn cells(&self, keys: &[SeriesKey], grid: &Grid, parts: Parts) -> Result<Vec<Option<Cells>>, StoreError> {
        let mut all: Vec<Cells> = keys.iter().map(|_| Cells::new()).collect();
        for ((quantity, channel), members) in grouped(keys) {
            let of = (quantity.definition().name.as_str(), channel);
            for members in members.chunks(N_DEVICES) {
                let index: HashMap<&str, usize> = members.iter().copied().collect();
                let devices: Vec<&str> = members.iter().map(|(device, _)| *device).collect();
                let mut start = grid.first;
                while start <= grid.last {
                    let run = (N_STEPS * grid.step_ms) as i64;
                    let last = grid.last.min(start.saturating_add(run - 1));
                    let question = steps(&self.bucket, of, &devices, (start, last), grid.step_ms, parts);
                    self.query(&question, &mut |row| {
                        let device = row.required("device")?;
                        let Some(i) = index.get(device) else {
                            return Err(StoreError::corrupt(format!("a series of device `{device}`")));
                        };
                        put(row, grid, &mut all[*i])
                    })?;
                    start = last + 1;
                }
            }
        }
        Ok(all.into_iter().map(Some).collect())
    }

    fn delete(&self, keys: &[SeriesKey], span: Option<Span>) -> Result<(), StoreError> {
        let path = format!(
            "/api/v2/delete?org={}&bucket={}",
            encoded(&self.org),
            encoded(&self.bucket)
        );
        let (from, to) = span.map_or((0, i64::MAX), |span| (span.from.ms(), span.to.ms()));
        for key in keys {
            let (quantity, channel) = name(key);
            let body = serde_json::json!({
                "start": time(from), "stop": time(to.saturating_sub(1)),
                "predicate": format!("_measurement={} AND device={} AND ch=\"{channel}\"", quoted(quantity), quoted(key.device.as_str())),
            });
            let body = Bytes::from(body.to_string());
            let asked = self
                .reads
                .ask(Method::POST, &path, "application/json", body, 1 << 20);
            self.handle.block_on(asked)?;
        }
        Ok(())
    }

    fn probe(&self) -> Result<(), StoreError> {
        self.query(
            &format!("{}\n", from(&self.bucket, ("none", 0), &[""], &["value"], (0, 0))),
            &mut |_| Ok(()),
        )
    }
}

/// Takes up one aggregate of one step.
fn put(row: &Row<'_>, grid: &Grid, cells: &mut Cells) -> Result<(), StoreError> {
    let at = row.time("_time")?;
    if at < grid.first || at > grid.last {
        return Err(StoreError::corrupt("a step that was not asked for"));
    }
    let Some(number) = row.number("_value")? else {
        return Ok(());
    };
    let held = cells.entry(grid.index(at)).or_default();
    let result = row.required("result")?;
    if result == "texts" {
        held.n += number as u64;
        return Ok(());
    }
    let numbers = held.numbers.get_or_insert(Numbers {
        n: 0,
        min: f64::NAN,
        max: f64::NAN,
        sum: f64::NAN,
        first: f64::NAN,
        last: f64::NAN,
    });
    match result {
        "count" => {
            numbers.n = number as u64;
            held.n += numbers.n;
        }
        "sum" => numbers.sum = number,
        "min" => numbers.min = number,
        "max" => numbers.max = number,
        "last" => numbers.last = number,
        other => return Err(StoreError::corrupt(format!("a result `{other}`"))),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write as _;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;

    /// What the front end of Flux says about each text; `None` with a loud word where it is not installed.
    fn checked(texts: &[String]) -> Option<Vec<Vec<String>>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let node = root.join("target/peers/node");
        if !node.join("node_modules/@influxdata/flux-lsp-node").exists() {
            assert!(
                std::env::var_os("CI").is_none(),
                "the checker of Flux must be there in CI (tests/peers/install.sh)"
            );
            eprintln!("SKIPPED: the checker of Flux is not installed (tests/peers/install.sh)");
            return None;
        }
        let mut child = Command::new("node")
            .arg(root.join("tests/peers/flux_check.mjs"))
            .arg(node.canonicalize().unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(texts.join("\n---\n").as_bytes()).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let lines = said.lines().filter(|line| line.starts_with('['));
        Some(lines.map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    #[test]
    fn every_question_is_sound_flux() {
        let every = Parts {
            sum: true,
            min: true,
            max: true,
            last: true,
        };
        let range = (1_763_856_000_003, 1_763_942_400_002);
        let of = ("water_level", 3);
        let odd = "the \"bucket\" \\ ${r}";
        let mut texts = vec![
            steps("onemap", of, &["gauge-1"], range, 60_000, Parts::default()),
            steps(odd, of, &["gauge-1", "井:水位_9"], range, 7_001, every),
            values("onemap", of, "gauge.2", &["value", "text", "q"], range),
            values(odd, of, "gauge-1", &["q"], range),
            format!("{}\n", from("onemap", ("none", 0), &[""], &["value"], (0, 0))),
        ];
        // Three that are not, so that it is seen that somebody looks.
        let n_sound = texts.len();
        texts.push(texts[0].replace("range(", "rnge("));
        texts.push(texts[0].replace("every:", "evry:"));
        texts.push(texts[0].replace("bucket: \"onemap\"", "bucket: 5"));
        let Some(said) = checked(&texts) else { return };
        assert_eq!(said.len(), texts.len(), "{said:?}");
        for (text, said) in texts.iter().zip(&said).take(n_sound) {
            assert!(said.is_empty(), "{text}: {said:?}");
        }
        for said in &said[n_sound..] {
            assert!(!said.is_empty());
        }
    }

    #[test]
    fn texts_are_quoted_and_times_are_utc() {
        assert_eq!(quoted("a\"b\\${c}"), "\"a\\\"b\\\\\\${c}\"");
        assert_eq!(time(1_763_856_000_003), "2025-11-23T00:00:00.003Z");
        assert!(time(i64::MAX).starts_with("9999-"));
    }
}
