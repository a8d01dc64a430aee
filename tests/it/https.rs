//! HTTPS: the certificate, the session's cookie, what is no handshake, and a certificate that changes while it serves.
//!
//! The client is Python's, which checks the certificate; OpenSSL makes it. Without either the tests say so and end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::server::{CONFIG, Server, wait_for};

const LIMIT: Duration = Duration::from_secs(20);

/// Makes a certificate for this machine that signs itself.
pub fn certificate(dir: &Path) -> bool {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=onemap", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-keyout", "new.key", "-out", "new.pem"])
        .current_dir(dir)
        .output();
    let is_made = made.is_ok_and(|made| made.status.success());
    if is_made {
        std::fs::rename(dir.join("new.key"), dir.join("server.key")).unwrap();
        std::fs::rename(dir.join("new.pem"), dir.join("server.pem")).unwrap();
    }
    is_made
}

/// What Python gets: status, headers and body of each request, as JSON.
fn ask(dir: &Path, https: &str, requests: &Value) -> Option<Value> {
    const SCRIPT: &str = "\
import http.client, json, ssl, sys
address, requests = sys.argv[1], json.loads(sys.argv[2])
context = ssl.create_default_context(cafile='server.pem')
answers = []
for method, path, headers, body in requests:
    link = http.client.HTTPSConnection(address, context=context, timeout=20)
    link.request(method, path, body=body, headers=headers)
    answer = link.getresponse()
    text = answer.read().decode()
    answers.append({'status': answer.status, 'headers': {k.lower(): v for k, v in answer.getheaders()}, 'body': text})
print(json.dumps(answers))
";
    let address = https.strip_prefix("https://").unwrap();
    let ran = Command::new("/usr/bin/python3")
        .args(["-c", SCRIPT, address, &requests.to_string()])
        .current_dir(dir)
        .output()
        .ok()?;
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{told}");
    Some(serde_json::from_slice(&ran.stdout).unwrap())
}

fn ready(dir: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(dir.join("ready.json")).unwrap()).unwrap()
}

#[test]
fn the_api_is_served_over_tls_and_its_session_stays_there() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    if !certificate(dir) {
        eprintln!("SKIPPED: there is no openssl that makes certificates");
        return;
    }
    std::fs::create_dir(dir.join("rules")).unwrap();
    let tls = "[http.tls]\nlisten = \"127.0.0.1:0\"\ncert_file = \"server.pem\"\nkey_file = \"server.key\"\n";
    std::fs::write(dir.join("onemap.toml"), format!("{CONFIG}{tls}")).unwrap();
    let server = Server::start_in(dir);
    let https = ready(dir)["https"].as_str().unwrap().to_owned();
    // A peer that says nothing holds up nobody.
    let silent = TcpStream::connect(https.strip_prefix("https://").unwrap()).unwrap();

    let token = &server.token;
    let log_in = serde_json::json!({ "token": token }).to_string();
    let bearer = format!("Bearer {token}");
    let answers = ask(
        dir,
        &https,
        &serde_json::json!([
            ["GET", "/health/live", {}, null],
            ["GET", "/api/v1/devices", {}, null],
            ["GET", "/api/v1/devices", {"authorization": bearer}, null],
            ["POST", "/api/v1/session", {"content-type": "application/json"}, log_in],
        ]),
    );
    let Some(answers) = answers else {
        eprintln!("SKIPPED: there is no /usr/bin/python3");
        return;
    };
    let status = |answers: &Value, i: usize| answers[i]["status"].as_u64().unwrap();
    let got: Vec<u64> = (0..4).map(|i| status(&answers, i)).collect();
    assert_eq!(got, [200, 401, 200, 204], "{answers}");
    let header = |name: &str| answers[3]["headers"][name].as_str().unwrap_or_default();
    assert_eq!(header("strict-transport-security"), "max-age=31536000");
    let cookie = header("set-cookie");
    assert!(cookie.starts_with("__Host-onemap_session="), "{cookie}");
    for part in ["; HttpOnly", "; SameSite=Strict", "; Path=/", "; Secure"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let kept = cookie.split(';').next().unwrap();
    let id = kept.split_once('=').unwrap().1;

    // The cookie opens over TLS by its own name, and ends there.
    let other = format!("onemap_session={id}");
    let origin = https.clone();
    let answers = ask(
        dir,
        &https,
        &serde_json::json!([
            ["GET", "/api/v1/devices", {"cookie": kept}, null],
            ["GET", "/api/v1/devices", {"cookie": other}, null],
            ["DELETE", "/api/v1/session", {"cookie": kept, "origin": origin}, null],
            ["GET", "/api/v1/devices", {"cookie": kept}, null],
        ]),
    )
    .unwrap();
    let got: Vec<u64> = (0..4).map(|i| status(&answers, i)).collect();
    assert_eq!(got, [200, 401, 204, 401], "{answers}");
    let gone = answers[2]["headers"]["set-cookie"].as_str().unwrap();
    assert!(
        gone.starts_with("__Host-onemap_session=;") && gone.contains("Max-Age=0"),
        "{gone}"
    );
    // In the clear nothing is promised of TLS, and its cookie is another.
    let (status, _) = server.request("GET", "/health/live", None);
    assert_eq!(status, 200);

    // Who forgets the `s` reads why.
    let mut plain = TcpStream::connect(https.strip_prefix("https://").unwrap()).unwrap();
    plain.set_read_timeout(Some(LIMIT)).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.ends_with("https://\n"),
        "{answer}"
    );

    // A new certificate serves without a restart; one that is none leaves the former.
    let live = serde_json::json!([["GET", "/health/live", {}, null]]);
    let address = https.strip_prefix("https://").unwrap().to_owned();
    let is_shown = || {
        let script = "import ssl, sys; h, p = sys.argv[1].split(':'); \
                      print(ssl.get_server_certificate((h, int(p))).strip() == open('server.pem').read().strip())";
        let ran = Command::new("/usr/bin/python3")
            .args(["-c", script, &address])
            .current_dir(dir)
            .output();
        ran.is_ok_and(|ran| ran.stdout.starts_with(b"True"))
    };
    assert!(is_shown());
    assert!(certificate(dir));
    wait_for("the new certificate", LIMIT, || is_shown().then_some(()));
    assert_eq!(ask(dir, &https, &live).unwrap()[0]["status"], 200);
    let n_faults = || server.metric("onemap_tls_reload_errors_total").unwrap_or(0);
    let before = n_faults();
    let right = std::fs::read(dir.join("server.pem")).unwrap();
    std::fs::write(dir.join("server.pem"), "no certificate\n").unwrap();
    wait_for("the fault", LIMIT, || (n_faults() > before).then_some(()));
    std::fs::write(dir.join("server.pem"), right).unwrap();
    assert_eq!(ask(dir, &https, &live).unwrap()[0]["status"], 200);
    drop(silent);
}

#[test]
fn a_certificate_that_cannot_be_used_keeps_the_server_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let tls = "[http.tls]\nlisten = \"127.0.0.1:0\"\ncert_file = \"none.pem\"\nkey_file = \"none.key\"\n";
    std::fs::write(dir.join("onemap.toml"), format!("{CONFIG}{tls}")).unwrap();
    let ran = Command::new(crate::server::binary("onemap"))
        .arg("--data-dir")
        .arg(dir)
        .arg("--config")
        .arg(dir.join("onemap.toml"))
        .arg("serve")
        .output()
        .unwrap();
    assert!(!ran.status.success());
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(told.contains("[http.tls]") && told.contains("none.pem"), "{told}");
}
