//! Warnings (预警) as the world exchanges them: CAP 1.2 of OASIS, its feeds, and the Chinese mapping.
//!
//! Pure: no clock, no network, no disk. [`read()`] makes an [`Alert`] of bytes, [`write()`] makes XML of an alert,
//! [`feed`] does both for Atom (and reads RSS), [`gbt35965`] holds what is Chinese about a message, [`draft`] builds
//! the two-language messages that we issue. What is refused is a [`CapError`]: where, and a [`Fault`] with a stable
//! code.
//!
//! A reader is strict where a message says who, when, where and how bad, and lenient where it does not matter:
//! what is merely against the standard's advice (a long headline, an update without references) is a remark of
//! [`Alert::remarks`] on what was read, and a refusal of [`write()`].
//!
//! ```
//! let bytes = b"<alert xmlns='urn:oasis:names:tc:emergency:cap:1.2'>
//!   <identifier>1</identifier><sender>a.cn</sender><sent>2026-11-23T08:15:00Z</sent>
//! </alert>";
//! let error = onemap_cap::read(bytes).unwrap_err();
//! assert_eq!(error.code(), "time_z");
//! assert_eq!(error.to_string(), "line 2, alert/sent: time `2026-11-23T08:15:00Z` ends in Z; UTC is -00:00");
//! ```
//!
//! Messages that came in are kept as bytes by the caller. Signatures (XML-DSig) are noticed, not verified.
//!
//! Source: OASIS Common Alerting Protocol Version 1.2 and its schema.

mod area;
mod check;
pub mod draft;
mod error;
pub mod feed;
pub mod gbt35965;
mod group;
mod message;
mod read;
mod time;
mod tree;
mod words;
mod write;

pub use area::{Circle, Feet, Point, Polygon};
pub use error::{CapError, Fault, Place};
pub use message::{Alert, Area, Info, Named, Reference, Resource};
pub use read::{Message, Version, read};
pub use time::DateTime;
pub use tree::Limits;
pub use words::{Category, Certainty, MsgType, ResponseType, Scope, Severity, Status, Urgency};
pub use write::write;

/// The namespace of CAP 1.2, which is what we write.
pub const NAMESPACE: &str = "urn:oasis:names:tc:emergency:cap:1.2";
/// The namespace of CAP 1.1, which is read as well.
pub const NAMESPACE_1_1: &str = "urn:oasis:names:tc:emergency:cap:1.1";
/// The media type of a message.
pub const MEDIA_TYPE: &str = "application/cap+xml";
/// The media type of a feed of messages.
pub const FEED_MEDIA_TYPE: &str = "application/atom+xml";
