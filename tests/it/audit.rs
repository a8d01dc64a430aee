//! The audit of a real server against who changes its ledger, and heads that were kept elsewhere.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Server, binary, wait_for};

const SOON: Duration = Duration::from_secs(20);

fn onemap(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(binary("onemap"))
        .arg("--data-dir")
        .arg(dir)
        .args(arguments)
        .output()
        .unwrap()
}

/// What `audit verify` says, and whether it ended with 0.
fn verify(dir: &Path, heads: &[&Path]) -> (bool, Value) {
    let mut arguments = vec!["--json", "audit", "verify"];
    for head in heads {
        arguments.extend(["--head", head.to_str().unwrap()]);
    }
    let done = onemap(dir, &arguments);
    let said =
        serde_json::from_slice(&done.stdout).unwrap_or_else(|_| json!(String::from_utf8_lossy(&done.stderr)));
    (done.status.success(), said)
}

/// The row that is named.
fn broken(dir: &Path, heads: &[&Path]) -> Value {
    let (is_whole, said) = verify(dir, heads);
    assert!(!is_whole, "{said}");
    said["fault"]["row"].clone()
}

#[test]
fn a_restored_folder_says_what_a_newer_head_has_more() {
    let mut server = Server::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let [backup, restored, head] =
        ["backup", "restored", "head.json"].map(|name| elsewhere.path().join(name));
    server.post("/api/v1/tokens", &json!({"role": "viewer", "name": "before"}));
    server.caught_up();
    let done = onemap(&server.dir, &["backup", backup.to_str().unwrap()]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    for n in 0..5 {
        server.post(
            "/api/v1/tokens",
            &json!({"role": "viewer", "name": format!("after-{n}")}),
        );
    }
    server.caught_up();
    let done = onemap(&server.dir, &["audit", "head", "--out", head.to_str().unwrap()]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let done = onemap(&restored, &["restore", backup.to_str().unwrap()]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let signed: Value = serde_json::from_slice(&std::fs::read(&head).unwrap()).unwrap();
    let key = elsewhere.path().join("key.pem");
    std::fs::write(&key, signed["key"].as_str().unwrap()).unwrap();
    server.stop();
    let head = [
        "--json",
        "audit",
        "verify",
        "--key",
        key.to_str().unwrap(),
        "--head",
        head.to_str().unwrap(),
    ];
    let done = onemap(&restored, &head);
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    let what = said["fault"]["what"].as_str().unwrap();
    assert!(
        what.contains("are gone") && what.contains("restored from a backup of"),
        "{what}"
    );
    let done = onemap(&server.dir, &head);
    let said: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(said["ok"], true, "{said}");
}

fn sql(dir: &Path, text: &str) {
    let connection = rusqlite::Connection::open(dir.join("ledger.sqlite")).unwrap();
    connection.execute_batch(text).unwrap();
}

/// A server that has recorded a dozen changes, stopped; its head was taken to elsewhere.
fn city() -> (Server, PathBuf, tempfile::TempDir) {
    let mut server = Server::new();
    for n in 0..10 {
        server.post(
            "/api/v1/tokens",
            &json!({"role": "viewer", "name": format!("wall-{n}")}),
        );
    }
    server.add_device("valve", &json!({}));
    server.post(
        "/api/v1/commands",
        &json!({"device": "valve", "method": "open", "ttl_s": 300}),
    );
    let dust = json!({"device": "valve", "from": "2026-11-20T00:00:00+08:00", "to": "2026-11-20T06:00:00+08:00",
                      "source": "沙尘通知", "name": "王"});
    server.post("/api/v1/dust", &dust);
    let rules = "version: 1\nrules: []\n";
    let (status, said) = server.request("PUT", "/api/v1/rules/none", Some(rules));
    assert_eq!(status, 200, "{said}");
    server.caught_up();
    let elsewhere = tempfile::tempdir().unwrap();
    let head = elsewhere.path().join("head.json");
    // Beside the server, which writes the head of the day itself.
    let made = onemap(&server.dir, &["audit", "head", "--out", head.to_str().unwrap()]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    wait_for("the head of the day", SOON, || {
        let mut made = std::fs::read_dir(server.dir.join("audit")).ok()?.flatten();
        made.any(|file| file.path().extension().is_some_and(|kind| kind == "json"))
            .then_some(())
    });
    server.stop();
    (server, head, elsewhere)
}

/// Another folder with the same ledger and key.
fn copy(of: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    std::fs::create_dir(to.path().join("journal")).unwrap();
    for file in [
        "ledger.sqlite",
        "ledger.sqlite-wal",
        "ledger.sqlite-shm",
        "audit.key",
    ] {
        if of.join(file).exists() {
            std::fs::copy(of.join(file), to.path().join(file)).unwrap();
        }
    }
    to
}

#[test]
fn who_changes_the_ledger_is_told_by_the_row() {
    let (server, head, _elsewhere) = city();
    let (is_whole, said) = verify(&server.dir, &[&head]);
    assert!(is_whole, "{said}");
    let n = said["rows"].as_u64().unwrap();
    assert!(n >= 14, "{said}");
    let connection = rusqlite::Connection::open(server.dir.join("ledger.sqlite")).unwrap();
    let row_of = |what: &str| -> i64 {
        let found = connection.query_row(
            "SELECT n FROM audit WHERE body LIKE ?1",
            [format!("%{what}%")],
            |row| row.get(0),
        );
        found.unwrap()
    };
    let (wall, act) = (row_of("wall-4"), row_of("沙尘通知"));
    let kinds: Vec<String> = {
        let mut all = connection
            .prepare("SELECT DISTINCT kind FROM audit ORDER BY kind")
            .unwrap();
        let kinds = all.query_map([], |row| row.get(0)).unwrap();
        kinds.map(Result::unwrap).collect()
    };
    assert_eq!(kinds, ["act", "command", "register", "rule"]);
    drop(connection);
    for (change, row) in [
        ("UPDATE audit SET body = replace(body, 'wall-4', 'wall-x')", wall),
        ("UPDATE audit SET hash = zeroblob(32) WHERE n = 3", 3),
        (
            "UPDATE acts SET json = replace(json, '沙尘通知', '没有通知')",
            act,
        ),
        ("DELETE FROM audit WHERE n = 5", 5),
        (
            "DELETE FROM audit WHERE n = 5; UPDATE audit SET n = n - 1 WHERE n > 5",
            5,
        ),
        (
            "UPDATE audit SET n = -n WHERE n IN (3, 4); UPDATE audit SET n = 7 + n WHERE n < 0",
            3,
        ),
    ] {
        let forged = copy(&server.dir);
        sql(forged.path(), change);
        assert_eq!(broken(forged.path(), &[]), row, "{change}");
    }
    let short = copy(&server.dir);
    sql(
        short.path(),
        &format!(
            "DELETE FROM audit WHERE n > {}; DELETE FROM acts WHERE position > (SELECT max(position) FROM audit)",
            n - 2
        ),
    );
    assert!(verify(short.path(), &[]).0, "a shorter chain is whole by itself");
    assert_eq!(broken(short.path(), &[&head]), n - 1);
}

#[test]
fn a_chain_made_anew_is_told_by_a_head_that_was_kept_elsewhere() {
    use sha2::{Digest as _, Sha256};
    let (server, head, elsewhere) = city();
    let forged = copy(&server.dir);
    let connection = rusqlite::Connection::open(forged.path().join("ledger.sqlite")).unwrap();
    let (n, body): (i64, String) = connection
        .query_row(
            "SELECT n, body FROM audit WHERE body LIKE '%wall-4%'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    connection
        .execute(
            "UPDATE audit SET body = ?1 WHERE n = ?2",
            rusqlite::params![body.replace("wall-4", "wall-x"), n],
        )
        .unwrap();
    // As docs/audit.md says it: whoever can write the file can make all hashes again.
    let rows: Vec<(i64, i64, i64, String, String)> = {
        let mut all = connection
            .prepare("SELECT n, position, at, kind, body FROM audit ORDER BY n")
            .unwrap();
        let read = all.query_map([], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        });
        read.unwrap().map(Result::unwrap).collect()
    };
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let mut hash = [0_u8; 32];
    for (n, position, at, kind, body) in rows {
        let digest = Sha256::digest(format!("{n}\n{position}\n{at}\n{kind}\n{body}\n"));
        hash = Sha256::digest(hex(&hash) + &hex(&digest)).into();
        connection
            .execute(
                "UPDATE audit SET hash = ?1 WHERE n = ?2",
                rusqlite::params![hash, n],
            )
            .unwrap();
    }
    drop(connection);
    assert!(verify(forged.path(), &[]).0, "by itself it is whole");
    assert_eq!(broken(forged.path(), &[&head]), n);

    // A head that was changed is none, and neither is one by another key.
    let text = std::fs::read_to_string(&head).unwrap();
    let changed = elsewhere.path().join("changed.json");
    std::fs::write(&changed, text.replace("position ", "position 1")).unwrap();
    let done = onemap(
        &server.dir,
        &["audit", "verify", "--head", changed.to_str().unwrap()],
    );
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(
        !done.status.success() && said.contains("it was changed"),
        "{said}"
    );
    let other = copy(&server.dir);
    std::fs::remove_file(other.path().join("audit.key")).unwrap();
    let foreign = elsewhere.path().join("foreign.json");
    let made = onemap(
        other.path(),
        &["audit", "head", "--out", foreign.to_str().unwrap()],
    );
    assert!(made.status.success(), "{made:?}");
    let done = onemap(
        &server.dir,
        &["audit", "verify", "--head", foreign.to_str().unwrap()],
    );
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(!done.status.success() && said.contains("another key"), "{said}");
}

#[test]
fn openssl_reads_a_head() {
    let (_server, head, elsewhere) = city();
    let signed: Value = serde_json::from_slice(&std::fs::read(&head).unwrap()).unwrap();
    let text = |key: &str| signed[key].as_str().unwrap().to_owned();
    let dir = elsewhere.path();
    std::fs::write(dir.join("signed"), text("signed")).unwrap();
    std::fs::write(dir.join("signature.b64"), text("signature") + "\n").unwrap();
    std::fs::write(dir.join("key.pem"), text("key")).unwrap();
    let openssl = |arguments: &[&str]| {
        Command::new("openssl")
            .current_dir(dir)
            .args(arguments)
            .output()
            .unwrap()
    };
    let decoded = openssl(&["base64", "-d", "-A", "-in", "signature.b64", "-out", "signature"]);
    assert!(decoded.status.success(), "{decoded:?}");
    let check = [
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        "key.pem",
        "-rawin",
        "-in",
        "signed",
        "-sigfile",
        "signature",
    ];
    let good = openssl(&check);
    assert!(good.status.success(), "{good:?}");
    std::fs::write(dir.join("signed"), text("signed").replace("rows", "Rows")).unwrap();
    assert!(
        !openssl(&check).status.success(),
        "a changed text is not what was signed"
    );
}

#[test]
fn a_ledger_of_before_the_audit_gets_it_and_a_replay_has_the_same_rows() {
    let (server, head, _elsewhere) = city();
    let into = tempfile::tempdir().unwrap();
    let replayed = into.path().join("copy");
    let done = onemap(
        &server.dir,
        &["journal", "replay", "--into", replayed.to_str().unwrap()],
    );
    assert!(done.status.success(), "{done:?}");
    std::fs::copy(server.dir.join("audit.key"), replayed.join("audit.key")).unwrap();
    let (is_whole, said) = verify(&replayed, &[&head]);
    assert!(is_whole, "{said}");
    sql(&server.dir, "DROP TABLE audit");
    let server = Server::start_in(&server.dir.clone());
    server.post("/api/v1/tokens", &json!({"role": "viewer", "name": "later"}));
    server.caught_up();
    let (is_whole, said) = verify(&server.dir, &[]);
    assert!(is_whole, "{said}");
    assert!(said["rows"].as_u64() >= Some(1), "{said}");
}

/// The items of `check --security` by their names, and whether it ended with 0.
fn assessed(dir: &Path) -> (bool, std::collections::BTreeMap<String, String>) {
    let config = dir.join("onemap.toml");
    let done = onemap(
        dir,
        &[
            "--config",
            config.to_str().unwrap(),
            "--json",
            "check",
            "--security",
        ],
    );
    let said: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
    let items = said["items"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (
        done.status.success(),
        items
            .map(|item| (text(&item["id"]), text(&item["state"])))
            .collect(),
    )
}

#[test]
fn what_an_assessor_asks_is_listed_with_how_it_stands() {
    let mut server = Server::new();
    // What the test itself wrote there.
    let closed = Command::new("chmod")
        .args(["-R", "go=", server.dir.to_str().unwrap()])
        .status();
    assert!(closed.unwrap().success());
    let state = |items: &std::collections::BTreeMap<String, String>, id: &str| items[id].clone();
    let (_, bare) = assessed(&server.dir);
    for (id, is) in [
        ("http", "held"),
        ("devices", "held"),
        ("accounts", "open"),
        ("three_administrators", "open"),
        ("backup", "open"),
        ("tokens", "held"),
        ("files", "held"),
        ("security_events", "open"),
        ("audit_signature", "open"),
        ("host", "ask"),
    ] {
        assert_eq!(state(&bare, id), is, "{id}");
    }
    for role in ["system_admin", "security_admin"] {
        crate::accounts::set_up(&server, role, role);
    }
    for role in ["audit_admin", "operator"] {
        server.post(
            "/api/v1/accounts",
            &json!({"id": role, "name": role, "role": role}),
        );
    }
    // One who was invited and has no password keeps nobody apart.
    let (_, now) = assessed(&server.dir);
    assert_eq!(state(&now, "three_administrators"), "open");
    crate::accounts::set_up(&server, "auditor", "audit_admin");
    server.post("/api/v1/tokens", &json!({"role": "admin", "name": "everything"}));
    let to = tempfile::tempdir().unwrap();
    let made = onemap(&server.dir, &["backup", to.path().join("b").to_str().unwrap()]);
    assert!(made.status.success(), "{made:?}");
    server.caught_up();
    let (is_good, now) = assessed(&server.dir);
    assert!(!is_good);
    for (id, is) in [
        ("accounts", "ask"),
        ("three_administrators", "held"),
        ("backup", "held"),
        ("tokens", "open"),
        ("audit", "held"),
    ] {
        assert_eq!(state(&now, id), is, "{id}");
    }
    server.stop();
    sql(&server.dir, "UPDATE audit SET body = body || ' ' WHERE n = 2");
    let config = std::fs::read_to_string(server.dir.join("onemap.toml")).unwrap();
    let more = "allow_anonymous = true\n[security.syslog]\naddress = \"siem.example:514\"\n";
    let open = config.replacen("127.0.0.1:0", "0.0.0.0:0", 2) + more;
    std::fs::write(
        server.dir.join("onemap.toml"),
        open.replace(
            "[history]\ncheckpoint_seconds = 1\nallow_anonymous = true",
            "allow_anonymous = true",
        ),
    )
    .unwrap();
    let (_, now) = assessed(&server.dir);
    for id in ["audit", "http", "mqtt", "devices"] {
        assert_eq!(state(&now, id), "open", "{id}");
    }
    assert_eq!(state(&now, "security_events"), "held");
    // Without --security the exit code is that of the configuration alone.
    let config = server.dir.join("onemap.toml");
    let plain = onemap(&server.dir, &["--config", config.to_str().unwrap(), "check"]);
    assert!(plain.status.success(), "{plain:?}");
}
