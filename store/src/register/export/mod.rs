//! Entities of the register as files that other programs read, and that [`super::import`] takes back as they were.
//!
//! GeoJSON, its sequences and CSV are written piece by piece ([`Text`]); FlatGeobuf and GeoPackage are made as a file
//! first ([`write_file`]), because their indexes stand before what they index. Geometries are in a system that the
//! caller names and that a file can state: one with an EPSG code. In WGS 84 every number is the one of the register;
//! a projection and its inverse are equal within a micrometre.
//!
//! Which column holds what is one table for all (`columns`): the entity's own fields, then attributes that have the
//! same plain type wherever they occur, then `attributes`, JSON of all others. So nothing is lost on the way back.

mod columns;
mod flatgeobuf;
mod geopackage;
mod text;

use std::io;
use std::path::Path;
use std::str::FromStr;

use onemap_model::crs::OutOfDomain;
use onemap_model::{Crs, Entity, Timestamp};

use super::geometry::Geometry;
pub use text::Text;

/// What entities are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A GeoJSON `FeatureCollection` (RFC 7946; in another system than WGS 84 with a member `crs`, GeoJSON of 2008).
    GeoJson,
    /// GeoJSON features, one a line (RFC 8142 without separators).
    GeoJsonSeq,
    /// Comma-separated lines (RFC 4180): points as `lon`, `lat`, `height`, all else as `wkt`.
    Csv,
    /// FlatGeobuf 3 with its packed Hilbert index.
    FlatGeobuf,
    /// GeoPackage (OGC 12-128r19), one layer a kind, with spatial indexes.
    GeoPackage,
}

impl Format {
    /// Content type and how a file's name ends.
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::GeoJson => ("application/geo+json", "geojson"),
            Self::GeoJsonSeq => ("application/geo+json-seq", "geojsonl"),
            Self::Csv => ("text/csv; charset=utf-8", "csv"),
            Self::FlatGeobuf => ("application/vnd.flatgeobuf", "fgb"),
            Self::GeoPackage => ("application/geopackage+sqlite3", "gpkg"),
        }
    }
}

impl FromStr for Format {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "geojson" => Ok(Self::GeoJson),
            "geojsonseq" => Ok(Self::GeoJsonSeq),
            "csv" => Ok(Self::Csv),
            "flatgeobuf" => Ok(Self::FlatGeobuf),
            "gpkg" => Ok(Self::GeoPackage),
            _ => {
                let text: String = text.chars().take(32).collect();
                Err(format!(
                    "`{text}` is not a format; formats are geojson, geojsonseq, csv, flatgeobuf, gpkg"
                ))
            }
        }
    }
}

/// Why entities cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// No file can state the system.
    #[error("no file can state {0}; export in WGS84, CGCS2000, EPSG:3857 or a zone EPSG:4513 to 4554")]
    Crs(Crs),
    /// An entity that the system cannot hold.
    #[error("`{code}` cannot be written in {crs}")]
    Outside {
        /// Its code.
        code: String,
        /// The system.
        crs: Crs,
        /// Why.
        #[source]
        source: OutOfDomain,
    },
    /// A feature that is too large for its format.
    #[error("`{0}` is too large for the format")]
    TooLarge(String),
    /// The disk.
    #[error("the file cannot be written")]
    Io(#[from] io::Error),
    /// The disk, by way of SQLite.
    #[error("the file cannot be written")]
    Sqlite(#[from] rusqlite::Error),
    /// The index.
    #[error("the index cannot be made: {0}")]
    Index(String),
}

/// What is to be written: entities by number, in the order of kind and code. Each is asked for more than once; one that
/// is gone meanwhile is left out.
#[derive(Clone, Copy)]
pub struct Things<'a> {
    /// How many.
    pub n: usize,
    /// The one of a number below `n`.
    pub get: &'a dyn Fn(usize) -> Option<Entity>,
}

impl Things<'_> {
    fn iter(&self) -> impl Iterator<Item = Entity> {
        (0..self.n).filter_map(|i| (self.get)(i))
    }
}

/// Looks whether everything can be written in a system, before anything is.
///
/// # Errors
/// [`ExportError::Crs`], [`ExportError::Outside`].
pub fn check(crs: Crs, things: Things<'_>) -> Result<(), ExportError> {
    if crs.epsg().is_none() {
        return Err(ExportError::Crs(crs));
    }
    if !crs.is_projected() {
        return Ok(());
    }
    things
        .iter()
        .try_for_each(|entity| placed(&entity, crs).map(|_| ()))
}

/// Writes a FlatGeobuf or GeoPackage; text formats are written there, too. `at` is when the file says it was made.
///
/// # Errors
/// [`ExportError`]; what is in the file then is of no use.
pub fn write_file(
    path: &Path,
    format: Format,
    crs: Crs,
    at: Timestamp,
    things: Things<'_>,
) -> Result<(), ExportError> {
    if crs.epsg().is_none() {
        return Err(ExportError::Crs(crs));
    }
    match format {
        Format::FlatGeobuf => flatgeobuf::write(path, crs, things),
        Format::GeoPackage => geopackage::write(path, crs, at, things),
        Format::GeoJson | Format::GeoJsonSeq | Format::Csv => {
            let mut out = io::BufWriter::new(std::fs::File::create(path)?);
            let mut text = Text::new(format, crs);
            let mut piece = Vec::new();
            text.begin(&mut piece);
            for entity in things.iter() {
                text.entity(&mut piece, &entity)?;
                io::Write::write_all(&mut out, &piece)?;
                piece.clear();
            }
            text.end(&mut piece);
            io::Write::write_all(&mut out, &piece)?;
            Ok(io::Write::flush(&mut out)?)
        }
    }
}

/// An entity's geometry in a system; `None` when it has none.
fn placed(entity: &Entity, crs: Crs) -> Result<Option<Geometry>, ExportError> {
    if entity.geometry.is_null() {
        return Ok(None);
    }
    let mut geometry = Geometry::from_json(&entity.geometry).expect("the register's geometries were checked");
    if !crs.is_projected() {
        return Ok(Some(geometry));
    }
    let mut wrong = None;
    geometry.coords_mut(|c| {
        let (x, y) = crs.from_wgs84(c.lon, c.lat);
        // What a reader would refuse is not written.
        if let Err(source) = crs.read(x, y) {
            wrong = wrong.or(Some(source));
        }
        (c.lon, c.lat) = (x, y);
    });
    match wrong {
        None => Ok(Some(geometry)),
        Some(source) => Err(ExportError::Outside {
            code: entity.code.to_string(),
            crs,
            source,
        }),
    }
}

#[cfg(test)]
mod tests;
