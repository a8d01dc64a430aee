//! Everything on the one map that is not a device.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::value::{Error as NameError, StrDeserializer};
use serde::de::{Error as _, IntoDeserializer as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::code::ClassCode;
use crate::hydrology::DatumName;
use crate::scope::{Belongs, Owner};
use crate::{DivisionCode, Timestamp};

/// What a thing on the map is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum EntityKind {
    /// Province to community; its code is the division code.
    Division,
    /// Responsibility grid 责任网格.
    Grid,
    Address,
    Place,
    /// Keyed pseudonym only; never in a plain query.
    Person,
    LegalPerson,
    /// City component 部件.
    Component,
    Event,
    Hazard,
    Reach,
    Pipe,
    Road,
    Water,
    /// Ground whose moving devices are told of: who comes in, leaves and stays ([`crate::fence`]).
    Fence,
}

impl EntityKind {
    /// Whether it is geography, which belongs to no department: who may see it is said by its division alone.
    pub fn is_ground(&self) -> bool {
        use EntityKind as K;
        match self {
            K::Division | K::Grid | K::Address | K::Place | K::Road | K::Water => true,
            K::Person
            | K::LegalPerson
            | K::Component
            | K::Event
            | K::Hazard
            | K::Reach
            | K::Pipe
            | K::Fence => false,
        }
    }

    /// Whose a thing of this kind is that states this department.
    pub fn owner<'a>(&self, department: &'a str) -> Owner<'a> {
        match self.is_ground() {
            true => Owner::Ground,
            false => Owner::Department(department),
        }
    }

    /// Its name, as in JSON and in `/api/v1/…?kind=`.
    pub fn name(&self) -> &'static str {
        use EntityKind as K;
        match self {
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
            K::Fence => "fence",
        }
    }
}

/// Above, on or below the ground (地上、地表、地下).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Stratum {
    Above,
    #[default]
    Surface,
    Below,
}

/// The code of an entity, unique with its kind.
pub type EntityCode = Arc<str>;

/// Longest code of an entity, bytes.
pub const MAX_CODE: usize = 1024;

/// Which entity: its kind and its code, written `component/63010201037000012`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityRef {
    /// What it is; never a person.
    pub kind: EntityKind,
    /// Its code, which may hold slashes itself.
    pub code: EntityCode,
}

/// Why a text names no entity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntityRefError {
    /// No slash stands in it.
    #[error("an entity is named by kind and code, as component/63010201037000012")]
    NoKind,
    /// What stands before the slash is no kind.
    #[error("`{0}` is no kind of entity")]
    Kind(String),
    /// Persons are not on the map.
    #[error("persons are not on the map")]
    Person,
    /// The code is empty, longer than [`MAX_CODE`] or holds control characters.
    #[error("the code of an entity has 1 to {MAX_CODE} bytes and no control characters")]
    Code,
}

impl FromStr for EntityRef {
    type Err = EntityRefError;

    fn from_str(text: &str) -> Result<Self, EntityRefError> {
        let (kind, code) = text.split_once('/').ok_or(EntityRefError::NoKind)?;
        let read: StrDeserializer<'_, NameError> = kind.into_deserializer();
        let kind = EntityKind::deserialize(read)
            .map_err(|_| EntityRefError::Kind(kind.chars().take(32).collect()))?;
        if kind == EntityKind::Person {
            return Err(EntityRefError::Person);
        }
        if code.is_empty() || code.len() > MAX_CODE || code.chars().any(char::is_control) {
            return Err(EntityRefError::Code);
        }
        Ok(Self {
            kind,
            code: code.into(),
        })
    }
}

impl fmt::Display for EntityRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.kind.name(), self.code))
    }
}

impl Serialize for EntityRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EntityRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// Most former codes of one entity.
pub const MAX_FORMER: usize = 64;

/// A code that an entity had before it got another; it is still found by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FormerCode {
    /// The code.
    pub code: EntityCode,
    /// Since when it had it, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// When it got the next one.
    pub to: Timestamp,
}

/// One thing on the map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entity {
    /// Its code.
    pub code: EntityCode,
    /// What it is.
    pub kind: EntityKind,
    /// Name, Chinese first.
    pub name: String,
    /// English name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name_en: String,
    /// The division it belongs to; found from the geometry when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub division: Option<DivisionCode>,
    /// The department that owns it or answers for it (主管部门); empty when it has none. Of geography
    /// ([`EntityKind::is_ground`]) it says nothing of who may see it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub department: String,
    /// GeoJSON geometry in WGS 84 (RFC 7946); `null` when nobody knows where it is.
    #[serde(default)]
    pub geometry: serde_json::Value,
    /// Major and minor class: of a component, of the matter of an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<ClassCode>,
    /// Above, on or below the ground.
    #[serde(default)]
    pub stratum: Stratum,
    /// Lowest and highest height in metres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub z_range_m: Option<[f64; 2]>,
    /// What `z_range_m` and the heights of the geometry are counted from, if the source says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height_datum: Option<DatumName>,
    /// Valid from, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Timestamp>,
    /// Valid until, if it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<Timestamp>,
    /// Codes it had before, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<FormerCode>,
    /// Other attributes as the source gave them.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub attributes: serde_json::Map<String, serde_json::Value>,
    /// Where it comes from and how far it can be trusted (示意, GeoNames …).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}

impl Entity {
    /// To whom it belongs; `division` is where it lies, as stated or found from its geometry.
    pub fn belongs<'a>(&'a self, division: Option<&'a DivisionCode>) -> Belongs<'a> {
        Belongs {
            division,
            owner: self.kind.owner(&self.department),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_is_named_by_kind_and_code() {
        for text in [
            "component/63010201037000012",
            "reach/湟水/西宁段",
            "legal_person/91630100MA752XXL0X",
        ] {
            let named: EntityRef = text.parse().expect(text);
            assert_eq!(named.to_string(), text);
            assert_eq!(serde_json::json!(named), text);
            let back: EntityRef = serde_json::from_value(text.into()).expect(text);
            assert_eq!(back, named);
            assert_eq!(serde_json::json!(named.kind), named.kind.name());
        }
        let long = format!("place/{}", "x".repeat(MAX_CODE + 1));
        for (text, error) in [
            ("63010201037000012", EntityRefError::NoKind),
            ("lamp/1", EntityRefError::Kind("lamp".to_owned())),
            ("/1", EntityRefError::Kind(String::new())),
            ("person/p", EntityRefError::Person),
            ("place/", EntityRefError::Code),
            ("place/a\nb", EntityRefError::Code),
            (&long, EntityRefError::Code),
        ] {
            assert_eq!(text.parse::<EntityRef>(), Err(error), "{text:.40}");
        }
    }
}
