//! Questions about the history over HTTP: steps, fill, as known then, weights, pages, tags, limits.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::{Server, request, text, wait_for};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

fn now_ms() -> i64 {
    onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms()
}

/// A whole hour, some hours ago.
fn hours_ago(n: i64) -> i64 {
    now_ms() / HOUR * HOUR - n * HOUR
}

fn write(server: &Server, device: &str, quantity: &str, points: &[(i64, f64)]) {
    let readings: Vec<Value> = points
        .iter()
        .map(|(t, v)| json!({"q": quantity, "t": t, "v": v}))
        .collect();
    server.post(
        "/api/v1/readings",
        &json!({"device": device, "readings": readings}),
    );
    server.caught_up();
}

fn series_id(server: &Server, device: &str, quantity: &str) -> u64 {
    let path = format!("/api/v1/series?device={device}&quantity={quantity}");
    server.get(&path)["items"][0]["id"].as_u64().unwrap()
}

fn values(answer: &Value) -> Vec<Value> {
    let items = answer["items"].as_array().unwrap();
    items.iter().map(|item| item["v"].clone()).collect()
}

fn time(item: &Value) -> i64 {
    let text = item["t"].as_str().unwrap();
    onemap_model::Timestamp::parse(text).unwrap().ms()
}

/// Status, tag and body of an answer; with a tag that is known already.
fn tagged(server: &Server, path: &str, known: Option<&str>) -> (u16, Option<String>, String) {
    let mut request = ureq::get(format!("{}{path}", server.http))
        .header("authorization", format!("Bearer {}", server.token));
    if let Some(known) = known {
        request = request.header("if-none-match", known);
    }
    let mut response = request.call().unwrap();
    let header = |name: &str| {
        let value = response.headers().get(name)?;
        Some(value.to_str().unwrap().to_owned())
    };
    let tag = header("etag");
    if tag.is_some() {
        assert_eq!(header("cache-control").as_deref(), Some("private, no-cache"));
        assert_eq!(header("vary").as_deref(), Some("authorization, cookie"));
    }
    let body = response.body_mut().read_to_string().unwrap();
    (response.status().as_u16(), tag, body)
}

#[test]
fn a_series_is_stepped_as_asked_and_gaps_stay_gaps() {
    let server = Server::new();
    server.add_device("meter", &json!({"division": "630102001"}));
    let from = hours_ago(8);
    let at = |hour: i64, minute: i64| from + hour * HOUR + minute * MINUTE;
    let points = [
        (at(0, 10), 10.0),
        (at(0, 50), 14.0),
        (at(1, 20), 15.0),
        // Nothing for two hours, then the counter began again.
        (at(4, 30), 3.0),
        (at(4, 40), 5.0),
    ];
    write(&server, "meter", "pm2_5", &points);
    let id = series_id(&server, "meter", "pm2_5");
    let range = format!("from={from}&to={}&step=1h", at(6, 0));
    let ask = |more: &str| server.get(&format!("/api/v1/series/{id}/values?{range}&{more}"));
    let gap = Value::Null;
    let six = |v: [Option<f64>; 6]| v.map(|v| v.map_or(Value::Null, |v| json!(v))).to_vec();
    assert_eq!(
        values(&ask("agg=mean")),
        six([Some(12.0), Some(15.0), None, None, Some(4.0), None])
    );
    assert_eq!(
        values(&ask("agg=delta")),
        six([Some(4.0), Some(1.0), None, None, Some(-10.0), None])
    );
    assert_eq!(
        values(&ask("agg=increase")),
        six([Some(4.0), Some(1.0), None, None, Some(5.0), None])
    );
    // From the number before: one in half an hour, five in three hours and twenty minutes.
    assert_eq!(
        values(&ask("agg=rate")),
        six([
            Some(4.0 / 2400.0),
            Some(1.0 / 1800.0),
            None,
            None,
            Some(5.0 / 12_000.0),
            None
        ])
    );
    assert_eq!(values(&ask("agg=p50"))[0], json!(12.0));
    let linear = ask("agg=last&fill=linear");
    let on_the_line = [
        Some(14.0),
        Some(15.0),
        Some(35.0 / 3.0),
        Some(25.0 / 3.0),
        Some(5.0),
        None,
    ];
    for (got, want) in values(&linear).iter().zip(on_the_line) {
        let near = match (got.as_f64(), want) {
            (Some(got), Some(want)) => (got - want).abs() < 1e-9,
            (got, want) => got == want,
        };
        assert!(near, "{got} {want:?}");
    }
    assert_eq!(linear["items"][2]["filled"], true);
    assert_eq!(values(&ask("agg=last&fill=linear&max_gap=1h"))[2], gap);
    assert_eq!(values(&ask("agg=last&fill=none")).len(), 3);
    assert_eq!(values(&ask("agg=sum&fill=zero"))[5], json!(0.0));

    // A correction: 15 was 25. As known before it, nothing has changed.
    std::thread::sleep(Duration::from_millis(5));
    let before = now_ms();
    std::thread::sleep(Duration::from_millis(5));
    write(&server, "meter", "pm2_5", &[(at(1, 20), 25.0)]);
    assert_eq!(values(&ask("agg=max"))[1], json!(25.0));
    assert_eq!(
        values(&ask(&format!("agg=max&known_at={before}")))[1],
        json!(15.0)
    );
    // The corrected one carries marks of its arrival and no others; the filter takes effect on steps.
    assert_eq!(
        values(&ask("agg=count&quality=revised")),
        six([None, Some(1.0), None, None, None, None])
    );
    assert_eq!(values(&ask("agg=count&quality=!revised"))[1], gap);
    let aggregate = format!("/api/v1/aggregate?quantity=pm2_5&{range}&group_by=none");
    let group = |more: &str| values(&server.get(&format!("{aggregate}&{more}"))["groups"][0]);
    assert_eq!(group("agg=max")[1], json!(25.0));
    assert_eq!(group(&format!("agg=max&known_at={before}"))[1], json!(15.0));

    for (path, code) in [
        (
            format!("/api/v1/series/{id}/values?{range}&agg=median"),
            "bad_agg",
        ),
        (
            format!("/api/v1/series/{id}/values?{range}&revisions=true"),
            "bad_parameter",
        ),
        (format!("/api/v1/series/{id}/values?agg=mean"), "bad_parameter"),
        (format!("/api/v1/series/{id}/values?fill=linear"), "bad_parameter"),
        (
            format!("/api/v1/series/{id}/values?{range}&max_gap=1h"),
            "bad_fill",
        ),
        (
            format!("/api/v1/series/{id}/values?{range}&fill=guess"),
            "bad_parameter",
        ),
        (
            format!("/api/v1/series/{id}/values?{range}&known_at=soon"),
            "bad_time",
        ),
        (
            format!("/api/v1/series/{id}/values?from=0&step=1s"),
            "too_many_steps",
        ),
        (
            format!("/api/v1/series/{id}/values?from=-9999999999999"),
            "too_long",
        ),
        (format!("/api/v1/series/{id}/values?after=1.x"), "bad_time"),
        (format!("/api/v1/series/{id}/values?limit=100001"), "bad_limit"),
        (format!("{aggregate}&across=most"), "bad_across"),
        (format!("{aggregate}&agg=max&weight=points"), "bad_weight"),
        (format!("{aggregate}&agg=max&weights=area"), "bad_weights"),
        (format!("{aggregate}&entity_kind=grid"), "bad_entity_kind"),
    ] {
        let (status, answer) = server.request("GET", &path, None);
        assert_eq!((status, &answer["code"]), (400, &json!(code)), "{path}: {answer}");
    }
}

#[test]
fn groups_are_entities_and_their_divisions_weigh() {
    let server = Server::new();
    let square = |west: f64| {
        let east = west + 0.1;
        json!({"type": "Polygon", "coordinates":
            [[[west, 36.0], [east, 36.0], [east, 36.1], [west, 36.1], [west, 36.0]]]})
    };
    for (kind, code, west, people) in [
        ("division", "630102001", 101.0, 9000),
        ("division", "630102002", 101.1, 1000),
        ("grid", "g-1", 101.0, 0),
        ("grid", "g-2", 101.1, 0),
    ] {
        let entity = json!({"kind": kind, "code": code, "name": format!("名 {code}"),
            "geometry": square(west), "attributes": {"population": people}});
        server.post("/api/v1/entities", &entity);
    }
    let from = hours_ago(3);
    for (device, lon, value) in [("a", 101.05, 10.0), ("b", 101.06, 20.0), ("c", 101.15, 95.0)] {
        server.add_device(device, &json!({"position": {"lon": lon, "lat": 36.05}}));
        write(
            &server,
            device,
            "pm2_5",
            &[(from, value), (from + MINUTE, value + 5.0)],
        );
    }
    server.add_device("nowhere", &json!({}));
    write(&server, "nowhere", "pm2_5", &[(from, 1000.0)]);
    let range = format!("quantity=pm2_5&from={from}&to={}&step=1h", from + HOUR);
    let ask = |more: &str| server.get(&format!("/api/v1/aggregate?{range}&{more}"));
    let groups = |answer: &Value| -> Vec<(Value, Value, Value)> {
        let groups = answer["groups"].as_array().unwrap();
        let row = |g: &Value| (g["group"].clone(), g["name"].clone(), g["items"][0]["v"].clone());
        groups.iter().map(row).collect()
    };
    assert_eq!(
        groups(&ask("group_by=entity&entity_kind=grid&agg=first")),
        [
            (Value::Null, Value::Null, json!(1000.0)),
            (json!("g-1"), json!("名 g-1"), json!(15.0)),
            (json!("g-2"), json!("名 g-2"), json!(95.0)),
        ]
    );
    // 9000 people breathe the mean of two stations, 1000 that of one; who stands nowhere has no weight.
    let weighted = ask("group_by=none&agg=first&weights=population");
    assert_eq!(groups(&weighted)[0].2, json!(15.0 * 0.9 + 95.0 * 0.1));
    assert_eq!(weighted["groups"][0]["series"], 3);
    assert_eq!(weighted["groups"][0]["unweighted"], 1);
    let by_area = groups(&ask("group_by=none&agg=first&weights=area"))[0]
        .2
        .as_f64()
        .unwrap();
    assert!((by_area - 55.0).abs() < 0.01, "{by_area}");
    // Each series first, then all of them.
    assert_eq!(
        groups(&ask("group_by=none&agg=delta&division=630102"))[0].2,
        json!(15.0)
    );
    assert_eq!(
        groups(&ask("group_by=none&agg=max&across=p50&division=630102"))[0].2,
        json!(25.0)
    );
}

#[test]
fn pages_lose_and_double_nothing_while_points_arrive() {
    let server = Server::new();
    server.add_device("busy", &json!({}));
    let from = hours_ago(10);
    let old: Vec<(i64, f64)> = (0..3000).map(|i| (from + i * 1000, i as f64)).collect();
    write(&server, "busy", "pm2_5", &old);
    // Every tenth is corrected twice.
    for add in [0.25, 0.5] {
        let again: Vec<(i64, f64)> = old.iter().step_by(10).map(|(t, v)| (*t, v + add)).collect();
        write(&server, "busy", "pm2_5", &again);
    }
    let id = series_id(&server, "busy", "pm2_5");
    let done = AtomicBool::new(false);
    // The server itself stays on this thread.
    let (http, token) = (server.http.clone(), server.token.clone());
    let (page, versions) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut i = 0;
            while !done.load(Ordering::Relaxed) {
                // New ones behind all, and late ones between two seconds all over the range.
                let points = [(from + HOUR + i, 1.0), (from + (i * 7 % 3000) * 1000 + 500, -1.0)];
                let readings = points.map(|(t, v)| json!({"q": "pm2_5", "t": t, "v": v}));
                let body = json!({"device": "busy", "readings": readings}).to_string();
                let (status, answer) = request(&http, &token, "POST", "/api/v1/readings", Some(&body));
                assert_eq!(status, 202, "{answer}");
                i += 1;
            }
        });
        let all = |more: &str| {
            let mut items = Vec::new();
            let mut after = String::new();
            loop {
                let path = format!(
                    "/api/v1/series/{id}/values?from={from}&to={}&limit=97{more}{after}",
                    from + 2 * HOUR
                );
                let answer = server.get(&path);
                let page = answer["items"].as_array().unwrap();
                assert!(page.len() <= 97);
                items.extend(page.iter().cloned());
                match answer["next"].as_str() {
                    Some(next) => after = format!("&after={next}"),
                    None => break items,
                }
            }
        };
        let found = (all(""), all("&revisions=true"));
        done.store(true, Ordering::Relaxed);
        found
    });
    assert!(
        page.windows(2).all(|two| time(&two[0]) < time(&two[1])),
        "out of order or doubled"
    );
    let seen: Vec<(i64, f64)> = page
        .iter()
        .map(|item| (time(item), item["v"].as_f64().unwrap()))
        .filter(|(_, v)| *v >= 0.0)
        .filter(|(t, _)| *t < from + HOUR)
        .collect();
    let corrected = |i: i64| if i % 10 == 0 { 0.5 } else { 0.0 };
    let want: Vec<(i64, f64)> = (0..3000)
        .map(|i| (from + i * 1000, i as f64 + corrected(i)))
        .collect();
    assert_eq!(seen, want);
    let of_old = versions
        .iter()
        .filter(|item| (time(item) - from) % 1000 == 0 && time(item) < from + HOUR);
    let seen: Vec<(i64, f64)> = of_old
        .map(|item| (time(item), item["v"].as_f64().unwrap()))
        .collect();
    let want: Vec<(i64, f64)> = (0..3000)
        .flat_map(|i| {
            let adds: &[f64] = if i % 10 == 0 { &[0.0, 0.25, 0.5] } else { &[0.0] };
            adds.iter().map(move |add| (from + i * 1000, i as f64 + add))
        })
        .collect();
    assert_eq!(seen, want);
}

#[test]
fn an_answer_about_the_past_is_fetched_again_only_when_it_changed() {
    let server = Server::new();
    server.add_device("a", &json!({"division": "630102001"}));
    server.add_device("b", &json!({"division": "630103001"}));
    let from = hours_ago(5);
    for device in ["a", "b"] {
        write(&server, device, "pm2_5", &[(from, 1.0), (from + 2 * HOUR, 3.0)]);
    }
    let id = series_id(&server, "a", "pm2_5");
    let span = format!("from={from}&to={}", from + HOUR);
    let paths = [
        format!("/api/v1/series/{id}/values?{span}"),
        format!("/api/v1/series/{id}/values?{span}&revisions=true"),
        format!("/api/v1/series/{id}/values?{span}&step=1h"),
        format!("/api/v1/aggregate?quantity=pm2_5&{span}&step=1h"),
    ];
    let ask = |known: &[Option<String>]| -> Vec<(u16, Option<String>, String)> {
        let each = paths.iter().zip(known);
        each.map(|(path, known)| tagged(&server, path, known.as_deref()))
            .collect()
    };
    let tags = |answers: &[(u16, Option<String>, String)]| -> Vec<Option<String>> {
        answers.iter().map(|(_, tag, _)| tag.clone()).collect()
    };
    let first = ask(&[None, None, None, None]);
    let known = tags(&first);
    assert!(known.iter().all(Option::is_some));
    assert!(
        first
            .iter()
            .all(|(status, _, body)| *status == 200 && !body.is_empty())
    );
    let unchanged = |known: &[Option<String>]| {
        for (status, tag, body) in ask(known) {
            assert_eq!((status, body.as_str()), (304, ""));
            assert!(known.contains(&tag));
        }
    };
    unchanged(&known);
    // What comes behind the span does not concern it; neither does the same value again.
    write(&server, "a", "pm2_5", &[(from + 3 * HOUR, 4.0), (from, 1.0)]);
    unchanged(&known);
    // A late point, a revision.
    for point in [(from + MINUTE, 9.0), (from, 2.0)] {
        let before = tags(&ask(&[None, None, None, None]));
        write(&server, "a", "pm2_5", &[point]);
        let after = ask(&before);
        for (i, (status, tag, body)) in after.iter().enumerate() {
            assert_eq!(*status, 200, "{}", paths[i]);
            assert!(tag.is_some() && *tag != before[i] && !body.is_empty());
        }
        unchanged(&tags(&after));
    }
    // A device that moves to another county changes the groups and not its values.
    let before = tags(&ask(&[None, None, None, None]));
    server.request("PATCH", "/api/v1/devices/a", Some(r#"{"division":"630103002"}"#));
    let after = ask(&before);
    let statuses: Vec<u16> = after.iter().map(|(status, ..)| *status).collect();
    assert_eq!(statuses, [304, 304, 304, 200]);
    // What ends now has no tag.
    let (_, tag, _) = tagged(&server, &format!("/api/v1/series/{id}/values?from={from}"), None);
    assert_eq!(tag, None);
    // Another run of the server knows none of these.
    let path = paths[0].clone();
    let (server, known) = (server.kill_and_restart(), tags(&after));
    assert_eq!(tagged(&server, &path, known[0].as_deref()).0, 200);
}

#[test]
fn nobody_sees_another_division() {
    let server = Server::new();
    server.add_device("ours", &json!({"division": "630102001"}));
    server.add_device("theirs", &json!({"division": "630103001"}));
    let from = hours_ago(2);
    for device in ["ours", "theirs"] {
        write(&server, device, "pm2_5", &[(from, 1.0)]);
    }
    let (ours, theirs) = (
        series_id(&server, "ours", "pm2_5"),
        series_id(&server, "theirs", "pm2_5"),
    );
    let viewer = server.post("/api/v1/tokens", &json!({"role": "viewer", "division": "630102"}));
    let token = viewer["token"].as_str().unwrap();
    let get = |path: &str| request(&server.http, token, "GET", path, None);
    assert_eq!(get(&format!("/api/v1/series/{ours}/values")).0, 200);
    let (status, answer) = get(&format!("/api/v1/series/{theirs}/values"));
    assert_eq!((status, &answer["code"]), (404, &json!("unknown_series")));
    for path in [
        "/api/v1/series".to_owned(),
        "/api/v1/latest".to_owned(),
        "/api/v1/series?division=630102&kind=air_station".to_owned(),
    ] {
        let (_, answer) = get(&path);
        assert_eq!(answer["items"].as_array().unwrap().len(), 1, "{path}: {answer}");
        assert_eq!(answer["items"][0]["device"], "ours");
    }
    assert_eq!(get("/api/v1/series?division=630103").1["items"], json!([]));
    // A tag of the whole city's answer opens nothing, and says nothing of what is not shown.
    let path = format!(
        "/api/v1/aggregate?quantity=pm2_5&from={from}&to={}&group_by=none",
        from + HOUR
    );
    let (_, tag, _) = tagged(&server, &path, None);
    let mut request = ureq::get(format!("{}{path}", server.http)).header("if-none-match", tag.unwrap());
    request = request.header("authorization", format!("Bearer {token}"));
    assert_eq!(request.call().unwrap().status().as_u16(), 200);
    let table = get("/api/v1/session").0;
    assert_eq!(table, 200);
    let system = server.post("/api/v1/tokens", &json!({"role": "audit_admin"}));
    let audit = system["token"].as_str().unwrap();
    for path in [format!("/api/v1/series/{ours}/values"), path] {
        assert_eq!(
            crate::server::request(&server.http, audit, "GET", &path, None).0,
            403
        );
    }
}

/// Resident memory of a process, bytes.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn readers_that_stand_still_or_go_away_cost_little() {
    let server = Server::new();
    let token = server.add_device("long", &json!({}));
    let from = hours_ago(40);
    let n = 100_000;
    let lines: String = (0..n)
        .map(|i| format!("pm2_5 value={}.5 {}\n", i % 90, from + i * 1000))
        .collect();
    let written = ureq::post(format!("{}/api/v2/write?precision=ms", server.http))
        .header("authorization", format!("Token {token}"))
        .send(lines)
        .unwrap();
    assert_eq!(written.status().as_u16(), 204);
    server.caught_up();
    let id = series_id(&server, "long", "pm2_5");
    let path = format!("/api/v1/series/{id}/values?from={from}&to={}", from + n * 1000);
    let whole = text(&server.http, &server.token, &path);
    let whole: Value = serde_json::from_str(&whole).unwrap();
    assert_eq!(whole["items"].as_array().unwrap().len(), n as usize);
    assert_eq!(whole["next"], Value::Null);

    let pid = server.process.child.id();
    let before = resident(pid);
    let ask = || {
        let mut stream = TcpStream::connect(server.http.trim_start_matches("http://")).unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
            server.token
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut first = [0; 12];
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        stream
    };
    // Whole, sixty answers of seven megabytes would be four hundred.
    let still: Vec<TcpStream> = (0..60).map(|_| ask()).collect();
    let start = Instant::now();
    server.get(&format!("/api/v1/series/{id}/values?limit=10"));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let more = resident(pid).saturating_sub(before);
    assert!(
        more < 100 << 20,
        "{} MiB for readers that stand still",
        more >> 20
    );
    drop(still);
    wait_for("their connections to be closed", Duration::from_secs(20), || {
        (server.metric("onemap_http_connections")? <= 2).then_some(())
    });
}

/// The rows that blocks of columns stand for: those of `names`, and the marks.
fn rows_of(blocks: &Value, names: &[&str]) -> Vec<(Vec<Value>, Value)> {
    let blocks = blocks["items"].as_array().unwrap();
    let rows = |block: &Value| -> Vec<(Vec<Value>, Value)> {
        (0..block["t"].as_array().unwrap().len())
            .map(|i| {
                let row = names.iter().map(|name| block[name][i].clone()).collect();
                let runs = block["quality"].as_array().unwrap();
                let mark = runs.iter().find(|run| {
                    let first = run[0].as_u64().unwrap() as usize;
                    (first..first + run[1].as_u64().unwrap() as usize).contains(&i)
                });
                (row, mark.map_or_else(|| json!([]), |run| run[2].clone()))
            })
            .collect()
    };
    blocks.iter().flat_map(rows).collect()
}

#[test]
fn columns_say_what_rows_say() {
    let server = Server::new();
    let from = hours_ago(3);
    for device in ["wide-a", "wide-b"] {
        server.add_device(device, &json!({"division": "630102001", "cadence_s": 60}));
        let points: Vec<(i64, f64)> = (0..5000).map(|i| (from + i * 1000, i as f64 / 4.0)).collect();
        write(&server, device, "pm2_5", &points);
        write(&server, device, "pm10", &points[..9]);
        // Late, and so marked.
        write(&server, device, "pm2_5", &[(from + 1500, 7.0)]);
    }
    let id = series_id(&server, "wide-a", "pm2_5");
    let path = format!("/api/v1/series/{id}/values?from={from}&to={}", from + 2 * HOUR);
    let rows = server.get(&path);
    let rows: Vec<(Vec<Value>, Value)> = rows["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            (
                vec![json!(time(item)), item["v"].clone()],
                item["quality"].clone(),
            )
        })
        .collect();
    assert_eq!(rows.len(), 5001);
    assert!(rows.iter().any(|(_, marks)| *marks != json!([])), "one is late");
    let whole = rows_of(&server.get(&format!("{path}&shape=columns")), &["t", "v"]);
    assert_eq!(whole, rows);
    let mut paged = Vec::new();
    let mut after = String::new();
    loop {
        let page = server.get(&format!("{path}&shape=columns&limit=2100{after}"));
        let some = rows_of(&page, &["t", "v"]);
        assert!(some.len() <= 2100);
        paged.extend(some);
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(paged, rows);

    // More series than one piece of an answer looks at; every third has a mark.
    server.add_device("wide-many", &json!({"division": "630102002", "cadence_s": 60}));
    let many: Vec<Value> = (0..3500)
        .map(|ch| json!({"q": "pm2_5", "ch": ch, "t": from, "v": if ch % 3 == 0 { 99_999 } else { ch }}))
        .collect();
    server.post(
        "/api/v1/readings",
        &json!({"device": "wide-many", "readings": many}),
    );
    server.caught_up();
    for ask in [
        "",
        "&division=630102001",
        "&device=wide-b",
        "&device=wide-many",
        "&quantity=pm10",
        "&division=630103",
    ] {
        let rows = server.get(&format!("/api/v1/latest?limit=100000{ask}"));
        let rows: Vec<(Vec<Value>, Value)> = rows["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| {
                let t = onemap_model::Timestamp::parse(item["measured_at"].as_str().unwrap()).unwrap();
                let row = vec![
                    item["series"].clone(),
                    json!(t.ms()),
                    item["value"].clone(),
                    item["state"].clone(),
                ];
                (row, item["quality"].clone())
            })
            .collect();
        let columns = server.get(&format!("/api/v1/latest?shape=columns{ask}"));
        assert_eq!(rows_of(&columns, &["series", "t", "v", "state"]), rows, "{ask}");
        let first = server.get(&format!("/api/v1/latest?shape=columns&limit=1{ask}"));
        assert_eq!(
            rows_of(&first, &["series", "t", "v", "state"]),
            rows[..rows.len().min(1)]
        );
        let mut paged = Vec::new();
        let mut after = String::new();
        loop {
            let page = server.get(&format!("/api/v1/latest?shape=columns&limit=1750{ask}{after}"));
            let some = rows_of(&page, &["series", "t", "v", "state"]);
            assert!(some.len() <= 1750);
            paged.extend(some);
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        assert_eq!(paged, rows, "{ask}");
    }
    let (status, refused) = server.request("GET", &format!("{path}&shape=columns&revisions=true"), None);
    assert_eq!((status, refused["code"].as_str()), (400, Some("bad_parameter")));
}
