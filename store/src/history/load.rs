//! Bringing a history back from its folder.

use fjall::{OwnedWriteBatch, PersistMode, Readable, Snapshot};
use onemap_model::SeriesKey;

use super::chunk::{self, key, read_key};
use super::disk::{Disk, FORMAT, OLDEST_FORMAT};
use super::memory::{Memory, Series};
use super::missing::{ALL_SERIES, Loss, Lost};
use super::series::parse_key;
use super::{HistoryError, SeriesId};

/// Where the number of the layout is kept.
pub(super) const FORMAT_ROW: &[u8] = b"format";
/// Where it is kept what damaged rows took with them.
const LOST: &[u8] = b"lost";
/// Losses that are kept apart.
const N_LOST: usize = 1000;

/// What could not be read of the newest points while a history is opened.
#[derive(Default)]
pub(super) struct Gone {
    /// Series whose head is damaged, and the newest time that their chunks have.
    heads: Vec<(SeriesId, Option<i64>)>,
    /// Rows of growth that are.
    pub(super) n_growth: usize,
}

impl Disk {
    /// Checks the number of the layout, and writes it into a new database or one of an older layout: from
    /// then on older programs refuse it.
    pub(super) fn check_format(&self) -> Result<(), HistoryError> {
        if let Some(row) = self.meta.get(FORMAT_ROW).map_err(HistoryError::reading)? {
            match <[u8; 8]>::try_from(row.as_ref()).map(u64::from_le_bytes) {
                Ok(FORMAT) => return Ok(()),
                Ok(OLDEST_FORMAT..FORMAT) => {}
                Ok(found) => return Err(HistoryError::Format { found }),
                Err(_) => return Err(HistoryError::Format { found: 0 }),
            }
        }
        self.meta
            .insert(FORMAT_ROW, FORMAT.to_le_bytes())
            .map_err(HistoryError::writing)
    }

    /// Every series with its number; without a name when its quantity is not known any more.
    pub(super) fn load_series(&self) -> Result<Vec<(SeriesId, Option<SeriesKey>)>, HistoryError> {
        let mut all = Vec::new();
        for row in self.series.iter() {
            let (name, row) = row.into_inner().map_err(HistoryError::reading)?;
            let id = chunk::unseal(&name, &row)
                .and_then(|id| id.try_into().ok())
                .map(u32::from_be_bytes);
            let Some(id) = id else {
                self.report_damage("name", &name);
                continue;
            };
            let name = String::from_utf8_lossy(&name);
            let key = parse_key(&name);
            if key.is_none() {
                tracing::warn!(series = id, %name, "series `{name}` has no known quantity and is not shown");
            }
            all.push((SeriesId(id), key));
        }
        // A number with a head but without a readable name stays given.
        if let Some(row) = self.heads.last_key_value() {
            let key = row.key().map_err(HistoryError::reading)?;
            if let Ok(id) = <[u8; 4]>::try_from(key.as_ref()).map(u32::from_be_bytes)
                && all.iter().all(|(known, _)| known.0 < id)
            {
                all.push((SeriesId(id), None));
            }
        }
        all.sort_by_key(|(id, _)| *id);
        Ok(all)
    }

    /// What memory held of series at the last checkpoint, asked for in the order of their numbers.
    pub(super) fn heads_in_order(&self) -> Result<HeadsInOrder<'_>, HistoryError> {
        Ok(HeadsInOrder {
            disk: self,
            rows: Some(self.heads.iter()),
            next: None,
            lost: self.known_lost()?,
        })
    }

    /// Of a series without a sound row: the extent is found from the chunks, the points of the head are lost.
    fn rebuild_head(&self, id: SeriesId) -> Result<Series, HistoryError> {
        let mut series = Series::default();
        let snapshot = self.db.snapshot();
        for chunk in self.chunks(&snapshot, id, (i64::MIN, i64::MAX)) {
            let chunk = chunk?;
            let (_, _, seq) = read_key(&chunk.key).unwrap_or_default();
            series.first = if series.n == 0 {
                chunk.header.first
            } else {
                series.first
            };
            series.last = chunk.header.last;
            series.n += chunk.header.n;
            series.next_seq = series.next_seq.max(seq + 1);
            series.frontier = Some(chunk.header.last);
        }
        Ok(series)
    }

    /// What is known to be lost, with what was lost just now, which is remembered: the rows that held it are
    /// written anew.
    pub(super) fn load_lost(&self, memory: &Memory, gone: Gone) -> Result<Vec<Lost>, HistoryError> {
        let mut lost = self.known_lost()?;
        let newest = memory.newest().unwrap_or(i64::MAX);
        let n_known = lost.len();
        for (id, last) in gone.heads {
            let first = last.map_or(i64::MIN, |at| at.saturating_add(1));
            // Found at a start before, and no checkpoint has had to write it anew since.
            let is_it = |known: &Lost| known.series == (id.0, id.0) && known.times.0 <= first;
            if lost.iter().any(is_it) {
                continue;
            }
            lost.push(Lost {
                loss: Loss::Values,
                series: (id.0, id.0),
                times: (first, newest),
            });
        }
        let is_of_all = |known: &Lost| known.series == ALL_SERIES && known.times.1 >= newest;
        if gone.n_growth > 0 && !lost.iter().any(is_of_all) {
            lost.push(Lost {
                loss: Loss::Values,
                series: ALL_SERIES,
                times: (memory.oldest_of_heads().unwrap_or(i64::MIN), newest),
            });
        }
        if lost.len() == n_known {
            return Ok(lost);
        }
        if lost.len() > N_LOST {
            // As one span of all series: too much is said then, and nothing hidden.
            let join = |a: (i64, i64), b: (i64, i64)| (a.0.min(b.0), a.1.max(b.1));
            let times = lost.iter().map(|lost| lost.times).reduce(join);
            lost = vec![Lost {
                loss: Loss::Values,
                series: ALL_SERIES,
                times: times.unwrap_or((i64::MIN, newest)),
            }];
        }
        self.keep_lost(&lost)?;
        Ok(lost)
    }

    /// What was lost before.
    pub(super) fn known_lost(&self) -> Result<Vec<Lost>, HistoryError> {
        let Some(row) = self.meta.get(LOST).map_err(HistoryError::reading)? else {
            return Ok(Vec::new());
        };
        let lost = chunk::unseal(LOST, &row).and_then(|row| serde_json::from_slice(row).ok());
        if lost.is_none() {
            self.report_damage("row of what is lost", LOST);
        }
        Ok(lost.unwrap_or_default())
    }

    pub(super) fn keep_lost(&self, lost: &[Lost]) -> Result<(), HistoryError> {
        let row = serde_json::to_vec(lost).expect("numbers and names are JSON, and memory takes every byte");
        let mut batch =
            OwnedWriteBatch::with_capacity(self.db.clone(), 1).durability(Some(PersistMode::SyncAll));
        batch.insert(&self.meta, LOST, chunk::seal(LOST, row));
        batch.commit().map_err(HistoryError::writing)
    }

    /// The first time of the chunk that begins last in `from..before`.
    pub(super) fn before(
        &self,
        snapshot: &Snapshot,
        id: SeriesId,
        (from, before): (i64, i64),
    ) -> Result<Option<i64>, HistoryError> {
        let Some(keyspace) = self.partition(chunk::partition_of(from)) else {
            return Ok(None);
        };
        if from >= before {
            return Ok(None);
        }
        let range = key(id.0, from, 0)..key(id.0, before, 0);
        let Some(row) = snapshot.range(&keyspace, range).next_back() else {
            return Ok(None);
        };
        let key = self.sound("block of chunks", &key(id.0, from, 0), row.key())?;
        Ok(key.and_then(|key| read_key(&key)).map(|(_, first, _)| first))
    }
}

/// Rows of heads, read one after the other: a million looked up one by one takes seconds.
pub(super) struct HeadsInOrder<'a> {
    disk: &'a Disk,
    /// None after a block that could not be read: from there on each is looked up, so that only those of the
    /// block are lost.
    rows: Option<fjall::Iter>,
    /// The row that was read ahead.
    next: Option<(SeriesId, fjall::UserValue)>,
    /// What is known to be lost.
    lost: Vec<Lost>,
}

impl HeadsInOrder<'_> {
    /// A series whose number is larger than that of the last one asked for. When its row is damaged, that is noted
    /// in `gone`; when it has none, it is empty, or a backup had to leave its row out.
    pub(super) fn of(&mut self, id: SeriesId, gone: &mut Gone) -> Result<Series, HistoryError> {
        let disk = self.disk;
        let key = id.0.to_be_bytes();
        let row = match self.row(id) {
            Some(row) => row,
            None => {
                let read = disk.heads.get(key);
                match read {
                    Ok(None) => None,
                    read => {
                        let row = disk.sound("block of heads", &key, read)?.flatten();
                        // What stands in a damaged block is no sound row.
                        Some(row.unwrap_or_else(|| fjall::UserValue::from([])))
                    }
                }
            }
        };
        let Some(row) = row else {
            let is_lost = |lost: &Lost| (lost.series.0..=lost.series.1).contains(&id.0);
            return match self.lost.iter().any(is_lost) {
                true => disk.rebuild_head(id),
                false => Ok(Series::default()),
            };
        };
        if let Some(series) = chunk::unseal(&key, &row).and_then(Series::read) {
            return Ok(series);
        }
        disk.report_damage("head", &key);
        let series = disk.rebuild_head(id)?;
        // Before what it has grown by is laid over it: that comes behind what is lost.
        gone.heads.push((id, series.last()));
        Ok(series)
    }

    /// The row of a series, if it has one; `None` when they can no longer be read in order.
    fn row(&mut self, id: SeriesId) -> Option<Option<fjall::UserValue>> {
        loop {
            match self.next.take() {
                Some((ahead, row)) if ahead == id => return Some(Some(row)),
                Some((ahead, row)) if ahead > id => {
                    self.next = Some((ahead, row));
                    return Some(None);
                }
                _ => {}
            }
            self.next = match self.rows.as_mut()?.next().map(fjall::Guard::into_inner) {
                None => return Some(None),
                Some(Ok((key, row))) => <[u8; 4]>::try_from(key.as_ref())
                    .ok()
                    .map(|key| (SeriesId(u32::from_be_bytes(key)), row)),
                Some(Err(_)) => {
                    self.rows = None;
                    None
                }
            };
        }
    }
}

impl Series {
    /// The newest time, if there is one.
    pub(super) fn last(&self) -> Option<i64> {
        (self.n > 0).then_some(self.last)
    }
}
