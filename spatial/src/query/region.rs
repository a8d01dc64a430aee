//! The part of the ground that a question is about: a box, a polygon, or all within a distance.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::city_view::CityView;
use crate::coordinates::{Extent, Vertex};
use crate::geometry::{GeometryError, Polygon, Shape, doubled_area};
use crate::ground;
use crate::query::distance::Origin;
use crate::query::filter::Filter;
use crate::query::found::Found;
use crate::query::predicates::{around, covers, edges, shape_meets_box, shape_meets_region, side};
use crate::thing::{Footprint, Thing};

/// Most vertices of a polygon that is asked with.
pub(crate) const N_MOST_VERTICES: usize = 10_000;
/// Largest radius, metres.
const MOST_RADIUS_M: f64 = 1_000_000.0;

/// Why something is no region.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RegionError {
    /// A coordinate is NaN or infinite.
    #[error("a coordinate is not a finite number")]
    NotFinite,
    /// A point lies off the globe.
    #[error("{lon}, {lat} is not on the globe (longitude first, degrees)")]
    OffGlobe {
        /// Longitude.
        lon: f64,
        /// Latitude.
        lat: f64,
    },
    /// The box's south is north of its north.
    #[error("the box ends at latitude {north}, south of where it begins, {south}")]
    UpsideDown {
        /// South.
        south: f64,
        /// North.
        north: f64,
    },
    /// The box is wider than half the globe.
    #[error("the box is {degrees} degrees wide, at most 180")]
    Wide {
        /// Its width.
        degrees: f64,
    },
    /// A radius that is not above 0 and at most 1000 km.
    #[error("a radius of {metres} m is not above 0 and at most {MOST_RADIUS_M}")]
    Radius {
        /// As asked.
        metres: f64,
    },
    /// The polygon has too many vertices.
    #[error("the polygon has {n} positions, at most {N_MOST_VERTICES}")]
    Vertices {
        /// How many.
        n: usize,
    },
    /// Two edges of the polygon cross.
    #[error("the polygon crosses itself near {lon}, {lat}")]
    Crossing {
        /// Longitude near the place.
        lon: f64,
        /// Latitude near the place.
        lat: f64,
    },
    /// A hole is not cut from its own part, or from another hole.
    #[error("a hole of the polygon lies outside of it or in another hole, near {lon}, {lat}")]
    Hole {
        /// Longitude of a position of the hole.
        lon: f64,
        /// Latitude of it.
        lat: f64,
    },
    /// The line has too many positions.
    #[error("the line has {n} positions, at most 1000")]
    LinePositions {
        /// How many.
        n: usize,
    },
    /// The line has fewer than two different positions.
    #[error("the line has fewer than two different positions")]
    NoLength,
    /// The line is too long.
    #[error("the line is {metres} m long, at most 200000")]
    Long {
        /// Its length.
        metres: f64,
    },
    /// The strip's width is not 0 to 1000 m.
    #[error("a width of {metres} m is not between 0 and 1000")]
    Width {
        /// As asked.
        metres: f64,
    },
    /// A text is no WKT polygon.
    #[error("the text is neither a GeoJSON nor a WKT polygon (POLYGON or MULTIPOLYGON): {why}")]
    Text {
        /// What is wrong.
        why: &'static str,
    },
    /// The polygon cannot be used.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
}

/// A part of the ground, its border included.
#[derive(Clone, Debug)]
pub struct Region(Kind);

#[derive(Clone, Debug)]
enum Kind {
    /// One, or two that meet at 180 degrees.
    Boxes(Vec<Extent>),
    Polygons(Arc<ground::Region>),
    Circle {
        centre: Origin,
        radius_m: f64,
    },
}

/// From the system of who asks to WGS 84; `None` for what lies outside of that system.
pub type ToWgs84<'a> = &'a dyn Fn(f64, f64) -> Option<(f64, f64)>;

pub(crate) fn vertex(lon: f64, lat: f64) -> Result<Vertex, RegionError> {
    if !(lon.is_finite() && lat.is_finite()) {
        return Err(RegionError::NotFinite);
    }
    Vertex::from_degrees(lon, lat).ok_or(RegionError::OffGlobe { lon, lat })
}

impl Region {
    /// A box of WGS 84 degrees. When west is greater than east it crosses 180 degrees (RFC 7946, 5.2).
    ///
    /// # Errors
    /// [`RegionError`] for numbers that are no box, and for boxes wider than half the globe.
    pub fn bbox([west, south, east, north]: [f64; 4]) -> Result<Self, RegionError> {
        let (min, max) = (vertex(west, south)?, vertex(east, north)?);
        if south > north {
            return Err(RegionError::UpsideDown { south, north });
        }
        let degrees = if west > east {
            east + 360.0 - west
        } else {
            east - west
        };
        if degrees > 180.0 {
            return Err(RegionError::Wide { degrees });
        }
        if west <= east {
            return Ok(Self(Kind::Boxes(vec![Extent { min, max }])));
        }
        let rim = |lon: i32, lat: i32| Vertex { lon, lat };
        Ok(Self(Kind::Boxes(vec![
            Extent {
                min,
                max: rim(1_800_000_000, max.lat),
            },
            Extent {
                min: rim(-1_800_000_000, min.lat),
                max,
            },
        ])))
    }

    /// All that is at most so many metres from a point of WGS 84, on a sphere.
    ///
    /// # Errors
    /// [`RegionError`] for a point off the globe, and a radius not above 0 or above 1000 km.
    pub fn circle(lon: f64, lat: f64, radius_m: f64) -> Result<Self, RegionError> {
        if !(radius_m > 0.0 && radius_m <= MOST_RADIUS_M) {
            return Err(RegionError::Radius { metres: radius_m });
        }
        let centre = Origin::at(vertex(lon, lat)?);
        Ok(Self(Kind::Circle { centre, radius_m }))
    }

    /// A polygon as GeoJSON (a Polygon or MultiPolygon, or a Feature of one).
    ///
    /// # Errors
    /// [`RegionError`] for what is no polygon, is not closed, crosses itself, is wider than 180 degrees or
    /// has more than 10,000 positions.
    pub fn geojson(value: &Value, to_wgs84: ToWgs84<'_>) -> Result<Self, RegionError> {
        let geometry = match value["type"].as_str() {
            Some("Feature") => &value["geometry"],
            _ => value,
        };
        let wrong = |found: &str| {
            RegionError::Geometry(GeometryError::Type {
                found: found.chars().take(32).collect(),
                wanted: "Polygon or MultiPolygon",
            })
        };
        let coordinates = geometry.get("coordinates").ok_or(GeometryError::NotGeoJson)?;
        let polygons: Vec<&Value> = match geometry["type"].as_str() {
            Some("Polygon") => vec![coordinates],
            Some("MultiPolygon") => array(coordinates)?.iter().collect(),
            Some(other) => return Err(wrong(other)),
            None => return Err(GeometryError::NotGeoJson.into()),
        };
        let mut n = 0;
        let mut all = Vec::new();
        for polygon in polygons {
            let mut rings = Vec::new();
            for ring in array(polygon)? {
                let ring = array(ring)?;
                n += ring.len();
                if n > N_MOST_VERTICES {
                    return Err(RegionError::Vertices { n });
                }
                let positions = ring.iter().map(|position| {
                    let number = |i: usize| position.get(i).and_then(Value::as_f64);
                    number(0)
                        .zip(number(1))
                        .ok_or(RegionError::Geometry(GeometryError::Position))
                });
                rings.push(positions.collect::<Result<_, _>>()?);
            }
            all.push(rings);
        }
        Self::polygons(all, to_wgs84)
    }

    /// A polygon as WKT: `POLYGON ((lon lat, …), …)` or `MULTIPOLYGON`.
    ///
    /// # Errors
    /// As [`Region::geojson`].
    pub fn wkt(text: &str, to_wgs84: ToWgs84<'_>) -> Result<Self, RegionError> {
        Self::polygons(crate::query::written::polygons(text)?, to_wgs84)
    }

    fn polygons(mut all: crate::query::written::Rings, to_wgs84: ToWgs84<'_>) -> Result<Self, RegionError> {
        let n = all.iter().flatten().map(Vec::len).sum();
        if n > N_MOST_VERTICES {
            return Err(RegionError::Vertices { n });
        }
        for position in all.iter_mut().flatten().flatten() {
            if !(position.0.is_finite() && position.1.is_finite()) {
                return Err(RegionError::NotFinite);
            }
            let (lon, lat) = *position;
            *position = to_wgs84(lon, lat).ok_or(RegionError::OffGlobe { lon, lat })?;
        }
        let geometry = json!({"type": "MultiPolygon", "coordinates": all});
        let polygons = match Shape::parse(&geometry) {
            Ok(Shape::Polygons(polygons)) => polygons.into_vec(),
            Ok(_) => return Err(GeometryError::NotGeoJson.into()),
            // A bow tie of two equal halves has no area, either.
            Err(error @ GeometryError::Degenerate { .. }) => {
                return Err(crossing_of(&all).unwrap_or(error.into()));
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(at) = self_crossing(&polygons) {
            return Err(crossing(at));
        }
        if let Some(at) = polygons.iter().find_map(stray_hole) {
            let (lon, lat) = (at.lon_degrees(), at.lat_degrees());
            return Err(RegionError::Hole { lon, lat });
        }
        let region = ground::Region::of(&polygons).ok_or(GeometryError::Empty)?;
        Ok(Self(Kind::Polygons(Arc::new(region))))
    }

    /// The region itself when it is one box.
    pub(crate) fn single_box(&self) -> Option<Extent> {
        match &self.0 {
            Kind::Boxes(boxes) => boxes.first().copied().filter(|_| boxes.len() == 1),
            _ => None,
        }
    }

    /// Boxes that hold the region.
    pub(crate) fn extents(&self) -> Vec<Extent> {
        match &self.0 {
            Kind::Boxes(boxes) => boxes.clone(),
            Kind::Polygons(region) => vec![region.extent()],
            Kind::Circle { centre, radius_m } => centre.boxes(*radius_m),
        }
    }

    /// Whether a thing has a point in the region, its border included.
    pub(crate) fn meets(&self, thing: &Thing) -> bool {
        match (&self.0, &thing.footprint) {
            (_, Footprint::Nowhere) => false,
            (Kind::Boxes(boxes), Footprint::Point(v)) => boxes.iter().any(|extent| extent.holds(*v)),
            (Kind::Boxes(boxes), Footprint::Shape(shape)) => {
                boxes.iter().any(|extent| shape_meets_box(shape, extent))
            }
            (Kind::Polygons(region), Footprint::Point(v)) => region.covers(*v),
            (Kind::Polygons(region), Footprint::Shape(shape)) => shape_meets_region(shape, region),
            (Kind::Circle { centre, radius_m }, footprint) => centre
                .to_thing(footprint)
                .is_some_and(|metres| metres <= *radius_m),
        }
    }
}

fn array(value: &Value) -> Result<&[Value], RegionError> {
    value
        .as_array()
        .map(Vec::as_slice)
        .ok_or(GeometryError::NotGeoJson.into())
}

fn crossing(at: Vertex) -> RegionError {
    RegionError::Crossing {
        lon: at.lon_degrees(),
        lat: at.lat_degrees(),
    }
}

/// Where properly crossing edges are in polygons that may have no area.
fn crossing_of(all: &[Vec<Vec<(f64, f64)>>]) -> Option<RegionError> {
    let ring = |ring: &Vec<(f64, f64)>| {
        let mut ring: Vec<Vertex> = ring
            .iter()
            .filter_map(|(lon, lat)| Vertex::from_degrees(*lon, *lat))
            .collect();
        ring.dedup();
        ring.pop();
        ring
    };
    let rings = all
        .iter()
        .flatten()
        .map(ring)
        .filter(|ring| doubled_area(ring) != 0 || ring.len() > 3);
    let polygon = Polygon {
        rings: rings.collect(),
    };
    let has_lines_only = polygon
        .rings
        .iter()
        .all(|ring| ring.windows(3).all(|v| side(v[0], v[1], v[2]) == 0));
    self_crossing(&[polygon])
        .filter(|_| !has_lines_only)
        .map(crossing)
}

/// A vertex of a hole that lies outside its shell, or within another hole; rings that touch are none. Nothing crosses here.
fn stray_hole(polygon: &Polygon) -> Option<Vertex> {
    let alone = |ring: &[Vertex]| Polygon {
        rings: vec![ring.to_vec()],
    };
    let (shell, holes) = polygon.rings.split_first()?;
    let shell = alone(shell);
    let areas: Vec<Polygon> = holes.iter().map(|hole| alone(hole)).collect();
    let strictly_in = |area: &Polygon, v: Vertex| {
        let on_border =
            edges(std::slice::from_ref(area)).any(|[a, b]| side(a, b, v) == 0 && around(a, b).holds(v));
        !on_border && covers(std::slice::from_ref(area), v)
    };
    holes.iter().enumerate().find_map(|(i, hole)| {
        let others = areas.iter().enumerate().filter(|(j, _)| *j != i);
        let others: Vec<&Polygon> = others.map(|(_, area)| area).collect();
        hole.iter().copied().find(|v| {
            !covers(std::slice::from_ref(&shell), *v) || others.iter().any(|area| strictly_in(area, *v))
        })
    })
}

/// A vertex near where two edges cross or run over one another; rings may touch in points.
fn self_crossing(polygons: &[Polygon]) -> Option<Vertex> {
    let mut all: Vec<[Vertex; 2]> = edges(polygons)
        .map(|[a, b]| if a.lat <= b.lat { [a, b] } else { [b, a] })
        .collect();
    all.sort_unstable_by_key(|[low, _]| *low);
    let mut open: Vec<[Vertex; 2]> = Vec::new();
    for edge in all {
        open.retain(|[_, high]| high.lat >= edge[0].lat);
        if let Some(other) = open.iter().find(|other| cross(edge, **other)) {
            return Some(other[0]);
        }
        open.push(edge);
    }
    None
}

fn cross([a, b]: [Vertex; 2], [c, d]: [Vertex; 2]) -> bool {
    if !around(a, b).meets(&around(c, d)) {
        return false;
    }
    let (at_c, at_d, at_a, at_b) = (side(a, b, c), side(a, b, d), side(c, d, a), side(c, d, b));
    if at_c == 0 && at_d == 0 {
        // On one line: they share more than an end.
        let along = |v: Vertex| if a.lon == b.lon { v.lat } else { v.lon };
        let [low, high] = [along(a).min(along(b)), along(a).max(along(b))];
        let [own_low, own_high] = [along(c).min(along(d)), along(c).max(along(d))];
        return low.max(own_low) < high.min(own_high);
    }
    at_c * at_d < 0 && at_a * at_b < 0
}

impl CityView {
    /// About how many things [`CityView::within`] looks at.
    pub fn n_within(&self, region: &Region, filter: &Filter) -> usize {
        let kinds = filter.sieve(self).kinds;
        region
            .extents()
            .iter()
            .map(|extent| self.n_near(extent, kinds))
            .sum()
    }

    /// Calls `each` for the things that have a point in the region, each once, in no order.
    pub fn within<'v>(&'v self, region: &Region, filter: &Filter, mut each: impl FnMut(Found<'v>)) {
        let sieve = filter.sieve(self);
        let extents = region.extents();
        for (i, extent) in extents.iter().enumerate() {
            self.near(extent, sieve.kinds, |_, thing| {
                // What lies in two boxes was met in the first.
                let again = extents[..i]
                    .iter()
                    .any(|before| thing.footprint.extent().is_some_and(|own| own.meets(before)));
                if !again && sieve.lets(thing) && region.meets(thing) {
                    each(Found { view: self, thing });
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn plain(lon: f64, lat: f64) -> Option<(f64, f64)> {
        Some((lon, lat))
    }

    #[test]
    fn what_is_no_region_is_refused_by_name() {
        let wkt = |text: &str| Region::wkt(text, &plain).unwrap_err().to_string();
        for (text, why) in [
            (
                "POLYGON ((0 0, 2 2, 2 0, 0 2, 0 0))",
                "the polygon crosses itself near 0, 0",
            ),
            (
                "POLYGON ((0 0, 2 0, 2 2, 4 2, 2 2, 0 2, 0 0))",
                "the polygon crosses itself near 2, 2",
            ),
            (
                "POLYGON ((0 0, 4 0, 4 4, 0 4, 0 0), (9 1, 10 1, 10 2, 9 1))",
                "a hole of the polygon lies outside of it or in another hole, near 10, 2",
            ),
            (
                "POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0), (1 1, 8 1, 8 8, 1 8, 1 1), (2 2, 3 2, 3 3, 2 2))",
                "a hole of the polygon lies outside of it or in another hole, near 3, 3",
            ),
            (
                "POLYGON ((0 0, 2 0, 2 2))",
                "a polygon ring of 3 positions is not closed",
            ),
            (
                "POLYGON ((0 0, nan 0, 2 2, 0 0))",
                "a coordinate is not a finite number",
            ),
            (
                "POLYGON ((0 0, 200 0, 2 2, 0 0))",
                "position 200, 0 is not on the globe (longitude first, degrees)",
            ),
            (
                "POLYGON ((-100 0, 100 0, 0 50, -100 0))",
                "the geometry crosses the antimeridian or spans 200 degrees of longitude (at most 180)",
            ),
            ("POLYGON EMPTY", "the geometry is empty"),
            (
                "POLYGON ((0 0, 1 1, 2 2, 0 0))",
                "a ring of 4 positions has no extent",
            ),
            (
                "LINESTRING (0 0, 1 1)",
                "the text is neither a GeoJSON nor a WKT polygon (POLYGON or MULTIPOLYGON): it is of another type",
            ),
            (
                "POLYGON ((0 0, 1 0, 1 1, 0 0)) x",
                "the text is neither a GeoJSON nor a WKT polygon (POLYGON or MULTIPOLYGON): something follows it",
            ),
            (
                "POLYGON ((0 0, 1 0, 1 1, 0 0)",
                "the text is neither a GeoJSON nor a WKT polygon (POLYGON or MULTIPOLYGON): a bracket is missing",
            ),
            (
                "POLYGON ((0, 1 0, 1 1, 0 0))",
                "the text is neither a GeoJSON nor a WKT polygon (POLYGON or MULTIPOLYGON): a position is not two numbers",
            ),
        ] {
            assert_eq!(wkt(text), why, "{text}");
        }
        let long: Vec<[f64; 2]> = (0..10_001).map(|i| [f64::from(i) * 1e-4, 0.0]).collect();
        let long = Region::geojson(&json!({"type": "Polygon", "coordinates": [long]}), &plain).unwrap_err();
        assert_eq!(long, RegionError::Vertices { n: 10_001 });
        let point = json!({"type": "Point", "coordinates": [1, 1]});
        assert!(
            Region::geojson(&point, &plain)
                .unwrap_err()
                .to_string()
                .contains("`Point` does not fit")
        );
        for (numbers, why) in [
            (
                [0.0, 5.0, 1.0, 4.0],
                "the box ends at latitude 4, south of where it begins, 5",
            ),
            (
                [-100.0, 0.0, 100.0, 1.0],
                "the box is 200 degrees wide, at most 180",
            ),
            (
                [100.0, 0.0, 90.0, 1.0],
                "the box is 350 degrees wide, at most 180",
            ),
            ([0.0, 0.0, f64::NAN, 1.0], "a coordinate is not a finite number"),
            (
                [0.0, 0.0, 181.0, 1.0],
                "181, 1 is not on the globe (longitude first, degrees)",
            ),
        ] {
            assert_eq!(Region::bbox(numbers).unwrap_err().to_string(), why);
        }
        for radius in [0.0, -1.0, f64::NAN, 1e7] {
            assert!(
                matches!(Region::circle(0.0, 0.0, radius), Err(RegionError::Radius { .. })),
                "{radius}"
            );
        }
    }

    #[test]
    fn polygons_that_touch_themselves_in_points_are_regions() {
        for text in [
            "POLYGON((0 0, 4 0, 4 4, 0 4, 0 0), (1 1, 2 3, 3 1, 1 1))",
            "polygon ( ( 0 0 , 4 0 , 4 4 , 2 2 , 0 4 , 2 2 , 0 0 ) )",
            "MULTIPOLYGON(((0 0, 1 0, 1 1, 0 0)), ((1 1, 2 1, 2 2, 1 1)))",
        ] {
            if text.starts_with("polygon") {
                // It goes to a corner and back: an edge lies on another.
                assert!(matches!(
                    Region::wkt(text, &plain),
                    Err(RegionError::Crossing { .. })
                ));
                continue;
            }
            Region::wkt(text, &plain).unwrap();
        }
    }
}
