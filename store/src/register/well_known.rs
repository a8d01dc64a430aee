//! Geometries of foreign files: well-known binary in either byte order and every flavour (ISO, EWKB, the
//! GeoPackage's header before it), and well-known text.
//!
//! A measure (M) is left out. Nothing is reserved by a count that a file states.

use super::geometry::{Coord, Geometry, GeometryError, Line, MAX_POSITIONS, Rings};

/// What a GeoPackage's header says beside the geometry.
pub(crate) struct Header {
    /// `srs_id`.
    pub(crate) srs_id: i32,
    /// The geometry, `None` when it is empty.
    pub(crate) geometry: Option<Geometry>,
}

/// Reads a GeoPackage's geometry (OGC 12-128r18, 2.1.3).
pub(crate) fn read_geopackage(blob: &[u8]) -> Result<Header, GeometryError> {
    let bad = |what| GeometryError::WellKnown(what);
    let flags = *blob.get(3).ok_or(bad("the geometry's header is cut short"))?;
    if !blob.starts_with(b"GP") || blob[2] != 0 {
        return Err(bad("the geometry does not begin as a GeoPackage's"));
    }
    if flags & 0x20 != 0 {
        return Err(bad("the geometry is of an extended type"));
    }
    let id = blob
        .get(4..8)
        .and_then(|id| id.try_into().ok())
        .ok_or(bad("the geometry's header is cut short"))?;
    let srs_id = if flags & 1 == 1 {
        i32::from_le_bytes(id)
    } else {
        i32::from_be_bytes(id)
    };
    let n_envelope = match flags >> 1 & 7 {
        0 => 0,
        1 => 32,
        2 | 3 => 48,
        4 => 64,
        _ => return Err(bad("the geometry's envelope is of no known kind")),
    };
    let wkb = blob
        .get(8 + n_envelope..)
        .ok_or(bad("the geometry's envelope is cut short"))?;
    let geometry = match flags & 0x10 != 0 {
        true => None,
        false => Some(read_wkb(wkb)?),
    };
    Ok(Header { srs_id, geometry })
}

/// Reads well-known binary.
pub(crate) fn read_wkb(wkb: &[u8]) -> Result<Geometry, GeometryError> {
    let mut bytes = Bytes { rest: wkb, n: 0 };
    let geometry = bytes.geometry()?;
    match bytes.rest.is_empty() {
        true => geometry.checked(),
        false => Err(GeometryError::WellKnown(
            "something stands behind the geometry's binary",
        )),
    }
}

impl Geometry {
    /// Well-known text that [`read_wkt`] reads back to the same numbers: `POINT Z (101.7 36.6 2260)`.
    pub(crate) fn to_wkt(&self) -> String {
        let z = match self.coords().next() {
            Some(Coord { height: Some(_), .. }) => " Z",
            _ => "",
        };
        let position = |c: &Coord| match c.height {
            Some(height) => format!("{} {} {height}", c.lon, c.lat),
            None => format!("{} {}", c.lon, c.lat),
        };
        let list = |parts: Vec<String>| format!("({})", parts.join(", "));
        let line = |line: &Line| list(line.iter().map(position).collect());
        let rings = |rings: &Rings| list(rings.iter().map(line).collect());
        match self {
            Self::Point(c) => format!("POINT{z} ({})", position(c)),
            Self::MultiPoint(l) => {
                let points = l.iter().map(|c| format!("({})", position(c)));
                format!("MULTIPOINT{z} {}", list(points.collect()))
            }
            Self::LineString(l) => format!("LINESTRING{z} {}", line(l)),
            Self::MultiLineString(l) => format!("MULTILINESTRING{z} {}", rings(l)),
            Self::Polygon(r) => format!("POLYGON{z} {}", rings(r)),
            Self::MultiPolygon(p) => {
                format!("MULTIPOLYGON{z} {}", list(p.iter().map(rings).collect()))
            }
        }
    }
}

struct Bytes<'a> {
    rest: &'a [u8],
    n: usize,
}

#[derive(Clone, Copy)]
struct Head {
    little: bool,
    code: u32,
    z: bool,
    m: bool,
}

type Read<T> = Result<T, GeometryError>;

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(GeometryError::WellKnown("the geometry's binary is cut short"))?;
        self.rest = rest;
        Ok(*head)
    }
    fn u32(&mut self, little: bool) -> Read<u32> {
        let bytes = self.take()?;
        Ok(if little {
            u32::from_le_bytes(bytes)
        } else {
            u32::from_be_bytes(bytes)
        })
    }
    fn f64(&mut self, little: bool) -> Read<f64> {
        let bytes = self.take()?;
        Ok(if little {
            f64::from_le_bytes(bytes)
        } else {
            f64::from_be_bytes(bytes)
        })
    }
    fn head(&mut self) -> Read<Head> {
        let little = match self.take()? {
            [0] => false,
            [1] => true,
            _ => {
                return Err(GeometryError::WellKnown(
                    "the geometry's binary has no byte order",
                ));
            }
        };
        let word = self.u32(little)?;
        let (mut z, mut m) = (word & 0x8000_0000 != 0, word & 0x4000_0000 != 0);
        if word & 0x2000_0000 != 0 {
            self.u32(little)?;
        }
        let code = word & 0x0FFF_FFFF;
        z |= matches!(code / 1000, 1 | 3);
        m |= matches!(code / 1000, 2 | 3);
        Ok(Head {
            little,
            code: code % 1000,
            z,
            m,
        })
    }
    fn coord(&mut self, head: Head) -> Read<Coord> {
        self.n += 1;
        if self.n > MAX_POSITIONS {
            return Err(GeometryError::Positions(self.n));
        }
        let (lon, lat) = (self.f64(head.little)?, self.f64(head.little)?);
        let height = if head.z {
            Some(self.f64(head.little)?)
        } else {
            None
        };
        if head.m {
            self.f64(head.little)?;
        }
        Ok(Coord { lon, lat, height })
    }
    fn many<T>(&mut self, head: Head, part: impl Fn(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let n = self.u32(head.little)?;
        (0..n).map(|_| part(self)).collect()
    }
    fn line(&mut self, head: Head) -> Read<Line> {
        self.many(head, |bytes| bytes.coord(head))
    }
    fn rings(&mut self, head: Head) -> Read<Rings> {
        self.many(head, |bytes| bytes.line(head))
    }
    fn part(&mut self, code: u32) -> Read<Head> {
        let head = self.head()?;
        match head.code == code {
            true => Ok(head),
            false => Err(GeometryError::WellKnown(
                "a part of the geometry is of another type",
            )),
        }
    }
    fn geometry(&mut self) -> Read<Geometry> {
        let head = self.head()?;
        Ok(match head.code {
            1 => Geometry::Point(self.coord(head)?),
            2 => Geometry::LineString(self.line(head)?),
            3 => Geometry::Polygon(self.rings(head)?),
            4 => Geometry::MultiPoint(self.many(head, |bytes| {
                let head = bytes.part(1)?;
                bytes.coord(head)
            })?),
            5 => Geometry::MultiLineString(self.many(head, |bytes| {
                let head = bytes.part(2)?;
                bytes.line(head)
            })?),
            6 => Geometry::MultiPolygon(self.many(head, |bytes| {
                let head = bytes.part(3)?;
                bytes.rings(head)
            })?),
            7 => return Err(GeometryError::Type("GeometryCollection".to_owned())),
            other => return Err(GeometryError::Type(format!("WKB {other}"))),
        })
    }
}

/// Reads well-known text, `SRID=…;` before it passed over: `POINT Z (101.7 36.6 2260)`.
pub(crate) fn read_wkt(text: &str) -> Result<Geometry, GeometryError> {
    let bad = GeometryError::WellKnown;
    let text = match text.split_once(';') {
        Some((srid, rest)) if srid.trim().to_ascii_uppercase().starts_with("SRID=") => rest,
        _ => text,
    };
    let text = text.trim();
    let word = |text: &str| {
        text.find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(text.len())
    };
    let (name, rest) = text.split_at(word(text));
    let name = name.to_ascii_uppercase();
    let (mut rest, mut z, mut m) = (rest.trim_start(), false, false);
    let (tag, behind) = rest.split_at(word(rest));
    match tag.to_ascii_uppercase().as_str() {
        "" => {}
        "Z" => z = true,
        "M" => m = true,
        "ZM" => (z, m) = (true, true),
        "EMPTY" => return Err(GeometryError::Empty("geometry")),
        _ => return Err(bad("the text is no well-known text")),
    }
    rest = behind.trim_start();
    if rest.to_ascii_uppercase().starts_with("EMPTY") {
        return Err(GeometryError::Empty("geometry"));
    }
    let mut text = Text { rest, z, m, n: 0 };
    let geometry = match name.as_str() {
        "POINT" => {
            let mut line = text.line()?;
            match (line.len(), line.pop()) {
                (1, Some(point)) => Geometry::Point(point),
                _ => return Err(bad("a POINT has one position")),
            }
        }
        "LINESTRING" => Geometry::LineString(text.line()?),
        "POLYGON" => Geometry::Polygon(text.list(Text::line)?),
        "MULTIPOINT" => Geometry::MultiPoint(text.points()?),
        "MULTILINESTRING" => Geometry::MultiLineString(text.list(Text::line)?),
        "MULTIPOLYGON" => Geometry::MultiPolygon(text.list(|text| text.list(Text::line))?),
        "GEOMETRYCOLLECTION" => return Err(GeometryError::Type("GeometryCollection".to_owned())),
        _ => return Err(bad("the text is no well-known text")),
    };
    match text.rest.trim().is_empty() {
        true => geometry.checked(),
        false => Err(bad("something stands behind the well-known text")),
    }
}

struct Text<'a> {
    rest: &'a str,
    z: bool,
    m: bool,
    n: usize,
}

impl Text<'_> {
    fn eat(&mut self, c: char) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
    fn list<T>(&mut self, part: impl Fn(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        if !self.eat('(') {
            return Err(GeometryError::WellKnown(
                "a bracket is missing in the well-known text",
            ));
        }
        let mut parts = vec![part(self)?];
        while self.eat(',') {
            parts.push(part(self)?);
        }
        match self.eat(')') {
            true => Ok(parts),
            false => Err(GeometryError::WellKnown(
                "a bracket is missing in the well-known text",
            )),
        }
    }
    fn line(&mut self) -> Read<Line> {
        self.list(Self::coord)
    }
    /// Positions of a multi-point stand in brackets of their own or not.
    fn points(&mut self) -> Read<Line> {
        self.list(|text| {
            let bracket = text.eat('(');
            let coord = text.coord()?;
            match !bracket || text.eat(')') {
                true => Ok(coord),
                false => Err(GeometryError::WellKnown(
                    "a bracket is missing in the well-known text",
                )),
            }
        })
    }
    fn coord(&mut self) -> Read<Coord> {
        self.n += 1;
        if self.n > MAX_POSITIONS {
            return Err(GeometryError::Positions(self.n));
        }
        self.rest = self.rest.trim_start();
        let end = self.rest.find([',', '(', ')']).unwrap_or(self.rest.len());
        let (own, rest) = self.rest.split_at(end);
        self.rest = rest;
        let numbers: Option<Vec<f64>> = own.split_ascii_whitespace().map(|n| n.parse().ok()).collect();
        let height = |h| Ok::<_, GeometryError>(h);
        match (numbers.as_deref(), self.z, self.m) {
            (Some([lon, lat]), false, false) | (Some([lon, lat, _]), false, true) => Ok(Coord {
                lon: *lon,
                lat: *lat,
                height: height(None)?,
            }),
            (Some([lon, lat, h]), _, false) | (Some([lon, lat, h, _]), true, true) => Ok(Coord {
                lon: *lon,
                lat: *lat,
                height: height(Some(*h))?,
            }),
            _ => Err(GeometryError::Position(own.chars().take(64).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::geometry::tests::geometries;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn well_known_text_is_read_or_named() {
        for (text, json) in [
            (
                "POINT (101.7 36.6)",
                json!({"type": "Point", "coordinates": [101.7, 36.6]}),
            ),
            (
                "SRID=4326;point z(101.7 36.6 2260)",
                json!({"type": "Point", "coordinates": [101.7, 36.6, 2260.0]}),
            ),
            (
                "POINT M (1 2 9)",
                json!({"type": "Point", "coordinates": [1.0, 2.0]}),
            ),
            (
                "MULTIPOINT ((1 2), (3 4))",
                json!({"type": "MultiPoint", "coordinates": [[1.0, 2.0], [3.0, 4.0]]}),
            ),
            (
                "multipoint(1 2,3 4)",
                json!({"type": "MultiPoint", "coordinates": [[1.0, 2.0], [3.0, 4.0]]}),
            ),
            (
                "MULTIPOLYGON(((0 0,1 0,1 1,0 0)))",
                json!({"type": "MultiPolygon", "coordinates": [[[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]]]}),
            ),
        ] {
            assert_eq!(read_wkt(text).unwrap().to_json(), json, "{text}");
        }
        for (text, says) in [
            ("", "no well-known text"),
            ("POINT EMPTY", "without positions"),
            ("POINT Z EMPTY", "without positions"),
            ("POINT (1)", "position 1 is not"),
            ("POINT (1 x)", "position 1 x is not"),
            ("POINT (1 2) 3", "behind the well-known text"),
            ("POINT (1 2", "bracket"),
            ("LINESTRING (1 2)", "two positions"),
            ("POLYGON ((0 0,1 0,1 1,0 1))", "ends where it begins"),
            (
                "GEOMETRYCOLLECTION (POINT (1 2))",
                "`GeometryCollection` is not one of",
            ),
        ] {
            let message = read_wkt(text).unwrap_err().to_string();
            assert!(message.contains(says), "{text}: {message}");
        }
    }

    /// The other byte order, of what this crate writes.
    fn big_endian(wkb: &[u8]) -> Vec<u8> {
        fn turn(rest: &mut &[u8], out: &mut Vec<u8>) {
            fn word<'a>(rest: &mut &'a [u8], n: usize) -> &'a [u8] {
                let (head, tail) = rest.split_at(n);
                *rest = tail;
                head
            }
            let put = |bytes: &[u8], out: &mut Vec<u8>| out.extend(bytes.iter().rev());
            assert_eq!(word(rest, 1), [1]);
            out.push(0);
            let code = word(rest, 4);
            put(code, out);
            let code = u32::from_le_bytes(code.try_into().unwrap());
            let n_numbers = if code > 1000 { 3 } else { 2 };
            let coords = |rest: &mut &[u8], out: &mut Vec<u8>, n: u32| {
                (0..n * n_numbers).for_each(|_| put(word(rest, 8), out));
            };
            let count = |rest: &mut &[u8], out: &mut Vec<u8>| {
                let n = word(rest, 4);
                put(n, out);
                u32::from_le_bytes(n.try_into().unwrap())
            };
            match code % 1000 {
                1 => coords(rest, out, 1),
                2 => {
                    let n = count(rest, out);
                    coords(rest, out, n);
                }
                3 => {
                    for _ in 0..count(rest, out) {
                        let n = count(rest, out);
                        coords(rest, out, n);
                    }
                }
                _ => (0..count(rest, out)).for_each(|_| turn(rest, out)),
            }
        }
        let (mut rest, mut out) = (wkb, Vec::new());
        turn(&mut rest, &mut out);
        out
    }

    proptest! {
        #[test]
        fn binary_of_either_order_is_read(geometry in geometries()) {
            let mut wkb = Vec::new();
            geometry.wkb(&mut wkb);
            prop_assert_eq!(&read_wkb(&wkb).unwrap(), &geometry);
            prop_assert_eq!(&read_wkb(&big_endian(&wkb)).unwrap(), &geometry);
            let header = read_geopackage(&geometry.to_blob()).unwrap();
            prop_assert_eq!((header.srs_id, header.geometry), (4326, Some(geometry)));
        }
        #[test]
        fn foreign_bytes_and_texts_do_no_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..80), text in "(POINT|MULTIPOLYGON)?[ZM (),0-9.e-]{0,40}") {
            let _no_panic = read_wkb(&bytes);
            bytes.splice(0..0, *b"GP\0\x01\xe6\x10\0\0\x01");
            let _no_panic = read_geopackage(&bytes);
            let _no_panic = read_wkt(&text);
        }
    }
}
