//! Draws layers of any size tile by tile, straight from the index: points gathered to clusters, lines
//! and polygons as they are.
//!
//! Points that fall into one cell of the tile are one feature with their number (`count`) and the worst
//! of their states: nothing that is wrong disappears behind something that is well. Cells are 64 units
//! up to zoom 12, about eight pixels; they are counted beforehand ([`crate::clusters`]), where no state and no
//! division is asked for. At zoom 13 they are a pixel, after that a unit; a tile that would grow over its limit takes
//! larger ones.

use foldhash::HashMap;
use onemap_model::Stratum;

use crate::city_view::CityView;
use crate::clip::{TilePoint, clip_line, clip_ring};
use crate::clusters::{CELL_ZOOM, CLUSTER_BITS, CLUSTER_ZOOM, Cell};
use crate::coordinates::Vertex;
use crate::geometry::Shape;
use crate::ground::zorder;
use crate::labels::Label;
use crate::layer::Layer;
use crate::mercator::{Mercator, MercatorBox};
use crate::mvt::{Drawing, EXTENT, LayerWriter, Tag, Value};
use crate::repair::{is_valid, repair};
use crate::terms::NO_TERM;
use crate::thing::{DivisionPrefix, Footprint, Number, Thing, ThingKind};
use crate::tile::{LiveState, Look, MARGIN, N_FRAME_BYTES, N_MOST_BYTES, Tile, TileAddress, upright};
use crate::tile_points::TilePoints;

/// Bits of a pixel on a screen of 512 pixels for a tile: 8 units.
const PIXEL_BITS: u32 = 3;
/// From this zoom on names are drawn.
const NAME_ZOOM: u8 = 15;
/// Bytes that a point takes beside its code, at least.
const N_LEAST_BYTES: usize = 17;

/// Who is drawn: as itself, or as its label says.
#[derive(Clone, Copy)]
pub(crate) enum Drawn<'a> {
    Thing(&'a Thing),
    Label(Label<'a>),
}

impl Drawn<'_> {
    fn n_code_bytes(&self) -> usize {
        match self {
            Drawn::Thing(thing) => thing.code.len(),
            Drawn::Label(label) => label.n_bytes(),
        }
    }
}

/// Points of one cell.
struct Gathered<'a> {
    /// The one that is shown for all: of the worst state, then the first in the order of its cell.
    drawn: Drawn<'a>,
    unit: TilePoint,
    state: LiveState,
    stale: bool,
    /// How many are abnormal, unknown, normal.
    n: [u64; 3],
}

impl Gathered<'_> {
    fn n_all(&self) -> u64 {
        self.n.iter().sum()
    }
}

/// A layer's things in one tile.
struct Scene<'a> {
    view: &'a CityView,
    layer: Layer,
    at: TileAddress,
    look: &'a Look<'a>,
    division: Option<DivisionPrefix>,
}

/// Draws a tile; `None` when nothing of the layer lies in it.
pub(crate) fn draw(layer: Layer, view: &CityView, at: TileAddress, look: &Look<'_>) -> Option<Tile> {
    if at.zoom < layer.min_zoom() {
        return None;
    }
    let scene = Scene {
        view,
        layer,
        at,
        look,
        division: look.division.map(DivisionPrefix::of),
    };
    let mut pen = Pen::new(&scene);
    let mut n_dropped = 0;
    let is_counted = at.zoom <= CLUSTER_ZOOM && layer != Layer::Live && scene.division.is_none();
    let n_hidden = if is_counted {
        let clusters = scene.clusters();
        n_dropped += clusters
            .iter()
            .filter(|cluster| !pen.write_point(cluster))
            .count();
        clusters.iter().map(|cluster| cluster.n_all() - 1).sum::<u64>()
    } else {
        let mut points = scene.points();
        let mut bits = match at.zoom {
            ..=CLUSTER_ZOOM => CLUSTER_BITS,
            13 => PIXEL_BITS,
            _ => 0,
        };
        loop {
            let gathered = scene.gather(&mut points, bits);
            let may_grow = bits < CLUSTER_BITS;
            let least: usize = gathered
                .iter()
                .map(|one| N_LEAST_BYTES + one.drawn.n_code_bytes())
                .sum();
            if !may_grow || least <= pen.room {
                let n = gathered.iter().filter(|one| !pen.write_point(one)).count();
                if n == 0 || !may_grow {
                    n_dropped += n;
                    break gathered.iter().map(|one| one.n_all() - 1).sum();
                }
                pen = Pen::new(&scene);
            }
            bits = (bits + 1).max(PIXEL_BITS);
        }
    };
    for (thing, drawn) in scene.shapes() {
        n_dropped += usize::from(!pen.write_shape(&thing.footprint, drawn));
    }
    let mut bytes = Vec::new();
    pen.writer.finish(&mut bytes);
    Tile::of(bytes, n_dropped, n_hidden as usize)
}

impl<'a> Scene<'a> {
    /// Things of the layer's kind that the index does not know as they are.
    fn changed(&self) -> impl Iterator<Item = (Number, &'a Thing)> {
        let (view, kind) = (self.view, self.layer.kind());
        let changed = view.indexed().changed.iter();
        let changed = changed.filter_map(move |number| Some((*number, view.stock.get(*number)?)));
        changed.filter(move |(_, thing)| thing.kind == kind)
    }

    fn shows(&self, thing: &Thing) -> bool {
        !thing.retired
            && self.look.at.is_none_or(|at| thing.valid_at(at))
            && self
                .division
                .is_none_or(|division| division.covers(self.view.division_of(thing)))
    }

    /// A thing that the index knows as it is, when it is shown.
    fn known(&self, number: Number) -> Option<&'a Thing> {
        let thing = self.view.stock.get(number)?;
        (self.view.indexed().knows(number) && self.shows(thing)).then_some(thing)
    }

    /// All points of the tile that are shown.
    fn points(&self) -> TilePoints<'a> {
        let mut points = TilePoints::default();
        let indexed = self.view.indexed();
        if let Some(index) = indexed.index.kind(self.layer.kind().index()) {
            let degrees = self.at.degrees(0);
            let mut placed: Vec<(TilePoint, Number)> = Vec::with_capacity(index.points.at_most(degrees));
            index.points.bbox(degrees, |point| {
                let unit = self.at.unit_of(Mercator::of(point.at));
                placed.extend(unit.map(|unit| (unit, point.item)));
            });
            placed.retain(|(_, number)| indexed.knows(*number));
            points.reserve(placed.len());
            if self.may_label() {
                placed.retain(|(unit, number)| {
                    let label = indexed.index.labels.get(*number);
                    label
                        .iter()
                        .for_each(|label| points.push(*unit, *number, Drawn::Label(*label)));
                    label.is_none()
                });
            }
            // All of them are in the stock, as what the index knows is there.
            let numbers = placed.iter().map(|(_, number)| *number);
            let things = self.view.stock.fetch(numbers, Thing::look_at_code);
            for ((unit, _), (number, thing)) in placed.into_iter().zip(things) {
                if self.shows(thing) {
                    points.push(unit, number, Drawn::Thing(thing));
                }
            }
        }
        for (number, thing) in self.changed().filter(|(_, thing)| self.shows(thing)) {
            for v in thing.footprint.points() {
                if let Some(unit) = self.at.unit_of(Mercator::of(*v)) {
                    points.push(unit, number, Drawn::Thing(thing));
                }
            }
        }
        points
    }

    /// Whether labels say all that is drawn: no state, no division and no name is asked for.
    fn may_label(&self) -> bool {
        self.layer != Layer::Live && self.division.is_none() && self.at.zoom < NAME_ZOOM
    }

    /// Lines and polygons that reach into the tile or its margin, by number.
    fn shapes(&self) -> Vec<(&'a Thing, Drawn<'a>)> {
        let indexed = self.view.indexed();
        let wide = self.at.degrees(MARGIN as u32);
        let mut numbers: Vec<Number> = Vec::new();
        if let Some(index) = indexed.index.kind(self.layer.kind().index()) {
            index.shapes.bbox(wide, |number| numbers.push(number));
        }
        numbers.retain(|number| indexed.knows(*number));
        numbers.sort_unstable();
        let may_label = self.may_label();
        let label = |number: Number| may_label.then(|| indexed.index.labels.get(number)).flatten();
        let fetched = self.view.stock.fetch(numbers.into_iter(), Thing::look_at_shape);
        let known = fetched
            .into_iter()
            .filter_map(|(number, thing)| match label(number) {
                Some(label) => Some((thing, Drawn::Label(label))),
                None => self.shows(thing).then_some((thing, Drawn::Thing(thing))),
            });
        let mut shapes: Vec<_> = known.collect();
        let reaches = |thing: &Thing| thing.footprint.extent().is_some_and(|own| own.meets(&wide));
        let changed = self.changed().map(|(_, thing)| thing);
        let changed = changed.filter(|thing| self.shows(thing) && reaches(thing));
        shapes.extend(changed.map(|thing| (thing, Drawn::Thing(thing))));
        shapes
    }

    /// Clusters from cells that were counted; only what changed since is counted again.
    fn clusters(&self) -> Vec<Gathered<'a>> {
        let indexed = self.view.indexed();
        let kind = self.layer.kind().index();
        let below = 2 * (CELL_ZOOM - u32::from(self.at.zoom));
        let mut all: Vec<Cell> = Vec::new();
        let mut is_sorted = true;
        let index = indexed.index.kind(kind);
        if let Some((index, clusters)) = index.and_then(|index| Some((index, index.clusters.as_ref()?))) {
            for cell in clusters.between(self.at.key() << below..(self.at.key() + 1) << below) {
                let key = cell.key(CELL_ZOOM);
                let valid = self.look.at.is_none_or(|at| clusters.is_valid(key, at.ms()));
                if valid && indexed.knows_cell(kind, key) {
                    all.push(*cell);
                    continue;
                }
                is_sorted = false;
                let place = [zorder::column(key), zorder::column(key >> 1)];
                let square = MercatorBox::cell(CELL_ZOOM, place);
                index.points.bbox(square.degrees(), |point| {
                    if square.holds(Mercator::of(point.at)) && self.known(point.item).is_some() {
                        all.push(Cell::around(point.item, point.at));
                    }
                });
            }
        }
        for (number, thing) in self.changed().filter(|(_, thing)| self.shows(thing)) {
            let inside = |v: &&Vertex| self.at.unit_of(Mercator::of(**v)).is_some();
            let before = all.len();
            all.extend(
                thing
                    .footprint
                    .points()
                    .iter()
                    .filter(inside)
                    .map(|v| Cell::around(number, *v)),
            );
            is_sorted &= all.len() == before;
        }
        let zoom = u32::from(self.at.zoom) + EXTENT.ilog2() - CLUSTER_BITS;
        if !is_sorted {
            all.sort_unstable_by_key(|cell| (cell.key(zoom), cell.number));
        }
        let clusters = all.chunk_by(|a, b| a.key(zoom) == b.key(zoom));
        let gathered = clusters.filter_map(|cells| {
            let mut cluster = cells[0];
            cells[1..].iter().for_each(|cell| cluster.join(cell));
            Some(Gathered {
                drawn: self.drawn(cluster.number)?,
                unit: self.at.unit_of(Mercator::of(cluster.at))?,
                state: LiveState::Normal,
                stale: false,
                n: [0, 0, u64::from(cluster.n)],
            })
        });
        gathered.collect()
    }

    /// A thing that is in the stock.
    fn drawn(&self, number: Number) -> Option<Drawn<'a>> {
        let indexed = self.view.indexed();
        let label = match self.may_label() && indexed.knows(number) {
            true => indexed.index.labels.get(number).map(Drawn::Label),
            false => None,
        };
        label.or_else(|| self.view.stock.get(number).map(Drawn::Thing))
    }

    /// Points of each cell of `2^bits` units.
    fn gather(&self, points: &mut TilePoints<'a>, bits: u32) -> Vec<Gathered<'a>> {
        let is_live = self.layer == Layer::Live;
        let mut all: Vec<Gathered<'a>> = Vec::with_capacity(points.len());
        let mut last = None;
        points.sort_into_cells(bits);
        for point in points.iter() {
            let (state, stale) = match point.drawn {
                Drawn::Thing(thing) if is_live => (self.look.state)(&thing.code),
                _ => (LiveState::Normal, false),
            };
            let cell = point.key >> (2 * bits);
            if last != Some(cell) {
                last = Some(cell);
                all.push(Gathered {
                    drawn: point.drawn,
                    unit: point.unit(),
                    state,
                    stale,
                    n: [0; 3],
                });
            }
            let Some(gathered) = all.last_mut() else { continue };
            gathered.n[state as usize] += 1;
            if state < gathered.state {
                (gathered.drawn, gathered.unit) = (point.drawn, point.unit());
                (gathered.state, gathered.stale) = (state, stale);
            }
        }
        // What is wrong is written first: it is dropped last.
        if is_live {
            all.sort_by_key(|gathered| gathered.state);
        }
        all
    }
}

/// Writes features of a scene.
struct Pen<'s, 'a> {
    scene: &'s Scene<'a>,
    writer: LayerWriter,
    room: usize,
    /// Properties of classes, by their terms.
    classes: HashMap<u32, Option<Tag>>,
    strata: [Option<Tag>; 2],
    path: Vec<TilePoint>,
    code: String,
}

impl<'s, 'a> Pen<'s, 'a> {
    fn new(scene: &'s Scene<'a>) -> Self {
        Self {
            scene,
            writer: LayerWriter::new(scene.layer.name()),
            room: N_MOST_BYTES - N_FRAME_BYTES,
            classes: HashMap::default(),
            strata: [None; 2],
            path: Vec::new(),
            code: String::new(),
        }
    }

    fn write_point(&mut self, gathered: &Gathered<'_>) -> bool {
        let mut tags = Tags::default();
        let count = gathered.n_all();
        if count > 1 {
            tags.push(self.writer.tag("count", &Value::Number(count)));
        }
        if self.scene.layer == Layer::Live {
            let state = Value::Text(gathered.state.name().to_owned());
            tags.push(self.writer.tag("state", &state));
            if gathered.stale {
                tags.push(self.writer.tag("stale", &Value::Number(1)));
            }
            if count > 1 {
                for (name, n) in ["abnormal", "unknown", "normal"].into_iter().zip(gathered.n) {
                    tags.push(self.writer.tag(name, &Value::Number(n)));
                }
            }
        }
        self.write(Drawing::Point(gathered.unit), gathered.drawn, tags)
    }

    fn write_shape(&mut self, footprint: &Footprint, drawn: Drawn<'_>) -> bool {
        let Footprint::Shape(shape) = footprint else {
            return true;
        };
        let (low, high) = (-MARGIN, EXTENT + MARGIN);
        let mut path = std::mem::take(&mut self.path);
        let at = self.scene.at;
        let snap = |path: &mut Vec<TilePoint>, vertices: &[Vertex]| {
            path.clear();
            path.extend(vertices.iter().map(|v| at.nearest(Mercator::of(*v))));
            path.dedup();
        };
        let inside = |path: &[TilePoint]| {
            path.iter()
                .all(|[x, y]| (low..=high).contains(x) && (low..=high).contains(y))
        };
        let written = match &**shape {
            Shape::Points(_) => true,
            Shape::Lines(lines) => {
                let mut parts: Vec<Vec<TilePoint>> = Vec::new();
                for line in lines {
                    snap(&mut path, line);
                    if lines.len() > 1 || !inside(&path) {
                        parts.extend(clip_line(path.clone(), low, high));
                    }
                }
                match lines.len() == 1 && inside(&path) {
                    true => self.write(Drawing::Line(&path), drawn, Tags::default()),
                    false => self.write(Drawing::Lines(&parts), drawn, Tags::default()),
                }
            }
            Shape::Polygons(polygons) => {
                let is_plain = match polygons.as_slice() {
                    [polygon] if polygon.rings.len() == 1 => {
                        snap(&mut path, &polygon.rings[0]);
                        while path.len() > 1 && path.first() == path.last() {
                            path.pop();
                        }
                        path.reverse();
                        path.len() < 3 || (inside(&path) && is_valid(&path))
                    }
                    _ => false,
                };
                if is_plain {
                    self.write(Drawing::Ring(&path), drawn, Tags::default())
                } else {
                    let rings = polygons.iter().flat_map(|polygon| &polygon.rings);
                    let rings: Vec<_> = rings
                        .map(|ring| {
                            snap(&mut path, ring);
                            clip_ring(upright(path.clone()), low, high)
                        })
                        .collect();
                    self.write(Drawing::Polygons(&repair(&rings)), drawn, Tags::default())
                }
            }
        };
        self.path = path;
        written
    }

    fn write(&mut self, drawing: Drawing<'_>, drawn: Drawn<'_>, mut tags: Tags) -> bool {
        let is_device = self.scene.layer == Layer::Live;
        let (scene, writer) = (self.scene, &mut self.writer);
        let (class, stratum) = match drawn {
            Drawn::Thing(thing) => (thing.class, thing.stratum),
            Drawn::Label(label) => (label.sort.class, label.sort.stratum),
        };
        if class != NO_TERM {
            let tag = self.classes.entry(class).or_insert_with(|| {
                let text = scene.view.terms.text(class)?;
                let key = if is_device { "kind" } else { "class" };
                Some(writer.tag(key, &Value::Text(text.to_string())))
            });
            tag.iter().for_each(|tag| tags.push(*tag));
        }
        let stratum = match stratum {
            Stratum::Above => Some((0, "above")),
            Stratum::Surface => None,
            Stratum::Below => Some((1, "below")),
        };
        if let Some((place, name)) = stratum {
            let known = &mut self.strata[place];
            tags.push(*known.get_or_insert_with(|| writer.tag("stratum", &Value::Text(name.to_owned()))));
        }
        let key = if is_device { "id" } else { "code" };
        let thing = match drawn {
            Drawn::Thing(thing) => thing,
            Drawn::Label(label) => {
                let code = label.code(&mut self.code);
                return writer.add_tagged(drawing, &[(key, code)], tags.all(), self.room);
            }
        };
        let name = match &thing.kind {
            ThingKind::Entity(kind) if scene.at.zoom >= NAME_ZOOM => (scene.look.name)(kind, &thing.code),
            _ => None,
        };
        let code = (key, &*thing.code);
        match name.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => writer.add_tagged(drawing, &[code, ("name", name)], tags.all(), self.room),
            None => writer.add_tagged(drawing, &[code], tags.all(), self.room),
        }
    }
}

/// The few properties of one feature that others have, too.
#[derive(Default)]
struct Tags {
    tags: [Tag; 8],
    n: usize,
}

impl Tags {
    /// A feature has at most seven.
    fn push(&mut self, tag: Tag) {
        self.tags[self.n] = tag;
        self.n += 1;
    }

    fn all(&self) -> &[Tag] {
        &self.tags[..self.n]
    }
}
