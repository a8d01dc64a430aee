//! `onemap import addresses`: doors for the geocoder, out of CSV.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use onemap_model::DivisionCode;
use onemap_store::register::import::{Mapping, import_addresses_csv};
use serde_json::Value;

use super::{Door, N_ENTITIES, progress, read, report};

#[derive(Args)]
pub(crate) struct AddressesArgs {
    /// CSV file.
    file: PathBuf,
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
}

impl Door {
    /// Imports the good lines and says what is wrong with the others, line by line.
    pub(crate) fn import_addresses(&self, args: &AddressesArgs, json: bool) -> Result<ExitCode> {
        let text = read(&args.file)?;
        let crs = args.crs.parse();
        let mapping = Mapping {
            crs: Some(crs.map_err(|e| anyhow::anyhow!("--crs {}: {e}", args.crs))?),
            source: args.source.clone().unwrap_or_default(),
            division: args.division.clone(),
            ..Mapping::default()
        };
        let (mut good, mut n_faults) = (Vec::new(), 0);
        for row in import_addresses_csv(&text, &mapping) {
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
