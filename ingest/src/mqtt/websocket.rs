//! MQTT over WebSocket (MQTT 3.1.1, section 6; RFC 6455).
//!
//! The HTTP request is read and judged here, the frames are tungstenite's. Packets may span frames and
//! several may share one. A frame that is not binary ends the connection [MQTT-6.0.0-1].

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Buf as _, Bytes};
use futures_util::{Sink as _, Stream as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig as Limits};

use super::transport::{Transport, Violation};

/// Largest HTTP request.
const MAX_REQUEST_BYTES: usize = 8 << 10;
const MAX_HEADERS: usize = 64;
/// Pings, pongs and empty frames a peer may send at once; then [`CONTROLS_PER_SECOND`]. More ends the
/// connection: they cost work and carry nothing.
const MAX_CONTROLS: f64 = 64.0;
const CONTROLS_PER_SECOND: f64 = 4.0;
/// Largest binary frame that is written.
const MAX_WRITE_BYTES: usize = 64 << 10;
/// Bytes kept of a frame that breaks the rules.
const KEPT_BYTES: usize = 4096;

/// Why a request is not let in, as HTTP says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Status code: 400, 403, 404, 405, 426 or 431.
    pub status: u16,
    /// Why, for the answer and the log.
    pub why: &'static str,
}

const fn no(status: u16, why: &'static str) -> Rejection {
    Rejection { status, why }
}

/// Judges the head of a request, up to and with its empty line. Gives the value of `Sec-WebSocket-Accept`.
///
/// A request with an `Origin` comes from a page in a browser. It must be a page of this host (on any port), or
/// its origin must be in `origins`, where `*` stands for all.
///
/// # Errors
/// Why it is not a WebSocket for MQTT, or not from where it may come.
pub fn judge(head: &[u8], origins: &[String]) -> Result<String, Rejection> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(no(431, "too many header fields")),
        _ => return Err(no(400, "not an HTTP request")),
    }
    if request.method != Some("GET") || request.version != Some(1) {
        return Err(no(405, "a WebSocket begins with GET and HTTP/1.1"));
    }
    let path = request.path.unwrap_or_default();
    if !matches!(path.split('?').next(), Some("/mqtt" | "/")) {
        return Err(no(404, "MQTT is at /mqtt"));
    }
    let field = |name: &str| {
        let mut found = request
            .headers
            .iter()
            .filter(|h| h.name.eq_ignore_ascii_case(name));
        found.next().and_then(|h| std::str::from_utf8(h.value).ok())
    };
    let lists = |name: &str, word: &str| {
        let words = request
            .headers
            .iter()
            .filter(|h| h.name.eq_ignore_ascii_case(name));
        words
            .filter_map(|h| std::str::from_utf8(h.value).ok())
            .flat_map(|value| value.split(','))
            .any(|w| w.trim().eq_ignore_ascii_case(word))
    };
    if !lists("upgrade", "websocket") || !lists("connection", "upgrade") {
        return Err(no(426, "this port speaks WebSocket only"));
    }
    if field("sec-websocket-version") != Some("13") {
        return Err(no(426, "only WebSocket version 13 is spoken here"));
    }
    let key = field("sec-websocket-key").map(str::trim).unwrap_or_default();
    if key.len() != 24 || !key.ends_with("==") {
        return Err(no(400, "Sec-WebSocket-Key is not 16 bytes in base64"));
    }
    if !lists("sec-websocket-protocol", "mqtt") {
        return Err(no(400, "the subprotocol `mqtt` is not offered"));
    }
    if let Some(origin) = field("origin")
        && !is_allowed(origin.trim(), field("host").unwrap_or_default().trim(), origins)
    {
        return Err(no(403, "pages of this origin may not connect"));
    }
    Ok(derive_accept_key(key.as_bytes()))
}

fn is_allowed(origin: &str, host: &str, origins: &[String]) -> bool {
    let is_listed = origins
        .iter()
        .any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin));
    let of_page = origin
        .split_once("://")
        .map(|(_, authority)| without_port(authority));
    is_listed || of_page.is_some_and(|page| !page.is_empty() && page.eq_ignore_ascii_case(without_port(host)))
}

/// `host` of `host:port`; an IPv6 address keeps its brackets.
fn without_port(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(at) if !authority[at..].contains(']') => &authority[..at],
        _ => authority,
    }
}

/// How an upgrade ended that gave no WebSocket.
#[derive(Debug)]
pub(super) enum NotUpgraded {
    /// The peer left or said nothing.
    Gone,
    /// It was told why.
    Rejected(Rejection),
}

/// Reads the request and answers it.
pub(super) async fn upgrade<S: Transport>(
    mut stream: S,
    origins: &[String],
    max_packet_bytes: usize,
) -> Result<WebSocket<S>, NotUpgraded> {
    let mut head = Vec::with_capacity(1024);
    let judged = loop {
        match stream.read_buf(&mut head).await {
            Ok(0) | Err(_) if head.is_empty() => return Err(NotUpgraded::Gone),
            Ok(0) | Err(_) => break Err(no(400, "the request ended early")),
            Ok(_) => {}
        }
        if let Some(at) = head.windows(4).position(|w| w == b"\r\n\r\n") {
            break judge(&head[..at + 4], origins).map(|accept| (accept, at + 4));
        }
        if head.len() > MAX_REQUEST_BYTES {
            break Err(no(431, "the request is over 8 KiB"));
        }
        // Other bytes than a request's are told at once.
        let mut none = [httparse::EMPTY_HEADER; MAX_HEADERS];
        match httparse::Request::new(&mut none).parse(&head) {
            Ok(_) => {}
            Err(httparse::Error::TooManyHeaders) => break Err(no(431, "too many header fields")),
            Err(_) => break Err(no(400, "not an HTTP request")),
        }
    };
    let (accept, length) = match judged {
        Ok(judged) => judged,
        Err(rejection) => {
            let answer = answer(rejection);
            // Whether it reads why is its own affair.
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.flush().await;
            let _ = stream.shutdown().await;
            super::handshake::drain(&mut stream).await;
            return Err(NotUpgraded::Rejected(rejection));
        }
    };
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    );
    let written = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.flush().await
    };
    written.await.map_err(|_| NotUpgraded::Gone)?;
    // A frame holds any packet that is allowed, and small ones may share it.
    let max_bytes = (2 * max_packet_bytes).max(64 << 10);
    let limits = Limits::default()
        .read_buffer_size(4 << 10)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * MAX_WRITE_BYTES)
        .max_message_size(Some(max_bytes))
        .max_frame_size(Some(max_bytes));
    let rest = head.split_off(length);
    let frames = WebSocketStream::from_partially_read(stream, rest, Role::Server, Some(limits)).await;
    Ok(WebSocket {
        frames,
        left: Bytes::new(),
        controls: MAX_CONTROLS,
        filled_at: Instant::now(),
    })
}

fn answer(rejection: Rejection) -> String {
    let reason = match rejection.status {
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        _ => "Bad Request",
    };
    let extra = match rejection.status {
        405 => "Allow: GET\r\n",
        426 => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        _ => "",
    };
    let (status, why) = (rejection.status, rejection.why);
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain\r\nConnection: close\r\n{extra}Content-Length: {}\r\n\r\n{why}\n",
        why.len() + 1
    )
}

/// The bytes in the binary frames of a WebSocket.
#[derive(Debug)]
pub(super) struct WebSocket<S> {
    frames: WebSocketStream<S>,
    /// Of the last frame, not read yet.
    left: Bytes,
    /// Frames without content that may come now.
    controls: f64,
    filled_at: Instant,
}

impl<S: Transport> WebSocket<S> {
    /// Whether one more frame without content is in order.
    fn may_control(&mut self) -> bool {
        let now = Instant::now();
        let gained = now.duration_since(self.filled_at).as_secs_f64() * CONTROLS_PER_SECOND;
        self.controls = (self.controls + gained).min(MAX_CONTROLS) - 1.0;
        self.filled_at = now;
        self.controls >= 0.0
    }

    /// Says why it ends, as far as that goes without waiting.
    fn violated(
        &mut self,
        context: &mut Context<'_>,
        code: CloseCode,
        what: &'static str,
        bytes: &[u8],
    ) -> io::Error {
        let close = CloseFrame {
            code,
            reason: what.into(),
        };
        let mut frames = Pin::new(&mut self.frames);
        if frames.as_mut().start_send(Message::Close(Some(close))).is_ok() {
            let _ = frames.poll_flush(context); // the peer may not read
        }
        Violation {
            what: what.to_owned(),
            bytes: bytes[..bytes.len().min(KEPT_BYTES)].to_vec(),
        }
        .into_io()
    }
}

impl<S: Transport> Transport for WebSocket<S> {}

impl<S: Transport> AsyncRead for WebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.left.is_empty() {
            let Some(message) = ready!(Pin::new(&mut this.frames).poll_next(context)) else {
                return Poll::Ready(Ok(()));
            };
            match message {
                Ok(Message::Binary(bytes)) if !bytes.is_empty() => this.left = bytes,
                Ok(Message::Text(text)) => {
                    let what = "a text frame, MQTT is binary";
                    let error = this.violated(context, CloseCode::Unsupported, what, text.as_bytes());
                    return Poll::Ready(Err(error));
                }
                Ok(_) => {
                    if !this.may_control() {
                        let what = "too many frames without content";
                        return Poll::Ready(Err(this.violated(context, CloseCode::Policy, what, &[])));
                    }
                }
                Err(error) => return Poll::Ready(Err(of_frames(error))),
            }
        }
        let n = this.left.len().min(out.remaining());
        out.put_slice(&this.left[..n]);
        this.left.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl<S: Transport> AsyncWrite for WebSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut frames = Pin::new(&mut self.frames);
        ready!(frames.as_mut().poll_ready(context)).map_err(of_frames)?;
        let bytes = &bytes[..bytes.len().min(MAX_WRITE_BYTES)];
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        frames.start_send(message).map_err(of_frames)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.frames).poll_flush(context).map_err(of_frames)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.frames).poll_close(context).map_err(of_frames)
    }
}

fn of_frames(error: tokio_tungstenite::tungstenite::Error) -> io::Error {
    use tokio_tungstenite::tungstenite::Error;
    use tokio_tungstenite::tungstenite::error::ProtocolError;
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => io::ErrorKind::UnexpectedEof.into(),
        Error::Io(error) => error,
        error @ (Error::Capacity(_) | Error::Protocol(_) | Error::Utf8(_)) => Violation {
            what: format!("WebSocket: {error}"),
            bytes: Vec::new(),
        }
        .into_io(),
        error => io::Error::other(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    fn request(change: impl Fn(String) -> String) -> Vec<u8> {
        let plain = format!(
            "GET /mqtt HTTP/1.1\r\nHost: city.example:8083\r\nUpgrade: websocket\r\n\
             Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\
             Sec-WebSocket-Protocol: mqttv3.1, mqtt\r\n\r\n"
        );
        change(plain).into_bytes()
    }

    fn status(change: impl Fn(String) -> String, origins: &[&str]) -> u16 {
        let origins: Vec<String> = origins.iter().map(|o| (*o).to_owned()).collect();
        judge(&request(change), &origins).map_or_else(|no| no.status, |_| 101)
    }

    #[test]
    fn the_example_of_the_rfc_is_answered() {
        let accept = judge(&request(|r| r), &[]).unwrap();
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_is_not_mqtt_over_websocket_is_told_why() {
        for (from, to, wanted) in [
            ("GET", "POST", 405),
            ("HTTP/1.1", "HTTP/1.0", 405),
            ("/mqtt HTTP", "/ HTTP", 101),
            ("/mqtt HTTP", "/mqtt?x=1 HTTP", 101),
            ("/mqtt HTTP", "/screen HTTP", 404),
            ("Upgrade: websocket\r\n", "", 426),
            ("keep-alive, Upgrade", "keep-alive", 426),
            ("Version: 13", "Version: 8", 426),
            (KEY, "short", 400),
            ("mqttv3.1, mqtt", "mqttv3.1", 400),
            ("mqttv3.1, mqtt", "soap", 400),
            ("GET", "\u{1}", 400),
        ] {
            assert_eq!(status(|r| r.replace(from, to), &[]), wanted, "{from} -> {to}");
        }
    }

    #[test]
    fn pages_of_other_hosts_are_refused_unless_they_are_listed() {
        let with = |origin: &str, host: &str, origins: &[&str]| {
            status(
                |r| {
                    r.replace(
                        "city.example:8083\r\n",
                        &format!("{host}\r\nOrigin: {origin}\r\n"),
                    )
                },
                origins,
            )
        };
        assert_eq!(with("http://city.example:8080", "city.example:8083", &[]), 101);
        assert_eq!(with("https://City.Example", "city.example", &[]), 101);
        assert_eq!(with("http://[::1]:8080", "[::1]:9", &[]), 101);
        assert_eq!(with("http://[::1]", "[::2]:9", &[]), 403);
        assert_eq!(with("https://evil.example", "city.example", &[]), 403);
        assert_eq!(with("https://city.example.evil", "city.example", &[]), 403);
        assert_eq!(with("null", "city.example", &[]), 403);
        assert_eq!(with("null", "", &[]), 403);
        let listed = &["https://Desk.example"];
        assert_eq!(with("https://desk.example", "city.example", listed), 101);
        assert_eq!(with("http://desk.example", "city.example", listed), 403);
        assert_eq!(with("null", "city.example", &["*"]), 101);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = judge(&bytes, &[]);
        }

        #[test]
        fn no_change_makes_it_panic(changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..8)) {
            let mut bytes = request(|r| r);
            for (at, byte) in changes {
                let at = usize::from(at) % bytes.len();
                bytes[at] = byte;
            }
            let _ = judge(&bytes, &["x".to_owned()]);
        }
    }
}
