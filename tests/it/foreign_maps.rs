//! The map's tiles in programs that we did not write: mapbox-vector-tile with GEOS, GDAL's driver, MapLibre in a
//! browser, QGIS over `/ogc` and on `register.gpkg`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::screen::{Script, ready};
use crate::server::{Server, peer, wait_for};

const LAYERS: [(&str, &str); 10] = [
    ("divisions", "division"),
    ("water", "water"),
    ("roads", "road"),
    ("places", "place"),
    ("grids", "grid"),
    ("reaches", "reach"),
    ("components", "component"),
    ("addresses", "address"),
    ("hazards", "hazard"),
    ("pipes", "pipe"),
];
const BOX: &str = "101.7,36.5,101.9,36.6";

/// Something for every layer, and a device that moves.
fn town() -> Server {
    let server = Server::new();
    let mut features = Vec::new();
    let mut add = |kind: &str, code: String, geometry: Value| {
        let name = format!("西宁 {code}");
        let properties = json!({"kind": kind, "code": code, "name": name});
        features.push(json!({"type": "Feature", "geometry": geometry, "properties": properties}));
    };
    let area = |x: f64, y: f64, d: f64| json!({"type": "Polygon", "coordinates": [[[x, y], [x + d, y], [x + d, y + d], [x, y + d], [x, y]]]});
    let point = |x: f64, y: f64| json!({"type": "Point", "coordinates": [x, y]});
    let line =
        |x: f64, y: f64, to: f64| json!({"type": "LineString", "coordinates": [[x, y], [to, y + 0.001]]});
    let (column, row) = (
        |i: u32, n: u32| f64::from(i % n),
        |i: u32, n: u32| f64::from(i / n),
    );
    add("division", "630102".into(), area(101.7, 36.5, 0.1));
    add("division", "630103".into(), area(101.8, 36.5, 0.1));
    for i in 0..300 {
        let (x, y) = (101.71 + column(i, 20) * 0.004, 36.51 + row(i, 20) * 0.003);
        add("component", format!("m{i}"), point(x, y));
    }
    for i in 0..80 {
        let (x, y) = (101.712 + column(i, 10) * 0.008, 36.512 + row(i, 10) * 0.008);
        add("address", format!("a{i}"), point(x, y));
    }
    for i in 0..30 {
        let (x, y) = (101.713 + column(i, 6) * 0.012, 36.513 + row(i, 6) * 0.012);
        add("place", format!("p{i}"), point(x, y));
    }
    for i in 0..20 {
        add(
            "hazard",
            format!("h{i}"),
            area(101.711 + f64::from(i) * 0.004, 36.56, 0.002),
        );
        add(
            "pipe",
            format!("g{i}"),
            line(101.71, 36.51 + f64::from(i) * 0.004, 101.79),
        );
    }
    for i in 0..6 {
        add(
            "road",
            format!("r{i}"),
            line(101.705, 36.52 + f64::from(i) * 0.01, 101.795),
        );
    }
    for i in 0..4 {
        add(
            "water",
            format!("w{i}"),
            area(101.72 + f64::from(i) * 0.015, 36.58, 0.01),
        );
        add(
            "reach",
            format!("e{i}"),
            line(101.71, 36.53 + f64::from(i) * 0.01, 101.78),
        );
    }
    for i in 0..9 {
        let (x, y) = (101.71 + column(i, 3) * 0.03, 36.51 + row(i, 3) * 0.03);
        add("grid", format!("d{i}"), area(x, y, 0.03));
    }
    let n = features.len() as u64;
    let done = server.post(
        "/api/v1/entities",
        &json!({"type": "FeatureCollection", "features": features}),
    );
    assert_eq!(done["imported"], n, "{done}");
    server.add_device(
        "car-1",
        &json!({"kind": "car", "position": {"lon": 101.73, "lat": 36.53}}),
    );
    server
}

/// How many of a kind lie in the box, and their names, by the map's own question.
fn found(server: &Server, kind: &str) -> (u64, Vec<String>) {
    let within = server.get(&format!("/api/v1/within?bbox={BOX}&kind={kind}&limit=10000"));
    let n = within["numberMatched"].as_u64().unwrap();
    let names = within["features"].as_array().unwrap().iter();
    let mut names: Vec<String> = names
        .map(|feature| feature["properties"]["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    (n, names)
}

#[test]
fn every_layer_is_read_by_others_as_the_server_counts_it() {
    let python = format!("{}/target/peers/tiles/bin/python", env!("CARGO_MANIFEST_DIR"));
    let Some(python) = peer(&python) else { return };
    let server = town();
    let tiles = tempfile::tempdir().unwrap();
    let layers = LAYERS.map(|(layer, _)| layer).join(",");
    let output = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/tile_reader.py"))
        .args([&server.http, &server.token, "14", BOX])
        .arg(tiles.path())
        .arg(&layers)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let said: BTreeMap<String, Value> = serde_json::from_slice(&output.stdout).unwrap();
    let mut n_files = 0;
    for (layer, kind) in LAYERS {
        let read = &said[layer];
        let (n, names) = found(&server, kind);
        assert_eq!(
            read["codes"].as_array().unwrap().len() as u64,
            n,
            "{layer}: {read}"
        );
        assert_eq!(read["invalid"], json!([]), "{layer}");
        assert!(
            read["empty"].as_u64().unwrap() > 0 || layer == "divisions",
            "{layer}"
        );
        let theirs: Vec<&str> = read["names"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        // Points of many say their names from a higher zoom on.
        if theirs != [""] {
            assert_eq!(theirs, names, "{layer}");
        }
        let Some(ogrinfo) = peer("ogrinfo") else { continue };
        for (file, layers) in read["files"].as_object().unwrap() {
            let path = format!("MVT:{}", tiles.path().join(file).display());
            let output = Command::new(&ogrinfo)
                .args(["-ro", "-al", "-so", &path])
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{file}: {output:?}");
            for (name, n) in layers.as_object().unwrap() {
                let at = text
                    .find(&format!("Layer name: {name}\n"))
                    .unwrap_or_else(|| panic!("{file}: {text}"));
                let count = text[at..]
                    .lines()
                    .find_map(|line| line.strip_prefix("Feature Count: "));
                assert_eq!(count.map(str::to_owned), Some(n.to_string()), "{file} {name}");
            }
            n_files += 1;
        }
    }
    eprintln!("{n_files} tiles were read by GDAL, too");
}

#[test]
fn maplibre_draws_what_the_server_finds_and_follows_what_moves() {
    if !ready() {
        return;
    }
    let server = town();
    let bounds = "101.705,36.505,101.795,36.595";
    let mut script = Script::new("foreign-map.mjs", &[bounds, "car-1"], &server.http, &server.token);
    let said = script.said();
    for (layer, _) in LAYERS {
        let drawn = &said["layers"][layer];
        assert!(
            drawn["same"] == true && drawn["n"].as_u64().unwrap() > 0,
            "{layer}: {said}"
        );
    }
    assert_eq!(said["errors"], json!([]));
    // Tiles without anything are empty answers, which MapLibre takes without a word.
    assert!(said["statuses"]["204"].as_u64().unwrap() > 0, "{said}");
    assert_eq!(said["statuses"].as_object().unwrap().len(), 2, "{said}");
    // In software, beside other tests; on a machine of its own it is some 300 ms.
    assert!(said["moved"]["ms"].as_u64().unwrap() < 10_000, "{said}");
    eprintln!(
        "the device was drawn where it is {} after it moved",
        said["moved"]["ms"]
    );
    let picture = std::fs::metadata(script.shots.join("foreign-map.png")).unwrap();
    assert!(picture.len() > 10_000);
}

/// QGIS is a gigabyte of packages, which CI does not install: where it is, it is asked.
#[test]
fn qgis_reads_the_services_and_the_register() {
    let Some(qgis) = std::env::var_os("QGIS_PYTHON").or_else(|| {
        let python = Path::new("/usr/lib/python3/dist-packages/qgis/core/__init__.py");
        python.exists().then(|| "/usr/bin/python3".into())
    }) else {
        eprintln!("SKIPPED: QGIS is not here (Debian's python3-qgis, about 1 GB); `make proof` asks it");
        return;
    };
    let server = town();
    let register = server.dir.join("register.gpkg");
    wait_for("the register's file", Duration::from_secs(20), || {
        std::fs::metadata(&register)
            .ok()
            .filter(|about| about.len() > 200_000)
    });
    let file = server.dir.join("town.fgb");
    let exported = Command::new(env!("CARGO_BIN_EXE_onemap"))
        .arg("--data-dir")
        .arg(&server.dir)
        .args(["export", "entities", "--format", "flatgeobuf", "--out"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(exported.status.success(), "{exported:?}");
    let shots = tempfile::tempdir().unwrap();
    let shots = std::env::var_os("SHOTS_DIR").map_or(shots.path().to_owned(), Into::into);
    let output = Command::new(qgis)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/qgis_reader.py"))
        .args([&server.http, &server.token])
        .args([&register, &file])
        .arg(&shots)
        .env("QT_QPA_PLATFORM", "offscreen")
        .env("HOME", &server.dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    let said: Value = serde_json::from_str(line.lines().last().unwrap_or_default())
        .unwrap_or_else(|_| panic!("{output:?}"));
    eprintln!("QGIS says {said}");
    assert_eq!(said["ogc"]["n"], 300, "{said}");
    assert_eq!(said["ogc"]["name"], "西宁 m7", "{said}");
    assert_eq!(said["ogc"]["within"], 1, "{said}");
    assert_eq!(said["register"]["components"], 300, "{said}");
    assert_eq!(said["register"]["divisions"], 11, "{said}");
    assert_eq!(said["register"]["indexed"], true, "{said}");
    assert_eq!(said["file"]["n"], 475, "{said}");
    assert_eq!(said["file"]["within"], 1, "{said}");
}
