//! Addresses to places and back, through the whole server and on the command line.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{CONFIG, Server, binary, request, wait_for};

fn percent(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02X}")).collect()
}

fn ask(server: &Server, text: &str) -> Value {
    server.get(&format!("/api/v1/geocode?q={}", percent(text)))
}

fn entity(kind: &str, code: &str, name: &str, geometry: &Value, attributes: &Value) -> Value {
    json!({"code": code, "kind": kind, "name": name, "geometry": geometry, "attributes": attributes})
}

/// Two districts side by side, a road through each of one name, and one that crosses the first.
fn city() -> Vec<Value> {
    let square = |west: f64| {
        let (a, b) = (west, west + 0.05);
        json!({"type": "Polygon", "coordinates": [[[a, 36.60], [b, 36.60], [b, 36.65], [a, 36.65], [a, 36.60]]]})
    };
    let line = |a: [f64; 2], b: [f64; 2]| json!({"type": "LineString", "coordinates": [a, b]});
    let none = json!({});
    vec![
        entity("division", "630104", "城西区", &square(101.70), &none),
        entity("division", "630102", "城东区", &square(101.75), &none),
        entity(
            "road",
            "R-1",
            "祁连路",
            &line([101.70, 36.62], [101.75, 36.62]),
            &json!({"old_names": "北大街"}),
        ),
        entity(
            "road",
            "R-2",
            "祁连路",
            &line([101.76, 36.62], [101.80, 36.62]),
            &none,
        ),
        entity("grid", "630104001001", "海晏网格", &square(101.70), &none),
        entity("division", "630104001000", "西关大街街道", &square(101.70), &none),
        entity(
            "road",
            "R-3",
            "盐湖巷",
            &line([101.72, 36.60], [101.72, 36.64]),
            &none,
        ),
        entity(
            "place",
            "P-1",
            "海晏书店",
            &json!({"type": "Point", "coordinates": [101.731, 36.621]}),
            &none,
        ),
    ]
}

fn served(dir: &Path) -> Server {
    std::fs::write(dir.join("onemap.toml"), CONFIG).unwrap();
    let server = Server::start_in(dir);
    server.post("/api/v1/entities/batch", &Value::Array(city()));
    server
}

fn onemap(dir: &Path, arguments: &[&str], input: &[u8]) -> (i32, Vec<Value>, String) {
    let mut child = Command::new(binary("onemap"))
        .args(arguments)
        .arg("--data-dir")
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    let lines = said
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    (
        done.status.code().unwrap(),
        lines,
        String::from_utf8(done.stderr).unwrap(),
    )
}

#[test]
fn addresses_follow_the_register_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let server = served(folder.path());
    // Doors by way of the command line; what is wrong is said by its line.
    let doors = folder.path().join("doors.csv");
    std::fs::write(
        &doors,
        "road,number,lon,lat\n祁连路,11,101.711,36.6201\n祁连路,31,101.731,36.6201\n祁连路,无号,101.7,36.6\n祁连路,8,101.76,36.6199\n",
    )
    .unwrap();
    let file = doors.to_str().unwrap();
    let (code, _, said) = onemap(folder.path(), &["import", "addresses", file], b"");
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("line 4") && said.contains("`无号` is no number"),
        "{said}"
    );

    let held = ask(&server, "青海省西宁市城西区祁连路３１号");
    assert_eq!(
        (&held["level"], &held["division"], &held["ok"]),
        (&json!("door"), &json!("630104001000"), &json!(true))
    );
    assert_eq!(
        (&held["held"], &held["division_held"]),
        (&json!(true), &json!(true))
    );
    for code in [&held["code"], &held["division"]] {
        let known = server.get(&format!("/api/v1/entities/{}", code.as_str().unwrap()));
        assert_eq!(&known["code"], code, "a code of an answer is one of the register");
    }
    assert!(held["confidence"].as_f64().unwrap() >= 0.9, "{held}");
    assert!((held["position"]["lon"].as_f64().unwrap() - 101.731).abs() < 1e-6);

    let between = ask(&server, "城西区祁连路二十一号");
    assert_eq!(between["level"], "interpolated");
    assert!(
        (between["position"]["lon"].as_f64().unwrap() - 101.721).abs() < 1e-4,
        "{between}"
    );

    // Two roads of one name and no district: nobody guesses.
    let two = ask(&server, "祁连路");
    assert_eq!(
        (&two["ambiguous"], &two["code"], &two["position"]),
        (&json!(true), &Value::Null, &Value::Null)
    );
    assert!(two["confidence"].as_f64().unwrap() <= 0.5);
    let codes: Vec<&str> = two["alternatives"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|a| a["code"].as_str())
        .collect();
    assert_eq!(codes, ["R-1", "R-2"]);
    let near = server.get(&format!(
        "/api/v1/geocode?q={}&near=101.79,36.62",
        percent("祁连路")
    ));
    assert_eq!(
        (&near["code"], &near["ambiguous"]),
        (&json!("R-2"), &json!(false))
    );

    let crossing = ask(&server, "城西区祁连路与盐湖巷交叉口东南角");
    assert_eq!(crossing["level"], "intersection");
    assert!((crossing["position"]["lon"].as_f64().unwrap() - 101.72).abs() < 1e-5);
    assert_eq!(
        ask(&server, "城西北大街31号")["code"],
        held["code"],
        "by its old name"
    );
    let typo = ask(&server, "城西区其连路31号");
    assert_eq!(
        (&typo["code"], &typo["corrected"]),
        (&held["code"], &json!("祁连路"))
    );
    let tail = ask(&server, "城西区没有这条路99号");
    assert_eq!(
        (&tail["level"], &tail["code"]),
        (&json!("district"), &json!("630104"))
    );
    assert!(!tail["ignored"].as_array().unwrap().is_empty());

    let here = server.get("/api/v1/reverse?lon=101.7310&lat=36.6201");
    assert_eq!(
        (&here["level"], &here["division"]),
        (&json!("door"), &json!("630104001000")),
        "{here}"
    );
    assert_eq!(here["address"], "青海省西宁市城西区西关大街街道祁连路31号");
    assert_eq!(here["grid"], json!({"code": "630104001001", "name": "海晏网格"}));
    let street = json!({"code": "630104001000", "name": "西关大街街道", "level": "town", "held": true});
    assert_eq!((&here["street"], &here["community"]), (&street, &Value::Null));
    assert_eq!(here["district"]["code"], "630104");
    assert_eq!(here["divisions"][0]["held"], false, "the province is shipped");
    assert_eq!(
        (&here["door"]["side"], &here["road"]["side"]),
        (&json!("北侧"), &json!("北侧"))
    );
    let nowhere = server.get("/api/v1/reverse?lon=101.60&lat=36.70");
    assert_eq!(nowhere["grid"], Value::Null);
    let shifted = server.get("/api/v1/reverse?lon=101.7310&lat=36.6201&crs=GCJ02");
    assert_ne!(shifted["address"], here["address"]);

    let typed = server.get("/api/v1/geocode/suggest?q=hysd");
    assert_eq!(
        (&typed["items"][0]["name"], &typed["items"][0]["by"]),
        (&json!("海晏书店"), &json!("initials"))
    );

    // A new name is known when the request that made it has its answer, a removed one is gone.
    let version = held["version"].as_u64().unwrap();
    let point = json!({"type": "Point", "coordinates": [101.732, 36.622]});
    server.post(
        "/api/v1/entities",
        &entity("place", "P-2", "湟水茶园", &point, &json!({})),
    );
    let fresh = ask(&server, "湟水茶园");
    assert_eq!(
        (&fresh["level"], &fresh["code"]),
        (&json!("place"), &json!("P-2"))
    );
    assert!(fresh["version"].as_u64().unwrap() > version);
}

#[test]
fn many_addresses_at_once_and_hostile_ones() {
    let folder = tempfile::tempdir().unwrap();
    let server = served(folder.path());
    let texts = json!([
        "城西区祁连路",
        "",
        "西".repeat(10_000),
        "西宁\u{0}路",
        "🚚🚚",
        "12345678"
    ]);
    let many = server.post("/api/v1/geocode", &texts);
    let items = many["items"].as_array().unwrap();
    let errors: Vec<&str> = items
        .iter()
        .filter_map(|item| item["error"]["code"].as_str())
        .collect();
    assert_eq!(errors, ["empty", "too_long", "control_character"]);
    assert_eq!(
        (&items[0]["level"], &items[0]["line"]),
        (&json!("road"), &json!(1))
    );
    assert_eq!(
        (&items[4]["level"], &items[5]["level"]),
        (&json!("unknown"), &json!("unknown"))
    );

    let refused = |path: &str, want: &str| {
        let (status, problem) = server.request("GET", path, None);
        assert_eq!(
            (status, problem["code"].as_str()),
            (400, Some(want)),
            "{path}: {problem}"
        );
    };
    refused("/api/v1/geocode", "bad_parameter");
    refused("/api/v1/geocode?q=", "empty");
    refused("/api/v1/geocode?q=%E8%A5%BF%00", "control_character");
    refused(&format!("/api/v1/geocode?q={}", "x".repeat(300)), "too_long");
    refused("/api/v1/geocode?q=x&limit=99", "bad_limit");
    refused("/api/v1/geocode?q=x&near=abc", "bad_near");
    refused("/api/v1/geocode?q=x&colour=red", "bad_parameter");
    refused("/api/v1/reverse?lon=200&lat=36", "bad_position");
    refused("/api/v1/reverse?lon=NaN&lat=36", "bad_position");
    refused("/api/v1/reverse?lon=101&lat=36&crs=mars", "bad_crs");

    // A district's viewer does not see the roads of another, but its name.
    let made = server.post("/api/v1/tokens", &json!({"role": "viewer", "division": "630102"}));
    let token = made["token"].as_str().unwrap();
    let path = format!("/api/v1/geocode?q={}", percent("城西区盐湖巷"));
    let (status, seen) = request(&server.http, token, "GET", &path, None);
    assert_eq!((status, &seen["level"]), (200, &json!("district")), "{seen}");
    let here = "/api/v1/reverse?lon=101.7310&lat=36.6201";
    let (_, seen) = request(&server.http, token, "GET", here, None);
    assert_eq!(
        (&seen["grid"], &seen["door"]),
        (&Value::Null, &Value::Null),
        "{seen}"
    );
    let (status, _) = request(&server.http, "nobody", "GET", &path, None);
    assert_eq!(status, 401);
}

#[test]
fn the_command_line_needs_no_server() {
    let folder = tempfile::tempdir().unwrap();
    let lines = "青海省西宁市城中区\n湟中县\n\n西宁\u{1}\n".to_owned() + &"西".repeat(100_000) + "\n";
    let (code, said, errors) = onemap(folder.path(), &["geocode", "-"], lines.as_bytes());
    assert_eq!(code, 1, "{errors}");
    let first: Vec<&Value> = said.iter().map(|line| &line["code"]).collect();
    assert_eq!(first[..2], [&json!("630103"), &json!("630106")]);
    let faults: Vec<&str> = said
        .iter()
        .filter_map(|line| line["error"]["code"].as_str())
        .collect();
    assert_eq!(faults, ["empty", "control_character", "too_long"]);

    // With a register, its names are known as well.
    let mut server = served(folder.path());
    let register = folder.path().join("register.gpkg");
    wait_for("the register's file", Duration::from_secs(30), || {
        let (_, said, _) = onemap(folder.path(), &["geocode"], "海晏书店".as_bytes());
        (register.exists() && said.first().is_some_and(|line| line["code"] == "P-1")).then_some(())
    });
    server.stop();
    let (code, said, _) = onemap(
        folder.path(),
        &["geocode", "--near", "101.79,36.62"],
        "祁连路\n".as_bytes(),
    );
    assert_eq!((code, &said[0]["code"]), (0, &json!("R-2")));
    let (code, ..) = onemap(folder.path(), &["geocode", "/nowhere/addresses.txt"], b"");
    assert_eq!(code, 2);
}
