//! One filter and one predicate engine for every question of "where": within, nearest, column, section.
//!
//! "Inside or not" is decided in integers on the grid of 1e-7 degree; a border belongs to what it bounds,
//! so a thing that only touches a region lies in it. Distances are on a sphere (`distance`). What is
//! equal otherwise comes in the order of kind and code.

mod column;
mod distance;
mod every;
mod extents;
mod filter;
mod found;
mod nearest;
mod page;
mod predicates;
mod region;
mod section;
mod written;

pub use column::{Column, Stacked};
pub use filter::Filter;
pub use found::Found;
pub use nearest::Near;
pub use page::Page;
pub use region::{Region, RegionError, ToWgs84};
pub use section::{Crossing, SectionLine};
pub use written::FromWgs84;
