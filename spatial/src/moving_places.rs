//! Devices that move, on the map: where they are stands beside the register's things, so that a move is no change of
//! the map and takes no lock of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use onemap_model::DeviceId;

use crate::city_map::CityMap;
use crate::city_view::CityView;
use crate::coordinates::Vertex;
use crate::ground::{Movers, MoversError};
use crate::thing::{Footprint, PackedDivision, Thing, ThingKind};

/// Things whose devices may move: beyond so many there is no room.
const N_MOST: u32 = 1 << 26;

const POISON: &str = "no holder of this lock panics";

/// Where devices are that move, by their numbers on the map.
#[derive(Debug, Default)]
pub(crate) struct MovingPlaces {
    movers: OnceLock<Movers>,
    /// Counts the moves.
    version: AtomicU64,
    /// The newest view with devices where they are, of a version of the map and a count of moves.
    newest: Mutex<Option<(u64, u64, Arc<CityView>)>>,
}

impl MovingPlaces {
    fn is_empty(&self) -> bool {
        self.movers.get().is_none_or(Movers::is_empty)
    }
}

impl CityMap {
    /// Says where a device is that moves, or that it does so no longer. It needs no change of the map: who looks at
    /// [`CityView::moved`] finds it there. `false` when the map has no such device.
    ///
    /// # Errors
    /// [`MoversError`] when there is no room for it.
    pub fn move_device(&self, device: &DeviceId, at: Option<Vertex>) -> Result<bool, MoversError> {
        let places = self.moving_places();
        let Some(number) = self.number_of(&ThingKind::Device, device.as_str()) else {
            return Ok(false);
        };
        let movers = places.movers.get_or_init(|| Movers::new(N_MOST));
        match at {
            Some(at) => movers.set(number, at)?,
            None => _ = movers.remove(number),
        }
        places.version.fetch_add(1, Ordering::Release);
        Ok(true)
    }
}

impl CityView {
    /// The same moment with devices that move where they are now, and not where the register has them. Their
    /// divisions are those of the register. Costs about as much as there are such devices, once for all who ask
    /// before the next move.
    #[must_use]
    pub fn moved(self: &Arc<Self>) -> Arc<Self> {
        let places = &self.moving;
        if places.is_empty() {
            return self.clone();
        }
        let version = places.version.load(Ordering::Acquire);
        let mut newest = places.newest.lock().expect(POISON);
        if let Some((map, moves, view)) = &*newest
            && (*map, *moves) == (self.version, version)
        {
            return view.clone();
        }
        let view = Arc::new(self.with_moved(places));
        *newest = Some((self.version, version, view.clone()));
        view
    }

    fn with_moved(&self, places: &MovingPlaces) -> Self {
        let indexed = self.indexed();
        let mut changed = Vec::new();
        let mut stock = self.stock.clone();
        if let Some(movers) = places.movers.get() {
            movers.all(|number, at| {
                let Some(thing) = self.stock.get(number) else {
                    return;
                };
                if thing.kind != ThingKind::Device {
                    return;
                }
                let division = match self.division_of(thing) {
                    // Not that of the place it happens to be at: who may see it is the register's to say.
                    PackedDivision::NONE => PackedDivision::NOWHERE,
                    own => own,
                };
                let moved = Thing {
                    footprint: Footprint::Point(at),
                    division,
                    ..thing.clone()
                };
                changed.push((number, thing.footprint.clone()));
                stock.set(number, Some(moved));
            });
        }
        let mut view = self.sharing(stock);
        // It is the places' own, and stands for one moment: it must not hold them.
        view.moving = Arc::default();
        view.indexed = OnceLock::from(CityView::not_knowing(indexed, changed));
        view
    }
}
