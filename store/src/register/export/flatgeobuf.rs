//! Entities as a FlatGeobuf file (version 3), in the order of its packed Hilbert index.
//!
//! The crate `flatgeobuf` gives the tables of the format and its index. Its own writer is not used: it cannot write a
//! feature without a geometry and keeps features in the system's folder for temporary files.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use flatbuffers::{FlatBufferBuilder, WIPOffset};
use flatgeobuf::packed_r_tree::{NodeItem, PackedRTree, calc_extent, hilbert_sort};
use flatgeobuf::{
    Column, ColumnArgs, ColumnType, Crs as CrsTable, CrsArgs, Feature, FeatureArgs,
    Geometry as GeometryTable, GeometryArgs, GeometryType, Header, HeaderArgs,
};
use onemap_model::{Crs, Entity};

use super::columns::{Cell, Columns, OWN, Plain, REST, Survey, TIMES, own};
use super::{ExportError, Things, placed};
use crate::register::geometry::{Coord, Geometry};

pub(in crate::register) const MAGIC: [u8; 8] = *b"fgb\x03fgb\0";
/// Children of one node of the index: what the format's other writers take.
const NODE_SIZE: u16 = 16;

/// Where a feature lies among the others before they are in order, and its size.
type Place = (u64, u32);

/// Of all that is written, before it is written.
struct Outline {
    columns: Columns,
    /// Of all geometries, when they are of one type.
    geometry_type: GeometryType,
    has_heights: bool,
}

pub(super) fn write(path: &Path, crs: Crs, things: Things<'_>) -> Result<(), ExportError> {
    let outline = survey(things);
    let mut beside = path.as_os_str().to_owned();
    beside.push(".features");
    let features = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&beside)?;
    // Nobody else needs its name, and without one it goes whatever happens.
    std::fs::remove_file(&beside)?;
    let mut features = BufWriter::new(features);
    let (mut nodes, places) = write_features(&mut features, &outline, crs, things)?;
    let features = features.into_inner().map_err(io::IntoInnerError::into_error)?;
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    put_together(&mut out, &outline, crs, features, &mut nodes, &places)?;
    Ok(out.flush()?)
}

fn survey(things: Things<'_>) -> Outline {
    let mut attributes = Survey::default();
    let mut outline = Outline {
        columns: Columns(Vec::new()),
        geometry_type: GeometryType::Unknown,
        has_heights: false,
    };
    let mut is_mixed = false;
    for entity in things.iter() {
        attributes.note(&entity.attributes);
        if entity.geometry.is_null() {
            continue;
        }
        let geometry = Geometry::from_json(&entity.geometry).expect("the register's geometries were checked");
        outline.has_heights |= geometry.coords().any(|c| c.height.is_some());
        let found = type_of(&geometry);
        if outline.geometry_type == GeometryType::Unknown {
            outline.geometry_type = found;
        }
        is_mixed |= outline.geometry_type != found;
    }
    if is_mixed {
        outline.geometry_type = GeometryType::Unknown;
    }
    outline.columns = attributes.columns();
    outline
}

/// Writes the features one after the other; gives their boxes, with their numbers, and where each lies.
fn write_features(
    out: &mut impl io::Write,
    outline: &Outline,
    crs: Crs,
    things: Things<'_>,
) -> Result<(Vec<NodeItem>, Vec<Place>), ExportError> {
    let mut fbb = FlatBufferBuilder::new();
    let (mut nodes, mut places, mut at) = (Vec::new(), Vec::new(), 0u64);
    for entity in things.iter() {
        let geometry = placed(&entity, crs)?;
        let mut node = NodeItem::create(places.len() as u64);
        if let Some([west, south, east, north]) = geometry.as_ref().map(Geometry::bounds) {
            (node.min_x, node.min_y, node.max_x, node.max_y) = (west, south, east, north);
        }
        let drawn = geometry.map(|geometry| geometry_table(&mut fbb, &geometry, outline));
        let properties = properties(&entity, &outline.columns);
        let properties = fbb.create_vector(&properties);
        let feature = FeatureArgs {
            geometry: drawn,
            properties: Some(properties),
            columns: None,
        };
        let feature = Feature::create(&mut fbb, &feature);
        fbb.finish_size_prefixed(feature, None);
        let bytes = fbb.finished_data();
        let size = u32::try_from(bytes.len()).map_err(|_| ExportError::TooLarge(entity.code.to_string()))?;
        out.write_all(bytes)?;
        fbb.reset();
        nodes.push(node);
        places.push((at, size));
        at += u64::from(size);
    }
    Ok((nodes, places))
}

fn put_together(
    out: &mut impl io::Write,
    outline: &Outline,
    crs: Crs,
    features: File,
    nodes: &mut [NodeItem],
    places: &[Place],
) -> Result<(), ExportError> {
    out.write_all(&MAGIC)?;
    let extent = calc_extent(nodes);
    out.write_all(&header(outline, crs, nodes.len() as u64, &extent))?;
    if nodes.is_empty() {
        return Ok(());
    }
    hilbert_sort(nodes, &extent);
    let order: Vec<usize> = nodes.iter().map(|node| node.offset as usize).collect();
    let mut at = 0;
    for node in nodes.iter_mut() {
        let (_, size) = places[node.offset as usize];
        node.offset = at;
        at += u64::from(size);
    }
    let index = |error: flatgeobuf::Error| ExportError::Index(error.to_string());
    let tree = PackedRTree::build(nodes, &extent, NODE_SIZE).map_err(index)?;
    tree.stream_write(&mut *out)?;
    let mut features = BufReader::new(features);
    let mut feature = Vec::new();
    for i in order {
        let (from, size) = places[i];
        features.seek(SeekFrom::Start(from))?;
        feature.resize(size as usize, 0);
        features.read_exact(&mut feature)?;
        out.write_all(&feature)?;
    }
    Ok(())
}

fn header(outline: &Outline, crs: Crs, n: u64, extent: &NodeItem) -> Vec<u8> {
    let mut fbb = FlatBufferBuilder::new();
    let own = OWN.into_iter().map(|(name, plain)| {
        let is_time = TIMES.contains(&name);
        (
            name,
            if is_time {
                ColumnType::DateTime
            } else {
                column_type(plain)
            },
        )
    });
    let attributes = outline.columns.0.iter();
    let attributes = attributes.map(|(name, plain)| (name.as_str(), column_type(*plain)));
    let all = own.chain(attributes).chain([(REST, ColumnType::Json)]);
    let columns: Vec<WIPOffset<Column<'_>>> = all
        .map(|(name, type_)| {
            let column = ColumnArgs {
                name: Some(fbb.create_string(name)),
                type_,
                ..ColumnArgs::default()
            };
            Column::create(&mut fbb, &column)
        })
        .collect();
    let columns = Some(fbb.create_vector(&columns));
    let is_placed = extent.min_x <= extent.max_x;
    let envelope = [extent.min_x, extent.min_y, extent.max_x, extent.max_y];
    let envelope = is_placed.then(|| fbb.create_vector(&envelope));
    let code = crs.epsg().map_or(0, i32::from);
    let crs = CrsArgs {
        org: Some(fbb.create_string("EPSG")),
        code,
        ..CrsArgs::default()
    };
    let crs = Some(CrsTable::create(&mut fbb, &crs));
    let header = HeaderArgs {
        name: Some(fbb.create_string("entities")),
        envelope,
        geometry_type: outline.geometry_type,
        has_z: outline.has_heights,
        columns,
        features_count: n,
        index_node_size: NODE_SIZE,
        crs,
        ..HeaderArgs::default()
    };
    let header = Header::create(&mut fbb, &header);
    fbb.finish_size_prefixed(header, None);
    fbb.finished_data().to_vec()
}

fn column_type(plain: Plain) -> ColumnType {
    match plain {
        Plain::Integer => ColumnType::Long,
        Plain::Real => ColumnType::Double,
        Plain::Text => ColumnType::String,
    }
}

fn type_of(geometry: &Geometry) -> GeometryType {
    match geometry {
        Geometry::Point(_) => GeometryType::Point,
        Geometry::MultiPoint(_) => GeometryType::MultiPoint,
        Geometry::LineString(_) => GeometryType::LineString,
        Geometry::MultiLineString(_) => GeometryType::MultiLineString,
        Geometry::Polygon(_) => GeometryType::Polygon,
        Geometry::MultiPolygon(_) => GeometryType::MultiPolygon,
    }
}

fn geometry_table<'b>(
    fbb: &mut FlatBufferBuilder<'b>,
    geometry: &Geometry,
    outline: &Outline,
) -> WIPOffset<GeometryTable<'b>> {
    let type_ = type_of(geometry);
    let has_heights = outline.has_heights;
    match geometry {
        Geometry::Point(c) => flat(fbb, type_, has_heights, [std::slice::from_ref(c)].into_iter()),
        Geometry::MultiPoint(line) | Geometry::LineString(line) => {
            flat(fbb, type_, has_heights, [&line[..]].into_iter())
        }
        Geometry::MultiLineString(lines) | Geometry::Polygon(lines) => {
            flat(fbb, type_, has_heights, lines.iter().map(|line| &line[..]))
        }
        Geometry::MultiPolygon(polygons) => {
            let parts: Vec<_> = polygons
                .iter()
                .map(|rings| {
                    let rings = rings.iter().map(|ring| &ring[..]);
                    flat(fbb, GeometryType::Polygon, has_heights, rings)
                })
                .collect();
            let parts = Some(fbb.create_vector(&parts));
            let args = GeometryArgs {
                type_,
                parts,
                ..GeometryArgs::default()
            };
            GeometryTable::create(fbb, &args)
        }
    }
}

/// Positions of all parts in one array, the ends of the parts beside when there are several.
fn flat<'b, 'g>(
    fbb: &mut FlatBufferBuilder<'b>,
    type_: GeometryType,
    has_heights: bool,
    parts: impl Iterator<Item = &'g [Coord]>,
) -> WIPOffset<GeometryTable<'b>> {
    let (mut xy, mut z, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for part in parts {
        for c in part {
            xy.extend([c.lon, c.lat]);
            if has_heights {
                // Readers want as many heights as positions where the file has any.
                z.push(c.height.unwrap_or(f64::NAN));
            }
        }
        ends.push((xy.len() / 2) as u32);
    }
    let args = GeometryArgs {
        xy: Some(fbb.create_vector(&xy)),
        z: has_heights.then(|| fbb.create_vector(&z)),
        ends: (ends.len() > 1).then(|| fbb.create_vector(&ends)),
        type_,
        ..GeometryArgs::default()
    };
    GeometryTable::create(fbb, &args)
}

/// The number of each column that has a value, and the value.
fn properties(entity: &Entity, columns: &Columns) -> Vec<u8> {
    let mut out = Vec::new();
    let (cells, rest) = columns.split(&entity.attributes);
    for (i, cell) in own(entity).iter().chain(&cells).chain([&rest]).enumerate() {
        let number = (i as u16).to_le_bytes();
        match cell {
            Cell::Null => {}
            Cell::Integer(n) => {
                out.extend_from_slice(&number);
                out.extend_from_slice(&n.to_le_bytes());
            }
            Cell::Real(x) => {
                out.extend_from_slice(&number);
                out.extend_from_slice(&x.to_le_bytes());
            }
            Cell::Text(text) => {
                out.extend_from_slice(&number);
                out.extend_from_slice(&(text.len() as u32).to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
    out
}
