//! HJ 212 frames to superior platforms (the province's): each station's in order, every frame at least once.
//!
//! A superior has a buffer on disk of its own (`buffer`) and one connection. Of each station one frame is under way
//! and goes again until its 9014 comes (`lanes`); a superior that is away, slow or killed costs disk and nothing
//! else. What a superior asks of a station is refused (QnRtn 2): commands are given here.

mod buffer;
mod frame;
mod lanes;
mod link;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use onemap_log::Log;
use onemap_model::Timestamp;
use tokio_util::sync::CancellationToken;

use buffer::{Buffer, Receipts};

pub use buffer::ForwardError;
pub use lanes::Patience;

/// One superior platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardConfig {
    /// Its name here.
    pub name: String,
    /// Where it listens, host:port.
    pub to: String,
    /// Stations whose frames it gets: numbers, or their beginnings with a `*`. Empty: all.
    pub stations: Vec<String>,
    /// How answers are waited for.
    pub patience: Patience,
    /// The folder of its buffer.
    pub dir: PathBuf,
    /// Most bytes of it.
    pub max_bytes: u64,
}

impl ForwardConfig {
    fn wants(&self, mn: &str) -> bool {
        self.stations.is_empty()
            || self
                .stations
                .iter()
                .any(|station| match station.strip_suffix('*') {
                    Some(start) => mn.starts_with(start),
                    None => mn == station,
                })
    }
}

/// How forwarding to a superior stands.
#[derive(Debug, Default)]
pub struct ForwardState {
    /// Journal position up to which its frames are in the buffer: the journal is kept behind it.
    pub copied: AtomicU64,
    /// Position of the buffer's last record, and up to which everything is answered.
    pub last: AtomicU64,
    /// See `last`.
    pub answered_to: AtomicU64,
    /// Position up to which the buffer was read.
    pub read: AtomicU64,
    /// Frames that were read and are not answered.
    pub n_open: AtomicU64,
    /// Frames that the superior refused each time, and that are given up.
    pub n_refused_frames: AtomicU64,
    /// Bytes of the buffer on disk.
    pub bytes: AtomicU64,
    /// The connection stands.
    pub is_connected: AtomicBool,
    /// Frames that were answered.
    pub n_answered: AtomicU64,
    /// Frames sent again for want of an answer.
    pub n_again: AtomicU64,
    /// Frames sent that the superior is not asked to answer: encrypted ones without bit A.
    pub n_unanswered: AtomicU64,
    /// Records that went unsent because the buffer was full.
    pub n_lost: AtomicU64,
    /// Requests of the superior that were refused.
    pub n_refused: AtomicU64,
    /// Stations whose frames it does not answer.
    pub n_parked: AtomicU64,
    /// When it answered last, ms since 1970; 0 for never.
    pub answered_at: AtomicI64,
}

impl ForwardState {
    /// Frames that wait; of the buffer's records that were not read yet all count.
    pub fn n_waiting(&self) -> u64 {
        let last = self.last.load(Ordering::Acquire);
        let n_unread = last.saturating_sub(self.read.load(Ordering::Acquire));
        n_unread + self.n_open.load(Ordering::Acquire)
    }
}

/// Forwarding to one superior, ready to run.
#[derive(Debug)]
pub struct Forward {
    config: ForwardConfig,
    buffer: Buffer,
    answered: u64,
    state: Arc<ForwardState>,
}

impl Forward {
    /// Opens its buffer. Blocks.
    ///
    /// # Errors
    /// When the buffer cannot be opened.
    pub fn open(config: ForwardConfig, journal: &Log) -> Result<Self, ForwardError> {
        let (buffer, answered) = Buffer::open(&config.dir, &config.name, config.max_bytes, journal)?;
        let state = Arc::new(ForwardState::default());
        state.copied.store(buffer.copied(), Ordering::Release);
        state.last.store(buffer.log.status().durable, Ordering::Release);
        state.answered_to.store(answered, Ordering::Release);
        state.read.store(answered, Ordering::Release);
        state.bytes.store(buffer.log.status().bytes, Ordering::Relaxed);
        Ok(Self {
            config,
            buffer,
            answered,
            state,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// How it stands, from now on.
    pub fn state(&self) -> Arc<ForwardState> {
        Arc::clone(&self.state)
    }

    /// Copies and sends until the stop.
    ///
    /// # Errors
    /// When buffer or journal fail.
    pub async fn run(
        self,
        journal: Log,
        clock: fn() -> Timestamp,
        stop: CancellationToken,
    ) -> Result<(), ForwardError> {
        let Self {
            config,
            mut buffer,
            answered,
            state,
        } = self;
        let log = buffer.log.clone();
        let receipts = Receipts::of(&buffer, answered);
        let done = std::mem::take(&mut buffer.done);
        let ending = Arc::new(AtomicBool::new(false));
        let (of_copy, its_state, its_config) = (Arc::clone(&ending), Arc::clone(&state), config.clone());
        let copying = tokio::task::spawn_blocking(move || {
            buffer.copy(&journal, &|mn| its_config.wants(mn), &its_state, &of_copy)
        });
        let link = link::Link::new(config, log, answered, done, receipts, state, clock);
        let stopping = stop.child_token();
        let mut linking = tokio::spawn(link.run(stopping.clone()));
        let copied = tokio::select! {
            () = stop.cancelled() => {
                ending.store(true, Ordering::Relaxed);
                None
            }
            copied = copying => {
                stopping.cancel();
                Some(copied)
            }
            linked = &mut linking => {
                ending.store(true, Ordering::Relaxed);
                return flat(linked);
            }
        };
        flat(linking.await)?;
        match copied {
            Some(copied) => flat(copied),
            None => Ok(()),
        }
    }
}

/// A panic goes on to whoever runs it all; a task that was cancelled ends with the runtime.
fn flat(ended: Result<Result<(), ForwardError>, tokio::task::JoinError>) -> Result<(), ForwardError> {
    match ended.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(ended) => ended,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_cancelled)) => Ok(()),
    }
}
