//! The listener: accepts, counts, starts a task a connection, stops.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use onemap_log::Log;
use onemap_model::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Duration, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::connection::Connection;
use super::session::Sessions;
use super::strangers::Strangers;
use super::{Auth, MqttConfig, handshake};
use crate::{Counters, Fanout};

/// Connections over the limit that are told so at the same time; further ones are closed without a word.
const MAX_TURNED_AWAY: usize = 256;

/// A bound listener.
#[derive(Debug)]
pub struct MqttServer {
    listener: TcpListener,
    config: MqttConfig,
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
}

impl MqttServer {
    /// Binds the address. Gives the server and the address it has, with the port that was found.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(config: MqttConfig) -> io::Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind(config.listen).await?;
        let address = listener.local_addr()?;
        Ok((Self { listener, config }, address))
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
        let shared = Arc::new(Shared {
            config: self.config,
            log,
            auth,
            fanout,
            counters,
            clock,
            stop,
            sessions: Sessions::default(),
            strangers: Strangers::new(Instant::now()),
        });
        let mut connections = JoinSet::new();
        accept(&self.listener, &shared, &mut connections).await;
        drop(self.listener);

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
        }
    }
}

/// Accepts until the stop. An error of `accept` (too many open files, mostly) is counted and tried
/// again, more slowly each time: the listener outlives it.
async fn accept(listener: &TcpListener, shared: &Arc<Shared>, connections: &mut JoinSet<()>) {
    const FIRST_PAUSE: Duration = Duration::from_millis(10);
    const LONGEST_PAUSE: Duration = Duration::from_secs(1);
    let mut pause = FIRST_PAUSE;
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            Some(ended) = connections.join_next() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    pause = FIRST_PAUSE;
                    welcome(stream, peer, shared, connections);
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

fn welcome(stream: TcpStream, peer: SocketAddr, shared: &Arc<Shared>, connections: &mut JoinSet<()>) {
    let n_open = connections.len();
    if n_open >= shared.config.max_connections + MAX_TURNED_AWAY {
        shared.counters.refuse(onemap_model::Refusal::TooManyConnections);
        return; // dropping the stream closes it
    }
    let is_full = n_open >= shared.config.max_connections;
    connections.spawn(serve(stream, peer, Arc::clone(shared), is_full));
}

async fn serve(mut stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>, is_full: bool) {
    if let Err(error) = stream.set_nodelay(true) {
        info!(%peer, "TCP_NODELAY was not set: {error}");
    }
    let peer = peer.to_string();
    let hello = tokio::select! {
        hello = handshake::greet(&mut stream, &shared, &peer, is_full) => hello,
        () = shared.stop.cancelled() => None,
    };
    if let Some(hello) = hello {
        Connection::new(shared, hello, peer).run(stream).await;
    }
}

/// A connection that panicked is a bug of ours, and only its own end.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!("a connection's task panicked: {error}");
    }
}
