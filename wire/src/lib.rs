//! Bytes to messages and back for every protocol, and profiles.
//!
//! Pure: no clock, no I/O. [`decode()`] turns one journal frame into a [`Message`]: what could be read,
//! and by name what could not. It never decides whether a reading is taken: that is admission's.

pub mod cbor;
pub mod decode;
pub mod duration;
pub mod gbt26875;
mod hex;
pub mod hj212;
pub mod line;
pub mod message;
pub mod modbus;
pub mod native;
pub mod order;
pub mod profile;
#[cfg(test)]
mod published;
pub mod push;
mod scalar;
pub mod sl651;
pub mod spelt;
pub mod stream;
pub mod thingsboard;
pub mod veil;

pub use decode::decode;
pub use message::{Message, Refused, Sample, Scaling};
pub use profile::{Profile, ProfileError};
