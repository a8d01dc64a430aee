//! `onemap export`: readings or entities of the server as a file.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::Door;
use crate::backup::NOT_WHOLE;
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

/// What entities are written in.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Layout {
    Geojson,
    Geojsonseq,
    Csv,
    Flatgeobuf,
    Gpkg,
}

#[derive(Subcommand)]
enum What {
    /// Entities in place of readings, as `onemap import entities` takes them back
    Entities(EntitiesOut),
}

/// `onemap export entities`
#[derive(Args)]
struct EntitiesOut {
    /// gpkg has one layer a kind, flatgeobuf and gpkg have spatial indexes.
    #[arg(long, value_enum, default_value = "geojson")]
    format: Layout,
    /// The file; standard output when left out.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Only these kinds, with commas: division, place, road, water, component, …
    #[arg(long)]
    kind: Option<String>,
    /// Only this class.
    #[arg(long)]
    class: Option<String>,
    /// Only what lies in this division.
    #[arg(long)]
    division: Option<String>,
    /// Only what meets this box: west,south,east,north in degrees.
    #[arg(long, allow_hyphen_values = true)]
    bbox: Option<String>,
    /// The coordinates of the file: WGS84, CGCS2000, EPSG:4543, … CSV and GeoJSON sequences cannot state another than
    /// WGS84: say the same with the import.
    #[arg(long)]
    crs: Option<String>,
}

/// A file that is asked of the server.
struct Wanted<'a> {
    path: String,
    out: Option<&'a Path>,
    is_text: bool,
    /// Of readings, which can be without damaged rows; entities are whole or cut.
    readings: Option<Format>,
}

impl EntitiesOut {
    fn wanted(&self) -> Wanted<'_> {
        let format = self.format.to_possible_value();
        let format = format.as_ref().map_or("geojson", |value| value.get_name());
        let pairs = [
            ("kind", &self.kind),
            ("class", &self.class),
            ("division", &self.division),
            ("bbox", &self.bbox),
            ("crs", &self.crs),
        ];
        Wanted {
            path: with_pairs(format!("/api/v1/entities/export?format={format}"), &pairs),
            out: self.out.as_deref(),
            is_text: !matches!(self.format, Layout::Flatgeobuf | Layout::Gpkg),
            readings: None,
        }
    }
}

fn with_pairs(mut path: String, pairs: &[(&str, &Option<String>)]) -> String {
    for (name, value) in pairs {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", escaped(value)));
        }
    }
    path
}

/// `onemap export`
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ExportArgs {
    #[command(subcommand)]
    what: Option<What>,
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
    fn wanted(&self) -> Wanted<'_> {
        if let Some(What::Entities(entities)) = &self.what {
            return entities.wanted();
        }
        let format = self.format.to_possible_value();
        let format = format.as_ref().map_or("csv", |value| value.get_name());
        let path = format!("/api/v1/export?format={format}&revisions={}", self.revisions);
        let pairs = [
            ("device", &self.device),
            ("quantity", &self.quantity),
            ("division", &self.division),
            ("kind", &self.kind),
            ("from", &self.from),
            ("to", &self.to),
            ("quality", &self.quality),
        ];
        Wanted {
            path: with_pairs(path, &pairs),
            out: self.out.as_deref(),
            is_text: self.format != Format::Parquet,
            readings: Some(self.format),
        }
    }
}

impl Door {
    /// Fetches the export into its file, which is there whole or not at all.
    pub(crate) fn export(&self, args: &ExportArgs, json: bool) -> Result<ExitCode> {
        let wanted = args.wanted();
        let Some(file) = wanted.out else {
            if !wanted.is_text && io::stdout().is_terminal() {
                bail!("this format is no text: say where it goes with --out FILE");
            }
            let mut out = BufWriter::new(io::stdout().lock());
            let fetched = self.fetch(&wanted.path, &mut out)?;
            return Ok(fetched.code(wanted.readings));
        };
        let fetched = self.fetch_whole(&wanted.path, file)?;
        let n = fetched.bytes;
        if json {
            let is_whole = fetched.damage(wanted.readings).is_none();
            crate::say!(
                "{}",
                json!({"file": file.display().to_string(), "bytes": n, "whole": is_whole})
            );
        } else {
            crate::say!("{n} bytes in {}", file.display());
        }
        Ok(fetched.code(wanted.readings))
    }

    /// Fetches into a file that is made for it.
    /// Fetches what is at `path` into a file; gives its bytes.
    ///
    /// # Errors
    /// When the server refuses, or the file cannot be written.
    pub(crate) fn fetch_file(&self, path: &str, file: &Path) -> Result<u64> {
        Ok(self.fetch_whole(path, file)?.bytes)
    }

    /// Into a file that is there whole or not at all.
    fn fetch_whole(&self, path: &str, file: &Path) -> Result<Fetched> {
        let part = part_of(file);
        let written = self.fetch_into(path, &part).and_then(|fetched| {
            std::fs::rename(&part, file)
                .with_context(|| format!("{} cannot take its place", part.display()))?;
            Ok(fetched)
        });
        if written.is_err() {
            // It may not have been made at all.
            let _ = std::fs::remove_file(&part);
        }
        written
    }

    fn fetch_into(&self, path: &str, file: &Path) -> Result<Fetched> {
        let cannot = || format!("{} cannot be written", file.display());
        let file = File::create(file).with_context(cannot)?;
        files::make_usual(&file).with_context(cannot)?;
        let mut out = BufWriter::new(file);
        let fetched = self.fetch(path, &mut out)?;
        let out = out.into_inner().map_err(io::IntoInnerError::into_error);
        out.and_then(|file| file.sync_all()).with_context(cannot)?;
        Ok(fetched)
    }

    /// Passes the body of an answer on while it comes. An answer that is cut is an error.
    fn fetch(&self, path: &str, out: &mut dyn Write) -> Result<Fetched> {
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
        let mut watched = Watched {
            out,
            fetched: Fetched::default(),
        };
        io::copy(&mut body, &mut watched).context("the export was cut short")?;
        watched.flush().context("the export cannot be written")?;
        Ok(watched.fetched)
    }
}

/// Bytes at the end of an export in which it stands when it is not whole.
const N_TAIL: usize = 8 << 10;

/// What was passed on.
#[derive(Default)]
struct Fetched {
    bytes: u64,
    /// The last of them.
    tail: Vec<u8>,
}

impl Fetched {
    /// What the export says at its end of damaged rows that it is without.
    fn damage(&self, readings: Option<Format>) -> Option<String> {
        let tail = String::from_utf8_lossy(&self.tail);
        let last = tail.trim_end().lines().next_back().unwrap_or_default();
        match readings? {
            Format::Csv | Format::Lineprotocol => last.strip_prefix("# damaged: ").map(str::to_owned),
            Format::Ndjson => {
                let last: Value = serde_json::from_str(last).ok()?;
                last.get("damaged").map(Value::to_string)
            }
            Format::Parquet => {
                let (_, said) = tail.split_once("onemap.damaged")?;
                let said = &said[said.find('{')?..];
                said.find('}').map(|end| said[..=end].to_owned())
            }
        }
    }

    /// Success, or a code of its own and a word about it.
    fn code(&self, readings: Option<Format>) -> ExitCode {
        let Some(said) = self.damage(readings) else {
            return ExitCode::SUCCESS;
        };
        eprintln!(
            "onemap: the export is not whole, damaged rows of the history are left out: {said}; \
             `onemap history verify` names them"
        );
        ExitCode::from(NOT_WHOLE)
    }
}

/// Passes on, and remembers the end.
struct Watched<'a> {
    out: &'a mut dyn Write,
    fetched: Fetched,
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        let tail = &mut self.fetched.tail;
        tail.extend_from_slice(&bytes[n.saturating_sub(N_TAIL)..n]);
        if tail.len() > 2 * N_TAIL {
            tail.drain(..tail.len() - N_TAIL);
        }
        self.fetched.bytes += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Where a file is made before it takes its place.
fn part_of(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    file.with_file_name(name)
}
