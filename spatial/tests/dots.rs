//! Tiles of layers that hold any number of things: counts, worst states, sizes, versions, valid polygons.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Feature, decode, tiles_over};
use geo::Validation;
use onemap_model::{Device, DivisionCode, Entity, Reach, Timestamp};
use onemap_spatial::{CityMap, CityView, Layer, LiveState, Look, MAX_ZOOM, Tile};
use serde_json::json;

const WINDOW: [f64; 4] = [101.70, 36.55, 101.85, 36.68];

struct Chance(u64);

impl Chance {
    fn part(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / (1u64 << 31) as f64
    }
    fn place(&mut self) -> [f64; 2] {
        let [w, s, e, n] = WINDOW;
        [w + self.part() * (e - w), s + self.part() * (n - s)]
    }
}

fn component(code: &str, at: [f64; 2]) -> Entity {
    serde_json::from_value(json!({
        "code": code, "kind": "component", "name": "灯", "attributes": {"class": "路灯"}, "stratum": "above",
        "geometry": {"type": "Point", "coordinates": at},
    }))
    .unwrap()
}

fn count(feature: &Feature) -> usize {
    feature.properties.get("count").map_or(1, |n| n.parse().unwrap())
}

fn tiles(view: &CityView, layer: Layer, zoom: u8, look: &Look<'_>) -> Vec<Tile> {
    let all = tiles_over(WINDOW, zoom);
    all.iter()
        .filter_map(|(x, y)| view.tile(layer, [u32::from(zoom), *x, *y], look).unwrap())
        .collect()
}

#[test]
fn every_component_is_counted_at_every_zoom_and_tiles_keep_to_their_size() {
    let mut chance = Chance(3);
    let mut map = CityMap::new();
    for i in 0..60_000 {
        // Half of them in one street.
        let mut at = chance.place();
        if i % 2 == 0 {
            at = [101.77 + chance.part() * 0.004, 36.62 + chance.part() * 0.003];
        }
        map.put_entity(&component(&format!("c{i}"), at)).unwrap();
    }
    let view = map.view();
    for zoom in [6, 9, 11, 12, 13, 14, MAX_ZOOM] {
        let (mut n, mut n_features) = (0, 0);
        for tile in tiles(&view, Layer::Components, zoom, &Look::default()) {
            assert!(tile.bytes.len() <= 500_000, "{}", tile.bytes.len());
            let features = &decode(&tile.bytes)["components"];
            assert!(zoom > 12 || features.len() <= 64 * 64);
            let counted: usize = features.iter().map(count).sum();
            assert_eq!(counted, features.len() + tile.n_hidden);
            assert_eq!(tile.n_dropped, 0);
            n += counted;
            n_features += features.len();
            assert!(
                features
                    .iter()
                    .all(|f| f.properties["class"] == "路灯" && f.properties["stratum"] == "above")
            );
        }
        assert_eq!(n, 60_000, "zoom {zoom}");
        assert!(zoom < 16 || n_features > 55_000, "{n_features}");
    }
    assert!(
        tiles(&view, Layer::Components, 5, &Look::default()).is_empty(),
        "below its zoom"
    );
}

/// Counts by cell of a cluster, of each tile.
fn counts(view: &CityView, zoom: u8, look: &Look<'_>) -> std::collections::BTreeMap<[i64; 4], usize> {
    let mut counts = std::collections::BTreeMap::new();
    for (x, y) in tiles_over(WINDOW, zoom) {
        let tile = view
            .tile(Layer::Components, [u32::from(zoom), x, y], look)
            .unwrap();
        let Some(tile) = tile else { continue };
        let features = &decode(&tile.bytes)["components"];
        assert_eq!(
            features.iter().map(count).sum::<usize>(),
            features.len() + tile.n_hidden
        );
        for feature in features {
            let [px, py] = feature.paths[0][0].map(|v| v >> 6);
            let known = counts.insert([x.into(), y.into(), px, py], count(feature));
            assert_eq!(known, None, "two clusters in one cell");
        }
    }
    counts
}

#[test]
fn clusters_count_what_changed_and_what_is_valid_as_a_new_map_does() {
    let mut chance = Chance(21);
    let mut map = CityMap::new();
    let now = "2026-11-26T00:00:00Z";
    let mut all = std::collections::BTreeMap::new();
    let random = |code: &str, chance: &mut Chance| {
        let mut entity = serde_json::to_value(component(code, chance.place())).unwrap();
        match (chance.part() * 8.0) as u32 {
            0 => {
                entity["valid_from"] = json!(if chance.part() < 0.5 {
                    "2020-01-01T00:00:00Z"
                } else {
                    "2030-01-01T00:00:00Z"
                })
            }
            1 => {
                entity["valid_to"] = json!(if chance.part() < 0.5 {
                    "2025-01-01T00:00:00Z"
                } else {
                    now
                })
            }
            2 => {
                entity["geometry"] = json!({"type": "MultiPoint", "coordinates": [chance.place(), chance.place(), chance.place()]})
            }
            _ => {}
        }
        serde_json::from_value::<Entity>(entity).unwrap()
    };
    for i in 0..4000 {
        let code = format!("c{i}");
        let entity = random(&code, &mut chance);
        map.put_entity(&entity).unwrap();
        all.insert(code, entity);
    }
    // The index is made of this; what follows is looked at one by one.
    tiles(&map.view(), Layer::Components, 12, &Look::default());
    for i in 0..900 {
        let code = format!("c{}", (chance.part() * 4400.0) as u32);
        if i % 3 == 0 && all.remove(&code).is_some() {
            assert!(map.remove_entity(&onemap_model::EntityKind::Component, &code));
            continue;
        }
        let entity = random(&code, &mut chance);
        map.put_entity(&entity).unwrap();
        all.insert(code, entity);
    }
    let mut anew = CityMap::new();
    for entity in all.values() {
        anew.put_entity(entity).unwrap();
    }
    let at = Some(Timestamp::parse(now).unwrap());
    let (changed, anew) = (map.view(), anew.view());
    // Each is drawn with its own code, class and stratum, whether the index knew it or not.
    let mut codes = std::collections::BTreeSet::new();
    for tile in tiles(&changed, Layer::Components, 14, &Look::default()) {
        for feature in &decode(&tile.bytes)["components"] {
            assert!(feature.properties["class"] == "路灯" && feature.properties["stratum"] == "above");
            codes.insert(feature.properties["code"].clone());
        }
    }
    assert_eq!(codes, all.keys().cloned().collect());
    for zoom in [6, 8, 10, 11, 12] {
        let mut n = Vec::new();
        for look in [
            Look::default(),
            Look {
                at,
                ..Look::default()
            },
        ] {
            let found = counts(&changed, zoom, &look);
            assert_eq!(found, counts(&anew, zoom, &look), "zoom {zoom}");
            n.push(found.values().sum::<usize>());
        }
        assert!(n[1] < n[0] && n[1] > 3000, "{n:?}");
        let points = all.values().map(|entity| match entity.geometry["type"].as_str() {
            Some("MultiPoint") => 3,
            _ => 1,
        });
        assert_eq!(n[0], points.sum::<usize>(), "zoom {zoom}");
    }
}

#[test]
fn what_is_wrong_is_seen_through_every_cluster() {
    let mut map = CityMap::new();
    let mut chance = Chance(5);
    for i in 0..3000 {
        let [lon, lat] = chance.place();
        let device =
            json!({"id": format!("d{i}"), "name": "", "kind": "well", "position": {"lon": lon, "lat": lat}});
        map.put_device(&serde_json::from_value::<Device>(device).unwrap());
    }
    let view = map.view();
    let state = |id: &str| match id {
        "d77" | "d1234" => (LiveState::Abnormal, false),
        "d5" | "d6" | "d7" => (LiveState::Unknown, true),
        _ => (LiveState::Normal, false),
    };
    let look = Look {
        state: &state,
        ..Look::default()
    };
    for zoom in [0, 5, 8, 10, 12, 14, 16] {
        let mut n = [0usize; 3];
        let mut n_abnormal_shown = 0;
        for tile in tiles(&view, Layer::Live, zoom, &look) {
            for feature in &decode(&tile.bytes)["live"] {
                let states = ["abnormal", "unknown", "normal"];
                let own = |i: usize| match count(feature) {
                    1 => usize::from(feature.properties["state"] == states[i]),
                    _ => feature.properties[states[i]].parse().unwrap(),
                };
                let worst = (0..3).find(|i| own(*i) > 0).unwrap();
                assert_eq!(feature.properties["state"], states[worst]);
                assert_eq!((0..3).map(own).sum::<usize>(), count(feature));
                if worst == 0 {
                    n_abnormal_shown += 1;
                    assert!(["d77", "d1234"].contains(&feature.properties["id"].as_str()));
                }
                (0..3).for_each(|i| n[i] += own(i));
            }
        }
        assert_eq!(n, [2, 3, 2995], "zoom {zoom}");
        assert!((1..=2).contains(&n_abnormal_shown));
    }
    // Nothing is known without somebody who knows.
    for tile in tiles(&view, Layer::Live, 12, &Look::default()) {
        assert!(
            decode(&tile.bytes)["live"]
                .iter()
                .all(|f| f.properties["state"] == "unknown")
        );
    }
}

#[test]
fn a_tile_has_another_version_only_when_something_in_it_changes() {
    let mut map = CityMap::new();
    map.put_entity(&component("a", [101.7500, 36.6000])).unwrap();
    map.put_entity(&component("b", [101.8000, 36.6000])).unwrap();
    let at = |lon: f64, zoom: u8| {
        let (x, y) = tiles_over([lon, 36.6, lon, 36.6], zoom)[0];
        [u32::from(zoom), x, y]
    };
    let versions = |map: &CityMap| {
        let view = map.view();
        [at(101.75, 14), at(101.80, 14), at(101.80, 16), at(101.75, 3)]
            .map(|tile| view.tile_version(Layer::Components, tile))
    };
    let before = versions(&map);
    let etag = |map: &CityMap| {
        map.view()
            .tile(Layer::Components, at(101.75, 14), &Look::default())
            .unwrap()
            .unwrap()
            .etag
    };
    let first = etag(&map);
    map.put_entity(&component("b", [101.8001, 36.6000])).unwrap();
    let after = versions(&map);
    assert!(
        before[0] == after[0] && before[1] < after[1] && before[2] < after[2] && before[3] < after[3],
        "{before:?} {after:?}"
    );
    assert_eq!(etag(&map), first);
    // It goes from one tile to another: both change. A device changes neither.
    map.put_entity(&component("b", [101.7501, 36.6000])).unwrap();
    let moved = versions(&map);
    assert!(after[0] < moved[0] && after[1] < moved[1]);
    assert_ne!(etag(&map), first);
    let device = json!({"id": "d", "name": "", "kind": "well", "position": {"lon": 101.75, "lat": 36.6}});
    map.put_device(&serde_json::from_value::<Device>(device).unwrap());
    assert_eq!(versions(&map), moved);
    assert!(map.remove_entity(&onemap_model::EntityKind::Component, "b"));
    assert!(moved[0] < versions(&map)[0]);
    assert_eq!(etag(&map), first);
}

#[test]
fn polygons_and_lines_of_hazards_and_pipes_are_valid_after_snapping() {
    let mut chance = Chance(9);
    let mut map = CityMap::new();
    for i in 0..3000 {
        let [x, y] = chance.place();
        let far = 0.0002 + chance.part() * 0.004;
        // Stars with narrow rays: what snapping breaks.
        let ring: Vec<[f64; 2]> = (0..24)
            .map(|k| {
                let angle = f64::from(k % 24) * std::f64::consts::TAU / 24.0;
                let r = far
                    * if k % 2 == 0 {
                        1.0
                    } else {
                        0.02 + 0.3 * chance.part()
                    };
                [x + r * angle.cos(), y + r * angle.sin()]
            })
            .collect();
        let closed: Vec<_> = ring.iter().chain(&ring[..1]).collect();
        let hazard = json!({"code": format!("h{i}"), "kind": "hazard", "name": "", "geometry": {"type": "Polygon", "coordinates": [closed]}});
        map.put_entity(&serde_json::from_value(hazard).unwrap()).unwrap();
        let pipe = json!({"code": format!("p{i}"), "kind": "pipe", "name": "", "stratum": "below", "geometry": {"type": "LineString", "coordinates": ring}});
        map.put_entity(&serde_json::from_value(pipe).unwrap()).unwrap();
    }
    let view = map.view();
    let mut n_polygons = 0;
    for zoom in 9..=15 {
        for tile in tiles(&view, Layer::Hazards, zoom, &Look::default()) {
            for feature in &decode(&tile.bytes)["hazards"] {
                let polygons = feature.polygons();
                assert!(polygons.is_valid(), "{:?}", polygons.validation_errors());
                n_polygons += 1;
            }
            assert!(tile.bytes.len() <= 500_000);
        }
    }
    assert!(n_polygons > 20_000, "{n_polygons}");
    for tile in tiles(&view, Layer::Pipes, 14, &Look::default()) {
        for feature in &decode(&tile.bytes)["pipes"] {
            assert!(
                feature
                    .paths
                    .iter()
                    .all(|path| path.len() > 1 && path.windows(2).all(|w| w[0] != w[1]))
            );
            assert_eq!(feature.properties["stratum"], "below");
        }
    }
}

#[test]
fn a_tile_shows_what_its_viewer_may_see_when_it_is_there() {
    let mut map = CityMap::new();
    let mut put = |code: &str, more: serde_json::Value| {
        let mut entity = serde_json::to_value(component(code, [101.75, 36.6])).unwrap();
        entity
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let card = format!("名{code}").into_bytes().into();
        let entity = serde_json::from_value(entity).unwrap();
        map.put_entity_with(&entity, Some(card)).unwrap();
    };
    put("east", json!({"division": "630102001", "department": "城管局"}));
    put("west", json!({"division": "630104", "department": "水务局"}));
    put(
        "gone",
        json!({"division": "630102", "valid_to": "2020-01-01T00:00:00Z"}),
    );
    let view = map.view();
    let (x, y) = tiles_over([101.75, 36.6, 101.75, 36.6], 16)[0];
    let seen = |look: &Look<'_>| {
        let tile = view.tile(Layer::Components, [16, x, y], look).unwrap().unwrap();
        decode(&tile.bytes)["components"].iter().map(count).sum::<usize>()
    };
    let reach = |division: Option<&str>, departments: &[&str]| Reach {
        division: division.map(|code| DivisionCode::new(code).unwrap()),
        departments: departments.iter().map(|name| (*name).to_owned()).collect(),
    };
    let district = reach(Some("630102"), &[]);
    let at = Some(Timestamp::parse("2026-11-26T00:00:00Z").unwrap());
    assert_eq!(seen(&Look::default()), 3);
    assert_eq!(
        seen(&Look {
            at,
            ..Look::default()
        }),
        2
    );
    assert_eq!(
        seen(&Look {
            at,
            reach: &district,
            ..Look::default()
        }),
        1
    );
    for (reach, n) in [
        (reach(None, &["水务局"]), 1),
        (reach(None, &["水务局", "城管局"]), 2),
        (reach(Some("630102"), &["城管局"]), 1),
    ] {
        let look = Look {
            at,
            reach: &reach,
            ..Look::default()
        };
        assert_eq!(seen(&look), n, "{reach:?}");
    }
    for nobody in [
        reach(Some("630102"), &["水务局"]),
        reach(None, &["环保局"]),
        reach(None, &[" "]),
    ] {
        let look = Look {
            reach: &nobody,
            ..Look::default()
        };
        // Neither as itself nor in the count of a cluster.
        for (zoom, x, y) in [(16, x, y), (12, x >> 4, y >> 4), (6, x >> 10, y >> 10)] {
            let tile = view.tile(Layer::Components, [zoom, x, y], &look).unwrap();
            assert_eq!(tile, None, "{nobody:?}");
        }
    }
    let look = Look {
        at,
        reach: &district,
        name: Some(|card| std::str::from_utf8(card).unwrap()),
        ..Look::default()
    };
    let tile = view.tile(Layer::Components, [16, x, y], &look).unwrap().unwrap();
    assert_eq!(decode(&tile.bytes)["components"][0].properties["name"], "名east");
    // Names are where they can be written: not a zoom before.
    let tile = view
        .tile(Layer::Components, [15, x / 2, y / 2], &look)
        .unwrap()
        .unwrap();
    assert!(
        !decode(&tile.bytes)["components"][0]
            .properties
            .contains_key("name")
    );
}

/// States of what devices stand on, by code, of single features; and of clusters their counts of states.
fn states_of(view: &CityView, layer: Layer, zoom: u8, reach: &Reach) -> Vec<String> {
    let state = |id: &str| match id.split('-').next() {
        Some("bad") => (LiveState::Abnormal, false),
        Some("mute") => (LiveState::Unknown, true),
        _ => (LiveState::Normal, false),
    };
    let mut all = Vec::new();
    for (x, y) in tiles_over(WINDOW, zoom) {
        let at = [u32::from(zoom), x, y];
        let states = view.states(layer, at, &|id| Some(state(id))).unwrap();
        let look = Look {
            state: &state,
            standing: &states,
            reach,
            ..Look::default()
        };
        let Some(tile) = view.tile(layer, at, &look).unwrap() else {
            continue;
        };
        for feature in &decode(&tile.bytes)[layer.name()] {
            let own = &feature.properties;
            let Some(state) = own.get("state") else {
                assert!(!own.contains_key("normal") && !own.contains_key("stale"));
                continue;
            };
            let stale = if own.contains_key("stale") { " stale" } else { "" };
            let n = ["abnormal", "unknown", "normal"].map(|name| own.get(name).map_or("-", String::as_str));
            all.push(match count(feature) {
                1 => format!("{} {state}{stale}", own["code"]),
                _ => format!("{} {state}{stale} {}", own["code"], n.join(" ")),
            });
        }
    }
    all.sort();
    all
}

#[test]
fn what_devices_stand_on_has_the_worst_of_their_states_at_every_zoom() {
    let mut map = CityMap::new();
    let district = json!({"code": "630102", "kind": "division", "name": "城东区", "geometry": {"type": "Polygon",
        "coordinates": [[[101.6, 36.5], [101.9, 36.5], [101.9, 36.7], [101.6, 36.7], [101.6, 36.5]]]}});
    map.put_entity(&serde_json::from_value(district).unwrap())
        .unwrap();
    // 600 lamps within thirty metres, and two alone.
    for i in 0..600 {
        let at = [
            101.77 + f64::from(i % 25) * 1e-5,
            36.62 + f64::from(i / 25) * 1e-6,
        ];
        map.put_entity(&component(&format!("lamp-{i}"), at)).unwrap();
    }
    map.put_entity(&component("alone", [101.72, 36.57])).unwrap();
    map.put_entity(&component("bare", [101.82, 36.65])).unwrap();
    let pipe = json!({"code": "main", "kind": "pipe", "name": "", "geometry": {"type": "LineString",
        "coordinates": [[101.71, 36.56], [101.84, 36.66]]}});
    map.put_entity(&serde_json::from_value(pipe).unwrap()).unwrap();
    let put = |map: &mut CityMap, id: &str, entity: Option<&str>, state: &str| {
        let device = json!({"id": id, "name": "", "kind": "k", "entity": entity, "state": state});
        map.put_device(&serde_json::from_value::<Device>(device).unwrap());
    };
    // What is named before it is there, and what stood somewhere else.
    put(&mut map, "mute-1", Some("component/late"), "active");
    put(&mut map, "ok-1", Some("component/lamp-7"), "active");
    put(&mut map, "ok-2", Some("component/alone"), "active");
    put(&mut map, "mute-2", Some("component/alone"), "active");
    put(&mut map, "ok-3", Some("pipe/main"), "active");
    put(&mut map, "bad-9", Some("component/bare"), "retired");
    let whole = Reach::default();
    let own = Reach {
        division: Some(DivisionCode::new("630102").unwrap()),
        ..Reach::default()
    };
    let view = map.view();
    for reach in [&whole, &own] {
        for zoom in [6, 9, 12, 13, 14, 16] {
            let found = states_of(&view, Layer::Components, zoom, reach);
            match zoom {
                16 => assert_eq!(found, ["alone unknown stale", "lamp-7 normal"], "{reach:?}"),
                _ => assert_eq!(
                    (found.len(), &*found[0]),
                    (2, "alone unknown stale"),
                    "zoom {zoom} {reach:?}"
                ),
            }
        }
    }
    // In each of the tiles that it crosses.
    let mut pipes = states_of(&view, Layer::Pipes, 11, &whole);
    pipes.dedup();
    assert_eq!(pipes, ["main normal"]);
    // One lamp of six hundred is wrong: its cluster is, and says which.
    put(&mut map, "bad-1", Some("component/lamp-599"), "active");
    map.put_entity(&component("late", [101.8, 36.6])).unwrap();
    let view = map.view();
    for zoom in [9, 12] {
        let found = states_of(&view, Layer::Components, zoom, &whole);
        assert_eq!(
            found,
            [
                "alone unknown stale",
                "lamp-599 abnormal 1 0 1",
                "late unknown stale"
            ],
            "{zoom}"
        );
    }
    // Recoded: a device that names the old code stands on the same lamp; a device that left does not.
    let mut lamp = component("LAMP", [101.77 + 24e-5, 36.62 + 23e-5]);
    lamp.former =
        serde_json::from_value(json!([{"code": "lamp-599", "to": "2026-01-01T00:00:00Z"}])).unwrap();
    map.remove_entity(&lamp.kind, "lamp-599");
    map.put_entity(&lamp).unwrap();
    put(&mut map, "ok-1", None, "active");
    put(&mut map, "ok-4", Some("component/lamp-599"), "active");
    assert_eq!(
        states_of(&map.view(), Layer::Components, 16, &whole),
        ["LAMP abnormal", "alone unknown stale", "late unknown stale"]
    );
    // The number of what is gone may be another's now.
    map.remove_entity(&lamp.kind, "LAMP");
    map.put_entity(&component("other", [101.77, 36.62])).unwrap();
    assert_eq!(
        states_of(&map.view(), Layer::Components, 16, &whole),
        ["alone unknown stale", "late unknown stale"]
    );
}
