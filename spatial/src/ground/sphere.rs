//! Distances on the sphere, the same to the last bit on every machine.
//!
//! The sphere has the mean radius of the ellipsoid, so a distance is within 0.56 % of the geodesic's (within
//! 0.23 % around Xining); rounding adds less than a millimetre, at the antipode half a metre. Sines are series
//! of our own: the C library's differ between machines in the last bit, and an order by distance must not.
//! What is compared is the *haversine*, sin²(d / 2R), which grows with the distance; metres are made of it at
//! the end.

use crate::coordinates::{Extent, Vertex};

/// Mean radius of the earth, metres (IUGG: (2a + b) / 3 of GRS 80).
pub const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// One step of the grid (1e-7 degree) in radians.
const STEP: f64 = std::f64::consts::PI / 1_800_000_000.0;
/// Steps of half a turn.
const HALF_TURN: i64 = 1_800_000_000;

/// The distance of two points, metres.
pub fn distance_m(a: Vertex, b: Vertex) -> f64 {
    metres(Origin::at(a).haversine(b))
}

/// Metres of a haversine.
pub(crate) fn metres(haversine: f64) -> f64 {
    let (q, half) = (haversine, haversine.clamp(0.0, 1.0).sqrt());
    if q < 1e-5 {
        // Up to 40 km: the series of the arcsine, the same everywhere.
        return 2.0 * EARTH_RADIUS_M * half * (1.0 + q * (1.0 / 6.0 + q * (3.0 / 40.0 + q * (15.0 / 336.0))));
    }
    2.0 * EARTH_RADIUS_M * half.asin()
}

/// The haversine of a distance in metres: 0 for what is not positive, 1 from half the earth's girth on.
pub(crate) fn haversine_of(metres: f64) -> f64 {
    let half = metres / (2.0 * EARTH_RADIUS_M);
    if half >= std::f64::consts::FRAC_PI_2 {
        return 1.0;
    }
    let sine = sine(half.max(0.0));
    sine * sine
}

/// Up to this square of an angle (2.5 degrees) four terms of the series are exact to the last bits.
const SMALL: f64 = 0.002;

/// 1 / (n (n + 1)) for even n from 2 on, and the same for n (n - 1): what each term of a series adds.
const SINE_TERMS: [f64; 11] = terms(1.0);
const COSINE_TERMS: [f64; 11] = terms(-1.0);

const fn terms(next: f64) -> [f64; 11] {
    let (mut terms, mut i) = ([0.0; 11], 0);
    while i < terms.len() {
        let n = 2.0 * (i as f64 + 1.0);
        terms[i] = 1.0 / (n * (n + next));
        i += 1;
    }
    terms
}

/// Sine of an angle between -π/2 and π/2 radians.
#[inline]
fn sine(x: f64) -> f64 {
    let q = x * x;
    if q < SMALL {
        x * series(q, &SINE_TERMS[..3])
    } else {
        x * series(q, &SINE_TERMS)
    }
}

/// Cosine of an angle between -π/2 and π/2 radians.
fn cosine(x: f64) -> f64 {
    let q = x * x;
    if q < SMALL {
        series(q, &COSINE_TERMS[..4])
    } else {
        series(q, &COSINE_TERMS).max(0.0)
    }
}

/// 1 - q t0 (1 - q t1 (1 - …))
#[inline]
fn series(q: f64, terms: &[f64]) -> f64 {
    terms.iter().rev().fold(1.0, |sum, term| 1.0 - sum * q * term)
}

/// An upper bound of the arcsine, for 0 to 1.
fn arcsine_at_most(x: f64) -> f64 {
    if x < 0.25 {
        x * (1.0 + 0.18 * x * x)
    } else {
        (x * std::f64::consts::FRAC_PI_2).min(std::f64::consts::FRAC_PI_2)
    }
}

/// A point that distances are taken from, prepared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) at: Vertex,
    sine: f64,
    cosine: f64,
}

impl Origin {
    pub(crate) fn at(at: Vertex) -> Self {
        let latitude = f64::from(at.lat) * STEP;
        Self {
            at,
            sine: sine(latitude),
            cosine: cosine(latitude),
        }
    }

    /// Cosine of the latitude.
    pub(crate) fn cosine(&self) -> f64 {
        self.cosine
    }

    /// sin²(d / 2R) to another point.
    #[inline]
    pub(crate) fn haversine(&self, to: Vertex) -> f64 {
        let d = |to: i32, from: i32| (i64::from(to) - i64::from(from)) as f64;
        self.haversine_of_steps(d(to.lon, self.at.lon), d(to.lat, self.at.lat))
    }

    /// sin²(d / 2R) to a point so many steps to the east and to the north.
    #[inline(always)]
    pub(crate) fn haversine_of_steps(&self, east: f64, north: f64) -> f64 {
        let wide = east.abs();
        let wide = wide.min(2.0 * HALF_TURN as f64 - wide) * (STEP / 2.0);
        let tall = north * (STEP / 2.0);
        let rise = sine(tall);
        let cosine = self.cosine_to(tall, rise);
        let across = sine(wide);
        rise * rise + self.cosine * cosine * across * across
    }

    /// Cosine of the latitude that lies twice `half` to the north; `rise` is the sine of `half`.
    #[inline]
    fn cosine_to(&self, half: f64, rise: f64) -> f64 {
        let q = half * half;
        let cosine = if q < SMALL {
            // cos(a + 2h) = cos a (1 - 2 sin² h) - 2 sin a sin h cos h
            let c = series(q, &COSINE_TERMS[..3]);
            self.cosine * (1.0 - 2.0 * rise * rise) - self.sine * 2.0 * rise * c
        } else {
            cosine(f64::from(self.at.lat) * STEP + 2.0 * half)
        };
        cosine.max(0.0)
    }

    /// At most the haversine of any point of the box, 0 when it holds the origin.
    pub(crate) fn least_to(&self, extent: &Extent) -> f64 {
        let gap = |p: i32, low: i32, high: i32| {
            (i64::from(low) - i64::from(p))
                .max(i64::from(p) - i64::from(high))
                .max(0)
        };
        let (lon, lat) = (self.at.lon, self.at.lat);
        let mut wide = gap(lon, extent.min.lon, extent.max.lon);
        if wide > 0 {
            // The other way around the earth.
            let turned = if lon < extent.min.lon {
                i64::from(lon) + 2 * HALF_TURN - i64::from(extent.max.lon)
            } else {
                i64::from(extent.min.lon) + 2 * HALF_TURN - i64::from(lon)
            };
            wide = wide.min(turned).max(0);
        }
        let rise = sine(gap(lat, extent.min.lat, extent.max.lat) as f64 * (STEP / 2.0));
        let mut bound = rise * rise;
        if wide > 0 {
            let farthest = match extent.min.lat.abs() > extent.max.lat.abs() {
                true => extent.min.lat,
                false => extent.max.lat,
            };
            let half = (i64::from(farthest) - i64::from(lat)) as f64 * (STEP / 2.0);
            let least = self.cosine_to(half, sine(half));
            let across = sine(wide as f64 * (STEP / 2.0));
            bound += self.cosine * least * across * across;
        }
        bound * LESS
    }

    /// Steps of latitude and longitude that a point within the haversine cannot be farther away than.
    pub(crate) fn reach(&self, haversine: f64) -> (i64, i64) {
        if haversine >= 0.5 {
            return (HALF_TURN, HALF_TURN);
        }
        let half = haversine.max(0.0).sqrt();
        let tall = (arcsine_at_most(half) * 2.0 / STEP * MORE) as i64 + 2;
        // sin d of d = 2 asin(half)
        let across = 2.0 * half * (1.0 - haversine).sqrt();
        let wide = if across < self.cosine * 0.99 {
            (arcsine_at_most(across / self.cosine) / STEP * MORE) as i64 + 2
        } else {
            HALF_TURN
        };
        (tall, wide)
    }

    /// The same, and no more than already known; unchanged where the way across 180 degrees is within reach.
    pub(crate) fn reach_within(&self, haversine: f64, (tall, wide): (i64, i64)) -> (i64, i64) {
        let (up, across) = self.reach(haversine);
        match i64::from(self.at.lon).abs() + across <= HALF_TURN {
            true => (up.min(tall), across.min(wide)),
            false => (tall, wide),
        }
    }

    /// The boxes that hold every point within the haversine: two at 180 degrees.
    pub(crate) fn boxes(&self, haversine: f64) -> [Option<Extent>; 2] {
        let (tall, wide) = self.reach(haversine);
        let (lon, lat) = (i64::from(self.at.lon), i64::from(self.at.lat));
        let south = (lat - tall).max(-HALF_TURN / 2) as i32;
        let north = (lat + tall).min(HALF_TURN / 2) as i32;
        let extent = |west: i64, east: i64| {
            Some(Extent {
                min: Vertex {
                    lon: west as i32,
                    lat: south,
                },
                max: Vertex {
                    lon: east as i32,
                    lat: north,
                },
            })
        };
        let (west, east) = (lon - wide, lon + wide);
        if wide >= HALF_TURN {
            [extent(-HALF_TURN, HALF_TURN), None]
        } else if west < -HALF_TURN {
            [extent(-HALF_TURN, east), extent(west + 2 * HALF_TURN, HALF_TURN)]
        } else if east > HALF_TURN {
            [extent(west, HALF_TURN), extent(-HALF_TURN, east - 2 * HALF_TURN)]
        } else {
            [extent(west, east), None]
        }
    }
}

/// Bounds are taken a little below and above, for what rounding may take away.
const LESS: f64 = 1.0 - 1e-12;
const MORE: f64 = 1.0 + 1e-9;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn vertex(lon: f64, lat: f64) -> Vertex {
        Vertex::from_degrees(lon, lat).unwrap()
    }

    #[test]
    fn distances_are_those_of_a_table() {
        // A degree of the great circle is 111.195 km on this sphere.
        let degree = EARTH_RADIUS_M.to_radians();
        for (a, b, want) in [
            (vertex(0.0, 0.0), vertex(1.0, 0.0), degree),
            (vertex(179.5, 0.0), vertex(-179.5, 0.0), degree),
            (vertex(12.0, 89.5), vertex(-168.0, 89.5), degree),
            (vertex(0.0, -90.0), vertex(77.0, 90.0), 180.0 * degree),
            (vertex(101.0, 36.0), vertex(101.0, 36.0), 0.0),
        ] {
            let got = distance_m(a, b);
            // Next to the antipode the sine has few digits left.
            let error = if want > 2e7 { 0.5 } else { 0.01 };
            assert!((got - want).abs() < error, "{a:?} {b:?}: {got} {want}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn the_haversine_is_that_of_the_c_library(
            lon in -180.0..180.0f64, lat in -90.0..90.0f64, far in 1e-6..180.0f64, turn in 0.0..6.3f64,
        ) {
            let a = vertex(lon, lat);
            let b = vertex((lon + far * turn.cos()).clamp(-180.0, 180.0), (lat + far * turn.sin()).clamp(-90.0, 90.0));
            let (p, q) = (a.lat_degrees().to_radians(), b.lat_degrees().to_radians());
            let l = (a.lon_degrees() - b.lon_degrees()).to_radians();
            let want = ((p - q) / 2.0).sin().powi(2) + p.cos() * q.cos() * (l / 2.0).sin().powi(2);
            let got = Origin::at(a).haversine(b);
            // The difference of two angles in radians is off by their last bits, whatever its size.
            prop_assert!((got - want).abs() <= 1e-12 * want + 1e-15 * want.sqrt() + 1e-24, "{got} {want}");
        }

        #[test]
        fn bounds_are_bounds(
            lon in -180.0..180.0f64, lat in -90.0..90.0f64, to_lon in -180.0..180.0f64, to_lat in -90.0..90.0f64,
            wide in 0.0..20.0f64, tall in 0.0..20.0f64,
        ) {
            let origin = Origin::at(vertex(lon, lat));
            let p = vertex(to_lon, to_lat);
            let h = origin.haversine(p);
            let corner = vertex((to_lon + wide).min(180.0), (to_lat + tall).min(90.0));
            let extent = Extent::around([p, corner]).unwrap();
            prop_assert!(origin.least_to(&extent) <= h && origin.least_to(&extent) <= origin.haversine(corner));
            prop_assert!(origin.boxes(h).iter().flatten().any(|b| b.holds(p)));
        }
    }
}
