//! `onemap quarantine`: what was refused, and its way back.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::door::Door;

/// `onemap quarantine …`
#[derive(Subcommand)]
pub(crate) enum QuarantineCommand {
    /// List entries, newest first.
    List(ListArgs),
    /// One entry with its bytes and what became of it.
    Show {
        /// Its number.
        id: u64,
    },
    /// Read entries again with the profiles of now; says what became of each.
    Readmit(ChoiceArgs),
    /// Be done with entries; they stay for the audit.
    Discard(ChoiceArgs),
}

#[derive(Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Only through this door: mqtt, http, import, modbus, …
    #[arg(long)]
    source: Option<String>,
    /// Only of this topic, path or file name.
    #[arg(long)]
    topic: Option<String>,
    /// Only where this text stands in the bytes, the topic or what was wrong.
    #[arg(long)]
    text: Option<String>,
    /// open, readmitted, refused or discarded.
    #[arg(long)]
    state: Option<String>,
    /// Entries at most.
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

#[derive(Args)]
struct FilterArgs {
    /// Only this reason, like unknown_quantity.
    #[arg(long)]
    reason: Option<String>,
    /// Only of this device.
    #[arg(long)]
    device: Option<String>,
    /// Only what arrived at or after this time (RFC 3339 with offset).
    #[arg(long)]
    from: Option<String>,
    /// Only what arrived before this time.
    #[arg(long)]
    to: Option<String>,
}

#[derive(Args)]
pub(crate) struct ChoiceArgs {
    /// Numbers of entries; without any, the filters choose.
    ids: Vec<u64>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Why; it stands in the audit.
    #[arg(long, required_unless_present = "dry_run", default_value = "")]
    note: String,
    /// Only say what would become of each.
    #[arg(long)]
    dry_run: bool,
}

/// A text as a part of a query.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

impl QuarantineCommand {
    /// Whether it changes nothing.
    pub(crate) fn only_looks(&self) -> bool {
        matches!(self, Self::List(_) | Self::Show { .. })
    }

    /// Does it through the server's API.
    pub(crate) fn run(self, door: &Door, json: bool) -> Result<ExitCode> {
        match self {
            Self::List(args) => list(door, &args, json),
            Self::Show { id } => show(door, id, json),
            Self::Readmit(choice) => order(door, "readmit", choice, json),
            Self::Discard(choice) => order(door, "discard", choice, json),
        }
    }
}

fn list(door: &Door, args: &ListArgs, json: bool) -> Result<ExitCode> {
    let mut path = format!("/api/v1/quarantine?limit={}", args.limit);
    for (name, value) in [
        ("reason", &args.filter.reason),
        ("device", &args.filter.device),
        ("from", &args.filter.from),
        ("to", &args.filter.to),
        ("source", &args.source),
        ("topic", &args.topic),
        ("text", &args.text),
        ("state", &args.state),
    ] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", escaped(value)));
        }
    }
    let answer = door.get(&path)?;
    if json {
        crate::say!("{answer}");
        return Ok(ExitCode::SUCCESS);
    }
    for entry in answer["items"].as_array().into_iter().flatten() {
        crate::say!("{}", line(entry));
    }
    Ok(ExitCode::SUCCESS)
}

fn line(entry: &Value) -> String {
    let text = |key: &str| entry[key].as_str().unwrap_or("-");
    format!(
        "{:>8}  {}  {:<17} {:<11} {:<20} {}",
        entry["id"],
        text("at"),
        text("reason"),
        text("state"),
        text("device"),
        text("detail")
    )
}

fn show(door: &Door, id: u64, json: bool) -> Result<ExitCode> {
    let entry = door.get(&format!("/api/v1/quarantine/{id}"))?;
    if json {
        crate::say!("{entry}");
        return Ok(ExitCode::SUCCESS);
    }
    crate::say!("{}", line(&entry));
    for key in [
        "peer",
        "topic",
        "source",
        "size",
        "offset",
        "readmissible",
        "settled",
    ] {
        crate::say!("{key:>12}: {}", entry[key]);
    }
    match entry["payload"].as_str() {
        Some(text) => crate::say!("{text}"),
        None => crate::say!("{}", entry["payload_hex"].as_str().unwrap_or_default()),
    }
    Ok(ExitCode::SUCCESS)
}

fn order(door: &Door, verb: &str, choice: ChoiceArgs, json: bool) -> Result<ExitCode> {
    let filter = &choice.filter;
    let filtered = [&filter.reason, &filter.device, &filter.from, &filter.to]
        .iter()
        .any(|part| part.is_some());
    if filtered != choice.ids.is_empty() {
        bail!("say which entries: either their numbers, or --reason, --device, --from, --to");
    }
    let mut body = json!({"note": choice.note, "dry_run": choice.dry_run});
    if choice.ids.is_empty() {
        for (name, value) in [
            ("reason", &filter.reason),
            ("device", &filter.device),
            ("from", &filter.from),
            ("to", &filter.to),
        ] {
            body[name] = json!(value);
        }
    } else {
        body["ids"] = json!(choice.ids);
    }
    let answer = door.post(&format!("/api/v1/quarantine/{verb}"), &body)?;
    if json {
        crate::say!("{answer}");
    } else {
        report(&answer).context("the server's answer is not readable")?;
    }
    let refused = answer["counts"]["refused"].as_u64().unwrap_or(0);
    let left_out = answer["not_readmissible"].as_array().map_or(0, Vec::len);
    Ok(if refused == 0 && left_out == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn report(answer: &Value) -> Option<()> {
    let dry_run = answer["dry_run"] == true;
    for item in answer["items"].as_array()? {
        let (id, settled) = (&item["id"], &item["settled"]);
        match item["state"].as_str() {
            _ if dry_run && item["tried"] == false => {
                crate::say!("{id}: not tried: {}", item["why"].as_str().unwrap_or_default())
            }
            _ if dry_run => crate::say!("{id}: {} readings, refused {}", item["readings"], item["refused"]),
            Some("readmitted") => crate::say!("{id}: readmitted, {} readings", settled["readings"]),
            Some("refused") => {
                crate::say!("{id}: still refused, {} {}", settled["reason"], settled["detail"])
            }
            state => crate::say!("{id}: {}", state.unwrap_or("gone")),
        }
    }
    for item in answer["not_readmissible"].as_array().into_iter().flatten() {
        crate::say!("{}: cannot be read again: {}", item["id"], item["why"].as_str()?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_survives_the_query() {
        assert_eq!(escaped("a b+c&值"), "a%20b%2Bc%26%E5%80%BC");
    }
}
