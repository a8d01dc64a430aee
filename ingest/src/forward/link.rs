//! The connection to a superior platform.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use onemap_log::{Log, LogError, Reader};
use onemap_model::Timestamp;
use onemap_wire::hj212::{
    Answered, Framer, MAX_SEGMENT, Piece, QnRtn, Segment, encode, notice_answer, request_answer,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::buffer::{Receipts, next};
use super::frame::{Outgoing, outgoing};
use super::lanes::Lanes;
use super::{ForwardConfig, ForwardError, ForwardState};

/// Between attempts to connect, first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const WRITE_WITHIN: Duration = Duration::from_secs(30);
/// Frames in memory.
const MOST_FRAMES: usize = 8192;
/// Frames read at once, and read again for a station.
const READ: usize = 512;
/// Bytes written before answers are looked at again.
const WRITE_BYTES: usize = 64 << 10;
/// How often receipts are noted down.
const NOTE_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Link {
    config: ForwardConfig,
    log: Log,
    lanes: Lanes,
    /// Position up to which the buffer was read.
    read: u64,
    reader: Option<Reader>,
    receipts: Option<Receipts>,
    /// Frames that were refused for good and are to be kept.
    refused: Vec<Vec<u8>>,
    state: Arc<ForwardState>,
    clock: fn() -> Timestamp,
    noted: Instant,
}

/// Why a connection ends.
enum End {
    Stop,
    Gone(io::Error),
    /// It answers nothing.
    Deaf,
    Buffer(LogError),
}

impl From<LogError> for End {
    fn from(error: LogError) -> Self {
        Self::Buffer(error)
    }
}

impl Link {
    pub(super) fn new(
        config: ForwardConfig,
        log: Log,
        answered: u64,
        done: BTreeMap<Box<str>, u64>,
        receipts: Receipts,
        state: Arc<ForwardState>,
        clock: fn() -> Timestamp,
    ) -> Self {
        Self {
            lanes: Lanes::new(config.patience, done),
            config,
            log,
            read: answered,
            reader: None,
            receipts: Some(receipts),
            refused: Vec::new(),
            state,
            clock,
            noted: Instant::now(),
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), ForwardError> {
        let mut pause = PAUSE.0;
        let mut was_said = false;
        loop {
            let connecting = timeout(CONNECT_WITHIN, TcpStream::connect(self.config.to.as_str()));
            let connected = tokio::select! {
                () = stop.cancelled() => break,
                connected = connecting => connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
            };
            let (name, to) = (self.config.name.clone(), self.config.to.clone());
            let end = match connected {
                Ok(stream) => {
                    info!(superior = name, "connected to `{name}` ({to})");
                    let n_before = self.state.n_answered.load(Ordering::Relaxed);
                    self.state.is_connected.store(true, Ordering::Relaxed);
                    let Err(end) = self.serve(stream, &stop).await;
                    self.state.is_connected.store(false, Ordering::Relaxed);
                    self.lanes.broken();
                    if self.state.n_answered.load(Ordering::Relaxed) > n_before {
                        (pause, was_said) = (PAUSE.0, false);
                    }
                    end
                }
                Err(error) => End::Gone(error),
            };
            let why = match end {
                End::Stop => break,
                End::Gone(error) => error.to_string(),
                End::Deaf => "it answers nothing".to_owned(),
                End::Buffer(source) => {
                    self.note(true).await;
                    return Err(ForwardError::Log { name, source });
                }
            };
            if !std::mem::replace(&mut was_said, true) {
                warn!(
                    superior = name,
                    "`{name}` ({to}) is away, frames for it wait: {why}"
                );
            }
            self.note(true).await;
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(pause) => {}
            }
            pause = (pause * 2).min(PAUSE.1);
        }
        self.note(true).await;
        Ok(())
    }

    async fn serve(
        &mut self,
        mut stream: TcpStream,
        stop: &CancellationToken,
    ) -> Result<std::convert::Infallible, End> {
        let _ = stream.set_nodelay(true);
        let mut durable = self.log.durable();
        let mut framer = Framer::new(MAX_SEGMENT);
        let mut buffer = Vec::with_capacity(4096);
        loop {
            durable.borrow_and_update();
            let has_more = self.fill()?;
            let due = self.lanes.due(Instant::now(), WRITE_BYTES);
            if due.hang_up {
                return Err(End::Deaf);
            }
            if !due.bytes.is_empty() {
                write(&mut stream, &due.bytes).await?;
                self.state.n_again.fetch_add(due.n_again, Ordering::Relaxed);
                self.state
                    .n_unanswered
                    .fetch_add(due.n_unanswered, Ordering::Relaxed);
            }
            self.note(false).await;
            if has_more && self.lanes.n_frames() == 0 {
                continue; // nothing of what was read is to be sent
            }
            let wake = self.lanes.next().unwrap_or_else(|| Instant::now() + NOTE_EVERY);
            let wake = wake.min(Instant::now() + NOTE_EVERY);
            buffer.clear();
            tokio::select! {
                () = stop.cancelled() => return Err(End::Stop),
                n = stream.read_buf(&mut buffer) => match n {
                    Ok(0) => return Err(End::Gone(io::ErrorKind::ConnectionReset.into())),
                    Ok(_) => {
                        let answers = self.take(framer.push(&buffer));
                        if !answers.is_empty() {
                            write(&mut stream, &answers).await?;
                        }
                    }
                    Err(error) => return Err(End::Gone(error)),
                },
                changed = durable.changed(), if self.lanes.n_frames() < MOST_FRAMES => {
                    if changed.is_err() {
                        return Err(End::Buffer(LogError::Closed));
                    }
                }
                () = sleep_until(wake.into()) => {}
            }
        }
    }

    /// Reads what there is room for; whether there is more.
    fn fill(&mut self) -> Result<bool, LogError> {
        if let Some((mn, from)) = self.lanes.lacking() {
            self.read_again(&mn, from)?;
        }
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.log.reader(self.read)?,
        };
        let mut n_read = 0;
        while n_read < READ && self.lanes.n_frames() < MOST_FRAMES {
            let Some((position, bytes)) = next(&mut reader)? else {
                break;
            };
            n_read += 1;
            self.read = position;
            if let Some(frame) = bytes.and_then(|bytes| outgoing(position, &bytes)) {
                self.lanes.take(frame);
            }
        }
        self.reader = Some(reader);
        Ok(n_read == READ)
    }

    /// Frames of a station that were left out while it was parked.
    fn read_again(&mut self, mn: &str, from: u64) -> Result<(), LogError> {
        let mut reader = self.log.reader(from - 1)?;
        let mut frames: Vec<Outgoing> = Vec::new();
        let mut more = None;
        while let Some((position, bytes)) = next(&mut reader)?.filter(|(position, _)| *position <= self.read)
        {
            let Some(frame) = bytes.and_then(|bytes| outgoing(position, &bytes)) else {
                continue;
            };
            if &*frame.mn == mn {
                if frames.len() == READ {
                    more = Some(position);
                    break;
                }
                frames.push(frame);
            }
        }
        self.lanes.refill(mn, frames, more);
        Ok(())
    }

    /// What the superior says; gives what is answered to it.
    fn take(&mut self, pieces: Vec<Piece>) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in pieces {
            let Piece::Frame { frame, .. } = piece else {
                continue;
            };
            let Ok(segment) = Segment::parse(&frame.segment) else {
                continue;
            };
            match Answered::of(&segment) {
                Some((qn, Answered::Data | Answered::Notice)) => {
                    if self.lanes.answered(Instant::now(), segment.mn(), qn) {
                        self.state.n_answered.fetch_add(1, Ordering::Relaxed);
                        self.state
                            .answered_at
                            .store((self.clock)().ms(), Ordering::Relaxed);
                    }
                }
                Some((qn, Answered::Request(code) | Answered::Refused(code)))
                    if code != Some(QnRtn::Accepted) =>
                {
                    self.refused(&segment, qn);
                }
                Some(_) => self.lanes.hear(Instant::now()),
                None => {
                    self.state.n_refused.fetch_add(1, Ordering::Relaxed);
                    let answer = match segment.cn() {
                        "2012" | "2022" => notice_answer(&segment, segment.pw()),
                        _ => request_answer(&segment, segment.pw(), QnRtn::Refused),
                    };
                    out.extend(encode(&answer).unwrap_or_default());
                }
            }
        }
        out
    }

    /// A frame was refused. One that was refused each time it was sent is given up: its station goes on with the next.
    fn refused(&mut self, answer: &Segment, qn: &str) {
        let Some(frame) = self.lanes.refused(Instant::now(), answer.mn(), qn) else {
            return;
        };
        let code = answer.cp_value("QnRtn").unwrap_or_default();
        let shown = |text: &str| -> String { text.chars().take(64).flat_map(char::escape_debug).collect() };
        let (name, mn, qn, code) = (&self.config.name, shown(&frame.mn), shown(qn), shown(code));
        warn!(
            superior = name,
            "`{name}` refuses the frame {qn} of `{mn}` (QnRtn={code}); it is kept in `refused` and not sent again"
        );
        self.state.n_refused_frames.fetch_add(1, Ordering::Relaxed);
        self.refused.push(frame.bytes);
    }

    /// Notes down what is answered, now or when it is time.
    async fn note(&mut self, now: bool) {
        let answered = self.lanes.cursor(self.read);
        self.state.answered_to.store(answered, Ordering::Release);
        self.state.read.store(self.read, Ordering::Release);
        let n_open = self.lanes.n_open() as u64;
        self.state.n_open.store(n_open, Ordering::Release);
        self.state
            .n_parked
            .store(self.lanes.n_parked() as u64, Ordering::Relaxed);
        if !now && self.noted.elapsed() < NOTE_EVERY {
            return;
        }
        self.noted = Instant::now();
        let Some(mut receipts) = self.receipts.take() else {
            return;
        };
        let done = self.lanes.done_beyond(answered);
        let refused = std::mem::take(&mut self.refused);
        let noted = tokio::task::spawn_blocking(move || {
            let noted = receipts.note(answered, done, &refused);
            (receipts, noted)
        });
        if let Ok((receipts, noted)) = noted.await {
            if let Err(error) = noted {
                warn!(superior = self.config.name, %error, "answered frames cannot be let go");
            }
            self.receipts = Some(receipts);
        }
    }
}

async fn write(stream: &mut TcpStream, bytes: &[u8]) -> Result<(), End> {
    match timeout(WRITE_WITHIN, stream.write_all(bytes)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(End::Gone(error)),
        Err(_) => Err(End::Gone(io::ErrorKind::TimedOut.into())),
    }
}
