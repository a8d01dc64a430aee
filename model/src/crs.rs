//! Coordinate systems of sources, and the way from them to WGS 84.
//!
//! onemap stores WGS 84 degrees only; a source *declares* its system and is converted at the border,
//! never guessed. GCJ-02 is what Chinese web maps deliver, BD-09 is Baidu's; around Xining GCJ-02 lies
//! about 165 m east of WGS 84, so a drawing that far off is the sign of a missing conversion.
//! CGCS2000 differs from WGS 84 by centimetres and is taken as equal.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::projection;

/// A coordinate system of a source. Pairs are longitude, latitude in degrees or easting, northing in metres: the
/// order that files and GIS programs use, also where EPSG lists the axes the other way round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Crs {
    /// WGS 84, EPSG:4326 with longitude first (CRS84).
    #[default]
    Wgs84,
    /// China Geodetic Coordinate System 2000, EPSG:4490; equal to WGS 84 within centimetres.
    Cgcs2000,
    /// The shifted system of Chinese web maps (火星坐标).
    Gcj02,
    /// Baidu's, shifted once more.
    Bd09,
    /// CGCS2000 3-degree Gauss-Krueger, metres. Eastings of EPSG:4513 to 4533 begin with the number of the zone
    /// (zone 34 is EPSG:4522), those of EPSG:4534 to 4554 do not (central meridian 102 E is EPSG:4543).
    GaussKruger(Zone),
    /// Web Mercator, EPSG:3857, metres.
    WebMercator,
}

/// A 3-degree zone of Gauss-Krueger.
///
/// Invariant: number 25 to 45; its central meridian is three times that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Zone {
    number: u8,
    in_easting: bool,
}

impl Zone {
    /// The zone of a number, 25 to 45; whether eastings begin with it.
    pub fn new(number: u8, in_easting: bool) -> Option<Self> {
        (25..=45).contains(&number).then_some(Self { number, in_easting })
    }
    /// Its number.
    pub fn number(self) -> u8 {
        self.number
    }
    /// Degrees east.
    pub fn central_meridian(self) -> f64 {
        f64::from(self.number) * 3.0
    }
    fn epsg(self) -> u16 {
        let first = if self.in_easting { 4513 } else { 4534 };
        first + u16::from(self.number) - 25
    }
    /// Whether eastings begin with the number.
    pub fn is_in_easting(self) -> bool {
        self.in_easting
    }
    /// Easting of the central meridian, m.
    pub fn false_easting(self) -> f64 {
        let prefix = if self.in_easting {
            f64::from(self.number) * 1e6
        } else {
            0.0
        };
        prefix + 500_000.0
    }
}

/// A text names no coordinate system that is known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a known coordinate system; known are WGS84, CGCS2000, GCJ02, BD09, EPSG:3857 and the 3-degree Gauss-Krueger zones EPSG:4513 to 4554"
)]
pub struct CrsError(String);

/// A pair of numbers cannot lie in the system that was declared.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OutOfDomain {
    /// Not numbers.
    #[error("{x}, {y} are not finite numbers")]
    NotFinite {
        /// First number.
        x: f64,
        /// Second number.
        y: f64,
    },
    /// No degrees: metres, perhaps.
    #[error(
        "{x}, {y} are not degrees of {crs}; they look like metres of a projected system, which has to be declared"
    )]
    Metres {
        /// The declared system.
        crs: Crs,
        /// First number.
        x: f64,
        /// Second number.
        y: f64,
    },
    /// Degrees outside the globe: in the wrong order, perhaps.
    #[error("longitude {x} is not in [-180, 180] or latitude {y} is not in [-90, 90]")]
    Globe {
        /// Longitude.
        x: f64,
        /// Latitude.
        y: f64,
    },
    /// Degrees where metres are declared.
    #[error("{x}, {y} are not metres of {crs}; they look like degrees")]
    Degrees {
        /// The declared system.
        crs: Crs,
        /// First number.
        x: f64,
        /// Second number.
        y: f64,
    },
    /// Metres outside the zone.
    #[error("easting {x}, northing {y} lie outside {crs}, whose eastings are {from} to {to} m")]
    Zone {
        /// The declared system.
        crs: Crs,
        /// Easting.
        x: f64,
        /// Northing.
        y: f64,
        /// Smallest easting.
        from: f64,
        /// Largest easting.
        to: f64,
    },
    /// Metres outside the square of Web Mercator.
    #[error("{x}, {y} lie outside EPSG:3857, whose numbers are at most 20037508.35 m")]
    Square {
        /// Easting.
        x: f64,
        /// Northing.
        y: f64,
    },
}

/// Semi-major axis of the ellipsoid (Krasovsky) in the published GCJ-02 formula, metres.
const A_M: f64 = 6_378_245.0;
/// Its squared eccentricity.
const E2: f64 = 0.006_693_421_622_965_943;
const BD_K: f64 = PI * 3000.0 / 180.0;
/// How far from its central meridian a zone is read, m: more than two degrees at the equator, so that what a
/// survey carries on over a zone's rim is still taken.
const ZONE_HALF_M: f64 = 250_000.0;
/// Northing of the pole, m, rounded up.
const POLE_M: f64 = 10_001_966.0;

impl Crs {
    /// The name used in requests and on the command line; projected systems have their EPSG code.
    pub fn name(self) -> String {
        match self {
            Crs::Wgs84 => "WGS84".to_owned(),
            Crs::Cgcs2000 => "CGCS2000".to_owned(),
            Crs::Gcj02 => "GCJ02".to_owned(),
            Crs::Bd09 => "BD09".to_owned(),
            Crs::GaussKruger(_) | Crs::WebMercator => format!("EPSG:{}", self.epsg().unwrap_or_default()),
        }
    }

    /// Its EPSG code, if it has one.
    pub fn epsg(self) -> Option<u16> {
        match self {
            Crs::Wgs84 => Some(4326),
            Crs::Cgcs2000 => Some(4490),
            Crs::GaussKruger(zone) => Some(zone.epsg()),
            Crs::WebMercator => Some(3857),
            Crs::Gcj02 | Crs::Bd09 => None,
        }
    }

    /// The system of an EPSG code.
    pub fn from_epsg(code: u16) -> Option<Self> {
        let zone = |first: u16, in_easting| {
            let number = u8::try_from(code.checked_sub(first)? + 25).ok()?;
            Zone::new(number, in_easting).map(Crs::GaussKruger)
        };
        match code {
            4326 => Some(Crs::Wgs84),
            4490 => Some(Crs::Cgcs2000),
            3857 => Some(Crs::WebMercator),
            4513..=4533 => zone(4513, true),
            4534..=4554 => zone(4534, false),
            _ => None,
        }
    }

    /// Whether its numbers are metres.
    pub fn is_projected(self) -> bool {
        matches!(self, Crs::GaussKruger(_) | Crs::WebMercator)
    }

    /// WGS 84 longitude and latitude of a pair given in this system, as [`to_wgs84`](Self::to_wgs84), when the pair
    /// can lie in it.
    ///
    /// # Errors
    /// [`OutOfDomain`]: not finite, degrees for metres or metres for degrees, outside the globe or the zone.
    pub fn read(self, x: f64, y: f64) -> Result<(f64, f64), OutOfDomain> {
        if !(x.is_finite() && y.is_finite()) {
            return Err(OutOfDomain::NotFinite { x, y });
        }
        let on_globe = x.abs() <= 180.0 && y.abs() <= 90.0;
        match self {
            Crs::Wgs84 | Crs::Cgcs2000 | Crs::Gcj02 | Crs::Bd09 if on_globe => {}
            Crs::Wgs84 | Crs::Cgcs2000 | Crs::Gcj02 | Crs::Bd09 => {
                return Err(match x.abs().max(y.abs()) > 1000.0 {
                    true => OutOfDomain::Metres { crs: self, x, y },
                    false => OutOfDomain::Globe { x, y },
                });
            }
            Crs::GaussKruger(_) | Crs::WebMercator if on_globe => {
                return Err(OutOfDomain::Degrees { crs: self, x, y });
            }
            Crs::GaussKruger(zone) => {
                let middle = zone.false_easting();
                if (x - middle).abs() > ZONE_HALF_M || !(0.0..=POLE_M).contains(&y) {
                    let (from, to) = (middle - ZONE_HALF_M, middle + ZONE_HALF_M);
                    return Err(OutOfDomain::Zone {
                        crs: self,
                        x,
                        y,
                        from,
                        to,
                    });
                }
            }
            Crs::WebMercator => {
                if x.abs().max(y.abs()) > projection::MERCATOR_HALF_M + 0.01 {
                    return Err(OutOfDomain::Square { x, y });
                }
            }
        }
        Ok(self.to_wgs84(x, y))
    }

    /// WGS 84 longitude and latitude of a point given in this system, exact to about 1e-9 degrees
    /// (0.1 mm). Outside longitude 73.66 to 135.05 and latitude 3.86 to 53.55 GCJ-02 is WGS 84. Looks at no
    /// domain ([`read`](Self::read) does).
    ///
    /// ```
    /// # use onemap_model::crs::Crs;
    /// let (lon, lat) = Crs::Gcj02.to_wgs84(101.78013247, 36.61701834);
    /// assert!((lon - 101.7782).abs() < 1e-6 && (lat - 36.6171).abs() < 1e-6);
    /// let zone: Crs = "EPSG:4522".parse()?;
    /// assert_eq!(zone.to_wgs84(34_500_000.0, 0.0), (102.0, 0.0));
    /// # Ok::<(), onemap_model::crs::CrsError>(())
    /// ```
    pub fn to_wgs84(self, lon: f64, lat: f64) -> (f64, f64) {
        match self {
            Crs::Wgs84 | Crs::Cgcs2000 => (lon, lat),
            Crs::Gcj02 => invert(wgs84_to_gcj02, (lon, lat), (lon, lat)),
            Crs::Bd09 => {
                let gcj02 = invert(gcj02_to_bd09, (lon, lat), bd09_to_gcj02_one_step((lon, lat)));
                invert(wgs84_to_gcj02, gcj02, gcj02)
            }
            Crs::GaussKruger(zone) => {
                let (east, lat) = projection::gauss_kruger_inverse(lon - zone.false_easting(), lat);
                (zone.central_meridian() + east, lat)
            }
            Crs::WebMercator => projection::mercator_inverse(lon, lat),
        }
    }

    /// The pair in this system of a WGS 84 point.
    pub fn from_wgs84(self, lon: f64, lat: f64) -> (f64, f64) {
        match self {
            Crs::Wgs84 | Crs::Cgcs2000 => (lon, lat),
            Crs::Gcj02 => wgs84_to_gcj02((lon, lat)),
            Crs::Bd09 => gcj02_to_bd09(wgs84_to_gcj02((lon, lat))),
            Crs::GaussKruger(zone) => {
                let (east, north) = projection::gauss_kruger(lon - zone.central_meridian(), lat);
                (zone.false_easting() + east, north)
            }
            Crs::WebMercator => projection::mercator(lon, lat),
        }
    }
}

impl FromStr for Crs {
    type Err = CrsError;
    /// Reads the names above in any case, with or without `-`, `_` and blanks; EPSG codes as `EPSG:4543`,
    /// `urn:ogc:def:crs:EPSG::4543` and `http://www.opengis.net/def/crs/EPSG/0/4543`; EPSG's own names of the
    /// Gauss-Krueger zones (`CGCS2000 / 3-degree Gauss-Kruger CM 102E`, `… zone 34`).
    fn from_str(text: &str) -> Result<Self, CrsError> {
        let plain: String = text
            .chars()
            .filter(|c| c.is_ascii_alphanumeric())
            .map(|c| c.to_ascii_uppercase())
            .collect();
        let unknown = || CrsError(text.chars().take(64).collect());
        match plain.as_str() {
            "WGS84" | "CRS84" | "CRS84H" => return Ok(Crs::Wgs84),
            "CGCS2000" => return Ok(Crs::Cgcs2000),
            "GCJ02" => return Ok(Crs::Gcj02),
            "BD09" | "BD09LL" => return Ok(Crs::Bd09),
            "WEBMERCATOR" => return Ok(Crs::WebMercator),
            _ => {}
        }
        for prefix in [
            "URNOGCDEFCRSOGC",
            "HTTPWWWOPENGISNETDEFCRSOGC",
            "HTTPSWWWOPENGISNETDEFCRSOGC",
            "OGC",
        ] {
            // A version stands between: `OGC:1.3:CRS84`, `OGC/1.3/CRS84`, `OGC::CRS84`.
            let rest = plain
                .strip_prefix(prefix)
                .map(|rest| rest.trim_start_matches(['0', '1', '3']));
            if matches!(rest, Some("CRS84" | "CRS84H")) {
                return Ok(Crs::Wgs84);
            }
        }
        if plain.contains("EPSG") {
            let code = text
                .rsplit(|c: char| !c.is_ascii_digit())
                .next()
                .unwrap_or_default();
            let code = if code.is_empty() { "" } else { code };
            return code.parse().ok().and_then(Crs::from_epsg).ok_or_else(unknown);
        }
        let kruger = ["CGCS20003DEGREEGAUSSKRUGER", "CGCS20003DEGREEGAUSSKRUEGER"];
        let Some(rest) = kruger.iter().find_map(|name| plain.strip_prefix(name)) else {
            return Err(unknown());
        };
        let number = |text: &str| text.parse::<u8>().ok();
        let zone = match (rest.strip_prefix("ZONE"), rest.strip_prefix("CM")) {
            (Some(zone), _) => number(zone).and_then(|zone| Zone::new(zone, true)),
            (_, Some(meridian)) => number(meridian.trim_end_matches('E'))
                .filter(|meridian| meridian % 3 == 0)
                .and_then(|meridian| Zone::new(meridian / 3, false)),
            _ => None,
        };
        zone.map(Crs::GaussKruger).ok_or_else(unknown)
    }
}

impl fmt::Display for Crs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl TryFrom<String> for Crs {
    type Error = CrsError;
    fn try_from(text: String) -> Result<Self, CrsError> {
        text.parse()
    }
}
impl From<Crs> for String {
    fn from(crs: Crs) -> String {
        crs.name()
    }
}

/// Where the shift of GCJ-02 applies.
fn shifted((lon, lat): (f64, f64)) -> bool {
    (73.66..=135.05).contains(&lon) && (3.86..=53.55).contains(&lat)
}

fn wgs84_to_gcj02((lon, lat): (f64, f64)) -> (f64, f64) {
    if !shifted((lon, lat)) {
        return (lon, lat);
    }
    let (x, y) = (lon - 105.0, lat - 35.0);
    let s = |t: f64| (t * PI).sin();
    let wave = (20.0 * s(6.0 * x) + 20.0 * s(2.0 * x)) * 2.0 / 3.0;
    let north = -100.0
        + 2.0 * x
        + 3.0 * y
        + 0.2 * y * y
        + 0.1 * x * y
        + 0.2 * x.abs().sqrt()
        + wave
        + (20.0 * s(y) + 40.0 * s(y / 3.0)) * 2.0 / 3.0
        + (160.0 * s(y / 12.0) + 320.0 * s(y / 30.0)) * 2.0 / 3.0;
    let east = 300.0
        + x
        + 2.0 * y
        + 0.1 * x * x
        + 0.1 * x * y
        + 0.1 * x.abs().sqrt()
        + wave
        + (20.0 * s(x) + 40.0 * s(x / 3.0)) * 2.0 / 3.0
        + (150.0 * s(x / 12.0) + 300.0 * s(x / 30.0)) * 2.0 / 3.0;
    let phi = lat.to_radians();
    let m = 1.0 - E2 * phi.sin() * phi.sin();
    (
        lon + east * 180.0 / (A_M / m.sqrt() * phi.cos() * PI),
        lat + north * 180.0 / (A_M * (1.0 - E2) / (m * m.sqrt()) * PI),
    )
}

fn gcj02_to_bd09((lon, lat): (f64, f64)) -> (f64, f64) {
    let z = lon.hypot(lat) + 0.000_02 * (lat * BD_K).sin();
    let t = lat.atan2(lon) + 0.000_003 * (lon * BD_K).cos();
    (z * t.cos() + 0.0065, z * t.sin() + 0.006)
}

fn bd09_to_gcj02_one_step((lon, lat): (f64, f64)) -> (f64, f64) {
    let (x, y) = (lon - 0.0065, lat - 0.006);
    let z = x.hypot(y) - 0.000_02 * (y * BD_K).sin();
    let t = y.atan2(x) - 0.000_003 * (x * BD_K).cos();
    (z * t.cos(), z * t.sin())
}

/// The point that `forward` takes to `goal`, from a first guess. The shifts change slowly, so each
/// round gains about two digits.
fn invert(forward: fn((f64, f64)) -> (f64, f64), goal: (f64, f64), guess: (f64, f64)) -> (f64, f64) {
    let mut point = guess;
    for _ in 0..6 {
        let image = forward(point);
        point.0 += goal.0 - image.0;
        point.1 += goal.1 - image.1;
    }
    point
}

#[cfg(test)]
mod tests;
