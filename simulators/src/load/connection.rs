//! One connection under load: fills its window, counts what comes back.

use std::io::{ErrorKind, Write};
use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime};

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::AckLog;
use super::histogram::Histogram;
use super::template::Template;
use crate::mqtt::LinkError;
use crate::mqtt::codec::{self, Incoming, Qos};

/// Bytes collected before a write.
const WRITE_BYTES: usize = 64 << 10;

/// A connection's part of the load.
pub(crate) struct Share {
    pub(crate) number: usize,
    pub(crate) count: u64,
    /// Messages a second; 0 is no limit.
    pub(crate) rate: f64,
    /// How long after the start a paced share begins, so that connections do not speak in step.
    pub(crate) offset: Duration,
    pub(crate) inflight: usize,
    pub(crate) qos: Qos,
    pub(crate) topic: String,
    pub(crate) template: Template,
    /// The stamp of the first message; every further one is a millisecond later.
    pub(crate) first_stamp_ms: u64,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) n_sent: u64,
    /// Acknowledged; for QoS 0 what was on the wire when the closing ping was answered.
    pub(crate) n_done: u64,
    pub(crate) n_lost: u64,
    pub(crate) latency_us: Histogram,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Tally) {
        self.n_sent += other.n_sent;
        self.n_done += other.n_done;
        self.n_lost += other.n_lost;
        self.latency_us.add(&other.latency_us);
    }
}

/// An open connection with its share.
pub(crate) struct Connection {
    stream: TcpStream,
    share: Share,
    tally: Tally,
    /// By packet id - 1: number of the message and when it was sent.
    slots: Vec<Option<(u64, Instant)>>,
    n_waiting: usize,
    outbox: Vec<u8>,
    written: usize,
    inbox: Vec<u8>,
    payload: Vec<u8>,
    fence: Fence,
}

/// The ping that closes a QoS 0 run.
#[derive(PartialEq)]
enum Fence {
    NotYet,
    Sent,
    Back,
}

/// Connects and waits for CONNACK.
pub(crate) async fn open(server: &str, user: &str, share: Share) -> Result<Connection, LinkError> {
    let patience = Duration::from_secs(20);
    let connecting = async {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let mut hello = Vec::new();
        codec::connect(
            &mut hello,
            &format!("load-{}-{}", std::process::id(), share.number),
            user,
            0,
        );
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = stream;
        stream.write_all(&hello).await?;
        let mut answer = Vec::new();
        loop {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(LinkError::Closed);
            }
            match codec::cut(&answer)? {
                None => {}
                Some((Incoming::ConnAck { code: 0 }, _)) => return Ok(stream),
                Some((Incoming::ConnAck { code }, _)) => return Err(LinkError::Refused(code)),
                Some(_) => return Err(LinkError::Closed),
            }
        }
    };
    let stream = tokio::time::timeout(patience, connecting)
        .await
        .map_err(|_| LinkError::Timeout)??;
    let n_slots = (share.inflight * 2).clamp(16, 65_535);
    Ok(Connection {
        stream,
        tally: Tally::default(),
        slots: vec![None; n_slots],
        n_waiting: 0,
        outbox: Vec::with_capacity(WRITE_BYTES + 4096),
        written: 0,
        inbox: Vec::with_capacity(16 << 10),
        payload: Vec::new(),
        fence: Fence::NotYet,
        share,
    })
}

impl Connection {
    /// Sends the share; ends early when the connection is lost, at `end`, or on `stop`.
    pub(crate) async fn run(
        mut self,
        start: Instant,
        end: Instant,
        acklog: Option<AckLog>,
        stop: CancellationToken,
    ) -> Tally {
        let work = async {
            while !self.finished() {
                self.fill(start);
                let wanted = if self.written < self.outbox.len() {
                    Interest::READABLE | Interest::WRITABLE
                } else {
                    Interest::READABLE
                };
                let due = self.next_due(start);
                let ready = tokio::select! {
                    ready = self.stream.ready(wanted) => ready?,
                    () = tokio::time::sleep_until(due.unwrap_or(end).into()), if due.is_some() => continue,
                };
                if ready.is_writable() {
                    self.write()?;
                }
                if ready.is_readable() {
                    self.read(acklog.as_ref())?;
                }
            }
            Ok::<(), LinkError>(())
        };
        let ended = tokio::select! {
            ended = work => ended,
            () = tokio::time::sleep_until(end.into()) => Ok(()),
            () = stop.cancelled() => Ok(()),
        };
        if let Err(e) = ended {
            tracing::warn!(
                connection = self.share.number,
                "connection {} is lost: {e}",
                self.share.number
            );
            self.tally.n_lost += 1;
        }
        self.tally
    }

    fn finished(&self) -> bool {
        match self.share.qos {
            Qos::AtMostOnce => self.fence == Fence::Back,
            _ => self.tally.n_sent == self.share.count && self.n_waiting == 0,
        }
    }

    /// When the next message may go, if the rate is what holds it back.
    fn next_due(&self, start: Instant) -> Option<Instant> {
        let held_back = self.share.rate > 0.0
            && self.tally.n_sent < self.share.count
            && self.n_waiting < self.share.inflight
            && self.written == self.outbox.len();
        held_back.then(|| {
            // At least a millisecond ahead: the timer is no finer, and several messages may go at once.
            let after = Duration::from_secs_f64((self.tally.n_sent + 1) as f64 / self.share.rate);
            let due = start + self.share.offset + after;
            due.max(Instant::now() + Duration::from_millis(1))
        })
    }

    fn fill(&mut self, start: Instant) {
        if self.written == self.outbox.len() {
            self.outbox.clear();
            self.written = 0;
        }
        let allowed = if self.share.rate > 0.0 {
            let spoken = start.elapsed().saturating_sub(self.share.offset);
            ((spoken.as_secs_f64() * self.share.rate) as u64).min(self.share.count)
        } else {
            self.share.count
        };
        let now = Instant::now();
        let time_ms = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis() as u64;
        while self.tally.n_sent < allowed && self.outbox.len() < WRITE_BYTES {
            let seq = self.tally.n_sent;
            let slot = (seq % self.slots.len() as u64) as usize;
            if self.share.qos != Qos::AtMostOnce {
                if self.n_waiting == self.share.inflight || self.slots[slot].is_some() {
                    break;
                }
                self.slots[slot] = Some((seq, now));
                self.n_waiting += 1;
            }
            self.payload.clear();
            let stamp_ms = self.share.first_stamp_ms + seq;
            self.share
                .template
                .fill(&mut self.payload, time_ms, stamp_ms, seq);
            codec::publish(
                &mut self.outbox,
                &self.share.topic,
                &self.payload,
                self.share.qos,
                slot as u16 + 1,
                false,
            );
            self.tally.n_sent += 1;
        }
        if self.share.qos == Qos::AtMostOnce
            && self.tally.n_sent == self.share.count
            && self.fence == Fence::NotYet
        {
            codec::ping(&mut self.outbox);
            self.fence = Fence::Sent;
        }
    }

    fn write(&mut self) -> Result<(), LinkError> {
        if self.written < self.outbox.len() {
            match self.stream.try_write(&self.outbox[self.written..]) {
                Ok(n) => self.written += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn read(&mut self, acklog: Option<&AckLog>) -> Result<(), LinkError> {
        match self.stream.try_read_buf(&mut self.inbox) {
            Ok(0) => return Err(LinkError::Closed),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e.into()),
        }
        let now = Instant::now();
        let mut used = 0;
        let mut acknowledged = Vec::new();
        while let Some((packet, n)) = codec::cut(&self.inbox[used..])? {
            used += n;
            match packet {
                Incoming::PubAck(id) | Incoming::PubComp(id) => {
                    let slot = self
                        .slots
                        .get_mut(usize::from(id).wrapping_sub(1))
                        .and_then(Option::take);
                    if let Some((seq, sent)) = slot {
                        self.n_waiting -= 1;
                        self.tally.n_done += 1;
                        self.tally
                            .latency_us
                            .note(now.duration_since(sent).as_micros() as u64);
                        if acklog.is_some() {
                            acknowledged.push(seq);
                        }
                    }
                }
                Incoming::PubRec(id) => codec::pubrel(&mut self.outbox, id),
                Incoming::PingResp if self.fence == Fence::Sent => {
                    self.fence = Fence::Back;
                    self.tally.n_done = self.tally.n_sent;
                }
                _ => {}
            }
        }
        self.inbox.drain(..used);
        if let (Some(log), false) = (acklog, acknowledged.is_empty()) {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            for seq in acknowledged {
                writeln!(log, "{}:{seq}", self.share.number)?;
            }
        }
        Ok(())
    }
}
