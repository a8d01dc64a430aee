//! Warnings as they are folded: steps of our own, and messages of others.

use anyhow::{Context as _, Result};
use onemap_alerts::warnings::Warnings;
use onemap_alerts::warnings::received::ReceivedBook;
use onemap_model::{Act, Frame, Refusal, Verb};
use onemap_store::ledger::WarningMessage;
use tracing::info;

use super::fold::Fold;

/// Name of the warnings in the checkpoint.
pub(crate) const WARNINGS: &str = "warnings";
/// Name of the warnings of others in the checkpoint.
pub(crate) const RECEIVED: &str = "received_warnings";

const POISON: &str = "no holder of this lock panics";

impl Fold<'_> {
    /// Takes a step of a warning's life; whether the act was one.
    pub(super) fn warning_act(&mut self, position: u64, act: &Act) -> bool {
        if !matches!(act.verb, Verb::Warning(_)) {
            return false;
        }
        let mut warnings = self.views.warnings.book.write().expect(POISON);
        match warnings.act(position, act) {
            Ok(None) => {}
            Ok(Some(issued)) => {
                let identifier = issued.identifier.clone();
                if let Some((warning, issued)) = warnings.message(&identifier) {
                    let message = WarningMessage {
                        identifier,
                        position,
                        warning: warning.id,
                        sent: issued.sent,
                        standing: issued.standing.name().to_owned(),
                        division: issued.content.division.clone(),
                        department: issued.content.department.clone(),
                        document: issued.document.to_string(),
                    };
                    self.pending.ledger.warnings.push(message);
                }
            }
            Err(reason) => info!(position, %reason, "a step of a warning has no effect"),
        }
        true
    }

    /// Takes a message of others; what is none goes into the quarantine.
    pub(super) fn warning_of_others(&mut self, position: u64, frame: &Frame<'_>, source: &str) {
        let taken = {
            let mut received = self.views.warnings.received.write().expect(POISON);
            received.take(position, frame.received_at, source, frame.payload)
        };
        if let Err(error) = taken {
            let detail = format!("{}: {error}", error.code());
            self.refuse(position, 0, frame, Refusal::BadWarning, &detail);
        }
    }

    /// Those of others that are over leave.
    pub(super) fn warnings_end(&mut self) {
        let mut received = self.views.warnings.received.write().expect(POISON);
        received.tick(*self.now);
    }
}

/// The warnings of a checkpoint, or of an empty journal.
pub(crate) fn restore_warnings(
    own: Option<Vec<u8>>,
    received: Option<Vec<u8>>,
) -> Result<(Warnings, ReceivedBook)> {
    let own = own.map_or(Ok(Warnings::default()), |bytes| Warnings::restore(&bytes));
    let received = received.map_or(Ok(ReceivedBook::default()), |bytes| ReceivedBook::restore(&bytes));
    Ok((
        own.context("the checkpoint of the warnings cannot be read")?,
        received.context("the checkpoint of received warnings cannot be read")?,
    ))
}
