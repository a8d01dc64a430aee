//! Two departments in one division, and things of neither: who is of one of them sees its things and counts its things,
//! wherever he looks, and changes no others. (`matrix` asks every route; here are the numbers.)

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::alarms::DUST;
use crate::map::tile_at;
use crate::server::{Server, request, stream, text, wait_for};
use crate::standing::features;

const WATER: &str = "水务局";
const CITY: &str = "城管局";
const DIVISION: &str = "630102";
const SOON: Duration = Duration::from_secs(30);
const DEVICES: [(&str, &str); 5] = [
    ("water-1", WATER),
    ("water-2", WATER),
    ("city-1", CITY),
    ("city-2", CITY),
    ("nobodys", ""),
];

fn now_ms() -> i64 {
    onemap_model::Timestamp::from_system(SystemTime::now()).ms()
}

fn token(server: &Server, role: &str, departments: &[&str]) -> String {
    let new = json!({"role": role, "name": role, "division": DIVISION, "departments": departments});
    server.post("/api/v1/tokens", &new)["token"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn get(server: &Server, token: &str, path: &str) -> Value {
    let (status, value) = request(&server.http, token, "GET", path, None);
    assert_eq!(status, 200, "{path}: {value}");
    value
}

/// Status and answer of a request with a body.
fn ask(server: &Server, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    request(&server.http, token, method, path, Some(&body.to_string()))
}

fn names<'v>(list: &'v Value, key: &str) -> Vec<&'v str> {
    let items = list["items"].as_array().unwrap().iter();
    let mut names: Vec<&str> = items.map(|item| item[key].as_str().unwrap()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// A city of two departments: devices with a value each, things they own, and frames that were refused.
fn city() -> Server {
    let server = Server::with_rules(&[("dust", DUST)]);
    let square = json!([[
        [101.7, 36.5],
        [101.9, 36.5],
        [101.9, 36.7],
        [101.7, 36.7],
        [101.7, 36.5]
    ]]);
    let district = json!({"code": DIVISION, "kind": "division", "name": "城东区",
                          "geometry": {"type": "Polygon", "coordinates": square}});
    server.post("/api/v1/entities", &district);
    // As a city's own sheet says it (GB/T 47678.5).
    let sheet = "GLBJBSM,GLBJMC,ZGBMMC,lon,lat\nlamp,路灯,城管局,101.8,36.6\nvalve,阀门,水务局,101.8001,36.6\nbare,井盖,,101.8002,36.6\n";
    let path = format!("/api/v1/entities/import?name=c.csv&kind=component&division={DIVISION}");
    let (status, said) = server.request("POST", &path, Some(sheet));
    assert_eq!(status, 201, "{said}");
    let grid = json!({"code": "grid-1", "kind": "grid", "name": "网格", "division": DIVISION, "department": CITY,
                      "geometry": {"type": "Polygon", "coordinates": square}});
    let reach = json!({"code": "reach-1", "kind": "reach", "name": "湟水段", "division": DIVISION, "department": WATER,
                       "geometry": {"type": "LineString", "coordinates": [[101.79, 36.6], [101.81, 36.6]]}});
    let flood = json!({"code": "flood", "kind": "hazard", "name": "内涝点", "division": DIVISION, "department": WATER,
                       "geometry": {"type": "Point", "coordinates": [101.8, 36.601]}});
    for entity in [grid, reach, flood] {
        server.post("/api/v1/entities", &entity);
    }
    for (i, (id, department)) in DEVICES.iter().enumerate() {
        let position = json!({"lon": 101.8 + i as f64 * 1e-5, "lat": 36.6});
        let more =
            json!({"division": DIVISION, "department": department, "position": position, "cadence_s": 3600});
        let key = server.add_device(id, &more);
        let path = format!("/api/v1/{key}/telemetry");
        let (status, said) = request(&server.http, "", "POST", &path, Some(r#"{"nonsense":1}"#));
        assert_eq!(status, 200, "{said}");
        let body = json!({"device": id, "readings": [{"q": "pm10", "t": now_ms(), "v": 100.0 + i as f64}]});
        server.post("/api/v1/readings", &body);
    }
    server.caught_up();
    server
}

#[test]
fn each_department_sees_and_counts_its_own() {
    let server = city();
    let [water, city, both, all] = [&[WATER][..], &[CITY], &[CITY, WATER], &[]]
        .map(|departments| token(&server, "operator", departments));
    let ids = |departments: &[&str]| -> Vec<&str> {
        let own = DEVICES
            .iter()
            .filter(|(_, own)| departments.is_empty() || departments.contains(own));
        let mut ids: Vec<&str> = own.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    };
    let hour = now_ms() - 3_600_000;
    let span = format!("from={hour}&to={}", now_ms() + 60_000);
    for (who, departments) in [
        (&water, &[WATER][..]),
        (&city, &[CITY]),
        (&both, &[CITY, WATER]),
        (&all, &[]),
    ] {
        let (own, n) = (ids(departments), ids(departments).len());
        let get = |path: &str| get(&server, who, path);
        assert_eq!(get("/api/v1/session")["departments"], json!(departments));
        assert_eq!(get("/api/v1/session")["is_whole"], false);
        assert_eq!(names(&get("/api/v1/devices"), "id"), own);
        assert_eq!(get("/api/v1/devices/summary")["total"], n);
        assert_eq!(get("/api/v1/system")["counts"]["devices"], n);
        assert_eq!(names(&get("/api/v1/latest"), "device"), own);
        assert_eq!(names(&get("/api/v1/series"), "device"), own);
        assert_eq!(names(&get("/api/v1/quarantine"), "device"), own);
        let sum = get(&format!(
            "/api/v1/aggregate?quantity=pm10&group_by=division&agg=sum&step=1h&{span}"
        ));
        let value = |i: usize| 100.0 + i as f64;
        let expected: f64 = (0..DEVICES.len())
            .filter(|i| own.contains(&DEVICES[*i].0))
            .map(value)
            .sum();
        let items = sum["groups"][0]["items"].as_array().unwrap().iter();
        assert_eq!(items.filter_map(|item| item["v"].as_f64()).sum::<f64>(), expected);
        assert_eq!(sum["groups"][0]["series"], n);
        let gaps = get("/api/v1/ledger?group_by=division");
        assert_eq!(gaps["items"][0]["devices"], n, "{gaps}");
        let csv = text(&server.http, who, &format!("/api/v1/export?format=csv&{span}"));
        let mut exported: Vec<&str> = csv
            .lines()
            .skip(1)
            .filter_map(|line| line.split(',').next())
            .collect();
        exported.sort_unstable();
        assert_eq!(exported, own);
        let items = get("/ogc/collections/devices/items");
        assert_eq!(items["numberMatched"], n);
        let counted = get(&format!(
            "/prometheus/api/v1/query?query=count(pm10)&time={}",
            now_ms() / 1000 + 1
        ));
        assert_eq!(
            counted["data"]["result"][0]["value"][1],
            n.to_string(),
            "{counted}"
        );
        let within = get("/api/v1/within?bbox=101.7,36.5,101.9,36.7&kind=device");
        assert_eq!(within["numberMatched"], n);
        // In a cluster of the whole district as by themselves.
        for zoom in [10, 16] {
            let tile = bytes(
                &server,
                who,
                &format!("/tiles/live/{}.mvt", tile_at(101.8, 36.6, zoom)),
            );
            let counts = features(&tile).into_iter();
            let counts = counts.map(|own| own.get("count").map_or(1, |n| n.parse::<usize>().unwrap()));
            assert_eq!(counts.sum::<usize>(), n, "zoom {zoom}");
        }
        // The prepared layer of devices is the whole city's.
        let (status, _) = request(&server.http, who, "GET", "/tiles/devices/10/801/400.mvt", None);
        assert_eq!(status, 403);
        for (id, _) in DEVICES {
            let status = request(&server.http, who, "GET", &format!("/api/v1/devices/{id}"), None).0;
            assert_eq!(status == 200, own.contains(&id), "{id}");
        }
    }
    let auditor = token(&server, "audit_admin", &[WATER]);
    let held = get(&server, &auditor, "/api/v1/history/stat");
    assert_eq!(
        (&held["series"], &held["departments"]),
        (&json!(2), &json!([WATER]))
    );
    // A department that nobody has, and one that differs in a letter, see nothing.
    for none in ["环保局", "水务局一处", "水务"] {
        let who = token(&server, "viewer", &[none]);
        assert_eq!(get(&server, &who, "/api/v1/devices")["items"], json!([]));
        assert_eq!(get(&server, &who, "/api/v1/system")["counts"]["series"], 0);
    }
    // Tokens are what they were after a stop.
    let server = server.kill_and_restart();
    assert_eq!(
        names(&get(&server, &water, "/api/v1/devices"), "id"),
        ["water-1", "water-2"]
    );
}

fn bytes(server: &Server, token: &str, path: &str) -> Vec<u8> {
    let asked = ureq::get(format!("{}{path}", server.http));
    let mut answer = asked
        .header("authorization", format!("Bearer {token}"))
        .call()
        .unwrap();
    let mut bytes = Vec::new();
    answer.body_mut().as_reader().read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn things_on_the_map_belong_to_departments_and_the_ground_to_none() {
    let server = city();
    let [water, city, all] = [&[WATER][..], &[CITY], &[]].map(|own| token(&server, "viewer", own));
    let codes = |who: &str, collection: &str| {
        let items = get(&server, who, &format!("/ogc/collections/{collection}/items"));
        let features = items["features"].as_array().unwrap().iter();
        let mut codes: Vec<String> = features.map(|f| f["id"].as_str().unwrap().to_owned()).collect();
        codes.sort_unstable();
        assert_eq!(items["numberMatched"], codes.len());
        codes
    };
    assert_eq!(codes(&water, "components"), ["valve"]);
    assert_eq!(codes(&city, "components"), ["lamp"]);
    assert_eq!(codes(&all, "components"), ["bare", "lamp", "valve"]);
    for who in [&water, &city, &all] {
        assert_eq!(
            codes(who, "grids"),
            ["grid-1"],
            "a grid is the ground, whatever its department"
        );
        assert_eq!(codes(who, "divisions"), [DIVISION]);
    }
    // Tiles: what is drawn tile by tile, and what is prepared as a whole; as itself and in clusters.
    let drawn = |who: &str, layer: &str, zoom: u32| {
        let tile = bytes(
            &server,
            who,
            &format!("/tiles/{layer}/{}.mvt", tile_at(101.8, 36.6, zoom)),
        );
        let counts = features(&tile).into_iter();
        let counts =
            counts.map(|own: BTreeMap<String, String>| own.get("count").map_or(1, |n| n.parse().unwrap()));
        counts.sum::<usize>()
    };
    for zoom in [11, 12, 16] {
        assert_eq!(
            [&water, &city, &all].map(|who| drawn(who, "components", zoom)),
            [1, 1, 3]
        );
        assert_eq!(
            [&water, &city, &all].map(|who| drawn(who, "reaches", zoom)),
            [1, 0, 1]
        );
    }
    let bounds = |who: &str| get(&server, who, "/tiles/reaches.json").get("bounds").is_some();
    assert_eq!([&water, &city, &all].map(|who| bounds(who)), [true, false, true]);
    let column = |who: &str| {
        let column = get(&server, who, "/api/v1/column?lon=101.8&lat=36.6&radius_m=200");
        let kinds = column["features"].as_array().unwrap().iter();
        let mut kinds: Vec<String> = kinds
            .filter(|f| f["properties"]["kind"] != "device")
            .map(|f| f["id"].as_str().unwrap().to_owned())
            .collect();
        kinds.sort_unstable();
        (kinds, column["areas"].as_array().unwrap().len())
    };
    assert_eq!(column(&city), (vec!["component/lamp".to_owned()], 2));
    assert_eq!(
        column(&water).0,
        ["component/valve", "hazard/flood", "reach/reach-1"]
    );
    // A device of another department says nothing of what it stands on.
    let stands = json!({"entity": "component/valve"});
    for id in ["city-1", "water-1"] {
        let (status, said) = server.request(
            "PATCH",
            &format!("/api/v1/devices/{id}"),
            Some(&stands.to_string()),
        );
        assert_eq!(status, 200, "{said}");
    }
    let raise = json!({"device": "city-1", "readings": [{"q": "pm10", "t": now_ms(), "v": 900.0}]});
    server.post("/api/v1/readings", &raise);
    let state = |who: &str| get(&server, who, "/api/v1/entities/valve");
    wait_for("the valve to be abnormal", SOON, || {
        (state(&all)["state"] == "abnormal").then_some(())
    });
    assert_eq!(state(&all)["devices"], json!(["city-1", "water-1"]));
    assert_eq!(state(&water)["devices"], json!(["water-1"]));
    assert_eq!(state(&water)["state"], "normal");
    let at = tile_at(101.8001, 36.6, 16);
    let drawn = |who: &str| features(&bytes(&server, who, &format!("/tiles/components/{at}.mvt")));
    assert_eq!(drawn(&water)[0]["state"], "normal");
    assert!(
        drawn(&all)
            .iter()
            .any(|own| own.get("state").is_some_and(|state| state == "abnormal"))
    );
    // What came in as the authority goes out as the department, and comes in again.
    let out = text(
        &server.http,
        &water,
        "/api/v1/entities/export?format=csv&kind=component",
    );
    let (head, row) = out.trim_end().split_once('\n').unwrap();
    let place = head.split(',').position(|name| name == "department").unwrap();
    assert_eq!(row.split(',').nth(place), Some(WATER));
    let (status, said) = server.request("POST", "/api/v1/entities/import?name=c.csv", Some(&out));
    assert_eq!(status, 201, "{said}");
    assert_eq!(
        get(&server, &water, "/api/v1/entities/valve")["department"],
        WATER
    );
}

#[test]
fn alerts_and_streams_follow_the_device_and_its_department_of_now() {
    let server = city();
    let [water, city] = [WATER, CITY].map(|own| token(&server, "officer", &[own]));
    let streams = [&water, &city]
        .map(|who| ["/api/v1/live", "/feeds/alerts"].map(|path| stream(&server.http, who, path)));
    let raise = |device: &str| {
        let body = json!({"device": device, "readings": [{"q": "pm10", "t": now_ms(), "v": 900.0}]});
        server.post("/api/v1/readings", &body);
        wait_for("the alert", SOON, || {
            let all = server.get("/api/v1/alerts?state=open");
            let of = |alert: &&Value| alert["series"]["device"] == device;
            let found = all["items"].as_array()?.iter().find(of)?["id"]
                .as_str()?
                .to_owned();
            Some(found)
        })
    };
    let (of_city, of_water) = (raise("city-1"), raise("water-1"));
    for (own, [live, feed]) in [(&of_water, &streams[0]), (&of_city, &streams[1])] {
        for stream in [live, feed] {
            wait_for("the own alert", SOON, || {
                stream.lock().unwrap().contains(own.as_str()).then_some(())
            });
        }
    }
    for (foreign, others) in [
        (&streams[0], ["city-1", &of_city]),
        (&streams[1], ["water-1", &of_water]),
    ] {
        for stream in foreign {
            let said = stream.lock().unwrap();
            assert!(others.iter().all(|name| !said.contains(*name)), "{said}");
        }
    }
    let seen = |who: &str| names(&get(&server, who, "/api/v1/alerts"), "id").len();
    assert_eq!([seen(&water), seen(&city)], [1, 1]);
    let firing = get(&server, &water, "/prometheus/api/v1/alerts");
    assert_eq!(firing["data"]["alerts"].as_array().unwrap().len(), 1);
    let ack = json!({"name": "王队", "minutes": 5});
    let path = |alert: &str| format!("/api/v1/alerts/{alert}/ack");
    let (status, said) = ask(&server, &water, "POST", &path(&of_city), &ack);
    assert_eq!((status, &said["code"]), (404, &json!("unknown_alert")));
    let (status, said) = ask(&server, &water, "POST", &path(&of_water), &ack);
    assert_eq!(status, 200, "{said}");
    // The device changes hands, and its alert with it.
    let hands = json!({"department": WATER}).to_string();
    let (status, said) = server.request("PATCH", "/api/v1/devices/city-1", Some(&hands));
    assert_eq!(status, 200, "{said}");
    assert_eq!([seen(&water), seen(&city)], [2, 0]);
    let (status, said) = ask(&server, &water, "POST", &path(&of_city), &ack);
    assert_eq!(status, 200, "{said}");
}

#[test]
fn nobody_writes_or_hands_out_beyond_his_departments() {
    let server = city();
    let integrator = token(&server, "integrator", &[WATER]);
    let ask = |who: &str, method: &str, path: &str, body: Value| ask(&server, who, method, path, &body);
    // Devices.
    let device = |id: &str, department: &str| json!({"id": id, "name": id, "kind": "gauge", "division": DIVISION, "department": department});
    for (department, status) in [("", 403), (CITY, 403), (WATER, 201)] {
        let (said, answer) = ask(&integrator, "POST", "/api/v1/devices", device("new", department));
        assert_eq!(said, status, "{department}: {answer}");
    }
    for (path, body, status) in [
        ("/api/v1/devices/city-1", json!({"name": "别名"}), 404),
        ("/api/v1/devices/nobodys", json!({"department": WATER}), 404),
        ("/api/v1/devices/new", json!({"department": CITY}), 403),
        ("/api/v1/devices/new", json!({"department": ""}), 403),
        ("/api/v1/devices/new", json!({"name": "别名"}), 200),
        ("/api/v1/devices/new", json!({"entity": "component/lamp"}), 400),
        ("/api/v1/devices/new", json!({"entity": "component/valve"}), 200),
    ] {
        let (said, answer) = ask(&integrator, "PATCH", path, body.clone());
        assert_eq!(said, status, "{path} {body}: {answer}");
    }
    // One that is known to others is refused as one that he may not make: it is not said that it is there.
    let refused = |id: &str, department: &str| {
        let (status, answer) = ask(&integrator, "POST", "/api/v1/devices", device(id, department));
        assert_eq!(status, 403, "{answer}");
    };
    refused("city-1", WATER);
    // Entities, by all ways in.
    let component = |code: &str, department: &str| json!({"code": code, "kind": "component", "name": "", "division": DIVISION, "department": department});
    for (code, department, status) in [
        ("c1", CITY, 403),
        ("c1", "", 403),
        ("c1", WATER, 201),
        ("lamp", WATER, 403),
    ] {
        let (said, answer) = ask(
            &integrator,
            "POST",
            "/api/v1/entities",
            component(code, department),
        );
        assert_eq!(said, status, "{code} {department}: {answer}");
    }
    let sheet = format!(
        "code,division,department,lon,lat\nc2,{DIVISION},{CITY},101.8,36.6\nc3,{DIVISION},{WATER},101.8,36.6\n"
    );
    let path = "/api/v1/entities/import?name=c.csv&kind=component";
    let (_, answer) = request(&server.http, &integrator, "POST", path, Some(&sheet));
    let told = answer.to_string();
    assert!(
        told.contains("`c2` is not stated to be of one of your departments") && !told.contains("`c3`"),
        "{told}"
    );
    let square = json!({"type": "Polygon", "coordinates": [[[101.79, 36.59], [101.81, 36.59], [101.81, 36.61], [101.79, 36.59]]]});
    for (department, status) in [(CITY, 403), (WATER, 200)] {
        let fence =
            json!({"name": "围栏", "division": DIVISION, "department": department, "geometry": square});
        let (said, answer) = ask(&integrator, "PUT", "/api/v1/fences/f1", fence);
        assert_eq!(said, status, "{answer}");
    }
    // Readings, as JSON and in the line protocol.
    let readings = |device: &str| {
        let body = json!({"device": device, "readings": [{"q": "pm10", "t": now_ms(), "v": 7.0}]});
        ask(&integrator, "POST", "/api/v1/readings", body).0
    };
    assert_eq!([readings("city-2"), readings("nobodys")], [404, 404]);
    assert!((200..300).contains(&readings("water-2")));
    let at = now_ms();
    let lines = format!("env,device=city-2 pm10=9 {at}\nenv,device=water-2 pm10=9 {at}\n");
    let (status, told) = request(
        &server.http,
        &integrator,
        "POST",
        "/api/v2/write?precision=ms",
        Some(&lines),
    );
    assert_eq!(status, 400, "{told}");
    assert!(
        told.to_string().contains("no device is called `city-2`"),
        "{told}"
    );
    server.caught_up();
    let newest = |device: &str| server.latest(device, "pm10").unwrap()["value"].clone();
    assert_eq!((newest("city-2"), newest("water-2")), (json!(103.0), json!(9.0)));
    // What concerns all of the city is nobody's who is of a part of it.
    for (method, path) in [
        ("PUT", "/api/v1/rules/own"),
        ("POST", "/api/v1/entities/recode"),
        ("GET", "/api/v1/quarantine/counts"),
    ] {
        let (status, answer) = request(
            &server.http,
            &integrator,
            method,
            path,
            Some("version: 1\nrules: []\n"),
        );
        assert_eq!(status, 403, "{path}: {answer}");
    }
    // Tokens and accounts: within his own.
    let keeper = token(&server, "system_admin", &[WATER, CITY]);
    for (departments, status) in [
        (json!([]), 403),
        (json!(["环保局"]), 403),
        (json!([WATER, "环保局"]), 403),
        (json!([" "]), 400),
        (json!([WATER]), 201),
        (json!([CITY, WATER]), 201),
    ] {
        let new = json!({"role": "viewer", "division": DIVISION, "departments": departments});
        let (said, answer) = ask(&keeper, "POST", "/api/v1/tokens", new);
        assert_eq!(said, status, "{departments}: {answer}");
        let account = json!({"id": format!("u{status}{}", departments.as_array().unwrap().len()), "name": "",
                             "role": "viewer", "division": DIVISION, "departments": departments});
        let (said, answer) = ask(&keeper, "POST", "/api/v1/accounts", account);
        assert_eq!(said == 201, status == 201, "{departments}: {answer}");
    }
    let (said, _) = ask(
        &keeper,
        "PATCH",
        "/api/v1/accounts/u2011",
        json!({"departments": ["环保局"]}),
    );
    assert_eq!(said, 403);
    let (said, _) = ask(
        &keeper,
        "PATCH",
        "/api/v1/accounts/u2011",
        json!({"departments": [CITY]}),
    );
    assert_eq!(said, 200);
    let listed = get(&server, &keeper, "/api/v1/tokens");
    let is_within = |token: &Value| {
        let own = token["departments"].as_array().unwrap();
        !own.is_empty() && own.iter().all(|name| *name == WATER || *name == CITY)
    };
    assert!(
        listed["items"].as_array().unwrap().iter().all(is_within),
        "{listed}"
    );
    // A dust storm over the division is every department's.
    let officer = token(&server, "officer", &[WATER]);
    let storm = json!({"division": DIVISION, "from": now_ms() - 7_200_000, "to": now_ms(), "source": "通知", "name": "王"});
    assert_eq!(ask(&officer, "POST", "/api/v1/dust", storm.clone()).0, 403);
    assert_eq!(
        server.request("POST", "/api/v1/dust", Some(&storm.to_string())).0,
        201
    );
    assert_eq!(
        get(&server, &officer, "/api/v1/dust")["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    // The command line makes the same tokens.
    let made = std::process::Command::new(crate::server::binary("onemap"))
        .args(["token", "create", "--role", "viewer", "--division", DIVISION])
        .args(["--department", WATER, "--department", CITY, "--data-dir"])
        .arg(&server.dir)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made = String::from_utf8(made.stdout).unwrap();
    assert_eq!(
        get(&server, made.trim(), "/api/v1/session")["departments"],
        json!([CITY, WATER])
    );
}

#[test]
fn fences_and_their_events_are_told_to_who_sees_fence_and_device() {
    let server = Server::new();
    let square = |west: f64, east: f64| json!({"type": "Polygon", "coordinates": [[[west, 36.5], [east, 36.5], [east, 36.6], [west, 36.6], [west, 36.5]]]});
    let district =
        json!({"code": DIVISION, "kind": "division", "name": "城东区", "geometry": square(101.7, 101.9)});
    server.post("/api/v1/entities", &district);
    for (code, department) in [("f-water", WATER), ("f-city", CITY), ("f-bare", "")] {
        let fence =
            json!({"name": code, "department": department, "geometry": square(101.81, 101.84)}).to_string();
        let (status, said) = server.request("PUT", &format!("/api/v1/fences/{code}"), Some(&fence));
        assert_eq!(status, 200, "{said}");
    }
    let trucks = [("truck-c", CITY), ("truck-w", WATER)];
    for (id, department) in trucks {
        let more = json!({"kind": "truck", "division": DIVISION, "department": department});
        server.add_device(id, &more);
    }
    let [water, all] = [&[WATER][..], &[]].map(|own| token(&server, "viewer", own));
    let streams = [&water, &all].map(|who| stream(&server.http, who, "/api/v1/live"));
    let start = now_ms() - 600_000;
    for (seconds, lon) in [(0, 101.805), (100, 101.82)] {
        for (id, _) in trucks {
            let t = start + seconds * 1000;
            let readings =
                json!([{"q": "longitude", "t": t, "v": lon}, {"q": "latitude", "t": t, "v": 36.55}]);
            server.post("/api/v1/readings", &json!({"device": id, "readings": readings}));
        }
    }
    server.caught_up();
    let told = |who: &str| {
        let page = get(&server, who, "/api/v1/fences/events?limit=1000");
        let text = |item: &Value| {
            [&item["fence"], &item["device"]]
                .map(|name| name.as_str().unwrap().to_owned())
                .join(" ")
        };
        let mut told: Vec<String> = page["items"].as_array().unwrap().iter().map(text).collect();
        told.sort_unstable();
        told
    };
    assert_eq!(told(&all).len(), 6);
    assert_eq!(told(&water), ["f-water truck-w"]);
    // The newest event is another's: the page has the own one, and says that there is no next.
    let page = get(&server, &water, "/api/v1/fences/events?limit=1");
    assert_eq!(
        (page["items"].as_array().unwrap().len(), &page["next"]),
        (1, &Value::Null)
    );
    let fences = get(&server, &water, "/api/v1/fences");
    assert_eq!(names(&fences, "code"), ["f-water"]);
    assert_eq!(fences["items"][0]["n_inside"], 1);
    assert_eq!(fences["items"][0]["inside"][0]["device"], "truck-w");
    assert_eq!(get(&server, &all, "/api/v1/fences/f-city")["n_inside"], 2);
    for code in ["f-city", "f-bare"] {
        let (status, _) = request(
            &server.http,
            &water,
            "GET",
            &format!("/api/v1/fences/{code}"),
            None,
        );
        assert_eq!(status, 404, "{code}");
    }
    wait_for("the live push of all", SOON, || {
        let said = streams[1].lock().unwrap();
        (said.matches("event: fence").count() == 6).then_some(())
    });
    // Beats come behind the events of their round.
    wait_for("the live push of one", SOON, || {
        let said = streams[0].lock().unwrap();
        let told = said.find("event: fence")?;
        said[told..].contains("event: beat").then_some(())
    });
    let said = streams[0].lock().unwrap();
    assert_eq!(said.matches("event: fence").count(), 1, "{said}");
    assert!(
        !said.contains("truck-c") && !said.contains("f-city") && !said.contains("f-bare"),
        "{said}"
    );
}

#[test]
fn nobody_draws_the_border_that_bounds_him() {
    let server = Server::new();
    let square = json!({"type": "Polygon", "coordinates": [[[101.0, 36.0], [102.5, 36.0], [102.5, 37.5], [101.0, 37.5], [101.0, 36.0]]]});
    let drawn = json!({"code": "630104", "kind": "division", "name": "城西区", "division": "630104", "geometry": square});
    let below = json!({"code": "630104099", "kind": "division", "name": "新街", "division": "630104", "geometry": square});
    let sheet = format!(
        "{}\n",
        json!({"type": "Feature", "properties": {"code": "630104", "kind": "division", "name": "城西区", "division": "630104"}, "geometry": square})
    );
    for bounds in [json!({"division": "630104"}), json!({"departments": ["水务局"]})] {
        let mut made = json!({"role": "integrator", "name": "i"});
        made.as_object_mut()
            .unwrap()
            .extend(bounds.as_object().unwrap().clone());
        let token = server.post("/api/v1/tokens", &made)["token"]
            .as_str()
            .unwrap()
            .to_owned();
        for entity in [&drawn, &below] {
            let (status, said) = request(
                &server.http,
                &token,
                "POST",
                "/api/v1/entities",
                Some(&entity.to_string()),
            );
            assert_eq!(status, 403, "{said}");
        }
        let path = "/api/v1/entities/import?name=a.geojsonl";
        let (_, said) = request(&server.http, &token, "POST", path, Some(&sheet));
        assert!(
            said.to_string().contains("divisions are the whole city's"),
            "{said}"
        );
        assert_eq!(
            server
                .request("GET", "/api/v1/entities/630104?kind=division", None)
                .0,
            404
        );
    }
    server.post("/api/v1/entities", &drawn);
}
