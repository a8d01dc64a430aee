//! What goes to the client: the welcome, what it is sent again, and messages; and its answers to them.
//!
//! A QoS 2 message to a session that outlives its connection leaves when its packet id is in the journal,
//! and its PUBREL when the PUBREC is: a restart sends it under the same id or not at all (3.1.1, 4.3.3).

use super::{Change, Connection, End, LogError, Resend, Transport, WRITE_BYTES, packet, push};
use crate::mqtt::packet::{Ack, Head};
use rumqttd::protocol::{ConnAck, ConnectReturnCode, Packet};

impl Connection {
    /// Stages the CONNACK behind what it stands for.
    pub(super) fn stage_welcome(&mut self, is_present: bool, has_ended: bool) {
        let (device, client) = self.names();
        if has_ended {
            let ended = Change::Ended {
                device: device.clone(),
                client: client.clone(),
            };
            push(&mut self.batch, ended);
        }
        let session = &self.place.session;
        if !session.is_clean {
            if !session.is_opened.load(std::sync::atomic::Ordering::Acquire) {
                let opened = Change::Opened {
                    device: device.clone(),
                    client: client.clone(),
                };
                push(&mut self.batch, opened);
            }
            // The last connection may have ended before these were journaled.
            let mut sent = Vec::new();
            let mut received = Vec::new();
            for resend in &self.resends {
                match resend {
                    Resend::Publish(id, delivery) if delivery.qos == 2 => sent.push((*id, delivery.position)),
                    Resend::Publish(..) => {}
                    Resend::Release(id) => received.push(*id),
                }
            }
            self.push_sent(sent);
            self.answers.received = received;
            self.journal_answers();
        }
        let connack = ConnAck {
            session_present: is_present,
            code: ConnectReturnCode::Success,
        };
        self.stage_answer(Packet::ConnAck(connack, None));
    }

    /// CONNACK is the first packet a client gets, and it is true when it leaves. What the session is sent
    /// again comes next.
    pub(super) async fn welcome(&mut self, stream: &mut impl Transport) -> Result<(), End> {
        self.journal(stream).await?;
        while !self.marks.is_empty() {
            tokio::select! {
                () = self.shared.stop.cancelled() => return Err(End::Stopped),
                () = self.place.replaced.cancelled() => return Err(End::Replaced),
                changed = self.durable.changed() => match changed {
                    Ok(()) => self.acknowledge(),
                    Err(_) => return Err(End::Journal(LogError::Closed)),
                },
            }
        }
        let is_opened = &self.place.session.is_opened;
        is_opened.store(true, std::sync::atomic::Ordering::Release);
        self.flush(stream).await?;
        while let Some(resend) = self.resends.pop_front() {
            match resend {
                Resend::Release(id) => packet::write_ack(&mut self.out, Ack::Release, id),
                Resend::Publish(packet_id, delivery) => {
                    let head = Head {
                        qos: delivery.qos,
                        dup: true,
                        retain: delivery.retain,
                        packet_id,
                    };
                    packet::write_publish(&mut self.out, head, &delivery.topic, &delivery.payload);
                    self.shared.counters.delivered(1);
                }
            }
            if self.out.len() >= WRITE_BYTES || self.resends.is_empty() {
                self.flush(stream).await?;
            }
        }
        Ok(())
    }

    /// Takes messages from the queue while the window has room.
    pub(super) fn deliver(&mut self) {
        let is_clean = self.place.session.is_clean;
        let mut n_messages = 0;
        let mut sent = Vec::new();
        while self.out.len() + self.staged.ack_bytes < WRITE_BYTES
            && let Some((packet_id, delivery)) = self.place.session.member.next(self.place.connection)
        {
            if delivery.qos == 2 && !is_clean {
                sent.push((packet_id, delivery.position));
            }
            let head = Head {
                qos: delivery.qos,
                dup: false,
                retain: delivery.retain,
                packet_id,
            };
            // Behind one that waits for the journal all wait: the order stays.
            let out = if sent.is_empty() {
                &mut self.out
            } else {
                &mut self.acks
            };
            let n_before = out.len();
            packet::write_publish(out, head, &delivery.topic, &delivery.payload);
            if !sent.is_empty() {
                self.staged.ack_bytes += self.acks.len() - n_before;
            }
            n_messages += 1;
        }
        self.push_sent(sent);
        self.shared.counters.delivered(n_messages);
    }

    fn push_sent(&mut self, messages: Vec<(u16, u64)>) {
        if messages.is_empty() {
            return;
        }
        let (device, client) = self.names();
        let sent = Change::Sent {
            device,
            client,
            messages,
        };
        push(&mut self.batch, sent);
    }

    /// PUBACK or PUBCOMP. An id that nothing waits under is a late answer to an earlier connection.
    pub(super) fn take_done(&mut self, packet_id: u16, is_completed: bool) {
        let Some(delivery) = self.place.session.member.done(packet_id, is_completed) else {
            return;
        };
        if let Some(ticket) = delivery.ticket {
            self.shared.fanout.confirm(&ticket);
        } else if !self.place.session.is_clean {
            self.answers.delivered.push((packet_id, delivery.position));
        }
    }

    /// PUBREC. One that nothing waits under is answered too: the client is done with it then.
    pub(super) fn take_received(&mut self, packet_id: u16) {
        let is_known = self.place.session.member.received(packet_id);
        if is_known && !self.place.session.is_clean {
            self.answers.received.push(packet_id);
            packet::write_ack(&mut self.acks, Ack::Release, packet_id);
            self.staged.ack_bytes += 4;
        } else {
            packet::write_ack(&mut self.out, Ack::Release, packet_id);
        }
    }

    /// Journals the answers of one read. That a message was delivered is not waited for: should a crash
    /// forget it, the message comes twice, or its PUBREL does.
    pub(super) fn journal_answers(&mut self) {
        if self.answers.received.is_empty() && self.answers.delivered.is_empty() {
            return;
        }
        let answers = std::mem::take(&mut self.answers);
        let (device, client) = self.names();
        if !answers.received.is_empty() {
            let received = Change::Received {
                device: device.clone(),
                client: client.clone(),
                packet_ids: answers.received,
            };
            push(&mut self.batch, received);
        }
        if !answers.delivered.is_empty() {
            let delivered = Change::Delivered {
                device,
                client,
                messages: answers.delivered,
            };
            push(&mut self.batch, delivered);
        }
    }
}
