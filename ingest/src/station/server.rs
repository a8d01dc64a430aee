//! The listener: accept, count, start a task a connection, stop.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use onemap_log::Log;
use onemap_model::{Refusal, Source, Timestamp};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Duration, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::connection::Connection;
use super::gbt26875::Gbt26875;
use super::guesses::Guesses;
use super::hj212::Hj212;
use super::joining::Joining;
use super::packets::{self, PacketSets};
use super::sl651::Sl651;
use super::stream::Stream;
use super::{Dialect, Intake, Peers, StationConfig, StationKeys, Stations, begun, datagrams};
use crate::mqtt::gate::{Entrance, Gate};
use crate::mqtt::room::{Chair, Room};
use crate::mqtt::strangers::Strangers;
use crate::mqtt::{self};
use crate::{Counters, Denial, Links};

/// Connections that wait in the system for `accept`; its own limit may be lower.
const BACKLOG: u32 = 4096;

/// How often a free port is looked for that has room for datagrams, too.
const N_PORTS: usize = 16;

/// An address cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("{address} cannot be bound")]
pub struct BindError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// A bound listener of one protocol.
#[derive(Debug)]
pub struct StationServer {
    protocol: Source,
    socket: TcpListener,
    datagrams: Option<UdpSocket>,
    config: StationConfig,
}

/// What every connection uses.
pub(super) struct Shared {
    pub(super) protocol: Source,
    pub(super) config: StationConfig,
    pub(super) log: Log,
    pub(super) stations: Arc<dyn Stations>,
    pub(super) counters: Counters,
    pub(super) clock: fn() -> Timestamp,
    pub(super) stop: CancellationToken,
    pub(super) strangers: Strangers,
    pub(super) gate: Gate,
    pub(super) guesses: Guesses,
    pub(super) links: Links,
    pub(super) peers: Peers,
    /// Messages of SL 651 that wait for packets.
    pub(super) joining: Mutex<Joining>,
    pub(super) keys: StationKeys,
    pub(super) packets: PacketSets,
}

/// Where a server's frames go, and by whom they are known.
pub struct Surroundings {
    /// The journal.
    pub log: Log,
    /// The register.
    pub stations: Arc<dyn Stations>,
    /// What is counted.
    pub counters: Counters,
    /// Every device's connections.
    pub links: Links,
    /// The connected stations.
    pub peers: Peers,
    /// What opens their encrypted frames.
    pub keys: StationKeys,
    /// Read once a socket read; it stamps the frames.
    pub clock: fn() -> Timestamp,
}

impl StationServer {
    /// Binds the address for a protocol: HJ 212, SL 651 or GB/T 26875.3.
    ///
    /// # Errors
    /// When the address cannot be bound.
    #[expect(
        clippy::unused_async,
        reason = "a socket is made within the runtime that will serve it"
    )]
    pub async fn bind(protocol: Source, config: StationConfig) -> Result<Self, BindError> {
        let address = config.listen;
        let bind = || {
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4(),
                SocketAddr::V6(_) => TcpSocket::new_v6(),
            }?;
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let socket = socket.listen(BACKLOG)?;
            if !config.udp {
                return Ok((socket, None));
            }
            // The same port of both.
            let datagrams = std::net::UdpSocket::bind(socket.local_addr()?)?;
            datagrams.set_nonblocking(true)?;
            Ok((socket, Some(UdpSocket::from_std(datagrams)?)))
        };
        let mut bound = bind();
        for _ in 1..N_PORTS {
            if bound.is_ok() || address.port() != 0 {
                break;
            }
            bound = bind();
        }
        match bound {
            Ok((socket, datagrams)) => Ok(Self {
                protocol,
                socket,
                datagrams,
                config,
            }),
            Err(source) => Err(BindError { address, source }),
        }
    }

    /// Where it listens, with the port that was found.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap_or(self.config.listen)
    }

    /// Serves until `stop`. Then nothing more is accepted or read, what was read becomes durable and is answered,
    /// and the connections are closed; that takes at most [`StationConfig::stop_timeout`] and half a second.
    pub async fn run(self, with: Surroundings, stop: CancellationToken) {
        let limits = self.config.limits;
        let gate = mqtt::Limits {
            connections: limits.connections,
            per_address: limits.per_address,
            per_device: 0,
            connects_per_second: limits.connects_per_second,
            connects_burst: limits.connects_burst,
            strangers: limits.strangers,
            tls_handshakes: 1,
        };
        let Surroundings {
            log,
            stations,
            counters,
            links,
            peers,
            keys,
            clock,
        } = with;
        let shared = Arc::new(Shared {
            protocol: self.protocol,
            gate: Gate::new(gate, Instant::now()),
            strangers: Strangers::new(Instant::now()),
            guesses: Guesses::new(Instant::now()),
            joining: Mutex::new(Joining::new(self.config.packet_timeout)),
            config: self.config,
            log,
            stations,
            counters,
            clock,
            stop,
            links,
            peers,
            keys,
            packets: PacketSets::new(clock()),
        });
        match self.protocol {
            Source::Sl651 => begun::read_back(&shared).await,
            Source::Hj212 => begun::read_back_sets(&shared).await,
            _ => {}
        }
        match self.protocol {
            Source::Hj212 => serve::<Hj212>(self.socket, self.datagrams, shared).await,
            Source::Sl651 => serve::<Sl651>(self.socket, self.datagrams, shared).await,
            Source::Gbt26875 => serve::<Gbt26875>(self.socket, self.datagrams, shared).await,
            other => error!(protocol = other.name(), "no station speaks this"),
        }
    }
}

async fn serve<D: Dialect>(socket: TcpListener, datagrams: Option<UdpSocket>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    if let Some(socket) = datagrams {
        connections.spawn(datagrams::serve::<D>(socket, Arc::clone(&shared)));
    }
    if D::SWEEPS {
        connections.spawn(sweep::<D>(Arc::clone(&shared)));
    }
    connections.spawn(packets::run(D::SOURCE, Arc::clone(&shared)));
    accept_all::<D>(&socket, &shared, &mut connections).await;
    drop(socket);
    let limit = shared.config.stop_timeout + Duration::from_millis(500);
    let all = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if timeout(limit, all).await.is_err() {
        warn!(
            "{} connections of stations did not end in time and are cut",
            connections.len()
        );
        connections.shutdown().await;
    }
}

/// Until the stop.
async fn sweep<D: Dialect>(shared: Arc<Shared>) {
    let mut intake = Intake::own(Arc::clone(&shared), D::SOURCE);
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = sleep(Duration::from_secs(1)) => {}
        }
        intake.received_at = (shared.clock)();
        D::sweep(&mut intake);
        if intake.batch.is_empty() {
            continue;
        }
        if let Err(error) = shared.log.append(&intake.batch).await {
            warn!("what stations left incomplete is not kept, the journal takes nothing: {error}");
        }
        intake.batch.clear();
    }
}

/// An error of `accept` (too many open files, mostly) is counted and tried again, more slowly each time: the
/// listener outlives it.
async fn accept_all<D: Dialect>(socket: &TcpListener, shared: &Arc<Shared>, connections: &mut JoinSet<()>) {
    const FIRST_PAUSE: Duration = Duration::from_millis(10);
    const LONGEST_PAUSE: Duration = Duration::from_secs(1);
    let room = Room::new(shared.config.limits.strangers);
    let mut pause = FIRST_PAUSE;
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            Some(ended) = connections.join_next() => report(ended),
            accepted = socket.accept() => match accepted {
                Ok((stream, peer)) => {
                    pause = FIRST_PAUSE;
                    let Some(entrance) = enter(shared, peer) else { continue }; // dropping the stream closes it
                    let chair = tokio::select! {
                        chair = room.enter() => chair,
                        () = shared.stop.cancelled() => return,
                    };
                    connections.spawn(talk::<D>(stream, peer, entrance, chair, Arc::clone(shared)));
                }
                Err(error) => {
                    shared.counters.accept_error();
                    if pause == FIRST_PAUSE {
                        warn!("a station's connection could not be accepted, trying on: {error}");
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            },
        }
    }
}

/// Counts that a peer is not let in, and tells it.
pub(super) fn turn_away(shared: &Shared, peer: SocketAddr, refusal: Refusal, why: &str) {
    shared.counters.turn_away(&Denial {
        source: shared.protocol,
        peer: &peer.to_string(),
        device: "",
        refusal,
        detail: why,
    });
}

pub(super) fn enter(shared: &Shared, peer: SocketAddr) -> Option<Entrance> {
    match shared.gate.enter(peer.ip(), Instant::now()) {
        Err(_) => {
            let why = "its address connects too fast";
            turn_away(shared, peer, Refusal::RateLimited, why);
            debug!(%peer, "connection closed, {why}");
            None
        }
        Ok(entrance) if entrance.is_over => {
            let why = "its address has as many as it may";
            turn_away(shared, peer, Refusal::TooManyConnections, why);
            info!(%peer, "connection closed, {why}");
            None
        }
        Ok(entrance) => Some(entrance),
    }
}

async fn talk<D: Dialect>(
    stream: TcpStream,
    peer: SocketAddr,
    entrance: Entrance,
    chair: Chair,
    shared: Arc<Shared>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        info!(%peer, "TCP_NODELAY was not set: {error}");
    }
    // Behind a pointer: small in the task, and moved once.
    let mut stream = Stream::Tcp(stream);
    Box::new(Connection::<D>::new(shared, peer, chair, false))
        .run(&mut stream)
        .await;
    drop(entrance);
}

/// A task that panicked is a bug of ours, and only its own end.
pub(super) fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!("a task of a station server panicked: {error}");
    }
}
