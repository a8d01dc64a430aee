//! What is refused is kept whole, comes back as it was, and goes to the device that was meant.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{CONFIG, Server, binary, wait_for};

const SOON: Duration = Duration::from_secs(30);

fn send(server: &Server, path: &str, header: (&str, &str), body: &str) -> (u16, String) {
    let request = ureq::http::Request::builder()
        .method("POST")
        .uri(format!("{}{path}", server.http))
        .header(header.0, header.1)
        .body(body.to_owned())
        .unwrap();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(SOON))
        .build()
        .into();
    let mut response = agent.run(request).unwrap();
    let status = response.status().as_u16();
    let mut text = String::new();
    response.body_mut().as_reader().read_to_string(&mut text).unwrap();
    (status, text)
}

fn entries(server: &Server, reason: &str) -> Vec<Value> {
    let kept = server.get(&format!("/api/v1/quarantine?reason={reason}&limit=1000"));
    // A list shows the beginning of the bytes only.
    let items = kept["items"].as_array().unwrap().iter();
    items
        .map(|entry| server.get(&format!("/api/v1/quarantine/{}", entry["id"])))
        .collect()
}

fn now() -> i64 {
    onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms()
}

#[test]
fn refused_lines_are_all_kept_and_all_come_back() {
    let server = Server::new();
    server.add_device("river-1", &json!({}));
    server.add_device("river-2", &json!({}));
    let admin = format!("Token {}", server.token);
    let path = "/api/v2/write?precision=s";
    let old = now() / 1000 - 50 * 86_400;

    // Too old for the live lane, in the middle of good lines; more than one entry holds.
    let n = 6000;
    let mut body = String::from("# a comment\n");
    for i in 0..n {
        body.push_str(&format!("water,device=river-1 level={}.25 {}\n", i % 50, old + i));
        if i % 1000 == 0 {
            body.push_str(&format!("water,device=river-2 level=2 {}\n", now() / 1000 - i));
        }
    }
    body.push_str(&format!("water,device=river-2 level=-999 {}\n", now() / 1000));
    assert_eq!(
        send(&server, path, ("authorization", &admin), &body),
        (204, String::new())
    );
    server.caught_up();
    let sentinel = &entries(&server, "sentinel")[0];
    assert_eq!(
        sentinel["payload"].as_str().unwrap(),
        body.lines().last().unwrap().to_owned() + "\n"
    );
    let last = format!("line {}:", body.lines().count());
    assert!(
        sentinel["detail"].as_str().unwrap().starts_with(&last),
        "{sentinel}"
    );
    let kept = entries(&server, "too_old");
    assert!(
        kept.len() > 1
            && kept
                .iter()
                .all(|entry| entry["size"].as_u64().unwrap() <= 64 << 10)
    );
    let whole: String = kept
        .iter()
        .rev()
        .map(|e| e["payload"].as_str().unwrap())
        .collect();
    let want: String = body
        .lines()
        .filter(|line| line.starts_with("water,device=river-1"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(whole == want, "every refused line once and in its order");
    assert!(
        kept.last().unwrap()["detail"]
            .as_str()
            .unwrap()
            .starts_with("line 2:")
    );

    let order = json!({"reason": "too_old", "note": "补录"});
    let tried = server.post(
        "/api/v1/quarantine/readmit",
        &json!({"reason": "too_old", "dry_run": true}),
    );
    let tried: u64 = tried["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["readings"].as_u64().unwrap())
        .sum();
    assert_eq!(tried, n as u64);
    // One entry by itself settles itself only.
    let first = kept.last().unwrap()["id"].as_u64().unwrap();
    let one = server.post(
        &format!("/api/v1/quarantine/{first}/readmit"),
        &json!({"note": "x"}),
    );
    assert_eq!(one["counts"]["readmitted"], 1, "{one}");
    let open = entries(&server, "too_old");
    let open = open.iter().filter(|entry| entry["state"] == "open").count();
    assert_eq!(open, kept.len() - 1);
    let done = server.post("/api/v1/quarantine/readmit", &order);
    assert_eq!(done["counts"]["readmitted"], kept.len() - 1, "{done}");
    let settled: u64 = entries(&server, "too_old")
        .iter()
        .map(|entry| entry["settled"]["readings"].as_u64().unwrap())
        .sum();
    assert_eq!(settled, n as u64);
    let latest = server.latest("river-1", "water_level").unwrap();
    let stamp = onemap_model::Timestamp::from_ms((old + n - 1) * 1000);
    assert_eq!(latest["measured_at"], json!(stamp.to_string()));

    // A retired device's lines and those of a stamp ahead are kept too.
    server.request("POST", "/api/v1/devices/river-2/retire", Some("{}"));
    let body = format!(
        "water,device=river-2 level=1\nwater,device=river-1 level=3 {}\nwater,device=river-2 level=2\n",
        now() / 1000 + 86_400 * 30
    );
    assert_eq!(send(&server, path, ("authorization", &admin), &body).0, 204);
    server.caught_up();
    assert_eq!(
        entries(&server, "retired")[0]["payload"],
        "water,device=river-2 level=1\nwater,device=river-2 level=2\n"
    );
    let ahead = &entries(&server, "future_stamp")[0];
    assert_eq!(
        ahead["payload"].as_str().unwrap(),
        body.lines().nth(1).unwrap().to_owned() + "\n"
    );
    let (_, answer) = server.request(
        "POST",
        &format!("/api/v1/quarantine/{}/readmit", ahead["id"]),
        Some(r#"{"note":"x"}"#),
    );
    assert_eq!(answer["counts"]["refused"], 1, "{answer}");

    // The journal alone gives the same entries with the same words about them.
    let states = |server: &Server| -> BTreeSet<String> {
        let of = |reason| entries(server, reason).into_iter();
        of("too_old")
            .chain(of("retired"))
            .chain(of("future_stamp"))
            .map(|e| {
                format!(
                    "{} {} {} {}",
                    e["position"], e["size"], e["state"], e["settled"]["readings"]
                )
            })
            .collect()
    };
    let before = states(&server);
    let server = server.kill_and_restart();
    server.caught_up();
    assert_eq!(states(&server), before);
}

const PLATFORM: &str = "version: 1
name: {zh: 平台, en: Platform}
check: {kind: header, header: X-Secret}
secret_file: platform.secret
device: $.device
time: $.timestamp
payload: {path: $.data}
";

#[test]
fn a_pushed_message_comes_back_with_the_platform_s_time() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    for sub in ["rules", "push"] {
        std::fs::create_dir(dir.join(sub)).unwrap();
    }
    std::fs::write(dir.join("onemap.toml"), CONFIG).unwrap();
    std::fs::write(dir.join("push/platform.yaml"), PLATFORM).unwrap();
    std::fs::write(dir.join("push/platform.secret"), "s3cret\n").unwrap();
    let server = Server::start_in(dir);
    let profile = "version: 1\nname: {zh: 尘, en: Dust}\nprotocol: thingsboard\nkeys:\n  a: {quantity: ph}\n";
    assert_eq!(server.request("PUT", "/api/v1/profiles/p", Some(profile)).0, 200);
    server.add_device("nb-1", &json!({"profile": "p"}));
    let at = now() / 1000 * 1000 - 7_200_000;
    let call = json!({"device": "nb-1", "timestamp": at, "data": {"dust": 12}}).to_string();
    assert_eq!(
        send(&server, "/push/platform", ("x-secret", "s3cret"), &call).0,
        200
    );
    let entry = wait_for("the entry", SOON, || {
        entries(&server, "unknown_quantity").first().cloned()
    });
    assert_eq!(
        (&entry["device"], &entry["payload"]),
        (&json!("nb-1"), &json!(r#"{"dust":12}"#))
    );
    let profile = format!("{profile}  dust: {{quantity: pm10}}\n");
    assert_eq!(server.request("PUT", "/api/v1/profiles/p", Some(&profile)).0, 200);
    let path = format!("/api/v1/quarantine/{}/readmit", entry["id"]);
    let tried = server.post(&path, &json!({"dry_run": true}));
    assert_eq!(
        (&tried["items"][0]["readings"], &tried["items"][0]["tried"]),
        (&json!(1), &json!(true))
    );
    let done = server.post(&path, &json!({"note": "模型补上了粉尘"}));
    assert_eq!(done["counts"]["readmitted"], 1, "{done}");
    let latest = server.latest("nb-1", "pm10").unwrap();
    let stamp = onemap_model::Timestamp::from_ms(at).to_string();
    assert_eq!(
        (&latest["value"], &latest["measured_at"]),
        (&json!(12.0), &json!(stamp))
    );

    // A call of a device that nobody knows is kept whole and says that it was not tried.
    let call = json!({"device": "nb-2", "timestamp": at, "data": {"temperature": 4}}).to_string();
    send(&server, "/push/platform", ("x-secret", "s3cret"), &call);
    let entry = wait_for("the entry", SOON, || {
        entries(&server, "unknown_device").first().cloned()
    });
    server.add_device("nb-2", &json!({}));
    let id = entry["id"].to_string();
    let said = Command::new(binary("onemap"))
        .args(["--data-dir", dir.to_str().unwrap()])
        .args(["quarantine", "readmit", &id, "--dry-run"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains(&format!("{id}: not tried: ")), "{said}");
    let done = server.post(
        &format!("/api/v1/quarantine/{id}/readmit"),
        &json!({"note": "已登记"}),
    );
    assert_eq!(done["counts"]["readmitted"], 1, "{done}");
    let latest = server.latest("nb-2", "temperature").unwrap();
    assert_eq!(latest["measured_at"], json!(stamp));
}

#[test]
fn two_children_of_a_gateway_have_two_names() {
    let server = Server::new();
    server.add_device("gw", &json!({"is_gateway": true}));
    server.add_device("gw-2", &json!({"is_gateway": true}));
    server.add_device("c1", &json!({"gateway": "gw", "name": "水泵"}));
    let add = |id: &str, gateway: &str, name: &str| {
        let device = json!({"id": id, "name": name, "kind": "pump", "gateway": gateway}).to_string();
        let (status, answer) = server.request("POST", "/api/v1/devices", Some(&device));
        (status, answer["code"].as_str().unwrap_or_default().to_owned())
    };
    let taken = (409, "child_name_taken".to_owned());
    assert_eq!(add("c2", "gw", "水泵"), taken, "the same name");
    assert_eq!(add("c2", "gw", "c1"), taken, "another's id");
    assert_eq!(add("c2", "gw-2", "水泵").0, 201, "another gateway");
    assert_eq!(add("c3", "gw", "三号").0, 201);
    let patch = |id: &str, what: Value| {
        let path = format!("/api/v1/devices/{id}");
        let (status, answer) = server.request("PATCH", &path, Some(&what.to_string()));
        (status, answer["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(patch("c3", json!({"name": "水泵"})), taken);
    assert_eq!(patch("c2", json!({"gateway": "gw"})), taken);
    assert_eq!(patch("c3", json!({"kind": "valve"})).0, 200);

    // A file is checked against the register and against itself.
    let csv = "id,name,gateway\nd1,水泵,gw\nd2,四号,gw\nd3,四号,gw\nd4,d2,gw\nd5,四号,gw-2\n";
    let (status, answer) = server.request("POST", "/api/v1/devices/import", Some(csv));
    let lines: Vec<_> = answer["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["line"].clone())
        .collect();
    assert_eq!((status, json!(lines)), (200, json!([2, 4, 5])), "{answer}");
    assert_eq!(answer["errors"][0]["column"], "name");

    // A retired one gives its name free, and does not get it back while another has it.
    assert_eq!(
        server.request("POST", "/api/v1/devices/c1/retire", Some("{}")).0,
        200
    );
    assert_eq!(add("c6", "gw", "水泵").0, 201);
    let (status, answer) = server.request("POST", "/api/v1/devices/c1/activate", Some("{}"));
    assert_eq!((status, &answer["code"]), (409, &json!("child_name_taken")));
}

#[test]
fn a_page_of_the_quarantine_ends_when_it_is_large() {
    const N_ENTRIES: usize = 420;
    /// The bound of a page, and one entry's size over it.
    const MOST_BYTES: usize = (4 << 20) + (32 << 10);
    let server = Server::new();
    let token = server.add_device("d", &json!({}));
    // As much of each as is kept, and all of them more than a page holds.
    let broken = format!("{{\"{}", "x".repeat(6000));
    let path = format!("/api/v1/{token}/telemetry");
    for _ in 0..N_ENTRIES {
        assert_eq!(send(&server, &path, ("accept", "*/*"), &broken).0, 400);
    }
    server.caught_up();
    let (mut seen, mut sizes, mut after) = (BTreeSet::new(), Vec::new(), None::<String>);
    loop {
        let after_it = after.map_or(String::new(), |after| format!("&after={after}"));
        let page = server.get(&format!(
            "/api/v1/quarantine?reason=broken_json&limit=1000{after_it}"
        ));
        let items = page["items"].as_array().unwrap();
        let n_bytes: usize = items.iter().map(|item| item.to_string().len()).sum();
        assert!(n_bytes <= MOST_BYTES, "{n_bytes}");
        for item in items {
            assert_eq!(
                item["size"], 4096,
                "what a listener refuses is kept to this length"
            );
            assert_eq!(item["payload"].as_str().unwrap().len(), 4096);
            assert!(seen.insert(item["id"].as_u64().unwrap()), "twice: {}", item["id"]);
        }
        sizes.push(items.len());
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(seen.len(), N_ENTRIES, "{sizes:?}");
    assert!(sizes.len() > 1 && sizes[0] > 100, "{sizes:?}");
    let (status, problem) = server.request("GET", "/api/v1/quarantine?limit=100001", None);
    assert_eq!((status, &problem["code"]), (400, &json!("bad_limit")));
    assert_eq!(server.request("GET", "/api/v1/quarantine?limit=0", None).0, 400);
}
