//! Static points in Z-order: columns of coordinates, items and kinds, with the offsets of cells.
//!
//! 13 bytes a point, less than one for the cells, and four more from the first removal on. A run's points are sorted by the Z-order of their
//! position, so every cell and every page (64 by 64 cells) is one slice of the columns. The width of cells
//! follows the density. Pages with few points keep no offsets, so points scattered over a country cost no
//! more than those of a city.

use crate::coordinates::{Extent, Vertex};
use crate::geometry::Polygon;

use super::cut::{self, Cut};
use super::layers::{Layers, Run};
use super::near::{Nearest, Neighbour};
use super::search::Search;
use super::segment::Segment;
use super::sphere::{self, Origin};

/// A point of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The item's number.
    pub item: u32,
    /// The kind the caller gave it.
    pub kind: u8,
    /// Where it is.
    pub at: Vertex,
}

/// Static points. An item may have several (a MultiPoint); it is then named once for each of them.
#[derive(Clone, Debug, Default)]
pub struct Points(Layers<Segment>);

impl Points {
    /// Makes the index of all at once.
    pub fn of(points: Vec<Point>) -> Self {
        Self(Layers::of(points))
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a point. To move an item, remove it first.
    pub fn insert(&mut self, point: Point) {
        self.0.insert(point);
    }

    /// Removes all points of an item; how many there were.
    pub fn remove(&mut self, item: u32) -> usize {
        self.0.remove(item)
    }

    /// Makes one run of all: after a load piece by piece. Questions are answered the same before and after.
    pub fn merge(&mut self) {
        self.0.merge();
    }

    /// Memory in bytes.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// Calls `each` for the points of an item.
    pub fn of_item(&self, item: u32, mut each: impl FnMut(Point)) {
        self.0
            .fresh
            .iter()
            .filter(|p| p.item == item)
            .for_each(|p| each(*p));
        for sealed in &self.0.runs {
            let slots = sealed.run.slots_of(item).iter();
            let held = slots.filter(|slot| sealed.holds(**slot));
            held.for_each(|slot| each(sealed.run.entry(*slot)));
        }
    }

    /// Calls `each` for the points inside the box or on its rim, in no order a caller may rely on.
    pub fn bbox(&self, extent: Extent, mut each: impl FnMut(Point)) {
        let fresh = self.0.fresh.iter();
        fresh.filter(|p| extent.holds(p.at)).for_each(|p| each(*p));
        for sealed in &self.0.runs {
            sealed.run.slices(extent, |slots, rim| {
                for (slot, point) in (slots.start as u32..).zip(sealed.run.points(slots)) {
                    if (!rim || extent.holds(point.at)) && sealed.holds(slot) {
                        each(point);
                    }
                }
            });
        }
    }

    /// At least as many as there are points in the box: those of all cells that it meets. Cheaper than to look.
    pub fn at_most(&self, extent: Extent) -> usize {
        let mut n = self.0.fresh.len();
        for sealed in &self.0.runs {
            sealed.run.slices(extent, |slots, _| n += slots.len());
        }
        n
    }

    /// Calls `each` for the points at most so many metres away, in no order a caller may rely on. Distances
    /// are those of [`sphere::distance_m`]; a radius below zero or not a number holds nothing.
    pub fn radius(&self, centre: Vertex, metres: f64, mut each: impl FnMut(Point)) {
        if metres.is_nan() || metres < 0.0 {
            return;
        }
        let (origin, limit) = (Origin::at(centre), sphere::haversine_of(metres));
        for extent in origin.boxes(limit).into_iter().flatten() {
            self.bbox(extent, |point| {
                if origin.haversine(point.at) <= limit {
                    each(point);
                }
            });
        }
    }

    /// The `k` nearest items among those that `keep` accepts, nearest first, ties by the smaller number. An
    /// item counts once, with its nearest point.
    pub fn nearest(&self, to: Vertex, k: usize, mut keep: impl FnMut(Point) -> bool) -> Vec<Neighbour> {
        let origin = Origin::at(to);
        let mut nearest = Nearest::new(k.min(self.len()), self.0.repeats());
        for point in &self.0.fresh {
            let haversine = origin.haversine(point.at);
            if haversine <= nearest.bound() && keep(*point) {
                nearest.offer(haversine, point.item);
            }
        }
        for sealed in &self.0.runs {
            Search {
                sealed,
                origin: &origin,
                nearest: &mut nearest,
                keep: &mut keep,
            }
            .run();
        }
        nearest.into_neighbours()
    }

    /// Calls `each` for the points that any of the polygons covers, borders included, each once, in no order
    /// a caller may rely on.
    pub fn covered_by(&self, polygons: &[Polygon], mut each: impl FnMut(Point)) {
        for sealed in &self.0.runs {
            let run = &*sealed.run;
            let cuts: Vec<Cut> = polygons.iter().filter_map(|p| run.cut(p)).collect();
            for (number, cut) in cuts.iter().enumerate() {
                run.covered_by(cut, |slot| {
                    let known = |cut: &Cut| cut.covers(run.at(slot as usize));
                    if sealed.holds(slot) && !cuts[..number].iter().any(known) {
                        each(run.entry(slot));
                    }
                });
            }
        }
        if !self.0.fresh.is_empty() {
            let cut = |p: &Polygon| {
                let extent = Extent::around(p.rings.iter().flatten().copied())?;
                Cut::new(p, cut::shift_for(&extent, 11, 16))
            };
            let cuts: Vec<Cut> = polygons.iter().filter_map(cut).collect();
            let fresh = self.0.fresh.iter();
            let covered = fresh.filter(|point| cuts.iter().any(|cut| cut.covers(point.at)));
            covered.for_each(|point| each(*point));
        }
    }
}
