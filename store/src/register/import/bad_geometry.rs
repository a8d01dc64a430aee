//! Every geometry that is not kept is refused by its own line and name, and what stands around it is read.
#![allow(clippy::unwrap_used)]

use onemap_model::{Crs, EntityKind};
use serde_json::{Value, json};

use super::{Mapping, import_csv, import_geojson};

fn mapping(crs: Option<Crs>) -> Mapping {
    Mapping {
        kind: Some(EntityKind::Hazard),
        crs,
        ..Mapping::default()
    }
}

const RING: &str = "[[101,36],[101.1,36],[101.1,36.1],[101,36]]";

#[test]
fn each_bad_geometry_of_a_collection_is_named_and_the_others_are_read() {
    let circle = |n: usize| {
        let at = |i: usize| {
            let angle = std::f64::consts::TAU * (i % (n - 1)) as f64 / (n - 1) as f64;
            format!(
                "[{:.9},{:.9}]",
                101.0 + angle.cos() * 0.1,
                36.0 + angle.sin() * 0.1
            )
        };
        let all: Vec<String> = (0..n).map(at).collect();
        format!("[[{}]]", all.join(","))
    };
    let cases: Vec<(&str, String, &str)> = vec![
        (
            "Polygon",
            "[[[101,36],[101.1,36.1],[101.1,36],[101,36.1],[101,36]]]".into(),
            "not simple",
        ),
        (
            "Polygon",
            "[[[101,36],[101.1,36],[101.1,36.1],[101,36.1]]]".into(),
            "a ring ends where it begins",
        ),
        (
            "Polygon",
            "[[[101,36],[101.1,36],[101,36]]]".into(),
            "a ring has at least four positions",
        ),
        (
            "Polygon",
            "[[[101,36],[101.1,36],[101.1,36.1],[101,36]],[[102,36],[102.1,36],[102.1,36.1],[102,36]]]".into(),
            "a hole lies outside the area",
        ),
        (
            "MultiPolygon",
            "[[[[101,36],[102,36],[102,37],[101,37],[101,36]]],[[[101.2,36.2],[101.4,36.2],[101.4,36.4],[101.2,36.2]]]]".into(),
            "a part lies in another part",
        ),
        (
            "LineString",
            "[[101,36],[101,36]]".into(),
            "a line without length",
        ),
        ("Point", "[101,36,1e308]".into(), "m is not in [-100000"),
        ("Polygon", "[]".into(), "a Polygon without positions"),
        ("Polygon", "[[]]".into(), "a ring without positions"),
        (
            "MultiPolygon",
            format!("[[{RING}],[]]"),
            "a MultiPolygon without positions",
        ),
        (
            "LineString",
            "[[101,36]]".into(),
            "a line has at least two positions",
        ),
        ("LineString", "[]".into(), "a line without positions"),
        ("Point", "[]".into(), "is not [lon, lat]"),
        ("Point", "[101,null]".into(), "is not [lon, lat]"),
        ("Point", "[NaN,36]".into(), "it is not JSON"),
        ("Point", "[1e999,36]".into(), "it is not JSON"),
        ("Point", "[181,36]".into(), "longitude 181 is not in"),
        ("Point", "[101,-91]".into(), "latitude -91 is not in"),
        ("Point", "[36.6,101.8]".into(), "latitude 101.8 is not in"),
        ("Point", "[500000,4000000]".into(), "are not degrees of WGS84"),
        ("Point", "[0,0]".into(), "0, 0 is no position"),
        (
            "LineString",
            "[[-100,36],[100,36]]".into(),
            "reaches over 200 degrees",
        ),
        (
            "Polygon",
            "[[[-170,0.5],[170,0.5],[170,1],[-170,0.5]]]".into(),
            "reaches over 340 degrees",
        ),
        (
            "LineString",
            "[[101,36,5],[101.1,36]]".into(),
            "some positions have a height",
        ),
        ("GeometryCollection", "[]".into(), "is not one of Point"),
        (
            "Polygon",
            circle(200_001),
            "at most 200000 positions, this one has 200001",
        ),
        // Ten million of them.
        (
            "LineString",
            format!("[{}[101,36]]", "[101,36],".repeat(10_000_000)),
            "it has more than 16 MiB",
        ),
    ];
    let good = |code: usize| {
        format!(
            r#"{{"type":"Feature","properties":{{"code":"g{code}"}},"geometry":{{"type":"Polygon","coordinates":[{RING}]}}}}"#
        )
    };
    let mut features = Vec::new();
    for (i, (name, coordinates, _)) in cases.iter().enumerate() {
        features.push(format!(
            r#"{{"type":"Feature","properties":{{"code":"b{i}"}},"geometry":{{"type":"{name}","coordinates":{coordinates}}}}}"#
        ));
        features.push(good(i));
    }
    // The same code once more.
    features.push(good(0));
    let text = format!(
        r#"{{"type":"FeatureCollection","features":[{}]}}"#,
        features.join(",")
    );
    let rows = import_geojson(&text, &mapping(None));
    assert_eq!(rows.len(), 2 * cases.len() + 1);
    for (i, (name, _, want)) in cases.iter().enumerate() {
        let error = rows[2 * i].as_ref().unwrap_err().to_string();
        let place = format!("feature {}: ", 2 * i + 1);
        assert!(
            error.starts_with(&place) && error.contains(want),
            "{name}: {error:.300}"
        );
        assert_eq!(&*rows[2 * i + 1].as_ref().unwrap().code, format!("g{i}"));
    }
    let again = rows[2 * cases.len()].as_ref().unwrap_err().to_string();
    assert!(
        again.contains("code `g0` was given before, by feature 2"),
        "{again}"
    );
}

#[test]
fn each_bad_geometry_of_a_sheet_is_named_by_its_line() {
    let cases = [
        ("POINT(NaN 36)", ""),
        ("POINT EMPTY", ""),
        (
            "POLYGON((101 36,101.1 36.1,101.1 36,101 36.1,101 36))",
            "not simple",
        ),
        (
            "POLYGON((101 36,101.1 36,101.1 36.1,101 36.1))",
            "ends where it begins",
        ),
        ("LINESTRING(101 36)", "at least two positions"),
        ("POINT(181 36)", "longitude 181"),
        ("POINT(0 0)", "0, 0 is no position"),
        ("POINT(101 36", ""),
        ("CIRCLE(1 2)", ""),
    ];
    let mut text = "code,wkt\n".to_owned();
    for (i, (wkt, _)) in cases.iter().enumerate() {
        text.push_str(&format!("b{i},\"{wkt}\"\ng{i},POINT(101 36)\n"));
    }
    let rows: Vec<_> = import_csv(&text, &mapping(None)).collect();
    assert_eq!(rows.len(), 2 * cases.len());
    for (i, (wkt, want)) in cases.iter().enumerate() {
        let error = rows[2 * i].as_ref().unwrap_err().to_string();
        let place = format!("line {}: ", 2 * i + 2);
        assert!(
            error.starts_with(&place) && error.contains(want),
            "{wkt}: {error}"
        );
        assert!(rows[2 * i + 1].is_ok());
    }
    let read = |lon: &str, crs: Option<Crs>| {
        let text = format!("code,lon,lat\nx,{lon}\ny,0.0,0.0\n");
        let rows: Vec<_> = import_csv(&text, &mapping(crs))
            .map(|row| row.map_err(|e| e.to_string()))
            .collect();
        assert!(rows[1].as_ref().unwrap_err().contains("0, 0 is no position"));
        rows[0].clone()
    };
    for number in ["NaN,36", "inf,36", "101,1e400"] {
        assert!(
            read(number, None).unwrap_err().contains("is not a number"),
            "{number}"
        );
    }
    // Degrees where metres are declared, and metres of another zone.
    let zone: Crs = "EPSG:4543".parse().unwrap();
    assert!(read("101.8,36.6", Some(zone)).is_err());
    assert!(read("34500000,4050000", Some(zone)).is_err());
    assert!(read("470000,4050000", Some(zone)).is_ok());
}

#[test]
fn heights_are_the_entitys_when_their_datum_is_said() {
    let read = |properties: Value| {
        let line = json!({"type": "LineString", "coordinates": [[101, 36, 2261.5], [101.1, 36, 2258]]});
        let feature = json!({"type": "Feature", "properties": properties, "geometry": line});
        import_geojson(&feature.to_string(), &mapping(None))
            .remove(0)
            .unwrap()
    };
    let said = read(json!({"code": "a", "height_datum": "1985国家高程基准"}));
    assert_eq!(said.z_range_m, Some([2258.0, 2261.5]));
    let own = read(json!({"code": "a", "height_datum": "1985国家高程基准", "z_min": 1, "z_max": 2}));
    assert_eq!(own.z_range_m, Some([1.0, 2.0]));
    let unsaid = read(json!({"code": "a"}));
    assert_eq!((unsaid.z_range_m, unsaid.height_datum), (None, None));
    assert_eq!(
        unsaid.geometry["coordinates"][0][2], 2261.5,
        "kept where it stands"
    );
}

#[test]
fn names_hold_no_control_characters() {
    let rows: Vec<_> = import_csv(
        "code,name,lon,lat\na,x\u{1}y,101,36\nb,y,101,36\n",
        &mapping(None),
    )
    .collect();
    let error = rows[0].as_ref().unwrap_err().to_string();
    assert!(
        error.starts_with("line 2: ") && error.contains("U+0001"),
        "{error}"
    );
    assert!(rows[1].is_ok());
}
