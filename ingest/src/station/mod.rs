//! Field stations that speak frames over TCP, and UDP: what every protocol of them shares.
//!
//! A station is a registered device whose profile says its protocol. Frames are cut out of the stream, their sender
//! is looked up in the register, they go into the journal as they came, and only when they are durable does the
//! station get the answer that its standard has. What is no frame, and whom nobody knows, is refused by name and
//! kept. One module accepts, bounds and journals; a `Dialect` is what differs.

mod begun;
mod connection;
mod datagrams;
mod dialect;
mod gbt26875;
mod guesses;
mod hj212;
mod joining;
mod keys;
mod outbox;
mod packets;
mod peers;
mod server;
mod sl651;
mod stream;

use std::net::SocketAddr;
use std::time::Duration;

use onemap_model::{DeviceId, Refusal, Source};

use onemap_wire::sl651::reply::Mode;

use dialect::{Dialect, Intake};
pub use keys::StationKeys;
pub use packets::PACKETS;
pub use peers::{Heard, Peer, Peers, Seen, Speaks};
pub use server::{BindError, StationServer, Surroundings};

/// Bytes of a refused frame that are kept …
const KEPT_BYTES: usize = 4096;
/// … and of one that may be read again once something is known that is not in it: all of them.
const KEPT_WHOLE: usize = 16 << 10;

/// Who a station is.
pub trait Stations: Send + Sync {
    /// The device that a protocol's number and password are of. Called once a connection and station, on the
    /// runtime: must not block.
    ///
    /// # Errors
    /// Why it may not come in.
    fn station(&self, protocol: Source, number: &str, password: &str) -> Result<Admitted, Denied>;

    /// How an SL 651 station is to be answered now. Called for each of its frames, on the runtime: must not block.
    fn manner(&self, device: &DeviceId) -> Manner;
}

/// How an SL 651 station is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// Its mode.
    pub mode: Mode,
    /// How many commands wait for it.
    pub n_waiting: usize,
}

/// A station that may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The device.
    pub device: DeviceId,
    /// What tells its password from former ones, to end its connections when it ends; 0 where the protocol has none.
    pub credential: u64,
}

/// Why a station may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// No device has this number.
    #[error("no device of the register has this number")]
    Unknown,
    /// The device speaks something else.
    #[error("the device's profile is not of this protocol")]
    OtherProtocol,
    /// The register has another password.
    #[error("the password is not the one of the register")]
    WrongPassword,
    /// Its address has said too many wrong passwords lately; this one is not looked at.
    #[error("its address has said too many wrong passwords, this one is not looked at")]
    AddressGuesses,
    /// Too many wrong passwords were said of this number lately, from wherever; this one is not looked at.
    #[error("too many wrong passwords were said for this number, this one is not looked at")]
    StationGuesses,
    /// The register has no password: nobody comes in without one.
    #[error("the register has no password of this station")]
    NoPassword,
    /// Its password was revoked.
    #[error("its password was revoked")]
    Revoked,
    /// The connection carries as many stations as it may.
    #[error("its connection carries as many stations as it may")]
    TooMany,
    /// It is out of use.
    #[error("the device is retired")]
    Retired,
}

impl Denied {
    /// The name under which its frames are refused.
    pub fn refusal(self) -> Refusal {
        match self {
            Self::Unknown | Self::OtherProtocol => Refusal::UnknownDevice,
            Self::WrongPassword | Self::NoPassword => Refusal::WrongPassword,
            Self::AddressGuesses | Self::StationGuesses => Refusal::TooManyGuesses,
            Self::Revoked => Refusal::Revoked,
            Self::TooMany => Refusal::TooManyConnections,
            Self::Retired => Refusal::Retired,
        }
    }
    /// Whether the frame speaks of a device that the register has, as far as that was looked up.
    fn is_known(self) -> bool {
        !matches!(self, Self::Unknown | Self::AddressGuesses)
    }
}

/// How many may come in and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most connections that have shown a station (10,000); the next one is closed.
    pub connections: usize,
    /// Most connections of one address, or IPv6 /64 (0: any); the next one is closed.
    pub per_address: usize,
    /// New connections a second of one address (100); faster ones are closed. 0: any.
    pub connects_per_second: u32,
    /// New connections that an address may make at once (10,000).
    pub connects_burst: u32,
    /// Most connections that have not shown a station (4096).
    pub strangers: usize,
    /// Frames a second of one connection (2,000); a faster one is not read until its second is over. 0: any.
    pub frames_per_second: u32,
    /// Largest data segment of a frame in bytes (8,192).
    pub segment_bytes: usize,
    /// Most bytes of one connection that are appended and not durable (1 MiB); beyond it the socket is not read.
    pub unacked_bytes: usize,
    /// Most stations of one connection (1,000).
    pub stations: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            per_address: 0,
            connects_per_second: 100,
            connects_burst: 10_000,
            strangers: 4096,
            frames_per_second: 2000,
            segment_bytes: 8192,
            unacked_bytes: 1 << 20,
            stations: 1000,
        }
    }
}

/// What a station server is told. [`StationConfig::new`] gives the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StationConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether datagrams to the same port are served, too.
    pub udp: bool,
    /// How many may come in and how fast.
    pub limits: Limits,
    /// How long a connection may be silent (2 h).
    pub idle_limit: Duration,
    /// How long the rest of a frame that has begun may take (10 s); then it is told to be cut off.
    pub frame_timeout: Duration,
    /// How long a station may take to accept what is written to it (10 s).
    pub write_timeout: Duration,
    /// How long a message in packets waits for the next one (SL 651: 10 min).
    pub packet_timeout: Duration,
    /// How long a stop waits for the last answers (4 s).
    pub stop_timeout: Duration,
}

impl StationConfig {
    /// The defaults for an address.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            udp: false,
            limits: Limits::default(),
            idle_limit: Duration::from_secs(2 * 3600),
            frame_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            packet_timeout: Duration::from_secs(600),
            stop_timeout: Duration::from_secs(4),
        }
    }
}
