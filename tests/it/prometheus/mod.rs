//! onemap as a Prometheus: the same expressions give what VictoriaMetrics gives on the same data, Grafana's calls
//! are answered as Grafana reads them, and nobody sees another's series.

mod data;
mod expressions;
mod grafana;
mod peer;

use serde_json::{Value, json};

use crate::alarms::DUST;
use crate::server::{Server, request, wait_for};

/// Percent-encoded for a URL or a form.
fn encoded(text: &str) -> String {
    let each = text.bytes().map(|b| match b {
        b if b.is_ascii_alphanumeric() => char::from(b).to_string(),
        b => format!("%{b:02X}"),
    });
    each.collect()
}

fn get(server: &Server, token: &str, path: &str) -> (u16, Value) {
    request(
        &server.http,
        token,
        "GET",
        &format!("/prometheus/api/v1/{path}"),
        None,
    )
}

#[test]
fn nobody_sees_the_series_of_another_division() {
    let server = Server::new();
    let data = data::Data::new();
    data.to_onemap(&server);
    let viewer = server.post("/api/v1/tokens", &json!({"role": "viewer", "division": "630103"}));
    let token = viewer["token"].as_str().unwrap();
    let names = |token: &str, path: &str| -> Vec<String> {
        let (status, answer) = get(&server, token, path);
        assert_eq!(
            (status, &answer["status"]),
            (200, &json!("success")),
            "{path}: {answer}"
        );
        serde_json::from_value(answer["data"].clone()).unwrap()
    };
    assert_eq!(names(token, "label/division/values"), ["630103"]);
    assert_eq!(
        names(&server.token, "label/division/values"),
        ["630102", "630103"]
    );
    let own = ["air-3", "river-1", "river-2", "valve-1"];
    assert_eq!(names(token, "label/device/values"), own);
    assert!(!names(token, "label/__name__/values").contains(&"o3".to_owned()));
    assert!(names(&server.token, "label/__name__/values").contains(&"o3".to_owned()));

    let at = data.start_s() + 3000;
    let n_series = |token: &str, query: &str| {
        let (status, answer) = get(
            &server,
            token,
            &format!("query?time={at}&query={}", encoded(query)),
        );
        assert_eq!(status, 200, "{answer}");
        answer["data"]["result"].as_array().unwrap().len()
    };
    assert_eq!(n_series(&server.token, "pm2_5"), 3);
    assert_eq!(n_series(token, "pm2_5"), 1);
    assert_eq!(n_series(token, r#"pm2_5{division="630102"}"#), 0);
    assert_eq!(n_series(token, "o3"), 0);
    assert_eq!(n_series(token, "sum(rate(counter[5m]))"), 1);
    let (_, series) = get(
        &server,
        token,
        &format!("series?match[]={}", encoded(r#"{device=~".+"}"#)),
    );
    for labels in series["data"].as_array().unwrap() {
        assert_eq!(labels["division"], "630103", "{labels}");
    }
    let (_, metadata) = get(&server, token, "metadata");
    let described = metadata["data"].as_object().unwrap();
    assert!(
        described.contains_key("water_level") && !described.contains_key("o3"),
        "{described:?}"
    );
    assert_eq!(described["rain_total"][0]["type"], "counter");

    // Without a token nothing, with one that may not look neither.
    for path in [
        "query?query=1",
        "labels",
        "status/buildinfo",
        "rules",
        "metadata",
        "alerts",
    ] {
        assert_eq!(get(&server, "nobody", path).0, 401, "{path}");
    }
    let auditor = server.post("/api/v1/tokens", &json!({"role": "audit_admin"}));
    let auditor = auditor["token"].as_str().unwrap();
    for path in [
        "query?query=pm2_5",
        "labels",
        "status/buildinfo",
        "rules",
        "metadata",
        "alerts",
        "series?match[]=pm2_5",
    ] {
        let (status, answer) = get(&server, auditor, path);
        assert_eq!((status, &answer["status"]), (403, &json!("error")), "{path}");
    }
}

#[test]
fn bad_questions_have_clear_answers() {
    let server = Server::new();
    let ask = |path: &str| get(&server, &server.token, path);
    for (path, status, kind, word) in [
        ("query", 400, "bad_data", "query"),
        ("query?query=", 400, "bad_data", "query"),
        ("query?query=sum(", 400, "bad_data", "parse error"),
        ("query?query=1&time=yesterday", 400, "bad_data", "yesterday"),
        ("query?query=1&timeout=-1", 400, "bad_data", "timeout"),
        ("query?query=1&quality=nice", 400, "bad_data", "nice"),
        ("query?query=1&limit=x", 400, "bad_data", "limit"),
        (
            "query_range?query=1&start=5&end=1&step=1",
            400,
            "bad_data",
            "before the start",
        ),
        ("query_range?query=1&start=0&end=1", 400, "bad_data", "step"),
        (
            "query_range?query=1&start=0&end=1&step=0",
            400,
            "bad_data",
            "step",
        ),
        (
            "query_range?query=1&start=0&end=11000&step=1",
            400,
            "bad_data",
            "11000",
        ),
        (
            "query_range?query=a[5m]&start=0&end=1&step=1",
            400,
            "bad_data",
            "range vector",
        ),
        (
            "query?query=histogram_quantile(0.9,a)",
            422,
            "execution",
            "histogram_quantile",
        ),
        ("query?query=a%2Bon(b)fill(0)c", 422, "execution", "fill"),
        ("series", 400, "bad_data", "match[]"),
        ("series?match[]={}", 400, "bad_data", "matcher"),
        ("series?match[]=rate(a[5m])", 400, "bad_data", "selector"),
        ("labels?start=x", 400, "bad_data", "start"),
        ("label/a-b/values", 400, "bad_data", "a-b"),
    ] {
        let (got, answer) = ask(path);
        assert_eq!(
            (got, &answer["status"]),
            (status, &json!("error")),
            "{path}: {answer}"
        );
        assert_eq!(answer["errorType"], kind, "{path}");
        assert!(
            answer["error"].as_str().unwrap().contains(word),
            "{path}: {answer}"
        );
    }
    // What would take the stack, the memory or the time of the server is told so.
    let deep = format!("query?query={}1{}", "(".repeat(8000), ")".repeat(8000));
    let minus = format!("query?query={}a", "-".repeat(16_000));
    let chain = format!("query?query=1{}", "%2B1".repeat(8000));
    let long = format!("query?query={}", "a".repeat(17_000));
    let pattern = format!("query?query={}", encoded(r#"{a=~"(\\w{500}){50}"}"#));
    let many = format!("query?query={}", encoded(&r#"{a=~"b"} or "#.repeat(65)));
    let fine = "query?query=max_over_time(vector(1)[30d:1s])".to_owned();
    for path in [deep, minus, chain, long, pattern, many, fine] {
        let (status, answer) = ask(&path);
        let start: String = path.chars().take(40).collect();
        assert!(matches!(status, 400 | 422), "{start}: {status} {answer}");
        assert!(answer["error"].as_str().unwrap().len() > 10, "{start}: {answer}");
    }
    // An unknown path is no page of the screen.
    assert_eq!(ask("targets").0, 404);
    // A form over its size.
    let form = format!("query={}", "1".repeat(70_000));
    let (status, _) = server.request("POST", "/prometheus/api/v1/query", Some(&form));
    assert_eq!(status, 400, "no form, no query");
    assert_eq!(grafana::post(&server, "/api/v1/query", &[], &form).0, 413);
}

#[test]
fn marks_choose_values_and_open_alerts_are_firing_ones() {
    let server = Server::with_rules(&[("dust", DUST)]);
    server.add_device("air-1", &json!({"cadence_s": 5, "division": "630102"}));
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms();
    // The first lies outside what the dictionary believes.
    for (at, value) in [(now - 2000, 1e6), (now - 1000, 300.0), (now, 310.0)] {
        let body = json!({"device": "air-1", "readings": [{"q": "pm10", "t": at, "v": value}]});
        server.post("/api/v1/readings", &body);
    }
    server.caught_up();
    let count = |quality: &str| {
        let query = encoded("count_over_time(pm10[1m])");
        let path = format!("query?query={query}&time={}{quality}", now / 1000 + 1);
        let (status, answer) = get(&server, &server.token, &path);
        assert_eq!(status, 200, "{answer}");
        answer["data"]["result"][0]["value"][1].clone()
    };
    assert_eq!(count(""), "3");
    assert_eq!(count("&quality=!suspect"), "2");
    assert_eq!(count("&quality=suspect"), "1");

    let alert = wait_for("the alert", std::time::Duration::from_secs(15), || {
        let (status, answer) = get(&server, &server.token, "alerts");
        assert_eq!((status, &answer["status"]), (200, &json!("success")));
        answer["data"]["alerts"].get(0).cloned()
    });
    assert_eq!(alert["state"], "firing");
    let labels = json!({
        "alertname": "pm10-dust", "severity": "major", "division": "630102", "device": "air-1",
        "device_name": "air-1", "quantity": "pm10", "channel": "0",
    });
    assert_eq!(alert["labels"], labels);
    assert!(
        alert["activeAt"].is_string() && alert["annotations"]["summary"].is_string(),
        "{alert}"
    );
    assert!(alert["value"].as_str().unwrap().parse::<f64>().unwrap() >= 300.0);
    let other = server.post("/api/v1/tokens", &json!({"role": "viewer", "division": "630103"}));
    let (_, answer) = get(&server, other["token"].as_str().unwrap(), "alerts");
    assert_eq!(answer["data"]["alerts"], json!([]));
}
