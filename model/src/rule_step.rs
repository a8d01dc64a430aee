//! Proposals of rule files: the steps that stand in the journal where rules need a second person.
//!
//! What a step makes of a proposal is decided where proposals are folded; here stands only what a person said, and what
//! was in force when he said it.

use serde::{Deserialize, Serialize};

/// One step of a proposal's life.
///
/// `proposal` is the journal position of the act that made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RuleStep {
    /// A rule file is to be put in force, or taken away.
    Propose {
        /// The file's name, without `.yaml`.
        file: String,
        /// Its text; empty to take it away.
        text: String,
        /// Its text in force when this was proposed; `None` when there was no such file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<String>,
        /// The person's name as given.
        name: String,
        /// What for.
        note: String,
    },
    /// A second person agrees: the file is put in force.
    Approve {
        /// The proposal.
        proposal: u64,
        /// The person's name as given.
        name: String,
        /// What was looked at.
        note: String,
    },
    /// Somebody does not agree.
    Reject {
        /// The proposal.
        proposal: u64,
        /// The person's name as given.
        name: String,
        /// Why.
        note: String,
    },
    /// Who proposed it takes it back.
    Withdraw {
        /// The proposal.
        proposal: u64,
        /// The person's name as given.
        name: String,
        /// Why.
        note: String,
    },
}

impl RuleStep {
    /// The person's name as given, and what was said.
    pub fn words(&self) -> (&str, &str) {
        match self {
            Self::Propose { name, note, .. }
            | Self::Approve { name, note, .. }
            | Self::Reject { name, note, .. }
            | Self::Withdraw { name, note, .. } => (name, note),
        }
    }
}
