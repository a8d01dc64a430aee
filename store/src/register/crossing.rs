//! Whether the rings of an area cross or overlap one another.
//!
//! Exact: positions are taken to a billionth of a degree (0.1 mm) and judged in integers. Segments are sorted into
//! a tree of boxes that is joined with itself, so rings of a city's size cost n log n; what overlaps so much that this
//! does not hold is refused rather than looked at for hours.

use super::geometry::{Coord, Geometry};

/// Units of a degree.
const SCALE: f64 = 1e9;
/// Segments of one leaf.
const N_LEAF: usize = 8;

/// What is wrong with the rings of an area.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Crossing {
    /// Two segments cross.
    #[error("self-crossing: two of its lines cross near {lon:.6}, {lat:.6}")]
    Cross {
        /// Longitude of an end near it.
        lon: f64,
        /// Latitude of an end near it.
        lat: f64,
    },
    /// Two segments lie on one another.
    #[error("self-crossing: two of its lines run over one another near {lon:.6}, {lat:.6}")]
    Overlap {
        /// Longitude of an end of it.
        lon: f64,
        /// Latitude of an end of it.
        lat: f64,
    },
    /// A hole is no part of what it is cut from.
    #[error("a hole lies outside the area that it is cut from, near {lon:.6}, {lat:.6}")]
    HoleOutside {
        /// Longitude of a position of the hole.
        lon: f64,
        /// Latitude of it.
        lat: f64,
    },
    /// A hole is cut from another hole.
    #[error("a hole lies in another hole, near {lon:.6}, {lat:.6}")]
    HoleInHole {
        /// Longitude of a position of the inner one.
        lon: f64,
        /// Latitude of it.
        lat: f64,
    },
    /// Two parts have ground in common.
    #[error("a part lies in another part, near {lon:.6}, {lat:.6}")]
    PartInPart {
        /// Longitude of a position of the inner one.
        lon: f64,
        /// Latitude of it.
        lat: f64,
    },
    /// Nobody can say in time.
    #[error("its lines lie so close and long beside one another that they cannot be judged")]
    Entangled,
}

/// A position as it is judged.
pub(super) fn unit(c: &Coord) -> (i64, i64) {
    ((c.lon * SCALE).round() as i64, (c.lat * SCALE).round() as i64)
}

#[derive(Clone, Copy)]
struct Segment {
    a: (i64, i64),
    b: (i64, i64),
    at: (f64, f64),
}

#[derive(Clone, Copy)]
struct Frame([i64; 4]);

impl Frame {
    fn of(segments: &[Segment]) -> Self {
        let empty = [i64::MAX, i64::MAX, i64::MIN, i64::MIN];
        Self(segments.iter().flat_map(|s| [s.a, s.b]).fold(empty, |f, (x, y)| {
            [f[0].min(x), f[1].min(y), f[2].max(x), f[3].max(y)]
        }))
    }
    fn meets(&self, other: &Self) -> bool {
        self.0[0] <= other.0[2]
            && other.0[0] <= self.0[2]
            && self.0[1] <= other.0[3]
            && other.0[1] <= self.0[3]
    }
}

/// The first crossing or overlap that is found among the segments of all rings; touching in single points is none.
/// Points and lines have none.
pub(crate) fn find_crossing(geometry: &Geometry) -> Option<Crossing> {
    let mut segments = Vec::new();
    let mut ring = |ring: &Vec<Coord>| {
        let sides = ring.windows(2).map(|w| Segment {
            a: unit(&w[0]),
            b: unit(&w[1]),
            at: (w[0].lon, w[0].lat),
        });
        segments.extend(sides.filter(|side| side.a != side.b));
    };
    match geometry {
        Geometry::Polygon(rings) => rings.iter().for_each(&mut ring),
        Geometry::MultiPolygon(polygons) => polygons.iter().flatten().for_each(&mut ring),
        _ => return None,
    }
    let mut budget = 1_000_000 + segments.len().saturating_mul(400);
    within(&mut segments, &mut budget)
}

/// Looks among the segments of one part of the tree, which is sorted as it is walked.
fn within(segments: &mut [Segment], budget: &mut usize) -> Option<Crossing> {
    if segments.len() <= N_LEAF {
        for i in 1..segments.len() {
            let (head, tail) = segments.split_at(i);
            for other in head {
                if let Some(found) = pair(&tail[0], other, budget) {
                    return Some(found);
                }
            }
        }
        return None;
    }
    let Frame([west, south, east, north]) = Frame::of(segments);
    let by_x = east - west >= north - south;
    let middle = segments.len() / 2;
    segments.select_nth_unstable_by_key(middle, |s| if by_x { s.a.0 + s.b.0 } else { s.a.1 + s.b.1 });
    let (left, right) = segments.split_at_mut(middle);
    within(left, budget)
        .or_else(|| within(right, budget))
        .or_else(|| between(left, right, budget))
}

/// Looks between two parts: the larger is halved until both are small.
fn between(left: &[Segment], right: &[Segment], budget: &mut usize) -> Option<Crossing> {
    *budget = match budget.checked_sub(1) {
        Some(rest) => rest,
        None => return Some(Crossing::Entangled),
    };
    let (l, r) = (Frame::of(left), Frame::of(right));
    if left.is_empty() || right.is_empty() || !l.meets(&r) {
        return None;
    }
    // Only what reaches into the other's box can meet it.
    let reaching = |of: &[Segment], frame: &Frame| -> Vec<Segment> {
        of.iter()
            .filter(|s| Frame::of(std::slice::from_ref(s)).meets(frame))
            .copied()
            .collect()
    };
    let (left, right) = (reaching(left, &r), reaching(right, &l));
    if left.len().min(right.len()) <= N_LEAF {
        for s in &left {
            for t in &right {
                if let Some(found) = pair(s, t, budget) {
                    return Some(found);
                }
            }
        }
        return None;
    }
    let (larger, smaller) = if left.len() >= right.len() {
        (left, right)
    } else {
        (right, left)
    };
    let (a, b) = larger.split_at(larger.len() / 2);
    between(a, &smaller, budget).or_else(|| between(b, &smaller, budget))
}

fn pair(s: &Segment, t: &Segment, budget: &mut usize) -> Option<Crossing> {
    *budget = match budget.checked_sub(1) {
        Some(rest) => rest,
        None => return Some(Crossing::Entangled),
    };
    let side = |a: (i64, i64), b: (i64, i64), c: (i64, i64)| {
        let cross =
            i128::from(b.0 - a.0) * i128::from(c.1 - a.1) - i128::from(b.1 - a.1) * i128::from(c.0 - a.0);
        cross.signum()
    };
    let (s_a, s_b) = (side(s.a, s.b, t.a), side(s.a, s.b, t.b));
    let (t_a, t_b) = (side(t.a, t.b, s.a), side(t.a, t.b, s.b));
    let (lon, lat) = s.at;
    if s_a * s_b < 0 && t_a * t_b < 0 {
        return Some(Crossing::Cross { lon, lat });
    }
    if (s_a, s_b) != (0, 0) {
        return None;
    }
    // On one line: they overlap when they have more than a point in common.
    let along = |p: (i64, i64)| if s.a.0 == s.b.0 { p.1 } else { p.0 };
    let span = |x: &Segment| (along(x.a).min(along(x.b)), along(x.a).max(along(x.b)));
    let ((s_from, s_to), (t_from, t_to)) = (span(s), span(t));
    (s_from.max(t_from) < s_to.min(t_to)).then_some(Crossing::Overlap { lon, lat })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn polygon(rings: serde_json::Value) -> Geometry {
        Geometry::from_json(&json!({"type": "Polygon", "coordinates": rings})).unwrap()
    }

    #[test]
    fn crossings_and_overlaps_are_found_and_touches_are_none() {
        let square = json!([[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]);
        for (rings, found) in [
            (json!([square]), false),
            (json!([square, [[1, 1], [2, 1], [2, 2], [1, 1]]]), false),
            // A hole that touches the shell in a point, and a ring that touches itself.
            (json!([square, [[0, 1], [2, 1], [2, 2], [0, 1]]]), false),
            (
                json!([[[0, 0], [2, 2], [4, 0], [4, 4], [2, 2], [0, 4], [0, 0]]]),
                false,
            ),
            (json!([[[0, 0], [4, 4], [4, 0], [0, 4], [0, 0]]]), true),
            (json!([square, [[1, 1], [5, 1], [2, 2], [1, 1]]]), true),
            // A spike, and a hole that shares a side.
            (
                json!([[[0, 0], [4, 0], [4, 4], [4, 9], [4, 4], [0, 4], [0, 0]]]),
                true,
            ),
            (json!([square, [[0, 1], [0, 2], [1, 2], [0, 1]]]), true),
        ] {
            assert_eq!(find_crossing(&polygon(rings.clone())).is_some(), found, "{rings}");
        }
    }

    #[test]
    fn a_ring_of_200_000_positions_is_judged_in_time_and_a_hopeless_one_is_refused() {
        let circle = |n: usize| -> Vec<[f64; 2]> {
            let at = |i: usize| (i % n) as f64 / n as f64 * std::f64::consts::TAU;
            (0..=n)
                .map(|i| [10.0 * at(i).cos(), 10.0 * at(i).sin()])
                .collect()
        };
        let began = std::time::Instant::now();
        assert_eq!(find_crossing(&polygon(json!([circle(200_000)]))), None);
        // A comb of long teeth, each a hair beside the next: every box meets every other.
        let mut comb: Vec<[f64; 2]> = Vec::new();
        for i in 0..50_000 {
            let x = f64::from(i) * 1e-6;
            comb.push([x, if i % 2 == 0 { 0.0 } else { 80.0 }]);
        }
        comb.push([1.0, -1.0]);
        comb.push(comb[0]);
        let _either = find_crossing(&polygon(json!([comb])));
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    }

    proptest! {
        #[test]
        fn the_tree_finds_what_looking_at_every_pair_finds(points in prop::collection::vec((0i32..30, 0i32..30), 3..40)) {
            let mut ring: Vec<[i32; 2]> = points.iter().map(|(x, y)| [*x, *y]).collect();
            ring.push(ring[0]);
            let geometry = polygon(json!([ring]));
            let all: Vec<Segment> = ring.windows(2).filter(|w| w[0] != w[1]).map(|w| {
                let unit = |p: [i32; 2]| (i64::from(p[0]) * 1_000_000_000, i64::from(p[1]) * 1_000_000_000);
                Segment { a: unit(w[0]), b: unit(w[1]), at: (0.0, 0.0) }
            }).collect();
            let mut budget = usize::MAX;
            let slow = (0..all.len()).any(|i| (0..i).any(|j| pair(&all[i], &all[j], &mut budget).is_some()));
            prop_assert_eq!(find_crossing(&geometry).is_some(), slow);
        }
    }
}
