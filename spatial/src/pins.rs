//! The points of one kind in the order of tiles: those of a tile, of whatever zoom, are one slice.

use std::ops::RangeInclusive;

use crate::ground::Point;
use crate::labels::PackedLabel;
use crate::mercator::Mercator;
use crate::thing::Number;

/// A point as tiles draw it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pin {
    pub(crate) number: Number,
    pub(crate) label: PackedLabel,
}

/// All points of a kind, by their place in Z-order of the Mercator square, then by number. 20 bytes each.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    places: Vec<u64>,
    pins: Vec<Pin>,
}

impl Pins {
    /// Of points whose items are numbers of things; `labels` are by number.
    pub(crate) fn of(points: &[Point], labels: &[PackedLabel]) -> Self {
        let pin = |point: &Point| Pin {
            number: point.item,
            label: labels[point.item as usize],
        };
        let placed = points
            .iter()
            .map(|point| (Mercator::of(point.at).key(), pin(point)));
        let mut all: Vec<(u64, Pin)> = placed.collect();
        all.sort_unstable_by_key(|(place, pin)| (*place, pin.number));
        let (places, pins) = all.into_iter().unzip();
        Self { places, pins }
    }

    /// Those from one place in Z-order to another one.
    pub(crate) fn between(&self, places: RangeInclusive<u64>) -> impl Iterator<Item = (u64, Pin)> {
        let from = self.places.partition_point(|place| place < places.start());
        let n = self.places[from..].partition_point(|place| place <= places.end());
        let slots = from..from + n;
        self.places[slots.clone()]
            .iter()
            .copied()
            .zip(self.pins[slots].iter().copied())
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u64, Pin)> {
        self.places.iter().copied().zip(self.pins.iter().copied())
    }
}
