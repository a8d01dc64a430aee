//! Series out of the history over HTTP: grouped, stepped, filtered.

use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Server, request, wait_for};

const SOON: Duration = Duration::from_secs(15);
const HOUR: i64 = 3_600_000;

/// Three stations in two counties, each an hour of readings the day before, one of them with a gap.
fn stations(server: &Server) -> i64 {
    for (id, division) in [
        ("air-1", "630102001"),
        ("air-2", "630102002"),
        ("air-3", "630103001"),
    ] {
        server.add_device(id, &json!({"division": division, "kind": "air_station"}));
    }
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms();
    let from = now / HOUR * HOUR - 3 * HOUR;
    let said = [
        ("air-1", from, 10.0),
        ("air-1", from + 60_000, 20.0),
        ("air-2", from, 40.0),
        ("air-3", from, 100.0),
        ("air-3", from + 2 * HOUR, 70.0),
    ];
    for (device, t, v) in said {
        let readings = json!([{"q": "pm2_5", "t": t, "v": v}]);
        server.post(
            "/api/v1/readings",
            &json!({"device": device, "readings": readings}),
        );
    }
    wait_for("the last reading", SOON, || {
        (server.latest("air-3", "pm2_5")?["value"] == 70.0).then_some(())
    });
    server.caught_up();
    from
}

fn rows(answer: &Value) -> Vec<(Value, u64, Vec<Value>)> {
    let groups = answer["groups"].as_array().unwrap();
    let values = |group: &Value| {
        let items = group["items"].as_array().unwrap();
        items.iter().map(|item| item["v"].clone()).collect()
    };
    groups
        .iter()
        .map(|g| (g["group"].clone(), g["series"].as_u64().unwrap(), values(g)))
        .collect()
}

#[test]
fn series_are_grouped_and_gaps_stay_gaps() {
    let server = Server::new();
    let from = stations(&server);
    let range = format!("quantity=pm2_5&from={from}&to={}&step=1h", from + 3 * HOUR);
    let ask = |more: &str| server.get(&format!("/api/v1/aggregate?{range}{more}"));

    let gap = Value::Null;
    let by_county = ask("");
    assert_eq!(by_county["unit"], "ug/m3");
    assert_eq!(
        rows(&by_county),
        [
            (json!("630102"), 2, vec![json!(27.5), gap.clone(), gap.clone()]),
            (json!("630103"), 1, vec![json!(100.0), gap.clone(), json!(70.0)]),
        ]
    );
    // Each station has the same say, unless points are asked for.
    assert_eq!(rows(&ask("&weight=points&group_by=none"))[0].2[0], json!(42.5));
    assert_eq!(rows(&ask("&agg=p50&group_by=kind"))[0].2[0], json!(40.0));
    assert_eq!(rows(&ask("&agg=count&group_by=device")).len(), 3);
    assert_eq!(rows(&ask("&level=9")).len(), 3);
    let filled = ask("&fill=previous&division=630103");
    assert_eq!(rows(&filled)[0].2, [json!(100.0), json!(100.0), json!(70.0)]);
    assert_eq!(filled["groups"][0]["items"][1]["filled"], true);

    for (bad, code) in [
        ("&agg=median", "bad_agg"),
        ("&level=7", "bad_level"),
        ("&quality=nice", "bad_quality"),
        ("&step=1", "bad_step"),
    ] {
        let query = format!("quantity=pm2_5&from={from}&to={}{bad}", from + 3 * HOUR);
        let (status, answer) = server.request("GET", &format!("/api/v1/aggregate?{query}"), None);
        assert_eq!((status, &answer["code"]), (400, &json!(code)), "{bad}");
    }
    let (status, answer) = server.request("GET", "/api/v1/aggregate?quantity=pm2_5&from=0&step=1s", None);
    assert_eq!((status, &answer["code"]), (400, &json!("too_many_steps")));

    // Who sees one county aggregates one county.
    let viewer = server.post("/api/v1/tokens", &json!({"role": "viewer", "division": "630103"}));
    let token = viewer["token"].as_str().unwrap();
    let (status, own) = request(
        &server.http,
        token,
        "GET",
        &format!("/api/v1/aggregate?{range}"),
        None,
    );
    assert_eq!((status, rows(&own).len()), (200, 1), "{own}");
    assert_eq!(rows(&own)[0].0, json!("630103"));
}
