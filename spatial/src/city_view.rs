//! What is on the map at one moment, for readers: it does not change while they read.

use std::sync::{Arc, Mutex, OnceLock};

use onemap_model::{DeviceId, DivisionCode, EntityKind, Position};

use crate::base::{Base, mercator_box};
use crate::coordinates::{Extent, Vertex};
use crate::divisions::DivisionIndex;
use crate::layer::Layer;
use crate::prepared_layer::{MapItem, PreparedLayer};
use crate::stock::Stock;
use crate::terms::Terms;
use crate::thing::{DivisionPrefix, N_KINDS, Number, PackedDivision, Thing, ThingKind};
use crate::tile::{self, Look, Tile, TileAddress, TileError};
use crate::touched::Touched;

/// Sources named in one layer's attribution.
const N_MOST_SOURCES: usize = 8;
/// Changes that are looked at one by one, whatever the size of the map; of a large map a sixteenth.
const N_ONE_BY_ONE: usize = 1024;
/// So many times more changes are still looked at one by one while somebody makes the index anew.
const N_WAITS: usize = 8;

const POISON: &str = "no holder of this lock panics";

/// Something made once by whoever needs it first, for all versions of the map that share it.
pub(crate) type Shared<T> = Arc<OnceLock<Arc<T>>>;

/// Where the newest index lies, and where one is made at a time.
#[derive(Debug, Default)]
pub(crate) struct Workshop {
    newest: Mutex<Arc<Base>>,
    making: Mutex<()>,
}

impl Workshop {
    pub(crate) fn beginning_with(base: Arc<Base>) -> Self {
        Self {
            newest: Mutex::new(base),
            making: Mutex::new(()),
        }
    }

    pub(crate) fn base(&self) -> Arc<Base> {
        self.newest.lock().expect(POISON).clone()
    }
}

/// An index, and what changed since it was made.
#[derive(Debug)]
pub(crate) struct Indexed {
    pub(crate) base: Arc<Base>,
    /// Numbers, sorted, each once: the index does not know what they are now.
    pub(crate) changed: Vec<Number>,
}

/// Everything on the map as of one version.
#[derive(Debug)]
pub struct CityView {
    pub(crate) version: u64,
    pub(crate) stock: Stock,
    pub(crate) terms: Arc<Terms>,
    /// Numbers of what changed up to `version`, one for each version, the last one last.
    pub(crate) changes: Vec<Number>,
    pub(crate) workshop: Arc<Workshop>,
    pub(crate) indexed: OnceLock<Indexed>,
    pub(crate) divisions: Shared<DivisionIndex>,
    pub(crate) layers: [Shared<PreparedLayer>; Layer::ALL.len()],
    pub(crate) layer_versions: [u64; Layer::ALL.len()],
    pub(crate) touched: [Arc<Touched>; Layer::ALL.len()],
    pub(crate) moving: Arc<crate::moving_places::MovingPlaces>,
}

impl CityView {
    /// The map's version that this is.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The same moment over other things; its index is yet to be made.
    pub(crate) fn sharing(&self, stock: Stock) -> Self {
        Self {
            version: self.version,
            stock,
            terms: self.terms.clone(),
            changes: self.changes.clone(),
            workshop: self.workshop.clone(),
            indexed: OnceLock::new(),
            divisions: self.divisions.clone(),
            layers: self.layers.clone(),
            layer_versions: self.layer_versions,
            touched: self.touched.clone(),
            moving: self.moving.clone(),
        }
    }

    /// The finest division (most significant digits) that covers the point, borders included. On a
    /// border between divisions of one level, and where they overlap, the smaller code.
    pub fn locate(&self, position: &Position) -> Option<DivisionCode> {
        self.division_index().at(Vertex::of(position)).next().cloned()
    }

    /// Every division that covers the point, borders included: finest first, then by code.
    pub fn divisions_at(&self, position: &Position) -> Vec<DivisionCode> {
        self.division_index().at(Vertex::of(position)).cloned().collect()
    }

    pub(crate) fn covering(&self, v: Vertex) -> impl Iterator<Item = &DivisionCode> {
        self.division_index().at(v)
    }

    /// Devices inside a box (west, south, east, north in degrees) or on its border, by id. A box whose
    /// west is greater than its east crosses the antimeridian. Numbers that are not finite or lie off
    /// the globe are taken as its rim.
    pub fn devices_in_bbox(&self, [west, south, east, north]: [f64; 4]) -> Vec<DeviceId> {
        let vertex =
            |lon: f64, lat: f64| Vertex::from_degrees(lon.clamp(-180.0, 180.0), lat.clamp(-90.0, 90.0));
        let mut boxes = vec![(west, east)];
        if west > east {
            boxes = vec![(west, 180.0), (-180.0, east)];
        }
        let mut found: Vec<DeviceId> = Vec::new();
        for (west, east) in boxes {
            if let (Some(min), Some(max)) = (vertex(west, south), vertex(east, north)) {
                let extent = Extent { min, max };
                self.near(&extent, ThingKind::Device.bit(), |_, thing| {
                    if thing.footprint.standpoint().is_some_and(|v| extent.holds(v)) {
                        found.extend(DeviceId::new(&thing.code));
                    }
                });
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Devices of a division and of all divisions inside it, by id: as stated by the owner, else by
    /// position.
    pub fn devices_in_division(&self, division: &DivisionCode) -> Vec<DeviceId> {
        let prefix = DivisionPrefix::of(division);
        let devices = self
            .stock
            .iter()
            .filter(|(_, thing)| thing.kind == ThingKind::Device);
        let inside = devices.filter(|(_, thing)| prefix.covers(self.division_of(thing)));
        let mut found: Vec<DeviceId> = inside
            .filter_map(|(_, thing)| DeviceId::new(&thing.code).ok())
            .collect();
        found.sort_unstable();
        found
    }

    /// The division of a thing: as stated, else the finest that covers its standpoint.
    pub(crate) fn division_of(&self, thing: &Thing) -> PackedDivision {
        if thing.division != PackedDivision::NONE {
            return thing.division;
        }
        let found = thing
            .footprint
            .standpoint()
            .and_then(|v| self.division_index().at(v).next());
        found.map_or(PackedDivision::NONE, PackedDivision::of)
    }

    /// Calls `each` for the things of some kinds whose box meets the extent, each thing once.
    pub(crate) fn near<'a>(&'a self, extent: &Extent, kinds: u32, mut each: impl FnMut(Number, &'a Thing)) {
        let indexed = self.indexed();
        let area = mercator_box(extent);
        let meets = |thing: &Thing| thing.footprint.extent().is_some_and(|own| own.meets(extent));
        for kind in (0..N_KINDS).filter(|kind| kinds & 1 << kind != 0) {
            let Some(index) = indexed.base.kind(kind) else {
                continue;
            };
            let mut several: Vec<Number> = Vec::new();
            index.meeting(&area, |number| {
                if indexed.changed.binary_search(&number).is_ok() {
                    return;
                }
                let Some(thing) = self.stock.get(number) else {
                    return;
                };
                match &thing.footprint {
                    crate::thing::Footprint::Point(v) if extent.holds(*v) => each(number, thing),
                    crate::thing::Footprint::Point(_) => {}
                    // Several points of one thing.
                    _ if meets(thing) => several.push(number),
                    _ => {}
                }
            });
            several.sort_unstable();
            several.dedup();
            for number in several {
                if let Some(thing) = self.stock.get(number) {
                    each(number, thing);
                }
            }
        }
        for number in &indexed.changed {
            if let Some(thing) = self.stock.get(*number)
                && kinds & thing.kind.bit() != 0
                && meets(thing)
            {
                each(*number, thing);
            }
        }
    }

    /// About how many things a question about some kinds within an extent looks at.
    pub(crate) fn n_near(&self, extent: &Extent, kinds: u32) -> usize {
        let indexed = self.indexed();
        let area = mercator_box(extent);
        let kinds = (0..N_KINDS).filter(|kind| kinds & 1 << kind != 0);
        let of_kinds = kinds.filter_map(|kind| indexed.base.kind(kind));
        of_kinds.map(|index| index.n_near(&area)).sum::<usize>() + indexed.changed.len()
    }

    /// Whether the index is at hand: the first question of a map that was just read makes it.
    pub fn is_indexed(&self) -> bool {
        self.indexed.get().is_some()
    }

    /// The index, made anew when too much has changed since the newest one. Only the first to ask of a
    /// map that was just read waits for it long.
    pub(crate) fn indexed(&self) -> &Indexed {
        self.indexed.get_or_init(|| {
            let newest = self.workshop.base();
            let n_changes = self.n_since(&newest);
            let few = N_ONE_BY_ONE.max(self.stock.n_numbers() as usize / 16);
            if n_changes <= few {
                return self.since(newest);
            }
            let Ok(_making) = self.workshop.making.try_lock() else {
                if n_changes <= few * N_WAITS {
                    return self.since(newest);
                }
                drop(self.workshop.making.lock().expect(POISON));
                let newest = self.workshop.base();
                if self.n_since(&newest) <= few * N_WAITS {
                    return self.since(newest);
                }
                return self.anew();
            };
            self.anew()
        })
    }

    fn n_since(&self, base: &Base) -> usize {
        // An index may be of a later version than this view: then it says nothing about it.
        match self.version.checked_sub(base.version) {
            Some(n) if n as usize <= self.changes.len() => n as usize,
            _ => usize::MAX,
        }
    }

    fn since(&self, base: Arc<Base>) -> Indexed {
        let mut changed = self.changes[self.changes.len() - self.n_since(&base)..].to_vec();
        changed.sort_unstable();
        changed.dedup();
        Indexed { base, changed }
    }

    fn anew(&self) -> Indexed {
        let base = Arc::new(Base::new(self.version, &self.stock));
        let mut newest = self.workshop.newest.lock().expect(POISON);
        if newest.version < base.version {
            *newest = base.clone();
        }
        Indexed {
            base,
            changed: Vec::new(),
        }
    }

    /// One vector tile (zoom, column, row) as somebody sees it; `None` when it is empty.
    ///
    /// # Errors
    /// [`TileError`] when there is no tile of that address.
    pub fn tile(
        &self,
        layer: Layer,
        [zoom, x, y]: [u32; 3],
        look: &Look<'_>,
    ) -> Result<Option<Tile>, TileError> {
        let zoom = u8::try_from(zoom).unwrap_or(u8::MAX);
        let address = TileAddress::new(zoom, x, y)?;
        Ok(match layer.is_prepared() {
            true => tile::draw(layer, self.prepared(layer), address, look),
            false => crate::dots::draw(layer, self, address, look),
        })
    }

    /// The map's version at which what a tile shows of the register last changed. As long as it is the
    /// same, so is the tile (its live part and what time ends aside).
    pub fn tile_version(&self, layer: Layer, [zoom, x, y]: [u32; 3]) -> u64 {
        if layer.is_prepared() {
            // A neighbour's border may be drawn in another way when one of two changes.
            return self.layer_versions[layer as usize];
        }
        let zoom = u8::try_from(zoom).unwrap_or(u8::MAX);
        self.touched[layer as usize].version(zoom, x, y)
    }

    /// TileJSON 3.0.0 of a layer; tile addresses start with `base` (scheme and host without a slash at
    /// the end; empty for addresses relative to the host).
    pub fn tilejson(&self, layer: Layer, base: &str) -> serde_json::Value {
        let mut sources: Vec<&str> = Vec::new();
        if layer.is_prepared() {
            for item in &self.prepared(layer).items {
                let source = item.source.as_str();
                if !source.is_empty() && !sources.contains(&source) && sources.len() < N_MOST_SOURCES {
                    sources.push(source);
                }
            }
        }
        layer.tilejson(base, self.layer_extent(layer), &sources)
    }

    /// West, south, east, north of all that a layer holds, in degrees; `None` when it is empty.
    pub fn layer_extent(&self, layer: Layer) -> Option<[f64; 4]> {
        if layer.is_prepared() {
            return self.prepared(layer).extent.map(|extent| extent.degrees());
        }
        let drawn = self
            .stock
            .iter()
            .filter(|(_, thing)| layer.shows(&thing.kind) && !thing.retired);
        let extents = drawn.filter_map(|(_, thing)| thing.footprint.extent());
        Extent::around(extents.flat_map(|e| [e.min, e.max])).map(|extent| extent.degrees())
    }

    fn division_index(&self) -> &DivisionIndex {
        self.divisions.get_or_init(|| {
            let kind = ThingKind::Entity(EntityKind::Division);
            let divisions = self.stock.iter().filter(|(_, thing)| thing.kind == kind);
            let areas = divisions.filter_map(|(_, thing)| {
                let area = thing.traits.as_ref()?.area.clone()?;
                Some((DivisionCode::new(&thing.code).ok()?, area))
            });
            Arc::new(DivisionIndex::new(areas.collect()))
        })
    }

    pub(crate) fn prepared(&self, layer: Layer) -> &PreparedLayer {
        self.layers[layer as usize].get_or_init(|| {
            let things = self.stock.iter().filter(|(_, thing)| layer.shows(&thing.kind));
            let mut items: Vec<(&Thing, Arc<MapItem>)> = things
                .filter_map(|(_, thing)| Some((thing, thing.traits.as_ref()?.item.clone()?)))
                .collect();
            items.sort_by(|(a, _), (b, _)| (&a.kind, &a.code).cmp(&(&b.kind, &b.code)));
            let items = items.into_iter().map(|(_, item)| item).collect();
            Arc::new(PreparedLayer::new(items, layer == Layer::Divisions))
        })
    }
}
