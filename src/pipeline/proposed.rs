//! Proposed rule files as they are folded. An approval puts nothing in force by itself: the rule file's own record does,
//! right behind it or at the next start.

use anyhow::{Context as _, Result};
use onemap_alerts::proposals::Proposals;
use onemap_model::{Act, Verb};
use tracing::info;

use super::fold::Fold;

/// Name of the proposals in the checkpoint.
pub(crate) const PROPOSALS: &str = "rule_proposals";

const POISON: &str = "no holder of this lock panics";

impl Fold<'_> {
    /// Takes a step of a proposal's life; whether the act was one.
    pub(super) fn proposal_act(&mut self, position: u64, act: &Act) -> bool {
        if !matches!(act.verb, Verb::RuleProposal(_)) {
            return false;
        }
        let rules = self.views.rules.read().expect(POISON);
        let in_force = |file: &str| rules.get(file).map(|loaded| loaded.text.clone());
        let mut book = self.views.proposals.book.write().expect(POISON);
        if let Err(reason) = book.act(position, act, &in_force) {
            info!(position, %reason, "a step of a rule proposal has no effect");
        }
        true
    }

    /// A rule file's record ends what waited for it.
    pub(super) fn proposal_taken_up(&mut self, position: u64, file: &str, text: &str) {
        let mut book = self.views.proposals.book.write().expect(POISON);
        book.note_rule(position, file, text);
    }
}

/// The proposals of a checkpoint, or of an empty journal.
pub(crate) fn restore_proposals(bytes: Option<Vec<u8>>) -> Result<Proposals> {
    let book = bytes.map_or(Ok(Proposals::default()), |bytes| Proposals::restore(&bytes));
    book.context("the checkpoint of proposed rules cannot be read")
}
