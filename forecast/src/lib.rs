//! What a series will be, how sure that is, and how good it was.
//!
//! Pure numerics: no clock, no I/O, no randomness but of seeds; the same input gives the same numbers. A [`model::Model`] is
//! trained from series on one grid ([`series::Aligned`]), issues a mean, a median, quantiles and the chance of exceeding a
//! threshold for each horizon, and says which inputs moved them. Forecasts are of *changes*, blended against baselines by blocked
//! cross-validation; where that shows nothing above persistence, persistence is what is issued.
//!
//! It judges nothing (rules do) and stores nothing.

pub mod backtest;
pub mod band;
pub mod baseline;
pub mod blend;
mod bound;
pub mod clean;
pub mod conformal;
pub mod crossing;
pub mod faults;
pub mod features;
pub mod learn;
pub mod model;
mod pool;
pub mod refit;
pub mod ridge;
pub mod score;
pub mod series;
pub mod travel;
pub mod trees;
