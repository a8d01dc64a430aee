//! One row of a file on its way to an entity, whatever the format.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher as _;

use onemap_model::code::{
    CitizenNumber, ClassCode, ComponentNumber, CreditCode, MatterClass, UnitGrid, successor,
};
use onemap_model::hydrology::DatumName;
use onemap_model::{Crs, DivisionCode, Entity, EntityKind, FormerCode, Position, Stratum, Timestamp};
use serde_json::{Map, Value};

use super::field::Field;
use super::{ImportError, ImportPlace, Mapping, PersonRow, Row, Thing};
use crate::register::entity::{check_entity, kind_named};
use crate::register::geometry::{Geometry, GeometryError};

/// An entity's fields as a file gives them.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) fields: BTreeMap<Field, String>,
    pub(super) z_range_m: Option<[f64; 2]>,
    /// All codes of before, as onemap writes them.
    pub(super) former: Option<Vec<FormerCode>>,
    pub(super) attributes: Map<String, Value>,
}

/// Codes met so far in one file, and where. Of each its hash: a city's file has a million codes.
#[derive(Default)]
pub(super) struct Seen {
    hasher: foldhash::quality::RandomState,
    places: HashMap<u64, u32>,
}

impl Draft {
    /// The kind: of the mapping, else of the row.
    pub(super) fn kind(&mut self, mapping: &Mapping, place: ImportPlace) -> Result<EntityKind, ImportError> {
        if let Some(kind) = &mapping.kind {
            return Ok(kind.clone());
        }
        let bad = |message: String| Err(ImportError::new(place, message));
        let name = self.text(Field::Kind);
        match (kind_named(&name), name.as_str()) {
            (Some(kind), _) => Ok(kind),
            (None, "") => bad("it does not say its kind, and none was given for the file".into()),
            (None, _) => bad(format!("`{name}` is not a kind the register keeps")),
        }
    }

    /// The row: an entity checked as the register checks it, its geometry in WGS 84, or a person.
    pub(super) fn row(
        mut self,
        geometry: Option<Result<Geometry, GeometryError>>,
        crs: Crs,
        mapping: &Mapping,
        place: ImportPlace,
        seen: &mut Seen,
    ) -> Result<Row, ImportError> {
        let kind = self.kind(mapping, place)?;
        let of = |error: GeometryError| ImportError::of(place, &error);
        let geometry = match geometry {
            None => None,
            Some(geometry) => {
                let read = geometry.map_err(of)?;
                // What an empty cell becomes, and no place of a city.
                if read.coords().any(|c| c.lon == 0.0 && c.lat == 0.0) {
                    let message = "0, 0 is no position: it is what an empty or unknown one becomes";
                    return Err(ImportError::new(place, message));
                }
                Some(read.read(crs).map_err(of)?)
            }
        };
        let (division, division_name) = self.division(&kind, place)?;
        let thing = match kind {
            EntityKind::Person => {
                Thing::Person(Box::new(self.person(geometry, division, mapping, place, seen)?))
            }
            kind => Thing::Entity(Box::new(
                self.entity(kind, geometry, division, mapping, place, seen)?,
            )),
        };
        Ok(Row {
            place,
            layer: None,
            thing,
            division_name,
        })
    }

    fn entity(
        mut self,
        kind: EntityKind,
        geometry: Option<Geometry>,
        stated: Option<DivisionCode>,
        mapping: &Mapping,
        place: ImportPlace,
        seen: &mut Seen,
    ) -> Result<Entity, ImportError> {
        let bad = |message: String| ImportError::new(place, message);
        let mut code = self.text(Field::Code);
        let mut class = self.class(&kind, place)?;
        let mut division = stated;
        match kind {
            EntityKind::LegalPerson => {
                if let Ok(read) = CreditCode::parse(&code) {
                    code = read.as_str().to_owned();
                }
            }
            EntityKind::Component => {
                if let Ok(number) = ComponentNumber::parse(&code) {
                    class.get_or_insert_with(|| number.class());
                    let own = successor(number.division()).unwrap_or(number.division());
                    division = division.or_else(|| DivisionCode::new(own).ok());
                }
            }
            EntityKind::Division => division = division.or_else(|| DivisionCode::new(&code).ok()),
            _ => {}
        }
        let stratum = match self.text(Field::Stratum).as_str() {
            "" => Stratum::default(),
            "above" | "地上" => Stratum::Above,
            "surface" | "地表" | "地面" => Stratum::Surface,
            "below" | "地下" => Stratum::Below,
            other => return Err(bad(format!("`{other}` is not above, surface or below"))),
        };
        let (low, high) = (self.number(Field::ZMin, place)?, self.number(Field::ZMax, place)?);
        let z_range_m = match (self.z_range_m, low.or(high), high.or(low)) {
            (Some(range), ..) => Some(range),
            (None, Some(low), Some(high)) => Some([low, high]),
            (None, ..) => None,
        };
        let height_datum = self.datum(place)?;
        let heights = geometry.as_ref().and_then(Geometry::heights);
        // Heights of the geometry are the entity's when it is said what they are counted from.
        let z_range_m = z_range_m.or(heights.filter(|_| height_datum.is_some()));
        let (valid_from, valid_to) = (
            self.time(Field::ValidFrom, place)?,
            self.time(Field::ValidTo, place)?,
        );
        let recoded_at = self.time(Field::RecodedAt, place)?;
        let former = match (self.text(Field::FormerCode), recoded_at.or(valid_from)) {
            (former, _) if former.is_empty() => self.former.take().unwrap_or_default(),
            (former, _) if former == code => Vec::new(),
            (former, Some(to)) => vec![FormerCode {
                code: former.into(),
                from: None,
                to,
            }],
            (former, None) => {
                return Err(bad(format!(
                    "it does not say since when it is no longer `{former}` (recoded_at)"
                )));
            }
        };
        let entity = Entity {
            name: self.text(Field::Name),
            name_en: self.text(Field::NameEn),
            division: division.or_else(|| mapping.division.clone()),
            department: self.text(Field::Department).trim().to_owned(),
            geometry: geometry.as_ref().map_or(Value::Null, Geometry::to_json),
            class,
            stratum,
            z_range_m,
            height_datum,
            valid_from,
            valid_to,
            former,
            source: self.source(mapping),
            attributes: self.attributes,
            code: code.into(),
            kind,
        };
        check_entity(&entity).map_err(|error| ImportError::of(place, &error))?;
        seen.first(&entity.kind, &entity.code, place)?;
        Ok(entity)
    }

    fn person(
        mut self,
        geometry: Option<Geometry>,
        division: Option<DivisionCode>,
        mapping: &Mapping,
        place: ImportPlace,
        seen: &mut Seen,
    ) -> Result<PersonRow, ImportError> {
        let text = self.text(Field::Code);
        let number = match text.chars().count() {
            15 => CitizenNumber::from_15(&text),
            _ => CitizenNumber::parse(&text),
        };
        let number = number.map_err(|error| ImportError::of(place, &error))?;
        let position = match geometry {
            None => None,
            Some(Geometry::Point(c)) => Position::new(c.lon, c.lat, None).ok(),
            Some(other) => {
                let message = format!("a person is at a Point, not a {}", other.name());
                return Err(ImportError::new(place, message));
            }
        };
        let unit_grid = match self.text(Field::UnitGrid).as_str() {
            "" => None,
            grid => Some(UnitGrid::parse(grid).map_err(|error| ImportError::of(place, &error))?),
        };
        // The file's own duplicates are told without the number.
        let told = ImportError::new(place, "the number was given before in this file");
        seen.first(&EntityKind::Person, number.reveal(), place)
            .map_err(|_| told)?;
        Ok(PersonRow {
            number,
            position,
            unit_grid,
            division: division.or_else(|| mapping.division.clone()),
            source: self.source(mapping),
        })
    }

    /// Takes what onemap writes into the columns `attributes` and `former`, JSON or the text of it. Says whether it was
    /// that; if not, it is an attribute like any other.
    pub(super) fn take_own(&mut self, name: &str, value: &Value) -> bool {
        let text = |value: &Value| match value {
            Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
            other => other.clone(),
        };
        match name {
            "attributes" => match text(value) {
                Value::Object(own) => {
                    self.attributes.extend(own);
                    true
                }
                _ => false,
            },
            "former" => match serde_json::from_value(text(value)) {
                Ok(former) => {
                    self.former = Some(former);
                    true
                }
                Err(_) => false,
            },
            _ => false,
        }
    }

    pub(super) fn text(&mut self, field: Field) -> String {
        self.fields.remove(&field).unwrap_or_default()
    }

    fn source(&mut self, mapping: &Mapping) -> String {
        match self.text(Field::Source) {
            own if own.is_empty() => mapping.source.clone(),
            own => own,
        }
    }

    /// The division that is stated by code, and the one that is stated by name. A column that should hold codes may
    /// hold names.
    fn division(
        &mut self,
        kind: &EntityKind,
        place: ImportPlace,
    ) -> Result<(Option<DivisionCode>, Option<String>), ImportError> {
        let mut name = Some(self.text(Field::DivisionName)).filter(|name| !name.is_empty());
        let code = match self.text(Field::Division).as_str() {
            "" => None,
            text if !text.is_ascii() => {
                name = Some(text.to_owned());
                None
            }
            text => Some(DivisionCode::new(text).map_err(|error| ImportError::of(place, &error))?),
        };
        // A division is its own division: what its row says beside is the one above it.
        match kind {
            EntityKind::Division => Ok((None, None)),
            _ => Ok((code, name)),
        }
    }

    fn class(&mut self, kind: &EntityKind, place: ImportPlace) -> Result<Option<ClassCode>, ImportError> {
        let text = self.text(Field::Class);
        if text.chars().any(|c| !(c.is_ascii_digit() || c == '-')) {
            // Somebody's own word.
            self.attributes.insert("class".to_owned(), text.into());
            return Ok(None);
        }
        let read = match text.len() {
            0 => return Ok(None),
            10 | 11 if *kind == EntityKind::Event => MatterClass::parse(&text).map(|matter| matter.class()),
            _ => ClassCode::parse(&text),
        };
        match kind {
            EntityKind::Component | EntityKind::Event => {
                read.map(Some).map_err(|error| ImportError::of(place, &error))
            }
            _ => {
                self.attributes.insert("class".to_owned(), text.into());
                Ok(None)
            }
        }
    }

    fn datum(&mut self, place: ImportPlace) -> Result<Option<DatumName>, ImportError> {
        match self.text(Field::HeightDatum) {
            text if text.is_empty() => Ok(None),
            text => serde_json::from_value(Value::String(text.clone()))
                .map(Some)
                .map_err(|_| {
                    ImportError::new(
                        place,
                        format!(
                            "`{text}` is not a height datum (1985国家高程基准, 黄海, 吴淞, 大沽, 珠江, 假定)"
                        ),
                    )
                }),
        }
    }

    pub(super) fn number(&mut self, field: Field, place: ImportPlace) -> Result<Option<f64>, ImportError> {
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

    /// RFC 3339, or a day (`2026-07-01`, `20260701`), which begins at midnight in Beijing.
    fn time(&mut self, field: Field, place: ImportPlace) -> Result<Option<Timestamp>, ImportError> {
        let Some(text) = self.fields.remove(&field) else {
            return Ok(None);
        };
        let bytes = text.as_bytes();
        let is_digits = |range: std::ops::Range<usize>| bytes[range].iter().all(u8::is_ascii_digit);
        let day = match bytes.len() {
            8 if is_digits(0..8) => Some(format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..])),
            10 if is_digits(0..4) && bytes[4] == b'-' && bytes[7] == b'-' => Some(text.clone()),
            _ => None,
        };
        let whole = day.map_or(text, |day| format!("{day}T00:00:00+08:00"));
        Timestamp::parse(&whole)
            .map(Some)
            .map_err(|error| ImportError::of(place, &error))
    }
}

impl Seen {
    fn first(&mut self, kind: &EntityKind, code: &str, place: ImportPlace) -> Result<(), ImportError> {
        let key = self.hasher.hash_one((kind, code));
        let number = match place {
            ImportPlace::Line(n) | ImportPlace::Feature(n) => n as u32,
            ImportPlace::Row(n) => n as u32,
        };
        let Some(before) = self.places.get(&key) else {
            self.places.insert(key, number);
            return Ok(());
        };
        let before = match place {
            ImportPlace::Line(_) => ImportPlace::Line(*before as usize),
            ImportPlace::Feature(_) => ImportPlace::Feature(*before as usize),
            ImportPlace::Row(_) => ImportPlace::Row(i64::from(*before)),
        };
        let message = format!("code `{code}` was given before, by {before}");
        Err(ImportError::new(place, message))
    }
}
