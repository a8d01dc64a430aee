//! What an answer lacks because rows are damaged, so that it is told with the answer and not only in the log.
//!
//! A read that meets a damaged row goes on without it. Who reads wraps the whole question in [`noting`], and gets
//! what was left out beside what was found. It is noted on the thread that reads; where a question is read by
//! several threads, each notes and the first takes it up.

use std::cell::RefCell;
use std::collections::BTreeMap;

use onemap_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::memory::unpoisoned;
use super::{History, SeriesId};

/// Rows that are told apart; those over are counted, each time that they are met.
const N_ROWS: usize = 1024;

/// Rows that were left out of an answer because they are damaged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// First and last time that each may have had a value of, by its key.
    rows: BTreeMap<Vec<u8>, (i64, i64)>,
    n_over: u64,
    over: Option<(i64, i64)>,
    /// The row that was noted last, its span, and what was known of it before.
    newest: Option<Newest>,
}

/// Key, span, and the span that it had.
type Newest = (Vec<u8>, (i64, i64), Option<(i64, i64)>);

/// The same in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Damaged rows that were left out; where a whole block of the disk is damaged, blocks.
    pub rows: u64,
    /// First time that may have had a value in one of them.
    pub from: Timestamp,
    /// Last such time, itself among them.
    pub to: Timestamp,
}

impl Missing {
    /// `None` when nothing was left out.
    pub fn damage(&self) -> Option<Damage> {
        let spans = self.rows.values().copied().chain(self.over);
        let (from, to) = spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
        Some(Damage {
            rows: self.rows.len() as u64 + self.n_over,
            from: Timestamp::from_ms(from),
            to: Timestamp::from_ms(to),
        })
    }

    /// With what another read left out.
    pub fn add(&mut self, other: Self) {
        for (key, span) in other.rows {
            self.note(key, span);
        }
        self.n_over += other.n_over;
        self.over = join(self.over, other.over);
    }

    fn note(&mut self, key: Vec<u8>, span: (i64, i64)) {
        if let Some(known) = self.rows.get_mut(&key) {
            *known = (known.0.min(span.0), known.1.max(span.1));
        } else if self.rows.len() < N_ROWS {
            self.rows.insert(key, span);
        } else {
            self.n_over += 1;
            self.over = join(self.over, Some(span));
        }
    }
}

fn join(a: Option<(i64, i64)>, b: Option<(i64, i64)>) -> Option<(i64, i64)> {
    match (a, b) {
        (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
        (a, b) => a.or(b),
    }
}

thread_local! {
    static NOTED: RefCell<Option<Missing>> = const { RefCell::new(None) };
}

/// What `read` gives, and the damaged rows that it left out. Of one inside another, both are told.
pub fn noting<T>(read: impl FnOnce() -> T) -> (T, Missing) {
    /// Puts back what was noted before, also when the read panics.
    struct Before(Option<Missing>);
    impl Drop for Before {
        fn drop(&mut self) {
            NOTED.set(self.0.take());
        }
    }
    let mut before = Before(NOTED.replace(Some(Missing::default())));
    let read = read();
    let missing = NOTED.take().unwrap_or_default();
    if let Some(outer) = &mut before.0 {
        outer.add(missing.clone());
    }
    (read, missing)
}

/// Takes up what another thread noted.
pub(super) fn take_up(missing: Missing) {
    with(|noted| noted.add(missing));
}

/// Notes a row that is left out, and the span of times that it may have had values of, as far as they are asked for.
pub(super) fn note(key: &[u8], span: (i64, i64)) {
    with(|noted| {
        let before = noted.rows.get(key).copied();
        noted.newest = Some((key.to_vec(), span, before));
        noted.note(key.to_vec(), span);
    });
}

/// The row that was noted last ends before a time: what lies there was read. It is not missing when nothing is left
/// of its span.
pub(super) fn ends_before(at: i64) {
    with(|noted| {
        let Some((key, (first, last), before)) = noted.newest.take() else {
            return;
        };
        let Some(span) = noted.rows.get_mut(&key) else {
            return;
        };
        let ended = (first < at).then(|| (first, last.min(at.saturating_sub(1))));
        match join(ended, before) {
            Some(left) => *span = left,
            None => drop(noted.rows.remove(&key)),
        }
    });
}

fn with(note: impl FnOnce(&mut Missing)) {
    NOTED.with_borrow_mut(|noted| noted.as_mut().map(note));
}

/// What kind of question lacks something for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Every one.
    #[default]
    Values,
    /// One about replaced values.
    Replaced,
    /// One about hours whose values were let go.
    Hours,
}

/// What is lost for good: points of a damaged head when a history was opened, rows that a backup could not read.
///
/// Unlike a damaged chunk nothing is left to be met by a read, so it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// What lacks it.
    #[serde(default)]
    pub loss: Loss,
    /// Numbers of the series, the last among them.
    pub series: (u32, u32),
    /// First and last time in ms.
    pub times: (i64, i64),
}

/// All series.
pub(super) const ALL_SERIES: (u32, u32) = (0, u32::MAX);

impl History {
    /// Notes what a question about a series from one time to another, both inside, lacks for good.
    pub(super) fn note_lost(&self, id: SeriesId, (from, to): (i64, i64), losses: &[Loss]) {
        for (i, lost) in (0u32..).zip(unpoisoned(self.lost.read()).iter()) {
            let ((low, high), (first, last)) = (lost.series, lost.times);
            let is_of_it = losses.contains(&lost.loss) && (low..=high).contains(&id.0);
            if is_of_it && first <= to && last >= from {
                let mut key = b"lost".to_vec();
                key.extend(i.to_be_bytes());
                // No row that is read tells where it ends.
                with(|noted| {
                    noted.newest = None;
                    noted.note(key, (first.max(from), last.min(to)));
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_row_counts_once_and_ends_where_something_was_read() {
        let ((), missing) = noting(|| {
            note(b"a", (10, 99));
            ends_before(50);
            note(b"a", (10, 99));
            ends_before(31);
            // Nothing of it is asked for.
            note(b"z", (70, 99));
            ends_before(70);
            let (two, inner) = noting(|| {
                note(b"b", (60, 70));
                2
            });
            assert_eq!((two, inner.damage().unwrap().rows), (2, 1));
        });
        let damage = missing.damage().unwrap();
        assert_eq!((damage.rows, damage.from.ms(), damage.to.ms()), (2, 10, 70));
        // Outside nobody asks.
        note(b"c", (0, 1));
        assert_eq!(noting(|| ()).1, Missing::default());
    }

    #[test]
    fn of_many_rows_the_span_is_known_and_the_number() {
        let ((), missing) = noting(|| {
            for i in 0..2 * N_ROWS as i64 {
                note(&i.to_be_bytes(), (i, i));
            }
        });
        let damage = missing.damage().unwrap();
        assert_eq!(damage.rows, 2 * N_ROWS as u64);
        assert_eq!((damage.from.ms(), damage.to.ms()), (0, 2 * N_ROWS as i64 - 1));
    }

    #[test]
    fn a_panic_leaves_nothing_behind() {
        let panicked = std::panic::catch_unwind(|| {
            noting(|| {
                note(b"a", (0, 1));
                panic!("on purpose");
            })
        });
        assert!(panicked.is_err());
        NOTED.with_borrow(|noted| assert!(noted.is_none()));
    }
}
