//! Devices that move, on the map: where they are stands beside the register's things, so that a move is no change of
//! the map and takes no lock of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use onemap_model::DeviceId;

use crate::city_map::CityMap;
use crate::city_view::{CityView, Indexed};
use crate::coordinates::Vertex;
use crate::ground::{Movers, MoversError};
use crate::stock::Stock;
use crate::thing::{Footprint, Number, PackedDivision, Thing, ThingKind};

/// Things whose devices may move: beyond so many there is no room.
const N_MOST: u32 = 1 << 26;
/// Moves that are noted however few devices move.
const N_FEW: usize = 1024;

const POISON: &str = "no holder of this lock panics";

/// Where devices are that move, by their numbers on the map.
#[derive(Debug, Default)]
pub(crate) struct MovingPlaces {
    movers: OnceLock<Movers>,
    /// Counts the moves.
    version: AtomicU64,
    /// Who moved since the newest view was made.
    since: Mutex<Since>,
    newest: Mutex<Option<Newest>>,
}

/// Who moved, as often as it did; or that it was too many to say who.
#[derive(Debug, Default)]
struct Since {
    numbers: Vec<Number>,
    is_too_many: bool,
}

impl Since {
    /// Notes a move; no list is kept that is longer than one of all who move.
    fn note(&mut self, number: Number, n_movers: usize) {
        if self.numbers.len() > n_movers.max(N_FEW) {
            self.numbers.clear();
            self.is_too_many = true;
        }
        if !self.is_too_many {
            self.numbers.push(number);
        }
    }
}

/// The newest view with devices where they are.
#[derive(Debug)]
struct Newest {
    /// The version of the map, and the count of moves.
    of: (u64, u64),
    view: Arc<CityView>,
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
        let n_movers = places.movers.get().map_or(0, Movers::len);
        places.since.lock().expect(POISON).note(number, n_movers);
        // Whoever reads this count finds the move noted.
        places.version.fetch_add(1, Ordering::Release);
        Ok(true)
    }
}

impl CityView {
    /// The same moment with devices that move where they are now, and not where the register has them. Their
    /// divisions are those of the register. Costs about as much as devices moved since somebody asked last, and about as
    /// much as there are such devices when the register has changed; once for all who ask before the next move.
    #[must_use]
    pub fn moved(self: &Arc<Self>) -> Arc<Self> {
        let places = &self.moving;
        let Some(movers) = places.movers.get() else {
            return self.clone();
        };
        let version = places.version.load(Ordering::Acquire);
        let mut newest = places.newest.lock().expect(POISON);
        if let Some(newest) = &*newest
            && newest.of == (self.version, version)
        {
            return newest.view.clone();
        }
        let since = std::mem::take(&mut *places.since.lock().expect(POISON));
        let before = newest.take();
        let before = before.filter(|before| before.of.0 == self.version && !since.is_too_many);
        let view = match before {
            Some(before) => self.moved_on(before.view, movers, since.numbers),
            None if movers.is_empty() => return self.clone(),
            None => self.with_moved(movers),
        };
        let view = Arc::new(view);
        *newest = Some(Newest {
            of: (self.version, version),
            view: view.clone(),
        });
        view
    }

    /// A device where it is; `None` of what is none.
    fn device_at(&self, number: Number, at: Vertex) -> Option<Thing> {
        let thing = self.stock.get(number)?;
        if thing.kind != ThingKind::Device {
            return None;
        }
        let division = match self.division_of(thing) {
            // Not that of the place it happens to be at: who may see it is the register's to say.
            PackedDivision::NONE => PackedDivision::NOWHERE,
            own => own,
        };
        Some(Thing {
            footprint: Footprint::Point(at),
            division,
            ..thing.clone()
        })
    }

    fn with_moved(&self, movers: &Movers) -> Self {
        let indexed = self.indexed();
        let mut changed = Vec::new();
        let mut stock = self.stock.clone();
        movers.all(|number, at| {
            if let (Some(thing), Some(moved)) = (self.stock.get(number), self.device_at(number, at)) {
                changed.push((number, thing.footprint.clone()));
                stock.set(number, Some(moved));
            }
        });
        self.beside(stock, CityView::not_knowing(indexed, changed))
    }

    /// The view of this map with moves of before, and these devices where they are now.
    fn moved_on(&self, mut before: Arc<CityView>, movers: &Movers, mut numbers: Vec<Number>) -> Self {
        numbers.sort_unstable();
        numbers.dedup();
        // Where nobody looks at it any more nothing of it is copied.
        let mut stock = match Arc::get_mut(&mut before) {
            Some(before) => std::mem::take(&mut before.stock),
            None => before.stock.clone(),
        };
        let mut changed = Vec::new();
        for number in numbers {
            let Some(thing) = self.stock.get(number) else {
                continue;
            };
            let now = match movers.position(number) {
                Some(at) => self.device_at(number, at),
                // It moves no longer: it is where the register has it.
                None => Some(thing.clone()),
            };
            if let Some(now) = now {
                changed.push((number, thing.footprint.clone()));
                stock.set(number, Some(now));
            }
        }
        self.beside(stock, CityView::not_knowing(before.indexed(), changed))
    }

    fn beside(&self, stock: Stock, indexed: Indexed) -> Self {
        let mut view = self.sharing(stock);
        // It is the places' own, and stands for one moment: it must not hold them.
        view.moving = Arc::default();
        view.indexed = OnceLock::from(indexed);
        view
    }
}
