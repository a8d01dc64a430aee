//! `onemap serve`: starts everything, says so on one line, and stops it in order.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use onemap_dashboards::auth::{SETUP_LINK, new_token};
use onemap_dashboards::views::Views;
use onemap_dashboards::{Hub, pump, router, screen, sweep};
use onemap_ingest::downlink::CallRules;
use onemap_ingest::fanout::Fanout;
use onemap_ingest::mqtt::{Addresses, Auth, Certificates, Holder, MqttServer, Sessions};
use onemap_ingest::station::Peers;
use onemap_ingest::{Counters, Provision};
use onemap_log::Batch;
use onemap_model::{DeviceId, DeviceState, Record, Role, Scope, Timestamp, record};
use onemap_store::ledger::TokenHash;
use onemap_store::remote::{RemoteStore, Spool};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::audit;
use crate::backup;
use crate::care;
use crate::config::Config;
use crate::disk;
use crate::downlink;
use crate::fault::Faults;
use crate::feeding;
use crate::files;
use crate::forwarding;
use crate::house::{self, House, Purpose, Running, clock};
use crate::pipeline::Room;
use crate::provision::Provisioner;
use crate::stations::Servers;
use crate::{calling, clocks, foresight, keys, polling, registrar, resend, security, shipped};

/// How long a start waits for the fold of what the last run left before it opens the listeners.
const CATCH_UP: Duration = Duration::from_secs(5);

/// The listeners' look-up of device tokens.
struct Tokens(Arc<Views>);

impl Auth for Tokens {
    fn device(&self, token: &str) -> Option<Holder> {
        self.holder(self.0.keys.device(token)?)
    }

    fn certificate(&self, names: &[String]) -> Option<Holder> {
        let mut ids = names.iter().filter_map(|name| DeviceId::new(name).ok());
        let known = |id: &DeviceId| {
            let register = self.0.register.read().ok()?;
            register.view.devices.contains_key(id).then_some(())
        };
        let device = ids.find(|id| known(id).is_some())?;
        self.holder(device)
    }

    fn credential(&self, token: &str) -> u64 {
        TokenHash::of(token).fingerprint()
    }
}

impl Tokens {
    fn holder(&self, device: DeviceId) -> Option<Holder> {
        let register = self.0.register.read().ok()?;
        let known = register.view.devices.get(&device);
        let is_retired = known.is_some_and(|known| known.state == DeviceState::Retired);
        if is_retired || self.0.keys.is_revoked(&device) {
            return None;
        }
        let is_gateway = known.is_some_and(|known| known.is_gateway);
        Some(Holder { device, is_gateway })
    }
}

/// A running server.
pub(crate) struct Server {
    pub(crate) views: Arc<Views>,
    pub(crate) http: SocketAddr,
    https: Option<SocketAddr>,
    pub(crate) mqtt: Addresses,
    /// Servers of field stations by name.
    stations: Vec<(&'static str, SocketAddr)>,
    /// Of MQTT and of HTTPS, as far as there are.
    certificates: Vec<Certificates>,
    counters: Counters,
    /// The local owner's token, also in `DATA_DIR/admin.token`.
    pub(crate) token: String,
    stop: CancellationToken,
    tasks: Vec<(&'static str, tokio::task::JoinHandle<Result<()>>)>,
    watch: security::Watch,
    running: Running,
    remote: Option<Arc<RemoteStore>>,
    data_dir: std::path::PathBuf,
}

impl Server {
    /// Opens the data folder, folds what the last run left, starts listeners.
    pub(crate) async fn start(config: &Config) -> Result<Self> {
        // Said before anything is opened: a fault in a rule or profile file.
        shipped::fill_folders(config)?;
        let faults = shipped::faults(config);
        anyhow::ensure!(faults.is_empty(), Faults(faults));
        let fanout = Fanout::default();
        let news = fanout.news();
        // Bound first: a taken port is said before the data folder is touched.
        let http = TcpListener::bind(config.http_listen)
            .await
            .with_context(|| format!("[http] listen = \"{}\" cannot be bound", config.http_listen))?;
        let secured = match &config.http_tls {
            None => None,
            Some((listen, tls)) => {
                let listener = TcpListener::bind(listen)
                    .await
                    .with_context(|| format!("[http.tls] listen = \"{listen}\" cannot be bound"))?;
                let certificates = Certificates::load(tls.clone()).context("[http.tls] cannot be served")?;
                Some((listener, certificates))
            }
        };
        if secured.is_none() && !config.http_listen.ip().is_loopback() {
            warn!(
                "[http] listen = \"{}\": passwords and tokens go in the clear there; [http.tls] serves HTTPS",
                config.http_listen
            );
        }
        let (mqtt_config, http_limits) = files::fitted(&config.mqtt, config.http_limits);
        let (mqtt, _) = MqttServer::bind(mqtt_config)
            .await
            .context("[mqtt] cannot be served")?;
        let mqtt_addresses = mqtt.addresses();
        let mut certificates: Vec<Certificates> = mqtt.certificates().into_iter().collect();
        let servers = Servers::bind(config).await?;
        let stations = servers.addresses();
        let http_address = http.local_addr().context("the HTTP listener has no address")?;
        let https = secured
            .as_ref()
            .map(|(listener, _)| listener.local_addr().context("the HTTPS listener has no address"))
            .transpose()?;
        let (owned, opened) = (config.clone(), fanout.clone());
        let House {
            views,
            pipeline,
            counters,
            adoptions,
            spool,
        } = tokio::task::spawn_blocking(move || house::open(&owned, Some(opened), Purpose::Serve))
            .await
            .context("opening the data folder was cut short")??;
        sweep(&config.data_dir).context("what an import left cannot be removed")?;
        // Before anything is published or taken in.
        let sessions = open_sessions(config, &views, &fanout, &counters).await?;
        let mqtt = mqtt.with_sessions(sessions.clone());
        let left = *views.log.durable().borrow();
        let remote = start_remote(config, &views, spool.as_ref())?;
        let running = Running::start(pipeline, views.clone(), config.history.checkpoint_every)?;
        // What the last run left is folded first, so that the first answers are current; after a kill
        // under full load that can take longer, and devices do not wait for it.
        if tokio::time::timeout(CATCH_UP, views.applied_whenever(left))
            .await
            .is_err()
        {
            warn!("the pipeline still folds what the last run left; answers are behind until it is done");
        }
        shipped::load(config, &views).await?;
        let token = owner_token(&config.data_dir, &views).await?;

        let stop = CancellationToken::new();
        let hub = Hub::default();
        let mut tasks: Vec<(&'static str, tokio::task::JoinHandle<Result<()>>)> = Vec::new();
        let watch = security::Watch::start(config.syslog.clone(), &views, &counters)?;
        let own_counters = counters.clone();
        let peers = Peers::default();
        for forward in forwarding::open(&config.superiors, &views).await? {
            let forwarding = forwarding::run(forward, views.clone(), stop.clone());
            tasks.push(("forwarding", tokio::spawn(forwarding)));
        }
        for outbox in feeding::open(&config.consumers, &views).await? {
            tasks.push(("feeding", tokio::spawn(outbox.run(stop.clone()))));
        }
        let receipts = feeding::retention(views.clone(), stop.clone());
        tasks.push(("receipts", tokio::spawn(receipts)));
        tasks.extend(servers.start(&views, &counters, &peers, &stop));
        if config.hj212.is_some() {
            let clocks = clocks::run(views.clone(), left, stop.clone());
            tasks.push(("clocks", tokio::spawn(clocks)));
        }
        if config.hj212.is_some() || config.sl651.is_some() || config.gbt26875.is_some() {
            let (views, peers, stop) = (views.clone(), peers.clone(), stop.clone());
            let (hj212, sl651) = (config.hj212.as_ref(), config.sl651.as_ref());
            let rules = resend::Rules {
                hj212: hj212.map(|part| part.resend),
                sl651: sl651.map(|part| part.resend),
            };
            let resend = resend::run(views.clone(), peers.clone(), rules, left, stop.clone());
            tasks.push(("resend", tokio::spawn(resend)));
            let gbt26875 = config.gbt26875.as_ref();
            let rules = calling::Rules {
                hj212: hj212.map_or(CallRules::HJ212, |part| part.calls),
                sl651: sl651.map_or(CallRules::SL651, |part| part.calls),
                gbt26875: gbt26875.map_or(CallRules::HJ212, |part| part.calls),
            };
            let calling = calling::run(views, peers, rules, left, stop);
            tasks.push(("calling", tokio::spawn(calling)));
        }
        let auth: Arc<dyn Auth> = Arc::new(Tokens(views.clone()));
        let sender = downlink::run(views.clone(), fanout.clone(), news, left, stop.clone());
        tasks.push(("downlink", tokio::spawn(sender)));
        let (log, mqtt_stop) = (views.log.clone(), stop.clone());
        let provisioner: Arc<dyn Provision> = Arc::new(Provisioner::new(views.clone()));
        // Set once: a server has one.
        let _ = views.provision.set(provisioner.clone());
        let mqtt = mqtt.with_links(views.links.clone()).with_provision(provisioner);
        tasks.push((
            "mqtt",
            tokio::spawn(async move {
                mqtt.run(log, auth, fanout, counters, clock, mqtt_stop).await;
                Ok(())
            }),
        ));
        let own = match https {
            Some(https) => format!("https://{https}"),
            None => format!("http://{http_address}"),
        };
        let app = router(
            views.clone(),
            hub.clone(),
            http_limits,
            config.metrics_token,
            config.oidc.as_ref().map(|oidc| oidc.settings(&own)),
            stop.clone(),
        );
        let (http_stop, gauges) = (stop.clone(), views.http.clone());
        if let Some((_, of_web)) = &secured {
            certificates.push(of_web.clone());
            let (of_web, counters, stop) = (of_web.clone(), own_counters.clone(), stop.clone());
            tasks.push((
                "certificates",
                tokio::spawn(async move {
                    of_web.watch(&counters, &stop).await;
                    Ok(())
                }),
            ));
        }
        tasks.push((
            "http",
            tokio::spawn(async move {
                onemap_dashboards::serve(http, secured, app, http_limits, gauges, http_stop).await;
                Ok(())
            }),
        ));
        let (pumped, pump_stop) = (views.clone(), stop.clone());
        tasks.push((
            "live",
            tokio::spawn(async move {
                pump(pumped, hub, pump_stop).await;
                Ok(())
            }),
        ));
        let (carried, carry_stop) = (views.clone(), stop.clone());
        tasks.push((
            "persons",
            tokio::spawn(async move {
                // What a stop cuts short goes on after the next start.
                let carry = onemap_dashboards::carry_over_persons(&carried);
                carry_stop.run_until_cancelled(carry).await;
                Ok(())
            }),
        ));
        tasks.push(("ticks", tokio::spawn(ticks(views.clone(), stop.clone()))));
        tasks.push((
            "registrar",
            tokio::spawn(registrar::run(adoptions, views.clone(), stop.clone())),
        ));
        tasks.push((
            "files",
            tokio::spawn(shipped::watch(config.clone(), views.clone(), stop.clone())),
        ));
        tasks.push((
            "keys",
            tokio::spawn(keys::watch(config.clone(), views.clone(), stop.clone())),
        ));
        tasks.push((
            "retention",
            tokio::spawn(retention(views.clone(), sessions, config.clone(), stop.clone())),
        ));
        let (named, names_stop) = (views.clone(), stop.clone());
        tasks.push((
            "names",
            tokio::spawn(async move {
                onemap_dashboards::geocoding::run(named, names_stop).await;
                Ok(())
            }),
        ));
        let notary = Arc::new(audit::notary_of(config)?);
        let _ = views.keeping.notary.set(notary.clone());
        let kept = audit::keep(notary, views.clone(), stop.clone());
        tasks.push(("audit", tokio::spawn(kept)));
        let disk = disk::run(views.clone(), config.clone(), stop.clone());
        tasks.push(("disk", tokio::spawn(disk)));
        let room = Room {
            dir: config.data_dir.clone(),
            least_bytes: config.journal_reserve_bytes / 4,
        };
        let every = config.history.checkpoint_every;
        tasks.push((
            "care",
            tokio::spawn(care::run(views.clone(), every, room, stop.clone())),
        ));
        let foresight = foresight::run(
            views.clone(),
            config.forecast.clone(),
            config.data_dir.clone(),
            stop.clone(),
        );
        tasks.push(("foresight", tokio::spawn(foresight)));
        for source in config.warning_sources.clone() {
            let polled = polling::run(source, views.clone(), stop.clone());
            tasks.push(("warnings of others", tokio::spawn(polled)));
        }
        if let Some(days) = config.history.scrub_days {
            tasks.push((
                "scrub",
                tokio::spawn(care::scrub(views.clone(), days, stop.clone())),
            ));
        }
        // Set once: a server has one.
        let _ = views.keeping.backups.set(Arc::new(backup::Maker::new(
            views.clone(),
            config.clone(),
            stop.clone(),
        )));
        views.ready.store(true, Ordering::Release);
        let data_dir = config.data_dir.clone();
        Ok(Self {
            views,
            http: http_address,
            https,
            mqtt: mqtt_addresses,
            stations,
            certificates,
            counters: own_counters,
            token,
            stop,
            tasks,
            watch,
            running,
            remote,
            data_dir,
        })
    }

    /// The ready line.
    pub(crate) fn ready_line(&self) -> Value {
        let mut line = json!({
            "ready": true,
            "http": format!("http://{}", self.http),
            "mqtt": self.mqtt.mqtt.to_string(),
            "data_dir": self.data_dir,
            "pid": std::process::id(),
            "version": env!("CARGO_PKG_VERSION"),
            "ui": if screen::embedded() { "embedded" } else { "absent" },
        });
        if let Some(https) = self.https {
            line["https"] = format!("https://{https}").into();
        }
        for (name, address) in [("mqtt_tls", self.mqtt.tls), ("mqtt_ws", self.mqtt.websocket)] {
            if let Some(address) = address {
                line[name] = address.to_string().into();
            }
        }
        for (name, address) in &self.stations {
            line[*name] = address.to_string().into();
        }
        line
    }

    /// As long as there is no account: tells who stands at the terminal, or may read the data folder, the link that makes
    /// the first.
    fn say_first_link(&self) -> Result<()> {
        let path = self.data_dir.join(SETUP_LINK);
        let key = self
            .views
            .keys
            .first_key()
            .context("the operating system gives no randomness")?;
        let Some(key) = key else {
            // A missing one is fine.
            let _ = std::fs::remove_file(path);
            return Ok(());
        };
        let link = format!("http://{}/#setup={key}", self.http);
        write_private(&path, &format!("{link}\n"))?;
        let shown = path.display();
        // A log is no place for it.
        match std::io::stderr().is_terminal() {
            true => eprintln!("no account yet: open {link} to make the first one (also in {shown})"),
            false => info!("no account yet: the link that makes the first one stands in {shown}"),
        }
        Ok(())
    }

    /// Takes up rules, profiles and certificates as their files are now.
    pub(crate) async fn reload(&self, config: &Config) {
        shipped::reload(config, &self.views).await;
        keys::reload(config, &self.views);
        let (all, counters) = (self.certificates.clone(), self.counters.clone());
        let reloaded = tokio::task::spawn_blocking(move || {
            for certificates in &all {
                certificates.reload(&counters);
            }
        });
        if let Err(error) = reloaded.await {
            warn!("the certificates stay as they are: {error}");
        }
    }

    /// Stops listeners, drains what they took, folds it, makes a checkpoint.
    pub(crate) async fn stop(self) -> Result<()> {
        self.views.ready.store(false, Ordering::Release);
        self.stop.cancel();
        for (name, task) in self.tasks {
            match tokio::time::timeout(Duration::from_secs(6), task).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => warn!(task = name, "{error:#}"),
                Ok(Err(error)) => warn!(task = name, %error, "a task ended badly"),
                Err(_) => warn!(task = name, "a task did not end in time; its clients are cut off"),
            }
        }
        self.watch.end(&self.views).await;
        let (running, remote) = (self.running, self.remote);
        let stop = move || {
            let stopped = running.stop();
            // What it has not got yet stays in the spool.
            if let Some(remote) = remote {
                remote.stop();
                remote.spool().close().context("the spool cannot be closed")?;
            }
            stopped
        };
        tokio::task::spawn_blocking(stop)
            .await
            .context("the stop was cut short")??;
        // A ready file without a server would mislead; a missing one is fine.
        let _ = std::fs::remove_file(self.data_dir.join("ready.json"));
        Ok(())
    }
}

/// Begins to send what the spool holds to the history's engine, and asks it for what is before the embedded span.
fn start_remote(
    config: &Config,
    views: &Arc<Views>,
    spool: Option<&Arc<Spool>>,
) -> Result<Option<Arc<RemoteStore>>> {
    let (Some(part), Some(spool)) = (&config.history.remote, spool) else {
        return Ok(None);
    };
    let has_all = house::engine_has_all(config);
    if part.embedded_days.is_some() && !has_all {
        warn!(
            "[history.remote] embedded_days: the engine was not given all older readings, so the embedded history goes on answering for all times"
        );
    }
    let days = part.embedded_days;
    let floor = move || {
        let floor = days.map_or(Timestamp::from_ms(i64::MIN), |days| {
            clock().saturating_sub(Duration::from_secs(u64::from(days) * 86_400))
        });
        has_all.then_some(floor)
    };
    let runtime = tokio::runtime::Handle::current();
    let remote = RemoteStore::start(&part.engine, spool.clone(), runtime, floor)
        .context("the history's engine cannot be sent to")?;
    let remote = Arc::new(remote);
    views.archive.set_elder(remote.clone());
    // Set once: a server has one.
    let _ = views.remote.set(remote.clone());
    info!(engine = remote.name(), "readings go to the history's engine, too");
    Ok(Some(remote))
}

/// Writes the ready line to standard output and `DATA_DIR/ready.json`.
pub(crate) fn announce(data_dir: &Path, line: &Value) -> Result<()> {
    let path = data_dir.join("ready.json");
    write_private(&path, &format!("{line}\n"))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .context("standard output is closed")
}

/// Runs until Ctrl-C or SIGTERM.
pub(crate) async fn serve(config: &Config) -> Result<()> {
    let server = Server::start(config).await?;
    let signals = Signals::listen()?;
    server.say_first_link()?;
    announce(&config.data_dir, &server.ready_line())?;
    signals.wait(|| server.reload(config)).await;
    info!("stopping");
    server.stop().await
}

/// The signals that a server listens for.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From here on they end nothing by themselves. Before it is said that the server is ready: who waits for that may
    /// end it at once, and in order.
    pub(crate) fn listen() -> Result<Self> {
        let listen = |kind, name| signal(kind).with_context(|| format!("{name} cannot be listened for"));
        Ok(Self {
            terminate: listen(SignalKind::terminate(), "SIGTERM")?,
            interrupt: listen(SignalKind::interrupt(), "SIGINT")?,
            hangup: listen(SignalKind::hangup(), "SIGHUP")?,
        })
    }

    /// Waits for Ctrl-C or SIGTERM; SIGHUP calls `reload`.
    pub(crate) async fn wait<F: Future<Output = ()>>(mut self, reload: impl Fn() -> F) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => reload().await,
            }
        }
    }
}

/// One `Tick` record a second: the pipeline's clock while nothing else arrives.
async fn ticks(views: Arc<Views>, stop: CancellationToken) -> Result<()> {
    let mut clock = tokio::time::interval(Duration::from_secs(1));
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut batch = Batch::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = clock.tick() => {}
        }
        batch.clear();
        let now = (views.clock)();
        batch.push(record::KIND_TICK, |out| {
            out.extend_from_slice(&Record::Tick(now).encode().1)
        });
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            appended = views.log.append(&batch) => {
                appended.context("the journal takes no ticks")?;
            }
        }
    }
}

/// Lets go of journal segments that every projection is past and whose age is over the limit; at the
/// size limit the oldest go earlier, but never past the smallest cursor.
async fn retention(
    views: Arc<Views>,
    sessions: Sessions,
    config: Config,
    stop: CancellationToken,
) -> Result<()> {
    let mut clock = tokio::time::interval(Duration::from_secs(20));
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = clock.tick() => {}
        }
        let views = views.clone();
        let (keep, max_bytes) = (config.journal_keep, config.journal_max_bytes);
        let sessions_at = sessions.cursor();
        let released = tokio::task::spawn_blocking(move || {
            // A backup needs the segments that are there; the next round lets them go.
            let Ok(_held) = views.keeping.segments.try_lock() else {
                return Ok(Default::default());
            };
            let progress = *views.progress.borrow();
            let floor = progress
                .applied
                .min(progress.history)
                .min(progress.ledger)
                .min(progress.register)
                .min(sessions_at)
                .min(forwarding::floor(&views));
            let before = SystemTime::now()
                .checked_sub(keep)
                .unwrap_or(SystemTime::UNIX_EPOCH);
            views.log.release(floor, before)?;
            views.log.release_to_size(floor, max_bytes / 10 * 9)
        })
        .await
        .context("the retention was cut short")?;
        if let Err(error) = released {
            warn!(%error, "journal segments cannot be let go");
        }
    }
}

/// MQTT sessions and retained messages as the last run left them.
async fn open_sessions(
    config: &Config,
    views: &Arc<Views>,
    fanout: &Fanout,
    counters: &Counters,
) -> Result<Sessions> {
    let path = config.data_dir.join("mqtt-sessions");
    let (mqtt, log) = (config.mqtt.clone(), views.log.clone());
    let (fanout, counters) = (fanout.clone(), counters.clone());
    tokio::task::spawn_blocking(move || Sessions::open(&mqtt, &path, &log, &fanout, &counters))
        .await
        .context("opening the MQTT sessions was cut short")?
        .context("the journal cannot be read for the MQTT sessions")
}

/// The local owner's token: who can read the data folder owns it.
async fn owner_token(data_dir: &Path, views: &Arc<Views>) -> Result<String> {
    let path = data_dir.join("admin.token");
    if let Ok(text) = std::fs::read_to_string(&path) {
        let text = text.trim().to_owned();
        if views.keys.access(&text).is_some() {
            return Ok(text);
        }
    }
    let token = new_token().context("the operating system gives no randomness")?;
    let change = record::Register::AccessToken {
        name: "local owner".to_owned(),
        sha256: TokenHash::of(&token).to_string(),
        role: Role::Admin,
        division: None,
        departments: Vec::new(),
        expires: None,
    };
    let scope = Scope::local("local");
    let position = views
        .acts
        .record_register(&scope, clock(), vec![change])
        .await
        .context("no token can be made")?;
    views.applied_whenever(position).await;
    write_private(&path, &format!("{token}\n"))?;
    Ok(token)
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let part = path.with_extension("part");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)
        .with_context(|| format!("cannot write {}", part.display()))?;
    file.write_all(text.as_bytes())
        .with_context(|| format!("cannot write {}", part.display()))?;
    std::fs::rename(&part, path).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use onemap_model::record::Register;

    use super::*;

    #[test]
    fn a_revoked_device_s_certificate_opens_nothing_until_it_is_admitted() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::load(None, &dir.path().join("data")).unwrap();
        let house = house::open(&config, None, Purpose::Serve).unwrap();
        let views = Arc::clone(&house.views);
        let id = DeviceId::new("gauge-1").unwrap();
        let device: onemap_model::Device =
            serde_json::from_value(json!({"id": id, "name": "甲", "kind": "river_gauge"})).unwrap();
        let put = |change: Register| {
            views.register.write().unwrap().view.apply(&change).unwrap();
            views.keys.apply(Timestamp::from_ms(1), &change);
        };
        let tokens = Tokens(Arc::clone(&views));
        let opens = || tokens.certificate(&["gauge-1".to_owned()]).is_some();
        assert!(!opens(), "nobody knows it");
        put(Register::Device {
            device: device.clone(),
        });
        assert!(opens());
        put(Register::DeviceTokenRevoked { device: id.clone() });
        assert!(!opens());
        // What else is changed of it does not let it in.
        put(Register::Device {
            device: device.clone(),
        });
        assert!(!opens());
        put(Register::DeviceAdmitted { device: id });
        assert!(opens());
        put(Register::Device {
            device: onemap_model::Device {
                state: DeviceState::Retired,
                ..device
            },
        });
        assert!(!opens());
    }
}
