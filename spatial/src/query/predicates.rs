//! Whether shapes have a point in common, exactly, on the integer grid; touching counts.

use crate::coordinates::{Extent, Vertex};
use crate::geometry::{Polygon, Shape};
use crate::ground::{Region, region};

/// On which side of a-b the point lies: 1 left, -1 right, 0 on its line.
pub(crate) fn side(a: Vertex, b: Vertex, p: Vertex) -> i32 {
    let d = |to: i32, from: i32| i128::from(to) - i128::from(from);
    (d(b.lon, a.lon) * d(p.lat, a.lat) - d(b.lat, a.lat) * d(p.lon, a.lon)).signum() as i32
}

/// The box around two points.
pub(crate) fn around(a: Vertex, b: Vertex) -> Extent {
    Extent {
        min: Vertex {
            lon: a.lon.min(b.lon),
            lat: a.lat.min(b.lat),
        },
        max: Vertex {
            lon: a.lon.max(b.lon),
            lat: a.lat.max(b.lat),
        },
    }
}

/// Every edge of some polygons.
pub(crate) fn edges(polygons: &[Polygon]) -> impl Iterator<Item = [Vertex; 2]> {
    let rings = polygons.iter().flat_map(|polygon| &polygon.rings);
    rings.flat_map(|ring| {
        ring.iter()
            .zip(ring.iter().cycle().skip(1))
            .map(|(a, b)| [*a, *b])
    })
}

/// Every segment of some lines.
pub(crate) fn segments(lines: &[Vec<Vertex>]) -> impl Iterator<Item = [Vertex; 2]> {
    lines
        .iter()
        .flat_map(|line| line.windows(2).map(|s| [s[0], s[1]]))
}

/// Whether any of the polygons covers the point, borders included.
pub(crate) fn covers(polygons: &[Polygon], p: Vertex) -> bool {
    polygons.iter().any(|polygon| region::covers(polygon, p))
}

/// Whether a segment and a box have a point in common.
pub(crate) fn segment_meets_box([a, b]: [Vertex; 2], extent: &Extent) -> bool {
    if !around(a, b).meets(extent) {
        return false;
    }
    if extent.holds(a) || extent.holds(b) {
        return true;
    }
    let sides = corners(extent).map(|corner| side(a, b, corner));
    sides.iter().any(|s| *s == 0 || *s != sides[0])
}

fn corners(extent: &Extent) -> [Vertex; 4] {
    let at = |lon, lat| Vertex { lon, lat };
    let (min, max) = (extent.min, extent.max);
    [min, at(max.lon, min.lat), max, at(min.lon, max.lat)]
}

/// Whether a shape and a box have a point in common.
pub(crate) fn shape_meets_box(shape: &Shape, extent: &Extent) -> bool {
    match shape {
        Shape::Points(points) => points.iter().any(|v| extent.holds(*v)),
        Shape::Lines(lines) => segments(lines).any(|s| segment_meets_box(s, extent)),
        // When no edge meets the box, the polygon covers all of it or nothing.
        Shape::Polygons(polygons) => {
            edges(polygons).any(|edge| segment_meets_box(edge, extent)) || covers(polygons, extent.min)
        }
    }
}

/// Whether a shape and prepared polygons have a point in common.
pub(crate) fn shape_meets_region(shape: &Shape, region: &Region) -> bool {
    match shape {
        Shape::Points(points) => points.iter().any(|v| region.covers(*v)),
        Shape::Lines(lines) => lines.iter().any(|line| region.meets_line(line)),
        Shape::Polygons(polygons) => region.meets(polygons),
    }
}
