//! From an accepted socket to an authenticated client, or to a refusal with its CONNACK.

use std::sync::Arc;

use bytes::BytesMut;
use onemap_log::Batch;
use onemap_model::record::{KIND_REFUSED, RefusedFrame};
use onemap_model::{DeviceId, Frame, Refusal, Source};
use rumqttd::protocol::{ConnAck, ConnectReturnCode, Packet};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Duration, Instant, timeout, timeout_at};
use tracing::{debug, warn};

use super::Holder;
use super::gate::{Entrance, NoSeat, Seat};
use super::packet::{self, Bad, Connect, Cut, SentWill};
use super::provision::PROVISION;
use super::server::Shared;
use super::tls::{Admission, Credential};
use super::topics::{self, Own, Rights, Speaker};
use super::transport::{Transport, Violation};
use crate::denial::Denial;
use crate::links::{self, Link};
use crate::trie::is_topic;

/// Largest CONNECT that is read before anybody is authenticated.
const MAX_CONNECT_BYTES: usize = 72 << 10;
/// Longest client id, in bytes.
const MAX_CLIENT_ID_BYTES: usize = 1024;
/// Bytes of a refused packet that are kept.
pub(super) const KEPT_BYTES: usize = 4096;

/// Who may come in, and as what.
pub(super) enum Greeting {
    /// An authenticated device.
    Device(Box<Hello>),
    /// A client that asks to be registered; what came behind its CONNECT already.
    Provision(Vec<u8>),
}

/// A client that may come in.
pub(super) struct Hello {
    /// Empty for an anonymous client.
    pub(super) device: Arc<str>,
    /// None of an anonymous client.
    pub(super) link: Option<Link>,
    pub(super) is_gateway: bool,
    /// As sent; made up when the client left it empty.
    pub(super) client_id: String,
    pub(super) is_clean: bool,
    pub(super) keep_alive_s: u16,
    pub(super) will: Option<Will>,
    /// What came behind the CONNECT already.
    pub(super) rest: Vec<u8>,
    /// Its place among the connections.
    pub(super) seat: Seat,
}

/// What is known of a peer before it says CONNECT.
pub(super) struct Arrival {
    /// Address and port.
    pub(super) peer: String,
    pub(super) entrance: Entrance,
    /// Its certificate and place among those that show one.
    pub(super) certificate: Option<(Credential, Admission)>,
}

/// What to publish when the connection breaks.
pub(super) struct Will {
    /// Normalised, the device's own.
    pub(super) topic: String,
    pub(super) payload: bytes::Bytes,
    pub(super) qos: u8,
    pub(super) retain: bool,
}

/// Why a client may not come in.
struct No {
    code: Option<ConnectReturnCode>,
    refusal: Refusal,
    detail: String,
    kept: Option<Kept>,
}

/// What is journaled of the refused bytes.
pub(super) struct Kept {
    pub(super) device: Option<Arc<str>>,
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
}

impl No {
    fn to_stranger(code: Option<ConnectReturnCode>, detail: impl Into<String>, packet: &[u8]) -> Self {
        Self {
            code,
            refusal: Refusal::MalformedPacket,
            detail: detail.into(),
            kept: Some(Kept {
                device: None,
                topic: String::new(),
                payload: shown(packet).to_vec(),
            }),
        }
    }
}

/// The first [`KEPT_BYTES`] of a packet; of a CONNECT only what stands before its secrets.
pub(super) fn shown(packet: &[u8]) -> &[u8] {
    let packet = match packet.first() {
        Some(first) if first >> 4 == 1 => packet::without_secrets(packet),
        _ => packet,
    };
    &packet[..packet.len().min(KEPT_BYTES)]
}

/// Reads the CONNECT and decides. `None`: the client was told and the refusal is counted and kept.
/// CONNACK 0 is not written here.
pub(super) async fn greet(
    stream: &mut impl Transport,
    shared: &Shared,
    arrival: &Arrival,
) -> Option<Greeting> {
    let peer = arrival.peer.as_str();
    let deadline = Instant::now() + shared.config.handshake_timeout;
    let mut buffer = Vec::with_capacity(512);
    let read = timeout_at(deadline, read_connect(stream, &mut buffer)).await;
    let judged = match read {
        Ok(Ok(())) => judge(shared, arrival, &buffer),
        Ok(Err(End::Bad(bad))) => Err(match packet::other_version(&buffer) {
            Some(level) => No::to_stranger(
                Some(ConnectReturnCode::RefusedProtocolVersion),
                format!("protocol level {level}, only MQTT 3.1.1 is spoken here"),
                &buffer,
            ),
            None => No::to_stranger(None, bad.to_string(), &buffer),
        }),
        Ok(Err(End::Violated(Violation { what, bytes }))) => Err(No::to_stranger(None, what, &bytes)),
        Ok(Err(End::Gone)) | Err(_) if buffer.is_empty() => {
            debug!(peer, "peer said nothing");
            return None;
        }
        Ok(Err(End::Gone)) => Err(No::to_stranger(None, "connection ended inside CONNECT", &buffer)),
        Err(_) => Err(No::to_stranger(None, "CONNECT did not come in time", &buffer)),
    };
    match judged {
        Ok(greeting) => Some(greeting),
        Err(no) => {
            refuse(stream, shared, peer, no).await;
            None
        }
    }
}

enum End {
    Gone,
    Bad(Bad),
    Violated(Violation),
}

/// Reads until a whole CONNECT stands at the front of the buffer.
async fn read_connect(stream: &mut impl Transport, buffer: &mut Vec<u8>) -> Result<(), End> {
    loop {
        match stream.read_buf(buffer).await {
            Ok(0) => return Err(End::Gone),
            Err(error) => {
                let violation = Violation::of(&error).cloned();
                return Err(violation.map_or(End::Gone, End::Violated));
            }
            Ok(_) => {}
        }
        if buffer[0] >> 4 != 1 {
            let bad = Bad::Malformed("the first packet is not CONNECT".to_owned());
            return Err(End::Bad(bad));
        }
        match packet::cut(buffer, MAX_CONNECT_BYTES).map_err(End::Bad)? {
            Cut::More(more) => buffer.reserve(more),
            _ => return Ok(()),
        }
    }
}

fn judge(shared: &Shared, arrival: &Arrival, buffer: &[u8]) -> Result<Greeting, No> {
    let peer = arrival.peer.as_str();
    let malformed = |detail: &str| No::to_stranger(None, detail, buffer);
    let Ok(Cut::Connect(connect, length)) = packet::cut(buffer, MAX_CONNECT_BYTES) else {
        return Err(malformed("the first packet is not CONNECT"));
    };
    let no_room = |detail: String| No {
        code: Some(ConnectReturnCode::ServiceUnavailable),
        refusal: Refusal::TooManyConnections,
        detail,
        kept: None,
    };
    if arrival.entrance.is_over {
        let limit = shared.config.limits.per_address;
        return Err(no_room(format!("its address has {limit} connections already")));
    }
    let Connect {
        is_clean,
        keep_alive_s,
        client_id,
        will,
        user_name,
    } = *connect;
    let certificate = arrival.certificate.as_ref().map(|(credential, _)| credential);
    let token = user_name.as_deref().unwrap_or_default();
    if shared.provision.is_some() && token == PROVISION {
        return Ok(Greeting::Provision(buffer[length..].to_vec()));
    }
    let (holder, link) = enter(shared, certificate, token, &client_id, peer)?;
    let known = holder.as_ref().map(|holder| &holder.device);
    let seat = shared.gate.sit(known).map_err(|none| {
        let limits = shared.config.limits;
        no_room(match none {
            NoSeat::Full => format!("{} connections are open", limits.connections),
            NoSeat::OfDevice => format!("{known:?} has {} connections already", limits.per_device),
        })
    })?;
    let is_gateway = holder.as_ref().is_some_and(|holder| holder.is_gateway);
    let device: Arc<str> = known.map_or("", DeviceId::as_str).into();
    let is_bad_id = (client_id.is_empty() && !is_clean) || client_id.len() > MAX_CLIENT_ID_BYTES;
    if is_bad_id {
        return Err(No {
            code: Some(ConnectReturnCode::ClientIdentifierNotValid),
            refusal: Refusal::MalformedPacket,
            detail: format!(
                "CONNECT with a client id of {} bytes and clean session {}; it has 1 to {MAX_CLIENT_ID_BYTES}, or none with clean session 1",
                client_id.len(),
                u8::from(is_clean)
            ),
            kept: Some(Kept {
                device: some(&device),
                topic: String::new(),
                payload: shown(buffer).to_vec(),
            }),
        });
    }
    let will = will
        .map(|will| own_will(shared, &device, is_gateway, will))
        .transpose()?;
    // NUL cannot be in a client's own id, so a made-up one is nobody else's.
    let client_id = if client_id.is_empty() {
        format!("\0{peer}")
    } else {
        client_id
    };
    Ok(Greeting::Device(Box::new(Hello {
        device,
        link,
        is_gateway,
        client_id,
        is_clean,
        keep_alive_s,
        will,
        rest: buffer[length..].to_vec(),
        seat,
    })))
}

/// Authenticates and enters the link; then looks again, so that a token which ends at the same time is
/// either refused here or cut there.
fn enter(
    shared: &Shared,
    certificate: Option<&Credential>,
    token: &str,
    client_id: &str,
    peer: &str,
) -> Result<(Option<Holder>, Option<Link>), No> {
    let Some(holder) = authenticate(shared, certificate, token)? else {
        return Ok((None, None));
    };
    let credential = match token {
        "" => 0,
        token => shared.auth.credential(token),
    };
    let shown = links::Connection {
        client_id: client_id.into(),
        peer: peer.into(),
        since: (shared.clock)(),
    };
    let link = shared.links.enter(&holder.device, credential, shown);
    if authenticate(shared, certificate, token)?.is_none_or(|again| again.device != holder.device) {
        return Err(No {
            code: Some(ConnectReturnCode::BadUserNamePassword),
            refusal: Refusal::WrongToken,
            detail: "the token went to another device just now".to_owned(),
            kept: None,
        });
    }
    Ok((Some(holder), Some(link)))
}

/// The name that is kept with refused bytes; an anonymous client is a stranger.
fn some(device: &Arc<str>) -> Option<Arc<str>> {
    (!device.is_empty()).then(|| Arc::clone(device))
}

/// Who the client is; `None` for one that may stay anonymous. Of a wrong token nothing is kept, not even its
/// length. With a certificate no token is needed; with both, both must be the same device's.
fn authenticate(
    shared: &Shared,
    certificate: Option<&Credential>,
    token: &str,
) -> Result<Option<Holder>, No> {
    let no = |code, refusal, detail: &str| No {
        code: Some(code),
        refusal,
        detail: detail.to_owned(),
        kept: None,
    };
    let by_certificate =
        match certificate {
            None => None,
            Some(credential) => Some(shared.auth.certificate(&credential.identity.names).ok_or_else(
                || {
                    let detail = format!(
                        "no device that may come in is named by its certificate {:?}",
                        credential.identity.names
                    );
                    no(
                        ConnectReturnCode::NotAuthorized,
                        Refusal::DeniedCertificate,
                        &detail,
                    )
                },
            )?),
        };
    if token.is_empty() {
        return match by_certificate {
            None if !shared.config.allow_anonymous => Err(no(
                ConnectReturnCode::NotAuthorized,
                Refusal::WrongToken,
                "CONNECT without a token as user name",
            )),
            holder => Ok(holder),
        };
    }
    let by_token = shared.auth.device(token).ok_or_else(|| {
        no(
            ConnectReturnCode::BadUserNamePassword,
            Refusal::WrongToken,
            "nobody holds this token",
        )
    })?;
    match by_certificate {
        Some(holder) if holder.device != by_token.device => {
            let detail = format!(
                "its certificate is {}'s, its token {}'s",
                holder.device, by_token.device
            );
            Err(no(
                ConnectReturnCode::NotAuthorized,
                Refusal::DeniedCertificate,
                &detail,
            ))
        }
        _ => Ok(Some(by_token)),
    }
}

fn own_will(shared: &Shared, device: &Arc<str>, is_gateway: bool, will: SentWill) -> Result<Will, No> {
    let speaker = Speaker { device, is_gateway };
    let acl = &shared.config.acl;
    match topics::publishable(Rights { acl, speaker }, &will.topic) {
        Own::Yes(normalised, _) if is_topic(&will.topic) => Ok(Will {
            topic: normalised.into_owned(),
            payload: will.payload,
            qos: will.qos,
            retain: will.retain,
        }),
        _ => Err(No {
            code: Some(ConnectReturnCode::NotAuthorized),
            refusal: Refusal::ForeignTopic,
            detail: format!(
                "the will is for `{}`, which is not the device's own",
                topics::shown(&will.topic)
            ),
            kept: Some(Kept {
                device: some(device),
                payload: will.payload[..will.payload.len().min(KEPT_BYTES)].to_vec(),
                topic: will.topic,
            }),
        }),
    }
}

async fn refuse(stream: &mut impl Transport, shared: &Shared, peer: &str, no: No) {
    let device = no.kept.as_ref().and_then(|kept| kept.device.as_deref());
    let denial = Denial {
        source: Source::Mqtt,
        peer,
        device: device.unwrap_or_default(),
        refusal: no.refusal,
        detail: &no.detail,
    };
    match no.refusal {
        Refusal::WrongToken | Refusal::DeniedCertificate | Refusal::TooManyConnections => {
            shared.counters.turn_away(&denial);
        }
        // A topic may be anything, a secret too.
        Refusal::ForeignTopic => shared.counters.turn_away(&Denial {
            detail: "the will is for a topic that is not the device's own",
            ..denial
        }),
        refusal => shared.counters.refuse(refusal),
    }
    if let Some(code) = no.code {
        let mut out = BytesMut::new();
        let connack = ConnAck {
            session_present: false,
            code,
        };
        packet::write(&mut out, Packet::ConnAck(connack, None));
        // Whether the refused client reads its answer is its own affair.
        let _ = timeout(Duration::from_secs(1), async {
            stream.write_all(&out).await?;
            stream.flush().await
        })
        .await;
    }
    let is_stranger = no.kept.as_ref().is_none_or(|k| k.device.is_none());
    if is_stranger && !shared.strangers.may_keep(std::time::Instant::now()) {
        shared.counters.not_kept();
        debug!(
            peer,
            reason = no.refusal.label(),
            "connection refused: {}",
            no.detail
        );
    } else {
        warn!(
            peer,
            reason = no.refusal.label(),
            "connection refused: {}",
            no.detail
        );
        if let Some(kept) = no.kept {
            keep(shared, peer, (no.refusal, &no.detail), &kept).await;
        }
    }
    // It may be gone already, or not read its end.
    let _ = timeout(Duration::from_secs(1), stream.shutdown()).await;
    drain(stream).await;
}

/// Journals the beginning of what was refused, with what was wrong with it.
pub(super) async fn keep(shared: &Shared, peer: &str, (refusal, detail): (Refusal, &str), kept: &Kept) {
    let frame = Frame {
        received_at: (shared.clock)(),
        source: Source::Mqtt,
        refused: Some(refusal),
        qos: 0,
        retain: false,
        device: kept.device.as_deref().unwrap_or_default(),
        peer,
        topic: &kept.topic,
        payload: &kept.payload,
    };
    let mut batch = Batch::new();
    batch.push(KIND_REFUSED, |out| RefusedFrame { detail, frame }.encode(out));
    tokio::select! {
        appended = shared.log.append(&batch) => if let Err(error) = appended {
            warn!(peer, "refused bytes were not kept: {error}");
        },
        () = shared.stop.cancelled() => shared.counters.not_kept(),
    }
}

/// Reads what is still on its way, for a moment: a socket that is closed with unread bytes takes the
/// last answer away from its client.
pub(super) async fn drain(stream: &mut (impl AsyncRead + Unpin)) {
    let mut scrap = vec![0; 8192];
    let until = Instant::now() + Duration::from_millis(500);
    for _ in 0..64 {
        match timeout_at(until, stream.read(&mut scrap)).await {
            Ok(Ok(n)) if n > 0 => {}
            _ => break,
        }
    }
}
