//! How a series changes from step to step: by how much, and how fast.
//!
//! Pure. A change counts from the last number before the step, however old it is, so that the changes of steps
//! that follow one another add up to the change of all of them, and what was used while a meter was silent
//! stands in the step that tells of it. Where there is no number before, it counts from the step's own first.

use super::point::Agg;

/// A number and when it was measured, ms.
pub(crate) type Seen = (i64, f64);

/// What the numbers of one step say about change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Change {
    base: Seen,
    last: Seen,
    /// Sum of the rises; where a number is smaller than the one before, the counter began again at zero.
    rise: f64,
    /// Numbers that it is made of, the base with them.
    n: u64,
}

impl Change {
    /// Takes a number into a step of which `step` is known so far; `before` is the number before it.
    pub(crate) fn see(step: &mut Option<Self>, before: Option<Seen>, seen: Seen) {
        let change = match step {
            Some(change) => change,
            None => {
                let base = before.unwrap_or(seen);
                *step = Some(Self {
                    base,
                    last: seen,
                    rise: before.map_or(0.0, |before| rise(before.1, seen.1)),
                    n: 1 + u64::from(before.is_some()),
                });
                return;
            }
        };
        change.rise += rise(change.last.1, seen.1);
        change.last = seen;
        change.n += 1;
    }

    /// The change by one of [`Agg::Delta`], [`Agg::Increase`] and [`Agg::Rate`]; one number says nothing about
    /// it.
    pub(crate) fn value(&self, agg: Agg) -> Option<f64> {
        if self.n < 2 {
            return None;
        }
        match agg {
            Agg::Delta => Some(self.last.1 - self.base.1),
            Agg::Increase => Some(self.rise),
            // Two numbers of one series have two times.
            Agg::Rate => Some(self.rise / (self.last.0.abs_diff(self.base.0) as f64 / 1000.0)),
            _ => None,
        }
    }
}

fn rise(before: f64, now: f64) -> f64 {
    if now < before { now } else { now - before }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Delta, increase and rate of numbers a second apart, with what stood before the step.
    fn change(before: Option<Seen>, numbers: &[f64]) -> [Option<f64>; 3] {
        let mut step = None;
        let mut last = before;
        for (i, number) in numbers.iter().enumerate() {
            let seen = (1000 * i as i64, *number);
            Change::see(&mut step, last, seen);
            last = Some(seen);
        }
        [Agg::Delta, Agg::Increase, Agg::Rate].map(|agg| step.and_then(|step: Change| step.value(agg)))
    }

    #[test]
    fn a_change_counts_from_the_number_before_and_a_fall_is_a_counter_that_began_again() {
        let some = |delta, increase, rate| [Some(delta), Some(increase), Some(rate)];
        for (before, numbers, want) in [
            (None, &[][..], [None; 3]),
            (Some((-1000, 5.0)), &[], [None; 3]),
            // One number says nothing about change; the same one again says that there was none.
            (None, &[5.0], [None; 3]),
            (None, &[5.0, 5.0], some(0.0, 0.0, 0.0)),
            (None, &[5.0, 7.0, 11.0], some(6.0, 6.0, 3.0)),
            (Some((-1000, 4.0)), &[5.0], some(1.0, 1.0, 1.0)),
            // Silent for nine seconds: all of it is told now, at the rate of those nine seconds.
            (Some((-9000, 1.0)), &[10.0], some(9.0, 9.0, 1.0)),
            (Some((-1000, 4.0)), &[5.0, 7.0, 11.0], some(7.0, 7.0, 7.0 / 3.0)),
            // Reset inside, at the border, and to something above zero.
            (Some((-1000, 98.0)), &[100.0, 3.0, 4.0], some(-94.0, 6.0, 2.0)),
            (Some((-1000, 98.0)), &[2.0], some(-96.0, 2.0, 2.0)),
            (Some((-2000, 0.0)), &[0.0], some(0.0, 0.0, 0.0)),
            (None, &[-5.0, -7.0], some(-2.0, -7.0, -7.0)),
        ] {
            assert_eq!(change(before, numbers), want, "{before:?} {numbers:?}");
        }
    }
}
