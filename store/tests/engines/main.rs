//! Every engine of history by the same rules: the embedded one, VictoriaMetrics and InfluxDB as their real servers.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "tests stop at the first surprise"
)]

mod conformance;
mod embedded;
mod influx;
mod oracle;
mod replay;
mod server;
mod shim;
mod victoria;
