//! Geometries as texts: WKT polygons read, GeoJSON written.

use crate::coordinates::Vertex;
use crate::geometry::{GeometryError, Polygon, Shape};
use crate::query::found::Found;
use crate::query::region::{N_MOST_VERTICES, RegionError};
use crate::thing::Footprint;

/// Positions of the rings of polygons.
pub(crate) type Rings = Vec<Vec<Vec<(f64, f64)>>>;

/// Reads `POLYGON` and `MULTIPOLYGON` (OGC 06-103r4, 7.2.2), in two dimensions.
pub(crate) fn polygons(text: &str) -> Result<Rings, RegionError> {
    let mut reader = Reader(text.trim());
    let name: String = reader.word().to_ascii_uppercase();
    let is_multi = match name.as_str() {
        "POLYGON" => false,
        "MULTIPOLYGON" => true,
        _ => {
            return Err(RegionError::Text {
                why: "it is of another type",
            });
        }
    };
    if reader.0.trim().eq_ignore_ascii_case("EMPTY") {
        return Err(GeometryError::Empty.into());
    }
    let mut left = N_MOST_VERTICES;
    let mut ring = |reader: &mut Reader<'_>| reader.list(&mut |reader| reader.position(&mut left));
    let mut polygon = |reader: &mut Reader<'_>| reader.list(&mut ring);
    let all = match is_multi {
        true => reader.list(&mut polygon)?,
        false => vec![polygon(&mut reader)?],
    };
    match reader.0.trim().is_empty() {
        true => Ok(all),
        false => Err(RegionError::Text {
            why: "something follows it",
        }),
    }
}

struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    fn word(&mut self) -> &'a str {
        let end = self
            .0
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        word
    }

    fn take(&mut self, sign: char) -> bool {
        let rest = self.0.trim_start().strip_prefix(sign);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn list<T>(
        &mut self,
        item: &mut dyn FnMut(&mut Reader<'a>) -> Result<T, RegionError>,
    ) -> Result<Vec<T>, RegionError> {
        const BRACKET: RegionError = RegionError::Text {
            why: "a bracket is missing",
        };
        if !self.take('(') {
            return Err(BRACKET);
        }
        let mut items = vec![item(self)?];
        while self.take(',') {
            items.push(item(self)?);
        }
        if !self.take(')') {
            return Err(BRACKET);
        }
        Ok(items)
    }

    fn position(&mut self, left: &mut usize) -> Result<(f64, f64), RegionError> {
        *left = left.checked_sub(1).ok_or(RegionError::Vertices {
            n: N_MOST_VERTICES + 1,
        })?;
        let end = self.0.find([',', ')']).unwrap_or(self.0.len());
        let (text, rest) = self.0.split_at(end);
        self.0 = rest;
        let mut numbers = text.split_ascii_whitespace().map(str::parse::<f64>);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(lon)), Some(Ok(lat)), None) => Ok((lon, lat)),
            _ => Err(RegionError::Text {
                why: "a position is not two numbers",
            }),
        }
    }
}

/// From WGS 84 to the system of who asks.
pub type FromWgs84<'a> = &'a dyn Fn(f64, f64) -> (f64, f64);

impl Found<'_> {
    /// Appends its geometry as GeoJSON, `null` when it has no place: as it is on the map, on the grid of
    /// 1e-7 degree. In another system than WGS 84 (`project`) numbers have up to seven digits behind the
    /// point.
    pub fn write_geometry(&self, out: &mut Vec<u8>, project: Option<FromWgs84<'_>>) {
        let mut writer = Writer { out, project };
        match &self.thing.footprint {
            Footprint::Nowhere => writer.out.extend_from_slice(b"null"),
            Footprint::Point(v) => writer.points(&[*v]),
            Footprint::Shape(shape) => match &**shape {
                Shape::Points(points) => writer.points(points),
                Shape::Lines(lines) => writer.lines(lines),
                Shape::Polygons(polygons) => writer.polygons(polygons),
            },
        }
    }

    /// West, south, east, north of it in degrees of WGS 84.
    pub fn bbox(&self) -> Option<[f64; 4]> {
        self.thing.footprint.extent().map(|extent| extent.degrees())
    }
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    project: Option<FromWgs84<'a>>,
}

impl Writer<'_> {
    fn open(&mut self, kind: &str) {
        self.out.extend_from_slice(b"{\"type\":\"");
        self.out.extend_from_slice(kind.as_bytes());
        self.out.extend_from_slice(b"\",\"coordinates\":");
    }

    fn list<T>(&mut self, items: impl IntoIterator<Item = T>, mut each: impl FnMut(&mut Self, T)) {
        self.out.push(b'[');
        for (i, item) in items.into_iter().enumerate() {
            if i > 0 {
                self.out.push(b',');
            }
            each(self, item);
        }
        self.out.push(b']');
    }

    fn vertex(&mut self, v: Vertex) {
        self.out.push(b'[');
        match self.project {
            None => {
                degrees(self.out, v.lon);
                self.out.push(b',');
                degrees(self.out, v.lat);
            }
            Some(project) => {
                let (x, y) = project(v.lon_degrees(), v.lat_degrees());
                number(self.out, x);
                self.out.push(b',');
                number(self.out, y);
            }
        }
        self.out.push(b']');
    }

    fn path(&mut self, path: &[Vertex], closed: bool) {
        let again = path.first().filter(|_| closed);
        self.list(path.iter().chain(again), |writer, v| writer.vertex(*v));
    }

    fn points(&mut self, points: &[Vertex]) {
        match points {
            [one] => {
                self.open("Point");
                self.vertex(*one);
            }
            points => {
                self.open("MultiPoint");
                self.path(points, false);
            }
        }
        self.out.push(b'}');
    }

    fn lines(&mut self, lines: &[Vec<Vertex>]) {
        match lines {
            [one] => {
                self.open("LineString");
                self.path(one, false);
            }
            lines => {
                self.open("MultiLineString");
                self.list(lines, |writer, line| writer.path(line, false));
            }
        }
        self.out.push(b'}');
    }

    fn polygons(&mut self, polygons: &[Polygon]) {
        match polygons {
            [one] => {
                self.open("Polygon");
                self.rings(one);
            }
            polygons => {
                self.open("MultiPolygon");
                self.list(polygons, Writer::rings);
            }
        }
        self.out.push(b'}');
    }

    fn rings(&mut self, polygon: &Polygon) {
        self.list(&polygon.rings, |writer, ring| writer.path(ring, true));
    }
}

/// Writes a grid coordinate in degrees, without zeros at the end.
fn degrees(out: &mut Vec<u8>, grid: i32) {
    let n = grid.unsigned_abs();
    if grid < 0 {
        out.push(b'-');
    }
    whole(out, n / 10_000_000);
    let mut rest = n % 10_000_000;
    if rest == 0 {
        return;
    }
    out.push(b'.');
    let mut unit = 1_000_000;
    while rest > 0 {
        out.push(b'0' + (rest / unit) as u8);
        rest %= unit;
        unit /= 10;
    }
}

fn whole(out: &mut Vec<u8>, n: u32) {
    if n >= 10 {
        whole(out, n / 10);
    }
    out.push(b'0' + (n % 10) as u8);
}

fn number(out: &mut Vec<u8>, n: f64) {
    let text = format!("{n:.7}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    out.extend_from_slice(if text == "-0" { "0" } else { text }.as_bytes());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn degrees_are_written_as_they_are_read() {
        for text in [
            "0",
            "-0.0000001",
            "101.7782",
            "36.6",
            "180",
            "-179.9999999",
            "0.5",
            "7.0000003",
        ] {
            let value: f64 = text.parse().unwrap();
            let mut out = Vec::new();
            degrees(&mut out, Vertex::from_degrees(value, 0.0).unwrap().lon);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
        let mut out = Vec::new();
        number(&mut out, 34_500_000.25);
        number(&mut out, -0.000_000_001);
        assert_eq!(String::from_utf8(out).unwrap(), "34500000.250");
    }
}
