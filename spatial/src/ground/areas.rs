//! Which areas cover a point: one look-up a level, and the few edges of the cell.
//!
//! Each polygon is cut into cells (`cut`) of the least width, from 82 m on, at which it has at most
//! 128 a side, so a fence of a hundred metres and a province cost about the same; or, where memory counts more, at
//! which it has about as many cells as edges ([`AreaIndex::lean`]). Cells of one width are a level; a point looks at
//! its cell on each level in use.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;

use crate::coordinates::{Extent, Vertex};
use crate::geometry::Polygon;

use super::cut::{self, Cut, Edge, N_MOST_CELLS_A_SIDE, Share, covers_in_cell};
use super::zorder::unsigned;

/// The narrowest cells: 2^13 steps, 91 m from south to north and 73 m from west to east at Xining. Twice as wide
/// they take half the memory and a third of the time to fill, and an answer takes a sixth longer (`make bench-map`).
pub(crate) const LEAST_SHIFT: u32 = 13;

/// Cells a side of a polygon of few edges in a lean index.
const N_LEAST_CELLS_A_SIDE: u32 = 4;

/// Areas by number, ready to be asked which of them cover a point.
#[derive(Clone, Debug, Default)]
pub struct AreaIndex {
    is_lean: bool,
    /// By the width of their cells.
    levels: BTreeMap<u32, Level>,
    /// Where the cells of each item are: shift and range of cells, both ends inside.
    placed: HashMap<u32, Vec<(u32, [u32; 4])>, FixedState>,
}

type Level = HashMap<u64, Cell, FixedState>;

/// What lies in a cell, in one piece of memory: the numbers of areas that cover it whole and of parts, these
/// areas, two words for each part (its area; the number of its edges and whether the corner is inside), and four
/// words for each edge.
#[derive(Clone, Debug)]
struct Cell(Box<[u32]>);

fn cell_key(column: u32, row: u32) -> u64 {
    u64::from(row) << 32 | u64::from(column)
}

impl AreaIndex {
    /// An index of no area.
    pub fn new() -> Self {
        Self::default()
    }

    /// An index of no area that takes about as many cells as its areas have edges: for areas that share borders
    /// and cover everything, such as divisions. A point looks at a few more edges.
    pub fn lean() -> Self {
        Self {
            is_lean: true,
            ..Self::default()
        }
    }

    /// Number of areas.
    pub fn len(&self) -> usize {
        self.placed.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.placed.is_empty()
    }

    /// Adds or replaces an area: what any of its polygons covers.
    pub fn put(&mut self, item: u32, polygons: &[Polygon]) {
        self.remove(item);
        let mut placed = Vec::with_capacity(polygons.len());
        for polygon in polygons {
            let Some(extent) = Extent::around(polygon.rings.iter().flatten().copied()) else {
                continue;
            };
            let n_edges: usize = polygon.rings.iter().map(Vec::len).sum();
            let a_side = match self.is_lean {
                true => (n_edges.isqrt() as u32).clamp(N_LEAST_CELLS_A_SIDE, N_MOST_CELLS_A_SIDE),
                false => N_MOST_CELLS_A_SIDE,
            };
            let shift = cut::shift_for(&extent, LEAST_SHIFT, a_side);
            let Some(cut) = Cut::new(polygon, shift) else {
                continue;
            };
            let level = self.levels.entry(shift).or_default();
            for (column, row, share) in cut.shares() {
                let cell = level.entry(cell_key(column, row)).or_insert_with(Cell::empty);
                cell.add(item, share);
            }
            placed.push((shift, cut.reach()));
        }
        self.placed.insert(item, placed);
    }

    /// Removes an area; `false` when it was not there.
    pub fn remove(&mut self, item: u32) -> bool {
        let Some(placed) = self.placed.remove(&item) else {
            return false;
        };
        for (shift, [west, south, east, north]) in placed {
            let Some(level) = self.levels.get_mut(&shift) else {
                continue;
            };
            for row in south..=north {
                for column in west..=east {
                    let key = cell_key(column, row);
                    if level.get_mut(&key).is_some_and(|cell| cell.remove(item)) {
                        level.remove(&key);
                    }
                }
            }
            if level.is_empty() {
                self.levels.remove(&shift);
            }
        }
        true
    }

    /// The areas that cover the point, borders included, by number. `found` is emptied first.
    ///
    /// Answers whether an edge is near: `false` says that the whole cell of [`cell_of`](Self::cell_of) has
    /// the same answer.
    pub fn at(&self, p: Vertex, found: &mut Vec<u32>) -> bool {
        found.clear();
        let mut near_edge = false;
        for (shift, level) in &self.levels {
            let (column, row) = (unsigned(p.lon) >> shift, unsigned(p.lat) >> shift);
            let Some(cell) = level.get(&cell_key(column, row)) else {
                continue;
            };
            let (whole, parts, edges) = cell.split();
            found.extend_from_slice(whole);
            if parts.is_empty() {
                continue;
            }
            near_edge = true;
            let (west, south) = (cut::edge_of(column, *shift), cut::edge_of(row, *shift));
            let mut start = 0;
            for part in parts.chunks_exact(2) {
                let end = start + 4 * (part[1] as usize >> 1);
                let own = edges[start..end].chunks_exact(4).map(Edge::of_words);
                if covers_in_cell(part[1] & 1 == 1, own, west, south, p) {
                    found.push(part[0]);
                }
                start = end;
            }
        }
        found.sort_unstable();
        found.dedup();
        near_edge
    }

    /// Reads what [`at`](Self::at) reads of a point, and works nothing out: for many points in a row, whose memory is
    /// then fetched at once.
    pub(crate) fn fetch(&self, p: Vertex) -> u32 {
        let mut sum = 0;
        for (shift, level) in &self.levels {
            let key = cell_key(unsigned(p.lon) >> shift, unsigned(p.lat) >> shift);
            let words = level.get(&key).map_or(&[][..], |cell| &cell.0);
            // One of each line of the cache.
            sum = words.iter().step_by(16).fold(sum, |sum, word| sum ^ word);
        }
        sum
    }

    /// Whether an area covers the point; `false` for one that is not there.
    pub fn covers(&self, item: u32, p: Vertex) -> bool {
        let mut found = Vec::new();
        self.placed.contains_key(&item) && {
            self.at(p, &mut found);
            found.binary_search(&item).is_ok()
        }
    }

    /// The narrowest cell around a point, for [`at`](Self::at).
    #[inline]
    pub fn cell_of(p: Vertex) -> u64 {
        cell_key(unsigned(p.lon) >> LEAST_SHIFT, unsigned(p.lat) >> LEAST_SHIFT)
    }

    /// Memory in bytes, about.
    pub fn bytes(&self) -> usize {
        let cell = |cell: &Cell| size_of_val(&*cell.0);
        let level = |level: &Level| {
            let own: usize = level.values().map(cell).sum();
            own + level.capacity() * (size_of::<(u64, Cell)>() + 1)
        };
        self.levels.values().map(level).sum::<usize>() + self.placed.capacity() * 64
    }
}

impl Cell {
    fn empty() -> Self {
        Self(Box::new([0, 0]))
    }

    /// Areas that cover the cell whole, parts, edges of the parts.
    #[inline]
    fn split(&self) -> (&[u32], &[u32], &[u32]) {
        let (head, rest) = self.0.split_at(2);
        let (whole, rest) = rest.split_at(head[0] as usize);
        let (parts, edges) = rest.split_at(2 * head[1] as usize);
        (whole, parts, edges)
    }

    fn add(&mut self, item: u32, share: Share<'_>) {
        let (whole, parts, edges) = self.split();
        let n = self.0.len()
            + if share.edges.is_empty() {
                1
            } else {
                2 + 4 * share.edges.len()
            };
        let mut words = Vec::with_capacity(n);
        words.extend_from_slice(&self.0[..2]);
        words.extend_from_slice(whole);
        if share.edges.is_empty() {
            words[0] += 1;
            words.push(item);
            words.extend_from_slice(parts);
            words.extend_from_slice(edges);
        } else {
            words[1] += 1;
            words.extend_from_slice(parts);
            words.extend([item, (share.edges.len() as u32) << 1 | u32::from(share.corner)]);
            words.extend_from_slice(edges);
            share.edges.iter().for_each(|edge| words.extend(edge.words()));
        }
        self.0 = words.into_boxed_slice();
    }

    /// Takes an item out; whether nothing is left.
    fn remove(&mut self, item: u32) -> bool {
        let (whole, parts, edges) = self.split();
        let mut words = vec![0, 0];
        words.extend(whole.iter().filter(|own| **own != item));
        words[0] = words.len() as u32 - 2;
        let (mut kept, mut start) = (Vec::new(), 0);
        for part in parts.chunks_exact(2) {
            let end = start + 4 * (part[1] as usize >> 1);
            if part[0] != item {
                words[1] += 1;
                words.extend_from_slice(part);
                kept.extend_from_slice(&edges[start..end]);
            }
            start = end;
        }
        words.append(&mut kept);
        self.0 = words.into_boxed_slice();
        self.0[0] == 0 && self.0[1] == 0
    }
}
