//! Steps of what people found values to be (reviewed, else corrected, else as sent), made of single points.
//!
//! What a review or a correction left without a value is in no step, and counts in none.

use std::collections::HashMap;
use std::time::Duration;

use onemap_model::{Quality, Timestamp, Value};

use super::archive::Archive;
use super::{Span, StoreError};
use crate::history::{Across, Agg, Gathered, Grid, GroupStep, Member, Point, SeriesId, Step, Which};
use crate::reviewed::{Best, Reviewed};

/// A value with its marks as people found it; `None` when it is none. A reviewed value is good whatever its marks were.
pub(super) fn found_of(found: &Reviewed, point: &Point) -> Option<(Value, Quality)> {
    match found.best(point.measured_at, &point.value) {
        Best::Raw => Some((point.value.clone(), point.quality)),
        Best::Corrected(number) => Some((Value::Number(number), point.quality)),
        Best::Reviewed(value, _) => Some((value, Quality::GOOD)),
        Best::Doubted(value, _) => Some((value, point.quality.with(Quality::SUSPECT))),
        Best::Invalid(_) | Best::Implausible(_) => None,
    }
}

impl Archive {
    /// Aggregates a series in steps, as [`Archive::downsample_of`], of what people found its values to be. `which` chooses
    /// by the marks of what was sent.
    ///
    /// # Errors
    /// As [`Archive::downsample_of`].
    pub fn downsample_found(
        &self,
        id: SeriesId,
        (from, to): (Timestamp, Timestamp),
        step: Duration,
        agg: Agg,
        which: Which<'_>,
        found: &Reviewed,
    ) -> Result<Vec<Step>, StoreError> {
        if found.is_empty() {
            return self.downsample_of(id, (from, to), step, agg, which);
        }
        self.knows(&[id], from, which)?;
        let steps = self.counted(id, Span { from, to }, step, agg, which, Some(found))?;
        Ok(steps.into_iter().map(|(step, _)| step).collect())
    }

    /// Aggregates groups of series in steps, as [`Archive::aggregate`], of what people found the values of some of them
    /// to be; the others are as they were sent.
    ///
    /// # Errors
    /// As [`Archive::aggregate`].
    pub fn aggregate_found(
        &self,
        groups: &[Vec<Member>],
        (from, to): (Timestamp, Timestamp),
        step: Duration,
        across: Across,
        which: Which<'_>,
        found: &HashMap<SeriesId, Reviewed>,
    ) -> Result<Vec<Vec<GroupStep>>, StoreError> {
        if found.values().all(Reviewed::is_empty) {
            return self.aggregate(groups, (from, to), step, across, which);
        }
        let (span, grid) = (Span { from, to }, Grid::of(from, to, step)?);
        let mut all = Vec::with_capacity(groups.len());
        for group in groups {
            let ids: Vec<SeriesId> = group.iter().map(|member| member.id).collect();
            self.knows(&ids, from, which)?;
            let mut gathered = vec![Gathered::default(); grid.len()];
            for Member { id, weight } in group {
                let found = found.get(id).filter(|found| !found.is_empty());
                let steps = self.steps_of(*id, span, step, across.each, which, found)?;
                for (gathered, (step, n_numbers)) in gathered.iter_mut().zip(steps) {
                    gathered.add(&step, n_numbers, *weight, across.over);
                }
            }
            let steps = grid.starts().zip(gathered);
            let close = |(start, gathered): (Timestamp, Gathered)| gathered.close(start, across.over);
            all.push(steps.map(close).collect());
        }
        Ok(all)
    }

    /// Steps of one series and how many numbers each has; of what is in the embedded history as it was sent without
    /// looking at each point.
    fn steps_of(
        &self,
        id: SeriesId,
        span: Span,
        step: Duration,
        agg: Agg,
        which: Which<'_>,
        found: Option<&Reviewed>,
    ) -> Result<Vec<(Step, u64)>, StoreError> {
        let is_here = self.before(&[id], span.from)?.is_none() && !self.counts_here(agg, which);
        match found {
            None if is_here => {
                Ok(self
                    .history()
                    .counted_steps(id, (span.from, span.to), step, agg, which)?)
            }
            found => self.counted(id, span, step, agg, which, found),
        }
    }
}
