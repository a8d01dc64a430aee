//! One thread gives the spool's points to the engine, in order, until it is told to stop.
//!
//! A body is acknowledged, waits for the margin, and is then released from the spool. When the connection was
//! lost and the engine may have been started anew, everything that is not released is sent again: engines
//! acknowledge before they have written. Faults of the engine are waited out with growing pauses; a body that it
//! refuses is halved until the line that is wrong stands alone, is kept beside the spool and counted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use onemap_log::Reader;
use onemap_model::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::RemoteConfig;
use super::line::{Encoder, Lines, Unsent};
use super::outlet::{Direct, Outlet, Run, SendError};
use super::refused::Refused;
use super::spool::{Spool, SpoolError, next};
use crate::engine::{Ack, Health};

/// First and longest pause after a fault.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// Longest pause that an engine may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
/// How often at most an engine that nothing is sent to is asked whether it is there.
const PROBE: Duration = Duration::from_secs(5);
/// How long the sender waits for points before it looks at its other work.
const LOOK: Duration = Duration::from_millis(100);
/// How often the spool's cursor moves.
const RELEASE: Duration = Duration::from_secs(1);

/// What the sender tells others.
#[derive(Debug, Default)]
pub struct SenderState {
    up: AtomicBool,
    sent: AtomicU64,
    resent: AtomicU64,
    bodies: AtomicU64,
    retries: AtomicU64,
    /// When what waits longest was spooled, ms since 1970; 0 when nothing waits.
    waiting_since: AtomicI64,
    unsent: Mutex<BTreeMap<Unsent, u64>>,
    fault: Mutex<Option<String>>,
    stop: AtomicBool,
    stopping: Notify,
}

/// How sending goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The engine answered when it was last asked.
    pub up: bool,
    /// Points acknowledged, those sent again included.
    pub sent: u64,
    /// Of these, how many were sent again.
    pub resent: u64,
    /// Bodies acknowledged.
    pub bodies: u64,
    /// Attempts that failed.
    pub retries: u64,
    /// Seconds that the oldest waiting point has been in the spool.
    pub lag_s: u64,
    /// Points that are not sent, by reason.
    pub unsent: BTreeMap<Unsent, u64>,
    /// Why the engine does not take anything.
    pub fault: Option<String>,
}

impl SenderState {
    /// How it goes now.
    pub fn progress(&self, now: Timestamp) -> Progress {
        let since = self.waiting_since.load(Ordering::Relaxed);
        let lag_ms = if since == 0 { 0 } else { (now.ms() - since).max(0) };
        Progress {
            up: self.up.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            resent: self.resent.load(Ordering::Relaxed),
            bodies: self.bodies.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            lag_s: lag_ms as u64 / 1000,
            unsent: self.unsent.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            fault: self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Whether the engine answered when it was last asked.
    pub fn health(&self) -> Health {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match (self.up.load(Ordering::Relaxed), fault) {
            (true, _) => Health::Up,
            (false, why) => Health::Down(why.unwrap_or_else(|| "it was not reached yet".to_owned())),
        }
    }

    fn note(&self, fault: Option<String>) {
        self.up.store(fault.is_none(), Ordering::Relaxed);
        let mut known = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*known, &fault) {
            (None, Some(why)) => warn!("the history's engine is away; points wait in the spool: {why}"),
            (Some(_), None) => info!("the history's engine is there again"),
            _ => {}
        }
        *known = fault;
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn count(&self, unsent: &BTreeMap<Unsent, u64>) {
        let mut all = self.unsent.lock().unwrap_or_else(PoisonError::into_inner);
        for (why, n) in unsent {
            *all.entry(*why).or_default() += n;
        }
    }
}

/// The thread.
pub(super) struct Sender {
    thread: Option<JoinHandle<()>>,
    state: Arc<SenderState>,
}

impl Sender {
    /// Starts sending.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn start(
        config: &RemoteConfig,
        spool: Arc<Spool>,
        state: Arc<SenderState>,
        handle: Handle,
    ) -> std::io::Result<Self> {
        #[cfg(feature = "influxdb2")]
        if config.by_crate {
            let outlet = super::by_crate::ByCrate::new(config);
            return Self::start_with(config, spool, state, handle, outlet);
        }
        Self::start_with(config, spool, state, handle, Direct::new(config))
    }

    pub(super) fn start_with(
        config: &RemoteConfig,
        spool: Arc<Spool>,
        state: Arc<SenderState>,
        handle: Handle,
        outlet: impl Outlet + 'static,
    ) -> std::io::Result<Self> {
        let mut work = Work {
            encoder: Encoder::new(&config.caps()),
            refused: Refused::new(config.spool_dir.join("refused.lp")),
            body_bytes: config.body_bytes,
            margin: config.release_after,
            may_lose: config.ack == Ack::Accepted,
            connected: false,
            acked: VecDeque::new(),
            spoke_at: None,
            released_at: Instant::now(),
            pause: PAUSES.0,
            spool,
            state: Arc::clone(&state),
            handle,
            outlet,
        };
        let thread = std::thread::Builder::new()
            .name("spool-sender".to_owned())
            .spawn(move || {
                let mut told = false;
                while let Err(error) = work.run() {
                    // Reading the spool failed: told once, tried again, since nothing may be skipped.
                    if !std::mem::replace(&mut told, true) {
                        error!("the history's engine gets nothing: {error}");
                    }
                    work.state.note(Some(error.to_string()));
                    if work.sleep(PAUSES.1) {
                        return;
                    }
                }
            })?;
        Ok(Self {
            thread: Some(thread),
            state,
        })
    }

    /// Stops after the request that is under way; what is not acknowledged stays in the spool.
    pub(super) fn stop(&mut self) {
        self.state.stop.store(true, Ordering::Release);
        self.state.stopping.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the sender of the history's engine panicked");
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the thread holds.
struct Work<O> {
    spool: Arc<Spool>,
    state: Arc<SenderState>,
    handle: Handle,
    outlet: O,
    encoder: Encoder,
    refused: Refused,
    body_bytes: usize,
    margin: Duration,
    /// The engine may lose what it acknowledged when it is killed.
    may_lose: bool,
    connected: bool,
    /// Acknowledged and not released: position, and when.
    acked: VecDeque<(u64, Instant)>,
    /// When the engine last answered on this connection.
    spoke_at: Option<Instant>,
    released_at: Instant,
    pause: Duration,
}

/// A body on its way.
struct Load {
    lines: Lines,
    /// Of these, how many were acknowledged before.
    n_again: u64,
    /// The last record in it.
    position: u64,
    n_points: u64,
    /// When its first record was spooled.
    since: i64,
}

/// How a load ended.
enum End {
    Sent,
    /// Everything that is not released is to be sent again.
    Again,
    Stopped,
}

impl<O: Outlet> Work<O> {
    /// Sends until it is to stop.
    fn run(&mut self) -> Result<(), SpoolError> {
        let mut reader = self.spool.reader(self.spool.released())?;
        let mut behind = self.spool.released();
        self.acked.clear();
        loop {
            if self.state.stops() {
                self.release(true)?;
                return Ok(());
            }
            self.release(false)?;
            let Some(load) = self.gather(&mut reader)? else {
                self.state.waiting_since.store(0, Ordering::Relaxed);
                if self.idle(behind)? {
                    (reader, behind) = self.back()?;
                }
                continue;
            };
            self.state.waiting_since.store(load.since, Ordering::Relaxed);
            match self.deliver(&load) {
                End::Sent => {
                    let n = load.lines.len() as u64;
                    self.state.resent.fetch_add(load.n_again, Ordering::Relaxed);
                    self.state.count(&load.lines.unsent);
                    self.state.sent.fetch_add(n, Ordering::Relaxed);
                    self.spool.note_acked(load.position, load.n_points);
                    self.acked.push_back((load.position, Instant::now()));
                    behind = load.position;
                }
                End::Again => (reader, behind) = self.back()?,
                End::Stopped => {}
            }
        }
    }

    /// Begins again behind what is released.
    fn back(&mut self) -> Result<(Reader, u64), SpoolError> {
        self.acked.clear();
        let released = self.spool.released();
        Ok((self.spool.reader(released)?, released))
    }

    /// As many records as make a body; none when there are none now.
    fn gather(&mut self, reader: &mut Reader) -> Result<Option<Load>, SpoolError> {
        let mut load: Option<Load> = None;
        let now = Timestamp::from_system(SystemTime::now()).ms();
        let acked = self.spool.acked();
        while load
            .as_ref()
            .is_none_or(|load| load.lines.n_bytes() < self.body_bytes)
        {
            let Some(record) = next(reader)? else { break };
            let load = load.get_or_insert_with(|| Load {
                lines: Lines::default(),
                n_again: 0,
                position: 0,
                n_points: 0,
                since: record.at,
            });
            (load.position, load.n_points) = (record.position, record.n_points);
            let counted = load.lines.unsent.clone();
            let n_before = load.lines.len();
            for row in record.batch.rows() {
                load.lines.push(&self.encoder, &row, now);
            }
            if record.batch.n_unknown() > 0 {
                *load.lines.unsent.entry(Unsent::UnknownSeries).or_default() += record.batch.n_unknown();
            }
            if record.position <= acked {
                load.n_again += (load.lines.len() - n_before) as u64;
                // Counted when it was sent first.
                load.lines.unsent = counted;
            }
        }
        Ok(load)
    }

    /// Waits for records; true when the engine may have lost what it had.
    fn idle(&mut self, behind: u64) -> Result<bool, SpoolError> {
        let until = Instant::now() + (self.margin / 3).clamp(LOOK, PROBE);
        while Instant::now() < until {
            if self.state.stops() || self.spool.wait(behind, LOOK)? {
                return Ok(false);
            }
            if !self.connected {
                break;
            }
            let broken = self.outlet.broken();
            let is_broken = self.handle.block_on(async {
                tokio::select! {
                    biased;
                    () = broken => true,
                    () = std::future::ready(()) => false,
                }
            });
            if is_broken {
                self.lost();
            }
            self.release(false)?;
        }
        if !self.connected {
            return Ok(self.connect() == Some(Run::Other));
        }
        match self.handle.block_on(self.outlet.probe()) {
            Ok(()) => self.heard(),
            Err(SendError::Away(why)) => {
                self.lost();
                self.state.note(Some(why));
            }
            Err(other) => self.state.note(Some(words(&other))),
        }
        Ok(false)
    }

    /// Connects once; `None` when it did not come up, after a pause.
    fn connect(&mut self) -> Option<Run> {
        match self.handle.block_on(self.outlet.connect()) {
            Ok(run) => {
                self.connected = true;
                self.heard();
                let lost = self.may_lose && run == Run::Other && self.spool.released() < self.spool.acked();
                if lost {
                    info!(
                        "a new connection to the history's engine: what it acknowledged within the last {} s is sent again",
                        self.margin.as_secs()
                    );
                }
                Some(if lost { Run::Other } else { Run::Same })
            }
            Err(error) => {
                self.state.retries.fetch_add(1, Ordering::Relaxed);
                self.fault(error);
                None
            }
        }
    }

    /// Brings a load to the engine, however long it takes.
    fn deliver(&mut self, load: &Load) -> End {
        let mut parts = vec![load.lines.clone()];
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            loop {
                if self.state.stops() {
                    return End::Stopped;
                }
                if !self.connected {
                    match self.connect() {
                        None => continue,
                        Some(Run::Other) => return End::Again,
                        Some(Run::Same) => {}
                    }
                }
                match self.handle.block_on(self.outlet.send(part.body())) {
                    Ok(()) => {
                        self.state.bodies.fetch_add(1, Ordering::Relaxed);
                        self.pause = PAUSES.0;
                        self.heard();
                        break;
                    }
                    Err(SendError::Refused(why)) if part.len() == 1 => {
                        self.refuse(&part, &why);
                        break;
                    }
                    Err(SendError::TooLarge) if part.len() == 1 => {
                        self.refuse(&part, "the line alone is too large");
                        break;
                    }
                    Err(SendError::Refused(_) | SendError::TooLarge) => {
                        let (first, second) = part.halves();
                        parts.push(second);
                        parts.push(first);
                        break;
                    }
                    Err(error) => {
                        self.state.retries.fetch_add(1, Ordering::Relaxed);
                        if matches!(error, SendError::Away(_)) {
                            self.lost();
                        }
                        self.fault(error);
                    }
                }
            }
        }
        End::Sent
    }

    fn heard(&mut self) {
        self.spoke_at = Some(Instant::now());
        self.state.note(None);
    }

    fn lost(&mut self) {
        self.connected = false;
        self.spoke_at = None;
    }

    fn refuse(&self, part: &Lines, why: &str) {
        self.state.count(&BTreeMap::from([(Unsent::Engine, 1)]));
        warn!(
            "the history's engine refuses a line, which is kept in spool/refused.lp: {why}: {}",
            part.text().trim_end()
        );
        if let Err(error) = self.refused.keep(why, part.text()) {
            warn!(%error, "refused.lp cannot be written");
        }
    }

    /// Notes a fault and waits.
    fn fault(&mut self, error: SendError) {
        self.state.note(Some(words(&error)));
        let asked = match error {
            SendError::Busy { retry_after, .. } => retry_after,
            _ => None,
        };
        let pause = match asked {
            Some(asked) => asked.min(MAX_RETRY_AFTER),
            None => jittered(self.pause),
        };
        self.pause = (self.pause * 2).min(PAUSES.1);
        self.sleep(pause);
    }

    /// Sleeps; true when it is to stop.
    fn sleep(&self, pause: Duration) -> bool {
        let stopping = self.state.stopping.notified();
        if self.state.stops() {
            return true;
        }
        // Out of time is what is waited for.
        let _ = self
            .handle
            .block_on(async { tokio::time::timeout(pause, stopping).await });
        self.state.stops()
    }

    /// Releases what the engine acknowledged and outlived by the margin: it answered later than that on the same
    /// connection, or on one to the same run.
    fn release(&mut self, now: bool) -> Result<(), SpoolError> {
        if !now && self.released_at.elapsed() < RELEASE.min(self.margin / 4 + LOOK) {
            return Ok(());
        }
        self.released_at = Instant::now();
        let Some(spoke_at) = self.spoke_at else {
            return Ok(());
        };
        let mut last = None;
        while let Some((position, at)) = self.acked.front() {
            if spoke_at.saturating_duration_since(*at) < self.margin {
                break;
            }
            last = Some(*position);
            self.acked.pop_front();
        }
        match last {
            Some(position) => self.spool.release(position),
            None => Ok(()),
        }
    }
}

fn words(error: &SendError) -> String {
    match error {
        SendError::Refused(why) | SendError::Away(why) | SendError::Busy { why, .. } => why.clone(),
        SendError::TooLarge => "it takes no body of this size".to_owned(),
    }
}

/// Between a half and the whole of a pause, so that several senders do not come at the same time.
fn jittered(pause: Duration) -> Duration {
    let mut bytes = [0u8; 2];
    // Without randomness the pause is whole.
    let share = match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u16::from_le_bytes(bytes)) / f64::from(u16::MAX),
        Err(_) => 1.0,
    };
    pause.mul_f64(0.5 + share / 2.0)
}
