//! Devices that register themselves, as the ThingsBoard API has it: a client of user name `provision`
//! publishes its request to `/provision/request` and hears the answer on `/provision/response`. It may do
//! nothing else, and not for long.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::BytesMut;
use onemap_model::{Refusal, Source};
use rumqttd::protocol::{
    ConnAck, ConnectReturnCode, Packet, PingResp, QoS, SubAck, SubscribeReasonCode, UnsubAck,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Duration, Instant, timeout, timeout_at};
use tracing::{debug, warn};

use super::handshake::{KEPT_BYTES, Kept, drain, keep};
use super::packet::{self, Ack, Cut, Head};
use super::server::Shared;
use super::topics;
use super::transport::Transport;

/// The user name.
pub(super) const PROVISION: &str = "provision";
const REQUEST: &str = "/provision/request";
const RESPONSE: &str = "/provision/response";
/// How long such a client may stay.
const STAY: Duration = Duration::from_secs(60);
/// Requests of one connection.
const N_REQUESTS: usize = 8;
/// Largest packet of such a client.
const MAX_BYTES: usize = 8 << 10;

/// Answers requests of devices that register themselves.
pub trait Provision: Send + Sync + fmt::Debug {
    /// Answers one request; what follows from it is durable then. A refusal is counted and kept there,
    /// without its secret.
    fn provision<'a>(
        &'a self,
        request: &'a [u8],
        source: Source,
        peer: &'a str,
    ) -> Pin<Box<dyn Future<Output = Vec<u8>> + Send + 'a>>;
}

/// Serves such a client until either side ends it.
pub(super) async fn serve(stream: &mut impl Transport, shared: &Shared, peer: &str, rest: Vec<u8>) {
    let until = Instant::now() + STAY;
    let mut client = Client {
        out: BytesMut::new(),
        is_listening: false,
        n_requests: 0,
    };
    let connack = ConnAck {
        session_present: false,
        code: ConnectReturnCode::Success,
    };
    packet::write(&mut client.out, Packet::ConnAck(connack, None));
    let mut buffer = rest;
    loop {
        let taken = tokio::select! {
            taken = client.take(&mut buffer, shared, peer) => taken,
            () = shared.stop.cancelled() => return,
        };
        let write = timeout(shared.config.write_timeout, stream.write_all_buf(&mut client.out));
        if !matches!(write.await, Ok(Ok(()))) || taken.is_none() {
            break;
        }
        tokio::select! {
            read = timeout_at(until, stream.read_buf(&mut buffer)) => match read {
                Ok(Ok(n)) if n > 0 => {}
                _ => break,
            },
            () = shared.stop.cancelled() => return,
        }
    }
    let _ = stream.shutdown().await; // it may be gone already
    drain(stream).await;
}

struct Client {
    out: BytesMut,
    is_listening: bool,
    n_requests: usize,
}

impl Client {
    /// Takes every whole packet; `None` ends the connection.
    async fn take(&mut self, buffer: &mut Vec<u8>, shared: &Shared, peer: &str) -> Option<()> {
        loop {
            if buffer.is_empty() {
                return Some(());
            }
            let (request, length) = match packet::cut(buffer, MAX_BYTES) {
                Ok(Cut::More(_)) => return Some(()),
                Ok(Cut::Publish(publish, length)) => {
                    if publish.topic != REQUEST.as_bytes() {
                        let topic = String::from_utf8_lossy(publish.topic).into_owned();
                        let kept = publish.payload[..publish.payload.len().min(KEPT_BYTES)].to_vec();
                        let detail = format!(
                            "publish to `{}`; a client that asks to be registered publishes to `{REQUEST}` only",
                            topics::shown(&topic)
                        );
                        refuse(shared, peer, (Refusal::ForeignTopic, &detail), topic, kept).await;
                        return None;
                    }
                    let ack = match publish.qos {
                        0 => None,
                        1 => Some((Ack::Kept, publish.packet_id)),
                        _ => Some((Ack::Received, publish.packet_id)),
                    };
                    (Some((publish.payload.to_vec(), ack)), length)
                }
                Ok(Cut::Connect(..)) => return None,
                Ok(Cut::Other(packet, length)) => {
                    self.take_other(*packet)?;
                    (None, length)
                }
                Err(bad) => {
                    debug!(peer, "a provisioning client is cut off: {bad}");
                    // It may hold a secret, so nothing of it is kept.
                    let why = (Refusal::MalformedPacket, &*bad.to_string());
                    refuse(shared, peer, why, String::new(), Vec::new()).await;
                    return None;
                }
            };
            buffer.drain(..length);
            if let Some((payload, ack)) = request {
                self.n_requests += 1;
                if self.n_requests > N_REQUESTS {
                    let detail = format!("more than {N_REQUESTS} requests on one connection");
                    let why = (Refusal::RateLimited, &*detail);
                    refuse(shared, peer, why, REQUEST.to_owned(), Vec::new()).await;
                    return None;
                }
                let answer = match &shared.provision {
                    Some(provision) => provision.provision(&payload, Source::Mqtt, peer).await,
                    None => return None,
                };
                if let Some((ack, id)) = ack {
                    packet::write_ack(&mut self.out, ack, id);
                }
                if self.is_listening {
                    packet::write_publish(&mut self.out, Head::default(), RESPONSE, &answer);
                }
            }
        }
    }

    fn take_other(&mut self, packet: Packet) -> Option<()> {
        match packet {
            Packet::Subscribe(subscribe, _) => {
                let mut return_codes = Vec::with_capacity(subscribe.filters.len());
                for filter in &subscribe.filters {
                    let is_own = filter.path == RESPONSE;
                    self.is_listening |= is_own;
                    return_codes.push(match is_own {
                        true => SubscribeReasonCode::Success(QoS::AtMostOnce),
                        false => SubscribeReasonCode::Failure,
                    });
                }
                let suback = SubAck {
                    pkid: subscribe.pkid,
                    return_codes,
                };
                packet::write(&mut self.out, Packet::SubAck(suback, None));
            }
            Packet::Unsubscribe(unsubscribe, _) => {
                self.is_listening &= !unsubscribe.filters.iter().any(|f| f == RESPONSE);
                let unsuback = UnsubAck {
                    pkid: unsubscribe.pkid,
                    reasons: Vec::new(),
                };
                packet::write(&mut self.out, Packet::UnsubAck(unsuback, None));
            }
            Packet::PubRel(release, _) => packet::write_ack(&mut self.out, Ack::Completed, release.pkid),
            Packet::PingReq(_) => packet::write(&mut self.out, Packet::PingResp(PingResp)),
            _ => return None,
        }
        Some(())
    }
}

async fn refuse(shared: &Shared, peer: &str, why: (Refusal, &str), topic: String, payload: Vec<u8>) {
    let (refusal, detail) = why;
    shared.counters.refuse(refusal);
    if !shared.strangers.may_keep(std::time::Instant::now()) {
        shared.counters.not_kept();
        return;
    }
    warn!(
        peer,
        reason = refusal.label(),
        "a provisioning client is cut off: {detail}"
    );
    let kept = Kept {
        device: None,
        topic,
        payload,
    };
    keep(shared, peer, why, &kept).await;
}
