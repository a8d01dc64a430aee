//! The one map: entities, indexes, divisions and vector tiles.
//!
//! Coordinates inside are integers: 1e-7 degree (`i32`) for every question of "inside or not", so the
//! answer is exact and the same on every machine, and 32-bit Web Mercator (`u32`) for tiles. The value
//! a source gave stays in its entity; the map works on the rounded one (at most 6 mm off).
//!
//! A border belongs to what it bounds: a point on the border of two divisions is covered by both, and
//! [`CityMap::locate`] then answers with the smaller code.

mod areas;
mod city_map;
mod city_view;
mod clip;
mod clusters;
mod coordinates;
mod detail;
mod divisions;
mod dots;
pub mod geocode;
mod geometry;
pub mod ground;
mod index;
mod labels;
mod layer;
mod mercator;
pub mod moving;
mod moving_places;
mod mvt;
pub mod networks;
mod outlines;
mod pins;
mod prepared_layer;
pub mod query;
mod repair;
mod sight;
mod standing;
mod stock;
mod terms;
mod thing;
mod tile;
mod touched;

pub use areas::{Areas, area_km2};
pub use city_map::CityMap;
pub use city_view::CityView;
pub use geometry::GeometryError;
pub use layer::Layer;
pub use moving::Moving;
pub use standing::{States, worst};
pub use thing::{Card, ThingKind};
pub use tile::{LiveState, Look, MAX_ZOOM, Tile, TileError};
