//! Random scenes that provoke what goes wrong: points on borders and vertices, coarse grids where many lie on
//! one line, the rim of the globe, polygons of every size.

use onemap_spatial::ground::{Polygon, Vertex};

use super::brute;

/// What a scene's coordinates are drawn from.
#[derive(Clone, Copy, Debug)]
enum Ground {
    /// A city, every step of the grid.
    City,
    /// A few hundred places on a lattice: ties and borders everywhere.
    Lattice,
    /// Half on one spot, half over the globe.
    Globe,
    /// Around 180 degrees and near the pole.
    Rim,
}

pub(crate) struct Scene {
    state: u64,
    ground: Ground,
}

impl Scene {
    pub(crate) fn new(seed: u64) -> Self {
        let mut scene = Self {
            state: seed,
            ground: Ground::City,
        };
        scene.ground = [
            Ground::City,
            Ground::City,
            Ground::Lattice,
            Ground::Globe,
            Ground::Rim,
        ][scene.below(5) as usize];
        scene
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u32) -> u32 {
        (self.next() % u64::from(n.max(1))) as u32
    }

    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn vertex(&mut self) -> Vertex {
        let crowded = self.below(2) == 0;
        let (lon, lat) = match self.ground {
            Ground::City => (self.between(101.7, 101.85), self.between(36.55, 36.68)),
            Ground::Lattice => {
                let at = |n: u32| f64::from(n) * 0.0016384;
                (101.7 + at(self.below(12)), 36.5 + at(self.below(12)))
            }
            Ground::Globe if crowded => (self.between(101.777, 101.779), self.between(36.61, 36.62)),
            Ground::Globe => (self.between(-180.0, 180.0), self.between(-90.0, 90.0)),
            Ground::Rim => {
                let turned = self.between(170.0, 190.0);
                let lon = if turned > 180.0 { turned - 360.0 } else { turned };
                let exact = [180.0, -180.0, lon, lon][self.below(4) as usize];
                (exact, self.between(80.0, 90.0))
            }
        };
        Vertex::from_degrees(lon, lat).expect("on the globe")
    }

    /// A place to ask from: among the points or somewhere else.
    pub(crate) fn near(&mut self) -> Vertex {
        match self.below(4) {
            0 => Vertex::from_degrees(self.between(-180.0, 180.0), self.between(-90.0, 90.0))
                .expect("on the globe"),
            _ => self.vertex(),
        }
    }

    pub(crate) fn metres(&mut self) -> f64 {
        10f64.powf(self.between(0.0, 7.4)) - 1.0
    }

    /// A star around a point of the scene, sometimes with a hole, or any vertices of the scene in any order
    /// (which crosses itself).
    pub(crate) fn polygon(&mut self) -> Polygon {
        if self.below(4) == 0 {
            let ring = (0..3 + self.below(6)).map(|_| self.vertex()).collect();
            return Polygon {
                rings: vec![within_180(ring)],
            };
        }
        let centre = self.vertex();
        let size = 10f64.powf(self.between(-4.5, -0.5));
        let n = 3 + self.below(40);
        let mut rings = vec![self.star(centre, size, n)];
        if self.below(3) == 0 {
            let n = 3 + self.below(8);
            rings.push(self.star(centre, size * 0.4, n));
        }
        Polygon { rings }
    }

    fn star(&mut self, centre: Vertex, size: f64, n: u32) -> Vec<Vertex> {
        let coarse = self.below(2) == 0;
        let ring = (0..n).map(|i| {
            let angle = f64::from(i) / f64::from(n) * std::f64::consts::TAU;
            let far = size * self.between(0.6, 1.3);
            let at = |middle: f64, add: f64, most: f64| {
                let degrees = (middle + add).clamp(-most, most);
                match coarse {
                    true => ((degrees / 0.0008192).round() * 0.0008192).clamp(-most, most),
                    false => degrees,
                }
            };
            let (lon, lat) = (
                at(centre.lon_degrees(), far * angle.cos(), 180.0),
                at(centre.lat_degrees(), far * angle.sin(), 90.0),
            );
            Vertex::from_degrees(lon, lat).expect("on the globe")
        });
        ring.collect()
    }

    /// A point of the scene, or one on or beside a border.
    pub(crate) fn on_some_border<'a>(&mut self, polygons: impl Iterator<Item = &'a Polygon>) -> Vertex {
        let edges: Vec<(Vertex, Vertex)> = polygons.flat_map(brute::edges).collect();
        if edges.is_empty() || self.below(3) == 0 {
            return self.vertex();
        }
        let (a, b) = edges[self.below(edges.len() as u32) as usize];
        let part = [0.0, 0.5, self.between(0.0, 1.0)][self.below(3) as usize];
        let mut between = |a: i32, b: i32, most: i32| {
            let at = f64::from(a) + part * (f64::from(b) - f64::from(a));
            (at as i32 + self.below(3) as i32 - 1).clamp(-most, most)
        };
        Vertex {
            lon: between(a.lon, b.lon, 1_800_000_000),
            lat: between(a.lat, b.lat, 900_000_000),
        }
    }
}

/// The reader refuses polygons wider than 180 degrees.
fn within_180(ring: Vec<Vertex>) -> Vec<Vertex> {
    let east = ring[0].lon >= 0;
    let fold = |v: Vertex| Vertex {
        lon: if east { v.lon.abs() } else { -v.lon.abs() },
        lat: v.lat,
    };
    ring.into_iter().map(fold).collect()
}

impl Scene {
    /// A star without crossings, sometimes with a hole.
    pub(crate) fn simple_polygon(&mut self) -> Polygon {
        let centre = self.vertex();
        self.ring_around(centre, -3.5, -2.0)
    }

    /// One that mostly meets the other.
    pub(crate) fn simple_polygon_near(&mut self, other: &Polygon) -> Polygon {
        let centre = self.on_some_border(std::iter::once(other));
        self.ring_around(centre, -4.5, -1.8)
    }

    fn ring_around(&mut self, centre: Vertex, least: f64, most: f64) -> Polygon {
        let size = 10f64.powf(self.between(least, most));
        let n = 3 + self.below(24);
        let mut rings = vec![self.star(centre, size, n)];
        if self.below(3) == 0 {
            let n = 3 + self.below(6);
            rings.push(self.star(centre, size * 0.3, n));
        }
        Polygon { rings }
    }
}
