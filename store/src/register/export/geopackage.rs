//! Entities as a GeoPackage: one layer a kind, attributes as columns, a spatial index for each.

use std::path::Path;

use onemap_model::{Crs, EntityKind, Timestamp};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, params};

use super::columns::{Cell, Columns, OWN, Plain, REST, Survey, TIMES, own};
use super::{ExportError, Things, placed};
use crate::register::geometry::Geometry;
use crate::register::rows::utc_text;
use crate::register::{spatial_index, tables};

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Cell::Null => ValueRef::Null,
            Cell::Integer(n) => ValueRef::Integer(*n),
            Cell::Real(x) => ValueRef::Real(*x),
            Cell::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

/// What one layer will hold.
struct Layer {
    kind: EntityKind,
    columns: Columns,
    /// Of all its geometries, when they are of one type.
    geometry_type: &'static str,
}

pub(super) fn write(path: &Path, crs: Crs, at: Timestamp, things: Things<'_>) -> Result<(), ExportError> {
    let mut connection = Connection::open(path)?;
    // Nobody else reads it before it is whole, and one that is not whole is thrown away.
    connection.pragma_update_and_check(None, "journal_mode", "OFF", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "application_id", tables::APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", tables::USER_VERSION)?;
    spatial_index::add_functions(&connection)?;
    let srs_id = i32::from(crs.epsg().ok_or(ExportError::Crs(crs))?);
    let tx = connection.transaction()?;
    tx.execute_batch(tables::CORE)?;
    tx.execute_batch(spatial_index::EXTENSIONS)?;
    if srs_id != 4326 {
        tx.execute(
            "INSERT INTO gpkg_spatial_ref_sys VALUES (?1, ?2, 'EPSG', ?2, ?3, NULL)",
            params![name_of(crs), srs_id, well_known(crs)],
        )?;
    }
    let layers = survey(things);
    for layer in &layers {
        create(&tx, layer, srs_id, at)?;
    }
    let mut i = 0;
    for layer in &layers {
        i = fill(&tx, layer, crs, srs_id, things, i)?;
        spatial_index::add(&tx, layer.kind.name())?;
    }
    tx.commit()?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(())
}

/// The layers, in the order of kinds.
fn survey(things: Things<'_>) -> Vec<Layer> {
    let mut layers: Vec<Layer> = Vec::new();
    let mut attributes = Survey::default();
    let close = |layers: &mut Vec<Layer>, attributes: &mut Survey| {
        if let Some(last) = layers.last_mut() {
            last.columns = std::mem::take(attributes).columns();
        }
    };
    for entity in things.iter() {
        if layers.last().is_none_or(|layer| layer.kind != entity.kind) {
            close(&mut layers, &mut attributes);
            layers.push(Layer {
                kind: entity.kind.clone(),
                columns: Columns(Vec::new()),
                geometry_type: "",
            });
        }
        attributes.note(&entity.attributes);
        let found = match entity.geometry["type"].as_str() {
            None => continue,
            Some("Point") => "POINT",
            Some("MultiPoint") => "MULTIPOINT",
            Some("LineString") => "LINESTRING",
            Some("MultiLineString") => "MULTILINESTRING",
            Some("Polygon") => "POLYGON",
            Some(_) => "MULTIPOLYGON",
        };
        if let Some(layer) = layers.last_mut() {
            layer.geometry_type = match layer.geometry_type {
                "" => found,
                known if known == found => known,
                _ => "GEOMETRY",
            };
        }
    }
    close(&mut layers, &mut attributes);
    layers
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

fn create(tx: &Connection, layer: &Layer, srs_id: i32, at: Timestamp) -> rusqlite::Result<()> {
    let name = layer.kind.name();
    let geometry_type = match layer.geometry_type {
        "" => "GEOMETRY",
        known => known,
    };
    let sql_type = |plain: Plain| match plain {
        Plain::Integer => "INTEGER",
        Plain::Real => "REAL",
        Plain::Text => "TEXT",
    };
    let own = OWN.map(|(name, plain)| match TIMES.contains(&name) {
        true => format!("{name} DATETIME"),
        false => format!("{name} {}", sql_type(plain)),
    });
    let attributes = layer.columns.0.iter();
    let attributes = attributes.map(|(name, plain)| format!("{} {}", quoted(name), sql_type(*plain)));
    let columns: Vec<String> = own.into_iter().chain(attributes).collect();
    tx.execute_batch(&format!(
        "CREATE TABLE {name} (fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom {geometry_type}, {}, {REST} TEXT)",
        columns.join(", ")
    ))?;
    tx.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change, srs_id)
         VALUES (?1, 'features', ?1, ?2, ?3, ?4)",
        params![name, named(&layer.kind), utc_text(at), srs_id],
    )?;
    tx.execute(
        "INSERT INTO gpkg_geometry_columns VALUES (?1, 'geom', ?2, ?3, 2, 0)",
        params![name, geometry_type, srs_id],
    )?;
    Ok(())
}

/// Writes the entities of one layer, from a number on, and gives the number of the first that is not of it.
fn fill(
    tx: &Connection,
    layer: &Layer,
    crs: Crs,
    srs_id: i32,
    things: Things<'_>,
    from: usize,
) -> Result<usize, ExportError> {
    let names = layer.columns.0.iter().map(|(name, _)| quoted(name));
    let own_names = OWN.into_iter().map(|(name, _)| name.to_owned());
    let names: Vec<String> = own_names.chain(names).chain([REST.to_owned()]).collect();
    let n_values = names.len() + 1;
    let values: Vec<String> = (1..=n_values).map(|i| format!("?{i}")).collect();
    let mut insert = tx.prepare(&format!(
        "INSERT INTO {} (geom, {}) VALUES ({})",
        layer.kind.name(),
        names.join(", "),
        values.join(", ")
    ))?;
    let mut bounds: Option<[f64; 4]> = None;
    let mut i = from;
    while i < things.n {
        let Some(entity) = (things.get)(i) else {
            i += 1;
            continue;
        };
        if entity.kind != layer.kind {
            break;
        }
        i += 1;
        let geometry = placed(&entity, crs)?;
        if let Some(geometry) = &geometry {
            let b = geometry.bounds();
            bounds = Some(bounds.map_or(b, |a| {
                [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])]
            }));
        }
        insert.raw_bind_parameter(1, geometry.as_ref().map(|g: &Geometry| g.to_blob_in(srs_id)))?;
        let (cells, rest) = layer.columns.split(&entity.attributes);
        for (at, cell) in own(&entity).iter().chain(&cells).chain([&rest]).enumerate() {
            insert.raw_bind_parameter(at + 2, cell)?;
        }
        insert.raw_execute()?;
    }
    if let Some([west, south, east, north]) = bounds {
        tx.execute(
            "UPDATE gpkg_contents SET min_x = ?2, min_y = ?3, max_x = ?4, max_y = ?5 WHERE table_name = ?1",
            params![layer.kind.name(), west, south, east, north],
        )?;
    }
    Ok(i)
}

/// What a layer is called beside its name.
fn named(kind: &EntityKind) -> &'static str {
    use EntityKind as K;
    match kind {
        K::Division => "行政区划 divisions",
        K::Grid => "责任网格 grids",
        K::Address => "地址 addresses",
        K::Place => "地名 places",
        K::LegalPerson => "法人 legal persons",
        K::Component => "城市部件 city components",
        K::Event => "事件 events",
        K::Hazard => "隐患 hazards",
        K::Reach => "河段 reaches",
        K::Pipe => "管线 pipes",
        K::Road => "道路 roads",
        K::Water => "水系 waters",
        K::Fence => "围栏 fences",
        K::Person => "",
    }
}

fn name_of(crs: Crs) -> String {
    match crs {
        Crs::Cgcs2000 => "China Geodetic Coordinate System 2000".to_owned(),
        Crs::WebMercator => "WGS 84 / Pseudo-Mercator".to_owned(),
        Crs::GaussKruger(zone) if zone.is_in_easting() => {
            format!("CGCS2000 / 3-degree Gauss-Kruger zone {}", zone.number())
        }
        Crs::GaussKruger(zone) => {
            format!("CGCS2000 / 3-degree Gauss-Kruger CM {}E", zone.central_meridian())
        }
        other => other.name(),
    }
}

/// Well-known text of a system, as EPSG defines it.
fn well_known(crs: Crs) -> String {
    const CGCS2000: &str = r#"GEOGCS["China Geodetic Coordinate System 2000",DATUM["China_2000",SPHEROID["CGCS2000",6378137,298.257222101,AUTHORITY["EPSG","1024"]],AUTHORITY["EPSG","1043"]],PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]],AUTHORITY["EPSG","4490"]]"#;
    const WGS84: &str = r#"GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,AUTHORITY["EPSG","7030"]],AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]],AUTHORITY["EPSG","4326"]]"#;
    let code = crs.epsg().unwrap_or_default();
    let name = name_of(crs);
    let metre = r#"UNIT["metre",1,AUTHORITY["EPSG","9001"]]"#;
    match crs {
        Crs::Cgcs2000 => CGCS2000.to_owned(),
        Crs::GaussKruger(zone) => format!(
            r#"PROJCS["{name}",{CGCS2000},PROJECTION["Transverse_Mercator"],PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",{}],PARAMETER["scale_factor",1],PARAMETER["false_easting",{}],PARAMETER["false_northing",0],{metre},AUTHORITY["EPSG","{code}"]]"#,
            zone.central_meridian(),
            zone.false_easting(),
        ),
        Crs::WebMercator => format!(
            r#"PROJCS["{name}",{WGS84},PROJECTION["Mercator_1SP"],PARAMETER["central_meridian",0],PARAMETER["scale_factor",1],PARAMETER["false_easting",0],PARAMETER["false_northing",0],{metre},AXIS["X",EAST],AXIS["Y",NORTH],EXTENSION["PROJ4","+proj=merc +a=6378137 +b=6378137 +lat_ts=0 +lon_0=0 +x_0=0 +y_0=0 +k=1 +units=m +nadgrids=@null +wktext +no_defs"],AUTHORITY["EPSG","{code}"]]"#
        ),
        _ => WGS84.to_owned(),
    }
}
