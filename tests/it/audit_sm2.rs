//! Heads of the audit signed with SM2, against stock OpenSSL.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use crate::alarms::DUST;
use crate::evidence;
use crate::server::{CONFIG, Server, binary, wait_for};

/// As docs/audit.md has it.
const SM2: [&str; 5] = ["-rawin", "-digest", "sm3", "-pkeyopt", "distid:1234567812345678"];

fn onemap(dir: &Path, arguments: &[&str]) -> (bool, String) {
    let config = dir.join("onemap.toml");
    let mut command = Command::new(binary("onemap"));
    command.arg("--data-dir").arg(dir).arg("--config").arg(config);
    let done = command.args(arguments).output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn openssl(dir: &Path, arguments: &[&str]) -> Output {
    let done = Command::new("openssl").current_dir(dir).args(arguments).output();
    done.unwrap_or_else(|error| panic!("openssl is needed: {error}"))
}

/// Puts the parts of a head into files.
fn take_apart(dir: &Path, head: &Value) {
    let text = |key: &str| head[key].as_str().unwrap().to_owned();
    std::fs::write(dir.join("signed"), text("signed")).unwrap();
    std::fs::write(dir.join("signature.b64"), text("signature") + "\n").unwrap();
    std::fs::write(dir.join("key.pem"), text("key")).unwrap();
    let decoded = openssl(
        dir,
        &["base64", "-d", "-A", "-in", "signature.b64", "-out", "signature"],
    );
    assert!(decoded.status.success(), "{decoded:?}");
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A server that signed with ed25519 on one day and signs with SM2 since.
fn city() -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    std::fs::create_dir(dir.join("rules")).unwrap();
    std::fs::write(dir.join("rules/dust.yaml"), DUST).unwrap();
    let config = dir.join("onemap.toml");
    std::fs::write(&config, CONFIG).unwrap();
    let mut server = Server::start_in(dir);
    server.post("/api/v1/tokens", &json!({"role": "viewer", "name": "wall"}));
    let daily = |server: &Server| {
        wait_for("a daily head", Duration::from_secs(20), || {
            let mut found = std::fs::read_dir(server.dir.join("audit")).ok()?.flatten();
            found.find(|entry| entry.path().extension().is_some_and(|kind| kind == "json"))
        })
        .path()
    };
    let first = daily(&server);
    assert_eq!(read(&first)["algorithm"], "ed25519");
    server.stop();
    std::fs::rename(&first, dir.join("first.json")).unwrap();
    std::fs::write(&config, format!("{CONFIG}[audit]\nsignature = \"sm2\"\n")).unwrap();
    let server = Server::start_in(dir);
    let second = daily(&server);
    assert_eq!(read(&second)["algorithm"], "sm2");
    std::fs::copy(&second, dir.join("second.json")).unwrap();
    (server, folder)
}

#[test]
fn openssl_reads_a_head_signed_with_sm2_and_onemap_reads_one_that_openssl_signed() {
    let (mut server, _folder) = city();
    server.stop();
    let dir = server.dir.as_path();
    let elsewhere = tempfile::tempdir().unwrap();
    let there = elsewhere.path();
    let head = read(&dir.join("second.json"));
    take_apart(there, &head);
    let verify = |key: &str| {
        let inputs = [
            "-verify",
            "-pubin",
            "-inkey",
            key,
            "-in",
            "signed",
            "-sigfile",
            "signature",
        ];
        openssl(there, &[&["pkeyutl"][..], &inputs, &SM2].concat())
            .status
            .success()
    };
    assert!(verify("key.pem"));
    let signed = head["signed"].as_str().unwrap();
    std::fs::write(there.join("signed"), signed.replace("rows", "Rows")).unwrap();
    assert!(!verify("key.pem"), "a changed text is not what was signed");
    std::fs::write(there.join("signed"), signed).unwrap();
    let other = openssl(there, &["genpkey", "-algorithm", "SM2", "-out", "other.pem"]);
    assert!(other.status.success(), "{other:?}");
    let public = openssl(
        there,
        &["pkey", "-in", "other.pem", "-pubout", "-out", "other.pub"],
    );
    assert!(public.status.success(), "{public:?}");
    assert!(!verify("other.pub"), "another's key verifies nothing");

    // The folder's own key by OpenSSL: the same head, signed there.
    let key = dir.join("audit-sm2.key");
    let sign = |key: &Path, form: &str| {
        let key = key.to_str().unwrap();
        let inputs = [
            "-sign", "-keyform", form, "-inkey", key, "-in", "signed", "-out", "own",
        ];
        let done = openssl(there, &[&["pkeyutl"][..], &inputs, &SM2].concat());
        assert!(done.status.success(), "{done:?}");
        let encoded = openssl(there, &["base64", "-A", "-in", "own"]);
        String::from_utf8(encoded.stdout).unwrap().trim().to_owned()
    };
    let held = |head: &Value, key: Option<&str>| {
        let path = there.join("head.json");
        std::fs::write(&path, head.to_string()).unwrap();
        let mut arguments = vec!["audit", "verify", "--head", path.to_str().unwrap()];
        arguments.extend(key.into_iter().flat_map(|key| ["--key", key]));
        onemap(dir, &arguments)
    };
    let mut by_openssl = head.clone();
    by_openssl["signature"] = sign(&key, "DER").into();
    assert_ne!(by_openssl["signature"], head["signature"]);
    let (is_held, said) = held(&by_openssl, None);
    assert!(is_held, "{said}");
    // A key that the folder does not know, with and without its word for it.
    let pem = std::fs::read_to_string(there.join("other.pub")).unwrap();
    by_openssl["signature"] = sign(&there.join("other.pem"), "PEM").into();
    by_openssl["key"] = pem.into();
    let (is_held, said) = held(&by_openssl, None);
    assert!(!is_held && said.contains("another key"), "{said}");
    let (is_held, said) = held(&by_openssl, there.join("other.pub").to_str());
    assert!(is_held, "{said}");
}

#[test]
fn heads_of_both_kinds_hold_the_audit_and_a_changed_one_is_named() {
    let (mut server, _folder) = city();
    server.stop();
    let dir = server.dir.as_path();
    let [first, second] = ["first.json", "second.json"].map(|name| dir.join(name).display().to_string());
    let (is_held, said) = onemap(dir, &["audit", "verify", "--head", &first, "--head", &second]);
    assert!(is_held && said.contains("against 2 heads"), "{said}");
    let spoil = |from: &str, to: &str| {
        let text = std::fs::read_to_string(&second).unwrap();
        let spoilt = dir.join("spoilt.json").display().to_string();
        assert!(text.contains(from));
        std::fs::write(&spoilt, text.replacen(from, to, 1)).unwrap();
        let (is_held, said) = onemap(dir, &["audit", "verify", "--head", &spoilt]);
        assert!(!is_held, "{from} became {to}");
        said
    };
    assert!(spoil("position ", "position 1").contains("it was changed"));
    assert!(spoil("\"sm2\"", "\"ed25519\"").contains("its key is one of sm2"));
    assert!(spoil("\"sm2\"", "\"rsa\"").contains("no signed head"));
    // What was taken from the end shows against it.
    let connection = rusqlite::Connection::open(dir.join("ledger.sqlite")).unwrap();
    connection
        .execute_batch("DELETE FROM audit WHERE n = (SELECT max(n) FROM audit)")
        .unwrap();
    let (is_held, said) = onemap(dir, &["audit", "verify", "--no-journal", "--head", &second]);
    assert!(!is_held && said.contains("row "), "{said}");
}

#[test]
fn an_assessor_is_told_and_the_evidence_of_an_alert_is_signed_the_same() {
    let (server, _folder) = city();
    let (_, said) = onemap(&server.dir, &["--json", "check", "--security"]);
    let items: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    let mut items = items["items"].as_array().unwrap().iter();
    let item = items.find(|item| item["id"] == "audit_signature").unwrap();
    assert_eq!(item["state"], "held", "{item}");
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        server.dir.join(name).metadata().unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode("audit.key"), mode("audit-sm2.key")), (0o600, 0o600));
    let to = tempfile::tempdir().unwrap();
    let to = to.path().join("b");
    let (is_made, said) = onemap(&server.dir, &["backup", to.to_str().unwrap()]);
    assert!(is_made, "{said}");
    assert!(!to.join("audit-sm2.key").exists() && !to.join("audit.key").exists());

    let alert = evidence::alert(&server);
    let to = tempfile::tempdir().unwrap();
    assert_eq!(evidence::take(&server, &server.token, &alert, to.path()), 200);
    let pack = to.path().join(format!("evidence-{alert}"));
    for key in ["ed25519", "sm2"] {
        assert!(pack.join(format!("keys/{key}.pem")).exists());
    }
    if !(evidence::has("jq") && evidence::has("openssl")) {
        return;
    }
    assert_eq!(evidence::verify(&pack), Ok(()));
    let list = pack.join("SHA256SUMS");
    let text = std::fs::read_to_string(&list).unwrap();
    std::fs::write(&list, text.replace("  alert.json", "  alert.JSON")).unwrap();
    assert!(evidence::verify(&pack).is_err(), "the list was changed");
}
