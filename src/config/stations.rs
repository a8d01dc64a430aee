//! `[hj212]`, `[sl651]`, `[gbt26875]`: servers of field stations.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use onemap_ingest::downlink::CallRules;
use onemap_ingest::station::{Limits, StationConfig};
use serde::Deserialize;

use crate::resend::Asking;

/// A station server as meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StationPart {
    /// Its listener.
    pub(crate) server: StationConfig,
    /// How requests are sent.
    pub(crate) calls: CallRules,
    /// What is asked for by itself.
    pub(crate) resend: Asking,
    /// Where the keys of stations that encrypt stand.
    pub(crate) keys_file: Option<PathBuf>,
}

/// A server whose stations are sent requests, and owe nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CalledPart {
    /// Its listener.
    pub(crate) server: StationConfig,
    /// How requests are sent.
    pub(crate) calls: CallRules,
}

/// A section of a station protocol. Without it nothing listens.
#[derive(Clone, Debug, Deserialize)]
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
    max_segment_bytes: Option<usize>,
    /// Stations of one connection (a data collector's). Default 1000.
    max_stations: usize,
    /// Seconds that a connection may be silent. Default 7200.
    idle_seconds: u64,
    /// Seconds that the rest of a frame may take. Default 10.
    frame_seconds: u64,
    /// Seconds a station may take to accept what is written to it. Default 10.
    write_seconds: u64,
    /// Seconds that the receipt of a request (9011), or the answer to a question (SL 651), is waited for. Default 10.
    answer_seconds: Option<u64>,
    /// How often a request without it is sent again before its connection is given up (HJ 212), or before it waits for the
    /// station's next session (SL 651). Default 3 and 2, the standards'.
    repeats: Option<u32>,
    /// How many hours back a connected station is asked for hours that are missing. 0: it is not asked. Default 72.
    resend_hours: Option<u32>,
    /// Seconds after its arrival before it is asked; many send their backlog by themselves. Default 60.
    resend_after_seconds: Option<u64>,
    /// SL 651: seconds that a message in packets waits for the next one. Default 600.
    packet_seconds: Option<u64>,
    /// SL 651: datagrams (UDP) to the same port are served, too. Default false.
    udp: Option<bool>,
    /// File with the SM4 keys of stations that encrypt (HJ 212-2025): TOML, `MN = "key"` or `MN = ["new", "former"]`, a key
    /// being 32 hexadecimal digits or 16 characters. Nobody but its owner may read it (mode 0600). Read again when it has
    /// changed and on SIGHUP. Default: none.
    keys_file: Option<PathBuf>,
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
            max_segment_bytes: None,
            max_stations: limits.stations,
            idle_seconds: 7200,
            frame_seconds: 10,
            write_seconds: 10,
            answer_seconds: None,
            repeats: None,
            resend_hours: None,
            resend_after_seconds: None,
            packet_seconds: None,
            udp: None,
            keys_file: None,
        }
    }
}

impl Station {
    /// Checks the section of HJ 212.
    pub(super) fn check(&self, section: &str, folder: &Path) -> Result<StationPart> {
        self.only_hydrological(section)?;
        let mut server = self.server(section)?;
        let segment_bytes = self.max_segment_bytes.unwrap_or(server.limits.segment_bytes);
        ensure!(
            (1024..=9999).contains(&segment_bytes),
            "[{section}] max_segment_bytes = {segment_bytes}: between 1024, the standard's, and 9999, what four digits say"
        );
        server.limits.segment_bytes = segment_bytes;
        let part = self.part(section, server, CallRules::HJ212)?;
        Ok(StationPart {
            keys_file: self.keys_file.as_ref().map(|file| folder.join(file)),
            ..part
        })
    }

    /// Checks the section of SL 651.
    pub(super) fn check_sl651(&self) -> Result<StationPart> {
        let section = "sl651";
        let keys = [
            ("max_segment_bytes", self.max_segment_bytes.is_some()),
            ("keys_file", self.keys_file.is_some()),
        ];
        only(section, "[hj212]", &keys)?;
        let mut server = self.server(section)?;
        let packet_seconds = self.packet_seconds.unwrap_or(server.packet_timeout.as_secs());
        ensure!(
            (1..=86_400).contains(&packet_seconds),
            "[{section}] packet_seconds = {packet_seconds}: between 1 and 86400"
        );
        server.packet_timeout = Duration::from_secs(packet_seconds);
        server.udp = self.udp.unwrap_or(false);
        self.part(section, server, CallRules::SL651)
    }

    fn only_hydrological(&self, section: &str) -> Result<()> {
        let keys = [
            ("packet_seconds", self.packet_seconds.is_some()),
            ("udp", self.udp.is_some()),
        ];
        only(section, "[sl651]", &keys)
    }

    fn part(&self, section: &str, server: StationConfig, calls: CallRules) -> Result<StationPart> {
        let calls = self.calls(section, calls)?;
        let resend_hours = self.resend_hours.unwrap_or(72);
        ensure!(
            resend_hours <= 24 * 39,
            "[{section}] resend_hours = {resend_hours}: at most 936, the 39 days that the gap ledger keeps"
        );
        Ok(StationPart {
            server,
            calls,
            resend: Asking {
                after: Duration::from_secs(self.resend_after_seconds.unwrap_or(60)),
                window: Duration::from_secs(u64::from(resend_hours) * 3600),
            },
            keys_file: None,
        })
    }

    fn calls(&self, section: &str, calls: CallRules) -> Result<CallRules> {
        let answer_seconds = self.answer_seconds.unwrap_or(calls.answer.as_secs());
        ensure!(
            (1..=3600).contains(&answer_seconds),
            "[{section}] answer_seconds = {answer_seconds}: between 1 and 3600"
        );
        let repeats = self.repeats.unwrap_or(calls.repeats);
        ensure!(repeats <= 100, "[{section}] repeats = {repeats}: at most 100");
        Ok(CallRules {
            answer: Duration::from_secs(answer_seconds),
            repeats,
            ..calls
        })
    }

    /// Checks the section of a protocol whose stations are sent requests.
    pub(super) fn check_called(&self, section: &str) -> Result<CalledPart> {
        let calls = self.calls(section, CallRules::HJ212)?;
        let plain = Self {
            answer_seconds: None,
            repeats: None,
            ..self.clone()
        };
        Ok(CalledPart {
            server: plain.check_plain(section)?,
            calls,
        })
    }

    /// Checks the section of a protocol that has the listener's keys only.
    pub(super) fn check_plain(&self, section: &str) -> Result<StationConfig> {
        only(
            section,
            "[hj212]",
            &[
                ("max_segment_bytes", self.max_segment_bytes.is_some()),
                ("keys_file", self.keys_file.is_some()),
            ],
        )?;
        self.only_hydrological(section)?;
        let requests = [
            ("answer_seconds", self.answer_seconds.is_some()),
            ("repeats", self.repeats.is_some()),
            ("resend_hours", self.resend_hours.is_some()),
            ("resend_after_seconds", self.resend_after_seconds.is_some()),
        ];
        only(section, "[hj212] and [sl651]", &requests)?;
        self.server(section)
    }

    fn server(&self, section: &str) -> Result<StationConfig> {
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

/// Refuses keys that other sections have.
fn only(section: &str, others: &str, keys: &[(&str, bool)]) -> Result<()> {
    for (key, is_stated) in keys {
        ensure!(!is_stated, "[{section}] {key}: only {others} can have it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<StationPart> {
        toml::from_str::<Station>(text)?.check("hj212", Path::new("etc"))
    }

    #[test]
    fn an_address_is_enough_and_what_cannot_work_is_refused_by_its_key() {
        let part = read("listen = \"127.0.0.1:0\"").unwrap();
        assert_eq!(part.server, StationConfig::new(part.server.listen));
        assert_eq!(part.calls, CallRules::HJ212);
        for (more, part) in [
            ("max_connections = 0", "[hj212] max_connections"),
            ("max_segment_bytes = 10000", "[hj212] max_segment_bytes = 10000"),
            ("idle_seconds = 0", "[hj212] idle_seconds"),
            ("connects_burst = 0", "[hj212] connects_burst"),
            ("answer_seconds = 0", "[hj212] answer_seconds"),
            ("resend_hours = 1000", "[hj212] resend_hours"),
            ("colour = 1", "colour"),
        ] {
            let error = read(&format!("listen = \"127.0.0.1:0\"\n{more}")).unwrap_err();
            assert!(error.to_string().contains(part), "{more}: {error}");
        }
        assert!(read("").unwrap_err().to_string().contains("listen is missing"));
        let plain = |text| toml::from_str::<Station>(text).unwrap().check_plain("sl651");
        assert!(plain("listen = \"127.0.0.1:0\"").is_ok());
        let error = plain("listen = \"127.0.0.1:0\"\nrepeats = 1").unwrap_err();
        assert!(error.to_string().contains("only [hj212] and [sl651] can have it"));
        let called = |text| toml::from_str::<Station>(text).unwrap().check_called("gbt26875");
        assert_eq!(
            called("listen = \"127.0.0.1:0\"\nrepeats = 1")
                .unwrap()
                .calls
                .repeats,
            1
        );
        let error = called("listen = \"127.0.0.1:0\"\nresend_hours = 1").unwrap_err();
        assert!(error.to_string().contains("only [hj212] and [sl651] can have it"));
        let hydrological = |more| {
            let text = format!("listen = \"127.0.0.1:0\"\n{more}");
            toml::from_str::<Station>(&text).unwrap().check_sl651()
        };
        let part = hydrological("packet_seconds = 5\nrepeats = 1").unwrap();
        assert_eq!(part.server.packet_timeout, Duration::from_secs(5));
        assert_eq!(
            part.calls,
            CallRules {
                repeats: 1,
                ..CallRules::SL651
            }
        );
        let error = hydrological("max_segment_bytes = 2000").unwrap_err();
        assert!(error.to_string().contains("only [hj212] can have it"));
        assert!(hydrological("packet_seconds = 0").is_err());
        assert!(hydrological("keys_file = \"keys\"").is_err());
        assert!(read("listen = \"127.0.0.1:0\"\npacket_seconds = 5").is_err());
        assert!(plain("listen = \"127.0.0.1:0\"\nudp = true").is_err());
        assert!(hydrological("udp = true").unwrap().server.udp);
    }
}
