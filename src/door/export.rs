//! `onemap export`: readings of the server as a file.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::Door;
use crate::commanding::escaped;
use crate::files;

/// How long the server may be silent while it sends.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    Lineprotocol,
    Ndjson,
    Parquet,
}

/// `onemap export`
#[derive(Args)]
pub(crate) struct ExportArgs {
    /// csv is what `onemap import readings` takes, lineprotocol what /api/v2/write takes.
    #[arg(long, value_enum, default_value = "csv")]
    format: Format,
    /// The file; standard output when left out.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Only this device; several with commas.
    #[arg(long)]
    device: Option<String>,
    /// Only this quantity; several with commas.
    #[arg(long)]
    quantity: Option<String>,
    /// Only devices of this division.
    #[arg(long)]
    division: Option<String>,
    /// Only devices of this kind.
    #[arg(long)]
    kind: Option<String>,
    /// From this time on, RFC 3339 with offset.
    #[arg(long)]
    from: Option<String>,
    /// Before this time.
    #[arg(long)]
    to: Option<String>,
    /// Only values with or without a mark: good, judgeable, suspect, !suspect …
    #[arg(long)]
    quality: Option<String>,
    /// Every value that was ever given for a time, in the order they came.
    #[arg(long)]
    revisions: bool,
}

impl ExportArgs {
    fn path(&self) -> String {
        let format = self.format.to_possible_value();
        let format = format.as_ref().map_or("csv", |value| value.get_name());
        let mut path = format!("/api/v1/export?format={format}&revisions={}", self.revisions);
        for (name, value) in [
            ("device", &self.device),
            ("quantity", &self.quantity),
            ("division", &self.division),
            ("kind", &self.kind),
            ("from", &self.from),
            ("to", &self.to),
            ("quality", &self.quality),
        ] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", escaped(value)));
            }
        }
        path
    }
}

impl Door {
    /// Fetches the export into its file, which is there whole or not at all.
    pub(crate) fn export(&self, args: &ExportArgs, json: bool) -> Result<ExitCode> {
        let Some(file) = &args.out else {
            if args.format == Format::Parquet && io::stdout().is_terminal() {
                bail!("Parquet is no text: say where it goes with --out FILE");
            }
            let mut out = BufWriter::new(io::stdout().lock());
            self.fetch(&args.path(), &mut out)?;
            return Ok(ExitCode::SUCCESS);
        };
        let part = part_of(file);
        let written = self.fetch_into(&args.path(), &part).and_then(|n| {
            std::fs::rename(&part, file)
                .with_context(|| format!("{} cannot take its place", part.display()))?;
            Ok(n)
        });
        if written.is_err() {
            // It may not have been made at all.
            let _ = std::fs::remove_file(&part);
        }
        let n = written?;
        if json {
            crate::say!("{}", json!({"file": file.display().to_string(), "bytes": n}));
        } else {
            crate::say!("{n} bytes in {}", file.display());
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Fetches into a file that is made for it; how many bytes.
    fn fetch_into(&self, path: &str, file: &Path) -> Result<u64> {
        let cannot = || format!("{} cannot be written", file.display());
        let file = File::create(file).with_context(cannot)?;
        files::make_usual(&file).with_context(cannot)?;
        let mut out = BufWriter::new(file);
        let n = self.fetch(path, &mut out)?;
        let out = out.into_inner().map_err(io::IntoInnerError::into_error);
        out.and_then(|file| file.sync_all()).with_context(cannot)?;
        Ok(n)
    }

    /// Passes the body of an answer on while it comes; how many bytes it had. An answer that is cut is an error.
    fn fetch(&self, path: &str, out: &mut dyn Write) -> Result<u64> {
        // However long the whole takes.
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .build()
            .into();
        let request = agent.get(format!("{}{path}", self.base));
        let mut response = request
            .header("authorization", format!("Bearer {}", self.token))
            .call()
            .with_context(|| format!("the server does not answer at {path}"))?;
        let status = response.status();
        let mut body = response.body_mut().as_reader();
        if !status.is_success() {
            let mut text = String::new();
            // What cannot be read of a refusal changes nothing about it.
            let _ = body.read_to_string(&mut text);
            let problem: Value = serde_json::from_str(&text).unwrap_or_default();
            bail!(
                "the server refused ({status}): {}",
                problem["detail"].as_str().unwrap_or(text.trim())
            );
        }
        let n = io::copy(&mut body, out).context("the export was cut short")?;
        out.flush().context("the export cannot be written")?;
        Ok(n)
    }
}

/// Where a file is made before it takes its place.
fn part_of(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    file.with_file_name(name)
}
