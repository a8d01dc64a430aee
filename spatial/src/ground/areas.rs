//! Which areas cover a point: one look-up a level, and the few edges of the cell.
//!
//! Each polygon is cut into cells ([`super::cut`]) of the least width, from 82 m on, at which it has at most
//! 128 a side, so a fence of a hundred metres and a province cost about the same. Cells of one width are a
//! level; a point looks at its cell on each level in use.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;

use crate::coordinates::{Extent, Vertex};
use crate::geometry::Polygon;

use super::cut::{self, Cut, Edge, N_MOST_CELLS_A_SIDE, Share};
use super::zorder::unsigned;

/// The narrowest cells: 2^13 steps, 91 m from south to north and 73 m from west to east at Xining.
pub(crate) const LEAST_SHIFT: u32 = 13;

/// Areas by number, ready to be asked which of them cover a point.
#[derive(Clone, Debug, Default)]
pub struct AreaIndex {
    /// By the width of their cells.
    levels: BTreeMap<u32, Level>,
    /// Where the cells of each item are: shift and range of cells, both ends inside.
    placed: HashMap<u32, Vec<(u32, [u32; 4])>, FixedState>,
}

type Level = HashMap<u64, Cell, FixedState>;

#[derive(Clone, Debug, Default)]
struct Cell {
    /// Areas that cover the whole cell.
    whole: Vec<u32>,
    parts: Vec<Part>,
    edges: Vec<Edge>,
}

/// What an area with an edge in the cell has there.
#[derive(Clone, Copy, Debug)]
struct Part {
    item: u32,
    n_edges: u32,
    corner: bool,
}

fn cell_key(column: u32, row: u32) -> u64 {
    u64::from(row) << 32 | u64::from(column)
}

impl AreaIndex {
    /// An index of no area.
    pub fn new() -> Self {
        Self::default()
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
            let shift = cut::shift_for(&extent, LEAST_SHIFT, N_MOST_CELLS_A_SIDE);
            let Some(cut) = Cut::new(polygon, shift) else {
                continue;
            };
            let level = self.levels.entry(shift).or_default();
            for (column, row, share) in cut.shares() {
                level.entry(cell_key(column, row)).or_default().add(item, share);
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
            found.extend_from_slice(&cell.whole);
            if cell.parts.is_empty() {
                continue;
            }
            near_edge = true;
            let (west, south) = (cut::edge_of(column, *shift), cut::edge_of(row, *shift));
            let mut start = 0;
            for part in &cell.parts {
                let end = start + part.n_edges as usize;
                let share = Share {
                    corner: part.corner,
                    edges: &cell.edges[start..end],
                };
                if share.covers(west, south, p) {
                    found.push(part.item);
                }
                start = end;
            }
        }
        found.sort_unstable();
        found.dedup();
        near_edge
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
        let cell = |cell: &Cell| {
            cell.whole.capacity() * 4
                + cell.parts.capacity() * size_of::<Part>()
                + cell.edges.capacity() * size_of::<Edge>()
        };
        let level = |level: &Level| {
            let own: usize = level.values().map(cell).sum();
            own + level.capacity() * (size_of::<(u64, Cell)>() + 1)
        };
        self.levels.values().map(level).sum::<usize>() + self.placed.capacity() * 64
    }
}

impl Cell {
    fn add(&mut self, item: u32, share: Share<'_>) {
        if share.edges.is_empty() {
            self.whole.push(item);
            return;
        }
        self.edges.extend_from_slice(share.edges);
        self.parts.push(Part {
            item,
            n_edges: share.edges.len() as u32,
            corner: share.corner,
        });
    }

    /// Takes an item out; whether nothing is left.
    fn remove(&mut self, item: u32) -> bool {
        self.whole.retain(|own| *own != item);
        if self.parts.iter().any(|part| part.item == item) {
            let edges = std::mem::take(&mut self.edges);
            let mut start = 0;
            for part in &self.parts {
                let end = start + part.n_edges as usize;
                if part.item != item {
                    self.edges.extend_from_slice(&edges[start..end]);
                }
                start = end;
            }
            self.parts.retain(|part| part.item != item);
        }
        self.whole.is_empty() && self.parts.is_empty()
    }
}
