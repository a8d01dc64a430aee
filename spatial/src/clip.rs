//! Cuts lines and rings to the square of a tile and its margin, in tile units.

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

    /// Where a-b meets the limit; the same for b-a, so neighbours are cut alike.
    fn crossing(self, a: TilePoint, b: TilePoint) -> TilePoint {
        let (a, b) = (a.min(b), a.max(b));
        let other = 1 - self.axis;
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

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
