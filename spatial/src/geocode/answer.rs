//! What is answered to an address.

use std::sync::Arc;

use onemap_model::DivisionCode;
use serde_json::{Map, Value, json};

/// How far down an address was understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing in the text is known.
    Unknown,
    /// Province.
    Province,
    /// City or prefecture.
    City,
    /// District or county.
    District,
    /// Street 街道, town or township.
    Town,
    /// Community or village.
    Community,
    /// A road, without a house.
    Road,
    /// Where two roads cross.
    Intersection,
    /// A house number that is not held, between those that are.
    Interpolated,
    /// A named place or estate.
    Place,
    /// A building of an estate.
    Building,
    /// A house number that is held.
    Door,
}

impl Level {
    /// Its name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Province => "province",
            Self::City => "city",
            Self::District => "district",
            Self::Town => "town",
            Self::Community => "community",
            Self::Road => "road",
            Self::Intersection => "intersection",
            Self::Interpolated => "interpolated",
            Self::Place => "place",
            Self::Building => "building",
            Self::Door => "door",
        }
    }
}

/// Another thing that may have been meant.
#[derive(Clone, Debug, PartialEq)]
pub struct Alternative {
    /// Code in the register; empty when only its doors are known.
    pub code: Arc<str>,
    /// The register has it by this code; else it is of the names that are shipped.
    pub held: bool,
    /// Its name.
    pub name: String,
    /// What it is: a division's level, road, place or door.
    pub level: Level,
    /// Where it lies.
    pub division: Option<DivisionCode>,
    /// Names of its divisions, province first, joined.
    pub division_name: String,
    /// Longitude and latitude, WGS 84 degrees.
    pub position: Option<[f64; 2]>,
    /// 0..1.
    pub confidence: f64,
}

/// A piece of the text and what it was read as.
#[derive(Clone, Debug, PartialEq)]
pub struct Matched {
    /// As written after normalisation.
    pub text: String,
    /// `province` … `community`, `road`, `place` or `number`.
    pub kind: &'static str,
}

/// The answer to one address. There always is one; how far it goes stands in [`Answer::level`].
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// How far down the address was understood.
    pub level: Level,
    /// How likely the answer is right at its level, 0..1.
    pub confidence: f64,
    /// Code of what was found in the register; `None` when several bear the name, and for crossings.
    pub code: Option<Arc<str>>,
    /// Whether the register has it by this code; `Some(false)`: it is of the names that are shipped. `None` without a code.
    pub held: Option<bool>,
    /// Its name.
    pub name: String,
    /// The whole address as it is understood.
    pub address: String,
    /// Longitude and latitude, WGS 84 degrees; `None` when it is not known or several may be meant.
    pub position: Option<[f64; 2]>,
    /// Metres within which what is meant lies around the position.
    pub precision_m: Option<f64>,
    /// The division it lies in, as fine as it is known.
    pub division: Option<DivisionCode>,
    /// Whether the register has this division. `None` without one.
    pub division_held: Option<bool>,
    /// Names of the divisions, province first, joined.
    pub division_name: String,
    /// House number, building, unit, floor, room and village group, as far as the text names them.
    pub parts: Vec<(&'static str, String)>,
    /// What was understood.
    pub matched: Vec<Matched>,
    /// What was not understood, or is no address.
    pub ignored: Vec<String>,
    /// The name that was taken for what is written, when the two differ.
    pub corrected: Option<String>,
    /// Several things may be meant and nothing in the text decides.
    pub ambiguous: bool,
    /// What else may be meant, likeliest first; of an ambiguous answer, all of them.
    pub alternatives: Vec<Alternative>,
    /// Why the answer does not go further, or is not surer: `district_differs`, `resembles`, `tail_unknown`,
    /// `number_unknown`, `road_unknown`, `several_districts`, `several_addresses`, `ambiguous`, `roads_do_not_meet`,
    /// `elsewhere`, `nothing_known`.
    pub because: Vec<&'static str>,
}

fn position(at: Option<[f64; 2]>) -> Value {
    at.map_or(
        Value::Null,
        |[lon, lat]| json!({"lon": rounded(lon, 1e7), "lat": rounded(lat, 1e7)}),
    )
}

fn rounded(n: f64, unit: f64) -> f64 {
    (n * unit).round() / unit
}

impl Alternative {
    /// As JSON.
    pub fn to_json(&self) -> Value {
        json!({
            "code": (!self.code.is_empty()).then_some(&*self.code),
            "held": (!self.code.is_empty()).then_some(self.held),
            "name": self.name,
            "level": self.level.name(),
            "division": self.division.as_ref().map(DivisionCode::as_str),
            "division_name": self.division_name,
            "position": position(self.position),
            "confidence": rounded(self.confidence, 1e2),
        })
    }
}

impl Answer {
    /// As JSON; keys are stated in docs/geocoding.md.
    pub fn to_json(&self) -> Value {
        let parts: Map<String, Value> = self
            .parts
            .iter()
            .map(|(k, v)| ((*k).to_owned(), json!(v)))
            .collect();
        let matched: Vec<Value> = self
            .matched
            .iter()
            .map(|m| json!({"text": m.text, "kind": m.kind}))
            .collect();
        let alternatives: Vec<Value> = self.alternatives.iter().map(Alternative::to_json).collect();
        json!({
            "level": self.level.name(),
            "confidence": rounded(self.confidence, 1e2),
            "code": self.code.as_deref().filter(|code| !code.is_empty()),
            "held": self.held,
            "name": self.name,
            "address": self.address,
            "position": position(self.position),
            "precision_m": self.precision_m.map(|m| rounded(m, 1e1)),
            "division": self.division.as_ref().map(DivisionCode::as_str),
            "division_held": self.division_held,
            "division_name": self.division_name,
            "parts": parts,
            "matched": matched,
            "ignored": self.ignored,
            "corrected": self.corrected,
            "ambiguous": self.ambiguous,
            "alternatives": alternatives,
            "because": self.because,
        })
    }
}
