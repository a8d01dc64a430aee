//! The two integer grids of the map: 1e-7 degree and 32-bit Web Mercator.

use onemap_model::Position;

/// Grid steps in one degree.
const PER_DEGREE: f64 = 1e7;
/// Side of the Mercator world in grid steps.
const WORLD: f64 = 4_294_967_296.0;
/// Where Web Mercator ends: the world is a square up to this latitude.
const MAX_LAT: f64 = 85.051_128_779_806_59;

/// A point on the grid of 1e-7 degree (11 mm from south to north).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vertex {
    /// Longitude in steps of 1e-7 degree, -180 to 180 degrees.
    pub lon: i32,
    /// Latitude in steps of 1e-7 degree, -90 to 90 degrees.
    pub lat: i32,
}

impl Vertex {
    /// Rounds degrees to the grid; `None` outside the globe or when not finite.
    pub fn from_degrees(lon: f64, lat: f64) -> Option<Self> {
        let fits = (-180.0..=180.0).contains(&lon) && (-90.0..=90.0).contains(&lat);
        fits.then(|| Self {
            lon: (lon * PER_DEGREE).round() as i32,
            lat: (lat * PER_DEGREE).round() as i32,
        })
    }

    /// The point of a position.
    pub fn of(position: &Position) -> Self {
        Self::from_degrees(position.lon(), position.lat()).expect("a Position lies on the globe")
    }

    /// Longitude in degrees.
    pub fn lon_degrees(self) -> f64 {
        f64::from(self.lon) / PER_DEGREE
    }

    /// Latitude in degrees.
    pub fn lat_degrees(self) -> f64 {
        f64::from(self.lat) / PER_DEGREE
    }
}

/// A box of [`Vertex`] values, both ends inside. It does not cross 180 degrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// South-western corner.
    pub min: Vertex,
    /// North-eastern corner.
    pub max: Vertex,
}

impl Extent {
    /// The smallest box around the vertices; `None` when there are none.
    pub fn around(vertices: impl IntoIterator<Item = Vertex>) -> Option<Self> {
        let mut vertices = vertices.into_iter();
        let first = vertices.next()?;
        Some(vertices.fold(
            Self {
                min: first,
                max: first,
            },
            |mut extent, v| {
                extent.min.lon = extent.min.lon.min(v.lon);
                extent.min.lat = extent.min.lat.min(v.lat);
                extent.max.lon = extent.max.lon.max(v.lon);
                extent.max.lat = extent.max.lat.max(v.lat);
                extent
            },
        ))
    }

    /// Whether the point is inside or on the rim.
    #[inline]
    pub fn holds(&self, v: Vertex) -> bool {
        // Without branches: on a rim they could not be foreseen.
        let across = (self.min.lon <= v.lon) & (v.lon <= self.max.lon);
        across & (self.min.lat <= v.lat) & (v.lat <= self.max.lat)
    }

    /// Whether the boxes have a point in common, rims included.
    #[inline]
    pub fn meets(&self, other: &Self) -> bool {
        (self.min.lon <= other.max.lon)
            & (self.max.lon >= other.min.lon)
            & (self.min.lat <= other.max.lat)
            & (self.max.lat >= other.min.lat)
    }

    /// What both hold; `None` when they do not meet.
    pub fn common(&self, other: &Self) -> Option<Self> {
        let (a, b) = (self, other);
        self.meets(other).then(|| Self {
            min: Vertex {
                lon: a.min.lon.max(b.min.lon),
                lat: a.min.lat.max(b.min.lat),
            },
            max: Vertex {
                lon: a.max.lon.min(b.max.lon),
                lat: a.max.lat.min(b.max.lat),
            },
        })
    }

    /// The smallest box that holds both.
    pub fn with(&self, other: &Self) -> Self {
        let (a, b) = (self, other);
        Self {
            min: Vertex {
                lon: a.min.lon.min(b.min.lon),
                lat: a.min.lat.min(b.min.lat),
            },
            max: Vertex {
                lon: a.max.lon.max(b.max.lon),
                lat: a.max.lat.max(b.max.lat),
            },
        }
    }

    /// West, south, east, north in degrees.
    pub fn degrees(&self) -> [f64; 4] {
        [
            self.min.lon_degrees(),
            self.min.lat_degrees(),
            self.max.lon_degrees(),
            self.max.lat_degrees(),
        ]
    }
}

/// A point of the Web Mercator square, 2^32 steps wide; `y` grows southwards as in tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Mercator {
    pub(crate) x: u32,
    pub(crate) y: u32,
}

impl Mercator {
    /// Projects; latitudes beyond 85.05 degrees come to lie on the square's border.
    pub(crate) fn of(v: Vertex) -> Self {
        let x = (v.lon_degrees() + 180.0) / 360.0;
        let lat = v.lat_degrees().clamp(-MAX_LAT, MAX_LAT).to_radians();
        let y = 0.5 - lat.sin().atanh() / std::f64::consts::TAU;
        // `as` saturates: 180 degrees east becomes the last step.
        Self {
            x: (x * WORLD) as u32,
            y: (y * WORLD) as u32,
        }
    }

    /// Back to degrees, for the corners of tiles: `x` and `y` may be the far edge (2^32).
    pub(crate) fn degrees_at(x: u64, y: u64) -> (f64, f64) {
        let lon = x as f64 / WORLD * 360.0 - 180.0;
        let lat = (std::f64::consts::TAU * (0.5 - y as f64 / WORLD))
            .tanh()
            .asin()
            .to_degrees();
        (lon, lat)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn projection_agrees_with_the_well_known_tile_of_xining() {
        // Slippy-map formula: z 14 tile of 101.7782 E, 36.6171 N is 12824/6398.
        let m = Mercator::of(Vertex::from_degrees(101.7782, 36.6171).unwrap());
        let n = f64::from(1u32 << 14);
        let lat = 36.6171f64.to_radians();
        let x = ((101.7782 + 180.0) / 360.0 * n) as u32;
        let y = ((1.0 - (lat.tan() + 1.0 / lat.cos()).ln() / std::f64::consts::PI) / 2.0 * n) as u32;
        assert_eq!((m.x >> 18, m.y >> 18), (x, y));
        assert_eq!((x, y), (12824, 6398));
    }

    #[test]
    fn projecting_and_coming_back_stays_within_a_centimetre() {
        for (lon, lat) in [(101.5, 36.6), (-179.9, -84.0), (0.0, 0.0), (179.999, 85.0)] {
            let m = Mercator::of(Vertex::from_degrees(lon, lat).unwrap());
            let (x, y) = Mercator::degrees_at(u64::from(m.x), u64::from(m.y));
            assert!(
                (x - lon).abs() < 2e-7 && (y - lat).abs() < 2e-7,
                "{lon} {lat}: {x} {y}"
            );
        }
    }

    #[test]
    fn the_rim_of_the_globe_does_not_overflow() {
        for (lon, lat) in [(180.0, 90.0), (-180.0, -90.0)] {
            let v = Vertex::from_degrees(lon, lat).unwrap();
            assert_eq!((v.lon_degrees(), v.lat_degrees()), (lon, lat));
            let m = Mercator::of(v);
            assert!(m.x == 0 || m.x == u32::MAX);
        }
        assert!(Vertex::from_degrees(180.1, 0.0).is_none());
        assert!(Vertex::from_degrees(f64::NAN, 0.0).is_none());
    }
}
