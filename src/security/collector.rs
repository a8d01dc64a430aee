//! Sends security events to a collector of syslog, over datagrams (RFC 5426) or a connection (RFC 6587, octets counted).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use onemap_dashboards::security::{Event, syslog};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{Syslog, Transport};

/// How long a collector has to take a connection or a message.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same when the server stops.
const LAST_PATIENCE: Duration = Duration::from_secs(1);
/// Between two tries to reach a collector.
const PAUSE: Duration = Duration::from_secs(2);

/// Who gets the messages.
enum Collector {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Collector {
    async fn reach(syslog: &Syslog) -> io::Result<Self> {
        match syslog.transport {
            Transport::Tcp => TcpStream::connect(&syslog.address).await.map(Self::Tcp),
            Transport::Udp => {
                let address = tokio::net::lookup_host(&syslog.address).await?.next();
                let address = address.ok_or_else(|| io::Error::other("the name has no address"))?;
                let any: SocketAddr = match address {
                    SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
                    SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
                };
                let socket = UdpSocket::bind(any).await?;
                socket.connect(address).await?;
                Ok(Self::Udp(socket))
            }
        }
    }

    async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            // An error here may be that of the datagram before, to which nobody listened.
            Self::Udp(socket) => socket.send(message).await.map(drop),
            Self::Tcp(stream) => {
                // A collector says nothing; one that has gone away would take the next message without a word.
                match stream.try_read(&mut [0; 64]) {
                    Ok(0) => return Err(io::ErrorKind::ConnectionAborted.into()),
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                    _ => {}
                }
                stream.write_all(&syslog::framed(message)).await
            }
        }
    }
}

/// Sends a message to the collector that was reached, or to one that is reached now.
async fn give(reached: &mut Option<Collector>, config: &Syslog, message: &[u8]) -> io::Result<()> {
    let mut collector = match reached.take() {
        Some(collector) => collector,
        None => Collector::reach(config).await?,
    };
    collector.send(message).await?;
    // It stays only when it took the message: after a half of one a stream is of no use.
    *reached = Some(collector);
    Ok(())
}

/// Sends events until there are no more. While the collector cannot be reached they wait; once `stop` is said, each is
/// tried once more only.
pub(super) async fn send(config: Syslog, mut events: mpsc::Receiver<Arc<Event>>, stop: CancellationToken) {
    let host = config.hostname.clone().or_else(|| {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
        Some(name.trim().to_owned())
    });
    let (host, pid) = (host.unwrap_or_default(), std::process::id());
    let mut reached = None;
    let mut is_well = true;
    while let Some(event) = events.recv().await {
        let message = syslog::message(&event, &host, pid);
        loop {
            let given = tokio::select! {
                given = tokio::time::timeout(PATIENCE, give(&mut reached, &config, &message)) => given,
                () = last_call(&stop) => Ok(Err(io::ErrorKind::TimedOut.into())),
            };
            let Err(error) = given.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) else {
                if !is_well {
                    info!("the collector {} takes security events again", config.address);
                }
                is_well = true;
                break;
            };
            if is_well {
                warn!(
                    "the collector {} does not take security events: {error}",
                    config.address
                );
                is_well = false;
            }
            if stop.is_cancelled() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stop.cancelled() => {}
            }
        }
    }
}

async fn last_call(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST_PATIENCE).await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read as _;

    use onemap_dashboards::security::Kind;
    use onemap_model::Timestamp;

    use super::*;

    fn event(seq: u64) -> Arc<Event> {
        Arc::new(Event {
            seq,
            at: Timestamp::from_ms(1_763_856_000_000),
            kind: Kind::Denied,
            actor: None,
            peer: None,
            subject: "x".to_owned(),
            detail: "y".to_owned(),
            n: 1,
        })
    }

    fn config(address: SocketAddr) -> Syslog {
        Syslog {
            address: address.to_string(),
            transport: Transport::Tcp,
            hostname: Some("city".to_owned()),
        }
    }

    #[tokio::test]
    async fn a_collector_that_begins_anew_gets_the_next_message_whole() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let config = config(listener.local_addr().unwrap());
        let (events, inbox) = mpsc::channel(8);
        let sending = tokio::spawn(send(config, inbox, CancellationToken::new()));
        for seq in [1, 2] {
            events.send(event(seq)).await.unwrap();
            let listener = listener.try_clone().unwrap();
            let read = move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut said = [0; 500];
                let n = stream.read(&mut said).unwrap();
                String::from_utf8_lossy(&said[..n]).into_owned()
            };
            let said = tokio::task::spawn_blocking(read).await.unwrap();
            let (length, message) = said.split_once(' ').unwrap();
            assert_eq!(length.parse::<usize>().unwrap(), message.len());
            assert!(message.contains(&format!("\"seq\":{seq},")), "{message}");
        }
        drop(events);
        sending.await.unwrap();
    }

    #[tokio::test]
    async fn a_collector_that_is_away_does_not_hold_up_the_stop() {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let config = config(gone.local_addr().unwrap());
        drop(gone);
        let (events, inbox) = mpsc::channel(8);
        events.send(event(1)).await.unwrap();
        let stop = CancellationToken::new();
        let sending = tokio::spawn(send(config, inbox, stop.clone()));
        stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(3), sending).await;
        assert!(ended.is_ok(), "it waits for nobody");
    }
}
