//! One run of points: columns in Z-order, pages of 64 by 64 cells, offsets of the cells.

use std::ops::Range;
use std::sync::OnceLock;

use crate::coordinates::{Extent, Vertex};
use crate::geometry::Polygon;

use super::cut::{self, Cut, Share};
use super::layers::{self, Run};
use super::points::Point;
use super::zorder::{self, unsigned};

/// A page is 2^6 cells wide.
pub(super) const PAGE_BITS: u32 = 6;
/// Offsets of a page's cells, with the end.
const N_OFFSETS: usize = (1 << (2 * PAGE_BITS)) + 1;
/// Pages with fewer points are searched without offsets.
const N_LEAST_FOR_OFFSETS: usize = 1024;
/// Points that share a cell with a point, on the average over the points.
const N_IN_A_CELL: usize = 12;
/// Cells may be 2^11 to 2^24 steps wide: 23 m to 186 km.
const SHIFTS: std::ops::Range<u32> = 11..24;
/// Cells a side that a polygon is cut into, at most.
const N_CUT: u32 = 256;

/// One run of points.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(super) at: Vec<Vertex>,
    item: Vec<u32>,
    kind: Vec<u8>,
    /// Slots by (item, slot), made when they are asked for.
    by_item: OnceLock<Vec<u32>>,
    repeats: bool,
    pub(super) extent: Extent,
    /// Cells are `2^shift` steps wide.
    pub(super) shift: u32,
    /// In Z-order.
    pub(super) pages: Vec<Page>,
    offsets: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    key: u64,
    pub(super) column: u32,
    pub(super) row: u32,
    pub(super) start: u32,
    pub(super) end: u32,
    /// Where its offsets begin; `u32::MAX` when it has none.
    offsets: u32,
}

impl Run for Segment {
    type Entry = Point;

    fn of(points: Vec<Point>) -> Self {
        let mut order: Vec<(u64, u32)> = (0u32..)
            .zip(&points)
            .map(|(i, p)| (zorder::key(p.at), i))
            .collect();
        order.sort_unstable_by_key(|(key, i)| (*key, points[*i as usize].item, *i));
        let shift = width(&order);
        let pages = pages(&order, shift + PAGE_BITS);
        let nowhere = Vertex { lon: 0, lat: 0 };
        let extent = Extent::around(points.iter().map(|p| p.at)).unwrap_or(Extent {
            min: nowhere,
            max: nowhere,
        });
        let mut segment = Self {
            at: order.iter().map(|(_, i)| points[*i as usize].at).collect(),
            item: order.iter().map(|(_, i)| points[*i as usize].item).collect(),
            kind: order.iter().map(|(_, i)| points[*i as usize].kind).collect(),
            by_item: OnceLock::new(),
            repeats: false,
            extent,
            shift,
            pages,
            offsets: Vec::new(),
        };
        segment.note_cells(&order);
        drop(order);
        segment.repeats = layers::repeats(&segment.item);
        segment
    }

    fn len(&self) -> usize {
        self.item.len()
    }

    #[inline]
    fn entry(&self, slot: u32) -> Point {
        Point {
            item: self.item[slot as usize],
            kind: self.kind[slot as usize],
            at: self.at(slot as usize),
        }
    }

    fn slots_of(&self, item: u32) -> &[u32] {
        let by_item = self.by_item.get_or_init(|| layers::by_item(&self.item));
        layers::slots_of(by_item, item, |slot| self.item[slot as usize])
    }

    fn item(entry: &Point) -> u32 {
        entry.item
    }

    fn repeats(&self) -> bool {
        self.repeats
    }

    fn bytes(&self) -> usize {
        let words = 2 * self.at.capacity() + self.item.capacity();
        let by_item = self.by_item.get().map_or(0, Vec::capacity);
        let words = words + by_item + self.offsets.capacity();
        words * 4 + self.kind.capacity() + self.pages.capacity() * size_of::<Page>()
    }
}

/// The width of cells at which a point shares its cell with enough others.
fn width(order: &[(u64, u32)]) -> u32 {
    let crowded = |shift: u32| {
        let cells = order.chunk_by(|(a, _), (b, _)| a >> (2 * shift) == b >> (2 * shift));
        let together: usize = cells.map(|cell| cell.len() * cell.len()).sum();
        together >= N_IN_A_CELL * order.len()
    };
    SHIFTS
        .into_iter()
        .find(|shift| crowded(*shift))
        .unwrap_or(SHIFTS.end)
}

fn pages(order: &[(u64, u32)], shift: u32) -> Vec<Page> {
    let mut pages = Vec::new();
    let mut start = 0;
    for page in order.chunk_by(|(a, _), (b, _)| a >> (2 * shift) == b >> (2 * shift)) {
        let key = page[0].0 >> (2 * shift);
        pages.push(Page {
            key,
            column: zorder::column(key),
            row: zorder::column(key >> 1),
            start,
            end: start + page.len() as u32,
            offsets: u32::MAX,
        });
        start += page.len() as u32;
    }
    pages.shrink_to_fit();
    pages
}

impl Segment {
    fn note_cells(&mut self, order: &[(u64, u32)]) {
        let dense = |page: &Page| (page.end - page.start) as usize >= N_LEAST_FOR_OFFSETS;
        let n_dense = self.pages.iter().filter(|page| dense(page)).count();
        self.offsets = Vec::with_capacity(n_dense * N_OFFSETS);
        for page in self.pages.iter_mut().filter(|page| dense(page)) {
            page.offsets = self.offsets.len() as u32;
            let mut slot = page.start;
            for cell in 0..N_OFFSETS as u64 - 1 {
                self.offsets.push(slot);
                let key = |slot: u32| order[slot as usize].0 >> (2 * self.shift) & (N_OFFSETS as u64 - 2);
                while slot < page.end && key(slot) == cell {
                    slot += 1;
                }
            }
            self.offsets.push(page.end);
        }
    }

    #[inline]
    pub(super) fn at(&self, slot: usize) -> Vertex {
        self.at[slot]
    }

    pub(super) fn page(&self, column: u32, row: u32) -> Option<&Page> {
        let key = zorder::code(column, row);
        let at = self.pages.binary_search_by_key(&key, |page| page.key).ok()?;
        Some(&self.pages[at])
    }

    /// Calls `each` for the pages of a range, both ends inside.
    fn pages_in(&self, [west, south, east, north]: [u32; 4], mut each: impl FnMut(&Page)) {
        let n = (u64::from(east - west) + 1) * (u64::from(north - south) + 1);
        if n > self.pages.len() as u64 {
            let inside = |p: &&Page| (west..=east).contains(&p.column) && (south..=north).contains(&p.row);
            self.pages.iter().filter(inside).for_each(each);
            return;
        }
        for row in south..=north {
            for column in west..=east {
                if let Some(page) = self.page(column, row) {
                    each(page);
                }
            }
        }
    }

    /// Slots of a square of `2^bits` cells within a page, given by its first cell in the page.
    #[inline]
    pub(super) fn square(&self, page: &Page, column: u32, row: u32, bits: u32) -> Range<usize> {
        let cell = zorder::code_in_page(column, row);
        if page.offsets != u32::MAX {
            let offsets = &self.offsets[page.offsets as usize..page.offsets as usize + N_OFFSETS];
            return offsets[cell] as usize..offsets[cell + (1 << (2 * bits))] as usize;
        }
        let first = (page.key << (2 * PAGE_BITS) | cell as u64) << (2 * self.shift);
        let last = first + ((1u64 << (2 * (self.shift + bits))) - 1);
        let (start, end) = (page.start as usize, page.end as usize);
        let from = self.first_from(start, end, first);
        let to = self.first_from(from, end, last.saturating_add(1));
        from..to
    }

    /// The first slot of a range whose place in Z-order is at least the key.
    fn first_from(&self, mut low: usize, mut high: usize, key: u64) -> usize {
        while low < high {
            let middle = low + (high - low) / 2;
            if zorder::key(self.at(middle)) < key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Calls `each` for slices of slots that hold all points of the box, and with whether they may hold others.
    pub(super) fn slices(&self, extent: Extent, mut each: impl FnMut(Range<usize>, bool)) {
        let Some(extent) = self.extent.common(&extent) else {
            return;
        };
        let cell = |degree: i32| unsigned(degree) >> self.shift;
        let (west, east) = (cell(extent.min.lon), cell(extent.max.lon));
        let (south, north) = (cell(extent.min.lat), cell(extent.max.lat));
        let range = [west, south, east, north].map(|cell| cell >> PAGE_BITS);
        self.pages_in(range, |page| {
            let (first_column, first_row) = (page.column << PAGE_BITS, page.row << PAGE_BITS);
            let last = (1u32 << PAGE_BITS) - 1;
            let whole = west < first_column && first_column + last < east;
            if whole && south < first_row && first_row + last < north {
                each(page.start as usize..page.end as usize, false);
                return;
            }
            if page.offsets == u32::MAX {
                each(page.start as usize..page.end as usize, true);
                return;
            }
            for row in south.max(first_row)..=north.min(first_row + last) {
                let rim = row == south || row == north;
                for column in west.max(first_column)..=east.min(first_column + last) {
                    let slots = self.square(page, column - first_column, row - first_row, 0);
                    each(slots, rim || column == west || column == east);
                }
            }
        });
    }

    /// Calls `each` for the slots of the box.
    pub(super) fn bbox(&self, extent: Extent, mut each: impl FnMut(u32)) {
        self.slices(extent, |slots, _| {
            for (slot, at) in (slots.start as u32..).zip(&self.at[slots.clone()]) {
                if extent.holds(*at) {
                    each(slot);
                }
            }
        });
    }

    /// The points of some slots.
    #[inline]
    pub(super) fn points(&self, slots: Range<usize>) -> impl Iterator<Item = Point> {
        let columns = self.item[slots.clone()].iter().zip(&self.kind[slots.clone()]);
        columns.zip(&self.at[slots]).map(|((item, kind), at)| Point {
            item: *item,
            kind: *kind,
            at: *at,
        })
    }

    /// Cuts a polygon along cells of this run, along squares of them when it is large, and finer when it is
    /// small or has many edges.
    pub(super) fn cut(&self, polygon: &Polygon) -> Option<Cut> {
        let extent = Extent::around(polygon.rings.iter().flatten().copied())?;
        self.extent.common(&extent)?;
        let n_edges: usize = polygon.rings.iter().map(Vec::len).sum();
        let a_side = (n_edges.isqrt() as u32).clamp(4, N_CUT);
        let fine = cut::shift_for(&extent, 8, a_side);
        let shift = match fine < self.shift {
            true => fine,
            false => cut::shift_for(&extent, self.shift, N_CUT),
        };
        Cut::new(polygon, shift)
    }

    pub(super) fn covered_by(&self, cut: &Cut, mut each: impl FnMut(u32)) {
        if cut.shift < self.shift {
            self.bbox(cut.extent, |slot| {
                if cut.covers(self.at(slot as usize)) {
                    each(slot);
                }
            });
            return;
        }
        let bits = cut.shift - self.shift;
        let to_page = |cell: u32| ((u64::from(cell) << bits) >> PAGE_BITS) as u32;
        let [west, south, east, north] = cut.reach();
        let last = |cell: u32| ((((u64::from(cell) + 1) << bits) - 1) >> PAGE_BITS) as u32;
        self.pages_in([to_page(west), to_page(south), last(east), last(north)], |page| {
            if bits >= PAGE_BITS {
                let (column, row) = (page.column >> (bits - PAGE_BITS), page.row >> (bits - PAGE_BITS));
                if let Some(share) = cut.share(column, row) {
                    let slots = page.start as usize..page.end as usize;
                    self.covered_in(slots, share, column, row, cut.shift, &mut each);
                }
                return;
            }
            let side = PAGE_BITS - bits;
            let (first_column, first_row) = (page.column << side, page.row << side);
            if page.offsets == u32::MAX {
                let slots = page.start..page.end;
                slots
                    .filter(|slot| cut.covers(self.at(*slot as usize)))
                    .for_each(&mut each);
                return;
            }
            let end = (1u32 << side) - 1;
            for row in south.max(first_row)..=north.min(first_row + end) {
                for column in west.max(first_column)..=east.min(first_column + end) {
                    if let Some(share) = cut.share(column, row) {
                        let (x, y) = ((column - first_column) << bits, (row - first_row) << bits);
                        let slots = self.square(page, x, y, bits);
                        self.covered_in(slots, share, column, row, cut.shift, &mut each);
                    }
                }
            }
        });
    }

    fn covered_in(
        &self,
        slots: Range<usize>,
        share: Share<'_>,
        column: u32,
        row: u32,
        shift: u32,
        each: &mut impl FnMut(u32),
    ) {
        let (west, south) = (cut::edge_of(column, shift), cut::edge_of(row, shift));
        let whole = share.edges.is_empty();
        for slot in slots {
            if whole || share.covers(west, south, self.at(slot)) {
                each(slot as u32);
            }
        }
    }
}
