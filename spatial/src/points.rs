//! Points of one kind, sorted by cells so that a box is answered by a few binary searches.

use crate::coordinates::{Extent, Vertex};

/// Cells are 2^18 grid steps wide: about 0.026 degree, 2 to 3 km.
const CELL_BITS: u32 = 18;

/// Points with the number of the thing that stands there.
#[derive(Debug, Default)]
pub(crate) struct PointIndex {
    /// Sorted by (row, column, item).
    points: Vec<([u32; 2], Vertex, u32)>,
}

fn cell(degree: i32) -> u32 {
    degree.wrapping_sub(i32::MIN) as u32 >> CELL_BITS
}

impl PointIndex {
    pub(crate) fn new(points: impl IntoIterator<Item = (Vertex, u32)>) -> Self {
        let mut points: Vec<_> = points
            .into_iter()
            .map(|(v, item)| ([cell(v.lat), cell(v.lon)], v, item))
            .collect();
        points.sort_unstable_by_key(|(cell, _, item)| (*cell, *item));
        Self { points }
    }

    /// Points inside the box or on its border, in no order a caller may rely on.
    pub(crate) fn within(&self, extent: Extent) -> impl Iterator<Item = (Vertex, u32)> {
        let (first, last) = match (self.points.first(), self.points.last()) {
            (Some(first), Some(last)) => (first.0[0], last.0[0]),
            _ => (1, 0),
        };
        let rows = cell(extent.min.lat).max(first)..=cell(extent.max.lat).min(last);
        let (west, east) = (cell(extent.min.lon), cell(extent.max.lon));
        rows.flat_map(move |row| {
            let from = self.points.partition_point(|(cell, ..)| *cell < [row, west]);
            let len = self.points[from..].partition_point(|(cell, ..)| *cell <= [row, east]);
            self.points[from..from + len].iter()
        })
        .filter(move |(_, v, _)| extent.holds(*v))
        .map(|(_, v, item)| (*v, *item))
    }
}
