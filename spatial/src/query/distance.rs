//! Distances on the sphere with the mean radius of the earth, within 0.6 % of those on the ellipsoid.
//!
//! To a line the nearest point is looked for on a plane around the place asked from; the distance to
//! that point is then one on the sphere. Lines are straight in longitude and latitude.

use crate::coordinates::{Extent, Vertex};
use crate::geometry::Shape;
use crate::ground::sphere::{self, EARTH_RADIUS_M};
use crate::query::predicates::covers;
use crate::thing::Footprint;

/// No two points are farther apart, metres.
pub(crate) const FARTHEST_M: f64 = EARTH_RADIUS_M * std::f64::consts::PI;

/// A place that distances are taken from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) at: Vertex,
    sphere: sphere::Origin,
    cosine: f64,
}

/// The shorter way between two longitudes, degrees.
fn turn(degrees: f64) -> f64 {
    (degrees + 540.0).rem_euclid(360.0) - 180.0
}

impl Origin {
    pub(crate) fn at(at: Vertex) -> Self {
        Self {
            at,
            sphere: sphere::Origin::at(at),
            cosine: at.lat_degrees().to_radians().cos(),
        }
    }

    /// Metres to a point in degrees, which need not lie on the grid.
    fn to_degrees(self, lon: f64, lat: f64) -> f64 {
        let sine = |degrees: f64| (degrees.to_radians() / 2.0).sin();
        let rise = sine(lat - self.at.lat_degrees());
        let across = sine(lon - self.at.lon_degrees());
        sphere::metres(rise * rise + self.cosine * lat.to_radians().cos() * across * across)
    }

    /// Metres to a point.
    pub(crate) fn to(self, v: Vertex) -> f64 {
        sphere::metres(self.sphere.haversine(v))
    }

    /// Metres to the nearest point of a segment, and where on the segment it is (0 at `a`, 1 at `b`).
    pub(crate) fn to_segment(self, a: Vertex, b: Vertex) -> (f64, f64) {
        let plane = |v: Vertex| {
            let wide = turn(v.lon_degrees() - self.at.lon_degrees());
            (wide * self.cosine, v.lat_degrees() - self.at.lat_degrees())
        };
        let (p, q) = (plane(a), plane(b));
        let (x, y) = (q.0 - p.0, q.1 - p.1);
        let length2 = x * x + y * y;
        if length2 == 0.0 {
            return (self.to(a), 0.0);
        }
        let part = (-(p.0 * x + p.1 * y) / length2).clamp(0.0, 1.0);
        if part == 0.0 || part == 1.0 {
            return (self.to(if part == 0.0 { a } else { b }), part);
        }
        let lon = a.lon_degrees() + part * (b.lon_degrees() - a.lon_degrees());
        let lat = a.lat_degrees() + part * (b.lat_degrees() - a.lat_degrees());
        (self.to_degrees(lon, lat), part)
    }

    /// Metres to the nearest point of a line.
    pub(crate) fn to_line(self, line: &[Vertex]) -> f64 {
        let segments = line.windows(2).map(|s| self.to_segment(s[0], s[1]).0);
        segments.fold(f64::INFINITY, f64::min)
    }

    /// Metres to the nearest point of a thing, 0 inside it; none when it has no place.
    pub(crate) fn to_thing(self, footprint: &Footprint) -> Option<f64> {
        Some(match footprint {
            Footprint::Nowhere => return None,
            Footprint::Point(v) => self.to(*v),
            Footprint::Shape(shape) => match &**shape {
                Shape::Points(points) => points.iter().map(|v| self.to(*v)).fold(f64::INFINITY, f64::min),
                Shape::Lines(lines) => lines
                    .iter()
                    .map(|line| self.to_line(line))
                    .fold(f64::INFINITY, f64::min),
                Shape::Polygons(polygons) if covers(polygons, self.at) => 0.0,
                Shape::Polygons(polygons) => {
                    let rings = polygons.iter().flat_map(|polygon| &polygon.rings);
                    let closing = |ring: &Vec<Vertex>| self.to_segment(ring[ring.len() - 1], ring[0]).0;
                    rings
                        .map(|ring| self.to_line(ring).min(closing(ring)))
                        .fold(f64::INFINITY, f64::min)
                }
            },
        })
    }

    /// Boxes that hold every point at most so many metres away: two at 180 degrees.
    pub(crate) fn boxes(self, metres: f64) -> Vec<Extent> {
        // A little more, for what rounding may take away.
        let haversine = sphere::haversine_of(metres * (1.0 + 1e-9) + 0.02);
        self.sphere.boxes(haversine).into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn vertex(lon: f64, lat: f64) -> Vertex {
        Vertex::from_degrees(lon, lat).unwrap()
    }

    #[test]
    fn the_nearest_point_of_a_segment_is_between_its_ends_or_an_end() {
        let from = Origin::at(vertex(101.0, 36.001));
        let degree = EARTH_RADIUS_M.to_radians();
        for (west, east, want, at) in [
            (100.99, 101.01, 0.001 * degree, 0.5),
            (101.0, 101.01, 0.001 * degree, 0.0),
        ] {
            let (metres, part) = from.to_segment(vertex(west, 36.0), vertex(east, 36.0));
            assert!(
                (metres - want).abs() < 0.01 && (part - at).abs() < 1e-9,
                "{metres} {part}"
            );
        }
    }

    proptest! {
        #[test]
        fn boxes_hold_what_is_that_near(
            lon in -180.0..180.0f64, lat in -90.0..90.0f64, to_lon in -180.0..180.0f64, to_lat in -90.0..90.0f64, near in 1e-6..1.0f64,
        ) {
            let at = vertex(lon, lat);
            let to = vertex(lon + near * (to_lon - lon), lat + near * (to_lat - lat));
            let metres = Origin::at(at).to(to);
            prop_assert!(Origin::at(at).boxes(metres).iter().any(|extent| extent.holds(to)), "{metres}");
        }
    }
}
