//! What was said of times that are revised over and over, so that the next revision of one need not look at all before it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use onemap_model::Value;

use super::SeriesId;
use super::revisions::Replaced;

/// Versions of a time from which on they are remembered: fewer are looked at as fast.
const N_MANY: usize = 16;
/// Values that are remembered of all times, about 50 MB; past it all are forgotten and read again when wanted.
const N_VALUES: usize = 1_000_000;

/// A value as a key; what compares equal is one.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Number(u64),
    Text(Arc<str>),
}

impl Key {
    fn of(value: &Value) -> Self {
        match value {
            // The two zeros are one number, and so are all that are none.
            Value::Number(0.0) => Self::Number(0),
            Value::Number(number) if number.is_nan() => Self::Number(f64::NAN.to_bits()),
            Value::Number(number) => Self::Number(number.to_bits()),
            Value::Text(text) => Self::Text(text.clone()),
        }
    }
}

/// The values that the shown one of a time replaced.
struct Said {
    values: HashSet<Key>,
    n: usize,
    /// Position of the record that brought the shown one.
    shown_by: u64,
}

/// Times with many versions.
#[derive(Default)]
pub(super) struct Versions {
    by_time: HashMap<(SeriesId, i64), Said>,
    n_values: usize,
}

impl Versions {
    /// How many values the shown one of a time replaced; and when `value` was one of them, the position of the record that
    /// brought the shown one. `None` when nothing is remembered of the time.
    pub(super) fn find(&self, id: SeriesId, at: i64, value: &Value) -> Option<(usize, Option<u64>)> {
        let said = self.by_time.get(&(id, at))?;
        let again = said.values.contains(&Key::of(value));
        Some((said.n, again.then_some(said.shown_by)))
    }

    /// Remembers what was read of a time, if it is much.
    pub(super) fn keep<'a>(&mut self, id: SeriesId, at: i64, all: impl Iterator<Item = &'a Replaced>) {
        let (mut n, mut shown_by) = (0, 0);
        let of_value = |replaced: &Replaced| {
            (n, shown_by) = (n + 1, replaced.by);
            Key::of(&replaced.point.value)
        };
        let values: HashSet<Key> = all.map(of_value).collect();
        if n < N_MANY {
            return;
        }
        if self.n_values + n > N_VALUES {
            self.forget_all();
        }
        self.n_values += n;
        self.by_time.insert((id, at), Said { values, n, shown_by });
    }

    /// The shown value of a time is replaced by that of a record.
    pub(super) fn replaced(&mut self, id: SeriesId, at: i64, before: &Value, by: u64) {
        if self.n_values >= N_VALUES {
            return self.forget_all();
        }
        if let Some(said) = self.by_time.get_mut(&(id, at)) {
            said.values.insert(Key::of(before));
            (said.n, said.shown_by) = (said.n + 1, by);
            self.n_values += 1;
        }
    }

    pub(super) fn forget_all(&mut self) {
        *self = Self::default();
    }

    /// What is remembered of a series is no longer so.
    pub(super) fn forget(&mut self, id: SeriesId) {
        let n_values = &mut self.n_values;
        self.by_time.retain(|(of, _), said| {
            let stays = *of != id;
            *n_values -= if stays { 0 } else { said.n };
            stays
        });
    }
}
