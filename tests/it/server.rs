//! A real server in its own folder, and ways to talk to it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The folder with the binaries under test.
pub fn binary(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_onemap")).with_file_name(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --workspace` first",
        path.display()
    );
    path
}

/// A program of the machine, or `None` with a loud word.
pub fn peer(path: &str) -> Option<PathBuf> {
    let found = if path.contains('/') {
        Some(PathBuf::from(path)).filter(|p| p.exists())
    } else {
        std::env::var_os("PATH").and_then(|paths| {
            std::env::split_paths(&paths)
                .map(|dir| dir.join(path))
                .find(|p| p.exists())
        })
    };
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "{path} must be there in CI (tests/run.sh installs it)"
        );
        eprintln!("SKIPPED: {path} is not on this machine (tests/run.sh installs it)");
    }
    found
}

/// Waits until `state` gives something, at most `limit`; says what it waited for.
pub fn wait_for<T>(what: &str, limit: Duration, mut state: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = state() {
            return value;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A running process that dies with its holder.
pub struct Process {
    pub child: Child,
    lines: mpsc::Receiver<String>,
}

impl Process {
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }
    /// The next line of standard output.
    pub fn line(&self, limit: Duration) -> Option<String> {
        self.lines.recv_timeout(limit).ok()
    }
    /// kill -9.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
    /// A signal by name, then waits at most `limit`; panics when it does not end.
    pub fn signal_and_wait(&mut self, signal: &str, limit: Duration) -> std::process::ExitStatus {
        let sent = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(sent.success());
        wait_for("a clean stop", limit, || self.child.try_wait().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server on free ports in a folder of its own.
pub struct Server {
    pub process: Process,
    pub dir: PathBuf,
    pub http: String,
    pub mqtt_port: u16,
    pub token: String,
    _folder: Option<tempfile::TempDir>,
}

pub const CONFIG: &str =
    "[http]\nlisten = \"127.0.0.1:0\"\n[mqtt]\nlisten = \"127.0.0.1:0\"\n[history]\ncheckpoint_seconds = 1\n";

impl Server {
    /// Starts in a new folder without any rule but those given.
    pub fn new() -> Self {
        Self::with_rules(&[])
    }

    pub fn with_rules(rules: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_owned();
        std::fs::create_dir(dir.join("rules")).unwrap();
        for (name, text) in rules {
            std::fs::write(dir.join("rules").join(format!("{name}.yaml")), text).unwrap();
        }
        std::fs::write(dir.join("onemap.toml"), CONFIG).unwrap();
        let mut server = Self::start_in(&dir);
        server._folder = Some(folder);
        server
    }

    /// Starts on a folder that holds `onemap.toml`.
    pub fn start_in(dir: &Path) -> Self {
        Self::start_with(dir, |_| {})
    }

    /// Starts with something more said to the command.
    pub fn start_with(dir: &Path, more: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(binary("onemap"));
        command
            .arg("--data-dir")
            .arg(dir)
            .arg("--config")
            .arg(dir.join("onemap.toml"))
            .arg("serve");
        command.env("ONEMAP_LOG", "warn");
        more(&mut command);
        let process = Process::start(command);
        let line = process
            .line(Duration::from_secs(30))
            .expect("the server comes up and says so");
        let ready: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["ready"], true);
        let mqtt = ready["mqtt"].as_str().unwrap();
        Self {
            process,
            dir: dir.to_owned(),
            http: ready["http"].as_str().unwrap().to_owned(),
            mqtt_port: mqtt.rsplit(':').next().unwrap().parse().unwrap(),
            token: std::fs::read_to_string(dir.join("admin.token"))
                .unwrap()
                .trim()
                .to_owned(),
            _folder: None,
        }
    }

    /// kill -9, then up again on the same folder (and new ports unless the configuration fixes them).
    pub fn kill_and_restart(mut self) -> Self {
        self.process.kill();
        let folder = self._folder.take();
        let mut server = Self::start_in(&self.dir);
        server._folder = folder;
        server
    }

    /// SIGTERM; the folder stays.
    pub fn stop(&mut self) {
        let status = self.process.signal_and_wait("TERM", Duration::from_secs(10));
        assert!(status.success(), "a clean stop ends with 0, not {status}");
    }

    pub fn request(&self, method: &str, path: &str, body: Option<&str>) -> (u16, Value) {
        request(&self.http, &self.token, method, path, body)
    }

    pub fn get(&self, path: &str) -> Value {
        let (status, value) = self.request("GET", path, None);
        assert_eq!(status, 200, "GET {path}: {value}");
        value
    }

    pub fn post(&self, path: &str, body: &Value) -> Value {
        let (status, value) = self.request("POST", path, Some(&body.to_string()));
        assert!((200..300).contains(&status), "POST {path}: {status} {value}");
        value
    }

    /// Registers a device, returns its token.
    pub fn add_device(&self, id: &str, more: &Value) -> String {
        let mut device = json!({"id": id, "name": id, "kind": "air_station"});
        for (key, value) in more.as_object().into_iter().flatten() {
            device[key] = value.clone();
        }
        self.post("/api/v1/devices", &device)["token"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Publishes with mosquitto_pub, QoS 1, on the ThingsBoard topic.
    pub fn publish(&self, token: &str, topic: &str, payload: &str) -> std::process::Output {
        Command::new("mosquitto_pub")
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &self.mqtt_port.to_string(),
                "-q",
                "1",
                "-u",
                token,
                "-t",
                topic,
                "-m",
                payload,
            ])
            .output()
            .unwrap()
    }

    /// The latest value of one series.
    pub fn latest(&self, device: &str, quantity: &str) -> Option<Value> {
        let all = self.get(&format!("/api/v1/latest?device={device}&quantity={quantity}"));
        all["items"].as_array().unwrap().first().cloned()
    }

    pub fn metric(&self, line: &str) -> Option<u64> {
        let text = text(&self.http, &self.token, "/metrics");
        text.lines()
            .find_map(|l| l.strip_prefix(line)?.trim().parse().ok())
    }

    /// Waits until every projection has folded everything that was kept, durable yet or not: who is refused
    /// is answered at once.
    pub fn caught_up(&self) {
        let last = self.get("/api/v1/system")["journal"]["last"].as_u64().unwrap();
        wait_for("the pipeline to catch up", Duration::from_secs(60), || {
            (self.get("/api/v1/system")["cursors"]["views"].as_u64()? >= last).then_some(())
        });
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .into()
}

pub fn request(base: &str, token: &str, method: &str, path: &str, body: Option<&str>) -> (u16, Value) {
    let request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("{base}{path}"))
        .header("authorization", format!("Bearer {token}"))
        .body(body.unwrap_or_default().to_owned())
        .unwrap();
    let mut response = agent().run(request).unwrap();
    let status = response.status().as_u16();
    let mut bytes = Vec::new();
    response.body_mut().as_reader().read_to_end(&mut bytes).unwrap();
    let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
    (status, serde_json::from_slice(&bytes).unwrap_or_else(|_| text()))
}

pub fn text(base: &str, token: &str, path: &str) -> String {
    let mut response = agent()
        .get(format!("{base}{path}"))
        .header("authorization", format!("Bearer {token}"))
        .call()
        .unwrap();
    response.body_mut().read_to_string().unwrap()
}

/// What a stream says, line by line as it comes; its head is there.
pub fn stream(base: &str, token: &str, path: &str) -> Arc<Mutex<String>> {
    let host = base.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let said = Arc::new(Mutex::new(String::new()));
    let hears = said.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            hears.lock().unwrap().push_str(&(line + "\n"));
        }
    });
    wait_for("the stream's head", Duration::from_secs(20), || {
        said.lock().unwrap().contains("200 OK").then_some(())
    });
    said
}
