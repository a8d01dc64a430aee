//! One connection: read, journal, wait until it is durable, acknowledge.
//!
//! One append a socket read, one write for all acknowledgements that a commit made due. Order is kept:
//! acknowledgements leave in the order of their publishes. Subscribers hear of a publish when it is
//! durable, not before: nobody acts on what a power cut may take back.

mod intake;
mod outlet;
mod prompt;

use std::collections::VecDeque;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Buf as _, Bytes, BytesMut};
use onemap_log::{Batch, LogError, ToldFirst};
use onemap_model::record::{KIND_FRAME, Session as Change};
use onemap_model::{Frame, Refusal, Source};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::prompt::Prompt;
use super::gate::Seat;
use super::handshake::{Hello, Will, drain};
use super::keep::push;
use super::packet::{self, Bad};
use super::server::Shared;
use super::session::{Entered, Place, join};
use super::topics::{self, LastTopic};
use super::transport::{Transport, Violation};
use crate::counters::Connected;
use crate::denial::Denial;
use crate::fanout::{Incoming, Naming, Resend};
use crate::links::Link;

/// Smallest and largest read.
const CHUNK: (usize, usize) = (2 << 10, 64 << 10);
/// Bytes written to a client before its acknowledgements are looked at again.
const WRITE_BYTES: usize = 64 << 10;

/// An authenticated client.
pub(super) struct Connection {
    shared: Arc<Shared>,
    /// Empty for an anonymous client.
    device: Arc<str>,
    is_gateway: bool,
    peer: String,
    will: Option<Will>,
    place: Place,
    /// None of an anonymous client.
    link: Option<Link>,
    _connected: Connected,
    _seat: Seat,
    /// Cancelled when the client's certificate is denied.
    denied: Option<CancellationToken>,

    buffer: Vec<u8>,
    chunk: usize,
    /// Bytes that the packet at the front of the buffer lacks.
    lacking: usize,
    last_topic: LastTopic,
    /// How long the client may be silent, and since when it is.
    silence: Duration,
    last_heard: Instant,

    batch: Batch,
    staged: Staged,
    durable: watch::Receiver<u64>,
    marks: VecDeque<Mark>,
    /// Acknowledgements of all marks, then of what is staged.
    acks: BytesMut,
    n_unacked_bytes: usize,
    /// Position of this connection's last record.
    last_position: u64,
    /// The position behind which the batch that is being appended may have effects.
    announced: u64,

    out: BytesMut,
    /// What the commit thread writes; none before there was anything.
    prompt: Option<Prompted>,
    /// What the session is sent again, before anything new.
    resends: VecDeque<Resend>,
    answers: Answers,
}

/// Acknowledgements that were left to the commit thread.
struct Prompted {
    prompt: Arc<Prompt>,
    /// How many marks from the front they belong to; none when it has nothing.
    n_marks: usize,
}

/// What the client's packets said about messages to it, for the journal.
#[derive(Default)]
struct Answers {
    received: Vec<u16>,
    delivered: Vec<(u16, u64)>,
}

/// What belongs to the batch that is being filled.
#[derive(Default)]
struct Staged {
    n_publishes: usize,
    n_acks: usize,
    ack_bytes: usize,
    /// A position that must be durable too: that of a publish which was repeated.
    at_least: u64,
    /// QoS 2: packet id, content, which record of the batch the frame is (from 1).
    exactly_once: Vec<(u16, u64, usize)>,
    /// With the record of the batch they belong to (from 1; 0 for none).
    effects: Vec<(usize, Effect)>,
}

/// What takes effect when its record is durable.
enum Effect {
    /// A publish that somebody subscribed to, or that stays on its topic.
    Fan {
        topic: String,
        payload: Bytes,
        qos: u8,
        retain: bool,
    },
    /// Filters that were granted: what is retained on their topics follows the SUBACK.
    Subscribed(Vec<(String, Naming, u8)>),
}

/// What becomes due when a position is durable.
struct Mark {
    position: u64,
    n_acks: usize,
    ack_bytes: usize,
    n_bytes: usize,
    /// With the journal position of each, 0 for none.
    effects: Vec<(u64, Effect)>,
    /// When it has effects: a position before all of them.
    before: u64,
}

/// Why a connection ends.
enum End {
    /// DISCONNECT.
    Said,
    /// The peer closed or reset.
    Gone,
    Silent,
    Replaced,
    /// Its token ended or its device is retired.
    Cut,
    Stopped,
    Refused(Refusal, String),
    SlowReader,
    WriteTimeout,
    Write(io::Error),
    Journal(LogError),
}

/// What may be wrong with a packet.
enum Wrong {
    Bad(Bad),
    Foreign(Refusal, String),
    Said,
}

impl Connection {
    pub(super) fn new(
        shared: Arc<Shared>,
        hello: Hello,
        peer: String,
        denied: Option<CancellationToken>,
    ) -> Self {
        let not_for_it = shared.config.acl.denied(&hello.device);
        let key = (Arc::clone(&hello.device), hello.client_id.as_str().into());
        let Entered {
            place,
            is_present,
            has_ended,
            resends,
        } = shared.sessions.enter(
            key,
            hello.is_clean,
            |limits| join(&shared.fanout, limits, not_for_it),
            shared.clock,
        );
        if let Some(link) = &hello.link {
            link.ends_by(&place.replaced);
        }
        let silence = match hello.keep_alive_s {
            0 => shared.config.idle_limit,
            seconds => Duration::from_millis(u64::from(seconds) * 1500),
        };
        let mut own = Self {
            device: hello.device,
            is_gateway: hello.is_gateway,
            peer,
            will: hello.will,
            place,
            link: hello.link,
            _connected: shared.counters.connected(),
            _seat: hello.seat,
            denied,
            buffer: hello.rest,
            chunk: CHUNK.0,
            lacking: 0,
            last_topic: LastTopic::default(),
            silence,
            last_heard: Instant::now(),
            batch: Batch::new(),
            staged: Staged::default(),
            durable: shared.log.durable(),
            marks: VecDeque::new(),
            acks: BytesMut::new(),
            n_unacked_bytes: 0,
            last_position: 0,
            announced: u64::MAX,
            out: BytesMut::new(),
            prompt: None,
            resends: resends.into(),
            answers: Answers::default(),
            shared,
        };
        own.stage_welcome(is_present, has_ended);
        own
    }

    /// Serves the client until either side ends it.
    pub(super) async fn run(mut self, mut stream: impl Transport) {
        let Err(end) = self.serve(&mut stream).await;
        self.finish(end, &mut stream).await;
    }

    async fn serve(&mut self, stream: &mut impl Transport) -> Result<std::convert::Infallible, End> {
        self.welcome(stream).await?;
        let mut alarm = pin!(sleep_until(self.last_heard + self.silence));
        loop {
            let taken = self.take_packets();
            if let Err(Wrong::Bad(bad)) = &taken {
                self.keep_bad(bad, stream).await;
            }
            self.journal(stream).await?;
            match taken {
                Ok(()) => {}
                Err(Wrong::Said) => return Err(End::Said),
                Err(Wrong::Foreign(refusal, detail)) => return Err(End::Refused(refusal, detail)),
                Err(Wrong::Bad(bad)) => return Err(End::Refused(refusal_of(&bad), bad.to_string())),
            }
            self.flush(stream).await?;
            self.wait(stream, &mut alarm).await?;
        }
    }

    /// Waits until there is something to do, and does the part that needs no packet.
    async fn wait(
        &mut self,
        stream: &mut impl Transport,
        alarm: &mut std::pin::Pin<&mut tokio::time::Sleep>,
    ) -> Result<(), End> {
        let may_read = self.n_unacked_bytes < self.shared.config.max_unacked_bytes;
        let member = &self.place.session.member;
        let has_room = member.has_room();
        self.buffer.reserve(self.chunk.max(self.lacking.min(CHUNK.1)));
        let spare = self.buffer.capacity() - self.buffer.len();
        let prompted = self.prompt.as_ref();
        let left = prompted.filter(|left| may_read && left.n_marks == self.marks.len());
        let left = left
            .filter(|_| !self.marks.is_empty())
            .map(|left| Arc::clone(&left.prompt));
        tokio::select! {
            () = self.shared.stop.cancelled() => Err(End::Stopped),
            () = told_to_go_on(left.as_deref()) => {
                self.take_back();
                Ok(())
            }
            () = cancelled(self.denied.as_ref()) => {
                let detail = "its certificate is denied now".to_owned();
                Err(End::Refused(Refusal::DeniedCertificate, detail))
            }
            () = self.place.replaced.cancelled() => Err(match self.link.as_ref().is_some_and(Link::is_cut) {
                true => End::Cut,
                false => End::Replaced,
            }),
            changed = self.durable.changed(), if !self.marks.is_empty() && left.is_none() => match changed {
                Ok(()) => {
                    self.acknowledge();
                    Ok(())
                }
                Err(_) => Err(End::Journal(LogError::Closed)),
            },
            ready = member.ready(), if has_room => match ready {
                Ok(()) => {
                    self.deliver();
                    Ok(())
                }
                Err(_) => Err(End::SlowReader),
            },
            _ = member.overrun(), if !has_room => Err(End::SlowReader),
            n = stream.read_buf(&mut self.buffer), if may_read => match n {
                Ok(n) if n > 0 => {
                    self.shared.counters.read(n);
                    self.last_heard = Instant::now();
                    self.fit_chunk(n, spare);
                    Ok(())
                }
                other => {
                    if let Some(violation) = other.as_ref().err().and_then(Violation::of) {
                        self.buffer.extend_from_slice(&violation.bytes);
                        self.stage_refused(Refusal::MalformedPacket, None);
                        return Err(End::Refused(Refusal::MalformedPacket, violation.to_string()));
                    }
                    if self.buffer.is_empty() {
                        return Err(End::Gone);
                    }
                    let bad = Bad::Malformed("the connection ended inside a packet".to_owned());
                    self.stage_refused(Refusal::MalformedPacket, None);
                    Err(End::Refused(Refusal::MalformedPacket, bad.to_string()))
                }
            },
            () = alarm.as_mut() => {
                let now = Instant::now();
                if may_read && now >= self.last_heard + self.silence {
                    return Err(End::Silent);
                }
                // While its socket is not read, a client cannot be heard.
                let from = if may_read { self.last_heard } else { now };
                alarm.as_mut().reset(from + self.silence);
                Ok(())
            }
        }
    }

    /// Busy clients get large reads, quiet ones small memory.
    fn fit_chunk(&mut self, n_read: usize, spare: usize) {
        if n_read == spare {
            self.chunk = (self.chunk * 2).min(CHUNK.1);
        } else if n_read < self.chunk / 16 && self.chunk > CHUNK.0 {
            self.chunk /= 2;
            self.buffer.shrink_to(self.chunk);
        }
    }

    /// Appends what is staged and remembers what becomes due with it. While the log has no room,
    /// nothing is read, and what becomes due is still acknowledged.
    async fn journal(&mut self, stream: &mut impl Transport) -> Result<(), End> {
        if self.batch.is_empty() && self.staged.ack_bytes == 0 && self.staged.effects.is_empty() {
            return Ok(());
        }
        let staged = std::mem::take(&mut self.staged);
        let mut position = self.last_position;
        let n_bytes = self.batch.bytes();
        let n_records = self.batch.len();
        let before = self.announce(&staged);
        if !self.batch.is_empty() {
            let batch = std::mem::take(&mut self.batch);
            let began = Instant::now();
            position = match self.append(&batch, stream).await {
                Ok(position) => position,
                Err(end) => {
                    // Nothing of this batch may ever be acknowledged.
                    self.acks.truncate(self.acks.len() - staged.ack_bytes);
                    return Err(end);
                }
            };
            self.batch = batch;
            self.batch.clear();
            self.last_heard += began.elapsed(); // nothing was read meanwhile
        }
        // The records of a batch stand one behind the other.
        let position_of = |at: usize| position - (n_records - at) as u64;
        self.shared.counters.received(staged.n_publishes);
        if !staged.exactly_once.is_empty() {
            let mut unreleased = self.place.session.unreleased();
            for (packet_id, content, at) in &staged.exactly_once {
                unreleased.remember(*packet_id, *content, position_of(*at));
            }
            self.place.note_change();
        }
        let effects = staged.effects.into_iter();
        let effects = effects.map(|(at, effect)| match at {
            0 => (0, effect),
            at => (position_of(at), effect),
        });
        let effects = effects.collect();
        self.acknowledge();
        self.last_position = position.max(staged.at_least);
        self.n_unacked_bytes += n_bytes;
        self.marks.push_back(Mark {
            position: self.last_position,
            n_acks: staged.n_acks,
            ack_bytes: staged.ack_bytes,
            n_bytes,
            effects,
            before,
        });
        self.announced = u64::MAX;
        if !self.prompt(stream) {
            self.acknowledge();
        }
        Ok(())
    }

    /// Leaves the acknowledgements of the last mark to the commit thread, if nothing else comes before or with
    /// them; says whether it does.
    fn prompt(&mut self, stream: &impl Transport) -> bool {
        let Some(mark) = self.marks.back() else {
            return false;
        };
        if mark.n_acks == 0 || !mark.effects.is_empty() || mark.before != u64::MAX || !self.out.is_empty() {
            return false;
        }
        let n_marks = self.marks.len();
        if n_marks - 1 != self.prompt.as_ref().map_or(0, |prompted| prompted.n_marks) {
            return false;
        }
        if self.prompt.is_none() {
            let outlet = stream.outlet();
            let prompt = outlet.map(|outlet| Arc::new(Prompt::new(outlet, self.shared.counters.clone())));
            self.prompt = prompt.map(|prompt| Prompted { prompt, n_marks: 0 });
        }
        let (Some(prompted), Some(mark)) = (&mut self.prompt, self.marks.back_mut()) else {
            return false;
        };
        prompted.n_marks = n_marks;
        let acks = &self.acks[self.acks.len() - mark.ack_bytes..];
        let n_acks = std::mem::take(&mut mark.n_acks);
        prompted.prompt.add(mark.position, acks, n_acks);
        let told: Arc<dyn ToldFirst> = Arc::<Prompt>::clone(&prompted.prompt);
        let is_told = self.shared.log.tell_first(mark.position, told);
        if !is_told {
            self.take_back();
        }
        is_told
    }

    /// Accounts for what the commit thread wrote. Where it left something that is due, all comes back.
    fn settle(&mut self, durable: u64) {
        let Some(prompted) = self.prompt.as_ref().filter(|prompted| prompted.n_marks > 0) else {
            return;
        };
        let (n_written, is_behind) = prompted.prompt.written(durable);
        self.account(n_written);
        if is_behind {
            self.take_back();
        }
    }

    /// Takes back what was left to the commit thread and not written.
    fn take_back(&mut self) {
        let Some(prompted) = self.prompt.as_mut().filter(|prompted| prompted.n_marks > 0) else {
            return;
        };
        let last = std::mem::take(&mut prompted.n_marks) - 1;
        let (n_written, n_uncounted) = prompted.prompt.take_back();
        if let Some(mark) = self.marks.get_mut(last) {
            mark.n_acks = n_uncounted;
        }
        self.account(n_written);
    }

    /// These bytes of the acknowledgements are written. The rest of a mark that was begun goes before anything
    /// else; it is due.
    fn account(&mut self, mut n_written: usize) {
        self.acks.advance(n_written);
        for mark in &mut self.marks {
            let n_of_mark = mark.ack_bytes.min(n_written);
            n_written -= n_of_mark;
            mark.ack_bytes -= n_of_mark;
            if n_written == 0 {
                if n_of_mark > 0 && mark.ack_bytes > 0 {
                    let mut rest = self.acks.split_to(std::mem::take(&mut mark.ack_bytes));
                    rest.unsplit(std::mem::take(&mut self.out));
                    self.out = rest;
                }
                return;
            }
        }
    }

    async fn append(&mut self, batch: &Batch, stream: &mut impl Transport) -> Result<u64, End> {
        let log = self.shared.log.clone();
        let stop = self.shared.stop.clone();
        let mut append = pin!(log.append(batch));
        loop {
            tokio::select! {
                biased;
                appended = &mut append => return appended.map_err(End::Journal),
                () = stop.cancelled() => return Err(End::Stopped),
                changed = self.durable.changed(), if !self.marks.is_empty() => {
                    if changed.is_err() {
                        return Err(End::Journal(LogError::Closed));
                    }
                    self.acknowledge();
                    self.flush(stream).await?;
                }
            }
        }
    }

    /// Makes due whatever is durable by now: acknowledgements to the client, messages to subscribers.
    fn acknowledge(&mut self) {
        let durable = *self.durable.borrow_and_update();
        if self.marks.front().is_some_and(|mark| mark.position <= durable) {
            self.settle(durable);
        }
        while let Some(mark) = self.marks.front()
            && mark.position <= durable
        {
            let Some(mark) = self.marks.pop_front() else { break };
            self.out.extend_from_slice(&self.acks.split_to(mark.ack_bytes));
            if let Some(prompted) = &mut self.prompt {
                prompted.n_marks = prompted.n_marks.saturating_sub(1);
            }
            self.n_unacked_bytes -= mark.n_bytes;
            self.shared.counters.acknowledged(mark.n_acks);
            for (position, effect) in mark.effects {
                self.take_effect(position, effect);
            }
            if mark.before != u64::MAX {
                let next = self.marks.iter().map(|mark| mark.before);
                let next = next.chain([self.announced]).min();
                let pending = &self.place.pending;
                pending.store(next.unwrap_or(u64::MAX), Ordering::SeqCst);
            }
        }
    }

    /// Says, before the batch is appended, that what it does may be pending behind what is durable now.
    fn announce(&mut self, staged: &Staged) -> u64 {
        let outlives = !self.place.session.is_clean && !staged.exactly_once.is_empty();
        if staged.effects.is_empty() && !outlives {
            return u64::MAX;
        }
        let before = *self.durable.borrow();
        self.place.pending.fetch_min(before, Ordering::SeqCst);
        self.announced = before;
        before
    }

    fn take_effect(&mut self, position: u64, effect: Effect) {
        let fanout = &self.shared.fanout;
        match effect {
            Effect::Fan {
                topic,
                payload,
                qos,
                retain,
            } => {
                if retain {
                    if fanout.retain(&topic, &payload, qos, position).is_err() {
                        self.shared.counters.refuse(Refusal::RetainedFull);
                        warn!(device.id = %self.device, reason = Refusal::RetainedFull.label(), "a message of `{}` is not retained, there is no room", self.device);
                    }
                    self.shared.sessions.note_change();
                }
                fanout.send(&Incoming {
                    topic: &topic,
                    payload: &payload,
                    qos,
                    ticket: None,
                    position,
                    is_replay: false,
                });
            }
            Effect::Subscribed(filters) => {
                let member = &self.place.session.member;
                for (filter, naming, qos) in filters {
                    if position > 0 {
                        member.set_since(&filter, naming, position);
                    }
                    member.push_retained(&filter, naming, qos, false);
                }
                self.place.note_change();
            }
        }
    }

    async fn flush(&mut self, stream: &mut impl Transport) -> Result<(), End> {
        if self.out.is_empty() {
            return Ok(());
        }
        self.take_back();
        let write = async {
            stream.write_all_buf(&mut self.out).await?;
            stream.flush().await // TLS and WebSocket hold bytes back
        };
        match timeout(self.shared.config.write_timeout, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::Write(error)),
            Err(_) => Err(End::WriteTimeout),
        }
    }

    /// Says why it ends, publishes the will, waits for the last acknowledgements and closes.
    async fn finish(mut self, end: End, stream: &mut impl Transport) {
        self.report(&end);
        // From here on nobody takes: what comes is queued, or goes to another member of a group.
        self.place.session.member.leave(self.place.connection);
        let is_graceful = matches!(end, End::Said | End::Stopped);
        if let Some(will) = self.will.take_if(|_| !is_graceful) {
            self.stage_will(will);
        }
        let until = Instant::now() + self.shared.config.stop_timeout;
        // The client may be gone, and the journal may have failed: then the last bytes are lost unacked.
        let _ = timeout_at(until, async {
            let _ = self.journal(stream).await;
            while !self.marks.is_empty() && self.durable.changed().await.is_ok() {
                self.acknowledge();
            }
            let _ = self.flush(stream).await;
            let _ = stream.shutdown().await;
        })
        .await;
        if let End::Refused(..) | End::Stopped = end {
            drain(stream).await;
        }
    }

    fn stage_will(&mut self, will: Will) {
        let frame = Frame {
            received_at: (self.shared.clock)(),
            source: Source::Mqtt,
            refused: None,
            qos: will.qos,
            retain: will.retain,
            device: &self.device,
            peer: &self.peer,
            topic: &will.topic,
            payload: &will.payload,
        };
        self.batch.push(KIND_FRAME, |out| frame.encode(out));
        if !topics::is_heard(&will.topic) {
            return;
        }
        let fan = Effect::Fan {
            topic: will.topic,
            payload: will.payload,
            qos: will.qos,
            retain: will.retain,
        };
        self.staged.effects.push((self.batch.len(), fan));
    }

    fn report(&self, end: &End) {
        let (device, peer) = (&*self.device, self.peer.as_str());
        match end {
            End::Said | End::Gone => debug!(device.id = %device, peer, "`{device}` left"),
            End::Stopped => debug!(device.id = %device, peer, "`{device}` is let go, the server stops"),
            End::Silent => info!(device.id = %device, peer, "`{device}` was silent for too long"),
            End::Replaced => info!(device.id = %device, peer, "`{device}` connected again"),
            End::Cut => info!(device.id = %device, peer, "`{device}` is cut off: it may no longer be here"),
            End::Refused(refusal, detail) => {
                let denial = |detail| Denial {
                    source: Source::Mqtt,
                    peer,
                    device,
                    refusal: *refusal,
                    detail,
                };
                let counters = &self.shared.counters;
                match refusal {
                    // A topic may be anything, a secret too.
                    Refusal::ForeignTopic => {
                        counters.turn_away(&denial("it published to a topic that is not its own"));
                    }
                    Refusal::DeniedCertificate => counters.turn_away(&denial(detail)),
                    refusal => counters.refuse(*refusal),
                }
                warn!(device.id = %device, peer, reason = refusal.label(), "`{device}` is cut off: {detail}");
            }
            End::SlowReader => {
                self.shared.counters.slow_reader();
                warn!(device.id = %device, peer, "`{device}` does not read its messages and is cut off");
            }
            End::WriteTimeout => {
                self.shared.counters.slow_reader();
                warn!(device.id = %device, peer, "`{device}` does not take its answers and is cut off");
            }
            End::Write(error) => debug!(device.id = %device, peer, "`{device}` is gone: {error}"),
            End::Journal(error) => {
                warn!(device.id = %device, peer, "`{device}` is cut off, the journal takes nothing: {error}");
            }
        }
    }
}

/// For ever pending where nothing can be cancelled.
async fn cancelled(token: Option<&CancellationToken>) {
    match token {
        Some(token) => token.cancelled().await,
        None => std::future::pending().await,
    }
}

/// For ever pending where nothing is left to the commit thread.
async fn told_to_go_on(left: Option<&Prompt>) {
    match left {
        Some(left) => left.is_back.notified().await,
        None => std::future::pending().await,
    }
}

fn refusal_of(bad: &Bad) -> Refusal {
    match bad {
        Bad::OverSize { .. } => Refusal::OverSize,
        Bad::Malformed(_) => Refusal::MalformedPacket,
    }
}
