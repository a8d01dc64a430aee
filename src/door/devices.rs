//! Devices on the command line: import, show, patch, maintain, retire.

use std::collections::HashSet;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use onemap_store::register::import::{Encoding, import_devices_csv};
use serde_json::{Value, json};

use super::{Door, progress, read};

/// Lines of one request.
const N_LINES: usize = 1000;

/// `onemap device import`
#[derive(Args)]
pub(crate) struct ImportArgs {
    /// CSV whose first line names its columns: id, name, name_en, kind, profile, lon, lat, crs, division,
    /// gateway, cadence_s, department, setting, is_gateway, adopts, token.
    file: PathBuf,
    /// What the file is written in: utf-8, gb18030 (gbk, gb2312). It is declared, never guessed.
    #[arg(long, default_value = "utf-8")]
    encoding: Encoding,
    /// Check every line, record nothing.
    #[arg(long)]
    dry_run: bool,
    /// Change devices that are known already; their tokens stay.
    #[arg(long)]
    replace: bool,
    /// Where the tokens of new devices go, as CSV of id and token, readable by the owner only.
    #[arg(long)]
    tokens: Option<PathBuf>,
}

/// `onemap device maintain`
#[derive(Args)]
pub(crate) struct MaintainArgs {
    /// The device.
    id: String,
    /// When it ends by itself, RFC 3339 with offset.
    #[arg(long)]
    until: Option<String>,
    /// Why.
    #[arg(long, default_value = "")]
    note: String,
    /// End the maintenance now.
    #[arg(long, conflicts_with_all = ["until", "note"])]
    end: bool,
}

impl Door {
    pub(crate) fn import_devices(&self, args: &ImportArgs, json: bool) -> Result<ExitCode> {
        let text = read(&args.file, args.encoding)?;
        if !json && !args.dry_run && args.tokens.is_none() {
            bail!(
                "tokens of new devices are shown once: say where they go with --tokens FILE, or use --json"
            );
        }
        // Before anything is recorded: tokens that cannot be written would be lost.
        let mut out = match (&args.tokens, args.dry_run) {
            (Some(path), false) => {
                let file = std::fs::OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(path);
                Some(file.with_context(|| format!("cannot make {}", path.display()))?)
            }
            _ => None,
        };
        if let Some(out) = &mut out {
            writeln!(out, "id,token").context("the tokens cannot be written")?;
        }
        // What is wrong with a line by itself, or with two of them, is said before anything is sent.
        let mut errors = Vec::new();
        let mut skip = HashSet::new();
        for fault in import_devices_csv(&text).into_iter().filter_map(Result::err) {
            skip.insert(fault.line);
            errors.push(json!({"line": fault.line, "column": fault.column, "message": fault.message}));
        }
        // A dry run is one request: what its first lines would register is not there for the next.
        let n = if args.dry_run { usize::MAX } else { N_LINES };
        let parts = if skip.contains(&1) {
            Vec::new()
        } else {
            pieces(&text, n, &skip)
        };
        let n_all: usize = parts.iter().map(|piece| piece.lines.len()).sum();
        let (mut n_new, mut n_changed, mut done) = (0, 0, 0);
        let mut tokens = Vec::new();
        let path = format!(
            "/api/v1/devices/import?dry_run={}&replace={}",
            args.dry_run, args.replace
        );
        for piece in parts {
            let answer = self.post_csv(&path, &piece.text)?;
            n_new += answer["imported"].as_u64().unwrap_or(0);
            n_changed += answer["changed"].as_u64().unwrap_or(0);
            for token in answer["tokens"].as_array().into_iter().flatten() {
                if let Some(out) = &mut out {
                    let text = |key: &str| token[key].as_str().unwrap_or_default();
                    writeln!(out, "{},{}", text("id"), text("token"))
                        .context("the tokens cannot be written")?;
                } else {
                    tokens.push(token.clone());
                }
            }
            for error in answer["errors"].as_array().into_iter().flatten() {
                let mut error = error.clone();
                error["line"] = piece.line(error["line"].as_u64().unwrap_or(1)).into();
                errors.push(error);
            }
            done += piece.lines.len();
            progress(done, n_all);
        }
        errors.sort_by_key(|error| error["line"].as_u64());
        for error in &errors {
            let text = |key: &str| error[key].as_str().unwrap_or_default();
            let (column, message) = (text("column"), text("message"));
            eprintln!("{}:{}: {column}: {message}", args.file.display(), error["line"]);
        }
        if let Some(out) = &mut out {
            out.sync_all().context("the tokens cannot be written")?;
        }
        let n_refused = errors.len();
        if json {
            crate::say!(
                "{}",
                json!({"imported": n_new, "changed": n_changed, "refused": n_refused, "errors": errors,
                       "tokens": tokens, "dry_run": args.dry_run})
            );
        } else {
            let verb = if args.dry_run {
                "would be imported"
            } else {
                "imported"
            };
            crate::say!("{n_new} {verb}, {n_changed} changed, {n_refused} refused");
        }
        Ok(if n_refused == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    pub(crate) fn show_device(&self, id: &str, json: bool) -> Result<ExitCode> {
        let device = self.get(&format!("/api/v1/devices/{id}"))?;
        shown(&device, json)
    }

    pub(crate) fn patch_device(&self, id: &str, patch: &str, json: bool) -> Result<ExitCode> {
        let patch: Value = serde_json::from_str(patch).context("the patch is not JSON")?;
        let device = self.patch(&format!("/api/v1/devices/{id}"), &patch)?;
        shown(&device, json)
    }

    pub(crate) fn retire_device(&self, id: &str, json: bool) -> Result<ExitCode> {
        let device = self.post(&format!("/api/v1/devices/{id}/retire"), &json!({}))?;
        shown(&device, json)
    }

    pub(crate) fn activate_device(&self, id: &str, json: bool) -> Result<ExitCode> {
        let device = self.post(&format!("/api/v1/devices/{id}/activate"), &json!({}))?;
        shown(&device, json)
    }

    pub(crate) fn maintain_device(&self, args: &MaintainArgs, json: bool) -> Result<ExitCode> {
        let id = &args.id;
        let device = if args.end {
            if self.get(&format!("/api/v1/devices/{id}"))?["state"] == "retired" {
                bail!(
                    "device `{id}` is retired, not under maintenance; `onemap device activate {id}` takes it back"
                );
            }
            self.post(&format!("/api/v1/devices/{id}/activate"), &json!({}))?
        } else {
            let body = json!({"until": args.until, "note": args.note});
            self.post(&format!("/api/v1/devices/{id}/maintenance"), &body)?
        };
        shown(&device, json)
    }

    pub(super) fn post_csv(&self, path: &str, text: &str) -> Result<Value> {
        let request = self.agent.post(format!("{}{path}", self.base));
        let response = request
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "text/csv; charset=utf-8")
            .send(text);
        super::answer(path, response)
    }
}

fn shown(device: &Value, json: bool) -> Result<ExitCode> {
    if json {
        crate::say!("{device}");
        return Ok(ExitCode::SUCCESS);
    }
    for (key, value) in device.as_object().into_iter().flatten() {
        match value {
            Value::Null => {}
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => crate::say!("{key:<18} {text}"),
            Value::Array(items) if items.is_empty() => {}
            value => crate::say!("{key:<18} {value}"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Records of a file with the first line before them.
pub(super) struct Piece {
    pub(super) text: String,
    /// Line in the piece and line in the file at which each record begins.
    pub(super) lines: Vec<(u64, u64)>,
}

impl Piece {
    /// Records of a file under its header. The last of a file may lack its line end.
    pub(super) fn of(header: &str, records: &[(u64, &str)]) -> Self {
        let mut piece = Self {
            text: header.to_owned(),
            lines: Vec::with_capacity(records.len()),
        };
        let mut own = 1 + header.matches('\n').count() as u64;
        for (of_file, record) in records {
            piece.lines.push((own, *of_file));
            piece.text.push_str(record);
            own += record.matches('\n').count() as u64;
            if !record.ends_with('\n') {
                piece.text.push('\n');
                own += 1;
            }
        }
        piece
    }

    /// The file's line of a line of the piece.
    pub(super) fn line(&self, line: u64) -> u64 {
        let before = self.lines.iter().rev().find(|(own, _)| *own <= line);
        before.map_or(line, |(own, of_file)| of_file + (line - own))
    }
}

/// The text in pieces of at most `n` records, without those that begin on a line of `skip`. A line end inside
/// quotes ends no record.
fn pieces(text: &str, n: usize, skip: &HashSet<usize>) -> Vec<Piece> {
    let records = records(text, skip);
    let Some(((_, header), records)) = records.split_first() else {
        return Vec::new();
    };
    records.chunks(n).map(|chunk| Piece::of(header, chunk)).collect()
}

/// The records of a CSV text, each with the line on which it begins, without empty ones and those of `skip`.
pub(super) fn records<'a>(text: &'a str, skip: &HashSet<usize>) -> Vec<(u64, &'a str)> {
    let (mut records, mut start, mut line, mut is_quoted) = (Vec::new(), 0, 1, false);
    let (mut begins, mut take) = (1, |begins: usize, record: &'a str| {
        if !record.trim().is_empty() && !skip.contains(&begins) {
            records.push((begins as u64, record));
        }
    });
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\n' => {
                line += 1;
                if !is_quoted {
                    take(begins, &text[start..=at]);
                    (start, begins) = (at + 1, line);
                }
            }
            _ => {}
        }
    }
    take(begins, &text[start..]);
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_hold_whole_records_and_know_their_lines() {
        let mut text = String::from("id,name\n");
        for i in 0..1500 {
            text.push_str(&format!("d{i},\"two\nlines\"\n"));
        }
        let skip = HashSet::from([2]);
        let pieces = pieces(&text, 1000, &skip);
        assert_eq!(pieces.len(), 2);
        assert_eq!((pieces[0].lines.len(), pieces[1].lines.len()), (1000, 499));
        assert!(
            pieces[0].text.starts_with("id,name\nd1,\"two\nlines\"\n"),
            "d0 is left out"
        );
        assert_eq!(
            (pieces[0].line(2), pieces[0].line(3), pieces[0].line(4)),
            (4, 5, 6)
        );
        assert!(pieces[1].text.starts_with("id,name\nd1001,"));
        assert_eq!(pieces[1].line(2), 2 + 2 * 1001);
        assert!(super::pieces("id", 9, &skip).is_empty() && super::pieces("", 9, &skip).is_empty());
    }
}
