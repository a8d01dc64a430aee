//! What is known of coordinate systems, against figures of other implementations.

#![allow(clippy::unwrap_used)]
use super::*;

/// Place, WGS 84, GCJ-02, BD-09: figures on which two public implementations agree.
type Row = (&'static str, (f64, f64), (f64, f64), (f64, f64));
const POINTS: [Row; 8] = [
    (
        "Xining",
        (101.7782, 36.6171),
        (101.78013247, 36.61701834),
        (101.78659284, 36.62317444),
    ),
    (
        "Huangzhong",
        (101.5716, 36.5009),
        (101.57336048, 36.50060005),
        (101.57998002, 36.50631952),
    ),
    (
        "Datong",
        (101.6856, 36.9268),
        (101.68749699, 36.9268661),
        (101.69406632, 36.93261738),
    ),
    (
        "Huangyuan",
        (101.2563, 36.6822),
        (101.25819684, 36.68216215),
        (101.2646338, 36.68828231),
    ),
    (
        "Caojiapu",
        (102.043, 36.5275),
        (102.04501048, 36.52751016),
        (102.05159947, 36.53329767),
    ),
    (
        "Beijing",
        (116.3975, 39.9087),
        (116.40374357, 39.9101035),
        (116.41011659, 39.91644275),
    ),
    (
        "Shanghai",
        (121.4737, 31.2304),
        (121.47822306, 31.22845774),
        (121.48478147, 31.23431059),
    ),
    (
        "Tokyo",
        (139.6917, 35.6895),
        (139.6917, 35.6895),
        (139.69812253, 35.69584545),
    ),
];

fn close(a: (f64, f64), b: (f64, f64), within: f64) -> bool {
    (a.0 - b.0).abs() < within && (a.1 - b.1).abs() < within
}

#[test]
fn known_points_convert_both_ways() {
    for (name, wgs84, gcj02, bd09) in POINTS {
        let forward = Crs::Gcj02.from_wgs84(wgs84.0, wgs84.1);
        assert!(close(forward, gcj02, 1e-7), "{name} to GCJ-02: {forward:?}");
        let forward = Crs::Bd09.from_wgs84(wgs84.0, wgs84.1);
        assert!(close(forward, bd09, 1e-7), "{name} to BD-09: {forward:?}");
        let back = Crs::Gcj02.to_wgs84(gcj02.0, gcj02.1);
        assert!(close(back, wgs84, 1e-7), "{name} from GCJ-02: {back:?}");
        let back = Crs::Bd09.to_wgs84(bd09.0, bd09.1);
        assert!(close(back, wgs84, 1e-7), "{name} from BD-09: {back:?}");
    }
}

#[test]
fn every_vector_beside_the_repository_holds() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let Ok(text) = std::fs::read_to_string(root.join("shared/standards/vectors/coordinates.json")) else {
        eprintln!("SKIPPED: no ../shared/standards/vectors/coordinates.json beside the repository");
        return;
    };
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    for point in all["points"].as_array().unwrap() {
        let pair = |key: &str| (point[key][0].as_f64().unwrap(), point[key][1].as_f64().unwrap());
        let wgs84 = pair("wgs84");
        for (crs, key) in [(Crs::Gcj02, "gcj02"), (Crs::Bd09, "bd09")] {
            let there = crs.from_wgs84(wgs84.0, wgs84.1);
            assert!(close(there, pair(key), 1e-7), "{point} {there:?}");
            let back = crs.read(pair(key).0, pair(key).1).unwrap();
            assert!(close(back, wgs84, 1e-6), "{point} {back:?}");
        }
    }
}

#[test]
fn there_and_back_is_the_same_point_all_over_xining() {
    for i in 0..60 {
        for j in 0..60 {
            let (lon, lat) = (100.8 + f64::from(i) * 0.02, 36.2 + f64::from(j) * 0.02);
            for crs in [Crs::Gcj02, Crs::Bd09, Crs::Cgcs2000] {
                let there = crs.from_wgs84(lon, lat);
                let back = crs.to_wgs84(there.0, there.1);
                assert!(close(back, (lon, lat), 1e-9), "{crs} {lon} {lat}: {back:?}");
            }
        }
    }
}

#[test]
fn names_are_read_in_their_usual_spellings_and_nothing_is_guessed() {
    for (text, crs) in [
        ("wgs84", Crs::Wgs84),
        ("urn:ogc:def:crs:OGC:1.3:CRS84", Crs::Wgs84),
        ("EPSG:4490", Crs::Cgcs2000),
        ("GCJ-02", Crs::Gcj02),
        ("bd_09", Crs::Bd09),
        ("EPSG:3857", Crs::WebMercator),
        ("OGC:CRS84", Crs::Wgs84),
        ("http://www.opengis.net/def/crs/OGC/1.3/CRS84", Crs::Wgs84),
        ("http://www.opengis.net/def/crs/EPSG/0/4543", zone(34, false)),
        ("urn:ogc:def:crs:EPSG::4522", zone(34, true)),
        ("CGCS2000 / 3-degree Gauss-Kruger CM 102E", zone(34, false)),
        ("CGCS2000 / 3-degree Gauss-Kruger zone 34", zone(34, true)),
        ("EPSG:4513", zone(25, true)),
        ("EPSG:4554", zone(45, false)),
    ] {
        assert_eq!(text.parse::<Crs>(), Ok(crs));
    }
    for bad in [
        "",
        "EPSG:4555",
        "EPSG:2343",
        "EPSG:",
        "local",
        "CGCS2000 / 3-degree Gauss-Kruger CM 103E",
    ] {
        assert!(bad.parse::<Crs>().is_err(), "{bad}");
    }
}

fn zone(number: u8, in_easting: bool) -> Crs {
    Crs::GaussKruger(Zone::new(number, in_easting).unwrap())
}

/// System, WGS 84, easting and northing as PROJ 9 gives them (`pyproj` 3.7, EPSG database 12).
type Projected = (&'static str, (f64, f64), (f64, f64));
const PROJ: &[Projected] = &[
    ("EPSG:4522", (101.7782, 36.6171), (34480158.64249, 4054041.91448)),
    ("EPSG:4522", (101.2563, 36.6822), (34433526.99912, 4061500.94790)),
    ("EPSG:4522", (102.043, 36.5275), (34503851.05471, 4044076.98758)),
    ("EPSG:4522", (103.4, 18.2), (34648110.87731, 2013683.49636)),
    ("EPSG:4522", (100.6, 53.4), (34406881.53297, 5920049.79660)),
    ("EPSG:4543", (101.7782, 36.6171), (480158.64249, 4054041.91448)),
    ("EPSG:4543", (101.2563, 36.6822), (433526.99912, 4061500.94790)),
    ("EPSG:4543", (102.043, 36.5275), (503851.05471, 4044076.98758)),
    ("EPSG:4543", (103.4, 18.2), (648110.87731, 2013683.49636)),
    ("EPSG:4543", (100.6, 53.4), (406881.53297, 5920049.79660)),
    (
        "EPSG:4513",
        (74.330565, 11.39161),
        (25426935.81145, 1259868.71968),
    ),
    ("EPSG:4513", (75.573551, 7.549378), (25563298.66096, 834856.97548)),
    (
        "EPSG:4533",
        (135.136352, 21.918757),
        (45514088.01599, 2424810.72022),
    ),
    (
        "EPSG:4533",
        (133.320396, 28.864351),
        (45336115.38012, 3195394.51523),
    ),
    ("EPSG:4534", (73.242484, 25.248638), (322919.52565, 2794755.69083)),
    ("EPSG:4534", (73.365451, 8.444938), (319979.19776, 934237.70495)),
    (
        "EPSG:4554",
        (134.713173, 44.515754),
        (477194.91602, 4931171.57093),
    ),
    (
        "EPSG:4554",
        (133.570447, 14.938709),
        (346193.23831, 1652702.54442),
    ),
    (
        "EPSG:4528",
        (120.484246, 50.437738),
        (40534402.05401, 5589650.15215),
    ),
    (
        "EPSG:4528",
        (120.292991, 23.437343),
        (40529940.62572, 2593002.48771),
    ),
    ("EPSG:4547", (115.809769, 6.282551), (700293.40232, 695062.66851)),
    ("EPSG:4547", (115.36218, 18.190855), (644116.66579, 2012640.93810)),
    ("EPSG:3857", (101.7782, 36.6171), (11329897.39786, 4385869.00726)),
    ("EPSG:3857", (101.2563, 36.6822), (11271799.75561, 4394901.65720)),
    ("EPSG:3857", (102.043, 36.5275), (11359374.79902, 4373449.43486)),
    ("EPSG:3857", (-38.5, -3.7), (-4285800.39554, -412168.68741)),
    ("EPSG:3857", (179.9, 84.9), (20026376.39371, 19845401.33550)),
];

#[test]
fn projected_points_are_those_of_proj() {
    for (name, (lon, lat), (x, y)) in PROJ {
        let crs: Crs = name.parse().unwrap();
        let there = crs.from_wgs84(*lon, *lat);
        assert!(close(there, (*x, *y), 1e-4), "{name} {lon} {lat}: {there:?}");
        let back = crs.read(*x, *y).unwrap();
        assert!(close(back, (*lon, *lat), 1e-9), "{name} {x} {y}: {back:?}");
    }
}

#[test]
fn numbers_of_another_system_are_refused() {
    let gk: Crs = "EPSG:4543".parse().unwrap();
    let prefixed: Crs = "EPSG:4522".parse().unwrap();
    for (crs, (x, y), says) in [
        (Crs::Wgs84, (500_000.0, 4_053_000.0), "look like metres"),
        (Crs::Gcj02, (34_480_000.0, 4_053_000.0), "look like metres"),
        (Crs::Wgs84, (36.6, 101.7), "latitude 101.7 is not in"),
        (gk, (101.7, 36.6), "look like degrees"),
        (Crs::WebMercator, (101.7, 36.6), "look like degrees"),
        (gk, (34_480_000.0, 4_053_000.0), "eastings are 250000 to 750000"),
        (
            prefixed,
            (480_000.0, 4_053_000.0),
            "eastings are 34250000 to 34750000",
        ),
        (prefixed, (35_480_000.0, 4_053_000.0), "lie outside EPSG:4522"),
        (gk, (4_053_000.0, 480_000.0), "lie outside EPSG:4543"),
        (gk, (480_000.0, -5.0), "lie outside"),
        (Crs::WebMercator, (2.1e7, 0.0), "lie outside EPSG:3857"),
        (gk, (f64::NAN, 1.0), "not finite"),
        (Crs::Wgs84, (f64::INFINITY, 1.0), "not finite"),
    ] {
        let error = crs.read(x, y).unwrap_err().to_string();
        assert!(error.contains(says), "{crs} {x} {y}: {error}");
    }
}

proptest::proptest! {
    #[test]
    fn there_and_back_is_the_same_point_in_every_zone(number in 25u8..=45, east in -2.0..2.0f64, lat in 0.0..85.0f64, prefixed: bool) {
        let crs = zone(number, prefixed);
        let lon = f64::from(number) * 3.0 + east;
        let (x, y) = crs.from_wgs84(lon, lat);
        let back = crs.read(x, y).unwrap();
        proptest::prop_assert!(close(back, (lon, lat), 1e-11), "{back:?}");
        let (x, y) = Crs::WebMercator.from_wgs84(lon, lat);
        let back = Crs::WebMercator.to_wgs84(x, y);
        proptest::prop_assert!(close(back, (lon, lat), 1e-11), "{back:?}");
    }
    #[test]
    fn every_name_reads_back(code in 4500u16..4560) {
        if let Some(crs) = Crs::from_epsg(code) {
            proptest::prop_assert_eq!(crs.name().parse::<Crs>(), Ok(crs));
            proptest::prop_assert_eq!(crs.epsg(), Some(code));
        }
    }
}
