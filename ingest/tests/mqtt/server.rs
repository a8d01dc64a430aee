//! A front end under test and what it journaled.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use onemap_ingest::mqtt::Holder;
use onemap_ingest::{Auth, Counters, Fanout, MqttConfig, MqttServer};
use onemap_log::{Config, Log};
use onemap_model::{DeviceId, Record, Refusal, Timestamp};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longest wait for anything in these tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) log: Log,
    pub(crate) fanout: Fanout,
    pub(crate) counters: Counters,
    pub(crate) stop: CancellationToken,
    pub(crate) running: JoinHandle<()>,
    _dir: TempDir,
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
    pub(crate) device: String,
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}, |_| {}).await
    }

    pub(crate) async fn with(mqtt: impl FnOnce(&mut MqttConfig), log: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut log_config = Config::new(dir.path());
        log(&mut log_config);
        let (log, _) = Log::open(log_config).unwrap();
        let mut config = MqttConfig::new("127.0.0.1:0".parse().unwrap());
        mqtt(&mut config);
        let (server, address) = MqttServer::bind(config).await.unwrap();
        let (fanout, counters, stop) = (Fanout::new(), Counters::new(), CancellationToken::new());
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
            log,
            fanout,
            counters,
            stop,
            running,
            _dir: dir,
        }
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
                    device: frame.device.to_owned(),
                    topic: frame.topic.to_owned(),
                    payload: frame.payload.to_vec(),
                }),
                Record::Session(_) => n_released += 1,
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
