//! Geometries between which predicates are asked, and the answers, as a line of JSON each.

use onemap_spatial::ground::region::{self, Region};
use onemap_spatial::ground::{Polygon, Vertex, sphere};
use serde_json::{Value, json};

use super::scene::Scene;

/// A question with what is answered here.
pub(crate) struct Question {
    pub(crate) polygon: Polygon,
    pub(crate) other: Polygon,
    pub(crate) line: Vec<Vertex>,
    pub(crate) second: Vec<Vertex>,
    pub(crate) point: Vertex,
}

pub(crate) struct Answers {
    pub(crate) covers_point: bool,
    pub(crate) meets_line: bool,
    pub(crate) covers_line: bool,
    pub(crate) meets: bool,
    pub(crate) covers: bool,
    pub(crate) lines_meet: bool,
    pub(crate) distance_m: f64,
}

impl Question {
    /// Simple polygons (stars around a point) near one another, on coarse coordinates half the time.
    pub(crate) fn new(scene: &mut Scene) -> Self {
        let polygon = scene.simple_polygon();
        let related = scene.below(4);
        let other = match related {
            // A part of it, its own shape, or something beside it.
            0 => Polygon {
                rings: vec![shrunk(&polygon.rings[0], 2)],
            },
            1 => Polygon {
                rings: vec![polygon.rings[0].clone()],
            },
            _ => scene.simple_polygon_near(&polygon),
        };
        let near = |scene: &mut Scene| scene.on_some_border([&polygon, &other].into_iter());
        let mut line: Vec<Vertex> = (0..2 + scene.below(4)).map(|_| near(scene)).collect();
        let mut second: Vec<Vertex> = (0..2 + scene.below(3)).map(|_| near(scene)).collect();
        if scene.below(4) == 0 {
            // Along the border.
            line = polygon.rings[0]
                .iter()
                .copied()
                .take(2 + scene.below(5) as usize)
                .collect();
        }
        line.dedup();
        second.dedup();
        let point = near(scene);
        Self {
            polygon,
            other,
            line,
            second,
            point,
        }
    }

    pub(crate) fn answers(&self) -> Answers {
        let polygons = std::slice::from_ref(&self.polygon);
        let region = Region::of(polygons).expect("it has vertices");
        let others = std::slice::from_ref(&self.other);
        Answers {
            covers_point: region.covers(self.point),
            meets_line: region.meets_line(&self.line),
            covers_line: region.covers_line(&self.line),
            meets: region.meets(others),
            covers: region.covers_polygons(others),
            lines_meet: region::lines_meet(&self.line, &self.second),
            distance_m: region.distance_m(self.point),
        }
    }

    pub(crate) fn json(&self) -> Value {
        let line = |line: &[Vertex]| -> Value { line.iter().map(|v| json!([v.lon, v.lat])).collect() };
        let rings = |p: &Polygon| -> Value { p.rings.iter().map(|ring| line(ring)).collect() };
        let answers = self.answers();
        json!({
            "polygon": rings(&self.polygon), "other": rings(&self.other), "line": line(&self.line),
            "second": line(&self.second), "point": [self.point.lon, self.point.lat],
            "answers": {
                "covers_point": answers.covers_point, "meets_line": answers.meets_line,
                "covers_line": answers.covers_line, "meets": answers.meets, "covers": answers.covers,
                "lines_meet": answers.lines_meet, "distance_m": answers.distance_m,
            },
        })
    }
}

/// Every n-th vertex of a ring.
fn shrunk(ring: &[Vertex], n: usize) -> Vec<Vertex> {
    let some: Vec<Vertex> = ring.iter().step_by(n).copied().collect();
    if some.len() < 3 { ring.to_vec() } else { some }
}

/// The distance to a polyline by walking it in small steps, and then in smaller ones around the nearest.
pub(crate) fn walked_m(p: Vertex, line: &[Vertex]) -> f64 {
    const N: i32 = 1_000;
    let between =
        |a: i32, b: i32, part: f64| (f64::from(a) + part * (f64::from(b) - f64::from(a))).round() as i32;
    let mut least = f64::INFINITY;
    for pair in line.windows(2) {
        let (mut middle, mut width) = (0.5, 1.0);
        for _ in 0..3 {
            let parts =
                (0..=N).map(|step| (middle + width * (f64::from(step) / f64::from(N) - 0.5)).clamp(0.0, 1.0));
            let far = |part: f64| {
                let (lon, lat) = (
                    between(pair[0].lon, pair[1].lon, part),
                    between(pair[0].lat, pair[1].lat, part),
                );
                (sphere::distance_m(p, Vertex { lon, lat }), part)
            };
            let (metres, part) = parts
                .map(far)
                .fold((f64::INFINITY, 0.0), |a, b| if b.0 < a.0 { b } else { a });
            least = least.min(metres);
            (middle, width) = (part, width * 4.0 / f64::from(N));
        }
    }
    least
}
