//! Packets of a client into what is staged for the journal and what is answered at once.

use bytes::Bytes;
use onemap_model::record::{KIND_FRAME, KIND_REFUSED, RefusedFrame, Session as Change, SessionFilter};
use onemap_model::{Frame, Refusal, Source, Timestamp};
use rumqttd::protocol::{
    Packet, PingResp, QoS, SubAck, Subscribe, SubscribeReasonCode, UnsubAck, Unsubscribe,
};
use tokio::io::AsyncReadExt as _;
use tokio::time::{Duration, Instant, timeout_at};
use tracing::info;

use super::{Connection, Effect, Wrong, refusal_of};
use crate::fanout::{Naming, shared_parts};
use crate::mqtt::handshake::{KEPT_BYTES, shown};
use crate::mqtt::keep::push;
use crate::mqtt::packet::{self, Ack, Bad, Cut, Publish};
use crate::mqtt::session::content_of;
use crate::mqtt::topics::{self, Own, Rights, Speaker};
use crate::mqtt::transport::Transport;
use crate::trie::is_topic;

impl Connection {
    /// Takes every whole packet out of the buffer; what is wrong stays at its front.
    pub(super) fn take_packets(&mut self) -> Result<(), Wrong> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let received_at = (self.shared.clock)();
        let buffer = std::mem::take(&mut self.buffer);
        let mut at = 0;
        let taken = loop {
            let packet = match packet::cut(&buffer[at..], self.shared.config.max_packet_bytes) {
                Ok(packet) => packet,
                Err(bad) => break Err(Wrong::Bad(bad)),
            };
            let (taken, length) = match packet {
                Cut::More(lacking) => {
                    self.lacking = lacking;
                    break Ok(());
                }
                Cut::Publish(publish, length) => (self.take_publish(publish, received_at), length),
                Cut::Connect(..) => {
                    break Err(Wrong::Bad(Bad::Malformed("a second CONNECT".to_owned())));
                }
                Cut::Other(packet, length) => (self.take_other(*packet), length),
            };
            match taken {
                Ok(()) => at += length,
                Err(wrong) => break Err(wrong),
            }
        };
        self.buffer = buffer;
        self.buffer.drain(..at);
        self.journal_answers();
        taken
    }

    fn take_publish(&mut self, publish: Publish<'_>, received_at: Timestamp) -> Result<(), Wrong> {
        let is_sound =
            self.last_topic.is(publish.topic) || std::str::from_utf8(publish.topic).is_ok_and(is_topic);
        if !is_sound {
            let what = "PUBLISH to a topic that is empty, has a wildcard or is not UTF-8";
            return Err(Wrong::Bad(Bad::Malformed(what.to_owned())));
        }
        let frame = |topic, refused, payload| Frame {
            received_at,
            source: Source::Mqtt,
            refused,
            qos: publish.qos,
            retain: publish.retain,
            device: &self.device,
            peer: &self.peer,
            topic,
            payload,
        };
        let rights = Rights {
            acl: &self.shared.config.acl,
            speaker: Speaker {
                device: &self.device,
                is_gateway: self.is_gateway,
            },
        };
        let topic = match self.last_topic.own(rights, publish.topic) {
            Ok(topic) => topic,
            Err(own) => {
                let (refusal, why) = match own {
                    Own::NotAGateway => (Refusal::NotAGateway, "a gateway's, and the device is none"),
                    _ => (Refusal::ForeignTopic, "not the device's own"),
                };
                let topic = String::from_utf8_lossy(publish.topic);
                let kept = &publish.payload[..publish.payload.len().min(KEPT_BYTES)];
                let frame = frame(&topic, Some(refusal), kept);
                let detail = format!("publish to `{}`, which is {why}", topics::shown(&topic));
                self.batch.push(KIND_REFUSED, |out| {
                    RefusedFrame {
                        detail: &detail,
                        frame,
                    }
                    .encode(out);
                });
                return Err(Wrong::Foreign(refusal, detail));
            }
        };
        let ack = match publish.qos {
            0 => None,
            1 => Some(Ack::Kept),
            _ => Some(Ack::Received),
        };
        if let Some(ack) = ack {
            packet::write_ack(&mut self.acks, ack, publish.packet_id);
            self.staged.ack_bytes += 4;
        }
        if publish.qos == 2 {
            let content = content_of(publish.topic, publish.payload);
            let staged = &mut self.staged;
            let mut once = staged.exactly_once.iter();
            if once.any(|(id, known, _)| (*id, *known) == (publish.packet_id, content)) {
                return Ok(());
            }
            let repeated = self
                .place
                .session
                .unreleased()
                .repeats(publish.packet_id, content, publish.dup);
            if let Some(position) = repeated {
                staged.at_least = staged.at_least.max(position);
                return Ok(());
            }
            let at = self.batch.len() + 1;
            staged.exactly_once.push((publish.packet_id, content, at));
        } else if publish.qos == 1 {
            self.staged.n_acks += 1;
        }
        let frame = frame(topic, None, publish.payload);
        self.batch.push(KIND_FRAME, |out| frame.encode(out));
        self.staged.n_publishes += 1;
        let at = self.batch.len();
        if let Some((packet_id, content, _)) = self.staged.exactly_once.last()
            && publish.qos == 2
            && !self.place.session.is_clean
        {
            // Just behind its frame: that is how a restart knows which one it is.
            let (device, client) = self.names();
            let arrived = Change::Arrived {
                device,
                client,
                packet_id: *packet_id,
                content: *content,
            };
            push(&mut self.batch, arrived);
        }
        if self.last_topic.is_heard() && (publish.retain || self.last_topic.is_wanted(&self.shared.fanout)) {
            let fan = Effect::Fan {
                topic: self.last_topic.normalised().to_owned(),
                payload: Bytes::copy_from_slice(publish.payload),
                qos: publish.qos,
                retain: publish.retain,
            };
            self.staged.effects.push((at, fan));
        }
        Ok(())
    }

    fn rights(&self) -> Rights<'_> {
        Rights {
            acl: &self.shared.config.acl,
            speaker: Speaker {
                device: &self.device,
                is_gateway: self.is_gateway,
            },
        }
    }

    /// Device and client id, as the journal names a session.
    pub(super) fn names(&self) -> (String, String) {
        let (device, client) = self.place.key();
        (device.to_string(), client.to_string())
    }

    fn take_other(&mut self, packet: Packet) -> Result<(), Wrong> {
        let malformed = |what: &str| Err(Wrong::Bad(Bad::Malformed(what.to_owned())));
        match packet {
            Packet::PubRel(release, _) => self.take_release(release.pkid),
            Packet::PubAck(ack, _) => self.take_done(ack.pkid, false),
            Packet::PubRec(received, _) => self.take_received(received.pkid),
            Packet::PubComp(completed, _) => self.take_done(completed.pkid, true),
            Packet::Subscribe(subscribe, _) => self.take_subscribe(&subscribe),
            Packet::Unsubscribe(unsubscribe, _) => self.take_unsubscribe(&unsubscribe),
            Packet::PingReq(_) => packet::write(&mut self.out, Packet::PingResp(PingResp)),
            Packet::Disconnect(..) => return Err(Wrong::Said),
            _ => return malformed("a packet that only servers send"),
        }
        Ok(())
    }

    /// PUBCOMP follows when the release is durable; an unknown id is answered all the same, because
    /// its first answer may have been lost.
    fn take_release(&mut self, packet_id: u16) {
        let n_staged = self.staged.exactly_once.len();
        self.staged.exactly_once.retain(|(id, ..)| *id != packet_id);
        let was_staged = self.staged.exactly_once.len() < n_staged;
        if self.place.session.unreleased().release(packet_id) || was_staged {
            let (device, client) = self.names();
            let released = Change::Released {
                device,
                client,
                packet_id,
            };
            push(&mut self.batch, released);
            self.place.note_change();
        }
        packet::write_ack(&mut self.acks, Ack::Completed, packet_id);
        self.staged.ack_bytes += 4;
        self.staged.n_acks += 1;
    }

    /// A filter as the hub knows it, when this client may listen there.
    fn known_filter(&self, path: &str) -> Option<(String, Naming)> {
        let (group, inner) = shared_parts(path)?;
        let (filter, naming) = topics::subscribable(self.rights(), inner)?;
        let filter = match group {
            None => filter.into_owned(),
            Some(group) => format!("$share/{group}/{filter}"),
        };
        Some((filter, naming))
    }

    /// The subscriptions hold at once; SUBACK leaves when they are journaled, if the session outlives its
    /// connection, and what is retained follows it.
    fn take_subscribe(&mut self, subscribe: &Subscribe) {
        let mut granted = Vec::new();
        let mut return_codes = Vec::with_capacity(subscribe.filters.len());
        for filter in &subscribe.filters {
            let taken = self.known_filter(&filter.path).and_then(|(name, naming)| {
                let member = &self.place.session.member;
                let qos = member.subscribe(&name, filter.qos as u8, naming).ok()?;
                Some((name, naming, qos))
            });
            return_codes.push(match &taken {
                Some((.., 0)) => SubscribeReasonCode::Success(QoS::AtMostOnce),
                Some((.., 1)) => SubscribeReasonCode::Success(QoS::AtLeastOnce),
                Some(_) => SubscribeReasonCode::Success(QoS::ExactlyOnce),
                None => {
                    let path: String = filter.path.chars().take(128).collect();
                    info!(device.id = %self.device, "`{}` may not subscribe to `{path}`", self.device);
                    SubscribeReasonCode::Failure
                }
            });
            granted.extend(taken);
        }
        let suback = SubAck {
            pkid: subscribe.pkid,
            return_codes,
        };
        self.stage_answer(Packet::SubAck(suback, None));
        if granted.is_empty() {
            return;
        }
        let mut at = 0;
        if !self.place.session.is_clean {
            let (device, client) = self.names();
            let filters = granted.iter();
            let filters = filters.map(|(filter, naming, qos)| session_filter(filter, *naming, *qos));
            let filters = filters.collect();
            let subscribed = Change::Subscribed {
                device,
                client,
                filters,
            };
            push(&mut self.batch, subscribed);
            at = self.batch.len();
            self.place.note_change();
        }
        self.staged.effects.push((at, Effect::Subscribed(granted)));
    }

    fn take_unsubscribe(&mut self, unsubscribe: &Unsubscribe) {
        let mut ended = Vec::new();
        for path in &unsubscribe.filters {
            if let Some((filter, naming)) = self.known_filter(path)
                && self.place.session.member.unsubscribe(&filter, naming)
            {
                ended.push(session_filter(&filter, naming, 0));
            }
        }
        if !ended.is_empty() && !self.place.session.is_clean {
            let (device, client) = self.names();
            let unsubscribed = Change::Unsubscribed {
                device,
                client,
                filters: ended,
            };
            push(&mut self.batch, unsubscribed);
            self.place.note_change();
        }
        let unsuback = UnsubAck {
            pkid: unsubscribe.pkid,
            reasons: Vec::new(),
        };
        self.stage_answer(Packet::UnsubAck(unsuback, None));
    }

    /// Stages an answer behind the records of the batch.
    pub(super) fn stage_answer(&mut self, answer: Packet) {
        let n_before = self.acks.len();
        packet::write(&mut self.acks, answer);
        self.staged.ack_bytes += self.acks.len() - n_before;
    }

    /// Stages the beginning of a packet that is refused; of one that is too large, up to
    /// [`KEPT_BYTES`] are read first, if they come within a second.
    pub(super) async fn keep_bad(&mut self, bad: &Bad, stream: &mut impl Transport) {
        if let Bad::OverSize { .. } = bad {
            let until = Instant::now() + Duration::from_secs(1);
            while self.buffer.len() < KEPT_BYTES {
                match timeout_at(until, stream.read_buf(&mut self.buffer)).await {
                    Ok(Ok(n)) if n > 0 => {}
                    _ => break,
                }
            }
        }
        let topic = packet::topic_of_beginning(&self.buffer).map(str::to_owned);
        self.stage_because(refusal_of(bad), topic, &bad.to_string());
    }

    /// Stages the front of the buffer as a refused frame, where the buffer itself shows what is wrong.
    pub(super) fn stage_refused(&mut self, refusal: Refusal, topic: Option<String>) {
        let detail = match packet::cut(&self.buffer, self.shared.config.max_packet_bytes) {
            Err(bad) => bad.to_string(),
            Ok(Cut::More(_)) => "the connection ended inside a packet".to_owned(),
            Ok(_) => "bytes between two packets that are none".to_owned(),
        };
        self.stage_because(refusal, topic, &detail);
    }

    fn stage_because(&mut self, refusal: Refusal, topic: Option<String>, detail: &str) {
        let frame = Frame {
            received_at: (self.shared.clock)(),
            source: Source::Mqtt,
            refused: Some(refusal),
            qos: 0,
            retain: false,
            device: &self.device,
            peer: &self.peer,
            topic: topic.as_deref().unwrap_or_default(),
            payload: shown(&self.buffer),
        };
        self.batch
            .push(KIND_REFUSED, |out| RefusedFrame { detail, frame }.encode(out));
    }
}

fn session_filter(filter: &str, naming: Naming, qos: u8) -> SessionFilter {
    SessionFilter {
        filter: filter.to_owned(),
        naming: naming.label().to_owned(),
        qos,
    }
}
