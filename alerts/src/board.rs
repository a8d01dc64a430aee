//! All alerts: the open ones and the last that ended.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use onemap_model::alert::ActNote;
use onemap_model::{Act, AlertId, DeviceId, Edge, Severity, Timestamp, Transition, Verb};
use onemap_rules::{RuleInfo, Texts};
use serde::{Deserialize, Serialize};

use crate::alert::{Alert, AlertState, Assignment, Condition, Undertaking};
use crate::drills::Drills;
use crate::duty::Duty;
use crate::handover::DutyRefused;
use crate::list::{Cursor, Filter, StateFilter, Whose};

/// How many ended alerts are kept; the ledger keeps all.
const N_ENDED: usize = 10_000;
/// How many historical events are kept beside them.
const N_PAST: usize = 5_000;
/// So many are left when there are more.
const N_PAST_LEFT: usize = 4_500;
/// One device that hands on years leaves room for the others: beyond so many its own go first.
const N_PAST_OF_DEVICE: usize = 500;
/// The longest acknowledgement, and the longest time on the shelf.
const LONGEST_WHILE: Duration = Duration::from_secs(7 * 86_400);
/// The longest name and note, in characters.
const LONGEST_NAME: usize = 64;
const LONGEST_NOTE: usize = 2000;

/// Why an act changes nothing. The same journal refuses the same acts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ActRefused {
    /// No such alert, or it ended so long ago that only the ledger has it.
    #[error("no alert {0} is known")]
    UnknownAlert(AlertId),
    /// It ended meanwhile.
    #[error("alert {0} has ended")]
    Ended(AlertId),
    /// It lies outside the actor's division, or is about a device of another department.
    #[error("alert {0} lies outside the actor's division or departments")]
    OutOfScope(AlertId),
    /// Nobody takes care of it without a name.
    #[error("an act on an alert needs the name of a person")]
    NoName,
    /// Name or note is too long.
    #[error("a name has at most {LONGEST_NAME} characters, a note at most {LONGEST_NOTE}")]
    TooLong,
    /// The end lies before the act.
    #[error("an acknowledgement, or a time on the shelf, ends after it begins, not at {until}")]
    UntilPast {
        /// The end as given.
        until: Timestamp,
    },
    /// The end lies too far ahead.
    #[error("an acknowledgement, or a time on the shelf, lasts at most 7 days, not until {until}")]
    UntilTooFar {
        /// The end as given.
        until: Timestamp,
    },
    /// An alert is shelved for a reason.
    #[error("shelving an alert needs a reason")]
    NoReason,
    /// It is on the list already.
    #[error("alert {0} is not shelved")]
    NotShelved(AlertId),
    /// A verb of a newer version.
    #[error("this version does not know what the act does")]
    UnknownVerb,
}

impl ActRefused {
    /// Stable name for the API and counters.
    pub fn code(&self) -> &'static str {
        match self {
            ActRefused::UnknownAlert(_) => "unknown_alert",
            ActRefused::Ended(_) => "alert_ended",
            ActRefused::OutOfScope(_) => "out_of_scope",
            ActRefused::NoName => "no_name",
            ActRefused::TooLong => "too_long",
            ActRefused::UntilPast { .. } => "until_past",
            ActRefused::UntilTooFar { .. } => "until_too_far",
            ActRefused::NoReason => "no_reason",
            ActRefused::NotShelved(_) => "not_shelved",
            ActRefused::UnknownVerb => "unknown_verb",
        }
    }
}

/// Why bytes do not restore a board; the journal still can.
#[derive(Debug, thiserror::Error)]
#[error("the alert board's snapshot is not readable")]
pub struct BoardError(#[source] serde_json::Error);

/// Puts a word in the place of another, and in the order in which words run out.
fn exchange(
    word: &mut Option<Undertaking>,
    new: Option<Undertaking>,
    expiries: &mut BTreeSet<(Timestamp, AlertId)>,
    id: AlertId,
) {
    let until = new.as_ref().map(|word| (word.until, id));
    if let Some(before) = std::mem::replace(word, new) {
        expiries.remove(&(before.until, id));
    }
    expiries.extend(until);
}

/// The alerts, folded from transitions and acts.
///
/// Every edge may be folded again without harm, so a board is also rebuilt from the ledger's transitions.
#[derive(Debug, Default)]
pub struct Board {
    /// In the order in which they were raised.
    alerts: BTreeMap<Cursor, Alert>,
    index: HashMap<AlertId, Cursor>,
    open: BTreeSet<Cursor>,
    /// Ended ones, the first to be forgotten first.
    ended: VecDeque<Cursor>,
    /// Historical events, the first to be forgotten first.
    past: VecDeque<Cursor>,
    /// When acknowledgements of open alerts run out.
    expiries: BTreeSet<(Timestamp, AlertId)>,
    /// When shelved ones come back.
    shelf_expiries: BTreeSet<(Timestamp, AlertId)>,
    /// Whom those reach that nobody takes.
    duty: Duty,
    /// What is raised on purpose.
    drills: Drills,
    /// Open alerts that were raised in a drill.
    in_drill: BTreeSet<Cursor>,
}

impl Board {
    /// An empty board.
    pub fn new() -> Self {
        Self::default()
    }

    /// Folds one edge. `info` is what the rule says now; only [`Edge::Raised`] and [`Edge::Past`] read it, an alert keeps
    /// what it was raised with. Edges of alerts that are not known or have ended change nothing.
    pub fn fold(&mut self, transition: &Transition, info: &RuleInfo) {
        match transition.edge {
            Edge::Raised => return self.raise(transition, info),
            Edge::Past => return self.record_past(transition, info),
            _ => {}
        }
        let Some(cursor) = self.index.get(&transition.alert).copied() else {
            return;
        };
        let Some(alert) = self.alerts.get_mut(&cursor).filter(|alert| alert.is_open()) else {
            return;
        };
        let told = Texts {
            zh: transition.message_zh.clone(),
            en: transition.message_en.clone(),
        };
        alert.changed_at = transition.at;
        // From here on nobody has it, though somebody had, or took it for less than it is.
        if matches!(
            transition.edge,
            Edge::AcknowledgementExpired
                | Edge::Worsened
                | Edge::Unshelved
                | Edge::ShelfExpired
                | Edge::DrillOver
        ) {
            alert.waits_since = Some(transition.at);
        }
        if transition.severity > alert.severity {
            alert.severity = transition.severity;
            exchange(&mut alert.shelved, None, &mut self.shelf_expiries, alert.id);
        }
        match transition.edge {
            Edge::Raised | Edge::Past | Edge::Paged => {}
            Edge::DrillOver => {
                alert.drill = None;
                self.in_drill.remove(&cursor);
                // What somebody took, or put aside, was an exercise.
                exchange(&mut alert.acknowledged, None, &mut self.expiries, alert.id);
                exchange(&mut alert.shelved, None, &mut self.shelf_expiries, alert.id);
            }
            Edge::Lost => {
                alert.condition = Condition::Unknown;
                alert.message = told;
            }
            Edge::Found => {
                alert.condition = Condition::Abnormal;
                alert.message = told;
                alert.value = transition.inputs.last().map(|input| input.value);
                alert.inputs.clone_from(&transition.inputs);
            }
            Edge::Worsened | Edge::Eased => {
                alert.severity = transition.severity;
                alert.message = told;
                alert.value = transition.inputs.last().map(|input| input.value);
                alert.inputs.clone_from(&transition.inputs);
                // What somebody took care of was less than this.
                if transition.edge == Edge::Worsened {
                    exchange(&mut alert.acknowledged, None, &mut self.expiries, alert.id);
                }
            }
            Edge::Acknowledged => {
                if let Some(word) = Undertaking::of(transition) {
                    exchange(&mut alert.acknowledged, Some(word), &mut self.expiries, alert.id);
                }
            }
            Edge::AcknowledgementExpired => {
                exchange(&mut alert.acknowledged, None, &mut self.expiries, alert.id);
            }
            Edge::Shelved => {
                if let Some(word) = Undertaking::of(transition) {
                    exchange(&mut alert.shelved, Some(word), &mut self.shelf_expiries, alert.id);
                }
            }
            Edge::Unshelved | Edge::ShelfExpired => {
                exchange(&mut alert.shelved, None, &mut self.shelf_expiries, alert.id);
            }
            Edge::Assigned => {
                let Some(note) = &transition.act else {
                    return;
                };
                alert.assigned = Some(Assignment {
                    actor: note.actor.clone(),
                    name: note.name.clone(),
                    to: note.to.clone().unwrap_or_default(),
                    note: note.note.clone(),
                    at: transition.at,
                });
            }
            Edge::Cleared => {
                alert.condition = Condition::Normal;
                alert.message = told;
                self.end(cursor, AlertState::Cleared, transition.at);
            }
            Edge::Closed => self.end(cursor, AlertState::Closed, transition.at),
            Edge::Withdrawn => {
                alert.message = told;
                self.end(cursor, AlertState::Withdrawn, transition.at);
            }
        }
    }

    /// Carries an act out, if it may be, and returns its edge; `whose` knows whose the devices are now. The engine is to be told of
    /// [`Edge::Closed`] (`Engine::closed`).
    ///
    /// # Errors
    /// See [`ActRefused`]; then nothing changed.
    pub fn act(
        &mut self,
        position: u64,
        act: &Act,
        whose: &dyn Whose,
    ) -> Result<Vec<Transition>, ActRefused> {
        let transition = self.edge_of(position, act, whose)?;
        self.fold(&transition, &RuleInfo::default());
        Ok(vec![transition])
    }

    /// Whether an act would be carried out now; for the answer to the person before it is journaled.
    ///
    /// # Errors
    /// See [`ActRefused`].
    pub fn check(&self, act: &Act, whose: &dyn Whose) -> Result<(), ActRefused> {
        self.edge_of(0, act, whose).map(drop)
    }

    /// Marks what the engine tells with the drill that it belongs to, before it is folded and kept.
    pub fn mark(&self, told: &mut Transition) {
        told.drill = match told.edge {
            Edge::Raised => self.drills.of(told).cloned(),
            _ => self.get(&told.alert).and_then(|alert| alert.drill.clone()),
        };
    }

    /// Ends acknowledgements, times on the shelf and drills that have run out, and pages desks. `is_muted` says of a device
    /// that nothing of it is announced now.
    pub fn tick(
        &mut self,
        now: Timestamp,
        position: u64,
        is_muted: &dyn Fn(&DeviceId) -> bool,
    ) -> Vec<Transition> {
        let mut out = self.acknowledgements_end(now, position);
        out.extend(self.shelves_end(now, position));
        out.extend(self.drills_end(now, position));
        let pages = self.pages(now, position, is_muted);
        for page in &pages {
            self.fold(page, &RuleInfo::default());
        }
        out.extend(pages);
        out
    }

    fn pages(
        &mut self,
        now: Timestamp,
        position: u64,
        is_muted: &dyn Fn(&DeviceId) -> bool,
    ) -> Vec<Transition> {
        let alerts = &self.alerts;
        let open = self.open.iter().filter_map(|cursor| alerts.get(cursor));
        self.duty.tick(now, position, open, is_muted)
    }

    fn drills_end(&mut self, now: Timestamp, position: u64) -> Vec<Transition> {
        let is_over = |cursor: &&Cursor| {
            let alert = self.alerts.get(cursor);
            alert.is_some_and(|alert| !self.drills.holds(alert, now))
        };
        let over: Vec<Cursor> = self.in_drill.iter().filter(is_over).copied().collect();
        let mut out = Vec::new();
        for cursor in over {
            let Some(alert) = self.alerts.get_mut(&cursor) else {
                continue;
            };
            // Another one that is on is about it as well.
            if let Some(other) = self.drills.of_alert(alert, now) {
                alert.drill = Some(other.clone());
                continue;
            }
            let drill = alert.drill.as_ref().and_then(|id| self.drills.get(id));
            let name = drill.map_or("", |drill| drill.name.as_str());
            let Texts { zh, en } = &alert.message;
            let zh = format!("演练“{name}”已结束，转为正式告警：{zh}");
            let en = format!("The drill “{name}” is over and this is real from here on: {en}");
            let mut transition = edge(alert, Edge::DrillOver, now, position, (zh, en), None);
            transition.drill = None;
            self.fold(&transition, &RuleInfo::default());
            out.push(transition);
        }
        out
    }

    /// Carries an act out that is about a desk or a drill; false when it is about something else, or changed nothing.
    pub fn man(&mut self, act: &Act) -> bool {
        match &act.verb {
            Verb::PutDesk { id, desk } => {
                self.duty.put(act.at, id.clone(), (**desk).clone());
                true
            }
            Verb::RemoveDesk { id } => self.duty.remove(id),
            Verb::PutDrill { id, drill } => {
                self.drills.put(act.at, id.clone(), (**drill).clone());
                true
            }
            Verb::EndDrill { id } => self.drills.end(act.at, id),
            _ => false,
        }
    }

    /// The last that ended, in the order in which they did.
    pub fn ended_alerts(&self) -> impl Iterator<Item = &Alert> {
        self.ended.iter().filter_map(|cursor| self.alerts.get(cursor))
    }

    /// Whether some that ended at or behind a time may be gone from here: only so many are kept.
    pub fn has_forgotten(&self, at: Timestamp) -> bool {
        let oldest = self.ended_alerts().next().and_then(|alert| alert.ended_at);
        self.ended.len() >= N_ENDED && oldest.is_some_and(|oldest| oldest > at)
    }

    /// Writes an entry into the log of a desk.
    ///
    /// # Errors
    /// See [`DutyRefused`]; then nothing changed.
    pub fn write_log(&mut self, position: u64, act: &Act) -> Result<(), DutyRefused> {
        self.duty.write(position, act)
    }

    /// The desks, and who is on duty.
    pub fn duty(&self) -> &Duty {
        &self.duty
    }

    /// The drills.
    pub fn drills(&self) -> &Drills {
        &self.drills
    }

    fn shelves_end(&mut self, now: Timestamp, position: u64) -> Vec<Transition> {
        let mut out = Vec::new();
        while let Some((until, id)) = self
            .shelf_expiries
            .first()
            .copied()
            .filter(|(until, _)| *until <= now)
        {
            self.shelf_expiries.remove(&(until, id));
            let Some(alert) = self.get(&id) else {
                continue;
            };
            let by = alert.shelved.as_ref().map_or("", |by| by.name.as_str());
            let zh = format!("{by}的搁置已到期，告警仍未结束");
            let en = format!("The time on the shelf by {by} is over and the alert goes on");
            let transition = edge(alert, Edge::ShelfExpired, now, position, (zh, en), None);
            self.fold(&transition, &RuleInfo::default());
            out.push(transition);
        }
        out
    }

    fn acknowledgements_end(&mut self, now: Timestamp, position: u64) -> Vec<Transition> {
        let mut out = Vec::new();
        while let Some((until, id)) = self.expiries.first().copied().filter(|(until, _)| *until <= now) {
            self.expiries.remove(&(until, id));
            let Some(alert) = self.get(&id) else {
                continue;
            };
            let by = alert.acknowledged.as_ref().map_or("", |by| by.name.as_str());
            let zh = format!("{by}的确认已到期，告警仍未结束");
            let en = format!("The acknowledgement by {by} has run out and the alert goes on");
            let transition = edge(alert, Edge::AcknowledgementExpired, now, position, (zh, en), None);
            self.fold(&transition, &RuleInfo::default());
            out.push(transition);
        }
        out
    }

    /// One alert: open, or among the last that ended.
    pub fn get(&self, id: &AlertId) -> Option<&Alert> {
        self.alerts.get(self.index.get(id)?)
    }

    /// Alerts, newest first, at most `limit`, beginning after `after`. [`Cursor::of`] the last one
    /// begins the next page.
    pub fn list(&self, filter: &Filter<'_>, after: Option<Cursor>, limit: usize) -> Vec<&Alert> {
        let before = |cursor: &&Cursor| after.is_none_or(|after| **cursor < after);
        let shown = |alert: &&Alert| filter.shows(alert);
        if matches!(filter.state, StateFilter::Open | StateFilter::Shelved) {
            let cursors = self.open.iter().rev().filter(before);
            cursors
                .filter_map(|cursor| self.alerts.get(cursor))
                .filter(shown)
                .take(limit)
                .collect()
        } else {
            let alerts = match after {
                Some(after) => self.alerts.range(..after),
                None => self.alerts.range(..),
            };
            alerts
                .rev()
                .map(|(_, alert)| alert)
                .filter(shown)
                .take(limit)
                .collect()
        }
    }

    /// The alerts of a device that are kept: open ones, those that ended and historical events.
    pub fn of_device(&self, device: &DeviceId) -> impl Iterator<Item = &Alert> {
        self.alerts
            .values()
            .filter(move |alert| alert.series.device == *device)
    }

    /// How many historical events are kept.
    pub fn past_count(&self) -> usize {
        self.past.len()
    }

    /// How many are open.
    pub fn open_count(&self) -> usize {
        self.open.len()
    }
    /// How many are open and shelved.
    pub fn shelved_count(&self) -> usize {
        self.open_alerts().filter(|alert| alert.shelved.is_some()).count()
    }
    /// How many are open and nobody takes care of.
    pub fn unacknowledged_count(&self) -> usize {
        self.open_alerts()
            .filter(|alert| alert.acknowledged.is_none())
            .count()
    }
    /// The open ones, in the order in which they were raised.
    pub fn open_alerts(&self) -> impl Iterator<Item = &Alert> {
        self.open.iter().filter_map(|cursor| self.alerts.get(cursor))
    }
    /// How many are open of one severity.
    pub fn open_of(&self, severity: Severity) -> usize {
        self.open_alerts()
            .filter(|alert| alert.severity == severity)
            .count()
    }

    /// The whole state as bytes.
    pub fn snapshot(&self) -> Vec<u8> {
        let alerts: Vec<&Alert> = self.alerts.values().collect();
        let ended: Vec<AlertId> = self.ended.iter().map(|cursor| cursor.id).collect();
        let past: Vec<AlertId> = self.past.iter().map(|cursor| cursor.id).collect();
        let snapshot = Snapshot {
            alerts,
            ended,
            past,
            duty: Some(&self.duty),
            drills: Some(&self.drills),
        };
        serde_json::to_vec(&snapshot).expect("an alert has text keys only")
    }
    /// The board that wrote the bytes.
    ///
    /// # Errors
    /// When the bytes are not a snapshot.
    pub fn restore(bytes: &[u8]) -> Result<Self, BoardError> {
        let Snapshot {
            alerts,
            ended,
            past,
            duty,
            drills,
        } = serde_json::from_slice::<Snapshot<Alert, Duty, Drills>>(bytes).map_err(BoardError)?;
        let mut board = Self::new();
        board.duty = duty.unwrap_or_default();
        board.drills = drills.unwrap_or_default();
        for mut alert in alerts {
            if alert.past.is_none() {
                alert.changed_at = alert.newest_time();
            }
            let cursor = Cursor::of(&alert);
            board.index.insert(alert.id, cursor);
            if alert.is_open() {
                board.open.insert(cursor);
                let until = alert.acknowledged.as_ref().map(|by| (by.until, alert.id));
                board.expiries.extend(until);
                let until = alert.shelved.as_ref().map(|by| (by.until, alert.id));
                board.shelf_expiries.extend(until);
                board.in_drill.extend(alert.drill.is_some().then_some(cursor));
            }
            board.alerts.insert(cursor, alert);
        }
        let ended = ended.iter().filter_map(|id| board.index.get(id).copied());
        board.ended = ended.filter(|cursor| !board.open.contains(cursor)).collect();
        let past = past.iter().filter_map(|id| board.index.get(id).copied());
        board.past = past.collect();
        Ok(board)
    }

    fn raise(&mut self, transition: &Transition, info: &RuleInfo) {
        if self.index.contains_key(&transition.alert) {
            return;
        }
        let alert = raised(transition, info);
        let cursor = Cursor::of(&alert);
        self.in_drill.extend(alert.drill.is_some().then_some(cursor));
        self.index.insert(alert.id, cursor);
        self.open.insert(cursor);
        self.alerts.insert(cursor, alert);
    }

    /// Takes a historical event, or what is known of it by now.
    fn record_past(&mut self, transition: &Transition, info: &RuleInfo) {
        let Some(past) = transition.past else {
            return;
        };
        // Told again it says no more than before.
        if self
            .get(&transition.alert)
            .is_some_and(|known| known.past == Some(past))
        {
            return;
        }
        let mut alert = Alert {
            raised_at: past.from,
            ended_at: Some(past.until),
            state: AlertState::Cleared,
            condition: Condition::Normal,
            value: past.peak.or(transition.inputs.last().map(|input| input.value)),
            past: Some(past),
            ..raised(transition, info)
        };
        if let Some(known) = self.index.get(&alert.id).copied() {
            if let Some(known) = self.alerts.get_mut(&known).filter(|known| known.past.is_some()) {
                alert.raised_position = known.raised_position;
                *known = alert;
            }
            return;
        }
        let cursor = Cursor::of(&alert);
        self.index.insert(alert.id, cursor);
        self.alerts.insert(cursor, alert);
        self.past.push_back(cursor);
        self.forget_past();
    }

    /// Makes room when there are too many historical events, for some hundreds at once: the oldest go, first those of devices
    /// that have too many.
    fn forget_past(&mut self) {
        if self.past.len() <= N_PAST {
            return;
        }
        let mut of_device: HashMap<DeviceId, usize> = HashMap::new();
        let alerts = &self.alerts;
        let device = |cursor: &Cursor| alerts.get(cursor).map(|alert| &alert.series.device);
        for device in self.past.iter().filter_map(device) {
            *of_device.entry(device.clone()).or_default() += 1;
        }
        let mut over = self.past.len() - N_PAST_LEFT;
        let mut gone = BTreeSet::new();
        for cursor in &self.past {
            let held = device(cursor).and_then(|device| of_device.get_mut(device));
            if let Some(held) = held.filter(|held| over > 0 && **held > N_PAST_OF_DEVICE) {
                *held -= 1;
                over -= 1;
                gone.insert(*cursor);
            }
        }
        let rest = self.past.iter().filter(|cursor| !gone.contains(cursor));
        let rest: Vec<Cursor> = rest.take(over).copied().collect();
        gone.extend(rest);
        self.past.retain(|cursor| !gone.contains(cursor));
        for cursor in gone {
            self.alerts.remove(&cursor);
            self.index.remove(&cursor.id);
        }
    }

    fn end(&mut self, cursor: Cursor, state: AlertState, at: Timestamp) {
        let Some(alert) = self.alerts.get_mut(&cursor) else {
            return;
        };
        alert.state = state;
        alert.ended_at = Some(at);
        if let Some(by) = &alert.acknowledged {
            self.expiries.remove(&(by.until, alert.id));
        }
        exchange(&mut alert.shelved, None, &mut self.shelf_expiries, alert.id);
        self.open.remove(&cursor);
        self.in_drill.remove(&cursor);
        self.ended.push_back(cursor);
        while self.ended.len() > N_ENDED {
            if let Some(oldest) = self.ended.pop_front() {
                self.alerts.remove(&oldest);
                self.index.remove(&oldest.id);
            }
        }
    }

    fn edge_of(&self, position: u64, act: &Act, whose: &dyn Whose) -> Result<Transition, ActRefused> {
        let asked = Asked::of(&act.verb).ok_or(ActRefused::UnknownVerb)?;
        let id = asked.alert;
        let alert = self.get(&id).ok_or(ActRefused::UnknownAlert(id))?;
        if !act.by.covers(whose.belongs(alert)) {
            return Err(ActRefused::OutOfScope(id));
        }
        if !alert.is_open() {
            return Err(ActRefused::Ended(id));
        }
        asked.check(act.at)?;
        if asked.edge == Edge::Unshelved && alert.shelved.is_none() {
            return Err(ActRefused::NotShelved(id));
        }
        let note = ActNote {
            actor: act.by.actor.clone(),
            name: asked.name.to_owned(),
            note: asked.note.to_owned(),
            until: asked.until,
            to: asked.to.map(str::to_owned),
        };
        Ok(edge(
            alert,
            asked.edge,
            act.at,
            position,
            asked.words(),
            Some(note),
        ))
    }
}

/// What a person asks of an alert.
struct Asked<'a> {
    edge: Edge,
    alert: AlertId,
    name: &'a str,
    note: &'a str,
    until: Option<Timestamp>,
    to: Option<&'a str>,
}

impl<'a> Asked<'a> {
    /// `None` when the verb is about something else, or of a newer version.
    fn of(verb: &'a Verb) -> Option<Self> {
        let (edge, alert, name, note, until, to) = match verb {
            Verb::Acknowledge {
                alert,
                name,
                note,
                until,
            } => (Edge::Acknowledged, alert, name, note, Some(*until), None),
            Verb::Close { alert, name, note } => (Edge::Closed, alert, name, note, None, None),
            Verb::Shelve {
                alert,
                name,
                note,
                until,
            } => (Edge::Shelved, alert, name, note, Some(*until), None),
            Verb::Unshelve { alert, name, note } => (Edge::Unshelved, alert, name, note, None, None),
            Verb::Assign {
                alert,
                name,
                to,
                note,
            } => (Edge::Assigned, alert, name, note, None, Some(to.trim())),
            _ => return None,
        };
        Some(Self {
            edge,
            alert: *alert,
            name: name.trim(),
            note,
            until,
            to,
        })
    }

    fn check(&self, now: Timestamp) -> Result<(), ActRefused> {
        if self.name.is_empty() || self.to.is_some_and(str::is_empty) {
            return Err(ActRefused::NoName);
        }
        let is_long = |text: &str, most| text.chars().count() > most;
        if is_long(self.name, LONGEST_NAME)
            || is_long(self.to.unwrap_or_default(), LONGEST_NAME)
            || is_long(self.note, LONGEST_NOTE)
        {
            return Err(ActRefused::TooLong);
        }
        if self.edge == Edge::Shelved && self.note.trim().is_empty() {
            return Err(ActRefused::NoReason);
        }
        match self.until {
            Some(until) if until <= now => Err(ActRefused::UntilPast { until }),
            Some(until) if until > now + LONGEST_WHILE => Err(ActRefused::UntilTooFar { until }),
            _ => Ok(()),
        }
    }

    fn words(&self) -> (String, String) {
        let name = self.name;
        let until = self.until.map(|until| until.to_string()).unwrap_or_default();
        let to = self.to.unwrap_or_default();
        match self.edge {
            Edge::Acknowledged => (
                format!("{name}已确认，有效期至 {until}"),
                format!("Acknowledged by {name} until {until}"),
            ),
            Edge::Shelved => (
                format!("{name}已搁置告警至 {until}"),
                format!("Shelved by {name} until {until}"),
            ),
            Edge::Unshelved => (format!("{name}已取消搁置"), format!("Put back by {name}")),
            Edge::Assigned => (
                format!("{name}已指派给{to}"),
                format!("Assigned to {to} by {name}"),
            ),
            _ => (format!("{name}已关闭告警"), format!("Closed by {name}")),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Snapshot<A, D, R> {
    alerts: Vec<A>,
    /// In the order in which they ended.
    ended: Vec<AlertId>,
    /// In the order in which they were found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    past: Vec<AlertId>,
    /// A board of before has none.
    #[serde(default = "Option::default")]
    duty: Option<D>,
    #[serde(default = "Option::default")]
    drills: Option<R>,
}

/// The alert as an edge raises it.
fn raised(transition: &Transition, info: &RuleInfo) -> Alert {
    Alert {
        id: transition.alert,
        rule: transition.rule.clone(),
        rule_version: transition.rule_version.clone(),
        rule_name: info.name.clone(),
        severity: transition.severity,
        state: AlertState::Open,
        condition: Condition::Abnormal,
        acknowledged: None,
        shelved: None,
        assigned: None,
        series: transition.series.clone(),
        division: transition.division.clone(),
        raised_at: transition.at,
        raised_position: transition.position,
        changed_at: transition.at,
        ended_at: None,
        waits_since: None,
        message: Texts {
            zh: transition.message_zh.clone(),
            en: transition.message_en.clone(),
        },
        advice: info.advice.clone(),
        inputs: transition.inputs.clone(),
        value: transition.inputs.last().map(|input| input.value),
        threshold: info.threshold,
        drill: transition.drill.clone(),
        past: None,
    }
}

/// An edge that the board writes.
pub(crate) fn edge(
    alert: &Alert,
    edge: Edge,
    at: Timestamp,
    position: u64,
    (message_zh, message_en): (String, String),
    act: Option<ActNote>,
) -> Transition {
    Transition {
        id: Transition::id_of(&alert.rule, &alert.rule_version, &alert.series, position, edge),
        alert: alert.id,
        edge,
        at,
        position,
        rule: alert.rule.clone(),
        rule_version: alert.rule_version.clone(),
        series: alert.series.clone(),
        severity: alert.severity,
        division: alert.division.clone(),
        inputs: Vec::new(),
        message_zh,
        message_en,
        act,
        drill: alert.drill.clone(),
        past: None,
    }
}
