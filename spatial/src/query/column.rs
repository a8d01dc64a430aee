//! Everything above and below a point.

use onemap_model::{DivisionCode, EntityKind, Stratum};

use crate::city_view::CityView;
use crate::query::distance::Origin;
use crate::query::filter::Filter;
use crate::query::found::Found;
use crate::query::region::{RegionError, vertex};
use crate::thing::ThingKind;

/// How near a point or line must be to stand in a column that has no radius, metres.
pub(crate) const TOLERANCE_M: f64 = 1.0;

/// One thing of a column.
#[derive(Clone, Copy, Debug)]
pub struct Stacked<'v> {
    /// The thing.
    pub found: Found<'v>,
    /// Metres to its nearest point, 0 inside of it.
    pub distance_m: f64,
}

/// What stands over, on and under a point.
#[derive(Clone, Debug, Default)]
pub struct Column<'v> {
    /// From the highest to the lowest: above, on, below the ground, and in each by the upper height; what
    /// has no height comes last in its stratum. Divisions and grids are not among them.
    pub stack: Vec<Stacked<'v>>,
    /// Divisions that cover the point, finest first, then by code.
    pub divisions: Vec<DivisionCode>,
    /// Grids that cover the point, by code.
    pub grids: Vec<Found<'v>>,
}

fn depth(stratum: Stratum) -> u8 {
    match stratum {
        Stratum::Above => 0,
        Stratum::Surface => 1,
        Stratum::Below => 2,
    }
}

impl CityView {
    /// What stands over, on and under a point of WGS 84. With a radius, all that is at most so far away.
    /// Without, areas that cover the point, and points and lines at most 1 m away.
    ///
    /// # Errors
    /// [`RegionError`] when the point is not on the globe, or the radius not above 0 and at most 1000 km.
    pub fn column(
        &self,
        (lon, lat): (f64, f64),
        radius_m: Option<f64>,
        filter: &Filter,
    ) -> Result<Column<'_>, RegionError> {
        let at = vertex(lon, lat)?;
        if let Some(radius_m) = radius_m {
            crate::query::Region::circle(lon, lat, radius_m)?;
        }
        let origin = Origin::at(at);
        let reach_m = radius_m.unwrap_or(TOLERANCE_M);
        let sieve = filter.sieve(self);
        let grid = ThingKind::Entity(EntityKind::Grid);
        let areas = [ThingKind::Entity(EntityKind::Division), grid.clone()];
        let mut column = Column::default();
        let extents = origin.boxes(reach_m);
        for (i, extent) in extents.iter().enumerate() {
            self.near(extent, sieve.kinds | grid.bit(), |_, thing| {
                let again = extents[..i]
                    .iter()
                    .any(|before| thing.footprint.extent().is_some_and(|own| own.meets(before)));
                let Some(distance_m) = origin.to_thing(&thing.footprint).filter(|_| !again) else {
                    return;
                };
                let found = Found { view: self, thing };
                if thing.kind == grid
                    && distance_m == 0.0
                    && sieve.sees(thing)
                    && filter.valid_at.is_none_or(|time| thing.valid_at(time))
                {
                    column.grids.push(found);
                }
                let near = match thing.is_area() && radius_m.is_none() {
                    true => distance_m == 0.0,
                    false => distance_m <= reach_m,
                };
                if near && !areas.contains(&thing.kind) && sieve.lets(thing) {
                    column.stack.push(Stacked { found, distance_m });
                }
            });
        }
        column.grids.sort_unstable_by(Found::order);
        column.stack.sort_unstable_by(|a, b| {
            let top = |stacked: &Stacked<'_>| stacked.found.z_range_m();
            let by_height = |a: Option<[f64; 2]>, b: Option<[f64; 2]>| match (a, b) {
                (Some([a_low, a_high]), Some([b_low, b_high])) => {
                    b_high.total_cmp(&a_high).then_with(|| b_low.total_cmp(&a_low))
                }
                (a, b) => b.is_some().cmp(&a.is_some()),
            };
            let by_stratum = depth(a.found.stratum()).cmp(&depth(b.found.stratum()));
            by_stratum
                .then_with(|| by_height(top(a), top(b)))
                .then_with(|| a.found.order(&b.found))
        });
        let seen = self.covering(at).filter(|code| sieve.sees_division(code));
        column.divisions = seen.cloned().collect();
        Ok(column)
    }
}
