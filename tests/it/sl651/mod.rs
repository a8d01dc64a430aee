//! Hydrological stations (SL 651) against a real server.

mod downlink;
mod forged;
mod intake;
mod packets;
mod resend;
mod simulated;
pub mod station;
