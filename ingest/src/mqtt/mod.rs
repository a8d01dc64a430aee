//! The MQTT 3.1.1 front end: every publish is in the journal before it is acknowledged.
//!
//! Framing and the rarer packets are rumqttd's codec; listener, connections, sessions and
//! acknowledgements are our own, because a broker's PUBACK says "routed" and ours says "durable".
//! One task a connection; back-pressure is not reading the socket.

mod connection;
mod handshake;
mod packet;
mod server;
mod session;
mod strangers;
mod topics;
mod transport;

use std::net::SocketAddr;
use std::time::Duration;

use onemap_model::DeviceId;

pub use server::MqttServer;

/// Who may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The device.
    pub device: DeviceId,
    /// It may speak for others, on the gateway's topics.
    pub is_gateway: bool,
}

/// Who a token belongs to.
pub trait Auth: Send + Sync {
    /// The device that holds this token. Called once a connection, on the runtime: must not block.
    fn device(&self, token: &str) -> Option<Holder>;
}

/// What the front end is told. [`MqttConfig::new`] gives the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Most connections at a time (10,000); further ones get CONNACK 3.
    pub max_connections: usize,
    /// Largest packet after its fixed header (256 KiB); a larger one closes its connection.
    pub max_packet_bytes: usize,
    /// Most bytes of one connection that are appended and not yet durable (1 MiB); beyond it the
    /// socket is not read.
    pub max_unacked_bytes: usize,
    /// How long a client may take to accept what is written to it (10 s).
    pub write_timeout: Duration,
    /// How long a client may take to say CONNECT (5 s).
    pub handshake_timeout: Duration,
    /// How long a client without keep-alive may be silent (2 h).
    pub idle_limit: Duration,
    /// How long a stop waits for the last acknowledgements (4 s).
    pub stop_timeout: Duration,
}

impl MqttConfig {
    /// The defaults for an address.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            max_connections: 10_000,
            max_packet_bytes: 256 << 10,
            max_unacked_bytes: 1 << 20,
            write_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(5),
            idle_limit: Duration::from_secs(2 * 3600),
            stop_timeout: Duration::from_secs(4),
        }
    }
}
