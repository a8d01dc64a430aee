//! Which entities may enter the register.
//!
//! Checked before a change reaches the journal, so that every projection can take what the journal
//! holds.

use onemap_model::code::{ClassKind, CodeError, ComponentNumber, CreditCode, UnitGrid, day};
use onemap_model::entity::MAX_FORMER;
use onemap_model::fence::{FenceError, FenceRules};
use onemap_model::place::DivisionError;
use onemap_model::{DivisionCode, Entity, EntityKind, Timestamp};

use super::crossing::{Crossing, find_crossing};
use super::geometry::{Geometry, GeometryError, MAX_POSITIONS};
use super::nesting::find_misplaced;

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
    /// The code is none of its kind: a check digit, class or division is wrong.
    #[error("the code of this {kind} is not one")]
    Check {
        /// The kind's name.
        kind: &'static str,
        /// What is wrong.
        #[source]
        source: CodeError,
    },
    /// The code is right but written in another way than the register keeps it.
    #[error("the code of this {kind} is written `{canonical}`")]
    Spelling {
        /// The kind's name.
        kind: &'static str,
        /// As it is to be written.
        canonical: String,
    },
    /// Its class is in no catalogue, or not the one in its number.
    #[error("the class of this {kind} is not right")]
    Class {
        /// The kind's name.
        kind: &'static str,
        /// What is wrong.
        #[source]
        source: CodeError,
    },
    /// The class that is stated is not the one in the number.
    #[error("its number says class {number}, its class is {class}")]
    OtherClass {
        /// In the number.
        number: String,
        /// As stated.
        class: String,
    },
    /// Only components and events have a class.
    #[error("a {kind} has no class")]
    Classless {
        /// The kind's name.
        kind: &'static str,
    },
    /// Former codes are its own, empty, too many, or end before they begin.
    #[error("former codes are at most {MAX_FORMER} other codes, none ending before it began")]
    Former,
    /// The lines of its rings cross.
    #[error("the rings of `{code}` are not simple")]
    Crossing {
        /// The entity's code.
        code: String,
        /// Where.
        #[source]
        source: Crossing,
    },
    /// The code is empty, too long, or holds a control character.
    #[error("an entity's code has 1 to {MAX_TEXT} bytes and no control characters")]
    Code,
    /// A name is too long.
    #[error("an entity's name has at most {MAX_TEXT} bytes")]
    Name,
    /// A name holds a control character.
    #[error("an entity's name has no control characters, this one has U+{0:04X}")]
    NameControl(u32),
    /// A department is too long or holds a control character.
    #[error("an entity's department has at most {MAX_TEXT} bytes and no control characters")]
    Department,
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
    /// A fence has no place.
    #[error("a fence has a geometry")]
    FenceNowhere,
    /// An attribute of a fence is not right.
    #[error("an attribute of this fence is not right")]
    Fence(#[source] FenceError),
    /// Validity ends before it begins, or lies outside the years 1 to 9999.
    #[error("validity ends before it begins or lies outside the years 1 to 9999")]
    Validity,
}

/// Checks that an entity may enter the register: what it is made of, its code by its kind, and that its rings do
/// not cross themselves.
///
/// Codes: legal persons have a social credit code; components with 16 or 17 digits a component number of a class
/// and division that there were in the time of the component (other codes are somebody's own); grids with 15
/// digits a unit grid's.
///
/// # Errors
/// See [`EntityError`].
pub fn check_entity(entity: &Entity) -> Result<(), EntityError> {
    let geometry = checked(entity)?;
    check_code(entity)?;
    let mut names = entity.name.chars().chain(entity.name_en.chars());
    if let Some(control) = names.find(|c| c.is_control()) {
        return Err(EntityError::NameControl(u32::from(control)));
    }
    if let Some(n) = geometry.as_ref().map(Geometry::n_positions)
        && n > MAX_POSITIONS
    {
        return Err(EntityError::Geometry {
            code: entity.code.chars().take(64).collect(),
            source: GeometryError::Positions(n),
        });
    }
    if let Some(Err(source)) = geometry
        .as_ref()
        .map(|own| own.is_narrow().and_then(|()| own.has_extent()))
    {
        return Err(EntityError::Geometry {
            code: entity.code.chars().take(64).collect(),
            source,
        });
    }
    match geometry
        .as_ref()
        .map(|area| find_crossing(area).or_else(|| find_misplaced(area)))
    {
        Some(Some(source)) => Err(EntityError::Crossing {
            code: entity.code.chars().take(64).collect(),
            source,
        }),
        _ => Ok(()),
    }
}

fn check_code(entity: &Entity) -> Result<(), EntityError> {
    let kind = entity.kind.name();
    let wrong = |source| EntityError::Check { kind, source };
    let code = &*entity.code;
    let is_digits = code.bytes().all(|b| b.is_ascii_digit());
    if let Some(class) = &entity.class {
        let of = match entity.kind {
            EntityKind::Component => ClassKind::Component,
            EntityKind::Event => ClassKind::Matter,
            _ => return Err(EntityError::Classless { kind }),
        };
        let known = class.entry(of);
        known.map_err(|source| EntityError::Class { kind, source })?;
    }
    match entity.kind {
        EntityKind::Fence => {
            FenceRules::of(&entity.attributes).map_err(EntityError::Fence)?;
            if entity.geometry.is_null() {
                return Err(EntityError::FenceNowhere);
            }
        }
        EntityKind::LegalPerson => {
            let read = CreditCode::parse(code).map_err(wrong)?;
            if read.as_str() != code {
                let canonical = read.as_str().to_owned();
                return Err(EntityError::Spelling { kind, canonical });
            }
        }
        EntityKind::Component if is_digits && matches!(code.len(), 16 | 17) => {
            let number = ComponentNumber::parse(code).map_err(wrong)?;
            let (from, to) = (entity.valid_from.map(day), entity.valid_to.map(day));
            number.held(from, to).map_err(wrong)?;
            if let Some(class) = &entity.class
                && class.as_str() != number.class().as_str()
            {
                return Err(EntityError::OtherClass {
                    number: number.class().to_string(),
                    class: class.to_string(),
                });
            }
        }
        EntityKind::Grid if is_digits && code.len() == 15 => {
            UnitGrid::parse(code).map_err(wrong)?;
        }
        _ => {}
    }
    Ok(())
}

/// Checks what an entity is made of and gives its geometry, if it has one. What the journal holds passes this; rules
/// about codes came later and are looked at where entities come in.
pub(crate) fn checked(entity: &Entity) -> Result<Option<Geometry>, EntityError> {
    if entity.kind == EntityKind::Person {
        return Err(EntityError::Person);
    }
    let is_code =
        |code: &str| !(code.is_empty() || code.len() > MAX_TEXT || code.chars().any(char::is_control));
    if !is_code(&entity.code) {
        return Err(EntityError::Code);
    }
    if entity.name.len() > MAX_TEXT || entity.name_en.len() > MAX_TEXT {
        return Err(EntityError::Name);
    }
    if entity.department.len() > MAX_TEXT || entity.department.chars().any(char::is_control) {
        return Err(EntityError::Department);
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
    let sound = |former: &onemap_model::FormerCode| {
        is_code(&former.code)
            && former.code != entity.code
            && within(former.from)
            && within(Some(former.to))
            && former.from.is_none_or(|from| from <= former.to)
    };
    if entity.former.len() > MAX_FORMER || !entity.former.iter().all(sound) {
        return Err(EntityError::Former);
    }
    if entity.geometry.is_null() {
        return Ok(None);
    }
    let geometry = Geometry::from_json(&entity.geometry).map_err(|source| EntityError::Geometry {
        code: entity.code.chars().take(64).collect(),
        source,
    })?;
    if !fits(&entity.kind, &geometry) {
        return Err(EntityError::Fit {
            kind: entity.kind.name(),
            geometry: geometry.name(),
        });
    }
    Ok(Some(geometry))
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
        K::Division | K::Grid | K::Fence => area,
        K::Pipe => line,
        K::Reach | K::Road | K::Water => line || area,
        K::Address | K::LegalPerson => !line,
        K::Place | K::Component | K::Event | K::Hazard => true,
        K::Person => false,
    }
}

/// Every kind that has a place in the register: all but persons.
pub const KINDS: [EntityKind; 13] = [
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
    EntityKind::Fence,
];

/// The kind of a name; persons have none here.
pub(crate) fn kind_named(name: &str) -> Option<EntityKind> {
    KINDS.into_iter().find(|kind| kind.name() == name)
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
            assert_eq!(json!(kind), json!(kind.name()));
            assert_eq!(kind_named(kind.name()), Some(kind));
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
            (EntityKind::Fence, "....##"),
            (EntityKind::Person, "......"),
        ] {
            for (shape, expected) in shapes().into_iter().zip(fit.chars()) {
                let checked = checked(&entity(kind.clone(), "630102", shape));
                assert_eq!(checked.is_ok(), expected == '#', "{kind:?}: {checked:?}");
            }
        }
    }

    #[test]
    fn codes_are_judged_by_their_kind() {
        let with = |kind: EntityKind, code: &str, change: fn(&mut Entity)| {
            let shape = if kind == EntityKind::Grid { 4 } else { 0 };
            let mut entity = entity(kind, code, shapes()[shape].clone());
            change(&mut entity);
            let chain = |error: EntityError| match std::error::Error::source(&error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            };
            check_entity(&entity).map_err(chain)
        };
        use EntityKind as K;
        let time = |text: &str| Some(Timestamp::parse(text).unwrap());
        assert_eq!(time("2026-07-01T00:00:00+08:00").unwrap().ms(), 1_782_835_200_000);
        const NEW: Timestamp = Timestamp::from_ms(1_782_835_200_000);
        for (kind, code, change) in [
            (K::LegalPerson, "91350100M000100Y43", (|_| ()) as fn(&mut Entity)),
            (K::Component, "63010201037000012", |_| ()),
            (K::Component, "63010201037000012", |e| {
                e.class = Some("01037".parse().unwrap())
            }),
            (K::Component, "63010201037000012", |e| {
                e.valid_from = Some(Timestamp::from_ms(0))
            }),
            (K::Component, "6301020101000012", |e| e.valid_to = Some(NEW)),
            (K::Component, "6301220101000012", |_| ()),
            (K::Component, "F150-64", |_| ()),
            (K::Event, "e1", |e| e.class = Some("06028".parse().unwrap())),
            (K::Grid, "630102001001007", |_| ()),
            (K::Grid, "东区三格", |_| ()),
        ] {
            assert_eq!(with(kind, code, change), Ok(()), "{code}");
        }
        for (kind, code, change, says) in [
            (
                K::LegalPerson,
                "91350100M000100Y44",
                (|_| ()) as fn(&mut Entity),
                "its other characters give `3`",
            ),
            (
                K::LegalPerson,
                "91350100m000100y43",
                |_| (),
                "is written `91350100M000100Y43`",
            ),
            (K::LegalPerson, "630102", |_| (), "has 18 characters, not 6"),
            (
                K::Component,
                "63010201016000012",
                |_| (),
                "no component class 01-016",
            ),
            (
                K::Component,
                "63019901001000012",
                |_| (),
                "no division had the code `630199`",
            ),
            (
                K::Component,
                "63010201037000012",
                |e| e.valid_to = Some(Timestamp::from_ms(NEW.ms() - 1)),
                "17 digits (GB/T 47678.5-2026) were not given on 2026-06-30",
            ),
            (
                K::Component,
                "6301020101000012",
                |e| e.valid_from = Some(NEW),
                "16 digits (GB/T 30428.2-2013) were not given on 2026-07-01",
            ),
            (
                K::Component,
                "63012201001000012",
                |e| e.valid_from = Some(NEW),
                "`630122` in 2026; its place is taken by 630106",
            ),
            (
                K::Component,
                "63010201037000012",
                |e| e.class = Some("01038".parse().unwrap()),
                "says class 01037, its class is 01038",
            ),
            (
                K::Component,
                "x",
                |e| e.class = Some("01016".parse().unwrap()),
                "no component class 01-016",
            ),
            (
                K::Place,
                "x",
                |e| e.class = Some("01037".parse().unwrap()),
                "a place has no class",
            ),
            (K::Grid, "630199001001007", |_| (), "`630199`"),
        ] {
            let message = with(kind, code, change).unwrap_err();
            assert!(message.contains(says), "{code}: {message}");
        }
    }

    #[test]
    fn fences_say_what_they_want_or_are_refused() {
        let good = entity(EntityKind::Fence, "f1", shapes()[4].clone());
        let with = |attributes: serde_json::Value| {
            let mut entity = good.clone();
            entity.attributes = attributes.as_object().unwrap().clone();
            check_entity(&entity)
        };
        let all = json!({"device_kinds": ["water_truck"], "dwell_s": 60, "hysteresis_m": 30, "note": "东区"});
        assert_eq!(with(all), Ok(()));
        let bad = json!({"dwell_s": "60"});
        assert_eq!(with(bad.clone()), Err(EntityError::Fence(FenceError::Dwell)));
        let nowhere = entity(EntityKind::Fence, "f1", serde_json::Value::Null);
        assert_eq!(check_entity(&nowhere), Err(EntityError::FenceNowhere));
    }

    #[test]
    fn a_thing_may_have_no_place_and_rings_may_not_cross() {
        let nowhere = entity(EntityKind::Division, "630102001", serde_json::Value::Null);
        assert_eq!(check_entity(&nowhere), Ok(()));
        let bow = json!({"type": "Polygon", "coordinates": [[[101.0, 36.0], [102.0, 37.0], [102.0, 36.0], [101.0, 37.0], [101.0, 36.0]]]});
        let bow = entity(EntityKind::Place, "x", bow);
        assert!(matches!(check_entity(&bow), Err(EntityError::Crossing { .. })));
        assert!(checked(&bow).is_ok(), "what the journal holds stays");
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
        let former = |e: &mut Entity| {
            e.former = vec![onemap_model::FormerCode {
                code: e.code.clone(),
                from: None,
                to: Timestamp::from_ms(0),
            }];
        };
        assert_eq!(with(former), Err(EntityError::Former));
        let division = entity(EntityKind::Division, "城东", shapes()[4].clone());
        assert!(matches!(
            check_entity(&division),
            Err(EntityError::DivisionCode(_))
        ));
    }
}
