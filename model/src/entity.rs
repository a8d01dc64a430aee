//! Everything on the one map that is not a device.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

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
    /// GeoJSON geometry in WGS 84 (RFC 7946).
    pub geometry: serde_json::Value,
    /// Above, on or below the ground.
    #[serde(default)]
    pub stratum: Stratum,
    /// Lowest and highest height in metres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub z_range_m: Option<[f64; 2]>,
    /// Valid from, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Timestamp>,
    /// Valid until, if it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<Timestamp>,
    /// Other attributes as the source gave them.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub attributes: serde_json::Map<String, serde_json::Value>,
    /// Where it comes from and how far it can be trusted (示意, GeoNames …).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}
