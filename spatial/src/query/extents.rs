//! How far the things of each kind reach.

use std::collections::BTreeMap;

use crate::city_view::CityView;
use crate::coordinates::Extent;
use crate::query::filter::Filter;
use crate::thing::ThingKind;

impl CityView {
    /// West, south, east, north in degrees around all things that a filter lets, by kind; kinds without a place are
    /// not there. Looks at every thing once.
    pub fn extents(&self, filter: &Filter) -> BTreeMap<ThingKind, [f64; 4]> {
        let sieve = filter.sieve(self);
        let mut all: BTreeMap<ThingKind, Extent> = BTreeMap::new();
        for (_, thing) in self.stock.iter() {
            let Some(own) = thing.footprint.extent() else {
                continue;
            };
            // Inside what is known already, it adds nothing, whatever the filter says of it.
            if all
                .get(&thing.kind)
                .is_some_and(|known| known.holds(own.min) && known.holds(own.max))
            {
                continue;
            }
            if sieve.lets(thing) {
                let known = all.entry(thing.kind.clone()).or_insert(own);
                known.min.lon = known.min.lon.min(own.min.lon);
                known.min.lat = known.min.lat.min(own.min.lat);
                known.max.lon = known.max.lon.max(own.max.lon);
                known.max.lat = known.max.lat.max(own.max.lat);
            }
        }
        all.into_iter()
            .map(|(kind, extent)| (kind, extent.degrees()))
            .collect()
    }
}
