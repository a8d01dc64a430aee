//! Forecasts of others, kept as they were issued.

use std::time::Duration;

use onemap_model::Timestamp;
use serde_json::{Value, json};

use crate::server::{Server, wait_for};

const HOUR: i64 = 3_600_000;
const LIMIT: Duration = Duration::from_secs(60);

fn text(ms: i64) -> String {
    Timestamp::from_ms(ms).to_string()
}

fn of(device: &str, origin: i64, value: f64) -> Value {
    let lead = |hours: i64, value: f64| {
        json!({"at": text(origin + hours * HOUR), "value": value,
               "quantiles": [[0.1, value - 0.2], [0.9, value + 0.3]],
               "exceed": [{"threshold": 2.5, "probability": 0.25, "warns": false}]})
    };
    json!({"device": device, "quantity": "water_level", "step_s": 3600, "origin": text(origin),
           "leads": [lead(1, value), lead(3, value + 0.1)]})
}

#[test]
fn forecasts_of_others_are_kept_as_they_were_issued() {
    let server = Server::new();
    let now = Timestamp::from_system(std::time::SystemTime::now()).ms() / HOUR * HOUR;
    for device in ["upper", "lower"] {
        server.add_device(
            device,
            &json!({"kind": "river_gauge", "division": "630104", "cadence_s": 3600}),
        );
        let readings: Vec<Value> = (0..4)
            .map(|n| json!({"q": "water_level", "t": now - n * HOUR, "v": 2.0 + n as f64 / 10.0}))
            .collect();
        server.post(
            "/api/v1/readings",
            &json!({"device": device, "readings": readings}),
        );
    }
    server.caught_up();
    let series = server.get("/api/v1/series?device=lower")["items"][0]["id"].to_string();
    for (hours, value) in [(2, 2.3), (1, 2.2)] {
        let origin = now - hours * HOUR;
        let both = json!({"source": "省水文局", "model": "新安江 2024.3", "issued_at": text(origin + 600_000),
                          "forecasts": [of("upper", origin, value), of("lower", origin, value)]});
        let kept = server.post("/api/v1/forecasts", &both);
        assert_eq!(kept["forecasts"], 2);
    }
    let other = json!({"source": "气象台", "issued_at": text(now), "forecasts": [
        {"device": "lower", "quantity": "water_level", "leads": [{"at": text(now + HOUR), "value": 3.0}]}]});
    server.post("/api/v1/forecasts", &other);

    let newest = server.get("/api/v1/forecasts");
    let told: Vec<(&str, &str, f64)> = newest["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            let value = item["leads"][0]["value"].as_f64().unwrap();
            (
                item["series"]["device"].as_str().unwrap(),
                item["source"].as_str().unwrap(),
                value,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("lower", "气象台", 3.0),
            ("lower", "省水文局", 2.2),
            ("upper", "省水文局", 2.2)
        ]
    );
    let first = server.get("/api/v1/forecasts?limit=2");
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let next = first["next"].as_str().unwrap();
    let rest = server.get(&format!("/api/v1/forecasts?limit=2&after={next}"));
    assert_eq!(
        (&rest["items"][0]["series"]["device"], &rest["next"]),
        (&json!("upper"), &Value::Null)
    );

    let path = format!("/api/v1/forecasts/{series}");
    let bureau = "source=%E7%9C%81%E6%B0%B4%E6%96%87%E5%B1%80";
    let all = server.get(&format!("{path}?{bureau}&limit=10"));
    let items = all["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    let newest = &items[0];
    assert_eq!(newest["model"], "新安江 2024.3");
    assert_eq!(newest["at_origin"], 2.1, "what was measured at its origin");
    assert_eq!(newest["leads"][1]["lead_s"], 3 * 3600);
    assert_eq!(newest["leads"][1]["quantiles"][1], json!([0.9, 2.6]));
    let after = newest["seq"].as_u64().unwrap();
    let before = server.get(&format!("{path}?{bureau}&after={after}"));
    assert_eq!(before["items"][0]["origin"], text(now - 2 * HOUR));
    // What the server had then.
    let known_at = newest["taken_at"].as_str().unwrap().replace('+', "%2B");
    let then = server.get(&format!("{path}?known_at={known_at}"));
    assert_eq!(then["items"][0]["seq"], after);

    // A kill loses none of them.
    let before = server.get("/api/v1/forecasts");
    let server = server.kill_and_restart();
    assert_eq!(server.get("/api/v1/forecasts"), before);
}

const AHEAD: &str = "version: 1
rules:
  - id: flood-ahead
    name: {zh: 预报超警戒水位, en: Warning stage foreseen}
    applies_to: {kind: river_gauge}
    severity: major
    when: {forecast: {quantity: water_level, within: 3 h, quantile: 0.9, above: 2.5 m, clear: 2.4 m, source: 省水文局}}
    advice: {zh: 关闭涉水路段, en: Close the fords}
";

#[test]
fn a_rule_looks_ahead_and_its_alert_says_when_and_how_such_did_here() {
    let server = Server::with_rules(&[("ahead", AHEAD)]);
    server.add_device(
        "gauge",
        &json!({"kind": "river_gauge", "division": "630104", "cadence_s": 3600}),
    );
    let now = Timestamp::from_system(std::time::SystemTime::now()).ms() / 1000 * 1000;
    let level = |at: i64, value: f64| {
        let readings = json!([{"q": "water_level", "t": at, "v": value}]);
        server.post(
            "/api/v1/readings",
            &json!({"device": "gauge", "readings": readings}),
        );
        server.caught_up();
    };
    let issue = |origin: i64, value: f64| {
        let body = json!({"source": "省水文局", "issued_at": text(origin), "forecasts": [of("gauge", origin, value)]});
        server.post("/api/v1/forecasts", &body);
        server.caught_up();
    };
    let open = || server.get("/api/v1/alerts?state=open")["items"].clone();
    level(now - 50_000, 2.0);
    issue(now - 40_000, 2.0);
    assert_eq!(open(), json!([]), "2.4 m are not above 2.5 m");
    issue(now - 30_000, 2.3);
    let raised = open();
    let alert = &raised[0];
    assert_eq!(
        (
            raised.as_array().unwrap().len(),
            &alert["rule"],
            &alert["series"]["device"]
        ),
        (1, &json!("flood-ahead"), &json!("gauge")),
        "{raised}"
    );
    let zh = alert["message"]["zh"].as_str().unwrap();
    assert!(
        zh.contains("高于 2.5 m，3 小时内最高 2.700 m；此处此类预报尚无检验记录"),
        "{zh}"
    );
    // What is foreseen is no state of the gauge.
    assert_eq!(server.get("/api/v1/devices/gauge")["status"], "normal");
    // It comes; the forecast that it is over ends the alert, and the next one knows of it, also after a kill.
    let clock = || Timestamp::from_system(std::time::SystemTime::now()).ms();
    level(clock(), 2.7);
    level(clock(), 2.1);
    issue(clock(), 1.9);
    assert_eq!(open(), json!([]));
    let id = alert["id"].as_str().unwrap().to_owned();
    let server = server.kill_and_restart();
    let at = clock();
    let body = json!({"source": "省水文局", "issued_at": text(at), "forecasts": [of("gauge", at, 2.4)]});
    server.post("/api/v1/forecasts", &body);
    server.caught_up();
    let again = server.get("/api/v1/alerts?state=open")["items"].clone();
    let en = again[0]["message"]["en"].as_str().unwrap();
    assert!(
        en.ends_with("here 1 of 1 such came true, 0 of 1 were false"),
        "{en}"
    );
    // The evidence has what was said.
    let to = tempfile::tempdir().unwrap();
    assert_eq!(crate::evidence::take(&server, &server.token, &id, to.path()), 200);
    let rests_on = crate::evidence::read(&to.path().join(format!("evidence-{id}")), "forecasts.json");
    let said: Vec<f64> = rests_on
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["forecast"]["leads"][0]["value"].as_f64().unwrap())
        .collect();
    assert_eq!(said, [1.9, 2.3], "{rests_on}");
}

#[test]
fn what_is_no_forecast_is_refused_and_nothing_of_it_is_kept() {
    let server = Server::new();
    server.add_device("gauge", &json!({"kind": "river_gauge", "division": "630104"}));
    let now = Timestamp::from_system(std::time::SystemTime::now()).ms() / HOUR * HOUR;
    let good = || json!({"source": "气象台", "issued_at": text(now), "forecasts": [of("gauge", now, 2.0)]});
    type Change = fn(&mut Value, i64);
    let cases: [(Change, u16, &str); 10] = [
        (|v, _| v["source"] = "onemap".into(), 400, "server's own"),
        (|v, _| v["source"] = "".into(), 400, "source has"),
        (
            |v, now| v["issued_at"] = text(now + 48 * HOUR).into(),
            400,
            "yet to come",
        ),
        (
            |v, now| v["issued_at"] = text(now - HOUR).into(),
            400,
            "before its origin",
        ),
        (|v, _| v["forecasts"] = json!([]), 400, "1 to 1000"),
        (
            |v, _| v["forecasts"][0]["device"] = "none".into(),
            404,
            "forecasts[0]: no device",
        ),
        (
            |v, _| v["forecasts"][0]["leads"] = json!([]),
            400,
            "forecasts[0]: leads are 1 to",
        ),
        (
            |v, _| v["forecasts"][0]["leads"][0]["quantiles"] = json!([[0.9, 1], [0.1, 2]]),
            400,
            "quantiles ascend",
        ),
        (
            |v, now| v["forecasts"][0]["leads"][1]["at"] = text(now).into(),
            400,
            "lead 1: at lies",
        ),
        (
            |v, _| v["forecasts"][0]["quantity"] = "nonsense".into(),
            400,
            "nonsense",
        ),
    ];
    for (change, expected, words) in cases {
        let mut body = good();
        // A sound one before it is not kept either.
        let sound = body["forecasts"][0].clone();
        change(&mut body, now);
        if let Some(all) = body["forecasts"].as_array_mut()
            && !words.contains("forecasts[0]")
            && !all.is_empty()
        {
            all.insert(0, sound);
        }
        let (status, said) = server.request("POST", "/api/v1/forecasts", Some(&body.to_string()));
        assert!(
            status == expected && said.to_string().contains(words),
            "{words}: {status} {said}"
        );
    }
    server.caught_up();
    assert_eq!(server.get("/api/v1/forecasts")["items"], json!([]));
    assert_eq!(server.request("GET", "/api/v1/forecasts/77", None).0, 404);
}

/// A level that a flood wave passes every two days or so, hourly, an hour behind the gauge above.
fn wave(hour: i64) -> f64 {
    let bend = |period: f64, share: f64| (hour as f64 * std::f64::consts::TAU / period).sin() * share;
    let swell = bend(53.0, 0.5) + bend(31.0, 0.3);
    2.0 + swell.max(0.0) * 1.2 + bend(24.0, 0.02)
}

#[test]
fn a_gauge_is_foreseen_and_told_how_well() {
    let mut first = Server::new();
    first.stop();
    let config = first.dir.join("onemap.toml");
    let mut text = std::fs::read_to_string(&config).unwrap();
    text.push_str(
        "\n[[forecast.series]]\ndevice = \"lower\"\nquantity = \"water_level\"\ninputs = [\"upper/water_level\"]\n\
         step = \"1h\"\nleads = [\"1h\", \"3h\"]\nthreshold = 2.8\n\
         [[forecast.series]]\ndevice = \"new\"\nquantity = \"water_level\"\nstep = \"1h\"\nleads = [\"1h\"]\n",
    );
    std::fs::write(&config, text).unwrap();
    let server = Server::start_in(&first.dir);
    let hour = Timestamp::from_system(std::time::SystemTime::now()).ms() / HOUR;
    let (n, mut devices) = (900, Vec::new());
    for (device, ahead, division) in [("upper", 1, "630102"), ("lower", 0, "630104")] {
        server.add_device(
            device,
            &json!({"kind": "river_gauge", "division": division, "cadence_s": 3600}),
        );
        let readings: Vec<Value> = (0..=n)
            .rev()
            .map(|back| {
                let at = hour - back;
                json!({"q": "water_level", "t": at * HOUR, "v": (wave(at + ahead) * 1000.0).round() / 1000.0})
            })
            .collect();
        server.post(
            "/api/v1/readings",
            &json!({"device": device, "readings": readings}),
        );
        devices.push(device);
    }
    server.add_device("new", &json!({"kind": "river_gauge", "division": "630104"}));
    server.post(
        "/api/v1/readings",
        &json!({"device": "new", "readings": [{"q": "water_level", "t": hour * HOUR, "v": 1}]}),
    );
    server.caught_up();
    let id =
        |device: &str| server.get(&format!("/api/v1/series?device={device}"))["items"][0]["id"].to_string();
    let path = format!("/api/v1/forecasts/{}", id("lower"));
    assert_eq!(
        server.request("POST", &format!("{path}/train"), Some("{}")).0,
        202
    );
    let trained = wait_for("a model", LIMIT, || {
        let told = server.get(&path)["forecaster"].clone();
        (!told["trained"].is_null()).then_some(told)
    });
    let leads = trained["trained"]["leads"].as_array().unwrap();
    assert!(leads[0]["skill"].as_f64().unwrap() > 0.3, "{trained}");
    let issued = wait_for("a forecast", LIMIT, || {
        let told = server.get(&path);
        (!told["items"][0].is_null()).then(|| told["items"][0].clone())
    });
    assert_eq!(
        (&issued["source"], &issued["model"]),
        (&json!("onemap"), &trained["trained"]["model"])
    );
    let origin = Timestamp::parse(issued["origin"].as_str().unwrap()).unwrap().ms() / HOUR;
    for lead in issued["leads"].as_array().unwrap() {
        let came = wave(origin + lead["lead_s"].as_i64().unwrap() / 3600);
        let (value, band) = (
            lead["value"].as_f64().unwrap(),
            lead["quantiles"].as_array().unwrap(),
        );
        assert!((value - came).abs() < 0.25, "{value}, not {came}: {issued}");
        assert_eq!(band.len(), 11);
        assert_eq!(lead["exceed"][0]["threshold"], 2.8);
    }
    assert!(issued["influences"].to_string().contains("upper/"), "{issued}");
    // Who has one division is not told of gauges of others.
    let bound = server.post(
        "/api/v1/tokens",
        &json!({"role": "integrator", "division": "630104"}),
    );
    for (method, asked) in [
        ("GET", path.clone()),
        ("GET", "/api/v1/forecasters".to_owned()),
        ("POST", format!("{path}/train")),
    ] {
        let body = (method == "POST").then_some("{}");
        let told = crate::server::request(
            &server.http,
            bound["token"].as_str().unwrap(),
            method,
            &asked,
            body,
        )
        .1;
        assert!(
            told.to_string().contains("leads_s") && !told.to_string().contains("upper"),
            "{asked}: {told}"
        );
    }
    // A model that cannot be is said not to be, with the reason.
    let path = format!("/api/v1/forecasts/{}", id("new"));
    let thin = wait_for("a reason", LIMIT, || {
        let told = server.get(&path)["forecaster"].clone();
        told["why_not"].as_str().map(str::to_owned)
    });
    assert!(thin.contains("too few"), "{thin}");
    let all = server.get("/api/v1/forecasters");
    let names: Vec<&Value> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["series"]["device"])
        .collect();
    assert_eq!(names, ["lower", "new"]);
    assert_eq!(all["items"][0]["forecaster"]["trained"]["model"], issued["model"]);
    let first = server.get("/api/v1/forecasters?limit=1");
    assert_eq!(first["next"], "lower/water_level/0");
    let rest = server.get("/api/v1/forecasters?after=lower/water_level/0");
    assert_eq!(
        (&rest["items"][0]["series"]["device"], &rest["next"]),
        (&json!("new"), &Value::Null)
    );
    let upper = id("upper");
    let refused = server.request("POST", &format!("/api/v1/forecasts/{upper}/train"), Some("{}"));
    assert_eq!((refused.0, &refused.1["code"]), (409, &json!("not_foreseen")));
    // After a restart the model is there, and what was issued is not issued again.
    let before = server.get("/api/v1/forecasts");
    let server = server.kill_and_restart();
    let path = format!("/api/v1/forecasts/{}", id_of(&server, "lower"));
    let model = wait_for("the model of before", LIMIT, || {
        let told = server.get(&path)["forecaster"]["trained"]["model"].clone();
        told.is_string().then_some(told)
    });
    assert_eq!(model, trained["trained"]["model"]);
    assert_eq!(
        server.get("/api/v1/forecasts")["items"][0]["leads"],
        before["items"][0]["leads"]
    );
    // No hour is foreseen twice: what is due is looked at before a training begins, and so has been when it has ended.
    let at = trained["trained"]["at"].clone();
    server.request("POST", &format!("{path}/train"), Some("{}"));
    wait_for("a new training", LIMIT, || {
        let now = server.get(&path)["forecaster"]["trained"]["at"].clone();
        (now.is_string() && now != at).then_some(())
    });
    let all = server.get(&format!("{path}?limit=10"));
    let origins = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["origin"].as_str().unwrap());
    let mut origins: Vec<&str> = origins.collect();
    let n = origins.len();
    origins.dedup();
    assert_eq!(origins.len(), n, "{origins:?}");
}

/// Rain of an hour in mm: showers that nothing tells before.
fn shower(hour: i64) -> f64 {
    let dice = (hour / 4).wrapping_mul(0x9e37_79b9).wrapping_mul(hour / 4 + 7) >> 7;
    if dice % 9 == 0 { (1 + dice % 5) as f64 } else { 0.0 }
}

#[test]
fn a_rain_forecast_of_others_is_an_input_as_it_was_known() {
    let mut first = Server::new();
    first.stop();
    let config = first.dir.join("onemap.toml");
    let mut text_of = std::fs::read_to_string(&config).unwrap();
    text_of.push_str(
        "\n[[forecast.series]]\ndevice = \"brook\"\nquantity = \"water_level\"\ninputs = [\"sky/rain\", \"far/water_level\"]\n\
         ahead = [{ series = \"sky/rain\", source = \"气象台\" }]\nstep = \"1h\"\nleads = [\"1h\", \"6h\"]\n",
    );
    std::fs::write(&config, text_of).unwrap();
    let server = Server::start_in(&first.dir);
    let hour = Timestamp::from_system(std::time::SystemTime::now()).ms() / HOUR;
    for (device, kind, division) in [
        ("brook", "river_gauge", "630104"),
        ("sky", "rain_gauge", "630102"),
        ("far", "river_gauge", "630102"),
    ] {
        server.add_device(
            device,
            &json!({"kind": kind, "division": division, "cadence_s": 3600}),
        );
    }
    let n = 900;
    let level = |at: i64| {
        let runs_off: f64 = (0..12)
            .map(|back| shower(at - 1 - back) * 0.75_f64.powi(back as i32))
            .sum();
        1.0 + 0.1 * runs_off
    };
    let post = |device: &str, quantity: &str, until: i64, of: &dyn Fn(i64) -> f64| {
        let readings = (hour - n..=until)
            .map(|at| json!({"q": quantity, "t": at * HOUR, "v": (of(at) * 1000.0).round() / 1000.0}));
        let readings: Vec<Value> = readings.collect();
        server.post(
            "/api/v1/readings",
            &json!({"device": device, "readings": readings}),
        );
    };
    post("sky", "rain", hour, &|at| shower(at - 1));
    post("far", "water_level", hour - 10, &wave);
    // Somebody's forecasts of before, the newest of which was issued half a day ago and reaches over today.
    for issued in (hour - n..=hour - 13).step_by(6) {
        let leads = (1..=30)
            .map(|ahead| json!({"at": text((issued + ahead) * HOUR), "value": shower(issued + ahead - 1)}));
        let leads: Vec<Value> = leads.collect();
        let one = json!({"device": "sky", "quantity": "rain", "step_s": 3600, "leads": leads});
        server.post(
            "/api/v1/forecasts",
            &json!({"source": "气象台", "issued_at": text(issued * HOUR), "forecasts": [one]}),
        );
    }
    server.caught_up();
    // It is trained as soon as it has values.
    post("brook", "water_level", hour, &level);
    server.caught_up();
    let path = format!("/api/v1/forecasts/{}", id_of(&server, "brook"));
    let told = wait_for("a model", LIMIT, || {
        let told = server.get(&path)["forecaster"].clone();
        (!told["trained"].is_null()).then_some(told)
    });
    let inputs = ["sky/rain/0", "far/water_level/0", "sky/rain/0 (气象台)"];
    assert_eq!(told["inputs"], json!(inputs));
    let skill = told["trained"]["leads"][1]["skill"].as_f64().unwrap();
    assert!(skill > 0.8, "six hours ahead nothing else knows of it: {told}");
    let issued = wait_for("a forecast", LIMIT, || {
        let told = server.get(&path);
        (!told["items"][0].is_null()).then(|| told["items"][0].clone())
    });
    let origin = Timestamp::parse(issued["origin"].as_str().unwrap()).unwrap().ms() / HOUR;
    let value = issued["leads"][1]["value"].as_f64().unwrap();
    assert!(
        (value - level(origin + 6)).abs() < 0.2,
        "{value}, not {}: {issued}",
        level(origin + 6)
    );
    assert!(
        issued["influences"].to_string().contains("sky/rain/0 (气象台)"),
        "{issued}"
    );
    // What has been silent for hours is left out, and the rest put to use.
    assert_eq!(
        issued["notes"],
        json!(["without far/water_level/0, which says nothing now"])
    );
    // Who has one division is not told of rain elsewhere, by whomever it is foreseen.
    let bound = json!({"role": "integrator", "division": "630104"});
    let bound = server.post("/api/v1/tokens", &bound);
    let told = crate::server::request(&server.http, bound["token"].as_str().unwrap(), "GET", &path, None).1;
    assert!(
        told["items"][0]["leads"].is_array()
            && !told.to_string().contains("sky")
            && !told.to_string().contains("far/"),
        "{told}"
    );
}

#[test]
fn what_looks_like_a_fault_is_doubted_and_a_persons_word_stands() {
    const PHASE: i64 = 25668;
    let mut first = Server::new();
    first.stop();
    let config = first.dir.join("onemap.toml");
    let mut toml = std::fs::read_to_string(&config).unwrap();
    toml.push_str(
        "\n[[forecast.series]]\ndevice = \"gauge\"\nquantity = \"water_level\"\nstep = \"1h\"\nleads = [\"1h\"]\n",
    );
    std::fs::write(&config, toml).unwrap();
    let server = Server::start_in(&first.dir);
    let hour = Timestamp::from_system(std::time::SystemTime::now()).ms() / HOUR;
    server.add_device(
        "gauge",
        &json!({"kind": "river_gauge", "division": "630104", "cadence_s": 3600}),
    );
    // Two spikes, of which an officer has said that one is true, and a day and a half of which nothing is known.
    let (spike, vouched, stuck) = (hour - 40, hour - 60, hour - 200..hour - 110);
    // The same water whatever the time is: where a spike stands in it decides whether it is seen.
    let water = |at: i64| wave(at - hour + PHASE);
    let readings: Vec<Value> = (hour - 900..=hour)
        .map(|at| {
            let level = match at {
                at if at == spike || at == vouched => water(at) + 4.0,
                at if stuck.contains(&at) => water(stuck.start),
                at => water(at) + f64::from(((at - hour).rem_euclid(3)) as u32) * 0.002,
            };
            json!({"q": "water_level", "t": at * HOUR, "v": (level * 1000.0).round() / 1000.0})
        })
        .collect();
    server.post(
        "/api/v1/readings",
        &json!({"device": "gauge", "readings": readings}),
    );
    let word = |at: i64, verdict: &str| {
        json!({"device": "gauge", "quantity": "water_level", "from": text(at * HOUR), "to": text(at * HOUR + 1),
               "verdict": verdict, "name": "王工", "reason": "现场核实"})
    };
    server.caught_up();
    server.post("/api/v1/reviews", &word(vouched, "valid"));
    server.caught_up();
    let path = format!("/api/v1/forecasts/{}", id_of(&server, "gauge"));
    server.request("POST", &format!("{path}/train"), Some("{}"));
    let covers = |review: &Value, at: i64| {
        let [from, to] =
            ["from", "to"].map(|end| Timestamp::parse(review[end].as_str().unwrap()).unwrap().ms());
        (from..to).contains(&(at * HOUR))
    };
    let reviews = || {
        server.get("/api/v1/reviews?device=gauge")["items"]
            .as_array()
            .unwrap()
            .clone()
    };
    let doubted = wait_for("what is doubted", LIMIT, || {
        let all: Vec<Value> = reviews()
            .into_iter()
            .filter(|r| r["verdict"] == "doubted")
            .collect();
        let of = |at: i64| all.iter().any(|review| covers(review, at));
        (of(spike) && of(stuck.end - 1)).then_some(all)
    });
    assert!(
        !doubted.iter().any(|review| covers(review, vouched)),
        "{doubted:?}"
    );
    assert!(doubted.iter().all(|r| r["name"] == "onemap"), "{doubted:?}");
    let spiky = doubted.iter().find(|review| covers(review, spike)).unwrap();
    assert!(spiky["reason"].as_str().unwrap().contains("疑似尖峰"), "{spiky}");
    // The value stays, and is marked.
    let series = id_of(&server, "gauge");
    let best = |at: i64| {
        let (from, to) = (text(at * HOUR), text(at * HOUR + 1));
        let path = format!("/api/v1/series/{series}/values?from={from}&to={to}&basis=best");
        server.get(&path.replace('+', "%2B"))["items"][0].clone()
    };
    let point = best(spike);
    assert_eq!(point["verdict"], "doubted");
    assert!(
        point["quality"].as_array().unwrap().contains(&json!("suspect")),
        "{point}"
    );
    assert!(point["v"].as_f64().unwrap() > 5.0, "{point}");
    // What somebody says afterwards holds, and is not doubted again.
    server.post("/api/v1/reviews", &word(spike, "withdrawn"));
    server.caught_up();
    assert_eq!(best(spike)["verdict"], Value::Null);
    let n = reviews().len();
    let server = server.kill_and_restart();
    wait_for("the model of before", LIMIT, || {
        let told = server.get(&path)["forecaster"]["trained"]["model"].clone();
        told.is_string().then_some(())
    });
    let after = server.get("/api/v1/reviews?device=gauge")["items"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(after, n);
}

fn id_of(server: &Server, device: &str) -> String {
    server.get(&format!("/api/v1/series?device={device}"))["items"][0]["id"].to_string()
}

/// What a bureau foresaw at each of some hours, beside what came: figures by hand.
#[test]
fn skill_is_of_what_was_issued_before_it_came() {
    let server = Server::new();
    server.add_device(
        "gauge",
        &json!({"kind": "river_gauge", "division": "630104", "cadence_s": 3600}),
    );
    let now = Timestamp::from_system(std::time::SystemTime::now()).ms();
    let post = |at: i64, value: f64| {
        server.post(
            "/api/v1/readings",
            &json!({"device": "gauge", "readings": [{"q": "water_level", "t": at, "v": value}]}),
        );
    };
    post(now - 5_000, 2.0);
    server.caught_up();
    // One of a time that has passed when it comes in, and one of a moment that is to come.
    let soon = now + 3_000;
    let handed = json!({"source": "气象台", "issued_at": text(now - 4_000), "forecasts": [
        {"device": "gauge", "quantity": "water_level", "step_s": 4, "origin": text(now - 5_000), "leads": [
            {"at": text(now - 4_000), "value": 9.9},
            {"at": text(soon), "value": 2.4, "exceed": [{"threshold": 2.3, "probability": 0.9, "warns": true}]},
            {"at": text(now + 3_600_000), "value": 2.5}]}]});
    server.post("/api/v1/forecasts", &handed);
    let id = id_of(&server, "gauge");
    wait_for("the moment", LIMIT, || {
        (Timestamp::from_system(std::time::SystemTime::now()).ms() > soon).then_some(())
    });
    post(soon, 2.5);
    server.caught_up();
    let skill = server.get(&format!("/api/v1/skill?series={id}"));
    let leads = skill["sources"][0]["leads"].as_array().unwrap();
    assert_eq!(skill["threshold"], 2.3);
    assert_eq!((&leads[0]["late"], &leads[0]["n"]), (&json!(1), &json!(0)));
    assert_eq!((&leads[2]["pending"], &leads[2]["n"]), (&json!(1), &json!(0)));
    let scored = &leads[1];
    assert_eq!(
        (&scored["n"], &scored["table"]["hits"]),
        (&json!(1), &json!(1)),
        "{skill}"
    );
    let of = |name: &str| scored[name].as_f64().unwrap();
    assert!(
        (of("mae") - 0.1).abs() < 1e-9 && (of("mae_persistence") - 0.5).abs() < 1e-9,
        "{skill}"
    );
    assert!(
        (of("skill") - 0.96).abs() < 1e-9 && (of("brier") - 0.01).abs() < 1e-9,
        "{skill}"
    );
    assert_eq!(
        skill["sources"][0]["skill_ends_s"],
        Value::Null,
        "the first lead has no score"
    );
}
