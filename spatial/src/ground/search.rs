//! The nearest points of one run: cell by cell in rings, or page by page where rings would be too wide.

use crate::coordinates::{Extent, Vertex};

use super::cut;
use super::layers::{Run, Sealed};
use super::near::Nearest;
use super::points::Point;
use super::segment::{PAGE_BITS, Page, Segment};
use super::sphere::Origin;
use super::zorder::unsigned;

/// Rings of cells that the nearest are looked for in, before it goes by pages.
const N_RINGS: i64 = 32;
/// Runs up to this size are looked through.
const N_SMALL_RUN: usize = 128;

/// One search for the nearest in one run.
pub(super) struct Search<'a, K> {
    pub(super) sealed: &'a Sealed<Segment>,
    pub(super) origin: &'a Origin,
    pub(super) nearest: &'a mut Nearest,
    pub(super) keep: &'a mut K,
}

impl<K: FnMut(Point) -> bool> Search<'_, K> {
    pub(super) fn run(&mut self) {
        let run = &*self.sealed.run;
        if run.len() <= N_SMALL_RUN {
            self.look(0..run.len(), (i64::MAX, i64::MAX));
        } else if !self.by_rings() {
            self.nearest.start_again();
            self.by_pages();
        }
    }

    /// Offers the points of some slots that are at most so many steps of latitude and longitude away.
    fn look(&mut self, slots: std::ops::Range<usize>, (mut tall, mut wide): (i64, i64)) {
        // How far to look is worked out again when the bound has become much smaller.
        let mut worked_out = f64::INFINITY;
        let run = &*self.sealed.run;
        let at = self.origin.at;
        for (slot, to) in (slots.start..).zip(&run.at[slots.clone()]) {
            let across = (i64::from(to.lon) - i64::from(at.lon)).abs();
            let up = (i64::from(to.lat) - i64::from(at.lat)).abs();
            if (across > wide) | (up > tall) {
                continue;
            }
            let haversine = self.origin.haversine(*to);
            if haversine <= self.nearest.bound() && self.sealed.holds(slot as u32) {
                let point = run.entry(slot as u32);
                if (self.keep)(point) && self.nearest.offer(haversine, point.item) {
                    let bound = self.nearest.bound();
                    if bound < worked_out * 0.7 && bound < 0.01 {
                        worked_out = bound;
                        (tall, wide) = self.origin.reach_within(bound, (tall, wide));
                    }
                }
            }
        }
    }

    /// Rings of cells around the point until no point outside them can be near enough. Gives up, with `false`,
    /// where cells are too many: far from all points, for rare kinds, and across 180 degrees.
    fn by_rings(&mut self) -> bool {
        let run = &*self.sealed.run;
        let at = self.origin.at;
        let cell = |degree: i64| {
            let degree = degree.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
            i64::from(unsigned(degree as i32) >> run.shift)
        };
        let (column, row) = (cell(at.lon.into()), cell(at.lat.into()));
        let mut page: Option<Page> = None;
        for ring in 0..=N_RINGS {
            let bound = self.nearest.bound();
            let (tall, wide) = if bound.is_finite() {
                self.origin.reach(bound)
            } else {
                (i64::MAX / 4, i64::MAX / 4)
            };
            let (lon, lat) = (i64::from(at.lon), i64::from(at.lat));
            if bound.is_finite() && (lon + wide > 1_800_000_000 || lon - wide < -1_800_000_000) {
                return false;
            }
            let clip = |low: i64, high: i64, from: i32, to: i32| {
                (cell(low).max(cell(from.into())), cell(high).min(cell(to.into())))
            };
            let (west, east) = clip(lon - wide, lon + wide, run.extent.min.lon, run.extent.max.lon);
            let (south, north) = clip(lat - tall, lat + tall, run.extent.min.lat, run.extent.max.lat);
            let inside = column - ring < west && column + ring > east && row - ring < south;
            if (inside && row + ring > north) || west > east || south > north {
                // Nothing is left within reach, or nothing at all.
                return true;
            }
            for y in (row - ring).max(south)..=(row + ring).min(north) {
                let rim = (y - row).abs() == ring;
                let step = if rim { 1 } else { (2 * ring).max(1) };
                let mut x = column - ring;
                if rim {
                    x = x.max(west);
                }
                while x <= (column + ring).min(east) {
                    if x >= west {
                        let (px, py) = (x as u32 >> PAGE_BITS, y as u32 >> PAGE_BITS);
                        if page.is_none_or(|page| page.column != px || page.row != py) {
                            page = run.page(px, py).copied();
                        }
                        if let Some(page) = page {
                            let mask = (1 << PAGE_BITS) - 1;
                            let slots = run.square(&page, x as u32 & mask, y as u32 & mask, 0);
                            self.look(slots, (tall, wide));
                        }
                    }
                    x += step;
                }
            }
        }
        false
    }

    /// All pages in the order of the least distance they can have.
    fn by_pages(&mut self) {
        let run = &*self.sealed.run;
        let extent = |page: &Page| {
            let steps = |cell: u32, add: i64| {
                let edge = cut::edge_of(cell, run.shift + PAGE_BITS) + add;
                edge.clamp(-1_800_000_000, 1_800_000_000) as i32
            };
            let far = (1i64 << (run.shift + PAGE_BITS)) - 1;
            Extent {
                min: Vertex {
                    lon: steps(page.column, 0),
                    lat: steps(page.row, 0).max(-900_000_000),
                },
                max: Vertex {
                    lon: steps(page.column, far),
                    lat: steps(page.row, far).min(900_000_000),
                },
            }
        };
        let mut pages: Vec<(f64, u32)> = (0u32..)
            .zip(&run.pages)
            .map(|(i, page)| (self.origin.least_to(&extent(page)), i))
            .collect();
        pages.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for (least, page) in pages {
            if least > self.nearest.bound() {
                break;
            }
            let page = run.pages[page as usize];
            self.look(page.start as usize..page.end as usize, (i64::MAX, i64::MAX));
        }
    }
}
