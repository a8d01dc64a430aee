//! One thing of the map as it is kept: packed, with its code and without its names.

use std::sync::Arc;

use onemap_model::{DivisionCode, EntityCode, EntityKind, Stratum, Timestamp};

use crate::coordinates::{Extent, Vertex};
use crate::geometry::Shape;
use crate::prepared_layer::{MapItem, label_point};
use crate::sight::PackedOwner;

/// What a thing of the map is: an entity of some kind, or a device.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ThingKind {
    /// An entity of the register.
    Entity(EntityKind),
    /// A device.
    Device,
}

impl ThingKind {
    /// Its bit in a set of kinds.
    pub(crate) fn bit(&self) -> u32 {
        1 << self.index()
    }

    /// A small number of its own.
    pub(crate) fn index(&self) -> usize {
        match self {
            ThingKind::Entity(kind) => kind.clone() as usize,
            ThingKind::Device => N_KINDS - 1,
        }
    }
}

/// More than there are kinds; the last one is that of devices.
pub(crate) const N_KINDS: usize = 32;

/// The number of a thing on the map; it is given again after the thing was removed.
pub(crate) type Number = u32;

/// A division's code in eight bytes: its digits as a number, and how many they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PackedDivision(u64);

impl PackedDivision {
    /// No division.
    pub(crate) const NONE: Self = Self(0);
    /// In no division, wherever its geometry lies: a number of digits that no code has.
    pub(crate) const NOWHERE: Self = Self(1 << 56);

    /// Packs a code (6 to 15 digits: 50 bits).
    pub(crate) fn of(code: &DivisionCode) -> Self {
        let digits = code.as_str().bytes();
        let number = digits.fold(0u64, |n, b| n * 10 + u64::from(b - b'0'));
        Self(number | (code.as_str().len() as u64) << 56)
    }

    /// The code; `None` for no division.
    pub(crate) fn code(self) -> Option<DivisionCode> {
        let (digits, n) = (self.0 & ((1 << 56) - 1), (self.0 >> 56) as usize);
        DivisionCode::new(&format!("{digits:0n$}")).ok()
    }
}

/// The digits that all codes inside a division begin with, ready to be compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DivisionPrefix {
    digits: u64,
    n: u32,
}

impl DivisionPrefix {
    pub(crate) fn of(division: &DivisionCode) -> Self {
        let prefix = division.prefix();
        Self {
            digits: prefix.bytes().fold(0, |n, b| n * 10 + u64::from(b - b'0')),
            n: prefix.len() as u32,
        }
    }

    /// Whether a packed code is this division or lies inside it; no division lies nowhere.
    pub(crate) fn covers(self, division: PackedDivision) -> bool {
        let n = (division.0 >> 56) as u32;
        n >= self.n && (division.0 & ((1 << 56) - 1)) / 10u64.pow(n - self.n) == self.digits
    }
}

/// Where a thing is.
#[derive(Clone, Debug)]
pub(crate) enum Footprint {
    /// Not known; it has a code and no place.
    Nowhere,
    Point(Vertex),
    Shape(Arc<Shape>),
}

impl Footprint {
    /// The box around it.
    pub(crate) fn extent(&self) -> Option<Extent> {
        match self {
            Footprint::Nowhere => None,
            Footprint::Point(v) => Some(Extent { min: *v, max: *v }),
            Footprint::Shape(shape) => shape.extent(),
        }
    }

    /// Every point of it, when it is one or several points.
    pub(crate) fn points(&self) -> &[Vertex] {
        match self {
            Footprint::Nowhere => &[],
            Footprint::Point(v) => std::slice::from_ref(v),
            Footprint::Shape(shape) => match &**shape {
                Shape::Points(points) => points,
                _ => &[],
            },
        }
    }

    /// One point of it, which says in which division the thing lies: the point itself, the first of
    /// several, the middle vertex of the first line, a point well inside the polygons.
    pub(crate) fn standpoint(&self) -> Option<Vertex> {
        match self {
            Footprint::Nowhere => None,
            Footprint::Point(v) => Some(*v),
            Footprint::Shape(shape) => match &**shape {
                Shape::Points(points) => points.first().copied(),
                Shape::Lines(lines) => lines.first().and_then(|line| line.get(line.len() / 2).copied()),
                Shape::Polygons(polygons) => label_point(polygons),
            },
        }
    }
}

/// What few things have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traits {
    /// Lowest and highest height, metres.
    pub(crate) z_range_m: Option<[f64; 2]>,
    pub(crate) valid_from: Option<Timestamp>,
    pub(crate) valid_to: Option<Timestamp>,
    /// How it is drawn, for layers that are prepared as a whole.
    pub(crate) item: Option<Arc<MapItem>>,
}

impl Traits {
    /// `None` when there is nothing to keep.
    pub(crate) fn boxed(self) -> Option<Box<Self>> {
        let plain = self.z_range_m.is_none()
            && self.valid_from.is_none()
            && self.valid_to.is_none()
            && self.item.is_none();
        (!plain).then(|| Box::new(self))
    }
}

/// What the register has written of a thing. The map hands it on and does not know what it says.
pub type Card = Arc<[u8]>;

/// One thing. 72 bytes; its code's text and its card it shares with the register.
#[derive(Clone, Debug)]
pub(crate) struct Thing {
    pub(crate) code: EntityCode,
    pub(crate) card: Option<Card>,
    pub(crate) footprint: Footprint,
    pub(crate) traits: Option<Box<Traits>>,
    /// As stated; found from the standpoint when [`PackedDivision::NONE`].
    pub(crate) division: PackedDivision,
    /// Number of its class among [`crate::terms::Terms`].
    pub(crate) class: u32,
    /// Whose it is, for who may see it.
    pub(crate) owner: PackedOwner,
    pub(crate) kind: ThingKind,
    /// None of a device out of use, which is found by its box and division only.
    pub(crate) stratum: Option<Stratum>,
}

impl Thing {
    /// Above, on or below the ground.
    pub(crate) fn stratum(&self) -> Stratum {
        self.stratum.unwrap_or_default()
    }

    /// Whether it is a device out of use.
    pub(crate) fn is_retired(&self) -> bool {
        self.stratum.is_none()
    }

    /// Whether it covers ground.
    pub(crate) fn is_area(&self) -> bool {
        matches!(&self.footprint, Footprint::Shape(shape) if matches!(**shape, Shape::Polygons(_)))
    }

    pub(crate) fn z_range_m(&self) -> Option<[f64; 2]> {
        self.traits.as_ref().and_then(|traits| traits.z_range_m)
    }

    /// Reads its code ([`crate::stock::Stock::fetch`]).
    pub(crate) fn look_at_code(&self) -> u32 {
        let code = self.code.as_bytes();
        let byte = |byte: Option<&u8>| byte.map_or(0, |byte| u32::from(*byte));
        byte(code.first()) ^ byte(code.last())
    }

    /// Reads its code and its card.
    pub(crate) fn look_at_card(&self) -> u32 {
        let card = self.card.as_ref().and_then(|card| card.first());
        self.look_at_code() ^ card.map_or(0, |byte| u32::from(*byte))
    }

    /// Whether it has neither beginning nor end.
    pub(crate) fn is_always_valid(&self) -> bool {
        let traits = self.traits.as_ref();
        traits.is_none_or(|traits| traits.valid_from.is_none() && traits.valid_to.is_none())
    }

    /// Whether it is valid at a time: from its beginning on, and before its end.
    pub(crate) fn valid_at(&self, at: Timestamp) -> bool {
        self.traits.as_ref().is_none_or(|traits| {
            traits.valid_from.is_none_or(|from| from <= at) && traits.valid_to.is_none_or(|to| at < to)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn packed_divisions_say_what_their_codes_say() {
        let codes = [
            "630000",
            "630100",
            "630102",
            "630102001",
            "630102000",
            "630102001005",
            "110101001001001",
            "010203",
        ];
        for a in codes.map(|c| DivisionCode::new(c).unwrap()) {
            assert_eq!(PackedDivision::of(&a).code(), Some(a.clone()));
            for b in codes.map(|c| DivisionCode::new(c).unwrap()) {
                assert_eq!(
                    DivisionPrefix::of(&a).covers(PackedDivision::of(&b)),
                    a.covers(&b),
                    "{a} {b}"
                );
            }
            assert!(!DivisionPrefix::of(&a).covers(PackedDivision::NONE));
        }
        assert_eq!(PackedDivision::NONE.code(), None);
    }

    #[test]
    fn a_thing_is_small() {
        assert!(size_of::<Option<Thing>>() <= 72, "{}", size_of::<Option<Thing>>());
    }
}
