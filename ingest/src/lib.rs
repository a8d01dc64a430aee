//! Listeners: MQTT front end, admission, fan-out and downlink.
//!
//! A listener frames, authenticates, authorises and appends to the journal; only when the journal is
//! durable does the device get its answer. [`mod@admit`] is used by the pipeline behind the journal: no
//! clock, no I/O. [`forward`] gives HJ 212 frames on to superior platforms. [`fanout`] carries messages back to devices, and [`downlink`] says which commands and when.

pub mod admit;
pub mod counters;
pub mod denial;
pub mod downlink;
pub mod fanout;
pub mod forward;
pub mod links;
pub mod mqtt;
pub mod station;
mod trie;

pub use admit::{Admitted, Arrival, Lane, Watch, admit};
pub use counters::{Counted, Counters};
pub use denial::Denial;
pub use fanout::Fanout;
pub use links::Links;
pub use mqtt::{Auth, MqttConfig, MqttServer, Provision};
