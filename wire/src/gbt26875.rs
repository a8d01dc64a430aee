//! GB/T 26875.3-2011: user information transmission devices of buildings to a fire monitoring centre.
//!
//! Bytes of a connection go through a [`Framer`]; each whole frame is a [`Frame`], whose application data
//! [`Frame::read`] reads into an [`Application`]: a type and its objects. [`decode()`] does both and is what
//! `onemap decode gbt26875` prints. [`reply`] builds acknowledgements and a centre's questions. A message is always
//! one frame.
//!
//! Numbers stand low byte first. Times are binary in the standard and BCD with some makers, see [`Clock`].

mod clock;
mod codes;
mod error;
mod frame;
mod object;
mod order;
mod readings;
pub mod reply;
mod view;

#[cfg(test)]
pub(crate) mod laws;
#[cfg(test)]
mod stories;
#[cfg(test)]
mod vectors;

pub use clock::{Clock, Time};
pub use codes::{Analogue, analogue, component_kind, component_name, system_name};
pub use error::Error;
pub use frame::{Address, Fault, Frame, Framer, Piece};
pub use object::{Application, Component, Object, System, Text};
pub use order::{METHODS, method_of, question_of, response_of};
pub use readings::{ObjectReadings, happened_by, readings};
pub use view::{View, decode};
