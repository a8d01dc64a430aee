//! Every value that was kept, wherever it is: the embedded span, and before it the remote engine.
//!
//! An answer is whole or an error that says what is missing; it is never silently short.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use onemap_model::Timestamp;
use onemap_model::time::YEAR_2000;

use super::count::{Counter, looks_back};
use super::embedded::newest;
use super::found::found_of;
use super::{Health, ReadingStore, Span, StoreError, Weighed};
use crate::history::{
    Across, Agg, Gathered, Grid, GroupStep, History, KeptSince, Member, Point, Seen, SeriesId, SeriesInfo,
    Step, Version, Which,
};
use crate::reviewed::Reviewed;

const DAY_MS: i64 = 86_400_000;
/// What no engine but the embedded one can.
const LIST_REPLACED: &str = "list the values that were replaced (revisions)";

/// What stands behind the embedded span.
pub trait Elder: Send + Sync {
    /// The engine.
    fn store(&self) -> &dyn ReadingStore;
    /// The first time that the embedded history is asked for, if it has it; the engine answers before it. `None`
    /// when the engine was not given all older readings, and so is never asked.
    fn floor(&self) -> Option<Timestamp>;
    /// Whether the engine has all points before a time.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while some of them are still on their way.
    fn has_all_before(&self, at: Timestamp) -> Result<(), StoreError>;
}

/// The one way to read values.
#[derive(Clone)]
pub struct Archive {
    history: Arc<History>,
    elder: Arc<OnceLock<Arc<dyn Elder>>>,
}

impl Archive {
    /// Over the embedded history alone.
    pub fn new(history: Arc<History>) -> Self {
        Self {
            history,
            elder: Arc::default(),
        }
    }

    /// The embedded span.
    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// From now on with an engine behind it; later calls change nothing.
    pub fn set_elder(&self, elder: Arc<dyn Elder>) {
        // A second engine is never configured.
        let _ = self.elder.set(elder);
    }

    /// The engine, when it may be asked, and the first time that the embedded history answers for these series:
    /// what that has let go is the engine's to answer, too.
    fn border(&self, ids: &[SeriesId]) -> Option<(&dyn Elder, Timestamp)> {
        let elder = self.elder.get()?;
        let floor = elder.floor()?;
        let kept = ids.iter().filter_map(|id| self.history.kept_from(*id));
        let kept = kept.map(|kept| kept.values).max();
        Some((elder.as_ref(), kept.map_or(floor, |kept| kept.max(floor))))
    }

    /// The engine, when part of a span is its to answer and it has all of it; the time from which the embedded
    /// history answers.
    pub(super) fn before(
        &self,
        ids: &[SeriesId],
        from: Timestamp,
    ) -> Result<Option<(&dyn ReadingStore, Timestamp)>, StoreError> {
        let Some((elder, border)) = self.border(ids).filter(|(_, border)| from < *border) else {
            return Ok(None);
        };
        elder.has_all_before(border)?;
        Ok(Some((elder.store(), border)))
    }

    /// From when on answers about a series have all that was kept: of the embedded history alone since its floor;
    /// with an engine behind it for as long as that keeps them, told by whole days. `None` when nothing is gone.
    pub fn kept_from(&self, id: SeriesId, now: Timestamp) -> Option<KeptSince> {
        let Some((elder, border)) = self.border(&[id]) else {
            return self.history.kept_from(id);
        };
        let oldest = elder.store().caps().oldest.filter(|_| border.ms() > i64::MIN)?;
        let day = now
            .saturating_sub(oldest)
            .ms()
            .div_euclid(DAY_MS)
            .saturating_add(1);
        let values = Timestamp::from_ms(day.saturating_mul(DAY_MS)).min(border);
        Some(KeptSince {
            values,
            rollups: Some(values),
        })
    }

    /// The first time at which a series may have a value: its oldest here, unless an engine has what was let go.
    pub fn first(&self, info: &SeriesInfo) -> Timestamp {
        let lent = self.border(&[info.id]).and(self.history.kept_from(info.id));
        lent.map_or(info.first, |_| Timestamp::from_ms(i64::MIN))
    }

    /// The latest [`Archive::kept_from`] of several series.
    pub fn all_kept_from(
        &self,
        ids: impl IntoIterator<Item = SeriesId>,
        now: Timestamp,
    ) -> Option<KeptSince> {
        let kept = ids.into_iter().filter_map(|id| self.kept_from(id, now));
        kept.reduce(|a, b| KeptSince {
            values: a.values.max(b.values),
            rollups: a.rollups.max(b.rollups),
        })
    }

    /// Passes the shown values of a series to `take`, as [`History::scan`].
    ///
    /// # Errors
    /// When either cannot answer in full.
    pub fn scan(
        &self,
        id: SeriesId,
        from: Timestamp,
        to: Timestamp,
        take: &mut dyn FnMut(Point) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.scan_of(id, from, to, Which::default(), take)
    }

    /// Passes the values that `which` takes to `take`, as [`History::scan_of`].
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] for what was known at a time before the embedded span; else as
    /// [`Archive::scan`].
    pub fn scan_of(
        &self,
        id: SeriesId,
        from: Timestamp,
        to: Timestamp,
        which: Which<'_>,
        take: &mut dyn FnMut(Point) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.knows(&[id], from, which)?;
        let mut from = from;
        if let (Some((store, floor)), Some(key)) = (self.before(&[id], from)?, self.history.series_key(id)) {
            let (old, new) = Span { from, to }.split(floor);
            let mut goes_on = ControlFlow::Continue(());
            store.scan(&[key], old, &mut |_, points| {
                let mut taken = points
                    .iter()
                    .filter(|point| which.takes.is_none_or(|takes| takes(point.quality)));
                goes_on = taken.try_for_each(|point| take(point.clone()));
                goes_on
            })?;
            if goes_on.is_break() {
                return Ok(());
            }
            from = new.from;
        }
        Ok(self.history.scan_of(id, from, to, which, take)?)
    }

    /// Every value ever given, as [`History::scan_versions`].
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] for times before the embedded span.
    pub fn scan_versions(
        &self,
        id: SeriesId,
        from: Timestamp,
        to: Timestamp,
        which: Which<'_>,
        take: &mut dyn FnMut(Version) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.only_embedded(&[id], from, LIST_REPLACED)?;
        Ok(self.history.scan_versions(id, from, to, which, take)?)
    }

    /// Values with when they were received, as [`History::scan_whole`].
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] for times before the embedded span.
    pub fn scan_whole(
        &self,
        id: SeriesId,
        from: Timestamp,
        to: Timestamp,
        which: Which<'_>,
        take: &mut dyn FnMut(Version) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.only_embedded(&[id], from, "say when a value was received")?;
        Ok(self.history.scan_whole(id, from, to, which, take)?)
    }

    /// Whether single values from a time on can be answered, asked before the first of them is given. Does
    /// nothing where the embedded history answers.
    ///
    /// # Errors
    /// As [`Archive::scan_of`] and, for `versions`, [`Archive::scan_versions`].
    pub fn check(
        &self,
        ids: &[SeriesId],
        from: Timestamp,
        known_at: Option<Timestamp>,
        versions: bool,
    ) -> Result<(), StoreError> {
        let which = Which {
            known_at,
            takes: None,
        };
        self.knows(ids, from, which)?;
        if versions {
            self.only_embedded(ids, from, LIST_REPLACED)?;
        }
        match self.before(ids, from)?.map(|(store, _)| store.health()) {
            Some(Health::Down(why)) => Err(StoreError::Unavailable { why }),
            _ => Ok(()),
        }
    }

    pub(super) fn knows(
        &self,
        ids: &[SeriesId],
        from: Timestamp,
        which: Which<'_>,
    ) -> Result<(), StoreError> {
        match which.known_at {
            Some(_) => self.only_embedded(ids, from, "say what was known at an earlier time (known_at)"),
            None => Ok(()),
        }
    }

    fn only_embedded(&self, ids: &[SeriesId], from: Timestamp, what: &str) -> Result<(), StoreError> {
        let Some((elder, border)) = self.border(ids).filter(|(_, border)| from < *border) else {
            return Ok(());
        };
        Err(StoreError::Unsupported {
            engine: elder.store().caps().engine,
            what: format!(
                "{what} before {border}, and the question goes back to {}: the embedded history can answer it from \
                 there on, so say from={border} or later",
                match from.ms() {
                    i64::MIN => "the beginning because it says no from=".to_owned(),
                    _ => from.to_string(),
                }
            ),
        })
    }

    /// Aggregates a series in steps, as [`History::downsample_of`].
    ///
    /// # Errors
    /// As [`Archive::scan_of`]; [`crate::history::HistoryError::Steps`] for too many steps.
    pub fn downsample_of(
        &self,
        id: SeriesId,
        (from, to): (Timestamp, Timestamp),
        step: Duration,
        agg: Agg,
        which: Which<'_>,
    ) -> Result<Vec<Step>, StoreError> {
        self.knows(&[id], from, which)?;
        let span = Span { from, to };
        if self.counts_here(agg, which) {
            return Ok(only_steps(self.counted(id, span, step, agg, which, None)?));
        }
        let (Some((store, floor)), Some(key)) = (self.before(&[id], from)?, self.history.series_key(id))
        else {
            return Ok(self.history.downsample_of(id, (from, to), step, agg, which)?);
        };
        Grid::of(from, to, step)?;
        let border = Border::of(span, floor, step);
        let mut steps = store
            .downsample(&[key], border.old, step, agg, which.takes)?
            .pop()
            .unwrap_or_default();
        if let Some(both) = border.both {
            steps.extend(only_steps(self.counted(id, both, step, agg, which, None)?));
        }
        if !border.new.is_empty() {
            let span = (border.new.from, border.new.to);
            steps.extend(self.history.downsample_of(id, span, step, agg, which)?);
        }
        Ok(steps)
    }

    /// Aggregates groups of series in steps, as [`History::aggregate`].
    ///
    /// # Errors
    /// As [`Archive::downsample_of`].
    pub fn aggregate(
        &self,
        groups: &[Vec<Member>],
        (from, to): (Timestamp, Timestamp),
        step: Duration,
        across: Across,
        which: Which<'_>,
    ) -> Result<Vec<Vec<GroupStep>>, StoreError> {
        let ids: Vec<SeriesId> = groups.iter().flatten().map(|member| member.id).collect();
        self.knows(&ids, from, which)?;
        let span = Span { from, to };
        if self.counts_here(across.each, which) {
            let each = |group: &Vec<Member>| self.gathered(group, span, step, across, which);
            return groups.iter().map(each).collect();
        }
        let Some((store, floor)) = self.before(&ids, from)? else {
            return Ok(self.history.aggregate(groups, (from, to), step, across, which)?);
        };
        Grid::of(from, to, step)?;
        let border = Border::of(span, floor, step);
        let weighed = |member: &Member| Some((self.history.series_key(member.id)?, member.weight));
        let named: Vec<Vec<Weighed>> = groups
            .iter()
            .map(|group| group.iter().filter_map(weighed).collect())
            .collect();
        let mut all = store.aggregate(&named, border.old, step, across, which.takes)?;
        if let Some(both) = border.both {
            for (steps, group) in all.iter_mut().zip(groups) {
                steps.extend(self.gathered(group, both, step, across, which)?);
            }
        }
        if !border.new.is_empty() {
            let span = (border.new.from, border.new.to);
            let newer = self.history.aggregate(groups, span, step, across, which)?;
            for (steps, newer) in all.iter_mut().zip(newer) {
                steps.extend(newer);
            }
        }
        Ok(all)
    }

    /// Whether an aggregate is to be made of single values of both: one that looks back may look behind the
    /// border wherever its steps lie.
    pub(super) fn counts_here(&self, agg: Agg, which: Which<'_>) -> bool {
        self.elder.get().is_some() && which.known_at.is_none() && looks_back(agg)
    }

    fn gathered(
        &self,
        group: &[Member],
        span: Span,
        step: Duration,
        across: Across,
        which: Which<'_>,
    ) -> Result<Vec<GroupStep>, StoreError> {
        let grid = Grid::of(span.from, span.to, step)?;
        let mut gathered = vec![Gathered::default(); grid.len()];
        for member in group {
            let steps = self.counted(member.id, span, step, across.each, which, None)?;
            for (gathered, (step, n_numbers)) in gathered.iter_mut().zip(steps) {
                gathered.add(&step, n_numbers, member.weight, across.over);
            }
        }
        let steps = grid.starts().zip(gathered);
        Ok(steps
            .map(|(start, gathered)| gathered.close(start, across.over))
            .collect())
    }

    /// Steps of single values from both sides, and how many numbers each has; of what people found them to be.
    pub(super) fn counted(
        &self,
        id: SeriesId,
        span: Span,
        step: Duration,
        agg: Agg,
        which: Which<'_>,
        found: Option<&Reviewed>,
    ) -> Result<Vec<(Step, u64)>, StoreError> {
        let grid = Grid::of(span.from, span.to, step)?;
        let before = match looks_back(agg) && !span.is_empty() {
            true => self.number_before(id, span.from, which, found)?,
            false => None,
        };
        let mut counter = Counter::new(&grid, agg, before);
        self.scan_of(id, span.from, span.to, which, &mut |point| {
            match found {
                None => counter.see(point.measured_at.ms(), &point.value, point.quality),
                Some(found) => {
                    if let Some((value, quality)) = found_of(found, &point) {
                        counter.see(point.measured_at.ms(), &value, quality);
                    }
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(counter.close())
    }

    /// The newest number before a time.
    fn number_before(
        &self,
        id: SeriesId,
        before: Timestamp,
        which: Which<'_>,
        found: Option<&Reviewed>,
    ) -> Result<Option<Seen>, StoreError> {
        let number = |point: &Point| match found {
            None => point.value.number(),
            Some(found) => found_of(found, point)?.0.number(),
        };
        let seen = |point: Point| Some((point.measured_at.ms(), number(&point)?));
        let takes =
            |point: &Point| number(point).is_some() && which.takes.is_none_or(|takes| takes(point.quality));
        let span = Span {
            from: YEAR_2000,
            to: before,
        };
        let (Some((store, floor)), Some(key)) = (self.before(&[id], span.from)?, self.history.series_key(id))
        else {
            return Ok(newest(&self.history, id, span, Some(&takes))?.and_then(seen));
        };
        let (old, new) = span.split(floor);
        if let Some(found) = newest(&self.history, id, new, Some(&takes))? {
            return Ok(seen(found));
        }
        let found = store.last_known(&[key], old, Some(&takes))?.pop().flatten();
        Ok(found.and_then(seen))
    }
}

fn only_steps(steps: Vec<(Step, u64)>) -> Vec<Step> {
    steps.into_iter().map(|(step, _)| step).collect()
}

/// A span of steps at the first time that the embedded history answers.
struct Border {
    /// Whole steps of the engine.
    old: Span,
    /// The step of which both hold a part.
    both: Option<Span>,
    /// Whole steps of the embedded history.
    new: Span,
}

impl Border {
    /// `step` is at least a millisecond and the span not empty before `floor`.
    fn of(span: Span, floor: Timestamp, step: Duration) -> Self {
        let step_ms = i64::try_from(step.as_millis()).unwrap_or(i64::MAX).max(1);
        let floor = floor.clamp(span.from, span.to.max(span.from));
        let ahead = floor - span.from;
        let start = span.from + Duration::from_millis((ahead - ahead % step_ms).max(0) as u64);
        let (old, rest) = span.split(start);
        let is_between = start < floor && floor < span.to;
        let (both, new) = match is_between {
            true => rest.split(start + Duration::from_millis(step_ms as u64)),
            // Up to the end of the span all is the engine's.
            false if start < floor => {
                return Self {
                    old: span,
                    both: None,
                    new: rest.split(span.to).1,
                };
            }
            false => (
                Span {
                    to: rest.from,
                    ..rest
                },
                rest,
            ),
        };
        Self {
            old,
            both: (!both.is_empty()).then_some(both),
            new,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_the_step_that_the_border_lies_in_is_made_of_both() {
        let at = |floor: i64| {
            let border = Border::of(
                Span::of_ms(100, 1000),
                Timestamp::from_ms(floor),
                Duration::from_millis(60),
            );
            let ms = |span: Span| (span.from.ms(), span.to.ms());
            (ms(border.old), border.both.map(ms), ms(border.new))
        };
        assert_eq!(at(0), ((100, 100), None, (100, 1000)));
        assert_eq!(at(160), ((100, 160), None, (160, 1000)));
        assert_eq!(at(161), ((100, 160), Some((160, 220)), (220, 1000)));
        assert_eq!(at(159), ((100, 100), Some((100, 160)), (160, 1000)));
        assert_eq!(at(999), ((100, 940), Some((940, 1000)), (1000, 1000)));
        assert_eq!(at(2000), ((100, 1000), None, (1000, 1000)));
    }
}
