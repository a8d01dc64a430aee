//! A mail box, by SMTP (RFC 5321): in TLS from the first byte (RFC 8314, 3.3), in the clear only where that is allowed.
//!
//! The connection is the house's own, so that what a server says is bounded, each step has its time, and nothing that came
//! before TLS is taken for what came in it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use lettre::Message;
use lettre::address::Envelope;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::extension::ClientId;
use onemap_alerts::feeds::{Failure, Made, Verdict};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::Outcome;

/// Bytes of all that a server says in one connection.
const MOST_SAID: usize = 64 << 10;

/// One consumer's way to its mail box.
#[derive(Clone)]
pub(crate) struct Mailer(Arc<Post>);

struct Post {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    login: Option<Credentials>,
    sender: Mailbox,
    to: Mailbox,
    timeout: Duration,
}

/// Why the server does not have the message.
enum Unsent {
    /// No connection came up.
    Unreached(String),
    /// A step took too long.
    Late,
    /// The server says no, or what it says is no SMTP.
    Said(Error),
    /// It does not let us in; its words may hold what we said.
    LogIn,
    /// The message cannot be made.
    Unmade(String),
}

impl Mailer {
    /// Checks who sends to whom.
    pub(crate) fn new(
        (host, port): (&str, u16),
        tls: Option<Arc<ClientConfig>>,
        login: Option<(String, String)>,
        (sender, to): (&str, &str),
        timeout: Duration,
    ) -> anyhow::Result<Self> {
        let named = |key: &str, text: &str| -> anyhow::Result<Mailbox> {
            let parsed: Result<Mailbox, _> = text.parse();
            parsed.with_context(|| format!("{key}: `{text}` is no address like duty@example.org"))
        };
        let tls = tls.map(|config| {
            let name = ServerName::try_from(host.to_owned()).context("url")?;
            anyhow::Ok((TlsConnector::from(config), name))
        });
        Ok(Self(Arc::new(Post {
            host: host.to_owned(),
            port,
            tls: tls.transpose()?,
            login: login.map(|(user, password)| Credentials::new(user, password)),
            sender: named("sender", sender)?,
            to: named("to", to)?,
            timeout,
        })))
    }

    /// Hands one message in.
    pub(super) async fn send(&self, made: &Made) -> Outcome {
        match self.0.send(made).await {
            Ok(()) => Outcome {
                verdict: Verdict::Received,
                status: Some(250),
                answer: "250".to_owned(),
            },
            Err(unsent) => unsent.outcome(),
        }
    }
}

impl Post {
    async fn send(&self, made: &Made) -> Result<(), Unsent> {
        let unmade = |error: &dyn fmt::Display| Unsent::Unmade(error.to_string());
        let message = self.message(made).map_err(|error| unmade(&error))?.formatted();
        let envelope = Envelope::new(Some(self.sender.email.clone()), vec![self.to.email.clone()]);
        let envelope = envelope.map_err(|error| unmade(&error))?;
        let stream = self.in_time(self.connect()).await??;
        let hello = ClientId::Domain(self.sender.email.domain().to_owned());
        let greeted = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello);
        let mut connection = self.in_time(greeted).await?.map_err(Unsent::Said)?;
        if let Some(login) = &self.login {
            let let_in = connection.auth(DEFAULT_MECHANISMS, login);
            self.in_time(let_in).await?.map_err(|_| Unsent::LogIn)?;
        }
        self.in_time(connection.send(&envelope, &message))
            .await?
            .map_err(Unsent::Said)?;
        // It has the message; what it makes of the farewell changes nothing.
        let _ = timeout(Duration::from_secs(1), connection.quit()).await;
        Ok(())
    }

    async fn in_time<T>(&self, step: impl Future<Output = T>) -> Result<T, Unsent> {
        timeout(self.timeout, step).await.map_err(|_| Unsent::Late)
    }

    async fn connect(&self) -> Result<Bounded, Unsent> {
        let unreached = |error: io::Error| Unsent::Unreached(error.to_string());
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await;
        let tcp = tcp.map_err(unreached)?;
        let peer = tcp.peer_addr().map_err(unreached)?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(tcp),
            Some((tls, name)) => Box::new(tls.connect(name.clone(), tcp).await.map_err(unreached)?),
        };
        Ok(Bounded {
            stream,
            peer,
            left: MOST_SAID,
        })
    }

    fn message(&self, made: &Made) -> Result<Message, lettre::error::Error> {
        let head = |name: &str| {
            let found = made.headers.iter().find(|(other, _)| other == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let id = format!("<{}@{}>", head("message-id"), self.sender.email.domain());
        Message::builder()
            .from(self.sender.clone())
            .to(self.to.clone())
            .subject(head("subject"))
            .message_id(Some(id))
            .header(ContentType::TEXT_PLAIN)
            .body(String::from_utf8_lossy(&made.body).into_owned())
    }
}

impl Unsent {
    /// A refusal for good is 5yz, but for those that a person mends at the server: who may send, a full box.
    fn outcome(self) -> Outcome {
        const MENDED: [u16; 3] = [530, 534, 552];
        let later = |failure| Verdict::Later(failure, None);
        let (verdict, status, answer) = match self {
            Self::Unreached(why) => (later(Failure::Unreached), None, why),
            Self::Late => (later(Failure::Late), None, "no answer in time".to_owned()),
            Self::LogIn => (
                later(Failure::Words),
                None,
                "the server refuses the log-in".to_owned(),
            ),
            Self::Unmade(why) => (Verdict::Never(Failure::Unmade), None, why),
            Self::Said(error) => {
                let code: Option<u16> = error.status().and_then(|code| code.to_string().parse().ok());
                let is_mended = code.is_some_and(|code| MENDED.contains(&code));
                let verdict = match (error.is_permanent() && !is_mended, code) {
                    (true, _) => Verdict::Never(Failure::Words),
                    (false, Some(_)) => later(Failure::Words),
                    (false, None) => later(Failure::Broken),
                };
                (verdict, code, said(&error))
            }
        };
        Outcome {
            verdict,
            status,
            answer,
        }
    }
}

fn said(error: &Error) -> String {
    use std::error::Error as _;
    match error.source() {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// A connection of which only so much is read: a line that never ends would be kept whole.
struct Bounded {
    stream: Box<dyn Stream>,
    peer: SocketAddr,
    left: usize,
}

impl fmt::Debug for Bounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bounded({})", self.peer)
    }
}

impl AsyncTokioStream for Bounded {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            let message = "the server says more than it has to";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, message)));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.left = self.left.saturating_sub(buf.filled().len() - before);
        polled
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
