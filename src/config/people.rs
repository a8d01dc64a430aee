//! `[accounts]` and `[persons]`: what lets people and machines in, and how much is told of citizens.

use anyhow::{Result, ensure};
use onemap_dashboards::Trust;
use serde::Deserialize;

/// Longest that a token may be made for by default: ten years.
const MOST_TOKEN_DAYS: u32 = 3_653;

/// `[accounts]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Accounts {
    /// Whether every account needs a second factor, and not only those that may command or administer. Default false.
    second_for_all: bool,
    /// Days that an access token opens when its maker states no end. Default 365; 0 is without an end.
    token_days: u32,
}

impl Default for Accounts {
    fn default() -> Self {
        let trust = Trust::default();
        Self {
            second_for_all: trust.second_for_all,
            token_days: trust.token_days,
        }
    }
}

impl Accounts {
    pub(super) fn checked(&self) -> Result<Trust> {
        let Self {
            second_for_all,
            token_days,
        } = *self;
        ensure!(
            token_days <= MOST_TOKEN_DAYS,
            "[accounts] token_days = {token_days}: at most {MOST_TOKEN_DAYS}, or 0 for tokens without an end"
        );
        Ok(Trust {
            second_for_all,
            token_days,
        })
    }
}

/// `[persons]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Persons {
    /// Persons that a place has at least before their number is shown, which is then in whole k. Default 10.
    k: u32,
}

impl Default for Persons {
    fn default() -> Self {
        Self { k: 10 }
    }
}

impl Persons {
    pub(super) fn checked(&self) -> Result<u32> {
        let k = self.k;
        ensure!((5..=1000).contains(&k), "[persons] k = {k}: between 5 and 1000");
        Ok(k)
    }
}
