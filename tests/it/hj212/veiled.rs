//! Who sees the passwords that stand in refused bytes.

use serde_json::json;

use super::station::{LIMIT, Station, frame, register, server};
use crate::server::{request, wait_for};

const WRONG: &str = "Zq7x_P";

#[test]
fn passwords_in_the_quarantine_are_for_those_who_may_give_a_station_one() {
    let (_folder, server) = server("frame_seconds = 1\n");
    register(&server, "M1");
    let mut station = Station::connect(&server);
    station.send(&frame(&format!(
        "QN=1;ST=22;CN=2011;PW={WRONG};MN=M1;Flag=5;CP=&&&&"
    )));
    station.next();
    // One that is cut off after it.
    station.send(format!("##0200QN=2;ST=22;CN=2011;PW={WRONG};MN=M1\r\n").as_bytes());
    wait_for("both refusals", LIMIT, || {
        let all = server.get("/api/v1/quarantine");
        (all["items"].as_array().unwrap().len() == 2).then_some(())
    });
    let token = |role: &str| {
        let body = json!({"name": role, "role": role});
        let made = server.post("/api/v1/tokens", &body);
        made["token"].as_str().unwrap().to_owned()
    };
    let hex: String = WRONG.bytes().map(|b| format!("{b:02x}")).collect();
    for (role, sees) in [("operator", false), ("commander", false), ("integrator", true)] {
        let token = token(role);
        let get = |path: &str| {
            let (status, shown) = request(&server.http, &token, "GET", path, None);
            assert_eq!(status, 200, "{shown}");
            shown
        };
        let all = get("/api/v1/quarantine?device=M1");
        let id = &all["items"][0]["id"];
        let one = get(&format!("/api/v1/quarantine/{id}"));
        for shown in [&get("/api/v1/quarantine"), &all, &one] {
            let text = shown.to_string();
            assert_eq!(
                text.contains(WRONG) && text.contains(&hex),
                sees,
                "{role}: {text}"
            );
            assert_eq!(text.contains("PW=******"), !sees, "{role}: {text}");
        }
        assert_eq!(one["frames"][0]["frame"]["mn"], "M1");
        assert_eq!(one["masked"], if sees { json!(null) } else { json!(true) });
        let is_as_long = one["payload"].as_str().unwrap().len() as u64 == one["size"];
        assert!(is_as_long, "{one}");
        // It is not found letter by letter, either.
        let found = |text: &str| {
            let found = get(&format!("/api/v1/quarantine?limit=1&text={text}"));
            (
                !found["items"].as_array().unwrap().is_empty(),
                !found["next"].is_null(),
            )
        };
        assert_eq!(found("PW=Zq"), (sees, sees), "{role}");
        assert_eq!(found("CN=2011"), (true, true), "{role}");
    }
}
