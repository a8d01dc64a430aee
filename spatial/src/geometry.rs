//! GeoJSON geometries (RFC 7946) read onto the grid of 1e-7 degree, or refused by name.

use serde_json::Value;
use smallvec::{SmallVec, smallvec};

use crate::coordinates::{Extent, Vertex};

/// Why a geometry cannot be put on the map.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GeometryError {
    /// No geometry, or none of its parts has a position.
    #[error("the geometry is empty")]
    Empty,
    /// Not a GeoJSON object with a `type` and `coordinates`.
    #[error("the geometry is not a GeoJSON geometry object")]
    NotGeoJson,
    /// A type that this kind of entity cannot have.
    #[error("a geometry of type `{found}` does not fit here, expected {wanted}")]
    Type {
        /// What was given.
        found: String,
        /// What would fit.
        wanted: &'static str,
    },
    /// A position is not an array of at least two numbers.
    #[error("a position is not an array of numbers")]
    Position,
    /// A position lies outside the globe.
    #[error("position {lon}, {lat} is not on the globe (longitude first, degrees)")]
    OffGlobe {
        /// Longitude as given.
        lon: f64,
        /// Latitude as given.
        lat: f64,
    },
    /// A ring's last position is not its first.
    #[error("a polygon ring of {positions} positions is not closed")]
    OpenRing {
        /// Number of its positions.
        positions: usize,
    },
    /// A polygon ring without area or a line without length, on the grid of 1e-7 degree.
    #[error("a {what} of {positions} positions has no extent")]
    Degenerate {
        /// `ring` or `line`.
        what: &'static str,
        /// Number of its positions.
        positions: usize,
    },
    /// Crosses the antimeridian, or is wider than half the globe. RFC 7946 asks for such geometries to
    /// be cut at 180 degrees into parts, each an entity of its own here.
    #[error("the geometry crosses the antimeridian or spans {degrees} degrees of longitude (at most 180)")]
    Antimeridian {
        /// Its width.
        degrees: f64,
    },
    /// A division's code is no division code.
    #[error("`{code}` is not a division code")]
    DivisionCode {
        /// The code.
        code: String,
    },
}

/// A polygon: its outer ring, counter-clockwise, then its holes, clockwise (longitude right, latitude
/// up). Rings are not closed: the last vertex is not the first.
#[derive(Clone, Debug, PartialEq)]
pub struct Polygon {
    /// Outer ring first.
    pub rings: Vec<Vec<Vertex>>,
}

/// What an entity looks like. Mostly it has one part, which then lies with it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    /// One or more points.
    Points(Vec<Vertex>),
    /// One or more lines of at least two vertices.
    Lines(SmallVec<[Vec<Vertex>; 1]>),
    /// One or more polygons.
    Polygons(SmallVec<[Polygon; 1]>),
}

impl Shape {
    /// Reads a geometry of type Point, LineString, Polygon or a Multi of them.
    pub(crate) fn parse(geometry: &Value) -> Result<Self, GeometryError> {
        if geometry.is_null() {
            return Err(GeometryError::Empty);
        }
        let kind = geometry
            .get("type")
            .and_then(Value::as_str)
            .ok_or(GeometryError::NotGeoJson)?;
        if kind == "GeometryCollection" {
            return Err(wrong_type(kind));
        }
        let coordinates = geometry.get("coordinates").ok_or(GeometryError::NotGeoJson)?;
        let shape = match kind {
            "Point" => {
                if array(coordinates)?.is_empty() {
                    return Err(GeometryError::Empty);
                }
                Shape::Points(vec![vertex(coordinates)?])
            }
            "MultiPoint" => Shape::Points(array(coordinates)?.iter().map(vertex).collect::<Result<_, _>>()?),
            "LineString" => Shape::Lines(smallvec![line(coordinates)?]),
            "MultiLineString" => {
                Shape::Lines(array(coordinates)?.iter().map(line).collect::<Result<_, _>>()?)
            }
            "Polygon" => Shape::Polygons(smallvec![polygon(coordinates)?]),
            "MultiPolygon" => Shape::Polygons(
                array(coordinates)?
                    .iter()
                    .map(polygon)
                    .collect::<Result<_, _>>()?,
            ),
            other => return Err(wrong_type(other)),
        };
        let extent = shape.extent().ok_or(GeometryError::Empty)?;
        let degrees = extent.max.lon_degrees() - extent.min.lon_degrees();
        if degrees > 180.0 && !matches!(shape, Shape::Points(_)) {
            return Err(GeometryError::Antimeridian { degrees });
        }
        Ok(shape)
    }

    /// The box around it; `None` when it has no vertex.
    pub(crate) fn extent(&self) -> Option<Extent> {
        match self {
            Shape::Points(points) => Extent::around(points.iter().copied()),
            Shape::Lines(lines) => Extent::around(lines.iter().flatten().copied()),
            Shape::Polygons(polygons) => {
                Extent::around(polygons.iter().flat_map(|p| p.rings.iter().flatten()).copied())
            }
        }
    }

    /// The GeoJSON type of its family, for errors.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Shape::Points(_) => "Point",
            Shape::Lines(_) => "LineString",
            Shape::Polygons(_) => "Polygon",
        }
    }
}

fn wrong_type(found: &str) -> GeometryError {
    GeometryError::Type {
        found: found.chars().take(32).collect(),
        wanted: "Point, LineString, Polygon or a Multi of these",
    }
}

fn array(value: &Value) -> Result<&[Value], GeometryError> {
    value
        .as_array()
        .map(Vec::as_slice)
        .ok_or(GeometryError::NotGeoJson)
}

fn vertex(position: &Value) -> Result<Vertex, GeometryError> {
    let numbers = position.as_array().ok_or(GeometryError::Position)?;
    let [Some(lon), Some(lat)] = [0, 1].map(|i| numbers.get(i).and_then(Value::as_f64)) else {
        return Err(GeometryError::Position);
    };
    Vertex::from_degrees(lon, lat).ok_or(GeometryError::OffGlobe { lon, lat })
}

fn vertices(value: &Value) -> Result<Vec<Vertex>, GeometryError> {
    array(value)?.iter().map(vertex).collect()
}

fn line(value: &Value) -> Result<Vec<Vertex>, GeometryError> {
    let mut line = vertices(value)?;
    let positions = line.len();
    if positions == 0 {
        return Err(GeometryError::Empty);
    }
    line.dedup();
    if line.len() < 2 {
        return Err(GeometryError::Degenerate {
            what: "line",
            positions,
        });
    }
    Ok(line)
}

fn polygon(value: &Value) -> Result<Polygon, GeometryError> {
    let rings = array(value)?;
    if rings.is_empty() {
        return Err(GeometryError::Empty);
    }
    let rings = rings
        .iter()
        .enumerate()
        .map(|(i, r)| ring(r, i == 0))
        .collect::<Result<_, _>>()?;
    Ok(Polygon { rings })
}

/// Reads a ring and turns it: counter-clockwise for the outer one, clockwise for holes.
fn ring(value: &Value, outer: bool) -> Result<Vec<Vertex>, GeometryError> {
    let mut ring = vertices(value)?;
    let positions = ring.len();
    if positions == 0 {
        return Err(GeometryError::Empty);
    }
    if ring.first() != ring.last() {
        return Err(GeometryError::OpenRing { positions });
    }
    ring.dedup();
    ring.pop();
    let area = doubled_area(&ring);
    if ring.len() < 3 || area == 0 {
        return Err(GeometryError::Degenerate {
            what: "ring",
            positions,
        });
    }
    if (area > 0) != outer {
        ring.reverse();
    }
    Ok(ring)
}

/// Twice the signed area; positive when the ring runs counter-clockwise.
pub(crate) fn doubled_area(ring: &[Vertex]) -> i128 {
    let next = ring.iter().cycle().skip(1);
    ring.iter()
        .zip(next)
        .map(|(a, b)| i128::from(a.lon) * i128::from(b.lat) - i128::from(b.lon) * i128::from(a.lat))
        .sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rings_come_out_open_and_turned_outer_left_holes_right() {
        let clockwise = json!([[0, 0], [0, 2], [2, 2], [2, 0], [0, 0]]);
        let hole = json!([[0.5, 0.5], [1, 0.5], [1, 1], [0.5, 0.5]]);
        let shape = Shape::parse(&json!({"type": "Polygon", "coordinates": [clockwise, hole]}));
        let Ok(Shape::Polygons(polygons)) = shape else {
            panic!("{shape:?}")
        };
        let rings = &polygons[0].rings;
        assert_eq!((rings[0].len(), rings[1].len()), (4, 3));
        assert!(doubled_area(&rings[0]) > 0 && doubled_area(&rings[1]) < 0);
    }

    #[test]
    fn bad_geometries_are_refused_by_name() {
        let cases = [
            (json!(null), "the geometry is empty"),
            (
                json!({"type": "MultiPolygon", "coordinates": []}),
                "the geometry is empty",
            ),
            (
                json!({"type": "Point", "coordinates": []}),
                "the geometry is empty",
            ),
            (
                json!({"type": "LineString", "coordinates": []}),
                "the geometry is empty",
            ),
            (json!("x"), "the geometry is not a GeoJSON geometry object"),
            (
                json!({"type": "Point", "coordinates": 5}),
                "the geometry is not a GeoJSON geometry object",
            ),
            (
                json!({"type": "Point", "coordinates": ["a", 1]}),
                "a position is not an array of numbers",
            ),
            (
                json!({"type": "Polygon", "coordinates": [[5, 6]]}),
                "a position is not an array of numbers",
            ),
            (
                json!({"type": "Point", "coordinates": [36.6, 101.8]}),
                "position 36.6, 101.8 is not on the globe (longitude first, degrees)",
            ),
            (
                json!({"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}),
                "a polygon ring of 4 positions is not closed",
            ),
            (
                json!({"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [2, 2], [0, 0]]]}),
                "a ring of 4 positions has no extent",
            ),
            (
                json!({"type": "LineString", "coordinates": [[1, 1], [1, 1.00000001]]}),
                "a line of 2 positions has no extent",
            ),
            (
                json!({"type": "LineString", "coordinates": [[179, 0], [-179, 0]]}),
                "the geometry crosses the antimeridian or spans 358 degrees of longitude (at most 180)",
            ),
            (
                json!({"type": "GeometryCollection", "geometries": []}),
                "a geometry of type `GeometryCollection` does not fit here, expected Point, LineString, Polygon or a Multi of these",
            ),
        ];
        for (geometry, why) in cases {
            assert_eq!(
                Shape::parse(&geometry).map_err(|e| e.to_string()),
                Err(why.to_owned()),
                "{geometry}"
            );
        }
    }
}
