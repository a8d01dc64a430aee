//! The edge gateway: polls Modbus slaves at a fixed rate, spools every poll to disk, publishes the spool
//! over MQTT and deletes only what the server says it has stored.
//!
//! ```text
//! slaves -> poll (a task a line) -> spool (fsync) -> uplink -> server
//!                                     ^                          |
//!                                     +-------- receipt ---------+
//! ```
//! Nothing is published before it is durable here, and nothing is deleted because of a PUBACK: only a
//! receipt says that the server has it. So `kill -9` of the gateway, the server or both loses nothing
//! that was spooled; what is sent twice is marked `"r":true` and the server drops it.
//!
//! When the spool is full of values without a receipt, polling stands still (`spool_full` in the status,
//! an error in the log): new values are lost at the source, where the gap is visible, rather than old
//! ones in silence.

pub mod commands;
pub mod config;
pub mod confirmed;
pub mod line;
pub mod record;
pub mod run;
pub mod schedule;
pub mod spool;
pub mod status;
pub mod uplink;

pub use config::{Config, ConfigError};
pub use run::{Ready, run};
