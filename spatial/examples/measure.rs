//! Prints what locating and drawing cost on a folder of GeoJSON files with entities (`divisions.geojson`
//! and so on): `cargo run --release -p onemap-spatial --example measure simulators/city`.

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use onemap_model::Position;
use onemap_spatial::{CityMap, Layer};
use serde_json::Value;

const N_POINTS: u32 = 1_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("name a folder")?);
    let mut map = CityMap::new();
    for name in ["divisions", "water", "roads", "places"] {
        let collection: Value =
            serde_json::from_slice(&std::fs::read(folder.join(format!("{name}.geojson")))?)?;
        for feature in collection["features"].as_array().into_iter().flatten() {
            let mut fields = feature["properties"].clone();
            fields["geometry"] = feature["geometry"].clone();
            map.put_entity(&serde_json::from_value(fields)?)?;
        }
    }
    let [west, south, east, north] = map.layer_extent(Layer::Divisions).ok_or("no divisions")?;
    let begin = Instant::now();
    map.divisions_at(&Position::new(west, south, None)?);
    println!("division index: {:?}", begin.elapsed());

    let mut state = 1u64;
    let mut chance = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / (1u64 << 31) as f64
    };
    let points: Vec<Position> = (0..N_POINTS)
        .map(|_| {
            Position::new(
                west + chance() * (east - west),
                south + chance() * (north - south),
                None,
            )
        })
        .collect::<Result<_, _>>()?;
    let begin = Instant::now();
    let n = points.iter().filter(|p| map.locate(p).is_some()).count();
    println!(
        "locate: {} ns a point, {n} of {N_POINTS} placed",
        begin.elapsed().as_nanos() / u128::from(N_POINTS)
    );

    for layer in Layer::ALL {
        let Some([west, south, east, north]) = map.layer_extent(layer) else {
            continue;
        };
        for zoom in [8u8, 10, 13] {
            let n = f64::from(1u32 << zoom);
            let column = |lon: f64| ((lon + 180.0) / 360.0 * n) as u32;
            let row =
                |lat: f64| ((1.0 - lat.to_radians().tan().asinh() / std::f64::consts::PI) / 2.0 * n) as u32;
            let (mut n_tiles, mut n_bytes, mut largest) = (0u32, 0, 0);
            let begin = Instant::now();
            for x in column(west)..=column(east) {
                for y in row(north)..=row(south) {
                    let bytes = map.tile(layer, zoom, x, y)?.map_or(0, |tile| tile.bytes.len());
                    (n_tiles, n_bytes, largest) = (n_tiles + 1, n_bytes + bytes, bytes.max(largest));
                }
            }
            let each = begin.elapsed() / n_tiles;
            println!(
                "{layer} z{zoom}: {n_tiles} tiles, {each:?} each, {} bytes on average, {largest} at most",
                n_bytes / n_tiles as usize
            );
        }
    }
    Ok(())
}
