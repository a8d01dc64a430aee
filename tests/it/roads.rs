//! Alerts to mail boxes and to another broker: aiosmtpd and mosquitto as Debian has them.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::feeds::{caught_up, folder, measure, standing, transitions};
use crate::server::{Process, Server, peer, wait_for};

const LONG: Duration = Duration::from_secs(120);

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Raises and clears an alert of a device.
fn raise_and_clear(server: &Server, device: &str) {
    let state = || {
        let all = server.get("/api/v1/alerts?state=all");
        let of = all["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|alert| alert["series"]["device"] == device);
        of.map(|alert| alert["state"].clone())
    };
    for (value, wanted) in [(300.0, "open"), (100.0, "cleared")] {
        measure(server, device, value);
        wait_for(wanted, LONG, || (state() == Some(json!(wanted))).then_some(()));
    }
}

fn boxes(port: u16, dir: &Path, tls: bool) -> Process {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/smtp_boxes.py");
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script).arg(port.to_string()).arg(dir.join("mail"));
    if tls {
        command
            .arg("--tls")
            .arg(dir.join("cert.pem"))
            .arg(dir.join("key.pem"));
    }
    let process = Process::start(command);
    wait_for("the mail server", LONG, || {
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    process
}

fn mail(dir: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("mail")).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A certificate for 127.0.0.1 and localhost (`cert.pem`, `key.pem`), and that of its authority (`ca.pem`).
fn certify(dir: &Path) {
    let openssl = |arguments: &str| {
        let done = Command::new("openssl")
            .current_dir(dir)
            .args(arguments.split(' '))
            .output();
        let done = done.unwrap_or_else(|error| panic!("openssl is needed: {error}"));
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    std::fs::write(dir.join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
    openssl(&format!(
        "req -x509 {key} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem"
    ));
    openssl(&format!(
        "req {key} -subj /CN=localhost -keyout key.pem -out asked.pem"
    ));
    openssl(
        "x509 -req -in asked.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem",
    );
}

fn email(name: &str, scheme: &str, port: u16, to: &str, more: &str) -> String {
    format!(
        "[[alerts.consumers]]\nname = \"{name}\"\nkind = \"email\"\nurl = \"{scheme}://localhost:{port}\"\nuser = \"onemap\"\n\
         secret_file = \"secret\"\nsender = \"一张图 <onemap@xining.example>\"\nto = \"{to}\"\nedges = [\"raised\", \"cleared\"]\n{more}\n"
    )
}

#[test]
fn mail_comes_to_boxes_that_are_there_through_tls_and_a_server_that_was_away() {
    if peer("/usr/bin/aiosmtpd").is_none() {
        return;
    }
    let [plain, tls, nobody] = [free_port(), free_port(), free_port()];
    let there = tempfile::tempdir().unwrap();
    let there_tls = tempfile::tempdir().unwrap();
    certify(there_tls.path());
    let ca = there_tls.path().join("ca.pem");
    let of_tls = format!("ca_file = \"{}\"", ca.display());
    let consumers = [
        email("duty", "smtp", plain, "值班室 <duty@xining.example>", ""),
        email("later", "smtp", plain, "later@xining.example", ""),
        email("none", "smtp", plain, "gone@xining.example", ""),
        email("guarded", "smtps", tls, "duty@xining.example", &of_tls),
        email(
            "stranger",
            "smtps",
            tls,
            "stranger@xining.example",
            "tries_within = 1",
        ),
        email("nobody", "smtp", nobody, "duty@xining.example", ""),
    ];
    let folder = folder(&consumers.concat());
    let server = Server::start_in(folder.path());
    let _guarded = boxes(tls, there_tls.path(), true);
    server.add_device("air-1", &json!({"cadence_s": 3600}));
    raise_and_clear(&server, "air-1");
    wait_for("the mail server to be missed", LONG, || {
        (standing(&server, "duty")["state"] == "retrying").then_some(())
    });
    let _plain = boxes(plain, there.path(), false);
    for name in ["duty", "later", "none", "guarded", "stranger"] {
        caught_up(&server, name);
    }
    let all = mail(there.path());
    let of = |to: &str| {
        all.iter()
            .filter(|mail| mail["box"] == json!([to]))
            .cloned()
            .collect::<Vec<_>>()
    };
    let duty = of("duty@xining.example");
    assert!(
        (1..=2).contains(&duty.len()),
        "what waits comes together: {all:#?}"
    );
    assert_eq!(duty[0]["from"], "onemap@xining.example");
    let to = duty[0]["to"].as_str().unwrap();
    assert!(to.contains("值班室"), "{to}");
    let told: String = duty
        .iter()
        .map(|mail| format!("{}\n{}", mail["subject"], mail["text"]))
        .collect();
    for word in ["尖峰", "重要", "raised", "恢复正常", "cleared", "air-1"] {
        assert!(told.contains(word), "{word} in {told}");
    }
    assert!(duty[0]["id"].as_str().unwrap().ends_with("@xining.example>"));
    assert_ne!(duty[0]["date"], "None");
    let receipts = server.get("/api/v1/feeds/duty/receipts");
    assert_eq!(receipts["items"][0]["status"], 250, "{receipts:#}");

    assert!(
        !of("later@xining.example").is_empty(),
        "a box that was not there for a moment gets its mail"
    );
    let aside = server.get("/api/v1/feeds/none/set-aside");
    assert_eq!(aside["items"][0]["reason"], "refused_in_words", "{aside:#}");
    assert_eq!(of("gone@xining.example"), [] as [Value; 0]);
    assert!(!mail(there_tls.path()).is_empty());
    // Its certificate is of an authority that is not the system's.
    let aside = server.get("/api/v1/feeds/stranger/set-aside");
    assert_eq!(aside["items"][0]["reason"], "unreached", "{aside:#}");
    let strange = mail(there_tls.path())
        .iter()
        .any(|mail| mail["box"] == json!(["stranger@xining.example"]));
    assert!(!strange, "nothing is handed to who cannot say who he is");
    assert_eq!(standing(&server, "nobody")["state"], "retrying");
}

/// mosquitto with a user and, on a second port, TLS.
fn broker(dir: &Path, plain: u16, tls: u16) -> Process {
    let passwords = dir.join("passwords");
    let made = Command::new("/usr/bin/mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(&passwords)
        .args(["onemap", "a shared secret"])
        .status()
        .unwrap();
    assert!(made.success());
    // A broker that was started by root is another user afterwards.
    for name in ["passwords", "key.pem"] {
        let mode = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(dir.join(name), mode).unwrap();
    }
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = format!(
        "allow_anonymous false\npassword_file {}\nlistener {plain} 127.0.0.1\nlistener {tls} 127.0.0.1\n\
         certfile {}\nkeyfile {}\n",
        passwords.display(),
        dir.join("cert.pem").display(),
        dir.join("key.pem").display()
    );
    std::fs::write(dir.join("mosquitto.conf"), config).unwrap();
    let mut command = Command::new("/usr/sbin/mosquitto");
    command
        .arg("-c")
        .arg(dir.join("mosquitto.conf"))
        .stderr(std::process::Stdio::null());
    let process = Process::start(command);
    wait_for("mosquitto", LONG, || {
        TcpStream::connect(("127.0.0.1", plain)).ok()
    });
    process
}

fn listener(port: u16, out: &Path) -> Process {
    let login = format!("-h 127.0.0.1 -p {port} -u onemap -P 'a shared secret'");
    let listens = format!(
        "exec /usr/bin/mosquitto_sub {login} -q 1 -c -i province -t 'xining/alerts/#' -F '%t %p' >> '{}'",
        out.display()
    );
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &listens]);
    let process = Process::start(command);
    // It hears what is published from its first message on.
    wait_for("the listener", LONG, || {
        let told = Command::new("/usr/bin/mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &port.to_string()])
            .args([
                "-u",
                "onemap",
                "-P",
                "a shared secret",
                "-t",
                "xining/alerts/none",
            ])
            .args(["-m", "{}"])
            .status();
        assert!(told.is_ok_and(|told| told.success()));
        (!heard(out).is_empty()).then_some(())
    });
    process
}

fn heard(out: &Path) -> Vec<(String, Value)> {
    let text = std::fs::read_to_string(out).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let whole = lines.filter_map(|(topic, body)| Some((topic.to_owned(), serde_json::from_str(body).ok()?)));
    whole.collect()
}

#[test]
fn each_change_is_on_the_topic_of_another_broker_that_was_away_for_a_while() {
    if peer("/usr/sbin/mosquitto").is_none() || peer("/usr/bin/mosquitto_sub").is_none() {
        return;
    }
    let [plain, tls] = [free_port(), free_port()];
    let dir = tempfile::tempdir().unwrap();
    certify(dir.path());
    let mqtt = |name: &str, url: String, more: &str| {
        format!(
            "[[alerts.consumers]]\nname = \"{name}\"\nkind = \"mqtt\"\nurl = \"{url}\"\nuser = \"onemap\"\nsecret_file = \"secret\"\n{more}\n"
        )
    };
    let ca = format!("ca_file = \"{}\"", dir.path().join("ca.pem").display());
    let consumers = [
        mqtt(
            "plain",
            format!("mqtt://127.0.0.1:{plain}/xining/alerts/plain"),
            "",
        ),
        mqtt(
            "guarded",
            format!("mqtts://localhost:{tls}/xining/alerts/guarded"),
            &ca,
        ),
        mqtt(
            "stranger",
            format!("mqtts://localhost:{tls}/xining/alerts/stranger"),
            "tries_within = 1",
        ),
    ];
    let consumers = consumers.concat();
    let wrong = consumers
        .replace("\"onemap\"", "\"other\"")
        .replace("\"plain\"", "\"wrong\"");
    let wrong = wrong.split("[[").nth(1).map(|one| format!("[[{one}")).unwrap();
    let folder = folder(&format!("{consumers}{wrong}"));
    let server = Server::start_in(folder.path());
    server.add_device("air-1", &json!({"cadence_s": 3600}));
    let out = dir.path().join("heard");
    let first = broker(dir.path(), plain, tls);
    let ear = listener(plain, &out);
    raise_and_clear(&server, "air-1");
    caught_up(&server, "plain");
    drop((first, ear));
    raise_and_clear(&server, "air-1");
    let server = server.kill_and_restart();
    wait_for("the broker to be missed", LONG, || {
        (standing(&server, "plain")["state"] == "retrying").then_some(())
    });
    std::fs::remove_file(&out).unwrap();
    let _second = broker(dir.path(), plain, tls);
    let _ear = listener(plain, &out);
    raise_and_clear(&server, "air-1");
    for name in ["plain", "guarded"] {
        caught_up(&server, name);
    }
    let newest = transitions(&server).into_iter().next_back().unwrap();
    for name in ["plain", "guarded"] {
        let topic = format!("xining/alerts/{name}");
        let last = wait_for("the newest change on the topic", LONG, || {
            let all = heard(&out);
            all.into_iter()
                .rev()
                .find(|(own, body)| *own == topic && body["seq"] == newest.0)
        });
        assert_eq!(
            (last.1["id"].as_str(), &last.1["edge"]),
            (Some(newest.1.as_str()), &json!("cleared"))
        );
    }
    let receipts = server.get("/api/v1/feeds/plain/receipts?limit=1000");
    let n = receipts["items"].as_array().unwrap().len();
    assert_eq!(n, transitions(&server).len(), "each has a receipt: {receipts:#}");
    assert_eq!(receipts["items"][0]["answer"], "PUBACK");
    let aside = wait_for("the broker that cannot say who it is", LONG, || {
        let aside = server.get("/api/v1/feeds/stranger/set-aside");
        aside["items"].as_array().unwrap().first().cloned()
    });
    assert_eq!(aside["reason"], "unreached", "{aside:#}");
    let refused = standing(&server, "wrong");
    assert_eq!(refused["state"], "retrying", "{refused:#}");
    let why = refused["last_error"]["answer"].as_str().unwrap();
    assert!(why.contains("refuses the connection"), "{why}");
}
