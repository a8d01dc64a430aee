//! Devices that move, on the map: where they are after any number of moves, and how long it takes to see them there.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use onemap_model::{Device, DeviceId};
use onemap_spatial::ground::Vertex;
use onemap_spatial::{CityMap, CityView, Layer, Look};
use serde_json::json;

/// Devices that move.
const N_MOVERS: usize = 20_000;
/// Devices that stand.
const N_STANDING: usize = 30_000;
const WEST: f64 = 101.5;
const SOUTH: f64 = 36.4;

struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
    fn place(&mut self) -> Vertex {
        let [lon, lat] = [self.next(), self.next()].map(|n| (n % 5_000_000) as f64 * 1e-7);
        Vertex::from_degrees(WEST + lon, SOUTH + lat).unwrap()
    }
}

fn id(i: usize) -> DeviceId {
    DeviceId::new(&format!("truck-{i}")).unwrap()
}

fn device(id: &str, at: Vertex) -> Device {
    let device = json!({"id": id, "name": "车", "kind": "truck",
        "position": {"lon": at.lon_degrees(), "lat": at.lat_degrees()}});
    serde_json::from_value(device).unwrap()
}

/// A city in which every other device moves.
fn city(chance: &mut Chance) -> (CityMap, BTreeMap<DeviceId, Vertex>) {
    let mut map = CityMap::new();
    let ring = json!([
        [101.4, 36.3],
        [102.1, 36.3],
        [102.1, 37.0],
        [101.4, 37.0],
        [101.4, 36.3]
    ]);
    let division = json!({"code": "630102", "kind": "division", "name": "城东区",
        "geometry": {"type": "Polygon", "coordinates": [ring]}});
    map.put_entity(&serde_json::from_value(division).unwrap())
        .unwrap();
    let mut places = BTreeMap::new();
    for i in 0..N_STANDING {
        map.put_device(&device(&format!("post-{i}"), chance.place()));
        if i < N_MOVERS {
            let at = chance.place();
            map.put_device(&device(id(i).as_str(), at));
            places.insert(id(i), at);
        }
    }
    (map, places)
}

fn trucks_in(view: &CityView, bbox: [f64; 4]) -> Vec<DeviceId> {
    let mut found = view.devices_in_bbox(bbox);
    found.retain(|id| id.as_str().starts_with("truck"));
    found
}

fn check(view: &CityView, places: &BTreeMap<DeviceId, Vertex>, chance: &mut Chance) {
    for _ in 0..10 {
        let v = chance.place();
        let (lon, lat) = (v.lon_degrees(), v.lat_degrees());
        let bbox = [lon - 0.01, lat - 0.01, lon + 0.01, lat + 0.01];
        let inside = |v: &Vertex| {
            let (lon, lat) = (v.lon_degrees(), v.lat_degrees());
            bbox[0] <= lon && lon <= bbox[2] && bbox[1] <= lat && lat <= bbox[3]
        };
        let want: Vec<DeviceId> = places
            .iter()
            .filter(|(_, v)| inside(v))
            .map(|(id, _)| id.clone())
            .collect();
        assert_eq!(trucks_in(view, bbox), want);
    }
}

#[test]
fn movers_are_where_they_are_and_a_view_costs_what_moved() {
    let mut chance = Chance(7);
    let (mut map, mut places) = city(&mut chance);
    assert!(
        map.view().devices_in_bbox([0.0, 0.0, 1.0, 1.0]).is_empty(),
        "indexed"
    );
    let mut took: BTreeMap<usize, Vec<Duration>> = BTreeMap::new();
    let mut tiles = Vec::new();
    for round in 0..8 {
        for n in [N_MOVERS, 1, 20, 1000] {
            for _ in 0..n {
                let id = id(chance.next() as usize % N_MOVERS);
                let at = chance.place();
                assert!(map.move_device(&id, Some(at)).unwrap());
                places.insert(id, at);
            }
            let view = map.view();
            let begin = Instant::now();
            let moved = view.moved();
            took.entry(n).or_default().push(begin.elapsed());
            check(&moved, &places, &mut chance);
            for (x, y) in common::tiles_over([101.6, 36.5, 101.7, 36.6], 13) {
                let begin = Instant::now();
                moved.tile(Layer::Live, [13, x, y], &Look::default()).unwrap();
                tiles.push(begin.elapsed());
            }
            assert!(Arc::ptr_eq(&moved, &view.moved()), "nothing moved since");
        }
        // A change of the register between moves: a truck that is new, one that moves no longer, one that is gone.
        let [new, still] = [N_MOVERS + round, round].map(id);
        let at = chance.place();
        map.put_device(&device(new.as_str(), at));
        places.insert(new, at);
        let at = chance.place();
        map.put_device(&device(still.as_str(), at));
        assert!(map.move_device(&still, None).unwrap());
        places.insert(still, at);
        check(&map.view().moved(), &places, &mut chance);
        // A move, and the end of one, of one and the same map.
        let other = id(100 + round);
        map.move_device(&other, Some(chance.place())).unwrap();
        let _ = map.view().moved();
        map.put_device(&device(other.as_str(), at));
        map.move_device(&other, Some(chance.place())).unwrap();
        let _ = map.view().moved();
        map.move_device(&other, None).unwrap();
        places.insert(other, at);
        check(&map.view().moved(), &places, &mut chance);
    }
    for (n, mut all) in took {
        all.sort();
        let [half, most] = [all.len() / 2, all.len() - 1].map(|i| all[i]);
        println!("a view after {n} moves of {N_MOVERS} movers: {half:?}, at most {most:?}");
    }
    tiles.sort();
    println!("a live tile of zoom 13: {:?}", tiles[tiles.len() / 2]);
}
