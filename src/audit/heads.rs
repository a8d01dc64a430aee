//! Signed heads of a running server, one a day, and heads that were kept elsewhere.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use onemap_dashboards::views::Views;
use onemap_store::ledger::AuditHead;
use onemap_store::notary::{self, Notary, PublicKey};
use tracing::{info, warn};

/// Reads a head and holds its signature.
pub(super) fn read_head(path: &Path, known: &[PublicKey]) -> Result<AuditHead> {
    let text = std::fs::read(path).context("it cannot be read")?;
    Ok(notary::read_head(&text, known)?)
}

/// The keys that heads must be signed by: that of `path`, else those of the data folder; none where it has none.
///
/// # Errors
/// When one cannot be read, or is no such key.
pub(super) fn known_keys(data_dir: &Path, path: Option<&Path>) -> Result<Vec<PublicKey>> {
    let Some(path) = path else {
        return Ok(notary::public_keys(data_dir)?);
    };
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let key = PublicKey::from_pem(&text).with_context(|| path.display().to_string())?;
    Ok(vec![key])
}

/// Signs a head on each Beijing day, also on that of the start: `audit/2026-11-27.json`.
pub(super) struct Daily {
    notary: Arc<Notary>,
    is_told: bool,
}

impl Daily {
    pub(super) fn new(notary: Arc<Notary>) -> Self {
        Self {
            notary,
            is_told: false,
        }
    }

    /// # Errors
    /// When the look itself is cut short; a head that cannot be made is told and tried again.
    pub(super) async fn look(&mut self, views: &Arc<Views>) -> Result<()> {
        let (notary, of) = (self.notary.clone(), views.clone());
        let made = tokio::task::spawn_blocking(move || notary.head_of_day(&of.ledger, of.now()))
            .await
            .context("the daily head was cut short")?
            .context("the head of the audit is not signed");
        match &made {
            Ok(Some(path)) => info!(path = %path.display(), "the head of the audit is signed"),
            Ok(None) => {}
            Err(error) if !self.is_told => warn!("{error:#}"),
            Err(_) => {}
        }
        self.is_told = made.is_err();
        Ok(())
    }
}
