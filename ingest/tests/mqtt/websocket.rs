//! MQTT over WebSocket, section 6 of the standard.

use std::time::{Duration, Instant};

use onemap_ingest::mqtt::{ClientAuth, WebSocketConfig};
use onemap_model::Refusal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Connect, TELEMETRY, publish};
use crate::neighbour::Neighbour;
use crate::server::{PATIENCE, Server, until};
use crate::tls::Pki;

const HEAD: &str = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                    Sec-WebSocket-Protocol: mqtt\r\n";

async fn start() -> Server {
    let websocket = WebSocketConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: false,
        origins: vec!["https://desk.example".to_owned()],
    };
    Server::with(|config| config.websocket = Some(websocket), |_| {}).await
}

/// A client that makes its frames itself.
struct Socket<S>(S);

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FIN: u8 = 0x80;

/// A frame of a client; masked as it must be.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut bytes = vec![first];
    match payload.len() {
        n @ 0..126 => bytes.push(0x80 | n as u8),
        n @ 126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend((n as u16).to_be_bytes());
        }
        n => {
            bytes.push(0x80 | 127);
            bytes.extend((n as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    bytes
}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Socket<S> {
    /// Asks with a head; gives the status and what was answered.
    async fn ask(stream: S, head: &str) -> (Self, u16, String) {
        let mut socket = Self(stream);
        socket.send(format!("{head}\r\n").as_bytes()).await;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(socket.byte().await.expect("an answer"));
        }
        let answer = String::from_utf8(answer).unwrap();
        let status = answer[9..12].parse().unwrap();
        (socket, status, answer)
    }

    async fn send(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.0.write_all(bytes)).await.unwrap().unwrap();
    }

    async fn byte(&mut self) -> Option<u8> {
        timeout(PATIENCE, self.0.read_u8()).await.unwrap().ok()
    }

    /// The next frame: its first byte and payload.
    async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.byte().await?;
        let mut n = usize::from(self.byte().await?);
        assert!(n < 128, "servers do not mask");
        if n == 126 {
            n = usize::from(u16::from_be_bytes([self.byte().await?, self.byte().await?]));
        }
        let mut payload = vec![0; n];
        timeout(PATIENCE, self.0.read_exact(&mut payload))
            .await
            .unwrap()
            .ok()?;
        Some((first, payload))
    }

    async fn expect(&mut self, payload: &[u8]) {
        assert_eq!(self.frame().await, Some((FIN | BINARY, payload.to_vec())));
    }

    async fn connect(&mut self, device: &str) {
        self.send(&frame(FIN | BINARY, &Connect::of(device).bytes()))
            .await;
        self.expect(b"\x20\x02\x00\x00").await;
    }

    /// Expects a close frame with a code, then the end.
    async fn expect_close(&mut self, code: u16) {
        let (first, payload) = self.frame().await.expect("a close frame");
        assert_eq!((first, &payload[..2]), (FIN | CLOSE, &code.to_be_bytes()[..]));
        assert_eq!(self.frame().await, None);
    }
}

async fn tcp(server: &Server) -> TcpStream {
    TcpStream::connect(server.addresses.websocket.unwrap())
        .await
        .unwrap()
}

async fn open(server: &Server) -> Socket<TcpStream> {
    let (socket, status, answer) = Socket::ask(tcp(server).await, HEAD).await;
    assert_eq!(status, 101);
    assert!(answer.contains("Sec-WebSocket-Protocol: mqtt\r\n"), "{answer}");
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_may_span_frames_and_share_them() {
    let server = start().await;
    let mut socket = open(&server).await;
    socket.connect("A").await;
    let mut two = publish(TELEMETRY, 1, 1, b"one");
    two.extend(publish(TELEMETRY, 1, 2, &[b'2'; 3000]));
    // Two packets, cut into frames anywhere, one of them fragmented with a ping between.
    let (a, rest) = two.split_at(5);
    let (b, c) = rest.split_at(500);
    socket.send(&frame(FIN | BINARY, a)).await;
    socket.send(&frame(BINARY, b)).await;
    socket.send(&frame(FIN | PING, b"hi")).await;
    socket.send(&frame(FIN, c)).await;
    let mut acks = Vec::new();
    let mut has_pong = false;
    while acks.len() < 8 {
        match socket.frame().await.expect("the connection ended") {
            (first, payload) if first == FIN | BINARY => acks.extend(payload),
            (first, payload) => {
                assert_eq!((first, payload.as_slice()), (FIN | PONG, &b"hi"[..]));
                has_pong = true;
            }
        }
    }
    assert!(has_pong);
    assert_eq!(acks, b"\x40\x02\x00\x01\x40\x02\x00\x02");
    // Byte by byte.
    for byte in publish(TELEMETRY, 1, 3, b"3") {
        socket.send(&frame(FIN | BINARY, &[byte])).await;
    }
    socket.expect(b"\x40\x02\x00\x03").await;
    assert_eq!(server.payloads().len(), 3);
    assert_eq!(server.counters.counted().websockets, 1);
    socket.send(&frame(FIN | BINARY, b"\xe0\x00")).await;
    let (first, _) = socket.frame().await.expect("a close frame");
    assert_eq!(first, FIN | CLOSE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_6_0_0_1_a_frame_that_is_not_binary_ends_the_connection() {
    let server = start().await;
    let mut socket = open(&server).await;
    socket.connect("A").await;
    socket.send(&frame(FIN | TEXT, b"hello")).await;
    socket.expect_close(1003).await;
    let kept = server.refused(Refusal::MalformedPacket).await;
    assert_eq!(
        (kept.device.as_str(), kept.payload.as_slice()),
        ("A", &b"hello"[..])
    );
    // Before CONNECT it is the same, of a stranger.
    let mut socket = open(&server).await;
    socket.send(&frame(FIN | TEXT, b"hello")).await;
    socket.expect_close(1003).await;
    until("the second refusal", || {
        server.counters.refused(Refusal::MalformedPacket) == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mqtt_6_0_0_3_and_4_the_subprotocol_is_offered_and_chosen() {
    let server = start().await;
    for (from, to, wanted) in [
        ("Protocol: mqtt", "Protocol: chat, mqtt", 101),
        ("Protocol: mqtt", "Protocol: chat", 400),
        ("Sec-WebSocket-Protocol: mqtt\r\n", "", 400),
        ("/mqtt", "/nowhere", 404),
        ("Upgrade: websocket\r\n", "", 426),
        ("GET", "PUT", 405),
        (
            "Host: localhost",
            "Host: localhost\r\nOrigin: https://evil.example",
            403,
        ),
        (
            "Host: localhost",
            "Host: localhost\r\nOrigin: https://desk.example",
            101,
        ),
        (
            "Host: localhost",
            "Host: localhost\r\nOrigin: http://localhost:8080",
            101,
        ),
    ] {
        let head = HEAD.replace(from, to);
        let (_, status, answer) = Socket::ask(tcp(&server).await, &head).await;
        assert_eq!(status, wanted, "{to}: {answer}");
    }
    until("the refusals", || {
        server.counters.refused(Refusal::MalformedPacket) == 6
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_the_rules_of_frames_is_cut_off_and_harms_nobody() {
    let server = start().await;
    let neighbour = Neighbour::start(server.address).await;
    let unmasked = [&[FIN | BINARY, 2][..], b"\xc0\x00"].concat();
    let oversize = {
        let mut bytes = vec![FIN | BINARY, 0x80 | 127];
        bytes.extend((1u64 << 40).to_be_bytes());
        bytes.extend([1, 2, 3, 4]);
        bytes
    };
    let endless: Vec<u8> = std::iter::once(frame(BINARY, &[0x30; 40_000]))
        .chain((0..40).map(|_| frame(0, &[0; 40_000])))
        .flatten()
        .collect();
    let pings: Vec<u8> = (0..2000).flat_map(|_| frame(FIN | PING, b"x")).collect();
    let empty: Vec<u8> = (0..2000).flat_map(|_| frame(FIN | BINARY, b"")).collect();
    let cases: [(&str, Vec<u8>); 8] = [
        ("not masked", unmasked),
        ("a terabyte announced", oversize),
        ("a message without end", endless),
        ("a flood of pings", pings),
        ("a flood of empty frames", empty),
        ("a reserved opcode", frame(FIN | 3, b"x")),
        ("a reserved bit", frame(FIN | 0x40 | BINARY, b"x")),
        ("a continuation of nothing", frame(FIN, b"x")),
    ];
    for (i, (what, bytes)) in cases.into_iter().enumerate() {
        let mut socket = open(&server).await;
        socket.connect("A").await;
        // The server may end it before all is sent.
        let _ = timeout(PATIENCE, socket.0.write_all(&bytes)).await.unwrap();
        let start = Instant::now();
        while socket.frame().await.is_some() {}
        assert!(start.elapsed() < Duration::from_secs(5), "{what}");
        until(what, || {
            server.counters.refused(Refusal::MalformedPacket) == i as u64 + 1
        })
        .await;
    }
    neighbour.was_well(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_never_ends_is_given_up() {
    let websocket = WebSocketConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: false,
        origins: Vec::new(),
    };
    let server = Server::with(
        |config| {
            config.websocket = Some(websocket);
            config.handshake_timeout = Duration::from_millis(400);
        },
        |_| {},
    )
    .await;
    let mut slow = Socket(tcp(&server).await);
    slow.send(b"GET /mqtt HT").await;
    assert_eq!(slow.byte().await, None);
    let mut long = Socket(tcp(&server).await);
    let head = format!("GET /mqtt HTTP/1.1\r\nX: {}", "x".repeat(9000));
    long.send(head.as_bytes()).await;
    let mut answer = String::new();
    let _ = timeout(PATIENCE, long.0.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let mut mqtt = Socket(tcp(&server).await);
    mqtt.send(&Connect::of("A").bytes()).await;
    let mut answer = String::new();
    let _ = timeout(PATIENCE, mqtt.0.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_over_tls_is_served() {
    let pki = Pki::new();
    let mut tls = pki.config(ClientAuth::None);
    tls.listen = None;
    let websocket = WebSocketConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: true,
        origins: Vec::new(),
    };
    let server = Server::with(
        |config| {
            config.tls = Some(tls);
            config.websocket = Some(websocket);
        },
        |_| {},
    )
    .await;
    assert_eq!(server.addresses.tls, None);
    let mut config = pki.client(None);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let stream = connector
        .connect("localhost".try_into().unwrap(), tcp(&server).await)
        .await
        .unwrap();
    let (mut socket, status, _) = Socket::ask(stream, HEAD).await;
    assert_eq!(status, 101);
    socket.connect("A").await;
    socket
        .send(&frame(FIN | BINARY, &publish(TELEMETRY, 1, 1, b"x")))
        .await;
    socket.expect(b"\x40\x02\x00\x01").await;
}
