//! Publishes the spool and takes receipts.
//!
//! The MQTT client is not trusted with anything: what is not confirmed by a receipt is read from the spool
//! again. Each connection gets a new client, so no state of an old one (queued publishes, packet ids,
//! collisions) reaches the next; the receipt topic is subscribed on every connection before anything is
//! published.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use onemap_log::{LogError, Reader};
use onemap_model::Timestamp;
use onemap_wire::native::{self, Receipt};
use rumqttc::{
    AsyncClient, ConnectReturnCode, Event, EventLoop, MqttOptions, NetworkOptions, Packet, QoS,
    SubscribeReasonCode,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::commands::{Commands, Deeds};
use crate::config::Config;
use crate::confirmed::Confirmed;
use crate::record::Poll;
use crate::schedule::{BackOff, chance};
use crate::spool::{Found, Spool};
use crate::status::{Counters, add, count};

/// Records on their way without a receipt.
const WINDOW: u64 = 2_000;
/// Publishes on their way without a PUBACK; fewer than the client's request queue holds, so that giving
/// it one more never waits.
const MAX_PUBLISHES: usize = 32;
const CLIENT_QUEUE: usize = 64;
/// Old answers to commands published at once; with [`MAX_PUBLISHES`] fewer than the client's queue holds.
const MAX_ANSWERS: usize = 16;
/// Readings in one publish, unless one poll alone has more.
const MAX_READINGS: usize = 1_000;
/// A poll that waited longer for its first sending is said to be late, as if it were sent again.
const LATE: Duration = Duration::from_secs(60);
/// Largest packet either way.
const MAX_PACKET: usize = 1 << 20;
/// Without a receipt for so long, everything unconfirmed is sent again; doubles while none comes at all.
const RESEND_AFTER: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));
/// Without any PUBACK for so long, the connection is given up.
const PUBACK_WITHIN: Duration = Duration::from_secs(15);
const CONNECT_WITHIN: Duration = Duration::from_secs(8);
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// How often the floor is noted and stored segments are deleted.
const UPKEEP: Duration = Duration::from_secs(1);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the server refuses the connection: {0:?}")]
    Refused(ConnectReturnCode),
    #[error("the server refuses the subscription to its receipts")]
    NoReceipts,
    #[error("the server does not answer")]
    NoAnswer,
    #[error("the client ended")]
    Ended,
    #[error("{0}")]
    Connection(String),
    #[error("the spool cannot be read")]
    Spool(#[from] LogError),
}

/// What the client's task reports.
enum Happening {
    Connected,
    Subscribed(bool),
    Acknowledged,
    Message { topic: String, payload: Vec<u8> },
    Trouble(Trouble),
}

/// The publishing side of the gateway.
pub struct Uplink {
    options: MqttOptions,
    readings_topic: String,
    receipt_topic: String,
    command_topic: String,
    answer_topic: String,
    spool: Spool,
    counters: Arc<Counters>,
    commands: Commands,
    confirmed: Confirmed,
    /// Highest position that may have been published, in this life or an earlier one.
    published_to: u64,
    noted_floor: u64,
}

/// One connection's state.
struct Session {
    client: AsyncClient,
    reader: Reader,
    /// Read from the spool, did not fit into the last publish.
    held: Option<(u64, Poll)>,
    /// Highest position sent on this connection since the last rewind.
    sent_to: u64,
    unacknowledged: usize,
    /// Answers to commands are among what is unacknowledged.
    has_told: bool,
    last_ack: Instant,
    last_progress: Instant,
    resend_after: Duration,
}

impl Uplink {
    /// An uplink for what was found in the spool.
    pub fn new(
        config: &Config,
        spool: Spool,
        found: &Found,
        counters: Arc<Counters>,
        commands: Commands,
    ) -> Self {
        let device = config.device.as_str();
        let mut options = MqttOptions::new(device, &config.host, config.port);
        options
            .set_credentials(&config.token.0, "")
            .set_keep_alive(KEEP_ALIVE)
            .set_clean_session(true)
            .set_max_packet_size(MAX_PACKET, MAX_PACKET)
            .set_inflight(100);
        counters.floor.store(found.confirmed.floor(), Ordering::Relaxed);
        Self {
            options,
            readings_topic: format!("onemap/v1/{device}/readings"),
            receipt_topic: format!("onemap/v1/{device}/receipt"),
            command_topic: format!("onemap/v1/{device}/command"),
            answer_topic: format!("onemap/v1/{device}/command/response"),
            spool,
            counters,
            commands,
            noted_floor: found.confirmed.floor(),
            confirmed: found.confirmed.clone(),
            published_to: found.last,
        }
    }

    /// Publishes until `stop`, whatever happens to the server.
    ///
    /// # Errors
    /// When the spool has failed for good.
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut back_off = BackOff::new(BACK_OFF.0, BACK_OFF.1);
        let mut said = String::new();
        loop {
            let before = self.confirmed.clone();
            let ended = self.connection(&stop).await;
            self.counters.connected.store(false, Ordering::Relaxed);
            self.upkeep().await;
            let trouble = match ended {
                Ok(()) => return Ok(()),
                Err(Trouble::Spool(LogError::Closed)) if stop.is_cancelled() => return Ok(()),
                Err(Trouble::Spool(e)) => return Err(e).context("the spool cannot be read"),
                Err(trouble) => trouble.to_string(),
            };
            if trouble != said {
                warn!("the connection to the server is lost: {trouble}");
                said = trouble;
            }
            if self.confirmed != before {
                back_off.reset();
                said.clear();
            }
            tokio::select! {
                () = sleep(back_off.pause(chance())) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    /// One connection; `Ok` on `stop`.
    async fn connection(&mut self, stop: &CancellationToken) -> Result<(), Trouble> {
        let (client, mut events) = AsyncClient::new(self.options.clone(), CLIENT_QUEUE);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(5);
        events.set_network_options(network);
        let (tell, mut happenings) = mpsc::channel(256);
        let pumping = Pump(tokio::spawn(pump(events, tell)));

        let greeting = async {
            loop {
                match happenings.recv().await.ok_or(Trouble::Ended)? {
                    Happening::Connected => {
                        let subscribing = client.try_subscribe(&self.receipt_topic, QoS::AtLeastOnce);
                        subscribing.map_err(|e| Trouble::Connection(e.to_string()))?;
                    }
                    Happening::Subscribed(true) => return Ok(()),
                    Happening::Subscribed(false) => return Err(Trouble::NoReceipts),
                    Happening::Trouble(trouble) => return Err(trouble),
                    Happening::Acknowledged | Happening::Message { .. } => {}
                }
            }
        };
        tokio::select! {
            greeted = timeout(CONNECT_WITHIN, greeting) => greeted.map_err(|_| Trouble::NoAnswer)??,
            () = stop.cancelled() => return Ok(()),
        }
        count(&self.counters.connects);
        self.counters.connected.store(true, Ordering::Relaxed);
        info!(
            waiting = self
                .spool
                .log
                .status()
                .durable
                .saturating_sub(self.confirmed.floor()),
            "connected to the server"
        );

        let floor = self.confirmed.floor();
        let now = Instant::now();
        let mut session = Session {
            reader: self.spool.log.reader(floor)?,
            client,
            held: None,
            sent_to: floor,
            unacknowledged: 0,
            has_told: false,
            last_ack: now,
            last_progress: now,
            resend_after: RESEND_AFTER.0,
        };
        // Receipts were granted, so the gateway works; a server without commands is not worth a new
        // connection. Answers that the last connection may have lost go first.
        let commanding = session
            .client
            .try_subscribe(&self.command_topic, QoS::AtLeastOnce);
        commanding.map_err(|e| Trouble::Connection(e.to_string()))?;
        self.commands.begin();
        self.tell_more(&mut session)?;
        let mut durable = self.spool.log.durable();
        let mut upkeep = tokio::time::interval(UPKEEP);
        loop {
            self.fill(&mut session)?;
            let deadline = self.check_deadlines(&mut session)?;
            tokio::select! {
                happening = happenings.recv() => {
                    self.take(&mut session, happening.ok_or(Trouble::Ended)?)?;
                    // All that is there already, before the spool is looked at again.
                    while let Ok(happening) = happenings.try_recv() {
                        self.take(&mut session, happening)?;
                    }
                }
                moved = durable.changed() => if moved.is_err() {
                    return Err(self.spool.log.wait_durable(u64::MAX).await.err().unwrap_or(LogError::Closed).into());
                },
                () = sleep_until(deadline.into()) => {}
                _ = upkeep.tick() => self.upkeep().await,
                () = stop.cancelled() => {
                    // Half a second of courtesy; the spool holds everything in any case.
                    if session.client.try_disconnect().is_ok() {
                        let ended = async { while happenings.recv().await.is_some() {} };
                        if timeout(Duration::from_millis(500), ended).await.is_err() {
                            debug!("the server did not take the goodbye in time");
                        }
                    }
                    drop(pumping);
                    return Ok(());
                }
            }
        }
    }

    /// Records on their way on this connection.
    fn in_flight(&self, session: &Session) -> u64 {
        session
            .sent_to
            .saturating_sub(self.confirmed.floor() + self.confirmed.n_above())
    }

    /// Sends while the windows are open and the spool has more.
    fn fill(&mut self, session: &mut Session) -> Result<(), Trouble> {
        let sent_at = Timestamp::from_system(SystemTime::now());
        while session.unacknowledged < MAX_PUBLISHES {
            let was_idle = self.in_flight(session) == 0;
            let mut samples = Vec::new();
            let (mut n_new, mut n_resent) = (0, 0);
            while self.in_flight(session) < WINDOW {
                let Some((position, poll)) = self.next(session)? else {
                    break;
                };
                if !samples.is_empty() && samples.len() + poll.values.len() > MAX_READINGS {
                    session.held = Some((position, poll));
                    break;
                }
                let resent = position <= self.published_to || is_late(&poll, sent_at);
                samples.extend(poll.samples(position, resent));
                *(if resent { &mut n_resent } else { &mut n_new }) += 1;
                self.published_to = self.published_to.max(position);
                session.sent_to = position;
            }
            if samples.is_empty() {
                return Ok(());
            }
            let mut payload = Vec::with_capacity(samples.len() * 80);
            native::encode(Some(self.spool.epoch), &samples, &mut payload);
            let publishing =
                session
                    .client
                    .try_publish(&self.readings_topic, QoS::AtLeastOnce, false, payload);
            publishing.map_err(|e| Trouble::Connection(e.to_string()))?;
            let now = Instant::now();
            if session.unacknowledged == 0 {
                session.last_ack = now;
            }
            if was_idle {
                session.last_progress = now;
            }
            session.unacknowledged += 1;
            add(&self.counters.published, n_new);
            add(&self.counters.resent, n_resent);
        }
        Ok(())
    }

    /// The next record that is not confirmed, if it is durable.
    fn next(&mut self, session: &mut Session) -> Result<Option<(u64, Poll)>, Trouble> {
        if let Some(held) = session.held.take() {
            return Ok(Some(held));
        }
        while let Some(entry) = session.reader.next()? {
            let position = entry.position;
            if self.confirmed.holds(position) {
                continue;
            }
            match Poll::decode(entry.kind, entry.body) {
                Ok(poll) if !poll.values.is_empty() => return Ok(Some((position, poll))),
                Ok(_) => {
                    self.confirmed.add(position, position);
                }
                Err(e) => {
                    count(&self.counters.unreadable);
                    warn!(position, "record {position} of the spool is passed over: {e}");
                    self.confirmed.add(position, position);
                }
            }
        }
        Ok(None)
    }

    /// Gives the connection up, or sends again, when an answer is overdue. Returns when to look again.
    fn check_deadlines(&mut self, session: &mut Session) -> Result<Instant, Trouble> {
        let now = Instant::now();
        let mut deadline = now + Duration::from_secs(60);
        if session.unacknowledged > 0 {
            let due = session.last_ack + PUBACK_WITHIN;
            if now >= due {
                return Err(Trouble::NoAnswer);
            }
            deadline = deadline.min(due);
        }
        if self.in_flight(session) > 0 {
            let due = session.last_progress + session.resend_after;
            if now >= due {
                let floor = self.confirmed.floor();
                warn!(
                    from = floor + 1,
                    to = session.sent_to,
                    "no receipt for {} s, sending again from the first record without one",
                    session.resend_after.as_secs()
                );
                session.reader = self.spool.log.reader(floor)?;
                session.held = None;
                session.sent_to = floor;
                session.last_progress = now;
                session.resend_after = (session.resend_after * 2).min(RESEND_AFTER.1);
                // Look again at once: the windows are open now.
                return Ok(now);
            }
            deadline = deadline.min(due);
        }
        Ok(deadline)
    }

    fn take(&mut self, session: &mut Session, happening: Happening) -> Result<(), Trouble> {
        match happening {
            Happening::Acknowledged => {
                session.unacknowledged = session.unacknowledged.saturating_sub(1);
                session.last_ack = Instant::now();
                if session.unacknowledged == 0 && std::mem::take(&mut session.has_told) {
                    if let Err(e) = self.commands.told() {
                        warn!("answers to commands will be published again: {e}");
                    }
                    self.tell_more(session)?;
                }
            }
            Happening::Message { topic, payload } if topic == self.receipt_topic => {
                self.receipt(session, &payload)
            }
            Happening::Message { topic, payload } if topic == self.command_topic => {
                self.command(session, &payload)?;
            }
            Happening::Message { topic, .. } => debug!("a message on `{topic}` is not for the gateway"),
            Happening::Subscribed(false) => warn!("the server refuses the subscription to commands"),
            Happening::Connected | Happening::Subscribed(true) => {}
            Happening::Trouble(trouble) => return Err(trouble),
        }
        Ok(())
    }

    /// Carries out a command and answers it.
    fn command(&mut self, session: &mut Session, payload: &[u8]) -> Result<(), Trouble> {
        let now = Timestamp::from_system(SystemTime::now());
        let mut own = Own {
            spool: &self.spool,
            counters: &self.counters,
            now,
        };
        match self.commands.take(payload, now.ms(), &mut own) {
            Ok(Some(answer)) => self.tell(session, &answer),
            Ok(None) => Ok(()),
            Err(e) => {
                warn!("a command is not carried out, its file cannot be written: {e}");
                Ok(())
            }
        }
    }

    /// Publishes answers that the server may not have.
    fn tell_more(&mut self, session: &mut Session) -> Result<(), Trouble> {
        for answer in self.commands.untold(MAX_ANSWERS) {
            self.tell(session, &answer)?;
        }
        Ok(())
    }

    fn tell(&self, session: &mut Session, answer: &Value) -> Result<(), Trouble> {
        let publishing =
            session
                .client
                .try_publish(&self.answer_topic, QoS::AtLeastOnce, false, answer.to_string());
        publishing.map_err(|e| Trouble::Connection(e.to_string()))?;
        if session.unacknowledged == 0 {
            session.last_ack = Instant::now();
        }
        session.unacknowledged += 1;
        session.has_told = true;
        count(&self.counters.commands);
        Ok(())
    }

    fn receipt(&mut self, session: &mut Session, payload: &[u8]) {
        let receipt = match Receipt::decode(payload) {
            Ok(receipt) if receipt.epoch == self.spool.epoch => receipt,
            Ok(receipt) => {
                count(&self.counters.foreign_receipts);
                debug!(epoch = receipt.epoch, "a receipt of another spool");
                return;
            }
            Err(e) => {
                count(&self.counters.foreign_receipts);
                warn!("a receipt that cannot be read: {e}");
                return;
            }
        };
        count(&self.counters.receipts);
        let floor = self.confirmed.floor();
        for (first, last) in receipt.ranges {
            // Nothing can be stored that was never published.
            self.confirmed.add(first, last.min(self.published_to));
        }
        // Only a moving floor is progress: a single record that is never confirmed must not wait for ever
        // behind others that are.
        if self.confirmed.floor() > floor {
            session.last_progress = Instant::now();
            session.resend_after = RESEND_AFTER.0;
            self.counters
                .floor
                .store(self.confirmed.floor(), Ordering::Relaxed);
        }
    }

    /// Notes the floor and deletes what is stored.
    async fn upkeep(&mut self) {
        let floor = self.confirmed.floor();
        if floor == self.noted_floor {
            return;
        }
        self.noted_floor = floor;
        let spool = self.spool.clone();
        let work = move || -> anyhow::Result<()> {
            spool
                .note_floor(floor)
                .context("cannot note what the server has stored")?;
            spool.release(floor)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => warn!("{e:#}"),
            Err(e) => warn!("upkeep of the spool ended badly: {e}"),
        }
    }
}

/// What the gateway itself can do.
struct Own<'a> {
    spool: &'a Spool,
    counters: &'a Counters,
    now: Timestamp,
}

impl Deeds for Own<'_> {
    fn deed(&mut self, method: &str, _params: &Value) -> Result<Value, String> {
        match method {
            "ping" => Ok(json!({"pong": true, "time": self.now.ms()})),
            "getStatus" => {
                let per_s = self.counters.bytes_per_s.load(Ordering::Relaxed) as f64;
                let log = self.spool.log.status();
                Ok(self.counters.line(&log, self.spool.max_bytes, per_s))
            }
            _ => Err("not supported".to_owned()),
        }
    }
}

/// Ends the client's task with the connection.
struct Pump(JoinHandle<()>);

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Drives the client until the first trouble. It runs in a task of its own because its `poll` may not be
/// cancelled half way.
async fn pump(mut events: EventLoop, tell: mpsc::Sender<Happening>) {
    loop {
        let happening = match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(ack))) if ack.code == ConnectReturnCode::Success => {
                Happening::Connected
            }
            Ok(Event::Incoming(Packet::ConnAck(ack))) => Happening::Trouble(Trouble::Refused(ack.code)),
            Ok(Event::Incoming(Packet::SubAck(ack))) => Happening::Subscribed(
                ack.return_codes
                    .iter()
                    .all(|code| matches!(code, SubscribeReasonCode::Success(_))),
            ),
            Ok(Event::Incoming(Packet::PubAck(_))) => Happening::Acknowledged,
            Ok(Event::Incoming(Packet::Publish(publish))) => Happening::Message {
                topic: publish.topic,
                payload: publish.payload.to_vec(),
            },
            Ok(_) => continue,
            Err(rumqttc::ConnectionError::ConnectionRefused(code)) => {
                Happening::Trouble(Trouble::Refused(code))
            }
            Err(e) => Happening::Trouble(Trouble::Connection(e.to_string())),
        };
        let last = matches!(happening, Happening::Trouble(_));
        if tell.send(happening).await.is_err() || last {
            return;
        }
    }
}

/// Whether a poll waited for its first sending so long that it is no news: what happened in an outage and is over by its end is to
/// wake nobody. Both times are of this clock, so that a wrong one makes nothing late.
fn is_late(poll: &Poll, sent_at: Timestamp) -> bool {
    sent_at.since(poll.at) > LATE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waited_longer_than_a_minute_is_late_and_what_is_ahead_is_not() {
        let sent_at = Timestamp::from_ms(1_795_392_000_000);
        for (ago_ms, want) in [(0, false), (60_000, false), (60_001, true), (-3_600_000, false)] {
            let poll = Poll {
                at: Timestamp::from_ms(sent_at.ms() - ago_ms),
                slave: "meter".to_owned(),
                values: Vec::new(),
            };
            assert_eq!(is_late(&poll, sent_at), want, "{ago_ms}");
        }
    }
}
