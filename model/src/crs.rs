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

/// A geographic coordinate system of a source, in degrees.
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
}

/// A text names no coordinate system that is known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a known coordinate system; known are WGS84, CGCS2000, GCJ02, BD09")]
pub struct CrsError(String);

/// Semi-major axis of the ellipsoid (Krasovsky) in the published GCJ-02 formula, metres.
const A_M: f64 = 6_378_245.0;
/// Its squared eccentricity.
const E2: f64 = 0.006_693_421_622_965_943;
const BD_K: f64 = PI * 3000.0 / 180.0;

impl Crs {
    /// The name used in requests and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Crs::Wgs84 => "WGS84",
            Crs::Cgcs2000 => "CGCS2000",
            Crs::Gcj02 => "GCJ02",
            Crs::Bd09 => "BD09",
        }
    }

    /// WGS 84 longitude and latitude of a point given in this system, exact to about 1e-9 degrees
    /// (0.1 mm). Outside longitude 73.66 to 135.05 and latitude 3.86 to 53.55 GCJ-02 is WGS 84.
    ///
    /// ```
    /// # use onemap_model::crs::Crs;
    /// let (lon, lat) = Crs::Gcj02.to_wgs84(101.78013247, 36.61701834);
    /// assert!((lon - 101.7782).abs() < 1e-6 && (lat - 36.6171).abs() < 1e-6);
    /// ```
    pub fn to_wgs84(self, lon: f64, lat: f64) -> (f64, f64) {
        match self {
            Crs::Wgs84 | Crs::Cgcs2000 => (lon, lat),
            Crs::Gcj02 => invert(wgs84_to_gcj02, (lon, lat), (lon, lat)),
            Crs::Bd09 => {
                let gcj02 = invert(gcj02_to_bd09, (lon, lat), bd09_to_gcj02_one_step((lon, lat)));
                invert(wgs84_to_gcj02, gcj02, gcj02)
            }
        }
    }

    /// Longitude and latitude in this system of a WGS 84 point.
    pub fn from_wgs84(self, lon: f64, lat: f64) -> (f64, f64) {
        match self {
            Crs::Wgs84 | Crs::Cgcs2000 => (lon, lat),
            Crs::Gcj02 => wgs84_to_gcj02((lon, lat)),
            Crs::Bd09 => gcj02_to_bd09(wgs84_to_gcj02((lon, lat))),
        }
    }
}

impl FromStr for Crs {
    type Err = CrsError;
    /// Reads the names above in any case, with or without `-`, `_` and blanks, and the EPSG and OGC
    /// names of the first two.
    fn from_str(text: &str) -> Result<Self, CrsError> {
        let plain: String = text
            .chars()
            .filter(|c| c.is_ascii_alphanumeric())
            .map(|c| c.to_ascii_uppercase())
            .collect();
        match plain.as_str() {
            "WGS84" | "CRS84" | "EPSG4326" | "URNOGCDEFCRSOGC13CRS84" | "URNOGCDEFCRSEPSG4326" => {
                Ok(Crs::Wgs84)
            }
            "CGCS2000" | "EPSG4490" | "URNOGCDEFCRSEPSG4490" => Ok(Crs::Cgcs2000),
            "GCJ02" => Ok(Crs::Gcj02),
            "BD09" | "BD09LL" => Ok(Crs::Bd09),
            _ => Err(CrsError(text.chars().take(64).collect())),
        }
    }
}

impl fmt::Display for Crs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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
        crs.name().to_owned()
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
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Place, WGS 84, GCJ-02, BD-09: figures on which two public implementations agree.
    type Row = (&'static str, (f64, f64), (f64, f64), (f64, f64));
    const POINTS: [Row; 8] = [
        (
            "Xining",
            (101.7782, 36.6171),
            (101.78013247, 36.61701834),
            (101.78659284, 36.62317444),
        ),
        (
            "Huangzhong",
            (101.5716, 36.5009),
            (101.57336048, 36.50060005),
            (101.57998002, 36.50631952),
        ),
        (
            "Datong",
            (101.6856, 36.9268),
            (101.68749699, 36.9268661),
            (101.69406632, 36.93261738),
        ),
        (
            "Huangyuan",
            (101.2563, 36.6822),
            (101.25819684, 36.68216215),
            (101.2646338, 36.68828231),
        ),
        (
            "Caojiapu",
            (102.043, 36.5275),
            (102.04501048, 36.52751016),
            (102.05159947, 36.53329767),
        ),
        (
            "Beijing",
            (116.3975, 39.9087),
            (116.40374357, 39.9101035),
            (116.41011659, 39.91644275),
        ),
        (
            "Shanghai",
            (121.4737, 31.2304),
            (121.47822306, 31.22845774),
            (121.48478147, 31.23431059),
        ),
        (
            "Tokyo",
            (139.6917, 35.6895),
            (139.6917, 35.6895),
            (139.69812253, 35.69584545),
        ),
    ];

    fn close(a: (f64, f64), b: (f64, f64), within: f64) -> bool {
        (a.0 - b.0).abs() < within && (a.1 - b.1).abs() < within
    }

    #[test]
    fn known_points_convert_both_ways() {
        for (name, wgs84, gcj02, bd09) in POINTS {
            let forward = Crs::Gcj02.from_wgs84(wgs84.0, wgs84.1);
            assert!(close(forward, gcj02, 1e-7), "{name} to GCJ-02: {forward:?}");
            let forward = Crs::Bd09.from_wgs84(wgs84.0, wgs84.1);
            assert!(close(forward, bd09, 1e-7), "{name} to BD-09: {forward:?}");
            let back = Crs::Gcj02.to_wgs84(gcj02.0, gcj02.1);
            assert!(close(back, wgs84, 1e-7), "{name} from GCJ-02: {back:?}");
            let back = Crs::Bd09.to_wgs84(bd09.0, bd09.1);
            assert!(close(back, wgs84, 1e-7), "{name} from BD-09: {back:?}");
        }
    }

    #[test]
    fn there_and_back_is_the_same_point_all_over_xining() {
        for i in 0..60 {
            for j in 0..60 {
                let (lon, lat) = (100.8 + f64::from(i) * 0.02, 36.2 + f64::from(j) * 0.02);
                for crs in [Crs::Gcj02, Crs::Bd09, Crs::Cgcs2000] {
                    let there = crs.from_wgs84(lon, lat);
                    let back = crs.to_wgs84(there.0, there.1);
                    assert!(close(back, (lon, lat), 1e-9), "{crs} {lon} {lat}: {back:?}");
                }
            }
        }
    }

    #[test]
    fn names_are_read_in_their_usual_spellings_and_nothing_is_guessed() {
        for (text, crs) in [
            ("wgs84", Crs::Wgs84),
            ("urn:ogc:def:crs:OGC:1.3:CRS84", Crs::Wgs84),
            ("EPSG:4490", Crs::Cgcs2000),
            ("GCJ-02", Crs::Gcj02),
            ("bd_09", Crs::Bd09),
        ] {
            assert_eq!(text.parse::<Crs>(), Ok(crs));
        }
        for bad in ["", "EPSG:3857", "EPSG:4543", "local"] {
            assert!(bad.parse::<Crs>().is_err(), "{bad}");
        }
    }
}
