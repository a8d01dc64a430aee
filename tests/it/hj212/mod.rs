//! HJ 212 stations against a real server: what they send is kept before it is answered, and what they are not is
//! refused by name.

mod downlink;
mod forward;
mod guesses;
mod intake;
mod live;
mod neighbours;
mod packets;
mod sealed;
mod station;
mod veiled;

pub use sealed::files;
