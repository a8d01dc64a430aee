//! `onemap command …`: orders, lists and takes back commands, through the API.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::door::Door;

/// `onemap command`
#[derive(Subcommand)]
pub(crate) enum CommandCommand {
    /// Order something from a device; prints the command's number.
    Send(SendArgs),
    /// List commands, newest first.
    List {
        /// Only of this device.
        #[arg(long)]
        device: Option<String>,
        /// Only in this state: created, sent, received, executed, failed, expired or cancelled.
        #[arg(long)]
        state: Option<String>,
        /// Most rows.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// One command with everything that happened to it.
    Show {
        /// Its number.
        id: u64,
    },
    /// Take back a command that was not sent.
    Cancel {
        /// Its number.
        id: u64,
        /// Why.
        #[arg(long, default_value = "")]
        note: String,
    },
}

/// `onemap command send`
#[derive(Args)]
pub(crate) struct SendArgs {
    /// The device.
    device: String,
    /// The device's name for the deed.
    method: String,
    /// Parameters, JSON.
    params: Option<String>,
    /// Not sent after this time, like 60s, 5m, 2h, 1d; the server's default when absent.
    #[arg(long)]
    ttl: Option<String>,
    /// Wait for the end; exit code 1 unless the device executed (one-way: received) it.
    #[arg(long)]
    wait: bool,
    /// No answer is expected: the command ends when the device has received it.
    #[arg(long)]
    one_way: bool,
    /// The same key again is the same command.
    #[arg(long)]
    key: Option<String>,
    /// Which door: auto, rpc or native.
    #[arg(long, default_value = "auto")]
    via: String,
}

/// Longest time that one request waits.
const WAIT_S: u64 = 30;

impl CommandCommand {
    /// Whether it changes nothing.
    pub(crate) fn only_looks(&self) -> bool {
        matches!(self, Self::List { .. } | Self::Show { .. })
    }

    pub(crate) fn run(self, door: &Door, json: bool) -> Result<ExitCode> {
        match self {
            Self::Send(args) => send(door, args, json),
            Self::List { device, state, limit } => {
                let mut path = format!("/api/v1/commands?limit={limit}");
                for (name, value) in [("device", device), ("state", state)] {
                    if let Some(value) = value {
                        path.push_str(&format!("&{name}={}", escaped(&value)));
                    }
                }
                let answer = door.get(&path)?;
                if json {
                    crate::say!("{answer}");
                    return Ok(ExitCode::SUCCESS);
                }
                answer["items"].as_array().into_iter().flatten().for_each(line);
                Ok(ExitCode::SUCCESS)
            }
            Self::Show { id } => show(&door.get(&format!("/api/v1/commands/{id}"))?, json),
            Self::Cancel { id, note } => {
                let path = format!("/api/v1/commands/{id}/cancel");
                show(&door.post(&path, &json!({"note": note}))?, json)
            }
        }
    }
}

fn send(door: &Door, args: SendArgs, json: bool) -> Result<ExitCode> {
    let params: Value = match &args.params {
        None => Value::Null,
        Some(text) => {
            serde_json::from_str(text).with_context(|| format!("the parameters `{text}` are not JSON"))?
        }
    };
    let mut order = json!({
        "device": args.device, "method": args.method, "params": params,
        "two_way": !args.one_way, "via": args.via,
    });
    if let Some(ttl) = &args.ttl {
        order["ttl_s"] = seconds(ttl)?.into();
    }
    if let Some(key) = args.key {
        order["idempotency_key"] = key.into();
    }
    let mut command = door.post("/api/v1/commands", &order)?;
    if !args.wait {
        if json {
            crate::say!("{command}");
        } else {
            crate::say!("{}", command["id"]);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let path = format!("/api/v1/commands/{}?wait_s={WAIT_S}", command["id"]);
    // It ends by its expiry at the latest, which is at most 30 days away.
    while command["final"] != true {
        command = door.get(&path)?;
    }
    show(&command, json)?;
    let good = ["executed", "received"].contains(&command["state"].as_str().unwrap_or_default());
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn line(command: &Value) {
    let text = |key: &str| command[key].as_str().unwrap_or("-");
    crate::say!(
        "{:>8} {:<24} {:<20} {:<10} {} {}",
        command["id"],
        text("device"),
        text("method"),
        text("state"),
        text("created_at"),
        command["by"]["actor"].as_str().unwrap_or("-"),
    );
}

fn show(command: &Value, json: bool) -> Result<ExitCode> {
    if json {
        crate::say!("{command}");
        return Ok(ExitCode::SUCCESS);
    }
    line(command);
    for fact in command["facts"].as_array().into_iter().flatten() {
        let mut more = fact.clone();
        if let Some(map) = more.as_object_mut() {
            for known in ["fact", "at", "position", "by"] {
                map.remove(known);
            }
        }
        let name = fact["fact"].as_str().unwrap_or("-");
        let name = if std::io::stdout().is_terminal() {
            format!("\x1b[1m{name:<12}\x1b[0m")
        } else {
            format!("{name:<12}")
        };
        let at = fact["at"].as_str().unwrap_or("-");
        let more = match more.as_object() {
            Some(map) if !map.is_empty() => more.to_string(),
            _ => String::new(),
        };
        crate::say!("         {at} {name} {more}");
    }
    Ok(ExitCode::SUCCESS)
}

/// `60s`, `5m`, `2h`, `1d`; a bare number is seconds.
fn seconds(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => bail!("--ttl {text}: use a whole number with s, m, h or d, like 60s"),
    };
    let n: u64 = digits
        .parse()
        .with_context(|| format!("--ttl {text}: use a whole number with s, m, h or d, like 60s"))?;
    n.checked_mul(factor)
        .map(|s| Duration::from_secs(s).as_secs())
        .with_context(|| format!("--ttl {text} is too long"))
}

/// A query value with everything but letters, digits and `-_.` escaped.
pub(crate) fn escaped(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-_.".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn durations_and_query_values_are_read_or_refused() {
        assert_eq!(seconds("90").unwrap(), 90);
        assert_eq!(seconds("5m").unwrap(), 300);
        assert_eq!(seconds("2h").unwrap(), 7200);
        for bad in ["", "m", "5y", "-1s", "1.5h", "99999999999999999999d"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
        assert_eq!(escaped("站 a&b"), "%E7%AB%99%20a%26b");
    }
}
