//! What one HTTP server bears: connections, the time of their heads and bodies, bytes of bodies in flight.
//!
//! Without limits a few hundred silent peers take every file descriptor and every byte.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use onemap_ingest::mqtt::Certificates;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::auth::Over;
use crate::error::Problem;
use crate::shares::{Refused, Shares};

/// Bytes of an answer that buy one second more to a peer that takes them slowly: less than of a body, because a
/// desk behind a poor line still reads.
const ANSWER_BYTES_PER_SECOND: u64 = 4 << 10;
/// Bytes of a body that buy one second more.
const BYTES_PER_SECOND: u64 = 64 << 10;
/// Bytes of a request's head, and of one read.
const HEAD_BYTES: usize = 64 << 10;
/// Connections over the limit that are still answered: health and metrics as ever, all else with 503.
const N_SPARE: usize = 32;
/// Of one address that has as many connections as one may: it shuts nobody else out of `/health`.
const N_SPARE_PER_ADDRESS: usize = 4;
/// How long a spare connection may take for its head.
const SPARE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a connection that is closed may still send what nobody reads, so that its peer sees the answer
/// and no reset.
const LINGER: Duration = Duration::from_secs(2);
/// How long open requests may take after the stop.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Where bodies go into a file as they come and are not held: they are no part of the budget of all bodies.
pub(crate) const SPOOLED: &str = "/api/v1/entities/import";

/// `[http]`, as far as it bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Of one address (of IPv6 one /64), so that one takes not all of them, the spare ones included.
    pub connections_per_address: usize,
    /// Time for a request's head, and of a connection without a request.
    pub header_timeout: Duration,
    /// Time for a request's body, and a second more for each 64 KiB of it.
    pub body_timeout: Duration,
    /// Time that a peer may take nothing of its answer, and a second more for each 4 KiB that it takes.
    pub answer_timeout: Duration,
    /// Largest body of one request.
    pub body_bytes: usize,
    /// Bytes of all bodies that are being received or worked on.
    pub all_bodies_bytes: usize,
    /// What one caller may take.
    pub shares: Shares,
}

/// What `/metrics` says of connections and bodies.
#[derive(Debug, Default)]
pub struct Gauges {
    pub(crate) connections: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) late_bodies: AtomicU64,
    pub(crate) untaken_answers: AtomicU64,
    pub(crate) bodies_over_budget: AtomicU64,
    pub(crate) body_bytes: AtomicUsize,
    pub(crate) shares: Refused,
}

/// Limits and what is used of them.
#[derive(Clone)]
pub(crate) struct Bounds {
    limits: Limits,
    gauges: Arc<Gauges>,
    /// Of all listeners together.
    places: Arc<Semaphore>,
    spare: Arc<Semaphore>,
    addresses: Arc<Addresses>,
}

/// Open connections by address.
#[derive(Default)]
struct Addresses(Mutex<HashMap<IpAddr, usize>>);

/// One of them; it counts no more when it is dropped.
struct Counted {
    of: Arc<Addresses>,
    address: IpAddr,
    /// Its address has as many others as one may.
    is_over: bool,
}

impl Addresses {
    /// Counts a connection; of an address that has as many as one may some more are for the spare places.
    fn enter(self: &Arc<Self>, peer: IpAddr, most: usize) -> Option<Counted> {
        let address = match peer.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
            v4 => v4,
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let n = all.entry(address).or_default();
        if *n >= most + N_SPARE_PER_ADDRESS {
            return None;
        }
        let is_over = *n >= most;
        *n += 1;
        let of = self.clone();
        Some(Counted { of, address, is_over })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut all = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = all.get_mut(&self.address) {
            *n -= 1;
            if *n == 0 {
                all.remove(&self.address);
            }
        }
    }
}

impl Bounds {
    pub(crate) fn new(limits: Limits, gauges: Arc<Gauges>) -> Self {
        Self {
            places: Arc::new(Semaphore::new(limits.connections)),
            spare: Arc::new(Semaphore::new(N_SPARE)),
            addresses: Arc::default(),
            limits,
            gauges,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
enum Verdict {
    Fine,
    Late,
    OverBudget,
}

/// Bytes held by one request; given back when it is answered.
struct Held {
    gauges: Arc<Gauges>,
    bytes: AtomicUsize,
    verdict: AtomicUsize,
}

impl Held {
    /// Takes `n` bytes of the budget, or none.
    fn take(&self, n: usize, budget: usize) -> bool {
        let all = &self.gauges.body_bytes;
        if all.fetch_add(n, Ordering::Relaxed).saturating_add(n) > budget {
            all.fetch_sub(n, Ordering::Relaxed);
            return false;
        }
        self.bytes.fetch_add(n, Ordering::Relaxed);
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        self.gauges.body_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A body with a deadline that moves with what came, and within the budget of all bodies.
struct Bounded {
    body: Body,
    limits: Limits,
    held: Arc<Held>,
    n_bytes: u64,
    is_spooled: bool,
    /// Set when the body is first asked for: who never reads it waits for nothing.
    began: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl Bounded {
    fn fail<T>(&self, verdict: Verdict, text: &str) -> Poll<Option<Result<T, axum::Error>>> {
        self.held.verdict.store(verdict as usize, Ordering::Relaxed);
        Poll::Ready(Some(Err(axum::Error::new(io::Error::other(text.to_owned())))))
    }
}

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            this.n_bytes += data.len() as u64;
            if !this.is_spooled && !this.held.take(data.len(), this.limits.all_bodies_bytes) {
                return this.fail(Verdict::OverBudget, "too many bodies are in flight");
            }
        }
        if polled.is_ready() {
            return polled;
        }
        let limit = this.limits.body_timeout;
        let (start, sleep) = this.began.get_or_insert_with(|| {
            let start = Instant::now();
            (start, Box::pin(tokio::time::sleep_until(start + limit)))
        });
        let deadline = *start + limit + Duration::from_secs(this.n_bytes / BYTES_PER_SECOND);
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        ready!(sleep.as_mut().poll(cx));
        this.fail(Verdict::Late, "the body did not arrive in time")
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bounds a request's body; what the handler made of a body that was cut is replaced by the reason.
pub(crate) async fn bound(State(bounds): State<Bounds>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let held = Arc::new(Held {
        gauges: bounds.gauges.clone(),
        bytes: AtomicUsize::new(0),
        verdict: AtomicUsize::new(Verdict::Fine as usize),
    });
    let is_spooled = request.uri().path() == SPOOLED;
    let request = request.map(|body| {
        Body::new(Bounded {
            body,
            limits: bounds.limits,
            held: held.clone(),
            n_bytes: 0,
            is_spooled,
            began: None,
        })
    });
    let response = next.run(request).await;
    let (counter, problem) = match held.verdict.load(Ordering::Relaxed) {
        v if v == Verdict::Late as usize => (
            &bounds.gauges.late_bodies,
            Problem::timed_out("the request's body did not arrive in time"),
        ),
        v if v == Verdict::OverBudget as usize => (
            &bounds.gauges.bodies_over_budget,
            Problem::unavailable("the bodies of all requests are more than the server holds now; try again"),
        ),
        _ => return response,
    };
    counter.fetch_add(1, Ordering::Relaxed);
    closing(problem.into_response())
}

fn closing(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Counts a connection while it is open.
struct Open {
    gauges: Arc<Gauges>,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn new(gauges: &Arc<Gauges>, permit: OwnedSemaphorePermit) -> Self {
        gauges.connections.fetch_add(1, Ordering::Relaxed);
        Self {
            gauges: gauges.clone(),
            _permit: permit,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gauges.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Since when a peer does not take what it is told, and the bytes it took since.
struct Waiting {
    since: Instant,
    n_bytes: u64,
    sleep: Pin<Box<Sleep>>,
}

/// A socket that is closed gently, because a peer that still sends would lose the answer to a reset; and at once
/// when its peer does not take what is written: a stream or a long poll that says nothing waits for nobody.
struct Gentle {
    open: Option<(TcpStream, Open)>,
    answer_timeout: Duration,
    waiting: Option<Waiting>,
    is_cut: bool,
}

impl Gentle {
    fn new(stream: TcpStream, open: Open, answer_timeout: Duration) -> Self {
        Self {
            open: Some((stream, open)),
            answer_timeout,
            waiting: None,
            is_cut: false,
        }
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        match &mut self.open {
            Some((stream, _)) => Ok(Pin::new(stream)),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// What a write came to, or the end of a peer that has not taken enough in its time.
    fn taken(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = written {
            if let (Some(waiting), Ok(n)) = (&mut self.waiting, &written) {
                waiting.n_bytes += *n as u64;
            }
            return Poll::Ready(written);
        }
        let limit = self.answer_timeout;
        let waiting = self.waiting.get_or_insert_with(|| {
            let since = Instant::now();
            Waiting {
                since,
                n_bytes: 0,
                sleep: Box::pin(tokio::time::sleep_until(since + limit)),
            }
        });
        let deadline = waiting.since + limit + Duration::from_secs(waiting.n_bytes / ANSWER_BYTES_PER_SECOND);
        if waiting.sleep.deadline() != deadline {
            waiting.sleep.as_mut().reset(deadline);
        }
        ready!(waiting.sleep.as_mut().poll(cx));
        if !self.is_cut {
            self.is_cut = true;
            if let Some((_, open)) = &self.open {
                open.gauges.untaken_answers.fetch_add(1, Ordering::Relaxed);
            }
        }
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the peer does not take its answer",
        )))
    }
}

impl Drop for Gentle {
    fn drop(&mut self) {
        let (Some((mut stream, open)), Ok(runtime)) =
            (self.open.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        if self.is_cut {
            // A reset: what it did not take leaves the kernel's memory too. Where that cannot be, the close
            // takes longer and is a close still.
            let _ = stream.set_zero_linger();
            return;
        }
        runtime.spawn(async move {
            let drained = async {
                // A peer that is gone needs no farewell.
                let _ = stream.shutdown().await;
                let mut unread = vec![0; 16 << 10];
                while stream.read(&mut unread).await.is_ok_and(|n| n > 0) {}
            };
            let _ = tokio::time::timeout(LINGER, drained).await;
            drop(open);
        });
    }
}

impl AsyncRead for Gentle {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, out)
    }
}

impl AsyncWrite for Gentle {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.stream()?.poll_write(cx, bytes);
        self.taken(cx, written)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Asked for when everything that was to be written is: the peer is not behind.
        self.waiting = None;
        self.stream()?.poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.stream()?.poll_write_vectored(cx, slices);
        self.taken(cx, written)
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
}

/// Answers what does not begin a handshake where TLS is spoken, so that somebody who forgot the `s` reads why.
const NOT_SECURED: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    connection: close\r\ncontent-length: 28\r\n\r\nthis address speaks https://\n";
/// First byte of a handshake (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;

/// The handshake of one connection, which has as long as a request's head has.
async fn secured(
    mut socket: Gentle,
    peer: SocketAddr,
    certificates: &Certificates,
    limits: Limits,
) -> Option<TlsStream<Gentle>> {
    let shaken = async {
        let mut first = [HANDSHAKE];
        let n_first = socket.stream()?.peek(&mut first).await?;
        if n_first > 0 && first[0] != HANDSHAKE {
            socket.write_all(NOT_SECURED).await?;
            socket.shutdown().await?;
            return Ok(None);
        }
        let acceptor = TlsAcceptor::from(certificates.for_web());
        acceptor.accept(socket).await.map(Some)
    };
    match tokio::time::timeout(limits.header_timeout, shaken).await {
        Ok(Ok(socket)) => socket,
        Ok(Err::<_, io::Error>(error)) => {
            tracing::debug!(%peer, "no TLS with an HTTP client: {error}");
            None
        }
        Err(_) => None,
    }
}

/// One connection to its end.
async fn connection(
    socket: impl AsyncRead + AsyncWrite + Unpin,
    over: Over,
    peer: SocketAddr,
    router: Router,
    is_spare: bool,
    limits: Limits,
    stop: CancellationToken,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(over);
        let path = request.uri().path();
        let answered = !is_spare || path.starts_with("/health") || path == "/metrics";
        let answer = answered.then(|| router.call(request));
        async move {
            let response = match answer {
                Some(answer) => answer.await?,
                None => Problem::unavailable("the server has as many connections as it takes; try again")
                    .into_response(),
            };
            Ok::<_, Infallible>(if is_spare { closing(response) } else { response })
        }
    });
    let header_timeout = match is_spare {
        true => SPARE_TIMEOUT.min(limits.header_timeout),
        false => limits.header_timeout,
    };
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .keep_alive(!is_spare)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(socket), service);
    let mut serving = pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            match tokio::time::timeout(LAST_ANSWERS, serving).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, "an HTTP connection ended: {error}");
    }
}

/// Serves until `stop`; then streams end and open requests are answered.
pub(crate) async fn serve(
    listener: TcpListener,
    certificates: Option<Certificates>,
    router: Router,
    bounds: Bounds,
    stop: CancellationToken,
) {
    let Bounds {
        limits,
        gauges,
        places,
        spare,
        addresses,
    } = bounds;
    // Ends when the last connection has dropped its sender.
    let (working, mut all_ended) = mpsc::channel::<Infallible>(1);
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_the_peer(&error) => continue,
            Err(error) => {
                tracing::warn!("no HTTP connection can be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let Some(counted) = addresses.enter(peer.ip(), limits.connections_per_address) else {
            gauges.refused.fetch_add(1, Ordering::Relaxed);
            if certificates.is_none() {
                refuse(stream);
            }
            continue;
        };
        let place = match counted.is_over {
            true => None,
            false => places.clone().try_acquire_owned().ok(),
        };
        let (permit, is_spare) = match place {
            Some(permit) => (Some(permit), false),
            None => {
                gauges.refused.fetch_add(1, Ordering::Relaxed);
                (spare.clone().try_acquire_owned().ok(), true)
            }
        };
        let Some(permit) = permit else {
            if certificates.is_none() {
                refuse(stream);
            }
            continue;
        };
        // A streamed answer is several small writes: held back for the peer's acknowledgement, the last of them
        // would come 40 ms late.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, "an HTTP connection keeps its delay: {error}");
        }
        let socket = Gentle::new(stream, Open::new(&gauges, permit), limits.answer_timeout);
        let (router, stop, working) = (router.clone(), stop.clone(), working.clone());
        let certificates = certificates.clone();
        tokio::spawn(async move {
            match certificates {
                None => connection(socket, Over::Clear, peer, router, is_spare, limits, stop).await,
                Some(certificates) => {
                    let shaken = tokio::select! {
                        shaken = secured(socket, peer, &certificates, limits) => shaken,
                        () = stop.cancelled() => None,
                    };
                    if let Some(socket) = shaken {
                        connection(socket, Over::Tls, peer, router, is_spare, limits, stop).await;
                    }
                }
            }
            drop((working, counted));
        });
    }
    drop((listener, working));
    // Nothing is ever sent.
    let _ = all_ended.recv().await;
}

fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// Says 503 without waiting for anything, and closes.
fn refuse(stream: TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\nconnection: close\r\n\
        content-length: 0\r\n\r\n";
    // A peer that cannot take it now goes without.
    if let Ok(mut stream) = stream.into_std() {
        let _ = io::Write::write(&mut stream, ANSWER);
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use axum::routing::get;

    const TIMEOUT: Duration = Duration::from_millis(300);
    /// More than the kernel's buffers of both sides hold.
    const N_LARGE: usize = 64 << 20;
    const IN_TIME: Duration = Duration::from_secs(30);

    struct Running {
        address: SocketAddr,
        gauges: Arc<Gauges>,
        stop: tokio_util::sync::DropGuard,
    }

    async fn running(router: Router) -> Running {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let limits = Limits {
            connections: 10,
            connections_per_address: 10,
            header_timeout: IN_TIME,
            body_timeout: IN_TIME,
            answer_timeout: TIMEOUT,
            body_bytes: 1 << 20,
            all_bodies_bytes: 1 << 20,
            shares: Shares::default(),
        };
        let (gauges, stop) = (Arc::<Gauges>::default(), CancellationToken::new());
        let bounds = Bounds::new(limits, gauges.clone());
        tokio::spawn(serve(listener, None, router, bounds, stop.clone()));
        Running {
            address,
            gauges,
            stop: stop.drop_guard(),
        }
    }

    impl Running {
        async fn ask(&self, path: &str) -> TcpStream {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            stream
        }

        /// Waits until every connection has ended.
        async fn ended(&self) {
            let all = async {
                while self.gauges.connections.load(Ordering::Relaxed) > 0 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(IN_TIME, all)
                .await
                .expect("the connection ends");
        }

        fn n_untaken(&self) -> u64 {
            self.gauges.untaken_answers.load(Ordering::Relaxed)
        }
    }

    async fn to_the_end(stream: &mut TcpStream) -> io::Result<usize> {
        let (mut bytes, mut n_all) = (vec![0; 1 << 20], 0);
        loop {
            match stream.read(&mut bytes).await? {
                0 => return Ok(n_all),
                n => n_all += n,
            }
        }
    }

    #[tokio::test]
    async fn who_never_reads_its_answer_is_cut() {
        let large = || async { vec![b'x'; N_LARGE] };
        let running = running(Router::new().route("/large", get(large))).await;
        let mut silent = running.ask("/large").await;
        silent.readable().await.unwrap();
        running.ended().await;
        assert_eq!(running.n_untaken(), 1);
        let rest = tokio::time::timeout(IN_TIME, to_the_end(&mut silent))
            .await
            .unwrap();
        assert!(rest.as_ref().map_or(true, |n| *n < N_LARGE), "{rest:?}");
        // Who reads has it all.
        let mut reader = running.ask("/large").await;
        assert!(to_the_end(&mut reader).await.unwrap() > N_LARGE);
        assert_eq!(running.n_untaken(), 1);
        drop(running.stop);
    }

    #[tokio::test]
    async fn a_stream_is_cut_only_when_its_bytes_are_not_taken() {
        let (quiet, events) = mpsc::channel::<Result<Bytes, Infallible>>(1);
        let events = Arc::new(std::sync::Mutex::new(Some(events)));
        let said = move || {
            let events = events.lock().unwrap().take().unwrap();
            async { Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(events)) }
        };
        let endless = || async {
            Body::from_stream(tokio_stream::iter(std::iter::repeat_with(|| {
                Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 4096]))
            })))
        };
        let router = Router::new()
            .route("/quiet", get(said))
            .route("/endless", get(endless));
        let running = running(router).await;
        let mut watching = running.ask("/quiet").await;
        let deaf = running.ask("/endless").await;
        let cut = async {
            while running.n_untaken() == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(IN_TIME, cut)
            .await
            .expect("the deaf stream is cut");
        // The quiet one is older, and said nothing in all that time.
        quiet.send(Ok(Bytes::from_static(b"news"))).await.unwrap();
        drop(quiet);
        let mut text = Vec::new();
        watching.read_to_end(&mut text).await.unwrap();
        assert!(
            text.windows(4).any(|four| four == b"news"),
            "{}",
            String::from_utf8_lossy(&text)
        );
        assert_eq!(running.n_untaken(), 1);
        drop((deaf, running.stop));
    }
}
