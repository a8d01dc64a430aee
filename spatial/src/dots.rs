//! Draws layers of any size tile by tile, straight from the index: points gathered to clusters, lines
//! and polygons as they are.
//!
//! Points that fall into one cell of the tile are one feature with their number (`count`) and the worst
//! of their states: nothing that is wrong disappears behind something that is well. Devices have states, and so have
//! entities that devices stand on ([`crate::standing`]); what has none is none in the counts of states either. Cells are 64 units
//! up to zoom 12, about eight pixels; they are counted beforehand ([`crate::clusters`]), where no state is asked for
//! and everything is seen. At zoom 13 they are a pixel, after that a unit; a tile that would grow over its limit takes
//! larger ones.

use std::ops::RangeInclusive;

use foldhash::HashMap;
use onemap_model::Stratum;

use crate::city_view::CityView;
use crate::clip::{TilePoint, clip_line, clip_ring, cut_valid_ring};
use crate::clusters::{self, CELL_ZOOM, CLUSTER_BITS, CLUSTER_ZOOM, Cell};
use crate::ground::zorder;
use crate::index::Sheet;
use crate::labels::{Label, PackedLabel, Sort};
use crate::layer::Layer;
use crate::mercator::Mercator;
use crate::mvt::{Drawing, EXTENT, Key, LayerWriter, N_MOST_TAGS, Tag, Value};
use crate::outlines::{Traced, Traces};
use crate::pins::Pin;
use crate::repair::{is_valid, repair};
use crate::sight::Sight;
use crate::terms::NO_TERM;
use crate::thing::{Footprint, Number, Thing};
use crate::tile::{LiveState, Look, MARGIN, N_FRAME_BYTES, N_MOST_BYTES, Tile, TileAddress, upright};

/// Bits of a pixel on a screen of 512 pixels for a tile: 8 units.
const PIXEL_BITS: u32 = 3;
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

/// A point of a tile.
struct Placed<'a> {
    /// Where in Z-order.
    place: u64,
    number: Number,
    drawn: Drawn<'a>,
}

/// Points of one cell.
struct Gathered<'a> {
    /// The one that is shown for all: of the worst state, then the first in Z-order, then by number.
    drawn: Drawn<'a>,
    unit: TilePoint,
    /// The worst state, and whether it is of values that are old; of none that has a state there is none.
    state: Option<(LiveState, bool)>,
    /// How many are abnormal, unknown, normal.
    n: [u32; 3],
    /// How many there are, with those that have no state.
    n_all: u32,
}

impl<'a> Gathered<'a> {
    /// Counts a state of one of its points; the worst one is shown, and stands for all.
    fn count(&mut self, (state, stale): (LiveState, bool), drawn: Drawn<'a>, unit: TilePoint) {
        self.n[state as usize] += 1;
        if self.state.is_none_or(|(known, _)| state < known) {
            (self.drawn, self.unit) = (drawn, unit);
            self.state = Some((state, stale));
        }
    }

    /// What is wrong comes first, what has no state last.
    fn rank(&self) -> usize {
        self.state.map_or(3, |(state, _)| state as usize)
    }
}

/// A layer's things in one tile.
struct Scene<'a> {
    view: &'a CityView,
    layer: Layer,
    at: TileAddress,
    look: &'a Look<'a>,
    sight: Sight,
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
        sight: Sight::of(look.reach, view),
    };
    let mut pen = Pen::new(&scene);
    let mut n_dropped = 0;
    let is_counted = at.zoom <= CLUSTER_ZOOM && layer != Layer::Live && scene.sight.is_whole();
    let n_hidden = if is_counted {
        let clusters = scene.clusters();
        n_dropped += clusters
            .iter()
            .filter(|cluster| !pen.write_point(cluster))
            .count();
        clusters.iter().map(|cluster| cluster.n_all - 1).sum::<u32>()
    } else {
        let points = scene.points();
        let mut bits = match at.zoom {
            ..=CLUSTER_ZOOM => CLUSTER_BITS,
            13 => PIXEL_BITS,
            _ => 0,
        };
        loop {
            let gathered = scene.gather(&points, bits);
            let may_grow = bits < CLUSTER_BITS;
            let least: usize = gathered
                .iter()
                .map(|one| N_LEAST_BYTES + one.drawn.n_code_bytes())
                .sum();
            if !may_grow || least <= pen.room {
                let n = gathered.iter().filter(|one| !pen.write_point(one)).count();
                if n == 0 || !may_grow {
                    n_dropped += n;
                    break gathered.iter().map(|one| one.n_all - 1).sum();
                }
                pen = Pen::new(&scene);
            }
            bits = (bits + 1).max(PIXEL_BITS);
        }
    };
    n_dropped += scene.write_shapes(&mut pen);
    let mut bytes = Vec::new();
    pen.writer.finish(&mut bytes);
    Tile::of(bytes, n_dropped, n_hidden as usize)
}

impl<'a> Scene<'a> {
    /// What the index has of the layer's kind.
    fn sheet(&self) -> Option<&'a Sheet> {
        let index = self.view.indexed().index.kind(self.layer.kind().index());
        index?.sheet.as_ref()
    }

    /// Things of the layer's kind that the index does not know as they are, as far as they are shown.
    fn changed(&self) -> impl Iterator<Item = (Number, &'a Thing)> {
        let (view, kind) = (self.view, self.layer.kind());
        let changed = view.indexed().changed.iter();
        let changed = changed.filter_map(move |number| Some((*number, view.stock.get(*number)?)));
        changed.filter(move |(_, thing)| thing.kind == kind && self.shows(thing))
    }

    /// The points in a range of places of what changed.
    fn changed_points(&self, places: RangeInclusive<u64>) -> impl Iterator<Item = (u64, Number, &'a Thing)> {
        let points = self.changed().flat_map(|(number, thing)| {
            let points = thing.footprint.points().iter();
            points.map(move |v| (Mercator::of(*v).key(), number, thing))
        });
        points.filter(move |(place, ..)| places.contains(place))
    }

    fn shows(&self, thing: &Thing) -> bool {
        !thing.is_retired()
            && self.look.at.is_none_or(|at| thing.valid_at(at))
            && self.sight.covers(self.view, thing)
    }

    /// A thing that the index knows as it is, when it is shown.
    fn known(&self, number: Number) -> Option<&'a Thing> {
        let thing = self.view.stock.get(number)?;
        (self.view.indexed().knows(number) && self.shows(thing)).then_some(thing)
    }

    /// What a label says of a thing that the index knows, where that is all that is drawn.
    #[inline]
    fn label(&self, label: PackedLabel) -> Option<Drawn<'a>> {
        let labels = &self.view.indexed().index.labels;
        self.may_label()
            .then(|| labels.read(label).map(Drawn::Label))
            .flatten()
    }

    /// Whether labels say all that is drawn: all that there is is seen, no state and no name is asked for.
    fn may_label(&self) -> bool {
        self.layer != Layer::Live && self.sight.is_whole() && !self.has_names()
    }

    fn has_names(&self) -> bool {
        self.look.name.is_some() && self.at.zoom >= self.layer.name_zoom()
    }

    /// All points of the tile that are shown, in Z-order, then by number.
    fn points(&self) -> Vec<Placed<'a>> {
        let indexed = self.view.indexed();
        let mut points: Vec<Placed<'a>> = Vec::new();
        let mut others: Vec<(u64, Number)> = Vec::new();
        for (place, Pin { number, label }) in self
            .sheet()
            .into_iter()
            .flat_map(|sheet| sheet.pins.between(self.at.places()))
        {
            if !indexed.knows(number) {
                continue;
            }
            match self.label(label) {
                Some(drawn) => points.push(Placed { place, number, drawn }),
                None => others.push((place, number)),
            }
        }
        let mut is_sorted = points.is_empty() || others.is_empty();
        // All of them are in the stock, as what the index knows is there.
        let numbers = others.iter().map(|(_, number)| *number);
        let things = self.view.stock.fetch(numbers, |thing| match self.has_names() {
            true => thing.look_at_card(),
            false => thing.look_at_code(),
        });
        let things = others
            .iter()
            .zip(things)
            .filter(|(_, (_, thing))| self.shows(thing));
        points.extend(things.map(|((place, number), (_, thing))| Placed {
            place: *place,
            number: *number,
            drawn: Drawn::Thing(thing),
        }));
        let n = points.len();
        points.extend(
            self.changed_points(self.at.places())
                .map(|(place, number, thing)| Placed {
                    place,
                    number,
                    drawn: Drawn::Thing(thing),
                }),
        );
        is_sorted &= n == points.len();
        if !is_sorted {
            points.sort_unstable_by_key(|point| (point.place, point.number));
        }
        points
    }

    /// Writes lines and polygons that reach into the tile or its margin; how many found no room.
    fn write_shapes(&self, pen: &mut Pen<'_, 'a>) -> usize {
        let indexed = self.view.indexed();
        let wide = self.at.degrees(MARGIN as u32);
        let mut n_dropped = 0;
        if let Some(sheet) = self.sheet() {
            let outlines = &sheet.outlines;
            let near = outlines.near(wide);
            if !self.may_label() {
                let numbers = near.iter().map(|slot| outlines.get(*slot).0.number);
                self.view.stock.fetch(numbers, Thing::look_at_card);
            }
            for (outline, traced) in near.into_iter().map(|slot| outlines.get(slot)) {
                if !indexed.knows(outline.number) {
                    continue;
                }
                let thing = || {
                    self.view
                        .stock
                        .get(outline.number)
                        .filter(|thing| self.shows(thing))
                };
                let drawn = self.label(outline.label).or_else(|| thing().map(Drawn::Thing));
                if let Some(drawn) = drawn {
                    let state = self.look.standing.get(outline.number);
                    n_dropped += usize::from(!pen.write_shape(traced, drawn, state));
                }
            }
        }
        let mut traces = Traces::default();
        for (number, thing) in self.changed() {
            if let Footprint::Shape(shape) = &thing.footprint
                && shape.extent().is_some_and(|own| own.meets(&wide))
            {
                let (drawn, state) = (Drawn::Thing(thing), self.look.standing.get(number));
                n_dropped += usize::from(!pen.write_shape(traces.of(shape), drawn, state));
            }
        }
        n_dropped
    }

    /// Clusters from cells that were counted; only what changed since is counted again.
    fn clusters(&self) -> Vec<Gathered<'a>> {
        let indexed = self.view.indexed();
        let kind = self.layer.kind().index();
        let places = self.at.places();
        let mut all: Vec<Cell> = Vec::new();
        let mut is_sorted = true;
        let sheet = self.sheet();
        if let Some((sheet, clusters)) = sheet.and_then(|sheet| Some((sheet, sheet.clusters.as_ref()?))) {
            for cell in clusters.between(places.clone()) {
                let key = cell.key(CELL_ZOOM);
                let valid = self.look.at.is_none_or(|at| clusters.is_valid(key, at.ms()));
                if valid && indexed.knows_cell(kind, key) {
                    all.push(*cell);
                    continue;
                }
                let pins = sheet.pins.between(clusters::places_of(key));
                let shown = pins.filter(|(_, pin)| self.known(pin.number).is_some());
                all.extend(shown.map(|(place, pin)| Cell::around(place, pin)));
            }
        }
        for (place, number, _) in self.changed_points(places) {
            let label = PackedLabel::NONE;
            all.push(Cell::around(place, Pin { number, label }));
            is_sorted = false;
        }
        let zoom = u32::from(self.at.zoom) + EXTENT.ilog2() - CLUSTER_BITS;
        if !is_sorted {
            all.sort_unstable_by_key(|cell| (cell.place, cell.number));
        }
        let clusters = all.chunk_by(|a, b| a.key(zoom) == b.key(zoom));
        let gathered = clusters.filter_map(|cells| {
            let mut cluster = cells[0];
            cells[1..].iter().for_each(|cell| cluster.join(cell));
            // A label is that of a thing as the index knows it, and so is a cell that has one.
            let thing = || self.view.stock.get(cluster.number).map(Drawn::Thing);
            Some(Gathered {
                drawn: self.label(cluster.label).or_else(thing)?,
                unit: self.at.unit_at(cluster.place),
                state: None,
                n: [0; 3],
                n_all: cluster.n,
            })
        });
        let mut gathered: Vec<Gathered<'a>> = gathered.collect();
        self.count_states(&mut gathered);
        gathered
    }

    /// Counts the states of things that devices stand on in clusters, which are in Z-order; then those with the worst
    /// state come first.
    fn count_states(&self, clusters: &mut [Gathered<'a>]) {
        if self.look.standing.is_empty() {
            return;
        }
        let cell = |[x, y]: TilePoint| zorder::code((x >> CLUSTER_BITS) as u32, (y >> CLUSTER_BITS) as u32);
        let cells: Vec<u64> = clusters.iter().map(|gathered| cell(gathered.unit)).collect();
        for (number, state, stale) in self.look.standing.iter() {
            let Some(thing) = self.view.stock.get(number).filter(|thing| self.shows(thing)) else {
                continue;
            };
            let places = thing.footprint.points().iter().map(|v| Mercator::of(*v).key());
            for place in places.filter(|place| self.at.places().contains(place)) {
                let unit = self.at.unit_at(place);
                if let Ok(nth) = cells.binary_search(&cell(unit)) {
                    clusters[nth].count((state, stale), Drawn::Thing(thing), unit);
                }
            }
        }
        clusters.sort_by_key(Gathered::rank);
    }

    /// Points of each cell of `2^bits` units.
    fn gather(&self, points: &[Placed<'a>], bits: u32) -> Vec<Gathered<'a>> {
        let (is_live, has_states) = (self.layer == Layer::Live, !self.look.standing.is_empty());
        let below = self.at.bits_below_a_unit() + 2 * bits;
        let mut all: Vec<Gathered<'a>> = Vec::with_capacity(points.len());
        let mut last = None;
        for point in points {
            let state = match point.drawn {
                Drawn::Thing(thing) if is_live => Some((self.look.state)(&thing.code)),
                _ if has_states => self.look.standing.get(point.number),
                _ => None,
            };
            let cell = point.place >> below;
            if last != Some(cell) {
                last = Some(cell);
                all.push(Gathered {
                    drawn: point.drawn,
                    unit: self.at.unit_at(point.place),
                    state: None,
                    n: [0; 3],
                    n_all: 0,
                });
            }
            let Some(gathered) = all.last_mut() else { continue };
            gathered.n_all += 1;
            if let Some(state) = state {
                gathered.count(state, point.drawn, self.at.unit_at(point.place));
            }
        }
        // What is wrong is written first: it is dropped last.
        if is_live || has_states {
            all.sort_by_key(Gathered::rank);
        }
        all
    }
}

/// Writes features of a scene.
struct Pen<'s, 'a> {
    scene: &'s Scene<'a>,
    writer: LayerWriter,
    room: usize,
    /// Of the code (of devices: id) and of the name.
    keys: [Key; 2],
    /// Properties of classes, by their terms.
    classes: HashMap<u32, Option<Tag>>,
    strata: [Option<Tag>; 2],
    /// The sort of the label that was written last, and what is said of it.
    sort: Option<(&'a Sort, Tags)>,
    /// The code of that label.
    code: Vec<u8>,
    path: Vec<TilePoint>,
    rings: Vec<Vec<TilePoint>>,
}

impl<'s, 'a> Pen<'s, 'a> {
    fn new(scene: &'s Scene<'a>) -> Self {
        let mut writer = LayerWriter::new(scene.layer.name());
        let code = match scene.layer {
            Layer::Live => "id",
            _ => "code",
        };
        let code = writer.key(code);
        Self {
            scene,
            keys: [
                code,
                if scene.has_names() {
                    writer.key("name")
                } else {
                    code
                },
            ],
            writer,
            room: N_MOST_BYTES - N_FRAME_BYTES,
            classes: HashMap::default(),
            strata: [None; 2],
            sort: None,
            code: Vec::new(),
            path: Vec::new(),
            rings: Vec::new(),
        }
    }

    fn write_point(&mut self, gathered: &Gathered<'a>) -> bool {
        let count = gathered.n_all;
        let drawing = Drawing::Point(gathered.unit);
        if count == 1 && gathered.state.is_none() {
            return self.write(drawing, gathered.drawn, &Tags::default());
        }
        let mut tags = Tags::default();
        if count > 1 {
            tags.push(self.writer.tag("count", &Value::Number(count.into())));
        }
        if gathered.state.is_some() {
            self.push_state(&mut tags, gathered.state);
            if count > 1 {
                for (name, n) in ["abnormal", "unknown", "normal"].into_iter().zip(gathered.n) {
                    tags.push(self.writer.tag(name, &Value::Number(n.into())));
                }
            }
        }
        self.write(drawing, gathered.drawn, &tags)
    }

    fn push_state(&mut self, tags: &mut Tags, state: Option<(LiveState, bool)>) {
        let Some((state, stale)) = state else { return };
        let name = Value::Text(state.name().to_owned());
        tags.push(self.writer.tag("state", &name));
        if stale {
            tags.push(self.writer.tag("stale", &Value::Number(1)));
        }
    }

    fn write_shape(
        &mut self,
        traced: Traced<'_>,
        drawn: Drawn<'a>,
        state: Option<(LiveState, bool)>,
    ) -> bool {
        let (low, high) = (-MARGIN, EXTENT + MARGIN);
        let (at, mut own) = (self.scene.at, Tags::default());
        self.push_state(&mut own, state);
        let mut path = std::mem::take(&mut self.path);
        let mut rings = std::mem::take(&mut self.rings);
        let written = match (traced.single(), traced.is_area) {
            (Some(line), false) => {
                at.snap(line, &mut path);
                match lies(&path, low, high) {
                    Lies::Inside => self.write(Drawing::Line(&path), drawn, &own),
                    Lies::Outside => true,
                    Lies::Across => {
                        let parts = clip_line(path.clone(), low, high);
                        self.write(Drawing::Lines(&parts), drawn, &own)
                    }
                }
            }
            (None, false) => {
                let mut parts: Vec<Vec<TilePoint>> = Vec::new();
                for line in traced.paths() {
                    at.snap(line, &mut path);
                    parts.extend(clip_line(path.clone(), low, high));
                }
                self.write(Drawing::Lines(&parts), drawn, &own)
            }
            (Some(ring), true) => {
                at.snap_ring(ring, &mut path);
                let is_sound = |ring: &[TilePoint]| traced.is_valid_at(at.zoom) || is_valid(ring);
                match lies(&path, low, high) {
                    _ if path.len() < 3 => true,
                    Lies::Outside => true,
                    Lies::Inside if is_sound(&path) => self.write(Drawing::Ring(&path), drawn, &own),
                    Lies::Across if is_sound(&path) && cut_valid_ring(&path, low, high, &mut rings) => {
                        self.write(Drawing::Rings(&rings), drawn, &own)
                    }
                    _ => {
                        let polygons = repair(&[clip_ring(path.clone(), low, high)]);
                        self.write(Drawing::Polygons(&polygons), drawn, &own)
                    }
                }
            }
            (None, true) => {
                let snapped = |ring| {
                    at.snap(ring, &mut path);
                    clip_ring(upright(path.clone()), low, high)
                };
                let all: Vec<_> = traced.paths().map(snapped).collect();
                self.write(Drawing::Polygons(&repair(&all)), drawn, &own)
            }
        };
        (self.path, self.rings) = (path, rings);
        written
    }

    #[inline]
    fn write(&mut self, drawing: Drawing<'_>, drawn: Drawn<'a>, own: &Tags) -> bool {
        match drawn {
            Drawn::Label(label) => self.write_label(drawing, label, own),
            Drawn::Thing(thing) => {
                let mut tags = *own;
                self.describe(thing.class, thing.stratum(), &mut tags);
                let [code, name] = self.keys;
                let code = (code, thing.code.as_bytes());
                let card = thing.card.as_ref().filter(|_| self.scene.has_names());
                let text = card.and_then(|card| self.scene.look.name.map(|name_of| name_of(card)));
                match text.filter(|text| !text.is_empty()) {
                    Some(text) => {
                        let texts = [code, (name, text.as_bytes())];
                        self.writer.add_tagged(drawing, &texts, tags.all(), self.room)
                    }
                    None => self.writer.add_tagged(drawing, &[code], tags.all(), self.room),
                }
            }
        }
    }

    #[inline]
    fn write_label(&mut self, drawing: Drawing<'_>, label: Label<'a>, own: &Tags) -> bool {
        match &self.sort {
            Some((sort, _)) if std::ptr::eq(*sort, label.sort) => label.write_digits(&mut self.code),
            _ => {
                label.write(&mut self.code);
                let mut tags = Tags::default();
                self.describe(label.sort.class, label.sort.stratum, &mut tags);
                self.sort = Some((label.sort, tags));
            }
        }
        let tags = self.sort.as_ref().map_or(own, |(_, tags)| tags);
        let code = [(self.keys[0], &self.code[..])];
        if own.n == 0 {
            return self.writer.add_tagged(drawing, &code, tags.all(), self.room);
        }
        let mut both = *own;
        tags.all().iter().for_each(|tag| both.push(*tag));
        self.writer.add_tagged(drawing, &code, both.all(), self.room)
    }

    /// Says class and stratum.
    fn describe(&mut self, class: u32, stratum: Stratum, tags: &mut Tags) {
        let (scene, writer) = (self.scene, &mut self.writer);
        if class != NO_TERM {
            let tag = self.classes.entry(class).or_insert_with(|| {
                let text = scene.view.terms.text(class)?;
                let key = if scene.layer == Layer::Live {
                    "kind"
                } else {
                    "class"
                };
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
    }
}

/// How a path lies to a square.
enum Lies {
    Inside,
    Across,
    /// Wholly beyond one of its sides.
    Outside,
}

#[inline]
fn lies(path: &[TilePoint], low: i32, high: i32) -> Lies {
    let (mut least, mut most) = ([i32::MAX; 2], [i32::MIN; 2]);
    for point in path {
        for axis in 0..2 {
            least[axis] = least[axis].min(point[axis]);
            most[axis] = most[axis].max(point[axis]);
        }
    }
    match () {
        () if least.iter().any(|v| *v > high) || most.iter().any(|v| *v < low) => Lies::Outside,
        () if least.iter().all(|v| *v >= low) && most.iter().all(|v| *v <= high) => Lies::Inside,
        () => Lies::Across,
    }
}

/// The few properties of one feature that others have, too.
#[derive(Clone, Copy, Default)]
struct Tags {
    tags: [Tag; N_TAGS],
    n: usize,
}

/// Eight at most: count, state, stale, three counts of states, class and stratum.
const N_TAGS: usize = 8;
const _: () = assert!(N_TAGS + 2 <= N_MOST_TAGS);

impl Tags {
    fn push(&mut self, tag: Tag) {
        self.tags[self.n] = tag;
        self.n += 1;
    }

    fn all(&self) -> &[Tag] {
        &self.tags[..self.n]
    }
}
