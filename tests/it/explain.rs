//! Why an alert is there, why a rule says nothing, and what desks had to look at.

use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Server, wait_for};

const RULES: &str = "
version: 1
rules:
  - id: level-high
    name: {zh: 水位高, en: Level high}
    applies_to: {kind: river_gauge}
    severity: major
    when: {above: {quantity: water_level, raise: 2.5 m, clear: 2.3 m}}
    panels: {forecast: water_level}
    advice: {zh: 派人查看, en: Send someone}
    clause: {text: 运行阈值}
  - id: rise-and-rain
    name: {zh: 涨水且有雨, en: Rising in the rain}
    applies_to: {kind: river_gauge}
    severity: minor
    when:
      all:
        - change: {quantity: water_level, over: 1 h, rises: 0.3 m, clear: 0.1 m}
        - above: {quantity: rain, raise: 5 mm, clear: 2 mm}
    panels:
      forecast: {none: {zh: 由两项合成，不作预报, en: Made of two facts and not foreseen}}
    advice: {zh: 看雨情, en: Look at the rain}
  - id: air-only
    name: {zh: 扬尘, en: Dust}
    applies_to: {kind: air_station}
    severity: major
    when: {above: {quantity: pm10, raise: 250 ug/m3}}
    advice: {zh: 降尘, en: Suppress dust}
";
const SOON: Duration = Duration::from_secs(20);

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_millis() as i64
}

fn say(server: &Server, at_ms: i64, values: &[(&str, f64)]) {
    let readings: Vec<Value> = values
        .iter()
        .map(|(quantity, value)| json!({"q": quantity, "t": at_ms, "v": value}))
        .collect();
    server.post(
        "/api/v1/readings",
        &json!({"device": "gauge-1", "readings": readings}),
    );
}

fn one<'a>(answer: &'a Value, rule: &str) -> &'a Value {
    let rules = answer["rules"].as_array().unwrap();
    rules
        .iter()
        .find(|row| row["rule"] == rule)
        .unwrap_or_else(|| panic!("{rule} in {answer:#}"))
}

#[test]
fn an_alert_says_why_it_is_there_and_a_quiet_rule_why_not() {
    let server = Server::with_rules(&[("river", RULES)]);
    let gauge = json!({"kind": "river_gauge", "division": "630102", "name": "朝阳水文站", "name_en": "Chaoyang gauge",
        "position": {"lon": 101.77, "lat": 36.63}, "cadence_s": 60});
    server.add_device("gauge-1", &gauge);
    server.add_device("gauge-2", &gauge);

    let why = |query: &str| server.get(&format!("/api/v1/why?device=gauge-1&quantity=water_level{query}"));
    let unheard = why("&rule=level-high");
    assert_eq!(unheard["aside"]["aside"], "unheard", "{unheard:#}");
    assert_eq!(why("&rule=air-only")["aside"]["aside"], "kind");
    assert_eq!(why("&rule=nothing")["aside"]["aside"], "unknown_rule");

    say(&server, now_ms() - 120_000, &[("water_level", 2.10)]);
    let quiet = wait_for("a quiet rule", SOON, || {
        let answer = why("&rule=level-high");
        (answer["rules"][0]["progress"] == "quiet").then_some(answer)
    });
    let sentence = quiet["rules"][0]["why"]["zh"].as_str().unwrap();
    assert!(
        sentence.starts_with("水位 2.1") && sentence.ends_with("限值为高于 2.5 m；条件不成立，不告警"),
        "{sentence}"
    );
    let both = why("");
    let facts = &one(&both, "rise-and-rain")["facts"];
    assert_eq!(facts[1]["holds"], Value::Null, "nobody knows of rain: {facts:#}");

    let at = now_ms();
    say(&server, at, &[("water_level", 2.71), ("rain", 0.5)]);
    let alert = wait_for("the alert", SOON, || {
        let alerts = server.get("/api/v1/alerts?state=open");
        alerts["items"].as_array().unwrap().first().cloned()
    });
    let id = alert["id"].as_str().unwrap();
    let told = server.get(&format!("/api/v1/alerts/{id}/explain"));
    assert_eq!(
        (&told["by"], &told["progress"], &told["rule_changed"]),
        (&json!("engine"), &json!("raised"), &json!(false))
    );
    assert_eq!(told["inputs"][0]["value"], 2.71);
    assert!(told["inputs"][0]["position"].as_u64().unwrap() > 0);
    let panels = &told["panels"];
    assert_eq!(panels["evidence"]["is"], true);
    assert_eq!(
        panels["place"]["text"]["zh"],
        "朝阳水文站（630102），东经 101.77000°，北纬 36.63000°"
    );
    assert_eq!(panels["forecast"]["text"]["zh"], "水位没有今后的预报");
    assert_eq!(
        panels["control"]["text"]["zh"],
        "建议：派人查看；未向设备下达命令"
    );

    // Rising, and no rain to speak of: both facts are known, one is not so.
    let both = why("");
    let weighed = one(&both, "rise-and-rain");
    assert_eq!(
        (
            &weighed["facts"][0]["holds"],
            &weighed["facts"][1]["holds"],
            &weighed["progress"]
        ),
        (&json!(true), &json!(false), &json!("quiet")),
        "{weighed:#}"
    );

    // As it was before: the history of then, in an engine of its own.
    let path = format!(
        "/api/v1/why?device=gauge-1&quantity=water_level&rule=level-high&at={}",
        at + 1000
    );
    let then = wait_for("that time to be past", SOON, || {
        let (status, answer) = server.request("GET", &path, None);
        (status == 200 && answer["by"] == "history").then_some(answer)
    });
    assert_eq!(
        (&then["by"], &then["rules"][0]["progress"]),
        (&json!("history"), &json!("raised")),
        "{then:#}"
    );
    assert_eq!(then["rules"][0]["inputs"][0].get("position"), None);
    let day_before = why(&format!("&rule=level-high&at={}", at - 86_400_000));
    assert_eq!(day_before["aside"]["aside"], "unheard");
    let path = format!(
        "/api/v1/why?device=gauge-1&quantity=water_level&at={}",
        at + 3_600_000
    );
    let (status, told) = server.request("GET", &path, None);
    assert_eq!((status, &told["code"]), (400, &json!("bad_time")), "{told:#}");

    // What a desk had to look at.
    let load = server.get("/api/v1/alerts/load");
    assert_eq!(load["n_raised"], 1);
    assert_eq!(load["desks"][0]["division"], "630102");
    assert_eq!(load["bad_actors"][0]["rule_name"]["zh"], "水位高");

    // An ended alert is told from the record.
    say(&server, now_ms(), &[("water_level", 1.9)]);
    let told = wait_for("its end", SOON, || {
        let told = server.get(&format!("/api/v1/alerts/{id}/explain"));
        (told["by"] == "record").then_some(told)
    });
    assert_eq!(told["progress"], "ended");
    assert!(told["why"]["zh"].as_str().unwrap().ends_with("告警解除"));
}
