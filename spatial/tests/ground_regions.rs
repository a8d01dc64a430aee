//! Predicates between geometries: against counting and walking here, and against shapely (GEOS).

#[allow(dead_code, reason = "each test file uses its part")]
mod ground {
    pub(crate) mod brute;
    pub(crate) mod region_questions;
    pub(crate) mod scene;
}

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use ground::brute;
use ground::region_questions::{Question, walked_m};
use ground::scene::Scene;
use onemap_spatial::ground::region::{Region, line_distance_m, segments_meet};
use onemap_spatial::ground::{Polygon, Vertex};
use serde_json::Value;

const N_QUESTIONS: u64 = 3_000;

fn square(west: i32, south: i32, east: i32, north: i32) -> Vec<Vertex> {
    let corners = [(west, south), (east, south), (east, north), (west, north)];
    corners.map(|(lon, lat)| Vertex { lon, lat }).to_vec()
}

#[test]
fn borders_belong_and_holes_do_not() {
    let holed = Polygon {
        rings: vec![square(0, 0, 100, 100), square(40, 40, 60, 60)],
    };
    let region = Region::of(&[holed]).expect("vertices");
    for (ring, meets, covers) in [
        (square(10, 10, 20, 20), true, true),
        (square(0, 0, 100, 100), true, false), // would fill the hole
        (square(40, 40, 60, 60), true, false), // is the hole: meets its border
        (square(45, 45, 55, 55), false, false),
        (square(60, 40, 80, 60), true, true), // touches the hole along an edge
        (square(100, 0, 120, 20), true, false), // touches from outside
        (square(101, 0, 120, 20), false, false),
        (square(-10, -10, 110, 110), true, false),
        (square(0, 0, 100, 40), true, true),
        (square(30, 50, 70, 55), true, false),
    ] {
        let polygons = [Polygon {
            rings: vec![ring.clone()],
        }];
        assert_eq!(
            (region.meets(&polygons), region.covers_polygons(&polygons)),
            (meets, covers),
            "{ring:?}"
        );
        // The same the other way round.
        let backwards = [Polygon {
            rings: vec![ring.into_iter().rev().collect()],
        }];
        assert_eq!(
            (region.meets(&backwards), region.covers_polygons(&backwards)),
            (meets, covers)
        );
    }
    let v = |lon, lat| Vertex { lon, lat };
    for (line, meets, covers) in [
        (vec![v(0, 0), v(100, 0), v(100, 100)], true, true),
        (vec![v(0, 0), v(100, 100)], true, false),
        (vec![v(0, 0), v(40, 40), v(40, 60)], true, true),
        (vec![v(41, 41), v(59, 59)], false, false),
        (vec![v(0, 50), v(40, 50), v(60, 50)], true, false),
        (vec![v(-5, 105), v(5, 100), v(-5, 95)], true, false),
        (vec![v(50, 0)], true, true),
        (vec![], false, false),
    ] {
        assert_eq!(
            (region.meets_line(&line), region.covers_line(&line)),
            (meets, covers),
            "{line:?}"
        );
    }
    assert!(!region.covers_polygons(&[]) && !region.meets(&[]));
    assert!(Region::of(&[]).is_none());
}

#[test]
fn signs_do_not_overflow_over_the_whole_globe() {
    let v = |lon, lat| Vertex { lon, lat };
    let (w, e, s, n) = (-1_800_000_000, 1_800_000_000, -900_000_000, 900_000_000);
    assert!(segments_meet(v(w, s), v(e, n), v(w, n), v(e, s)));
    assert!(!segments_meet(v(w, s), v(e, n - 1), v(w, s + 1), v(e, n)));
    assert!(segments_meet(v(w, s), v(e, n), v(0, 0), v(0, 0)));
    assert!(!segments_meet(v(w, s), v(e, n), v(0, 1), v(0, 1)));
    let half = Region::of(&[Polygon {
        rings: vec![square(w, s, 0, n)],
    }])
    .expect("vertices");
    for (p, covered) in [
        (v(0, n), true),
        (v(1, 0), false),
        (v(w, s), true),
        (v(-1, 5), true),
    ] {
        assert_eq!(half.covers(p), covered, "{p:?}");
    }
}

#[test]
fn points_and_segments_equal_brute_force() {
    for seed in 0..N_QUESTIONS {
        let mut scene = Scene::new(seed);
        let polygon = scene.polygon();
        let region = Region::of(std::slice::from_ref(&polygon)).expect("vertices");
        for _ in 0..4 {
            let p = scene.on_some_border(std::iter::once(&polygon));
            assert_eq!(region.covers(p), brute::covers(&polygon, p), "seed {seed}: {p:?}");
            let q = scene.on_some_border(std::iter::once(&polygon));
            let touched = brute::edges(&polygon).any(|(a, b)| brute::segments_meet(p, q, a, b));
            let want = touched || brute::covers(&polygon, p);
            assert_eq!(region.meets_line(&[p, q]), want, "seed {seed}: {p:?} {q:?}");
        }
    }
}

#[test]
fn distances_to_lines_are_those_of_walking_along_them() {
    for seed in 0..1_000 {
        let mut scene = Scene::new(seed);
        let question = Question::new(&mut scene);
        let (got, walked) = (
            line_distance_m(question.point, &question.line),
            walked_m(question.point, &question.line),
        );
        if walked < 100_000.0 && question.point.lat < 700_000_000 {
            // Walking stops at grid points: a step of the line and 8 mm.
            assert!(
                (got - walked).abs() < 0.001 * walked + 1.0,
                "seed {seed}: {got} {walked} {:?} {:?}",
                question.point,
                question.line
            );
            assert!(got < walked + 0.02, "seed {seed}: {got} {walked}");
        }
    }
}

#[test]
fn shapely_agrees_except_within_a_step_of_an_edge() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let python = root.join("target/peers/shapes/bin/python");
    if !python.exists() {
        eprintln!("SKIPPED the second opinion: run tests/peers/install.sh");
        return;
    }
    let mut child = Command::new(python)
        .arg(root.join("spatial/tests/check_regions.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut questions = String::new();
    for seed in 0..N_QUESTIONS {
        let mut scene = Scene::new(seed.wrapping_mul(0x9E37_79B9));
        questions.push_str(&Question::new(&mut scene).json().to_string());
        questions.push('\n');
    }
    let mut stdin = child.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || stdin.write_all(questions.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("no panic").expect("it reads all");
    assert!(output.status.success());
    let result: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    eprintln!("shapely: {result}");
    assert!(
        result["answers"].as_u64().is_some_and(|n| n >= 10_000),
        "{result}"
    );
    assert_eq!(result["wrong"], serde_json::json!([]), "{result}");
    // The scenes are made to have both answers of each.
    for (name, n) in result["true"].as_object().expect("an object") {
        let n = n.as_u64().unwrap_or(0);
        assert!(n > 100 && n < N_QUESTIONS - 100, "{name}: {n}");
    }
}
