//! Configuration: `onemap.toml` as written, then as meant.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use onemap_dashboards::limits::Limits;
use onemap_ingest::MqttConfig;
use onemap_ingest::admit::AgeLimits;
use onemap_ingest::mqtt::{ClientAuth, TlsConfig};
use serde::Deserialize;

mod audit;
mod feeds;
mod forecast;
mod history;
mod http;
mod map;
mod mqtt;
mod oidc;
mod people;
mod retention;
mod security;
mod stations;
mod superior;
mod warnings;

pub(crate) use feeds::ConsumerPart;
pub(crate) use forecast::{AheadPart, ForecastPart, GaugePart, MOST_STEPS};
use history::History;
pub(crate) use history::HistoryPart;
use mqtt::Mqtt;
pub(crate) use oidc::OidcPart;
pub(crate) use security::{Syslog, Transport};
use stations::Station;
pub(crate) use stations::{CalledPart, StationPart};
use superior::Superior;
pub(crate) use warnings::WarningSource;

/// The file as written. Unknown keys are refused with file, line and column.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    http: Http,
    metrics: http::Metrics,
    security: security::Security,
    audit: audit::Audit,
    mqtt: Mqtt,
    journal: Journal,
    history: History,
    alerts: Alerts,
    devices: Devices,
    push: Push,
    line_protocol: LineProtocol,
    commands: Commands,
    ingest: Ingest,
    hj212: Option<Station>,
    sl651: Option<Station>,
    gbt26875: Option<Station>,
    superior: Vec<Superior>,
    map: map::Map,
    accounts: people::Accounts,
    persons: people::Persons,
    oidc: Option<oidc::Oidc>,
    forecast: forecast::Forecast,
}

/// `[ingest]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Ingest {
    /// Days that a reading may be old when it arrives live; an older one is refused as `too_old`.
    /// Default 40.
    live_max_age_days: u32,
    /// Days that an imported or resent reading may be old. Default 3650.
    backfill_days: u32,
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            live_max_age_days: 40,
            backfill_days: 3650,
        }
    }
}

/// `[http]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Http {
    /// Address of the API and the screen; port 0 takes a free one. Default `127.0.0.1:8080`.
    listen: SocketAddr,
    /// Largest request body in bytes, imports included. Default 64 MiB.
    max_body_bytes: usize,
    /// Connections at once; one more is answered with 503. Default 2000, and at most a quarter of the
    /// limit of open files.
    max_connections: usize,
    /// Connections of one address (of IPv6 one /64) at once; one more is answered with 503. Behind a proxy all come from
    /// its address: give it as many as there are. Default three quarters of
    /// `max_connections`.
    max_connections_per_address: Option<usize>,
    /// Seconds for a request's head, and that a connection stays without a request. Default 10.
    header_timeout: u64,
    /// Seconds for a request's body, and one more for each 64 KiB of it. Default 30.
    body_timeout: u64,
    /// Seconds that a peer may take nothing of its answer, and one more for each 4 KiB that it takes. Default 30.
    answer_timeout: u64,
    /// Bytes of all bodies in flight; over it requests are answered with 503. Default 256 MiB.
    max_bodies_bytes: usize,
    /// HTTPS beside it. Default none.
    tls: Option<HttpTls>,
    /// What one caller may take.
    limits: http::Limits,
}

/// `[http.tls]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpTls {
    /// Address of the API and the screen over TLS.
    listen: SocketAddr,
    /// The server's certificate and those between it and its CA, PEM.
    cert_file: PathBuf,
    /// The private key of the first certificate, PEM.
    key_file: PathBuf,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 8080).into(),
            max_body_bytes: 64 << 20,
            max_connections: 2000,
            max_connections_per_address: None,
            header_timeout: 10,
            body_timeout: 30,
            answer_timeout: 30,
            max_bodies_bytes: 256 << 20,
            tls: None,
            limits: http::Limits::default(),
        }
    }
}

impl HttpTls {
    fn checked(&self, folder: &Path) -> (SocketAddr, TlsConfig) {
        let config = TlsConfig {
            listen: None,
            cert_file: folder.join(&self.cert_file),
            key_file: folder.join(&self.key_file),
            client_ca_file: None,
            client_auth: ClientAuth::None,
            deny_file: None,
            // Bounded by the time of a request's head.
            handshake_timeout: Duration::from_secs(10),
        };
        (self.listen, config)
    }
}

impl Http {
    fn limits(&self) -> Result<Limits> {
        let Http {
            max_body_bytes,
            max_connections,
            max_connections_per_address,
            header_timeout,
            body_timeout,
            answer_timeout,
            max_bodies_bytes,
            ..
        } = *self;
        ensure!(
            (1..=1_000_000).contains(&max_connections),
            "[http] max_connections = {max_connections}: between 1 and 1000000"
        );
        let per_address = max_connections_per_address.unwrap_or((max_connections * 3).div_ceil(4));
        ensure!(
            (1..=max_connections).contains(&per_address),
            "[http] max_connections_per_address = {per_address}: between 1 and max_connections ({max_connections})"
        );
        for (name, seconds) in [
            ("header_timeout", header_timeout),
            ("body_timeout", body_timeout),
            ("answer_timeout", answer_timeout),
        ] {
            ensure!(
                (1..=3600).contains(&seconds),
                "[http] {name} = {seconds}: between 1 and 3600 seconds"
            );
        }
        ensure!(
            max_bodies_bytes >= max_body_bytes,
            "[http] max_bodies_bytes = {max_bodies_bytes}: not less than max_body_bytes ({max_body_bytes})"
        );
        Ok(Limits {
            connections: max_connections,
            connections_per_address: per_address,
            header_timeout: Duration::from_secs(header_timeout),
            body_timeout: Duration::from_secs(body_timeout),
            answer_timeout: Duration::from_secs(answer_timeout),
            body_bytes: max_body_bytes,
            all_bodies_bytes: max_bodies_bytes,
            shares: self.limits.checked()?,
        })
    }
}

/// `[journal]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Journal {
    /// Bytes of one segment before the next begins. Default 64 MiB.
    segment_bytes: u64,
    /// Bytes of the whole journal on disk; at this size sockets are no longer read. Default 20 GiB.
    max_bytes: u64,
    /// Bytes of the disk that the journal leaves free, so that what makes room for it can still be written;
    /// with fewer free nothing is acknowledged until there are. Default 64 MiB.
    reserve_bytes: u64,
    /// Hours that raw frames are kept after every projection has them. Default 168.
    keep_hours: u64,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            max_bytes: 20 << 30,
            reserve_bytes: 64 << 20,
            keep_hours: 168,
        }
    }
}

/// `[alerts]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Alerts {
    /// Folder of rule files (`*.yaml`). Default `DATA_DIR/rules`, filled with the shipped rules at first start.
    rules: Option<PathBuf>,
    /// Whether a rule file that a person puts or takes away waits for a second person. Default false.
    rules_need_approval: bool,
    /// Who issues statutory warnings.
    warnings: warnings::Warnings,
    /// Who is sent alerts. Default nobody.
    consumers: Vec<feeds::Consumer>,
}

/// `[devices]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Devices {
    /// Folder of device profiles (`*.yaml`). Default `DATA_DIR/profiles`, filled with the shipped profiles at first start.
    profiles: Option<PathBuf>,
}

/// `[push]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Push {
    /// Folder of push sources (`*.yaml`) and their secrets. Default `DATA_DIR/push`.
    sources: Option<PathBuf>,
}

/// `[line_protocol]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LineProtocol {
    /// Tags that may name a line's device; the first one present counts. Default `["device", "host"]`.
    device_tags: Vec<String>,
}

impl Default for LineProtocol {
    fn default() -> Self {
        Self {
            device_tags: vec!["device".to_owned(), "host".to_owned()],
        }
    }
}

/// `[commands]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Commands {
    /// Seconds that a command lives whose caller states no expiry. Default 300; at most 30 days.
    ttl_seconds: u64,
    /// Commands of one device that wait; one more is refused with 429. Default 100.
    waiting_per_device: usize,
    /// Commands of one device that are sent and not acknowledged. Default 8; 1 sends one after the other.
    in_flight: usize,
    /// Send again, on a new connection, what was received and not answered. Default false: a device may
    /// execute twice what it is sent twice.
    at_least_once: bool,
}

impl Default for Commands {
    fn default() -> Self {
        Self {
            ttl_seconds: 300,
            waiting_per_device: 100,
            in_flight: 8,
            at_least_once: false,
        }
    }
}

/// The configuration as meant: every value checked.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) http_listen: SocketAddr,
    pub(crate) http_limits: Limits,
    /// The token that opens the counters alone.
    pub(crate) metrics_token: Option<onemap_store::ledger::TokenHash>,
    /// Where it stands.
    pub(crate) metrics_token_file: Option<PathBuf>,
    /// What accounts and tokens have to show.
    pub(crate) trust: onemap_dashboards::Trust,
    /// Persons that a place has at least before their number is shown.
    pub(crate) persons_k: u32,
    /// What is foreseen.
    pub(crate) forecast: ForecastPart,
    /// How heads of the audit are signed.
    pub(crate) audit_signature: onemap_store::notary::Algorithm,
    /// Where security events are sent.
    pub(crate) syslog: Option<Syslog>,
    /// Where HTTPS is spoken, and by which certificate.
    pub(crate) http_tls: Option<(SocketAddr, TlsConfig)>,
    /// The provider of OpenID Connect whose word lets people in.
    pub(crate) oidc: Option<OidcPart>,
    pub(crate) mqtt: MqttConfig,
    /// The HJ 212 server, when there is one.
    pub(crate) hj212: Option<StationPart>,
    /// The SL 651 server, when there is one.
    pub(crate) sl651: Option<StationPart>,
    /// The GB/T 26875.3 server, when there is one.
    pub(crate) gbt26875: Option<CalledPart>,
    /// Platforms that get HJ 212 frames.
    /// Base maps of the screen.
    pub(crate) basemaps: Arc<onemap_dashboards::basemap::BaseMaps>,
    pub(crate) superiors: Vec<onemap_ingest::forward::ForwardConfig>,
    /// Who is sent alerts.
    pub(crate) consumers: Vec<ConsumerPart>,
    /// Devices that `[[mqtt.acl]]` names.
    pub(crate) acl_devices: Vec<String>,
    /// The file, to say where something stands in it.
    pub(crate) written: Option<Arc<Written>>,
    pub(crate) segment_bytes: u64,
    pub(crate) journal_max_bytes: u64,
    pub(crate) journal_reserve_bytes: u64,
    pub(crate) journal_keep: Duration,
    pub(crate) history: HistoryPart,
    /// How statutory warnings are issued.
    pub(crate) warnings: onemap_dashboards::warnings::Settings,
    /// Feeds of warnings of others.
    pub(crate) warning_sources: Vec<WarningSource>,
    pub(crate) rules_dir: PathBuf,
    /// Whether rule files that people put wait for a second person.
    pub(crate) rules_need_approval: bool,
    pub(crate) profiles_dir: PathBuf,
    pub(crate) push_dir: PathBuf,
    pub(crate) line_tags: Vec<String>,
    pub(crate) ages: AgeLimits,
    pub(crate) demo: bool,
    pub(crate) command_rules: onemap_ingest::downlink::Rules,
    pub(crate) command_limits: onemap_ingest::downlink::Limits,
}

/// The file as it stands.
#[derive(Debug)]
pub(crate) struct Written {
    path: PathBuf,
    text: String,
}

impl Written {
    fn placed(&self, fault: &str) -> String {
        let path = self.path.display();
        match self.line(fault) {
            Some(line) => format!("{path}:{line}: {fault}"),
            None => format!("{path}: {fault}"),
        }
    }

    /// The line of the key that a fault begins with, that of its section when it names no key, `None` when the
    /// section is written in some other way than by its head.
    fn line(&self, fault: &str) -> Option<usize> {
        let head_end = match fault.starts_with("[[") {
            true => fault.find("]]")? + 2,
            false => fault.strip_prefix('[')?.find(']')? + 2,
        };
        let (head, rest) = fault.split_at(head_end);
        let key = rest
            .trim_start()
            .split([' ', ':', ','])
            .next()
            .unwrap_or_default();
        // `[[mqtt.acl]] who = "device:x"`: of several entries the one that says so.
        let value = rest.split('"').nth(1);
        let mut section = None;
        let mut found = None;
        let mut is_inside = false;
        for (line, text) in (1..).zip(self.text.lines()) {
            let text = text.trim();
            if text.starts_with('[') {
                is_inside = text.split('#').next().is_some_and(|text| text.trim() == head);
                if is_inside && section.is_none() {
                    section = Some(line);
                }
                continue;
            }
            let is_key = text.split_once('=').is_some_and(|(name, _)| name.trim() == key);
            if is_inside && is_key {
                if value.is_none_or(|value| text.contains(&format!("\"{value}\""))) {
                    return Some(line);
                }
                found = found.or(Some(line));
            }
        }
        found.or(section)
    }
}

impl Config {
    /// Reads `path` (defaults when `None`) for a data folder. Relative paths in the file start at its own folder.
    pub(crate) fn load(path: Option<&Path>, data_dir: &Path) -> Result<Self> {
        let Some(path) = path else {
            return File::default().check(data_dir, Path::new(""));
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration {}", path.display()))?;
        let file: File = toml::from_str(&text).map_err(|error| {
            let line = error
                .span()
                .map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            anyhow::anyhow!("{}:{line}: {}", path.display(), error.message())
        })?;
        let written = Arc::new(Written {
            path: path.to_owned(),
            text,
        });
        let folder = path.parent().unwrap_or(Path::new(""));
        let config = file
            .check(data_dir, folder)
            .map_err(|error| anyhow::anyhow!(written.placed(&format!("{error:#}"))))?;
        Ok(Self {
            written: Some(written),
            ..config
        })
    }

    /// The file that it was read from.
    pub(crate) fn written_at(&self) -> Option<&Path> {
        self.written.as_deref().map(|written| written.path.as_path())
    }

    /// A fault that begins with its `[section] key`, with file and line before it where they are known.
    pub(crate) fn placed(&self, fault: &str) -> String {
        match &self.written {
            Some(written) => written.placed(fault),
            None => fault.to_owned(),
        }
    }
}

impl File {
    fn check(mut self, data_dir: &Path, folder: &Path) -> Result<Config> {
        let dir = |written: Option<PathBuf>, default: &str| match written {
            Some(written) => folder.join(written),
            None => data_dir.join(default),
        };
        let Journal {
            segment_bytes,
            max_bytes,
            reserve_bytes,
            keep_hours,
        } = self.journal;
        ensure!(
            segment_bytes >= 1 << 20,
            "[journal] segment_bytes = {segment_bytes}: at least 1 MiB (1048576)"
        );
        ensure!(
            max_bytes >= 4 * segment_bytes,
            "[journal] max_bytes = {max_bytes}: at least four segments ({})",
            4 * segment_bytes
        );
        let history = self.history.check(data_dir, folder, reserve_bytes)?;
        let is_plain = |tag: &String| {
            !tag.is_empty()
                && tag
                    .chars()
                    .all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        ensure!(
            self.line_protocol.device_tags.iter().all(is_plain),
            "[line_protocol] device_tags: names of letters, digits and `-_.`"
        );
        let Commands {
            ttl_seconds,
            waiting_per_device,
            in_flight,
            at_least_once,
        } = self.commands;
        let life = Duration::from_secs(ttl_seconds);
        ensure!(
            ttl_seconds > 0 && life <= onemap_model::command::MAX_LIFE,
            "[commands] ttl_seconds = {ttl_seconds}: between 1 and 2592000 (30 days)"
        );
        ensure!(
            (1..=10_000).contains(&waiting_per_device),
            "[commands] waiting_per_device = {waiting_per_device}: between 1 and 10000"
        );
        ensure!(
            (1..=100).contains(&in_flight),
            "[commands] in_flight = {in_flight}: between 1 and 100"
        );
        let Ingest {
            live_max_age_days,
            backfill_days,
        } = self.ingest;
        ensure!(
            live_max_age_days >= 1,
            "[ingest] live_max_age_days = {live_max_age_days}: at least 1"
        );
        ensure!(
            backfill_days >= live_max_age_days,
            "[ingest] backfill_days = {backfill_days}: not less than live_max_age_days ({live_max_age_days})"
        );
        let days = |n: u32| Duration::from_secs(u64::from(n) * 86_400);
        Ok(Config {
            command_rules: onemap_ingest::downlink::Rules {
                in_flight,
                at_least_once,
            },
            command_limits: onemap_ingest::downlink::Limits {
                life,
                waiting_per_device,
            },
            ages: AgeLimits {
                live: days(live_max_age_days),
                backfill: days(backfill_days),
            },
            http_listen: self.http.listen,
            http_limits: self.http.limits()?,
            trust: self.accounts.checked()?,
            persons_k: self.persons.checked()?,
            forecast: self.forecast.checked()?,
            metrics_token: self.metrics.token(folder)?,
            metrics_token_file: self.metrics.file(folder),
            audit_signature: self.audit.checked()?,
            syslog: self.security.checked()?,
            http_tls: self.http.tls.as_ref().map(|tls| tls.checked(folder)),
            oidc: self
                .oidc
                .map(|oidc| {
                    let tls = self.http.tls.as_ref().map(|tls| tls.listen);
                    oidc.check(folder, tls.unwrap_or(self.http.listen))
                })
                .transpose()?,
            acl_devices: self.mqtt.acl_devices(),
            written: None,
            mqtt: self.mqtt.check(folder)?,
            basemaps: Arc::new(self.map.check(folder)?),
            superiors: superior::check(self.superior, data_dir)?,
            consumers: feeds::check(self.alerts.consumers, folder)?,
            hj212: self.hj212.map(|hj212| hj212.check("hj212", folder)).transpose()?,
            sl651: self.sl651.map(|sl651| sl651.check_sl651()).transpose()?,
            gbt26875: self
                .gbt26875
                .map(|gbt26875| gbt26875.check_called("gbt26875"))
                .transpose()?,
            segment_bytes,
            journal_max_bytes: max_bytes,
            journal_reserve_bytes: reserve_bytes,
            journal_keep: Duration::from_secs(keep_hours * 3600),
            history,
            warning_sources: self.alerts.warnings.sources(folder)?,
            warnings: self.alerts.warnings.checked()?,
            rules_dir: dir(self.alerts.rules, "rules"),
            rules_need_approval: self.alerts.rules_need_approval,
            profiles_dir: dir(self.devices.profiles, "profiles"),
            push_dir: dir(self.push.sources, "push"),
            line_tags: self.line_protocol.device_tags,
            data_dir: data_dir.to_owned(),
            demo: false,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<Config> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("onemap.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path), Path::new("data"))
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let error = read("[http]\nlisten = \"[::1]:0\"\n\n[mqtt]\nmax_conections = 5\n")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("onemap.toml:5:") && error.contains("max_conections"),
            "{error}"
        );
    }

    #[test]
    fn limits_that_cannot_work_are_refused() {
        assert!(read("[journal]\nsegment_bytes = 1000\n").is_err());
        assert!(read("[journal]\nmax_bytes = 1000\n").is_err());
        assert!(read("[history]\ncheckpoint_seconds = 0\n").is_err());
        for http in [
            "max_connections = 0",
            "header_timeout = 0",
            "body_timeout = 0",
            "answer_timeout = 0",
            "max_bodies_bytes = 1000",
        ] {
            assert!(read(&format!("[http]\n{http}\n")).is_err(), "{http}");
        }
        for commands in [
            "ttl_seconds = 0",
            "ttl_seconds = 2592001",
            "in_flight = 0",
            "waiting_per_device = 0",
        ] {
            assert!(read(&format!("[commands]\n{commands}\n")).is_err(), "{commands}");
        }
        assert!(read("[ingest]\nlive_max_age_days = 0\n").is_err());
        assert!(read("[ingest]\nbackfill_days = 39\n").is_err());
        for retention in [
            "[history.retention]\nraw_days = 6\n",
            "[history.retention]\nraw_days = 400\nrollup_days = 399\n",
            "[history.retention]\nrollup_days = 400\n",
            "[[history.retention.class]]\nname = \"default\"\nquantities = []\n",
            "[[history.retention.class]]\nname = \"a\"\nquantities = [\"flux\"]\n",
            "[[history.retention.class]]\nname = \"a\"\nquantities = [\"pm10\", \"pm10\"]\n",
        ] {
            assert!(read(retention).is_err(), "{retention}");
        }
        let text = "[history.retention]\nraw_days = 400\n[[history.retention.class]]\nname = \"air\"\n\
            quantities = [\"pm10\"]\nraw_days = 30\nrollup_days = 3650\n";
        let config = read(text).unwrap();
        let pm10 = onemap_model::Quantity::named("pm10").unwrap();
        let (class, span) = config.history.retention.class(pm10);
        assert_eq!((class, span.raw), ("air", Some(Duration::from_secs(30 * 86_400))));
        assert_eq!(config.history.retention.default.rollups, None);
        let config = read("[ingest]\nbackfill_days = 41\n").unwrap();
        assert_eq!(config.ages.backfill, Duration::from_secs(41 * 86_400));
        let config = read("[http]\nlisten = \"[::1]:0\"\n").unwrap();
        assert!(config.http_listen.is_ipv6());
        assert_eq!(config.rules_dir, Path::new("data/rules"));
    }

    #[test]
    fn what_cannot_work_is_said_with_its_line() {
        for (text, line, said) in [
            (
                "[http]\n\nlisten = \"[::1]:0\"\nbody_timeout = 0\n",
                4,
                "body_timeout = 0",
            ),
            (
                "[mqtt]\nlisten = \"[::1]:0\"\n\n[journal] # large\nsegment_bytes = 1\n",
                5,
                "segment_bytes",
            ),
            (
                "[[mqtt.acl]]\nwho = \"devices\"\n[[mqtt.acl]]\nwho = \"robots\"\n",
                4,
                "robots",
            ),
            (
                "[mqtt.tls]\ncert_file = \"c\"\nkey_file = \"k\"\nhandshake_timeout = 0\n",
                4,
                "handshake",
            ),
            ("[http]\nbody_timeout = 3\nbody_timeout = 4\n", 3, "duplicate"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(
                error.contains(&format!("onemap.toml:{line}: ")) && error.contains(said),
                "{error}"
            );
        }
        let error = format!("{:#}", read("http = {body_timeout = 0}\n").unwrap_err());
        assert!(error.contains("onemap.toml: [http]"), "{error}");
    }

    #[test]
    fn relative_paths_start_at_the_file_s_folder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("onemap.toml");
        let text = "[alerts]\nrules = \"r\"\n[devices]\nprofiles = \"../p\"\n[push]\nsources = \"/etc/push\"\n\
            [mqtt.tls]\ncert_file = \"tls/c\"\nkey_file = \"/k\"\nclient_ca_file = \"ca\"\nclient_auth = \"required\"\n\
            deny_file = \"deny\"\n";
        std::fs::write(&path, text).unwrap();
        let config = Config::load(Some(&path), Path::new("data")).unwrap();
        let here = |name: &str| dir.path().join(name);
        assert_eq!(config.rules_dir, here("r"));
        assert_eq!(config.profiles_dir, here("../p"));
        assert_eq!(config.push_dir, Path::new("/etc/push"));
        let tls = config.mqtt.tls.unwrap();
        assert_eq!(
            (tls.cert_file, tls.key_file),
            (here("tls/c"), PathBuf::from("/k"))
        );
        assert_eq!(
            (tls.client_ca_file, tls.deny_file),
            (Some(here("ca")), Some(here("deny")))
        );
        // What the command line names starts where the command was given.
        assert_eq!(config.data_dir, Path::new("data"));
    }

    #[test]
    fn without_a_file_everything_listens_on_loopback_only() {
        let config = Config::load(None, Path::new("d")).unwrap();
        assert!(config.http_listen.ip().is_loopback() && config.mqtt.listen.ip().is_loopback());
    }
}
