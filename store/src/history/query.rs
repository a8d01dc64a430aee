//! What can be asked of a series: its values, as shown now or as known then, and every version of them.

use std::ops::ControlFlow;

use onemap_model::{Quality, Timestamp, Value};

use super::missing::Loss;
use super::point::{Kept, Point, Version};
use super::read::{Part, View};
use super::revisions::{Replaced, ReplacedByTime};
use super::{History, HistoryError, SeriesId, revisions};

/// Which values a question takes: all that are shown, unless it says otherwise.
#[derive(Clone, Copy, Default)]
pub struct Which<'a> {
    /// As it was known then: of each time the last version that had been received by then, and nothing of
    /// times of which nothing had.
    pub known_at: Option<Timestamp>,
    /// Those whose marks it says yes to. With it, and with `known_at`, every point is looked at.
    pub takes: Option<&'a (dyn Fn(Quality) -> bool + Sync)>,
}

impl Which<'_> {
    pub(super) fn is_all_shown(&self) -> bool {
        self.known_at.is_none() && self.takes.is_none()
    }
    fn knows(&self, received_ms: i64) -> bool {
        self.known_at.is_none_or(|known_at| received_ms <= known_at.ms())
    }
    fn takes(&self, quality: Quality) -> bool {
        self.takes.is_none_or(|takes| takes(quality))
    }
}

impl History {
    /// Passes the shown values of a series from `from` to before `to` to `take`, ascending, until it
    /// breaks off. An unknown series has none.
    ///
    /// # Errors
    /// [`HistoryError::Read`] when the disk fails. Damaged chunks are skipped, logged and counted.
    pub fn scan(
        &self,
        id: SeriesId,
        from: Timestamp,
        to: Timestamp,
        take: &mut dyn FnMut(Point) -> ControlFlow<()>,
    ) -> Result<(), HistoryError> {
        self.scan_of(id, from, to, Which::default(), take)
    }

    /// Like [`History::scan`], as it was known at `known_at`.
    ///
    /// # Errors
    /// As [`History::scan`].
    pub fn scan_known_at(
        &self,
        id: SeriesId,
        from: Timestamp,
        to: Timestamp,
        known_at: Timestamp,
        take: &mut dyn FnMut(Point) -> ControlFlow<()>,
    ) -> Result<(), HistoryError> {
        let which = Which {
            known_at: Some(known_at),
            takes: None,
        };
        self.scan_of(id, from, to, which, take)
    }

    /// Like [`History::scan`], of the values that `which` takes.
    ///
    /// # Errors
    /// As [`History::scan`].
    pub fn scan_of(
        &self,
        id: SeriesId,
        from: Timestamp,
        to: Timestamp,
        which: Which<'_>,
        take: &mut dyn FnMut(Point) -> ControlFlow<()>,
    ) -> Result<(), HistoryError> {
        let disk = self.disk()?;
        let Some(view) = View::of(&disk, &self.memory, id) else {
            return Ok(());
        };
        let losses: &[Loss] = match which.known_at {
            Some(_) => &[Loss::Values, Loss::Replaced],
            None => &[Loss::Values],
        };
        self.note_lost(id, range(from, to), losses);
        if which.known_at.is_some() {
            return self.kept(&view, range(from, to), which, &mut |kept| take(kept.point()));
        }
        // Without when they were received, and as columns where they lie so.
        let mut chosen = |point: Point| match which.takes(point.quality) {
            true => take(point),
            false => ControlFlow::Continue(()),
        };
        view.walk_by_headers(&disk, range(from, to), &|_, _| false, &mut |part| match part {
            Part::Points(points) => points.iter().try_for_each(|kept| chosen(kept.point())),
            Part::Columns {
                times,
                numbers,
                marks,
            } => {
                let mut rows = times.iter().zip(numbers).zip(marks);
                rows.try_for_each(|((at, number), mark)| {
                    chosen(Point {
                        measured_at: Timestamp::from_ms(*at),
                        value: Value::Number(*number),
                        // Checked with the columns.
                        quality: Quality(*mark as u16),
                    })
                })
            }
            Part::Whole(_) => unreachable!("no chunk was allowed to be passed by its header"),
        })
    }

    /// Every value ever given for the times from `from` to before `to`, by time, then in the order
    /// they came; the shown one is the last of its time.
    ///
    /// # Errors
    /// As [`History::scan`].
    pub fn versions(
        &self,
        id: SeriesId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Version>, HistoryError> {
        let mut all = Vec::new();
        self.scan_versions(id, from, to, Which::default(), &mut |version| {
            all.push(version);
            ControlFlow::Continue(())
        })?;
        Ok(all)
    }

    /// Passes what [`History::versions`] lists to `take`, of it what `which` takes, until it breaks off.
    ///
    /// # Errors
    /// As [`History::scan`].
    pub fn scan_versions(
        &self,
        id: SeriesId,
        from: Timestamp,
        to: Timestamp,
        which: Which<'_>,
        take: &mut dyn FnMut(Version) -> ControlFlow<()>,
    ) -> Result<(), HistoryError> {
        let disk = self.disk()?;
        let Some(view) = View::of(&disk, &self.memory, id) else {
            return Ok(());
        };
        self.note_lost(id, range(from, to), &[Loss::Values, Loss::Replaced]);
        self.each_version(
            &view,
            range(from, to),
            &mut |version| match which.knows(version.received_at.ms()) && which.takes(version.quality) {
                true => take(version),
                false => ControlFlow::Continue(()),
            },
        )
    }

    /// Like [`History::scan_of`], each value with all that is kept of it: when it was received, and of one that
    /// replaced another the position of its record.
    ///
    /// # Errors
    /// As [`History::scan`].
    pub fn scan_whole(
        &self,
        id: SeriesId,
        from: Timestamp,
        to: Timestamp,
        which: Which<'_>,
        take: &mut dyn FnMut(Version) -> ControlFlow<()>,
    ) -> Result<(), HistoryError> {
        let disk = self.disk()?;
        let Some(view) = View::of(&disk, &self.memory, id) else {
            return Ok(());
        };
        self.note_lost(id, range(from, to), &[Loss::Values, Loss::Replaced]);
        self.with_earlier(&view, range(from, to), &mut |shown, earlier| {
            let known = |version: &Version| which.knows(version.received_at.ms());
            match revisions::versions(shown, earlier).filter(known).last() {
                Some(version) if which.takes(version.quality) => take(version),
                _ => ControlFlow::Continue(()),
            }
        })
    }

    /// Passes every version in a range to `take`, by time, then in the order they came.
    pub(super) fn each_version(
        &self,
        view: &View,
        range: (i64, i64),
        take: &mut dyn FnMut(Version) -> ControlFlow<()>,
    ) -> Result<(), HistoryError> {
        self.with_earlier(view, range, &mut |shown, earlier| {
            revisions::versions(shown, earlier).try_for_each(&mut *take)
        })
    }

    /// Passes the points in a range that `which` takes, ascending.
    pub(super) fn kept(
        &self,
        view: &View,
        range: (i64, i64),
        which: Which<'_>,
        take: &mut dyn FnMut(&Kept) -> ControlFlow<()>,
    ) -> Result<(), HistoryError> {
        let mut chosen = |point: &Kept| match which.takes(Quality(point.quality)) {
            true => take(point),
            false => ControlFlow::Continue(()),
        };
        if which.known_at.is_none() {
            return view.walk(&*self.disk()?, range, &mut |points| {
                points.iter().try_for_each(&mut chosen)
            });
        }
        let known = |kept: &&Kept| which.knows(kept.received);
        self.with_earlier(view, range, &mut |shown, earlier| {
            let versions = [shown].into_iter().chain(earlier.iter().rev().map(|r| &r.point));
            match { versions }.find(known) {
                Some(version) => chosen(version),
                None => ControlFlow::Continue(()),
            }
        })
    }

    /// Passes the shown points in a range with the values that each replaced, oldest first. Those are loaded
    /// part by part: a series that is revised as often as it speaks takes no more room than another.
    fn with_earlier(
        &self,
        view: &View,
        range: (i64, i64),
        take: &mut dyn FnMut(&Kept, &[Replaced]) -> ControlFlow<()>,
    ) -> Result<(), HistoryError> {
        let disk = self.disk()?;
        let mut failed = None;
        view.walk(&disk, range, &mut |points| {
            let revised = |p: &&Kept| p.is_revised();
            let replaced = match (points.iter().find(revised), points.iter().rfind(revised)) {
                (Some(first), Some(last)) => {
                    let span = (first.at, last.at);
                    revisions::load(&disk, &view.snapshot, view.id, span, &view.replaced)
                }
                _ => Ok(ReplacedByTime::new()),
            };
            let replaced = match replaced {
                Ok(replaced) => replaced,
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            };
            points
                .iter()
                .try_for_each(|shown| take(shown, replaced.get(&shown.at).map_or(&[], Vec::as_slice)))
        })?;
        failed.map_or(Ok(()), Err)
    }
}

/// First and last millisecond of `from..to`; the last is before the first when it is empty.
pub(super) fn range(from: Timestamp, to: Timestamp) -> (i64, i64) {
    match to.ms().checked_sub(1) {
        Some(last) => (from.ms(), last),
        None => (0, -1),
    }
}
