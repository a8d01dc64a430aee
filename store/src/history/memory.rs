//! What memory holds of each series: the points that no chunk has yet, and the extent of all.
//!
//! Three places by time. Above the frontier lies the *head*. When it is full it is *sealed* as it
//! stands, to become a chunk at the next checkpoint, and the frontier moves to its end. What arrives
//! for a time at or below the frontier goes to the *late* run, which readers lay over everything
//! older and which a checkpoint folds into the chunks it belongs to.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock, LockResult, PoisonError, RwLock};

use super::SeriesId;
use super::chunk::partition_of;
use super::column::{Input, put_signed, put_unsigned};
use super::point::Kept;
use super::revisions::Pending;
use super::rollup::day_of;
use super::run::Run;

/// When a head is sealed.
#[derive(Clone, Copy, Debug)]
pub(super) struct SealAt {
    pub(super) n_points: usize,
    pub(super) span_ms: i64,
    pub(super) n_points_by_span: usize,
}

/// Where the value of a time is to be looked for.
pub(super) enum Place {
    /// Memory knows.
    Known(Option<Kept>),
    /// If there is one, a chunk has it.
    OnDisk,
}

/// The first time of values that are kept; without retention, all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeptFrom(pub(super) i64);

impl Default for KeptFrom {
    fn default() -> Self {
        Self(i64::MIN)
    }
}

/// One series in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Series {
    /// Times that have a value, wherever they are.
    pub(super) n: u64,
    /// Oldest and newest time; meaningless while `n` is 0.
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) frontier: Option<i64>,
    /// The number of the next chunk.
    pub(super) next_seq: u32,
    pub(super) head: Run,
    /// None while there is nothing in it.
    aside: Option<Box<Aside>>,
    /// Counts what was put into cared-for days since opening, so that care sees whether something was.
    pub(super) n_stale: u32,
    /// Changed since the last checkpoint.
    pub(super) dirty: bool,
    /// Of its quantity; its newest value stays whatever its time.
    pub(super) kept: KeptFrom,
    /// Something else happened to it since then than that points came behind those of its head.
    pub(super) reshaped: bool,
    /// Points of the head that the last checkpoint has.
    pub(super) n_saved: usize,
    /// The row of growth from which on its row on disk is to be grown.
    pub(super) grown_from: u64,
}

/// What few series have at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct Aside {
    pub(super) sealed: Vec<Arc<Run>>,
    pub(super) late: Run,
    /// Values replaced since the last checkpoint, by time and ordinal.
    pub(super) replaced: Pending,
    /// Cared-for days that something was put into since the last checkpoint.
    pub(super) stale: BTreeSet<i64>,
}

/// What most have aside.
static NOTHING: LazyLock<Aside> = LazyLock::new(Aside::default);

impl Series {
    pub(super) fn aside(&self) -> &Aside {
        self.aside.as_deref().unwrap_or_else(|| &NOTHING)
    }

    pub(super) fn aside_if_any(&mut self) -> Option<&mut Aside> {
        self.aside.as_deref_mut()
    }

    pub(super) fn aside_mut(&mut self) -> &mut Aside {
        self.aside.get_or_insert_default()
    }

    /// Leaves nothing aside but late points.
    pub(super) fn keep_aside(&mut self, late: Run) {
        let aside = (!late.is_empty()).then(|| Aside {
            late,
            ..Aside::default()
        });
        self.aside = aside.map(Box::new);
    }

    pub(super) fn is_late(&self, at: i64) -> bool {
        self.n > 0 && at < self.last
    }

    /// Times whose value no chunk has, but for late ones that replace one.
    pub(super) fn n_in_memory(&self) -> u64 {
        let aside = self.aside();
        let sealed = aside.sealed.iter().map(|run| run.n_points());
        (self.head.n_points() + aside.late.n_points() + sealed.sum::<usize>()) as u64
    }

    /// The first time that is shown.
    pub(super) fn floor(&self) -> i64 {
        match self.n {
            0 => self.kept.0,
            _ => self.kept.0.min(self.last),
        }
    }

    /// Whether it has forgotten what lies before the floor.
    pub(super) fn is_trimmed(&self) -> bool {
        self.n == 0 || self.first >= self.kept.0 || self.is_newest_alone()
    }

    /// Whether only its newest value is left, from before the floor.
    fn is_newest_alone(&self) -> bool {
        let is_alone = self.n == 1 && self.frontier.is_none() && self.head.n_points() == 1;
        is_alone && self.first < self.kept.0
    }

    /// Where to look for the value of a time.
    pub(super) fn place(&self, at: i64) -> Place {
        if self.n == 0 || at > self.last || at < self.first {
            return Place::Known(None);
        }
        if self.frontier.is_none_or(|frontier| at > frontier) {
            return Place::Known(self.head.find(at));
        }
        if let Some(point) = self.aside().late.find(at) {
            return Place::Known(Some(point));
        }
        match self.aside().sealed.first().and_then(|run| run.first()) {
            // Runs sealed since the last checkpoint lie above every chunk.
            Some(first) if at >= first => {
                let sealed = &self.aside().sealed;
                let i = sealed.partition_point(|run| run.last() < Some(at));
                Place::Known(sealed.get(i).and_then(|run| run.find(at)))
            }
            _ => Place::OnDisk,
        }
    }

    /// Puts a point where it belongs; `fresh` when its time had no value. Days before `cared_to` may have
    /// rollups.
    pub(super) fn put(&mut self, point: Kept, fresh: bool, seal_at: SealAt, cared_to: i64) {
        let at = point.at;
        if at >= self.kept.0 && self.is_newest_alone() {
            // There is a newer one now.
            self.head = Run::default();
            self.n = 0;
            self.reshaped = true;
        }
        if at < cared_to {
            self.aside_mut().stale.insert(day_of(at));
            self.n_stale = self.n_stale.wrapping_add(1);
        }
        // A series may begin in a row of growth: a city of new ones is some hundred rows then, not a million.
        self.reshaped |= (self.n > 0 && at <= self.last) || at < cared_to;
        if fresh {
            self.first = if self.n == 0 { at } else { self.first.min(at) };
            self.last = if self.n == 0 { at } else { self.last.max(at) };
            self.n += 1;
        }
        if self.frontier.is_some_and(|frontier| at <= frontier) {
            self.aside_mut().late.insert(point);
            return;
        }
        if self
            .head
            .last()
            .is_some_and(|last| partition_of(at) > partition_of(last))
        {
            self.seal();
        }
        self.head.insert(point);
        let n_points = self.head.n_points();
        let span_ms = match (self.head.first(), self.head.last()) {
            (Some(first), Some(last)) => last.saturating_sub(first),
            _ => 0,
        };
        if n_points >= seal_at.n_points
            || (n_points >= seal_at.n_points_by_span && span_ms >= seal_at.span_ms)
        {
            self.seal();
        }
    }

    fn seal(&mut self) {
        if let Some(last) = self.head.last() {
            self.reshaped = true;
            self.frontier = Some(last);
            let head = std::mem::take(&mut self.head);
            self.aside_mut().sealed.push(Arc::new(head));
        }
    }

    /// Puts points of a row of growth back behind the head, unless it has that row already.
    pub(super) fn grow(&mut self, number: u64, points: Vec<Kept>) {
        if number < self.grown_from {
            return;
        }
        for point in points {
            self.first = if self.n == 0 { point.at } else { self.first };
            self.last = point.at;
            self.n += 1;
            self.head.insert(point);
        }
        self.n_saved = self.head.n_points();
    }

    /// The row that brings this series back, with `late` and `next_seq` as the checkpoint leaves them and
    /// nothing sealed; what it grows by afterwards stands in the rows of growth from `grown_from` on.
    pub(super) fn row(&self, late: &Run, next_seq: u32, grown_from: u64) -> Vec<u8> {
        let mut row = Vec::new();
        put_unsigned(&mut row, self.n);
        put_signed(&mut row, self.first);
        put_signed(&mut row, self.last);
        match self.frontier {
            Some(frontier) => {
                row.push(1);
                put_signed(&mut row, frontier);
            }
            None => row.push(0),
        }
        put_unsigned(&mut row, u64::from(next_seq));
        self.head.put(&mut row);
        late.put(&mut row);
        put_unsigned(&mut row, grown_from);
        row
    }

    /// Reads such a row; `None` is damage.
    pub(super) fn read(row: &[u8]) -> Option<Self> {
        let mut input = Input(row);
        let mut series = Self {
            n: input.unsigned()?,
            first: input.signed()?,
            last: input.signed()?,
            frontier: match input.byte()? {
                0 => None,
                _ => Some(input.signed()?),
            },
            next_seq: u32::try_from(input.unsigned()?).ok()?,
            head: Run::read(&mut input)?,
            ..Self::default()
        };
        series.keep_aside(Run::read(&mut input)?);
        series.n_saved = series.head.n_points();
        // Layouts before 4 had no growth.
        if !input.0.is_empty() {
            series.grown_from = input.unsigned()?;
        }
        input.0.is_empty().then_some(series)
    }
}

/// Locks that readers and the writer share; a series is in shard `id % N_SHARDS`.
const N_SHARDS: usize = 16;

/// Every series. The one writer changes it in short sections; readers copy what they need.
#[derive(Default)]
pub(super) struct Memory {
    shards: [RwLock<Vec<Series>>; N_SHARDS],
}

impl Memory {
    /// Looks at a series; `None` when it was never written.
    pub(super) fn read<R>(&self, id: SeriesId, look: impl FnOnce(&Series) -> R) -> Option<R> {
        let shard = unpoisoned(self.shards[id.index() % N_SHARDS].read());
        shard.get(id.index() / N_SHARDS).map(look)
    }
    /// Points of all series, and those of them that no chunk has.
    pub(super) fn counts(&self) -> (u64, u64) {
        let mut counts = (0, 0);
        for shard in &self.shards {
            for series in unpoisoned(shard.read()).iter() {
                counts.0 += series.n;
                counts.1 += series.n_in_memory();
            }
        }
        counts
    }
    /// The newest time of all series.
    pub(super) fn newest(&self) -> Option<i64> {
        self.most(|series| series.last())
    }
    /// The oldest time of all heads.
    pub(super) fn oldest_of_heads(&self) -> Option<i64> {
        self.most(|series| series.head.first().map(|at| at.saturating_neg()))
            .map(i64::saturating_neg)
    }
    fn most(&self, of: impl Fn(&Series) -> Option<i64>) -> Option<i64> {
        let of_shard = |shard: &RwLock<Vec<Series>>| unpoisoned(shard.read()).iter().filter_map(&of).max();
        self.shards.iter().filter_map(of_shard).max()
    }
    /// Changes a series, which begins empty.
    pub(super) fn write<R>(&self, id: SeriesId, change: impl FnOnce(&mut Series) -> R) -> R {
        let mut shard = unpoisoned(self.shards[id.index() % N_SHARDS].write());
        let i = id.index() / N_SHARDS;
        if shard.len() <= i {
            shard.resize_with(i + 1, Series::default);
        }
        change(&mut shard[i])
    }
}

/// A lock's content also after a panic elsewhere: what the locks here guard is replaced whole, and
/// durable state changes only by a checkpoint.
pub(super) fn unpoisoned<T>(lock: LockResult<T>) -> T {
    lock.unwrap_or_else(PoisonError::into_inner)
}
