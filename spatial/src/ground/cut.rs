//! A polygon cut along a grid of square cells: each cell is outside, inside, or keeps the edges that meet it.
//!
//! In a cell with edges, a point is reached from a corner of the cell whose side is known: first along the
//! western edge, then along the point's latitude; every edge crossed turns inside into outside. The way is
//! laid half a step west of the cell and an arbitrarily small bit north of the latitudes, so it meets no
//! vertex and runs along no edge. All in `i64`: a polygon spans at most 180 degrees (the reader refuses
//! others), so no product exceeds 2^63.

use crate::coordinates::{Extent, Vertex};
use crate::geometry::Polygon;

use super::zorder::unsigned;

/// Most columns and rows that a polygon is cut into.
pub(crate) const N_MOST_CELLS_A_SIDE: u32 = 128;

/// One edge with its southern end first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edge {
    low: Vertex,
    high: Vertex,
}

/// What a polygon has in a cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share<'a> {
    /// Whether the cell's south-western corner is inside; the whole cell when it has no edges.
    pub(crate) corner: bool,
    pub(crate) edges: &'a [Edge],
}

/// The cells of one polygon.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) extent: Extent,
    pub(crate) shift: u32,
    column: u32,
    row: u32,
    columns: u32,
    rows: u32,
    /// By row, then column.
    corners: Vec<bool>,
    starts: Vec<u32>,
    edges: Vec<Edge>,
}

/// West or south edge of a column or row.
#[inline]
pub(crate) fn edge_of(cell: u32, shift: u32) -> i64 {
    (i64::from(cell) << shift) + i64::from(i32::MIN)
}

/// The least shift, from `least` on, at which the extent has at most so many cells a side.
pub(crate) fn shift_for(extent: &Extent, least: u32, n_a_side: u32) -> u32 {
    let cells = |low: i32, high: i32, shift: u32| (unsigned(high) >> shift) - (unsigned(low) >> shift);
    (least..31)
        .find(|shift| {
            cells(extent.min.lon, extent.max.lon, *shift) < n_a_side
                && cells(extent.min.lat, extent.max.lat, *shift) < n_a_side
        })
        .unwrap_or(31)
}

impl Cut {
    /// Cuts into cells of `2^shift` steps; `None` when the polygon has no vertex.
    pub(crate) fn new(polygon: &Polygon, shift: u32) -> Option<Self> {
        let extent = Extent::around(polygon.rings.iter().flatten().copied())?;
        let (column, row) = (
            unsigned(extent.min.lon) >> shift,
            unsigned(extent.min.lat) >> shift,
        );
        let columns = (unsigned(extent.max.lon) >> shift) - column + 1;
        let rows = (unsigned(extent.max.lat) >> shift) - row + 1;
        let mut cut = Self {
            extent,
            shift,
            column,
            row,
            columns,
            rows,
            corners: Vec::new(),
            starts: Vec::new(),
            edges: Vec::new(),
        };
        let edges: Vec<Edge> = edges_of(polygon).collect();
        cut.find_corners(&edges);
        cut.sort_in(&edges);
        Some(cut)
    }

    fn find_corners(&mut self, edges: &[Edge]) {
        // Where the western edge of each column is crossed: (column, latitude rounded up).
        let mut crossings: Vec<(u32, i64)> = Vec::new();
        for edge in edges {
            let (west, east) = edge.longitudes();
            let last = (unsigned(east) >> self.shift).min(self.column + self.columns - 1);
            for column in (unsigned(west) >> self.shift) + 1..=last {
                crossings.push((column, edge.latitude_at(edge_of(column, self.shift))));
            }
        }
        crossings.sort_unstable();
        self.corners = vec![false; self.columns as usize * self.rows as usize];
        for column in 0..self.columns {
            let from = crossings.partition_point(|(at, _)| *at < self.column + column);
            let own = &crossings[from..];
            let own = &own[..own.partition_point(|(at, _)| *at == self.column + column)];
            for row in 0..self.rows {
                let south = edge_of(self.row + row, self.shift);
                let n_above = own.len() - own.partition_point(|(_, lat)| *lat <= south);
                self.corners[(row * self.columns + column) as usize] = n_above % 2 == 1;
            }
        }
    }

    fn sort_in(&mut self, edges: &[Edge]) {
        let mut met: Vec<(u32, u32)> = Vec::new();
        let (last_column, last_row) = (self.column + self.columns - 1, self.row + self.rows - 1);
        for (number, edge) in (0u32..).zip(edges) {
            // A cell is met when the edge comes to within a step of it.
            let first = unsigned(edge.low.lat).saturating_sub(1) >> self.shift;
            let last = unsigned(edge.high.lat) >> self.shift;
            for row in first.max(self.row)..=last.min(last_row) {
                let south = edge_of(row, self.shift);
                let (west, east) = edge.longitudes_between(south, south + (1i64 << self.shift));
                let cell = |lon: i64| ((lon - i64::from(i32::MIN)).max(0) >> self.shift) as u32;
                for column in cell(west - 1).max(self.column)..=cell(east + 1).min(last_column) {
                    met.push(((row - self.row) * self.columns + column - self.column, number));
                }
            }
        }
        met.sort_unstable();
        self.starts = vec![0; self.corners.len() + 1];
        for (cell, _) in &met {
            self.starts[*cell as usize + 1] += 1;
        }
        for cell in 0..self.corners.len() {
            self.starts[cell + 1] += self.starts[cell];
        }
        self.edges = met.iter().map(|(_, number)| edges[*number as usize]).collect();
    }

    /// What the polygon has in a cell; `None` when it has nothing there.
    #[inline]
    pub(crate) fn share(&self, column: u32, row: u32) -> Option<Share<'_>> {
        let (column, row) = (column.wrapping_sub(self.column), row.wrapping_sub(self.row));
        if column >= self.columns || row >= self.rows {
            return None;
        }
        let cell = (row * self.columns + column) as usize;
        let edges = &self.edges[self.starts[cell] as usize..self.starts[cell + 1] as usize];
        let corner = self.corners[cell];
        (corner || !edges.is_empty()).then_some(Share { corner, edges })
    }

    /// All cells in which the polygon has something: column, row, share.
    pub(crate) fn shares(&self) -> impl Iterator<Item = (u32, u32, Share<'_>)> {
        let cells = (0..self.rows).flat_map(move |row| (0..self.columns).map(move |column| (column, row)));
        cells.filter_map(move |(column, row)| {
            let (column, row) = (self.column + column, self.row + row);
            self.share(column, row).map(|share| (column, row, share))
        })
    }

    /// Columns and rows that the polygon reaches into, both ends inside.
    pub(crate) fn reach(&self) -> [u32; 4] {
        [
            self.column,
            self.row,
            self.column + self.columns - 1,
            self.row + self.rows - 1,
        ]
    }

    /// Whether the polygon covers the point.
    #[inline]
    pub(crate) fn covers(&self, p: Vertex) -> bool {
        let (column, row) = (unsigned(p.lon) >> self.shift, unsigned(p.lat) >> self.shift);
        self.share(column, row)
            .is_some_and(|share| share.covers(edge_of(column, self.shift), edge_of(row, self.shift), p))
    }
}

impl Share<'_> {
    /// Whether the polygon covers a point of the cell whose western and southern edge is given, borders
    /// included.
    #[inline]
    pub(crate) fn covers(&self, west: i64, south: i64, p: Vertex) -> bool {
        covers_in_cell(self.corner, self.edges.iter().copied(), west, south, p)
    }
}

/// The same for edges that come one by one.
#[inline]
pub(crate) fn covers_in_cell(
    corner: bool,
    edges: impl Iterator<Item = Edge>,
    west: i64,
    south: i64,
    p: Vertex,
) -> bool {
    let (x, y) = (i64::from(p.lon), i64::from(p.lat));
    let mut inside = corner;
    for edge in edges {
        let (low_x, low_y) = (i64::from(edge.low.lon), i64::from(edge.low.lat));
        let (high_x, high_y) = (i64::from(edge.high.lon), i64::from(edge.high.lat));
        let (wide, tall) = (high_x - low_x, high_y - low_y);
        if low_y <= y && y <= high_y {
            let (up, across) = (wide * (y - low_y), tall * (x - low_x));
            if up == across && low_x.min(high_x) <= x && x <= low_x.max(high_x) {
                return true;
            }
            if y < high_y {
                // The way along the latitude, from half a step west of the cell to the point.
                let (up, start) = (2 * up, tall * (2 * west - 1 - 2 * low_x));
                let east_of_start = up > start || (up == start && wide > 0);
                let east_of_point = up > 2 * across;
                inside ^= east_of_start != east_of_point;
            }
        }
        if (low_x >= west) != (high_x >= west) {
            // The way along the western edge, from the corner to the latitude.
            let at = tall * (2 * west - 1 - 2 * low_x);
            let above = |y: i64| match wide > 0 {
                true => at > 2 * wide * (y - low_y),
                false => at < 2 * wide * (y - low_y),
            };
            inside ^= above(south) != above(y);
        }
    }
    inside
}

fn edges_of(polygon: &Polygon) -> impl Iterator<Item = Edge> {
    let rings = polygon.rings.iter();
    let pairs = rings.flat_map(|ring| ring.iter().zip(ring.iter().cycle().skip(1)));
    pairs.map(|(a, b)| match a.lat <= b.lat {
        true => Edge { low: *a, high: *b },
        false => Edge { low: *b, high: *a },
    })
}

impl Edge {
    /// As four words, and back.
    pub(crate) fn words(&self) -> [u32; 4] {
        [self.low.lon, self.low.lat, self.high.lon, self.high.lat].map(|n| n as u32)
    }

    #[inline]
    pub(crate) fn of_words(words: &[u32]) -> Self {
        let v = |i: usize| Vertex {
            lon: words[i] as i32,
            lat: words[i + 1] as i32,
        };
        Self {
            low: v(0),
            high: v(2),
        }
    }

    fn longitudes(&self) -> (i32, i32) {
        (self.low.lon.min(self.high.lon), self.low.lon.max(self.high.lon))
    }

    /// The latitude half a step west of a longitude, rounded up; the edge crosses it.
    fn latitude_at(&self, lon: i64) -> i64 {
        let wide = i64::from(self.high.lon) - i64::from(self.low.lon);
        let tall = i64::from(self.high.lat) - i64::from(self.low.lat);
        let up = tall * (2 * lon - 1 - 2 * i64::from(self.low.lon));
        let (up, wide) = if wide > 0 {
            (up, 2 * wide)
        } else {
            (-up, -2 * wide)
        };
        i64::from(self.low.lat) - (-up).div_euclid(wide)
    }

    /// West and east of the part between two latitudes that it reaches, rounded outwards.
    fn longitudes_between(&self, south: i64, north: i64) -> (i64, i64) {
        let (low_x, low_y) = (i64::from(self.low.lon), i64::from(self.low.lat));
        let (high_x, high_y) = (i64::from(self.high.lon), i64::from(self.high.lat));
        if low_y == high_y {
            return (low_x.min(high_x), low_x.max(high_x));
        }
        let at = |lat: i64| {
            let lat = lat.clamp(low_y, high_y);
            low_x + ((high_x - low_x) * (lat - low_y)).div_euclid(high_y - low_y)
        };
        let (a, b) = (at(south), at(north));
        (a.min(b), a.max(b) + 1)
    }
}
