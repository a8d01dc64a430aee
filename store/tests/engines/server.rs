//! Real servers of engines, each in its own folder and on a free port of loopback.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A program of the machine, or `None` with a loud word.
pub fn program(path: &str) -> Option<PathBuf> {
    let found = Some(PathBuf::from(path)).filter(|path| path.exists());
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "{path} must be there in CI (tests/run.sh installs it)"
        );
        eprintln!("SKIPPED: {path} is not on this machine (tests/run.sh installs it)");
    }
    found
}

/// A port that nobody listens on now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Waits until something holds, at most half a minute.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "waited in vain until {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The body of a GET that was answered with 200.
pub fn get(url: &str) -> Option<String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(10)))
        .build()
        .into();
    agent.get(url).call().ok()?.body_mut().read_to_string().ok()
}

/// A server that is killed with -9 with its holder.
pub struct Server {
    child: Option<Child>,
    start: Box<dyn Fn() -> Command>,
    healthy: String,
}

impl Server {
    /// Starts it and waits until `healthy` answers.
    pub fn start(healthy: String, start: impl Fn() -> Command + 'static) -> Self {
        let mut server = Self {
            child: None,
            start: Box::new(start),
            healthy,
        };
        server.up();
        server
    }
    pub fn up(&mut self) {
        let mut command = (self.start)();
        self.child = Some(
            command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        wait_until("the engine is up", || get(&self.healthy).is_some());
    }
    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Already ended is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// VictoriaMetrics as Debian packs it, with the flags that docs/history.md asks for.
pub fn victoria(program: &Path, dir: &Path, port: u16) -> Server {
    let (program, dir) = (program.to_owned(), dir.to_owned());
    let healthy = format!("http://127.0.0.1:{port}/health");
    Server::start(healthy, move || {
        let mut command = Command::new(&program);
        command
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
            .arg(format!("-storageDataPath={}", dir.display()))
            .args([
                "-retentionPeriod=100y",
                "-dedup.minScrapeInterval=1ms",
                "-loggerLevel=ERROR",
            ])
            .args(["-memory.allowedBytes=256MB"]);
        command
    })
}
