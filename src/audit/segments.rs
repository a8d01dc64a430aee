//! Digests of the journal's closed segments, as rows of the audit.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use onemap_dashboards::views::Views;
use onemap_log::{Batch, Reader};
use onemap_model::record::SegmentDigest;
use onemap_model::{Record, Timestamp};
use onemap_store::ledger::{AuditFault, AuditKind, AuditRow, LedgerReader};
use onemap_store::segments::{SegmentError, digest};
use tracing::warn;

/// Adds the digest of each segment once it is closed.
pub(super) struct Digests {
    /// The last position that has a digest; not known before the ledger has what an earlier run added.
    behind: Option<u64>,
    /// The journal's end at the first look.
    end: Option<u64>,
    is_told: bool,
}

impl Digests {
    pub(super) fn new() -> Self {
        Self {
            behind: None,
            end: None,
            is_told: false,
        }
    }

    /// # Errors
    /// When the look itself is cut short. A segment that cannot be read, or a journal that takes nothing, is told and
    /// tried again.
    pub(super) async fn look(&mut self, views: &Arc<Views>) -> Result<()> {
        let made = self.add(views).await;
        if let Err(error) = &made
            && !self.is_told
        {
            warn!("a closed segment of the journal has no digest in the audit: {error:#}");
        }
        self.is_told = made.is_err();
        Ok(())
    }

    async fn add(&mut self, views: &Arc<Views>) -> Result<()> {
        let behind = match self.behind {
            Some(behind) => behind,
            None => {
                let end = *self.end.get_or_insert_with(|| views.log.status().durable);
                if views.progress.borrow().ledger < end {
                    return Ok(());
                }
                let of = views.clone();
                tokio::task::spawn_blocking(move || last(&of.ledger))
                    .await
                    .context("it was cut short")??
            }
        };
        self.behind = Some(behind);
        for span in views.log.closed_after(behind) {
            let (of, at, last) = (views.clone(), views.now(), *span.end());
            let made = tokio::task::spawn_blocking(move || {
                let mut reader = of.log.reader(span.start() - 1)?;
                digest(&mut reader, span, at)
            })
            .await
            .context("it was cut short")?;
            match made {
                Ok(made) => {
                    let (kind, body) = Record::Segment(made).encode();
                    let mut batch = Batch::new();
                    batch.push(kind, |out| out.extend_from_slice(&body));
                    views.log.append(&batch).await?;
                }
                // Let go before it was looked at, after a time without this server.
                Err(SegmentError::Gone { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            self.behind = Some(last);
        }
        Ok(())
    }
}

fn read(row: &AuditRow) -> Result<SegmentDigest> {
    serde_json::from_str(&row.body)
        .with_context(|| format!("row {} of the audit is no digest of a segment", row.n))
}

/// The last position that has a digest; 0 when there is none.
fn last(ledger: &LedgerReader) -> Result<u64> {
    let newest = ledger.find_in_audit(AuditKind::Segment, ControlFlow::Break)?;
    newest
        .as_ref()
        .map(read)
        .transpose()
        .map(|d| d.map_or(0, |d| d.last))
}

/// What became of the segments that have digests.
#[derive(Default)]
pub(super) struct Held {
    /// They are what they were.
    pub(super) held: u64,
    /// Their time of keeping is over: frames in them are gone, what lasts was carried over.
    pub(super) let_go: u64,
}

/// Makes the digests of the segments in `dir` again. Those before the journal's first are let go when they are older than
/// `keep` now; a younger one was taken away.
///
/// # Errors
/// When the ledger or the folder cannot be read.
pub(super) fn verify(
    ledger: &LedgerReader,
    dir: &Path,
    keep: Duration,
    now: Timestamp,
) -> Result<(Held, Option<AuditFault>)> {
    let mut rows = Vec::new();
    ledger.find_in_audit(AuditKind::Segment, |row| {
        rows.push(row);
        ControlFlow::<()>::Continue(())
    })?;
    let mut held = Held::default();
    let first = Reader::first_in_dir(dir)
        .context("the journal cannot be read")?
        .unwrap_or(u64::MAX);
    for row in rows.iter().rev() {
        let was = read(row)?;
        let span = format!(
            "the segment of the journal with the records {} to {}",
            was.first, was.last
        );
        if was.first < first && was.at + keep <= now {
            held.let_go += 1;
            continue;
        }
        if was.first < first {
            let what = format!(
                "{span} is gone, and was to be kept until {} ([journal] keep_hours; where that was shorter then, it was let go in time)",
                was.at + keep
            );
            let fault = AuditFault {
                row: row.n,
                position: row.position,
                what,
            };
            return Ok((held, Some(fault)));
        }
        let mut reader = Reader::open_dir(dir, was.first - 1)?;
        let what = match digest(&mut reader, was.first..=was.last, was.at) {
            Ok(is) if is == was => {
                held.held += 1;
                continue;
            }
            Ok(_) => format!("{span} is not what it was"),
            Err(error) => format!("{span} is not whole: {:#}", anyhow::Error::from(error)),
        };
        let fault = AuditFault {
            row: row.n,
            position: row.position,
            what,
        };
        return Ok((held, Some(fault)));
    }
    Ok((held, None))
}
