//! A night of two people at a desk: what they write, how one hands over to the other, and the report of the day.

use std::process::Command;
use std::time::Duration;

use onemap_model::Timestamp;
use serde_json::{Value, json};

use crate::alarms::DUST;
use crate::server::{Server, request, text, wait_for};

const SOON: Duration = Duration::from_secs(20);

fn now() -> i64 {
    Timestamp::from_system(std::time::SystemTime::now()).ms()
}

/// The night shift began an hour ago, the day shift begins in six hours.
fn desk() -> Value {
    let at = |minutes: i64| Timestamp::from_ms(now() + minutes * 60_000).to_string();
    json!({
        "name": "城东区", "division": "630102", "severity": "major", "handover_min": 30,
        "steps": [{"after_min": 0, "post": "值班员"}],
        "shifts": [
            {"from": at(-12 * 60), "to": at(-60), "name": "白班", "posts": {"值班员": ["赵工"]}},
            {"from": at(-60), "to": at(360), "name": "夜班", "posts": {"值班员": ["王队"]}},
            {"from": at(360), "to": at(12 * 60), "name": "早班", "posts": {"值班员": ["李工"]}},
        ],
    })
}

fn token(server: &Server, name: &str, role: &str, division: &str) -> String {
    let new = json!({"name": name, "role": role, "division": division});
    server.post("/api/v1/tokens", &new)["token"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn reading(server: &Server, device: &str, value: f64) {
    let readings = json!([{"q": "pm10", "t": now(), "v": value}]);
    server.post(
        "/api/v1/readings",
        &json!({"device": device, "readings": readings}),
    );
}

/// Keeps a value above its limit until so many alerts are open.
fn open_alerts(server: &Server, devices: &[&str], n: usize) -> Vec<Value> {
    wait_for("the alerts", SOON, || {
        for device in devices {
            reading(server, device, 300.0);
        }
        let alerts = server.get("/api/v1/alerts?state=open");
        alerts["items"].as_array().filter(|all| all.len() == n).cloned()
    })
}

struct Person<'a> {
    server: &'a Server,
    token: String,
}

impl Person<'_> {
    fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let body = body.map(|body| body.to_string());
        request(&self.server.http, &self.token, method, path, body.as_deref())
    }
    fn write(&self, path: &str, body: Value) -> Value {
        let (status, said) = self.ask("POST", &format!("/api/v1/duty/east/{path}"), Some(body));
        assert_eq!(status, 201, "{path}: {said}");
        said
    }
    fn refused(&self, path: &str, body: Value) -> (u16, String) {
        let (status, said) = self.ask("POST", &format!("/api/v1/duty/east/{path}"), Some(body));
        if status == 409 {
            assert!(
                said["detail_zh"].as_str().is_some_and(|zh| !zh.is_ascii()),
                "{said}"
            );
        }
        (status, said["code"].as_str().unwrap_or_default().to_owned())
    }
    fn log(&self, query: &str) -> Value {
        let (status, said) = self.ask("GET", &format!("/api/v1/duty/east/log?{query}"), None);
        assert_eq!(status, 200, "{said}");
        said
    }
}

fn kinds(log: &Value) -> Vec<String> {
    let items = log["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["kind"].as_str().unwrap().to_owned())
        .collect()
}

fn standing(server: &Server) -> Value {
    server.get("/api/v1/duty")["items"][0]["handover"].clone()
}

#[test]
fn a_night_is_written_down_handed_over_once_and_counted_by_the_day() {
    let server = Server::with_rules(&[("dust", DUST)]);
    for device in ["air-1", "air-2"] {
        server.add_device(device, &json!({"division": "630102", "cadence_s": 3600}));
    }
    let (status, shown) = server.request("PUT", "/api/v1/duty/east", Some(&desk().to_string()));
    assert_eq!(status, 200, "{shown}");
    assert_eq!(
        (&shown["shift"]["name"], &shown["next_shift"]["name"]),
        (&json!("夜班"), &json!("早班"))
    );
    // The night shift has taken over by half an hour ago, and nobody has.
    assert_eq!(standing(&server), "missing");
    let tokens = ["王队", "李工"].map(|name| token(&server, name, "officer", "630102"));
    let north = token(&server, "north", "officer", "630105");
    let [wang, li] = [0, 1].map(|i| Person {
        server: &server,
        token: tokens[i].clone(),
    });

    // Two alerts are raised, one of them is acknowledged, one cleared.
    let alerts = open_alerts(&server, &["air-1", "air-2"], 2);
    wait_for("the page", SOON, || {
        let log = wang.log("shift=current");
        kinds(&log).contains(&"alert_paged".to_owned()).then_some(())
    });
    let of = |device: &str| {
        alerts
            .iter()
            .find(|alert| alert["series"]["device"] == device)
            .unwrap()["id"]
            .as_str()
            .unwrap()
    };
    server.post(
        &format!("/api/v1/alerts/{}/ack", of("air-1")),
        &json!({"name": "王队", "note": "在看", "minutes": 60}),
    );

    // Notes are by who is logged in; another's name is no member of them, and a mistake is corrected by another entry.
    let note = wang.write(
        "log",
        json!({"kind": "note", "text": "巡查正常 <b>\u{1F327}", "about": {"alerts": [of("air-1")]}}),
    );
    assert_eq!(
        (&note["name"], &note["shift"]["name"]),
        (&json!("王队"), &json!("夜班"))
    );
    for (body, want) in [
        (
            json!({"kind": "note", "text": "a", "name": "李工"}),
            (400, "bad_body"),
        ),
        (json!({"kind": "handover", "text": "a"}), (400, "bad_body")),
        (json!({"kind": "note", "text": " "}), (400, "bad_entry")),
        (
            json!({"kind": "note", "text": "长".repeat(4001)}),
            (400, "bad_entry"),
        ),
        (json!({"kind": "note", "text": "a\u{0}"}), (400, "bad_entry")),
        (
            json!({"kind": "note", "text": "a", "corrects": 1}),
            (404, "unknown_entry"),
        ),
        (
            json!({"kind": "note", "text": "a", "about": {"alerts": ["0".repeat(32)]}}),
            (404, "unknown_alert"),
        ),
        (
            json!({"kind": "note", "text": "a", "about": {"devices": ["none"]}}),
            (404, "unknown_device"),
        ),
        (
            json!({"kind": "note", "text": "a", "about": {"warnings": [9]}}),
            (404, "unknown_warning"),
        ),
    ] {
        let (status, code) = wang.refused("log", body.clone());
        assert_eq!((status, code.as_str()), want, "{body:.80}");
    }
    let right = wang.write(
        "log",
        json!({"kind": "call", "text": "更正", "corrects": note["id"]}),
    );
    assert_eq!(right["corrects"], note["id"]);

    // What was not handed over is not taken over; who hands over does not take over; an older one is stale.
    let take = |id: &Value| json!({"handover": id});
    assert_eq!(
        li.refused("takeover", take(&note["id"])),
        (409, "not_handed_over".to_owned())
    );
    let stale = wang.write("handover", json!({"text": "交班"}));
    let handover = wang.write("handover", json!({"text": "补充后再交班"}));
    let handed = &handover["handed"];
    let n = ["n_open", "n_waiting", "n_shelved"].map(|n| handed[n].as_u64().unwrap());
    assert_eq!(n, [2, 1, 0], "{handed}");
    // Of one page the second alert may be told with the first or a minute later.
    let listed = handed["alerts"].as_array().unwrap();
    let n_paged = listed.iter().filter(|alert| alert["paged"] == true).count();
    assert_eq!(handed["n_paged"], json!(n_paged), "{handed}");
    assert!(
        handed.get("set_aside").is_none(),
        "an officer of a district sees no consumers: {handed}"
    );
    let first = listed.iter().find(|alert| alert["id"] == of("air-1")).unwrap();
    assert_eq!(
        (&first["acknowledged"]["name"], &first["severity"]),
        (&json!("王队"), &json!("major"))
    );
    assert_eq!(
        wang.refused("takeover", take(&handover["id"])),
        (409, "own_handover".to_owned())
    );
    assert_eq!(
        li.refused("takeover", take(&stale["id"])),
        (409, "handover_stale".to_owned())
    );

    // Another division sees nothing of it, and writes nothing into it.
    let other = Person {
        server: &server,
        token: north.clone(),
    };
    assert_eq!(other.ask("GET", "/api/v1/duty/east/log", None).0, 404);
    for (path, body) in [
        ("log", json!({"kind": "note", "text": "a"})),
        ("handover", json!({"text": "a"})),
        ("takeover", take(&handover["id"])),
    ] {
        assert_eq!(
            other.refused(path, body),
            (404, "unknown_desk".to_owned()),
            "{path}"
        );
    }

    // The server dies between hand-over and take-over.
    let before = wang.log("shift=current");
    let server = server.kill_and_restart();
    server.caught_up();
    let [wang, li] = [0, 1].map(|i| Person {
        server: &server,
        token: tokens[i].clone(),
    });
    let taken = li.write("takeover", take(&handover["id"]));
    assert_eq!(taken["handover"], handover["id"]);
    let other_person = token(&server, "张工", "officer", "630102");
    let zhang = Person {
        server: &server,
        token: other_person,
    };
    assert_eq!(
        zhang.refused("takeover", take(&handover["id"])),
        (409, "handover_taken".to_owned())
    );
    let row = server.get("/api/v1/duty")["items"][0].clone();
    assert_eq!(row["last_handover"]["taken"]["name"], "李工", "{row}");
    assert_ne!(row["handover"], "missing");

    // The log says what it said before, and goes on; in pages of one it says the same.
    let after = wang.log("shift=current");
    let n = before["items"].as_array().unwrap().len();
    assert_eq!(
        after["items"].as_array().unwrap()[..n],
        before["items"].as_array().unwrap()[..]
    );
    let mut paged = Vec::new();
    let mut next = String::new();
    loop {
        let page = wang.log(&format!("shift=current&limit=1{next}"));
        paged.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(at) => next = format!("&after={at}"),
            None => break,
        }
    }
    assert_eq!(paged, after["items"].as_array().unwrap()[..]);
    let count = |kind: &str| kinds(&after).iter().filter(|own| *own == kind).count();
    let want = [
        ("alert_raised", 2),
        ("alert_paged", 1),
        ("note", 1),
        ("call", 1),
        ("handover", 2),
        ("takeover", 1),
    ];
    for (kind, n) in want {
        assert_eq!(count(kind), n, "{kind}: {after:#}");
    }

    reports_count_as_a_hand_does(&server, &wang.token, &north);
}

fn reports_count_as_a_hand_does(server: &Server, own: &str, foreign: &str) {
    wait_for("the alert to clear", SOON, || {
        reading(server, "air-2", 100.0);
        let open = server.get("/api/v1/alerts?state=open");
        (open["items"].as_array().unwrap().len() == 1).then_some(())
    });
    server.caught_up();
    let today: String = Timestamp::from_ms(now()).to_string().chars().take(10).collect();
    let of = |token: &str, path: &str| {
        let (status, said) = request(&server.http, token, "GET", path, None);
        assert_eq!(status, 200, "{said}");
        said
    };
    let daily = format!("/api/v1/reports/daily?date={today}");
    let report = of(own, &daily);
    assert_eq!(
        (&report["state"], &report["partial"]),
        (&json!("running"), &json!(true)),
        "{report:#}"
    );
    for (place, want) in [
        ("/alarms/raised", json!(2)),
        ("/alarms/cleared", json!(1)),
        ("/alarms/stale", json!(0)),
        ("/alarms/by_severity/1/raised", json!(2)),
        ("/alarms/by_rule/0/rule", json!("pm10-dust")),
        ("/alarms/by_division/0/raised", json!(2)),
        ("/alarms/by_division/0/most", json!(2)),
        ("/response/acknowledged", json!(1)),
        ("/response/unacknowledged", json!(0)),
        ("/response/ended_unacknowledged", json!(1)),
        ("/pages/n", json!(1)),
        ("/pages/by_desk/0/desk", json!("east")),
        ("/warnings/issued", json!(0)),
        ("/duty/notes", json!(1)),
        ("/duty/calls", json!(1)),
        ("/duty/handovers", json!(2)),
        ("/duty/takeovers", json!(1)),
    ] {
        assert_eq!(report.pointer(place), Some(&want), "{place}: {report:#}");
    }
    let load = of(own, "/api/v1/alerts/load");
    assert_eq!(load["n_raised"], report["alarms"]["raised"], "counted once");
    let others = of(foreign, &daily);
    assert_eq!(
        (&others["alarms"]["raised"], &others["duty"]["entries"]),
        (&json!(0), &json!(0)),
        "{others:#}"
    );

    // A day before the ledger is unknown, one that lies ahead is refused.
    let before = of(own, "/api/v1/reports/daily?date=2020-01-01");
    assert_eq!(
        (&before["state"], &before["alarms"]),
        (&json!("unknown"), &Value::Null)
    );
    for bad in [
        "daily?date=2999-01-01",
        "daily?date=2026-02-30",
        "monthly?month=2026-13",
    ] {
        let (status, _) = request(&server.http, own, "GET", &format!("/api/v1/reports/{bad}"), None);
        assert_eq!(status, 400, "{bad}");
    }
    let month = &today[..7];
    let monthly = of(own, &format!("/api/v1/reports/monthly?month={month}"));
    assert_eq!(monthly["alarms"]["raised"], report["alarms"]["raised"]);

    for lang in ["zh", "en"] {
        let page = text(&server.http, own, &format!("{daily}&format=html&lang={lang}"));
        assert!(
            page.starts_with("<!doctype html>") && !page.contains("<script"),
            "{page}"
        );
        let table = text(&server.http, own, &format!("{daily}&format=csv&lang={lang}"));
        read_by_python(&table, &of(own, &daily));
    }
}

/// A CSV reader that we did not write finds in the table what stands in the JSON.
fn read_by_python(table: &str, report: &Value) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report.csv");
    std::fs::write(&path, table).unwrap();
    let script = "import csv, json, sys\n\
        rows = list(csv.reader(open(sys.argv[1], encoding='utf-8-sig', newline='')))\n\
        assert all(len(row) == 5 for row in rows), rows\n\
        print(json.dumps([[row[0], row[4]] for row in rows[1:]]))";
    let out = Command::new("python3")
        .args(["-c", script])
        .arg(&path)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let cells: Vec<(String, String)> = serde_json::from_slice(&out.stdout).unwrap();
    assert!(cells.len() > 40, "{cells:?}");
    for (place, cell) in cells {
        // When it was made, and what comes with time.
        if place == "/now" || place.starts_with("/data/") {
            continue;
        }
        let want = match report.pointer(&place) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        assert_eq!(cell.strip_prefix('\'').unwrap_or(&cell), want, "{place}");
    }
}
