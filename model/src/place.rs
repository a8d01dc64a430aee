//! Positions and administrative divisions.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A point on the ground in WGS 84 degrees, optionally with its height.
///
/// Invariant: longitude in `[-180, 180]`, latitude in `[-90, 90]`, height (metres, its datum stated by
/// the source) finite.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "PositionFields", into = "PositionFields")]
pub struct Position {
    lon: f64,
    lat: f64,
    height_m: Option<f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PositionFields {
    lon: f64,
    lat: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    height_m: Option<f64>,
}

/// Why numbers are not a position.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PositionError {
    /// Longitude outside [-180, 180] or not finite.
    #[error("longitude {0} is not in [-180, 180]")]
    Longitude(f64),
    /// Latitude outside [-90, 90] or not finite.
    #[error("latitude {0} is not in [-90, 90]")]
    Latitude(f64),
    /// Height is not finite.
    #[error("height {0} is not a finite number")]
    Height(f64),
}

/// Mean radius of the earth in metres (IUGG).
pub const EARTH_RADIUS_M: f64 = 6_371_008.8;

impl Position {
    /// Great-circle distance in metres (haversine); heights are left out.
    pub fn distance_m(&self, other: Self) -> f64 {
        let (own, its) = (self.lat.to_radians(), other.lat.to_radians());
        let (d_lat, d_lon) = (its - own, (other.lon - self.lon).to_radians());
        let h = (d_lat / 2.0).sin().powi(2) + own.cos() * its.cos() * (d_lon / 2.0).sin().powi(2);
        2.0 * EARTH_RADIUS_M * h.sqrt().min(1.0).asin()
    }
    /// Checks and builds a position.
    ///
    /// # Errors
    /// See [`PositionError`].
    pub fn new(lon: f64, lat: f64, height_m: Option<f64>) -> Result<Self, PositionError> {
        if !(-180.0..=180.0).contains(&lon) {
            return Err(PositionError::Longitude(lon));
        }
        if !(-90.0..=90.0).contains(&lat) {
            return Err(PositionError::Latitude(lat));
        }
        match height_m {
            Some(h) if !h.is_finite() => Err(PositionError::Height(h)),
            _ => Ok(Self { lon, lat, height_m }),
        }
    }
    /// Longitude, degrees east.
    pub fn lon(&self) -> f64 {
        self.lon
    }
    /// Latitude, degrees north.
    pub fn lat(&self) -> f64 {
        self.lat
    }
    /// Height in metres, if known.
    pub fn height_m(&self) -> Option<f64> {
        self.height_m
    }
}

impl TryFrom<PositionFields> for Position {
    type Error = PositionError;
    fn try_from(f: PositionFields) -> Result<Self, PositionError> {
        Self::new(f.lon, f.lat, f.height_m)
    }
}
impl From<Position> for PositionFields {
    fn from(p: Position) -> Self {
        Self {
            lon: p.lon,
            lat: p.lat,
            height_m: p.height_m,
        }
    }
}

/// A code of an administrative division: 6 digits to county, 9 to street, 12 to community
/// (GB/T 2260, GB/T 10114 and the statistics bureau's list).
///
/// Invariant: 6, 9, 12 or 15 ASCII digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DivisionCode(Arc<str>);

/// A text is not a division code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a division code of 6, 9, 12 or 15 digits")]
pub struct DivisionError(String);

impl DivisionCode {
    /// Checks and wraps a code.
    ///
    /// # Errors
    /// When it is not 6, 9, 12 or 15 ASCII digits.
    pub fn new(text: &str) -> Result<Self, DivisionError> {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        if digits && matches!(text.len(), 6 | 9 | 12 | 15) {
            Ok(Self(text.into()))
        } else {
            Err(DivisionError(text.chars().take(32).collect()))
        }
    }
    /// The code as digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The digits that stand in every code inside this division: `630100` gives `6301`,
    /// `630102000` gives `630102`, `630000` gives `63`.
    pub fn prefix(&self) -> &str {
        let mut code = &*self.0;
        while code.len() > 6 && code.ends_with("000") {
            code = &code[..code.len() - 3];
        }
        while code.len() <= 6 && code.len() > 2 && code.ends_with("00") {
            code = &code[..code.len() - 2];
        }
        code
    }
    /// Whether `other` is this division or lies inside it.
    pub fn covers(&self, other: &DivisionCode) -> bool {
        other.0.starts_with(self.prefix())
    }
}

impl TryFrom<String> for DivisionCode {
    type Error = DivisionError;
    fn try_from(text: String) -> Result<Self, DivisionError> {
        Self::new(&text)
    }
}
impl std::str::FromStr for DivisionCode {
    type Err = DivisionError;
    fn from_str(text: &str) -> Result<Self, DivisionError> {
        Self::new(text)
    }
}
impl From<DivisionCode> for String {
    fn from(code: DivisionCode) -> String {
        code.0.as_ref().to_owned()
    }
}
impl fmt::Display for DivisionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for DivisionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_city_covers_its_districts_and_their_streets() {
        let d = |t: &str| DivisionCode::new(t).unwrap();
        assert!(d("630100").covers(&d("630102")));
        assert!(d("630100").covers(&d("630102001")));
        assert!(d("630102").covers(&d("630102001005")));
        assert!(d("630102000").covers(&d("630102001")));
        assert!(!d("630102").covers(&d("630103")));
        assert!(!d("630102").covers(&d("630100")));
        assert!(d("630000").covers(&d("630100")));
        for bad in ["", "63010", "63010a", "6301021"] {
            assert!(DivisionCode::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn positions_outside_the_globe_are_refused() {
        assert!(Position::new(101.78, 36.62, Some(2260.0)).is_ok());
        assert!(Position::new(181.0, 0.0, None).is_err());
        assert!(Position::new(0.0, f64::NAN, None).is_err());
        assert!(serde_json::from_str::<Position>(r#"{"lon":1,"lat":91}"#).is_err());
    }
}
