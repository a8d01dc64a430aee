//! `[security.syslog]`: where security events are sent.

use anyhow::{Result, ensure};
use serde::Deserialize;

/// `[security]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Security {
    /// A collector of syslog. Default none.
    syslog: Option<Syslog>,
}

/// How messages go to a collector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// Datagrams (RFC 5426): what gets lost is lost.
    #[default]
    Udp,
    /// A connection (RFC 6587, octets counted), made again when it breaks.
    Tcp,
}

/// `[security.syslog]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Syslog {
    /// `host:port` of the collector.
    pub(crate) address: String,
    /// `udp` or `tcp`. Default `udp`.
    #[serde(default)]
    pub(crate) transport: Transport,
    /// The name of this machine in messages. Default its own.
    pub(crate) hostname: Option<String>,
}

impl Security {
    pub(super) fn checked(self) -> Result<Option<Syslog>> {
        let Some(syslog) = self.syslog else {
            return Ok(None);
        };
        let port = syslog
            .address
            .rsplit_once(':')
            .filter(|(host, _)| !host.is_empty());
        ensure!(
            port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0)),
            "[security.syslog] address = \"{}\": host:port is wanted",
            syslog.address
        );
        Ok(Some(syslog))
    }
}
