//! One series as a reader sees it: chunks, sealed runs and head in order, late points laid over them.
//!
//! A view is taken in one short section: copies of what memory holds (packed blocks are shared) and a
//! snapshot of the database. Memory is never behind that snapshot, so where both have a time, the
//! one from memory counts. Nothing is locked while a view is read.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::ops::ControlFlow;
use std::sync::Arc;

use fjall::Snapshot;

use super::block::Columns;
use super::chunk::Header;
use super::disk::{Chunk, Disk};
use super::memory::Memory;
use super::point::Kept;
use super::revisions::Pending;
use super::run::{Piece, Run, overlay};
use super::{HistoryError, SeriesId, missing};

/// What memory and disk hold of one series at one moment.
pub(super) struct View {
    pub(super) id: SeriesId,
    pub(super) snapshot: Snapshot,
    pub(super) replaced: Pending,
    /// Days whose rollup on disk does not hold all there is.
    pub(super) stale: BTreeSet<i64>,
    pub(super) n_stale: u32,
    /// The first time that is shown.
    pub(super) from: i64,
    /// The first time of values that are kept.
    pub(super) kept: i64,
    /// Number of points, oldest and newest time.
    pub(super) extent: (u64, i64, i64),
    sealed: Vec<Arc<Run>>,
    head: Run,
    late: Run,
}

/// Part of a series, ascending and without overlap.
pub(super) enum Part<'a> {
    /// A whole chunk of which the header is enough.
    Whole(&'a Header),
    /// Points, all inside the asked range.
    Points(&'a [Kept]),
    /// The same as columns, of numbers only: times and marks, and what they are of.
    Columns {
        times: &'a [i64],
        numbers: &'a [f64],
        marks: &'a [i64],
    },
}

/// A source of points between two times, not yet unpacked.
enum Source<'a> {
    Chunk(Chunk),
    Memory(Piece<'a>),
}

impl Source<'_> {
    fn first(&self) -> i64 {
        match self {
            Source::Chunk(chunk) => chunk.header.first,
            Source::Memory(piece) => piece.first(),
        }
    }
    fn last(&self) -> i64 {
        match self {
            Source::Chunk(chunk) => chunk.header.last,
            Source::Memory(piece) => piece.last(),
        }
    }
    fn columns(&self) -> Option<Columns> {
        match self {
            Source::Memory(piece) => piece.columns(),
            Source::Chunk(chunk) => chunk.columns(),
        }
    }
    fn points(&self, disk: &Disk) -> Vec<Kept> {
        match self {
            Source::Memory(piece) => piece.points(),
            Source::Chunk(chunk) => chunk.points().unwrap_or_else(|| {
                disk.report_damage("chunk", &chunk.key);
                missing::note(&chunk.key, (chunk.header.first, chunk.header.last));
                Vec::new()
            }),
        }
    }
}

impl View {
    /// `None` when nothing was ever written to the series.
    pub(super) fn of(disk: &Disk, memory: &Memory, id: SeriesId) -> Option<Self> {
        memory.read(id, |series| Self {
            id,
            snapshot: disk.db.snapshot(),
            replaced: series.aside().replaced.clone(),
            stale: series.aside().stale.clone(),
            n_stale: series.n_stale,
            from: series.floor(),
            kept: series.kept.0,
            extent: (series.n, series.first, series.last),
            sealed: series.aside().sealed.clone(),
            head: series.head.clone(),
            late: series.aside().late.clone(),
        })
    }

    /// With what is about to go.
    pub(super) fn whole(disk: &Disk, memory: &Memory, id: SeriesId) -> Option<Self> {
        let view = Self::of(disk, memory, id)?;
        Some(Self {
            from: i64::MIN,
            ..view
        })
    }

    /// Passes the series from `from` to `to`, both inside, to `take`, ascending, by its points.
    pub(super) fn walk(
        &self,
        disk: &Disk,
        range: (i64, i64),
        take: &mut dyn FnMut(&[Kept]) -> ControlFlow<()>,
    ) -> Result<(), HistoryError> {
        self.walk_parts(disk, range, None, &mut |part| match part {
            Part::Points(points) => take(points),
            Part::Whole(_) | Part::Columns { .. } => unreachable!("only those who sum up get these"),
        })
    }

    /// As [`View::walk`], for who sums up: where `whole` allows it by first and last time, and nothing else
    /// lies there, a chunk is passed by its header; where it does not, by its columns if it has them.
    pub(super) fn walk_by_headers(
        &self,
        disk: &Disk,
        range: (i64, i64),
        whole: &dyn Fn(i64, i64) -> bool,
        take: &mut dyn FnMut(Part<'_>) -> ControlFlow<()>,
    ) -> Result<(), HistoryError> {
        self.walk_parts(disk, range, Some(whole), take)
    }

    fn walk_parts(
        &self,
        disk: &Disk,
        (from, to): (i64, i64),
        whole: Option<&dyn Fn(i64, i64) -> bool>,
        take: &mut dyn FnMut(Part<'_>) -> ControlFlow<()>,
    ) -> Result<(), HistoryError> {
        let from = from.max(self.from);
        if from > to {
            return Ok(());
        }
        let mut late: Vec<Kept> = self.late.pieces(from, to).flat_map(|p| p.points()).collect();
        late.retain(|p| (from..=to).contains(&p.at));
        let mut late = late.as_slice();

        // What memory has, too, is not missing: all chunks lie before it.
        let in_memory = self
            .sealed
            .first()
            .map_or_else(|| self.head.first(), |run| run.first());
        let end_of_chunks = std::iter::from_fn(|| {
            in_memory.into_iter().for_each(missing::ends_before);
            None
        });
        let mut sources = Sources {
            chunks: disk
                .chunks(&self.snapshot, self.id, (from, to))
                .chain(end_of_chunks)
                .peekable(),
            memory: self
                .sealed
                .iter()
                .map(Arc::as_ref)
                .chain([&self.head])
                .flat_map(|run| run.pieces(from, to))
                .peekable(),
        };
        let mut next = sources.next()?;
        while let Some(source) = next {
            let (first, mut last) = (source.first(), source.last());
            let mut overlapping = Vec::new();
            next = sources.next()?;
            while let Some(other) = next.take_if(|other| other.first() <= last) {
                last = last.max(other.last());
                overlapping.push(other);
                next = sources.next()?;
            }
            let before = split_while(&mut late, |p| p.at < first);
            if !before.is_empty() && take(Part::Points(before)).is_break() {
                return Ok(());
            }
            let over = split_while(&mut late, |p| p.at <= last);
            if let Some(whole) = whole
                && overlapping.is_empty()
                && over.is_empty()
            {
                if let Source::Chunk(chunk) = &source
                    && first >= from
                    && last <= to
                    && whole(first, last)
                {
                    if take(Part::Whole(&chunk.header)).is_break() {
                        return Ok(());
                    }
                    continue;
                }
                if let Some(columns) = source.columns() {
                    let start = columns.times.partition_point(|at| *at < from);
                    let end = columns.times.partition_point(|at| *at <= to);
                    let part = Part::Columns {
                        times: &columns.times[start..end],
                        numbers: &columns.numbers[start..end],
                        marks: &columns.marks[start..end],
                    };
                    if start < end && take(part).is_break() {
                        return Ok(());
                    }
                    continue;
                }
            }
            let mut points = source.points(disk);
            for other in overlapping {
                points = overlay(points, &other.points(disk));
            }
            points = overlay(points, over);
            let start = points.partition_point(|p| p.at < from);
            let end = points.partition_point(|p| p.at <= to);
            if start < end && take(Part::Points(&points[start..end])).is_break() {
                return Ok(());
            }
        }
        if !late.is_empty() {
            // The last part: whether to go on does not matter.
            let _ = take(Part::Points(late));
        }
        Ok(())
    }
}

/// Chunks and memory merged by their first time; of two that begin together the one from memory comes
/// last, so that it counts.
struct Sources<'a, C, M>
where
    C: Iterator<Item = Result<Chunk, HistoryError>>,
    M: Iterator<Item = Piece<'a>>,
{
    chunks: Peekable<C>,
    memory: Peekable<M>,
}

impl<'a, C, M> Sources<'a, C, M>
where
    C: Iterator<Item = Result<Chunk, HistoryError>>,
    M: Iterator<Item = Piece<'a>>,
{
    fn next(&mut self) -> Result<Option<Source<'a>>, HistoryError> {
        let chunk_first = match self.chunks.peek() {
            Some(Ok(chunk)) => Some(chunk.header.first),
            Some(Err(_)) => Some(i64::MIN),
            None => None,
        };
        let memory_first = self.memory.peek().map(Piece::first);
        match (chunk_first, memory_first) {
            (Some(chunk), memory) if memory.is_none_or(|memory| chunk <= memory) => {
                Ok(self.chunks.next().transpose()?.map(Source::Chunk))
            }
            _ => Ok(self.memory.next().map(Source::Memory)),
        }
    }
}

fn split_while<'a>(points: &mut &'a [Kept], belongs: impl Fn(&Kept) -> bool) -> &'a [Kept] {
    let (head, rest) = points.split_at(points.partition_point(belongs));
    *points = rest;
    head
}
