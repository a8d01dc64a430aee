//! The map's index: where things of each kind are, as of one version of the map.
//!
//! It never changes. What changed since is looked at one by one ([`crate::city_view`]) until a new
//! index is made.

use crate::coordinates::{Extent, Mercator};
use crate::geometry::Shape;
use crate::morton::{MercatorBox, MortonColumn, key_of};
use crate::stock::Stock;
use crate::thing::{Footprint, N_KINDS, Number};

/// Sizes of boxes, by powers of two.
const N_SIZES: usize = 33;

/// Things of one kind.
#[derive(Debug, Default)]
pub(crate) struct KindIndex {
    /// Points; a thing of several points is there several times.
    pub(crate) points: MortonColumn,
    /// Lines and polygons by the middle of their boxes, those of like size together.
    sizes: Vec<SizeClass>,
}

#[derive(Debug)]
struct SizeClass {
    /// At least half the longer side of the largest box.
    reach: u32,
    middles: MortonColumn,
    /// In the order of the middles.
    boxes: Vec<MercatorBox>,
}

/// The index of all kinds.
#[derive(Debug, Default)]
pub(crate) struct Base {
    /// The map's version it was made of.
    pub(crate) version: u64,
    kinds: Vec<KindIndex>,
}

/// The box on the Mercator square around a box of degrees.
pub(crate) fn mercator_box(extent: &Extent) -> MercatorBox {
    let (a, b) = (Mercator::of(extent.min), Mercator::of(extent.max));
    MercatorBox {
        min: Mercator { x: a.x, y: b.y },
        max: Mercator { x: b.x, y: a.y },
    }
}

impl Base {
    /// Sorts all things of the stock.
    pub(crate) fn new(version: u64, stock: &Stock) -> Self {
        let mut points: Vec<Vec<(u64, Number)>> = vec![Vec::new(); N_KINDS];
        let mut boxes: Vec<Vec<(MercatorBox, Number)>> = vec![Vec::new(); N_KINDS];
        for (number, thing) in stock.iter() {
            let kind = thing.kind.index();
            match &thing.footprint {
                Footprint::Nowhere => {}
                Footprint::Point(v) => points[kind].push((key_of(Mercator::of(*v)), number)),
                Footprint::Shape(shape) => match &**shape {
                    Shape::Points(vertices) => {
                        let keys = vertices.iter().map(|v| key_of(Mercator::of(*v)));
                        points[kind].extend(keys.map(|key| (key, number)));
                    }
                    shape => boxes[kind].extend(shape.extent().map(|e| (mercator_box(&e), number))),
                },
            }
        }
        let kinds = points.into_iter().zip(boxes).map(|(points, boxes)| KindIndex {
            points: MortonColumn::new(points),
            sizes: by_size(boxes),
        });
        Self {
            version,
            kinds: kinds.collect(),
        }
    }

    /// The index of a kind.
    pub(crate) fn kind(&self, index: usize) -> Option<&KindIndex> {
        self.kinds.get(index)
    }
}

fn by_size(boxes: Vec<(MercatorBox, Number)>) -> Vec<SizeClass> {
    let mut sizes: Vec<Vec<(MercatorBox, Number)>> = vec![Vec::new(); N_SIZES];
    for (area, number) in boxes {
        sizes[32 - area.side().leading_zeros() as usize].push((area, number));
    }
    let filled = sizes
        .into_iter()
        .enumerate()
        .filter(|(_, boxes)| !boxes.is_empty());
    filled
        .map(|(size, mut boxes)| {
            boxes.sort_unstable_by_key(|(area, number)| (key_of(area.middle()), *number));
            let middles = boxes
                .iter()
                .map(|(area, number)| (key_of(area.middle()), *number));
            SizeClass {
                reach: ((1u64 << size) / 2 + 1).min(u64::from(u32::MAX)) as u32,
                middles: MortonColumn::new(middles.collect()),
                boxes: boxes.into_iter().map(|(area, _)| area).collect(),
            }
        })
        .collect()
}

impl KindIndex {
    /// Numbers of the things whose box meets the area, in no order; a thing of several points may be
    /// named several times.
    pub(crate) fn meeting(&self, area: &MercatorBox, mut each: impl FnMut(Number)) {
        let points = &self.points;
        points.near(area, |places| {
            for place in places {
                if area.holds(crate::morton::mercator_of(points.key(place))) {
                    each(points.number(place));
                }
            }
        });
        self.shapes_meeting(area, each);
    }

    /// Numbers of the lines and polygons whose box meets the area, each once, in no order.
    pub(crate) fn shapes_meeting(&self, area: &MercatorBox, mut each: impl FnMut(Number)) {
        for size in &self.sizes {
            size.middles.near(&area.widened(size.reach), |places| {
                for place in places {
                    if size.boxes[place].meets(area) {
                        each(size.middles.number(place));
                    }
                }
            });
        }
    }

    /// About how many things are looked at for an area: never fewer than meet it.
    pub(crate) fn n_near(&self, area: &MercatorBox) -> usize {
        let mut n = 0;
        self.points.near(area, |places| n += places.len());
        for size in &self.sizes {
            size.middles
                .near(&area.widened(size.reach), |places| n += places.len());
        }
        n
    }
}
