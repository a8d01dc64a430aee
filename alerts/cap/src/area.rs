//! Places of a message: latitude first, the reverse of GeoJSON and of the rest of onemap.

use std::fmt;

use crate::error::{Fault, start};

/// A point on WGS 84, in degrees.
///
/// Invariant: both finite, latitude in `[-90, 90]`, longitude in `[-180, 180]`, no negative zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    lat: f64,
    lon: f64,
}

impl Point {
    /// From latitude and longitude, in this order. `None` when it is not on the globe.
    pub fn new(lat: f64, lon: f64) -> Option<Self> {
        let is_on_globe = (-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon);
        // -0.0 + 0.0 is 0.0.
        is_on_globe.then_some(Self {
            lat: lat + 0.0,
            lon: lon + 0.0,
        })
    }
    /// Degrees north.
    pub fn lat(self) -> f64 {
        self.lat
    }
    /// Degrees east.
    pub fn lon(self) -> f64 {
        self.lon
    }
    fn parse(text: &str) -> Result<Self, Fault> {
        let other = || Fault::Coordinate { found: start(text) };
        let (lat, lon) = text.split_once(',').ok_or_else(other)?;
        let (lat, lon) = (decimal(lat).ok_or_else(other)?, decimal(lon).ok_or_else(other)?);
        Self::new(lat, lon).ok_or_else(|| Fault::OffGlobe { found: start(text) })
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.lat, self.lon)
    }
}

/// A closed ring. CAP has no holes.
///
/// Invariant: at least four points, the last equal to the first. That it does not cross itself is not checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Polygon(Vec<Point>);

impl Polygon {
    /// More points are not read: a message of 1 MiB holds hardly more.
    pub const LIMIT: usize = 100_000;

    /// From a ring whose last point is its first.
    ///
    /// # Errors
    /// [`Fault::PolygonPairs`], [`Fault::PolygonOpen`], [`Fault::TooMany`].
    pub fn new(points: Vec<Point>) -> Result<Self, Fault> {
        match points.len() {
            0..4 => return Err(Fault::PolygonPairs { n: points.len() }),
            n if n > Self::LIMIT => {
                return Err(Fault::TooMany {
                    what: "points of a polygon",
                    limit: Self::LIMIT,
                });
            }
            _ => {}
        }
        if points.first() != points.last() {
            return Err(Fault::PolygonOpen);
        }
        Ok(Self(points))
    }
    /// From a ring as GeoJSON and the map have it: longitude first. It is closed when it is not.
    ///
    /// # Errors
    /// [`Fault::OffGlobe`] and those of [`Polygon::new`].
    pub fn from_lon_lat(ring: &[[f64; 2]]) -> Result<Self, Fault> {
        let on_globe = |&[lon, lat]: &[f64; 2]| {
            Point::new(lat, lon).ok_or_else(|| Fault::OffGlobe {
                found: format!("{lat},{lon}"),
            })
        };
        let mut points = ring.iter().map(on_globe).collect::<Result<Vec<_>, _>>()?;
        if let Some(&first) = points.first()
            && points.last() != Some(&first)
        {
            points.push(first);
        }
        Self::new(points)
    }
    /// The points, the first at the end again.
    pub fn points(&self) -> &[Point] {
        &self.0
    }
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let pairs = text.split_ascii_whitespace().map(Point::parse);
        Self::new(pairs.collect::<Result<_, _>>()?)
    }
}

impl fmt::Display for Polygon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, point) in self.0.iter().enumerate() {
            write!(f, "{}{point}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

/// A centre and a radius in kilometres; 0 is a point.
///
/// Invariant: the radius is finite and not negative, at most half of the globe's girth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Circle {
    centre: Point,
    radius_km: f64,
}

impl Circle {
    /// The largest radius that is read, in km: from pole to pole.
    pub const MAX_RADIUS_KM: f64 = 20_040.0;

    /// From a centre and a radius in kilometres. `None` when the radius is none.
    pub fn new(centre: Point, radius_km: f64) -> Option<Self> {
        (0.0..=Self::MAX_RADIUS_KM).contains(&radius_km).then_some(Self {
            centre,
            radius_km: radius_km + 0.0,
        })
    }
    /// The centre.
    pub fn centre(self) -> Point {
        self.centre
    }
    /// The radius in kilometres.
    pub fn radius_km(self) -> f64 {
        self.radius_km
    }
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let other = || Fault::Circle { found: start(text) };
        let mut parts = text.split_ascii_whitespace();
        let (Some(centre), Some(radius), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(other());
        };
        let centre = Point::parse(centre)?;
        Self::new(centre, decimal(radius).ok_or_else(other)?).ok_or_else(other)
    }
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.centre, self.radius_km)
    }
}

/// A height in feet above the ellipsoid of WGS 84, to a thousandth.
///
/// Feet and this datum are the standard's; heights of onemap are metres in a datum of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Feet(i64);

impl Feet {
    const LIMIT: f64 = 1e9;

    /// Rounded to a thousandth of a foot. `None` beyond a thousand million feet.
    pub fn new(feet: f64) -> Option<Self> {
        (feet.abs() <= Self::LIMIT).then(|| Self((feet * 1000.0).round() as i64))
    }
    /// The height as a number.
    pub fn feet(self) -> f64 {
        self.0 as f64 / 1000.0
    }
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        let wanted = "a height in feet";
        decimal(text).and_then(Self::new).ok_or_else(|| Fault::Number {
            found: start(text),
            wanted,
        })
    }
}

impl fmt::Display for Feet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.feet() + 0.0)
    }
}

/// A decimal number: a sign perhaps, digits, a point perhaps. No exponent, no `inf`.
fn decimal(text: &str) -> Option<f64> {
    let is_decimal = text
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.'));
    if !is_decimal {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn code<T: fmt::Display>(read: Result<T, Fault>) -> String {
        read.map_or_else(|fault| fault.code().to_owned(), |value| value.to_string())
    }

    #[test]
    fn polygons_are_closed_and_latitude_comes_first() {
        for (text, said) in [
            (
                "36.6,101.7 36.7,101.7 36.7,101.8 36.6,101.7",
                "36.6,101.7 36.7,101.7 36.7,101.8 36.6,101.7",
            ),
            (
                "\n +41.12,-117.61\t41,-117 42,-116\n+41.120,-117.61 ",
                "41.12,-117.61 41,-117 42,-116 41.12,-117.61",
            ),
            ("-0.0,0 1,1 1,0 0,-0", "0,0 1,1 1,0 0,0"),
            ("", "polygon_pairs"),
            ("1,1 2,2 1,1", "polygon_pairs"),
            ("1,1 2,2 3,1 4,4", "polygon_open"),
            ("1,1 2,2 3,1 1,1,", "coordinate"),
            ("1,1 2,2 3,1 1 1", "coordinate"),
            ("1;1 2;2 3;1 1;1", "coordinate"),
            ("1,1 2,2 3,1e0 1,1", "coordinate"),
            ("NaN,1 2,2 3,1 NaN,1", "coordinate"),
            ("1,1 inf,2 3,1 1,1", "coordinate"),
            ("101.7,36.6 101.7,36.7 101.8,36.7 101.7,36.6", "off_globe"),
            ("1,181 2,2 3,1 1,181", "off_globe"),
        ] {
            assert_eq!(code(Polygon::parse(text)), said, "{text}");
        }
    }

    #[test]
    fn a_ring_of_the_map_is_turned_and_closed() {
        let polygon = Polygon::from_lon_lat(&[[101.7, 36.6], [101.8, 36.6], [101.8, 36.7]]).unwrap();
        assert_eq!(polygon.to_string(), "36.6,101.7 36.6,101.8 36.7,101.8 36.6,101.7");
        assert_eq!(
            Polygon::from_lon_lat(&[[36.6, 101.7]]).unwrap_err().code(),
            "off_globe"
        );
        assert_eq!(Polygon::from_lon_lat(&[]).unwrap_err().code(), "polygon_pairs");
    }

    #[test]
    fn circles_and_heights() {
        for (text, said) in [
            ("-16.053,-173.274 0.0", "-16.053,-173.274 0"),
            ("36.6,101.7 2.5", "36.6,101.7 2.5"),
            ("36.6,101.7", "circle"),
            ("36.6,101.7 -1", "circle"),
            ("36.6,101.7 1e3", "circle"),
            ("36.6,101.7 1 km", "circle"),
            ("36.6,101.7 99999", "circle"),
            ("36.6 101.7 1", "circle"),
            ("x 1", "coordinate"),
            ("101.7,36.6 1", "off_globe"),
        ] {
            assert_eq!(code(Circle::parse(text)), said, "{text}");
        }
        for (text, said) in [
            ("7400", "7400"),
            ("-0.0004", "0"),
            ("7400.12349", "7400.123"),
            ("", "number"),
            ("1e3", "number"),
            ("9999999999", "number"),
        ] {
            assert_eq!(code(Feet::parse(text)), said, "{text}");
        }
    }
}
