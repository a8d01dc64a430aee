//! The points of one tile, sorted into square cells of its units.

use crate::clip::TilePoint;
use crate::dots::Drawn;
use crate::mvt::EXTENT;
use crate::thing::Number;

/// Bits of a unit's column and row.
const BITS: u32 = EXTENT.ilog2();
/// Fewer points are compared with one another.
const N_FEW: usize = 256;

/// A point of a tile.
#[derive(Clone, Copy)]
pub(crate) struct Placed<'a> {
    /// Row and column of its unit.
    unit: u32,
    /// Row and column of its cell, then those of its unit in the cell.
    pub(crate) key: u32,
    number: Number,
    pub(crate) drawn: Drawn<'a>,
}

impl Placed<'_> {
    /// The unit that holds it.
    pub(crate) fn unit(&self) -> TilePoint {
        [self.unit & (EXTENT as u32 - 1), self.unit >> BITS].map(|v| v as i32)
    }
}

/// All points of a tile.
#[derive(Default)]
pub(crate) struct TilePoints<'a>(Vec<Placed<'a>>);

impl<'a> TilePoints<'a> {
    /// Adds a point in a unit of the tile (0 to 4095 each way).
    #[inline]
    pub(crate) fn push(&mut self, [x, y]: TilePoint, number: Number, drawn: Drawn<'a>) {
        let unit = (y as u32) << BITS | x as u32;
        self.0.push(Placed {
            unit,
            key: unit,
            number,
            drawn,
        });
    }

    pub(crate) fn reserve(&mut self, n: usize) {
        self.0.reserve(n);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// In the order they were sorted into.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Placed<'a>> {
        self.0.iter()
    }

    /// Sorts by cells of `2^bits` units, row by row, then by unit, then by number: so a tile's bytes are the same
    /// wherever in the index its points come from.
    pub(crate) fn sort_into_cells(&mut self, bits: u32) {
        let (cell, within) = (BITS - bits, (1 << bits) - 1);
        for point in &mut self.0 {
            let (x, y) = (point.unit & (EXTENT as u32 - 1), point.unit >> BITS);
            let place = (y >> bits) << cell | x >> bits;
            point.key = place << (2 * bits) | (y & within) << bits | (x & within);
        }
        if self.0.len() < N_FEW {
            self.0.sort_unstable_by_key(|point| (point.key, point.number));
            return;
        }
        // Twice by 12 of the 24 bits, the lower ones first: each time in one pass.
        let mut other = self.0.clone();
        for shift in [0, BITS] {
            let digit = |point: &Placed<'_>| (point.key >> shift) as usize & (EXTENT as usize - 1);
            let mut ends = vec![0u32; EXTENT as usize + 1];
            self.0.iter().for_each(|point| ends[digit(point) + 1] += 1);
            for i in 0..EXTENT as usize {
                ends[i + 1] += ends[i];
            }
            for point in &self.0 {
                let place = &mut ends[digit(point)];
                other[*place as usize] = *point;
                *place += 1;
            }
            std::mem::swap(&mut self.0, &mut other);
        }
        for together in self.0.chunk_by_mut(|a, b| a.key == b.key) {
            together.sort_unstable_by_key(|point| point.number);
        }
    }
}
