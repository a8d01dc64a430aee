//! Geometry as GeoJSON gives it, checked.
//!
//! One checked form between JSON and the file: whatever is a [`Geometry`] has finite coordinates inside
//! the globe, lines of two positions and more, and closed rings. It does not say that rings are free of
//! self-crossings; the map looks at that.

use onemap_model::Crs;
use onemap_model::crs::OutOfDomain;
use serde_json::{Value, json};

/// Most positions of one geometry.
pub const MAX_POSITIONS: usize = 200_000;

/// Most metres above or below; what is farther is no height of the earth's.
const MAX_HEIGHT_M: f64 = 100_000.0;

/// One position, WGS 84 degrees, optionally with its height in metres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Coord {
    pub(crate) lon: f64,
    pub(crate) lat: f64,
    pub(crate) height: Option<f64>,
}

pub(super) type Line = Vec<Coord>;
pub(super) type Rings = Vec<Line>;

/// A checked geometry.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Geometry {
    Point(Coord),
    MultiPoint(Line),
    LineString(Line),
    MultiLineString(Vec<Line>),
    Polygon(Rings),
    MultiPolygon(Vec<Rings>),
}

/// Why a GeoJSON value is no geometry onemap keeps.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GeometryError {
    /// Not an object with `type` and `coordinates`.
    #[error("a geometry is an object with `type` and `coordinates`")]
    Shape,
    /// A type that is not kept (a collection, or none of GeoJSON's).
    #[error(
        "geometry type `{0}` is not one of Point, MultiPoint, LineString, MultiLineString, Polygon, MultiPolygon"
    )]
    Type(String),
    /// The nesting of `coordinates` is not that of the type.
    #[error("the coordinates of a {0} are not nested as they should be")]
    Nesting(&'static str),
    /// A position is not two or three numbers.
    #[error("position {0} is not [lon, lat] or [lon, lat, height]")]
    Position(String),
    /// Longitude outside [-180, 180].
    #[error("longitude {0} is not in [-180, 180]")]
    Longitude(f64),
    /// Latitude outside [-90, 90].
    #[error("latitude {0} is not in [-90, 90]")]
    Latitude(f64),
    /// The numbers cannot be of the declared system.
    #[error(transparent)]
    Domain(OutOfDomain),
    /// A line or ring over more than half of the globe.
    #[error(
        "a {0} reaches over {1} degrees of longitude; what crosses the antimeridian is cut there (RFC 7946, 3.1.9)"
    )]
    Wide(&'static str, f64),
    /// Too many positions.
    #[error("a geometry has at most {MAX_POSITIONS} positions, this one has {0}")]
    Positions(usize),
    /// Well-known text or binary that is none.
    #[error("{0}")]
    WellKnown(&'static str),
    /// A height that nothing has.
    #[error("height {0} m is not in [-100000, 100000]")]
    Height(f64),
    /// Some positions have a height, others have none.
    #[error("some positions have a height and others have none")]
    MixedHeights,
    /// A part without positions.
    #[error("a {0} without positions")]
    Empty(&'static str),
    /// A line of one position.
    #[error("a line has at least two positions")]
    ShortLine,
    /// A line whose positions are all the same.
    #[error("a line without length: all of its positions are the same")]
    NoLength,
    /// A ring of fewer than four positions.
    #[error("a ring has at least four positions, this one has {0}")]
    ShortRing(usize),
    /// A ring whose last position is not its first.
    #[error("a ring ends where it begins, this one begins at {begin:?} and ends at {end:?}")]
    OpenRing {
        /// First longitude and latitude.
        begin: (f64, f64),
        /// Last longitude and latitude.
        end: (f64, f64),
    },
}

impl Geometry {
    /// Reads and checks a GeoJSON geometry in WGS 84. Members besides `type` and `coordinates` are not kept.
    pub(crate) fn from_json(value: &Value) -> Result<Self, GeometryError> {
        let geometry = Self::parse(value)?;
        for c in geometry.coords() {
            if !(-180.0..=180.0).contains(&c.lon) {
                return Err(GeometryError::Longitude(c.lon));
            }
            if !(-90.0..=90.0).contains(&c.lat) {
                return Err(GeometryError::Latitude(c.lat));
            }
        }
        Ok(geometry)
    }

    /// The geometry in WGS 84, its numbers taken as those of `crs`.
    pub(crate) fn read(mut self, crs: Crs) -> Result<Self, GeometryError> {
        let mut wrong = None;
        self.coords_mut(|c| match crs.read(c.lon, c.lat) {
            Ok((lon, lat)) => (c.lon, c.lat) = (lon, lat),
            Err(error) => wrong = wrong.or(Some(error)),
        });
        match wrong {
            None => Ok(self),
            Some(OutOfDomain::Globe { x, .. }) if x.abs() > 180.0 => Err(GeometryError::Longitude(x)),
            Some(OutOfDomain::Globe { y, .. }) => Err(GeometryError::Latitude(y)),
            Some(error) => Err(GeometryError::Domain(error)),
        }
    }

    /// Whether what a foreign file gave is whole: sizes, closed rings, heights. Its numbers are not looked at.
    pub(super) fn checked(self) -> Result<Self, GeometryError> {
        let rings = |rings: &Rings| match rings.is_empty() {
            true => Err(GeometryError::Empty("Polygon")),
            false => rings.iter().try_for_each(check_ring),
        };
        match &self {
            Self::Point(_) => {}
            Self::MultiPoint(l) if l.is_empty() => return Err(GeometryError::Empty("MultiPoint")),
            Self::MultiPoint(_) => {}
            Self::LineString(l) => check_line(l)?,
            Self::MultiLineString(l) if l.is_empty() => return Err(GeometryError::Empty("MultiLineString")),
            Self::MultiLineString(l) => l.iter().try_for_each(check_line)?,
            Self::Polygon(r) => rings(r)?,
            Self::MultiPolygon(p) if p.is_empty() => return Err(GeometryError::Empty("MultiPolygon")),
            Self::MultiPolygon(p) => p.iter().try_for_each(rings)?,
        }
        let (n, n_heights) = self
            .coords()
            .fold((0, 0), |(n, h), c| (n + 1, h + usize::from(c.height.is_some())));
        if n_heights != 0 && n_heights != n {
            return Err(GeometryError::MixedHeights);
        }
        let is_height = |h: &f64| (-MAX_HEIGHT_M..=MAX_HEIGHT_M).contains(h);
        let bad_height = self.coords().find_map(|c| c.height.filter(|h| !is_height(h)));
        match bad_height {
            Some(height) => Err(GeometryError::Height(height)),
            None => Ok(self),
        }
    }

    /// Reads a GeoJSON geometry; whether its numbers are degrees is not looked at.
    pub(crate) fn parse(value: &Value) -> Result<Self, GeometryError> {
        let name = value
            .get("type")
            .and_then(Value::as_str)
            .ok_or(GeometryError::Shape)?;
        let coordinates = value.get("coordinates");
        let of = |name| coordinates.ok_or(GeometryError::Nesting(name));
        let geometry = match name {
            "Point" => Self::Point(coord(of("Point")?)?),
            "MultiPoint" => Self::MultiPoint(many(of("MultiPoint")?, "MultiPoint", coord)?),
            "LineString" => Self::LineString(line(of("LineString")?)?),
            "MultiLineString" => {
                Self::MultiLineString(many(of("MultiLineString")?, "MultiLineString", line)?)
            }
            "Polygon" => Self::Polygon(many(of("Polygon")?, "Polygon", ring)?),
            "MultiPolygon" => {
                let polygon = |value: &Value| many(value, "MultiPolygon", ring);
                Self::MultiPolygon(many(of("MultiPolygon")?, "MultiPolygon", polygon)?)
            }
            other => return Err(GeometryError::Type(other.chars().take(32).collect())),
        };
        geometry.checked()
    }

    /// The GeoJSON form: floats only, so equal geometries give equal text.
    pub(crate) fn to_json(&self) -> Value {
        let line = |line: &Line| Value::from(line.iter().map(Coord::to_json).collect::<Vec<_>>());
        let lines = |lines: &Vec<Line>| Value::from(lines.iter().map(line).collect::<Vec<_>>());
        let coordinates = match self {
            Self::Point(c) => c.to_json(),
            Self::MultiPoint(l) | Self::LineString(l) => line(l),
            Self::MultiLineString(l) | Self::Polygon(l) => lines(l),
            Self::MultiPolygon(p) => Value::from(p.iter().map(lines).collect::<Vec<_>>()),
        };
        json!({"type": self.name(), "coordinates": coordinates})
    }

    /// GeoJSON's name of the type.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Point(_) => "Point",
            Self::MultiPoint(_) => "MultiPoint",
            Self::LineString(_) => "LineString",
            Self::MultiLineString(_) => "MultiLineString",
            Self::Polygon(_) => "Polygon",
            Self::MultiPolygon(_) => "MultiPolygon",
        }
    }

    /// The same shape as a multi-line or multi-polygon; points stay as they are. Tables hold one type.
    pub(crate) fn promoted(self) -> Self {
        match self {
            Self::LineString(line) => Self::MultiLineString(vec![line]),
            Self::Polygon(rings) => Self::MultiPolygon(vec![rings]),
            other => other,
        }
    }

    /// Undoes [`promoted`](Self::promoted) for a geometry that once was a `name`.
    pub(crate) fn demoted(self, name: &str) -> Self {
        match (self, name) {
            (Self::MultiLineString(mut lines), "LineString") if lines.len() == 1 => {
                Self::LineString(lines.remove(0))
            }
            (Self::MultiPolygon(mut polygons), "Polygon") if polygons.len() == 1 => {
                Self::Polygon(polygons.remove(0))
            }
            (other, _) => other,
        }
    }

    /// Lowest and highest height of its positions, metres; `None` when they have none.
    pub(super) fn heights(&self) -> Option<[f64; 2]> {
        let mut heights = self.coords().filter_map(|c| c.height);
        let first = heights.next()?;
        Some(heights.fold([first, first], |[low, high], z| [low.min(z), high.max(z)]))
    }

    /// Whether a line goes anywhere, on the map's grid of a ten millionth of a degree.
    pub(super) fn has_extent(&self) -> Result<(), GeometryError> {
        let at = |c: &Coord| ((c.lon * 1e7).round() as i64, (c.lat * 1e7).round() as i64);
        let goes = |line: &Line| line.iter().any(|c| at(c) != at(&line[0]));
        let is_good = match self {
            Self::LineString(line) => goes(line),
            Self::MultiLineString(lines) => lines.iter().any(goes),
            _ => true,
        };
        is_good.then_some(()).ok_or(GeometryError::NoLength)
    }

    /// No line or ring of it reaches over more than 180 degrees of longitude.
    pub(super) fn is_narrow(&self) -> Result<(), GeometryError> {
        let narrow = |name: &'static str, line: &Line| {
            let [west, east] = line
                .iter()
                .fold([f64::INFINITY, f64::NEG_INFINITY], |[west, east], c| {
                    [west.min(c.lon), east.max(c.lon)]
                });
            match east - west > 180.0 {
                true => Err(GeometryError::Wide(name, east - west)),
                false => Ok(()),
            }
        };
        match self {
            Self::Point(_) | Self::MultiPoint(_) => Ok(()),
            Self::LineString(line) => narrow("line", line),
            Self::MultiLineString(lines) => lines.iter().try_for_each(|line| narrow("line", line)),
            Self::Polygon(rings) => rings.iter().try_for_each(|ring| narrow("ring", ring)),
            Self::MultiPolygon(all) => all.iter().flatten().try_for_each(|ring| narrow("ring", ring)),
        }
    }

    /// How many positions it has.
    pub(super) fn n_positions(&self) -> usize {
        self.coords().count()
    }

    pub(super) fn coords(&self) -> Box<dyn Iterator<Item = &Coord> + '_> {
        match self {
            Self::Point(c) => Box::new(std::iter::once(c)),
            Self::MultiPoint(l) | Self::LineString(l) => Box::new(l.iter()),
            Self::MultiLineString(l) | Self::Polygon(l) => Box::new(l.iter().flatten()),
            Self::MultiPolygon(p) => Box::new(p.iter().flatten().flatten()),
        }
    }

    pub(super) fn coords_mut(&mut self, f: impl FnMut(&mut Coord)) {
        match self {
            Self::Point(c) => std::iter::once(c).for_each(f),
            Self::MultiPoint(l) | Self::LineString(l) => l.iter_mut().for_each(f),
            Self::MultiLineString(l) | Self::Polygon(l) => l.iter_mut().flatten().for_each(f),
            Self::MultiPolygon(p) => p.iter_mut().flatten().flatten().for_each(f),
        }
    }

    /// West, south, east, north.
    pub(crate) fn bounds(&self) -> [f64; 4] {
        let empty = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
        self.coords().fold(empty, |b, c| {
            [b[0].min(c.lon), b[1].min(c.lat), b[2].max(c.lon), b[3].max(c.lat)]
        })
    }
}

impl Coord {
    fn to_json(self: &Coord) -> Value {
        match self.height {
            Some(height) => json!([self.lon, self.lat, height]),
            None => json!([self.lon, self.lat]),
        }
    }
}

fn coord(value: &Value) -> Result<Coord, GeometryError> {
    let bad = || GeometryError::Position(value.to_string().chars().take(64).collect());
    let numbers = value.as_array().ok_or_else(bad)?;
    let number = |i: usize| numbers.get(i).and_then(Value::as_f64).ok_or_else(bad);
    if numbers.len() > 3 {
        return Err(bad());
    }
    let (lon, lat) = (number(0)?, number(1)?);
    let height = if numbers.len() == 3 {
        Some(number(2)?)
    } else {
        None
    };
    Ok(Coord { lon, lat, height })
}

fn many<T>(
    value: &Value,
    name: &'static str,
    part: impl Fn(&Value) -> Result<T, GeometryError>,
) -> Result<Vec<T>, GeometryError> {
    let parts = value.as_array().ok_or(GeometryError::Nesting(name))?;
    if parts.is_empty() {
        return Err(GeometryError::Empty(name));
    }
    parts.iter().map(part).collect()
}

fn line(value: &Value) -> Result<Line, GeometryError> {
    many(value, "line", coord)
}

fn check_line(line: &Line) -> Result<(), GeometryError> {
    match line.len() {
        0 => Err(GeometryError::Empty("line")),
        1 => Err(GeometryError::ShortLine),
        _ => Ok(()),
    }
}

fn ring(value: &Value) -> Result<Line, GeometryError> {
    many(value, "ring", coord)
}

fn check_ring(ring: &Line) -> Result<(), GeometryError> {
    if ring.is_empty() {
        return Err(GeometryError::Empty("ring"));
    }
    if ring.len() < 4 {
        return Err(GeometryError::ShortRing(ring.len()));
    }
    let (begin, end) = (ring[0], ring[ring.len() - 1]);
    if begin != end {
        return Err(GeometryError::OpenRing {
            begin: (begin.lon, begin.lat),
            end: (end.lon, end.lat),
        });
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn coords(z: bool) -> impl Strategy<Value = Coord> {
        (-180.0..=180.0f64, -90.0..=90.0f64, -500.0..9000.0f64).prop_map(move |(lon, lat, height)| Coord {
            lon,
            lat,
            height: z.then_some(height),
        })
    }

    pub(in super::super) fn geometries() -> impl Strategy<Value = Geometry> {
        any::<bool>().prop_flat_map(|z| {
            let line = || prop::collection::vec(coords(z), 2..6);
            let ring = || {
                prop::collection::vec(coords(z), 3..6).prop_map(|mut ring| {
                    ring.push(ring[0]);
                    ring
                })
            };
            let rings = move || prop::collection::vec(ring(), 1..3);
            prop_oneof![
                coords(z).prop_map(Geometry::Point),
                line().prop_map(Geometry::MultiPoint),
                line().prop_map(Geometry::LineString),
                prop::collection::vec(line(), 1..4).prop_map(Geometry::MultiLineString),
                rings().prop_map(Geometry::Polygon),
                prop::collection::vec(rings(), 1..4).prop_map(Geometry::MultiPolygon),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_geometry_reads_back_from_json(geometry in geometries()) {
            prop_assert_eq!(&Geometry::from_json(&geometry.to_json()).unwrap(), &geometry);
            let name = geometry.name();
            prop_assert_eq!(geometry.clone().promoted().demoted(name), geometry);
        }
    }

    #[test]
    fn bad_geometries_are_named() {
        let error = |text: &str| {
            let value = serde_json::from_str::<Value>(text).unwrap();
            Geometry::from_json(&value).unwrap_err().to_string()
        };
        for (text, says) in [
            ("null", "an object with"),
            ("{}", "an object with"),
            (
                r#"{"type":"GeometryCollection","geometries":[]}"#,
                "`GeometryCollection` is not one of",
            ),
            (r#"{"type":"Point"}"#, "nested"),
            (r#"{"type":"Point","coordinates":[1]}"#, "position [1]"),
            (r#"{"type":"Point","coordinates":["1",2]}"#, "position"),
            (r#"{"type":"Point","coordinates":[1,2,3,4]}"#, "position"),
            (r#"{"type":"Point","coordinates":[181,2]}"#, "longitude 181"),
            (r#"{"type":"Point","coordinates":[36.6,101.7]}"#, "latitude 101.7"),
            (r#"{"type":"LineString","coordinates":[[1,2]]}"#, "two positions"),
            (
                r#"{"type":"LineString","coordinates":[[1,2],[1,2,3]]}"#,
                "some positions have a height",
            ),
            (r#"{"type":"MultiPolygon","coordinates":[]}"#, "without positions"),
            (
                r#"{"type":"Polygon","coordinates":[[1,2],[3,4],[1,2]]}"#,
                "position 1",
            ),
            (
                r#"{"type":"Polygon","coordinates":[[[1,2],[3,4],[1,2]]]}"#,
                "at least four positions, this one has 3",
            ),
            (
                r#"{"type":"Polygon","coordinates":[[[1,2],[3,4],[5,6],[1,3]]]}"#,
                "ends where it begins",
            ),
        ] {
            let message = error(text);
            assert!(message.contains(says), "{text}: {message}");
        }
    }
}
