#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use onemap_model::EntityKind;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn fence(code: &str, [west, south, east, north]: [f64; 4], more: Value) -> Entity {
    let ring = [
        [west, south],
        [east, south],
        [east, north],
        [west, north],
        [west, south],
    ];
    let mut entity = json!({
        "code": code, "kind": EntityKind::Fence, "name": code,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    });
    for (name, value) in more.as_object().unwrap() {
        entity[name] = value.clone();
    }
    serde_json::from_value(entity).unwrap()
}

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

fn s(seconds: i64) -> Timestamp {
    Timestamp::from_ms(seconds * 1000)
}

/// Sights a device and says what was told as `fence kind sequence`.
fn see(moving: &mut Moving, name: &str, kind: &str, at_s: i64, lon: f64) -> Vec<String> {
    let mut told = Vec::new();
    let seen = Seen {
        device: &device(name),
        kind: &Arc::from(kind),
        at: Vertex::from_degrees(lon, 36.5).unwrap(),
        measured_at: s(at_s),
        received_at: s(at_s + 1),
    };
    moving.sight(&seen, &mut told);
    let said = |told: &Told| format!("{} {} {}", told.fence, told.kind, told.sequence);
    told.iter().map(said).collect()
}

/// A wide fence with a narrow one in it.
fn city() -> Moving {
    let mut moving = Moving::default();
    let dwell = json!({"attributes": {"dwell_s": 60, "hysteresis_m": 100}});
    for entity in [
        fence("wide", [101.70, 36.4, 101.80, 36.6], json!({})),
        fence("narrow", [101.74, 36.4, 101.76, 36.6], dwell),
    ] {
        moving.put_fence(&entity, s(0)).unwrap();
    }
    moving
}

#[test]
fn a_track_is_told_by_the_names_of_its_fences() {
    let mut moving = city();
    let none: [&str; 0] = [];
    assert_eq!(see(&mut moving, "t", "truck", 0, 101.69), none);
    assert_eq!(see(&mut moving, "t", "truck", 30, 101.70), ["wide enter 1"]);
    assert_eq!(see(&mut moving, "t", "truck", 90, 101.74), ["narrow enter 2"]);
    let stays = |moving: &Moving| {
        let stays = moving.fences_of("t").into_iter();
        stays
            .map(|(code, since)| (code.to_string(), since))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        stays(&moving),
        [("narrow".to_owned(), s(90)), ("wide".to_owned(), s(30))]
    );
    assert_eq!(see(&mut moving, "t", "truck", 149, 101.75), none);
    assert_eq!(see(&mut moving, "t", "truck", 150, 101.75), ["narrow dwell 3"]);
    // 89 m behind the border, then 178 m.
    assert_eq!(see(&mut moving, "t", "truck", 200, 101.761), none);
    assert_eq!(see(&mut moving, "t", "truck", 210, 101.762), ["narrow exit 4"]);
    let inside: Vec<_> = moving
        .inside("wide")
        .map(|inside| (inside.device, inside.since))
        .collect();
    assert_eq!(
        (inside, moving.inside("narrow").count()),
        (vec![(device("t"), s(30))], 0)
    );
    // Older than the newest: nothing, and the place stays.
    assert_eq!(see(&mut moving, "t", "truck", 205, 101.5), none);
    let newest = moving.newest("t").unwrap();
    assert_eq!((newest.measured_at, newest.at.lon), (s(210), 1_017_620_000));
    // Too far for five seconds: doubted, then believed with the next one near it.
    assert_eq!(see(&mut moving, "t", "truck", 215, 101.9), none);
    assert_eq!(
        moving.newest("t").unwrap().doubted.map(|(_, at)| at),
        Some(s(215))
    );
    assert_eq!(see(&mut moving, "t", "truck", 220, 101.9), ["wide exit 5"]);
}

#[test]
fn fences_are_for_kinds_and_for_their_time() {
    let mut moving = Moving::default();
    let only = json!({"attributes": {"device_kinds": ["truck"]}, "valid_from": s(100), "valid_to": s(200)});
    moving
        .put_fence(&fence("f", [101.7, 36.4, 101.8, 36.6], only), s(0))
        .unwrap();
    let none: [&str; 0] = [];
    assert_eq!(see(&mut moving, "t", "truck", 50, 101.75), none);
    assert!(!moving.fence("f").unwrap().in_force);
    moving.tick(s(100));
    assert_eq!(see(&mut moving, "c", "car", 100, 101.75), none);
    assert_eq!(see(&mut moving, "t", "truck", 100, 101.75), ["f enter 1"]);
    assert_eq!(moving.fence("f").unwrap().n_inside, 1);
    // The device is called another kind: it is none of the fence's any more.
    assert_eq!(see(&mut moving, "t", "car", 110, 101.75), none);
    assert_eq!((moving.inside("f").count(), moving.fences_of("t").len()), (0, 0));
    assert_eq!(see(&mut moving, "t", "truck", 120, 101.75), ["f enter 2"]);
    moving.tick(s(200));
    assert_eq!((moving.inside("f").count(), moving.fences_of("t").len()), (0, 0));
    assert_eq!(see(&mut moving, "t", "truck", 210, 101.9), none);
}

#[test]
fn what_is_out_of_use_is_nowhere_and_counts_on_when_it_comes_back() {
    let mut moving = city();
    assert_eq!(see(&mut moving, "t", "truck", 0, 101.71), ["wide enter 1"]);
    assert!(moving.retire(&device("t")) && !moving.retire(&device("nobody")));
    assert_eq!((moving.newest("t"), moving.inside("wide").count()), (None, 0));
    assert_eq!(see(&mut moving, "t", "truck", 9, 101.71), ["wide enter 2"]);
    // Replaced, a fence is entered again; taken off, it is left silently.
    moving
        .put_fence(&fence("wide", [101.6, 36.4, 101.8, 36.6], json!({})), s(10))
        .unwrap();
    assert_eq!(see(&mut moving, "t", "truck", 20, 101.71), ["wide enter 3"]);
    assert!(moving.remove_fence("wide") && !moving.remove_fence("wide"));
    let none: [&str; 0] = [];
    assert_eq!(see(&mut moving, "t", "truck", 100, 101.75), ["narrow enter 4"]);
    assert_eq!(see(&mut moving, "t", "truck", 110, 101.75), none);
}

#[test]
fn what_is_no_fence_is_refused_by_name() {
    let mut moving = city();
    let mut line = fence("wide", [101.7, 36.4, 101.8, 36.6], json!({}));
    line.geometry = json!({"type": "LineString", "coordinates": [[101.7, 36.4], [101.8, 36.4]]});
    assert!(matches!(
        moving.put_fence(&line, s(0)),
        Err(FenceFault::Geometry(_))
    ));
    assert!(moving.fence("wide").is_none(), "what cannot be used is no fence");
    let bad = fence(
        "x",
        [101.7, 36.4, 101.8, 36.6],
        json!({"attributes": {"dwell_s": -1}}),
    );
    assert!(matches!(moving.put_fence(&bad, s(0)), Err(FenceFault::Rules(_))));
}

#[test]
fn damaged_bytes_are_refused_and_another_format_is_named() {
    let mut moving = city();
    see(&mut moving, "t", "truck", 0, 101.75);
    see(&mut moving, "t", "truck", 1, 102.75);
    let half = Half {
        channel: 3,
        at_ms: 5,
        is_lon: true,
        degrees: 101.5,
    };
    moving.join(&device("t"), &[half]);
    let bytes = moving.encode();
    for n in 0..bytes.len() {
        assert!(city().restore(&bytes[..n]).is_err(), "{n}");
    }
    assert_eq!(
        city().restore(&[bytes.clone(), vec![0]].concat()),
        Err(KeptError::Damaged)
    );
    assert_eq!(city().restore(&[9]), Err(KeptError::Format(9)));
    let mut again = city();
    again.restore(&bytes).unwrap();
    assert_eq!(again.encode(), bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// However often it is put away and taken up, with its fences in another order: the same is told.
    #[test]
    fn a_restart_changes_nothing(
        steps in proptest::collection::vec((0usize..3, -2i64..90, 0i32..16, 0u8..12), 1..120),
    ) {
        let names = ["a", "b", "c"];
        let mut fences = vec![
            fence("f1", [101.70, 36.4, 101.76, 36.6], json!({})),
            fence("f2", [101.72, 36.4, 101.78, 36.6], json!({"attributes": {"dwell_s": 40, "hysteresis_m": 800}})),
            fence("f3", [101.71, 36.4, 101.74, 36.6], json!({"attributes": {"device_kinds": ["bus"], "dwell_s": 5}})),
            fence("f4", [101.75, 36.4, 101.79, 36.6], json!({"valid_from": s(500), "valid_to": s(1500)})),
        ];
        let made = |fences: &[Entity], now| {
            let mut moving = Moving::default();
            for fence in fences {
                moving.put_fence(fence, now).unwrap();
            }
            moving
        };
        let (mut whole, mut cut) = (made(&fences, s(0)), made(&fences, s(0)));
        let mut now = 0;
        for (who, after, place, what) in steps {
            now += after;
            let kind = if who == 0 { "bus" } else { "truck" };
            // The last places are too far away to be believed at once.
            let lon = 101.69 + 0.01 * f64::from(place) + if place > 13 { 1.0 } else { 0.0 };
            for moving in [&mut whole, &mut cut] {
                moving.tick(s(now));
            }
            match what {
                0 => {
                    fences.rotate_left(1);
                    let bytes = cut.encode();
                    cut = made(&fences, s(now));
                    cut.restore(&bytes).unwrap();
                }
                1 => for moving in [&mut whole, &mut cut] {
                    moving.retire(&device(names[who]));
                },
                2 => for moving in [&mut whole, &mut cut] {
                    moving.put_fence(&fences[0].clone(), s(now)).unwrap();
                },
                _ => {
                    let told = see(&mut whole, names[who], kind, now, lon);
                    prop_assert_eq!(told, see(&mut cut, names[who], kind, now, lon));
                }
            }
            for name in names {
                prop_assert_eq!(whole.newest(name), cut.newest(name));
                prop_assert_eq!(whole.fences_of(name), cut.fences_of(name));
            }
            for fence in &fences {
                let inside = |moving: &Moving| moving.inside(&fence.code).collect::<Vec<_>>();
                prop_assert_eq!(inside(&whole), inside(&cut));
            }
        }
        // Stays are kept in the order of the fences' numbers, which are others in the two.
        let again = |moving: &Moving| {
            let mut again = made(&fences, s(now));
            again.restore(&moving.encode()).unwrap();
            again.encode()
        };
        prop_assert_eq!(again(&whole), again(&cut));
    }
}
