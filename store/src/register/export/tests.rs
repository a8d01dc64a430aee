//! What goes out comes back as it was, in every format.
#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::collections::BTreeMap;
use std::fs::File;
use std::process::Command;

use onemap_model::{Entity, EntityKind};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::geometry::tests::geometries;
use super::super::import::{self, Mapping, Thing};
use super::*;

const FORMATS: [Format; 5] = [
    Format::GeoJson,
    Format::GeoJsonSeq,
    Format::Csv,
    Format::FlatGeobuf,
    Format::GeoPackage,
];

type Known = BTreeMap<(EntityKind, String), Entity>;

fn read(path: &Path, format: import::Format, mapping: &Mapping, into: &mut Known) {
    let (file, dir) = (File::open(path).unwrap(), path.parent().unwrap());
    for row in import::open(&file, dir, format, mapping).unwrap() {
        let row = row.unwrap_or_else(|error| panic!("{format:?}: {error}"));
        let Thing::Entity(entity) = row.thing else {
            panic!("a person")
        };
        into.insert((entity.kind.clone(), entity.code.to_string()), *entity);
    }
}

/// Writes entities and reads them back.
fn there_and_back(format: Format, crs: Crs, entities: &Known) -> Known {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("out");
    let all: Vec<Entity> = entities.values().cloned().collect();
    let things = Things {
        n: all.len(),
        get: &|i| all.get(i).cloned(),
    };
    check(crs, things).unwrap();
    write_file(&path, format, crs, Timestamp::from_ms(0), things).unwrap();
    let mut back = Known::new();
    let plain = Mapping::default();
    let declared = Mapping {
        crs: Some(crs),
        ..Mapping::default()
    };
    match format {
        Format::GeoJson => read(&path, import::Format::GeoJson, &plain, &mut back),
        Format::GeoJsonSeq => read(&path, import::Format::GeoJsonSeq, &declared, &mut back),
        Format::Csv => read(&path, import::Format::Csv, &declared, &mut back),
        Format::FlatGeobuf => read(&path, import::Format::FlatGeobuf, &plain, &mut back),
        Format::GeoPackage => {
            let kinds: std::collections::BTreeSet<_> =
                entities.keys().map(|(kind, _)| kind.clone()).collect();
            for kind in kinds {
                let layer = Mapping {
                    layer: Some(kind.name().to_owned()),
                    ..Mapping::default()
                };
                read(&path, import::Format::GeoPackage, &layer, &mut back);
            }
        }
    }
    back
}

/// What an import makes of entities: what is said twice is said once, texts have no space around them.
fn imported(entities: Vec<Entity>) -> Known {
    let mut known = Known::new();
    let features: Vec<Value> = entities
        .iter()
        .map(|entity| {
            let mut properties = serde_json::to_value(entity).unwrap();
            let geometry = properties.as_object_mut().unwrap().remove("geometry");
            json!({"type": "Feature", "geometry": geometry, "properties": properties})
        })
        .collect();
    let text = json!({"type": "FeatureCollection", "features": features}).to_string();
    for entity in import::import_geojson(&text, &Mapping::default())
        .into_iter()
        .flatten()
    {
        known.insert((entity.kind.clone(), entity.code.to_string()), entity);
    }
    known
}

fn attribute() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => "[一-龥a-z0-9,\"' \n]{0,6}".prop_map(Value::from),
        2 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        2 => any::<f64>().prop_filter("JSON has no others", |x| x.is_finite()).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        1 => Just(json!([1, {"a": "b"}])),
    ]
}

fn entities() -> impl Strategy<Value = Vec<Entity>> {
    let names = prop::sample::select(vec![
        "状态",
        "a",
        "A",
        "id",
        "code",
        "名称",
        "geom",
        "fid",
        "former",
        "attributes",
        "长 度",
        "",
        "\"",
        "area",
        "Kind",
    ]);
    let attributes = prop::collection::btree_map(names, attribute(), 0..6);
    let kinds = prop::sample::select(vec![
        EntityKind::Place,
        EntityKind::Component,
        EntityKind::Event,
        EntityKind::Hazard,
    ]);
    let time = || prop::option::of(-1_000_000_000_000i64..4_000_000_000_000);
    let one = (
        (
            kinds,
            0..40u8,
            "[一-龥a-z,\" ]{0,8}",
            prop::option::of(geometries()),
        ),
        (
            attributes,
            time(),
            time(),
            any::<bool>(),
            prop::option::of((-500.0..0.0f64, 0.0..900.0f64)),
        ),
    );
    let one = one.prop_map(
        |((kind, code, name, geometry), (attributes, from, to, moved, heights))| {
            let (from, to) = match (from, to) {
                (Some(from), Some(to)) => (Some(from.min(to)), Some(from.max(to))),
                other => other,
            };
            let mut entity: Entity = serde_json::from_value(json!({
                "code": format!("c{code}"), "kind": kind, "name": name,
                "geometry": geometry.map_or(Value::Null, |g| g.to_json()),
            }))
            .unwrap();
            entity.attributes = attributes.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
            entity.valid_from = from.map(Timestamp::from_ms);
            entity.valid_to = to.map(Timestamp::from_ms);
            entity.z_range_m = heights.map(|(low, high)| [low, high]);
            entity.department = ["", "水务局", "城管局,\"一\"处"][usize::from(code) % 3].to_owned();
            if moved {
                let former = |code: &str, from: Option<i64>, to: i64| onemap_model::FormerCode {
                    code: code.into(),
                    from: from.map(Timestamp::from_ms),
                    to: Timestamp::from_ms(to),
                };
                entity.former = vec![former("old", Some(5), 7), former("older", None, 5)];
            }
            entity
        },
    );
    prop::collection::vec(one, 0..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_format_gives_the_same_entities_back(entities in entities()) {
        let known = imported(entities);
        for format in FORMATS {
            let back = there_and_back(format, Crs::Wgs84, &known);
            prop_assert_eq!(&back, &known, "{:?}", format);
        }
    }

    #[test]
    fn foreign_bytes_are_no_flatgeobuf_and_no_panic(
        entities in entities(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(),
    ) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("x.fgb");
        let all: Vec<Entity> = imported(entities).into_values().collect();
        let things = Things { n: all.len(), get: &|i| all.get(i).cloned() };
        write_file(&path, Format::FlatGeobuf, Crs::Wgs84, Timestamp::from_ms(0), things).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let open = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let file = File::open(&path).unwrap();
            match import::open(&file, dir.path(), import::Format::FlatGeobuf, &Mapping::default()) {
                Ok(rows) => rows.count(),
                Err(_) => 0,
            }
        };
        let _no_panic = open(&bytes);
        let n = cut.index(bytes.len());
        let _no_panic = open(&bytes[..n]);
    }
}

fn city() -> Known {
    let entity = |kind: &str, code: &str, geometry: Value, attributes: Value| -> Entity {
        serde_json::from_value(json!({
            "code": code, "kind": kind, "name": format!("西宁 {code}"), "division": "630102", "geometry": geometry,
            "attributes": attributes, "source": "示意",
        }))
        .unwrap()
    };
    let mut all = Vec::new();
    for i in 0..300 {
        let (lon, lat) = (
            101.7 + f64::from(i % 20) * 0.002,
            36.6 + f64::from(i / 20) * 0.002,
        );
        let point = json!({"type": "Point", "coordinates": [lon, lat]});
        all.push(entity(
            "component",
            &format!("m{i}"),
            point,
            json!({"状态": "完好", "口径_mm": 700, "井深": 1.5}),
        ));
    }
    all.push(entity("place", "nowhere", Value::Null, json!({})));
    let high = json!({"type": "Point", "coordinates": [101.78, 36.62, 2260.5]});
    all.push(entity("place", "high", high, json!({"层数": 12})));
    let line = json!({"type": "LineString", "coordinates": [[101.7, 36.6], [101.72, 36.61], [101.75, 36.6]]});
    all.push(entity("road", "r1", line, json!({"等级": "主干路"})));
    let ring = |x: f64| json!([[x, 36.6], [x + 0.01, 36.6], [x + 0.01, 36.61], [x, 36.6]]);
    all.push(entity(
        "water",
        "w1",
        json!({"type": "Polygon", "coordinates": [ring(101.7)]}),
        json!({}),
    ));
    let several = json!({"type": "MultiPolygon", "coordinates": [[ring(101.8)], [ring(101.9)]]});
    all.push(entity("water", "w2", several, json!({})));
    imported(all)
}

#[test]
fn a_zone_of_gauss_kruger_goes_there_and_back() {
    let city = city();
    for epsg in [4490, 4543, 4522, 3857] {
        let crs = Crs::from_epsg(epsg).unwrap();
        for format in FORMATS {
            let mut back = there_and_back(format, crs, &city);
            assert_eq!(back.len(), city.len(), "{format:?} {epsg}");
            for (key, entity) in &mut back {
                let known = &city[key];
                if known.geometry.is_null() {
                    assert!(entity.geometry.is_null());
                    continue;
                }
                let (a, b) = (
                    Geometry::from_json(&entity.geometry).unwrap(),
                    Geometry::from_json(&known.geometry).unwrap(),
                );
                for (a, b) in a.coords().zip(b.coords()) {
                    let off = (a.lon - b.lon).abs().max((a.lat - b.lat).abs());
                    assert!(off < 1e-10, "{format:?} {epsg} {key:?}: {off}");
                    assert_eq!(a.height, b.height);
                }
                entity.geometry = known.geometry.clone();
                assert_eq!(entity, known, "{format:?} {epsg}");
            }
        }
    }
}

#[test]
fn what_a_system_cannot_hold_is_refused_by_name() {
    let city = city();
    let all: Vec<Entity> = city.values().cloned().collect();
    let things = Things {
        n: all.len(),
        get: &|i| all.get(i).cloned(),
    };
    let far = check(Crs::from_epsg(4554).unwrap(), things).unwrap_err();
    assert!(
        far.to_string().contains("cannot be written in EPSG:4554"),
        "{far}"
    );
    let shifted = check(Crs::Gcj02, things).unwrap_err().to_string();
    assert!(shifted.contains("no file can state GCJ02"), "{shifted}");
}

fn gdal(program: &str, args: &[&str]) -> Option<String> {
    let output = match Command::new(program).args(args).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("SKIPPED: {program} is not here ({error}); Debian package gdal-bin has it");
            return None;
        }
    };
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn gdal_reads_both_files_with_their_names_and_indexes() {
    let dir = TempDir::new().unwrap();
    let city = city();
    let all: Vec<Entity> = city.values().cloned().collect();
    let things = Things {
        n: all.len(),
        get: &|i| all.get(i).cloned(),
    };
    let file = |name: &str, format, epsg| {
        let path = dir.path().join(name);
        write_file(
            &path,
            format,
            Crs::from_epsg(epsg).unwrap(),
            Timestamp::from_ms(0),
            things,
        )
        .unwrap();
        path.to_str().unwrap().to_owned()
    };
    let fgb = file("city.fgb", Format::FlatGeobuf, 4326);
    let gpkg = file("city.gpkg", Format::GeoPackage, 4326);
    let zone = file("zone.gpkg", Format::GeoPackage, 4543);
    let zone_fgb = file("zone.fgb", Format::FlatGeobuf, 4543);
    let Some(said) = gdal("ogrinfo", &["-ro", "-al", "-so", &fgb]) else {
        return;
    };
    assert!(said.contains(&format!("Feature Count: {}", city.len())), "{said}");
    assert!(
        said.contains("口径_mm: Integer64") && said.contains("井深: Real"),
        "{said}"
    );
    let found = gdal(
        "ogrinfo",
        &[
            "-ro",
            "-al",
            "-q",
            "-spat",
            "101.7005",
            "36.5995",
            "101.7035",
            "36.6005",
            "-where",
            "kind = 'component'",
            &fgb,
        ],
    );
    let found = found.unwrap();
    assert_eq!(found.matches("OGRFeature").count(), 1, "{found}");
    assert!(
        found.contains("name (String) = 西宁 m1") && found.contains("状态 (String) = 完好"),
        "{found}"
    );
    let all = gdal("ogrinfo", &["-ro", "-al", "-q", &fgb]).unwrap();
    assert_eq!(all.matches("OGRFeature").count(), city.len());
    assert!(all.contains("POINT Z (101.78 36.62 2260.5)") && all.contains("西宁 nowhere"));
    let layers = gdal("ogrinfo", &["-ro", "-q", &gpkg]).unwrap();
    for layer in [
        "component (3D Point)",
        "place (3D Point)",
        "road (3D Line String)",
        "water",
    ] {
        assert!(layers.contains(layer), "{layers}");
    }
    let one = gdal(
        "ogrinfo",
        &["-ro", "-q", &gpkg, "component", "-where", "code = 'm7'"],
    )
    .unwrap();
    assert!(
        one.contains("状态 (String) = 完好") && one.contains("口径_mm (Integer64) = 700"),
        "{one}"
    );
    for layer in ["component", "place", "road", "water"] {
        let sql = format!("SELECT HasSpatialIndex('{layer}', 'geom')");
        let said = gdal("ogrinfo", &["-ro", "-q", "-sql", &sql, &gpkg]).unwrap();
        assert!(said.contains("(Integer) = 1"), "{said}");
    }
    // By PROJ the zone's metres are the degrees of the register.
    for zone in [&zone, &zone_fgb] {
        let back = dir
            .path()
            .join(if zone.ends_with("fgb") { "a.csv" } else { "b.csv" });
        let (back, layer) = (
            back.to_str().unwrap(),
            if zone.ends_with("fgb") {
                "entities"
            } else {
                "component"
            },
        );
        gdal(
            "ogr2ogr",
            &[
                "-f",
                "CSV",
                "-lco",
                "GEOMETRY=AS_WKT",
                "-where",
                "code = 'm7'",
                "-t_srs",
                "EPSG:4326",
                back,
                zone,
                layer,
            ],
        );
        let text = std::fs::read_to_string(back).unwrap();
        let wkt = text.split(['(', ')']).nth(1).unwrap_or_else(|| panic!("{text}"));
        let xy: Vec<f64> = wkt.split(' ').take(2).map(|n| n.parse().unwrap()).collect();
        assert!(
            (xy[0] - 101.714).abs() < 1e-8 && (xy[1] - 36.6).abs() < 1e-8,
            "{text}"
        );
    }
}
