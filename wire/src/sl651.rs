//! SL 651-2014: telemetry of hydrological stations, binary (HEX/BCD) and ASCII.
//!
//! Bytes of a connection go through a [`Framer`]; each whole frame is a [`Frame`] with its checked envelope
//! and its body as it stands. [`Frame::read`] reads the body by its function code into a [`Body`];
//! [`decode()`] does both and is what `onemap decode sl651` prints. Packets of one message are joined by
//! [`Packets`] before their body is read. [`reply`] builds what a centre answers and asks.
//!
//! The CRC is that of MODBUS (polynomial A001 reflected, start FFFF), sent high byte first. Numbers stand high
//! byte first. Station times are Beijing time of this century; a stamp marks the end of its period.

mod answered;
mod ascii;
mod bcd;
mod body;
mod clock;
mod control;
mod element;
mod error;
mod frame;
mod framer;
mod group;
mod item;
mod order;
mod packets;
mod parameter;
mod readings;
pub mod reply;
mod view;

#[cfg(test)]
pub(crate) mod laws;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod vectors;

pub use answered::is_answer;
pub use bcd::{Decimal, Number};
pub use body::{Body, Content, function_name};
pub use clock::Stamp;
pub use control::{COUNTERS, Control};
pub use element::{Definition, Element, Kind, StateBit, StationClass, state_bits};
pub use error::Error;
pub use frame::{Direction, Encoding, End, Frame, Packet, Station};
pub use framer::{Fault, Framer, Piece};
pub use group::{Group, write_groups};
pub use order::{METHODS, element_of, function_of, method_of, question_of};
pub use packets::{Incomplete, Limits, Packets, Reason, Taken, split};
pub use parameter::{Parameter, Table};
pub use readings::{Bases, StationReadings, readings};
pub use view::{View, decode};
