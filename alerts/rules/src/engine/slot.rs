//! The state machine of one rule on one series.
//!
//! ```text
//! quiet -> pending -> firing <-> clearing -> quiet
//! ```
//! A threshold's holds count by the readings' own time, so that a resent hour is judged as it was; and
//! by record time while the last value stands, so that a slow device is not waited for. A device's
//! wrong clock therefore cannot stretch a hold.

use std::sync::Arc;
use std::time::Duration;

use onemap_model::alert::Input;
use onemap_model::{DivisionCode, Edge, SeriesKey, Timestamp};

use super::book::{Book, Grounds, Owner, Scene};
use super::entries::{Active, NO_DEADLINE, Phase, RaisedAlert, Slot, ms};
use crate::rule::{Finding, Outlook, Rule, Side, Texts};

/// Where a slot stands, for what it has to tell.
pub(super) struct Place<'a> {
    pub(super) owner: Owner,
    /// The series its alerts are about, made only when something is to be told.
    pub(super) series: &'a dyn Fn(Option<u32>) -> SeriesKey,
    /// Index of the series a new alert is about, looked for only when one is raised.
    pub(super) about: &'a dyn Fn() -> Option<u32>,
    pub(super) division: Option<&'a DivisionCode>,
    /// The fences that its device is in.
    pub(super) fences: &'a [Arc<str>],
    /// The last known reading.
    pub(super) last: Option<Input>,
    /// How long nothing came.
    pub(super) silent_for: Duration,
    /// What the forecast says, of a rule that looks ahead.
    pub(super) outlook: Option<&'a Outlook>,
    /// What was found of each fact, of a rule that weighs several.
    pub(super) findings: &'a [Finding],
}

impl Place<'_> {
    /// What an edge rests on: of a rule that weighs several facts what these rest on, else what is given.
    fn evidence(&self, given: impl IntoIterator<Item = Input>) -> Vec<Input> {
        match self.findings {
            [] => given.into_iter().collect(),
            findings => evidence_of(findings),
        }
    }
    fn scene<'r>(&self, rule: &'r Rule, about: Option<u32>, level: u8) -> Scene<'r> {
        Scene {
            rule,
            series: (self.series)(about),
            division: self.division.cloned(),
            level,
        }
    }
}

/// What findings rest on, each once; the last one is of the alert's own series.
pub(super) fn evidence_of(findings: &[Finding]) -> Vec<Input> {
    let mut inputs: Vec<Input> = Vec::new();
    for input in findings.iter().flat_map(|found| &found.inputs) {
        if !inputs.contains(input) {
            inputs.push(input.clone());
        }
    }
    inputs.sort_by_key(|input| (input.of.is_none(), input.measured_at));
    inputs
}

impl Slot {
    /// Judges a threshold by a reading in order.
    pub(super) fn judge(&mut self, book: &mut Book, place: &Place<'_>, input: &Input) {
        let Some(side) = self.rule.stands(input.value, place.fences) else {
            return;
        };
        self.step(book, place, side, input);
    }

    /// Goes on by where things stand after a reading in order.
    pub(super) fn step(&mut self, book: &mut Book, place: &Place<'_>, side: Side, input: &Input) {
        if self.rule.times.rests(Timestamp::from_ms(book.now)) {
            return self.calm();
        }
        let measured = input.measured_at.ms();
        match (self.active.as_deref_mut(), side) {
            (None, Side::Between | Side::Back) => {}
            (None, Side::Beyond) => {
                // What was so before the rule looked is no part of its hold.
                let looked = self.rule.times.holds(input.measured_at);
                self.active = Some(Box::new(Active {
                    phase: Phase::Pending,
                    since_measured: if looked { measured } else { book.now },
                    since_record: book.now,
                    first: Some(input.clone()),
                    alert: None,
                }));
                self.raise_when_held(book, place, measured);
            }
            (
                Some(Active {
                    phase: Phase::Pending,
                    ..
                }),
                Side::Beyond,
            ) => {
                self.raise_when_held(book, place, measured);
            }
            (
                Some(Active {
                    phase: Phase::Pending,
                    ..
                }),
                Side::Between | Side::Back,
            ) => self.active = None,
            (Some(active), Side::Beyond | Side::Between) => {
                active.phase = Phase::Firing;
                if let Some(alert) = &mut active.alert
                    && std::mem::take(&mut alert.lost)
                    && !alert.closed
                {
                    let scene = place.scene(&self.rule, alert.about, alert.level);
                    let inputs = place.evidence([input.clone()]);
                    book.write(
                        scene,
                        alert.id,
                        Edge::Found,
                        Grounds {
                            inputs,
                            findings: place.findings,
                            ..Grounds::default()
                        },
                    );
                }
                self.change_level(book, place, input);
            }
            (Some(active), Side::Back) => {
                if active.phase == Phase::Firing {
                    active.phase = Phase::Clearing;
                    active.since_measured = measured;
                    active.since_record = book.now;
                }
                self.clear_when_held(book, place, measured);
            }
        }
    }

    /// It matters more, or less, than before.
    fn change_level(&mut self, book: &mut Book, place: &Place<'_>, input: &Input) {
        if self.rule.levels.is_empty() {
            return;
        }
        let Some(alert) = self.active.as_mut().and_then(|active| active.alert.as_mut()) else {
            return;
        };
        let before = alert.level;
        alert.level = self.rule.level_of(input.value, before);
        if alert.level == before || alert.closed {
            return;
        }
        let edge = match alert.level > before {
            true => Edge::Worsened,
            false => Edge::Eased,
        };
        let grounds = Grounds {
            inputs: place.evidence([input.clone()]),
            findings: place.findings,
            ..Grounds::default()
        };
        let scene = place.scene(&self.rule, alert.about, alert.level);
        book.write(scene, alert.id, edge, grounds);
    }

    /// Nothing is known any more: holds start anew, an open alert is told as lost, once.
    pub(super) fn unknown(&mut self, book: &mut Book, place: &Place<'_>, silent: bool) {
        self.calm();
        if let Some(alert) = self.active.as_mut().and_then(|active| active.alert.as_mut())
            && !std::mem::replace(&mut alert.lost, true)
            && !alert.closed
        {
            let grounds = Grounds {
                inputs: place.evidence(place.last.clone()),
                findings: place.findings,
                silent_for: silent.then_some(place.silent_for),
                ..Grounds::default()
            };
            book.write(
                place.scene(&self.rule, alert.about, alert.level),
                alert.id,
                Edge::Lost,
                grounds,
            );
        }
    }

    /// Stops the holds that run; an open alert stays.
    pub(super) fn calm(&mut self) {
        match self.active.as_deref_mut() {
            Some(Active {
                phase: Phase::Pending,
                ..
            }) => self.active = None,
            Some(active) => active.phase = Phase::Firing,
            None => {}
        }
    }

    /// A silence is over: a reading came.
    pub(super) fn heard(&mut self, book: &mut Book, place: &Place<'_>) {
        if let Some(active) = self.active.as_deref_mut() {
            if active.phase == Phase::Firing {
                active.phase = Phase::Clearing;
                active.since_record = book.now;
                active.since_measured = book.now;
            }
            let now = book.now;
            self.clear_when_held(book, place, now);
        }
    }

    /// The record time at which a running hold is complete if nothing happens before.
    pub(super) fn hold_deadline(&self) -> i64 {
        match self.active.as_deref() {
            Some(active) if active.phase == Phase::Pending => {
                active.since_record.saturating_add(ms(self.rule.hold))
            }
            Some(active) if active.phase == Phase::Clearing => {
                active.since_record.saturating_add(ms(self.rule.clear_hold))
            }
            _ => NO_DEADLINE,
        }
    }

    /// Completes the hold whose deadline has come.
    pub(super) fn hold_is_over(&mut self, book: &mut Book, place: &Place<'_>) {
        let pending = self
            .active
            .as_ref()
            .is_some_and(|active| active.phase == Phase::Pending);
        if pending {
            self.raise(book, place)
        } else {
            self.clear(book, place)
        }
    }

    /// A silence has lasted its time: raises it, or goes on when it was about to end.
    pub(super) fn silence_is_here(&mut self, book: &mut Book, place: &Place<'_>) {
        match self.active.as_deref_mut() {
            Some(active) => active.phase = Phase::Firing,
            None => {
                self.active = Some(Box::new(Active {
                    phase: Phase::Pending,
                    since_measured: book.now,
                    since_record: book.now,
                    first: None,
                    alert: None,
                }));
                self.raise(book, place);
            }
        }
    }

    /// Ends whatever runs because the rule no longer looks here.
    pub(super) fn withdraw(&mut self, book: &mut Book, place: &Place<'_>, because: &Texts) {
        if let Some(alert) = self.active.take().and_then(|active| active.alert) {
            book.open.remove(&alert.id);
            if !alert.closed {
                let grounds = Grounds {
                    inputs: place.last.iter().cloned().collect(),
                    because: Some(because),
                    ..Grounds::default()
                };
                book.write(
                    place.scene(&self.rule, alert.about, alert.level),
                    alert.id,
                    Edge::Withdrawn,
                    grounds,
                );
            }
        }
    }

    fn raise_when_held(&mut self, book: &mut Book, place: &Place<'_>, measured: i64) {
        let held = self.active.as_ref().is_some_and(|active| {
            let by_readings = measured.saturating_sub(active.since_measured);
            let by_records = book.now.saturating_sub(active.since_record);
            by_readings.max(by_records) >= ms(self.rule.hold)
        });
        if held {
            self.raise(book, place);
        }
    }

    fn clear_when_held(&mut self, book: &mut Book, place: &Place<'_>, measured: i64) {
        let held = self.active.as_ref().is_some_and(|active| {
            let by_readings = measured.saturating_sub(active.since_measured);
            let by_records = book.now.saturating_sub(active.since_record);
            by_readings.max(by_records) >= ms(self.rule.clear_hold)
        });
        if held {
            self.clear(book, place);
        }
    }

    fn raise(&mut self, book: &mut Book, place: &Place<'_>) {
        let Some(active) = self.active.as_deref_mut() else {
            return;
        };
        let about = (place.about)();
        let level = place
            .last
            .as_ref()
            .map_or(0, |last| self.rule.level_of(last.value, 0));
        let scene = place.scene(&self.rule, about, level);
        let id = book.new_alert(&scene, place.owner);
        active.phase = Phase::Firing;
        active.alert = Some(RaisedAlert {
            id,
            raised_at: book.now,
            about,
            level,
            lost: false,
            closed: false,
        });
        let mut inputs = place.evidence(active.first.iter().chain(&place.last).cloned());
        inputs.dedup();
        let silent_for = self.rule.silence().map(|_| place.silent_for);
        book.write(
            scene,
            id,
            Edge::Raised,
            Grounds {
                inputs,
                silent_for,
                outlook: place.outlook,
                findings: place.findings,
                because: None,
            },
        );
    }

    /// Ends it as no longer wrong.
    pub(super) fn clear(&mut self, book: &mut Book, place: &Place<'_>) {
        if let Some(alert) = self.active.take().and_then(|active| active.alert) {
            book.open.remove(&alert.id);
            if !alert.closed {
                let inputs = place.evidence(place.last.clone());
                let scene = place.scene(&self.rule, alert.about, alert.level);
                book.write(
                    scene,
                    alert.id,
                    Edge::Cleared,
                    Grounds {
                        inputs,
                        findings: place.findings,
                        ..Grounds::default()
                    },
                );
            }
        }
    }
}
