//! The same questions answered edge by edge in `i128`, by other means than the indexes'.

use onemap_spatial::ground::{Polygon, Vertex};

/// Twice the signed area of a triangle.
pub(crate) fn side(a: Vertex, b: Vertex, p: Vertex) -> i128 {
    let d = |to: i32, from: i32| i128::from(to) - i128::from(from);
    d(b.lon, a.lon) * d(p.lat, a.lat) - d(b.lat, a.lat) * d(p.lon, a.lon)
}

pub(crate) fn on_segment(a: Vertex, b: Vertex, p: Vertex) -> bool {
    side(a, b, p) == 0
        && (a.lon.min(b.lon)..=a.lon.max(b.lon)).contains(&p.lon)
        && (a.lat.min(b.lat)..=a.lat.max(b.lat)).contains(&p.lat)
}

pub(crate) fn edges(polygon: &Polygon) -> impl Iterator<Item = (Vertex, Vertex)> {
    let rings = polygon.rings.iter();
    rings.flat_map(|ring| (0..ring.len()).map(|i| (ring[i], ring[(i + 1) % ring.len()])))
}

/// Inside or on a border: a ray to the north that leans east by less than anything.
pub(crate) fn covers(polygon: &Polygon, p: Vertex) -> bool {
    let mut inside = false;
    for (a, b) in edges(polygon) {
        if on_segment(a, b, p) {
            return true;
        }
        let (west, east) = if a.lon <= b.lon { (a, b) } else { (b, a) };
        if west.lon <= p.lon && p.lon < east.lon && side(west, east, p) < 0 {
            inside = !inside;
        }
    }
    inside
}

/// Whether two closed segments have a point in common.
pub(crate) fn segments_meet(a: Vertex, b: Vertex, c: Vertex, d: Vertex) -> bool {
    if on_segment(a, b, c) || on_segment(a, b, d) || on_segment(c, d, a) || on_segment(c, d, b) {
        return true;
    }
    let apart = |x: i128, y: i128| (x > 0 && y < 0) || (x < 0 && y > 0);
    apart(side(a, b, c), side(a, b, d)) && apart(side(c, d, a), side(c, d, b))
}
