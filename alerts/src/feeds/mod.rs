//! What consumers of alerts are sent: one outbox each, at least once, by ids that stay.
//!
//! Pure: no clock, no network, no disk. Who is told what ([`Selection`]), how it is said to each kind of consumer
//! ([`Kind::request`]), what an answer means ([`Kind::judge`]) and when the next attempt is due ([`Patience::next`]).
//! The caller reads the ledger, sends, and keeps cursor and receipts.

mod answer;
mod batch;
mod item;
mod patience;
mod selection;
mod shapes;
mod sign;

pub use answer::{Failure, Verdict, retry_after};
pub use batch::{Batch, MOST_SHOWN};
pub use item::{Change, Gap, Item, News, Place};
pub use patience::{Next, Patience, Trying};
pub use selection::Selection;
pub use shapes::{Gateway, Kind, Made, TemplateError};
pub use sign::Secret;
