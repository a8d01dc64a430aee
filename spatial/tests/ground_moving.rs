//! Moving objects: the grid against brute force, many threads at once, and the rules of fences.

#[allow(dead_code, reason = "each test file uses its part")]
mod ground {
    pub(crate) mod brute;
    pub(crate) mod scene;
}

use std::collections::{BTreeMap, BTreeSet};

use ground::brute;
use ground::scene::Scene;
use onemap_spatial::ground::{
    Crossing, Extent, Fence, FenceEvent, Fences, Motion, Movers, MoversError, Polygon, Sighting, Taken,
    Vertex, sphere,
};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn movers_answer_as_brute_force_does(seed in any::<u64>(), n in 1u32..1_500) {
        let mut scene = Scene::new(seed);
        let movers = Movers::new(n);
        let mut held: BTreeMap<u32, Vertex> = BTreeMap::new();
        for round in 0..24 {
            for _ in 0..n {
                let item = scene.below(n);
                if round > 2 && scene.below(12) == 0 {
                    prop_assert_eq!(movers.remove(item), held.remove(&item).is_some());
                } else {
                    let at = match held.get(&item).filter(|_| scene.below(2) == 0) {
                        Some(at) => Vertex { lon: at.lon, lat: (at.lat + 900).min(900_000_000) },
                        None => scene.vertex(),
                    };
                    prop_assert_eq!(movers.set(item, at), Ok(()));
                    held.insert(item, at);
                }
            }
            prop_assert_eq!(movers.len(), held.len());
            for _ in 0..3 {
                let extent = Extent::around([scene.vertex(), scene.vertex()]).expect("two points");
                let mut got = BTreeMap::new();
                movers.bbox(extent, |item, at| assert!(got.insert(item, at).is_none()));
                let want: BTreeMap<u32, Vertex> = held.iter().filter(|(_, at)| extent.holds(**at)).map(|(i, at)| (*i, *at)).collect();
                prop_assert_eq!(got, want);
                let (to, k) = (scene.near(), 1 + scene.below(20) as usize);
                let got: Vec<(u32, f64)> =
                    movers.nearest(to, k, |item, _| item % 5 != 1).into_iter().map(|n| (n.item, n.metres)).collect();
                let kept = held.iter().filter(|(item, _)| *item % 5 != 1);
                let mut want: Vec<(u32, f64)> = kept.map(|(item, at)| (*item, sphere::distance_m(to, *at))).collect();
                want.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
                want.truncate(k);
                prop_assert_eq!(got, want);
            }
        }
        let item = n;
        prop_assert_eq!(movers.set(item, scene.vertex()), Err(MoversError::Capacity { item, capacity: n }));
    }

    #[test]
    fn fences_tell_what_a_plain_comparison_of_before_and_after_does(seed in any::<u64>(), n in 0u32..40) {
        let mut scene = Scene::new(seed);
        let mut fences = Fences::new(Motion { fastest_m_s: f64::INFINITY, error_m: 0.0 });
        let mut plain: BTreeMap<u32, Fence> = BTreeMap::new();
        let mut inside: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
        let mut sequences: BTreeMap<u32, u64> = BTreeMap::new();
        let mut at: BTreeMap<u32, Vertex> = BTreeMap::new();
        for round in 0..300i64 {
            if plain.len() < n as usize || scene.below(20) == 0 {
                let number = scene.below(n + 1);
                if scene.below(5) == 0 {
                    prop_assert_eq!(fences.remove(number), plain.remove(&number).is_some());
                } else {
                    let fence = Fence {
                        polygons: vec![scene.polygon()],
                        groups: u64::from(1 + scene.below(3)),
                        hysteresis_m: 0.0,
                        dwell_ms: None,
                    };
                    fences.put(number, fence.clone());
                    plain.insert(number, fence);
                }
                // Who was in it is no longer, silently.
                inside.values_mut().for_each(|own| { own.remove(&number); });
            }
            let object = scene.below(6);
            let place = match at.get(&object).filter(|_| scene.below(3) > 0) {
                Some(v) => Vertex { lon: (v.lon + scene.below(9) as i32 - 4).clamp(-1_800_000_000, 1_800_000_000), lat: v.lat },
                None => scene.on_some_border(plain.values().flat_map(|f| &f.polygons)),
            };
            at.insert(object, place);
            let groups = u64::from(object % 4);
            let covers = |f: &Fence| f.groups & groups != 0 && f.polygons.iter().any(|p| brute::covers(p, place));
            let now: BTreeSet<u32> = plain.iter().filter(|(_, f)| covers(f)).map(|(number, _)| *number).collect();
            let before = inside.insert(object, now.clone()).unwrap_or_default();
            let mut want = Vec::new();
            for (set, other, crossing) in [(&before, &now, Crossing::Exit), (&now, &before, Crossing::Enter)] {
                for fence in set.difference(other) {
                    let sequence = sequences.entry(object).or_default();
                    *sequence += 1;
                    want.push(FenceEvent { object, sequence: *sequence, fence: *fence, crossing, at_ms: round, at: place });
                }
            }
            let mut got = Vec::new();
            let taken = fences.observe(Sighting { object, groups, at_ms: round, at: place }, &mut got);
            prop_assert_eq!(taken, Taken::Yes);
            prop_assert_eq!(got, want, "round {}", round);
            let stays: Vec<u32> = fences.stays_of(object).map(|(fence, _)| fence).collect();
            prop_assert_eq!(stays, now.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn many_sightings_at_once_tell_what_they_tell_one_by_one(seed in any::<u64>(), n in 1u32..40) {
        let mut scene = Scene::new(seed);
        let (mut together, mut single) = (Fences::new(Motion::default()), Fences::new(Motion::default()));
        for number in 0..n {
            let fence = Fence {
                polygons: vec![scene.polygon()],
                groups: u64::from(1 + scene.below(3)),
                hysteresis_m: f64::from(scene.below(2)) * 20.0,
                dwell_ms: (scene.below(2) == 0).then_some(5_000),
            };
            together.put(number, fence.clone());
            single.put(number, fence);
        }
        let mut at_ms = 0;
        let seen: Vec<Sighting> = (0..400)
            .map(|_| {
                // Late ones and impossible ways are among them.
                at_ms += i64::from(scene.below(2_000)) - 200;
                Sighting { object: scene.below(5), groups: u64::from(scene.below(4)), at_ms, at: scene.vertex() }
            })
            .collect();
        let (mut got, mut want) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        for batch in seen.chunks(150) {
            together.observe_all(batch, &mut got.0, |one, taken| got.1.push((*one, taken)));
        }
        for one in &seen {
            let taken = single.observe(*one, &mut want.0);
            want.1.push((*one, taken));
        }
        prop_assert_eq!(got, want);
    }
}

#[test]
fn threads_that_move_and_ask_at_once_lose_nobody() {
    const N: u32 = 4_000;
    let movers = Movers::new(N);
    let still: Vec<u32> = (0..N).filter(|i| i % 4 == 0).collect();
    let mut scene = Scene::new(7);
    let places: Vec<Vertex> = (0..N).map(|_| scene.vertex()).collect();
    (0..N).for_each(|i| movers.set(i, places[i as usize]).expect("room"));
    let everywhere = Extent::around(places.iter().copied()).expect("points");
    std::thread::scope(|scope| {
        for thread in 1..4u64 {
            let movers = &movers;
            scope.spawn(move || {
                let mut scene = Scene::new(thread);
                for _ in 0..60_000 {
                    // All threads move the same objects, and take some off and put them back.
                    let item = scene.below(N / 4) * 4 + 1 + scene.below(3);
                    if scene.below(50) == 0 {
                        movers.remove(item);
                    }
                    movers.set(item, scene.vertex()).expect("room");
                }
            });
        }
        for round in 0..300 {
            let mut seen = BTreeSet::new();
            let piece = |part: f64| (f64::from(everywhere.max.lon - everywhere.min.lon) * part) as i32;
            let west = everywhere.min.lon + piece(f64::from(round % 10) / 10.0);
            let strip = Extent {
                min: Vertex {
                    lon: west,
                    ..everywhere.min
                },
                max: Vertex {
                    lon: west + piece(0.01),
                    ..everywhere.max
                },
            };
            movers.bbox(strip, |item, _| _ = seen.insert(item));
            let missing = still
                .iter()
                .find(|i| strip.holds(places[**i as usize]) && !seen.contains(i));
            assert_eq!(missing, None, "round {round}");
        }
    });
    assert_eq!(movers.len(), N as usize);
    // Afterwards every object is found exactly once, where it says it is.
    let mut n_found = 0;
    for row in 0..200 {
        let at = |low: i32, high: i32, part: i32| {
            low + ((i64::from(high) - i64::from(low)) * i64::from(part) / 200) as i32
        };
        let south = at(everywhere.min.lat, everywhere.max.lat, row) + i32::from(row > 0);
        let strip = Extent {
            min: Vertex {
                lon: -1_800_000_000,
                lat: if row == 0 { -900_000_000 } else { south },
            },
            max: Vertex {
                lon: 1_800_000_000,
                lat: if row == 199 {
                    900_000_000
                } else {
                    at(everywhere.min.lat, everywhere.max.lat, row + 1)
                },
            },
        };
        movers.bbox(strip, |item, place| {
            assert_eq!(movers.position(item), Some(place));
            n_found += 1;
        });
    }
    assert_eq!(n_found, N);
    assert!((0..N).all(|i| movers.remove(i)) && movers.is_empty());
}

/// A square fence of about 200 m around 101.78 E, 36.62 N, and positions east of its eastern border.
fn watched(hysteresis_m: f64, dwell_ms: Option<i64>, motion: Motion) -> Fences {
    let v = |lon, lat| Vertex::from_degrees(lon, lat).expect("on the globe");
    let ring = vec![
        v(101.779, 36.619),
        v(101.781, 36.619),
        v(101.781, 36.621),
        v(101.779, 36.621),
    ];
    let mut fences = Fences::new(motion);
    let polygons = vec![Polygon { rings: vec![ring] }];
    fences.put(
        7,
        Fence {
            polygons,
            groups: 1,
            hysteresis_m,
            dwell_ms,
        },
    );
    fences
}

/// Plays positions (seconds, metres east of the eastern border) and tells events and refusals in words.
fn play(mut fences: Fences, track: &[(i64, f64)]) -> Vec<String> {
    let metres_a_degree = sphere::EARTH_RADIUS_M.to_radians() * 36.62f64.to_radians().cos();
    let mut told = Vec::new();
    for (second, east) in track {
        let at = Vertex::from_degrees(101.781 + east / metres_a_degree, 36.62).expect("on the globe");
        let mut events = Vec::new();
        let taken = fences.observe(
            Sighting {
                object: 3,
                groups: 1,
                at_ms: second * 1000,
                at,
            },
            &mut events,
        );
        for e in events {
            told.push(format!(
                "{second}: #{} {:?} {} at {}",
                e.sequence,
                e.crossing,
                e.fence,
                e.at_ms / 1000
            ));
        }
        match taken {
            Taken::Yes => {}
            Taken::Late { newest_ms } => told.push(format!("{second}: late, newest {}", newest_ms / 1000)),
            Taken::Doubted => told.push(format!("{second}: doubted")),
        }
    }
    told
}

#[test]
fn jitter_at_the_border_makes_no_events_within_the_hysteresis() {
    let track = [
        (0, -50.0),
        (10, 5.0),
        (20, -3.0),
        (30, 19.0),
        (40, -1.0),
        (50, 26.0),
        (60, 10.0),
        (70, -2.0),
    ];
    let events = play(watched(20.0, None, Motion::default()), &track);
    assert_eq!(
        events,
        [
            "0: #1 Enter 7 at 0",
            "50: #2 Exit 7 at 50",
            "70: #3 Enter 7 at 70"
        ]
    );
    let without = play(watched(0.0, None, Motion::default()), &track);
    assert_eq!(without.len(), 7, "{without:?}");
}

#[test]
fn a_stay_is_told_once_and_a_silent_object_is_not_known_to_have_stayed() {
    let dwell = Some(60_000);
    let track = [
        (0, -50.0),
        (30, -50.0),
        (59, -50.0),
        (61, -50.0),
        (200, -50.0),
        (210, 50.0),
        (220, -50.0),
        (230, -40.0),
        (400, 60.0),
    ];
    let events = play(watched(0.0, dwell, Motion::default()), &track);
    assert_eq!(
        events,
        [
            "0: #1 Enter 7 at 0",
            "61: #2 Dwell 7 at 61",
            "210: #3 Exit 7 at 210",
            "220: #4 Enter 7 at 220",
            "400: #5 Exit 7 at 400",
        ]
    );
}

#[test]
fn late_positions_change_nothing() {
    let events = play(
        watched(0.0, None, Motion::default()),
        &[(100, 50.0), (90, -50.0), (100, -50.0), (110, -50.0), (105, 50.0)],
    );
    assert_eq!(
        events,
        [
            "90: late, newest 100",
            "100: late, newest 100",
            "110: #1 Enter 7 at 110",
            "105: late, newest 110"
        ]
    );
}

#[test]
fn one_wrong_fix_is_forgotten_and_a_real_jump_is_told_one_position_later() {
    let motion = Motion {
        fastest_m_s: 30.0,
        error_m: 50.0,
    };
    let wrong = play(
        watched(0.0, None, motion),
        &[(0, -50.0), (10, 9_000.0), (20, -60.0), (30, -50.0)],
    );
    assert_eq!(wrong, ["0: #1 Enter 7 at 0", "10: doubted"]);
    let real = play(
        watched(0.0, None, motion),
        &[(0, -50.0), (10, 9_000.0), (20, 9_100.0), (30, 9_200.0)],
    );
    assert_eq!(real, ["0: #1 Enter 7 at 0", "10: doubted", "20: #2 Exit 7 at 10"]);
    // Two wrong fixes in different places; and older than the doubted one.
    let apart = play(
        watched(0.0, None, motion),
        &[
            (0, -50.0),
            (10, 9_000.0),
            (20, -9_000.0),
            (15, 9_050.0),
            (30, -70.0),
        ],
    );
    assert_eq!(
        apart,
        [
            "0: #1 Enter 7 at 0",
            "10: doubted",
            "20: doubted",
            "15: late, newest 20"
        ]
    );
    // After a silence that is long enough for the way, it is believed.
    let silence = play(watched(0.0, None, motion), &[(0, -50.0), (600, 9_000.0)]);
    assert_eq!(silence, ["0: #1 Enter 7 at 0", "600: #2 Exit 7 at 600"]);
}
