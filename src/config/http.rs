//! `[http.limits]` and `[metrics]`: what one caller may take, and who may read the counters.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use onemap_dashboards::shares::{Rate, Shares};
use onemap_store::ledger::TokenHash;
use serde::Deserialize;

/// Most requests a second, and at once.
const MOST_PER_SECOND: u32 = 1_000_000;
const MOST_AT_ONCE: u32 = 10_000_000;
/// Characters that a token has at least: as many as nobody guesses.
const SHORTEST_TOKEN: usize = 16;

/// `[http.limits]`. Over a limit a request is answered with 429, which says when to come again.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    /// Requests a second of one access token or session. Default 5000; 0 is no limit.
    token_per_second: u32,
    /// How many of them at once, after a pause. Default 50000.
    token_burst: u32,
    /// Requests a second that come from one address, an IPv4 address or an IPv6 /64, with neither: devices by HTTP,
    /// log-ins, wrong tokens. Default 5000; 0 is no limit.
    address_per_second: u32,
    /// How many of them at once, after a pause. Default 50000.
    address_burst: u32,
    /// Heavy questions of one token or session under way at once: aggregates, standards, PromQL, tiles up to zoom 8.
    /// Default 32; 0 is no limit.
    questions_per_token: u32,
    /// Imports, digests and backups of one token or session under way at once. Default 8; 0 is no limit.
    transfers_per_token: u32,
}

impl Default for Limits {
    fn default() -> Self {
        let shares = Shares::default();
        Self {
            token_per_second: shares.token.per_second,
            token_burst: shares.token.burst,
            address_per_second: shares.address.per_second,
            address_burst: shares.address.burst,
            questions_per_token: shares.questions,
            transfers_per_token: shares.transfers,
        }
    }
}

impl Limits {
    pub(super) fn checked(self) -> Result<Shares> {
        let rate = |of: &str, per_second: u32, burst: u32| {
            ensure!(
                per_second <= MOST_PER_SECOND,
                "[http.limits] {of}_per_second = {per_second}: at most {MOST_PER_SECOND}"
            );
            ensure!(
                (1..=MOST_AT_ONCE).contains(&burst),
                "[http.limits] {of}_burst = {burst}: between 1 and {MOST_AT_ONCE}"
            );
            Ok(Rate { per_second, burst })
        };
        Ok(Shares {
            token: rate("token", self.token_per_second, self.token_burst)?,
            address: rate("address", self.address_per_second, self.address_burst)?,
            questions: self.questions_per_token,
            transfers: self.transfers_per_token,
        })
    }
}

/// `[metrics]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Metrics {
    /// File with a token that opens `/metrics` and nothing else, for Prometheus's `credentials_file`. Default none:
    /// then an access token of the whole city does.
    token_file: Option<PathBuf>,
}

impl Metrics {
    /// Where the token stands.
    pub(super) fn file(&self, folder: &Path) -> Option<PathBuf> {
        self.token_file.as_ref().map(|file| folder.join(file))
    }
    /// The token's hash.
    pub(super) fn token(&self, folder: &Path) -> Result<Option<TokenHash>> {
        let Some(file) = &self.token_file else {
            return Ok(None);
        };
        let path = folder.join(file);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("[metrics] token_file: cannot read {}", path.display()))?;
        let token = text.trim();
        ensure!(
            token.len() >= SHORTEST_TOKEN,
            "[metrics] token_file: the token in {} has {} characters, {SHORTEST_TOKEN} are the fewest",
            path.display(),
            token.len()
        );
        Ok(Some(TokenHash::of(token)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<Shares> {
        toml::from_str::<Limits>(text)?.checked()
    }

    #[test]
    fn limits_are_what_is_written_and_else_generous() {
        assert_eq!(read("").unwrap(), Shares::default());
        let shares = read("token_per_second = 0\naddress_burst = 7\nquestions_per_token = 3").unwrap();
        assert_eq!(
            (shares.token.per_second, shares.address.burst, shares.questions),
            (0, 7, 3)
        );
        for (bad, why) in [
            ("token_burst = 0", "token_burst = 0"),
            ("address_per_second = 2000000", "address_per_second"),
            ("tokens = 1", "unknown field"),
        ] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn the_token_of_the_counters_is_that_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Metrics {
            token_file: Some("scrape.token".into()),
        };
        let read = || metrics.token(folder.path());
        assert!(read().unwrap_err().to_string().contains("cannot read"));
        std::fs::write(folder.path().join("scrape.token"), "short\n").unwrap();
        assert!(read().unwrap_err().to_string().contains("fewest"));
        std::fs::write(folder.path().join("scrape.token"), "0123456789abcdef\n").unwrap();
        assert_eq!(read().unwrap(), Some(TokenHash::of("0123456789abcdef")));
        assert_eq!(Metrics::default().token(folder.path()).unwrap(), None);
    }
}
