//! What a station says now is looked at field by field, as what was refused is.

use serde_json::json;

use super::station::{PW, Station, says, server};
use crate::server::request;

#[test]
fn the_newest_frames_of_a_station_are_spelt_out_and_its_password_is_covered() {
    let (_folder, server) = server("");
    server.add_device("N1", &json!({"profile": "hj212-air", "division": "630102"}));
    server.post("/api/v1/devices/N1/token", &json!({"password": PW}));
    assert_eq!(server.get("/api/v1/devices/N1/frames")["items"], json!([]));
    let mut station = Station::connect(&server);
    for value in [31, 32] {
        let stamp = onemap_model::Timestamp::from_system(std::time::SystemTime::now());
        let stamp = onemap_wire::hj212::stamp::written(stamp);
        station.send(&says(
            "N1",
            &value.to_string(),
            "2011",
            "5",
            &format!("DataTime={stamp};a34004-Rtd={value}"),
        ));
        assert_eq!(station.next().cn(), "9014");
    }
    server.caught_up();
    let items = server.get("/api/v1/devices/N1/frames")["items"].clone();
    assert_eq!(items.as_array().unwrap().len(), 2);
    assert_eq!(items[0]["frames"][0]["frame"]["mn"], "N1");
    assert_eq!(
        items[0]["frames"][0]["readings"][0]["value"], 32.0,
        "newest first: {items}"
    );
    assert_eq!(items[1]["frames"][0]["readings"][0]["value"], 31.0);
    assert!(
        items[0]["payload"]
            .as_str()
            .unwrap()
            .contains(&format!("PW={PW}"))
    );
    assert_eq!(
        server.get("/api/v1/devices/N1/frames?limit=1")["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    let token = |division: &str| {
        let made = server.post(
            "/api/v1/tokens",
            &json!({"role": "viewer", "name": division, "division": division}),
        );
        made["token"].as_str().unwrap().to_owned()
    };
    let ask = |token: &str, path: &str| request(&server.http, token, "GET", path, None);
    let (status, seen) = ask(&token("630102"), "/api/v1/devices/N1/frames");
    assert_eq!((status, &seen["items"][0]["masked"]), (200, &json!(true)));
    assert!(!seen.to_string().contains(PW), "{seen}");
    assert_eq!(ask(&token("630105"), "/api/v1/devices/N1/frames").0, 404);
    assert_eq!(
        server
            .request("GET", "/api/v1/devices/N1/frames?limit=17", None)
            .0,
        400
    );
    assert_eq!(
        server.request("GET", "/api/v1/devices/nobody/frames", None).0,
        404
    );
}
