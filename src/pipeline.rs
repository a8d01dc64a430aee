//! One reading's way from the durable journal to history, alerts and screen.
//!
//! `decode → admit → locate → judge → {latest, history, ledger}`, in journal order, on one thread.
//! Its clock is the largest record time seen, never the system's, so the same journal always gives
//! the same judgements. Every projection has a cursor and skips what it has; so a stop at any point,
//! kill -9 included, changes nothing but the time of delivery.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use onemap_alerts::Board;
use onemap_dashboards::views::{LoadedRules, Notice, Seen, Views};
use onemap_ingest::admit::admit;
use onemap_ingest::fanout::Fanout;
use onemap_log::Reader;
use onemap_model::record::{self, Register, Stamped};
use onemap_model::{
    AlertId, Device, DeviceId, DivisionCode, EntityKind, Frame, Observation, ProfileId, Reading, Record,
    Refusal, Timestamp, Transition,
};
use onemap_rules::{Engine, RuleSet};
use onemap_store::history::Kind;
use onemap_store::ledger::{Ledger, LedgerBatch, QuarantineEntry};
use onemap_store::register::{Register as RegisterFile, RegisterError};
use onemap_wire::message::Refused;
use onemap_wire::native::Receipt;
use onemap_wire::profile::Profile;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

/// Records folded before the ledger is written and views are told.
const N_BATCH: usize = 4096;
/// Payload bytes of refused and judged frames that one batch holds.
const N_BATCH_BYTES: usize = 16 << 20;
/// Faults that one quarantine entry spells out.
const N_DETAILS: usize = 8;
/// How long a write that found no room waits before it is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// A checkpoint is made after this many records even when its time has not come.
const N_CHECKPOINT: u64 = 500_000;
/// Frames fetched from the journal as evidence in one batch, beyond those of the batch itself.
const N_FETCHED_EVIDENCE: usize = 64;

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
    fanout: Option<Fanout>,
    /// Last position folded.
    position: u64,
    /// The pipeline's clock.
    now: Timestamp,
    checkpoint_at: u64,
    /// Beijing day on which the ledger last let old rows go.
    retained_on: i64,
    pending: Pending,
    questions: mpsc::Receiver<oneshot::Sender<serde_json::Value>>,
    reread: Reread,
    /// Set while the pipeline runs: a write that fails is tried again until this says stop.
    patience: Option<Arc<AtomicBool>>,
}

/// Opens the journal that is being folded behind a position.
pub(crate) type Reread = Box<dyn Fn(u64) -> Result<Reader> + Send>;

/// What one batch of records leaves to be written.
#[derive(Default)]
struct Pending {
    ledger: LedgerBatch,
    receipts: HashMap<(DeviceId, u64), Vec<u64>>,
    frames: HashMap<u64, Vec<u8>>,
    register_changed: bool,
    /// Payload bytes held for quarantine and evidence.
    bytes: usize,
}

/// What a pipeline is built from; all at the position of the last checkpoint.
pub(crate) struct Parts {
    pub(crate) views: Arc<Views>,
    pub(crate) reader: Reader,
    pub(crate) register: RegisterFile,
    pub(crate) ledger: Ledger,
    pub(crate) engine: Engine,
    pub(crate) fanout: Option<Fanout>,
    pub(crate) position: u64,
    pub(crate) now: Timestamp,
    /// Reads the journal again from a position, for the frames behind transitions.
    pub(crate) reread: Reread,
    /// Requests for digests, answered between two batches.
    pub(crate) questions: mpsc::Receiver<oneshot::Sender<serde_json::Value>>,
}

impl Pipeline {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            views,
            reader,
            register,
            ledger,
            engine,
            fanout,
            position,
            now,
            questions,
            reread,
        } = parts;
        let profiles = {
            let register = views.register.read().expect(POISON);
            register
                .view
                .profiles
                .iter()
                .filter_map(|(id, text)| parse_profile(id, text))
                .collect()
        };
        let mut pipeline = Self {
            views,
            reader,
            register,
            ledger,
            engine,
            profiles,
            fanout,
            position,
            now,
            checkpoint_at: position,
            retained_on: 0,
            pending: Pending::default(),
            questions,
            reread,
            patience: None,
        };
        pipeline.show_states();
        pipeline
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
            if due && self.position > self.checkpoint_at {
                self.checkpoint()?;
            }
            if due {
                checkpoint = Instant::now();
            }
            while let Ok(answer) = self.questions.try_recv() {
                let digest = self.digest()?;
                // The asker may have gone away meanwhile.
                let _ = answer.send(serde_json::to_value(&digest).context("digests are text")?);
            }
            if n > 0 {
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
        while n < N_BATCH && self.pending.bytes < N_BATCH_BYTES {
            let Some(entry) = self.reader.next().context("the journal cannot be read")? else {
                break;
            };
            let position = entry.position;
            if position <= self.position {
                continue;
            }
            match Record::decode(entry.kind, entry.body) {
                // The entry borrows the reader; the fold needs the rest of self.
                Ok(record) => fold(
                    &mut Fold {
                        views: &self.views,
                        register: &mut self.register,
                        engine: &mut self.engine,
                        profiles: &mut self.profiles,
                        pending: &mut self.pending,
                        now: &mut self.now,
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

    /// Does a write again and again while it fails (no room on the disk, a file locked by a backup):
    /// nothing further is folded meanwhile, so memory stays bounded, and `/health/ready` says why. A
    /// fold that nobody waits for (a replay, a digest) gives the error at once.
    fn persist<T>(&mut self, what: &str, mut write: impl FnMut(&mut Self) -> Result<T>) -> Result<T> {
        let mut failed = false;
        loop {
            let error = match write(self) {
                Ok(written) => {
                    if failed {
                        info!("{what} goes on");
                        *self.views.fault.write().expect(POISON) = None;
                    }
                    return Ok(written);
                }
                Err(error) => error.context(what.to_owned()),
            };
            match &self.patience {
                Some(stop) if !stop.load(Ordering::Acquire) => {}
                _ => return Err(error),
            }
            if !failed {
                error!("the pipeline waits: {error:#}");
                *self.views.fault.write().expect(POISON) = Some(format!("the pipeline waits: {error:#}"));
            }
            failed = true;
            std::thread::sleep(RETRY);
        }
    }

    fn finish_batch(&mut self) -> Result<()> {
        self.show_states();
        let mut pending = std::mem::take(&mut self.pending);
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
        if pending.register_changed {
            let _ = views.notices.send(Notice::Register);
        }
        if let Some(fanout) = &self.fanout {
            for ((device, epoch), seqs) in pending.receipts {
                let receipt = Receipt::of(epoch, &seqs).encode();
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
        let engine = self.engine.snapshot();
        let board = self.views.board.read().expect(POISON).snapshot();
        let gaps = self.views.gaps.encode_changed();
        let now = self.now.ms().to_le_bytes();
        let mut extras: Vec<(&str, &[u8])> = vec![("engine", &engine), ("board", &board), ("now", &now)];
        extras.extend(gaps.iter().map(|(name, blob)| (name.as_str(), blob.as_slice())));
        // The ledger first: a ledger that stands before the history's checkpoint was lost or replaced,
        // and a start says so.
        let complete = LedgerBatch {
            cursor: self.position,
            ..LedgerBatch::default()
        };
        self.persist("the ledger is written", |own| Ok(own.ledger.write(&complete)?))?;
        self.persist("the history checkpoint is written", |own| {
            Ok(own.views.history.checkpoint(own.position, &extras)?)
        })?;
        self.persist("register.gpkg is written", |own| {
            Ok(own.register.commit(own.position)?)
        })?;
        if self.retained_on != self.now.beijing_day() {
            self.retained_on = self.now.beijing_day();
            let gone = self
                .ledger
                .retain(self.now)
                .context("the ledger cannot let old rows go")?;
            if gone != onemap_store::ledger::Retained::default() {
                info!(
                    evidence = gone.n_evidence,
                    quarantine = gone.n_quarantine,
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
            transitions: hex(self
                .views
                .ledger
                .transitions_digest()
                .context("the ledger cannot be read")?),
        })
    }
}

/// One digest each of latest, history and transitions.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Digest {
    /// Journal position they stand for.
    pub(crate) position: u64,
    pub(crate) latest: String,
    pub(crate) history: String,
    pub(crate) transitions: String,
}

fn parse_profile(id: &ProfileId, text: &str) -> Option<(ProfileId, Profile)> {
    match Profile::parse(id, text) {
        Ok(profile) => Some((id.clone(), profile)),
        Err(reason) => {
            // Profiles are checked before they are journaled; an older version may have been laxer.
            error!(profile = %id, %reason, "a journaled profile cannot be read; its devices' frames are quarantined");
            None
        }
    }
}

/// What folding one record may touch.
struct Fold<'a> {
    views: &'a Arc<Views>,
    register: &'a mut RegisterFile,
    engine: &'a mut Engine,
    profiles: &'a mut HashMap<ProfileId, Profile>,
    pending: &'a mut Pending,
    now: &'a mut Timestamp,
}

fn fold(fold: &mut Fold<'_>, position: u64, record: Record<'_>) -> Result<()> {
    if let Some(time) = record.time() {
        *fold.now = (*fold.now).max(time);
    }
    match record {
        Record::Frame(frame) => fold.frame(position, &frame)?,
        Record::Tick(_) => fold.tick(position),
        Record::Register(change) => fold.register(position, &change)?,
        Record::Rule(file) => fold.rules(position, &file),
        Record::Act(act) => fold.act(position, &act),
        Record::Session(_) => {}
        other => warn!(position, ?other, "a record kind without a fold; skipped"),
    }
    Ok(())
}

impl Fold<'_> {
    fn frame(&mut self, position: u64, frame: &Frame<'_>) -> Result<()> {
        if let Some(refusal) = frame.refused {
            // Counted by the listener already.
            self.quarantine(position, 0, frame, refusal, "refused by the listener");
            return Ok(());
        }
        let views = self.views.clone();
        let (device, division) = {
            let register = views.register.read().expect(POISON);
            (
                register.view.devices.get(frame.device).cloned(),
                register.divisions.get(frame.device).cloned(),
            )
        };
        let Some(device) = device else {
            self.refuse(position, 0, frame, Refusal::UnknownDevice, "");
            return Ok(());
        };
        let profile = match &device.profile {
            None => None,
            Some(id) => match self.profiles.get(id) {
                Some(profile) => Some(profile),
                None => {
                    self.refuse(position, 0, frame, Refusal::UnknownProfile, id.as_str());
                    return Ok(());
                }
            },
        };
        let message = onemap_wire::decode(frame, profile);
        if !message.seqs.is_empty() {
            let key = (device.id.clone(), message.epoch.unwrap_or(0));
            self.pending
                .receipts
                .entry(key)
                .or_default()
                .extend_from_slice(&message.seqs);
        }
        let admitted = admit(message, &device, profile, frame.received_at, position);
        self.refuse_all(position, frame, &admitted.refused);
        if !admitted.refused.is_empty() {
            self.views.gaps.refuse(&device.id, frame.received_at);
        }
        if !admitted.readings.is_empty() {
            self.readings(position, frame, &device, division, admitted.readings)?;
        }
        Ok(())
    }

    fn readings(
        &mut self,
        position: u64,
        frame: &Frame<'_>,
        device: &Device,
        division: Option<DivisionCode>,
        mut readings: Vec<Reading>,
    ) -> Result<()> {
        let views = self.views;
        views.readings.fetch_add(readings.len() as u64, Ordering::Relaxed);
        let outcomes = views
            .history
            .append(&readings)
            .context("the history cannot take readings")?;
        views.latest.apply(&readings, &outcomes);
        views.gaps.note(&readings, &outcomes);
        for (reading, outcome) in readings.iter_mut().zip(&outcomes) {
            reading.quality = outcome.quality;
        }
        // What is sent again after an outage, or imported, does not say that the device is heard now.
        if outcomes.iter().any(|outcome| outcome.kind == Kind::New) {
            let mut seen = views.seen.write().expect(POISON);
            let newest = readings
                .iter()
                .map(|r| r.measured_at)
                .max()
                .unwrap_or(frame.received_at);
            let entry = seen.entry(device.id.clone()).or_insert(Seen {
                received_at: frame.received_at,
                measured_at: newest,
            });
            entry.received_at = entry.received_at.max(frame.received_at);
            entry.measured_at = entry.measured_at.max(newest);
        }
        let mut transitions = Vec::new();
        for (reading, outcome) in readings.into_iter().zip(&outcomes) {
            if outcome.kind == Kind::Duplicate {
                continue;
            }
            let seen = Observation {
                reading,
                kind: device.kind.clone(),
                division: division.clone(),
            };
            transitions.extend(self.engine.observe(*self.now, &seen));
        }
        if !transitions.is_empty() {
            let mut body = Vec::with_capacity(frame.payload.len() + 96);
            frame.encode(&mut body);
            self.pending.bytes += body.len();
            self.pending.frames.insert(position, body);
            self.judged(transitions);
        }
        Ok(())
    }

    fn judged(&mut self, transitions: Vec<Transition>) {
        if transitions.is_empty() {
            return;
        }
        let mut board = self.views.board.write().expect(POISON);
        for transition in &transitions {
            board.fold(transition, &self.engine.info(&transition.rule));
        }
        drop(board);
        self.pending.ledger.transitions.extend(transitions);
    }

    fn tick(&mut self, position: u64) {
        let transitions = self.engine.tick(*self.now, position);
        self.judged(transitions);
        let expired = self.views.board.write().expect(POISON).tick(*self.now, position);
        self.pending.ledger.transitions.extend(expired);
    }

    fn act(&mut self, position: u64, act: &onemap_model::Act) {
        self.pending.ledger.acts.push((position, act.clone()));
        let folded = self.views.board.write().expect(POISON).act(position, act);
        match folded {
            Ok(transitions) => {
                for transition in &transitions {
                    if transition.edge == onemap_model::Edge::Closed {
                        self.engine.closed(&transition.alert);
                    }
                }
                self.pending.ledger.transitions.extend(transitions);
            }
            Err(reason) => info!(position, %reason, "an act has no effect"),
        }
    }

    fn rules(&mut self, position: u64, file: &Stamped<record::RuleFile>) {
        let record::RuleFile { name, text } = &file.what;
        let set = if text.trim().is_empty() {
            None
        } else {
            match RuleSet::parse(name, text) {
                Ok(set) => Some(set),
                Err(errors) => {
                    // Checked before it was journaled; an older version may have been laxer.
                    error!(file = %name, errors = errors.len(), "a journaled rule file cannot be read; the former one stays");
                    return;
                }
            }
        };
        {
            let mut files = self.views.rules.write().expect(POISON);
            match &set {
                Some(set) => {
                    files.insert(
                        name.clone(),
                        LoadedRules {
                            text: text.clone(),
                            set: Arc::new(set.clone()),
                        },
                    );
                }
                None => {
                    files.remove(name);
                }
            }
        }
        let transitions = self.engine.set_file(*self.now, position, name, set);
        self.judged(transitions);
    }

    fn register(&mut self, position: u64, change: &Stamped<Register>) -> Result<()> {
        self.pending.register_changed = true;
        match self.register.apply(position, change.at, &change.what) {
            Ok(_) => {}
            Err(RegisterError::Entity { source, .. }) => {
                // Checked before it was journaled; an older version may have been laxer.
                warn!(position, reason = %source, "a journaled entity is not sound; it is no part of the register");
                return Ok(());
            }
            Err(other) => return Err(other).context("register.gpkg cannot take a change"),
        }
        let mut moved = HashSet::new();
        {
            let mut register = self.views.register.write().expect(POISON);
            register
                .view
                .apply(&change.what)
                .context("the register cannot take a change")?;
            match &change.what {
                Register::Device { device } => {
                    register.city.put_device(device);
                    moved.insert(device.id.clone());
                }
                Register::Entity { entity } => {
                    if let Err(reason) = register.city.put_entity(entity) {
                        warn!(code = %entity.code, %reason, "an entity has no place on the map");
                    }
                    if entity.kind == EntityKind::Division {
                        moved.extend(register.view.devices.keys().cloned());
                    }
                }
                Register::EntityRemoved { kind, code } => {
                    register.city.remove_entity(kind, code);
                    if *kind == EntityKind::Division {
                        moved.extend(register.view.devices.keys().cloned());
                    }
                }
                _ => {}
            }
        }
        match &change.what {
            Register::Profile { id, text } => match parse_profile(id, text) {
                Some((id, profile)) => {
                    self.profiles.insert(id, profile);
                }
                None => {
                    self.profiles.remove(id);
                }
            },
            Register::DeviceToken { .. } | Register::AccessToken { .. } => {
                self.views.keys.apply(change.at, &change.what);
                self.pending
                    .ledger
                    .register
                    .push((position, change.at, change.what.clone()));
            }
            _ => {}
        }
        let mut moved: Vec<_> = moved.into_iter().collect();
        moved.sort();
        for id in moved {
            self.place(position, &id, matches!(&change.what, Register::Device { .. }));
        }
        Ok(())
    }

    /// Finds a device's division again and tells the engine when it changed.
    fn place(&mut self, position: u64, id: &DeviceId, always: bool) {
        let mut register = self.views.register.write().expect(POISON);
        let Some(device) = register.view.devices.get(id).cloned() else {
            return;
        };
        let division = locate(&register, &device);
        let before = register.divisions.get(id);
        if before == division.as_ref() && !always {
            return;
        }
        match &division {
            Some(division) => register.divisions.insert(id.clone(), division.clone()),
            None => register.divisions.remove(id),
        };
        drop(register);
        let transitions = self
            .engine
            .set_device(*self.now, position, &device, division.as_ref());
        self.judged(transitions);
    }

    /// Counts each refusal; the bytes are kept once for each reason, however many keys it hit.
    fn refuse_all(&mut self, position: u64, frame: &Frame<'_>, refused: &[Refused]) {
        let mut reasons: Vec<Refusal> = Vec::new();
        for Refused { refusal, .. } in refused {
            if !reasons.contains(refusal) {
                reasons.push(*refusal);
            }
        }
        for (ordinal, reason) in reasons.into_iter().enumerate() {
            let of_it = || refused.iter().filter(|r| r.refusal == reason);
            let n = of_it().count();
            let mut detail: Vec<&str> = of_it().take(N_DETAILS).map(|r| r.detail.as_str()).collect();
            let more = format!("and {} more", n.saturating_sub(N_DETAILS));
            if n > N_DETAILS {
                detail.push(&more);
            }
            self.count(reason, n as u64);
            self.quarantine(position, ordinal as u32, frame, reason, &detail.join("; "));
        }
    }

    fn refuse(&mut self, position: u64, ordinal: u32, frame: &Frame<'_>, refusal: Refusal, detail: &str) {
        self.count(refusal, 1);
        self.quarantine(position, ordinal, frame, refusal, detail);
    }

    fn count(&self, refusal: Refusal, n: u64) {
        if let Some(i) = Refusal::ALL.iter().position(|r| *r == refusal) {
            self.views.refused[i].fetch_add(n, Ordering::Relaxed);
        }
    }

    fn quarantine(&mut self, position: u64, ordinal: u32, frame: &Frame<'_>, refusal: Refusal, detail: &str) {
        self.pending.bytes += frame.payload.len();
        self.pending.ledger.quarantine.push(QuarantineEntry {
            position,
            ordinal,
            at: frame.received_at,
            reason: refusal,
            source: frame.source,
            device: frame.device.to_owned(),
            peer: frame.peer.to_owned(),
            topic: frame.topic.to_owned(),
            detail: detail.to_owned(),
            payload: frame.payload.to_vec(),
        });
    }
}

fn is_empty(batch: &LedgerBatch) -> bool {
    batch.transitions.is_empty()
        && batch.quarantine.is_empty()
        && batch.evidence.is_empty()
        && batch.acts.is_empty()
        && batch.register.is_empty()
}

/// The division as stated, else as found from the position.
pub(crate) fn locate(register: &onemap_dashboards::views::Register, device: &Device) -> Option<DivisionCode> {
    device
        .division
        .clone()
        .or_else(|| device.position.and_then(|p| register.city.locate(&p)))
}

/// The board of an empty journal.
pub(crate) fn restore_board(bytes: Option<Vec<u8>>) -> Result<Board> {
    match bytes {
        None => Ok(Board::new()),
        Some(bytes) => Board::restore(&bytes).context("the board's checkpoint cannot be read"),
    }
}
