//! A client of raw bytes: it can say what no library would.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::server::PATIENCE;

pub(crate) struct Client<S = TcpStream> {
    stream: S,
}

/// How to say CONNECT.
#[derive(Clone)]
pub(crate) struct Connect {
    pub(crate) level: u8,
    pub(crate) client_id: String,
    pub(crate) token: Option<String>,
    pub(crate) is_clean: bool,
    pub(crate) keep_alive: u16,
    pub(crate) will: Option<(String, String)>,
}

impl Connect {
    pub(crate) fn of(device: &str) -> Self {
        Self {
            level: 4,
            client_id: format!("client-{device}"),
            token: Some(format!("token-of-{device}")),
            is_clean: true,
            keep_alive: 60,
            will: None,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut body = b"\x00\x04MQTT".to_vec();
        let flags = u8::from(self.is_clean) << 1
            | u8::from(self.will.is_some()) << 2
            | u8::from(self.token.is_some()) << 7;
        body.extend([self.level, flags]);
        body.extend(self.keep_alive.to_be_bytes());
        if self.level == 5 {
            body.push(0);
        }
        body.extend(text(&self.client_id));
        if let Some((topic, message)) = &self.will {
            body.extend(text(topic));
            body.extend(text(message));
        }
        if let Some(token) = &self.token {
            body.extend(text(token));
        }
        packet(0x10, &body)
    }
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let more = length > 127;
        bytes.push((length % 128) as u8 | u8::from(more) << 7);
        length /= 128;
        if !more {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

/// A PUBLISH; `packet_id` is left out for QoS 0.
pub(crate) fn publish(topic: &str, qos: u8, packet_id: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    if qos > 0 {
        body.extend(packet_id.to_be_bytes());
    }
    body.extend(payload);
    packet(0x30 | qos << 1, &body)
}

pub(crate) fn with_id(first: u8, packet_id: u16) -> Vec<u8> {
    packet(first, &packet_id.to_be_bytes())
}

pub(crate) fn subscribe(packet_id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    for (filter, qos) in filters {
        body.extend(text(filter));
        body.push(*qos);
    }
    packet(0x82, &body)
}

pub(crate) const TELEMETRY: &str = "v1/devices/me/telemetry";

impl Client<TcpStream> {
    pub(crate) async fn raw(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// Connects and expects to be let in.
    pub(crate) async fn connect(address: SocketAddr, connect: &Connect) -> Self {
        let (client, code) = Self::try_connect(address, connect).await;
        assert_eq!(code, Some(0), "{}", connect.client_id);
        client
    }

    /// Connects; gives the code of the CONNACK, or `None` when the connection was closed.
    pub(crate) async fn try_connect(address: SocketAddr, connect: &Connect) -> (Self, Option<u8>) {
        Self::over(Self::raw(address).await.stream, connect).await
    }

    /// Connects and expects to be let in; gives whether a session was present.
    pub(crate) async fn resume(address: SocketAddr, connect: &Connect) -> (Self, bool) {
        let (client, answer) = Self::ask(Self::raw(address).await.stream, connect).await;
        let (is_present, code) = answer.expect("a CONNACK");
        assert_eq!(code, 0);
        (client, is_present)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Connects over a stream; gives the code of the CONNACK, or `None` when the connection was closed.
    pub(crate) async fn over(stream: S, connect: &Connect) -> (Self, Option<u8>) {
        let (client, answer) = Self::ask(stream, connect).await;
        if let Some((is_present, code)) = answer {
            assert!(!is_present || (code == 0 && !connect.is_clean), "session present");
        }
        (client, answer.map(|(_, code)| code))
    }

    /// Connects; gives session present and code of the CONNACK.
    async fn ask(stream: S, connect: &Connect) -> (Self, Option<(bool, u8)>) {
        let mut client = Self { stream };
        client.try_send(&connect.bytes()).await;
        let answer = client.packet().await.map(|(first, body)| {
            assert_eq!((first, body.len()), (0x20, 2));
            assert!(body[0] < 2, "reserved bits of CONNACK");
            (body[0] == 1, body[1])
        });
        (client, answer)
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.stream.write_all(bytes))
            .await
            .unwrap()
            .unwrap();
    }

    /// Sends what may find the connection closed.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, self.stream.write_all(bytes)).await.unwrap();
    }

    /// The next packet; `None` when the connection ends.
    pub(crate) async fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        timeout(PATIENCE, self.read())
            .await
            .expect("neither a packet nor the end came")
    }

    async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.stream.read_u8().await.ok()?;
        let (mut length, mut shift) = (0usize, 0);
        loop {
            let byte = self.stream.read_u8().await.ok()?;
            length |= usize::from(byte & 127) << shift;
            shift += 7;
            if byte & 128 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.ok()?;
        Some((first, body))
    }

    pub(crate) async fn expect(&mut self, first: u8, body: &[u8]) {
        let (got, got_body) = self.packet().await.expect("the connection ended");
        assert_eq!((got, got_body.as_slice()), (first, body));
    }

    /// Expects an answer with this packet id.
    pub(crate) async fn expect_id(&mut self, first: u8, packet_id: u16) {
        self.expect(first, &packet_id.to_be_bytes()).await;
    }

    /// Whether PINGREQ is answered next: everything before it has been dealt with.
    pub(crate) async fn ping(&mut self) {
        self.send(b"\xc0\x00").await;
        self.expect(0xd0, b"").await;
    }

    /// Expects the end of the connection, and nothing before it.
    pub(crate) async fn expect_end(&mut self) {
        assert_eq!(self.packet().await, None);
    }

    /// The next message: topic and payload; acknowledged when it wants to be.
    pub(crate) async fn message(&mut self) -> (String, Vec<u8>) {
        let (first, body) = self.packet().await.expect("the connection ended");
        assert_eq!(first & 0xF0, 0x30, "a PUBLISH");
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
        let mut rest = &body[2 + length..];
        if first & 6 != 0 {
            let id = u16::from_be_bytes([rest[0], rest[1]]);
            assert_ne!(id, 0);
            rest = &rest[2..];
            self.send(&with_id(0x40, id)).await;
        }
        (topic, rest.to_vec())
    }

    pub(crate) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }
}
