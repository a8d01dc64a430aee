//! History, latest values, register and ledger.
//!
//! Each is a projection of the journal with its own cursor: what is lost here is made again by
//! replaying.

pub mod acts;
pub mod attributes;
mod canonical;
pub mod engine;
pub mod feeds;
pub mod gaps;
pub mod history;
pub mod latest;
pub mod ledger;
pub mod notary;
pub mod persons;
pub mod register;
pub mod remote;
pub mod reviewed;
pub mod segments;
mod sqlite;

pub use canonical::hex;
pub use sqlite::{FileError, copy as copy_file};
