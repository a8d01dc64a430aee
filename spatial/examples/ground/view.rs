//! Measures the map as the server holds it: questions and tiles of a `CityView` with the synthetic city on it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use onemap_model::{Entity, EntityKind, Position};
use onemap_spatial::ground::{Polygon, Vertex};
use onemap_spatial::query::{Filter, Region};
use onemap_spatial::{CityMap, CityView, Layer, Look, ThingKind};
use serde_json::{Value, json};

use crate::city::{City, square};
use crate::{N_QUESTIONS, Questions, ask, cpu_seconds};

/// Grids a side: 500 by 400 m each.
const N_GRIDS_A_SIDE: usize = 100;
/// Tiles that are asked for, of each zoom.
const N_TILES: usize = 500;
/// Zooms that are measured.
const ZOOMS: [u32; 6] = [10, 11, 12, 13, 14, 16];
/// The layers of one tile that is measured.
const LAYERS: [Layer; 3] = [Layer::Components, Layer::Hazards, Layer::Pipes];

fn degrees(v: &Vertex) -> [f64; 2] {
    [v.lon_degrees(), v.lat_degrees()]
}

fn closed(polygon: &Polygon) -> Value {
    let ring =
        |ring: &Vec<Vertex>| -> Vec<[f64; 2]> { ring.iter().chain(ring.first()).map(degrees).collect() };
    json!({"type": "Polygon", "coordinates": polygon.rings.iter().map(ring).collect::<Vec<_>>()})
}

/// An entity: its kind, code, name and geometry.
type Named = (&'static str, String, String, Value);

/// Every entity of the city. Components are points, hazards polygons, pipes lines, and grids cover the window.
fn entities(city: &City) -> impl Iterator<Item = Named> {
    let points = city.points.iter().enumerate().map(|(i, (at, _))| {
        let geometry = json!({"type": "Point", "coordinates": degrees(at)});
        (
            "component",
            format!("LD630102-{i:07}"),
            format!("路灯{i}"),
            geometry,
        )
    });
    let polygons = city.polygons.iter().enumerate().map(|(i, polygon)| {
        let code = format!("h{i:05}");
        ("hazard", code, String::new(), closed(polygon))
    });
    let lines = city.lines.iter().enumerate().map(|(i, line)| {
        let line: Vec<_> = line.iter().map(degrees).collect();
        let geometry = json!({"type": "LineString", "coordinates": line});
        ("pipe", format!("p{i:06}"), String::new(), geometry)
    });
    let grids = crate::city::grids(N_GRIDS_A_SIDE).into_iter().enumerate();
    let grids = grids.map(|(i, grid)| ("grid", format!("G{i:05}"), format!("网格{i}"), closed(&grid)));
    points.chain(polygons).chain(lines).chain(grids)
}

fn entity((kind, code, name, geometry): Named) -> Entity {
    let json = json!({"code": code, "kind": kind, "name": name, "geometry": geometry});
    serde_json::from_value(json).expect("an entity of the bench is one")
}

/// Writes the city for the server's import, components apart from the rest, and the grids for COPY.
pub(crate) fn write(city: &City, folder: &Path) -> std::io::Result<()> {
    let file = |name: &str| Ok::<_, std::io::Error>(BufWriter::new(File::create(folder.join(name))?));
    let (mut components, mut others) = (file("components.geojsonl")?, file("others.geojsonl")?);
    for (kind, code, name, geometry) in entities(city) {
        let properties = json!({"kind": kind, "code": code, "name": name});
        let feature = json!({"type": "Feature", "properties": properties, "geometry": geometry});
        match kind {
            "component" => writeln!(components, "{feature}")?,
            _ => writeln!(others, "{feature}")?,
        }
    }
    let mut grids = file("grids.copy")?;
    for (i, grid) in crate::city::grids(N_GRIDS_A_SIDE).iter().enumerate() {
        writeln!(grids, "{i}\t{}", crate::tables::polygon(grid))?;
    }
    let mut tiles = file("tiles.txt")?;
    for zoom in ZOOMS {
        for [zoom, x, y] in addresses(&city.places(N_QUESTIONS), zoom) {
            writeln!(tiles, "{zoom} {x} {y}")?;
        }
    }
    [components, others, grids, tiles]
        .iter_mut()
        .try_for_each(Write::flush)
}

fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kb.unwrap_or(f64::NAN) / 1024.0
}

/// Zoom, column and row of the tile around a place.
fn tile_of(at: Vertex, zoom: u32) -> [u32; 3] {
    let n = f64::from(1u32 << zoom);
    let y = (1.0 - at.lat_degrees().to_radians().tan().asinh() / std::f64::consts::PI) / 2.0 * n;
    [zoom, ((at.lon_degrees() + 180.0) / 360.0 * n) as u32, y as u32]
}

/// Tiles around places, each once.
fn addresses(places: &[Vertex], zoom: u32) -> Vec<[u32; 3]> {
    let mut addresses = Vec::new();
    for at in places {
        let address = tile_of(*at, zoom);
        if addresses.len() < N_TILES && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

/// Features of a vector tile of one layer.
fn n_features(tile: &[u8]) -> usize {
    fn varint(bytes: &mut &[u8]) -> usize {
        let (mut value, mut shift) = (0, 0);
        while let Some((byte, rest)) = bytes.split_first() {
            *bytes = rest;
            value |= usize::from(byte & 0x7F) << shift;
            shift += 7;
            if *byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut layer = tile;
    varint(&mut layer);
    varint(&mut layer);
    let mut n = 0;
    while !layer.is_empty() {
        let head = varint(&mut layer);
        let value = varint(&mut layer);
        if head & 7 == 2 {
            layer = &layer[value..];
            n += usize::from(head >> 3 == 2);
        }
    }
    n
}

/// Puts the city on a map and asks it.
pub(crate) fn measure(city: &City, questions: &Questions) {
    let mut map = CityMap::new();
    let before = resident_mb();
    for named in entities(city) {
        let put = map.put_entity(&entity(named));
        put.expect("the bench's entities fit");
    }
    let without_index = resident_mb() - before;
    let (begin, busy) = (Instant::now(), cpu_seconds());
    let view = map.view();
    let first = view.tile(
        Layer::Components,
        tile_of(questions.places[0], 12),
        &Look::default(),
    );
    first.expect("there is such a tile");
    println!(
        "{}",
        json!({"name": "view-first-tile", "seconds": begin.elapsed().as_secs_f64(), "cpu_seconds": cpu_seconds() - busy,
               "mb_without_index": without_index, "mb": resident_mb() - before})
    );
    asked(&view, questions);
    for zoom in ZOOMS {
        tiles(&view, questions, zoom);
    }
}

fn asked(view: &CityView, questions: &Questions) {
    let (places, n) = (&questions.places, N_QUESTIONS);
    let components = Filter {
        kinds: vec![ThingKind::Entity(EntityKind::Component)],
        ..Filter::default()
    };
    let grids = Filter {
        kinds: vec![ThingKind::Entity(EntityKind::Grid)],
        ..Filter::default()
    };
    for (suffix, filter) in [("", &components), ("-all", &Filter::default())] {
        ask(&format!("view-bbox-250{suffix}"), n, |i| {
            let region = Region::bbox(square(places[i], 250.0).degrees()).expect("a box");
            let mut found = 0;
            view.within(&region, filter, |_| found += 1);
            found
        });
        ask(&format!("view-knn-10{suffix}"), n, |i| {
            let at = (places[i].lon_degrees(), places[i].lat_degrees());
            view.nearest(at, 10, None, filter).expect("a place").len()
        });
    }
    ask("view-grid", n, |i| {
        let at = (places[i].lon_degrees(), places[i].lat_degrees());
        view.column(at, None, &grids).expect("a place").grids.len()
    });
    ask("view-locate", n, |i| {
        let at = Position::new(places[i].lon_degrees(), places[i].lat_degrees(), None).expect("a place");
        usize::from(view.locate(&at).is_some())
    });
}

fn tiles(view: &CityView, questions: &Questions, zoom: u32) {
    let look = Look::default();
    let mut bytes = 0;
    let (mut n_dropped, mut n_hidden) = (0, 0);
    let addresses = addresses(&questions.places, zoom);
    let mut took: Vec<f64> = Vec::with_capacity(N_TILES);
    let busy = cpu_seconds();
    let mut n = 0;
    let mut drawn = Vec::new();
    for address in &addresses {
        let begin = Instant::now();
        for layer in LAYERS {
            let tile = view.tile(layer, *address, &look).expect("there is such a tile");
            if let Some(tile) = tile {
                bytes += tile.bytes.len();
                n_dropped += tile.n_dropped;
                n_hidden += tile.n_hidden;
                drawn.push((n, tile.bytes));
            }
        }
        n += 1;
        took.push(begin.elapsed().as_secs_f64() * 1e6);
        if cpu_seconds() - busy > 8.0 {
            break;
        }
    }
    let rate = n as f64 / (cpu_seconds() - busy);
    let mut features = vec![0; n];
    drawn
        .iter()
        .for_each(|(tile, bytes)| features[*tile] += n_features(bytes));
    took.sort_unstable_by(f64::total_cmp);
    let text = format!("view-tiles-{zoom}");
    println!(
        "{}",
        json!({"name": text, "rate": rate, "p50_us": took[took.len() / 2], "bytes": bytes / n, "n": n, "features": features,
               "dropped": n_dropped, "gathered": n_hidden})
    );
}
