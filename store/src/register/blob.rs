//! A geometry's bytes in the GeoPackage: header, envelope and well-known binary.

use super::geometry::{Coord, Geometry, Line, Rings};

/// WGS 84 in the file.
const SRS_ID: i32 = 4326;

impl Geometry {
    /// GeoPackage binary (OGC 12-128r18, 2.1.3) in WGS 84: header, envelope for all but points, ISO WKB; all
    /// little-endian.
    pub(crate) fn to_blob(&self) -> Vec<u8> {
        self.to_blob_in(SRS_ID)
    }

    /// The same in another system.
    pub(crate) fn to_blob_in(&self, srs_id: i32) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.extend_from_slice(b"GP\0");
        let envelope = !matches!(self, Self::Point(_));
        out.push(1 | u8::from(envelope) << 1);
        out.extend_from_slice(&srs_id.to_le_bytes());
        if envelope {
            let [west, south, east, north] = self.bounds();
            for edge in [west, east, south, north] {
                out.extend_from_slice(&edge.to_le_bytes());
            }
        }
        self.wkb(&mut out);
        out
    }

    /// Appends the well-known binary (ISO, little-endian).
    pub(crate) fn wkb(&self, out: &mut Vec<u8>) {
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

    /// Reads what [`wkb`](Self::wkb) wrote; `None` for anything else.
    pub(crate) fn from_wkb(wkb: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(wkb);
        let geometry = bytes.geometry()?;
        bytes.0.is_empty().then_some(geometry)
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
        Self::from_wkb(blob.get(8 + n_envelope..)?)
    }
}

impl Coord {
    fn wkb(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.lon.to_le_bytes());
        out.extend_from_slice(&self.lat.to_le_bytes());
        if let Some(height) = self.height {
            out.extend_from_slice(&height.to_le_bytes());
        }
    }
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
    use super::super::geometry::tests::geometries;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_geometry_reads_back_and_a_cut_one_does_not(geometry in geometries()) {
            let blob = geometry.to_blob();
            for cut in 0..blob.len() {
                prop_assert_eq!(Geometry::from_blob(&blob[..cut]), None);
            }
            prop_assert_eq!(Geometry::from_blob(&blob), Some(geometry));
        }

        #[test]
        fn foreign_bytes_are_no_geometry_and_no_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _no_panic = Geometry::from_blob(&bytes);
            bytes.splice(0..0, *b"GP\0\x01\xe6\x10\0\0\x01");
            let _no_panic = Geometry::from_blob(&bytes);
        }
    }
}
