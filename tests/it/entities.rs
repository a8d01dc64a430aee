//! Entities and persons come in through a running server: files of every format, foreign data, and what is warned of.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::server::{Server, peer};

fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/data")
        .join(path);
    if !path.exists() {
        eprintln!("SKIPPED: {} is not there", path.display());
        return None;
    }
    Some(path)
}

/// `onemap import entities` on the running server; what it says as JSON.
fn import(server: &Server, file: &Path, args: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_onemap"))
        .arg("--data-dir")
        .arg(&server.dir)
        .args(["--json", "import", "entities"])
        .arg(file)
        .args(args)
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| json!({"failed": String::from_utf8_lossy(&output.stderr)}))
}

fn counts(done: &Value) -> (u64, u64) {
    let count = |key: &str| done[key].as_u64().unwrap_or_else(|| panic!("{done}"));
    (count("imported"), count("refused"))
}

fn request(server: &Server, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
    let body = (method != "GET").then(|| body.to_string());
    crate::server::request(&server.http, token, method, path, body.as_deref())
}

fn new_token(server: &Server, role: &str) -> String {
    let answer = server.post("/api/v1/tokens", &json!({"role": role, "name": role}));
    answer["token"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"))
        .to_owned()
}

fn show(server: &Server, code: &str) -> Value {
    let path = format!("/api/v1/entities/{code}");
    let (status, entity) = request(server, "GET", &path, &server.token, &Value::Null);
    assert_eq!(status, 200, "{code}: {entity}");
    entity
}

#[test]
fn xining_and_foreign_components_load_and_gdal_reads_the_register() {
    let server = Server::new();
    let Some(districts) = shared("xining-admin/districts_wgs84.geojson") else {
        return;
    };
    assert_eq!(
        counts(&import(&server, &districts, &["--kind", "division"])),
        (7, 0)
    );
    let townships = shared("xining-admin/townships.csv").unwrap();
    let done = import(
        &server,
        &townships,
        &["--kind", "division", "--map", "code9=code"],
    );
    assert_eq!(counts(&done), (87, 0), "{done}");
    let villages = shared("xining-admin/villages.csv").unwrap();
    let done = import(
        &server,
        &villages,
        &["--kind", "division", "--map", "code12=code"],
    );
    assert_eq!(counts(&done), (1100, 0), "{done}");
    let places = shared("xining-places/places.csv").unwrap();
    let maps = ["--map", "lon_wgs84=lon", "--map", "lat_wgs84=lat"];
    let done = import(&server, &places, &[&["--kind", "place"][..], &maps].concat());
    assert_eq!(counts(&done), (127, 0), "{done}");
    let hazards = shared("xining-places/railway_geohazards.csv").unwrap();
    let done = import(&server, &hazards, &["--kind", "hazard"]);
    assert_eq!(counts(&done), (47, 0), "{done}");
    let outside: Vec<&str> = done["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|warning| warning["code"] == "outside_division")
        .map(|warning| warning["message"].as_str().unwrap())
        .collect();
    assert_eq!(outside.len(), 2, "{outside:?}");
    assert!(
        outside[0].contains("`LX-B7`") && outside[1].contains("`LX-N9`"),
        "{outside:?}"
    );
    assert!(outside[0].contains("630105"), "{outside:?}");

    let hydrants = shared("city-components/fortaleza_hydrants.geojson.gz").unwrap();
    let done = import(
        &server,
        &hydrants,
        &["--kind", "component", "--map", "hydrant_id=code"],
    );
    assert_eq!(counts(&done), (246, 0), "{done}");
    let lamps = shared("city-components/shizuoka_road_lamps.csv.gz").unwrap();
    let done = import(
        &server,
        &lamps,
        &["--kind", "component", "--map", "asset_no=name"],
    );
    assert_eq!(counts(&done), (5466, 0), "{done}");
    // Both number their things from 1, without a code of the city: those of one take the place of those of the other.
    assert_eq!(done["replaced"], 221, "{done}");

    // The same places as Baidu draws them, declared as WGS 84.
    let shifted = shared("xining-admin/districts_gcj02.geojson").unwrap();
    let done = import(&server, &shifted, &["--kind", "division"]);
    let warnings = done["warnings"].to_string();
    assert!(warnings.contains("the file may be GCJ02"), "{done}");
    assert_eq!(
        counts(&import(&server, &districts, &["--kind", "division"])),
        (7, 0)
    );

    // An old name of Huangzhong is no code of it; a village without a place is found by its code.
    assert_eq!(show(&server, "630102001001")["geometry"], Value::Null);
    let Some(ogrinfo) = peer("ogrinfo") else { return };
    let register = server.dir.join("register.gpkg");
    let summary = crate::server::wait_for("the register's file", std::time::Duration::from_secs(20), || {
        let output = Command::new(&ogrinfo)
            .args(["-ro", "-al", "-so"])
            .arg(&register)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let layer = |name: &str, n: usize| {
            let at = text.find(&format!("Layer name: {name}\n"))?;
            text[at + 12..]
                .split("Layer name: ")
                .next()?
                .contains(&format!("Feature Count: {n}\n"))
                .then_some(())
        };
        layer("divisions", 7)?;
        layer("unplaced", 1187)?;
        layer("components", 246 + 5466 - 221)?;
        layer("places", 127)?;
        layer("events", 47)?;
        Some(text)
    });
    assert!(summary.contains("Geometry: 3D Multi Polygon"), "{summary}");
    assert!(
        summary.contains("ID[\"EPSG\",4326]") || summary.contains("AUTHORITY[\"EPSG\",\"4326\"]"),
        "{summary}"
    );
    let where_ = Command::new(&ogrinfo)
        .args(["-ro", "-q", "-where", "code = '630121'"])
        .arg(&register)
        .arg("divisions")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&where_.stdout).contains("name (String) = 大通回族土族自治县"));
}

#[test]
fn every_format_says_the_same_and_a_wrong_system_is_refused() {
    let Some(ogr2ogr) = peer("ogr2ogr") else { return };
    let server = Server::new();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let features: Vec<Value> = (1..=500)
        .map(|i| {
            let (x, y) = (101.7 + f64::from(i) * 1e-4, 36.6 + f64::from(i) * 1e-5);
            json!({"type": "Feature", "properties": {"code": format!("63010201037{i:06}"), "name": format!("路灯 {i}号")},
                   "geometry": {"type": "Point", "coordinates": [x, y]}})
        })
        .collect();
    let collection = json!({"type": "FeatureCollection", "features": features}).to_string();
    std::fs::write(at("lamps.geojson"), &collection).unwrap();
    let lines: String = features.iter().map(|f| format!("\u{1e}{f}\n")).collect();
    std::fs::write(at("lamps.geojsonl"), lines).unwrap();
    let convert = |to: &str, args: &[&str]| {
        let status = Command::new(&ogr2ogr)
            .args(args)
            .arg(at(to))
            .arg(at("lamps.geojson"))
            .status()
            .unwrap();
        assert!(status.success(), "{to}");
    };
    convert("lamps.gpkg", &["-f", "GPKG"]);
    convert("survey.gpkg", &["-f", "GPKG", "-t_srs", "EPSG:4543"]);
    convert("lamps.csv", &["-f", "CSV", "-lco", "GEOMETRY=AS_WKT"]);
    for name in ["lamps.csv", "lamps.gpkg", "lamps.geojson"] {
        let mut packed = flate2::write::GzEncoder::new(
            std::fs::File::create(at(&format!("{name}.gz"))).unwrap(),
            flate2::Compression::fast(),
        );
        packed.write_all(&std::fs::read(at(name)).unwrap()).unwrap();
        packed.finish().unwrap();
    }
    let mut before: Option<Value> = None;
    for name in [
        "lamps.geojson",
        "lamps.geojsonl",
        "lamps.gpkg",
        "survey.gpkg",
        "lamps.csv",
        "lamps.csv.gz",
        "lamps.gpkg.gz",
        "lamps.geojson.gz",
    ] {
        let done = import(&server, &at(name), &["--kind", "component"]);
        assert_eq!(counts(&done), (500, 0), "{name}: {done}");
        let mut entity = show(&server, "63010201037000123");
        let position: Vec<f64> = serde_json::from_value(entity["geometry"]["coordinates"].take()).unwrap();
        assert!(
            (position[0] - 101.7123).abs() < 1e-9 && (position[1] - 36.60123).abs() < 1e-9,
            "{name}: {position:?}"
        );
        assert_eq!(entity["class"], "01037");
        assert_eq!(entity["division"], "630102");
        entity["attributes"] = Value::Null;
        if let Some(before) = &before {
            assert_eq!(&entity, before, "{name}");
        }
        before = Some(entity);
    }
    // A file of several layers is read whole: one in a system that nobody here knows costs itself only, and what
    // stands in two layers is taken once.
    for (layer, more) in [
        ("lamps", &[][..]),
        ("far", &["-update", "-t_srs", "EPSG:32648"]),
        ("survey", &["-update", "-t_srs", "EPSG:4543"]),
    ] {
        convert("city.gpkg", &[&["-f", "GPKG", "-nln", layer][..], more].concat());
    }
    let done = import(&server, &at("city.gpkg"), &["--kind", "component"]);
    assert_eq!(counts(&done), (500, 501), "{done}");
    let report =
        |layer: &str, n: u64, refused: u64| json!({"layer": layer, "imported": n, "refused": refused});
    let want = [
        report("far", 0, 1),
        report("lamps", 500, 0),
        report("survey", 0, 500),
    ];
    assert_eq!(done["layers"], json!(want));
    assert_eq!(
        (&done["errors"][0]["at"], &done["errors"][1]["at"]),
        (&json!("layer far"), &json!("layer survey, row 1"))
    );
    assert!(
        done["errors"][0]["message"]
            .as_str()
            .unwrap()
            .contains("EPSG:32648"),
        "{}",
        done["errors"][0]
    );
    let done = import(
        &server,
        &at("city.gpkg"),
        &["--kind", "component", "--layer", "survey"],
    );
    assert_eq!(
        (counts(&done), &done["layers"]),
        ((500, 0), &Value::Null),
        "{done}"
    );
    let map = ["--kind", "component", "--map", "colour=name"];
    let done = import(&server, &at("city.gpkg"), &map).to_string();
    assert!(
        done.contains("none of the layers far, lamps, survey has a column `colour`"),
        "{done}"
    );
    for (name, args, says) in [
        (
            "survey.gpkg",
            ["--crs", "WGS84"],
            "contradicts the declared WGS84",
        ),
        ("survey.gpkg", ["--crs", "EPSG:4522"], "the file states EPSG:4543"),
        ("lamps.gpkg", ["--crs", "EPSG:4543"], "the file states WGS84"),
        ("lamps.geojson", ["--crs", "EPSG:4543"], "look like degrees"),
        ("lamps.gpkg", ["--layer", "poles"], "no layer `poles`"),
    ] {
        let done = import(
            &server,
            &at(name),
            &[&["--kind", "component"][..], &args].concat(),
        );
        assert!(done.to_string().contains(says), "{name} {args:?}: {done}");
        assert_eq!(counts(&done).0, 0);
    }
}

#[test]
fn bad_rows_are_named_the_rest_is_taken_and_a_recoded_thing_answers_under_its_old_code() {
    let server = Server::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mixed.csv");
    std::fs::write(
        &file,
        "code,kind,name,wkt,former_code,recoded_at,valid_from\n\
         6301020101000001,component,旧井盖,POINT (101.8 36.6),,,\n\
         91350100M000100Y44,legal_person,错,POINT (101.8 36.6),,,\n\
         91350100M000100Y43,legal_person,对,POINT (101.8 36.6),,,\n\
         63010201016000001,component,无类,POINT (101.8 36.6),,,\n\
         63012201001000001,component,撤县后,POINT (101.6 36.5),,,2021-03-01\n\
         g1,place,交叉,\"POLYGON ((101 36,102 37,102 36,101 37,101 36))\",,,\n\
         g2,place,未闭合,\"POLYGON ((101 36,102 36,102 37,101 37))\",,,\n\
         g3,place,空,POINT EMPTY,,,\n\
         g4,place,非数,POINT (NaN 36),,,\n\
         g5,place,界外,POINT (36.6 101.8),,,\n\
         g6,place,米,POINT (480158 4054041),,,\n\
         6301020101000001,component,重复,POINT (101.8 36.6),,,\n",
    )
    .unwrap();
    let done = import(&server, &file, &[]);
    assert_eq!(counts(&done), (2, 10), "{done}");
    let errors: Vec<String> = done["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| {
            format!(
                "{}: {}",
                e["at"].as_str().unwrap(),
                e["message"].as_str().unwrap()
            )
        })
        .collect();
    for (error, (line, says)) in errors.iter().zip([
        (3, "its other characters give `3`"),
        (5, "no component class 01-016"),
        (6, "its place is taken by 630106"),
        (7, "self-crossing"),
        (8, "a ring ends where it begins"),
        (9, "without positions"),
        (10, "not finite"),
        (11, "latitude 101.8"),
        (12, "look like metres"),
        (13, "was given before, by line 2"),
    ]) {
        assert!(
            error.starts_with(&format!("line {line}: ")) && error.contains(says),
            "{error}"
        );
    }
    let again = folder.path().join("new.csv");
    std::fs::write(
        &again,
        "GLBJBSM,GLBJMC,lon,lat,原编码,赋码时间\n63010201001000001,新井盖,101.8,36.6,6301020101000001,2026-07-01\n",
    )
    .unwrap();
    assert_eq!(counts(&import(&server, &again, &["--kind", "component"])), (1, 0));
    for code in ["63010201001000001", "6301020101000001"] {
        let entity = show(&server, code);
        assert_eq!(entity["code"], "63010201001000001");
        assert_eq!(entity["former"][0]["code"], "6301020101000001");
        assert!(
            entity["former"][0]["to"]
                .to_string()
                .contains("2026-07-01T00:00:00"),
            "{entity}"
        );
    }
}

/// Every byte of a folder, its files one behind the other.
fn everything_under(dir: &Path, out: &mut Vec<u8>) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            everything_under(&entry.path(), out);
        } else {
            std::fs::File::open(entry.path())
                .unwrap()
                .read_to_end(out)
                .unwrap();
        }
    }
}

#[test]
fn a_person_is_a_pseudonym_and_a_cell_and_is_resolved_for_a_purpose_only() {
    let server = Server::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("people.csv");
    std::fs::write(
        &file,
        "公民身份号码,姓名,经度,纬度\n11010519491231002X,王小明,101.778234567,36.617123456\n110105194912310021,错,101.8,36.6\n",
    )
    .unwrap();
    let done = import(&server, &file, &["--kind", "person"]);
    assert_eq!(counts(&done), (1, 1), "{done}");
    assert!(!done.to_string().contains("19491231"), "{done}");
    let (status, posted) = request(
        &server,
        "POST",
        "/api/v1/persons",
        &server.token,
        &json!({"number": "630123199912319996", "position": {"lon": 101.25, "lat": 36.68}}),
    );
    assert_eq!((status, &posted["last_four"]), (201, &json!("9996")), "{posted}");

    let ask = |token: &str, body: Value| request(&server, "POST", "/api/v1/persons/resolve", token, &body);
    let number = "11010519491231002x";
    let (status, _) = ask(&server.token, json!({"number": number, "purpose": " "}));
    assert_eq!(status, 400);
    let (status, problem) = ask(
        &server.token,
        json!({"number": "110105194912310021", "purpose": "x"}),
    );
    assert_eq!((status, &problem["code"]), (422, &json!("bad_number")));
    for role in ["viewer", "officer", "operator", "integrator"] {
        let token = new_token(&server, role);
        let (status, _) = ask(&token, json!({"number": number, "purpose": "走访"}));
        assert_eq!(status, 403, "{role}");
    }
    let commander = new_token(&server, "commander");
    let found = crate::server::wait_for("the person", std::time::Duration::from_secs(20), || {
        let (status, found) = ask(&commander, json!({"number": number, "purpose": "走失老人查找"}));
        (status == 200).then_some(found)
    });
    assert_eq!(
        (&found["last_four"], &found["number"]),
        (&json!("002X"), &json!("110105********002X"))
    );
    let bounds: Vec<f64> = serde_json::from_value(found["bbox"].clone()).unwrap();
    assert!(bounds[0] <= 101.778234567 && 101.778234567 <= bounds[2]);
    assert!(bounds[2] - bounds[0] > 0.0015 && bounds[3] - bounds[1] > 0.0012);
    let (status, _) = ask(
        &commander,
        json!({"number": "440524188001010014", "purpose": "核实"}),
    );
    assert_eq!(status, 404);

    // Audited; and shown by no plain query.
    let audited = crate::server::wait_for("the audit", std::time::Duration::from_secs(20), || {
        let auditor = new_token(&server, "audit_admin");
        let (_, page) = request(
            &server,
            "GET",
            "/api/v1/persons/resolutions",
            &auditor,
            &Value::Null,
        );
        let text = page["items"].to_string();
        (text.contains("走失老人查找") && text.contains("核实")).then_some(text)
    });
    assert!(audited.contains(found["pseudonym"].as_str().unwrap()));
    let path = format!("/api/v1/entities/{}", found["pseudonym"].as_str().unwrap());
    assert_eq!(request(&server, "GET", &path, &server.token, &Value::Null).0, 404);

    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(server.dir.join("persons.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut bytes = Vec::new();
    everything_under(&server.dir, &mut bytes);
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("走失老人查找"), "the journal holds the purpose");
    for secret in [
        "11010519491231002",
        "63012319991231999",
        "王小明",
        "101.778234567",
        "36.617123456",
    ] {
        assert!(!holds(secret), "{secret} is in the data folder");
    }
}

#[test]
fn nobody_replaces_what_lies_in_another_division() {
    let server = Server::new();
    let place = |code: &str, division: &str| {
        json!({"code": code, "kind": "place", "name": code, "division": division,
            "geometry": {"type": "Point", "coordinates": [101.7, 36.6]}})
    };
    server.post(
        "/api/v1/entities/batch",
        &json!([place("P1", "630104"), place("P2", "630102")]),
    );
    let ask = |role: &str, division: &str, path: &str, body: &str| {
        let made = json!({"role": role, "name": format!("{role}-{division}"), "division": division});
        let token = server.post("/api/v1/tokens", &made)["token"]
            .as_str()
            .unwrap()
            .to_owned();
        crate::server::request(&server.http, &token, "POST", path, Some(body))
    };
    let stolen = json!([place("P1", "630102")]).to_string();
    assert_eq!(
        ask("integrator", "630102", "/api/v1/entities/batch", &stolen).0,
        403
    );
    let own = json!([place("P2", "630102")]).to_string();
    assert_eq!(ask("integrator", "630102", "/api/v1/entities/batch", &own).0, 201);
    let sheet = "code,kind,name,lon,lat,division\nP1,place,x,101.8,36.6,630102\nP3,place,y,101.8,36.6,630102\nP4,place,z,,,630102\n";
    let (status, done) = ask(
        "integrator",
        "630102",
        "/api/v1/entities/import?name=a.csv",
        sheet,
    );
    assert_eq!(
        (status, &done["imported"], &done["refused"]),
        (201, &json!(2), &json!(1)),
        "{done}"
    );
    assert_eq!(done["errors"][0]["at"], "line 2", "{done}");
    assert_eq!(done["warnings"][0]["code"], "no_place", "{done}");
    assert_eq!(show(&server, "P1")["division"], "630104");

    // Persons likewise, and a number is in no text that is kept.
    let number = "63012319991231999".to_owned() + "6";
    let person = |division: &str| json!({"number": number, "division": division}).to_string();
    assert_eq!(
        ask("integrator", "630103", "/api/v1/persons", &person("630103")).0,
        201
    );
    // Told as of anybody, and what is known stays.
    assert_eq!(
        ask("integrator", "630102", "/api/v1/persons", &person("630102")).0,
        201
    );
    let asked = json!({"number": number, "purpose": format!("查找 {number} 的家")}).to_string();
    let (status, problem) = ask("commander", "630103", "/api/v1/persons/resolve", &asked);
    assert_eq!(
        (status, &problem["code"]),
        (400, &json!("bad_purpose")),
        "{problem}"
    );
    assert!(!problem.to_string().contains(&number));
    let asked = json!({"number": number, "purpose": "走失老人"}).to_string();
    assert_eq!(
        ask("commander", "630103", "/api/v1/persons/resolve", &asked).0,
        200
    );
    assert_eq!(
        ask("commander", "630102", "/api/v1/persons/resolve", &asked).0,
        404
    );
    let path = format!("/api/v1/entities/import?name=a.csv&kind=person&source={number}");
    assert_eq!(ask("integrator", "630102", &path, "number\n").0, 400);
}

#[test]
fn a_citizen_number_is_kept_nowhere_however_an_entity_comes() {
    let server = Server::new();
    let (number, other) = ("11010519491231002X", "440524188001010014");
    let point = json!({"type": "Point", "coordinates": [101.78, 36.62]});
    let square = json!({"type": "Polygon", "coordinates": [[[101.7, 36.6], [101.8, 36.6], [101.8, 36.7], [101.7, 36.6]]]});
    let hazard = |code: &str, attributes: Value| json!({"code": code, "kind": "hazard", "name": "塌陷", "geometry": point, "attributes": attributes});
    // One entity, several, a collection, a fence, and a file: the same pseudonym in each.
    let one = server.post(
        "/api/v1/entities",
        &hazard("h1", json!({"contact": format!("找 {number}")})),
    );
    assert!(
        one["warnings"][0].as_str().unwrap().contains("column `contact`"),
        "{one}"
    );
    let marker = server.get("/api/v1/entities/h1")["attributes"]["contact"].clone();
    let marker = marker.as_str().unwrap().strip_prefix("找 ").unwrap().to_owned();
    assert!(marker.starts_with("person:") && marker.len() > 20, "{marker}");
    let batch = json!([
        hazard(
            "h2",
            json!({"ids": [number, {"of": 440_524_188_001_010_014_u64}]})
        ),
        hazard(number, json!({})),
        hazard("h3", json!({"contact": "13812345678"})),
    ]);
    let done = server.post("/api/v1/entities/batch", &batch);
    assert_eq!(
        (&done["imported"], &done["errors"][0]["at"]),
        (&json!(2), &json!("entity 2")),
        "{done}"
    );
    assert!(!done.to_string().contains(number), "{done}");
    let second = server.get("/api/v1/entities/h2")["attributes"]["ids"].clone();
    assert_eq!(second[0], marker);
    assert_eq!(
        server.get("/api/v1/entities/h3")["attributes"]["contact"],
        "13812345678"
    );
    let feature = json!({"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": point,
        "properties": {"code": "h4", "kind": "hazard", "name": "塌陷", "contact": number}}]});
    server.post("/api/v1/entities", &feature);
    let fence = json!({"name": "工地", "geometry": square, "attributes": {"guard": number}});
    let (status, said) = server.request("PUT", "/api/v1/fences/f1", Some(&fence.to_string()));
    assert_eq!(status, 200, "{said}");
    let file = format!("code,kind,name,contact\nh5,hazard,塌陷,{number}\n");
    let (status, said) = server.request("POST", "/api/v1/entities/import?name=h.csv", Some(&file));
    assert_eq!(status, 201, "{said}");
    for (code, name) in [("h4", "contact"), ("f1", "guard"), ("h5", "contact")] {
        assert_eq!(
            server.get(&format!("/api/v1/entities/{code}"))["attributes"][name],
            marker,
            "{code}"
        );
    }
    // What has no column to stand in is refused, and nothing of it said again.
    let mut named = hazard("h6", json!({}));
    named["name"] = number.into();
    let refusals = [
        ("POST", "/api/v1/entities", named.to_string()),
        (
            "POST",
            "/api/v1/entities",
            hazard("h6", json!({other: 1})).to_string(),
        ),
        ("POST", "/api/v1/entities/batch", json!([named]).to_string()),
        (
            "PUT",
            "/api/v1/fences/f2",
            json!({"name": number, "geometry": square}).to_string(),
        ),
        (
            "POST",
            "/api/v1/entities/recode",
            format!("old,new\nh1,{other}\n"),
        ),
    ];
    for (method, path, body) in refusals {
        let (status, problem) = server.request(method, path, Some(&body));
        assert_eq!(status, 422, "{path}: {problem}");
        let said = problem.to_string();
        assert!(said.contains("citizen number"), "{path}: {said}");
        assert!(!said.contains(number) && !said.contains(other), "{path}: {said}");
    }
    server.caught_up();
    // No file of the data folder has one in clear; of a journal that is not compressed yet this says all.
    let mut folders = vec![server.dir.clone()];
    let mut n_files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let bytes = std::fs::read(entry.path()).unwrap();
            n_files += 1;
            for clear in [number, other] {
                let found = bytes.windows(18).any(|window| window == clear.as_bytes());
                assert!(!found, "{} has one in clear", entry.path().display());
            }
        }
    }
    assert!(n_files > 5, "{n_files}");
}
