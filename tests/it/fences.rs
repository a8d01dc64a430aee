//! Devices that move and fences that watch them: over MQTT and HTTP, over a kill, by scope, with foreign systems of
//! coordinates.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use onemap_model::Crs;
use serde_json::{Value, json};

use crate::server::{Server, binary, peer, request, wait_for};

const TRUCK: &str = "water_truck";

fn now_ms() -> i64 {
    onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms()
}

fn square(west: f64, south: f64, size: f64) -> Value {
    let (east, north) = (west + size, south + size);
    json!({"type": "Polygon", "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]]})
}

fn put(server: &Server, code: &str, body: &Value) -> (u16, Value) {
    server.request("PUT", &format!("/api/v1/fences/{code}"), Some(&body.to_string()))
}

fn fence(server: &Server, code: &str, body: Value) -> Value {
    let (status, shown) = put(server, code, &body);
    assert_eq!(status, 200, "{shown}");
    shown
}

/// Two districts side by side, a wide fence and one with a dwell time in the eastern one.
fn city(server: &Server) {
    for (code, west) in [("630102", 101.8), ("630103", 101.7)] {
        let district =
            json!({"code": code, "kind": "division", "name": code, "geometry": square(west, 36.5, 0.1)});
        server.post("/api/v1/entities", &district);
    }
    fence(
        server,
        "wide",
        json!({"name": "东区", "name_en": "East", "geometry": square(101.81, 36.52, 0.06)}),
    );
    let narrow = json!({
        "name": "油库", "geometry": square(101.83, 36.54, 0.02), "dwell_s": 60, "hysteresis_m": 100, "device_kinds": [TRUCK],
    });
    fence(server, "narrow", narrow);
}

fn truck(server: &Server, id: &str, more: Value) -> String {
    let mut device = json!({"kind": TRUCK, "division": "630102", "cadence_s": 5});
    for (key, value) in more.as_object().unwrap() {
        device[key] = value.clone();
    }
    server.add_device(id, &device)
}

/// What devices did at fences, oldest first: `fence kind device`.
fn told(server: &Server, filter: &str) -> Vec<String> {
    let page = server.get(&format!("/api/v1/fences/events?limit=1000{filter}"));
    let mut items = page["items"].as_array().unwrap().clone();
    items.reverse();
    let text = |item: &Value| {
        let [fence, kind, device] = ["fence", "kind", "device"].map(|key| item[key].as_str().unwrap());
        format!("{fence} {kind} {device}")
    };
    items.iter().map(text).collect()
}

fn moved_to(server: &Server, device: &str) -> Value {
    server.get(&format!("/api/v1/devices/{device}"))["moved_to"].clone()
}

fn say(server: &Server, device: &str, readings: &[(i64, &str, f64)]) {
    let readings: Vec<Value> = readings
        .iter()
        .map(|(t, q, v)| json!({"q": q, "t": t, "v": v}))
        .collect();
    server.post(
        "/api/v1/readings",
        &json!({"device": device, "readings": readings}),
    );
}

fn at(server: &Server, device: &str, t: i64, lon: f64, lat: f64) {
    say(server, device, &[(t, "longitude", lon), (t, "latitude", lat)]);
}

/// Events of the live push, by name.
pub fn live(server: &Server, token: &str) -> mpsc::Receiver<(String, Value)> {
    let mut stream = TcpStream::connect(server.http.strip_prefix("http://").unwrap()).unwrap();
    let head = format!("GET /api/v1/live HTTP/1.1\r\nhost: onemap\r\nauthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let (sender, events) = mpsc::channel();
    std::thread::spawn(move || {
        let mut name = String::new();
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if let Some(event) = line.strip_prefix("event: ") {
                name = event.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                let data = serde_json::from_str(data).unwrap();
                if sender.send((name.clone(), data)).is_err() {
                    return;
                }
            }
        }
    });
    let (first, _) = events.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(first, "hello");
    events
}

/// The next event of a name.
fn next(events: &mpsc::Receiver<(String, Value)>, wanted: &str) -> Value {
    wait_for(wanted, Duration::from_secs(10), || {
        let (name, data) = events.recv_timeout(Duration::from_secs(10)).ok()?;
        (name == wanted).then_some(data)
    })
}

fn devices_of(answer: &Value) -> Vec<&str> {
    let features = answer["features"].as_array().unwrap();
    features
        .iter()
        .map(|f| f["properties"]["device"].as_str().unwrap())
        .collect()
}

#[test]
fn a_truck_is_told_of_over_mqtt_and_http_and_seen_where_it_is() {
    if peer("mosquitto_pub").is_none() {
        return;
    }
    let server = Server::new();
    city(&server);
    let token = truck(
        &server,
        "truck-1",
        json!({"position": {"lon": 101.805, "lat": 36.505}}),
    );
    let events = live(&server, &server.token);
    let start = now_ms() - 600_000;
    let drive = |seconds: i64, lon: f64| {
        let (t, lat) = (start + seconds * 1000, 36.55);
        let payload = json!({"ts": t, "values": {"longitude": lon, "latitude": lat, "battery": 80}});
        let sent = server.publish(&token, "v1/devices/me/telemetry", &payload.to_string());
        assert!(sent.status.success(), "{sent:?}");
    };
    drive(0, 101.805);
    drive(30, 101.815);
    // The second half of the way over HTTP, longitude and latitude in messages of their own.
    for (seconds, lon) in [
        (100, 101.835),
        (159, 101.836),
        (160, 101.837),
        (240, 101.8507),
        (250, 101.853),
    ] {
        let t = start + seconds * 1000;
        say(&server, "truck-1", &[(t, "latitude", 36.55)]);
        say(&server, "truck-1", &[(t, "longitude", lon)]);
    }
    server.caught_up();
    let want = [
        "wide enter truck-1",
        "narrow enter truck-1",
        "narrow dwell truck-1",
        "narrow exit truck-1",
    ];
    assert_eq!(told(&server, ""), want);
    assert_eq!(
        told(&server, "&fence=narrow&kind=dwell"),
        ["narrow dwell truck-1"]
    );
    assert_eq!(
        told(&server, &format!("&to={}", start + 100_000)),
        ["wide enter truck-1"]
    );
    assert!(told(&server, "&device=truck-2").is_empty());
    // Page by page the same, newest first.
    let mut path = "/api/v1/fences/events?limit=1".to_owned();
    let mut paged = Vec::new();
    loop {
        let page = server.get(&path);
        paged.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/fences/events?limit=1&after={next}");
    }
    for event in &paged {
        crate::schemas::check("fence-event", event);
    }
    crate::schemas::check("reading", &server.latest("truck-1", "latitude").unwrap());
    assert_eq!(paged.len(), 4);
    assert_eq!(
        (&paged[0]["kind"], &paged[0]["sequence"], &paged[0]["fence_name"]),
        (&json!("exit"), &json!(4), &json!("油库"))
    );
    assert_eq!(
        (&paged[0]["lon"], &paged[0]["division"]),
        (&json!(101.853), &json!("630102"))
    );

    // The live push told of it, and where the truck was.
    // In each round places come before what they show.
    let moves = next(&events, "moves");
    assert_eq!(moves["m"][0][0], "truck-1", "{moves}");
    let entered = next(&events, "fence");
    assert_eq!(
        (&entered["kind"], &entered["fence"], &entered["device"]),
        (&json!("enter"), &json!("wide"), &json!("truck-1"))
    );

    // It is where it says, and the register has it where it had it.
    let device = server.get("/api/v1/devices/truck-1");
    let (moved, there) = (&device["moved_to"], &device["position"]);
    assert_eq!((&moved["lon"], &moved["lat"]), (&json!(101.853), &json!(36.55)));
    assert_eq!(there["lon"], 101.805);
    assert_eq!(device["fences"].as_array().unwrap().len(), 1, "{device}");
    assert_eq!(device["fences"][0]["code"], "wide");
    assert_eq!(
        server.latest("truck-1", "longitude").unwrap()["moved_to"]["lon"],
        101.853
    );
    for (question, found) in [
        ("within?bbox=101.85,36.54,101.86,36.56&kind=device", true),
        ("within?bbox=101.80,36.50,101.81,36.51&kind=device", false),
        ("nearest?lon=101.853&lat=36.55&radius_m=5&kind=device", true),
        ("nearest?lon=101.805&lat=36.505&radius_m=50&kind=device", false),
        ("column?lon=101.853&lat=36.55&radius_m=5", true),
    ] {
        let answer = server.get(&format!("/api/v1/{question}"));
        let want: &[&str] = if found { &["truck-1"] } else { &[] };
        assert_eq!(devices_of(&answer), want, "{question}");
        if found {
            assert_eq!(
                answer["features"][0]["properties"]["moved_at"],
                moved["measured_at"]
            );
        }
    }
    let listed = |bbox: &str| {
        server.get(&format!("/api/v1/devices?bbox={bbox}"))["items"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(
        (
            listed("101.85,36.54,101.86,36.56"),
            listed("101.80,36.50,101.81,36.51")
        ),
        (1, 0)
    );
    let tile = |layer: &str, lon: f64, lat: f64| {
        let n = f64::from(1 << 14);
        let x = ((lon + 180.0) / 360.0 * n) as u32;
        let y = ((1.0 - lat.to_radians().tan().asinh() / std::f64::consts::PI) / 2.0 * n) as u32;
        server
            .request("GET", &format!("/tiles/{layer}/14/{x}/{y}.mvt"), None)
            .0
    };
    assert_eq!(
        (tile("live", 101.853, 36.55), tile("live", 101.805, 36.505)),
        (200, 204)
    );
    assert_eq!(
        (tile("fences", 101.83, 36.54), tile("fences", 101.75, 36.51)),
        (200, 204)
    );

    // Who is inside: for sure at first, unknown when it says nothing for three cadences.
    let wide = server.get("/api/v1/fences/wide");
    assert_eq!(
        (&wide["n_inside"], &wide["inside"][0]["device"]),
        (&json!(1), &json!("truck-1"))
    );
    assert_eq!(wide["inside"][0]["last_seen"], moved["measured_at"]);
    let silent = wait_for("the truck to be silent", Duration::from_secs(30), || {
        let wide = server.get("/api/v1/fences")["items"][1].clone();
        (wide["inside"][0]["state"] == "unknown").then_some(wide)
    });
    assert_eq!(silent["n_inside"], 1);
    assert_eq!(
        server.get("/api/v1/devices/truck-1")["fences"][0]["state"],
        "unknown"
    );
    at(&server, "truck-1", now_ms(), 101.853, 36.551);
    server.caught_up();
    assert_eq!(server.get("/api/v1/fences/wide")["inside"][0]["state"], "inside");

    // Lists by device and box, page by page, and with a tag.
    let codes = |query: &str| {
        let page = server.get(&format!("/api/v1/fences?{query}"));
        let codes = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| f["code"].as_str().unwrap().to_owned());
        (codes.collect::<Vec<_>>(), page["next"].clone())
    };
    assert_eq!(codes("").0, ["narrow", "wide"]);
    assert_eq!(codes("device=truck-1").0, ["wide"]);
    assert_eq!(codes("bbox=101.81,36.52,101.82,36.53").0, ["wide"]);
    assert!(codes("division=630103").0.is_empty());
    assert_eq!(codes("limit=1"), (vec!["narrow".to_owned()], json!("narrow")));
    assert_eq!(
        codes("limit=1&after=narrow"),
        (vec!["wide".to_owned()], Value::Null)
    );
    let tagged = |known: &str| {
        let asked = ureq::get(format!("{}/api/v1/fences/narrow", server.http))
            .header("authorization", format!("Bearer {}", server.token))
            .header("if-none-match", known);
        let answer = asked.call().unwrap();
        (
            answer.status().as_u16(),
            answer.headers()["etag"].to_str().unwrap().to_owned(),
        )
    };
    let (_, tag) = tagged("\"x\"");
    assert_eq!(tagged(&tag), (304, tag.clone()));

    // A retired truck is nowhere; its fence is empty and its events stay.
    let (status, _) = server.request(
        "PATCH",
        "/api/v1/devices/truck-1",
        Some("{\"state\": \"retired\"}"),
    );
    assert_eq!(status, 200);
    assert_eq!(
        (
            moved_to(&server, "truck-1"),
            &server.get("/api/v1/fences/wide")["n_inside"]
        ),
        (Value::Null, &json!(0))
    );
    let (status, _) = server.request("DELETE", "/api/v1/fences/wide", None);
    assert_eq!(status, 204);
    assert_eq!(server.request("GET", "/api/v1/fences/wide", None).0, 404);
    assert_eq!(told(&server, ""), want);
}

#[test]
fn a_kill_in_the_middle_loses_and_doubles_nothing_and_a_replay_tells_the_same() {
    let mut server = Server::new();
    city(&server);
    truck(&server, "truck-1", json!({}));
    truck(&server, "truck-2", json!({"kind": "coach"}));
    let start = now_ms() - 3_600_000;
    let t = |seconds: i64| start + seconds * 1000;
    at(&server, "truck-1", t(0), 101.805, 36.55);
    at(&server, "truck-1", t(60), 101.835, 36.55);
    at(&server, "truck-2", t(60), 101.835, 36.55);
    // Older than the newest, and sent again: they are in the history and show nothing.
    at(&server, "truck-1", t(30), 101.5, 36.55);
    let again = json!({"device": "truck-1", "readings": [
        {"q": "longitude", "t": t(61), "v": 101.5, "r": true}, {"q": "latitude", "t": t(61), "v": 36.55, "r": true}]});
    let (_, refused) = server.request("POST", "/api/v1/readings", Some(&again.to_string()));
    // A receiver without satellites, a place off the globe, half a place: none of them is a sighting.
    at(&server, "truck-1", t(70), 0.0, 0.0);
    at(&server, "truck-1", t(71), 181.0, 36.55);
    say(&server, "truck-1", &[(t(72), "longitude", 101.9)]);
    // Too far for ten seconds.
    at(&server, "truck-1", t(80), 101.75, 36.55);
    server.caught_up();
    let first = ["narrow enter", "wide enter"].map(|told| format!("{told} truck-1"));
    let third = "wide enter truck-2".to_owned();
    assert_eq!(
        told(&server, ""),
        [first.as_slice(), std::slice::from_ref(&third)].concat(),
        "{refused}"
    );
    let device = server.get("/api/v1/devices/truck-1");
    assert_eq!(device["moved_to"]["lon"], 101.835, "{device}");
    assert_eq!(device["moved_to"]["doubted"]["lon"], 101.75);
    let zero = server.get("/api/v1/series?device=truck-1&quantity=longitude")["items"][0]["id"].clone();
    let values = server.get(&format!(
        "/api/v1/series/{zero}/values?from={}&to={}",
        t(70),
        t(72)
    ));
    for item in values["items"].as_array().unwrap() {
        let quality = item["quality"].as_array().unwrap();
        assert!(quality.contains(&json!("suspect")), "{values}");
    }
    let sighted = |server: &Server, became: &str| {
        server.metric(&format!("onemap_sightings_total{{became=\"{became}\"}} "))
    };
    assert_eq!(
        (sighted(&server, "no_fix"), sighted(&server, "doubted")),
        (Some(1), Some(1))
    );

    server = server.kill_and_restart();
    server.caught_up();
    assert_eq!(moved_to(&server, "truck-1")["doubted"]["lon"], 101.75);
    assert_eq!(server.get("/api/v1/fences/wide")["n_inside"], 2);
    assert_eq!(
        devices_of(&server.get("/api/v1/within?bbox=101.834,36.54,101.836,36.56&kind=device")),
        ["truck-1", "truck-2"]
    );
    // The half comes to its other half, older than what is doubted and not believed either; the next one near the
    // doubted place makes both count.
    say(&server, "truck-1", &[(t(72), "latitude", 36.55)]);
    at(&server, "truck-1", t(90), 101.751, 36.55);
    // Two sightings in one message, the newer first.
    say(
        &server,
        "truck-2",
        &[
            (t(1200), "longitude", 101.75),
            (t(1200), "latitude", 36.55),
            (t(600), "longitude", 101.82),
            (t(600), "latitude", 36.55),
        ],
    );
    server.caught_up();
    server = server.kill_and_restart();
    server.caught_up();
    let all = told(&server, "&device=truck-1");
    assert_eq!(
        told(&server, "&device=truck-2"),
        [third, "wide exit truck-2".to_owned()]
    );
    let want = ["narrow enter", "wide enter", "narrow exit", "wide exit"];
    assert_eq!(all, want.map(|told| format!("{told} truck-1")));
    server.stop();

    let onemap = |dir: &std::path::Path, arguments: &[&str]| -> Value {
        let output = Command::new(binary("onemap"))
            .arg("--data-dir")
            .arg(dir)
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let digest = onemap(&server.dir, &["digest", "--json"]);
    let copy = tempfile::tempdir().unwrap();
    let into = copy.path().join("again");
    let replayed = onemap(
        &server.dir,
        &["journal", "replay", "--into", into.to_str().unwrap()],
    );
    assert_eq!(replayed["digest"], digest, "a replay differs from the live run");
    assert_eq!(digest["fence_events"].as_str().unwrap().len(), 64);
}

#[test]
fn positions_of_chinese_web_maps_are_shown_where_they_are() {
    let server = Server::new();
    city(&server);
    let profile = |crs: &str| {
        format!("version: 1\nname: {{zh: 车, en: Truck}}\nprotocol: thingsboard\ncadence: 5s\ncrs: {crs}\n")
    };
    for (id, crs) in [("gcj", "GCJ02"), ("bd", "BD09")] {
        let (status, said) = server.request("PUT", &format!("/api/v1/profiles/{id}"), Some(&profile(crs)));
        assert_eq!(status, 200, "{said}");
    }
    let (status, said) = server.request("PUT", "/api/v1/profiles/metres", Some(&profile("EPSG:4522")));
    assert_eq!(status, 422);
    assert!(said.to_string().contains("in degrees"), "{said}");
    // A metre inside the fence; unconverted it would lie 165 m east of it.
    let (lon, lat) = (101.87 - 0.00001, 36.55);
    for (id, crs) in [("gcj", Crs::Gcj02), ("bd", Crs::Bd09)] {
        truck(&server, id, json!({"profile": id}));
        let (x, y) = crs.from_wgs84(lon, lat);
        assert!(x > 101.87, "{x}");
        at(&server, id, now_ms() - 1000, x, y);
        server.caught_up();
        let moved = moved_to(&server, id);
        let off = [("lon", lon), ("lat", lat)].map(|(key, want)| (moved[key].as_f64().unwrap() - want).abs());
        assert!(off.iter().all(|off| *off < 0.000_005), "{moved}");
        assert_eq!(
            server.latest(id, "longitude").unwrap()["value"],
            json!(x),
            "the reading stays as it was sent"
        );
    }
    assert_eq!(told(&server, ""), ["wide enter gcj", "wide enter bd"]);
}

#[test]
fn nobody_is_told_of_a_fence_or_a_device_outside_of_his_division() {
    let server = Server::new();
    city(&server);
    let token = |division: &str, role: &str| {
        let body = json!({"role": role, "name": division, "division": division});
        server.post("/api/v1/tokens", &body)["token"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (east, west, keeper) = (
        token("630102", "viewer"),
        token("630103", "viewer"),
        token("630103", "integrator"),
    );
    let ask = |token: &str, path: &str| request(&server.http, token, "GET", path, None);
    truck(&server, "own", json!({}));
    truck(&server, "guest", json!({"division": "630103"}));
    let nobodys = json!({"kind": TRUCK, "cadence_s": 5});
    server.add_device("nobodys", &nobodys);
    let (of_east, of_west) = (live(&server, &east), live(&server, &west));
    for (i, id) in ["guest", "nobodys", "own"].into_iter().enumerate() {
        at(&server, id, now_ms() - 1000 + i as i64, 101.84, 36.55);
        server.caught_up();
    }
    assert_eq!(told(&server, "&kind=enter").len(), 6);
    let (_, events) = ask(&east, "/api/v1/fences/events");
    let events = events["items"].as_array().unwrap();
    assert_eq!(events.len(), 2);
    assert!(events.iter().all(|event| event["device"] == "own"));
    // A fence of the other division is not told of, whoever is in it.
    assert_eq!(ask(&west, "/api/v1/fences/events").1["items"], json!([]));
    assert_eq!(ask(&west, "/api/v1/fences").1["items"], json!([]));
    assert_eq!(ask(&west, "/api/v1/fences/wide").0, 404);
    assert_eq!(ask(&west, "/api/v1/devices/guest").1["fences"], json!([]));
    let (_, wide) = ask(&east, "/api/v1/fences/wide");
    assert_eq!(
        (&wide["n_inside"], &wide["inside"][0]["device"]),
        (&json!(1), &json!("own"))
    );
    assert_eq!(ask(&east, "/api/v1/fences?device=guest").0, 404);
    // Where a device happens to be gives nobody the right to see it.
    let near = ask(&east, "/api/v1/nearest?lon=101.84&lat=36.55&kind=device").1;
    assert_eq!(devices_of(&near), ["own"]);
    assert_eq!(next(&of_east, "fence")["device"], "own");
    let moves = next(&of_west, "moves");
    assert!(
        moves["m"].as_array().unwrap().iter().all(|m| m[0] == "guest"),
        "{moves}"
    );
    // Nor does a caller of one division set or take off what lies in another.
    let put = |code: &str, division: Option<&str>| {
        let body = json!({"name": "x", "division": division, "geometry": square(101.71, 36.52, 0.01)});
        request(
            &server.http,
            &keeper,
            "PUT",
            &format!("/api/v1/fences/{code}"),
            Some(&body.to_string()),
        )
        .0
    };
    assert_eq!(
        (
            put("wide", Some("630103")),
            put("x", Some("630102")),
            put("x", None)
        ),
        (403, 403, 403)
    );
    assert_eq!(
        request(&server.http, &keeper, "DELETE", "/api/v1/fences/wide", None).0,
        404
    );
    assert_eq!(put("mine", Some("630103")), 200);
    assert_eq!(
        request(&server.http, &keeper, "DELETE", "/api/v1/fences/mine", None).0,
        204
    );
}

#[test]
fn what_is_no_fence_is_refused_by_name() {
    let server = Server::new();
    let area = || square(101.7, 36.5, 0.01);
    for (body, status, part) in [
        (
            json!({"name": "x", "geometry": area(), "dwell_s": "60"}),
            422,
            "dwell_s is a number of seconds",
        ),
        (
            json!({"name": "x", "geometry": area(), "dwell_s": 0}),
            422,
            "dwell_s",
        ),
        (
            json!({"name": "x", "geometry": area(), "hysteresis_m": -1}),
            422,
            "hysteresis_m is a number of metres",
        ),
        (
            json!({"name": "x", "geometry": area(), "device_kinds": "truck"}),
            422,
            "device_kinds is a list",
        ),
        (
            json!({"name": "x", "geometry": area(), "device_kinds": [7]}),
            422,
            "device_kinds",
        ),
        (json!({"name": "x"}), 422, "a fence has a geometry"),
        (
            json!({"name": "x", "geometry": {"type": "Point", "coordinates": [101.7, 36.5]}}),
            422,
            "not drawn as a Point",
        ),
        (
            json!({"name": "x", "geometry": area(), "valid_from": "2026-02-01T00:00:00Z", "valid_to": "2026-01-01T00:00:00Z"}),
            422,
            "validity",
        ),
        (
            json!({"name": "x", "geometry": area(), "colour": "red"}),
            400,
            "colour",
        ),
        (
            json!({"name": "x", "geometry": area(), "code": "y"}),
            400,
            "`code` is not",
        ),
        (
            json!({"name": "x", "geometry": area(), "kind": "place"}),
            400,
            "`kind` is not",
        ),
        (
            json!({"name": "x", "geometry": area(), "attributes": []}),
            400,
            "an object",
        ),
        (
            json!({"name": "x", "geometry": area(), "dwell_s": 1, "attributes": {"dwell_s": 2}}),
            400,
            "stated twice",
        ),
        (json!({"geometry": area()}), 400, "name"),
    ] {
        let (got, said) = put(&server, "x", &body);
        assert_eq!(got, status, "{body}: {said}");
        assert!(said.to_string().contains(part), "{body}: {said}");
    }
    assert_eq!(server.get("/api/v1/fences")["items"], json!([]));
    // The other ways in refuse the same.
    let entity =
        json!({"code": "x", "kind": "fence", "name": "x", "geometry": area(), "attributes": {"dwell_s": -5}});
    let (status, said) = server.request("POST", "/api/v1/entities", Some(&entity.to_string()));
    assert_eq!(status, 422);
    assert!(
        said.to_string().contains("dwell_s is a number of seconds"),
        "{said}"
    );
    let file = server.dir.join("fences.geojson");
    let feature = |code: &str, dwell: Value| json!({"type": "Feature", "geometry": area(), "properties": {"code": code, "kind": "fence", "name": code, "dwell_s": dwell}});
    let features = json!({"type": "FeatureCollection", "features": [feature("good", json!(30)), feature("bad", json!("soon"))]});
    std::fs::write(&file, features.to_string()).unwrap();
    let imported = server.request("POST", "/api/v1/entities", Some(&features.to_string()));
    assert_eq!(imported.0, 201, "{imported:?}");
    assert!(
        imported.1["errors"].to_string().contains("dwell_s"),
        "{imported:?}"
    );
    assert_eq!(server.get("/api/v1/fences/good")["dwell_s"], 30.0);
    for (path, code) in [
        ("fences?inside=truck", "bad_parameter"),
        ("fences?bbox=1,2", "bad_bbox"),
        ("fences?limit=0", "bad_limit"),
        ("fences?device=nobody", "unknown_device"),
        ("fences/nowhere", "unknown_fence"),
        ("fences/good?verbose=1", "bad_parameter"),
        ("fences/events?kind=leave", "bad_kind"),
        ("fences/events?from=yesterday", "bad_time"),
        (
            "fences/events?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
            "bad_range",
        ),
        ("fences/events?after=x", "bad_parameter"),
    ] {
        let (status, said) = server.request("GET", &format!("/api/v1/{path}"), None);
        assert!(matches!(status, 400 | 404), "{path}: {status}");
        assert_eq!(said["code"], code, "{path}: {said}");
    }
}

const RULES: &str = "
version: 1
rules:
  - id: no-trucks
    name: {zh: 禁行区, en: No trucks here}
    severity: major
    applies_to: {kind: water_truck}
    when: {inside: {fence: wide}}
    advice: {zh: 联系司机, en: Call the driver}
  - id: depot-dust
    name: {zh: 油库扬尘, en: Dust at the depot}
    severity: minor
    applies_to: {fence: narrow-air}
    when: {above: {quantity: pm10, raise: 250 ug/m3}}
    advice: {zh: 洒水, en: Water it}
";

/// Every edge that alerts had, oldest first: `rule edge device`.
fn edges(server: &Server) -> Vec<String> {
    let alerts = server.get("/api/v1/alerts?limit=1000");
    let mut all = Vec::new();
    for alert in alerts["items"].as_array().unwrap() {
        let story = server.get(&format!("/api/v1/alerts/{}", alert["id"].as_str().unwrap()));
        for edge in story["history"].as_array().unwrap() {
            let text = |key: &str| edge[key].as_str().unwrap().to_owned();
            let device = alert["series"]["device"].as_str().unwrap();
            all.push((
                edge["seq"].as_u64(),
                format!("{} {} {device}", alert["rule"].as_str().unwrap(), text("edge")),
            ));
        }
    }
    all.sort();
    all.into_iter().map(|(_, text)| text).collect()
}

fn until(server: &Server, what: &[&str]) {
    wait_for(&what.join(", "), Duration::from_secs(20), || {
        (edges(server) == what).then_some(())
    });
}

#[test]
fn rules_look_at_fences_over_a_kill_and_a_removal() {
    let server = Server::with_rules(&[("fences", RULES)]);
    city(&server);
    truck(&server, "truck-1", json!({}));
    server.add_device("van-1", &json!({"kind": "van", "cadence_s": 5}));
    let station = |id: &str, lon: f64| {
        server.add_device(
            id,
            &json!({"kind": "air_station", "position": {"lon": lon, "lat": 36.55}}),
        );
    };
    station("air-in", 101.84);
    station("air-out", 101.89);
    let dust = |server: &Server, device: &str, t: i64, value: f64| say(server, device, &[(t, "pm10", value)]);
    let t = now_ms() - 60_000;
    at(&server, "truck-1", t, 101.809, 36.55);
    at(&server, "van-1", t, 101.84, 36.55);
    dust(&server, "air-in", t, 300.0);
    dust(&server, "air-out", t, 300.0);
    at(&server, "truck-1", t + 10_000, 101.811, 36.55);
    until(&server, &["no-trucks raised truck-1"]);
    let alert = server.get("/api/v1/alerts?state=open")["items"][0].clone();
    assert!(alert.to_string().contains("设备在围栏 wide 内"), "{alert}");

    // A fence that is set later: the station that stands in it is looked at with what it said last.
    fence(
        &server,
        "narrow-air",
        json!({"name": "油库空气", "geometry": square(101.83, 36.54, 0.02)}),
    );
    until(&server, &["no-trucks raised truck-1", "depot-dust raised air-in"]);
    let server = server.kill_and_restart();
    at(&server, "truck-1", t + 20_000, 101.8112, 36.55);
    dust(&server, "air-in", t + 20_000, 310.0);
    dust(&server, "air-out", t + 20_000, 310.0);
    at(&server, "truck-1", t + 40_000, 101.809, 36.55);
    until(
        &server,
        &[
            "no-trucks raised truck-1",
            "depot-dust raised air-in",
            "no-trucks cleared truck-1",
        ],
    );
    at(&server, "truck-1", t + 59_000, 101.811, 36.55);
    let before = [
        "no-trucks raised truck-1",
        "depot-dust raised air-in",
        "no-trucks cleared truck-1",
        "no-trucks raised truck-1",
    ];
    until(&server, &before);
    for (code, told) in [
        ("narrow-air", "depot-dust withdrawn air-in"),
        ("wide", "no-trucks withdrawn truck-1"),
    ] {
        assert_eq!(
            server
                .request("DELETE", &format!("/api/v1/fences/{code}"), None)
                .0,
            204
        );
        wait_for(told, Duration::from_secs(20), || {
            edges(&server).contains(&told.to_owned()).then_some(())
        });
    }
}
