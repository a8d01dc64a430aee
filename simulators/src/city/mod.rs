//! The seeded city: where its devices stand, what they measure, what goes wrong and when.
//!
//! `geography`, `plan`, `shape`, `truck` and `incident` are pure functions of the seed and the time; `register`
//! and `run` meet the server.

pub mod geography;
pub mod incident;
pub mod plan;
pub mod register;
pub mod run;
pub mod shape;
pub mod station;
pub mod truck;
pub mod truth;

pub use geography::Geography;
pub use incident::{Incident, IncidentKind, Timeline};
pub use plan::City;
pub use station::{Dialect, Sensor, Station, StationKind};
