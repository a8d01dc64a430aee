//! HTTP/1.1 to one engine: one connection that is seen to break, and single requests.
//!
//! The sender keeps a [`Connection`] and learns that it broke, also while nothing is sent: that is how it knows
//! that the engine may have been killed. Reads take a connection each, so that nothing is shared between them.

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::engine::StoreError;

/// Where certificates of authorities stand on Debian.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// How long a connection may take to come up.
const CONNECT: Duration = Duration::from_secs(5);
/// Characters of an engine's words that are kept of an error.
const N_WORDS: usize = 400;

/// What stands in the `Authorization` header. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorization(HeaderValue);

impl Authorization {
    /// A scheme (`Bearer`, `Token`, `Basic`) and what follows it.
    ///
    /// # Errors
    /// When the text cannot stand in a header.
    pub fn new(scheme: &str, token: &str) -> Result<Self, EndpointError> {
        let mut value =
            HeaderValue::try_from(format!("{scheme} {}", token.trim())).map_err(|_| EndpointError::Token)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(..)")
    }
}

/// Why an address cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Not an address.
    #[error("`{url}` is not an address like http://127.0.0.1:8428")]
    Url {
        /// The text.
        url: String,
    },
    /// The token has characters that no header can hold.
    #[error("the token has characters that a header cannot hold")]
    Token,
    /// A header that is none.
    #[error("`{name}` is not a header with a value that HTTP allows")]
    Header {
        /// Its name.
        name: String,
    },
    /// The certificates cannot be read.
    #[error("no certificates of authorities can be read from {}", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
    },
}

/// One engine's address.
#[derive(Clone)]
pub struct Endpoint {
    host: String,
    port: u16,
    /// Without a slash at its end.
    path: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    headers: HeaderMap,
    /// How long a request may take.
    timeout: Duration,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}{}", self.host, self.port, self.path)
    }
}

impl Endpoint {
    /// Checks an address; `https` trusts the authorities in `roots`, by default those of the system.
    ///
    /// # Errors
    /// See [`EndpointError`].
    pub fn new(
        url: &str,
        authorization: Option<Authorization>,
        headers: &[(String, String)],
        roots: Option<&Path>,
        timeout: Duration,
    ) -> Result<Self, EndpointError> {
        let bad = || EndpointError::Url { url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(bad)?;
        if uri.query().is_some() || uri.authority().is_some_and(|a| a.as_str().contains('@')) {
            return Err(bad());
        }
        let tls = match uri.scheme_str() {
            Some("http") => None,
            Some("https") => {
                let name = host.trim_matches(['[', ']']).to_owned();
                Some((connector(roots)?, ServerName::try_from(name).map_err(|_| bad())?))
            }
            _ => return Err(bad()),
        };
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            let bad = || EndpointError::Header { name: name.clone() };
            all.insert(
                HeaderName::try_from(name.as_str()).map_err(|_| bad())?,
                HeaderValue::try_from(value.as_str()).map_err(|_| bad())?,
            );
        }
        let port = uri.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        let named = match uri.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        all.insert(header::HOST, HeaderValue::try_from(named).map_err(|_| bad())?);
        all.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("onemap/", env!("CARGO_PKG_VERSION"))),
        );
        if let Some(Authorization(value)) = authorization {
            all.insert(header::AUTHORIZATION, value);
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            path: uri.path().trim_end_matches('/').to_owned(),
            tls,
            headers: all,
            timeout,
        })
    }

    /// How long a request may take.
    #[cfg(feature = "influxdb2")]
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, StoreError> {
        let target = match format!("{}{path}", self.path) {
            path if path.starts_with('/') => path,
            path => format!("/{path}"),
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().map_err(StoreError::corrupt)?;
        *request.headers_mut() = self.headers.clone();
        if !kind.is_empty() {
            let kind = HeaderValue::try_from(kind).map_err(StoreError::corrupt)?;
            request.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        Ok(request)
    }

    /// Comes up within five seconds.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub(crate) async fn connect(&self) -> Result<Connection, StoreError> {
        let away = |error: &dyn fmt::Display| StoreError::away(format!("{self}: {error}"));
        let host = self.host.trim_matches(['[', ']']);
        let up = async {
            let stream = TcpStream::connect((host, self.port))
                .await
                .map_err(|e| away(&e))?;
            stream.set_nodelay(true).map_err(|e| away(&e))?;
            match &self.tls {
                None => Connection::over(stream).await.map_err(|e| away(&e)),
                Some((tls, name)) => {
                    let stream = tls.connect(name.clone(), stream).await.map_err(|e| away(&e))?;
                    Connection::over(stream).await.map_err(|e| away(&e))
                }
            }
        };
        match tokio::time::timeout(CONNECT, up).await {
            Ok(connection) => connection,
            Err(_) => Err(away(&"no connection within five seconds")),
        }
    }

    /// Asks for one thing by GET on a connection of its own, whatever the status of the answer. `path` and what stands
    /// in its query are not said in errors.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] without a whole answer of at most `max_bytes`.
    pub async fn fetch(&self, path: &str, max_bytes: usize) -> Result<Fetched, StoreError> {
        let request = self.request(Method::GET, path, "", Bytes::new())?;
        let answer = self.connect().await?.send(self, request, max_bytes).await?;
        Ok(Fetched {
            status: answer.status.as_u16(),
            kind: answer.headers.get(header::CONTENT_TYPE).cloned(),
            body: answer.body,
        })
    }

    /// As [`Self::fetch`], but 304 without a body when what is there has the entity tag `known`; also gives the tag of what
    /// came.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] without a whole answer of at most `max_bytes`.
    pub async fn fetch_unless(
        &self,
        path: &str,
        known: Option<&str>,
        max_bytes: usize,
    ) -> Result<(Fetched, Option<String>), StoreError> {
        let mut request = self.request(Method::GET, path, "", Bytes::new())?;
        if let Some(known) = known.and_then(|known| HeaderValue::try_from(known).ok()) {
            request.headers_mut().insert(header::IF_NONE_MATCH, known);
        }
        let answer = self.connect().await?.send(self, request, max_bytes).await?;
        let tag = answer.headers.get(header::ETAG);
        let tag = tag.and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let fetched = Fetched {
            status: answer.status.as_u16(),
            kind: answer.headers.get(header::CONTENT_TYPE).cloned(),
            body: answer.body,
        };
        Ok((fetched, tag))
    }

    /// Sends a request that was made up elsewhere, on a connection of its own: its method, path, query, heads and body go
    /// to this address, whatever host it names. A redirect is an answer like others. What the path, the query and the
    /// heads hold is not said in errors.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] without a whole answer of at most `max_bytes`.
    pub async fn exchange(
        &self,
        made: Request<Vec<u8>>,
        max_bytes: usize,
    ) -> Result<Response<Vec<u8>>, StoreError> {
        let (head, body) = made.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = self.request(head.method, path, "", body.into())?;
        request.headers_mut().extend(head.headers);
        let answer = self.connect().await?.send(self, request, max_bytes).await?;
        let mut response = Response::new(answer.body.to_vec());
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }

    /// Sends a request on a connection of its own, to `target` (path and query). Of the answer no more than `max_bytes` are
    /// read, and the rest is left there; what was answered counts none the less. A redirect is an answer like others.
    ///
    /// # Errors
    /// [`Unanswered`]; it says nothing of the address.
    pub async fn tell(
        &self,
        method: &str,
        target: &str,
        headers: &[(String, String)],
        body: Vec<u8>,
        max_bytes: usize,
    ) -> Result<Told, Unanswered> {
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| Unanswered::Unmade)?;
        let request = self.request(method, target, "", body.into());
        let mut request = request.map_err(|_| Unanswered::Unmade)?;
        for (name, value) in headers {
            let name = HeaderName::try_from(name).map_err(|_| Unanswered::Unmade)?;
            let value = HeaderValue::try_from(value).map_err(|_| Unanswered::Unmade)?;
            request.headers_mut().insert(name, value);
        }
        let told = async {
            let mut connection = self.connect().await.map_err(|_| Unanswered::Unreached)?;
            connection.tell(request, max_bytes).await
        };
        match tokio::time::timeout(self.timeout, told).await {
            Ok(told) => told,
            Err(_) => Err(Unanswered::Late),
        }
    }

    /// One request on a connection of its own; the answer has at most `max_bytes`.
    ///
    /// # Errors
    /// As the status says, see [`Answer::checked`]; [`StoreError::Unavailable`] without an answer.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: Bytes,
        max_bytes: usize,
    ) -> Result<Answer, StoreError> {
        let mut connection = self.connect().await?;
        let request = self.request(method, path, kind, body)?;
        connection.send(self, request, max_bytes).await?.checked()
    }
}

fn connector(roots: Option<&Path>) -> Result<TlsConnector, EndpointError> {
    Ok(TlsConnector::from(client_tls(roots)?))
}

/// What a client of TLS trusts: the authorities in `roots`, by default those of the system.
///
/// # Errors
/// When no certificates can be read.
pub fn client_tls(roots: Option<&Path>) -> Result<Arc<rustls::ClientConfig>, EndpointError> {
    let path = roots.unwrap_or(Path::new(SYSTEM_ROOTS));
    let unread = || EndpointError::Roots {
        path: path.to_owned(),
    };
    let mut store = rustls::RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(path).map_err(|_| unread())?;
    store.add_parsable_certificates(found.filter_map(Result::ok));
    if store.is_empty() {
        return Err(unread());
    }
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| unread())?
            .with_root_certificates(store)
            .with_no_client_auth();
    Ok(Arc::new(config))
}

/// What another server answered to what it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Status of the answer.
    pub status: u16,
    /// Its header `Retry-After`.
    pub retry_after: Option<String>,
    /// The beginning of what it holds.
    pub body: Vec<u8>,
}

/// Why there is no answer to what was sent. Whether it was taken is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unanswered {
    /// No connection came up.
    #[error("no connection came up")]
    Unreached,
    /// No whole answer in time.
    #[error("no answer in time")]
    Late,
    /// The connection ended before the answer did.
    #[error("the connection ended before the answer")]
    Broken,
    /// The request cannot be made: a header or a path that HTTP does not allow.
    #[error("HTTP does not allow the request")]
    Unmade,
}

/// What another server gave.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Status of the answer.
    pub status: u16,
    /// Its media type, if it says one.
    pub kind: Option<HeaderValue>,
    /// What it holds.
    pub body: Bytes,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The engine's words, shortened.
    pub(crate) fn words(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let text: String = text.trim().chars().take(N_WORDS).collect();
        match text.is_empty() {
            true => self.status.to_string(),
            false => format!("{}: {text}", self.status),
        }
    }

    /// When the engine wants to be asked again. A date is not read: engines give seconds.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let text = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?;
        text.trim().parse().ok().map(Duration::from_secs)
    }

    /// The answer when its status says that it is one.
    ///
    /// # Errors
    /// Busy for 429 and 503, away for other faults of the engine and for wrong credentials, refused for the
    /// rest.
    pub(crate) fn checked(self) -> Result<Self, StoreError> {
        let (status, why) = (self.status, self.words());
        match status.as_u16() {
            200..=299 => Ok(self),
            429 | 503 => Err(StoreError::Busy {
                retry_after: self.retry_after(),
                why,
            }),
            401 | 403 => Err(StoreError::away(format!("it does not accept the token: {why}"))),
            404 => Err(StoreError::away(format!(
                "it does not know the path or database: {why}"
            ))),
            500.. => Err(StoreError::Unavailable { why }),
            _ => Err(StoreError::Rejected { why }),
        }
    }
}

/// One connection.
pub(crate) struct Connection {
    requests: SendRequest<Full<Bytes>>,
    driver: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// The driver has ended and may not be asked again.
    ended: bool,
}

impl Connection {
    async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Self, hyper::Error> {
        let (requests, driver) = handshake(TokioIo::new(stream)).await?;
        Ok(Self {
            requests,
            // How it ended shows in the request that was under way, or in `broken`.
            driver: Box::pin(async move { drop(driver.await) }),
            ended: false,
        })
    }

    /// Sends a request and reads its answer whole.
    async fn send(
        &mut self,
        endpoint: &Endpoint,
        request: Request<Full<Bytes>>,
        max_bytes: usize,
    ) -> Result<Answer, StoreError> {
        let away = |error: &dyn fmt::Display| StoreError::away(format!("{endpoint}: {error}"));
        let requests = &mut self.requests;
        let asked = async {
            requests.ready().await.map_err(|e| away(&e))?;
            let answer = requests.send_request(request).await.map_err(|e| away(&e))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, max_bytes).collect().await;
            let body = body.map_err(|e| away(&format!("its answer broke off: {e}")))?;
            Ok(Answer {
                status: head.status,
                headers: head.headers,
                body: body.to_bytes(),
            })
        };
        let driven = async {
            let mut asked = std::pin::pin!(asked);
            tokio::select! {
                biased;
                answer = &mut asked => return answer,
                () = &mut self.driver, if !self.ended => self.ended = true,
                () = std::future::ready(()), if self.ended => {}
            }
            // The connection ended; what had arrived before is still to be read.
            asked.await
        };
        match tokio::time::timeout(endpoint.timeout, driven).await {
            Ok(answer) => answer,
            Err(_) => Err(away(&format!(
                "no answer within {} s",
                endpoint.timeout.as_secs()
            ))),
        }
    }

    /// Sends a request and reads the head and at most `max_bytes` of its answer.
    async fn tell(&mut self, request: Request<Full<Bytes>>, max_bytes: usize) -> Result<Told, Unanswered> {
        let requests = &mut self.requests;
        let asked = async {
            let broken = |_: hyper::Error| Unanswered::Broken;
            requests.ready().await.map_err(broken)?;
            let answer = requests.send_request(request).await.map_err(broken)?;
            let (head, mut body) = answer.into_parts();
            let mut read = Vec::new();
            while read.len() < max_bytes {
                let Some(frame) = body.frame().await.transpose().map_err(broken)? else {
                    break;
                };
                let data = frame.into_data().unwrap_or_default();
                read.extend_from_slice(&data[..data.len().min(max_bytes - read.len())]);
            }
            let retry_after = head.headers.get(header::RETRY_AFTER);
            Ok(Told {
                status: head.status.as_u16(),
                retry_after: retry_after
                    .and_then(|value| value.to_str().ok())
                    .map(str::to_owned),
                body: read,
            })
        };
        let mut asked = std::pin::pin!(asked);
        if !self.ended {
            tokio::select! {
                biased;
                answer = &mut asked => return answer,
                () = &mut self.driver => self.ended = true,
            }
        }
        // The connection ended; what had arrived before is still to be read.
        asked.await
    }

    /// One request on this connection.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] without a whole answer; a status is not an error here.
    pub(crate) async fn ask(
        &mut self,
        endpoint: &Endpoint,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<Answer, StoreError> {
        let mut request = endpoint.request(method, path, "", body)?;
        request.headers_mut().extend(headers.iter().cloned());
        self.send(endpoint, request, 1 << 20).await
    }

    /// Ends when the connection is seen to be broken.
    pub(crate) async fn broken(&mut self) {
        if !self.ended {
            (&mut self.driver).await;
            self.ended = true;
        }
    }
}
