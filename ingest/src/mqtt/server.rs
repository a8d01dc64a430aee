//! The listeners: accept, count, start a task a connection, stop.
//!
//! TCP, TLS and WebSocket differ in what stands between the socket and CONNECT. That, and CONNECT itself,
//! happens in the connection's own task under a time limit, and its listener's [`Room`] bounds how many are
//! there at a time: an accept loop never waits for a peer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use onemap_log::Log;
use onemap_model::{Refusal, Source, Timestamp};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Duration, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::connection::Connection;
use super::gate::{Entrance, Gate};
use super::handshake::{Arrival, Greeting, drain};
use super::room::{Chair, Room};
use super::session::Sessions;
use super::strangers::Strangers;
use super::tls::{Admission, Certificates, Credential, TlsError};
use super::transport::{Line, Transport};
use super::websocket::{self, NotUpgraded};
use super::{Auth, MqttConfig, Provision, handshake, provision, sys};
use crate::{Counters, Denial, Fanout, Links};

/// Connections that wait in the system for `accept`; its own limit may be lower.
const BACKLOG: u32 = 4096;

/// Bound listeners.
#[derive(Debug)]
pub struct MqttServer {
    listeners: Vec<Listener>,
    config: MqttConfig,
    sessions: Option<Sessions>,
    certificates: Option<Certificates>,
    links: Links,
    provision: Option<Arc<dyn Provision>>,
}

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    carrier: Carrier,
}

/// What carries MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carrier {
    Tcp,
    Tls,
    WebSocket { is_tls: bool },
}

impl Carrier {
    fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::WebSocket { is_tls: true })
    }
}

/// Where the listeners are, with the ports that were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// MQTT over TCP.
    pub mqtt: SocketAddr,
    /// MQTT over TLS.
    pub tls: Option<SocketAddr>,
    /// MQTT over WebSocket.
    pub websocket: Option<SocketAddr>,
}

/// Why the front end cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// An address cannot be bound.
    #[error("{address} cannot be bound")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A WebSocket wants TLS and there is none.
    #[error("a WebSocket with TLS needs the certificate of [mqtt.tls]")]
    NoCertificate,
}

/// What every connection uses.
pub(super) struct Shared {
    pub(super) config: MqttConfig,
    pub(super) log: Log,
    pub(super) auth: Arc<dyn Auth>,
    pub(super) fanout: Fanout,
    pub(super) counters: Counters,
    pub(super) clock: fn() -> Timestamp,
    pub(super) stop: CancellationToken,
    pub(super) sessions: Sessions,
    pub(super) strangers: Strangers,
    pub(super) gate: Gate,
    certificates: Option<Certificates>,
    pub(super) links: Links,
    pub(super) provision: Option<Arc<dyn Provision>>,
}

impl MqttServer {
    /// Binds the addresses and reads the certificates. Gives the server and the address of MQTT over TCP;
    /// [`MqttServer::addresses`] has the others.
    ///
    /// # Errors
    /// See [`BindError`].
    #[expect(
        clippy::unused_async,
        reason = "sockets are made within the runtime that will serve them"
    )]
    pub async fn bind(config: MqttConfig) -> Result<(Self, SocketAddr), BindError> {
        let certificates = config.tls.clone().map(Certificates::load).transpose()?;
        let mut listeners = vec![listen(config.listen, Carrier::Tcp)?];
        if let Some(address) = config.tls.as_ref().and_then(|tls| tls.listen) {
            listeners.push(listen(address, Carrier::Tls)?);
        }
        if let Some(websocket) = &config.websocket {
            if websocket.tls && certificates.is_none() {
                return Err(BindError::NoCertificate);
            }
            let carrier = Carrier::WebSocket {
                is_tls: websocket.tls,
            };
            listeners.push(listen(websocket.listen, carrier)?);
        }
        let server = Self {
            listeners,
            config,
            sessions: None,
            certificates,
            links: Links::default(),
            provision: None,
        };
        let address = server.addresses().mqtt;
        Ok((server, address))
    }

    /// Where the listeners are.
    pub fn addresses(&self) -> Addresses {
        let of = |wanted: fn(Carrier) -> bool| {
            let found = self.listeners.iter().find(|l| wanted(l.carrier))?;
            found.socket.local_addr().ok()
        };
        Addresses {
            mqtt: of(|c| c == Carrier::Tcp).unwrap_or(self.config.listen),
            tls: of(|c| c == Carrier::Tls),
            websocket: of(|c| matches!(c, Carrier::WebSocket { .. })),
        }
    }

    /// The certificates, when TLS is served, to have them read again.
    pub fn certificates(&self) -> Option<Certificates> {
        self.certificates.clone()
    }

    /// With sessions that outlive the process; without this they end with it.
    #[must_use]
    pub fn with_sessions(self, sessions: Sessions) -> Self {
        Self {
            sessions: Some(sessions),
            ..self
        }
    }

    /// Shows its connections there, and lets them be cut from there.
    #[must_use]
    pub fn with_links(mut self, links: Links) -> Self {
        self.links = links;
        self
    }

    /// Lets in clients of user name `provision`, for what this answers; without it nobody holds that name.
    #[must_use]
    pub fn with_provision(mut self, provision: Arc<dyn Provision>) -> Self {
        self.provision = Some(provision);
        self
    }

    /// Serves until `stop`. Then nothing more is accepted or read, what was read becomes durable and is
    /// acknowledged, and the connections are closed; that takes at most
    /// [`MqttConfig::stop_timeout`] and half a second.
    ///
    /// `clock` is read once a socket read; it stamps the frames.
    pub async fn run(
        self,
        log: Log,
        auth: Arc<dyn Auth>,
        fanout: Fanout,
        counters: Counters,
        clock: fn() -> Timestamp,
        stop: CancellationToken,
    ) {
        let sessions = self
            .sessions
            .unwrap_or_else(|| Sessions::volatile(&self.config, &counters));
        let shared = Arc::new(Shared {
            gate: Gate::new(self.config.limits, Instant::now()),
            certificates: self.certificates,
            config: self.config,
            log,
            auth,
            fanout,
            counters,
            clock,
            stop,
            sessions,
            strangers: Strangers::new(Instant::now()),
            links: self.links,
            provision: self.provision,
        });
        let mut keepers = JoinSet::new();
        let (log, fanout, stop) = (shared.log.clone(), shared.fanout.clone(), shared.stop.clone());
        keepers.spawn(shared.sessions.clone().keep(log, fanout, clock, stop));
        keepers.spawn(sys::say(
            shared.fanout.clone(),
            shared.counters.clone(),
            shared.sessions.clone(),
            shared.log.clone(),
            shared.stop.clone(),
        ));
        let mut loops = JoinSet::new();
        for listener in self.listeners {
            loops.spawn(accept(listener, Arc::clone(&shared)));
        }
        if let Some(certificates) = &shared.certificates {
            certificates.watch(&shared.counters, &shared.stop).await;
        }
        while let Some(ended) = loops.join_next().await {
            report(ended);
        }
        while let Some(ended) = keepers.join_next().await {
            report(ended);
        }
        // Last: what the connections left is in it.
        shared
            .sessions
            .save_apart(&shared.log, &shared.fanout, clock)
            .await;
    }
}

fn listen(address: SocketAddr, carrier: Carrier) -> Result<Listener, BindError> {
    let bind = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    match bind() {
        Ok(socket) => Ok(Listener { socket, carrier }),
        Err(source) => Err(BindError::Bind { address, source }),
    }
}

/// Accepts until the stop, then waits for the connections to end.
async fn accept(listener: Listener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    accept_all(&listener, &shared, &mut connections).await;
    drop(listener.socket);
    let limit = shared.config.stop_timeout + Duration::from_millis(500);
    let all = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if timeout(limit, all).await.is_err() {
        warn!(
            "{} connections did not end in time and are cut",
            connections.len()
        );
        connections.shutdown().await;
    }
}

/// An error of `accept` (too many open files, mostly) is counted and tried again, more slowly each time:
/// the listener outlives it.
async fn accept_all(listener: &Listener, shared: &Arc<Shared>, connections: &mut JoinSet<()>) {
    const FIRST_PAUSE: Duration = Duration::from_millis(10);
    const LONGEST_PAUSE: Duration = Duration::from_secs(1);
    let limits = shared.config.limits;
    let room = Room::new(if listener.carrier.is_tls() {
        limits.tls_handshakes
    } else {
        limits.strangers
    });
    let mut pause = FIRST_PAUSE;
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            Some(ended) = connections.join_next() => report(ended),
            accepted = listener.socket.accept() => match accepted {
                Ok((stream, peer)) => {
                    pause = FIRST_PAUSE;
                    let Ok(entrance) = shared.gate.enter(peer.ip(), Instant::now()) else {
                        turn_away(shared, &peer.to_string(), Refusal::RateLimited, "its address connects too fast");
                        debug!(%peer, "connection closed, its address connects too fast");
                        continue; // dropping the stream closes it
                    };
                    let chair = tokio::select! {
                        chair = room.enter() => chair,
                        () = shared.stop.cancelled() => return,
                    };
                    let newcomer = Newcomer { peer, entrance, chair };
                    connections.spawn(serve(stream, newcomer, listener.carrier, Arc::clone(shared)));
                }
                Err(error) => {
                    shared.counters.accept_error();
                    if pause == FIRST_PAUSE {
                        warn!("a connection could not be accepted, trying on: {error}");
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            },
        }
    }
}

/// An accepted connection.
struct Newcomer {
    peer: SocketAddr,
    entrance: Entrance,
    chair: Chair,
}

async fn serve(stream: TcpStream, newcomer: Newcomer, carrier: Carrier, shared: Arc<Shared>) {
    if let Err(error) = stream.set_nodelay(true) {
        info!(peer = %newcomer.peer, "TCP_NODELAY was not set: {error}");
    }
    let Newcomer {
        peer,
        entrance,
        chair,
    } = newcomer;
    let arrival = Arrival {
        peer: peer.to_string(),
        entrance,
        certificate: None,
    };
    // What carries TLS or WebSocket is behind a pointer: of one kind, and small in every task.
    match carrier {
        Carrier::Tcp => talk(Line::new(stream), arrival, chair, shared).await,
        other => Box::pin(unwrap(stream, arrival, chair, other, shared)).await,
    }
}

/// Does the handshakes of TLS and WebSocket.
async fn unwrap(
    stream: TcpStream,
    mut arrival: Arrival,
    chair: Chair,
    carrier: Carrier,
    shared: Arc<Shared>,
) {
    let must_go = chair.must_go.clone();
    let peer = arrival.peer.clone();
    let carried = async {
        let mut stream: Box<dyn Transport> = Box::new(stream);
        if let (true, Some(certificates)) = (carrier.is_tls(), &shared.certificates) {
            let is_web = carrier != Carrier::Tls;
            let (tls, certificate) =
                shake_hands(stream, certificates, is_web, &arrival.peer, &shared).await?;
            arrival.certificate = certificate;
            stream = Box::new(tls);
        }
        if let (Carrier::WebSocket { .. }, Some(config)) = (carrier, &shared.config.websocket) {
            let limit = shared.config.handshake_timeout;
            let upgrade = websocket::upgrade(stream, &config.origins, shared.config.max_packet_bytes);
            let upgraded = match timeout(limit, upgrade).await {
                Ok(Ok(upgraded)) => upgraded,
                Ok(Err(NotUpgraded::Gone)) => {
                    debug!(peer = arrival.peer, "peer left before it asked for a WebSocket");
                    return None;
                }
                Ok(Err(NotUpgraded::Rejected(rejection))) => {
                    refuse(&shared, &arrival.peer, Refusal::MalformedPacket, rejection.why);
                    return None;
                }
                Err(_) => {
                    let why = "the request for a WebSocket did not come in time";
                    refuse(&shared, &arrival.peer, Refusal::MalformedPacket, why);
                    return None;
                }
            };
            shared.counters.websocket();
            stream = Box::new(upgraded);
        }
        Some((stream, arrival))
    };
    let carried = tokio::select! {
        carried = carried => carried,
        () = must_go.cancelled() => {
            let refusal = if carrier.is_tls() { Refusal::TlsHandshake } else { Refusal::TooManyConnections };
            turn_away(&shared, &peer, refusal, "it said nothing and others wait");
            None
        }
        () = shared.stop.cancelled() => None,
    };
    if let Some((stream, arrival)) = carried {
        talk(stream, arrival, chair, shared).await;
    }
}

/// A TLS stream, and what its client certificate gave.
type Shaken = (TlsStream<Box<dyn Transport>>, Option<(Credential, Admission)>);

/// The TLS handshake. `None`: it failed, which is counted and said.
async fn shake_hands(
    stream: Box<dyn Transport>,
    certificates: &Certificates,
    is_web: bool,
    peer: &str,
    shared: &Shared,
) -> Option<Shaken> {
    let acceptor = TlsAcceptor::from(certificates.server_config(is_web));
    let shaken = timeout(
        certificates.handshake_timeout(),
        acceptor.accept(stream).into_fallible(),
    );
    let tls = match shaken.await {
        Ok(Ok(tls)) => tls,
        Ok(Err((error, mut stream))) => {
            let (refusal, why) = judge(&error);
            if let Some(refusal) = refusal {
                refuse(shared, peer, refusal, &why);
            } else {
                debug!(peer, "peer left during its TLS handshake: {error}");
                return None;
            }
            // The alert that says why is on its way: it is read before the end.
            let _ = stream.shutdown().await;
            drain(&mut stream).await;
            return None;
        }
        Err(_) => {
            refuse(
                shared,
                peer,
                Refusal::TlsHandshake,
                "the handshake did not end in time",
            );
            return None;
        }
    };
    let (_, session) = tls.get_ref();
    let is_resumed = session.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
    let credential = session
        .peer_certificates()
        .and_then(|chain| chain.first())
        .map(Credential::of);
    let Some(credential) = credential else {
        shared.counters.shook_hands(is_resumed);
        return Some((tls, None));
    };
    let Some(admission) = certificates.admit(&credential) else {
        refuse(
            shared,
            peer,
            Refusal::DeniedCertificate,
            "its certificate is on the deny list",
        );
        return None;
    };
    shared.counters.shook_hands(is_resumed);
    Some((tls, Some((credential, admission))))
}

/// What a failed handshake is. `None`: the peer left without a word, as port scans and health checks do.
fn judge(error: &io::Error) -> (Option<Refusal>, String) {
    let cause = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let refusal = match cause {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Revoked)) => {
            Some(Refusal::DeniedCertificate)
        }
        Some(_) => Some(Refusal::TlsHandshake),
        None if error.kind() == io::ErrorKind::UnexpectedEof => None,
        None => Some(Refusal::TlsHandshake),
    };
    (refusal, error.to_string())
}

/// Counts and says what a stranger did wrong before it could say CONNECT. Nothing of it is kept: it is no
/// reading, and may hold secrets.
fn refuse(shared: &Shared, peer: &str, refusal: Refusal, why: &str) {
    match refusal {
        Refusal::TlsHandshake | Refusal::DeniedCertificate => turn_away(shared, peer, refusal, why),
        refusal => shared.counters.refuse(refusal),
    }
    if shared.strangers.may_keep(Instant::now()) {
        warn!(peer, reason = refusal.label(), "connection refused: {why}");
    } else {
        debug!(peer, reason = refusal.label(), "connection refused: {why}");
    }
}

/// Counts that a stranger is not let in, and tells it.
fn turn_away(shared: &Shared, peer: &str, refusal: Refusal, why: &str) {
    shared.counters.turn_away(&Denial {
        source: Source::Mqtt,
        peer,
        device: "",
        refusal,
        detail: why,
    });
}

/// CONNECT, and then the connection.
async fn talk(mut stream: impl Transport, arrival: Arrival, chair: Chair, shared: Arc<Shared>) {
    let hello = tokio::select! {
        hello = Box::pin(handshake::greet(&mut stream, &shared, &arrival)) => hello,
        () = chair.must_go.cancelled() => {
            let why = "it said nothing and others wait";
            turn_away(&shared, &arrival.peer, Refusal::TooManyConnections, why);
            debug!(peer = arrival.peer, "connection closed, {why}");
            None
        }
        () = shared.stop.cancelled() => None,
    };
    drop(chair);
    let Some(hello) = hello else { return };
    let Arrival {
        peer,
        entrance,
        certificate,
    } = arrival;
    let denied = certificate.as_ref().map(|(_, admission)| admission.cut.clone());
    match hello {
        Greeting::Device(hello) => Connection::new(shared, *hello, peer, denied).run(stream).await,
        Greeting::Provision(rest) => provision::serve(&mut stream, &shared, &peer, rest).await,
    }
    drop((entrance, certificate));
}

/// A task that panicked is a bug of ours, and only its own end.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!("a task of the MQTT front end panicked: {error}");
    }
}
