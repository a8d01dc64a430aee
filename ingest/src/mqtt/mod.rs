//! The MQTT 3.1.1 front end: every publish is in the journal before it is acknowledged.
//!
//! Framing and the rarer packets are rumqttd's codec; listener, connections, sessions and
//! acknowledgements are our own, because a broker's PUBACK says "routed" and ours says "durable".
//! One task a connection; back-pressure is not reading the socket.

mod acl;
mod certificate;
mod connection;
mod deny;
pub(crate) mod gate;
mod handshake;
mod keep;
mod packet;
mod provision;
pub(crate) mod room;
mod server;
mod session;
mod snapshot;
pub(crate) mod strangers;
mod sys;
mod tls;
mod topics;
mod transport;
pub mod websocket;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use onemap_model::DeviceId;

pub use acl::{Acl, AclEntry, Who};
pub use certificate::Identity;
pub use deny::{DenyError, DenyList};
pub use provision::Provision;
pub use server::{Addresses, BindError, MqttServer};
pub use session::Sessions;
pub use tls::{Certificates, TlsError};

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

    /// The device that one of these names of a verified client certificate is the id of; the first that is.
    /// Called once a connection, on the runtime: must not block.
    fn certificate(&self, names: &[String]) -> Option<Holder>;

    /// What tells this token from the device's others, to end its connections when it ends; 0 is none of
    /// them, and its connections end with the device only.
    fn credential(&self, token: &str) -> u64 {
        let _ = token;
        0
    }
}

/// How many may come in; 0 stands for no limit where it is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most authenticated connections at a time (25,000); further ones get CONNACK 3.
    pub connections: usize,
    /// Most connections of one address, or IPv6 /64, at a time (0); further ones get CONNACK 3.
    pub per_address: usize,
    /// Most connections of one device at a time (64); further ones get CONNACK 3.
    pub per_device: usize,
    /// New connections a second of one address (1000); faster ones are closed without a word. 0: any.
    pub connects_per_second: u32,
    /// New connections that an address may make at once (10,000).
    pub connects_burst: u32,
    /// Connections of one listener that have not said who they are (4096).
    pub strangers: usize,
    /// TLS handshakes at a time (512).
    pub tls_handshakes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 25_000,
            per_address: 0,
            per_device: 64,
            connects_per_second: 1000,
            connects_burst: 10_000,
            strangers: 4096,
            tls_handshakes: 512,
        }
    }
}

/// Whether clients show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    None,
    /// With one they need no token; without one they do.
    Optional,
    /// Without one no handshake succeeds.
    Required,
}

/// TLS, for its own listener and for WebSockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// Where to listen for MQTT over TLS; `None` when only WebSockets use it.
    pub listen: Option<SocketAddr>,
    /// The server's certificate chain, PEM.
    pub cert_file: PathBuf,
    /// Its private key, PEM.
    pub key_file: PathBuf,
    /// CAs that sign client certificates, PEM; all of the file.
    pub client_ca_file: Option<PathBuf>,
    /// Whether clients show a certificate.
    pub client_auth: ClientAuth,
    /// Certificates that are not let in, see [`DenyList`].
    pub deny_file: Option<PathBuf>,
    /// How long a handshake may take (10 s).
    pub handshake_timeout: Duration,
}

/// MQTT over WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocketConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// With the certificate of [`MqttConfig::tls`].
    pub tls: bool,
    /// Origins of pages of other hosts that may connect, such as `https://desk.example`; `*` for all.
    pub origins: Vec<String>,
}

/// What the front end is told. [`MqttConfig::new`] gives the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How many may come in.
    pub limits: Limits,
    /// TLS, when it is served.
    pub tls: Option<TlsConfig>,
    /// WebSocket, when it is served.
    pub websocket: Option<WebSocketConfig>,
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
    /// Clients without a user name come in (false), with the topics that `acl` gives them.
    pub allow_anonymous: bool,
    /// Topics beyond a device's own (none).
    pub acl: Acl,
    /// Most messages that wait for one session that is away (1,000); the oldest go and are counted.
    pub max_queued_messages: usize,
    /// Most payload bytes that wait in all sessions together (256 MiB).
    pub max_queued_bytes: usize,
    /// How long a session may be away before it ends (168 h).
    pub session_expiry: Duration,
}

impl MqttConfig {
    /// The defaults for an address.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            limits: Limits::default(),
            tls: None,
            websocket: None,
            max_packet_bytes: 256 << 10,
            max_unacked_bytes: 1 << 20,
            write_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(5),
            idle_limit: Duration::from_secs(2 * 3600),
            stop_timeout: Duration::from_secs(4),
            allow_anonymous: false,
            acl: Acl::default(),
            max_queued_messages: 1000,
            max_queued_bytes: 256 << 20,
            session_expiry: Duration::from_secs(168 * 3600),
        }
    }
}
