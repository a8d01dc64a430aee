//! How an engine is reached, called and asked.

use std::path::PathBuf;
use std::time::Duration;

use super::Endpoint;
use crate::engine::{Ack, Caps, Deletes};

/// What an engine is asked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// PromQL over HTTP: VictoriaMetrics, GreptimeDB.
    PromQl,
    /// Flux: InfluxDB 2.
    Flux,
    /// InfluxQL: InfluxDB 1 and 2.
    InfluxQl,
}

/// Paths below the engine's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Takes line protocol, its query included (`/write?precision=ms`).
    pub write: String,
    /// What comes before `/api/v1/query` for PromQL; the whole path for Flux and InfluxQL.
    pub query: String,
    /// Answers 200 while the engine lives.
    pub health: String,
    /// Its metrics say when it started, so that a new connection to the same run is told from a restart.
    /// Without it each new connection counts as a restart.
    pub started: Option<String>,
    /// Takes series out, for PromQL engines that can.
    pub delete: Option<String>,
}

/// What a field of a measurement is called in PromQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    /// With `{measurement}` and `{field}`. VictoriaMetrics: `{measurement}_{field}`.
    pub metric: String,
    /// The label that holds the field where the name does not. GreptimeDB: `__field__`.
    pub field_label: Option<String>,
}

impl Default for Naming {
    /// That of VictoriaMetrics.
    fn default() -> Self {
        Self {
            metric: "{measurement}_{field}".to_owned(),
            field_label: None,
        }
    }
}

/// A secret; it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// One engine, as meant.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// Its language.
    pub dialect: Dialect,
    /// Where it is written to.
    pub writes: Endpoint,
    /// Where it is asked; of a cluster another address.
    pub reads: Endpoint,
    /// Paths.
    pub paths: Paths,
    /// Names in PromQL.
    pub naming: Naming,
    /// Bucket of InfluxDB 2, database of InfluxQL.
    pub bucket: String,
    /// Organisation of InfluxDB 2.
    pub org: String,
    /// The address as written, for clients that take it whole.
    pub url: String,
    /// The token by itself, for clients that take it.
    pub token: Option<Secret>,
    /// Written through the crate `influxdb2`.
    pub by_crate: bool,
    /// A newer value for a time replaces the older one.
    pub upserts: bool,
    /// What its acknowledgement means.
    pub ack: Ack,
    /// How old a point may be; older ones are not sent.
    pub oldest: Option<Duration>,
    /// How long a point stays in the spool after the engine's acknowledgement.
    pub release_after: Duration,
    /// Most bytes of one body, before gzip.
    pub body_bytes: usize,
    /// Bodies are compressed.
    pub gzip: bool,
    /// The spool's folder.
    pub spool_dir: PathBuf,
    /// Most bytes of the spool.
    pub spool_bytes: u64,
    /// Bytes of the disk that the spool leaves free.
    pub reserve_bytes: u64,
}

impl RemoteConfig {
    /// How the engine differs from others.
    pub fn caps(&self) -> Caps {
        let is_promql = self.dialect == Dialect::PromQl;
        Caps {
            engine: match self.dialect {
                Dialect::PromQl => "the PromQL engine",
                Dialect::Flux | Dialect::InfluxQl => "InfluxDB",
            },
            ack: self.ack,
            upserts: self.upserts,
            texts: !is_promql,
            versions: false,
            deletes: match (is_promql, &self.paths.delete) {
                (false, _) => Deletes::Spans,
                (true, Some(_)) => Deletes::Series,
                (true, None) => Deletes::Nothing,
            },
            oldest: self.oldest,
        }
    }
}
