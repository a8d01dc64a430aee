//! `onemap entity recode`: a map of old and new codes, taken by the server line by line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use onemap_model::Timestamp;
use onemap_store::register::import::Encoding;

use super::{Door, read};

/// `onemap entity recode`
#[derive(Args)]
pub(crate) struct RecodeArgs {
    /// CSV with the columns old and new, and where they are needed kind (several kinds have the old code), class and
    /// division (the new code says another one than the old).
    #[arg(long, value_name = "FILE")]
    map: PathBuf,
    /// When the new codes were given: RFC 3339, or a day, which begins at midnight in Beijing. Now when it is not said.
    #[arg(long, value_name = "DATE", value_parser = moment)]
    at: Option<Timestamp>,
    /// Say what would be changed, change nothing.
    #[arg(long)]
    dry_run: bool,
    /// What the file is written in: utf-8, gb18030 (gbk, gb2312). It is declared, never guessed.
    #[arg(long, default_value = "utf-8")]
    encoding: Encoding,
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let whole = match text.len() {
        10 => format!("{text}T00:00:00+08:00"),
        _ => text.to_owned(),
    };
    Timestamp::parse(&whole).map_err(|e| e.to_string())
}

impl Door {
    pub(crate) fn recode(&self, args: &RecodeArgs, json: bool) -> Result<ExitCode> {
        let text = read(&args.map, args.encoding)?;
        let mut path = format!("/api/v1/entities/recode?dry_run={}", args.dry_run);
        if let Some(at) = args.at {
            path.push_str(&format!("&at={}", at.to_string().replace('+', "%2B")));
        }
        let done = self.post_text(&path, &text)?;
        let errors = done["errors"].as_array().context("the answer has no errors")?;
        for error in errors {
            let part = |key: &str| error[key].as_str().unwrap_or_default();
            eprintln!(
                "{}: {}: {}: {}",
                args.map.display(),
                part("at"),
                part("code"),
                part("message")
            );
        }
        if json {
            crate::say!("{done}");
        } else {
            let would = if args.dry_run { "would be " } else { "" };
            crate::say!(
                "{} {would}recoded at {}, {} had their new code, {} entities and {} devices {would}changed with them, {} lines refused",
                done["recoded"],
                done["at"].as_str().unwrap_or_default(),
                done["already"],
                done["followed"]["entities"],
                done["followed"]["devices"],
                done["refused"]
            );
        }
        Ok(match errors.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}
