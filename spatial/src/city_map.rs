//! The map of one city: a projection of the register's entities and devices.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use onemap_model::{Device, DeviceId, DeviceState, DivisionCode, Entity, EntityCode, EntityKind, Position};

use crate::area::Area;
use crate::coordinates::{Extent, Vertex};
use crate::divisions::DivisionIndex;
use crate::geometry::{GeometryError, Shape};
use crate::layer::Layer;
use crate::mvt::{Property, Value};
use crate::points::PointIndex;
use crate::prepared_layer::{MapItem, PreparedLayer, label_point};
use crate::tile::{self, Tile, TileAddress, TileError};

/// Sources named in one layer's attribution.
const N_MOST_SOURCES: usize = 8;

/// Entities and devices with the indexes that answer "where" and draw tiles.
///
/// Changes are cheap; indexes are made anew at the first question after a change, for the part that
/// changed only. Cloning shares everything, so a new map may be made beside one that is in use.
#[derive(Clone, Debug, Default)]
pub struct CityMap {
    version: u64,
    divisions: BTreeMap<DivisionCode, Arc<Area>>,
    items: BTreeMap<(EntityKind, EntityCode), Arc<MapItem>>,
    devices: BTreeMap<DeviceId, Arc<MapDevice>>,
    division_index: OnceLock<Arc<DivisionIndex>>,
    device_index: OnceLock<Arc<DeviceIndex>>,
    layers: [OnceLock<Arc<PreparedLayer>>; Layer::ALL.len()],
}

#[derive(Debug)]
struct MapDevice {
    position: Option<Vertex>,
    stated: Option<DivisionCode>,
    /// Drawn on the map: `None` when it has no position or is retired.
    item: Option<Arc<MapItem>>,
}

#[derive(Debug)]
struct DeviceIndex {
    /// In the order of ids, with the division each stands in.
    devices: Vec<(DeviceId, Option<DivisionCode>)>,
    points: PointIndex,
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

    /// Adds or replaces an entity. Divisions, water, roads and places are drawn; the geometry of other
    /// kinds is checked when there is one, and not kept.
    ///
    /// # Errors
    /// [`GeometryError`] when the geometry cannot be used for its kind; the map is then unchanged.
    pub fn put_entity(&mut self, entity: &Entity) -> Result<(), GeometryError> {
        let Some(layer) = Layer::of(&entity.kind) else {
            if !entity.geometry.is_null() {
                Shape::parse(&entity.geometry)?;
            }
            self.version += 1;
            return Ok(());
        };
        let shape = fitting(layer, Shape::parse(&entity.geometry)?)?;
        let item = if layer == Layer::Divisions {
            let code = DivisionCode::new(&entity.code).map_err(|_| GeometryError::DivisionCode {
                code: entity.code.chars().take(32).collect(),
            })?;
            let item = division_item(entity, &code, shape);
            if let Shape::Polygons(polygons) = &item.shape {
                let area = Area::new(polygons).ok_or(GeometryError::Empty)?;
                self.divisions.insert(code, Arc::new(area));
            }
            item
        } else {
            thing_item(layer, entity, shape)
        };
        self.items
            .insert((entity.kind.clone(), entity.code.clone()), Arc::new(item));
        self.changed(layer);
        Ok(())
    }

    /// Takes an entity off the map; `false` when it was not there.
    pub fn remove_entity(&mut self, kind: &EntityKind, code: &str) -> bool {
        let Some(layer) = Layer::of(kind) else {
            return false;
        };
        if self.items.remove(&(kind.clone(), code.into())).is_none() {
            return false;
        }
        if let (Layer::Divisions, Ok(code)) = (layer, DivisionCode::new(code)) {
            self.divisions.remove(&code);
        }
        self.changed(layer);
        true
    }

    /// Adds or replaces a device. A retired device is found by its box and division, and not drawn.
    pub fn put_device(&mut self, device: &Device) {
        let position = device.position.as_ref().map(Vertex::of);
        let drawn = position.filter(|_| device.state != DeviceState::Retired);
        let item = drawn.map(|v| {
            let mut properties = vec![
                ("id", Value::Text(device.id.to_string())),
                ("name", Value::Text(device.name.clone())),
                ("kind", Value::Text(device.kind.to_string())),
            ];
            push_text(&mut properties, "name_en", &device.name_en);
            Arc::new(MapItem {
                shape: Shape::Points(vec![v]),
                properties,
                min_zoom: 0,
                rank: 0,
                source: String::new(),
            })
        });
        let stated = device.division.clone();
        let device_on_map = MapDevice {
            position,
            stated,
            item,
        };
        self.devices.insert(device.id.clone(), Arc::new(device_on_map));
        self.changed(Layer::Devices);
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
        let index = self.device_index();
        let mut found: Vec<u32> = Vec::new();
        for (west, east) in boxes {
            if let (Some(min), Some(max)) = (vertex(west, south), vertex(east, north)) {
                found.extend(index.points.within(Extent { min, max }).map(|(_, device)| device));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
            .into_iter()
            .map(|i| index.devices[i as usize].0.clone())
            .collect()
    }

    /// Devices of a division and of all divisions inside it, by id: as stated by the owner, else by
    /// position.
    pub fn devices_in_division(&self, division: &DivisionCode) -> Vec<DeviceId> {
        let inside = |own: &Option<DivisionCode>| own.as_ref().is_some_and(|own| division.covers(own));
        let devices = &self.device_index().devices;
        devices
            .iter()
            .filter(|(_, own)| inside(own))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// One vector tile; `None` when it is empty.
    ///
    /// # Errors
    /// [`TileError`] when there is no tile of that address.
    pub fn tile(&self, layer: Layer, zoom: u8, x: u32, y: u32) -> Result<Option<Tile>, TileError> {
        let address = TileAddress::new(zoom, x, y)?;
        Ok(tile::draw(layer, self.prepared(layer), address))
    }

    /// TileJSON 3.0.0 of a layer; tile addresses start with `base` (scheme and host without a slash at
    /// the end; empty for addresses relative to the host).
    pub fn tilejson(&self, layer: Layer, base: &str) -> serde_json::Value {
        let prepared = self.prepared(layer);
        let mut sources: Vec<&str> = Vec::new();
        for item in &prepared.items {
            let source = item.source.as_str();
            if !source.is_empty() && !sources.contains(&source) && sources.len() < N_MOST_SOURCES {
                sources.push(source);
            }
        }
        layer.tilejson(base, self.layer_extent(layer), &sources)
    }

    /// West, south, east, north of all that a layer holds, in degrees; `None` when it is empty.
    pub fn layer_extent(&self, layer: Layer) -> Option<[f64; 4]> {
        self.prepared(layer).extent.map(|extent| extent.degrees())
    }

    fn changed(&mut self, layer: Layer) {
        self.version += 1;
        self.layers[layer as usize] = OnceLock::new();
        if layer == Layer::Divisions {
            self.division_index = OnceLock::new();
        }
        if matches!(layer, Layer::Divisions | Layer::Devices) {
            self.device_index = OnceLock::new();
        }
    }

    fn division_index(&self) -> &DivisionIndex {
        self.division_index.get_or_init(|| {
            let divisions = self.divisions.iter();
            Arc::new(DivisionIndex::new(
                divisions
                    .map(|(code, area)| (code.clone(), area.clone()))
                    .collect(),
            ))
        })
    }

    fn device_index(&self) -> &DeviceIndex {
        self.device_index.get_or_init(|| {
            let divisions = self.division_index();
            let division = |device: &MapDevice| {
                let found = || device.position.and_then(|v| divisions.at(v).next().cloned());
                device.stated.clone().or_else(found)
            };
            let devices = self
                .devices
                .iter()
                .map(|(id, device)| (id.clone(), division(device)))
                .collect();
            let points = (0u32..)
                .zip(self.devices.values())
                .filter_map(|(i, d)| Some((d.position?, i)));
            Arc::new(DeviceIndex {
                devices,
                points: PointIndex::new(points),
            })
        })
    }

    fn prepared(&self, layer: Layer) -> &PreparedLayer {
        self.layers[layer as usize].get_or_init(|| {
            let items: Vec<Arc<MapItem>> = match layer {
                Layer::Devices => self
                    .devices
                    .values()
                    .filter_map(|device| device.item.clone())
                    .collect(),
                _ => {
                    let of_layer = self
                        .items
                        .iter()
                        .filter(|((kind, _), _)| Layer::of(kind) == Some(layer));
                    of_layer.map(|(_, item)| item.clone()).collect()
                }
            };
            Arc::new(PreparedLayer::new(items, layer == Layer::Divisions))
        })
    }
}

/// Refuses shapes that a layer cannot show; a place given by its area is shown by a point in it.
fn fitting(layer: Layer, shape: Shape) -> Result<Shape, GeometryError> {
    let wanted = match (layer, &shape) {
        (Layer::Divisions, Shape::Polygons(_)) => return Ok(shape),
        (Layer::Divisions, _) => "Polygon or MultiPolygon",
        (Layer::Water, Shape::Lines(_) | Shape::Polygons(_)) => return Ok(shape),
        (Layer::Water, _) => "LineString, Polygon or a Multi of these",
        (Layer::Roads, Shape::Lines(_)) => return Ok(shape),
        (Layer::Roads, _) => "LineString or MultiLineString",
        (_, Shape::Points(_)) => return Ok(shape),
        (_, Shape::Polygons(polygons)) => {
            let point = label_point(polygons).ok_or(GeometryError::Empty)?;
            return Ok(Shape::Points(vec![point]));
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

fn division_item(entity: &Entity, code: &DivisionCode, shape: Shape) -> MapItem {
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
    }
}

fn thing_item(layer: Layer, entity: &Entity, shape: Shape) -> MapItem {
    /// Rank of things whose source gives none.
    const PLAIN: u64 = 5;
    let attribute = |key: &str| entity.attributes.get(key);
    let rank = attribute("rank")
        .and_then(serde_json::Value::as_u64)
        .unwrap_or(PLAIN);
    let mut properties = Vec::new();
    if layer == Layer::Places {
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
    }
}
