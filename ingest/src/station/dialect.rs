//! What a protocol does with the bytes of a connection, and what it is given to do it with.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use onemap_log::Batch;
use onemap_model::record::{KIND_FRAME, KIND_REFUSED, RefusedFrame};
use onemap_model::{DeviceId, Frame, Refusal, Source, Timestamp};
use onemap_wire::hj212::{Key, Segment};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::guesses::Sayer;
use super::outbox::{self, Outbox};
use super::peers::{Presence, Speaks};
use super::server::Shared;
use super::{Admitted, Denied, KEPT_BYTES, KEPT_WHOLE, PACKETS};
use crate::denial::Denial;
use crate::links::{self, Link};

/// A protocol on one connection.
pub(super) trait Dialect: Send + 'static {
    /// Under which its frames stand in the journal.
    const SOURCE: Source;
    /// Requests leave when no answer is due: the station awaits its answer first.
    const ANSWERS_FIRST: bool = false;
    /// The state of a new connection.
    fn new(shared: &Shared) -> Self;
    /// Takes the next bytes of the stream.
    fn push(&mut self, bytes: &[u8], intake: &mut Intake);
    /// Gives up what has begun: the line is quiet or has ended.
    fn give_up(&mut self, intake: &mut Intake);
    /// Bytes that wait for the rest of their frame.
    fn n_waiting(&self) -> usize;
    /// Whether [`Dialect::sweep`] does something.
    const SWEEPS: bool = false;
    /// Looks once a second at what the server's connections have in common.
    fn sweep(_: &mut Intake) {}
    /// Whether a station is in the middle of something that no request may come into.
    fn is_busy(&self) -> bool {
        false
    }
}

/// Who speaks on a connection, and what of it is staged for the journal.
pub(super) struct Intake {
    pub(super) shared: Arc<Shared>,
    source: Source,
    peer: Arc<str>,
    /// The peer's; none of the server's own.
    address: Option<SocketAddr>,
    /// When the bytes were read.
    pub(super) received_at: Timestamp,
    pub(super) batch: Batch,
    /// Answers behind the records of the batch.
    pub(super) answers: BytesMut,
    pub(super) n_answers: usize,
    /// Frames and faults since this was last looked at.
    pub(super) n_pieces: usize,
    n_frames: usize,
    /// One as a rule, and a table has four places from the first on: boxed, the empty ones are small.
    known: HashMap<Box<str>, Box<Known>>,
    outbox: Outbox,
    /// Its connection is none: datagrams.
    pub(super) is_datagram: bool,
    /// Ends the connection.
    pub(super) end: CancellationToken,
    /// Refused frames since the last one that was taken.
    pub(super) n_refused: u32,
    /// Wrong passwords on this connection.
    pub(super) n_guesses: u32,
}

/// A station that was let in on this connection.
struct Known {
    device: DeviceId,
    password: Box<str>,
    link: Link,
    presence: Presence,
    speaks: Speaks,
    sealed_with: Option<(Arc<[Key]>, usize)>,
}

impl Intake {
    pub(super) fn new(shared: Arc<Shared>, source: Source, peer: Option<SocketAddr>, outbox: Outbox) -> Self {
        Self {
            shared,
            source,
            peer: peer.map(|peer| peer.to_string()).unwrap_or_default().into(),
            address: peer,
            received_at: Timestamp::from_ms(0),
            batch: Batch::new(),
            answers: BytesMut::new(),
            n_answers: 0,
            n_pieces: 0,
            n_frames: 0,
            known: HashMap::new(),
            outbox,
            is_datagram: false,
            end: CancellationToken::new(),
            n_refused: 0,
            n_guesses: 0,
        }
    }

    /// The server's own, for what no connection says.
    pub(super) fn own(shared: Arc<Shared>, source: Source) -> Self {
        let (outbox, _) = outbox::queue(1);
        Self::new(shared, source, None, outbox)
    }

    /// Whether a station was let in.
    pub(super) fn is_known(&self) -> bool {
        !self.known.is_empty()
    }

    /// Whether one of its stations may no longer be here.
    pub(super) fn is_cut(&self) -> bool {
        self.known.values().any(|known| known.link.is_cut())
    }

    /// Lets a station in, or finds that it is; notes how it speaks, which `speaks` gives by how it spoke before, if it did.
    pub(super) fn admit(
        &mut self,
        number: &str,
        password: &str,
        speaks: impl FnOnce(Option<&Speaks>) -> Speaks,
        is_same: impl FnOnce(&Speaks) -> bool,
    ) -> Result<DeviceId, Denied> {
        if let Some(known) = self.known.get_mut(number)
            && *known.password == *password
        {
            known.presence.heard().hear(self.received_at);
            if !is_same(&known.speaks) {
                known.speaks = speaks(Some(&known.speaks));
                known.presence.speaks(known.speaks.clone());
            }
            return Ok(known.device.clone());
        }
        let admitted = self.look_up(number, password).inspect_err(|denied| {
            self.shared.counters.denied(&Denial {
                source: self.source,
                peer: &self.peer,
                device: number,
                refusal: denied.refusal(),
                detail: &denied.to_string(),
            });
        });
        let admitted = admitted?;
        let device = admitted.device;
        if self.known.len() >= self.shared.config.limits.stations && !self.known.contains_key(number) {
            return Err(Denied::TooMany);
        }
        let shown = links::Connection {
            client_id: "".into(),
            peer: Arc::clone(&self.peer),
            since: self.received_at,
        };
        let link = self.shared.links.enter(&device, admitted.credential, shown);
        link.ends_by(&self.end);
        let former = self.known.get(number).map(|known| known.speaks.clone());
        let former = former.or_else(|| Some(self.shared.peers.of(device.as_str())?.speaks));
        let speaks = speaks(former.as_ref());
        let presence = self.shared.peers.enter(
            &device,
            self.received_at,
            speaks.clone(),
            (self.outbox.clone(), self.is_datagram),
            self.end.clone(),
        );
        let known = Known {
            device: device.clone(),
            password: password.into(),
            link,
            presence,
            speaks,
            sealed_with: None,
        };
        self.known.insert(number.into(), Box::new(known));
        Ok(device)
    }

    /// Whether an address that needs no password is that of a station that may come in; it is not let in by that.
    pub(super) fn is_station(&mut self, number: &str) -> bool {
        self.known.contains_key(number) || self.look_up(number, "").is_ok()
    }

    /// Who a station is by its password, which may be guessed so often only.
    fn look_up(&mut self, number: &str, password: &str) -> Result<Admitted, Denied> {
        let look = || self.shared.stations.station(self.source, number, password);
        let guesses = &self.shared.guesses;
        let now = Instant::now().into_std();
        let looked = match self.address {
            // Who has shown a station's password here knows it.
            Some(peer) if !self.known.contains_key(number) => {
                let is_datagram = self.is_datagram;
                let from = Sayer { peer, is_datagram };
                let looked = guesses.may_try(now, from, number, password).and_then(|()| look());
                match looked {
                    Ok(_) => guesses.came_in(now, from, number, password),
                    Err(Denied::WrongPassword) => guesses.failed(now, from, number, password),
                    Err(_) => {}
                }
                looked
            }
            _ => look(),
        };
        if let Err(Denied::WrongPassword | Denied::AddressGuesses | Denied::StationGuesses) = looked {
            // Each costs the frames of a second.
            self.n_guesses += 1;
            self.n_pieces += self.shared.config.limits.frames_per_second as usize;
        }
        looked
    }

    /// A station that stays connected begins another session.
    pub(super) fn begin(&self, number: &str) {
        if let Some(known) = self.known.get(number) {
            known.presence.heard().begin();
        }
    }

    /// Notes with which of its keys a station that was let in encrypts.
    pub(super) fn sealed_with(&mut self, number: &str, keys: &Arc<[Key]>, used: usize) {
        let Some(known) = self.known.get_mut(number) else {
            return;
        };
        let is_same = |(of, at): &(Arc<[Key]>, usize)| Arc::ptr_eq(of, keys) && *at == used;
        if !known.sealed_with.as_ref().is_some_and(is_same) {
            known.presence.sealed_with(keys, used);
            known.sealed_with = Some((Arc::clone(keys), used));
        }
    }

    /// Stages a frame as it came.
    pub(super) fn keep(&mut self, device: &DeviceId, topic: &str, payload: &[u8]) {
        self.n_pieces += 1;
        self.n_frames += 1;
        self.n_refused = 0;
        let mut batch = std::mem::take(&mut self.batch);
        let frame = self.frame(device.as_str(), topic, None, payload);
        batch.push(KIND_FRAME, |out| frame.encode(out));
        self.batch = batch;
    }

    /// Notes a frame that may be one of several packets of a station.
    pub(super) fn note_packet(&mut self, device: &DeviceId, segment: &Segment, bytes: &[u8]) {
        let sets = &self.shared.packets;
        if let Some(ended) = sets.note(device, &self.peer, segment, bytes, self.received_at) {
            self.refuse(
                Refusal::IncompletePackets,
                Some(ended.device.as_str()),
                PACKETS,
                &ended.bytes,
                &ended.detail,
            );
        }
    }

    /// Stages an answer behind what was staged before.
    pub(super) fn answer(&mut self, bytes: &[u8]) {
        self.answers.extend_from_slice(bytes);
        self.n_answers += 1;
    }

    /// Counts what is refused and stages its beginning. Of connections without a known station beyond a burst only
    /// the count is kept, so that a scan does not fill the journal.
    pub(super) fn refuse(
        &mut self,
        refusal: Refusal,
        device: Option<&str>,
        topic: &str,
        payload: &[u8],
        detail: &str,
    ) {
        self.n_pieces += 1;
        self.n_refused = self.n_refused.saturating_add(1);
        let counters = &self.shared.counters;
        counters.refuse(refusal);
        if self.address.is_some()
            && !self.is_known()
            && !self.shared.strangers.may_keep(Instant::now().into_std())
        {
            counters.not_kept();
            return;
        }
        if self.n_refused == 1 {
            warn!(peer = %self.peer, reason = refusal.label(), "a frame of a station is refused: {detail}");
        }
        let most = match refusal {
            Refusal::WrongKey | Refusal::IncompletePackets => KEPT_WHOLE,
            _ => KEPT_BYTES,
        };
        let kept = &payload[..payload.len().min(most)];
        let device = device.unwrap_or_default();
        let mut batch = std::mem::take(&mut self.batch);
        let frame = self.frame(device, topic, Some(refusal), kept);
        batch.push(KIND_REFUSED, |out| RefusedFrame { detail, frame }.encode(out));
        self.batch = batch;
    }

    /// As [`Intake::refuse`], for bytes that cannot be read: of the station that they seem to name, when it was let in on this
    /// connection; when they name none, of the connection's only one.
    pub(super) fn refuse_unread(
        &mut self,
        refusal: Refusal,
        named: Option<&str>,
        topic: &str,
        payload: &[u8],
        detail: &str,
    ) {
        let only = match named {
            Some(number) => self.known.get(number).map(|known| known.device.clone()),
            None if self.known.len() == 1 => self.known.values().next().map(|known| known.device.clone()),
            None => None,
        };
        self.refuse(
            refusal,
            only.as_ref().map(DeviceId::as_str),
            topic,
            payload,
            detail,
        );
    }

    /// As [`Intake::refuse`], for a frame whose sender is not let in.
    pub(super) fn deny(&mut self, denied: Denied, number: &str, topic: &str, payload: &[u8]) {
        let device = denied.is_known().then_some(number);
        let shown: String = number.chars().take(64).flat_map(char::escape_debug).collect();
        let detail = format!("`{shown}`: {denied}");
        self.refuse(denied.refusal(), device, topic, payload, &detail);
    }

    fn frame<'a>(
        &'a self,
        device: &'a str,
        topic: &'a str,
        refused: Option<Refusal>,
        payload: &'a [u8],
    ) -> Frame<'a> {
        Frame {
            received_at: self.received_at,
            source: self.source,
            refused,
            qos: 0,
            retain: false,
            device,
            peer: &self.peer,
            topic,
            payload,
        }
    }

    /// Frames that were kept since this was last asked.
    pub(super) fn take_n_frames(&mut self) -> usize {
        std::mem::take(&mut self.n_frames)
    }
}
