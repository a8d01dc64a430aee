//! The screen in a real browser, fed by the demo: what is looked at, and what happens when the server dies.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::demo::Demo;
use crate::server::{Process, Server, peer, wait_for};

fn web() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/dashboards/web"))
}

/// Whether a browser can be started here; says so loudly when it cannot.
pub fn ready() -> bool {
    if peer("/usr/bin/chromium").is_none() || peer("node").is_none() {
        return false;
    }
    let installed = web().join("node_modules/playwright-core").exists();
    if !installed {
        assert!(
            std::env::var_os("CI").is_none(),
            "`npm ci` in dashboards/web must have run in CI"
        );
        eprintln!("SKIPPED: `npm ci` has not run in dashboards/web");
    }
    installed
}

/// A script of `e2e`, to be run in the browser against a server; pictures go to SHOTS_DIR, else away.
pub struct Script {
    pub command: Command,
    pub shots: PathBuf,
    _folder: tempfile::TempDir,
}

impl Script {
    pub fn new(name: &str, args: &[&str], http: &str, token: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shots = std::env::var_os("SHOTS_DIR").map_or(folder.path().to_owned(), PathBuf::from);
        let mut command = Command::new("node");
        command
            .arg(web().join("e2e").join(name))
            .args(args)
            .env("ONEMAP_URL", http)
            .env("ONEMAP_TOKEN", token)
            .env("SHOTS_DIR", &shots);
        Self {
            command,
            shots,
            _folder: folder,
        }
    }

    /// What it says as JSON at its good end.
    pub fn said(&mut self) -> Value {
        let output = self.command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[test]
fn a_person_sees_values_charts_and_alarms_and_acknowledges_one() {
    if !ready() {
        return;
    }
    let demo = Demo::start(&["--seed", "1"]);
    assert_eq!(
        demo.get("/api/v1/system")["ui"],
        "embedded",
        "the screen is in the binary"
    );
    wait_for("an alarm", Duration::from_secs(90), || {
        demo.get("/api/v1/alerts?state=open")["items"]
            .as_array()?
            .first()
            .cloned()
    });
    let mut script = Script::new("screen.mjs", &[], &demo.http, &demo.token);
    let output = script.command.output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{said}");
    let acknowledged = demo.get("/api/v1/alerts?state=all")["items"]
        .as_array()
        .unwrap()
        .iter()
        .any(|a| !a["acknowledged"].is_null());
    assert!(
        acknowledged,
        "the acknowledgement made on the screen is kept: {said}"
    );
}

#[test]
fn a_new_user_comes_in_by_the_link_and_lets_a_second_one_see_one_district() {
    if !ready() {
        return;
    }
    let server = Server::new();
    for (device, division, lon) in [("own-1", "630104", 101.76), ("foreign-1", "630102", 101.80)] {
        let token = server.add_device(
            device,
            &json!({"division": division, "position": {"lon": lon, "lat": 36.62}, "cadence_s": 60}),
        );
        let readings = json!({"temperature": 11.5}).to_string();
        let path = format!("/api/v1/{token}/telemetry");
        assert_eq!(server.request("POST", &path, Some(&readings)).0, 200);
    }
    server.caught_up();
    let link = std::fs::read_to_string(server.dir.join("setup.link")).unwrap();
    let args = [link.trim(), "630104", "own-1", "foreign-1"];
    let said = Script::new("newcomer.mjs", &args, &server.http, &server.token).said();
    assert_eq!(said["second"], "li.na");
    assert!(!server.dir.join("setup.link").exists(), "the link is used up");
}

#[test]
fn a_new_reading_is_on_the_screen_within_two_seconds_and_a_dead_server_is_said_within_five() {
    if !ready() || peer("mosquitto_pub").is_none() {
        return;
    }
    let mut server = Server::new();
    let token = server.add_device(
        "station-7",
        &json!({"position": {"lon": 101.8, "lat": 36.6}, "cadence_s": 60}),
    );
    server.publish(&token, "v1/devices/me/telemetry", r#"{"temperature":11.5}"#);
    let script = Script::new("watch.mjs", &[], &server.http, &server.token);
    let mut page = Process::start(script.command);
    let first = page.line(Duration::from_secs(60)).expect("the page opens");
    assert!(first.contains("ready"), "{first}");
    let mut input = page.child.stdin.take().unwrap();
    let mut ask = |question: &str| -> Value {
        writeln!(input, "{question}").unwrap();
        let line = page
            .line(Duration::from_secs(30))
            .unwrap_or_else(|| panic!("no answer to {question}"));
        serde_json::from_str(&line).unwrap()
    };
    wait_for("the first value on the page", Duration::from_secs(30), || {
        ask("value station-7 temperature")["text"]
            .as_str()?
            .contains("11.5")
            .then_some(())
    });
    server.publish(&token, "v1/devices/me/telemetry", r#"{"temperature":21.5}"#);
    let sent = Instant::now();
    wait_for("the new value on the page", Duration::from_secs(2), || {
        ask("value station-7 temperature")["text"]
            .as_str()?
            .contains("21.5")
            .then_some(())
    });
    eprintln!(
        "a reading was on the screen {:?} after its acknowledgement",
        sent.elapsed()
    );
    assert_eq!(ask("banner")["visible"], false);
    server.process.kill();
    let killed = Instant::now();
    wait_for("the banner", Duration::from_secs(5), || {
        (ask("banner")["visible"] == true).then_some(())
    });
    eprintln!("the banner stood {:?} after the kill", killed.elapsed());
    writeln!(input, "quit").unwrap();
}
