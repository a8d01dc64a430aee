//! A topic of another broker, by MQTT 3.1.1 with QoS 1: its PUBACK is the receipt.
//!
//! One message is under way at a time, so the connection is a plain exchange of packets over the house's own TLS: the codec is
//! rumqttc's, whose event loop would bring a TLS stack of its own.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use onemap_alerts::feeds::{Failure, Made, Verdict};
use rumqttc::QoS;
use rumqttc::mqttbytes::v4::{ConnAck, Connect, ConnectReturnCode, Packet, PubAck, Publish};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::bytes::BytesMut;

use super::Outcome;

/// After so long without a message the connection is made anew: nobody pings meanwhile.
const IDLE: Duration = Duration::from_secs(20);
/// Seconds of the longest silence, as the broker is told.
const KEEP_ALIVE: u16 = 60;
/// Bytes of a packet from a broker: it has nothing long to say.
const MOST_ANSWER: usize = 64 << 10;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// One consumer's broker.
#[derive(Clone)]
pub(crate) struct Publisher(Arc<Broker>);

struct Broker {
    client_id: String,
    topic: String,
    host: String,
    port: u16,
    login: Option<(String, String)>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
    held: Mutex<Option<Connection>>,
}

struct Connection {
    stream: Box<dyn Stream>,
    heard: BytesMut,
    last_id: u16,
    used_at: Instant,
}

/// Why nothing was acknowledged.
#[derive(Debug, thiserror::Error)]
enum Broken {
    /// No connection came up.
    #[error("no connection came up: {0}")]
    Unreached(#[source] io::Error),
    /// The broker does not let us in.
    #[error("the broker refuses the connection: {0:?}")]
    Refused(ConnectReturnCode),
    /// The connection ended.
    #[error("the connection ended: {0}")]
    Cut(#[source] io::Error),
    /// What came is no answer.
    #[error("the broker's answer is not MQTT: {0}")]
    Answer(String),
}

impl Publisher {
    /// A connection that is made when there is something to say.
    ///
    /// # Errors
    /// When TLS cannot be spoken with a host of this name.
    pub(crate) fn new(
        (client_id, topic): (&str, &str),
        (host, port): (&str, u16),
        login: Option<(String, String)>,
        tls: Option<Arc<ClientConfig>>,
        timeout: Duration,
    ) -> anyhow::Result<Self> {
        let tls = tls.map(|config| {
            let name = ServerName::try_from(host.to_owned())?;
            anyhow::Ok((TlsConnector::from(config), name))
        });
        Ok(Self(Arc::new(Broker {
            client_id: client_id.to_owned(),
            topic: topic.to_owned(),
            host: host.to_owned(),
            port,
            login,
            tls: tls.transpose()?,
            timeout,
            held: Mutex::new(None),
        })))
    }

    /// Publishes one message and waits until the broker has it.
    pub(super) async fn publish(&self, made: Made) -> Outcome {
        let mut held = self.0.held.lock().await;
        let old = held.take().filter(|held| held.used_at.elapsed() < IDLE);
        let failed = |failure, answer: String| Outcome {
            verdict: Verdict::Later(failure, None),
            status: None,
            answer,
        };
        match timeout(self.0.timeout, self.0.say(old, made.body)).await {
            Ok(Ok(connection)) => {
                *held = Some(connection);
                Outcome {
                    verdict: Verdict::Received,
                    status: None,
                    answer: "PUBACK".to_owned(),
                }
            }
            Ok(Err(broken)) => {
                let failure = match broken {
                    Broken::Unreached(_) | Broken::Refused(_) => Failure::Unreached,
                    Broken::Cut(_) | Broken::Answer(_) => Failure::Broken,
                };
                failed(failure, broken.to_string())
            }
            Err(_) => failed(Failure::Late, "no answer in time".to_owned()),
        }
    }
}

impl Broker {
    async fn say(&self, old: Option<Connection>, body: Vec<u8>) -> Result<Connection, Broken> {
        let mut connection = match old {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let id = connection.last_id.checked_add(1).unwrap_or(1);
        let mut publish = Publish::new(&self.topic, QoS::AtLeastOnce, body);
        publish.pkid = id;
        let mut packet = BytesMut::new();
        publish
            .write(&mut packet)
            .map_err(|e| Broken::Answer(e.to_string()))?;
        connection.write(&packet).await?;
        loop {
            if let Packet::PubAck(PubAck { pkid }) = connection.read().await?
                && pkid == id
            {
                connection.last_id = id;
                connection.used_at = Instant::now();
                return Ok(connection);
            }
        }
    }

    async fn connect(&self) -> Result<Connection, Broken> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await;
        let tcp = tcp.map_err(Broken::Unreached)?;
        tcp.set_nodelay(true).map_err(Broken::Unreached)?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(tcp),
            Some((tls, name)) => {
                let stream = tls.connect(name.clone(), tcp).await;
                Box::new(stream.map_err(Broken::Unreached)?)
            }
        };
        let mut connection = Connection {
            stream,
            heard: BytesMut::new(),
            last_id: 0,
            used_at: Instant::now(),
        };
        let mut connect = Connect::new(self.client_id.clone());
        connect.keep_alive = KEEP_ALIVE;
        if let Some((user, password)) = &self.login {
            connect.set_login(user, password);
        }
        let mut packet = BytesMut::new();
        connect
            .write(&mut packet)
            .map_err(|e| Broken::Answer(e.to_string()))?;
        connection.write(&packet).await?;
        match connection.read().await? {
            Packet::ConnAck(ConnAck {
                code: ConnectReturnCode::Success,
                ..
            }) => Ok(connection),
            Packet::ConnAck(ConnAck { code, .. }) => Err(Broken::Refused(code)),
            other => Err(Broken::Answer(format!("{other:?}").chars().take(100).collect())),
        }
    }
}

impl Connection {
    async fn write(&mut self, packet: &[u8]) -> Result<(), Broken> {
        self.stream.write_all(packet).await.map_err(Broken::Cut)?;
        self.stream.flush().await.map_err(Broken::Cut)
    }

    async fn read(&mut self) -> Result<Packet, Broken> {
        use rumqttc::mqttbytes::Error;
        loop {
            match Packet::read(&mut self.heard, MOST_ANSWER) {
                Ok(packet) => return Ok(packet),
                Err(Error::InsufficientBytes(_)) => {}
                Err(error) => return Err(Broken::Answer(error.to_string())),
            }
            let n = self.stream.read_buf(&mut self.heard).await.map_err(Broken::Cut)?;
            if n == 0 {
                return Err(Broken::Cut(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}
