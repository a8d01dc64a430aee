//! The points of one kind gathered in cells, for tiles of small scales: how many there are, and which one stands for
//! them.
//!
//! A cell is one of zoom 18, 64 units of a tile of zoom 12; cells of lower zooms are those that follow one another in
//! Z-order. So a tile of a whole city looks at its cells and at no point, as long as it shows all that is there.

use std::ops::RangeInclusive;

use foldhash::HashMap;

use crate::coordinates::Vertex;
use crate::labels::PackedLabel;
use crate::mercator::Mercator;
use crate::pins::{Pin, Pins};
use crate::stock::Stock;
use crate::thing::Number;

/// Up to this zoom points are gathered to clusters.
pub(crate) const CLUSTER_ZOOM: u8 = 12;
/// Bits of a cluster's cell: 64 units of a tile.
pub(crate) const CLUSTER_BITS: u32 = 6;
/// A tile is 2^12 units wide, so a cell of 2^6 units is a tile of six zooms more.
pub(crate) const CELL_ZOOM: u32 = CLUSTER_ZOOM as u32 + 12 - CLUSTER_BITS;

/// The points of one cell, or of one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    /// Where in Z-order the one stands that stands for all: the first, then by number.
    pub(crate) place: u64,
    pub(crate) number: Number,
    pub(crate) label: PackedLabel,
    /// How many points.
    pub(crate) n: u32,
}

impl Cell {
    /// The cell of one point.
    pub(crate) fn around(place: u64, pin: Pin) -> Self {
        Self {
            place,
            number: pin.number,
            label: pin.label,
            n: 1,
        }
    }

    /// Its place in Z-order among the cells of a zoom.
    pub(crate) fn key(&self, zoom: u32) -> u64 {
        self.place >> (2 * (32 - zoom))
    }

    /// Takes in another cell of the same cluster.
    pub(crate) fn join(&mut self, other: &Cell) {
        let n = self.n + other.n;
        if (other.place, other.number) < (self.place, self.number) {
            *self = *other;
        }
        self.n = n;
    }
}

/// The key of the cell that holds a vertex.
pub(crate) fn key_at(v: Vertex) -> u64 {
    Mercator::of(v).key() >> (2 * (32 - CELL_ZOOM))
}

/// The places in Z-order of the cell of a key.
pub(crate) fn places_of(key: u64) -> RangeInclusive<u64> {
    let bits = 2 * (32 - CELL_ZOOM);
    key << bits..=key << bits | ((1 << bits) - 1)
}

/// All cells with points.
#[derive(Debug, Default)]
pub(crate) struct Clusters {
    /// By place.
    cells: Vec<Cell>,
    /// From when to when all points of a cell are valid, milliseconds, by key; for cells with points that are not
    /// always.
    valid: HashMap<u64, [i64; 2]>,
}

impl Clusters {
    /// Of the points of a kind.
    pub(crate) fn of(pins: &Pins, stock: &Stock) -> Self {
        let mut cells: Vec<Cell> = Vec::new();
        let mut valid: HashMap<u64, [i64; 2]> = HashMap::default();
        for (place, pin) in pins.all() {
            let own = Cell::around(place, pin);
            let key = own.key(CELL_ZOOM);
            match cells.last_mut().filter(|cell| cell.key(CELL_ZOOM) == key) {
                Some(cell) => cell.join(&own),
                None => cells.push(own),
            }
            // What has a label is always valid.
            if pin.label != PackedLabel::NONE {
                continue;
            }
            let Some(traits) = stock.get(pin.number).and_then(|thing| thing.traits.as_ref()) else {
                continue;
            };
            if traits.valid_from.is_some() || traits.valid_to.is_some() {
                let [from, to] = valid.entry(key).or_insert([i64::MIN, i64::MAX]);
                *from = (*from).max(traits.valid_from.map_or(i64::MIN, |time| time.ms()));
                *to = (*to).min(traits.valid_to.map_or(i64::MAX, |time| time.ms()));
            }
        }
        cells.shrink_to_fit();
        Self { cells, valid }
    }

    /// The cells of whole tiles from one place in Z-order to another one, in their order.
    pub(crate) fn between(&self, places: RangeInclusive<u64>) -> &[Cell] {
        let from = self.cells.partition_point(|cell| cell.place < *places.start());
        let len = self.cells[from..].partition_point(|cell| cell.place <= *places.end());
        &self.cells[from..from + len]
    }

    /// Whether all points of a cell are valid at a time, milliseconds.
    pub(crate) fn is_valid(&self, key: u64, at_ms: i64) -> bool {
        self.valid.is_empty()
            || self
                .valid
                .get(&key)
                .is_none_or(|[from, to]| *from <= at_ms && at_ms < *to)
    }
}
