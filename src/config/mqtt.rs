//! `[mqtt]`, `[[mqtt.acl]]`, `[mqtt.tls]`, `[mqtt.websocket]`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use onemap_ingest::MqttConfig;
use onemap_ingest::mqtt::{Acl, AclEntry, ClientAuth, Limits, TlsConfig, WebSocketConfig, Who};
use serde::Deserialize;

/// `[mqtt]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Mqtt {
    /// Address of the MQTT 3.1.1 front end. Default `127.0.0.1:1883`.
    listen: SocketAddr,
    /// Authenticated connections at once; one more is answered with CONNACK code 3. Default 25000, less
    /// where the limit of open files is lower.
    max_connections: usize,
    /// Connections at once of one address (IPv4 address or IPv6 /64); one more is answered with CONNACK
    /// code 3. Default 0: no limit, because many devices may stand behind one address.
    max_connections_per_address: usize,
    /// Connections at once of one device; one more is answered with CONNACK code 3. 0: no limit. Default 64.
    max_connections_per_device: usize,
    /// New connections a second of one address; faster ones are closed and counted as `rate_limited`.
    /// 0: no limit. Default 1000.
    connects_per_second: u32,
    /// New connections that one address may make at once. Default 10000.
    connects_burst: u32,
    /// Connections at once of one listener that have not said CONNECT. Default 4096.
    max_strangers: usize,
    /// Seconds a client may take to say CONNECT. Default 5.
    connect_seconds: u64,
    /// Seconds a client may take to accept what is written to it. Default 10.
    write_seconds: u64,
    /// Seconds a client without keep-alive may be silent. Default 7200.
    idle_seconds: u64,
    /// Largest MQTT packet in bytes; a larger one closes its connection. Default 256 KiB.
    max_packet_bytes: usize,
    /// Clients without a user name come in, with the topics that `acl` gives them. Default false.
    allow_anonymous: bool,
    /// Topics for anonymous clients, and more topics for devices than their own. Default none.
    acl: Vec<AclFile>,
    /// Messages of QoS 1 and 2 that wait for one session that is away; beyond it, and beyond 4 MiB, the
    /// oldest go and are counted as `queue_full`. Default 1000.
    max_queued_messages: usize,
    /// Payload bytes that wait in all sessions together. Default 256 MiB.
    max_queued_bytes: usize,
    /// Hours a session may be away before it ends. Default 168.
    session_expiry_hours: u64,
    /// MQTT over TLS. Default none.
    tls: Option<Tls>,
    /// MQTT over WebSocket. Default none.
    websocket: Option<WebSocket>,
}

impl Default for Mqtt {
    fn default() -> Self {
        let Limits {
            connections,
            per_address,
            per_device,
            connects_per_second,
            connects_burst,
            strangers,
            tls_handshakes: _,
        } = Limits::default();
        Self {
            listen: ([127, 0, 0, 1], 1883).into(),
            max_connections: connections,
            max_connections_per_address: per_address,
            max_connections_per_device: per_device,
            connects_per_second,
            connects_burst,
            max_strangers: strangers,
            connect_seconds: 5,
            write_seconds: 10,
            idle_seconds: 7200,
            max_packet_bytes: 256 << 10,
            allow_anonymous: false,
            acl: Vec::new(),
            max_queued_messages: 1000,
            max_queued_bytes: 256 << 20,
            session_expiry_hours: 168,
            tls: None,
            websocket: None,
        }
    }
}

/// `[[mqtt.acl]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AclFile {
    /// `anonymous`, `devices` (every device with a token) or `device:NAME`.
    who: String,
    /// Filters of topics that may be published to. Default none.
    #[serde(default)]
    publish: Vec<String>,
    /// Filters that may be subscribed, and whatever is narrower. Default none.
    #[serde(default)]
    subscribe: Vec<String>,
    /// Filters of topics that may not be published to. Default none.
    #[serde(default)]
    deny_publish: Vec<String>,
    /// Filters that may not be subscribed and whose topics no wider filter brings. Default none.
    #[serde(default)]
    deny_subscribe: Vec<String>,
}

impl AclFile {
    fn check(self) -> Result<AclEntry> {
        let who = match self.who.as_str() {
            "anonymous" => Who::Anonymous,
            "devices" => Who::Devices,
            other => match other.strip_prefix("device:") {
                Some(name) if onemap_model::DeviceId::new(name).is_ok() => Who::Device(name.to_owned()),
                _ => anyhow::bail!("[[mqtt.acl]] who = \"{other}\": `anonymous`, `devices` or `device:NAME`"),
            },
        };
        Ok(AclEntry {
            who,
            publish: self.publish,
            subscribe: self.subscribe,
            deny_publish: self.deny_publish,
            deny_subscribe: self.deny_subscribe,
        })
    }
}

/// `[mqtt.tls]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tls {
    /// Address of MQTT over TLS. Without it the certificate serves WebSockets only.
    #[serde(default)]
    listen: Option<SocketAddr>,
    /// The server's certificate and those between it and its CA, PEM.
    cert_file: PathBuf,
    /// The private key of the first certificate, PEM.
    key_file: PathBuf,
    /// CAs that sign client certificates, PEM; every one of the file counts.
    #[serde(default)]
    client_ca_file: Option<PathBuf>,
    /// `none`, `optional` (a token does as well) or `required`. Default `none`.
    #[serde(default)]
    client_auth: Auth,
    /// SHA-256 fingerprints or serial numbers of certificates that are not let in, one a line.
    #[serde(default)]
    deny_file: Option<PathBuf>,
    /// Seconds a handshake may take. Default 10.
    #[serde(default = "ten")]
    handshake_timeout: u64,
    /// Handshakes at once; further ones wait, and for them the oldest that does not come forward goes.
    /// Default 512.
    #[serde(default = "handshakes")]
    max_handshakes: usize,
}

fn ten() -> u64 {
    10
}

fn handshakes() -> usize {
    Limits::default().tls_handshakes
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Auth {
    #[default]
    None,
    Optional,
    Required,
}

/// `[mqtt.websocket]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WebSocket {
    /// Address of MQTT over WebSocket; its path is `/mqtt`.
    listen: SocketAddr,
    /// With TLS and the certificate of `[mqtt.tls]`. Default false.
    #[serde(default)]
    tls: bool,
    /// Origins of pages of other hosts that may connect, such as `https://desk.example`. Default none:
    /// only pages of this host.
    #[serde(default)]
    origins: Vec<String>,
}

impl Mqtt {
    /// Devices that entries of `acl` name.
    pub(super) fn acl_devices(&self) -> Vec<String> {
        let named = self
            .acl
            .iter()
            .filter_map(|entry| entry.who.strip_prefix("device:"));
        named.map(str::to_owned).collect()
    }
    /// Relative paths start at `folder`.
    pub(super) fn check(self, folder: &Path) -> Result<MqttConfig> {
        ensure!(self.max_connections > 0, "[mqtt] max_connections: at least 1");
        ensure!(self.max_strangers > 0, "[mqtt] max_strangers: at least 1");
        ensure!(
            self.connects_per_second == 0 || self.connects_burst > 0,
            "[mqtt] connects_burst: at least 1"
        );
        ensure!(
            (1024..=16 << 20).contains(&self.max_packet_bytes),
            "[mqtt] max_packet_bytes = {}: between 1 KiB and 16 MiB",
            self.max_packet_bytes
        );
        for (key, seconds) in [
            ("connect_seconds", self.connect_seconds),
            ("write_seconds", self.write_seconds),
            ("idle_seconds", self.idle_seconds),
        ] {
            ensure!(
                (1..=604_800).contains(&seconds),
                "[mqtt] {key} = {seconds}: between 1 and 604800"
            );
        }
        ensure!(
            self.max_queued_messages > 0,
            "[mqtt] max_queued_messages: at least 1"
        );
        ensure!(
            (1..=87_600).contains(&self.session_expiry_hours),
            "[mqtt] session_expiry_hours = {}: between 1 and 87600",
            self.session_expiry_hours
        );
        let entries = self.acl.into_iter().map(AclFile::check);
        let acl = Acl::new(entries.collect::<Result<_>>()?)
            .map_err(|bad| anyhow::anyhow!("[[mqtt.acl]] `{bad}` is not a topic filter"))?;
        let tls_handshakes = self
            .tls
            .as_ref()
            .map_or_else(handshakes, |tls| tls.max_handshakes);
        let tls = self.tls.map(|tls| tls.check(folder)).transpose()?;
        if let Some(websocket) = &self.websocket {
            ensure!(
                !websocket.tls || tls.is_some(),
                "[mqtt.websocket] tls = true needs the certificate of [mqtt.tls]"
            );
            for origin in &websocket.origins {
                ensure!(
                    origin == "*" || (origin.contains("://") && !origin.ends_with('/')),
                    "[mqtt.websocket] origins: `{origin}` is not an origin such as `https://desk.example`"
                );
            }
        }
        Ok(MqttConfig {
            limits: Limits {
                connections: self.max_connections,
                per_address: self.max_connections_per_address,
                per_device: self.max_connections_per_device,
                connects_per_second: self.connects_per_second,
                connects_burst: self.connects_burst,
                strangers: self.max_strangers,
                tls_handshakes,
            },
            tls,
            websocket: self.websocket.map(|websocket| WebSocketConfig {
                listen: websocket.listen,
                tls: websocket.tls,
                origins: websocket.origins,
            }),
            max_packet_bytes: self.max_packet_bytes,
            allow_anonymous: self.allow_anonymous,
            acl,
            max_queued_messages: self.max_queued_messages,
            max_queued_bytes: self.max_queued_bytes,
            session_expiry: Duration::from_secs(self.session_expiry_hours * 3600),
            write_timeout: Duration::from_secs(self.write_seconds),
            handshake_timeout: Duration::from_secs(self.connect_seconds),
            idle_limit: Duration::from_secs(self.idle_seconds),
            ..MqttConfig::new(self.listen)
        })
    }
}

impl Tls {
    fn check(self, folder: &Path) -> Result<TlsConfig> {
        ensure!(
            (1..=300).contains(&self.handshake_timeout),
            "[mqtt.tls] handshake_timeout = {}: between 1 and 300 seconds",
            self.handshake_timeout
        );
        ensure!(self.max_handshakes > 0, "[mqtt.tls] max_handshakes: at least 1");
        let client_auth = match self.client_auth {
            Auth::None => ClientAuth::None,
            Auth::Optional => ClientAuth::Optional,
            Auth::Required => ClientAuth::Required,
        };
        ensure!(
            client_auth == ClientAuth::None || self.client_ca_file.is_some(),
            "[mqtt.tls] client_auth needs a client_ca_file"
        );
        ensure!(
            client_auth != ClientAuth::None || self.deny_file.is_none(),
            "[mqtt.tls] deny_file denies client certificates, and client_auth = \"none\" asks for none"
        );
        Ok(TlsConfig {
            listen: self.listen,
            cert_file: folder.join(self.cert_file),
            key_file: folder.join(self.key_file),
            client_ca_file: self.client_ca_file.map(|file| folder.join(file)),
            client_auth,
            deny_file: self.deny_file.map(|file| folder.join(file)),
            handshake_timeout: Duration::from_secs(self.handshake_timeout),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<MqttConfig> {
        toml::from_str::<Mqtt>(text)?.check(Path::new(""))
    }

    #[test]
    fn the_defaults_let_twenty_thousand_devices_in() {
        let config = read("").unwrap();
        assert!(config.limits.connections >= 20_000);
        assert!(config.tls.is_none() && config.websocket.is_none());
        assert_eq!(config.limits, Limits::default());
    }

    #[test]
    fn the_conformance_configuration_lets_anonymous_clients_in_and_no_other_does() {
        let text = include_str!("../../config/conformance.toml");
        let file: toml::Table = toml::from_str(text).unwrap();
        let mqtt: Mqtt = file["mqtt"].clone().try_into().unwrap();
        let config = mqtt.check(Path::new("")).unwrap();
        assert!(config.allow_anonymous);
        assert!(!read("").unwrap().allow_anonymous);
    }

    #[test]
    fn tls_and_websocket_are_read() {
        let tls = "[tls]\nlisten = \"[::1]:0\"\ncert_file = \"c\"\nkey_file = \"k\"\nmax_handshakes = 7\n";
        let websocket = "[websocket]\nlisten = \"[::1]:0\"\ntls = true\norigins = [\"https://a\"]\n";
        let config = read(&format!("{tls}{websocket}")).unwrap();
        assert_eq!(config.tls.unwrap().handshake_timeout, Duration::from_secs(10));
        assert!(config.websocket.unwrap().tls);
        assert_eq!(config.limits.tls_handshakes, 7);
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let files = "[tls]\ncert_file = \"c\"\nkey_file = \"k\"\n";
        for text in [
            "max_packet_bytes = 10",
            "max_connections = 0",
            "connects_burst = 0",
            "write_seconds = 0",
            "max_queued_messages = 0",
            "session_expiry_hours = 0",
            "[[acl]]\nwho = \"somebody\"",
            "[[acl]]\nwho = \"device:a/b\"",
            "[[acl]]\nwho = \"anonymous\"\nsubscribe = [\"a#\"]",
            "[websocket]\nlisten = \"[::1]:0\"\ntls = true",
            "[websocket]\nlisten = \"[::1]:0\"\norigins = [\"desk\"]",
            "[tls]\ncert_file = \"c\"",
            &format!("{files}client_auth = \"required\""),
            &format!("{files}client_auth = \"perhaps\""),
            &format!("{files}deny_file = \"d\""),
            &format!("{files}handshake_timeout = 0"),
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
