//! Care for closed days: their chunks in the least room, and rollups of their hours.
//!
//! Done beside the writer, series by series: what is read and packed holds no lock, and what was made
//! is put in place in short batches that leave out whatever changed meanwhile. A stop at any point
//! costs only work. What comes late for a day that was cared for makes it *stale*: its rollup goes with
//! the checkpoint that keeps the late points, and the day is due again.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::{Keyspace, OwnedWriteBatch, PersistMode, Readable, Slice};
use onemap_model::Timestamp;
use serde::Serialize;

use super::checkpoint::{NewSizes, put_cursor};
use super::chunk::{self, Numbers, key, partition_range, read_key};
use super::column::{Input, put_signed};
use super::disk::{Chunk, Disk};
use super::memory::unpoisoned;
use super::read::View;
use super::rollup::{Day, HOUR_MS, day_of, day_range};
use super::sum::sum_up;
use super::{History, HistoryError, SeriesId};

/// Where it is kept up to which day all is done, and up to which it was begun.
const CARED: &[u8] = b"cared";
/// A day is closed this long after its end: most of what comes late is there by then.
const GRACE_MS: i64 = 2 * HOUR_MS;
/// Points from which fresh chunks are worth a dense one before their partition is over.
const MIN_DENSE: u64 = 480;
/// Most points of a dense chunk.
const MAX_DENSE: u64 = 8192;
/// Points and series of one batch: what is put in place while the writer waits.
const N_BATCH_POINTS: usize = 50_000;
const N_BATCH_SERIES: usize = 256;

/// What care has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cared {
    /// Series looked at.
    pub series: u64,
    /// Days of series that got a rollup.
    pub days: u64,
    /// Chunks that went.
    pub chunks_before: u64,
    /// Chunks that came for them.
    pub chunks_after: u64,
    /// Bytes of the chunks that went.
    pub bytes_before: u64,
    /// Bytes of those that came.
    pub bytes_after: u64,
}

/// The days that care has been given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// All days before this one are done.
    done: i64,
    /// Days before this one may have rollups.
    begun: i64,
}

/// What care made of one series.
struct Made {
    id: SeriesId,
    days: Vec<(i64, Day)>,
    dense: Vec<Dense>,
    /// The day that was due and now is not.
    settled: Option<i64>,
    /// What had been put into cared-for days when this was made.
    n_stale: u32,
}

/// A chunk that takes the place of others.
struct Dense {
    keyspace: Keyspace,
    old: Vec<(Slice, u64)>,
    n_points: usize,
    row: Vec<u8>,
    key: [u8; 16],
}

impl History {
    /// Times before this one belong to days that may have rollups.
    pub(super) fn cared_to(&self) -> i64 {
        self.cared_to.load(Ordering::Acquire)
    }

    /// Cares for all days that are closed at `now`, and for those that something came late for, until
    /// `is_over` says that there is no time left; then the next call goes on. Appending and reading go
    /// on meanwhile; a checkpoint waits for one batch at most.
    ///
    /// # Errors
    /// [`HistoryError::Read`] or [`HistoryError::Write`] when the disk fails. Damaged chunks are
    /// reported, counted and left as they are.
    pub fn care(&self, now: Timestamp, is_over: &dyn Fn() -> bool) -> Result<Cared, HistoryError> {
        let _one = unpoisoned(self.caring.lock());
        // Held to the end: while it is, no other database takes its place.
        let _disk = self.disk()?;
        let mut cared = Cared::default();
        let closed = day_of(now.ms().saturating_sub(GRACE_MS));
        let ids: Vec<SeriesId> = unpoisoned(self.dictionary.read())
            .iter()
            .map(|(id, _)| id)
            .collect();
        let firsts = ids
            .iter()
            .filter_map(|id| self.memory.read(*id, |s| (s.n > 0).then_some(s.first)).flatten());
        let Some(first) = firsts.min() else {
            return Ok(cared);
        };
        let extent = read_extent(&*self.disk()?)?.unwrap_or(Extent {
            done: day_of(first),
            begun: day_of(first),
        });
        self.care_due(&mut cared, extent.done, is_over)?;
        let to = closed.max(extent.begun);
        if to > extent.done {
            self.begin_care(Extent {
                done: extent.done,
                begun: to,
            })?;
            let mut made = Vec::new();
            for id in ids {
                if is_over() {
                    self.put_in_place(&mut made, &mut cared)?;
                    return Ok(cared);
                }
                cared.series += 1;
                let range = (day_range(extent.done).0, day_range(to - 1).1);
                made.extend(self.make(id, range)?);
                if is_full(&made) {
                    self.put_in_place(&mut made, &mut cared)?;
                }
            }
            self.put_in_place(&mut made, &mut cared)?;
            self.begin_care(Extent { done: to, begun: to })?;
        }
        Ok(cared)
    }

    /// Days that came to be due again.
    fn care_due(&self, cared: &mut Cared, done: i64, is_over: &dyn Fn() -> bool) -> Result<(), HistoryError> {
        let disk = self.disk()?;
        let snapshot = disk.db.snapshot();
        let mut made = Vec::new();
        for row in snapshot.iter(&disk.due) {
            if is_over() {
                break;
            }
            let key = row.key().map_err(HistoryError::reading)?;
            let Some((id, day, _)) = read_key(&key) else {
                continue;
            };
            if day >= done {
                continue; // it is cared for with all of its day
            }
            cared.series += 1;
            if let Some(mut again) = self.make(SeriesId(id), day_range(day))? {
                again.settled = Some(day);
                made.push(again);
            }
            if is_full(&made) {
                self.put_in_place(&mut made, cared)?;
            }
        }
        self.put_in_place(&mut made, cared)
    }

    /// From here on a point for a day before `extent.begun` makes that day stale.
    fn begin_care(&self, extent: Extent) -> Result<(), HistoryError> {
        let _writer = unpoisoned(self.writer.lock());
        let mut row = Vec::new();
        put_signed(&mut row, extent.done);
        put_signed(&mut row, extent.begun);
        let disk = self.disk()?;
        let mut batch =
            OwnedWriteBatch::with_capacity(disk.db.clone(), 1).durability(Some(PersistMode::SyncAll));
        batch.insert(&disk.meta, CARED, chunk::seal(CARED, row));
        self.wrote(batch.commit())?;
        self.cared_to.store(day_range(extent.begun).0, Ordering::Release);
        Ok(())
    }

    /// Rollups and dense chunks of one series for a range of whole days.
    fn make(&self, id: SeriesId, range: (i64, i64)) -> Result<Option<Made>, HistoryError> {
        let held = self
            .memory
            .read(id, |s| {
                (s.n > 0 && s.first <= range.1 && s.last >= range.0).then_some(())
            })
            .flatten();
        let disk = self.disk()?;
        let Some(view) = held.and_then(|()| View::of(&disk, &self.memory, id)) else {
            return Ok(None);
        };
        // The hours of what was let go are never made again.
        let range = (range.0.max(view.kept), range.1);
        let mut days: Vec<(i64, Day)> = Vec::new();
        let mut add = |at: i64, n: u64, n_flagged: u64, numbers: Option<&Numbers>| {
            let day = day_of(at);
            match days.last_mut() {
                Some((last, held)) if *last == day => held.hour_mut(at).add(n, n_flagged, numbers),
                _ => {
                    let mut held = Day::default();
                    held.hour_mut(at).add(n, n_flagged, numbers);
                    days.push((day, held));
                }
            }
        };
        let hour_end = |at: i64| {
            at.div_euclid(HOUR_MS)
                .saturating_mul(HOUR_MS)
                .saturating_add(HOUR_MS - 1)
        };
        let in_one_hour = |first, last| last <= hour_end(first);
        view.walk_by_headers(&disk, range, &in_one_hour, &mut |part| {
            sum_up(&part, hour_end, &mut add);
            ControlFlow::Continue(())
        })?;
        let mut dense = Vec::new();
        for (partition, keyspace) in disk.partitions(range) {
            self.densify(&view, (partition, &keyspace), range.1, &mut dense)?;
        }
        Ok(Some(Made {
            id,
            days,
            dense,
            settled: None,
            n_stale: view.n_stale,
        }))
    }

    /// Packs the fresh chunks of one partition that end by `to`.
    fn densify(
        &self,
        view: &View,
        (partition, keyspace): (i64, &Keyspace),
        to: i64,
        dense: &mut Vec<Dense>,
    ) -> Result<(), HistoryError> {
        let disk = self.disk()?;
        let (start, end) = partition_range(partition);
        let is_over = end <= to;
        let mut group: Vec<Chunk> = Vec::new();
        let mut n = 0;
        let mut close = |group: &mut Vec<Chunk>, n: &mut u64| {
            let fresh = std::mem::take(group);
            let is_worth_it = *n >= MIN_DENSE || (is_over && fresh.len() > 1);
            *n = 0;
            if is_worth_it {
                dense.extend(pack(&disk, keyspace, view.id, &fresh));
            }
        };
        for chunk in disk.chunks(&view.snapshot, view.id, (start, to.min(end))) {
            let chunk = chunk?;
            if chunk.header.is_dense || chunk.header.last > to {
                close(&mut group, &mut n);
                continue;
            }
            let is_next_day = group
                .first()
                .is_some_and(|first| day_of(first.header.first) != day_of(chunk.header.first));
            if n + chunk.header.n > MAX_DENSE || (is_next_day && n >= MIN_DENSE) {
                close(&mut group, &mut n);
            }
            n += chunk.header.n;
            group.push(chunk);
        }
        close(&mut group, &mut n);
        Ok(())
    }

    /// Puts what was made in its place, except where something changed since it was read.
    fn put_in_place(&self, made: &mut Vec<Made>, cared: &mut Cared) -> Result<(), HistoryError> {
        if made.is_empty() {
            return Ok(());
        }
        let disk = self.disk()?;
        self.made(disk.wait_for_queue())?;
        let writer = unpoisoned(self.writer.lock());
        let mut batch = OwnedWriteBatch::with_capacity(disk.db.clone(), 4 * made.len())
            .durability(Some(PersistMode::Buffer));
        let (mut n_before, mut n_after, mut bytes_before, mut bytes_after) = (0, 0, 0, 0);
        for made in made.drain(..) {
            // What was put in meanwhile may be in no rollup: then every day of the series is due again.
            let is_as_read = self.memory.read(made.id, |s| s.n_stale) == Some(made.n_stale);
            for (day, rollup) in &made.days {
                let key = key(made.id.0, *day, 0);
                if is_as_read {
                    batch.insert(&disk.rollups, key, chunk::seal(&key, rollup.encode()));
                    cared.days += 1;
                } else {
                    batch.insert(&disk.due, key, []);
                }
            }
            if let Some(day) = made.settled.filter(|_| is_as_read) {
                batch.remove(&disk.due, key(made.id.0, day, 0));
            }
            for dense in made.dense {
                let mut is_there = true;
                for (old, _) in &dense.old {
                    let held = dense.keyspace.contains_key(old);
                    is_there &= disk.sound("block of chunks", old, held)?.unwrap_or(false);
                }
                if !is_there {
                    continue;
                }
                for (old, n_bytes) in &dense.old {
                    n_before += 1;
                    bytes_before += n_bytes;
                    if **old != dense.key {
                        batch.remove(&dense.keyspace, old.clone());
                    }
                }
                n_after += 1;
                bytes_after += dense.row.len() as u64;
                batch.insert(&dense.keyspace, dense.key, dense.row);
            }
        }
        let now = |size: &AtomicU64, less: u64, more: u64| {
            (size.load(Ordering::Relaxed) + more).saturating_sub(less)
        };
        let sizes = NewSizes {
            n_chunks: now(&self.sizes.n_chunks, n_before, n_after),
            chunk_bytes: now(&self.sizes.chunk_bytes, bytes_before, bytes_after),
        };
        put_cursor(&disk, &mut batch, (self.cursor(), writer.n_batches), &sizes);
        self.wrote(batch.commit())?;
        self.sizes.n_chunks.store(sizes.n_chunks, Ordering::Relaxed);
        self.sizes.chunk_bytes.store(sizes.chunk_bytes, Ordering::Relaxed);
        cared.chunks_before += n_before;
        cared.chunks_after += n_after;
        cared.bytes_before += bytes_before;
        cared.bytes_after += bytes_after;
        Ok(())
    }
}

/// One chunk for several; `None` when one of them is damaged, or nothing is won.
fn pack(disk: &Disk, keyspace: &Keyspace, id: SeriesId, fresh: &[Chunk]) -> Option<Dense> {
    let mut points = Vec::new();
    for chunk in fresh {
        match chunk.points() {
            Some(more) => points.extend(more),
            None => {
                disk.report_damage("chunk", &chunk.key);
                return None;
            }
        }
    }
    // The number of a chunk that goes, so that a key is never given to two at a time.
    let (_, _, seq) = read_key(&fresh.first()?.key)?;
    let key = key(id.0, points.first()?.at, seq);
    let row = chunk::pack_dense(&key, &points);
    Some(Dense {
        keyspace: keyspace.clone(),
        old: fresh.iter().map(|c| (c.key.clone(), c.n_bytes())).collect(),
        n_points: points.len(),
        row,
        key,
    })
}

fn is_full(made: &[Made]) -> bool {
    let n_points = made.iter().flat_map(|m| &m.dense).map(|d| d.n_points);
    made.len() >= N_BATCH_SERIES || n_points.sum::<usize>() >= N_BATCH_POINTS
}

/// The days that care was given to; `None` when there are none, or when the row is damaged: then all is
/// done again.
pub(super) fn read_extent(disk: &Disk) -> Result<Option<Extent>, HistoryError> {
    let Some(row) = disk.meta.get(CARED).map_err(HistoryError::reading)? else {
        return Ok(None);
    };
    let read = || {
        let mut input = Input(chunk::unseal(CARED, &row)?);
        Some(Extent {
            done: input.signed()?,
            begun: input.signed()?,
        })
    };
    if read().is_none() {
        disk.report_damage("row of care", CARED);
    }
    Ok(read())
}

impl Extent {
    /// All days before this one are done.
    pub(super) fn done(&self) -> i64 {
        self.done
    }
    /// The first time that belongs to no day that may have a rollup.
    pub(super) fn end(&self) -> i64 {
        day_range(self.begun).0
    }
}
