//! One thing that a consumer is told.

use onemap_model::{AlertId, Timestamp, Transition, TransitionId};
use serde_json::Value;

use crate::Texts;

/// One thing that a consumer is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The id that it has however often it is sent: that of the transition.
    pub id: TransitionId,
    /// Number of the (last) transition in the ledger.
    pub seq: u64,
    /// What it is.
    pub news: News,
}

/// What a consumer is told of.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// An edge in an alert's life.
    Change(Box<Change>),
    /// Transitions that the ledger no longer holds.
    Gap(Gap),
}

/// An edge in an alert's life, with what is known around it when it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The edge.
    pub transition: Transition,
    /// The alert as the API shows it now; `None` when it ended so long ago that only the ledger has it.
    pub alert: Option<Value>,
    /// The rule's name as the alert was raised with; the rule's id where the alert is `None`.
    pub rule_name: Texts,
    /// Where.
    pub place: Place,
    /// All edges of the alert, oldest first; only where the kind needs them ([`Kind::needs_story`](super::Kind::needs_story)).
    pub story: Vec<Transition>,
}

/// The device that an alert is about, as the register has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its name, Chinese; its id when it is not registered.
    pub name: String,
    /// Its English name; empty when it has none.
    pub name_en: String,
}

/// Transitions that were gone from the ledger before this consumer had them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Number of the first one that is missing.
    pub from: u64,
    /// Number of the last one.
    pub to: u64,
    /// When this was found.
    pub at: Timestamp,
}

impl Item {
    /// The item of a gap. Its id is that of its numbers, whoever is told.
    pub fn gap(gap: Gap) -> Self {
        Self {
            id: TransitionId::of(&[b"gap", &gap.from.to_le_bytes(), &gap.to.to_le_bytes()]),
            seq: gap.to,
            news: News::Gap(gap),
        }
    }

    /// The alert; of a gap none.
    pub fn alert(&self) -> Option<AlertId> {
        match &self.news {
            News::Change(change) => Some(change.transition.alert),
            News::Gap(_) => None,
        }
    }

    /// The edge's name, or `gap`.
    pub fn edge_name(&self) -> &'static str {
        match &self.news {
            News::Change(change) => change.transition.edge.name(),
            News::Gap(_) => "gap",
        }
    }
}
