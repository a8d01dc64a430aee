//! A drill on a running server: its alerts are recorded and call nobody, and what goes on behind it is real.

use std::time::Duration;

use serde_json::{Value, json};

use crate::alarms::DUST;
use crate::server::{Server, request, wait_for};

const SOON: Duration = Duration::from_secs(20);

fn in_seconds(s: i64) -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_millis() as i64 + s * 1000
}

fn post(server: &Server, device: &str, value: f64) {
    let readings = json!([{"q": "pm10", "t": in_seconds(0), "v": value}]);
    server.post(
        "/api/v1/readings",
        &json!({"device": device, "readings": readings}),
    );
}

fn alert_of(server: &Server, device: &str) -> Option<Value> {
    let alerts = server.get("/api/v1/alerts?state=open");
    let items = alerts["items"].as_array().unwrap().clone();
    items
        .into_iter()
        .find(|alert| alert["series"]["device"] == device)
}

fn edges(server: &Server, id: &Value) -> Vec<String> {
    let alert = server.get(&format!("/api/v1/alerts/{}", id.as_str().unwrap()));
    let story = alert["history"].as_array().unwrap();
    story
        .iter()
        .map(|told| told["edge"].as_str().unwrap().to_owned())
        .collect()
}

fn put(server: &Server, token: &str, id: &str, drill: &Value) -> (u16, Value) {
    let path = format!("/api/v1/drills/{id}");
    request(&server.http, token, "PUT", &path, Some(&drill.to_string()))
}

#[test]
fn a_drill_is_recorded_and_calls_nobody_also_through_a_kill_and_is_real_when_it_goes_on() {
    let server = Server::with_rules(&[("dust", DUST)]);
    for id in ["air-1", "air-2"] {
        server.add_device(id, &json!({"division": "630102", "cadence_s": 3600}));
    }
    let desk = json!({"name": "城东区", "division": "630102", "severity": "major",
        "steps": [{"after_min": 0, "post": "值班员"}], "standby": {"值班员": ["王队"]}});
    let (status, said) = server.request("PUT", "/api/v1/duty/east", Some(&desk.to_string()));
    assert_eq!(status, 200, "{said}");

    let drill = |from: i64, to: i64| json!({"name": "扬尘演练", "division": "630102", "devices": ["air-1"], "from": from, "to": to});
    let (from, to) = (in_seconds(-1), in_seconds(3600));
    let (status, shown) = put(&server, &server.token, "dust", &drill(from, to));
    assert_eq!((status, &shown["state"]), (200, &json!("on")), "{shown}");
    for (wrong, code) in [
        (drill(from, from), "bad_drill"),
        (drill(from, from + 4 * 86_400_000), "bad_drill"),
        (drill(in_seconds(-20), in_seconds(-10)), "bad_drill"),
        (
            json!({"name": "全部", "division": "630102", "from": from, "to": to}),
            "bad_drill",
        ),
    ] {
        let (status, problem) = put(&server, &server.token, "other", &wrong);
        assert_eq!((status, &problem["code"]), (400, &json!(code)), "{problem}");
    }
    // A commander of another division sees no such drill, silences nothing of it, and may not take its name.
    let new = json!({"name": "north", "role": "commander", "division": "630105"});
    let foreign = server.post("/api/v1/tokens", &new);
    let foreign = foreign["token"].as_str().unwrap();
    let (_, list) = request(&server.http, foreign, "GET", "/api/v1/drills", None);
    assert_eq!(list["items"], json!([]));
    assert_eq!(put(&server, foreign, "dust", &drill(from, to)).0, 403);
    let mut own = drill(from, to);
    own["division"] = json!("630105");
    let (status, problem) = put(&server, foreign, "dust", &own);
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("known_drill")),
        "{problem}"
    );
    assert_eq!(
        request(&server.http, foreign, "DELETE", "/api/v1/drills/dust", None).0,
        404
    );

    for device in ["air-1", "air-2"] {
        post(&server, device, 300.0);
        wait_for("the alert", SOON, || {
            post(&server, device, 310.0);
            alert_of(&server, device)
        });
    }
    let [drilled, real] = ["air-1", "air-2"].map(|device| alert_of(&server, device).unwrap());
    assert_eq!(drilled["drill"], "dust");
    assert_eq!(real["drill"], Value::Null);
    wait_for("the page of what is real", SOON, || {
        edges(&server, &real["id"])
            .contains(&"paged".to_owned())
            .then_some(())
    });
    let cards = server.get("/api/v1/alerts/cards");
    let marks: Vec<&Value> = cards["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|card| &card["drill"])
        .collect();
    assert_eq!(marks, [&Value::Null, &json!("dust")], "{cards:#}");
    let drafted = server.post(
        &format!("/api/v1/alerts/{}/warning", drilled["id"].as_str().unwrap()),
        &json!({"name": "王队"}),
    );
    assert_eq!(drafted["draft"]["content"]["standing"], "exercise", "{drafted:#}");
    let mut content = drafted["draft"]["content"].clone();
    content["standing"] = json!("actual");
    let path = format!("/api/v1/warnings/{}", drafted["id"]);
    let real = json!({"name": "王", "content": content}).to_string();
    let (status, problem) = server.request("PUT", &path, Some(&real));
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("drill_warning")),
        "{problem}"
    );

    let server = server.kill_and_restart();
    server.caught_up();
    assert_eq!(alert_of(&server, "air-1").unwrap()["drill"], "dust");
    assert!(!edges(&server, &drilled["id"]).contains(&"paged".to_owned()));
    let drills = server.get("/api/v1/drills");
    let shown = &drills["items"][0];
    assert_eq!(
        (&shown["state"], &shown["open"]),
        (&json!("on"), &json!(1)),
        "{drills:#}"
    );

    assert_eq!(server.request("DELETE", "/api/v1/drills/dust", None).0, 200);
    assert_eq!(server.request("DELETE", "/api/v1/drills/dust", None).0, 404);
    // A desk is paged once a minute at most.
    let told = wait_for("what goes on to be real and told", 6 * SOON, || {
        let told = edges(&server, &drilled["id"]);
        told.contains(&"paged".to_owned()).then_some(told)
    });
    assert_eq!(told, ["raised", "drill_over", "paged"]);
    assert_eq!(alert_of(&server, "air-1").unwrap()["drill"], Value::Null);
    assert_eq!(server.get("/api/v1/drills")["items"][0]["state"], "over");
    let load = server.get("/api/v1/alerts/load");
    assert_eq!(
        load["n_raised"], 2,
        "what goes on behind its drill is raised there, once: {load:#}"
    );
}

#[test]
fn what_is_named_has_to_be_there_and_who_comes_second_is_told() {
    let server = Server::with_rules(&[("dust", DUST)]);
    server.add_device("air-1", &json!({"division": "630102", "cadence_s": 3600}));
    let drill = |devices: &[&str], rules: &[&str], division: &str| {
        json!({"name": "演练", "division": division, "devices": devices, "rules": rules,
            "from": in_seconds(600), "to": in_seconds(1200)})
    };
    let wrong = drill(&["air-1", "air-9"], &["pm10-dust", "none"], "639999");
    let (status, problem) = put(&server, &server.token, "d", &wrong);
    assert_eq!(
        (status, &problem["code"]),
        (422, &json!("unknown_names")),
        "{problem}"
    );
    let errors = problem["errors"].as_array().unwrap();
    let at: Vec<&str> = errors.iter().filter_map(|error| error["at"].as_str()).collect();
    assert_eq!(at, ["division", "devices[1]", "rules[1]"], "{problem}");
    assert!(errors[1]["message_zh"].as_str().unwrap().contains("air-9"));
    assert!(
        problem["detail_zh"].as_str().unwrap().contains("没有规则 none"),
        "{problem}"
    );
    let desk = |rules: &[&str], division: &str| {
        json!({"name": "城东区", "division": division, "severity": "major", "rules": rules,
            "steps": [{"after_min": 0, "post": "值班员"}], "standby": {"值班员": ["王队"]}})
    };
    let man = |desk: &Value| server.request("PUT", "/api/v1/duty/east", Some(&desk.to_string()));
    for wrong in [desk(&["none"], "630102"), desk(&["pm10-dust"], "639999")] {
        let (status, problem) = man(&wrong);
        assert_eq!(
            (status, &problem["code"]),
            (422, &json!("unknown_names")),
            "{problem}"
        );
    }
    assert_eq!(man(&desk(&["pm10-dust"], "630102")).0, 200);
    // Who sees a part of the city names what he sees: another's device is one that is not there.
    let north = json!({"name": "north", "role": "commander", "division": "630105"});
    let north = server.post("/api/v1/tokens", &north)["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let theirs = drill(&["air-1"], &[], "630105");
    let (status, problem) = put(&server, &north, "n", &theirs);
    assert_eq!(
        (status, &problem["code"]),
        (422, &json!("unknown_names")),
        "{problem}"
    );

    // Whatever the order of two at once: all that are answered with 200 were told what is there when they were done, and
    // of a new name nobody's word is lost in silence.
    for n in 0..10 {
        let id = format!("race-{n}");
        let each = ["甲", "乙"].map(|name| {
            let mut drill = drill(&["air-1"], &[], "630102");
            drill["name"] = json!(name);
            let (http, token, id) = (server.http.clone(), server.token.clone(), id.clone());
            std::thread::spawn(move || {
                let path = format!("/api/v1/drills/{id}");
                request(&http, &token, "PUT", &path, Some(&drill.to_string()))
            })
        });
        let answers = each.map(|one| one.join().unwrap());
        for (answer, name) in answers.iter().zip(["甲", "乙"]) {
            match answer.0 {
                200 => assert_eq!(answer.1["name"], name, "{}", answer.1),
                status => assert_eq!(
                    (status, &answer.1["code"]),
                    (409, &json!("drill_changed")),
                    "{}",
                    answer.1
                ),
            }
        }
        let list = server.get("/api/v1/drills");
        let held = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|drill| drill["id"] == *id);
        let held = held.unwrap()["name"].clone();
        let won: Vec<&Value> = answers
            .iter()
            .filter(|a| a.0 == 200)
            .map(|a| &a.1["name"])
            .collect();
        assert!(won.contains(&&held), "{held} of {won:?}");
    }
}
