//! Geometry as GeoJSON gives it, checked, and its GeoPackage bytes.
//!
//! One checked form between JSON and the file: whatever is a [`Geometry`] has finite coordinates inside
//! the globe, lines of two positions and more, and closed rings. It does not say that rings are free of
//! self-crossings; the map looks at that.

use serde_json::{Value, json};

/// WGS 84 in the file.
pub(crate) const SRS_ID: i32 = 4326;

/// One position, WGS 84 degrees, optionally with its height in metres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Coord {
    pub(crate) lon: f64,
    pub(crate) lat: f64,
    pub(crate) height: Option<f64>,
}

type Line = Vec<Coord>;
type Rings = Vec<Line>;

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
    /// Height not finite.
    #[error("height {0} is not a finite number")]
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
    /// Reads and checks a GeoJSON geometry. Members besides `type` and `coordinates` are not kept.
    pub(crate) fn from_json(value: &Value) -> Result<Self, GeometryError> {
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
        let n_heights = geometry.coords().filter(|c| c.height.is_some()).count();
        if n_heights != 0 && n_heights != geometry.coords().count() {
            return Err(GeometryError::MixedHeights);
        }
        Ok(geometry)
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

    /// The same shape with every longitude and latitude moved; a ring stays closed.
    pub(crate) fn map(mut self, to: impl Fn(f64, f64) -> (f64, f64)) -> Self {
        self.coords_mut(|c| (c.lon, c.lat) = to(c.lon, c.lat));
        self
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

    fn coords(&self) -> Box<dyn Iterator<Item = &Coord> + '_> {
        match self {
            Self::Point(c) => Box::new(std::iter::once(c)),
            Self::MultiPoint(l) | Self::LineString(l) => Box::new(l.iter()),
            Self::MultiLineString(l) | Self::Polygon(l) => Box::new(l.iter().flatten()),
            Self::MultiPolygon(p) => Box::new(p.iter().flatten().flatten()),
        }
    }

    fn coords_mut(&mut self, f: impl FnMut(&mut Coord)) {
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

    /// GeoPackage binary (OGC 12-128r18, 2.1.3): header, envelope for all but points, ISO WKB; all
    /// little-endian.
    pub(crate) fn to_blob(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.extend_from_slice(b"GP\0");
        let envelope = !matches!(self, Self::Point(_));
        out.push(1 | u8::from(envelope) << 1);
        out.extend_from_slice(&SRS_ID.to_le_bytes());
        if envelope {
            let [west, south, east, north] = self.bounds();
            for edge in [west, east, south, north] {
                out.extend_from_slice(&edge.to_le_bytes());
            }
        }
        self.wkb(&mut out);
        out
    }

    fn wkb(&self, out: &mut Vec<u8>) {
        let z = self.coords().next().is_some_and(|c| c.height.is_some());
        let head = |out: &mut Vec<u8>, code: u32| {
            out.push(1);
            out.extend_from_slice(&(code + if z { 1000 } else { 0 }).to_le_bytes());
        };
        let count = |out: &mut Vec<u8>, n: usize| out.extend_from_slice(&(n as u32).to_le_bytes());
        let line = |out: &mut Vec<u8>, line: &Line| {
            count(out, line.len());
            line.iter().for_each(|c| c.wkb(out));
        };
        let rings = |out: &mut Vec<u8>, rings: &Rings| {
            count(out, rings.len());
            rings.iter().for_each(|ring| line(out, ring));
        };
        match self {
            Self::Point(c) => {
                head(out, 1);
                c.wkb(out);
            }
            Self::LineString(l) => {
                head(out, 2);
                line(out, l);
            }
            Self::Polygon(r) => {
                head(out, 3);
                rings(out, r);
            }
            Self::MultiPoint(points) => {
                head(out, 4);
                count(out, points.len());
                for point in points {
                    head(out, 1);
                    point.wkb(out);
                }
            }
            Self::MultiLineString(lines) => {
                head(out, 5);
                count(out, lines.len());
                for l in lines {
                    head(out, 2);
                    line(out, l);
                }
            }
            Self::MultiPolygon(polygons) => {
                head(out, 6);
                count(out, polygons.len());
                for polygon in polygons {
                    head(out, 3);
                    rings(out, polygon);
                }
            }
        }
    }

    /// Reads what [`to_blob`](Self::to_blob) wrote; `None` for anything else.
    pub(crate) fn from_blob(blob: &[u8]) -> Option<Self> {
        let flags = *blob.get(3)?;
        if !blob.starts_with(b"GP\0") || flags & 1 == 0 {
            return None;
        }
        let n_envelope = match flags >> 1 & 7 {
            0 => 0,
            1 => 32,
            _ => return None,
        };
        let mut bytes = Bytes(blob.get(8 + n_envelope..)?);
        let geometry = bytes.geometry()?;
        bytes.0.is_empty().then_some(geometry)
    }
}

impl Coord {
    fn to_json(self: &Coord) -> Value {
        match self.height {
            Some(height) => json!([self.lon, self.lat, height]),
            None => json!([self.lon, self.lat]),
        }
    }
    fn wkb(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.lon.to_le_bytes());
        out.extend_from_slice(&self.lat.to_le_bytes());
        if let Some(height) = self.height {
            out.extend_from_slice(&height.to_le_bytes());
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
    if !(-180.0..=180.0).contains(&lon) {
        return Err(GeometryError::Longitude(lon));
    }
    if !(-90.0..=90.0).contains(&lat) {
        return Err(GeometryError::Latitude(lat));
    }
    match height {
        Some(h) if !h.is_finite() => Err(GeometryError::Height(h)),
        _ => Ok(Coord { lon, lat, height }),
    }
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
    let line = many(value, "line", coord)?;
    if line.len() < 2 {
        return Err(GeometryError::ShortLine);
    }
    Ok(line)
}

fn ring(value: &Value) -> Result<Line, GeometryError> {
    let ring = many(value, "ring", coord)?;
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
    Ok(ring)
}

/// The unread rest of a WKB. Counts come from the file, so nothing is reserved by them.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
    fn f64(&mut self) -> Option<f64> {
        self.take().map(f64::from_le_bytes)
    }
    fn coord(&mut self, z: bool) -> Option<Coord> {
        let (lon, lat) = (self.f64()?, self.f64()?);
        let height = if z { Some(self.f64()?) } else { None };
        Some(Coord { lon, lat, height })
    }
    fn many<T>(&mut self, part: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let n = self.u32()?;
        (0..n).map(|_| part(self)).collect()
    }
    fn line(&mut self, z: bool) -> Option<Line> {
        self.many(|bytes| bytes.coord(z))
    }
    fn rings(&mut self, z: bool) -> Option<Rings> {
        self.many(|bytes| bytes.line(z))
    }
    fn head(&mut self) -> Option<u32> {
        let [order] = self.take()?;
        if order == 1 { self.u32() } else { None }
    }
    fn geometry(&mut self) -> Option<Geometry> {
        let code = self.head()?;
        let z = code > 1000;
        let plain = if z { code - 1000 } else { code };
        let part = |bytes: &mut Self, of: u32| (bytes.head()? == code - plain + of).then_some(());
        Some(match plain {
            1 => Geometry::Point(self.coord(z)?),
            2 => Geometry::LineString(self.line(z)?),
            3 => Geometry::Polygon(self.rings(z)?),
            4 => Geometry::MultiPoint(self.many(|bytes| {
                part(bytes, 1)?;
                bytes.coord(z)
            })?),
            5 => Geometry::MultiLineString(self.many(|bytes| {
                part(bytes, 2)?;
                bytes.line(z)
            })?),
            6 => Geometry::MultiPolygon(self.many(|bytes| {
                part(bytes, 3)?;
                bytes.rings(z)
            })?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
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

    fn geometries() -> impl Strategy<Value = Geometry> {
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
        fn every_geometry_reads_back_from_json_and_from_the_file(geometry in geometries()) {
            prop_assert_eq!(&Geometry::from_json(&geometry.to_json()).unwrap(), &geometry);
            let blob = geometry.to_blob();
            prop_assert_eq!(Geometry::from_blob(&blob), Some(geometry.clone()));
            let name = geometry.name();
            prop_assert_eq!(geometry.clone().promoted().demoted(name), geometry);
            for cut in 0..blob.len() {
                prop_assert_eq!(Geometry::from_blob(&blob[..cut]), None);
            }
        }

        #[test]
        fn foreign_bytes_are_no_geometry_and_no_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _no_panic = Geometry::from_blob(&bytes);
            bytes.splice(0..0, *b"GP\0\x01\xe6\x10\0\0\x01");
            let _no_panic = Geometry::from_blob(&bytes);
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
