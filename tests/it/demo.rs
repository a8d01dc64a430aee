//! `onemap demo`: ready within ten seconds, an incident's alarm within ninety, a clean stop.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::{Process, binary, request, wait_for};

pub struct Demo {
    pub process: Process,
    pub http: String,
    pub token: String,
    pub started: Instant,
    pub folder: tempfile::TempDir,
}

impl Demo {
    pub fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("free-ports.toml");
        std::fs::write(
            &config,
            "[http]\nlisten = \"127.0.0.1:0\"\n[mqtt]\nlisten = \"127.0.0.1:0\"\n",
        )
        .unwrap();
        let started = Instant::now();
        let mut command = Command::new(binary("onemap"));
        command
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .arg("--config")
            .arg(&config);
        command.arg("demo").args(arguments).env("ONEMAP_LOG", "warn");
        let process = Process::start(command);
        let line = process
            .line(Duration::from_secs(30))
            .expect("the demo comes up and says so");
        let ready: Value = serde_json::from_str(&line).unwrap();
        let text = |key: &str| ready[key].as_str().unwrap().to_owned();
        Self {
            process,
            http: text("http"),
            token: text("token"),
            started,
            folder,
        }
    }
    pub fn get(&self, path: &str) -> Value {
        let (status, value) = request(&self.http, &self.token, "GET", path, None);
        assert_eq!(status, 200, "GET {path}: {value}");
        value
    }
}

#[test]
fn a_killed_demo_leaves_no_process_behind() {
    let mut demo = Demo::start(&["--without-incidents"]);
    let folder = demo.folder.path().display().to_string();
    let members = || {
        let found = Command::new("pgrep").args(["-f", &folder]).output().unwrap();
        String::from_utf8_lossy(&found.stdout).lines().count()
    };
    assert!(
        members() >= 3,
        "server, city and gateway name the folder on their command lines"
    );
    demo.process.kill();
    wait_for("the members to end", Duration::from_secs(10), || {
        (members() == 0).then_some(())
    });
}

#[test]
fn the_demo_moves_raises_its_incident_and_stops_cleanly() {
    let mut demo = Demo::start(&["--seed", "1"]);
    assert!(
        demo.started.elapsed() < Duration::from_secs(10),
        "ready after {:?}",
        demo.started.elapsed()
    );
    let counts = |demo: &Demo| demo.get("/api/v1/system")["counts"].clone();
    wait_for("most of the city to report", Duration::from_secs(40), || {
        let counts = counts(&demo);
        (counts["devices"].as_u64()? >= 100 && counts["normal"].as_u64()? >= 80).then_some(())
    });
    let alert = wait_for("the scripted incident's alarm", Duration::from_secs(90), || {
        demo.get("/api/v1/alerts?state=open")["items"]
            .as_array()?
            .first()
            .cloned()
    });
    assert!(demo.started.elapsed() < Duration::from_secs(90));
    assert!(
        alert["position"]["lon"].as_f64().is_some() && !alert["division"].is_null(),
        "{alert}"
    );
    wait_for("the gateway's meters", Duration::from_secs(20), || {
        let latest = demo.get("/api/v1/latest?device=gw-demo");
        (latest["items"].as_array()?.len() >= 2).then_some(())
    });
    let stopping = Instant::now();
    let status = demo.process.signal_and_wait("INT", Duration::from_secs(10));
    assert!(status.success(), "{status} after {:?}", stopping.elapsed());
}
