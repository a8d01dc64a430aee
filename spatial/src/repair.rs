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

#[cfg(test)]
mod tests {
    use super::*;

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
