//! Stations that send datagrams: what comes from one address and port is served like a connection, with the same limits.
//!
//! Nothing is held for senders that show no station: their datagram is looked at, refused and forgotten.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use onemap_model::Refusal;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep};
use tracing::warn;

use super::Dialect;
use super::connection::Connection;
use super::server::{Shared, enter, report, turn_away};
use super::stream::{Datagrams, Stream};
use crate::mqtt::room::Room;

/// Bytes of the largest datagram that is taken whole; the longest frame has 4,124.
const LARGEST: usize = 16 << 10;
/// Datagrams of one sender that wait to be read. More are dropped and counted: their station repeats.
const N_WAITING: usize = 64;

type Senders = Arc<Mutex<HashMap<SocketAddr, mpsc::Sender<Bytes>>>>;

fn locked(senders: &Senders) -> MutexGuard<'_, HashMap<SocketAddr, mpsc::Sender<Bytes>>> {
    // Every change leaves the table whole.
    senders.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves datagrams until the stop; the connections that they make end in `connections`.
pub(super) async fn serve<D: Dialect>(socket: UdpSocket, shared: Arc<Shared>) {
    let socket = Arc::new(socket);
    let senders = Senders::default();
    let limits = shared.config.limits;
    let room = Room::new(limits.strangers);
    let mut connections = JoinSet::new();
    let mut buffer = vec![0; LARGEST];
    loop {
        let came = tokio::select! {
            () = shared.stop.cancelled() => break,
            Some(ended) = connections.join_next() => {
                report(ended);
                continue;
            }
            came = socket.recv_from(&mut buffer) => came,
        };
        let (n, peer) = match came {
            Ok(came) => came,
            Err(error) => {
                shared.counters.accept_error();
                warn!("a station's datagram could not be read, trying on: {error}");
                sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        let datagram = Bytes::copy_from_slice(&buffer[..n]);
        let known = locked(&senders).get(&peer).cloned();
        let datagram = match known.map(|sender| sender.try_send(datagram.clone())) {
            Some(Ok(())) => continue,
            Some(Err(mpsc::error::TrySendError::Full(_))) => {
                turn_away(&shared, peer, Refusal::RateLimited, "its datagrams come too fast");
                continue;
            }
            // New, or its connection is ending.
            Some(Err(mpsc::error::TrySendError::Closed(_))) | None => datagram,
        };
        let n_senders = locked(&senders).len();
        if n_senders >= limits.connections.saturating_add(2 * limits.strangers) {
            turn_away(&shared, peer, Refusal::TooManyConnections, "as many send as may");
            continue;
        }
        let Some(entrance) = enter(&shared, peer) else {
            continue;
        };
        let (sender, inbox) = mpsc::channel(N_WAITING);
        locked(&senders).insert(peer, sender.clone());
        let (shared, senders, room) = (Arc::clone(&shared), Arc::clone(&senders), room.clone());
        let mut stream = Stream::Udp(Datagrams {
            socket: Arc::clone(&socket),
            peer,
            inbox,
            next: Some(datagram),
        });
        connections.spawn(async move {
            let chair = tokio::select! {
                chair = room.enter() => Some(chair),
                () = shared.stop.cancelled() => None,
            };
            if let Some(chair) = chair {
                let connection = Connection::<D>::new(shared, peer, chair, true);
                Box::new(connection).run(&mut stream).await;
            }
            let mut senders = locked(&senders);
            if senders
                .get(&peer)
                .is_some_and(|known| known.same_channel(&sender))
            {
                senders.remove(&peer);
            }
            drop(entrance);
        });
    }
    // Each ends by itself: they know of the stop.
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
}
