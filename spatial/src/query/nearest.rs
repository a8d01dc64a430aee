//! The things nearest to a point.

use crate::city_view::CityView;
use crate::query::distance::{FARTHEST_M, Origin};
use crate::query::filter::Filter;
use crate::query::found::Found;
use crate::query::region::{RegionError, vertex};

/// Where the search begins, metres; it goes on in circles of twice the radius.
const FIRST_RADIUS_M: f64 = 32.0;

/// A thing and how far away it is.
#[derive(Clone, Copy, Debug)]
pub struct Near<'v> {
    /// The thing.
    pub found: Found<'v>,
    /// Metres to its nearest point, 0 inside of it; on a sphere.
    pub distance_m: f64,
}

impl Near<'_> {
    fn order(&self, other: &Near<'_>) -> std::cmp::Ordering {
        let by_distance = self.distance_m.total_cmp(&other.distance_m);
        by_distance.then_with(|| self.found.order(&other.found))
    }
}

impl CityView {
    /// The `k` things nearest to a point of WGS 84 and at most so many metres away, nearest first; of
    /// equally near ones those of the smaller kind and code.
    ///
    /// # Errors
    /// [`RegionError`] when the point is not on the globe.
    pub fn nearest(
        &self,
        (lon, lat): (f64, f64),
        k: usize,
        most_m: Option<f64>,
        filter: &Filter,
    ) -> Result<Vec<Near<'_>>, RegionError> {
        let origin = Origin::at(vertex(lon, lat)?);
        let most_m = most_m.unwrap_or(FARTHEST_M).min(FARTHEST_M);
        let sieve = filter.sieve(self);
        let mut radius_m = FIRST_RADIUS_M.min(most_m);
        loop {
            let mut near: Vec<Near<'_>> = Vec::new();
            let extents = origin.boxes(radius_m);
            for extent in &extents {
                self.near(extent, sieve.kinds, |_, thing| {
                    if !sieve.lets(thing) {
                        return;
                    }
                    if let Some(distance_m) = origin.to_thing(&thing.footprint)
                        && distance_m <= radius_m
                    {
                        near.push(Near {
                            found: Found { view: self, thing },
                            distance_m,
                        });
                    }
                });
            }
            if near.len() >= k || radius_m >= most_m {
                near.sort_unstable_by(Near::order);
                if extents.len() > 1 {
                    near.dedup_by(|a, b| a.found.order(&b.found).is_eq());
                }
                if near.len() >= k || radius_m >= most_m {
                    near.truncate(k);
                    return Ok(near);
                }
            }
            radius_m = (radius_m * 2.0).min(most_m);
        }
    }
}
