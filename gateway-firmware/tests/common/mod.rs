//! The world around a gateway under test: a server with receipts and slaves that can be made to misbehave.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(unreachable_pub, reason = "a module of test binaries exports nothing")]

pub mod server;
pub mod slave;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Waits for a state with a deadline.
pub async fn until(what: &str, within: Duration, mut reached: impl FnMut() -> bool) {
    let end = Instant::now() + within;
    while !reached() {
        assert!(Instant::now() < end, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A gateway's folder with its configuration.
pub struct Folder {
    pub dir: tempfile::TempDir,
}

/// One slave as the configuration names it.
pub struct SlaveEntry {
    pub name: &'static str,
    pub address: String,
    pub profile: &'static str,
    pub offset: u16,
}

/// A profile that polls 20 counters.
pub fn counters(poll: &str) -> String {
    n_counters(20, poll)
}

/// A profile that polls so many counters.
pub fn n_counters(n: u16, poll: &str) -> String {
    format!(
        "version: 1\nname: {{zh: 计数表, en: Counter}}\nprotocol: modbus\n\
         modbus: {{unit: 1, poll: {poll}, registers: [{{address: 0, type: u16, count: {n}, quantity: counter}}]}}\n"
    )
}

impl Folder {
    pub fn new(server: &str, max_mib: u64, profiles: &[(&str, String)], slaves: &[SlaveEntry]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in profiles {
            std::fs::write(dir.path().join(format!("{name}.yaml")), text).unwrap();
        }
        std::fs::write(dir.path().join("token"), "gateway-token\n").unwrap();
        let mut text = format!(
            "server = \"{server}\"\ndevice = \"gw-1\"\ntoken_file = \"token\"\n[spool]\ndir = \"spool\"\nmax_mib = {max_mib}\n"
        );
        for slave in slaves {
            text += &format!(
                "[[slave]]\nname = \"{}\"\naddress = \"{}\"\nprofile = \"{}.yaml\"\nchannel_offset = {}\ntimeout_ms = 300\n",
                slave.name, slave.address, slave.profile, slave.offset
            );
        }
        std::fs::write(dir.path().join("gateway.toml"), text).unwrap();
        Self { dir }
    }
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("gateway.toml")
    }
    pub fn log_dir(&self) -> PathBuf {
        self.dir.path().join("spool").join("log")
    }
}

/// A gateway inside this process.
pub struct Gateway {
    stop: tokio_util::sync::CancellationToken,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Gateway {
    pub fn start(config: &Path) -> Self {
        let config = onemap_gateway::Config::load(config).unwrap();
        let stop = tokio_util::sync::CancellationToken::new();
        let task = tokio::spawn(onemap_gateway::run(config, |_| {}, stop.clone()));
        Self { stop, task }
    }
    /// Stops it; it must have worked and end in time.
    pub async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(3), self.task).await;
        ended.expect("the gateway stops within 3 s").unwrap().unwrap();
    }
}
