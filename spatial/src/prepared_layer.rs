//! Everything of one layer in Mercator, ranked for every zoom: what tiles are cut from.

use std::sync::Arc;

use onemap_model::Timestamp;

use crate::coordinates::{Extent, Vertex};
use crate::detail::{Path, vertex_zooms};
use crate::geometry::{Polygon, Shape};
use crate::ground::{Point, Points};
use crate::mercator::Mercator;
use crate::mvt::Property;
use crate::sight::PackedOwner;

/// Something to be drawn, as the map keeps it.
#[derive(Debug)]
pub(crate) struct MapItem {
    pub(crate) shape: Arc<Shape>,
    pub(crate) properties: Vec<Property>,
    /// Lowest zoom at which it is drawn.
    pub(crate) min_zoom: u8,
    /// Smaller is drawn first and dropped last.
    pub(crate) rank: u64,
    /// Where it comes from; shown as attribution.
    pub(crate) source: String,
    /// From when to when it is valid, as far as that is known.
    pub(crate) validity: [Option<Timestamp>; 2],
    /// Whose it is, for who may see it.
    pub(crate) owner: PackedOwner,
}

impl MapItem {
    /// Whether it is valid at a time, when there is one.
    pub(crate) fn valid_at(&self, at: Option<Timestamp>) -> bool {
        let [from, to] = self.validity;
        at.is_none_or(|at| from.is_none_or(|from| from <= at) && to.is_none_or(|to| at < to))
    }
}

/// A line or ring with the zoom of each vertex.
#[derive(Debug)]
pub(crate) struct RankedPath {
    pub(crate) vertices: Vec<Mercator>,
    pub(crate) zooms: Vec<u8>,
}

/// Lines or rings of one item.
#[derive(Debug)]
pub(crate) struct Outline {
    /// Number of the item in [`PreparedLayer::items`].
    pub(crate) item: u32,
    /// North-west and south-east corner of its box.
    pub(crate) north_west: Mercator,
    pub(crate) south_east: Mercator,
    pub(crate) closed: bool,
    pub(crate) paths: Vec<RankedPath>,
}

/// One layer, ready to be cut into tiles.
#[derive(Debug, Default)]
pub(crate) struct PreparedLayer {
    /// Most important first.
    pub(crate) items: Vec<Arc<MapItem>>,
    pub(crate) outlines: Vec<Outline>,
    pub(crate) points: Points,
    /// Label points of polygons.
    pub(crate) labels: Points,
    pub(crate) extent: Option<Extent>,
}

impl PreparedLayer {
    /// Prepares items; `labelled` asks for a label point in each polygon. Items of equal rank keep
    /// the order they come in.
    pub(crate) fn new(mut items: Vec<Arc<MapItem>>, labelled: bool) -> Self {
        items.sort_by_key(|item| item.rank);
        let extents = items.iter().filter_map(|item| item.shape.extent());
        let extent = Extent::around(extents.flat_map(|e| [e.min, e.max]));
        let mut outlines = Vec::new();
        let (mut points, mut labels) = (Vec::new(), Vec::new());
        for (number, item) in (0u32..).zip(&items) {
            let (closed, paths): (bool, Vec<&Vec<Vertex>>) = match &*item.shape {
                Shape::Points(vertices) => {
                    points.extend(vertices.iter().map(|v| point(number, *v)));
                    continue;
                }
                Shape::Lines(lines) => (false, lines.iter().collect()),
                Shape::Polygons(polygons) => {
                    if labelled {
                        labels.extend(label_point(polygons).map(|v| point(number, v)));
                    }
                    (true, polygons.iter().flat_map(|p| &p.rings).collect())
                }
            };
            outlines.extend(outline(number, closed, &paths));
        }
        rank_vertices(&mut outlines);
        Self {
            items,
            outlines,
            points: Points::of(points),
            labels: Points::of(labels),
            extent,
        }
    }
}

fn point(item: u32, at: Vertex) -> Point {
    Point { item, kind: 0, at }
}

fn outline(item: u32, closed: bool, paths: &[&Vec<Vertex>]) -> Option<Outline> {
    let paths: Vec<RankedPath> = paths
        .iter()
        .map(|path| RankedPath {
            vertices: path.iter().map(|v| Mercator::of(*v)).collect(),
            zooms: Vec::new(),
        })
        .collect();
    let all = || paths.iter().flat_map(|p| &p.vertices);
    let corner = |x: Option<u32>, y: Option<u32>| Some(Mercator { x: x?, y: y? });
    let north_west = corner(all().map(|m| m.x).min(), all().map(|m| m.y).min())?;
    let south_east = corner(all().map(|m| m.x).max(), all().map(|m| m.y).max())?;
    Some(Outline {
        item,
        north_west,
        south_east,
        closed,
        paths,
    })
}

fn rank_vertices(outlines: &mut [Outline]) {
    let paths: Vec<Path<'_>> = outlines
        .iter()
        .flat_map(|outline| {
            outline.paths.iter().map(|path| Path {
                vertices: &path.vertices,
                closed: outline.closed,
            })
        })
        .collect();
    let zooms = vertex_zooms(&paths);
    for (path, zooms) in outlines.iter_mut().flat_map(|o| &mut o.paths).zip(zooms) {
        path.zooms = zooms;
    }
}

/// A point well inside the polygons: the middle of the widest stretch among fifteen lines of latitude.
pub(crate) fn label_point(polygons: &[Polygon]) -> Option<Vertex> {
    let mut best: Option<(i64, Vertex)> = None;
    for polygon in polygons {
        let extent = Extent::around(polygon.rings.iter().flatten().copied())?;
        let tall = i64::from(extent.max.lat) - i64::from(extent.min.lat);
        for part in 1..16 {
            let lat = (i64::from(extent.min.lat) + tall * part / 16) as i32;
            let mut crossings: Vec<i32> = polygon
                .rings
                .iter()
                .flat_map(|ring| ring.iter().zip(ring.iter().cycle().skip(1)))
                .filter(|(a, b)| (a.lat > lat) != (b.lat > lat))
                .map(|(a, b)| {
                    let d = |to: i32, from: i32| i128::from(to) - i128::from(from);
                    let along = d(lat, a.lat) * d(b.lon, a.lon) / d(b.lat, a.lat);
                    (i128::from(a.lon) + along) as i32
                })
                .collect();
            crossings.sort_unstable();
            for stretch in crossings.chunks_exact(2) {
                let width = i64::from(stretch[1]) - i64::from(stretch[0]);
                if best.is_none_or(|(widest, _)| width > widest) {
                    let lon = (i64::from(stretch[0]) + width / 2) as i32;
                    best = Some((width, Vertex { lon, lat }));
                }
            }
        }
    }
    best.map(|(_, v)| v)
}
