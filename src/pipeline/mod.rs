//! One reading's way from the durable journal to history, alerts and screen.
//!
//! `decode → admit → locate → judge → {latest, history, ledger}`, in journal order, on one thread.
//! Its clock is the largest record time seen, never the system's, so the same journal always gives
//! the same judgements. Every projection has a cursor and skips what it has; so a stop at any point,
//! kill -9 included, changes nothing but the time of delivery.

mod again;
mod attributes;
mod audited;
mod children;
mod commands;
mod derived;
mod filling;
mod flow;
mod fold;
mod gateway;
mod imported;
mod known;
mod late;
#[cfg(test)]
mod law;
mod lifecycle;
mod lines;
mod moves;
mod open;
mod patience;
mod proposed;
mod pushed;
pub(crate) mod refused;
mod relayed;
mod reviewed;
mod room;
mod spooling;
mod stations;
mod warned;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use onemap_alerts::Board;
use onemap_dashboards::stand::{Question, Stand};
use onemap_dashboards::views::{Notice, Views};
use onemap_ingest::admit::{AgeLimits, Lane};
use onemap_ingest::fanout::Fanout;
use onemap_log::Reader;
use onemap_model::record;
use onemap_model::{AlertId, DeviceId, ProfileId, Record, Timestamp};
use onemap_rules::{Engine, RuleSet};
use onemap_store::ledger::{Ledger, LedgerBatch};
use onemap_store::register::Register as RegisterFile;
use onemap_store::remote::Spool;
use onemap_wire::native::Receipt;
use onemap_wire::profile::Profile;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

pub(crate) use children::{Adoptions, id_for, name_at_gateway};
pub(crate) use flow::Flows;
use fold::{Fold, Pending, Taken, Turn, fold, load_source};
pub(crate) use fold::{locate, parse_profile};
use known::KnownDevices;
pub(crate) use late::Late;
use lifecycle::Maintenances;
pub(crate) use moves::restore as restore_moving;
pub(crate) use open::Open;
use patience::patiently;
pub(crate) use proposed::{PROPOSALS, restore_proposals};
pub(crate) use room::Room;
pub(crate) use warned::{RECEIVED, WARNINGS, restore_warnings};

/// Name of what admission remembers in the checkpoint.
pub(crate) const WATCH: &str = "admission";
/// Name of the hours that are to be worked out, in the checkpoint.
pub(crate) const OPEN: &str = "open_hours";
/// Name of the stations whose flows are to be made again, in the checkpoint.
pub(crate) const FLOWS: &str = "flows_again";
/// Name of the times whose values came late and that are to be looked at, in the checkpoint.
pub(crate) const LATE: &str = "late";
/// Name of what is known of moving devices, in the checkpoint.
pub(crate) const MOVING: &str = "moving";
/// Records folded before the ledger is written and views are told.
const N_BATCH: usize = 4096;
/// Payload bytes of refused and judged frames that one batch holds.
const N_BATCH_BYTES: usize = 16 << 20;
/// A checkpoint is made after this many records even when its time has not come.
const N_CHECKPOINT: u64 = 500_000;
/// Frames fetched from the journal as evidence in one batch, beyond those of the batch itself.
const N_FETCHED_EVIDENCE: usize = 64;

/// A batch smaller than this is one of a trickle: the next one is left to gather for [`GATHER`]. The first
/// record after a rest is folded at once.
const N_TRICKLE: usize = 1024;
/// Costs nobody anything that can be seen, and saves a wake-up and a batch for every commit of the journal.
const GATHER: Duration = Duration::from_millis(3);
/// How long an idle pipeline waits before it looks for an order to stop.
const IDLE: Duration = Duration::from_millis(100);

const POISON: &str = "no holder of this lock panics";

/// The state that folds records.
pub(crate) struct Pipeline {
    views: Arc<Views>,
    reader: Reader,
    register: RegisterFile,
    ledger: Ledger,
    engine: Engine,
    profiles: HashMap<ProfileId, Profile>,
    known: KnownDevices,
    fanout: Option<Fanout>,
    /// Last position folded.
    position: u64,
    /// The pipeline's clock.
    now: Timestamp,
    checkpoint_at: u64,
    /// Beijing day on which the ledger last let old rows go.
    retained_on: i64,
    pending: Pending,
    questions: mpsc::Receiver<Question>,
    reread: Reread,
    ages: AgeLimits,
    adoptions: Adoptions,
    maintenances: Maintenances,
    open: Open,
    flows: Flows,
    late: Late,
    /// Devices of whose values a review or a correction says something.
    reviewed: HashSet<DeviceId>,
    room: Room,
    /// Where accepted readings go when history has an engine beside the embedded one.
    spool: Option<Arc<Spool>>,
    /// Last position given to the spool.
    spooled: u64,
    /// Records behind it are not folded.
    last: u64,
    /// Set while the pipeline runs: a write or a look-up that fails is tried again until this says stop.
    patience: Option<Arc<AtomicBool>>,
    /// Rules that are tried in place of those that were in force.
    trial: Option<Trial>,
}

/// Opens the journal that is being folded behind a position.
pub(crate) type Reread = Box<dyn Fn(u64) -> Result<Reader> + Send>;

/// Rules that are tried on what the journal holds.
pub(crate) struct Trial {
    from: Timestamp,
    /// By the names of their files; `None` once they are in force.
    files: Option<Vec<(String, RuleSet)>>,
}

impl Trial {
    fn new(from: Timestamp, files: Vec<(String, RuleSet)>) -> Self {
        Self {
            from,
            files: Some(files),
        }
    }
    pub(super) fn has_begun(&self) -> bool {
        self.files.is_none()
    }
    /// The files, once, when their time has come.
    pub(super) fn begin(&mut self, now: Timestamp) -> Option<Vec<(String, RuleSet)>> {
        if now < self.from {
            return None;
        }
        self.files.take()
    }
}

/// What a pipeline is built from; all at the position of the last checkpoint.
pub(crate) struct Parts {
    pub(crate) views: Arc<Views>,
    pub(crate) reader: Reader,
    pub(crate) register: RegisterFile,
    pub(crate) ledger: Ledger,
    pub(crate) engine: Engine,
    /// Hours whose index is to be worked out.
    pub(crate) open: Open,
    /// Stations whose flows are to be made again.
    pub(crate) flows: Flows,
    /// Times whose values came late and that are to be looked at.
    pub(crate) late: Late,
    /// Devices of whose values a review or a correction says something, maybe one behind the position.
    pub(crate) reviewed: HashSet<DeviceId>,
    pub(crate) fanout: Option<Fanout>,
    pub(crate) position: u64,
    pub(crate) now: Timestamp,
    /// How old readings may be when they arrive.
    pub(crate) ages: AgeLimits,
    /// Reads the journal again from a position, for the frames behind transitions.
    pub(crate) reread: Reread,
    /// The disk that checkpoints are written to.
    pub(crate) room: Room,
    /// Answered between two batches.
    pub(crate) questions: mpsc::Receiver<Question>,
    /// Where children go that gateways made known.
    pub(crate) adoptions: Adoptions,
}

impl Pipeline {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            views,
            reader,
            register,
            ledger,
            engine,
            open,
            flows,
            late,
            reviewed,
            fanout,
            position,
            now,
            questions,
            reread,
            ages,
            adoptions,
            room,
        } = parts;
        let maintenances = Maintenances::of(&views, now);
        let profiles = {
            let register = views.register.read().expect(POISON);
            register
                .view
                .profiles
                .iter()
                .filter_map(|(id, text)| parse_profile(id, text))
                .collect()
        };
        {
            let register = views.register.read().expect(POISON);
            for (id, text) in &register.view.sources {
                load_source(&views, id, text);
            }
        }
        let mut pipeline = Self {
            views,
            reader,
            register,
            ledger,
            engine,
            profiles,
            known: KnownDevices::default(),
            fanout,
            position,
            now,
            checkpoint_at: position,
            retained_on: 0,
            pending: Pending::default(),
            questions,
            reread,
            ages,
            adoptions,
            maintenances,
            open,
            flows,
            late,
            reviewed,
            room,
            spool: None,
            spooled: 0,
            last: u64::MAX,
            patience: None,
            trial: None,
        };
        pipeline.show_states();
        pipeline
    }

    /// From a time on other rules are in force than the journal says.
    pub(crate) fn try_rules(&mut self, from: Timestamp, files: Vec<(String, RuleSet)>) {
        self.trial = Some(Trial::new(from, files));
    }

    /// From now on ends at a record as if the journal did.
    pub(crate) fn fold_no_further_than(&mut self, last: u64) {
        self.last = last;
    }

    /// The journal's time: the largest that was folded.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Last position folded.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Folds records until `stop` says so and the journal's durable end is reached; then makes a
    /// checkpoint.
    pub(crate) fn run(&mut self, every: Duration, stop: Arc<AtomicBool>) -> Result<()> {
        self.patience = Some(stop.clone());
        let mut checkpoint = Instant::now();
        loop {
            let n = self.fold_batch()?;
            let due = checkpoint.elapsed() >= every || self.position - self.checkpoint_at >= N_CHECKPOINT;
            // A journal that found no room brings nothing, and what retention lets go waits for checkpoints.
            if due && (self.position > self.checkpoint_at || self.views.history.wants_checkpoint()) {
                self.checkpoint()?;
            }
            if due {
                checkpoint = Instant::now();
            }
            while let Ok(question) = self.questions.try_recv() {
                self.answer(question)?;
            }
            if n > 0 {
                if n < N_TRICKLE {
                    std::thread::sleep(GATHER);
                }
                continue;
            }
            if stop.load(Ordering::Acquire) {
                self.checkpoint()?;
                return Ok(());
            }
            // A log that has failed brings nothing more; what was durable is folded, and
            // /health/ready tells of the failure. Then only the order to stop is waited for.
            if self.views.log.wait_durable_for(self.position + 1, IDLE).is_err() {
                std::thread::sleep(IDLE);
            }
        }
    }

    /// Who asked may have gone away meanwhile.
    fn answer(&mut self, question: Question) -> Result<()> {
        match question {
            Question::Digests(answer) => match self.digest() {
                Ok(digest) => drop(answer.send(serde_json::to_value(&digest).context("digests are text")?)),
                // Who asks is told that there is none.
                Err(error) => error!("no digests can be made: {error:#}"),
            },
            Question::Stand { series, rule, answer } => {
                drop(answer.send(Stand::of(&self.engine, self.now, &series, rule.as_ref())))
            }
        }
        Ok(())
    }

    /// Folds everything there is (an offline journal or a start).
    pub(crate) fn run_to_end(&mut self) -> Result<u64> {
        let from = self.position;
        while self.fold_batch()? > 0 {
            if self.position - self.checkpoint_at >= N_CHECKPOINT {
                self.checkpoint()?;
            }
        }
        self.checkpoint()?;
        Ok(self.position - from)
    }

    /// Folds up to [`N_BATCH`] records, writes the ledger, tells the views. Returns how many.
    pub(crate) fn fold_batch(&mut self) -> Result<usize> {
        let mut n = 0;
        while n < N_BATCH && self.pending.bytes < N_BATCH_BYTES && !self.pending.ends {
            let Some(entry) = self.reader.next().context("the journal cannot be read")? else {
                break;
            };
            let position = entry.position;
            if position <= self.position {
                continue;
            }
            if position > self.last {
                break;
            }
            match Record::decode(entry.kind, entry.body) {
                // The entry borrows the reader; the fold needs the rest of self.
                Ok(record) => fold(
                    &mut Fold {
                        views: &self.views,
                        register: &mut self.register,
                        engine: &mut self.engine,
                        profiles: &mut self.profiles,
                        known: &mut self.known,
                        pending: &mut self.pending,
                        now: &mut self.now,
                        ages: self.ages,
                        lane: Lane::Live,
                        turn: Turn::First,
                        taken: Taken::default(),
                        maintenances: &mut self.maintenances,
                        open: &mut self.open,
                        flows: &mut self.flows,
                        late: &mut self.late,
                        reviewed: &mut self.reviewed,
                        spools: self.spool.is_some(),
                        patience: self.patience.as_deref(),
                        trial: self.trial.as_mut(),
                    },
                    position,
                    record,
                )
                .with_context(|| format!("record {position} cannot be folded"))?,
                Err(reason) => {
                    warn!(position, kind = entry.kind, %reason, "a journal record is not readable by this version; skipped");
                }
            }
            self.position = position;
            n += 1;
        }
        if n > 0 {
            self.finish_batch()?;
        }
        Ok(n)
    }

    /// A write that fails is done again until it is done; see [`patiently`].
    fn persist<T>(&mut self, what: &str, mut write: impl FnMut(&mut Self) -> Result<T>) -> Result<T> {
        let (views, stop) = (self.views.clone(), self.patience.clone());
        patiently(&views, stop.as_deref(), what, || write(self))
    }

    fn finish_batch(&mut self) -> Result<()> {
        self.show_states();
        let open = self.open.n_hours();
        self.views.open_hours.store(open, Ordering::Relaxed);
        let mut pending = std::mem::take(&mut self.pending);
        self.spool(std::mem::take(&mut pending.accepted))?;
        self.fetch_evidence(&mut pending);
        pending.ledger.cursor = self.position;
        let numbered = if is_empty(&pending.ledger) {
            Vec::new()
        } else {
            self.persist("the ledger is written", |own| {
                Ok(own.ledger.write(&pending.ledger)?)
            })?
            .transitions
        };
        let commands: std::collections::BTreeSet<u64> = pending
            .ledger
            .commands
            .iter()
            .map(|(command, _)| command.id)
            .collect();
        let alerts: Vec<AlertId> = pending.ledger.transitions.iter().map(|t| t.alert).collect();
        let views = &self.views;
        let (position, now) = (self.position, self.now);
        let ledger_cursor = self.ledger.cursor();
        views.progress.send_modify(|p| {
            p.applied = position;
            p.now = now;
            p.ledger = ledger_cursor;
        });
        if let Some(last) = numbered.last() {
            views.last_transition.send_replace(last.seq);
        }
        // Nobody listening is not an error.
        for alert in alerts {
            let _ = views.notices.send(Notice::Alert(alert));
        }
        if !commands.is_empty() {
            views.commands.changed.notify_one();
        }
        for command in commands {
            let _ = views.notices.send(Notice::Command(command));
        }
        for event in std::mem::take(&mut pending.ledger.fence_events) {
            let _ = views.notices.send(Notice::Fence(Arc::new(event)));
        }
        if pending.register_changed {
            let _ = views.notices.send(Notice::Register);
        }
        self.adoptions.push(std::mem::take(&mut pending.adopted));
        if let Some(fanout) = &self.fanout {
            for reply in pending.replies {
                fanout.publish(&reply.topic, reply.payload, reply.qos);
            }
            for ((device, epoch, is_cbor), seqs) in pending.receipts {
                let receipt = Receipt::of(epoch, &seqs);
                let receipt = if is_cbor {
                    receipt.encode_cbor()
                } else {
                    receipt.encode()
                };
                fanout.publish(&format!("onemap/v1/{device}/receipt"), receipt, 1);
            }
        }
        Ok(())
    }

    /// Raw frames behind transitions go to the ledger: those of this batch are at hand, older ones
    /// are read back from the journal.
    fn fetch_evidence(&mut self, pending: &mut Pending) {
        let mut wanted: Vec<u64> = pending
            .ledger
            .transitions
            .iter()
            .flat_map(|t| t.inputs.iter().map(|i| i.position).chain([t.position]))
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut fetched = 0;
        for position in wanted {
            if let Some(body) = pending.frames.remove(&position) {
                pending.ledger.evidence.push((position, body));
                continue;
            }
            if fetched == N_FETCHED_EVIDENCE || position == 0 {
                continue;
            }
            fetched += 1;
            let read = (self.reread)(position - 1).and_then(|mut reader| {
                let entry = reader
                    .next()?
                    .filter(|e| e.position == position && e.kind == record::KIND_FRAME);
                Ok(entry.map(|e| e.body.to_vec()))
            });
            match read {
                Ok(Some(body)) => pending.ledger.evidence.push((position, body)),
                Ok(None) => {}
                Err(reason) => warn!(position, %reason, "the frame behind a transition cannot be read back"),
            }
        }
    }

    /// Series whose judged state changed become visible.
    fn show_states(&mut self) {
        for (series, condition) in self.engine.drain_state_changes() {
            if let Some(id) = self.views.history.series_id(&series) {
                self.views.set_condition(id, condition);
            }
        }
    }

    /// Makes everything up to here durable: history with engine, board, latest and gap ledger in one
    /// batch; then the register's file, which may lag behind but never lead.
    pub(crate) fn checkpoint(&mut self) -> Result<()> {
        self.persist("a checkpoint is made", |own| {
            // One for the retention takes little, and gives room.
            match own.views.history.wants_checkpoint() {
                true => own.room.check_little(),
                false => own.room.check(),
            }
        })?;
        self.settle_spool()?;
        let engine = self.engine.snapshot();
        let board = self.views.board.read().expect(POISON).snapshot();
        let gaps = self.views.gaps.encode_changed();
        let commands = self.views.commands.work().book.unsaved();
        let now = self.now.ms().to_le_bytes();
        let watch = self.views.watch.read().expect(POISON).encode();
        let open = self.open.encode();
        let flows = self.flows.encode();
        let late = self.late.encode();
        let mut extras: Vec<(&str, &[u8])> = vec![
            ("engine", &engine),
            ("board", &board),
            ("now", &now),
            (WATCH, &watch),
            (OPEN, &open),
            (FLOWS, &flows),
            (LATE, &late),
        ];
        let moving = {
            let moving = self.views.moving.read().expect(POISON);
            moving.is_changed().then(|| moving.encode())
        };
        extras.extend(moving.iter().map(|bytes| (MOVING, bytes.as_slice())));
        let warnings = {
            let book = self.views.warnings.book.read().expect(POISON);
            book.is_changed().then(|| book.snapshot())
        };
        extras.extend(warnings.iter().map(|bytes| (WARNINGS, bytes.as_slice())));
        let proposals = {
            let book = self.views.proposals.book.read().expect(POISON);
            book.is_changed().then(|| book.snapshot())
        };
        extras.extend(proposals.iter().map(|bytes| (PROPOSALS, bytes.as_slice())));
        let received = {
            let book = self.views.warnings.received.read().expect(POISON);
            book.is_changed().then(|| book.snapshot())
        };
        extras.extend(received.iter().map(|bytes| (RECEIVED, bytes.as_slice())));
        extras.extend(commands.iter().map(|bytes| ("commands", bytes.as_slice())));
        extras.extend(gaps.iter().map(|(name, blob)| (name.as_str(), blob.as_slice())));
        let refused = refused::encode(&self.views.refused);
        extras.push((refused::NAME, &refused));
        // The ledger first: a ledger that stands before the history's checkpoint was lost or replaced,
        // and a start says so.
        let complete = LedgerBatch {
            cursor: self.position,
            ..LedgerBatch::default()
        };
        self.persist("the ledger is written", |own| Ok(own.ledger.write(&complete)?))?;
        self.persist("the history checkpoint is written", |own| {
            own.mend()?;
            Ok(own.views.history.checkpoint(own.position, &extras)?)
        })?;
        if moving.is_some() {
            self.views.moving.write().expect(POISON).note_kept();
        }
        if warnings.is_some() {
            self.views.warnings.book.write().expect(POISON).note_kept();
        }
        if proposals.is_some() {
            self.views.proposals.book.write().expect(POISON).note_kept();
        }
        if received.is_some() {
            self.views.warnings.received.write().expect(POISON).note_kept();
        }
        self.persist("register.gpkg is written", |own| {
            Ok(own.register.commit(own.position)?)
        })?;
        if self.retained_on != self.now.beijing_day() {
            self.retained_on = self.now.beijing_day();
            let gone = self.persist("the ledger lets old rows go", |own| {
                Ok(own.ledger.retain(own.now)?)
            })?;
            if gone != onemap_store::ledger::Retained::default() {
                info!(
                    evidence = gone.n_evidence,
                    quarantine = gone.n_quarantine,
                    fence_events = gone.n_fence_events,
                    forecasts = gone.n_forecasts,
                    "rows past their retention are gone"
                );
            }
        }
        self.checkpoint_at = self.position;
        let position = self.position;
        self.views.progress.send_modify(|p| {
            p.history = position;
            p.register = position;
            p.ledger = position;
        });
        Ok(())
    }

    /// Opens the history again after a write that failed, as soon as the disk takes writes.
    fn mend(&mut self) -> Result<()> {
        let history = &self.views.history;
        if !history.has_failed() {
            return Ok(());
        }
        self.room.check()?;
        if history.mend().context("the history cannot be opened again")? {
            info!("the history is open again after a write that failed");
        }
        Ok(())
    }

    /// Digests of what the journal has become, with its position.
    pub(crate) fn digest(&self) -> Result<Digest> {
        let hex = |bytes: [u8; 32]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        Ok(Digest {
            position: self.position,
            latest: hex(self.views.latest.digest(&self.views.history)),
            history: hex(self
                .views
                .history
                .digest()
                .context("the history cannot be read")?),
            values: hex(self
                .views
                .history
                .values_digest()
                .context("the history cannot be read")?),
            transitions: hex(self
                .views
                .ledger
                .transitions_digest()
                .context("the ledger cannot be read")?),
            fence_events: hex(self
                .views
                .ledger
                .fence_events_digest()
                .context("the ledger cannot be read")?),
        })
    }
}

/// One digest each of latest, history, the values in it and transitions.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Digest {
    /// Journal position they stand for.
    pub(crate) position: u64,
    pub(crate) latest: String,
    pub(crate) history: String,
    /// Of the history what was measured, however it came: equal after an export and its import.
    pub(crate) values: String,
    pub(crate) transitions: String,
    /// Of what moving devices did at fences.
    pub(crate) fence_events: String,
}

fn is_empty(batch: &LedgerBatch) -> bool {
    batch.transitions.is_empty()
        && batch.quarantine.is_empty()
        && batch.evidence.is_empty()
        && batch.acts.is_empty()
        && batch.audited.is_empty()
        && batch.commands.is_empty()
        && batch.register.is_empty()
        && batch.attributes.is_empty()
        && batch.settled.is_empty()
        && batch.fence_events.is_empty()
        && batch.forecasts.is_empty()
        && batch.warnings.is_empty()
        && batch.duty_log.is_empty()
}

/// The board of an empty journal.
pub(crate) fn restore_board(bytes: Option<Vec<u8>>) -> Result<Board> {
    match bytes {
        None => Ok(Board::new()),
        Some(bytes) => Board::restore(&bytes).context("the board's checkpoint cannot be read"),
    }
}
