//! The map's index: where things of each kind are, as of one version of the map.
//!
//! It never changes. What changed since is looked at one by one ([`crate::city_view`]) until a new
//! index is made.

use crate::clusters::Clusters;
use crate::geometry::Shape;
use crate::ground::{Boxes, Point, Points};
use crate::labels::{Label, Labels, PackedLabel};
use crate::layer::Layer;
use crate::outlines::Outlines;
use crate::pins::Pins;
use crate::stock::Stock;
use crate::thing::{Footprint, N_KINDS, Number, ThingKind};

/// Points whose thing stands there only.
pub(crate) const ALONE: u8 = 0;
/// Points of a thing that has several.
pub(crate) const ONE_OF_SEVERAL: u8 = 1;

/// Things of one kind, by number.
#[derive(Debug, Default)]
pub(crate) struct KindIndex {
    /// Points, as [`ALONE`] or [`ONE_OF_SEVERAL`].
    pub(crate) points: Points,
    /// Boxes of lines and polygons, one for each thing.
    pub(crate) shapes: Boxes,
    /// The same as tiles draw it, where they draw the kind straight from the index.
    pub(crate) sheet: Option<Sheet>,
}

/// What tiles draw of one kind.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    pub(crate) pins: Pins,
    /// The points gathered for small scales, but for devices: their clusters know states.
    pub(crate) clusters: Option<Clusters>,
    pub(crate) outlines: Outlines,
}

/// The index of all kinds.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// The map's version it was made of.
    pub(crate) version: u64,
    kinds: Vec<KindIndex>,
    pub(crate) labels: Labels,
    labels_by_number: Vec<PackedLabel>,
}

impl Index {
    /// Of all things of the stock.
    pub(crate) fn new(version: u64, stock: &Stock) -> Self {
        // Counted first: lists that grow would leave twice their memory behind.
        let mut n_points = [0; N_KINDS];
        for (_, thing) in stock.iter() {
            n_points[thing.kind.index()] += thing.footprint.points().len();
        }
        let mut points: Vec<Vec<Point>> = n_points.map(Vec::with_capacity).into();
        let mut boxes = vec![Vec::new(); N_KINDS];
        for (item, thing) in stock.iter() {
            let kind = thing.kind.index();
            match &thing.footprint {
                Footprint::Nowhere => {}
                Footprint::Point(at) => points[kind].push(Point {
                    item,
                    kind: ALONE,
                    at: *at,
                }),
                Footprint::Shape(shape) => match &**shape {
                    Shape::Points(vertices) => points[kind].extend(vertices.iter().map(|at| Point {
                        item,
                        kind: ONE_OF_SEVERAL,
                        at: *at,
                    })),
                    shape => boxes[kind].extend(shape.extent().map(|extent| (item, extent))),
                },
            }
        }
        let (labels, by_number) = Labels::of(stock);
        let kinds = points.into_iter().zip(boxes).enumerate();
        let kinds: Vec<KindIndex> = kinds
            .map(|(kind, (points, boxes))| {
                let sheet = Layer::draws_straight(kind).then(|| {
                    let pins = Pins::of(&points, &by_number);
                    Sheet {
                        clusters: Layer::clusters(kind).then(|| Clusters::of(&pins, stock)),
                        outlines: Outlines::of(&boxes, &by_number, stock),
                        pins,
                    }
                });
                KindIndex {
                    sheet,
                    points: Points::of(points),
                    shapes: Boxes::of(boxes),
                }
            })
            .collect();
        Self {
            version,
            kinds,
            labels,
            labels_by_number: by_number,
        }
    }

    /// What the label of a thing says, when it has one: such a thing is in use and always valid.
    #[inline]
    pub(crate) fn label(&self, number: Number) -> Option<Label<'_>> {
        self.labels.read(*self.labels_by_number.get(number as usize)?)
    }

    /// The index of a kind; `None` of an index of nothing.
    pub(crate) fn kind(&self, index: usize) -> Option<&KindIndex> {
        self.kinds.get(index)
    }
}

/// A change of the map: which thing, and where it was before, when it was on the map.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) number: Number,
    pub(crate) was: Option<(ThingKind, Footprint)>,
}
