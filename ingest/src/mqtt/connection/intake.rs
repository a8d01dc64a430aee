//! Packets of a client into what is staged for the journal and what is answered at once.

use bytes::Bytes;
use onemap_model::record::{KIND_FRAME, KIND_SESSION, Session};
use onemap_model::{Frame, Record, Refusal, Source, Timestamp};
use rumqttd::protocol::{
    Packet, PingResp, QoS, SubAck, Subscribe, SubscribeReasonCode, UnsubAck, Unsubscribe,
};
use tokio::io::AsyncReadExt as _;
use tokio::time::{Duration, Instant, timeout_at};
use tracing::info;

use super::{Connection, Fan, Wrong, refusal_of};
use crate::mqtt::handshake::{KEPT_BYTES, own_filter, shown};
use crate::mqtt::packet::{self, Ack, Bad, Cut, Publish};
use crate::mqtt::session::content_of;
use crate::mqtt::topics::{self, Own, Speaker};
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
                Cut::Other(packet, length) => (self.take_other(*packet), length),
            };
            match taken {
                Ok(()) => at += length,
                Err(wrong) => break Err(wrong),
            }
        };
        self.buffer = buffer;
        self.buffer.drain(..at);
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
            device: self.device.as_str(),
            peer: &self.peer,
            topic,
            payload,
        };
        let speaker = Speaker {
            device: self.device.as_str(),
            is_gateway: self.is_gateway,
        };
        let topic = match self.last_topic.own(speaker, publish.topic) {
            Ok(topic) => topic,
            Err(own) => {
                let (refusal, why) = match own {
                    Own::NotAGateway => (Refusal::NotAGateway, "a gateway's, and the device is none"),
                    _ => (Refusal::ForeignTopic, "not the device's own"),
                };
                let topic = String::from_utf8_lossy(publish.topic);
                let kept = &publish.payload[..publish.payload.len().min(KEPT_BYTES)];
                let frame = frame(&topic, Some(refusal), kept);
                self.batch.push(KIND_FRAME, |out| frame.encode(out));
                let topic: String = topic.chars().take(128).collect();
                return Err(Wrong::Foreign(
                    refusal,
                    format!("publish to `{topic}`, which is {why}"),
                ));
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
            if staged.exactly_once.contains(&(publish.packet_id, content)) {
                return Ok(());
            }
            let repeated = self
                .place
                .unreleased()
                .repeats(publish.packet_id, content, publish.dup);
            if let Some(position) = repeated {
                staged.at_least = staged.at_least.max(position);
                return Ok(());
            }
            staged.exactly_once.push((publish.packet_id, content));
        } else if publish.qos == 1 {
            self.staged.n_acks += 1;
        }
        let frame = frame(topic, None, publish.payload);
        self.batch.push(KIND_FRAME, |out| frame.encode(out));
        self.staged.n_publishes += 1;
        if topics::is_heard(topic) && self.shared.fanout.wanted(topic) {
            self.staged.fans.push(Fan {
                topic: topic.to_owned(),
                payload: Bytes::copy_from_slice(publish.payload),
                qos: publish.qos,
            });
        }
        Ok(())
    }

    fn speaker(&self) -> Speaker<'_> {
        Speaker {
            device: self.device.as_str(),
            is_gateway: self.is_gateway,
        }
    }

    fn take_other(&mut self, packet: Packet) -> Result<(), Wrong> {
        let malformed = |what: &str| Err(Wrong::Bad(Bad::Malformed(what.to_owned())));
        match packet {
            Packet::PubRel(release, _) => self.take_release(release.pkid),
            Packet::PubAck(ack, _) => {
                // An id we do not wait for is a late answer to a publish of an earlier connection.
                if let Some(Some(ticket)) = self.window.waiting.remove(&ack.pkid) {
                    self.shared.fanout.confirm(ticket);
                }
            }
            Packet::Subscribe(subscribe, _) => self.take_subscribe(&subscribe),
            Packet::Unsubscribe(unsubscribe, _) => self.take_unsubscribe(&unsubscribe),
            Packet::PingReq(_) => packet::write(&mut self.out, Packet::PingResp(PingResp)),
            Packet::Disconnect(..) => return Err(Wrong::Said),
            Packet::Connect(..) => return malformed("a second CONNECT"),
            Packet::PubRec(..) | Packet::PubComp(..) => {
                return malformed("an answer to QoS 2, which is never sent to clients");
            }
            _ => return malformed("a packet that only servers send"),
        }
        Ok(())
    }

    /// PUBCOMP follows when the release is durable; an unknown id is answered all the same, because
    /// its first answer may have been lost.
    fn take_release(&mut self, packet_id: u16) {
        let n_staged = self.staged.exactly_once.len();
        self.staged.exactly_once.retain(|(id, _)| *id != packet_id);
        let was_staged = self.staged.exactly_once.len() < n_staged;
        if self.place.unreleased().release(packet_id) || was_staged {
            let session = Session::Released {
                device: self.device.clone(),
                packet_id,
            };
            let (_, body) = Record::Session(session).encode();
            self.batch.push(KIND_SESSION, |out| out.extend_from_slice(&body));
        }
        packet::write_ack(&mut self.acks, Ack::Completed, packet_id);
        self.staged.ack_bytes += 4;
        self.staged.n_acks += 1;
    }

    fn take_subscribe(&mut self, subscribe: &Subscribe) {
        let grant = |path: &str, qos: QoS| {
            let (filter, naming) = own_filter(self.speaker(), path)?;
            self.member.subscribe(&filter, qos as u8, naming).ok()
        };
        let return_codes = subscribe
            .filters
            .iter()
            .map(|filter| match grant(&filter.path, filter.qos) {
                Some(0) => SubscribeReasonCode::Success(QoS::AtMostOnce),
                Some(_) => SubscribeReasonCode::Success(QoS::AtLeastOnce),
                None => {
                    let path: String = filter.path.chars().take(128).collect();
                    info!(device.id = %self.device, "`{}` may not subscribe to `{path}`", self.device);
                    SubscribeReasonCode::Failure
                }
            })
            .collect();
        let suback = SubAck {
            pkid: subscribe.pkid,
            return_codes,
        };
        packet::write(&mut self.out, Packet::SubAck(suback, None));
    }

    fn take_unsubscribe(&mut self, unsubscribe: &Unsubscribe) {
        for path in &unsubscribe.filters {
            if let Some((filter, naming)) = own_filter(self.speaker(), path) {
                self.member.unsubscribe(&filter, naming);
            }
        }
        let unsuback = UnsubAck {
            pkid: unsubscribe.pkid,
            reasons: Vec::new(),
        };
        packet::write(&mut self.out, Packet::UnsubAck(unsuback, None));
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
        self.stage_refused(refusal_of(bad), topic);
    }

    /// Stages the front of the buffer as a refused frame.
    pub(super) fn stage_refused(&mut self, refusal: Refusal, topic: Option<String>) {
        let frame = Frame {
            received_at: (self.shared.clock)(),
            source: Source::Mqtt,
            refused: Some(refusal),
            qos: 0,
            retain: false,
            device: self.device.as_str(),
            peer: &self.peer,
            topic: topic.as_deref().unwrap_or_default(),
            payload: shown(&self.buffer),
        };
        self.batch.push(KIND_FRAME, |out| frame.encode(out));
    }
}
