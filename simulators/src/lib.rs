//! The outside world for onemap: a seeded city that speaks the real protocols, replays of recorded
//! series, simulated Modbus slaves, and a load generator.
//!
//! It meets the server over the network only. What the city does is a pure function of its seed, so the
//! ground truth of every incident is known.

pub mod city;
pub mod device;
pub mod load;
pub mod modbus;
pub mod mqtt;
pub mod obey;
pub mod prng;
pub mod replay;
pub mod station;
