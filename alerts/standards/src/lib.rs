//! What readings mean by law: air quality index, limits, water class, noise, rain grades, stages of rivers.
//!
//! Pure. Limits, break points and grades are data files of this crate, each edition with the days on which it
//! holds, its source, and whether it was checked against the text of the standard; code holds none of them.
//! What was measured on a day is judged by the edition of that day, whenever it arrives.

pub mod air;
pub mod decimal;
mod edition;
pub mod hour;
pub mod noise;
pub mod rain;
pub mod stage;
pub mod water;
pub mod workdays;

pub use edition::{DataError, Edition, on_day};
