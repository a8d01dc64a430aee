//! The times at which an expression is evaluated, in ms: a first one, a step, a number of them.

/// No time of a query is farther from 1970 than this: some thirty thousand years, so that no sum of a few overflows.
const FARTHEST_MS: i64 = 1 << 50;

/// Evaluation times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) start: i64,
    /// Above zero, of a single time too: it is how far a plain selector looks back at least.
    pub(super) step: i64,
    /// At least one.
    pub(super) n: usize,
    /// Up to where values are read: what was asked for, at or after the last time.
    pub(super) end: i64,
}

impl Grid {
    /// From a time up to another one that is not before it.
    pub(super) fn new(start: i64, end: i64, step: i64) -> Self {
        let (start, step) = (near(start), near(step).max(1));
        let end = near(end).max(start);
        let n = (end - start) / step + 1;
        Self {
            start,
            step,
            n: usize::try_from(n).unwrap_or(usize::MAX),
            end,
        }
    }
    pub(super) fn times(self) -> impl Iterator<Item = i64> {
        (0..self.n as i64).map(move |i| self.start + self.step * i)
    }
    /// The same, that much later.
    pub(super) fn moved(self, by: i64) -> Self {
        Self {
            start: near(self.start + near(by)),
            end: near(self.end + near(by)),
            ..self
        }
    }
    /// One time of the same step.
    pub(super) fn only(self, at: i64) -> Self {
        Self {
            start: near(at),
            n: 1,
            end: near(at),
            ..self
        }
    }
}

/// Within [`FARTHEST_MS`].
pub(super) fn near(ms: i64) -> i64 {
    ms.clamp(-FARTHEST_MS, FARTHEST_MS)
}
