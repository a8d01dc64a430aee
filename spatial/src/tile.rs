//! Cuts a prepared layer into one vector tile.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::ops::RangeInclusive;

use onemap_model::{Reach, Timestamp};

use crate::clip::{TilePoint, clip_line, clip_ring};
use crate::coordinates::Extent;
use crate::ground::{Points, zorder};
use crate::layer::Layer;
use crate::mercator::{Mercator, MercatorBox};
use crate::mvt::{Drawing, EXTENT, LayerWriter, Property, Value};
use crate::prepared_layer::{MapItem, Outline, PreparedLayer};
use crate::repair::repair;
use crate::sight::Sight;
use crate::standing::States;

/// Highest zoom of tiles; screens enlarge these beyond it.
pub const MAX_ZOOM: u8 = 16;
/// Mercator steps in one tile unit at zoom z: 2^(UNIT_BITS - z).
pub(crate) const UNIT_BITS: u32 = 20;
/// Lines and polygons reach this many units beyond the tile, so that their outlines do not show its
/// border.
pub(crate) const MARGIN: i32 = 64;
/// Largest tile in bytes, label sub-layer and framing included.
pub(crate) const N_MOST_BYTES: usize = 500_000;
/// Bytes set aside for the frame of layers: names, keys, lengths.
pub(crate) const N_FRAME_BYTES: usize = 2_000;
/// Bytes set aside for label points of divisions.
const N_LABEL_BYTES: usize = 50_000;
/// Points nearer than this to a more important one are hidden: 32 units are about four pixels.
const CROWD_BITS: u32 = 5;
/// From this zoom on no point is hidden.
const NO_CROWD_ZOOM: u8 = 14;

/// Enough to tell a tile's versions apart; the same at every start.
const ETAG_HASH: foldhash::quality::FixedState = foldhash::quality::FixedState::with_seed(0);

/// State of a device as it is shown, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LiveState {
    /// A rule says that something is wrong.
    Abnormal,
    /// Nothing is known: no value, silence, or nothing that may be judged.
    Unknown,
    /// Judged, and well.
    Normal,
}

impl LiveState {
    /// Its name in tiles.
    pub fn name(self) -> &'static str {
        match self {
            LiveState::Abnormal => "abnormal",
            LiveState::Unknown => "unknown",
            LiveState::Normal => "normal",
        }
    }
}

/// Who looks at a tile, when, and what is only known elsewhere.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// Only what is in it: by division and department of layers that are drawn tile by tile, and of devices; of the
    /// others by department.
    pub reach: &'a Reach,
    /// Only what is valid at this time; whatever it is when there is none.
    pub at: Option<Timestamp>,
    /// State of a device by its id, and whether it is stale.
    pub state: &'a dyn Fn(&str) -> (LiveState, bool),
    /// States of what the tile shows and devices stand on ([`CityView::states`](crate::CityView::states)).
    pub standing: &'a States,
    /// What a card ([`crate::Card`]) has for a name; without it no names are drawn.
    pub name: Option<fn(&[u8]) -> &str>,
}

static NO_STATES: States = States::NONE;
static WHOLE: Reach = Reach {
    division: None,
    departments: Vec::new(),
};

impl Default for Look<'_> {
    /// Sees everything at all times, knows no state and no name.
    fn default() -> Self {
        Self {
            reach: &WHOLE,
            at: None,
            state: &|_| (LiveState::Unknown, false),
            standing: &NO_STATES,
            name: None,
        }
    }
}

/// One vector tile.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    /// Mapbox Vector Tile, not compressed, at most 500,000 bytes.
    pub bytes: Vec<u8>,
    /// Strong ETag with its quotes: a hash of the bytes, so an edit elsewhere does not change it.
    pub etag: String,
    /// Features left out for the size limit, least important first.
    pub n_dropped: usize,
    /// Points hidden behind a more important one at this zoom.
    pub n_hidden: usize,
}

/// Why there is no such tile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TileError {
    /// Zoom beyond [`MAX_ZOOM`].
    #[error("zoom {zoom} is beyond the highest, {MAX_ZOOM}")]
    Zoom {
        /// As asked.
        zoom: u8,
    },
    /// Column or row beyond the zoom's range.
    #[error("zoom {zoom} has no tile {x}/{y}")]
    Outside {
        /// Zoom.
        zoom: u8,
        /// Column.
        x: u32,
        /// Row.
        y: u32,
    },
}

/// Where a tile lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TileAddress {
    pub(crate) zoom: u8,
    x: u32,
    y: u32,
}

impl TileAddress {
    pub(crate) fn new(zoom: u8, x: u32, y: u32) -> Result<Self, TileError> {
        if zoom > MAX_ZOOM {
            return Err(TileError::Zoom { zoom });
        }
        if x >> zoom > 0 || y >> zoom > 0 {
            return Err(TileError::Outside { zoom, x, y });
        }
        Ok(Self { zoom, x, y })
    }

    /// The tile that holds a point.
    pub(crate) fn around(zoom: u8, m: Mercator) -> Self {
        let cell = |v: u32| v.checked_shr(32 - u32::from(zoom)).unwrap_or(0);
        Self {
            zoom,
            x: cell(m.x),
            y: cell(m.y),
        }
    }

    fn shift(self) -> u32 {
        UNIT_BITS - u32::from(self.zoom)
    }

    /// The nearest unit; the grid of units is the same for all tiles of a zoom.
    #[inline]
    pub(crate) fn nearest(self, m: Mercator) -> TilePoint {
        let half = 1u64 << self.shift() >> 1;
        // Both have at most 28 bits, and a half more.
        let unit = |v: u32, tile: u32| ((u64::from(v) + half) >> self.shift()) as i32 - tile as i32 * EXTENT;
        [unit(m.x, self.x), unit(m.y, self.y)]
    }

    /// The vertices of a line in units, each once.
    #[inline]
    pub(crate) fn snap(self, path: &[Mercator], out: &mut Vec<TilePoint>) {
        out.clear();
        out.extend(path.iter().map(|m| self.nearest(*m)));
        out.dedup();
    }

    /// The vertices of a ring in units, each once, turned round as tiles want it ([`upright`]).
    #[inline]
    pub(crate) fn snap_ring(self, path: &[Mercator], out: &mut Vec<TilePoint>) {
        out.clear();
        out.extend(path.iter().rev().map(|m| self.nearest(*m)));
        out.dedup();
        while out.len() > 1 && out.first() == out.last() {
            out.pop();
        }
    }

    /// The unit that holds the point; a point lies in one tile only.
    pub(crate) fn unit_of(self, m: Mercator) -> Option<TilePoint> {
        let unit = |v: u32, tile: u32| i64::from(v >> self.shift()) - i64::from(tile) * i64::from(EXTENT);
        let (x, y) = (unit(m.x, self.x), unit(m.y, self.y));
        let inside = 0..i64::from(EXTENT);
        (inside.contains(&x) && inside.contains(&y)).then_some([x as i32, y as i32])
    }

    /// Whether a box reaches into the tile or its margin.
    fn meets(self, outline: &Outline) -> bool {
        let [west, north] = self.nearest(outline.north_west);
        let [east, south] = self.nearest(outline.south_east);
        let (low, high) = (-MARGIN, EXTENT + MARGIN);
        west <= high && east >= low && north <= high && south >= low
    }

    /// The places of its points in Z-order, from the first to the last.
    pub(crate) fn places(self) -> RangeInclusive<u64> {
        let bits = 2 * (32 - u32::from(self.zoom));
        let first = zorder::code(self.x, self.y).checked_shl(bits).unwrap_or(0);
        first..=first | u64::MAX >> (64 - bits)
    }

    /// Of places in Z-order: how many low bits lie below a unit.
    pub(crate) fn bits_below_a_unit(self) -> u32 {
        2 * self.shift()
    }

    /// The unit that holds a place of the tile in Z-order.
    #[inline]
    pub(crate) fn unit_at(self, place: u64) -> TilePoint {
        zorder::column_and_row((place >> self.bits_below_a_unit()) as u32 & 0x00FF_FFFF)
    }

    /// The square of the tile and so many units around it.
    fn square(self, margin: u32) -> MercatorBox {
        MercatorBox::cell(u32::from(self.zoom), [self.x, self.y]).widened(margin << self.shift())
    }

    /// A box of degrees around the tile and so many units around it, a little larger.
    pub(crate) fn degrees(self, margin: u32) -> Extent {
        self.square(margin).degrees()
    }
}

/// Draws a tile; `None` when nothing of the layer lies in it.
pub(crate) fn draw(
    layer: Layer,
    prepared: &PreparedLayer,
    at: TileAddress,
    seen: (&Look<'_>, &Sight),
) -> Option<Tile> {
    let mut room = N_MOST_BYTES - N_FRAME_BYTES;
    let (mut n_dropped, mut n_hidden) = (0, 0);
    let mut bytes = Vec::new();

    let mut labels = LayerWriter::new("division_labels");
    let (dropped, _) = draw_points(
        &mut labels,
        prepared,
        &prepared.labels,
        (at, seen),
        N_LABEL_BYTES,
        false,
    );
    n_dropped += dropped;
    room -= labels.len();

    let mut writer = LayerWriter::new(layer.name());
    for outline in &prepared.outlines {
        let item = &prepared.items[outline.item as usize];
        if item.min_zoom > at.zoom || !at.meets(outline) || !is_seen(item, seen) {
            continue;
        }
        n_dropped += usize::from(!draw_outline(&mut writer, outline, &item.properties, at, room));
    }
    let (dropped, hidden) = draw_points(&mut writer, prepared, &prepared.points, (at, seen), room, true);
    n_dropped += dropped;
    n_hidden += hidden;

    writer.finish(&mut bytes);
    labels.finish(&mut bytes);
    Tile::of(bytes, n_dropped, n_hidden)
}

fn is_seen(item: &MapItem, (look, sight): (&Look<'_>, &Sight)) -> bool {
    item.valid_at(look.at) && sight.covers_owner(item.owner)
}

impl Tile {
    /// A tile of these bytes; none of no bytes.
    pub(crate) fn of(bytes: Vec<u8>, n_dropped: usize, n_hidden: usize) -> Option<Self> {
        (!bytes.is_empty()).then(|| Self {
            etag: format!("\"{:016x}\"", ETAG_HASH.hash_one(&bytes)),
            bytes,
            n_dropped,
            n_hidden,
        })
    }
}

/// Draws lines or polygons; `false` when they did not fit into the room.
fn draw_outline(
    writer: &mut LayerWriter,
    outline: &Outline,
    properties: &[Property],
    at: TileAddress,
    room: usize,
) -> bool {
    let (low, high) = (-MARGIN, EXTENT + MARGIN);
    let paths = outline.paths.iter().map(|path| {
        let drawn = path
            .vertices
            .iter()
            .zip(&path.zooms)
            .filter(|(_, zoom)| **zoom <= at.zoom);
        let mut points: Vec<TilePoint> = drawn.map(|(m, _)| at.nearest(*m)).collect();
        points.dedup();
        points
    });
    if outline.closed {
        let rings: Vec<_> = paths.map(|ring| clip_ring(upright(ring), low, high)).collect();
        writer.add(Drawing::Polygons(&repair(&rings)), properties.iter(), room)
    } else {
        let lines: Vec<_> = paths.flat_map(|line| clip_line(line, low, high)).collect();
        writer.add(Drawing::Lines(&lines), properties.iter(), room)
    }
}

/// Rings come with longitude right and latitude up; tiles count downwards, which mirrors them. Turning
/// them round keeps outer rings of positive area in tile units.
pub(crate) fn upright(mut ring: Vec<TilePoint>) -> Vec<TilePoint> {
    ring.reverse();
    ring
}

/// Draws points, most important first; returns how many were dropped for room and hidden by others.
fn draw_points(
    writer: &mut LayerWriter,
    prepared: &PreparedLayer,
    points: &Points,
    (at, seen): (TileAddress, (&Look<'_>, &Sight)),
    room: usize,
    thin: bool,
) -> (usize, usize) {
    let mut found: Vec<(u32, TilePoint)> = Vec::new();
    points.bbox(at.degrees(0), |point| {
        let item = &prepared.items[point.item as usize];
        if item.min_zoom <= at.zoom && is_seen(item, seen) {
            let unit = at.unit_of(Mercator::of(point.at));
            found.extend(unit.map(|unit| (point.item, unit)));
        }
    });
    found.sort_unstable();
    let crowd_bits = if thin && at.zoom < NO_CROWD_ZOOM {
        CROWD_BITS
    } else {
        0
    };
    let mut hidden: BTreeMap<TilePoint, u64> = BTreeMap::new();
    let mut shown = Vec::new();
    for (item, point) in found {
        let n_before = hidden
            .entry(point.map(|v| v >> crowd_bits))
            .and_modify(|n| *n += 1)
            .or_insert(0);
        if *n_before == 0 || crowd_bits == 0 {
            shown.push((item, point));
        }
    }
    let mut n_dropped = 0;
    let mut n_hidden = 0;
    for (item, point) in shown {
        let n = if crowd_bits == 0 {
            0
        } else {
            hidden[&point.map(|v| v >> crowd_bits)]
        };
        n_hidden += n as usize;
        let extra: Option<Property> = (n > 0).then_some(("hidden", Value::Number(n)));
        let properties = prepared.items[item as usize].properties.iter().chain(&extra);
        n_dropped += usize::from(!writer.add(Drawing::Point(point), properties, room));
    }
    (n_dropped, n_hidden)
}
