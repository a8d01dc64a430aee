//! Checkpoints: everything since the last one becomes durable together with its journal position.
//!
//! One atomic, synced batch holds the sealed runs as chunks, late points folded into theirs, what heads
//! grew by and those that changed otherwise, replaced values, new series, extras and the cursor. A crash
//! leaves the state of the last checkpoint, and the journal gives the rest again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use fjall::{OwnedWriteBatch, PersistMode, Snapshot};

use super::chunk::{self, key, partition_of, partition_range};
use super::column::{Input, put_unsigned};
use super::disk::{Chunk, Disk};
use super::growth::Growth;
use super::memory::unpoisoned;
use super::point::Kept;
use super::retention::Floors;
use super::run::{Run, overlay};
use super::write::Writer;
use super::{History, HistoryError, SeriesId};

/// Where the cursor and the sizes are kept.
pub(super) const CURSOR: &[u8] = b"cursor";
/// Before the name of an extra.
pub(super) const EXTRA: &str = "extra/";

/// What a checkpoint leaves to be done in memory when it is on the disk.
pub(super) struct Made {
    cursor: u64,
    sizes: NewSizes,
    saved: Vec<Saved>,
    raised: Option<Floors>,
    /// Numbers and points of the rows of growth that it wrote.
    grown: Vec<(u64, usize)>,
    /// How many of the oldest it removed.
    n_outgrown: usize,
}

/// What a checkpoint does to one series on disk.
struct Saved {
    id: SeriesId,
    next_seq: u32,
    folded: bool,
    chunks_changed: bool,
    /// Points of its head that are on disk then.
    n_saved: usize,
    /// Where its row begins to be grown, if it was written.
    grown_from: Option<u64>,
}

/// What a checkpoint puts together over all series.
struct Batch<'a> {
    disk: &'a Disk,
    snapshot: &'a Snapshot,
    rows: OwnedWriteBatch,
    sizes: NewSizes,
    growth: Growth,
    /// Numbers and points of the rows of growth that are in it.
    grown: Vec<(u64, usize)>,
    /// The number of the first of them.
    grown_from: u64,
}

impl Batch<'_> {
    fn put_growth(&mut self) {
        let growth = std::mem::take(&mut self.growth);
        if growth.n_points() > 0 {
            let number = self.grown_from + self.grown.len() as u64;
            let key = number.to_be_bytes();
            self.rows
                .insert(&self.disk.growth, key, chunk::seal(&key, growth.encode()));
            self.grown.push((number, growth.n_points()));
        }
    }
}

impl History {
    /// Makes everything appended so far durable, with `cursor` as the journal position it stands for
    /// and the `extra` blobs beside it: all of it, or after a crash nothing of it. An empty blob
    /// removes its name.
    ///
    /// Appending waits meanwhile; readers do not.
    ///
    /// # Errors
    /// [`HistoryError::Write`] when the disk fails. Memory then still holds everything, and nothing is
    /// appended or written until [`History::mend`] has opened the database again.
    pub fn checkpoint(&self, cursor: u64, extra: &[(&str, &[u8])]) -> Result<(), HistoryError> {
        let mut writer = unpoisoned(self.writer.lock());
        let writer = &mut *writer;
        if writer.failed.is_some() {
            return Err(HistoryError::Unmended);
        }
        let is_to_rise = !unpoisoned(self.floors.read()).ready.is_empty();
        if writer.dirty.is_empty() && extra.is_empty() && cursor == self.cursor() && !is_to_rise {
            return Ok(());
        }
        let disk = self.disk()?;
        self.made(disk.wait_for_queue())?;
        let snapshot = disk.db.snapshot();
        let outgrown = writer.growth.too_old();
        self.rewrite_heads(&disk, writer, &snapshot, &outgrown)?;
        writer.dirty.sort_unstable();
        let mut batch = Batch {
            disk: &disk,
            snapshot: &snapshot,
            rows: OwnedWriteBatch::with_capacity(disk.db.clone(), 2 * writer.dirty.len() + 8)
                .durability(Some(PersistMode::SyncAll)),
            sizes: NewSizes {
                n_chunks: self.sizes.n_chunks.load(Ordering::Relaxed),
                chunk_bytes: self.sizes.chunk_bytes.load(Ordering::Relaxed),
            },
            growth: Growth::default(),
            grown: Vec::new(),
            grown_from: writer.growth.next(),
        };
        let mut saved = Vec::with_capacity(writer.dirty.len());
        for id in &writer.dirty {
            saved.extend(self.save(*id, &mut batch)?);
            if batch.growth.is_full() {
                batch.put_growth();
            }
        }
        batch.put_growth();
        let Batch {
            rows: mut batch,
            sizes,
            grown,
            ..
        } = batch;
        for number in &outgrown {
            batch.remove(&disk.growth, number.to_be_bytes());
        }
        for (id, name) in &writer.entered {
            let name = name.to_string();
            let row = chunk::seal(name.as_bytes(), id.0.to_be_bytes().to_vec());
            batch.insert(&disk.series, name.as_bytes(), row);
        }
        for (name, blob) in extra {
            let name = format!("{EXTRA}{name}");
            if blob.is_empty() {
                batch.remove(&disk.meta, name);
            } else {
                let row = chunk::seal(name.as_bytes(), blob.to_vec());
                batch.insert(&disk.meta, name, row);
            }
        }
        put_cursor(&disk, &mut batch, (cursor, writer.n_batches + 1), &sizes);
        let raised = self.raise(&disk, &mut batch);
        let made = Made {
            cursor,
            sizes,
            saved,
            raised,
            grown,
            n_outgrown: outgrown.len(),
        };
        if let Err(error) = self.wrote(batch.commit()) {
            // It may be on the disk all the same.
            writer.failed = Some(made);
            return Err(error);
        }
        self.settle(writer, made);
        Ok(())
    }

    /// Takes out of memory what a checkpoint has put on the disk.
    pub(super) fn settle(&self, writer: &mut Writer, made: Made) {
        let Made {
            cursor,
            sizes,
            saved,
            raised,
            grown,
            n_outgrown,
        } = made;
        writer.n_batches += 1;
        for saved in saved {
            self.memory.write(saved.id, |series| {
                series.next_seq = saved.next_seq;
                series.dirty = false;
                series.reshaped = false;
                series.n_saved = saved.n_saved;
                series.grown_from = saved.grown_from.unwrap_or(series.grown_from);
                let late = match saved.folded {
                    true => Run::default(),
                    false => series.aside().late.clone(),
                };
                series.keep_aside(late);
            });
            if saved.chunks_changed {
                writer.windows.forget(saved.id);
            }
        }
        writer.growth.forget(n_outgrown);
        for (number, n_points) in grown {
            writer.growth.note(number, n_points);
        }
        writer.dirty.clear();
        writer.entered.clear();
        self.sizes.unsaved.store(0, Ordering::Relaxed);
        self.sizes.n_chunks.store(sizes.n_chunks, Ordering::Relaxed);
        self.sizes.chunk_bytes.store(sizes.chunk_bytes, Ordering::Relaxed);
        self.cursor.store(cursor, Ordering::Release);
        self.n_checkpoints.fetch_add(1, Ordering::Release);
        if let Some(raised) = raised {
            self.raised(raised);
        }
    }

    /// Sees to it that the heads which need one of these rows of growth are written whole.
    fn rewrite_heads(
        &self,
        disk: &Disk,
        writer: &mut Writer,
        snapshot: &Snapshot,
        outgrown: &[u64],
    ) -> Result<(), HistoryError> {
        for number in outgrown {
            // One that cannot be read may speak of any.
            let ids = match disk.in_growth(snapshot, *number)? {
                Some(ids) => ids,
                None => (0..unpoisoned(self.dictionary.read()).next().0)
                    .map(SeriesId)
                    .collect(),
            };
            for id in ids {
                let was_clean = self.memory.write(id, |series| {
                    let needs_it = series.n > 0 && series.grown_from <= *number;
                    series.reshaped |= needs_it;
                    needs_it && !std::mem::replace(&mut series.dirty, true)
                });
                if was_clean {
                    writer.dirty.push(id);
                }
            }
        }
        Ok(())
    }

    /// Puts one series into the batch.
    fn save(&self, id: SeriesId, batch: &mut Batch<'_>) -> Result<Option<Saved>, HistoryError> {
        // Only the writer, whose lock is held, changes a series.
        let grown = self.memory.read(id, |series| {
            let grown = || (series.head.after(series.n_saved), series.head.n_points());
            (!series.reshaped).then(|| (series.next_seq, grown()))
        });
        if let Some(Some((next_seq, (points, n_saved)))) = grown {
            batch.growth.push(id, points);
            return Ok(Some(Saved {
                id,
                next_seq,
                folded: false,
                chunks_changed: false,
                n_saved,
                grown_from: None,
            }));
        }
        // This copy shares its blocks.
        let Some(series) = self.memory.read(id, Clone::clone) else {
            return Ok(None);
        };
        let grown_from = batch.grown_from;
        let (disk, snapshot, sizes) = (batch.disk, batch.snapshot, &mut batch.sizes);
        let batch = &mut batch.rows;
        let aside = series.aside();
        let folded =
            !aside.late.is_empty() && (!aside.sealed.is_empty() || aside.late.n_points() >= self.fold_at);
        let late = if folded { aside.late.points() } else { Vec::new() };
        let plan = Plan::of(disk, snapshot, id, &aside.sealed, late, self.seal_at.n_points)?;

        let mut next_seq = series.next_seq;
        for chunk in &plan.remove {
            let keyspace = self.made(disk.make_partition(partition_of(chunk.header.first)))?;
            sizes.n_chunks = sizes.n_chunks.saturating_sub(1);
            sizes.chunk_bytes = sizes.chunk_bytes.saturating_sub(chunk.n_bytes());
            batch.remove(&keyspace, chunk.key.clone());
        }
        for points in &plan.write {
            let Some(first) = points.first() else { continue };
            let keyspace = self.made(disk.make_partition(partition_of(first.at)))?;
            let key = key(id.0, first.at, next_seq);
            let row = chunk::pack(&key, points);
            next_seq += 1;
            sizes.n_chunks += 1;
            sizes.chunk_bytes += row.len() as u64;
            batch.insert(&keyspace, key, row);
        }
        for replaced in aside.replaced.values() {
            let (key, row) = replaced.encode(id);
            batch.insert(&disk.revisions, key, row);
        }
        for day in &aside.stale {
            let key = key(id.0, *day, 0);
            batch.remove(&disk.rollups, key);
            batch.insert(&disk.due, key, []);
        }
        let kept_late = if folded {
            Run::default()
        } else {
            aside.late.clone()
        };
        let head_key = id.0.to_be_bytes();
        let row = chunk::seal(&head_key, series.row(&kept_late, next_seq, grown_from));
        batch.insert(&disk.heads, head_key, row);
        Ok(Some(Saved {
            id,
            next_seq,
            folded,
            chunks_changed: !plan.write.is_empty() || !plan.remove.is_empty(),
            n_saved: series.head.n_points(),
            grown_from: Some(grown_from),
        }))
    }

    /// The database, for who says in the log that it is not there.
    fn readable(&self, name: &str) -> Option<Arc<Disk>> {
        self.disk()
            .inspect_err(|cause| tracing::error!(error = %cause, name, "`{name}` cannot be read"))
            .ok()
    }

    /// A blob stored by the last checkpoint that named it.
    pub fn extra(&self, name: &str) -> Option<Vec<u8>> {
        let name = format!("{EXTRA}{name}");
        let disk = self.readable(&name)?;
        let row = match disk.meta.get(&name) {
            Ok(row) => row?,
            Err(cause) => {
                tracing::error!(error = %cause, name, "`{name}` cannot be read");
                return None;
            }
        };
        let blob = chunk::unseal(name.as_bytes(), &row).map(<[u8]>::to_vec);
        if blob.is_none() {
            disk.report_damage("extra", name.as_bytes());
        }
        blob
    }

    /// Every stored blob whose name begins with `prefix`, by name, the prefix included.
    pub fn extras(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        let full = format!("{EXTRA}{prefix}");
        let mut blobs = Vec::new();
        let Some(disk) = self.readable(prefix) else {
            return blobs;
        };
        for row in disk.meta.prefix(&full) {
            match row.key() {
                Ok(key) => {
                    let name = String::from_utf8_lossy(&key)[EXTRA.len()..].to_owned();
                    blobs.extend(self.extra(&name).map(|blob| (name, blob)));
                }
                Err(cause) => tracing::error!(error = %cause, prefix, "`{prefix}` cannot be listed"),
            }
        }
        blobs
    }
}

/// Number and bytes of chunks, as a batch will leave them.
pub(super) struct NewSizes {
    pub(super) n_chunks: u64,
    pub(super) chunk_bytes: u64,
}

/// Puts the cursor, the number of checkpoints and the sizes into a batch that changes them.
pub(super) fn put_cursor(
    disk: &Disk,
    batch: &mut OwnedWriteBatch,
    (cursor, n_batches): (u64, u64),
    sizes: &NewSizes,
) {
    let mut row = Vec::new();
    for number in [cursor, sizes.n_chunks, sizes.chunk_bytes, n_batches] {
        put_unsigned(&mut row, number);
    }
    batch.insert(&disk.meta, CURSOR, chunk::seal(CURSOR, row));
}

/// Cursor, number and bytes of chunks, and how many checkpoints there were, as the last one left them;
/// zero before the first. A row of before does not count them.
pub(super) fn read_cursor(disk: &Disk) -> Result<(u64, u64, u64, u64), HistoryError> {
    let Some(row) = disk.meta.get(CURSOR).map_err(HistoryError::reading)? else {
        return Ok((0, 0, 0, 0));
    };
    let read = || {
        let mut input = Input(chunk::unseal(CURSOR, &row)?);
        let (cursor, n_chunks, chunk_bytes) = (input.unsigned()?, input.unsigned()?, input.unsigned()?);
        let n_batches = input.unsigned().unwrap_or(0);
        Some((cursor, n_chunks, chunk_bytes, n_batches))
    };
    read().ok_or(HistoryError::Cursor)
}

/// Which chunks go and which come. Chunks of a series never overlap: late points inside a chunk are
/// written with it again, those between two with the older one while it is small.
#[derive(Default)]
struct Plan {
    remove: Vec<Chunk>,
    write: Vec<Vec<Kept>>,
}

/// A chunk that is, or one that is to be.
enum Base {
    Old(Chunk),
    New(Vec<Kept>),
}

impl Base {
    fn range(&self) -> (i64, i64) {
        match self {
            Base::Old(chunk) => (chunk.header.first, chunk.header.last),
            Base::New(points) => (
                points.first().map_or(i64::MAX, |p| p.at),
                points.last().map_or(i64::MIN, |p| p.at),
            ),
        }
    }
    fn n_points(&self) -> usize {
        match self {
            Base::Old(chunk) => chunk.header.n as usize,
            Base::New(points) => points.len(),
        }
    }
}

impl Plan {
    fn of(
        disk: &Disk,
        snapshot: &Snapshot,
        id: SeriesId,
        sealed: &[Arc<Run>],
        late: Vec<Kept>,
        n_points: usize,
    ) -> Result<Self, HistoryError> {
        let mut plan = Self::default();
        let sealed: Vec<Vec<Kept>> = sealed.iter().flat_map(|run| by_partition(run.points())).collect();
        if late.is_empty() {
            plan.write = sealed;
            return Ok(plan);
        }
        let mut sealed = sealed.into_iter().peekable();
        for late in by_partition(late) {
            let partition = partition_of(late[0].at);
            while let Some(points) = sealed.next_if(|points| partition_of(points[0].at) < partition) {
                plan.write.push(points);
            }
            let (start, _) = partition_range(partition);
            let range = (late[0].at, late[late.len() - 1].at);
            let mut base = Vec::new();
            // From the chunk before the first late point on: that point may be joined to it.
            let reach = disk.before(snapshot, id, (start, range.0))?.unwrap_or(range.0);
            for chunk in disk.chunks(snapshot, id, (reach, range.1)) {
                base.push(Base::Old(chunk?));
            }
            while let Some(points) = sealed.next_if(|points| partition_of(points[0].at) == partition) {
                base.push(Base::New(points));
            }
            plan.fold(disk, base, &late, n_points);
        }
        plan.write.extend(sealed);
        Ok(plan)
    }

    /// Lays the late points of one partition over its chunks.
    fn fold(&mut self, disk: &Disk, base: Vec<Base>, mut late: &[Kept], n_points: usize) {
        let starts: Vec<i64> = base
            .iter()
            .map(|b| b.range().0)
            .skip(1)
            .chain([i64::MAX])
            .collect();
        let first = base.first().map_or(i64::MAX, |b| b.range().0);
        self.write_parts(take_while(&mut late, |at| at < first).to_vec(), n_points);
        for (base, next_start) in base.into_iter().zip(starts) {
            let (_, last) = base.range();
            let inside = take_while(&mut late, |at| at <= last);
            let mut after = take_while(&mut late, |at| at < next_start);
            let mut over = inside.to_vec();
            if base.n_points() + after.len() <= n_points {
                over.extend_from_slice(after);
                after = &[];
            }
            match base {
                Base::New(points) => self.write_parts(overlay(points, &over), n_points),
                Base::Old(_) if over.is_empty() => {}
                Base::Old(chunk) => match chunk.points() {
                    Some(points) => {
                        self.write_parts(overlay(points, &over), n_points);
                        self.remove.push(chunk);
                    }
                    None => {
                        disk.report_damage("chunk", &chunk.key);
                        self.write_parts(over, n_points);
                    }
                },
            }
            self.write_parts(after.to_vec(), n_points);
        }
        self.write_parts(late.to_vec(), n_points);
    }

    /// Plans points as one chunk, or several when they are many.
    fn write_parts(&mut self, points: Vec<Kept>, n_points: usize) {
        if points.len() <= 2 * n_points {
            self.write.extend((!points.is_empty()).then_some(points));
        } else {
            self.write.extend(points.chunks(n_points).map(<[Kept]>::to_vec));
        }
    }
}

fn take_while<'a>(points: &mut &'a [Kept], belongs: impl Fn(i64) -> bool) -> &'a [Kept] {
    let (head, rest) = points.split_at(points.partition_point(|p| belongs(p.at)));
    *points = rest;
    head
}

/// The points of each partition by themselves.
fn by_partition(points: Vec<Kept>) -> Vec<Vec<Kept>> {
    match (points.first(), points.last()) {
        (Some(first), Some(last)) if partition_of(first.at) == partition_of(last.at) => vec![points],
        _ => points
            .chunk_by(|a, b| partition_of(a.at) == partition_of(b.at))
            .map(<[Kept]>::to_vec)
            .collect(),
    }
}
