//! Persons, as far as anything of them is kept: a keyed pseudonym, the last four characters of the number, and a
//! piece of ground of about 150 m.
//!
//! The number is checked and turned into the pseudonym where it comes in, before anything is journaled; neither it
//! nor the exact place goes further.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::code::UnitGrid;
use crate::{DivisionCode, Position};

/// A cell's height in degrees: 150 m.
const CELL_LAT_DEG: f64 = 0.001_35;
/// Its width in degrees: 150 m at 36.6 N.
const CELL_LON_DEG: f64 = 0.001_68;

/// What stands for a citizen number: the first 16 bytes of an HMAC-SHA256 under a key of the data folder. Without
/// the key nobody gets from one to the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pseudonym([u8; 16]);

/// A text is no pseudonym.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pseudonym is 32 hexadecimal digits")]
pub struct PseudonymError;

impl Pseudonym {
    /// Of the MAC's first bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
    /// Its bytes.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
impl fmt::Debug for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for Pseudonym {
    type Err = PseudonymError;
    fn from_str(text: &str) -> Result<Self, PseudonymError> {
        if text.len() != 32 || !text.is_ascii() {
            return Err(PseudonymError);
        }
        let mut bytes = [0; 16];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| PseudonymError)?;
        }
        Ok(Self(bytes))
    }
}
impl TryFrom<String> for Pseudonym {
    type Error = PseudonymError;
    fn try_from(text: String) -> Result<Self, PseudonymError> {
        text.parse()
    }
}
impl From<Pseudonym> for String {
    fn from(pseudonym: Pseudonym) -> String {
        pseudonym.to_string()
    }
}

/// Where a person is, no finer than this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PersonPlace {
    /// A cell of the grid of 0.00168 by 0.00135 degrees (about 150 m in Xining), counted from 180 W, 90 S.
    Cell {
        /// Eastward.
        x: u32,
        /// Northward.
        y: u32,
    },
    /// A unit grid, 15 digits.
    UnitGrid(String),
}

impl PersonPlace {
    /// The cell that holds a position, its western and southern border counted in.
    pub fn cell_of(position: &Position) -> Self {
        let count = |degrees: f64, size: f64| (degrees / size).floor() as u32;
        Self::Cell {
            x: count(position.lon() + 180.0, CELL_LON_DEG),
            y: count(position.lat() + 90.0, CELL_LAT_DEG),
        }
    }
    /// A unit grid.
    pub fn unit_grid(grid: &UnitGrid) -> Self {
        Self::UnitGrid(grid.as_str().to_owned())
    }
    /// West, south, east and north of a cell in degrees; a unit grid's border stands in the register.
    pub fn bounds(&self) -> Option<[f64; 4]> {
        match self {
            Self::Cell { x, y } => {
                let (west, south) = (
                    f64::from(*x) * CELL_LON_DEG - 180.0,
                    f64::from(*y) * CELL_LAT_DEG - 90.0,
                );
                Some([west, south, west + CELL_LON_DEG, south + CELL_LAT_DEG])
            }
            Self::UnitGrid(_) => None,
        }
    }
}

/// What is kept of one person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// Stands for the number.
    pub pseudonym: Pseudonym,
    /// The last four characters of the number.
    pub last_four: String,
    /// The division the person is in, no finer than a community (12 digits).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub division: Option<DivisionCode>,
    /// Where, roughly; `None` when the source gave no place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<PersonPlace>,
    /// Where it comes from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}

/// A person as journal and ledger hold it: what is known is sealed by a key that lies beside them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedPerson {
    /// Stands for the number, under all keys up to `key`.
    pub pseudonym: Pseudonym,
    /// The key's number, from 1.
    pub key: u16,
    /// What stood for the same number under former keys, newest first; what is kept under these goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<Pseudonym>,
    /// Whether what is known is carried over from a former pseudonym: it counts only where that is still there,
    /// since something newer may have come.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub moved: bool,
    /// Nonce (12 bytes), then AES-256-GCM of the [`Person`] as JSON with its tag (16 bytes), hexadecimal. Bound to
    /// `pseudonym` and `key`.
    pub sealed: String,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_cell_holds_its_position_and_is_about_150_m_wide() {
        for (lon, lat) in [(101.7782, 36.6171), (101.0, 36.0), (-180.0, -90.0), (180.0, 90.0)] {
            let position = Position::new(lon, lat, None).unwrap();
            let [west, south, east, north] = PersonPlace::cell_of(&position).bounds().unwrap();
            assert!(west - 1e-9 <= lon && lon <= east + 1e-9, "{lon}");
            assert!(south - 1e-9 <= lat && lat <= north + 1e-9, "{lat}");
            let width_m = (east - west) * 111_320.0 * 36.6f64.to_radians().cos();
            assert!((140.0..160.0).contains(&width_m), "{width_m}");
        }
    }

    #[test]
    fn a_person_reads_back_and_holds_no_more_than_this() {
        let person = Person {
            pseudonym: Pseudonym::new([7; 16]),
            last_four: "002X".into(),
            division: None,
            place: Some(PersonPlace::Cell { x: 1, y: 2 }),
            source: String::new(),
        };
        let json = serde_json::to_value(&person).unwrap();
        assert_eq!(json["pseudonym"], "07".repeat(16));
        assert_eq!(json["place"], serde_json::json!({"cell": {"x": 1, "y": 2}}));
        assert_eq!(serde_json::from_value::<Person>(json.clone()).unwrap(), person);
        let mut more = json;
        more["name"] = "王".into();
        assert!(serde_json::from_value::<Person>(more).is_err());
        assert!("zz".repeat(16).parse::<Pseudonym>().is_err());
    }
}
