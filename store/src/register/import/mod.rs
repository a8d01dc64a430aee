//! Entities and readings out of files: text or rows in, values or named errors out.
//!
//! Every feature or line stands for itself: a bad one is an error with its place and the others are still
//! read. The coordinate system of the file is declared in [`Mapping`] or by the file, never guessed. Files of any
//! size are read piece by piece ([`open`]).
//!
//! Limits: a feature or line has at most 16 MiB of text, a geometry 200,000 positions; a file has at most
//! 4,294,967,295 rows.

mod addresses_csv;
#[cfg(test)]
mod bad_geometry;
pub mod csv;
mod devices_csv;
mod draft;
mod encoding;
mod entities_csv;
mod field;
mod flatgeobuf;
mod geojson;
mod geopackage;
mod hydrology_csv;
mod open;
mod pieces;
mod readings;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use onemap_model::code::{CitizenNumber, UnitGrid};
use onemap_model::{Crs, DivisionCode, Entity, EntityKind, Position};

pub use addresses_csv::import_addresses_csv;
pub use devices_csv::{DeviceFault, DeviceRow, import_devices_csv};
pub use encoding::{Encoding, NotText};
pub use entities_csv::import_csv;
pub(crate) use field::is_own_name;
pub use field::{Field, FieldError};
pub use geojson::import_geojson;
pub use hydrology_csv::{HydrologyFile, StationRows, import_hydrology_csv};
pub use open::{Format, Rows, nameless, open};
pub use readings::{ReadingRow, import_readings_csv};

/// What the importer says about a file, beyond what stands in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapping {
    /// What everything in the file is. Then a column or property `kind` is an attribute like any other;
    /// when `None` it must be there and name one of onemap's kinds.
    pub kind: Option<EntityKind>,
    /// The coordinate system of the file; positions are converted to WGS 84. When `None` the one that the file
    /// states, else WGS 84. One that contradicts the file is refused; GCJ-02 and BD-09, which no file can state,
    /// are not contradicted by degrees.
    pub crs: Option<Crs>,
    /// Where the file comes from, for entities that do not say it themselves.
    pub source: String,
    /// The division of entities that do not state one.
    pub division: Option<DivisionCode>,
    /// Column or property name to field, before the usual names are tried.
    pub columns: BTreeMap<String, Field>,
    /// What a file of text is written in.
    pub encoding: Encoding,
    /// The only layer of a GeoPackage that is read; all of them when there is none.
    pub layer: Option<String>,
}

/// One thing of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Where it stands.
    pub place: ImportPlace,
    /// The layer that it stands in, of a file of which several are read.
    pub layer: Option<Arc<str>>,
    /// What it is.
    pub thing: Thing,
    /// The name of a division that it says it lies in.
    pub division_name: Option<String>,
}

/// What a row of a file is.
#[derive(Clone, Debug, PartialEq)]
pub enum Thing {
    /// Everything but persons, checked as the register checks it.
    Entity(Box<Entity>),
    /// A person, whose number goes no further than to whoever makes a pseudonym of it.
    Person(Box<PersonRow>),
}

/// A person as a file gives one: what else the file says is not read.
#[derive(Clone, Debug, PartialEq)]
pub struct PersonRow {
    /// The number.
    pub number: CitizenNumber,
    /// Where exactly; kept as a cell only.
    pub position: Option<Position>,
    /// The unit grid, if the file says it.
    pub unit_grid: Option<UnitGrid>,
    /// The division.
    pub division: Option<DivisionCode>,
    /// Where it comes from.
    pub source: String,
}

/// Where in a file something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportPlace {
    /// Line of a text file, from 1.
    Line(usize),
    /// Feature of a collection, from 1; 0 is the file as a whole.
    Feature(usize),
    /// Row of a layer, by its number in the file.
    Row(i64),
}

impl fmt::Display for ImportPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(n) => write!(f, "line {n}"),
            Self::Feature(0) => write!(f, "file"),
            Self::Feature(n) => write!(f, "feature {n}"),
            Self::Row(n) => write!(f, "row {n}"),
        }
    }
}

/// One line or feature that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ImportError {
    /// Where.
    pub place: ImportPlace,
    /// The layer that it stands in, of a file of which several are read.
    pub layer: Option<Arc<str>>,
    /// What is wrong, with the value.
    pub message: String,
}

impl ImportError {
    fn new(place: ImportPlace, message: impl Into<String>) -> Self {
        Self {
            place,
            layer: None,
            message: message.into(),
        }
    }
    /// The error and its causes in one line: these go to a person beside many others.
    fn of(place: ImportPlace, error: &dyn Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        Self {
            place,
            layer: None,
            message,
        }
    }
}
