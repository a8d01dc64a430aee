//! Entities and readings out of files. Pure: text in, values or named errors out.
//!
//! Every feature or line stands for itself: a bad one is an error with its place and the others are still
//! read. The coordinate system of the file is declared in [`Mapping`], never guessed.

mod addresses_csv;
pub mod csv;
mod devices_csv;
mod entities_csv;
mod field;
mod geojson;
mod hydrology_csv;
mod readings;

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt;

use onemap_model::{Crs, DivisionCode, Entity, EntityCode, EntityKind, Stratum, Timestamp};
use serde_json::{Map, Value};

pub use addresses_csv::import_addresses_csv;
pub use devices_csv::{DeviceFault, DeviceRow, import_devices_csv};
pub use entities_csv::import_csv;
pub use field::{Field, FieldError};
pub use geojson::import_geojson;
pub use hydrology_csv::{HydrologyFile, StationRows, import_hydrology_csv};
pub use readings::{ReadingRow, import_readings_csv};

use super::entity::{checked, kind_named};
use super::geometry::Geometry;

/// What the importer says about a file, beyond what stands in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapping {
    /// What everything in the file is. Then a column or property `kind` is an attribute like any other;
    /// when `None` it must be there and name one of onemap's kinds.
    pub kind: Option<EntityKind>,
    /// The coordinate system of the file; positions are converted to WGS 84.
    pub crs: Crs,
    /// Where the file comes from, for entities that do not say it themselves.
    pub source: String,
    /// The division of entities that do not state one.
    pub division: Option<DivisionCode>,
    /// Column or property name to field, before the usual names are tried.
    pub columns: BTreeMap<String, Field>,
}

/// Where in a file something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportPlace {
    /// Line of a text file, from 1.
    Line(usize),
    /// Feature of a collection, from 1; 0 is the file as a whole.
    Feature(usize),
}

impl fmt::Display for ImportPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(n) => write!(f, "line {n}"),
            Self::Feature(0) => write!(f, "file"),
            Self::Feature(n) => write!(f, "feature {n}"),
        }
    }
}

/// One line or feature that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ImportError {
    /// Where.
    pub place: ImportPlace,
    /// What is wrong, with the value.
    pub message: String,
}

impl ImportError {
    fn new(place: ImportPlace, message: impl Into<String>) -> Self {
        Self {
            place,
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
        Self { place, message }
    }
}

/// An entity's fields as a file gives them, whatever the format.
#[derive(Default)]
struct Draft {
    fields: BTreeMap<Field, String>,
    z_range_m: Option<[f64; 2]>,
    attributes: Map<String, Value>,
}

/// Codes met so far in one file, and where.
#[derive(Default)]
struct Seen(HashMap<(EntityKind, EntityCode), ImportPlace>);

impl Draft {
    fn text(&mut self, field: Field) -> String {
        self.fields.remove(&field).unwrap_or_default()
    }

    fn parsed<T>(&mut self, field: Field, place: ImportPlace) -> Result<Option<T>, ImportError>
    where
        T: std::str::FromStr,
        T::Err: Error,
    {
        match self.fields.remove(&field) {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(value) => Ok(Some(value)),
                Err(error) => Err(ImportError::of(place, &error)),
            },
        }
    }

    fn number(&mut self, field: Field, place: ImportPlace) -> Result<Option<f64>, ImportError> {
        let Some(text) = self.fields.remove(&field) else {
            return Ok(None);
        };
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(ImportError::new(
                place,
                format!("{field} `{text}` is not a number"),
            )),
        }
    }

    fn time(&mut self, field: Field, place: ImportPlace) -> Result<Option<Timestamp>, ImportError> {
        let text = self.fields.remove(&field);
        text.map(|text| Timestamp::parse(&text))
            .transpose()
            .map_err(|error| ImportError::of(place, &error))
    }

    /// The entity, checked as the register will check it, its geometry converted to WGS 84.
    fn entity(
        mut self,
        geometry: &Value,
        mapping: &Mapping,
        place: ImportPlace,
        seen: &mut Seen,
    ) -> Result<Entity, ImportError> {
        let bad = |message: String| ImportError::new(place, message);
        let kind = match &mapping.kind {
            Some(kind) => kind.clone(),
            None => {
                let name = self.text(Field::Kind);
                match (kind_named(&name), name.is_empty()) {
                    (Some(kind), _) => kind,
                    (None, true) => {
                        return Err(bad(
                            "it does not say its kind, and none was given for the file".into()
                        ));
                    }
                    (None, false) => return Err(bad(format!("`{name}` is not a kind the register keeps"))),
                }
            }
        };
        let code: EntityCode = self.text(Field::Code).into();
        let geometry = Geometry::from_json(geometry).map_err(|error| ImportError::of(place, &error))?;
        let geometry = geometry.map(|lon, lat| mapping.crs.to_wgs84(lon, lat));
        let stratum = match self.text(Field::Stratum).as_str() {
            "" => Stratum::default(),
            "above" | "地上" => Stratum::Above,
            "surface" | "地表" | "地面" => Stratum::Surface,
            "below" | "地下" => Stratum::Below,
            other => return Err(bad(format!("`{other}` is not above, surface or below"))),
        };
        let (low, high) = (self.number(Field::ZMin, place)?, self.number(Field::ZMax, place)?);
        let z_range_m = match (self.z_range_m, low, high) {
            (Some(range), ..) => Some(range),
            (None, None, None) => None,
            (None, low, high) => match (low.or(high), high.or(low)) {
                (Some(low), Some(high)) => Some([low, high]),
                _ => None,
            },
        };
        let division = match self.parsed(Field::Division, place)? {
            Some(division) => Some(division),
            None => component_division(&kind, &code).or_else(|| mapping.division.clone()),
        };
        let source = match self.text(Field::Source) {
            own if own.is_empty() => mapping.source.clone(),
            own => own,
        };
        let entity = Entity {
            name: self.text(Field::Name),
            name_en: self.text(Field::NameEn),
            division,
            geometry: geometry.to_json(),
            stratum,
            class: None,
            z_range_m,
            height_datum: None,
            former: Vec::new(),
            valid_from: self.time(Field::ValidFrom, place)?,
            valid_to: self.time(Field::ValidTo, place)?,
            attributes: self.attributes,
            source,
            code,
            kind,
        };
        checked(&entity).map_err(|error| ImportError::of(place, &error))?;
        seen.first(&entity, place)?;
        Ok(entity)
    }
}

impl Seen {
    fn first(&mut self, entity: &Entity, place: ImportPlace) -> Result<(), ImportError> {
        let key = (entity.kind.clone(), entity.code.clone());
        match self.0.insert(key.clone(), place) {
            None => Ok(()),
            Some(before) => {
                self.0.insert(key, before);
                let message = format!("code `{}` was given before, by {before}", entity.code);
                Err(ImportError::new(place, message))
            }
        }
    }
}

/// A component's number begins with its division: 17 digits by GB/T 47678.5, 16 by GB/T 30428.2.
fn component_division(kind: &EntityKind, code: &str) -> Option<DivisionCode> {
    let numbered = matches!(code.len(), 16 | 17) && code.bytes().all(|b| b.is_ascii_digit());
    if *kind != EntityKind::Component || !numbered {
        return None;
    }
    DivisionCode::new(&code[..6]).ok()
}
