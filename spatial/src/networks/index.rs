//! Segments of lines by squares of the ground.

use std::collections::HashMap;

/// Squares are so wide, in metres; longer than what is asked for around a place.
const CELL_M: f64 = 50.0;
const METRES_A_DEGREE: f64 = 111_195.08;
/// A straight part that is longer, in metres, is no pipe and no reach: nothing is joined on its way.
const LONGEST_M: f64 = 50_000.0;
/// Steps along all segments; what would go beyond them joins at its ends only.
const N_STEPS: usize = 5_000_000;

/// A straight part of a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) path: u32,
    /// How far along the path it begins.
    pub(super) from_m: f64,
    pub(super) metres: f64,
    /// Longitude and latitude.
    pub(super) ends: [[f64; 2]; 2],
}

/// Metres east and north of a place, as on a plane: for what is a few kilometres away.
fn around(at: [f64; 2], other: [f64; 2]) -> [f64; 2] {
    let east = (other[0] - at[0]) * METRES_A_DEGREE * at[1].to_radians().cos();
    [east, (other[1] - at[1]) * METRES_A_DEGREE]
}

/// Metres between two places that are near one another.
pub(super) fn metres_between(a: [f64; 2], b: [f64; 2]) -> f64 {
    let middle = (a[1] + b[1]) / 2.0;
    let east = (b[0] - a[0]) * METRES_A_DEGREE * middle.to_radians().cos();
    east.hypot((b[1] - a[1]) * METRES_A_DEGREE)
}

impl Segment {
    /// How far a place is from it, and how far along its path the nearest place of it is.
    pub(super) fn nearest(&self, at: [f64; 2]) -> (f64, f64) {
        let [a, b] = self.ends.map(|end| around(at, end));
        let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
        let square = dx * dx + dy * dy;
        let share = match square > 0.0 {
            true => (-(a[0] * dx + a[1] * dy) / square).clamp(0.0, 1.0),
            false => 0.0,
        };
        let metres = (a[0] + share * dx).hypot(a[1] + share * dy);
        (metres, self.from_m + share * self.metres)
    }
}

/// Which segments pass through which square.
#[derive(Debug, Default)]
pub(super) struct Index {
    cells: HashMap<(i32, i32), Vec<u32>>,
    /// Degrees of longitude and latitude of a square.
    width: [f64; 2],
    /// Steps so far.
    n_steps: usize,
}

impl Index {
    pub(super) fn of(segments: &[Segment]) -> Self {
        let furthest = segments.iter().map(|segment| segment.ends[0][1].abs());
        let cosine = furthest.fold(0.0, f64::max).to_radians().cos().max(0.01);
        let mut new = Self {
            cells: HashMap::new(),
            width: [CELL_M / METRES_A_DEGREE / cosine, CELL_M / METRES_A_DEGREE],
            n_steps: 0,
        };
        for (number, segment) in (0..).zip(segments) {
            new.add(number, segment);
        }
        new
    }

    fn cell(&self, at: [f64; 2]) -> (i32, i32) {
        let cell = |axis: usize| (at[axis] / self.width[axis]).floor() as i32;
        (cell(0), cell(1))
    }

    /// Goes along a segment by less than a square's width, and notes the squares of each step's box.
    fn add(&mut self, number: u32, segment: &Segment) {
        let [a, b] = segment.ends;
        let n = ((segment.metres / CELL_M).ceil() as usize).max(1);
        if segment.metres > LONGEST_M || self.n_steps + n > N_STEPS {
            return;
        }
        self.n_steps += n;
        let on = |step: usize| -> [f64; 2] {
            let share = step as f64 / n as f64;
            std::array::from_fn(|axis| a[axis] + (b[axis] - a[axis]) * share)
        };
        for step in 0..n {
            let (from, to) = (self.cell(on(step)), self.cell(on(step + 1)));
            for x in from.0.min(to.0)..=from.0.max(to.0) {
                for y in from.1.min(to.1)..=from.1.max(to.1) {
                    let cell = self.cells.entry((x, y)).or_default();
                    if cell.last() != Some(&number) {
                        cell.push(number);
                    }
                }
            }
        }
    }

    /// Numbers of the segments that may lie within so many metres of a place, at most [`CELL_M`], each once.
    pub(super) fn near(&self, at: [f64; 2], metres: f64) -> Vec<u32> {
        let east = metres / METRES_A_DEGREE / at[1].to_radians().cos().max(0.01);
        let north = metres / METRES_A_DEGREE;
        let (low, high) = (
            self.cell([at[0] - east, at[1] - north]),
            self.cell([at[0] + east, at[1] + north]),
        );
        let mut found = Vec::new();
        for x in low.0..=high.0 {
            for y in low.1..=high.1 {
                found.extend(self.cells.get(&(x, y)).into_iter().flatten());
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}
