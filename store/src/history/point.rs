//! What goes into history and what comes out of it.

use onemap_model::{Quality, Timestamp, Value};
use serde::{Deserialize, Serialize};

use super::SeriesId;

/// One shown value of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// When it was measured.
    pub measured_at: Timestamp,
    /// What was measured.
    pub value: Value,
    /// Marks, with [`Quality::RESENT`] and [`Quality::REVISED`] as history itself found them.
    pub quality: Quality,
}

/// One value that was given for a time, shown or since replaced.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// When it was measured.
    pub measured_at: Timestamp,
    /// What was said.
    pub value: Value,
    /// Marks.
    pub quality: Quality,
    /// When it was received: the first value of a time to the second below, one that replaced another to
    /// the millisecond.
    pub received_at: Timestamp,
    /// Journal position of the record that brought it. `None` for the first value of a time: only
    /// revisions keep theirs, which is what makes a point cost two bytes.
    pub position: Option<u64>,
    /// Whether this is the value that is shown now.
    pub shown: bool,
}

/// What became of one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The newest time of its series.
    New,
    /// A time that had no value, older than the newest of its series.
    Late,
    /// The same value was given for this time before; nothing is kept.
    Duplicate,
    /// Another value for a time that had one: this one is shown now, both are kept.
    Revision,
}

/// What became of one reading, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its series.
    pub series: SeriesId,
    /// What became of it.
    pub kind: Kind,
    /// Older than the newest time its series had, whatever the kind.
    pub late: bool,
    /// Its marks as kept: those it came with, [`Quality::RESENT`] when late, [`Quality::REVISED`]
    /// when it replaced a value.
    pub quality: Quality,
    /// When it was received, as kept.
    pub received_at: Timestamp,
    /// The first value that its device gave for this time, in any series: one station report. The
    /// gap ledger counts these.
    pub first_of_report: bool,
}

/// How the points of one step become one number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agg {
    /// Arithmetic mean of the numbers.
    Mean,
    /// Smallest number.
    Min,
    /// Largest number.
    Max,
    /// Sum of the numbers.
    Sum,
    /// How many points there are, texts included; 0 is given as no value, like every empty step.
    Count,
    /// The oldest number.
    First,
    /// The newest number.
    Last,
    /// The newest number less the newest before the step, whatever its age; where there is none before, less
    /// the oldest of the step, and no value if that is the only one. So the deltas of steps that follow one
    /// another add up to the delta of them all. It can be negative.
    Delta,
    /// Like `Delta`, of a counter: a number smaller than the one before means that it began again at zero, as
    /// Prometheus takes it. Unlike there nothing is extrapolated to the step's ends.
    Increase,
    /// `Increase` per second of the time between the two numbers that it is the increase of.
    Rate,
    /// The number that this share (0 to 1) of the numbers is at or below, between two by their distance.
    Percentile(f64),
}

/// How the series of a group become one number of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Across {
    /// How the points of each series do.
    pub each: Agg,
    /// How the series' numbers do then.
    pub over: Over,
}

/// How the numbers of several series become one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Over {
    /// Mean by the series' weights.
    Mean,
    /// Mean by weight and number of points: who says more counts more.
    MeanOfPoints,
    /// Sum.
    Sum,
    /// Smallest.
    Min,
    /// Largest.
    Max,
    /// The number that this share (0 to 1) of the series is at or below.
    Percentile(f64),
}

/// One step of a group of series.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupStep {
    /// Its start; it holds points from here up to, not including, the next start.
    pub start: Timestamp,
    /// The aggregate; `None` when nothing was measured.
    pub value: Option<f64>,
    /// Points in it.
    pub n: u64,
    /// Series that have a point in it.
    pub n_series: u64,
}

/// One step of a downsampled series.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its start; it holds points from here up to, not including, the next start.
    pub start: Timestamp,
    /// The aggregate; `None` when nothing was measured, or nothing that it could be made of: a gap stays a gap.
    pub value: Option<f64>,
    /// Points in it.
    pub n: u64,
    /// Of these, how many may not be judged by (suspect or taken in calibration). They are part of
    /// the aggregate: leaving them out is for statistics that say so.
    pub n_flagged: u64,
}

/// Size of a history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HistoryStats {
    /// Series ever seen.
    pub series: u64,
    /// Times that have a value, over all series.
    pub points: u64,
    /// Of these, how many no checkpoint has made durable yet.
    pub unsaved: u64,
    /// Chunks on disk.
    pub chunks: u64,
    /// Times that have a value in them.
    pub chunk_points: u64,
    /// Bytes in these chunks.
    pub chunk_bytes: u64,
    /// Partitions of seven days.
    pub partitions: u64,
    /// Bytes of the whole database on disk: the three that follow.
    pub disk_bytes: u64,
    /// Bytes of its tables.
    pub table_bytes: u64,
    /// Bytes written of its own write-ahead log.
    pub log_bytes: u64,
    /// Bytes of older logs, which stay until tables have what they hold.
    pub log_set_aside_bytes: u64,
    /// Room behind the logs' ends, which takes nothing on the disk.
    pub log_reserved_bytes: u64,
    /// Damaged pieces met and skipped since opening.
    pub damaged: u64,
    /// How often the database was opened again after a write that failed.
    pub reopened: u64,
}

/// A point as memory and disk keep it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    /// Measured, ms.
    pub(super) at: i64,
    /// Received, ms.
    pub(super) received: i64,
    pub(super) value: Value,
    pub(super) quality: u16,
}

impl Kept {
    pub(super) fn point(&self) -> Point {
        Point {
            measured_at: Timestamp::from_ms(self.at),
            value: self.value.clone(),
            quality: Quality(self.quality),
        }
    }
    pub(super) fn is_revised(&self) -> bool {
        Quality(self.quality).has(Quality::REVISED)
    }
}

/// Whether two values say the same: numbers by their size (0 and -0 are one), texts by their letters.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.to_bits() == b.to_bits(),
        (a, b) => a == b,
    }
}
