//! Exact "is this point covered" for polygons, prepared so that a point meets only few edges.
//!
//! All arithmetic is in integers on the grid of 1e-7 degree. A polygon is no wider than 180 degrees
//! (the reader refuses others), so cross products stay below 2^63.

use crate::coordinates::{Extent, Vertex};
use crate::geometry::Polygon;

/// Most bands one polygon is cut into.
const N_MOST_BANDS: usize = 1 << 16;
/// Edge entries over all bands, per edge, that a polygon may take; fewer bands are used when tall
/// edges would need more (memory stays linear in the polygon's size).
const N_ENTRIES_PER_EDGE: usize = 8;

/// One edge with its southern end first.
#[derive(Clone, Copy, Debug)]
struct Edge {
    low: Vertex,
    high: Vertex,
}

/// One polygon cut into bands of latitude; each band knows the edges that reach into it.
#[derive(Clone, Debug)]
struct Bands {
    extent: Extent,
    height: i64,
    starts: Vec<u32>,
    edges: Vec<Edge>,
}

/// Polygons prepared for [`Area::covers`]: what any of them covers, borders included.
#[derive(Clone, Debug)]
pub(crate) struct Area {
    extent: Extent,
    parts: Vec<Bands>,
}

/// Twice the signed area of the triangle a-b-p: positive when p lies left of a-b, zero on its line.
fn side(a: Vertex, b: Vertex, p: Vertex) -> i64 {
    let d = |to: i32, from: i32| i64::from(to) - i64::from(from);
    d(b.lon, a.lon) * d(p.lat, a.lat) - d(b.lat, a.lat) * d(p.lon, a.lon)
}

impl Area {
    /// Prepares polygons; `None` when there is none.
    pub(crate) fn new(polygons: &[Polygon]) -> Option<Self> {
        let parts: Vec<Bands> = polygons.iter().filter_map(Bands::new).collect();
        let extent = Extent::around(parts.iter().flat_map(|p| [p.extent.min, p.extent.max]))?;
        Some(Self { extent, parts })
    }

    pub(crate) fn extent(&self) -> Extent {
        self.extent
    }

    /// Whether the point lies inside or on a border, of holes too.
    pub(crate) fn covers(&self, p: Vertex) -> bool {
        self.extent.holds(p) && self.parts.iter().any(|part| part.covers(p))
    }

    /// Calls `each` for the cell numbers `(column, row)` of a raster that an edge touches, borders of
    /// cells included; a cell may be named more than once.
    pub(crate) fn touched_cells(&self, raster: &Raster, mut each: impl FnMut(u32, u32)) {
        for edge in self.parts.iter().flat_map(Bands::own_edges) {
            for row in raster.row(edge.low.lat).saturating_sub(1)..=raster.row(edge.high.lat) {
                let (west, east) = raster.columns_near(edge.low, edge.high, row);
                for column in west..=east {
                    let corners = raster
                        .corners(column, row)
                        .map(|p| side(edge.low, edge.high, p).signum());
                    if corners.iter().any(|s| *s == 0 || *s != corners[0]) {
                        each(column, row);
                    }
                }
            }
        }
    }
}

impl Bands {
    fn new(polygon: &Polygon) -> Option<Self> {
        let edges: Vec<Edge> = polygon
            .rings
            .iter()
            .flat_map(|ring| ring.iter().zip(ring.iter().cycle().skip(1)))
            .map(|(a, b)| match a.lat <= b.lat {
                true => Edge { low: *a, high: *b },
                false => Edge { low: *b, high: *a },
            })
            .collect();
        let extent = Extent::around(edges.iter().flat_map(|e| [e.low, e.high]))?;
        let tall = i64::from(extent.max.lat) - i64::from(extent.min.lat) + 1;
        let mut n_bands = edges.len().clamp(8, N_MOST_BANDS);
        loop {
            let height = tall / n_bands as i64 + 1;
            let span = |e: &Edge| {
                let band = |lat: i32| (i64::from(lat) - i64::from(extent.min.lat)) / height;
                band(e.low.lat) as usize..=band(e.high.lat) as usize
            };
            let n_entries: usize = edges.iter().map(|e| span(e).count()).sum();
            if n_entries > N_ENTRIES_PER_EDGE * edges.len() && n_bands > 1 {
                n_bands /= 2;
                continue;
            }
            let mut starts = vec![0u32; n_bands + 1];
            for band in edges.iter().flat_map(span) {
                starts[band + 1] += 1;
            }
            for band in 0..n_bands {
                starts[band + 1] += starts[band];
            }
            let mut ends = starts.clone();
            let mut banded = vec![edges[0]; n_entries];
            for edge in &edges {
                for band in span(edge) {
                    banded[ends[band] as usize] = *edge;
                    ends[band] += 1;
                }
            }
            return Some(Self {
                extent,
                height,
                starts,
                edges: banded,
            });
        }
    }

    fn covers(&self, p: Vertex) -> bool {
        if !self.extent.holds(p) {
            return false;
        }
        let band = ((i64::from(p.lat) - i64::from(self.extent.min.lat)) / self.height) as usize;
        let mut inside = false;
        for edge in &self.edges[self.starts[band] as usize..self.starts[band + 1] as usize] {
            if p.lat < edge.low.lat || edge.high.lat < p.lat {
                continue;
            }
            let side = side(edge.low, edge.high, p);
            if side == 0 {
                let (west, east) = (edge.low.lon.min(edge.high.lon), edge.low.lon.max(edge.high.lon));
                if (west..=east).contains(&p.lon) {
                    return true;
                }
            } else if side > 0 && p.lat < edge.high.lat {
                // A ray to the east crosses; the upper end is left to the next edge.
                inside = !inside;
            }
        }
        inside
    }

    /// Every edge once: from the band where it begins.
    fn own_edges(&self) -> impl Iterator<Item = &Edge> {
        let origin = i64::from(self.extent.min.lat);
        self.starts.windows(2).enumerate().flat_map(move |(band, range)| {
            self.edges[range[0] as usize..range[1] as usize]
                .iter()
                .filter(move |e| (i64::from(e.low.lat) - origin) / self.height == band as i64)
        })
    }
}

/// Square cells over an extent.
#[derive(Clone, Debug)]
pub(crate) struct Raster {
    origin: Vertex,
    width: i64,
    height: i64,
    pub(crate) columns: u32,
    pub(crate) rows: u32,
}

impl Raster {
    /// Cuts the extent into `n` by `n` cells (fewer when it is smaller than that on the grid).
    pub(crate) fn over(extent: Extent, n: u32) -> Self {
        let steps = |max: i32, min: i32| i64::from(max) - i64::from(min) + 1;
        let (wide, tall) = (
            steps(extent.max.lon, extent.min.lon),
            steps(extent.max.lat, extent.min.lat),
        );
        let (width, height) = (wide / i64::from(n) + 1, tall / i64::from(n) + 1);
        Self {
            origin: extent.min,
            width,
            height,
            columns: ((wide - 1) / width + 1) as u32,
            rows: ((tall - 1) / height + 1) as u32,
        }
    }

    /// Column and row of the cell that holds a point of the extent.
    pub(crate) fn cell(&self, p: Vertex) -> (u32, u32) {
        let column = (i64::from(p.lon) - i64::from(self.origin.lon)) / self.width;
        (column as u32, self.row(p.lat))
    }

    fn row(&self, lat: i32) -> u32 {
        ((i64::from(lat) - i64::from(self.origin.lat)) / self.height) as u32
    }

    /// First and last column that the edge may touch within a row, with one to spare on each side: an
    /// edge on a cell's border touches it, and the crossing is computed in floating point.
    fn columns_near(&self, low: Vertex, high: Vertex, row: u32) -> (u32, u32) {
        let south = f64::from(self.origin.lat) + (self.height * i64::from(row)) as f64;
        let (from, to) = (f64::from(low.lat), f64::from(high.lat));
        let lon_at = |lat: f64| {
            let part = if to > from {
                (lat.clamp(from, to) - from) / (to - from)
            } else {
                0.0
            };
            f64::from(low.lon) + part * (f64::from(high.lon) - f64::from(low.lon))
        };
        let (a, b) = if to > from {
            (lon_at(south), lon_at(south + self.height as f64))
        } else {
            (f64::from(low.lon), f64::from(high.lon))
        };
        let column = |lon: f64| ((lon - f64::from(self.origin.lon)) / self.width as f64) as u32;
        let last = self.columns - 1;
        (
            column(a.min(b)).saturating_sub(1),
            (column(a.max(b)) + 1).min(last),
        )
    }

    fn corners(&self, column: u32, row: u32) -> [Vertex; 4] {
        let at = |origin: i32, step: i64, n: u32| {
            (i64::from(origin) + step * i64::from(n)).min(i64::from(i32::MAX)) as i32
        };
        let (west, east) = (
            at(self.origin.lon, self.width, column),
            at(self.origin.lon, self.width, column + 1),
        );
        let (south, north) = (
            at(self.origin.lat, self.height, row),
            at(self.origin.lat, self.height, row + 1),
        );
        [(west, south), (east, south), (east, north), (west, north)].map(|(lon, lat)| Vertex { lon, lat })
    }

    /// A point inside the cell.
    pub(crate) fn middle(&self, column: u32, row: u32) -> Vertex {
        let [a, _, b, _] = self.corners(column, row);
        let between = |a: i32, b: i32| ((i64::from(a) + i64::from(b)) / 2) as i32;
        Vertex {
            lon: between(a.lon, b.lon),
            lat: between(a.lat, b.lat),
        }
    }
}
