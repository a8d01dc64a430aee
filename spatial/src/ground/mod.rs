//! The ground of the map: indexes that answer "what is here" from integer coordinates.
//!
//! Everything here is pure and knows items by the `u32` number the caller gave them; codes, names and
//! attributes are the caller's. Positions are [`Vertex`] values (1e-7 degree, `i32`), so that an answer is the
//! same on every machine. "Inside or not" is decided in integers only. Distances are on the sphere
//! ([`sphere`]) and made of IEEE additions, multiplications, divisions and square roots, which are the same
//! everywhere, too.
//!
//! **Borders.** A border belongs to what it bounds, as in [`crate`]: a box holds its rim, an area covers the
//! points of its border and of its holes' borders. Where several answer, they come by number (or as said), and
//! the caller breaks ties.
//!
//! | index | holds | changes | questions |
//! |---|---|---|---|
//! | [`Points`] | static points with a kind (`u8`) | [`insert`](Points::insert), [`remove`](Points::remove) | [`bbox`](Points::bbox), [`radius`](Points::radius), [`nearest`](Points::nearest), [`covered_by`](Points::covered_by) |
//! | [`Boxes`] | extents of lines and polygons | [`insert`](Boxes::insert), [`remove`](Boxes::remove) | [`bbox`](Boxes::bbox), [`nearest`](Boxes::nearest) with the caller's distance |
//! | [`AreaIndex`] | polygons cut into cells | [`put`](AreaIndex::put), [`remove`](AreaIndex::remove) | [`at`](AreaIndex::at): which cover this point |
//! | [`Movers`] | moving objects | [`set`](Movers::set), [`remove`](Movers::remove), by many at once | [`bbox`](Movers::bbox), [`nearest`](Movers::nearest), [`position`](Movers::position) |
//! | [`Fences`] | fences and who is in them | [`put`](Fences::put), [`remove`](Fences::remove) | [`observe`](Fences::observe): enter, exit, dwell |
//! | [`Attributes`] | kind, class, division, stratum of items | [`put`](Attributes::put), [`remove`](Attributes::remove) | [`choose`](Attributes::choose): which items, to lay over what the others find |
//!
//! [`Region`] and [`region`] decide between geometries: point in polygon, line and polygon, polygon and polygon
//! (meets, covers), line and line, and distances. [`sphere::distance_m`] is the distance of points.
//!
//! `Points` and `Boxes` are sealed runs with a small unsorted remainder; what is removed is marked and goes
//! with the next merge. Cloning them shares the runs. All are `Sync`: many may ask at once; a change needs
//! `&mut`, but for `Movers`.

mod areas;
mod bitmaps;
mod boxes;
mod cut;
mod fences;
mod layers;
mod movers;
mod near;
mod points;
pub mod region;
mod search;
mod segment;
pub mod sphere;
pub(crate) mod zorder;

pub use crate::coordinates::{Extent, Vertex};
pub use crate::geometry::Polygon;
pub use areas::AreaIndex;
pub use bitmaps::{Attributes, Choice, Field, Items};
pub use boxes::Boxes;
pub use fences::{Crossing, Fence, FenceEvent, Fences, KnownStay, Motion, ObjectState, Sighting, Taken};
pub use movers::{Movers, MoversError};
pub use near::Neighbour;
pub use points::{Point, Points};
pub use region::Region;
