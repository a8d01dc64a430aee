//! Steps made of single points, wherever these come from. It gives what the embedded history gives.

use onemap_model::{Quality, Value};

use crate::history::{Agg, Change, Grid, Held, Numbers, Seen, Step, percentile, value};

/// Counts the points of one series, which come ascending.
pub(crate) struct Counter<'a> {
    grid: &'a Grid,
    agg: Agg,
    held: Vec<Held>,
    changes: Vec<Option<Change>>,
    before: Option<Seen>,
    values: Vec<Option<f64>>,
    /// The step that is being counted, and its numbers.
    step: (usize, Vec<f64>),
}

/// Whether an aggregate looks at the number before its step.
pub(crate) fn looks_back(agg: Agg) -> bool {
    matches!(agg, Agg::Delta | Agg::Increase | Agg::Rate)
}

impl<'a> Counter<'a> {
    /// `before` is the newest number before the first step, where the aggregate looks back.
    pub(crate) fn new(grid: &'a Grid, agg: Agg, before: Option<Seen>) -> Self {
        let n_of = |needed: bool| if needed { grid.len() } else { 0 };
        Self {
            grid,
            agg,
            held: vec![Held::default(); grid.len()],
            changes: vec![None; n_of(looks_back(agg))],
            before,
            values: vec![None; n_of(matches!(agg, Agg::Percentile(_)))],
            step: (0, Vec::new()),
        }
    }

    /// Takes a point that lies in the grid.
    pub(crate) fn see(&mut self, at: i64, seen: &Value, quality: Quality) {
        let i = self.grid.index(at);
        let Some(held) = self.held.get_mut(i) else { return };
        let number = seen.number();
        held.add(
            1,
            u64::from(!quality.judgeable()),
            number.map(Numbers::one).as_ref(),
        );
        let Some(number) = number else { return };
        if let Some(change) = self.changes.get_mut(i) {
            Change::see(change, self.before, (at, number));
            self.before = Some((at, number));
        }
        if let Agg::Percentile(p) = self.agg {
            if i != self.step.0 {
                self.end_step(p);
                self.step.0 = i;
            }
            self.step.1.push(number);
        }
    }

    fn end_step(&mut self, p: f64) {
        if let Some(value) = self.values.get_mut(self.step.0) {
            *value = percentile(&mut self.step.1, p);
        }
        self.step.1.clear();
    }

    /// The steps, and how many numbers each has.
    pub(crate) fn close(mut self) -> Vec<(Step, u64)> {
        if let Agg::Percentile(p) = self.agg {
            self.end_step(p);
        }
        let of = |i: usize, held: &Held| match self.agg {
            Agg::Delta | Agg::Increase | Agg::Rate => {
                self.changes[i].as_ref().and_then(|change| change.value(self.agg))
            }
            Agg::Percentile(_) => self.values[i],
            agg => value(held, agg),
        };
        let steps = self.grid.starts().zip(&self.held).enumerate();
        steps
            .map(|(i, (start, held))| {
                let step = Step {
                    start,
                    value: of(i, held),
                    n: held.n,
                    n_flagged: held.n_flagged,
                };
                (step, held.numbers.as_ref().map_or(0, |numbers| numbers.n))
            })
            .collect()
    }
}
