//! Which divisions cover a point: cells first, exact edges only in cells that a border crosses.

use std::sync::Arc;

use onemap_model::DivisionCode;

use crate::area::{Area, Raster};
use crate::coordinates::{Extent, Vertex};

/// Cells along each side of the city's extent; a cell of Xining is then about 500 m wide.
const N_CELLS: u32 = 256;

/// One division's part in one cell.
#[derive(Clone, Copy, Debug)]
struct Share {
    division: u32,
    /// The division covers the whole cell: no edge needs to be looked at.
    whole: bool,
}

/// Divisions of all levels, ready to be asked.
#[derive(Debug, Default)]
pub(crate) struct DivisionIndex {
    /// Finest first (most significant digits), then by code.
    divisions: Vec<(DivisionCode, Arc<Area>)>,
    cells: Option<Cells>,
}

#[derive(Debug)]
struct Cells {
    extent: Extent,
    raster: Raster,
    starts: Vec<u32>,
    shares: Vec<Share>,
}

impl DivisionIndex {
    /// Prepares the divisions.
    pub(crate) fn new(mut divisions: Vec<(DivisionCode, Arc<Area>)>) -> Self {
        divisions.sort_by(|(a, _), (b, _)| b.prefix().len().cmp(&a.prefix().len()).then_with(|| a.cmp(b)));
        let extent = Extent::around(divisions.iter().flat_map(|(_, area)| {
            let extent = area.extent();
            [extent.min, extent.max]
        }));
        let cells = extent.map(|extent| Cells::new(&divisions, extent));
        Self { divisions, cells }
    }

    /// The divisions that cover the point, finest first, then by code.
    pub(crate) fn at(&self, p: Vertex) -> impl Iterator<Item = &DivisionCode> {
        self.cells
            .iter()
            .flat_map(move |c| c.shares_at(p))
            .filter_map(move |share| {
                let (code, area) = &self.divisions[share.division as usize];
                (share.whole || area.covers(p)).then_some(code)
            })
    }
}

impl Cells {
    fn new(divisions: &[(DivisionCode, Arc<Area>)], extent: Extent) -> Self {
        let raster = Raster::over(extent, N_CELLS);
        let n_cells = raster.columns as usize * raster.rows as usize;
        let mut by_cell: Vec<(u32, Share)> = Vec::new();
        let mut touched = vec![u32::MAX; n_cells];
        for (division, (_, area)) in (0u32..).zip(divisions) {
            area.touched_cells(&raster, |column, row| {
                touched[(row * raster.columns + column) as usize] = division;
            });
            let (c0, r0) = raster.cell(area.extent().min);
            let (c1, r1) = raster.cell(area.extent().max);
            for row in r0..=r1 {
                for column in c0..=c1 {
                    let cell = row * raster.columns + column;
                    let whole = touched[cell as usize] != division;
                    if !whole || area.covers(raster.middle(column, row)) {
                        by_cell.push((cell, Share { division, whole }));
                    }
                }
            }
        }
        // Stable: within a cell the order of divisions stays.
        by_cell.sort_by_key(|(cell, _)| *cell);
        let mut starts = vec![0u32; n_cells + 1];
        for (cell, _) in &by_cell {
            starts[*cell as usize + 1] += 1;
        }
        for cell in 0..n_cells {
            starts[cell + 1] += starts[cell];
        }
        Self {
            extent,
            raster,
            starts,
            shares: by_cell.into_iter().map(|(_, share)| share).collect(),
        }
    }

    fn shares_at(&self, p: Vertex) -> &[Share] {
        if !self.extent.holds(p) {
            return &[];
        }
        let (column, row) = self.raster.cell(p);
        let cell = (row * self.raster.columns + column) as usize;
        &self.shares[self.starts[cell] as usize..self.starts[cell + 1] as usize]
    }
}
