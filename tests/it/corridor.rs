//! A reading travels from a foreign device to the API.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::server::{Server, peer, wait_for};

#[test]
fn a_foreign_device_s_reading_is_kept_placed_and_seen_and_no_other_device_hears_it() {
    if peer("mosquitto_pub").is_none() || peer("mosquitto_sub").is_none() {
        return;
    }
    let server = Server::new();
    let district = json!({"code": "630102", "kind": "division", "name": "城东区",
        "geometry": {"type": "Polygon", "coordinates": [[[101.7,36.5],[101.9,36.5],[101.9,36.7],[101.7,36.7],[101.7,36.5]]]}});
    server.post("/api/v1/entities", &district);
    let token = server.add_device(
        "station-7",
        &json!({"position": {"lon": 101.8, "lat": 36.6}, "cadence_s": 60}),
    );
    let other = server.add_device("station-8", &json!({}));
    let listener = Command::new("mosquitto_sub")
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &server.mqtt_port.to_string(),
            "-u",
            &other,
            "-t",
            "v1/devices/me/#",
            "-v",
            "-d",
            "-W",
            "4",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("the other device's subscription", Duration::from_secs(10), || {
        (server.metric("onemap_mqtt_connections ")? >= 1).then_some(())
    });

    let sent = server.publish(&token, "v1/devices/me/telemetry", r#"{"temperature":21.5}"#);
    assert!(sent.status.success(), "{sent:?}");
    wait_for("the reading", Duration::from_secs(10), || {
        server.latest("station-7", "temperature")
    });
    // A value is seen as soon as it is folded, what it is judged as at the end of its batch.
    server.caught_up();
    let latest = server.latest("station-7", "temperature").unwrap();
    assert_eq!(latest["value"], 21.5);
    assert_eq!(latest["unit"], "Cel");
    assert_eq!(latest["division"], "630102");
    assert_eq!(latest["state"], "normal");
    assert_eq!(latest["quality"], json!(["stamped_here"]));
    let series = latest["series"].as_u64().unwrap();
    let values = server.get(&format!("/api/v1/series/{series}/values"));
    assert_eq!(values["items"].as_array().unwrap().len(), 1);
    assert_eq!(values["items"][0]["v"], 21.5);
    let in_district = server.get("/api/v1/latest?division=630102");
    assert_eq!(in_district["items"].as_array().unwrap().len(), 1);
    let elsewhere = server.get("/api/v1/latest?division=630103");
    assert_eq!(elsewhere["items"].as_array().unwrap().len(), 0);

    let heard = listener.wait_with_output().unwrap();
    let heard = String::from_utf8_lossy(&heard.stdout);
    assert!(
        heard.contains("SUBACK"),
        "the other device was subscribed: {heard}"
    );
    assert!(!heard.contains("21.5"), "a device heard another: {heard}");
}

#[test]
fn stamps_duplicates_revisions_and_late_values_are_told_apart() {
    let server = Server::new();
    server.add_device("gauge", &json!({"kind": "river_gauge"}));
    let now = server.get("/api/v1/system")["now"].as_str().unwrap().to_owned();
    let now = onemap_model::Timestamp::parse(&now).unwrap().ms() / 1000 * 1000;
    let post = |t: i64, v: f64| {
        let body = json!({"device": "gauge", "readings": [{"q": "water_level", "t": t, "v": v}]});
        assert_eq!(server.post("/api/v1/readings", &body)["readings"], 1);
    };
    post(now - 60_000, 1.0);
    post(now, 2.0);
    post(now, 2.0); // duplicate
    post(now, 2.5); // revision
    post(now - 120_000, 0.5); // late
    let shown = wait_for("all five", Duration::from_secs(5), || {
        let latest = server.latest("gauge", "water_level")?;
        let id = latest["series"].as_u64()?;
        let items = server.get(&format!("/api/v1/series/{id}/values"))["items"]
            .as_array()?
            .clone();
        (items.len() == 3 && latest["value"] == 2.5).then_some((id, items))
    });
    let (id, items) = shown;
    let values: Vec<f64> = items.iter().map(|i| i["v"].as_f64().unwrap()).collect();
    assert_eq!(values, [0.5, 1.0, 2.5]);
    assert_eq!(items[0]["quality"], json!(["resent"]));
    assert_eq!(items[2]["quality"], json!(["revised"]));
    let versions = server.get(&format!("/api/v1/series/{id}/values?revisions=true"));
    let values: Vec<f64> = versions["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["v"].as_f64().unwrap())
        .collect();
    assert_eq!(values, [0.5, 1.0, 2.0, 2.5], "both values of one time are kept");
    let stepped = server.get(&format!(
        "/api/v1/series/{id}/values?step=1m&agg=mean&from={}&to={}",
        now - 240_000,
        now + 1000
    ));
    let stepped: Vec<_> = stepped["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["n"].as_u64().unwrap())
        .collect();
    assert_eq!(stepped.iter().sum::<u64>(), 3);
    assert!(stepped.contains(&0), "a gap stays a gap: {stepped:?}");
}

#[test]
fn map_tiles_and_metadata_are_served_behind_the_token() {
    let server = Server::new();
    let district = json!({"code": "630102", "kind": "division", "name": "城东区",
        "geometry": {"type": "Polygon", "coordinates": [[[101.7,36.5],[101.9,36.5],[101.9,36.7],[101.7,36.7],[101.7,36.5]]]}});
    server.post("/api/v1/entities", &district);
    let json = server.get("/tiles/divisions.json");
    assert_eq!(json["tilejson"], "3.0.0");
    let address = json["tiles"][0]
        .as_str()
        .unwrap()
        .replace("{z}/{x}/{y}", "8/200/99");
    let (status, _) = server.request("GET", address.strip_prefix(&server.http).unwrap(), None);
    assert_eq!(
        status, 200,
        "the address in the TileJSON leads to the tile: {address}"
    );
    let (status, _) = server.request("GET", "/tiles/divisions/8/200/99.mvt", None);
    assert_eq!(status, 200, "Xining lies in 8/200/99");
    let (status, _) = server.request("GET", "/tiles/divisions/8/0/0.mvt", None);
    assert_eq!(status, 204, "an empty tile is 204");
    let (status, problem) = server.request("GET", "/tiles/divisions/3/9/0.mvt", None);
    assert_eq!((status, &problem["code"]), (400, &json!("bad_tile")));
    let (status, problem) =
        crate::server::request(&server.http, "wrong", "GET", "/tiles/divisions.json", None);
    assert_eq!((status, &problem["code"]), (401, &json!("unauthorized")));
}
