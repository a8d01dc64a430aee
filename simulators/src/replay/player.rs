//! Plays one device's part of a recording: every message is acknowledged or sent again.

use std::time::{Duration, SystemTime};

use onemap_model::{Quantity, Timestamp};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::mqtt::codec::Qos;
use crate::mqtt::{Incoming, Link, LinkError, Login, Outbox};

/// Messages on the wire without an acknowledgement.
const WINDOW: usize = 200;
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(5));

/// One message and when it goes.
pub(crate) struct Cue {
    pub(crate) due: Instant,
    /// `None` takes the time of sending.
    pub(crate) stamp: Option<Timestamp>,
    pub(crate) values: Vec<(Quantity, u16, f64)>,
}

impl Cue {
    fn payload(&self) -> Vec<u8> {
        let stamp = self
            .stamp
            .unwrap_or_else(|| Timestamp::from_system(SystemTime::now()));
        let values: serde_json::Map<_, _> = self
            .values
            .iter()
            .map(|(quantity, channel, value)| match channel {
                0 => (quantity.to_string(), (*value).into()),
                n => (format!("{quantity}#{n}"), (*value).into()),
            })
            .collect();
        serde_json::json!({ "ts": stamp.ms(), "values": values })
            .to_string()
            .into_bytes()
    }
}

/// Plays until every cue is acknowledged or `stop`; returns how many were.
pub(crate) async fn play(login: Login, cues: Vec<Cue>, stop: CancellationToken) -> anyhow::Result<usize> {
    let mut part = Part {
        cues,
        next: 0,
        outbox: Outbox::new(WINDOW),
        n_acknowledged: 0,
    };
    let mut wait = BACK_OFF.0;
    while part.n_acknowledged < part.cues.len() {
        let before = part.n_acknowledged;
        let ended = tokio::select! {
            ended = part.connection(&login) => ended,
            () = stop.cancelled() => break,
        };
        match ended {
            Ok(()) => break,
            Err(e) if e.is_wrong_token() => {
                return Err(anyhow::Error::new(e).context(format!("`{}`", login.client_id)));
            }
            Err(e) => debug!("`{}` lost its connection: {e}", login.client_id),
        }
        wait = if part.n_acknowledged > before {
            BACK_OFF.0
        } else {
            (wait * 2).min(BACK_OFF.1)
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = stop.cancelled() => break,
        }
    }
    Ok(part.n_acknowledged)
}

struct Part {
    cues: Vec<Cue>,
    next: usize,
    outbox: Outbox,
    n_acknowledged: usize,
}

impl Part {
    /// One connection; `Ok` when everything is acknowledged.
    async fn connection(&mut self, login: &Login) -> Result<(), LinkError> {
        let mut link = Link::connect(login).await?;
        for waiting in self.outbox.all() {
            link.publish(
                &waiting.topic,
                &waiting.payload,
                Qos::AtLeastOnce,
                waiting.id,
                true,
            )
            .await?;
        }
        let mut pings = tokio::time::interval(login.keep_alive / 2);
        pings.reset();
        loop {
            let now = Instant::now();
            while self.outbox.len() < WINDOW && self.cues.get(self.next).is_some_and(|cue| cue.due <= now) {
                self.outbox.push(
                    "v1/devices/me/telemetry".to_owned(),
                    self.cues[self.next].payload(),
                );
                self.next += 1;
            }
            for waiting in self.outbox.unsent() {
                link.publish(
                    &waiting.topic,
                    &waiting.payload,
                    Qos::AtLeastOnce,
                    waiting.id,
                    false,
                )
                .await?;
                waiting.sent = true;
            }
            if self.n_acknowledged == self.cues.len() {
                link.disconnect().await;
                return Ok(());
            }
            let due = self
                .cues
                .get(self.next)
                .filter(|_| self.outbox.len() < WINDOW)
                .map(|cue| cue.due);
            tokio::select! {
                received = link.receive(|packet| match packet {
                    Incoming::PubAck(id) => (Some(id), None),
                    Incoming::Publish { id, .. } => (None, id),
                    _ => (None, None),
                }) => {
                    let (done, to_acknowledge) = received?;
                    if done.is_some_and(|id| self.outbox.acknowledge(id)) {
                        self.n_acknowledged += 1;
                    }
                    if let Some(id) = to_acknowledge {
                        link.acknowledge(id).await?;
                    }
                }
                () = sleep_until(due.unwrap_or(now)), if due.is_some() => {}
                _ = pings.tick() => link.ping().await?,
            }
        }
    }
}
