//! One connection of stations: read, journal, wait until it is durable, answer.
//!
//! One append a socket read, one write for all answers that a commit made due; answers leave in the order of their
//! frames. A station that sends faster than it may, or whose frames are not durable yet, is not read.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::BytesMut;
use onemap_log::LogError;
use onemap_model::Refusal;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep_until, timeout, timeout_at};
use tracing::{debug, info, warn};

use super::outbox::{self, Inbox};
use super::server::{Shared, turn_away};
use super::stream::Stream;
use super::{Dialect, Intake};
use crate::mqtt::gate::Seat;
use crate::mqtt::room::Chair;

/// Smallest and largest read.
const CHUNK: (usize, usize) = (1 << 10, 32 << 10);
/// A connection with so many wrong passwords is closed.
const N_GUESSES: u32 = 16;
/// Bytes of a short frame.
const SHORT_FRAME: f64 = 80.0;
/// Requests that wait to be written; a full queue is told to who sends.
const N_REQUESTS: usize = 16;
/// A connection that shows no station in so many refused frames is closed.
const N_REFUSED: u32 = 64;

/// One connection.
pub(super) struct Connection<D> {
    shared: Arc<Shared>,
    peer: SocketAddr,
    dialect: D,
    intake: Intake,
    requests: Inbox,
    /// Held until a station is shown.
    chair: Option<Chair>,
    seat: Option<Seat>,

    buffer: Vec<u8>,
    chunk: usize,
    last_heard: Instant,
    /// Frames that may come now, and when that was so.
    left: f64,
    filled_at: Instant,

    durable: watch::Receiver<u64>,
    marks: VecDeque<Mark>,
    /// Answers of all marks.
    answers: BytesMut,
    n_unacked_bytes: usize,
    out: BytesMut,
}

/// What becomes due when a position is durable.
struct Mark {
    position: u64,
    n_answers: usize,
    answer_bytes: usize,
    n_bytes: usize,
}

/// Why a connection ends.
enum End {
    /// The peer closed or reset.
    Gone,
    Silent,
    /// Others wait for its place and it showed no station.
    MustGo,
    /// Its password ended, its device is retired, or it was given up.
    Cut,
    Stopped,
    /// It showed no station in many frames, or there is no room.
    Refused(Refusal, &'static str),
    WriteTimeout,
    Write(io::Error),
    Journal(LogError),
}

impl<D: Dialect> Connection<D> {
    pub(super) fn new(shared: Arc<Shared>, peer: SocketAddr, chair: Chair, is_datagram: bool) -> Self {
        let (outbox, requests) = outbox::queue(N_REQUESTS);
        let now = Instant::now();
        let mut intake = Intake::new(Arc::clone(&shared), D::SOURCE, Some(peer), outbox);
        intake.is_datagram = is_datagram;
        Self {
            dialect: D::new(&shared),
            intake,
            requests,
            chair: Some(chair),
            seat: None,
            buffer: Vec::new(),
            chunk: CHUNK.0,
            last_heard: now,
            left: burst(&shared),
            filled_at: now,
            durable: shared.log.durable(),
            marks: VecDeque::new(),
            answers: BytesMut::new(),
            n_unacked_bytes: 0,
            out: BytesMut::new(),
            peer,
            shared,
        }
    }

    /// Serves until either side ends it.
    pub(super) async fn run(mut self: Box<Self>, stream: &mut Stream) {
        let Err(end) = self.serve(stream).await;
        self.finish(&end, stream).await;
    }

    async fn serve(&mut self, stream: &mut Stream) -> Result<std::convert::Infallible, End> {
        let mut alarm = pin!(sleep_until(self.last_heard));
        loop {
            alarm.as_mut().reset(self.wakes_at());
            self.wait(stream, &mut alarm).await?;
            self.sit()?;
            self.journal().await?;
            self.flush(stream).await?;
            if self.intake.n_guesses >= N_GUESSES {
                return Err(End::Refused(Refusal::RateLimited, "it sends wrong passwords"));
            }
            if self.intake.n_refused >= N_REFUSED && !self.intake.is_known() {
                return Err(End::Refused(
                    Refusal::RateLimited,
                    "it sends frames of no station",
                ));
            }
            // Nobody closes what is no connection: a sender without a station is forgotten when it was heard.
            if stream.is_datagram() && !self.intake.is_known() && self.marks.is_empty() {
                return Err(End::Gone);
            }
        }
    }

    /// A connection that has shown a station needs a seat among all, and no longer a chair among strangers.
    fn sit(&mut self) -> Result<(), End> {
        if self.chair.is_some() && self.intake.is_known() {
            self.chair = None;
            match self.shared.gate.sit(None) {
                Ok(seat) => self.seat = Some(seat),
                Err(_) => {
                    return Err(End::Refused(
                        Refusal::TooManyConnections,
                        "there are as many as may be",
                    ));
                }
            }
        }
        Ok(())
    }

    fn may_read(&mut self) -> bool {
        let rate = f64::from(self.shared.config.limits.frames_per_second);
        if rate > 0.0 {
            let now = Instant::now();
            let gained = now.duration_since(self.filled_at).as_secs_f64() * rate;
            self.left = (self.left + gained).min(burst(&self.shared));
            self.filled_at = now;
        }
        self.left >= 1.0 && self.n_unacked_bytes < self.shared.config.limits.unacked_bytes
    }

    /// When there is something to look at though nothing comes.
    fn wakes_at(&self) -> Instant {
        let config = &self.shared.config;
        if self.left < 1.0 {
            let rate = f64::from(config.limits.frames_per_second).max(1.0);
            return Instant::now() + Duration::from_secs_f64((1.0 - self.left) / rate);
        }
        let quiet = match self.dialect.n_waiting() {
            0 => config.idle_limit,
            _ => config.frame_timeout.min(config.idle_limit),
        };
        // While its socket is not read, a station cannot be heard.
        let since = match self.n_unacked_bytes < config.limits.unacked_bytes {
            true => self.last_heard,
            false => Instant::now(),
        };
        since + quiet
    }

    /// Waits until there is something to do, and does the part before the journal.
    async fn wait(
        &mut self,
        stream: &mut Stream,
        alarm: &mut std::pin::Pin<&mut tokio::time::Sleep>,
    ) -> Result<(), End> {
        let may_read = self.may_read();
        let may_ask = !D::ANSWERS_FIRST || (self.marks.is_empty() && !self.dialect.is_busy());
        // A read brings hardly more frames than may come.
        let most = (self.left * SHORT_FRAME).clamp(SHORT_FRAME, self.chunk as f64) as usize;
        tokio::select! {
            () = self.shared.stop.cancelled() => Err(End::Stopped),
            () = self.intake.end.cancelled() => Err(End::Cut),
            () = must_go(self.chair.as_ref()) => Err(End::MustGo),
            changed = self.durable.changed(), if !self.marks.is_empty() => match changed {
                Ok(()) => {
                    self.acknowledge();
                    Ok(())
                }
                Err(_) => Err(End::Journal(LogError::Closed)),
            },
            request = self.requests.next(), if may_ask => {
                self.out.extend_from_slice(&request);
                Ok(())
            }
            // An idle connection holds no buffer: there is one when there is something to read.
            ready = stream.readable(), if may_read => {
                let read = ready.and_then(|()| stream.try_read(&mut self.buffer, most));
                match read {
                    Ok(n) if n > 0 => {
                        self.take(n);
                        Ok(())
                    }
                    // An empty datagram says nothing.
                    Ok(_) if stream.is_datagram() => Ok(()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                    _ => {
                        self.dialect.give_up(&mut self.intake);
                        Err(End::Gone)
                    }
                }
            },
            () = alarm.as_mut() => {
                let now = Instant::now();
                if !may_read {
                    return Ok(());
                }
                if now >= self.last_heard + self.shared.config.idle_limit {
                    return Err(End::Silent);
                }
                if now >= self.last_heard + self.shared.config.frame_timeout {
                    self.intake.received_at = (self.shared.clock)();
                    self.dialect.give_up(&mut self.intake);
                }
                Ok(())
            }
        }
    }

    fn take(&mut self, n: usize) {
        self.shared.counters.read(n);
        self.last_heard = Instant::now();
        self.intake.received_at = (self.shared.clock)();
        self.dialect.push(&self.buffer, &mut self.intake);
        if self.intake.is_datagram {
            // Its frames are whole in it.
            self.dialect.give_up(&mut self.intake);
        }
        self.buffer.clear();
        // Busy stations get large reads, quiet ones small memory.
        if n >= self.chunk {
            self.chunk = (self.chunk * 4).min(CHUNK.1);
        } else if n < self.chunk / 16 {
            self.chunk = CHUNK.0;
        }
        if self.chunk == CHUNK.0 {
            self.buffer = Vec::new();
        }
        let n_pieces = std::mem::take(&mut self.intake.n_pieces);
        if self.shared.config.limits.frames_per_second > 0 {
            self.left -= n_pieces as f64;
        }
    }

    /// Appends what is staged and remembers what becomes due with it.
    async fn journal(&mut self) -> Result<(), End> {
        if self.intake.batch.is_empty() && self.intake.n_answers == 0 {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.intake.batch);
        let answers = std::mem::take(&mut self.intake.answers);
        let n_answers = std::mem::take(&mut self.intake.n_answers);
        let n_bytes = batch.bytes();
        let mut position = self.marks.back().map_or(0, |mark| mark.position);
        if !batch.is_empty() {
            let log = self.shared.log.clone();
            // A cancelled append leaves the batch unanswered: the station sends it again.
            position = tokio::select! {
                biased;
                appended = log.append(&batch) => appended.map_err(End::Journal)?,
                () = self.shared.stop.cancelled() => return Err(End::Stopped),
            };
        }
        if n_bytes > CHUNK.0 {
            self.intake.batch = batch;
            self.intake.batch.clear();
        }
        self.shared.counters.received(self.intake.take_n_frames());
        self.answers.extend_from_slice(&answers);
        self.n_unacked_bytes += n_bytes;
        self.marks.push_back(Mark {
            position,
            n_answers,
            answer_bytes: answers.len(),
            n_bytes,
        });
        self.acknowledge();
        Ok(())
    }

    /// Makes due whatever is durable by now.
    fn acknowledge(&mut self) {
        let durable = *self.durable.borrow_and_update();
        while let Some(mark) = self.marks.front()
            && mark.position <= durable
        {
            let Some(mark) = self.marks.pop_front() else { break };
            self.out
                .extend_from_slice(&self.answers.split_to(mark.answer_bytes));
            self.n_unacked_bytes -= mark.n_bytes;
            self.shared.counters.acknowledged(mark.n_answers);
        }
        if self.marks.is_empty() {
            self.marks = VecDeque::new();
            self.answers = BytesMut::new();
        }
    }

    async fn flush(&mut self, stream: &mut Stream) -> Result<(), End> {
        if self.out.is_empty() {
            return Ok(());
        }
        let write = stream.write(&mut self.out);
        match timeout(self.shared.config.write_timeout, write).await {
            Ok(Ok(())) => {
                self.out = BytesMut::new();
                Ok(())
            }
            Ok(Err(error)) => Err(End::Write(error)),
            Err(_) => Err(End::WriteTimeout),
        }
    }

    /// Says why it ends, waits for the last answers and closes.
    async fn finish(&mut self, end: &End, stream: &mut Stream) {
        self.report(end);
        let until = Instant::now() + self.shared.config.stop_timeout;
        // The station may be gone, and the journal may have failed: then the last bytes are lost unanswered.
        let _ = timeout_at(until, async {
            let _ = self.journal().await;
            while !self.marks.is_empty() && self.durable.changed().await.is_ok() {
                self.acknowledge();
            }
            let _ = self.flush(stream).await;
            let _ = stream.shutdown().await;
        })
        .await;
    }

    fn report(&self, end: &End) {
        let peer = self.peer;
        match end {
            End::Gone => debug!(%peer, "a station left"),
            End::Stopped => debug!(%peer, "a station is let go, the server stops"),
            End::Silent => info!(%peer, "a station was silent for too long"),
            End::MustGo => {
                let why = "it showed no station and others wait";
                turn_away(&self.shared, peer, Refusal::TooManyConnections, why);
                debug!(%peer, "connection closed, {why}");
            }
            End::Cut if self.intake.is_cut() => {
                info!(%peer, "a station is cut off: it may no longer be here");
            }
            End::Cut => info!(%peer, "a station's connection is given up: it does not answer"),
            End::Refused(refusal, why) => {
                match refusal {
                    Refusal::RateLimited | Refusal::TooManyConnections => {
                        turn_away(&self.shared, peer, *refusal, why);
                    }
                    refusal => self.shared.counters.refuse(*refusal),
                }
                warn!(%peer, reason = refusal.label(), "a connection is closed: {why}");
            }
            End::WriteTimeout => {
                self.shared.counters.slow_reader();
                warn!(%peer, "a station does not take its answers and is cut off");
            }
            End::Write(error) => debug!(%peer, "a station is gone: {error}"),
            End::Journal(error) => {
                warn!(%peer, "a station is cut off, the journal takes nothing: {error}");
            }
        }
    }
}

/// Frames that may come at once: those of one second.
fn burst(shared: &Shared) -> f64 {
    match shared.config.limits.frames_per_second {
        0 => f64::INFINITY,
        rate => f64::from(rate),
    }
}

/// For ever pending once a station is shown.
async fn must_go(chair: Option<&Chair>) {
    match chair {
        Some(chair) => chair.must_go.cancelled().await,
        None => std::future::pending().await,
    }
}
