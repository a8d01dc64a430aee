//! Entities from a FlatGeobuf file (version 3), feature by feature; its index is passed over.

use std::io::{self, BufRead, Read as _};

use flatgeobuf::packed_r_tree::PackedRTree;
use flatgeobuf::{
    Column, ColumnType, Feature, Geometry as GeometryTable, GeometryType, size_prefixed_root_as_feature,
    size_prefixed_root_as_header,
};
use onemap_model::Crs;
use serde_json::{Map, Value};

use super::draft::Seen;
use super::geojson::{agree, draft};
use super::pieces::MAX_PIECE;
use super::{ImportError, ImportPlace, Mapping, Row};
use crate::register::geometry::{Coord, Geometry, GeometryError, Line};

/// Largest header, bytes: of a file with some 100,000 columns.
const MAX_HEADER: usize = 10 << 20;

/// The features of a file.
pub(super) struct Features<R> {
    file: R,
    mapping: Mapping,
    crs: Crs,
    columns: Vec<(String, ColumnType)>,
    geometry_type: GeometryType,
    seen: Seen,
    n: usize,
    ended: bool,
}

impl<R: BufRead> Features<R> {
    /// Reads the header and passes over the index.
    ///
    /// # Errors
    /// When the file is no FlatGeobuf, is cut, or its coordinate system is not known or contradicts the declared one.
    pub(super) fn open(mut file: R, mapping: &Mapping) -> Result<Self, ImportError> {
        let whole = |message: String| ImportError::new(ImportPlace::Feature(0), message);
        let cut = |error: io::Error| whole(format!("it is no FlatGeobuf that can be read: {error}"));
        let mut magic = [0; 8];
        file.read_exact(&mut magic).map_err(cut)?;
        // The last byte is a patch level, which readers pass over.
        if magic[..3] != *b"fgb" || magic[4..7] != *b"fgb" {
            return Err(whole("it is not a FlatGeobuf".into()));
        }
        if magic[3] != 3 {
            return Err(whole(format!(
                "it is a FlatGeobuf of version {}, version 3 is read",
                magic[3]
            )));
        }
        let buffer = match sized(&mut file, MAX_HEADER).map_err(cut)? {
            Sized::Bytes(bytes) => bytes,
            Sized::End | Sized::TooLarge => return Err(whole("its header has no sound size".into())),
        };
        let damaged =
            |error: flatbuffers::InvalidFlatbuffer| whole(format!("its header is damaged: {error}"));
        let header = size_prefixed_root_as_header(&buffer).map_err(damaged)?;
        let n_features = header.features_count();
        if n_features > u64::from(u32::MAX) {
            return Err(whole("a file has at most 4,294,967,295 rows".into()));
        }
        let crs = match header.crs() {
            None => mapping.crs.unwrap_or_default(),
            Some(stated) if stated.code() == 0 => mapping.crs.unwrap_or_default(),
            Some(stated) => {
                let (org, code) = (stated.org().unwrap_or("EPSG"), stated.code());
                let known = match org.eq_ignore_ascii_case("EPSG") {
                    true => u16::try_from(code).ok().and_then(Crs::from_epsg),
                    false => None,
                };
                let stated = known
                    .ok_or_else(|| whole(format!("its coordinate system {org}:{code} is not known here")))?;
                agree(mapping.crs, stated).map_err(whole)?
            }
        };
        match (header.index_node_size(), n_features) {
            (0, _) | (_, 0) => {}
            (1, _) => return Err(whole("its index has nodes of one child".into())),
            (node_size, n) => {
                let size = PackedRTree::index_size(n as usize, node_size) as u64;
                let passed = io::copy(&mut (&mut file).take(size), &mut io::sink()).map_err(cut)?;
                if passed < size {
                    return Err(whole("it ends inside its index".into()));
                }
            }
        }
        let columns = header
            .columns()
            .map(|columns| columns.iter().map(column).collect());
        let columns: Vec<(String, ColumnType)> = columns.unwrap_or_default();
        if let Some(missing) = mapping
            .columns
            .keys()
            .find(|name| !columns.iter().any(|(own, _)| own == *name))
        {
            return Err(whole(format!("there is no column `{missing}`")));
        }
        Ok(Self {
            columns,
            geometry_type: header.geometry_type(),
            file,
            mapping: mapping.clone(),
            crs,
            seen: Seen::default(),
            n: 0,
            ended: false,
        })
    }

    fn row(&mut self, bytes: &[u8], place: ImportPlace) -> Result<Row, ImportError> {
        let bad = |message: String| ImportError::new(place, message);
        let feature = size_prefixed_root_as_feature(bytes);
        let feature = feature.map_err(|error| bad(format!("it is damaged: {error}")))?;
        let own: Option<Vec<_>> = feature
            .columns()
            .map(|columns| columns.iter().map(column).collect());
        let columns = own.as_deref().unwrap_or(&self.columns);
        let properties = properties(&feature, columns)
            .ok_or_else(|| bad("its properties are not what its columns say".into()))?;
        let geometry = match feature.geometry() {
            None => None,
            Some(table) => geometry(&table, self.geometry_type).transpose(),
        };
        let draft = draft(properties, &self.mapping, place)?;
        draft.row(geometry, self.crs, &self.mapping, place, &mut self.seen)
    }
}

impl<R: BufRead> Iterator for Features<R> {
    type Item = Result<Row, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        self.n += 1;
        let place = ImportPlace::Feature(self.n);
        let end = |message: String| Some(Err(ImportError::new(place, message)));
        match sized(&mut self.file, MAX_PIECE) {
            Ok(Sized::End) => None,
            Ok(Sized::Bytes(bytes)) => Some(self.row(&bytes, place)),
            Ok(Sized::TooLarge) => {
                self.ended = true;
                end("it has more than 16 MiB, and what comes after it is not read".into())
            }
            Err(error) => {
                self.ended = true;
                end(format!("the file cannot be read on: {error}"))
            }
        }
    }
}

/// What stands behind a size.
enum Sized {
    /// The size and what is of that size.
    Bytes(Vec<u8>),
    /// Nothing.
    End,
    TooLarge,
}

fn sized(file: &mut impl BufRead, most: usize) -> io::Result<Sized> {
    if file.fill_buf()?.is_empty() {
        return Ok(Sized::End);
    }
    let mut bytes = vec![0; 4];
    file.read_exact(&mut bytes)?;
    let size = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    if size > most {
        return Ok(Sized::TooLarge);
    }
    let n = file.take(size as u64).read_to_end(&mut bytes)?;
    match n == size {
        true => Ok(Sized::Bytes(bytes)),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn column(column: Column<'_>) -> (String, ColumnType) {
    (column.name().to_owned(), column.type_())
}

/// The properties by name; `None` when they are not what the columns say.
fn properties(feature: &Feature<'_>, columns: &[(String, ColumnType)]) -> Option<Map<String, Value>> {
    let mut found = Map::new();
    let Some(bytes) = feature.properties() else {
        return Some(found);
    };
    let mut rest = bytes.bytes();
    fn take<'a>(rest: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
        let (head, tail) = rest.split_at_checked(n)?;
        *rest = tail;
        Some(head)
    }
    fn number<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
        take(rest, N)?.try_into().ok()
    }
    while !rest.is_empty() {
        let i = u16::from_le_bytes(number(&mut rest)?);
        let (name, type_) = columns.get(usize::from(i))?;
        let value = match *type_ {
            ColumnType::Bool => (number::<1>(&mut rest)?[0] != 0).into(),
            ColumnType::Byte => i8::from_le_bytes(number(&mut rest)?).into(),
            ColumnType::UByte => u8::from_le_bytes(number(&mut rest)?).into(),
            ColumnType::Short => i16::from_le_bytes(number(&mut rest)?).into(),
            ColumnType::UShort => u16::from_le_bytes(number(&mut rest)?).into(),
            ColumnType::Int => i32::from_le_bytes(number(&mut rest)?).into(),
            ColumnType::UInt => u32::from_le_bytes(number(&mut rest)?).into(),
            ColumnType::Long => i64::from_le_bytes(number(&mut rest)?).into(),
            ColumnType::ULong => u64::from_le_bytes(number(&mut rest)?).into(),
            ColumnType::Float => f32::from_le_bytes(number(&mut rest)?).into(),
            ColumnType::Double => f64::from_le_bytes(number(&mut rest)?).into(),
            ColumnType::String | ColumnType::Json | ColumnType::DateTime | ColumnType::Binary => {
                let size = u32::from_le_bytes(number(&mut rest)?);
                let bytes = take(&mut rest, size as usize)?;
                match *type_ {
                    ColumnType::Binary => Value::Null,
                    ColumnType::Json => match serde_json::from_slice(bytes) {
                        Ok(value) => value,
                        Err(_) => std::str::from_utf8(bytes).ok()?.into(),
                    },
                    _ => std::str::from_utf8(bytes).ok()?.into(),
                }
            }
            _ => return None,
        };
        found.insert(name.clone(), value);
    }
    Some(found)
}

/// A feature's geometry, of the type that the file has for all, else of its own. A geometry without positions is none.
fn geometry(table: &GeometryTable<'_>, of_all: GeometryType) -> Result<Option<Geometry>, GeometryError> {
    let type_ = match of_all {
        GeometryType::Unknown => table.type_(),
        known => known,
    };
    let line = || -> Result<Line, GeometryError> { Ok(parts(table)?.into_iter().flatten().collect()) };
    let found = match type_ {
        GeometryType::Point => match line()?[..] {
            [] => return Ok(None),
            [c] => Geometry::Point(c),
            _ => return Err(GeometryError::Nesting("Point")),
        },
        GeometryType::MultiPoint => Geometry::MultiPoint(line()?),
        GeometryType::LineString => Geometry::LineString(line()?),
        GeometryType::MultiLineString => Geometry::MultiLineString(parts(table)?),
        GeometryType::Polygon => Geometry::Polygon(parts(table)?),
        GeometryType::MultiPolygon => {
            let polygons = table.parts().into_iter().flatten();
            Geometry::MultiPolygon(
                polygons
                    .map(|polygon| parts(&polygon))
                    .collect::<Result<_, _>>()?,
            )
        }
        GeometryType::Unknown => return Ok(None),
        other => {
            return Err(GeometryError::Type(
                other.variant_name().unwrap_or("of no known type").to_owned(),
            ));
        }
    };
    found.checked().map(Some)
}

/// The positions of each part.
fn parts(table: &GeometryTable<'_>) -> Result<Vec<Line>, GeometryError> {
    let bad = GeometryError::WellKnown;
    let Some(xy) = table.xy() else {
        return Ok(Vec::new());
    };
    let n = xy.len() / 2;
    if xy.len() % 2 != 0 {
        return Err(bad("a position lacks its second number"));
    }
    if n > crate::register::geometry::MAX_POSITIONS {
        return Err(GeometryError::Positions(n));
    }
    let z = table.z().filter(|z| !z.is_empty());
    if z.is_some_and(|z| z.len() != n) {
        return Err(bad("there are not as many heights as positions"));
    }
    // What has no height stands there as not-a-number where others have one.
    let coord = |i: usize| Coord {
        lon: xy.get(2 * i),
        lat: xy.get(2 * i + 1),
        height: z.map(|z| z.get(i)).filter(|height| !height.is_nan()),
    };
    let ends: Vec<usize> = match table.ends() {
        Some(ends) if !ends.is_empty() => ends.iter().map(|end| end as usize).collect(),
        _ => vec![n],
    };
    let mut from = 0;
    let mut all = Vec::with_capacity(ends.len().min(n + 1));
    for end in ends {
        if end < from || end > n {
            return Err(bad("the ends of its parts are not in order"));
        }
        all.push((from..end).map(coord).collect());
        from = end;
    }
    match from == n {
        true => Ok(all),
        false => Err(bad("positions stand behind its last part")),
    }
}
