//! What the API answers is what `docs/schemas` says.

use serde_json::{Value, json};

use crate::alarms::DUST;
use crate::server::{Server, wait_for};

fn schema(name: &str) -> Value {
    let path = format!("{}/docs/schemas/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The part of JSON Schema that our schemas use; every fault is one line.
fn faults(schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_i64() || n.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = |t: &Value| t == kind || (t == "number" && kind == "integer");
    match &schema["type"] {
        Value::String(_) if !fits(&schema["type"]) => {
            found.push(format!("{at} is {kind}, not {}", schema["type"]))
        }
        Value::Array(any) if !any.iter().any(fits) => {
            found.push(format!("{at} is {kind}, not one of {any:?}"))
        }
        _ => {}
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        found.push(format!("{at} is {value}, not one of {words:?}"));
    }
    for name in schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if value.is_object() && value.get(name).is_none() {
            found.push(format!("{at} lacks {name}"));
        }
    }
    for (name, part) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(inner) = value.get(name) {
            faults(part, inner, &format!("{at}.{name}"), found);
        }
    }
    for (i, item) in value.as_array().into_iter().flatten().enumerate() {
        if schema["items"].is_object() {
            faults(&schema["items"], item, &format!("{at}[{i}]"), found);
        }
    }
}

pub fn check(name: &str, value: &Value) {
    let mut found = Vec::new();
    faults(&schema(name), value, name, &mut found);
    assert!(found.is_empty(), "{found:#?}\n{value:#}");
    let known = schema(name)["properties"].as_object().unwrap().clone();
    let unknown: Vec<_> = value
        .as_object()
        .unwrap()
        .keys()
        .filter(|key| !known.contains_key(*key))
        .collect();
    assert!(
        unknown
            .iter()
            .all(|key| ["history", "severity_zh"].contains(&key.as_str())),
        "{name} says nothing of {unknown:?}"
    );
}

#[test]
fn answers_are_as_the_schemas_say() {
    let server = Server::with_rules(&[("dust", DUST)]);
    server.add_device("air-1", &json!({"cadence_s": 5, "division": "630102"}));
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms();
    server.post(
        "/api/v1/readings",
        &json!({"device": "air-1", "readings": [{"q": "pm10", "t": now, "v": 400}]}),
    );
    let alert = wait_for("the alert", std::time::Duration::from_secs(15), || {
        server.get("/api/v1/alerts?state=open")["items"]
            .as_array()?
            .first()
            .cloned()
    });
    check("alert", &alert);
    let id = alert["id"].as_str().unwrap();
    check(
        "alert",
        &server.post(
            &format!("/api/v1/alerts/{id}/ack"),
            &json!({"name": "王", "minutes": 5}),
        ),
    );
    check("reading", &server.latest("air-1", "pm10").unwrap());
    let story = server.get(&format!("/api/v1/alerts/{id}"))["history"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(story.len(), 2);
    for mut transition in story {
        transition["alert_state"] = "open".into();
        check("transition", &transition);
    }
    let command = server.post(
        "/api/v1/commands",
        &json!({"device": "air-1", "method": "ping", "ttl_s": 60}),
    );
    check("command", &command);
    check(
        "command",
        &server.get(&format!("/api/v1/commands/{}", command["id"])),
    );
    let ready = std::fs::read_to_string(server.dir.join("ready.json")).unwrap();
    check("ready", &serde_json::from_str(&ready).unwrap());
    let openapi = server.get("/api/openapi.json");
    assert_eq!(openapi["openapi"], "3.1.0");
    for path in openapi["paths"]
        .as_object()
        .unwrap()
        .keys()
        .filter(|p| !p.contains('{'))
    {
        if openapi["paths"][path]["get"].is_object()
            && !path.contains("live")
            && !path.contains("feeds")
            && path != "/query"
            // Most need a question; tests/it/prometheus asks them.
            && !path.starts_with("/prometheus/")
        {
            let path = match path.as_str() {
                "/api/v1/why" => "/api/v1/why?device=air-1&quantity=pm10",
                "/api/v1/ledger" => "/api/v1/ledger?device=air-1",
                "/api/v1/export" => "/api/v1/export?format=csv",
                "/api/v1/entities/export" => "/api/v1/entities/export?format=geojson",
                "/api/v1/aggregate" => "/api/v1/aggregate?quantity=pm2_5&step=1h",
                "/api/v1/skill" => continue, // Of a series; tests/it/forecasts asks it.
                "/api/v1/standards/stage" => continue, // Of a station; tests/it/hydrology asks it.
                path @ ("/api/v1/column" | "/api/v1/nearest" | "/api/v1/reverse") => {
                    &format!("{path}?lon=101.78&lat=36.62")
                }
                "/api/v1/within" => "/api/v1/within?bbox=101,36,102,37",
                "/api/v1/section" => "/api/v1/section?line=101.7,36.6;101.8,36.6",
                path @ ("/api/v1/geocode" | "/api/v1/geocode/suggest") => &format!("{path}?q=%E5%9F%8E"),
                path if path.starts_with("/api/v1/session/oidc") => continue, // Of a provider; tests/it/oidc asks it.
                path if path.starts_with("/api/v1/standards/") => &format!("{path}?device=air-1"),
                path => path,
            };
            let (status, answer) = server.request("GET", path, None);
            let want = if path == "/ping" { 204 } else { 200 };
            assert_eq!(status, want, "{path}: {answer}");
        }
    }
}
