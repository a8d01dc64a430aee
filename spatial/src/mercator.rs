//! The Web Mercator square in whole steps: what tiles are cut from.

use std::sync::LazyLock;

use crate::coordinates::{Extent, PER_DEGREE, Vertex};
use crate::ground::zorder;

/// Side of the square in steps.
const WORLD: f64 = 4_294_967_296.0;
/// Where Web Mercator ends, 85.0511287 degrees: up to there the world is a square.
const MOST_STEPS: i32 = 850_511_288;
/// Bands of latitude are 2^17 grid steps tall, 1.5 km.
const BAND_BITS: u32 = 17;
/// Grid steps from the pole to the equator.
const QUARTER: i32 = 900_000_000;

/// A point of the Web Mercator square, 2^32 steps wide; `y` grows southwards as in tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Mercator {
    pub(crate) x: u32,
    pub(crate) y: u32,
}

/// A parabola for each band of latitude. It is less than half a step off below 85 degrees, and costs three
/// multiplications where the formula costs two functions; every point is projected by it, so all agree.
static BANDS: LazyLock<Vec<[f64; 3]>> = LazyLock::new(|| {
    let tall = f64::from(1u32 << BAND_BITS);
    let n_bands = ((2 * QUARTER as u32) >> BAND_BITS) + 1;
    let y = |steps: f64| {
        let degrees = ((steps - f64::from(QUARTER)) / PER_DEGREE).clamp(-89.9, 89.9);
        (0.5 - degrees.to_radians().sin().atanh() / std::f64::consts::TAU) * WORLD
    };
    let band = |band: u32| {
        let south = f64::from(band) * tall;
        let [a, b, c] = [south, south + tall / 2.0, south + tall].map(y);
        [
            a,
            (4.0 * b - 3.0 * a - c) / tall,
            2.0 * (a - 2.0 * b + c) / (tall * tall),
        ]
    };
    (0..n_bands).map(band).collect()
});

impl Mercator {
    /// Projects; latitudes beyond 85.05 degrees come to lie on the square's border.
    #[inline]
    pub(crate) fn of(v: Vertex) -> Self {
        // 2^32 steps over 3.6e9: below 2^64.
        let east = (i64::from(v.lon) + 1_800_000_000) as u64;
        let x = (east << 32) / 3_600_000_000;
        let steps = (v.lat.clamp(-MOST_STEPS, MOST_STEPS) + QUARTER) as u32;
        let [a, b, c] = BANDS[(steps >> BAND_BITS) as usize];
        let part = f64::from(steps & ((1 << BAND_BITS) - 1));
        let y = a + part * (b + part * c);
        // `as` saturates, and 180 degrees east becomes the last step.
        Self {
            x: x.min(u64::from(u32::MAX)) as u32,
            y: y as u32,
        }
    }

    /// Back to degrees, for the corners of tiles: `x` and `y` may be the far edge (2^32).
    pub(crate) fn degrees_at(x: u64, y: u64) -> (f64, f64) {
        let lon = x as f64 / WORLD * 360.0 - 180.0;
        let lat = (std::f64::consts::TAU * (0.5 - y as f64 / WORLD))
            .tanh()
            .asin()
            .to_degrees();
        (lon, lat)
    }

    /// Its place in Z-order.
    pub(crate) fn key(self) -> u64 {
        zorder::code(self.x, self.y)
    }
}

/// A box of the Mercator square, both corners inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MercatorBox {
    /// North-west corner.
    pub(crate) min: Mercator,
    /// South-east corner.
    pub(crate) max: Mercator,
}

impl MercatorBox {
    /// The box around a box of degrees.
    pub(crate) fn around(extent: &Extent) -> Self {
        let (a, b) = (Mercator::of(extent.min), Mercator::of(extent.max));
        Self {
            min: Mercator { x: a.x, y: b.y },
            max: Mercator { x: b.x, y: a.y },
        }
    }

    /// The square cell of a zoom, by column and row.
    pub(crate) fn cell(zoom: u32, [column, row]: [u32; 2]) -> Self {
        let bits = 32 - zoom;
        let near = |cell: u32| (u64::from(cell) << bits) as u32;
        let far = |cell: u32| (((u64::from(cell) + 1) << bits) - 1) as u32;
        Self {
            min: Mercator {
                x: near(column),
                y: near(row),
            },
            max: Mercator {
                x: far(column),
                y: far(row),
            },
        }
    }

    /// Larger by some steps on every side.
    pub(crate) fn widened(&self, steps: u32) -> Self {
        let corner = |m: Mercator, by: fn(u32, u32) -> u32| Mercator {
            x: by(m.x, steps),
            y: by(m.y, steps),
        };
        Self {
            min: corner(self.min, u32::saturating_sub),
            max: corner(self.max, u32::saturating_add),
        }
    }

    /// A box of degrees around it, a little larger.
    pub(crate) fn degrees(&self) -> Extent {
        let (west, north) = Mercator::degrees_at(self.min.x.into(), self.min.y.into());
        let far = |v: u32| u64::from(v) + 1;
        let (east, south) = Mercator::degrees_at(far(self.max.x), far(self.max.y));
        let slack = 1e-6;
        // Beyond the square points lie on its border: the outermost rows reach the poles.
        let north = if self.min.y == 0 { 90.0 } else { north + slack };
        let south = if self.max.y == u32::MAX {
            -90.0
        } else {
            south - slack
        };
        let vertex = |lon: f64, lat: f64| {
            Vertex::from_degrees(lon.clamp(-180.0, 180.0), lat.clamp(-90.0, 90.0))
                .expect("clamped to the globe")
        };
        Extent {
            min: vertex(west - slack, south),
            max: vertex(east + slack, north),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn projection_agrees_with_the_well_known_tile_of_xining() {
        // Slippy-map formula: z 14 tile of 101.7782 E, 36.6171 N is 12824/6398.
        let m = Mercator::of(Vertex::from_degrees(101.7782, 36.6171).unwrap());
        let n = f64::from(1u32 << 14);
        let lat = 36.6171f64.to_radians();
        let x = ((101.7782 + 180.0) / 360.0 * n) as u32;
        let y = ((1.0 - (lat.tan() + 1.0 / lat.cos()).ln() / std::f64::consts::PI) / 2.0 * n) as u32;
        assert_eq!((m.x >> 18, m.y >> 18), (x, y));
        assert_eq!((x, y), (12824, 6398));
    }

    #[test]
    fn projecting_and_coming_back_stays_within_a_centimetre() {
        for (lon, lat) in [(101.5, 36.6), (-179.9, -84.0), (0.0, 0.0), (179.999, 85.0)] {
            let m = Mercator::of(Vertex::from_degrees(lon, lat).unwrap());
            let (x, y) = Mercator::degrees_at(u64::from(m.x), u64::from(m.y));
            assert!(
                (x - lon).abs() < 2e-7 && (y - lat).abs() < 2e-7,
                "{lon} {lat}: {x} {y}"
            );
        }
    }

    #[test]
    fn the_rim_of_the_globe_does_not_overflow() {
        for (lon, lat) in [(180.0, 90.0), (-180.0, -90.0)] {
            let v = Vertex::from_degrees(lon, lat).unwrap();
            let m = Mercator::of(v);
            assert!(m.x == 0 || m.x == u32::MAX);
        }
        let whole = MercatorBox::cell(0, [0, 0]);
        assert_eq!((whole.max.x, whole.max.y), (u32::MAX, u32::MAX));
        assert_eq!(whole.degrees().degrees(), [-180.0, -90.0, 180.0, 90.0]);
    }

    proptest! {
        #[test]
        fn parabolas_are_the_formula(lon in -1_800_000_000..=1_800_000_000i32, lat in -850_500_000..=850_500_000i32) {
            let v = Vertex { lon, lat };
            let formula = |lat: f64| (0.5 - lat.to_radians().sin().atanh() / std::f64::consts::TAU) * WORLD;
            let m = Mercator::of(v);
            prop_assert!((f64::from(m.y) + 0.5 - formula(v.lat_degrees())).abs() < 1.1);
            prop_assert!((f64::from(m.x) + 0.5 - (v.lon_degrees() + 180.0) / 360.0 * WORLD).abs() < 1.1);
            // Who goes north never goes south, across bands too.
            let north = Mercator::of(Vertex { lon, lat: lat + 1 });
            prop_assert!(north.y <= m.y);
        }

        #[test]
        fn a_cell_lies_in_its_box_of_degrees(lon in -1_800_000_000..=1_800_000_000i32, lat in -900_000_000..=900_000_000i32, zoom in 0..=18u32) {
            let v = Vertex { lon, lat };
            let m = Mercator::of(v);
            let cell = |v: u32| v.checked_shr(32 - zoom).unwrap_or(0);
            let own = MercatorBox::cell(zoom, [cell(m.x), cell(m.y)]);
            let holds = (own.min.x..=own.max.x).contains(&m.x) && (own.min.y..=own.max.y).contains(&m.y);
            prop_assert!(holds && own.degrees().holds(v));
        }
    }
}
