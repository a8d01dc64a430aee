//! Prints what a city of a million components costs: memory, the first tile, tiles and questions after that.
//! `cargo run --release -p onemap-spatial --example million`
//!
//! The city has the window and the numbers of docs/benchmarks.md: 1 M points, 50 k polygons, 200 k lines on
//! 101.50-102.05 E, 36.45-36.80 N, seeded.

use std::error::Error;
use std::time::Instant;

use onemap_model::{Entity, EntityKind};
use onemap_spatial::query::{Filter, Region};
use onemap_spatial::{CityMap, Layer, Look, ThingKind};
use serde_json::json;

const N_POINTS: usize = 1_000_000;
const N_POLYGONS: usize = 50_000;
const N_LINES: usize = 200_000;
const N_ASKED: usize = 2_000;
const WINDOW: [f64; 4] = [101.50, 36.45, 102.05, 36.80];

struct Chance(u64);

impl Chance {
    fn part(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / (1u64 << 31) as f64
    }
    /// Two thirds around eight centres, the rest anywhere.
    fn place(&mut self) -> [f64; 2] {
        let [w, s, e, n] = WINDOW;
        if self.part() < 0.33 {
            return [w + self.part() * (e - w), s + self.part() * (n - s)];
        }
        let centre = (self.part() * 8.0) as u32;
        let (x, y) = (
            f64::from(centre % 4) / 4.0 + 0.125,
            f64::from(centre / 4) / 2.0 + 0.25,
        );
        let bell = |chance: &mut Self| (0..4).map(|_| chance.part()).sum::<f64>() / 4.0 - 0.5;
        [
            w + (x + 0.3 * bell(self)) * (e - w),
            s + (y + 0.4 * bell(self)) * (n - s),
        ]
    }
}

fn entity(kind: &str, code: String, geometry: serde_json::Value) -> Result<Entity, serde_json::Error> {
    serde_json::from_value(json!({"code": code, "kind": kind, "name": "", "geometry": geometry}))
}

fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kb.unwrap_or(f64::NAN) / 1024.0
}

/// Seconds that this thread was on a processor: what others do meanwhile does not count.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = stat
        .split_whitespace()
        .next()
        .and_then(|ns| ns.parse::<f64>().ok());
    ns.unwrap_or(f64::NAN) / 1e9
}

/// Middle and slowest by the clock, and how many a CPU-second.
fn figures(mut micros: Vec<f64>, cpu_s: f64) -> String {
    micros.sort_by(f64::total_cmp);
    let at = |q: f64| micros[((micros.len() - 1) as f64 * q) as usize];
    let each = micros.len() as f64 / cpu_s;
    format!(
        "{each:.0} a CPU-second (p50 {:.1} µs, p99 {:.1} µs)",
        at(0.5),
        at(0.99)
    )
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut chance = Chance(20_261_126);
    let mut map = CityMap::new();
    let before = resident_mb();
    let putting = std::cell::Cell::new(0.0);
    let put = |map: &mut CityMap, entity: &Entity| {
        let begin = Instant::now();
        let put = map.put_entity(entity);
        putting.set(putting.get() + begin.elapsed().as_secs_f64());
        put
    };
    for i in 0..N_POINTS {
        let at = chance.place();
        let code = format!("63010201037{i:06}");
        put(
            &mut map,
            &entity("component", code, json!({"type": "Point", "coordinates": at}))?,
        )?;
    }
    println!(
        "1 M points: put {:.2} s, {:.0} MB more resident",
        putting.get(),
        resident_mb() - before
    );
    for i in 0..N_POLYGONS {
        let [x, y] = chance.place();
        let far = 0.00005 + 0.0002 * chance.part();
        let ring = [[x, y], [x + far, y], [x + far, y + far], [x, y + far], [x, y]];
        put(
            &mut map,
            &entity(
                "hazard",
                format!("h{i}"),
                json!({"type": "Polygon", "coordinates": [ring]}),
            )?,
        )?;
    }
    for i in 0..N_LINES {
        let [x, y] = chance.place();
        let line = [
            [x, y],
            [
                x + 0.0008 * (chance.part() - 0.5),
                y + 0.0008 * (chance.part() - 0.5),
            ],
        ];
        put(
            &mut map,
            &entity(
                "pipe",
                format!("p{i}"),
                json!({"type": "LineString", "coordinates": line}),
            )?,
        )?;
    }
    println!(
        "all: put {:.2} s, {:.0} MB more resident",
        putting.get(),
        resident_mb() - before
    );

    let tile_of = |[lon, lat]: [f64; 2], zoom: u32| {
        let n = f64::from(1u32 << zoom);
        let y = (1.0 - lat.to_radians().tan().asinh() / std::f64::consts::PI) / 2.0 * n;
        [zoom, ((lon + 180.0) / 360.0 * n) as u32, y as u32]
    };
    let (begin, busy) = (Instant::now(), cpu_s());
    let view = map.view();
    let tile = view.tile(Layer::Components, tile_of([101.78, 36.62], 12), &Look::default())?;
    println!(
        "first tile, with the index: {:.2} s ({:.2} CPU-s), {} bytes",
        begin.elapsed().as_secs_f64(),
        cpu_s() - busy,
        tile.map_or(0, |t| t.bytes.len())
    );
    println!("with the index: {:.0} MB more resident", resident_mb() - before);

    for (layer, zoom) in [
        (Layer::Components, 7),
        (Layer::Components, 10),
        (Layer::Components, 12),
        (Layer::Components, 13),
        (Layer::Components, 14),
        (Layer::Components, 16),
        (Layer::Pipes, 14),
        (Layer::Hazards, 14),
        (Layer::Hazards, 16),
    ] {
        let n = if zoom < 12 { 20 } else { 300 };
        let (mut micros, mut bytes, mut largest) = (Vec::new(), 0, 0);
        let busy = cpu_s();
        for _ in 0..n {
            let address = tile_of(chance.place(), zoom);
            let begin = Instant::now();
            let size = view
                .tile(layer, address, &Look::default())?
                .map_or(0, |tile| tile.bytes.len());
            micros.push(begin.elapsed().as_secs_f64() * 1e6);
            bytes += size;
            largest = size.max(largest);
        }
        println!(
            "{layer} z{zoom}: {}, {} bytes on average, {largest} at most",
            figures(micros, cpu_s() - busy),
            bytes / n
        );
    }
    let all = Filter::default();
    let components = Filter {
        kinds: vec![ThingKind::Entity(EntityKind::Component)],
        ..Filter::default()
    };
    for (name, filter) in [("all kinds", &all), ("components", &components)] {
        let (mut micros, mut n) = (Vec::new(), 0);
        let busy = cpu_s();
        for _ in 0..N_ASKED {
            let [x, y] = chance.place();
            let begin = Instant::now();
            let region = Region::bbox([x - 0.0014, y - 0.001_12, x + 0.0014, y + 0.001_12])?;
            view.within(&region, filter, |_| n += 1);
            micros.push(begin.elapsed().as_secs_f64() * 1e6);
        }
        println!(
            "box of 250 m, {name}: {}, {} found on average",
            figures(micros, cpu_s() - busy),
            n / N_ASKED
        );
        let mut micros = Vec::new();
        let busy = cpu_s();
        for _ in 0..N_ASKED {
            let [x, y] = chance.place();
            let begin = Instant::now();
            view.nearest((x, y), 10, None, filter)?;
            micros.push(begin.elapsed().as_secs_f64() * 1e6);
        }
        println!("10 nearest, {name}: {}", figures(micros, cpu_s() - busy));
    }
    let mut micros = Vec::new();
    let busy = cpu_s();
    for _ in 0..N_ASKED {
        let [x, y] = chance.place();
        let begin = Instant::now();
        view.column((x, y), None, &all)?;
        micros.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    println!("column: {}", figures(micros, cpu_s() - busy));
    Ok(())
}
