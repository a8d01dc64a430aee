//! Entities go out as files, and come back into another server as they were.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::server::{Server, peer, request, text};

fn onemap(server: &Server, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_onemap"))
        .arg("--data-dir")
        .arg(&server.dir)
        .arg("--json")
        .args(args)
        .output()
        .unwrap()
}

/// A small town: what has no place, heights, rings, former codes, attributes of every type and names that need quotes.
fn town() -> Value {
    let mut features = Vec::new();
    let mut add = |kind: &str, code: &str, geometry: Value, more: Value| {
        let mut properties =
            json!({"kind": kind, "code": code, "name": format!("西宁，\"{code}\""), "source": "示意"});
        let object = properties.as_object_mut().unwrap();
        object.extend(more.as_object().unwrap().clone());
        features.push(json!({"type": "Feature", "geometry": geometry, "properties": properties}));
    };
    let ring = |x: f64, y: f64, d: f64| json!([[x, y], [x + d, y], [x + d, y + d], [x, y + d], [x, y]]);
    let area = |x: f64, y: f64, d: f64| json!({"type": "Polygon", "coordinates": [ring(x, y, d)]});
    let point = |x: f64, y: f64| json!({"type": "Point", "coordinates": [x, y]});
    add("division", "630102", area(101.7, 36.5, 0.1), json!({}));
    add("division", "630103", area(101.8, 36.5, 0.1), json!({}));
    for i in 0..60 {
        let (x, y) = (101.71 + f64::from(i) * 0.003, 36.55);
        let class = if i % 2 == 0 { "01037" } else { "01001" };
        let attributes =
            json!({"状态": "完好", "口径": 700 + i, "井深": 1.5, "列": [1, null], "id": i, "ok": true});
        add(
            "component",
            &format!("m{i}"),
            point(x, y),
            json!({"class": class, "attributes": attributes}),
        );
    }
    let former = json!([{"code": "旧一", "to": "2020-01-01T00:00:00+08:00"}, {"code": "旧二", "from": "2020-01-01T00:00:00+08:00", "to": "2021-01-01T00:00:00+08:00"}]);
    let gone = json!({"valid_from": "2010-01-01T00:00:00+08:00", "valid_to": "2015-01-01T00:00:00+08:00"});
    add(
        "place",
        "p1",
        json!({"type": "Point", "coordinates": [101.75, 36.55, 2260.5]}),
        json!({"former": former}),
    );
    add("place", "p2", Value::Null, json!({"name_en": "Nowhere"}));
    add("place", "p3", point(101.76, 36.56), gone);
    add(
        "hazard",
        "h1",
        area(101.75, 36.52, 0.01),
        json!({"stratum": "below", "z_range_m": [-12.5, -3.0], "height_datum": "1985国家高程基准"}),
    );
    let line = json!({"type": "LineString", "coordinates": [[101.71, 36.51], [101.79, 36.52]]});
    add("road", "r1", line, json!({"attributes": {"等级": "主干路"}}));
    let two = json!({"type": "MultiPolygon", "coordinates": [[ring(101.72, 36.53, 0.001)], [ring(101.82, 36.53, 0.001)]]});
    add("water", "w1", two, json!({}));
    json!({"type": "FeatureCollection", "features": features})
}

fn import(server: &Server, file: &Path, args: &[&str]) -> u64 {
    let mut all = vec!["import", "entities", file.to_str().unwrap()];
    all.extend(args);
    let output = onemap(server, &all);
    let done: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!(done["refused"], 0, "{done}");
    done["imported"].as_u64().unwrap()
}

/// Every entity of a server, as its sequence of features says it.
fn all(server: &Server) -> Vec<Value> {
    let text = text(
        &server.http,
        &server.token,
        "/api/v1/entities/export?format=geojsonseq",
    );
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn imported_town() -> (Server, Vec<Value>) {
    let server = Server::new();
    let file = server.dir.join("town.geojson");
    std::fs::write(&file, town().to_string()).unwrap();
    assert_eq!(import(&server, &file, &[]), 68);
    let known = all(&server);
    assert_eq!(known.len(), 68);
    (server, known)
}

#[test]
fn what_goes_out_comes_in_again_in_every_format() {
    let (server, known) = imported_town();
    let codes: Vec<(&str, &str)> = known
        .iter()
        .map(|feature| {
            let own = &feature["properties"];
            (own["kind"].as_str().unwrap(), own["code"].as_str().unwrap())
        })
        .collect();
    assert!(codes.contains(&("place", "p2")) && codes.contains(&("place", "p3")));
    for (format, name) in [
        ("geojson", "t.geojson"),
        ("geojsonseq", "t.geojsonl"),
        ("csv", "t.csv"),
        ("flatgeobuf", "t.fgb"),
        ("gpkg", "t.gpkg"),
    ] {
        let file = server.dir.join(name);
        let path = file.to_str().unwrap();
        let output = onemap(
            &server,
            &["export", "entities", "--format", format, "--out", path],
        );
        assert!(output.status.success(), "{format}: {output:?}");
        let other = Server::new();
        let n: u64 = match format {
            // Layer by layer, and after that all of them at once: each as it was.
            "gpkg" => {
                let layers = ["division", "component", "place", "hazard", "road", "water"];
                let each = |layer: &&str| import(&other, &file, &["--layer", layer]);
                let n: u64 = layers.iter().map(each).sum();
                assert_eq!(import(&other, &file, &[]), n);
                n
            }
            _ => import(&other, &file, &[]),
        };
        assert_eq!(n, 68, "{format}");
        assert_eq!(all(&other), known, "{format}");
    }
    // A file lies in the data folder only while it is sent.
    let left = std::fs::read_dir(server.dir.join("export")).unwrap().count();
    assert_eq!(left, 0);
}

#[test]
fn gdal_finds_in_the_files_what_the_map_finds() {
    let (server, _) = imported_town();
    let Some(ogrinfo) = peer("ogrinfo") else { return };
    let file = server.dir.join("t.fgb");
    let zone = server.dir.join("zone.gpkg");
    let out = |format: &str, file: &Path, more: &[&str]| {
        let mut args = vec![
            "export",
            "entities",
            "--format",
            format,
            "--out",
            file.to_str().unwrap(),
        ];
        args.extend(more);
        let output = onemap(&server, &args);
        assert!(output.status.success(), "{output:?}");
    };
    out("flatgeobuf", &file, &[]);
    out("gpkg", &zone, &["--crs", "EPSG:4543", "--kind", "component"]);
    let said = |args: &[&str], file: &Path| {
        let output = Command::new(&ogrinfo)
            .args(["-ro", "-al"])
            .args(args)
            .arg(file)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let found = said(&["-q", "-spat", "101.7", "36.54", "101.75", "36.56"], &file);
    let map = server.get("/api/v1/within?bbox=101.7,36.54,101.75,36.56&limit=1000&kind=division,component,place,hazard,road,water&at=2012-01-01T00:00:00%2B08:00");
    // GDAL goes by boxes of areas; these areas fill theirs.
    assert_eq!(
        found.matches("OGRFeature").count() as u64,
        map["numberMatched"].as_u64().unwrap(),
        "{found}\n{map}"
    );
    assert!(found.contains("名") || found.contains("西宁，\"m3\""), "{found}");
    let zone = said(&["-so"], &zone);
    assert!(
        zone.contains("Feature Count: 60") && zone.contains("CGCS2000 / 3-degree Gauss-Kruger CM 102E"),
        "{zone}"
    );
}

#[test]
fn what_is_asked_for_is_what_comes() {
    let (server, known) = imported_town();
    let lines = |query: &str| {
        let path = format!("/api/v1/entities/export?format=geojsonseq{query}");
        text(&server.http, &server.token, &path).lines().count()
    };
    let n = |of: fn(&Value) -> bool| known.iter().filter(|feature| of(&feature["properties"])).count();
    assert_eq!(lines(""), 68);
    assert_eq!(lines("&kind=component"), 60);
    assert_eq!(lines("&kind=component,road"), 61);
    assert_eq!(
        lines("&kind=component&class=01037"),
        n(|own| own["class"] == "01037")
    );
    assert_eq!(lines("&kind=component&class=01037"), 30);
    // By place: the thirty-first and later lie in the other district.
    assert_eq!(lines("&kind=component&division=630103"), 29);
    assert_eq!(lines("&kind=place&at=2012-01-01T00:00:00%2B08:00"), 3);
    assert_eq!(lines("&kind=place&at=2020-01-01T00:00:00%2B08:00"), 2);
    assert_eq!(lines("&kind=component&bbox=101.709,36.54,101.7135,36.56"), 2);

    let refused = |query: &str, status: u16, says: &str| {
        let path = format!("/api/v1/entities/export?{query}");
        let (got, body) = request(&server.http, &server.token, "GET", &path, None);
        assert_eq!(got, status, "{query}: {body}");
        let body = body.to_string();
        assert!(body.contains(says), "{query}: {body}");
    };
    refused("", 400, "format= is geojson");
    refused("format=shp", 400, "`shp` is not a format");
    refused("format=csv&kind=person", 400, "persons are not shown");
    refused("format=csv&kind=device", 400, "devices are no entities");
    refused("format=csv&kinds=road", 400, "unknown parameter `kinds`");
    refused("format=csv&crs=GCJ02", 400, "no file can state GCJ02");
    refused("format=gpkg&crs=EPSG:4554", 400, "cannot be written in EPSG:4554");
    refused("format=csv&bbox=1,2,3", 400, "bbox");
    refused("format=csv&division=63x", 400, "division");
}

#[test]
fn a_division_sees_its_own_and_nobody_else_sees_anything() {
    let (server, _) = imported_town();
    let answer = server.post(
        "/api/v1/tokens",
        &json!({"role": "viewer", "name": "east", "division": "630103"}),
    );
    let token = answer["token"].as_str().unwrap_or_else(|| panic!("{answer}"));
    let own = text(&server.http, token, "/api/v1/entities/export?format=geojsonseq");
    let codes: Vec<Value> = own
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["properties"]["code"].clone())
        .collect();
    assert!(
        codes.contains(&json!("630103")) && codes.contains(&json!("m59")),
        "{codes:?}"
    );
    assert!(
        !codes.contains(&json!("630102")) && !codes.contains(&json!("m0")),
        "{codes:?}"
    );
    let (status, _) = request(
        &server.http,
        "nobody",
        "GET",
        "/api/v1/entities/export?format=csv",
        None,
    );
    assert_eq!(status, 401);
}
