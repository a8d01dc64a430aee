//! `onemap import entities`: the file goes to the server as it is, which reads it and says how far it is.

use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use onemap_model::DivisionCode;
use serde_json::{Value, json};

use super::{Door, answer};

/// `onemap import entities`
#[derive(Args)]
pub(crate) struct EntitiesArgs {
    /// GeoJSON (.geojson, .json), one feature a line (.geojsonl, .ndjson), CSV, GeoPackage (.gpkg) or FlatGeobuf
    /// (.fgb), perhaps with .gz.
    file: PathBuf,
    /// What it is, where the file's name does not say it: geojson, geojsonseq, csv, gpkg, flatgeobuf.
    #[arg(long)]
    format: Option<String>,
    /// Kind of entities that state none: division, place, road, water, component, person, …
    #[arg(long)]
    kind: Option<String>,
    /// Coordinates of the file: WGS84, CGCS2000, GCJ02, BD09, EPSG:4543, … It is declared, never guessed; a file that
    /// states its own needs none, and one that states another is refused.
    #[arg(long)]
    crs: Option<String>,
    /// What a file of text is written in: utf-8, gb18030 (gbk, gb2312). It is declared, never guessed.
    #[arg(long)]
    encoding: Option<String>,
    /// Where they come from, kept with each entity.
    #[arg(long)]
    source: Option<String>,
    /// Division of entities that state none.
    #[arg(long)]
    division: Option<DivisionCode>,
    /// The only layer of a GeoPackage that is read; without it all are.
    #[arg(long)]
    layer: Option<String>,
    /// A column or property and the field that it gives: `--map 设施编号=code`. May be given several times.
    #[arg(long = "map", value_name = "COLUMN=FIELD")]
    maps: Vec<String>,
}

impl Door {
    pub(crate) fn import_entities(&self, args: &EntitiesArgs, json: bool) -> Result<ExitCode> {
        let path = self.import_path(args);
        let file = File::open(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
        let request = self.agent.post(format!("{}{path}", self.base));
        let response = request
            .config()
            .timeout_global(None)
            .build()
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/octet-stream")
            .send(file);
        let response = match response {
            Ok(response) if response.status().is_success() => response,
            Err(error) => {
                let said = "the server went away while the file was on its way to it: nothing was imported. Start it \
                            (`onemap serve`) and run the same command again";
                return Err(error).context(said);
            }
            other => return answer(&path, other).map(|_| ExitCode::FAILURE),
        };
        let is_terminal = std::io::stderr().is_terminal();
        let mut last = Value::Null;
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            let read = line.map_err(anyhow::Error::from);
            let read = read.and_then(|line| Ok(serde_json::from_str::<Value>(&line)?));
            last = match read {
                Ok(read) => read,
                Err(error) => return Err(error).context(cut_short(&last)),
            };
            if is_terminal {
                eprint!("\r{} imported, {} refused", last["imported"], last["refused"]);
            }
        }
        if is_terminal {
            eprintln!();
        }
        if let Some(error) = last["error"].as_str() {
            bail!("the server stopped the import: {error}; {AGAIN}");
        }
        // The last line says what was replaced, too.
        if last["replaced"].is_null() {
            bail!("{}", cut_short(&last));
        }
        self.tell(args, &last, json)
    }

    fn import_path(&self, args: &EntitiesArgs) -> String {
        let name = args
            .file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let division = args.division.as_ref().map(ToString::to_string);
        let mut pairs = vec![("progress", "true".to_owned()), ("name", name)];
        for (key, value) in [
            ("format", &args.format),
            ("kind", &args.kind),
            ("crs", &args.crs),
            ("encoding", &args.encoding),
            ("source", &args.source),
            ("division", &division),
            ("layer", &args.layer),
        ] {
            pairs.extend(value.clone().map(|value| (key, value)));
        }
        pairs.extend(args.maps.iter().map(|map| ("map", map.clone())));
        let query: Vec<String> = pairs
            .iter()
            .map(|(key, value)| format!("{key}={}", encoded(value)))
            .collect();
        format!("/api/v1/entities/import?{}", query.join("&"))
    }

    fn tell(&self, args: &EntitiesArgs, done: &Value, json: bool) -> Result<ExitCode> {
        let list = |key: &str| done[key].as_array().cloned().unwrap_or_default();
        let count = |key: &str| done[key].as_u64().unwrap_or(0);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let file = args.file.display();
        for error in list("errors") {
            eprintln!("{file}: {}: {}", text(&error["at"]), text(&error["message"]));
        }
        for warning in list("warnings") {
            eprintln!(
                "{file}: {}: warning: {}",
                text(&warning["at"]),
                text(&warning["message"])
            );
        }
        for (key, what) in [
            ("errors_left_off", "more were refused"),
            ("warnings_left_off", "more warnings"),
        ] {
            if count(key) > 0 {
                eprintln!("{file}: {} {what}", count(key));
            }
        }
        if json {
            let mut said = json!({
                "imported": count("imported"), "replaced": count("replaced"), "refused": count("refused"),
            });
            for key in ["errors", "warnings"] {
                said[key] = done[key].clone();
            }
            if done["layers"].is_array() {
                said["layers"] = done["layers"].clone();
            }
            crate::say!("{said}");
        } else {
            for layer in list("layers") {
                crate::say!(
                    "layer {}: {} imported, {} refused",
                    text(&layer["layer"]),
                    layer["imported"],
                    layer["refused"]
                );
            }
            let replaced = match count("replaced") {
                0 => String::new(),
                n => format!(" ({n} in place of what had their kind and code)"),
            };
            crate::say!(
                "{} imported{replaced}, {} refused",
                count("imported"),
                count("refused")
            );
        }
        Ok(match count("refused") {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }
}

/// What holds of an import that did not come to its end.
const AGAIN: &str = "what was taken is kept; run the same command again when the server runs: entities of the same kind \
                     and code are replaced, none is there twice";

/// What is said when the server went away in the middle; `last` is what it said last.
fn cut_short(last: &Value) -> String {
    let count = |key: &str| last[key].as_u64().unwrap_or(0);
    format!(
        "the server went away in the middle of the import, after it had told of {} imported and {} refused, and may have \
         taken some more; {AGAIN}",
        count("imported"),
        count("refused")
    )
}

/// A value of a query, everything but letters, digits and `-_.~` as percent signs (RFC 3986, 2.1).
fn encoded(text: &str) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.~".contains(b);
    text.bytes()
        .map(|b| {
            if plain(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn queries_are_encoded() {
        assert_eq!(super::encoded("a b=名&c~1"), "a%20b%3D%E5%90%8D%26c~1");
    }
}
