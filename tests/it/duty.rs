//! A desk, who sits at it, and whom an alert reaches that nobody takes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::alarms::DUST;
use crate::server::{Server, request, wait_for};

const SOON: Duration = Duration::from_secs(20);

fn desk() -> Value {
    json!({
        "name": "城东区", "division": "630102", "severity": "major",
        "steps": [{"after_min": 0, "post": "值班员"}, {"after_min": 10, "post": "带班领导"}],
        "standby": {"值班员": ["王队"]}
    })
}

fn post(server: &Server, value: f64) {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let at = since.unwrap().as_millis() as i64;
    let readings = json!([{"q": "pm10", "t": at, "v": value}]);
    server.post(
        "/api/v1/readings",
        &json!({"device": "air-1", "readings": readings}),
    );
}

fn pages(server: &Server, id: &str) -> Vec<Value> {
    let alert = server.get(&format!("/api/v1/alerts/{id}"));
    let story = alert["history"].as_array().unwrap();
    story
        .iter()
        .filter(|told| told["edge"] == "paged")
        .cloned()
        .collect()
}

#[test]
fn who_is_on_duty_is_called_once_also_through_a_restart_and_a_foreign_desk_is_nobodys_to_take() {
    let server = Server::with_rules(&[("dust", DUST)]);
    server.add_device("air-1", &json!({"division": "630102", "cadence_s": 3600}));
    let put = |server: &Server, token: &str, id: &str, desk: &Value| {
        request(
            &server.http,
            token,
            "PUT",
            &format!("/api/v1/duty/{id}"),
            Some(&desk.to_string()),
        )
    };
    let (status, shown) = put(&server, &server.token, "east", &desk());
    assert_eq!(status, 200, "{shown}");
    assert_eq!(shown["on_duty"]["值班员"], json!(["王队"]));
    assert_eq!(shown["on_duty"]["带班领导"], json!([]));

    let mut twice = desk();
    twice["steps"][1]["after_min"] = json!(0);
    let (status, problem) = put(&server, &server.token, "east", &twice);
    assert_eq!((status, &problem["code"]), (400, &json!("bad_desk")), "{problem}");

    // A commander of another division sees no such desk, may not man it, and may not take its name.
    let foreign = server.post(
        "/api/v1/tokens",
        &json!({"name": "north", "role": "commander", "division": "630105"}),
    );
    let foreign = foreign["token"].as_str().unwrap();
    let (_, list) = request(&server.http, foreign, "GET", "/api/v1/duty", None);
    assert_eq!(list["items"], json!([]));
    assert_eq!(put(&server, foreign, "east", &desk()).0, 403);
    let mut own = desk();
    own["division"] = json!("630105");
    let (status, problem) = put(&server, foreign, "east", &own);
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("known_desk")),
        "{problem}"
    );
    assert_eq!(put(&server, foreign, "north", &own).0, 200);
    assert_eq!(
        request(&server.http, foreign, "DELETE", "/api/v1/duty/east", None).0,
        404
    );

    post(&server, 300.0);
    let alert = wait_for("the alert", SOON, || {
        post(&server, 310.0);
        let alerts = server.get("/api/v1/alerts?state=open");
        alerts["items"].as_array().unwrap().first().cloned()
    });
    let id = alert["id"].as_str().unwrap().to_owned();
    let page = wait_for("the page", SOON, || pages(&server, &id).first().cloned());
    assert_eq!(page["message_zh"], "城东区通知值班员 王队");
    assert_eq!(
        (&page["act"]["name"], &page["act"]["to"]),
        (&json!("east"), &json!("王队"))
    );
    let desks = server.get("/api/v1/duty");
    let east = &desks["items"][0];
    assert_eq!(
        (&east["id"], &east["waiting"]),
        (&json!("east"), &json!(1)),
        "{desks:#}"
    );

    let server = server.kill_and_restart();
    server.caught_up();
    assert_eq!(server.get("/api/v1/duty")["items"][0]["id"], "east");
    server.post(
        &format!("/api/v1/alerts/{id}/ack"),
        &json!({"name": "王队", "note": "在看", "minutes": 5}),
    );
    assert_eq!(pages(&server, &id), [page], "nobody is called twice");
    assert_eq!(server.get("/api/v1/duty")["items"][0]["waiting"], 0);
    assert_eq!(server.request("DELETE", "/api/v1/duty/east", None).0, 200);
    assert_eq!(server.request("DELETE", "/api/v1/duty/east", None).0, 404);
}
