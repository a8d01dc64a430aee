//! Files of entities through a running server: what is warned of, what is kept of numbers, and what a stop leaves.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Server, binary, wait_for};

const NUMBER: &str = "11010519491231002X";

/// Sends a file as it is; status and answer.
fn sent(server: &Server, query: &str, body: &[u8]) -> (u16, Value) {
    let answer = ureq::post(format!("{}/api/v1/entities/import?{query}", server.http))
        .config()
        .http_status_as_error(false)
        .build()
        .header("authorization", format!("Bearer {}", server.token))
        .send(body);
    let mut answer = answer.unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&text).unwrap())
}

fn warned<'a>(done: &'a Value, code: &str) -> Vec<&'a str> {
    let all = done["warnings"]
        .as_array()
        .unwrap_or_else(|| panic!("{done}"))
        .iter();
    let of = all.filter(|warning| warning["code"] == code);
    of.filter_map(|warning| warning["message"].as_str()).collect()
}

/// Whether some file under a folder holds a text.
fn holds(dir: &Path, text: &str) -> Option<std::path::PathBuf> {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = holds(&path, text) {
                return Some(found);
            }
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes.windows(text.len()).any(|part| part == text.as_bytes())
        {
            return Some(path);
        }
    }
    None
}

#[test]
fn numbers_strange_divisions_and_heights_are_told() {
    let server = Server::new();
    let sheet = format!(
        "code,name,lon,lat,division,联系人\nH1,塌陷,101.8,36.6,630102,{NUMBER}\nH2,裂缝,101.8,36.6,630199,王\nH3,{NUMBER},101.8,36.6,,\nH4,积水,0,0,,\nH5,\"x,101.8,36.6,,\nH6,y,101.8,36.6,630199,\n"
    );
    let (status, done) = sent(&server, "name=a.csv&kind=hazard", sheet.as_bytes());
    assert_eq!(
        (status, &done["imported"], &done["refused"]),
        (201, &json!(3), &json!(3)),
        "{done}"
    );
    let errors: Vec<String> = done["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| format!("{} {}", e["at"].as_str().unwrap(), e["message"].as_str().unwrap()))
        .collect();
    for (error, want) in errors.iter().zip([
        "line 4 its name holds a citizen number",
        "line 5 0, 0 is",
        "line 6 a quoted field",
    ]) {
        assert!(error.starts_with(want), "{error}");
    }
    let numbers = warned(&done, "citizen_number");
    assert!(
        numbers.len() == 1 && numbers[0].starts_with("1 values of column `联系人`"),
        "{done}"
    );
    let strange = warned(&done, "unknown_division");
    assert!(
        strange.len() == 1 && strange[0].contains("`H2` names division 630199"),
        "{done}"
    );
    let kept = server.get("/api/v1/entities/H1");
    let marker = kept["attributes"]["联系人"].as_str().unwrap();
    assert!(
        marker.starts_with("person:") && !marker.contains(NUMBER),
        "{kept}"
    );
    // The same person has the same pseudonym as where persons are kept.
    let person = server.post("/api/v1/persons", &json!({"number": NUMBER}));
    assert_eq!(
        marker,
        format!("person:{}", person["pseudonym"].as_str().unwrap())
    );
    assert_eq!(holds(&server.dir, &NUMBER[..17]), None);

    let line = json!({"type": "Feature", "properties": {"code": "R1"}, "geometry": {"type": "LineString", "coordinates": [[101.8, 36.6, 2260], [101.81, 36.6, 2262]]}});
    let (_, done) = sent(&server, "name=a.geojson&kind=road", line.to_string().as_bytes());
    assert!(warned(&done, "no_height_datum")[0].contains("1 things"), "{done}");
    assert!(server.get("/api/v1/entities/R1")["z_range_m"].is_null());

    let (status, done) = sent(&server, "name=a.csv&kind=place", "设施,名称\n1,a\n".as_bytes());
    assert_eq!(status, 422);
    assert!(done.to_string().contains("the columns are: 设施, 名称"), "{done}");
}

#[test]
fn a_code_of_two_kinds_and_unknown_parameters_are_told() {
    let server = Server::new();
    let at = json!({"type": "Point", "coordinates": [101.8, 36.6]});
    for kind in ["place", "hazard"] {
        server.post(
            "/api/v1/entities",
            &json!({"code": "X1", "kind": kind, "name": kind, "geometry": at}),
        );
    }
    let (status, problem) = server.request("GET", "/api/v1/entities/X1", None);
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("ambiguous_code")),
        "{problem}"
    );
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("kind=place") && detail.contains("kind=hazard"),
        "{detail}"
    );
    assert_eq!(server.get("/api/v1/entities/X1?kind=hazard")["name"], "hazard");
    for (path, want) in [
        ("/api/v1/entities/X1?kind=road", 404),
        ("/api/v1/entities/X1?kind=colour", 400),
        ("/api/v1/entities/X1?kind=place&colour=red", 400),
        ("/api/v1/system?colour=red", 400),
        ("/api/v1/system", 200),
    ] {
        let (status, problem) = server.request("GET", path, None);
        assert_eq!(status, want, "{path}: {problem}");
    }
}

#[test]
fn a_sheet_in_gb_18030_is_read_when_it_is_declared() {
    let server = Server::new();
    // 名称 and 西宁站 in GBK.
    let sheet = b"code,\xC3\xFB\xB3\xC6,lon,lat\nP1,\xCE\xF7\xC4\xFE\xD5\xBE,101.8,36.6\n";
    let (status, problem) = sent(&server, "name=a.csv&kind=place", sheet);
    assert_eq!(status, 422);
    assert!(problem.to_string().contains("it reads as GB 18030"), "{problem}");
    let (status, done) = sent(&server, "name=a.csv&kind=place&encoding=gb18030", sheet);
    assert_eq!(status, 201, "{done}");
    assert_eq!(server.get("/api/v1/entities/P1")["name"], "西宁站");
    let (status, _) = sent(&server, "name=a.csv&kind=place&encoding=latin", sheet);
    assert_eq!(status, 400);

    // The command line's own files, too: an address, and doors with columns of their own.
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("a.txt");
    std::fs::write(&text, b"\xCE\xF7\xC4\xFE\xCA\xD0\xB3\xC7\xD6\xD0\xC7\xF8\n").unwrap();
    let onemap = |args: &[&str]| {
        let mut command = Command::new(binary("onemap"));
        let output = command
            .arg("--data-dir")
            .arg(&server.dir)
            .args(args)
            .output()
            .unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    let file = text.to_str().unwrap();
    let (code, said) = onemap(&["geocode", file]);
    assert!(code == 1 && said.contains("it reads as GB 18030"), "{said}");
    let (code, said) = onemap(&["geocode", file, "--encoding", "gb18030"]);
    assert!(code == 0 && said.contains("\"630103\""), "{said}");
    let doors = folder.path().join("doors.csv");
    std::fs::write(&doors, "街巷,牌号,X,Y\n长江路,12,101.77,36.62\n").unwrap();
    let file = doors.to_str().unwrap();
    let (code, said) = onemap(&["import", "addresses", file]);
    assert!(
        code == 1 && said.contains("the columns are: 街巷, 牌号"),
        "{said}"
    );
    let (code, said) = onemap(&[
        "import",
        "addresses",
        file,
        "--map",
        "街巷=road",
        "--map",
        "牌号=number",
    ]);
    assert!(code == 0 && said.contains("1 imported"), "{said}");
}

#[test]
fn a_killed_server_leaves_no_sheet_of_persons() {
    let mut server = Server::new();
    let address = server.http.strip_prefix("http://").unwrap().to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    let row = format!("{NUMBER},101.8,36.6\n");
    let body = format!("公民身份号码,经度,纬度\n{}", row.repeat(20_000));
    let head = format!(
        "POST /api/v1/entities/import?name=a.csv&kind=person HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
        server.token,
        body.len() + 1_000_000
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    // The rest never comes; what came lies on the disk.
    let open = format!("/proc/{}/fd", server.process.child.id());
    wait_for("the file that is written", Duration::from_secs(30), || {
        std::fs::read_dir(&open).unwrap().flatten().find(|fd| {
            let to = std::fs::read_link(fd.path()).unwrap_or_default();
            let is_import = to.to_string_lossy().contains("/import/");
            is_import && std::fs::metadata(fd.path()).is_ok_and(|data| data.len() >= body.len() as u64)
        })
    });
    server.process.kill();
    let left = std::fs::read_dir(server.dir.join("import")).unwrap().count();
    assert_eq!(left, 0, "no file has a name");
    assert_eq!(holds(&server.dir, NUMBER), None);
}

#[test]
fn an_import_that_a_kill_ends_is_told_and_done_again() {
    const N: usize = 60_000;
    let mut server = Server::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("many.csv");
    let mut text = "code,name,lon,lat\n".to_owned();
    for i in 0..N {
        text.push_str(&format!("P{i},p{i},101.{:05},36.6\n", i + 1));
    }
    std::fs::write(&file, text).unwrap();
    let command = |dir: &Path| {
        let mut command = Command::new(binary("onemap"));
        command
            .arg("--data-dir")
            .arg(dir)
            .args(["import", "entities", "--kind", "place"])
            .arg(&file);
        command
    };
    let mut import = command(&server.dir)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("the first entities", Duration::from_secs(60), || {
        (server.request("GET", "/api/v1/entities/P0", None).0 == 200).then_some(())
    });
    server.process.kill();
    let status = import.wait().unwrap();
    let mut said = String::new();
    import.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(
        said.contains("went away in the middle of the import") && said.contains("run the same command again"),
        "{said}"
    );
    let server = server.kill_and_restart();
    let again = command(&server.dir).arg("--json").output().unwrap();
    let done: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(
        (&done["imported"], &done["refused"]),
        (&json!(N), &json!(0)),
        "{done}"
    );
    assert!(done["replaced"].as_u64().unwrap() >= 1_000, "{done}");
    assert_eq!(
        server.get(&format!("/api/v1/entities/P{}", N - 1))["name"],
        format!("p{}", N - 1)
    );
}

#[test]
fn codes_are_changed_and_what_points_to_them_follows() {
    let server = Server::new();
    let at = json!({"type": "Point", "coordinates": [101.8, 36.6]});
    let square = json!({"type": "Polygon", "coordinates": [[[101.7, 36.5], [101.9, 36.5], [101.9, 36.7], [101.7, 36.7], [101.7, 36.5]]]});
    let old = "6301020101000001";
    server.post(
        "/api/v1/entities/batch",
        &json!([
            {"code": "630122", "kind": "division", "name": "湟中县", "geometry": square},
            {"code": old, "kind": "component", "name": "井盖", "geometry": at, "division": "630102", "valid_from": "2015-01-01T00:00:00+08:00"},
            {"code": "6301020101000002", "kind": "component", "name": "井盖", "geometry": at},
            {"code": "63010201001000009", "kind": "component", "name": "井盖", "geometry": at},
            {"code": "H1", "kind": "hazard", "name": "井盖缺失", "geometry": at, "attributes": {"component": old, "note": old}},
            {"code": "P1", "kind": "place", "name": "多巴", "geometry": at, "division": "630122"},
        ]),
    );
    server.add_device("d1", &json!({"division": "630122"}));
    server.caught_up();
    let folder = tempfile::tempdir().unwrap();
    let map = folder.path().join("map.csv");
    std::fs::write(
        &map,
        format!(
            "old,new,class,division\n{old},63010201001000001,,\n6301020101000002,63010201001000009,,\nX9,X10,,\n6301020101000002,63010202014000002,,\n6301020101000002,63010301001000002,,\n6301020101000002,63010201099000002,,\n630122,630106,,\n"
        ),
    )
    .unwrap();
    let recode = |more: &[&str]| {
        let mut command = Command::new(binary("onemap"));
        command
            .arg("--data-dir")
            .arg(&server.dir)
            .args(["--json", "entity", "recode", "--map"])
            .arg(&map);
        let output = command.args(more).output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| json!(String::from_utf8_lossy(&output.stderr)));
        (output.status.code(), said)
    };
    let faults = |done: &Value| -> Vec<String> {
        let errors = done["errors"]
            .as_array()
            .unwrap_or_else(|| panic!("{done}"))
            .iter();
        errors
            .map(|e| format!("{} {}", e["at"].as_str().unwrap(), e["code"].as_str().unwrap()))
            .collect()
    };
    let wanted = [
        "line 3 taken",
        "line 4 unknown_old",
        "line 5 class_changed",
        "line 6 division_changed",
        "line 7 bad_new",
    ];
    let (_, dry) = recode(&["--dry-run", "--at", "2026-07-15"]);
    assert_eq!(
        (&dry["recoded"], &dry["position"]),
        (&json!(2), &Value::Null),
        "{dry}"
    );
    assert_eq!(
        server.get(&format!("/api/v1/entities/{old}"))["code"],
        old,
        "nothing was changed"
    );
    let (code, done) = recode(&["--at", "2026-07-15"]);
    assert_eq!(
        (code, faults(&done)),
        (Some(1), wanted.map(str::to_owned).to_vec()),
        "{done}"
    );
    assert_eq!(
        (&done["recoded"], &done["already"]),
        (&json!(2), &json!(0)),
        "{done}"
    );
    assert_eq!(done["followed"], json!({"entities": 2, "devices": 1}), "{done}");

    let found = server.get(&format!("/api/v1/entities/{old}"));
    assert_eq!(
        (&found["code"], &found["name"]),
        (&json!("63010201001000001"), &json!("井盖"))
    );
    assert_eq!(found["class"], "01001");
    let former = &found["former"][0];
    assert_eq!(former["code"], old);
    assert!(
        former["from"].as_str().unwrap().starts_with("2014-12-31T16:00")
            || former["from"].as_str().unwrap().starts_with("2015-01-01")
    );
    let hazard = server.get("/api/v1/entities/H1");
    assert_eq!(
        hazard["attributes"],
        json!({"component": "63010201001000001", "note": old})
    );
    assert_eq!(server.get("/api/v1/entities/P1")["division"], "630106");
    assert_eq!(server.get("/api/v1/devices/d1")["division"], "630106");
    assert_eq!(server.get("/api/v1/entities/630122")["code"], "630106");
    // The same again changes nothing.
    let (_, again) = recode(&["--at", "2026-07-15"]);
    assert_eq!(
        (&again["recoded"], &again["already"], &again["position"]),
        (&json!(0), &json!(2), &Value::Null),
        "{again}"
    );
    // Too early for 17 digits, a time to come, and an unknown parameter.
    let ask = |query: &str, body: &str| {
        server.request("POST", &format!("/api/v1/entities/recode{query}"), Some(body))
    };
    let line = "old,new\n6301020101000002,63010201001000002\n";
    let (status, early) = ask("?at=2020-01-01T00:00:00Z&dry_run=true", line);
    assert_eq!(
        (status, &early["errors"][0]["code"]),
        (422, &json!("bad_new")),
        "{early}"
    );
    assert_eq!(ask("?at=2999-01-01T00:00:00Z", line).0, 400);
    assert_eq!(ask("?colour=red", line).0, 400);
    // What a kill leaves is the same.
    let server = server.kill_and_restart();
    assert_eq!(
        server.get(&format!("/api/v1/entities/{old}"))["code"],
        "63010201001000001"
    );
}

#[test]
fn fences_are_recoded_and_a_code_shared_with_one_is_ambiguous() {
    let server = Server::new();
    let square = json!({"type": "Polygon", "coordinates": [[[101.5, 36.4], [101.7, 36.4], [101.7, 36.6], [101.5, 36.6], [101.5, 36.4]]]});
    let at = json!({"type": "Point", "coordinates": [101.6, 36.5]});
    server.post(
        "/api/v1/entities/batch",
        &json!([
            {"code": "630122", "kind": "division", "name": "湟中县", "geometry": square},
            {"code": "F1", "kind": "fence", "name": "工地", "geometry": square},
            {"code": "F2", "kind": "fence", "name": "料场", "geometry": square, "division": "630122"},
            {"code": "X1", "kind": "fence", "name": "库区", "geometry": square},
            {"code": "X1", "kind": "place", "name": "库房", "geometry": at},
        ]),
    );
    server.caught_up();
    let recode = |lines: &str| {
        let (_, done) = server.request(
            "POST",
            "/api/v1/entities/recode?at=2026-07-15T00:00:00Z",
            Some(lines),
        );
        server.caught_up();
        done
    };
    let done = recode("old,new\nF1,G1\nX1,Y1\n");
    assert_eq!(done["recoded"], 1, "{done}");
    assert_eq!(done["errors"][0]["code"], "ambiguous_old", "{done}");
    assert_eq!(done["errors"][0]["at"], "line 3", "{done}");
    assert_eq!(server.get("/api/v1/entities/F1?kind=fence")["code"], "G1");
    let fences = server.get("/api/v1/fences");
    let fences = fences["items"].as_array().unwrap_or_else(|| panic!("{fences}"));
    let codes: Vec<&str> = fences
        .iter()
        .map(|fence| fence["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["F2", "G1", "X1"]);
    // A kind says which one is meant, and a fence follows the division that it states.
    let done = recode("old,new,kind\nX1,Y1,fence\n630122,630106,division\n");
    assert_eq!(
        (&done["recoded"], &done["errors"]),
        (&json!(2), &json!([])),
        "{done}"
    );
    assert_eq!(done["followed"]["entities"], 1, "{done}");
    assert_eq!(server.get("/api/v1/entities/Y1")["name"], "库区");
    assert_eq!(server.get("/api/v1/entities/X1?kind=place")["name"], "库房");
    assert_eq!(server.get("/api/v1/entities/F2")["division"], "630106");
}
