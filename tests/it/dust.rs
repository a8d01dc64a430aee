//! Days of sand and dust: named for a place, marked in what the law says, left out of the year's particles.

use onemap_model::Timestamp;
use serde_json::{Value, json};

use crate::server::{CONFIG, Server, request};

const DAY_MS: i64 = 86_400_000;

fn server(dir: &std::path::Path) -> Server {
    let config = format!("{CONFIG}[ingest]\nlive_max_age_days = 3650\n");
    std::fs::write(dir.join("onemap.toml"), config).unwrap();
    let server = Server::start_in(dir);
    server.add_device("air-1", &json!({"cadence_s": 3600, "division": "630103"}));
    server
}

/// Every hour of 2025: PM2.5 and SO2 at 20, but for the 100th and 101st day, on which both are at 400.
fn say_a_year(server: &Server) {
    let start = Timestamp::parse("2025-01-01T00:00:00+08:00").unwrap().ms();
    let mut readings = Vec::new();
    for hour in 1..=365 * 24 {
        let day = (hour - 1) / 24;
        let value = if (99..101).contains(&day) { 400.0 } else { 20.0 };
        for quantity in ["pm2_5", "so2"] {
            readings.push(json!({"q": quantity, "t": start + hour * 3_600_000, "v": value}));
        }
    }
    for piece in readings.chunks(2000) {
        let body = json!({"device": "air-1", "readings": piece});
        server.post("/api/v1/readings/import", &body);
    }
    server.caught_up();
}

#[test]
fn days_of_sand_and_dust_are_marked_and_left_out_of_the_years_particles() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    server.add_device("air-2", &json!({"division": "630102"}));
    say_a_year(&server);
    let year = || {
        let path = "/api/v1/standards/air?device=air-1&by=year&from=2024-06-01T00:00:00%2B08:00&to=2026-06-01T00:00:00%2B08:00";
        let items = server.get(path)["items"].as_array().unwrap().clone();
        assert_eq!(items.len(), 1, "whole years only");
        items[0].clone()
    };
    let whole = year();
    assert_eq!(
        json!([
            whole["end"],
            whole["rules_verified"],
            whole["values"]["pm2_5"]["standard"]
        ]),
        json!(["2026-01-01T00:00:00+08:00", false, "HJ 663-2013"])
    );
    let of = |item: &Value, name: &str| {
        let value = &item["values"][name];
        let mean = (value["mean"].as_f64().unwrap() * 1000.0).round() / 1000.0;
        json!([
            mean,
            value["n_days"],
            value["n_sand_dust"],
            value["is_valid"],
            value["mean_judged"]["judged"]
        ])
    };
    // (363 x 20 + 2 x 400) / 365.
    assert_eq!(of(&whole, "pm2_5"), json!([22.082, 365, 0, true, "met"]));

    // The 100th day by an hour of it at the device, the 101st by the whole division, another place's at no time.
    let first = Timestamp::parse("2025-01-01T00:00:00+08:00").unwrap().ms() + 99 * DAY_MS;
    let at = |ms: i64| Timestamp::from_ms(ms).to_string();
    let notice = |place: &str, id: &str, from: i64, to: i64| {
        let mut body =
            json!({"from": at(from), "to": at(to), "source": "沙尘天气影响认定 2025-3", "name": "王"});
        body[place] = id.into();
        server.post("/api/v1/dust", &body)
    };
    let hour = notice("device", "air-1", first + 5 * 3_600_000, first + 6 * 3_600_000);
    notice("division", "630100", first + DAY_MS, first + 2 * DAY_MS);
    notice("division", "630102", first + 3 * DAY_MS, first + 9 * DAY_MS);
    assert_eq!(
        json!([hour["device"], hour["by"], hour["source"]]),
        json!(["air-1", "local owner", "沙尘天气影响认定 2025-3"])
    );
    let items = |by: &str, from: i64, to: i64| {
        let span = format!("from={}&to={}", at(from), at(to)).replace('+', "%2B");
        let path = format!("/api/v1/standards/air?device=air-1&by={by}&{span}");
        let items = server.get(&path)["items"].as_array().unwrap().clone();
        items
            .iter()
            .map(|item| item["dust"].as_bool().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        items("day", first - DAY_MS, first + 4 * DAY_MS),
        [false, true, true, false, false]
    );
    assert_eq!(
        items("hour", first + 4 * 3_600_000, first + 7 * 3_600_000),
        [false, true, false]
    );
    let without = year();
    assert_eq!(of(&without, "pm2_5"), json!([20.0, 363, 2, true, "met"]));
    assert_eq!(
        of(&without, "so2"),
        json!([22.082, 365, 0, true, "met"]),
        "no particle"
    );

    // What was withdrawn marks nothing, and stays readable; before, it marked.
    let path = format!("/api/v1/dust/{}/withdraw", hour["id"]);
    let why = json!({"name": "王", "reason": "认定撤回"});
    let withdrawn = server.post(&path, &why);
    assert_eq!(withdrawn["withdrawn"]["reason"], "认定撤回");
    assert_eq!(server.request("POST", &path, Some(&why.to_string())).0, 409);
    assert_eq!(of(&year(), "pm2_5")[2], 1);
    assert_eq!(server.get("/api/v1/dust")["items"].as_array().unwrap().len(), 3);
    let server = server.kill_and_restart();
    // Of a device is what was named for it and for the divisions that it lies in.
    let sources = |more: &str| -> Vec<Value> {
        let items = server.get(&format!("/api/v1/dust?{more}"))["items"]
            .as_array()
            .unwrap()
            .clone();
        items
            .iter()
            .map(|row| json!([row["device"], row["division"]]))
            .collect()
    };
    let (at_device, of_city, of_other) = (
        json!(["air-1", null]),
        json!([null, "630100"]),
        json!([null, "630102"]),
    );
    assert_eq!(sources("device=air-1"), [of_city.clone(), at_device.clone()]);
    assert_eq!(sources("device=air-2"), [of_other.clone(), of_city.clone()]);
    assert_eq!(sources("division=630103"), [of_city.clone(), at_device.clone()]);
    assert_eq!(sources("division=630102"), [of_other.clone(), of_city.clone()]);
    assert_eq!(sources("division=630100"), [of_other, of_city.clone(), at_device]);
    assert_eq!(sources("device=air-1&division=630102"), [of_city]);
    for (more, code) in [
        ("device=air-9", "unknown_device"),
        ("division=110000", "unknown_division"),
        ("division=63", "bad_parameter"),
    ] {
        let (_, problem) = server.request("GET", &format!("/api/v1/dust?{more}"), None);
        assert_eq!(problem["code"], code, "{more}");
    }
    let of_device = server.get("/api/v1/dust?device=air-1");
    assert_eq!(of_device["items"][1]["withdrawn"]["by"], "local owner");
}

#[test]
fn dust_is_named_and_seen_inside_ones_own_division() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    server.add_device("air-3", &json!({"division": "630103001"}));
    let token = |role: &str, division: &str| {
        let made = server.post("/api/v1/tokens", &json!({"role": role, "division": division}));
        made["token"].as_str().unwrap().to_owned()
    };
    let (own, other) = (token("officer", "630103"), token("officer", "630102"));
    let viewer = token("viewer", "630103");
    let body = |more: Value| {
        let mut body = json!({"from": "2026-03-15T00:00:00+08:00", "to": "2026-03-16T00:00:00+08:00",
                              "source": "通报 3", "name": "王"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body.to_string()
    };
    let ask = |token: &str, method: &str, path: &str, body: Option<&str>| {
        let (status, answer) = request(&server.http, token, method, path, body);
        (
            status,
            answer["code"].as_str().unwrap_or_default().to_owned(),
            answer,
        )
    };
    for (who, more, want, code) in [
        (&own, json!({"division": "630102"}), 403, "forbidden"),
        (&own, json!({"division": "630100"}), 403, "forbidden"),
        (&other, json!({"device": "air-1"}), 404, "unknown_device"),
        (&viewer, json!({"device": "air-1"}), 403, "forbidden"),
        (&own, json!({}), 400, "bad_place"),
        (
            &own,
            json!({"device": "air-1", "division": "630103"}),
            400,
            "bad_place",
        ),
        (&own, json!({"device": "air-1", "source": " "}), 400, "bad_act"),
        (
            &own,
            json!({"device": "air-1", "to": "2026-03-15T00:00:00+08:00"}),
            400,
            "bad_range",
        ),
        (&own, json!({"division": "630103009"}), 404, "unknown_division"),
        (&own, json!({"division": "630103001"}), 201, ""),
        (&own, json!({"device": "air-1"}), 201, ""),
    ] {
        let (status, found, answer) = ask(who, "POST", "/api/v1/dust", Some(&body(more.clone())));
        assert_eq!((status, found.as_str()), (want, code), "{more}: {answer}");
    }
    let city = server.post(
        "/api/v1/dust",
        &serde_json::from_str(&body(json!({"division": "630100"}))).unwrap(),
    );
    let n = |token: &str| {
        ask(token, "GET", "/api/v1/dust", None).2["items"]
            .as_array()
            .unwrap()
            .len()
    };
    // What is named for the whole city is seen in each of its divisions, and withdrawn in none.
    assert_eq!((n(&own), n(&viewer), n(&other)), (3, 3, 1));
    let withdraw = format!("/api/v1/dust/{}/withdraw", city["id"]);
    let why = json!({"name": "王", "reason": "误"}).to_string();
    assert_eq!(ask(&own, "POST", &withdraw, Some(&why)).0, 403);
    assert_eq!(
        ask(&own, "POST", "/api/v1/dust/9999/withdraw", Some(&why)).1,
        "unknown_dust"
    );
    assert_eq!(ask(&own, "GET", "/api/v1/dust?ch=0", None).1, "bad_parameter");
    assert_eq!(ask("", "GET", "/api/v1/dust", None).0, 401);
}
