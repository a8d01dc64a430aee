//! Devices stand on entities, and the map shows what that makes of them: over HTTP, with a rule, in tiles.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::alarms::DUST;
use crate::map::{tile, tile_at};
use crate::server::{Server, wait_for};

/// Numbers and texts of a protobuf message, by field.
fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, &[u8])> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut n, mut shift) = (0, 0);
        loop {
            let (byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            n |= u64::from(byte & 127) << shift;
            shift += 7;
            if byte & 128 == 0 {
                return n;
            }
        }
    }
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let n = varint(&mut bytes);
        match key & 7 {
            0 => all.push((key >> 3, n, &[][..])),
            2 => {
                let (own, rest) = bytes.split_at(n as usize);
                bytes = rest;
                all.push((key >> 3, n, own));
            }
            other => panic!("wire type {other} stands in no tile of ours"),
        }
    }
    all
}

/// Properties of a tile's features (Vector Tile Specification 2.1), values as texts.
pub fn features(tile: &[u8]) -> Vec<BTreeMap<String, String>> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut all = Vec::new();
    for (_, _, layer) in fields(tile) {
        let layer = fields(layer);
        let of = |field| layer.iter().filter(move |(own, ..)| *own == field);
        let keys: Vec<String> = of(3).map(|(.., key)| text(key)).collect();
        let values = of(4).map(|(.., value)| match fields(value)[0] {
            (1, _, own) => text(own),
            (_, n, _) => n.to_string(),
        });
        let values: Vec<String> = values.collect();
        for (.., feature) in of(2) {
            let tags = fields(feature).into_iter().find(|(field, ..)| *field == 2);
            let mut numbers = Vec::new();
            let mut n = 0;
            let mut shift = 0;
            for byte in tags.map_or(&[][..], |(.., own)| own) {
                n |= usize::from(byte & 127) << shift;
                shift += 7;
                if byte & 128 == 0 {
                    numbers.push(std::mem::take(&mut n));
                    shift = 0;
                }
            }
            let pairs = numbers.chunks(2);
            all.push(
                pairs
                    .map(|pair| (keys[pair[0]].clone(), values[pair[1]].clone()))
                    .collect(),
            );
        }
    }
    all
}

fn say(server: &Server, device: &str, value: f64) {
    let now = onemap_model::Timestamp::from_system(SystemTime::now()).ms();
    let body = json!({"device": device, "readings": [{"q": "pm10", "t": now, "v": value}]});
    server.post("/api/v1/readings", &body);
}

/// A street of lamps, all within one cell of a small tile.
fn street(server: &Server) {
    let lamp = |i: u32| {
        let at = [101.7701 + f64::from(i) * 1e-5, 36.6201];
        json!({"code": format!("lamp-{i}"), "kind": "component", "name": format!("灯{i}"), "division": "630102",
            "geometry": {"type": "Point", "coordinates": at}})
    };
    let lamps: Vec<Value> = (0..60).map(lamp).collect();
    server.post("/api/v1/entities/batch", &json!(lamps));
    let square = json!({"type": "Polygon", "coordinates": [[[101.9, 36.7], [101.91, 36.7], [101.91, 36.71], [101.9, 36.7]]]});
    server.post(
        "/api/v1/entities",
        &json!({"code": "slope", "kind": "hazard", "name": "斜坡", "division": "630103", "geometry": square}),
    );
}

#[test]
fn a_component_whose_device_alarms_is_red_alone_and_in_its_cluster_and_silent_is_unknown() {
    let server = Server::with_rules(&[("dust", DUST)]);
    street(&server);
    // Long enough that a loaded machine is not silence.
    server.add_device("air-1", &json!({"entity": "component/lamp-17", "cadence_s": 5}));
    server.add_device("air-2", &json!({"entity": "component/lamp-40", "cadence_s": 600}));
    let (alone, cluster) = (tile_at(101.77027, 36.6201, 16), tile_at(101.7701, 36.6201, 9));
    let look = |at: &str| {
        let (status, head, bytes) = tile(&server, "components", at, None);
        assert_eq!(status, 200, "{head:?}");
        (head["etag"].clone(), features(&bytes))
    };
    let lamp = |at: &str| {
        let found = look(at).1.into_iter().find(|f| f["code"] == "lamp-17");
        found.and_then(|own| own.get("state").cloned())
    };
    // Nothing heard yet: unknown, and so is the cluster that holds it.
    assert_eq!(lamp(&alone).as_deref(), Some("unknown"));
    let (etag, clusters) = look(&cluster);
    assert_eq!(
        (clusters.len(), &*clusters[0]["state"]),
        (1, "unknown"),
        "{clusters:?}"
    );
    assert_eq!((&*clusters[0]["count"], &*clusters[0]["unknown"]), ("60", "2"));
    assert_eq!(tile(&server, "components", &cluster, Some(&etag)).0, 304);
    // A lamp that no device stands on has no state at all.
    let bare = look(&alone)
        .1
        .into_iter()
        .find(|f| f["code"] == "lamp-3")
        .unwrap();
    assert!(!bare.contains_key("state"), "{bare:?}");

    let is = |code: &str, want: &str| {
        let shown = server.get(&format!("/api/v1/entities/{code}"));
        (shown["state"] == want).then_some(shown)
    };
    say(&server, "air-2", 50.0);
    wait_for("normal", Duration::from_secs(30), || is("lamp-40", "normal"));
    let shown = wait_for("the alarm", Duration::from_secs(30), || {
        say(&server, "air-1", 300.0);
        is("lamp-17", "abnormal")
    });
    assert_eq!(shown["devices"], json!(["air-1"]));
    assert_eq!(lamp(&alone).as_deref(), Some("abnormal"));
    let (red, clusters) = look(&cluster);
    let own = &clusters[0];
    assert_ne!(red, etag);
    assert_eq!(
        (&*own["state"], &*own["code"]),
        ("abnormal", "lamp-17"),
        "{own:?}"
    );
    assert_eq!(
        (&*own["count"], &*own["abnormal"], &*own["normal"]),
        ("60", "1", "1")
    );
    assert_eq!(tile(&server, "components", &cluster, Some(&etag)).0, 200);

    wait_for("the end of it", Duration::from_secs(30), || {
        say(&server, "air-1", 50.0);
        is("lamp-17", "normal")
    });
    let (well, clusters) = look(&cluster);
    assert_ne!(well, red);
    assert_eq!(
        (&*clusters[0]["state"], &*clusters[0]["normal"]),
        ("normal", "2"),
        "{clusters:?}"
    );
    assert_eq!(lamp(&alone).as_deref(), Some("normal"));

    // Silence for three cadences: unknown again, in both.
    wait_for("silence", Duration::from_secs(60), || is("lamp-17", "unknown"));
    assert_eq!(lamp(&alone).as_deref(), Some("unknown"));
    let (_, clusters) = look(&cluster);
    assert_eq!(
        (&*clusters[0]["state"], &*clusters[0]["normal"]),
        ("unknown", "1"),
        "{clusters:?}"
    );

    // It is taken away: the lamp has no state any more; the kill in between changes nothing.
    let server = server.kill_and_restart();
    assert_eq!(server.get("/api/v1/devices/air-1")["entity"], "component/lamp-17");
    let (status, _) = server.request("PATCH", "/api/v1/devices/air-1", Some(r#"{"entity":null}"#));
    assert_eq!(status, 200);
    server.caught_up();
    assert!(server.get("/api/v1/entities/lamp-17").get("state").is_none());
    let (_, _, bytes) = tile(&server, "components", &alone, None);
    let own = features(&bytes)
        .into_iter()
        .find(|f| f["code"] == "lamp-17")
        .unwrap();
    assert!(!own.contains_key("state"), "{own:?}");
}

#[test]
fn what_a_device_stands_on_is_there_is_its_own_division_s_and_keeps_its_device_under_a_new_code() {
    let server = Server::new();
    street(&server);
    let put = |body: &Value| server.request("POST", "/api/v1/devices", Some(&body.to_string()));
    for (entity, code) in [
        ("component/lamp-99", "unknown_entity"),
        ("hazard/lamp-1", "unknown_entity"),
        ("lamp-1", "bad_body"),
        ("lamp/1", "bad_body"),
        ("person/1", "bad_body"),
    ] {
        let (status, problem) = put(&json!({"id": "d", "name": "d", "kind": "k", "entity": entity}));
        assert_eq!(
            (status, &problem["code"]),
            (400, &json!(code)),
            "{entity}: {problem}"
        );
    }
    // From CSV, good and bad; a gauge on the hazard's area, which is drawn as it is.
    let csv = "id,entity\nd1,component/lamp-1\nd2,component/none\nd3,hazard/slope\n";
    let (status, done) = server.request("POST", "/api/v1/devices/import", Some(csv));
    assert_eq!((status, &done["imported"]), (200, &json!(2)), "{done}");
    assert_eq!(
        (&done["errors"][0]["line"], &done["errors"][0]["column"]),
        (&json!(3), &json!("entity"))
    );
    server.caught_up();
    let (_, _, bytes) = tile(&server, "hazards", &tile_at(101.905, 36.702, 13), None);
    let slope = &features(&bytes)[0];
    assert_eq!((&*slope["code"], &*slope["state"]), ("slope", "unknown"));
    // An integrator of one district lets nothing of another speak for it.
    let body = json!({"role": "integrator", "name": "城东", "division": "630102"});
    let integrator = server.post("/api/v1/tokens", &body)["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let ask = |entity: &str| {
        let body = json!({"id": "d4", "name": "d4", "kind": "k", "division": "630102", "entity": entity});
        let path = "/api/v1/devices?replace=true";
        crate::server::request(&server.http, &integrator, "POST", path, Some(&body.to_string()))
    };
    let (status, problem) = ask("hazard/slope");
    assert_eq!(
        (status, &problem["code"]),
        (400, &json!("unknown_entity")),
        "{problem}"
    );
    assert_eq!(ask("component/lamp-2").0, 201);
    server.caught_up();
    // Recoded: the device follows, and says so.
    let map = "old,new,kind\nlamp-1,L1,component\n";
    let (status, done) = server.request("POST", "/api/v1/entities/recode", Some(map));
    assert_eq!((status, &done["followed"]["devices"]), (200, &json!(1)), "{done}");
    server.caught_up();
    assert_eq!(server.get("/api/v1/devices/d1")["entity"], "component/L1");
    assert_eq!(server.get("/api/v1/entities/L1")["devices"], json!(["d1"]));
    // The old code names the thing of now, and is refused with it.
    let (_, problem) = put(&json!({"id": "d", "name": "d", "kind": "k", "entity": "component/lamp-1"}));
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("is `component/L1` now"),
        "{problem}"
    );
    let server = server.kill_and_restart();
    assert_eq!(server.get("/api/v1/entities/lamp-1")["devices"], json!(["d1"]));
}
