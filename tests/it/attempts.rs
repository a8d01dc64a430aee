//! What people with a part of the city, or two at once, have tried to get by what they may.

use std::net::TcpStream;
use std::sync::Barrier;
use std::time::Duration;

use serde_json::{Value, json};

use crate::accounts::{Person, user};
use crate::persons::number;
use crate::server::{Server, request, wait_for};

const OWN: &str = "630104";
const ELSEWHERE: &str = "630102";
const SOON: Duration = Duration::from_secs(30);

fn token(server: &Server, role: &str, division: &str) -> String {
    let new = json!({"role": role, "name": role, "division": division});
    let made = server.post("/api/v1/tokens", &new);
    made["token"].as_str().unwrap().to_owned()
}

fn ask(server: &Server, token: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    request(&server.http, token, method, path, Some(&body.to_string()))
}

fn component(code: &str, division: &str, former: Option<&str>) -> Value {
    let mut properties = json!({"code": code, "kind": "component", "name": code, "division": division});
    if let Some(former) = former {
        properties["former_code"] = former.into();
        properties["recoded_at"] = "2026-11-27".into();
    }
    json!({"type": "FeatureCollection", "features": [
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [101.76, 36.63]}, "properties": properties}]})
}

#[test]
fn nobody_takes_anothers_thing_by_its_former_code() {
    let server = Server::new();
    server.post("/api/v1/entities", &component("VIC-1", ELSEWHERE, None));
    server.post("/api/v1/entities", &component("OWN-1", OWN, None));
    let integrator = token(&server, "integrator", OWN);
    let stolen = component("MINE-1", OWN, Some("VIC-1"));
    let (status, said) = ask(&server, &integrator, "POST", "/api/v1/entities", &stolen);
    assert_eq!(status, 403, "{said}");
    let sheet =
        "code,name,lon,lat,division,former_code,recoded_at\nMINE-2,x,101.76,36.63,630104,VIC-1,2026-11-27\n";
    let path = "/api/v1/entities/import?name=x.csv&kind=component";
    let (status, said) = request(&server.http, &integrator, "POST", path, Some(sheet));
    assert!(
        said.to_string().contains("not yours to change"),
        "{status} {said}"
    );
    server.caught_up();
    assert_eq!(server.get("/api/v1/entities/VIC-1")["code"], "VIC-1");
    // The own ones get other codes.
    let own = component("OWN-2", OWN, Some("OWN-1"));
    assert_eq!(ask(&server, &integrator, "POST", "/api/v1/entities", &own).0, 201);
    server.caught_up();
    assert_eq!(server.get("/api/v1/entities/OWN-1")["code"], "OWN-2");
}

#[test]
fn a_link_opens_what_the_account_was_when_it_was_made() {
    let server = Server::new();
    let made = server.post(
        "/api/v1/accounts",
        &json!({"id": "pp", "role": "viewer", "division": OWN}),
    );
    let key = made["link"]["key"].as_str().unwrap();
    let (status, said) = server.request(
        "PATCH",
        "/api/v1/accounts/pp",
        Some(&json!({"division": null, "role": "officer"}).to_string()),
    );
    assert_eq!((status, &said["link_ends"]), (200, &Value::Null), "{said}");
    let look = |server: &Server, key: &str| {
        let body = json!({"key": key});
        Person::default()
            .ask(&server.http, "POST", "/api/v1/setup/look", Some(&body))
            .0
    };
    assert_eq!(look(&server, key), 404);
    // A name alone ends nothing.
    let again = server.post("/api/v1/accounts/pp/link", &json!({}));
    let key = again["link"]["key"].as_str().unwrap();
    let named = json!({"name": "彭"}).to_string();
    assert_eq!(
        server.request("PATCH", "/api/v1/accounts/pp", Some(&named)).0,
        200
    );
    assert_eq!(look(&server, key), 200);
    let server = server.kill_and_restart();
    assert_eq!(look(&server, key), 200);
}

/// Answers of requests that are made at the same moment.
fn at_once(http: &str, token: &str, all: &[(&str, &str, Value)]) -> Vec<u16> {
    let start = Barrier::new(all.len());
    std::thread::scope(|scope| {
        let made: Vec<_> = all
            .iter()
            .map(|(method, path, body)| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    request(http, token, method, path, Some(&body.to_string())).0
                })
            })
            .collect();
        made.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

#[test]
fn of_two_at_once_one_is_the_last() {
    let server = Server::new();
    let system = server.post(
        "/api/v1/tokens",
        &json!({"role": "system_admin", "name": "machine"}),
    );
    let system = system["token"].as_str().unwrap();
    for round in 0..5 {
        let names = [format!("a{round}"), format!("b{round}")];
        for name in &names {
            crate::accounts::set_up(&server, name, "security_admin");
        }
        let [a, b] = names.map(|name| format!("/api/v1/accounts/{name}"));
        let answers = at_once(
            &server.http,
            system,
            &[
                ("DELETE", &a, json!({})),
                ("PATCH", &b, json!({"disabled": true})),
            ],
        );
        let n_refused = answers.iter().filter(|status| **status == 409).count();
        assert_eq!(n_refused, 1, "{answers:?}");
        for name in [format!("a{round}"), format!("b{round}")] {
            // One of them is gone.
            let _ = user(&server, &["remove", &name]);
        }
        let same = json!({"id": format!("same{round}"), "role": "viewer"});
        let made = vec![("POST", "/api/v1/accounts", same); 4];
        let answers = at_once(&server.http, &server.token, &made);
        assert_eq!(
            answers.iter().filter(|status| **status == 201).count(),
            1,
            "{answers:?}"
        );
    }
}

#[test]
fn of_two_divisions_one_takes_a_code() {
    let server = Server::new();
    let [own, other] = [OWN, ELSEWHERE].map(|division| token(&server, "integrator", division));
    for round in 0..5 {
        let code = format!("C-{round}");
        let start = Barrier::new(2);
        let answers: Vec<u16> = std::thread::scope(|scope| {
            let both = [(&own, OWN), (&other, ELSEWHERE)].map(|(token, division)| {
                let (http, start) = (server.http.as_str(), &start);
                let body = component(&code, division, None).to_string();
                scope.spawn(move || {
                    start.wait();
                    request(http, token, "POST", "/api/v1/entities", Some(&body)).0
                })
            });
            both.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let mut sorted = answers.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [201, 403], "{code}");
    }
}

#[test]
fn who_is_known_elsewhere_is_told_from_nobody_by_no_registration() {
    let server = Server::new();
    let stated = |n: u32, division: &str| json!({"number": number(n), "division": division});
    for n in [1, 3] {
        server.post("/api/v1/persons", &stated(n, ELSEWHERE));
    }
    server.caught_up();
    let integrator = token(&server, "integrator", OWN);
    let mut sizes = Vec::new();
    // What the journal grew by, which whoever sees anything sees.
    let grown = |work: &mut dyn FnMut()| {
        server.caught_up();
        let of = || {
            let journal =
                request(&server.http, &integrator, "GET", "/api/v1/system", None).1["journal"].clone();
            [
                journal["bytes"].as_u64().unwrap(),
                journal["last"].as_u64().unwrap(),
            ]
        };
        let before = of();
        work();
        let after = of();
        [after[0] - before[0], after[1] - before[1]]
    };
    for n in [1, 2] {
        // A second before that nobody else writes in is long enough for one answer.
        let size = (0..20).map(|_| {
            grown(&mut || {
                ask(&server, &integrator, "POST", "/api/v1/persons", &stated(n, OWN));
            })
        });
        sizes.push(size.min().unwrap());
    }
    // Sealed bytes are random, and are packed a little better or worse.
    assert!(
        sizes[0][0].abs_diff(sizes[1][0]) <= 4 && sizes[0][1] == sizes[1][1],
        "{sizes:?}"
    );
    let [known, unknown] = [1, 2].map(|n| {
        let (status, mut said) = ask(&server, &integrator, "POST", "/api/v1/persons", &stated(n, OWN));
        assert!(said["pseudonym"].is_string(), "{said}");
        for own in ["pseudonym", "last_four"] {
            said[own] = Value::Null;
        }
        (status, said)
    });
    assert_eq!(known, unknown);
    let path = "/api/v1/entities/import?name=x.csv&kind=person";
    let [known, unknown] = [3, 4].map(|n| {
        let sheet = format!("公民身份号码,division\n{},{OWN}\n", number(n));
        let (status, mut said) = request(&server.http, &integrator, "POST", path, Some(&sheet));
        said["position"] = Value::Null;
        (status, said)
    });
    assert_eq!(known, unknown);
    assert_eq!((known.0, &known.1["imported"]), (201, &json!(1)), "{}", known.1);
    server.caught_up();
    // What is known stays, and who audits the whole sees who stated it.
    for (n, division) in [(1, ELSEWHERE), (2, OWN), (3, ELSEWHERE), (4, OWN)] {
        let question = json!({"number": number(n), "purpose": "test"});
        assert_eq!(
            server.post("/api/v1/persons/resolve", &question)["division"],
            division,
            "{n}"
        );
    }
    server.caught_up();
    let stated = |items: &Value| {
        let acts = items["items"].as_array().unwrap().iter();
        acts.filter(|item| item["act"]["verb"] == "state_known_person")
            .count()
    };
    let path = "/api/v1/persons/resolutions";
    let auditor = server.post(
        "/api/v1/tokens",
        &json!({"role": "audit_admin", "name": "auditor"}),
    );
    let (status, seen) = ask(
        &server,
        auditor["token"].as_str().unwrap(),
        "GET",
        path,
        &Value::Null,
    );
    assert_eq!((status, stated(&seen)), (200, 22), "{seen}");
    let bound = token(&server, "audit_admin", OWN);
    let (status, seen) = ask(&server, &bound, "GET", path, &Value::Null);
    assert_eq!((status, stated(&seen)), (200, 0), "{seen}");
}

#[test]
fn who_audits_finds_all_that_were_stated_page_by_page() {
    let server = Server::new();
    const N: u32 = 1003;
    let sheet = |division: &str| {
        let rows = (0..N).map(|n| format!("{},{division}\n", number(n)));
        format!("公民身份号码,division\n{}", rows.collect::<String>())
    };
    let path = "/api/v1/entities/import?name=x.csv&kind=person";
    let integrator = token(&server, "integrator", OWN);
    for (token, division) in [(&server.token, ELSEWHERE), (&integrator, OWN)] {
        let (status, said) = request(&server.http, token, "POST", path, Some(&sheet(division)));
        assert_eq!((status, &said["imported"]), (201, &json!(N)), "{said}");
        server.caught_up();
    }
    let (mut n, mut after) = (0, 0);
    loop {
        let page = server.get(&format!("/api/v1/persons/resolutions?after={after}"));
        n += page["items"].as_array().unwrap().len();
        match page["next"].as_u64() {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(n, N as usize);
}

#[test]
fn the_code_that_sets_an_account_opens_nothing_else() {
    let server = Server::new();
    let (used, secret) = crate::accounts::set_up(&server, "root", "system_admin");
    let code = crate::accounts::code(&secret, used);
    let (status, said) =
        Person::default().log_in(&server.http, "root", crate::accounts::PASSWORD, Some(&code));
    assert_eq!(status, 401, "{said}");
}

#[test]
fn a_device_that_changes_hands_takes_its_alerts_along() {
    let server = Server::with_rules(&[("dust", crate::alarms::DUST)]);
    let id = crate::evidence::alert(&server);
    let [now, before] = [OWN, ELSEWHERE].map(|division| token(&server, "officer", division));
    let look = |token: &str| request(&server.http, token, "GET", &format!("/api/v1/alerts/{id}"), None).0;
    let n_open = |token: &str| {
        let open = request(&server.http, token, "GET", "/api/v1/alerts?state=open", None).1;
        let counted =
            request(&server.http, token, "GET", "/api/v1/system", None).1["counts"]["alerts_open"].clone();
        (open["items"].as_array().unwrap().len(), counted)
    };
    assert_eq!((look(&now), look(&before)), (404, 200));
    let moved = json!({"division": OWN}).to_string();
    assert_eq!(
        server.request("PATCH", "/api/v1/devices/air-1", Some(&moved)).0,
        200
    );
    server.caught_up();
    assert_eq!((look(&now), look(&before)), (200, 404));
    assert_eq!((n_open(&now), n_open(&before)), ((1, json!(1)), (0, json!(0))));
    let close = json!({"name": "李队", "note": "处置完毕"});
    let path = format!("/api/v1/alerts/{id}/close");
    assert_eq!(ask(&server, &before, "POST", &path, &close).0, 404);
    let (status, said) = ask(&server, &now, "POST", &path, &close);
    assert_eq!(status, 200, "{said}");
    assert_eq!(server.get(&format!("/api/v1/alerts/{id}"))["division"], OWN);
}

#[test]
fn forecasts_hold_nobody_up_and_hide_nobody() {
    let server = Server::new();
    server.add_device(
        "gauge",
        &json!({"kind": "river_gauge", "division": OWN, "cadence_s": 60}),
    );
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms() / 1000 * 1000;
    let text = |ms: i64| onemap_model::Timestamp::from_ms(ms).to_string();
    for part in 0..20 {
        let of = |n: i64| json!({"q": "water_level", "t": now - (part * 1000 + n) * 1000, "v": 1.5});
        let readings: Vec<Value> = (0..1000).map(of).collect();
        server.post(
            "/api/v1/readings",
            &json!({"device": "gauge", "readings": readings}),
        );
    }
    server.caught_up();
    let handed = |source: &str, n: usize, step_s: u32| {
        let one = json!({"device": "gauge", "quantity": "water_level", "step_s": step_s,
                         "leads": [{"at": text(now + 3_600_000), "value": 2.0}]});
        json!({"source": source, "issued_at": text(now), "forecasts": vec![one; n]})
    };
    let integrator = token(&server, "integrator", OWN);
    for (source, step_s) in [("ONEMAP", 60), (" onemap", 60), ("a", u32::MAX)] {
        let (status, said) = ask(
            &server,
            &integrator,
            "POST",
            "/api/v1/forecasts",
            &handed(source, 1, step_s),
        );
        assert_eq!(
            (status, &said["code"]),
            (400, &json!("bad_forecast")),
            "{source}: {said}"
        );
    }
    // A thousand without their values at the origin, which are looked up once and beside everybody else.
    let http = server.http.clone();
    let slowest = std::thread::scope(|scope| {
        let body = handed("many", 1000, 2_678_400).to_string();
        let (http, integrator) = (&http, &integrator);
        let many = scope.spawn(move || request(http, integrator, "POST", "/api/v1/forecasts", Some(&body)));
        let mut slowest = Duration::ZERO;
        while !many.is_finished() {
            let asked = std::time::Instant::now();
            assert_eq!(request(http, "", "GET", "/health/live", None).0, 200);
            slowest = slowest.max(asked.elapsed());
        }
        let (status, said) = many.join().unwrap();
        assert_eq!(status, 201, "{said}");
        slowest
    });
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    for n in 0..120 {
        server.post("/api/v1/forecasts", &handed(&format!("!{n:03}"), 1, 60));
    }
    let (mut names, mut path) = (Vec::new(), "/api/v1/forecasts?limit=50".to_owned());
    loop {
        let page = server.get(&path);
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 50);
        names.extend(
            items
                .iter()
                .map(|item| item["source"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => path = format!("/api/v1/forecasts?limit=50&after={next}"),
            None => break,
        }
    }
    names.dedup();
    assert_eq!((names.len(), names.last().unwrap().as_str()), (121, "many"));
}

#[test]
fn one_wish_makes_one_key_of_persons() {
    let server = Server::new();
    let path = "/api/v1/persons/key";
    let four = vec![("POST", path, json!({})); 4];
    let answers = at_once(&server.http, &server.token, &four);
    assert!(
        answers.iter().all(|status| [201, 409].contains(status)) && answers.contains(&201),
        "{answers:?}"
    );
    let n_made = answers.iter().filter(|status| **status == 201).count();
    let key = wait_for("everybody under the newest key", SOON, || {
        Some(server.get(path)).filter(|key| key["waiting"] == 0)
    });
    assert_eq!(key["key"].as_u64().unwrap() as usize, n_made + 1);
}

/// A segment that was taken away before its time is named; one whose time is over is counted.
#[test]
fn a_young_segment_that_is_gone_is_missed() {
    let mut first = Server::new();
    first.stop();
    let config = first.dir.join("onemap.toml");
    let mut text = std::fs::read_to_string(&config).unwrap();
    text.push_str("\n[journal]\nsegment_bytes = 1048576\n");
    std::fs::write(&config, &text).unwrap();
    let mut server = Server::start_in(&first.dir);
    server.add_device("gauge", &json!({"kind": "river_gauge"}));
    let verified = |server: &Server| {
        let done = std::process::Command::new(crate::server::binary("onemap"))
            .arg("--data-dir")
            .arg(&server.dir)
            .args(["--json", "audit", "verify"])
            .output()
            .unwrap();
        serde_json::from_slice::<Value>(&done.stdout).unwrap()
    };
    let mut value = 0;
    wait_for("digests of closed segments", SOON, || {
        let readings: Vec<Value> = (0..4000)
            .map(|n| {
                value += 1;
                json!({"q": "water_level", "t": 1_795_000_000_000_i64 + i64::from(value), "v": n})
            })
            .collect();
        server.post(
            "/api/v1/readings",
            &json!({"device": "gauge", "readings": readings}),
        );
        (verified(&server)["segments"]["held"].as_u64()? >= 2).then_some(())
    });
    server.stop();
    let oldest = std::fs::read_dir(server.dir.join("journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_stem()
                .is_some_and(|name| name.to_string_lossy().starts_with("0000"))
        })
        .min()
        .unwrap();
    std::fs::remove_file(oldest).unwrap();
    let said = verified(&server);
    let what = said["fault"]["what"].as_str().unwrap();
    assert!(what.contains("is gone, and was to be kept until"), "{said}");
}

#[test]
fn one_address_takes_not_all_connections() {
    let mut first = Server::new();
    first.stop();
    let config = first.dir.join("onemap.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let text = text.replace(
        "[http]\n",
        "[http]\nmax_connections = 40\nmax_connections_per_address = 10\n",
    );
    assert!(text.contains("max_connections = 40"), "{text}");
    std::fs::write(&config, text).unwrap();
    let server = Server::start_in(&first.dir);
    let address = server.http.strip_prefix("http://").unwrap();
    // They come from 127.0.0.1 and hold all that one address may; another address is served.
    let held: Vec<TcpStream> = (0..60).map(|_| TcpStream::connect(address).unwrap()).collect();
    let port: u16 = address.rsplit_once(':').unwrap().1.parse().unwrap();
    let asked = |from: &str| {
        let done = std::process::Command::new("curl")
            .args(["-s", "--interface", from, "-o", "/dev/null", "-w", "%{http_code}"])
            .arg(format!("http://127.0.0.1:{port}/api/v1/session/ways"))
            .output()
            .unwrap();
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    assert_eq!(
        (asked("127.0.0.2").as_str(), asked("127.0.0.1").as_str()),
        ("200", "503")
    );
    drop(held);
    wait_for("the places to be free again", SOON, || {
        (asked("127.0.0.1") == "200").then_some(())
    });
}
