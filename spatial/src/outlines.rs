//! Lines and polygons of one kind on the grid of tiles: vertices in one list, neighbours beside one another.

use crate::clip::TilePoint;
use crate::coordinates::{Extent, Vertex};
use crate::geometry::Shape;
use crate::ground::Boxes;
use crate::labels::PackedLabel;
use crate::mercator::{Mercator, MercatorBox};
use crate::repair::is_valid;
use crate::stock::Stock;
use crate::thing::{Footprint, Number};
use crate::tile::{MAX_ZOOM, TileAddress};

/// From this zoom on it is known beforehand which polygons are valid in tile units.
const FIRST_KNOWN_ZOOM: u8 = 13;

/// A line or polygon of the list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outline {
    pub(crate) number: Number,
    pub(crate) label: PackedLabel,
    is_area: bool,
    /// A polygon of one ring that is valid as it is in the units of a zoom: a bit for each from [`FIRST_KNOWN_ZOOM`].
    valid: u8,
    /// Where its paths end among all ends; the first begins where the outline before it ends.
    last_path: u32,
}

/// What is drawn of a line or polygon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traced<'a> {
    /// Of all paths, one behind the other.
    vertices: &'a [Mercator],
    /// Where each path ends among vertices that begin at `begin`.
    ends: &'a [u32],
    begin: u32,
    pub(crate) is_area: bool,
    valid: u8,
}

impl<'a> Traced<'a> {
    /// Its lines; of polygons the rings, outer ones counter-clockwise with north up, holes clockwise.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &'a [Mercator]> {
        let (vertices, origin) = (self.vertices, self.begin);
        let mut begin = origin;
        self.ends.iter().map(move |end| {
            let path = &vertices[(begin - origin) as usize..(end - origin) as usize];
            begin = *end;
            path
        })
    }

    /// Its path when it has one.
    pub(crate) fn single(&self) -> Option<&'a [Mercator]> {
        (self.ends.len() == 1).then_some(self.vertices)
    }

    /// Whether it is known that its single ring is valid in the units of a zoom.
    pub(crate) fn is_valid_at(&self, zoom: u8) -> bool {
        zoom >= FIRST_KNOWN_ZOOM && self.valid >> (zoom - FIRST_KNOWN_ZOOM) & 1 == 1
    }
}

/// Paths that are put together one after the other.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    vertices: Vec<Mercator>,
    ends: Vec<u32>,
}

impl Traces {
    fn push(&mut self, path: &[Vertex]) {
        self.vertices.extend(path.iter().map(|v| Mercator::of(*v)));
        self.ends.push(self.vertices.len() as u32);
    }

    /// Adds the paths of a shape; whether it is made of polygons. Of points there is none.
    fn add(&mut self, shape: &Shape) -> bool {
        match shape {
            Shape::Points(_) => {}
            Shape::Lines(lines) => lines.iter().for_each(|line| self.push(line)),
            Shape::Polygons(polygons) => {
                let rings = polygons.iter().flat_map(|polygon| &polygon.rings);
                rings.for_each(|ring| self.push(ring));
            }
        }
        matches!(shape, Shape::Polygons(_))
    }

    /// One shape alone.
    pub(crate) fn of(&mut self, shape: &Shape) -> Traced<'_> {
        self.vertices.clear();
        self.ends.clear();
        let is_area = self.add(shape);
        Traced {
            vertices: &self.vertices,
            ends: &self.ends,
            begin: 0,
            is_area,
            valid: 0,
        }
    }
}

/// All lines and polygons of a kind.
#[derive(Debug, Default)]
pub(crate) struct Outlines {
    /// Their boxes, by their places in the list.
    boxes: Boxes,
    all: Vec<Outline>,
    traces: Traces,
}

impl Outlines {
    /// Of boxes of things by number; `labels` are by number.
    pub(crate) fn of(boxes: &[(Number, Extent)], labels: &[PackedLabel], stock: &Stock) -> Self {
        let middle = |extent: &Extent| {
            let MercatorBox { min, max } = MercatorBox::around(extent);
            let half = |a: u32, b: u32| a + (b - a) / 2;
            let (x, y) = (half(min.x, max.x), half(min.y, max.y));
            Mercator { x, y }.key()
        };
        let mut order: Vec<(u64, u32)> = (0u32..)
            .zip(boxes)
            .map(|(i, (_, extent))| (middle(extent), i))
            .collect();
        order.sort_unstable();
        let mut made = Self::default();
        let mut placed = Vec::with_capacity(boxes.len());
        let mut ring: Vec<TilePoint> = Vec::new();
        for (_, i) in order {
            let (number, extent) = boxes[i as usize];
            let Some(Footprint::Shape(shape)) = stock.get(number).map(|thing| &thing.footprint) else {
                continue;
            };
            placed.push((made.all.len() as u32, extent));
            let is_area = made.traces.add(shape);
            made.all.push(Outline {
                number,
                label: labels[number as usize],
                is_area,
                valid: 0,
                last_path: made.traces.ends.len() as u32,
            });
            let slot = made.all.len() - 1;
            if is_area && let Some(path) = made.traced(slot).single() {
                made.all[slot].valid = valid_at(path, &mut ring);
            }
        }
        made.traces.vertices.shrink_to_fit();
        made.boxes = Boxes::of(placed);
        made
    }

    /// Those whose box meets the extent, in the order of the list.
    pub(crate) fn near(&self, extent: Extent) -> Vec<u32> {
        let mut slots = Vec::new();
        self.boxes.bbox(extent, |slot| slots.push(slot));
        slots.sort_unstable();
        slots
    }

    /// One of the list, and what is drawn of it.
    pub(crate) fn get(&self, slot: u32) -> (&Outline, Traced<'_>) {
        (&self.all[slot as usize], self.traced(slot as usize))
    }

    fn traced(&self, slot: usize) -> Traced<'_> {
        let own = &self.all[slot];
        let first_path = match slot {
            0 => 0,
            _ => self.all[slot - 1].last_path as usize,
        };
        let begin = match first_path {
            0 => 0,
            _ => self.traces.ends[first_path - 1],
        };
        let ends = &self.traces.ends[first_path..own.last_path as usize];
        let end = ends.last().map_or(begin, |end| *end);
        Traced {
            vertices: &self.traces.vertices[begin as usize..end as usize],
            ends,
            begin,
            is_area: own.is_area,
            valid: own.valid,
        }
    }
}

/// At which zooms the ring is valid after it was snapped.
fn valid_at(path: &[Mercator], ring: &mut Vec<TilePoint>) -> u8 {
    let Some(first) = path.first() else { return 0 };
    (FIRST_KNOWN_ZOOM..=MAX_ZOOM).fold(0, |valid, zoom| {
        // The grid of units is one for all tiles of a zoom.
        let at = TileAddress::around(zoom, *first);
        at.snap_ring(path, ring);
        valid | u8::from(is_valid(ring)) << (zoom - FIRST_KNOWN_ZOOM)
    })
}
