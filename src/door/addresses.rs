//! `onemap import addresses`: doors for the geocoder, out of CSV.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use onemap_model::DivisionCode;
use onemap_store::register::import::{Encoding, Mapping, import_addresses_csv};
use serde_json::Value;

use super::{Door, N_ENTITIES, progress, read, report};

#[derive(Args)]
pub(crate) struct AddressesArgs {
    /// CSV file.
    file: PathBuf,
    /// What the file is written in: utf-8, gb18030 (gbk, gb2312). It is declared, never guessed.
    #[arg(long, default_value = "utf-8")]
    encoding: Encoding,
    /// Coordinates of lines that declare none: WGS84, CGCS2000, GCJ02, BD09, a zone of Gauss-Krueger. They are
    /// declared, never guessed.
    #[arg(long, default_value = "WGS84")]
    crs: String,
    /// The division of lines that state none.
    #[arg(long)]
    division: Option<DivisionCode>,
    /// Where they come from, kept with each address.
    #[arg(long)]
    source: Option<String>,
    /// A column and what it gives, before the usual names are tried: `--map 街巷=road`. Fields are code, road, estate,
    /// village, group, number, building, lon, lat, crs, division, name; `attribute` keeps it as one. May be given
    /// several times.
    #[arg(long = "map", value_name = "COLUMN=FIELD", value_parser = column_and_field)]
    maps: Vec<(String, String)>,
}

impl Door {
    /// Imports the good lines and says what is wrong with the others, line by line.
    pub(crate) fn import_addresses(&self, args: &AddressesArgs, json: bool) -> Result<ExitCode> {
        let text = read(&args.file, args.encoding)?;
        let crs = args.crs.parse();
        let mapping = Mapping {
            crs: Some(crs.map_err(|e| anyhow::anyhow!("--crs {}: {e}", args.crs))?),
            source: args.source.clone().unwrap_or_default(),
            division: args.division.clone(),
            ..Mapping::default()
        };
        let (mut good, mut n_faults) = (Vec::new(), 0);
        let maps = args.maps.iter().cloned().collect();
        for row in import_addresses_csv(&text, &mapping, &maps) {
            match row {
                Ok(entity) => {
                    good.push(serde_json::to_value(&entity).context("entities have text keys only")?)
                }
                Err(fault) => {
                    n_faults += 1;
                    eprintln!("{}: {fault}", args.file.display());
                }
            }
        }
        let (n, mut done) = (good.len(), 0);
        for chunk in good.chunks(N_ENTITIES) {
            self.post("/api/v1/entities/batch", &Value::Array(chunk.to_vec()))?;
            done += chunk.len();
            progress(done, n);
        }
        report(json, n, n_faults)
    }
}

/// The last `=` parts the two: columns may have one in their names.
fn column_and_field(text: &str) -> Result<(String, String), String> {
    let (column, field) = text.rsplit_once('=').ok_or("COLUMN=FIELD is wanted")?;
    Ok((column.to_owned(), field.to_owned()))
}
