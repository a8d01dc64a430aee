//! Entities from a layer of a GeoPackage (OGC 12-128r18), read row by row.

use std::path::Path;

use onemap_model::Crs;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};
use serde_json::{Map, Value};

use super::draft::Seen;
use super::geojson::{agree, draft};
use super::{ImportError, ImportPlace, Mapping, Row};
use crate::register::well_known::read_geopackage;
use crate::sqlite;

/// Rows read at once.
const N_PAGE: i64 = 2000;

/// The rows of a layer.
pub(super) struct Layer {
    connection: Connection,
    query: String,
    columns: Vec<String>,
    mapping: Mapping,
    crs: Crs,
    srs_id: i64,
    seen: Seen,
    /// Row id behind which to read on.
    after: i64,
    page: std::vec::IntoIter<Result<Row, ImportError>>,
    ended: bool,
}

impl Layer {
    /// Opens the layer that the mapping names, or the only one.
    ///
    /// # Errors
    /// When the file is no GeoPackage, has no such layer, several and none is named, or its coordinate system is not
    /// known or contradicts the declared one.
    pub(super) fn open(path: &Path, mapping: &Mapping) -> Result<Self, ImportError> {
        let whole = |message: String| ImportError::new(ImportPlace::Feature(0), message);
        let damaged =
            |error: rusqlite::Error| whole(format!("it is not a GeoPackage that can be read: {error}"));
        let connection =
            sqlite::open_to_read(path).map_err(|error| ImportError::of(ImportPlace::Feature(0), &error))?;
        let layers: Vec<String> = connection
            .prepare("SELECT table_name FROM gpkg_contents WHERE data_type IN ('features', 'attributes') ORDER BY data_type DESC, table_name")
            .and_then(|mut layers| layers.query_map([], |row| row.get(0))?.collect())
            .map_err(damaged)?;
        let layer = match (&mapping.layer, &layers[..]) {
            (Some(named), layers) if layers.contains(named) => named.clone(),
            (Some(named), layers) => {
                return Err(whole(format!(
                    "it has no layer `{named}`, its layers are {}",
                    layers.join(", ")
                )));
            }
            (None, [only]) => only.clone(),
            (None, []) => return Err(whole("it has no layers".into())),
            (None, layers) => {
                return Err(whole(format!(
                    "it has several layers, one has to be named: {}",
                    layers.join(", ")
                )));
            }
        };
        let geometry: Option<(String, i64)> = connection
            .query_row(
                "SELECT column_name, srs_id FROM gpkg_geometry_columns WHERE table_name = ?1",
                [&layer],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(damaged)?;
        let (crs, srs_id) = match &geometry {
            None => (mapping.crs.unwrap_or_default(), 0),
            Some((_, srs_id)) => (
                own_crs(&connection, *srs_id, mapping.crs).map_err(whole)?,
                *srs_id,
            ),
        };
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let all: Vec<String> = connection
            .prepare("SELECT name FROM pragma_table_info(?1)")
            .and_then(|mut names| names.query_map([&layer], |row| row.get(0))?.collect())
            .map_err(damaged)?;
        let drawn = geometry.map(|(column, _)| column);
        let columns: Vec<String> = all
            .into_iter()
            .filter(|name| Some(name) != drawn.as_ref())
            // The number of a row says nothing of a thing; GDAL and QGIS call it so.
            .filter(|name| name != "fid" || mapping.columns.contains_key("fid"))
            .collect();
        let mut wanted = vec![
            "rowid".to_owned(),
            drawn.as_deref().map_or("NULL".to_owned(), quoted),
        ];
        wanted.extend(columns.iter().map(|name| quoted(name)));
        if let Some(missing) = mapping.columns.keys().find(|name| !columns.contains(name)) {
            return Err(whole(format!("layer `{layer}` has no column `{missing}`")));
        }
        let query = format!(
            "SELECT {} FROM {} WHERE rowid > ?1 ORDER BY rowid LIMIT {N_PAGE}",
            wanted.join(", "),
            quoted(&layer)
        );
        Ok(Self {
            connection,
            query,
            columns,
            mapping: mapping.clone(),
            crs,
            srs_id,
            seen: Seen::default(),
            after: i64::MIN,
            page: Vec::new().into_iter(),
            ended: false,
        })
    }

    fn read_page(&mut self) -> rusqlite::Result<Vec<Result<Row, ImportError>>> {
        let mut statement = self.connection.prepare_cached(&self.query)?;
        let mut rows = statement.query([self.after])?;
        let mut page = Vec::new();
        while let Some(row) = rows.next()? {
            self.after = row.get(0)?;
            let place = ImportPlace::Row(self.after);
            let bad = |message: String| ImportError::new(place, message);
            let mut properties = Map::new();
            for (i, name) in self.columns.iter().enumerate() {
                let value = match row.get_ref(i + 2)? {
                    ValueRef::Null | ValueRef::Blob(_) => continue,
                    ValueRef::Integer(n) => n.into(),
                    ValueRef::Real(x) => x.into(),
                    ValueRef::Text(text) => Value::String(String::from_utf8_lossy(text).into_owned()),
                };
                properties.insert(name.clone(), value);
            }
            let geometry = match row.get_ref(1)? {
                ValueRef::Null => Ok(None),
                ValueRef::Blob(blob) => match read_geopackage(blob) {
                    Ok(header) if i64::from(header.srs_id) != self.srs_id => Err(bad(format!(
                        "its geometry has srs_id {}, its layer {}",
                        header.srs_id, self.srs_id
                    ))),
                    Ok(header) => Ok(header.geometry.map(Ok)),
                    Err(error) => Ok(Some(Err(error))),
                },
                _ => Err(bad("its geometry is no blob".into())),
            };
            page.push(geometry.and_then(|geometry| {
                let draft = draft(properties, &self.mapping, place)?;
                draft.row(geometry, self.crs, &self.mapping, place, &mut self.seen)
            }));
        }
        Ok(page)
    }
}

/// The coordinate system of an `srs_id`, unless it contradicts the declared one.
fn own_crs(connection: &Connection, srs_id: i64, declared: Option<Crs>) -> Result<Crs, String> {
    // Undefined by the standard: then somebody has to say it.
    if matches!(srs_id, -1 | 0) {
        return declared
            .ok_or_else(|| "its coordinate system is undefined; it has to be declared".to_owned());
    }
    let stated: Option<(String, i64)> = connection
        .query_row(
            "SELECT organization, organization_coordsys_id FROM gpkg_spatial_ref_sys WHERE srs_id = ?1",
            [srs_id],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
        .map_err(|error| error.to_string())?;
    let (organization, code) =
        stated.ok_or_else(|| format!("it does not say what its srs_id {srs_id} is"))?;
    let known = match organization.eq_ignore_ascii_case("EPSG") {
        true => u16::try_from(code).ok().and_then(Crs::from_epsg),
        false => None,
    };
    match known {
        Some(stated) => agree(declared, stated),
        None => Err(format!(
            "its coordinate system {organization}:{code} is not known here"
        )),
    }
}

impl Iterator for Layer {
    type Item = Result<Row, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.page.next() {
                return Some(row);
            }
            if self.ended {
                return None;
            }
            let page = self.read_page();
            self.ended = page.as_ref().map_or(true, Vec::is_empty);
            match page {
                Ok(page) => self.page = page.into_iter(),
                Err(error) => {
                    let place = ImportPlace::Row(self.after);
                    let message = format!("the layer cannot be read on behind it: {error}");
                    return Some(Err(ImportError::new(place, message)));
                }
            }
        }
    }
}
