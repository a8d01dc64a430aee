//! The newest value of every series, for screens and judgements that ask for all of them at once.
//!
//! Dense by [`SeriesId`], never asked of an engine: 8000 series are copied in well under a millisecond.
//! Newest is by `measured_at`; of two values of one time the later record counts, so after
//! [`Latest::apply`] it is the value that history shows for the series' last time, and
//! [`Latest::rebuild`] makes the same table from history.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use onemap_model::{Quality, Reading, Timestamp, Value};
use sha2::{Digest, Sha256};

use crate::history::{History, HistoryError, Kind, Outcome, SeriesId};

/// The newest value of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct LatestValue {
    /// When it was measured.
    pub measured_at: Timestamp,
    /// When it was received, as history keeps it: to the second, of a value that replaced another to the
    /// millisecond.
    pub received_at: Timestamp,
    /// What was measured.
    pub value: Value,
    /// Marks.
    pub quality: Quality,
}

/// The newest value of every series. One writer, any number of readers; share it in an `Arc`.
#[derive(Default)]
pub struct Latest {
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    values: Vec<Option<LatestValue>>,
    /// By series: the version of the table that its value came with.
    changed: Vec<u64>,
    version: u64,
}

impl Table {
    /// Whether the value is taken: not when a newer time is there.
    fn put(&mut self, id: SeriesId, value: LatestValue) -> bool {
        if self.values.len() <= id.index() {
            self.values.resize(id.index() + 1, None);
            self.changed.resize(id.index() + 1, 0);
        }
        let place = &mut self.values[id.index()];
        if place
            .as_ref()
            .is_some_and(|old| old.measured_at > value.measured_at)
        {
            return false;
        }
        *place = Some(value);
        self.changed[id.index()] = self.version + 1;
        true
    }
}

impl Latest {
    /// A table without values.
    pub fn new() -> Self {
        Self::default()
    }

    /// The table as history has it: of every series the value shown for its last time.
    ///
    /// # Errors
    /// As [`History::versions`].
    pub fn rebuild(history: &History) -> Result<Self, HistoryError> {
        let latest = Self::new();
        let mut table = latest.write();
        for series in history.all_series() {
            let end = series.last + Duration::from_millis(1);
            for version in history.versions(series.id, series.last, end)? {
                if version.shown {
                    table.put(
                        series.id,
                        LatestValue {
                            measured_at: version.measured_at,
                            received_at: version.received_at,
                            value: version.value,
                            quality: version.quality,
                        },
                    );
                }
            }
        }
        table.version += 1;
        drop(table);
        Ok(latest)
    }

    /// Takes what [`History::append`] made of `readings`, with the marks it gave them; duplicates
    /// change nothing.
    pub fn apply(&self, readings: &[Reading], outcomes: &[Outcome]) {
        let mut table = self.write();
        let mut changed = false;
        for (reading, outcome) in readings.iter().zip(outcomes) {
            if outcome.kind != Kind::Duplicate {
                changed |= table.put(
                    outcome.series,
                    value_of(reading, outcome.quality, outcome.received_at),
                );
            }
        }
        table.version += u64::from(changed);
    }

    /// Takes readings as they are, in journal order. Repetitions are for the caller to leave out.
    pub fn update(&self, readings: &[(SeriesId, &Reading)]) {
        let mut table = self.write();
        let mut changed = false;
        for (id, reading) in readings {
            changed |= table.put(*id, value_of(reading, reading.quality, reading.received_at));
        }
        table.version += u64::from(changed);
    }

    /// The newest value of one series.
    pub fn get(&self, id: SeriesId) -> Option<LatestValue> {
        self.read().values.get(id.index())?.clone()
    }

    /// The newest value of every series that has one, in the order of their numbers.
    pub fn snapshot_all(&self) -> Vec<(SeriesId, LatestValue)> {
        let table = self.read();
        (0u32..)
            .zip(&table.values)
            .filter_map(|(id, value)| Some((SeriesId(id), value.clone()?)))
            .collect()
    }

    /// The newest values of the next `n` series that have one, after `after`, in the order of their numbers. Who takes all
    /// by it sees each as it was when its turn came.
    pub fn some_after(&self, after: Option<SeriesId>, n: usize) -> Vec<(SeriesId, LatestValue)> {
        let table = self.read();
        let first = after.map_or(0, |id| id.index() + 1);
        let rest = table.values.get(first..).unwrap_or_default();
        let mut some = Vec::with_capacity(n.min(rest.len()));
        let ids = (first as u32..).zip(rest);
        some.extend(
            ids.filter_map(|(id, value)| Some((SeriesId(id), value.clone()?)))
                .take(n),
        );
        some
    }

    /// Counts up with every update that changed something.
    pub fn version(&self) -> u64 {
        self.read().version
    }

    /// The series that changed after `version`, and the version to ask with next time. Versions begin
    /// anew with every process.
    pub fn changed_since(&self, version: u64) -> (Vec<SeriesId>, u64) {
        let table = self.read();
        if version >= table.version {
            return (Vec::new(), table.version);
        }
        let ids = (0u32..)
            .zip(&table.changed)
            .filter(|(_, changed)| **changed > version)
            .map(|(id, _)| SeriesId(id))
            .collect();
        (ids, table.version)
    }

    /// SHA-256 over every series' newest value, in the order of the series' names.
    pub fn digest(&self, names: &History) -> [u8; 32] {
        let mut rows: Vec<(String, LatestValue)> = self
            .snapshot_all()
            .into_iter()
            .filter_map(|(id, value)| Some((names.series_key(id)?.to_string(), value)))
            .collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        let mut hash = Sha256::new();
        let mut put = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        for (name, row) in rows {
            put(name.as_bytes());
            put(&row.measured_at.ms().to_le_bytes());
            put(&row.received_at.ms().to_le_bytes());
            put(&row.quality.0.to_le_bytes());
            match &row.value {
                Value::Number(number) => put(&number.to_bits().to_le_bytes()),
                Value::Text(text) => put(text.as_bytes()),
            }
        }
        hash.finalize().into()
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn value_of(reading: &Reading, quality: Quality, received_at: Timestamp) -> LatestValue {
    LatestValue {
        measured_at: reading.measured_at,
        received_at,
        value: reading.value.clone(),
        quality,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_model::{DeviceId, Quantity, SeriesKey};

    use super::*;
    use crate::history::HistoryConfig;

    fn reading(device: &str, at: i64, value: Value, position: u64) -> Reading {
        Reading {
            series: SeriesKey {
                device: DeviceId::new(device).unwrap(),
                quantity: Quantity::named("pm2_5").unwrap(),
                channel: 0,
            },
            measured_at: Timestamp::from_ms(at),
            period: Duration::ZERO,
            received_at: Timestamp::from_ms(at + position as i64),
            value,
            quality: Quality::GOOD,
            position,
        }
    }

    #[test]
    fn the_table_is_what_history_shows_last_also_when_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::open(dir.path(), HistoryConfig::default()).unwrap();
        let latest = Latest::new();
        let number = |device: &str, at, n, position| reading(device, at, Value::Number(n), position);
        let resent = |reading| Reading {
            quality: Quality::RESENT,
            ..reading
        };
        let frames = [
            number("a", 1000, 1.0, 1),
            number("b", 900, 7.0, 2),
            number("a", 2000, 2.0, 3),
            number("a", 1500, 9.0, 4),         // late
            number("a", 2000, 3.0, 5),         // revision
            resent(number("a", 2000, 2.0, 6)), // the replaced value again
            reading("c", 5, Value::Text("开".into()), 7),
        ];
        for frame in &frames {
            let readings = std::slice::from_ref(frame);
            latest.apply(readings, &history.append(readings).unwrap());
        }
        let value = latest.get(SeriesId(1)).unwrap();
        assert_eq!(value.value, Value::Number(3.0));
        assert_eq!(value.received_at.ms(), 2005);
        assert!(value.quality.has(Quality::REVISED));
        assert_eq!(latest.get(SeriesId(0)), None);
        assert_eq!(latest.get(SeriesId(9)), None);

        history.checkpoint(7, &[]).unwrap();
        let digest = latest.digest(&history);
        drop(history);
        let history = History::open(dir.path(), HistoryConfig::default()).unwrap();
        let rebuilt = Latest::rebuild(&history).unwrap();
        assert_eq!(rebuilt.snapshot_all(), latest.snapshot_all());
        for n in 1..4 {
            let mut by_pieces = Vec::new();
            loop {
                let some = latest.some_after(by_pieces.last().map(|(id, _)| *id), n);
                if some.is_empty() {
                    break;
                }
                by_pieces.extend(some);
            }
            assert_eq!(by_pieces, latest.snapshot_all());
        }
        assert_eq!(rebuilt.digest(&history), digest);
        let changed = number("b", 901, 7.0, 8);
        let outcomes = history.append(std::slice::from_ref(&changed)).unwrap();
        rebuilt.apply(&[changed], &outcomes);
        assert_ne!(rebuilt.digest(&history), digest);
    }

    #[test]
    fn a_screen_learns_of_each_change_once() {
        let latest = Latest::new();
        let put = |id: u32, at: i64| {
            let reading = reading("a", at, Value::Number(1.0), 1);
            latest.update(&[(SeriesId(id), &reading)]);
        };
        let (changed, seen) = latest.changed_since(0);
        assert_eq!((changed, seen), (vec![], 0));
        put(3, 10);
        put(5, 10);
        let (changed, seen) = latest.changed_since(seen);
        assert_eq!(changed, [SeriesId(3), SeriesId(5)]);
        put(5, 9); // older: not the newest value
        assert_eq!(latest.changed_since(seen), (vec![], seen));
        put(5, 11);
        assert_eq!(latest.changed_since(seen).0, [SeriesId(5)]);
        assert_eq!(latest.changed_since(0).0.len(), 2);
    }
}
