//! What a connection reads from and writes to.

use tokio::io::{AsyncRead, AsyncWrite};

/// A byte stream with a peer: TCP, and whatever carries MQTT over it. A connection reads and writes in turn,
/// never at the same time, so it needs no halves.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Transport for S {}
