//! The pure rule engine: typed YAML rules, event-time state machines, transitions.
//!
//! No clock, no I/O, no threads: the caller passes `now` (the time of the journal record at hand) and
//! the record's position. The same calls in the same order give the same transitions, ids and
//! snapshots, so a replayed journal gives the same alerts; the edge gateway links the same engine.
//!
//! - [`RuleSet`] reads one file of rules and says with line and column what is wrong with it.
//! - [`Engine`] binds rules to series and folds observations, ticks and register changes into
//!   [`Transition`](onemap_model::Transition)s.
//! - [`Condition`] is what a series is: normal, abnormal or unknown; unknown is never normal.

mod amount;
mod codec;
mod engine;
mod fault;
mod file;
mod hindsight;
mod message;
mod panels;
mod parameters;
mod rule;
mod stages;
mod times;
mod trial;
mod unread;
mod weighed;
mod written;

pub use engine::{
    Aside, Condition, Engine, Explanation, FactState, OpenAlert, Progress, SnapshotError, nearest_first,
};
pub use fault::{RuleError, no_id};
pub use file::RuleSet;
pub use hindsight::{Episode, Hindsight};
pub use panels::Foreseen;
pub use parameters::{Given, Level, Own};
pub use rule::{
    Around, Asked, Band, Change, Clause, Direction, Neighbours, Prospect, Rule, RuleInfo, Selector, Silence,
    Stuck, Texts, Threshold, When,
};
pub use stages::{Stage, StageLimit};
pub use times::{Hours, Times};
pub use trial::TrialOutcome;
