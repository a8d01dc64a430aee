//! `onemap geocode`: addresses from a file or a pipe, one JSON line each. Needs no server: it reads the names that
//! are shipped and, when the data folder has one, register.gpkg.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use onemap_model::{Entity, Position};
use onemap_spatial::geocode::{Asker, Geocoder, NAMED, of_entities};
use onemap_store::register::import::Encoding;
use onemap_store::register::read_entities;
use serde_json::{Value, json};

/// What clap ends with when the arguments are wrong; so do files that are named in them.
const USAGE: u8 = 2;
/// Longest line that is read whole, bytes; what is behind it is passed over.
const MAX_LINE: usize = 64 << 10;

#[derive(Args)]
pub(crate) struct GeocodeArgs {
    /// Addresses, one a line; `-` or none is standard input.
    file: Option<PathBuf>,
    /// Of several things of one name the nearest to this is meant: longitude,latitude in degrees.
    #[arg(long, value_name = "LON,LAT", value_parser = near, allow_hyphen_values = true)]
    near: Option<Position>,
    /// What the file is written in: utf-8, gb18030 (gbk, gb2312). It is declared, never guessed.
    #[arg(long, default_value = "utf-8")]
    encoding: Encoding,
    /// Alternatives of an answer, at most 10.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=10))]
    limit: u8,
}

fn near(text: &str) -> Result<Position, String> {
    let numbers: Option<Vec<f64>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some([lon, lat]) => Position::new(*lon, *lat, None).map_err(|e| e.to_string()),
        _ => Err("two numbers, longitude and latitude, are needed".to_owned()),
    }
}

/// Ends with 0 when every line was read as an address, with 1 when one was not or there is none, with 2 when a file
/// cannot be used.
pub(crate) fn geocode(data_dir: &Path, args: &GeocodeArgs) -> Result<ExitCode> {
    let opened = names(data_dir).and_then(|geocoder| Ok((geocoder, open(args.file.as_deref())?)));
    let (geocoder, mut input) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            eprintln!("onemap: {error:#}");
            return Ok(ExitCode::from(USAGE));
        }
    };
    let asker = Asker {
        division: None,
        near: args.near,
    };
    let (mut n_lines, mut n_not_ok) = (0usize, 0usize);
    while let Some(line) = next_line(&mut input)? {
        n_lines += 1;
        let mut said = answered(&geocoder, &line, args, &asker);
        said["line"] = n_lines.into();
        n_not_ok += usize::from(said["ok"] != true);
        crate::say!("{said}");
    }
    if n_lines == 0 {
        eprintln!("onemap: the input is empty");
        return Ok(ExitCode::FAILURE);
    }
    Ok(if n_not_ok == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn names(data_dir: &Path) -> Result<Geocoder> {
    let path = data_dir.join("register.gpkg");
    if !path.exists() {
        return Ok(of_entities(Vec::<Entity>::new()));
    }
    let entities = read_entities(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(of_entities(NAMED.iter().flat_map(|kind| entities.of_kind(kind))))
}

fn open(file: Option<&Path>) -> Result<Box<dyn BufRead>> {
    match file {
        Some(path) if path != Path::new("-") => {
            let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
            Ok(Box::new(BufReader::new(file)))
        }
        _ => Ok(Box::new(std::io::stdin().lock())),
    }
}

/// A line without its end; of one that is too long its beginning, which is too long for an address, too.
fn next_line(input: &mut dyn BufRead) -> Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let piece = input.fill_buf().context("the input cannot be read")?;
        if piece.is_empty() {
            return Ok((!line.is_empty()).then_some(line));
        }
        let end = piece.iter().position(|b| *b == b'\n');
        let taken = end.unwrap_or(piece.len());
        let room = MAX_LINE.saturating_sub(line.len());
        line.extend_from_slice(&piece[..taken.min(room)]);
        input.consume(end.map_or(taken, |end| end + 1));
        if end.is_some() {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            return Ok(Some(line));
        }
    }
}

fn answered(geocoder: &Geocoder, line: &[u8], args: &GeocodeArgs, asker: &Asker) -> Value {
    let shown = |text: &str| text.chars().take(64).collect::<String>();
    let not_read = |text: &str, code: &str, detail: String| json!({"query": shown(text), "ok": false, "error": {"code": code, "detail": detail}});
    let text = match args.encoding.decode(line) {
        Ok(text) => text,
        Err(what) => {
            // The cut of a line that is too long may lie inside a character.
            let (code, detail) = match (line.len(), args.encoding) {
                (MAX_LINE.., _) => ("too_long", format!("the line has more than {MAX_LINE} bytes")),
                (_, Encoding::Utf8) => ("not_utf8", what.to_string()),
                (_, Encoding::Gb18030) => ("not_gb18030", what.to_string()),
            };
            return not_read(&String::from_utf8_lossy(line), code, detail);
        }
    };
    match geocoder.geocode(&text, asker) {
        Ok(mut answer) => {
            answer.alternatives.truncate(usize::from(args.limit));
            let mut said = answer.to_json();
            said["query"] = (&*text).into();
            said["ok"] = true.into();
            said
        }
        Err(error) => not_read(&text, error.code(), error.to_string()),
    }
}
