//! The map's questions and tiles over HTTP, on a real server: with things made for the test, and with the
//! districts, places and foreign components of the shared data.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use onemap_model::crs::Crs;
use serde_json::{Value, json};

use crate::server::{Server, binary, request};

/// The folder with data that may be used and not shipped.
fn shared(file: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("ONEMAP_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    let path = folder.join(file);
    if !path.exists() {
        eprintln!("SKIPPED: {file} is not in the shared folder (ONEMAP_SHARED)");
        return None;
    }
    Some(path)
}

fn get(server: &Server, path: &str) -> (u16, Value) {
    server.request("GET", path, None)
}

fn codes(answer: &Value) -> Vec<String> {
    let features = answer["features"]
        .as_array()
        .unwrap_or_else(|| panic!("{answer}"));
    let code = |f: &Value| {
        let properties = &f["properties"];
        let code = properties["code"].as_str().or(properties["device"].as_str());
        code.unwrap().to_owned()
    };
    features.iter().map(code).collect()
}

fn square(west: f64, south: f64, size: f64) -> Value {
    let (east, north) = (west + size, south + size);
    json!({"type": "Polygon", "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]]})
}

fn point(lon: f64, lat: f64) -> Value {
    json!({"type": "Point", "coordinates": [lon, lat]})
}

/// Two districts side by side, things in both.
fn town() -> Server {
    let server = Server::new();
    for entity in [
        json!({"code": "630102", "kind": "division", "name": "城东区", "geometry": square(101.8, 36.5, 0.1)}),
        json!({"code": "630103", "kind": "division", "name": "城中区", "geometry": square(101.7, 36.5, 0.1)}),
        json!({"code": "p-border", "kind": "place", "name": "界碑", "geometry": point(101.8, 36.55)}),
        json!({"code": "p-east", "kind": "place", "name": "东站", "geometry": point(101.85, 36.55), "attributes": {"class": "station", "note": "\"引\"\n"}}),
        json!({"code": "p-west", "kind": "place", "name": "西门", "geometry": point(101.75, 36.55)}),
        json!({"code": "main", "kind": "pipe", "name": "干管", "stratum": "below", "z_range_m": [2255.0, 2256.0],
            "geometry": {"type": "LineString", "coordinates": [[101.74, 36.55], [101.86, 36.55]]}}),
        json!({"code": "slope", "kind": "hazard", "name": "不稳定斜坡", "geometry": square(101.84, 36.54, 0.02)}),
        json!({"code": "old", "kind": "place", "name": "旧站", "geometry": point(101.8501, 36.55), "valid_to": "2020-01-01T00:00:00Z"}),
    ] {
        server.post("/api/v1/entities", &entity);
    }
    let device = json!({"id": "well-1", "name": "井", "kind": "well", "position": {"lon": 101.8502, "lat": 36.55, "height_m": 2260.5}});
    server.post("/api/v1/devices", &device);
    server
}

#[test]
fn questions_of_where_are_answered_as_geojson() {
    let server = town();
    let (status, all) = get(&server, "/api/v1/within?bbox=101.7,36.5,101.9,36.6");
    assert_eq!(status, 200, "{all}");
    assert_eq!(
        codes(&all),
        ["p-border", "p-east", "p-west", "slope", "main", "well-1"]
    );
    assert_eq!(
        (&all["numberMatched"], &all["numberReturned"], &all["next"]),
        (&json!(6), &json!(6), &Value::Null)
    );
    let east = &all["features"][1];
    assert_eq!(east["id"], "place/p-east");
    assert_eq!(east["geometry"], point(101.85, 36.55));
    let properties = &east["properties"];
    assert_eq!(
        (&properties["name"], &properties["division"], &properties["class"]),
        (&json!("东站"), &json!("630102"), &json!("station"))
    );
    assert_eq!(properties["attributes"]["note"], "\"引\"\n");
    let well = &all["features"][5]["properties"];
    assert_eq!(
        (&well["kind"], &well["state"], &well["device_kind"]),
        (&json!("device"), &json!("unknown"), &json!("well")),
        "nothing heard is unknown"
    );
    assert_eq!(well["z_range_m"], json!([2260.5, 2260.5]));

    // Page by page the same things.
    let mut path = "/api/v1/within?bbox=101.7,36.5,101.9,36.6&limit=1".to_owned();
    let mut paged = Vec::new();
    loop {
        let page = server.get(&path);
        paged.extend(codes(&page));
        assert_eq!(page["numberMatched"], 6);
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/within?bbox=101.7,36.5,101.9,36.6&limit=1&after={next}");
    }
    assert_eq!(paged, codes(&all));

    // Kinds, divisions by prefix, heights, strata, time.
    for (question, want) in [
        ("kind=division", vec!["630102", "630103"]),
        (
            "kind=place,device&division=630102",
            vec!["p-border", "p-east", "well-1"],
        ),
        ("stratum=below", vec!["main"]),
        ("z=2256,2300", vec!["main", "well-1"]),
        ("class=station", vec!["p-east"]),
        (
            "kind=place&at=2019-01-01T00:00:00Z",
            vec!["old", "p-border", "p-east", "p-west"],
        ),
        ("kind=event", vec![]),
    ] {
        let answer = server.get(&format!("/api/v1/within?bbox=101.7,36.5,101.9,36.6&{question}"));
        assert_eq!(codes(&answer), want, "{question}");
    }
    // A polygon as GeoJSON and WKT, in an address and in a body; its border counts.
    let wkt = "POLYGON((101.85 36.54, 101.87 36.54, 101.87 36.56, 101.85 36.56, 101.85 36.54))";
    let polygon = json!({"type": "Polygon", "coordinates": [[[101.85, 36.54], [101.87, 36.54], [101.87, 36.56], [101.85, 36.56], [101.85, 36.54]]]});
    let encoded: String = form_urlencoded(wkt);
    let by_address = server.get(&format!("/api/v1/within?polygon={encoded}&kind=place"));
    assert_eq!(codes(&by_address), ["p-east"]);
    for body in [
        json!({"polygon": wkt, "kind": "place"}),
        json!({"polygon": polygon, "kind": ["place"], "limit": 5}),
    ] {
        let (status, answer) = server.request("POST", "/api/v1/within", Some(&body.to_string()));
        assert_eq!(status, 200, "{answer}");
        assert_eq!(codes(&answer), ["p-east"]);
    }
    let circle = server.get("/api/v1/within?lon=101.85&lat=36.55&radius_m=20");
    assert_eq!(codes(&circle), ["p-east", "slope", "main", "well-1"]);

    let near = server.get("/api/v1/nearest?lon=101.8504&lat=36.55&k=3&kind=place,device");
    assert_eq!(codes(&near), ["well-1", "p-east", "p-border"]);
    let metres = near["features"][0]["properties"]["distance_m"].as_f64().unwrap();
    assert!((metres - 17.86).abs() < 0.05, "{metres}");
    assert_eq!(
        codes(&server.get("/api/v1/nearest?lon=101.8504&lat=36.55&k=3&kind=place,device&radius_m=30")),
        ["well-1"]
    );

    let column = server.get("/api/v1/column?lon=101.85&lat=36.55");
    assert_eq!(codes(&column), ["p-east", "slope", "main"]);
    assert_eq!(
        column["areas"],
        json!([{"kind": "division", "code": "630102", "name": "城东区"}])
    );
    let border = server.get("/api/v1/column?lon=101.8&lat=36.52");
    assert_eq!(
        border["areas"][0]["code"], "630102",
        "a border belongs to both, the smaller code first"
    );
    assert_eq!(border["areas"][1]["code"], "630103");

    let section = server.get("/api/v1/section?line=101.83,36.55;101.87,36.55");
    assert_eq!(codes(&section), ["main", "slope", "p-east", "well-1"]);
    let slope = &section["features"][1]["properties"]["along_m"];
    let whole: Vec<i64> = slope[0]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m.as_f64().unwrap().round() as i64)
        .collect();
    assert_eq!(whole, [893, 2680]);
}

fn form_urlencoded(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

#[test]
fn coordinates_of_other_systems_go_in_and_come_out() {
    let server = town();
    for name in [
        "WGS84",
        "CGCS2000",
        "GCJ02",
        "BD09",
        "EPSG:4543",
        "EPSG:4522",
        "EPSG:3857",
    ] {
        let crs: Crs = name.parse().unwrap();
        let (x, y) = crs.from_wgs84(101.85, 36.55);
        let near = server.get(&format!(
            "/api/v1/nearest?lon={x}&lat={y}&k=1&kind=place&crs={name}"
        ));
        assert_eq!(codes(&near), ["p-east"], "{name}");
        let feature = &near["features"][0];
        assert!(
            feature["properties"]["distance_m"].as_f64().unwrap() < 0.02,
            "{name} {near}"
        );
        let at = [0, 1].map(|i| feature["geometry"]["coordinates"][i].as_f64().unwrap());
        let step = if crs.is_projected() { 0.02 } else { 2e-7 };
        assert!(
            (at[0] - x).abs() < step && (at[1] - y).abs() < step,
            "{name} {at:?} {x} {y}"
        );
        // A box of a kilometre around it.
        let far = if crs.is_projected() { 500.0 } else { 0.005 };
        let bbox = format!("{},{},{},{}", x - far, y - far, x + far, y + far);
        let within = server.get(&format!("/api/v1/within?kind=place&bbox={bbox}&crs={name}"));
        assert_eq!(codes(&within), ["p-east"], "{name}");
        assert_eq!(within["crs"], crs.name());
        let line = format!("{},{y};{},{y}", x - far, x + far);
        let section = server.get(&format!(
            "/api/v1/section?kind=place&line={line}&width_m=2&crs={name}"
        ));
        assert_eq!(codes(&section), ["p-east"], "{name}");
    }
    let (status, problem) = get(&server, "/api/v1/nearest?lon=101.85&lat=36.55&crs=EPSG:4543");
    assert_eq!(
        (status, &problem["code"]),
        (400, &json!("out_of_domain")),
        "degrees for metres"
    );
    let (status, problem) = get(&server, "/api/v1/nearest?lon=101.85&lat=36.55&crs=mars");
    assert_eq!((status, &problem["code"]), (400, &json!("bad_crs")));
}

#[test]
fn bad_questions_are_refused_by_name() {
    let server = town();
    for (path, code) in [
        ("/api/v1/within", "bad_region"),
        ("/api/v1/within?bbox=1,2,3", "bad_bbox"),
        ("/api/v1/within?bbox=1,2,3,x", "bad_parameter"),
        ("/api/v1/within?bbox=1,2,3,1", "bad_bbox"),
        ("/api/v1/within?bbox=-100,0,100,1", "too_wide"),
        ("/api/v1/within?bbox=0,0,NaN,1", "not_finite"),
        ("/api/v1/within?bbox=0,0,200,1", "off_globe"),
        ("/api/v1/within?bbox=0,0,1,1&lon=1&lat=1&radius_m=5", "bad_region"),
        ("/api/v1/within?lon=1&radius_m=5", "bad_parameter"),
        ("/api/v1/within?lon=1&lat=1&radius_m=-5", "bad_radius"),
        ("/api/v1/within?lon=1&lat=1&radius_m=inf", "not_finite"),
        (
            "/api/v1/within?polygon=POLYGON((0%200,2%202,2%200,0%202,0%200))",
            "self_crossing",
        ),
        (
            "/api/v1/within?polygon=POLYGON((0%200,2%200,2%202))",
            "unclosed_ring",
        ),
        (
            "/api/v1/within?polygon=POLYGON((0%200,NaN%200,2%202,0%200))",
            "not_finite",
        ),
        ("/api/v1/within?polygon=POLYGON%20EMPTY", "empty_geometry"),
        ("/api/v1/within?polygon=nonsense", "bad_polygon"),
        ("/api/v1/within?polygon=%7B%22type%22", "bad_polygon"),
        ("/api/v1/within?bbox=0,0,1,1&limit=0", "bad_limit"),
        ("/api/v1/within?bbox=0,0,1,1&limit=10001", "bad_limit"),
        ("/api/v1/within?bbox=0,0,1,1&after=x", "bad_after"),
        ("/api/v1/within?bbox=0,0,1,1&kind=person", "bad_kind"),
        ("/api/v1/within?bbox=0,0,1,1&kind=ghost", "bad_kind"),
        ("/api/v1/within?bbox=0,0,1,1&stratum=deep", "bad_stratum"),
        ("/api/v1/within?bbox=0,0,1,1&z=5,1", "bad_heights"),
        ("/api/v1/within?bbox=0,0,1,1&division=63", "bad_division"),
        ("/api/v1/within?bbox=0,0,1,1&at=yesterday", "bad_time"),
        ("/api/v1/within?bbox=0,0,1,1&bbox=0,0,1,1", "bad_parameter"),
        ("/api/v1/within?bbox=0,0,1,1&colour=red", "bad_parameter"),
        ("/api/v1/nearest?lon=1", "bad_parameter"),
        ("/api/v1/nearest?lon=1&lat=1&k=0", "bad_limit"),
        ("/api/v1/nearest?lon=1&lat=1&k=1001", "bad_limit"),
        ("/api/v1/nearest?lon=1&lat=91", "off_globe"),
        ("/api/v1/column?lon=1&lat=1&radius_m=0", "bad_radius"),
        ("/api/v1/section?line=1,1", "no_extent"),
        ("/api/v1/section?line=1,1;x", "bad_line"),
        ("/api/v1/section", "bad_line"),
        ("/api/v1/section?line=1,1;5,5", "too_long"),
        ("/api/v1/section?line=1,1;1.1,1&width_m=5000", "bad_width"),
        ("/tiles/components/17/0/0.mvt", "bad_tile"),
        ("/tiles/persons/1/0/0.mvt", "unknown_layer"),
        ("/tiles/pipes,persons/1/0/0.mvt", "unknown_layer"),
        ("/tiles/pipes,/1/0/0.mvt", "unknown_layer"),
        ("/tiles/pipes,water,pipes/1/0/0.mvt", "bad_layers"),
    ] {
        let (status, problem) = get(&server, path);
        let want = if code == "unknown_layer" { 404 } else { 400 };
        assert_eq!(
            (status, &problem["code"]),
            (want, &json!(code)),
            "{path} {problem}"
        );
    }
    let ring: Vec<[f64; 2]> = (0..10_001).map(|i| [101.0 + f64::from(i) * 1e-5, 36.0]).collect();
    let long = json!({"polygon": {"type": "Polygon", "coordinates": [ring]}});
    let (status, problem) = server.request("POST", "/api/v1/within", Some(&long.to_string()));
    assert_eq!((status, &problem["code"]), (400, &json!("too_many_vertices")));
}

#[test]
fn a_district_sees_its_own_things_only() {
    let server = town();
    let made = Command::new(binary("onemap"))
        .arg("--data-dir")
        .arg(&server.dir)
        .args(["token", "create", "--role", "viewer", "--division", "630103"])
        .output()
        .unwrap();
    let token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let ask = |path: &str| request(&server.http, &token, "GET", path, None);
    let (status, west) = ask("/api/v1/within?bbox=101.7,36.5,101.9,36.6");
    assert_eq!(status, 200);
    // The pipe's middle vertex decides: it lies in the east. The stone on the border belongs to the smaller code.
    assert_eq!(codes(&west), ["p-west"]);
    assert_eq!(codes(&ask("/api/v1/nearest?lon=101.85&lat=36.55").1), ["p-west"]);
    let column = ask("/api/v1/column?lon=101.85&lat=36.55").1;
    assert_eq!((codes(&column).len(), &column["areas"]), (0, &json!([])));
    assert_eq!(
        codes(&ask("/api/v1/section?line=101.83,36.55;101.87,36.55").1).len(),
        0
    );
    assert_eq!(ask("/tiles/live/12/3207/1600.mvt").0, 204);
    assert_eq!(ask("/tiles/devices/12/3207/1600.mvt").0, 403);
}

#[test]
fn several_layers_come_in_one_tile_as_each_comes_alone() {
    let server = Server::new();
    let things = [
        (
            "component",
            json!({"type": "Point", "coordinates": [101.7501, 36.6001]}),
        ),
        (
            "pipe",
            json!({"type": "LineString", "coordinates": [[101.7500, 36.6000], [101.7502, 36.6002]]}),
        ),
    ];
    for (kind, geometry) in things {
        let entity = json!({"code": kind, "kind": kind, "name": format!("名{kind}"), "geometry": geometry});
        server.post("/api/v1/entities", &entity);
    }
    for zoom in [14, 16] {
        let at = tile_at(101.7501, 36.6001, zoom);
        let [(_, _, components), (_, _, pipes)] =
            ["components", "pipes"].map(|layer| tile(&server, layer, &at, None));
        let (status, head, both) = tile(&server, "components,hazards,pipes", &at, None);
        assert_eq!(status, 200);
        assert_eq!(
            both,
            [components, pipes].concat(),
            "nothing of the layer that is empty"
        );
        let has_name = both
            .windows("名pipe".len())
            .any(|window| window == "名pipe".as_bytes());
        assert_eq!(has_name, zoom == 16);
        assert_eq!(
            tile(&server, "components,hazards,pipes", &at, Some(&head["etag"])).0,
            304
        );
    }
    assert_eq!(
        tile(&server, "hazards,fences", &tile_at(101.75, 36.6, 14), None).0,
        204
    );
    let (_, described) = get(&server, "/tiles/components,pipes.json");
    let ids: Vec<_> = described["vector_layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| &layer["id"])
        .collect();
    assert_eq!(ids, ["components", "pipes"]);
    let address = described["tiles"][0].as_str().unwrap();
    assert!(
        address.ends_with("/tiles/components,pipes/{z}/{x}/{y}.mvt"),
        "{address}"
    );
}

pub fn tile_at(lon: f64, lat: f64, zoom: u32) -> String {
    let n = f64::from(1u32 << zoom);
    let x = ((lon + 180.0) / 360.0 * n) as u32;
    let y = ((1.0 - lat.to_radians().tan().asinh() / std::f64::consts::PI) / 2.0 * n) as u32;
    format!("{zoom}/{x}/{y}")
}

/// Status, head and body of a tile.
pub fn tile(
    server: &Server,
    layer: &str,
    at: &str,
    known: Option<&str>,
) -> (u16, BTreeMap<String, String>, Vec<u8>) {
    let mut asked = ureq::get(format!("{}/tiles/{layer}/{at}.mvt", server.http))
        .config()
        .http_status_as_error(false)
        .build()
        .header("authorization", format!("Bearer {}", server.token));
    if let Some(etag) = known {
        asked = asked.header("if-none-match", etag);
    }
    let mut answer = asked.call().unwrap();
    let head = answer
        .headers()
        .iter()
        .map(|(k, v)| (k.to_string(), v.to_str().unwrap().to_owned()))
        .collect();
    let mut bytes = Vec::new();
    answer.body_mut().as_reader().read_to_end(&mut bytes).unwrap();
    (answer.status().as_u16(), head, bytes)
}

#[test]
fn an_edit_changes_the_tiles_it_touches_and_no_others() {
    let server = town();
    let [here, there] = [tile_at(101.85, 36.55, 14), tile_at(101.75, 36.55, 14)];
    let component = |code: &str, lon: f64| {
        let entity = json!({"code": code, "kind": "hazard", "name": code, "geometry": point(lon, 36.551)});
        server.post("/api/v1/entities", &entity);
    };
    component("h-east", 101.851);
    component("h-west", 101.751);
    let etag = |at: &str| {
        let (status, head, bytes) = tile(&server, "hazards", at, None);
        assert_eq!((status, head["onemap-dropped"].as_str()), (200, "0"));
        assert!(!bytes.is_empty() && head["content-type"] == "application/vnd.mapbox-vector-tile");
        head["etag"].clone()
    };
    let (east, west) = (etag(&here), etag(&there));
    assert_eq!(tile(&server, "hazards", &here, Some(&east)).0, 304);
    component("h-east-2", 101.8512);
    assert_ne!(etag(&here), east);
    assert_eq!(tile(&server, "hazards", &there, Some(&west)).0, 304);
    // States have a layer of their own.
    let (status, head, bytes) = tile(&server, "live", &tile_at(101.8502, 36.55, 12), None);
    assert_eq!(status, 200, "{head:?}");
    assert!(bytes.windows(7).any(|w| w == b"unknown") && !bytes.windows(6).any(|w| w == b"normal"));
    assert_eq!(tile(&server, "components", &here, None).0, 204);
    let json = server.get("/tiles/hazards.json");
    assert_eq!(json["vector_layers"][0]["id"], "hazards");
    assert!(json["bounds"][0].as_f64().unwrap() < 101.76);
}

/// Every entity of a GeoJSON file, changed to this register's names.
fn import(server: &Server, features: impl Iterator<Item = Value>) -> usize {
    let features: Vec<Value> = features.collect();
    for some in features.chunks(500) {
        let answer = server.post(
            "/api/v1/entities",
            &json!({"type": "FeatureCollection", "features": some}),
        );
        assert_eq!(answer["errors"], json!([]), "{answer}");
    }
    features.len()
}

fn unpacked(path: &Path) -> String {
    let output = Command::new("gzip").arg("-dc").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The cells of a line of CSV; commas between quotation marks belong to a cell.
fn cells(line: &str) -> Vec<&str> {
    let mut is_quoted = false;
    line.split(|c| {
        is_quoted ^= c == '"';
        c == ',' && !is_quoted
    })
    .collect()
}

#[test]
fn xining_lies_where_it_lies() {
    let Some(districts) = shared("data/xining-admin/districts_wgs84.geojson") else {
        return;
    };
    let server = Server::new();
    let districts: Value = serde_json::from_str(&std::fs::read_to_string(districts).unwrap()).unwrap();
    let n = import(&server, districts["features"].as_array().unwrap().iter().map(|f| {
        json!({"type": "Feature", "geometry": f["geometry"], "properties": {"code": f["properties"]["adcode"], "kind": "division", "name": f["properties"]["name"]}})
    }));
    assert_eq!(n, 7);
    // Every place whose district the list names by polygon is found in that district.
    let places = std::fs::read_to_string(shared("data/xining-places/places.csv").unwrap()).unwrap();
    let rows: Vec<Vec<&str>> = places.lines().skip(1).map(cells).collect();
    let n = import(&server, rows.iter().map(|row| {
        let at = [row[5].parse::<f64>().unwrap(), row[6].parse::<f64>().unwrap()];
        json!({"type": "Feature", "geometry": {"type": "Point", "coordinates": at}, "properties": {"code": row[0], "kind": "place", "name": row[1]}})
    }));
    assert_eq!(n, 127);
    let everything = server.get("/api/v1/within?bbox=100,36,103,38&kind=place&limit=1000");
    assert_eq!(everything["numberMatched"], 127);
    let found: BTreeMap<&str, Option<&str>> = everything["features"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| {
            (
                f["properties"]["code"].as_str().unwrap(),
                f["properties"]["division"].as_str(),
            )
        })
        .collect();
    for row in &rows {
        let want = Some(row[11]).filter(|code| !code.is_empty());
        assert_eq!(found[row[0]], want, "{row:?}");
    }
    // The same by polygon: each district's places are those with its code.
    for feature in districts["features"].as_array().unwrap() {
        let code = feature["properties"]["adcode"].as_str().unwrap();
        let body = json!({"polygon": feature["geometry"], "kind": "place", "limit": 1000});
        let (status, answer) = server.request("POST", "/api/v1/within", Some(&body.to_string()));
        assert_eq!(status, 200, "{answer}");
        let inside: BTreeSet<String> = codes(&answer).into_iter().collect();
        let want = rows
            .iter()
            .filter(|row| row[11] == code)
            .map(|row| row[0].to_owned());
        let want: BTreeSet<String> = want.collect();
        assert_eq!(inside, want, "{code}");
    }
    // LX-B7 and LX-N9 lie outside of the district they name.
    let hazards =
        std::fs::read_to_string(shared("data/xining-places/railway_geohazards.csv").unwrap()).unwrap();
    for line in hazards.lines().skip(1) {
        let row: Vec<&str> = line.split(',').collect();
        let column = server.get(&format!("/api/v1/column?lon={}&lat={}", row[3], row[4]));
        let names = column["areas"].to_string();
        let named = ["城东区", "城中区", "城西区", "城北区", "湟中区", "大通", "湟源县"]
            .into_iter()
            .find(|name| row[2].contains(name));
        let Some(named) = named else { continue };
        assert_eq!(
            names.contains(named),
            !["LX-B7", "LX-N9"].contains(&row[0]),
            "{line} {names}"
        );
    }
}

#[test]
fn foreign_hydrants_and_lamps_come_out_as_many_as_went_in() {
    let Some(hydrants) = shared("data/city-components/fortaleza_hydrants.geojson.gz") else {
        return;
    };
    let server = Server::new();
    let hydrants: Value = serde_json::from_str(&unpacked(&hydrants)).unwrap();
    let features = hydrants["features"].as_array().unwrap();
    let n = import(&server, features.iter().enumerate().filter(|(_, f)| !f["geometry"].is_null()).map(|(i, f)| {
        json!({"type": "Feature", "geometry": f["geometry"], "properties": {"code": format!("hydrant-{i}"), "kind": "hazard", "name": f["properties"]["address"].as_str().unwrap_or("")}})
    }));
    let [mut pages, mut seen] = [0, 0];
    let mut after = String::new();
    loop {
        let page = server.get(&format!(
            "/api/v1/within?bbox=-39,-4,-38,-3&kind=hazard&limit=77{after}"
        ));
        seen += codes(&page).len();
        pages += 1;
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!((seen, pages), (n, n.div_ceil(77)));
    // Every one is its own nearest, or stands where another stands.
    for feature in features.iter().filter(|f| !f["geometry"].is_null()).take(50) {
        let at = &feature["geometry"]["coordinates"];
        let near = server.get(&format!("/api/v1/nearest?lon={}&lat={}&k=1", at[0], at[1]));
        assert!(
            near["features"][0]["properties"]["distance_m"].as_f64().unwrap() < 0.02,
            "{near}"
        );
    }
}
