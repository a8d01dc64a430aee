//! A front end under test and what it journaled.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use onemap_ingest::mqtt::{Addresses, Certificates, Holder, Sessions};
use onemap_ingest::{Auth, Counters, Fanout, MqttConfig, MqttServer};
use onemap_log::{Config, Log};
use onemap_model::record::{RefusedFrame, Session};
use onemap_model::{DeviceId, Record, Refusal, Timestamp};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longest wait for anything in these tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) addresses: Addresses,
    pub(crate) certificates: Option<Certificates>,
    pub(crate) log: Log,
    pub(crate) fanout: Fanout,
    pub(crate) counters: Counters,
    pub(crate) stop: CancellationToken,
    pub(crate) running: JoinHandle<()>,
    has_sessions: bool,
    dir: TempDir,
}

/// Device `x` holds the token `token-of-x`; it is a gateway when its name says so.
struct Tokens;

impl Auth for Tokens {
    fn device(&self, token: &str) -> Option<Holder> {
        let device = DeviceId::new(token.strip_prefix("token-of-")?).ok()?;
        let is_gateway = device.as_str().starts_with("gateway");
        Some(Holder { device, is_gateway })
    }

    fn certificate(&self, names: &[String]) -> Option<Holder> {
        // Devices of the register begin with `meter`.
        let known = names.iter().find(|name| name.starts_with("meter"))?;
        self.device(&format!("token-of-{known}"))
    }
}

fn clock() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

/// A journaled frame, owned.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept {
    pub(crate) position: u64,
    pub(crate) refused: Option<Refusal>,
    /// What the front end said of it.
    pub(crate) detail: String,
    pub(crate) device: String,
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}, |_| {}).await
    }

    pub(crate) async fn with(mqtt: impl FnOnce(&mut MqttConfig), log: impl FnOnce(&mut Config)) -> Self {
        Self::open(tempfile::tempdir().unwrap(), false, mqtt, log).await
    }

    /// With sessions that outlive it.
    pub(crate) async fn start_with_sessions() -> Self {
        Self::open(tempfile::tempdir().unwrap(), true, |_| {}, |_| {}).await
    }

    async fn open(
        dir: TempDir,
        has_sessions: bool,
        mqtt: impl FnOnce(&mut MqttConfig),
        log: impl FnOnce(&mut Config),
    ) -> Self {
        let mut log_config = Config::new(dir.path().join("journal"));
        log(&mut log_config);
        let (log, _) = Log::open(log_config).unwrap();
        let mut config = MqttConfig::new("127.0.0.1:0".parse().unwrap());
        mqtt(&mut config);
        let (fanout, counters, stop) = (Fanout::new(), Counters::new(), CancellationToken::new());
        let (mut server, address) = MqttServer::bind(config.clone()).await.unwrap();
        let (addresses, certificates) = (server.addresses(), server.certificates());
        if has_sessions {
            let path = dir.path().join("mqtt-sessions");
            let sessions = Sessions::open(&config, &path, &log, &fanout, &counters).unwrap();
            server = server.with_sessions(sessions);
        }
        let running = tokio::spawn(server.run(
            log.clone(),
            Arc::new(Tokens),
            fanout.clone(),
            counters.clone(),
            clock,
            stop.clone(),
        ));
        Self {
            address,
            addresses,
            certificates,
            log,
            fanout,
            counters,
            stop,
            running,
            has_sessions,
            dir,
        }
    }

    pub(crate) fn sessions_file(&self) -> PathBuf {
        self.dir.path().join("mqtt-sessions")
    }

    /// The same folder again, after a stop or, without its last words, a kill.
    pub(crate) async fn restart(self, is_killed: bool) -> Self {
        self.restart_after(is_killed, |_| {}).await
    }

    /// As [`Server::restart`]; something happens to the file of sessions meanwhile.
    pub(crate) async fn restart_after(self, is_killed: bool, between: impl FnOnce(&Path)) -> Self {
        if is_killed {
            self.running.abort();
        } else {
            self.stop.cancel();
        }
        // A task that was aborted says so.
        let _ = tokio::time::timeout(PATIENCE, self.running).await.unwrap();
        self.log.close().unwrap();
        between(&self.dir.path().join("mqtt-sessions"));
        Self::open(self.dir, self.has_sessions, |_| {}, |_| {}).await
    }

    /// Everything durable, in order: frames, and the number of QoS 2 releases.
    pub(crate) fn journal(&self) -> (Vec<Kept>, usize) {
        let mut reader = self.log.reader(0).unwrap();
        let (mut frames, mut n_released) = (Vec::new(), 0);
        while let Some(entry) = reader.next().unwrap() {
            match Record::decode(entry.kind, entry.body).unwrap() {
                Record::Frame(frame) => frames.push(Kept {
                    position: entry.position,
                    refused: frame.refused,
                    detail: String::new(),
                    device: frame.device.to_owned(),
                    topic: frame.topic.to_owned(),
                    payload: frame.payload.to_vec(),
                }),
                Record::Refused(RefusedFrame { detail, frame }) => frames.push(Kept {
                    position: entry.position,
                    refused: frame.refused,
                    detail: detail.to_owned(),
                    device: frame.device.to_owned(),
                    topic: frame.topic.to_owned(),
                    payload: frame.payload.to_vec(),
                }),
                Record::Session(Session::Released { .. }) => n_released += 1,
                Record::Session(_) => {}
                other => panic!("a front end does not write {other:?}"),
            }
        }
        (frames, n_released)
    }

    pub(crate) fn frames(&self) -> Vec<Kept> {
        self.journal().0
    }

    /// The payloads of the frames that were not refused.
    pub(crate) fn payloads(&self) -> Vec<String> {
        let taken = self.frames().into_iter().filter(|f| f.refused.is_none());
        taken.map(|f| String::from_utf8(f.payload).unwrap()).collect()
    }

    /// The first frame refused for this reason, when it is there.
    pub(crate) async fn refused(&self, refusal: Refusal) -> Kept {
        let find = || self.frames().into_iter().find(|f| f.refused == Some(refusal));
        until(refusal.label(), || find().is_some()).await;
        find().unwrap()
    }
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
