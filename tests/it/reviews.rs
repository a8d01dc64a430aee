//! Raw, corrected and reviewed values side by side, through the whole server: who may say what, what holds, what was
//! known when, and that a replay comes to the same.

use std::process::Command;

use onemap_model::Timestamp;
use serde_json::{Value, json};

use crate::server::{CONFIG, Server, binary, request};

fn post(server: &Server, quantity: &str, said: &[(&str, f64)]) {
    let readings: Vec<Value> = said
        .iter()
        .map(|(time, value)| {
            let at = Timestamp::parse(time).unwrap().ms();
            json!({"q": quantity, "t": at, "v": value})
        })
        .collect();
    let body = json!({"device": "air-1", "readings": readings});
    server.post("/api/v1/readings", &body);
    server.caught_up();
}

/// A server that takes readings of long ago, with a device that says an hour mean each hour.
fn server(dir: &std::path::Path) -> Server {
    let config = format!("{CONFIG}[ingest]\nlive_max_age_days = 3650\n");
    std::fs::write(dir.join("onemap.toml"), config).unwrap();
    let server = Server::start_in(dir);
    server.add_device("air-1", &json!({"cadence_s": 3600}));
    server
}

fn token(server: &Server, role: &str, division: Option<&str>) -> String {
    let made = server.post("/api/v1/tokens", &json!({"role": role, "division": division}));
    made["token"].as_str().unwrap().to_owned()
}

const HOURS: [&str; 5] = [
    "2026-03-10T01:00:00+08:00",
    "2026-03-10T02:00:00+08:00",
    "2026-03-10T03:00:00+08:00",
    "2026-03-10T04:00:00+08:00",
    "2026-03-10T05:00:00+08:00",
];
const BEHIND: &str = "2026-03-10T06:00:00+08:00";
const SPAN: &str = "from=2026-03-10T00:00:00%2B08:00&to=2026-03-10T06:00:00%2B08:00";

fn review(from: &str, to: &str, verdict: &str, more: &Value) -> Value {
    let mut review = json!({"device": "air-1", "quantity": "pm2_5", "from": from, "to": to,
                            "verdict": verdict, "name": "王工", "reason": "校准记录 2026-17"});
    for (key, value) in more.as_object().into_iter().flatten() {
        review[key] = value.clone();
    }
    review
}

fn items(server: &Server, path: &str) -> Vec<Value> {
    server.get(path)["items"].as_array().unwrap().clone()
}

/// Just before an act was taken, as a parameter.
fn before(act: &Value) -> String {
    let at = Timestamp::parse(act["at"].as_str().unwrap()).unwrap();
    Timestamp::from_ms(at.ms() - 1).to_string().replace('+', "%2B")
}

#[test]
fn raw_corrected_and_reviewed_values_stand_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    let said: Vec<(&str, f64)> = HOURS
        .iter()
        .zip([10.0, 20.0, 30.0, 40.0, 50.0])
        .map(|(t, v)| (*t, v))
        .collect();
    post(&server, "pm2_5", &said);
    let series = server.get("/api/v1/series?device=air-1")["items"][0]["id"]
        .as_u64()
        .unwrap();
    let values = |more: &str| items(&server, &format!("/api/v1/series/{series}/values?{SPAN}{more}"));
    let sent = values("");

    let correction = server.post(
        "/api/v1/corrections",
        &json!({"device": "air-1", "quantity": "pm2_5", "from": HOURS[1], "factor": 1.1, "offset": 0.5,
                "name": "李工", "reason": "漂移"}),
    );
    assert_eq!(
        [&correction["factor"], &correction["series"], &correction["by"]],
        [&json!(1.1), &json!(series), &json!("local owner")]
    );
    server.post(
        "/api/v1/reviews",
        &review(HOURS[2], HOURS[4], "invalid", &json!({})),
    );
    let replaced = server.post(
        "/api/v1/reviews",
        &review(HOURS[3], HOURS[4], "replaced", &json!({"value": 41.5})),
    );
    server.post("/api/v1/reviews", &review(HOURS[4], BEHIND, "valid", &json!({})));

    assert_eq!(values(""), sent, "what was sent stays what it is");
    assert_eq!(values("&basis=raw"), sent);
    let all = values("&basis=all");
    let raw: Vec<&Value> = all.iter().map(|row| &row["v"]).collect();
    assert_eq!(
        raw,
        [
            &json!(10.0),
            &json!(20.0),
            &json!(30.0),
            &json!(40.0),
            &json!(50.0)
        ]
    );
    assert_eq!(
        [&all[0]["corrected"], &all[0]["reviewed"]],
        [&Value::Null, &Value::Null]
    );
    assert_eq!(
        [
            &all[1]["corrected"]["v"],
            &all[1]["corrected"]["correction"],
            &all[1]["corrected"]["name"]
        ],
        [&json!(22.5), &correction["id"], &json!("李工")]
    );
    assert_eq!(
        [
            &all[2]["reviewed"]["verdict"],
            &all[2]["reviewed"]["v"],
            &all[2]["corrected"]["v"]
        ],
        [&json!("invalid"), &Value::Null, &json!(33.5)]
    );
    let by = &all[3]["reviewed"];
    assert_eq!(
        json!([
            by["verdict"],
            by["v"],
            by["by"],
            by["name"],
            by["reason"],
            by["at"],
            by["review"]
        ]),
        json!([
            "replaced",
            41.5,
            "local owner",
            "王工",
            "校准记录 2026-17",
            replaced["at"],
            replaced["id"]
        ])
    );
    let best: Vec<Value> = values("&basis=best")
        .iter()
        .map(|row| json!([row["v"], row["basis"], row["verdict"]]))
        .collect();
    assert_eq!(
        Value::from(best),
        json!([
            [10.0, "raw", null],
            [22.5, "corrected", null],
            [null, "reviewed", "invalid"],
            [41.5, "reviewed", "replaced"],
            [55.5, "reviewed", "valid"],
        ])
    );
    // A page goes on where the last ended, and the answer of then is still there.
    let first = server.get(&format!(
        "/api/v1/series/{series}/values?{SPAN}&basis=best&limit=3"
    ));
    let next = first["next"].as_str().unwrap();
    assert_eq!(values(&format!("&basis=best&after={next}"))[0]["v"], 41.5);
    let then = values(&format!("&basis=best&known_at={}", before(&correction)));
    assert_eq!(then.len(), 5);
    assert!(then.iter().all(|row| row["basis"] == "raw"), "{then:?}");

    // Taken back: the last review holds, the earlier ones stay readable.
    server.post(
        "/api/v1/reviews",
        &review(HOURS[2], HOURS[3], "withdrawn", &json!({})),
    );
    assert_eq!(values("&basis=best")[2]["basis"], "corrected");
    let kept = items(&server, "/api/v1/reviews?device=air-1");
    let verdicts: Vec<&str> = kept.iter().map(|row| row["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["withdrawn", "valid", "replaced", "invalid"]);
    let page = server.get("/api/v1/reviews?limit=3");
    let rest = items(
        &server,
        &format!("/api/v1/reviews?limit=3&after={}", page["next"].as_str().unwrap()),
    );
    assert_eq!((page["items"].as_array().unwrap().len(), rest.len()), (3, 1));
    let in_span = format!(
        "/api/v1/reviews?quantity=pm2_5&ch=0&from={}",
        HOURS[4].replace('+', "%2B")
    );
    assert_eq!(items(&server, &in_span).len(), 1);

    // A correction ends by being withdrawn, with who and why.
    let path = format!("/api/v1/corrections/{}/withdraw", correction["id"]);
    let body = json!({"name": "李工", "reason": "重复登记"});
    let withdrawn = server.post(&path, &body);
    assert_eq!(withdrawn["withdrawn"]["reason"], "重复登记");
    let (status, problem) = server.request("POST", &path, Some(&body.to_string()));
    assert_eq!((status, &problem["code"]), (409, &json!("withdrawn")));
    assert_eq!(values("&basis=best")[2]["basis"], "raw");
    assert_eq!(items(&server, "/api/v1/corrections").len(), 1);

    // The tag of an answer changes with a review and with nothing else.
    let tag = |basis: &str| {
        let path = format!("/api/v1/series/{series}/values?{SPAN}&basis={basis}");
        let agent: ureq::Agent = ureq::Agent::config_builder().build().into();
        let response = agent
            .get(format!("{}{path}", server.http))
            .header("authorization", format!("Bearer {}", server.token))
            .call()
            .unwrap();
        response.headers()["etag"].to_str().unwrap().to_owned()
    };
    let (raw, best) = (tag("raw"), tag("best"));
    assert_eq!(tag("best"), best);
    server.post(
        "/api/v1/reviews",
        &review(HOURS[0], HOURS[1], "valid", &json!({})),
    );
    assert_eq!(tag("raw"), raw);
    assert_ne!(tag("best"), best);

    // kill -9 and a replay come to the same.
    let held = (values("&basis=all"), items(&server, "/api/v1/reviews"));
    let server = server.kill_and_restart();
    let after = (
        items(
            &server,
            &format!("/api/v1/series/{series}/values?{SPAN}&basis=all"),
        ),
        items(&server, "/api/v1/reviews"),
    );
    assert_eq!(after, held);
    let into = tempfile::tempdir().unwrap();
    let again = into.path().join("again");
    let replayed = Command::new(binary("onemap"))
        .arg("--data-dir")
        .arg(folder.path())
        .args(["journal", "replay", "--into"])
        .arg(&again)
        .output()
        .unwrap();
    assert!(
        replayed.status.success(),
        "{}",
        String::from_utf8_lossy(&replayed.stderr)
    );
    drop(server);
    let rows = |dir: &std::path::Path| {
        let reader = onemap_store::ledger::LedgerReader::open(&dir.join("ledger.sqlite")).unwrap();
        reader.series_acts(&Default::default(), None, 100).unwrap()
    };
    assert_eq!(rows(&again), rows(folder.path()));
    assert_eq!(rows(&again).len(), 6);
}

#[test]
fn a_correction_makes_no_value_that_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    post(
        &server,
        "pm2_5",
        &[(HOURS[0], 10.0), (HOURS[1], 50.0), (HOURS[2], 10.0)],
    );
    server.post(
        "/api/v1/corrections",
        &json!({"device": "air-1", "quantity": "pm2_5", "from": HOURS[0], "offset": -30.0, "name": "李", "reason": "零点"}),
    );
    // Nobody's word makes it one either.
    server.post(
        "/api/v1/reviews",
        &review(HOURS[2], HOURS[3], "valid", &json!({})),
    );
    let series = server.get("/api/v1/series?device=air-1")["items"][0]["id"].clone();
    let values = |basis: &str| {
        items(
            &server,
            &format!("/api/v1/series/{series}/values?{SPAN}&basis={basis}"),
        )
    };
    let best: Vec<Value> = values("best")
        .iter()
        .map(|row| json!([row["v"], row["basis"], row["verdict"]]))
        .collect();
    assert_eq!(
        Value::from(best),
        json!([
            [null, "corrected", "implausible"],
            [20.0, "corrected", null],
            [null, "reviewed", "implausible"],
        ])
    );
    let all: Vec<Value> = values("all")
        .iter()
        .map(|row| {
            json!([
                row["corrected"]["v"],
                row["corrected"]["implausible"],
                row["reviewed"]["v"]
            ])
        })
        .collect();
    assert_eq!(
        Value::from(all),
        json!([[-20.0, true, null], [20.0, null, null], [-20.0, true, null]])
    );
    let air = server.get(&format!("/api/v1/standards/air?device=air-1&{SPAN}"));
    let means: Vec<&Value> = air["items"].as_array().unwrap().iter().take(3).collect();
    let means: Vec<Value> = means
        .iter()
        .map(|item| item["values"]["pm2_5"]["value"].clone())
        .collect();
    assert_eq!(Value::from(means), json!([null, 20.0, null]));
}

#[test]
fn steps_and_aggregates_are_of_what_people_found() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    server.add_device("air-2", &json!({"cadence_s": 3600}));
    let said: Vec<(&str, f64)> = HOURS
        .iter()
        .zip([10.0, 20.0, 30.0, 40.0, 6000.0])
        .map(|(t, v)| (*t, v))
        .collect();
    post(&server, "pm2_5", &said);
    let other: Vec<Value> = said
        .iter()
        .map(|(time, _)| json!({"q": "pm2_5", "t": Timestamp::parse(time).unwrap().ms(), "v": 100.0}))
        .collect();
    server.post("/api/v1/readings", &json!({"device": "air-2", "readings": other}));
    server.caught_up();
    let series = server.get("/api/v1/series?device=air-1")["items"][0]["id"].clone();
    let steps = |more: &str| -> Value {
        let path = format!("/api/v1/series/{series}/values?{SPAN}&step=6h{more}");
        items(&server, &path)
            .iter()
            .map(|row| json!([row["v"], row["n"], row["flagged"]]))
            .collect()
    };
    let groups = |more: &str| -> Value {
        let path = format!("/api/v1/aggregate?quantity=pm2_5&{SPAN}&step=6h&group_by=none{more}");
        let item = &server.get(&path)["groups"][0]["items"][0];
        json!([item["v"], item["n"], item["series"]])
    };
    let sent = (steps(""), groups(""));
    assert_eq!(sent, (json!([[1220.0, 5, 1]]), json!([660.0, 10, 2])));
    assert_eq!(
        (steps("&basis=best"), groups("&basis=best")),
        sent,
        "nobody has said anything"
    );
    let correction = server.post(
        "/api/v1/corrections",
        &json!({"device": "air-1", "quantity": "pm2_5", "from": HOURS[0], "to": HOURS[4], "offset": -15.0,
                "name": "李", "reason": "零点"}),
    );
    server.post(
        "/api/v1/reviews",
        &review(HOURS[1], HOURS[2], "invalid", &json!({})),
    );
    server.post(
        "/api/v1/reviews",
        &review(HOURS[4], BEHIND, "replaced", &json!({"value": 50.0})),
    );
    assert_eq!((steps("&basis=raw"), groups("&basis=raw")), sent);
    // 10 - 15 is none; 5, 15, 25 and the 6000 that nobody corrected.
    assert_eq!(steps("&basis=corrected"), json!([[1511.25, 4, 1]]));
    // 15, 25 and 50, which is not doubtful any more.
    assert_eq!(steps("&basis=best"), json!([[30.0, 3, null]]));
    assert_eq!(groups("&basis=best"), json!([65.0, 8, 2]));
    for (agg, want) in [
        ("min", 15.0),
        ("max", 50.0),
        ("sum", 90.0),
        ("count", 3.0),
        ("first", 15.0),
        ("last", 50.0),
        ("p50", 25.0),
    ] {
        assert_eq!(steps(&format!("&basis=best&agg={agg}"))[0][0], want, "{agg}");
    }
    // A change is against the best value before the span: 15, not 30.
    let path = format!(
        "/api/v1/series/{series}/values?from={}&to={}&step=1h&agg=delta&basis=best",
        HOURS[3].replace('+', "%2B"),
        BEHIND.replace('+', "%2B")
    );
    let changes: Vec<Value> = items(&server, &path).iter().map(|row| row["v"].clone()).collect();
    assert_eq!(changes, [json!(10.0), json!(25.0)]);
    // The answer of then, and its tag.
    let then = format!("&basis=best&known_at={}", before(&correction));
    assert_eq!((steps(&then), groups(&then)), sent);
    let single = items(
        &server,
        &format!("/api/v1/series/{series}/values?{SPAN}&basis=corrected"),
    );
    let single: Vec<Value> = single.iter().map(|row| json!([row["v"], row["basis"]])).collect();
    assert_eq!(
        Value::from(single),
        json!([
            [null, "corrected"],
            [5.0, "corrected"],
            [15.0, "corrected"],
            [25.0, "corrected"],
            [6000.0, "raw"]
        ])
    );
    let tag = |path: &str| {
        let agent: ureq::Agent = ureq::Agent::config_builder().build().into();
        let response = agent
            .get(format!("{}{path}", server.http))
            .header("authorization", format!("Bearer {}", server.token))
            .call()
            .unwrap();
        response.headers()["etag"].to_str().unwrap().to_owned()
    };
    let paths = [
        format!("/api/v1/aggregate?quantity=pm2_5&{SPAN}&step=6h&basis=best"),
        format!("/api/v1/series/{series}/values?{SPAN}&step=6h&basis=best"),
        format!("/api/v1/aggregate?quantity=pm2_5&{SPAN}&step=6h"),
    ];
    let tags: Vec<String> = paths.iter().map(|path| tag(path)).collect();
    server.post(
        "/api/v1/reviews",
        &review(HOURS[2], HOURS[3], "invalid", &json!({})),
    );
    let now: Vec<bool> = paths
        .iter()
        .zip(&tags)
        .map(|(path, tag_then)| tag(path) == *tag_then)
        .collect();
    assert_eq!(now, [false, false, true]);
}

#[test]
fn of_two_who_withdraw_at_once_one_did() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    post(&server, "pm2_5", &[(HOURS[0], 10.0)]);
    let why = json!({"name": "李", "reason": "误"}).to_string();
    for round in 0..4 {
        let made = match round % 2 {
            0 => server.post(
                "/api/v1/corrections",
                &json!({"device": "air-1", "quantity": "pm2_5", "from": HOURS[0], "offset": 1.0,
                        "name": "李", "reason": "零点"}),
            ),
            _ => server.post(
                "/api/v1/dust",
                &json!({"device": "air-1", "from": HOURS[0], "to": HOURS[1], "source": "通报", "name": "王"}),
            ),
        };
        let kind = ["corrections", "dust"][round % 2];
        let path = format!("/api/v1/{kind}/{}/withdraw", made["id"]);
        let answers = std::thread::scope(|scope| {
            let asked: Vec<_> = (0..6)
                .map(|_| scope.spawn(|| request(&server.http, &server.token, "POST", &path, Some(&why))))
                .collect();
            asked
                .into_iter()
                .map(|asked| asked.join().unwrap())
                .collect::<Vec<_>>()
        });
        let (done, late): (Vec<_>, Vec<_>) = answers.iter().partition(|(status, _)| *status == 200);
        assert_eq!(done.len(), 1, "{kind}: {answers:?}");
        assert!(
            late.iter()
                .all(|(status, problem)| *status == 409 && problem["code"] == "withdrawn"),
            "{kind}: {answers:?}"
        );
    }
}

#[test]
fn the_law_is_answered_by_the_best_values_and_says_what_was_reviewed() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    let ends: Vec<String> = (1..=24)
        .map(|h| match h {
            24 => "2026-03-11T00:00:00+08:00".to_owned(),
            h => format!("2026-03-10T{h:02}:00:00+08:00"),
        })
        .collect();
    let said: Vec<(&str, f64)> = ends.iter().map(|end| (end.as_str(), 50.0)).collect();
    post(&server, "pm2_5", &said);
    // An hour mean outside of what PM10 can be: marked suspect.
    post(&server, "pm10", &[(&ends[0], 60000.0)]);
    let span = "from=2026-03-10T00:00:00%2B08:00&to=2026-03-11T00:00:00%2B08:00";
    let air = |more: &str| server.get(&format!("/api/v1/standards/air?device=air-1&{span}{more}"));
    let day = air("&by=day");
    assert_eq!(
        json!([
            day["basis"],
            day["reviewed_hours"],
            day["items"][0]["reviewed"],
            day["items"][0]["values"]["pm2_5"]["value"]
        ]),
        json!(["best", 0, false, 50.0])
    );

    // Five hours of the day are none: nineteen are left, and a day needs twenty.
    let first_five = review(&ends[0], &ends[5], "invalid", &json!({}));
    server.post("/api/v1/reviews", &first_five);
    let hours = air("");
    assert_eq!(hours["reviewed_hours"], 5);
    let hour = &hours["items"][0];
    assert_eq!(
        json!([hour["aqi"], hour["reviewed"], hour["values"]["pm2_5"]]),
        json!([null, true, null])
    );
    assert_eq!(hours["items"][5]["reviewed"], false);
    let day = air("&by=day");
    let item = &day["items"][0];
    assert_eq!(
        json!([
            day["reviewed_hours"],
            item["reviewed"],
            item["aqi"],
            item["values"]["pm2_5"]["valid"],
            item["values"]["pm2_5"]["n"]
        ]),
        json!([5, true, null, false, 19])
    );
    let raw = air("&by=day&basis=raw");
    assert_eq!(
        json!([
            raw["basis"],
            raw["reviewed_hours"],
            raw["items"][0]["reviewed"],
            raw["items"][0]["values"]["pm2_5"]["n"]
        ]),
        json!(["raw", 0, false, 24])
    );

    // One of them is a value after all: twenty hours, 19 x 50 and 70.
    let replaced = server.post(
        "/api/v1/reviews",
        &review(&ends[0], &ends[1], "replaced", &json!({"value": 70.0})),
    );
    let item = &air("&by=day")["items"][0];
    assert_eq!(item["values"]["pm2_5"]["value"], 51.0);
    assert_eq!(
        [&item["reviewed"], &item["corrected"]],
        [&json!(true), &json!(false)]
    );
    let known = air(&format!("&by=day&known_at={}", before(&replaced)));
    assert_eq!(known["items"][0]["values"]["pm2_5"]["valid"], false, "as of then");
    // What a mark kept out counts once a person has called it valid.
    assert_eq!(air("")["items"][0]["values"]["pm10"], Value::Null);
    let valid = review(&ends[0], &ends[1], "valid", &json!({"quantity": "pm10"}));
    server.post("/api/v1/reviews", &valid);
    assert_eq!(air("")["items"][0]["values"]["pm10"]["value"], 60000.0);
    assert_eq!(air("&basis=raw")["items"][0]["values"]["pm10"], Value::Null);
    // A correction is in the mean, and said.
    server.post(
        "/api/v1/corrections",
        &json!({"device": "air-1", "quantity": "pm2_5", "from": ends[23], "offset": 20.0, "name": "李", "reason": "零点"}),
    );
    let item = &air("&by=day")["items"][0];
    assert_eq!(
        json!([item["values"]["pm2_5"]["value"], item["corrected"]]),
        json!([52.0, true])
    );

    let span = "from=2026-03-09T00:00:00%2B08:00&to=2026-03-11T08:00:00%2B08:00";
    for what in ["noise", "rain", "water"] {
        let answer = server.get(&format!("/api/v1/standards/{what}?device=air-1&{span}"));
        assert_eq!(
            json!([answer["basis"], answer["reviewed_hours"]]),
            json!(["best", 0]),
            "{what}"
        );
        assert_eq!(answer["items"][0]["reviewed"], false, "{what}");
    }
}

#[test]
fn an_hour_that_a_review_left_out_is_not_made_good_by_other_channels() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    let at = Timestamp::parse(HOURS[0]).unwrap().ms();
    let readings = json!([{"q": "pm2_5", "ch": 20, "t": at, "v": 80.0}, {"q": "pm2_5", "t": at, "v": 60.0},
                          {"q": "rain_1h", "t": at, "v": 9.0}, {"q": "rain", "t": at, "v": 8.0}]);
    server.post(
        "/api/v1/readings",
        &json!({"device": "air-1", "readings": readings}),
    );
    server.caught_up();
    let air = || server.get(&format!("/api/v1/standards/air?device=air-1&{SPAN}"))["items"][0].clone();
    assert_eq!(air()["values"]["pm2_5"]["value"], 80.0);
    server.post(
        "/api/v1/reviews",
        &review(HOURS[0], HOURS[1], "invalid", &json!({"ch": 20})),
    );
    assert_eq!(
        json!([air()["values"]["pm2_5"], air()["reviewed"]]),
        json!([null, true])
    );
    let rain = || {
        let span = "from=2026-03-09T08:00:00%2B08:00&to=2026-03-10T08:00:00%2B08:00";
        server.get(&format!("/api/v1/standards/rain?device=air-1&{span}"))["items"][0].clone()
    };
    assert_eq!(rain()["mm"], 9.0);
    let of_rain = review(HOURS[0], HOURS[1], "invalid", &json!({"quantity": "rain_1h"}));
    server.post("/api/v1/reviews", &of_rain);
    assert_eq!(
        json!([rain()["mm"], rain()["n_hours"], rain()["reviewed"]]),
        json!([null, 0, true])
    );
}

#[test]
fn nobody_reviews_or_sees_reviews_outside_his_division() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    let said = [(HOURS[0], 10.0)];
    server.post(
        "/api/v1/devices?replace=true",
        &json!({"id": "air-1", "name": "a", "kind": "air_station", "division": "630103"}),
    );
    post(&server, "pm2_5", &said);
    let valid = review(HOURS[0], HOURS[1], "valid", &json!({}));
    let ask = |token: &str, method: &str, path: &str, body: Option<&Value>| {
        let body = body.map(Value::to_string);
        let (status, answer) = request(&server.http, token, method, path, body.as_deref());
        (
            status,
            answer["code"].as_str().unwrap_or_default().to_owned(),
            answer,
        )
    };
    let own = token(&server, "officer", Some("630103"));
    let other = token(&server, "officer", Some("630102"));
    let integrator = token(&server, "integrator", Some("630103"));
    let foreign = token(&server, "integrator", Some("630102"));
    let viewer = token(&server, "viewer", Some("630103"));
    let correction = json!({"device": "air-1", "quantity": "pm2_5", "from": HOURS[0], "offset": 1.0,
                            "name": "李", "reason": "零点"});
    for (who, path, body, want) in [
        (&other, "/api/v1/reviews", &valid, 404),
        (&viewer, "/api/v1/reviews", &valid, 403),
        (&integrator, "/api/v1/reviews", &valid, 403),
        (&own, "/api/v1/corrections", &correction, 403),
        (&foreign, "/api/v1/corrections", &correction, 404),
    ] {
        let (status, code, _) = ask(who, "POST", path, Some(body));
        assert_eq!(status, want, "{path} {code}");
    }
    let (status, _, made) = ask(&own, "POST", "/api/v1/reviews", Some(&valid));
    assert_eq!((status, &made["role"]), (201, &json!("officer")));
    let (status, _, made) = ask(&integrator, "POST", "/api/v1/corrections", Some(&correction));
    assert_eq!(status, 201);
    let withdraw = format!("/api/v1/corrections/{}/withdraw", made["id"]);
    let why = json!({"name": "李", "reason": "误"});
    assert_eq!(
        ask(&foreign, "POST", &withdraw, Some(&why)).1,
        "unknown_correction"
    );
    for path in ["/api/v1/reviews", "/api/v1/corrections"] {
        let n = |token: &str| ask(token, "GET", path, None).2["items"].as_array().unwrap().len();
        assert_eq!((n(&own), n(&viewer), n(&other)), (1, 1, 0), "{path}");
        assert_eq!(ask("", "GET", path, None).0, 401);
    }
    assert_eq!(ask(&integrator, "POST", &withdraw, Some(&why)).0, 200);

    for (path, more, want, code) in [
        ("reviews", json!({"verdict": "fine"}), 400, "bad_body"),
        ("reviews", json!({"verdict": "replaced"}), 400, "bad_value"),
        ("reviews", json!({"value": 5.0}), 400, "bad_value"),
        (
            "reviews",
            json!({"verdict": "replaced", "value": -5.0}),
            400,
            "bad_value",
        ),
        ("reviews", json!({"to": HOURS[0]}), 400, "bad_range"),
        ("reviews", json!({"to": "2099-01-01T00:00:00Z"}), 400, "bad_range"),
        ("reviews", json!({"reason": " "}), 400, "bad_act"),
        ("reviews", json!({"name": ""}), 400, "bad_act"),
        ("reviews", json!({"ch": 7}), 404, "unknown_series"),
        ("reviews", json!({"device": "air-2"}), 404, "unknown_device"),
        ("reviews", json!({"more": 1}), 400, "bad_body"),
        ("corrections", json!({"factor": 0.0}), 400, "bad_factor"),
        ("corrections", json!({"factor": -1.0}), 400, "bad_factor"),
        ("corrections", json!({"factor": 1e6}), 400, "bad_factor"),
        ("corrections", json!({"offset": -5001.0}), 400, "bad_offset"),
        ("corrections", json!({"offset": 1e308}), 400, "bad_offset"),
        ("corrections", json!({"to": HOURS[0]}), 400, "bad_range"),
        (
            "corrections",
            json!({"quantity": "aqi", "ch": 20}),
            400,
            "bad_quantity",
        ),
        (
            "corrections",
            json!({"quantity": "aqi_primary"}),
            400,
            "bad_quantity",
        ),
        (
            "reviews",
            json!({"quantity": "aqi_primary", "ch": 20, "verdict": "replaced", "value": 1.0}),
            400,
            "bad_quantity",
        ),
        (
            "reviews",
            json!({"quantity": "fire_alarm", "verdict": "replaced", "value": 77.0}),
            400,
            "bad_value",
        ),
        (
            "corrections",
            json!({"quantity": "fire_alarm"}),
            400,
            "bad_quantity",
        ),
        (
            "corrections/99999/withdraw",
            Value::Null,
            404,
            "unknown_correction",
        ),
    ] {
        let mut body = match path {
            "reviews" => valid.clone(),
            "corrections" => correction.clone(),
            _ => why.clone(),
        };
        for (key, value) in more.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        let (status, found, answer) = ask(&server.token, "POST", &format!("/api/v1/{path}"), Some(&body));
        assert_eq!(status, want, "{path} {more}: {answer}");
        assert!(code.is_empty() || found == code, "{path} {more}: {answer}");
    }
    let series = server.get("/api/v1/series?device=air-1")["items"][0]["id"]
        .as_u64()
        .unwrap();
    for path in [
        format!("/api/v1/series/{series}/values?step=1h&basis=all"),
        format!("/api/v1/series/{series}/values?revisions=true&basis=all"),
        format!("/api/v1/series/{series}/values?shape=columns&basis=best"),
        "/api/v1/aggregate?quantity=pm2_5&basis=all".to_owned(),
        "/api/v1/standards/air?device=air-1&basis=all".to_owned(),
    ] {
        let (status, code, answer) = ask(&server.token, "GET", &path, None);
        assert_eq!((status, code.as_str()), (400, "bad_basis"), "{path}: {answer}");
    }
}
