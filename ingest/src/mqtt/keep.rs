//! Keeps sessions and retained messages over a restart: a projection of the journal with its own cursor.
//!
//! The journal has every publish and, in `Record::Session`, every change a client relies on. A snapshot of
//! what they have become is written every few seconds; a start reads it and folds what came after. So a
//! kill loses no subscription, no queued message and no packet id of QoS 2. What it may forget is that a
//! QoS 1 message was acknowledged a moment before: that one comes twice, with DUP or under a new id.
//!
//! A live change takes effect a moment after its record is durable, in its connection's own task. The
//! cursor of a snapshot is therefore the position before which nothing is pending
//! ([`Sessions::settled`]); what is in the snapshot from behind it is known by its journal position and is
//! not put there twice by the fold.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use onemap_log::{Batch, Log, LogError};
use onemap_model::record::{KIND_FRAME, KIND_SESSION, Session as Change};
use onemap_model::{Frame, Record, Source, Timestamp};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::MqttConfig;
use super::acl::Acl;
use super::session::{Key, Session, Sessions, join};
use super::snapshot::{self, Saved, SavedFilter, SavedMessage, Snapshot};
use super::topics::is_heard;
use crate::Counters;
use crate::fanout::{Delivery, Fanout, Incoming, Inflight, Naming, Stored};

/// How often it is looked whether a snapshot is due.
const LOOK: Duration = Duration::from_secs(2);
/// A snapshot without changes is written after this long, so that the journal can let go of segments.
const AT_LEAST: Duration = Duration::from_secs(30);
/// And after this many records.
const N_BEHIND: u64 = 200_000;
/// Snapshots write at most about so many bytes a second.
const BYTES_PER_S: u64 = 1 << 20;
/// How often sessions are looked through for those that were away for too long.
const EXPIRE: Duration = Duration::from_secs(60);

/// When the snapshot was written last.
#[derive(Debug, Default)]
pub(super) struct Saving {
    at: Option<Instant>,
    n_bytes: u64,
    has_failed: bool,
}

impl Sessions {
    /// Brings back the sessions and retained messages of before: the snapshot at `path`, then the journal
    /// behind it. Blocks for as long as that takes. `clock` gives the time of a journal that has none.
    ///
    /// A snapshot that is missing or damaged is said loudly, and what the journal holds is folded from its
    /// beginning.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn open(
        config: &MqttConfig,
        path: &Path,
        log: &Log,
        fanout: &Fanout,
        counters: &Counters,
    ) -> Result<Self, LogError> {
        let sessions = Self::empty(config, counters, Some(path.to_owned()));
        let last = *log.durable().borrow();
        let snapshot = match snapshot::read(path) {
            Ok(Some(snapshot)) if snapshot.cursor <= last => snapshot,
            Ok(Some(snapshot)) => {
                error!(
                    cursor = snapshot.cursor,
                    last,
                    "the MQTT sessions stand behind the journal's end: the journal was replaced. Sessions and retained messages are made again from what it holds"
                );
                Snapshot::default()
            }
            Ok(None) => {
                if last > 0 {
                    warn!(
                        "there is no file of MQTT sessions beside the journal; sessions and retained messages are made again from what it holds"
                    );
                }
                Snapshot::default()
            }
            Err(reason) => {
                error!(
                    "the MQTT sessions in {} are lost: {reason}. Sessions and retained messages are made again from what the journal holds; subscriptions older than that have to be made again by their clients",
                    path.display()
                );
                let aside = path.with_extension("damaged");
                if let Err(reason) = std::fs::rename(path, &aside) {
                    warn!("the damaged file cannot be set aside: {reason}");
                }
                Snapshot::default()
            }
        };
        let mut fold = Fold {
            sessions: &sessions,
            fanout,
            counters,
            acl: &config.acl,
            now: Timestamp::from_ms(snapshot.now_ms),
        };
        let cursor = snapshot.cursor;
        fold.restore(snapshot);
        let mut reader = log.reader(cursor)?;
        let mut n_folded = 0u64;
        while let Some(entry) = reader.next()? {
            let position = entry.position;
            n_folded += 1;
            match entry.kind {
                KIND_FRAME | KIND_SESSION => match Record::decode(entry.kind, entry.body) {
                    Ok(Record::Frame(frame)) => fold.frame(position, &frame),
                    Ok(Record::Session(change)) => fold.change(position, change),
                    Ok(_) => {}
                    Err(reason) => {
                        warn!(position, %reason, "a journal record is not readable by this version; sessions skip it");
                    }
                },
                onemap_model::record::KIND_TICK => {
                    if let Ok(record) = Record::decode(entry.kind, entry.body) {
                        fold.now = fold.now.max(record.time().unwrap_or(fold.now));
                    }
                }
                _ => {}
            }
        }
        let now = fold.now;
        sessions.0.cursor.store(cursor, Ordering::Release);
        sessions.note_change();
        let (_, n_sessions) = sessions.n();
        if n_sessions > 0 || fanout.n_retained() > 0 {
            info!(
                sessions = n_sessions,
                retained = fanout.n_retained(),
                folded = n_folded,
                at = now.ms(),
                "MQTT sessions and retained messages are back"
            );
        }
        Ok(sessions)
    }

    /// The journal position that a restart folds from; records before it may go.
    pub fn cursor(&self) -> u64 {
        self.0.cursor.load(Ordering::Acquire)
    }

    /// Writes snapshots while they are due, and ends sessions that are away for too long, until `stop`.
    pub(super) async fn keep(
        self,
        log: Log,
        fanout: Fanout,
        clock: fn() -> Timestamp,
        stop: CancellationToken,
    ) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut expired_at = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = looks.tick() => {}
            }
            if expired_at.elapsed() >= EXPIRE {
                expired_at = Instant::now();
                let then = clock().ms().saturating_sub(self.0.expiry.as_millis() as i64);
                if let Err(error) = self.end_expired(&log, Timestamp::from_ms(then), &stop).await {
                    warn!("the end of sessions cannot be journaled: {error}");
                }
            }
            if self.is_due(*log.durable().borrow()) {
                self.save_apart(&log, &fanout, clock).await;
            }
        }
    }

    async fn end_expired(
        &self,
        log: &Log,
        then: Timestamp,
        stop: &CancellationToken,
    ) -> Result<(), LogError> {
        let gone = self.expire(then);
        if gone.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        for (device, client) in &gone {
            info!(device.id = %device, client = %client, "the session `{client}` of `{device}` was away for too long and ends");
            let ended = Change::Ended {
                device: device.to_string(),
                client: client.to_string(),
            };
            push(&mut batch, ended);
        }
        self.note_change();
        tokio::select! {
            appended = log.append(&batch) => appended.map(|_| ()),
            () = stop.cancelled() => Ok(()),
        }
    }

    fn is_due(&self, durable: u64) -> bool {
        if self.0.path.is_none() {
            return false;
        }
        let saving = self
            .0
            .saving
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(at) = saving.at else { return true };
        let pause = LOOK.max(Duration::from_secs(saving.n_bytes / BYTES_PER_S));
        let age = at.elapsed();
        let behind = durable.saturating_sub(self.cursor());
        let has_changed = self.0.limits.is_changed.load(Ordering::Acquire);
        age >= pause && (has_changed || behind > N_BEHIND || (age >= AT_LEAST && behind > 0))
    }

    /// Writes a snapshot on a thread for blocking work.
    pub(super) async fn save_apart(&self, log: &Log, fanout: &Fanout, clock: fn() -> Timestamp) {
        let (own, fanout, durable, now) = (self.clone(), fanout.clone(), *log.durable().borrow(), clock());
        let written = tokio::task::spawn_blocking(move || own.save(&fanout, durable, now)).await;
        if let Err(error) = written {
            error!("writing the MQTT sessions panicked: {error}");
        }
    }

    /// Writes the snapshot. An error is said once, and the next snapshot is tried again.
    fn save(&self, fanout: &Fanout, durable: u64, now: Timestamp) {
        let Some(path) = &self.0.path else { return };
        // In this order: what changes from here on makes another snapshot due, and the cursor is from
        // before the state.
        self.0.limits.is_changed.store(false, Ordering::Release);
        let cursor = self.settled(durable);
        let mut retained = Vec::new();
        fanout.each_retained(|topic, payload, qos, position| {
            retained.push(SavedMessage {
                topic: topic.into(),
                payload: payload.clone(),
                qos,
                position,
                ..SavedMessage::default()
            });
        });
        let sessions = self.kept();
        let snapshot = Snapshot {
            cursor,
            now_ms: now.ms(),
            sessions: sessions
                .iter()
                .map(|(key, session, since)| saved(key, session, *since, cursor))
                .collect(),
            retained,
        };
        let written = snapshot::write(path, &snapshot);
        let mut saving = self
            .0
            .saving
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        saving.at = Some(Instant::now());
        match written {
            Ok(n_bytes) => {
                saving.n_bytes = n_bytes;
                saving.has_failed = false;
                self.0.cursor.store(cursor, Ordering::Release);
            }
            Err(error) => {
                self.note_change();
                if !saving.has_failed {
                    warn!(
                        "the MQTT sessions cannot be written to {}: {error}; a restart folds more of the journal",
                        path.display()
                    );
                }
                saving.has_failed = true;
            }
        }
    }
}

/// Appends a session change to a batch.
pub(super) fn push(batch: &mut Batch, change: Change) {
    let (_, body) = Record::Session(change).encode();
    batch.push(KIND_SESSION, |out| out.extend_from_slice(&body));
}

fn saved(key: &Key, session: &Session, since: Option<Timestamp>, cursor: u64) -> Saved {
    let (filters, stored) = session.member.stored();
    let message = |delivery: &Delivery| SavedMessage {
        topic: Arc::clone(&delivery.topic),
        payload: delivery.payload.clone(),
        qos: delivery.qos,
        retain: delivery.retain,
        position: delivery.position,
        group: delivery
            .group
            .as_ref()
            .map_or_else(String::new, |g| g.filter.to_string()),
        naming: delivery.group.as_ref().map(|g| g.naming),
    };
    Saved {
        device: key.0.to_string(),
        client: key.1.to_string(),
        away_since_ms: since.map_or(0, Timestamp::ms),
        filters: filters
            .iter()
            .map(|filter| SavedFilter {
                name: filter.name.to_string(),
                naming: filter.naming,
                qos: filter.qos,
                since: filter.since,
            })
            .collect(),
        // One from behind the cursor comes with its record; its frame may not be durable yet.
        unreleased: session
            .unreleased()
            .all()
            .into_iter()
            .filter(|(.., position)| *position <= cursor)
            .collect(),
        last_id: stored.last_id,
        inflight: stored
            .inflight
            .iter()
            .map(|sent| (sent.packet_id, sent.is_received, message(&sent.delivery)))
            .collect(),
        messages: stored.messages.iter().map(message).collect(),
    }
}

/// Folds the snapshot and the journal behind it.
struct Fold<'a> {
    sessions: &'a Sessions,
    fanout: &'a Fanout,
    counters: &'a Counters,
    acl: &'a Acl,
    now: Timestamp,
}

impl Fold<'_> {
    fn put(&self, device: &str, client: &str, since: Timestamp) -> Arc<Session> {
        let key = (device.into(), client.into());
        self.sessions.put(key, since, || {
            let limits = Some(Arc::clone(&self.sessions.0.limits));
            join(self.fanout, limits, self.acl.denied(device))
        })
    }

    fn restore(&mut self, snapshot: Snapshot) {
        let Snapshot {
            cursor,
            sessions,
            retained,
            ..
        } = snapshot;
        for message in retained {
            self.retain(&message.topic, &message.payload, message.qos, message.position);
        }
        for saved in sessions {
            let since = match saved.away_since_ms {
                0 => self.now,
                ms => Timestamp::from_ms(ms),
            };
            let session = self.put(&saved.device, &saved.client, since);
            // A subscription from behind the cursor comes with its record.
            for filter in saved.filters.iter().filter(|filter| filter.since <= cursor) {
                self.subscribe(&session, &filter.name, filter.naming, filter.qos, filter.since);
            }
            let delivery = |message: SavedMessage| Delivery {
                group: message
                    .naming
                    .and_then(|naming| session.member.group(&message.group, naming)),
                topic: message.topic,
                payload: message.payload,
                qos: message.qos,
                retain: message.retain,
                ticket: None,
                position: message.position,
            };
            let inflight = saved.inflight.into_iter();
            let inflight = inflight.map(|(packet_id, is_received, message)| Inflight {
                packet_id,
                delivery: delivery(message),
                is_received,
            });
            session.member.restore(Stored {
                last_id: saved.last_id,
                inflight: inflight.collect(),
                messages: saved.messages.into_iter().map(delivery).collect(),
            });
            let mut unreleased = session.unreleased();
            for (packet_id, content, position) in saved.unreleased {
                unreleased.remember(packet_id, content, position);
            }
        }
    }

    fn subscribe(&self, session: &Session, filter: &str, naming: Naming, qos: u8, since: u64) {
        match session.member.subscribe(filter, qos, naming) {
            Ok(_) => session.member.set_since(filter, naming, since),
            Err(reason) => warn!(filter, %reason, "a kept subscription is not taken"),
        }
    }

    fn retain(&self, topic: &str, payload: &Bytes, qos: u8, position: u64) {
        if self.fanout.retain(topic, payload, qos, position).is_err() {
            self.counters.refuse(onemap_model::Refusal::RetainedFull);
        }
    }

    fn frame(&mut self, position: u64, frame: &Frame<'_>) {
        self.now = self.now.max(frame.received_at);
        if frame.source != Source::Mqtt || frame.refused.is_some() || !is_heard(frame.topic) {
            return;
        }
        let is_wanted = frame.qos > 0 && self.fanout.wanted(frame.topic);
        if !frame.retain && !is_wanted {
            return;
        }
        let payload = Bytes::copy_from_slice(frame.payload);
        if frame.retain {
            self.retain(frame.topic, &payload, frame.qos, position);
        }
        if is_wanted {
            self.fanout.send(&Incoming {
                topic: frame.topic,
                payload: &payload,
                qos: frame.qos,
                ticket: None,
                position,
                is_replay: true,
            });
        }
    }

    fn change(&mut self, position: u64, change: Change) {
        match change {
            Change::Opened { device, client } => {
                self.put(&device, &client, self.now);
            }
            Change::Ended { device, client } => self.sessions.end(&device, &client),
            Change::Subscribed {
                device,
                client,
                filters,
            } => {
                let session = self.put(&device, &client, self.now);
                for filter in filters {
                    let Some(naming) = Naming::of_label(&filter.naming) else {
                        warn!(
                            filter = filter.filter,
                            naming = filter.naming,
                            "a kept subscription has an unknown naming"
                        );
                        continue;
                    };
                    self.subscribe(&session, &filter.filter, naming, filter.qos, position);
                    session
                        .member
                        .push_retained(&filter.filter, naming, filter.qos, true);
                }
            }
            Change::Unsubscribed {
                device,
                client,
                filters,
            } => {
                let Some(session) = self.sessions.away(&device, &client) else {
                    return;
                };
                for filter in filters {
                    if let Some(naming) = Naming::of_label(&filter.naming) {
                        session.member.unsubscribe(&filter.filter, naming);
                    }
                }
            }
            Change::Arrived {
                device,
                client,
                packet_id,
                content,
            } => {
                if let Some(session) = self.sessions.away(&device, &client) {
                    session.unreleased().remember(packet_id, content, position - 1);
                }
            }
            Change::Released {
                device,
                client,
                packet_id,
            } => {
                if let Some(session) = self.sessions.away(&device, &client) {
                    session.unreleased().release(packet_id);
                }
            }
            Change::Sent {
                device,
                client,
                messages,
            } => {
                let Some(session) = self.sessions.away(&device, &client) else {
                    return;
                };
                for (packet_id, position) in messages {
                    session.member.replay_sent(packet_id, position);
                }
            }
            Change::Received {
                device,
                client,
                packet_ids,
            } => {
                let Some(session) = self.sessions.away(&device, &client) else {
                    return;
                };
                for packet_id in packet_ids {
                    session.member.received(packet_id);
                }
            }
            Change::Delivered {
                device,
                client,
                messages,
            } => {
                let Some(session) = self.sessions.away(&device, &client) else {
                    return;
                };
                for (packet_id, position) in messages {
                    session.member.replay_delivered(packet_id, position);
                }
            }
            other => warn!(
                position,
                ?other,
                "a session change that this version does not know; skipped"
            ),
        }
    }
}
