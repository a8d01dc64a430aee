//! Measures the indexes of the ground on the synthetic city, for benches/map.py: `ground tables FOLDER` writes
//! what PostGIS is asked, `ground measure` prints one JSON object a line: what was asked, answers each CPU second
//! of this process, p50 and p99 in microseconds, and what the first questions found. `ground view` does the same with
//! the whole map (`CityMap`), and with its tiles.

mod city;
mod tables;
mod view;

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use city::{City, square};
use onemap_spatial::ground::region::line_distance_m;
use onemap_spatial::ground::{
    AreaIndex, Boxes, Extent, Fence, Fences, Motion, Movers, Point, Points, Polygon, Region, Sighting, Vertex,
};
use serde_json::json;

const N_QUESTIONS: usize = 20_000;
const N_MOVES: usize = 2_000_000;
const N_FENCE_MOVES: usize = 1_000_000;
const MOVES_A_BATCH: usize = 1_000;
/// Answers that are compared with those of PostGIS.
const N_COMPARED: usize = 2_000;

struct Questions {
    places: Vec<Vertex>,
    stars: Vec<Polygon>,
    begin: Vec<Vertex>,
    moves: Vec<(u32, Vertex)>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let city = City::new();
    let (begin, moves) = city.moves(N_MOVES);
    let questions = Questions {
        places: city.places(N_QUESTIONS),
        stars: tables::stars(&city),
        begin,
        moves,
    };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tables", folder] => {
            tables::write(&city, &questions, Path::new(folder))?;
            view::write(&city, Path::new(folder))?;
        }
        ["measure"] => measure(&city, &questions),
        ["view"] => view::measure(&city, &questions),
        _ => return Err("ground tables FOLDER | ground measure | ground view".into()),
    }
    Ok(())
}

/// Seconds that this thread had a core.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok());
    first.map_or_else(|| panic!("no /proc/thread-self/schedstat"), |ns| ns / 1e9)
}

/// Asks every question, and again for at least half a second of CPU: first for the rate, then each with a clock.
fn ask(name: &str, n: usize, mut question: impl FnMut(usize) -> usize) {
    let compared: Vec<usize> = (0..n.min(N_COMPARED)).map(&mut question).collect();
    let (begin, mut n_asked) = (cpu_seconds(), 0);
    while cpu_seconds() - begin < 0.5 {
        for i in 0..n {
            black_box(question(i));
        }
        n_asked += n;
    }
    let rate = n_asked as f64 / (cpu_seconds() - begin);
    let mut took: Vec<u64> = Vec::with_capacity(n);
    let mut found = 0;
    for i in 0..n {
        let begin = Instant::now();
        found += black_box(question(i));
        took.push(begin.elapsed().as_nanos() as u64);
    }
    took.sort_unstable();
    let at = |part: f64| took[((n - 1) as f64 * part) as usize] as f64 / 1000.0;
    println!(
        "{}",
        json!({"name": name, "rate": rate, "p50_us": at(0.5), "p99_us": at(0.99),
               "found": found as f64 / n as f64, "compared": compared})
    );
}

/// Does something once and says how many things a CPU second that makes.
fn once<T>(name: &str, n: usize, work: impl FnOnce() -> T) -> T {
    let begin = cpu_seconds();
    let made = work();
    println!(
        "{}",
        json!({"name": name, "rate": n as f64 / (cpu_seconds() - begin)})
    );
    made
}

fn memory(name: &str, bytes: usize) {
    println!("{}", json!({"name": name, "bytes": bytes}));
}

fn measure(city: &City, questions: &Questions) {
    points(city, questions);
    shapes(city, questions);
    movers(questions);
    fences(city, questions);
}

fn points(city: &City, questions: &Questions) {
    let (places, n) = (&questions.places, N_QUESTIONS);
    let all: Vec<Point> = (0u32..)
        .zip(&city.points)
        .map(|(item, (at, kind))| Point {
            item,
            kind: *kind,
            at: *at,
        })
        .collect();
    let index = once("points-load", all.len(), || Points::of(all.clone()));
    memory("points", index.bytes());
    for metres in [100, 250, 1000] {
        let boxes: Vec<Extent> = places.iter().map(|at| square(*at, f64::from(metres))).collect();
        ask(&format!("bbox-{metres}"), n, |i| {
            let (mut found, mut sum) = (0, 0u32);
            index.bbox(boxes[i], |point| {
                found += 1;
                sum = sum.wrapping_add(point.item);
            });
            black_box(sum);
            found
        });
    }
    for k in [10, 100] {
        ask(&format!("knn-{k}"), n, |i| {
            index.nearest(places[i], k, |_| true).len()
        });
    }
    // A kind of three in a thousand.
    ask("knn-10-rare", n, |i| {
        index.nearest(places[i], 10, |point| point.kind > 28).len()
    });
    ask("radius-250", n, |i| {
        let mut found = 0;
        index.radius(places[i], 250.0, |_| found += 1);
        found
    });
    ask("polygon", n, |i| {
        let mut found = 0;
        index.covered_by(std::slice::from_ref(&questions.stars[i]), |_| found += 1);
        found
    });
    // Beside changes: 10,000 points moved one by one.
    let mut changed = index.clone();
    once("points-change", 10_000, || {
        for point in &all[..10_000] {
            changed.remove(point.item);
            changed.insert(*point);
        }
    });
    ask("bbox-250-changed", n, |i| {
        let mut found = 0;
        changed.bbox(square(places[i], 250.0), |_| found += 1);
        found
    });
}

fn shapes(city: &City, questions: &Questions) {
    let (places, n) = (&questions.places, N_QUESTIONS);
    let extent = |vertices: &[Vertex]| Extent::around(vertices.iter().copied()).expect("vertices");
    let boxed: Vec<(u32, Extent)> = (0u32..)
        .zip(&city.lines)
        .map(|(i, line)| (i, extent(line)))
        .collect();
    let lines = once("lines-load", boxed.len(), || Boxes::of(boxed));
    memory("lines", lines.bytes());
    ask("lines-bbox-250", n, |i| {
        let mut found = 0;
        lines.bbox(square(places[i], 250.0), |_| found += 1);
        found
    });
    ask("lines-nearest", n, |i| {
        let far = |item: u32| Some(line_distance_m(places[i], &city.lines[item as usize]));
        lines.nearest(places[i], 1, far).len()
    });
    ask("lines-polygon", n, |i| {
        let Some(region) = Region::of(std::slice::from_ref(&questions.stars[i])) else {
            return 0;
        };
        let mut found = 0;
        lines.bbox(region.extent(), |item| {
            found += usize::from(region.meets_line(&city.lines[item as usize]));
        });
        found
    });
    let boxed = (0u32..)
        .zip(&city.polygons)
        .map(|(i, polygon)| (i, extent(&polygon.rings[0])));
    let polygons = Boxes::of(boxed.collect());
    ask("polygons-meet", n, |i| {
        let Some(region) = Region::of(std::slice::from_ref(&questions.stars[i])) else {
            return 0;
        };
        let mut found = 0;
        polygons.bbox(region.extent(), |item| {
            found += usize::from(region.meets(std::slice::from_ref(&city.polygons[item as usize])));
        });
        found
    });
    let mut areas = AreaIndex::new();
    once("areas-load", city.polygons.len(), || {
        for (item, polygon) in (0u32..).zip(&city.polygons) {
            areas.put(item, std::slice::from_ref(polygon));
        }
    });
    memory("areas", areas.bytes());
    let mut found = Vec::new();
    ask("areas-at", n, |i| {
        areas.at(places[i], &mut found);
        found.len()
    });
}

fn movers(questions: &Questions) {
    let (places, n) = (&questions.places, N_QUESTIONS);
    let movers = Movers::new(questions.begin.len() as u32);
    let set = |item: u32, at: Vertex| movers.set(item, at).expect("there is room");
    for (item, at) in (0u32..).zip(&questions.begin) {
        set(item, *at);
    }
    once("movers-set", questions.moves.len(), || {
        questions.moves.iter().for_each(|(item, at)| set(*item, *at));
    });
    ask("movers-bbox-250", n, |i| {
        let mut found = 0;
        movers.bbox(square(places[i], 250.0), |_, _| found += 1);
        found
    });
    ask("movers-knn-10", n, |i| {
        movers.nearest(places[i], 10, |_, _| true).len()
    });
}

fn fences(city: &City, questions: &Questions) {
    let mut fences = Fences::new(Motion::default());
    once("fences-load", city.fences.len(), || {
        for (number, polygon) in (0u32..).zip(&city.fences) {
            let fence = Fence {
                polygons: vec![polygon.clone()],
                groups: 1,
                hysteresis_m: 0.0,
                dwell_ms: None,
            };
            fences.put(number, fence);
        }
    });
    memory("fences", fences.bytes());
    let (mut seen, mut events) = (Vec::new(), Vec::new());
    let mut at_ms = 0;
    let mut n_events = Vec::new();
    once("fences-observe", N_FENCE_MOVES, || {
        for batch in questions.moves[..N_FENCE_MOVES].chunks(MOVES_A_BATCH) {
            events.clear();
            seen.clear();
            seen.extend(batch.iter().map(|(object, at)| {
                at_ms += 10;
                Sighting {
                    object: *object,
                    groups: 1,
                    at_ms,
                    at: *at,
                }
            }));
            fences.observe_all(&seen, &mut events, |_, _| {});
            n_events.push(events.len());
        }
    });
    let n_all: usize = n_events.iter().sum();
    println!("{}", json!({"name": "fences-events", "n": n_all}));
}
