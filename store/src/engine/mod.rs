//! What every engine of history can do, wherever it runs, and how they differ.
//!
//! Three engines stand behind [`ReadingStore`]: the embedded one ([`embedded::Embedded`]), engines that take
//! line protocol and answer PromQL, and InfluxDB 2 (both in [`crate::remote`]). All are asked by the names of
//! series, since numbers mean nothing in another engine. The calls block: they are made from threads that may.
//!
//! Which of two readings is new, late, a duplicate or a revision is decided by the embedded history alone;
//! what an engine is given was accepted there. [`archive::Archive`] joins both into one answer.

pub mod archive;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod archive_tests;
pub mod batch;
pub(crate) mod count;
pub mod embedded;
mod found;

use std::ops::ControlFlow;
use std::time::Duration;

use onemap_model::{Quality, SeriesKey, Timestamp};

pub use archive::Archive;
pub use batch::Batch;

use crate::history::{Across, Agg, GroupStep, HistoryError, Point, Step};

/// Times from `from` to before `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first time.
    pub from: Timestamp,
    /// The first time after it.
    pub to: Timestamp,
}

impl Span {
    /// From milliseconds since 1970.
    pub fn of_ms(from: i64, to: i64) -> Self {
        Self {
            from: Timestamp::from_ms(from),
            to: Timestamp::from_ms(to),
        }
    }
    /// Whether no time lies in it.
    pub fn is_empty(&self) -> bool {
        self.from >= self.to
    }
    /// What of it lies before, and what at or after, a time.
    pub fn split(&self, at: Timestamp) -> (Self, Self) {
        let at = at.clamp(self.from, self.to.max(self.from));
        (Self { to: at, ..*self }, Self { from: at, ..*self })
    }
}

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// It survives that the engine is killed now.
    Durable,
    /// The engine has it in memory: whoever gave it keeps it until it has had time to be written.
    Accepted,
}

/// What can be taken out of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletes {
    /// A span of a series.
    Spans,
    /// A series with all of its times only.
    Series,
    /// Nothing.
    Nothing,
}

/// How engines differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Its name in logs and answers.
    pub engine: &'static str,
    /// What an acknowledgement means.
    pub ack: Ack,
    /// A value for a time that has one replaces it. Without this, revised values are kept as series of their
    /// own and laid over when read.
    pub upserts: bool,
    /// Texts are kept; else only numbers are.
    pub texts: bool,
    /// It says what was known at an earlier time, and every value ever given for a time.
    pub versions: bool,
    /// What can be taken out of it.
    pub deletes: Deletes,
    /// How old a point may be that is written; `None` is not known or any age.
    pub oldest: Option<Duration>,
}

/// Whether an engine can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It answers.
    Up,
    /// It does not; why.
    Down(String),
}

/// Why an engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It will never take this.
    #[error("the engine refuses it: {why}")]
    Rejected {
        /// What it said.
        why: String,
    },
    /// Not now.
    #[error("the engine is busy: {why}")]
    Busy {
        /// When to try again, where it said so.
        retry_after: Option<Duration>,
        /// What it said.
        why: String,
    },
    /// It cannot be reached, or not be trusted to answer in full.
    #[error("the engine cannot answer: {why}")]
    Unavailable {
        /// Why.
        why: String,
    },
    /// What came back is not what was asked for, or not whole.
    #[error("the engine's answer cannot be read: {what}")]
    Corrupt {
        /// What is wrong with it.
        what: String,
    },
    /// It has no such thing.
    #[error("{engine} cannot {what}")]
    Unsupported {
        /// The engine.
        engine: &'static str,
        /// What was asked for, as the end of "cannot …".
        what: String,
    },
    /// The embedded history failed.
    #[error(transparent)]
    History(#[from] HistoryError),
}

impl StoreError {
    pub(crate) fn away(why: impl std::fmt::Display) -> Self {
        Self::Unavailable { why: why.to_string() }
    }
    pub(crate) fn corrupt(what: impl std::fmt::Display) -> Self {
        Self::Corrupt {
            what: what.to_string(),
        }
    }
}

/// Takes blocks of a scan: the index of the series among those asked for, and points, ascending.
pub type TakeBlock<'a> = dyn FnMut(usize, &[Point]) -> ControlFlow<()> + 'a;
/// Chooses points by their marks.
pub type TakeMarks<'a> = dyn Fn(Quality) -> bool + Sync + 'a;

/// Chooses points.
pub type TakePoints<'a> = dyn Fn(&Point) -> bool + 'a;
/// A series of a group, and how much it counts in a mean.
pub type Weighed = (SeriesKey, f64);

/// An engine that keeps readings.
///
/// Calls block. A step holds the points from its start to before the next start, as in
/// [`crate::history::History::downsample`]; every step of a range is listed, empty ones without a value.
pub trait ReadingStore: Send + Sync {
    /// How it differs from others.
    fn caps(&self) -> Caps;

    /// Takes points that were accepted. Giving them again is harmless.
    ///
    /// # Errors
    /// [`StoreError::Rejected`] when it will never take them; else they are to be given again.
    fn append(&self, batch: &Batch) -> Result<Ack, StoreError>;

    /// Passes the points of each series in a span to `take`, one series after the other, each ascending,
    /// until it breaks off. A series that is not known has none.
    ///
    /// # Errors
    /// When it cannot answer in full.
    fn scan(&self, series: &[SeriesKey], span: Span, take: &mut TakeBlock<'_>) -> Result<(), StoreError>;

    /// Aggregates each series in steps that begin at the span's start. `takes` chooses points by their marks.
    ///
    /// # Errors
    /// [`HistoryError::Steps`] for too many steps; else as [`ReadingStore::scan`].
    fn downsample(
        &self,
        series: &[SeriesKey],
        span: Span,
        step: Duration,
        agg: Agg,
        takes: Option<&TakeMarks<'_>>,
    ) -> Result<Vec<Vec<Step>>, StoreError>;

    /// Aggregates groups of series, each with its weight, in the same steps: each series by itself first, then
    /// the series of a group, both as `across` says.
    ///
    /// # Errors
    /// As [`ReadingStore::downsample`].
    fn aggregate(
        &self,
        groups: &[Vec<Weighed>],
        span: Span,
        step: Duration,
        across: Across,
        takes: Option<&TakeMarks<'_>>,
    ) -> Result<Vec<Vec<GroupStep>>, StoreError>;

    /// The newest point of each series in a span, of those that `takes` says yes to.
    ///
    /// # Errors
    /// As [`ReadingStore::scan`].
    fn last_known(
        &self,
        series: &[SeriesKey],
        span: Span,
        takes: Option<&TakePoints<'_>>,
    ) -> Result<Vec<Option<Point>>, StoreError>;

    /// Lets go of all points before a time.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] where the engine has a retention of its own.
    fn expire(&self, before: Timestamp) -> Result<(), StoreError>;

    /// Takes points out.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] beyond [`Caps::deletes`].
    fn delete_series(&self, series: &[SeriesKey], span: Span) -> Result<(), StoreError>;

    /// Whether it answers, asked now.
    fn health(&self) -> Health;
}
