#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path as FilePath;
use std::process::Command;

use serde_json::{Value, json};

use super::*;

/// Degrees of a place so many metres east and north of the city's middle.
fn degrees((east, north): (f64, f64)) -> Value {
    let metres = 111_195.08;
    json!([
        101.78 + east / (metres * 36.62_f64.to_radians().cos()),
        36.62 + north / metres
    ])
}

fn entity(kind: &str, code: &str, geometry: Value, attributes: Value) -> Entity {
    let made =
        json!({"kind": kind, "code": code, "name": "", "geometry": geometry, "attributes": attributes});
    serde_json::from_value(made).unwrap()
}

fn pipe(code: &str, medium: &str, points: &[(f64, f64)]) -> Entity {
    let points: Vec<Value> = points.iter().copied().map(degrees).collect();
    entity(
        "pipe",
        code,
        json!({"type": "LineString", "coordinates": points}),
        json!({"medium": medium}),
    )
}

fn well(code: &str, at: (f64, f64), attributes: Value) -> Entity {
    entity(
        "component",
        code,
        json!({"type": "Point", "coordinates": degrees(at)}),
        attributes,
    )
}

fn with(mut entity: Entity, key: &str, value: Value) -> Entity {
    entity.attributes.insert(key.to_owned(), value);
    entity
}

fn networks(entities: &[Entity]) -> Networks {
    Networks::of(entities.iter().filter_map(Lined::of).collect())
}

/// Of each joint the least of its network.
fn parts(networks: &Networks) -> Vec<u32> {
    let ends = networks.pieces.iter().map(|piece| (piece.from, piece.to));
    let ends: Vec<(u32, u32)> = ends.chain(networks.same.iter().copied()).collect();
    let last = ends.iter().map(|(a, b)| a.max(b)).max();
    let mut least: Vec<u32> = (0..=last.copied().unwrap_or(0)).collect();
    loop {
        let before = least.clone();
        for (a, b) in &ends {
            let both = least[*a as usize].min(least[*b as usize]);
            (least[*a as usize], least[*b as usize]) = (both, both);
        }
        if least == before {
            return least;
        }
    }
}

fn part(networks: &Networks, parts: &[u32], of: &str) -> Option<u32> {
    let place = networks.place(&of.parse().unwrap(), None)?;
    Some(parts[networks.pieces[place.piece as usize].from as usize])
}

#[test]
fn what_meets_is_one_network() {
    let long = pipe("a", "雨水", &[(0.0, 0.0), (50.0, 0.0), (100.0, 0.0)]);
    let cases: [(&str, Vec<Entity>, bool); 16] = [
        (
            "end on end",
            vec![pipe("b", "雨水", &[(100.3, 0.2), (200.0, 0.0)])],
            true,
        ),
        (
            "a gap of 3 m",
            vec![pipe("b", "雨水", &[(103.0, 0.0), (200.0, 0.0)])],
            false,
        ),
        (
            "a branch",
            vec![pipe("b", "雨水", &[(30.0, 50.0), (30.0, 0.0)])],
            true,
        ),
        (
            "the other is the branch",
            vec![pipe("b", "雨水", &[(0.0, -50.0), (0.0, 50.0)])],
            true,
        ),
        (
            "a crossing",
            vec![pipe("b", "雨水", &[(30.0, 50.0), (30.0, -50.0)])],
            false,
        ),
        (
            "20 m apart",
            vec![pipe("b", "雨水", &[(0.0, 20.0), (100.0, 20.0)])],
            false,
        ),
        (
            "another medium",
            vec![pipe("b", "污水", &[(100.0, 0.0), (200.0, 0.0)])],
            false,
        ),
        (
            "a piece between",
            vec![
                pipe("b", "雨水", &[(200.0, 0.0), (300.0, 0.0)]),
                pipe("c", "雨水", &[(200.0, 0.0), (100.0, 0.0)]),
            ],
            true,
        ),
        (
            "other names",
            vec![
                with(
                    pipe("b", "雨水", &[(100.0, 0.0), (200.0, 0.0)]),
                    "network",
                    json!("南"),
                ),
                with(
                    pipe("a", "雨水", &[(0.0, 0.0), (100.0, 0.0)]),
                    "network",
                    json!("北"),
                ),
            ],
            false,
        ),
        (
            "one name and no way",
            vec![
                with(
                    pipe("b", "雨水", &[(500.0, 0.0), (600.0, 0.0)]),
                    "network",
                    json!("南"),
                ),
                with(long.clone(), "network", json!("南")),
            ],
            true,
        ),
        (
            "a name that only says what flows",
            vec![
                with(
                    pipe("b", "雨水", &[(500.0, 0.0), (600.0, 0.0)]),
                    "network",
                    json!("雨水"),
                ),
                with(long.clone(), "network", json!("雨水")),
            ],
            false,
        ),
        (
            "upstream by code",
            vec![with(
                pipe("b", "雨水", &[(500.0, 0.0), (600.0, 0.0)]),
                "upstream",
                json!("a"),
            )],
            true,
        ),
        (
            "downstream by kind and code, in a list",
            vec![with(
                pipe("b", "雨水", &[(500.0, 0.0), (600.0, 0.0)]),
                "Downstream",
                json!(["pipe/x", "pipe/a"]),
            )],
            true,
        ),
        (
            "upstream of another medium",
            vec![with(
                pipe("b", "污水", &[(500.0, 0.0), (600.0, 0.0)]),
                "upstream",
                json!("a"),
            )],
            false,
        ),
        (
            "through wells that name one another",
            vec![
                well("w1", (100.0, 1.0), json!({"upstream": "nobody"})),
                well("w2", (150.0, 0.0), json!({"upstream": "w1"})),
                with(
                    pipe("b", "雨水", &[(500.0, 0.0), (600.0, 0.0)]),
                    "upstream",
                    json!("component/w2"),
                ),
            ],
            true,
        ),
        (
            "one that has ended",
            vec![
                Entity {
                    valid_to: Some(onemap_model::Timestamp::from_ms(0)),
                    ..pipe("c", "雨水", &[(100.0, 0.0), (200.0, 0.0)])
                },
                pipe("b", "雨水", &[(200.0, 0.0), (300.0, 0.0)]),
            ],
            false,
        ),
    ];
    for (what, others, want) in cases {
        let mut all = vec![long.clone()];
        all.retain(|own| others.iter().all(|other| other.code != own.code));
        all.extend(others);
        for _ in 0..2 {
            let networks = networks(&all);
            let parts = parts(&networks);
            let [a, b] = ["pipe/a", "pipe/b"].map(|of| part(&networks, &parts, of).unwrap());
            assert_eq!(a == b, want, "{what}");
            all.reverse();
        }
    }
    let reach = |code: &str, points: [(f64, f64); 2]| {
        let points = points.map(degrees);
        entity(
            "reach",
            code,
            json!({"type": "MultiLineString", "coordinates": [points]}),
            json!({}),
        )
    };
    let rivers = [
        reach("a", [(0.0, 0.0), (900.0, 0.0)]),
        reach("b", [(900.0, 0.0), (2_000.0, 0.0)]),
    ];
    let rivers = networks(&rivers);
    let parts = parts(&rivers);
    assert_eq!(part(&rivers, &parts, "reach/a"), part(&rivers, &parts, "reach/b"));
    assert_eq!(part(&rivers, &parts, "reach/c"), None);
}

#[test]
fn a_device_has_its_place_on_its_line() {
    let all = [
        pipe("a", "雨水", &[(0.0, 0.0), (100.0, 0.0)]),
        pipe("b", "雨水", &[(40.0, 30.0), (40.0, 0.0)]),
        pipe("c", "供水", &[(0.0, 1.0), (100.0, 1.0)]),
    ];
    let networks = networks(&all);
    let at = |at: (f64, f64)| {
        let at = degrees(at);
        Position::new(at[0].as_f64().unwrap(), at[1].as_f64().unwrap(), None).unwrap()
    };
    let of: EntityRef = "pipe/a".parse().unwrap();
    let on = |east: f64| networks.place(&of, Some(at((east, 7.0)))).unwrap();
    let (near, far) = (on(10.0), on(90.0));
    assert_ne!(near.piece, far.piece, "the branch lies between");
    assert!(
        (near.metres - 10.0).abs() < 0.01 && (far.metres - 50.0).abs() < 0.01,
        "{near:?} {far:?}"
    );
    let middle = networks.place(&of, None).unwrap();
    assert!((middle.metres - 10.0).abs() < 0.01, "{middle:?}");
    let named = |name: &str, east: f64, north: f64| {
        let mut well = well("w", (east, north), json!({}));
        well.name = name.to_owned();
        networks
            .place_near(&well)
            .map(|place| networks.pieces[place.piece as usize].medium)
    };
    let medium = |id: &str| {
        Medium::all()
            .iter()
            .position(|medium| medium.id == id)
            .map(|n| n as u16)
    };
    assert_eq!(named("雨水井盖", 70.0, 1.0), medium("drain"));
    assert_eq!(named("供水井盖", 70.0, 0.0), medium("supply"));
    assert_eq!(named("井盖", 70.0, 0.0), None, "two media are as near");
    assert_eq!(named("井盖", 40.0, 20.0), medium("drain"));
    assert_eq!(named("污水井盖", 70.0, 0.0), None);
    assert_eq!(named("雨水井盖", 70.0, 9.0), None);
}

/// The mains of Fortaleza: which of 2,332 lines are joined, against every pair looked at.
#[test]
fn a_city_s_mains_fall_into_the_parts_that_a_slow_look_finds() {
    let file = FilePath::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/data/pipe-networks/fortaleza_water_pipes.geojson.gz");
    if !file.exists() {
        println!("SKIPPED: ../shared/data/pipe-networks is not there");
        return;
    }
    let out = Command::new("gzip").arg("-dc").arg(&file).output().unwrap();
    let all: Value = serde_json::from_slice(&out.stdout).unwrap();
    let features = all["features"].as_array().unwrap();
    let mains: Vec<Entity> = features
        .iter()
        .enumerate()
        .map(|(i, feature)| {
            let mut attributes = feature["properties"].clone();
            attributes["medium"] = json!("供水");
            entity("pipe", &i.to_string(), feature["geometry"].clone(), attributes)
        })
        .collect();
    let began = std::time::Instant::now();
    let lined: Vec<Lined> = mains.iter().filter_map(Lined::of).collect();
    let read = began.elapsed();
    // Two of them have no length.
    assert_eq!((mains.len(), lined.len()), (2_332, 2_330));
    let codes: Vec<String> = lined.iter().map(|lined| lined.own.to_string()).collect();
    let lines: Vec<Vec<[f64; 2]>> = lined.iter().flat_map(|lined| lined.paths.clone()).collect();
    assert_eq!(lines.len(), lined.len(), "each is one line");
    let began = std::time::Instant::now();
    let networks = Networks::of(lined);
    let n = networks.pieces.len();
    println!("read in {read:?}, {n} pieces in {:?}", began.elapsed());
    let own = parts(&networks);
    // By hand: an end within a metre of any segment of another.
    let mut part_of: Vec<usize> = (0..lines.len()).collect();
    let touches = |at: [f64; 2], line: &[[f64; 2]]| {
        line.windows(2).any(|pair| {
            let segment = Segment {
                path: 0,
                from_m: 0.0,
                metres: 0.0,
                ends: [pair[0], pair[1]],
            };
            segment.nearest(at).0 <= JOIN_M
        })
    };
    for (i, line) in lines.iter().enumerate() {
        for (j, other) in lines.iter().enumerate() {
            let ends = [line[0], line[line.len() - 1]];
            if part_of[i] != part_of[j] && ends.into_iter().any(|end| touches(end, other)) {
                let (from, to) = (part_of[i].max(part_of[j]), part_of[i].min(part_of[j]));
                part_of
                    .iter_mut()
                    .filter(|part| **part == from)
                    .for_each(|part| *part = to);
            }
        }
    }
    let mut pairs = BTreeSet::new();
    for (i, slow) in part_of.iter().enumerate() {
        pairs.insert((*slow, part(&networks, &own, &codes[i]).unwrap()));
    }
    let n_slow = pairs.iter().map(|(slow, _)| slow).collect::<BTreeSet<_>>().len();
    let n_own = pairs.iter().map(|(_, own)| own).collect::<BTreeSet<_>>().len();
    assert_eq!(
        (pairs.len(), pairs.len()),
        (n_slow, n_own),
        "one part is one part"
    );
    let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
    part_of
        .iter()
        .for_each(|part| *sizes.entry(*part).or_default() += 1);
    println!("{n_own} parts, the largest of {:?} mains", sizes.values().max());
    assert!(
        (2..=18).contains(&n_own),
        "its README counts 18 by ends alone: {n_own}"
    );
    let metres: f64 = networks.pieces.iter().map(|piece| piece.metres).sum();
    assert!((240_000.0..242_500.0).contains(&metres), "{metres} m of 241 km");
}
