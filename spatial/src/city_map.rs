//! The map of one city: a projection of the register's entities and devices.

use std::sync::{Arc, OnceLock};

use onemap_model::{
    Device, DeviceId, DeviceState, DivisionCode, Entity, EntityCode, EntityKind, EntityRef, Owner, Position,
    Reach, Stratum,
};

use crate::city_view::{CityView, N_WAITS, Shared, Workshop, n_one_by_one};
use crate::coordinates::Vertex;
use crate::geometry::{GeometryError, Shape};
use crate::index::Change;
use crate::layer::Layer;
use crate::mercator::MercatorBox;
use crate::mvt::{Property, Value};
use crate::prepared_layer::{MapItem, label_point};
use crate::sight::PackedOwner;
use crate::stock::{CodeTable, Stock};
use crate::terms::{NO_TERM, Terms};
use crate::thing::{Card, Footprint, Number, PackedDivision, Thing, ThingKind, Traits};
use crate::tile::{Tile, TileError};
use crate::touched::Touched;

/// Changes after which those that are in the index are forgotten.
const N_LOG: usize = 1024;

/// Every entity and device of the city by its place, for questions of "where" and for tiles.
///
/// Changes are cheap: a change notes what it changed, and the index is made anew by who asks, when
/// enough has changed. [`CityMap::view`] gives what is there now to readers that hold no lock; changes
/// after that do not reach it. Names and other attributes are not kept: they are read in the register
/// where they are shown.
#[derive(Debug, Default)]
pub struct CityMap {
    version: u64,
    stock: Stock,
    codes: CodeTable,
    free: Vec<Number>,
    terms: Arc<Terms>,
    departments: Arc<Terms>,
    /// What changed, one for each version after `logged_from`; no more than an index may lag behind.
    log: Vec<Change>,
    logged_from: u64,
    workshop: Arc<Workshop>,
    divisions: Shared<crate::divisions::Divisions>,
    layers: [Shared<crate::prepared_layer::PreparedLayer>; Layer::ALL.len()],
    layer_versions: [u64; Layer::ALL.len()],
    touched: [Arc<Touched>; Layer::ALL.len()],
    moving: Arc<crate::moving_places::MovingPlaces>,
    standing: Arc<crate::standing::Standing>,
    view: OnceLock<Arc<CityView>>,
}

impl Clone for CityMap {
    /// Shares everything that is there; the two maps change apart from one another, but for where devices move.
    fn clone(&self) -> Self {
        Self {
            version: self.version,
            stock: self.stock.clone(),
            codes: self.codes.clone(),
            free: self.free.clone(),
            terms: self.terms.clone(),
            departments: self.departments.clone(),
            log: self.log.clone(),
            logged_from: self.logged_from,
            workshop: Arc::new(Workshop::beginning_with(self.workshop.newest())),
            divisions: self.divisions.clone(),
            layers: self.layers.clone(),
            layer_versions: self.layer_versions,
            touched: self.touched.clone(),
            moving: self.moving.clone(),
            standing: self.standing.clone(),
            view: OnceLock::new(),
        }
    }
}

impl CityMap {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts the changes since the map was made.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The version at which something of a layer last changed, whether it is drawn or not.
    pub fn layer_version(&self, layer: Layer) -> u64 {
        self.layer_versions[layer as usize]
    }

    /// What is on the map now, to be read without the map.
    pub fn view(&self) -> Arc<CityView> {
        let make = || {
            let newest = self.workshop.newest();
            let n_known = newest.version.saturating_sub(self.logged_from) as usize;
            Arc::new(CityView {
                version: self.version,
                stock: self.stock.clone(),
                terms: self.terms.clone(),
                departments: self.departments.clone(),
                changes: self.log[n_known.min(self.log.len())..].to_vec(),
                workshop: self.workshop.clone(),
                indexed: OnceLock::new(),
                divisions: self.divisions.clone(),
                layers: self.layers.clone(),
                layer_versions: self.layer_versions,
                touched: self.touched.clone(),
                moving: self.moving.clone(),
                standing: self.standing.clone(),
            })
        };
        self.view.get_or_init(make).clone()
    }

    /// Adds or replaces an entity. Persons are checked and never kept. An entity without a geometry has
    /// a code and no place.
    ///
    /// # Errors
    /// [`GeometryError`] when the geometry cannot be used for its kind; the map is then unchanged.
    pub fn put_entity(&mut self, entity: &Entity) -> Result<(), GeometryError> {
        self.put_entity_with(entity, None)
    }

    /// The same with what the register has written of it, from which answers and tiles take its name.
    ///
    /// # Errors
    /// As [`CityMap::put_entity`].
    pub fn put_entity_with(&mut self, entity: &Entity, card: Option<Card>) -> Result<(), GeometryError> {
        if entity.kind != EntityKind::Person {
            let own = EntityRef {
                kind: entity.kind.clone(),
                code: entity.code.clone(),
            };
            self.rename(&own, entity.former.iter().map(|former| &former.code));
        }
        let layer = Layer::of(&entity.kind);
        let prepared = layer.filter(|layer| layer.is_prepared());
        if entity.geometry.is_null() && prepared.is_none() {
            self.put(self.thing(entity, card, Footprint::Nowhere, Traits::default()));
            return Ok(());
        }
        let shape = Shape::parse(&entity.geometry)?;
        if entity.kind == EntityKind::Person {
            return Ok(());
        }
        let mut traits = Traits {
            z_range_m: entity.z_range_m,
            valid_from: entity.valid_from,
            valid_to: entity.valid_to,
            ..Traits::default()
        };
        let shape = Arc::new(shape);
        if let Some(layer) = prepared {
            let drawn = fitting(layer, &shape)?;
            let item = if layer == Layer::Divisions {
                let code = DivisionCode::new(&entity.code).map_err(|_| GeometryError::DivisionCode {
                    code: entity.code.chars().take(32).collect(),
                })?;
                division_item(entity, &code, drawn)
            } else {
                let owner = self.owner(entity.kind.owner(&entity.department));
                thing_item(layer, entity, drawn, owner)
            };
            traits.item = Some(Arc::new(item));
        }
        let footprint = match &*shape {
            Shape::Points(points) if points.len() == 1 => Footprint::Point(points[0]),
            _ => Footprint::Shape(shape),
        };
        self.put(self.thing(entity, card, footprint, traits));
        Ok(())
    }

    pub(crate) fn moving_places(&self) -> &crate::moving_places::MovingPlaces {
        &self.moving
    }

    pub(crate) fn standing(&self) -> &crate::standing::Standing {
        &self.standing
    }

    /// To be changed; the next view has it as it is then.
    pub(crate) fn standing_mut(&mut self) -> &mut crate::standing::Standing {
        self.view = OnceLock::new();
        Arc::make_mut(&mut self.standing)
    }

    pub(crate) fn number_of(&self, kind: &ThingKind, code: &str) -> Option<Number> {
        self.codes.find(&self.stock, kind, code)
    }

    /// The division of a thing: as stated, else as found from its geometry. None when it has neither, or is not on
    /// the map.
    pub fn division_of(&self, kind: &ThingKind, code: &str) -> Option<DivisionCode> {
        let thing = self.stock.get(self.codes.find(&self.stock, kind, code)?)?;
        self.view().division_of(thing).code()
    }

    /// Takes an entity off the map; `false` when it was not there.
    pub fn remove_entity(&mut self, kind: &EntityKind, code: &str) -> bool {
        let kind = ThingKind::Entity(kind.clone());
        self.note_number(&kind, &code.into(), None);
        let Some(number) = self.codes.remove(&self.stock, &kind, code) else {
            return false;
        };
        self.version += 1;
        let was = self.was(number);
        self.stock.set(number, None);
        self.free.push(number);
        self.changed(&kind, Change { number, was });
        true
    }

    /// Adds or replaces a device. A retired device is found by its box and division, is not drawn and stands on nothing.
    pub fn put_device(&mut self, device: &Device) {
        let position = device.position.as_ref().map(Vertex::of);
        let retired = device.state == DeviceState::Retired;
        self.stand(&device.id, device.entity.as_ref().filter(|_| !retired));
        let item = position.filter(|_| !retired).map(|v| {
            let mut properties = vec![
                ("id", Value::Text(device.id.to_string())),
                ("name", Value::Text(device.name.clone())),
                ("kind", Value::Text(device.kind.to_string())),
            ];
            push_text(&mut properties, "name_en", &device.name_en);
            Arc::new(MapItem {
                shape: Arc::new(Shape::Points(vec![v])),
                properties,
                min_zoom: 0,
                rank: 0,
                source: String::new(),
                validity: [None, None],
                owner: self.owner(Owner::Department(&device.department)),
            })
        });
        let height = device.position.and_then(|position| position.height_m());
        let traits = Traits {
            z_range_m: height.map(|height| [height, height]),
            item,
            ..Traits::default()
        };
        self.put(Thing {
            code: EntityCode::from(device.id.as_str()),
            card: None,
            footprint: position.map_or(Footprint::Nowhere, Footprint::Point),
            traits: traits.boxed(),
            division: device
                .division
                .as_ref()
                .map_or(PackedDivision::NONE, PackedDivision::of),
            class: self.terms.number(&device.kind),
            owner: self.owner(Owner::Department(&device.department)),
            kind: ThingKind::Device,
            stratum: (!retired).then_some(Stratum::Surface),
        });
    }

    /// See [`CityView::locate`].
    pub fn locate(&self, position: &Position) -> Option<DivisionCode> {
        self.view().locate(position)
    }

    /// See [`CityView::divisions_at`].
    pub fn divisions_at(&self, position: &Position) -> Vec<DivisionCode> {
        self.view().divisions_at(position)
    }

    /// See [`CityView::devices_in_bbox`].
    pub fn devices_in_bbox(&self, bbox: [f64; 4]) -> Vec<DeviceId> {
        self.view().devices_in_bbox(bbox)
    }

    /// See [`CityView::devices_in_division`].
    pub fn devices_in_division(&self, division: &DivisionCode) -> Vec<DeviceId> {
        self.view().devices_in_division(division)
    }

    /// One vector tile as somebody sees it who may see everything; `None` when it is empty.
    ///
    /// # Errors
    /// [`TileError`] when there is no tile of that address.
    pub fn tile(&self, layer: Layer, zoom: u8, x: u32, y: u32) -> Result<Option<Tile>, TileError> {
        self.view()
            .tile(layer, [u32::from(zoom), x, y], &crate::tile::Look::default())
    }

    /// See [`CityView::tilejson`]; of the whole city.
    pub fn tilejson(&self, layer: Layer, base: &str) -> serde_json::Value {
        self.view().tilejson(&[layer], base, &Reach::default())
    }

    /// See [`CityView::layer_extent`].
    pub fn layer_extent(&self, layer: Layer) -> Option<[f64; 4]> {
        self.view().layer_extent(layer)
    }

    fn thing(&self, entity: &Entity, card: Option<Card>, footprint: Footprint, traits: Traits) -> Thing {
        let class = entity.class.as_ref().map(|class| class.as_str());
        let class = class.or_else(|| entity.attributes.get("class")?.as_str());
        let mut division = entity
            .division
            .as_ref()
            .map_or(PackedDivision::NONE, PackedDivision::of);
        if entity.kind == EntityKind::Division
            && let Ok(own) = DivisionCode::new(&entity.code)
        {
            division = PackedDivision::of(&own);
        }
        let traits = Traits {
            z_range_m: entity.z_range_m,
            valid_from: entity.valid_from,
            valid_to: entity.valid_to,
            ..traits
        };
        Thing {
            code: entity.code.clone(),
            card,
            footprint,
            traits: traits.boxed(),
            division,
            class: class.map_or(NO_TERM, |class| self.terms.number(class)),
            owner: self.owner(entity.kind.owner(&entity.department)),
            kind: ThingKind::Entity(entity.kind.clone()),
            stratum: Some(entity.stratum),
        }
    }

    fn owner(&self, owner: Owner<'_>) -> PackedOwner {
        PackedOwner::of(owner, &self.departments)
    }

    fn put(&mut self, thing: Thing) {
        let (kind, known) = (
            thing.kind.clone(),
            self.codes.find(&self.stock, &thing.kind, &thing.code),
        );
        self.version += 1;
        if let Some(number) = known {
            let was = self.was(number);
            self.note_number(&kind, &thing.code, Some(number));
            self.stock.set(number, Some(thing));
            return self.changed(&kind, Change { number, was });
        }
        let number = self.free.pop().unwrap_or(self.stock.n_numbers());
        let code = thing.code.clone();
        self.stock.set(number, Some(thing));
        self.codes.add(&self.stock, &kind, &code, number);
        self.note_number(&kind, &code, Some(number));
        self.changed(&kind, Change { number, was: None });
    }

    /// What a thing is before it changes; its tiles change with it.
    fn was(&mut self, number: Number) -> Option<(ThingKind, Footprint)> {
        self.note(number);
        let thing = self.stock.get(number)?;
        Some((thing.kind.clone(), thing.footprint.clone()))
    }

    /// The tiles that show a thing as it is now are others from this version on.
    fn note(&mut self, number: Number) {
        let Some(thing) = self.stock.get(number) else {
            return;
        };
        let Some(extent) = thing.footprint.extent() else {
            return;
        };
        for layer in Layer::all_of(&thing.kind) {
            if !layer.is_prepared() {
                Arc::make_mut(&mut self.touched[layer as usize])
                    .mark(&MercatorBox::around(&extent), self.version);
            }
        }
    }

    fn changed(&mut self, kind: &ThingKind, change: Change) {
        self.note(change.number);
        if self.log.len() >= N_LOG && self.log.len().is_multiple_of(N_LOG) {
            let known = self.workshop.newest().version.saturating_sub(self.logged_from) as usize;
            let mut known = known.min(self.log.len());
            if self.log.len() - known > N_WAITS * n_one_by_one(&self.stock) {
                // So many that whoever asks makes a new index: an import keeps no list of all that it brings.
                known = self.log.len();
            }
            self.log.drain(..known);
            self.logged_from += known as u64;
        }
        self.log.push(change);
        for layer in Layer::all_of(kind) {
            self.layer_versions[layer as usize] = self.version;
            self.layers[layer as usize] = Shared::default();
        }
        if *kind == ThingKind::Entity(EntityKind::Division) {
            self.divisions = Shared::default();
        }
        self.view = OnceLock::new();
    }
}

/// What a layer shows of a shape; refuses shapes that it cannot show. A place given by its area is
/// shown by a point in it.
fn fitting(layer: Layer, shape: &Arc<Shape>) -> Result<Arc<Shape>, GeometryError> {
    let wanted = match (layer, &**shape) {
        (Layer::Divisions | Layer::Grids, Shape::Polygons(_)) => return Ok(shape.clone()),
        (Layer::Divisions | Layer::Grids, _) => "Polygon or MultiPolygon",
        (Layer::Water | Layer::Reaches, Shape::Lines(_) | Shape::Polygons(_)) => return Ok(shape.clone()),
        (Layer::Water | Layer::Reaches, _) => "LineString, Polygon or a Multi of these",
        (Layer::Roads, Shape::Lines(_)) => return Ok(shape.clone()),
        (Layer::Roads, _) => "LineString or MultiLineString",
        (_, Shape::Points(_)) => return Ok(shape.clone()),
        (_, Shape::Polygons(polygons)) => {
            let point = label_point(polygons).ok_or(GeometryError::Empty)?;
            return Ok(Arc::new(Shape::Points(vec![point])));
        }
        (_, Shape::Lines(_)) => "Point, Polygon or a Multi of these",
    };
    let found = shape.type_name().to_owned();
    Err(GeometryError::Type { found, wanted })
}

fn push_text(properties: &mut Vec<Property>, key: &'static str, text: &str) {
    if !text.is_empty() {
        properties.push((key, Value::Text(text.to_owned())));
    }
}

fn division_item(entity: &Entity, code: &DivisionCode, shape: Arc<Shape>) -> MapItem {
    let n_digits = code.prefix().len();
    let (level, min_zoom) = match n_digits {
        ..=2 => ("province", 0),
        3..=4 => ("city", 0),
        5..=6 => ("district", 0),
        7..=9 => ("street", 9),
        10..=12 => ("community", 11),
        _ => ("grid", 13),
    };
    let mut properties = vec![
        ("code", Value::Text(entity.code.to_string())),
        ("name", Value::Text(entity.name.clone())),
    ];
    push_text(&mut properties, "name_en", &entity.name_en);
    properties.push(("level", Value::Text(level.to_owned())));
    MapItem {
        shape,
        properties,
        min_zoom,
        rank: n_digits as u64,
        source: entity.source.clone(),
        validity: [entity.valid_from, entity.valid_to],
        owner: PackedOwner::GROUND,
    }
}

fn thing_item(layer: Layer, entity: &Entity, shape: Arc<Shape>, owner: PackedOwner) -> MapItem {
    /// Rank of things whose source gives none.
    const PLAIN: u64 = 5;
    let attribute = |key: &str| entity.attributes.get(key);
    // A sheet's numbers come as texts.
    let number = |value: &serde_json::Value| {
        value
            .as_u64()
            .or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()))
    };
    let rank = attribute("rank").and_then(number).unwrap_or(PLAIN);
    let mut properties = Vec::new();
    if !matches!(layer, Layer::Water | Layer::Roads) {
        push_text(&mut properties, "code", &entity.code);
    }
    push_text(&mut properties, "name", &entity.name);
    push_text(&mut properties, "name_en", &entity.name_en);
    push_text(
        &mut properties,
        "class",
        attribute("class")
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default(),
    );
    properties.push(("rank", Value::Number(rank)));
    MapItem {
        shape,
        properties,
        min_zoom: layer.zoom_of_rank(rank),
        rank,
        source: entity.source.clone(),
        validity: [entity.valid_from, entity.valid_to],
        owner,
    }
}
