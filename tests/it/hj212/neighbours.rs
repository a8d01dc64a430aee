//! A station of another division that logs in with its own password: it speaks for itself, and who looks after the first
//! division hears nothing of it.

use onemap_wire::hj212::Answered;
use serde_json::json;

use super::station::{LIMIT, PW, Station, frame, says, server};
use crate::server::{Server, request, wait_for};

const OURS: &str = "N630102";
const THEIRS: &str = "N630105";

fn register(server: &Server, mn: &str, division: &str) {
    server.add_device(mn, &json!({"profile": "hj212-air", "division": division}));
    server.post(&format!("/api/v1/devices/{mn}/token"), &json!({"password": PW}));
}

fn now() -> String {
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now());
    onemap_wire::hj212::stamp::written(now)
}

#[test]
fn a_station_of_another_division_speaks_for_itself_only() {
    let (_folder, server) = server("");
    register(&server, OURS, "630102");
    register(&server, THEIRS, "630105");
    let mut ours = Station::connect(&server);
    let data = |mn: &str, value: u32| {
        says(
            mn,
            "1",
            "2011",
            "5",
            &format!("DataTime={};a34004-Rtd={value}", now()),
        )
    };
    ours.send(&data(OURS, 31));
    assert_eq!(ours.next().cn(), "9014");
    // Theirs is let in on our station's own connection, too: passwords decide, not lines.
    ours.send(&data(THEIRS, 41));
    let answer = ours.next();
    assert_eq!((answer.cn(), answer.mn()), ("9014", THEIRS));
    // A command to ours waits. Theirs knows its request number and answers it in its own name.
    let body = json!({"device": OURS, "method": "read_clock", "params": {}});
    let id = server.post("/api/v1/commands", &body)["id"].as_u64().unwrap();
    let asked = wait_for("the request to ours", LIMIT, || {
        ours.within(LIMIT).filter(|segment| segment.cn() == "1011")
    });
    let mut theirs = Station::connect(&server);
    let answers = |mn: &str, pw: &str, cn: &str, cp: &str| {
        let qn = asked.qn();
        frame(&format!(
            "QN={qn};ST=91;CN={cn};PW={pw};MN={mn};Flag=4;CP=&&{cp}&&"
        ))
    };
    theirs.send(&answers(THEIRS, PW, "9011", "QnRtn=2"));
    theirs.send(&answers(THEIRS, PW, "9012", "ExeRtn=2"));
    // And in ours, with a password that is not ours: it is not let in.
    theirs.send(&answers(OURS, "654321", "9012", "ExeRtn=2"));
    theirs.send(&data(THEIRS, 42));
    assert_eq!(theirs.next().cn(), "9014");
    server.caught_up();
    let state = server.get(&format!("/api/v1/commands/{id}"));
    assert_ne!(state["final"], true, "{state}");
    ours.send(&answers(OURS, PW, "9011", "QnRtn=1"));
    ours.send(&answers(OURS, PW, "9012", "ExeRtn=1"));
    wait_for("ours to have done it", LIMIT, || {
        let command = server.get(&format!("/api/v1/commands/{id}"));
        (command["state"] == "executed").then_some(())
    });
    assert_eq!(server.latest(OURS, "pm2_5").unwrap()["value"], 31.0);
    assert_eq!(server.latest(THEIRS, "pm2_5").unwrap()["value"], 42.0);

    // Who looks after our division finds ours and nothing of theirs.
    let made = server.post(
        "/api/v1/tokens",
        &json!({"role": "operator", "name": "desk", "division": "630102"}),
    );
    let token = made["token"].as_str().unwrap();
    let get = |path: &str| request(&server.http, token, "GET", path, None);
    for path in [
        "/api/v1/latest?limit=100",
        "/api/v1/devices?limit=100",
        "/api/v1/quarantine?limit=100",
        "/api/v1/commands?limit=100",
    ] {
        let (status, all) = get(path);
        if status == 403 {
            continue; // none of it is theirs to read
        }
        assert_eq!(status, 200, "{path}: {all}");
        assert!(!all.to_string().contains(THEIRS), "{path}: {all}");
    }
    assert!(get("/api/v1/latest?limit=100").1.to_string().contains(OURS));
    for (method, path, body) in [
        ("GET", format!("/api/v1/devices/{THEIRS}"), None),
        (
            "POST",
            "/api/v1/commands".to_owned(),
            Some(json!({"device": THEIRS, "method": "read_clock", "params": {}}).to_string()),
        ),
    ] {
        let (status, answer) = request(&server.http, token, method, &path, body.as_deref());
        assert!(matches!(status, 403 | 404), "{method} {path}: {status} {answer}");
    }
    // Nor was theirs asked anything.
    assert!(
        std::iter::from_fn(|| theirs.within(std::time::Duration::from_millis(500)))
            .all(|segment| Answered::of(&segment).is_some())
    );
}
