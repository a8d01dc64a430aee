//! What a connection reads and writes: a TCP stream, or the datagrams of one sender.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use onemap_wire::sl651::{Framer, Piece};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;

/// Either of both.
pub(super) enum Stream {
    Tcp(TcpStream),
    Udp(Datagrams),
}

/// Datagrams of one sender.
pub(super) struct Datagrams {
    pub(super) socket: Arc<UdpSocket>,
    pub(super) peer: SocketAddr,
    /// Those that came.
    pub(super) inbox: mpsc::Receiver<Bytes>,
    /// One that is to be read.
    pub(super) next: Option<Bytes>,
}

impl Stream {
    pub(super) fn is_datagram(&self) -> bool {
        matches!(self, Self::Udp(_))
    }

    /// Waits until there is something to read. Cancel safe.
    pub(super) async fn readable(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Udp(datagrams) => {
                if datagrams.next.is_none() {
                    let came = datagrams.inbox.recv().await;
                    datagrams.next = Some(came.ok_or(io::ErrorKind::UnexpectedEof)?);
                }
                Ok(())
            }
        }
    }

    /// Reads at most so many bytes, of datagrams a whole one.
    pub(super) fn try_read(&mut self, buffer: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => {
                buffer.reserve(most);
                stream.try_read_buf(&mut buffer.limit(most))
            }
            Self::Udp(datagrams) => {
                let next = datagrams.next.take().ok_or(io::ErrorKind::WouldBlock)?;
                buffer.extend_from_slice(&next);
                Ok(next.len())
            }
        }
    }

    /// Writes everything; each frame is a datagram of its own.
    pub(super) async fn write(&mut self, out: &mut BytesMut) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all_buf(out).await,
            Self::Udp(datagrams) => {
                for piece in Framer::new().push(out) {
                    if let Piece::Frame { bytes, .. } = piece {
                        datagrams.socket.send_to(&bytes, datagrams.peer).await?;
                    }
                }
                out.advance(out.len());
                Ok(())
            }
        }
    }

    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown().await,
            Self::Udp(_) => Ok(()),
        }
    }
}
