//! Moving objects in a dense grid: where everything is now, changed and asked by many at once.
//!
//! A position is one atomic number, so a move within a cell (2^15 steps, 364 m by 293 m at Xining) takes no
//! lock. A move to another cell locks the object's stripe and the stripes of the two cells' blocks. Who asks locks one
//! stripe at a time, for as long as it takes to copy the numbers of some cells.
//!
//! Beside changes, an answer is that of no single moment: an object that goes from one cell to another while
//! they are looked through may be named at its old or new place, twice, or be missed; one that stays is named
//! once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockWriteGuard};

use foldhash::fast::FixedState;

use crate::coordinates::{Extent, Vertex};

use super::near::{Nearest, Neighbour};
use super::sphere::Origin;
use super::zorder::unsigned;

/// Cells are 2^15 steps wide.
const SHIFT: u32 = 15;
/// Blocks are 2^2 cells wide.
const BLOCK_BITS: u32 = 2;
/// Objects whose places are kept together.
const N_IN_CHUNK: usize = 4096;
/// Locks for cells, and as many for objects.
const N_STRIPES: usize = 64;
/// Rings of cells that the nearest are looked for in, before all objects are.
const N_RINGS: i64 = 24;
/// A look at a cell costs about as much as one at so many objects.
const N_OBJECTS_A_CELL: u64 = 8;
/// Nowhere: no point of the globe has this longitude.
const ABSENT: u64 = (i32::MIN as u32 as u64) << 32;

/// Why an object cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MoversError {
    /// Its number is not below the number of objects that the grid was made for.
    #[error("object {item} is beyond the {capacity} moving objects that there is room for")]
    Capacity {
        /// The object's number.
        item: u32,
        /// Objects that there is room for.
        capacity: u32,
    },
}

/// Where moving objects are.
#[derive(Debug)]
pub struct Movers {
    chunks: Box<[OnceLock<Box<[Place]>>]>,
    capacity: u32,
    n: AtomicUsize,
    objects: Box<[Mutex<()>]>,
    cells: Box<[RwLock<Cells>]>,
}

/// The cells of some blocks.
type Cells = HashMap<u64, Block, FixedState>;

/// Who is in each cell of a block, by row.
type Block = Box<[Vec<u32>; 1 << (2 * BLOCK_BITS)]>;

#[derive(Debug)]
struct Place {
    at: AtomicU64,
    /// Which of its cell's list it is; changed under the lock of the cell's stripe only.
    nth: AtomicU32,
}

fn packed(v: Vertex) -> u64 {
    u64::from(v.lon as u32) << 32 | u64::from(v.lat as u32)
}

fn unpacked(at: u64) -> Vertex {
    Vertex {
        lon: (at >> 32) as u32 as i32,
        lat: at as u32 as i32,
    }
}

fn cell(v: Vertex) -> u64 {
    u64::from(unsigned(v.lat) >> SHIFT) << 32 | u64::from(unsigned(v.lon) >> SHIFT)
}

/// The block of a cell, and which of its cells it is.
#[inline]
fn block(cell: u64) -> (u64, usize) {
    let mask = (1 << BLOCK_BITS) - 1;
    let (column, row) = (cell as u32, (cell >> 32) as u32);
    let block = u64::from(row >> BLOCK_BITS) << 32 | u64::from(column >> BLOCK_BITS);
    (block, ((row & mask) << BLOCK_BITS | (column & mask)) as usize)
}

/// Neighbouring blocks have different stripes.
fn stripe(block: u64) -> usize {
    (block as u32 as usize + (block >> 32) as usize * 11) % N_STRIPES
}

impl Movers {
    /// Room for objects with numbers below `capacity`; memory is taken as they come.
    pub fn new(capacity: u32) -> Self {
        let n_chunks = (capacity as usize).div_ceil(N_IN_CHUNK);
        Self {
            chunks: (0..n_chunks).map(|_| OnceLock::new()).collect(),
            capacity,
            n: AtomicUsize::new(0),
            objects: (0..N_STRIPES).map(|_| Mutex::default()).collect(),
            cells: (0..N_STRIPES).map(|_| RwLock::default()).collect(),
        }
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.n.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts an object somewhere, or moves it.
    ///
    /// # Errors
    /// [`MoversError::Capacity`] when its number is too large.
    pub fn set(&self, item: u32, at: Vertex) -> Result<(), MoversError> {
        if item >= self.capacity {
            let capacity = self.capacity;
            return Err(MoversError::Capacity { item, capacity });
        }
        let chunk = self.chunks[item as usize / N_IN_CHUNK].get_or_init(|| {
            let place = |_| Place {
                at: AtomicU64::new(ABSENT),
                nth: AtomicU32::new(0),
            };
            (0..N_IN_CHUNK).map(place).collect()
        });
        let place = &chunk[item as usize % N_IN_CHUNK];
        let (old, new) = (place.at.load(Ordering::Acquire), packed(at));
        let stays = old != ABSENT && cell(unpacked(old)) == cell(at);
        // When another thread was faster, the way with locks sees what it did.
        let moved = stays
            && place
                .at
                .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
                .is_ok();
        if !moved {
            self.change(item, place, Some(at));
        }
        Ok(())
    }

    /// Takes an object off; `false` when it was not there.
    pub fn remove(&self, item: u32) -> bool {
        self.place(item)
            .is_some_and(|place| self.change(item, place, None))
    }

    /// Where an object is; `None` when it is not there.
    pub fn position(&self, item: u32) -> Option<Vertex> {
        let at = self.place(item)?.at.load(Ordering::Acquire);
        (at != ABSENT).then(|| unpacked(at))
    }

    fn place(&self, item: u32) -> Option<&Place> {
        let chunk = self.chunks.get(item as usize / N_IN_CHUNK)?.get()?;
        chunk.get(item as usize % N_IN_CHUNK)
    }

    /// Moves an object under locks; whether it was there.
    fn change(&self, item: u32, place: &Place, to: Option<Vertex>) -> bool {
        let _own: MutexGuard<'_, ()> = self.objects[item as usize % N_STRIPES]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let old = place.at.load(Ordering::Acquire);
        let from = (old != ABSENT).then(|| cell(unpacked(old)));
        let into = to.map(cell);
        if from != into {
            let stripes = [from, into].map(|cell| cell.map(|cell| stripe(block(cell).0)));
            let mut locked = self.lock(stripes);
            if let Some(from) = from {
                self.take_out(locked.of(stripes[0]), from, place);
            }
            if let Some(into) = into {
                let (block, nth) = block(into);
                let list = &mut locked.of(stripes[1]).entry(block).or_default()[nth];
                place.nth.store(list.len() as u32, Ordering::Relaxed);
                list.push(item);
            }
            place.at.store(to.map_or(ABSENT, packed), Ordering::Release);
        } else if let Some(to) = to {
            place.at.store(packed(to), Ordering::Release);
        }
        match (from, into) {
            (None, Some(_)) => _ = self.n.fetch_add(1, Ordering::Relaxed),
            (Some(_), None) => _ = self.n.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
        from.is_some()
    }

    fn take_out(&self, cells: &mut Cells, from: u64, place: &Place) {
        let (block, own) = block(from);
        let Some(lists) = cells.get_mut(&block) else {
            return;
        };
        let list = &mut lists[own];
        let nth = place.nth.load(Ordering::Relaxed);
        list.swap_remove(nth as usize);
        if let Some(moved) = list.get(nth as usize).and_then(|moved| self.place(*moved)) {
            moved.nth.store(nth, Ordering::Relaxed);
        }
        if list.is_empty() && lists.iter().all(Vec::is_empty) {
            cells.remove(&block);
        }
    }

    /// Locks one or two stripes, the smaller number first.
    fn lock(&self, [a, b]: [Option<usize>; 2]) -> Locked<'_> {
        let write = |stripe: usize| {
            let cells = self.cells[stripe].write();
            (stripe, cells.unwrap_or_else(PoisonError::into_inner))
        };
        let first = a.into_iter().chain(b).min();
        let last = a.into_iter().chain(b).max().filter(|last| Some(*last) != first);
        Locked([first.map(write), last.map(write)])
    }

    /// Calls `each` for the objects inside the box or on its rim, in no order a caller may rely on.
    pub fn bbox(&self, extent: Extent, mut each: impl FnMut(u32, Vertex)) {
        let range = |low: i32, high: i32| (unsigned(low) >> SHIFT, unsigned(high) >> SHIFT);
        let (west, east) = range(extent.min.lon, extent.max.lon);
        let (south, north) = range(extent.min.lat, extent.max.lat);
        let n_cells = u64::from(east - west + 1) * u64::from(north - south + 1);
        if n_cells * N_OBJECTS_A_CELL > self.len() as u64 {
            self.all(|item, at| {
                if extent.holds(at) {
                    each(item, at);
                }
            });
            return;
        }
        let mut items = Vec::new();
        self.look([west, south, east, north], &mut items, |item, at| {
            if extent.holds(at) {
                each(item, at);
            }
        });
    }

    /// The `k` nearest objects among those that `keep` accepts, nearest first, ties by the smaller number.
    pub fn nearest(&self, to: Vertex, k: usize, mut keep: impl FnMut(u32, Vertex) -> bool) -> Vec<Neighbour> {
        let origin = Origin::at(to);
        let mut nearest = Nearest::new(k.min(self.len()), true);
        let mut offer = |nearest: &mut Nearest, item, at| {
            let haversine = origin.haversine(at);
            if haversine <= nearest.bound() && keep(item, at) {
                nearest.offer(haversine, item);
            }
        };
        if !self.by_rings(&origin, &mut nearest, &mut offer) {
            self.all(|item, at| offer(&mut nearest, item, at));
        }
        nearest.into_neighbours()
    }

    /// Rings of cells until nothing outside them can be near enough; `false` when that takes too many.
    fn by_rings(
        &self,
        origin: &Origin,
        nearest: &mut Nearest,
        offer: &mut impl FnMut(&mut Nearest, u32, Vertex),
    ) -> bool {
        let at = origin.at;
        let (column, row) = (
            i64::from(unsigned(at.lon) >> SHIFT),
            i64::from(unsigned(at.lat) >> SHIFT),
        );
        let last = i64::from(u32::MAX >> SHIFT);
        let mut items = Vec::new();
        for ring in 0..=N_RINGS {
            let n_cells = (2 * ring as u64 + 1).pow(2);
            if n_cells * N_OBJECTS_A_CELL > self.len() as u64 {
                return false;
            }
            let [west, east] = [column - ring, column + ring].map(|c| c.clamp(0, last) as u32);
            let [south, north] = [row - ring, row + ring].map(|r| r.clamp(0, last) as u32);
            // The ring as two whole rows and two columns between them.
            let between = ring > 0 && south + 1 < north;
            let sides = [
                Some([west, south, east, south]),
                (ring > 0).then_some([west, north, east, north]),
                between.then(|| [west, south + 1, west, north - 1]),
                between.then(|| [east, south + 1, east, north - 1]),
            ];
            for side in sides.into_iter().flatten() {
                self.look(side, &mut items, |item, at| offer(nearest, item, at));
            }
            if nearest.bound().is_finite() {
                let (tall, wide) = origin.reach(nearest.bound());
                let (lon, lat) = (i64::from(at.lon), i64::from(at.lat));
                if lon - wide < -1_800_000_000 || lon + wide > 1_800_000_000 {
                    return false;
                }
                let far = |degree: i64| {
                    let degree = degree.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
                    i64::from(unsigned(degree) >> SHIFT)
                };
                let seen = far(lon - wide) >= column - ring && far(lon + wide) <= column + ring;
                if seen && far(lat - tall) >= row - ring && far(lat + tall) <= row + ring {
                    return true;
                }
            }
        }
        false
    }

    /// Calls `each` for what is in a range of cells now, both ends inside.
    fn look(
        &self,
        [west, south, east, north]: [u32; 4],
        items: &mut Vec<u32>,
        mut each: impl FnMut(u32, Vertex),
    ) {
        items.clear();
        for row in south >> BLOCK_BITS..=north >> BLOCK_BITS {
            for column in west >> BLOCK_BITS..=east >> BLOCK_BITS {
                let own = u64::from(row) << 32 | u64::from(column);
                let cells = self.cells[stripe(own)].read();
                let cells = cells.unwrap_or_else(PoisonError::into_inner);
                let Some(lists) = cells.get(&own) else {
                    continue;
                };
                let end = (1 << BLOCK_BITS) - 1;
                let (first_column, first_row) = (column << BLOCK_BITS, row << BLOCK_BITS);
                for y in south.max(first_row)..=north.min(first_row + end) {
                    for x in west.max(first_column)..=east.min(first_column + end) {
                        let nth = (y - first_row) << BLOCK_BITS | (x - first_column);
                        items.extend_from_slice(&lists[nth as usize]);
                    }
                }
            }
        }
        for item in items.iter() {
            let inside = |at: &Vertex| {
                let (x, y) = (unsigned(at.lon) >> SHIFT, unsigned(at.lat) >> SHIFT);
                (west..=east).contains(&x) && (south..=north).contains(&y)
            };
            if let Some(at) = self.position(*item).filter(inside) {
                each(*item, at);
            }
        }
    }

    /// Calls `each` for every object.
    pub fn all(&self, mut each: impl FnMut(u32, Vertex)) {
        for (number, chunk) in self.chunks.iter().enumerate() {
            let places = chunk.get().into_iter().flat_map(|chunk| chunk.iter().enumerate());
            for (nth, place) in places {
                let at = place.at.load(Ordering::Acquire);
                if at != ABSENT {
                    each((number * N_IN_CHUNK + nth) as u32, unpacked(at));
                }
            }
        }
    }
}

/// One or two stripes locked for a change.
struct Locked<'a>([Option<(usize, RwLockWriteGuard<'a, Cells>)>; 2]);

impl Locked<'_> {
    fn of(&mut self, stripe: Option<usize>) -> &mut Cells {
        let held = self.0.iter_mut().flatten();
        let mut own = held.filter(|(number, _)| Some(*number) == stripe);
        &mut own.next().expect("the stripes of both cells were locked").1
    }
}
