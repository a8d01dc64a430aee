//! Makes polygons valid after they were rounded to tile units and cut.

use i_overlay::core::fill_rule::FillRule;
use i_overlay::core::overlay::{IntOverlayOptions, Overlay};
use i_overlay::i_float::int::point::IntPoint;

use crate::clip::TilePoint;

/// A valid polygon in tile units: outer ring with positive area by the surveyor's formula (clockwise
/// on the screen, as vector tiles want it), holes with negative area.
pub(crate) type TilePolygon = Vec<Vec<TilePoint>>;

/// Turns rings into valid polygons: what winds around a point at least once is inside.
///
/// Rings come with outer ones of positive area and holes of negative area. Spikes, crossings, rings
/// that touch themselves and rings of no area disappear or are taken apart.
pub(crate) fn repair(rings: &[Vec<TilePoint>]) -> Vec<TilePolygon> {
    if let [ring] = rings
        && is_valid(ring)
    {
        return vec![vec![ring.clone()]];
    }
    let contours: Vec<Vec<IntPoint>> = rings
        .iter()
        .filter(|ring| ring.len() > 2)
        .map(|ring| ring.iter().map(|[x, y]| IntPoint::new(*x, *y)).collect())
        .collect();
    if contours.is_empty() {
        return Vec::new();
    }
    let n_points = contours.iter().map(Vec::len).sum();
    let mut overlay = Overlay::new_custom(n_points, IntOverlayOptions::ogc(), Default::default());
    let shapes = match overlay.simplify_shape(&contours, FillRule::Positive) {
        Some(shapes) => shapes,
        None => vec![contours],
    };
    shapes
        .into_iter()
        .map(|shape| {
            let ring = |contour: Vec<IntPoint>| contour.into_iter().map(|p| [p.x, p.y]).collect();
            shape.into_iter().map(ring).collect()
        })
        .collect()
}

/// Edges of a ring up to which each is compared with each.
const N_MOST_COMPARED: usize = 64;

/// Whether a ring is a valid polygon as it is: of positive area, and no two edges meet but in the vertex that they
/// share. `false` also for rings of so many edges that the repair finds it out sooner.
pub(crate) fn is_valid(ring: &[TilePoint]) -> bool {
    let n = ring.len();
    if !(3..=N_MOST_COMPARED).contains(&n) {
        return false;
    }
    let next = |i: usize| if i + 1 == n { 0 } else { i + 1 };
    let mut doubled = 0;
    for i in 0..n {
        let (a, b, c) = (ring[i], ring[next(i)], ring[next(next(i))]);
        doubled += i64::from(a[0]) * i64::from(b[1]) - i64::from(b[0]) * i64::from(a[1]);
        // Two edges of one line that part from the same vertex.
        if side(a, b, c) == 0 && along(b, a, c) >= 0 {
            return false;
        }
    }
    if doubled <= 0 {
        return false;
    }
    for i in 0..n - 2 {
        let last = if i == 0 { n - 1 } else { n };
        for j in i + 2..last {
            if do_meet(ring[i], ring[i + 1], ring[j], ring[next(j)]) {
                return false;
            }
        }
    }
    true
}

/// Whether no edge of one ring meets an edge of the other.
pub(crate) fn are_apart(one: &[TilePoint], other: &[TilePoint]) -> bool {
    closed(one).all(|(a, b)| closed(other).all(|(c, d)| !do_meet(a, b, c, d)))
}

/// The edges of a ring.
fn closed(ring: &[TilePoint]) -> impl Iterator<Item = (TilePoint, TilePoint)> {
    let ends = ring.iter().copied().cycle().skip(1);
    ring.iter().copied().zip(ends)
}

/// Whether the segments a-b and c-d have a point in common.
#[inline]
fn do_meet(a: TilePoint, b: TilePoint, c: TilePoint, d: TilePoint) -> bool {
    let apart = (c[0].max(d[0]) < a[0].min(b[0]))
        | (c[0].min(d[0]) > a[0].max(b[0]))
        | (c[1].max(d[1]) < a[1].min(b[1]))
        | (c[1].min(d[1]) > a[1].max(b[1]));
    // Boxes that meet, and neither segment wholly on one side of the other.
    !apart
        && side(a, b, c).signum() * side(a, b, d).signum() <= 0
        && side(c, d, a).signum() * side(c, d, b).signum() <= 0
}

/// Of a vertex b on the line of a and c: below zero when it lies between them.
fn along(b: TilePoint, a: TilePoint, c: TilePoint) -> i64 {
    let d =
        |axis: usize| (i64::from(a[axis]) - i64::from(b[axis])) * (i64::from(c[axis]) - i64::from(b[axis]));
    d(0) + d(1)
}

/// On which side of a-b the point lies; 0 on its line.
fn side(a: TilePoint, b: TilePoint, p: TilePoint) -> i64 {
    let d = |to: i32, from: i32| i64::from(to) - i64::from(from);
    d(b[0], a[0]) * d(p[1], a[1]) - d(b[1], a[1]) * d(p[0], a[0])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What counts as valid is left as it is by the repair that knows all cases, but for vertices on straight edges.
        #[test]
        fn a_valid_ring_needs_no_repair(ring in prop::collection::vec([0..12i32, 0..12i32], 3..9)) {
            let valid = is_valid(&ring);
            let repaired = repair(&[ring.clone(), Vec::new()]);
            let straight = |a: TilePoint, b: TilePoint, c: TilePoint| side(a, b, c) == 0;
            let corners = |ring: &[TilePoint]| -> Vec<TilePoint> {
                let n = ring.len();
                let corner = |i: &usize| !straight(ring[(i + n - 1) % n], ring[*i], ring[(i + 1) % n]);
                let mut corners: Vec<TilePoint> = (0..n).filter(corner).map(|i| ring[i]).collect();
                corners.sort_unstable();
                corners
            };
            if valid {
                prop_assert_eq!(repaired.len(), 1);
                prop_assert_eq!(repaired[0].len(), 1);
                prop_assert_eq!(corners(&repaired[0][0]), corners(&ring));
                prop_assert_eq!(doubled_area(&repaired[0][0]), doubled_area(&ring));
            }
        }
    }

    #[test]
    fn what_touches_itself_is_not_valid() {
        let square = [[0, 0], [10, 0], [10, 10], [0, 10]];
        assert!(is_valid(&square));
        assert!(
            is_valid(&[[0, 0], [5, 0], [10, 0], [10, 10]]),
            "a vertex on a straight edge"
        );
        let mut reversed = square;
        reversed.reverse();
        for ring in [
            &reversed[..],
            &[[0, 0], [10, 0]],
            &[[0, 0], [10, 0], [5, 0]],
            // A spike, a bow tie, a vertex on another edge, a vertex that comes twice.
            &[[0, 0], [10, 0], [10, 10], [14, 14], [10, 10], [0, 10]],
            &[[0, 0], [10, 10], [10, 0], [0, 11]],
            &[[0, 0], [10, 0], [5, 0], [5, 10], [0, 10]],
            &[
                [0, 0],
                [10, 0],
                [10, 10],
                [5, 5],
                [5, 20],
                [0, 20],
                [0, 10],
                [5, 5],
                [0, 5],
            ],
            &[[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]],
        ] {
            assert!(!is_valid(ring), "{ring:?}");
        }
    }

    fn doubled_area(ring: &[TilePoint]) -> i64 {
        ring.iter()
            .zip(ring.iter().cycle().skip(1))
            .map(|(a, b)| i64::from(a[0]) * i64::from(b[1]) - i64::from(b[0]) * i64::from(a[1]))
            .sum()
    }

    #[test]
    fn a_polygon_pinched_in_the_middle_becomes_two() {
        let ring = vec![
            [0, 0],
            [10, 0],
            [10, 10],
            [5, 5],
            [5, 20],
            [0, 20],
            [0, 10],
            [5, 5],
            [0, 5],
        ];
        let polygons = repair(std::slice::from_ref(&ring));
        assert!(polygons.iter().all(|p| p.iter().all(|r| {
            let mut points = r.clone();
            points.sort_unstable();
            points.dedup();
            points.len() == r.len()
        })));
        let total: i64 = polygons.iter().flatten().map(|r| doubled_area(r)).sum();
        assert_eq!(total, doubled_area(&ring));
    }

    #[test]
    fn holes_stay_holes_and_spikes_go() {
        let outer = vec![[0, 0], [100, 0], [100, 100], [140, 100], [100, 100], [0, 100]];
        let hole = vec![[20, 20], [20, 40], [40, 40], [40, 20]];
        let polygons = repair(&[outer, hole]);
        assert_eq!(polygons.len(), 1);
        assert_eq!(
            polygons[0].iter().map(|r| doubled_area(r)).collect::<Vec<_>>(),
            [20_000, -800]
        );
        assert!(repair(&[vec![[0, 0], [5, 5], [9, 9]]]).is_empty());
        assert!(repair(&[]).is_empty());
    }
}
