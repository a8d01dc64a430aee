//! How often what was there of each series has changed since the start, so that an answer about the past can say
//! whether it still holds.

use std::sync::RwLock;

use onemap_store::history::{Kind, Outcome, SeriesId};

const POISON: &str = "no holder of this lock panics";

/// Counts the late points and revisions of each series, by number. New points are not counted: they lie behind
/// the newest time of their series, which its extent tells.
#[derive(Default)]
pub struct Changes(RwLock<Vec<u64>>);

impl Changes {
    /// Counts what became of readings. To be called after the history has them: who reads a count and then the
    /// history never has a count that is ahead of what it read.
    pub fn note(&self, outcomes: &[Outcome]) {
        let mut inside = outcomes
            .iter()
            .filter(|outcome| matches!(outcome.kind, Kind::Late | Kind::Revision))
            .peekable();
        if inside.peek().is_none() {
            return;
        }
        let mut counts = self.0.write().expect(POISON);
        for outcome in inside {
            let i = outcome.series.index();
            if counts.len() <= i {
                counts.resize(i + 1, 0);
            }
            counts[i] += 1;
        }
    }

    /// The count of a series.
    pub(crate) fn of(&self, series: SeriesId) -> u64 {
        let counts = self.0.read().expect(POISON);
        counts.get(series.index()).copied().unwrap_or(0)
    }
}
