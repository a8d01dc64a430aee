//! What is known of a hydrological station, through the whole server: who may say it, and what its levels mean by it.

use std::process::Command;
use std::time::Duration;

use onemap_model::Timestamp;
use serde_json::{Value, json};

use crate::server::{CONFIG, Server, binary, request, wait_for};

fn station() -> Value {
    json!({
        "datums": [
            {"from": "2020-01-01T00:00:00+08:00", "to": "2026-05-01T00:00:00+08:00", "datum": "假定", "zero_m": 100.0,
             "source": "站志"},
            {"from": "2026-05-01T00:00:00+08:00", "datum": "1985国家高程基准", "zero_m": 2250.12,
             "source": "水准测量 2026-04", "verified": true},
        ],
        "curves": [{"from": "2026-05-01T00:00:00+08:00", "points": [[2251.0, 0.0], [2252.0, 10.0], [2254.0, 50.0]],
                    "source": "整编 2025"}],
        "ice": [{"from": "11-20", "to": "03-15"}],
        "stages": [{"from": "2026-05-01T00:00:00+08:00", "warning": 2252.5, "guaranteed": 2253.5, "highest": 2253.8,
                    "source": "防汛手册"}],
    })
}

fn server(dir: &std::path::Path) -> Server {
    let config = format!("{CONFIG}[ingest]\nlive_max_age_days = 3650\n");
    std::fs::write(dir.join("onemap.toml"), config).unwrap();
    let server = Server::start_in(dir);
    let gauge = json!({"kind": "river_gauge", "cadence_s": 3600, "division": "630103"});
    server.add_device("gauge-1", &gauge);
    server
}

fn put(server: &Server, body: &Value) -> (u16, Value) {
    server.request(
        "PUT",
        "/api/v1/devices/gauge-1/hydrology",
        Some(&body.to_string()),
    )
}

fn say(server: &Server, said: &[(&str, f64)]) {
    let readings: Vec<Value> = said
        .iter()
        .map(|(time, value)| json!({"q": "water_level", "t": Timestamp::parse(time).unwrap().ms(), "v": value}))
        .collect();
    server.post(
        "/api/v1/readings",
        &json!({"device": "gauge-1", "readings": readings}),
    );
    server.caught_up();
}

#[test]
fn a_level_stands_to_the_stages_of_its_own_station() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    let path = "/api/v1/devices/gauge-1/hydrology";
    assert_eq!(server.request("GET", path, None).1["code"], "no_hydrology");
    assert_eq!(server.get("/api/v1/devices/gauge-1")["hydrology"], Value::Null);
    let (status, made) = put(&server, &station());
    assert_eq!(
        (status, &made["now"]["datum"]["datum"]),
        (200, &json!("1985国家高程基准"))
    );
    assert_eq!(
        server.get(path)["curves"],
        station()["curves"]
            .as_array()
            .map(|curves| {
                let mut curve = curves[0].clone();
                curve["verified"] = false.into();
                json!([curve])
            })
            .unwrap()
    );
    assert_eq!(
        server.get("/api/v1/devices/gauge-1")["hydrology"]["stages"][0]["warning"],
        2252.5
    );

    say(
        &server,
        &[
            ("2026-04-30T08:00:00+08:00", 1.0),
            ("2026-07-10T08:00:00+08:00", 1.38),
            ("2026-07-10T09:00:00+08:00", 2.38),
            ("2026-07-10T10:00:00+08:00", 3.38),
            ("2026-07-10T11:00:00+08:00", 3.9),
            ("2026-07-10T12:00:00+08:00", 9000.0),
            ("2026-07-10T13:00:00+08:00", 3.9),
            ("2026-11-25T08:00:00+08:00", 1.38),
        ],
    );
    let items = |server: &Server, more: &str| {
        let path = format!(
            "/api/v1/standards/stage?device=gauge-1&from=2026-04-01T00:00:00%2B08:00&to=2026-11-26T00:00:00%2B08:00{more}"
        );
        server.get(&path)["items"].as_array().unwrap().clone()
    };
    let shown = |items: &[Value]| -> Value {
        let row = |item: &Value| {
            json!([
                item["height"],
                item["stage"],
                item["trend"],
                item["flow"],
                item["no_flow"]
            ])
        };
        items.iter().map(row).collect()
    };
    let all = items(&server, "");
    assert_eq!(
        shown(&all),
        json!([
            [101.0, null, null, null, "no_curve"],
            [2251.5, "normal", null, 5.0, null],
            [2252.5, "warning", "rising", 20.0, null],
            [2253.5, "guaranteed", "rising", 40.0, null],
            [2254.02, "highest", "rising", null, "above_curve"],
            // Suspect: shown, and says nothing.
            [null, null, null, null, null],
            [2254.02, "highest", "steady", null, "above_curve"],
            [2251.5, "normal", "falling", null, "ice"],
        ])
    );
    assert_eq!(
        json!([all[0]["datum"], all[5]["level"], all[2]["stage_zh"]]),
        json!(["假定", 9000.0, "超警戒"])
    );
    let page = server.get(
        "/api/v1/standards/stage?device=gauge-1&from=2026-07-01T00:00:00Z&to=2026-08-01T00:00:00Z&limit=2",
    );
    let after = page["next"].as_str().unwrap();
    assert_eq!(
        items(&server, &format!("&after={after}"))[0]["stage"],
        "guaranteed"
    );
    // One level, then and now.
    let one = |more: &str| {
        server.get(&format!(
            "/api/v1/standards/stage?device=gauge-1&level=2.38{more}"
        ))["items"][0]
            .clone()
    };
    assert_eq!(one("&at=2026-07-10T09:00:00%2B08:00")["stage"], "warning");
    assert_eq!(one("&at=2026-01-10T09:00:00%2B08:00")["stage"], Value::Null);

    // What a reviewer says of a level is what is judged.
    let review = |from: &str, to: &str, more: Value| {
        let mut review = json!({"device": "gauge-1", "quantity": "water_level", "from": from, "to": to,
                                "name": "王", "reason": "人工观测"});
        review
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        server.post("/api/v1/reviews", &review);
    };
    let hours = [
        "2026-07-10T10:00:00+08:00",
        "2026-07-10T11:00:00+08:00",
        "2026-07-10T12:00:00+08:00",
    ];
    review(hours[0], hours[1], json!({"verdict": "replaced", "value": 2.4}));
    review(hours[1], hours[2], json!({"verdict": "invalid"}));
    let reviewed = items(&server, "");
    assert_eq!(
        json!([
            reviewed[3]["stage"],
            reviewed[3]["basis"],
            reviewed[4]["stage"],
            reviewed[4]["level"]
        ]),
        json!(["warning", "reviewed", null, null])
    );
    assert_eq!(shown(&items(&server, "&basis=raw")), shown(&all));

    // It is in the register after a kill, and can be taken away.
    let server = server.kill_and_restart();
    assert_eq!(server.get(path)["ice"], json!([{"from": "11-20", "to": "03-15"}]));
    assert_eq!(server.request("DELETE", path, None).0, 200);
    assert_eq!(server.request("DELETE", path, None).1["code"], "no_hydrology");
    let (status, problem) = server.request("GET", "/api/v1/standards/stage?device=gauge-1", None);
    assert_eq!((status, &problem["code"]), (404, &json!("no_hydrology")));
    let server = server.kill_and_restart();
    assert_eq!(server.request("GET", path, None).0, 404);
}

#[test]
fn what_is_not_sound_or_not_allowed_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    put(&server, &station());
    let before = server.get("/api/v1/devices/gauge-1/hydrology");
    for (pointer, value, code, said) in [
        (
            "/curves/0/points/1/1",
            json!(60.0),
            "bad_hydrology",
            "the flow of point 2 falls",
        ),
        (
            "/curves/0/points/2/0",
            json!(2252.0),
            "bad_hydrology",
            "does not rise",
        ),
        ("/datums/0/to", json!(null), "bad_hydrology", "lies over"),
        ("/datums/0/datum", json!("渤海"), "bad_body", "unknown variant"),
        ("/stages/0/waring", json!(1.0), "bad_body", "unknown field"),
        ("/ice/0/to", json!("02-30"), "bad_hydrology", "neither a day"),
    ] {
        let mut bad = station();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match bad.pointer_mut(parent).unwrap() {
            Value::Object(object) => {
                object.insert(key.to_owned(), value);
            }
            list => list[key.parse::<usize>().unwrap()] = value,
        }
        let (status, problem) = put(&server, &bad);
        assert_eq!(
            (status, problem["code"].as_str().unwrap()),
            (400, code),
            "{pointer}: {problem}"
        );
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
    }
    let token = |role: &str, division: &str| {
        let made = server.post("/api/v1/tokens", &json!({"role": role, "division": division}));
        made["token"].as_str().unwrap().to_owned()
    };
    let path = "/api/v1/devices/gauge-1/hydrology";
    let body = station().to_string();
    for (role, division, method, want) in [
        ("integrator", "630102", "PUT", 404),
        ("integrator", "630102", "GET", 404),
        ("integrator", "630102", "DELETE", 404),
        ("viewer", "630103", "PUT", 403),
        ("officer", "630103", "DELETE", 403),
        ("viewer", "630103", "GET", 200),
        ("integrator", "630103", "PUT", 200),
    ] {
        let body = (method == "PUT").then_some(body.as_str());
        let (status, answer) = request(&server.http, &token(role, division), method, path, body);
        assert_eq!(status, want, "{role} {division} {method}: {answer}");
    }
    let other = token("viewer", "630102");
    let stage = "/api/v1/standards/stage?device=gauge-1&level=1";
    assert_eq!(
        request(&server.http, &other, "GET", stage, None).1["code"],
        "unknown_device"
    );
    for (more, code) in [
        ("&level=NaN", "bad_level"),
        ("&at=2026-07-10T09:00:00Z", "bad_parameter"),
        ("&basis=all", "unknown_series"),
    ] {
        let path = format!("/api/v1/standards/stage?device=gauge-1{more}");
        assert_eq!(server.request("GET", &path, None).1["code"], code, "{more}");
    }
    assert_eq!(server.get(path), before);
}

#[test]
fn the_flow_follows_a_level_and_is_made_again_when_its_curve_changes() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    put(&server, &station());
    let times = [
        "2026-04-30T08:00:00+08:00",
        "2026-07-10T08:00:00+08:00",
        "2026-07-10T09:00:00+08:00",
        "2026-07-10T10:00:00+08:00",
        "2026-11-25T08:00:00+08:00",
    ];
    let levels: Vec<(&str, f64)> = times.into_iter().zip([1.0, 1.38, 2.38, 4.5, 1.38]).collect();
    say(&server, &levels);
    // What the station measures itself stands on its own channel.
    let own = json!([{"q": "flow", "t": Timestamp::parse(times[1]).unwrap().ms(), "v": 7.5}]);
    server.post("/api/v1/readings", &json!({"device": "gauge-1", "readings": own}));
    server.caught_up();
    let flows = |server: &Server, ch: u64, more: &str| -> Value {
        let series = server.get("/api/v1/series?device=gauge-1&quantity=flow");
        let series = series["items"].as_array().unwrap().clone();
        let Some(series) = series.iter().find(|row| row["ch"] == ch) else {
            return json!([]);
        };
        let path = format!(
            "/api/v1/series/{}/values?from=2026-04-01T00:00:00Z&to=2026-12-01T00:00:00Z{more}",
            series["id"]
        );
        server.get(&path)["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["v"].clone())
            .collect()
    };
    assert_eq!(
        flows(&server, 50, ""),
        json!(["no_curve", 5.0, 20.0, "above_curve", "ice"])
    );
    assert_eq!(
        flows(&server, 50, "&quality=derived"),
        json!(["no_curve", 5.0, 20.0, "above_curve", "ice"])
    );
    assert_eq!(flows(&server, 0, ""), json!([7.5]));
    // What has no flow has none that is normal.
    let latest = server.get("/api/v1/latest?device=gauge-1&quantity=flow");
    let latest = latest["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["ch"] == 50)
        .unwrap()
        .clone();
    assert_eq!(
        (&latest["value"], &latest["state"]),
        (&json!("ice"), &json!("unknown"))
    );
    // A level that is replaced has another flow.
    say(&server, &[(times[2], 1.88)]);
    assert_eq!(
        flows(&server, 50, ""),
        json!(["no_curve", 5.0, 10.0, "above_curve", "ice"])
    );

    // A curve that reaches higher, without ice, and that holds only from nine o'clock on.
    let mut changed = station();
    changed["curves"][0]["points"] = json!([[2251.0, 0.0], [2252.0, 12.0], [2255.0, 72.0]]);
    changed["curves"][0]["from"] = times[2].into();
    changed["ice"] = json!([]);
    put(&server, &changed);
    // (2254.62 - 2252) x 20 + 12.
    let want = json!(["no_curve", "no_curve", 12.0, 64.4, 6.0]);
    wait_for("the flows to be made again", Duration::from_secs(20), || {
        (flows(&server, 50, "") == want).then_some(())
    });
    let series = server.get("/api/v1/series?device=gauge-1&quantity=flow");
    let id = series["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["ch"] == 50)
        .unwrap()["id"]
        .clone();
    let versions = server.get(&format!(
        "/api/v1/series/{id}/values?from=2026-04-01T00:00:00Z&to=2026-12-01T00:00:00Z&revisions=true"
    ));
    let versions = versions["items"].as_array().unwrap().clone();
    let ten: Vec<Value> = versions
        .iter()
        .filter(|row| row["t"] == times[3])
        .map(|row| row["v"].clone())
        .collect();
    assert_eq!(ten, [json!("above_curve"), json!(64.4)], "both are kept");
    assert_eq!(flows(&server, 0, ""), json!([7.5]));
    assert!(flows(&server, 50, "&quality=revised").as_array().unwrap().len() >= 3);

    // A kill and a replay come to the same.
    let server = server.kill_and_restart();
    assert_eq!(flows(&server, 50, ""), want);
    let digest = server.get("/api/v1/digest");
    let into = tempfile::tempdir().unwrap();
    let again = into.path().join("again");
    // How old readings may be is said in the configuration.
    let config = folder.path().join("onemap.toml");
    let onemap = |dir: &std::path::Path, arguments: &[&str]| {
        let mut command = Command::new(binary("onemap"));
        command.arg("--config").arg(&config).arg("--data-dir").arg(dir);
        let output = command.args(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    };
    let mut server = server;
    server.stop();
    onemap(
        folder.path(),
        &["journal", "replay", "--into", again.to_str().unwrap()],
    );
    let own: Value = serde_json::from_slice(&onemap(folder.path(), &["digest", "--json"])).unwrap();
    let replayed: Value = serde_json::from_slice(&onemap(&again, &["digest", "--json"])).unwrap();
    assert_eq!(own["history"], digest["history"]);
    for what in ["latest", "history", "values", "transitions"] {
        assert_eq!(own[what].as_str().map(str::len), Some(64));
        assert_eq!(replayed[what], own[what], "{what}");
    }
}

#[test]
fn flows_end_when_nothing_is_known_any_more_or_the_levels_stand_on_another_channel() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    let times = [
        "2026-07-10T08:00:00+08:00",
        "2026-07-10T09:00:00+08:00",
        "2026-07-10T10:00:00+08:00",
    ];
    let say = |channel: u16, said: &[(&str, Value)]| {
        let readings: Vec<Value> = said
            .iter()
            .map(|(time, value)| {
                json!({"q": "water_level", "ch": channel, "t": Timestamp::parse(time).unwrap().ms(), "v": value})
            })
            .collect();
        server.post(
            "/api/v1/readings",
            &json!({"device": "gauge-1", "readings": readings}),
        );
        server.caught_up();
    };
    let flows = || -> Value {
        let series = server.get("/api/v1/series?device=gauge-1&quantity=flow");
        let id = &series["items"][0]["id"];
        let path = format!("/api/v1/series/{id}/values?from=2026-07-01T00:00:00Z&to=2026-08-01T00:00:00Z");
        let items = server.get(&path)["items"].as_array().unwrap().clone();
        items.iter().map(|row| row["v"].clone()).collect()
    };
    let come = |want: Value| {
        wait_for("the flows to be made again", Duration::from_secs(20), || {
            (flows() == want).then_some(())
        });
    };
    let mut on_three = station();
    on_three["ch"] = 3.into();
    put(&server, &on_three);
    say(
        3,
        &[
            (times[0], json!(1.38)),
            (times[1], json!(2.38)),
            (times[2], json!(1.88)),
        ],
    );
    assert_eq!(flows(), json!([5.0, 20.0, 10.0]));
    let path = "/api/v1/devices/gauge-1/hydrology";
    assert_eq!(server.request("DELETE", path, None).0, 200);
    come(json!(["no_curve", "no_curve", "no_curve"]));
    let latest = server.get("/api/v1/latest?device=gauge-1&quantity=flow");
    assert_eq!(latest["items"][0]["state"], "unknown");
    // Another channel has a level of one of these times.
    say(4, &[(times[1], json!(1.88))]);
    put(&server, &on_three);
    come(json!([5.0, 20.0, 10.0]));
    let mut on_four = station();
    on_four["ch"] = 4.into();
    put(&server, &on_four);
    come(json!(["no_level", 10.0, "no_level"]));
}

#[test]
fn stations_come_from_csv_and_bad_lines_leave_theirs_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    for id in ["gauge-2", "gauge-3"] {
        server.add_device(id, &json!({"kind": "river_gauge", "division": "630102"}));
    }
    let header = "测站,kind,ch,from,to,datum,zero_m,level_m,flow_m3_s,warning,guaranteed,highest,highest_at,source,verified";
    let lines = [
        "gauge-1,datum,,2026-05-01,,1985国家高程基准,2250.12,,,,,,,水准测量,是",
        "gauge-1,curve,,2026-05-01,,,,2251,0,,,,,整编 2025,",
        "gauge-1,curve,,2026-05-01,,,,2252,10,,,,,,",
        "gauge-2,stages,,2026-05-01,,,,,,5,4,,,手册,",
        "gauge-3,ice,,11-20,03-15,,,,,,,,,,",
        "gauge-3,curve,,2026-05-01,,,,x,0,,,,,整编,",
        "gauge-9,ice,,11-20,03-15,,,,,,,,,,",
    ];
    let file = folder.path().join("stations.csv");
    std::fs::write(&file, format!("\u{feff}{header}\r\n{}", lines.join("\r\n"))).unwrap();
    put(&server, &json!({"ice": [{"from": "12-01", "to": "02-28"}]}));
    let import = |more: &[&str]| {
        let output = Command::new(binary("onemap"))
            .arg("--data-dir")
            .arg(folder.path())
            .args(["--json", "import", "hydrology"])
            .args(more)
            .arg(&file)
            .output()
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{told}"));
        (output.status.code(), answer, told)
    };
    let (code, dry, _) = import(&["--dry-run"]);
    assert_eq!((code, &dry["devices"]), (Some(1), &json!(1)));
    let path = "/api/v1/devices/gauge-1/hydrology";
    assert_eq!(server.get(path)["curves"], json!([]));
    let (code, done, told) = import(&[]);
    assert_eq!(code, Some(1));
    let places: Vec<Value> = done["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| json!([error["line"], error["column"]]))
        .collect();
    assert_eq!(
        json!([
            done["devices"],
            done["imported"],
            done["refused"],
            done["left"],
            places
        ]),
        json!([
            1,
            3,
            3,
            ["gauge-2", "gauge-3", "gauge-9"],
            [[5, ""], [7, "level_m"], [8, "device"]]
        ])
    );
    assert!(
        told.contains("stations.csv:7: level_m: `x` is not a number"),
        "{told}"
    );
    let made = server.get(path);
    assert_eq!(
        json!([
            made["curves"][0]["points"],
            made["datums"][0]["verified"],
            made["ice"][0]["from"]
        ]),
        json!([[[2251.0, 0.0], [2252.0, 10.0]], true, "12-01"]),
        "what the file has none of stays"
    );
    for id in ["gauge-2", "gauge-3"] {
        let path = format!("/api/v1/devices/{id}/hydrology");
        assert_eq!(server.request("GET", &path, None).0, 404, "{id}");
    }
    // The flow follows at once; nobody brings a file about another division's stations.
    say(&server, &[("2026-07-10T08:00:00+08:00", 1.38)]);
    assert_eq!(server.latest("gauge-1", "flow").unwrap()["value"], 5.0);
    let token = |role: &str| {
        let made = server.post("/api/v1/tokens", &json!({"role": role, "division": "630102"}));
        made["token"].as_str().unwrap().to_owned()
    };
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let send = |role: &str, text: &str| {
        let response = agent
            .post(format!("{}/api/v1/hydrology/import", server.http))
            .header("authorization", format!("Bearer {}", token(role)))
            .send(text)
            .unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().read_to_string().unwrap();
        (status, serde_json::from_str::<Value>(&body).unwrap())
    };
    let text = format!("{header}\n{}\ngauge-2,ice,,11-20,03-15,,,,,,,,,,\n", lines[0]);
    assert_eq!(send("viewer", &text).0, 403);
    let (status, answer) = send("integrator", &text);
    assert_eq!(
        (status, &answer["errors"][0]["column"], &answer["devices"]),
        (200, &json!("device"), &json!(1))
    );
    let (_, answer) = send("integrator", "device,kind,from,colour\n");
    assert_eq!(answer["errors"][0]["column"], "colour");
}

const BY_STAGE: &str = "
version: 1
rules:
  - id: by-stage
    name: {zh: 超警戒, en: Above the warning stage}
    applies_to: {kind: river_gauge}
    severity: major
    when: {above: {quantity: water_level, raise: stage warning, clear: stage warning - 0.10 m}}
    panels: {forecast: water_level}
    advice: {zh: 巡堤, en: Patrol the dike}
";

#[test]
fn a_rule_watches_each_gauge_by_the_stage_that_the_register_has() {
    let server = Server::with_rules(&[("stages", BY_STAGE)]);
    for id in ["gauge-1", "gauge-2"] {
        server.add_device(id, &json!({"kind": "river_gauge", "cadence_s": 3600}));
    }
    let stages = |warning: f64| {
        let mut own = station();
        own["stages"][0] = json!({"from": "2020-01-01T00:00:00+08:00", "warning": warning, "source": "x"});
        own
    };
    assert_eq!(put(&server, &stages(2252.5)).0, 200);
    // 2.38 m over the zero of the one, and nothing is known of the other.
    for id in ["gauge-1", "gauge-2"] {
        let reading = json!({"q": "water_level", "v": 2.5});
        server.post("/api/v1/readings", &json!({"device": id, "readings": [reading]}));
    }
    server.caught_up();
    let open = |server: &Server| {
        let open = server.get("/api/v1/alerts?state=open");
        let one = |alert: &Value| json!([alert["series"]["device"], alert["threshold"]]);
        open["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(one)
            .collect::<Value>()
    };
    let soon = Duration::from_secs(30);
    let first = wait_for("the alert", soon, || {
        let open = open(&server);
        (open != json!([])).then_some(open)
    });
    assert_eq!(first, json!([["gauge-1", 2.38]]));
    let why = |id: &str| {
        server.get(&format!(
            "/api/v1/why?device={id}&quantity=water_level&rule=by-stage"
        ))
    };
    let told = why("gauge-1").to_string();
    assert!(told.contains("警戒水位（2.38 m）"), "{told}");
    let told = why("gauge-2").to_string();
    assert!(told.contains("没有现行的警戒水位"), "{told}");

    // Another stage: its alert goes, and comes anew by the other limit; so it is after a restart.
    assert_eq!(put(&server, &stages(2252.4)).0, 200);
    server.caught_up();
    wait_for("the other limit", soon, || {
        (open(&server) == json!([["gauge-1", 2.28]])).then_some(())
    });
    let server = server.kill_and_restart();
    server.caught_up();
    assert_eq!(open(&server), json!([["gauge-1", 2.28]]));
    assert_eq!(put(&server, &stages(2260.0)).0, 200);
    server.caught_up();
    wait_for("its end", soon, || (open(&server) == json!([])).then_some(()));
}
