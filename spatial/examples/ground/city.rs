//! The synthetic city that is measured: Xining's window, seeded, on the grid of 1e-7 degree.

use onemap_spatial::ground::{Extent, Polygon, Vertex};

pub(crate) const N_POINTS: usize = 1_000_000;
pub(crate) const N_POLYGONS: usize = 50_000;
pub(crate) const N_LINES: usize = 200_000;
pub(crate) const N_FENCES: usize = 10_000;
pub(crate) const N_MOVERS: usize = 100_000;

/// The window in degrees.
const WINDOW: [f64; 4] = [101.50, 36.45, 102.05, 36.80];
/// Metres a degree at 36.6 N.
const NORTH_M: f64 = 111_000.0;
const EAST_M: f64 = 89_250.0;

/// SplitMix64: the same city on every machine.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.part()
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn gauss(&mut self) -> f64 {
        (-2.0 * (1.0 - self.part()).ln()).sqrt() * (std::f64::consts::TAU * self.part()).cos()
    }
}

pub(crate) struct City {
    pub(crate) points: Vec<(Vertex, u8)>,
    pub(crate) polygons: Vec<Polygon>,
    pub(crate) lines: Vec<Vec<Vertex>>,
    pub(crate) fences: Vec<Polygon>,
    /// Where people are: middle and spread in metres.
    centres: Vec<([f64; 2], f64)>,
}

fn vertex(lon: f64, lat: f64) -> Vertex {
    Vertex::from_degrees(lon, lat).expect("the window is on the globe")
}

/// A point so many metres to the east and to the north.
pub(crate) fn moved(from: Vertex, east_m: f64, north_m: f64) -> Vertex {
    vertex(
        from.lon_degrees() + east_m / EAST_M,
        from.lat_degrees() + north_m / NORTH_M,
    )
}

/// The square around a point.
pub(crate) fn square(middle: Vertex, metres: f64) -> Extent {
    Extent {
        min: moved(middle, -metres, -metres),
        max: moved(middle, metres, metres),
    }
}

pub(crate) fn star(chance: &mut Chance, middle: Vertex, radius_m: f64, n: usize) -> Polygon {
    let corner = |i: usize, far: f64| {
        let angle = std::f64::consts::TAU * i as f64 / n as f64;
        moved(middle, far * angle.cos(), far * angle.sin())
    };
    let ring = (0..n)
        .map(|i| corner(i, radius_m * chance.between(0.7, 1.3)))
        .collect();
    Polygon { rings: vec![ring] }
}

impl City {
    pub(crate) fn new() -> Self {
        let mut chance = Chance::new(6301);
        let mut centres = vec![([101.778, 36.617], 3500.0); 12];
        for _ in 0..40 {
            let middle = [
                chance.between(WINDOW[0] + 0.08, WINDOW[2] - 0.08),
                chance.between(WINDOW[1] + 0.05, WINDOW[3] - 0.05),
            ];
            centres.push((middle, chance.between(500.0, 2500.0)));
        }
        let mut city = Self {
            points: Vec::with_capacity(N_POINTS),
            polygons: Vec::with_capacity(N_POLYGONS),
            lines: Vec::with_capacity(N_LINES),
            fences: Vec::with_capacity(N_FENCES),
            centres,
        };
        for _ in 0..N_POINTS {
            let at = city.place(&mut chance);
            let kind = (chance.part() * chance.part() * 32.0) as u8;
            city.points.push((at, kind));
        }
        for i in 0..N_POLYGONS {
            let at = city.place(&mut chance);
            let polygon = if i % 5 == 0 {
                let (radius, n) = (chance.between(80.0, 500.0), 20 + chance.below(41));
                star(&mut chance, at, radius, n)
            } else {
                building(&mut chance, at)
            };
            city.polygons.push(polygon);
        }
        for _ in 0..N_LINES {
            let at = city.place(&mut chance);
            city.lines.push(line(&mut chance, at));
        }
        for _ in 0..N_FENCES {
            let at = city.place(&mut chance);
            let (radius, n) = (100.0 * 8f64.powf(chance.part()), 16 + chance.below(49));
            city.fences.push(star(&mut chance, at, radius, n));
        }
        city
    }

    /// A place where things are.
    pub(crate) fn place(&self, chance: &mut Chance) -> Vertex {
        let [west, south, east, north] = WINDOW;
        loop {
            let (lon, lat) = if chance.part() < 0.15 {
                (chance.between(west, east), chance.between(south, north))
            } else {
                let (middle, spread) = self.centres[chance.below(self.centres.len())];
                let (across, up) = (chance.gauss(), chance.gauss());
                (
                    middle[0] + across * spread / EAST_M,
                    middle[1] + up * spread / NORTH_M,
                )
            };
            if west < lon && lon < east && south < lat && lat < north {
                return vertex(lon, lat);
            }
        }
    }

    /// Places to ask from.
    pub(crate) fn places(&self, n: usize) -> Vec<Vertex> {
        let mut chance = Chance::new(7);
        (0..n).map(|_| self.place(&mut chance)).collect()
    }

    /// Where the movers begin, and moves of 15 m on the average in each direction.
    pub(crate) fn moves(&self, n: usize) -> (Vec<Vertex>, Vec<(u32, Vertex)>) {
        let begin: Vec<Vertex> = (0..N_MOVERS).map(|i| self.points[i * 7].0).collect();
        let (mut at, mut chance) = (begin.clone(), Chance::new(99));
        let moves = (0..n).map(|_| {
            let i = chance.below(N_MOVERS);
            let to = moved(at[i], 15.0 * chance.gauss(), 15.0 * chance.gauss());
            at[i] = to;
            (i as u32, to)
        });
        let moves = moves.collect();
        (begin, moves)
    }
}

/// Grids that cover the window, so many a side, with shared borders that are not straight.
pub(crate) fn grids(n: usize) -> Vec<Polygon> {
    let mut chance = Chance::new(17);
    let [west, south, east, north] = WINDOW;
    let (wide, tall) = ((east - west) / n as f64, (north - south) / n as f64);
    let corners: Vec<Vec<Vertex>> = (0..=n)
        .map(|row| {
            let corner = |column: usize| {
                let mut inner = |i: usize, size: f64| match i {
                    0 => 0.0,
                    i if i == n => 0.0,
                    _ => chance.between(-0.3, 0.3) * size,
                };
                let (x, y) = (inner(column, wide), inner(row, tall));
                vertex(west + column as f64 * wide + x, south + row as f64 * tall + y)
            };
            (0..=n).map(corner).collect()
        })
        .collect();
    let grid = |row: usize, column: usize| {
        let ring = [
            (row, column),
            (row, column + 1),
            (row + 1, column + 1),
            (row + 1, column),
        ];
        let ring = ring.map(|(row, column)| corners[row][column]).to_vec();
        Polygon { rings: vec![ring] }
    };
    (0..n)
        .flat_map(|row| (0..n).map(move |column| (row, column)))
        .map(|(row, column)| grid(row, column))
        .collect()
}

fn building(chance: &mut Chance, at: Vertex) -> Polygon {
    let (turn, w, h) = (
        chance.between(0.0, 1.57),
        chance.between(5.0, 25.0),
        chance.between(5.0, 40.0),
    );
    let corners = [
        (-w, -h),
        (w, -h),
        (w, h),
        (0.2 * w, h),
        (0.2 * w, 0.6 * h),
        (-w, 0.6 * h),
    ];
    let turned = |(x, y): (f64, f64)| {
        moved(
            at,
            x * turn.cos() - y * turn.sin(),
            x * turn.sin() + y * turn.cos(),
        )
    };
    Polygon {
        rings: vec![corners.map(turned).to_vec()],
    }
}

fn line(chance: &mut Chance, mut at: Vertex) -> Vec<Vertex> {
    let mut heading = chance.below(4) as f64 * std::f64::consts::FRAC_PI_2 + 0.15 * chance.gauss();
    let step = chance.between(15.0, 80.0);
    let mut line = vec![at];
    for _ in 0..2 + chance.below(8) {
        heading += 0.2 * chance.gauss();
        at = moved(at, step * heading.cos(), step * heading.sin());
        line.push(at);
    }
    line
}
