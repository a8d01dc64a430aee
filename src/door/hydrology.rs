//! What is known of hydrological stations, on the command line: import from CSV.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use onemap_store::register::import::{Encoding, import_hydrology_csv};
use serde_json::{Value, json};

use super::devices::{Piece, records};
use super::{Door, progress, read};

/// Bytes of one request, as far as one device has no more.
const N_BYTES: usize = 1 << 20;

/// `onemap import hydrology`
#[derive(Args)]
pub(crate) struct HydrologyArgs {
    /// CSV whose first line names its columns: device, kind (datum, curve, ice or stages), ch, from, to, datum, zero_m,
    /// level_m, flow_m3_s, warning, guaranteed, highest, highest_at, source, verified. Each point of a curve is a line.
    file: PathBuf,
    /// What the file is written in: utf-8, gb18030 (gbk, gb2312). It is declared, never guessed.
    #[arg(long, default_value = "utf-8")]
    encoding: Encoding,
    /// Check every line, record nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Door {
    pub(crate) fn import_hydrology(&self, args: &HydrologyArgs, json: bool) -> Result<ExitCode> {
        let text = read(&args.file, args.encoding)?;
        // What is wrong with a line by itself is said before anything is sent.
        let file = import_hydrology_csv(&text);
        let mut errors: Vec<Value> = file
            .faults
            .iter()
            .map(|fault| json!({"line": fault.line, "column": fault.column, "message": fault.message}))
            .collect();
        let mut left: BTreeSet<String> = file.left.iter().map(ToString::to_string).collect();
        let records = records(&text, &HashSet::new());
        let header = records.first().map_or("", |(_, header)| *header);
        let by_line: HashMap<u64, &str> = records.iter().copied().collect();
        // Whole devices: what a request has of one is all that the file says of it.
        let mut parts: Vec<(Vec<(u64, &str)>, usize)> = Vec::new();
        for station in file.stations.values() {
            let lines = station.lines.iter().map(|line| *line as u64);
            let lines = lines.filter_map(|line| Some((line, *by_line.get(&line)?)));
            let lines: Vec<(u64, &str)> = lines.collect();
            let n_bytes: usize = lines.iter().map(|(_, record)| record.len()).sum();
            match parts.last_mut().filter(|(_, n)| n + n_bytes <= N_BYTES) {
                Some((all, n)) => {
                    all.extend(lines);
                    *n += n_bytes;
                }
                None => parts.push((lines, n_bytes)),
            }
        }
        let n_all: usize = parts.iter().map(|(lines, _)| lines.len()).sum();
        let (mut n_devices, mut n_lines, mut done) = (0, 0, 0);
        let path = format!("/api/v1/hydrology/import?dry_run={}", args.dry_run);
        for (lines, _) in &parts {
            let piece = Piece::of(header, lines);
            let answer = self.post_csv(&path, &piece.text)?;
            n_devices += answer["devices"].as_u64().unwrap_or(0);
            n_lines += answer["imported"].as_u64().unwrap_or(0);
            let others = answer["left"].as_array().into_iter().flatten();
            left.extend(others.filter_map(Value::as_str).map(str::to_owned));
            for error in answer["errors"].as_array().into_iter().flatten() {
                let mut error = error.clone();
                error["line"] = piece.line(error["line"].as_u64().unwrap_or(1)).into();
                errors.push(error);
            }
            done += lines.len();
            progress(done, n_all);
        }
        errors.sort_by_key(|error| error["line"].as_u64());
        for error in &errors {
            let text = |key: &str| error[key].as_str().unwrap_or_default();
            let (column, message) = (text("column"), text("message"));
            eprintln!("{}:{}: {column}: {message}", args.file.display(), error["line"]);
        }
        let n_refused = errors.len();
        if json {
            crate::say!(
                "{}",
                json!({"devices": n_devices, "imported": n_lines, "refused": n_refused, "errors": errors,
                       "left": left, "dry_run": args.dry_run})
            );
        } else {
            let verb = match args.dry_run {
                true => "would be imported",
                false => "imported",
            };
            let n_left = left.len();
            crate::say!(
                "{n_lines} lines of {n_devices} stations {verb}, {n_left} stations left as they were"
            );
        }
        Ok(match n_refused {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }
}
