//! Tiles as a foreign reader sees them: valid, without slivers, capped, each point in one tile.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use common::{decode, demo_city, entities, real_districts, tiles_over};
use geo::Validation;
use onemap_model::{Device, Entity};
use onemap_spatial::{CityMap, Layer, MAX_ZOOM, TileError};
use serde_json::{Value, json};

/// Draws every tile of the zooms over a layer's extent and hands over what is not empty.
fn each_tile(
    map: &CityMap,
    layer: Layer,
    zooms: std::ops::RangeInclusive<u8>,
    mut see: impl FnMut(String, &[u8]),
) {
    let extent = map.layer_extent(layer).unwrap();
    for zoom in zooms {
        for (x, y) in tiles_over(extent, zoom) {
            if let Some(tile) = map.tile(layer, zoom, x, y).unwrap() {
                see(format!("{zoom}-{x}-{y}"), &tile.bytes);
            }
        }
    }
}

/// Lets shapely judge a folder of tiles; says so when it cannot.
fn second_opinion(folder: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check_tiles.py");
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let output = match Command::new(python).arg(script).arg(folder).output() {
        Ok(output) if output.status.code() == Some(3) => {
            eprintln!("SKIPPED the second opinion: pip install mapbox-vector-tile shapely");
            return;
        }
        Ok(output) => output,
        Err(e) => {
            eprintln!("SKIPPED the second opinion: no python3 ({e})");
            return;
        }
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    eprintln!("shapely: {result}");
    assert_eq!(result["invalid"], json!([]));
    assert_eq!(
        result["tiles"].as_u64(),
        Some(std::fs::read_dir(folder).unwrap().count() as u64)
    );
    assert!(result["polygons"].as_u64() > Some(0));
}

#[test]
fn every_division_polygon_is_valid_and_neighbours_leave_no_sliver() {
    let mut maps = vec![(demo_city(), true)];
    if let Some(path) = real_districts() {
        let mut map = CityMap::new();
        for entity in entities(&path, "division") {
            map.put_entity(&entity).unwrap();
        }
        maps.push((map, false));
    }
    for (map, with_city) in maps {
        let folder = tempfile::tempdir().unwrap();
        let (mut n_polygons, mut n_bytes_most, mut worst, mut n_compared) = (0, 0, 0, 0);
        each_tile(&map, Layer::Divisions, 6..=14, |name, bytes| {
            std::fs::write(folder.path().join(format!("{name}.mvt")), bytes).unwrap();
            n_bytes_most = n_bytes_most.max(bytes.len());
            let layers = decode(bytes);
            let (mut city, mut districts) = (0, 0);
            for feature in layers.get("divisions").into_iter().flatten() {
                let polygons = feature.polygons();
                assert!(
                    polygons.is_valid(),
                    "{name} {:?}: {:?}",
                    feature.properties,
                    polygons.validation_errors()
                );
                n_polygons += polygons.0.len();
                match feature.properties["level"].as_str() {
                    "city" => city += feature.doubled_area(),
                    "district" => districts += feature.doubled_area(),
                    other => panic!("level {other}"),
                }
            }
            n_compared += usize::from(city > 0 && districts > 0);
            worst = worst.max((city - districts).abs() * i64::from(with_city));
        });
        eprintln!(
            "{n_polygons} polygons, largest tile {n_bytes_most} bytes, districts differ from the city by {worst}/2 units²"
        );
        assert!(n_polygons > 500 && (n_compared > 500 || !with_city));
        // Seven districts together are the city, but for vertices that the repair moved by a unit.
        assert!(worst <= 2 * 64, "{worst}");
        second_opinion(folder.path());
    }
}

#[test]
fn every_layer_of_the_demo_city_is_read_by_others() {
    let map = demo_city();
    let folder = tempfile::tempdir().unwrap();
    for (layer, kind) in [
        (Layer::Water, 2),
        (Layer::Roads, 2),
        (Layer::Places, 1),
        (Layer::Divisions, 3),
    ] {
        let mut names = BTreeSet::new();
        each_tile(&map, layer, 12..=13, |name, bytes| {
            std::fs::write(folder.path().join(format!("{layer}-{name}.mvt")), bytes).unwrap();
            for feature in decode(bytes).get(layer.name()).into_iter().flatten() {
                assert_eq!(feature.kind, kind);
                for p in feature.paths.iter().flatten().flatten() {
                    assert!((-64..=4160).contains(p), "{p}");
                }
                assert!(
                    feature
                        .paths
                        .iter()
                        .all(|path| path.windows(2).all(|w| w[0] != w[1]))
                );
                names.insert(feature.properties["name"].clone());
            }
        });
        let wanted = match layer {
            Layer::Water => "湟水河",
            Layer::Roads => "五四大街",
            Layer::Places => "西宁市",
            _ => "大通回族土族自治县",
        };
        assert!(names.contains(wanted), "{layer}: {names:?}");
    }
    second_opinion(folder.path());
}

#[test]
fn each_point_lies_in_one_tile_and_hidden_ones_are_counted() {
    let mut map = CityMap::new();
    let n_devices = 400;
    for i in 0..n_devices {
        let (lon, lat) = (
            101.70 + f64::from(i % 20) * 0.004,
            36.58 + f64::from(i / 20) * 0.003,
        );
        let device: Device = serde_json::from_value(
            json!({"id": format!("d{i}"), "name": "站", "kind": "air_station", "position": {"lon": lon, "lat": lat}}),
        )
        .unwrap();
        map.put_device(&device);
    }
    for zoom in [0, 6, 9, 12, 14, MAX_ZOOM] {
        let (mut n_shown, mut n_hidden) = (0, 0);
        for (x, y) in tiles_over(map.layer_extent(Layer::Devices).unwrap(), zoom) {
            let Some(tile) = map.tile(Layer::Devices, zoom, x, y).unwrap() else {
                continue;
            };
            let layers = decode(&tile.bytes);
            let hidden = layers["devices"]
                .iter()
                .filter_map(|f| f.properties.get("hidden"));
            let counted: usize = hidden.map(|n| n.parse::<usize>().unwrap()).sum();
            assert_eq!(counted, tile.n_hidden);
            n_hidden += counted;
            n_shown += layers["devices"].len();
        }
        assert_eq!(n_shown + n_hidden, n_devices as usize, "zoom {zoom}");
        assert!(zoom < 14 || n_hidden == 0);
        assert!(zoom > 6 || n_shown < 40);
    }
}

#[test]
fn a_crowded_tile_keeps_to_the_size_limit_and_says_what_it_left_out() {
    let mut map = CityMap::new();
    let road = |i: usize| -> Entity {
        let points: Vec<[f64; 2]> = (0..400u32)
            .map(|k| {
                [
                    101.70 + f64::from(k) * 1e-4,
                    36.60 + i as f64 * 1e-5 + f64::from(k * 7919 % 97) * 1e-4,
                ]
            })
            .collect();
        let geometry = json!({"type": "LineString", "coordinates": points});
        let attributes = json!({"rank": if i == 299 { 1 } else { 3 }});
        serde_json::from_value(
            json!({"code": format!("r{i}"), "kind": "road", "name": format!("路{i}"), "geometry": geometry, "attributes": attributes}),
        )
        .unwrap()
    };
    for i in 0..900 {
        map.put_entity(&road(i)).unwrap();
    }
    let (x, y) = tiles_over([101.72, 36.605, 101.72, 36.605], 13)[0];
    let tile = map.tile(Layer::Roads, 13, x, y).unwrap().unwrap();
    assert!(
        tile.bytes.len() <= 500_000 && tile.bytes.len() > 400_000,
        "{}",
        tile.bytes.len()
    );
    let layers = decode(&tile.bytes);
    assert!(tile.n_dropped > 0);
    assert_eq!(
        layers["roads"][0].properties["name"], "路299",
        "the most important road is kept"
    );
    // The next zoom shows less of them and drops less.
    let (x, y) = tiles_over([101.72, 36.605, 101.72, 36.605], 16)[0];
    assert_eq!(map.tile(Layer::Roads, 16, x, y).unwrap().unwrap().n_dropped, 0);
}

#[test]
fn a_tile_changes_its_etag_only_when_its_own_content_changes() {
    let mut map = demo_city();
    let at = |map: &CityMap| {
        let (x, y) = tiles_over([101.77, 36.62, 101.77, 36.62], 12)[0];
        map.tile(Layer::Places, 12, x, y).unwrap().unwrap()
    };
    let (first, version) = (at(&map), map.version());
    assert_eq!(first, at(&demo_city()));
    let place = |code: &str, lon: f64, lat: f64| -> Entity {
        let geometry = json!({"type": "Point", "coordinates": [lon, lat]});
        serde_json::from_value(
            json!({"code": code, "kind": "place", "name": "新", "geometry": geometry, "attributes": {"rank": 1}}),
        )
        .unwrap()
    };
    map.put_entity(&place("far", 101.2, 36.5)).unwrap();
    assert!(map.version() > version);
    assert_eq!(at(&map).etag, first.etag);
    map.put_entity(&place("near", 101.7702, 36.6203)).unwrap();
    assert_ne!(at(&map).etag, first.etag);
}

#[test]
fn empty_tiles_and_impossible_addresses_have_their_own_answers() {
    let map = demo_city();
    assert_eq!(map.tile(Layer::Divisions, 10, 0, 0), Ok(None));
    assert_eq!(CityMap::new().tile(Layer::Divisions, 0, 0, 0), Ok(None));
    assert_eq!(
        map.tile(Layer::Divisions, 17, 0, 0),
        Err(TileError::Zoom { zoom: 17 })
    );
    assert_eq!(
        map.tile(Layer::Water, 3, 8, 0),
        Err(TileError::Outside { zoom: 3, x: 8, y: 0 })
    );
    assert_eq!(
        map.tile(Layer::Water, 0, 0, 1),
        Err(TileError::Outside { zoom: 0, x: 0, y: 1 })
    );
    assert!(map.tile(Layer::Divisions, 0, 0, 0).unwrap().is_some());
}

#[test]
fn tilejson_names_bounds_fields_and_sources() {
    let map = demo_city();
    let doc = map.tilejson(Layer::Places, "http://127.0.0.1:8080");
    assert_eq!(doc["tilejson"], "3.0.0");
    assert_eq!(
        doc["tiles"][0],
        "http://127.0.0.1:8080/tiles/places/{z}/{x}/{y}.mvt"
    );
    assert_eq!(doc["vector_layers"][0]["fields"]["rank"], "Number");
    let attribution = doc["attribution"].as_str().unwrap();
    assert!(
        attribution.contains("GeoNames") && attribution.contains("OpenStreetMap"),
        "{attribution}"
    );
    let doc = map.tilejson(Layer::Divisions, "");
    let bounds: Vec<f64> = serde_json::from_value(doc["bounds"].clone()).unwrap();
    assert!(
        bounds[0] < 101.3 && bounds[1] < 36.5 && bounds[2] > 101.8 && bounds[3] > 37.2,
        "{bounds:?}"
    );
    assert_eq!(doc["vector_layers"][1]["id"], "division_labels");
    let mut map = CityMap::new();
    assert_eq!(map.tilejson(Layer::Water, "").get("bounds"), None);
    let geometry = json!({"type": "LineString", "coordinates": [[1, 1], [2, 2]]});
    let water =
        json!({"code": "w", "kind": "water", "name": "w", "source": "<img src=x>", "geometry": geometry});
    map.put_entity(&serde_json::from_value(water).unwrap()).unwrap();
    assert_eq!(map.tilejson(Layer::Water, "")["attribution"], "&lt;img src=x&gt;");
}

#[test]
fn persons_are_checked_but_never_drawn_and_a_bad_pipe_is_refused() {
    let mut map = CityMap::new();
    let person = json!({"code": "p", "kind": "person", "name": "", "geometry": {"type": "Point", "coordinates": [101.7, 36.6]}});
    map.put_entity(&serde_json::from_value(person).unwrap()).unwrap();
    let pipe = json!({"code": "x", "kind": "pipe", "name": "", "geometry": {"type": "LineString", "coordinates": [[1, 1]]}});
    let error = map
        .put_entity(&serde_json::from_value(pipe).unwrap())
        .unwrap_err();
    assert_eq!(error.to_string(), "a line of 1 positions has no extent");
    for layer in Layer::ALL {
        for zoom in [0, 13] {
            let (x, y) = tiles_over([101.7, 36.6, 101.7, 36.6], zoom)[0];
            assert_eq!(map.tile(layer, zoom, x, y), Ok(None));
        }
    }
}
