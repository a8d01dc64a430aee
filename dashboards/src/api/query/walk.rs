//! Single values of a series, walked in pieces: as shown, as known then, or every version.

use std::ops::ControlFlow;

use onemap_model::{Quality, Timestamp};
use onemap_store::engine::StoreError;
use onemap_store::history::{Point, SeriesId, Version, Which};

use crate::api::query::marks::Marks;
use crate::api::query::page::Given;
use crate::api::rows::{More, Rows};
use crate::views::Views;

/// Which values of a series are walked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chosen {
    pub(crate) from: Timestamp,
    /// Itself outside.
    pub(crate) to: Timestamp,
    pub(crate) marks: Marks,
    pub(crate) known_at: Option<Timestamp>,
    /// Every version of each time; else the last.
    pub(crate) revisions: bool,
    /// It is said when they were received, which an engine beside the embedded history does not know. Where it is
    /// not, that time is not to be looked at.
    pub(crate) received: bool,
}

impl Chosen {
    /// Passes values of a series to `take`, after those that were `given`, until it says that there is no room;
    /// that value is not taken then. Whether these were all.
    pub(crate) fn walk(
        &self,
        views: &Views,
        id: SeriesId,
        given: &mut Option<Given>,
        take: &mut dyn FnMut(Version) -> ControlFlow<()>,
    ) -> Result<bool, StoreError> {
        let takes = |quality: Quality| self.marks.takes(quality);
        let which = Which {
            known_at: self.known_at,
            takes: self.marks.filter(&takes),
        };
        let from = given.map_or(self.from, |given| self.from.max(given.next()));
        let before = *given;
        let mut is_all = true;
        let mut at = (from, 0);
        let mut pass = |version: Version| {
            if at.0 != version.measured_at {
                at = (version.measured_at, 0);
            }
            at.1 += 1;
            let n = self.revisions.then_some(at.1);
            if n.is_some_and(|n| before.is_some_and(|before| n <= before.n_at(at.0))) {
                return ControlFlow::Continue(());
            }
            let taken = take(version);
            match taken {
                ControlFlow::Continue(()) => *given = Some(Given::up_to(at.0, n)),
                ControlFlow::Break(()) => is_all = false,
            }
            taken
        };
        let archive = &views.archive;
        let mut shown = |point: Point| {
            pass(Version {
                measured_at: point.measured_at,
                value: point.value,
                quality: point.quality,
                received_at: point.measured_at,
                position: None,
                shown: true,
            })
        };
        match (self.revisions, self.received) {
            (true, _) => archive.scan_versions(id, from, self.to, which, &mut pass)?,
            (false, true) => archive.scan_whole(id, from, self.to, which, &mut pass)?,
            (false, false) => archive.scan_of(id, from, self.to, which, &mut shown)?,
        }
        Ok(is_all)
    }

    /// Gives rows of the next values, at most `n` of them and as many as there is room for; `push` makes the row of one.
    /// Where to go on afterwards.
    pub(crate) fn page(
        &self,
        views: &Views,
        id: SeriesId,
        given: &mut Option<Given>,
        n: usize,
        rows: &mut Rows,
        push: &mut dyn FnMut(&mut Rows, Version),
    ) -> Result<More, StoreError> {
        let mut n_left = n.min(rows.n_left());
        let is_all = self.walk(views, id, given, &mut |version| {
            if n_left == 0 {
                return ControlFlow::Break(());
            }
            n_left -= 1;
            push(rows, version);
            ControlFlow::Continue(())
        })?;
        Ok(match (is_all, rows.is_full()) {
            (true, _) => More::No(None),
            (false, true) => More::No(given.map(|given| given.to_string())),
            (false, false) => More::Yes,
        })
    }
}
