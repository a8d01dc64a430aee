//! What an alert rests on, taken away as a file and verified as the file itself says, with stock tools; and the journal's
//! closed segments, held by the audit.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::alarms::DUST;
use crate::server::{CONFIG, Server, binary, wait_for};

const SOON: Duration = Duration::from_secs(30);

/// The commands of a numbered part of the pack's README.
fn commands(readme: &str, part: &str) -> String {
    let behind = readme.split_once(part).unwrap().1;
    let lines = behind.lines().skip(1);
    let lines = lines.take_while(|line| line.starts_with("   "));
    let code = lines.filter_map(|line| line.strip_prefix("     "));
    code.map(|line| format!("{line}\n")).collect()
}

fn bash(dir: &Path, script: &str) -> (bool, String) {
    let done = Command::new("bash")
        .args(["-e", "-o", "pipefail", "-c", script])
        .current_dir(dir)
        .output()
        .unwrap();
    let said = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Whether everything holds that the README has one look at.
pub fn verify(dir: &Path) -> Result<(), String> {
    let readme = std::fs::read_to_string(dir.join("README.txt")).unwrap();
    let (is_good, said) = bash(dir, &commands(&readme, "\n1. "));
    if !is_good {
        return Err(said);
    }
    for file in std::fs::read_dir(dir.join("chain")).unwrap() {
        let name = file.unwrap().path();
        let name = name.file_stem().unwrap().to_str().unwrap();
        let (is_good, said) = bash(
            dir,
            &commands(&readme, "\n2. ").replace("X.", &format!("{name}.")),
        );
        if !is_good || said.contains("changed") || said.contains("broken") {
            return Err(said);
        }
        let line = |what: &str| {
            said.lines()
                .find_map(|line| line.strip_prefix(what))
                .map(str::to_owned)
        };
        let end = said.lines().find(|line| line.len() == 64).map(str::to_owned);
        if end.is_none() || line("hash ") != end {
            return Err(said);
        }
    }
    Ok(())
}

pub fn has(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok();
    if !found {
        eprintln!("SKIPPED: {tool} is not installed, so the pack is not verified as its README says");
    }
    found
}

/// An alert that somebody acknowledged.
pub fn alert(server: &Server) -> String {
    server.add_device("air-1", &json!({"cadence_s": 5, "division": "630102"}));
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms();
    for (ago, value) in [(90_000, 41.5), (0, 300.0)] {
        let body = json!({"device": "air-1", "readings": [{"q": "pm10", "t": now - ago, "v": value}]});
        server.post("/api/v1/readings", &body);
    }
    let id = wait_for("the alert", SOON, || {
        let open = server.get("/api/v1/alerts?state=open");
        open["items"][0]["id"].as_str().map(str::to_owned)
    });
    let ack = json!({"name": "王队", "note": "已派人", "minutes": 60});
    server.post(&format!("/api/v1/alerts/{id}/ack"), &ack);
    // A row of the audit behind it that is none of the alert's.
    server.post("/api/v1/tokens", &json!({"role": "viewer", "name": "wall"}));
    server.caught_up();
    id
}

/// Takes the pack and unpacks it.
pub fn take(server: &Server, token: &str, id: &str, to: &Path) -> u16 {
    let tar = to.join("pack.tar");
    let done = Command::new("curl")
        .args(["-s", "-o", tar.to_str().unwrap(), "-w", "%{http_code}"])
        .args(["-H", &format!("Authorization: Bearer {token}")])
        .arg(format!("{}/api/v1/alerts/{id}/evidence", server.http))
        .output()
        .unwrap();
    let status = String::from_utf8_lossy(&done.stdout).parse().unwrap();
    if status == 200 {
        let untarred = Command::new("tar")
            .current_dir(to)
            .args(["-xf", "pack.tar"])
            .status();
        assert!(untarred.unwrap().success());
    }
    status
}

pub fn read(dir: &Path, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join(name)).unwrap()).unwrap()
}

#[test]
fn a_pack_is_verified_as_it_says_itself_and_shows_what_was_changed() {
    let server = Server::with_rules(&[("dust", DUST)]);
    let id = alert(&server);
    let to = tempfile::tempdir().unwrap();
    assert_eq!(take(&server, &server.token, &id, to.path()), 200);
    let dir = to.path().join(format!("evidence-{id}"));

    let shown = read(&dir, "alert.json");
    let edges: Vec<&str> = shown["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["edge"].as_str().unwrap())
        .collect();
    assert_eq!(edges, ["raised", "acknowledged"]);
    assert_eq!(std::fs::read_to_string(dir.join("rule.yaml")).unwrap(), DUST);
    assert_eq!(read(&dir, "device.json")["id"], "air-1");
    assert_eq!(read(&dir, "contents.json")["left_out"], json!([]));
    let csv = std::fs::read_to_string(dir.join("readings.csv")).unwrap();
    let values: Vec<&str> = csv
        .lines()
        .skip(1)
        .map(|line| line.split(',').nth(6).unwrap())
        .collect();
    assert_eq!(values, ["41.5", "300"], "{csv}");
    let frames = std::fs::read_to_string(dir.join("frames.ndjson")).unwrap();
    let input = shown["inputs"][0]["position"].clone();
    let frame: Value = frames
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|frame| frame["position"] == input)
        .expect("the frame that the value came in");
    let bytes = std::fs::read_to_string(dir.join(frame["file"].as_str().unwrap())).unwrap();
    assert!(bytes.contains("300"), "{bytes}");

    // The act of acknowledging and the rule stand in the chain; foreign rows show no body.
    let mut bodies = Vec::new();
    let mut n_bare = 0;
    for file in std::fs::read_dir(dir.join("chain")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for line in text.lines().skip(1) {
            let row: Value = serde_json::from_str(line).unwrap();
            match row["body"].as_str() {
                Some(body) => bodies.push(body.to_owned()),
                None => n_bare += 1,
            }
        }
    }
    assert!(bodies.iter().any(|body| body.contains("已派人")), "{bodies:?}");
    assert!(bodies.iter().any(|body| body.contains("pm10-dust")), "{bodies:?}");
    assert!(n_bare > 0 && !bodies.iter().any(|body| body.contains("wall")));

    // That it was taken is in the audit.
    server.caught_up();
    let ledger = rusqlite::Connection::open(server.dir.join("ledger.sqlite")).unwrap();
    let taken: String = ledger
        .query_row(
            "SELECT body FROM audit WHERE body LIKE '%\"verb\":\"evidence\"%'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let sums = bash(&dir, "sha256sum SHA256SUMS").1;
    assert!(taken.contains(&sums[..64]), "{taken} has not {sums}");

    if !(has("jq") && has("openssl")) {
        return;
    }
    assert_eq!(verify(&dir), Ok(()));
    let forge = |name: &str, from: &str, to: &str| {
        let path = dir.join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{name} has no {from}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
        let found = verify(&dir);
        std::fs::write(&path, text).unwrap();
        found.expect_err(&format!("{name} was changed"))
    };
    forge("readings.csv", "300", "200");
    forge("alert.json", "王队", "李队");
    forge("SHA256SUMS", "  alert.json", "  alert.JSON");
    // Who can make list and signature anew is told by the chain: the head is that of the day, kept elsewhere.
    let chain = std::fs::read_dir(dir.join("chain"))
        .unwrap()
        .map(|f| f.unwrap().path());
    let chain: Vec<_> = chain
        .filter(|path| std::fs::read_to_string(path).unwrap().contains("已派人"))
        .collect();
    let text = std::fs::read_to_string(&chain[0]).unwrap();
    std::fs::write(&chain[0], text.replace("已派人", "没派人")).unwrap();
    let readme = std::fs::read_to_string(dir.join("README.txt")).unwrap();
    let name = chain[0].file_stem().unwrap().to_str().unwrap();
    let (_, said) = bash(
        &dir,
        &commands(&readme, "\n2. ").replace("X.", &format!("{name}.")),
    );
    assert!(said.contains("changed"), "{said}");
    std::fs::write(&chain[0], text).unwrap();
    assert_eq!(verify(&dir), Ok(()));
}

#[test]
fn who_takes_a_pack_is_asked_and_the_command_line_writes_it() {
    let server = Server::with_rules(&[("dust", DUST)]);
    let id = alert(&server);
    let to = tempfile::tempdir().unwrap();
    let token = |role: &str, division: &str| {
        let made = server.post(
            "/api/v1/tokens",
            &json!({"role": role, "name": role, "division": division}),
        );
        made["token"].as_str().unwrap().to_owned()
    };
    assert_eq!(take(&server, &token("viewer", "630102"), &id, to.path()), 403);
    assert_eq!(take(&server, &token("officer", "630104"), &id, to.path()), 404);
    assert_eq!(
        take(&server, &token("officer", "630102"), &"0".repeat(32), to.path()),
        404
    );
    assert_eq!(
        take(&server, &token("audit_admin", "630102"), &id, to.path()),
        200
    );
    let out = to.path().join("own.tar");
    let done = Command::new(binary("onemap"))
        .args([
            "--data-dir",
            server.dir.to_str().unwrap(),
            "audit",
            "evidence",
            &id,
            "--out",
            out.to_str().unwrap(),
        ])
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let listed = Command::new("tar")
        .args(["-tf", out.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("/SHA256SUMS.sig"));
}

#[test]
fn exports_are_acts_before_their_first_byte() {
    let server = Server::new();
    server.add_device("air-1", &json!({}));
    for path in [
        "/api/v1/export?format=csv&device=air-1",
        "/api/v1/entities/export?format=geojson",
    ] {
        let body = crate::server::text(&server.http, &server.token, path);
        assert!(!body.is_empty());
    }
    server.request("GET", "/api/v1/export?format=none", None);
    server.caught_up();
    let ledger = rusqlite::Connection::open(server.dir.join("ledger.sqlite")).unwrap();
    let mut acts = ledger
        .prepare("SELECT body FROM audit WHERE kind = 'act' ORDER BY n")
        .unwrap();
    let acts: Vec<Value> = acts
        .query_map([], |row| row.get::<_, String>(0))
        .unwrap()
        .map(|body| serde_json::from_str(&body.unwrap()).unwrap())
        .collect();
    let told: Vec<(&str, &str)> = acts
        .iter()
        .filter(|act| act["verb"] == "export")
        .map(|act| (act["what"].as_str().unwrap(), act["query"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("readings", "format=csv&device=air-1"),
            ("entities", "format=geojson")
        ]
    );
}

/// A configuration by which nothing of the journal has to be kept.
fn keeps_nothing(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("keeps-nothing.toml");
    std::fs::write(&path, "[journal]\nkeep_hours = 0\n").unwrap();
    path
}

#[test]
fn closed_segments_of_the_journal_are_held_by_the_audit() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    std::fs::write(
        dir.join("onemap.toml"),
        format!("{CONFIG}[journal]\nsegment_bytes = 1048576\n"),
    )
    .unwrap();
    let mut server = Server::start_in(dir);
    server.add_device("air-1", &json!({}));
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms();
    for piece in 0..60 {
        let reading = |i: i64| json!({"q": "pm10", "t": now - (piece * 1000 + i), "v": 10.0});
        let readings: Vec<Value> = (0..1000).map(reading).collect();
        server.post(
            "/api/v1/readings",
            &json!({"device": "air-1", "readings": readings}),
        );
    }
    let n_digests = || -> Option<i64> {
        let ledger = rusqlite::Connection::open(dir.join("ledger.sqlite")).ok()?;
        ledger
            .query_row("SELECT count(*) FROM audit WHERE kind = 'segment'", [], |row| {
                row.get(0)
            })
            .ok()
    };
    wait_for("digests of two segments", SOON, || {
        n_digests().filter(|n| *n >= 2)
    });
    server.stop();
    let mut server = Server::start_in(dir);
    server.caught_up();
    server.stop();

    let verify = || {
        let done = Command::new(binary("onemap"))
            .args(["--data-dir", dir.to_str().unwrap(), "--json", "audit", "verify"])
            .output()
            .unwrap();
        let said: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
        assert_eq!(done.status.success(), said["ok"] == true);
        said
    };
    let held = verify();
    assert_eq!(held["ok"], true, "{held}");
    let n = n_digests().unwrap();
    assert_eq!(
        held["segments"],
        json!({"held": n, "let_go": 0}),
        "each segment has one digest, over restarts"
    );

    let journal = dir.join("journal");
    let mut files: Vec<_> = std::fs::read_dir(&journal)
        .unwrap()
        .map(|f| f.unwrap().path())
        .collect();
    files.retain(|path| {
        path.extension()
            .is_some_and(|kind| kind == "seg" || kind == "segz")
    });
    files.sort();
    let whole = std::fs::read(&files[1]).unwrap();
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&files[1], bytes).unwrap();
    let said = verify();
    assert!(
        said["fault"]["what"]
            .as_str()
            .unwrap()
            .contains("the segment of the journal"),
        "{said}"
    );
    std::fs::remove_file(&files[1]).unwrap();
    let said = verify();
    assert!(
        said["fault"]["what"]
            .as_str()
            .unwrap()
            .contains("records are missing"),
        "{said}"
    );
    std::fs::write(&files[1], &whole).unwrap();
    // What went before its time is missed; what went by it is no fault.
    std::fs::remove_file(&files[0]).unwrap();
    let said = verify();
    assert!(
        said["fault"]["what"]
            .as_str()
            .unwrap()
            .contains("was to be kept until"),
        "{said}"
    );
    let config = keeps_nothing(dir);
    let done = Command::new(binary("onemap"))
        .args([
            "--data-dir",
            dir.to_str().unwrap(),
            "--json",
            "--config",
            config.to_str().unwrap(),
        ])
        .args(["audit", "verify"])
        .output()
        .unwrap();
    let said: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
    assert_eq!(said["segments"], json!({"held": n - 1, "let_go": 1}), "{said}");
}
