//! Folds one record into everything it changes: the one way of a reading.
//!
//! Nothing here reads a clock or a disk beyond the history's own; what is to be written is left in
//! [`Pending`] for the end of the batch.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use onemap_dashboards::views::{
    BY_THE_LISTENER, ImportCounts, ImportOutcome, LoadedRules, RefusedRow, Seen, Views,
};
use onemap_ingest::admit::{Admitted, AgeLimits, Arrival, Lane, admit, cadence_s, silent_after_s};
use onemap_model::record::{self, Register, Stamped};
use onemap_model::warning::RECEIVED_TOPIC;
use onemap_model::{
    Device, DeviceId, DeviceState, DivisionCode, EntityKind, Forecast, Frame, Observation, ProfileId,
    Quality, Reading, Record, Refusal, Source, Timestamp, Transition,
};
use onemap_rules::{Engine, RuleSet};
use onemap_store::history::{Kind, Outcome};
use onemap_store::ledger::{Issued, LedgerBatch, QuarantineEntry};
use onemap_store::register::{Register as RegisterFile, RegisterError};
use onemap_wire::Message;
use onemap_wire::line::Params;
use onemap_wire::message::Refused;
use onemap_wire::profile::Profile;
use onemap_wire::push::{self, PUSH};
use tracing::{error, info, warn};

use super::Trial;
use super::audited::audited;
use super::flow::Flows;
use super::imported::refused_rows;
use super::known::KnownDevices;
use super::late::Late;
use super::lifecycle::{Maintenances, as_of};
use super::open::Open;
use super::patience::patiently;
use super::relayed::is_relayed;
use super::spooling::Accepted;

/// Faults that one quarantine entry spells out.
const N_DETAILS: usize = 8;

const POISON: &str = "no holder of this lock panics";

/// What one batch of records leaves to be written.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) ledger: LedgerBatch,
    /// By device, epoch and whether it speaks CBOR.
    pub(super) receipts: HashMap<(DeviceId, u64, bool), Vec<u64>>,
    pub(super) frames: HashMap<u64, Vec<u8>>,
    pub(super) register_changed: bool,
    /// Messages to devices that follow from this batch; they leave when the batch is in the ledger.
    pub(super) replies: Vec<Reply>,
    /// Children that gateways made known; the registrar records them.
    pub(super) adopted: Vec<Device>,
    /// Readings that history accepted, for its engine.
    pub(super) accepted: Accepted,
    /// The batch ends here: what follows is to find what it says in the ledger.
    pub(super) ends: bool,
    /// Payload bytes held for quarantine and evidence.
    pub(super) bytes: usize,
}

/// A message to whoever listens on a topic.
pub(super) struct Reply {
    /// Normalised (`d/{device}/…`).
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) qos: u8,
}

pub(crate) fn parse_profile(id: &ProfileId, text: &str) -> Option<(ProfileId, Profile)> {
    match Profile::parse(id, text) {
        Ok(profile) => Some((id.clone(), profile)),
        Err(reason) => {
            // Profiles are checked before they are journaled; an older version may have been laxer.
            error!(profile = %id, %reason, "a journaled profile cannot be read; its devices' frames are quarantined");
            None
        }
    }
}

/// Takes up a push source; an empty text takes it away.
pub(super) fn load_source(views: &Views, id: &ProfileId, text: &str) {
    let mut sources = views.sources.write().expect(POISON);
    match push::Source::parse(id, text) {
        _ if text.is_empty() => {
            sources.remove(id);
        }
        Ok(source) => {
            sources.insert(id.clone(), Arc::new(source));
        }
        Err(reason) => {
            // Checked before it was journaled; an older version may have been laxer.
            error!(source = %id, %reason, "a journaled push source cannot be read; its calls are refused");
            sources.remove(id);
        }
    }
}

/// What folding one record may touch.
pub(super) struct Fold<'a> {
    pub(super) views: &'a Arc<Views>,
    pub(super) register: &'a mut RegisterFile,
    pub(super) engine: &'a mut Engine,
    pub(super) profiles: &'a mut HashMap<ProfileId, Profile>,
    pub(super) known: &'a mut KnownDevices,
    pub(super) pending: &'a mut Pending,
    pub(super) now: &'a mut Timestamp,
    pub(super) maintenances: &'a mut Maintenances,
    pub(super) open: &'a mut Open,
    pub(super) flows: &'a mut Flows,
    pub(super) late: &'a mut Late,
    /// Devices of whose values a review or a correction says something.
    pub(super) reviewed: &'a mut HashSet<DeviceId>,
    pub(super) ages: AgeLimits,
    /// Accepted readings go to an engine, too.
    pub(super) spools: bool,
    /// A look-up in the history that fails is tried again until this says stop; without it never.
    pub(super) patience: Option<&'a AtomicBool>,
    /// Rules that are tried in place of those that were in force.
    pub(super) trial: Option<&'a mut Trial>,
    /// The way in of the record's frame.
    pub(super) lane: Lane,
    pub(super) turn: Turn,
    pub(super) taken: Taken,
}

/// What became of one record's frame.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) counts: ImportCounts,
    /// Filled when a frame comes again.
    pub(super) refused: Vec<Refused>,
    /// Filled when it is an import.
    pub(super) rows: Vec<RefusedRow>,
}

/// How often a frame has been here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    First,
    /// Out of the quarantine: what it said before is counted already, and what is refused has its entry.
    Again,
}

/// What one device said in a frame, or in a part of one.
pub(super) struct Said<'a> {
    /// The frame as it came: the evidence.
    pub(super) frame: &'a Frame<'a>,
    /// What is kept of the device's part when something of it is refused.
    pub(super) part: &'a Frame<'a>,
    pub(super) device: &'a Device,
    /// The profile that its values are admitted by.
    pub(super) profile: Option<&'a ProfileId>,
    /// The number of the frame's next refusal.
    pub(super) ordinal: u32,
}

pub(super) fn fold(fold: &mut Fold<'_>, position: u64, record: Record<'_>) -> Result<()> {
    if let Some(time) = record.time() {
        *fold.now = (*fold.now).max(time);
        fold.views.history.note_time(*fold.now);
    }
    let now = *fold.now;
    if let Some(files) = fold.trial.as_mut().and_then(|trial| trial.begin(now)) {
        fold.try_rules(position, files);
    }
    fold.pending.ledger.audited.extend(audited(position, &record));
    match record {
        // Others are tried in their place.
        Record::Rule(_) if fold.trial.as_ref().is_some_and(|trial| trial.has_begun()) => {}
        Record::Frame(frame) => fold.frame(position, &frame)?,
        Record::Refused(refused) => fold.refused_there(position, &refused.frame, refused.detail),
        Record::Tick(_) => fold.tick(position)?,
        Record::Register(change) => fold.register(position, &change)?,
        Record::Rule(file) => fold.rules(position, &file),
        Record::Act(act) => fold.act(position, &act),
        Record::Readmission(again) => fold.readmit(position, &again)?,
        // The audit alone takes it.
        Record::Session(_) | Record::Segment(_) => {}
        Record::Command(command) => fold.command(position, &command),
        Record::Forecast(issued) => fold.forecasts(position, issued),
        other => warn!(position, ?other, "a record kind without a fold; skipped"),
    }
    Ok(())
}

impl Fold<'_> {
    fn frame(&mut self, position: u64, frame: &Frame<'_>) -> Result<()> {
        if frame.refused.is_some() {
            self.refused_there(position, frame, "");
            return Ok(());
        }
        if is_relayed(frame) {
            self.views.counters.relay();
            return Ok(());
        }
        if frame.source == Source::Import {
            self.lane = Lane::Backfill;
        }
        self.frame_from(position, frame)?;
        if frame.source == Source::Import {
            let Taken { counts, rows, .. } = std::mem::take(&mut self.taken);
            self.views.imports.put(position, ImportOutcome::new(counts, rows));
        }
        Ok(())
    }

    /// Keeps what the listener refused; it counted it already.
    fn refused_there(&mut self, position: u64, frame: &Frame<'_>, detail: &str) {
        let Some(refusal) = frame.refused else { return };
        let detail = match detail {
            "" => BY_THE_LISTENER.to_owned(),
            detail => format!("{BY_THE_LISTENER}: {detail}"),
        };
        self.quarantine(position, 0, frame, refusal, &detail);
        self.miss(frame);
    }

    /// Counts a frame of which something was refused in its device's day; of no device when nobody knows it.
    pub(super) fn miss(&mut self, frame: &Frame<'_>) {
        if self.turn == Turn::First
            && let Some(device) = self.device(frame.device)
        {
            self.views.gaps.refuse(&device.id, frame.received_at);
        }
    }

    /// Finds out who says what in a frame.
    pub(super) fn frame_from(&mut self, position: u64, frame: &Frame<'_>) -> Result<()> {
        if frame.source == Source::Http {
            if let Some(source) = frame.topic.strip_prefix(PUSH) {
                return self.pushed(position, frame, source);
            }
            if let Some(source) = frame.topic.strip_prefix(RECEIVED_TOPIC) {
                self.warning_of_others(position, frame, source);
                return Ok(());
            }
            if let Some(params) = Params::of_topic(frame.topic) {
                return self.lines(position, frame, &params);
            }
        }
        let Some(device) = self.device(frame.device) else {
            self.refuse(position, 0, frame, Refusal::UnknownDevice, "");
            return Ok(());
        };
        if matches!(frame.source, Source::Hj212 | Source::Sl651 | Source::Gbt26875) {
            self.views.frames.note(&device.id, position);
        }
        match frame.source {
            Source::Hj212 => return self.hj212(position, frame, &device),
            Source::Sl651 => return self.sl651(position, frame, &device),
            Source::Gbt26875 => return self.gbt26875(position, frame, &device),
            _ => {}
        }
        if self.about_itself(position, frame, &device)
            || self.of_gateway(position, frame, &device)?
            || self.upward(position, frame, &device)
        {
            return Ok(());
        }
        let message = match self.profile(device.profile.as_ref()) {
            Ok(profile) => onemap_wire::decode(frame, profile),
            Err(missing) => {
                self.refuse(position, 0, frame, missing.refusal, &missing.detail);
                self.miss(frame);
                return Ok(());
            }
        };
        let said = Said {
            frame,
            part: frame,
            device: &device,
            profile: device.profile.as_ref(),
            ordinal: 0,
        };
        self.said(position, &said, message)?;
        Ok(())
    }

    /// A registered device.
    pub(super) fn device(&mut self, id: &str) -> Option<Arc<Device>> {
        self.known.find(self.views, id).map(|(device, _)| device)
    }

    /// A loaded profile; without an id there is none, and none is needed.
    pub(super) fn profile(&self, id: Option<&ProfileId>) -> Result<Option<&Profile>, Refused> {
        let Some(id) = id else { return Ok(None) };
        match self.profiles.get(id) {
            Some(profile) => Ok(Some(profile)),
            None => Err(Refused::new(Refusal::UnknownProfile, id.as_str())),
        }
    }

    /// Admits and folds what one device said; gives the number of the frame's next refusal.
    pub(super) fn said(&mut self, position: u64, said: &Said<'_>, message: Message) -> Result<u32> {
        let admitted = self.admitted(position, said, message);
        if said.frame.source == Source::Import {
            self.taken.rows.extend(refused_rows(&admitted));
        }
        let ordinal = self.refuse_from(said.ordinal, position, said.part, &admitted.refused);
        self.take(said, admitted)?;
        Ok(ordinal)
    }

    /// Admits what one device said.
    pub(super) fn admitted(&mut self, position: u64, said: &Said<'_>, message: Message) -> Admitted {
        let Said { frame, device, .. } = *said;
        if !message.seqs.is_empty() {
            let key = (device.id.clone(), message.epoch.unwrap_or(0), message.is_cbor);
            self.pending
                .receipts
                .entry(key)
                .or_default()
                .extend_from_slice(&message.seqs);
        }
        if !message.unread.is_empty() && self.turn == Turn::First {
            let mut counts = self.views.unread.lock().expect(POISON);
            for what in &message.unread {
                *counts.entry((frame.source.name(), what)).or_default() += 1;
            }
        }
        let profile = said.profile.and_then(|id| self.profiles.get(id));
        let arrival = Arrival {
            device,
            profile,
            received_at: frame.received_at,
            position,
            lane: self.lane,
            ages: self.ages,
        };
        let mut admitted = admit(message, &arrival, &mut self.views.watch.write().expect(POISON));
        self.refuse_closed(&mut admitted);
        admitted
    }

    /// Readings older than the history keeps their quantity are refused: nothing that was let go comes back.
    fn refuse_closed(&self, admitted: &mut Admitted) {
        let closing = self.views.history.closing();
        if closing.is_empty() {
            return;
        }
        let (mut refused, mut every_s) = (Vec::new(), std::mem::take(&mut admitted.every_s).into_iter());
        admitted.readings.retain(|reading| {
            let every_s = every_s.next().unwrap_or_default();
            let quantity = reading.series.quantity;
            let from = closing.get(&quantity).copied();
            let Some(from) = from.filter(|from| reading.measured_at.ms() < *from) else {
                admitted.every_s.push(every_s);
                return true;
            };
            let from = Timestamp::from_ms(from);
            let detail = format!(
                "{quantity} is stamped {}; values of it are kept from {from} on ([history.retention])",
                reading.measured_at
            );
            refused.push(Refused::new(Refusal::TooOld, detail));
            false
        });
        // Before those that are counted by their sample.
        admitted.refused.splice(0..0, refused);
    }

    /// Folds what was admitted, and counts what was not in the device's day.
    pub(super) fn take(&mut self, said: &Said<'_>, admitted: Admitted) -> Result<()> {
        let Said { frame, device, .. } = *said;
        if !admitted.refused.is_empty() && self.turn == Turn::First {
            self.views.gaps.refuse(&device.id, frame.received_at);
        }
        if !admitted.readings.is_empty() {
            let known = self.known.find(self.views, device.id.as_str());
            let division = known.and_then(|(_, division)| division);
            self.readings(frame, device, division, admitted)?;
        }
        Ok(())
    }

    fn readings(
        &mut self,
        frame: &Frame<'_>,
        device: &Device,
        division: Option<DivisionCode>,
        admitted: Admitted,
    ) -> Result<()> {
        let views = self.views;
        let Admitted {
            mut readings,
            every_s,
            ..
        } = admitted;
        views.readings.fetch_add(readings.len() as u64, Ordering::Relaxed);
        // What is imported is said by a person, who may take a correction back.
        let outcomes = self.keep(&readings, self.lane == Lane::Backfill)?;
        self.opens(device, &readings, &outcomes);
        let again = self.turn == Turn::Again;
        let fills = patiently(views, self.patience, "reports that came are counted", || {
            self.fills(frame.source, device, &readings, &outcomes)
        })?;
        views.gaps.note_filling(&readings, &outcomes, again, &fills);
        let counts = &mut self.taken.counts;
        for (reading, outcome) in readings.iter_mut().zip(&outcomes) {
            reading.quality = outcome.quality;
            *match outcome.kind {
                Kind::New | Kind::Late => &mut counts.new,
                Kind::Duplicate => &mut counts.duplicate,
                Kind::Revision => &mut counts.revised,
            } += 1;
        }
        if frame.source != Source::Import {
            self.opens_late(&readings, &outcomes);
        }
        let is_live = |reading: &Reading| !reading.quality.has(Quality::BACKFILL);
        // What is sent again after an outage, or imported, does not say that the device is heard now.
        let heard = readings
            .iter()
            .zip(&outcomes)
            .any(|(reading, outcome)| outcome.kind == Kind::New && is_live(reading));
        if heard {
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
        self.sightings(device, division.as_ref(), &readings, &outcomes);
        let flows = self.flows(device, &readings, &outcomes);
        let seen = readings
            .into_iter()
            .zip(every_s)
            .map(|(reading, every_s)| Observation {
                every_s,
                reading,
                kind: device.kind.clone(),
                division: division.clone(),
            });
        let transitions = self.judge(seen, &outcomes);
        if !transitions.is_empty() {
            let mut body = Vec::with_capacity(frame.payload.len() + 96);
            frame.encode(&mut body);
            self.pending.bytes += body.len();
            self.pending.frames.insert(transitions[0].position, body);
            self.judged(transitions);
        }
        // After the levels that they follow from.
        self.derived(device, division, flows)
    }

    /// Puts readings into the history, what is latest of them, and what its engine is given; says what became of each.
    pub(super) fn keep(&mut self, readings: &[Reading], corrects: bool) -> Result<Vec<Outcome>> {
        let views = self.views;
        // A late reading is looked up on the disk, which may fail.
        let mut outcomes = Vec::with_capacity(readings.len());
        patiently(views, self.patience, "the history takes readings", || {
            Ok(views.history.append_rest(readings, &mut outcomes, corrects)?)
        })?;
        views.changes.note(&outcomes);
        if self.spools {
            let accepted = &mut self.pending.accepted;
            accepted.take(views, self.patience, readings, &outcomes)?;
        }
        views.latest.apply(readings, &outcomes);
        Ok(outcomes)
    }

    /// Lets the rules look at what is new. What comes by the backfill lane opens, clears and resets nothing.
    pub(super) fn judge(
        &mut self,
        seen: impl Iterator<Item = Observation>,
        outcomes: &[Outcome],
    ) -> Vec<Transition> {
        let is_new = |(seen, outcome): &(Observation, &Outcome)| {
            outcome.kind != Kind::Duplicate && !seen.reading.quality.has(Quality::BACKFILL)
        };
        let seen: Vec<Observation> = seen.zip(outcomes).filter(is_new).map(|(seen, _)| seen).collect();
        self.engine.observe_all(*self.now, &seen)
    }

    pub(super) fn judged(&mut self, mut transitions: Vec<Transition>) {
        if transitions.is_empty() {
            return;
        }
        let mut board = self.views.board.write().expect(POISON);
        for transition in &mut transitions {
            board.mark(transition);
            board.fold(
                transition,
                &self.engine.info(&transition.rule, &transition.series.device),
            );
        }
        drop(board);
        self.pending.ledger.transitions.extend(transitions);
    }

    /// Keeps forecasts as they were issued, and looks whether rules ask for what they say.
    fn forecasts(&mut self, position: u64, issued: Stamped<Vec<Forecast>>) {
        for forecast in &issued.what {
            let transitions = self.engine.foresee(*self.now, position, forecast);
            self.judged(transitions);
        }
        self.pending.ledger.forecasts.push(Issued {
            position,
            at: issued.at,
            forecasts: issued.what,
        });
    }

    fn tick(&mut self, position: u64) -> Result<()> {
        self.expire(position);
        self.life(position);
        self.warnings_end();
        self.turn_fences(position);
        self.derive(position)?;
        self.flows_again(position)?;
        self.look_back(position)?;
        let transitions = self.engine.tick(*self.now, position);
        self.judged(transitions);
        let expired = {
            let register = self.views.register.read().expect(POISON);
            let mut board = self.views.board.write().expect(POISON);
            let is_muted = |device: &DeviceId| {
                let device = register.view.devices.get(device.as_str());
                device.is_some_and(|device| device.state_at(*self.now) == DeviceState::Maintenance)
            };
            board.tick(*self.now, position, &is_muted)
        };
        self.pending.ledger.transitions.extend(expired);
        Ok(())
    }

    fn act(&mut self, position: u64, act: &onemap_model::Act) {
        self.pending.ledger.acts.push((position, act.clone()));
        use onemap_model::Verb;
        // What only the audit keeps.
        if matches!(
            act.verb,
            Verb::ResolvePerson { .. }
                | Verb::RotatePersonKey { .. }
                | Verb::Export { .. }
                | Verb::Evidence { .. }
                | Verb::Backup { .. }
        ) {
            return;
        }
        if matches!(
            act.verb,
            Verb::PutDesk { .. } | Verb::RemoveDesk { .. } | Verb::PutDrill { .. } | Verb::EndDrill { .. }
        ) {
            self.views.board.write().expect(POISON).man(act);
            return;
        }
        if matches!(act.verb, Verb::Duty(_)) {
            match self.views.board.write().expect(POISON).write_log(position, act) {
                Ok(()) => self.pending.ledger.duty_log.push((position, act.clone())),
                Err(reason) => info!(position, %reason, "an entry of a duty log has no effect"),
            }
            return;
        }
        if self.quarantine_act(position, act)
            || self.series_act(act)
            || self.warning_act(position, act)
            || self.proposal_act(position, act)
        {
            return;
        }
        let folded = {
            let register = self.views.register.read().expect(POISON);
            let mut board = self.views.board.write().expect(POISON);
            board.act(position, act, &*register)
        };
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
        self.proposal_taken_up(position, name, text);
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
        if let Some(set) = &set
            && set.fences().next().is_some()
        {
            for code in set.fences() {
                if self.views.moving.read().expect(POISON).fence(code).is_none() {
                    warn!(file = %name, fence = %code, "a rule asks for fence `{code}`, which is not there; it waits for it");
                }
            }
            // Before its rules look for the first time.
            self.all_stand(position, true);
        }
        let transitions = self.engine.set_file(*self.now, position, name, set);
        self.judged(transitions);
    }

    /// Puts other rules in the place of those that are in force.
    fn try_rules(&mut self, position: u64, files: Vec<(String, RuleSet)>) {
        let names: Vec<String> = self.engine.files().keys().cloned().collect();
        let gone = names
            .into_iter()
            .filter(|name| files.iter().all(|(other, _)| other != name));
        let gone: Vec<String> = gone.collect();
        for name in gone {
            let transitions = self.engine.set_file(*self.now, position, &name, None);
            self.judged(transitions);
        }
        if files.iter().any(|(_, set)| set.fences().next().is_some()) {
            self.all_stand(position, true);
        }
        for (name, set) in files {
            let transitions = self.engine.set_file(*self.now, position, &name, Some(set));
            self.judged(transitions);
        }
    }

    fn register(&mut self, position: u64, change: &Stamped<Register>) -> Result<()> {
        let before = match &change.what {
            Register::Hydrology { device, .. } => self.hydrology(device),
            _ => None,
        };
        match &change.what {
            Register::Attributes { .. } => {
                self.attributes(position, change);
                return Ok(());
            }
            // Persons stand in the ledger alone.
            Register::Person { .. } | Register::PersonSealed { .. } | Register::PersonStated { .. } => {
                let entry = (position, change.at, change.what.clone());
                self.pending.ledger.register.push(entry);
                return Ok(());
            }
            Register::Source { id, text } => load_source(self.views, id, text),
            _ => {}
        }
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
            let mut register = self.known.forgetting(self.views);
            let altered = register
                .view
                .apply(&change.what)
                .context("the register cannot take a change")?;
            match &change.what {
                Register::Device { device } => {
                    register.city.put_device(device);
                    self.maintenances.note(device, *self.now);
                    moved.insert(device.id.clone());
                    if device.is_gateway {
                        moved.extend(register.view.children(device.id.as_str()));
                    }
                }
                Register::Adopted { device } if altered => {
                    register.city.put_device(device);
                    moved.insert(device.id.clone());
                }
                // Its cadence may be another now.
                Register::Profile { id, .. } => {
                    let of_it = register.view.devices.values();
                    let of_it = of_it.filter(|device| device.profile.as_ref() == Some(id));
                    moved.extend(of_it.map(|device| device.id.clone()));
                    let children = |id: &DeviceId| register.view.children(id.as_str());
                    let of_it: Vec<_> = moved.iter().flat_map(children).collect();
                    moved.extend(of_it);
                }
                Register::Entity { entity } => {
                    self.views.places.changed(&entity.kind);
                    // What it was called before is the same thing.
                    let mut redrawn = false;
                    for former in &entity.former {
                        redrawn |= register.city.remove_entity(&entity.kind, &former.code);
                    }
                    let card = register.view.entities.card(&entity.kind, &entity.code);
                    match register.city.put_entity_with(entity, card) {
                        Ok(()) => redrawn |= !entity.geometry.is_null(),
                        // What has no place is not drawn any more.
                        Err(_) if entity.geometry.is_null() => {
                            redrawn |= register.city.remove_entity(&entity.kind, &entity.code);
                        }
                        Err(reason) => {
                            warn!(code = %entity.code, %reason, "an entity has no place on the map");
                        }
                    }
                    if entity.kind == EntityKind::Division && redrawn {
                        moved.extend(register.view.devices.keys().cloned());
                    }
                }
                Register::EntityRemoved { kind, code } => {
                    self.views.places.changed(kind);
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
            Register::Hydrology { device, hydrology } => {
                self.hydrology_changed(device, before.as_deref(), hydrology.as_deref());
                let known = hydrology.as_deref();
                let transitions = self.engine.set_stages(*self.now, position, device, known);
                self.judged(transitions);
            }
            _ => self.tokens(position, change),
        }
        self.moves(position, &change.what);
        let mut moved: Vec<_> = moved.into_iter().collect();
        moved.sort();
        for id in moved {
            let always = matches!(
                &change.what,
                Register::Device { .. } | Register::Adopted { .. } | Register::Profile { .. }
            );
            self.place(position, &id, always);
        }
        Ok(())
    }

    /// Finds a device's division again and tells the engine when it changed.
    pub(super) fn place(&mut self, position: u64, id: &DeviceId, always: bool) {
        let mut register = self.known.forgetting(self.views);
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
        let profile = device.profile.as_ref().and_then(|id| self.profiles.get(id));
        let gateway = device
            .gateway
            .as_ref()
            .and_then(|id| register.view.devices.get(id));
        let of_gateway = gateway.and_then(|gateway| self.profiles.get(gateway.profile.as_ref()?));
        let silent_after_s = silent_after_s(&device, profile, of_gateway);
        let mut device = Device::clone(&as_of(&device, *self.now));
        device.cadence_s = cadence_s(&device, profile);
        register.cadences.insert(device.id.clone(), device.cadence_s);
        match silent_after_s {
            0 => register.silent_after.remove(&device.id),
            limit => register.silent_after.insert(device.id.clone(), limit),
        };
        drop(register);
        self.views
            .gaps
            .expect(&device.id, *self.now, expected_every(&device));
        let transitions = self
            .engine
            .set_device(*self.now, position, &device, division.as_ref());
        self.engine.set_silent_after(&device.id, silent_after_s);
        self.judged(transitions);
        if self.engine.asks_for_fences() {
            self.stand(position, id);
        }
    }

    /// Counts each refusal; the bytes are kept once for each reason, however many keys it hit. `first` is the
    /// number of the frame's next refusal; gives the one after these.
    pub(super) fn refuse_from(
        &mut self,
        first: u32,
        position: u64,
        frame: &Frame<'_>,
        refused: &[Refused],
    ) -> u32 {
        let mut reasons: Vec<Refusal> = Vec::new();
        for Refused { refusal, .. } in refused {
            if !reasons.contains(refusal) {
                reasons.push(*refusal);
            }
        }
        let next = first + reasons.len() as u32;
        for (ordinal, reason) in (first..).zip(reasons) {
            let of_it = || refused.iter().filter(|r| r.refusal == reason);
            let details: Vec<&str> = of_it().map(|r| r.detail.as_str()).collect();
            self.refuse_all((position, ordinal), frame, reason, &details);
        }
        next
    }

    /// Counts the refusals of one reason and makes one entry of them, which spells out the first few.
    pub(super) fn refuse_all(
        &mut self,
        place: (u64, u32),
        frame: &Frame<'_>,
        reason: Refusal,
        details: &[&str],
    ) {
        let mut said = details[..details.len().min(N_DETAILS)].join("; ");
        if details.len() > N_DETAILS {
            said.push_str(&format!("; and {} more", details.len() - N_DETAILS));
        }
        self.refuse_n(details.len() as u64, place, frame, reason, &said);
    }

    pub(super) fn refuse(
        &mut self,
        position: u64,
        ordinal: u32,
        frame: &Frame<'_>,
        refusal: Refusal,
        detail: &str,
    ) {
        if frame.source == Source::Import {
            self.taken.rows.push(RefusedRow {
                row: None,
                reason: refusal,
                message: detail.to_owned(),
            });
        }
        self.refuse_n(1, (position, ordinal), frame, refusal, detail);
    }

    /// Counts `n` refusals of one reason and keeps the bytes, unless they come out of the quarantine.
    fn refuse_n(
        &mut self,
        n: u64,
        (position, ordinal): (u64, u32),
        frame: &Frame<'_>,
        refusal: Refusal,
        detail: &str,
    ) {
        self.taken.counts.refused += n;
        match self.turn {
            Turn::First => {
                self.count(refusal, n);
                self.quarantine(position, ordinal, frame, refusal, detail);
            }
            Turn::Again => self.taken.refused.push(Refused::new(refusal, detail)),
        }
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

/// Seconds between the reports that are expected of a device, 0 when none are: a device that is not heard
/// yet, under maintenance or out of use owes nothing.
fn expected_every(device: &Device) -> u32 {
    match device.state {
        DeviceState::Active => device.cadence_s,
        DeviceState::Provisioned | DeviceState::Maintenance | DeviceState::Retired => 0,
    }
}

/// The division as stated, else as found from the position.
pub(crate) fn locate(register: &onemap_dashboards::views::Register, device: &Device) -> Option<DivisionCode> {
    device
        .division
        .clone()
        .or_else(|| device.position.and_then(|p| register.city.locate(&p)))
}
