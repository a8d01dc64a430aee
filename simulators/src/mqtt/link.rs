//! One device's connection: connect, publish, receive.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::codec::{self, CodecError, Incoming, Qos};

/// How long a connect or a write may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who connects where.
#[derive(Clone)]
pub struct Login {
    /// `host:port`.
    pub server: String,
    /// Client id.
    pub client_id: String,
    /// Token, sent as user name. No `Debug` for this type, so that it stays out of logs.
    pub token: String,
    /// Keep-alive; a ping is due at half of it.
    pub keep_alive: Duration,
}

/// Why a link ended or never began.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// CONNACK with another code than 0.
    #[error("the server refuses the connection with code {0}")]
    Refused(u8),
    /// Nothing came for too long.
    #[error("the server does not answer")]
    Timeout,
    /// The server closed.
    #[error("the server closed the connection")]
    Closed,
    /// Bytes that are not MQTT.
    #[error("the server sends what is not MQTT 3.1.1")]
    Codec(#[from] CodecError),
    /// The socket failed.
    #[error("the connection failed")]
    Io(#[from] std::io::Error),
}

impl LinkError {
    /// Whether the token is not (or no longer) valid.
    pub fn is_wrong_token(&self) -> bool {
        matches!(self, LinkError::Refused(4 | 5))
    }
}

/// An open connection.
pub struct Link {
    stream: TcpStream,
    inbox: Vec<u8>,
    /// Bytes at the front of `inbox` that were already handed out.
    used: usize,
    outbox: Vec<u8>,
}

impl Link {
    /// Connects and waits for CONNACK.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn connect(login: &Login) -> Result<Self, LinkError> {
        let stream = timeout(PATIENCE, TcpStream::connect(&login.server))
            .await
            .map_err(|_| LinkError::Timeout)??;
        stream.set_nodelay(true)?;
        let mut link = Self {
            stream,
            inbox: Vec::with_capacity(4096),
            used: 0,
            outbox: Vec::new(),
        };
        let keep_alive = u16::try_from(login.keep_alive.as_secs()).unwrap_or(u16::MAX);
        codec::connect(&mut link.outbox, &login.client_id, &login.token, keep_alive);
        link.flush().await?;
        match timeout(
            PATIENCE,
            link.receive(|packet| match packet {
                Incoming::ConnAck { code } => Some(code),
                _ => None,
            }),
        )
        .await
        {
            Err(_) => Err(LinkError::Timeout),
            Ok(Err(e)) => Err(e),
            Ok(Ok(Some(0))) => Ok(link),
            Ok(Ok(Some(code))) => Err(LinkError::Refused(code)),
            Ok(Ok(None)) => Err(LinkError::Codec(CodecError::Packet(0))),
        }
    }

    /// Publishes and flushes.
    ///
    /// # Errors
    /// When the socket does not take it in time.
    pub async fn publish(
        &mut self,
        topic: &str,
        payload: &[u8],
        qos: Qos,
        id: u16,
        again: bool,
    ) -> Result<(), LinkError> {
        codec::publish(&mut self.outbox, topic, payload, qos, id, again);
        self.flush().await
    }

    /// Subscribes to one filter; the answer comes as [`Incoming::SubAck`].
    ///
    /// # Errors
    /// When the socket does not take it in time.
    pub async fn subscribe(&mut self, id: u16, filter: &str) -> Result<(), LinkError> {
        codec::subscribe(&mut self.outbox, id, filter, Qos::AtLeastOnce);
        self.flush().await
    }

    /// Sends a ping.
    ///
    /// # Errors
    /// When the socket does not take it in time.
    pub async fn ping(&mut self) -> Result<(), LinkError> {
        codec::ping(&mut self.outbox);
        self.flush().await
    }

    /// Acknowledges a message from the server.
    ///
    /// # Errors
    /// When the socket does not take it in time.
    pub async fn acknowledge(&mut self, id: u16) -> Result<(), LinkError> {
        codec::puback(&mut self.outbox, id);
        self.flush().await
    }

    /// Says goodbye and closes; errors no longer matter.
    pub async fn disconnect(mut self) {
        codec::disconnect(&mut self.outbox);
        // The server sees the closing socket in any case.
        let _ = self.flush().await;
        let _ = self.stream.shutdown().await;
    }

    async fn flush(&mut self) -> Result<(), LinkError> {
        let written = timeout(PATIENCE, self.stream.write_all(&self.outbox)).await;
        self.outbox.clear();
        written.map_err(|_| LinkError::Timeout)?.map_err(LinkError::Io)
    }

    /// Waits for the next packet and lets `look` take what it needs from it. Dropping the future
    /// loses nothing.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn receive<T>(&mut self, look: impl FnOnce(Incoming<'_>) -> T) -> Result<T, LinkError> {
        loop {
            if let Some((packet, n)) = codec::cut(&self.inbox[self.used..])? {
                let seen = look(packet);
                self.used += n;
                return Ok(seen);
            }
            self.inbox.drain(..self.used);
            self.used = 0;
            if self.stream.read_buf(&mut self.inbox).await? == 0 {
                return Err(LinkError::Closed);
            }
        }
    }
}
