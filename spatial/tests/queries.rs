//! Questions of "where" against a slow look at every thing: with `geo` on whole numbers, so its answers
//! are exact, too.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use geo::{Coord, Geometry, Intersects, LineString, Point, Polygon};
use onemap_model::{Device, DivisionCode, Entity, EntityKind, Stratum, Timestamp};
use onemap_spatial::query::{Filter, Region};
use onemap_spatial::{CityMap, ThingKind};
use serde_json::{Value, json};

const N_QUESTIONS: usize = 10_000;
const N_THINGS: usize = 350;
/// Grid steps of one step of the town: coordinates fall on one another often.
const STEP: i64 = 1000;
const ORIGIN: [i64; 2] = [1_017_000_000, 366_000_000];
const EARTH_RADIUS_M: f64 = 6_371_008.8;

struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> i64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % n) as i64
    }
    fn place(&mut self, size: u64) -> [i64; 2] {
        [
            ORIGIN[0] + STEP * self.below(size),
            ORIGIN[1] + STEP * self.below(size),
        ]
    }
    /// A polygon whose edges do not cross: five corners in turn around its middle.
    fn polygon(&mut self, size: u64, reach: u64) -> Vec<[i64; 2]> {
        let [x, y] = self.place(size);
        let mut far = || STEP * (1 + self.below(reach));
        let ring = [
            [x + far(), y],
            [x + far(), y + far()],
            [x, y + far()],
            [x - far(), y],
            [x, y - far()],
        ];
        ring.to_vec()
    }
}

fn degrees(p: [i64; 2]) -> [f64; 2] {
    p.map(|v| v as f64 / 1e7)
}

fn ring_json(ring: &[[i64; 2]]) -> Value {
    let closed = ring.iter().chain(&ring[..1]);
    json!(closed.map(|p| degrees(*p)).collect::<Vec<_>>())
}

fn coord(p: &[i64; 2]) -> Coord<f64> {
    Coord {
        x: p[0] as f64,
        y: p[1] as f64,
    }
}

fn polygon_of(ring: &[[i64; 2]]) -> Polygon<f64> {
    Polygon::new(LineString::from_iter(ring.iter().map(coord)), vec![])
}

/// A thing as the slow look sees it.
struct Slow {
    entity: Entity,
    shape: Geometry<f64>,
}

impl Slow {
    fn key(&self) -> (ThingKind, String) {
        (
            ThingKind::Entity(self.entity.kind.clone()),
            self.entity.code.to_string(),
        )
    }
}

fn town(chance: &mut Chance) -> Vec<Slow> {
    let divisions = ["630102", "630102001", "630103", "630104002001"];
    (0..N_THINGS)
        .map(|i| {
            let (kind, geometry, shape) = match chance.below(5) {
                0 | 1 => {
                    let p = chance.place(60);
                    let kind = if chance.below(2) == 0 {
                        "component"
                    } else {
                        "address"
                    };
                    (
                        kind,
                        json!({"type": "Point", "coordinates": degrees(p)}),
                        Point::from(coord(&p)).into(),
                    )
                }
                2 => {
                    let points: Vec<_> = (0..2 + chance.below(3)).map(|_| chance.place(60)).collect();
                    let line = LineString::from_iter(points.iter().map(coord));
                    let points: Vec<_> = points.into_iter().map(degrees).collect();
                    (
                        "pipe",
                        json!({"type": "LineString", "coordinates": points}),
                        line.into(),
                    )
                }
                3 => {
                    let points: Vec<_> = (0..2).map(|_| chance.place(60)).collect();
                    let shape = geo::MultiPoint(points.iter().map(|p| Point::from(coord(p))).collect());
                    let points: Vec<_> = points.into_iter().map(degrees).collect();
                    (
                        "component",
                        json!({"type": "MultiPoint", "coordinates": points}),
                        shape.into(),
                    )
                }
                _ => {
                    let ring = chance.polygon(60, 12);
                    let json = json!({"type": "Polygon", "coordinates": [ring_json(&ring)]});
                    ("hazard", json, polygon_of(&ring).into())
                }
            };
            let mut entity =
                json!({"code": format!("t{i:04}"), "kind": kind, "name": "", "geometry": geometry});
            if chance.below(3) > 0 {
                entity["division"] = json!(divisions[chance.below(4) as usize]);
            }
            if chance.below(3) > 0 {
                entity["department"] = json!(["水务局", "城管局", "住建局"][chance.below(3) as usize]);
            }
            if chance.below(3) > 0 {
                let low = chance.below(20) - 10;
                entity["z_range_m"] = json!([low, low + chance.below(6)]);
            }
            entity["stratum"] = json!(["above", "surface", "below"][chance.below(3) as usize]);
            if chance.below(4) == 0 {
                entity["valid_from"] = json!("2026-03-01T00:00:00Z");
                entity["valid_to"] = json!("2026-06-01T00:00:00Z");
            }
            let class = ["灯", "井盖", "树"][chance.below(3) as usize];
            entity["attributes"] = json!({"class": class});
            Slow {
                entity: serde_json::from_value(entity).unwrap(),
                shape,
            }
        })
        .filter(|slow| match &slow.shape {
            // Lines of no length are none.
            Geometry::LineString(line) => line.0.iter().any(|c| *c != line.0[0]),
            _ => true,
        })
        .collect()
}

fn random_filter(chance: &mut Chance) -> Filter {
    let mut filter = Filter::default();
    let kinds = [
        EntityKind::Component,
        EntityKind::Address,
        EntityKind::Pipe,
        EntityKind::Hazard,
    ];
    if chance.below(2) == 0 {
        filter.kinds = kinds
            .into_iter()
            .filter(|_| chance.below(2) == 0)
            .map(ThingKind::Entity)
            .collect();
    }
    if chance.below(4) == 0 {
        filter.class = Some(["灯", "井盖", "无"][chance.below(3) as usize].to_owned());
    }
    if chance.below(4) == 0 {
        let names: &[&str] = [&["水务局"][..], &["城管局", "住建局"], &["无此局"]][chance.below(3) as usize];
        filter.scope.departments = names.iter().map(|name| (*name).to_owned()).collect();
    }
    for division in [&mut filter.division, &mut filter.scope.division] {
        if chance.below(4) == 0 {
            *division =
                Some(DivisionCode::new(["630100", "630102", "630102001"][chance.below(3) as usize]).unwrap());
        }
    }
    if chance.below(4) == 0 {
        filter.stratum = Some([Stratum::Above, Stratum::Surface, Stratum::Below][chance.below(3) as usize]);
    }
    if chance.below(4) == 0 {
        let low = (chance.below(20) - 10) as f64;
        filter.z_range_m = Some([low, low + chance.below(5) as f64]);
    }
    if chance.below(4) == 0 {
        let times = [
            "2026-02-28T00:00:00Z",
            "2026-03-01T00:00:00Z",
            "2026-06-01T00:00:00Z",
        ];
        filter.valid_at = Some(Timestamp::parse(times[chance.below(3) as usize]).unwrap());
    }
    filter
}

/// The filter as its documentation says it, once more.
fn lets(filter: &Filter, entity: &Entity) -> bool {
    let inside = |division: &DivisionCode| entity.division.as_ref().is_some_and(|own| division.covers(own));
    (filter.kinds.is_empty() || filter.kinds.contains(&ThingKind::Entity(entity.kind.clone())))
        && filter
            .class
            .as_deref()
            .is_none_or(|class| entity.attributes["class"] == class)
        && filter.division.as_ref().is_none_or(inside)
        && filter.scope.division.as_ref().is_none_or(inside)
        && (filter.scope.departments.is_empty()
            || entity.kind == EntityKind::Address
            || filter.scope.departments.contains(&entity.department))
        && filter.stratum.is_none_or(|stratum| stratum == entity.stratum)
        && filter
            .z_range_m
            .is_none_or(|[low, high]| entity.z_range_m.is_some_and(|z| z[0] <= high && z[1] >= low))
        && filter.valid_at.is_none_or(|at| {
            entity.valid_from.is_none_or(|from| from <= at) && entity.valid_to.is_none_or(|to| at < to)
        })
}

fn haversine_m(a: [f64; 2], b: [f64; 2]) -> f64 {
    let [p, q] = [a[1].to_radians(), b[1].to_radians()];
    let s =
        ((q - p) / 2.0).sin().powi(2) + p.cos() * q.cos() * ((b[0] - a[0]).to_radians() / 2.0).sin().powi(2);
    2.0 * EARTH_RADIUS_M * s.sqrt().asin()
}

/// Metres to a shape, by trying every vertex and a fine walk along every edge.
fn slow_distance_m(from: [i64; 2], shape: &Geometry<f64>) -> f64 {
    let at = |c: Coord<f64>| [c.x / 1e7, c.y / 1e7];
    let to_edge = |a: Coord<f64>, b: Coord<f64>| {
        let far = |t: f64| {
            haversine_m(
                degrees(from),
                [
                    at(a)[0] + t * (at(b)[0] - at(a)[0]),
                    at(a)[1] + t * (at(b)[1] - at(a)[1]),
                ],
            )
        };
        let (mut low, mut high) = (0.0, 1.0);
        // Distance along a short edge falls, then rises.
        for _ in 0..80 {
            let (x, y) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
            if far(x) <= far(y) { high = y } else { low = x }
        }
        far(f64::midpoint(low, high)).min(far(0.0)).min(far(1.0))
    };
    let to_line = |line: &LineString<f64>| {
        line.lines()
            .map(|l| to_edge(l.start, l.end))
            .fold(f64::INFINITY, f64::min)
    };
    match shape {
        Geometry::Point(p) => haversine_m(degrees(from), at(p.0)),
        Geometry::MultiPoint(points) => points
            .iter()
            .map(|p| haversine_m(degrees(from), at(p.0)))
            .fold(f64::INFINITY, f64::min),
        Geometry::LineString(line) => to_line(line),
        Geometry::Polygon(polygon) if polygon.intersects(&Point::from(coord(&from))) => 0.0,
        Geometry::Polygon(polygon) => to_line(polygon.exterior()),
        _ => unreachable!(),
    }
}

#[test]
fn ten_thousand_answers_equal_a_look_at_every_thing() {
    let mut chance = Chance(20_261_126);
    let mut town = town(&mut chance);
    let mut map = CityMap::new();
    // So often that an index is made, not each change looked at by itself.
    for slow in town.iter().cycle().take(2048) {
        map.put_entity(&slow.entity).unwrap();
    }
    let (mut n_hits, mut n_empty) = (0, 0);
    for question in 0..N_QUESTIONS {
        // The map changes while it is asked.
        if question % 100 == 99 {
            let i = chance.below(town.len() as u64) as usize;
            let gone = town.swap_remove(i);
            assert!(map.remove_entity(&gone.entity.kind, &gone.entity.code));
            if question % 200 == 99 {
                let p = chance.place(60);
                let mut entity = gone.entity;
                entity.geometry = json!({"type": "Point", "coordinates": degrees(p)});
                entity.kind = EntityKind::Component;
                map.put_entity(&entity).unwrap();
                town.push(Slow {
                    entity,
                    shape: Point::from(coord(&p)).into(),
                });
            }
        }
        let view = map.view();
        let filter = random_filter(&mut chance);
        let allowed = || town.iter().filter(|slow| lets(&filter, &slow.entity));
        let asked: (Region, BTreeSet<_>) = match question % 4 {
            0 => {
                let (a, b) = (chance.place(60), chance.place(60));
                let [w, s] = degrees([a[0].min(b[0]), a[1].min(b[1])]);
                let [e, n] = degrees([a[0].max(b[0]), a[1].max(b[1])]);
                let rect = geo::Rect::new(coord(&a), coord(&b));
                let want = allowed().filter(|slow| slow.shape.intersects(&rect));
                (Region::bbox([w, s, e, n]).unwrap(), want.map(Slow::key).collect())
            }
            1 => {
                let ring = chance.polygon(60, 25);
                let polygon = polygon_of(&ring);
                let json = json!({"type": "Polygon", "coordinates": [ring_json(&ring)]});
                let want = allowed().filter(|slow| slow.shape.intersects(&polygon));
                (
                    Region::geojson(&json, &|x, y| Some((x, y))).unwrap(),
                    want.map(Slow::key).collect(),
                )
            }
            2 => {
                let (p, radius) = (chance.place(60), 1.0 + chance.below(200) as f64 + 0.37);
                let [lon, lat] = degrees(p);
                // No distance on this lattice comes that near to such a radius.
                let want = allowed().filter(|slow| slow_distance_m(p, &slow.shape) <= radius);
                (
                    Region::circle(lon, lat, radius).unwrap(),
                    want.map(Slow::key).collect(),
                )
            }
            _ => {
                let (p, k) = (chance.place(60), 1 + chance.below(12) as usize);
                let [lon, lat] = degrees(p);
                let near = view.nearest((lon, lat), k, None, &filter).unwrap();
                let mut want: Vec<f64> = allowed().map(|slow| slow_distance_m(p, &slow.shape)).collect();
                want.sort_by(f64::total_cmp);
                want.truncate(k);
                assert_eq!(near.len(), want.len());
                for (got, want) in near.iter().zip(want) {
                    assert!((got.distance_m - want).abs() < 1e-5, "{} {want}", got.distance_m);
                    let own = town
                        .iter()
                        .find(|slow| *slow.entity.code == **got.found.code())
                        .unwrap();
                    assert!((slow_distance_m(p, &own.shape) - got.distance_m).abs() < 1e-5);
                    assert!(lets(&filter, &own.entity));
                }
                let ordered = near.windows(2).all(|w| {
                    w[0].distance_m < w[1].distance_m
                        || w[0].distance_m == w[1].distance_m && w[0].found.order(&w[1].found).is_lt()
                });
                assert!(ordered);
                n_hits += near.len();
                continue;
            }
        };
        let mut found = Vec::new();
        view.within(&asked.0, &filter, |thing| {
            found.push((thing.kind().clone(), thing.code().to_string()))
        });
        assert!(view.n_within(&asked.0, &filter) >= found.len());
        let n = found.len();
        let found: BTreeSet<_> = found.into_iter().collect();
        assert_eq!(found.len(), n, "a thing twice");
        assert_eq!(found, asked.1, "question {question} {:?} {filter:?}", asked.0);
        let limit = 1 + chance.below(50) as usize;
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let behind = after.as_ref().map(|(kind, code)| (kind, code));
            let page = view.page(&asked.0, &filter, behind, limit);
            assert_eq!(page.n_matched, n);
            assert!(page.things.len() == limit || !page.has_more);
            let keys = page.things.iter();
            paged.extend(keys.map(|thing| (thing.kind().clone(), thing.code().clone())));
            if !page.has_more {
                break;
            }
            after = paged.last().cloned();
        }
        let paged = paged.into_iter().map(|(kind, code)| (kind, code.to_string()));
        assert!(
            paged.eq(found),
            "pages of {limit}: question {question} {:?} {filter:?}",
            asked.0
        );
        n_hits += n;
        n_empty += usize::from(n == 0);
    }
    assert!(n_hits > 50_000 && n_empty > 500, "{n_hits} {n_empty}");
}

#[test]
fn a_view_does_not_change_while_the_map_does() {
    let device = |lon: f64, state: &str| -> Device {
        serde_json::from_value(json!({"id": "d", "name": "", "kind": "station", "state": state, "position": {"lon": lon, "lat": 36.6}})).unwrap()
    };
    let mut map = CityMap::new();
    map.put_device(&device(101.7, "active"));
    let before = map.view();
    map.put_device(&device(101.8, "active"));
    let all = Filter::default();
    let count = |view: &onemap_spatial::CityView, west: f64| {
        let mut n = 0;
        view.within(
            &Region::bbox([west, 36.0, west + 0.05, 37.0]).unwrap(),
            &all,
            |_| n += 1,
        );
        n
    };
    assert_eq!((count(&before, 101.68), count(&before, 101.78)), (1, 0));
    assert_eq!((count(&map.view(), 101.68), count(&map.view(), 101.78)), (0, 1));
    map.put_device(&device(101.8, "retired"));
    assert_eq!(count(&map.view(), 101.78), 0, "out of use");
    let apart = map.clone();
    map.put_device(&device(101.8, "active"));
    assert_eq!((count(&apart.view(), 101.78), count(&map.view(), 101.78)), (0, 1));
}

#[test]
fn a_box_may_cross_180_degrees_and_the_nearest_may_lie_behind_it() {
    let mut map = CityMap::new();
    for (code, lon) in [("east", 179.99), ("west", -179.99), ("far", 170.0)] {
        let entity = json!({"code": code, "kind": "place", "name": code, "geometry": {"type": "Point", "coordinates": [lon, 10.0]}});
        map.put_entity(&serde_json::from_value(entity).unwrap()).unwrap();
    }
    let view = map.view();
    let mut found = Vec::new();
    let region = Region::bbox([179.0, 9.0, -179.0, 11.0]).unwrap();
    view.within(&region, &Filter::default(), |thing| {
        found.push(thing.code().to_string())
    });
    found.sort();
    assert_eq!(found, ["east", "west"]);
    let near = view
        .nearest((179.999, 10.0), 3, None, &Filter::default())
        .unwrap();
    let codes: Vec<&str> = near.iter().map(|near| &**near.found.code()).collect();
    assert_eq!(codes, ["east", "west", "far"]);
    assert!(near[1].distance_m < 1300.0);
    assert_eq!(
        view.nearest((179.999, 10.0), 3, Some(1300.0), &Filter::default())
            .unwrap()
            .len(),
        2
    );
}
