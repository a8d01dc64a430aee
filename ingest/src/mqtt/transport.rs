//! What a connection reads from and writes to.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_rustls::server::TlsStream;

/// A byte stream with a peer: TCP, and whatever carries MQTT over it. A connection reads and writes in turn,
/// never at the same time, so it needs no halves. Carriers with a buffer of their own (TLS, WebSocket) send
/// it at `flush`.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + Send {
    /// Where bytes can be written at once from any thread, if what is written there is what the peer reads.
    fn outlet(&self) -> Option<Weak<OwnedWriteHalf>> {
        None
    }
}

impl Transport for TcpStream {}
impl Transport for Box<dyn Transport> {}
impl<S: Transport> Transport for TlsStream<S> {}

impl Transport for Line {
    fn outlet(&self) -> Option<Weak<OwnedWriteHalf>> {
        self.write.as_ref().map(Arc::downgrade)
    }
}

/// TCP without anything in between.
pub(super) struct Line {
    read: OwnedReadHalf,
    /// None once it is shut down. Only this one keeps it.
    write: Option<Arc<OwnedWriteHalf>>,
}

impl Line {
    pub(super) fn new(stream: TcpStream) -> Self {
        let (read, write) = stream.into_split();
        Self {
            read,
            write: Some(Arc::new(write)),
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(context, out)
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(write) = &self.write else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let stream: &TcpStream = write.as_ref().as_ref();
        loop {
            ready!(stream.poll_write_ready(context))?;
            match stream.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The half shuts down as it goes.
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write = None;
        Poll::Ready(Ok(()))
    }
}

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
