//! Which division covers a point, against a slow check over every polygon by another library.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Instant;

use common::{demo_city, demo_file, entities, real_districts};
use geo::{Coord, Intersects, LineString, Polygon};
use onemap_model::{Device, DivisionCode, Entity, Position};
use onemap_spatial::CityMap;
use proptest::prelude::*;
use serde_json::{Value, json};

type Ring = Vec<[i32; 2]>;

/// Grid steps of 1e-7 degree to the degrees that a source would write.
fn degrees(p: [i32; 2]) -> [f64; 2] {
    p.map(|v| f64::from(v) / 1e7)
}

fn position(p: [i32; 2]) -> Position {
    let [lon, lat] = degrees(p);
    Position::new(lon, lat, None).unwrap()
}

fn division(code: &str, rings: &[Ring]) -> Entity {
    let ring = |r: &Ring| {
        r.iter()
            .chain(r.first())
            .map(|p| json!(degrees(*p)))
            .collect::<Vec<Value>>()
    };
    let coordinates: Vec<_> = rings.iter().map(ring).collect();
    let geometry = json!({"type": "Polygon", "coordinates": coordinates});
    serde_json::from_value(json!({"code": code, "kind": "division", "name": code, "geometry": geometry}))
        .unwrap()
}

fn slow(rings: &[Ring]) -> Polygon<f64> {
    let line = |r: &Ring| {
        r.iter()
            .map(|p| Coord::from((f64::from(p[0]), f64::from(p[1]))))
            .collect::<LineString<f64>>()
    };
    Polygon::new(line(&rings[0]), rings[1..].iter().map(line).collect())
}

/// A lattice of crooked cells that share their borders, and on top of it one finer division with a
/// hole that starts in the lattice's corners.
fn neighbours(n: usize, side: i32, jitter: &[[i32; 2]]) -> Vec<(String, Vec<Ring>)> {
    let (west, south) = (1_017_000_000, 366_000_000);
    let corner = |i: usize, j: usize| {
        let [a, b] = jitter[j * (n + 1) + i];
        let reach = (side / 3).max(1);
        [
            west + i as i32 * side + a % reach,
            south + j as i32 * side + b % reach,
        ]
    };
    let mut divisions: Vec<(String, Vec<Ring>)> = Vec::new();
    for j in 0..n {
        for i in 0..n {
            let code = format!("63{:04}", j * n + i + 101);
            let ring = vec![
                corner(i, j),
                corner(i + 1, j),
                corner(i + 1, j + 1),
                corner(i, j + 1),
            ];
            divisions.push((code, vec![ring]));
        }
    }
    let star = vec![
        corner(0, 0),
        corner(2, 0),
        corner(1, 1),
        corner(2, 2),
        corner(0, 2),
    ];
    let [x, y] = [west + side / 2, south + side];
    let s = (side / 40).max(1);
    let hole = vec![[x - s, y - s], [x + s, y - s], [x, y + s]];
    divisions.push(("630101001".to_owned(), vec![star, hole]));
    divisions
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn locating_agrees_with_the_slow_check(
        side in prop_oneof![40i32..200, 10_000i32..3_000_000],
        jitter in proptest::collection::vec(prop::array::uniform2(-1_000_000i32..1_000_000), 25),
        thrown in proptest::collection::vec(prop::array::uniform2(-0.1f64..1.1), 60),
    ) {
        let divisions = neighbours(4, side, &jitter);
        let mut map = CityMap::new();
        for (code, rings) in &divisions {
            map.put_entity(&division(code, rings)).unwrap();
        }
        let mut points: Vec<[i32; 2]> = thrown
            .iter()
            .map(|[x, y]| [1_017_000_000 + (x * 4.0 * f64::from(side)) as i32, 366_000_000 + (y * 4.0 * f64::from(side)) as i32])
            .collect();
        // Every vertex, every edge's middle as near as the grid allows, and the steps around them.
        for ring in divisions.iter().flat_map(|(_, rings)| rings) {
            for (a, b) in ring.iter().zip(ring.iter().cycle().skip(1)) {
                let middle = [0, 1].map(|k| ((i64::from(a[k]) + i64::from(b[k])) / 2) as i32);
                for p in [*a, middle] {
                    points.extend([p, [p[0] + 1, p[1]], [p[0] - 1, p[1]], [p[0], p[1] + 1], [p[0], p[1] - 1]]);
                }
            }
        }
        let slow: Vec<_> = divisions.iter().map(|(code, rings)| (code, slow(rings))).collect();
        for p in points {
            let at = Coord::from((f64::from(p[0]), f64::from(p[1])));
            let mut expected: Vec<&str> =
                slow.iter().filter(|(_, polygon)| polygon.intersects(&at)).map(|(code, _)| code.as_str()).collect();
            expected.sort_by_key(|code| (std::cmp::Reverse(code.len()), *code));
            let found = map.divisions_at(&position(p));
            let found: Vec<&str> = found.iter().map(DivisionCode::as_str).collect();
            prop_assert_eq!(&found, &expected, "{:?}", p);
            let first = map.locate(&position(p)).map(|code| code.to_string());
            prop_assert_eq!(first.as_deref(), expected.first().copied());
        }
    }
}

#[test]
fn the_demo_places_lie_in_their_districts() {
    let map = demo_city();
    let cases = [
        ("mid 城东区", 101.803, 36.607, Some("630102")),
        ("总寨 in 城中区", 101.70746, 36.5289, Some("630103")),
        ("西宁 in 城西区", 101.748, 36.627, Some("630104")),
        ("二十里铺 in 城北区", 101.7538, 36.70866, Some("630105")),
        ("鲁沙尔 in 湟中区", 101.56328, 36.48416, Some("630106")),
        ("桥头 in 大通县", 101.67361, 36.935, Some("630121")),
        ("湟源县城", 101.27084, 36.68749, Some("630123")),
        ("小峡 beyond the city", 101.96746, 36.53093, None),
    ];
    for (what, lon, lat, expected) in cases {
        let position = Position::new(lon, lat, None).unwrap();
        let found = map.divisions_at(&position);
        let found: Vec<&str> = found.iter().map(DivisionCode::as_str).collect();
        // Inside a district, the city covers the point too, and the finer one comes first.
        let expected: Vec<&str> = expected.into_iter().flat_map(|code| [code, "630100"]).collect();
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn ten_thousand_points_of_real_districts_agree_with_the_slow_check() {
    let files = [Some(demo_file("divisions.geojson")), real_districts()];
    for path in files.into_iter().flatten() {
        let mut map = CityMap::new();
        let mut slow: Vec<(String, Vec<Polygon<f64>>)> = Vec::new();
        let step = |v: &Value| (v.as_f64().unwrap() * 1e7).round();
        for entity in entities(&path, "division") {
            map.put_entity(&entity).unwrap();
            let ring = |r: &Value| {
                let points = r.as_array().unwrap().iter().map(|p| (step(&p[0]), step(&p[1])));
                LineString::from_iter(points)
            };
            let polygon = |rings: &Value| {
                let mut rings = rings.as_array().unwrap().iter().map(ring);
                Polygon::new(rings.next().unwrap(), rings.collect())
            };
            let coordinates = &entity.geometry["coordinates"];
            let polygons = match entity.geometry["type"].as_str().unwrap() {
                "Polygon" => vec![polygon(coordinates)],
                _ => coordinates.as_array().unwrap().iter().map(polygon).collect(),
            };
            slow.push((entity.code.to_string(), polygons));
        }
        let mut state = 7u64;
        let mut chance = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / (1u64 << 31) as f64
        };
        let points: Vec<[i32; 2]> = (0..10_000)
            .map(|_| {
                [
                    1_008_000_000 + (chance() * 1.2e7) as i32,
                    361_500_000 + (chance() * 1.4e7) as i32,
                ]
            })
            .collect();
        let mut n_placed = 0;
        for p in &points {
            let at = Coord::from((f64::from(p[0]), f64::from(p[1])));
            let covers =
                |polygons: &Vec<Polygon<f64>>| polygons.iter().any(|polygon| polygon.intersects(&at));
            let mut expected: Vec<&str> = slow
                .iter()
                .filter(|(_, polygons)| covers(polygons))
                .map(|(code, _)| code.as_str())
                .collect();
            expected.sort_unstable();
            let mut found: Vec<String> = map
                .divisions_at(&position(*p))
                .iter()
                .map(ToString::to_string)
                .collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{p:?}");
            n_placed += usize::from(!found.is_empty());
        }
        assert!(n_placed > 3_000, "{n_placed}");
        let positions: Vec<Position> = points.iter().map(|p| position(*p)).collect();
        let begin = Instant::now();
        let n = positions.iter().filter(|p| map.locate(p).is_some()).count();
        assert_eq!(n, n_placed);
        eprintln!(
            "{}: locate {} ns",
            path.display(),
            begin.elapsed().as_nanos() / positions.len() as u128
        );
    }
}

#[test]
fn a_division_that_is_gone_covers_nothing_and_a_new_border_holds_at_once() {
    let square = |a: i32, b: i32| vec![vec![[a, a], [b, a], [b, b], [a, b]]];
    let mut map = CityMap::new();
    map.put_entity(&division("630102", &square(0, 1000))).unwrap();
    let (near, far) = (position([500, 500]), position([1500, 1500]));
    assert_eq!(map.locate(&near).unwrap().as_str(), "630102");
    assert!(map.locate(&far).is_none());
    map.put_entity(&division("630102", &square(1000, 2000))).unwrap();
    assert!(map.locate(&near).is_none());
    assert!(map.locate(&far).is_some());
    let before = map.version();
    let bad: Entity = serde_json::from_value(
        json!({"code": "630102", "kind": "division", "name": "x", "geometry": {"type": "Point", "coordinates": [1, 1]}}),
    )
    .unwrap();
    assert_eq!(
        map.put_entity(&bad).unwrap_err().to_string(),
        "a geometry of type `Point` does not fit here, expected Polygon or MultiPolygon"
    );
    assert!(map.locate(&far).is_some() && map.version() == before);
    assert!(map.remove_entity(&bad.kind, "630102"));
    assert!(!map.remove_entity(&bad.kind, "630102"));
    assert!(map.locate(&far).is_none() && map.version() > before);
}

#[test]
fn devices_are_found_by_box_and_by_division() {
    let mut map = demo_city();
    let device = |id: &str, lon: f64, lat: f64, extra: Value| -> Device {
        let mut fields =
            json!({"id": id, "name": id, "kind": "air_station", "position": {"lon": lon, "lat": lat}});
        fields
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        serde_json::from_value(fields).unwrap()
    };
    map.put_device(&device("east", 101.803, 36.607, json!({})));
    map.put_device(&device("datong", 101.67361, 36.935, json!({})));
    map.put_device(&device("stated", 102.5, 36.0, json!({"division": "630102"})));
    map.put_device(&device("nowhere", 0.0, 0.0, json!({"position": null})));
    map.put_device(&device("fiji", 179.5, -17.0, json!({})));
    let ids = |found: Vec<onemap_model::DeviceId>| found.iter().map(ToString::to_string).collect::<Vec<_>>();
    let code = |text: &str| DivisionCode::new(text).unwrap();
    assert_eq!(ids(map.devices_in_division(&code("630102"))), ["east", "stated"]);
    assert_eq!(
        ids(map.devices_in_division(&code("630100"))),
        ["datong", "east", "stated"]
    );
    assert_eq!(
        ids(map.devices_in_bbox([101.0, 36.0, 102.0, 37.0])),
        ["datong", "east"]
    );
    // A device on the box's border is inside; a box may be a point.
    assert_eq!(
        ids(map.devices_in_bbox([101.803, 36.607, 101.803, 36.607])),
        ["east"]
    );
    assert_eq!(
        ids(map.devices_in_bbox([101.8030001, 36.0, 102.6, 37.0])),
        ["stated"]
    );
    assert_eq!(ids(map.devices_in_bbox([-180.0, -90.0, 180.0, 90.0])).len(), 4);
    assert_eq!(ids(map.devices_in_bbox([170.0, -20.0, -170.0, 0.0])), ["fiji"]);
    map.put_device(&device("east", 101.67361, 36.93, json!({})));
    assert_eq!(ids(map.devices_in_division(&code("630102"))), ["stated"]);
}
