//! `onemap persons`: the keys of what stands for citizens' numbers.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Subcommand;
use serde_json::{Value, json};

use super::Door;

const KEY: &str = "/api/v1/persons/key";
/// How often is asked how many persons wait.
const ROUND: Duration = Duration::from_millis(200);

/// `onemap persons`
#[derive(Subcommand)]
pub(crate) enum PersonsCommand {
    /// Which key there is, how many persons are known, and how many of them wait to be carried over to it.
    Key,
    /// Make another key and carry everybody over to it. What stood for a number before stands for it no more, and who
    /// has the keys of before gets from no number to what does. Keep a copy of persons.key apart: no backup has it.
    RotateKey,
}

impl PersonsCommand {
    pub(crate) fn only_looks(&self) -> bool {
        matches!(self, Self::Key)
    }

    pub(crate) fn run(self, door: &Door, json: bool) -> Result<ExitCode> {
        let mut state = match self {
            Self::Key => door.get(KEY)?,
            Self::RotateKey => door.post(KEY, &json!({}))?,
        };
        if matches!(self, Self::RotateKey) {
            let mut last = waiting(&state)?;
            while last > 0 {
                std::thread::sleep(ROUND);
                state = door.get(KEY)?;
                let now = waiting(&state)?;
                if now != last && !json {
                    eprintln!("{now} persons wait");
                }
                last = now;
            }
        }
        match json {
            true => crate::say!("{state}"),
            false => crate::say!(
                "key {}: {} persons, {} wait to be carried over",
                state["key"],
                state["persons"],
                state["waiting"]
            ),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn waiting(state: &Value) -> Result<u64> {
    state["waiting"]
        .as_u64()
        .context("the answer does not say how many persons wait")
}
