//! Draws layers of any size tile by tile, straight from the index: points gathered to clusters, lines
//! and polygons as they are.
//!
//! Points that fall into one cell of the tile are one feature with their number (`count`) and the worst
//! of their states: nothing that is wrong disappears behind something that is well. Cells are 64 units
//! up to zoom 12, about eight pixels, a pixel after that, and a unit at the last zoom; a tile that would
//! grow over its limit takes larger ones.

use std::collections::HashMap;

use onemap_model::Stratum;

use crate::city_view::CityView;
use crate::clip::{TilePoint, clip_line, clip_ring};
use crate::coordinates::{Mercator, Vertex};
use crate::geometry::Shape;
use crate::layer::Layer;
use crate::morton::{MercatorBox, mercator_of};
use crate::mvt::{Drawing, EXTENT, LayerWriter, Property, Value};
use crate::repair::repair;
use crate::terms::NO_TERM;
use crate::thing::{DivisionPrefix, Footprint, Number, Thing, ThingKind};
use crate::tile::{
    LiveState, Look, MARGIN, MAX_ZOOM, N_FRAME_BYTES, N_MOST_BYTES, Tile, TileAddress, upright,
};

/// Up to this zoom points are gathered to clusters.
const CLUSTER_ZOOM: u8 = 12;
/// Bits of a cluster's cell: 64 units.
const CLUSTER_BITS: u32 = 6;
/// Bits of a pixel on a screen of 512 pixels for a tile: 8 units.
const PIXEL_BITS: u32 = 3;
/// From this zoom on names are drawn.
const NAME_ZOOM: u8 = 15;

/// Points of one cell.
struct Gathered<'a> {
    /// The one that is shown for all: of the worst state, then the first in Z-order.
    shown: (LiveState, u64, Number),
    thing: &'a Thing,
    stale: bool,
    /// How many are abnormal, unknown, normal.
    n: [u64; 3],
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
    let (points, shapes) = scene.seen();
    let room = N_MOST_BYTES - N_FRAME_BYTES;
    let mut bits = match at.zoom {
        ..=CLUSTER_ZOOM => CLUSTER_BITS,
        MAX_ZOOM.. => 0,
        _ => PIXEL_BITS,
    };
    loop {
        let mut writer = LayerWriter::new(layer.name());
        let (mut n_dropped, mut n_hidden) = (0, 0);
        for gathered in scene.gather(&points, bits) {
            n_hidden += gathered.n.iter().sum::<u64>() as usize - 1;
            n_dropped += usize::from(!scene.write_point(&mut writer, &gathered, room));
        }
        if n_dropped > 0 && bits < CLUSTER_BITS {
            bits = (bits + 1).max(PIXEL_BITS);
            continue;
        }
        for thing in &shapes {
            n_dropped += usize::from(!scene.write_shape(&mut writer, thing, room));
        }
        let mut bytes = Vec::new();
        writer.finish(&mut bytes);
        return Tile::of(bytes, n_dropped, n_hidden);
    }
}

/// A point that is seen: its place in Z-order, its number and thing.
type SeenPoint<'a> = (u64, Number, &'a Thing);

impl<'a> Scene<'a> {
    /// Points of the tile in Z-order, and lines and polygons that reach into it or its margin, by code.
    fn seen(&self) -> (Vec<SeenPoint<'a>>, Vec<&'a Thing>) {
        let (view, kind) = (self.view, self.layer.kind());
        let indexed = view.indexed();
        let (own, wide) = (self.at.square(0), self.at.square(MARGIN as u32));
        let mut points: Vec<SeenPoint<'a>> = Vec::new();
        let mut shapes: Vec<(&'a str, &'a Thing)> = Vec::new();
        if let Some(index) = indexed.base.kind(kind.index()) {
            let unchanged = |number: Number| {
                let thing = view.stock.get(number)?;
                let is_changed =
                    !indexed.changed.is_empty() && indexed.changed.binary_search(&number).is_ok();
                (!is_changed && self.shows(thing)).then_some(thing)
            };
            index.points.near(&own, |places| {
                for place in places {
                    let (key, number) = (index.points.key(place), index.points.number(place));
                    if own.holds(mercator_of(key)) {
                        points.extend(unchanged(number).map(|thing| (key, number, thing)));
                    }
                }
            });
            index.shapes_meeting(&wide, |number| {
                shapes.extend(unchanged(number).map(|thing| (&*thing.code, thing)));
            });
        }
        for number in &indexed.changed {
            let Some(thing) = view.stock.get(*number) else {
                continue;
            };
            if thing.kind != kind || !self.shows(thing) {
                continue;
            }
            let mut point = |v: Vertex| {
                let m = Mercator::of(v);
                if own.holds(m) {
                    points.push((crate::morton::key_of(m), *number, thing));
                }
            };
            match &thing.footprint {
                Footprint::Nowhere => {}
                Footprint::Point(v) => point(*v),
                Footprint::Shape(shape) => match &**shape {
                    Shape::Points(vertices) => vertices.iter().for_each(|v| point(*v)),
                    shape => {
                        let area = shape.extent().map(|extent| crate::base::mercator_box(&extent));
                        if area.is_some_and(|area: MercatorBox| area.meets(&wide)) {
                            shapes.push((&thing.code, thing));
                        }
                    }
                },
            }
        }
        if !indexed.changed.is_empty() {
            points.sort_unstable_by_key(|(key, number, _)| (*key, *number));
        }
        shapes.sort_unstable_by_key(|(code, _)| *code);
        (points, shapes.into_iter().map(|(_, thing)| thing).collect())
    }

    fn shows(&self, thing: &Thing) -> bool {
        !thing.retired
            && self.look.at.is_none_or(|at| thing.valid_at(at))
            && self
                .division
                .is_none_or(|division| division.covers(self.view.division_of(thing)))
    }

    fn gather(&self, points: &[SeenPoint<'a>], bits: u32) -> Vec<Gathered<'a>> {
        let mut cells: HashMap<TilePoint, usize> = HashMap::new();
        let mut all: Vec<Gathered<'a>> = Vec::new();
        // In Z-order neighbours often share their cell.
        let mut last: Option<(TilePoint, usize)> = None;
        for (key, number, thing) in points {
            let Some(unit) = self.at.unit_of(mercator_of(*key)) else {
                continue;
            };
            let cell = unit.map(|v| v >> bits);
            let (state, stale) = match self.layer {
                Layer::Live => (self.look.state)(&thing.code),
                _ => (LiveState::Normal, false),
            };
            let place = match last {
                Some((of, place)) if of == cell => place,
                _ => *cells.entry(cell).or_insert(all.len()),
            };
            last = Some((cell, place));
            let shown = (state, *key, *number);
            match all.get_mut(place) {
                None => all.push(Gathered {
                    shown,
                    thing,
                    stale,
                    n: [0; 3],
                }),
                Some(gathered) if shown < gathered.shown => {
                    (gathered.shown, gathered.thing, gathered.stale) = (shown, thing, stale);
                }
                Some(_) => {}
            }
            all[place].n[state as usize] += 1;
        }
        // What is wrong is written first: it is dropped last.
        if self.layer == Layer::Live {
            all.sort_by_key(|gathered| gathered.shown.0);
        }
        all
    }

    fn write_point(&self, writer: &mut LayerWriter, gathered: &Gathered<'_>, room: usize) -> bool {
        let (state, key, _) = gathered.shown;
        let Some(unit) = self.at.unit_of(mercator_of(key)) else {
            return true;
        };
        let count: u64 = gathered.n.iter().sum();
        let mut properties: Vec<Property> = Vec::with_capacity(6);
        if count > 1 {
            properties.push(("count", Value::Number(count)));
        }
        if self.layer == Layer::Live {
            properties.push(("state", Value::Text(state.name().to_owned())));
            if gathered.stale {
                properties.push(("stale", Value::Number(1)));
            }
            if count > 1 {
                let names = ["abnormal", "unknown", "normal"];
                properties.extend(names.into_iter().zip(gathered.n.map(Value::Number)));
            }
        }
        self.write(writer, Drawing::Point(unit), gathered.thing, properties, room)
    }

    fn write_shape(&self, writer: &mut LayerWriter, thing: &Thing, room: usize) -> bool {
        let Footprint::Shape(shape) = &thing.footprint else {
            return true;
        };
        let (low, high) = (-MARGIN, EXTENT + MARGIN);
        let snapped = |path: &Vec<Vertex>| {
            let mut points: Vec<TilePoint> = path.iter().map(|v| self.at.nearest(Mercator::of(*v))).collect();
            points.dedup();
            points
        };
        match &**shape {
            Shape::Points(_) => true,
            Shape::Lines(lines) => {
                let lines: Vec<_> = lines
                    .iter()
                    .flat_map(|line| clip_line(snapped(line), low, high))
                    .collect();
                self.write(writer, Drawing::Lines(&lines), thing, Vec::new(), room)
            }
            Shape::Polygons(polygons) => {
                let rings = polygons.iter().flat_map(|polygon| &polygon.rings);
                let rings: Vec<_> = rings
                    .map(|ring| clip_ring(upright(snapped(ring)), low, high))
                    .collect();
                self.write(
                    writer,
                    Drawing::Polygons(&repair(&rings)),
                    thing,
                    Vec::new(),
                    room,
                )
            }
        }
    }

    fn write(
        &self,
        writer: &mut LayerWriter,
        drawing: Drawing<'_>,
        thing: &Thing,
        mut properties: Vec<Property>,
        room: usize,
    ) -> bool {
        if thing.class != NO_TERM
            && let Some(class) = self.view.terms.text(thing.class)
        {
            let key = if thing.kind == ThingKind::Device {
                "kind"
            } else {
                "class"
            };
            properties.push((key, Value::Text(class.to_string())));
        }
        let stratum = match thing.stratum {
            Stratum::Above => "above",
            Stratum::Surface => "",
            Stratum::Below => "below",
        };
        if !stratum.is_empty() {
            properties.push(("stratum", Value::Text(stratum.to_owned())));
        }
        let name = match &thing.kind {
            ThingKind::Entity(kind) if self.at.zoom >= NAME_ZOOM => (self.look.name)(kind, &thing.code),
            _ => None,
        };
        let key = if thing.kind == ThingKind::Device {
            "id"
        } else {
            "code"
        };
        match name.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => writer.add_named(
                drawing,
                &[(key, &thing.code), ("name", name)],
                properties.iter(),
                room,
            ),
            None => writer.add_named(drawing, &[(key, &thing.code)], properties.iter(), room),
        }
    }
}
