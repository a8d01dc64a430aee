//! Everything that meets a filter, wherever it is and also when nobody knows where.

use crate::city_view::CityView;
use crate::query::{Filter, Found};

impl CityView {
    /// Calls `each` for the things that meet a filter, each once, in no order.
    pub fn every<'v>(&'v self, filter: &Filter, mut each: impl FnMut(Found<'v>)) {
        let sieve = filter.sieve(self);
        for (_, thing) in self.stock.iter() {
            if sieve.lets(thing) {
                each(Found { view: self, thing });
            }
        }
    }
}
