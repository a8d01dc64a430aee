//! Fences (电子围栏): what an entity of that kind wants, and what moving devices did at one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::alert::hash_id;
use crate::{DeviceId, DivisionCode, EntityCode, Position, Timestamp};

/// Most kinds of devices that one fence names.
pub const MAX_KINDS: usize = 64;
/// Longest name of a kind, bytes.
const MAX_KIND_BYTES: usize = 64;
/// Longest dwell time: 30 days in seconds.
pub const MAX_DWELL_S: f64 = 2_592_000.0;
/// Widest hysteresis, metres.
pub const MAX_HYSTERESIS_M: f64 = 10_000.0;

/// What a fence wants, from the attributes of its entity.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FenceRules {
    /// Which kinds of devices it is for (`device_kinds`); empty: all of them.
    pub device_kinds: Vec<String>,
    /// How long a stay lasts that is told of (`dwell_s`), seconds above 0; `None` when no stay is.
    pub dwell_s: Option<f64>,
    /// How far from it a device must be to have left (`hysteresis_m`), metres; 0 when the border is enough.
    pub hysteresis_m: f64,
}

/// An attribute of a fence that is not what it has to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FenceError {
    /// Not a list of kinds.
    #[error(
        "device_kinds is a list of 1 to {MAX_KINDS} kinds of devices, each once and of 1 to {MAX_KIND_BYTES} bytes"
    )]
    Kinds,
    /// Not a dwell time.
    #[error("dwell_s is a number of seconds above 0 and at most {MAX_DWELL_S}")]
    Dwell,
    /// Not a hysteresis.
    #[error("hysteresis_m is a number of metres from 0 to {MAX_HYSTERESIS_M}")]
    Hysteresis,
}

impl FenceRules {
    /// Reads the attributes of a fence; others than its three are the owner's own and not looked at.
    ///
    /// # Errors
    /// See [`FenceError`].
    pub fn of(attributes: &Map<String, Value>) -> Result<Self, FenceError> {
        let stated = |name: &str| attributes.get(name).filter(|value| !value.is_null());
        let device_kinds = match stated("device_kinds") {
            None => Vec::new(),
            Some(Value::Array(kinds)) if (1..=MAX_KINDS).contains(&kinds.len()) => {
                let mut read: Vec<String> = Vec::with_capacity(kinds.len());
                for kind in kinds {
                    match kind.as_str() {
                        Some(kind)
                            if (1..=MAX_KIND_BYTES).contains(&kind.len())
                                && !read.iter().any(|k| k == kind) =>
                        {
                            read.push(kind.to_owned());
                        }
                        _ => return Err(FenceError::Kinds),
                    }
                }
                read
            }
            Some(_) => return Err(FenceError::Kinds),
        };
        let dwell_s = match stated("dwell_s") {
            None => None,
            Some(value) => match value.as_f64() {
                // Times are whole milliseconds.
                Some(s) if (0.001..=MAX_DWELL_S).contains(&s) => Some(s),
                _ => return Err(FenceError::Dwell),
            },
        };
        let hysteresis_m = match stated("hysteresis_m") {
            None => 0.0,
            Some(value) => match value.as_f64() {
                Some(m) if (0.0..=MAX_HYSTERESIS_M).contains(&m) => m,
                _ => return Err(FenceError::Hysteresis),
            },
        };
        Ok(Self {
            device_kinds,
            dwell_s,
            hysteresis_m,
        })
    }

    /// The dwell time in milliseconds.
    pub fn dwell_ms(&self) -> Option<i64> {
        self.dwell_s.map(|s| (s * 1000.0).round() as i64)
    }

    /// Whether it is for devices of a kind.
    pub fn is_for(&self, kind: &str) -> bool {
        self.device_kinds.is_empty() || self.device_kinds.iter().any(|own| own == kind)
    }
}

/// What a device did at a fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FenceEdge {
    /// It left: not covered, and farther away than the hysteresis.
    Exit,
    /// It came in; the border belongs to the fence.
    Enter,
    /// It has stayed for the dwell time.
    Dwell,
}

impl FenceEdge {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Enter, Self::Exit, Self::Dwell];

    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enter => "enter",
            Self::Exit => "exit",
            Self::Dwell => "dwell",
        }
    }
}

impl fmt::Display for FenceEdge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for FenceEdge {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter();
        all.find(|edge| edge.name() == text)
            .ok_or_else(|| "kinds of fence events are enter, exit, dwell".to_owned())
    }
}

hash_id! {
    /// One event at a fence: hash of fence, device, sequence and edge. The same journal gives the same ids, so
    /// delivery can repeat without harm.
    FenceEventId
}

impl FenceEventId {
    /// The id of the event of a device that has this number among its events.
    pub fn at(fence: &str, device: &DeviceId, sequence: u64, edge: FenceEdge) -> Self {
        Self::of(&[
            b"fence",
            fence.as_bytes(),
            device.as_str().as_bytes(),
            &sequence.to_le_bytes(),
            edge.name().as_bytes(),
        ])
    }
}

/// A moving device came in, left or stayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FenceEvent {
    /// Its id.
    pub id: FenceEventId,
    /// What the device did.
    pub kind: FenceEdge,
    /// The fence.
    pub fence: EntityCode,
    /// The device.
    pub device: DeviceId,
    /// Counts the events of the device, from 1 without gaps.
    pub sequence: u64,
    /// Time of the sighting that showed it.
    pub at: Timestamp,
    /// Place of that sighting.
    pub place: Position,
    /// When that sighting arrived.
    pub received_at: Timestamp,
    /// Journal position of the frame that completed the sighting.
    pub position: u64,
    /// The fence's division then.
    pub division: Option<DivisionCode>,
    /// The device's division then, by the register.
    pub device_division: Option<DivisionCode>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn rules(attributes: Value) -> Result<FenceRules, FenceError> {
        FenceRules::of(attributes.as_object().unwrap())
    }

    #[test]
    fn attributes_are_read_or_refused_by_name() {
        let all =
            rules(json!({"device_kinds": ["truck", "bus"], "dwell_s": 90.5, "hysteresis_m": 30, "note": 1}));
        let all = all.unwrap();
        assert_eq!(all.dwell_ms(), Some(90_500));
        assert!(all.is_for("bus") && !all.is_for("car") && all.hysteresis_m == 30.0);
        let none = rules(json!({"dwell_s": null})).unwrap();
        assert!(none == FenceRules::default() && none.is_for("car"));
        use FenceError as E;
        for (attributes, fault) in [
            (json!({"device_kinds": "truck"}), E::Kinds),
            (json!({"device_kinds": []}), E::Kinds),
            (json!({"device_kinds": ["a", "a"]}), E::Kinds),
            (json!({"device_kinds": [""]}), E::Kinds),
            (json!({"device_kinds": vec!["k"; 65]}), E::Kinds),
            (json!({"dwell_s": 0}), E::Dwell),
            (json!({"dwell_s": "60"}), E::Dwell),
            (json!({"dwell_s": 1e9}), E::Dwell),
            (json!({"hysteresis_m": -1}), E::Hysteresis),
            (json!({"hysteresis_m": 10_001}), E::Hysteresis),
            (json!({"hysteresis_m": "wide"}), E::Hysteresis),
        ] {
            assert_eq!(rules(attributes.clone()), Err(fault), "{attributes}");
        }
    }

    #[test]
    fn ids_tell_events_apart_and_edges_read_back() {
        let device = DeviceId::new("truck-1").unwrap();
        let id = |fence, sequence, edge| FenceEventId::at(fence, &device, sequence, edge);
        let one = id("F1", 1, FenceEdge::Enter);
        assert_eq!(one, id("F1", 1, FenceEdge::Enter));
        for other in [
            id("F2", 1, FenceEdge::Enter),
            id("F1", 2, FenceEdge::Enter),
            id("F1", 1, FenceEdge::Exit),
        ] {
            assert_ne!(one, other);
        }
        for edge in FenceEdge::ALL {
            assert_eq!(edge.name().parse(), Ok(edge));
        }
        assert!("left".parse::<FenceEdge>().is_err());
    }
}
