//! The little of MQTT 3.1.1 that a publishing device needs.

pub mod codec;
pub mod link;
pub mod outbox;

pub use codec::Incoming;
pub use link::{Link, LinkError, Login};
pub use outbox::Outbox;
