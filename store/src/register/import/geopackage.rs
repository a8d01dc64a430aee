//! Entities from the layers of a GeoPackage (OGC 12-128r18), read row by row.

use std::path::Path;
use std::sync::Arc;

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
/// Where QGIS keeps how it draws layers.
const STYLES: &str = "layer_styles";

/// The rows of a GeoPackage's layers, one layer after the other.
pub(super) struct Layers {
    connection: Connection,
    mapping: Mapping,
    /// Layers that are yet to be read.
    waiting: std::vec::IntoIter<String>,
    layer: Option<Layer>,
    /// Things of the whole file that were read.
    seen: Seen,
    /// There are several: then each row and each fault says of which it is.
    several: bool,
}

/// The layer that is read.
struct Layer {
    name: Arc<str>,
    query: String,
    columns: Vec<String>,
    crs: Crs,
    srs_id: i64,
    /// Row id behind which to read on.
    after: i64,
    page: std::vec::IntoIter<Result<Row, ImportError>>,
    ended: bool,
}

fn whole(message: String) -> ImportError {
    ImportError::new(ImportPlace::Feature(0), message)
}

fn damaged(error: rusqlite::Error) -> ImportError {
    whole(format!("it is not a GeoPackage that can be read: {error}"))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Layers {
    /// Opens the layer that the mapping names, else all of them. Where there are several, one that cannot be read is one
    /// fault, and a column of the mapping need not be in all of them. How GIS programs draw layers is none.
    ///
    /// # Errors
    /// When the file is no GeoPackage, has no such layer or none at all, no layer has a column of the mapping, or the
    /// coordinate system of its only layer is not known or contradicts the declared one.
    pub(super) fn open(path: &Path, mapping: &Mapping) -> Result<Self, ImportError> {
        let connection =
            sqlite::open_to_read(path).map_err(|error| ImportError::of(ImportPlace::Feature(0), &error))?;
        let mut layers: Vec<String> = connection
            .prepare("SELECT table_name FROM gpkg_contents WHERE data_type IN ('features', 'attributes') ORDER BY data_type DESC, table_name")
            .and_then(|mut layers| layers.query_map([], |row| row.get(0))?.collect())
            .map_err(damaged)?;
        if let Some(named) = &mapping.layer {
            if !layers.contains(named) {
                return Err(whole(format!(
                    "it has no layer `{named}`, its layers are {}",
                    layers.join(", ")
                )));
            }
            layers = vec![named.clone()];
        } else {
            layers.retain(|layer| layer != STYLES);
        }
        if layers.is_empty() {
            return Err(whole("it has no layers".into()));
        }
        for missing in mapping.columns.keys() {
            let has = |layer: &String| Ok(columns_of(&connection, layer)?.contains(missing));
            let found: Result<Vec<bool>, rusqlite::Error> = layers.iter().map(has).collect();
            if !found.map_err(damaged)?.contains(&true) {
                return Err(whole(match &layers[..] {
                    [only] => format!("layer `{only}` has no column `{missing}`"),
                    all => format!("none of the layers {} has a column `{missing}`", all.join(", ")),
                }));
            }
        }
        let layer = match &layers[..] {
            [only] => Some(Layer::open(&connection, only, mapping)?),
            _ => None,
        };
        Ok(Self {
            mapping: mapping.clone(),
            several: layers.len() > 1,
            waiting: match layer {
                Some(_) => Vec::new().into_iter(),
                None => layers.into_iter(),
            },
            layer,
            seen: Seen::default(),
            connection,
        })
    }
}

fn columns_of(connection: &Connection, layer: &str) -> rusqlite::Result<Vec<String>> {
    let mut names = connection.prepare_cached("SELECT name FROM pragma_table_info(?1)")?;
    names.query_map([layer], |row| row.get(0))?.collect()
}

impl Layer {
    fn open(connection: &Connection, name: &str, mapping: &Mapping) -> Result<Self, ImportError> {
        let geometry: Option<(String, i64)> = connection
            .query_row(
                "SELECT column_name, srs_id FROM gpkg_geometry_columns WHERE table_name = ?1",
                [name],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(damaged)?;
        let (crs, srs_id) = match &geometry {
            None => (mapping.crs.unwrap_or_default(), 0),
            Some((_, srs_id)) => (own_crs(connection, *srs_id, mapping.crs).map_err(whole)?, *srs_id),
        };
        let drawn = geometry.map(|(column, _)| column);
        let columns: Vec<String> = columns_of(connection, name)
            .map_err(damaged)?
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
        let query = format!(
            "SELECT {} FROM {} WHERE rowid > ?1 ORDER BY rowid LIMIT {N_PAGE}",
            wanted.join(", "),
            quoted(name)
        );
        Ok(Self {
            name: name.into(),
            query,
            columns,
            crs,
            srs_id,
            after: i64::MIN,
            page: Vec::new().into_iter(),
            ended: false,
        })
    }

    fn read_page(
        &mut self,
        connection: &Connection,
        mapping: &Mapping,
        seen: &mut Seen,
    ) -> rusqlite::Result<Vec<Result<Row, ImportError>>> {
        let mut statement = connection.prepare_cached(&self.query)?;
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
                let draft = draft(properties, mapping, place)?;
                draft.row(geometry, self.crs, mapping, place, seen)
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

impl Layer {
    fn next(
        &mut self,
        connection: &Connection,
        mapping: &Mapping,
        seen: &mut Seen,
    ) -> Option<Result<Row, ImportError>> {
        loop {
            if let Some(row) = self.page.next() {
                return Some(row);
            }
            if self.ended {
                return None;
            }
            let page = self.read_page(connection, mapping, seen);
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

impl Iterator for Layers {
    type Item = Result<Row, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(layer) = &mut self.layer {
                if let Some(mut row) = layer.next(&self.connection, &self.mapping, &mut self.seen) {
                    if self.several {
                        let name = Some(layer.name.clone());
                        match &mut row {
                            Ok(row) => row.layer = name,
                            Err(error) => error.layer = name,
                        }
                    }
                    return Some(row);
                }
                self.layer = None;
            }
            let name = self.waiting.next()?;
            match Layer::open(&self.connection, &name, &self.mapping) {
                Ok(layer) => self.layer = Some(layer),
                Err(mut error) => {
                    error.layer = Some(name.into());
                    return Some(Err(error));
                }
            }
        }
    }
}
