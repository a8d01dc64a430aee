//! Alert life: from the raised edge to the last one.
//!
//! [`Board`] folds the transitions of the rule engine and the acts of people into [`Alert`]s. It is a
//! projection of the journal: no clock, no I/O; the same records give the same alerts.

mod alert;
mod board;
pub mod cards;
mod drills;
mod duty;
pub mod feeds;
pub mod handover;
mod list;
pub mod load;
mod names;
pub mod proposals;
pub mod tally;
pub mod warnings;

pub use alert::{Alert, AlertState, Assignment, Condition, Undertaking};
pub use board::{ActRefused, Board, BoardError};
pub use drills::Drills;
pub use duty::{Duty, looks_at};
pub use handover::{Change, DutyRefused, Handover, Handovers};
pub use list::{Cursor, Filter, StateFilter, Whose};
pub use onemap_rules::{RuleInfo, Texts};
