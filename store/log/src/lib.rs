//! A durable log of typed records in segment files.
//!
//! The server's journal and the gateway's spool are both such a log. A record is a kind byte and an
//! opaque body; it gets a dense position, counted from 1, and is *durable* once the commit thread has
//! written and synced it. Many appends share one sync.
//!
//! What holds:
//! - a position reported durable survives `kill -9` and, on honest disks, a power cut;
//! - nothing is dropped: when the buffer, the size cap or the disk is full, appends wait;
//! - a torn tail is cut away at open, saved beside the log and reported; damage anywhere else is an
//!   error with file and byte, never a silent cut;
//! - a reader sees durable records only, in order, while others append, rotate, compress and release.
//!
//! It knows nothing of what the records mean. The file format is described in `frame`, `segment`,
//! `pack` and `carry`.

mod batch;
mod carry;
mod catalog;
mod commit;
#[cfg(feature = "compress")]
mod compress;
mod config;
mod error;
mod feed;
mod first;
mod frame;
mod journal;
mod pack;
mod reader;
mod recover;
mod release;
mod segment;
mod shared;

pub use batch::Batch;
pub use config::Config;
pub use error::LogError;
pub use first::ToldFirst;
pub use frame::MAX_RECORD_BYTES;
pub use journal::{Log, Status};
pub use reader::{Entry, Reader};
pub use recover::{Recovery, Torn};
pub use release::Released;
