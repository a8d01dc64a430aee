//! `[history]`, `[history.remote]`: the embedded history, and the engine that has all of it beside.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use onemap_store::engine::Ack;
use onemap_store::remote::{Authorization, Dialect, Endpoint, Naming, Paths, RemoteConfig, Secret};
use serde::Deserialize;

/// Least bytes of the spool: four segments.
const MIN_SPOOL_BYTES: u64 = 64 << 20;

/// `[history]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct History {
    /// Seconds between checkpoints of the projections; a restart replays at most this much. Default 10.
    checkpoint_seconds: u64,
    /// Where all readings are kept: `embedded`, `promql` or `influxdb2`. Default `embedded`.
    engine: Engine,
    /// Days in which every row is read again, to find what the disk has lost; 0 reads none. Default 7.
    scrub_days: u32,
    remote: Option<Remote>,
    retention: super::retention::Written,
}

impl Default for History {
    fn default() -> Self {
        Self {
            checkpoint_seconds: 10,
            engine: Engine::Embedded,
            scrub_days: 7,
            remote: None,
            retention: super::retention::Written::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Engine {
    #[serde(rename = "embedded")]
    Embedded,
    /// Line protocol in, PromQL out.
    #[serde(rename = "promql")]
    PromQl,
    #[serde(rename = "influxdb2")]
    InfluxDb2,
}

/// What stands behind PromQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Preset {
    VictoriaMetrics,
    VictoriaMetricsCluster,
    Greptimedb,
}

/// `[history.remote]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remote {
    /// The engine's address, `http://127.0.0.1:8428`; of a cluster where it is written to.
    url: String,
    /// Where it is asked, when that is another address.
    read_url: Option<String>,
    /// Paths and names of a PromQL engine: `victoria-metrics` (default), `victoria-metrics-cluster`, `greptimedb`.
    preset: Option<Preset>,
    /// Tenant in the paths of a cluster. Default `0`.
    tenant: Option<String>,
    /// Database of GreptimeDB. Default `public`.
    database: Option<String>,
    /// Organisation of InfluxDB 2.
    org: Option<String>,
    /// Bucket of InfluxDB 2. Default `onemap`.
    bucket: Option<String>,
    /// What InfluxDB is asked in: `flux` (default) or `influxql`.
    read: Option<Read>,
    /// Path that takes line protocol, instead of the preset's.
    write_path: Option<String>,
    /// Path before `/api/v1/query`, instead of the preset's.
    read_path: Option<String>,
    /// Name of a field in PromQL, instead of the preset's: `{measurement}_{field}`.
    metric: Option<String>,
    /// File that holds the token.
    token_file: Option<PathBuf>,
    /// Environment variable that holds the token.
    token_env: Option<String>,
    /// What stands before the token in `Authorization`. Default `Bearer`, for InfluxDB `Token`.
    token_scheme: Option<String>,
    /// More headers, for a proxy.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Certificates of the authorities for `https`. Default those of the system.
    ca_file: Option<PathBuf>,
    /// Seconds that a request may take. Default 30.
    timeout_seconds: Option<u64>,
    /// Seconds that a point stays in the spool after the engine acknowledged it. Default 30.
    release_after_seconds: Option<u64>,
    /// Most bytes of the spool; at this size readings are no longer folded, and then sockets no longer read.
    /// Default 10 GiB.
    spool_max_bytes: Option<u64>,
    /// Most bytes of one body. Default 1 MiB.
    body_bytes: Option<usize>,
    /// Compress bodies. Default false.
    #[serde(default)]
    gzip: bool,
    /// Days that the engine keeps; older readings are not sent, and counted as `too_old`. Default: all are sent.
    retention_days: Option<u32>,
    /// Days that the embedded history answers for; the engine answers for what is older. Default: the embedded
    /// history answers for everything that it has, and the engine for what retention let go of.
    embedded_days: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Read {
    Flux,
    Influxql,
}

/// `[history]` as meant.
#[derive(Clone, Debug)]
pub(crate) struct HistoryPart {
    pub(crate) checkpoint_every: Duration,
    /// Days of a whole pass over all rows; `None` when none is wanted.
    pub(crate) scrub_days: Option<u32>,
    pub(crate) remote: Option<Box<RemotePart>>,
    /// How long the embedded history keeps what.
    pub(crate) retention: onemap_store::history::Retention,
}

/// An engine as meant.
#[derive(Clone, Debug)]
pub(crate) struct RemotePart {
    pub(crate) engine: RemoteConfig,
    /// Days that the embedded history answers for.
    pub(crate) embedded_days: Option<u32>,
}

impl History {
    pub(super) fn check(self, data_dir: &Path, folder: &Path, reserve_bytes: u64) -> Result<HistoryPart> {
        ensure!(
            (1..=3600).contains(&self.checkpoint_seconds),
            "[history] checkpoint_seconds = {}: between 1 and 3600",
            self.checkpoint_seconds
        );
        ensure!(
            self.scrub_days <= 365,
            "[history] scrub_days = {}: at most 365, 0 for none",
            self.scrub_days
        );
        let remote = match (self.engine, self.remote) {
            (Engine::Embedded, None) => None,
            (Engine::Embedded, Some(_)) => {
                bail!(
                    "[history.remote]: it needs `engine = \"promql\"` or `engine = \"influxdb2\"` in [history]"
                )
            }
            (_, None) => bail!("[history] engine: it needs [history.remote] with `url`"),
            (engine, Some(remote)) => {
                Some(Box::new(remote.check(engine, data_dir, folder, reserve_bytes)?))
            }
        };
        Ok(HistoryPart {
            checkpoint_every: Duration::from_secs(self.checkpoint_seconds),
            scrub_days: (self.scrub_days > 0).then_some(self.scrub_days),
            remote,
            retention: self.retention.check()?,
        })
    }
}

impl Remote {
    fn check(self, engine: Engine, data_dir: &Path, folder: &Path, reserve_bytes: u64) -> Result<RemotePart> {
        let is_influx = engine == Engine::InfluxDb2;
        ensure!(
            !is_influx || cfg!(feature = "influxdb2"),
            "[history] engine = \"influxdb2\": it is not in this build; build it with: cargo build --release --locked --features influxdb2"
        );
        self.belongs(is_influx)?;
        let seconds = |name: &str, written: Option<u64>, default: u64| {
            let seconds = written.unwrap_or(default);
            ensure!(
                (1..=3600).contains(&seconds),
                "[history.remote] {name} = {seconds}: between 1 and 3600 seconds"
            );
            Ok(Duration::from_secs(seconds))
        };
        let timeout = seconds("timeout_seconds", self.timeout_seconds, 30)?;
        let release_after = seconds("release_after_seconds", self.release_after_seconds, 30)?;
        let spool_bytes = self.spool_max_bytes.unwrap_or(10 << 30);
        ensure!(
            spool_bytes >= MIN_SPOOL_BYTES,
            "[history.remote] spool_max_bytes = {spool_bytes}: at least 64 MiB ({MIN_SPOOL_BYTES})"
        );
        let body_bytes = self.body_bytes.unwrap_or(1 << 20);
        ensure!(
            (1024..=32 << 20).contains(&body_bytes),
            "[history.remote] body_bytes = {body_bytes}: between 1 KiB and 32 MiB"
        );
        for (name, days) in [
            ("retention_days", self.retention_days),
            ("embedded_days", self.embedded_days),
        ] {
            ensure!(
                days.is_none_or(|days| days > 0),
                "[history.remote] {name} = 0: at least 1"
            );
        }
        let token = self.token(folder)?;
        let scheme = match (&self.token_scheme, is_influx) {
            (Some(scheme), _) => scheme.as_str(),
            (None, true) => "Token",
            (None, false) => "Bearer",
        };
        let authorization = token
            .as_ref()
            .map(|Secret(token)| Authorization::new(scheme, token))
            .transpose()
            .context("[history.remote] token_file")?;
        let headers: Vec<(String, String)> = self.headers.clone().into_iter().collect();
        let roots = self.ca_file.as_ref().map(|path| folder.join(path));
        let endpoint = |name: &str, url: &str| {
            Endpoint::new(url, authorization.clone(), &headers, roots.as_deref(), timeout)
                .with_context(|| format!("[history.remote] {name}"))
        };
        let writes = endpoint("url", &self.url)?;
        let reads = endpoint("read_url", self.read_url.as_ref().unwrap_or(&self.url))?;
        let bucket = self.bucket.clone().unwrap_or_else(|| "onemap".to_owned());
        let org = self.org.clone().unwrap_or_default();
        let (paths, naming) = match is_influx {
            true => (self.of_influx(&bucket, &org), Naming::default()),
            false => self.of_promql()?,
        };
        let is_victoria = !is_influx && self.preset != Some(Preset::Greptimedb);
        Ok(RemotePart {
            engine: RemoteConfig {
                dialect: match (is_influx, self.read) {
                    (false, _) => Dialect::PromQl,
                    (true, Some(Read::Influxql)) => Dialect::InfluxQl,
                    (true, _) => Dialect::Flux,
                },
                writes,
                reads,
                paths,
                naming,
                bucket,
                org,
                url: self.url,
                token,
                by_crate: is_influx,
                upserts: !is_victoria,
                ack: if is_influx { Ack::Durable } else { Ack::Accepted },
                oldest: self
                    .retention_days
                    .map(|days| Duration::from_secs(u64::from(days) * 86_400)),
                release_after,
                body_bytes,
                gzip: self.gzip,
                spool_dir: data_dir.join("spool"),
                spool_bytes,
                reserve_bytes,
            },
            embedded_days: self.embedded_days,
        })
    }

    /// Keys that mean nothing to the engine are refused rather than passed over.
    fn belongs(&self, is_influx: bool) -> Result<()> {
        let of_promql = [
            ("preset", self.preset.is_some()),
            ("tenant", self.tenant.is_some()),
            ("database", self.database.is_some()),
            ("metric", self.metric.is_some()),
            ("write_path", self.write_path.is_some()),
            ("read_path", self.read_path.is_some()),
        ];
        let of_influx = [
            ("org", self.org.is_some()),
            ("bucket", self.bucket.is_some()),
            ("read", self.read.is_some()),
        ];
        let (foreign, engine) = match is_influx {
            true => (&of_promql[..], "influxdb2"),
            false => (&of_influx[..], "promql"),
        };
        if let Some((name, _)) = foreign.iter().find(|(_, written)| *written) {
            bail!("[history.remote] {name}: it means nothing for engine = \"{engine}\"");
        }
        ensure!(
            !is_influx || self.read == Some(Read::Influxql) || self.org.is_some(),
            "[history.remote] org: InfluxDB 2 needs the name of the organisation"
        );
        Ok(())
    }

    fn token(&self, folder: &Path) -> Result<Option<Secret>> {
        let token = match (&self.token_file, &self.token_env) {
            (Some(_), Some(_)) => bail!("[history.remote] token_file: not together with token_env"),
            (Some(file), None) => {
                let path = folder.join(file);
                std::fs::read_to_string(&path)
                    .with_context(|| format!("[history.remote] token_file: cannot read {}", path.display()))?
            }
            (None, Some(name)) => std::env::var(name).map_err(|_| {
                anyhow::anyhow!("[history.remote] token_env: the environment has no `{name}`")
            })?,
            (None, None) => return Ok(None),
        };
        Ok(Some(Secret(token.trim().to_owned())))
    }

    fn of_influx(&self, bucket: &str, org: &str) -> Paths {
        let query = match self.read {
            Some(Read::Influxql) => "/query".to_owned(),
            _ => "/api/v2/query".to_owned(),
        };
        let (bucket, org) = (
            onemap_store::remote::encoded(bucket),
            onemap_store::remote::encoded(org),
        );
        Paths {
            write: format!("/api/v2/write?bucket={bucket}&org={org}&precision=ms"),
            query,
            health: "/health".to_owned(),
            started: None,
            delete: Some("/api/v2/delete".to_owned()),
        }
    }

    fn of_promql(&self) -> Result<(Paths, Naming)> {
        let preset = self.preset.unwrap_or(Preset::VictoriaMetrics);
        let tenant = self.tenant.as_deref().unwrap_or("0");
        ensure!(
            tenant.chars().all(|c| c.is_ascii_digit() || c == ':') && !tenant.is_empty(),
            "[history.remote] tenant = \"{tenant}\": digits, or two numbers with `:` between"
        );
        let database = onemap_store::remote::encoded(self.database.as_deref().unwrap_or("public"));
        let (write, query, health, started, delete) = match preset {
            Preset::VictoriaMetrics => (
                "/write?precision=ms".to_owned(),
                String::new(),
                "/health",
                Some("/metrics".to_owned()),
                Some("/api/v1/admin/tsdb/delete_series".to_owned()),
            ),
            Preset::VictoriaMetricsCluster => (
                format!("/insert/{tenant}/influx/write?precision=ms"),
                format!("/select/{tenant}/prometheus"),
                "/health",
                None,
                None,
            ),
            Preset::Greptimedb => (
                format!("/v1/influxdb/write?db={database}&precision=ms"),
                "/v1/prometheus".to_owned(),
                "/health",
                None,
                None,
            ),
        };
        let naming = match preset {
            Preset::Greptimedb => Naming {
                metric: "{measurement}".to_owned(),
                field_label: Some("__field__".to_owned()),
            },
            _ => Naming::default(),
        };
        let metric = self.metric.clone().unwrap_or(naming.metric);
        ensure!(
            metric.contains("{measurement}") && (naming.field_label.is_some() || metric.contains("{field}")),
            "[history.remote] metric = \"{metric}\": it holds {{measurement}} and {{field}}"
        );
        let paths = Paths {
            write: self.write_path.clone().unwrap_or(write),
            query: self.read_path.clone().unwrap_or(query),
            health: health.to_owned(),
            started,
            delete,
        };
        Ok((paths, Naming { metric, ..naming }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<HistoryPart> {
        let history: History = toml::from_str(text)?;
        history.check(Path::new("data"), Path::new(""), 0)
    }

    #[test]
    fn an_engine_is_what_its_preset_says_and_its_token_is_never_shown() {
        assert!(read("").unwrap().remote.is_none());
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "s3cret\n").unwrap();
        let text = format!(
            "engine = \"promql\"\n[remote]\nurl = \"http://insert:8480\"\nread_url = \"http://select:8481\"\n\
             preset = \"victoria-metrics-cluster\"\ntenant = \"7\"\ntoken_file = \"{}\"\n",
            file.display()
        );
        let part = read(&text).unwrap();
        let engine = &part.remote.as_ref().unwrap().engine;
        assert_eq!(engine.paths.write, "/insert/7/influx/write?precision=ms");
        assert_eq!(engine.paths.query, "/select/7/prometheus");
        assert_eq!(engine.reads.to_string(), "http://select:8481");
        assert!(!engine.upserts && engine.ack == Ack::Accepted && engine.paths.started.is_none());
        assert!(!format!("{part:?}").contains("s3cret"), "{part:?}");

        let text = "engine = \"promql\"\n[remote]\nurl = \"http://greptime:4000\"\npreset = \"greptimedb\"\n";
        let engine = read(text).unwrap().remote.unwrap().engine;
        assert_eq!(engine.paths.write, "/v1/influxdb/write?db=public&precision=ms");
        assert_eq!(engine.naming.field_label.as_deref(), Some("__field__"));
        assert!(engine.upserts);
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_key() {
        let promql = "engine = \"promql\"\n[remote]\nurl = \"http://h:1\"\n";
        for (text, said) in [
            ("checkpoint_seconds = 0", "[history] checkpoint_seconds = 0"),
            ("engine = \"promql\"", "[history] engine"),
            ("[remote]\nurl = \"http://h:1\"", "[history.remote]"),
            (
                "engine = \"promql\"\n[remote]\nurl = \"h:1\"",
                "[history.remote] url",
            ),
            (&format!("{promql}spool_max_bytes = 5"), "spool_max_bytes = 5"),
            (&format!("{promql}body_bytes = 5"), "body_bytes = 5"),
            (&format!("{promql}timeout_seconds = 0"), "timeout_seconds = 0"),
            (&format!("{promql}bucket = \"b\""), "[history.remote] bucket"),
            (&format!("{promql}metric = \"x\""), "[history.remote] metric"),
            (&format!("{promql}tenant = \"a/b\""), "[history.remote] tenant"),
            (
                &format!("{promql}token_env = \"ONEMAP_NO_SUCH\""),
                "ONEMAP_NO_SUCH",
            ),
            (&format!("{promql}token_file = \"/no/such\""), "/no/such"),
            (&format!("{promql}embedded_days = 0"), "embedded_days = 0"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn influxdb_is_told_how_to_be_built_in_or_what_it_needs() {
        let with = |more: &str| {
            read(&format!(
                "engine = \"influxdb2\"\n[remote]\nurl = \"http://h:1\"\n{more}"
            ))
        };
        if !cfg!(feature = "influxdb2") {
            let error = with("org = \"city\"").unwrap_err().to_string();
            assert!(
                error.contains("cargo build --release --locked --features influxdb2"),
                "{error}"
            );
            return;
        }
        for (more, said) in [
            ("", "[history.remote] org"),
            ("preset = \"greptimedb\"", "[history.remote] preset"),
        ] {
            let error = with(more).unwrap_err().to_string();
            assert!(error.contains(said), "{more}: {error}");
        }
        let engine = with("org = \"the city\"\nbucket = \"b\"")
            .unwrap()
            .remote
            .unwrap()
            .engine;
        assert_eq!(
            engine.paths.write,
            "/api/v2/write?bucket=b&org=the%20city&precision=ms"
        );
        assert!(engine.upserts && engine.by_crate && engine.ack == Ack::Durable);
    }
}
