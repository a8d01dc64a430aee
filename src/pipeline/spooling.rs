//! What the history's engine is to be given: accepted readings, by way of its spool.
//!
//! The batch is in the spool before its effects are told of, and durable there before a checkpoint says that it
//! is past. While the spool has no room the pipeline waits, and with it in the end everybody who sends.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result};
use onemap_dashboards::views::Views;
use onemap_model::{Reading, Timestamp};
use onemap_store::engine::Batch;
use onemap_store::history::{History, Kind, Outcome};
use onemap_store::remote::Spool;

use super::Pipeline;
use super::patience::patiently;

/// Bytes of a batch before the next begins.
const N_BYTES: usize = 512 << 10;
/// How long one attempt to append waits before it is looked whether the server is to stop.
const PATIENCE: Duration = Duration::from_millis(500);

/// Accepted readings of one batch of records.
#[derive(Default)]
pub(super) struct Accepted {
    batches: Vec<Batch>,
}

impl Accepted {
    /// Takes those readings that history accepted.
    pub(super) fn take(
        &mut self,
        views: &Views,
        patience: Option<&AtomicBool>,
        readings: &[Reading],
        outcomes: &[Outcome],
    ) -> Result<()> {
        for (reading, outcome) in readings.iter().zip(outcomes) {
            let revision = match outcome.kind {
                Kind::Duplicate => continue,
                Kind::New | Kind::Late => 0,
                Kind::Revision => patiently(views, patience, "a replaced value is looked up", || {
                    n_before(&views.history, reading, outcome)
                })?,
            };
            if self.batches.last().is_none_or(|batch| batch.n_bytes() >= N_BYTES) {
                self.batches.push(Batch::default());
            }
            if let Some(batch) = self.batches.last_mut() {
                batch.push(reading, outcome.quality, revision);
            }
        }
        Ok(())
    }
}

/// How many values the reading's time had before it.
fn n_before(history: &History, reading: &Reading, outcome: &Outcome) -> Result<u16> {
    let at = reading.measured_at;
    let versions = history
        .versions(outcome.series, at, at + Duration::from_millis(1))
        .context("the history cannot say what a value replaced")?;
    Ok(u16::try_from(versions.len().saturating_sub(1)).unwrap_or(u16::MAX))
}

impl Pipeline {
    /// Gives the accepted readings of a batch to the spool.
    pub(super) fn spool(&mut self, accepted: Accepted) -> Result<()> {
        let Some(spool) = self.spool.clone() else {
            return Ok(());
        };
        for batch in &accepted.batches {
            self.spooled = self.persist("readings go to the history's engine", |own| {
                Ok(spool.append_for(batch, own.spooling_at(), PATIENCE)?)
            })?;
        }
        Ok(())
    }

    /// Waits until everything given to the spool is durable.
    pub(super) fn settle_spool(&mut self) -> Result<()> {
        let Some(spool) = self.spool.clone() else {
            return Ok(());
        };
        let position = self.spooled;
        self.persist("the spool of the history's engine is written", |_| {
            Ok(spool.wait_durable(position, PATIENCE)?)
        })
    }

    /// By the clock on the wall: it is what a lag is told from, and judges nothing.
    fn spooling_at(&self) -> Timestamp {
        (self.views.clock)()
    }

    /// With a spool for what is accepted from now on.
    pub(crate) fn with_spool(mut self, spool: Option<Arc<Spool>>) -> Self {
        self.spool = spool;
        self
    }
}
