//! Everything on the one map that is not a device.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::code::ClassCode;
use crate::hydrology::DatumName;
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
