//! Bodies of lines to InfluxDB 2 through the crate `influxdb2`: its line-protocol call only, over plain HTTP.
//!
//! The crate keeps status and body of an answer and not its headers, so an engine's `Retry-After` is not seen; it
//! has no limit of time, which is set here. InfluxDB acknowledges what is in its log on disk, so a new connection is no
//! reason to send anything again.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use influxdb2::api::write::TimestampPrecision;
use influxdb2::{Client, RequestError};

use super::http::Endpoint;
use super::outlet::{Outlet, Run, SendError};
use super::{RemoteConfig, Secret};

pub(super) struct ByCrate {
    client: Client,
    org: String,
    bucket: String,
    health: Endpoint,
    health_path: String,
    timeout: Duration,
}

impl ByCrate {
    pub(super) fn new(config: &RemoteConfig) -> Self {
        let token = config.token.as_ref().map_or("", |Secret(token)| token);
        Self {
            client: Client::new(config.url.as_str(), config.org.as_str(), token),
            org: config.org.clone(),
            bucket: config.bucket.clone(),
            health: config.writes.clone(),
            health_path: config.paths.health.clone(),
            timeout: config.writes.timeout(),
        }
    }
}

impl Outlet for ByCrate {
    async fn connect(&mut self) -> Result<Run, SendError> {
        self.probe().await?;
        Ok(Run::Same)
    }

    async fn send(&mut self, body: Bytes) -> Result<(), SendError> {
        let written = self.client.write_line_protocol_with_precision(
            &self.org,
            &self.bucket,
            body,
            TimestampPrecision::Milliseconds,
        );
        match tokio::time::timeout(self.timeout, written).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(verdict(error)),
            Err(_) => Err(SendError::Away(format!(
                "{}: no answer within {} s",
                self.health,
                self.timeout.as_secs()
            ))),
        }
    }

    async fn probe(&mut self) -> Result<(), SendError> {
        let asked = self
            .health
            .ask(Method::GET, &self.health_path, "", Bytes::new(), 1 << 20);
        asked.await?;
        Ok(())
    }

    async fn broken(&mut self) {
        // The crate's connections are its own; nothing has to be sent again when one breaks.
        std::future::pending().await
    }
}

fn verdict(error: RequestError) -> SendError {
    match error {
        RequestError::Http { status, text } => {
            let why = format!("{status}: {}", text.trim());
            match status.as_u16() {
                413 => SendError::TooLarge,
                400 | 422 => SendError::Refused(why),
                429 | 503 => SendError::Busy {
                    retry_after: None,
                    why,
                },
                401 | 403 => SendError::Away(format!("it does not accept the token: {why}")),
                _ => SendError::Away(why),
            }
        }
        other => SendError::Away(other.to_string()),
    }
}
