//! Letting go of what lies below the floors, beside everything else.
//!
//! It is done in steps, each of which may be the last one before a stop:
//! 1. *ready*: care has rolled up all that is older than the closing time; the next checkpoint raises the floor;
//! 2. *trimmed*: the series forget in memory what lies below it, and a checkpoint makes that durable;
//! 3. *dropped*: weeks that no class needs go as whole keyspaces, of others the rows of their series.
//!
//! A row of `meta` holds the floors; whatever stands below them on disk is dropped again after a stop.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fjall::{Keyspace, OwnedWriteBatch, PersistMode, Readable};
use onemap_model::Quantity;
use serde::Serialize;

use super::care::read_extent;
use super::checkpoint::{NewSizes, put_cursor};
use super::chunk::{self, partition_of, read_key};
use super::disk::Disk;
use super::memory::{Series, unpoisoned};
use super::point::Kept;
use super::read::{Part, View};
use super::retention::{FLOORS, Floors, NOTHING};
use super::rollup::day_of;
use super::run::Run;
use super::write::Writer;
use super::{History, HistoryError, SeriesId};

/// Series that are trimmed while the writer waits.
const N_SERIES: usize = 64;
/// How long tables are waited for; a disk that takes no writes gives none.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);
/// Rows that one batch removes.
const N_ROWS: usize = 4096;

/// What one round has let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LetGo {
    /// Quantities whose floor the next checkpoint raises.
    pub raised: u64,
    /// Series that forgot old values; a checkpoint makes it durable, then the next round drops them.
    pub trimmed: u64,
    /// Weeks that went as a whole.
    pub weeks: u64,
    /// Rows of weeks that others still need, of replaced values and of rollups.
    pub rows: u64,
    /// More is to be let go as soon as a checkpoint has been made, or there is time for it.
    pub waits: bool,
}

/// What a series has below its floor, and what is left of it.
struct Below {
    /// Number of its points and its newest time when it was looked at.
    of: (u64, i64),
    n: u64,
    /// The first time that stays.
    first: Option<i64>,
    floor: i64,
    newest: Option<Kept>,
}

impl History {
    /// Lets go of what is older than its class keeps, until `is_over` says that there is no time left; then
    /// the next call goes on. A checkpoint waits for one short batch at most.
    ///
    /// # Errors
    /// [`HistoryError::Read`] or [`HistoryError::Write`] when the disk fails.
    pub fn let_go(&self, is_over: &dyn Fn() -> bool) -> Result<LetGo, HistoryError> {
        self.let_go_with(true, is_over)
    }

    /// As [`History::let_go`], but for what takes room before it gives any: only whole weeks go, and rows of weeks
    /// that stay wait.
    ///
    /// # Errors
    /// As [`History::let_go`].
    pub fn let_go_of_weeks(&self, is_over: &dyn Fn() -> bool) -> Result<LetGo, HistoryError> {
        self.let_go_with(false, is_over)
    }

    /// Whether letting go waits for a checkpoint, whether anything came since the last one or not.
    pub fn wants_checkpoint(&self) -> bool {
        let is_to_rise = !unpoisoned(self.floors.read()).ready.is_empty();
        let trimmed_at = self.trimmed_at.load(Ordering::Acquire);
        is_to_rise || trimmed_at >= self.n_checkpoints.load(Ordering::Acquire)
    }

    fn let_go_with(&self, rows_too: bool, is_over: &dyn Fn() -> bool) -> Result<LetGo, HistoryError> {
        let _one = unpoisoned(self.caring.lock());
        // Held to the end: while it is, no other database takes its place. Who waits for that is not kept waiting.
        let disk = &*self.disk()?;
        let is_over = &|| is_over() || disk.is_to_stay().is_err();
        let mut done = LetGo {
            raised: self.get_ready(disk)?,
            ..LetGo::default()
        };
        let floors = unpoisoned(self.floors.read()).clone();
        if floors.by_quantity.is_empty() {
            return Ok(done);
        }
        let mut ids: Vec<(SeriesId, Quantity)> = Vec::new();
        for (id, key) in unpoisoned(self.dictionary.read()).iter() {
            if floors.of(key.quantity) != NOTHING {
                ids.push((id, key.quantity));
            }
        }
        for some in ids.chunks(N_SERIES) {
            if is_over() {
                done.waits = true;
                return Ok(done);
            }
            done.trimmed += self.trim(disk, some)?;
        }
        if done.trimmed > 0 {
            let trimmed_at = self.n_checkpoints.load(Ordering::Acquire);
            self.trimmed_at.store(trimmed_at, Ordering::Release);
            return Ok(done);
        }
        if self.trimmed_at.load(Ordering::Acquire) >= self.n_checkpoints.load(Ordering::Acquire) {
            done.waits = true; // no checkpoint has made it durable that the series forgot
            return Ok(done);
        }
        self.drop_weeks(disk, &floors, &ids, &mut done, is_over)?;
        if rows_too {
            self.clear_rows(disk, &floors, &ids, &mut done, is_over)?;
        }
        Ok(done)
    }

    /// Notes which floors the next checkpoint raises: to what is closing, where care has rolled all of it up.
    /// Nothing older comes any more, so what is rolled up stays so.
    fn get_ready(&self, disk: &Disk) -> Result<u64, HistoryError> {
        let mut ready = unpoisoned(self.floors.read()).wanted();
        if ready.is_empty() {
            return Ok(0);
        }
        let least = self.least_due(disk)?;
        let floors = &mut *unpoisoned(self.floors.write());
        ready.retain(|quantity, (raw, _)| *raw == floors.of(*quantity).raw || day_of(*raw) <= least);
        floors.ready = ready;
        Ok(floors.ready.len() as u64)
    }

    /// Days before this one are all rolled up, and nothing came late for them since.
    fn least_due(&self, disk: &Disk) -> Result<i64, HistoryError> {
        let (mut least, snapshot) = {
            let writer = unpoisoned(self.writer.lock());
            let mut least = read_extent(disk)?.map_or(i64::MIN, |extent| extent.done());
            for id in &writer.dirty {
                let stale = self
                    .memory
                    .read(*id, |series| series.aside().stale.first().copied());
                least = stale.flatten().map_or(least, |day| least.min(day));
            }
            (least, disk.db.snapshot())
        };
        for row in snapshot.iter(&disk.due) {
            let key = row.key().map_err(HistoryError::reading)?;
            if let Some((_, day, _)) = read_key(&key) {
                least = least.min(day);
            }
        }
        Ok(least)
    }

    /// Makes series forget what lies below their floor; gives how many had to.
    fn trim(&self, disk: &Disk, ids: &[(SeriesId, Quantity)]) -> Result<u64, HistoryError> {
        let mut todo = Vec::new();
        for (id, _) in ids {
            if !self.memory.read(*id, Series::is_trimmed).unwrap_or(true) {
                todo.extend(self.measure(disk, *id)?.map(|below| (*id, below)));
            }
        }
        if todo.is_empty() {
            return Ok(0);
        }
        let mut writer = unpoisoned(self.writer.lock());
        if writer.failed.is_some() {
            return Err(HistoryError::Unmended);
        }
        let n = todo.len() as u64;
        for (id, mut below) in todo {
            if self.memory.read(id, |series| (series.n, series.last)) != Some(below.of) {
                // Something came meanwhile.
                let Some(again) = self.measure(disk, id)? else {
                    continue;
                };
                below = again;
            }
            let Below {
                n,
                first,
                floor,
                newest,
                ..
            } = below;
            let was_clean = self.memory.write(id, |series| {
                series.n = series.n.saturating_sub(n);
                series.first = first.unwrap_or(series.last);
                if series.last < series.kept.0 {
                    // Only the newest is left; it is held by memory, and no week has to stay for it.
                    series.head = Run::default();
                    if let Some(aside) = series.aside_if_any() {
                        aside.late = Run::default();
                        aside.sealed = Vec::new();
                    }
                    series.frontier = None;
                    series.n = u64::from(newest.is_some());
                    newest.into_iter().for_each(|point| series.head.insert(point));
                } else {
                    series.head = series.head.trimmed(floor);
                    if let Some(aside) = series.aside_if_any() {
                        aside.late = aside.late.trimmed(floor);
                        let sealed = aside.sealed.iter().map(|run| run.trimmed(floor));
                        aside.sealed = sealed.filter(|run| !run.is_empty()).map(Arc::new).collect();
                    }
                }
                if let Some(aside) = series.aside_if_any() {
                    aside.replaced.retain(|(at, _), _| *at >= floor);
                }
                series.reshaped = true;
                !std::mem::replace(&mut series.dirty, true)
            });
            if was_clean {
                writer.dirty.push(id);
            }
            writer.windows.forget(id);
            writer.versions.forget(id);
        }
        Ok(n)
    }

    /// What a series has below its floor. Nothing comes there any more, so it is the same a moment later.
    fn measure(&self, disk: &Disk, id: SeriesId) -> Result<Option<Below>, HistoryError> {
        let Some(view) = View::whole(disk, &self.memory, id) else {
            return Ok(None);
        };
        let (floor, (n_all, first_of_all, last)) = (view.kept.min(view.extent.2), view.extent);
        let mut below = Below {
            of: (n_all, last),
            n: 0,
            first: None,
            floor,
            newest: None,
        };
        // Rows before its first time were counted when that was raised, and may not be dropped yet.
        let range = (first_of_all, floor.saturating_sub(1));
        view.walk_by_headers(disk, range, &|_, _| true, &mut |part| {
            below.n += match part {
                Part::Whole(header) => header.n,
                Part::Points(points) => points.len() as u64,
                Part::Columns { times, .. } => times.len() as u64,
            };
            ControlFlow::Continue(())
        })?;
        view.walk_by_headers(disk, (floor, i64::MAX), &|_, _| true, &mut |part| {
            below.first = match part {
                Part::Whole(header) => Some(header.first),
                Part::Points(points) => points.first().map(|point| point.at),
                Part::Columns { times, .. } => times.first().copied(),
            };
            ControlFlow::Break(())
        })?;
        view.walk(disk, (last, last), &mut |points| {
            below.newest = points.last().cloned();
            ControlFlow::Continue(())
        })?;
        Ok(Some(below))
    }

    /// Drops weeks that no series needs any more.
    fn drop_weeks(
        &self,
        disk: &Disk,
        floors: &Floors,
        ids: &[(SeriesId, Quantity)],
        done: &mut LetGo,
        is_over: &dyn Fn() -> bool,
    ) -> Result<(), HistoryError> {
        let n_series = unpoisoned(self.dictionary.read()).iter().count();
        // Series of quantities that this program does not know have no floor, and no name here.
        let is_all = ids.len() == n_series && u64::from(disk.last_number()?) <= n_series as u64;
        let needed = ids.iter().map(|(_, q)| partition_of(floors.of(*q).raw)).min();
        let Some(needed) = needed.filter(|_| is_all) else {
            return Ok(());
        };
        for (partition, keyspace) in disk.partitions((i64::MIN, i64::MAX)) {
            if partition >= needed {
                break;
            }
            if is_over() {
                done.waits = true;
                break;
            }
            let (mut n_chunks, mut n_bytes) = (0u64, 0u64);
            for row in keyspace.iter() {
                let (_, row) = row.into_inner().map_err(HistoryError::reading)?;
                n_bytes += row.len() as u64;
                n_chunks += 1;
            }
            let writer = unpoisoned(self.writer.lock());
            let mut held = unpoisoned(self.floors.write());
            let is_counted = partition < held.gone;
            let mut floors = held.clone();
            floors.gone = floors.gone.max(partition + 1);
            let mut batch =
                OwnedWriteBatch::with_capacity(disk.db.clone(), 2).durability(Some(PersistMode::SyncAll));
            batch.insert(&disk.meta, FLOORS, floors.row());
            if !is_counted {
                self.shrink(disk, &writer, &mut batch, n_chunks, n_bytes);
            }
            self.wrote(batch.commit())?;
            held.gone = floors.gone;
            drop(held);
            self.made(disk.drop_partition(partition))?;
            done.weeks += 1;
        }
        Ok(())
    }

    /// Sizes without what a batch removes.
    fn shrink(&self, disk: &Disk, writer: &Writer, batch: &mut OwnedWriteBatch, n_chunks: u64, n_bytes: u64) {
        let less = |size: &AtomicU64, n: u64| {
            let left = size.load(Ordering::Relaxed).saturating_sub(n);
            size.store(left, Ordering::Relaxed);
            left
        };
        let sizes = NewSizes {
            n_chunks: less(&self.sizes.n_chunks, n_chunks),
            chunk_bytes: less(&self.sizes.chunk_bytes, n_bytes),
        };
        put_cursor(disk, batch, (self.cursor(), writer.n_batches), &sizes);
    }

    /// Removes rows below the floors from weeks that stay, replaced values and rollups.
    fn clear_rows(
        &self,
        disk: &Disk,
        floors: &Floors,
        ids: &[(SeriesId, Quantity)],
        done: &mut LetGo,
        is_over: &dyn Fn() -> bool,
    ) -> Result<(), HistoryError> {
        let until = |quantity: Quantity| partition_of(floors.of(quantity).raw);
        let todo = |quantity: Quantity| floors.of(quantity).cleared < until(quantity);
        let mut touched: BTreeMap<i64, Keyspace> = BTreeMap::new();
        for (id, quantity) in ids.iter().filter(|(_, quantity)| todo(*quantity)) {
            if is_over() {
                done.waits = true;
                return Ok(());
            }
            let floor = floors.of(*quantity);
            let kept = self.memory.read(*id, Series::floor).unwrap_or(i64::MIN);
            let snapshot = disk.db.snapshot();
            let mut rows: Vec<(Keyspace, Vec<u8>, u64)> = Vec::new();
            let mut gather = |keyspace: &Keyspace, from: [u8; 16], to: [u8; 16], is_chunk: bool| {
                for row in snapshot.range(keyspace, from..to) {
                    let (key, row) = row.into_inner().map_err(HistoryError::reading)?;
                    let n_bytes = if is_chunk { row.len() as u64 } else { 0 };
                    rows.push((keyspace.clone(), key.to_vec(), n_bytes));
                }
                Ok::<(), HistoryError>(())
            };
            let needed = partition_of(floor.raw);
            for (partition, keyspace) in disk.partitions((i64::MIN, i64::MAX)) {
                if partition >= needed {
                    break;
                }
                if partition < floor.cleared {
                    continue;
                }
                let all = (
                    chunk::key(id.0, i64::MIN, 0),
                    chunk::key(id.0, i64::MAX, u32::MAX),
                );
                gather(&keyspace, all.0, all.1, true)?;
                touched.insert(partition, keyspace);
            }
            let begin = chunk::key(id.0, i64::MIN, 0);
            gather(&disk.revisions, begin, chunk::key(id.0, kept, 0), false)?;
            gather(&disk.rollups, begin, chunk::key(id.0, floor.day, 0), false)?;
            for rows in rows.chunks(N_ROWS) {
                let writer = unpoisoned(self.writer.lock());
                let mut batch = OwnedWriteBatch::with_capacity(disk.db.clone(), rows.len() + 1)
                    .durability(Some(PersistMode::Buffer));
                let (mut n_chunks, mut n_bytes) = (0, 0);
                for (keyspace, key, bytes) in rows {
                    batch.remove(keyspace, key.as_slice());
                    n_chunks += u64::from(*bytes > 0);
                    n_bytes += bytes;
                }
                self.shrink(disk, &writer, &mut batch, n_chunks, n_bytes);
                self.wrote(batch.commit())?;
                done.rows += rows.len() as u64;
            }
        }
        for keyspace in touched.values() {
            // The room comes back when tables are written again without what was removed.
            if is_over() || !self.flush(keyspace, is_over)? {
                done.waits = true;
                return Ok(());
            }
            self.wrote(keyspace.major_compact())?;
        }
        // The engine deletes the tables of before with the next change only, and to a week of the past none comes.
        for keyspace in touched.values() {
            self.wrote(keyspace.remove(chunk::key(0, i64::MAX, u32::MAX)))?;
            if !self.flush(keyspace, is_over)? {
                done.waits = true;
                return Ok(());
            }
        }
        if ids.iter().any(|(_, quantity)| todo(*quantity)) {
            let _writer = unpoisoned(self.writer.lock());
            let mut held = unpoisoned(self.floors.write());
            let mut floors = held.clone();
            for (quantity, floor) in &mut floors.by_quantity {
                floor.cleared = floor.cleared.max(until(*quantity));
            }
            let mut batch =
                OwnedWriteBatch::with_capacity(disk.db.clone(), 1).durability(Some(PersistMode::SyncAll));
            batch.insert(&disk.meta, FLOORS, floors.row());
            self.wrote(batch.commit())?;
            *held = floors;
        }
        Ok(())
    }

    /// Has what was written to a keyspace put into tables; whether it came to its end in time.
    fn flush(&self, keyspace: &Keyspace, is_over: &dyn Fn() -> bool) -> Result<bool, HistoryError> {
        self.wrote(keyspace.rotate_memtable())?;
        let started = Instant::now();
        while keyspace.sealed_memtable_count() > 0 {
            if is_over() || started.elapsed() > PATIENCE {
                return Ok(false);
            }
            std::thread::sleep(LOOK);
        }
        Ok(true)
    }
}
