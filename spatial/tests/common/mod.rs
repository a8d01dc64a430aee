//! Reads demo files into a map, and tiles back into shapes by a decoder of its own (it shares nothing
//! with the encoder).
#![allow(clippy::unwrap_used, dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use geo::{LineString, MultiPolygon, Polygon};
use onemap_model::Entity;
use onemap_spatial::CityMap;
use serde_json::Value;

pub(crate) fn demo_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../simulators/city")
        .join(name)
}

/// The features of a GeoJSON file as entities; `kind` for files that do not name one.
pub(crate) fn entities(path: &Path, kind: &str) -> Vec<Entity> {
    let text = std::fs::read_to_string(path).unwrap();
    let collection: Value = serde_json::from_str(&text).unwrap();
    let entity = |feature: &Value| {
        let mut fields = feature["properties"].as_object().unwrap().clone();
        if let Some(adcode) = fields.remove("adcode") {
            let code = adcode.as_str().map_or_else(|| adcode.to_string(), str::to_owned);
            fields = serde_json::Map::from_iter([
                ("code".to_owned(), Value::String(code)),
                ("name".to_owned(), fields["name"].clone()),
                ("kind".to_owned(), Value::String(kind.to_owned())),
            ]);
        }
        fields.insert("geometry".to_owned(), feature["geometry"].clone());
        serde_json::from_value(Value::Object(fields)).unwrap()
    };
    collection["features"]
        .as_array()
        .unwrap()
        .iter()
        .map(entity)
        .collect()
}

pub(crate) fn demo_city() -> CityMap {
    let mut map = CityMap::new();
    for name in ["divisions", "water", "roads", "places"] {
        for entity in entities(&demo_file(&format!("{name}.geojson")), "") {
            map.put_entity(&entity)
                .unwrap_or_else(|e| panic!("{name} {}: {e}", entity.code));
        }
    }
    map
}

/// Seven real district polygons, from the folder that ONEMAP_SHARED names; they may not be shipped.
pub(crate) fn real_districts() -> Option<PathBuf> {
    let folder = std::env::var_os("ONEMAP_SHARED").map(PathBuf::from);
    let path = folder
        .map(|f| f.join("data/xining-admin/districts_wgs84.geojson"))
        .filter(|p| p.exists());
    if path.is_none() {
        eprintln!(
            "SKIPPED the part with real district polygons: ONEMAP_SHARED does not name a folder with them"
        );
    }
    path
}

/// Tiles of a zoom that a box (west, south, east, north) touches.
pub(crate) fn tiles_over([west, south, east, north]: [f64; 4], zoom: u8) -> Vec<(u32, u32)> {
    let n = f64::from(1u32 << zoom);
    let column = |lon: f64| ((lon + 180.0) / 360.0 * n) as u32;
    let row = |lat: f64| ((1.0 - lat.to_radians().tan().asinh() / std::f64::consts::PI) / 2.0 * n) as u32;
    (column(west)..=column(east))
        .flat_map(|x| (row(north)..=row(south)).map(move |y| (x, y)))
        .collect()
}

pub(crate) struct Feature {
    pub(crate) kind: u64,
    pub(crate) properties: BTreeMap<String, String>,
    /// Points, lines or rings in tile units.
    pub(crate) paths: Vec<Vec<[i64; 2]>>,
}

impl Feature {
    /// Rings put together as the specification says: a ring of positive area begins a polygon.
    pub(crate) fn polygons(&self) -> MultiPolygon<f64> {
        assert_eq!(self.kind, 3);
        let mut polygons: Vec<Polygon<f64>> = Vec::new();
        for ring in &self.paths {
            let line = LineString::from_iter(ring.iter().map(|p| (p[0] as f64, p[1] as f64)));
            match doubled_area(ring) {
                0 => panic!("a ring of no area"),
                1.. => polygons.push(Polygon::new(line, vec![])),
                _ => polygons
                    .last_mut()
                    .expect("an outer ring first")
                    .interiors_push(line),
            }
        }
        MultiPolygon(polygons)
    }

    pub(crate) fn doubled_area(&self) -> i64 {
        self.paths.iter().map(|ring| doubled_area(ring)).sum()
    }
}

fn doubled_area(ring: &[[i64; 2]]) -> i64 {
    let next = ring.iter().cycle().skip(1);
    ring.iter()
        .zip(next)
        .map(|(a, b)| a[0] * b[1] - b[0] * a[1])
        .sum()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn varint(&mut self) -> u64 {
        let mut n = 0;
        for shift in (0..).step_by(7) {
            let byte = self.0[0];
            self.0 = &self.0[1..];
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        n
    }

    /// The next field: its tag, and its bytes or its number.
    fn field(&mut self) -> Option<(u64, Reader<'a>, u64)> {
        if self.0.is_empty() {
            return None;
        }
        let key = self.varint();
        match key & 7 {
            0 => Some((key >> 3, Reader(&[]), self.varint())),
            2 => {
                let length = self.varint() as usize;
                let (bytes, rest) = self.0.split_at(length);
                self.0 = rest;
                Some((key >> 3, Reader(bytes), 0))
            }
            wire_type => panic!("wire type {wire_type}"),
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.to_vec()).unwrap()
    }
}

/// Layers of a tile by name.
pub(crate) fn decode(bytes: &[u8]) -> BTreeMap<String, Vec<Feature>> {
    let mut tile = Reader(bytes);
    let mut layers = BTreeMap::new();
    while let Some((3, mut layer, _)) = tile.field() {
        let (mut name, mut keys, mut values, mut raw) = (String::new(), vec![], vec![], vec![]);
        while let Some((tag, mut field, number)) = layer.field() {
            match tag {
                1 => name = field.text(),
                2 => raw.push(field),
                3 => keys.push(field.text()),
                4 => match field.field().unwrap() {
                    (1, text, _) => values.push(text.text()),
                    (5, _, n) => values.push(n.to_string()),
                    (tag, ..) => panic!("value of type {tag}"),
                },
                5 => assert_eq!(number, 4096),
                15 => assert_eq!(number, 2),
                _ => panic!("layer field {tag}"),
            }
        }
        let features = raw
            .into_iter()
            .map(|field| feature(field, &keys, &values))
            .collect();
        assert!(layers.insert(name, features).is_none(), "a layer twice");
    }
    layers
}

fn feature(mut field: Reader<'_>, keys: &[String], values: &[String]) -> Feature {
    let mut out = Feature {
        kind: 0,
        properties: BTreeMap::new(),
        paths: vec![],
    };
    while let Some((tag, mut part, number)) = field.field() {
        match tag {
            2 => {
                while !part.0.is_empty() {
                    let (key, value) = (part.varint() as usize, part.varint() as usize);
                    out.properties.insert(keys[key].clone(), values[value].clone());
                }
            }
            3 => out.kind = number,
            4 => {
                let mut at = [0i64; 2];
                while !part.0.is_empty() {
                    let command = part.varint();
                    for _ in 0..command >> 3 {
                        if command & 7 == 7 {
                            continue;
                        }
                        for axis in &mut at {
                            let n = part.varint();
                            *axis += (n >> 1) as i64 ^ -((n & 1) as i64);
                        }
                        if command & 7 == 1 {
                            out.paths.push(vec![]);
                        }
                        out.paths.last_mut().unwrap().push(at);
                    }
                }
            }
            _ => panic!("feature field {tag}"),
        }
    }
    out
}
