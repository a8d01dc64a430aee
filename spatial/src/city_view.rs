//! What is on the map at one moment, for readers: it does not change while they read.

use std::sync::{Arc, Mutex, OnceLock};

use onemap_model::{DeviceId, DivisionCode, EntityKind, Position, Reach};

use crate::clusters;
use crate::coordinates::{Extent, Vertex};
use crate::divisions::Divisions;
use crate::geometry::Shape;
use crate::index::{Change, Index, ONE_OF_SEVERAL};
use crate::layer::Layer;
use crate::prepared_layer::{MapItem, PreparedLayer};
use crate::sight::Sight;
use crate::stock::Stock;
use crate::terms::Terms;
use crate::thing::{DivisionPrefix, Footprint, N_KINDS, Number, PackedDivision, Thing, ThingKind};
use crate::tile::{self, Look, Tile, TileAddress, TileError};
use crate::touched::Touched;

/// Sources named in one layer's attribution.
const N_MOST_SOURCES: usize = 8;
/// Changes that are looked at one by one, whatever the size of the map; of a large map a sixteenth.
const N_ONE_BY_ONE: usize = 1024;
/// So many times more changes are still looked at one by one while somebody makes the index anew.
pub(crate) const N_WAITS: usize = 2;

const POISON: &str = "no holder of this lock panics";

/// So many changes are looked at one by one.
pub(crate) fn n_one_by_one(stock: &Stock) -> usize {
    N_ONE_BY_ONE.max(stock.n_numbers() as usize / 16)
}

/// Something made once by whoever needs it first, for all versions of the map that share it.
pub(crate) type Shared<T> = Arc<OnceLock<Arc<T>>>;

/// Where the newest index lies, and where one is made at a time.
#[derive(Debug, Default)]
pub(crate) struct Workshop {
    newest: Mutex<Arc<Index>>,
    making: Mutex<()>,
}

impl Workshop {
    pub(crate) fn beginning_with(index: Arc<Index>) -> Self {
        Self {
            newest: Mutex::new(index),
            making: Mutex::new(()),
        }
    }

    pub(crate) fn newest(&self) -> Arc<Index> {
        self.newest.lock().expect(POISON).clone()
    }
}

/// An index, and what changed since it was made.
#[derive(Debug)]
pub(crate) struct Indexed {
    pub(crate) index: Arc<Index>,
    /// Numbers, sorted, each once: the index does not know what they are now.
    pub(crate) changed: Vec<Number>,
    /// Kinds and keys of the clusters' cells that hold points of theirs as the index knows them, sorted.
    stale_cells: Vec<(u8, u64)>,
}

impl Indexed {
    /// Whether the index still knows a thing as it is.
    #[inline]
    pub(crate) fn knows(&self, number: Number) -> bool {
        self.changed.is_empty() || self.changed.binary_search(&number).is_err()
    }

    /// Whether a cell of a kind's clusters is as the index knows it.
    pub(crate) fn knows_cell(&self, kind: usize, key: u64) -> bool {
        self.stale_cells.is_empty() || self.stale_cells.binary_search(&(kind as u8, key)).is_err()
    }
}

/// Everything on the map as of one version.
#[derive(Debug)]
pub struct CityView {
    pub(crate) version: u64,
    pub(crate) stock: Stock,
    pub(crate) terms: Arc<Terms>,
    /// Departments that own things.
    pub(crate) departments: Arc<Terms>,
    /// What changed up to `version`, one for each version, the last one last.
    pub(crate) changes: Vec<Change>,
    pub(crate) workshop: Arc<Workshop>,
    pub(crate) indexed: OnceLock<Indexed>,
    pub(crate) divisions: Shared<Divisions>,
    pub(crate) layers: [Shared<PreparedLayer>; Layer::ALL.len()],
    pub(crate) layer_versions: [u64; Layer::ALL.len()],
    pub(crate) touched: [Arc<Touched>; Layer::ALL.len()],
    pub(crate) moving: Arc<crate::moving_places::MovingPlaces>,
    pub(crate) standing: Arc<crate::standing::Standing>,
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
            departments: self.departments.clone(),
            changes: self.changes.clone(),
            workshop: self.workshop.clone(),
            indexed: OnceLock::new(),
            divisions: self.divisions.clone(),
            layers: self.layers.clone(),
            layer_versions: self.layer_versions,
            touched: self.touched.clone(),
            moving: self.moving.clone(),
            standing: self.standing.clone(),
        }
    }

    /// The finest division (most significant digits) that covers the point, borders included. On a
    /// border between divisions of one level, and where they overlap, the smaller code.
    pub fn locate(&self, position: &Position) -> Option<DivisionCode> {
        self.all_divisions().at(Vertex::of(position)).next().cloned()
    }

    /// Every division that covers the point, borders included: finest first, then by code.
    pub fn divisions_at(&self, position: &Position) -> Vec<DivisionCode> {
        self.all_divisions().at(Vertex::of(position)).cloned().collect()
    }

    pub(crate) fn covering(&self, v: Vertex) -> impl Iterator<Item = &DivisionCode> {
        self.all_divisions().at(v)
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
            .and_then(|v| self.all_divisions().at(v).next());
        found.map_or(PackedDivision::NONE, PackedDivision::of)
    }

    /// Calls `each` for the things of some kinds whose box meets the extent, each thing once. Of a thing of several
    /// points one of them lies in the extent, or the thing changed just now.
    pub(crate) fn near<'a>(&'a self, extent: &Extent, kinds: u32, each: impl FnMut(Number, &'a Thing)) {
        self.near_unless(extent, kinds, |_, _| false, each);
    }

    /// As [`CityView::near`] without the things that the index knows as they are, each standing at one point in the
    /// extent, of which `is_done` with a kind ([`ThingKind::index`]) and a number says so: these are not read.
    pub(crate) fn near_unless<'a>(
        &'a self,
        extent: &Extent,
        kinds: u32,
        mut is_done: impl FnMut(usize, Number) -> bool,
        mut each: impl FnMut(Number, &'a Thing),
    ) {
        let indexed = self.indexed();
        for kind in (0..N_KINDS).filter(|kind| kinds & 1 << kind != 0) {
            let Some(index) = indexed.index.kind(kind) else {
                continue;
            };
            let (mut found, mut several): (Vec<Number>, Vec<Number>) = (Vec::new(), Vec::new());
            index.points.bbox(*extent, |point| match point.kind {
                ONE_OF_SEVERAL => several.push(point.item),
                _ if !indexed.knows(point.item) || is_done(kind, point.item) => {}
                _ => found.push(point.item),
            });
            index.shapes.bbox(*extent, |number| found.push(number));
            several.sort_unstable();
            several.dedup();
            found.append(&mut several);
            let known = found.into_iter().filter(|number| indexed.knows(*number));
            let things = self.stock.fetch(known, Thing::look_at_code);
            things.into_iter().for_each(|(number, thing)| each(number, thing));
        }
        for number in &indexed.changed {
            if let Some(thing) = self.stock.get(*number)
                && kinds & thing.kind.bit() != 0
                && thing.footprint.extent().is_some_and(|own| own.meets(extent))
            {
                each(*number, thing);
            }
        }
    }

    /// About how many things a question about some kinds within an extent looks at.
    pub(crate) fn n_near(&self, extent: &Extent, kinds: u32) -> usize {
        let indexed = self.indexed();
        let kinds = (0..N_KINDS).filter(|kind| kinds & 1 << kind != 0);
        let of_kinds = kinds.filter_map(|kind| indexed.index.kind(kind));
        let near = of_kinds.map(|index| {
            let mut n_shapes = 0;
            index.shapes.bbox(*extent, |_| n_shapes += 1);
            index.points.at_most(*extent) + n_shapes
        });
        near.sum::<usize>() + indexed.changed.len()
    }

    /// Whether the index is at hand: the first question of a map that was just read makes it.
    pub fn is_indexed(&self) -> bool {
        self.indexed.get().is_some()
    }

    /// The index, made anew when too much has changed since the newest one. Only the first to ask of a
    /// map that was just read waits for it long.
    pub(crate) fn indexed(&self) -> &Indexed {
        self.indexed.get_or_init(|| {
            let newest = self.workshop.newest();
            let n_changes = self.n_since(&newest);
            let few = n_one_by_one(&self.stock);
            if n_changes <= few {
                return self.since(newest);
            }
            let Ok(_making) = self.workshop.making.try_lock() else {
                if n_changes <= few * N_WAITS {
                    return self.since(newest);
                }
                drop(self.workshop.making.lock().expect(POISON));
                let newest = self.workshop.newest();
                if self.n_since(&newest) <= few * N_WAITS {
                    return self.since(newest);
                }
                return self.anew();
            };
            self.anew()
        })
    }

    fn n_since(&self, index: &Index) -> usize {
        // An index may be of a later version than this view: then it says nothing about it.
        match self.version.checked_sub(index.version) {
            Some(n) if n as usize <= self.changes.len() => n as usize,
            _ => usize::MAX,
        }
    }

    fn since(&self, index: Arc<Index>) -> Indexed {
        let changes = &self.changes[self.changes.len() - self.n_since(&index)..];
        let mut changed: Vec<Number> = changes.iter().map(|change| change.number).collect();
        changed.sort_unstable();
        changed.dedup();
        let before = changes.iter().filter_map(|change| change.was.as_ref());
        let clustered = before.filter(|(kind, _)| Layer::clusters(kind.index()));
        let cells = clustered.flat_map(|(kind, was)| {
            let key = |at: &Vertex| (kind.index() as u8, clusters::key_at(*at));
            was.points().iter().map(key)
        });
        let mut stale_cells: Vec<(u8, u64)> = cells.collect();
        stale_cells.sort_unstable();
        stale_cells.dedup();
        Indexed {
            index,
            changed,
            stale_cells,
        }
    }

    /// An index that does not know what these devices are now; beside each stands where it knows it to be.
    pub(crate) fn not_knowing(indexed: &Indexed, devices: Vec<(Number, Footprint)>) -> Indexed {
        let (mut changed, mut stale_cells) = (indexed.changed.clone(), indexed.stale_cells.clone());
        let kind = ThingKind::Device.index();
        for (number, was) in devices {
            changed.push(number);
            if Layer::clusters(kind) {
                let key = |at: &Vertex| (kind as u8, clusters::key_at(*at));
                stale_cells.extend(was.points().iter().map(key));
            }
        }
        changed.sort_unstable();
        changed.dedup();
        stale_cells.sort_unstable();
        stale_cells.dedup();
        Indexed {
            index: indexed.index.clone(),
            changed,
            stale_cells,
        }
    }

    fn anew(&self) -> Indexed {
        let index = Arc::new(Index::new(self.version, &self.stock));
        let mut newest = self.workshop.newest.lock().expect(POISON);
        if newest.version < index.version {
            *newest = index.clone();
        }
        Indexed {
            index,
            changed: Vec::new(),
            stale_cells: Vec::new(),
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
            true => tile::draw(
                layer,
                self.prepared(layer),
                address,
                (look, &Sight::of(look.reach, self)),
            ),
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

    /// Whether a tile is drawn in well under a millisecond: the index is at hand, and few things lie in it.
    pub fn is_light_tile(&self, layer: Layer, [zoom, x, y]: [u32; 3]) -> bool {
        const N_FEW: usize = 4096;
        let address = u8::try_from(zoom).ok().map(|zoom| TileAddress::new(zoom, x, y));
        let (false, true, 13.., Some(Ok(address))) = (layer.is_prepared(), self.is_indexed(), zoom, address)
        else {
            return false;
        };
        let indexed = self.indexed();
        let index = indexed.index.kind(layer.kind().index());
        let n = index.map_or(0, |index| {
            let extent = address.degrees(tile::MARGIN as u32);
            let mut n = index.points.at_most(extent);
            index.shapes.bbox(extent, |_| n += 1);
            n
        });
        n + indexed.changed.len() <= N_FEW
    }

    /// TileJSON 3.0.0 of tiles with these layers; tile addresses start with `base` (scheme and host without a slash at
    /// the end; empty for addresses relative to the host). For who is of a division or of departments the bounds are
    /// those of what is seen; of layers of the background (divisions, water, roads, places …) everybody sees all
    /// divisions'.
    pub fn tilejson(&self, layers: &[Layer], base: &str, reach: &Reach) -> serde_json::Value {
        let sight = Sight::of(reach, self);
        let mut sources: Vec<&str> = Vec::new();
        for layer in layers.iter().filter(|layer| layer.is_prepared()) {
            let items = self.prepared(*layer).items.iter();
            for item in items.filter(|item| sight.covers_owner(item.owner)) {
                let source = item.source.as_str();
                if !source.is_empty() && !sources.contains(&source) && sources.len() < N_MOST_SOURCES {
                    sources.push(source);
                }
            }
        }
        let extent = |layer: &Layer| {
            let is_background = layer.is_prepared() && *layer != Layer::Devices;
            match (sight.is_whole(), is_background) {
                (true, _) => self.layer_extent(*layer),
                (false, true) if reach.departments.is_empty() => self.layer_extent(*layer),
                (false, true) => self.extent_of(*layer, |thing| sight.covers_owner(thing.owner)),
                (false, false) => self.extent_of(*layer, |thing| sight.covers(self, thing)),
            }
        };
        let extents = layers.iter().filter_map(extent);
        let bounds = extents.reduce(|a, b| {
            let [west, south] = [a[0].min(b[0]), a[1].min(b[1])];
            [west, south, a[2].max(b[2]), a[3].max(b[3])]
        });
        Layer::tilejson(layers, base, bounds, &sources)
    }

    /// West, south, east, north of all that a layer holds, in degrees; `None` when it is empty.
    pub fn layer_extent(&self, layer: Layer) -> Option<[f64; 4]> {
        if layer.is_prepared() {
            return self.prepared(layer).extent.map(|extent| extent.degrees());
        }
        self.extent_of(layer, |_| true)
    }

    fn extent_of(&self, layer: Layer, takes: impl Fn(&Thing) -> bool) -> Option<[f64; 4]> {
        let drawn = self
            .stock
            .iter()
            .filter(|(_, thing)| layer.shows(&thing.kind) && !thing.is_retired() && takes(thing));
        let extents = drawn.filter_map(|(_, thing)| thing.footprint.extent());
        Extent::around(extents.flat_map(|e| [e.min, e.max])).map(|extent| extent.degrees())
    }

    fn all_divisions(&self) -> &Divisions {
        self.divisions.get_or_init(|| {
            let kind = ThingKind::Entity(EntityKind::Division);
            let divisions = self.stock.iter().filter(|(_, thing)| thing.kind == kind);
            let areas = divisions.filter_map(|(_, thing)| {
                let Footprint::Shape(shape) = &thing.footprint else {
                    return None;
                };
                match &**shape {
                    Shape::Polygons(polygons) => {
                        Some((DivisionCode::new(&thing.code).ok()?, polygons.as_slice()))
                    }
                    _ => None,
                }
            });
            Arc::new(Divisions::of(areas.collect()))
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
