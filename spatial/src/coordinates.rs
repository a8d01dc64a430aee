//! The integer grid of the map, 1e-7 degree.

use onemap_model::Position;

/// Grid steps in one degree.
pub(crate) const PER_DEGREE: f64 = 1e7;

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_rim_of_the_globe_does_not_overflow() {
        for (lon, lat) in [(180.0, 90.0), (-180.0, -90.0)] {
            let v = Vertex::from_degrees(lon, lat).unwrap();
            assert_eq!((v.lon_degrees(), v.lat_degrees()), (lon, lat));
        }
        assert!(Vertex::from_degrees(180.1, 0.0).is_none());
        assert!(Vertex::from_degrees(f64::NAN, 0.0).is_none());
    }
}
