//! What a history holds and what it takes, week by week and class by class.
//!
//! Looks at the headers of one snapshot and waits for nobody.

use std::collections::BTreeMap;
use std::time::Duration;

use fjall::Readable;
use onemap_model::Timestamp;
use serde::Serialize;

use super::chunk::{self, partition_range, read_key};
use super::disk::FORMAT;
use super::memory::unpoisoned;
use super::{History, HistoryError, Scrubbed, SeriesId, SeriesInfo};

/// What one week holds of the series of one class.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OfWeek {
    /// Keyspace of the week.
    pub keyspace: String,
    /// First time of the week.
    pub from: Timestamp,
    /// First time after it.
    pub to: Timestamp,
    /// Class of retention.
    pub class: String,
    /// Series that have points in it.
    pub series: u64,
    /// Points in chunks.
    pub points: u64,
    /// Chunks.
    pub chunks: u64,
    /// Bytes of the chunks and their keys.
    pub bytes: u64,
}

/// How long one class of quantities is kept, and from when on it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OfClass {
    /// Its name.
    pub class: String,
    /// Series of it.
    pub series: u64,
    /// Days that values are kept; null is for ever.
    pub raw_days: Option<u64>,
    /// Days that the hours of closed days are kept; null is for ever.
    pub rollup_days: Option<u64>,
    /// Values before this time were let go; null when none were.
    pub kept_from: Option<Timestamp>,
    /// Hours before this time, too.
    pub rollups_from: Option<Timestamp>,
}

/// What a history holds, as of its last checkpoint but for `unsaved`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stat {
    /// Layout of the rows.
    pub format: u64,
    /// Journal position of the last checkpoint.
    pub cursor: u64,
    /// Series ever seen.
    pub series: u64,
    /// Times that have a value, those that no checkpoint has made durable yet with them.
    pub points: u64,
    /// Points that no checkpoint has made durable yet.
    pub unsaved: u64,
    /// Oldest and newest measured time.
    pub oldest: Option<Timestamp>,
    /// Newest measured time.
    pub newest: Option<Timestamp>,
    /// Bytes of the whole database on disk: tables, log and logs that are set aside.
    pub disk_bytes: u64,
    /// Bytes of its tables.
    pub table_bytes: u64,
    /// Bytes written of its own write-ahead log.
    pub log_bytes: u64,
    /// Bytes of older logs, which stay until tables have what they hold.
    pub log_set_aside_bytes: u64,
    /// Room behind the logs' ends, which takes nothing on the disk and is in none of the others.
    pub log_reserved_bytes: u64,
    /// Bytes of the whole database by point; absent without points.
    pub bytes_per_point: Option<f64>,
    /// Days of series that are rolled up, and the bytes of their rows.
    pub rollups: u64,
    /// Bytes of these rows.
    pub rollup_bytes: u64,
    /// Days of series that are due again.
    pub due: u64,
    /// Replaced values.
    pub revisions: u64,
    /// Bytes of what is not in chunks yet: heads and late points.
    pub head_bytes: u64,
    /// Chunks whose checksum does not fit; `verify` says which.
    pub damaged: u64,
    /// How far the reading of all rows is, and what it found.
    pub scrub: Scrubbed,
    /// The classes of retention that have series, by name.
    pub classes: Vec<OfClass>,
    /// By week, then by class.
    pub weeks: Vec<OfWeek>,
}

impl History {
    /// Looks at every header.
    ///
    /// # Errors
    /// [`HistoryError::Read`] when the disk fails.
    pub fn stat(&self) -> Result<Stat, HistoryError> {
        let disk = self.disk()?;
        let (snapshot, cursor) = {
            let _writer = unpoisoned(self.writer.lock());
            (disk.db.snapshot(), self.cursor())
        };
        let size = self.stats();
        let all = self.all_series();
        let mut stat = Stat {
            format: FORMAT,
            cursor,
            series: size.series,
            points: size.points,
            unsaved: size.unsaved,
            oldest: all.iter().map(|series| series.first).min(),
            newest: all.iter().map(|series| series.last).max(),
            disk_bytes: size.disk_bytes,
            table_bytes: size.table_bytes,
            log_bytes: size.log_bytes,
            log_set_aside_bytes: size.log_set_aside_bytes,
            log_reserved_bytes: size.log_reserved_bytes,
            bytes_per_point: (size.points > 0).then(|| size.disk_bytes as f64 / size.points as f64),
            scrub: self.scrubbed(),
            classes: self.classes(&all),
            ..Stat::default()
        };
        for (partition, keyspace) in disk.partitions((i64::MIN, i64::MAX)) {
            let (first, last) = partition_range(partition);
            let name = format!("c{partition}");
            let mut classes: BTreeMap<String, OfWeek> = BTreeMap::new();
            let mut of: Option<(u32, String)> = None;
            for row in snapshot.iter(&keyspace) {
                let Some((key, row)) = disk.sound("block of chunks", name.as_bytes(), row.into_inner())?
                else {
                    stat.damaged += 1;
                    break;
                };
                let (Some((id, ..)), Some((header, _))) = (read_key(&key), chunk::open(&key, &row)) else {
                    stat.damaged += 1;
                    continue;
                };
                let is_next = of.as_ref().is_none_or(|(before, _)| *before != id);
                if is_next {
                    let key = self.series_key(SeriesId(id));
                    of = Some((id, key.map_or_else(String::new, |key| self.class_of(&key))));
                }
                let Some((_, class)) = &of else { continue };
                let week = classes.entry(class.clone()).or_insert_with(|| OfWeek {
                    keyspace: format!("c{partition}"),
                    from: Timestamp::from_ms(first),
                    to: Timestamp::from_ms(last.saturating_add(1)),
                    class: class.clone(),
                    ..OfWeek::default()
                });
                week.series += u64::from(is_next);
                week.points += header.n;
                week.chunks += 1;
                week.bytes += (key.len() + row.len()) as u64;
            }
            stat.weeks.extend(classes.into_values());
        }
        let mut growth_bytes = 0;
        for (keyspace, n, n_bytes) in [
            (&disk.rollups, &mut stat.rollups, &mut stat.rollup_bytes),
            (&disk.revisions, &mut stat.revisions, &mut 0),
            (&disk.due, &mut stat.due, &mut 0),
            (&disk.heads, &mut 0, &mut stat.head_bytes),
            (&disk.growth, &mut 0, &mut growth_bytes),
        ] {
            for row in snapshot.iter(keyspace) {
                let Some((key, row)) = disk.sound("block", b"", row.into_inner())? else {
                    stat.damaged += 1;
                    break;
                };
                *n += 1;
                *n_bytes += (key.len() + row.len()) as u64;
            }
        }
        stat.head_bytes += growth_bytes;
        Ok(stat)
    }

    fn classes(&self, all: &[SeriesInfo]) -> Vec<OfClass> {
        let floors = unpoisoned(self.floors.read()).clone();
        let days = |span: Option<Duration>| span.map(|span| span.as_secs() / 86_400);
        let mut classes: BTreeMap<&str, OfClass> = BTreeMap::new();
        for info in all {
            let (name, span) = floors.retention.class(info.key.quantity);
            let class = classes.entry(name).or_insert_with(|| OfClass {
                class: name.to_owned(),
                raw_days: days(span.raw),
                rollup_days: days(span.rollups),
                ..OfClass::default()
            });
            let kept = floors.of(info.key.quantity).kept();
            class.series += 1;
            class.kept_from = class.kept_from.max(kept.map(|kept| kept.values));
            class.rollups_from = class.rollups_from.max(kept.and_then(|kept| kept.rollups));
        }
        classes.into_values().collect()
    }
}
