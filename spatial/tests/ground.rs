//! The indexes of the ground against brute force: every answer of random scenes, many of them on borders.

#[allow(dead_code, reason = "each test file uses its part")]
mod ground {
    pub(crate) mod brute;
    pub(crate) mod scene;
}

use ground::{brute, scene};
use onemap_spatial::ground::{AreaIndex, Boxes, Extent, Neighbour, Point, Points, Polygon, Vertex, sphere};
use proptest::prelude::*;
use scene::Scene;

/// Changes an index as it would be in use: most at once, then one by one, some removed.
fn points_of(points: &[Point], n_at_once: usize, removed: &[u32]) -> Points {
    let n_at_once = n_at_once.min(points.len());
    let mut index = Points::of(points[..n_at_once].to_vec());
    for point in &points[n_at_once..] {
        index.insert(*point);
    }
    for item in removed {
        index.remove(*item);
    }
    index
}

fn sorted(mut points: Vec<Point>) -> Vec<(u32, Vertex)> {
    points.sort_unstable_by_key(|p| (p.item, p.at));
    points.into_iter().map(|p| (p.item, p.at)).collect()
}

fn nearest_of(mut all: Vec<(u32, f64)>, k: usize) -> Vec<Neighbour> {
    all.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    let mut seen = std::collections::HashSet::new();
    all.retain(|(item, _)| seen.insert(*item));
    all.truncate(k);
    let neighbour = |(item, metres)| Neighbour { item, metres };
    all.into_iter().map(neighbour).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn points_answer_as_brute_force_does(seed in any::<u64>(), n in 0usize..2_000, at_once in 0usize..2_000) {
        let mut scene = Scene::new(seed);
        let points: Vec<Point> = (0..n)
            .map(|_| Point { item: scene.below(1_600), kind: scene.below(4) as u8, at: scene.vertex() })
            .collect();
        let removed: Vec<u32> = (0..n / 8).map(|_| scene.below(1_600)).collect();
        let index = points_of(&points, at_once, &removed);
        let held: Vec<Point> = points.iter().copied().filter(|p| !removed.contains(&p.item)).collect();
        prop_assert_eq!(index.len(), held.len());
        for _ in 0..24 {
            let extent = Extent::around([scene.vertex(), scene.vertex()]).expect("two points");
            let mut got = Vec::new();
            index.bbox(extent, |p| got.push(p));
            prop_assert_eq!(sorted(got), sorted(held.iter().copied().filter(|p| extent.holds(p.at)).collect()));

            let (centre, metres) = (scene.near(), scene.metres());
            let mut got = Vec::new();
            index.radius(centre, metres, |p| got.push(p));
            let near = |p: &Point| sphere::distance_m(centre, p.at) <= metres;
            prop_assert_eq!(sorted(got), sorted(held.iter().copied().filter(near).collect()));

            let (k, kind) = (1 + scene.below(30) as usize, scene.below(6) as u8);
            let keep = |p: &Point| kind > 3 || p.kind == kind;
            let got = index.nearest(centre, k, |p| keep(&p));
            let all = held.iter().filter(|p| keep(p)).map(|p| (p.item, sphere::distance_m(centre, p.at)));
            prop_assert_eq!(got, nearest_of(all.collect(), k));

            let polygons: Vec<Polygon> = (0..1 + scene.below(3)).map(|_| scene.polygon()).collect();
            let mut got = Vec::new();
            index.covered_by(&polygons, |p| got.push(p));
            let covered = |p: &Point| polygons.iter().any(|polygon| brute::covers(polygon, p.at));
            prop_assert_eq!(sorted(got), sorted(held.iter().copied().filter(covered).collect()));
        }
    }

    #[test]
    fn boxes_answer_as_brute_force_does(seed in any::<u64>(), n in 0usize..700, at_once in 0usize..700) {
        let mut scene = Scene::new(seed);
        let boxes: Vec<(u32, Extent)> =
            (0..n).map(|_| (scene.below(600), Extent::around([scene.vertex(), scene.vertex()]).expect("two"))).collect();
        let mut index = Boxes::of(boxes[..at_once.min(n)].to_vec());
        boxes[at_once.min(n)..].iter().for_each(|(item, extent)| index.insert(*item, *extent));
        let removed: Vec<u32> = (0..n / 8).map(|_| scene.below(600)).collect();
        removed.iter().for_each(|item| { index.remove(*item); });
        let held: Vec<(u32, Extent)> = boxes.iter().copied().filter(|(item, _)| !removed.contains(item)).collect();
        for _ in 0..24 {
            let extent = Extent::around([scene.vertex(), scene.vertex()]).expect("two points");
            let (mut got, mut want) = (Vec::new(), Vec::new());
            index.bbox(extent, |item| got.push(item));
            want.extend(held.iter().filter(|(_, own)| own.meets(&extent)).map(|(item, _)| *item));
            got.sort_unstable();
            want.sort_unstable();
            prop_assert_eq!(got, want);
            // The distance to an item is that of the nearest corner of its boxes.
            let (to, k) = (scene.near(), 1 + scene.below(12) as usize);
            let corner = |e: &Extent| {
                let corners = [e.min, e.max, Vertex { lon: e.min.lon, lat: e.max.lat }, Vertex { lon: e.max.lon, lat: e.min.lat }];
                corners.iter().map(|c| sphere::distance_m(to, *c)).fold(f64::INFINITY, f64::min)
            };
            let own = |item: u32| held.iter().filter(move |(own, _)| *own == item).map(|(_, e)| corner(e));
            let distance = |item: u32| (!item.is_multiple_of(7)).then(|| own(item).fold(f64::INFINITY, f64::min));
            let all = held.iter().filter_map(|(item, _)| Some((*item, distance(*item)?))).collect();
            let (got, want) = (index.nearest(to, k, distance), nearest_of(all, k));
            prop_assert_eq!(got.len(), want.len());
            for (a, b) in got.iter().zip(&want) {
                prop_assert!(a.item == b.item && (a.metres - b.metres).abs() <= 1e-9 * b.metres, "{:?} {:?}", a, b);
            }
        }
    }

    #[test]
    fn areas_answer_as_brute_force_does(seed in any::<u64>(), n in 0u32..60) {
        let mut scene = Scene::new(seed);
        let mut areas: Vec<(u32, Vec<Polygon>)> = (0..n)
            .map(|item| (item, (0..1 + scene.below(2)).map(|_| scene.polygon()).collect()))
            .collect();
        let mut index = AreaIndex::new();
        areas.iter().for_each(|(item, polygons)| index.put(*item, polygons));
        for _ in 0..n / 4 {
            let item = scene.below(n);
            match scene.below(2) {
                0 => {
                    let known = areas.iter().any(|(own, _)| *own == item);
                    prop_assert_eq!(index.remove(item), known);
                    areas.retain(|(own, _)| *own != item);
                }
                _ => {
                    let polygons = vec![scene.polygon()];
                    index.put(item, &polygons);
                    areas.retain(|(own, _)| *own != item);
                    areas.push((item, polygons));
                }
            }
        }
        prop_assert_eq!(index.len(), areas.len());
        let mut found = Vec::new();
        for _ in 0..120 {
            let p = scene.on_some_border(areas.iter().flat_map(|(_, polygons)| polygons));
            index.at(p, &mut found);
            let covers = |polygons: &Vec<Polygon>| polygons.iter().any(|polygon| brute::covers(polygon, p));
            let mut want: Vec<u32> = areas.iter().filter(|(_, own)| covers(own)).map(|(item, _)| *item).collect();
            want.sort_unstable();
            prop_assert_eq!(&found, &want, "at {:?}", p);
        }
        areas.iter().for_each(|(item, _)| { index.remove(*item); });
        prop_assert!(index.is_empty() && index.bytes() < 64 * 1024);
    }
}
