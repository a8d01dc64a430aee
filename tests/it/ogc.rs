//! OGC API - Features: the abstract tests of OGC 17-069r4 (annex A) and OGC 18-058r1 (annex A) by the requirements they
//! hold, and GDAL as a client we did not write.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use crate::server::{Server, peer};

const CORE: &str = "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core";
const CRS84: &str = "http://www.opengis.net/def/crs/OGC/1.3/CRS84";
const EPSG: &str = "http://www.opengis.net/def/crs/EPSG/0";

/// A server with a small city on it.
struct City(Server);

/// What came back.
struct Answer {
    status: u16,
    kind: String,
    crs: Option<String>,
    body: Value,
}

impl City {
    /// 25 places in a row, one of them on each side of the antimeridian, two districts, a road over four corners,
    /// components of three times, a device.
    fn new() -> Self {
        let server = Server::new();
        let mut all = vec![
            json!({"code": "630102", "kind": "division", "name": "城东区", "geometry":
                {"type": "Polygon", "coordinates": [[[101.0, 36.0], [102.0, 36.0], [102.0, 37.0], [101.0, 37.0], [101.0, 36.0]]]}}),
            json!({"code": "630103", "kind": "division", "name": "城中区", "geometry":
                {"type": "Polygon", "coordinates": [[[102.0, 36.0], [103.0, 36.0], [103.0, 37.0], [102.0, 37.0], [102.0, 36.0]]]}}),
            json!({"code": "R1", "kind": "road", "name": "折线路", "geometry":
                {"type": "LineString", "coordinates": [[101.1, 36.1], [101.1, 36.9], [101.9, 36.9]]}}),
            json!({"code": "P-east", "kind": "place", "name": "东端", "geometry": {"type": "Point", "coordinates": [179.9, 10.0]}}),
            json!({"code": "P-west", "kind": "place", "name": "西端", "geometry": {"type": "Point", "coordinates": [-179.9, 10.0]}}),
            json!({"code": "H1", "kind": "hazard", "name": "无时", "geometry": {"type": "Point", "coordinates": [101.5, 36.5]}}),
            json!({"code": "H2", "kind": "hazard", "name": "旧隐患", "valid_from": "2020-01-01T00:00:00+08:00", "valid_to": "2021-01-01T00:00:00+08:00",
                "geometry": {"type": "Point", "coordinates": [101.5, 36.5]}}),
            json!({"code": "H3", "kind": "hazard", "name": "新隐患", "valid_from": "2025-01-01T00:00:00+08:00",
                "z_range_m": [2250.0, 2260.0], "geometry": {"type": "Point", "coordinates": [101.6, 36.5]},
                "attributes": {"风险": "高", "name": "另一个名字", "class": "滑坡"}}),
        ];
        all.extend((1..=23).map(|n| {
            json!({"code": format!("P{n:02}"), "kind": "place", "name": format!("地方{n}"), "source": "手绘",
                "geometry": {"type": "Point", "coordinates": [101.0 + f64::from(n) * 0.05, 36.5]}})
        }));
        let answer = server.post("/api/v1/entities/batch", &Value::Array(all));
        assert_eq!(answer["errors"], json!([]), "{answer}");
        server.add_device("d1", &json!({"position": {"lon": 101.7, "lat": 36.6}}));
        server.caught_up();
        Self(server)
    }

    fn ask(&self, path: &str) -> Answer {
        self.ask_at(&format!("{}/ogc{path}", self.0.http))
    }

    fn ask_at(&self, address: &str) -> Answer {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        let token = format!("Bearer {}", self.0.token);
        let mut response = agent.get(address).header("authorization", token).call().unwrap();
        let head = |name: &str| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.map(str::to_owned)
        };
        let (kind, crs) = (head("content-type").unwrap_or_default(), head("content-crs"));
        let text = response.body_mut().read_to_string().unwrap();
        Answer {
            status: response.status().as_u16(),
            kind,
            crs,
            body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
        }
    }

    fn good(&self, path: &str) -> Answer {
        let answer = self.ask(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer
    }

    fn bad(&self, path: &str) {
        let answer = self.ask(path);
        assert_eq!(answer.status, 400, "{path}: {}", answer.body);
        assert_eq!(answer.kind, "application/problem+json");
        assert!(
            answer.body["code"].is_string() && answer.body["detail"].is_string(),
            "{}",
            answer.body
        );
    }

    /// Codes of one page.
    fn codes(&self, path: &str) -> Vec<String> {
        let answer = self.good(path);
        let features = answer.body["features"].as_array().unwrap();
        assert_eq!(answer.body["numberReturned"], features.len(), "{path}");
        features
            .iter()
            .map(|feature| feature["id"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn link<'a>(body: &'a Value, rel: &str) -> Option<&'a str> {
    let links = body["links"].as_array()?;
    links.iter().find(|link| link["rel"] == rel)?["href"].as_str()
}

fn landing(city: &City) {
    for path in ["", "/", "?f=json"] {
        let answer = city.good(path);
        assert!(answer.kind.starts_with("application/json"));
        for rel in ["self", "service-desc", "conformance", "data"] {
            let href = link(&answer.body, rel).unwrap_or_else(|| panic!("no link {rel}"));
            assert_eq!(city.ask_at(href).status, 200, "{rel} leads nowhere: {href}");
        }
    }
}

fn definition(city: &City) {
    let answer = city.good("/api");
    assert_eq!(answer.kind, "application/vnd.oai.openapi+json;version=3.0");
    assert!(answer.body["openapi"].as_str().unwrap().starts_with("3.0."));
    let paths = answer.body["paths"].as_object().unwrap();
    for (path, operations) in paths {
        for parameter in operations["get"]["parameters"].as_array().unwrap() {
            assert!(
                parameter["name"].is_string() && parameter["schema"].is_object(),
                "{path}: {parameter}"
            );
        }
        if !path.contains('{') {
            assert_eq!(
                city.ask(path).status,
                200,
                "{path} is in the definition and does not answer"
            );
        }
    }
    let parameters = paths["/collections/places/items"]["get"]["parameters"]
        .as_array()
        .unwrap();
    let named = |name: &str| {
        parameters
            .iter()
            .find(|p| p["name"] == name)
            .unwrap_or_else(|| panic!("no {name}"))
    };
    assert_eq!(
        (
            &named("limit")["schema"]["type"],
            &named("limit")["schema"]["minimum"]
        ),
        (&json!("integer"), &json!(1))
    );
    assert_eq!(
        (&named("limit")["style"], &named("limit")["explode"]),
        (&json!("form"), &json!(false))
    );
    assert_eq!(named("bbox")["schema"]["items"]["type"], "number");
    assert_eq!(named("datetime")["schema"]["type"], "string");
}

fn conformance(city: &City) {
    let answer = city.good("/conformance");
    let all: BTreeSet<_> = answer.body["conformsTo"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for class in ["core", "geojson", "oas30"] {
        assert!(all.contains(CORE.replace("core", class).as_str()), "{class}");
    }
    assert!(all.contains("http://www.opengis.net/spec/ogcapi-features-2/1.0/conf/crs"));
}

fn collections(city: &City) {
    let answer = city.good("/collections");
    assert!(link(&answer.body, "self").is_some());
    let all = answer.body["collections"].as_array().unwrap();
    let ids: BTreeSet<_> = all.iter().map(|c| c["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), all.len(), "an id twice");
    assert!(ids.contains("places") && ids.contains("devices") && !ids.contains("persons"));
    for collection in all {
        let (id, title) = (
            collection["id"].as_str().unwrap(),
            collection["title"].as_str().unwrap(),
        );
        assert!(!title.is_empty());
        let items = link(collection, "items").unwrap();
        assert!(city.ask_at(items).kind.starts_with("application/geo+json"));
        let one = city.good(&format!("/collections/{id}"));
        for member in ["id", "title", "crs", "links", "extent"] {
            assert_eq!(one.body[member], collection[member], "{id}: {member}");
        }
    }
    let places = all.iter().find(|c| c["id"] == "places").unwrap();
    let bbox: Vec<f64> = serde_json::from_value(places["extent"]["spatial"]["bbox"][0].clone()).unwrap();
    assert!(
        bbox[0] <= -179.9 && bbox[2] >= 179.9 && bbox[1] <= 10.0 && bbox[3] >= 36.5,
        "{bbox:?}"
    );
    let missing = city.ask("/collections/nothing");
    assert_eq!(
        (missing.status, &missing.body["code"]),
        (404, &json!("unknown_collection"))
    );
    assert_eq!(city.ask("/collections/nothing/items").status, 404);
}

fn items(city: &City) {
    let answer = city.good("/collections/places/items");
    assert!(answer.kind.starts_with("application/geo+json"));
    assert_eq!(answer.crs.as_deref(), Some(format!("<{CRS84}>").as_str()));
    let body = &answer.body;
    assert_eq!(body["type"], "FeatureCollection");
    assert_eq!(
        (&body["numberMatched"], &body["numberReturned"]),
        (&json!(25), &json!(10))
    );
    assert!(onemap_model::Timestamp::parse(body["timeStamp"].as_str().unwrap()).is_ok());
    assert!(link(body, "self").is_some());
    for feature in body["features"].as_array().unwrap() {
        assert_eq!(feature["type"], "Feature");
        assert_eq!(feature["geometry"]["type"], "Point");
        assert_eq!(feature["id"], feature["properties"]["code"]);
    }
    let hazard = city.good("/collections/hazards/items/H3").body;
    assert_eq!(hazard["properties"]["name"], "新隐患");
    assert_eq!(
        hazard["properties"]["source_name"], "另一个名字",
        "a source's own name hides nothing"
    );
    assert_eq!(hazard["properties"]["风险"], "高");
    assert_eq!(hazard["properties"]["class"], "滑坡");
    assert_eq!(
        city.codes("/collections/hazards/items?class=%E6%BB%91%E5%9D%A1"),
        ["H3"]
    );
    assert_eq!(hazard["properties"]["division"], "630102", "found from the place");
}

fn paging(city: &City) {
    for limit in [1, 7, 10, 1000] {
        let mut address = format!("{}/ogc/collections/places/items?limit={limit}", city.0.http);
        let (mut seen, mut n_pages) = (Vec::new(), 0);
        loop {
            let answer = city.ask_at(&address);
            assert_eq!(answer.status, 200, "{address}");
            assert_eq!(answer.body["numberMatched"], 25);
            let page = answer.body["features"].as_array().unwrap();
            assert!(page.len() <= limit);
            seen.extend(page.iter().map(|f| f["id"].as_str().unwrap().to_owned()));
            n_pages += 1;
            match link(&answer.body, "next") {
                Some(next) => address = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(n_pages, 25usize.div_ceil(limit));
        assert_eq!(seen.len(), 25);
        assert!(seen.is_sorted() && seen.iter().collect::<BTreeSet<_>>().len() == 25);
    }
}

fn limit(city: &City) {
    assert_eq!(city.codes("/collections/places/items?limit=3").len(), 3);
    assert_eq!(
        city.codes("/collections/places/items?limit=1000000").len(),
        25,
        "more than the most is the most"
    );
    assert_eq!(
        city.codes("/collections/places/items?limit=99999999999999999999999")
            .len(),
        25
    );
    for bad in ["0", "-1", "", "ten", "1.5", "+1", "1e2"] {
        city.bad(&format!("/collections/places/items?limit={bad}"));
    }
}

fn bbox(city: &City) {
    let places = |bbox: &str| city.codes(&format!("/collections/places/items?limit=100&bbox={bbox}"));
    assert_eq!(places("101.04,36.4,101.16,36.6"), ["P01", "P02", "P03"]);
    assert_eq!(
        places("101.05,36.5,101.05,36.5"),
        ["P01"],
        "its borders are inside"
    );
    assert_eq!(places("101.06,36.4,101.09,36.6"), [""; 0]);
    assert_eq!(
        places("170,0,-170,20"),
        ["P-east", "P-west"],
        "over the antimeridian"
    );
    assert_eq!(places("-180,-90,180,90").len(), 25);
    assert_eq!(
        places("101.04,36.4,0,101.16,36.6,9000"),
        [""; 0],
        "places say no heights"
    );
    let hazards = |bbox: &str| city.codes(&format!("/collections/hazards/items?bbox={bbox}"));
    assert_eq!(hazards("101,36,2255,102,37,2300"), ["H3"]);
    assert_eq!(hazards("101,36,2261,102,37,2300"), [""; 0]);
    let roads = |bbox: &str| city.codes(&format!("/collections/roads/items?bbox={bbox}"));
    assert_eq!(roads("101.05,36.4,101.2,36.6"), ["R1"]);
    assert_eq!(
        roads("101.4,36.3,101.6,36.6"),
        [""; 0],
        "inside its box, and far from the line"
    );
    let districts = |bbox: &str| city.codes(&format!("/collections/divisions/items?bbox={bbox}"));
    assert_eq!(districts("101.4,36.3,101.6,36.6"), ["630102"]);
    assert_eq!(districts("101.9,36.3,102.1,36.6"), ["630102", "630103"]);
    for bad in [
        "",
        "1,2,3",
        "1,2,3,4,5",
        "1,2,3,x",
        "101,37,102,36",
        "1,2,3,NaN",
        "1,2,inf,4",
        "0,0,0,181,1,1,9",
        "0,0,200,1",
        "101,36,3,102,37,2",
    ] {
        city.bad(&format!("/collections/places/items?bbox={bad}"));
    }
}

fn datetime(city: &City) {
    let hazards = |time: &str| city.codes(&format!("/collections/hazards/items?datetime={time}"));
    assert_eq!(hazards("2020-06-01T00:00:00Z"), ["H1", "H2"]);
    assert_eq!(hazards("2026-06-01T00:00:00Z"), ["H1", "H3"]);
    assert_eq!(hazards("2022-06-01T00:00:00Z"), ["H1"]);
    assert_eq!(
        hazards("2020-06-01T00:00:00Z/2026-01-01T00:00:00%2B08:00"),
        ["H1", "H2", "H3"]
    );
    assert_eq!(hazards("../2019-12-31T23:59:59%2B08:00"), ["H1"]);
    assert_eq!(hazards("/2020-01-01T00:00:00%2B08:00"), ["H1", "H2"]);
    assert_eq!(hazards("2024-01-01T00:00:00Z/.."), ["H1", "H3"]);
    for bad in [
        "",
        "yesterday",
        "2020-13-01T00:00:00Z",
        "2020-01-01",
        "../..",
        "/",
        "2021-01-01T00:00:00Z/2020-01-01T00:00:00Z",
        "a/b/c",
    ] {
        city.bad(&format!("/collections/hazards/items?datetime={bad}"));
    }
}

fn unknown_parameters(city: &City) {
    for path in [
        "?x=1",
        "/conformance?x=1",
        "/collections?x=1",
        "/collections/places?x=1",
        "/collections/places/items?x=1",
        "/collections/places/items/P01?x=1",
        "/api?x=1",
        "/collections/places/queryables?x=1",
        "/collections/places/items?f=xml",
        "/collections/places/items?limit=1&limit=2",
    ] {
        city.bad(path);
    }
}

fn one_feature(city: &City) {
    let answer = city.good("/collections/places/items/P01");
    assert!(answer.kind.starts_with("application/geo+json"));
    assert_eq!(answer.body["id"], "P01");
    let own = link(&answer.body, "self").unwrap();
    assert_eq!(city.ask_at(own).body["id"], "P01");
    assert!(
        link(&answer.body, "collection")
            .unwrap()
            .ends_with("/ogc/collections/places")
    );
    for missing in [
        "/collections/places/items/P99",
        "/collections/roads/items/P01",
        "/collections/places/items/%00",
    ] {
        let answer = city.ask(missing);
        assert_eq!(
            (answer.status, &answer.body["code"]),
            (404, &json!("unknown_feature")),
            "{missing}"
        );
    }
    assert_eq!(
        city.good("/collections/devices/items/d1").body["properties"]["class"],
        "air_station"
    );
}

fn systems(city: &City) {
    let all = city.good("/collections/places").body;
    let listed: Vec<String> = serde_json::from_value(all["crs"].clone()).unwrap();
    assert_eq!((listed[0].as_str(), &all["storageCrs"]), (CRS84, &json!(CRS84)));
    for uri in &listed {
        let answer = city.good(&format!("/collections/places/items?limit=1&crs={uri}"));
        assert_eq!(answer.crs, Some(format!("<{uri}>")));
        assert_eq!(
            city.good(&format!("/collections/places/items/P01?crs={uri}")).crs,
            Some(format!("<{uri}>"))
        );
    }
    let at = |uri: &str| {
        let answer = city.good(&format!("/collections/places/items/P01?crs={uri}"));
        serde_json::from_value::<[f64; 2]>(answer.body["geometry"]["coordinates"].clone()).unwrap()
    };
    assert_eq!(at(CRS84), [101.05, 36.5]);
    assert_eq!(at(&format!("{EPSG}/4326")), [36.5, 101.05], "latitude first");
    let [x, y] = at(&format!("{EPSG}/3857"));
    assert!(
        (x - 11_248_834.5).abs() < 1.0 && (y - 4_369_700.0).abs() < 30_000.0,
        "{x} {y}"
    );
    let [north, east] = at(&format!("{EPSG}/4543"));
    assert!(
        (4_030_000.0..4_060_000.0).contains(&north) && (410_000.0..420_000.0).contains(&east),
        "{north} {east}"
    );
    let inside =
        |bbox: &str, uri: &str| city.codes(&format!("/collections/places/items?bbox={bbox}&bbox-crs={uri}"));
    assert_eq!(
        inside("36.4,101.04,36.6,101.16", &format!("{EPSG}/4326")),
        ["P01", "P02", "P03"]
    );
    let corner = format!("{},{},{},{}", x - 10.0, y - 10.0, x + 10.0, y + 10.0);
    assert_eq!(inside(&corner, &format!("{EPSG}/3857")), ["P01"]);
    let corner = format!(
        "{},{},{},{}",
        north - 10.0,
        east - 10.0,
        north + 10.0,
        east + 10.0
    );
    assert_eq!(inside(&corner, &format!("{EPSG}/4543")), ["P01"]);
    for bad in [
        "crs=EPSG:4326",
        &format!("crs={EPSG}/2154"),
        &format!("bbox-crs={EPSG}/4326"),
        &format!("crs={EPSG}/0"),
        &format!("bbox=36,101,37,102&bbox-crs={EPSG}/4543")[..],
    ] {
        city.bad(&format!("/collections/places/items?{bad}"));
    }
}

fn queryables(city: &City) {
    let answer = city.good("/collections/places/queryables");
    assert!(answer.kind.starts_with("application/schema+json"));
    let properties = answer.body["properties"].as_object().unwrap().clone();
    for name in properties.keys().filter(|name| *name != "geometry") {
        city.good(&format!("/collections/places/items?{name}=x"));
    }
    let where_ = |query: &str| city.codes(&format!("/collections/{query}"));
    assert_eq!(where_("places/items?name=%E5%9C%B0%E6%96%B97"), ["P07"]);
    assert_eq!(
        where_("places/items?division=630103&limit=100").len(),
        3,
        "P20 is on the border, and of the smaller code"
    );
    assert_eq!(
        where_("places/items?district=630102&name=%E5%9C%B0%E6%96%B93"),
        ["P03"]
    );
    assert_eq!(
        where_("devices/items?state=active"),
        where_("devices/items?class=air_station&state=active")
    );
    city.bad("/collections/devices/items?stratum=surface");
    let next = city
        .good("/collections/places/items?district=630102&limit=2")
        .body;
    assert!(
        link(&next, "next").unwrap().contains("district=630102"),
        "links repeat what was asked"
    );
}

fn access(city: &City) {
    let ask = |authorization: Option<&str>| {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        let mut request = agent.get(format!("{}/ogc/collections", city.0.http));
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        request.call().unwrap()
    };
    let refused = ask(None);
    assert_eq!(refused.status(), 401);
    assert_eq!(
        refused.headers()["www-authenticate"],
        r#"Basic realm="onemap""#,
        "GIS programs ask for a name then"
    );
    assert_eq!(ask(Some("Basic Zm9vOmJhcg==")).status(), 401);
    assert_eq!(ask(Some("Basic !!!")).status(), 401);
}

/// Requirement of the standard, or a group of them, and how it is held.
type AbstractTest = (&'static str, fn(&City));

const ABSTRACT_TESTS: [AbstractTest; 14] = [
    ("core/root-op, root-success; geojson/definition", landing),
    (
        "core/api-definition-op, api-definition-success; oas30/oas-definition-1, -2, oas-impl; core/fc-limit-definition, fc-bbox-definition, fc-time-definition",
        definition,
    ),
    ("core/conformance-op, conformance-success", conformance),
    (
        "core/fc-md-op, fc-md-success, fc-md-links, fc-md-items, fc-md-items-links, fc-md-extent, sfc-md-op, sfc-md-success; crs/fc-md-crs-list, fc-md-storageCrs",
        collections,
    ),
    (
        "core/fc-op, fc-response, fc-links, fc-rel-type, fc-timeStamp, fc-numberMatched, fc-numberReturned; geojson/content",
        items,
    ),
    ("core/fc-links (next); core/fc-limit-response-1", paging),
    ("core/fc-limit-response-1, query-param-invalid", limit),
    ("core/fc-bbox-response", bbox),
    ("core/fc-time-response", datetime),
    (
        "core/query-param-unknown, query-param-invalid",
        unknown_parameters,
    ),
    ("core/f-op, f-success, f-links", one_feature),
    (
        "crs/crs-uri, fc-crs-definition, fc-crs-valid-value, fc-crs-action, fc-bbox-crs-definition, fc-bbox-crs-valid-value, fc-bbox-crs-action, ogc-crs-header, ogc-crs-header-value, geojson",
        systems,
    ),
    (
        "queryables/queryables-op, queryables-success; queryables-query-parameters/parameters",
        queryables,
    ),
    ("core/http: authentication", access),
];

#[test]
fn the_abstract_tests_of_the_standard_hold() {
    let city = City::new();
    let failed: Vec<_> = ABSTRACT_TESTS
        .iter()
        .filter(|(_, test)| std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&city))).is_err())
        .map(|(requirements, _)| requirements)
        .collect();
    assert!(failed.is_empty(), "not held (reasons above): {failed:#?}");
}

#[test]
fn a_district_sees_its_own_and_counts_only_that() {
    let city = City::new();
    let answer = city.0.post(
        "/api/v1/tokens",
        &json!({"role": "viewer", "division": "630103", "name": "zhong"}),
    );
    let token = answer["token"].as_str().unwrap();
    let ask = |path: &str| crate::server::request(&city.0.http, token, "GET", &format!("/ogc{path}"), None);
    let (_, places) = ask("/collections/places/items?limit=100");
    let ids: Vec<_> = places["features"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["P21", "P22", "P23"]);
    assert_eq!(places["numberMatched"], 3);
    assert_eq!(ask("/collections/places/items/P01").0, 404);
    assert_eq!(ask("/collections/places/items/P21").0, 200);
    assert_eq!(ask("/collections/devices/items").1["numberMatched"], 0);
    let (_, about) = ask("/collections/places");
    let west = about["extent"]["spatial"]["bbox"][0][0].as_f64().unwrap();
    assert!(west > 102.0, "the extent tells nothing of others: {about}");
}

#[test]
fn owslib_finds_and_reads_everything() {
    let here = env!("CARGO_MANIFEST_DIR");
    let Some(python) = peer(&format!("{here}/target/peers/ogc/bin/python")) else {
        return;
    };
    let city = City::new();
    let task = json!({"address": format!("{}/ogc", city.0.http), "token": city.0.token});
    let output = Command::new(python)
        .arg(format!("{here}/tests/peers/ogc_reader.py"))
        .arg(task.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&read["api"], &read["core"], &read["matched"]),
        (&json!("3.0.3"), &json!(true), &json!(25))
    );
    assert!(
        read["collections"].as_array().unwrap().contains(&json!("places")),
        "{read}"
    );
    assert!(
        read["queryables"]
            .as_array()
            .unwrap()
            .contains(&json!("district")),
        "{read}"
    );
    let pages = read["pages"].as_array().unwrap();
    let sizes: Vec<_> = pages.iter().map(|page| page.as_array().unwrap().len()).collect();
    assert_eq!(sizes, [7, 7, 7, 4]);
    assert_eq!(
        (&read["box"], &read["one"]),
        (&json!(["P01", "P02", "P03"]), &json!("地方7"))
    );
}

#[test]
fn gdal_reads_every_layer_whole_at_every_page_size() {
    let Some(ogrinfo) = peer("ogrinfo") else { return };
    let city = City::new();
    let run = |program: &std::path::Path, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .env(
                "GDAL_HTTP_HEADERS",
                format!("Authorization: Bearer {}", city.0.token),
            )
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success() && !said.contains("ERROR"),
            "{arguments:?}: {text} {said}"
        );
        text
    };
    let source = format!("OAPIF:{}/ogc", city.0.http);
    let summary = run(&ogrinfo, &["-ro", "-al", "-so", &source]);
    for (layer, n) in [
        ("places", 25),
        ("divisions", 2),
        ("roads", 1),
        ("hazards", 3),
        ("devices", 1),
    ] {
        let from = summary
            .find(&format!("Layer name: {layer}"))
            .unwrap_or_else(|| panic!("no {layer}: {summary}"));
        assert!(
            summary[from..].contains(&format!("Feature Count: {n}")),
            "{layer}: {}",
            &summary[from..]
        );
    }
    let ogr2ogr = peer("ogr2ogr").unwrap();
    let folder = tempfile::tempdir().unwrap();
    for size in ["1", "7", "1000"] {
        let file = folder.path().join(format!("{size}.geojson"));
        let page_size = format!("PAGE_SIZE={size}");
        run(
            &ogr2ogr,
            &[
                "-f",
                "GeoJSON",
                file.to_str().unwrap(),
                &source,
                "places",
                "-oo",
                &page_size,
            ],
        );
        let read: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let names: BTreeSet<_> = read["features"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| f["properties"]["name"].as_str().unwrap())
            .collect();
        assert_eq!(names.len(), 25, "page size {size}");
        assert!(names.contains("地方7") && names.contains("东端"));
    }
    let found = run(
        &ogrinfo,
        &[
            "-ro", "-al", &source, "places", "-spat", "101.04", "36.4", "101.16", "36.6",
        ],
    );
    assert!(
        found.contains("地方1") && found.contains("地方3") && !found.contains("地方4"),
        "{found}"
    );
    let found = run(
        &ogrinfo,
        &["-ro", "-al", &source, "places", "-where", "name='地方7'"],
    );
    assert!(found.contains("P07") && !found.contains("P08"), "{found}");
}
