//! A run: the points of one series that memory holds, packed but for the newest few.
//!
//! Points are packed by 32, and four such blocks into one of 128, which takes half the room. Insertion anywhere costs
//! at most one block of 160 points, so a burst in the worst order stays linear. A copy shares the packed blocks.

use std::sync::Arc;

use super::block::{self, Columns};
use super::column::{Input, put_unsigned};
use super::point::Kept;
use super::tail::{Tail, put_in};

/// Points that are packed into one block.
const N_PACKED: usize = 32;
/// Blocks of so many points that become one.
const N_MERGED: usize = 4;

/// Packed points of a run.
#[derive(Clone, Debug)]
pub(super) struct Block {
    first: i64,
    last: i64,
    n: usize,
    bytes: Arc<[u8]>,
}

impl Block {
    fn of(points: &[Kept]) -> Option<Self> {
        Some(Self {
            first: points.first()?.at,
            last: points.last()?.at,
            n: points.len(),
            bytes: block::encode(points).into(),
        })
    }
    fn points(&self) -> Vec<Kept> {
        block::decode(&mut Input(&self.bytes)).expect("the block was packed, or checked, by this run")
    }
}

/// Points of one series, each time once.
///
/// Invariant: blocks ascend without overlap, and the tail lies after the last of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    blocks: Vec<Block>,
    tail: Tail,
}

impl Run {
    pub(super) fn is_empty(&self) -> bool {
        self.tail.is_empty() && self.blocks.is_empty()
    }
    pub(super) fn n_points(&self) -> usize {
        self.tail.len() + self.blocks.iter().map(|b| b.n).sum::<usize>()
    }
    /// The oldest time.
    pub(super) fn first(&self) -> Option<i64> {
        self.blocks.first().map(|b| b.first).or_else(|| self.tail.first())
    }
    /// The newest time.
    pub(super) fn last(&self) -> Option<i64> {
        self.tail.last().or_else(|| self.blocks.last().map(|b| b.last))
    }
    /// The point of one time.
    pub(super) fn find(&self, at: i64) -> Option<Kept> {
        if self.tail.first().is_some_and(|first| first <= at) {
            return self.tail.find(at);
        }
        let block = self.blocks.get(self.blocks.partition_point(|b| b.last < at))?;
        if at < block.first {
            return None;
        }
        let points = block.points();
        let i = points.binary_search_by_key(&at, |p| p.at).ok()?;
        Some(points[i].clone())
    }
    /// Puts a point in its place; a point of the same time is replaced.
    pub(super) fn insert(&mut self, point: Kept) {
        if self.blocks.last().is_none_or(|b| b.last < point.at) {
            self.tail.put(point);
            if self.tail.len() >= N_PACKED {
                let packed = std::mem::take(&mut self.tail);
                self.blocks.extend(Block::of(&packed.points()));
                self.merge();
            }
            return;
        }
        let i = self.blocks.partition_point(|b| b.last < point.at);
        let mut points = self.blocks[i].points();
        put_in(&mut points, point, |p| p.at);
        if points.len() > (N_MERGED + 1) * N_PACKED {
            let (older, newer) = points.split_at(points.len() / 2);
            self.blocks
                .splice(i..=i, [older, newer].into_iter().filter_map(Block::of));
        } else if let Some(block) = Block::of(&points) {
            self.blocks[i] = block;
        }
    }
    /// Makes one block of the newest ones, when they are as they were packed first. Each point is merged once.
    fn merge(&mut self) {
        let Some(start) = self.blocks.len().checked_sub(N_MERGED) else {
            return;
        };
        let newest = &self.blocks[start..];
        if newest.iter().all(|block| block.n == N_PACKED) {
            let points: Vec<Kept> = newest.iter().flat_map(Block::points).collect();
            self.blocks.splice(start.., Block::of(&points));
        }
    }
    /// Without the points before a time.
    pub(super) fn trimmed(&self, from: i64) -> Self {
        if self.first().is_none_or(|first| first >= from) {
            return self.clone();
        }
        let mut run = Self::default();
        for piece in self.pieces(from, i64::MAX) {
            piece
                .points()
                .into_iter()
                .filter(|point| point.at >= from)
                .for_each(|point| run.insert(point));
        }
        run
    }
    /// Every point, ascending.
    pub(super) fn points(&self) -> Vec<Kept> {
        self.pieces(i64::MIN, i64::MAX).flat_map(|p| p.points()).collect()
    }
    /// Its points but for the oldest `n`.
    pub(super) fn after(&self, n: usize) -> Vec<Kept> {
        let mut n_before = n;
        let mut points = Vec::new();
        for block in &self.blocks {
            if block.n > n_before {
                points.extend(block.points().drain(n_before..));
            }
            n_before = n_before.saturating_sub(block.n);
        }
        points.extend(self.tail.after(n_before));
        points
    }
    /// The pieces that may hold points of `from..=to`, ascending.
    pub(super) fn pieces(&self, from: i64, to: i64) -> impl Iterator<Item = Piece<'_>> {
        let start = self.blocks.partition_point(|b| b.last < from);
        self.blocks[start..]
            .iter()
            .take_while(move |b| b.first <= to)
            .map(Piece::Packed)
            .chain((!self.tail.is_empty()).then_some(Piece::Open(&self.tail)))
            .filter(move |piece| piece.first() <= to && piece.last() >= from)
    }
    /// Appends the whole run to a row.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_unsigned(
            out,
            (self.blocks.len() + usize::from(!self.tail.is_empty())) as u64,
        );
        for block in &self.blocks {
            out.extend_from_slice(&block.bytes);
        }
        if !self.tail.is_empty() {
            out.extend(block::encode(&self.tail.points()));
        }
    }
    /// Reads a run back; `None` when the bytes are not one.
    pub(super) fn read(input: &mut Input<'_>) -> Option<Self> {
        let mut run = Self::default();
        let n_blocks = input.count()?;
        for i in 0..n_blocks {
            let before = input.0;
            let points = block::decode(input)?;
            let (first, last) = (points.first()?.at, points.last()?.at);
            if run.last().is_some_and(|last| last >= first) {
                return None;
            }
            if i + 1 == n_blocks && points.len() < N_PACKED {
                run.tail = Tail::from(&points[..]);
            } else {
                run.blocks.push(Block {
                    first,
                    last,
                    n: points.len(),
                    bytes: before[..before.len() - input.0.len()].into(),
                });
            }
        }
        Some(run)
    }
}

/// Part of a run as a reader takes it: cheap to look at, unpacked when wanted.
#[derive(Clone, Copy)]
pub(super) enum Piece<'a> {
    Packed(&'a Block),
    Open(&'a Tail),
}

impl Piece<'_> {
    pub(super) fn first(&self) -> i64 {
        match self {
            Piece::Packed(block) => block.first,
            Piece::Open(tail) => tail.first().unwrap_or(i64::MAX),
        }
    }
    pub(super) fn last(&self) -> i64 {
        match self {
            Piece::Packed(block) => block.last,
            Piece::Open(tail) => tail.last().unwrap_or(i64::MIN),
        }
    }
    /// Its columns, if all values are numbers.
    pub(super) fn columns(&self) -> Option<Columns> {
        match self {
            Piece::Packed(block) => block::columns(&block.bytes),
            Piece::Open(tail) => tail.columns(),
        }
    }
    pub(super) fn points(&self) -> Vec<Kept> {
        match self {
            Piece::Packed(block) => block.points(),
            Piece::Open(tail) => tail.points(),
        }
    }
}

/// The points of both, ascending; where a time is in both, the one of `newer`.
pub(super) fn overlay(older: Vec<Kept>, newer: &[Kept]) -> Vec<Kept> {
    if newer.is_empty() {
        return older;
    }
    let mut merged = Vec::with_capacity(older.len() + newer.len());
    let mut newer = newer.iter().peekable();
    for point in older {
        while let Some(first) = newer.next_if(|n| n.at < point.at) {
            merged.push(first.clone());
        }
        merged.push(match newer.next_if(|n| n.at == point.at) {
            Some(instead) => instead.clone(),
            None => point,
        });
    }
    merged.extend(newer.cloned());
    merged
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use onemap_model::Value;
    use proptest::prelude::*;

    use super::*;

    fn kept(at: i64, number: f64) -> Kept {
        Kept {
            at,
            received: at + 5,
            value: Value::Number(number),
            quality: 0,
        }
    }

    proptest! {
        #[test]
        fn a_run_is_a_sorted_map_and_survives_its_row(
            inserts in prop::collection::vec((0i64..700, 0u8..9), 0..900)
        ) {
            let mut run = Run::default();
            let mut map = BTreeMap::new();
            for (at, number) in inserts {
                run.insert(kept(at, number.into()));
                map.insert(at, kept(at, number.into()));
            }
            let mut row = Vec::new();
            run.put(&mut row);
            let read = Run::read(&mut Input(&row)).unwrap();
            for run in [&run, &read] {
                prop_assert_eq!(run.points(), map.values().cloned().collect::<Vec<_>>());
                prop_assert_eq!(run.n_points(), map.len());
                prop_assert_eq!(run.first(), map.keys().next().copied());
                prop_assert_eq!(run.last(), map.keys().next_back().copied());
                for n in [0, 1, 31, 32, 33, 127, 129, 160, 500, 900] {
                    let want: Vec<Kept> = map.values().skip(n).cloned().collect();
                    prop_assert_eq!(run.after(n), want);
                }
                for at in [-1, 0, 350, 699, 700] {
                    prop_assert_eq!(run.find(at), map.get(&at).cloned());
                }
            }
        }
    }

    #[test]
    fn the_newer_of_two_points_of_one_time_wins() {
        let older = vec![kept(1, 1.0), kept(3, 1.0), kept(5, 1.0)];
        let newer = [kept(0, 2.0), kept(3, 2.0), kept(4, 2.0), kept(9, 2.0)];
        let merged: Vec<(i64, Option<f64>)> = overlay(older, &newer)
            .iter()
            .map(|p| (p.at, p.value.number()))
            .collect();
        let want = [(0, 2.0), (1, 1.0), (3, 2.0), (4, 2.0), (5, 1.0), (9, 2.0)];
        assert_eq!(merged, want.map(|(at, n)| (at, Some(n))));
    }
}
