//! Which divisions cover a point.

use onemap_model::DivisionCode;

use crate::coordinates::Vertex;
use crate::geometry::Polygon;
use crate::ground::AreaIndex;

/// Divisions of all levels, ready to be asked.
#[derive(Debug)]
pub(crate) struct Divisions {
    /// Finest first (most significant digits), then by code: a division's number in the index is its place here.
    codes: Vec<DivisionCode>,
    areas: AreaIndex,
}

impl Divisions {
    /// Prepares the divisions.
    pub(crate) fn of(mut divisions: Vec<(DivisionCode, &[Polygon])>) -> Self {
        divisions.sort_by(|(a, _), (b, _)| b.prefix().len().cmp(&a.prefix().len()).then_with(|| a.cmp(b)));
        let mut areas = AreaIndex::lean();
        for (number, (_, polygons)) in (0u32..).zip(&divisions) {
            areas.put(number, polygons);
        }
        Self {
            codes: divisions.into_iter().map(|(code, _)| code).collect(),
            areas,
        }
    }

    /// The divisions that cover the point, borders included: finest first, then by code.
    pub(crate) fn at(&self, p: Vertex) -> impl Iterator<Item = &DivisionCode> {
        let mut found = Vec::new();
        self.areas.at(p, &mut found);
        found.into_iter().map(|number| &self.codes[number as usize])
    }
}
