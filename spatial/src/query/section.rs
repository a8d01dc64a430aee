//! What lies along a line, as on a drawing of a street's section.

use crate::city_view::CityView;
use crate::coordinates::{Extent, Vertex};
use crate::geometry::{Polygon, Shape};
use crate::ground::region;
use crate::query::distance::Origin;
use crate::query::filter::Filter;
use crate::query::found::Found;
use crate::query::predicates::{around, covers, edges, segment_meets_box, segments, side};
use crate::query::region::{RegionError, vertex};
use crate::thing::Footprint;

/// Most positions of a section's line.
pub(crate) const N_MOST_POSITIONS: usize = 1000;
/// Widest strip along the line, metres.
const MOST_WIDTH_M: f64 = 1000.0;
/// Longest line, metres.
const MOST_LENGTH_M: f64 = 200_000.0;
/// Stretches that are nearer to one another than this, metres, are one.
const GAP_M: f64 = 0.02;

/// A line that a section runs along.
#[derive(Clone, Debug)]
pub struct SectionLine {
    vertices: Vec<Vertex>,
    /// Metres from the beginning to each vertex.
    metres: Vec<f64>,
    width_m: f64,
}

/// One thing along a section.
#[derive(Clone, Debug)]
pub struct Crossing<'v> {
    /// The thing.
    pub found: Found<'v>,
    /// From where to where it is met, metres from the line's beginning; alike for a single place. Of a
    /// thing that is not met and only near: where it is nearest.
    pub stretches: Vec<[f64; 2]>,
    /// Metres from the line, 0 for what it meets.
    pub offset_m: f64,
}

impl SectionLine {
    /// A line through positions of WGS 84, and the width of the strip along it, metres: what is at most
    /// half of that away is near the line. With 0 only what the line meets counts.
    ///
    /// # Errors
    /// [`RegionError`] when a position is off the globe, the line has no length, more than 1000 positions,
    /// or is longer than 200 km; when it spans more than 180 degrees; when the width is not 0 to 1000 m.
    pub fn new(positions: &[(f64, f64)], width_m: f64) -> Result<Self, RegionError> {
        if positions.len() > N_MOST_POSITIONS {
            return Err(RegionError::LinePositions { n: positions.len() });
        }
        if !(0.0..=MOST_WIDTH_M).contains(&width_m) {
            return Err(RegionError::Width { metres: width_m });
        }
        let mut vertices: Vec<Vertex> = positions
            .iter()
            .map(|(lon, lat)| vertex(*lon, *lat))
            .collect::<Result<_, _>>()?;
        vertices.dedup();
        if vertices.len() < 2 {
            return Err(RegionError::NoLength);
        }
        if let Some(extent) = Extent::around(vertices.iter().copied())
            && i64::from(extent.max.lon) - i64::from(extent.min.lon) > 1_800_000_000
        {
            let degrees = extent.max.lon_degrees() - extent.min.lon_degrees();
            return Err(RegionError::Wide { degrees });
        }
        let mut metres = vec![0.0];
        for pair in vertices.windows(2) {
            metres.push(metres[metres.len() - 1] + Origin::at(pair[0]).to(pair[1]));
        }
        let length = metres[metres.len() - 1];
        if length > MOST_LENGTH_M {
            return Err(RegionError::Long { metres: length });
        }
        Ok(Self {
            vertices,
            metres,
            width_m,
        })
    }

    /// Its length, metres.
    pub fn length_m(&self) -> f64 {
        self.metres[self.metres.len() - 1]
    }

    /// Metres from the beginning to a part of a segment.
    fn along(&self, segment: usize, part: f64) -> f64 {
        self.metres[segment] + part * (self.metres[segment + 1] - self.metres[segment])
    }

    fn own_segments(&self) -> impl Iterator<Item = (usize, [Vertex; 2])> {
        self.vertices.windows(2).map(|s| [s[0], s[1]]).enumerate()
    }

    /// Where the line meets a thing.
    fn meets(&self, footprint: &Footprint) -> Vec<[f64; 2]> {
        let mut stretches = Vec::new();
        match footprint {
            Footprint::Nowhere => {}
            Footprint::Point(v) => self.meets_point(*v, &mut stretches),
            Footprint::Shape(shape) => match &**shape {
                Shape::Points(points) => points.iter().for_each(|v| self.meets_point(*v, &mut stretches)),
                Shape::Lines(lines) => {
                    for (segment, own) in self.own_segments() {
                        let box_of = around(own[0], own[1]);
                        for other in segments(lines).filter(|s| segment_meets_box(*s, &box_of)) {
                            self.meets_segment(segment, own, other, &mut stretches);
                        }
                    }
                }
                Shape::Polygons(polygons) => {
                    for (segment, own) in self.own_segments() {
                        self.meets_polygons(segment, own, polygons, &mut stretches);
                    }
                }
            },
        }
        joined(stretches)
    }

    fn meets_point(&self, v: Vertex, stretches: &mut Vec<[f64; 2]>) {
        for (segment, [a, b]) in self.own_segments() {
            if side(a, b, v) == 0 && around(a, b).holds(v) {
                let at = self.along(segment, part_of(a, b, v));
                stretches.push([at, at]);
            }
        }
    }

    fn meets_segment(
        &self,
        segment: usize,
        own: [Vertex; 2],
        other: [Vertex; 2],
        stretches: &mut Vec<[f64; 2]>,
    ) {
        let ends: Vec<f64> = meeting_parts(own, other)
            .map(|part| self.along(segment, part))
            .collect();
        if let (Some(first), Some(last)) = (ends.first(), ends.last()) {
            stretches.push([first.min(*last), first.max(*last)]);
        }
    }

    /// A segment is inside between two crossings when the middle between them is.
    fn meets_polygons(
        &self,
        segment: usize,
        own: [Vertex; 2],
        polygons: &[Polygon],
        stretches: &mut Vec<[f64; 2]>,
    ) {
        let box_of = around(own[0], own[1]);
        let mut parts = vec![0.0, 1.0];
        for edge in edges(polygons).filter(|edge| segment_meets_box(*edge, &box_of)) {
            for part in meeting_parts(own, edge) {
                let at = self.along(segment, part);
                stretches.push([at, at]);
                parts.push(part);
            }
        }
        parts.sort_by(f64::total_cmp);
        for pair in parts.windows(2) {
            let [from, to] = [pair[0], pair[1]];
            let [begin, end] = [self.along(segment, from), self.along(segment, to)];
            if end - begin > GAP_M && covers(polygons, between(own, (from + to) / 2.0)) {
                stretches.push([begin, end]);
            }
        }
    }

    /// How far a thing is from the line, metres, and where along the line it is nearest.
    fn nearest_to(&self, footprint: &Footprint) -> Option<(f64, f64)> {
        let from_vertex = |v: Vertex| {
            let near = self.own_segments().map(|(segment, [a, b])| {
                let (metres, part) = Origin::at(v).to_segment(a, b);
                (metres, self.along(segment, part))
            });
            near.min_by(|a, b| a.0.total_cmp(&b.0))
        };
        let from_segment = |[c, d]: [Vertex; 2]| {
            let ends = [c, d].into_iter().filter_map(from_vertex);
            let own = self.vertices.iter().zip(&self.metres);
            let own = own.map(|(v, at)| (Origin::at(*v).to_segment(c, d).0, *at));
            ends.chain(own).min_by(|a, b| a.0.total_cmp(&b.0))
        };
        let least = |all: &mut dyn Iterator<Item = (f64, f64)>| all.min_by(|a, b| a.0.total_cmp(&b.0));
        match footprint {
            Footprint::Nowhere => None,
            Footprint::Point(v) => from_vertex(*v),
            Footprint::Shape(shape) => match &**shape {
                Shape::Points(points) => least(&mut points.iter().filter_map(|v| from_vertex(*v))),
                Shape::Lines(lines) => least(&mut segments(lines).filter_map(from_segment)),
                Shape::Polygons(polygons) => least(&mut edges(polygons).filter_map(from_segment)),
            },
        }
    }
}

/// A point of a segment, on the grid.
fn between([a, b]: [Vertex; 2], part: f64) -> Vertex {
    let at = |from: i32, to: i32| (f64::from(from) + part * (f64::from(to) - f64::from(from))).round() as i32;
    Vertex {
        lon: at(a.lon, b.lon),
        lat: at(a.lat, b.lat),
    }
}

/// Where on a-b a point of it lies, 0 to 1.
fn part_of(a: Vertex, b: Vertex, v: Vertex) -> f64 {
    let d = |to: i32, from: i32| f64::from(to) - f64::from(from);
    match d(b.lon, a.lon).abs() >= d(b.lat, a.lat).abs() {
        true => d(v.lon, a.lon) / d(b.lon, a.lon),
        false => d(v.lat, a.lat) / d(b.lat, a.lat),
    }
}

/// Where on the first segment it meets the second: no part, one, or the two ends of what they share.
fn meeting_parts(own: [Vertex; 2], other: [Vertex; 2]) -> impl Iterator<Item = f64> {
    let ([a, b], [c, d]) = (own, other);
    let mut parts = [None, None];
    if region::segments_meet(a, b, c, d) {
        if side(a, b, c) == 0 && side(a, b, d) == 0 {
            let mut ends = [part_of(a, b, c), part_of(a, b, d)];
            ends.sort_by(f64::total_cmp);
            parts = ends.map(|end| Some(end.clamp(0.0, 1.0)));
        } else {
            let cross = |v: Vertex| {
                let n = |to: i32, from: i32| i128::from(to) - i128::from(from);
                (n(d.lon, c.lon) * n(v.lat, c.lat) - n(d.lat, c.lat) * n(v.lon, c.lon)) as f64
            };
            let (from, to) = (cross(a), cross(b));
            parts[0] = Some((from / (from - to)).clamp(0.0, 1.0));
        }
    }
    parts.into_iter().flatten()
}

/// Stretches in their order, those that touch as one.
fn joined(mut stretches: Vec<[f64; 2]>) -> Vec<[f64; 2]> {
    stretches.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let mut out: Vec<[f64; 2]> = Vec::new();
    for [from, to] in stretches {
        match out.last_mut() {
            Some(last) if from <= last[1] + GAP_M => last[1] = last[1].max(to),
            _ => out.push([from, to]),
        }
    }
    out
}

impl CityView {
    /// The things that a line meets or, with a width, has near it, in their order along the line; those of
    /// one place from the highest to the lowest, then by kind and code.
    pub fn section(&self, line: &SectionLine, filter: &Filter) -> Vec<Crossing<'_>> {
        let sieve = filter.sieve(self);
        let half_m = line.width_m / 2.0;
        let mut out: Vec<Crossing<'_>> = Vec::new();
        let ends = line
            .vertices
            .iter()
            .flat_map(|v| Origin::at(*v).boxes(half_m.max(GAP_M)));
        let Some(extent) = Extent::around(ends.flat_map(|extent| [extent.min, extent.max])) else {
            return out;
        };
        self.near(&extent, sieve.kinds, |_, thing| {
            if !sieve.lets(thing) {
                return;
            }
            let found = Found { view: self, thing };
            let stretches = line.meets(&thing.footprint);
            if !stretches.is_empty() {
                out.push(Crossing {
                    found,
                    stretches,
                    offset_m: 0.0,
                });
            } else if half_m > 0.0
                && let Some((offset_m, at)) = line.nearest_to(&thing.footprint)
                && offset_m <= half_m
            {
                out.push(Crossing {
                    found,
                    stretches: vec![[at, at]],
                    offset_m,
                });
            }
        });
        out.sort_by(|a, b| {
            let top =
                |crossing: &Crossing<'_>| crossing.found.z_range_m().map_or(f64::NEG_INFINITY, |z| z[1]);
            a.stretches[0][0]
                .total_cmp(&b.stretches[0][0])
                .then_with(|| top(b).total_cmp(&top(a)))
                .then_with(|| a.found.order(&b.found))
        });
        out
    }
}
