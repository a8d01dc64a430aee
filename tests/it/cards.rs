//! A storm over MQTT: a gateway goes dark with what hangs on it, and a desk sees cards.

use std::time::Duration;

use serde_json::{Value, json};

use crate::schemas;
use crate::server::{Server, peer, request, wait_for};

const RULES: &str = "
version: 1
rules:
  - id: pm10-dust
    name: {zh: 扬尘, en: Dust}
    severity: critical
    when: {above: {quantity: pm10, raise: 250 ug/m3, clear: 200 ug/m3}}
    advice: {zh: 派人查看, en: Send someone}
  - id: device-silent
    name: {zh: 设备失联, en: Device silent}
    severity: minor
    when: {no_data: {for: 4 s}}
    advice: {zh: 检查供电与网络, en: Check power and network}
";
const N_CHILDREN: usize = 30;
const SOON: Duration = Duration::from_secs(30);

fn items(answer: &Value) -> &Vec<Value> {
    answer["items"].as_array().unwrap()
}

#[test]
fn a_gateway_that_goes_dark_is_one_card_and_hides_no_critical_alarm() {
    if peer("/usr/bin/mosquitto_pub").is_none() {
        return;
    }
    let server = Server::with_rules(&[("storm", RULES)]);
    let gateway = server.add_device(
        "gw",
        &json!({"is_gateway": true, "cadence_s": 1, "kind": "gateway", "division": "630104", "name": "北川网关"}),
    );
    let mut parts = Vec::new();
    for i in 0..N_CHILDREN {
        let division = if i % 2 == 0 { "630102" } else { "630104" };
        let position = json!({"lon": 101.7 + i as f64 / 100.0, "lat": 36.6});
        let child = json!({"gateway": "gw", "cadence_s": 1, "division": division, "position": position});
        let id = format!("child-{i}");
        server.add_device(&id, &child);
        let pm10 = if i == 7 { 400 } else { 40 };
        parts.push(format!(r#""{id}":[{{"pm10":{pm10}}}]"#));
    }
    // While the devices are registered the first may be missed already; now all speak, the gateway too.
    server.publish(&gateway, "v1/devices/me/telemetry", r#"{"battery":90}"#);
    let said = format!("{{{}}}", parts.join(","));
    let out = server.publish(&gateway, "v1/gateway/telemetry", &said);
    assert!(out.status.success(), "{out:?}");
    let cards = wait_for("the storm", SOON, || {
        let cards = server.get("/api/v1/alerts/cards");
        (cards["alerts"] == N_CHILDREN + 2 && cards["total"] == 2).then_some(cards)
    });
    let [critical, dark] = &items(&cards)[..] else {
        panic!("{cards:#}");
    };
    assert_eq!(critical["severity"], "critical");
    assert_eq!(critical["members"][0]["device"], "child-7");
    assert_eq!(critical["counts"]["alerts"], 1, "{critical:#}");
    assert_eq!(
        (&dark["kind"], &dark["gateway"], &dark["severity"]),
        (&json!("gateway"), &json!("gw"), &json!("minor"))
    );
    assert_eq!(dark["counts"]["alerts"], N_CHILDREN + 1);
    assert_eq!(
        dark["headline"]["zh"],
        "网关 北川网关 失联，其下 30 台设备状态不明"
    );
    assert_eq!(dark["members"][0]["device"], "gw", "the parent leads");
    assert_eq!(dark["members"].as_array().unwrap().len(), 10);

    // All of its alerts, in pages.
    let id = dark["id"].as_str().unwrap();
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("/api/v1/alerts/cards/{id}?limit=12{after}"));
        assert_eq!(page["card"]["id"], id);
        seen.extend(items(&page).iter().map(|alert| alert["id"].clone()));
        items(&page)
            .iter()
            .for_each(|alert| schemas::check("alert", alert));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    let n_pages = seen.len();
    seen.sort_by_key(Value::to_string);
    seen.dedup();
    assert_eq!((n_pages, seen.len()), (N_CHILDREN + 1, N_CHILDREN + 1));

    // Only what is severe enough; and who has one division sees and counts only its own.
    assert_eq!(server.get("/api/v1/alerts/cards?severity=major")["total"], 1);
    assert_eq!(server.get("/api/v1/alerts/cards?division=630104")["alerts"], 17);
    let viewer = server.post("/api/v1/tokens", &json!({"role": "viewer", "division": "630102"}));
    let viewer = viewer["token"].as_str().unwrap();
    let get = |path: &str| request(&server.http, viewer, "GET", path, None);
    let own = get("/api/v1/alerts/cards").1;
    assert_eq!(own["alerts"], 15, "{own:#}");
    let card = &items(&own)[0];
    assert_eq!(
        (&card["gateway"], &card["counts"]["devices"]),
        (&json!("gw"), &json!(15))
    );
    assert!(!own.to_string().contains("北川网关"), "the gateway is elsewhere");
    assert_eq!(get(&format!("/api/v1/alerts/cards/{id}")).0, 404);
    for (path, code) in [
        ("?severity=huge", "bad_severity"),
        ("?limit=0", "bad_limit"),
        ("?limit=1001", "bad_limit"),
        ("?colour=red", "bad_parameter"),
    ] {
        let (status, problem) = server.request("GET", &format!("/api/v1/alerts/cards{path}"), None);
        assert_eq!((status, problem["code"].as_str()), (400, Some(code)), "{path}");
    }

    // What has not changed is not sent again.
    let address = format!("{}/api/v1/alerts/cards", server.http);
    let ask = |tag: Option<&str>| {
        let mut request = ureq::get(&address).header("authorization", &format!("Bearer {}", server.token));
        if let Some(tag) = tag {
            request = request.header("if-none-match", tag);
        }
        let answer = request.call().unwrap();
        let tag = answer.headers()["etag"].to_str().unwrap().to_owned();
        (answer.status().as_u16(), tag)
    };
    let (status, tag) = ask(None);
    assert_eq!(status, 200);
    assert_eq!(ask(Some(&tag)), (304, tag.clone()));

    // The cards are the same after a restart.
    let ids = |cards: &Value| {
        let ids = items(cards).iter().map(|card| card["id"].clone());
        ids.collect::<Vec<_>>()
    };
    let server = server.kill_and_restart();
    server.caught_up();
    let cards_then = wait_for("the cards", SOON, || {
        let cards_then = server.get("/api/v1/alerts/cards");
        (cards_then["alerts"] == N_CHILDREN + 2).then_some(cards_then)
    });
    assert_eq!(ids(&cards_then), ids(&cards), "{cards_then:#}");
}

#[test]
fn an_alert_is_shelved_put_back_and_assigned() {
    let dust = RULES.split("  - id: device-silent").next().unwrap();
    let server = Server::with_rules(&[("dust", dust)]);
    server.add_device("air-1", &json!({"cadence_s": 3600}));
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms();
    server.post(
        "/api/v1/readings",
        &json!({"device": "air-1", "readings": [{"q": "pm10", "t": now, "v": 300.0}]}),
    );
    let id = wait_for("the alert", SOON, || {
        let open = server.get("/api/v1/alerts?state=open");
        Some(items(&open).first()?["id"].as_str()?.to_owned())
    });
    let path = |verb: &str| format!("/api/v1/alerts/{id}/{verb}");
    for (verb, body, status, code) in [
        ("shelve", json!({"name": "王", "minutes": 5}), 400, "no_reason"),
        (
            "shelve",
            json!({"name": "", "note": "校准", "minutes": 5}),
            400,
            "no_name",
        ),
        (
            "shelve",
            json!({"name": "王", "note": "校准", "minutes": 10_081}),
            400,
            "bad_expiry",
        ),
        ("shelve", json!({"name": "王", "note": "校准"}), 400, "bad_expiry"),
        ("unshelve", json!({"name": "王"}), 409, "not_shelved"),
        ("assign", json!({"name": "王", "to": " "}), 400, "no_assignee"),
    ] {
        let (got, problem) = server.request("POST", &path(verb), Some(&body.to_string()));
        assert_eq!(
            (got, problem["code"].as_str()),
            (status, Some(code)),
            "{verb} {body}"
        );
    }
    let officer = server.post("/api/v1/tokens", &json!({"role": "officer"}));
    let body = json!({"name": "王", "note": "校准", "minutes": 5}).to_string();
    let (status, _) = request(
        &server.http,
        officer["token"].as_str().unwrap(),
        "POST",
        &path("shelve"),
        Some(&body),
    );
    assert_eq!(status, 403, "the desk shelves, an officer does not");
    let shelved = server.post(
        &path("shelve"),
        &json!({"name": "王队", "note": "校准", "minutes": 5}),
    );
    schemas::check("alert", &shelved);
    assert_eq!(
        (&shelved["state"], &shelved["shelved"]["note"]),
        (&json!("open"), &json!("校准"))
    );
    let counts = |state: &str| items(&server.get(&format!("/api/v1/alerts?state={state}"))).len();
    assert_eq!((counts("open"), counts("shelved"), counts("all")), (0, 1, 1));
    let cards = server.get("/api/v1/alerts/cards");
    assert_eq!((&cards["total"], &cards["shelved"]), (&json!(0), &json!(1)));
    let system = server.get("/api/v1/system");
    assert_eq!(
        (
            &system["counts"]["alerts_open"],
            &system["counts"]["alerts_shelved"]
        ),
        (&json!(0), &json!(1))
    );

    let server = server.kill_and_restart();
    server.caught_up();
    let back = server.post(&path("unshelve"), &json!({"name": "王队"}));
    assert_eq!(back["shelved"], Value::Null);
    let assigned = server.post(
        &path("assign"),
        &json!({"name": "王队", "to": "李工", "note": "现场查看"}),
    );
    assert_eq!(assigned["assigned"]["to"], "李工");
    let story = server.get(&format!("/api/v1/alerts/{id}"));
    let edges: Vec<_> = story["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| &t["edge"])
        .collect();
    assert_eq!(edges, ["raised", "shelved", "unshelved", "assigned"]);
    let cards = server.get("/api/v1/alerts/cards");
    assert_eq!(items(&cards)[0]["headline"]["zh"], "air-1：扬尘");
}

const DRAINS: &str = "
version: 1
rules:
  - id: drain-full
    name: {zh: 管道满溢, en: Drain is full}
    severity: major
    when: {above: {quantity: liquid_level, raise: 1 m, clear: 0.9 m}}
    advice: {zh: 派人查看, en: Send someone}
";

#[test]
fn devices_on_one_drain_are_one_card_and_on_two_drains_side_by_side_they_are_two() {
    let server = Server::with_rules(&[("drains", DRAINS)]);
    // 20 m apart; the second goes on for 3.2 km in two pipes.
    let line =
        |lat: f64, from: f64, to: f64| json!({"type": "LineString", "coordinates": [[from, lat], [to, lat]]});
    let pipe = |code: &str, geometry: Value| json!({"kind": "pipe", "code": code, "name": code, "geometry": geometry, "attributes": {"管线类型": "雨水"}});
    let pipes = json!([
        pipe("a", line(36.6, 101.7, 101.71)),
        pipe("b1", line(36.600_18, 101.7, 101.71)),
        pipe("b2", line(36.600_18, 101.71, 101.736)),
    ]);
    server.post("/api/v1/entities/batch", &pipes);
    let add = |id: &str, lon: f64, lat: f64, entity: &str| {
        let placed = json!({"kind": "drain", "position": {"lon": lon, "lat": lat}, "entity": entity});
        server.add_device(id, &placed);
        let reading = json!({"q": "liquid_level", "v": 2.0});
        server.post("/api/v1/readings", &json!({"device": id, "readings": [reading]}));
    };
    add("on-a", 101.7, 36.6, "pipe/a");
    add("on-b", 101.7, 36.600_18, "pipe/b1");
    add("down-b", 101.735, 36.600_18, "pipe/b2");
    let shown = |cards: &Value| -> Vec<(Vec<String>, Value)> {
        let members = |card: &Value| {
            let members = card["members"].as_array().unwrap().iter();
            let mut ids: Vec<String> = members
                .map(|m| m["device"].as_str().unwrap().to_owned())
                .collect();
            ids.sort();
            ids
        };
        let mut all: Vec<_> = items(cards)
            .iter()
            .map(|card| (members(card), card["network"].clone()))
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    };
    let cards = wait_for("three alarms", SOON, || {
        let cards = server.get("/api/v1/alerts/cards");
        (cards["alerts"] == 3).then_some(cards)
    });
    let drain = json!({"medium": "drain", "zh": "雨水管网", "en": "drain network"});
    let names = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        shown(&cards),
        [
            (names(&["down-b", "on-b"]), drain.clone()),
            (names(&["on-a"]), Value::Null)
        ]
    );
    let headline = cards.to_string();
    assert!(headline.contains("在同一雨水管网"), "{headline}");
    // A pipe between the two joins them.
    let between = json!({"type": "LineString", "coordinates": [[101.705, 36.6], [101.705, 36.600_18]]});
    server.post("/api/v1/entities", &pipe("link", between));
    wait_for("one card", SOON, || {
        let cards = server.get("/api/v1/alerts/cards");
        (shown(&cards) == [(names(&["down-b", "on-a", "on-b"]), drain.clone())]).then_some(())
    });
}
