//! The sender's end of one engine: connections, bodies, and what became of them.

use std::io::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::Method;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};

use super::RemoteConfig;
use super::http::{Answer, Connection, Endpoint};
use crate::engine::StoreError;

/// A connection that lived for so long tells runs of an engine apart by the second of their start.
const TELLING: Duration = Duration::from_secs(2);

/// Why a body was not taken.
#[derive(Debug)]
pub(super) enum SendError {
    /// Something in it is wrong; the rest may be right.
    Refused(String),
    /// It is too large.
    TooLarge,
    /// Not now.
    Busy {
        retry_after: Option<Duration>,
        why: String,
    },
    /// No answer, or one that has nothing to do with the body.
    Away(String),
}

impl From<StoreError> for SendError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy { retry_after, why } => Self::Busy { retry_after, why },
            StoreError::Rejected { why } => Self::Refused(why),
            other => Self::Away(other.to_string()),
        }
    }
}

/// What a status says about a body of lines.
pub(super) fn verdict(answer: Answer) -> Result<(), SendError> {
    match answer.status.as_u16() {
        413 => Err(SendError::TooLarge),
        // 422: InfluxDB 2 for points that its retention does not take.
        400 | 422 => Err(SendError::Refused(answer.words())),
        _ => Ok(answer.checked().map(|_| ())?),
    }
}

/// Whether a new connection leads to the run of the engine that acknowledged before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// It does.
    Same,
    /// It does not, or nobody knows.
    Other,
}

/// Gives bodies to an engine.
pub(super) trait Outlet: Send {
    /// Connects; says whether the engine may have lost what it acknowledged to the last connection.
    async fn connect(&mut self) -> Result<Run, SendError>;
    /// Gives it a body. After [`SendError::Away`] a connection is needed again.
    async fn send(&mut self, body: Bytes) -> Result<(), SendError>;
    /// Asks whether it is there, on the connection.
    async fn probe(&mut self) -> Result<(), SendError>;
    /// Ends when the connection is seen to be broken.
    async fn broken(&mut self);
}

/// Bodies over one connection of our own.
pub(super) struct Direct {
    writes: Endpoint,
    write_path: String,
    health_path: String,
    started_path: Option<String>,
    gzip: bool,
    connection: Option<Connection>,
    /// What the engine's metrics said of its start.
    started: Option<String>,
    /// When the last connection came up, and when it was last answered on.
    lived: Option<(Instant, Instant)>,
}

impl Direct {
    pub(super) fn new(config: &RemoteConfig) -> Self {
        Self {
            writes: config.writes.clone(),
            write_path: config.paths.write.clone(),
            health_path: config.paths.health.clone(),
            started_path: config.paths.started.clone(),
            gzip: config.gzip,
            connection: None,
            started: None,
            lived: None,
        }
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<Answer, SendError> {
        let Some(connection) = &mut self.connection else {
            return Err(SendError::Away("it is not connected".to_owned()));
        };
        let answer = connection.ask(&self.writes, method, path, headers, body).await;
        match (&answer, &mut self.lived) {
            (Err(_), _) => self.connection = None,
            (Ok(_), Some((_, heard))) => *heard = Instant::now(),
            (Ok(_), None) => {}
        }
        Ok(answer?)
    }

    /// What the engine says of its start; `None` when it says nothing of it.
    async fn run(&self) -> Option<String> {
        let path = self.started_path.as_deref()?;
        let answer = self
            .writes
            .ask(Method::GET, path, "", Bytes::new(), 16 << 20)
            .await
            .ok()?;
        let text = String::from_utf8_lossy(&answer.body);
        let names = ["vm_app_start_timestamp ", "process_start_time_seconds "];
        let mut lines = text
            .lines()
            .filter(|line| names.iter().any(|name| line.starts_with(name)));
        lines.next().map(str::to_owned)
    }
}

impl Outlet for Direct {
    async fn connect(&mut self) -> Result<Run, SendError> {
        let before = self.lived;
        self.connection = Some(self.writes.connect().await?);
        self.probe().await?;
        self.lived = Some((Instant::now(), Instant::now()));
        // Asked after the connection stands: a restart in between breaks it.
        let run = self.run().await;
        // Engines tell their start in whole seconds: one that lived for longer was not started again within its own.
        let lived = before.is_some_and(|(up, heard)| heard - up >= TELLING);
        let same = lived && run.is_some() && run == self.started;
        self.started = run;
        Ok(if same { Run::Same } else { Run::Other })
    }

    async fn send(&mut self, body: Bytes) -> Result<(), SendError> {
        let mut headers = vec![(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        )];
        let body = match self.gzip {
            true => {
                headers.push((CONTENT_ENCODING, HeaderValue::from_static("gzip")));
                zipped(&body)
            }
            false => body,
        };
        let path = self.write_path.clone();
        verdict(self.ask(Method::POST, &path, &headers, body).await?)
    }

    async fn probe(&mut self) -> Result<(), SendError> {
        let path = self.health_path.clone();
        let answer = self.ask(Method::GET, &path, &[], Bytes::new()).await?;
        match answer.status.as_u16() {
            // An engine that has no such path answered all the same.
            200..=299 | 404 => Ok(()),
            _ => Err(SendError::Busy {
                retry_after: answer.retry_after(),
                why: answer.words(),
            }),
        }
    }

    async fn broken(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.broken().await;
        }
        self.connection = None;
    }
}

fn zipped(body: &[u8]) -> Bytes {
    let mut out = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    // Writing to a Vec cannot fail.
    let _ = out.write_all(body);
    out.finish().unwrap_or_default().into()
}
