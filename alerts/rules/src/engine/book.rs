//! Writes transitions: ids, messages, the list of open alerts.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use onemap_model::alert::Input;
use onemap_model::{AlertId, DivisionCode, Edge, SeriesKey, Timestamp, Transition, TransitionId};

use crate::message::{self, Occasion};
use crate::rule::{Finding, Outlook, Rule, Texts};

/// Where a slot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    Series(u32),
    Device(u32),
    /// What is foreseen of a series.
    Foreseen(u32),
    /// What is weighed of a device.
    Weighed(u32),
    /// The hours of rules; no slot is there.
    Clock,
}

/// The record at hand, and what it has changed.
pub(super) struct Book {
    /// Largest record time seen, in milliseconds; [`super::entries::NEVER`] before the first record.
    pub(super) now: i64,
    /// Position of the record at hand.
    pub(super) position: u64,
    pub(super) out: Vec<Transition>,
    pub(super) open: BTreeMap<AlertId, Owner>,
    /// Ids given at this position. One frame can carry an hour of readings, and so raise and clear
    /// the same rule twice at one position.
    pub(super) alerts_here: HashSet<AlertId>,
    pub(super) edges_here: HashSet<TransitionId>,
}

/// What an edge is about.
pub(super) struct Scene<'a> {
    pub(super) rule: &'a Rule,
    pub(super) series: SeriesKey,
    pub(super) division: Option<DivisionCode>,
    /// The rule's level that the alert is at.
    pub(super) level: u8,
}

/// What an edge rests on.
#[derive(Default)]
pub(super) struct Grounds<'a> {
    /// Newest last.
    pub(super) inputs: Vec<Input>,
    pub(super) silent_for: Option<Duration>,
    pub(super) because: Option<&'a Texts>,
    pub(super) outlook: Option<&'a Outlook>,
    /// What was found of each fact, of a rule that weighs several.
    pub(super) findings: &'a [Finding],
}

impl Book {
    /// Turns to the next record.
    pub(super) fn begin(&mut self, now: i64, position: u64) {
        self.now = now;
        if self.position != position {
            self.position = position;
            self.alerts_here.clear();
            self.edges_here.clear();
        }
    }
    /// The id of the alert that the record at hand raises.
    pub(super) fn new_alert(&mut self, scene: &Scene<'_>, owner: Owner) -> AlertId {
        let mut id = Transition::alert_of(&scene.rule.id, &scene.series, self.position);
        while !self.alerts_here.insert(id) || self.open.contains_key(&id) {
            id = AlertId::of(&[b"again", id.to_string().as_bytes()]);
        }
        self.open.insert(id, owner);
        id
    }
    /// Writes one edge.
    pub(super) fn write(&mut self, scene: Scene<'_>, alert: AlertId, edge: Edge, grounds: Grounds<'_>) {
        let Scene {
            rule,
            series,
            division,
            level,
        } = scene;
        let mut id = Transition::id_of(&rule.id, &rule.version, &series, self.position, edge);
        while !self.edges_here.insert(id) {
            id = TransitionId::of(&[b"again", id.to_string().as_bytes()]);
        }
        let text = message::edge(
            rule,
            &Occasion {
                edge,
                level,
                quantity: series.quantity,
                channel: series.channel,
                value: grounds.inputs.last().map(|input| input.value),
                silent_for: grounds.silent_for,
                because: grounds.because,
                outlook: grounds.outlook,
                findings: grounds.findings,
            },
        );
        self.out.push(Transition {
            id,
            alert,
            edge,
            at: Timestamp::from_ms(self.now),
            position: self.position,
            rule: rule.id.clone(),
            rule_version: rule.version.clone(),
            series,
            severity: rule.severity_at(level),
            division,
            inputs: grounds.inputs,
            message_zh: text.zh,
            message_en: text.en,
            act: None,
            drill: None,
            past: None,
        });
    }
}
