//! Cuts lines and rings to the square of a tile and its margin, in tile units.

use smallvec::SmallVec;

use crate::repair::{are_apart, is_valid};

/// Tile coordinates: 0 to 4096 inside the tile, `y` southwards.
pub(crate) type TilePoint = [i32; 2];

/// One border of the square: the axis it limits, where, and whether smaller values are inside.
#[derive(Clone, Copy)]
struct Limit {
    axis: usize,
    at: i32,
    below: bool,
}

impl Limit {
    fn holds(self, p: TilePoint) -> bool {
        if self.below {
            p[self.axis] <= self.at
        } else {
            p[self.axis] >= self.at
        }
    }

    /// Where a-b meets the limit, on the line between both; the same for b-a, so neighbours are cut alike.
    fn crossing(self, a: TilePoint, b: TilePoint) -> TilePoint {
        let other = 1 - self.axis;
        // From the smaller value on: a quotient of two negatives is rounded up when it is whole and a half.
        let (a, b) = match a[self.axis] < b[self.axis] {
            true => (a, b),
            false => (b, a),
        };
        let along = i64::from(self.at) - i64::from(a[self.axis]);
        let whole = i64::from(b[self.axis]) - i64::from(a[self.axis]);
        let across = i64::from(b[other]) - i64::from(a[other]);
        let mut p = [0; 2];
        p[self.axis] = self.at;
        // 2 * along * across stays below 2^62: tile coordinates have at most 29 bits.
        p[other] = (i64::from(a[other]) + (2 * along * across + whole).div_euclid(2 * whole)) as i32;
        p
    }
}

fn limits(low: i32, high: i32) -> [Limit; 4] {
    let limit = |axis, at, below| Limit { axis, at, below };
    [
        limit(0, low, false),
        limit(0, high, true),
        limit(1, low, false),
        limit(1, high, true),
    ]
}

/// Cuts a ring (not closed) to the square; parts of a ring that leaves and returns stay joined along
/// the square's border, which the repair afterwards takes apart. Empty when nothing is left.
pub(crate) fn clip_ring(mut ring: Vec<TilePoint>, low: i32, high: i32) -> Vec<TilePoint> {
    for limit in limits(low, high) {
        if ring.iter().all(|p| limit.holds(*p)) {
            continue;
        }
        let mut kept = Vec::with_capacity(ring.len() + 4);
        for (a, b) in ring.iter().zip(ring.iter().cycle().skip(1)) {
            if limit.holds(*a) {
                kept.push(*a);
            }
            if limit.holds(*a) != limit.holds(*b) {
                kept.push(limit.crossing(*a, *b));
            }
        }
        ring = kept;
    }
    ring
}

/// Cuts a line to the square; each part has at least two different points.
pub(crate) fn clip_line(line: Vec<TilePoint>, low: i32, high: i32) -> Vec<Vec<TilePoint>> {
    let mut parts = vec![line];
    for limit in limits(low, high) {
        let mut kept = Vec::new();
        for part in parts {
            if part.iter().all(|p| limit.holds(*p)) {
                kept.push(part);
                continue;
            }
            let mut run: Vec<TilePoint> = Vec::new();
            for pair in part.windows(2) {
                let (a, b) = (pair[0], pair[1]);
                if limit.holds(a) {
                    run.push(a);
                }
                if limit.holds(a) != limit.holds(b) {
                    run.push(limit.crossing(a, b));
                    if limit.holds(a) {
                        kept.push(std::mem::take(&mut run));
                    }
                }
            }
            run.extend(part.last().filter(|p| limit.holds(**p)));
            kept.push(run);
        }
        parts = kept;
    }
    for part in &mut parts {
        part.dedup();
    }
    parts.retain(|part| part.len() > 1);
    parts
}

/// A part of a ring inside the square, between two points of its border.
#[derive(Clone, Copy)]
struct Run {
    from: usize,
    to: usize,
}

/// Cuts a valid ring, of which a vertex lies outside, to the square by walking along both: valid rings that are apart.
/// `false` where that does not tell, and `rings` then says nothing: none of its edges lies inside, or rounding brought
/// points together.
pub(crate) fn cut_valid_ring(
    ring: &[TilePoint],
    low: i32,
    high: i32,
    rings: &mut Vec<Vec<TilePoint>>,
) -> bool {
    rings.clear();
    let is_inside = |p: TilePoint| p.iter().all(|v| (low..=high).contains(v));
    let Some(first) = ring.iter().position(|p| !is_inside(*p)) else {
        return false;
    };
    let limits = limits(low, high);
    let entered = |from: TilePoint, to: TilePoint| {
        let cut = |p: TilePoint, limit: &Limit| match limit.holds(p) {
            true => p,
            false => limit.crossing(p, to),
        };
        limits.iter().fold(from, cut)
    };
    let mut points: Vec<TilePoint> = Vec::with_capacity(ring.len() + 8);
    let mut runs: SmallVec<[Run; 8]> = SmallVec::new();
    let mut from = 0;
    let edges = ring[first..].iter().chain(&ring[..first]).copied();
    let ends = ring[first..].iter().chain(&ring[..=first]).copied().skip(1);
    for (a, b) in edges.zip(ends) {
        match (is_inside(a), is_inside(b)) {
            (true, true) => points.push(b),
            (false, true) => {
                from = points.len();
                points.extend([entered(a, b), b]);
            }
            (true, false) => points.push(entered(b, a)),
            (false, false) => match through(&limits, a, b) {
                Some([p, q]) => {
                    from = points.len();
                    points.extend([p, q]);
                }
                None => continue,
            },
        }
        if !is_inside(b) {
            // A point may have come to lie on the border, where it was cut.
            let mut end = from + 1;
            for i in from + 1..points.len() {
                if points[i] != points[end - 1] {
                    points[end] = points[i];
                    end += 1;
                }
            }
            points.truncate(end);
            match end - from {
                1 => points.truncate(from),
                _ => runs.push(Run { from, to: end }),
            }
        }
    }
    join(&points, &runs, low, high, rings)
        && rings.iter().all(|ring| is_valid(ring))
        && (1..rings.len()).all(|i| rings[..i].iter().all(|other| are_apart(other, &rings[i])))
}

/// The part of an edge inside the square, both of whose ends lie outside.
fn through(limits: &[Limit; 4], a: TilePoint, b: TilePoint) -> Option<[TilePoint; 2]> {
    let (mut p, mut q) = (a, b);
    for limit in limits {
        match (limit.holds(p), limit.holds(q)) {
            (true, true) => {}
            (false, false) => return None,
            (true, false) => q = limit.crossing(p, q),
            (false, true) => p = limit.crossing(p, q),
        }
    }
    Some([p, q])
}

/// Joins parts of a ring along the square's border to rings. Both have what they hold on the same side, so a part that
/// left the square goes on along the border to where the next one comes in. `false` where two points of the border are
/// one.
fn join(points: &[TilePoint], runs: &[Run], low: i32, high: i32, rings: &mut Vec<Vec<TilePoint>>) -> bool {
    let side = high - low;
    let along = |[x, y]: TilePoint| match () {
        () if y == low => x - low,
        () if x == high => side + y - low,
        () if y == high => 2 * side + high - x,
        () => 3 * side + high - y,
    };
    // Where on the border, whether in or out, which run.
    let mut marks: SmallVec<[(i32, bool, usize); 16]> = SmallVec::new();
    for (i, run) in runs.iter().enumerate() {
        marks.push((along(points[run.from]), true, i));
        marks.push((along(points[run.to - 1]), false, i));
    }
    marks.sort_unstable();
    let n = marks.len();
    let next = |i: usize| if i + 1 == n { 0 } else { i + 1 };
    let alternate = |i: usize| marks[i].0 != marks[next(i)].0 && marks[i].1 != marks[next(i)].1;
    if n == 0 || !(0..n).all(alternate) {
        return false;
    }
    let mut is_done: SmallVec<[bool; 8]> = SmallVec::from_elem(false, runs.len());
    let corners = [[low, low], [high, low], [high, high], [low, high]];
    for first in 0..runs.len() {
        let mut ring = Vec::new();
        let mut at = first;
        while !is_done[at] {
            is_done[at] = true;
            ring.extend_from_slice(&points[runs[at].from..runs[at].to]);
            let Some(out) = marks.iter().position(|mark| !mark.1 && mark.2 == at) else {
                return false;
            };
            let (from, (to, _, following)) = (marks[out].0, marks[next(out)]);
            let to = if to > from { to } else { to + 4 * side };
            let between = (from / side + 1..).take_while(|corner| corner * side < to);
            ring.extend(between.map(|corner| corners[corner as usize % 4]));
            at = following;
        }
        if !ring.is_empty() {
            rings.push(ring);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::repair::repair;

    fn doubled_area(rings: &[Vec<TilePoint>]) -> i64 {
        let edges = rings
            .iter()
            .flat_map(|ring| ring.iter().zip(ring.iter().cycle().skip(1)));
        edges
            .map(|(a, b)| i64::from(a[0]) * i64::from(b[1]) - i64::from(b[0]) * i64::from(a[1]))
            .sum()
    }

    #[test]
    fn a_ring_that_comes_back_is_cut_into_parts_that_are_apart() {
        // A comb whose teeth reach over the border.
        let comb = [
            [10, 10],
            [150, 10],
            [150, 20],
            [20, 20],
            [20, 30],
            [150, 30],
            [150, 40],
            [10, 40],
        ];
        let mut rings = Vec::new();
        assert!(cut_valid_ring(&comb, 0, 100, &mut rings));
        assert_eq!(rings.len(), 1);
        assert_eq!(doubled_area(&rings), 2 * (90 * 10 * 2 + 10 * 10));
        // The same from outside: only the teeth come in.
        let teeth: Vec<TilePoint> = comb.iter().map(|[x, y]| [160 - x, *y]).rev().collect();
        assert!(cut_valid_ring(&teeth, 0, 100, &mut rings));
        assert_eq!((rings.len(), doubled_area(&rings)), (2, 2 * (2 * 90 * 10)));
        // An edge that meets the square in its corner only, as rounding goes.
        let corner = [[174, 21], [92, 123], [136, -4]];
        assert!(!cut_valid_ring(&corner, 0, 100, &mut rings));
        // A corner that is cut off, by an edge without an end inside.
        let slope = [[-50, 60], [60, -50], [300, 300]];
        assert!(cut_valid_ring(&slope, 0, 100, &mut rings));
        assert_eq!(rings.len(), 1);
        assert!(rings[0].contains(&[100, 100]) && rings[0].contains(&[0, 10]) && !rings[0].contains(&[0, 0]));
        // All of the square, and nothing of it.
        assert!(!cut_valid_ring(
            &[[-9, -9], [200, -9], [200, 200], [-9, 200]],
            0,
            100,
            &mut rings
        ));
        assert!(!cut_valid_ring(
            &[[101, 0], [200, 0], [200, 9]],
            0,
            100,
            &mut rings
        ));
    }

    proptest! {
        /// What walking finds has the area and the validity of what the general way finds.
        #[test]
        fn walking_cuts_as_clipping_and_repairing_does(
            far in prop::collection::vec(0.2..1.0f64, 3..28),
            [x, y] in [-60..160i32, -60..160i32],
            size in 10.0..140.0f64,
        ) {
            let n = far.len() as f64;
            let corner = |(i, far): (usize, &f64)| {
                let angle = std::f64::consts::TAU * i as f64 / n;
                [x + (size * far * angle.cos()) as i32, y + (size * far * angle.sin()) as i32]
            };
            let mut star: Vec<TilePoint> = far.iter().enumerate().map(corner).collect();
            star.dedup();
            prop_assume!(is_valid(&star));
            let mut rings = Vec::new();
            if cut_valid_ring(&star, 0, 100, &mut rings) {
                let clipped = repair(&[clip_ring(star.clone(), 0, 100)]);
                let general: i64 = clipped.iter().map(|polygon| doubled_area(polygon)).sum();
                prop_assert_eq!(doubled_area(&rings), general, "{:?}", star);
                prop_assert!(rings.iter().all(|ring| is_valid(ring)));
                prop_assert!(rings.iter().flatten().flatten().all(|v| (0..=100).contains(v)));
            }
        }
    }

    #[test]
    fn a_line_that_leaves_and_returns_comes_in_two_parts() {
        let line = vec![[0, 0], [50, 0], [50, 300], [20, 300], [20, 10]];
        assert_eq!(
            clip_line(line, -10, 100),
            [vec![[0, 0], [50, 0], [50, 100]], vec![[20, 100], [20, 10]]]
        );
        assert_eq!(
            clip_line(vec![[200, 0], [300, 50]], -10, 100),
            Vec::<Vec<TilePoint>>::new()
        );
        assert_eq!(
            clip_line(vec![[-50, 50], [150, 50]], 0, 100),
            [vec![[0, 50], [100, 50]]]
        );
    }

    #[test]
    fn a_ring_around_the_square_becomes_the_square() {
        let mut ring = clip_ring(vec![[-500, -500], [900, -500], [900, 900], [-500, 900]], 0, 100);
        ring.sort_unstable();
        assert_eq!(ring, [[0, 0], [0, 100], [100, 0], [100, 100]]);
        assert!(clip_ring(vec![[200, 0], [300, 0], [300, 9]], 0, 100).is_empty());
    }

    #[test]
    fn an_edge_is_cut_at_the_same_place_in_both_directions() {
        let limit = limits(-64, 4160)[1];
        for (a, b) in [
            ([4000, 17], [4811, 3001]),
            ([-7, 90], [4161, -333]),
            ([4100, 5], [4170, 6]),
        ] {
            assert_eq!(limit.crossing(a, b), limit.crossing(b, a));
        }
        // An end that lies on the limit is where it is cut, downwards too.
        assert_eq!(limits(0, 100)[3].crossing([92, 123], [100, 100]), [100, 100]);
    }
}
