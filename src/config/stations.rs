//! `[hj212]`: a server of field stations.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use onemap_ingest::station::{Limits, StationConfig};
use serde::Deserialize;

/// A section of a station protocol. Without it nothing listens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Station {
    /// Address of the server; port 0 takes a free one. No default.
    listen: Option<SocketAddr>,
    /// Connections at once that have shown a station; one more is closed. Default 10000.
    max_connections: usize,
    /// Connections at once of one address (IPv4 address or IPv6 /64); one more is closed. Default 0: no limit, because
    /// many stations may stand behind one address.
    max_connections_per_address: usize,
    /// New connections a second of one address; faster ones are closed and counted as `rate_limited`. 0: no limit.
    /// Default 100.
    connects_per_second: u32,
    /// New connections that one address may make at once. Default 10000.
    connects_burst: u32,
    /// Connections at once that have not shown a station. Default 4096.
    max_strangers: usize,
    /// Frames a second of one connection; a faster one is not read until they are due. 0: no limit. Default 2000.
    frames_per_second: u32,
    /// Largest data segment in bytes; a larger one is refused as `over_size`. Default 8192.
    max_segment_bytes: usize,
    /// Stations of one connection (a data collector's). Default 1000.
    max_stations: usize,
    /// Seconds that a connection may be silent. Default 7200.
    idle_seconds: u64,
    /// Seconds that the rest of a frame may take. Default 10.
    frame_seconds: u64,
    /// Seconds a station may take to accept what is written to it. Default 10.
    write_seconds: u64,
}

impl Default for Station {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            listen: None,
            max_connections: limits.connections,
            max_connections_per_address: limits.per_address,
            connects_per_second: limits.connects_per_second,
            connects_burst: limits.connects_burst,
            max_strangers: limits.strangers,
            frames_per_second: limits.frames_per_second,
            max_segment_bytes: limits.segment_bytes,
            max_stations: limits.stations,
            idle_seconds: 7200,
            frame_seconds: 10,
            write_seconds: 10,
        }
    }
}

impl Station {
    /// Checks the section of this name.
    pub(super) fn check(&self, section: &str) -> Result<StationConfig> {
        let listen = self
            .listen
            .with_context(|| format!("[{section}] listen is missing"))?;
        for (key, n) in [
            ("max_connections", self.max_connections),
            ("max_strangers", self.max_strangers),
            ("max_stations", self.max_stations),
        ] {
            ensure!(n > 0, "[{section}] {key}: at least 1");
        }
        ensure!(
            self.connects_per_second == 0 || self.connects_burst > 0,
            "[{section}] connects_burst: at least 1"
        );
        ensure!(
            (1024..=9999).contains(&self.max_segment_bytes),
            "[{section}] max_segment_bytes = {}: between 1024, the standard's, and 9999, what four digits say",
            self.max_segment_bytes
        );
        for (key, seconds) in [
            ("idle_seconds", self.idle_seconds),
            ("frame_seconds", self.frame_seconds),
            ("write_seconds", self.write_seconds),
        ] {
            ensure!(
                (1..=604_800).contains(&seconds),
                "[{section}] {key} = {seconds}: between 1 and 604800"
            );
        }
        Ok(StationConfig {
            limits: Limits {
                connections: self.max_connections,
                per_address: self.max_connections_per_address,
                connects_per_second: self.connects_per_second,
                connects_burst: self.connects_burst,
                strangers: self.max_strangers,
                frames_per_second: self.frames_per_second,
                segment_bytes: self.max_segment_bytes,
                stations: self.max_stations,
                ..Limits::default()
            },
            idle_limit: Duration::from_secs(self.idle_seconds),
            frame_timeout: Duration::from_secs(self.frame_seconds),
            write_timeout: Duration::from_secs(self.write_seconds),
            ..StationConfig::new(listen)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<StationConfig> {
        toml::from_str::<Station>(text)?.check("hj212")
    }

    #[test]
    fn an_address_is_enough_and_what_cannot_work_is_refused_by_its_key() {
        let config = read("listen = \"127.0.0.1:0\"").unwrap();
        assert_eq!(config, StationConfig::new(config.listen));
        for (more, part) in [
            ("max_connections = 0", "[hj212] max_connections"),
            ("max_segment_bytes = 10000", "[hj212] max_segment_bytes = 10000"),
            ("idle_seconds = 0", "[hj212] idle_seconds"),
            ("connects_burst = 0", "[hj212] connects_burst"),
            ("colour = 1", "colour"),
        ] {
            let error = read(&format!("listen = \"127.0.0.1:0\"\n{more}")).unwrap_err();
            assert!(error.to_string().contains(part), "{more}: {error}");
        }
        assert!(read("").unwrap_err().to_string().contains("listen is missing"));
    }
}
