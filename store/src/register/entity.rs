//! Which entities may enter the register.
//!
//! Checked before a change reaches the journal, so that every projection can take what the journal
//! holds.

use onemap_model::place::DivisionError;
use onemap_model::{DivisionCode, Entity, EntityKind, Timestamp};

use super::geometry::{Geometry, GeometryError};

/// Longest code and name of an entity, bytes.
const MAX_TEXT: usize = 1024;
/// 0001-01-01 and 9999-12-31T23:59:59.999Z: what an ISO 8601 text of four-digit years can say.
const TIMES_MS: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

/// Why an entity cannot enter the register.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EntityError {
    /// Persons are not kept in the register.
    #[error("persons are not kept in the register")]
    Person,
    /// The code is empty, too long, or holds a control character.
    #[error("an entity's code has 1 to {MAX_TEXT} bytes and no control characters")]
    Code,
    /// A name is too long.
    #[error("an entity's name has at most {MAX_TEXT} bytes")]
    Name,
    /// A division's code must be a division code.
    #[error("the code of a division is its division code")]
    DivisionCode(#[source] DivisionError),
    /// The geometry is not sound.
    #[error("the geometry of `{code}` is not sound")]
    Geometry {
        /// The entity's code.
        code: String,
        /// What is wrong.
        #[source]
        source: GeometryError,
    },
    /// A kind cannot have a geometry of this type.
    #[error("a {kind} is not drawn as a {geometry}")]
    Fit {
        /// The kind's name.
        kind: &'static str,
        /// GeoJSON's name of the type.
        geometry: &'static str,
    },
    /// Heights are not finite or upside down.
    #[error("z_range_m is [lowest, highest], both finite")]
    Heights,
    /// Validity ends before it begins, or lies outside the years 1 to 9999.
    #[error("validity ends before it begins or lies outside the years 1 to 9999")]
    Validity,
}

/// Checks that an entity may enter the register.
///
/// # Errors
/// See [`EntityError`].
pub fn check_entity(entity: &Entity) -> Result<(), EntityError> {
    checked(entity).map(|_| ())
}

/// Checks an entity and gives its geometry.
pub(crate) fn checked(entity: &Entity) -> Result<Geometry, EntityError> {
    if entity.kind == EntityKind::Person {
        return Err(EntityError::Person);
    }
    if entity.code.is_empty() || entity.code.len() > MAX_TEXT || entity.code.chars().any(char::is_control) {
        return Err(EntityError::Code);
    }
    if entity.name.len() > MAX_TEXT || entity.name_en.len() > MAX_TEXT {
        return Err(EntityError::Name);
    }
    if entity.kind == EntityKind::Division {
        DivisionCode::new(&entity.code).map_err(EntityError::DivisionCode)?;
    }
    if let Some([low, high]) = entity.z_range_m
        && !(low.is_finite() && high.is_finite() && low <= high)
    {
        return Err(EntityError::Heights);
    }
    let within = |t: Option<Timestamp>| t.is_none_or(|t| TIMES_MS.contains(&t.ms()));
    let ordered = entity
        .valid_from
        .zip(entity.valid_to)
        .is_none_or(|(from, to)| from <= to);
    if !(within(entity.valid_from) && within(entity.valid_to) && ordered) {
        return Err(EntityError::Validity);
    }
    let geometry = Geometry::from_json(&entity.geometry).map_err(|source| EntityError::Geometry {
        code: entity.code.chars().take(64).collect(),
        source,
    })?;
    if !fits(&entity.kind, &geometry) {
        return Err(EntityError::Fit {
            kind: kind_name(&entity.kind),
            geometry: geometry.name(),
        });
    }
    Ok(geometry)
}

/// Whether things of a kind can be drawn so: divisions and grids cover ground, pipes run, water and
/// roads run or cover ground, addresses and legal persons sit somewhere; the rest may have any shape.
fn fits(kind: &EntityKind, geometry: &Geometry) -> bool {
    use EntityKind as K;
    let (line, area) = match geometry {
        Geometry::LineString(_) | Geometry::MultiLineString(_) => (true, false),
        Geometry::Polygon(_) | Geometry::MultiPolygon(_) => (false, true),
        Geometry::Point(_) | Geometry::MultiPoint(_) => (false, false),
    };
    match kind {
        K::Division | K::Grid => area,
        K::Pipe => line,
        K::Reach | K::Road | K::Water => line || area,
        K::Address | K::LegalPerson => !line,
        K::Place | K::Component | K::Event | K::Hazard => true,
        K::Person => false,
    }
}

/// The kind's name as the register and the API write it.
pub(crate) fn kind_name(kind: &EntityKind) -> &'static str {
    use EntityKind as K;
    match kind {
        K::Division => "division",
        K::Grid => "grid",
        K::Address => "address",
        K::Place => "place",
        K::Person => "person",
        K::LegalPerson => "legal_person",
        K::Component => "component",
        K::Event => "event",
        K::Hazard => "hazard",
        K::Reach => "reach",
        K::Pipe => "pipe",
        K::Road => "road",
        K::Water => "water",
    }
}

/// Every kind that has a place in the register.
pub(crate) const KINDS: [EntityKind; 12] = [
    EntityKind::Division,
    EntityKind::Grid,
    EntityKind::Address,
    EntityKind::Place,
    EntityKind::LegalPerson,
    EntityKind::Component,
    EntityKind::Event,
    EntityKind::Hazard,
    EntityKind::Reach,
    EntityKind::Pipe,
    EntityKind::Road,
    EntityKind::Water,
];

/// The kind of a name that [`kind_name`] gives; persons have none here.
pub(crate) fn kind_named(name: &str) -> Option<EntityKind> {
    KINDS.into_iter().find(|kind| kind_name(kind) == name)
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    pub(crate) fn entity(kind: EntityKind, code: &str, geometry: serde_json::Value) -> Entity {
        serde_json::from_value(json!({
            "code": code, "kind": kind, "name": format!("名 {code}"), "geometry": geometry,
        }))
        .unwrap()
    }

    pub(crate) fn shapes() -> [serde_json::Value; 6] {
        let ring = json!([[101.0, 36.0], [102.0, 36.0], [102.0, 37.0], [101.0, 36.0]]);
        [
            json!({"type":"Point","coordinates":[101.78, 36.62, 2260.5]}),
            json!({"type":"MultiPoint","coordinates":[[101.78, 36.62], [101.79, 36.62]]}),
            json!({"type":"LineString","coordinates":[[101.78, 36.62], [101.79, 36.62]]}),
            json!({"type":"MultiLineString","coordinates":[[[101.78, 36.62], [101.79, 36.62]]]}),
            json!({"type":"Polygon","coordinates":[ring]}),
            json!({"type":"MultiPolygon","coordinates":[[ring]]}),
        ]
    }

    #[test]
    fn kinds_are_named_as_in_their_json() {
        for kind in KINDS {
            assert_eq!(json!(kind), json!(kind_name(&kind)));
            assert_eq!(kind_named(kind_name(&kind)), Some(kind));
        }
        assert_eq!(json!(EntityKind::Person), "person");
        assert_eq!(kind_named("person"), None);
    }

    #[test]
    fn a_kind_takes_the_shapes_that_fit_it() {
        // Columns: point, multi-point, line, multi-line, polygon, multi-polygon.
        for (kind, fit) in [
            (EntityKind::Division, "....##"),
            (EntityKind::Grid, "....##"),
            (EntityKind::Address, "##..##"),
            (EntityKind::Place, "######"),
            (EntityKind::LegalPerson, "##..##"),
            (EntityKind::Component, "######"),
            (EntityKind::Event, "######"),
            (EntityKind::Hazard, "######"),
            (EntityKind::Reach, "..####"),
            (EntityKind::Pipe, "..##.."),
            (EntityKind::Road, "..####"),
            (EntityKind::Water, "..####"),
            (EntityKind::Person, "......"),
        ] {
            for (shape, expected) in shapes().into_iter().zip(fit.chars()) {
                let checked = check_entity(&entity(kind.clone(), "630102", shape));
                assert_eq!(checked.is_ok(), expected == '#', "{kind:?}: {checked:?}");
            }
        }
    }

    #[test]
    fn what_is_wrong_has_a_name() {
        let good = entity(EntityKind::Place, "p1", shapes()[0].clone());
        let with = |change: fn(&mut Entity)| {
            let mut entity = good.clone();
            change(&mut entity);
            check_entity(&entity)
        };
        assert_eq!(with(|_| ()), Ok(()));
        assert_eq!(with(|e| e.kind = EntityKind::Person), Err(EntityError::Person));
        assert_eq!(with(|e| e.code = "".into()), Err(EntityError::Code));
        assert_eq!(with(|e| e.code = "a\nb".into()), Err(EntityError::Code));
        assert_eq!(with(|e| e.name = "名".repeat(400)), Err(EntityError::Name));
        assert_eq!(
            with(|e| e.z_range_m = Some([2.0, 1.0])),
            Err(EntityError::Heights)
        );
        assert_eq!(
            with(|e| e.z_range_m = Some([f64::NAN, 1.0])),
            Err(EntityError::Heights)
        );
        assert_eq!(
            with(|e| e.valid_to = Some(Timestamp::from_ms(i64::MAX))),
            Err(EntityError::Validity)
        );
        let backwards = |e: &mut Entity| {
            e.valid_from = Some(Timestamp::from_ms(2));
            e.valid_to = Some(Timestamp::from_ms(1));
        };
        assert_eq!(with(backwards), Err(EntityError::Validity));
        let division = entity(EntityKind::Division, "城东", shapes()[4].clone());
        assert!(matches!(
            check_entity(&division),
            Err(EntityError::DivisionCode(_))
        ));
    }
}
