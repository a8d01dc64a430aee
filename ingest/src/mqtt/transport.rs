//! What a connection reads from and writes to.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream with a peer: TCP, and whatever carries MQTT over it. A connection reads and writes in turn,
/// never at the same time, so it needs no halves. Carriers with a buffer of their own (TLS, WebSocket) send
/// it at `flush`.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Transport for S {}

/// The peer broke the carrier's own rules, such as a text frame on a WebSocket. It is what an `io::Error` of
/// a read holds, so that it is told apart from a peer that is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(super) struct Violation {
    pub(super) what: String,
    /// The first bytes of what was sent, to be kept.
    pub(super) bytes: Vec<u8>,
}

impl Violation {
    /// What a carrier's read gives.
    pub(super) fn into_io(self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, self)
    }

    /// The violation in an error, if it is one.
    pub(super) fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}
